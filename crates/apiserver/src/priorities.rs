//! The priority classes that every stock server has from the beginning.
//!
//! As the flow schemas, they are written into a space when somebody first asks it for such objects; Pods may name them
//! before that. They cannot be deleted.

use crate::flowcontrol;
use crate::registry::{self, Kind};
use crate::respond::Result;
use crate::server::Server;
use crate::space::Space;
use api::{Object, ObjectName};
use serde_json::json;
use std::sync::{Arc, LazyLock};

/// The group of the kind.
pub(crate) const GROUP: &str = "scheduling.k8s.io";
/// Where they are stored.
pub(crate) const COLLECTION: &str = "priorityclasses.scheduling.k8s.io";
/// Who writes them, as a stock server has it.
const MANAGER: &str = "kube-apiserver";

/// Name, value and description.
const CLASSES: [(&str, i64, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

type Bootstrap = Option<(Arc<Kind>, Vec<Object>)>;

static BOOTSTRAP: LazyLock<Bootstrap> = LazyLock::new(|| {
    let kind = registry::builtin_kind(GROUP, "v1", "priorityclasses")?;
    let object = |(name, value, description): (&str, i64, &str)| {
        let mut object = Object::new(&kind.api_version, &kind.served.kind, &ObjectName::cluster(name));
        object.0.insert("value".into(), value.into());
        object.0.insert("description".into(), description.into());
        object.0.insert("preemptionPolicy".into(), json!("PreemptLowerPriority"));
        object
    };
    let objects = CLASSES.into_iter().map(object).collect();
    Some((kind, objects))
});

/// Writes those that a space does not have.
///
/// # Errors
/// If the store takes no writes.
pub(crate) async fn ensure(server: &Server, space: &Arc<Space>) -> Result<()> {
    let Some((kind, objects)) = &*BOOTSTRAP else { return Ok(()) };
    flowcontrol::write_absent(server, space, kind, objects, MANAGER).await.map(drop)
}

/// One of them, whether or not it is written already.
pub(crate) fn get(name: &str) -> Option<Object> {
    BOOTSTRAP.as_ref()?.1.iter().find(|object| object.name() == name).cloned()
}
