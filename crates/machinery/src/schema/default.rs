//! Defaults that a custom resource's schema declares.

use super::node::{Form, Node, NodeId, Schema, Schemas};
use serde_json::Value;

/// Fills in `default`s of the schema, after nulls that the schema does not allow were dropped where there is no default
/// to take their place.
pub fn default(value: &mut Value, schema: &Schema) {
    walk(value, schema.at, &schema.set);
}

/// A null where none is allowed.
fn misplaced_null(value: &Value, node: &Node) -> bool {
    value.is_null() && !node.nullable
}

fn walk(value: &mut Value, at: NodeId, set: &Schemas) {
    match (value, &set.node(at).form) {
        (Value::Object(map), Form::Object { properties, additional }) => {
            map.retain(|key, value| {
                let child = properties.get(key.as_str()).or(additional.as_ref());
                !child.is_some_and(|&at| misplaced_null(value, set.node(at)) && set.node(at).default.is_none())
            });
            for (name, &child) in properties {
                let Some(default) = &set.node(child).default else { continue };
                if map.get(&**name).is_none_or(|value| misplaced_null(value, set.node(child))) {
                    map.insert(name.to_string(), default.clone());
                }
            }
            for (key, value) in map {
                let Some(&child) = properties.get(key.as_str()).or(additional.as_ref()) else { continue };
                fill(value, child, set);
            }
        }
        (Value::Array(list), Form::Array { items }) => {
            for value in list {
                fill(value, *items, set);
            }
        }
        _ => {}
    }
}

fn fill(value: &mut Value, at: NodeId, set: &Schemas) {
    if let (true, Some(default)) = (misplaced_null(value, set.node(at)), &set.node(at).default) {
        *value = default.clone();
    }
    walk(value, at, set);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::from_crd;
    use serde_json::json;

    #[track_caller]
    fn check(schema: Value, before: Value, after: Value) {
        let schema = from_crd(&schema).unwrap();
        let mut value = before;
        default(&mut value, &schema);
        assert_eq!(value, after);
        default(&mut value, &schema);
        assert_eq!(value, after, "defaulted twice");
    }

    #[test]
    fn fills_every_level() {
        let size = json!({"type": "object", "properties": {"n": {"type": "integer", "default": 3}}});
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "default": {}, "properties": {
                "mode": {"type": "string", "default": "fast"},
                "sizes": {"type": "array", "items": size},
                "named": {"type": "object", "additionalProperties": size},
                "absent": size}}}});
        check(schema.clone(), json!({}), json!({"spec": {"mode": "fast"}}));
        check(
            schema,
            json!({"spec": {"mode": "slow", "sizes": [{}, {"n": 1}], "named": {"a": {}}}}),
            json!({"spec": {"mode": "slow", "sizes": [{"n": 3}, {"n": 1}], "named": {"a": {"n": 3}}}}),
        );
    }

    #[test]
    fn nulls_give_way_unless_they_are_allowed() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "string", "default": "x"},
            "b": {"type": "string"},
            "c": {"type": "string", "nullable": true, "default": "x"},
            "d": {"type": "array", "items": {"type": "integer", "default": 7}},
            "e": {"type": "object", "additionalProperties": {"type": "string", "default": "y"}}}});
        check(
            schema,
            json!({"a": null, "b": null, "c": null, "d": [null, 1], "e": {"k": null}}),
            json!({"a": "x", "c": null, "d": [7, 1], "e": {"k": "y"}}),
        );
    }
}
