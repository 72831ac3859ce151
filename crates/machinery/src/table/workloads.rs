//! Cells of what runs containers.

use super::text::{condition, containers, labels, scalar, selector, selector_or_none};
use super::{Cells, Context, duration, pod, row};
use crate::field::{at, flag_at, int_at, list_at, text_at};
use serde_json::Value;

pub(super) const KINDS: &[(&str, &str, Cells)] = &[
    ("", "Pod", pod::cells),
    ("", "PodTemplate", pod_template),
    ("", "ReplicationController", replication_controller),
    ("apps", "ReplicaSet", replica_set),
    ("apps", "Deployment", deployment),
    ("apps", "StatefulSet", stateful_set),
    ("apps", "DaemonSet", daemon_set),
    ("apps", "ControllerRevision", controller_revision),
    ("batch", "Job", job),
    ("batch", "CronJob", cron_job),
    ("policy", "PodDisruptionBudget", disruption_budget),
    ("autoscaling", "HorizontalPodAutoscaler", autoscaler),
    ("autoscaling", "Scale", scale),
];

const TEMPLATE: &str = "spec.template.spec.containers";

fn number(context: &Context<'_>, path: &str) -> i64 {
    int_at(context.object, path).unwrap_or(0)
}

fn pod_template(context: &Context<'_>) -> Vec<Value> {
    let (names, images) = containers(context.object, "template.spec.containers");
    row![context.name(), names, images, labels(at(context.object, "template.metadata.labels"))]
}

fn replicas(context: &Context<'_>, selector: String) -> Vec<Value> {
    let (names, images) = containers(context.object, TEMPLATE);
    row![
        context.name(),
        number(context, "spec.replicas"),
        number(context, "status.replicas"),
        number(context, "status.readyReplicas"),
        context.age(),
        names,
        images,
        selector,
    ]
}

fn replication_controller(context: &Context<'_>) -> Vec<Value> {
    replicas(context, labels(at(context.object, "spec.selector")))
}

fn replica_set(context: &Context<'_>) -> Vec<Value> {
    replicas(context, selector_or_none(at(context.object, "spec.selector")))
}

fn ready(context: &Context<'_>) -> String {
    format!("{}/{}", number(context, "status.readyReplicas"), number(context, "spec.replicas"))
}

fn deployment(context: &Context<'_>) -> Vec<Value> {
    let (names, images) = containers(context.object, TEMPLATE);
    row![
        context.name(),
        ready(context),
        number(context, "status.updatedReplicas"),
        number(context, "status.availableReplicas"),
        context.age(),
        names,
        images,
        selector(at(context.object, "spec.selector")),
    ]
}

fn stateful_set(context: &Context<'_>) -> Vec<Value> {
    let (names, images) = containers(context.object, TEMPLATE);
    row![context.name(), ready(context), context.age(), names, images]
}

fn daemon_set(context: &Context<'_>) -> Vec<Value> {
    let (names, images) = containers(context.object, TEMPLATE);
    row![
        context.name(),
        number(context, "status.desiredNumberScheduled"),
        number(context, "status.currentNumberScheduled"),
        number(context, "status.numberReady"),
        number(context, "status.updatedNumberScheduled"),
        number(context, "status.numberAvailable"),
        labels(at(context.object, "spec.template.spec.nodeSelector")),
        context.age(),
        names,
        images,
        selector_or_none(at(context.object, "spec.selector")),
    ]
}

fn controller_revision(context: &Context<'_>) -> Vec<Value> {
    let owners = list_at(context.object, "metadata.ownerReferences").iter().filter_map(Value::as_object);
    let controller = owners.into_iter().find(|owner| flag_at(owner, "controller"));
    let controller = controller.map_or_else(
        || "<none>".into(),
        |owner| {
            let kind = text_at(owner, "kind").to_lowercase();
            let name = text_at(owner, "name");
            match text_at(owner, "apiVersion").split_once('/') {
                Some((group, _)) => format!("{kind}.{group}/{name}"),
                None => format!("{kind}/{name}"),
            }
        },
    );
    row![context.name(), controller, number(context, "revision"), context.age()]
}

fn job(context: &Context<'_>) -> Vec<Value> {
    let job = context.object;
    let succeeded = number(context, "status.succeeded");
    let completions = match (int_at(job, "spec.completions"), number(context, "spec.parallelism")) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let duration = match text_at(job, "status.startTime").parse() {
        Err(_) => String::new(),
        Ok(start) => duration::age(start, text_at(job, "status.completionTime").parse().unwrap_or(context.now)),
    };
    let is = |kind: &str| condition(job, kind) == Some("True");
    let status = if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if at(job, "metadata.deletionTimestamp").is_some() {
        "Terminating"
    } else {
        ["Suspended", "FailureTarget", "SuccessCriteriaMet"].into_iter().find(|kind| is(kind)).unwrap_or("Running")
    };
    let (names, images) = containers(job, TEMPLATE);
    let selector = selector_or_none(at(job, "spec.selector"));
    row![context.name(), status, completions, duration, context.age(), names, images, selector]
}

fn cron_job(context: &Context<'_>) -> Vec<Value> {
    let job = context.object;
    let suspend = match at(job, "spec.suspend").and_then(Value::as_bool) {
        None => "<unset>",
        Some(true) => "True",
        Some(false) => "False",
    };
    let last = match at(job, "status.lastScheduleTime") {
        None | Some(Value::Null) => "<none>".into(),
        Some(_) => context.since("status.lastScheduleTime"),
    };
    let (names, images) = containers(job, "spec.jobTemplate.spec.template.spec.containers");
    row![
        context.name(),
        text_at(job, "spec.schedule"),
        at(job, "spec.timeZone").and_then(Value::as_str).unwrap_or("<none>"),
        suspend,
        list_at(job, "status.active").len(),
        last,
        context.age(),
        names,
        images,
        selector_or_none(at(job, "spec.jobTemplate.spec.selector")),
    ]
}

fn disruption_budget(context: &Context<'_>) -> Vec<Value> {
    let or_not = |path: &str| scalar(context.object, path).unwrap_or_else(|| "N/A".into());
    row![
        context.name(),
        or_not("spec.minAvailable"),
        or_not("spec.maxUnavailable"),
        number(context, "status.disruptionsAllowed"),
        context.age(),
    ]
}

fn scale(context: &Context<'_>) -> Vec<Value> {
    row![context.name(), number(context, "spec.replicas"), number(context, "status.replicas"), context.age()]
}

fn autoscaler(context: &Context<'_>) -> Vec<Value> {
    let scaler = context.object;
    let target =
        format!("{}/{}", text_at(scaler, "spec.scaleTargetRef.kind"), text_at(scaler, "spec.scaleTargetRef.name"));
    let least = int_at(scaler, "spec.minReplicas").map_or_else(|| "<unset>".into(), |least| least.to_string());
    row![
        context.name(),
        target,
        metrics(context),
        least,
        number(context, "spec.maxReplicas"),
        number(context, "status.currentReplicas"),
        context.age(),
    ]
}

/// Metrics that an autoscaler's cell lists before it says how many more there are.
const METRICS_SHOWN: usize = 2;

fn metrics(context: &Context<'_>) -> String {
    let scaler = context.object;
    // autoscaling/v1 knows the CPU only.
    if let Some(target) = int_at(scaler, "spec.targetCPUUtilizationPercentage") {
        let current = int_at(scaler, "status.currentCPUUtilizationPercentage");
        let current = current.map_or_else(|| "<unknown>".into(), |current| format!("{current}%"));
        return format!("cpu: {current}/{target}%");
    }
    let specs = list_at(scaler, "spec.metrics");
    let statuses = list_at(scaler, "status.currentMetrics");
    let mut parts: Vec<String> = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        parts.push(metric(spec, statuses.get(index)));
    }
    if parts.is_empty() {
        return "<none>".into();
    }
    let shown = parts[..parts.len().min(METRICS_SHOWN)].join(", ");
    match parts.len().saturating_sub(METRICS_SHOWN) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn metric(spec: &Value, status: Option<&Value>) -> String {
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or("");
    let field = match kind {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".into(),
    };
    let empty = serde_json::Map::new();
    let spec = spec.get(field).and_then(Value::as_object).unwrap_or(&empty);
    let status = status.and_then(|status| status.get(field)).and_then(Value::as_object).unwrap_or(&empty);
    let target = |name: &str| scalar(spec, &format!("target.{name}"));
    let current = |name: &str| scalar(status, &format!("current.{name}")).unwrap_or_else(|| "<unknown>".into());
    let average = target("averageValue");
    match (kind, average) {
        ("Resource" | "ContainerResource", Some(average)) => {
            format!("{}: {}/{average}", text_at(spec, "name"), current("averageValue"))
        }
        ("Resource" | "ContainerResource", None) => {
            let percent = |number: Option<String>, absent: &str| {
                number.map_or_else(|| absent.to_owned(), |number| format!("{number}%"))
            };
            let now = percent(scalar(status, "current.averageUtilization"), "<unknown>");
            format!("{}: {now}/{}", text_at(spec, "name"), percent(target("averageUtilization"), "<auto>"))
        }
        ("Pods", average) => format!("{}/{}", current("averageValue"), average.unwrap_or_else(|| "0".into())),
        (_, Some(average)) => format!("{}/{average} (avg)", current("averageValue")),
        (_, None) => format!("{}/{}", current("value"), target("value").unwrap_or_else(|| "0".into())),
    }
}
