//! Data, quotas and namespaces.

use super::text::config_key;
use super::{Causes, Check, Fields, each};
use crate::field::{self, Path, object_at, objects_at, text_at};
use crate::name;
use crate::quantity::Quantity;
use base64::Engine as _;
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) const KINDS: &[(&str, &str, Check)] = &[
    ("", "ConfigMap", config_map),
    ("", "LimitRange", limit_range),
    ("", "Namespace", namespace),
    ("", "ResourceQuota", quota),
    ("", "Secret", secret),
    ("scheduling.k8s.io", "PriorityClass", priority_class),
];

/// Bytes of data in a ConfigMap or a Secret.
const DATA_MAX: usize = 1024 * 1024;

/// Priorities that users may give; those above are the system's.
const PRIORITY_MAX: i64 = 1_000_000_000;

fn namespace(object: &Fields, out: &mut Causes) {
    out.extend(crate::admission::pod_security_labels(object));
}

fn config_map(object: &Fields, out: &mut Causes) {
    let mut size = 0;
    for field_name in ["data", "binaryData"] {
        let path = Path::ROOT.field(field_name);
        for (key, value) in object_at(object, field_name).into_iter().flatten() {
            let path = path.key(key);
            each(out, &path, key, config_key(key));
            let text = value.as_str().unwrap_or("");
            if field_name == "data" {
                size += text.len();
                if object_at(object, "binaryData").is_some_and(|binary| binary.contains_key(key)) {
                    out.push(field::invalid_text(&path, key, "duplicate of key present in binaryData"));
                }
            } else {
                size += decoded_len(text);
            }
        }
    }
    if size > DATA_MAX {
        out.push(field::too_long(&Path::ROOT, DATA_MAX as u64));
    }
}

/// Bytes that standard base64 stands for.
fn decoded_len(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

fn secret(object: &Fields, out: &mut Causes) {
    let path = Path::ROOT.field("data");
    let empty = Fields::new();
    let data = object_at(object, "data").unwrap_or(&empty);
    let mut size = 0;
    for (key, value) in data {
        each(out, &path.key(key), key, config_key(key));
        size += decoded_len(value.as_str().unwrap_or(""));
    }
    if size > DATA_MAX {
        out.push(field::too_long(&path, DATA_MAX as u64));
    }
    let mut wanted = |keys: &[&str]| {
        for key in keys.iter().filter(|key| !data.contains_key(**key)) {
            out.push(field::required(&path.key(key), ""));
        }
    };
    match text_at(object, "type") {
        "kubernetes.io/service-account-token" => {
            const ACCOUNT: &str = "kubernetes.io/service-account.name";
            let annotations = object_at(object, "metadata.annotations");
            if annotations.and_then(|all| all.get(ACCOUNT)).and_then(Value::as_str).is_none_or(str::is_empty) {
                let metadata = Path::ROOT.field("metadata");
                out.push(field::required(&metadata.field("annotations").key(ACCOUNT), ""));
            }
        }
        "kubernetes.io/dockercfg" => {
            wanted(&[".dockercfg"]);
            json_inside(data, ".dockercfg", &path, out);
        }
        "kubernetes.io/dockerconfigjson" => {
            wanted(&[".dockerconfigjson"]);
            json_inside(data, ".dockerconfigjson", &path, out);
        }
        "kubernetes.io/basic-auth" if !data.contains_key("username") && !data.contains_key("password") => {
            wanted(&["username", "password"]);
        }
        "kubernetes.io/ssh-auth" => wanted(&["ssh-privatekey"]),
        "kubernetes.io/tls" => wanted(&["tls.crt", "tls.key"]),
        _ => {}
    }
}

fn json_inside(data: &Fields, key: &str, path: &Path<'_>, out: &mut Causes) {
    let Some(text) = data.get(key).and_then(Value::as_str) else { return };
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<Fields>(&bytes) {
        out.push(field::invalid_text(&path.key(key), "<secret contents redacted>", &error.to_string()));
    }
}

/// What can be counted of Pods, under its own name or below `requests.` and `limits.`.
const COMPUTE: [&str; 3] = ["cpu", "ephemeral-storage", "memory"];
/// What else a quota counts by a name without a `/`.
const COUNTED: [&str; 9] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

fn is_container_resource(name: &str) -> bool {
    COMPUTE.contains(&name) || name.starts_with("hugepages-")
}

fn is_quota_resource(name: &str) -> bool {
    let request = name.strip_prefix("requests.");
    COUNTED.contains(&name)
        || COMPUTE.contains(&name)
        || request.is_some_and(|name| is_container_resource(name) || name == "storage")
        || name.strip_prefix("limits.").is_some_and(|name| COMPUTE.contains(&name))
}

/// Names of resources: those without a `/` are a fixed set.
fn resource_name(key: &str) -> Vec<String> {
    let mut problems = name::qualified_name(key);
    let standard = is_quota_resource(key) || is_container_resource(key) || key == "storage";
    if problems.is_empty() && !key.contains('/') && !standard {
        problems.push("must be a standard resource type or fully qualified".into());
    }
    problems
}

/// Amounts by resource: names that are known, and `wanted` with these words, and nothing below zero.
fn amounts(map: Option<&Fields>, path: &Path<'_>, wanted: (fn(&str) -> bool, &str), out: &mut Causes) {
    for (key, value) in map.into_iter().flatten() {
        let path = path.key(key);
        each(out, &path, key, resource_name(key));
        if !key.contains('/') && !wanted.0(key) {
            out.push(field::invalid_text(&path, key, wanted.1));
        }
        if Quantity::from_value(value).is_some_and(|amount| amount.nanos() < 0) {
            out.push(field::invalid(&path, value, "must be greater than or equal to 0"));
        }
    }
}

fn quota(object: &Fields, out: &mut Causes) {
    let spec = Path::ROOT.field("spec");
    let wanted: (fn(&str) -> bool, &str) = (is_quota_resource, "must be a standard resource for quota");
    amounts(object_at(object, "spec.hard"), &spec.field("hard"), wanted, out);
    let scopes = field::list_at(object, "spec.scopes");
    let unknown = |scope: &Value| !scope.as_str().is_some_and(|scope| SCOPES.contains(&scope));
    if scopes.iter().any(unknown) {
        out.push(field::invalid(&spec.field("scopes"), &Value::Array(scopes.to_vec()), "unsupported scope"));
    }
    let selector = spec.field("scopeSelector");
    let expressions = selector.field("matchExpressions");
    for expression in objects_at(object, "spec.scopeSelector.matchExpressions") {
        let (scope, operator) = (text_at(expression, "scopeName"), text_at(expression, "operator"));
        if !SCOPES.contains(&scope) {
            out.push(field::invalid_text(&expressions.field("scopeName"), scope, "unsupported scope"));
        }
        if !["DoesNotExist", "Exists", "In", "NotIn"].contains(&operator) {
            let why = "not a valid selector operator";
            out.push(field::invalid_text(&expressions.field("operator"), operator, why));
        }
    }
}

/// What a quota may be limited to.
const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

/// What limits are set of, by names without a `/`.
const LIMITED: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];

/// What is not above what, where it is told with which of both, and the words for them: those of the stock server.
type Bound = (&'static str, &'static str, (&'static str, &'static str), (&'static str, &'static str));
const BOUNDS: [Bound; 6] = [
    ("min", "max", ("min", "min"), ("min", "max")),
    ("min", "defaultRequest", ("defaultRequest", "defaultRequest"), ("min", "default request")),
    ("defaultRequest", "max", ("defaultRequest", "defaultRequest"), ("default request", "max")),
    ("defaultRequest", "default", ("defaultRequest", "defaultRequest"), ("default request", "default limit")),
    ("min", "default", ("default", "min"), ("min", "default")),
    ("default", "max", ("default", "max"), ("default", "max")),
];

fn limit_range(object: &Fields, out: &mut Causes) {
    let spec = Path::ROOT.field("spec");
    let list = spec.field("limits");
    let mut kinds = BTreeSet::new();
    for (index, limit) in objects_at(object, "spec.limits").enumerate() {
        let path = list.index(index);
        let kind = text_at(limit, "type");
        let problems = name::qualified_name(kind);
        if problems.is_empty() && !kind.contains('/') && !LIMITED.contains(&kind) {
            let why = "must be a standard limit type or fully qualified";
            out.push(field::invalid_text(&path.field("type"), kind, why));
        }
        each(out, &path.field("type"), kind, problems);
        if !kinds.insert(kind) {
            out.push(field::duplicate(&path.field("type"), &kind.into()));
        }
        let wanted: (fn(&str) -> bool, &str) = match kind {
            "Pod" | "Container" => (is_container_resource, "must be a standard resource for containers"),
            _ => (|_| true, ""),
        };
        for field_name in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            amounts(object_at(limit, field_name), &path.field(field_name), wanted, out);
            if kind == "Pod"
                && field_name.starts_with("default")
                && object_at(limit, field_name).is_some_and(|map| !map.is_empty())
            {
                let why = "may not be specified when `type` is 'Pod'";
                out.push(field::forbidden(&path.field(field_name), why));
            }
        }
        for (low, high, at, words) in BOUNDS {
            let amount = |of: &str, key: &str| object_at(limit, of).and_then(|map| map.get(key));
            for (key, value) in object_at(limit, low).into_iter().flatten() {
                let above = amount(high, key).and_then(Quantity::from_value);
                if let (Some(lower), Some(upper)) = (Quantity::from_value(value), above)
                    && lower > upper
                {
                    let (lower_is, upper_is) = words;
                    let why = format!("{lower_is} value {lower} is greater than {upper_is} value {upper}");
                    let (place, blamed) = at;
                    let shown = amount(blamed, key).unwrap_or(&Value::Null);
                    out.push(field::invalid(&path.field(place).key(key), shown, &why));
                }
            }
        }
    }
}

fn priority_class(object: &Fields, out: &mut Causes) {
    let value = field::int_at(object, "value").unwrap_or(0);
    let name = text_at(object, "metadata.name");
    let system = matches!(name, "system-node-critical" | "system-cluster-critical");
    if name.starts_with("system-") && !system {
        let metadata = Path::ROOT.field("metadata");
        let why = format!(
            "priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known \
             system priority class"
        );
        out.push(field::forbidden(&metadata.field("name"), &why));
    }
    if value > PRIORITY_MAX && !system {
        let why = format!("maximum allowed value of a user defined priority is {PRIORITY_MAX}");
        out.push(field::forbidden(&Path::ROOT.field("value"), &why));
    }
}
