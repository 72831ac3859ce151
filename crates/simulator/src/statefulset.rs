//! StatefulSets keep numbered pods with claims of their own, one after the other.

use crate::hash::template_hash;
use crate::kind::Kind;
use crate::plan::{Plan, View};
use crate::pod;
use crate::read::{is_active, is_ready, items, labels, number, replicas, template, text};
use crate::replicaset::BURST;
use crate::status::{self, unless_zero};
use api::{Object, ObjectName, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

const REVISION_LABEL: &str = "controller-revision-hash";

pub(crate) fn plan(plan: &mut Plan, view: &impl View, set: &Object, now: Timestamp) {
    let revision = format!("{}-{}", set.name(), template_hash(&template(set)));
    let pods = view.owned(Kind::Pod, set.uid());
    let start = number(set, "/spec/ordinals/start").unwrap_or(0);
    let end = start + replicas(set);
    let ordered = text(set, "/spec/podManagementPolicy") != "Parallel";
    let by_ordinal = |ordinal: i64| pods.iter().find(|pod| ordinal_of(set, pod) == Some(ordinal));

    let mut made = 0;
    for ordinal in start..end {
        match by_ordinal(ordinal) {
            Some(pod) if !is_active(pod) => plan.delete(Kind::Pod, pod), // made anew when it is gone
            Some(pod) if is_ready(pod) || !ordered => continue,
            Some(_) => break,
            None => {
                create(plan, view, set, ordinal, &revision, now);
                made += 1;
            }
        }
        if ordered || made >= BURST {
            break;
        }
    }
    let surplus = |pod: &&Arc<Object>| ordinal_of(set, pod).is_none_or(|ordinal| !(start..end).contains(&ordinal));
    let mut surplus: Vec<_> = pods.iter().filter(surplus).collect();
    surplus.sort_by_key(|pod| std::cmp::Reverse(ordinal_of(set, pod)));
    surplus.iter().take(if ordered { 1 } else { BURST }).for_each(|pod| plan.delete(Kind::Pod, pod));

    let all_ready = (start..end).all(|ordinal| by_ordinal(ordinal).is_some_and(|pod| is_ready(pod)));
    let stale = |pod: &&Arc<Object>| pod.label(REVISION_LABEL) != Some(&revision);
    if text(set, "/spec/updateStrategy/type") != "OnDelete" {
        let partition = number(set, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
        let mut old: Vec<_> = (partition.max(start)..end).filter_map(by_ordinal).filter(stale).collect();
        // The highest first, and the next when it is back; one that is not ready anyway need not wait for the others.
        old.sort_by_key(|pod| (is_ready(pod), std::cmp::Reverse(ordinal_of(set, pod))));
        let next = old.first().filter(|pod| all_ready || !is_ready(pod));
        next.into_iter().for_each(|pod| plan.delete(Kind::Pod, pod));
    }
    write_status(plan, set, &pods, &revision);
}

fn ordinal_of(set: &Object, pod: &Object) -> Option<i64> {
    pod.name().strip_prefix(set.name())?.strip_prefix('-')?.parse().ok()
}

fn create(plan: &mut Plan, view: &impl View, set: &Object, ordinal: i64, revision: &str, now: Timestamp) {
    let name = format!("{}-{ordinal}", set.name());
    let mut template = template(set);
    let mut volumes = Vec::new();
    for claim in items(set, "/spec/volumeClaimTemplates") {
        let volume = claim.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
        let claim_name = format!("{volume}-{name}");
        volumes.push(json!({"name": volume, "persistentVolumeClaim": {"claimName": claim_name}}));
        let place = ObjectName::namespaced(set.namespace(), claim_name);
        if view.get(Kind::Claim, &place).is_none() {
            plan.create(Kind::Claim, new_claim(set, claim, &place));
        }
    }
    if let Some(held) = template.pointer("/spec/volumes").and_then(Value::as_array) {
        let ours = |held: &Value| volumes.iter().any(|volume| volume["name"] == held["name"]);
        let others: Vec<_> = held.iter().filter(|held| !ours(held)).cloned().collect();
        volumes.extend(others);
    }
    if !volumes.is_empty() {
        template["spec"]["volumes"] = volumes.into();
    }
    template["spec"]["hostname"] = name.clone().into();
    let service = text(set, "/spec/serviceName");
    if !service.is_empty() {
        template["spec"]["subdomain"] = service.into();
    }
    let mut pod = pod::from_template(Kind::StatefulSet, set, &name, &template, now);
    pod.set_label(REVISION_LABEL, revision);
    pod.set_label("statefulset.kubernetes.io/pod-name", &name);
    pod.set_label("apps.kubernetes.io/pod-index", &ordinal.to_string());
    plan.create(Kind::Pod, pod);
}

/// Claims have no owner: they outlive the set, as the default retention policy wants it.
fn new_claim(set: &Object, template: &Value, place: &ObjectName) -> Object {
    let mut claim = Object::new("v1", "PersistentVolumeClaim", place);
    let selector = labels(set.pointer("/spec/selector/matchLabels"));
    for (key, value) in labels(template.pointer("/metadata/labels")).into_iter().chain(selector) {
        claim.set_label(&key, &value);
    }
    for (key, value) in labels(template.pointer("/metadata/annotations")) {
        claim.set_annotation(&key, &value);
    }
    claim.0.insert("spec".into(), template.get("spec").cloned().unwrap_or_default());
    claim
}

fn write_status(plan: &mut Plan, set: &Object, pods: &[Arc<Object>], revision: &str) {
    let count = |wanted: &dyn Fn(&Object) -> bool| {
        i64::try_from(pods.iter().filter(|pod| is_active(pod) && wanted(pod)).count()).unwrap_or(i64::MAX)
    };
    let of = |pod: &Object, revision: &str| pod.label(REVISION_LABEL) == Some(revision);
    let total = count(&|_| true);
    let ready = count(&is_ready);
    let updated = count(&|pod| of(pod, revision));
    // The current revision is the one before the update, until all are updated and ready.
    let held = text(set, "/status/currentRevision");
    let done = held.is_empty() || (updated == replicas(set) && ready == replicas(set) && total == updated);
    let current = if done { revision } else { held };
    status::write(
        plan,
        Kind::StatefulSet,
        set,
        json!({
            "observedGeneration": unless_zero(set.generation()),
            "replicas": total,
            "readyReplicas": unless_zero(ready),
            "availableReplicas": ready,
            "currentReplicas": unless_zero(count(&|pod| of(pod, current))),
            "updatedReplicas": unless_zero(updated),
            "currentRevision": current,
            "updateRevision": revision,
            "collisionCount": 0,
        }),
    );
}
