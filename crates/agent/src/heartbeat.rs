//! Says that the cluster is alive, and what it is: the lease, and the status of the ManagedCluster.

use crate::Agent;
use api::cluster::{
    CLUSTER_CLAIMS, Claim, ClusterClaim, HUB_ACCEPTED, LEASE_DURATION_SECONDS, LEASE_NAME, LEASES, MANAGED_CLUSTERS,
    ManagedCluster,
};
use api::{Condition, Object, ObjectName, Resource, Timestamp};
use bytes::Bytes;
use client::{Reflector, Selection};
use clock::Stopwatch;
use controller::Shutdown;
use http_body_util::BodyExt;
use planner::registration::{self, ClusterFacts, Node};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const NODES: Resource = Resource::cluster("", "v1", "nodes", "Node");
/// How often the cluster's health is looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(60);
/// How often while it is not well, and for how long it may be so before that is told: OCM's agents have the same.
const AILING_INTERVAL: Duration = Duration::from_secs(5);
const AILING_PATIENCE: Duration = Duration::from_secs(20);
/// How long the first report waits so that it has all in it.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// A write that failed is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Runs until `shutdown`.
pub(crate) async fn run(agent: Arc<Agent>, shutdown: Shutdown) {
    let name = agent.cluster.as_str();
    let selection = Selection::all().with_fields(format!("metadata.name={name}"));
    let clusters = Reflector::<ManagedCluster>::start(agent.hub.clone(), MANAGED_CLUSTERS, selection);
    let beats = beat(&agent, &clusters);
    let says = report(&agent, &clusters);
    shutdown.run_until_cancelled(Box::pin(async { tokio::join!(beats, says) })).await;
}

fn accepted(cluster: Option<&ManagedCluster>) -> bool {
    cluster.and_then(|cluster| cluster.condition(HUB_ACCEPTED)).is_some_and(Condition::is_true)
}

/// Renews the lease, a little earlier or later each time so that many agents do not come at once.
async fn beat(agent: &Agent, clusters: &Reflector<ManagedCluster>) {
    let name = ObjectName::cluster(agent.cluster.as_str());
    let lease = ObjectName::namespaced(agent.cluster.as_str(), LEASE_NAME);
    let mut changes = clusters.subscribe();
    loop {
        let cluster = clusters.get(&name);
        if !accepted(cluster.as_deref()) {
            changes.next().await;
            continue;
        }
        let seconds = cluster.map_or(LEASE_DURATION_SECONDS, |cluster| cluster.lease_duration_seconds());
        let now = agent.clock.now();
        let renew = |held: &mut Object| {
            let spec = held.0.entry("spec").or_insert_with(|| json!({}));
            spec["renewTime"] = now.rfc3339_micros().into();
        };
        let wait = match agent.hub.edit(&LEASES, &lease, renew).await {
            Ok(_) => jittered(seconds, now),
            Err(error) => {
                tracing::debug!(%error, "renew the lease");
                RETRY_AFTER
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// A lease duration, give or take a quarter.
fn jittered(seconds: i64, now: Timestamp) -> Duration {
    let milliseconds = u64::try_from(seconds).unwrap_or(60) * 1000;
    let spread = milliseconds / 2;
    let at = u64::try_from(now.micros().rem_euclid(1_000_003)).unwrap_or(0);
    Duration::from_millis(milliseconds - spread / 2 + at % spread.max(1))
}

/// Keeps the status of the ManagedCluster true.
async fn report(agent: &Agent, clusters: &Reflector<ManagedCluster>) {
    let name = ObjectName::cluster(agent.cluster.as_str());
    let nodes = Reflector::<Node>::start(agent.wec.clone(), NODES, Selection::all());
    let claims = Reflector::<ClusterClaim>::start(agent.wec.clone(), CLUSTER_CLAIMS, Selection::all());
    let (mut changes, mut node_changes, mut claim_changes) =
        (clusters.subscribe(), nodes.subscribe(), claims.subscribe());
    let mut health = Health::default();
    let known = async { tokio::join!(clusters.synced(), nodes.synced(), claims.synced()) };
    tokio::time::timeout(FIRST_LOOK, known).await.ok();
    loop {
        let mut wait = health.look(agent).await;
        let facts = ClusterFacts {
            unhealthy: health.unhealthy.clone(),
            version: health.version.clone(),
            nodes: nodes.is_synced().then(|| nodes.all().iter().map(|node| Node::clone(node)).collect()),
            claims: claims.is_synced().then(|| claims.all().iter().map(|claim| told(claim)).collect()),
        };
        if let Some(cluster) = clusters.get(&name)
            && let Some(status) = registration::cluster_status(&cluster, &facts, agent.clock.now())
        {
            let meta = &cluster.metadata;
            let patch =
                json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version}, "status": status});
            let patch = client::Patch::Merge(patch);
            if let Err(error) = agent.hub.patch_status::<IgnoredAny>(&MANAGED_CLUSTERS, &name, &patch).await {
                tracing::debug!(%error, "report the cluster's status");
                wait = RETRY_AFTER;
            }
        }
        let something = async {
            tokio::select! {
                _ = changes.next() => {}
                _ = node_changes.next() => {}
                _ = claim_changes.next() => {}
            }
        };
        tokio::time::timeout(wait, something).await.ok();
    }
}

fn told(claim: &ClusterClaim) -> Claim {
    Claim { name: claim.metadata.name.clone(), value: claim.spec.value.clone() }
}

/// What the cluster's API server says of itself.
#[derive(Default)]
struct Health {
    version: String,
    /// Why it is not well, once that has lasted.
    unhealthy: Option<String>,
    /// Since the last look that found it well.
    looked: Option<Stopwatch>,
    /// Since the first of the looks that did not, if the last one did not.
    ailing: Option<Stopwatch>,
}

impl Health {
    /// Looks if it is time to; gives how long until the next time.
    async fn look(&mut self, agent: &Agent) -> Duration {
        let since = self.looked.map_or(HEALTH_INTERVAL, |looked| looked.elapsed());
        if self.ailing.is_none() && since < HEALTH_INTERVAL {
            return HEALTH_INTERVAL.saturating_sub(since);
        }
        let problem = match get(agent, "/livez").await {
            Ok(_) => None,
            // Servers that serve no livez, or not to us, say healthz.
            Err(error) if error.is_not_found() || error.is_forbidden() => get(agent, "/healthz").await.err(),
            Err(error) => Some(error),
        };
        match problem {
            None => {
                let version = get(agent, "/version").await.ok();
                let version = version.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
                if let Some(version) = version.as_ref().and_then(|version| version["gitVersion"].as_str()) {
                    version.clone_into(&mut self.version);
                }
                (self.unhealthy, self.ailing, self.looked) = (None, None, Some(Stopwatch::start()));
                HEALTH_INTERVAL
            }
            Some(error) => {
                let ailing = *self.ailing.get_or_insert_with(Stopwatch::start);
                if ailing.elapsed() >= AILING_PATIENCE {
                    self.unhealthy = Some(error.to_string());
                }
                AILING_INTERVAL
            }
        }
    }
}

async fn get(agent: &Agent, path: &'static str) -> client::Result<Bytes> {
    let request = http::Request::get(path).body(Bytes::new()).expect("a constant path is a valid request");
    let answer = agent.wec.request(request).await?.into_body().collect().await;
    let broken = |error| client::Error::Timeout(format!("GET {path}: the answer broke off: {error}"));
    answer.map(http_body_util::Collected::to_bytes).map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_are_spread() {
        for at in [0, 1, 999_999, 123_456_789] {
            let wait = jittered(60, Timestamp::from_micros(at));
            assert!((45_000..75_000).contains(&wait.as_millis()), "{wait:?}");
        }
    }
}
