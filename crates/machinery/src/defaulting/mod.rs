//! Defaults that the stock server fills into built-in kinds when it reads them.
//!
//! A row says: where a definition is met, and a condition holds, a path gets a value. Definitions are keyed by the last
//! three parts of their names, so that what is said of a Container holds wherever one is embedded. What a row cannot say
//! is a named function beside it. Before and after that, zeros are treated as Go writes them. Custom resources are defaulted by [`crate::schema::default`].

mod fields;
mod functions;
mod rows;
mod zero;

pub(crate) use zero::zero;

use crate::field::at as at_path;
use crate::schema::{Form, NodeId, Schema, Schemas};
use rows::{If, Row, When};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

type Fields = Map<String, Value>;

/// Fills the defaults into an object of a built-in definition, as read by [`crate::schema::decode`]. Applying it again
/// changes nothing.
pub fn apply_defaults(value: &mut Value, schema: &Schema) {
    if let Value::Object(map) = value {
        object(map, schema.at, &schema.set);
    }
}

/// Makes of an object of a built-in definition what is read of it once it was stored: lists that are always written are
/// `null` if they were empty. Cheap where there is no empty list.
pub fn as_stored(value: &mut Value, schema: &Schema) {
    if has_empty_list(value) {
        settle(value, schema.at, &schema.set);
    }
}

fn has_empty_list(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty() || list.iter().any(has_empty_list),
        Value::Object(map) => map.values().any(has_empty_list),
        _ => false,
    }
}

fn settle(value: &mut Value, at: NodeId, set: &Schemas) {
    let node = set.node(at);
    match (value, &node.form) {
        (Value::Object(map), Form::Object { properties, additional }) => {
            if let Some(name) = node.definition.as_deref() {
                fields::stored(map, last_three(name));
            }
            for (key, value) in map {
                if let Some(&child) = properties.get(key.as_str()).or(additional.as_ref()) {
                    settle(value, child, set);
                }
            }
        }
        (Value::Array(list), Form::Array { items }) => {
            list.iter_mut().for_each(|value| settle(value, *items, set));
        }
        _ => {}
    }
}

/// What happens to objects of one definition, in order: functions first, as they may look at what the user wrote.
#[derive(Default)]
struct Definition {
    function: Option<fn(&mut Fields)>,
    rows: Vec<(&'static Row, Value)>,
}

static DEFINITIONS: LazyLock<HashMap<&'static str, Definition>> = LazyLock::new(|| {
    let mut map: HashMap<&'static str, Definition> = HashMap::new();
    for (name, function) in functions::FUNCTIONS {
        map.entry(name).or_default().function = Some(*function);
    }
    for row in rows::ROWS {
        let value = serde_json::from_str(row.value).expect("the table holds JSON; a test reads every row");
        map.entry(row.definition).or_default().rows.push((row, value));
    }
    map
});

fn object(map: &mut Fields, at: NodeId, set: &Schemas) {
    let node = set.node(at);
    let name = node.definition.as_deref().map(last_three);
    let Form::Object { properties, additional } = &node.form else { return };
    if let Some(name) = name {
        fields::before(map, name, properties, set);
    }
    if let Some(definition) = name.and_then(|name| DEFINITIONS.get(name)) {
        if let Some(function) = definition.function {
            function(map);
        }
        for (row, value) in &definition.rows {
            if row.when.holds(at_path(map, row.path)) && row.only.iter().all(|condition| condition.holds(map)) {
                set_path(map, row.path, value.clone());
            }
        }
    }
    if let Some(name) = name {
        fields::after(map, name);
    }
    for (key, value) in map {
        if matches!(value, Value::Object(_) | Value::Array(_))
            && let Some(&child) = properties.get(key.as_str()).or(additional.as_ref())
        {
            walk(value, child, set);
        }
    }
}

fn walk(value: &mut Value, at: NodeId, set: &Schemas) {
    match value {
        Value::Object(map) => object(map, at, set),
        Value::Array(list) => {
            if let Form::Array { items } = set.node(at).form {
                for value in list {
                    walk(value, items, set);
                }
            }
        }
        _ => {}
    }
}

/// `io.k8s.api.core.v1.Container` is `core.v1.Container`.
fn last_three(definition: &str) -> &str {
    let dot = definition.bytes().enumerate().rev().filter(|(_, b)| *b == b'.').nth(2);
    dot.map_or(definition, |(at, _)| &definition[at + 1..])
}

/// Sets the value at a dotted path; the objects on the way are made.
fn set_path(map: &mut Fields, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            map.insert(path.into(), value);
        }
        Some((first, rest)) => {
            let child = map.entry(first).or_insert_with(|| Map::new().into());
            if let Value::Object(child) = child {
                set_path(child, rest, value);
            }
        }
    }
}

/// Absent, or what Go's types cannot tell from absent.
fn is_blank(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Bool(set)) => !set,
    }
}

impl When {
    fn holds(self, value: Option<&Value>) -> bool {
        match self {
            When::Absent => value.is_none_or(Value::is_null),
            When::Blank => is_blank(value),
        }
    }
}

impl If {
    fn holds(&self, map: &Fields) -> bool {
        match *self {
            If::Is(path, text) => at_path(map, path).and_then(Value::as_str) == Some(text),
            If::Has(path) => at_path(map, path).is_some_and(|value| !value.is_null()),
            If::Blank(path) => is_blank(at_path(map, path)),
            If::Filled(path) => !is_blank(at_path(map, path)),
        }
    }
}

#[cfg(test)]
mod tests;
