//! What may not change.

use super::{Causes, Fields};
use crate::field::{self, Path, at, flag_at, int_at, list_at, object_at, text_at};
use crate::services;
use api::{Cause, Object};
use serde_json::{Map, Value};

/// Fields that keep the value that they were created with: group, kind, path.
const IMMUTABLE: &[(&str, &str, &str)] = &[
    ("apps", "DaemonSet", "spec.selector"),
    ("apps", "Deployment", "spec.selector"),
    ("apps", "ReplicaSet", "spec.selector"),
    ("apps", "ControllerRevision", "data"),
    ("batch", "Job", "spec.selector"),
    ("batch", "Job", "spec.completionMode"),
    ("batch", "Job", "spec.podFailurePolicy"),
    ("batch", "Job", "spec.backoffLimitPerIndex"),
    ("batch", "Job", "spec.managedBy"),
    ("batch", "Job", "spec.successPolicy"),
    ("", "Secret", "type"),
    ("discovery.k8s.io", "EndpointSlice", "addressType"),
    ("networking.k8s.io", "IngressClass", "spec.controller"),
    ("node.k8s.io", "RuntimeClass", "handler"),
    ("storage.k8s.io", "StorageClass", "volumeBindingMode"),
    ("storage.k8s.io", "VolumeAttachment", "spec"),
    ("storage.k8s.io", "VolumeAttributesClass", "driverName"),
    ("storage.k8s.io", "VolumeAttributesClass", "parameters"),
    ("storage.k8s.io", "CSIDriver", "spec.attachRequired"),
    ("storage.k8s.io", "CSIDriver", "spec.volumeLifecycleModes"),
    ("storage.k8s.io", "CSIStorageCapacity", "storageClassName"),
    ("storage.k8s.io", "CSIStorageCapacity", "nodeTopology"),
];

/// Fields of which the stock server says in other words that they may not change.
const FORBIDDEN: &[(&str, &str, &str, &str)] = &[
    ("storage.k8s.io", "StorageClass", "parameters", "updates to parameters are forbidden."),
    ("storage.k8s.io", "StorageClass", "provisioner", "updates to provisioner are forbidden."),
    ("storage.k8s.io", "StorageClass", "reclaimPolicy", "updates to reclaimPolicy are forbidden."),
    ("scheduling.k8s.io", "PriorityClass", "value", "may not be changed in an update."),
    ("", "PersistentVolume", "spec.volumeMode", "field is immutable"),
];

pub(super) fn check(group: &str, kind: &str, new: &Fields, old: &Fields, out: &mut Causes) {
    for (_, _, path) in IMMUTABLE.iter().filter(|(g, k, _)| *g == group && *k == kind) {
        unchanged(new, old, path, out);
    }
    for (_, _, path, why) in FORBIDDEN.iter().filter(|(g, k, _, _)| *g == group && *k == kind) {
        if given(new, path) != given(old, path) {
            out.push(Cause { field: (*path).into(), ..field::forbidden(&Path::ROOT, why) });
        }
    }
    match (group, kind) {
        ("", "ConfigMap" | "Secret") => frozen(new, old, out),
        ("", "Pod") => pod(new, old, out),
        ("", "Service") => service(new, old, out),
        ("networking.k8s.io", "IPAddress") => address(new, old, out),
        ("networking.k8s.io", "ServiceCIDR") => range(new, old, out),
        ("", "PersistentVolumeClaim") => claim(new, old, out),
        ("", "PersistentVolume") => volume(new, old, out),
        ("apps", "StatefulSet") => stateful_set(new, old, out),
        ("batch", "Job") => job(new, old, out),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding")
            if new.get("roleRef") != old.get("roleRef") =>
        {
            let text =
                |key: &str| new.get("roleRef").and_then(|role| role.get(key)).cloned().unwrap_or_else(|| "".into());
            let value = serde_json::json!({"APIGroup": text("apiGroup"), "Kind": text("kind"), "Name": text("name")});
            out.push(field::invalid(&Path::ROOT.field("roleRef"), &value, "cannot change roleRef"));
        }
        _ => {}
    }
}

/// The value at a path; empty lists and maps are as good as none.
fn given<'v>(object: &'v Fields, path: &str) -> Option<&'v Value> {
    at(object, path).filter(|value| match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    })
}

fn unchanged(new: &Fields, old: &Fields, path: &str, out: &mut Causes) {
    let (after, before) = (given(new, path), given(old, path));
    if after != before {
        let value = after.cloned().unwrap_or(Value::Null);
        out.push(Cause { field: path.into(), ..field::invalid(&Path::ROOT, &value, "field is immutable") });
    }
}

/// ConfigMaps and Secrets that say that they are immutable.
fn frozen(new: &Fields, old: &Fields, out: &mut Causes) {
    if !flag_at(old, "immutable") {
        return;
    }
    const WHY: &str = "field is immutable when `immutable` is set";
    if !flag_at(new, "immutable") {
        out.push(field::forbidden(&Path::ROOT.field("immutable"), WHY));
    }
    for name in ["data", "binaryData"] {
        if given(new, name) != given(old, name) {
            out.push(field::forbidden(&Path::ROOT.field(name), WHY));
        }
    }
}

/// A copy of an object's spec without what may change.
fn rest(object: &Fields, without: &[&str]) -> Map<String, Value> {
    let mut spec = object_at(object, "spec").cloned().unwrap_or_default();
    spec.retain(|key, value| !without.contains(&key.as_str()) && !value.is_null());
    spec
}

/// A Pod with the amounts of another one: what its subresource `resize` may change, and an update of the whole may not.
pub fn resized(pod: &Object, amounts: &Object) -> Object {
    let mut resized = pod.clone();
    for list in ["containers", "initContainers"] {
        let Some(Value::Array(containers)) = resized.0.get_mut("spec").and_then(|spec| spec.get_mut(list)) else {
            continue;
        };
        let others = list_at(&amounts.0, &format!("spec.{list}"));
        for (container, other) in containers.iter_mut().filter_map(Value::as_object_mut).zip(others) {
            match other.get("resources") {
                Some(amounts) => container.insert("resources".into(), amounts.clone()),
                None => container.remove("resources"),
            };
        }
    }
    resized
}

fn pod(new: &Fields, old: &Fields, out: &mut Causes) {
    let stable = |object: &Fields| {
        const MUTABLE: [&str; 6] = [
            "activeDeadlineSeconds",
            "ephemeralContainers",
            "schedulingGates",
            "terminationGracePeriodSeconds",
            "tolerations",
            // Binding is a subresource of its own.
            "nodeName",
        ];
        let mut spec = rest(object, &MUTABLE);
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                if let Value::Object(container) = container {
                    container.remove("image");
                }
            }
        }
        spec
    };
    let path = Path::ROOT.field("spec");
    if stable(new) != stable(old) {
        let why = "pod updates may not change fields other than `spec.containers[*].image`,\
                   `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
                   existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
                   previously negative)";
        out.push(field::forbidden(&path, why));
    }
    let kept = list_at(new, "spec.tolerations");
    if list_at(old, "spec.tolerations").iter().any(|toleration| !kept.contains(toleration)) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        let only_seconds = |list: &[Value]| -> Vec<Value> {
            let mut list = list.to_vec();
            list.iter_mut().filter_map(Value::as_object_mut).for_each(|toleration| {
                toleration.remove("tolerationSeconds");
            });
            list
        };
        let (after, before) = (only_seconds(kept), only_seconds(list_at(old, "spec.tolerations")));
        if before.iter().any(|toleration| !after.contains(toleration)) {
            out.push(field::forbidden(&path.field("tolerations"), why));
        }
    }
}

fn service(new: &Fields, old: &Fields, out: &mut Causes) {
    let empty = Fields::new();
    let spec = |object| object_at(object, "spec").unwrap_or(&empty);
    let (new, old) = (spec(new), spec(old));
    services::check_change(new, old, out);
    let root = Path::ROOT.field("spec");
    if services::needs_health_check(new)
        && services::needs_health_check(old)
        && int_at(new, "healthCheckNodePort") != int_at(old, "healthCheckNodePort")
    {
        out.push(field::forbidden(&root.field("healthCheckNodePort"), "field is immutable"));
    }
    let balances = |spec: &Fields| text_at(spec, "type") == "LoadBalancer";
    let class = given(new, "loadBalancerClass");
    if balances(new) && balances(old) && class != given(old, "loadBalancerClass") {
        let class = class.cloned().unwrap_or(Value::Null);
        out.push(field::invalid(&root.field("loadBalancerClass"), &class, "may not change once set"));
    }
}

/// What an address belongs to.
fn address(new: &Fields, old: &Fields, out: &mut Causes) {
    const PATH: &str = "spec.parentRef";
    if given(new, PATH) == given(old, PATH) || given(new, PATH).is_none() {
        return;
    }
    let text = |key: &str| field::quote(text_at(new, &format!("{PATH}.{key}")));
    // In the order of the stock server's fields.
    let (group, resource, namespace, name) = (text("group"), text("resource"), text("namespace"), text("name"));
    let shown = format!(r#"{{"Group":{group},"Resource":{resource},"Namespace":{namespace},"Name":{name}}}"#);
    let spec = Path::ROOT.field("spec");
    let cause = field::invalid(&spec.field("parentRef"), &Value::Null, "");
    out.push(Cause { message: format!("Invalid value: {shown}: field is immutable"), ..cause });
}

/// The ranges of addresses: a second one may come.
fn range(new: &Fields, old: &Fields, out: &mut Causes) {
    let (after, before) = (list_at(new, "spec.cidrs"), list_at(old, "spec.cidrs"));
    let spec = Path::ROOT.field("spec");
    let path = spec.field("cidrs");
    const WHY: &str = "field is immutable";
    if after.len() != before.len() && (before.len(), after.len()) != (1, 2) {
        out.push(field::invalid(&path, &Value::Array(after.to_vec()), WHY));
        return;
    }
    for (index, (after, before)) in after.iter().zip(before).enumerate() {
        if after != before {
            out.push(field::invalid(&path.index(index), after, WHY));
        }
    }
}

fn claim(new: &Fields, old: &Fields, out: &mut Causes) {
    let stable = |object: &Fields| {
        let mut spec = rest(object, &["volumeAttributesClassName"]);
        if let Some(Value::Object(resources)) = spec.get_mut("resources") {
            resources.remove("requests");
        }
        spec
    };
    let (mut after, before) = (stable(new), stable(old));
    // The binder sets the volume's name, and a default class may come late; once each.
    for name in ["volumeName", "storageClassName"] {
        if !before.contains_key(name) {
            after.remove(name);
        }
    }
    let path = Path::ROOT.field("spec");
    if after != before {
        let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
                   claims";
        out.push(field::forbidden(&path, why));
        return;
    }
    let size =
        |object: &Fields| at(object, "spec.resources.requests.storage").and_then(crate::quantity::Quantity::from_value);
    if let (Some(after), Some(before)) = (size(new), size(old)) {
        let path = path.field("resources");
        let requests = path.field("requests");
        let capacity = at(new, "status.capacity.storage").and_then(crate::quantity::Quantity::from_value);
        if after < before && capacity.is_none_or(|capacity| after < capacity) {
            let why = "field can not be less than status.capacity";
            out.push(field::forbidden(&requests.field("storage"), why));
        }
    }
}

fn volume(new: &Fields, old: &Fields, out: &mut Causes) {
    const MUTABLE: [&str; 9] = [
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    ];
    if rest(new, &MUTABLE) != rest(old, &MUTABLE) {
        let path = Path::ROOT.field("spec");
        let why = "spec.persistentvolumesource is immutable after creation";
        out.push(field::forbidden(&path.field("persistentvolumesource"), why));
    }
}

fn stateful_set(new: &Fields, old: &Fields, out: &mut Causes) {
    const MUTABLE: [&str; 7] = [
        "minReadySeconds",
        "ordinals",
        "persistentVolumeClaimRetentionPolicy",
        "replicas",
        "revisionHistoryLimit",
        "template",
        "updateStrategy",
    ];
    if rest(new, &MUTABLE) != rest(old, &MUTABLE) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                   'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                   'minReadySeconds' are forbidden";
        out.push(field::forbidden(&Path::ROOT.field("spec"), why));
    }
}

fn job(new: &Fields, old: &Fields, out: &mut Causes) {
    let spec = Path::ROOT.field("spec");
    // An indexed Job is scaled by changing both numbers alike.
    let count = |object: &Fields, name: &str| int_at(object, &format!("spec.{name}"));
    let scaled = text_at(new, "spec.completionMode") == "Indexed"
        && count(new, "completions") == count(new, "parallelism")
        && count(new, "completions").is_some();
    if count(new, "completions") != count(old, "completions") && !scaled {
        let value = count(new, "completions").map_or(Value::Null, Value::from);
        out.push(field::invalid(&spec.field("completions"), &value, "field is immutable"));
    }
    // While it is suspended and has not started, scheduling directives of the template may change.
    let waiting = flag_at(old, "spec.suspend") && at(old, "status.startTime").is_none_or(Value::is_null);
    let template = |object: &Fields| {
        let mut template = object_at(object, "spec.template").cloned().unwrap_or_default();
        if waiting {
            if let Some(Value::Object(metadata)) = template.get_mut("metadata") {
                metadata.remove("labels");
                metadata.remove("annotations");
            }
            if let Some(Value::Object(spec)) = template.get_mut("spec") {
                for name in ["nodeSelector", "tolerations", "affinity", "schedulingGates"] {
                    spec.remove(name);
                }
                for container in spec.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten() {
                    if let Value::Object(container) = container {
                        container.remove("resources");
                    }
                }
            }
        }
        template
    };
    if template(new) != template(old) {
        let value = at(new, "spec.template").cloned().unwrap_or(Value::Null);
        out.push(field::invalid(&spec.field("template"), &value, "field is immutable"));
    }
}
