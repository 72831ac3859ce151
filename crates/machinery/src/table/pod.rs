//! The status of a Pod, as told from its containers.

use super::text::{condition, or};
use super::{Context, Fields, duration, row};
use crate::field::{at, flag_at, int_at, list_at, objects_at, text_at};
use api::Timestamp;
use serde_json::{Value, json};

pub(super) fn cells(context: &Context<'_>) -> Vec<Value> {
    let pod = context.object;
    let summary = summarize(pod);
    let restarts = match summary.last_restart {
        Some(last) if summary.restarts != 0 => {
            format!("{} ({} ago)", summary.restarts, duration::age(last, context.now))
        }
        _ => summary.restarts.to_string(),
    };
    let ip = objects_at(pod, "status.podIPs").next().map_or("", |ip| text_at(ip, "ip"));
    let gates = list_at(pod, "spec.readinessGates");
    let open = gates.iter().filter(|gate| {
        let kind = gate.get("conditionType").and_then(Value::as_str).unwrap_or("");
        condition(pod, kind) == Some("True")
    });
    let gates = if gates.is_empty() { "<none>".into() } else { format!("{}/{}", open.count(), gates.len()) };
    row![
        context.name(),
        format!("{}/{}", summary.ready, summary.total),
        summary.reason,
        restarts,
        context.age(),
        or(ip, "<none>"),
        or(text_at(pod, "spec.nodeName"), "<none>"),
        or(text_at(pod, "status.nominatedNodeName"), "<none>"),
        gates,
    ]
}

pub(super) fn row_conditions(pod: &Fields) -> Option<Value> {
    let message = match text_at(pod, "status.phase") {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return None,
    };
    let reason = text_at(pod, "status.phase");
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

/// Restarts of some containers, and when the last one ended.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Fields) {
        self.count += int_at(status, "restartCount").unwrap_or(0);
        let finished = text_at(status, "lastState.terminated.finishedAt").parse().ok();
        self.last = self.last.max(finished);
    }
}

fn summarize(pod: &Fields) -> Summary {
    let phase = text_at(pod, "status.phase");
    let mut reason = or(text_at(pod, "status.reason"), phase);
    let gated = |condition: &&Fields| {
        text_at(condition, "type") == "PodScheduled" && text_at(condition, "reason") == "SchedulingGated"
    };
    if objects_at(pod, "status.conditions").any(|condition| gated(&condition)) {
        reason = "SchedulingGated".into();
    }

    // Init containers that restart for ever are sidecars, and count as containers.
    let sidecars: Vec<&str> = objects_at(pod, "spec.initContainers")
        .filter(|container| text_at(container, "restartPolicy") == "Always")
        .map(|container| text_at(container, "name"))
        .collect();
    let total = list_at(pod, "spec.containers").len() + sidecars.len();
    let mut ready = 0;
    let mut restarts = Restarts::default();
    let mut sidecar_restarts = Restarts::default();
    let mut initializing = false;
    for (index, status) in objects_at(pod, "status.initContainerStatuses").enumerate() {
        let sidecar = sidecars.contains(&text_at(status, "name"));
        restarts.add(status);
        if sidecar {
            sidecar_restarts.add(status);
        }
        let terminated = at(status, "state.terminated").is_some();
        if terminated && int_at(status, "state.terminated.exitCode").unwrap_or(0) == 0 {
            continue;
        }
        if sidecar && flag_at(status, "started") {
            ready += usize::from(flag_at(status, "ready"));
            continue;
        }
        let waiting = text_at(status, "state.waiting.reason");
        reason = if terminated {
            format!("Init:{}", ended(status))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{}", list_at(pod, "spec.initContainers").len())
        };
        initializing = true;
        break;
    }

    if !initializing || condition(pod, "Initialized") == Some("True") {
        restarts = sidecar_restarts;
        let mut running = false;
        for status in list_at(pod, "status.containerStatuses").iter().rev().filter_map(Value::as_object) {
            restarts.add(status);
            let waiting = text_at(status, "state.waiting.reason");
            if !waiting.is_empty() {
                reason = waiting.into();
            } else if at(status, "state.terminated").is_some() {
                reason = ended(status);
            } else if flag_at(status, "ready") && at(status, "state.running").is_some() {
                running = true;
                ready += 1;
            }
        }
        if reason == "Completed" && running {
            let is_ready = condition(pod, "Ready") == Some("True");
            reason = if is_ready { "Running" } else { "NotReady" }.into();
        }
    }
    if at(pod, "metadata.deletionTimestamp").is_some() {
        if text_at(pod, "status.reason") == "NodeLost" {
            reason = "Unknown".into();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            reason = "Terminating".into();
        }
    }
    Summary { ready, total, reason, restarts: restarts.count, last_restart: restarts.last }
}

/// Why a container ended.
fn ended(status: &Fields) -> String {
    match text_at(status, "state.terminated.reason") {
        "" => match int_at(status, "state.terminated.signal") {
            Some(signal) if signal != 0 => format!("Signal:{signal}"),
            _ => format!("ExitCode:{}", int_at(status, "state.terminated.exitCode").unwrap_or(0)),
        },
        reason => reason.into(),
    }
}
