//! Request bodies, read into a JSON tree: JSON, YAML and Kubernetes protobuf.

use crate::respond::Result;
use api::{Reason, Status};
use http::{HeaderMap, header};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// The largest request body: the stock server's limit.
pub(crate) const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Duplicate keys that are reported of one body; a body full of them is no use to the reader.
const DUPLICATES_MAX: usize = 50;

/// Levels of a YAML document: as deep as the JSON reader goes, less what stands around an object.
const DEPTH_MAX: usize = 120;

/// A body as a tree.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) value: Value,
    /// Paths of keys that were written twice (the last one counts), as `duplicate field "spec.a"`.
    pub(crate) duplicates: Vec<String>,
}

/// What a body is written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Media {
    Json,
    Yaml,
    Protobuf,
}

/// Reads the `Content-Type` of a body that holds an object. Without one it is JSON.
pub(crate) fn media(headers: &HeaderMap) -> Result<Media> {
    match content_type(headers) {
        "" | "application/json" => Ok(Media::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Media::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Media::Protobuf),
        _ => Err(unsupported(&["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]).into()),
    }
}

/// The media type of a body, without parameters.
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim()
}

/// 415
pub(crate) fn unsupported(accepted: &[&str]) -> Status {
    let accepted = accepted.join(", ");
    let message =
        format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
    Status::failure(Reason::UnsupportedMediaType, message)
}

/// 413 for a body above the limit.
pub(crate) fn check_size(bytes: &[u8]) -> Result<()> {
    if bytes.len() > BODY_BYTES_MAX { Err(oversize().into()) } else { Ok(()) }
}

/// 413
pub(crate) fn oversize() -> Status {
    let message = format!("Request entity too large: limit is {BODY_BYTES_MAX}");
    Status::failure(Reason::RequestEntityTooLarge, message)
}

/// Reads a body that holds an object.
pub(crate) fn object(headers: &HeaderMap, bytes: &[u8]) -> Result<Decoded> {
    check_size(bytes)?;
    let decoded = match media(headers)? {
        Media::Json => json(bytes)?,
        Media::Yaml => yaml(bytes)?,
        Media::Protobuf => protobuf(bytes)?,
    };
    if decoded.value.is_object() { Ok(decoded) } else { Err(unreadable("the body is not an object").into()) }
}

fn unreadable(cause: impl fmt::Display) -> Status {
    Status::bad_request(format!("the object provided is unrecognized: {cause}"))
}

/// Reads JSON.
pub(crate) fn json(bytes: &[u8]) -> Result<Decoded> {
    let mut duplicates = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Tree { at: None, duplicates: &mut duplicates }.deserialize(&mut reader);
    match value.and_then(|value| reader.end().map(|()| value)) {
        Ok(value) => Ok(Decoded { value, duplicates }),
        Err(error) => Err(unreadable(format_args!("couldn't get version/kind; json parse error: {error}")).into()),
    }
}

/// Reads YAML of one document. Keys that are written twice are an error there, whatever the client asked.
pub(crate) fn yaml(bytes: &[u8]) -> Result<Decoded> {
    let mut budget = serde_saphyr::Budget::default();
    budget.max_depth = DEPTH_MAX;
    let options = serde_saphyr::options! { with_snippet: false, budget: Some(budget) };
    match serde_saphyr::from_slice_with_options::<Owned>(bytes, options) {
        Ok(Owned(value)) => Ok(Decoded { value, duplicates: Vec::new() }),
        Err(error) => Err(unreadable(format_args!("error converting YAML to JSON: yaml: {error}")).into()),
    }
}

/// Reads an applied configuration: YAML, which most clients write as JSON.
pub(crate) fn configuration(bytes: &[u8]) -> Result<Decoded> {
    match bytes.first() {
        Some(b'{') => json(bytes).or_else(|_| yaml(bytes)),
        _ => yaml(bytes),
    }
}

fn protobuf(bytes: &[u8]) -> Result<Decoded> {
    match crate::builtin::transcoder().decode(bytes) {
        Ok(object) => Ok(Decoded { value: Value::Object(object.0), duplicates: Vec::new() }),
        Err(error) => Err(unreadable(error).into()),
    }
}

/// A tree read without a place to tell duplicates to.
struct Owned(Value);

impl<'de> de::Deserialize<'de> for Owned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Tree { at: None, duplicates: &mut Vec::new() }.deserialize(deserializer).map(Self)
    }
}

/// Where the reader is, as a list that lives on the stack: paths are only written out for duplicates.
struct At<'a> {
    above: Option<&'a At<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

fn path(at: Option<&At<'_>>, key: &str) -> String {
    let Some(at) = at else { return key.to_owned() };
    let above = match at.step {
        Step::Key(name) => path(at.above, name),
        Step::Index(index) => format!("{}[{index}]", path(at.above, "").trim_end_matches('.')),
    };
    if key.is_empty() { above } else { format!("{above}.{key}") }
}

/// Reads a [`Value`] and notes keys that are written twice.
struct Tree<'a> {
    at: Option<&'a At<'a>>,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        // Go reads an integer that no int64 holds as a float.
        #[allow(clippy::cast_precision_loss)]
        Ok(i64::try_from(value).map_or_else(|_| (value as f64).into(), Value::from))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let at = At { above: self.at, step: Step::Index(list.len()) };
            match items.next_element_seed(Tree { at: Some(&at), duplicates: self.duplicates })? {
                Some(item) => list.push(item),
                None => return Ok(list.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let at = At { above: self.at, step: Step::Key(&key) };
            let value = members.next_value_seed(Tree { at: Some(&at), duplicates: self.duplicates })?;
            if map.contains_key(&key) && self.duplicates.len() < DUPLICATES_MAX {
                let text = format!("duplicate field {:?}", path(self.at, &key));
                self.duplicates.push(text);
            }
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn notes_duplicates() {
        let decoded = json(br#"{"a":{"b":[{"c":1,"c":2}]},"a":{"b":[]},"d":18446744073709551615}"#).unwrap();
        assert_eq!(decoded.duplicates, [r#"duplicate field "a.b[0].c""#, r#"duplicate field "a""#]);
        assert_eq!(decoded.value["a"], json!({"b": []}));
        assert!(decoded.value["d"].is_f64());
    }

    #[test]
    fn reads_yaml() {
        let text = b"a: 1\nb: [true, ~, 'x', \"1\", 1.5, 0755]\nc:\n  d: |\n    two\n    lines\n";
        let decoded = yaml(text).unwrap();
        assert_eq!(decoded.value["a"], 1);
        assert_eq!(decoded.value["b"][3], "1");
        assert_eq!(decoded.value["c"]["d"], "two\nlines\n");
        let deep = "[".repeat(5000);
        for bad in [deep.as_str(), "a: [", "a: 1\na: 2\n", "a: &x [*x]"] {
            assert_eq!(yaml(bad.as_bytes()).unwrap_err().code, 400, "{bad}");
        }
    }

    #[test]
    fn refuses() {
        let deep = "[".repeat(5000);
        for bad in [deep.as_str(), "", "{", "[1,", "{\"a\":}", "{} x", "nope"] {
            assert_eq!(json(bad.as_bytes()).unwrap_err().code, 400, "{bad}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "application/cbor".parse().unwrap());
        assert_eq!(object(&headers, b"{}").unwrap_err().code, 415);
        assert_eq!(object(&HeaderMap::new(), b"[]").unwrap_err().code, 400);
        assert_eq!(object(&HeaderMap::new(), &vec![b' '; BODY_BYTES_MAX + 1]).unwrap_err().code, 413);
    }
}
