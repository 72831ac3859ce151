//! Nobody grants what they do not hold: who writes a role must hold all of its rules, and who binds a role too, unless
//! the verbs `escalate` and `bind` allow more.

use crate::call::Call;
use crate::identity::{Attributes, MASTERS};
use crate::rbac::{GROUP, Rule};
use crate::respond::Result;
use api::{Object, Status};
use serde::Deserialize;
use serde_json::Value;

/// 403 if the caller would grant more than it holds, or the guard refuses.
pub(super) fn check(call: &Call, object: &Object, old: Option<&Object>) -> Result<()> {
    crate::guard::check(call, object, old)?;
    if call.kind.served.group != GROUP || call.identity.is_in(MASTERS) {
        return Ok(());
    }
    if old.is_some_and(|old| only_collected(old, object)) {
        return Ok(());
    }
    let namespace = call.target.namespace.as_str();
    match &*call.kind.served.kind {
        "Role" | "ClusterRole" => {
            if may(call, "escalate", &call.kind.served.plural, namespace, &call.target.name) {
                return Ok(());
            }
            refuse_missing(call, object, namespace, &rules(object))?;
            // What will be aggregated is not known: everything must be held.
            let aggregates = object.0.get("aggregationRule").is_some_and(Value::is_object);
            if aggregates && !missing(call, namespace, &Rule::everything()).is_empty() {
                let why = "must have cluster-admin privileges to use the aggregationRule";
                return Err(Status::forbidden(&call.kind.group_resource, object.name(), why).into());
            }
            Ok(())
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
                return Err(Status::not_found(&call.kind.group_resource, name).into());
            };
            refuse_missing(call, object, namespace, &rules)
        }
        _ => Ok(()),
    }
}

/// Whether a write changes only what the garbage collector changes: who collects grants nothing.
fn only_collected(old: &Object, new: &Object) -> bool {
    let rest = |object: &Object| {
        let mut object = object.clone();
        for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion", "generation"] {
            object.metadata_mut().remove(field);
        }
        object
    };
    rest(old) == rest(new)
}

fn rules(role: &Object) -> Vec<Rule> {
    let listed = role.0.get("rules").and_then(Value::as_array).into_iter().flatten();
    listed.filter_map(|rule| Rule::deserialize(rule).ok()).collect()
}

fn may(call: &Call, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
    let asked = Attributes { verb, group: GROUP, resource, namespace, name, ..Attributes::default() };
    call.space.rbac.decide(&call.identity, &asked).is_allowed()
}

fn missing(call: &Call, namespace: &str, wanted: &[Rule]) -> Vec<String> {
    crate::rbac::missing(&call.space.rbac.rules_for(&call.identity, namespace).0, wanted)
}

fn refuse_missing(call: &Call, object: &Object, namespace: &str, wanted: &[Rule]) -> Result<()> {
    let (held, errors) = call.space.rbac.rules_for(&call.identity, namespace);
    let missing = crate::rbac::missing(&held, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = call.identity.groups.iter().map(|group| format!("{group:?}")).collect();
    let mut cause = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        call.identity.user,
        groups.join(" "),
        missing.join("\n")
    );
    if !errors.is_empty() {
        cause.push_str(&format!("; resolution errors: [{errors}]"));
    }
    Err(Status::forbidden(&call.kind.group_resource, object.name(), cause).into())
}
