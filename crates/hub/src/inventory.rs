//! Keeps what belongs to each cluster of the inventory. `planner::inventory` decides.

use api::cluster::{CLUSTER_NAME_LABEL, LEASE_NAME, LEASES, MANAGED_CLUSTER_ADDONS, MANAGED_CLUSTERS, ManagedCluster};
use api::work::MANIFEST_WORKS;
use api::{Object, ObjectMeta, ObjectName, PartialObject, Resource, Timestamp};
use client::{Client, ListParams, Reflector, Selection};
use clock::SharedClock;
use controller::{Action, Queue, Reconcile, Result, execute};
use parking_lot::Mutex;
use planner::inventory::{
    self, CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, Facts, Heartbeat, NAMESPACES, ROLE_BINDINGS, ROLES, Remaining,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;

/// An object as its text: a tree of it exists only while a plan looks at it.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Text(Box<RawValue>);

impl Text {
    fn object(&self) -> Option<Object> {
        serde_json::from_str(self.0.get()).ok()
    }
}

/// The part of a Lease that counts.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Lease {
    metadata: ObjectMeta,
    pub(crate) spec: LeaseSpec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LeaseSpec {
    pub(crate) renew_time: Option<Timestamp>,
}

/// The stores that plans for clusters look at.
pub(crate) struct Inventory {
    pub(crate) clusters: Reflector<ManagedCluster>,
    pub(crate) queue: Queue<String>,
    its: Client,
    clock: SharedClock,
    namespaces: Reflector<PartialObject>,
    pub(crate) leases: Reflector<Lease>,
    rights: Vec<(Resource, Reflector<Text>)>,
    /// By cluster.
    heartbeats: Mutex<HashMap<String, Heartbeat>>,
}

impl Inventory {
    pub(crate) fn start(its: Client, clock: SharedClock) -> Self {
        let labelled = || Selection::all().with_labels(CLUSTER_NAME_LABEL);
        let rights = [CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, ROLES, ROLE_BINDINGS];
        let rights = rights.map(|resource| {
            let reflector = Reflector::start(its.clone(), resource.clone(), labelled());
            (resource, reflector)
        });
        Self {
            clusters: Reflector::start(its.clone(), MANAGED_CLUSTERS, Selection::all()),
            queue: Queue::new(),
            namespaces: Reflector::start(its.clone(), NAMESPACES, Selection::metadata()),
            leases: Reflector::start(its.clone(), LEASES, labelled()),
            rights: rights.into(),
            heartbeats: Mutex::default(),
            its,
            clock,
        }
    }

    /// Waits until everything has been read once: what is not known yet must not look like what is missing.
    pub(crate) async fn synced(&self) {
        tokio::join!(self.clusters.synced(), self.namespaces.synced(), self.leases.synced());
        for (_, reflector) in &self.rights {
            reflector.synced().await;
        }
    }

    /// Tells the queue which clusters to look at. Does not end.
    pub(crate) async fn follow(&self) {
        tokio::join!(
            self.follow_names(&self.clusters),
            self.follow_names(&self.namespaces),
            self.follow_leases(),
            futures_util::future::join_all(self.rights.iter().map(|(_, reflector)| self.follow_rights(reflector))),
        );
    }

    async fn follow_names<T>(&self, reflector: &Reflector<T>) {
        let mut changes = reflector.subscribe();
        loop {
            self.touch(changes.next().await.name.name);
        }
    }

    /// The namespace of an object is its cluster; a cluster-scoped one has its cluster's name at the end of its own.
    async fn follow_rights(&self, reflector: &Reflector<Text>) {
        let mut changes = reflector.subscribe();
        loop {
            let name = changes.next().await.name;
            if name.namespace.is_empty() {
                self.touch(name.name.rsplit(':').next().unwrap_or_default().to_owned());
            } else {
                self.touch(name.namespace);
            }
        }
    }

    async fn follow_leases(&self) {
        let mut changes = self.leases.subscribe();
        loop {
            let change = changes.next().await;
            if change.name.name != LEASE_NAME {
                continue;
            }
            let cluster = change.name.namespace;
            match change.after.as_deref() {
                Some(lease) => {
                    // A lease that was never renewed is as old as it is itself.
                    let renewed = lease.spec.renew_time.or(lease.metadata.creation_timestamp).unwrap_or_default();
                    let seen = change.before.is_some().then(|| self.clock.now());
                    self.heartbeats.lock().insert(cluster.clone(), Heartbeat { renewed, seen });
                }
                None => {
                    self.heartbeats.lock().remove(&cluster);
                }
            }
            self.touch(cluster);
        }
    }

    fn touch(&self, cluster: String) {
        if self.clusters.get(&ObjectName::cluster(cluster.as_str())).is_some() {
            self.queue.add(cluster);
        }
    }

    fn held(&self, resource: &Resource, name: &ObjectName) -> Option<Object> {
        let (_, reflector) = self.rights.iter().find(|(held, _)| held == resource)?;
        reflector.get(name)?.object()
    }

    async fn remaining(&self, cluster: &str) -> Result<Remaining> {
        let (everything, addons, works) = (ListParams::default(), MANAGED_CLUSTER_ADDONS, MANIFEST_WORKS);
        let (addons, works) = tokio::join!(
            self.its.list::<PartialObject>(&addons, cluster, &everything),
            self.its.list::<PartialObject>(&works, cluster, &everything),
        );
        let names = |objects: Vec<PartialObject>| {
            objects.iter().map(|object| (object.metadata.object_name(), object.metadata.is_deleting())).collect()
        };
        Ok(Remaining { addons: names(addons?.items), works: names(works?.items) })
    }
}

impl Reconcile for Inventory {
    type Key = String;

    async fn reconcile(&self, name: &String) -> Result<Action> {
        let Some(cluster) = self.clusters.get(&ObjectName::cluster(name.as_str())) else {
            return Ok(Action::AwaitChange);
        };
        let remaining = if cluster.metadata.is_deleting() { self.remaining(name).await? } else { Remaining::default() };
        let heartbeat = self.heartbeats.lock().get(name).copied();
        // The lease may be in the store before its follower has looked at it.
        let unread =
            heartbeat.is_none() && self.leases.get(&ObjectName::namespaced(name.as_str(), LEASE_NAME)).is_some();
        if unread {
            return Ok(Action::AwaitChange);
        }
        let plan = inventory::plan(&Facts {
            cluster: &cluster,
            held: &|resource, name| self.held(resource, name),
            mailbox: self.namespaces.get(&ObjectName::cluster(name.as_str())).is_some(),
            heartbeat,
            remaining,
            now: self.clock.now(),
        });
        for op in &plan.ops {
            match execute(&self.its, op).await {
                // Made a moment ago; the store has not seen it yet.
                Err(controller::Error::Op { cause, .. }) if cause.is_already_exists() => {}
                done => done?,
            }
        }
        Ok(plan.again.map_or(Action::AwaitChange, Action::After))
    }
}
