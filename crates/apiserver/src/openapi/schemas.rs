//! The schemas that documents publish: built-in definitions, and those of CRDs with what every object has.

use super::{GroupVersion, Published};
use crate::builtin;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const PREFIX: &str = "#/definitions/";

/// Name of the definition of a kind: `io.k8s.api.apps.v1.Deployment`, or for a custom kind its group backwards, as in
/// `com.example.stable.v1.CronTab`.
pub(super) fn definition_of(published: &Published<'_>) -> Option<String> {
    let served = published.served;
    match published.custom {
        Some(_) => Some(custom_name(published, &served.kind)),
        None => builtin::definition(&served.group, &served.version, &served.kind).map(str::to_owned),
    }
}

/// Name of the definition of a kind's lists.
pub(super) fn list_definition_of(published: &Published<'_>) -> String {
    let served = published.served;
    match published.custom {
        Some(custom) => custom_name(published, custom.list_kind),
        None => {
            let kind = format!("{}List", served.kind);
            builtin::definition(&served.group, &served.version, &kind).unwrap_or("").to_owned()
        }
    }
}

fn custom_name(published: &Published<'_>, kind: &str) -> String {
    let served = published.served;
    let mut words: Vec<&str> = served.group.split('.').rev().collect();
    words.extend([&*served.version, kind]);
    words.join(".")
}

/// Adds the definitions of the custom kinds of a version, with `publish` deciding how a CRD's schema is shown.
pub(super) fn add_custom(
    version: &GroupVersion<'_>,
    definitions: &mut Map<String, Value>,
    publish: impl Fn(&Value) -> Option<Value>,
) {
    for kind in &version.kinds {
        let Some(custom) = kind.custom else { continue };
        let served = kind.served;
        let of = |kind: &str| json!([{"group": served.group, "version": served.version, "kind": kind}]);
        // A schema that says nothing gets no fields either: with some, clients would call all others unknown.
        let mut schema = match publish(custom.schema) {
            Some(Value::Object(mut schema)) => {
                add_object_fields(&mut schema);
                schema
            }
            _ => Map::from_iter([
                ("type".to_owned(), "object".into()),
                ("x-kubernetes-preserve-unknown-fields".to_owned(), true.into()),
            ]),
        };
        schema.insert("x-kubernetes-group-version-kind".into(), of(&served.kind));
        let name = custom_name(kind, &served.kind);
        let list = json!({
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"$ref": format!("{PREFIX}{LIST_META}")},
                "items": {"type": "array", "items": {"$ref": format!("{PREFIX}{name}")}},
            },
            "x-kubernetes-group-version-kind": of(custom.list_kind),
        });
        definitions.insert(name, schema.into());
        definitions.insert(custom_name(kind, custom.list_kind), list);
    }
}

/// What every object has, in a schema of a whole object.
pub(super) fn add_object_fields(schema: &mut Map<String, Value>) {
    schema.entry("type").or_insert_with(|| "object".into());
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert("apiVersion".into(), json!({"type": "string"}));
        properties.insert("kind".into(), json!({"type": "string"}));
        properties.insert("metadata".into(), json!({"$ref": format!("{PREFIX}{OBJECT_META}")}));
    }
}

/// The schemas below a schema: of properties, of elements, and of a map's values.
pub(super) fn for_each_child(schema: &mut Map<String, Value>, mut each: impl FnMut(&mut Value)) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(&mut each);
    }
    for key in ["items", "additionalProperties", "not"] {
        if let Some(child) = schema.get_mut(key).filter(|child| child.is_object()) {
            each(child);
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        schema.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().for_each(&mut each);
    }
}

/// Leaves only the definitions that `roots` need.
pub(super) fn retain_reachable<'n>(definitions: &mut Map<String, Value>, roots: impl IntoIterator<Item = &'n str>) {
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<String> = roots.into_iter().map(str::to_owned).collect();
    while let Some(name) = open.pop() {
        if let Some(schema) = definitions.get(&name)
            && !reached.contains(&name)
        {
            collect_references(schema, &mut open);
            reached.insert(name);
        }
    }
    definitions.retain(|name, _| reached.contains(name));
}

fn collect_references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            // A property may be called `$ref`, and is an object then.
            if let Some(name) = map.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix(PREFIX)) {
                into.push(name.to_owned());
            }
            map.values().for_each(|value| collect_references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, into)),
        _ => {}
    }
}
