//! Whether an applied config fits the schema: what ownership cannot be tracked without.

use super::place::Place;
use crate::schema::{Form, ListType, Node};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// What does not fit, one line each, in the words of the stock server; empty if all fits.
pub(super) fn problems(config: &Map<String, Value>, root: Place<'_>) -> Vec<String> {
    let mut found = Vec::new();
    check_map(config, root, "", &mut found);
    found
}

fn check_map(map: &Map<String, Value>, place: Place<'_>, path: &str, found: &mut Vec<String>) {
    for (name, value) in map {
        let field = place.field(name);
        if field.unknown {
            found.push(format!("{path}.{name}: field not declared in schema"));
        } else {
            check_value(value, field.place, &format!("{path}.{name}"), found);
        }
    }
}

fn check_value(value: &Value, place: Place<'_>, path: &str, found: &mut Vec<String>) {
    let Some(node) = place.node() else { return };
    let expected = match (&node.form, value) {
        (_, Value::Null) | (Form::Any, _) => return,
        (Form::Object { .. }, Value::Object(map)) => return check_map(map, place, path, found),
        (Form::Array { .. }, Value::Array(list)) => return check_list(list, place, path, found),
        (Form::Object { .. }, _) => "map",
        (Form::Array { .. }, _) => "list",
        (Form::String, Value::String(_)) | (Form::Boolean, Value::Bool(_)) => return,
        (Form::Integer | Form::Number, Value::Number(_)) => return,
        // A quantity is declared as text, and `cpu: 1` is what people write.
        (Form::String, Value::Number(_)) if is_quantity(node) => return,
        (Form::IntOrString, Value::Object(_) | Value::Array(_)) => "any scalar",
        (Form::IntOrString, _) => return,
        (Form::String, _) => "string",
        (Form::Boolean, _) => "boolean",
        (Form::Integer | Form::Number, _) => "numeric (int or float)",
    };
    let got = match (expected, value) {
        ("numeric (int or float)", value) => go_type(value).to_owned(),
        ("string" | "boolean", value) if !value.is_object() && !value.is_array() => {
            format!("&value.valueUnstructured{{Value:{value}}}")
        }
        _ => excerpt(value),
    };
    found.push(format!("{path}: expected {expected}, got {got}"));
}

fn check_list(list: &[Value], place: Place<'_>, path: &str, found: &mut Vec<String>) {
    let told_apart =
        matches!(place.node().and_then(|node| node.list_type.as_ref()), Some(ListType::Set | ListType::Map(_)));
    let mut seen = HashSet::new();
    for (at, element) in list.iter().enumerate() {
        let mut shown = format!("[{at}]");
        if told_apart {
            match place.step(element) {
                Err(problem) => {
                    found.push(format!("{path}: element {at}: {problem}"));
                    return;
                }
                Ok(step) => {
                    shown = super::fieldset::display_step(&step);
                    if !seen.insert(step) {
                        found.push(format!("{path}: duplicate entries for key {shown}"));
                    }
                }
            }
        }
        check_value(element, place.items(), &format!("{path}{shown}"), found);
    }
}

fn is_quantity(node: &Node) -> bool {
    node.definition.as_deref().is_some_and(|name| name.ends_with("resource.Quantity"))
}

/// The type of a value in Go, as a stock server names it.
pub(crate) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// The beginning of a value, for a message.
fn excerpt(value: &Value) -> String {
    const MOST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}
