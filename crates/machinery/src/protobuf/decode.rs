//! The walk over a body.

use super::table::{Field, Form, Shape, Transcoder, Type};
use super::wire::{Payload, Reader};
use api::{Object, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// What a body starts with.
pub(super) const MAGIC: &[u8] = b"k8s\0";
/// Longest body in bytes: that of a Kubernetes server, for requests in any encoding.
pub const MAX_BODY: usize = 3 * 1024 * 1024;
/// Deepest nesting of messages. The deepest real ones are schemas of CRDs; more than this could exhaust the stack.
const MAX_DEPTH: usize = 100;
/// Most values in a body: two bytes on the wire are an empty message, which is a thousand times longer in memory.
const MAX_VALUES: usize = 500_000;

/// Why a body could not be decoded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtobufError {
    /// It does not start as a Kubernetes protobuf body.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NotKubernetes,
    /// There is nothing.
    #[error("empty data")]
    Empty,
    /// It breaks off, or is not in the wire format.
    #[error("unexpected EOF")]
    Malformed,
    /// It is longer than [`MAX_BODY`], nested too deeply, or has too many values.
    #[error("the body is too large: {0}")]
    TooLarge(&'static str),
    /// Its kind is not among those that have a message.
    #[error("no kind {kind:?} is known in version {api_version:?}")]
    UnknownKind {
        /// As the body says.
        api_version: String,
        /// As the body says.
        kind: String,
    },
    /// The message is compressed or encoded in a way that we do not know.
    #[error("content encoding {0:?} is not supported")]
    Encoding(String),
    /// A value is not what its field holds.
    #[error("{field}: {problem}")]
    Field {
        /// Path below the object.
        field: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl ProtobufError {
    fn field(problem: &'static str) -> Self {
        Self::Field { field: String::new(), problem }
    }

    /// The error as seen from outside the field `name`.
    fn within(self, name: &str) -> Self {
        match self {
            Self::Field { field, problem } if field.is_empty() => Self::Field { field: name.to_owned(), problem },
            Self::Field { field, problem } => Self::Field { field: format!("{name}.{field}"), problem },
            other => other,
        }
    }
}

impl Transcoder {
    /// Decodes a body. Fields that are not known are passed over.
    ///
    /// # Errors
    /// If it is not a Kubernetes protobuf body, is of an unknown kind, or holds what JSON cannot say.
    pub fn decode(&self, body: &[u8]) -> Result<Object, ProtobufError> {
        if body.is_empty() {
            return Err(ProtobufError::Empty);
        }
        if body.len() > MAX_BODY {
            return Err(ProtobufError::TooLarge("more than 3 MiB"));
        }
        let mut walk = Walk { table: self, depth: 0, values: 0 };
        walk.envelope(body).map(Object)
    }
}

struct Walk<'t> {
    table: &'t Transcoder,
    /// Of messages that are open.
    depth: usize,
    /// So far.
    values: usize,
}

impl Walk<'_> {
    /// `runtime.Unknown`: type (1), message (2), content encoding (3), content type (4).
    fn envelope(&mut self, body: &[u8]) -> Result<Map<String, Value>, ProtobufError> {
        let mut reader = Reader::new(body.strip_prefix(MAGIC).ok_or(ProtobufError::NotKubernetes)?);
        let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
        while let Some(field) = reader.field()? {
            match field {
                (1, Payload::Bytes(bytes)) => {
                    let mut type_meta = Reader::new(bytes);
                    while let Some(field) = type_meta.field()? {
                        match field {
                            (1, Payload::Bytes(bytes)) => api_version = text(bytes)?.to_owned(),
                            (2, Payload::Bytes(bytes)) => kind = text(bytes)?.to_owned(),
                            _ => {}
                        }
                    }
                }
                (2, Payload::Bytes(bytes)) => raw = bytes,
                (3, Payload::Bytes(bytes)) if !bytes.is_empty() => {
                    return Err(ProtobufError::Encoding(text(bytes)?.to_owned()));
                }
                _ => {}
            }
        }
        let Some(message) = self.table.message_of(&api_version, &kind) else {
            return Err(ProtobufError::UnknownKind { api_version, kind });
        };
        let mut object = Map::new();
        self.fields(message, raw, &mut object)?;
        object.insert("apiVersion".into(), api_version.into());
        object.insert("kind".into(), kind.into());
        Ok(object)
    }

    /// Adds the fields of a message to an object.
    fn fields(&mut self, message: usize, bytes: &[u8], into: &mut Map<String, Value>) -> Result<(), ProtobufError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ProtobufError::TooLarge("nested more than 100 deep"));
        }
        let table = self.table;
        let mut reader = Reader::new(bytes);
        while let Some((number, payload)) = reader.field()? {
            self.count()?;
            if let Some(field) = table.messages[message].field(number) {
                self.field(field, payload, into).map_err(|error| error.within(&field.name))?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn count(&mut self) -> Result<(), ProtobufError> {
        self.values += 1;
        if self.values > MAX_VALUES { Err(ProtobufError::TooLarge("more than 500000 values")) } else { Ok(()) }
    }

    fn field(
        &mut self,
        field: &Field,
        payload: Payload<'_>,
        into: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        match field.shape {
            Shape::Inline => {
                let (Type::Message(message), Payload::Bytes(bytes)) = (field.of, payload) else {
                    return Err(ProtobufError::field("must be a message"));
                };
                self.fields(message, bytes, into)
            }
            Shape::One { zero } => {
                match self.value(field.of, payload, into.get_mut(&*field.name))? {
                    Some(value) if zero || !is_zero_scalar(field.of, &value) => {
                        into.insert(field.name.to_string(), value);
                    }
                    // The last one counts, also when it says nothing.
                    Some(_) if !matches!(field.of, Type::Message(_)) => {
                        into.remove(&*field.name);
                    }
                    _ => {}
                }
                Ok(())
            }
            Shape::List => {
                let slot = into.entry(&*field.name).or_insert_with(|| Value::Array(Vec::new()));
                let list = slot.as_array_mut().ok_or(ProtobufError::field("must be a list"))?;
                if let (Type::Int | Type::Bool, Payload::Bytes(bytes)) = (field.of, payload) {
                    let mut reader = Reader::new(bytes);
                    while let Some(number) = reader.packed()? {
                        self.count()?;
                        list.extend(self.value(field.of, Payload::Varint(number), None)?);
                    }
                    return Ok(());
                }
                let value = self.value(field.of, payload, None)?;
                list.push(value.unwrap_or(Value::Null));
                Ok(())
            }
            Shape::Map => {
                let Payload::Bytes(bytes) = payload else { return Err(ProtobufError::field("must be a map")) };
                let (key, value) = self.entry(field.of, bytes)?;
                let slot = into.entry(&*field.name).or_insert_with(|| Value::Object(Map::new()));
                slot.as_object_mut().ok_or(ProtobufError::field("must be a map"))?.insert(key, value);
                Ok(())
            }
        }
    }

    /// An entry of a map: key (1), value (2); what is missing is empty.
    fn entry(&mut self, of: Type, bytes: &[u8]) -> Result<(String, Value), ProtobufError> {
        let (mut key, mut value) = (String::new(), None);
        let mut reader = Reader::new(bytes);
        while let Some((number, payload)) = reader.field()? {
            match (number, payload) {
                (1, Payload::Bytes(bytes)) => key = text(bytes)?.to_owned(),
                (2, payload) => value = self.value(of, payload, None).map_err(|error| error.within(&key))?,
                _ => {}
            }
        }
        let value = match (value, of) {
            (Some(value), _) => value,
            (None, Type::String | Type::Bytes) => "".into(),
            (None, Type::Int | Type::Double) => 0.into(),
            (None, Type::Bool) => false.into(),
            (None, Type::Message(_)) => self.value(of, Payload::Bytes(&[]), None)?.unwrap_or(Value::Null),
        };
        Ok((key, value))
    }

    /// One value; `None` when it says nothing (a time that is not set). `earlier` is what the field held so far: a second
    /// piece of a message adds to the first.
    fn value(
        &mut self,
        of: Type,
        payload: Payload<'_>,
        earlier: Option<&mut Value>,
    ) -> Result<Option<Value>, ProtobufError> {
        Ok(Some(match (of, payload) {
            (Type::String, Payload::Bytes(bytes)) => text(bytes)?.into(),
            (Type::Bytes, Payload::Bytes(bytes)) => STANDARD.encode(bytes).into(),
            (Type::Bool, Payload::Varint(number)) => (number != 0).into(),
            // Negative numbers are written as their two's complement in 64 bits, also where the field has 32.
            (Type::Int, Payload::Varint(number)) => number.cast_signed().into(),
            (Type::Double, Payload::Fixed64(bits)) => double(f64::from_bits(bits))?,
            (Type::Message(message), Payload::Bytes(bytes)) => return self.message(message, bytes, earlier),
            _ => return Err(ProtobufError::field("is not of the type of its field")),
        }))
    }

    fn message(
        &mut self,
        message: usize,
        bytes: &[u8],
        earlier: Option<&mut Value>,
    ) -> Result<Option<Value>, ProtobufError> {
        let form = self.table.messages[message].form;
        if form == Form::Object {
            let mut object = match earlier.map(Value::take) {
                Some(Value::Object(object)) => object,
                _ => Map::new(),
            };
            self.fields(message, bytes, &mut object)?;
            return Ok(Some(object.into()));
        }
        if form == Form::Raw {
            return self.raw(bytes);
        }
        if bytes.is_empty() && matches!(form, Form::Time | Form::MicroTime) {
            return Ok(None);
        }
        // What is left has few fields, which the form names by number. Their JSON names in the table tell them apart.
        let mut parts = Map::new();
        self.fields(message, bytes, &mut parts)?;
        let mut part = |number: u32| {
            let field = self.table.messages[message].field(number)?;
            parts.remove(&*field.name)
        };
        let number = |value: Option<Value>| value.and_then(|value| value.as_i64()).unwrap_or(0);
        Ok(match form {
            Form::Time => Some(time(number(part(1)), 0)?.to_string().into()),
            Form::MicroTime => Some(time(number(part(1)), number(part(2)))?.rfc3339_micros().into()),
            Form::Quantity => Some(part(1).unwrap_or_else(|| "0".into())),
            Form::IntOrString if number(part(1)) == 1 => Some(part(3).unwrap_or_else(|| "".into())),
            Form::IntOrString => Some(part(2).unwrap_or_else(|| 0.into())),
            Form::FirstOrList => part(2).or_else(|| part(1)),
            Form::SecondOrBool => part(2).or_else(|| Some(part(1).unwrap_or(Value::Bool(false)))),
            Form::Items => Some(part(1).unwrap_or_else(|| Value::Array(Vec::new()))),
            Form::Object | Form::Raw => unreachable!("returned above"),
        })
    }

    /// JSON, or a body of its own, in the bytes of field 1.
    fn raw(&mut self, bytes: &[u8]) -> Result<Option<Value>, ProtobufError> {
        let mut raw = &[][..];
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.field()? {
            if let (1, Payload::Bytes(bytes)) = field {
                raw = bytes;
            }
        }
        if raw.is_empty() {
            return Ok(None);
        }
        if raw.starts_with(MAGIC) {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(ProtobufError::TooLarge("nested more than 100 deep"));
            }
            let object = self.envelope(raw)?;
            self.depth -= 1;
            return Ok(Some(object.into()));
        }
        serde_json::from_slice(raw).map(Some).map_err(|_| ProtobufError::field("must hold JSON"))
    }
}

fn text(bytes: &[u8]) -> Result<&str, ProtobufError> {
    std::str::from_utf8(bytes).map_err(|_| ProtobufError::field("must be valid UTF-8"))
}

/// Whole numbers are written without a fraction, as Go's encoder does.
fn double(number: f64) -> Result<Value, ProtobufError> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: every whole number up to it is one of `f64`
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[allow(clippy::cast_possible_truncation)] // It is whole and in range, as was just asked.
        return Ok((number as i64).into());
    }
    let number = serde_json::Number::from_f64(number).ok_or(ProtobufError::field("must be a finite number"))?;
    Ok(number.into())
}

fn time(seconds: i64, nanos: i64) -> Result<Timestamp, ProtobufError> {
    // From the first second of year 1 to the last of year 9999: what RFC 3339 can write.
    if !(-62_135_596_800..=253_402_300_799).contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return Err(ProtobufError::field("must be a time between the years 1 and 9999"));
    }
    Ok(Timestamp::from_micros(seconds * 1_000_000 + nanos / 1_000))
}

fn is_zero_scalar(of: Type, value: &Value) -> bool {
    match (of, value) {
        (Type::Message(_), _) => false,
        (_, Value::String(text)) => text.is_empty(),
        (_, Value::Bool(set)) => !set,
        (_, Value::Number(number)) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TABLE: &str = "\
kind - v1 Thing Thing
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
message Meta
1 name string
2 generation int
3 creationTimestamp Time
4 renewTime MicroTime
message Source
1 path string zero
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

    /// A field of bytes.
    fn bytes(number: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        let mut length = payload.len();
        while length >= 0x80 {
            out.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend(payload);
        out
    }

    fn body(message: &[u8]) -> Vec<u8> {
        let type_meta = [bytes(1, b"v1"), bytes(2, b"Thing")].concat();
        [MAGIC.to_vec(), bytes(1, &type_meta), bytes(2, message)].concat()
    }

    fn decode(message: &[u8]) -> Result<Value, ProtobufError> {
        let mut object = Transcoder::new(TABLE).unwrap().decode(&body(message))?.0;
        assert_eq!(object.remove("apiVersion"), Some("v1".into()));
        assert_eq!(object.remove("kind"), Some("Thing".into()));
        Ok(object.into())
    }

    #[track_caller]
    fn check(message: &[u8], wanted: Value) {
        assert_eq!(decode(message).unwrap(), wanted);
    }

    #[track_caller]
    fn check_error(message: &[u8], wanted: &str) {
        assert_eq!(decode(message).unwrap_err().to_string(), wanted);
    }

    #[test]
    fn zero_is_kept_only_where_it_says_something() {
        check(b"", json!({}));
        check(&bytes(1, &[bytes(1, b""), b"\x10\x00".to_vec(), bytes(3, b"")].concat()), json!({"metadata": {}}));
        check(b"\x40\x00", json!({"replicas": 0}));
        check(&bytes(2, &bytes(1, b"")), json!({"path": ""}));
        // The last of several counts.
        check(&[bytes(1, &bytes(1, b"a")), bytes(1, &bytes(1, b""))].concat(), json!({"metadata": {}}));
        check(
            &[bytes(1, &bytes(1, b"a")), bytes(1, b"\x10\x02")].concat(),
            json!({"metadata": {"name": "a", "generation": 2}}),
        );
    }

    #[test]
    fn times() {
        let meta = [bytes(3, b"\x08\x00"), bytes(4, b"\x08\x01\x10\xd0\x86\x03")].concat();
        let wanted = json!({"creationTimestamp": "1970-01-01T00:00:00Z", "renewTime": "1970-01-01T00:00:01.000050Z"});
        check(&bytes(1, &meta), json!({"metadata": wanted}));
        let late = bytes(1, &bytes(3, b"\x08\xff\xff\xff\xff\xff\xff\x7f"));
        check_error(&late, "metadata.creationTimestamp: must be a time between the years 1 and 9999");
    }

    #[test]
    fn lists_and_maps() {
        check(b"\x18\x01\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", json!({"counts": [1, -1]}));
        check(&bytes(3, b"\x01\x96\x01"), json!({"counts": [1, 150]}));
        let entry = [bytes(1, b"k"), bytes(2, b"v")].concat();
        check(&bytes(4, &entry), json!({"labels": {"k": "v"}}));
        check(&bytes(4, &bytes(1, b"k")), json!({"labels": {"k": ""}}));
        check(&bytes(9, &[bytes(1, b"k"), bytes(2, b"\xff\x00")].concat()), json!({"data": {"k": "/wA="}}));
        let extra = [bytes(1, b"k"), bytes(2, &bytes(1, b"x"))].concat();
        check(&bytes(11, &extra), json!({"extra": {"k": ["x"]}}));
        check(&bytes(11, &bytes(1, b"k")), json!({"extra": {"k": []}}));
    }

    #[test]
    fn values_with_a_form_of_their_own() {
        check(&bytes(5, b""), json!({"size": "0"}));
        check(&bytes(5, &bytes(1, b"1Gi")), json!({"size": "1Gi"}));
        check(&bytes(10, b"\x08\x00\x10\x50"), json!({"either": 80}));
        check(&bytes(10, &[b"\x08\x01".to_vec(), bytes(3, b"25%")].concat()), json!({"either": "25%"}));
        check(&bytes(7, &bytes(1, br#"{"a":1}"#)), json!({"raw": {"a": 1}}));
        check(&bytes(7, b""), json!({}));
        let inner = body(b"\x40\x00");
        check(&bytes(7, &bytes(1, &inner)), json!({"raw": {"apiVersion": "v1", "kind": "Thing", "replicas": 0}}));
        check(&[&[12 << 3 | 1], 0.5_f64.to_le_bytes().as_slice()].concat(), json!({"ratio": 0.5}));
        check(&[&[12 << 3 | 1], 2_f64.to_le_bytes().as_slice()].concat(), json!({"ratio": 2}));
        check(&bytes(15, b"unknown"), json!({}));
    }

    #[test]
    fn what_json_cannot_say_is_an_error() {
        check_error(&bytes(1, &bytes(1, b"\xff")), "metadata.name: must be valid UTF-8");
        check_error(b"\x08\x01", "metadata: is not of the type of its field");
        check_error(&bytes(7, &bytes(1, b"{")), "raw: must hold JSON");
        check_error(&[&[12 << 3 | 1], f64::NAN.to_le_bytes().as_slice()].concat(), "ratio: must be a finite number");
        check_error(b"\x0a\x05", "unexpected EOF");
    }

    #[test]
    fn limits() {
        let mut nested = Vec::new();
        for _ in 0..MAX_DEPTH {
            nested = bytes(6, &nested);
        }
        check_error(&nested, "the body is too large: nested more than 100 deep");
        check_error(&bytes(3, &[1; MAX_VALUES + 1]), "the body is too large: more than 500000 values");
        check_error(&b"\x32\x00".repeat(MAX_VALUES + 1), "the body is too large: more than 500000 values");
        check_error(&bytes(2, &bytes(1, &[b'a'; MAX_BODY])), "the body is too large: more than 3 MiB");
    }

    #[test]
    fn envelopes() {
        let transcoder = Transcoder::new(TABLE).unwrap();
        assert_eq!(transcoder.decode(b"{}"), Err(ProtobufError::NotKubernetes));
        let compressed = [body(b""), bytes(3, b"gzip")].concat();
        assert_eq!(transcoder.decode(&compressed), Err(ProtobufError::Encoding("gzip".into())));
        let unknown = ProtobufError::UnknownKind { api_version: String::new(), kind: String::new() };
        assert_eq!(transcoder.decode(MAGIC), Err(unknown));
    }
}
