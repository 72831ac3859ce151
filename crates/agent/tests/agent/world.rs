//! A server with an ITS and a WEC, the hub beside the ITS, and agents.

use agent::{Config, Credentials};
use api::cluster::{HUB_ACCEPTED, MANAGED_CLUSTERS, SIGNING_REQUESTS};
use api::{Object, ObjectName, Resource};
use apiserver::Server;
use apiserver::identity::Identity;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use client::{Body, BoxFuture, Client, Credential, Endpoint, Transport, TransportError};
use clock::SharedClock;
use controller::Shutdown;
use hub::its::ItsConfig;
use parking_lot::Mutex;
use pki::{Authority, Subject, Usage};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::{Limits, Visibility};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Far more than anything here takes; a test that fails waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(86_400);
const TOKEN: &str = "abcdef.0123456789abcdef";
pub(crate) const CLUSTER: &str = "c1";
pub(crate) const SECRETS: Resource = Resource::namespaced("", "v1", "secrets", "Secret");

struct Local(Server, &'static str);

/// The agent's way to its cluster, which notes what is asked.
struct Noted {
    local: Local,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Transport for Noted {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, TransportError>> {
        let watches = request.uri().query().is_some_and(|query| query.contains("watch="));
        // Looks at the cluster's health come whenever the ManagedCluster changes.
        let health = ["/livez", "/version", "/api/v1/nodes", "clusterclaims"];
        if !watches && !health.iter().any(|path| request.uri().path().ends_with(path)) {
            self.requests.lock().push(format!("{} {}", request.method(), request.uri().path()));
        }
        self.local.send(request)
    }
}

impl Transport for Local {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, TransportError>> {
        Box::pin(async move {
            Ok(self.0.handle(&self.1.into(), Identity::system("test"), Visibility::Appended, request).await)
        })
    }
}

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) its: Client,
    pub(crate) wec: Client,
    requests: Arc<Mutex<Vec<String>>>,
    clock: SharedClock,
    bootstrap: Endpoint,
    folder: tempfile::TempDir,
    end: Shutdown,
}

impl Drop for World {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl World {
    /// A hub that is ready for clusters to join.
    pub(crate) async fn new() -> Self {
        let clock = clock::system();
        let authority = Authority::generate("test", clock.now(), DAY).unwrap();
        let names = ["127.0.0.1".to_owned()];
        let subject = Subject { common_name: "test".into(), organizations: Vec::new() };
        let (certificate, key) = authority.issue_with_key(&subject, &names, Usage::Server, clock.now(), DAY).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let advertised = format!("https://{}", listener.local_addr().unwrap());
        let server = Server::open(apiserver::Config {
            engine: store::memory(),
            limits: Limits::with_clock(clock.clone()),
            advertised,
            serving_authority: authority.certificate.clone(),
            hosting: "hosting".into(),
        })
        .unwrap();
        let access = server.create_space(&"its1".into()).unwrap();
        server.create_space(&CLUSTER.into()).unwrap();
        let end = Shutdown::new();
        let (running, shutdown) = (server.clone(), end.clone());
        tokio::spawn(async move { running.run_controllers(shutdown).await });
        let (running, shutdown) = (server.clone(), end.clone());
        tokio::spawn(async move {
            apiserver::listen::listen(running, listener, (&certificate, &key), shutdown).await.unwrap();
        });
        let local = |space| Client::new(Arc::new(Local(server.clone(), space)), "");
        let (its, wec) = (local("its1"), local(CLUSTER));
        let config = ItsConfig { its: its.clone(), clock: clock.clone(), trusted: Vec::new() };
        tokio::spawn(hub::its::run(config, end.clone()));
        let encode = |text: &str| STANDARD.encode(text);
        let token = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
            "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
            "data": {
                "token-id": encode("abcdef"), "token-secret": encode("0123456789abcdef"),
                "usage-bootstrap-authentication": encode("true"),
                "auth-extra-groups": encode("system:bootstrappers:managedcluster"),
            },
        });
        its.create::<Object>(&SECRETS, "kube-system", &token).await.unwrap();
        let bootstrap = Endpoint {
            server: access.server_url,
            ca: Some(authority.certificate.into_bytes()),
            credential: Credential::Token(TOKEN.into()),
            ..Endpoint::default()
        };
        its.wait_established("workstatuses.control.kubestellar.io").await.unwrap();
        until(&its, &api::cluster::MANAGED_CLUSTER_SETS, &ObjectName::cluster("global"), "is there", |set| {
            set.is_some()
        })
        .await;
        let requests = Arc::default();
        Self { server, its, wec, requests, clock, bootstrap, folder: tempfile::tempdir().unwrap(), end }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts an agent; it joins, or goes on with what it has.
    pub(crate) fn agent(&self) -> Running {
        self.agent_at(self.clock.clone())
    }

    /// Starts an agent that believes that it is another time.
    pub(crate) fn agent_at(&self, clock: SharedClock) -> Running {
        self.agent_of(self.bootstrap.clone(), clock)
    }

    /// The hub at another address, and an agent that is told of it, without a token.
    pub(crate) async fn agent_of_moved_hub(&self) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_, path) = self.bootstrap.server.rsplit_once("/spaces/").unwrap();
        let there = self.bootstrap.server.trim_start_matches("https://").split('/').next().unwrap().to_owned();
        let server = format!("https://{}/spaces/{path}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let mut there = tokio::net::TcpStream::connect(&there).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut here, &mut there).await });
            }
        });
        let moved = Endpoint { server, credential: Credential::None, ..self.bootstrap.clone() };
        self.agent_of(moved, self.clock.clone())
    }

    fn agent_of(&self, bootstrap: Endpoint, clock: SharedClock) -> Running {
        let wec = Noted { local: Local(self.server.clone(), CLUSTER), requests: self.requests.clone() };
        let config = Config {
            cluster: CLUSTER.into(),
            agent_id: "a1".into(),
            bootstrap: Some(bootstrap),
            credentials: Credentials::in_folder(self.folder().join(CLUSTER)),
            wec: Client::new(Arc::new(wec), ""),
            clock,
        };
        let end = self.end.child_token();
        let task = tokio::spawn(agent::run(config, end.clone()));
        Running { end, task }
    }

    pub(crate) fn now(&self) -> api::Timestamp {
        self.clock.now()
    }

    /// Makes the lease due, since an agent leaves a fresh one alone; gives when it says that it was renewed.
    pub(crate) async fn beat(&self) -> Option<Value> {
        let lease = ObjectName::namespaced(CLUSTER, api::cluster::LEASE_NAME);
        let long_ago = api::Timestamp::from_seconds(self.now().seconds() - 3600).rfc3339_micros();
        let patch = client::Patch::Merge(json!({"spec": {"renewTime": long_ago}}));
        let held: Object = self.its.patch(&api::cluster::LEASES, &lease, &patch).await.unwrap();
        held.pointer("/spec/renewTime").cloned()
    }

    /// Waits until an agent has renewed it again.
    pub(crate) async fn until_beat(&self, last: Option<Value>) {
        let lease = ObjectName::namespaced(CLUSTER, api::cluster::LEASE_NAME);
        until(&self.its, &api::cluster::LEASES, &lease, "is renewed", move |lease| {
            lease.is_some_and(|lease| lease.pointer("/spec/renewTime") != last.as_ref())
        })
        .await;
    }

    /// What agents have asked their cluster since the last time, but for watches: method and path.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock())
    }

    /// What an administrator does: accepts the cluster, and approves what it asks.
    pub(crate) async fn accept(&self) {
        let name = ObjectName::cluster(CLUSTER);
        until(&self.its, &MANAGED_CLUSTERS, &name, "asks to join", |cluster| cluster.is_some()).await;
        let accept = client::Patch::Merge(json!({"spec": {"hubAcceptsClient": true}}));
        self.its.patch::<Object>(&MANAGED_CLUSTERS, &name, &accept).await.unwrap();
        self.approve().await;
    }

    /// Approves the first request that comes.
    pub(crate) async fn approve(&self) {
        let requests = client::Reflector::<Object>::start(
            self.its.clone(),
            SIGNING_REQUESTS,
            client::Selection::all().with_labels(format!("open-cluster-management.io/cluster-name={CLUSTER}")),
        );
        let change = tokio::time::timeout(PATIENCE, requests.subscribe().next()).await.expect("no signing request");
        let op = planner::registration::approve(&change.after.unwrap(), self.clock.now());
        controller::execute(&self.its, &op).await.unwrap();
    }

    /// An agent that has joined.
    pub(crate) async fn joined(&self) -> Running {
        let agent = self.agent();
        self.accept().await;
        self.until_cluster("is available", |cluster| is(cluster, api::cluster::AVAILABLE)).await;
        agent
    }

    pub(crate) async fn until_cluster(&self, what: &str, holds: impl Fn(&Object) -> bool + Send + Sync + 'static) {
        let name = ObjectName::cluster(CLUSTER);
        until(&self.its, &MANAGED_CLUSTERS, &name, what, move |cluster| cluster.is_some_and(&holds)).await;
    }

    /// Every object of all spaces, with the revision at which it was last written.
    pub(crate) fn versions(&self) -> BTreeMap<String, String> {
        let store = self.server.store();
        let mut versions = BTreeMap::new();
        for space in ["its1", CLUSTER] {
            for collection in store.collections(space) {
                let page = store.page(&collection, None, None, usize::MAX, None).unwrap();
                for entry in page.entries {
                    versions.insert(format!("{:?}", entry.key), format!("{:?}", entry.modified));
                }
            }
        }
        versions
    }
}

/// An agent that runs.
pub(crate) struct Running {
    end: Shutdown,
    task: JoinHandle<Result<(), agent::Error>>,
}

impl Running {
    /// Ends it in order.
    pub(crate) async fn stop(self) {
        self.end.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Whether a condition is true.
pub(crate) fn is(object: &Object, condition: &str) -> bool {
    let held = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    held.into_iter().any(|held| held["type"] == condition && held["status"] == "True")
}

/// Whether the hub has accepted a cluster.
pub(crate) fn is_accepted(cluster: &Object) -> bool {
    is(cluster, HUB_ACCEPTED)
}

/// Waits until something is true of an object, or of its absence.
#[track_caller]
pub(crate) fn until(
    space: &Client,
    resource: &Resource,
    name: &ObjectName,
    what: &str,
    holds: impl Fn(Option<&Object>) -> bool + Send + Sync + 'static,
) -> impl Future<Output = ()> {
    let waiting_for = format!("{} {name}: {what} ({})", resource.kind, std::panic::Location::caller());
    let (space, resource, name) = (space.clone(), resource.clone(), name.clone());
    async move {
        let mut last = None;
        let done = space
            .until(&resource, &name, PATIENCE, &waiting_for, |object: Option<&Object>| {
                last = object.cloned();
                holds(object).then_some(())
            })
            .await;
        if let Err(error) = done {
            let last = last.map(|object| serde_json::to_string_pretty(&object.0).unwrap());
            panic!("{error}\nlast seen: {}", last.unwrap_or_else(|| "nothing".into()));
        }
    }
}
