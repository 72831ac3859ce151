//! The WorkStatus of a delivered object, with the names and labels of KubeStellar's status add-on.

use crate::digest::Digest;
use api::cluster::AppliedManifestWork;
use api::work::{MANIFEST_WORKS, SourceRef, WORK_STATUSES, WorkStatus, WorkStatusSpec};
use api::{Labels, Object, ObjectMeta, OwnerReference, Resource};

/// Copied from the object in the cluster, and kept equal.
const MIRRORED_LABEL: &str = "managed-by.kubestellar.io/singletonstatus";
/// A work is KubeStellar's, and so reported, if it has a label of one of these.
const OURS: [&str; 2] = ["transport.kubestellar.io", "managed-by.kubestellar.io"];
/// The longest name of an object.
const NAME_MAX: usize = 253;

/// What to report of an object; nothing if it has no status, or its work is not KubeStellar's.
pub fn work_status(
    resource: &Resource,
    object: &Object,
    applied: &AppliedManifestWork,
    work: &ObjectMeta,
) -> Option<WorkStatus> {
    let status = object.0.get("status").filter(|status| !status.is_null())?;
    if !work.labels.keys().any(|key| OURS.iter().any(|prefix| key.starts_with(prefix))) {
        return None;
    }
    let mut labels = work.labels.clone();
    if let Some(value) = object.label(MIRRORED_LABEL) {
        labels.insert(MIRRORED_LABEL.into(), value.into());
    }
    Some(WorkStatus {
        api_version: WORK_STATUSES.api_version(),
        kind: WORK_STATUSES.kind.to_string(),
        metadata: ObjectMeta {
            name: name(resource, object, &applied.metadata.uid),
            namespace: work.namespace.clone(),
            labels,
            owner_references: vec![OwnerReference {
                api_version: MANIFEST_WORKS.api_version(),
                kind: MANIFEST_WORKS.kind.to_string(),
                name: work.name.clone(),
                uid: work.uid.clone(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }],
            ..ObjectMeta::default()
        },
        spec: WorkStatusSpec {
            source_ref: SourceRef {
                group: resource.group.to_string(),
                version: resource.version.to_string(),
                resource: resource.plural.to_string(),
                kind: resource.kind.to_string(),
                namespace: object.namespace().into(),
                name: object.name().into(),
            },
        },
        status: Some(status.clone()),
        status_details: None,
    })
}

/// The add-on's name: uid of the AppliedManifestWork, group and version, kind, namespace, name. One that is too long is
/// cut, and made different by a digest of the whole: the add-on only cuts, so that two can become one.
fn name(resource: &Resource, object: &Object, applied_uid: &str) -> String {
    let group_version = resource.api_version().replace('/', "").to_lowercase();
    let kind = resource.kind.to_lowercase();
    // Names of roles may have characters that names of custom resources may not.
    let safe = |text: &str| text.replace(':', ".");
    let whole = format!("{applied_uid}-{group_version}-{kind}-{}-{}", object.namespace(), safe(object.name()));
    if whole.len() <= NAME_MAX {
        return whole;
    }
    let digest = Digest::of(whole.as_bytes()).short();
    format!("{}-{digest}", &whole[..NAME_MAX - 1 - digest.len()])
}

/// Labels to set, or to take away (`None`), so that the mirrored ones are as wanted. Labels that others put are left.
pub fn label_changes<'a>(held: &'a Labels, wanted: &'a Labels) -> Vec<(&'a String, Option<&'a String>)> {
    let set = wanted.iter().filter(|(key, value)| held.get(*key) != Some(value)).map(|(key, value)| (key, Some(value)));
    let gone = held.keys().filter(|key| *key == MIRRORED_LABEL && !wanted.contains_key(*key)).map(|key| (key, None));
    set.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const APPS: Resource = Resource::namespaced("apps", "v1", "deployments", "Deployment");

    fn object(name: &str, status: serde_json::Value) -> Object {
        let text = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "ns",
            "labels": {MIRRORED_LABEL: "true"}}, "status": status});
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn named_and_labelled_as_the_add_on_does() {
        let mut applied = AppliedManifestWork::default();
        applied.metadata.uid = "u1".into();
        let mut work =
            ObjectMeta { name: "w".into(), namespace: "c1".into(), uid: "w1".into(), ..ObjectMeta::default() };
        let web = object("web", json!({"replicas": 1}));
        assert_eq!(work_status(&APPS, &web, &applied, &work), None, "not KubeStellar's work");
        work.labels.insert("transport.kubestellar.io/originWdsName".into(), "wds1".into());
        let status = work_status(&APPS, &web, &applied, &work).unwrap();
        assert_eq!(status.metadata.name, "u1-appsv1-deployment-ns-web");
        assert_eq!(status.metadata.labels.len(), 2);
        assert_eq!(status.metadata.owner_references[0].uid, "w1");
        assert_eq!(work_status(&APPS, &object("web", json!(null)), &applied, &work), None, "no status");
        let long =
            |last: char| work_status(&APPS, &object(&format!("{}{last}", "x".repeat(252)), json!({})), &applied, &work);
        let (one, other) = (long('a').unwrap().metadata.name, long('b').unwrap().metadata.name);
        assert!(one.len() <= NAME_MAX && one != other, "{one}");
        assert_eq!(label_changes(&status.metadata.labels, &status.metadata.labels), []);
        assert_eq!(label_changes(&status.metadata.labels, &work.labels).len(), 1);
    }
}
