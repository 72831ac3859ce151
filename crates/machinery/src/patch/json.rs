//! JSON patch (RFC 6902) within the limits of an API server.

use super::PatchError;
use api::Object;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Operations in one patch, as the stock server allows.
pub const MAX_OPERATIONS: usize = 10_000;
/// Bytes that all `copy` operations of a patch may copy, as in the stock server: a few of them can double an object
/// again and again.
pub const MAX_COPIED: usize = 3 * 1024 * 1024;
/// Levels of an object; readers of JSON give up not much deeper.
const MAX_DEPTH: usize = 120;

/// One operation. `from` and `value` are there as the operation needs them.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Operation {
    Add { path: String, value: Value },
    Remove { path: String },
    Replace { path: String, value: Value },
    Move { from: String, path: String },
    Copy { from: String, path: String },
    Test { path: String, value: Value },
}

/// Applies a JSON patch: all of its operations, or none.
///
/// # Errors
/// If the patch is not one, is too large, or does not fit `target`.
pub fn apply(target: &mut Object, patch: &Value) -> Result<(), PatchError> {
    let Value::Array(operations) = patch else {
        return Err(PatchError::Malformed("a JSON patch must be a list of operations".into()));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut document = Document { root: Value::Object(target.0.clone()), copied: 0 };
    for (at, operation) in operations.iter().enumerate() {
        let operation = Operation::deserialize(operation)
            .map_err(|error| PatchError::Inapplicable(format!("operation {at} of the JSON patch: {error}")))?;
        document.perform(operation)?;
    }
    match document.root {
        Value::Object(map) => target.0 = map,
        _ => return Err(PatchError::Inapplicable("the patch replaces the object by something else".into())),
    }
    Ok(())
}

struct Document {
    root: Value,
    copied: usize,
}

impl Document {
    fn perform(&mut self, operation: Operation) -> Result<(), PatchError> {
        match operation {
            Operation::Add { path, value } => self.add("add", &path, value),
            Operation::Remove { path } => self.remove("remove", &path).map(drop),
            Operation::Replace { path, value } => {
                check_depth(&segments(&path)?, &value)?;
                self.replace(&path, value)
            }
            Operation::Move { from, path } => {
                if path.strip_prefix(&from).is_some_and(|rest| rest.starts_with('/')) {
                    let problem = format!("move operation does not apply: {path} lies inside of {from}");
                    return Err(PatchError::Inapplicable(problem));
                }
                let value = self.remove("move", &from)?;
                self.add("move", &path, value)
            }
            Operation::Copy { from, path } => {
                let value = self.copied(&from)?;
                self.copied = self.copied.saturating_add(value.to_string().len());
                if self.copied > MAX_COPIED {
                    return Err(PatchError::TooLarge(format!(
                        "Unable to complete the copy, the accumulated size increase of copies is {}, which exceeds the \
                         limit {MAX_COPIED}",
                        self.copied
                    )));
                }
                self.add("copy", &path, value)
            }
            Operation::Test { path, value } => match (self.at_mut("test", &path), &value) {
                // A missing member passes as null, as in the stock server.
                (Err(_), Value::Null) => Ok(()),
                (Ok(found), _) if same(found, &value) => Ok(()),
                (Ok(_), _) => Err(PatchError::Inapplicable(format!("testing value {path} failed: test failed"))),
                (Err(error), _) => Err(error),
            },
        }
    }

    fn at_mut(&mut self, name: &str, path: &str) -> Result<&mut Value, PatchError> {
        segments(path)?
            .iter()
            .try_fold(&mut self.root, |at, segment| step(at, segment))
            .ok_or_else(|| missing(name, path))
    }

    /// What is not there yet in an object is set, as in the stock server.
    fn replace(&mut self, path: &str, value: Value) -> Result<(), PatchError> {
        let segments = segments(path)?;
        if let Some((last, above)) = segments.split_last()
            && let Some(Value::Object(map)) = above.iter().try_fold(&mut self.root, |at, segment| step(at, segment))
        {
            map.insert(last.clone(), value);
            return Ok(());
        }
        *self.at_mut("replace", path)? = value;
        Ok(())
    }

    /// What is not there in an object is copied as null.
    fn copied(&mut self, from: &str) -> Result<Value, PatchError> {
        let segments = segments(from)?;
        if let Some((last, above)) = segments.split_last()
            && let Some(Value::Object(map)) = above.iter().try_fold(&mut self.root, |at, segment| step(at, segment))
        {
            return Ok(map.get(last).cloned().unwrap_or_default());
        }
        self.at_mut("copy", from).map(|value| value.clone())
    }

    fn add(&mut self, name: &str, path: &str, value: Value) -> Result<(), PatchError> {
        let segments = segments(path)?;
        check_depth(&segments, &value)?;
        let Some((last, above)) = segments.split_last() else {
            self.root = value;
            return Ok(());
        };
        let parent = above.iter().try_fold(&mut self.root, |at, segment| step(at, segment));
        match parent {
            Some(Value::Object(map)) => {
                map.insert(last.clone(), value);
                Ok(())
            }
            Some(Value::Array(list)) => {
                let at = if last == "-" { Some(list.len()) } else { index(last).filter(|at| *at <= list.len()) };
                let at = at.ok_or_else(|| {
                    PatchError::Inapplicable(format!(
                        "{name} operation does not apply: {path}: invalid index referenced"
                    ))
                })?;
                list.insert(at, value);
                Ok(())
            }
            _ => Err(missing(name, path)),
        }
    }

    fn remove(&mut self, name: &str, path: &str) -> Result<Value, PatchError> {
        let segments = segments(path)?;
        let Some((last, above)) = segments.split_last() else {
            return Ok(std::mem::take(&mut self.root));
        };
        let parent = above.iter().try_fold(&mut self.root, |at, segment| step(at, segment));
        let removed = match parent {
            Some(Value::Object(map)) => map.remove(last),
            Some(Value::Array(list)) => index(last).filter(|at| *at < list.len()).map(|at| list.remove(at)),
            _ => None,
        };
        removed.ok_or_else(|| missing(name, path))
    }
}

fn step<'a>(at: &'a mut Value, segment: &str) -> Option<&'a mut Value> {
    match at {
        Value::Object(map) => map.get_mut(segment),
        Value::Array(list) => list.get_mut(index(segment)?),
        _ => None,
    }
}

/// The segments of a JSON pointer (RFC 6901), unescaped.
fn segments(path: &str) -> Result<Vec<String>, PatchError> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let rest = path.strip_prefix('/').ok_or_else(|| {
        PatchError::Inapplicable(format!("the path {path:?} of a JSON patch must start with a slash"))
    })?;
    Ok(rest.split('/').map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect())
}

/// An array index has no sign and no leading zero.
fn index(segment: &str) -> Option<usize> {
    let plain = segment.bytes().all(|b| b.is_ascii_digit()) && (segment == "0" || !segment.starts_with('0'));
    if plain { segment.parse().ok() } else { None }
}

fn check_depth(path: &[String], value: &Value) -> Result<(), PatchError> {
    if path.len() + depth(value) <= MAX_DEPTH {
        return Ok(());
    }
    Err(PatchError::TooLarge(format!("the patched object would be more than {MAX_DEPTH} levels deep")))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn missing(name: &str, path: &str) -> PatchError {
    PatchError::Inapplicable(format!("{name} operation does not apply: doc is missing path: {path}: missing value"))
}

/// Numbers are equal by value, whether written `1` or `1.0`.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.is_f64() != b.is_f64() && a.as_f64() == b.as_f64()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => same_map(a, b),
        _ => a == b,
    }
}

fn same_map(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((ka, a), (kb, b))| ka == kb && same(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(before: Value, patch: Value, after: Value) {
        let mut object = Object(before.as_object().unwrap().clone());
        apply(&mut object, &patch).unwrap_or_else(|error| panic!("{patch}: {error}"));
        assert_eq!(Value::Object(object.0), after, "{patch}");
    }

    #[track_caller]
    fn check_error(before: Value, patch: Value, code: u16, message: &str) {
        let mut object = Object(before.as_object().unwrap().clone());
        let error = apply(&mut object, &patch).unwrap_err();
        assert_eq!(error.status().code, code, "{error}");
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(Value::Object(object.0), before, "a patch that fails changes nothing");
    }

    #[test]
    fn each_operation_does_what_the_rfc_says() {
        check(json!({}), json!([{"op": "add", "path": "/a", "value": 1}]), json!({"a": 1}));
        check(json!({"a": [1, 2]}), json!([{"op": "add", "path": "/a/1", "value": 9}]), json!({"a": [1, 9, 2]}));
        check(json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": 2}]), json!({"a": [1, 2]}));
        check(json!({"a": 1, "b": 2}), json!([{"op": "remove", "path": "/a"}]), json!({"b": 2}));
        check(json!({"a": [1, 2]}), json!([{"op": "remove", "path": "/a/0"}]), json!({"a": [2]}));
        check(json!({"a": 1}), json!([{"op": "replace", "path": "/a", "value": {"b": 2}}]), json!({"a": {"b": 2}}));
        check(json!({"a": 1}), json!([{"op": "move", "from": "/a", "path": "/b"}]), json!({"b": 1}));
        check(json!({"a": [1]}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"a": [1], "b": [1]}));
        check(json!({"a": 1.0}), json!([{"op": "test", "path": "/a", "value": 1}]), json!({"a": 1.0}));
        check(json!({}), json!([{"op": "test", "path": "/a", "value": null}]), json!({}));
        check(json!({}), json!([{"op": "replace", "path": "/a", "value": 1}]), json!({"a": 1}));
        check(json!({}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"b": null}));
        check(json!({"a": 1}), json!([{"op": "add", "path": "", "value": {"b": 1}}]), json!({"b": 1}));
    }

    #[test]
    fn pointers_unescape_slash_and_tilde() {
        check(
            json!({"metadata": {"labels": {"a/b~c": "x"}}}),
            json!([{"op": "replace", "path": "/metadata/labels/a~1b~0c", "value": "y"}]),
            json!({"metadata": {"labels": {"a/b~c": "y"}}}),
        );
    }

    #[test]
    fn what_does_not_fit_the_object_is_invalid() {
        let before = || json!({"a": [1]});
        let message = "remove operation does not apply: doc is missing path: /b: missing value";
        check_error(before(), json!([{"op": "remove", "path": "/b"}]), 422, message);
        check_error(before(), json!([{"op": "add", "path": "/b/c", "value": 1}]), 422, "missing path: /b/c");
        check_error(before(), json!([{"op": "replace", "path": "/b/c", "value": 1}]), 422, "missing path");
        check_error(before(), json!([{"op": "add", "path": "/a/2", "value": 1}]), 422, "invalid index");
        check_error(before(), json!([{"op": "add", "path": "/a/01", "value": 1}]), 422, "invalid index");
        check_error(before(), json!([{"op": "test", "path": "/a", "value": []}]), 422, "testing value /a failed");
        check_error(before(), json!([{"op": "move", "from": "/a", "path": "/a/0"}]), 422, "lies inside");
        check_error(before(), json!([{"op": "remove", "path": ""}]), 422, "something else");
        let half = json!([{"op": "add", "path": "/c", "value": 1}, {"op": "remove", "path": "/b"}]);
        check_error(before(), half, 422, "missing path");
    }

    #[test]
    fn what_is_not_a_patch_is_a_bad_request() {
        check_error(json!({}), json!({}), 400, "list of operations");
        check_error(json!({}), json!([{"op": "jump", "path": "/a"}]), 422, "operation 0");
        check_error(json!({}), json!([{"op": "add", "path": "/a"}]), 422, "value");
        check_error(json!({}), json!([{"op": "add", "path": "a", "value": 1}]), 422, "start with a slash");
    }

    #[test]
    fn operations_copies_and_depth_are_bounded() {
        let many = vec![json!({"op": "test", "path": "/a", "value": null}); MAX_OPERATIONS + 1];
        let message = "The allowed maximum operations in a JSON patch is 10000, got 10001";
        check_error(json!({}), many.into(), 413, message);
        let copies: Vec<Value> =
            (0..40).map(|at| json!({"op": "copy", "from": "/a", "path": format!("/a/c{at}")})).collect();
        let big = json!({"a": {"x": "y".repeat(1000)}});
        check_error(big, copies.into(), 413, "accumulated size");
        let nest: Vec<Value> = (0..200).map(|_| json!({"op": "copy", "from": "/a", "path": "/a/a"})).collect();
        check_error(json!({"a": {}}), nest.into(), 413, "levels deep");
    }
}
