//! What single kinds do on a write beside what all kinds do, where it needs more than the object: who asks, when, and
//! what else is in the space.

use crate::call::Call;
use crate::respond::Result;
use crate::{crd, priorities};
use api::{Object, Status};
use machinery::strategy;
use serde_json::{Value, json};

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];

/// 404 or 403 unless the namespace of the request takes new objects.
pub(super) fn namespace(call: &Call, name: &str) -> Result<()> {
    if !call.kind.served.namespaced {
        return Ok(());
    }
    let namespace = &call.target.namespace;
    let key = call.space.key(&"namespaces".into(), "", namespace);
    let Some(entry) = call.store().get(&key) else {
        let namespaces = api::GroupResource { group: String::new(), resource: "namespaces".into() };
        return Err(Status::not_found(&namespaces, namespace).into());
    };
    if !entry.meta.deleting {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut status = Status::forbidden(&call.kind.group_resource, name, why);
    if let Some(details) = &mut status.details {
        details.causes = vec![crate::options::cause(
            "NamespaceTerminating",
            "metadata.namespace",
            format!("namespace {namespace} is being terminated"),
        )];
    }
    Err(status.into())
}

/// 403 for a delete of a namespace that every space needs.
pub(super) fn deletable(call: &Call, name: &str) -> Result<()> {
    if &*call.kind.collection == "namespaces" && IMMORTAL.contains(&name) {
        let status = Status::forbidden(&call.kind.group_resource, name, "this namespace may not be deleted");
        return Err(status.into());
    }
    if &*call.kind.collection == priorities::COLLECTION && priorities::get(name).is_some() {
        let why = "this is a system priority class and cannot be deleted";
        return Err(Status::forbidden(&call.kind.group_resource, name, why).into());
    }
    Ok(())
}

/// Brings what a client may say in a form of its own into the form that is stored.
pub(super) fn given(call: &Call, object: &mut Object) {
    if &*call.kind.collection == "secrets" {
        merge_string_data(object);
    }
    if call.kind.custom.is_none() {
        strategy::normalise(&call.kind.served.group, &call.kind.served.kind, object);
    }
}

/// Fills in what the server decides of a new object, whose defaults, name and uid are set.
pub(super) fn create(call: &Call, object: &mut Object) {
    let kind = &call.kind;
    if kind.custom.is_some() {
        if kind.rules.status {
            object.0.remove("status");
        }
        return;
    }
    match &*kind.collection {
        "certificatesigningrequests.certificates.k8s.io" => {
            let spec = object.0.entry("spec").or_insert_with(|| json!({}));
            let identity = &call.identity;
            spec["username"] = identity.user.as_str().into();
            spec["groups"] = identity.groups.clone().into();
            set_or_remove(spec, "uid", identity.uid.as_str().into(), identity.uid.is_empty());
            set_or_remove(spec, "extra", json!(identity.extra), identity.extra.is_empty());
        }
        "roles.rbac.authorization.k8s.io" | "clusterroles.rbac.authorization.k8s.io" => {
            object.0.entry("rules").or_insert(Value::Null);
        }
        crd::COLLECTION => crd::complete(object),
        _ => {}
    }
    strategy::prepare_create(&kind.served.group, &kind.served.kind, object);
    if &*kind.collection == "apiservices.apiregistration.k8s.io" && object.pointer("/spec/service").is_none() {
        let mut condition = crate::controllers::local();
        condition.last_transition_time = Some(call.server.now());
        object.0.insert("status".into(), json!({"conditions": [condition]}));
    }
    if &*kind.collection == "persistentvolumes"
        && let Some(Value::Object(status)) = object.0.get_mut("status")
    {
        status.insert("lastPhaseTransitionTime".into(), call.server.now().to_string().into());
    }
}

/// Fills in what the server decides of a changed object.
pub(super) fn update(call: &Call, old: &Object, object: &mut Object) {
    let kind = &call.kind;
    if kind.custom.is_some() {
        return;
    }
    given(call, object);
    if &*kind.collection == crd::COLLECTION {
        crd::complete(object);
    }
    strategy::prepare_update(&kind.served.group, &kind.served.kind, old, object);
}

fn set_or_remove(map: &mut Value, key: &str, value: Value, remove: bool) {
    let Some(map) = map.as_object_mut() else { return };
    if remove {
        map.remove(key);
    } else {
        map.insert(key.into(), value);
    }
}

/// `stringData` is only ever written: it goes into `data`, in base64.
fn merge_string_data(object: &mut Object) {
    use base64::Engine;
    let Some(Value::Object(given)) = object.0.remove("stringData") else { return };
    let data = object.0.entry("data").or_insert_with(|| json!({}));
    let Some(data) = data.as_object_mut() else { return };
    for (key, value) in given {
        let text = value.as_str().unwrap_or_default();
        data.insert(key, base64::engine::general_purpose::STANDARD.encode(text).into());
    }
}

/// 403 for a create of a custom kind whose definition is going away.
pub(super) fn definition(call: &Call, name: &str) -> Result<()> {
    if call.kind.custom.as_ref().is_some_and(|custom| custom.terminating) {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(Status::forbidden(&call.kind.group_resource, name, why).into());
    }
    Ok(())
}
