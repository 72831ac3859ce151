//! Built-in definitions as version 3 shows them: those of version 2 with what that version leaves out.

use super::schemas::Edition;
use crate::builtin;
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/// Groups whose kinds the server of CRDs does not know of: it names no options of theirs.
const UNKNOWN_TO_CUSTOM: [&str; 4] =
    ["admission.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "imagepolicy.k8s.io"];

/// What a place says beside its definition of version 2.
#[derive(Debug, Default)]
struct Mark<'a> {
    /// Its default, in JSON.
    default: Option<&'a str>,
    /// Whether its reference stands alone, because nothing is beside it.
    lone: bool,
}

/// Marks by place: a path of properties, with `[]` for items and `{}` for values.
type Marks<'a> = HashMap<&'a str, Mark<'a>>;

/// Those of the definitions that are `needed`, as version 3 shows them.
pub(super) fn definitions(all: Map<String, Value>, needed: &BTreeSet<String>) -> Map<String, Value> {
    let text = builtin::inflate(include_bytes!("../../data/openapi-v3.txt.z"));
    let marked: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let definitions = all.into_iter().filter(|(name, _)| needed.contains(name));
    let shown = definitions.map(|(name, mut schema)| {
        if name == QUANTITY {
            // Clients may write it as either.
            return (name, json!({"oneOf": [{"type": "string"}, {"type": "number"}]}));
        }
        let marks = parse(marked.get(name.as_str()).copied().unwrap_or_default());
        translate(&mut schema, "", &marks);
        (name, schema)
    });
    shown.collect()
}

fn parse(line: &str) -> Marks<'_> {
    let mut marks = Marks::new();
    for word in line.split(' ') {
        if let Some((place, default)) = word.split_once('=') {
            marks.entry(place).or_default().default = Some(default);
        } else if let Some(place) = word.strip_suffix('!') {
            marks.entry(place).or_default().lone = true;
        }
    }
    marks
}

/// From version 2 to version 3: where references lead, defaults, and types that are one of two.
fn translate(schema: &mut Value, place: &str, marks: &Marks<'_>) {
    let Some(map) = schema.as_object_mut() else { return };
    let mark = marks.get(place);
    if let Some(Value::String(reference)) = map.get("$ref") {
        let name = reference.strip_prefix(Edition::V2.prefix()).unwrap_or(reference);
        let target = Edition::V3.reference(name);
        if mark.is_some_and(|mark| mark.lone) {
            *schema = target;
            return;
        }
        map.remove("$ref");
        map.insert("allOf".into(), json!([target]));
    }
    if let Some(default) = mark.and_then(|mark| mark.default) {
        map.insert("default".into(), serde_json::from_str(default).expect("the generator writes JSON"));
    }
    if map.get("format") == Some(&"int-or-string".into()) && map.get("type") == Some(&"string".into()) {
        map.remove("type");
        map.insert("oneOf".into(), json!([{"type": "integer"}, {"type": "string"}]));
    }
    for (name, property) in map.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        let separator = if place.is_empty() { "" } else { "." };
        translate(property, &format!("{place}{separator}{name}"), marks);
    }
    for (key, step) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(child) = map.get_mut(key).filter(|child| child.is_object()) {
            translate(child, &format!("{place}{step}"), marks);
        }
    }
}

/// Of the kinds that a definition stands for in many groups (`DeleteOptions`), a document of version 3 names those of
/// its own group and of the core group; one of custom kinds all that its server knows.
pub(super) fn keep_kinds_of(schema: &mut Value, group: &str, version: &str, custom: bool) {
    let Some(Value::Array(kinds)) = schema.get_mut("x-kubernetes-group-version-kind") else { return };
    if kinds.len() < 2 {
        return;
    }
    kinds.retain(|kind| {
        let of = |group: &str, version: &str| kind["group"] == group && kind["version"] == version;
        let known = || !UNKNOWN_TO_CUSTOM.iter().any(|unknown| kind["group"] == *unknown);
        if custom { known() } else { of("", "v1") || of(group, version) }
    });
}
