//! Reads schemas from OpenAPI definitions and from CRDs.

use super::node::{Form, ListType, Node, NodeId, PatchStrategy, Schema, Schemas};
use super::pattern::Pattern;
use super::rules::Rules;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A schema that does not have the shape of one. `field` is the path below the schema's root.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ParseError {
    /// Where.
    pub field: String,
    /// What is wrong there.
    pub problem: String,
}

/// Keywords that are kept as they are for validation.
const VALIDATIONS: [&str; 18] = [
    "allOf",
    "anyOf",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "uniqueItems",
    "x-kubernetes-validations",
];

/// Reads a `definitions` map of OpenAPI v2, whose references are `#/definitions/NAME`.
///
/// # Errors
/// If a reference leads nowhere or a schema is not a JSON object.
pub fn from_definitions(definitions: &Map<String, Value>) -> Result<Arc<Schemas>, ParseError> {
    let mut reader = Reader::default();
    for (at, name) in definitions.keys().enumerate() {
        let id = NodeId(u32::try_from(at).expect("fewer than 2^32 definitions"));
        reader.set.names.insert(name.clone(), id);
        reader.set.nodes.push(Node::default());
    }
    for (name, schema) in definitions {
        let mut node = reader.node(schema, name)?;
        node.definition = Some(name.as_str().into());
        // Whatever it holds, it is owned as a whole.
        node.atomic_map |= name.ends_with(".RawExtension");
        let id = reader.set.names[name];
        reader.set.nodes[id.0 as usize] = node;
    }
    reader.fill_marked();
    Ok(Arc::new(reader.set))
}

/// Reads the `openAPIV3Schema` of a CRD's version.
///
/// # Errors
/// If a schema is not a JSON object. Whether it is structural is not checked here.
pub fn from_crd(schema: &Value) -> Result<Schema, ParseError> {
    let mut reader = Reader::default();
    let node = reader.node(schema, "openAPIV3Schema")?;
    let at = reader.push(node);
    Ok(Schema { set: Arc::new(reader.set), at })
}

#[derive(Default)]
struct Reader {
    set: Schemas,
    marked: Vec<Marked>,
}

/// A place that refers to a definition and has marks beside the reference.
struct Marked {
    place: NodeId,
    target: NodeId,
    own: Node,
    marks: Vec<String>,
}

impl Reader {
    fn push(&mut self, node: Node) -> NodeId {
        let id = NodeId(u32::try_from(self.set.nodes.len()).expect("fewer than 2^32 nodes"));
        self.set.nodes.push(node);
        id
    }

    fn node(&mut self, schema: &Value, field: &str) -> Result<Node, ParseError> {
        let problem = |problem: &str| ParseError { field: field.into(), problem: problem.into() };
        let schema = schema.as_object().ok_or_else(|| problem("must be an object"))?;
        let text = |key: &str| schema.get(key).and_then(Value::as_str);
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or(false);
        let texts = |key: &str| -> Vec<&str> {
            schema.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
        };
        let strategy = text("x-kubernetes-patch-strategy").unwrap_or("");
        let validations: Map<String, Value> =
            VALIDATIONS.iter().filter_map(|key| Some(((*key).to_owned(), schema.get(*key)?.clone()))).collect();
        Ok(Node {
            form: self.form(schema, field)?,
            typed: schema.contains_key("type") || schema.contains_key("x-kubernetes-int-or-string"),
            definition: None,
            list_type: match text("x-kubernetes-list-type") {
                Some("map") => {
                    Some(ListType::Map(texts("x-kubernetes-list-map-keys").into_iter().map(Into::into).collect()))
                }
                Some("set") => Some(ListType::Set),
                Some("atomic") => Some(ListType::Atomic),
                Some(other) => return Err(problem(&format!("unknown x-kubernetes-list-type {other:?}"))),
                None => None,
            },
            atomic_map: text("x-kubernetes-map-type") == Some("atomic"),
            patch_strategy: PatchStrategy {
                merge: strategy.split(',').any(|s| s == "merge"),
                retain_keys: strategy.split(',').any(|s| s == "retainKeys"),
                replace: strategy.split(',').any(|s| s == "replace"),
            },
            patch_merge_key: text("x-kubernetes-patch-merge-key").map(Into::into),
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            embedded_resource: flag("x-kubernetes-embedded-resource"),
            nullable: flag("nullable"),
            required: texts("required").into_iter().map(Into::into).collect(),
            default: schema.get("default").cloned(),
            format: text("format").map(Into::into),
            allowed: schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
            rules: self.rules(&validations, field)?,
            validations: if validations.is_empty() { Value::Null } else { validations.into() },
        })
    }

    fn rules(&mut self, declared: &Map<String, Value>, field: &str) -> Result<Option<Arc<Rules>>, ParseError> {
        if declared.keys().all(|key| key == "x-kubernetes-validations") {
            return Ok(None);
        }
        let number = |key: &str| declared.get(key).and_then(Value::as_f64);
        let count = |key: &str| declared.get(key).and_then(Value::as_u64);
        let flag = |key: &str| declared.get(key).and_then(Value::as_bool).unwrap_or(false);
        let mut all = |key: &str| -> Result<Vec<NodeId>, ParseError> {
            let schemas = declared.get(key).and_then(Value::as_array).into_iter().flatten();
            schemas.enumerate().map(|(at, schema)| self.child(schema, &format!("{field}.{key}[{at}]"))).collect()
        };
        Ok(Some(Arc::new(Rules {
            minimum: number("minimum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            maximum: number("maximum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            multiple_of: number("multipleOf"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            unique_items: flag("uniqueItems"),
            pattern: declared.get("pattern").and_then(Value::as_str).filter(|p| !p.is_empty()).map(Pattern::new),
            all_of: all("allOf")?,
            any_of: all("anyOf")?,
            one_of: all("oneOf")?,
            not: match declared.get("not") {
                Some(schema) => Some(self.child(schema, &format!("{field}.not"))?),
                None => None,
            },
        })))
    }

    fn form(&mut self, schema: &Map<String, Value>, field: &str) -> Result<Form, ParseError> {
        let problem = |problem: String| ParseError { field: field.into(), problem };
        if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true))
            || schema.get("format").and_then(Value::as_str) == Some("int-or-string")
        {
            return Ok(Form::IntOrString);
        }
        let has_members = schema.contains_key("properties") || schema.contains_key("additionalProperties");
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => self.object(schema, field),
            None if has_members => self.object(schema, field),
            kind @ (Some("array") | None) if kind.is_some() || schema.contains_key("items") => {
                let field = format!("{field}.items");
                let items = match schema.get("items") {
                    Some(items) => self.child(items, &field)?,
                    None => self.push(Node::default()),
                };
                Ok(Form::Array { items })
            }
            Some("string") => Ok(Form::String),
            Some("integer") => Ok(Form::Integer),
            Some("number") => Ok(Form::Number),
            Some("boolean") => Ok(Form::Boolean),
            Some(other) => Err(problem(format!("unknown type {other:?}"))),
            None => Ok(Form::Any),
        }
    }

    fn object(&mut self, schema: &Map<String, Value>, field: &str) -> Result<Form, ParseError> {
        let mut properties = BTreeMap::new();
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let id = self.child(property, &format!("{field}.{name}"))?;
            properties.insert(name.as_str().into(), id);
        }
        let additional = match schema.get("additionalProperties") {
            None | Some(Value::Bool(false)) => None,
            Some(Value::Bool(true)) => Some(self.push(Node { preserve_unknown: true, ..Node::default() })),
            Some(schema) => Some(self.child(schema, &format!("{field}.additionalProperties"))?),
        };
        Ok(Form::Object { properties, additional })
    }

    /// A schema below another: a reference (whose own list and patch marks win over the definition's), or inline.
    fn child(&mut self, schema: &Value, field: &str) -> Result<NodeId, ParseError> {
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else {
            let node = self.node(schema, field)?;
            return Ok(self.push(node));
        };
        let name = reference.strip_prefix("#/definitions/").unwrap_or(reference);
        let Some(&target) = self.set.names.get(name) else {
            return Err(ParseError { field: field.into(), problem: format!("nothing is defined as {name:?}") });
        };
        let marks: Map<String, Value> = schema
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| key.starts_with("x-kubernetes") || *key == "default" || *key == "nullable")
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if marks.is_empty() {
            return Ok(target);
        }
        // The target may not have been read yet: remember the place, and copy once everything is there.
        let own = self.node(&Value::Object(marks.clone()), field)?;
        let place = self.push(Node::default());
        self.marked.push(Marked { place, target, own, marks: marks.keys().cloned().collect() });
        Ok(place)
    }

    /// Fills the places that copy a definition and have marks of their own.
    fn fill_marked(&mut self) {
        for Marked { place, target, own, marks } in std::mem::take(&mut self.marked) {
            let mut node = self.set.node(target).clone();
            for mark in &marks {
                match mark.as_str() {
                    "x-kubernetes-list-type" | "x-kubernetes-list-map-keys" => {
                        node.list_type.clone_from(&own.list_type)
                    }
                    "x-kubernetes-map-type" => node.atomic_map = own.atomic_map,
                    "x-kubernetes-patch-strategy" => node.patch_strategy = own.patch_strategy,
                    "x-kubernetes-patch-merge-key" => node.patch_merge_key.clone_from(&own.patch_merge_key),
                    "x-kubernetes-preserve-unknown-fields" => node.preserve_unknown = own.preserve_unknown,
                    "x-kubernetes-embedded-resource" => node.embedded_resource = own.embedded_resource,
                    "default" => node.default.clone_from(&own.default),
                    "nullable" => node.nullable = own.nullable,
                    _ => {}
                }
            }
            self.set.nodes[place.0 as usize] = node;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_marks_and_references() {
        let definitions = json!({
            "PodSpec": {"type": "object", "required": ["containers"], "properties": {
                "containers": {"type": "array", "items": {"$ref": "#/definitions/Container"},
                    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge"}}},
            "Container": {"type": "object", "properties": {"name": {"type": "string"}, "again": {"$ref": "#/definitions/PodSpec"}}},
        });
        let set = from_definitions(definitions.as_object().unwrap()).unwrap();
        let containers = set.named("PodSpec").unwrap().field("containers").unwrap();
        assert_eq!(containers.node().list_type, Some(ListType::Map(vec!["name".into()])));
        assert!(containers.node().patch_strategy.merge);
        let name = containers.items().unwrap().field("name").unwrap();
        assert_eq!(name.node().form, Form::String);
        assert!(containers.items().unwrap().field("again").unwrap().field("containers").is_some());
    }

    #[test]
    fn marks_beside_a_reference_belong_to_the_place() {
        let definitions = json!({
            "A": {"type": "object", "properties": {
                "strategy": {"$ref": "#/definitions/S", "x-kubernetes-patch-strategy": "retainKeys"},
                "ref": {"$ref": "#/definitions/S", "x-kubernetes-map-type": "granular"},
                "plain": {"$ref": "#/definitions/S"}}},
            "S": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"type": {"type": "string"}}},
        });
        let set = from_definitions(definitions.as_object().unwrap()).unwrap();
        let field = |name: &str| set.named("A").unwrap().field(name).unwrap();
        assert!(field("strategy").node().patch_strategy.retain_keys);
        assert!(field("strategy").node().atomic_map);
        assert_eq!(field("strategy").node().definition.as_deref(), Some("S"));
        assert!(field("strategy").field("type").is_some());
        assert!(!field("ref").node().atomic_map);
        assert!(field("plain").node().atomic_map);
        assert!(!field("plain").node().patch_strategy.retain_keys);
    }
}
