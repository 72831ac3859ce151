//! JSON patch (RFC 6902) within the limits of an API server.

use super::PatchError;
use api::Object;
use serde_json::Value;

/// Operations in one patch, as the stock server allows.
pub const MAX_OPERATIONS: usize = 10_000;

/// Applies a JSON patch: all of its operations, or none.
///
/// # Errors
/// If the patch is not one, is too large, or does not fit `target`.
pub fn apply(target: &mut Object, patch: &Value) -> Result<(), PatchError> {
    let operations = patch.as_array().map_or(0, Vec::len);
    if operations > MAX_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {operations}"
        )));
    }
    let patch: json_patch::Patch =
        serde::Deserialize::deserialize(patch).map_err(|error| PatchError::Malformed(format!("{error}")))?;
    let mut value = Value::Object(target.0.clone());
    json_patch::patch(&mut value, &patch).map_err(|error| PatchError::Inapplicable(error.to_string()))?;
    match value {
        Value::Object(map) => target.0 = map,
        _ => return Err(PatchError::Inapplicable("the patch replaces the object by something else".into())),
    }
    Ok(())
}
