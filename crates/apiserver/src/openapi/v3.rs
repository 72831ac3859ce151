//! OpenAPI version 3: one document for each group and version.

use super::operations::{Operation, PARAMETERS};
use super::{GroupVersion, info, operations, path_items, schemas};
use serde_json::{Map, Value, json};

const ANSWERS: [&str; 2] = ["application/json", "application/yaml"];

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

pub(super) fn document(version: &GroupVersion<'_>) -> Value {
    let mut definitions = crate::builtin::definitions();
    schemas::add_custom(version, &mut definitions, published);
    let roots: Vec<String> = operations::of(version)
        .into_iter()
        .flat_map(|operation| [Some(operation.answer), operation.body.map(|(name, _)| name)])
        .flatten()
        .collect();
    schemas::retain_reachable(&mut definitions, roots.iter().map(String::as_str));
    definitions.values_mut().for_each(translate);
    if let Some(quantity) = definitions.get_mut(QUANTITY) {
        // Clients may write it as either.
        *quantity = json!({"oneOf": [{"type": "string"}, {"type": "number"}]});
    }
    let security = json!({
        "BearerToken": {"type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer token"}
    });
    json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": path_items(&[version], operation, shared_parameters),
        "components": {"schemas": definitions, "securitySchemes": security},
    })
}

/// A CRD's schema as version 3 shows it: as it is, with the fields of objects that stand within the object.
fn published(schema: &Value) -> Option<Value> {
    let mut schema = schema.clone();
    add_embedded_fields(&mut schema);
    schema.is_object().then_some(schema)
}

fn add_embedded_fields(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    schemas::for_each_child(map, add_embedded_fields);
    if map.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        schemas::add_object_fields(map);
    }
}

/// From version 2 to version 3: where references lead, and types that are one of two.
fn translate(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(Value::String(reference)) = map.get_mut("$ref") {
        *reference = reference.replacen("#/definitions/", "#/components/schemas/", 1);
        return;
    }
    if map.get("format") == Some(&"int-or-string".into()) && map.get("type") == Some(&"string".into()) {
        map.remove("type");
        map.insert("oneOf".into(), json!([{"type": "integer"}, {"type": "string"}]));
    }
    schemas::for_each_child(map, translate);
}

fn operation(operation: &Operation) -> Value {
    let mut out = Map::new();
    out.insert("tags".into(), json!([operation.tag]));
    out.insert("operationId".into(), operation.id.as_str().into());
    if !operation.parameters.is_empty() {
        let known = PARAMETERS.iter().filter(|(name, ..)| operation.parameters.contains(name));
        out.insert("parameters".into(), known.map(|(name, kind, text)| query(name, kind, text)).collect());
    }
    if let Some((definition, _)) = &operation.body {
        let schema = json!({"schema": reference(definition)});
        let any = ["*/*"];
        let types: &[&str] = if operation.consumes.is_empty() { &any } else { operation.consumes };
        let content: Map<String, Value> = types.iter().map(|kind| ((*kind).to_owned(), schema.clone())).collect();
        out.insert("requestBody".into(), json!({"content": content}));
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
    let mut content = Map::new();
    if operation.answer.is_empty() {
        content.insert("text/plain".into(), json!({"schema": {"type": "string"}}));
    } else {
        let stream = operation.watchable.then_some("application/json;stream=watch");
        for kind in ANSWERS.into_iter().chain(stream) {
            content.insert(kind.into(), json!({"schema": reference(&operation.answer)}));
        }
    }
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

fn shared_parameters(path: &str) -> Vec<Value> {
    if path.ends_with('/') {
        return Vec::new();
    }
    let in_path = [("name", "Name of the object."), ("namespace", "Namespace of the object.")];
    let asked = in_path.into_iter().filter(|(name, _)| path.contains(&format!("{{{name}}}")));
    let schema = json!({"type": "string", "uniqueItems": true});
    let mut parameters: Vec<Value> = asked
        .map(
            |(name, text)| json!({"name": name, "in": "path", "description": text, "required": true, "schema": schema}),
        )
        .collect();
    let pretty = PARAMETERS.iter().filter(|(name, ..)| *name == "pretty");
    parameters.extend(pretty.map(|(name, kind, text)| query(name, kind, text)));
    parameters
}

fn query(name: &str, kind: &str, text: &str) -> Value {
    json!({"name": name, "in": "query", "description": text, "schema": {"type": kind, "uniqueItems": true}})
}

fn reference(definition: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{definition}")})
}
