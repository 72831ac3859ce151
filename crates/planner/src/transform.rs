//! What of a workload object travels: what the WDS has added to it stays behind, and so does what CustomTransforms name.

use crate::binding::STATUS_LABELS;
use api::control::{CustomTransform, CustomTransformStatus, EXPAND_TEMPLATES_ANNOTATION, PRESERVE_ANNOTATION};
use api::{GroupResource, Header, Object};
pub use machinery::jsonpath::Removal;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Metadata that a server gives, or that means something only where the object was made.
const LOCAL_METADATA: [&str; 11] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// The path of a whole object.
const WHOLE: &str = "$";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const JOB_TRACKING: &str = "batch.kubernetes.io/job-tracking";
const JOB_CONTROLLER_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
/// Fields of a Service that a cluster decides for itself.
const SERVICE_CHOICES: [&str; 6] = [
    "externalTrafficPolicy",
    // Allowed beside a traffic policy only, which is not sent.
    "healthCheckNodePort",
    "internalTrafficPolicy",
    "ipFamilies",
    "ipFamilyPolicy",
    "sessionAffinity",
];
/// How the volume begins in which admission puts a Pod's token.
const TOKEN_VOLUME: &str = "kube-api-access-";
/// What a Service without a virtual address has in place of one.
const HEADLESS: &str = "None";

/// The CustomTransforms of a WDS, read once.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Transforms(BTreeMap<GroupResource, Arc<[Removal]>>);

impl Transforms {
    /// What is removed from objects of a resource. As long as it is the same, so is what is sent.
    pub fn of(&self, resource: &GroupResource) -> Arc<[Removal]> {
        self.0.get(resource).cloned().unwrap_or_default()
    }

    /// Reads CustomTransforms. Beside it, by name, what each is to be told: a path that cannot be read removes nothing.
    pub fn new<'a>(
        all: impl IntoIterator<Item = &'a CustomTransform>,
    ) -> (Self, BTreeMap<String, CustomTransformStatus>) {
        let mut by_resource: BTreeMap<GroupResource, Vec<Removal>> = BTreeMap::new();
        let mut statuses = BTreeMap::new();
        let mut names: BTreeMap<GroupResource, Vec<String>> = BTreeMap::new();
        let all: BTreeMap<_, _> = all.into_iter().map(|each| (each.metadata().name.clone(), each)).collect();
        for (name, each) in &all {
            let mut errors = Vec::new();
            let removals = by_resource.entry(subject(each)).or_default();
            for (at, path) in each.spec.remove.iter().enumerate() {
                if path == WHOLE {
                    errors.push(format!("Invalid spec.remove[{at}]: it identifies the whole object"));
                    continue;
                }
                match Removal::parse(path) {
                    Ok(removal) => removals.push(removal),
                    Err(cause) => errors.push(format!("Error in spec.remove[{at}]: {cause}")),
                }
            }
            names.entry(subject(each)).or_default().push(name.clone());
            let observed_generation = each.metadata().generation;
            statuses.insert(name.clone(), CustomTransformStatus { observed_generation, errors, warnings: Vec::new() });
        }
        for names in names.values().filter(|names| names.len() > 1) {
            let warning = "multiple CustomTransform objects specify the same GroupResource; their names are";
            for name in names {
                let status = statuses.get_mut(name).expect("every transform has a status");
                status.warnings.push(format!("{warning} {{{}}}", names.join(", ")));
            }
        }
        by_resource.retain(|_, removals| !removals.is_empty());
        (Self(by_resource.into_iter().map(|(resource, removals)| (resource, removals.into())).collect()), statuses)
    }

    /// Makes of an object of the WDS what is sent to every cluster.
    pub fn apply(&self, resource: &GroupResource, mut object: Object) -> Object {
        clean(&mut object);
        if let Some(removals) = self.0.get(resource) {
            let mut tree = Value::Object(object.0);
            for removal in &**removals {
                removal.remove(&mut tree);
            }
            let Value::Object(members) = tree else { unreachable!("a removal takes members out of an object") };
            object = Object(members);
        }
        object
    }
}

fn subject(transform: &CustomTransform) -> GroupResource {
    GroupResource { group: transform.spec.api_group.clone(), resource: transform.spec.resource.clone() }
}

/// Whether the object asks for its text to be expanded for each cluster, and has text to expand.
pub fn wants_expansion(object: &Object) -> bool {
    fn has_template(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains("{{"),
            Value::Array(items) => items.iter().any(has_template),
            Value::Object(members) => members.values().any(has_template),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    object.annotation(EXPAND_TEMPLATES_ANNOTATION) == Some("true") && object.0.values().any(has_template)
}

fn clean(object: &mut Object) {
    let preserve_node_ports = object.annotation(PRESERVE_ANNOTATION) == Some("nodeport");
    object.0.remove("status");
    let metadata = object.metadata_mut();
    metadata.retain(|field, _| !LOCAL_METADATA.contains(&field.as_str()));
    remove_from(metadata, "annotations", &[LAST_APPLIED]);
    remove_from(metadata, "labels", &STATUS_LABELS);
    match (object.api_version(), object.kind()) {
        ("v1", "Service") => clean_service(object, preserve_node_ports),
        ("batch/v1", "Job") => clean_job(object),
        ("v1", "Pod") => clean_pod(object),
        // Its rules are gathered from the roles of the space; each cluster gathers from its own.
        ("rbac.authorization.k8s.io/v1", "ClusterRole") if object.0.contains_key("aggregationRule") => {
            object.0.remove("rules");
        }
        _ => {}
    }
}

fn clean_service(object: &mut Object, preserve_node_ports: bool) {
    let Some(spec) = object.0.get_mut("spec").and_then(Value::as_object_mut) else { return };
    spec.retain(|field, _| !SERVICE_CHOICES.contains(&field.as_str()));
    if spec.get("clusterIP").is_some_and(|address| address != HEADLESS) {
        spec.remove("clusterIP");
    }
    if let Some(addresses) = spec.get_mut("clusterIPs").and_then(Value::as_array_mut) {
        addresses.retain(|address| address == HEADLESS);
        if addresses.is_empty() {
            spec.remove("clusterIPs");
        }
    }
    if !preserve_node_ports {
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten();
        ports.filter_map(Value::as_object_mut).for_each(|port| {
            port.remove("nodePort");
        });
    }
}

fn clean_job(object: &mut Object) {
    let metadata = object.metadata_mut();
    remove_from(metadata, "annotations", &[JOB_TRACKING]);
    remove_from(metadata, "labels", &JOB_CONTROLLER_LABELS);
    let Some(spec) = object.0.get_mut("spec").and_then(Value::as_object_mut) else { return };
    spec.remove("selector");
    spec.remove("suspend");
    let template = spec.get_mut("template").and_then(|template| template.get_mut("metadata"));
    if let Some(metadata) = template.and_then(Value::as_object_mut) {
        remove_from(metadata, "labels", &JOB_CONTROLLER_LABELS);
    }
}

/// What the admission of the WDS gave a Pod that did not ask for it, and each cluster gives in its own way: one refuses a
/// priority that is not what it would say itself.
fn clean_pod(object: &mut Object) {
    let Some(spec) = object.0.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if !spec.contains_key("priorityClassName") {
        spec.remove("preemptionPolicy");
    }
    spec.remove("priority");
    let is_token = |entry: &Value| entry["name"].as_str().is_some_and(|name| name.starts_with(TOKEN_VOLUME));
    let drop_tokens = |holder: &mut Map<String, Value>, field: &str| {
        let Some(list) = holder.get_mut(field).and_then(Value::as_array_mut) else { return };
        let before = list.len();
        list.retain(|entry| !is_token(entry));
        if list.is_empty() && before > 0 {
            holder.remove(field);
        }
    };
    drop_tokens(spec, "volumes");
    for containers in ["initContainers", "containers"] {
        let containers = spec.get_mut(containers).and_then(Value::as_array_mut).into_iter().flatten();
        containers.filter_map(Value::as_object_mut).for_each(|container| drop_tokens(container, "volumeMounts"));
    }
}

/// Removes keys of a map; a map that becomes empty by it goes too.
fn remove_from(parent: &mut Map<String, Value>, field: &str, keys: &[&str]) {
    let Some(map) = parent.get_mut(field).and_then(Value::as_object_mut) else { return };
    let before = map.len();
    map.retain(|key, _| !keys.contains(&key.as_str()));
    if map.is_empty() && before > 0 {
        parent.remove(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(resource: (&str, &str), transforms: &[(&str, Value)], object: Value, expected: Value) {
        let transforms: Vec<CustomTransform> = transforms
            .iter()
            .map(|(name, spec)| serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap())
            .collect();
        let (transforms, _) = Transforms::new(&transforms);
        let resource = GroupResource { group: resource.0.into(), resource: resource.1.into() };
        let Value::Object(object) = object else { panic!("an object") };
        let sent = transforms.apply(&resource, Object(object));
        assert_eq!(Value::Object(sent.0), expected);
    }

    #[test]
    fn what_the_server_added_stays_behind() {
        check(
            ("", "configmaps"),
            &[],
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}, "status": {"x": 1}, "metadata": {
                "name": "m", "namespace": "n", "uid": "u", "resourceVersion": "4", "generation": 2, "selfLink": "/x",
                "creationTimestamp": "2026-01-01T00:00:00Z", "generateName": "m", "finalizers": ["f"],
                "ownerReferences": [{}], "managedFields": [{}],
                "labels": {"a": "b", "managed-by.kubestellar.io/singletonstatus": "true"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            }}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"},
                   "metadata": {"name": "m", "namespace": "n", "labels": {"a": "b"}}}),
        );
    }

    #[test]
    fn what_admission_gave_a_pod_each_cluster_gives_anew() {
        let token = json!({"name": "kube-api-access-x1x2x", "projected": {}});
        let mount =
            json!({"name": "kube-api-access-x1x2x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
        let pod = |spec: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec});
        check(
            ("", "pods"),
            &[],
            pod(json!({"priority": 0, "preemptionPolicy": "PreemptLowerPriority", "volumes": [token, {"name": "own"}],
                "containers": [{"name": "a", "volumeMounts": [mount]}, {"name": "b", "volumeMounts": [{"name": "own"}]}]})),
            pod(json!({"volumes": [{"name": "own"}],
                "containers": [{"name": "a"}, {"name": "b", "volumeMounts": [{"name": "own"}]}]})),
        );
        check(
            ("", "pods"),
            &[],
            pod(json!({"priority": 7, "priorityClassName": "mine", "preemptionPolicy": "Never"})),
            pod(json!({"priorityClassName": "mine", "preemptionPolicy": "Never"})),
        );
    }

    #[test]
    fn an_aggregated_role_is_gathered_where_it_lands() {
        let role = |rest: Value| {
            let mut role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": "r"}});
            role.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            role
        };
        let resource = ("rbac.authorization.k8s.io", "clusterroles");
        let rule = json!({"clusterRoleSelectors": []});
        check(
            resource,
            &[],
            role(json!({"aggregationRule": rule, "rules": [{}]})),
            role(json!({"aggregationRule": rule})),
        );
        check(resource, &[], role(json!({"rules": [{}]})), role(json!({"rules": [{}]})));
    }

    #[test]
    fn a_service_gets_addresses_and_ports_where_it_lands() {
        let service = |annotations: Value, spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "annotations": annotations}, "spec": spec});
        let given = json!({
            "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster", "externalTrafficPolicy": "Cluster", "sessionAffinity": "None",
            "type": "NodePort", "ports": [{"port": 80, "nodePort": 30000}],
        });
        let services = ("", "services");
        check(
            services,
            &[],
            service(json!({"a": "b"}), given.clone()),
            service(json!({"a": "b"}), json!({"type": "NodePort", "ports": [{"port": 80}]})),
        );
        let keep = json!({"control.kubestellar.io/preserve": "nodeport"});
        check(
            services,
            &[],
            service(keep.clone(), given),
            service(keep, json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30000}]})),
        );
        let headless = json!({"clusterIP": "None", "clusterIPs": ["None"]});
        check(services, &[], service(json!({"a": "b"}), headless.clone()), service(json!({"a": "b"}), headless));
    }

    #[test]
    fn a_job_is_bound_to_its_pods_where_it_lands() {
        check(
            ("batch", "jobs"),
            &[],
            json!({"apiVersion": "batch/v1", "kind": "Job",
                   "metadata": {"name": "j", "annotations": {"batch.kubernetes.io/job-tracking": ""},
                                "labels": {"controller-uid": "1", "app": "x"}},
                   "spec": {"suspend": false, "selector": {"matchLabels": {}}, "completions": 1, "template": {
                       "metadata": {"labels": {"batch.kubernetes.io/controller-uid": "1", "app": "x"}}, "spec": {}}}}),
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "labels": {"app": "x"}},
                   "spec": {"completions": 1, "template": {"metadata": {"labels": {"app": "x"}}, "spec": {}}}}),
        );
    }

    #[test]
    fn transforms_of_the_resource_remove() {
        let roles = |remove: Value| json!({"apiGroup": "rbac.authorization.k8s.io", "resource": "clusterroles", "remove": remove});
        check(
            ("rbac.authorization.k8s.io", "clusterroles"),
            &[("a", roles(json!(["$.rules", "$.x["]))), ("b", roles(json!(["$.metadata.labels[\"a.b/c\"]"])))],
            json!({"metadata": {"name": "r", "labels": {"a.b/c": "1", "d": "2"}}, "rules": [1]}),
            json!({"metadata": {"name": "r", "labels": {"d": "2"}}}),
        );
        check(
            ("", "configmaps"),
            &[("a", roles(json!(["$.data"])))],
            json!({"metadata": {}, "data": 1}),
            json!({"metadata": {}, "data": 1}),
        );
    }

    #[test]
    fn transforms_are_told_what_is_wrong_with_them() {
        let transform = |name: &str, remove: Value| -> CustomTransform {
            let spec = json!({"apiGroup": "", "resource": "configmaps", "remove": remove});
            serde_json::from_value(json!({"metadata": {"name": name, "generation": 3}, "spec": spec})).unwrap()
        };
        let (_, statuses) = Transforms::new(&[transform("a", json!(["$", "$.x", "x"])), transform("b", json!([]))]);
        let warning = "multiple CustomTransform objects specify the same GroupResource; their names are {a, b}";
        let expected = CustomTransformStatus {
            observed_generation: 3,
            errors: vec![
                "Invalid spec.remove[0]: it identifies the whole object".into(),
                "Error in spec.remove[2]: syntax error at 0: missing root identifier (dollar sign)".into(),
            ],
            warnings: vec![warning.into()],
        };
        assert_eq!(statuses["a"], expected);
        assert_eq!(statuses["b"].warnings, [warning]);
    }

    #[test]
    fn templates_are_noticed() {
        let object = |annotation: &str, text: &str| {
            let meta = json!({"annotations": {"control.kubestellar.io/expand-templates": annotation}});
            let Value::Object(object) = json!({"metadata": meta, "spec": {"a": [{"b": text}]}}) else { panic!() };
            wants_expansion(&Object(object))
        };
        assert!(object("true", "x {{ .clusterName }}"));
        assert!(!object("true", "x"));
        assert!(!object("false", "{{ .clusterName }}"));
    }
}
