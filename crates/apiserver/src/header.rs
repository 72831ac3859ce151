//! The small parsed header that is kept beside the bytes of each stored object, so that selectors, owner lookups and
//! metadata-only answers need no JSON tree.

use bytes::Bytes;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use store::{Key, Meta};

/// A uid, or what stands in for one. Ours are UUIDs, which fit into a number; a text that is no UUID (only an owner
/// reference can hold one) becomes a hash, and equals no object's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Uid(u128);

impl Uid {
    /// Reads `6ba7b810-9dad-41d1-80b4-00c04fd430c8`.
    pub fn parse(text: &str) -> Self {
        let hex: String = text.chars().filter(|c| *c != '-').collect();
        let uuid = (text.len() == 36 && hex.len() == 32).then(|| u128::from_str_radix(&hex, 16).ok()).flatten();
        // FNV-1a; the version digit 0 keeps these apart from real ones, which are version 4.
        let hash = || {
            let prime = 0x0000_0000_0100_0000_0000_0000_0000_013b;
            let start: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
            text.bytes().fold(start, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(prime))
        };
        Self(uuid.unwrap_or_else(|| hash() & !(0xf << 76)))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        let (a, b, c, d, e) =
            (n >> 96, (n >> 80) & 0xffff, (n >> 64) & 0xffff, (n >> 48) & 0xffff, n & 0xffff_ffff_ffff);
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
    }
}

/// What is known of a stored object without parsing it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// `metadata.uid`
    pub uid: Uid,
    /// `metadata.generation`, or 0.
    pub generation: i64,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// Whether `metadata.finalizers` has entries.
    pub finalizers: bool,
    /// `uid` of each owner reference.
    pub owners: Box<[Uid]>,
    /// Labels: key, NUL, value, NUL, and so on; keys sorted. One allocation, because there are many objects.
    labels: Box<str>,
    /// Where the bytes of `metadata` are in the value.
    metadata: (u32, u32),
}

impl Header {
    /// One label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels().find(|(held, _)| *held == key).map(|(_, value)| value)
    }

    /// All labels, sorted by key.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut words = self.labels.split('\0');
        std::iter::from_fn(move || Some((words.next().filter(|key| !key.is_empty())?, words.next()?)))
    }

    /// Where the JSON object `metadata` is in the stored bytes.
    pub fn metadata(&self) -> Range<usize> {
        self.metadata.0 as usize..self.metadata.1 as usize
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Read<'a> {
    #[serde(borrow)]
    uid: Option<Cow<'a, str>>,
    generation: Option<i64>,
    #[serde(borrow)]
    deletion_timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    finalizers: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    labels: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
    #[serde(borrow)]
    owner_references: Option<Vec<Owner<'a>>>,
}

#[derive(Deserialize)]
struct Owner<'a> {
    #[serde(borrow, default)]
    uid: Cow<'a, str>,
}

impl Meta for Header {
    fn read(_: &Key, value: &Bytes) -> Self {
        let start = metadata_start(value).unwrap_or(value.len());
        let mut stream = serde_json::Deserializer::from_slice(&value[start..]).into_iter::<Read<'_>>();
        let Some(Ok(read)) = stream.next() else { return Self::default() };
        let end = start + stream.byte_offset();
        let position = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let mut labels = String::new();
        for (key, value) in read.labels.iter().flatten() {
            labels.push_str(key);
            labels.push('\0');
            labels.push_str(value);
            labels.push('\0');
        }
        Self {
            uid: Uid::parse(&read.uid.unwrap_or_default()),
            generation: read.generation.unwrap_or(0),
            deleting: read.deletion_timestamp.is_some(),
            finalizers: read.finalizers.is_some_and(|list| !list.is_empty()),
            owners: read.owner_references.iter().flatten().map(|owner| Uid::parse(&owner.uid)).collect(),
            labels: labels.into(),
            metadata: (position(start), position(end)),
        }
    }
}

/// Stored objects start with apiVersion, kind and metadata (see `encode`), so the metadata is found without reading
/// what follows it.
fn metadata_start(value: &[u8]) -> Option<usize> {
    const KEY: &[u8] = br#","metadata":"#;
    // apiVersion and kind are short; nothing in them can look like the key, because quotes would be escaped.
    value.windows(KEY.len()).take(LEAD_BYTES_MAX).position(|window| window == KEY).map(|at| at + KEY.len())
}

/// `apiVersion` and `kind` are at most 253 + 63 + 63 characters, and the JSON around them.
const LEAD_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode;
    use serde_json::json;
    use store::{Collection, Revision};

    #[test]
    fn reads_what_is_encoded() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}, "metadata": {
            "name": "a", "uid": "6ba7b810-9dad-41d1-80b4-00c04fd430c8", "generation": 3, "labels": {"b": "", "a": "1"},
            "finalizers": ["x/y"], "ownerReferences": [{"apiVersion": "v1", "kind": "A", "name": "n", "uid": "other"}]}});
        let stamped = encode::stamped(object.as_object().unwrap());
        let value = stamped.stamp(Revision(7));
        let key = Key::new(Collection::new("s", "configmaps"), "", "a");
        let header = Header::read(&key, &value);
        assert_eq!(header.labels().collect::<Vec<_>>(), [("a", "1"), ("b", "")]);
        assert_eq!(header.label("b"), Some(""));
        assert_eq!(header.generation, 3);
        assert!(header.finalizers && !header.deleting);
        assert_eq!(header.uid, Uid::parse("6ba7b810-9dad-41d1-80b4-00c04fd430c8"));
        assert_eq!(header.uid.to_string(), "6ba7b810-9dad-41d1-80b4-00c04fd430c8");
        assert_eq!(*header.owners, [Uid::parse("other")]);
        let metadata: serde_json::Value = serde_json::from_slice(&value[header.metadata()]).unwrap();
        assert_eq!(metadata["resourceVersion"], "7");
        assert_eq!(metadata["name"], "a");
    }
}
