//! The simulator beside a real space, in this process.
#![allow(clippy::unwrap_used)] // a test says what failed by where it failed

use api::{Object, ObjectName, Resource, SpaceName};
use apiserver::identity::Identity;
use apiserver::{Config, Server};
use bytes::Bytes;
use client::{Body, BoxFuture, Client, DeleteParams, Patch, Reflector, Selection, Transport, TransportError};
use controller::Shutdown;
use serde_json::{Value, json};
use simulator::{DELAY, Dial, FAIL, Kind};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{Limits, Visibility};
use tokio::task::JoinHandle;

struct Local(Server, SpaceName);

impl Transport for Local {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, TransportError>> {
        let handled = async move {
            let Self(server, space) = self;
            Ok(server.handle(space, Identity::system("test"), Visibility::Durable, request).await)
        };
        Box::pin(handled)
    }
}

/// A space with a simulator beside it.
struct World {
    server: Server,
    client: Client,
    shutdown: Shutdown,
    simulator: JoinHandle<()>,
}

impl World {
    async fn start() -> Self {
        let server = Server::open(Config {
            engine: store::memory(),
            limits: Limits::default(),
            advertised: "https://127.0.0.1:9443".into(),
            serving_authority: String::new(),
            hosting: "host".into(),
        })
        .unwrap();
        let space = SpaceName::from("wec1");
        server.create_space(&space).unwrap();
        let client = Client::new(Arc::new(Local(server.clone(), space)), "").with_field_manager("test");
        let (beside, end) = (server.clone(), Shutdown::new());
        tokio::spawn(async move { beside.run_controllers(end).await });
        let (simulator, shutdown) = Self::simulate(&client);
        Self { server, client, shutdown, simulator }
    }

    fn simulate(client: &Client) -> (JoinHandle<()>, Shutdown) {
        let shutdown = Shutdown::new();
        let running = simulator::run(client.clone(), Dial::default(), clock::system(), shutdown.clone());
        (tokio::spawn(running), shutdown)
    }

    async fn stop_simulator(&mut self) {
        self.shutdown.cancel();
        (&mut self.simulator).await.unwrap();
    }

    fn start_simulator(&mut self) {
        (self.simulator, self.shutdown) = Self::simulate(&self.client);
    }

    /// Every object whose name does not begin with `mark`, with the revision at which it was last written.
    fn versions(&self) -> BTreeMap<String, String> {
        let store = self.server.store();
        let mut versions = BTreeMap::new();
        for collection in store.collections("wec1") {
            for entry in store.page(&collection, None, None, usize::MAX, None).unwrap().entries {
                if !entry.key.name.starts_with("mark") {
                    versions.insert(format!("{:?}", entry.key), format!("{:?}", entry.modified));
                }
            }
        }
        versions
    }

    /// Waits until a new Deployment runs: what was queued before it has been looked at then.
    async fn pass(&self, mark: &str) {
        let deployments = Kind::Deployment.resource();
        let body = workload(&deployments, mark, json!({"replicas": 1}));
        let _: Object = self.client.create(&deployments, "default", &body).await.unwrap();
        self.until(&deployments, mark, ready(1)).await;
    }

    /// Waits until an object is as wanted.
    async fn until(&self, resource: &Resource, name: &str, wanted: impl Fn(&Object) -> bool) -> Arc<Object> {
        let selection = Selection { fields: format!("metadata.name={name}"), ..Selection::all() };
        let reflector = Reflector::<Object>::start(self.client.clone(), resource.clone(), selection);
        let mut changes = reflector.subscribe();
        let mut last = None;
        let found = async {
            loop {
                last = changes.next().await.after;
                if let Some(object) = last.as_ref().filter(|object| wanted(object)) {
                    return Arc::clone(object);
                }
            }
        };
        match tokio::time::timeout(std::time::Duration::from_secs(20), found).await {
            Ok(object) => object,
            Err(_) => panic!("{name} is {}", last.map_or("gone".into(), |last| Value::Object(last.0.clone()))),
        }
    }

    async fn stop(mut self) {
        self.stop_simulator().await;
        self.server.close().await;
    }
}

fn workload(resource: &Resource, name: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["template"] = json!({
        "metadata": {"labels": {"app": name}},
        "spec": {
            "containers": [{"name": "c", "image": "nginx:1.27"}],
            "restartPolicy": if resource.kind == "Job" { "Never" } else { "Always" },
        },
    });
    if resource.kind != "Job" {
        spec["selector"] = json!({"matchLabels": {"app": name}});
    }
    json!({
        "apiVersion": resource.api_version(), "kind": resource.kind,
        "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    })
}

fn ready(count: i64) -> impl Fn(&Object) -> bool {
    move |object| {
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        number("/status/readyReplicas") == count
            && number("/status/updatedReplicas") == count
            && number("/status/replicas") == count
            && number("/status/observedGeneration") == object.generation()
    }
}

fn has(type_: &'static str, status: &'static str) -> impl Fn(&Object) -> bool {
    move |object| {
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        conditions.into_iter().flatten().any(|held| held["type"] == type_ && held["status"] == status)
    }
}

fn place(name: &str) -> ObjectName {
    ObjectName::namespaced("default", name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_lives_its_life() {
    let world = World::start().await;
    let deployments = Kind::Deployment.resource();
    let body = workload(&deployments, "web", json!({"replicas": 3}));
    let _: Object = world.client.create(&deployments, "default", &body).await.unwrap();
    let web = world.until(&deployments, "web", ready(3)).await;
    assert!(has("Available", "True")(&web));

    let image = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "nginx:1.28"}]);
    let _: Object = world.client.patch(&deployments, &place("web"), &Patch::Json(image)).await.unwrap();
    world.until(&deployments, "web", |web| ready(3)(web) && web.generation() == 2).await;
    let scale = Patch::Merge(json!({"spec": {"replicas": 1}}));
    let _: Object = world.client.patch(&deployments, &place("web"), &scale).await.unwrap();
    world.until(&deployments, "web", ready(1)).await;

    let broken = json!({"metadata": {"annotations": {FAIL: "true"}}});
    let _: Object = world.client.patch(&deployments, &place("web"), &Patch::Merge(broken)).await.unwrap();
    world.until(&deployments, "web", has("Available", "False")).await;
    let pods: client::List<Object> =
        world.client.list(&Kind::Pod.resource(), "default", &client::ListParams::default()).await.unwrap();
    assert_eq!(pods.items.len(), 1);

    world.client.delete(&deployments, &place("web"), &DeleteParams::default()).await.unwrap();
    let pod = pods.items[0].name().to_owned();
    let gone = async {
        let reflector = Reflector::<Object>::start(world.client.clone(), Kind::Pod.resource(), Selection::all());
        reflector.synced().await;
        let mut changes = reflector.subscribe();
        while reflector.get(&place(&pod)).is_some() {
            changes.next().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone).await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_writes_nothing_after_a_rollout() {
    let mut world = World::start().await;
    let deployments = Kind::Deployment.resource();
    let names: Vec<String> = (0..12).map(|number| format!("web{number}")).collect();
    for name in &names {
        let body = workload(&deployments, name, json!({"replicas": 1}));
        let _: Object = world.client.create(&deployments, "default", &body).await.unwrap();
    }
    for (image, generation) in [("nginx:1.28", 2), ("nginx:1.29", 3)] {
        for name in &names {
            let image = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image}]);
            let _: Object = world.client.patch(&deployments, &place(name), &Patch::Json(image)).await.unwrap();
            world.until(&deployments, name, |web| ready(1)(web) && web.generation() == generation).await;
        }
    }
    // The first restart may find something that the simulator had no time for.
    world.stop_simulator().await;
    world.start_simulator();
    world.pass("mark").await;
    world.stop_simulator().await;
    for round in 0..4 {
        let before = world.versions();
        world.start_simulator();
        world.pass(&format!("mark{round}")).await;
        world.stop_simulator().await;
        let mut after = world.versions();
        after.retain(|key, version| before.get(key) != Some(version));
        assert_eq!(after, BTreeMap::new(), "written by restart {round}");
    }
    world.server.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_gets_its_status() {
    let world = World::start().await;
    let create = async |resource: &Resource, body: Value| {
        let _: Object = world.client.create(resource, "default", &body).await.unwrap();
    };
    let (sets, daemons, jobs) = (Kind::StatefulSet.resource(), Kind::DaemonSet.resource(), Kind::Job.resource());
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    create(&sets, workload(&sets, "db", json!({"replicas": 2, "serviceName": "db", "volumeClaimTemplates": [claim]})))
        .await;
    create(&daemons, workload(&daemons, "agent", json!({}))).await;
    let mut slow = workload(&jobs, "sum", json!({"completions": 2, "parallelism": 2}));
    slow["metadata"]["annotations"] = json!({DELAY: "50ms"});
    create(&jobs, slow).await;
    let services = Kind::Service.resource();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]},
    });
    create(&services, service).await;
    let pods = Kind::Pod.resource();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alone", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]},
    });
    create(&pods, pod).await;

    world.until(&sets, "db", ready(2)).await;
    let bound = |claim: &Object| claim.pointer("/status/phase").is_some_and(|phase| phase == "Bound");
    world.until(&Kind::Claim.resource(), "data-db-1", bound).await;
    let scheduled = |set: &Object| set.pointer("/status/numberReady").is_some_and(|number| *number == 1);
    world.until(&daemons, "agent", scheduled).await;
    world.until(&jobs, "sum", has("Complete", "True")).await;
    world.until(&services, "front", |front| front.pointer("/status/loadBalancer/ingress/0/ip").is_some()).await;
    world.until(&pods, "alone", has("Ready", "True")).await;
    world.until(&Kind::Node.resource(), simulator::NODE, has("Ready", "True")).await;
    world.stop().await;
}
