//! Hosting: what role a ControlPlane has, and what it says of itself.

use api::control::{PROPERTIES_NAMESPACE, REPORT_NAMESPACE};
use api::space::{
    ControlPlane, ControlPlaneStatus, FINALIZER, READY, ROLE_LABEL, SYNCED, SecretReference, SpaceCondition,
};
use api::{ConditionStatus, SpaceName, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// What runs beside a space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Workload description: objects are resolved and sent from here.
    Wds,
    /// Inventory and transport: clusters register here.
    Its,
    /// A simulated workload execution cluster.
    Wec,
    /// Nothing.
    Plain,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wds => "wds",
            Self::Its => "its",
            Self::Wec => "wec",
            Self::Plain => "plain",
        })
    }
}

/// Where the objects of a space are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In a space of its own.
    Own,
    /// In the hosting space itself.
    Hosting,
}

/// Hooks that are ours, and built in: what they did by jobs and Helm charts is done by what runs beside the space.
const ITS_HOOKS: [&str; 3] = ["install-status-addon", "its-hub-init", "ocm"];
const WDS_HOOKS: [&str; 3] = ["kubestellar", "kubestellar-controller", "transport-controller"];
/// The beginnings of names that say the role, as in `kflex create wds1`; `imbs` is the old name of an ITS.
const ITS_PREFIXES: [&str; 2] = ["its", "imbs"];
const WDS_PREFIX: &str = "wds";
/// The variable of a hook that names the ITS of a WDS.
const ITS_VARIABLE: &str = "ITSName";

/// The role of a space: by its label, else by its hooks, else by its name.
pub fn role(plane: &ControlPlane) -> Role {
    match plane.metadata.labels.get(ROLE_LABEL).map(String::as_str) {
        Some("its") => return Role::Its,
        Some("wds") => return Role::Wds,
        Some("wec") => return Role::Wec,
        Some(_) => return Role::Plain,
        None => {}
    }
    let hooks = plane.spec.hooks();
    let has = |names: &[&str]| hooks.iter().any(|hook| names.contains(&hook.hook_name.as_str()));
    let name = plane.metadata.name.as_str();
    if has(&ITS_HOOKS) {
        Role::Its
    } else if has(&WDS_HOOKS) || name.starts_with(WDS_PREFIX) {
        Role::Wds
    } else if ITS_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        Role::Its
    } else {
        Role::Plain
    }
}

/// Where a space is to be, by its type.
///
/// # Errors
/// For a type that is not served, what to do instead.
pub fn place(plane: &ControlPlane) -> Result<Place, String> {
    match plane.spec.type_.as_str() {
        "k8s" | "vcluster" | "k3s" | "ocm" => Ok(Place::Own),
        "host" => Ok(Place::Hosting),
        other => Err(format!("spaces of type {other:?} are not served here; types k8s and host are")),
    }
}

/// Which ITS a WDS sends to: the one that it names, else the only one that there is.
///
/// # Errors
/// What is missing, in a sentence for the user.
pub fn its_of<'a>(wds: &ControlPlane, planes: impl IntoIterator<Item = &'a ControlPlane>) -> Result<SpaceName, String> {
    let its = planes.into_iter().filter(|plane| role(plane) == Role::Its && !plane.metadata.is_deleting());
    let mut names: Vec<&str> = its.map(|plane| plane.metadata.name.as_str()).collect();
    names.sort_unstable();
    let hooks = wds.spec.hooks();
    let given =
        hooks.iter().filter_map(|hook| hook.vars.get(ITS_VARIABLE)).chain(wds.spec.global_vars.get(ITS_VARIABLE));
    let given = given.filter(|name| !name.is_empty()).map(String::as_str).next();
    match (given, names.as_slice()) {
        (Some(given), names) if names.contains(&given) => Ok(given.into()),
        (Some(given), _) => Err(format!("control plane with type its and name {given} was not found")),
        (None, []) => {
            Err("no control plane with type its found: create one (kflex create its1); until then nothing is delivered"
                .into())
        }
        (None, [only]) => Ok((*only).into()),
        (None, names) => Err(format!(
            "more than one control plane of type its was found ({}): name one in the variable {ITS_VARIABLE}",
            names.join(", ")
        )),
    }
}

/// The metadata that a ControlPlane lacks, as a merge patch: our finalizer and the label that says the role.
pub fn plan_metadata(plane: &ControlPlane) -> Option<Value> {
    let meta = &plane.metadata;
    let mut patch = json!({});
    if !meta.has_finalizer(FINALIZER) {
        let finalizers: Vec<_> = meta.finalizers.iter().map(String::as_str).chain([FINALIZER]).collect();
        patch = json!({"finalizers": finalizers, "resourceVersion": meta.resource_version});
    }
    let role = role(plane);
    if role != Role::Plain && !meta.labels.contains_key(ROLE_LABEL) {
        patch["labels"] = json!({ROLE_LABEL: role.to_string()});
    }
    patch.as_object().is_some_and(|fields| !fields.is_empty()).then(|| json!({"metadata": patch}))
}

/// The metadata of a ControlPlane whose space is gone, as a merge patch: without our finalizer.
pub fn plan_release(plane: &ControlPlane) -> Option<Value> {
    let meta = &plane.metadata;
    let rest: Vec<_> = meta.finalizers.iter().filter(|held| *held != FINALIZER).collect();
    let release = json!({"metadata": {"finalizers": rest, "resourceVersion": meta.resource_version}});
    meta.has_finalizer(FINALIZER).then_some(release)
}

/// What a reconcile of a ControlPlane came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Where the kubeconfigs are, once they are.
    pub secret: Option<SecretReference>,
    /// What went wrong, in a sentence for the user.
    pub error: Option<String>,
    /// What runs beside the space cannot run yet; why.
    pub waiting: Option<String>,
}

/// The status of a ControlPlane, or nothing if it says all this already.
pub fn status(plane: &ControlPlane, outcome: &Outcome, now: Timestamp) -> Option<ControlPlaneStatus> {
    let mut status = plane.status.clone().unwrap_or_default();
    status.observed_generation = plane.metadata.generation;
    if outcome.secret.is_some() {
        status.secret_ref.clone_from(&outcome.secret);
    }
    let works = outcome.error.is_none() && outcome.waiting.is_none();
    let hooks = plane.spec.hooks();
    let (ours, others): (Vec<_>, Vec<_>) = hooks.iter().map(|hook| hook.hook_name.as_str()).partition(is_built_in);
    if works {
        status
            .post_create_hooks
            .extend(ours.into_iter().map(|hook| (hook.to_owned(), true)).collect::<BTreeMap<_, _>>());
    }
    status.post_create_hook_completed = works && others.is_empty();

    let mut set = |type_: &str, is: bool, reason: &str, message: String| {
        let truth = if is { ConditionStatus::True } else { ConditionStatus::False };
        set_condition(&mut status.conditions, (type_, truth, reason, message), now);
    };
    match &outcome.error {
        Some(error) => set(SYNCED, false, "ReconcileError", error.clone()),
        None => set(SYNCED, true, "ReconcileSuccess", String::new()),
    }
    let not_carried_out = format!("not carried out, since they are not built in: {}", others.join(", "));
    match (&outcome.error, &outcome.waiting) {
        (Some(_), _) => set(READY, false, "Unavailable", String::new()),
        (None, Some(why)) if plane.spec.wait_for_post_create_hooks => {
            set(READY, false, "WaitingForPostCreateHooks", format!("Waiting for PostCreateHook completion: {why}"));
        }
        (None, _) if plane.spec.wait_for_post_create_hooks && !others.is_empty() => {
            let message = format!("Waiting for PostCreateHook completion: {not_carried_out}");
            set(READY, false, "WaitingForPostCreateHooks", message);
        }
        (None, Some(why)) => set(READY, true, "Available", why.clone()),
        (None, None) if !others.is_empty() => {
            set(READY, true, "Available", format!("PostCreateHooks {not_carried_out}"))
        }
        (None, None) => set(READY, true, "Available", String::new()),
    }
    (plane.status.as_ref() != Some(&status)).then_some(status)
}

fn is_built_in(hook: &&str) -> bool {
    ITS_HOOKS.contains(hook) || WDS_HOOKS.contains(hook)
}

/// Times move only when what they are about changes.
fn set_condition(
    conditions: &mut Vec<SpaceCondition>,
    (type_, status, reason, message): (&str, ConditionStatus, &str, String),
    now: Timestamp,
) {
    let held = conditions.iter().position(|condition| condition.type_ == type_);
    let mut condition = SpaceCondition {
        type_: type_.into(),
        status,
        last_update_time: now,
        last_transition_time: now,
        reason: reason.into(),
        message,
    };
    let Some(at) = held else { return conditions.push(condition) };
    let held = &mut conditions[at];
    if held.status == condition.status {
        condition.last_transition_time = held.last_transition_time;
        if held.reason == condition.reason && held.message == condition.message {
            return;
        }
    }
    *held = condition;
}

/// The namespaces that a role needs in its space.
pub const fn namespaces(role: Role) -> &'static [&'static str] {
    match role {
        Role::Wds => &[REPORT_NAMESPACE],
        Role::Its => &[PROPERTIES_NAMESPACE],
        Role::Wec | Role::Plain => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(name: &str, label: &str, spec: Value) -> ControlPlane {
        let labels = if label.is_empty() { json!({}) } else { json!({ROLE_LABEL: label}) };
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels, "generation": 1}, "spec": spec}))
            .unwrap()
    }

    #[test]
    fn roles() {
        let check = |name: &str, label: &str, hooks: &[&str], expected: Role| {
            let hooks: Vec<_> = hooks.iter().map(|hook| json!({"hookName": hook})).collect();
            assert_eq!(role(&plane(name, label, json!({"type": "k8s", "postCreateHooks": hooks}))), expected, "{name}");
        };
        check("x", "its", &["kubestellar-controller"], Role::Its);
        check("x", "", &["its-hub-init", "install-status-addon"], Role::Its);
        check("x", "", &["kubestellar-controller", "transport-controller"], Role::Wds);
        check("imbs", "", &[], Role::Its);
        check("its1", "", &[], Role::Its);
        check("wds1", "", &[], Role::Wds);
        check("wds1", "wec", &[], Role::Wec);
        check("wds1", "other", &[], Role::Plain);
        check("cp1", "", &["hello"], Role::Plain);
    }

    #[test]
    fn a_wds_finds_its_its() {
        let planes =
            |names: &[&str]| names.iter().map(|name| plane(name, "", json!({"type": "k8s"}))).collect::<Vec<_>>();
        let wds = |vars: Value| plane("wds1", "", json!({"type": "k8s", "globalVars": vars}));
        let found = |wds: &ControlPlane, names: &[&str]| its_of(wds, &planes(names)).map(|name| name.to_string());
        assert_eq!(found(&wds(json!({})), &["its1", "wds1", "cp"]), Ok("its1".into()));
        assert_eq!(found(&wds(json!({"ITSName": "its2"})), &["its1", "its2"]), Ok("its2".into()));
        assert!(found(&wds(json!({})), &[]).unwrap_err().starts_with("no control plane with type its"));
        assert!(found(&wds(json!({})), &["its1", "its2"]).unwrap_err().contains("(its1, its2)"));
        assert!(found(&wds(json!({"ITSName": "x"})), &["its1"]).unwrap_err().contains("name x was not found"));
    }

    #[test]
    fn a_status_is_written_once() {
        let outcome = Outcome { secret: None, error: None, waiting: None };
        let mut plane =
            plane("wds1", "", json!({"type": "k8s", "postCreateHook": "kubestellar", "waitForPostCreateHooks": true}));
        let at = Timestamp::from_seconds;
        let waiting = Outcome { waiting: Some("no ITS".into()), ..outcome.clone() };
        plane.status = status(&plane, &waiting, at(1));
        let ready = |plane: &ControlPlane| {
            let status = plane.status.as_ref().unwrap();
            let ready = status.conditions.iter().find(|c| c.type_ == READY).unwrap();
            (
                ready.status,
                ready.reason.clone(),
                ready.last_transition_time.seconds(),
                status.post_create_hook_completed,
            )
        };
        assert_eq!(ready(&plane), (ConditionStatus::False, "WaitingForPostCreateHooks".into(), 1, false));
        assert_eq!(status(&plane, &waiting, at(2)), None);
        plane.status = status(&plane, &outcome, at(3));
        assert_eq!(ready(&plane), (ConditionStatus::True, "Available".into(), 3, true));
        assert_eq!(plane.status.as_ref().unwrap().post_create_hooks, [("kubestellar".to_owned(), true)].into());
        let synced = &plane.status.as_ref().unwrap().conditions[0];
        assert_eq!((synced.type_.as_str(), synced.last_transition_time.seconds()), (SYNCED, 1));
        assert_eq!(status(&plane, &outcome, at(4)), None);
    }

    #[test]
    fn metadata_is_completed_and_released() {
        let mut plane = plane("wds1", "", json!({"type": "k8s"}));
        plane.metadata.resource_version = "5".into();
        let patch = plan_metadata(&plane).unwrap();
        assert_eq!(patch["metadata"]["labels"][ROLE_LABEL], "wds");
        assert_eq!(patch["metadata"]["finalizers"], json!([FINALIZER]));
        assert_eq!(plan_release(&plane), None);
        plane.metadata.finalizers = vec!["x".into(), FINALIZER.into()];
        plane.metadata.labels.insert(ROLE_LABEL.into(), "wds".into());
        assert_eq!(plan_metadata(&plane), None);
        assert_eq!(plan_release(&plane).unwrap()["metadata"]["finalizers"], json!(["x"]));
    }
}
