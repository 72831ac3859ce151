//! What is to be written to make the Binding hold what its policy resolves to.

use super::budget::{BUDGET_ANNOTATION, CONFIRM_ANNOTATION, HELD_BACK_ANNOTATION, HeldBack, held_back, problem};
use super::object::ObjectId;
use crate::digest::{Digest, Digester};
use api::control::{
    API_VERSION, BINDING_FINALIZER, BINDING_POLICIES, BINDINGS, Binding, BindingPolicy, BindingSpec, Destination,
    Modulation, ObjectReference, POLICY_FINALIZER, Workload,
};
use api::{BindingName, ClusterName, GroupResource, Object, ObjectMeta, ObjectName, OwnerReference};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// On a Binding: digest of the contents that its resourceVersions stand for. With it, a start knows that a Binding is
/// up to date although statuses have moved the resourceVersions of its objects since it was written.
pub const CONTENT_ANNOTATION: &str = "control.kubestellar.io/content";

/// One selected object.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Selected {
    pub id: Arc<ObjectId>,
    pub version: String,
    pub content: Digest,
    pub content_version: String,
    pub modulation: Modulation,
}

/// What a policy resolves to.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolution {
    policy_uid: String,
    objects: Vec<Selected>,
    destinations: BTreeSet<ClusterName>,
    incomplete: BTreeSet<GroupResource>,
    /// What is wrong in the policy, in sentences for the user.
    pub problems: Vec<String>,
}

impl Resolution {
    pub(super) fn new(
        policy_uid: String,
        mut objects: Vec<Selected>,
        destinations: BTreeSet<ClusterName>,
        problems: Vec<String>,
        incomplete: BTreeSet<GroupResource>,
    ) -> Self {
        objects.sort_by_cached_key(|o| {
            order(&o.id.resource.group, &o.version, &o.id.resource.resource, &o.id.name.to_string())
        });
        Self { policy_uid, objects, destinations, incomplete, problems }
    }

    /// The clusters that the policy selects.
    pub fn destinations(&self) -> &BTreeSet<ClusterName> {
        &self.destinations
    }

    /// Objects of resources that are not completely known yet stay in the Binding as they are there.
    fn kept<'a>(&'a self, held: Option<&'a Binding>) -> impl Iterator<Item = &'a ObjectReference> {
        let held = held.into_iter().flat_map(|held| held.spec.workload.iter());
        let unknown = held.filter(|reference| {
            let resource = GroupResource { group: reference.group.clone(), resource: reference.resource.clone() };
            self.incomplete.contains(&resource)
        });
        unknown.filter(|reference| {
            let name = reference.object_name();
            let same = |o: &Selected| {
                o.id.name == name
                    && o.id.resource.resource == reference.resource
                    && o.id.resource.group == reference.group
            };
            !self.objects.iter().any(same)
        })
    }

    /// The Binding's spec, and the digest of the contents that it stands for.
    fn spec(&self, held: Option<&Binding>) -> (BindingSpec, Digest) {
        let mut digester = Digester::default();
        let mut workload = Workload::default();
        for object in &self.objects {
            digester.add(object.id.to_string());
            digester.add(object.content.to_string());
            let reference = ObjectReference {
                group: object.id.resource.group.clone(),
                version: object.version.clone(),
                resource: object.id.resource.resource.clone(),
                namespace: object.id.name.namespace.clone(),
                name: object.id.name.name.clone(),
                resource_version: object.content_version.clone(),
                modulation: object.modulation.clone(),
            };
            scope_of(&mut workload, &reference).push(reference);
        }
        let mut kept = 0;
        for reference in self.kept(held) {
            kept += 1;
            scope_of(&mut workload, reference).push(reference.clone());
        }
        if kept > 0 {
            sort(&mut workload);
        }
        let destinations = self.destinations.iter().map(|cluster| Destination { cluster_id: cluster.to_string() });
        (BindingSpec { workload, destinations: destinations.collect() }, digester.finish())
    }
}

fn sort(workload: &mut Workload) {
    let place = |r: &ObjectReference| order(&r.group, &r.version, &r.resource, &r.object_name().to_string());
    workload.cluster_scope.sort_by_cached_key(place);
    workload.namespace_scope.sort_by_cached_key(place);
}

/// With what is not removed yet.
fn holding(mut spec: BindingSpec, back: &HeldBack) -> BindingSpec {
    for reference in &back.objects {
        scope_of(&mut spec.workload, reference).push(reference.clone());
    }
    sort(&mut spec.workload);
    spec.destinations.extend(back.clusters.iter().cloned());
    spec.destinations.sort();
    spec
}

/// What a policy waits for before it removes more than its budget allows, or why its budget cannot be read, in sentences
/// for the user. `resolve` is asked only if there is a budget.
pub fn waiting(
    policy: &BindingPolicy,
    resolve: impl FnOnce() -> Option<Resolution>,
    held: Option<&Binding>,
) -> Vec<String> {
    if !policy.metadata.annotations.contains_key(BUDGET_ANNOTATION) {
        return Vec::new();
    }
    let back = held.and_then(|held| {
        let wanted = resolve().map_or_else(BindingSpec::default, |resolution| resolution.spec(Some(held)).0);
        held_back(policy, &wanted, held)
    });
    match back {
        Some(back) => vec![back.message],
        None => problem(policy).into_iter().collect(),
    }
}

fn scope_of<'a>(workload: &'a mut Workload, reference: &ObjectReference) -> &'a mut Vec<ObjectReference> {
    if reference.namespace.is_empty() { &mut workload.cluster_scope } else { &mut workload.namespace_scope }
}

/// The order of references in a Binding: that of the texts `group/version, Resource=resource` and `namespace/name`.
fn order(group: &str, version: &str, resource: &str, name: &str) -> (String, String) {
    (format!("{group}/{version}, Resource={resource}"), name.to_owned())
}

/// One write to the WDS.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    /// Create the Binding.
    Create(Box<Binding>),
    /// Merge this into the Binding.
    Update {
        /// The Binding.
        binding: BindingName,
        /// A JSON merge patch.
        patch: Value,
    },
    /// Delete the Binding, if it still is this one.
    Delete {
        /// The Binding.
        binding: BindingName,
        /// Its uid.
        uid: String,
    },
    /// Take the confirmation of a removal from the policy: it has been used.
    Confirmed {
        /// The policy.
        policy: BindingName,
        /// The resourceVersion at which this was decided.
        resource_version: String,
    },
    /// Set the finalizers of the policy, if it is still at this version.
    PolicyFinalizers {
        /// The policy.
        policy: BindingName,
        /// All finalizers that it is to have.
        finalizers: Vec<String>,
        /// The resourceVersion at which this was decided.
        resource_version: String,
    },
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(binding) => write!(f, "create binding {}", binding.metadata.name),
            Self::Update { binding, .. } => write!(f, "update binding {binding}"),
            Self::Delete { binding, .. } => write!(f, "delete binding {binding}"),
            Self::Confirmed { policy, .. } => write!(f, "take the confirmation from policy {policy}"),
            Self::PolicyFinalizers { policy, finalizers, .. } => {
                write!(f, "set finalizers of policy {policy} to [{}]", finalizers.join(" "))
            }
        }
    }
}

impl From<&Op> for api::Op {
    fn from(op: &Op) -> Self {
        let place = |name: &BindingName| ObjectName::cluster(name.as_str());
        match op {
            Op::Create(binding) => Self::create(BINDINGS, Object::from_typed(binding)),
            Op::Update { binding, patch } => Self::merge_patch(BINDINGS, place(binding), patch.clone()),
            Op::Delete { binding, uid } => Self::delete_only(BINDINGS, place(binding), uid),
            Op::Confirmed { policy, resource_version } => {
                let annotations = json!({CONFIRM_ANNOTATION: null});
                let metadata = json!({"annotations": annotations, "resourceVersion": resource_version});
                Self::merge_patch(BINDING_POLICIES, place(policy), json!({"metadata": metadata}))
            }
            Op::PolicyFinalizers { policy, finalizers, resource_version } => {
                let metadata = json!({"finalizers": finalizers, "resourceVersion": resource_version});
                Self::merge_patch(BINDING_POLICIES, place(policy), json!({"metadata": metadata}))
            }
        }
    }
}

/// Plans for one policy and its Binding. A policy holds our finalizer before its Binding exists, and gives it back when
/// the Binding is gone. A Binding without a policy is the user's own and is left alone.
pub fn plan(policy: Option<&BindingPolicy>, resolution: Option<&Resolution>, held: Option<&Binding>) -> Vec<Op> {
    let Some(policy) = policy else { return Vec::new() };
    let name = BindingName::from(policy.metadata.name.as_str());
    let finalizers = |finalizers: Vec<String>| Op::PolicyFinalizers {
        policy: name.clone(),
        finalizers,
        resource_version: policy.metadata.resource_version.clone(),
    };
    let has_finalizer = policy.metadata.has_finalizer(POLICY_FINALIZER);
    let ours = held.filter(|held| held.metadata.owner_references.iter().any(|owner| owner.uid == policy.metadata.uid));
    if policy.metadata.is_deleting() {
        return match ours {
            _ if !has_finalizer => Vec::new(),
            Some(held) if held.metadata.is_deleting() => Vec::new(),
            Some(held) if held_back(policy, &BindingSpec::default(), held).is_some() => Vec::new(),
            Some(held) => vec![Op::Delete { binding: name, uid: held.metadata.uid.clone() }],
            None => {
                let rest = policy.metadata.finalizers.iter().filter(|held| *held != POLICY_FINALIZER);
                vec![finalizers(rest.cloned().collect())]
            }
        };
    }
    let Some(resolution) = resolution else { return Vec::new() };
    let mut ops = Vec::new();
    let hold = || finalizers(policy.metadata.finalizers.iter().cloned().chain([POLICY_FINALIZER.into()]).collect());
    let owner = OwnerReference {
        api_version: API_VERSION.into(),
        kind: "BindingPolicy".into(),
        name: name.to_string(),
        uid: resolution.policy_uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(false),
    };
    let (mut spec, content) = resolution.spec(held);
    let content = content.to_string();
    let back = held.and_then(|held| held_back(policy, &spec, held));
    if let Some(back) = &back {
        spec = holding(spec, back);
    }
    match held {
        None => {
            ops.extend((!has_finalizer).then(hold));
            let metadata = ObjectMeta {
                name: name.to_string(),
                annotations: [(CONTENT_ANNOTATION.to_owned(), content)].into(),
                owner_references: vec![owner],
                // The transport's: what it would write first anyway.
                finalizers: vec![BINDING_FINALIZER.into()],
                ..ObjectMeta::default()
            };
            let binding =
                Binding { api_version: API_VERSION.into(), kind: "Binding".into(), metadata, spec, status: None };
            ops.push(Op::Create(Box::new(binding)));
        }
        // It is replaced once it is gone.
        Some(held) if held.metadata.is_deleting() => {}
        Some(held) => {
            let token = back.as_ref().map(|back| &back.token);
            let same = ours.is_some()
                && held.metadata.annotations.get(HELD_BACK_ANNOTATION) == token
                && held.metadata.annotations.get(CONTENT_ANNOTATION) == Some(&content)
                && without_versions(&held.spec) == without_versions(&spec);
            if !same {
                let spec = complete_spec(&spec);
                let mut annotations = json!({CONTENT_ANNOTATION: content});
                if token.is_some() || held.metadata.annotations.contains_key(HELD_BACK_ANNOTATION) {
                    annotations[HELD_BACK_ANNOTATION] = json!(token);
                }
                let metadata = json!({"annotations": annotations, "ownerReferences": [owner]});
                ops.push(Op::Update { binding: name.clone(), patch: json!({"metadata": metadata, "spec": spec}) });
            } else if token.is_none() && policy.metadata.annotations.contains_key(CONFIRM_ANNOTATION) {
                let resource_version = policy.metadata.resource_version.clone();
                ops.push(Op::Confirmed { policy: name.clone(), resource_version });
            }
        }
    }
    if held.is_some() {
        // Nothing waits for it, not even if somebody else writes the policy at the same time.
        ops.extend((!has_finalizer).then(hold));
    }
    ops
}

/// All that is not a resourceVersion: contents are compared by digest, since a version moves with the status too.
fn without_versions(spec: &BindingSpec) -> BindingSpec {
    let mut spec = spec.clone();
    let workload = &mut spec.workload;
    for reference in workload.cluster_scope.iter_mut().chain(&mut workload.namespace_scope) {
        reference.resource_version.clear();
    }
    spec
}

/// With its empty lists, so that a merge empties them.
fn complete_spec(spec: &BindingSpec) -> Value {
    json!({
        "workload": {"clusterScope": spec.workload.cluster_scope, "namespaceScope": spec.workload.namespace_scope},
        "destinations": spec.destinations,
    })
}
