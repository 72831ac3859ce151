//! The schemas that documents publish: built-in definitions, and those of CRDs with what every object has.

use super::{GroupVersion, Published};
use crate::builtin;
use descriptions::Descriptions;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::LazyLock;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// Version of the document that a schema is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Edition {
    V2,
    V3,
}

impl Edition {
    /// What references begin with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Edition::V2 => "#/definitions/",
            Edition::V3 => "#/components/schemas/",
        }
    }

    /// A reference that stands alone.
    pub(super) fn reference(self, definition: &str) -> Value {
        json!({"$ref": format!("{}{definition}", self.prefix())})
    }

    /// A reference with a description beside it, which version 3 cannot say but by `allOf`.
    fn described(self, definition: &str, text: &str) -> Value {
        let mut schema = match self {
            Edition::V2 => self.reference(definition),
            Edition::V3 => json!({"allOf": [self.reference(definition)]}),
        };
        schema["description"] = text.into();
        schema
    }
}

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

/// Adds the definitions of the custom kinds of a version.
pub(super) fn add_custom(version: &GroupVersion<'_>, edition: Edition, definitions: &mut Map<String, Value>) {
    for kind in &version.kinds {
        let Some(custom) = kind.custom else { continue };
        let served = kind.served;
        let of = |kind: &str| json!([{"group": served.group, "version": served.version, "kind": kind}]);
        let selectable: Vec<Value> = custom.selectable.iter().map(|path| json!({"fieldPath": path})).collect();
        let finish = |mut schema: Map<String, Value>, kind: &str| {
            schema.insert("x-kubernetes-group-version-kind".into(), of(kind));
            if !selectable.is_empty() {
                schema.insert("x-kubernetes-selectable-fields".into(), selectable.clone().into());
            }
            Value::Object(schema)
        };
        let schema = custom_schema(custom.schema, edition);
        let name = custom_name(kind, &served.kind);
        let list = list_schema(&served.kind, &served.plural, custom.list_kind, &name, edition);
        definitions.insert(name, finish(schema, &served.kind));
        definitions.insert(custom_name(kind, custom.list_kind), finish(list, custom.list_kind));
    }
}

fn list_schema(kind: &str, plural: &str, list_kind: &str, definition: &str, edition: Edition) -> Map<String, Value> {
    let mut list = Map::new();
    list.insert("description".into(), format!("{list_kind} is a list of {kind}").into());
    list.insert("type".into(), "object".into());
    list.insert("required".into(), json!(["items"]));
    let items = json!({
        "description": format!("List of {plural}."), "type": "array", "items": edition.reference(definition)});
    let metadata = edition.described(LIST_META, "What is said of the list as a whole.");
    list.insert("properties".into(), json!({"items": items, "metadata": metadata}));
    add_type_fields(&mut list);
    list
}

/// The schema of a CRD's version with what every object has.
fn custom_schema(schema: &Value, edition: Edition) -> Map<String, Value> {
    // A schema that says nothing gets no fields either: with some, clients would call all others unknown.
    let bare = || Map::from_iter([("type".to_owned(), "object".into())]);
    if !schema.is_object() || (edition == Edition::V2 && preserves(schema)) {
        return bare();
    }
    let mut schema = schema.clone();
    match edition {
        Edition::V2 => simplify(&mut schema),
        Edition::V3 => unfold(&mut schema),
    }
    add_embedded_fields(&mut schema, edition);
    let Value::Object(mut schema) = schema else { return bare() };
    add_object_fields(&mut schema, edition);
    schema
}

fn flag(schema: &Map<String, Value>, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

fn preserves(schema: &Value) -> bool {
    schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
}

/// Version 2 knows neither alternatives, nor null, nor defaults; where a field may be null or anything, clients that
/// check by this document must not be told more than that.
fn simplify(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    drop_empty(map);
    for key in ["allOf", "anyOf", "oneOf", "not", "default"] {
        map.remove(key);
    }
    if flag(map, "nullable") {
        for key in ["nullable", "type", "items", "properties"] {
            map.remove(key);
        }
    }
    if flag(map, "x-kubernetes-preserve-unknown-fields") {
        map.remove("items");
        map.remove("properties");
        if map.get("type").is_some_and(|name| name == "object") {
            map.remove("type");
        }
    }
    if map.get("type").is_some_and(|name| name == "array") && !map.contains_key("items") {
        map.remove("type");
    }
    let nullable = |schema: &Value| schema.get("nullable") == Some(&Value::Bool(true));
    let properties = map.get("properties").and_then(Value::as_object).into_iter().flatten();
    let nullables: Vec<String> = properties.filter(|(_, one)| nullable(one)).map(|(name, _)| name.clone()).collect();
    let of_values = map.get("additionalProperties").is_some_and(nullable);
    if let Some(Value::Array(required)) = map.get_mut("required") {
        required.retain(|name| !of_values && !nullables.iter().any(|nullable| name == nullable.as_str()));
        if required.is_empty() {
            map.remove("required");
        }
    }
    for_each_part(map, simplify);
}

/// Says in the words of OpenAPI what `x-kubernetes-int-or-string` means.
fn unfold(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    drop_empty(map);
    if flag(map, "x-kubernetes-int-or-string") {
        let either = json!([{"type": "integer"}, {"type": "string"}]);
        let first = map.get("allOf").and_then(|all| all.get(0)).and_then(|one| one.get("anyOf"));
        if first != Some(&either) && map.get("anyOf") != Some(&either) {
            if map.contains_key("anyOf") {
                let all = map.entry("allOf").or_insert_with(|| json!([]));
                if let Some(all) = all.as_array_mut() {
                    all.insert(0, json!({"anyOf": either}));
                }
            } else {
                map.insert("anyOf".into(), either);
            }
        }
    }
    for_each_part(map, unfold);
}

/// Marks that say nothing are not published.
fn drop_empty(map: &mut Map<String, Value>) {
    const MARKS: [&str; 9] = [
        "nullable",
        "uniqueItems",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "x-kubernetes-preserve-unknown-fields",
        "description",
        "format",
        "pattern",
        "title",
    ];
    map.retain(|key, value| !(MARKS.contains(&key.as_str()) && (*value == Value::Bool(false) || value == "")));
    for key in ["required", "allOf", "anyOf", "oneOf", "x-kubernetes-validations"] {
        if map.get(key).and_then(Value::as_array).is_some_and(Vec::is_empty) {
            map.remove(key);
        }
    }
    if map.get("properties").and_then(Value::as_object).is_some_and(Map::is_empty) {
        map.remove("properties");
    }
}

fn add_embedded_fields(schema: &mut Value, edition: Edition) {
    let Some(map) = schema.as_object_mut() else { return };
    for_each_part(map, |part| add_embedded_fields(part, edition));
    if edition == Edition::V2 && flag(map, "x-kubernetes-preserve-unknown-fields") {
        return;
    }
    if flag(map, "x-kubernetes-embedded-resource") {
        add_object_fields(map, edition);
        let required = map.entry("required").or_insert_with(|| json!([]));
        if let Some(required) = required.as_array_mut() {
            for name in ["kind", "apiVersion"] {
                if !required.iter().any(|held| held == name) {
                    required.push(name.into());
                }
            }
        }
    }
}

/// What every object has, in a schema of a whole object.
fn add_object_fields(schema: &mut Map<String, Value>, edition: Edition) {
    add_type_fields(schema);
    let metadata = edition.described(OBJECT_META, &OBJECT_FIELDS.metadata);
    schema["properties"]["metadata"] = metadata;
}

fn add_type_fields(schema: &mut Map<String, Value>) {
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    properties["apiVersion"] = json!({"type": "string", "description": OBJECT_FIELDS.api_version});
    properties["kind"] = json!({"type": "string", "description": OBJECT_FIELDS.kind});
}

/// What the fields are for that every object has, as the built-in kinds say it.
struct ObjectFields {
    api_version: String,
    kind: String,
    metadata: String,
}

static OBJECT_FIELDS: LazyLock<ObjectFields> = LazyLock::new(|| {
    let descriptions = Descriptions::read();
    let of_any = |field| descriptions.of_field("io.k8s.api.core.v1.ConfigMap", field).unwrap_or_default().to_owned();
    ObjectFields { api_version: of_any("apiVersion"), kind: of_any("kind"), metadata: of_any("metadata") }
});

/// The schemas of what is in an object or list: of properties, of elements, and of a map's values.
fn for_each_part(schema: &mut Map<String, Value>, mut each: impl FnMut(&mut Value)) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(&mut each);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = schema.get_mut(key).filter(|child| child.is_object()) {
            each(child);
        }
    }
}

/// Which definitions of `all` the `roots` need.
pub(super) fn reachable(all: &Map<String, Value>, edition: Edition, roots: Vec<String>) -> BTreeSet<String> {
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut open = roots;
    while let Some(name) = open.pop() {
        if let Some(schema) = all.get(&name)
            && !reached.contains(&name)
        {
            collect_references(schema, edition.prefix(), &mut open);
            reached.insert(name);
        }
    }
    reached
}

/// Adds the names of the definitions that a schema refers to.
pub(super) fn collect_references(value: &Value, prefix: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            // A property may be called `$ref`, and is an object then.
            if let Some(name) = map.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix(prefix)) {
                into.push(name.to_owned());
            }
            map.values().for_each(|value| collect_references(value, prefix, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, prefix, into)),
        _ => {}
    }
}
