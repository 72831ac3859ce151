//! The main job, scenario by scenario, through the same HTTPS API that a user has, with the YAML of `examples/`.

use super::stage::{Stage, View};
use crate::fleet::Cluster;
use anyhow::Result;
use api::{Object, ObjectName, Resource};
use client::{Client, DeleteParams, Patch};
use serde_json::{Value, json};
use std::io::Write;

const DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "deployments", "Deployment");
const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
const POLICIES: Resource = Resource::cluster("control.kubestellar.io", "v1alpha1", "bindingpolicies", "BindingPolicy");
const MANAGED_CLUSTERS: Resource =
    Resource::cluster("cluster.open-cluster-management.io", "v1", "managedclusters", "ManagedCluster");

const NGINX: &str = include_str!("../../../../examples/nginx.yaml");
const NGINX_POLICY: &str = include_str!("../../../../examples/nginx-policy.yaml");
const LATE: &str = include_str!("../../../../examples/late.yaml");
const LATE_POLICY: &str = include_str!("../../../../examples/late-policy.yaml");
const SINGLETON: &str = include_str!("../../../../examples/singleton.yaml");
const SINGLETON_POLICY: &str = include_str!("../../../../examples/singleton-policy.yaml");

/// A cluster and what is watched there.
struct Watched {
    name: String,
    deployments: View,
    config_maps: View,
}

/// Everything that the scenarios act on and look at.
pub(super) struct Scene {
    wds: Client,
    its: Client,
    wds_deployments: View,
    clusters: [Watched; 2],
}

impl Scene {
    pub(super) async fn open(wds: Client, its: Client, clusters: [Cluster; 2]) -> Self {
        let wds_deployments = View::open("wds1", &wds, &DEPLOYMENTS).await;
        let [one, two] = clusters;
        let clusters = [Watched::open(one).await, Watched::open(two).await];
        Self { wds, its, wds_deployments, clusters }
    }

    async fn everywhere(&self, name: &ObjectName, wish: impl Fn(Option<&Object>) -> bool + Copy) -> Result<()> {
        for cluster in &self.clusters {
            cluster.deployments.until(name, wish).await?;
        }
        Ok(())
    }
}

impl Watched {
    async fn open(Cluster { name, client }: Cluster) -> Self {
        let deployments = View::open(&name, &client, &DEPLOYMENTS).await;
        let config_maps = View::open(&name, &client, &CONFIG_MAPS).await;
        Self { name, deployments, config_maps }
    }
}

fn nginx() -> ObjectName {
    ObjectName::namespaced("nginx", "nginx-deployment")
}

fn singleton() -> ObjectName {
    ObjectName::namespaced("nginx-singleton", "nginx-singleton-deployment")
}

fn settings() -> ObjectName {
    ObjectName::namespaced("late", "settings")
}

fn number(object: Option<&Object>, pointer: &str) -> Option<i64> {
    object?.pointer(pointer)?.as_i64()
}

pub(super) async fn deliver<W: Write>(stage: &mut Stage<W>, scene: &Scene) -> Result<()> {
    stage.chapter("1. Policy first, then the workload")?;
    stage.step("apply examples/nginx-policy.yaml", apply(&scene.wds, NGINX_POLICY)).await?;
    let delivered = async {
        apply(&scene.wds, NGINX).await?;
        scene.everywhere(&nginx(), |object| object.is_some()).await
    };
    stage.step("apply examples/nginx.yaml: Deployment in cluster1 and cluster2", delivered).await?;

    stage.chapter("2. Workload first, then the policy")?;
    stage.step("apply examples/late.yaml: nobody asks for it yet", apply(&scene.wds, LATE)).await?;
    let delivered = async {
        apply(&scene.wds, LATE_POLICY).await?;
        for cluster in &scene.clusters {
            cluster.config_maps.until_there(&settings()).await?;
        }
        Ok(())
    };
    stage.step("apply examples/late-policy.yaml: ConfigMap in both clusters", delivered).await
}

pub(super) async fn edit<W: Write>(stage: &mut Stage<W>, scene: &Scene) -> Result<()> {
    stage.chapter("3. An edit reaches the clusters")?;
    let edited = async {
        let patch = Patch::Strategic(json!({"spec": {"replicas": 5}}));
        scene.wds.patch::<Value>(&DEPLOYMENTS, &nginx(), &patch).await?;
        scene.everywhere(&nginx(), |object| number(object, "/spec/replicas") == Some(5)).await
    };
    stage.step("scale to 5 replicas: seen in both clusters", edited).await
}

pub(super) async fn singleton_status<W: Write>(stage: &mut Stage<W>, scene: &Scene) -> Result<()> {
    stage.chapter("4. Status comes back")?;
    let returned = async {
        apply(&scene.wds, SINGLETON_POLICY).await?;
        apply(&scene.wds, SINGLETON).await?;
        let available = |object: Option<&Object>| number(object, "/status/availableReplicas") == Some(1);
        scene.wds_deployments.until(&singleton(), available).await
    };
    stage.step("one cluster only: its availableReplicas is the Deployment's status", returned).await
}

pub(super) async fn relabel<W: Write>(stage: &mut Stage<W>, scene: &Scene) -> Result<()> {
    stage.chapter("5. A cluster loses its label, and gets it back")?;
    let cluster = &scene.clusters[1];
    let left = async {
        label(&scene.its, &cluster.name, Value::Null).await?;
        cluster.deployments.until_gone(&nginx()).await?;
        scene.clusters[0].deployments.until_there(&nginx()).await
    };
    stage.step("cluster2 leaves the edge: the workload goes there, and stays in cluster1", left).await?;
    let back = async {
        label(&scene.its, &cluster.name, "edge".into()).await?;
        cluster.deployments.until_there(&nginx()).await
    };
    stage.step("cluster2 is back on the edge: so is the workload", back).await
}

pub(super) async fn withdraw<W: Write>(stage: &mut Stage<W>, scene: &Scene) -> Result<()> {
    stage.chapter("6. The policy is deleted")?;
    let withdrawn = async {
        scene.wds.delete(&POLICIES, &ObjectName::cluster("late"), &DeleteParams::default()).await?;
        for cluster in &scene.clusters {
            cluster.config_maps.until_gone(&settings()).await?;
        }
        // It was withdrawn from the clusters; in the workspace it is still the user's.
        scene.wds.get::<Object>(&CONFIG_MAPS, &settings()).await?;
        Ok(())
    };
    stage.step("delete policy late: ConfigMap gone from both clusters, kept in wds1", withdrawn).await
}

async fn apply(wds: &Client, yaml: &str) -> Result<()> {
    wds.apply_yaml(yaml).await?;
    Ok(())
}

/// Sets a cluster's `location-group`; null takes it away.
async fn label(its: &Client, cluster: &str, group: Value) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"labels": {"location-group": group}}}));
    its.patch::<Value>(&MANAGED_CLUSTERS, &ObjectName::cluster(cluster), &patch).await?;
    Ok(())
}

/// Labels a cluster as the examples select it.
pub(super) async fn label_all(its: &Client, cluster: &str) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"labels": {"location-group": "edge", "name": cluster}}}));
    its.patch::<Value>(&MANAGED_CLUSTERS, &ObjectName::cluster(cluster), &patch).await?;
    Ok(())
}
