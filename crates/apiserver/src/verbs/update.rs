//! update: an object, replaced as a whole.

use super::create::finish;
use super::write::{self, Decided, Part};
use crate::call::Call;
use crate::negotiate::{Offer, negotiate};
use crate::options::WriteOptions;
use crate::respond::{Body, Result};
use api::{Object, Status};
use http::Response;

pub(crate) async fn update(call: &Call, part: Part) -> Result<Response<Body>> {
    let accepted = negotiate(&call.headers, call.query.flag("pretty"), Offer::Object)?;
    let options = WriteOptions::read("UpdateOptions", &call.query, &call.headers)?;
    let mut draft = write::body(call, options.validation)?;
    write::addressed(call, &mut draft.object)?;
    let Some(live) = call.store().get(&call.key(&call.target.name)) else {
        call.settle(call.store().head()).await?;
        if part != Part::Main || !call.kind.rules.put_creates {
            return Err(call.not_found().into());
        }
        if !draft.object.uid().is_empty() || !matches!(draft.object.resource_version(), "" | "0") {
            let cause = "the object was deleted, and is not to be created anew with its uid or resourceVersion";
            return Err(Status::conflict(&call.kind.group_resource, &call.target.name, cause).into());
        }
        call.authorize("create", "")?;
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
