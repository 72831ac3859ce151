//! How long things take from a user's request until a cluster, or the user's object, shows it.

use crate::machine::{self, Ticks};
use crate::report::Report;
use crate::rig::{CONFIG_MAPS, DEPLOYMENTS, ITS, Rig, Seen, WDS};
use crate::stages::{self, Moments, Way};
use crate::statistics::{Sample, milliseconds, ms};
use crate::trace::Mark;
use anyhow::{Context, Result};
use api::{Object, ObjectName};
use client::{DeleteParams, Patch};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use store::{Histogram, Metrics};

/// Rounds before those that count: connections, caches and the first writes of a kind.
const WARM_UP: usize = 5;
/// Requests in flight when many objects are applied at once.
const IN_FLIGHT: usize = 16;
/// Objects of the phase with many.
const MANY: usize = 100;
/// Bytes of text in each ConfigMap.
const TEXT_BYTES: usize = 1000;
/// What the project demands of one object to one cluster: this many syncs of the disk, and this much besides.
const DEMANDED_SYNCS: u32 = 3;
const DEMANDED_REST: Duration = Duration::from_millis(5);

/// Time from a user's request until clusters show it
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Latency {
    /// Rounds with one cluster
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// Simulated clusters in the phase with many
    #[arg(long, default_value_t = 100)]
    clusters: usize,
    /// Rounds with all clusters
    #[arg(long, default_value_t = 20)]
    fan_rounds: usize,
    /// Only these phases: floor, one, many, status, fan
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

impl Latency {
    fn wants(&self, phase: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == phase)
    }

    pub(crate) async fn run<W: Write>(&self, report: &mut Report<W>, folder: &Path) -> Result<()> {
        let conditions = machine::conditions();
        report.line(&format!("machine: {conditions}"))?;
        report.keep("machine", conditions);
        probe(report, folder, "disk_before")?;

        let mut rig = Rig::start(folder).await?;
        let (created, joined) = rig.grow(2, "small").await?;
        report.line(&format!("2 clusters: spaces {} ms, joined and available {} ms", ms(created), ms(joined)))?;
        if self.wants("floor") {
            floor(&mut rig, report, self.rounds).await?;
        }
        if self.wants("one") {
            let title = "1 object -> 1 cluster (2 clusters joined)";
            one_to_one(&mut rig, report, "one", title, self.rounds).await?;
        }
        if self.wants("many") {
            many_to_two(&mut rig, report).await?;
        }
        if self.wants("status") {
            status_back(&mut rig, report, self.rounds.min(30)).await?;
        }
        if self.wants("fan") {
            let (created, joined) = rig.grow(self.clusters, "large").await?;
            report.heading(&format!("{} clusters joined", self.clusters))?;
            report.line(&format!(
                "{} more spaces: {} ms; joined and available: {} ms",
                self.clusters - 2,
                ms(created),
                ms(joined)
            ))?;
            report.keep("join", json!({"clusters": self.clusters - 2, "spaces_ms": milliseconds(created), "joined_ms": milliseconds(joined)}));
            one_to_all(&mut rig, report, self.fan_rounds).await?;
            let title = format!("1 object -> 1 cluster ({} clusters joined)", self.clusters);
            one_to_one(&mut rig, report, "one-among-many", &title, self.rounds.min(50)).await?;
        }
        rig.stop().await;
        probe(report, folder, "disk_after")
    }
}

fn probe<W: Write>(report: &mut Report<W>, folder: &Path, name: &str) -> Result<()> {
    let sample = machine::probe_disk(folder)?;
    report.line(&machine::probe_line(&sample))?;
    report.keep(name, sample.json());
    Ok(())
}

/// What the rounds of one phase add up to.
struct Phase {
    before: Metrics,
    ticks: Ticks,
    operations: Vec<Operation>,
}

/// One kind of operation, measured in several rounds.
struct Operation {
    name: &'static str,
    seen: Sample,
    first: Sample,
    answered: Sample,
    syncs: u64,
    moments: Vec<Moments>,
    marks: Vec<Mark>,
}

impl Phase {
    fn new(rig: &Rig, names: &[&'static str]) -> Self {
        let operation = |name: &&'static str| Operation {
            name,
            seen: Sample::default(),
            first: Sample::default(),
            answered: Sample::default(),
            syncs: 0,
            moments: Vec::new(),
            marks: Vec::new(),
        };
        Self { before: rig.metrics(), ticks: Ticks::now(), operations: names.iter().map(operation).collect() }
    }

    fn report<W: Write>(&self, rig: &Rig, report: &mut Report<W>, key: &str) -> Result<Syncs> {
        let header = [
            "operation",
            "rounds",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "max ms",
            "min ms",
            "answered p50",
            "fsyncs until seen",
        ];
        let rows: Vec<_> = self.operations.iter().map(Operation::row).collect();
        report.table(&header, &rows)?;
        let syncs = Syncs::between(&self.before, &rig.metrics());
        report.line(&syncs.text())?;
        let (busy, stolen) = Ticks::now().since(self.ticks);
        report.line(&format!("processors: {busy} % busy, {stolen} % stolen by the host"))?;
        let operations = self.operations.iter().map(|operation| (operation.name.to_owned(), operation.json()));
        let operations: serde_json::Map<_, _> = operations.collect();
        report.keep(
            key,
            json!({"operations": operations, "fsyncs": syncs.json(), "busy_percent": busy, "stolen_percent": stolen}),
        );
        Ok(syncs)
    }
}

impl Operation {
    fn add(&mut self, timed: &crate::rig::Timed, moments: Option<Moments>, marks: Vec<Mark>) {
        self.seen.add(timed.last());
        self.first.add(timed.seen.iter().min().copied().unwrap_or_default());
        self.answered.add(timed.answered.saturating_sub(timed.sent));
        self.syncs += timed.syncs;
        self.moments.extend(moments);
        self.marks.extend(marks);
    }

    #[allow(clippy::cast_precision_loss)]
    fn syncs_each(&self) -> f64 {
        self.syncs as f64 / self.seen.count().max(1) as f64
    }

    fn row(&self) -> Vec<String> {
        let percentiles = [50, 90, 99, 100].map(|percent| ms(self.seen.percentile(percent)));
        let mut row = vec![self.name.to_owned(), self.seen.count().to_string()];
        row.extend(percentiles);
        row.extend([ms(self.seen.min()), ms(self.answered.median()), format!("{:.1}", self.syncs_each())]);
        row
    }

    fn json(&self) -> Value {
        json!({
            "seen": self.seen.json(),
            "first_seen": self.first.json(),
            "answered": self.answered.json(),
            "fsyncs_until_seen": self.syncs_each(),
        })
    }
}

/// The syncs of the disk during a phase.
struct Syncs {
    durations: Histogram,
    records: u64,
}

impl Syncs {
    fn between(before: &Metrics, after: &Metrics) -> Self {
        let counts = after.syncs.counts.iter().zip(&before.syncs.counts).map(|(after, before)| after - before);
        let durations = Histogram {
            bounds: after.syncs.bounds,
            counts: counts.collect(),
            sum: after.syncs.sum - before.syncs.sum,
            max: after.syncs.max,
        };
        Self { durations, records: after.commits - before.commits }
    }

    fn p50(&self) -> Duration {
        Duration::from_micros(inside(&self.durations, 0.5))
    }

    fn text(&self) -> String {
        let count = self.durations.count().max(1);
        let mut text = format!(
            "fsyncs of the store: {count}, p50 ~{} ms, p99 <= {} ms, mean {} ms, {} writes; by duration:",
            ms(self.p50()),
            ms(Duration::from_micros(self.durations.quantile(0.99))),
            ms(Duration::from_micros(self.durations.sum / count)),
            self.records,
        );
        for (bucket, count) in self.durations.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            match self.durations.bounds.get(bucket) {
                Some(bound) => write!(text, " <={} ms: {count}", ms(Duration::from_micros(*bound))),
                None => write!(text, " more: {count}"),
            }
            .expect("a String takes all text");
        }
        text
    }

    fn json(&self) -> Value {
        json!({
            "count": self.durations.count(),
            "writes": self.records,
            "p50_ms": milliseconds(self.p50()),
            "p99_at_most_ms": milliseconds(Duration::from_micros(self.durations.quantile(0.99))),
            "bounds_us": self.durations.bounds,
            "counts": self.durations.counts,
        })
    }
}

/// The value of this rank, taken to lie in its bucket where it would if the bucket were filled evenly.
fn inside(histogram: &Histogram, rank: f64) -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let wanted = ((histogram.count() as f64 * rank).ceil() as u64).max(1);
    let mut below = 0;
    let mut lower = 0;
    for (bucket, count) in histogram.counts.iter().enumerate() {
        let upper = histogram.bounds.get(bucket).copied().unwrap_or(histogram.max);
        if below + count >= wanted {
            return lower + (upper - lower) * (wanted - below) / count;
        }
        below += count;
        lower = upper;
    }
    lower
}

fn policy(set: &str, clusters: &str, singleton: bool) -> String {
    format!(
        "apiVersion: control.kubestellar.io/v1alpha1\nkind: BindingPolicy\nmetadata:\n  name: {set}\nspec:\n  \
         clusterSelectors:\n  - matchLabels: {{{clusters}}}\n  downsync:\n  - objectSelectors:\n    \
         - matchLabels: {{bench: {set}}}\n    wantSingletonReportedState: {singleton}\n---\n\
         apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {set}\n  labels: {{bench: {set}}}\n"
    )
}

fn config_map(set: &str, name: &str) -> Object {
    let mut object = Object::new("v1", "ConfigMap", &ObjectName::namespaced(set, name));
    object.set_label("bench", set);
    object.0.insert("data".into(), json!({"greeting": "hello", "text": "x".repeat(TEXT_BYTES)}));
    object
}

fn greeting(seen: &Seen) -> Option<&str> {
    seen.object.as_ref()?.pointer("/data/greeting")?.as_str()
}

/// Creates, edits and deletes one object per round, and waits for each in `clusters` clusters.
async fn rounds(rig: &mut Rig, set: &str, clusters: usize, rounds: usize) -> Result<Phase> {
    let wec = rig.clusters[0].name.clone();
    let mut phase = Phase::new(rig, &["create", "edit", "delete"]);
    for round in 0..WARM_UP + rounds {
        if round == WARM_UP {
            phase = Phase::new(rig, &["create", "edit", "delete"]);
        }
        let name = ObjectName::namespaced(set, format!("object-{round:04}"));
        for step in 0..3 {
            rig.settle().await?;
            let wds = rig.wds.clone();
            let doing = async {
                match step {
                    0 => wds.create::<Value>(&CONFIG_MAPS, set, &config_map(set, &name.name)).await.map(drop)?,
                    1 => {
                        let patch = Patch::Merge(json!({"data": {"greeting": "edited"}}));
                        wds.patch::<Value>(&CONFIG_MAPS, &name, &patch).await.map(drop)?;
                    }
                    _ => wds.delete(&CONFIG_MAPS, &name, &DeleteParams::default()).await?,
                }
                Ok(())
            };
            let wished = ["hello", "edited"].get(step).copied();
            let wanted = |seen: &Seen| (seen.name == name && greeting(seen) == wished).then_some(seen.cluster);
            let timed = rig.timed(clusters, doing, wanted).await.with_context(|| format!("round {round} of {set}"))?;
            let marks = rig.settle().await?;
            let way = Way { wds: WDS, its: ITS, wec: &wec, resource: "configmaps", name: &name.name };
            let moments = stages::moments(&way, &marks, timed.sent, timed.answered, timed.seen_at());
            phase.operations[step].add(&timed, Some(moments), marks);
        }
    }
    Ok(phase)
}

async fn one_to_one<W: Write>(
    rig: &mut Rig,
    report: &mut Report<W>,
    set: &str,
    title: &str,
    count: usize,
) -> Result<()> {
    rig.apply(&policy(set, "name: cluster001", false)).await?;
    let phase = rounds(rig, set, 1, count).await?;
    report.heading(title)?;
    let syncs = phase.report(rig, report, set)?;
    for operation in &phase.operations {
        let demanded = syncs.p50() * DEMANDED_SYNCS + DEMANDED_REST;
        let p50 = operation.seen.median();
        let held = p50 <= demanded;
        report.line(&format!(
            "demand for {}: p50 {} ms <= {DEMANDED_SYNCS} fsyncs x {} ms + {} ms = {} ms: {}",
            operation.name,
            ms(p50),
            ms(syncs.p50()),
            ms(DEMANDED_REST),
            ms(demanded),
            if held { "holds" } else { "DOES NOT HOLD" }
        ))?;
        let kept = json!({"p50_ms": milliseconds(p50), "demanded_ms": milliseconds(demanded), "holds": held});
        report.keep(&format!("{set}/{}/demand", operation.name), kept);
    }
    for operation in &phase.operations {
        let (rows, json) = stages::rows(&operation.moments);
        report.line(&format!("\nwhere the time of {} goes:", operation.name))?;
        report.table(&["stage", "rounds", "p50 since sent", "step", "p99 since sent"], &rows)?;
        report.keep(&format!("{set}/{}/stages", operation.name), json);
        let (rows, json) = stages::writes(&operation.marks, operation.seen.count());
        report.line(&format!("writes that one {} causes until all is quiet:", operation.name))?;
        report.table(&["space/resource", "change", "per operation"], &rows)?;
        report.keep(&format!("{set}/{}/writes", operation.name), json);
    }
    Ok(())
}

/// What one request costs on this machine now, with nothing behind it: every latency is a few of these.
async fn floor<W: Write>(rig: &mut Rig, report: &mut Report<W>, count: usize) -> Result<()> {
    let set = "floor";
    rig.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {set}\n")).await?;
    let name = ObjectName::namespaced(set, "read");
    let wds = rig.wds.clone();
    wds.create::<Value>(&CONFIG_MAPS, set, &config_map(set, &name.name)).await?;
    let mut phase = Phase::new(rig, &["get, back to back", "get, after a pause", "create, after a pause"]);
    for round in 0..count {
        for (operation, pause) in [(0, false), (1, true), (2, true)] {
            if pause {
                rig.settle().await?;
            }
            let object = config_map(set, &format!("written-{round:04}"));
            let doing = async {
                match operation {
                    2 => wds.create::<Value>(&CONFIG_MAPS, set, &object).await.map(drop)?,
                    _ => wds.get::<Value>(&CONFIG_MAPS, &name).await.map(drop)?,
                }
                Ok(())
            };
            let mut timed = rig.timed(0, doing, |_| None::<()>).await?;
            timed.seen.push(timed.answered.saturating_sub(timed.sent));
            phase.operations[operation].add(&timed, None, Vec::new());
        }
    }
    report.heading("one request over HTTPS, answered by the WDS")?;
    phase.report(rig, report, set)?;
    Ok(())
}

async fn one_to_all<W: Write>(rig: &mut Rig, report: &mut Report<W>, count: usize) -> Result<()> {
    let clusters = rig.clusters.len();
    let set = "all";
    rig.apply(&policy(set, "bench: all", false)).await?;
    let phase = rounds(rig, set, clusters, count).await?;
    report.heading(&format!("1 object -> {clusters} clusters, until all have it"))?;
    phase.report(rig, report, set)?;
    for operation in &phase.operations {
        let first = &operation.first;
        report.line(&format!(
            "{}: the first cluster has it after p50 {} ms, p99 {} ms",
            operation.name,
            ms(first.median()),
            ms(first.percentile(99))
        ))?;
        let (rows, json) = stages::writes(&anywhere(&operation.marks), operation.seen.count());
        report.line(&format!("writes that one {} causes, in all spaces:", operation.name))?;
        report.table(&["resource", "change", "per operation"], &rows)?;
        report.keep(&format!("{set}/{}/writes", operation.name), json);
    }
    Ok(())
}

/// The same writes, whatever their space: with many clusters the spaces would fill pages.
fn anywhere(marks: &[Mark]) -> Vec<Mark> {
    marks.iter().map(|mark| Mark { space: "*".into(), ..mark.clone() }).collect()
}

async fn many_to_two<W: Write>(rig: &mut Rig, report: &mut Report<W>) -> Result<()> {
    let set = "many";
    rig.apply(&policy(set, "fleet: small", false)).await?;
    rig.quiet().await?;
    let mut phase = Phase::new(rig, &["one after the other", "16 requests in flight", "deleted, 16 in flight"]);
    for round in 0..6 {
        let in_flight = [1, IN_FLIGHT][round % 2];
        let names: Vec<String> = (0..MANY).map(|index| format!("round-{round}-{index:03}")).collect();
        rig.settle().await?;
        let wds = rig.wds.clone();
        let doing = async {
            let creating = stream::iter(&names).map(|name| {
                let (wds, object) = (&wds, config_map(set, name));
                async move { wds.create::<Value>(&CONFIG_MAPS, set, &object).await.map(drop) }
            });
            Ok(creating.buffer_unordered(in_flight).try_collect::<()>().await?)
        };
        let there = |seen: &Seen| {
            (seen.name.namespace == set && seen.object.is_some()).then(|| (seen.cluster, seen.name.clone()))
        };
        let timed = rig.timed(2 * MANY, doing, there).await?;
        let marks = rig.settle().await?;
        phase.operations[round % 2].add(&timed, None, marks);

        let wds = rig.wds.clone();
        let doing = async {
            let deleting =
                stream::iter(&names).map(|name| {
                    let wds = &wds;
                    async move {
                        wds.delete(&CONFIG_MAPS, &ObjectName::namespaced(set, name), &DeleteParams::default()).await
                    }
                });
            Ok(deleting.buffer_unordered(IN_FLIGHT).try_collect::<()>().await?)
        };
        let gone = |seen: &Seen| {
            (seen.name.namespace == set && seen.object.is_none()).then(|| (seen.cluster, seen.name.clone()))
        };
        let timed = rig.timed(2 * MANY, doing, gone).await?;
        let marks = rig.settle().await?;
        phase.operations[2].add(&timed, None, marks);
    }
    report.heading(&format!("{MANY} objects -> 2 clusters, until both have all"))?;
    phase.report(rig, report, set)?;
    for operation in &phase.operations {
        let (rows, json) = stages::writes(&operation.marks, operation.seen.count());
        report.line(&format!("writes of {MANY} objects, {}:", operation.name))?;
        report.table(&["space/resource", "change", "per round"], &rows)?;
        report.keep(&format!("{set}/{}/writes", operation.name), json);
    }
    Ok(())
}

async fn status_back<W: Write>(rig: &mut Rig, report: &mut Report<W>, count: usize) -> Result<()> {
    let set = "status";
    rig.apply(&policy(set, "name: cluster001", true)).await?;
    rig.quiet().await?;
    let mut phase = Phase::new(rig, &["status back"]);
    for round in 0..WARM_UP + count {
        if round == WARM_UP {
            phase = Phase::new(rig, &["status back"]);
        }
        rig.settle().await?;
        let name = ObjectName::namespaced(set, format!("deployment-{round:03}"));
        let wds = rig.wds.clone();
        let object = deployment(set, &name);
        let doing = async { Ok(wds.create::<Value>(&DEPLOYMENTS, set, &object).await.map(drop)?) };
        let available = |seen: &Seen| {
            let status = seen.object.as_ref()?.pointer("/status/availableReplicas")?.as_i64()?;
            (seen.name == name && status == 1).then_some(())
        };
        let timed = rig.timed(1, doing, available).await?;
        let marks = rig.settle().await?;
        phase.operations[0].add(&timed, None, marks);
        rig.wds.delete(&DEPLOYMENTS, &name, &DeleteParams::default()).await?;
    }
    report.heading("Deployment -> 1 cluster -> availableReplicas in the WDS object (singleton status)")?;
    phase.report(rig, report, set)?;
    for operation in &phase.operations {
        let (rows, json) = stages::writes(&operation.marks, operation.seen.count());
        report.line("writes of one round:")?;
        report.table(&["space/resource", "change", "per round"], &rows)?;
        report.keep(&format!("{set}/writes"), json);
    }
    Ok(())
}

fn deployment(set: &str, name: &ObjectName) -> Object {
    let mut object = Object::new("apps/v1", "Deployment", name);
    object.set_label("bench", set);
    let app = json!({"app": name.name});
    let containers = json!([{"name": "main", "image": "nginx:1.27"}]);
    let template = json!({"metadata": {"labels": app}, "spec": {"containers": containers}});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": app}, "template": template});
    object.0.insert("spec".into(), spec);
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(counts: [u64; 3], rank: f64, expected: u64) {
        let histogram = Histogram { bounds: &[100, 200], counts: counts.to_vec(), sum: 0, max: 900 };
        assert_eq!(inside(&histogram, rank), expected);
    }

    #[test]
    fn values_inside_buckets() {
        check([0, 0, 0], 0.5, 900);
        check([0, 10, 0], 0.5, 150);
        check([4, 0, 0], 1.0, 100);
        check([0, 0, 1], 0.5, 900);
    }
}
