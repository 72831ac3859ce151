//! Request bodies, read into a JSON tree: JSON, YAML and Kubernetes protobuf.

use crate::problems;
use crate::respond::Result;
use crate::syntax;
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

/// Levels of a YAML document that are read on the stack of the thread that asks. Objects have a dozen; schemas of CRDs
/// have more.
const COMMON_DEPTH: usize = 40;

/// Stack for [`DEPTH_MAX`] levels: four times what was measured, without optimisation.
const DEEP_STACK_BYTES: usize = 8 * 1024 * 1024;

/// A body as a tree.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The tree.
    pub value: Value,
    /// Paths of keys that were written twice (the last one counts), as `duplicate field "spec.a"`; of YAML one text
    /// that has the lines of all.
    pub duplicates: Vec<String>,
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

/// Reads a body that holds an object of a kind.
pub(crate) fn object(headers: &HeaderMap, bytes: &[u8], kind: &str) -> Result<Decoded> {
    let why = match body(headers, bytes)? {
        Ok(decoded) if decoded.value.is_object() => return Ok(decoded),
        Ok(decoded) => format!("couldn't get version/kind; json parse error: {}", no_object(&decoded.value, TYPE_META)),
        Err(why) if media(headers)? == Media::Json => format!("couldn't get version/kind; json parse error: {why}"),
        Err(why) => why,
    };
    let shown = summary(bytes);
    let message = format!("the object provided is unrecognized (must be of type {kind}): {why} ({shown})");
    Err(Status::bad_request(message).into())
}

/// Reads the JSON document that a webhook or an issuer of tokens has answered.
///
/// # Errors
/// What is wrong with it, in the stock server's words: what is no JSON, it reads as YAML.
pub(crate) fn document(bytes: &[u8]) -> Result<Value, String> {
    let why = match serde_json::from_slice::<Value>(bytes) {
        Ok(value) if value.is_object() => return Ok(value),
        Ok(value) => no_object(&value, TYPE_META),
        Err(error) => match yaml(bytes) {
            Ok(decoded) if !decoded.value.is_object() => no_object(&decoded.value, TYPE_META),
            _ => syntax::problem(bytes).unwrap_or_else(|| error.to_string()),
        },
    };
    Err(format!("couldn't get version/kind; json parse error: {why}"))
}

/// Reads options in the body of a request.
pub(crate) fn options(headers: &HeaderMap, bytes: &[u8]) -> Result<Decoded> {
    body(headers, bytes)?.map_err(|why| Status::bad_request(why).into())
}

fn body(headers: &HeaderMap, bytes: &[u8]) -> Result<Result<Decoded, String>> {
    check_size(bytes)?;
    Ok(match media(headers)? {
        Media::Json => json(bytes),
        Media::Yaml => yaml(bytes),
        Media::Protobuf => protobuf(bytes),
    })
}

/// Go's name of what only the version and kind of an object are read into.
const TYPE_META: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

/// What Go says of a value where it needs an object or a list.
pub(crate) fn no_object(value: &Value, wanted: &str) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {found} into Go value of type {wanted}")
}

/// The beginning of a body, for a message.
fn summary(bytes: &[u8]) -> String {
    const MOST: usize = 30;
    let Some(first) = bytes.first() else { return "<empty>".into() };
    let shown = &bytes[..bytes.len().min(MOST)];
    let more = if bytes.len() > MOST { " ..." } else { "" };
    if *first == b'{' {
        return format!("{}{more}", String::from_utf8_lossy(shown));
    }
    let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}{more}")
}

/// What the stock server says of a kind that nobody has.
pub(crate) fn not_registered(kind: &str, version: &str) -> String {
    format!("no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\"")
}

/// Reads JSON.
///
/// # Errors
/// What is wrong with it, in Go's words.
pub fn json(bytes: &[u8]) -> Result<Decoded, String> {
    let mut duplicates = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Tree { at: None, duplicates: &mut duplicates }.deserialize(&mut reader);
    match value.and_then(|value| reader.end().map(|()| value)) {
        Ok(value) => Ok(Decoded { value, duplicates }),
        Err(error) => Err(syntax::problem(bytes).unwrap_or_else(|| error.to_string())),
    }
}

/// Reads YAML. What is written twice is told of in one text, as YAML's reader in a stock server has it.
///
/// # Errors
/// What is wrong with it.
pub fn yaml(bytes: &[u8]) -> Result<Decoded, String> {
    match from_yaml::<Owned>(bytes) {
        Ok(Owned { value, duplicates: false }) => Ok(Decoded { value, duplicates: Vec::new() }),
        Ok(Owned { value, .. }) => Ok(Decoded { value, duplicates: Vec::from_iter(problems::repeated_keys(bytes)) }),
        Err(error) => Err(format!("yaml: {error}")),
    }
}

/// Reads YAML, the first document of it, into something else. Of keys that are written twice, each is read.
///
/// A level takes up to 17 KB of stack in builds without optimisation, more in all than a thread has that serves
/// requests: what nests deeper than objects do is read on a thread of its own.
pub(crate) fn from_yaml<T: de::DeserializeOwned + Send>(bytes: &[u8]) -> Result<T, serde_saphyr::Error> {
    match from_nested_yaml(bytes, COMMON_DEPTH) {
        Err(error) if is_too_deep(&error) => std::thread::scope(|scope| {
            let reader = std::thread::Builder::new().stack_size(DEEP_STACK_BYTES);
            match reader.spawn_scoped(scope, || from_nested_yaml(bytes, DEPTH_MAX)) {
                Ok(reading) => reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_) => Err(error),
            }
        }),
        read => read,
    }
}

fn is_too_deep(error: &serde_saphyr::Error) -> bool {
    use serde_saphyr::Error;
    use serde_saphyr::budget::BudgetBreach;
    matches!(error.without_snippet(), Error::Budget { breach: BudgetBreach::Depth { .. }, .. })
}

fn from_nested_yaml<T: de::DeserializeOwned>(bytes: &[u8], levels: usize) -> Result<T, serde_saphyr::Error> {
    let mut budget = serde_saphyr::Budget::default();
    budget.max_depth = levels;
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: Some(budget),
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        // Modes of files are written as YAML 1.1 has them: 0644.
        legacy_octal_numbers: true,
    };
    match serde_saphyr::from_slice_with_options(bytes, options.clone()) {
        Err(error) if matches!(error.without_snippet(), serde_saphyr::Error::MultipleDocuments { .. }) => {
            serde_saphyr::read_with_options(&mut &bytes[..], options).next().unwrap_or(Err(error))
        }
        read => read,
    }
}

/// Reads an applied configuration: YAML, which most clients write as JSON.
///
/// # Errors
/// What is wrong with it.
pub fn configuration(bytes: &[u8]) -> Result<Decoded, String> {
    match bytes.first() {
        Some(b'{') => match json(bytes) {
            Ok(decoded) if decoded.duplicates.is_empty() => Ok(decoded),
            _ => yaml(bytes),
        },
        _ => yaml(bytes),
    }
}

fn protobuf(bytes: &[u8]) -> Result<Decoded, String> {
    match crate::builtin::transcoder().decode(bytes) {
        Ok(object) => Ok(Decoded { value: Value::Object(object.0), duplicates: Vec::new() }),
        Err(error) => Err(error.to_string()),
    }
}

/// A tree read without a place to tell duplicates to.
struct Owned {
    value: Value,
    /// Whether keys are written twice.
    duplicates: bool,
}

impl<'de> de::Deserialize<'de> for Owned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut duplicates = Vec::new();
        let value = Tree { at: None, duplicates: &mut duplicates }.deserialize(deserializer)?;
        Ok(Self { value, duplicates: !duplicates.is_empty() })
    }
}

/// The key of a member. In YAML a word such as `y` is a truth value where it is not quoted, as a key too, and a number
/// a number; as keys they are the texts of what they stand for.
pub(crate) struct Key {
    pub(crate) text: String,
    /// Whether it was written as a text.
    pub(crate) quoted: bool,
}

impl<'de> de::Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadKey)
    }
}

struct ReadKey;

impl ReadKey {
    fn scalar<E>(value: &impl ToString) -> Result<Key, E> {
        Ok(Key { text: value.to_string(), quoted: false })
    }
}

impl Visitor<'_> for ReadKey {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Key, E> {
        Self::scalar(&value)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Key, E> {
        Self::scalar(&value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Key, E> {
        Self::scalar(&value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Key, E> {
        // A stock server writes as many digits as tell 32-bit floats apart.
        #[allow(clippy::cast_possible_truncation)]
        Self::scalar(&(value as f32))
    }

    fn visit_str<E>(self, value: &str) -> Result<Key, E> {
        Ok(Key { text: value.to_owned(), quoted: true })
    }

    fn visit_string<E>(self, value: String) -> Result<Key, E> {
        Ok(Key { text: value, quoted: true })
    }
}

/// Where the reader is, as a list that lives on the stack: paths are only written out for duplicates.
pub(crate) struct At<'a> {
    pub(crate) above: Option<&'a At<'a>>,
    pub(crate) step: Step<'a>,
}

pub(crate) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// A key below a place, as a path.
pub(crate) fn path(at: Option<&At<'_>>, key: &str) -> String {
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
        while let Some(Key { text: key, .. }) = members.next_key()? {
            let at = At { above: self.at, step: Step::Key(&key) };
            let value = members.next_value_seed(Tree { at: Some(&at), duplicates: self.duplicates })?;
            if map.contains_key(&key) && self.duplicates.len() < DUPLICATES_MAX {
                let text = problems::duplicate(&path(self.at, &key));
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
    fn words_are_truth_values_as_keys_too() {
        let read = |text: &[u8]| yaml(text).unwrap().value;
        assert_eq!(
            read(b"y: a\n'n': b\noff: c\n1.10: d\n0x10: e\nx: f\n"),
            json!({"true": "a", "n": "b", "false": "c", "1.1": "d", "16": "e", "x": "f"})
        );
        let decoded = yaml(b"{on: 1, yes: 2}").unwrap();
        assert_eq!(decoded.value, json!({"true": 2}));
        assert_eq!(problems::warnings(&decoded.duplicates[0]), ["line 1: key true already set in map"]);
        assert_eq!(json(br#"{"y": 1}"#).unwrap().value, json!({"y": 1}));
    }

    #[test]
    fn reads_yaml() {
        let text = b"a: 1\nb: [true, ~, 'x', \"1\", 1.5, 0755]\nc:\n  d: |\n    two\n    lines\n";
        let decoded = yaml(text).unwrap();
        assert_eq!(decoded.value["a"], 1);
        assert_eq!(decoded.value["b"][3], "1");
        assert_eq!(decoded.value["c"]["d"], "two\nlines\n");
        assert_eq!(decoded.value["b"][5], 0o755);
        assert_eq!(yaml(b"a: 1\n---\na: 2\n").unwrap().value["a"], 1);
        let deep = "[".repeat(5000);
        for bad in [deep.as_str(), "a: [", "a: &x [*x]"] {
            assert!(yaml(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn deep_yaml_needs_no_more_stack_than_a_thread_has() {
        // In flow and block style, with the first level that is too deep.
        for (open, close) in [("{\"a\":", "}"), ("[", "]"), ("- ", "")] {
            for (levels, read) in
                [(COMMON_DEPTH, true), (COMMON_DEPTH + 1, true), (DEPTH_MAX, true), (DEPTH_MAX + 1, false)]
            {
                let text = format!("{}1{}", open.repeat(levels), close.repeat(levels));
                let body = text.into_bytes();
                // What serves requests has 2 MiB, of which it has used some.
                let reader = std::thread::Builder::new().stack_size(1024 * 1024);
                let decoded = reader.spawn(move || yaml(&body)).unwrap().join().unwrap();
                assert_eq!(decoded.is_ok(), read, "{open} {levels}: {decoded:?}");
            }
        }
    }

    #[test]
    fn refuses() {
        let deep = "[".repeat(5000);
        for bad in [deep.as_str(), "", "{", "[1,", "{\"a\":}", "{} x", "nope"] {
            assert!(json(bad.as_bytes()).is_err(), "{bad}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "application/cbor".parse().unwrap());
        assert_eq!(object(&headers, b"{}", "A").unwrap_err().code, 415);
        assert_eq!(object(&HeaderMap::new(), b"[]", "A").unwrap_err().code, 400);
        assert_eq!(object(&HeaderMap::new(), &vec![b' '; BODY_BYTES_MAX + 1], "A").unwrap_err().code, 413);
    }
}
