//! What clients of a stock server see of the Go types behind built-in kinds: the order of their fields, the names of
//! types that are texts in JSON, and the structs that others embed.
//!
//! Source: the types of k8s.io/api, apimachinery, apiextensions-apiserver and kube-aggregator at v0.36.3.

use super::node::{Form, Schema};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

/// A line for each definition: its name, then its fields in the order of the struct, each `[EMBEDDED.]NAME[:TYPE]`. One
/// whose fields are in alphabetical order and of plain types has no line.
const TABLE: &str = include_str!("go_types.txt");

static STRUCTS: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    let fields = |words: &'static str| words.split(' ').map(field).collect();
    TABLE.lines().filter_map(|line| line.split_once(' ')).map(|(name, words)| (name, fields(words))).collect()
});

/// A field of a struct.
struct Field {
    name: &'static str,
    /// The struct, embedded in the one that is asked about, that has it.
    embedded: Option<&'static str>,
    /// The name of its type, or that of its elements, if it is a text with a type of its own.
    named: Option<&'static str>,
}

fn field(word: &'static str) -> Field {
    let (path, named) = word.split_once(':').map_or((word, None), |(path, named)| (path, Some(named)));
    let (embedded, name) = path.rsplit_once('.').map_or((None, path), |(embedded, name)| (Some(embedded), name));
    Field { name, embedded, named }
}

fn find(definition: &str, name: &str) -> Option<&'static Field> {
    STRUCTS.get(definition)?.iter().find(|field| field.name == name)
}

/// The Go type of a text field, or of the elements of a list of texts, where that is not `string`.
pub(super) fn named_type(definition: &str, name: &str) -> Option<&'static str> {
    find(definition, name)?.named
}

/// The embedded struct that a field comes from.
pub(super) fn embedded(definition: &str, name: &str) -> Option<&'static str> {
    find(definition, name)?.embedded
}

/// JSON as a stock server has it of an object that was changed by a patch: maps that the patch went into are in
/// alphabetical order, all others in the order of their structs. `touched` is a tree of the former.
pub fn patched_text(value: &Value, touched: &Value, schema: Option<&Schema>) -> String {
    let mut out = String::new();
    write(value, Some(touched), schema, &mut out);
    out
}

fn write(value: &Value, touched: Option<&Value>, schema: Option<&Schema>, out: &mut String) {
    match value {
        Value::Object(map) => write_object(map, touched, schema, out),
        Value::Array(list) => {
            let items = schema.and_then(Schema::items);
            out.push('[');
            for (index, value) in list.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(value, None, items.as_ref(), out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn write_object(map: &Map<String, Value>, touched: Option<&Value>, schema: Option<&Schema>, out: &mut String) {
    let touched = touched.and_then(Value::as_object);
    let definition = schema.and_then(|schema| schema.node().definition.as_deref());
    let order = definition.filter(|_| touched.is_none()).and_then(|definition| STRUCTS.get(definition));
    let mut members: Vec<(&String, &Value)> = map.iter().collect();
    if let Some(order) = order {
        members.sort_by_key(|(key, _)| order.iter().position(|field| field.name == **key).unwrap_or(usize::MAX));
    }
    let opaque = schema.is_some_and(|schema| matches!(schema.node().form, Form::Any));
    out.push('{');
    for (index, (key, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&Value::from(key.as_str()).to_string());
        out.push(':');
        let below = schema.filter(|_| !opaque).and_then(|schema| schema.property(key).or_else(|| schema.additional()));
        write(value, touched.and_then(|touched| touched.get(key)), below.as_ref(), out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::from_definitions;
    use serde_json::json;

    #[test]
    fn types_and_embedded_structs() {
        let volume = "io.k8s.api.core.v1.PersistentVolumeSpec";
        assert_eq!(named_type(volume, "accessModes"), Some("v1.PersistentVolumeAccessMode"));
        assert_eq!(embedded(volume, "hostPath"), Some("PersistentVolumeSource"));
        assert_eq!((embedded(volume, "accessModes"), named_type(volume, "mountOptions")), (None, None));
        assert_eq!(named_type("io.example.None", "x"), None);
    }

    #[test]
    fn what_a_patch_went_into_is_sorted() {
        let definitions = json!({"io.k8s.api.core.v1.Taint": {"type": "object", "properties": {
            "effect": {"type": "string"}, "key": {"type": "string"}, "value": {"type": "string"}}}});
        let schemas = from_definitions(definitions.as_object().unwrap()).unwrap();
        let schema = schemas.named("io.k8s.api.core.v1.Taint").unwrap();
        let taint = json!({"effect": "e", "key": "k", "value": "v"});
        let text = |touched: Value| patched_text(&taint, &touched, Some(&schema));
        assert_eq!(text(Value::Null), r#"{"key":"k","value":"v","effect":"e"}"#);
        assert_eq!(text(json!({})), r#"{"effect":"e","key":"k","value":"v"}"#);
    }
}
