//! OpenAPI version 3: one document for each group and version.

use super::operations::Operation;
use super::parameters::{Parameter, Place};
use super::schemas::{self, Edition};
use super::{Part, builtins, info, path_items, security};
use descriptions::Descriptions;
use serde_json::{Map, Value, json};

pub(super) fn document(part: &Part<'_>) -> Value {
    let roots: Vec<String> = part
        .operations()
        .into_iter()
        .flat_map(|operation| [Some(operation.answer), operation.body.map(|(name, _)| name)])
        .flatten()
        .collect();
    let mut components = Map::new();
    if !part.is_custom() {
        components.insert("securitySchemes".into(), security());
    }
    let definitions = definitions(part, roots);
    if !definitions.is_empty() {
        components.insert("schemas".into(), definitions.into());
    }
    json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": path_items(std::slice::from_ref(part), operation, parameter),
        "components": components,
    })
}

fn definitions(part: &Part<'_>, mut roots: Vec<String>) -> Map<String, Value> {
    let mut custom = Map::new();
    if let Some(version) = part.version() {
        schemas::add_custom(version, Edition::V3, &mut custom);
    }
    let all = crate::builtin::definitions();
    let needed = schemas::reachable(&custom, Edition::V3, roots.clone());
    custom.retain(|name, _| needed.contains(name));
    for schema in custom.values() {
        schemas::collect_references(schema, Edition::V3.prefix(), &mut roots);
    }
    let needed = schemas::reachable(&all, Edition::V2, roots);
    let mut definitions = builtins::definitions(all, &needed);
    let descriptions = Descriptions::read();
    for (name, schema) in &mut definitions {
        // Nothing may stand beside a reference here.
        descriptions.describe(name, schema, |schema| schema.get("$ref").is_some_and(Value::is_string));
    }
    if let Some(version) = part.version() {
        for schema in definitions.values_mut() {
            builtins::keep_kinds_of(schema, version.group, version.version, part.is_custom());
        }
    }
    definitions.extend(custom);
    definitions
}

fn operation(operation: &Operation, own: &[&Parameter]) -> Value {
    let mut out = Map::new();
    out.insert("tags".into(), json!([operation.tag]));
    out.insert("operationId".into(), operation.id.as_str().into());
    if !own.is_empty() {
        out.insert("parameters".into(), own.iter().map(|one| parameter(one)).collect());
    }
    if let Some((definition, required)) = &operation.body {
        let schema = json!({"schema": Edition::V3.reference(definition)});
        let content: Map<String, Value> =
            operation.consumes.iter().map(|media| ((*media).to_owned(), schema.clone())).collect();
        let mut body = json!({"content": content});
        if *required {
            body["required"] = true.into();
        }
        out.insert("requestBody".into(), body);
    }
    out.insert("responses".into(), responses(operation));
    if let Some(kind) = &operation.kind {
        out.insert("x-kubernetes-action".into(), operation.action.into());
        out.insert(
            "x-kubernetes-group-version-kind".into(),
            json!({"group": kind.group, "version": kind.version, "kind": kind.kind}),
        );
    }
    out.into()
}

fn responses(operation: &Operation) -> Value {
    let schema =
        if operation.answer.is_empty() { json!({"type": "string"}) } else { Edition::V3.reference(&operation.answer) };
    let content: Map<String, Value> =
        operation.produces.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect();
    let mut responses = Map::new();
    for code in operation.codes {
        responses.insert(code.to_string(), json!({"description": reason(*code), "content": content}));
    }
    responses.insert("401".into(), json!({"description": "Unauthorized"}));
    responses.into()
}

/// Text of a status code.
pub(super) fn reason(code: u16) -> &'static str {
    match code {
        201 => "Created",
        202 => "Accepted",
        _ => "OK",
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let Parameter { name, kind, text, .. } = parameter;
    let schema = json!({"type": kind, "uniqueItems": true});
    match parameter.place {
        Place::Query => json!({"name": name, "in": "query", "description": text, "schema": schema}),
        Place::Path => json!({"name": name, "in": "path", "description": text, "schema": schema, "required": true}),
    }
}
