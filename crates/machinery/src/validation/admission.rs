//! What stands in the way of a write: webhooks, and policies with their bindings.

use super::workloads::selector;
use super::{Causes, Fields, each, port};
use crate::cel::policy::condition_problems;
use crate::field::{self, Path, int_at, list_at, object_at, objects_at, text_at};
use crate::name;
use serde_json::Value;
use std::collections::BTreeSet;

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];

pub(super) fn webhooks(object: &Fields, out: &mut Causes) {
    let list = Path::ROOT.field("webhooks");
    let mut names = BTreeSet::new();
    for (index, hook) in objects_at(object, "webhooks").enumerate() {
        let path = list.index(index);
        let text = text_at(hook, "name");
        webhook_name(text, &path.field("name"), out);
        if !text.is_empty() && !names.insert(text) {
            out.push(field::duplicate(&path.field("name"), &text.into()));
        }
        rules(hook, "rules", &path, out);
        side_effects(hook, &path.field("sideEffects"), out);
        if let Some(seconds) = int_at(hook, "timeoutSeconds").filter(|seconds| !(1..=30).contains(seconds)) {
            let why = "the timeout value must be between 1 and 30 seconds";
            out.push(field::invalid(&path.field("timeoutSeconds"), &seconds.into(), why));
        }
        for selected in ["namespaceSelector", "objectSelector"] {
            selector(hook.get(selected), &path.field(selected), out);
        }
        if let Some(config) = object_at(hook, "clientConfig") {
            client_config(config, &path.field("clientConfig"), out);
        }
        versions(hook, &path.field("admissionReviewVersions"), out);
        out.extend(condition_problems(hook, &path));
        condition_names(hook, &path, out);
    }
}

fn webhook_name(text: &str, path: &Path<'_>, out: &mut Causes) {
    if text.is_empty() {
        return out.push(field::required(path, ""));
    }
    let mut problems = name::dns_subdomain(text);
    if problems.is_empty() && text.split('.').count() < 3 {
        problems.push("should be a domain with at least three segments separated by dots".into());
    }
    each(out, path, text, problems);
}

fn side_effects(hook: &Fields, path: &Path<'_>, out: &mut Causes) {
    match hook.get("sideEffects").and_then(Value::as_str) {
        None => out.push(field::required(path, "must specify one of None, NoneOnDryRun")),
        Some("None" | "NoneOnDryRun") => {}
        Some(other) => out.push(field::not_supported(path, &other.into(), ["None", "NoneOnDryRun"])),
    }
}

fn versions(hook: &Fields, path: &Path<'_>, out: &mut Causes) {
    let versions: Vec<&str> = list_at(hook, "admissionReviewVersions").iter().filter_map(Value::as_str).collect();
    if versions.is_empty() {
        return out.push(field::required(path, "must specify one of v1, v1beta1"));
    }
    let mut seen = BTreeSet::new();
    for (index, version) in versions.iter().enumerate() {
        each(out, &path.index(index), version, name::dns_1035_label(version));
        if !seen.insert(*version) {
            let why = "duplicate version";
            out.push(field::invalid_text(&path.index(index), version, why));
        }
    }
    if !versions.iter().any(|version| matches!(*version, "v1" | "v1beta1")) {
        out.push(field::invalid(path, &versions.into(), "must include at least one of v1, v1beta1"));
    }
}

/// Which requests a webhook or a policy is about.
fn rules(holder: &Fields, name: &str, path: &Path<'_>, out: &mut Causes) {
    let list = path.field(name);
    for (index, rule) in objects_at(holder, name).enumerate() {
        let path = list.index(index);
        wildcard(rule, "operations", "other operations", &path, out);
        let operations = path.field("operations");
        for (index, operation) in list_at(rule, "operations").iter().enumerate() {
            if !operation.as_str().is_some_and(|operation| OPERATIONS.contains(&operation)) {
                out.push(field::not_supported(&operations.index(index), operation, OPERATIONS));
            }
        }
        wildcard(rule, "apiGroups", "other API groups", &path, out);
        wildcard(rule, "apiVersions", "other API versions", &path, out);
        filled(rule, "apiVersions", &path, out);
        resources(rule, &path, out);
        let scope = text_at(rule, "scope");
        if !matches!(scope, "" | "*" | "Cluster" | "Namespaced") {
            let scopes = ["*", "Cluster", "Namespaced"];
            out.push(field::not_supported(&path.field("scope"), &scope.into(), scopes));
        }
    }
}

/// The list must not be empty, and hold nothing beside a `*`.
fn wildcard(rule: &Fields, name: &str, others: &str, path: &Path<'_>, out: &mut Causes) {
    let (path, given) = (path.field(name), list_at(rule, name));
    if given.is_empty() {
        out.push(field::required(&path, ""));
    } else if given.len() > 1 && given.iter().any(|value| value == "*") {
        let why = format!("if '*' is present, must not specify {others}");
        out.push(field::invalid(&path, &Value::Array(given.to_vec()), &why));
    }
}

/// No element of the list may be empty.
fn filled(rule: &Fields, name: &str, path: &Path<'_>, out: &mut Causes) {
    let path = path.field(name);
    for (index, value) in list_at(rule, name).iter().enumerate() {
        if value.as_str() == Some("") {
            out.push(field::required(&path.index(index), ""));
        }
    }
}

fn resources(rule: &Fields, path: &Path<'_>, out: &mut Causes) {
    filled(rule, "resources", path, out);
    let (path, given) = (path.field("resources"), list_at(rule, "resources"));
    if given.is_empty() {
        return out.push(field::required(&path, ""));
    }
    let texts: Vec<&str> = given.iter().filter_map(Value::as_str).collect();
    let whole = || Value::Array(given.to_vec());
    if texts.len() > 1 && texts.contains(&"*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        out.push(field::invalid(&path, &whole(), why));
    }
    if texts.contains(&"*") && texts.iter().any(|text| !text.contains('/') && *text != "*") {
        let why = "if '*' is present, must not specify other resources without subresources";
        out.push(field::invalid(&path, &whole(), why));
    }
    for (index, text) in texts.iter().enumerate() {
        let Some((resource, part)) = text.split_once('/') else { continue };
        if resource == "*" && part != "*" && texts.contains(&"*/*") {
            let why = format!("if '*/*' is present, must not specify {text}");
            out.push(field::invalid_text(&path.index(index), text, &why));
        } else if resource != "*" && part != "*" && texts.contains(&format!("{resource}/*").as_str()) {
            let why = format!("if '{resource}/*' is present, must not specify {text}");
            out.push(field::invalid_text(&path.index(index), text, &why));
        }
    }
}

/// The most match conditions that a webhook or a policy may have.
const CONDITIONS_MAX: u64 = 64;

/// Match conditions are told apart by their names.
pub(super) fn condition_names(holder: &Fields, path: &Path<'_>, out: &mut Causes) {
    let list = path.field("matchConditions");
    let mut names = BTreeSet::new();
    let count = list_at(holder, "matchConditions").len();
    if count as u64 > CONDITIONS_MAX {
        out.push(field::too_many(&list, count, CONDITIONS_MAX));
    }
    for (index, condition) in objects_at(holder, "matchConditions").enumerate() {
        let (path, name) = (list.index(index), text_at(condition, "name"));
        let path = path.field("name");
        if name.is_empty() {
            out.push(field::required(&path, ""));
            continue;
        }
        each(out, &path, name, name::qualified_name(name));
        if !names.insert(name) {
            out.push(field::duplicate(&path, &name.into()));
        }
    }
}

/// How to reach a webhook: by URL, or by Service.
pub(crate) fn client_config(config: &Fields, path: &Path<'_>, out: &mut Causes) {
    let url = config.get("url").and_then(Value::as_str);
    match (url, object_at(config, "service")) {
        (None, None) | (Some(_), Some(_)) => {
            out.push(field::required(path, "exactly one of url or service is required"));
        }
        (Some(url), None) => address(url, &path.field("url"), out),
        (None, Some(service)) => {
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

/// What the form of a webhook's URL must be, as its messages end.
const URL_FORM: &str = "desired format: https://host[/path]";

fn address(url: &str, path: &Path<'_>, out: &mut Causes) {
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once(':').unwrap_or(("", rest));
    let authority = rest.strip_prefix("//").map_or("", |rest| rest.split('/').next().unwrap_or(""));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let mut wrong = |broken: bool, value: &str, why: &str| {
        if broken {
            out.push(field::invalid_text(path, value, why));
        }
    };
    wrong(scheme != "https", scheme, &format!("'https' is the only allowed URL scheme; {URL_FORM}"));
    wrong(host.is_empty(), host, &format!("host must be specified; {URL_FORM}"));
    wrong(!user.is_empty(), user, "user information is not permitted in the URL");
    wrong(!fragment.is_empty(), fragment, "fragments are not permitted in the URL");
    wrong(!query.is_empty(), query, "query parameters are not permitted in the URL");
}

/// What a policy is about.
pub(super) fn constraints(spec: &Fields, path: &Path<'_>, out: &mut Causes) {
    let path = path.field("matchConstraints");
    let Some(constraints) = object_at(spec, "matchConstraints") else {
        return out.push(field::required(&path, ""));
    };
    for selected in ["namespaceSelector", "objectSelector"] {
        selector(constraints.get(selected), &path.field(selected), out);
    }
    if list_at(constraints, "resourceRules").is_empty() {
        out.push(field::required(&path.field("resourceRules"), ""));
    }
    rules(constraints, "resourceRules", &path, out);
    rules(constraints, "excludeResourceRules", &path, out);
}

/// A policy that changes objects cannot be about deletes. Which rule it is of, the stock server does not say.
pub(super) fn mutable_operations(spec: &Fields, path: &Path<'_>, out: &mut Causes) {
    const MUTABLE: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];
    let path = path.field("matchConstraints");
    let path = path.field("resourceRules");
    for rule in objects_at(spec, "matchConstraints.resourceRules") {
        for operation in list_at(rule, "operations") {
            if !operation.as_str().is_some_and(|operation| MUTABLE.contains(&operation)) {
                out.push(field::not_supported(&path.field("operations"), operation, MUTABLE));
            }
        }
    }
}

/// One change that a policy makes.
pub(super) fn mutation(mutation: &Fields, path: &Path<'_>, out: &mut Causes) {
    let kind = text_at(mutation, "patchType");
    let (part, other) = match kind {
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
        "JSONPatch" => ("jsonPatch", "applyConfiguration"),
        "" => return out.push(field::required(&path.field("patchType"), "")),
        _ => {
            let kinds = ["ApplyConfiguration", "JSONPatch"];
            return out.push(field::not_supported(&path.field("patchType"), &kind.into(), kinds));
        }
    };
    let place = path.field(part);
    match object_at(mutation, part) {
        None => out.push(field::required(&place, &format!("must be specified when patchType is {kind}"))),
        Some(fields) if text_at(fields, "expression").is_empty() => {
            out.push(field::required(&place.field("expression"), ""));
        }
        Some(_) => {}
    }
    if object_at(mutation, other).is_some() {
        let why = format!("must not be specified when patchType is {kind}");
        out.push(field::forbidden(&path.field(other), &why));
    }
}

/// A policy that validates does something.
pub(super) fn validations(spec: &Fields, path: &Path<'_>, out: &mut Causes) {
    let names = ["validations", "auditAnnotations"];
    if names.iter().all(|name| list_at(spec, name).is_empty()) {
        for name in names {
            let why = "validations or auditAnnotations must contain at least one item";
            out.push(field::required(&path.field(name), why));
        }
    }
}
