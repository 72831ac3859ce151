//! A server with an ITS, a WDS and simulated clusters, and a user who watches all of them over HTTPS.

use crate::trace::{Mark, Trace};
use anyhow::{Context, Result, anyhow, bail};
use api::cluster::MANAGED_CLUSTERS;
use api::{Object, ObjectName, Resource};
use cli::kflex::SpaceType;
use client::{Client, Patch, Reflector, Selection};
use clock::{SharedClock, Stopwatch};
use kubestellar::{Cluster, Fleet};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Metrics;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub(crate) const ITS: &str = "its1";
pub(crate) const WDS: &str = "wds1";
pub(crate) const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
pub(crate) const DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "deployments", "Deployment");

/// How long one operation may take where nothing else is said.
const OPERATION_TIME_MAX: Duration = Duration::from_secs(60);
/// Nothing was written for this long: what an operation caused is over.
const QUIET: Duration = Duration::from_millis(25);
/// How long it may take until nothing is written.
const QUIET_TIME_MAX: Duration = Duration::from_secs(30);

/// What a watch told the user.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Index of the cluster; none for the WDS.
    pub(crate) cluster: Option<usize>,
    pub(crate) at: Duration,
    pub(crate) name: ObjectName,
    /// Absent when it is gone.
    pub(crate) object: Option<Arc<Object>>,
}

/// One operation that has been measured.
pub(crate) struct Timed {
    /// When the request was sent.
    pub(crate) sent: Duration,
    /// When the (last) request was answered.
    pub(crate) answered: Duration,
    /// When each wanted sight was seen, since the request was sent; in order of time.
    pub(crate) seen: Vec<Duration>,
    /// Syncs of the disk until all was seen.
    pub(crate) syncs: u64,
}

impl Timed {
    /// Until the last was seen.
    pub(crate) fn last(&self) -> Duration {
        self.seen.iter().max().copied().unwrap_or_default()
    }

    /// When the last was seen, on the clock.
    pub(crate) fn seen_at(&self) -> Duration {
        self.sent + self.last()
    }
}

pub(crate) struct Rig {
    pub(crate) fleet: Fleet,
    pub(crate) clock: SharedClock,
    pub(crate) wds: Client,
    pub(crate) its: Client,
    /// How long one operation may take before the benchmark says that it failed.
    pub(crate) patience: Duration,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) trace: Trace,
    seen: mpsc::UnboundedReceiver<Seen>,
    tell: mpsc::UnboundedSender<Seen>,
    watches: JoinSet<()>,
}

impl Rig {
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let clock = clock::system();
        let fleet = Fleet::start(folder, clock.clone()).await?;
        let its = fleet.create(ITS, SpaceType::Its, None).await?;
        let wds = fleet.create(WDS, SpaceType::Wds, None).await?;
        let trace = Trace::start(&fleet, &clock)?;
        let (tell, seen) = mpsc::unbounded_channel();
        let (clusters, watches) = (Vec::new(), JoinSet::new());
        let patience = OPERATION_TIME_MAX;
        let mut rig = Self { fleet, clock, wds, its, patience, clusters, trace, seen, tell, watches };
        rig.watch(None, &rig.wds.clone(), &DEPLOYMENTS).await;
        Ok(rig)
    }

    /// Makes clusters until there are `count`, labelled `name=NAME`, `fleet=LABEL` and watched. Tells how long the spaces
    /// took, and how long joining took.
    pub(crate) async fn grow(&mut self, count: usize, label: &str) -> Result<(Duration, Duration)> {
        let watch = Stopwatch::start();
        let first = self.clusters.len();
        for index in first..count {
            let name = format!("cluster{:03}", index + 1);
            let client = self.fleet.create(&name, SpaceType::Wec, Some(ITS)).await?;
            self.clusters.push(Cluster { name, client });
        }
        let created = watch.elapsed();
        let watch = Stopwatch::start();
        let names: Vec<String> = self.clusters[first..].iter().map(|cluster| cluster.name.clone()).collect();
        self.fleet.accept(ITS, &names).await?;
        let joined = watch.elapsed();
        for index in first..count {
            let cluster = self.clusters[index].clone();
            let labels = json!({"name": cluster.name, "fleet": label, "bench": "all"});
            let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
            self.its.patch::<Value>(&MANAGED_CLUSTERS, &ObjectName::cluster(&cluster.name), &patch).await?;
            self.watch(Some(index), &cluster.client, &CONFIG_MAPS).await;
        }
        self.quiet().await?;
        Ok((created, joined))
    }

    /// Has a resource of a space watched from now on.
    async fn watch(&mut self, cluster: Option<usize>, client: &Client, resource: &Resource) {
        let reflector = Reflector::<Object>::start(client.clone(), resource.clone(), Selection::all());
        reflector.synced().await;
        let mut changes = reflector.subscribe();
        let (tell, clock) = (self.tell.clone(), self.clock.clone());
        self.watches.spawn(async move {
            let _watching = reflector;
            loop {
                let change = changes.next().await;
                let seen = Seen { cluster, at: clock.monotonic(), name: change.name, object: change.after };
                if tell.send(seen).is_err() {
                    return;
                }
            }
        });
    }

    /// Does something and waits until each of `count` wanted things has been seen. `wanted` names what it saw, once.
    pub(crate) async fn timed<K: Eq + std::hash::Hash>(
        &mut self,
        count: usize,
        doing: impl Future<Output = Result<()>>,
        wanted: impl Fn(&Seen) -> Option<K>,
    ) -> Result<Timed> {
        while self.seen.try_recv().is_ok() {}
        let syncs = self.metrics().syncs.count();
        let sent = self.clock.monotonic();
        doing.await?;
        let answered = self.clock.monotonic();
        let mut found = std::collections::HashSet::new();
        let mut seen = Vec::with_capacity(count);
        let waiting = async {
            while seen.len() < count {
                let Some(sight) = self.seen.recv().await else { bail!("nothing is watched any more") };
                if let Some(key) = wanted(&sight)
                    && found.insert(key)
                {
                    seen.push(sight.at.saturating_sub(sent));
                }
            }
            Ok(())
        };
        let waited = tokio::time::timeout(self.patience, waiting).await;
        waited
            .unwrap_or_else(|_| Err(anyhow!("{} of {count} seen within {} s", found.len(), self.patience.as_secs())))?;
        let syncs = self.metrics().syncs.count() - syncs;
        Ok(Timed { sent, answered, seen, syncs })
    }

    pub(crate) fn metrics(&self) -> Metrics {
        self.fleet.serve.server.store().metrics()
    }

    /// Waits until nothing has been written for a while.
    pub(crate) async fn quiet(&self) -> Result<()> {
        let store = self.fleet.serve.server.store();
        let waiting = async {
            let mut head = store.head();
            loop {
                tokio::time::sleep(QUIET).await;
                let now = store.head();
                if now == head && store.durable_head() == head {
                    return;
                }
                head = now;
            }
        };
        tokio::time::timeout(QUIET_TIME_MAX, waiting)
            .await
            .map_err(|_| anyhow!("writes go on for {} s and nobody asked for any", QUIET_TIME_MAX.as_secs()))
    }

    /// The quiet after an operation, and all that was written since the last call.
    pub(crate) async fn settle(&self) -> Result<Vec<Mark>> {
        self.quiet().await?;
        Ok(self.trace.take())
    }

    /// Applies YAML in the WDS.
    pub(crate) async fn apply(&self, yaml: &str) -> Result<()> {
        self.wds.apply_yaml(yaml).await.context("apply in the WDS")?;
        Ok(())
    }

    pub(crate) async fn stop(mut self) {
        self.watches.shutdown().await;
        self.trace.stop();
        self.fleet.serve.stop().await;
    }
}
