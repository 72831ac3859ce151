//! Which resources a server has: aggregated discovery, and the plain documents of servers that do not aggregate.

use crate::client::JSON;
use crate::{Client, Error, Result};
use api::{GroupResource, Resource};
use futures_util::future::join_all;
use http::Method;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
     application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// A resource that the server has, at the version that it prefers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Discovered {
    /// Names and scope.
    pub resource: Resource,
    /// `list`, `watch`, `create` and so on.
    pub verbs: Vec<String>,
    /// `status`, `scale` and so on.
    pub subresources: Vec<String>,
    /// `deploy` for deployments.
    pub short_names: Vec<String>,
    /// `deployment` for deployments.
    pub singular: String,
    /// `all`, and what CRDs choose.
    pub categories: Vec<String>,
    /// Every version that has the resource, the preferred one first.
    pub versions: Vec<String>,
}

impl Discovered {
    /// Whether the server allows a verb on the resource.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|held| held == verb)
    }
}

/// One group at one version, as either form of discovery tells it.
struct GroupVersion {
    group: String,
    version: String,
    resources: Vec<Discovered>,
}

impl Client {
    /// Every resource of the server, once per group and resource, at the preferred version, sorted.
    ///
    /// # Errors
    /// Everything in [`Error`]. A group whose own server is down is left out.
    pub async fn resources(&self) -> Result<Vec<Discovered>> {
        let (core, groups) = futures_util::future::join(
            self.bytes(Method::GET, "/api", AGGREGATED, None),
            self.bytes(Method::GET, "/apis", AGGREGATED, None),
        )
        .await;
        let (core, groups) = (core?, groups?);
        let mut found = match aggregated(&core, "/api")? {
            Some(found) => found,
            None => self.plain_core().await?,
        };
        found.extend(match aggregated(&groups, "/apis")? {
            Some(found) => found,
            None => self.plain_groups(&groups).await?,
        });
        Ok(preferred(found))
    }

    async fn plain_core(&self) -> Result<Vec<GroupVersion>> {
        Ok(vec![plain("", "v1", &self.bytes(Method::GET, "/api/v1", JSON, None).await?)?])
    }

    async fn plain_groups(&self, document: &[u8]) -> Result<Vec<GroupVersion>> {
        let list: PlainGroups = read(document, "/apis")?;
        let wanted: Vec<(String, String)> = list
            .groups
            .into_iter()
            .flat_map(|group| {
                let mut versions: Vec<String> = group.versions.into_iter().map(|version| version.version).collect();
                versions.sort_by_key(|version| *version != group.preferred_version.version);
                versions.into_iter().map(move |version| (group.name.clone(), version)).collect::<Vec<_>>()
            })
            .collect();
        let documents = join_all(wanted.iter().map(|(group, version)| async move {
            self.bytes(Method::GET, &format!("/apis/{group}/{version}"), JSON, None).await
        }))
        .await;
        let mut found = Vec::new();
        for ((group, version), document) in wanted.iter().zip(documents) {
            match document {
                Ok(document) => found.push(plain(group, version, &document)?),
                // An aggregated API whose server is down: the others still count.
                Err(error) if error.is_unreachable() || error.is_not_found() => {
                    tracing::warn!("discovery leaves out {group}/{version}: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

#[derive(Deserialize)]
struct Aggregated {
    kind: String,
    #[serde(default)]
    items: Vec<AggregatedGroup>,
}

#[derive(Deserialize)]
struct AggregatedGroup {
    #[serde(default)]
    metadata: AggregatedMeta,
    #[serde(default)]
    versions: Vec<AggregatedVersion>,
}

#[derive(Deserialize, Default)]
struct AggregatedMeta {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct AggregatedVersion {
    version: String,
    #[serde(default)]
    resources: Vec<AggregatedResource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AggregatedResource {
    resource: String,
    #[serde(default)]
    response_kind: Option<ResponseKind>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    singular_resource: String,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    categories: Vec<String>,
    #[serde(default)]
    subresources: Vec<AggregatedSubresource>,
}

#[derive(Deserialize)]
struct ResponseKind {
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct AggregatedSubresource {
    subresource: String,
}

#[derive(Deserialize)]
struct PlainGroups {
    #[serde(default)]
    groups: Vec<PlainGroup>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlainGroup {
    name: String,
    versions: Vec<PlainVersion>,
    preferred_version: PlainVersion,
}

#[derive(Deserialize)]
struct PlainVersion {
    version: String,
}

#[derive(Deserialize)]
struct PlainResources {
    #[serde(default)]
    resources: Vec<PlainResource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlainResource {
    name: String,
    #[serde(default)]
    singular_name: String,
    namespaced: bool,
    kind: String,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    categories: Vec<String>,
}

fn read<T: serde::de::DeserializeOwned>(document: &[u8], path: &str) -> Result<T> {
    serde_json::from_slice(document)
        .map_err(|cause| Error::Decode { what: format!("the discovery document {path}"), cause: cause.to_string() })
}

/// The aggregated form, or nothing if the server answered with the plain one.
fn aggregated(document: &[u8], path: &str) -> Result<Option<Vec<GroupVersion>>> {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    if read::<Kind>(document, path)?.kind != "APIGroupDiscoveryList" {
        return Ok(None);
    }
    let list: Aggregated = read(document, path)?;
    debug_assert_eq!(list.kind, "APIGroupDiscoveryList");
    let mut found = Vec::new();
    for group in list.items {
        for version in group.versions {
            let resources = version
                .resources
                .into_iter()
                // A resource without a kind has only subresources: nothing that can be listed.
                .filter_map(|row| {
                    let kind = row.response_kind.map(|kind| kind.kind).filter(|kind| !kind.is_empty())?;
                    Some(Discovered {
                        resource: resource(
                            &group.metadata.name,
                            &version.version,
                            row.resource,
                            kind,
                            row.scope != "Cluster",
                        ),
                        verbs: row.verbs,
                        subresources: row.subresources.into_iter().map(|sub| sub.subresource).collect(),
                        short_names: row.short_names,
                        singular: row.singular_resource,
                        categories: row.categories,
                        versions: vec![version.version.clone()],
                    })
                })
                .collect();
            found.push(GroupVersion {
                group: group.metadata.name.clone(),
                version: version.version.clone(),
                resources,
            });
        }
    }
    Ok(Some(found))
}

/// The plain form of one group and version.
fn plain(group: &str, version: &str, document: &[u8]) -> Result<GroupVersion> {
    let list: PlainResources = read(document, &format!("{group}/{version}"))?;
    let mut resources: Vec<Discovered> = Vec::new();
    let mut subresources: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in list.resources {
        if let Some((parent, sub)) = row.name.split_once('/') {
            subresources.entry(parent.to_owned()).or_default().push(sub.to_owned());
            continue;
        }
        resources.push(Discovered {
            resource: resource(group, version, row.name, row.kind, row.namespaced),
            verbs: row.verbs,
            subresources: Vec::new(),
            short_names: row.short_names,
            singular: row.singular_name,
            categories: row.categories,
            versions: vec![version.to_owned()],
        });
    }
    for found in &mut resources {
        found.subresources = subresources.remove(&*found.resource.plural).unwrap_or_default();
    }
    Ok(GroupVersion { group: group.to_owned(), version: version.to_owned(), resources })
}

fn resource(group: &str, version: &str, plural: String, kind: String, namespaced: bool) -> Resource {
    Resource {
        group: Cow::Owned(group.to_owned()),
        version: Cow::Owned(version.to_owned()),
        plural: Cow::Owned(plural),
        kind: Cow::Owned(kind),
        namespaced,
    }
}

/// One row per group and resource: the first version that has it, which is the one that the server prefers.
fn preferred(found: Vec<GroupVersion>) -> Vec<Discovered> {
    let mut rows: BTreeMap<GroupResource, Discovered> = BTreeMap::new();
    for group_version in found {
        debug_assert!(group_version.resources.iter().all(|row| row.resource.group == group_version.group));
        for row in group_version.resources {
            match rows.get_mut(&row.resource.group_resource()) {
                Some(held) => held.versions.push(group_version.version.clone()),
                None => drop(rows.insert(row.resource.group_resource(), row)),
            }
        }
    }
    rows.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(found: Vec<GroupVersion>) -> Vec<String> {
        let line = |row: Discovered| {
            let scope = if row.resource.namespaced { "namespaced" } else { "cluster" };
            let (kind, version) = (&row.resource.kind, &row.resource.version);
            let (subs, versions) = (row.subresources.join(","), row.versions.join(","));
            format!("{} {kind} {version} {scope} [{subs}] [{versions}]", row.resource.group_resource())
        };
        preferred(found).into_iter().map(line).collect()
    }

    #[test]
    fn aggregated_form() {
        let row = |name: &str, kind: &str, scope: &str| {
            json!({"resource": name, "responseKind": {"group": "", "version": "", "kind": kind}, "scope": scope,
                   "verbs": ["list", "watch"], "subresources": [{"subresource": "status", "verbs": ["get"]}]})
        };
        let document = json!({
            "kind": "APIGroupDiscoveryList",
            "items": [
                {"metadata": {"name": "autoscaling"}, "versions": [
                    {"version": "v2", "freshness": "Current", "resources": [row("hpas", "HPA", "Namespaced")]},
                    {"version": "v1", "resources": [row("hpas", "HPA", "Namespaced"), row("olds", "Old", "Cluster")]},
                ]},
                {"metadata": {"creationTimestamp": null}, "versions": [{"version": "v1", "resources": [
                    {"resource": "bare", "scope": "Cluster", "verbs": []}, row("pods", "Pod", "Namespaced")]}]},
            ],
        });
        let found = aggregated(document.to_string().as_bytes(), "/apis").unwrap().unwrap();
        assert_eq!(
            shown(found),
            [
                "pods Pod v1 namespaced [status] [v1]",
                "hpas.autoscaling HPA v2 namespaced [status] [v2,v1]",
                "olds.autoscaling Old v1 cluster [status] [v1]",
            ]
        );
        assert!(aggregated(br#"{"kind":"APIGroupList","groups":[]}"#, "/apis").unwrap().is_none());
        assert!(aggregated(b"[]", "/apis").is_err());
    }

    #[test]
    fn plain_form() {
        let document = json!({"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": [
            {"name": "deployments/scale", "singularName": "", "namespaced": true, "kind": "Scale", "verbs": ["get"]},
            {"name": "deployments", "singularName": "deployment", "namespaced": true, "kind": "Deployment",
             "verbs": ["list"], "shortNames": ["deploy"]},
            {"name": "deployments/status", "singularName": "", "namespaced": true, "kind": "Deployment", "verbs": []},
        ]});
        let found = plain("apps", "v1", document.to_string().as_bytes()).unwrap();
        assert_eq!(shown(vec![found]), ["deployments.apps Deployment v1 namespaced [scale,status] [v1]"]);
    }
}
