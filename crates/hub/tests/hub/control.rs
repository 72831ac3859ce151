//! What users are told of their policies, and what they can say of how things are removed, shared and taken over.

use crate::pipeline::{Pipeline, config_map, policy, wrapped};
use crate::world::*;
use api::control::{BINDING_POLICIES, BINDINGS};
use api::work::MANIFEST_WORKS;
use api::{Object, ObjectName, PartialObject, Resource};
use client::{Client, DeleteParams, Patch};
use controller::Shutdown;
use hub::wds::WdsConfig;
use planner::transport::Limits;
use serde_json::{Value, json};

const EVENTS: Resource = Resource::namespaced("events.k8s.io", "v1", "events", "Event");

/// Waits for an Event about a policy; gives its note.
async fn event(wds: &Client, policy: &'static str, reason: &'static str) -> String {
    let events: client::Reflector<Object> =
        client::Reflector::start(wds.clone(), EVENTS, client::Selection::namespace("default"));
    events.synced().await;
    let mut changes = events.subscribe();
    let text = |event: &Object, path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let wait = async {
        loop {
            let all = events.all();
            let about = all.iter().find(|event| {
                text(event, "/regarding/name") == policy
                    && text(event, "/regarding/kind") == "BindingPolicy"
                    && text(event, "/reason") == reason
            });
            if let Some(event) = about {
                return text(event, "/note");
            }
            let _ = changes.next().await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(note) => note,
        Err(_) => panic!("no Event {reason} about {policy} within {PATIENCE:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_announce_what_happens_to_them() {
    let p = Pipeline::start(Limits::default()).await;
    apply(
        &p.wds,
        "apiVersion: control.kubestellar.io/v1alpha1
kind: BindingPolicy
metadata: {name: web}
spec:
  clusterSelectors: [{matchLabels: {name: edge1}}]
  downsync: [{resources: [configmaps, \"*\"], objectNames: [conf]}]",
    )
    .await;
    apply(&p.wds, &config_map("conf", "web", "1")).await;
    p.works("edge1", "conf=1").await;
    p.carry_out("edge1", Value::Null).await;
    assert_eq!(event(&p.wds, "web", "Ready").await, "Every cluster has applied its part");
    let remark = event(&p.wds, "web", "Problem").await;
    assert!(remark.contains("spec.downsync[0].resources has `*` beside names"), "{remark}");
}

/// What a policy says is wrong, once that is so.
async fn errors(wds: &Client, policy: &str, synced: &'static str, holds: fn(&str) -> bool) {
    until(wds, &BINDING_POLICIES, &ObjectName::cluster(policy), "says what is wrong", move |object| {
        let status = |object: &Object| {
            let conditions = object.pointer("/status/conditions")?.as_array()?.clone();
            let condition = conditions.into_iter().find(|c| c["type"] == "Synced" && c["status"] == synced);
            condition.map(|_| object.pointer("/status/errors").map(Value::to_string).unwrap_or_default())
        };
        object.and_then(status).is_some_and(|errors| holds(&errors))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_wdses_the_older_work_decides_and_hands_over() {
    let p = Pipeline::start(Limits::default()).await;
    p.world.server.create_space(&"wds2".into()).unwrap();
    let wds2 = p.world.client("wds2");
    let shutdown = Shutdown::new();
    let config = WdsConfig {
        name: "wds2".into(),
        wds: wds2.clone(),
        its: p.its.clone(),
        clock: p.world.clock.clone(),
        limits: Limits::default(),
        api_groups: hub::ApiGroups::default(),
    };
    let running = tokio::spawn(hub::wds::run(config, shutdown.clone()));
    wds2.wait_established("bindingpolicies.control.kubestellar.io").await.unwrap();

    apply(&p.wds, &policy("web", "")).await;
    apply(&p.wds, &config_map("conf", "web", "1")).await;
    p.works("edge1", "conf=1").await;
    p.works("edge2", "conf=1").await;
    apply(&wds2, &policy("other", "")).await;
    apply(&wds2, &config_map("conf", "other", "2")).await;
    let works = p.works("edge1", "conf=1 conf=2").await;
    let strategy = |works: &[Object], of: &str| {
        let work = works.iter().find(|work| wrapped(work) == [of]).unwrap();
        work.pointer("/spec/manifestConfigs/0/updateStrategy/type").cloned()
    };
    assert_eq!((strategy(&works, "conf=1"), strategy(&works, "conf=2")), (None, Some(json!("CreateOnly"))));
    errors(&wds2, "other", "False", |errors| {
        errors.contains("ConfigMap default/conf in cluster edge1 is as Binding web of WDS wds1 asks")
    })
    .await;
    errors(&p.wds, "web", "True", |errors| {
        errors.contains("ConfigMap default/conf in cluster edge2 is also asked for by Binding other of WDS wds2")
    })
    .await;

    // The older one stays until the younger one is applied, whatever its policy does; then the younger one takes over, and
    // nobody complains.
    p.wds.delete(&BINDING_POLICIES, &ObjectName::cluster("web"), &DeleteParams::default()).await.unwrap();
    until(&p.wds, &BINDINGS, &ObjectName::cluster("web"), "is gone", |object| object.is_none()).await;
    p.works("edge1", "conf=1 conf=2").await;
    p.play_agents();
    for cluster in ["edge1", "edge2"] {
        let left = p.works(cluster, "conf=2").await.remove(0);
        until(&p.its, &MANIFEST_WORKS, &left.object_name(), "decides", |object| {
            object.is_some_and(|work| work.pointer("/spec/manifestConfigs/0").is_none())
        })
        .await;
    }
    errors(&wds2, "other", "True", str::is_empty).await;
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_that_share_an_object_disagree_only_about_how_it_is_handled() {
    let p = Pipeline::start(Limits::default()).await;
    let other = |create_only: bool| {
        let mut text = "apiVersion: control.kubestellar.io/v1alpha1
kind: BindingPolicy
metadata: {name: other}
spec:
  clusterSelectors: [{matchLabels: {location-group: edge}}]
  downsync: [{resources: [configmaps], objectNames: [conf]"
            .to_owned();
        text.push_str(if create_only { ", createOnly: true}]" } else { "}]" });
        text
    };
    apply(&p.wds, &policy("web", "")).await;
    apply(&p.wds, &config_map("conf", "web", "1")).await;
    p.works("edge1", "conf=1").await;
    apply(&p.wds, &other(false)).await;
    p.works("edge1", "conf=1 conf=1").await;
    errors(&p.wds, "other", "True", str::is_empty).await;
    apply(&p.wds, &other(true)).await;
    errors(&p.wds, "other", "False", |errors| errors.contains("is as Binding web of WDS wds1 asks")).await;
    // An edit is sent by both, and applied by the one that decides.
    apply(&p.wds, &config_map("conf", "web", "2")).await;
    p.works("edge1", "conf=2 conf=2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_beyond_the_budget_waits_for_its_confirmation() {
    let mut p = Pipeline::start(Limits::default()).await;
    let name = ObjectName::cluster("web");
    let maps = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
    apply(&p.wds, &policy("web", "")).await;
    let annotate = |key: &str, value: Value| Patch::Merge(json!({"metadata": {"annotations": {key: value}}}));
    let budget = annotate(planner::binding::BUDGET_ANNOTATION, json!("objects=0"));
    let _: PartialObject = p.wds.patch(&BINDING_POLICIES, &name, &budget).await.unwrap();
    apply(&p.wds, &config_map("a", "web", "1")).await;
    apply(&p.wds, &config_map("b", "web", "1")).await;
    p.works("edge1", "a=1 b=1").await;
    p.wds.delete(&maps, &ObjectName::namespaced("default", "a"), &DeleteParams::default()).await.unwrap();
    errors(&p.wds, "web", "False", |errors| errors.contains("1 object (configmaps default/a)")).await;
    let note = event(&p.wds, "web", "NotSynced").await;
    apply(&p.wds, &config_map("b", "web", "2")).await;
    p.works("edge2", "a=1 b=2").await;
    // Nor does a restart remove it.
    p.stop().await;
    p.run();
    apply(&p.wds, &config_map("c", "web", "1")).await;
    p.works("edge1", "a=1 b=2 c=1").await;
    let token = note.split_once(&format!("{}=", planner::binding::CONFIRM_ANNOTATION)).unwrap().1;
    let token = token.split_whitespace().next().unwrap();
    let confirm = annotate(planner::binding::CONFIRM_ANNOTATION, json!(token));
    let _: PartialObject = p.wds.patch(&BINDING_POLICIES, &name, &confirm).await.unwrap();
    p.works("edge1", "b=2 c=1").await;
    p.works("edge2", "b=2 c=1").await;
    errors(&p.wds, "web", "True", str::is_empty).await;
    until(&p.wds, &BINDING_POLICIES, &name, "has no confirmation any more", |object| {
        object.is_some_and(|policy| policy.annotation(planner::binding::CONFIRM_ANNOTATION).is_none())
    })
    .await;
    // The end of the policy waits too.
    p.wds.delete(&BINDING_POLICIES, &name, &DeleteParams::default()).await.unwrap();
    errors(&p.wds, "web", "False", |errors| errors.contains("2 objects")).await;
    p.works("edge1", "b=2 c=1").await;
    let no_budget = annotate(planner::binding::BUDGET_ANNOTATION, Value::Null);
    let _: PartialObject = p.wds.patch(&BINDING_POLICIES, &name, &no_budget).await.unwrap();
    p.works("edge1", "").await;
    until(&p.wds, &BINDING_POLICIES, &name, "is gone", |object| object.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clauses_say_how_objects_are_handled_in_clusters() {
    let p = Pipeline::start(Limits::default()).await;
    apply(&p.wds, &policy("web", "    takeOver: IfNoDiff\n    orphanOnRemoval: true")).await;
    apply(&p.wds, &config_map("conf", "web", "1")).await;
    let work = p.works("edge1", "conf=1").await.remove(0);
    assert_eq!(work.pointer("/spec/manifestConfigs/0/updateStrategy/type"), Some(&json!("ServerSideApply")));
    assert_eq!(work.pointer("/spec/deleteOption/propagationPolicy"), Some(&json!("SelectivelyOrphan")));
    apply(&p.wds, &policy("web", "    readOnly: true")).await;
    until(&p.its, &MANIFEST_WORKS, &work.object_name(), "only looks", |work| {
        work.is_some_and(|work| {
            work.pointer("/spec/manifestConfigs/0/updateStrategy/type") == Some(&json!("ReadOnly"))
                && work.pointer("/spec/deleteOption").is_none()
        })
    })
    .await;
}
