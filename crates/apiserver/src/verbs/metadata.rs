//! The rules of `metadata`: what a client may say there, what the server decides, and what is refused.

use crate::options::cause;
use crate::registry::Kind;
use api::{Cause, Object};
use machinery::name;
use serde_json::{Map, Value};

/// Fields that only the server writes.
const SYSTEM: [&str; 6] =
    ["creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "selfLink", "uid"];

/// All annotations of an object together, keys included, in bytes.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// Finalizers that need no prefix.
const BARE_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// Removes what a client may not say of an object that it creates.
pub(super) fn wipe(object: &mut Object) {
    let metadata = object.metadata_mut();
    for field in SYSTEM {
        metadata.remove(field);
    }
    metadata.remove("resourceVersion");
}

/// Takes over what an update may not change.
pub(super) fn keep(old: &Object, new: &mut Object) {
    for field in SYSTEM.into_iter().chain(["name", "namespace", "generateName", "resourceVersion"]) {
        match old.meta(field) {
            Some(value) => new.set_meta(field, value.clone()),
            None => drop(new.metadata_mut().remove(field)),
        }
    }
}

/// Leaves out what holds nothing: `null`, `{}` and `[]` are read as absent by every client.
pub(super) fn tidy(object: &mut Object) {
    object.metadata_mut().retain(|key, value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        // An empty list resets the tracking of fields.
        Value::Array(list) => !list.is_empty() || key == "managedFields",
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
}

/// Leaves each owner only once. Returns what to warn of.
pub(super) fn dedupe_owners(object: &mut Object) -> Vec<String> {
    let Some(Value::Array(owners)) = object.metadata_mut().get_mut("ownerReferences") else { return Vec::new() };
    let before = owners.len();
    let mut seen: Vec<Value> = Vec::new();
    let mut twice: Vec<String> = Vec::new();
    owners.retain(|owner| {
        let new = !seen.contains(owner);
        if new {
            seen.push(owner.clone());
        } else {
            twice.push(owner["uid"].as_str().unwrap_or("").to_owned());
        }
        new
    });
    if owners.len() == before {
        return Vec::new();
    }
    vec![format!(
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may \
         reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        twice.join(", ")
    )]
}

/// What is wrong with the metadata of an object.
pub(super) fn problems(kind: &Kind, object: &Object) -> Vec<Cause> {
    let mut causes = Vec::new();
    let invalid = |field: &str, value: &str, why: &str| {
        cause("FieldValueInvalid", field, format!("Invalid value: {value:?}: {why}"))
    };
    let object_name = object.name();
    let base = object.meta("generateName").and_then(Value::as_str).unwrap_or("");
    if !base.is_empty() {
        // What follows the base makes a good end of it.
        let whole = base.strip_suffix('-').map_or_else(|| base.to_owned(), |base| format!("{base}a"));
        for why in name_problems(kind, &whole) {
            causes.push(invalid("metadata.generateName", base, &why));
        }
    }
    if object_name.is_empty() {
        causes.push(cause("FieldValueRequired", "metadata.name", "Required value: name or generateName is required"));
    } else {
        for why in name_problems(kind, object_name) {
            causes.push(invalid("metadata.name", object_name, &why));
        }
    }
    let empty = Map::new();
    let map = |field: &str| object.meta(field).and_then(Value::as_object).unwrap_or(&empty);
    for (key, value) in map("labels") {
        for why in name::qualified_name(key) {
            causes.push(invalid("metadata.labels", key, &why));
        }
        let value = value.as_str().unwrap_or("");
        for why in name::label_value(value) {
            causes.push(invalid("metadata.labels", value, &why));
        }
    }
    let mut total = 0;
    for (key, value) in map("annotations") {
        total += key.len() + value.as_str().map_or(0, str::len);
        for why in name::qualified_name(&key.to_ascii_lowercase()) {
            causes.push(invalid("metadata.annotations", key, &why));
        }
    }
    if total > ANNOTATIONS_BYTES_MAX {
        let message = format!("Too long: may not be more than {ANNOTATIONS_BYTES_MAX} bytes");
        causes.push(cause("FieldValueTooLong", "metadata.annotations", message));
    }
    let finalizers = object.finalizers();
    for (at, finalizer) in finalizers.iter().copied().enumerate() {
        for why in name::qualified_name(finalizer) {
            causes.push(invalid("metadata.finalizers", finalizer, &why));
        }
        let core = kind.custom.is_none() && &*kind.collection != crate::crd::COLLECTION;
        if core && !finalizer.contains('/') && !BARE_FINALIZERS.contains(&finalizer) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(invalid(&format!("metadata.finalizers[{at}]"), finalizer, why));
        }
    }
    if finalizers.contains(&"orphan") && finalizers.contains(&"foregroundDeletion") {
        let listed = serde_json::to_string(&finalizers).expect("texts always serialise");
        let message = format!("Invalid value: {listed}: finalizer orphan and foregroundDeletion cannot be both set");
        causes.push(cause("FieldValueInvalid", "metadata.finalizers", message));
    }
    causes.extend(owner_problems(object));
    causes
}

/// What metadata must be made of, whatever the kind: `None` if it is, else where it is not.
pub(super) fn misshapen(object: &Object) -> Option<String> {
    let metadata = match object.0.get("metadata") {
        None | Some(Value::Null) => return None,
        Some(Value::Object(metadata)) => metadata,
        Some(other) => return Some(unfit("metadata", other, "ObjectMeta")),
    };
    for (field, value) in metadata {
        let problem = match (field.as_str(), value) {
            (_, Value::Null) => None,
            ("name" | "namespace" | "uid" | "resourceVersion" | "generateName" | "creationTimestamp", value) => {
                (!value.is_string()).then(|| unfit(&format!("ObjectMeta.{field}"), value, "string"))
            }
            ("labels" | "annotations", Value::Object(map)) => map
                .iter()
                .find(|(_, value)| !value.is_string() && !value.is_null())
                .map(|(_, value)| unfit(&format!("ObjectMeta.{field}"), value, "string")),
            ("labels" | "annotations", value) => {
                Some(unfit(&format!("ObjectMeta.{field}"), value, "map[string]string"))
            }
            ("finalizers", Value::Array(list)) => {
                list.iter().find(|item| !item.is_string()).map(|item| unfit("ObjectMeta.finalizers", item, "string"))
            }
            ("ownerReferences", Value::Array(list)) => list
                .iter()
                .find(|item| !item.is_object())
                .map(|item| unfit("ObjectMeta.ownerReferences", item, "OwnerReference")),
            ("finalizers" | "ownerReferences" | "managedFields", value) => {
                (!value.is_array()).then(|| unfit(&format!("ObjectMeta.{field}"), value, "array"))
            }
            _ => None,
        };
        if problem.is_some() {
            return problem;
        }
    }
    None
}

/// The stock server's words, which are those of Go's JSON reader.
fn unfit(field: &str, value: &Value, wanted: &str) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {found} into Go struct field {field} of type {wanted}")
}

fn owner_problems(object: &Object) -> Vec<Cause> {
    let mut causes = Vec::new();
    let owners = object.meta("ownerReferences").and_then(Value::as_array).into_iter().flatten();
    let listed: Vec<String> = owners.clone().map(shown_owner).collect();
    let mut first: Option<String> = None;
    for owner in owners {
        let text = |name: &str| owner[name].as_str().unwrap_or("");
        for (name, what) in [("apiVersion", "version "), ("kind", ""), ("name", ""), ("uid", "")] {
            if text(name).is_empty() {
                let message = format!("Invalid value: \"\": {what}must not be empty");
                causes.push(cause("FieldValueInvalid", &format!("metadata.ownerReferences.{name}"), message));
            }
        }
        // Events come by the thousand, and are never what others belong to.
        if (text("apiVersion"), text("kind")) == ("v1", "Event") {
            let message =
                format!("Invalid value: {}: /v1, Kind=Event is disallowed from being an owner", shown_owner(owner));
            causes.push(cause("FieldValueInvalid", "metadata.ownerReferences", message));
        }
        if owner["controller"] != true {
            continue;
        }
        let this = format!("{}/{}", text("kind"), text("name"));
        if let Some(first) = &first {
            let message = format!(
                "Invalid value: [{}]: Only one reference can have Controller set to true. Found \"true\" in references \
                 for {first} and {this}",
                listed.join(",")
            );
            causes.push(cause("FieldValueInvalid", "metadata.ownerReferences", message));
        } else {
            first = Some(this);
        }
    }
    causes
}

/// An owner as the stock server writes it into errors.
fn shown_owner(owner: &Value) -> String {
    let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let fields = fields.into_iter().filter_map(|name| Some(format!("{name:?}:{}", owner.get(name)?)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// Which names a kind takes.
fn name_problems(kind: &Kind, text: &str) -> Vec<String> {
    match &*kind.collection {
        "namespaces" | "services" | "statefulsets.apps" => name::dns_label(text),
        // Those written through the core group have any name that a path can hold.
        "events" if kind.served.group.is_empty() => name::path_segment(text),
        "apiservices.apiregistration.k8s.io"
        | "certificatesigningrequests.certificates.k8s.io"
        | "poddisruptionbudgets.policy" => name::path_segment(text),
        "ipaddresses.networking.k8s.io" if text.parse::<std::net::IpAddr>().is_ok() => Vec::new(),
        "ipaddresses.networking.k8s.io" => {
            vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()]
        }
        collection if collection.ends_with(".rbac.authorization.k8s.io") => name::path_segment(text),
        _ => name::dns_subdomain(text),
    }
}

/// What is wrong with an update of metadata.
pub(super) fn update_problems(old: &Object, new: &Object) -> Vec<Cause> {
    if !old.is_deleting() {
        return Vec::new();
    }
    let held = old.finalizers();
    let added: Vec<&str> = new.finalizers().into_iter().filter(|finalizer| !held.contains(finalizer)).collect();
    if added.is_empty() {
        return Vec::new();
    }
    let message = format!(
        "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers \
         []string{{{}}}",
        added.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
    );
    vec![cause("FieldValueForbidden", "metadata.finalizers", message)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::builtin_kind;
    use serde_json::json;

    #[track_caller]
    fn check(resource: &str, metadata: Value, expected: &[&str]) {
        let kind = builtin_kind("", "v1", resource).unwrap();
        let object: Object = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        let fields: Vec<String> = problems(&kind, &object).into_iter().map(|cause| cause.field).collect();
        assert_eq!(fields, expected, "{metadata}");
    }

    #[test]
    fn metadata_rules() {
        check("configmaps", json!({"name": "a.b"}), &[]);
        check("namespaces", json!({"name": "a.b"}), &["metadata.name"]);
        check("configmaps", json!({}), &["metadata.name"]);
        check("configmaps", json!({"name": "A"}), &["metadata.name"]);
        check("configmaps", json!({"name": "a", "labels": {"-": "b"}}), &["metadata.labels"]);
        check("configmaps", json!({"name": "a", "labels": {"a": "b c"}}), &["metadata.labels"]);
        check("configmaps", json!({"name": "a", "annotations": {"x/Y": "anything goes"}}), &[]);
        check("configmaps", json!({"name": "a", "finalizers": ["orphan", "a/b"]}), &[]);
        check("configmaps", json!({"name": "a", "finalizers": ["mine"]}), &["metadata.finalizers[0]"]);
        let owner = json!({"apiVersion": "v1", "kind": "A", "name": "n", "uid": ""});
        check("configmaps", json!({"name": "a", "ownerReferences": [owner]}), &["metadata.ownerReferences.uid"]);
    }

    #[test]
    fn finalizers_of_the_dying() {
        let object = |value: Value| -> Object { serde_json::from_value(json!({"metadata": value})).unwrap() };
        let old = object(json!({"deletionTimestamp": "2026-11-22T21:24:00Z", "finalizers": ["a/b"]}));
        assert!(update_problems(&old, &object(json!({"finalizers": []}))).is_empty());
        assert_eq!(update_problems(&old, &object(json!({"finalizers": ["a/b", "a/c"]}))).len(), 1);
    }
}
