//! Makes answers of two servers comparable: what no two servers can have in common is replaced by its name.

use regex::Regex;
use serde_json::Value;
use std::sync::LazyLock;

/// Where a server is: it is written into some of its answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// `127.0.0.1:6443`
    pub(crate) host: String,
    /// The path before every path of the API: `/spaces/ws`, or nothing.
    pub(crate) prefix: String,
}

static PATTERNS: LazyLock<[(Regex, &'static str); 13]> = LazyLock::new(|| {
    let pattern = |text| Regex::new(text).expect("the patterns are constants");
    [
        (pattern(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"), "<jwt>"),
        (pattern(r"(?s)-----BEGIN ([A-Z ]+)-----.*-----END [A-Z ]+-----\n*"), "<pem $1>"),
        (pattern(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<uid>"),
        (pattern(r"\b20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"), "<microtime>"),
        (pattern(r"\b20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"), "<time>"),
        (pattern(r"\b20[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9:]{8}(\.[0-9]+)? \+0000 UTC( m=\+[0-9.]+)?"), "<time in Go>"),
        (pattern(r"hash=[0-9A-Za-z]+"), "hash=<hash>"),
        (pattern(r"\b10\.96\.[0-9]{1,3}\.[0-9]{1,3}\b"), "<cluster IP>"),
        (pattern(r"\bkube-api-access-[a-z0-9]{5}\b"), "kube-api-access-<suffix>"),
        (pattern(r"with UID [0-9a-f-]+"), "with UID <uid>"),
        (pattern(r"\bX509SHA256=[0-9a-f]{64}\b"), "X509SHA256=<fingerprint>"),
        // In the text of an object that a message quotes.
        (pattern(r#"\\"resourceVersion\\":\\"[0-9]+\\""#), r#"\"resourceVersion\":\"<rv>\""#),
        (
            pattern(r"(?i)too large resource version: [0-9]+, current: [0-9]+"),
            "Too large resource version: <rv>, current: <rv>",
        ),
    ]
});

static AGE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^([0-9]+(y|d|h|m|s))+$").expect("the pattern is a constant"));

/// Replaces uids, revisions, times, generated names, addresses and secrets of the server by what they are.
pub(crate) fn normalise(value: &mut Value, place: &Place) {
    unordered(value);
    let mut generated = Vec::new();
    generated_names(value, &mut generated);
    walk(value, "", &mut |key, value| match value {
        Value::String(text) => normalise_text(key, text, place, &generated),
        Value::Number(number) if matches!(key, "nodePort" | "healthCheckNodePort") && number.as_i64() != Some(0) => {
            *value = Value::String("<node port>".into());
        }
        _ => {}
    });
}

fn normalise_text(key: &str, text: &mut String, place: &Place, generated: &[(String, String)]) {
    match key {
        "resourceVersion" | "serverResourceVersion" if text.parse::<u64>().is_ok_and(|revision| revision > 0) => {
            return "<rv>".clone_into(text);
        }
        "continue" if !text.is_empty() => return "<continue>".clone_into(text),
        "cells" if AGE.is_match(text) => return "<age>".clone_into(text),
        "goVersion" | "platform" | "compiler" | "gitCommit" | "buildDate" => {
            return format!("<{key}>").clone_into(text);
        }
        _ => {}
    }
    if !place.host.is_empty() && text.contains(&place.host) {
        *text = text.replace(&place.host, "<host>");
    }
    if !place.prefix.is_empty() && text.contains(&place.prefix) {
        *text = text.replace(&place.prefix, "");
    }
    for (name, placeholder) in generated {
        if text.contains(name.as_str()) {
            *text = text.replace(name.as_str(), placeholder);
        }
    }
    for (pattern, replacement) in PATTERNS.iter() {
        if pattern.is_match(text) {
            *text = pattern.replace_all(text, *replacement).into_owned();
        }
    }
}

/// Sorts what the stock server gives in an order that is another each time: errors of maps, and managers of the same
/// second. What several of its layers have found is a cause for each of them there; it says no more than once.
fn unordered(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Array(entries)) = map.get_mut("managedFields") {
                entries.sort_by_cached_key(|entry| {
                    ["manager", "operation", "apiVersion", "subresource"]
                        .map(|key| entry[key].as_str().unwrap_or_default().to_owned())
                });
            }
            if map.get("kind").is_some_and(|kind| kind == "Status") {
                if let Some(Value::Array(causes)) = map.get_mut("details").and_then(|details| details.get_mut("causes"))
                {
                    causes.sort_by_cached_key(Value::to_string);
                    causes.dedup();
                }
                if let Some(Value::String(message)) = map.get_mut("message")
                    && let Some((head, errors)) = message.split_once(": [")
                {
                    let mut errors: Vec<&str> = errors.trim_end_matches(']').split(", ").collect();
                    errors.sort_unstable();
                    *message = format!("{head}: [{}]", errors.join(", "));
                }
            }
            map.values_mut().for_each(unordered);
        }
        Value::Array(items) => items.iter_mut().for_each(unordered),
        _ => {}
    }
}

/// Names that the server made from `generateName`, with what stands for them.
fn generated_names(value: &Value, names: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            let text = |key| map.get(key).and_then(Value::as_str).unwrap_or_default();
            let (base, name) = (text("generateName"), text("name"));
            if !base.is_empty() && name.len() == base.len().min(58) + 5 {
                names.push((name.to_owned(), format!("{base}<suffix>")));
            }
            names.extend(refused_name(map));
            map.values().for_each(|value| generated_names(value, names));
        }
        Value::Array(items) => items.iter().for_each(|value| generated_names(value, names)),
        _ => {}
    }
}

/// The name that the server made and then refused: a `Status` that says both what it is, and what it was made from.
fn refused_name(status: &serde_json::Map<String, Value>) -> Option<(String, String)> {
    let details = status.get("details")?;
    let name = details["name"].as_str()?;
    let causes = details["causes"].as_array()?;
    let cause = causes.iter().find(|cause| cause["field"] == "metadata.generateName")?;
    let base = cause["message"].as_str()?.split('"').nth(1)?;
    let made = !base.is_empty() && name.starts_with(base) && name.len() == base.len() + 5;
    made.then(|| (name.to_owned(), format!("{base}<suffix>")))
}

/// Visits every value with the key that it is under; the items of a list are under the key of the list.
fn walk(value: &mut Value, key: &str, visit: &mut impl FnMut(&str, &mut Value)) {
    match value {
        Value::Object(map) => map.iter_mut().for_each(|(key, value)| walk(value, key, visit)),
        Value::Array(items) => items.iter_mut().for_each(|value| walk(value, key, visit)),
        _ => visit(key, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(mut value: Value, wanted: Value) {
        let place = Place { host: "127.0.0.1:9443".into(), prefix: "/spaces/ws".into() };
        normalise(&mut value, &place);
        assert_eq!(value, wanted);
    }

    #[test]
    fn replaces_what_differs_by_nature() {
        check(
            json!({"metadata": {"uid": "8f14e45f-ceea-467f-a830-5d1e0e9b1c00", "resourceVersion": "42", "creationTimestamp": "2026-01-02T03:04:05Z"}}),
            json!({"metadata": {"uid": "<uid>", "resourceVersion": "<rv>", "creationTimestamp": "<time>"}}),
        );
        check(json!({"resourceVersion": "0"}), json!({"resourceVersion": "0"}));
        check(json!({"resourceVersion": ""}), json!({"resourceVersion": ""}));
        check(json!({"time": "2026-01-02T03:04:05.000001Z"}), json!({"time": "<microtime>"}));
        check(json!({"rows": [{"cells": ["a", 1, "5m3s"]}]}), json!({"rows": [{"cells": ["a", 1, "<age>"]}]}));
        check(json!({"nodePort": 30123, "port": 30123}), json!({"nodePort": "<node port>", "port": 30123}));
        check(json!({"clusterIPs": ["10.96.12.1"]}), json!({"clusterIPs": ["<cluster IP>"]}));
        check(
            json!({"u": "https://127.0.0.1:9443/spaces/ws/openapi/v3?hash=AB12"}),
            json!({"u": "https://<host>/openapi/v3?hash=<hash>"}),
        );
    }

    #[test]
    fn sorts_what_has_no_order() {
        check(
            json!({"kind": "Status", "message": "x is invalid: [b: 1, a: 2]", "details": {"causes": [{"field": "b"}, {"field": "a"}]}}),
            json!({"kind": "Status", "message": "x is invalid: [a: 2, b: 1]", "details": {"causes": [{"field": "a"}, {"field": "b"}]}}),
        );
        check(
            json!({"managedFields": [{"manager": "b"}, {"manager": "a"}]}),
            json!({"managedFields": [{"manager": "a"}, {"manager": "b"}]}),
        );
    }

    #[test]
    fn replaces_generated_names_wherever_they_are() {
        check(
            json!({"metadata": {"generateName": "a-", "name": "a-x2b4c"}, "message": "a-x2b4c is there"}),
            json!({"metadata": {"generateName": "a-", "name": "a-<suffix>"}, "message": "a-<suffix> is there"}),
        );
        check(
            json!({"metadata": {"generateName": "a-", "name": "chosen"}}),
            json!({"metadata": {"generateName": "a-", "name": "chosen"}}),
        );
        let refused = |name: &str| json!({"details": {"name": name, "causes": [{"field": "metadata.generateName", "message": "Invalid value: \"a-\": why"}]}});
        check(refused("a-x2b4c"), refused("a-<suffix>"));
        check(
            json!({"message": r#"Invalid value: "{\"resourceVersion\":\"12\"}""#}),
            json!({"message": r#"Invalid value: "{\"resourceVersion\":\"<rv>\"}""#}),
        );
    }
}
