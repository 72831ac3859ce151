//! DaemonSets keep one pod on the one node, if they select it.

use crate::hash::template_hash;
use crate::kind::Kind;
use crate::node;
use crate::plan::{Plan, View};
use crate::pod;
use crate::read::{is_active, is_ready, labels, template, text};
use crate::replicaset::new_names;
use crate::status::{self, unless_zero};
use api::{Object, Timestamp};
use serde_json::json;

const REVISION_LABEL: &str = "controller-revision-hash";

pub(crate) fn plan(plan: &mut Plan, view: &impl View, set: &Object, now: Timestamp) {
    let revision = template_hash(&template(set));
    let pods = view.owned(Kind::Pod, set.uid());
    let wanted = i64::from(node::matches(&labels(set.pointer("/spec/template/spec/nodeSelector"))));
    let rolling = text(set, "/spec/updateStrategy/type") != "OnDelete";
    let fits = |pod: &Object| !rolling || pod.label(REVISION_LABEL) == Some(&revision);

    let (active, ended): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| is_active(pod));
    let keep = if wanted == 0 { None } else { active.iter().find(|pod| fits(pod)) };
    let goes = active.iter().filter(|pod| keep.is_none_or(|keep| keep.name() != pod.name()));
    goes.chain(&ended).filter(|pod| !pod.is_deleting()).for_each(|pod| plan.delete(Kind::Pod, pod));
    if wanted == 1
        && active.is_empty()
        && let Some(name) = new_names(set, &pods).next()
    {
        let mut pod = pod::from_template(Kind::DaemonSet, set, &name, &template(set), now);
        pod.set_label(REVISION_LABEL, &revision);
        return plan.create(Kind::Pod, pod);
    }

    let held = active.first();
    let scheduled = i64::from(held.is_some()).min(wanted);
    let ready = i64::from(held.is_some_and(|pod| is_ready(pod))).min(wanted);
    let updated = i64::from(held.is_some_and(|pod| pod.label(REVISION_LABEL) == Some(&revision))).min(wanted);
    status::write(
        plan,
        Kind::DaemonSet,
        set,
        json!({
            "observedGeneration": unless_zero(set.generation()),
            "currentNumberScheduled": scheduled,
            "desiredNumberScheduled": wanted,
            "numberMisscheduled": 0,
            "numberReady": ready,
            "updatedNumberScheduled": unless_zero(updated),
            "numberAvailable": unless_zero(ready),
            "numberUnavailable": unless_zero(wanted - ready),
        }),
    );
}
