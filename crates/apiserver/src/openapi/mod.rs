//! OpenAPI documents, version 2 and 3, of what is served.
//!
//! Operations follow from the rows of discovery, schemas from the built-in definitions and from CRDs. Documents are made
//! when they are asked for; what tells their version is a hash of what they are made from, so that the index costs no
//! document.

mod cache;
mod gnostic;
mod operations;
mod schemas;
mod v2;
mod v3;

use crate::builtin;
use crate::discovery::{Document, ServedKind, compare_versions, hex_digest};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub use cache::Cache;

/// Changes when documents change that are made from the same kinds: clients keep them for a year by their hash.
const EDITION: u32 = 1;

/// Media type of version 2 in protobuf, as it is answered; the older spelling `...v2@v1.0+protobuf` is asked for too.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A kind to publish.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    /// The row.
    pub served: &'a ServedKind,
    /// What its CRD says of it; `None` for built-in kinds.
    pub custom: Option<CustomSchema<'a>>,
}

/// What a CRD says of a kind at one version.
#[derive(Clone, Copy, Debug)]
pub struct CustomSchema<'a> {
    /// `openAPIV3Schema`, or null.
    pub schema: &'a Value,
    /// Kind of its lists.
    pub list_kind: &'a str,
}

/// The kinds of a group at one version.
struct GroupVersion<'a> {
    group: &'a str,
    version: &'a str,
    kinds: Vec<Published<'a>>,
}

impl GroupVersion<'_> {
    /// `v1` or `apps/v1`
    fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `api/v1` or `apis/apps/v1`
    fn path(&self) -> String {
        format!("{}/{}", if self.group.is_empty() { "api" } else { "apis" }, self.api_version())
    }

    fn hash(&self) -> String {
        let mut from = format!("{EDITION} {} {}", builtin::RELEASE, env!("CARGO_PKG_VERSION"));
        for kind in &self.kinds {
            let custom = kind.custom.map(|custom| (custom.list_kind, custom.schema.to_string()));
            write!(from, " {:?} {custom:?}", kind.served).expect("writing to a String never fails");
        }
        hex_digest(from.as_bytes())
    }
}

/// The documents of a set of kinds.
pub struct OpenApi<'a> {
    versions: Vec<GroupVersion<'a>>,
}

impl<'a> OpenApi<'a> {
    /// Of these kinds, which may come in any order.
    pub fn of(kinds: impl IntoIterator<Item = Published<'a>>) -> Self {
        let mut kinds: Vec<Published<'a>> = kinds.into_iter().collect();
        kinds.sort_by(|left, right| {
            let (left, right) = (left.served, right.served);
            left.group
                .cmp(&right.group)
                .then_with(|| compare_versions(&left.version, &right.version))
                .then_with(|| left.plural.cmp(&right.plural))
        });
        let same = |left: &Published<'_>, right: &Published<'_>| {
            left.served.group == right.served.group && left.served.version == right.served.version
        };
        let versions = kinds.chunk_by(same).map(|kinds| GroupVersion {
            group: &kinds[0].served.group,
            version: &kinds[0].served.version,
            kinds: kinds.to_vec(),
        });
        Self { versions: versions.collect() }
    }

    /// `/openapi/v3`: where the document of each group and version is, with its hash.
    pub fn index(&self) -> Document {
        let paths: Map<String, Value> = self
            .versions
            .iter()
            .map(|version| {
                let (path, hash) = (version.path(), version.hash());
                let url = format!("/openapi/v3/{path}?hash={hash}");
                (path, json!({"serverRelativeURL": url}))
            })
            .collect();
        Document::new(json!({"paths": paths}).to_string().into_bytes())
    }

    /// Hash of the document at `api/v1` or `apis/GROUP/VERSION`, as the index has it.
    pub fn hash(&self, path: &str) -> Option<String> {
        self.find(path).map(GroupVersion::hash)
    }

    /// `/openapi/v3/PATH`, with the hash of the index as its tag.
    pub fn v3(&self, path: &str, cache: &Cache) -> Option<Document> {
        let version = self.find(path)?;
        let etag = format!("\"{}\"", version.hash());
        Some(cache.get(&format!("v3 {path} {etag}"), || {
            let body = serde_json::to_vec(&v3::document(version)).expect("a JSON tree always serialises");
            Document { body: body.into(), etag }
        }))
    }

    /// `/openapi/v2` in JSON.
    pub fn v2(&self, cache: &Cache) -> Document {
        let etag = self.v2_tag();
        cache.get(&format!("v2 {etag}"), || {
            let body = serde_json::to_vec(&v2::document(&self.versions)).expect("a JSON tree always serialises");
            Document { body: body.into(), etag }
        })
    }

    /// `/openapi/v2` in protobuf ([`V2_PROTOBUF`]).
    pub fn v2_protobuf(&self, cache: &Cache) -> Document {
        let etag = self.v2_tag();
        cache.get(&format!("v2 protobuf {etag}"), || {
            let body = gnostic::encode(&v2::document(&self.versions));
            Document { body: body.into(), etag }
        })
    }

    fn v2_tag(&self) -> String {
        let hashes: String = self.versions.iter().map(GroupVersion::hash).collect();
        format!("\"{}\"", hex_digest(hashes.as_bytes()))
    }

    fn find(&self, path: &str) -> Option<&GroupVersion<'a>> {
        self.versions.iter().find(|version| version.path() == path)
    }
}

/// The beginning that documents of both versions share.
fn info() -> Value {
    json!({"title": "Kubernetes", "version": builtin::RELEASE})
}

/// Operations by path and method, rendered by `render`; `shared` is what all operations of a path have in common.
fn path_items(
    versions: &[&GroupVersion<'_>],
    render: impl Fn(&operations::Operation) -> Value,
    shared: impl Fn(&str) -> Vec<Value>,
) -> Map<String, Value> {
    let mut items: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for version in versions {
        for operation in operations::of(version) {
            let item = items.entry(operation.path.clone()).or_insert_with(|| {
                let mut item = Map::new();
                let parameters = shared(&operation.path);
                if !parameters.is_empty() {
                    item.insert("parameters".into(), parameters.into());
                }
                item
            });
            item.insert(operation.method.into(), render(&operation));
        }
    }
    items.into_iter().map(|(path, item)| (path, item.into())).collect()
}

#[cfg(test)]
mod tests;
