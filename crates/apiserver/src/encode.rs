//! The stored form of an object: JSON with `apiVersion`, `kind` and `metadata` first, then the rest by name, and a hole
//! where the revision goes that the write will get.

use crate::Entry;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use store::Stamped;

const LEAD: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Encodes an object for the store. What it holds as `metadata.resourceVersion` is left out.
pub(crate) fn stamped(object: &Map<String, Value>) -> Stamped {
    let mut head = Vec::with_capacity(1024);
    let empty = Map::new();
    let metadata = object.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    head.extend_from_slice(br#"{"apiVersion":"#);
    append(&mut head, object.get("apiVersion").unwrap_or(&Value::Null));
    head.extend_from_slice(br#","kind":"#);
    append(&mut head, object.get("kind").unwrap_or(&Value::Null));
    head.extend_from_slice(br#","metadata":{"#);
    let (before, after): (Vec<_>, Vec<_>) = metadata
        .iter()
        .filter(|(key, _)| *key != "resourceVersion")
        .partition(|(key, _)| key.as_str() < "resourceVersion");
    for (key, value) in before {
        member(&mut head, key, value);
        head.push(b',');
    }
    head.extend_from_slice(br#""resourceVersion":""#);
    let mut tail = Vec::with_capacity(1024);
    tail.push(b'"');
    for (key, value) in after {
        tail.push(b',');
        member(&mut tail, key, value);
    }
    tail.push(b'}');
    for (key, value) in object.iter().filter(|(key, _)| !LEAD.contains(&key.as_str())) {
        tail.push(b',');
        member(&mut tail, key, value);
    }
    tail.push(b'}');
    Stamped { head: Bytes::from(head), tail: Bytes::from(tail) }
}

fn member(out: &mut Vec<u8>, key: &str, value: &Value) {
    append_text(out, key);
    out.push(b':');
    append(out, value);
}

fn append_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing to memory does not fail");
}

fn append(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(out, value).expect("writing to memory does not fail");
}

/// The whole text of an object that is not stored (dry runs), as [`stamped`] orders it. An empty `revision` leaves
/// `resourceVersion` out.
pub(crate) fn unstored(object: &Map<String, Value>, revision: &str) -> Bytes {
    let Stamped { head, tail } = stamped(object);
    if revision.is_empty() {
        const FIELD: &[u8] = br#""resourceVersion":""#;
        let head = &head[..head.len() - FIELD.len()];
        // One of the commas around the field goes with it.
        let tail = &tail[1..];
        let (head, tail) = match (head.last(), tail.first()) {
            (Some(b','), _) => (&head[..head.len() - 1], tail),
            (_, Some(b',')) => (head, &tail[1..]),
            _ => (head, tail),
        };
        return [head, tail].concat().into();
    }
    [&head[..], revision.as_bytes(), &tail[..]].concat().into()
}

/// Whether a stored value is what [`stamped`] made, whatever its revision: a write that changes nothing.
pub(crate) fn is_same(stored: &[u8], stamped: &Stamped) -> bool {
    let Some(rest) = stored.strip_prefix(&stamped.head[..]) else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    rest[digits..] == stamped.tail[..]
}

/// The text of a stored entry with a hole in place of its revision, for a write that keeps all else.
pub(crate) fn restamped(entry: &Entry) -> Stamped {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata<'a> {
        #[serde(borrow)]
        resource_version: &'a RawValue,
    }
    let range = entry.meta.metadata();
    let metadata = &entry.value[range.clone()];
    let text = std::str::from_utf8(metadata).expect("stored objects are JSON");
    let held: Metadata<'_> = serde_json::from_str(text).expect("stored objects have a resourceVersion");
    // The raw value borrows from `text`, so its place is a difference of addresses.
    let at = range.start + (held.resource_version.get().as_ptr() as usize - text.as_ptr() as usize);
    let end = at + held.resource_version.get().len();
    Stamped { head: entry.value.slice(..=at), tail: entry.value.slice(end - 1..) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Header;
    use serde_json::json;
    use store::{Collection, Key, Meta, Revision};

    #[track_caller]
    fn check(object: &Value, stored: &str, unversioned: &str) {
        let stamped = stamped(object.as_object().unwrap());
        let bytes = stamped.stamp(Revision(42));
        assert_eq!(String::from_utf8_lossy(&bytes), stored);
        assert!(is_same(&bytes, &stamped));
        assert!(is_same(&stamped.stamp(Revision(1)), &stamped));
        let key = Key::new(Collection::new("s", "as"), "", "n");
        let meta = Header::read(&key, &bytes);
        let entry = Entry { key, value: bytes, meta, created: Revision(1), modified: Revision(42) };
        assert_eq!(restamped(&entry).stamp(Revision(42)), entry.value);
        assert_eq!(String::from_utf8_lossy(&unstored(object.as_object().unwrap(), "")), unversioned);
    }

    #[test]
    fn stamps() {
        check(
            &json!({"apiVersion": "v1", "kind": "A", "aa": 1, "metadata": {"name": "n", "resourceVersion": "9", "uid": "u"}}),
            r#"{"apiVersion":"v1","kind":"A","metadata":{"name":"n","resourceVersion":"42","uid":"u"},"aa":1}"#,
            r#"{"apiVersion":"v1","kind":"A","metadata":{"name":"n","uid":"u"},"aa":1}"#,
        );
        check(
            &json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "n"}}),
            r#"{"apiVersion":"v1","kind":"A","metadata":{"name":"n","resourceVersion":"42"}}"#,
            r#"{"apiVersion":"v1","kind":"A","metadata":{"name":"n"}}"#,
        );
        check(
            &json!({"apiVersion": "v1", "kind": "A", "metadata": {"uid": "u"}}),
            r#"{"apiVersion":"v1","kind":"A","metadata":{"resourceVersion":"42","uid":"u"}}"#,
            r#"{"apiVersion":"v1","kind":"A","metadata":{"uid":"u"}}"#,
        );
    }
}
