//! OpenAPI version 3 in protobuf: messages of `openapi.v3.Document`.

use super::{Message, items, named};
use serde_json::Value;

const METHODS: [(u32, &str); 7] =
    [(4, "get"), (5, "put"), (6, "post"), (7, "delete"), (8, "options"), (9, "head"), (10, "patch")];

/// Encodes the parts of a document that `super::super::v3` writes.
pub(in super::super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, document.get("openapi"));
    out.message(2, document.get("info"), |out, info| {
        out.text(1, info.get("title"));
        out.text(6, info.get("version"));
    });
    out.message(4, document.get("paths"), |out, paths| named(out, 1, paths, path_item));
    out.message(5, document.get("components"), |out, components| {
        out.message(1, components.get("schemas"), |out, all| named(out, 1, all, schema_or_reference));
        out.message(7, components.get("securitySchemes"), |out, all| {
            named(out, 1, all, |out, scheme| out.message(1, Some(scheme), security_scheme));
        });
    });
    out.0
}

fn security_scheme(out: &mut Message, scheme: &Value) {
    out.text(1, scheme.get("type"));
    out.text(2, scheme.get("description"));
    out.text(3, scheme.get("name"));
    out.text(4, scheme.get("in"));
}

fn path_item(out: &mut Message, item: &Value) {
    for (number, method) in METHODS {
        out.message(number, item.get(method), operation);
    }
    for one in items(item.get("parameters")) {
        out.message(13, Some(one), |out, one| out.message(1, Some(one), parameter));
    }
}

fn operation(out: &mut Message, operation: &Value) {
    out.texts(1, operation.get("tags"));
    out.text(3, operation.get("description"));
    out.text(5, operation.get("operationId"));
    for one in items(operation.get("parameters")) {
        out.message(6, Some(one), |out, one| out.message(1, Some(one), parameter));
    }
    out.message(7, operation.get("requestBody"), |out, body| {
        out.message(1, Some(body), |out, body| {
            out.message(2, body.get("content"), media_types);
            out.flag(3, body.get("required"));
        });
    });
    out.message(8, operation.get("responses"), |out, responses| {
        named(out, 2, responses, |out, one| {
            out.message(1, Some(one), |out, response| {
                out.text(1, response.get("description"));
                out.message(3, response.get("content"), media_types);
            });
        });
    });
    out.extensions(13, operation);
}

fn media_types(out: &mut Message, content: &Value) {
    named(out, 1, content, |out, media| out.message(1, media.get("schema"), schema_or_reference));
}

fn parameter(out: &mut Message, parameter: &Value) {
    out.text(1, parameter.get("name"));
    out.text(2, parameter.get("in"));
    out.text(3, parameter.get("description"));
    out.flag(4, parameter.get("required"));
    out.message(10, parameter.get("schema"), schema_or_reference);
}

fn schema_or_reference(out: &mut Message, value: &Value) {
    if value.get("$ref").is_some_and(Value::is_string) {
        out.message(2, Some(value), |out, value| out.text(1, value.get("$ref")));
    } else {
        out.message(1, Some(value), schema);
    }
}

fn schema(out: &mut Message, value: &Value) {
    out.flag(1, value.get("nullable"));
    out.message(6, value.get("externalDocs"), |out, docs| {
        out.text(1, docs.get("description"));
        out.text(2, docs.get("url"));
    });
    out.any(7, value.get("example"));
    out.text(9, value.get("title"));
    out.double(10, value.get("multipleOf"));
    out.double(11, value.get("maximum"));
    out.flag(12, value.get("exclusiveMaximum"));
    out.double(13, value.get("minimum"));
    out.flag(14, value.get("exclusiveMinimum"));
    out.integer(15, value.get("maxLength"));
    out.integer(16, value.get("minLength"));
    out.text(17, value.get("pattern"));
    out.integer(18, value.get("maxItems"));
    out.integer(19, value.get("minItems"));
    out.flag(20, value.get("uniqueItems"));
    out.integer(21, value.get("maxProperties"));
    out.integer(22, value.get("minProperties"));
    out.texts(23, value.get("required"));
    for allowed in items(value.get("enum")) {
        out.any(24, Some(allowed));
    }
    out.text(25, value.get("type"));
    for (number, key) in [(26, "allOf"), (27, "oneOf"), (28, "anyOf")] {
        for one in items(value.get(key)) {
            out.message(number, Some(one), schema_or_reference);
        }
    }
    out.message(29, value.get("not"), schema);
    out.message(30, value.get("items"), |out, of| out.message(1, Some(of), schema_or_reference));
    out.message(31, value.get("properties"), |out, all| named(out, 1, all, schema_or_reference));
    out.message(32, value.get("additionalProperties"), |out, additional| match additional {
        Value::Bool(allowed) => {
            // One of two: written even when it is false.
            out.varint(2 << 3);
            out.varint(u64::from(*allowed));
        }
        of => out.message(1, Some(of), schema_or_reference),
    });
    out.message(33, value.get("default"), default);
    out.text(34, value.get("description"));
    out.text(35, value.get("format"));
    out.extensions(36, value);
}

/// One of three, written even when it is zero; the messages have no place for lists and objects.
fn default(out: &mut Message, value: &Value) {
    match value {
        Value::Number(number) => {
            out.varint(1 << 3 | 1);
            out.0.extend_from_slice(&number.as_f64().unwrap_or_default().to_le_bytes());
        }
        Value::Bool(flag) => {
            out.varint(2 << 3);
            out.varint(u64::from(*flag));
        }
        Value::String(text) => out.bytes(3, text.as_bytes()),
        _ => {}
    }
}
