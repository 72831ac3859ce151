//! The life of a namespace: what every one of them has, and how one that is deleted is emptied.

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

/// Where a namespace stands after a pass.
pub(super) enum State {
    /// Terminating, and something is still in it.
    Emptying,
    /// Nothing is left to do.
    Settled,
}

pub(super) async fn reconcile(caller: &Caller<'_>, server: &Server, name: &Arc<str>) -> Result<State, Failure> {
    let Some(namespace) = caller.get(&NAMESPACES, &ObjectName::cluster(&**name)).await? else {
        return Ok(State::Settled);
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
    Ok(State::Settled)
}

const ROOT_CA_DESCRIPTION: &str = "The certificate authority of this space's API server.";

/// Deletes what is in a terminating namespace; lets the namespace go when nothing is left, and says what is in the way
/// otherwise.
async fn empty(caller: &Caller<'_>, server: &Server, namespace: &Object) -> Result<State, Failure> {
    if namespace.pointer("/spec/finalizers").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return Ok(State::Settled);
    }
    let mut content = content(server, caller, namespace.name());
    // Pods first, so that nothing runs on without the policies and secrets that came with it (KEP-5080).
    content.sort_by_key(|(resource, _)| resource.plural != "pods");
    for (resource, entry) in &content {
        let name = ObjectName::namespaced(&*entry.key.namespace, &*entry.key.name);
        caller.delete(resource, &name, &entry.meta.uid.to_string(), "Background").await?;
    }
    let left = self::content(server, caller, namespace.name());
    if left.is_empty() {
        let mut namespace = namespace.clone();
        namespace.0.insert("spec".into(), json!({"finalizers": []}));
        let path = format!("{}/finalize", NAMESPACES.object_path(&namespace.object_name()));
        caller.put(path, json!(namespace)).await?;
        return Ok(State::Settled);
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
    Ok(State::Emptying)
}

type Content = (Resource, Arc<Entry<Header>>);

fn content(server: &Server, caller: &Caller<'_>, namespace: &str) -> Vec<Content> {
    let mut found = Vec::new();
    for collection in server.store().collections(caller.space().as_str()) {
        let Ok(page) = server.store().page(&collection, Some(namespace), None, usize::MAX, None) else { continue };
        for entry in page.entries {
            if let Some(resource) = resource_of(server, caller, &entry) {
                found.push((resource, entry));
            }
        }
    }
    found
}

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

/// What is in the way, as the conditions of a terminating namespace say it.
fn remaining(left: &[Content]) -> Vec<Condition> {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut finalized = 0;
    for (resource, entry) in left {
        *kinds.entry(resource.group_resource().to_string()).or_default() += 1;
        finalized += usize::from(entry.meta.finalizers);
    }
    let listed: Vec<String> =
        kinds.iter().map(|(resource, count)| format!("{resource} has {count} resource instances")).collect();
    let truth = |is: bool| if is { ConditionStatus::True } else { ConditionStatus::False };
    vec![
        Condition::new(
            "NamespaceContentRemaining",
            ConditionStatus::True,
            "SomeResourcesRemain",
            format!("Some resources are remaining: {}", listed.join(", ")),
        ),
        Condition::new(
            "NamespaceFinalizersRemaining",
            truth(finalized > 0),
            if finalized > 0 { "SomeFinalizersRemain" } else { "ContentHasNoFinalizers" },
            format!("{finalized} of the remaining objects are held by finalizers"),
        ),
    ]
}
