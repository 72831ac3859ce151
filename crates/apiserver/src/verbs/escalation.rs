//! Nobody grants what they do not hold: who writes a role must hold all of its rules, and who binds a role too, unless
//! the verbs `escalate` and `bind` allow more.

use crate::call::Call;
use crate::identity::{Attributes, MASTERS};
use crate::respond::Result;
use api::{Object, Status};
use serde_json::Value;

const GROUP: &str = "rbac.authorization.k8s.io";

/// 403 if the caller would grant more than it holds, or the guard refuses.
pub(super) fn check(call: &Call, object: &Object, old: Option<&Object>) -> Result<()> {
    crate::guard::check(call, object, old)?;
    if call.kind.served.group != GROUP || call.identity.is_in(MASTERS) {
        return Ok(());
    }
    // Who only labels or finalizes grants nothing.
    let granting = ["rules", "aggregationRule", "subjects", "roleRef"];
    if old.is_some_and(|old| granting.iter().all(|field| old.0.get(*field) == object.0.get(*field))) {
        return Ok(());
    }
    let namespace = call.target.namespace.as_str();
    match &*call.kind.served.kind {
        "Role" | "ClusterRole" => {
            if may(call, "escalate", &call.kind.served.plural, namespace, object.name()) {
                return Ok(());
            }
            let rules = object.0.get("rules").and_then(Value::as_array).cloned().unwrap_or_default();
            // What will be aggregated is not known: everything must be held.
            let everything = object.0.contains_key("aggregationRule");
            let all = serde_json::json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
            refuse_missing(call, object, namespace, rules.into_iter().chain(everything.then_some(all)))
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("");
            let (kind, name) = (text("/roleRef/kind"), text("/roleRef/name"));
            let plural = if kind == "Role" { "roles" } else { "clusterroles" };
            if may(call, "bind", plural, namespace, name) {
                return Ok(());
            }
            let place = if kind == "Role" { namespace } else { "" };
            let Some(rules) = call.space.rbac.rules_of(place, name) else {
                let resource = api::GroupResource { group: GROUP.into(), resource: plural.into() };
                return Err(Status::not_found(&resource, name).into());
            };
            refuse_missing(call, object, namespace, rules)
        }
        _ => Ok(()),
    }
}

fn may(call: &Call, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
    let asked = Attributes { verb, group: GROUP, resource, namespace, name, ..Attributes::default() };
    call.space.rbac.decide(&call.identity, &asked).is_allowed()
}

fn refuse_missing(call: &Call, object: &Object, namespace: &str, rules: impl IntoIterator<Item = Value>) -> Result<()> {
    let missing: Vec<String> =
        rules.into_iter().filter(|rule| !holds(call, namespace, rule)).map(|r| shown(&r)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (user, groups) = (&call.identity.user, &call.identity.groups);
    let cause = format!(
        "user {user:?} (groups={groups:?}) is attempting to grant RBAC permissions not currently held:\n{}",
        missing.join("\n")
    );
    Err(Status::forbidden(&call.kind.group_resource, object.name(), cause).into())
}

fn texts<'a>(rule: &'a Value, field: &str) -> Vec<&'a str> {
    rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether the caller holds every right of a rule. A `*` in it is only held by who holds a `*`.
fn holds(call: &Call, namespace: &str, rule: &Value) -> bool {
    let verbs = texts(rule, "verbs");
    let paths = texts(rule, "nonResourceURLs");
    let names = match texts(rule, "resourceNames") {
        names if names.is_empty() => vec![""],
        names => names,
    };
    let decide = |asked: &Attributes<'_>| call.space.rbac.decide(&call.identity, asked).is_allowed();
    for verb in verbs {
        for path in &paths {
            if !decide(&Attributes { verb, path: Some(path), ..Attributes::default() }) {
                return false;
            }
        }
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                for name in &names {
                    let asked = Attributes { verb, group, resource, subresource, namespace, name, path: None };
                    if !decide(&asked) {
                        return false;
                    }
                }
            }
        }
    }
    true
}

/// A rule as the stock server prints it.
fn shown(rule: &Value) -> String {
    let fields = [
        ("apiGroups", "APIGroups"),
        ("resources", "Resources"),
        ("resourceNames", "ResourceNames"),
        ("nonResourceURLs", "NonResourceURLs"),
        ("verbs", "Verbs"),
    ];
    let listed: Vec<String> = fields
        .iter()
        .map(|(field, name)| (name, texts(rule, field)))
        .filter(|(_, texts)| !texts.is_empty())
        .map(|(name, texts)| format!("{name}:{texts:?}"))
        .collect();
    format!("{{{}}}", listed.join(", "))
}
