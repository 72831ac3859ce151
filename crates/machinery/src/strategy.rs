//! How writes of a built-in kind differ from the general case: facts as rows, and what a kind decides of an object when
//! it is created or changed.

use crate::field::{at, flag_at, int_at, object_at, objects_at, text_at};
use api::Object;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Traits of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(clippy::struct_excessive_bools)] // independent traits, as the stock server's strategies have
pub struct Strategy {
    /// `metadata.generation` is 1 on create, and counts changes of what is neither metadata nor status.
    pub generation: bool,
    /// `.status` is dropped on create, kept on a write of the object, and written by its subresource only.
    pub status: bool,
    /// A PUT of an object that is not there creates it.
    pub create_on_update: bool,
    /// An update need not say which resourceVersion it was made from.
    pub unconditional_update: bool,
    /// A delete answers with the object, not with a Status.
    pub returns_deleted: bool,
    /// A delete without a propagation policy orphans dependents.
    pub orphans: bool,
    /// A write of `.status` may change labels, annotations, finalizers and owners too. Where it may not, they are kept.
    pub status_writes_metadata: bool,
    /// The same of labels alone.
    pub status_writes_labels: bool,
    /// `metadata.generation` counts changes of annotations too.
    pub generation_of_annotations: bool,
    /// The same of labels.
    pub generation_of_labels: bool,
    /// `metadata.generation` is not there until something changes.
    pub generation_is_late: bool,
}

const GENERATION: u16 = 1;
const STATUS: u16 = 1 << 1;
const CREATE: u16 = 1 << 2;
const CONDITIONAL: u16 = 1 << 3;
const RETURNS: u16 = 1 << 4;
const ORPHANS: u16 = 1 << 5;
const META_KEPT: u16 = 1 << 6;
const LABELS_KEPT: u16 = 1 << 7;
const ANNOTATIONS: u16 = 1 << 8;
const LABELS: u16 = 1 << 9;
const LATE: u16 = 1 << 10;

/// Kinds with traits, by group. What is not listed is updated unconditionally, and has no other trait.
const KINDS: &[(&str, &str, u16)] = &[
    ("", "Endpoints", CREATE),
    ("", "Event", CREATE),
    ("", "LimitRange", CREATE),
    ("", "Namespace", STATUS),
    ("", "Node", STATUS),
    ("", "PersistentVolume", STATUS | RETURNS),
    ("", "PersistentVolumeClaim", STATUS | RETURNS),
    ("", "Pod", GENERATION | STATUS | RETURNS),
    ("", "PodTemplate", GENERATION | RETURNS),
    ("", "ReplicationController", GENERATION | STATUS | ORPHANS),
    ("", "ResourceQuota", STATUS | RETURNS),
    ("", "Service", STATUS | CREATE | RETURNS),
    ("", "ServiceAccount", RETURNS),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy", GENERATION | CONDITIONAL),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding", GENERATION | CONDITIONAL),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", GENERATION | CONDITIONAL),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", GENERATION | STATUS | CONDITIONAL | META_KEPT),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", GENERATION | CONDITIONAL),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", GENERATION | CONDITIONAL),
    ("apiextensions.k8s.io", "CustomResourceDefinition", GENERATION | STATUS | CONDITIONAL),
    ("apiregistration.k8s.io", "APIService", STATUS | CONDITIONAL | META_KEPT),
    ("apps", "DaemonSet", GENERATION | STATUS),
    ("apps", "Deployment", GENERATION | STATUS | LABELS_KEPT | ANNOTATIONS),
    ("apps", "ReplicaSet", GENERATION | STATUS),
    ("apps", "StatefulSet", GENERATION | STATUS),
    ("autoscaling", "HorizontalPodAutoscaler", STATUS),
    ("batch", "CronJob", GENERATION | STATUS),
    ("batch", "Job", GENERATION | STATUS | ORPHANS),
    ("certificates.k8s.io", "CertificateSigningRequest", STATUS),
    ("coordination.k8s.io", "Lease", CREATE | CONDITIONAL),
    ("discovery.k8s.io", "EndpointSlice", GENERATION | LABELS),
    ("events.k8s.io", "Event", CREATE),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema", GENERATION | STATUS | META_KEPT),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", GENERATION | STATUS | META_KEPT),
    ("networking.k8s.io", "Ingress", GENERATION | STATUS),
    ("networking.k8s.io", "IngressClass", GENERATION),
    ("networking.k8s.io", "NetworkPolicy", GENERATION),
    ("networking.k8s.io", "ServiceCIDR", STATUS | META_KEPT),
    ("node.k8s.io", "RuntimeClass", CREATE | CONDITIONAL),
    ("policy", "PodDisruptionBudget", GENERATION | STATUS | CONDITIONAL),
    ("rbac.authorization.k8s.io", "ClusterRole", CREATE),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", CREATE),
    ("rbac.authorization.k8s.io", "Role", CREATE),
    ("rbac.authorization.k8s.io", "RoleBinding", CREATE),
    ("resource.k8s.io", "DeviceClass", GENERATION | RETURNS),
    ("resource.k8s.io", "ResourceClaim", STATUS | META_KEPT | RETURNS),
    ("resource.k8s.io", "ResourceClaimTemplate", RETURNS),
    ("resource.k8s.io", "ResourceSlice", GENERATION | RETURNS),
    ("scheduling.k8s.io", "PriorityClass", GENERATION),
    ("storage.k8s.io", "CSIDriver", GENERATION | LATE | CONDITIONAL | RETURNS),
    ("storage.k8s.io", "CSINode", CONDITIONAL | RETURNS),
    ("storage.k8s.io", "CSIStorageCapacity", CONDITIONAL),
    ("storage.k8s.io", "StorageClass", RETURNS),
    ("storage.k8s.io", "VolumeAttachment", STATUS | CONDITIONAL | RETURNS | META_KEPT),
    ("storage.k8s.io", "VolumeAttributesClass", RETURNS),
];

/// The traits of a built-in kind.
pub fn strategy(group: &str, kind: &str) -> Strategy {
    let marks = KINDS.iter().find(|(g, k, _)| *k == kind && *g == group).map_or(0, |(_, _, marks)| *marks);
    let has = |mark: u16| marks & mark != 0;
    Strategy {
        generation: has(GENERATION),
        status: has(STATUS),
        create_on_update: has(CREATE),
        unconditional_update: !has(CONDITIONAL),
        returns_deleted: has(RETURNS),
        orphans: has(ORPHANS),
        status_writes_metadata: !has(META_KEPT),
        status_writes_labels: !has(META_KEPT) && !has(LABELS_KEPT),
        generation_of_annotations: has(ANNOTATIONS),
        generation_of_labels: has(LABELS),
        generation_is_late: has(LATE),
    }
}

/// Where a DaemonSet says how often its template has changed: a field of a version that is no longer served.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Brings what a client may say in a form of its own into the form that is stored.
pub fn normalise(group: &str, kind: &str, object: &mut Object) {
    if (group, kind) == ("apps", "DaemonSet") && object.annotation(TEMPLATE_GENERATION).is_none() {
        object.set_annotation(TEMPLATE_GENERATION, "0");
    }
}

fn template_generation(object: &Object) -> i64 {
    object.annotation(TEMPLATE_GENERATION).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// What the kind decides of an object that is created. Call it after defaults were applied, and with `metadata.uid`
/// and `metadata.name` already set: a Job's selector is made of them. Drops `.status` where it is not the client's.
/// Applying it again changes nothing.
pub fn prepare_create(group: &str, kind: &str, object: &mut Object) {
    if strategy(group, kind).status {
        object.0.remove("status");
    }
    match (group, kind) {
        ("", "Namespace") => {
            hold(object, "/spec/finalizers", "kubernetes");
            object.0.insert("status".into(), json!({"phase": "Active"}));
            own_name_label(object);
        }
        ("", "Pod") => {
            let class = quality(&object.0);
            object.0.insert("status".into(), json!({"phase": "Pending", "qosClass": class}));
        }
        // A name is all that a range of limits may do without: it gets one that nothing else has.
        ("", "LimitRange") if object.name().is_empty() => {
            let name = object.uid().to_owned();
            object.set_meta("name", name);
        }
        ("", "PersistentVolumeClaim") => {
            add_finalizer(object, "kubernetes.io/pvc-protection");
            object.0.insert("status".into(), json!({"phase": "Pending"}));
        }
        ("", "PersistentVolume") => {
            add_finalizer(object, "kubernetes.io/pv-protection");
            object.0.insert("status".into(), json!({"phase": "Pending"}));
        }
        ("apps", "DaemonSet") => {
            let first = template_generation(object).max(1);
            object.set_annotation(TEMPLATE_GENERATION, &first.to_string());
        }
        ("batch", "Job") => job_selector(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            let stored: Vec<&str> = objects_at(&object.0, "spec.versions")
                .filter(|version| flag_at(version, "storage"))
                .map(|version| text_at(version, "name"))
                .collect();
            let stored = json!(stored);
            let empty =
                json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored});
            object.0.insert("status".into(), empty);
        }
        _ => {}
    }
}

/// What the kind decides of an object that is changed, beside its status, which the caller keeps.
pub fn prepare_update(group: &str, kind: &str, old: &Object, new: &mut Object) {
    match (group, kind) {
        ("", "Namespace") => {
            // Only /finalize changes these.
            if let Some(spec) = old.0.get("spec") {
                new.0.insert("spec".into(), spec.clone());
            }
            own_name_label(new);
        }
        ("apps", "DaemonSet") => {
            let template = |object: &Object| at(&object.0, "spec.template").cloned();
            let changed = i64::from(template(old) != template(new));
            new.set_annotation(TEMPLATE_GENERATION, &(template_generation(old) + changed).to_string());
        }
        // A token's Secret keeps its type; everything else about it is validated.
        ("", "Secret") if text_at(&new.0, "type").is_empty() => {
            let kept = text_at(&old.0, "type").to_owned();
            new.0.insert("type".into(), kept.into());
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            if let Some(spec) = old.0.get("spec") {
                new.0.insert("spec".into(), spec.clone());
            }
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            let served: Vec<&str> = objects_at(&new.0, "spec.versions")
                .filter(|version| flag_at(version, "storage"))
                .map(|version| text_at(version, "name"))
                .collect();
            let Some(storage) = served.first().map(|name| Value::from(*name)) else { return };
            let Some(Value::Object(status)) = new.0.get_mut("status") else { return };
            if let Value::Array(stored) = status.entry("storedVersions").or_insert_with(|| json!([]))
                && !stored.contains(&storage)
            {
                stored.push(storage);
            }
        }
        _ => {}
    }
}

fn own_name_label(object: &mut Object) {
    let name = object.name().to_owned();
    if !name.is_empty() {
        object.set_label("kubernetes.io/metadata.name", &name);
    }
}

fn add_finalizer(object: &mut Object, finalizer: &str) {
    hold(object, "/metadata/finalizers", finalizer);
}

/// Adds a text to the list at a pointer of two parts, if it is not there.
fn hold(object: &mut Object, pointer: &str, text: &str) {
    let mut parts = pointer.trim_start_matches('/').split('/');
    let (Some(first), Some(second)) = (parts.next(), parts.next()) else { return };
    let Value::Object(parent) = object.0.entry(first).or_insert_with(|| Map::new().into()) else { return };
    if let Value::Array(list) = parent.entry(second).or_insert_with(|| json!([]))
        && !list.iter().any(|held| held == text)
    {
        list.push(text.into());
    }
}

/// A Job whose selector is not the user's own selects its Pods by its uid.
fn job_selector(job: &mut Object) {
    let uid = job.uid().to_owned();
    let name = job.name().to_owned();
    if flag_at(&job.0, "spec.manualSelector") || uid.is_empty() {
        return;
    }
    let Some(Value::Object(spec)) = job.0.get_mut("spec") else { return };
    let template = spec.entry("template").or_insert_with(|| json!({}));
    let Value::Object(template) = template else { return };
    let Value::Object(metadata) = template.entry("metadata").or_insert_with(|| json!({})) else { return };
    let Value::Object(labels) = metadata.entry("labels").or_insert_with(|| json!({})) else { return };
    for (key, value) in [
        ("controller-uid", &uid),
        ("batch.kubernetes.io/controller-uid", &uid),
        ("job-name", &name),
        ("batch.kubernetes.io/job-name", &name),
    ] {
        // What the user set is validated, not overwritten.
        labels.entry(key).or_insert_with(|| value.as_str().into());
    }
    if object_at(spec, "selector.matchLabels").is_none_or(|labels| !labels.contains_key("controller-uid")) {
        let Value::Object(selector) = spec.entry("selector").or_insert_with(|| json!({})) else { return };
        let Value::Object(labels) = selector.entry("matchLabels").or_insert_with(|| json!({})) else { return };
        labels.entry("batch.kubernetes.io/controller-uid").or_insert_with(|| uid.into());
    }
}

/// The quality of service that a Pod's resources ask for.
fn quality(pod: &Map<String, Value>) -> &'static str {
    const COUNTED: [&str; 2] = ["cpu", "memory"];
    let spec = object_at(pod, "spec");
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|field| spec.into_iter().flat_map(move |spec| objects_at(spec, field)));
    let mut guaranteed = true;
    let mut any = false;
    for container in containers {
        let amounts = |kind: &str| -> Vec<(String, crate::quantity::Quantity)> {
            let map = object_at(container, &format!("resources.{kind}"));
            map.into_iter()
                .flatten()
                .filter(|(name, _)| COUNTED.contains(&name.as_str()))
                .filter_map(|(name, value)| Some((name.clone(), crate::quantity::Quantity::from_value(value)?)))
                .filter(|(_, amount)| amount.nanos() > 0)
                .collect()
        };
        let (requests, limits) = (amounts("requests"), amounts("limits"));
        any |= !requests.is_empty() || !limits.is_empty();
        let limited: BTreeSet<&str> = limits.iter().map(|(name, _)| name.as_str()).collect();
        guaranteed &= limited.len() == COUNTED.len() && (requests.is_empty() || requests == limits);
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Seconds that a delete of a Pod waits for it to end, if the client does not say: none unless it runs on a node.
pub fn grace_seconds(pod: &Object) -> i64 {
    let placed = !text_at(&pod.0, "spec.nodeName").is_empty();
    let ended = matches!(text_at(&pod.0, "status.phase"), "Succeeded" | "Failed");
    if !placed || ended || at(&pod.0, "spec").is_none() {
        return 0;
    }
    int_at(&pod.0, "spec.terminationGracePeriodSeconds").unwrap_or(30).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(group: &str, kind: &str, object: Value) -> Value {
        let mut object = Object(object.as_object().unwrap().clone());
        prepare_create(group, kind, &mut object);
        let once = object.clone();
        prepare_create(group, kind, &mut object);
        assert_eq!(once, object, "prepared twice");
        Value::Object(object.0)
    }

    #[test]
    fn kinds_are_listed_once_and_in_order() {
        let names: Vec<(&str, &str)> = KINDS.iter().map(|(group, kind, _)| (*group, *kind)).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
        assert!(strategy("apps", "Deployment").generation);
        assert!(!strategy("", "ConfigMap").status);
        assert!(strategy("", "ConfigMap").unconditional_update);
        assert!(!strategy("coordination.k8s.io", "Lease").unconditional_update);
    }

    #[test]
    fn a_job_selects_by_its_uid() {
        let job = created("batch", "Job", json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {}}}));
        assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
        assert_eq!(
            job["spec"]["template"]["metadata"]["labels"],
            json!({"controller-uid": "u", "batch.kubernetes.io/controller-uid": "u", "job-name": "j", "batch.kubernetes.io/job-name": "j"})
        );
        let own = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"manualSelector": true, "template": {}}});
        assert_eq!(created("batch", "Job", own.clone()), own);
    }

    #[test]
    fn what_is_the_servers_is_set() {
        let namespace = created("", "Namespace", json!({"metadata": {"name": "n"}, "status": {"phase": "Odd"}}));
        assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
        assert_eq!(namespace["status"], json!({"phase": "Active"}));
        assert_eq!(namespace["metadata"]["labels"]["kubernetes.io/metadata.name"], "n");
        let claim = created("", "PersistentVolumeClaim", json!({"metadata": {"name": "c"}}));
        assert_eq!(claim["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
        let crd =
            json!({"metadata": {"name": "c"}, "spec": {"versions": [{"name": "v1"}, {"name": "v2", "storage": true}]}});
        assert_eq!(
            created("apiextensions.k8s.io", "CustomResourceDefinition", crd)["status"]["storedVersions"],
            json!(["v2"])
        );
        let deployment = created("apps", "Deployment", json!({"metadata": {"name": "d"}, "status": {"replicas": 3}}));
        assert_eq!(deployment.get("status"), None);
    }

    #[test]
    fn quality_of_service() {
        let class = |resources: Value| {
            let pod = json!({"metadata": {}, "spec": {"containers": [{"resources": resources}]}});
            created("", "Pod", pod)["status"]["qosClass"].as_str().unwrap().to_owned()
        };
        let full = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(class(json!({})), "BestEffort");
        assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
        assert_eq!(class(json!({"requests": full, "limits": {"cpu": "1000m", "memory": "1024Mi"}})), "Guaranteed");
        assert_eq!(class(json!({"requests": {"cpu": "500m"}, "limits": full})), "Burstable");
    }

    #[test]
    fn updates_keep_what_is_not_theirs() {
        let object = |value: Value| Object(value.as_object().unwrap().clone());
        let old = object(json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}}));
        let mut new = object(json!({"metadata": {"name": "n"}, "spec": {}}));
        prepare_update("", "Namespace", &old, &mut new);
        assert_eq!(new.0["spec"], json!({"finalizers": ["kubernetes"]}));
        let old = object(json!({}));
        let mut new = object(
            json!({"spec": {"versions": [{"name": "v2", "storage": true}]}, "status": {"storedVersions": ["v1"]}}),
        );
        prepare_update("apiextensions.k8s.io", "CustomResourceDefinition", &old, &mut new);
        assert_eq!(new.0["status"]["storedVersions"], json!(["v1", "v2"]));
    }

    #[test]
    fn only_pods_on_nodes_end_gracefully() {
        let pod = |value: Value| Object(value.as_object().unwrap().clone());
        assert_eq!(grace_seconds(&pod(json!({"spec": {"terminationGracePeriodSeconds": 5}}))), 0);
        assert_eq!(grace_seconds(&pod(json!({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 5}}))), 5);
        assert_eq!(grace_seconds(&pod(json!({"spec": {"nodeName": "n"}, "status": {"phase": "Failed"}}))), 0);
    }
}
