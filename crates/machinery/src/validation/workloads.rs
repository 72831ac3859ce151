//! Kinds that make Pods.

use super::{Causes, Check, Fields, cron, needed, not_negative, pods};
use crate::field::{self, Path, at, int_at, object_at, text_at};
use crate::selector::Selector;
use api::LabelSelector;
use serde::Deserialize;
use serde_json::Value;

pub(super) const KINDS: &[(&str, &str, Check)] = &[
    ("", "Pod", pod),
    ("", "PodTemplate", pod_template),
    ("", "ReplicationController", replication_controller),
    ("apps", "DaemonSet", daemon_set),
    ("apps", "Deployment", deployment),
    ("apps", "ReplicaSet", replica_set),
    ("apps", "StatefulSet", stateful_set),
    ("batch", "CronJob", cron_job),
    ("batch", "Job", job),
];

/// Characters in a CronJob's name, which leaves room for what its Jobs' names end in.
const CRON_JOB_NAME_MAX: usize = 52;

fn pod(object: &Fields, out: &mut Causes) {
    match object_at(object, "spec") {
        Some(spec) => pods::spec(spec, &Path::ROOT.field("spec"), out),
        None => out.push(field::required(&Path::ROOT.field("spec"), "")),
    }
}

fn pod_template(object: &Fields, out: &mut Causes) {
    if let Some(template) = object_at(object, "template") {
        pods::template(template, &Path::ROOT.field("template"), out);
    }
}

/// Reads a selector; `None` if it is not there or wrong, which is said.
pub(super) fn selector(value: Option<&Value>, path: &Path<'_>, out: &mut Causes) -> Option<Selector> {
    let selector = LabelSelector::deserialize(value?).ok()?;
    match Selector::compile(&selector, &path.to_string()) {
        Ok(selector) => Some(selector),
        Err(mut causes) => {
            out.append(&mut causes);
            None
        }
    }
}

/// What a selector chooses.
enum Chosen {
    /// There is none, and it chooses nothing.
    Nothing,
    By(Selector),
    Unreadable,
}

/// Reads a selector, and says nothing of what is wrong.
fn chosen(value: Option<&Value>) -> Chosen {
    let Some(value) = value else { return Chosen::Nothing };
    let selector = LabelSelector::deserialize(value).ok().and_then(|selector| Selector::compile(&selector, "").ok());
    selector.map_or(Chosen::Unreadable, Chosen::By)
}

/// The selector of a workload, which must not be empty, and select its own template. `unread` is what the stock server
/// says if it cannot be read.
fn selected(object: &Fields, kind: &str, unread: &str, out: &mut Causes) {
    let spec = Path::ROOT.field("spec");
    let path = spec.field("selector");
    let value = at(object, "spec.selector").filter(|value| !value.is_null());
    if value.is_none() {
        out.push(field::required(&path, ""));
    }
    let found = selector(value, &path, out);
    if let (Some(found), Some(value)) = (&found, value)
        && found.is_everything()
    {
        out.push(field::invalid(&path, value, &format!("empty selector is invalid for {kind}")));
    }
    match chosen(value) {
        Chosen::Nothing => matches_template(object, None, out),
        Chosen::By(found) => matches_template(object, Some(&found), out),
        Chosen::Unreadable => out.push(field::invalid(&path, value.unwrap_or(&Value::Null), unread)),
    }
}

/// The selector must choose the template; none chooses nothing, and one that is empty is not asked.
fn matches_template(object: &Fields, selector: Option<&Selector>, out: &mut Causes) {
    let labels = object_at(object, "spec.template.metadata.labels");
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    if !selector.is_some_and(|selector| selector.is_everything() || selector.matches_by(label)) {
        let spec = Path::ROOT.field("spec");
        let template = spec.field("template");
        let metadata = template.field("metadata");
        let path = metadata.field("labels");
        let value = labels.map_or(Value::Null, |labels| Value::Object(labels.clone()));
        out.push(field::invalid(&path, &value, "`selector` does not match template `labels`"));
    }
}

/// The template of what must keep running.
fn lasting(object: &Fields, kind: &str, out: &mut Causes) {
    let spec = Path::ROOT.field("spec");
    let path = spec.field("template");
    let Some(template) = object_at(object, "spec.template") else {
        out.push(field::required(&path, ""));
        return;
    };
    pods::template(template, &path, out);
    let below = path.field("spec");
    let policy = text_at(template, "spec.restartPolicy");
    if !matches!(policy, "" | "Always") {
        out.push(field::not_supported(&below.field("restartPolicy"), &policy.into(), ["Always"]));
    }
    if int_at(template, "spec.activeDeadlineSeconds").is_some() {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        out.push(field::forbidden(&below.field("activeDeadlineSeconds"), &why));
    }
}

fn counts(object: &Fields, names: &[&str], out: &mut Causes) {
    if let Some(spec) = object_at(object, "spec") {
        not_negative(out, spec, &Path::ROOT.field("spec"), names);
    }
}

fn replication_controller(object: &Fields, out: &mut Causes) {
    counts(object, &["replicas", "minReadySeconds"], out);
    let spec = Path::ROOT.field("spec");
    match object_at(object, "spec.selector").filter(|selector| !selector.is_empty()) {
        None => out.push(field::required(&spec.field("selector"), "")),
        Some(labels) => {
            // What cannot be read selects nothing.
            let labels = serde_json::json!({"matchLabels": labels});
            let found = match chosen(Some(&labels)) {
                Chosen::By(found) => Some(found),
                Chosen::Nothing | Chosen::Unreadable => None,
            };
            if object_at(object, "spec.template").is_some() {
                matches_template(object, found.as_ref(), out);
            }
        }
    }
    lasting(object, "ReplicationController", out);
}

fn replica_set(object: &Fields, out: &mut Causes) {
    counts(object, &["replicas", "minReadySeconds"], out);
    selected(object, "deployment", "invalid label selector", out);
    lasting(object, "ReplicaSet", out);
}

fn deployment(object: &Fields, out: &mut Causes) {
    let counted = ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"];
    counts(object, &counted, out);
    selected(object, "deployment", "invalid label selector", out);
    lasting(object, "ReplicaSet", out);
    let spec = Path::ROOT.field("spec");
    let strategy = spec.field("strategy");
    let rolling = strategy.field("rollingUpdate");
    let kind = text_at(object, "spec.strategy.type");
    if kind == "Recreate" && object_at(object, "spec.strategy.rollingUpdate").is_some() {
        let why = format!("may not be specified when strategy `type` is '{kind}'");
        out.push(field::forbidden(&rolling, &why));
    }
    if let (Some(deadline), Some(ready)) =
        (int_at(object, "spec.progressDeadlineSeconds"), Some(int_at(object, "spec.minReadySeconds").unwrap_or(0)))
        && deadline <= ready
    {
        let why = "must be greater than minReadySeconds";
        out.push(field::invalid(&spec.field("progressDeadlineSeconds"), &deadline.into(), why));
    }
    rolling_update(object, "spec.strategy.rollingUpdate", &rolling, out);
}

/// `maxSurge` and `maxUnavailable`: numbers or percentages, not both zero.
fn rolling_update(object: &Fields, at_path: &str, path: &Path<'_>, out: &mut Causes) {
    let Some(update) = object_at(object, at_path) else { return };
    let mut zero = true;
    for name in ["maxUnavailable", "maxSurge"] {
        let path = path.field(name);
        match update.get(name) {
            Some(Value::String(text)) => {
                let percent = text
                    .strip_suffix('%')
                    .filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
                match percent.map(str::parse::<u32>) {
                    Some(Ok(percent)) => {
                        zero &= percent == 0;
                        if name == "maxUnavailable" && percent > 100 {
                            out.push(field::invalid_text(&path, text, "must not be greater than 100%"));
                        }
                    }
                    _ => {
                        zero = false;
                        let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. \
                                   '1%',  or '93%', regex used for validation is '[0-9]+%')";
                        out.push(field::invalid_text(&path, text, why));
                    }
                }
            }
            Some(value) => {
                let number = value.as_i64().unwrap_or(0);
                zero &= number == 0;
                if number < 0 {
                    out.push(field::invalid(&path, value, "must be greater than or equal to 0"));
                }
            }
            None => {}
        }
    }
    if zero && update.contains_key("maxSurge") {
        let value = update.get("maxUnavailable").cloned().unwrap_or(Value::Null);
        out.push(field::invalid(&path.field("maxUnavailable"), &value, "may not be 0 when `maxSurge` is 0"));
    }
}

fn stateful_set(object: &Fields, out: &mut Causes) {
    counts(object, &["replicas", "minReadySeconds", "revisionHistoryLimit"], out);
    selected(object, "statefulset", "", out);
    // The stock server looks at these twice.
    if let Some(template) = object_at(object, "spec.template") {
        let spec = Path::ROOT.field("spec");
        pods::labels(template, &spec.field("template"), out);
    }
    lasting(object, "StatefulSet", out);
    let spec = Path::ROOT.field("spec");
    let strategy = spec.field("updateStrategy");
    let rolling = strategy.field("rollingUpdate");
    if let Some(update) = object_at(object, "spec.updateStrategy.rollingUpdate") {
        not_negative(out, update, &rolling, &["partition"]);
        if text_at(object, "spec.updateStrategy.type") == "OnDelete" {
            let value = Value::Object(update.clone());
            out.push(field::invalid(&rolling, &value, "only allowed for updateStrategy 'RollingUpdate'"));
        }
    }
}

fn daemon_set(object: &Fields, out: &mut Causes) {
    counts(object, &["minReadySeconds", "revisionHistoryLimit"], out);
    let spec = Path::ROOT.field("spec");
    let path = spec.field("selector");
    let value = at(object, "spec.selector").filter(|value| !value.is_null());
    let found = selector(value, &path, out);
    match chosen(value) {
        Chosen::Nothing => matches_template(object, None, out),
        Chosen::By(found) => matches_template(object, Some(&found), out),
        Chosen::Unreadable => {}
    }
    if let (Some(found), Some(value)) = (&found, value)
        && found.is_everything()
    {
        out.push(field::invalid(&path, value, "empty selector is invalid for daemonset"));
    }
    lasting(object, "DaemonSet", out);
    let spec = Path::ROOT.field("spec");
    let strategy = spec.field("updateStrategy");
    rolling_update(object, "spec.updateStrategy.rollingUpdate", &strategy.field("rollingUpdate"), out);
}

fn job(object: &Fields, out: &mut Causes) {
    let Some(spec) = object_at(object, "spec") else { return };
    let path = Path::ROOT.field("spec");
    job_spec(spec, &path, out);
    let value = spec.get("selector").filter(|value| !value.is_null());
    match value {
        // The server makes a selector of its own, unless it is told not to.
        None if field::flag_at(spec, "manualSelector") => out.push(field::required(&path.field("selector"), "")),
        None => {}
        Some(_) => {
            if let Some(found) = selector(value, &path.field("selector"), out).filter(|found| !found.is_everything()) {
                matches_template(object, Some(&found), out);
            }
        }
    }
}

fn job_spec(spec: &Fields, path: &Path<'_>, out: &mut Causes) {
    const COUNTS: [&str; 7] = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    not_negative(out, spec, path, &COUNTS);
    if text_at(spec, "completionMode") == "Indexed" && int_at(spec, "completions").is_none() {
        let why = format!("when completion mode is {}", "Indexed");
        out.push(field::required(&path.field("completions"), &why));
    }
    let template_path = path.field("template");
    let Some(template) = object_at(spec, "template") else {
        out.push(field::required(&template_path, ""));
        return;
    };
    pods::template(template, &template_path, out);
    let pod_path = template_path.field("spec");
    let path = pod_path.field("restartPolicy");
    match text_at(template, "spec.restartPolicy") {
        "OnFailure" | "Never" => {}
        // `Always` is what the defaults make of none.
        "" | "Always" => out.push(field::required(&path, "valid values: \"OnFailure\", \"Never\"")),
        other => out.push(field::not_supported(&path, &other.into(), ["OnFailure", "Never"])),
    }
}

fn cron_job(object: &Fields, out: &mut Causes) {
    let Some(spec) = object_at(object, "spec") else { return };
    let path = Path::ROOT.field("spec");
    let name = text_at(object, "metadata.name");
    if name.len() > CRON_JOB_NAME_MAX {
        let metadata = Path::ROOT.field("metadata");
        let why = format!("must be no more than {CRON_JOB_NAME_MAX} characters");
        out.push(field::invalid_text(&metadata.field("name"), name, &why));
    }
    needed(out, spec, &path, &["schedule"]);
    let schedule = text_at(spec, "schedule");
    if !schedule.is_empty()
        && let Err(problem) = cron::check(schedule)
    {
        out.push(field::invalid_text(&path.field("schedule"), schedule, &problem));
    }
    if let Some(zone) = spec.get("timeZone").and_then(Value::as_str)
        && let Err(problem) = cron::check_zone(zone)
    {
        out.push(field::invalid_text(&path.field("timeZone"), zone, &problem));
    }
    not_negative(
        out,
        spec,
        &path,
        &["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"],
    );
    let template_path = path.field("jobTemplate");
    if let Some(job) = object_at(spec, "jobTemplate.spec") {
        if at(job, "selector").is_some_and(|selector| !selector.is_null()) {
            let below = template_path.field("spec");
            let value = at(job, "selector").cloned().unwrap_or(Value::Null);
            out.push(field::invalid(&below.field("selector"), &value, "`selector` will be auto-generated"));
        }
        job_spec(job, &template_path.field("spec"), out);
    }
}
