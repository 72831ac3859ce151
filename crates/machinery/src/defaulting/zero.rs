//! An object of a built-in kind of which nothing was said yet, as Go has it: what is no pointer is there, and is zero.
//!
//! The tracking of fields starts from it: nobody owns what every object has anyway.

use super::last_three;
use crate::schema::{Form, Node, Schema, Schemas};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

/// For each definition the fields that are always written, and what they are when nothing was said.
static ALWAYS: LazyLock<HashMap<&'static str, Vec<(&'static str, Value)>>> = LazyLock::new(|| {
    let lines = include_str!("fields.txt").lines().filter(|line| !line.starts_with('#'));
    let rows = lines.filter_map(|line| line.split_once(": "));
    let zero = |field: &'static str| {
        let (name, zero) = field.split_once('=')?;
        Some((name, serde_json::from_str(zero).expect("the table holds JSON; a test reads every line")))
    };
    rows.map(|(name, fields)| (name, fields.split(' ').filter_map(zero).collect())).collect()
});

/// The object of which nothing was said; of a custom kind, nothing is there then.
pub(crate) fn zero(schema: Option<&Schema>) -> Map<String, Value> {
    schema.map_or_else(Map::new, |schema| zero_of(schema.node(), &schema.set))
}

fn zero_of(node: &Node, set: &Schemas) -> Map<String, Value> {
    let always = node.definition.as_deref().and_then(|name| ALWAYS.get(last_three(name)));
    let Form::Object { properties, .. } = &node.form else { return Map::new() };
    let field = |(name, zero): &(&'static str, Value)| {
        let child = properties.get(*name).map(|at| set.node(*at));
        let value = match (zero, child) {
            (Value::Object(_), Some(child)) => zero_of(child, set).into(),
            _ => zero.clone(),
        };
        ((*name).to_owned(), value)
    };
    always.into_iter().flatten().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::from_definitions;
    use serde_json::json;

    #[test]
    fn what_is_always_there() {
        assert!(ALWAYS.len() > 100);
        let definitions = json!({
            "io.k8s.api.apps.v1.Deployment": {"properties": {"spec": {"$ref": "#/definitions/io.k8s.api.apps.v1.DeploymentSpec"}}},
            "io.k8s.api.apps.v1.DeploymentSpec": {"properties": {
                "template": {"$ref": "#/definitions/io.k8s.api.core.v1.PodTemplateSpec"}, "strategy": {"type": "object"}}},
            "io.k8s.api.core.v1.PodTemplateSpec": {"properties": {"spec": {"$ref": "#/definitions/io.k8s.api.core.v1.PodSpec"}}},
            "io.k8s.api.core.v1.PodSpec": {"properties": {"containers": {"type": "array", "items": {"type": "object"}}}},
        });
        let schemas = from_definitions(definitions.as_object().unwrap()).unwrap();
        let found = zero(schemas.named("io.k8s.api.apps.v1.Deployment").as_ref());
        assert_eq!(found["spec"]["strategy"], json!({}));
        assert_eq!(found["spec"]["template"]["spec"]["containers"], Value::Null);
        assert!(found["spec"].get("replicas").is_none());
        assert!(zero(None).is_empty());
    }
}
