//! The schemas: recorded definitions, with marks beside a reference written out.

use anyhow::Context;
use serde_json::{Map, Value};

const PREFIX: &str = "#/definitions/";

/// Definitions by name. A place that refers to a definition and adds marks of its own (three do: `retainKeys` of a
/// Deployment's strategy, and such) becomes a copy of the definition with these marks, so that every schema is either
/// a reference or describes itself.
pub(crate) fn served(recorded: &Map<String, Value>) -> anyhow::Result<Map<String, Value>> {
    let definitions = recorded.get("definitions").and_then(Value::as_object).context("no definitions")?;
    definitions
        .iter()
        .map(|(name, schema)| Ok((name.clone(), written_out(schema, definitions).with_context(|| name.clone())?)))
        .collect()
}

fn written_out(schema: &Value, definitions: &Map<String, Value>) -> anyhow::Result<Value> {
    let Some(schema) = schema.as_object() else {
        return Ok(match schema {
            Value::Array(items) => {
                items.iter().map(|item| written_out(item, definitions)).collect::<anyhow::Result<Vec<_>>>()?.into()
            }
            other => other.clone(),
        });
    };
    let mut out = Map::new();
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str)
        && schema.len() > 1
    {
        let name = reference.strip_prefix(PREFIX).context("a reference to no definition")?;
        let target = definitions.get(name).and_then(Value::as_object).with_context(|| format!("no {name}"))?;
        let unnamed = target.iter().filter(|(key, _)| *key != "x-kubernetes-group-version-kind");
        out.extend(unnamed.map(|(key, value)| (key.clone(), value.clone())));
    }
    for (key, value) in schema {
        // A property may be called `$ref` (JSONSchemaProps has one): its schema is an object, a reference is text.
        if key == "$ref" && value.is_string() && schema.len() > 1 {
            continue;
        }
        out.insert(key.clone(), written_out(value, definitions)?);
    }
    Ok(out.into())
}
