//! ReplicaSets keep a number of pods.

use crate::hash::suffix;
use crate::kind::Kind;
use crate::plan::{Plan, View};
use crate::pod;
use crate::read::{is_active, is_ready, labels, replicas, template};
use crate::status::{self, unless_zero};
use api::{Object, Timestamp};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Most pods that one plan makes or deletes: a slip of the pen in `replicas` must not make a million writes at once. The
/// next plan goes on.
pub(crate) const BURST: usize = 500;

pub(crate) fn plan(plan: &mut Plan, view: &impl View, set: &Object, now: Timestamp) {
    let pods = view.owned(Kind::Pod, set.uid());
    let active: Vec<_> = pods.iter().filter(|pod| is_active(pod)).collect();
    let wanted = usize::try_from(replicas(set)).unwrap_or(0);
    for name in new_names(set, &pods).take(wanted.saturating_sub(active.len()).min(BURST)) {
        plan.create(Kind::Pod, pod::from_template(Kind::ReplicaSet, set, &name, &template(set), now));
    }
    for pod in surplus(&active, wanted).into_iter().take(BURST) {
        plan.delete(Kind::Pod, pod);
    }
    if plan.creates() {
        return;
    }
    let template_labels = labels(set.pointer("/spec/template/metadata/labels"));
    let labelled = |pod: &&&Arc<Object>| template_labels.iter().all(|(key, value)| pod.label(key) == Some(value));
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let ready = count(active.iter().filter(|pod| is_ready(pod)).count());
    status::write(
        plan,
        Kind::ReplicaSet,
        set,
        json!({
            "replicas": count(active.len()),
            "fullyLabeledReplicas": unless_zero(count(active.iter().filter(labelled).count())),
            "readyReplicas": unless_zero(ready),
            "availableReplicas": unless_zero(ready),
            "observedGeneration": unless_zero(set.generation()),
        }),
    );
}

/// Names for new pods. They follow from the owner and a running number, so that a plan made twice, because its first pods
/// have not come back by the watch yet, asks for the same ones.
pub(crate) fn new_names<'a>(owner: &'a Object, pods: &[Arc<Object>]) -> impl Iterator<Item = String> + 'a {
    let taken: BTreeSet<String> = pods.iter().map(|pod| pod.name().to_owned()).collect();
    let names = (0..).map(|index| format!("{}-{}", owner.name(), suffix(owner.uid(), index)));
    names.filter(move |name| !taken.contains(name))
}

/// The pods that are too many: those that are not ready first, then the youngest.
fn surplus<'a>(active: &[&'a Arc<Object>], wanted: usize) -> Vec<&'a Arc<Object>> {
    let mut sorted = active.to_vec();
    sorted.sort_by_key(|pod| (is_ready(pod), std::cmp::Reverse(crate::read::created(pod))));
    sorted.truncate(active.len().saturating_sub(wanted));
    sorted
}
