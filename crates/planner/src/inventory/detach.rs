//! What is done for a cluster that is being deleted: its add-ons go, then its works, then its rights, then it. The
//! mailbox stays.

use super::{Facts, Plan, object_name, remove, rights, status};
use api::cluster::{
    API_CLEANUP_FINALIZER, DELETING, MANAGED_CLUSTER_ADDONS, MANAGED_CLUSTERS, RESOURCE_CLEANUP_FINALIZER,
};
use api::work::MANIFEST_WORKS;
use api::{Condition, ConditionStatus, Op, set_condition};
use serde_json::json;
use std::time::Duration;

/// How soon to look again whether the rest has gone. Works go when the agent has removed their objects, and the hub does
/// not keep a store of all works only to see that.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) fn plan(facts: &Facts<'_>) -> Plan {
    let cluster = facts.cluster;
    let remaining = &facts.remaining;
    let left = remaining.addons.len() + remaining.works.len();
    let mut ops = Vec::new();
    let (reason, message) = if left == 0 {
        ("NoResource", "No cleaned resource in cluster ns.".to_owned())
    } else {
        let (addons, works) = (remaining.addons.len(), remaining.works.len());
        ("ResourceRemaining", format!("{addons} add-ons and {works} works remain in the mailbox"))
    };
    if left > 0 {
        let mut conditions = cluster.status.conditions.clone();
        let condition = Condition::new(DELETING, ConditionStatus::False, reason, message);
        if set_condition(&mut conditions, condition, facts.now) {
            ops.push(status(cluster, json!({"conditions": conditions})));
        }
        // Add-ons may need their works to clean up.
        let (resource, names) = if remaining.addons.is_empty() {
            (MANIFEST_WORKS, &remaining.works)
        } else {
            (MANAGED_CLUSTER_ADDONS, &remaining.addons)
        };
        let fresh = names.iter().filter(|(_, deleting)| !deleting);
        ops.extend(fresh.map(|(name, _)| Op::delete(resource.clone(), name.clone())));
        return Plan { ops, again: Some(LOOK_AGAIN) };
    }
    let name = cluster.metadata.name.as_str();
    ops.extend(rights::accepted(name).iter().rev().flat_map(|wanted| remove(wanted, facts.held)));
    let ours = |finalizer: &String| finalizer == API_CLEANUP_FINALIZER || finalizer == RESOURCE_CLEANUP_FINALIZER;
    let meta = &cluster.metadata;
    if meta.finalizers.iter().any(ours) {
        let rest: Vec<&String> = meta.finalizers.iter().filter(|finalizer| !ours(finalizer)).collect();
        let metadata = json!({"finalizers": rest, "uid": meta.uid, "resourceVersion": meta.resource_version});
        ops.push(Op::merge_patch(MANAGED_CLUSTERS, object_name(cluster), json!({"metadata": metadata})));
    }
    Plan { ops, again: None }
}
