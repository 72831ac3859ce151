//! JSON merge patch (RFC 7386).

use super::PatchError;
use api::Object;
use serde_json::{Map, Value};

/// Applies a merge patch: members of `patch` replace those of `target`, maps are merged, `null` deletes.
///
/// # Errors
/// If `patch` is not a JSON object, since an object would cease to be one.
pub fn apply(target: &mut Object, patch: &Value) -> Result<(), PatchError> {
    let patch = patch
        .as_object()
        .ok_or_else(|| PatchError::Malformed("a merge patch of an object must itself be a JSON object".into()))?;
    merge(&mut target.0, patch);
    Ok(())
}

fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.remove(key);
            }
            Value::Object(below) => {
                let slot = target.entry(key.as_str()).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                merge(slot.as_object_mut().expect("made an object above"), below);
            }
            other => {
                target.insert(key.clone(), other.clone());
            }
        }
    }
}

/// The smallest merge patch that turns `from` into `to`; an empty object if they are equal.
///
/// A `null` inside `to` cannot be said by a merge patch: the field is left out instead.
pub fn diff(from: &Map<String, Value>, to: &Map<String, Value>) -> Value {
    let mut patch = Map::new();
    for (key, old) in from {
        if to.get(key).is_none_or(|new| new.is_null() && !old.is_null()) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    for (key, new) in to {
        match (from.get(key), new) {
            (_, Value::Null) => {}
            (Some(old), new) if old == new => {}
            (Some(Value::Object(old)), Value::Object(new)) => {
                patch.insert(key.clone(), diff(old, new));
            }
            (_, new) => {
                patch.insert(key.clone(), new.clone());
            }
        }
    }
    Value::Object(patch)
}
