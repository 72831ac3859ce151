//! A conversion webhook for definitions whose version 1 has `spec.text` and whose version 2 has `spec.words`: the same,
//! split at blanks. Names of objects ask for wrong answers.

use super::Said;
use serde_json::{Value, json};

/// The answer to a `ConversionReview`.
pub(super) fn answer(review: &Value) -> Said {
    let request = &review["request"];
    let objects = request["objects"].as_array().map_or(&[][..], Vec::as_slice);
    let desired = request["desiredAPIVersion"].as_str().unwrap_or_default();
    let mut reply = json!({"kind": review["kind"], "apiVersion": review["apiVersion"]});
    let mut response = json!({"uid": request["uid"], "result": {"status": "Success"}});
    let mut converted: Vec<Value> = Vec::new();
    for object in objects {
        let mut one = of(object, desired);
        match object["metadata"]["name"].as_str().unwrap_or_default() {
            "fails" => response["result"] = json!({"status": "Failed", "message": "it cannot be"}),
            "fails-silently" => response["result"] = json!({"status": "Failed"}),
            "without-result" => response["result"] = Value::Null,
            "of-another-question" => response["uid"] = json!("another"),
            "of-another-version" => reply["apiVersion"] = json!("apiextensions.k8s.io/v2"),
            "of-another-kind" => reply["kind"] = json!("AdmissionReview"),
            "unavailable" => return Said { status: 503, body: "not now".into() },
            "no-json" => return Said { status: 200, body: "converted".into() },
            "silent" => return json!({"kind": review["kind"], "apiVersion": review["apiVersion"]}).into(),
            "dropped" => continue,
            "doubled" => converted.push(one.clone()),
            "no-object" => one = json!("text"),
            "empty" => one = json!({}),
            "unconverted" => one = object.clone(),
            "another-kind" => one["kind"] = json!("Job"),
            "renamed" => one["metadata"]["name"] = json!("other"),
            "moved" => one["metadata"]["namespace"] = json!("default"),
            "of-another-uid" => one["metadata"]["uid"] = json!("1-2-3"),
            "no-metadata" => drop(one.as_object_mut().map(|one| one.remove("metadata"))),
            "metadata-is-text" => one["metadata"] = json!("text"),
            "owned" => {
                one["metadata"]["finalizers"] = json!(["example.org/held"]);
                one["metadata"]["generation"] = json!(77);
                one["metadata"]["annotations"]["seen"] = json!(desired);
            }
            "wrong-labels" => one["metadata"]["labels"] = json!({"a b": "c"}),
            "labels-are-numbers" => one["metadata"]["labels"] = json!({"a": 1}),
            "wrong-annotations" => one["metadata"]["annotations"] = json!({"a b": "c"}),
            "unlabelled" => one["metadata"]["labels"] = Value::Null,
            "wrong-spec" => one["spec"] = json!({"words": 7, "text": 7}),
            "unknown-fields" => one["spec"]["unknown"] = json!(true),
            _ => {}
        }
        converted.push(one);
    }
    response["convertedObjects"] = json!(converted);
    reply["response"] = response;
    reply.into()
}

/// An object at another version.
fn of(object: &Value, desired: &str) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = json!(desired);
    object["metadata"]["labels"]["seen"] = json!(desired.replace('/', "."));
    let Some(spec) = object["spec"].as_object_mut() else { return object };
    if desired.ends_with("/v2") {
        if let Some(text) = spec.remove("text") {
            let words: Vec<&str> = text.as_str().unwrap_or_default().split(' ').collect();
            spec.insert("words".into(), json!(words));
        }
        return object;
    }
    // Version 1 has no mode: it is lost.
    spec.remove("mode");
    if let Some(words) = spec.remove("words") {
        let words: Vec<&str> = words.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        spec.insert("text".into(), json!(words.join(" ")));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(object: Value, desired: &str) -> Value {
        let review = json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
            "request": {"uid": "u", "desiredAPIVersion": desired, "objects": [object]}});
        serde_json::from_str(&answer(&review).body).unwrap_or_default()
    }

    #[test]
    fn words_are_joined_and_split() {
        let [first, second] = [
            ("v1", json!({"text": "a b", "size": 1})),
            ("v2", json!({"words": ["a", "b"], "size": 1})),
        ]
        .map(|(version, spec)| json!({"apiVersion": format!("g/{version}"), "metadata": {"name": "x"}, "spec": spec}));
        let answer = asked(first.clone(), "g/v2");
        assert_eq!(answer["response"]["uid"], "u");
        assert_eq!(answer["response"]["convertedObjects"][0]["spec"], second["spec"]);
        assert_eq!(asked(second, "g/v1")["response"]["convertedObjects"][0]["spec"], first["spec"]);
    }

    #[test]
    fn names_ask_for_wrong_answers() {
        let named = |name: &str| asked(json!({"metadata": {"name": name}}), "g/v2")["response"].clone();
        assert_eq!(named("fails")["result"]["message"], "it cannot be");
        assert_eq!(named("dropped")["convertedObjects"], json!([]));
        assert_eq!(named("silent"), Value::Null);
    }
}
