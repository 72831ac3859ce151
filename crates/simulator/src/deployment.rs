//! Deployments keep one ReplicaSet per pod template, and let the newest win.

use crate::dial::Settings;
use crate::hash::template_hash;
use crate::kind::Kind;
use crate::plan::{Plan, View};
use crate::read::{self, number, replicas, status_number, template, text, truth};
use crate::status::{self, condition, unless_zero};
use api::{Object, ObjectName, Op, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

const REVISION: &str = "deployment.kubernetes.io/revision";
const HASH_LABEL: &str = "pod-template-hash";

/// How many old ReplicaSets are kept when `revisionHistoryLimit` is absent: the API's default.
const HISTORY: i64 = 10;

/// How many pods may be missing or too many.
#[derive(Debug, PartialEq, Eq)]
struct Room {
    unavailable: i64,
    surge: i64,
}

pub(crate) fn plan(plan: &mut Plan, view: &impl View, deployment: &Object, settings: Settings, now: Timestamp) {
    let wanted = replicas(deployment);
    let room = room(deployment, wanted);
    let hash = template_hash(&template(deployment));
    let sets = view.owned(Kind::ReplicaSet, deployment.uid());
    let (new, mut old): (Vec<_>, Vec<_>) = sets.iter().partition(|set| set.label(HASH_LABEL) == Some(&hash));
    let new = new.first().copied();
    let recreate = text(deployment, "/spec/strategy/type") == "Recreate";
    let paused = truth(deployment, "/spec/paused");
    let old_pods: i64 = old.iter().map(|set| status_number(set, "replicas")).sum();

    let newest = sets.iter().map(|set| revision(set)).max().unwrap_or(0);
    let current = match new {
        Some(new) if old.iter().any(|set| revision(set) >= revision(new)) && !paused => newest + 1,
        Some(new) => revision(new),
        None => newest + 1,
    };
    match new {
        None if paused || (recreate && old_pods > 0) => {}
        None => plan.create(Kind::ReplicaSet, replica_set(deployment, &hash, wanted, current, &room)),
        Some(new) => {
            scale(plan, new, wanted);
            annotate(plan, Kind::ReplicaSet, new, current);
        }
    }
    if (new.is_some() || !paused) && revision(deployment) != current && !(new.is_none() && paused) {
        annotate(plan, Kind::Deployment, deployment, current);
    }

    let available_new = new.map_or(0, |new| status_number(new, "availableReplicas"));
    let enough = new.is_some() && available_new >= wanted - room.unavailable;
    if !paused && (recreate || enough) {
        old.iter().for_each(|set| scale(plan, set, 0));
        let limit = usize::try_from(number(deployment, "/spec/revisionHistoryLimit").unwrap_or(HISTORY)).unwrap_or(0);
        old.retain(|set| replicas(set) == 0 && status_number(set, "replicas") == 0);
        old.sort_by_key(|set| std::cmp::Reverse(revision(set)));
        old.iter().skip(limit).for_each(|set| plan.delete(Kind::ReplicaSet, set));
    }
    if !plan.creates() {
        write_status(plan, deployment, &sets, new, settings, now);
    }
}

fn revision(object: &Object) -> i64 {
    object.annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn scale(plan: &mut Plan, set: &Object, wanted: i64) {
    if replicas(set) != wanted {
        plan.patch(Kind::ReplicaSet, set, json!({"spec": {"replicas": wanted}}));
    }
}

fn annotate(plan: &mut Plan, kind: Kind, object: &Object, wanted: i64) {
    if revision(object) != wanted {
        let patch = json!({"metadata": {"annotations": {REVISION: wanted.to_string()}}});
        match kind {
            // As a controller of a real cluster: a Deployment's generation counts annotations, but for those that come
            // with its status.
            Kind::Deployment => {
                plan.ops.push(Op::merge_patch(kind.resource(), object.object_name(), patch).on_status())
            }
            _ => plan.patch(kind, object, patch),
        }
    }
}

/// `maxUnavailable` (rounded down) and `maxSurge` (rounded up), a quarter each if absent. Not both can be zero.
fn room(deployment: &Object, wanted: i64) -> Room {
    if text(deployment, "/spec/strategy/type") == "Recreate" {
        return Room { unavailable: wanted, surge: 0 };
    }
    let share = |field: &str| {
        let value = deployment.pointer(&format!("/spec/strategy/rollingUpdate/{field}"));
        match value {
            Some(Value::Number(number)) => (number.as_i64().unwrap_or(0) * 100, false),
            Some(Value::String(percent)) => (percent.trim_end_matches('%').parse::<i64>().unwrap_or(0) * wanted, true),
            _ => (25 * wanted, true),
        }
    };
    let surge = (share("maxSurge").0 + 99) / 100;
    let unavailable = share("maxUnavailable").0 / 100;
    let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable.min(wanted) };
    Room { unavailable, surge }
}

fn replica_set(deployment: &Object, hash: &str, wanted: i64, revision: i64, room: &Room) -> Object {
    let name = ObjectName::namespaced(deployment.namespace(), format!("{}-{hash}", deployment.name()));
    let mut set = Object::new("apps/v1", "ReplicaSet", &name);
    let mut template = template(deployment);
    template["metadata"]["labels"][HASH_LABEL] = hash.into();
    for (key, value) in read::labels(template.pointer("/metadata/labels")) {
        set.set_label(&key, &value);
    }
    set.set_annotation(REVISION, &revision.to_string());
    set.set_annotation("deployment.kubernetes.io/desired-replicas", &wanted.to_string());
    set.set_annotation("deployment.kubernetes.io/max-replicas", &(wanted + room.surge).to_string());
    set.set_meta("ownerReferences", status::controller_of(Kind::Deployment, deployment));
    let mut selector = read::map(deployment.pointer("/spec/selector"));
    selector["matchLabels"] = read::map(selector.get("matchLabels"));
    selector["matchLabels"][HASH_LABEL] = hash.into();
    let mut spec = json!({"replicas": wanted, "selector": selector, "template": template});
    if let Some(seconds) = number(deployment, "/spec/minReadySeconds").filter(|seconds| *seconds != 0) {
        spec["minReadySeconds"] = seconds.into();
    }
    set.0.insert("spec".into(), spec);
    set
}

fn write_status(
    plan: &mut Plan,
    deployment: &Object,
    sets: &[Arc<Object>],
    new: Option<&Arc<Object>>,
    settings: Settings,
    now: Timestamp,
) {
    let wanted = replicas(deployment);
    let sum = |field: &str| sets.iter().map(|set| status_number(set, field)).sum::<i64>();
    let (total, ready, available) = (sum("replicas"), sum("readyReplicas"), sum("availableReplicas"));
    let updated = new.map_or(0, |new| status_number(new, "replicas"));
    let asked: i64 = sets.iter().map(|set| replicas(set)).sum();

    let enough = available >= wanted - room(deployment, wanted).unavailable;
    let mut conditions = vec![if enough {
        condition("Available", true, "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        condition("Available", false, "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    }];
    conditions.extend(progressing(deployment, new, (wanted, total, updated, available), settings));
    let wanted_status = json!({
        "observedGeneration": unless_zero(deployment.generation()),
        "replicas": unless_zero(total),
        "updatedReplicas": unless_zero(updated),
        "readyReplicas": unless_zero(ready),
        "availableReplicas": unless_zero(available),
        "unavailableReplicas": unless_zero((asked.max(total) - available).max(0)),
        "conditions": status::conditions(deployment, conditions, now, Some("lastUpdateTime")),
    });
    status::write(plan, Kind::Deployment, deployment, wanted_status);
}

/// The condition `Progressing`; none before there is anything to progress.
fn progressing(
    deployment: &Object,
    new: Option<&Arc<Object>>,
    (wanted, total, updated, available): (i64, i64, i64, i64),
    settings: Settings,
) -> Option<Value> {
    let held = read::condition(deployment, "Progressing");
    if truth(deployment, "/spec/paused") {
        let mut paused = condition("Progressing", true, "DeploymentPaused", "Deployment is paused");
        paused["status"] = "Unknown".into();
        return Some(paused);
    }
    let Some(new) = new else {
        return held.map(|held| {
            let text = |field: &str| held[field].as_str().unwrap_or("");
            condition("Progressing", held["status"] == "True", text("reason"), text("message"))
        });
    };
    let name = new.name();
    let complete = updated == wanted && total == wanted && available == wanted;
    // Once rolled out, a deployment stays so: what crashes or is scaled later shows in `Available` only.
    let rolled_out = total == updated
        && updated > 0
        && held.is_some_and(|held| {
            held["reason"] == "NewReplicaSetAvailable"
                && held["message"].as_str().is_some_and(|text| text.contains(name))
        });
    Some(if complete || rolled_out {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        condition("Progressing", true, "NewReplicaSetAvailable", &message)
    } else if settings.fail {
        // The real one waits `progressDeadlineSeconds`, ten minutes by default; nobody wants to wait for a simulation.
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        condition("Progressing", false, "ProgressDeadlineExceeded", &message)
    } else {
        let message = format!("ReplicaSet \"{name}\" is progressing.");
        condition("Progressing", true, "ReplicaSetUpdated", &message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_room(strategy: Value, wanted: i64, unavailable: i64, surge: i64) {
        let mut deployment = Object::default();
        deployment.0.insert("spec".into(), json!({"strategy": strategy}));
        assert_eq!(room(&deployment, wanted), Room { unavailable, surge });
    }

    #[test]
    fn room_to_move() {
        check_room(json!(null), 3, 0, 1);
        check_room(json!(null), 8, 2, 2);
        check_room(json!({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}), 3, 1, 0);
        check_room(json!({"rollingUpdate": {"maxUnavailable": "50%", "maxSurge": "10%"}}), 5, 2, 1);
        check_room(json!({"rollingUpdate": {"maxUnavailable": 9}}), 3, 3, 1);
        check_room(json!({"type": "Recreate"}), 3, 3, 0);
    }
}
