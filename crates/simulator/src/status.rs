//! Statuses: what changed, since when.

use crate::kind::Kind;
use crate::plan::Plan;
use api::{Object, Op, Timestamp};
use serde_json::{Map, Value, json};

/// Puts an object's status to `wanted` if it is not that already. Fields that it should not have are removed.
pub(crate) fn write(plan: &mut Plan, kind: Kind, object: &Object, wanted: Value) {
    let held = object.0.get("status").cloned().unwrap_or_default();
    let wanted = without_nulls(wanted);
    if held == wanted || (held.is_null() && wanted == json!({})) {
        return;
    }
    let status = difference(&held, &wanted);
    let resource = kind.resource();
    // The uid keeps the status of one incarnation from a later one of the same name.
    let patch = json!({"metadata": {"uid": object.uid()}, "status": status});
    plan.ops.push(Op::merge_patch(resource, object.object_name(), patch).on_status());
}

/// The merge patch that makes `wanted` of `held`.
fn difference(held: &Value, wanted: &Value) -> Value {
    let (Value::Object(held), Value::Object(wanted)) = (held, wanted) else { return wanted.clone() };
    let mut patch = Map::new();
    for key in held.keys().filter(|key| !wanted.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in wanted {
        match held.get(key) {
            Some(held) if held == value => {}
            Some(held) => {
                patch.insert(key.clone(), difference(held, value));
            }
            None => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    patch.into()
}

/// A field of `null` is written by a plan for "not there".
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into(),
        other => other,
    }
}

/// A number that the API leaves out when it is zero.
pub(crate) fn unless_zero(number: i64) -> Value {
    if number == 0 { Value::Null } else { number.into() }
}

/// A condition without times.
pub(crate) fn condition(type_: &str, status: bool, reason: &str, message: &str) -> Value {
    let mut condition = json!({"type": type_, "status": if status { "True" } else { "False" }});
    for (field, text) in [("reason", reason), ("message", message)] {
        if !text.is_empty() {
            condition[field] = text.into();
        }
    }
    condition
}

/// The conditions with their times: `lastTransitionTime` moves when the status changes, `updated` (what the kind calls
/// the time of the last change of any kind, if it has one) when anything does.
pub(crate) fn conditions(object: &Object, wanted: Vec<Value>, now: Timestamp, updated: Option<&str>) -> Value {
    let now = Value::from(now.to_string());
    let stamp = |mut wanted: Value| {
        let held = wanted["type"].as_str().and_then(|type_| crate::read::condition(object, type_));
        let same =
            |fields: &[&str]| held.filter(|held| fields.iter().all(|field| held.get(*field) == wanted.get(*field)));
        let transition = same(&["status"]).and_then(|held| held.get("lastTransitionTime")).unwrap_or(&now).clone();
        let update = updated.map(|field| {
            let held = same(&["status", "reason", "message"]).and_then(|held| held.get(field));
            (field, held.unwrap_or(&now).clone())
        });
        wanted["lastTransitionTime"] = transition;
        if let Some((field, time)) = update {
            wanted[field] = time;
        }
        wanted
    };
    wanted.into_iter().map(stamp).collect::<Vec<_>>().into()
}

/// The time that a field of the status holds already, else now.
pub(crate) fn since(object: &Object, pointer: &str, now: Timestamp) -> String {
    object.pointer(pointer).and_then(Value::as_str).map_or_else(|| now.to_string(), str::to_owned)
}

/// An owner reference to the object that controls another.
pub(crate) fn controller_of(kind: Kind, owner: &Object) -> Value {
    let resource = kind.resource();
    json!([{
        "apiVersion": resource.api_version(),
        "kind": resource.kind,
        "name": owner.name(),
        "uid": owner.uid(),
        "controller": true,
        "blockOwnerDeletion": true,
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_difference(held: Value, wanted: Value, patch: Value) {
        assert_eq!(difference(&held, &wanted), patch);
    }

    #[test]
    fn a_patch_says_only_what_changes() {
        check_difference(json!(null), json!({"a": 1}), json!({"a": 1}));
        check_difference(json!({"a": 1, "b": 2}), json!({"a": 1, "c": 3}), json!({"b": null, "c": 3}));
        check_difference(json!({"a": {"x": 1, "y": 2}}), json!({"a": {"x": 1}}), json!({"a": {"y": null}}));
        check_difference(json!({"a": [1]}), json!({"a": [1, 2]}), json!({"a": [1, 2]}));
    }

    #[test]
    fn times_move_only_with_what_they_date() {
        let at = |seconds| Timestamp::from_seconds(seconds);
        let mut object = Object::default();
        let first = conditions(&object, vec![condition("A", true, "R", "m")], at(1), Some("lastUpdateTime"));
        object.0.insert("status".into(), json!({"conditions": first}));
        let same = conditions(&object, vec![condition("A", true, "R", "m")], at(2), Some("lastUpdateTime"));
        assert_eq!(same, first);
        let other = conditions(&object, vec![condition("A", true, "S", "m")], at(2), Some("lastUpdateTime"));
        assert_eq!(other[0]["lastTransitionTime"], "1970-01-01T00:00:01Z");
        assert_eq!(other[0]["lastUpdateTime"], "1970-01-01T00:00:02Z");
        let turned = conditions(&object, vec![condition("A", false, "S", "m")], at(3), None);
        assert_eq!(turned[0]["lastTransitionTime"], "1970-01-01T00:00:03Z");
    }
}
