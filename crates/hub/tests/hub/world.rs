//! A server with some spaces, and what tests do there.

use api::{Object, ObjectName, PartialObject, Resource, SpaceName};
use apiserver::identity::Identity;
use apiserver::{Config, Server};
use bytes::Bytes;
use client::{Body, BoxFuture, Client, Transport, TransportError};
use clock::SharedClock;
use controller::Shutdown;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{Limits, Visibility};

/// Far more than anything here takes; a test that fails waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

struct Local(Server, SpaceName, Identity);

impl Transport for Local {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, TransportError>> {
        Box::pin(async move { Ok(self.0.handle(&self.1, self.2.clone(), Visibility::Appended, request).await) })
    }
}

/// A server, with the controllers of API machinery.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) clock: SharedClock,
    controllers: Shutdown,
}

impl Drop for World {
    fn drop(&mut self) {
        self.controllers.cancel();
    }
}

impl World {
    pub(crate) fn new(spaces: &[&str]) -> Self {
        let clock = clock::system();
        let server = Server::open(Config {
            engine: store::memory(),
            limits: Limits::with_clock(clock.clone()),
            advertised: "https://127.0.0.1:9443".into(),
            serving_authority: String::new(),
            hosting: "hosting".into(),
        })
        .unwrap();
        for space in spaces {
            server.create_space(&(*space).into()).unwrap();
        }
        let controllers = Shutdown::new();
        let (running, end) = (server.clone(), controllers.clone());
        tokio::spawn(async move { running.run_controllers(end).await });
        Self { server, clock, controllers }
    }

    pub(crate) fn client(&self, space: &str) -> Client {
        self.client_as(space, Identity::system("test"))
    }

    pub(crate) fn client_as(&self, space: &str, identity: Identity) -> Client {
        Client::new(Arc::new(Local(self.server.clone(), space.into(), identity)), "")
    }

    /// Every object of some spaces, with its resourceVersion.
    pub(crate) fn versions(&self, spaces: &[&str]) -> BTreeMap<String, String> {
        let store = self.server.store();
        let mut versions = BTreeMap::new();
        for space in spaces {
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

/// Applies YAML.
pub(crate) async fn apply(space: &Client, text: &str) {
    space.apply_yaml(text).await.unwrap();
}

/// Waits until something is true of an object, or of its absence.
#[track_caller]
pub(crate) fn until<F: Fn(Option<&Object>) -> bool + Send + Sync + 'static>(
    space: &Client,
    resource: &Resource,
    name: &ObjectName,
    what: &str,
    holds: F,
) -> impl Future<Output = ()> + use<F> {
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

/// Everything of a resource in a namespace.
pub(crate) async fn all(space: &Client, resource: &Resource, namespace: &str) -> Vec<Object> {
    space.list(resource, namespace, &client::ListParams::default()).await.unwrap().items
}

/// Puts a cluster into the inventory, with its mailbox.
pub(crate) async fn join(its: &Client, name: &str, labels: &Value) {
    let cluster = json!({
        "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
        "metadata": {"name": name, "labels": labels}, "spec": {"hubAcceptsClient": true},
    });
    let _: PartialObject = its.create(&MANAGED_CLUSTERS, "", &cluster).await.unwrap();
    let mailbox = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let _: PartialObject = its.create(&NAMESPACES, "", &mailbox).await.unwrap();
}

pub(crate) const MANAGED_CLUSTERS: Resource =
    Resource::cluster("cluster.open-cluster-management.io", "v1", "managedclusters", "ManagedCluster");
pub(crate) const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");
pub(crate) const DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "deployments", "Deployment");
