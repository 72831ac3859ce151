//! OpenAPI documents, version 2 and 3, of what is served.
//!
//! Operations follow from the rows of discovery, schemas from the built-in definitions and from CRDs. Documents are made
//! when they are asked for; what tells their version is a hash of what they are made from, so that the index costs no
//! document.

mod builtins;
mod cache;
mod gnostic;
mod operations;
mod parameters;
mod schemas;
mod v2;
mod v3;

use crate::builtin;
use crate::discovery::{Document, ServedKind, compare_versions, hex_digest};
use parameters::Parameter;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub use cache::Cache;

/// Changes when documents change that are made from the same kinds: clients keep them for a year by their hash.
const EDITION: u32 = 3;

/// How a document is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Json,
    /// Messages of `openapi.v2` or `openapi.v3`.
    Protobuf,
}

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
    /// Paths of its selectable fields, such as `spec.color`.
    pub selectable: &'a [String],
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
            let custom = kind.custom.map(|custom| (custom.list_kind, custom.selectable, custom.schema.to_string()));
            write!(from, " {:?} {custom:?}", kind.served).expect("writing to a String never fails");
        }
        hex_digest(from.as_bytes())
    }
}

/// What a document of version 3 is about.
enum Part<'a> {
    /// The one operation of a path that belongs to no version.
    Beside(Box<operations::Operation>),
    Version(GroupVersion<'a>),
}

impl<'a> Part<'a> {
    /// Such as `api/v1`, `apis/apps` or `version`.
    fn path(&self) -> String {
        match self {
            Part::Beside(operation) => operation.path.trim_matches('/').to_owned(),
            Part::Version(version) => version.path(),
        }
    }

    fn hash(&self) -> String {
        match self {
            Part::Beside(operation) => hex_digest(format!("{EDITION} {}", operation.path).as_bytes()),
            Part::Version(version) => version.hash(),
        }
    }

    fn version(&self) -> Option<&GroupVersion<'a>> {
        match self {
            Part::Beside(_) => None,
            Part::Version(version) => Some(version),
        }
    }

    /// Whether it is about custom kinds.
    fn is_custom(&self) -> bool {
        self.version().is_some_and(|version| version.kinds.iter().all(|kind| kind.custom.is_some()))
    }

    fn operations(&self) -> Vec<operations::Operation> {
        match self {
            Part::Beside(operation) => vec![(**operation).clone()],
            Part::Version(version) => operations::of(version),
        }
    }
}

/// The documents of a set of kinds.
pub struct OpenApi<'a> {
    parts: Vec<Part<'a>>,
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
        let builtin = kinds.iter().filter(|kind| kind.custom.is_none()).map(|kind| &*kind.served.group);
        let mut groups: Vec<&str> = builtin.filter(|group| !group.is_empty()).collect();
        groups.dedup();
        let beside = operations::beside(groups).into_iter().map(|one| Part::Beside(Box::new(one)));
        let same = |left: &Published<'_>, right: &Published<'_>| {
            left.served.group == right.served.group && left.served.version == right.served.version
        };
        let versions = kinds.chunk_by(same).map(|kinds| GroupVersion {
            group: &kinds[0].served.group,
            version: &kinds[0].served.version,
            kinds: kinds.to_vec(),
        });
        Self { parts: beside.chain(versions.map(Part::Version)).collect() }
    }

    /// `/openapi/v3`: where each document is, with its hash.
    pub fn index(&self) -> Document {
        let paths: Map<String, Value> = self
            .parts
            .iter()
            .map(|part| {
                let (path, hash) = (part.path(), part.hash());
                let url = format!("/openapi/v3/{path}?hash={hash}");
                (path, json!({"serverRelativeURL": url}))
            })
            .collect();
        Document::new(json!({"paths": paths}).to_string().into_bytes())
    }

    /// Hash of the document at `api/v1` or `apis/GROUP/VERSION`, as the index has it.
    pub fn hash(&self, path: &str) -> Option<String> {
        self.find(path).map(Part::hash)
    }

    /// `/openapi/v3/PATH`, with the hash of the index as its tag.
    pub fn v3(&self, path: &str, form: Form, cache: &Cache) -> Option<Document> {
        let part = self.find(path)?;
        let etag = format!("\"{}\"", part.hash());
        Some(cache.get(&format!("v3 {form:?} {path} {etag}"), || {
            let document = v3::document(part);
            let body = match form {
                Form::Json => serde_json::to_vec(&document).expect("a JSON tree always serialises"),
                Form::Protobuf => gnostic::v3::encode(&document),
            };
            Document { body: body.into(), etag }
        }))
    }

    /// `/openapi/v2`.
    pub fn v2(&self, form: Form, cache: &Cache) -> Document {
        let hashes: String = self.parts.iter().map(Part::hash).collect();
        let etag = format!("\"{}\"", hex_digest(hashes.as_bytes()));
        cache.get(&format!("v2 {form:?} {etag}"), || {
            let document = v2::document(&self.parts);
            let body = match form {
                Form::Json => serde_json::to_vec(&document).expect("a JSON tree always serialises"),
                Form::Protobuf => gnostic::v2::encode(&document),
            };
            Document { body: body.into(), etag }
        })
    }

    fn find(&self, path: &str) -> Option<&Part<'a>> {
        self.parts.iter().find(|part| part.path() == path)
    }
}

/// The beginning that documents of both versions share.
fn info() -> Value {
    json!({"title": "Kubernetes", "version": builtin::RELEASE})
}

/// How clients say who they are.
fn security() -> Value {
    let bearer = json!({
        "type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication"});
    json!({"BearerToken": bearer})
}

/// Operations by path and method, rendered by `render`. Parameters that all operations of a path have are said once,
/// of the path; `render` gets the others.
fn path_items(
    parts: &[Part<'_>],
    render: impl Fn(&operations::Operation, &[&Parameter]) -> Value,
    parameter: impl Fn(&Parameter) -> Value,
) -> Map<String, Value> {
    let mut by_path: BTreeMap<String, Vec<operations::Operation>> = BTreeMap::new();
    for operation in parts.iter().flat_map(Part::operations) {
        by_path.entry(operation.path.clone()).or_default().push(operation);
    }
    let item = |operations: Vec<operations::Operation>| {
        let everywhere = |one: &&Parameter| operations.iter().all(|operation| operation.parameters.contains(one));
        let shared: Vec<&Parameter> = operations[0].parameters.iter().copied().filter(everywhere).collect();
        let mut item = Map::new();
        if !shared.is_empty() {
            item.insert("parameters".into(), shared.iter().map(|one| parameter(one)).collect());
        }
        for operation in &operations {
            let own = operation.parameters.iter().copied().filter(|one| !shared.contains(one));
            item.insert(operation.method.into(), render(operation, &own.collect::<Vec<_>>()));
        }
        item
    };
    by_path.into_iter().map(|(path, operations)| (path, item(operations).into())).collect()
}

#[cfg(test)]
mod tests;
