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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[track_caller]
    fn check(before: Value, patch: Value, after: Value) {
        let mut object = Object(before.as_object().unwrap().clone());
        apply(&mut object, &patch).unwrap();
        assert_eq!(Value::Object(object.0), after, "{patch}");
    }

    #[test]
    fn maps_merge_null_deletes_all_else_replaces() {
        check(json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": null, "d": 3}}), json!({"a": {"c": 2, "d": 3}}));
        check(json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]}));
        check(json!({"a": 1}), json!({"a": {"b": null, "c": 1}}), json!({"a": {"c": 1}}));
        check(json!({}), json!({"a": {"b": null}}), json!({"a": {}}));
        check(json!({"a": [1]}), json!({"a": [null, {"b": null}]}), json!({"a": [null, {"b": null}]}));
    }

    #[test]
    fn a_patch_that_is_not_an_object_is_a_bad_request() {
        for patch in [json!([]), json!(null), json!("x")] {
            assert_eq!(apply(&mut Object::default(), &patch).unwrap_err().status().code, 400);
        }
    }

    fn value(nulls: bool) -> impl Strategy<Value = Value> {
        let null = if nulls { Just(Value::Null).boxed() } else { Just(json!(0)).boxed() };
        let leaf = prop_oneof![null, any::<i8>().prop_map(|n| json!(n)), "[ab]{0,2}".prop_map(|text| json!(text))];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[abc]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn map(nulls: bool) -> impl Strategy<Value = Map<String, Value>> {
        proptest::collection::btree_map("[abcd]", value(nulls), 0..4).prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_diff_applied_gives_what_it_was_made_for(from in map(false), to in map(false)) {
            let patch = diff(&from, &to);
            let mut object = Object(from.clone());
            apply(&mut object, &patch).unwrap();
            prop_assert_eq!(&object.0, &to);
            prop_assert_eq!(diff(&from, &from), json!({}));
        }

        #[test]
        fn a_merge_patch_applied_twice_is_applied_once(from in map(true), patch in map(true)) {
            let patch = Value::Object(patch);
            let mut once = Object(from);
            apply(&mut once, &patch).unwrap();
            let mut twice = once.clone();
            apply(&mut twice, &patch).unwrap();
            prop_assert_eq!(once, twice);
        }
    }
}
