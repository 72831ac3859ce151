//! OpenAPI version 2: one document of everything.

use super::operations::{DELETE_OPTIONS, Operation, PATCH_BODY};
use super::parameters::{self, Parameter, Place};
use super::schemas::{self, Edition};
use super::v3::reason;
use super::{Part, info, path_items, security};
use descriptions::Descriptions;
use serde_json::{Map, Value, json};

/// Bodies that version 2 refers to instead of writing them out, by the names that a stock server gives them.
const BODIES: [(&str, &str, bool); 2] = [("body-2Y1dVQaQ", DELETE_OPTIONS, false), ("body-78PwaGsr", PATCH_BODY, true)];

pub(super) fn document(parts: &[Part<'_>]) -> Value {
    let mut definitions = crate::builtin::definitions();
    let descriptions = Descriptions::read();
    for (name, schema) in &mut definitions {
        descriptions.describe(name, schema, |_| false);
    }
    for version in parts.iter().filter_map(Part::version) {
        schemas::add_custom(version, Edition::V2, &mut definitions);
    }
    let shared = parameters::ALL.iter().filter(|one| !one.suffix.is_empty());
    let mut parameters: Map<String, Value> = shared.map(|one| (one.id(), written_out(one))).collect();
    parameters.extend(BODIES.map(|(id, definition, required)| (id.to_owned(), body(definition, required))));
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": path_items(parts, operation, parameter),
        "definitions": definitions,
        "parameters": parameters,
        "securityDefinitions": security(),
        "security": [{"BearerToken": []}],
    })
}

fn operation(operation: &Operation, own: &[&Parameter]) -> Value {
    let mut out = Map::new();
    out.insert("tags".into(), json!([operation.tag]));
    out.insert("operationId".into(), operation.id.as_str().into());
    out.insert("schemes".into(), json!(["https"]));
    let mut parameters = Vec::new();
    if let Some((definition, required)) = &operation.body {
        let named = BODIES.iter().find(|(_, named, _)| named == definition);
        parameters.push(match named {
            Some((id, ..)) => json!({"$ref": format!("#/parameters/{id}")}),
            None => body(definition, *required),
        });
    }
    parameters.extend(own.iter().map(|one| parameter(one)));
    if !parameters.is_empty() {
        out.insert("parameters".into(), parameters.into());
    }
    if !operation.consumes.is_empty() {
        out.insert("consumes".into(), json!(operation.consumes));
    }
    out.insert("produces".into(), json!(operation.produces));
    let schema =
        if operation.answer.is_empty() { json!({"type": "string"}) } else { Edition::V2.reference(&operation.answer) };
    let mut responses = Map::new();
    for code in operation.codes {
        responses.insert(code.to_string(), json!({"description": reason(*code), "schema": schema}));
    }
    responses.insert("401".into(), json!({"description": "Unauthorized"}));
    out.insert("responses".into(), responses.into());
    if let Some(kind) = &operation.kind {
        out.insert("x-kubernetes-action".into(), operation.action.into());
        out.insert(
            "x-kubernetes-group-version-kind".into(),
            json!({"group": kind.group, "version": kind.version, "kind": kind.kind}),
        );
    }
    out.into()
}

fn body(definition: &str, required: bool) -> Value {
    let mut body = json!({"name": "body", "in": "body", "schema": Edition::V2.reference(definition)});
    if required {
        body["required"] = true.into();
    }
    body
}

fn parameter(parameter: &Parameter) -> Value {
    if parameter.suffix.is_empty() {
        return written_out(parameter);
    }
    json!({"$ref": format!("#/parameters/{}", parameter.id())})
}

fn written_out(parameter: &Parameter) -> Value {
    let Parameter { name, kind, text, .. } = parameter;
    match parameter.place {
        Place::Query => json!({"name": name, "in": "query", "type": kind, "description": text, "uniqueItems": true}),
        Place::Path => {
            json!({"name": name, "in": "path", "type": kind, "description": text, "uniqueItems": true, "required": true})
        }
    }
}
