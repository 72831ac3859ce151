//! OpenAPI version 2 in protobuf: messages of `openapi.v2.Document`, by which some clients (Argo CD's engine) read it.

use super::{Message, items, named};
use serde_json::Value;

/// Encodes the parts of a document that [`v2`] writes.
pub(in super::super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, document.get("swagger"));
    out.message(2, document.get("info"), info);
    out.message(8, document.get("paths"), |out, paths| named(out, 2, paths, path_item));
    out.message(9, document.get("definitions"), |out, all| named(out, 1, all, schema));
    out.message(10, document.get("parameters"), |out, all| named(out, 1, all, parameter));
    for requirement in items(document.get("security")) {
        out.message(12, Some(requirement), |out, all| named(out, 1, all, |out, scopes| out.texts(1, Some(scopes))));
    }
    out.message(13, document.get("securityDefinitions"), |out, all| {
        named(out, 1, all, |out, definition| out.message(2, Some(definition), api_key));
    });
    out.0
}

fn info(out: &mut Message, info: &Value) {
    out.text(1, info.get("title"));
    out.text(2, info.get("version"));
}

fn api_key(out: &mut Message, definition: &Value) {
    out.text(1, definition.get("type"));
    out.text(2, definition.get("name"));
    out.text(3, definition.get("in"));
    out.text(4, definition.get("description"));
}

const METHODS: [(u32, &str); 7] =
    [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (6, "options"), (7, "head"), (8, "patch")];

fn path_item(out: &mut Message, item: &Value) {
    for (number, method) in METHODS {
        out.message(number, item.get(method), operation);
    }
    for one in items(item.get("parameters")) {
        out.message(9, Some(one), parameter_or_reference);
    }
}

fn operation(out: &mut Message, operation: &Value) {
    out.texts(1, operation.get("tags"));
    out.text(5, operation.get("operationId"));
    out.texts(6, operation.get("produces"));
    out.texts(7, operation.get("consumes"));
    for one in items(operation.get("parameters")) {
        out.message(8, Some(one), parameter_or_reference);
    }
    out.message(9, operation.get("responses"), |out, responses| {
        named(out, 1, responses, |out, one| out.message(1, Some(one), response));
    });
    out.texts(10, operation.get("schemes"));
    out.extensions(13, operation);
}

fn response(out: &mut Message, response: &Value) {
    out.text(1, response.get("description"));
    out.message(2, response.get("schema"), |out, of| out.message(1, Some(of), schema));
}

fn parameter_or_reference(out: &mut Message, value: &Value) {
    if value.get("$ref").is_some() {
        out.message(2, Some(value), |out, value| out.text(1, value.get("$ref")));
    } else {
        out.message(1, Some(value), parameter);
    }
}

fn parameter(out: &mut Message, value: &Value) {
    match value["in"].as_str() {
        Some("body") => out.message(1, Some(value), |out, body| {
            out.text(2, body.get("name"));
            out.text(3, body.get("in"));
            out.flag(4, body.get("required"));
            out.message(5, body.get("schema"), schema);
        }),
        // The two differ in the numbers after the type.
        Some("path") => {
            out.message(2, Some(value), |out, value| out.message(4, Some(value), |out, one| plain(out, one, 5, 19)))
        }
        _ => out.message(2, Some(value), |out, value| out.message(3, Some(value), |out, one| plain(out, one, 6, 20))),
    }
}

fn plain(out: &mut Message, value: &Value, kind: u32, unique: u32) {
    out.flag(1, value.get("required"));
    out.text(2, value.get("in"));
    out.text(3, value.get("description"));
    out.text(4, value.get("name"));
    out.text(kind, value.get("type"));
    out.flag(unique, value.get("uniqueItems"));
}

fn schema(out: &mut Message, value: &Value) {
    out.text(1, value.get("$ref"));
    out.text(2, value.get("format"));
    out.text(3, value.get("title"));
    out.text(4, value.get("description"));
    out.any(5, value.get("default"));
    out.double(6, value.get("multipleOf"));
    out.double(7, value.get("maximum"));
    out.flag(8, value.get("exclusiveMaximum"));
    out.double(9, value.get("minimum"));
    out.flag(10, value.get("exclusiveMinimum"));
    out.integer(11, value.get("maxLength"));
    out.integer(12, value.get("minLength"));
    out.text(13, value.get("pattern"));
    out.integer(14, value.get("maxItems"));
    out.integer(15, value.get("minItems"));
    out.flag(16, value.get("uniqueItems"));
    out.integer(17, value.get("maxProperties"));
    out.integer(18, value.get("minProperties"));
    out.texts(19, value.get("required"));
    for allowed in items(value.get("enum")) {
        out.any(20, Some(allowed));
    }
    out.message(21, value.get("additionalProperties"), |out, additional| match additional {
        Value::Bool(allowed) => {
            // One of two: written even when it is false.
            out.varint(2 << 3);
            out.varint(u64::from(*allowed));
        }
        of => out.message(1, Some(of), schema),
    });
    out.message(22, value.get("type"), |out, name| out.text(1, Some(name)));
    out.message(23, value.get("items"), |out, of| out.message(1, Some(of), schema));
    out.message(25, value.get("properties"), |out, all| named(out, 1, all, schema));
    out.message(29, value.get("externalDocs"), |out, docs| {
        out.text(1, docs.get("description"));
        out.text(2, docs.get("url"));
    });
    out.any(30, value.get("example"));
    out.extensions(31, value);
}
