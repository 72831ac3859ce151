//! Flow schemas and priority levels.

use super::{Causes, Fields};
use crate::field::{self, Path, flag_at, list_at, object_at, objects_at, text_at};
use serde_json::Value;

const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// A rule of a flow schema.
pub(super) fn rule(rule: &Fields, path: &Path<'_>, out: &mut Causes) {
    let subjects = path.field("subjects");
    if list_at(rule, "subjects").is_empty() {
        out.push(field::required(&subjects, "subjects must contain at least one value"));
    }
    for (index, fields) in objects_at(rule, "subjects").enumerate() {
        subject(fields, &subjects.index(index), out);
    }
    if list_at(rule, "resourceRules").is_empty() && list_at(rule, "nonResourceRules").is_empty() {
        out.push(field::required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"));
    }
    let list = path.field("resourceRules");
    for (index, fields) in objects_at(rule, "resourceRules").enumerate() {
        resource_rule(fields, &list.index(index), out);
    }
    let list = path.field("nonResourceRules");
    for (index, fields) in objects_at(rule, "nonResourceRules").enumerate() {
        let path = list.index(index);
        verbs(fields, &path, out);
        addresses(fields, &path.field("nonResourceURLs"), out);
    }
}

fn subject(subject: &Fields, path: &Path<'_>, out: &mut Causes) {
    let kind = text_at(subject, "kind");
    let part = match kind {
        "User" => "user",
        "Group" => "group",
        "ServiceAccount" => "serviceAccount",
        _ => {
            let kinds = ["Group", "ServiceAccount", "User"];
            return out.push(field::not_supported(&path.field("kind"), &kind.into(), kinds));
        }
    };
    let place = path.field(part);
    let Some(named) = object_at(subject, part) else {
        return out.push(field::required(&place, &format!("{part} is required when subject kind is '{kind}'")));
    };
    super::needed(out, named, &place, &["name"]);
    if part == "serviceAccount" && text_at(named, "namespace").is_empty() {
        out.push(field::required(&place.field("namespace"), "must specify namespace for service account"));
    }
    for other in ["user", "group", "serviceAccount"] {
        if other != part && object_at(subject, other).is_some() {
            let title = format!("{}{}", other[..1].to_uppercase(), &other[1..]);
            let why = format!("{other} is forbidden when subject kind is not '{title}'");
            out.push(field::forbidden(&path.field(other), &why));
        }
    }
}

fn verbs(rule: &Fields, path: &Path<'_>, out: &mut Causes) {
    let path = path.field("verbs");
    let given = list_at(rule, "verbs");
    if given.is_empty() {
        out.push(field::required(&path, "verbs must contain at least one value"));
    } else if given.iter().any(|verb| verb == "*") {
        if given.len() > 1 {
            let why = "if '*' is present, must not specify other verbs";
            out.push(field::invalid(&path, &Value::Array(given.to_vec()), why));
        }
    } else if !given.iter().all(|verb| verb.as_str().is_some_and(|verb| VERBS.contains(&verb))) {
        out.push(field::not_supported(&path, &Value::Array(given.to_vec()), VERBS));
    }
}

fn resource_rule(rule: &Fields, path: &Path<'_>, out: &mut Causes) {
    verbs(rule, path, out);
    for (name, what, many) in [("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")] {
        let path = path.field(name);
        let given = list_at(rule, name);
        if given.is_empty() {
            out.push(field::required(&path, &format!("resource rules must supply at least one {what}")));
        } else if given.len() > 1 && given.iter().any(|value| value == "*") {
            let why = format!("if '*' is present, must not specify other {many}");
            out.push(field::invalid(&path, &Value::Array(given.to_vec()), &why));
        }
    }
    if list_at(rule, "namespaces").is_empty() && !flag_at(rule, "clusterScope") {
        let why = "resource rules that are not cluster scoped must supply at least one namespace";
        out.push(field::required(&path.field("namespaces"), why));
    }
}

fn addresses(rule: &Fields, path: &Path<'_>, out: &mut Causes) {
    let given = list_at(rule, "nonResourceURLs");
    if given.is_empty() {
        out.push(field::required(path, "nonResourceURLs must contain at least one value"));
    }
    if given.len() > 1 && given.iter().any(|url| url == "*") {
        let why = "if '*' is present, must not specify other non-resource URLs";
        out.push(field::invalid(path, &Value::Array(given.to_vec()), why));
    }
    for (index, url) in given.iter().enumerate() {
        let url = url.as_str().unwrap_or("");
        let before_end = url.strip_suffix('*').unwrap_or(url);
        let why = match url {
            "" => "must not be empty",
            "*" | "/" => continue,
            url if !url.starts_with('/') => "must start with slash",
            url if url.contains(' ') => "must not contain white-space",
            url if url.contains("//") => "must not contain double slash",
            _ if before_end.contains('*') => "wildcard can only do suffix matching",
            _ => continue,
        };
        out.push(field::invalid_text(&path.index(index), url, why));
    }
}

/// The spec of a priority level.
pub(super) fn level(spec: &Fields, path: &Path<'_>, out: &mut Causes) {
    let (limited, exempt) = (object_at(spec, "limited").is_some(), object_at(spec, "exempt").is_some());
    match text_at(spec, "type") {
        "" => out.push(field::required(&path.field("type"), "")),
        "Exempt" if limited => {
            out.push(field::forbidden(&path.field("limited"), "must be nil if the type is not Limited"));
        }
        "Limited" if exempt => {
            out.push(field::forbidden(&path.field("exempt"), "must be nil if the type is Limited"));
        }
        "Limited" if !limited => {
            out.push(field::required(&path.field("limited"), "must not be empty when type is Limited"));
        }
        "Limited" | "Exempt" => {}
        kind => out.push(field::not_supported(&path.field("type"), &kind.into(), ["Exempt", "Limited"])),
    }
}

/// What a priority level does with what is too much.
pub(super) fn response(response: &Fields, path: &Path<'_>, out: &mut Causes) {
    let queuing = object_at(response, "queuing").is_some();
    let place = path.field("queuing");
    match text_at(response, "type") {
        "" => out.push(field::required(&path.field("type"), "")),
        "Reject" if queuing => {
            out.push(field::forbidden(&place, "must be nil if limited.limitResponse.type is not Limited"));
        }
        "Queue" if !queuing => {
            out.push(field::required(&place, "must not be empty if limited.limitResponse.type is Limited"));
        }
        "Reject" | "Queue" => {}
        kind => out.push(field::not_supported(&path.field("type"), &kind.into(), ["Queue", "Reject"])),
    }
}
