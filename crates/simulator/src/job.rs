//! Jobs run pods until enough of them have ended well, or too many badly.

use crate::kind::Kind;
use crate::plan::{Plan, View};
use crate::pod;
use crate::read::{self, is_active, is_ready, is_true, number, template, text, truth};
use crate::replicaset::{BURST, new_names};
use crate::status::{self, condition, unless_zero};
use api::{Object, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How many pods may fail when `backoffLimit` is absent: the API's default.
const BACKOFF_LIMIT: i64 = 6;

const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The pods of a job, counted.
struct Counts {
    active: i64,
    ready: i64,
    succeeded: i64,
    failed: i64,
}

impl Counts {
    fn of(pods: &[Arc<Object>]) -> Self {
        let count = |wanted: &dyn Fn(&Object) -> bool| {
            i64::try_from(pods.iter().filter(|pod| wanted(pod)).count()).unwrap_or(i64::MAX)
        };
        let phase = |phase: &'static str| move |pod: &Object| text(pod, "/status/phase") == phase;
        Self {
            active: count(&is_active),
            ready: count(&|pod| is_active(pod) && is_ready(pod)),
            succeeded: count(&phase("Succeeded")),
            failed: count(&phase("Failed")),
        }
    }
}

pub(crate) fn plan(plan: &mut Plan, view: &impl View, job: &Object, now: Timestamp) {
    if is_true(job, "Complete") || is_true(job, "Failed") {
        return expire(plan, job, now);
    }
    let pods = view.owned(Kind::Pod, job.uid());
    let counts = Counts::of(&pods);
    let parallelism = number(job, "/spec/parallelism").unwrap_or(1).max(0);
    let completions = number(job, "/spec/completions");
    let limit = number(job, "/spec/backoffLimit").unwrap_or(BACKOFF_LIMIT);
    let active = || pods.iter().filter(|pod| is_active(pod));

    let failed = counts.failed > limit;
    // Without a number of completions, one pod that ended well says for all that the work is done.
    let complete = match completions {
        Some(completions) => counts.succeeded >= completions,
        None => counts.succeeded > 0 && counts.active == 0,
    };
    let mut conditions = Vec::new();
    if failed {
        let message = "Job has reached the specified backoff limit";
        conditions.push(condition("FailureTarget", true, "BackoffLimitExceeded", message));
        conditions.push(condition("Failed", true, "BackoffLimitExceeded", message));
        active().for_each(|pod| plan.delete(Kind::Pod, pod));
    } else if complete {
        let message = "Reached expected number of succeeded pods";
        conditions.push(condition("SuccessCriteriaMet", true, "CompletionsReached", message));
        conditions.push(condition("Complete", true, "CompletionsReached", message));
    } else if truth(job, "/spec/suspend") {
        conditions.push(condition("Suspended", true, "JobSuspended", "Job suspended"));
        active().for_each(|pod| plan.delete(Kind::Pod, pod));
    } else {
        if read::condition(job, "Suspended").is_some() {
            conditions.push(condition("Suspended", false, "JobResumed", "Job resumed"));
        }
        let wanted = match completions {
            Some(completions) => parallelism.min(completions - counts.succeeded),
            None if counts.succeeded > 0 => 0,
            None => parallelism,
        };
        let missing = usize::try_from(wanted - counts.active).unwrap_or(0).min(BURST);
        create(plan, job, &pods, missing, completions, now);
        active().skip(usize::try_from(wanted).unwrap_or(0)).for_each(|pod| plan.delete(Kind::Pod, pod));
    }
    if plan.creates() {
        return;
    }
    let ended = failed || complete;
    let suspended = truth(job, "/spec/suspend");
    let active = if ended || suspended { 0 } else { counts.active };
    let ready = if ended || suspended { 0 } else { counts.ready };
    let conditions = status::conditions(job, conditions, now, Some("lastProbeTime"));
    let wanted = json!({
        "startTime": if suspended { Value::Null } else { status::since(job, "/status/startTime", now).into() },
        "active": unless_zero(active),
        "ready": ready,
        "terminating": 0,
        "succeeded": unless_zero(counts.succeeded),
        "failed": unless_zero(counts.failed),
        "completionTime": if complete { now.to_string().into() } else { Value::Null },
        "completedIndexes": completed_indexes(job, &pods),
        "uncountedTerminatedPods": {},
        "conditions": if conditions == json!([]) { Value::Null } else { conditions },
    });
    status::write(plan, Kind::Job, job, wanted);
}

/// Deletes a job that has ended for as long as `ttlSecondsAfterFinished` says.
fn expire(plan: &mut Plan, job: &Object, now: Timestamp) {
    let Some(seconds) = number(job, "/spec/ttlSecondsAfterFinished") else { return };
    let ended = ["Complete", "Failed"].into_iter().find_map(|type_| {
        let time = read::condition(job, type_)?["lastTransitionTime"].as_str()?;
        time.parse::<Timestamp>().ok()
    });
    let left = ended.map_or(0, |ended| ended.seconds() + seconds - now.seconds());
    match u64::try_from(left) {
        Ok(left) if left > 0 => plan.after = Some(Duration::from_secs(left)),
        _ => plan.delete(Kind::Job, job),
    }
}

fn is_indexed(job: &Object) -> bool {
    text(job, "/spec/completionMode") == "Indexed"
}

fn create(
    plan: &mut Plan,
    job: &Object,
    pods: &[Arc<Object>],
    missing: usize,
    completions: Option<i64>,
    now: Timestamp,
) {
    let taken = |index: &i64| {
        let counts = |pod: &Object| text(pod, "/status/phase") != "Failed" && !pod.is_deleting();
        pods.iter().any(|pod| counts(pod) && pod.annotation(INDEX) == Some(&index.to_string()))
    };
    let mut indexes = (0..completions.unwrap_or(0)).filter(|index| !taken(index));
    for name in new_names(job, pods).take(missing) {
        let mut pod = pod::from_template(Kind::Job, job, &name, &template(job), now);
        for prefix in ["", "batch.kubernetes.io/"] {
            pod.set_label(&format!("{prefix}job-name"), job.name());
            pod.set_label(&format!("{prefix}controller-uid"), job.uid());
        }
        if is_indexed(job)
            && let Some(index) = indexes.next()
        {
            pod.set_label(INDEX, &index.to_string());
            pod.set_annotation(INDEX, &index.to_string());
        }
        plan.create(Kind::Pod, pod);
    }
}

/// `0-2,5` for an indexed job.
fn completed_indexes(job: &Object, pods: &[Arc<Object>]) -> Value {
    if !is_indexed(job) {
        return Value::Null;
    }
    let done = pods.iter().filter(|pod| text(pod, "/status/phase") == "Succeeded");
    let mut done: Vec<i64> = done.filter_map(|pod| pod.annotation(INDEX)?.parse().ok()).collect();
    done.sort_unstable();
    done.dedup();
    let runs = done.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [only] => only.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    let text = runs.collect::<Vec<_>>().join(",");
    if text.is_empty() { Value::Null } else { text.into() }
}
