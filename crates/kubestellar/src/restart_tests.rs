//! A restart of everything, in the middle of a user's day: nothing is written when nothing changed.

use crate::fleet::Fleet;
use crate::local;
use api::cluster::MANAGED_CLUSTERS;
use api::{Object, ObjectName, Resource};
use cli::kflex::SpaceType;
use client::{Client, Patch};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use store::Visibility;

const DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "deployments", "Deployment");
/// Far more than anything here takes; a test that fails waits this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// In every name and every object of what is done after the restart, so that its writes are known by it.
const MARKER: &str = "marker";

fn client(fleet: &Fleet, space: &str) -> Client {
    local::client(&fleet.serve.server, &space.into(), "test", Visibility::Durable)
}

fn workload(name: &str) -> String {
    format!(
        r"
apiVersion: control.kubestellar.io/v1alpha1
kind: BindingPolicy
metadata: {{name: {name}}}
spec:
  clusterSelectors: [{{matchLabels: {{name: c1}}}}]
  downsync:
  - objectSelectors: [{{matchLabels: {{app: {name}}}}}]
    wantSingletonReportedState: true
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: default, labels: {{app: {name}}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: web, image: 'web:1'}}]}}
"
    )
}

/// Changes the image of a Deployment of the WDS, and waits until its status tells that the cluster has rolled it out.
async fn roll_out(wds: &Client, name: &str, image: &str) {
    let name = ObjectName::namespaced("default", name);
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}});
    let asked: Object = wds.patch(&DEPLOYMENTS, &name, &Patch::Strategic(patch)).await.unwrap();
    rolled_out(wds, &name, asked.generation()).await;
}

async fn rolled_out(wds: &Client, name: &ObjectName, generation: i64) {
    let there = |held: Option<&Object>| {
        let status = |field: &str| held?.0.get("status")?.get(field)?.as_i64();
        let counts = ["replicas", "updatedReplicas", "availableReplicas"].map(status);
        (status("observedGeneration") >= Some(generation) && counts == [Some(2); 3]).then_some(())
    };
    wds.until(&DEPLOYMENTS, name, PATIENCE, "the rollout is told in the WDS", there).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_everything_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(folder.path(), clock::system()).await.unwrap();
    fleet.create("its1", SpaceType::Its, None).await.unwrap();
    fleet.create("wds1", SpaceType::Wds, None).await.unwrap();
    fleet.create("c1", SpaceType::Wec, Some("its1")).await.unwrap();
    fleet.accept("its1", &["c1".to_owned()]).await.unwrap();
    let labels = Patch::Merge(json!({"metadata": {"labels": {"name": "c1"}}}));
    client(&fleet, "its1").patch::<Value>(&MANAGED_CLUSTERS, &ObjectName::cluster("c1"), &labels).await.unwrap();
    let wds = client(&fleet, "wds1");
    for name in ["web", MARKER] {
        wds.apply_yaml(&workload(name)).await.unwrap();
        rolled_out(&wds, &ObjectName::namespaced("default", name), 1).await;
    }
    // Two ReplicaSets besides the first: what is told of them must not change at a restart.
    roll_out(&wds, "web", "web:2").await;
    roll_out(&wds, "web", "web:3").await;
    // What is still told of the last rollout is told before this one ends, which goes the same ways.
    roll_out(&wds, MARKER, "web:2").await;
    let server = fleet.serve.server.clone();
    let address = fleet.serve.url.strip_prefix("https://").unwrap().parse().unwrap();
    fleet.serve.stop().await;
    let before = server.store().head();
    drop(server);

    let fleet = Fleet::start_at(folder.path(), address, clock::system()).await.unwrap();
    let store = fleet.serve.server.store();
    let mut log = store.follow(before, Visibility::Appended).unwrap();
    // When this is told, every part has taken up its work: it goes through all of them.
    roll_out(&client(&fleet, "wds1"), MARKER, "web:3").await;
    let end = store.head();
    let mut written = BTreeSet::new();
    while log.progress() < end {
        for event in log.next().await.unwrap() {
            let marked = String::from_utf8_lossy(&event.entry.value).contains(MARKER);
            if !marked {
                let key = &event.entry.key;
                written.insert(format!(
                    "{:?} {}/{} {}",
                    event.change, key.collection.space, key.collection.resource, key.name
                ));
            }
        }
    }
    assert_eq!(written, BTreeSet::new());
    fleet.serve.stop().await;
}
