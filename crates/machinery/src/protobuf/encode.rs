//! The way back: JSON objects as Kubernetes protobuf bodies, by the same table.

use super::decode::MAGIC;
use super::table::{Field, Form, Message, Shape, Transcoder, Type};
use api::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// Deepest nesting of messages that are written: what was read is no deeper.
const MAX_DEPTH: usize = 130;

impl Transcoder {
    /// Whether a kind has a message.
    pub fn knows(&self, api_version: &str, kind: &str) -> bool {
        self.message_of(api_version, kind).is_some()
    }

    /// The body of an object, which names its kind; `None` if that has no message. What no field of the message is for
    /// is left out, and so is what is not of its field's type.
    pub fn encode(&self, object: &Map<String, Value>) -> Option<Vec<u8>> {
        let named = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        self.encode_as(named("apiVersion"), named("kind"), object)
    }

    /// The body of an object of a kind, whether it names it or not.
    pub fn encode_as(&self, api_version: &str, kind: &str, object: &Map<String, Value>) -> Option<Vec<u8>> {
        let message = self.message_of(api_version, kind)?;
        Some(self.enveloped(api_version, kind, |out| self.fields(message, object, 0, out)))
    }

    /// The body of a list, whose items are read one after the other.
    pub fn encode_list(
        &self,
        api_version: &str,
        kind: &str,
        metadata: &Map<String, Value>,
        items: impl Iterator<Item = Map<String, Value>>,
    ) -> Option<Vec<u8>> {
        let message = &self.messages[self.message_of(api_version, kind)?];
        let head = message.named("metadata")?;
        let item = message.named("items")?;
        let (Type::Message(metadata_message), Type::Message(item_message)) = (head.of, item.of) else { return None };
        Some(self.enveloped(api_version, kind, |out| {
            delimited(head.number, out, |out| self.fields(metadata_message, metadata, 0, out));
            for object in items {
                delimited(item.number, out, |out| self.fields(item_message, &object, 0, out));
            }
        }))
    }

    /// `runtime.Unknown`: type (1), message (2), content encoding (3) and content type (4), which say nothing and are
    /// written by a stock server nevertheless.
    fn enveloped(&self, api_version: &str, kind: &str, message: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(MAGIC);
        delimited(1, &mut out, |out| {
            bytes(1, api_version.as_bytes(), out);
            bytes(2, kind.as_bytes(), out);
        });
        delimited(2, &mut out, message);
        bytes(3, b"", &mut out);
        bytes(4, b"", &mut out);
        out
    }

    fn fields(&self, message: usize, object: &Map<String, Value>, depth: usize, out: &mut Vec<u8>) {
        if depth > MAX_DEPTH {
            return;
        }
        for field in &self.messages[message].fields {
            if let (Shape::Inline, Type::Message(inline)) = (field.shape, field.of) {
                delimited(field.number, out, |out| self.fields(inline, object, depth + 1, out));
            } else if let Some(value) = object.get(&*field.name).filter(|value| !value.is_null()) {
                self.field(field, value, depth, out);
            }
        }
    }

    fn field(&self, field: &Field, value: &Value, depth: usize, out: &mut Vec<u8>) {
        match (field.shape, value) {
            (Shape::List, Value::Array(items)) => {
                for item in items {
                    self.value(field.number, field.of, item, depth, out);
                }
            }
            (Shape::Map, Value::Object(entries)) => {
                for (key, value) in entries {
                    delimited(field.number, out, |out| {
                        bytes(1, key.as_bytes(), out);
                        self.value(2, field.of, value, depth, out);
                    });
                }
            }
            (Shape::List | Shape::Map, _) => {}
            (Shape::One { .. } | Shape::Inline, _) => self.value(field.number, field.of, value, depth, out),
        }
    }

    /// One value with its number. A null is what is empty.
    fn value(&self, number: u32, of: Type, value: &Value, depth: usize, out: &mut Vec<u8>) {
        match of {
            Type::String => bytes(number, value.as_str().unwrap_or_default().as_bytes(), out),
            Type::Bytes => {
                let decoded = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
                bytes(number, &decoded, out);
            }
            Type::Bool => integer(number, i64::from(value.as_bool().unwrap_or_default()), out),
            Type::Int => integer(number, whole(value), out),
            Type::Double => {
                tag(number, 1, out);
                out.extend_from_slice(&value.as_f64().unwrap_or_default().to_le_bytes());
            }
            Type::Message(message) => delimited(number, out, |out| self.message(message, value, depth + 1, out)),
        }
    }

    /// The inside of a message.
    fn message(&self, index: usize, value: &Value, depth: usize, out: &mut Vec<u8>) {
        let message = &self.messages[index];
        let part = |number: u32, value: &Value, out: &mut Vec<u8>| {
            if let Some(field) = message.field(number) {
                self.field(field, value, depth, out);
            }
        };
        match (message.form, value) {
            (Form::Object, Value::Object(object)) => self.fields(index, object, depth, out),
            (Form::Time | Form::MicroTime, Value::String(text)) => {
                let Ok(time) = text.parse::<Timestamp>() else { return };
                let micros = time.micros();
                integer(1, micros.div_euclid(1_000_000), out);
                integer(2, if message.form == Form::Time { 0 } else { micros.rem_euclid(1_000_000) * 1_000 }, out);
            }
            (Form::Raw, value) if !value.is_null() => bytes(1, value.to_string().as_bytes(), out),
            (Form::Quantity, Value::String(text)) => bytes(1, text.as_bytes(), out),
            (Form::Quantity, Value::Number(number)) => bytes(1, number.to_string().as_bytes(), out),
            (Form::IntOrString, Value::String(text)) => {
                integer(1, 1, out);
                integer(2, 0, out);
                bytes(3, text.as_bytes(), out);
            }
            (Form::IntOrString, Value::Number(_)) => {
                integer(1, 0, out);
                integer(2, whole(value), out);
                bytes(3, b"", out);
            }
            (Form::FirstOrList, Value::Array(_)) => part(2, value, out),
            (Form::FirstOrList, value) if !value.is_null() => part(1, value, out),
            (Form::SecondOrBool, Value::Bool(_)) => part(1, value, out),
            (Form::SecondOrBool, Value::Object(_)) => {
                part(1, &Value::Bool(true), out);
                part(2, value, out);
            }
            (Form::Items, Value::Array(_)) => part(1, value, out),
            _ => {}
        }
    }
}

impl Message {
    fn named(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| &*field.name == name)
    }
}

/// A frame of a watch: the length in four bytes, then `WatchEvent`, a bare message with type (1) and object (2), which is
/// a `RawExtension` around a body.
pub fn watch_frame(change: &str, body: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    bytes(1, change.as_bytes(), out);
    delimited(2, out, |out| bytes(1, body, out));
    let length = u32::try_from(out.len() - at - 4).expect("an object is much smaller than 4 GiB");
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

fn whole(value: &Value) -> i64 {
    #[allow(clippy::cast_possible_truncation)] // Go writes a float into an integer field like this.
    value.as_i64().unwrap_or_else(|| value.as_f64().unwrap_or_default() as i64)
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn tag(number: u32, wire: u8, out: &mut Vec<u8>) {
    varint(u64::from(number) << 3 | u64::from(wire), out);
}

fn integer(number: u32, value: i64, out: &mut Vec<u8>) {
    tag(number, 0, out);
    varint(value.cast_unsigned(), out);
}

fn bytes(number: u32, payload: &[u8], out: &mut Vec<u8>) {
    tag(number, 2, out);
    varint(payload.len() as u64, out);
    out.extend_from_slice(payload);
}

/// A field whose length is known when it has been written. Most are short, and then nothing has to be moved.
fn delimited(number: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    tag(number, 2, out);
    let at = out.len();
    out.push(0);
    write(out);
    let length = out.len() - at - 1;
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        out[at] = short;
        return;
    }
    let mut prefix = Vec::with_capacity(5);
    varint(length as u64, &mut prefix);
    out.splice(at..=at, prefix);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TABLE: &str = "\
kind - v1 Thing Thing
kind - v1 ThingList ThingList
message ThingList
1 metadata Meta
2 items list Thing
message Thing
1 metadata Meta
2 - Source inline
3 counts list int
4 labels map string
5 size Quantity
6 next Thing
7 raw Raw
8 replicas int zero
9 data map bytes
10 either Either
11 extra map Extra
12 ratio double
13 schemas Many
14 more OrBool
message Many first-or-list
1 schema Thing
2 schemas list Thing
message OrBool second-or-bool
1 allows bool
2 schema Thing
message Meta
1 name string
2 generation int
3 creationTimestamp Time
4 renewTime MicroTime
message Source
1 path string
message Quantity quantity
1 string string
message Time time
1 seconds int
2 nanos int
message MicroTime micro-time
1 seconds int
2 nanos int
message Raw raw
1 raw bytes
message Either int-or-string
1 type int
2 intVal int
3 strVal string
message Extra items
1 items list string";

    /// What is written reads as what it was.
    #[track_caller]
    fn check(fields: Value) {
        let transcoder = Transcoder::new(TABLE).unwrap();
        let mut object = fields.as_object().unwrap().clone();
        object.insert("apiVersion".into(), "v1".into());
        object.insert("kind".into(), "Thing".into());
        let body = transcoder.encode(&object).unwrap();
        assert_eq!(Value::Object(transcoder.decode(&body).unwrap().0), Value::Object(object));
    }

    #[test]
    fn comes_back() {
        check(json!({}));
        check(
            json!({"metadata": {"name": "a", "generation": -1}, "path": "/x", "counts": [1, -1, 300], "replicas": 0}),
        );
        check(json!({"metadata": {"creationTimestamp": "1970-01-01T00:00:01Z",
            "renewTime": "1969-12-31T23:59:59.000050Z"}}));
        check(
            json!({"labels": {"a": "", "b": "x".repeat(200)}, "data": {"k": "/wA="}, "extra": {"k": ["x"], "l": []}}),
        );
        check(json!({"size": "1Gi", "either": 80, "ratio": 0.5, "raw": {"a": [1]}}));
        check(json!({"either": "25%", "next": {"next": {"path": "y".repeat(20_000)}}}));
        check(json!({"schemas": {"replicas": 1}, "more": false}));
        check(json!({"schemas": [{"replicas": 1}, {"path": "z"}], "more": {"replicas": 2}}));
    }

    #[test]
    fn lists() {
        let transcoder = Transcoder::new(TABLE).unwrap();
        let metadata = json!({"name": "9"}).as_object().unwrap().clone();
        let items = ["a", "b"].map(|name| json!({"metadata": {"name": name}}).as_object().unwrap().clone());
        let body = transcoder.encode_list("v1", "ThingList", &metadata, items.into_iter()).unwrap();
        let wanted = json!({"apiVersion": "v1", "kind": "ThingList", "metadata": {"name": "9"},
            "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]});
        assert_eq!(Value::Object(transcoder.decode(&body).unwrap().0), wanted);
    }

    #[test]
    fn what_has_no_message_or_type_is_left_out() {
        let transcoder = Transcoder::new(TABLE).unwrap();
        let other = json!({"apiVersion": "v1", "kind": "Other"});
        assert_eq!(transcoder.encode(other.as_object().unwrap()), None);
        let odd = json!({"apiVersion": "v1", "kind": "Thing", "unknown": 1, "counts": "x", "metadata": null});
        let body = transcoder.encode(odd.as_object().unwrap()).unwrap();
        assert_eq!(
            transcoder.decode(&body).unwrap().0,
            json!({"apiVersion": "v1", "kind": "Thing"}).as_object().unwrap().clone()
        );
    }

    #[test]
    fn frames() {
        let mut out = Vec::new();
        watch_frame("ADDED", b"k8s\0", &mut out);
        assert_eq!(out, b"\0\0\0\x0f\x0a\x05ADDED\x12\x06\x0a\x04k8s\0");
    }
}
