//! Inventory: what an ITS makes of each ManagedCluster - mailbox, rights, lease, conditions, taints - from the opt-in to
//! the detach. The rules, names and reasons are those of Open Cluster Management's hub.

mod admit;
mod condition;
mod detach;
mod rights;
#[cfg(test)]
mod tests;

pub use admit::admit;
pub use rights::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, HUB_NAMESPACE, ROLE_BINDINGS, ROLES};

use api::cluster::{
    API_CLEANUP_FINALIZER, CLUSTER_NAME_LABEL, CLUSTER_SET_LABEL, DEFAULT_SET, GLOBAL_SET, LEASE_NAME, LEASES,
    MANAGED_CLUSTER_SETS, MANAGED_CLUSTERS, ManagedCluster, RESOURCE_CLEANUP_FINALIZER,
};
use api::{Object, ObjectName, Op, Resource, Timestamp};
use machinery::diff;
use rights::Wanted;
use serde_json::{Value, json};
use std::time::Duration;

/// Namespaces.
pub const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");

const SERVICE_ACCOUNTS: Resource = Resource::namespaced("", "v1", "serviceaccounts", "ServiceAccount");

/// What the ITS holds beside the ManagedClusters: looked up by resource and name.
pub type Held<'a> = &'a dyn Fn(&Resource, &ObjectName) -> Option<Object>;

/// The heartbeat of a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// When the agent last renewed its lease, by the agent's clock.
    pub renewed: Timestamp,
    /// When the hub saw that renewal come, by its own clock; absent if it found it when it started.
    pub seen: Option<Timestamp>,
}

/// What is left in the mailbox of a cluster that is being deleted: names, and whether each is being deleted already.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Remaining {
    /// ManagedClusterAddOns.
    pub addons: Vec<(ObjectName, bool)>,
    /// ManifestWorks.
    pub works: Vec<(ObjectName, bool)>,
}

/// All that a plan for one cluster looks at.
pub struct Facts<'a> {
    /// The cluster.
    pub cluster: &'a ManagedCluster,
    /// What the ITS holds.
    pub held: Held<'a>,
    /// Whether the mailbox's namespace is there.
    pub mailbox: bool,
    /// The lease, if there is one.
    pub heartbeat: Option<Heartbeat>,
    /// Read for a cluster that is being deleted.
    pub remaining: Remaining,
    /// By the hub's clock.
    pub now: Timestamp,
}

/// What to do for one cluster.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// In this order.
    pub ops: Vec<Op>,
    /// When to look again although nothing has changed: the lease would have ended then.
    pub again: Option<Duration>,
}

/// Plans for one cluster.
pub fn plan(facts: &Facts<'_>) -> Plan {
    let cluster = facts.cluster;
    if cluster.metadata.is_deleting() {
        return detach::plan(facts);
    }
    let name = cluster.metadata.name.as_str();
    let mut ops = Vec::new();
    let accepted = cluster.spec.hub_accepts_client;
    if accepted {
        if !facts.mailbox {
            ops.push(Op::create(NAMESPACES, mailbox(name)));
        }
        ops.extend(rights::accepted(name).iter().filter_map(|wanted| ensure(wanted, facts.held)));
        if facts.heartbeat.is_none() {
            ops.push(Op::create(LEASES, lease(name, cluster.lease_duration_seconds(), facts.now)));
        }
    } else if condition::was_accepted(cluster) {
        ops.extend(ensure(&rights::denied(name), facts.held));
        ops.extend(rights::accepted(name).iter().skip(1).rev().flat_map(|wanted| remove(wanted, facts.held)));
    }
    let (conditions, again) = condition::plan(facts);
    // Both writes are for the version that was read: the status is written in the pass that follows the edit.
    if let Some(edit) = edit(facts) {
        ops.push(edit);
    } else if conditions != cluster.status.conditions {
        ops.push(status(cluster, json!({"conditions": conditions})));
    }
    Plan { ops, again }
}

fn object_name(cluster: &ManagedCluster) -> ObjectName {
    ObjectName::cluster(cluster.metadata.name.clone())
}

/// Patches of ours carry uid and version: agents write the same object.
fn status(cluster: &ManagedCluster, status: Value) -> Op {
    let meta = &cluster.metadata;
    let body = json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version}, "status": status});
    Op::merge_patch(MANAGED_CLUSTERS, object_name(cluster), body).on_status()
}

/// Finalizers, the label of the default set, and taints: one write at most.
fn edit(facts: &Facts<'_>) -> Option<Op> {
    let cluster = facts.cluster;
    let meta = &cluster.metadata;
    let (mut metadata, mut spec) = (serde_json::Map::new(), serde_json::Map::new());
    let mut finalizers = meta.finalizers.clone();
    let needed = [Some(RESOURCE_CLEANUP_FINALIZER), cluster.spec.hub_accepts_client.then_some(API_CLEANUP_FINALIZER)];
    for finalizer in needed.into_iter().flatten() {
        if !meta.has_finalizer(finalizer) {
            finalizers.push(finalizer.to_owned());
        }
    }
    if finalizers != meta.finalizers {
        metadata.insert("finalizers".into(), json!(finalizers));
    }
    if !meta.labels.contains_key(CLUSTER_SET_LABEL) {
        metadata.insert("labels".into(), json!({CLUSTER_SET_LABEL: DEFAULT_SET}));
    }
    let taints = condition::taints(cluster, facts.now);
    if taints != cluster.spec.taints {
        spec.insert("taints".into(), if taints.is_empty() { Value::Null } else { json!(taints) });
    }
    if metadata.is_empty() && spec.is_empty() {
        return None;
    }
    metadata.insert("uid".into(), meta.uid.clone().into());
    metadata.insert("resourceVersion".into(), meta.resource_version.clone().into());
    let mut body = json!({"metadata": metadata});
    if !spec.is_empty() {
        body["spec"] = spec.into();
    }
    Some(Op::merge_patch(MANAGED_CLUSTERS, object_name(cluster), body))
}

fn mailbox(cluster: &str) -> Object {
    let mut namespace = Object::new("v1", "Namespace", &ObjectName::cluster(cluster));
    namespace.set_label(CLUSTER_NAME_LABEL, cluster);
    namespace
}

fn lease(cluster: &str, seconds: i64, now: Timestamp) -> Object {
    let mut lease = Object::new("coordination.k8s.io/v1", "Lease", &ObjectName::namespaced(cluster, LEASE_NAME));
    lease.set_label(CLUSTER_NAME_LABEL, cluster);
    let spec =
        json!({"holderIdentity": LEASE_NAME, "leaseDurationSeconds": seconds, "renewTime": now.rfc3339_micros()});
    lease.0.insert("spec".into(), spec);
    lease
}

/// The write that makes a held object say what is wanted, if one is needed. Nobody else has a say in these objects.
fn ensure((resource, wanted): &Wanted, held: Held<'_>) -> Option<Op> {
    let Some(held) = held(resource, &wanted.object_name()) else {
        return Some(Op::create(resource.clone(), wanted.clone()));
    };
    if held.is_deleting() || diff::subset(&Value::Object(wanted.0.clone()), &Value::Object(held.0.clone())) {
        return None;
    }
    let mut next = held;
    for (key, value) in &wanted.0 {
        if key != "metadata" {
            next.0.insert(key.clone(), value.clone());
        }
    }
    for (key, value) in wanted.labels() {
        next.set_label(&key, &value);
    }
    if let Some(finalizers) = wanted.meta("finalizers") {
        next.set_meta("finalizers", finalizers.clone());
    }
    Some(Op::update(resource.clone(), next))
}

/// The writes that remove an object of ours: its finalizer goes first, since nobody else takes it away.
fn remove((resource, wanted): &Wanted, held: Held<'_>) -> Vec<Op> {
    let name = wanted.object_name();
    let Some(held) = held(resource, &name) else { return Vec::new() };
    let mut ops = Vec::new();
    if !held.finalizers().is_empty() && wanted.meta("finalizers").is_some() {
        ops.push(Op::merge_patch(resource.clone(), name.clone(), json!({"metadata": {"finalizers": null}})));
    }
    if !held.is_deleting() {
        ops.push(Op::delete(resource.clone(), name));
    }
    ops
}

/// What every ITS has, whatever clusters there are: the common rights, an account that may bring clusters, and the
/// cluster sets `default` and `global`.
pub fn plan_common(held: Held<'_>) -> Vec<Op> {
    let set = |name: &str, selector: Value| {
        let resource = MANAGED_CLUSTER_SETS;
        let mut object = Object::new(&resource.api_version(), &resource.kind, &ObjectName::cluster(name));
        object.0.insert("spec".into(), json!({"clusterSelector": selector}));
        (resource, object)
    };
    let sets = [
        set(DEFAULT_SET, json!({"selectorType": "ExclusiveClusterSetLabel"})),
        set(GLOBAL_SET, json!({"selectorType": "LabelSelector", "labelSelector": {}})),
    ];
    let namespace = Object::new("v1", "Namespace", &ObjectName::cluster(HUB_NAMESPACE));
    let account =
        Object::new("v1", "ServiceAccount", &ObjectName::namespaced(HUB_NAMESPACE, rights::BOOTSTRAP_ACCOUNT));
    let joining = [(NAMESPACES, namespace), (SERVICE_ACCOUNTS, account)];
    joining.iter().chain(&rights::common()).chain(&sets).filter_map(|wanted| ensure(wanted, held)).collect()
}
