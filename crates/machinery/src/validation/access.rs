//! Kinds that say who may do what, and who stands in the way of a write.

use super::workloads::selector;
use super::{Causes, Check, Fields, each, needed, port};
use crate::field::{self, Path, int_at, list_at, object_at, objects_at, text_at};
use crate::name;
use base64::Engine as _;
use serde_json::Value;
use std::collections::BTreeSet;

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

pub(super) const KINDS: &[(&str, &str, Check)] = &[
    (RBAC, "ClusterRole", cluster_role),
    (RBAC, "ClusterRoleBinding", cluster_role_binding),
    (RBAC, "Role", role),
    (RBAC, "RoleBinding", role_binding),
    (ADMISSION, "MutatingWebhookConfiguration", webhooks),
    (ADMISSION, "ValidatingWebhookConfiguration", webhooks),
    ("certificates.k8s.io", "CertificateSigningRequest", signing_request),
    ("coordination.k8s.io", "Lease", lease),
];

fn role(object: &Fields, out: &mut Causes) {
    rules(object, true, out);
}

fn cluster_role(object: &Fields, out: &mut Causes) {
    rules(object, false, out);
    if object_at(object, "aggregationRule").is_none() {
        return;
    }
    let rule = Path::ROOT.field("aggregationRule");
    let path = rule.field("clusterRoleSelectors");
    let selectors = list_at(object, "aggregationRule.clusterRoleSelectors");
    if selectors.is_empty() {
        let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        out.push(field::required(&path, why));
    }
    for (index, value) in selectors.iter().enumerate() {
        selector(Some(value), &path.index(index), out);
    }
}

fn rules(object: &Fields, namespaced: bool, out: &mut Causes) {
    let list = Path::ROOT.field("rules");
    for (index, rule) in objects_at(object, "rules").enumerate() {
        let path = list.index(index);
        let given = |name: &str| !list_at(rule, name).is_empty();
        if !given("verbs") {
            out.push(field::required(&path.field("verbs"), "verbs must contain at least one value"));
        }
        if given("nonResourceURLs") {
            let path = path.field("nonResourceURLs");
            let urls = rule.get("nonResourceURLs").cloned().unwrap_or(Value::Null);
            if namespaced {
                let why = "namespaced rules cannot apply to non-resource URLs";
                out.push(field::invalid(&path, &urls, why));
            }
            if given("apiGroups") || given("resources") || given("resourceNames") {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                out.push(field::invalid(&path, &urls, why));
            }
            continue;
        }
        if !given("apiGroups") {
            out.push(field::required(&path.field("apiGroups"), "resource rules must supply at least one api group"));
        }
        if !given("resources") {
            out.push(field::required(&path.field("resources"), "resource rules must supply at least one resource"));
        }
    }
}

fn role_binding(object: &Fields, out: &mut Causes) {
    binding(object, true, &["Role", "ClusterRole"], out);
}

fn cluster_role_binding(object: &Fields, out: &mut Causes) {
    binding(object, false, &["ClusterRole"], out);
}

fn binding(object: &Fields, namespaced: bool, kinds: &[&str], out: &mut Causes) {
    let path = Path::ROOT.field("roleRef");
    let group = text_at(object, "roleRef.apiGroup");
    if group != RBAC {
        out.push(field::not_supported(&path.field("apiGroup"), &group.into(), [RBAC]));
    }
    let kind = text_at(object, "roleRef.kind");
    if !kinds.contains(&kind) {
        out.push(field::not_supported(&path.field("kind"), &kind.into(), kinds.iter().copied()));
    }
    match text_at(object, "roleRef.name") {
        "" => out.push(field::required(&path.field("name"), "")),
        text => each(out, &path.field("name"), text, name::path_segment(text)),
    }
    let list = Path::ROOT.field("subjects");
    for (index, subject) in objects_at(object, "subjects").enumerate() {
        let path = list.index(index);
        let (kind, group, text) = (text_at(subject, "kind"), text_at(subject, "apiGroup"), text_at(subject, "name"));
        needed(out, subject, &path, &["name"]);
        match kind {
            "ServiceAccount" => {
                if !text.is_empty() {
                    each(out, &path.field("name"), text, name::dns_subdomain(text));
                }
                if !group.is_empty() {
                    out.push(field::not_supported(&path.field("apiGroup"), &group.into(), [""]));
                }
                if !namespaced || text_at(subject, "namespace").is_empty() {
                    needed(out, subject, &path, &["namespace"]);
                }
            }
            "User" | "Group" => {
                if group != RBAC {
                    out.push(field::not_supported(&path.field("apiGroup"), &group.into(), [RBAC]));
                }
            }
            _ => {
                let supported = ["ServiceAccount", "User", "Group"];
                out.push(field::not_supported(&path.field("kind"), &kind.into(), supported));
            }
        }
    }
}

fn webhooks(object: &Fields, out: &mut Causes) {
    let list = Path::ROOT.field("webhooks");
    let mut names = BTreeSet::new();
    for (index, hook) in objects_at(object, "webhooks").enumerate() {
        let path = list.index(index);
        let text = text_at(hook, "name");
        if text.is_empty() {
            out.push(field::required(&path.field("name"), ""));
        } else {
            let mut problems = name::dns_subdomain(text);
            if problems.is_empty() && text.split('.').count() < 3 {
                problems.push("should be a domain with at least three segments separated by dots".into());
            }
            each(out, &path.field("name"), text, problems);
            if !names.insert(text) {
                out.push(field::duplicate(&path.field("name"), &text.into()));
            }
        }
        if let Some(seconds) = int_at(hook, "timeoutSeconds").filter(|seconds| !(1..=30).contains(seconds)) {
            let why = "the timeout value must be between 1 and 30 seconds";
            out.push(field::invalid(&path.field("timeoutSeconds"), &seconds.into(), why));
        }
        let versions: Vec<&str> = list_at(hook, "admissionReviewVersions").iter().filter_map(Value::as_str).collect();
        let versions_path = path.field("admissionReviewVersions");
        if versions.is_empty() {
            out.push(field::required(&versions_path, "must specify one of v1, v1beta1"));
        } else if !versions.iter().any(|version| matches!(*version, "v1" | "v1beta1")) {
            let why = "must include at least one of v1, v1beta1";
            out.push(field::invalid(&versions_path, &versions.clone().into(), why));
        }
        if matches!(text_at(hook, "sideEffects"), "Some" | "Unknown") {
            let value = text_at(hook, "sideEffects").into();
            out.push(field::not_supported(&path.field("sideEffects"), &value, ["None", "NoneOnDryRun"]));
        }
        for selected in ["namespaceSelector", "objectSelector"] {
            selector(hook.get(selected), &path.field(selected), out);
        }
        let rules = path.field("rules");
        for (index, rule) in objects_at(hook, "rules").enumerate() {
            needed(out, rule, &rules.index(index), &["apiGroups", "apiVersions", "resources", "operations"]);
        }
        if let Some(config) = object_at(hook, "clientConfig") {
            client_config(config, &path.field("clientConfig"), out);
        }
    }
}

/// How to reach a webhook: by URL, or by Service.
pub(crate) fn client_config(config: &Fields, path: &Path<'_>, out: &mut Causes) {
    let url = text_at(config, "url");
    let service = object_at(config, "service");
    match (url.is_empty(), service) {
        (true, None) | (false, Some(_)) => {
            out.push(field::required(path, "exactly one of url or service is required"));
        }
        (false, None) => {
            let path = path.field("url");
            if !url.starts_with("https://") {
                let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
                let why = format!(
                    "'https' is the only allowed URL scheme; {scheme:?} is not; desired format: https://host[/path]"
                );
                out.push(field::invalid_text(&path, url, &why));
            } else if url.contains('#') {
                out.push(field::invalid_text(&path, url, "fragments are not permitted in the URL"));
            } else if url.contains('?') {
                out.push(field::invalid_text(&path, url, "query parameters are not permitted in the URL"));
            }
        }
        (true, Some(service)) => {
            let path = path.field("service");
            for name in ["name", "namespace"] {
                if text_at(service, name).is_empty() {
                    out.push(field::required(&path.field(name), &format!("service {name} is required")));
                }
            }
            if let Some(number) = int_at(service, "port") {
                port(out, &path.field("port"), number);
            }
            let below = text_at(service, "path");
            if !below.is_empty() && !below.starts_with('/') {
                out.push(field::invalid_text(&path.field("path"), below, "must start with a '/'"));
            }
        }
    }
}

/// Seconds that a certificate is valid for at least, if the request says.
const LIFETIME_LEAST: i64 = 600;

fn signing_request(object: &Fields, out: &mut Causes) {
    let path = Path::ROOT.field("spec");
    let Some(spec) = object_at(object, "spec") else { return out.push(field::required(&path, "")) };
    let request = text_at(spec, "request");
    let decoded = base64::engine::general_purpose::STANDARD.decode(request).unwrap_or_default();
    if !decoded.starts_with(b"-----BEGIN CERTIFICATE REQUEST-----")
        && !decoded.starts_with(b"-----BEGIN NEW CERTIFICATE REQUEST-----")
    {
        let why = "PEM block type must be CERTIFICATE REQUEST";
        let shown = String::from_utf8_lossy(&decoded).into_owned();
        out.push(field::invalid_text(&path.field("request"), &shown, why));
    }
    let usages = list_at(spec, "usages");
    if usages.is_empty() {
        out.push(field::required(&path.field("usages"), ""));
    }
    let usages_path = path.field("usages");
    for (index, usage) in usages.iter().enumerate() {
        if usages[..index].contains(usage) {
            out.push(field::duplicate(&usages_path.index(index), usage));
        }
    }
    let signer = text_at(spec, "signerName");
    let signer_path = path.field("signerName");
    match signer.split_once('/') {
        _ if signer.is_empty() => out.push(field::required(&signer_path, "")),
        Some((domain, rest)) if !rest.is_empty() => {
            let mut problems = name::dns_subdomain(domain);
            if problems.is_empty() && !domain.contains('.') {
                problems.push("should be a domain with at least two segments separated by dots".into());
            }
            each(out, &signer_path, domain, problems);
        }
        _ => {
            let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            out.push(field::invalid_text(&signer_path, signer, why));
        }
    }
    if let Some(seconds) = int_at(spec, "expirationSeconds").filter(|seconds| *seconds < LIFETIME_LEAST) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        out.push(field::invalid(&path.field("expirationSeconds"), &seconds.into(), why));
    }
}

fn lease(object: &Fields, out: &mut Causes) {
    let path = Path::ROOT.field("spec");
    if let Some(seconds) = int_at(object, "spec.leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        out.push(field::invalid(&path.field("leaseDurationSeconds"), &seconds.into(), "must be greater than 0"));
    }
    if let Some(count) = int_at(object, "spec.leaseTransitions").filter(|count| *count < 0) {
        let why = "must be greater than or equal to 0";
        out.push(field::invalid(&path.field("leaseTransitions"), &count.into(), why));
    }
}
