//! update: an object, replaced as a whole.

use super::create::finish;
use super::write::{self, Decided, Part};
use crate::call::Call;
use crate::negotiate::Offer;
use crate::options::WriteOptions;
use crate::respond::{Body, Result};
use api::{Object, Status};
use http::Response;

pub(crate) async fn update(call: &Call, part: Part) -> Result<Response<Body>> {
    let accepted = call.negotiate(Offer::Object)?;
    let options = WriteOptions::read("UpdateOptions", &call.query, &call.headers)?;
    let mut draft = write::body(call, options.validation)?;
    if draft.object.name().is_empty() {
        let message = format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            call.target.name
        );
        return Err(Status::bad_request(message).into());
    }
    write::addressed(call, &mut draft.object)?;
    let Some(live) = call.held(&call.key(&call.target.name)) else {
        call.settle(call.store().head()).await?;
        if part != Part::Main || !call.kind.rules.put_creates {
            return Err(call.not_found().into());
        }
        if !draft.object.uid().is_empty() {
            let cause = write::other_uid(call, draft.object.uid(), "", options.dry_run);
            return Err(Status::conflict(&call.kind.group_resource, &call.target.name, cause).into());
        }
        call.authorize("create", "")?;
        // A revision of what is not there says nothing here.
        draft.object.metadata_mut().remove("resourceVersion");
        let written = write::create(call, draft, &options, false).await?;
        return finish(call, accepted, written).await;
    };
    let warnings = draft.warnings;
    let object = draft.object;
    let decide = |_: &Object| {
        Ok(Decided { object: object.clone(), warnings: warnings.clone(), tracked: false, must_be_conditional: true })
    };
    let written = write::update(call, live, part, &options, &decide).await?;
    finish(call, accepted, written).await
}
