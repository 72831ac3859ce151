//! Parts of objects, and kinds that are asked but never stored.

use crate::call::Call;
use crate::respond::{self, Body, Result};
use crate::route::Verb;
use crate::server::not_allowed;
use crate::verbs;
use http::Response;

/// A request to a part of an object.
pub(crate) async fn dispatch(call: &Call) -> Result<Response<Body>> {
    match (call.target.subresource.as_str(), call.verb) {
        ("status", Verb::Get) => verbs::get::get(call).await,
        ("status", Verb::Update) => verbs::update::update(call, verbs::Part::Status).await,
        ("status", Verb::Patch) => verbs::patch::patch(call, verbs::Part::Status).await,
        _ => Ok(respond::no_such_path()),
    }
}

/// A request to a kind that is not stored.
pub(crate) async fn unstored(call: &Call) -> Result<Response<Body>> {
    Err(not_allowed(&call.kind.group_resource).into())
}
