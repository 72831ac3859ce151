//! Conditions and taints of a cluster, as far as the hub decides them.

use super::Facts;
use api::cluster::{
    AVAILABLE, CLOCK_SYNCED, HUB_ACCEPTED, LEASE_GRACE, ManagedCluster, SKIP_CLOCK_ANNOTATION, Taint,
    UNAVAILABLE_TAINT, UNREACHABLE_TAINT,
};
use api::{Condition, ConditionStatus, Timestamp, set_condition};
use std::time::Duration;

/// Whether the hub has ever let the cluster in: only then there is something to take back.
pub(super) fn was_accepted(cluster: &ManagedCluster) -> bool {
    cluster.condition(HUB_ACCEPTED).is_some()
}

/// The cluster's next conditions, and when the lease would end.
pub(super) fn plan(facts: &Facts<'_>) -> (Vec<Condition>, Option<Duration>) {
    let cluster = facts.cluster;
    let mut conditions = cluster.status.conditions.clone();
    if !cluster.spec.hub_accepts_client {
        if was_accepted(cluster) {
            let denied = "Denied by hub cluster admin";
            let condition = Condition::new(HUB_ACCEPTED, ConditionStatus::False, "HubClusterAdminDenied", denied);
            set_condition(&mut conditions, condition, facts.now);
        }
        return (conditions, None);
    }
    let accepted = "Accepted by hub cluster admin";
    let condition = Condition::new(HUB_ACCEPTED, ConditionStatus::True, "HubClusterAdminAccepted", accepted);
    set_condition(&mut conditions, condition, facts.now);
    let Some(heartbeat) = facts.heartbeat else { return (conditions, None) };
    let grace = cluster.lease_duration_seconds() * LEASE_GRACE * 1_000_000;
    if let Some(condition) = clock(facts, grace) {
        set_condition(&mut conditions, condition, facts.now);
    }
    let left = heartbeat.renewed.micros() + grace - facts.now.micros();
    if left >= 0 {
        // One microsecond later it has ended.
        return (conditions, Some(Duration::from_micros(left.unsigned_abs() + 1)));
    }
    let stopped = "Registration agent stopped updating its lease.";
    let condition = Condition::new(AVAILABLE, ConditionStatus::Unknown, "ManagedClusterLeaseUpdateStopped", stopped);
    set_condition(&mut conditions, condition, facts.now);
    (conditions, None)
}

/// Whether the agent's clock agrees with ours, as far as its last renewal tells. A renewal that was found at the start
/// may be old because the agent has stopped: it says nothing then.
fn clock(facts: &Facts<'_>, grace: i64) -> Option<Condition> {
    let heartbeat = facts.heartbeat?;
    let skip = facts.cluster.metadata.annotations.get(SKIP_CLOCK_ANNOTATION).is_some_and(|value| value == "true");
    let apart = |at: Timestamp| (at.micros() - heartbeat.renewed.micros()).abs() < grace;
    let synced = match heartbeat.seen {
        _ if skip => true,
        Some(seen) => apart(seen),
        None if apart(facts.now) => true,
        None => return None,
    };
    Some(if synced {
        let text = "The clock of the managed cluster is synced with the hub.";
        Condition::new(CLOCK_SYNCED, ConditionStatus::True, "ManagedClusterClockSynced", text)
    } else {
        let text = "The clock of hub and agent is out of sync. This may cause the Unknown status and affect agent \
                    functionalities.";
        Condition::new(CLOCK_SYNCED, ConditionStatus::False, "ManagedClusterClockOutOfSync", text)
    })
}

/// The cluster's next taints: ours follow its availability, others stay.
pub(super) fn taints(cluster: &ManagedCluster, now: Timestamp) -> Vec<Taint> {
    let wanted = match cluster.condition(AVAILABLE).map(|condition| condition.status) {
        Some(ConditionStatus::True) => None,
        Some(ConditionStatus::False) => Some(UNAVAILABLE_TAINT),
        Some(ConditionStatus::Unknown) | None => Some(UNREACHABLE_TAINT),
    };
    let ours = |taint: &Taint| taint.key == UNREACHABLE_TAINT || taint.key == UNAVAILABLE_TAINT;
    let mut taints = cluster.spec.taints.clone();
    taints.retain(|taint| !ours(taint) || Some(taint.key.as_str()) == wanted);
    if let Some(key) = wanted
        && !taints.iter().any(|taint| taint.key == key)
    {
        let effect = "NoSelect".to_owned();
        taints.push(Taint { key: key.into(), value: String::new(), effect, time_added: Some(now) });
    }
    taints
}
