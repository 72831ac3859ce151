//! The removal budget of a policy: a change that would take more objects or clusters out of its Binding than the budget
//! allows is held back until somebody confirms exactly this removal. What is added and edited meanwhile goes on.
//!
//! It is asked by an annotation, which a CustomResourceDefinition of any origin keeps, and is off without it.

use crate::digest::Digester;
use api::control::{Binding, BindingPolicy, BindingSpec, Destination, ObjectReference};
use std::collections::BTreeSet;

/// On a policy: the most that one change may take away without being confirmed, as in `objects=10,clusters=1`. What is not
/// named has no limit.
pub const BUDGET_ANNOTATION: &str = "control.kubestellar.io/removal-budget";
/// On a policy: the token of the removal that is confirmed. It is taken away once it has been used.
pub const CONFIRM_ANNOTATION: &str = "control.kubestellar.io/confirm-removal";
/// On a Binding: the token of a removal that is held back.
pub const HELD_BACK_ANNOTATION: &str = "control.kubestellar.io/held-back";

/// The most objects and clusters that a sentence names.
const NAMED: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Budget {
    objects: Option<usize>,
    clusters: Option<usize>,
}

impl Budget {
    /// Reads the annotation. One that cannot be read allows nothing to be removed: it was meant to protect.
    fn of(policy: &BindingPolicy) -> Option<Result<Self, String>> {
        let text = policy.metadata.annotations.get(BUDGET_ANNOTATION)?;
        let mut budget = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (what, number) = part.split_once('=').unwrap_or((part, ""));
            let Ok(number) = number.trim().parse::<usize>() else {
                return Some(Err(format!("{part:?} has no number, as in `objects=10`")));
            };
            match what.trim() {
                "objects" => budget.objects = Some(number),
                "clusters" => budget.clusters = Some(number),
                other => return Some(Err(format!("{other:?} is neither `objects` nor `clusters`"))),
            }
        }
        Some(Ok(budget))
    }
}

/// What stays in a Binding until its removal is confirmed.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct HeldBack {
    pub objects: Vec<ObjectReference>,
    pub clusters: Vec<Destination>,
    /// Stands for exactly these objects and clusters.
    pub token: String,
    /// What the user hears.
    pub message: String,
}

/// What of the change from what a Binding holds to what it should hold has to wait for a confirmation.
pub(super) fn held_back(policy: &BindingPolicy, wanted: &BindingSpec, held: &Binding) -> Option<HeldBack> {
    let budget = Budget::of(policy)?;
    type Which<'a> = (&'a str, &'a str, &'a str, &'a str);
    fn which(reference: &ObjectReference) -> Which<'_> {
        (&reference.group, &reference.resource, &reference.namespace, &reference.name)
    }
    let objects: BTreeSet<Which<'_>> = wanted.workload.iter().map(which).collect();
    let objects: Vec<&ObjectReference> =
        held.spec.workload.iter().filter(|reference| !objects.contains(&which(reference))).collect();
    let clusters: BTreeSet<&Destination> = wanted.destinations.iter().collect();
    let clusters: Vec<&Destination> = held.spec.destinations.iter().filter(|to| !clusters.contains(to)).collect();
    if objects.is_empty() && clusters.is_empty() {
        return None;
    }
    let over = |count: usize, most: Option<usize>| most.is_some_and(|most| count > most);
    let why = match budget {
        Ok(budget) if over(objects.len(), budget.objects) || over(clusters.len(), budget.clusters) => {
            "which is more than the removal budget of this policy allows".to_owned()
        }
        Ok(_) => return None,
        Err(problem) => format!("and annotation {BUDGET_ANNOTATION} cannot be read ({problem})"),
    };
    let mut digester = Digester::default();
    digester.add(&held.metadata.uid);
    let mut named: Vec<Which<'_>> = objects.iter().map(|reference| which(reference)).collect();
    named.sort_unstable();
    for (group, resource, namespace, name) in named {
        [group, resource, namespace, name].iter().for_each(|part| digester.add(part));
    }
    digester.add("clusters");
    let mut names: Vec<&str> = clusters.iter().map(|to| to.cluster_id.as_str()).collect();
    names.sort_unstable();
    names.iter().for_each(|name| digester.add(name));
    let token = digester.finish().short();
    if policy.metadata.annotations.get(CONFIRM_ANNOTATION) == Some(&token) {
        return None;
    }
    let message = format!(
        "Nothing is removed: {} and {} would be, {why}. To have them removed, set annotation {CONFIRM_ANNOTATION}={token} \
         on the BindingPolicy",
        counted(
            "object",
            objects.iter().map(|reference| format!("{} {}", reference.resource, reference.object_name()))
        ),
        counted("cluster", clusters.iter().map(|to| to.cluster_id.clone())),
    );
    let objects = objects.into_iter().cloned().collect();
    Some(HeldBack { objects, clusters: clusters.into_iter().cloned().collect(), token, message })
}

fn counted(what: &str, names: impl ExactSizeIterator<Item = String>) -> String {
    let count = names.len();
    let plural = if count == 1 { "" } else { "s" };
    let some: Vec<String> = names.take(NAMED).collect();
    let more = if count > NAMED { ", ..." } else { "" };
    if some.is_empty() {
        return format!("no {what}");
    }
    format!("{count} {what}{plural} ({}{more})", some.join(", "))
}

/// The budget of a policy, in a sentence, if it cannot be read.
pub(super) fn problem(policy: &BindingPolicy) -> Option<String> {
    let problem = Budget::of(policy)?.err()?;
    Some(format!("Annotation {BUDGET_ANNOTATION} cannot be read, so nothing is removed: {problem}"))
}
