//! What a Binding and its policy say of themselves: conditions, and errors in sentences.

use crate::binding::{Index, ObjectId};
use api::control::PipelineStatus;
use api::{BindingName, ClusterName, Condition, ConditionStatus, Timestamp, set_condition};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Condition: what is asked has been carried out in every cluster.
const READY: &str = "Ready";
/// Condition: what is asked has been resolved and sent.
const SYNCED: &str = "Synced";
/// Condition: the StatusCollectors that are named exist.
const COLLECTORS: &str = "StatusCollectorsAvailable";

/// The most objects that a complaint about singleton status names, as in the original.
const COMPLAINT_OBJECTS: usize = 4;
/// The most clusters that are named in the errors of one Binding: a status is read by people.
pub(crate) const FAILED_CLUSTERS: usize = 10;

/// The most new sentences of one status that become Events: the status has them all.
const ANNOUNCED_ERRORS: usize = 5;
/// Reason of a condition: clusters have not reported yet.
const CREATING: &str = "Creating";

/// What is known of a Binding, beside its spec.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Facts {
    /// The generation of the Binding that everything below is about.
    pub generation: i64,
    /// What is wrong, in sentences for the user.
    pub wrong: Wrong,
    /// What the user should know although nothing went wrong, in sentences: they are among the errors, and no condition
    /// is worse for them.
    pub remarks: Vec<String>,
    /// Whether writes are still under way that nothing went wrong with so far.
    pub sending: bool,
    /// Works whose cluster has reported nothing yet.
    pub waiting: usize,
    /// How many works a cluster could not apply, and some of them.
    pub failed: (usize, Vec<(ClusterName, String)>),
    /// How many clusters are asked for.
    pub destinations: usize,
    /// StatusCollectors that are named and do not exist.
    pub missing_collectors: BTreeSet<String>,
}

/// What went wrong on the way, each in sentences for the user.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Wrong {
    /// In the policy.
    pub policy: Vec<String>,
    /// With objects.
    pub objects: Vec<String>,
    /// With destinations.
    pub destinations: Vec<String>,
    /// Objects that are as others ask.
    pub contests: Vec<String>,
}

impl Wrong {
    fn all(&self) -> impl Iterator<Item = &String> {
        self.policy.iter().chain(&self.objects).chain(&self.destinations).chain(&self.contests)
    }
}

/// The status of a Binding, or nothing if it says all this already.
pub fn binding_status(held: Option<&PipelineStatus>, facts: &Facts, now: Timestamp) -> Option<PipelineStatus> {
    let mut status = held.cloned().unwrap_or_default();
    status.observed_generation = facts.generation;
    let failed = facts.failed.1.iter().take(FAILED_CLUSTERS);
    let failed = failed.map(|(cluster, reason)| format!("Cluster {cluster} cannot apply {reason}"));
    status.errors = facts.wrong.all().cloned().chain(failed).chain(facts.remarks.iter().cloned()).collect();
    if let Some(condition) = synced(facts) {
        set_condition(&mut status.conditions, condition, now);
    }
    if let Some(condition) = ready(facts) {
        set_condition(&mut status.conditions, condition, now);
    }
    set_condition(&mut status.conditions, collectors(&facts.missing_collectors), now);
    (held != Some(&status)).then_some(status)
}

/// The status of a policy: that of its Binding, under the policy's generation, with the complaint about singleton
/// status first. Nothing if it says all this already.
pub fn policy_status(
    held: Option<&PipelineStatus>,
    generation: i64,
    binding: &PipelineStatus,
    complaint: Option<String>,
) -> Option<PipelineStatus> {
    let errors = complaint.into_iter().chain(binding.errors.iter().cloned()).collect();
    let status = PipelineStatus { conditions: binding.conditions.clone(), errors, observed_generation: generation };
    (held != Some(&status)).then_some(status)
}

/// What a policy lets its user hear when its status turns to another, as an Event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// Whether something is wrong.
    pub warning: bool,
    /// One word in CamelCase.
    pub reason: &'static str,
    /// A sentence.
    pub note: String,
}

/// What is announced of a policy whose status was `before` and is `now`: conditions that turned, and sentences that are
/// new. That something is on its way is not worth an Event.
pub fn announcements(before: Option<&PipelineStatus>, now: &PipelineStatus) -> Vec<Announcement> {
    let held = |condition: &Condition| {
        let before = before.into_iter().flat_map(|status| &status.conditions);
        before.filter(|held| held.type_ == condition.type_).any(|held| held.status == condition.status)
    };
    let turned = now.conditions.iter().filter(|condition| !held(condition)).filter_map(|condition| {
        let reason = match (condition.type_.as_str(), condition.is_true()) {
            (SYNCED, true) => "Synced",
            (READY, true) => "Ready",
            (SYNCED, false) => "NotSynced",
            (READY, false) if condition.reason != CREATING => "NotReady",
            (COLLECTORS, false) => "StatusCollectorsMissing",
            _ => return None,
        };
        Some(Announcement { warning: !condition.is_true(), reason, note: condition.message.clone() })
    });
    let mut told: Vec<Announcement> = turned.collect();
    let known = before.map_or(&[][..], |status| &status.errors);
    for error in now.errors.iter().filter(|error| !known.contains(error)).take(ANNOUNCED_ERRORS) {
        if !told.iter().any(|other| other.note == **error) {
            told.push(Announcement { warning: true, reason: "Problem", note: error.clone() });
        }
    }
    told
}

/// While writes are under way the condition stays as it was: it would only flicker.
fn synced(facts: &Facts) -> Option<Condition> {
    match facts.wrong.all().next() {
        Some(first) => Some(Condition::new(SYNCED, ConditionStatus::False, "ReconcileError", first.clone())),
        None if facts.sending => None,
        None => Some(Condition::new(SYNCED, ConditionStatus::True, "ReconcileSuccess", "Everything is sent")),
    }
}

fn ready(facts: &Facts) -> Option<Condition> {
    let condition = |status, reason, message: String| Some(Condition::new(READY, status, reason, message));
    let (count, some) = &facts.failed;
    if let Some((cluster, reason)) = some.first() {
        let more = if *count > 1 {
            format!(" (one of {count} ManifestWorks that could not be applied)")
        } else {
            String::new()
        };
        let message = format!("Cluster {cluster} cannot apply {reason}{more}");
        return condition(ConditionStatus::False, "Unavailable", message);
    }
    if facts.sending {
        return None;
    }
    if facts.waiting > 0 {
        return condition(ConditionStatus::False, CREATING, "Not every cluster has applied its part yet".into());
    }
    if facts.wrong.all().next().is_some() {
        return condition(ConditionStatus::False, "Unavailable", "Something could not be sent; see the errors".into());
    }
    let message = if facts.destinations == 0 { "No cluster is selected" } else { "Every cluster has applied its part" };
    condition(ConditionStatus::True, "Available", message.into())
}

fn collectors(missing: &BTreeSet<String>) -> Condition {
    if missing.is_empty() {
        let message = "All StatusCollector(s) are available";
        return Condition::new(COLLECTORS, ConditionStatus::True, "ReconcileSuccess", message);
    }
    let names = missing.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    Condition::new(
        COLLECTORS,
        ConditionStatus::False,
        "ReconcileError",
        format!("Missing StatusCollector(s) [{names}]"),
    )
}

/// Says which objects of a policy cannot show a singleton status, since not exactly one cluster is asked for theirs.
pub fn complaint(index: &Index, policy: &BindingName) -> Option<String> {
    let wrong = |id: &Arc<ObjectId>| {
        let requests = index.requests(id);
        let asking = requests.iter().filter(|request| request.modulation.want_singleton_reported_state);
        let clusters: BTreeSet<_> = asking.flat_map(|request| request.destinations).collect();
        let aggregated = requests.iter().any(|request| request.modulation.want_multi_wec_reported_state);
        (clusters.len() != 1 && !aggregated).then_some(clusters.len())
    };
    let objects = index.objects_of(policy).filter(|(_, modulation)| modulation.want_singleton_reported_state);
    let wrong = objects.filter_map(|(id, _)| wrong(id).map(|count| (id, count))).take(COMPLAINT_OBJECTS);
    let examples: Vec<_> = wrong
        .map(|(id, count)| {
            let (version, kind) = index.kind(&id.resource).map(|kind| (kind.version, kind.kind)).unwrap_or_default();
            let gvk = json!({"Group": id.resource.group, "Version": version, "Kind": kind});
            let name = json!({"Namespace": id.name.namespace, "Name": id.name.name});
            let object = json!({"GVK": gvk, "Resource": id.resource.resource, "ObjectName": name});
            json!({"ObjectID": object, "NumWECs": count})
        })
        .collect();
    let said =
        "Singleton reported status return is requested but some objects have the wrong number of associated WECs";
    (!examples.is_empty()).then(|| format!("{said}, for example: {}", json!(examples)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(held: &mut Option<PipelineStatus>, facts: &Facts, at: i64, expected: &str) {
        if let Some(status) = binding_status(held.as_ref(), facts, Timestamp::from_seconds(at)) {
            *held = Some(status);
        }
        let status = held.as_ref().unwrap();
        let told = status.conditions.iter().map(|c| {
            let since = c.last_transition_time.unwrap().seconds();
            format!("{}={:?}@{since}", c.type_, c.status)
        });
        assert_eq!(told.collect::<Vec<_>>().join(" "), expected);
        let again = binding_status(held.as_ref(), facts, Timestamp::from_seconds(at + 1));
        assert_eq!(again, None, "a status that was written is not written again");
    }

    #[test]
    fn conditions_tell_how_far_it_is() {
        let mut held = None;
        let facts = Facts { generation: 1, destinations: 2, ..Facts::default() };
        let sending = Facts { sending: true, ..facts.clone() };
        check(&mut held, &sending, 1, "StatusCollectorsAvailable=True@1");
        let waiting = Facts { waiting: 2, ..facts.clone() };
        check(&mut held, &waiting, 2, "StatusCollectorsAvailable=True@1 Synced=True@2 Ready=False@2");
        check(&mut held, &facts, 3, "StatusCollectorsAvailable=True@1 Synced=True@2 Ready=True@3");
        // The next edit does not flicker.
        check(&mut held, &sending, 4, "StatusCollectorsAvailable=True@1 Synced=True@2 Ready=True@3");
        let failed = Facts { failed: (2, vec![("c1".into(), "Secret n/s: forbidden".into())]), ..facts.clone() };
        check(&mut held, &failed, 5, "StatusCollectorsAvailable=True@1 Synced=True@2 Ready=False@5");
        assert_eq!(held.as_ref().unwrap().errors, ["Cluster c1 cannot apply Secret n/s: forbidden"]);
        let wrong = Wrong { policy: vec!["a selector is wrong".into()], ..Wrong::default() };
        let wrong = Facts { wrong, missing_collectors: ["x".into()].into(), ..facts };
        check(&mut held, &wrong, 6, "StatusCollectorsAvailable=False@6 Synced=False@6 Ready=False@5");
    }

    #[test]
    fn what_turns_is_announced() {
        let mut held = None;
        let mut turn = |facts: &Facts, expected: &[&str]| {
            let now = binding_status(held.as_ref(), facts, Timestamp::from_seconds(1)).unwrap();
            let told = announcements(held.as_ref(), &now);
            let told: Vec<_> =
                told.iter().map(|a| format!("{}{}", if a.warning { "!" } else { "" }, a.reason)).collect();
            assert_eq!(told, expected);
            assert_eq!(announcements(Some(&now), &now), []);
            held = Some(now);
        };
        let facts = Facts { generation: 1, destinations: 1, ..Facts::default() };
        turn(&Facts { waiting: 1, ..facts.clone() }, &["Synced"]);
        turn(&facts, &["Ready"]);
        turn(&Facts { remarks: vec!["everything is selected".into()], ..facts.clone() }, &["!Problem"]);
        let wrong = Wrong { policy: vec!["a selector is wrong".into()], ..Wrong::default() };
        turn(&Facts { wrong, ..facts.clone() }, &["!NotSynced", "!NotReady"]);
        let failed = (1, vec![("c1".into(), "Secret n/s: forbidden".into())]);
        turn(&Facts { failed, ..facts }, &["Synced", "!Problem"]);
    }

    #[test]
    fn a_policy_says_what_its_binding_says() {
        let binding = PipelineStatus { errors: vec!["e".into()], observed_generation: 9, ..PipelineStatus::default() };
        let status = policy_status(None, 2, &binding, Some("complaint".into())).unwrap();
        assert_eq!((status.observed_generation, status.errors.join(" ")), (2, "complaint e".into()));
        assert_eq!(policy_status(Some(&status), 2, &binding, Some("complaint".into())), None);
    }
}
