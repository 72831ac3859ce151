//! Cells of the kinds that run nothing.

use super::text::{balancer, condition, labels, or, scalar, selector_or_none, some};
use super::{Cells, Context, Fields, duration, row};
use crate::field::{at, flag_at, int_at, list_at, object_at, objects_at, text_at};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) const KINDS: &[(&str, &str, Cells)] = &[
    ("", "ComponentStatus", component_status),
    ("", "ConfigMap", config_map),
    ("", "Endpoints", endpoints),
    ("", "Event", event),
    ("", "Namespace", namespace),
    ("", "Node", node),
    ("", "PersistentVolume", volume),
    ("", "PersistentVolumeClaim", claim),
    ("", "ResourceQuota", quota),
    ("", "Secret", secret),
    ("", "Service", service),
    ("", "ServiceAccount", name_and_age),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy", mutating_policy),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding", policy_binding),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", webhooks),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", validating_policy),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", policy_binding),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", webhooks),
    ("apiregistration.k8s.io", "APIService", api_service),
    ("certificates.k8s.io", "CertificateSigningRequest", signing_request),
    ("coordination.k8s.io", "Lease", lease),
    ("discovery.k8s.io", "EndpointSlice", endpoint_slice),
    ("events.k8s.io", "Event", event),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema", flow_schema),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", priority_level),
    ("networking.k8s.io", "IPAddress", ip_address),
    ("networking.k8s.io", "Ingress", ingress),
    ("networking.k8s.io", "IngressClass", ingress_class),
    ("networking.k8s.io", "NetworkPolicy", network_policy),
    ("networking.k8s.io", "ServiceCIDR", service_cidr),
    ("node.k8s.io", "RuntimeClass", runtime_class),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", role_binding),
    ("rbac.authorization.k8s.io", "RoleBinding", role_binding),
    ("resource.k8s.io", "DeviceClass", name_and_age),
    ("resource.k8s.io", "ResourceClaim", resource_claim),
    ("resource.k8s.io", "ResourceClaimTemplate", name_and_age),
    ("resource.k8s.io", "ResourceSlice", resource_slice),
    ("scheduling.k8s.io", "PriorityClass", priority_class),
    ("storage.k8s.io", "CSIDriver", csi_driver),
    ("storage.k8s.io", "CSINode", csi_node),
    ("storage.k8s.io", "StorageClass", storage_class),
    ("storage.k8s.io", "VolumeAttachment", volume_attachment),
    ("storage.k8s.io", "VolumeAttributesClass", volume_attributes_class),
];

fn name_and_age(context: &Context<'_>) -> Vec<Value> {
    row![context.name(), context.age()]
}

fn count(object: &Fields, path: &str) -> usize {
    match at(object, path) {
        Some(Value::Object(map)) => map.len(),
        Some(Value::Array(list)) => list.len(),
        _ => 0,
    }
}

fn texts<'o>(object: &'o Fields, path: &str) -> Vec<&'o str> {
    list_at(object, path).iter().filter_map(Value::as_str).collect()
}

fn component_status(context: &Context<'_>) -> Vec<Value> {
    let healthy = objects_at(context.object, "conditions").find(|condition| text_at(condition, "type") == "Healthy");
    let Some(healthy) = healthy else { return row![context.name(), "Unknown", "", ""] };
    let status = if text_at(healthy, "status") == "True" { "Healthy" } else { "Unhealthy" };
    row![context.name(), status, text_at(healthy, "message"), text_at(healthy, "error")]
}

fn config_map(context: &Context<'_>) -> Vec<Value> {
    let keys = count(context.object, "data") + count(context.object, "binaryData");
    row![context.name(), keys, context.age()]
}

fn secret(context: &Context<'_>) -> Vec<Value> {
    row![context.name(), text_at(context.object, "type"), count(context.object, "data"), context.age()]
}

fn namespace(context: &Context<'_>) -> Vec<Value> {
    row![context.name(), text_at(context.object, "status.phase"), context.age()]
}

fn endpoints(context: &Context<'_>) -> Vec<Value> {
    let mut items = Vec::new();
    for subset in objects_at(context.object, "subsets") {
        let addresses: Vec<&str> = objects_at(subset, "addresses").map(|address| text_at(address, "ip")).collect();
        let ports: Vec<i64> = objects_at(subset, "ports").filter_map(|port| int_at(port, "port")).collect();
        if ports.is_empty() {
            items.extend(addresses.iter().map(|ip| (*ip).to_owned()));
        }
        for port in ports {
            items.extend(
                addresses.iter().map(
                    |ip| {
                        if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
                    },
                ),
            );
        }
    }
    let empty = if list_at(context.object, "subsets").is_empty() { "<none>" } else { "" };
    row![context.name(), some(&items, empty), context.age()]
}

fn endpoint_slice(context: &Context<'_>) -> Vec<Value> {
    let ports: Vec<String> = objects_at(context.object, "ports")
        .map(|port| match (int_at(port, "port"), at(port, "name").and_then(Value::as_str)) {
            (Some(number), _) => number.to_string(),
            (None, Some(name)) => name.to_owned(),
            (None, None) => "*".to_owned(),
        })
        .collect();
    let addresses: Vec<String> = objects_at(context.object, "endpoints")
        .flat_map(|endpoint| texts(endpoint, "addresses"))
        .map(str::to_owned)
        .collect();
    let kind = text_at(context.object, "addressType");
    row![context.name(), kind, some(&ports, "<unset>"), some(&addresses, "<unset>"), context.age()]
}

/// Both APIs of events: what `events.k8s.io` renamed is read under either name.
fn event(context: &Context<'_>) -> Vec<Value> {
    let event = context.object;
    let either = |a: &'static str, b: &'static str| if at(event, a).is_some_and(|v| !v.is_null()) { a } else { b };
    let first_seen = match either("firstTimestamp", "deprecatedFirstTimestamp") {
        path if at(event, path).is_some_and(|value| !value.is_null()) => context.since(path),
        _ => context.since("eventTime"),
    };
    let mut last_seen = match either("lastTimestamp", "deprecatedLastTimestamp") {
        path if at(event, path).is_some_and(|value| !value.is_null()) => context.since(path),
        _ => first_seen.clone(),
    };
    let mut count = int_at(event, either("count", "deprecatedCount")).unwrap_or(0).max(1);
    if object_at(event, "series").is_some() {
        last_seen = context.since("series.lastObservedTime");
        count = int_at(event, "series.count").unwrap_or(0);
    }
    let about = either("involvedObject", "regarding");
    let part = |field: &str| text_at(event, &format!("{about}.{field}"));
    let kind = part("kind").to_lowercase();
    let target = if part("name").is_empty() { kind } else { format!("{kind}/{}", part("name")) };
    let source = either("source", "deprecatedSource");
    let first = |texts: [&str; 2]| texts.into_iter().find(|text| !text.is_empty()).unwrap_or("").to_owned();
    let controller = text_at(event, either("reportingComponent", "reportingController"));
    let component = first([text_at(event, &format!("{source}.component")), controller]);
    let instance = first([text_at(event, &format!("{source}.host")), text_at(event, "reportingInstance")]);
    let source = if instance.is_empty() { component } else { format!("{component}, {instance}") };
    row![
        last_seen,
        text_at(event, "type"),
        text_at(event, "reason"),
        target,
        part("fieldPath"),
        source,
        text_at(event, either("message", "note")).trim(),
        first_seen,
        count,
        context.name(),
    ]
}

fn node(context: &Context<'_>) -> Vec<Value> {
    let node = context.object;
    let mut status = match condition(node, "Ready") {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if flag_at(node, "spec.unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    let roles: BTreeSet<&str> = object_at(node, "metadata.labels")
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    let roles = roles.into_iter().collect::<Vec<_>>().join(",");
    let address = |kind: &str| {
        let found = objects_at(node, "status.addresses").find(|address| text_at(address, "type") == kind);
        found.map_or("<none>", |address| text_at(address, "address")).to_owned()
    };
    let info = |field: &str| or(text_at(node, &format!("status.nodeInfo.{field}")), "<unknown>");
    row![
        context.name(),
        status,
        or(&roles, "<none>"),
        context.age(),
        text_at(node, "status.nodeInfo.kubeletVersion"),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn access_modes(object: &Fields, path: &str) -> String {
    let modes = texts(object, path);
    const SHORT: [(&str, &str); 4] =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let shown: Vec<&str> = SHORT.into_iter().filter(|(long, _)| modes.contains(long)).map(|(_, short)| short).collect();
    shown.join(",")
}

/// The storage class, which old clients write as an annotation.
fn class_of(object: &Fields) -> &str {
    let annotations = object_at(object, "metadata.annotations");
    let beta = annotations.and_then(|all| all.get("volume.beta.kubernetes.io/storage-class")).and_then(Value::as_str);
    beta.unwrap_or_else(|| text_at(object, "spec.storageClassName"))
}

fn phase(object: &Fields) -> &str {
    let deleting = at(object, "metadata.deletionTimestamp").is_some();
    if deleting { "Terminating" } else { text_at(object, "status.phase") }
}

fn or_unset(object: &Fields, path: &str) -> String {
    at(object, path).and_then(Value::as_str).unwrap_or("<unset>").to_owned()
}

fn volume(context: &Context<'_>) -> Vec<Value> {
    let volume = context.object;
    let claim = object_at(volume, "spec.claimRef")
        .map(|claim| format!("{}/{}", text_at(claim, "namespace"), text_at(claim, "name")))
        .unwrap_or_default();
    row![
        context.name(),
        scalar(volume, "spec.capacity.storage").unwrap_or_else(|| "0".into()),
        access_modes(volume, "spec.accessModes"),
        text_at(volume, "spec.persistentVolumeReclaimPolicy"),
        phase(volume),
        claim,
        class_of(volume),
        or_unset(volume, "spec.volumeAttributesClassName"),
        text_at(volume, "status.reason"),
        context.age(),
        or_unset(volume, "spec.volumeMode"),
    ]
}

fn claim(context: &Context<'_>) -> Vec<Value> {
    let claim = context.object;
    let bound = text_at(claim, "spec.volumeName");
    let (capacity, modes) = if bound.is_empty() {
        (String::new(), String::new())
    } else {
        let capacity = scalar(claim, "status.capacity.storage").unwrap_or_else(|| "0".into());
        (capacity, access_modes(claim, "status.accessModes"))
    };
    row![
        context.name(),
        phase(claim),
        bound,
        capacity,
        modes,
        class_of(claim),
        or_unset(claim, "spec.volumeAttributesClassName"),
        context.age(),
        or_unset(claim, "spec.volumeMode"),
    ]
}

fn quota(context: &Context<'_>) -> Vec<Value> {
    let mut requests = Vec::new();
    let mut limits = Vec::new();
    let used = object_at(context.object, "status.used");
    for (name, hard) in object_at(context.object, "status.hard").into_iter().flatten() {
        let used = used.and_then(|used| used.get(name)).and_then(Value::as_str).unwrap_or("0");
        let text = format!("{name}: {used}/{}", hard.as_str().unwrap_or("0"));
        if name.starts_with("limits.") { &mut limits } else { &mut requests }.push(text);
    }
    row![context.name(), requests.join(", "), limits.join(", "), context.age()]
}

fn service(context: &Context<'_>) -> Vec<Value> {
    let service = context.object;
    let kind = text_at(service, "spec.type");
    let external_ips = texts(service, "spec.externalIPs").join(",");
    let external = match kind {
        "ClusterIP" | "NodePort" => or(&external_ips, "<none>"),
        "LoadBalancer" => {
            let all = [balancer(service), external_ips].into_iter().filter(|text| !text.is_empty());
            or(&all.collect::<Vec<_>>().join(","), "<pending>")
        }
        "ExternalName" => text_at(service, "spec.externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    };
    let ports: Vec<String> = objects_at(service, "spec.ports")
        .map(|port| {
            let (number, protocol) = (int_at(port, "port").unwrap_or(0), text_at(port, "protocol"));
            match int_at(port, "nodePort") {
                Some(node) if node > 0 => format!("{number}:{node}/{protocol}"),
                _ => format!("{number}/{protocol}"),
            }
        })
        .collect();
    let internal = list_at(service, "spec.clusterIPs").first().and_then(Value::as_str);
    row![
        context.name(),
        kind,
        internal.unwrap_or("<none>"),
        external,
        or(&ports.join(","), "<none>"),
        context.age(),
        labels(at(service, "spec.selector")),
    ]
}

fn webhooks(context: &Context<'_>) -> Vec<Value> {
    row![context.name(), count(context.object, "webhooks"), context.age()]
}

fn policy(context: &Context<'_>, rules: &str) -> Vec<Value> {
    let kind = object_at(context.object, "spec.paramKind")
        .map_or_else(|| "<unset>".into(), |kind| format!("{}/{}", text_at(kind, "apiVersion"), text_at(kind, "kind")));
    row![context.name(), count(context.object, rules), kind, context.age()]
}

fn validating_policy(context: &Context<'_>) -> Vec<Value> {
    policy(context, "spec.validations")
}

fn mutating_policy(context: &Context<'_>) -> Vec<Value> {
    policy(context, "spec.mutations")
}

fn policy_binding(context: &Context<'_>) -> Vec<Value> {
    let params = object_at(context.object, "spec.paramRef").map_or_else(
        || "<unset>".into(),
        |reference| match (text_at(reference, "namespace"), text_at(reference, "name")) {
            (_, "") => super::text::selector(at(reference, "selector")),
            ("", name) => format!("*/{name}"),
            (namespace, name) => format!("{namespace}/{name}"),
        },
    );
    row![context.name(), text_at(context.object, "spec.policyName"), params, context.age()]
}

fn api_service(context: &Context<'_>) -> Vec<Value> {
    let service = object_at(context.object, "spec.service").map_or_else(
        || "Local".into(),
        |service| format!("{}/{}", text_at(service, "namespace"), text_at(service, "name")),
    );
    let available = objects_at(context.object, "status.conditions").find(|c| text_at(c, "type") == "Available");
    let available = match available {
        None => "Unknown".to_owned(),
        Some(condition) if text_at(condition, "status") == "True" => "True".to_owned(),
        Some(condition) => format!("{} ({})", text_at(condition, "status"), text_at(condition, "reason")),
    };
    row![context.name(), service, available, context.age()]
}

fn signing_request(context: &Context<'_>) -> Vec<Value> {
    let request = context.object;
    let has = |kind: &str| condition(request, kind).is_some();
    let mut status = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if has("Failed") {
        status.push_str(",Failed");
    }
    if !text_at(request, "status.certificate").is_empty() {
        status.push_str(",Issued");
    }
    let lifetime = int_at(request, "spec.expirationSeconds")
        .map_or_else(|| "<none>".into(), |seconds| duration::human_duration(seconds.saturating_mul(1_000_000)));
    let signer = or(text_at(request, "spec.signerName"), "<none>");
    row![context.name(), context.age(), signer, text_at(request, "spec.username"), lifetime, status]
}

fn lease(context: &Context<'_>) -> Vec<Value> {
    row![context.name(), text_at(context.object, "spec.holderIdentity"), context.age()]
}

fn flow_schema(context: &Context<'_>) -> Vec<Value> {
    let schema = context.object;
    let method = object_at(schema, "spec.distinguisherMethod").map_or("<none>", |method| text_at(method, "type"));
    row![
        context.name(),
        text_at(schema, "spec.priorityLevelConfiguration.name"),
        int_at(schema, "spec.matchingPrecedence").unwrap_or(0),
        method,
        context.age(),
        condition(schema, "Dangling").unwrap_or("?"),
    ]
}

fn priority_level(context: &Context<'_>) -> Vec<Value> {
    let number = |path: &str| int_at(context.object, path).map_or_else(|| Value::from("<none>"), Value::from);
    row![
        context.name(),
        text_at(context.object, "spec.type"),
        number("spec.limited.nominalConcurrencyShares"),
        number("spec.limited.limitResponse.queuing.queues"),
        number("spec.limited.limitResponse.queuing.handSize"),
        number("spec.limited.limitResponse.queuing.queueLengthLimit"),
        context.age(),
    ]
}

fn ip_address(context: &Context<'_>) -> Vec<Value> {
    let parent = object_at(context.object, "spec.parentRef").map_or_else(
        || "<none>".into(),
        |parent| {
            let mut text = text_at(parent, "resource").to_lowercase();
            for (separator, field) in [(".", "group"), ("/", "namespace")] {
                let part = text_at(parent, field);
                if !part.is_empty() {
                    text = format!("{text}{separator}{part}");
                }
            }
            format!("{text}/{}", text_at(parent, "name"))
        },
    );
    row![context.name(), parent]
}

fn ingress(context: &Context<'_>) -> Vec<Value> {
    let ingress = context.object;
    // Only the first three rules are looked at; those without a host are for every host.
    let rules: Vec<&Fields> = objects_at(ingress, "spec.rules").collect();
    let mut hosts: Vec<&str> = Vec::new();
    let mut more = false;
    for rule in &rules {
        more |= hosts.len() == 3;
        let host = text_at(rule, "host");
        if !more && !host.is_empty() {
            hosts.push(host);
        }
    }
    let mut hosts = or(&hosts.join(","), "*");
    if more {
        hosts = format!("{hosts} + {} more...", rules.len() - 3);
    }
    let ports = if list_at(ingress, "spec.tls").is_empty() { "80" } else { "80, 443" };
    let class = at(ingress, "spec.ingressClassName").and_then(Value::as_str).unwrap_or("<none>");
    row![context.name(), class, hosts, balancer(ingress), ports, context.age()]
}

fn ingress_class(context: &Context<'_>) -> Vec<Value> {
    let parameters = object_at(context.object, "spec.parameters").map_or_else(
        || "<none>".into(),
        |parameters| {
            let (kind, name) = (text_at(parameters, "kind"), text_at(parameters, "name"));
            match text_at(parameters, "apiGroup") {
                "" => format!("{kind}/{name}"),
                group => format!("{kind}.{group}/{name}"),
            }
        },
    );
    row![context.name(), text_at(context.object, "spec.controller"), parameters, context.age()]
}

fn network_policy(context: &Context<'_>) -> Vec<Value> {
    row![context.name(), selector_or_none(at(context.object, "spec.podSelector")), context.age()]
}

fn service_cidr(context: &Context<'_>) -> Vec<Value> {
    row![context.name(), texts(context.object, "spec.cidrs").join(","), context.age()]
}

fn runtime_class(context: &Context<'_>) -> Vec<Value> {
    row![context.name(), text_at(context.object, "handler"), context.age()]
}

fn role_binding(context: &Context<'_>) -> Vec<Value> {
    let binding = context.object;
    let subjects = |kind: &str| {
        let names = objects_at(binding, "subjects").filter(|subject| text_at(subject, "kind") == kind);
        let names = names.map(|subject| match text_at(subject, "namespace") {
            namespace if kind == "ServiceAccount" && !namespace.is_empty() => {
                format!("{namespace}/{}", text_at(subject, "name"))
            }
            _ => text_at(subject, "name").to_owned(),
        });
        names.collect::<Vec<_>>().join(", ")
    };
    let role = format!("{}/{}", text_at(binding, "roleRef.kind"), text_at(binding, "roleRef.name"));
    row![context.name(), role, context.age(), subjects("User"), subjects("Group"), subjects("ServiceAccount")]
}

fn resource_claim(context: &Context<'_>) -> Vec<Value> {
    let claim = context.object;
    let deleting = at(claim, "metadata.deletionTimestamp").is_some();
    let mut states = Vec::new();
    if deleting {
        states.push("deleted");
    }
    if object_at(claim, "status.allocation").is_some() {
        states.push("allocated");
        if count(claim, "status.reservedFor") > 0 {
            states.push("reserved");
        }
    } else if !deleting {
        states.push("pending");
    }
    row![context.name(), states.join(","), context.age()]
}

fn resource_slice(context: &Context<'_>) -> Vec<Value> {
    let part = |path: &str| text_at(context.object, path);
    row![context.name(), part("spec.nodeName"), part("spec.driver"), part("spec.pool.name"), context.age()]
}

fn priority_class(context: &Context<'_>) -> Vec<Value> {
    let class = context.object;
    row![
        context.name(),
        int_at(class, "value").unwrap_or(0),
        flag_at(class, "globalDefault"),
        context.age(),
        text_at(class, "preemptionPolicy"),
    ]
}

fn csi_driver(context: &Context<'_>) -> Vec<Value> {
    let driver = context.object;
    let audiences = at(driver, "spec.tokenRequests").and_then(Value::as_array).map_or_else(
        || "<unset>".into(),
        |requests| {
            let audiences = requests.iter().filter_map(|request| request.get("audience").and_then(Value::as_str));
            audiences.collect::<Vec<_>>().join(",")
        },
    );
    row![
        context.name(),
        at(driver, "spec.attachRequired").and_then(Value::as_bool).unwrap_or(true),
        flag_at(driver, "spec.podInfoOnMount"),
        flag_at(driver, "spec.storageCapacity"),
        audiences,
        flag_at(driver, "spec.requiresRepublish"),
        or(&texts(driver, "spec.volumeLifecycleModes").join(","), "<none>"),
        context.age(),
    ]
}

fn csi_node(context: &Context<'_>) -> Vec<Value> {
    row![context.name(), count(context.object, "spec.drivers"), context.age()]
}

fn storage_class(context: &Context<'_>) -> Vec<Value> {
    let class = context.object;
    let annotations = object_at(class, "metadata.annotations");
    let default = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
        .into_iter()
        .any(|key| annotations.and_then(|all| all.get(key)).and_then(Value::as_str) == Some("true"));
    row![
        if default { format!("{} (default)", context.name()) } else { context.name().to_owned() },
        text_at(class, "provisioner"),
        or(text_at(class, "reclaimPolicy"), "Delete"),
        or(text_at(class, "volumeBindingMode"), "Immediate"),
        flag_at(class, "allowVolumeExpansion"),
        context.age(),
    ]
}

fn volume_attachment(context: &Context<'_>) -> Vec<Value> {
    let attachment = context.object;
    row![
        context.name(),
        text_at(attachment, "spec.attacher"),
        text_at(attachment, "spec.source.persistentVolumeName"),
        text_at(attachment, "spec.nodeName"),
        flag_at(attachment, "status.attached"),
        context.age(),
    ]
}

fn volume_attributes_class(context: &Context<'_>) -> Vec<Value> {
    row![context.name(), text_at(context.object, "driverName"), context.age()]
}
