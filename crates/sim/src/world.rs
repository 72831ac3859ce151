//! A WDS, an ITS and some WECs in one process: the real API server, hub and agents, with a user, and faults between them.

use crate::link::{Link, Network};
use crate::oracle::{Facts, Place};
use crate::{Random, time};
use anyhow::{Context, Result, ensure};
use api::cluster::{AVAILABLE, MANAGED_CLUSTERS};
use api::control::BINDING_POLICIES;
use api::work::MANIFEST_WORKS;
use api::{Object, ObjectName, Resource};
use apiserver::Server;
use apiserver::identity::Identity;
use client::{Client, DeleteParams, ListParams, Patch};
use clock::SharedClock;
use controller::Shutdown;
use planner::transport::Limits;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

pub(crate) const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
pub(crate) const DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "deployments", "Deployment");
const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");
pub(crate) static WORKLOAD: [Resource; 2] = [CONFIG_MAPS, DEPLOYMENTS];

/// Where users of a simulation put their objects; the namespaces are in every cluster from the start.
pub(crate) const PLACES: [&str; 2] = ["n1", "n2"];
const WDS: &str = "wds1";
const ITS: &str = "its1";
/// The processes of the hub, beside the agents.
pub(crate) const HUB: &str = "hub";
const INVENTORY: &str = "inventory";

/// The longest wait of anything that is tried again is 30 s: when nothing was written for longer, nothing will be.
const QUIET: Duration = Duration::from_secs(45);
/// How long it may take at most until nothing is written any more.
const PATIENCE: Duration = Duration::from_secs(1800);
/// What happens by itself in the space of a rest.
const TICK: Duration = Duration::from_secs(3);

/// How many keys that should not have been written are told.
const WRITES_TOLD: usize = 5;

/// What a WEC has of an object: its uid, and what tells contents apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) uid: String,
    pub(crate) content: String,
}

/// What all clusters have of the users' objects.
pub(crate) type Delivered = BTreeMap<(String, Place), Seen>;

struct Process {
    life: Shutdown,
    task: JoinHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.life.cancel();
        self.task.abort();
    }
}

pub(crate) struct World {
    server: Server,
    clock: SharedClock,
    pub(crate) network: Arc<Network>,
    processes: BTreeMap<String, Process>,
    controllers: Shutdown,
    /// What users have asked for, as they remember it.
    pub(crate) facts: Facts,
    pub(crate) clusters: Vec<String>,
    limits: Limits,
}

impl Drop for World {
    fn drop(&mut self) {
        self.controllers.cancel();
    }
}

impl World {
    /// The hub runs, and clusters can join.
    pub(crate) async fn new(random: Random, limits: Limits) -> Result<Self> {
        let clock = time::clock();
        let server = Server::open(apiserver::Config {
            engine: store::memory(),
            limits: store::Limits::with_clock(clock.clone()),
            advertised: "https://127.0.0.1:9443".into(),
            serving_authority: String::new(),
            hosting: "hosting".into(),
        })?;
        for space in [WDS, ITS] {
            server.create_space(&space.into())?;
        }
        let controllers = Shutdown::new();
        let (running, end) = (server.clone(), controllers.clone());
        tokio::spawn(async move { running.run_controllers(end).await });
        let facts = Facts::default();
        let network = Network::new(random);
        let processes = BTreeMap::new();
        let clusters = Vec::new();
        let mut world = Self { server, clock, network, processes, controllers, facts, clusters, limits };
        for resource in [NAMESPACES].iter().chain(&WORKLOAD) {
            let key = (resource.group.to_string(), resource.plural.to_string());
            world.facts.versions.insert(key, resource.version.to_string());
        }
        world.start(INVENTORY);
        world.start(HUB);
        world.user(WDS).wait_established("bindingpolicies.control.kubestellar.io").await?;
        world.user(ITS).wait_established("workstatuses.control.kubestellar.io").await?;
        for namespace in PLACES {
            world.put_namespace(namespace, &json!({})).await?;
        }
        Ok(world)
    }

    /// Somebody whom no fault stands in the way of.
    fn user(&self, space: &str) -> Client {
        let network = Network::new(Random::new(0));
        let link = Link {
            server: self.server.clone(),
            space: space.to_owned(),
            process: "user".into(),
            identity: Identity::system("user"),
            network,
            life: Shutdown::new(),
        };
        Client::new(Arc::new(link), "")
    }

    fn link(&self, process: &str, space: &str, identity: Identity, life: &Shutdown) -> Client {
        let link = Link {
            server: self.server.clone(),
            space: space.to_owned(),
            process: process.to_owned(),
            identity,
            network: self.network.clone(),
            life: life.clone(),
        };
        Client::new(Arc::new(link), "")
    }

    // ---- processes ----

    /// Starts the hub's processes, or the agent of a cluster.
    pub(crate) fn start(&mut self, process: &str) {
        let life = Shutdown::new();
        let system = || Identity::system(process);
        let task = match process {
            HUB => {
                let config = hub::wds::WdsConfig {
                    name: WDS.into(),
                    wds: self.link(HUB, WDS, system(), &life),
                    its: self.link(HUB, ITS, system(), &life),
                    clock: self.clock.clone(),
                    limits: self.limits,
                    api_groups: hub::ApiGroups::default(),
                };
                tokio::spawn(hub::wds::run(config, life.clone()))
            }
            INVENTORY => {
                let its = self.link(INVENTORY, ITS, system(), &life);
                let config = hub::its::ItsConfig { its, clock: self.clock.clone(), trusted: Vec::new() };
                tokio::spawn(hub::its::run(config, life.clone()))
            }
            cluster => {
                let (user, groups) = planner::registration::agent_identity(cluster, "a1");
                let member = agent::Member {
                    cluster: cluster.into(),
                    agent_id: "a1".into(),
                    server: format!("https://127.0.0.1:9443/spaces/{ITS}"),
                    hub: self.link(cluster, ITS, Identity::authenticated(user, groups), &life),
                    wec: self.link(cluster, cluster, system(), &life),
                    clock: self.clock.clone(),
                };
                let end = life.clone();
                // What keeps it from starting is a fault that passes: whoever runs it starts it again.
                let again = async move {
                    while agent::run_member(copy(&member), end.clone()).await.is_err() {
                        tokio::time::sleep(TICK).await;
                    }
                };
                tokio::spawn(again)
            }
        };
        self.processes.insert(process.to_owned(), Process { life, task });
    }

    /// Ends a process in the middle of whatever it does.
    pub(crate) fn crash(&mut self, process: &str) {
        self.processes.remove(process);
    }

    /// Has every process run that does not.
    pub(crate) fn start_all(&mut self) {
        let clusters = self.clusters.clone();
        for process in [INVENTORY, HUB].into_iter().chain(clusters.iter().map(String::as_str)) {
            if !self.processes.contains_key(process) {
                self.start(process);
            }
        }
    }

    /// Ends and starts every process.
    pub(crate) fn restart_all(&mut self) {
        self.processes.clear();
        self.start_all();
    }

    /// Ends and starts every process when all is at rest: nothing may be written but signs of life. Tells how many keys
    /// there are in all spaces.
    pub(crate) async fn restarts_silently(&mut self) -> Result<usize> {
        let before = self.versions()?;
        self.restart_all();
        self.settle().await?;
        let after = self.versions()?;
        let differs = |key: &&String| before.get(*key) != after.get(*key);
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).filter(differs).collect();
        let told =
            keys.iter().take(WRITES_TOLD).map(|key| format!("{key}: {:?} -> {:?}", before.get(*key), after.get(*key)));
        let told: Vec<_> = told.collect();
        ensure!(keys.is_empty(), "a restart of every process writes {} keys: {}", keys.len(), told.join("; "));
        Ok(after.len())
    }

    /// All is well again.
    pub(crate) fn heal(&mut self) {
        self.network.heal();
        self.start_all();
    }

    /// A cluster whose agent cannot reach the hub.
    pub(crate) fn part(&self, process: &str) {
        if process == HUB {
            self.network.part(HUB, ITS);
        } else {
            self.network.part(process, ITS);
        }
    }

    // ---- users ----

    pub(crate) async fn join(&mut self, cluster: &str, labels: &Value) -> Result<()> {
        self.server.create_space(&cluster.into())?;
        let wec = self.user(cluster);
        for namespace in PLACES {
            let object = Object::new("v1", "Namespace", &ObjectName::cluster(namespace));
            wec.create::<Object>(&NAMESPACES, "", &object).await?;
        }
        self.clusters.push(cluster.to_owned());
        self.put_cluster(cluster, labels).await?;
        self.start(cluster);
        let name = ObjectName::cluster(cluster);
        self.user(ITS)
            .until(&MANAGED_CLUSTERS, &name, PATIENCE, &format!("{cluster} has joined"), |held: Option<&Object>| {
                let held = held?.pointer("/status/conditions")?.as_array()?;
                held.iter().any(|held| held["type"] == AVAILABLE && held["status"] == "True").then_some(())
            })
            .await?;
        Ok(())
    }

    pub(crate) async fn put_cluster(&mut self, cluster: &str, labels: &Value) -> Result<()> {
        let object = json!({"metadata": {"name": cluster, "labels": labels}, "spec": {"hubAcceptsClient": true}});
        put(&self.user(ITS), &MANAGED_CLUSTERS, "", cluster, object.clone()).await?;
        self.facts.clusters.insert(cluster.into(), object);
        Ok(())
    }

    pub(crate) async fn put_namespace(&mut self, name: &str, labels: &Value) -> Result<()> {
        let object = json!({"metadata": {"name": name, "labels": labels}});
        put(&self.user(WDS), &NAMESPACES, "", name, object.clone()).await?;
        self.facts.objects.insert((String::new(), "namespaces".into(), String::new(), name.into()), object);
        Ok(())
    }

    pub(crate) async fn put_object(&mut self, place: &Place, labels: &Value, content: &str) -> Result<()> {
        let resource = resource_of(place);
        let mut object = json!({"metadata": {"name": place.3, "namespace": place.2, "labels": labels}});
        if resource == &CONFIG_MAPS {
            object["data"] = json!({"content": content});
        } else {
            let app = json!({"app": place.3});
            let containers = json!([{"name": "c", "image": content}]);
            object["spec"] = json!({"selector": {"matchLabels": app},
                "template": {"metadata": {"labels": app}, "spec": {"containers": containers}}});
        }
        put(&self.user(WDS), resource, &place.2, &place.3, object.clone()).await?;
        self.facts.objects.insert(place.clone(), object);
        Ok(())
    }

    pub(crate) async fn delete_object(&mut self, place: &Place) -> Result<()> {
        if self.facts.objects.remove(place).is_some() {
            let name = ObjectName::namespaced(place.2.as_str(), place.3.as_str());
            self.user(WDS).delete(resource_of(place), &name, &DeleteParams::default()).await?;
        }
        Ok(())
    }

    /// Tells whether it was put: one that is on its way out takes edits, and goes nevertheless.
    pub(crate) async fn put_policy(&mut self, name: &str, spec: &Value) -> Result<bool> {
        let held: Option<Object> = self.user(WDS).find(&BINDING_POLICIES, &ObjectName::cluster(name)).await?;
        if held.is_some_and(|held| held.pointer("/metadata/deletionTimestamp").is_some()) {
            return Ok(false);
        }
        let object = json!({"metadata": {"name": name}, "spec": spec});
        put(&self.user(WDS), &BINDING_POLICIES, "", name, object.clone()).await?;
        self.facts.policies.insert(name.into(), object);
        Ok(true)
    }

    pub(crate) async fn delete_policy(&mut self, name: &str) -> Result<()> {
        if self.facts.policies.remove(name).is_some() {
            let wds = self.user(WDS);
            let name = ObjectName::cluster(name);
            wds.delete(&BINDING_POLICIES, &name, &DeleteParams::default()).await?;
        }
        Ok(())
    }

    /// Somebody deletes what was delivered.
    pub(crate) async fn damage(&self, cluster: &str, place: &Place) -> Result<()> {
        let name = ObjectName::namespaced(place.2.as_str(), place.3.as_str());
        match self.user(cluster).delete(resource_of(place), &name, &DeleteParams::default()).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// A workload controller of a cluster says how an object does.
    pub(crate) async fn tell_status(&self, cluster: &str, place: &Place, number: usize) -> Result<()> {
        let name = ObjectName::namespaced(place.2.as_str(), place.3.as_str());
        let patch = Patch::Merge(json!({"status": {"replicas": number}}));
        match self.user(cluster).patch_status::<Object>(resource_of(place), &name, &patch).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    // ---- what there is ----

    /// What is asked for now, by the rules: where, and whether only to be created.
    pub(crate) fn asked(&self) -> BTreeMap<(String, Place), bool> {
        let mut asked = BTreeMap::new();
        for policy in self.facts.policies.keys() {
            let Some(resolved) = self.facts.resolve(policy) else { continue };
            for cluster in &resolved.clusters {
                for (place, handling) in &resolved.objects {
                    *asked.entry((cluster.clone(), place.clone())).or_insert(false) |= handling.create_only;
                }
            }
        }
        asked
    }

    pub(crate) async fn delivered(&self) -> Result<Delivered> {
        let mut delivered = BTreeMap::new();
        for cluster in &self.clusters {
            let wec = self.user(cluster);
            for resource in &WORKLOAD {
                for object in wec.list::<Object>(resource, "", &ListParams::default()).await?.items {
                    let name = object.object_name();
                    if PLACES.contains(&name.namespace.as_str()) && name.name != "kube-root-ca.crt" {
                        let seen = Seen { uid: object.uid().to_owned(), content: content(&object) };
                        let place = place(resource, &name.namespace, &name.name);
                        delivered.insert((cluster.clone(), place), seen);
                    }
                }
            }
        }
        Ok(delivered)
    }

    /// The statuses that objects of the WDS have, by the number that [`World::tell_status`] told.
    pub(crate) async fn statuses(&self) -> Result<BTreeMap<Place, u64>> {
        let held = self.user(WDS).list::<Object>(&DEPLOYMENTS, "", &ListParams::default()).await?.items;
        let told = held.iter().filter_map(|object| {
            let number = object.pointer("/status/replicas")?.as_u64()?;
            let name = object.object_name();
            Some((place(&DEPLOYMENTS, &name.namespace, &name.name), number))
        });
        Ok(told.collect())
    }

    /// Mailboxes that have works.
    pub(crate) async fn mailboxes(&self) -> Result<BTreeSet<String>> {
        let works = self.user(ITS).list::<Object>(&MANIFEST_WORKS, "", &ListParams::default()).await?.items;
        Ok(works.iter().map(|work| work.object_name().namespace).collect())
    }

    /// Every object of all spaces but signs of life, with the revision at which it was written.
    pub(crate) fn versions(&self) -> Result<BTreeMap<String, String>> {
        let store = self.server.store();
        let mut versions = BTreeMap::new();
        for space in [WDS, ITS].into_iter().chain(self.clusters.iter().map(String::as_str)) {
            for collection in store.collections(space) {
                let page = store.page(&collection, None, None, usize::MAX, None);
                for entry in page.ok().context("the present is never compacted")?.entries {
                    let key = format!("{:?}", entry.key);
                    if !key.contains("leases") {
                        versions.insert(key, format!("{:?}", entry.modified));
                    }
                }
            }
        }
        Ok(versions)
    }

    /// Lets time pass.
    pub(crate) async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Waits until nothing is written any more, but for signs of life; tells how long that took.
    pub(crate) async fn settle(&self) -> Result<Duration> {
        let written = || self.server.store().head().0 - self.network.beats();
        let (start, mut last, mut quiet) = (self.clock.monotonic(), written(), Duration::ZERO);
        while quiet < QUIET {
            tokio::time::sleep(TICK).await;
            let now = written();
            quiet = if now == last { quiet + TICK } else { Duration::ZERO };
            last = now;
            let passed = self.clock.monotonic() - start;
            ensure!(passed < PATIENCE, "stuck: something is still being written after {passed:?}");
        }
        Ok(self.clock.monotonic() - start)
    }
}

fn copy(member: &agent::Member) -> agent::Member {
    agent::Member {
        cluster: member.cluster.clone(),
        agent_id: member.agent_id.clone(),
        server: member.server.clone(),
        hub: member.hub.clone(),
        wec: member.wec.clone(),
        clock: member.clock.clone(),
    }
}

async fn put(space: &Client, resource: &Resource, namespace: &str, name: &str, mut object: Value) -> Result<()> {
    object["apiVersion"] = resource.api_version().into();
    object["kind"] = (*resource.kind).into();
    let name = ObjectName::namespaced(namespace, name);
    space.patch::<Object>(resource, &name, &Patch::Apply { body: object, force: true }).await?;
    Ok(())
}

/// The place of an object.
pub(crate) fn place(resource: &Resource, namespace: &str, name: &str) -> Place {
    (resource.group.to_string(), resource.plural.to_string(), namespace.to_owned(), name.to_owned())
}

pub(crate) fn resource_of(place: &Place) -> &'static Resource {
    if place.1 == "configmaps" { &WORKLOAD[0] } else { &WORKLOAD[1] }
}

/// What tells contents of an object apart: what was given to [`World::put_object`].
pub(crate) fn content(object: &Object) -> String {
    let told = object.pointer("/data/content").or_else(|| object.pointer("/spec/template/spec/containers/0/image"));
    told.and_then(Value::as_str).unwrap_or_default().to_owned()
}
