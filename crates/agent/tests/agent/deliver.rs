//! Works: what is sent is done, stays so, changes, is seen, and goes.

use crate::world::{CLUSTER, World, is, until};
use api::work::{APPLIED_MANIFEST_WORKS, MANIFEST_WORKS, WORK_STATUSES};
use api::{Object, ObjectName, Resource};
use client::{DeleteParams, ListParams, Patch};
use serde_json::{Value, json};

const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
const DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "deployments", "Deployment");
const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");
const SERVICE_ACCOUNTS: Resource = Resource::namespaced("", "v1", "serviceaccounts", "ServiceAccount");

fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"},
        "data": {"k": value}})
}

fn deployment(replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "app"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx"}]}}}})
}

async fn send(world: &World, name: &str, manifests: &[Value]) {
    let work = json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": {"name": name, "namespace": CLUSTER, "labels": {"transport.kubestellar.io/originWdsName": "wds1"}},
        "spec": {"workload": {"manifests": manifests}},
    });
    world.its.create::<Object>(&MANIFEST_WORKS, CLUSTER, &work).await.unwrap();
}

async fn edit(world: &World, name: &str, manifests: &[Value]) {
    let patch = Patch::Merge(json!({"spec": {"workload": {"manifests": manifests}}}));
    world.its.patch::<Object>(&MANIFEST_WORKS, &ObjectName::namespaced(CLUSTER, name), &patch).await.unwrap();
}

async fn until_work(world: &World, name: &str, what: &str, holds: impl Fn(&Object) -> bool + Send + Sync + 'static) {
    let name = ObjectName::namespaced(CLUSTER, name);
    until(&world.its, &MANIFEST_WORKS, &name, what, move |work| work.is_some_and(&holds)).await;
}

/// Applied, at the present generation.
fn is_done(work: &Object) -> bool {
    let applied = work.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let now = |held: &Value| held["type"] == "Applied" && held["observedGeneration"] == work.generation();
    is(work, "Applied") && is(work, "Available") && applied.into_iter().any(now)
}

fn data(object: Option<&Object>) -> Option<&str> {
    object?.pointer("/data/k")?.as_str()
}

async fn until_data(world: &World, name: &str, value: &'static str) {
    let name = ObjectName::namespaced("default", name);
    until(&world.wec, &CONFIG_MAPS, &name, value, move |object| data(object) == Some(value)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_is_done_kept_changed_and_removed() {
    let world = World::new().await;
    let _agent = world.joined().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "app"}});
    // In an order in which it could not be applied.
    send(&world, "w", &[deployment(2), config_map("a", "1"), namespace.clone()]).await;
    until_work(&world, "w", "is done", is_done).await;
    let name = ObjectName::namespaced("app", "web");
    let live: Object = world.wec.get(&DEPLOYMENTS, &name).await.unwrap();
    assert_eq!(live.owner_references()[0].kind, "AppliedManifestWork");
    let applied =
        &world.wec.list::<Object>(&APPLIED_MANIFEST_WORKS, "", &ListParams::default()).await.unwrap().items[0];
    let applied_name = ObjectName::cluster(applied.name());
    assert!(applied.name().ends_with("-w") && applied.name().len() == 66, "{}", applied.name());
    until(&world.wec, &APPLIED_MANIFEST_WORKS, &applied_name, "lists three objects", |applied| {
        let listed = applied.and_then(|applied| applied.pointer("/status/appliedResources")).and_then(Value::as_array);
        listed.is_some_and(|listed| listed.len() == 3)
    })
    .await;

    // Drift is repaired, deletion too.
    let drift = Patch::Merge(json!({"data": {"k": "drifted"}}));
    let a = ObjectName::namespaced("default", "a");
    let drifted: Object = world.wec.patch(&CONFIG_MAPS, &a, &drift).await.unwrap();
    until_data(&world, "a", "1").await;
    world.wec.delete(&CONFIG_MAPS, &a, &DeleteParams::default()).await.unwrap();
    let gone = drifted.uid().to_owned();
    until(&world.wec, &CONFIG_MAPS, &a, "is made again", move |object| object.is_some_and(|o| o.uid() != gone)).await;

    // A change arrives, and what is no longer asked goes.
    edit(&world, "w", &[deployment(3), config_map("b", "2"), namespace]).await;
    until_data(&world, "b", "2").await;
    until(&world.wec, &CONFIG_MAPS, &a, "is gone", |object| object.is_none()).await;
    let three = |object: Option<&Object>| object.and_then(|o| o.pointer("/spec/replicas")) == Some(&json!(3));
    until(&world.wec, &DEPLOYMENTS, &name, "has three replicas", three).await;
    until_work(&world, "w", "is done", is_done).await;

    // What is withdrawn leaves nothing.
    let work = ObjectName::namespaced(CLUSTER, "w");
    world.its.delete(&MANIFEST_WORKS, &work, &DeleteParams::default()).await.unwrap();
    until(&world.its, &MANIFEST_WORKS, &work, "is gone", |work| work.is_none()).await;
    let b = ObjectName::namespaced("default", "b");
    until(&world.wec, &CONFIG_MAPS, &b, "is gone", |object| object.is_none()).await;
    until(&world.wec, &DEPLOYMENTS, &name, "is gone", |object| object.is_none()).await;
    until(&world.wec, &NAMESPACES, &ObjectName::cluster("app"), "is gone", |object| object.is_none()).await;
    until(&world.wec, &APPLIED_MANIFEST_WORKS, &applied_name, "is gone", |object| object.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seen_comes_back() {
    let world = World::new().await;
    let _agent = world.joined().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "app"}});
    send(&world, "w", &[namespace, deployment(1), config_map("a", "1")]).await;
    until_work(&world, "w", "is done", is_done).await;
    let name = ObjectName::namespaced("app", "web");
    let status = |ready: i64| Patch::Merge(json!({"status": {"replicas": 1, "readyReplicas": ready}}));
    world.wec.patch_status::<Object>(&DEPLOYMENTS, &name, &status(1)).await.unwrap();
    let live: Object = world.wec.get(&DEPLOYMENTS, &name).await.unwrap();
    let owner = live.owner_references()[0].uid.clone();
    let seen = ObjectName::namespaced(CLUSTER, format!("{owner}-appsv1-deployment-app-web"));
    until(&world.its, &WORK_STATUSES, &seen, "says one is ready", |seen| {
        seen.and_then(|seen| seen.pointer("/status/readyReplicas")) == Some(&json!(1))
    })
    .await;
    let held: Object = world.its.get(&WORK_STATUSES, &seen).await.unwrap();
    assert_eq!(held.label("transport.kubestellar.io/originWdsName"), Some("wds1"));
    assert_eq!(held.owner_references()[0].kind, "ManifestWork");
    assert_eq!(held.pointer("/spec/sourceRef/resource"), Some(&json!("deployments")));
    // What is taken back is taken back there too.
    let less = Patch::Merge(json!({"status": {"readyReplicas": null}}));
    world.wec.patch_status::<Object>(&DEPLOYMENTS, &name, &less).await.unwrap();
    until(&world.its, &WORK_STATUSES, &seen, "says none is ready", |seen| {
        seen.is_some_and(|seen| seen.pointer("/status/readyReplicas").is_none())
    })
    .await;
    let all = world.its.list::<Object>(&WORK_STATUSES, CLUSTER, &ListParams::default()).await.unwrap().items;
    assert!(all.iter().all(|seen| !seen.name().contains("configmap")), "a ConfigMap has no status");
    edit(&world, "w", &[config_map("a", "1")]).await;
    until(&world.its, &WORK_STATUSES, &seen, "is gone", |seen| seen.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_writes_nothing_and_misses_nothing() {
    let world = World::new().await;
    let agent = world.joined().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "app"}});
    send(&world, "w", &[namespace, deployment(2), config_map("a", "1")]).await;
    send(&world, "x", &[config_map("x", "1")]).await;
    send(&world, "y", &[config_map("y", "1")]).await;
    for work in ["w", "x", "y"] {
        until_work(&world, work, "is done", is_done).await;
    }
    let name = ObjectName::namespaced("app", "web");
    let status = Patch::Merge(json!({"status": {"replicas": 2}}));
    let live: Object = world.wec.patch_status(&DEPLOYMENTS, &name, &status).await.unwrap();
    let owner = live.owner_references()[0].uid.clone();
    let seen = ObjectName::namespaced(CLUSTER, format!("{owner}-appsv1-deployment-app-web"));
    until(&world.its, &WORK_STATUSES, &seen, "is told", |seen| {
        seen.is_some_and(|seen| seen.pointer("/status/replicas").is_some())
    })
    .await;
    // What is told and made beside the deliveries must be there as well before the agent stops.
    let owner_of = |object: &Object| object.owner_references()[0].uid.clone();
    let app: Object = world.wec.get(&NAMESPACES, &ObjectName::cluster("app")).await.unwrap();
    let seen = ObjectName::namespaced(CLUSTER, format!("{}-v1-namespace--app", owner_of(&app)));
    until(&world.its, &WORK_STATUSES, &seen, "is told", |seen| {
        seen.is_some_and(|seen| seen.pointer("/status/phase").is_some())
    })
    .await;
    for (resource, name) in [(&SERVICE_ACCOUNTS, "default"), (&CONFIG_MAPS, "kube-root-ca.crt")] {
        until(&world.wec, resource, &ObjectName::namespaced("app", name), "is there", |object| object.is_some()).await;
    }
    agent.stop().await;
    let before = world.versions();

    // The next agent finds one more work and one that is withdrawn, and leaves everything else alone.
    send(&world, "z", &[config_map("z", "1")]).await;
    world.its.delete(&MANIFEST_WORKS, &ObjectName::namespaced(CLUSTER, "y"), &DeleteParams::default()).await.unwrap();
    let agent = world.agent();
    until_work(&world, "z", "is done", is_done).await;
    let y = ObjectName::namespaced("default", "y");
    until(&world.wec, &CONFIG_MAPS, &y, "is gone", |object| object.is_none()).await;
    // A change of w shows that w has been looked at.
    until_idle(&world).await;
    agent.stop().await;
    let after = world.versions();
    let written: Vec<&String> = after
        .iter()
        .filter(|(key, version)| before.get(*key) != Some(*version))
        .map(|(key, _)| key)
        .filter(|key| !key.contains("\"z\"") && !key.contains("-z\"") && !key.contains("events"))
        .collect();
    assert_eq!(written, Vec::<&String>::new());
}

/// Waits until one more drift is repaired: whatever was queued before has been worked on then.
async fn until_idle(world: &World) {
    let a = ObjectName::namespaced("default", "z");
    let drift = Patch::Merge(json!({"data": {"k": "drifted"}}));
    world.wec.patch::<Object>(&CONFIG_MAPS, &a, &drift).await.unwrap();
    until_data(world, "z", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_applied_is_told_and_comes_when_it_can() {
    let world = World::new().await;
    let _agent = world.joined().await;
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"x": 1}});
    let early = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "e", "namespace": "later"},
        "data": {"k": "1"}});
    send(&world, "w", &[thing, early, config_map("a", "1")]).await;
    until_data(&world, "a", "1").await;
    until_work(&world, "w", "says what failed", |work| {
        let manifests = work.pointer("/status/resourceStatus/manifests").and_then(Value::as_array);
        let applied = |manifest: &Value| {
            manifest["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|c| c["type"] == "Applied" && c["status"] == "True")
        };
        manifests.is_some_and(|manifests| manifests.iter().filter(|manifest| applied(manifest)).count() == 1)
            && !is(work, "Applied")
    })
    .await;
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Cluster", "names": {"kind": "Thing", "plural": "things"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"x": {"type": "integer"}}}}}}}]},
    });
    let later = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "later"}});
    send(&world, "needs", &[crd, later]).await;
    until_work(&world, "w", "is done", is_done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strategies_and_feedback() {
    let world = World::new().await;
    let _agent = world.joined().await;
    let maps = |name: &str| json!({"group": "", "resource": "configmaps", "namespace": "default", "name": name});
    let config =
        |name: &str, strategy: &str| json!({"resourceIdentifier": maps(name), "updateStrategy": {"type": strategy}});
    let kept: Object = serde_json::from_value(config_map("looked-at", "theirs")).unwrap();
    world.wec.create::<Object>(&CONFIG_MAPS, "default", &kept).await.unwrap();
    let web = json!({"group": "apps", "resource": "deployments", "namespace": "app", "name": "web"});
    let names = json!([{"name": "Image", "path": ".spec.template.spec.containers[0].image"}]);
    let work = json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": {"name": "w", "namespace": CLUSTER},
        "spec": {
            "workload": {"manifests": [
                config_map("once", "1"), config_map("shared", "1"), config_map("looked-at", "1"),
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "app"}}, deployment(1),
            ]},
            "manifestConfigs": [
                config("once", "CreateOnly"), config("shared", "ServerSideApply"), config("looked-*", "ReadOnly"),
                {"resourceIdentifier": web, "feedbackRules": [{"type": "WellKnownStatus"}, {"type": "JSONPaths", "jsonPaths": names}]},
            ],
        },
    });
    world.its.create::<Object>(&MANIFEST_WORKS, CLUSTER, &work).await.unwrap();
    until_work(&world, "w", "is done", is_done).await;
    let read = async |name: &str| -> Object {
        world.wec.get(&CONFIG_MAPS, &ObjectName::namespaced("default", name)).await.unwrap()
    };
    let looked_at = read("looked-at").await;
    assert_eq!((data(Some(&looked_at)), looked_at.owner_references().len()), (Some("theirs"), 0));

    // What others add to an object that is shared stays.
    let add = Patch::Merge(json!({"data": {"theirs": "2"}}));
    world.wec.patch::<Object>(&CONFIG_MAPS, &ObjectName::namespaced("default", "shared"), &add).await.unwrap();
    let manifests = json!([
        config_map("once", "2"), config_map("shared", "2"), config_map("looked-at", "2"),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "app"}}, deployment(1),
    ]);
    let change = Patch::Merge(json!({"spec": {"workload": {"manifests": manifests}}}));
    let w = ObjectName::namespaced(CLUSTER, "w");
    world.its.patch::<Object>(&MANIFEST_WORKS, &w, &change).await.unwrap();
    until_data(&world, "shared", "2").await;
    until_work(&world, "w", "is done", is_done).await;
    assert_eq!(read("shared").await.pointer("/data/theirs"), Some(&json!("2")));
    assert_eq!(data(Some(&read("once").await)), Some("1"));

    let status = Patch::Merge(json!({"status": {"replicas": 1, "readyReplicas": 1}}));
    world.wec.patch_status::<Object>(&DEPLOYMENTS, &ObjectName::namespaced("app", "web"), &status).await.unwrap();
    until_work(&world, "w", "tells what is asked", |work| {
        let told = work.pointer("/status/resourceStatus/manifests/4/statusFeedback/values").and_then(Value::as_array);
        let told: Vec<&str> = told.into_iter().flatten().filter_map(|value| value["name"].as_str()).collect();
        told == ["ReadyReplicas", "Replicas", "Image"]
    })
    .await;

    // Of what goes, what was only looked at stays, and so does what is to be left.
    let orphan = json!({"deleteOption": {"propagationPolicy": "SelectivelyOrphan", "selectivelyOrphans": {
        "orphaningRules": [maps("shared")]}}});
    world.its.patch::<Object>(&MANIFEST_WORKS, &w, &Patch::Merge(json!({"spec": orphan}))).await.unwrap();
    world.its.delete(&MANIFEST_WORKS, &w, &DeleteParams::default()).await.unwrap();
    until(&world.its, &MANIFEST_WORKS, &w, "is gone", |work| work.is_none()).await;
    let once = ObjectName::namespaced("default", "once");
    until(&world.wec, &CONFIG_MAPS, &once, "is gone", |object| object.is_none()).await;
    assert_eq!(data(Some(&read("looked-at").await)), Some("theirs"));
    assert!(read("shared").await.owner_references().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_moves_from_one_work_to_another_and_stays() {
    let world = World::new().await;
    let _agent = world.joined().await;
    send(&world, "one", &[config_map("a", "1"), config_map("b", "1")]).await;
    send(&world, "other", &[config_map("c", "1")]).await;
    until_work(&world, "one", "is done", is_done).await;
    until_work(&world, "other", "is done", is_done).await;
    let a = ObjectName::namespaced("default", "a");
    edit(&world, "other", &[config_map("c", "1"), config_map("a", "1")]).await;
    edit(&world, "one", &[config_map("b", "1")]).await;
    until(&world.wec, &CONFIG_MAPS, &a, "belongs to the other work only", |object| {
        object.is_some_and(|a| matches!(a.owner_references().as_slice(), [owner] if owner.name.ends_with("-other")))
    })
    .await;
    until_work(&world, "one", "is done", is_done).await;
    until_work(&world, "other", "is done", is_done).await;
    assert_eq!(data(Some(&world.wec.get(&CONFIG_MAPS, &a).await.unwrap())), Some("1"));
}

/// The way from the event of a work to its object is short, and nothing is written twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_few_requests() {
    let world = World::new().await;
    let _agent = world.joined().await;
    send(&world, "first", &[config_map("first", "1")]).await;
    until_work(&world, "first", "is done", is_done).await;
    until_idle_with(&world, "first").await;
    world.take_requests();
    send(&world, "w", &[config_map("a", "1")]).await;
    until_work(&world, "w", "is done", is_done).await;
    edit(&world, "w", &[config_map("a", "2")]).await;
    until_data(&world, "a", "2").await;
    until_work(&world, "w", "is done", is_done).await;
    until_idle_with(&world, "first").await;
    let hash = "/apis/work.open-cluster-management.io/v1/appliedmanifestworks";
    let seen: Vec<String> = world.take_requests().into_iter().filter(|request| !request.contains("/first")).collect();
    let work: Vec<&str> = seen.iter().map(|request| request.as_str()).filter(|r| !r.contains("watch=")).collect();
    assert_eq!(work[..2], [format!("POST {hash}"), "POST /api/v1/namespaces/default/configmaps".into()]);
    assert!(work[2].starts_with("PATCH") && work[2].ends_with("-w/status"), "{work:?}");
    assert_eq!(work[3..], ["PUT /api/v1/namespaces/default/configmaps/a"], "{work:?}");
}

async fn until_idle_with(world: &World, map: &'static str) {
    let name = ObjectName::namespaced("default", map);
    let drift = Patch::Merge(json!({"data": {"k": "drifted"}}));
    world.wec.patch::<Object>(&CONFIG_MAPS, &name, &drift).await.unwrap();
    until_data(world, map, "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_that_vanishes_leaves_its_objects_for_a_while() {
    let world = World::new().await;
    let agent = world.joined().await;
    send(&world, "w", &[config_map("a", "1")]).await;
    until_work(&world, "w", "is done", is_done).await;
    // By somebody who takes finalizers away, while the agent is not there to put them back.
    agent.stop().await;
    let w = ObjectName::namespaced(CLUSTER, "w");
    let force = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    world.its.patch::<Object>(&MANIFEST_WORKS, &w, &force).await.unwrap();
    world.its.delete(&MANIFEST_WORKS, &w, &DeleteParams::default()).await.unwrap();
    let _agent = world.agent();
    let applied = world.wec.list::<Object>(&APPLIED_MANIFEST_WORKS, "", &ListParams::default()).await.unwrap();
    let applied = ObjectName::cluster(applied.items[0].name());
    until(&world.wec, &APPLIED_MANIFEST_WORKS, &applied, "is to be evicted", |applied| {
        applied.is_some_and(|applied| applied.pointer("/status/evictionStartTime").is_some())
    })
    .await;
    let a = ObjectName::namespaced("default", "a");
    let kept: Object = world.wec.get(&CONFIG_MAPS, &a).await.unwrap();
    // The work comes back, and finds its objects.
    send(&world, "w", &[config_map("a", "1")]).await;
    until_work(&world, "w", "is done", is_done).await;
    until(&world.wec, &APPLIED_MANIFEST_WORKS, &applied, "stays", |applied| {
        applied.is_some_and(|applied| applied.pointer("/status/evictionStartTime").is_none())
    })
    .await;
    let again: Object = world.wec.get(&CONFIG_MAPS, &a).await.unwrap();
    assert_eq!(again.uid(), kept.uid());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_made_and_what_is_to_stay() {
    let world = World::new().await;
    let _agent = world.joined().await;
    for (name, value) in [("same", "1"), ("other", "2"), ("never", "1")] {
        world.wec.create::<Object>(&CONFIG_MAPS, "default", &config_map(name, value)).await.unwrap();
    }
    let manifest = |name: &str, key: &str, value: &str| {
        let mut manifest = config_map(name, "1");
        manifest["metadata"]["annotations"] = json!({key: value});
        manifest
    };
    let take_over = api::work::TAKE_OVER_ANNOTATION;
    let manifests = [
        manifest("same", take_over, "IfNoDiff"),
        manifest("other", take_over, "IfNoDiff"),
        manifest("never", take_over, "Never"),
        manifest("new", take_over, "Never"),
        manifest("stays", api::work::ORPHAN_ANNOTATION, "true"),
    ];
    let config = |name: &str| {
        json!({"resourceIdentifier": {"group": "", "resource": "configmaps", "namespace": "default", "name": name},
               "updateStrategy": {"type": "ServerSideApply", "serverSideApply": {}}})
    };
    let configs = ["same", "other", "never", "new"].map(config);
    let work = json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": {"name": "w", "namespace": CLUSTER},
        "spec": {"workload": {"manifests": manifests},
                 "manifestConfigs": configs},
    });
    world.its.create::<Object>(&MANIFEST_WORKS, CLUSTER, &work).await.unwrap();
    until_work(&world, "w", "says what is left alone", |work| {
        let told = work.pointer("/status/resourceStatus/manifests").and_then(Value::as_array).cloned();
        let applied = |at: usize| {
            let conditions = told.as_ref()?.get(at)?["conditions"].as_array()?;
            let applied = conditions.iter().find(|condition| condition["type"] == "Applied")?;
            Some((applied["status"] == "True", applied["message"].as_str()?.to_owned()))
        };
        let said = |at: usize, text: &str| applied(at).is_some_and(|(ok, message)| !ok && message.contains(text));
        [0, 3, 4].iter().all(|at| applied(*at).is_some_and(|(ok, _)| ok))
            && said(1, "takeOver: IfNoDiff")
            && said(2, "takeOver: Never")
    })
    .await;
    let owned = async |name: &str| {
        let object: Object = world.wec.get(&CONFIG_MAPS, &ObjectName::namespaced("default", name)).await.unwrap();
        (!object.owner_references().is_empty(), data(Some(&object)).unwrap().to_owned())
    };
    assert_eq!(owned("same").await, (true, "1".into()));
    assert_eq!(owned("other").await, (false, "2".into()));
    assert_eq!(owned("never").await, (false, "1".into()));
    // It is withdrawn together with its place in the work, and stays.
    edit(&world, "w", &manifests[..1]).await;
    let new = ObjectName::namespaced("default", "new");
    until(&world.wec, &CONFIG_MAPS, &new, "is gone", |object| object.is_none()).await;
    let stays = ObjectName::namespaced("default", "stays");
    until(&world.wec, &CONFIG_MAPS, &stays, "is nobody's", |object| {
        object.is_some_and(|object| object.owner_references().is_empty())
    })
    .await;
    assert_eq!(owned("other").await, (false, "2".into()));
}
