//! What a whole workload costs: many objects to many clusters, and changes that concern few of them.

use crate::machine;
use crate::report::Report;
use crate::rig::{CONFIG_MAPS, ITS, Rig, Seen, Timed, WDS};
use crate::stages;
use crate::statistics::{milliseconds, ms};
use crate::trace::Mark;
use anyhow::{Context, Result, bail, ensure};
use api::cluster::MANAGED_CLUSTERS;
use api::control::BINDING_POLICIES;
use api::{Object, ObjectName};
use client::{DeleteParams, Patch};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use store::Visibility;

/// Objects that are created at the same time.
const IN_FLIGHT: usize = 64;
/// Bytes of text in each ConfigMap.
const TEXT_BYTES: usize = 1000;
/// How long one step may take: the largest fleets of this benchmark have a hundred thousand pairs.
const STEP_TIME_MAX: Duration = Duration::from_secs(600);
/// Of one work that changes: the write of the transport, the finalizer of its agent, and what the agent tells of it, which
/// may take several writes when it comes in parts. More than this means that works were written in which nothing changed.
const WORK_WRITES_MAX: usize = 6;

/// Stages of a step, by where they are written: the role of the space, and the resource.
const STAGES: [(&str, Place, &str); 5] = [
    ("WDS objects", Place::Wds, "configmaps"),
    ("Binding", Place::Wds, "bindings.control.kubestellar.io"),
    ("ManifestWorks", Place::Its, "manifestworks.work.open-cluster-management.io"),
    ("AppliedManifestWorks", Place::Wec, "appliedmanifestworks.work.open-cluster-management.io"),
    ("WEC objects", Place::Wec, "configmaps"),
];

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Wds,
    Its,
    Wec,
}

impl Place {
    fn of(space: &str) -> Option<Self> {
        match space {
            WDS => Some(Self::Wds),
            ITS => Some(Self::Its),
            wec => wec.starts_with("cluster").then_some(Self::Wec),
        }
    }
}

/// Objects and clusters, as in `100x10`.
#[derive(Clone, Copy, Debug)]
struct Size {
    objects: usize,
    clusters: usize,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('x').and_then(|(objects, clusters)| {
            Some(Self { objects: objects.parse().ok()?, clusters: clusters.parse().ok()? })
        });
        parts.filter(|size| size.objects > 0 && size.clusters > 0).ok_or_else(|| format!("{text:?} is not like 100x10"))
    }
}

/// Time and writes of whole workloads: first delivery, edit, labels of a cluster, end of the policy
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Pipeline {
    /// Objects x clusters; clusters are made as they are needed, so give the larger fleet last
    #[arg(long, value_delimiter = ',', default_value = "100x10,1000x100")]
    sizes: Vec<Size>,
}

impl Pipeline {
    pub(crate) async fn run<W: Write>(&self, report: &mut Report<W>, folder: &Path) -> Result<()> {
        let conditions = machine::conditions();
        report.line(&format!("machine: {conditions}"))?;
        report.keep("machine", conditions);
        let disk = machine::probe_disk(folder)?;
        report.line(&machine::probe_line(&disk))?;
        report.keep("disk", disk.json());
        let mut rig = Rig::start(folder).await?;
        rig.patience = STEP_TIME_MAX;
        for (round, size) in self.sizes.iter().enumerate() {
            rig.grow(size.clusters, "pipeline").await?;
            ensure!(rig.clusters.len() == size.clusters, "give the sizes with the larger fleets last");
            run_size(&mut rig, report, round, *size).await?;
        }
        rig.stop().await;
        Ok(())
    }
}

/// Which objects a watch tells of: those of one round.
fn is_of(round: usize, seen: &Seen) -> bool {
    seen.name.name.starts_with(&format!("r{round}-"))
}

fn text_of(seen: &Seen) -> Option<&str> {
    seen.object.as_ref()?.pointer("/data/v")?.as_str()
}

async fn run_size<W: Write>(rig: &mut Rig, report: &mut Report<W>, round: usize, size: Size) -> Result<()> {
    let Size { objects, clusters } = size;
    report.heading(&format!("{objects} objects x {clusters} clusters"))?;
    let (wds, its) = (rig.wds.clone(), rig.its.clone());
    let app = format!("r{round}");
    let policy = json!({
        "apiVersion": "control.kubestellar.io/v1alpha1", "kind": "BindingPolicy", "metadata": {"name": app},
        "spec": {"clusterSelectors": [{"matchLabels": {"fleet": "pipeline"}}],
                 "downsync": [{"objectSelectors": [{"matchLabels": {"app": app}}]}]},
    });
    wds.create::<Value>(&BINDING_POLICIES, "", &policy).await?;
    rig.settle().await?;

    let map = |number: usize| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("r{round}-{number:05}"), "namespace": "default", "labels": {"app": app}},
            "data": {"v": "first", "text": "x".repeat(TEXT_BYTES)},
        })
    };
    let create = async {
        let creations = (0..objects).map(|number| {
            let (wds, map) = (wds.clone(), map(number));
            async move { wds.create::<Value>(&CONFIG_MAPS, "default", &map).await.map(drop) }
        });
        stream::iter(creations).buffer_unordered(IN_FLIGHT).try_collect::<()>().await.context("create objects")
    };
    let there = |seen: &Seen| {
        let here = seen.cluster.filter(|_| is_of(round, seen) && seen.object.is_some())?;
        Some((here, seen.name.clone()))
    };
    let timed = rig.timed(objects * clusters, create, there).await?;
    step(rig, report, &size, "first delivery", &timed, objects * clusters).await?;

    let edited = ObjectName::namespaced("default", format!("r{round}-{:05}", objects / 2));
    let edit = async {
        let patch = Patch::Merge(json!({"data": {"v": "second"}}));
        wds.patch::<Object>(&CONFIG_MAPS, &edited, &patch).await.map(drop).context("edit an object")
    };
    let second = |seen: &Seen| seen.cluster.filter(|_| text_of(seen) == Some("second") && is_of(round, seen));
    let timed = rig.timed(clusters, edit, second).await?;
    step(rig, report, &size, "edit of one object", &timed, clusters).await?;

    let cluster = ObjectName::cluster(rig.clusters[0].name.as_str());
    let gone = |seen: &Seen| (is_of(round, seen) && seen.object.is_none()).then(|| (seen.cluster, seen.name.clone()));
    for (what, value) in [("one cluster leaves", json!("none")), ("one cluster comes", json!("pipeline"))] {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"fleet": value}}}));
        let flip = async {
            its.patch::<Value>(&MANAGED_CLUSTERS, &cluster, &patch).await.map(drop).context("label a cluster")
        };
        let timed = if value == "none" {
            rig.timed(objects, flip, gone).await?
        } else {
            rig.timed(objects, flip, there).await?
        };
        step(rig, report, &size, what, &timed, objects).await?;
    }

    let end = async {
        let policy = ObjectName::cluster(app.as_str());
        wds.delete(&BINDING_POLICIES, &policy, &DeleteParams::default()).await.map(drop).context("delete the policy")
    };
    let timed = rig.timed(objects * clusters, end, gone).await?;
    step(rig, report, &size, "end of the policy", &timed, objects * clusters).await
}

/// Tells what a step took and cost, once all that it caused is over. `pairs` is how many objects in clusters it concerns.
async fn step<W: Write>(
    rig: &Rig,
    report: &mut Report<W>,
    size: &Size,
    what: &str,
    timed: &Timed,
    pairs: usize,
) -> Result<()> {
    let marks = rig.settle().await?;
    report.line(&format!(
        "{what}: {pairs} pairs in {} ms (request answered after {} ms, {} syncs of the disk)",
        ms(timed.last()),
        ms(timed.answered.saturating_sub(timed.sent)),
        timed.syncs
    ))?;
    let (rows, stages) = stages_of(&marks, timed.sent);
    report.table(&["stage, appended", "writes", "first ms", "last ms"], &rows)?;
    let (_, writes) = stages::writes(&marks, pairs);
    let name = format!("pipeline-{}x{}-{}", size.objects, size.clusters, what.replace(' ', "-"));
    let json = json!({
        "pairs": pairs, "all_ms": milliseconds(timed.last()), "syncs": timed.syncs, "stages": stages, "writes": writes,
    });
    report.keep(&name, json);
    let works = works_written(&marks);
    if works > pairs * WORK_WRITES_MAX {
        bail!("{what} concerns {pairs} pairs, and {works} writes of ManifestWorks were made for it");
    }
    Ok(())
}

fn works_written(marks: &[Mark]) -> usize {
    let (_, place, resource) = STAGES[2];
    marks
        .iter()
        // A delete is two writes: that it is asked, and that the agent lets it go.
        .filter(|mark| mark.visibility == Visibility::Appended && Place::of(&mark.space) == Some(place))
        .filter(|mark| *mark.resource == *resource)
        .count()
}

fn stages_of(marks: &[Mark], sent: Duration) -> (Vec<Vec<String>>, Value) {
    let mut rows = Vec::new();
    let mut json = serde_json::Map::new();
    for (stage, place, resource) in STAGES {
        let written: Vec<Duration> = marks
            .iter()
            .filter(|mark| mark.visibility == Visibility::Appended && mark.at >= sent && *mark.resource == *resource)
            .filter(|mark| Place::of(&mark.space) == Some(place))
            .map(|mark| mark.at.saturating_sub(sent))
            .collect();
        let (Some(first), Some(last)) = (written.first(), written.last()) else { continue };
        rows.push(vec![stage.to_owned(), written.len().to_string(), ms(*first), ms(*last)]);
        let told = json!({"writes": written.len(), "first_ms": milliseconds(*first), "last_ms": milliseconds(*last)});
        json.insert(stage.to_owned(), told);
    }
    (rows, json.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Change;

    #[test]
    fn stages_are_told_apart_by_the_space() {
        let mark = |at: u64, space: &str, resource: &str| Mark {
            at: Duration::from_millis(at),
            visibility: Visibility::Appended,
            change: Change::Created,
            space: space.into(),
            resource: resource.into(),
            name: "x".into(),
        };
        let marks = [
            mark(1, WDS, "configmaps"),
            mark(12, WDS, "configmaps"),
            mark(15, ITS, STAGES[2].2),
            mark(18, ITS, STAGES[2].2),
            mark(20, "cluster001", "configmaps"),
        ];
        let (rows, _) = stages_of(&marks, Duration::from_millis(10));
        let told: Vec<String> = rows.iter().map(|row| row.join(" ")).collect();
        assert_eq!(told, ["WDS objects 1 2.00 2.00", "ManifestWorks 2 5.00 8.00", "WEC objects 1 10.00 10.00"]);
        assert_eq!(works_written(&marks), 2);
    }

    #[test]
    fn sizes() {
        let size: Size = "100x10".parse().unwrap();
        assert_eq!((size.objects, size.clusters), (100, 10));
        assert!("100".parse::<Size>().is_err() && "0x4".parse::<Size>().is_err());
    }
}
