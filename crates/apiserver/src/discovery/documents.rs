//! The documents below `/api` and `/apis`, plain and aggregated.

use super::{ServedKind, Subresource, Verb, compare_versions};
use crate::builtin;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// A document that clients may keep: they ask for it again with `If-None-Match`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    /// JSON.
    pub body: Bytes,
    /// Hash of the body in quotes, as the header has it.
    pub etag: String,
}

impl Document {
    pub(crate) fn new(body: Vec<u8>) -> Self {
        let etag = format!("\"{}\"", hex_digest(&body));
        Self { body: body.into(), etag }
    }

    fn json(value: &Value) -> Self {
        Self::new(serde_json::to_vec(value).expect("a JSON tree with text keys always serialises"))
    }
}

/// SHA-256 in upper-case hexadecimal digits.
pub(crate) fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02X}").expect("writing to a String never fails");
        text
    })
}

/// Versions whose hash a stock server tells although it stores others: it wrote them in an earlier release.
const HASHED_AT: [(&str, &str, &str); 3] = [
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy", "admissionregistration.k8s.io/v1beta1"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding", "admissionregistration.k8s.io/v1beta1"),
    ("apiextensions.k8s.io", "CustomResourceDefinition", "apiextensions.k8s.io/v1beta1"),
];

struct Group<'a> {
    name: &'a str,
    versions: Vec<Version<'a>>,
}

struct Version<'a> {
    name: &'a str,
    kinds: Vec<&'a ServedKind>,
}

/// What is served, in the order in which it is told: built-in groups by their priority and then the others by name,
/// in a group the preferred version first, in a version the resources by name.
pub struct Discovery<'a> {
    groups: Vec<Group<'a>>,
}

impl<'a> Discovery<'a> {
    /// Of these kinds, which may come in any order.
    pub fn of(kinds: impl IntoIterator<Item = &'a ServedKind>) -> Self {
        let mut kinds: Vec<&ServedKind> = kinds.into_iter().collect();
        let priorities = group_priorities();
        let rank = |group: &str| priorities.iter().position(|known| *known == group).unwrap_or(priorities.len());
        kinds.sort_by(|left, right| {
            let by_group = || rank(&left.group).cmp(&rank(&right.group)).then_with(|| left.group.cmp(&right.group));
            by_group()
                .then_with(|| compare_versions(&left.version, &right.version))
                .then_with(|| left.plural.cmp(&right.plural))
        });
        let groups = kinds.chunk_by(|left, right| left.group == right.group).map(|of_group| Group {
            name: &of_group[0].group,
            versions: of_group
                .chunk_by(|left, right| left.version == right.version)
                .map(|of_version| Version { name: &of_version[0].version, kinds: of_version.to_vec() })
                .collect(),
        });
        Self { groups: groups.collect() }
    }

    /// `/api`: versions of the core group. `server_address` is the `HOST:PORT` that clients reach us at.
    pub fn api_versions(&self, server_address: &str) -> Value {
        let core = self.groups.iter().filter(|group| group.name.is_empty());
        let versions: Vec<&str> = core.flat_map(|group| &group.versions).map(|version| version.name).collect();
        json!({
            "kind": "APIVersions",
            "versions": versions,
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
        })
    }

    /// `/apis`: every group but the core group.
    pub fn api_groups(&self) -> Value {
        let groups: Vec<Value> = self.named_groups().map(Group::document).map(Value::Object).collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    }

    /// `/apis/GROUP`, if anything of it is served.
    pub fn api_group(&self, name: &str) -> Option<Value> {
        let mut document = self.named_groups().find(|group| group.name == name)?.document();
        document.insert("kind".into(), "APIGroup".into());
        document.insert("apiVersion".into(), "v1".into());
        Some(document.into())
    }

    /// `/api/v1` and `/apis/GROUP/VERSION`, if anything of it is served.
    pub fn api_resources(&self, group: &str, version: &str) -> Option<Value> {
        let group = self.groups.iter().find(|candidate| candidate.name == group)?;
        let version = group.versions.iter().find(|candidate| candidate.name == version)?;
        let mut resources = Vec::new();
        for kind in &version.kinds {
            resources.push(resource_document(kind));
            resources.extend(kind.subresources.iter().map(|sub| subresource_document(kind, sub)));
        }
        let mut list = json!({
            "kind": "APIResourceList",
            "groupVersion": group.api_version(version.name),
            "resources": resources,
        });
        // The list of the core group has never said it.
        if !group.name.is_empty() {
            list["apiVersion"] = "v1".into();
        }
        Some(list)
    }

    /// Aggregated `/api`: the core group only.
    pub fn aggregated_core(&self) -> Document {
        aggregated(self.groups.iter().filter(|group| group.name.is_empty()))
    }

    /// Aggregated `/apis`: every other group.
    pub fn aggregated_groups(&self) -> Document {
        aggregated(self.named_groups())
    }

    fn named_groups(&self) -> impl Iterator<Item = &Group<'a>> {
        self.groups.iter().filter(|group| !group.name.is_empty())
    }
}

/// Built-in groups, the most important first: the order that the rows were recorded in.
fn group_priorities() -> Vec<&'static str> {
    let mut groups: Vec<&str> = builtin::kinds().iter().map(|kind| &*kind.served.group).collect();
    groups.dedup();
    groups
}

impl Group<'_> {
    fn api_version(&self, version: &str) -> String {
        if self.name.is_empty() { version.to_owned() } else { format!("{}/{version}", self.name) }
    }

    fn document(&self) -> Map<String, Value> {
        let version =
            |version: &Version<'_>| json!({"groupVersion": self.api_version(version.name), "version": version.name});
        let versions: Vec<Value> = self.versions.iter().map(version).collect();
        let mut document = Map::new();
        document.insert("name".into(), self.name.into());
        document.insert("preferredVersion".into(), versions.first().cloned().unwrap_or_default());
        document.insert("versions".into(), versions.into());
        document
    }
}

fn resource_document(kind: &ServedKind) -> Value {
    let mut document = Map::new();
    document.insert("name".into(), (*kind.plural).into());
    document.insert("singularName".into(), (*kind.singular).into());
    document.insert("namespaced".into(), kind.namespaced.into());
    document.insert("kind".into(), (*kind.kind).into());
    document.insert("verbs".into(), kind.verbs.iter().map(Verb::as_str).collect());
    if !kind.short_names.is_empty() {
        document.insert("shortNames".into(), kind.short_names.iter().map(|name| &**name).collect());
    }
    if !kind.categories.is_empty() {
        document.insert("categories".into(), kind.categories.iter().map(|name| &**name).collect());
    }
    if !kind.stored_as.is_empty() {
        document.insert("storageVersionHash".into(), storage_version_hash(kind).into());
    }
    document.into()
}

fn subresource_document(kind: &ServedKind, sub: &Subresource) -> Value {
    let mut document = Map::new();
    document.insert("name".into(), format!("{}/{}", kind.plural, sub.name).into());
    document.insert("singularName".into(), "".into());
    document.insert("namespaced".into(), kind.namespaced.into());
    document.insert("kind".into(), (*sub.kind).into());
    document.insert("verbs".into(), sub.verbs.iter().map(Verb::as_str).collect());
    if !sub.version.is_empty() {
        if !sub.group.is_empty() {
            document.insert("group".into(), (*sub.group).into());
        }
        document.insert("version".into(), (*sub.version).into());
    }
    document.into()
}

/// Clients compare it to see whether what is stored must be migrated: base64 of the first eight bytes of the SHA-256 of
/// `GROUP/VERSION/KIND`.
fn storage_version_hash(kind: &ServedKind) -> String {
    let earlier = HASHED_AT.iter().find(|(group, name, _)| *group == kind.group && *name == kind.kind);
    let stored_as = earlier.map_or(&*kind.stored_as, |(.., stored_as)| stored_as);
    let slash = if stored_as.contains('/') { "" } else { "/" };
    STANDARD.encode(&Sha256::digest(format!("{slash}{stored_as}/{}", kind.kind))[..8])
}

fn aggregated<'a>(groups: impl Iterator<Item = &'a Group<'a>>) -> Document {
    let items: Vec<Value> = groups
        .map(|group| {
            let metadata = if group.name.is_empty() { json!({}) } else { json!({"name": group.name}) };
            let versions = group.versions.iter().map(|version| {
                let resources: Vec<Value> = version.kinds.iter().map(|kind| aggregated_resource(kind)).collect();
                json!({"version": version.name, "freshness": "Current", "resources": resources})
            });
            json!({"metadata": metadata, "versions": versions.collect::<Vec<_>>()})
        })
        .collect();
    Document::json(&json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }))
}

fn aggregated_resource(kind: &ServedKind) -> Value {
    let mut document = Map::new();
    document.insert("resource".into(), (*kind.plural).into());
    document.insert("responseKind".into(), json!({"group": "", "version": "", "kind": kind.kind}));
    document.insert("scope".into(), if kind.namespaced { "Namespaced" } else { "Cluster" }.into());
    document.insert("singularResource".into(), (*kind.singular).into());
    document.insert("verbs".into(), kind.verbs.iter().map(Verb::as_str).collect());
    if !kind.short_names.is_empty() {
        document.insert("shortNames".into(), kind.short_names.iter().map(|name| &**name).collect());
    }
    if !kind.categories.is_empty() {
        document.insert("categories".into(), kind.categories.iter().map(|name| &**name).collect());
    }
    if !kind.subresources.is_empty() {
        let subresource = |sub: &Subresource| {
            json!({
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": sub.verbs.iter().map(Verb::as_str).collect::<Vec<_>>(),
            })
        };
        document.insert("subresources".into(), kind.subresources.iter().map(subresource).collect());
    }
    document.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Verbs;

    fn recorded() -> Value {
        serde_json::from_str(&builtin::inflate(include_bytes!("../../data/recorded-discovery.json.z"))).unwrap()
    }

    fn custom(group: &str, version: &str, plural: &str, kind: &str) -> ServedKind {
        ServedKind {
            group: group.to_owned().into(),
            version: version.to_owned().into(),
            kind: kind.to_owned().into(),
            plural: plural.to_owned().into(),
            singular: kind.to_lowercase().into(),
            short_names: Vec::new(),
            categories: vec!["all".into()],
            namespaced: true,
            verbs: Verbs::FULL,
            subresources: vec![
                Subresource {
                    name: "status".into(),
                    group: "".into(),
                    version: "".into(),
                    kind: kind.to_owned().into(),
                    verbs: Verbs::SUBRESOURCE,
                },
                Subresource {
                    name: "scale".into(),
                    group: "autoscaling".into(),
                    version: "v1".into(),
                    kind: "Scale".into(),
                    verbs: Verbs::SUBRESOURCE,
                },
            ],
            stored_as: format!("{group}/{version}").into(),
        }
    }

    #[test]
    fn aggregated_documents_are_those_of_the_stock_server() {
        let served: Vec<&ServedKind> = builtin::kinds().iter().map(|kind| &kind.served).collect();
        let recorded = recorded();
        // Whatever order the kinds come in.
        for kinds in [served.clone(), served.into_iter().rev().collect()] {
            let discovery = Discovery::of(kinds);
            let parsed = |document: Document| serde_json::from_slice::<Value>(&document.body).unwrap();
            assert_eq!(parsed(discovery.aggregated_core()), recorded["api"]);
            assert_eq!(parsed(discovery.aggregated_groups()), recorded["apis"]);
        }
    }

    #[test]
    fn groups_of_crds_follow_the_built_in_ones() {
        let late = custom("a.example.com", "v1alpha1", "things", "Thing");
        let early = custom("a.example.com", "v1", "things", "Thing");
        let other = custom("0.example.com", "v1", "others", "Other");
        let kinds = builtin::kinds().iter().map(|kind| &kind.served).chain([&late, &early, &other]);
        let discovery = Discovery::of(kinds);
        let groups = discovery.api_groups();
        let names: Vec<&str> =
            groups["groups"].as_array().unwrap().iter().map(|group| group["name"].as_str().unwrap()).collect();
        assert_eq!(names[0], "apiregistration.k8s.io");
        assert_eq!(names[names.len() - 2..], ["0.example.com", "a.example.com"]);
        let group = discovery.api_group("a.example.com").unwrap();
        assert_eq!(group["kind"], "APIGroup");
        assert_eq!(group["preferredVersion"], json!({"groupVersion": "a.example.com/v1", "version": "v1"}));
        assert_eq!(group["versions"].as_array().unwrap().len(), 2);
        assert_eq!(discovery.api_group("nowhere"), None);
        assert_eq!(discovery.api_group(""), None);
    }

    #[test]
    fn resource_lists() {
        let thing = custom("a.example.com", "v1", "things", "Thing");
        let discovery = Discovery::of(builtin::kinds().iter().map(|kind| &kind.served).chain([&thing]));
        let find = |group: &str, version: &str, name: &str| {
            let list = discovery.api_resources(group, version).unwrap();
            assert_eq!(list["kind"], "APIResourceList");
            list["resources"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
        };
        let pods = find("", "v1", "pods");
        assert_eq!(pods["storageVersionHash"], "xPOwRZ+Yhw8=");
        assert_eq!(pods["shortNames"], json!(["po"]));
        assert_eq!(find("apps", "v1", "deployments")["storageVersionHash"], "8aSe+NMegvE=");
        let events = find("", "v1", "events");
        assert_eq!(find("events.k8s.io", "v1", "events")["storageVersionHash"], events["storageVersionHash"]);
        let eviction = find("", "v1", "pods/eviction");
        assert_eq!((&eviction["group"], &eviction["version"]), (&json!("policy"), &json!("v1")));
        assert_eq!(find("", "v1", "pods/binding").get("group"), None);
        assert_eq!(find("a.example.com", "v1", "things/scale")["group"], "autoscaling");
        assert_eq!(discovery.api_resources("a.example.com", "v2"), None);
        assert_eq!(discovery.api_versions("127.0.0.1:6443")["versions"], json!(["v1"]));
    }
}
