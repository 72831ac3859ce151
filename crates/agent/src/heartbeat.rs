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

/// Renews the lease when it is due: a restart does not renew one that the agent before it has just renewed.
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
        let mut wait = Duration::ZERO;
        let renew = |held: &mut Object| {
            wait = due_in(held, seconds, now);
            if wait.is_zero() {
                let spec = held.0.entry("spec").or_insert_with(|| json!({}));
                spec["renewTime"] = now.rfc3339_micros().into();
                wait = jittered(seconds, now);
            }
        };
        if let Err(error) = agent.hub.edit(&LEASES, &lease, renew).await {
            tracing::debug!(%error, "renew the lease");
            wait = RETRY_AFTER;
        }
        tokio::time::sleep(wait).await;
    }
}

/// How long a lease need not be renewed yet. One that is somebody else's, that was never renewed, or that was renewed in
/// the future, is due now: who renewed it has another clock, so how old it is cannot be told.
fn due_in(lease: &Object, seconds: i64, now: Timestamp) -> Duration {
    let text = |pointer: &str| lease.pointer(pointer).and_then(Value::as_str);
    let renewed = text("/spec/renewTime").and_then(|time| time.parse::<Timestamp>().ok());
    let Some(renewed) = renewed.filter(|_| text("/spec/holderIdentity") == Some(LEASE_NAME)) else {
        return Duration::ZERO;
    };
    let lifetime = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    match u64::try_from(now.micros().saturating_sub(renewed.micros())).map(Duration::from_micros) {
        Ok(age) if age < lifetime => jittered(seconds, renewed).saturating_sub(age),
        Ok(_) | Err(_) => Duration::ZERO,
    }
}

/// A lease duration, give or take a quarter, so that many agents do not come at once.
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

    #[track_caller]
    fn check_due(spec: Value, waits: bool) {
        let now = Timestamp::from_seconds(1_795_382_640);
        let mut lease = Object::new("coordination.k8s.io/v1", "Lease", &ObjectName::namespaced("c1", LEASE_NAME));
        lease.0.insert("spec".into(), spec.clone());
        let wait = due_in(&lease, 60, now);
        assert_eq!(!wait.is_zero(), waits, "{spec}: {wait:?}");
        assert!(wait < Duration::from_secs(75), "{spec}: {wait:?}");
    }

    /// A lease that was renewed some milliseconds before now.
    fn renewed(holder: &str, age: i64) -> Value {
        let at = Timestamp::from_micros(1_795_382_640_000_000 - age * 1000);
        json!({"holderIdentity": holder, "renewTime": at.rfc3339_micros(), "leaseDurationSeconds": 60})
    }

    #[test]
    fn a_fresh_lease_is_left_alone() {
        check_due(renewed(LEASE_NAME, 0), true);
        check_due(renewed(LEASE_NAME, 1), true);
        check_due(renewed(LEASE_NAME, 44_000), true);
        // Old.
        check_due(renewed(LEASE_NAME, 60_000), false);
        check_due(renewed(LEASE_NAME, 75_000), false);
        check_due(renewed(LEASE_NAME, 86_400_000), false);
        // In the future.
        check_due(renewed(LEASE_NAME, -1), false);
        check_due(renewed(LEASE_NAME, -86_400_000), false);
        // Somebody else's, or never renewed.
        check_due(renewed("another", 1), false);
        check_due(json!({"renewTime": "2026-11-23T00:00:00.000000Z"}), false);
        check_due(json!({"holderIdentity": LEASE_NAME}), false);
        check_due(json!({"holderIdentity": LEASE_NAME, "renewTime": "soon"}), false);
        check_due(json!({"holderIdentity": LEASE_NAME, "renewTime": null}), false);
        check_due(Value::Null, false);
    }

    #[test]
    fn the_wait_of_a_restart_is_the_rest_of_the_wait() {
        let at = Timestamp::from_seconds(1_795_382_600);
        let whole = jittered(60, at);
        let mut lease = Object::new("coordination.k8s.io/v1", "Lease", &ObjectName::namespaced("c1", LEASE_NAME));
        lease.0.insert("spec".into(), json!({"holderIdentity": LEASE_NAME, "renewTime": at.rfc3339_micros()}));
        let now = Timestamp::from_seconds(at.seconds() + 20);
        assert_eq!(due_in(&lease, 60, now), whole.checked_sub(Duration::from_secs(20)).unwrap());
    }

    #[test]
    fn heartbeats_are_spread() {
        for at in [0, 1, 999_999, 123_456_789] {
            let wait = jittered(60, Timestamp::from_micros(at));
            assert!((45_000..75_000).contains(&wait.as_millis()), "{wait:?}");
        }
    }
}
