//! Joining, by the protocol of Open Cluster Management.

use crate::world::{CLUSTER, SECRETS, World, is, is_accepted, until};
use api::cluster::{AGENT_NAMESPACE, AVAILABLE, CLOCK_SYNCED, HUB_SECRET, JOINED, MANAGED_CLUSTERS, ManagedCluster};
use api::work::{APPLIED_MANIFEST_WORKS, MANIFEST_WORKS};
use api::{Object, ObjectName, Timestamp};
use client::{ListParams, Patch};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_joins_when_both_sides_agree() {
    let world = World::new().await;
    let _agent = world.agent();
    world.accept().await;
    world
        .until_cluster("is a member", |cluster| {
            is_accepted(cluster) && is(cluster, JOINED) && is(cluster, AVAILABLE) && is(cluster, CLOCK_SYNCED)
        })
        .await;
    world.until_cluster("has no taint", |cluster| cluster.pointer("/spec/taints").is_none()).await;
    let cluster: ManagedCluster = world.its.get(&MANAGED_CLUSTERS, &ObjectName::cluster(CLUSTER)).await.unwrap();
    assert!(cluster.status.version.kubernetes.starts_with("v1."), "{:?}", cluster.status.version);
    let secret: Object = world.wec.get(&SECRETS, &ObjectName::namespaced(AGENT_NAMESPACE, HUB_SECRET)).await.unwrap();
    for key in ["kubeconfig", "tls.key", "tls.crt", "cluster-name", "agent-name"] {
        assert!(secret.pointer(&format!("/data/{}", key.replace('/', "~1"))).is_some(), "{key}");
        assert!(world.folder().join(CLUSTER).join(key).exists(), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_the_two_agreements_does_not_matter() {
    let world = World::new().await;
    let _agent = world.agent();
    world.approve().await;
    let accept = Patch::Merge(json!({"spec": {"hubAcceptsClient": true}}));
    world.its.patch::<Object>(&MANAGED_CLUSTERS, &ObjectName::cluster(CLUSTER), &accept).await.unwrap();
    world.until_cluster("is a member", |cluster| is(cluster, JOINED) && is(cluster, AVAILABLE)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_joined_needs_nobody_to_come_back() {
    let world = World::new().await;
    let agent = world.joined().await;
    world.until_cluster("has no taint", |cluster| cluster.pointer("/spec/taints").is_none()).await;
    agent.stop().await;
    let before = world.versions();
    let unknown = json!([{"type": AVAILABLE, "status": "Unknown", "reason": "Test", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let patch = Patch::Merge(json!({"status": {"conditions": unknown}}));
    world.its.patch_status::<Object>(&MANAGED_CLUSTERS, &ObjectName::cluster(CLUSTER), &patch).await.unwrap();
    let _agent = world.agent();
    world.until_cluster("is available again", |cluster| is(cluster, AVAILABLE) && is(cluster, JOINED)).await;
    let requests = |versions: &std::collections::BTreeMap<String, String>| {
        versions.keys().filter(|key| key.contains("certificatesigningrequests")).count()
    };
    assert_eq!(requests(&world.versions()), requests(&before), "no new signing request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_moves_stays_the_same_hub() {
    let world = World::new().await;
    let agent = world.joined().await;
    let work = json!({"apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": {"name": "w", "namespace": CLUSTER}, "spec": {"workload": {"manifests": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}]}}});
    world.its.create::<Object>(&MANIFEST_WORKS, CLUSTER, &work).await.unwrap();
    let name = ObjectName::namespaced(CLUSTER, "w");
    until(&world.its, &MANIFEST_WORKS, &name, "is done", |work| work.is_some_and(|work| is(work, "Available"))).await;
    let applied = async || -> Vec<String> {
        let list = world.wec.list::<Object>(&APPLIED_MANIFEST_WORKS, "", &ListParams::default()).await.unwrap();
        list.items
            .iter()
            .map(|held| format!("{} {:?}", held.name(), held.pointer("/status/evictionStartTime")))
            .collect()
    };
    let before = applied().await;
    assert_eq!(before.len(), 1);
    agent.stop().await;

    // At another address, without a token and without an administrator.
    let maps = api::Resource::namespaced("", "v1", "configmaps", "ConfigMap");
    let replace = async |old: &'static str, new: &'static str| {
        let manifest =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": new, "namespace": "default"}});
        let edited = Patch::Merge(json!({"spec": {"workload": {"manifests": [manifest]}}}));
        world.its.patch::<Object>(&MANIFEST_WORKS, &name, &edited).await.unwrap();
        until(&world.wec, &maps, &ObjectName::namespaced("default", new), "is there", |map| map.is_some()).await;
        until(&world.wec, &maps, &ObjectName::namespaced("default", old), "is gone", |map| map.is_none()).await;
    };
    let agent = world.agent_of_moved_hub().await;
    replace("a", "b").await;
    assert_eq!(applied().await, before);
    agent.stop().await;

    // And back, without the folder: what the cluster keeps will do.
    std::fs::remove_dir_all(world.folder().join(CLUSTER)).unwrap();
    let _agent = world.agent();
    replace("b", "c").await;
    assert_eq!(applied().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_before_it_ends() {
    let world = World::new().await;
    world.joined().await.stop().await;
    let name = ObjectName::namespaced(AGENT_NAMESPACE, HUB_SECRET);
    let secret: Object = world.wec.get(&SECRETS, &name).await.unwrap();
    let first = secret.pointer("/data/tls.crt").cloned();
    // A year's certificate, looked at after ten months.
    let agent = world.agent_at(clock::Manual::at(Timestamp::from_seconds(world.now().seconds() + 300 * 86_400)));
    until(&world.wec, &SECRETS, &name, "holds another certificate", move |secret| {
        secret.is_some_and(|secret| secret.pointer("/data/tls.crt") != first.as_ref())
    })
    .await;
    agent.stop().await;
    // The agent that comes next has lost its folder.
    std::fs::remove_dir_all(world.folder().join(CLUSTER)).unwrap();
    let requests = world.versions().keys().filter(|key| key.contains("certificatesigningrequests")).count();
    let last = world.beat().await;
    let _agent = world.agent();
    world.until_beat(last).await;
    let after = world.versions().keys().filter(|key| key.contains("certificatesigningrequests")).count();
    assert_eq!(after, requests);
}
