//! What an agent reports of a work: a condition per manifest, and what they sum up to. Reasons and messages are OCM's.

use crate::feedback::Feedback;
use api::cluster::AppliedResource;
use api::work::{ManifestCondition, ManifestResourceMeta, ManifestResourceStatus, ManifestWorkStatus};
use api::{Condition, ConditionStatus, ObjectName, Resource, Timestamp, set_condition};

/// What became of one manifest.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// Its place in the work.
    pub ordinal: usize,
    /// Its resource; `None` when the cluster serves no such kind.
    pub resource: Option<Resource>,
    /// Kind and version as the manifest says them, for when there is no resource.
    pub kind: api::GroupVersionKind,
    /// Its name.
    pub name: ObjectName,
    /// Why it could not be applied, if so.
    pub failure: Option<String>,
    /// The uid of the live object, if there is one.
    pub uid: Option<String>,
    /// What the work asks to see of it, where it asks and the object has been seen.
    pub feedback: Option<Feedback>,
}

/// The next status of a work, and what is known to be in the cluster.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// The whole next status.
    pub status: ManifestWorkStatus,
    /// Whether it says anything new.
    pub changed: bool,
}

/// Sums up the outcomes of a work at a generation. Times change only where truths do.
pub fn report(held: &ManifestWorkStatus, outcomes: &[Outcome], generation: i64, now: Timestamp) -> Report {
    let mut status = held.clone();
    status.resource_status =
        ManifestResourceStatus { manifests: outcomes.iter().map(|outcome| manifest(held, outcome, now)).collect() };
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.failure.is_some()).collect();
    let applied = if failed.is_empty() {
        Condition::new("Applied", ConditionStatus::True, "AppliedManifestWorkComplete", "Apply manifest work complete")
    } else {
        let message = format!("Failed to apply {} of {} manifests", failed.len(), outcomes.len());
        Condition::new("Applied", ConditionStatus::False, "AppliedManifestWorkFailed", message)
    };
    let missing = outcomes.iter().filter(|outcome| outcome.uid.is_none()).count();
    let available = if missing == 0 {
        Condition::new("Available", ConditionStatus::True, "ResourcesAvailable", "All resources are available")
    } else {
        let message = format!("{missing} of {} resources are not available", outcomes.len());
        Condition::new("Available", ConditionStatus::False, "ResourcesNotAvailable", message)
    };
    set_condition(&mut status.conditions, applied.observed(generation), now);
    set_condition(&mut status.conditions, available.observed(generation), now);
    let changed = status != *held;
    Report { status, changed }
}

fn manifest(held: &ManifestWorkStatus, outcome: &Outcome, now: Timestamp) -> ManifestCondition {
    let meta = ManifestResourceMeta {
        ordinal: i64::try_from(outcome.ordinal).unwrap_or(i64::MAX),
        group: outcome.kind.group.clone(),
        version: outcome.kind.version.clone(),
        kind: outcome.kind.kind.clone(),
        resource: outcome.resource.as_ref().map(|resource| resource.plural.to_string()).unwrap_or_default(),
        name: outcome.name.name.clone(),
        namespace: outcome.name.namespace.clone(),
    };
    let before = held.resource_status.manifests.iter().find(|other| other.resource_meta == meta);
    let mut conditions = before.map(|other| other.conditions.clone()).unwrap_or_default();
    let applied = match &outcome.failure {
        None => Condition::new("Applied", ConditionStatus::True, "AppliedManifestComplete", "Apply manifest complete"),
        Some(why) => Condition::new(
            "Applied",
            ConditionStatus::False,
            "AppliedManifestFailed",
            format!("Failed to apply manifest: {why}"),
        ),
    };
    let available = match &outcome.uid {
        Some(_) => Condition::new("Available", ConditionStatus::True, "ResourceAvailable", "Resource is available"),
        None => {
            Condition::new("Available", ConditionStatus::False, "ResourceNotAvailable", "Resource is not available")
        }
    };
    let mut status_feedback = before.map(|other| other.status_feedback.clone()).unwrap_or_default();
    let told = before.is_some_and(|other| !other.status_feedback.is_empty());
    let feedback = match &outcome.feedback {
        Some(feedback) if feedback.problems.is_empty() => {
            Some((ConditionStatus::True, "StatusFeedbackSynced", String::new()))
        }
        Some(feedback) => Some((ConditionStatus::False, "StatusFeedbackSyncFailed", feedback.problems.join("; "))),
        // What was seen before stands until the object is seen again.
        None if told => None,
        None => Some((ConditionStatus::True, "NoStatusFeedbackSynced", String::new())),
    };
    if let Some(feedback) = &outcome.feedback {
        status_feedback.values.clone_from(&feedback.values);
    }
    set_condition(&mut conditions, applied, now);
    set_condition(&mut conditions, available, now);
    if let Some((status, reason, message)) = feedback {
        set_condition(&mut conditions, Condition::new("StatusFeedbackSynced", status, reason, message), now);
    }
    ManifestCondition { resource_meta: meta, conditions, status_feedback }
}

/// What a work has put into the cluster, in OCM's order.
pub fn applied_resources(outcomes: &[Outcome]) -> Vec<AppliedResource> {
    let mut applied: Vec<AppliedResource> = outcomes
        .iter()
        .filter_map(|outcome| {
            let resource = outcome.resource.as_ref()?;
            Some(AppliedResource {
                group: resource.group.to_string(),
                version: resource.version.to_string(),
                resource: resource.plural.to_string(),
                namespace: outcome.name.namespace.clone(),
                name: outcome.name.name.clone(),
                uid: outcome.uid.clone()?,
            })
        })
        .collect();
    applied.sort();
    applied.dedup();
    applied
}
