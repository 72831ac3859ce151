//! Structural schemas: which schemas a CRD may have, so that every field of an object has exactly one.

use super::{Causes, Fields};
use crate::field::{self, Path, at, flag_at, list_at, object_at, text_at};
use crate::schema;
use serde_json::Value;
use std::collections::BTreeSet;

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Field,
    Item,
}

/// Appends what keeps a version's schema from being structural, and its defaults from being valid.
pub(super) fn check(schema: &Fields, path: &Path<'_>, out: &mut Causes) {
    let before = out.len();
    structural(schema, Level::Root, path, out);
    if out.len() > before {
        return;
    }
    let whole = Value::Object(schema.clone());
    match schema::from_crd(&whole) {
        Ok(_) => defaults(schema, path, out),
        // Values that no schema has, such as `items: 3`: objects could not be judged by it.
        Err(error) => out.push(field::invalid_text(path, "", &error.to_string())),
    }
}

fn structural(schema: &Fields, level: Level, path: &Path<'_>, out: &mut Causes) {
    let kind = text_at(schema, "type");
    let preserve = flag_at(schema, "x-kubernetes-preserve-unknown-fields");
    let int_or_string = flag_at(schema, "x-kubernetes-int-or-string");
    let embedded = flag_at(schema, "x-kubernetes-embedded-resource");
    forbidden_keywords(schema, path, out);

    if kind == "array" && schema.get("items").is_none() {
        out.push(field::required(&path.field("items"), "must be specified"));
    }
    if let Some(items) = object_at(schema, "items") {
        structural(items, Level::Item, &path.field("items"), out);
    }
    let properties = path.field("properties");
    for (name, property) in object_at(schema, "properties").into_iter().flatten() {
        if let Some(property) = property.as_object() {
            // What metadata may say at the root and in embedded resources is told below.
            let metadata = name == "metadata" && (level == Level::Root || embedded);
            if !metadata {
                structural(property, Level::Field, &properties.key(name), out);
            }
        }
    }
    let additional_path = path.field("additionalProperties");
    match schema.get("additionalProperties") {
        None => {}
        Some(additional) => {
            if level == Level::Root {
                out.push(field::forbidden(&additional_path, "must not be used at the root"));
            }
            if object_at(schema, "properties").is_some_and(|properties| !properties.is_empty())
                && *additional != Value::Bool(true)
            {
                let why = "additionalProperties and properties are mutual exclusive";
                out.push(field::forbidden(&additional_path, why));
            }
            if embedded {
                let why = "must not be used if x-kubernetes-embedded-resource is set";
                out.push(field::forbidden(&additional_path, why));
            }
            if let Some(additional) = additional.as_object() {
                structural(additional, Level::Field, &additional_path, out);
            }
        }
    }

    let type_path = path.field("type");
    if embedded && kind != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        out.push(match kind {
            "" => field::required(&type_path, why),
            kind => field::invalid_text(&type_path, kind, why),
        });
    } else if kind.is_empty() && !int_or_string && !preserve {
        out.push(field::required(
            &type_path,
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        ));
    }
    if level == Level::Root && !matches!(kind, "" | "object") {
        out.push(field::invalid_text(&type_path, kind, "must be object at the root"));
    }
    if level == Level::Root || embedded {
        resource(schema, level, &properties, out);
    }
    if embedded && !preserve && object_at(schema, "properties").is_none_or(Fields::is_empty) {
        let why = "must not be empty if x-kubernetes-embedded-resource is true without \
                   x-kubernetes-preserve-unknown-fields";
        out.push(field::required(&properties, why));
    }
    if int_or_string {
        for (set, name) in
            [(preserve, "x-kubernetes-preserve-unknown-fields"), (embedded, "x-kubernetes-embedded-resource")]
        {
            if set {
                let why = "must be false if x-kubernetes-int-or-string is true";
                out.push(field::invalid(&path.field(name), &Value::Bool(true), why));
            }
        }
        if !kind.is_empty() {
            let why = "must be empty if x-kubernetes-int-or-string is true";
            out.push(field::invalid_text(&type_path, kind, why));
        }
    }
    list_and_map_types(schema, path, out);
    cel(schema, path, out);
    pattern(schema, path, out);
    alternatives(schema, schema, int_or_string, path, path, out);
}

/// What a resource's `apiVersion`, `kind` and `metadata` may be declared as.
fn resource(schema: &Fields, level: Level, properties: &Path<'_>, out: &mut Causes) {
    let Some(declared) = object_at(schema, "properties") else { return };
    for name in ["kind", "apiVersion"] {
        if let Some(kind) = object_at(declared, name).map(|property| text_at(property, "type"))
            && kind != "string"
        {
            let path = properties.key(name);
            out.push(field::invalid_text(&path.field("type"), kind, "must be string"));
        }
    }
    let Some(metadata) = object_at(declared, "metadata") else { return };
    let path = properties.key("metadata");
    if text_at(metadata, "type") != "object" {
        out.push(field::invalid_text(&path.field("type"), text_at(metadata, "type"), "must be object"));
    }
    let inside = object_at(metadata, "properties");
    let only_names = inside.is_none_or(|all| all.keys().all(|key| matches!(key.as_str(), "name" | "generateName")));
    let only_these = metadata.keys().all(|key| matches!(key.as_str(), "type" | "description" | "properties" | "title"));
    if level == Level::Root && !(only_names && only_these) {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        out.push(field::forbidden(&path, why));
    }
}

/// Keywords of JSON schema that nothing here understands, and values that no keyword has.
fn forbidden_keywords(schema: &Fields, path: &Path<'_>, out: &mut Causes) {
    for name in ["$ref", "additionalItems", "definitions", "dependencies", "id", "patternProperties"] {
        let empty = schema.get(name).is_none_or(|value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        });
        if !empty {
            out.push(field::forbidden(&path.field(name), &format!("{name} is not supported")));
        }
    }
    if flag_at(schema, "uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        out.push(field::forbidden(&path.field("uniqueItems"), why));
    }
    const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
    match text_at(schema, "type") {
        "null" => {
            let why = "type cannot be set to null, use nullable as an alternative";
            out.push(field::forbidden(&path.field("type"), why));
        }
        "" => {}
        kind if !TYPES.contains(&kind) => {
            out.push(field::not_supported(&path.field("type"), &kind.into(), TYPES));
        }
        _ => {}
    }
    if schema.get("items").is_some_and(Value::is_array) {
        out.push(field::forbidden(&path.field("items"), "items must be a schema object and not an array"));
    }
    if at(schema, "x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let path = path.field("x-kubernetes-preserve-unknown-fields");
        out.push(field::invalid(&path, &Value::Bool(false), "must be true or undefined"));
    }
}

fn list_and_map_types(schema: &Fields, path: &Path<'_>, out: &mut Causes) {
    let kind = text_at(schema, "type");
    let wrong_type = |out: &mut Causes, wanted: &str, why: &str| {
        if kind.is_empty() {
            out.push(field::required(&path.field("type"), why));
        } else if kind != wanted {
            out.push(field::invalid_text(&path.field("type"), kind, why));
        }
    };
    let map_type = text_at(schema, "x-kubernetes-map-type");
    if !map_type.is_empty() {
        wrong_type(out, "object", "must be object if x-kubernetes-map-type is specified");
        if !matches!(map_type, "atomic" | "granular") {
            let path = path.field("x-kubernetes-map-type");
            out.push(field::not_supported(&path, &map_type.into(), ["atomic", "granular"]));
        }
    }
    let list_path = path.field("x-kubernetes-list-type");
    let list_type = text_at(schema, "x-kubernetes-list-type");
    let keys: Vec<&str> = list_at(schema, "x-kubernetes-list-map-keys").iter().filter_map(Value::as_str).collect();
    if !keys.is_empty() && list_type != "map" {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        out.push(match list_type {
            "" => field::required(&list_path, why),
            other => field::invalid_text(&list_path, other, why),
        });
    }
    if list_type.is_empty() {
        return;
    }
    wrong_type(out, "array", "must be array if x-kubernetes-list-type is specified");
    let items_path = path.field("items");
    let items = object_at(schema, "items");
    match list_type {
        "atomic" => {}
        "set" => set_items(items, &items_path, out),
        "map" => map_items(items, &keys, path, &items_path, out),
        other => out.push(field::not_supported(&list_path, &other.into(), ["atomic", "set", "map"])),
    }
    if matches!(list_type, "set" | "map") && items.is_some_and(|items| flag_at(items, "nullable")) {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        out.push(field::forbidden(&items_path.field("nullable"), &why));
    }
}

fn set_items(items: Option<&Fields>, path: &Path<'_>, out: &mut Causes) {
    let Some(items) = items else { return };
    for (kind, mark) in [("array", "x-kubernetes-list-type"), ("object", "x-kubernetes-map-type")] {
        if text_at(items, "type") == kind && text_at(items, mark) != "atomic" {
            let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
            let value = items.get(mark).cloned().unwrap_or(Value::Null);
            out.push(field::invalid(&path.field(mark), &value, why));
        }
    }
}

fn map_items(items: Option<&Fields>, keys: &[&str], list: &Path<'_>, path: &Path<'_>, out: &mut Causes) {
    let keys_path = list.field("x-kubernetes-list-map-keys");
    if keys.is_empty() {
        out.push(field::required(&keys_path, "must not be empty if x-kubernetes-list-type is map"));
    }
    let Some(items) = items else {
        out.push(field::required(path, "must have a schema if x-kubernetes-list-type is map"));
        return;
    };
    if text_at(items, "type") != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        out.push(field::invalid_text(&path.field("type"), text_at(items, "type"), why));
    }
    let shown = Value::from(keys.to_vec());
    let distinct: BTreeSet<&&str> = keys.iter().collect();
    if distinct.len() != keys.len() {
        out.push(field::invalid(&keys_path, &shown, "must not contain duplicate entries"));
    }
    let required = list_at(items, "required");
    let properties = path.field("properties");
    for key in keys {
        let Some(property) = object_at(items, "properties").and_then(|all| all.get(*key)).and_then(Value::as_object)
        else {
            out.push(field::invalid(&keys_path, &shown, "entries must all be names of item properties"));
            continue;
        };
        let path = properties.key(key);
        if matches!(text_at(property, "type"), "array" | "object") {
            let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            out.push(field::invalid_text(&path.field("type"), text_at(items, "type"), why));
        }
        if !required.iter().any(|name| name == key) && !property.contains_key("default") {
            let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required \
                       property";
            out.push(field::required(&path.field("default"), why));
        }
        if flag_at(property, "nullable") {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            out.push(field::forbidden(&path.field("nullable"), why));
        }
    }
}

/// The shape of rules in CEL; what they say is not read.
fn cel(schema: &Fields, path: &Path<'_>, out: &mut Causes) {
    const REASONS: [&str; 4] =
        ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
    let list = path.field("x-kubernetes-validations");
    for (index, rule) in list_at(schema, "x-kubernetes-validations").iter().filter_map(Value::as_object).enumerate() {
        let path = list.index(index);
        let text = |name: &str| text_at(rule, name);
        let breaks = |text: &str| text.contains(['\n', '\r']);
        if text("rule").trim().is_empty() {
            out.push(field::required(&path.field("rule"), "rule is not specified"));
        }
        if rule.contains_key("message") && text("message").trim().is_empty() {
            let why = "must be non-empty if specified";
            out.push(field::invalid_text(&path.field("message"), text("message"), why));
        } else if breaks(text("message")) {
            let why = "must not contain line breaks";
            out.push(field::invalid_text(&path.field("message"), text("message"), why));
        } else if breaks(text("rule")) && text("message").is_empty() {
            let why = "message must be specified if rule contains line breaks";
            out.push(field::required(&path.field("message"), why));
        }
        if rule.contains_key("messageExpression") && text("messageExpression").trim().is_empty() {
            let why = "messageExpression must be non-empty if specified";
            out.push(field::required(&path.field("messageExpression"), why));
        }
        if rule.contains_key("reason") && !REASONS.contains(&text("reason")) {
            let value = text("reason").into();
            out.push(field::not_supported(&path.field("reason"), &value, REASONS));
        }
        if rule.contains_key("fieldPath") && text("fieldPath").trim().is_empty() {
            let why = "must be non-empty if specified";
            out.push(field::invalid_text(&path.field("fieldPath"), text("fieldPath"), why));
        }
        if breaks(text("fieldPath")) {
            let why = "must not contain line breaks";
            out.push(field::invalid_text(&path.field("fieldPath"), text("fieldPath"), why));
        }
        if !text("fieldPath").is_empty() && crate::cel::rules::resolve(text("fieldPath"), schema, true).is_err() {
            out.push(field::invalid_text(&path.field("fieldPath"), text("fieldPath"), "must be a valid path"));
        }
    }
}

fn pattern(schema: &Fields, path: &Path<'_>, out: &mut Causes) {
    let pattern = text_at(schema, "pattern");
    if !pattern.is_empty()
        && let Err(problem) = schema::compile_pattern(pattern)
    {
        let why = format!("must be a valid regular expression, but isn't: {problem}");
        out.push(field::invalid_text(&path.field("pattern"), pattern, &why));
    }
}

/// Whether this is `anyOf: [{type: integer}, {type: string}]`, which may stand beside `x-kubernetes-int-or-string`.
fn is_int_or_string(any_of: Option<&Value>) -> bool {
    let types =
        |value: &Value| value.as_object().filter(|one| one.len() == 1).map(|one| text_at(one, "type").to_owned());
    any_of.and_then(Value::as_array).is_some_and(|list| {
        let types: Vec<Option<String>> = list.iter().map(types).collect();
        matches!(types.as_slice(), [Some(a), Some(b)] if a == "integer" && b == "string")
    })
}

/// `allOf`, `anyOf`, `oneOf` and `not` of `nested`, which stands beside the structural schema `known`.
fn alternatives(
    nested: &Fields,
    known: &Fields,
    int_or_string: bool,
    path: &Path<'_>,
    known_path: &Path<'_>,
    out: &mut Causes,
) {
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let value = nested.get(keyword);
        if keyword == "anyOf" && int_or_string && is_int_or_string(value) {
            continue;
        }
        let list = path.field(keyword);
        for (index, alternative) in value.and_then(Value::as_array).into_iter().flatten().enumerate() {
            let Some(alternative) = alternative.as_object() else { continue };
            let skip = keyword == "allOf" && index == 0 && int_or_string && is_int_or_string(alternative.get("anyOf"));
            if !skip {
                value_validation(alternative, Some(known), &list.index(index), known_path, out);
            }
        }
    }
    if let Some(not) = object_at(nested, "not") {
        value_validation(not, Some(known), &path.field("not"), known_path, out);
    }
}

/// A schema that may only narrow what the structural schema `known` declares.
fn value_validation(nested: &Fields, known: Option<&Fields>, path: &Path<'_>, known_path: &Path<'_>, out: &mut Causes) {
    forbidden_keywords(nested, path, out);
    for (name, why) in [
        ("type", "must be empty to be structural"),
        ("additionalProperties", "must be undefined to be structural"),
        ("default", "must be undefined to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("nullable", "must be false to be structural"),
        ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
        ("x-kubernetes-embedded-resource", "must be false to be structural"),
        ("x-kubernetes-int-or-string", "must be false to be structural"),
        ("x-kubernetes-list-map-keys", "must be empty to be structural"),
        ("x-kubernetes-list-type", "must be undefined to be structural"),
        ("x-kubernetes-map-type", "must be undefined to be structural"),
        ("x-kubernetes-validations", "must be empty to be structural"),
    ] {
        let set = nested.get(name).is_some_and(|value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            _ => true,
        });
        if set {
            out.push(field::forbidden(&path.field(name), why));
        }
    }
    let Some(known) = known else {
        out.push(field::required(known_path, &format!("because it is defined in {path}")));
        return;
    };
    pattern(nested, path, out);
    alternatives(nested, known, false, path, known_path, out);
    if let Some(items) = object_at(nested, "items") {
        value_validation(items, object_at(known, "items"), &path.field("items"), &known_path.field("items"), out);
    }
    let (properties, known_properties) = (path.field("properties"), known_path.field("properties"));
    for (name, property) in object_at(nested, "properties").into_iter().flatten() {
        if name == "metadata" {
            let why = "must not be specified in a nested context";
            out.push(field::forbidden(&properties.key(name), why));
        }
        let Some(property) = property.as_object() else { continue };
        let declared = object_at(known, "properties").and_then(|all| all.get(name)).and_then(Value::as_object);
        value_validation(property, declared, &properties.key(name), &known_properties.key(name), out);
    }
}

/// Every default must be an object of its own schema, with nothing unknown in it.
fn defaults(schema: &Fields, path: &Path<'_>, out: &mut Causes) {
    if let Some(default) = schema.get("default").filter(|default| !default.is_null())
        && let Ok(compiled) = schema::from_crd(&Value::Object(schema.clone()))
    {
        let path = path.field("default");
        let mut pruned = default.clone();
        // A resource at the root keeps its metadata, and so does a default that embeds one.
        let unknown = schema::prune(&mut pruned, &compiled);
        if !unknown.is_empty() {
            out.push(field::invalid(&path, default, "must not have unknown fields"));
        }
        let mut complete = pruned;
        schema::default(&mut complete, &compiled);
        for cause in schema::check(&complete, &compiled) {
            let at = if cause.field == "<nil>" || cause.field.is_empty() {
                path.to_string()
            } else {
                format!("{path}.{}", cause.field)
            };
            out.push(api::Cause { field: at, ..cause });
        }
    }
    if let Some(items) = object_at(schema, "items") {
        defaults(items, &path.field("items"), out);
    }
    if let Some(additional) = object_at(schema, "additionalProperties") {
        defaults(additional, &path.field("additionalProperties"), out);
    }
    let properties = path.field("properties");
    for (name, property) in object_at(schema, "properties").into_iter().flatten() {
        if let Some(property) = property.as_object() {
            defaults(property, &properties.key(name), out);
        }
    }
}
