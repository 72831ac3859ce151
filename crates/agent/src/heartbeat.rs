//! Says that the cluster is alive, and what it is: the lease, and the status of the ManagedCluster.

use crate::Agent;
use api::cluster::{
    CLUSTER_CLAIMS, Claim, HUB_ACCEPTED, LEASE_DURATION_SECONDS, LEASE_NAME, LEASES, MANAGED_CLUSTERS, ManagedCluster,
};
use api::{Condition, Object, ObjectName, Resource, Timestamp};
use bytes::Bytes;
use client::{Reflector, Selection};
use controller::Shutdown;
use http_body_util::BodyExt;
use planner::registration::{self, ClusterFacts, Node};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const NODES: Resource = Resource::cluster("", "v1", "nodes", "Node");
/// How often the cluster's health is looked at when nothing else happens.
const HEALTH_INTERVAL: Duration = Duration::from_secs(60);
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
    let mut changes = clusters.subscribe();
    loop {
        let seen = look(agent).await;
        let mut wait = HEALTH_INTERVAL;
        if let Some(cluster) = clusters.get(&name)
            && let Some(status) = registration::cluster_status(&cluster, &seen, agent.clock.now())
        {
            let meta = &cluster.metadata;
            let patch =
                json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version}, "status": status});
            let patch = client::Patch::Merge(patch);
            match agent.hub.patch_status::<Value>(&MANAGED_CLUSTERS, &name, &patch).await {
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "report the cluster's status");
                    wait = RETRY_AFTER;
                }
            }
        }
        tokio::time::timeout(wait, changes.next()).await.ok();
    }
}

async fn look(agent: &Agent) -> ClusterFacts {
    let get = |path: &'static str| async move {
        let request = http::Request::get(path).body(Bytes::new()).expect("a constant path is a valid request");
        let answer = agent.wec.request(request).await?;
        answer
            .into_body()
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .map_err(|error| client::Error::Timeout(format!("GET {path}: the answer broke off: {error}")))
    };
    // Servers that serve no livez say healthz.
    let unhealthy = match get("/livez").await {
        Ok(_) => None,
        Err(_) => get("/healthz").await.err().map(|error| error.to_string()),
    };
    let version = get("/version").await.ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let version = version.unwrap_or_default()["gitVersion"].as_str().unwrap_or_default().to_owned();
    let everything = client::ListParams::default();
    let nodes = agent.wec.list::<Node>(&NODES, "", &everything).await;
    let claims = agent.wec.list::<Object>(&CLUSTER_CLAIMS, "", &everything).await;
    let claim = |object: Object| Claim {
        name: object.name().to_owned(),
        value: object.pointer("/spec/value").and_then(Value::as_str).unwrap_or_default().to_owned(),
    };
    ClusterFacts {
        unhealthy,
        version,
        nodes: nodes.map(|list| list.items).unwrap_or_default(),
        claims: claims.map(|list| list.items.into_iter().map(claim).collect()).unwrap_or_default(),
    }
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
