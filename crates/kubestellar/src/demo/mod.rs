//! `kubestellar demo`: sets up an ITS, a WDS and two simulated clusters in a temporary folder, and does the main job.

mod scenarios;
mod stage;

use crate::args::end_asked;
use crate::fleet::{Cluster, Fleet};
use anyhow::{Result, anyhow};
use cli::kflex::SpaceType;
use scenarios::Scene;
use stage::{Stage, milliseconds};
use std::io::Write;
use std::path::Path;

/// Sets up two simulated clusters and does the main job
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Demo {
    /// Stay up afterwards, and tell what to try
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub(crate) async fn run(self) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut stage = Stage::new(std::io::stdout());
        match play(&mut stage, folder.path()).await {
            Ok(fleet) => {
                if self.keep {
                    stage.line(&try_yourself(folder.path()))?;
                    end_asked().await;
                }
                fleet.serve.stop().await;
                Ok(())
            }
            Err(error) => Err(error.context(format!("the demo failed at: {}", stage.current))),
        }
    }
}

async fn play<W: Write>(stage: &mut Stage<W>, folder: &Path) -> Result<Fleet> {
    stage.chapter("0. Set up: one process, nothing else")?;
    let fleet = stage.step("start the server", Fleet::start(folder, clock::system())).await?;
    let its = stage.step("kflex create its1", fleet.create("its1", SpaceType::Its, None)).await?;
    let wds = stage.step("kflex create wds1", fleet.create("wds1", SpaceType::Wds, None)).await?;
    let mut clusters = Vec::new();
    for name in ["cluster1", "cluster2"] {
        let title = format!("kflex create {name} --type wec");
        let client = stage.step(&title, fleet.create(name, SpaceType::Wec, Some("its1"))).await?;
        clusters.push(Cluster { name: name.into(), client });
    }
    let names: Vec<String> = clusters.iter().map(|cluster| cluster.name.clone()).collect();
    stage.step("kubestellar accept cluster1 cluster2: joined and available", fleet.accept("its1", &names)).await?;
    let label = async {
        for name in &names {
            scenarios::label_all(&its, name).await?;
        }
        Ok(())
    };
    stage.step("label both: location-group=edge name=CLUSTER", label).await?;

    let clusters: [Cluster; 2] = clusters.try_into().map_err(|_| anyhow!("there are two clusters"))?;
    let scene = Scene::open(wds.clone(), its.clone(), clusters).await;
    scenarios::deliver(stage, &scene).await?;
    scenarios::edit(stage, &scene).await?;
    scenarios::singleton_status(stage, &scene).await?;
    scenarios::relabel(stage, &scene).await?;
    scenarios::withdraw(stage, &scene).await?;

    stage.chapter("What is where")?;
    let table = cli::table_of(&wds, &its, "wds1", None).await?.ok_or_else(|| anyhow!("nothing is anywhere"))?;
    stage.line(table.trim_end())?;
    stage.line(&format!("\nDone in {}.", milliseconds(stage.total())))?;
    Ok(fleet)
}

fn try_yourself(folder: &Path) -> String {
    let kubeconfig = folder.join("kubeconfig");
    format!(
        "\nIt stays up until Ctrl-C. In another terminal:\n\n  \
         export KUBECONFIG={}\n  \
         kubectl --context wds1 get deployments -A\n  \
         kubectl --context cluster1 -n nginx get deployments,pods\n  \
         kubectl --context its1 get managedclusters\n  \
         kubectl --context wds1 -n nginx scale deployment nginx-deployment --replicas=2\n  \
         kubectl --context cluster2 -n nginx get deployments -w",
        kubeconfig.display()
    )
}
