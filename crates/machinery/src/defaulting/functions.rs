//! Defaults that depend on more than one field.

use super::{Fields, at_path, is_blank, set_path};
use crate::field::text_at as text;
use base64::Engine as _;
use serde_json::{Map, Value, json};

type Function = fn(&mut Fields);

/// The functions, by the last three parts of the definition's name.
pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("core.v1.Container", pull_policy),
    ("core.v1.EphemeralContainer", pull_policy),
    ("core.v1.Pod", pod),
    ("core.v1.PodSpec", service_account),
    ("core.v1.Volume", volume),
    ("core.v1.Service", service),
    ("core.v1.ServicePort", target_port),
    ("core.v1.Secret", string_data),
    ("core.v1.Namespace", namespace_label),
    ("core.v1.NodeStatus", allocatable),
    ("core.v1.LimitRangeItem", limit_range),
    ("core.v1.ReplicationController", replication_controller),
    ("apps.v1.StatefulSet", claim_templates),
    ("autoscaling.v1.HorizontalPodAutoscaler", processor_use),
    ("batch.v1.Job", job),
    ("apiextensions.v1.CustomResourceDefinition", definition_names),
];

/// `Always` for `latest`, which is also what an image without tag and digest means. What is no reference of an image has
/// no tag.
fn policy_of_image(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match name[start..].split_once(':') {
        Some((_, tag)) => (&name[..name.len() - tag.len() - 1], Some(tag)),
        None => (name, None),
    };
    match tag {
        Some("latest") if is_repository(name) => "Always",
        None if digest.is_none() && is_repository(name) => "Always",
        _ => "IfNotPresent",
    }
}

/// Whether the text names a repository of images: parts in lower case, after the host if there is one.
fn is_repository(name: &str) -> bool {
    let is_host = |text: &str| text == "localhost" || text.contains(['.', ':']) || text != text.to_lowercase();
    let path = match name.split_once('/') {
        Some((host, path)) if is_host(host) => path,
        _ => name,
    };
    path.split('/').all(|part| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ends = part.bytes().next().is_some_and(inner) && part.bytes().last().is_some_and(inner);
        ends && part.bytes().all(|b| inner(b) || matches!(b, b'.' | b'_' | b'-'))
    })
}

fn pull_policy(container: &mut Fields) {
    if is_blank(container.get("imagePullPolicy")) {
        let policy = policy_of_image(text(container, "image"));
        container.insert("imagePullPolicy".into(), policy.into());
    }
}

/// The two names of the service account are one field inside the stock server.
fn service_account(spec: &mut Fields) {
    let name = match text(spec, "serviceAccountName") {
        "" => text(spec, "serviceAccount"),
        name => name,
    };
    if !name.is_empty() {
        let name = Value::from(name);
        spec.insert("serviceAccount".into(), name.clone());
        spec.insert("serviceAccountName".into(), name);
    }
}

/// Only Pods, not templates of Pods: requests from limits, host ports on the host's network.
fn pod(pod: &mut Fields) {
    let Some(Value::Object(spec)) = pod.get_mut("spec") else { return };
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for field in ["containers", "initContainers"] {
        for container in spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(Value::Object(resources)) = container.get_mut("resources") {
                fill_missing(resources, "limits", "requests");
            }
            if !host_network {
                continue;
            }
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Value::Object(port) = port
                    && is_blank(port.get("hostPort"))
                    && let Some(number) = port.get("containerPort").cloned()
                {
                    port.insert("hostPort".into(), number);
                }
            }
        }
    }
    if let Some(Value::Object(resources)) = spec.get_mut("resources") {
        fill_missing(resources, "limits", "requests");
    }
}

/// Copies what is in the map `from` and not in the map `to`.
fn fill_missing(fields: &mut Fields, from: &str, to: &str) {
    let Some(Value::Object(source)) = fields.get(from).cloned() else { return };
    if source.is_empty() {
        return;
    }
    if let Value::Object(target) = fields.entry(to).or_insert_with(|| Map::new().into()) {
        for (key, value) in source {
            target.entry(key).or_insert(value);
        }
    }
}

fn volume(volume: &mut Fields) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".into(), json!({}));
    }
    if let Some(Value::Object(image)) = volume.get_mut("image")
        && is_blank(image.get("pullPolicy"))
    {
        let policy = policy_of_image(text(image, "reference"));
        image.insert("pullPolicy".into(), policy.into());
    }
}

fn service(service: &mut Fields) {
    let absent = |service: &Fields, path: &str| at_path(service, path).is_none();
    if text(service, "spec.sessionAffinity").is_empty() {
        set_path(service, "spec.sessionAffinity", "None".into());
    }
    match text(service, "spec.sessionAffinity") {
        "None" => {
            if let Some(Value::Object(spec)) = service.get_mut("spec") {
                spec.remove("sessionAffinityConfig");
            }
        }
        "ClientIP" if absent(service, "spec.sessionAffinityConfig.clientIP.timeoutSeconds") => {
            set_path(service, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", 10_800.into());
        }
        _ => {}
    }
    if text(service, "spec.type").is_empty() {
        set_path(service, "spec.type", "ClusterIP".into());
    }
    let kind = text(service, "spec.type").to_owned();
    let external_ips = !is_blank(at_path(service, "spec.externalIPs"));
    let external = matches!(kind.as_str(), "LoadBalancer" | "NodePort") || (kind == "ClusterIP" && external_ips);
    if external && text(service, "spec.externalTrafficPolicy").is_empty() {
        set_path(service, "spec.externalTrafficPolicy", "Cluster".into());
    }
    if kind != "ExternalName" && absent(service, "spec.internalTrafficPolicy") {
        set_path(service, "spec.internalTrafficPolicy", "Cluster".into());
    }
    if kind != "LoadBalancer" {
        return;
    }
    if absent(service, "spec.allocateLoadBalancerNodePorts") {
        set_path(service, "spec.allocateLoadBalancerNodePorts", true.into());
    }
    let ingresses = service.get_mut("status").and_then(|status| status.get_mut("loadBalancer"));
    let ingresses = ingresses.and_then(|balancer| balancer.get_mut("ingress")).and_then(Value::as_array_mut);
    for ingress in ingresses.into_iter().flatten() {
        if let Value::Object(ingress) = ingress
            && !text(ingress, "ip").is_empty()
            && !ingress.contains_key("ipMode")
        {
            ingress.insert("ipMode".into(), "VIP".into());
        }
    }
}

fn target_port(port: &mut Fields) {
    if is_blank(port.get("targetPort"))
        && let Some(number) = port.get("port").cloned()
    {
        port.insert("targetPort".into(), number);
    }
}

/// What was written as text joins `data`, over what is there, and is never shown again.
fn string_data(secret: &mut Fields) {
    let Some(given) = secret.remove("stringData") else { return };
    let Value::Object(given) = given else { return };
    if given.is_empty() {
        return;
    }
    if let Value::Object(data) = secret.entry("data").or_insert_with(|| Map::new().into()) {
        for (key, value) in given {
            let bytes = value.as_str().unwrap_or("").as_bytes();
            data.insert(key, base64::engine::general_purpose::STANDARD.encode(bytes).into());
        }
    }
}

fn namespace_label(namespace: &mut Fields) {
    let name = text(namespace, "metadata.name").to_owned();
    let Some(Value::Object(metadata)) = namespace.get_mut("metadata") else { return };
    if name.is_empty() {
        return;
    }
    if let Value::Object(labels) = metadata.entry("labels").or_insert_with(|| Map::new().into()) {
        labels.insert("kubernetes.io/metadata.name".into(), name.into());
    }
}

fn allocatable(status: &mut Fields) {
    if !status.contains_key("allocatable")
        && let Some(capacity) = status.get("capacity").cloned()
    {
        status.insert("allocatable".into(), capacity);
    }
}

fn limit_range(item: &mut Fields) {
    if text(item, "type") == "Container" {
        fill_missing(item, "max", "default");
        fill_missing(item, "default", "defaultRequest");
        fill_missing(item, "min", "defaultRequest");
    }
}

/// The labels of the template, if it has any.
fn template_labels(object: &Fields) -> Option<Value> {
    at_path(object, "spec.template.metadata.labels").filter(|labels| !is_blank(Some(labels))).cloned()
}

fn replication_controller(controller: &mut Fields) {
    let Some(labels) = template_labels(controller) else { return };
    for path in ["spec.selector", "metadata.labels"] {
        if is_blank(at_path(controller, path)) {
            set_path(controller, path, labels.clone());
        }
    }
}

fn claim_templates(set: &mut Fields) {
    let templates = set.get_mut("spec").and_then(|spec| spec.get_mut("volumeClaimTemplates"));
    for template in templates.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::Object(template) = template {
            template.insert("apiVersion".into(), "v1".into());
            template.insert("kind".into(), "PersistentVolumeClaim".into());
        }
    }
}

fn job(job: &mut Fields) {
    let has = |job: &Fields, path: &str| at_path(job, path).is_some();
    if !has(job, "spec.parallelism") {
        if !has(job, "spec.completions") {
            set_path(job, "spec.completions", 1.into());
        }
        set_path(job, "spec.parallelism", 1.into());
    }
    if !has(job, "spec.backoffLimit") {
        let limit = if has(job, "spec.backoffLimitPerIndex") { i32::MAX } else { 6 };
        set_path(job, "spec.backoffLimit", limit.into());
    }
    if let (Some(labels), true) = (template_labels(job), is_blank(at_path(job, "metadata.labels"))) {
        set_path(job, "metadata.labels", labels);
    }
}

/// What the second version does of an autoscaler without metrics. The first has no field for others than this one, and
/// keeps them in an annotation.
fn processor_use(autoscaler: &mut Fields) {
    let annotations = at_path(autoscaler, "metadata.annotations");
    let others = annotations.and_then(|annotations| annotations.get("autoscaling.alpha.kubernetes.io/metrics"));
    if others.is_none() && at_path(autoscaler, "spec.targetCPUUtilizationPercentage").is_none() {
        set_path(autoscaler, "spec.targetCPUUtilizationPercentage", 80.into());
    }
}

fn definition_names(definition: &mut Fields) {
    let kind = text(definition, "spec.names.kind").to_owned();
    if kind.is_empty() {
        return;
    }
    if text(definition, "spec.names.singular").is_empty() {
        set_path(definition, "spec.names.singular", kind.to_lowercase().into());
    }
    if text(definition, "spec.names.listKind").is_empty() {
        set_path(definition, "spec.names.listKind", format!("{kind}List").into());
    }
}
