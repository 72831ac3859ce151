//! Structural pruning: what a custom resource's schema does not know is dropped.

use super::node::{Form, NodeId, Schema, Schemas};
use super::object_meta::object_meta;
use crate::field::Path;
use serde_json::Value;

/// Removes from a custom resource what its schema does not declare, and answers the paths of what was removed, sorted.
/// The rules of structural pruning hold: nothing is removed below `x-kubernetes-preserve-unknown-fields` until a
/// declared property is met again, and the root and embedded resources keep `apiVersion`, `kind` and `metadata`. Of
/// their metadata, only what `ObjectMeta` knows is kept.
///
/// Built-in kinds are pruned by [`super::decode`].
pub fn prune(value: &mut Value, schema: &Schema) -> Vec<String> {
    let mut walk = Walk { set: &schema.set, unknown: Vec::new() };
    walk.prune(value, Some(schema.at), true, &Path::ROOT);
    walk.unknown.sort_unstable();
    walk.unknown
}

struct Walk<'s> {
    set: &'s Schemas,
    unknown: Vec<String>,
}

const RESOURCE_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

impl Walk<'_> {
    fn prune(&mut self, value: &mut Value, at: Option<NodeId>, root: bool, path: &Path<'_>) {
        let node = at.map(|at| self.set.node(at));
        let preserve = node.is_some_and(|node| node.preserve_unknown);
        match value {
            Value::Object(map) => {
                let (properties, additional) = match node.map(|node| &node.form) {
                    Some(Form::Object { properties, additional }) => (Some(properties), *additional),
                    _ => (None, None),
                };
                let resource = root || node.is_some_and(|node| node.embedded_resource);
                map.retain(|key, value| {
                    if resource && RESOURCE_FIELDS.contains(&key.as_str()) {
                        if key == "metadata" {
                            self.metadata(value, &path.field(key));
                        }
                        return true;
                    }
                    match properties.and_then(|properties| properties.get(key.as_str())).copied().or(additional) {
                        Some(child) => self.prune(value, Some(child), false, &path.field(key)),
                        None if preserve => {}
                        None => {
                            self.unknown.push(path.field(key).to_string());
                            return false;
                        }
                    }
                    true
                });
            }
            Value::Array(list) => {
                let items = match node.map(|node| &node.form) {
                    Some(Form::Array { items }) => Some(*items),
                    _ => None,
                };
                if preserve && items.is_none() {
                    return;
                }
                for (index, value) in list.iter_mut().enumerate() {
                    let path = path.index(index);
                    // Below preserve-unknown-fields, elements are preserved too; their declared properties are pruned.
                    if preserve {
                        self.below_preserved(value, items, &path);
                    } else {
                        self.prune(value, items, false, &path);
                    }
                }
            }
            _ => {}
        }
    }

    fn below_preserved(&mut self, value: &mut Value, at: Option<NodeId>, path: &Path<'_>) {
        let Some(node) = at.map(|at| self.set.node(at)) else { return };
        match (value, &node.form) {
            (Value::Object(map), Form::Object { properties, additional }) => {
                for (key, value) in map {
                    if node.embedded_resource && RESOURCE_FIELDS.contains(&key.as_str()) {
                        continue;
                    }
                    if let Some(child) = properties.get(key.as_str()).copied().or(*additional) {
                        self.prune(value, Some(child), false, &path.field(key));
                    }
                }
            }
            (Value::Array(list), Form::Array { items }) => {
                for (index, value) in list.iter_mut().enumerate() {
                    self.below_preserved(value, Some(*items), &path.index(index));
                }
            }
            _ => {}
        }
    }

    fn metadata(&mut self, value: &mut Value, path: &Path<'_>) {
        let Value::Object(map) = value else { return };
        let schema = object_meta();
        map.retain(|key, _| {
            let known = schema.property(key).is_some();
            if !known {
                self.unknown.push(path.field(key).to_string());
            }
            known
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::from_crd;
    use serde_json::json;

    #[track_caller]
    fn check(schema: Value, before: Value, after: Value, unknown: &[&str]) {
        let schema = from_crd(&schema).unwrap();
        let mut value = before;
        assert_eq!(prune(&mut value, &schema), unknown);
        assert_eq!(value, after);
        assert_eq!(prune(&mut value, &schema), Vec::<String>::new(), "pruned twice");
    }

    #[test]
    fn what_is_not_declared_is_dropped() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        }}}});
        check(
            schema,
            json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "colour": "red"}, "more": 1,
                "spec": {"x": {"y": 1}, "list": [{"a": "1", "b": 1}], "map": {"k": {"a": 1, "b": 2}}}}),
            json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"},
                "spec": {"list": [{"a": "1"}], "map": {"k": {"a": 1}}}}),
            &["metadata.colour", "more", "spec.list[0].b", "spec.map.k.b", "spec.x"],
        );
    }

    #[test]
    fn preserved_fields_stay_until_a_property_is_declared_again() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}}}}});
        check(
            schema,
            json!({"spec": {"x": {"y": [1]}, "known": {"a": "", "b": 1}}}),
            json!({"spec": {"x": {"y": [1]}, "known": {"a": ""}}}),
            &["spec.known.b"],
        );
    }

    #[test]
    fn embedded_resources_keep_what_makes_them_resources() {
        let schema = json!({"type": "object", "properties": {"template": {"type": "object",
            "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}}}});
        check(
            schema,
            json!({"template": {"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "b": 1}, "spec": {"x": 1}, "y": 1}}),
            json!({"template": {"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "spec": {}}}),
            &["template.metadata.b", "template.spec.x", "template.y"],
        );
    }

    #[test]
    fn a_root_that_preserves_everything_keeps_everything() {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let value = json!({"apiVersion": "v1", "kind": "A", "spec": {"x": [{"y": 1}]}});
        check(schema, value.clone(), value, &[]);
    }
}
