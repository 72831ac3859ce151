//! Conversion webhooks: what one is asked to turn objects of a CRD into another version, and what its answer means.

use crate::admission::webhook::Address;
use crate::apply::go_type;
use crate::field;
use crate::name;
use api::Object;
use serde_json::{Map, Value, json};

/// How the objects of a definition come from one version to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Webhook {
    /// Where it is reached.
    pub address: Address,
    /// PEM of the authorities that may sign its certificate, in base64; the system's if empty.
    pub authorities: String,
    /// The version of `ConversionReview` that it is sent; `None` if it knows none that is spoken here.
    pub version: Option<&'static str>,
}

impl Webhook {
    /// Reads the `spec` of a definition; `None` if its versions differ in `apiVersion` only.
    pub fn read(spec: &Value) -> Option<Self> {
        let conversion = spec.get("conversion").filter(|conversion| conversion["strategy"] == "Webhook")?;
        let hook = conversion["webhook"].as_object()?;
        let address = match field::text_at(hook, "clientConfig.url") {
            "" => {
                let part = |name: &str| field::text_at(hook, &format!("clientConfig.service.{name}")).to_owned();
                Address::Service(format!("{}/{}", part("namespace"), part("name")))
            }
            url => Address::Url(url.to_owned()),
        };
        let mut versions = field::list_at(hook, "conversionReviewVersions").iter().filter_map(Value::as_str);
        Some(Self {
            address,
            authorities: field::text_at(hook, "clientConfig.caBundle").to_owned(),
            version: versions.find_map(|version| match version {
                "v1" => Some("v1"),
                "v1beta1" => Some("v1beta1"),
                _ => None,
            }),
        })
    }
}

/// The question: these objects at another version.
pub fn review(version: &str, uid: &str, desired: &str, objects: &[&Object]) -> Value {
    json!({
        "kind": "ConversionReview",
        "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "request": {"uid": uid, "desiredAPIVersion": desired, "objects": objects},
    })
}

/// An object's group, version and kind, in the stock server's words.
fn named(object: &Object) -> String {
    format!("{}, Kind={}", object.api_version(), object.kind())
}

/// What is said when a webhook cannot be asked, or answers nothing of use.
pub fn failed(object: &Object, why: &str) -> String {
    format!("conversion webhook for {} failed: {why}", named(object))
}

/// Reads the answer: the objects in the order in which they were sent.
///
/// # Errors
/// What is wrong with it, in the words of the stock server.
pub fn converted(
    answer: &Value,
    version: &str,
    uid: &str,
    desired: &str,
    sent: &[&Object],
) -> Result<Vec<Object>, String> {
    let Some(first) = sent.first() else { return Ok(Vec::new()) };
    let objects = answered(answer, version, uid).map_err(|why| failed(first, &why))?;
    if objects.len() != sent.len() {
        let (got, wanted) = (objects.len(), sent.len());
        return Err(format!("conversion webhook for {} returned {got} objects, expected {wanted}", named(first)));
    }
    let mut out = Vec::with_capacity(sent.len());
    for (index, (object, original)) in objects.iter().zip(sent).enumerate() {
        out.push(taken_in(object, original, desired).map_err(|why| why.at(&named(original), index, sent.len() > 1))?);
    }
    Ok(out)
}

/// What is wrong with one object of an answer.
enum Bad {
    /// It is no object of the API at all.
    Unreadable(String),
    /// It is another object, or none.
    Object(String),
    /// It is of another version or kind.
    Kind(String),
    Metadata(String),
}

impl Bad {
    fn at(self, kind: &str, index: usize, several: bool) -> String {
        let place = if several { format!(" at index {index}") } else { String::new() };
        match self {
            Self::Unreadable(why) if !several => why,
            Self::Unreadable(why) => {
                format!("conversion webhook for {kind} returned invalid converted object{place}: {why}")
            }
            Self::Object(why) if several => {
                format!("conversion webhook for {kind} returned invalid converted object{place}: {why}")
            }
            Self::Kind(why) if several => {
                format!("conversion webhook for {kind} returned invalid converted object{place}: {why}")
            }
            Self::Object(why) => format!("conversion webhook for {kind} returned invalid object: {why}"),
            Self::Kind(why) => format!("conversion webhook for {kind} returned invalid object at index 0: {why}"),
            Self::Metadata(why) if several => {
                format!("conversion webhook for {kind} returned invalid metadata in object{place}: {why}")
            }
            Self::Metadata(why) => format!("conversion webhook for {kind} returned invalid metadata: {why}"),
        }
    }
}

fn answered<'a>(answer: &'a Value, version: &str, uid: &str) -> Result<&'a [Value], String> {
    let text = |value: &'a Value| value.as_str().unwrap_or("");
    let v1 = version == "v1";
    let (kind, group_version) = (text(&answer["kind"]), text(&answer["apiVersion"]));
    let wanted = "apiextensions.k8s.io/v1";
    let known = ["apiextensions.k8s.io/v1", "apiextensions.k8s.io/v1beta1"];
    if !kind.is_empty() && !group_version.is_empty() && (kind != "ConversionReview" || !known.contains(&group_version))
    {
        return Err(format!(
            "no kind {kind:?} is registered for version {group_version:?} in scheme \"pkg/runtime/scheme.go:111\""
        ));
    }
    if v1 && (kind != "ConversionReview" || group_version != wanted) {
        return Err(format!(
            "expected webhook response of {wanted}, Kind=ConversionReview, got {group_version}, Kind={kind}"
        ));
    }
    let response = answer.get("response").filter(|response| response.is_object());
    let response = response.ok_or("no response provided")?;
    let said = text(&response["uid"]);
    if v1 && said != uid {
        return Err(format!("expected response.uid={uid:?}, got {said:?}"));
    }
    let (status, message) = (text(&response["result"]["status"]), text(&response["result"]["message"]));
    match (status, message) {
        ("Success", _) => Ok(response["convertedObjects"].as_array().map_or(&[][..], Vec::as_slice)),
        (other, "") => Err(format!("response.result.status was '{other}', not 'Success'")),
        (_, message) => Err(message.to_owned()),
    }
}

/// A converted object with the metadata of the original, but for labels and annotations.
fn taken_in(object: &Value, original: &Object, desired: &str) -> Result<Object, Bad> {
    let Value::Object(fields) = object else {
        let found = match object {
            Value::Null => return Err(Bad::Unreadable("Object 'Kind' is missing in 'null'".into())),
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            _ => "array",
        };
        let why = format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}");
        return Err(Bad::Unreadable(why));
    };
    if fields.get("kind").and_then(Value::as_str).unwrap_or_default().is_empty() {
        return Err(Bad::Unreadable(format!("Object 'Kind' is missing in '{object}'")));
    }
    let mut out = Object(fields.clone());
    if out.api_version() != desired {
        let why = format!("invalid groupVersion (expected {desired}, received {})", out.api_version());
        return Err(Bad::Kind(why));
    }
    if out.kind() != original.kind() {
        let why = format!("invalid kind (expected {}, received {})", original.kind(), out.kind());
        return Err(Bad::Kind(why));
    }
    for (what, held, given) in [
        ("name", original.name(), out.name()),
        ("namespace", original.namespace(), out.namespace()),
        ("UID", original.uid(), out.uid()),
    ] {
        if held != given {
            return Err(Bad::Object(format!("must have the same {what}: {held} != {given}")));
        }
    }
    let metadata = match out.0.get("metadata") {
        Some(Value::Object(metadata)) => metadata,
        Some(other) => {
            return Err(Bad::Metadata(format!("invalid metadata of type {} in converted object", go_type(other))));
        }
        None => return Err(Bad::Metadata("missing metadata in converted object".into())),
    };
    let mut kept = original.0.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match metadata.get(field) {
            None | Some(Value::Null) => drop(kept.remove(field)),
            Some(Value::Object(given)) => {
                texts(field, given, kept.get(field)).map_err(Bad::Metadata)?;
                kept.insert(field.into(), Value::Object(given.clone()));
            }
            Some(other) => {
                let why = format!("invalid metadata.{field} of type {} in converted object", go_type(other));
                return Err(Bad::Metadata(why));
            }
        }
    }
    out.0.insert("metadata".into(), Value::Object(kept));
    Ok(out)
}

/// Labels and annotations are texts; those that changed are looked at.
fn texts(field: &str, given: &Map<String, Value>, held: Option<&Value>) -> Result<(), String> {
    for (key, value) in given {
        if !value.is_string() {
            let kind = go_type(value);
            return Err(format!("metadata.{field}[{key}] must be a string, but is {kind} in converted object"));
        }
    }
    if held.and_then(Value::as_object) == Some(given) {
        return Ok(());
    }
    let mut problems = Vec::new();
    for (key, value) in given {
        let value = value.as_str().unwrap_or("");
        let path = if field == "labels" { "metadata.labels" } else { "metadata.annotation" };
        problems
            .extend(name::qualified_name(key).into_iter().map(|why| format!("{path}: Invalid value: {key:?}: {why}")));
        if field == "labels" {
            let wrong = name::label_value(value);
            problems.extend(wrong.into_iter().map(|why| format!("{path}: Invalid value: {value:?}: {why}")));
        }
    }
    match problems.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str, more: Value) -> Object {
        let mut object = json!({"apiVersion": format!("g.io/{version}"), "kind": "A",
            "metadata": {"name": "n", "uid": "u", "labels": {"a": "b"}, "finalizers": ["f"]}});
        for (key, value) in more.as_object().unwrap() {
            object[key] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    fn answer(objects: Value) -> Value {
        json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
            "response": {"uid": "1", "result": {"status": "Success"}, "convertedObjects": objects}})
    }

    #[track_caller]
    fn check(answer: &Value, expected: Result<Value, &str>) {
        let sent = object("v1", json!({}));
        let got = converted(answer, "v1", "1", "g.io/v2", &[&sent]);
        let got = got.map(|objects| json!(objects));
        assert_eq!(got, expected.map_err(str::to_owned));
    }

    #[track_caller]
    fn fails(objects: Value, why: &str) {
        check(&answer(objects), Err(&format!("conversion webhook for g.io/v1, Kind=A {why}")));
    }

    #[test]
    fn only_labels_and_annotations_of_metadata_are_taken() {
        let metadata = json!({"name": "n", "uid": "u", "annotations": {"x": "y"}, "finalizers": [], "generation": 9});
        let given = json!([{"apiVersion": "g.io/v2", "kind": "A", "metadata": metadata, "spec": 1}]);
        let kept = json!({"name": "n", "uid": "u", "annotations": {"x": "y"}, "finalizers": ["f"]});
        check(&answer(given), Ok(json!([{"apiVersion": "g.io/v2", "kind": "A", "metadata": kept, "spec": 1}])));
    }

    #[test]
    fn answers_that_are_none() {
        let failed = "conversion webhook for g.io/v1, Kind=A failed: ";
        let kind = "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got , Kind=";
        check(&json!({}), Err(&format!("{failed}{kind}")));
        let mut other = answer(json!([]));
        other["response"]["uid"] = "2".into();
        check(&other, Err(&format!("{failed}expected response.uid=\"1\", got \"2\"")));
        let mut refused = answer(json!([]));
        refused["response"]["result"] = json!({"status": "Failed", "message": "cannot"});
        check(&refused, Err(&format!("{failed}cannot")));
        refused["response"]["result"] = json!({"status": "Failed"});
        check(&refused, Err(&format!("{failed}response.result.status was 'Failed', not 'Success'")));
        fails(json!([]), "returned 0 objects, expected 1");
        fails(json!([1, 2]), "returned 2 objects, expected 1");
    }

    #[test]
    fn objects_that_are_others() {
        let with = |version: &str, more: Value| json!([object(version, more)]);
        let wrong = "returned invalid object at index 0: invalid groupVersion (expected g.io/v2, received g.io/v1)";
        fails(with("v1", json!({})), wrong);
        let wrong = "returned invalid object at index 0: invalid kind (expected A, received B)";
        fails(with("v2", json!({"kind": "B"})), wrong);
        let wrong = "returned invalid object: must have the same name: n != m";
        fails(with("v2", json!({"metadata": {"name": "m", "uid": "u"}})), wrong);
        let wrong = "returned invalid metadata: metadata.labels[a] must be a string, but is int64 in converted object";
        fails(with("v2", json!({"metadata": {"name": "n", "uid": "u", "labels": {"a": 1}}})), wrong);
    }
}
