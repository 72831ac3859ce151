//! What the original gets wrong, by its own account or by reading it (docs/original-defects.md), and what a change costs.

use crate::pipeline::{Pipeline, config_map, label, policy};
use crate::world::*;
use api::control::{BINDING_POLICIES, BINDINGS};
use api::work::MANIFEST_WORKS;
use api::{Object, ObjectName, PartialObject, Resource};
use client::{DeleteParams, Patch};
use planner::transport::Limits;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const DEFINITIONS: Resource =
    Resource::cluster("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_name_of_a_policy_breaks_nothing() {
    let p = Pipeline::start(Limits { max_objects: 3, ..Limits::default() }).await;
    let long = format!("{}.{}", "x".repeat(180), "y".repeat(60));
    apply(&p.wds, &policy(&long, "").replace(&format!("app: {long}"), "app: web")).await;
    apply(&p.wds, &config_map("conf", "web", "1")).await;
    p.works("edge1", "conf=1").await;
    p.condition(&long, "Synced", "True").await;
    p.wds.delete(&BINDING_POLICIES, &ObjectName::cluster(&*long), &DeleteParams::default()).await.unwrap();
    p.works("edge1", "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_that_is_not_there_holds_up_no_other() {
    let p = Pipeline::start(Limits::default()).await;
    let cluster = json!({
        "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
        "metadata": {"name": "a-dead-one", "labels": {"location-group": "edge"}}, "spec": {"hubAcceptsClient": true},
    });
    let _: PartialObject = p.its.create(&MANAGED_CLUSTERS, "", &cluster).await.unwrap();
    apply(&p.wds, &policy("web", "")).await;
    apply(&p.wds, &config_map("conf", "web", "1")).await;
    p.works("edge1", "conf=1").await;
    p.works("edge2", "conf=1").await;
    until(&p.wds, &BINDING_POLICIES, &ObjectName::cluster("web"), "names the cluster", |object| {
        let errors = object.and_then(|object| object.pointer("/status/errors").map(Value::to_string));
        errors.is_some_and(|errors| errors.contains("Cluster a-dead-one cannot be sent to"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn works_go_from_clusters_that_were_left_while_nobody_looked() {
    let mut p = Pipeline::start(Limits::default()).await;
    apply(&p.wds, &policy("web", "")).await;
    apply(&p.wds, &config_map("conf", "web", "1")).await;
    p.works("edge1", "conf=1").await;
    p.works("edge2", "conf=1").await;
    p.stop().await;
    let edge2 = ObjectName::cluster("edge2");
    let _: PartialObject = p.its.patch(&MANAGED_CLUSTERS, &edge2, &label("location-group", json!(null))).await.unwrap();
    p.wds.delete(&BINDING_POLICIES, &ObjectName::cluster("web"), &DeleteParams::default()).await.unwrap();
    // Even by force: a Binding that is gone altogether leaves its works to be found by their label.
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let binding = ObjectName::cluster("web");
    let _: PartialObject = p.wds.patch(&BINDINGS, &binding, &none).await.unwrap();
    p.wds.delete(&BINDINGS, &binding, &DeleteParams::default()).await.unwrap();
    p.run();
    p.works("edge2", "").await;
    p.works("edge1", "").await;
    until(&p.wds, &BINDING_POLICIES, &binding, "is gone", |object| object.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivery_does_not_wait_for_statuses() {
    let mut p = Pipeline::start(Limits::default()).await;
    p.stop().await;
    let kind = ObjectName::cluster("workstatuses.control.kubestellar.io");
    p.its.delete(&DEFINITIONS, &kind, &DeleteParams::default()).await.unwrap();
    p.run();
    apply(&p.wds, &policy("web", "")).await;
    apply(&p.wds, &config_map("conf", "web", "1")).await;
    p.works("edge1", "conf=1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binding_written_by_hand_is_delivered() {
    let p = Pipeline::start(Limits::default()).await;
    apply(&p.wds, &config_map("conf", "web", "1")).await;
    apply(
        &p.wds,
        "apiVersion: control.kubestellar.io/v1alpha1
kind: Binding
metadata: {name: mine}
spec:
  workload:
    namespaceScope:
    - {group: \"\", version: v1, resource: configmaps, namespace: default, name: conf, resourceVersion: \"1\"}
  destinations: [{clusterId: edge1}]",
    )
    .await;
    p.works("edge1", "conf=1").await;
    until(&p.wds, &BINDINGS, &ObjectName::cluster("mine"), "is synced", |object| {
        let conditions = object.and_then(|object| object.pointer("/status/conditions")?.as_array());
        conditions.is_some_and(|c| c.iter().any(|c| c["type"] == "Synced" && c["status"] == "True"))
    })
    .await;
    p.wds.delete(&BINDINGS, &ObjectName::cluster("mine"), &DeleteParams::default()).await.unwrap();
    p.works("edge1", "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_writes_only_the_works_that_it_changes() {
    let p = Pipeline::start(Limits::default()).await;
    apply(&p.wds, &policy("web", "")).await;
    let objects: Vec<String> = (10..40).map(|number| format!("m{number}")).collect();
    let texts: Vec<String> = objects.iter().map(|name| config_map(name, "web", "1")).collect();
    apply(&p.wds, &texts.join("\n---\n")).await;
    let told = |changed: &str| {
        let one = |name: &String| format!("{name}={}", if name == changed { 2 } else { 1 });
        objects.iter().map(one).collect::<Vec<_>>().join(" ")
    };
    for cluster in ["edge1", "edge2"] {
        p.works(cluster, &told("")).await;
    }
    let works = async || {
        let mut held = BTreeSet::new();
        for cluster in ["edge1", "edge2"] {
            for work in all(&p.its, &MANIFEST_WORKS, cluster).await {
                held.insert((work.object_name(), work.resource_version().to_owned()));
            }
        }
        held
    };
    // One object in two clusters: two works.
    let before = works().await;
    apply(&p.wds, &config_map("m20", "web", "2")).await;
    for cluster in ["edge1", "edge2"] {
        p.works(cluster, &told("m20")).await;
    }
    let after = works().await;
    assert_eq!((before.difference(&after).count(), after.difference(&before).count()), (2, 2));
    // One cluster: its works, and no other.
    let edge2 = ObjectName::cluster("edge2");
    let _: PartialObject = p.its.patch(&MANAGED_CLUSTERS, &edge2, &label("location-group", json!(null))).await.unwrap();
    p.works("edge2", "").await;
    let left = works().await;
    assert_eq!((after.difference(&left).count(), left.difference(&after).count()), (objects.len(), 0));
    // A status of an object is none of its content.
    let maps = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
    let returned = label(api::control::SINGLETON_STATUS_LABEL, json!("true"));
    let touched: Object = p.wds.patch(&maps, &ObjectName::namespaced("default", "m11"), &returned).await.unwrap();
    assert_eq!(touched.name(), "m11");
    apply(&p.wds, &config_map("m12", "web", "2")).await;
    p.works("edge1", &told("m20").replace("m12=1", "m12=2")).await;
    let last = works().await;
    assert_eq!((left.difference(&last).count(), last.difference(&left).count()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_groups_that_are_named_are_workload() {
    let mut p = Pipeline::start(Limits::default()).await;
    p.stop().await;
    p.api_groups = hub::ApiGroups::parse("apps,");
    p.run();
    apply(&p.wds, &policy("web", "")).await;
    let job = "apiVersion: batch/v1
kind: CronJob
metadata: {name: job, namespace: default, labels: {app: web}}
spec: {schedule: \"0 0 * * *\", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}";
    apply(&p.wds, job).await;
    apply(&p.wds, &config_map("conf", "web", "1")).await;
    p.works("edge1", "conf=1").await;
    p.stop().await;
    p.api_groups = hub::ApiGroups::default();
    p.run();
    p.works("edge1", "conf=1 job").await;
}
