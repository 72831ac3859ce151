//! The life of a namespace: what every one of them has, and how one that is deleted is emptied.

use super::Outcome;
use super::call::{Caller, Failure};
use crate::Server;
use crate::header::Header;
use api::{Condition, ConditionStatus, GroupVersionKind, Object, ObjectName, Resource, set_condition};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Entry;

/// The ConfigMap that tells workloads of a namespace whom to trust as API server.
pub(super) const ROOT_CA: &str = "kube-root-ca.crt";

const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");
const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
const SERVICE_ACCOUNTS: Resource = Resource::namespaced("", "v1", "serviceaccounts", "ServiceAccount");

/// Objects that are deleted of a namespace before other work has its turn: some milliseconds.
const DELETED_AT_ONCE: usize = 200;

pub(super) async fn reconcile(caller: &Caller<'_>, server: &Server, name: &Arc<str>) -> Result<Outcome, Failure> {
    let Some(namespace) = caller.get(&NAMESPACES, &ObjectName::cluster(&**name)).await? else {
        return Ok(Outcome::Done);
    };
    if namespace.is_deleting() {
        return empty(caller, server, &namespace).await;
    }
    let wanted = json!({"ca.crt": server.serving_authority()});
    let place = ObjectName::namespaced(&**name, ROOT_CA);
    match caller.get(&CONFIG_MAPS, &place).await? {
        Some(held) if held.0.get("data") == Some(&wanted) => {}
        Some(_) => caller.merge(CONFIG_MAPS.object_path(&place), json!({"data": wanted})).await?,
        None => {
            let mut map = Object::new("v1", "ConfigMap", &place);
            map.set_annotation("kubernetes.io/description", ROOT_CA_DESCRIPTION);
            map.0.insert("data".into(), wanted);
            caller.create(&CONFIG_MAPS, &map).await?;
        }
    }
    let account = ObjectName::namespaced(&**name, "default");
    if caller.get(&SERVICE_ACCOUNTS, &account).await?.is_none() {
        caller.create(&SERVICE_ACCOUNTS, &Object::new("v1", "ServiceAccount", &account)).await?;
    }
    Ok(Outcome::Done)
}

const ROOT_CA_DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using \
     internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
     distributions of Kubernetes clusters.";

/// Deletes what is in a terminating namespace; lets the namespace go when nothing is left, and says what is in the way
/// otherwise.
async fn empty(caller: &Caller<'_>, server: &Server, namespace: &Object) -> Result<Outcome, Failure> {
    if namespace.pointer("/spec/finalizers").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return Ok(Outcome::Done);
    }
    // What is marked already waits for its finalizers.
    let unmarked: Vec<Content> =
        content(server, caller, namespace.name(), DELETED_AT_ONCE, |entry| !entry.meta.deleting);
    for (resource, entry) in &unmarked {
        let name = ObjectName::namespaced(&*entry.key.namespace, &*entry.key.name);
        caller.delete(resource, &name, &entry.meta.uid.to_string(), "Background").await?;
    }
    if unmarked.len() == DELETED_AT_ONCE {
        return Ok(Outcome::More);
    }
    let left = content(server, caller, namespace.name(), usize::MAX, |_| true);
    if left.is_empty() {
        let mut namespace = namespace.clone();
        namespace.0.insert("spec".into(), json!({"finalizers": []}));
        let path = format!("{}/finalize", NAMESPACES.object_path(&namespace.object_name()));
        caller.put(path, json!(namespace)).await?;
        return Ok(Outcome::Done);
    }
    let mut conditions: Vec<Condition> = namespace
        .pointer("/status/conditions")
        .and_then(|conditions| serde_json::from_value(conditions.clone()).ok())
        .unwrap_or_default();
    let mut changed = false;
    for condition in remaining(&left) {
        changed |= set_condition(&mut conditions, condition, server.now());
    }
    if changed {
        let path = format!("{}/status", NAMESPACES.object_path(&namespace.object_name()));
        caller.merge(path, json!({"status": {"conditions": conditions}})).await?;
    }
    Ok(Outcome::Emptying)
}

type Content = (Resource, Arc<Entry<Header>>);

/// Up to `most` objects of a namespace that are wanted. Pods come first, so that nothing runs on without the policies and
/// secrets that came with it (KEP-5080).
fn content(
    server: &Server,
    caller: &Caller<'_>,
    namespace: &str,
    most: usize,
    wanted: impl Fn(&Entry<Header>) -> bool,
) -> Vec<Content> {
    let mut found = Vec::new();
    let mut collections = server.store().collections(caller.space().as_str());
    collections.sort_by_key(|collection| &*collection.resource != "pods");
    for collection in collections {
        let mut after: Option<Arc<str>> = None;
        loop {
            let from = after.as_deref().map(|name| (namespace, name));
            let page = server.store().page(&collection, Some(namespace), from, PAGE, None);
            let Ok(page) = page else { break };
            after = page.entries.last().map(|last| last.key.name.clone());
            for entry in page.entries.into_iter().filter(|entry| wanted(entry)) {
                if found.len() == most {
                    return found;
                }
                if let Some(resource) = resource_of(server, caller, &entry) {
                    found.push((resource, entry));
                }
            }
            if page.remaining == 0 {
                break;
            }
        }
    }
    found
}

/// Objects that are read at once.
const PAGE: usize = 500;

/// The resource under which a stored object is served.
pub(super) fn resource_of(server: &Server, caller: &Caller<'_>, entry: &Entry<Header>) -> Option<Resource> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind<'a> {
        #[serde(borrow)]
        api_version: std::borrow::Cow<'a, str>,
        #[serde(borrow)]
        kind: std::borrow::Cow<'a, str>,
    }
    let kind: Kind<'_> = serde_json::from_slice(&entry.value).ok()?;
    server.resource_of(caller.space(), &GroupVersionKind::from_api_version(&kind.api_version, &kind.kind))
}

/// What is in the way, as the conditions of a terminating namespace say it. A stock server has three more for what can
/// go wrong while it looks, which it does through its own API.
fn remaining(left: &[Content]) -> Vec<Condition> {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<String, usize> = BTreeMap::new();
    for (resource, entry) in left {
        // Kinds are written as resource and group with a dot between, which the core group leaves at the end.
        *kinds.entry(format!("{}.{}", resource.plural, resource.group)).or_default() += 1;
        for finalizer in finalizers_of(entry) {
            *finalizers.entry(finalizer).or_default() += 1;
        }
    }
    let finalized = !finalizers.is_empty();
    let counted = |counts: BTreeMap<String, usize>, word: &str| {
        let parts: Vec<String> =
            counts.iter().map(|(what, count)| format!("{what} {word} {count} resource instances")).collect();
        parts.join(", ")
    };
    let fine = |name: &str, reason: &str, message: &str| Condition::new(name, ConditionStatus::False, reason, message);
    let truth = |is: bool| if is { ConditionStatus::True } else { ConditionStatus::False };
    let held = counted(finalizers, "in");
    vec![
        fine("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
        fine(
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        fine(
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        Condition::new(
            "NamespaceContentRemaining",
            ConditionStatus::True,
            "SomeResourcesRemain",
            format!("Some resources are remaining: {}", counted(kinds, "has")),
        ),
        Condition::new(
            "NamespaceFinalizersRemaining",
            truth(finalized),
            if finalized { "SomeFinalizersRemain" } else { "ContentHasNoFinalizers" },
            if finalized {
                format!("Some content in the namespace has finalizers remaining: {held}")
            } else {
                "All content-preserving finalizers finished".to_owned()
            },
        ),
    ]
}

/// The finalizers of a stored object.
fn finalizers_of(entry: &Entry<Header>) -> Vec<String> {
    if !entry.meta.finalizers {
        return Vec::new();
    }
    let object: Object = serde_json::from_slice(&entry.value).unwrap_or_default();
    let held = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    held.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}
