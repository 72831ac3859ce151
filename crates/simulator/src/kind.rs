//! The kinds that are played, as rows of a table.

use api::{ObjectName, Resource};
use std::fmt;

/// A kind that the simulator watches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    Pod,
    Claim,
    Volume,
    Service,
    Node,
}

const RESOURCES: [(Kind, Resource); 10] = [
    (Kind::Deployment, Resource::namespaced("apps", "v1", "deployments", "Deployment")),
    (Kind::ReplicaSet, Resource::namespaced("apps", "v1", "replicasets", "ReplicaSet")),
    (Kind::StatefulSet, Resource::namespaced("apps", "v1", "statefulsets", "StatefulSet")),
    (Kind::DaemonSet, Resource::namespaced("apps", "v1", "daemonsets", "DaemonSet")),
    (Kind::Job, Resource::namespaced("batch", "v1", "jobs", "Job")),
    (Kind::Pod, Resource::namespaced("", "v1", "pods", "Pod")),
    (Kind::Claim, Resource::namespaced("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")),
    (Kind::Volume, Resource::cluster("", "v1", "persistentvolumes", "PersistentVolume")),
    (Kind::Service, Resource::namespaced("", "v1", "services", "Service")),
    (Kind::Node, Resource::cluster("", "v1", "nodes", "Node")),
];

impl Kind {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        RESOURCES.into_iter().map(|(kind, _)| kind)
    }

    /// What the API calls it.
    pub fn resource(self) -> Resource {
        let row = RESOURCES.into_iter().find(|(kind, _)| *kind == self);
        row.expect("every kind has a row").1
    }

    /// By the `kind` of an owner reference.
    pub(crate) fn named(name: &str) -> Option<Self> {
        RESOURCES.into_iter().find(|(_, resource)| resource.kind == name).map(|(kind, _)| kind)
    }
}

/// What is planned for: one object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// Of which kind.
    pub kind: Kind,
    /// Which object.
    pub name: ObjectName,
}

impl Key {
    /// One object.
    pub fn new(kind: Kind, name: ObjectName) -> Self {
        Self { kind, name }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.resource().group_resource(), self.name)
    }
}
