//! OpenAPI in protobuf, by which some clients (Argo CD's engine, newer `kubectl`) read it.

pub(super) mod v2;
pub(super) mod v3;

use serde_json::{Map, Value};

/// A message in the making.
#[derive(Default)]
pub(super) struct Message(pub(super) Vec<u8>);

impl Message {
    pub(super) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(super) fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, number: u32, value: Option<&Value>) {
        if let Some(text) = value.and_then(Value::as_str).filter(|text| !text.is_empty()) {
            self.bytes(number, text.as_bytes());
        }
    }

    pub(super) fn texts(&mut self, number: u32, value: Option<&Value>) {
        items(value).filter_map(Value::as_str).for_each(|text| self.bytes(number, text.as_bytes()));
    }

    pub(super) fn flag(&mut self, number: u32, value: Option<&Value>) {
        if value == Some(&Value::Bool(true)) {
            self.varint(u64::from(number) << 3);
            self.varint(1);
        }
    }

    pub(super) fn integer(&mut self, number: u32, value: Option<&Value>) {
        if let Some(value) = value.and_then(Value::as_i64).filter(|value| *value != 0) {
            self.varint(u64::from(number) << 3);
            self.varint(value.cast_unsigned());
        }
    }

    pub(super) fn double(&mut self, number: u32, value: Option<&Value>) {
        if let Some(value) = value.and_then(Value::as_f64).filter(|value| *value != 0.0) {
            self.varint(u64::from(number) << 3 | 1);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn message(&mut self, number: u32, value: Option<&Value>, fill: impl FnOnce(&mut Message, &Value)) {
        if let Some(value) = value {
            let mut message = Message::default();
            fill(&mut message, value);
            self.bytes(number, &message.0);
        }
    }

    /// `Any`, whose second field is YAML; JSON is that too.
    pub(super) fn any(&mut self, number: u32, value: Option<&Value>) {
        self.message(number, value, |out, value| out.bytes(2, value.to_string().as_bytes()));
    }

    /// What begins with `x-`.
    pub(super) fn extensions(&mut self, number: u32, value: &Value) {
        for (name, value) in members(value).filter(|(name, _)| name.starts_with("x-")) {
            let mut named = Message::default();
            named.bytes(1, name.as_bytes());
            named.any(2, Some(value));
            self.bytes(number, &named.0);
        }
    }
}

/// A map: messages of a name (1) and a value (2).
pub(super) fn named(out: &mut Message, number: u32, map: &Value, mut fill: impl FnMut(&mut Message, &Value)) {
    for (name, value) in members(map) {
        let mut entry = Message::default();
        entry.bytes(1, name.as_bytes());
        entry.message(2, Some(value), &mut fill);
        out.bytes(number, &entry.0);
    }
}

pub(super) fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

pub(super) fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}
