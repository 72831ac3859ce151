//! Types of expressions from the schema of a CRD.

use super::escape::escape;
use super::limits::REQUEST_BYTES;
use super::types::{Decl, Record, Type};
use crate::schema::ListType;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

type Fields = Map<String, Value>;

/// Bytes of a duration, of a date, and of a date with a time.
const DURATION_BYTES: u64 = 32;
const DATE_BYTES: u64 = 12;
const DATE_TIME_BYTES: u64 = 32;

fn text<'v>(schema: &'v Fields, key: &str) -> &'v str {
    schema.get(key).and_then(Value::as_str).unwrap_or("")
}

fn flag(schema: &Fields, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

fn limit(schema: &Fields, key: &str) -> Option<u64> {
    schema.get(key).and_then(Value::as_i64).map(|value| u64::try_from(value).unwrap_or(0))
}

fn simple(ty: Type, min_size: i64, max: u64) -> Decl {
    Decl { min_size, max, ..Decl::of(ty) }
}

/// What is declared of a place; `None` if expressions cannot see it. `name` is what its type is called, `root` says that
/// it is a whole resource.
pub(crate) fn declare(schema: &Fields, name: &str, root: bool) -> Option<Decl> {
    let most = u64::try_from(REQUEST_BYTES - 2).unwrap_or(0);
    if flag(schema, "x-kubernetes-int-or-string") {
        return Some(simple(Type::Dyn, 1, limit(schema, "maxLength").map_or(most, |max| max.saturating_mul(4))));
    }
    let ty = if root { "object" } else { text(schema, "type") };
    match ty {
        "array" => {
            let items = schema.get("items")?.as_object()?;
            let elem = declare(items, &format!("{name}.@idx"), flag(items, "x-kubernetes-embedded-resource"))?;
            let fit = u64::try_from((REQUEST_BYTES - 2) / (elem.min_size + 1)).unwrap_or(0);
            let max = limit(schema, "maxItems").unwrap_or(fit);
            let list = match text(schema, "x-kubernetes-list-type") {
                "set" => Some(ListType::Set),
                "map" => {
                    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
                    let keys = keys.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
                    Some(ListType::Map(keys.collect()))
                }
                _ => None,
            };
            Some(Decl { max, min_size: 2, list, ..Decl::list(elem) })
        }
        "object" => object(schema, name, root),
        "string" => Some(match text(schema, "format") {
            "byte" => simple(Type::Bytes, 2, limit(schema, "maxLength").unwrap_or(most)),
            "duration" => simple(Type::Duration, 3, DURATION_BYTES),
            "date" => simple(Type::Timestamp, 12, DATE_BYTES),
            "date-time" => simple(Type::Timestamp, 21, DATE_TIME_BYTES),
            _ => simple(Type::String, 2, string_size(schema).unwrap_or(most)),
        }),
        "boolean" => Some(simple(Type::Bool, 4, 0)),
        "number" => Some(simple(Type::Double, 1, 0)),
        "integer" => Some(simple(Type::Int, 1, 0)),
        _ => None,
    }
}

/// The most bytes of a text, as far as its schema says.
fn string_size(schema: &Fields) -> Option<u64> {
    if let Some(max) = limit(schema, "maxLength") {
        // It counts characters, of up to four bytes.
        return Some(max.saturating_mul(4));
    }
    let allowed = schema.get("enum")?.as_array().filter(|list| !list.is_empty())?;
    allowed.iter().filter_map(Value::as_str).map(|text| text.len() as u64).max().or(Some(0))
}

fn object(schema: &Fields, name: &str, root: bool) -> Option<Decl> {
    if let Some(values) = schema.get("additionalProperties").and_then(Value::as_object) {
        let elem = declare(values, &format!("{name}.@elem"), flag(values, "x-kubernetes-embedded-resource"))?;
        let fit = u64::try_from((REQUEST_BYTES - 2) / (elem.min_size + 6)).unwrap_or(0);
        let max = limit(schema, "maxProperties").unwrap_or(fit);
        return Some(Decl { max, min_size: 2, ..Decl::map(elem) });
    }
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut fields: BTreeMap<Box<str>, Arc<Decl>> = BTreeMap::new();
    let mut min_size = 2;
    for (property, declared) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if root && matches!(property.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let Some(declared) = declared.as_object() else { continue };
        let resource = flag(declared, "x-kubernetes-embedded-resource");
        let Some(decl) = declare(declared, &format!("{name}.{property}"), resource) else { continue };
        if required.contains(&property.as_str()) && declared.get("default").is_none_or(Value::is_null) {
            min_size += i64::try_from(property.len()).unwrap_or(0) + decl.min_size + 4;
        }
        if let Some(escaped) = escape(property) {
            fields.insert(escaped.into(), Arc::new(decl));
        }
    }
    if root {
        let most = u64::try_from(REQUEST_BYTES - 2).unwrap_or(0);
        let string = || Arc::new(simple(Type::String, 2, most));
        fields.insert("apiVersion".into(), string());
        fields.insert("kind".into(), string());
        let named = [("name".into(), string()), ("generateName".into(), string())].into_iter().collect();
        let record = Record { name: format!("{name}.metadata").into(), fields: named, open: false };
        let metadata = Decl { min_size: 2, ..Decl::of(Type::Object(Arc::new(record))) };
        fields.insert("metadata".into(), Arc::new(metadata));
        for (field, size) in [("apiVersion", 2), ("kind", 2), ("metadata", 2)] {
            if required.contains(&field) {
                min_size += i64::try_from(field.len()).unwrap_or(0) + size + 4;
            }
        }
    }
    let record = Record { name: name.into(), fields, open: false };
    Some(Decl { min_size, ..Decl::of(Type::Object(Arc::new(record))) })
}
