//! Reviews of access: may somebody do something (`authorization.k8s.io/v1`).

use crate::call::Call;
use crate::identity::{Attributes, Decision, Identity};
use crate::options::cause;
use crate::respond::Result;
use api::{Cause, Object, Status};
use machinery::name::qualified_name;
use serde_json::{Map, Value};

const RESOURCE: &str = "spec.resourceAttributes";

pub(super) fn answer(call: &Call, kind: &str, review: &Object, spec: &Value) -> Result<Value> {
    let mut causes = problems(kind, spec);
    causes.extend(metadata_problems(kind, review, &call.target.namespace));
    if !causes.is_empty() {
        // The stock server does not say which kind.
        return Err(Status::invalid("authorization.k8s.io", "", "", causes).into());
    }
    if kind == "LocalSubjectAccessReview" {
        let asked = spec["resourceAttributes"]["namespace"].as_str().unwrap_or("");
        if asked != call.target.namespace {
            let message = format!("Invalid value: {asked:?}: must match metadata.namespace");
            let cause = cause("FieldValueInvalid", "spec.resourceAttributes.namespace", message);
            return Err(Status::invalid("authorization.k8s.io", "", "", vec![cause]).into());
        }
    }
    let identity = if kind == "SelfSubjectAccessReview" { call.identity.clone() } else { subject(spec) };
    let (allowed, reason) = match call.space.rbac.decide(&identity, &attributes(spec)) {
        Decision::Allow(reason) => (true, reason),
        Decision::Deny(reason) => (false, reason),
    };
    let mut status = Map::new();
    status.insert("allowed".into(), allowed.into());
    if !reason.is_empty() {
        status.insert("reason".into(), reason.into());
    }
    Ok(status.into())
}

fn attributes(spec: &Value) -> Attributes<'_> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if path.is_object() {
        return Attributes {
            verb: path["verb"].as_str().unwrap_or(""),
            path: Some(path["path"].as_str().unwrap_or("")),
            ..Attributes::default()
        };
    }
    let text = |field: &str| resource[field].as_str().unwrap_or("");
    Attributes {
        verb: text("verb"),
        group: text("group"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        path: None,
    }
}

/// Whom a review is about.
fn subject(spec: &Value) -> Identity {
    let text = |field: &str| spec[field].as_str().unwrap_or("").to_owned();
    Identity {
        user: text("user"),
        uid: text("uid"),
        groups: super::texts(&spec["groups"]),
        extra: serde_json::from_value(spec["extra"].clone()).unwrap_or_default(),
    }
}

/// What is wrong with what is asked.
fn problems(kind: &str, spec: &Value) -> Vec<Cause> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let invalid = |field: &str, message: String| cause("FieldValueInvalid", field, message);
    let mut causes = Vec::new();
    if resource.is_object() && path.is_object() {
        let message = "cannot be specified in combination with resourceAttributes";
        causes.push(cause(
            "FieldValueInvalid",
            "spec.nonResourceAttributes",
            format!("Invalid value: {}: {message}", shown(path)),
        ));
        if kind == "LocalSubjectAccessReview" {
            causes.clear();
        }
    } else if !resource.is_object() && !path.is_object() {
        let message =
            "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified";
        causes.push(invalid(RESOURCE, message.into()));
    }
    if resource.is_object() {
        selector_problems(&resource["fieldSelector"], "fieldSelector", false, &mut causes);
        selector_problems(&resource["labelSelector"], "labelSelector", true, &mut causes);
    }
    let nobody = spec["user"].as_str().unwrap_or("").is_empty() && super::texts(&spec["groups"]).is_empty();
    if kind != "SelfSubjectAccessReview" && nobody {
        causes
            .push(invalid("spec.user", "Invalid value: \"\": at least one of user or group must be specified".into()));
    }
    if kind == "LocalSubjectAccessReview" && path.is_object() {
        let message = format!("Invalid value: {}: disallowed on this kind of request", shown(path));
        causes.push(invalid("spec.nonResourceAttributes", message));
    }
    causes
}

/// A path and a verb as the stock server prints them.
fn shown(path: &Value) -> String {
    let text = |field: &str| serde_json::json!(path[field].as_str().unwrap_or("")).to_string();
    format!("{{\"Path\":{},\"Verb\":{}}}", text("path"), text("verb"))
}

fn selector_problems(selector: &Value, name: &str, labels: bool, causes: &mut Vec<Cause>) {
    let Some(selector) = selector.as_object() else { return };
    let raw = selector.get("rawSelector").and_then(Value::as_str).unwrap_or("");
    let listed = selector.get("requirements").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let at = format!("{RESOURCE}.{name}");
    if !raw.is_empty() && !listed.is_empty() {
        let message = format!("Invalid value: {raw:?}: may not specified at the same time as requirements");
        causes.push(cause("FieldValueInvalid", &format!("{at}.rawSelector"), message));
    }
    if raw.is_empty() && listed.is_empty() {
        let message = format!("Required value: when {at} is specified, requirements or rawSelector is required");
        causes.push(cause("FieldValueRequired", &format!("{at}.requirements"), message));
    }
    for (index, requirement) in listed.iter().enumerate() {
        let at = format!("{at}.requirements[{index}]");
        let text = |field: &str| requirement[field].as_str().unwrap_or("");
        if !labels && text("key").is_empty() {
            causes.push(cause("FieldValueRequired", &format!("{at}.key"), "Required value: must be specified"));
        }
        let values = requirement["values"].as_array().is_some_and(|values| !values.is_empty());
        match text("operator") {
            "In" | "NotIn" if !values => {
                let message = "Required value: must be specified when `operator` is 'In' or 'NotIn'";
                causes.push(cause("FieldValueRequired", &format!("{at}.values"), message));
            }
            "Exists" | "DoesNotExist" if values => {
                let message = "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                causes.push(cause("FieldValueForbidden", &format!("{at}.values"), message));
            }
            // Others are let pass: an authorizer that does not know one decides without it.
            _ => {}
        }
        if labels {
            causes.extend(qualified_name(text("key")).into_iter().map(|problem| {
                let problem = problem.replacen("a qualified name must", "a valid label key must", 1);
                cause("FieldValueInvalid", &format!("{at}.key"), format!("Invalid value: {:?}: {problem}", text("key")))
            }));
        }
    }
}

/// A review has no metadata but its namespace.
fn metadata_problems(kind: &str, review: &Object, namespace: &str) -> Option<Cause> {
    let mut metadata = review.0.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    if kind == "LocalSubjectAccessReview" && metadata.get("namespace").and_then(Value::as_str) == Some(namespace) {
        metadata.remove("namespace");
    }
    if metadata.keys().all(|field| field == "managedFields") {
        return None;
    }
    // As Go prints it: fields in the order of the type.
    let mut shown = String::from("{");
    for field in ["name", "generateName", "namespace", "labels", "annotations", "finalizers"] {
        if let Some(value) = metadata.get(field) {
            shown.push_str(&format!("{field:?}:{value},"));
        }
    }
    let managed = metadata.get("managedFields").and_then(Value::as_array).into_iter().flatten().map(|entry| {
        let fields = ["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource"];
        let listed: Vec<String> =
            fields.iter().filter_map(|field| Some(format!("{field:?}:{}", entry.get(*field)?))).collect();
        format!("{{{}}}", listed.join(","))
    });
    shown.push_str(&format!("\"managedFields\":[{}]}}", managed.collect::<Vec<_>>().join(",")));
    Some(cause("FieldValueInvalid", "metadata", format!("Invalid value: {shown}: must be empty")))
}
