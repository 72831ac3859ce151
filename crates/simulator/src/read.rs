//! Reads fields of objects; what is absent or of another shape reads as the API's default.

use api::{Labels, Object, Timestamp};
use serde_json::{Map, Value};

pub(crate) fn text<'a>(object: &'a Object, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

pub(crate) fn number(object: &Object, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

pub(crate) fn truth(object: &Object, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

pub(crate) fn items<'a>(object: &'a Object, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `spec.replicas`, one if absent.
pub(crate) fn replicas(object: &Object) -> i64 {
    number(object, "/spec/replicas").unwrap_or(1).max(0)
}

/// A number of `.status`, zero if absent.
pub(crate) fn status_number(object: &Object, field: &str) -> i64 {
    object.0.get("status").and_then(|status| status.get(field)).and_then(Value::as_i64).unwrap_or(0)
}

/// A value that can be indexed and written into: an object, empty if it was none.
pub(crate) fn map(value: Option<&Value>) -> Value {
    value.filter(|value| value.is_object()).cloned().unwrap_or_else(|| Value::Object(Map::new()))
}

/// `spec.template`, whose metadata, labels and spec are objects.
pub(crate) fn template(object: &Object) -> Value {
    let mut template = map(object.pointer("/spec/template"));
    let labels = map(template.pointer("/metadata/labels"));
    template["metadata"] = map(template.get("metadata"));
    template["metadata"]["labels"] = labels;
    template["spec"] = map(template.get("spec"));
    template
}

/// The status as it is, to be changed.
pub(crate) fn status(object: &Object) -> Value {
    map(object.0.get("status"))
}

/// A condition of `.status.conditions`.
pub(crate) fn condition<'a>(object: &'a Object, type_: &str) -> Option<&'a Value> {
    items(object, "/status/conditions").iter().find(|condition| condition["type"] == type_)
}

pub(crate) fn is_true(object: &Object, type_: &str) -> bool {
    condition(object, type_).is_some_and(|condition| condition["status"] == "True")
}

/// Whether a pod counts as ready.
pub(crate) fn is_ready(pod: &Object) -> bool {
    is_true(pod, "Ready") && !pod.is_deleting()
}

/// Whether a pod still runs, or will.
pub(crate) fn is_active(pod: &Object) -> bool {
    !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") && !pod.is_deleting()
}

pub(crate) fn labels(value: Option<&Value>) -> Labels {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

pub(crate) fn created(object: &Object) -> Option<Timestamp> {
    object.meta("creationTimestamp")?.as_str()?.parse().ok()
}
