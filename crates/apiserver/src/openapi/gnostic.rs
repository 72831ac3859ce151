//! OpenAPI version 2 in protobuf: messages of `openapi.v2.Document`, by which some clients (Argo CD's engine) read it.

use serde_json::{Map, Value};

/// Encodes the parts of a document that [`super::v2`] writes.
pub(super) fn encode(document: &Value) -> Vec<u8> {
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

/// A message in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, number: u32, value: Option<&Value>) {
        if let Some(text) = value.and_then(Value::as_str).filter(|text| !text.is_empty()) {
            self.bytes(number, text.as_bytes());
        }
    }

    fn texts(&mut self, number: u32, value: Option<&Value>) {
        items(value).filter_map(Value::as_str).for_each(|text| self.bytes(number, text.as_bytes()));
    }

    fn flag(&mut self, number: u32, value: Option<&Value>) {
        if value == Some(&Value::Bool(true)) {
            self.varint(u64::from(number) << 3);
            self.varint(1);
        }
    }

    fn integer(&mut self, number: u32, value: Option<&Value>) {
        if let Some(value) = value.and_then(Value::as_i64).filter(|value| *value != 0) {
            self.varint(u64::from(number) << 3);
            self.varint(value.cast_unsigned());
        }
    }

    fn double(&mut self, number: u32, value: Option<&Value>) {
        if let Some(value) = value.and_then(Value::as_f64).filter(|value| *value != 0.0) {
            self.varint(u64::from(number) << 3 | 1);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn message(&mut self, number: u32, value: Option<&Value>, fill: impl FnOnce(&mut Message, &Value)) {
        if let Some(value) = value {
            let mut message = Message::default();
            fill(&mut message, value);
            self.bytes(number, &message.0);
        }
    }

    /// `Any`, whose second field is YAML; JSON is that too.
    fn any(&mut self, number: u32, value: Option<&Value>) {
        self.message(number, value, |out, value| out.bytes(2, value.to_string().as_bytes()));
    }

    /// What begins with `x-`.
    fn extensions(&mut self, number: u32, value: &Value) {
        for (name, value) in members(value).filter(|(name, _)| name.starts_with("x-")) {
            let mut named = Message::default();
            named.bytes(1, name.as_bytes());
            named.any(2, Some(value));
            self.bytes(number, &named.0);
        }
    }
}

/// A map: messages of a name (1) and a value (2).
fn named(out: &mut Message, number: u32, map: &Value, mut fill: impl FnMut(&mut Message, &Value)) {
    for (name, value) in members(map) {
        let mut entry = Message::default();
        entry.bytes(1, name.as_bytes());
        entry.message(2, Some(value), &mut fill);
        out.bytes(number, &entry.0);
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
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

fn path_item(out: &mut Message, item: &Value) {
    for (number, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
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
            out.message(2, Some(value), |out, value| out.message(4, Some(value), |out, one| plain(out, one, 5, 18)))
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
    if value.get("$ref").is_some_and(Value::is_string) {
        out.text(1, value.get("$ref"));
        return;
    }
    out.text(2, value.get("format"));
    out.text(3, value.get("title"));
    out.text(4, value.get("description"));
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
    out.extensions(31, value);
}
