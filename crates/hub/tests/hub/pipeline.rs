//! From a policy and an object in a WDS to the works in the mailboxes of an ITS, and statuses on their way back.

use crate::world::*;
use api::control::{BINDING_POLICIES, BINDINGS, POLICY_FINALIZER};
use api::work::{BINDING_LABEL, MANIFEST_WORKS, WDS_LABEL, WORK_STATUSES};
use api::{Object, ObjectName, PartialObject};
use client::{Client, DeleteParams, Patch};
use controller::Shutdown;
use hub::wds::WdsConfig;
use planner::transport::Limits;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::JoinHandle;

/// What an agent says of a work that it has applied.
fn applied(work: &Object) -> Value {
    json!({"status": {"conditions": [{
        "type": "Applied", "status": "True", "reason": "AppliedManifestWorkComplete", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": work.generation(),
    }]}})
}

/// A WDS with what runs beside it, an ITS, and clusters `edge1` and `edge2` labelled `location-group=edge`.
pub(crate) struct Pipeline {
    pub(crate) world: World,
    pub(crate) wds: Client,
    pub(crate) its: Client,
    limits: Limits,
    pub(crate) api_groups: hub::ApiGroups,
    running: Option<(Shutdown, JoinHandle<()>)>,
}

impl Pipeline {
    pub(crate) async fn start(limits: Limits) -> Self {
        let world = World::new(&["wds1", "its1"]);
        let (wds, its) = (world.client("wds1"), world.client("its1"));
        apply(&its, &api::crds::ITS.join("\n---\n")).await;
        for cluster in ["edge1", "edge2"] {
            join(&its, cluster, &json!({"location-group": "edge", "name": cluster})).await;
        }
        let mut pipeline = Self { world, wds, its, limits, api_groups: hub::ApiGroups::default(), running: None };
        pipeline.run();
        until(&pipeline.wds, &NAMESPACES, &ObjectName::cluster("kubestellar-report"), "is there", |o| o.is_some())
            .await;
        pipeline.wds.wait_established("statuscollectors.control.kubestellar.io").await.unwrap();
        pipeline
    }

    pub(crate) fn run(&mut self) {
        let config = WdsConfig {
            name: "wds1".into(),
            wds: self.wds.clone(),
            its: self.its.clone(),
            clock: self.world.clock.clone(),
            limits: self.limits,
            api_groups: self.api_groups.clone(),
        };
        let shutdown = Shutdown::new();
        self.running = Some((shutdown.clone(), tokio::spawn(hub::wds::run(config, shutdown))));
    }

    pub(crate) async fn stop(&mut self) {
        let (shutdown, running) = self.running.take().unwrap();
        shutdown.cancel();
        running.await.unwrap();
    }

    /// Waits until the works of a Binding in a mailbox wrap exactly these objects; returns them.
    #[track_caller]
    pub(crate) fn works(&self, cluster: &str, expected: &str) -> impl Future<Output = Vec<Object>> {
        let what = format!("the works in {cluster} are [{expected}] ({})", std::panic::Location::caller());
        let (wds, its) = (self.wds.clone(), self.its.clone());
        let (cluster, expected) = (cluster.to_owned(), expected.to_owned());
        async move {
            let works: client::Reflector<Object> =
                client::Reflector::start(its, MANIFEST_WORKS, client::Selection::namespace(&*cluster));
            works.synced().await;
            let mut changes = works.subscribe();
            let wait = async {
                loop {
                    let mut names: Vec<String> = works.all().iter().flat_map(|work| wrapped(work)).collect();
                    names.sort();
                    if names.join(" ") == expected {
                        return works.all().iter().map(|work| (**work).clone()).collect();
                    }
                    let _ = changes.next().await;
                }
            };
            match tokio::time::timeout(PATIENCE, wait).await {
                Ok(works) => works,
                Err(_) => {
                    let there: Vec<_> =
                        works.all().iter().map(|work| format!("{} {:?}", work.name(), wrapped(work))).collect();
                    let bindings = all(&wds, &BINDINGS, "").await;
                    let bindings: Vec<_> = bindings
                        .iter()
                        .map(|b| json!([b.0["metadata"]["uid"], b.0["spec"], b.0.get("status")]).to_string())
                        .collect();
                    panic!("not within {PATIENCE:?}: {what}; there are {there:#?}; resolved is {bindings:#?}")
                }
            }
        }
    }

    /// Plays agents that have everything applied at once, as long as the test lasts: a work of which nobody says that it is
    /// applied is nothing that another one hands its objects over to.
    pub(crate) fn play_agents(&self) {
        let its = self.its.clone();
        tokio::spawn(async move {
            let works: client::Reflector<Object> =
                client::Reflector::start(its.clone(), MANIFEST_WORKS, client::Selection::all());
            let mut changes = works.subscribe();
            loop {
                let change = changes.next().await;
                let Some(work) = change.after else { continue };
                let said = work.pointer("/status/conditions/0/observedGeneration").and_then(Value::as_i64);
                if said != Some(work.generation()) {
                    let patch = Patch::Merge(applied(&work));
                    // It may be gone by now.
                    let _ = its.patch_status::<PartialObject>(&MANIFEST_WORKS, &change.name, &patch).await;
                }
            }
        });
    }

    /// Plays the agent: says that every work in the mailbox is applied, and tells a status of each object.
    pub(crate) async fn carry_out(&self, cluster: &str, status: Value) {
        for work in all(&self.its, &MANIFEST_WORKS, cluster).await {
            let applied = Patch::Merge(applied(&work));
            let _: PartialObject = self.its.patch_status(&MANIFEST_WORKS, &work.object_name(), &applied).await.unwrap();
            let object = &work.pointer("/spec/workload/manifests/0").unwrap();
            if object["kind"] != "Deployment" {
                continue;
            }
            let name = object["metadata"]["name"].as_str().unwrap();
            let seen = json!({
                "apiVersion": "control.kubestellar.io/v1alpha1", "kind": "WorkStatus",
                "metadata": {"name": format!("seen-{name}"), "namespace": cluster,
                             "labels": {WDS_LABEL: "wds1", BINDING_LABEL: work.label(BINDING_LABEL).unwrap()}},
                "spec": {"sourceRef": {"group": "apps", "version": "v1", "resource": "deployments", "kind": "Deployment",
                                       "namespace": object["metadata"]["namespace"], "name": name}},
                "status": status,
            });
            let name = ObjectName::namespaced(cluster, format!("seen-{name}"));
            let _: PartialObject = self.its.patch(&WORK_STATUSES, &name, &Patch::apply(seen)).await.unwrap();
            let status = json!({"status": status});
            let _: PartialObject = self.its.patch_status(&WORK_STATUSES, &name, &Patch::Merge(status)).await.unwrap();
        }
    }

    /// Waits until the policy and its Binding say that this is so.
    pub(crate) async fn condition(&self, policy: &str, type_: &'static str, status: &'static str) {
        for resource in [BINDINGS, BINDING_POLICIES] {
            until(&self.wds, &resource, &ObjectName::cluster(policy), &format!("{type_} is {status}"), move |object| {
                let conditions = object.and_then(|object| object.pointer("/status/conditions")?.as_array());
                conditions.is_some_and(|c| c.iter().any(|c| c["type"] == type_ && c["status"] == status))
            })
            .await;
        }
    }
}

/// The objects in a work: `deployments` as `Deployment:web=1`, with what tells contents apart.
pub(crate) fn wrapped(work: &Object) -> Vec<String> {
    let manifests = work.pointer("/spec/workload/manifests").and_then(Value::as_array);
    let one = |manifest: &Value| {
        let content = match manifest["kind"].as_str() {
            Some("Deployment") => format!("={}", manifest["spec"]["replicas"]),
            Some("ConfigMap") => format!("={}", manifest["data"]["v"].as_str().unwrap_or_default()),
            _ => String::new(),
        };
        format!("{}{content}", manifest["metadata"]["name"].as_str().unwrap())
    };
    manifests.into_iter().flatten().map(one).collect()
}

pub(crate) fn policy(name: &str, more: &str) -> String {
    format!(
        "apiVersion: control.kubestellar.io/v1alpha1
kind: BindingPolicy
metadata: {{name: {name}}}
spec:
  clusterSelectors:
  - matchLabels: {{location-group: edge}}
  downsync:
  - objectSelectors:
    - matchLabels: {{app: {name}}}
{more}"
    )
}

pub(crate) fn config_map(name: &str, app: &str, value: &str) -> String {
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}, namespace: default, labels: {{app: {app}}}}}
data: {{v: \"{value}\"}}"
    )
}

fn deployment(name: &str, app: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: default, labels: {{app: {app}}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: main, image: nginx}}]}}"
    )
}

pub(crate) fn label(name: &str, value: Value) -> Patch {
    Patch::Merge(json!({"metadata": {"labels": {name: value}}}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_goes_where_its_policy_says() {
    let p = Pipeline::start(Limits::default()).await;
    // Policy first, then workload.
    apply(&p.wds, &policy("web", "")).await;
    apply(&p.wds, &deployment("web", "web", 1)).await;
    for cluster in ["edge1", "edge2"] {
        let works = p.works(cluster, "web=1").await;
        assert_eq!((works[0].label(BINDING_LABEL), works[0].label(WDS_LABEL)), (Some("web"), Some("wds1")));
        let binding: Object = p.wds.get(&BINDINGS, &ObjectName::cluster("web")).await.unwrap();
        let object: Object = p.wds.get(&DEPLOYMENTS, &ObjectName::namespaced("default", "web")).await.unwrap();
        assert_eq!(works[0].name(), format!("{}-wds1-{}", binding.uid(), object.uid()));
        assert_eq!(works[0].pointer("/spec/workload/manifests/0/metadata/uid"), None);
    }
    // Workload first, then policy.
    apply(&p.wds, &config_map("conf", "conf", "1")).await;
    apply(&p.wds, &policy("conf", "")).await;
    p.works("edge1", "conf=1 web=1").await;
    // An edit, and labels that come and go on objects and clusters.
    apply(&p.wds, &config_map("conf", "conf", "2")).await;
    p.works("edge1", "conf=2 web=1").await;
    p.works("edge2", "conf=2 web=1").await;
    let web = ObjectName::namespaced("default", "web");
    let _: PartialObject = p.wds.patch(&DEPLOYMENTS, &web, &label("app", json!("conf"))).await.unwrap();
    p.works("edge1", "conf=2 web=1").await;
    let edge2 = ObjectName::cluster("edge2");
    let _: PartialObject = p.its.patch(&MANAGED_CLUSTERS, &edge2, &label("location-group", json!(null))).await.unwrap();
    p.works("edge2", "").await;
    let _: PartialObject =
        p.its.patch(&MANAGED_CLUSTERS, &edge2, &label("location-group", json!("edge"))).await.unwrap();
    p.works("edge2", "conf=2 web=1").await;
    // An object that goes, and a policy that goes with its finalizers.
    p.wds.delete(&DEPLOYMENTS, &web, &DeleteParams::default()).await.unwrap();
    p.works("edge1", "conf=2").await;
    p.wds.delete(&BINDING_POLICIES, &ObjectName::cluster("conf"), &DeleteParams::default()).await.unwrap();
    p.works("edge1", "").await;
    p.works("edge2", "").await;
    until(&p.wds, &BINDINGS, &ObjectName::cluster("conf"), "is gone", |object| object.is_none()).await;
    until(&p.wds, &BINDING_POLICIES, &ObjectName::cluster("conf"), "is gone", |object| object.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_and_singleton_status_return() {
    let p = Pipeline::start(Limits::default()).await;
    apply(&p.wds, &policy("web", "    wantSingletonReportedState: true")).await;
    apply(&p.wds, &deployment("web", "web", 1)).await;
    p.works("edge1", "web=1").await;
    p.works("edge2", "web=1").await;
    p.condition("web", "Synced", "True").await;
    p.condition("web", "Ready", "False").await;
    let policy_name = ObjectName::cluster("web");
    until(&p.wds, &BINDING_POLICIES, &policy_name, "complains of two clusters", |object| {
        let errors = object.and_then(|object| object.pointer("/status/errors/0")?.as_str().map(str::to_owned));
        errors.is_some_and(|error| error.starts_with("Singleton reported status") && error.contains("\"NumWECs\":2"))
    })
    .await;
    p.carry_out("edge1", json!({"readyReplicas": 1})).await;
    p.carry_out("edge2", json!({"readyReplicas": 1})).await;
    p.condition("web", "Ready", "True").await;
    // One cluster is left: its status shows.
    let _: PartialObject = p
        .its
        .patch(&MANAGED_CLUSTERS, &ObjectName::cluster("edge2"), &label("location-group", json!(null)))
        .await
        .unwrap();
    let web = ObjectName::namespaced("default", "web");
    until(&p.wds, &DEPLOYMENTS, &web, "shows the status", |object| {
        object.is_some_and(|object| {
            object.pointer("/status/readyReplicas") == Some(&json!(1))
                && object.label("managed-by.kubestellar.io/singletonstatus") == Some("true")
        })
    })
    .await;
    until(&p.wds, &BINDING_POLICIES, &policy_name, "complains no more", |object| {
        object.is_some_and(|object| object.pointer("/status/errors").is_none())
    })
    .await;
    let binding: Object = p.wds.get(&BINDINGS, &policy_name).await.unwrap();
    // The next status moves the object, and neither the Binding nor the work.
    let before = p.works("edge1", "web=1").await[0].resource_version().to_owned();
    let told = json!({"status": {"readyReplicas": 3}});
    let seen = ObjectName::namespaced("edge1", "seen-web");
    let _: PartialObject = p.its.patch_status(&WORK_STATUSES, &seen, &Patch::Merge(told)).await.unwrap();
    until(&p.wds, &DEPLOYMENTS, &web, "shows the next status", |object| {
        object.is_some_and(|object| object.pointer("/status/readyReplicas") == Some(&json!(3)))
    })
    .await;
    // A status that somebody writes over is put back.
    let _: PartialObject =
        p.wds.patch_status(&DEPLOYMENTS, &web, &Patch::Merge(json!({"status": {"readyReplicas": 9}}))).await.unwrap();
    until(&p.wds, &DEPLOYMENTS, &web, "shows the status again", |object| {
        object.is_some_and(|object| object.pointer("/status/readyReplicas") == Some(&json!(3)))
    })
    .await;
    let again: Object = p.wds.get(&BINDINGS, &policy_name).await.unwrap();
    assert_eq!(binding.generation(), again.generation());
    assert_eq!(p.works("edge1", "web=1").await[0].resource_version(), before);
    // Nobody asks any more: the status is cleared.
    p.wds.delete(&BINDING_POLICIES, &policy_name, &DeleteParams::default()).await.unwrap();
    until(&p.wds, &DEPLOYMENTS, &web, "shows no status", |object| {
        object.is_some_and(|object| {
            object.pointer("/status/readyReplicas").is_none()
                && object.label("managed-by.kubestellar.io/singletonstatus").is_none()
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_writes_nothing() {
    let mut p = Pipeline::start(Limits::default()).await;
    apply(&p.wds, &policy("web", "    wantSingletonReportedState: true")).await;
    apply(&p.wds, "apiVersion: control.kubestellar.io/v1alpha1\nkind: CustomTransform\nmetadata: {name: t}\nspec: {apiGroup: \"\", resource: configmaps, remove: [$.immutable]}").await;
    apply(&p.wds, &deployment("web", "web", 1)).await;
    apply(&p.wds, &config_map("conf", "web", "1")).await;
    let _: PartialObject = p
        .its
        .patch(&MANAGED_CLUSTERS, &ObjectName::cluster("edge2"), &label("location-group", json!(null)))
        .await
        .unwrap();
    p.works("edge1", "conf=1 web=1").await;
    p.works("edge2", "").await;
    p.carry_out("edge1", json!({"readyReplicas": 1})).await;
    let web = ObjectName::namespaced("default", "web");
    until(&p.wds, &DEPLOYMENTS, &web, "shows the status", |object| {
        object.is_some_and(|object| object.pointer("/status/readyReplicas") == Some(&json!(1)))
    })
    .await;
    p.condition("web", "Ready", "True").await;
    p.stop().await;
    let before = p.world.versions(&["wds1", "its1"]);
    p.run();
    // Something new gets through after the restart, down and up; by then all else has been looked at.
    apply(&p.wds, &policy("marker", "    wantSingletonReportedState: true")).await;
    apply(&p.wds, &deployment("marker", "marker", 1)).await;
    p.works("edge1", "conf=1 marker=1 web=1").await;
    p.condition("marker", "Ready", "False").await;
    let after = p.world.versions(&["wds1", "its1"]);
    let moved: Vec<_> = before.iter().filter(|(key, version)| after.get(*key) != Some(version)).collect();
    assert!(moved.is_empty(), "written by a restart: {moved:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_is_kept_as_sent() {
    let p = Pipeline::start(Limits::default()).await;
    p.play_agents();
    apply(&p.wds, &policy("web", "    createOnly: true")).await;
    apply(&p.wds, &config_map("conf", "web", "1")).await;
    let work = p.works("edge1", "conf=1").await.remove(0);
    assert_eq!(work.pointer("/spec/manifestConfigs/0/updateStrategy/type"), Some(&json!("CreateOnly")));
    // Somebody edits it, somebody deletes it.
    let edit = json!([{"op": "replace", "path": "/spec/workload/manifests/0/data/v", "value": "mine"}]);
    let edited: Object = p.its.patch(&MANIFEST_WORKS, &work.object_name(), &Patch::Json(edit)).await.unwrap();
    assert_eq!(wrapped(&edited), ["conf=mine"]);
    p.works("edge1", "conf=1").await;
    p.its.delete(&MANIFEST_WORKS, &work.object_name(), &DeleteParams::only(work.uid())).await.unwrap();
    until(&p.its, &MANIFEST_WORKS, &work.object_name(), "is made again", {
        let uid = work.uid().to_owned();
        move |object| object.is_some_and(|object| object.uid() != uid)
    })
    .await;
    // A transform that comes and goes.
    apply(&p.wds, "apiVersion: control.kubestellar.io/v1alpha1\nkind: CustomTransform\nmetadata: {name: t}\nspec: {apiGroup: \"\", resource: configmaps, remove: [$.data.v, x]}").await;
    p.works("edge1", "conf=").await;
    let transform = ObjectName::cluster("t");
    until(&p.wds, &api::control::CUSTOM_TRANSFORMS, &transform, "is told what is wrong", |object| {
        object.is_some_and(|object| object.pointer("/status/errors/0").is_some())
    })
    .await;
    p.wds.delete(&api::control::CUSTOM_TRANSFORMS, &transform, &DeleteParams::default()).await.unwrap();
    p.works("edge1", "conf=1").await;
    // The Binding is edited and deleted.
    let binding = ObjectName::cluster("web");
    let edit = json!({"spec": {"destinations": []}});
    let _: PartialObject = p.wds.patch(&BINDINGS, &binding, &Patch::Merge(edit)).await.unwrap();
    until(&p.wds, &BINDINGS, &binding, "has its clusters again", |object| {
        object.is_some_and(|object| object.pointer("/spec/destinations/1").is_some())
    })
    .await;
    p.works("edge1", "conf=1").await;
    let held: Object = p.wds.get(&BINDINGS, &binding).await.unwrap();
    p.wds.delete(&BINDINGS, &binding, &DeleteParams::only(held.uid())).await.unwrap();
    until(&p.wds, &BINDINGS, &binding, "is made again", move |object| object.is_some_and(|o| o.uid() != held.uid()))
        .await;
    let works = p.works("edge1", "conf=1").await;
    assert_eq!(works.len(), 1);
    let asked: Object = p.wds.get(&BINDING_POLICIES, &binding).await.unwrap();
    assert_eq!(asked.finalizers(), [POLICY_FINALIZER]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_namespaces_and_errors() {
    let p = Pipeline::start(Limits { max_objects: 2, max_bytes: 2000 }).await;
    // A kind that comes later, selected through its namespace.
    apply(
        &p.wds,
        "apiVersion: control.kubestellar.io/v1alpha1
kind: BindingPolicy
metadata: {name: things}
spec:
  clusterSelectors: [{matchLabels: {name: edge1}}, {matchExpressions: [{key: x, operator: In}]}]
  downsync:
  - resources: [things, configmaps]
    objectNames: [a, b, c, big]
    namespaceSelectors: [{matchLabels: {tier: gold}}]",
    )
    .await;
    p.condition("things", "Synced", "False").await;
    apply(
        &p.wds,
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.io}
spec:
  group: example.io
  scope: Namespaced
  names: {kind: Thing, plural: things, singular: thing, listKind: ThingList}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
  - {name: v1beta1, served: true, storage: false, schema: {openAPIV3Schema: {type: object}}}
---
apiVersion: example.io/v1
kind: Thing
metadata: {name: a, namespace: default}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b, namespace: default}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: default}",
    )
    .await;
    let namespace = ObjectName::cluster("default");
    let _: PartialObject = p.wds.patch(&NAMESPACES, &namespace, &label("tier", json!("gold"))).await.unwrap();
    let works = p.works("edge1", "a b= c=").await;
    assert_eq!(works.len(), 2, "two by two");
    // One that is too large is told, and holds up nobody.
    let big = "x".repeat(3000);
    apply(&p.wds, &config_map("big", "x", &big)).await;
    apply(&p.wds, &config_map("b", "x", "2")).await;
    p.works("edge1", "a b=2 c=").await;
    until(&p.wds, &BINDING_POLICIES, &ObjectName::cluster("things"), "says what is wrong", |object| {
        let errors =
            object.and_then(|object| object.pointer("/status/errors").cloned()).unwrap_or_default().to_string();
        errors.contains("clusterSelectors[1]") && errors.contains("configmaps default/big is not sent")
    })
    .await;
    // The kind goes again.
    let crds =
        api::Resource::cluster("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition");
    p.wds.delete(&crds, &ObjectName::cluster("things.example.io"), &DeleteParams::default()).await.unwrap();
    p.works("edge1", "b=2 c=").await;
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// What should be: objects with their policy and value, clusters that are chosen.
#[derive(Default)]
struct Expected {
    objects: BTreeMap<String, (String, String)>,
    policies: BTreeSet<String>,
    chosen: BTreeSet<String>,
}

impl Expected {
    fn works(&self, cluster: &str) -> String {
        let wanted = self.objects.iter().filter(|(_, (policy, _))| self.policies.contains(policy));
        let names = wanted.map(|(name, (_, value))| format!("{name}={value}"));
        if self.chosen.contains(cluster) { names.collect::<Vec<_>>().join(" ") } else { String::new() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_the_mailboxes_follow() {
    let mut p = Pipeline::start(Limits::default()).await;
    p.play_agents();
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut expected = Expected { chosen: ["edge1", "edge2"].map(String::from).into(), ..Expected::default() };
    for round in 0..8 {
        for _ in 0..25 {
            let (name, app) = (format!("m{}", dice.roll(6)), ["p", "q"][dice.roll(2)].to_owned());
            match dice.roll(8) {
                0..=3 => {
                    let value = dice.roll(1000).to_string();
                    apply(&p.wds, &config_map(&name, &app, &value)).await;
                    expected.objects.insert(name, (app, value));
                }
                4 => {
                    if expected.objects.remove(&name).is_some() {
                        let name = ObjectName::namespaced("default", name);
                        let maps = api::Resource::namespaced("", "v1", "configmaps", "ConfigMap");
                        p.wds.delete(&maps, &name, &DeleteParams::default()).await.unwrap();
                    }
                }
                5 => {
                    let cluster = format!("edge{}", dice.roll(2) + 1);
                    let chosen = !expected.chosen.remove(&cluster);
                    let value = if chosen { json!("edge") } else { json!("core") };
                    let patch = label("location-group", value);
                    let _: PartialObject =
                        p.its.patch(&MANAGED_CLUSTERS, &ObjectName::cluster(&*cluster), &patch).await.unwrap();
                    if chosen {
                        expected.chosen.insert(cluster);
                    }
                }
                6 => {
                    let cluster_name = ObjectName::cluster(&*app);
                    if expected.policies.remove(&app) {
                        p.wds.delete(&BINDING_POLICIES, &cluster_name, &DeleteParams::default()).await.unwrap();
                        // It goes once its Binding has; only then can one of that name be made anew.
                        until(&p.wds, &BINDING_POLICIES, &cluster_name, "is gone", |object| object.is_none()).await;
                    } else {
                        apply(&p.wds, &policy(&app, "")).await;
                        expected.policies.insert(app);
                    }
                }
                _ => {
                    let works = all(&p.its, &MANIFEST_WORKS, "edge1").await;
                    if let Some(work) = works.get(dice.roll(works.len().max(1))) {
                        // It may go by itself at the same time.
                        let _ = p.its.delete(&MANIFEST_WORKS, &work.object_name(), &DeleteParams::default()).await;
                    }
                }
            }
        }
        if round % 3 == 2 {
            p.stop().await;
            p.run();
        }
        for cluster in ["edge1", "edge2"] {
            p.works(cluster, &expected.works(cluster)).await;
        }
    }
}

/// The text of a ConfigMap in the work of a mailbox.
async fn sent_text(p: &Pipeline, cluster: &str, expected: &'static str) {
    let work = p.works(cluster, "m=").await.remove(0);
    until(&p.its, &MANIFEST_WORKS, &work.object_name(), expected, move |work| {
        let text = work.and_then(|work| work.pointer("/spec/workload/manifests/0/data/a"));
        text.is_some_and(|text| text == expected)
    })
    .await;
}

/// Defects F and G of the original: changes of properties are followed, and an error keeps what was sent.
#[tokio::test]
async fn text_is_expanded_for_each_cluster_and_follows_its_properties() {
    let p = Pipeline::start(Limits::default()).await;
    let object = |text: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m, namespace: default, labels: {{app: m}}, annotations: {{control.kubestellar.io/expand-templates: \"true\"}}}}\ndata: {{a: '{text}'}}"
        )
    };
    apply(&p.wds, &object("on {{.clusterName}}")).await;
    apply(&p.wds, "apiVersion: control.kubestellar.io/v1alpha1\nkind: BindingPolicy\nmetadata: {name: t}\nspec: {clusterSelectors: [{matchLabels: {location-group: edge}}], downsync: [{apiGroup: \"\", resources: [configmaps], objectSelectors: [{matchLabels: {app: m}}]}]}").await;
    sent_text(&p, "edge1", "on edge1").await;
    sent_text(&p, "edge2", "on edge2").await;
    // One cluster lacks the property: it keeps what it has, and the policy says so.
    apply(&p.its, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: edge1, namespace: customization-properties}\ndata: {region: north}").await;
    apply(&p.wds, &object("in {{.region}}")).await;
    sent_text(&p, "edge1", "in north").await;
    until(&p.wds, &BINDING_POLICIES, &ObjectName::cluster("t"), "tells the error", |policy| {
        let errors = policy.and_then(|policy| policy.pointer("/status/errors"));
        errors.is_some_and(|errors| errors.to_string().contains("map has no entry for key"))
    })
    .await;
    sent_text(&p, "edge2", "on edge2").await;
    // A property that comes or changes is followed, without a change of the Binding.
    apply(&p.its, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: edge2, namespace: customization-properties}\ndata: {region: south}").await;
    sent_text(&p, "edge2", "in south").await;
    apply(&p.its, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: edge1, namespace: customization-properties}\ndata: {region: east}").await;
    sent_text(&p, "edge1", "in east").await;
    p.condition("t", "Synced", "True").await;
}
