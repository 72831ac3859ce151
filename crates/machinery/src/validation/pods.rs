//! What makes a Pod, wherever it is embedded.

use super::text::{config_key, port_name, variable};
use super::{Causes, Fields, each, needed, not_negative, port, port_or_name};
use crate::field::{self, Path, at, flag_at, int_at, list_at, object_at, objects_at, text_at};
use crate::name;
use crate::quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeSet;

const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];
const DNS_POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

/// Checks a Pod's spec.
pub(super) fn spec(spec: &Fields, path: &Path<'_>, out: &mut Causes) {
    let volumes = volumes(spec, path, out);
    if list_at(spec, "containers").is_empty() {
        out.push(field::required(&path.field("containers"), ""));
    }
    let mut names = BTreeSet::new();
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        let lists = path.field(list);
        for (index, container) in objects_at(spec, list).enumerate() {
            let path = lists.index(index);
            self::container(container, &path, &volumes, out);
            let name = text_at(container, "name");
            if !name.is_empty() && !names.insert(name) {
                out.push(field::duplicate(&path.field("name"), &name.into()));
            }
            if list == "initContainers" && text_at(container, "restartPolicy") != "Always" {
                for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                    if object_at(container, probe).is_some() {
                        let why = "may not be set for init containers without restartPolicy=Always";
                        out.push(field::forbidden(&path.field(probe), why));
                    }
                }
            }
        }
    }
    for (name, supported) in [("restartPolicy", &RESTART_POLICIES[..]), ("dnsPolicy", &DNS_POLICIES)] {
        match text_at(spec, name) {
            // The defaults have none.
            "" => {}
            text if supported.contains(&text) => {}
            text => out.push(field::not_supported(&path.field(name), &text.into(), supported.iter().copied())),
        }
    }
    not_negative(out, spec, path, &["terminationGracePeriodSeconds"]);
    if let Some(seconds) = int_at(spec, "activeDeadlineSeconds")
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let why = "must be between 1 and 2147483647, inclusive";
        out.push(field::invalid(&path.field("activeDeadlineSeconds"), &seconds.into(), why));
    }
    for (name, rule) in [
        ("serviceAccountName", name::dns_subdomain as fn(&str) -> Vec<String>),
        ("nodeName", name::dns_subdomain),
        ("priorityClassName", name::dns_subdomain),
        ("runtimeClassName", name::dns_subdomain),
        ("hostname", name::dns_label),
        ("subdomain", name::dns_label),
    ] {
        let text = text_at(spec, name);
        if !text.is_empty() {
            each(out, &path.field(name), text, rule(text));
        }
    }
    let selector = path.field("nodeSelector");
    for (key, value) in object_at(spec, "nodeSelector").into_iter().flatten() {
        each(out, &selector, key, name::qualified_name(key));
        let value = value.as_str().unwrap_or("");
        each(out, &selector, value, name::label_value(value));
    }
    tolerations(spec, path, out);
    let gates = path.field("readinessGates");
    for (index, gate) in objects_at(spec, "readinessGates").enumerate() {
        let kind = text_at(gate, "conditionType");
        each(out, &gates.index(index).field("conditionType"), kind, name::qualified_name(kind));
    }
}

fn tolerations(spec: &Fields, path: &Path<'_>, out: &mut Causes) {
    let list = path.field("tolerations");
    for (index, toleration) in objects_at(spec, "tolerations").enumerate() {
        let path = list.index(index);
        let (key, operator) = (text_at(toleration, "key"), text_at(toleration, "operator"));
        if !key.is_empty() {
            each(out, &path.field("key"), key, name::qualified_name(key));
        } else if operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            out.push(field::invalid_text(&path.field("operator"), operator, why));
        }
        if int_at(toleration, "tolerationSeconds").is_some() && text_at(toleration, "effect") != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            out.push(field::invalid_text(&path.field("effect"), text_at(toleration, "effect"), why));
        }
        if operator == "Exists" && !text_at(toleration, "value").is_empty() {
            let why = "value must be empty when `operator` is 'Exists'";
            out.push(field::invalid_text(&path.field("operator"), text_at(toleration, "value"), why));
        }
    }
}

/// Checks volumes, and answers their names.
fn volumes<'s>(spec: &'s Fields, path: &Path<'_>, out: &mut Causes) -> BTreeSet<&'s str> {
    let list = path.field("volumes");
    let mut names = BTreeSet::new();
    for (index, volume) in objects_at(spec, "volumes").enumerate() {
        let path = list.index(index);
        let name = text_at(volume, "name");
        if name.is_empty() {
            out.push(field::required(&path.field("name"), ""));
        } else {
            each(out, &path.field("name"), name, name::dns_label(name));
            if !names.insert(name) {
                out.push(field::duplicate(&path.field("name"), &name.into()));
            }
        }
        let sources: Vec<&String> = volume.keys().filter(|key| *key != "name").collect();
        if sources.is_empty() {
            out.push(field::required(&path, "must specify a volume type"));
        }
        for extra in sources.iter().skip(1) {
            out.push(field::forbidden(&path.field(extra), "may not specify more than 1 volume type"));
        }
        for (source, wanted) in [
            ("secret", "secretName"),
            ("persistentVolumeClaim", "claimName"),
            ("hostPath", "path"),
            ("nfs", "server"),
            ("csi", "driver"),
        ] {
            if let Some(source_fields) = object_at(volume, source) {
                needed(out, source_fields, &path.field(source), &[wanted]);
            }
        }
        if let Some(map) = object_at(volume, "configMap") {
            needed(out, map, &path.field("configMap"), &["name"]);
        }
        for source in ["secret", "configMap", "downwardAPI", "projected"] {
            let mode = int_at(volume, &format!("{source}.defaultMode"));
            if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
                let why = "must be a number between 0 and 0777 (octal), both inclusive";
                out.push(field::invalid(&path.field(source).field("defaultMode"), &mode.into(), why));
            }
        }
    }
    names
}

fn container(container: &Fields, path: &Path<'_>, volumes: &BTreeSet<&str>, out: &mut Causes) {
    let name = text_at(container, "name");
    if name.is_empty() {
        out.push(field::required(&path.field("name"), ""));
    } else {
        each(out, &path.field("name"), name, name::dns_label(name));
    }
    needed(out, container, path, &["image"]);
    ports(container, path, out);
    environment(container, path, out);
    mounts(container, path, volumes, out);
    resources(container, path, out);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(fields) = object_at(container, probe) {
            self::probe(probe, fields, &path.field(probe), out);
        }
    }
    let lifecycle = path.field("lifecycle");
    for hook in ["postStart", "preStop"] {
        if let Some(handler) = object_at(container, &format!("lifecycle.{hook}")) {
            self::handler(handler, &lifecycle.field(hook), out);
        }
    }
    let security = path.field("securityContext");
    if flag_at(container, "securityContext.privileged")
        && at(container, "securityContext.allowPrivilegeEscalation") == Some(&Value::Bool(false))
    {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        let value = object_at(container, "securityContext").cloned().unwrap_or_default();
        out.push(field::invalid(&security, &Value::Object(value), why));
    }
}

fn ports(container: &Fields, path: &Path<'_>, out: &mut Causes) {
    let list = path.field("ports");
    let mut names = BTreeSet::new();
    for (index, fields) in objects_at(container, "ports").enumerate() {
        let path = list.index(index);
        let name = text_at(fields, "name");
        if !name.is_empty() {
            let problems = port_name(name);
            if problems.is_empty() && !names.insert(name) {
                out.push(field::duplicate(&path.field("name"), &name.into()));
            }
            each(out, &path.field("name"), name, problems);
        }
        match int_at(fields, "containerPort").unwrap_or(0) {
            0 => out.push(field::required(&path.field("containerPort"), "")),
            number => port(out, &path.field("containerPort"), number),
        }
        if let Some(number) = int_at(fields, "hostPort").filter(|number| *number != 0) {
            port(out, &path.field("hostPort"), number);
        }
    }
}

fn environment(container: &Fields, path: &Path<'_>, out: &mut Causes) {
    let list = path.field("env");
    for (index, entry) in objects_at(container, "env").enumerate() {
        let path = list.index(index);
        let name = text_at(entry, "name");
        if name.is_empty() {
            out.push(field::required(&path.field("name"), ""));
        } else {
            each(out, &path.field("name"), name, variable(name));
        }
        let Some(from) = object_at(entry, "valueFrom") else { continue };
        let path = path.field("valueFrom");
        let wrong = match (from.len(), text_at(entry, "value").is_empty()) {
            (0, _) => Some("must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"),
            (_, false) => Some("may not be specified when `value` is not empty"),
            (1, true) => None,
            _ => Some("may not have more than one field specified at a time"),
        };
        out.extend(wrong.map(|why| field::invalid_text(&path, "", why)));
        for source in ["configMapKeyRef", "secretKeyRef"] {
            let Some(reference) = object_at(from, source) else { continue };
            let path = path.field(source);
            needed(out, reference, &path, &["name", "key"]);
            let key = text_at(reference, "key");
            if !key.is_empty() {
                each(out, &path.field("key"), key, config_key(key));
            }
        }
    }
    let list = path.field("envFrom");
    for (index, entry) in objects_at(container, "envFrom").enumerate() {
        let path = list.index(index);
        let sources = ["configMapRef", "secretRef"].into_iter().filter(|source| object_at(entry, source).is_some());
        match sources.count() {
            0 => {
                out.push(field::invalid_text(&path, "", "must specify one of: `configMapRef` or `secretRef`"));
            }
            1 => {}
            _ => out.push(field::invalid_text(&path, "", "may not have more than one field specified at a time")),
        }
    }
}

fn mounts(container: &Fields, path: &Path<'_>, volumes: &BTreeSet<&str>, out: &mut Causes) {
    let list = path.field("volumeMounts");
    let mut places = BTreeSet::new();
    for (index, mount) in objects_at(container, "volumeMounts").enumerate() {
        let path = list.index(index);
        needed(out, mount, &path, &["name"]);
        let name = text_at(mount, "name");
        if !volumes.contains(name) {
            out.push(field::not_found(&path.field("name"), &name.into()));
        }
        needed(out, mount, &path, &["mountPath"]);
        let place = text_at(mount, "mountPath");
        if !places.insert(place) {
            out.push(field::invalid_text(&path.field("mountPath"), place, "must be unique"));
        }
        for name in ["subPath", "subPathExpr"] {
            let below = text_at(mount, name);
            if below.starts_with('/') {
                out.push(field::invalid_text(&list.field(name), below, "must be a relative path"));
            }
            if below.split('/').any(|part| part == "..") {
                out.push(field::invalid_text(&list.field(name), below, "must not contain '..'"));
            }
        }
    }
    let list = path.field("volumeDevices");
    for (index, device) in objects_at(container, "volumeDevices").enumerate() {
        let path = list.index(index);
        needed(out, device, &path, &["name", "devicePath"]);
        let name = text_at(device, "name");
        if !name.is_empty() && !volumes.contains(name) {
            out.push(field::not_found(&path.field("name"), &name.into()));
        }
    }
}

/// Checks `resources`: amounts are not negative, and requests not above limits.
pub(super) fn resources(container: &Fields, path: &Path<'_>, out: &mut Causes) {
    let path = path.field("resources");
    let amounts = |kind: &str| object_at(container, &format!("resources.{kind}"));
    for kind in ["limits", "requests"] {
        let path = path.field(kind);
        for (name, value) in amounts(kind).into_iter().flatten() {
            let path = path.key(name);
            each(out, &path, name, name::qualified_name(name));
            match Quantity::from_value(value) {
                Some(amount) if amount.nanos() < 0 => {
                    out.push(field::invalid(&path, value, "must be greater than or equal to 0"));
                }
                _ => {}
            }
        }
    }
    let Some(limits) = amounts("limits") else { return };
    let path = path.field("requests");
    for (name, value) in amounts("requests").into_iter().flatten() {
        let (Some(request), Some(limit)) =
            (Quantity::from_value(value), limits.get(name).and_then(Quantity::from_value))
        else {
            continue;
        };
        // What is not of the core (devices, huge pages) cannot be promised twice.
        let exact = name.starts_with("hugepages-") || (name.contains('/') && !name.contains("kubernetes.io/"));
        if exact && request != limit {
            out.push(field::invalid(&path, value, &format!("must be equal to {name} limit of {limit}")));
        } else if request > limit {
            out.push(field::invalid(&path, value, &format!("must be less than or equal to {name} limit of {limit}")));
        }
    }
}

fn probe(name: &str, probe: &Fields, path: &Path<'_>, out: &mut Causes) {
    handler(probe, path, out);
    let counts = ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
    not_negative(out, probe, path, &counts);
    if name != "readinessProbe"
        && let Some(successes) = int_at(probe, "successThreshold").filter(|count| *count != 1)
    {
        out.push(field::invalid(&path.field("successThreshold"), &successes.into(), "must be 1"));
    }
    if let Some(seconds) = int_at(probe, "terminationGracePeriodSeconds").filter(|seconds| *seconds <= 0) {
        let path = path.field("terminationGracePeriodSeconds");
        out.push(field::invalid(&path, &seconds.into(), "must be greater than 0"));
    }
}

fn handler(handler: &Fields, path: &Path<'_>, out: &mut Causes) {
    let mut found = 0;
    for kind in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let Some(action) = object_at(handler, kind) else { continue };
        let path = path.field(kind);
        found += 1;
        if found > 1 {
            out.push(field::forbidden(&path, "may not specify more than 1 handler type"));
            continue;
        }
        match kind {
            "exec" => needed(out, action, &path, &["command"]),
            "httpGet" => {
                needed(out, action, &path, &["path"]);
                port_or_name(out, &path.field("port"), action.get("port"));
            }
            "tcpSocket" => port_or_name(out, &path.field("port"), action.get("port")),
            "grpc" => port(out, &path.field("port"), int_at(action, "port").unwrap_or(0)),
            _ => {}
        }
    }
    if found == 0 {
        out.push(field::required(path, "must specify a handler type"));
    }
}

/// Checks the labels and annotations of a template. The stock server leaves `metadata` out of their paths.
pub(super) fn labels(template: &Fields, path: &Path<'_>, out: &mut Causes) {
    let labels = path.field("labels");
    for (key, value) in object_at(template, "metadata.labels").into_iter().flatten() {
        each(out, &labels, key, name::qualified_name(key));
        let value = value.as_str().unwrap_or("");
        each(out, &labels, value, name::label_value(value));
    }
    let annotations = path.field("annotations");
    for key in object_at(template, "metadata.annotations").into_iter().flatten().map(|(key, _)| key) {
        each(out, &annotations, key, name::qualified_name(&key.to_ascii_lowercase()));
    }
}

/// Checks the labels, annotations and spec of a template.
pub(super) fn template(template: &Fields, path: &Path<'_>, out: &mut Causes) {
    labels(template, path, out);
    let empty = Fields::new();
    spec(object_at(template, "spec").unwrap_or(&empty), &path.field("spec"), out);
    if !list_at(template, "spec.ephemeralContainers").is_empty() {
        let why = "ephemeral containers not allowed in pod template";
        out.push(field::forbidden(&path.field("spec").field("ephemeralContainers"), why));
    }
}
