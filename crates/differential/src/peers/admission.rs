//! Admission webhooks. The path says what one does:
//!
//! | path | what it does |
//! |---|---|
//! | `append/X` | writes `X` behind what the annotation `calls` holds: who was called, in which order, how often |
//! | `once/X` | the same, unless it holds `X` already |
//! | `tell` | says in warnings what it was sent |
//! | `audit` | gives the request an audit annotation |
//! | `deny`, `deny/TEXT` | refuses, with a message |

use super::Said;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The answer to an `AdmissionReview`; `None` if there is no webhook at the path.
pub(super) fn answer(path: &str, review: &Value) -> Option<Said> {
    let request = &review["request"];
    let mut response = json!({"uid": request["uid"], "allowed": true});
    let (what, word) = path.split_once('/').unwrap_or((path, ""));
    match what {
        "append" | "once" => {
            let calls = request["object"]["metadata"]["annotations"]["calls"].as_str().unwrap_or_default();
            if what == "append" || !calls.split(' ').any(|call| call == word) {
                response["patchType"] = json!("JSONPatch");
                response["patch"] = json!(STANDARD.encode(appended(&request["object"], calls, word).to_string()));
            }
        }
        "tell" => response["warnings"] = json!(told(request)),
        "audit" => response["auditAnnotations"] = json!({"seen": "yes"}),
        "deny" => {
            response["allowed"] = json!(false);
            if !word.is_empty() {
                response["status"] = json!({"message": word, "code": 418, "reason": "Teapot"});
            }
        }
        _ => return None,
    }
    Some(json!({"kind": review["kind"], "apiVersion": review["apiVersion"], "response": response}).into())
}

fn appended(object: &Value, calls: &str, word: &str) -> Value {
    let annotations = if object["metadata"]["annotations"].is_object() {
        json!([])
    } else {
        json!([{"op": "add", "path": "/metadata/annotations", "value": {}}])
    };
    let mut patch = annotations.as_array().cloned().unwrap_or_default();
    let value = format!("{calls} {word}");
    patch.push(json!({"op": "add", "path": "/metadata/annotations/calls", "value": value.trim_start()}));
    json!(patch)
}

/// What a request is about, a line for each part.
fn told(request: &Value) -> Vec<String> {
    let joined = |value: &Value, keys: [&str; 3]| {
        keys.map(|key| value[key].as_str().unwrap_or_default()).join("/").trim_start_matches('/').to_owned()
    };
    let text = |key: &str| request[key].as_str().unwrap_or_default();
    vec![
        format!("{} {}", text("operation"), joined(&request["kind"], ["group", "version", "kind"])),
        format!("resource {}", joined(&request["resource"], ["group", "version", "resource"])),
        format!("asked for {}", joined(&request["requestKind"], ["group", "version", "kind"])),
        format!("asked at {}", joined(&request["requestResource"], ["group", "version", "resource"])),
        format!("subresource {:?}, asked {:?}", text("subResource"), text("requestSubResource")),
        format!("object {}, before {}", request["object"]["apiVersion"], request["oldObject"]["apiVersion"]),
        format!("dry {}, options {}", request["dryRun"], request["options"]["kind"]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_in_an_annotation() {
        let patch = appended(&json!({"metadata": {}}), "", "a");
        assert_eq!(patch[1]["value"], "a");
        let patch = appended(&json!({"metadata": {"annotations": {"calls": "a"}}}), "a", "b");
        assert_eq!(patch[0]["value"], "a b");
        assert!(answer("unknown", &json!({})).is_none());
    }
}
