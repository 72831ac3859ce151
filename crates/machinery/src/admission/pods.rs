//! What admission makes of Pods: priority, service account, tolerations, runtime class.

use super::resources::amounts;
use super::{Lookup, Operation, Refusal, Subject};
use crate::field;
use api::Object;
use serde_json::{Map, Value, json};

const CLASSES: &str = "priorityclasses.scheduling.k8s.io";
const RUNTIMES: &str = "runtimeclasses.node.k8s.io";
/// Of Pods that a kubelet made from a file: they are as they are.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Where programs look for the token of their service account.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The volumes that hold such tokens.
pub const TOKEN_VOLUME_PREFIX: &str = "kube-api-access-";
/// How long such a token is good, in seconds: an hour, and seven seconds by which it is known that nobody chose it.
const TOKEN_SECONDS: i64 = 3607;
/// How long a Pod stays on a node that is not ready, or not reached, in seconds.
const TOLERATION_SECONDS: i64 = 300;

/// The spec of an object, made if it is not there.
pub(super) fn spec(object: &mut Object) -> &mut Map<String, Value> {
    let spec = object.0.entry("spec").or_insert_with(|| json!({}));
    if !spec.is_object() {
        *spec = json!({});
    }
    spec.as_object_mut().expect("made an object above")
}

/// The default priority class: of several, that with the least value.
fn default_class(lookup: &dyn Lookup) -> Option<Object> {
    let classes = lookup.list(CLASSES, "").into_iter().filter(|class| field::flag_at(&class.0, "globalDefault"));
    classes.min_by_key(|class| field::int_at(&class.0, "value").unwrap_or(0))
}

/// Priority: a Pod gets the number and the preemption policy of its class.
pub(super) fn priority(subject: &mut Subject<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    if subject.operation == Operation::Update {
        // Who updates a Pod need not know what was filled in.
        for name in ["priority", "preemptionPolicy"] {
            let held = subject.old.and_then(|old| old.0.get("spec")?.get(name)).cloned();
            if let Some(held) = held.filter(|held| !held.is_null()) {
                spec(subject.object).entry(name).or_insert(held);
            }
        }
        return Ok(());
    }
    let pod = &subject.object.0;
    let name = field::text_at(pod, "spec.priorityClassName").to_owned();
    let class = if name.is_empty() {
        default_class(lookup)
    } else {
        let found = lookup.get(CLASSES, "", &name);
        Some(found.ok_or_else(|| format!("no PriorityClass with name {name} was found"))?)
    };
    let class = class.as_ref();
    let value = class.and_then(|class| field::int_at(&class.0, "value")).unwrap_or(0);
    let policy = class.map(|class| field::text_at(&class.0, "preemptionPolicy")).filter(|policy| !policy.is_empty());
    let policy = policy.unwrap_or("PreemptLowerPriority");
    let given = field::int_at(pod, "spec.priority");
    if let Some(given) = given.filter(|given| *given != value) {
        return Err(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {value} from the given PriorityClass name"
        ));
    }
    let given = field::text_at(pod, "spec.preemptionPolicy");
    if !given.is_empty() && given != policy {
        return Err(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        ));
    }
    let spec = spec(subject.object);
    if let Some(class) = class {
        spec.insert("priorityClassName".into(), class.name().into());
    }
    spec.insert("priority".into(), value.into());
    spec.insert("preemptionPolicy".into(), policy.into());
    Ok(())
}

/// Priority: there is one default at most.
pub(super) fn one_default_priority(subject: &mut Subject<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    if !field::flag_at(&subject.object.0, "globalDefault") {
        return Ok(());
    }
    match default_class(lookup).filter(|class| class.name() != subject.object.name()) {
        Some(held) => {
            Err(format!("PriorityClass {} is already marked as default. Only one default can exist", held.name()))
        }
        None => Ok(()),
    }
}

/// ServiceAccount: a Pod has an account, which is there, its token, and its image pull secrets.
pub(super) fn service_account(subject: &mut Subject<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    if subject.object.annotation(MIRROR).is_some() {
        return Ok(());
    }
    let namespace = subject.namespace;
    let spec = spec(subject.object);
    let name = match spec.get("serviceAccountName").and_then(Value::as_str) {
        None | Some("") => "default".to_owned(),
        Some(name) => name.to_owned(),
    };
    let Some(account) = lookup.get("serviceaccounts", namespace, &name) else {
        return Err(format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"));
    };
    // The second is the old name of the first.
    spec.insert("serviceAccountName".into(), name.as_str().into());
    spec.insert("serviceAccount".into(), name.into());
    let wants = |fields: &Map<String, Value>| fields.get("automountServiceAccountToken").and_then(Value::as_bool);
    if wants(spec).or_else(|| wants(&account.0)).unwrap_or(true) {
        mount_token(spec, subject.token_volume);
    }
    let secrets = account.0.get("imagePullSecrets").filter(|secrets| secrets.as_array().is_some_and(|l| !l.is_empty()));
    let has = spec.get("imagePullSecrets").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if let Some(secrets) = secrets.filter(|_| !has) {
        spec.insert("imagePullSecrets".into(), secrets.clone());
    }
    Ok(())
}

/// Mounts the token of the service account into every container that has nothing there.
fn mount_token(spec: &mut Map<String, Value>, drawn: &str) {
    let held = field::objects_at(spec, "volumes").map(|volume| field::text_at(volume, "name"));
    let held = held.filter(|name| name.starts_with(TOKEN_VOLUME_PREFIX)).last().map(str::to_owned);
    let name = held.as_deref().unwrap_or(drawn);
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            if field::objects_at(container, "volumeMounts")
                .any(|mount| field::text_at(mount, "mountPath") == TOKEN_PATH)
            {
                continue;
            }
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            if let Some(mounts) = mounts.as_array_mut() {
                mounts.push(json!({"name": name, "readOnly": true, "mountPath": TOKEN_PATH}));
                mounted = true;
            }
        }
    }
    if !mounted || held.is_some() {
        return;
    }
    let field_ref = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    let volume = json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field_ref}]}},
    ]}});
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.push(volume);
    }
}

/// DefaultTolerationSeconds: for how long a Pod stays on a node that is lost.
pub(super) fn tolerations(subject: &mut Subject<'_>, _: &dyn Lookup) -> Result<(), Refusal> {
    let spec = spec(subject.object);
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = field::objects_at(spec, "tolerations").any(|toleration| {
            [key, ""].contains(&field::text_at(toleration, "key"))
                && matches!(field::text_at(toleration, "effect"), "NoExecute" | "")
        });
        if tolerated {
            continue;
        }
        let list = spec.entry("tolerations").or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": TOLERATION_SECONDS}));
        }
    }
    Ok(())
}

/// The runtime class that a Pod names.
fn runtime(subject: &Subject<'_>, lookup: &dyn Lookup) -> Result<Option<Object>, Refusal> {
    let name = field::text_at(&subject.object.0, "spec.runtimeClassName");
    if name.is_empty() {
        return Ok(None);
    }
    let class = lookup.get(RUNTIMES, "", name);
    class.map(Some).ok_or_else(|| format!("pod rejected: RuntimeClass {name:?} not found"))
}

/// RuntimeClass: its overhead, and where its Pods can run.
pub(super) fn runtime_class(subject: &mut Subject<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    let Some(class) = runtime(subject, lookup)? else { return Ok(()) };
    let spec = spec(subject.object);
    if let Some(fixed) = field::at(&class.0, "overhead.podFixed") {
        let given = spec.get("overhead").filter(|given| !given.is_null());
        if given.is_some_and(|given| amounts(Some(given)) != amounts(Some(fixed))) {
            return Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".into());
        }
        spec.insert("overhead".into(), fixed.clone());
    }
    let nodes = field::object_at(&class.0, "scheduling.nodeSelector").cloned().unwrap_or_default();
    for (label, value) in nodes {
        let held = spec.get("nodeSelector").and_then(|held| held.get(&label)).and_then(Value::as_str);
        let wanted = value.as_str().unwrap_or("");
        if let Some(held) = held.filter(|held| *held != wanted) {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{label}] = {wanted}; pod.spec.nodeSelector[{label}] = {held}"
            ));
        }
        spec.entry("nodeSelector").or_insert_with(|| json!({}))[&label] = value;
    }
    for toleration in field::list_at(&class.0, "scheduling.tolerations") {
        let list = spec.entry("tolerations").or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut().filter(|list| !list.contains(toleration)) {
            list.push(toleration.clone());
        }
    }
    Ok(())
}

/// RuntimeClass: nobody makes up an overhead.
pub(super) fn overhead_is_of_class(subject: &mut Subject<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    let given = amounts(field::at(&subject.object.0, "spec.overhead"));
    let class = runtime(subject, lookup)?;
    let fixed = class.as_ref().and_then(|class| field::at(&class.0, "overhead.podFixed"));
    match fixed {
        None if given.is_empty() => Ok(()),
        None => Err("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".into()),
        Some(fixed) if amounts(Some(fixed)) == given => Ok(()),
        Some(_) => Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".into()),
    }
}
