//! Texts and documents with variables put in, and documents changed at pointers.

use crate::script::{Body, Edit};
use base64::Engine;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What was captured so far.
pub(crate) type Variables = BTreeMap<String, Value>;

/// Puts the values of `$name` and `${name}` in. A name that is not known stays as it is: bodies have `$patch` and `$ref`.
pub(crate) fn fill(text: &str, variables: &Variables) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        filled.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let braced = after.starts_with('{');
        let begin = usize::from(braced);
        let length =
            after[begin..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len() - begin);
        let name = &after[begin..begin + length];
        let closed = !braced || after[begin + length..].starts_with('}');
        match variables.get(name) {
            Some(value) if closed => {
                match value {
                    Value::String(text) => filled.push_str(text),
                    other => filled.push_str(&other.to_string()),
                }
                rest = &after[begin + length + usize::from(braced)..];
            }
            _ => {
                filled.push('$');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// The bytes of a body, and its media type unless a header says otherwise.
///
/// # Errors
/// If an edit is no JSON, or the base64 cannot be read.
pub(crate) fn bytes(body: &Body, variables: &Variables) -> Result<(Vec<u8>, &'static str), String> {
    match body {
        Body::Text(text) => Ok((fill(text, variables).into_bytes(), "application/yaml")),
        Body::Base64(text) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(fill(text, variables));
            Ok((bytes.map_err(|error| error.to_string())?, "application/vnd.kubernetes.protobuf"))
        }
        Body::Edited { document, edits } => {
            let mut value = variables.get(document).cloned().unwrap_or_else(|| Value::Object(Map::new()));
            for edit in edits {
                match edit {
                    Edit::Set { pointer, json } => {
                        let json = fill(json, variables);
                        let new = serde_json::from_str(&json).map_err(|error| format!("{json}: {error}"))?;
                        set(&mut value, &fill(pointer, variables), new);
                    }
                    Edit::Remove { pointer } => remove(&mut value, &fill(pointer, variables)),
                }
            }
            Ok((value.to_string().into_bytes(), "application/json"))
        }
    }
}

fn segments(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect()
}

/// Sets what is at a pointer; parents that are missing are made as objects, `-` appends to a list.
pub(crate) fn set(value: &mut Value, pointer: &str, new: Value) {
    let mut at = value;
    for segment in segments(pointer) {
        if let Value::Array(items) = at {
            let index = segment.parse().unwrap_or(items.len()).min(items.len());
            if index == items.len() {
                items.push(Value::Null);
            }
            at = &mut items[index];
        } else {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            let Value::Object(map) = at else { return };
            at = map.entry(segment).or_insert(Value::Null);
        }
    }
    *at = new;
}

/// Removes what is at a pointer, if anything is.
pub(crate) fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, last)) = pointer.rsplit_once('/') else { return };
    let last = last.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(parent) {
        Some(Value::Object(map)) => drop(map.remove(&last)),
        Some(Value::Array(items)) => {
            if let Ok(index) = last.parse::<usize>()
                && index < items.len()
            {
                items.remove(index);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fills_what_is_known() {
        let variables = Variables::from([("ns".into(), json!("a")), ("n".into(), json!(3))]);
        assert_eq!(fill("/x/$ns/${ns}s?limit=$n&$ns", &variables), "/x/a/as?limit=3&a");
        assert_eq!(fill("{\"$patch\": \"delete\"} $", &variables), "{\"$patch\": \"delete\"} $");
    }

    #[track_caller]
    fn check(edit: impl Fn(&mut Value), wanted: Value) {
        let mut value = json!({"a": {"b": [1, 2]}});
        edit(&mut value);
        assert_eq!(value, wanted);
    }

    #[test]
    fn edits_at_pointers() {
        check(|value| set(value, "/a/b/0", json!(9)), json!({"a": {"b": [9, 2]}}));
        check(|value| set(value, "/a/b/-", json!(3)), json!({"a": {"b": [1, 2, 3]}}));
        check(|value| set(value, "/c/d~1e", json!(1)), json!({"a": {"b": [1, 2]}, "c": {"d/e": 1}}));
        check(|value| remove(value, "/a/b/1"), json!({"a": {"b": [1]}}));
        check(|value| remove(value, "/a"), json!({}));
        check(|value| remove(value, "/x/y"), json!({"a": {"b": [1, 2]}}));
    }
}
