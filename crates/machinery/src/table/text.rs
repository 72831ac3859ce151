//! Pieces of cells that several kinds share.

use super::Fields;
use crate::field::{at, list_at, objects_at, text_at};
use serde_json::Value;
use std::collections::BTreeSet;

/// Items that a cell lists before it says how many more there are.
const SHOWN: usize = 3;

/// `a=1,b=2`, or `<none>`.
pub(super) fn labels(labels: Option<&Value>) -> String {
    let entries = labels.and_then(Value::as_object).into_iter().flatten();
    let pairs: Vec<String> = entries.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or(""))).collect();
    or(&pairs.join(","), "<none>")
}

/// A label selector in the syntax of query parameters, sorted by key; empty if it selects everything.
pub(super) fn selector(selector: Option<&Value>) -> String {
    let mut parts: Vec<(String, String)> = Vec::new();
    let get = |key: &str| selector.and_then(|selector| selector.get(key));
    for (key, value) in get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        parts.push((key.clone(), format!("{key}={}", value.as_str().unwrap_or(""))));
    }
    for expression in get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let Some(expression) = expression.as_object() else { continue };
        let key = text_at(expression, "key");
        let mut values: Vec<&str> = list_at(expression, "values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let text = match text_at(expression, "operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return "<error>".into(),
        };
        parts.push((key.to_owned(), text));
    }
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
}

/// [`selector`], or `<none>`.
pub(super) fn selector_or_none(value: Option<&Value>) -> String {
    or(&selector(value), "<none>")
}

/// Names and images of the containers at a path.
pub(super) fn containers(object: &Fields, path: &str) -> (String, String) {
    let all: Vec<&Fields> = objects_at(object, path).collect();
    let join = |field: &str| all.iter().map(|container| text_at(container, field)).collect::<Vec<_>>().join(",");
    (join("name"), join("image"))
}

/// `text`, or `other` if it is empty.
pub(super) fn or(text: &str, other: &str) -> String {
    if text.is_empty() { other.into() } else { text.into() }
}

/// The first items, and how many more there are.
pub(super) fn some(items: &[String], empty: &str) -> String {
    let shown = items[..items.len().min(SHOWN)].join(",");
    if items.len() > SHOWN { format!("{shown} + {} more...", items.len() - SHOWN) } else { or(&shown, empty) }
}

/// The addresses of a load balancer, sorted.
pub(super) fn balancer(object: &Fields) -> String {
    let ingresses = objects_at(object, "status.loadBalancer.ingress");
    let addresses: BTreeSet<&str> = ingresses
        .map(|ingress| match text_at(ingress, "ip") {
            "" => text_at(ingress, "hostname"),
            ip => ip,
        })
        .filter(|address| !address.is_empty())
        .collect();
    addresses.into_iter().collect::<Vec<_>>().join(",")
}

/// The status of the condition of a type: `True`, `False`, `Unknown`.
pub(super) fn condition<'o>(object: &'o Fields, kind: &str) -> Option<&'o str> {
    let condition = objects_at(object, "status.conditions").find(|condition| text_at(condition, "type") == kind);
    condition.map(|condition| text_at(condition, "status"))
}

/// Text of a scalar: a number or a text that may be either (`25%`, `1`).
pub(super) fn scalar(object: &Fields, path: &str) -> Option<String> {
    match at(object, path)? {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}
