//! Whether a schema is structural: every place has a known form, so that unknown fields can be told from known ones.

use crate::options::cause;
use api::Cause;
use serde_json::{Map, Value};

/// Keywords that no schema of a definition may have.
const FORBIDDEN: [&str; 8] = [
    "$ref",
    "additionalItems",
    "definitions",
    "dependencies",
    "deprecated",
    "discriminator",
    "id",
    "patternProperties",
];

/// Keywords that may only stand in the structural part, not below `allOf`, `anyOf`, `oneOf` and `not`.
const STRUCTURAL_ONLY: [&str; 9] = [
    "additionalProperties",
    "default",
    "description",
    "nullable",
    "title",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
];

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// Problems of the schema that stands at `field`.
pub(super) fn problems(schema: &Value, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if schema["type"].as_str() != Some("object") {
        match schema["type"].as_str() {
            None => required(&mut causes, &format!("{field}.type"), "must not be empty at the root"),
            Some(other) => invalid(&mut causes, &format!("{field}.type"), other, "must be object at the root"),
        }
    }
    if schema["nullable"] == true {
        forbidden(&mut causes, &format!("{field}.nullable"), "nullable cannot be true at the root");
    }
    if let Some(map) = schema.as_object() {
        if map.contains_key("additionalProperties") {
            forbidden(&mut causes, &format!("{field}.additionalProperties"), "must not be used at the root");
        }
        metadata(map, field, &mut causes);
        for own in ["apiVersion", "kind"] {
            let kind = schema["properties"][own]["type"].as_str();
            if schema["properties"][own].is_object() && kind != Some("string") {
                let at = format!("{field}.properties[{own}].type");
                invalid(&mut causes, &at, kind.unwrap_or(""), "must be string");
            }
        }
    }
    structural(schema, field, &mut causes, true);
    causes
}

fn required(causes: &mut Vec<Cause>, field: &str, why: &str) {
    causes.push(cause("FieldValueRequired", field, format!("Required value: {why}")));
}

fn forbidden(causes: &mut Vec<Cause>, field: &str, why: &str) {
    causes.push(cause("FieldValueForbidden", field, format!("Forbidden: {why}")));
}

fn invalid(causes: &mut Vec<Cause>, field: &str, value: &str, why: &str) {
    causes.push(cause("FieldValueInvalid", field, format!("Invalid value: {value:?}: {why}")));
}

/// `metadata` of the root may only say more of name and generateName: the rest is the server's.
fn metadata(root: &Map<String, Value>, field: &str, causes: &mut Vec<Cause>) {
    let Some(metadata) = root.get("properties").and_then(|properties| properties.get("metadata")) else { return };
    let field = format!("{field}.properties[metadata]");
    for key in metadata.as_object().into_iter().flat_map(Map::keys) {
        if !matches!(key.as_str(), "type" | "properties" | "description") {
            forbidden(causes, &format!("{field}.{key}"), "must not be used in metadata");
        }
    }
    for key in metadata["properties"].as_object().into_iter().flat_map(Map::keys) {
        if !matches!(key.as_str(), "name" | "generateName") {
            let why =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            forbidden(causes, &format!("{field}.properties[{key}]"), why);
        }
    }
}

fn structural(schema: &Value, field: &str, causes: &mut Vec<Cause>, root: bool) {
    let Some(map) = schema.as_object() else {
        invalid(causes, field, &schema.to_string(), "must be a schema");
        return;
    };
    for keyword in FORBIDDEN {
        if map.contains_key(keyword) {
            forbidden(causes, &format!("{field}.{keyword}"), "is not supported");
        }
    }
    if schema["uniqueItems"] == true {
        forbidden(
            causes,
            &format!("{field}.uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        );
    }
    let int_or_string = schema["x-kubernetes-int-or-string"] == true;
    let preserve = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let embedded = schema["x-kubernetes-embedded-resource"] == true;
    let kind = schema["type"].as_str().unwrap_or("");
    if map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let at = format!("{field}.x-kubernetes-preserve-unknown-fields");
        invalid(causes, &at, "false", "must be true or undefined");
    }
    match kind {
        "" if !int_or_string && !preserve && !root => {
            required(causes, &format!("{field}.type"), "must not be empty for specified object fields");
        }
        "" => {}
        kind if !TYPES.contains(&kind) => {
            let known: Vec<String> = TYPES.iter().map(|kind| format!("{kind:?}")).collect();
            let message = format!("Unsupported value: {kind:?}: supported values: {}", known.join(", "));
            causes.push(cause("FieldValueNotSupported", &format!("{field}.type"), message));
        }
        kind if int_or_string => {
            invalid(causes, &format!("{field}.type"), kind, "must be empty if x-kubernetes-int-or-string is true");
        }
        _ => {}
    }
    if embedded {
        if kind != "object" {
            invalid(causes, &format!("{field}.type"), kind, "must be object if x-kubernetes-embedded-resource is true");
        }
        if !preserve && !map.contains_key("properties") {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without \
                       x-kubernetes-preserve-unknown-fields";
            required(causes, &format!("{field}.properties"), why);
        }
    }
    if map.contains_key("properties")
        && map.get("additionalProperties").is_some_and(|value| *value != Value::Bool(false))
    {
        forbidden(causes, &format!("{field}.additionalProperties"), "must not be used together with properties");
    }
    list_and_map(schema, kind, field, causes);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        structural(property, &format!("{field}.properties[{name}]"), causes, false);
    }
    if let Some(values) = map.get("additionalProperties").filter(|values| values.is_object()) {
        structural(values, &format!("{field}.additionalProperties"), causes, false);
    }
    if let Some(items) = map.get("items") {
        if items.is_array() {
            forbidden(causes, &format!("{field}.items"), "items must be a schema object and not an array");
        } else {
            structural(items, &format!("{field}.items"), causes, false);
        }
    } else if kind == "array" {
        required(causes, &format!("{field}.items"), "must be specified");
    }
    for (keyword, below) in junctors(map) {
        values_only(below, &format!("{field}.{keyword}"), causes, int_or_string);
    }
}

/// The schemas below `allOf`, `anyOf`, `oneOf` and `not`, with their places.
fn junctors(map: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for keyword in ["allOf", "anyOf", "oneOf"] {
        for (index, schema) in map.get(keyword).and_then(Value::as_array).into_iter().flatten().enumerate() {
            found.push((format!("{keyword}[{index}]"), schema));
        }
    }
    found.extend(map.get("not").map(|schema| ("not".to_owned(), schema)));
    found
}

/// What stands below a junctor may restrict values, and nothing else.
fn values_only(schema: &Value, field: &str, causes: &mut Vec<Cause>, int_or_string: bool) {
    let Some(map) = schema.as_object() else { return };
    for keyword in STRUCTURAL_ONLY {
        if map.contains_key(keyword) {
            forbidden(causes, &format!("{field}.{keyword}"), "must be undefined to be structural");
        }
    }
    // `anyOf: [{type: integer}, {type: string}]` is how an int-or-string is said.
    if map.contains_key("type") && !int_or_string {
        forbidden(causes, &format!("{field}.type"), "must be empty to be structural");
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        values_only(property, &format!("{field}.properties[{name}]"), causes, false);
    }
    if let Some(items) = map.get("items") {
        values_only(items, &format!("{field}.items"), causes, false);
    }
    for (keyword, below) in junctors(map) {
        values_only(below, &format!("{field}.{keyword}"), causes, int_or_string);
    }
}

fn list_and_map(schema: &Value, kind: &str, field: &str, causes: &mut Vec<Cause>) {
    let keys: Vec<&str> =
        schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let list_type = schema["x-kubernetes-list-type"].as_str();
    if list_type.is_some() && kind != "array" {
        invalid(causes, &format!("{field}.type"), kind, "must be array if x-kubernetes-list-type is specified");
    }
    match list_type {
        None | Some("atomic" | "set") if keys.is_empty() => {}
        Some("map") if keys.is_empty() => {
            let why = "must not be empty if x-kubernetes-list-type is map";
            required(causes, &format!("{field}.x-kubernetes-list-map-keys"), why);
        }
        Some("map") => {
            let items = &schema["items"];
            for (index, key) in keys.iter().enumerate() {
                if !items["properties"][*key].is_object() {
                    let at = format!("{field}.x-kubernetes-list-map-keys[{index}]");
                    invalid(causes, &at, key, "entries must all be names of item properties");
                    continue;
                }
                let listed = items["required"].as_array().into_iter().flatten().any(|name| name == key);
                if !listed && items["properties"][*key].get("default").is_none() {
                    let at = format!("{field}.items.properties[{key}].default");
                    let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a \
                               required property";
                    required(causes, &at, why);
                }
            }
        }
        None | Some("atomic" | "set") => {
            let why = "must be empty if x-kubernetes-list-type is not map";
            forbidden(causes, &format!("{field}.x-kubernetes-list-map-keys"), why);
        }
        Some(other) => {
            let message = format!("Unsupported value: {other:?}: supported values: \"atomic\", \"map\", \"set\"");
            causes.push(cause("FieldValueNotSupported", &format!("{field}.x-kubernetes-list-type"), message));
        }
    }
    match schema["x-kubernetes-map-type"].as_str() {
        None | Some("atomic" | "granular") => {}
        Some(other) => {
            let message = format!("Unsupported value: {other:?}: supported values: \"atomic\", \"granular\"");
            causes.push(cause("FieldValueNotSupported", &format!("{field}.x-kubernetes-map-type"), message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(schema: Value, expected: &[&str]) {
        let fields: Vec<String> = problems(&schema, "s").into_iter().map(|cause| cause.field).collect();
        assert_eq!(fields, expected, "{schema}");
    }

    fn spec(schema: Value) -> Value {
        json!({"type": "object", "properties": {"spec": schema}})
    }

    #[test]
    fn schemas() {
        check(json!({"type": "object"}), &[]);
        check(json!({}), &["s.type"]);
        check(json!({"type": "string"}), &["s.type"]);
        check(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}), &[]);
        check(spec(json!({})), &["s.properties[spec].type"]);
        check(
            spec(json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]})),
            &[],
        );
        check(spec(json!({"type": "array"})), &["s.properties[spec].items"]);
        check(spec(json!({"type": "string", "$ref": "x"})), &["s.properties[spec].$ref"]);
        check(spec(json!({"type": "object", "allOf": [{"default": 1}]})), &["s.properties[spec].allOf[0].default"]);
        check(spec(json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]})), &[]);
        let list = |keys: Value, items: Value| {
            spec(
                json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys, "items": items}),
            )
        };
        let items = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "b": {"type": "string"}}});
        check(list(json!(["name"]), items.clone()), &[]);
        check(list(json!(["x"]), items.clone()), &["s.properties[spec].x-kubernetes-list-map-keys[0]"]);
        check(list(json!(["b"]), items), &["s.properties[spec].items.properties[b].default"]);
        check(
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            &["s.properties[metadata].properties[labels]"],
        );
    }
}
