//! get: one object.

use crate::call::Call;
use crate::negotiate::Offer;
use crate::options::too_large;
use crate::present;
use crate::respond::{Body, Result};
use api::{Reason, Status};
use http::{Response, StatusCode};

pub(crate) async fn get(call: &Call) -> Result<Response<Body>> {
    let accepted = call.negotiate(Offer::Object)?;
    not_older_than(call)?;
    let entry = call.live().await?;
    call.settle(entry.modified).await?;
    present::object(call, accepted, StatusCode::OK, &entry).await
}

/// 504 if the client knows of a revision that this server does not.
fn not_older_than(call: &Call) -> Result<()> {
    let Some(text) = call.query.get("resourceVersion") else { return Ok(()) };
    // The stock server knows of no reason here.
    let asked = text.parse().map_err(|_| {
        let why =
            format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax");
        Status::failure(Reason::Unknown, why)
    })?;
    let head = call.store().head().0;
    if asked > head { Err(too_large(asked, head)) } else { Ok(()) }
}
