//! create: a new object of a collection.

use super::write::{self, Written};
use crate::call::Call;
use crate::negotiate::Offer;
use crate::options::WriteOptions;
use crate::present;
use crate::respond::{self, Body, Result};
use api::Status;
use http::{Response, StatusCode};

pub(super) async fn create(call: &Call) -> Result<Response<Body>> {
    if !call.target.name.is_empty() {
        return Err(crate::server::not_allowed().into());
    }
    let accepted = call.negotiate(Offer::Object)?;
    let options = WriteOptions::read("CreateOptions", &call.query, &call.headers)?;
    if call.query.has("force") {
        return Err(Status::bad_request("force may only be set on apply patches").into());
    }
    let draft = write::body(call, options.validation)?;
    let written = write::create(call, draft, &options, false).await?;
    finish(call, accepted, written).await
}

/// Answers with what was written, once it would survive a crash.
pub(crate) async fn finish(
    call: &Call,
    accepted: crate::negotiate::Accepted,
    written: Written,
) -> Result<Response<Body>> {
    call.settle(written.entry.modified).await?;
    let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = present::object(call, accepted, code, &written.entry).await?;
    respond::warn(&mut response, &written.warnings);
    Ok(response)
}
