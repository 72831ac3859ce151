//! What the index knows of an object and of a cluster: their metadata, cut down to what policies can see.

use crate::digest::{Digest, Digester};
use api::control::{MULTI_WEC_STATUS_LABEL, SINGLETON_STATUS_LABEL};
use api::{GroupResource, Labels, ObjectName, PartialObject};
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;

/// Which object: its resource, without the version, and its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectId {
    /// Group and plural; shared by the objects of a resource.
    pub resource: Arc<GroupResource>,
    /// Namespace and name.
    pub name: ObjectName,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource, self.name)
    }
}

/// An object of the WDS as policies see it. Reads from a `PartialObjectMetadata`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(from = "PartialObject")]
pub struct WorkloadHeader {
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// All labels, those that we set for returned status among them.
    pub labels: Labels,
    /// Changes when what is to be delivered may have changed, and not when only the status has: made from uid, labels,
    /// annotations and generation, or the resourceVersion of kinds that have no generation.
    pub content: Digest,
    /// Whether it is being deleted: it is then no longer asked for.
    pub deleting: bool,
}

impl WorkloadHeader {
    /// Whether a label of ours says that the object shows a status that was returned.
    pub fn shows_status(&self) -> bool {
        STATUS_LABELS.iter().any(|label| self.labels.contains_key(*label))
    }
}

/// Labels that say where a status came from. They are ours, change with the status, and are never delivered.
pub(crate) const STATUS_LABELS: [&str; 2] = [SINGLETON_STATUS_LABEL, MULTI_WEC_STATUS_LABEL];

impl From<PartialObject> for WorkloadHeader {
    fn from(object: PartialObject) -> Self {
        let meta = object.metadata;
        let mut content = Digester::default();
        content.add(&meta.uid);
        for (key, value) in meta.labels.iter().filter(|(key, _)| !STATUS_LABELS.contains(&key.as_str())) {
            content.add(key);
            content.add(value);
        }
        content.add("annotations");
        for (key, value) in &meta.annotations {
            content.add(key);
            content.add(value);
        }
        if meta.generation == 0 {
            content.add(&meta.resource_version);
        } else {
            content.add(meta.generation.to_le_bytes());
        }
        Self {
            name: meta.object_name(),
            deleting: meta.is_deleting(),
            uid: meta.uid,
            resource_version: meta.resource_version,
            labels: meta.labels,
            content: content.finish(),
        }
    }
}

/// A ManagedCluster as policies see it. Reads from a `PartialObjectMetadata`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(from = "PartialObject")]
pub struct ClusterHeader {
    /// Name of the cluster.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// Whether it is leaving: nothing is sent to it any more.
    pub deleting: bool,
}

impl From<PartialObject> for ClusterHeader {
    fn from(object: PartialObject) -> Self {
        let meta = object.metadata;
        Self { deleting: meta.is_deleting(), name: meta.name, labels: meta.labels, annotations: meta.annotations }
    }
}
