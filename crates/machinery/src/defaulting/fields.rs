//! What Go makes of fields that are absent, or that it cannot tell from absent.
//!
//! A field that is not a pointer in Go is always there: some are written even when they are zero, the others never
//! are. Which is which is a fact of the field; `fields.txt` beside this file has them.

use super::Fields;
use crate::schema::{Form, NodeId, Schemas};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

/// How a field is written.
#[derive(Clone, PartialEq, Debug)]
enum Written {
    /// Always; this is it if it is absent.
    Always(Value),
    /// If it is there, even if it is zero.
    Given,
}

type Definition = BTreeMap<&'static str, Written>;

static DEFINITIONS: LazyLock<HashMap<&'static str, Definition>> = LazyLock::new(|| {
    let lines = include_str!("fields.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, fields)| (name, fields.split(' ').map(field).collect()))
        .collect()
});

fn field(text: &'static str) -> (&'static str, Written) {
    match text.split_once('=') {
        None => (text.trim_end_matches('*'), Written::Given),
        Some((name, zero)) => {
            (name, Written::Always(serde_json::from_str(zero).expect("the table holds JSON; a test reads every line")))
        }
    }
}

fn facts(definition: &str) -> Option<&'static Definition> {
    DEFINITIONS.get(definition)
}

/// Before defaults: drops zeros that Go does not write, and makes the objects that it cannot leave out.
pub(super) fn before(map: &mut Fields, definition: &str, properties: &BTreeMap<Box<str>, NodeId>, set: &Schemas) {
    let facts = facts(definition);
    map.retain(|name, value| {
        let zero = match value {
            Value::String(text) => text.is_empty(),
            Value::Number(number) => number.as_i64() == Some(0),
            Value::Bool(set) => !*set,
            _ => false,
        };
        if !zero || facts.is_some_and(|facts| facts.contains_key(name.as_str())) {
            return true;
        }
        // Times, quantities and the like have definitions, and zeros, of their own.
        let node = properties.get(name.as_str()).map(|at| set.node(*at));
        node.is_none_or(|node| {
            node.definition.is_some()
                || !matches!(node.form, Form::String | Form::Integer | Form::Number | Form::Boolean)
        })
    });
    for (name, written) in facts.into_iter().flatten() {
        if *written == Written::Always(Value::Object(Map::new())) && map.get(*name).is_none_or(Value::is_null) {
            map.insert((*name).into(), Value::Object(Map::new()));
        }
    }
}

/// After defaults: fills in zeros that Go writes.
pub(super) fn after(map: &mut Fields, definition: &str) {
    for (name, written) in facts(definition).into_iter().flatten() {
        let Written::Always(zero) = written else { continue };
        match map.get(*name) {
            None => {}
            Some(Value::Null) if !zero.is_null() => {}
            Some(_) => continue,
        }
        map.insert((*name).into(), zero.clone());
    }
}

/// What is stored without elements is read as `null` where Go always writes the list.
pub(super) fn stored(map: &mut Fields, definition: &str) {
    for (name, written) in facts(definition).into_iter().flatten() {
        if *written == Written::Always(Value::Null)
            && let Some(held) = map.get_mut(*name)
            && held.as_array().is_some_and(Vec::is_empty)
        {
            *held = Value::Null;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_line_is_read() {
        let lines = include_str!("fields.txt").lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(DEFINITIONS.len(), lines);
        let event = facts("core.v1.Event").unwrap();
        assert_eq!(event["eventTime"], Written::Always(Value::Null));
        assert_eq!(event["source"], Written::Always(json!({})));
        assert_eq!(facts("apps.v1.DeploymentSpec").unwrap()["replicas"], Written::Given);
    }
}
