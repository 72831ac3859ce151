//! OpenAPI version 2: one document of everything.

use super::operations::{Operation, PARAMETERS};
use super::v3::reason;
use super::{GroupVersion, info, path_items, schemas};
use serde_json::{Map, Value, json};

const DECODED: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const ANSWERS: [&str; 2] = ["application/json", "application/yaml"];

pub(super) fn document(versions: &[GroupVersion<'_>]) -> Value {
    let mut definitions = crate::builtin::definitions();
    for version in versions {
        schemas::add_custom(version, &mut definitions, published);
    }
    let versions: Vec<&GroupVersion<'_>> = versions.iter().collect();
    let parameters: Map<String, Value> = PARAMETERS
        .iter()
        .map(|(name, kind, text)| {
            let parameter =
                json!({"name": name, "in": "query", "type": kind, "description": text, "uniqueItems": true});
            ((*name).to_owned(), parameter)
        })
        .collect();
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": path_items(&versions, operation, shared_parameters),
        "definitions": definitions,
        "parameters": parameters,
        "securityDefinitions": {
            "BearerToken": {"type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer token"}
        },
        "security": [{"BearerToken": []}],
    })
}

/// A CRD's schema as far as version 2 can say it.
fn published(schema: &Value) -> Option<Value> {
    let preserves = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    if !schema.is_object() || preserves {
        return None;
    }
    let mut schema = schema.clone();
    simplify(&mut schema);
    Some(schema)
}

/// Version 2 knows neither alternatives, nor null, nor defaults of these kinds; where a field may be null or anything,
/// clients that check by this document must not be told more than that.
fn simplify(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    let flag = |map: &Map<String, Value>, key: &str| map.get(key) == Some(&Value::Bool(true));
    for key in ["allOf", "anyOf", "oneOf", "not", "default", "x-kubernetes-validations"] {
        map.remove(key);
    }
    if flag(map, "nullable") || flag(map, "x-kubernetes-int-or-string") {
        map.remove("type");
        map.remove("items");
        map.remove("properties");
        map.remove("additionalProperties");
        map.remove("required");
    }
    map.remove("nullable");
    if flag(map, "x-kubernetes-preserve-unknown-fields") {
        map.remove("items");
        map.remove("properties");
        map.remove("required");
    } else if flag(map, "x-kubernetes-embedded-resource") {
        schemas::add_object_fields(map);
    }
    schemas::for_each_child(map, simplify);
}

fn operation(operation: &Operation) -> Value {
    let mut out = Map::new();
    out.insert("tags".into(), json!([operation.tag]));
    out.insert("operationId".into(), operation.id.as_str().into());
    out.insert("schemes".into(), json!(["https"]));
    let mut parameters = Vec::new();
    if let Some((definition, required)) = &operation.body {
        let mut body = json!({"name": "body", "in": "body", "schema": reference(definition)});
        if *required {
            body["required"] = true.into();
        }
        parameters.push(body);
        let consumes = if operation.consumes.is_empty() { json!(DECODED) } else { json!(operation.consumes) };
        out.insert("consumes".into(), consumes);
    }
    parameters.extend(operation.parameters.iter().map(|name| json!({"$ref": format!("#/parameters/{name}")})));
    if !parameters.is_empty() {
        out.insert("parameters".into(), parameters.into());
    }
    let stream = operation.watchable.then_some("application/json;stream=watch");
    let produces: Vec<&str> =
        if operation.answer.is_empty() { vec!["text/plain"] } else { ANSWERS.into_iter().chain(stream).collect() };
    out.insert("produces".into(), produces.into());
    let schema = if operation.answer.is_empty() { json!({"type": "string"}) } else { reference(&operation.answer) };
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

fn shared_parameters(path: &str) -> Vec<Value> {
    if path.ends_with('/') {
        return Vec::new();
    }
    let in_path = [("name", "Name of the object."), ("namespace", "Namespace of the object.")];
    let asked = in_path.into_iter().filter(|(name, _)| path.contains(&format!("{{{name}}}")));
    let mut parameters: Vec<Value> = asked
        .map(|(name, text)| {
            json!({"name": name, "in": "path", "description": text, "required": true, "type": "string", "uniqueItems": true})
        })
        .collect();
    parameters.push(json!({"$ref": "#/parameters/pretty"}));
    parameters
}

fn reference(definition: &str) -> Value {
    json!({"$ref": format!("#/definitions/{definition}")})
}
