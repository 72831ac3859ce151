//! What to write to one mailbox so that it holds what a Binding asks of it.

use super::bundle::Bundle;
use super::held::HeldWork;
use api::control::{BINDING_FINALIZER, BINDINGS, Binding};
use api::work::{BINDING_GENERATION_ANNOTATION, CONTENT_ANNOTATION, GROUP, MANIFEST_WORKS, MEMBERS_ANNOTATION};
use api::{BindingName, ClusterName, Object, ObjectName};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// What a Binding asks of one mailbox.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Demand<'a> {
    /// Exactly these works, and those named in `keep` as they are.
    Deliver {
        /// Works that are to be there with this content.
        works: &'a [Arc<Bundle>],
        /// Works that stay whatever they hold.
        keep: &'a BTreeSet<String>,
    },
    /// None.
    Withdraw,
}

/// One write to a mailbox.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    /// Create the work.
    Create {
        /// The mailbox.
        cluster: ClusterName,
        /// What it holds.
        bundle: Arc<Bundle>,
    },
    /// Give the work this content.
    Update {
        /// The mailbox.
        cluster: ClusterName,
        /// What it holds.
        bundle: Arc<Bundle>,
        /// The generation that it has, once written.
        generation: i64,
    },
    /// Delete the work, if it still is this one.
    Delete {
        /// Mailbox and name.
        work: ObjectName,
        /// Its uid.
        uid: String,
    },
}

impl Op {
    /// The work that is written.
    pub fn work(&self) -> ObjectName {
        match self {
            Self::Create { cluster, bundle } | Self::Update { cluster, bundle, .. } => {
                ObjectName::namespaced(cluster.as_str(), bundle.name.clone())
            }
            Self::Delete { work, .. } => work.clone(),
        }
    }

    /// The body of the request: a new object for a create, a merge patch for an update, nothing for a delete.
    pub fn body(&self) -> Value {
        match self {
            Self::Create { cluster, bundle } => {
                let mut metadata = metadata(bundle, FIRST_GENERATION);
                metadata.insert("name".into(), bundle.name.clone().into());
                metadata.insert("namespace".into(), cluster.as_str().into());
                let api_version = format!("{GROUP}/v1");
                json!({"apiVersion": api_version, "kind": "ManifestWork", "metadata": metadata, "spec": bundle.spec()})
            }
            Self::Update { bundle, generation, .. } => {
                let mut spec = bundle.spec();
                if spec.get("deleteOption").is_none() {
                    // A merge takes it away; where there is none, it changes nothing.
                    spec["deleteOption"] = Value::Null;
                }
                json!({"metadata": metadata(bundle, *generation), "spec": spec})
            }
            Self::Delete { .. } => Value::Null,
        }
    }
}

impl From<&Op> for api::Op {
    fn from(op: &Op) -> Self {
        match op {
            Op::Create { .. } => {
                let Value::Object(object) = op.body() else { unreachable!("a new work is an object") };
                Self::create(MANIFEST_WORKS, Object(object))
            }
            Op::Update { .. } => Self::merge_patch(MANIFEST_WORKS, op.work(), op.body()),
            Op::Delete { work, uid } => Self::delete_only(MANIFEST_WORKS, work.clone(), uid),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self {
            Self::Create { .. } => "create",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
        };
        write!(f, "{verb} ManifestWork {}", self.work())
    }
}

/// The generation of an object that was just created.
const FIRST_GENERATION: i64 = 1;

fn metadata(bundle: &Bundle, generation: i64) -> Map<String, Value> {
    let labels: Map<_, _> = bundle.labels().into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    let mut annotations = Map::new();
    annotations.insert(BINDING_GENERATION_ANNOTATION.into(), bundle.origin().generation.to_string().into());
    annotations.insert(CONTENT_ANNOTATION.into(), content(bundle, generation).into());
    if let Some(members) = bundle.members() {
        annotations.insert(MEMBERS_ANNOTATION.into(), members.into());
    }
    [("labels".to_owned(), labels.into()), ("annotations".to_owned(), annotations.into())].into_iter().collect()
}

/// Digest of the spec, and the generation of the work at which it has that spec. A server moves the generation with
/// every change of the spec, whoever makes it: as long as both are as written, nobody has touched what we own.
fn content(bundle: &Bundle, generation: i64) -> String {
    format!("{}@{generation}", bundle.digest)
}

/// Plans for one mailbox. Puts come first, so that what moves from one work to another is at no moment asked for
/// nowhere. A work that is being deleted is left to go; its name is free again once it is gone.
pub fn plan(cluster: &ClusterName, demand: Demand<'_>, held: &[Arc<HeldWork>]) -> Vec<Op> {
    let nothing = BTreeSet::new();
    let (works, keep) = match demand {
        Demand::Deliver { works, keep } => (works, keep),
        Demand::Withdraw => (&[][..], &nothing),
    };
    let puts = works.iter().filter_map(|bundle| {
        let Some(held) = held.iter().find(|held| held.name.name == bundle.name) else {
            return Some(Op::Create { cluster: cluster.clone(), bundle: bundle.clone() });
        };
        let labelled = held.binding == bundle.labels()[0].1;
        let settled = labelled && held.has(&content(bundle, held.generation));
        if held.deleting || settled {
            return None;
        }
        // With the same digest, somebody has edited the spec, or a write of ours moved the generation otherwise than
        // was foreseen. The spec is written anew; if that moves the generation once more, one more turn settles it.
        let same_digest = held.content.split_once('@').is_some_and(|(digest, _)| digest == bundle.digest.to_string());
        let generation = held.generation + i64::from(!same_digest);
        Some(Op::Update { cluster: cluster.clone(), bundle: bundle.clone(), generation })
    });
    let wanted: BTreeSet<&str> = works.iter().map(|bundle| bundle.name.as_str()).collect();
    let removes = held.iter().filter(|held| {
        !held.deleting && !wanted.contains(held.name.name.as_str()) && !keep.contains(held.name.name.as_str())
    });
    puts.chain(removes.map(|held| Op::Delete { work: held.name.clone(), uid: held.uid.clone() })).collect()
}

/// A write of the finalizers of a Binding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FinalizerOp {
    /// The Binding.
    pub binding: BindingName,
    /// All finalizers that it is to have.
    pub finalizers: Vec<String>,
    /// The resourceVersion at which this was decided.
    pub resource_version: String,
}

impl From<&FinalizerOp> for api::Op {
    fn from(op: &FinalizerOp) -> Self {
        let metadata = json!({"finalizers": op.finalizers, "resourceVersion": op.resource_version});
        Self::merge_patch(BINDINGS, ObjectName::cluster(op.binding.as_str()), json!({"metadata": metadata}))
    }
}

/// A Binding holds our finalizer before the first work is made from it, and until every work is being deleted. That a
/// work is gone is not waited for: its cluster may be away for days.
pub fn plan_finalizer(binding: &Binding, works_left: bool) -> Option<FinalizerOp> {
    let meta = &binding.metadata;
    let wanted = !meta.is_deleting() || works_left;
    if meta.has_finalizer(BINDING_FINALIZER) == wanted || (meta.is_deleting() && wanted) {
        return None;
    }
    let mut finalizers: Vec<String> =
        meta.finalizers.iter().filter(|held| *held != BINDING_FINALIZER).cloned().collect();
    if wanted {
        finalizers.push(BINDING_FINALIZER.into());
    }
    Some(FinalizerOp {
        binding: meta.name.as_str().into(),
        finalizers,
        resource_version: meta.resource_version.clone(),
    })
}
