//! Pods: scheduled to the one node, then running, failing or done, as the kubelet would say it.

use crate::dial::Settings;
use crate::hash::{digest, fnv};
use crate::kind::Kind;
use crate::node;
use crate::plan::{Plan, View, owner_key};
use crate::read::{created, items, labels, text};
use crate::status::{self, condition, unless_zero};
use api::{Object, ObjectName, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

/// Annotation of the pods that we make: when, to the microsecond. `creationTimestamp` has whole seconds only, too coarse
/// for a delay of milliseconds.
const CREATED: &str = "simulator.kubestellar.io/created";

/// How often a crashing container is said to have been restarted.
const RESTARTS: i64 = 5;

/// What becomes of a pod now.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// No node takes it.
    Unschedulable(String),
    /// Its containers are being created, for so long still.
    Starting(Duration),
    /// Its containers run and are ready.
    Running,
    /// Its containers run, and end after so long still.
    Working(Duration),
    /// Its containers crash again and again.
    Crashing,
    /// Its containers have ended well.
    Succeeded,
    /// Its containers have ended badly, and are not restarted.
    Failed,
}

pub(crate) fn plan(plan: &mut Plan, view: &impl View, pod: &Object, settings: Settings, now: Timestamp) {
    if matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
        return;
    }
    let fate = fate(view, pod, settings, now);
    if !matches!(fate, Fate::Unschedulable(_)) && text(pod, "/spec/nodeName").is_empty() {
        // The status follows when the pod comes back with its node, and with the generation that gave it one.
        return plan.patch(Kind::Pod, pod, json!({"spec": {"nodeName": node::NODE}}));
    }
    match fate {
        Fate::Starting(rest) | Fate::Working(rest) => plan.after = Some(rest),
        _ => {}
    }
    status::write(plan, Kind::Pod, pod, wanted_status(pod, &fate, now));
}

fn fate(view: &impl View, pod: &Object, settings: Settings, now: Timestamp) -> Fate {
    if text(pod, "/spec/nodeName").is_empty()
        && let Some(why) = unschedulable(view, pod)
    {
        return Fate::Unschedulable(why);
    }
    let of_job = owner_key(pod).is_some_and(|(key, _)| key.kind == Kind::Job);
    let since = pod.annotation(CREATED).and_then(|text| text.parse().ok()).or_else(|| created(pod)).unwrap_or(now);
    let age = Duration::from_micros(u64::try_from(now.micros() - since.micros()).unwrap_or(0));
    let rest = settings.delay.saturating_sub(age);
    match (rest.is_zero(), of_job, settings.fail) {
        (false, true, _) => Fate::Working(rest),
        (false, false, _) => Fate::Starting(rest),
        (true, true, false) => Fate::Succeeded,
        (true, true, true) => Fate::Failed,
        (true, false, true) if text(pod, "/spec/restartPolicy") == "Never" => Fate::Failed,
        (true, false, true) => Fate::Crashing,
        (true, false, false) => Fate::Running,
    }
}

/// Why the scheduler finds no node, in its words.
fn unschedulable(view: &impl View, pod: &Object) -> Option<String> {
    for volume in items(pod, "/spec/volumes") {
        let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() else { continue };
        match view.get(Kind::Claim, &ObjectName::namespaced(pod.namespace(), claim)) {
            None => {
                return Some(format!(
                    "0/1 nodes are available: persistentvolumeclaim \"{claim}\" not found. not found"
                ));
            }
            Some(claim) if text(&claim, "/status/phase") != "Bound" => {
                return Some("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.".to_owned());
            }
            Some(_) => {}
        }
    }
    let selector = labels(pod.pointer("/spec/nodeSelector"));
    let matches = node::matches(&selector);
    (!matches).then(|| "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.".to_owned())
}

fn wanted_status(pod: &Object, fate: &Fate, now: Timestamp) -> Value {
    let qos = match text(pod, "/status/qosClass") {
        "" => qos_class(pod),
        held => held,
    };
    let observed = |mut condition: Value| {
        // Since 1.34 the kubelet says which generation it saw; servers that have none for pods get none.
        if pod.generation() != 0 {
            condition["observedGeneration"] = pod.generation().into();
        }
        condition
    };
    if let Fate::Unschedulable(why) = fate {
        let conditions = vec![observed(condition("PodScheduled", false, "Unschedulable", why))];
        let conditions = status::conditions(pod, conditions, now, None);
        return json!({"phase": "Pending", "conditions": conditions, "qosClass": qos});
    }
    let names: Vec<_> = items(pod, "/spec/containers").iter().filter_map(|one| one["name"].as_str()).collect();
    let not_ready = format!("containers with unready status: [{}]", names.join(" "));
    let ready = match fate {
        Fate::Running | Fate::Working(_) => ("True", "", ""),
        Fate::Succeeded => ("False", "PodCompleted", ""),
        Fate::Failed => ("False", "PodFailed", ""),
        _ => ("False", "ContainersNotReady", &*not_ready),
    };
    let made = |type_: &str| condition(type_, ready.0 == "True", ready.1, ready.2);
    let sandbox = !matches!(fate, Fate::Starting(_) | Fate::Succeeded | Fate::Failed);
    let done = if matches!(fate, Fate::Succeeded) { "PodCompleted" } else { "" };
    let conditions = vec![
        condition("PodReadyToStartContainers", sandbox, "", ""),
        condition("Initialized", true, done, ""),
        made("Ready"),
        made("ContainersReady"),
        condition("PodScheduled", true, "", ""),
    ];
    let conditions = conditions.into_iter().map(observed).collect();
    let started = status::since(pod, "/status/startTime", now);
    let address = address(pod);
    let has_address = !matches!(fate, Fate::Starting(_));
    json!({
        "phase": match fate {
            Fate::Starting(_) | Fate::Unschedulable(_) => "Pending",
            Fate::Running | Fate::Working(_) | Fate::Crashing => "Running",
            Fate::Succeeded => "Succeeded",
            Fate::Failed => "Failed",
        },
        "observedGeneration": unless_zero(pod.generation()),
        "conditions": status::conditions(pod, conditions, now, None),
        "hostIP": node::ADDRESS,
        "hostIPs": [{"ip": node::ADDRESS}],
        "podIP": if has_address { json!(address) } else { Value::Null },
        "podIPs": if has_address { json!([{"ip": address}]) } else { Value::Null },
        "startTime": started,
        "qosClass": qos,
        "containerStatuses": containers(pod, fate, now),
        "initContainerStatuses": init_containers(pod, fate, now),
    })
}

/// An address of the pod network, from the pod's uid.
fn address(pod: &Object) -> String {
    let [low, high, ..] = fnv(&[pod.uid()]).to_le_bytes();
    format!("10.244.{high}.{}", low.clamp(1, 254))
}

fn containers(pod: &Object, fate: &Fate, now: Timestamp) -> Value {
    let status = |index: usize, container: &Value| {
        let held = |path: &str| format!("/status/containerStatuses/{index}/{path}");
        let id = container_id(pod, container);
        let running = json!({"startedAt": status::since(pod, &held("state/running/startedAt"), now)});
        let ended = |code: i64, reason: &str, at: &str| {
            let finished = status::since(pod, &held(&format!("{at}/terminated/finishedAt")), now);
            let started = status::since(pod, "/status/startTime", now);
            json!({"terminated": {
                "exitCode": code, "reason": reason, "startedAt": started, "finishedAt": finished, "containerID": id,
            }})
        };
        let (state, last, restarts) = match fate {
            Fate::Starting(_) | Fate::Unschedulable(_) => {
                (json!({"waiting": {"reason": "ContainerCreating"}}), json!({}), 0)
            }
            Fate::Running | Fate::Working(_) => (json!({"running": running}), json!({}), 0),
            Fate::Crashing => {
                let name = container["name"].as_str().unwrap_or("");
                let message = format!(
                    "back-off 2m40s restarting failed container={name} pod={}_{}({})",
                    pod.name(),
                    pod.namespace(),
                    pod.uid()
                );
                let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": message}});
                (waiting, ended(1, "Error", "lastState"), RESTARTS)
            }
            Fate::Succeeded => (ended(0, "Completed", "state"), json!({}), 0),
            Fate::Failed => (ended(1, "Error", "state"), json!({}), 0),
        };
        let up = matches!(fate, Fate::Running | Fate::Working(_));
        let exists = !matches!(fate, Fate::Starting(_));
        let mut status = json!({
            "name": container["name"], "image": container["image"], "imageID": "",
            "ready": up, "started": up, "restartCount": restarts, "state": state, "lastState": last,
        });
        if exists {
            status["imageID"] = image_id(container).into();
            status["containerID"] = id.into();
        }
        status
    };
    items(pod, "/spec/containers").iter().enumerate().map(|(index, one)| status(index, one)).collect()
}

fn init_containers(pod: &Object, fate: &Fate, now: Timestamp) -> Value {
    if items(pod, "/spec/initContainers").is_empty() || matches!(fate, Fate::Starting(_)) {
        return Value::Null;
    }
    let started = status::since(pod, "/status/startTime", now);
    let status = |container: &Value| {
        let id = container_id(pod, container);
        // A sidecar goes on running beside the others.
        let sidecar = container["restartPolicy"] == "Always";
        let state = if sidecar {
            json!({"running": {"startedAt": started}})
        } else {
            json!({"terminated": {
                "exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": started, "containerID": id,
            }})
        };
        json!({
            "name": container["name"], "image": container["image"], "imageID": image_id(container), "containerID": id,
            "ready": true, "started": sidecar, "restartCount": 0, "state": state, "lastState": {},
        })
    };
    items(pod, "/spec/initContainers").iter().map(status).collect()
}

fn container_id(pod: &Object, container: &Value) -> String {
    format!("containerd://{}", digest(&[pod.uid(), container["name"].as_str().unwrap_or("")]))
}

fn image_id(container: &Value) -> String {
    let image = container["image"].as_str().unwrap_or("");
    let name = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(image, |(name, _)| name);
    format!("{name}@sha256:{}", digest(&[image]))
}

/// Guaranteed if all containers limit both and ask for no less, best effort if none asks for anything, else burstable.
fn qos_class(pod: &Object) -> &'static str {
    let all = || items(pod, "/spec/containers").iter().chain(items(pod, "/spec/initContainers"));
    let amount = |container: &Value, side: &str, of: &str| container["resources"][side].get(of).cloned();
    let asks = |container: &Value| {
        ["requests", "limits"]
            .iter()
            .any(|side| ["cpu", "memory"].iter().any(|of| amount(container, side, of).is_some()))
    };
    let guaranteed = |container: &Value| {
        ["cpu", "memory"].iter().all(|of| {
            let limit = amount(container, "limits", of);
            limit.is_some() && amount(container, "requests", of).is_none_or(|request| Some(request) == limit)
        })
    };
    if !all().any(asks) {
        "BestEffort"
    } else if all().all(guaranteed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// A pod as its controller makes it.
pub(crate) fn from_template(kind: Kind, owner: &Object, name: &str, template: &Value, now: Timestamp) -> Object {
    let mut pod = Object::new("v1", "Pod", &ObjectName::namespaced(owner.namespace(), name));
    pod.set_meta("generateName", format!("{}-", owner.name()));
    for (key, value) in labels(template.pointer("/metadata/labels")) {
        pod.set_label(&key, &value);
    }
    for (key, value) in labels(template.pointer("/metadata/annotations")) {
        pod.set_annotation(&key, &value);
    }
    pod.set_annotation(CREATED, &now.rfc3339_micros());
    pod.set_meta("ownerReferences", status::controller_of(kind, owner));
    pod.0.insert("spec".into(), template.get("spec").cloned().unwrap_or_default());
    // What needs no scheduling is made on its node: a write less for each pod.
    let has_claims = items(&pod, "/spec/volumes").iter().any(|volume| volume.get("persistentVolumeClaim").is_some());
    if !has_claims && node::matches(&labels(pod.pointer("/spec/nodeSelector"))) {
        pod.0["spec"]["nodeName"] = node::NODE.into();
    }
    pod
}
