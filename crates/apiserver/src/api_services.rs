//! The APIServices of the groups that every server serves itself.
//!
//! As the flow schemas, they are written into a space when somebody first asks it for such objects. Those that are
//! deleted come back.

use crate::flowcontrol;
use crate::registry::{self, Kind};
use crate::respond::Result;
use crate::server::Server;
use crate::space::Space;
use api::{Object, ObjectName};
use serde_json::json;
use std::sync::{Arc, LazyLock};

/// The group of the kind.
pub(crate) const GROUP: &str = "apiregistration.k8s.io";
/// Who writes them, as a stock server has it.
const MANAGER: &str = "kube-apiserver";
/// Says that the server keeps the object.
const AUTOMANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Group, version, and how much both come before others. Source: the aggregator of kube-apiserver 1.36.
const SERVED: [(&str, &str, i64, i64); 21] = [
    ("", "v1", 18_000, 1),
    ("admissionregistration.k8s.io", "v1", 16_700, 15),
    ("apiextensions.k8s.io", "v1", 16_700, 15),
    ("apps", "v1", 17_800, 15),
    ("authentication.k8s.io", "v1", 17_700, 15),
    ("authorization.k8s.io", "v1", 17_600, 15),
    ("autoscaling", "v1", 17_500, 15),
    ("autoscaling", "v2", 17_500, 30),
    ("batch", "v1", 17_400, 15),
    ("certificates.k8s.io", "v1", 17_300, 15),
    ("coordination.k8s.io", "v1", 16_500, 15),
    ("discovery.k8s.io", "v1", 16_200, 15),
    ("events.k8s.io", "v1", 17_750, 15),
    ("flowcontrol.apiserver.k8s.io", "v1", 16_100, 21),
    ("networking.k8s.io", "v1", 17_200, 15),
    ("node.k8s.io", "v1", 16_300, 15),
    ("policy", "v1", 17_100, 15),
    ("rbac.authorization.k8s.io", "v1", 17_000, 15),
    ("resource.k8s.io", "v1", 16_200, 21),
    ("scheduling.k8s.io", "v1", 16_600, 15),
    ("storage.k8s.io", "v1", 16_800, 15),
];

type Bootstrap = Option<(Arc<Kind>, Vec<Object>)>;

static BOOTSTRAP: LazyLock<Bootstrap> = LazyLock::new(|| {
    let kind = registry::builtin_kind(GROUP, "v1", "apiservices")?;
    let object = |(group, version, group_priority, version_priority): (&str, &str, i64, i64)| {
        let name = ObjectName::cluster(format!("{version}.{group}"));
        let mut object = Object::new(&kind.api_version, &kind.served.kind, &name);
        object.set_label(AUTOMANAGED, "onstart");
        let mut spec = json!({"version": version, "groupPriorityMinimum": group_priority,
            "versionPriority": version_priority});
        if !group.is_empty() {
            spec["group"] = group.into();
        }
        object.0.insert("spec".into(), spec);
        object
    };
    let objects = SERVED.into_iter().map(object).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_that_is_served_has_one() {
        let mut served: Vec<(String, String)> = crate::builtin::kinds()
            .iter()
            .map(|kind| (kind.served.group.to_string(), kind.served.version.to_string()))
            .filter(|(group, _)| group != GROUP)
            .collect();
        served.sort();
        served.dedup();
        let listed: Vec<(String, String)> =
            SERVED.iter().map(|(group, version, ..)| ((*group).to_owned(), (*version).to_owned())).collect();
        assert_eq!(listed, served);
    }
}
