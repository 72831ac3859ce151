//! What should be done about one object, as a pure function of what is there.

use crate::dial::Dial;
use crate::kind::{Key, Kind};
use crate::{daemonset, deployment, job, node, pod, replicaset, service, statefulset, volume};
use api::{Object, ObjectName, Op, Timestamp, Write};
use std::sync::Arc;
use std::time::Duration;

/// What is there: the objects of the simulated WEC.
pub trait View {
    /// One object.
    fn get(&self, kind: Kind, name: &ObjectName) -> Option<Arc<Object>>;
    /// The objects of a kind that name the object with this uid as their controller, in the order of their names.
    fn owned(&self, kind: Kind, uid: &str) -> Vec<Arc<Object>>;
}

/// What to do.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// Writes, in this order. Carried out, they leave nothing to do but what follows from other objects' plans.
    pub ops: Vec<Op>,
    /// Ask again after this, even if nothing changes.
    pub after: Option<Duration>,
}

impl Plan {
    pub(crate) fn create(&mut self, kind: Kind, object: Object) {
        self.ops.push(Op::create(kind.resource(), object));
    }

    /// Whether something new is made. Its watch event brings the maker's key again, and with it a status that counts it:
    /// one written now would say the same half as well.
    pub(crate) fn creates(&self) -> bool {
        self.ops.iter().any(|op| matches!(op.write, Write::Create(_)))
    }

    pub(crate) fn patch(&mut self, kind: Kind, object: &Object, patch: serde_json::Value) {
        self.ops.push(Op::merge_patch(kind.resource(), object.object_name(), patch));
    }

    pub(crate) fn delete(&mut self, kind: Kind, object: &Object) {
        self.ops.push(Op::delete_only(kind.resource(), object.object_name(), object.uid()));
    }
}

/// Decides what to do about one object, which may be gone.
pub fn plan(view: &impl View, dial: &Dial, now: Timestamp, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(object) = view.get(key.kind, &key.name) else {
        if key.kind == Kind::Node && key.name.name == node::NODE {
            node::create(&mut plan);
        }
        return plan;
    };
    if object.is_deleting() {
        // Dependents go by garbage collection; nobody asks for the status of what goes.
        return plan;
    }
    let settings = dial.settings(view, &object);
    match key.kind {
        Kind::Deployment => deployment::plan(&mut plan, view, &object, settings, now),
        Kind::ReplicaSet => replicaset::plan(&mut plan, view, &object, now),
        Kind::StatefulSet => statefulset::plan(&mut plan, view, &object, now),
        Kind::DaemonSet => daemonset::plan(&mut plan, view, &object, now),
        Kind::Job => job::plan(&mut plan, view, &object, now),
        Kind::Pod => pod::plan(&mut plan, view, &object, settings, now),
        Kind::Claim => volume::claim(&mut plan, view, &object),
        Kind::Volume => volume::volume(&mut plan, view, &object),
        Kind::Service => service::plan(&mut plan, &object),
        Kind::Node => node::plan(&mut plan, &object, now),
    }
    plan
}

/// The key of the object that controls another, by its owner references.
pub(crate) fn owner_key(object: &Object) -> Option<(Key, String)> {
    let owner = object.owner_references().into_iter().find(|owner| owner.controller == Some(true))?;
    let kind = Kind::named(&owner.kind)?;
    let namespace = if kind.resource().namespaced { object.namespace() } else { "" };
    Some((Key::new(kind, ObjectName::namespaced(namespace, owner.name)), owner.uid))
}

/// The object that controls another, if it is there and still the same.
pub(crate) fn owner(view: &impl View, object: &Object) -> Option<(Kind, Arc<Object>)> {
    let (key, uid) = owner_key(object)?;
    let owner = view.get(key.kind, &key.name)?;
    (owner.uid() == uid).then_some((key.kind, owner))
}
