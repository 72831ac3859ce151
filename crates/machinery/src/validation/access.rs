//! Kinds that say who may do what, and who serves what.

use super::admission::webhooks;
use super::workloads::selector;
use super::{Causes, Check, Fields, each, needed, port};
use crate::field::{self, Path, int_at, list_at, object_at, objects_at, text_at};
use crate::name;
use base64::Engine as _;
use serde_json::Value;

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
                // In a namespace, an account is of that one unless another is named.
                if !namespaced && text_at(subject, "namespace").is_empty() {
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
        let shown = spec.get("request").cloned().unwrap_or(Value::Null);
        out.push(field::invalid(&path.field("request"), &shown, why));
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

/// A group of APIs that another server serves, which is named after its group and version.
pub(super) fn api_service(object: &Fields, root: &Path<'_>, out: &mut Causes) {
    let empty = Fields::new();
    let spec = object_at(object, "spec").unwrap_or(&empty);
    let (group, version) = (text_at(spec, "group"), text_at(spec, "version"));
    let metadata = root.field("metadata");
    let wanted = format!("{version}.{group}");
    for name in ["generateName", "name"] {
        let text = text_at(object, &format!("metadata.{name}"));
        if text != wanted && !text.is_empty() {
            let why = format!("must be `spec.version+\".\"+spec.group`: {}", field::quote(&wanted));
            out.push(field::invalid_text(&metadata.field(name), text, &why));
        }
    }
    let path = root.field("spec");
    if !group.is_empty() {
        each(out, &path.field("group"), group, name::dns_subdomain(group));
    } else if version != "v1" {
        let why = "only v1 may have an empty group and it better be legacy kube";
        out.push(field::required(&path.field("group"), why));
    }
    each(out, &path.field("version"), version, name::dns_1035_label(version));
    for (name, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let number = int_at(spec, name).unwrap_or(0);
        if !(1..=most).contains(&number) {
            let why = format!("must be positive and less than {most}");
            out.push(field::invalid(&path.field(name), &number.into(), &why));
        }
    }
    let (authority, insecure) = (text_at(spec, "caBundle"), field::flag_at(spec, "insecureSkipTLSVerify"));
    match object_at(spec, "service") {
        None => {
            if !authority.is_empty() {
                let (place, why) = (path.field("caBundle"), "local APIServices may not have a caBundle");
                out.push(field::invalid(&place, &format!("{} bytes", authority.len() / 4 * 3).into(), why));
            }
            if insecure {
                let why = "local APIServices may not have insecureSkipTLSVerify";
                out.push(field::invalid(&path.field("insecureSkipTLSVerify"), &true.into(), why));
            }
        }
        Some(service) => {
            let place = path.field("service");
            needed(out, service, &place, &["namespace", "name"]);
            if let Some(number) = int_at(service, "port") {
                port(out, &place.field("port"), number);
            }
            if insecure && !authority.is_empty() {
                let why = "may not be true if caBundle is present";
                out.push(field::invalid(&path.field("insecureSkipTLSVerify"), &true.into(), why));
            }
        }
    }
}

/// The data of a revision is an object.
pub(super) fn revision(object: &Fields, root: &Path<'_>, out: &mut Causes) {
    match object.get("data") {
        None | Some(Value::Null) => out.push(field::required(&root.field("data"), "data is mandatory")),
        Some(Value::Object(_)) => {}
        Some(_) => out.push(field::required(&root.field("data"), "data must be a valid JSON object")),
    }
}
