//! Services, Ingresses, policies of networks and disruptions, autoscalers.

use super::endpoints::{NOT_A_CIDR, NOT_AN_IP, special};
use super::text::wildcard_host;
use super::workloads::selector;
use super::{Causes, Check, Fields, each, needed, port, port_or_name};
use crate::field::{self, Path, at, int_at, list_at, object_at, objects_at, text_at};
use crate::name;
use crate::schema::{holds_format, is_ip};
use crate::services;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) const KINDS: &[(&str, &str, Check)] = &[
    ("", "Service", service),
    ("autoscaling", "HorizontalPodAutoscaler", autoscaler),
    ("discovery.k8s.io", "EndpointSlice", endpoint_slice),
    ("networking.k8s.io", "Ingress", ingress),
    ("networking.k8s.io", "IngressClass", ingress_class),
    ("networking.k8s.io", "NetworkPolicy", network_policy),
    ("policy", "PodDisruptionBudget", disruption_budget),
];

fn service(object: &Fields, out: &mut Causes) {
    let path = Path::ROOT.field("spec");
    let Some(spec) = object_at(object, "spec") else { return out.push(field::required(&path.field("ports"), "")) };
    let kind = text_at(spec, "type");
    let headless = text_at(spec, "clusterIP") == "None"
        || list_at(spec, "clusterIPs").first().and_then(Value::as_str) == Some("None");
    let ports: Vec<&Fields> = objects_at(spec, "ports").collect();
    if ports.is_empty() && !headless && kind != "ExternalName" {
        out.push(field::required(&path.field("ports"), ""));
    }
    let ips = path.field("clusterIPs");
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let why = format!("may not be set to 'None' for {kind} services");
            out.push(field::invalid_text(&ips.index(0), "None", &why));
        }
        "ExternalName" => {
            let none = "may not be set for ExternalName services";
            for name in ["clusterIPs", "ipFamilies"] {
                if !list_at(spec, name).is_empty() {
                    out.push(field::forbidden(&path.field(name), none));
                }
            }
            if !text_at(spec, "ipFamilyPolicy").is_empty() {
                out.push(field::forbidden(&path.field("ipFamilyPolicy"), none));
            }
            let target = text_at(spec, "externalName");
            match target.strip_suffix('.').unwrap_or(target) {
                "" => out.push(field::required(&path.field("externalName"), "")),
                target => each(out, &path.field("externalName"), target, name::dns_subdomain(target)),
            }
        }
        _ => {}
    }
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    let mut nodes = BTreeSet::new();
    let list = path.field("ports");
    for (index, fields) in ports.iter().enumerate() {
        let path = list.index(index);
        let (text, protocol) = (text_at(fields, "name"), text_at(fields, "protocol"));
        if ports.len() > 1 && text.is_empty() {
            out.push(field::required(&path.field("name"), ""));
        } else if !text.is_empty() {
            each(out, &path.field("name"), text, name::dns_label(text));
            if !names.insert(text) {
                out.push(field::duplicate(&path.field("name"), &text.into()));
            }
        }
        let number = int_at(fields, "port").unwrap_or(0);
        port(out, &path.field("port"), number);
        port_or_name(out, &path.field("targetPort"), fields.get("targetPort"));
        let application = text_at(fields, "appProtocol");
        if !application.is_empty() {
            each(out, &path.field("appProtocol"), application, name::qualified_name(application));
        }
        if !numbers.insert((protocol, number)) {
            out.push(field::duplicate(&path, &json!({"port": number, "protocol": protocol})));
        }
        if let Some(node) = int_at(fields, "nodePort").filter(|node| *node != 0) {
            if kind == "ClusterIP" {
                out.push(field::forbidden(&path.field("nodePort"), "may not be used when `type` is 'ClusterIP'"));
            }
            port(out, &path.field("nodePort"), node);
            if !nodes.insert((protocol, node)) {
                out.push(field::duplicate(&path.field("nodePort"), &node.into()));
            }
        }
    }
    let labels = path.field("selector");
    for (key, value) in object_at(spec, "selector").into_iter().flatten() {
        each(out, &labels, key, name::qualified_name(key));
        let value = value.as_str().unwrap_or("");
        each(out, &labels, value, name::label_value(value));
    }
    services::check(spec, out);
    let list = path.field("externalIPs");
    for (index, value) in list_at(spec, "externalIPs").iter().enumerate() {
        let text = value.as_str().unwrap_or("");
        if !is_ip(text) {
            out.push(field::invalid_text(&list.index(index), text, NOT_AN_IP));
        } else if let Some(why) = special(text) {
            out.push(field::invalid_text(&list.index(index), text, &why));
        }
    }
    let ranges = path.field("LoadBalancerSourceRanges");
    if !list_at(spec, "loadBalancerSourceRanges").is_empty() && kind != "LoadBalancer" {
        out.push(field::forbidden(&ranges, "may only be used when `type` is 'LoadBalancer'"));
    }
    for (index, range) in list_at(spec, "loadBalancerSourceRanges").iter().enumerate() {
        cidr(out, &ranges.index(index), range.as_str().unwrap_or("").trim());
    }
    if at(spec, "allocateLoadBalancerNodePorts").is_some() && kind != "LoadBalancer" {
        let path = path.field("allocateLoadBalancerNodePorts");
        out.push(field::forbidden(&path, "may only be used when `type` is 'LoadBalancer'"));
    }
    if let Some(seconds) = int_at(spec, "sessionAffinityConfig.clientIP.timeoutSeconds")
        && !(1..=86_400).contains(&seconds)
    {
        let config = path.field("sessionAffinityConfig");
        let client = config.field("clientIP");
        let why = "must be greater than 0 and less than 86400";
        out.push(field::invalid(&client.field("timeoutSeconds"), &seconds.into(), why));
    }
    let external = matches!(kind, "LoadBalancer" | "NodePort") || !list_at(spec, "externalIPs").is_empty();
    let policy = text_at(spec, "externalTrafficPolicy");
    if !external && !policy.is_empty() {
        let why = "may only be set for externally-accessible services";
        out.push(field::invalid_text(&path.field("externalTrafficPolicy"), policy, why));
    }
    services::check_health(spec, out);
    balancer_class(spec, out);
}

/// Who is to balance loads.
fn balancer_class(spec: &Fields, out: &mut Causes) {
    let Some(class) = spec.get("loadBalancerClass").and_then(Value::as_str) else { return };
    let path = Path::ROOT.field("spec");
    let place = path.field("loadBalancerClass");
    if text_at(spec, "type") == "LoadBalancer" {
        each(out, &place, class, name::qualified_name(class));
    } else {
        out.push(field::forbidden(&place, "may only be used when `type` is 'LoadBalancer'"));
    }
}

fn cidr(out: &mut Causes, path: &Path<'_>, text: &str) {
    if holds_format("cidr", text) != Some(true) {
        out.push(field::invalid_text(path, text, NOT_A_CIDR));
    }
}

fn endpoint_slice(object: &Fields, out: &mut Causes) {
    let list = Path::ROOT.field("endpoints");
    let kind = text_at(object, "addressType");
    for (index, endpoint) in objects_at(object, "endpoints").enumerate() {
        let path = list.index(index);
        let addresses = list_at(endpoint, "addresses");
        if addresses.is_empty() {
            out.push(field::required(&path.field("addresses"), "must contain at least 1 address"));
        }
        let path = path.field("addresses");
        for (index, address) in addresses.iter().enumerate() {
            let text = address.as_str().unwrap_or("");
            let fits = match kind {
                "IPv4" => is_ip(text) && text.contains('.') && !text.contains(':'),
                "IPv6" => is_ip(text) && text.contains(':'),
                _ => true,
            };
            if !is_ip(text) && matches!(kind, "IPv4" | "IPv6") {
                out.push(field::invalid_text(&path.index(index), text, NOT_AN_IP));
            } else if !fits {
                let why = format!("must be an {kind} address");
                out.push(field::invalid_text(&path.index(index), text, &why));
            }
        }
    }
}

fn backend(backend: &Fields, path: &Path<'_>, out: &mut Causes) {
    let (service, resource) = (object_at(backend, "service"), object_at(backend, "resource"));
    let (Some(service), None) = (service, resource) else {
        if service.is_some() {
            let value = Value::String(String::new());
            out.push(field::invalid(path, &value, "cannot set both resource and service backends"));
        } else if resource.is_none() {
            out.push(field::invalid_text(path, "", "resource or service backend is required"));
        }
        return;
    };
    let whole = path;
    let path = path.field("service");
    match text_at(service, "name") {
        "" => out.push(field::required(&path.field("name"), "")),
        text => each(out, &path.field("name"), text, name::dns_label(text)),
    }
    let (port_name, number) = (text_at(service, "port.name"), int_at(service, "port.number").unwrap_or(0));
    let port_path = path.field("port");
    match (port_name, number) {
        ("", 0) => out.push(field::required(whole, "port name or number is required")),
        ("", number) => port(out, &port_path.field("number"), number),
        (text, 0) => each(out, &port_path.field("name"), text, super::text::port_name(text)),
        _ => out.push(field::invalid_text(whole, "", "cannot set both port name & port number")),
    }
}

fn ingress(object: &Fields, out: &mut Causes) {
    let path = Path::ROOT.field("spec");
    let empty = Fields::new();
    let spec = object_at(object, "spec").unwrap_or(&empty);
    let rules: Vec<&Fields> = objects_at(spec, "rules").collect();
    let default = object_at(spec, "defaultBackend");
    if rules.is_empty() && default.is_none() {
        let why = "either `defaultBackend` or `rules` must be specified";
        out.push(field::invalid(&path, &Value::Null, why));
    }
    if let Some(fields) = default {
        backend(fields, &path.field("defaultBackend"), out);
    }
    let list = path.field("rules");
    for (index, rule) in rules.into_iter().enumerate() {
        let path = list.index(index);
        let host = text_at(rule, "host");
        if !host.is_empty() {
            if is_ip(host) {
                out.push(field::invalid_text(&path.field("host"), host, "must be a DNS name, not an IP address"));
            } else {
                each(out, &path.field("host"), host, wildcard_host(host));
            }
        }
        let Some(http) = object_at(rule, "http") else { continue };
        let http_path = path.field("http");
        let paths = http_path.field("paths");
        needed(out, http, &http_path, &["paths"]);
        for (index, entry) in objects_at(http, "paths").enumerate() {
            let path = paths.index(index);
            let text = text_at(entry, "path");
            match text_at(entry, "pathType") {
                "" => out.push(field::required(&path.field("pathType"), "pathType must be specified")),
                "ImplementationSpecific" if text.is_empty() => {}
                _ if !text.starts_with('/') => {
                    out.push(field::invalid_text(&path.field("path"), text, "must be an absolute path"));
                }
                "Exact" | "Prefix" => {
                    for wrong in ["//", "/./", "/../", "%2f", "%2F"] {
                        if text.contains(wrong) {
                            let why = format!("must not contain '{wrong}'");
                            out.push(field::invalid_text(&path.field("path"), text, &why));
                        }
                    }
                }
                _ => {}
            }
            match object_at(entry, "backend") {
                Some(fields) => backend(fields, &path.field("backend"), out),
                None => out.push(field::required(&path.field("backend"), "")),
            }
        }
    }
    let tls = path.field("tls");
    for (index, entry) in objects_at(spec, "tls").enumerate() {
        let path = tls.index(index);
        let hosts = path.field("hosts");
        for (index, host) in list_at(entry, "hosts").iter().enumerate() {
            let host = host.as_str().unwrap_or("");
            each(out, &hosts.index(index), host, wildcard_host(host));
        }
    }
}

fn ingress_class(object: &Fields, out: &mut Causes) {
    let path = Path::ROOT.field("spec");
    let controller = text_at(object, "spec.controller");
    match controller.split_once('/') {
        _ if controller.is_empty() => out.push(field::required(&path.field("controller"), "")),
        Some((domain, rest)) if name::dns_subdomain(domain).is_empty() && !rest.is_empty() => {}
        _ => {
            let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            out.push(field::invalid_text(&path.field("controller"), controller, why));
        }
    }
    let Some(parameters) = object_at(object, "spec.parameters") else { return };
    let path = path.field("parameters");
    needed(out, parameters, &path, &["kind", "name"]);
    let namespace = text_at(parameters, "namespace");
    match text_at(parameters, "scope") {
        "Namespace" if namespace.is_empty() => {
            let why = "`parameters.scope` is set to 'Namespace'";
            out.push(field::required(&path.field("namespace"), why));
        }
        "Cluster" if !namespace.is_empty() => {
            let why = "`parameters.scope` is set to 'Cluster'";
            out.push(field::forbidden(&path.field("namespace"), why));
        }
        "Namespace" | "Cluster" | "" => {}
        scope => {
            let supported = ["Cluster", "Namespace"];
            out.push(field::not_supported(&path.field("scope"), &scope.into(), supported));
        }
    }
}

fn network_policy(object: &Fields, out: &mut Causes) {
    let path = Path::ROOT.field("spec");
    selector(at(object, "spec.podSelector"), &path.field("podSelector"), out);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let list = path.field(direction);
        for (index, rule) in objects_at(object, &format!("spec.{direction}")).enumerate() {
            let path = list.index(index);
            let ports = path.field("ports");
            for (index, fields) in objects_at(rule, "ports").enumerate() {
                network_port(fields, &ports.index(index), out);
            }
            let list = path.field(peers);
            for (index, peer) in objects_at(rule, peers).enumerate() {
                network_peer(peer, &list.index(index), out);
            }
        }
    }
    let types = list_at(object, "spec.policyTypes");
    if types.len() > 2 {
        let value = Value::Array(types.to_vec());
        out.push(field::invalid(&path.field("policyTypes"), &value, "may not specify more than two policyTypes"));
    }
}

fn network_port(fields: &Fields, path: &Path<'_>, out: &mut Causes) {
    let value = fields.get("port").filter(|value| !value.is_null());
    if value.is_some() {
        port_or_name(out, &path.field("port"), value);
    }
    let Some(end) = int_at(fields, "endPort") else { return };
    let path = path.field("endPort");
    match value.map(Value::as_i64) {
        None => out.push(field::required(&path, "must specify endPort together with port")),
        Some(None) => out.push(field::invalid(&path, &end.into(), "may not specify endPort when port is non-numeric")),
        Some(Some(start)) => {
            port(out, &path, end);
            if start > end {
                out.push(field::invalid(&path, &end.into(), "must be greater than or equal to `port`"));
            }
        }
    }
}

fn network_peer(peer: &Fields, path: &Path<'_>, out: &mut Causes) {
    for selected in ["podSelector", "namespaceSelector"] {
        selector(peer.get(selected), &path.field(selected), out);
    }
    let selects = ["podSelector", "namespaceSelector"].into_iter().any(|name| object_at(peer, name).is_some());
    match (object_at(peer, "ipBlock"), selects) {
        (None, false) => out.push(field::required(path, "must specify a peer")),
        (Some(_), true) => {
            out.push(field::forbidden(path, "may not specify both ipBlock and another peer"));
        }
        (None, true) => {}
        (Some(block), false) => {
            let path = path.field("ipBlock");
            needed(out, block, &path, &["cidr"]);
            let text = text_at(block, "cidr");
            if !text.is_empty() {
                cidr(out, &path.field("cidr"), text);
            }
            let except = path.field("except");
            for (index, inner) in list_at(block, "except").iter().enumerate() {
                cidr(out, &except.index(index), inner.as_str().unwrap_or(""));
            }
        }
    }
}

fn disruption_budget(object: &Fields, out: &mut Causes) {
    let path = Path::ROOT.field("spec");
    let value = |name: &str| at(object, &format!("spec.{name}")).filter(|value| !value.is_null());
    if value("minAvailable").is_some() && value("maxUnavailable").is_some() {
        let spec = at(object, "spec").cloned().unwrap_or(Value::Null);
        out.push(field::invalid(&path, &spec, "minAvailable and maxUnavailable cannot be both set"));
    }
    for name in ["minAvailable", "maxUnavailable"] {
        let path = path.field(name);
        match value(name) {
            Some(Value::String(text)) => {
                let digits = text.strip_suffix('%').filter(|digits| !digits.is_empty());
                match digits.map(str::parse::<u32>) {
                    Some(Ok(percent)) if percent <= 100 => {}
                    Some(Ok(_)) => out.push(field::invalid_text(&path, text, "must not be greater than 100%")),
                    _ => {
                        let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. \
                                   '1%',  or '93%', regex used for validation is '[0-9]+%')";
                        out.push(field::invalid_text(&path, text, why));
                    }
                }
            }
            Some(number) if number.as_i64().is_some_and(|number| number < 0) => {
                out.push(field::invalid(&path, number, "must be greater than or equal to 0"));
            }
            _ => {}
        }
    }
    selector(at(object, "spec.selector"), &path.field("selector"), out);
}

fn autoscaler(object: &Fields, out: &mut Causes) {
    let path = Path::ROOT.field("spec");
    let Some(spec) = object_at(object, "spec") else { return };
    let least = int_at(spec, "minReplicas");
    let most = int_at(spec, "maxReplicas").unwrap_or(0);
    if let Some(least) = least.filter(|least| *least < 1) {
        let why = "must be greater than or equal to 1";
        out.push(field::invalid(&path.field("minReplicas"), &least.into(), why));
    }
    match most {
        0 => out.push(field::required(&path.field("maxReplicas"), "must be set and greater than 0")),
        ..0 => {
            let why = "must be greater than or equal to 1";
            out.push(field::invalid(&path.field("maxReplicas"), &most.into(), why));
        }
        _ => {}
    }
    if least.is_some_and(|least| most < least) {
        let why = "must be greater than or equal to `minReplicas`";
        out.push(field::invalid(&path.field("maxReplicas"), &most.into(), why));
    }
    let empty = Fields::new();
    let target = object_at(spec, "scaleTargetRef").unwrap_or(&empty);
    let target_path = path.field("scaleTargetRef");
    needed(out, target, &target_path, &["kind", "name"]);
    let version = text_at(target, "apiVersion");
    // Only one kind that can be scaled is of the group without a name.
    if !version.contains('/') && text_at(target, "kind") != "ReplicationController" {
        let why = "apiVersion must specify API group";
        out.push(field::invalid_text(&target_path.field("apiVersion"), version, why));
    }
    let metrics = path.field("metrics");
    for (index, metric) in objects_at(spec, "metrics").enumerate() {
        if text_at(metric, "type").is_empty() {
            let why = "must specify a metric source type";
            out.push(field::required(&metrics.index(index).field("type"), why));
        }
    }
}
