//! Equality as a writer or an agent means it: which differences count.

use crate::quantity::Quantity;
use api::Object;
use serde_json::{Map, Value};
use std::cmp::Ordering;

/// Whether two objects are equal but for what lies at or below `ignored` paths (of plain field names, at most from the
/// root): `same_except(a, b, &[&["status"], &["metadata", "managedFields"]])`.
pub fn same_except(a: &Object, b: &Object, ignored: &[&[&str]]) -> bool {
    same_maps(&a.0, &b.0, ignored)
}

/// Whether a write would change nothing but the timestamps of `managedFields`: then it must not be made at all.
pub fn same_except_managed_times(a: &Object, b: &Object) -> bool {
    if !same_except(a, b, &[&["metadata", "managedFields"]]) {
        return false;
    }
    let entries = |object: &Object| -> Vec<Value> {
        let list = object.meta("managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
        let timeless = list.into_iter().map(|mut entry| {
            if let Some(entry) = entry.as_object_mut() {
                entry.remove("time");
            }
            entry
        });
        let mut timeless: Vec<Value> = timeless.collect();
        // Entries stand in order of their times.
        timeless.sort_by_cached_key(Value::to_string);
        timeless
    };
    a.meta("managedFields") == b.meta("managedFields") || entries(a) == entries(b)
}

fn same_maps(a: &Map<String, Value>, b: &Map<String, Value>, ignored: &[&[&str]]) -> bool {
    if ignored.is_empty() {
        return a == b;
    }
    let is_ignored = |key: &str| ignored.iter().any(|path| *path == [key]);
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let order = match (a.peek(), b.peek()) {
            (None, None) => return true,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let left = if order == Ordering::Greater { None } else { a.next() };
        let right = if order == Ordering::Less { None } else { b.next() };
        let Some((key, _)) = left.or(right) else { return true };
        if is_ignored(key) {
            continue;
        }
        let below: Vec<&[&str]> = ignored
            .iter()
            .filter_map(|path| path.split_first())
            .filter(|(first, _)| **first == key)
            .map(|(_, rest)| rest)
            .collect();
        let same = match (left.map(|(_, value)| value), right.map(|(_, value)| value)) {
            (Some(Value::Object(a)), Some(Value::Object(b))) => same_maps(a, b, &below),
            // A map of which only ignored members are there is as good as none.
            (Some(Value::Object(one)), None) | (None, Some(Value::Object(one))) if !below.is_empty() => {
                same_maps(one, &Map::new(), &below)
            }
            (a, b) => a == b,
        };
        if !same {
            return false;
        }
    }
}

/// Maps whose values are quantities, wherever they stand: the server writes these in canonical form.
const QUANTITY_MAPS: [&str; 12] = [
    "allocatable",
    "allocatedResources",
    "capacity",
    "default",
    "defaultRequest",
    "hard",
    "limits",
    "max",
    "maxLimitRequestRatio",
    "min",
    "podFixed",
    "requests",
];

/// Fields that are quantities.
const QUANTITY_FIELDS: [&str; 4] = ["averageValue", "divisor", "sizeLimit", "value"];

/// Whether all that `desired` says is so in `live`: every field is there with an equal value. Lists are equal by
/// position and length; quantities and numbers by value. What says nothing (null, an empty map, an empty list) holds
/// where the field is absent too, since servers drop such fields.
pub fn subset(desired: &Value, live: &Value) -> bool {
    holds(desired, Some(live), false)
}

fn holds(desired: &Value, live: Option<&Value>, quantity: bool) -> bool {
    let live = live.unwrap_or(&Value::Null);
    match (desired, live) {
        (Value::Null, live) => live.is_null(),
        (Value::Object(desired), Value::Object(live)) => desired.iter().all(|(key, desired)| {
            let field = quantity || QUANTITY_FIELDS.contains(&key.as_str());
            let is_map = QUANTITY_MAPS.contains(&key.as_str());
            // `limits` of a LimitRange is a list of maps: only a map of scalars holds quantities.
            holds(desired, live.get(key), if desired.is_object() { is_map } else { field })
        }),
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len()
                && desired.iter().zip(live).all(|(desired, live)| holds(desired, Some(live), false))
        }
        (Value::Object(desired), Value::Null) => desired.values().all(|desired| holds(desired, None, false)),
        (Value::Array(desired), Value::Null) => desired.is_empty(),
        (Value::Number(a), Value::Number(b)) => a == b || (a.is_f64() != b.is_f64() && a.as_f64() == b.as_f64()),
        (desired, live) if desired == live => true,
        (desired, live) if quantity => {
            let amount = Quantity::from_value(desired);
            amount.is_some() && amount == Quantity::from_value(live)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        Object(value.as_object().unwrap().clone())
    }

    #[track_caller]
    fn check_subset(desired: Value, live: Value, expected: bool) {
        assert_eq!(subset(&desired, &live), expected, "{desired} in {live}");
    }

    #[test]
    fn every_field_of_desired_must_be_in_live() {
        check_subset(json!({"a": 1}), json!({"a": 1, "b": 2}), true);
        check_subset(json!({"a": 1}), json!({"a": 2}), false);
        check_subset(json!({"a": 1}), json!({}), false);
        check_subset(json!({"a": {"b": "x"}}), json!({"a": {"b": "x", "c": 1}}), true);
        check_subset(json!({"a": 1}), json!({"a": 1.0}), true);
    }

    #[test]
    fn lists_are_equal_by_position_and_length_with_elements_as_subsets() {
        check_subset(json!([{"a": 1}]), json!([{"a": 1, "b": 2}]), true);
        check_subset(json!([1, 2]), json!([2, 1]), false);
        check_subset(json!([1]), json!([1, 2]), false);
        check_subset(json!({"a": []}), json!({"a": [1]}), false);
    }

    #[test]
    fn what_says_nothing_holds_where_the_field_is_absent() {
        check_subset(json!({"a": null, "b": {}, "c": [], "d": {"e": null}}), json!({}), true);
        check_subset(json!({"a": null}), json!({"a": 1}), false);
        check_subset(json!({"a": {"b": 1}}), json!({}), false);
    }

    #[test]
    fn quantities_are_equal_by_value_where_quantities_stand() {
        let resources = |cpu: Value| json!({"resources": {"limits": {"cpu": cpu, "memory": "1024Mi"}}});
        let live = json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}});
        check_subset(resources(json!("1000m")), live.clone(), true);
        check_subset(resources(json!(1)), live.clone(), true);
        check_subset(resources(json!("2")), live, false);
        check_subset(json!({"emptyDir": {"sizeLimit": "0.5Gi"}}), json!({"emptyDir": {"sizeLimit": "512Mi"}}), true);
        check_subset(json!({"labels": {"version": "1.0"}}), json!({"labels": {"version": "1"}}), false);
    }

    #[test]
    fn ignored_paths_do_not_count() {
        let a = object(json!({"metadata": {"name": "a", "generation": 1}, "status": {"x": 1}, "spec": {}}));
        let b = object(json!({"metadata": {"name": "a"}, "spec": {}}));
        assert!(same_except(&a, &b, &[&["status"], &["metadata", "generation"]]));
        assert!(!same_except(&a, &b, &[&["status"]]));
        assert!(same_except(&a, &a, &[]));
    }

    #[test]
    fn a_write_that_only_moves_timestamps_is_none() {
        let with = |entries: Value| object(json!({"metadata": {"name": "a", "managedFields": entries}}));
        let a = with(json!([{"manager": "x", "time": "1"}, {"manager": "y", "time": "2"}]));
        let b = with(json!([{"manager": "y", "time": "2"}, {"manager": "x", "time": "3"}]));
        assert!(same_except_managed_times(&a, &b));
        assert!(!same_except_managed_times(&a, &with(json!([{"manager": "x"}]))));
        assert!(!same_except_managed_times(&a, &object(json!({"metadata": {"name": "b"}}))));
    }
}
