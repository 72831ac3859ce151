//! An ITS as a hub of Open Cluster Management: what becomes of clusters and of signing requests.

use crate::world::{MANAGED_CLUSTERS, NAMESPACES, World, until};
use api::cluster::{AVAILABLE, CLOCK_SYNCED, HUB_ACCEPTED, LEASES, MANAGED_CLUSTER_SETS, SIGNING_REQUESTS, agent_user};
use api::work::MANIFEST_WORKS;
use api::{Object, ObjectName, Resource, Timestamp};
use apiserver::identity::Identity;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{Client, DeleteParams, ListParams, Patch};
use clock::{Clock, Manual, SharedClock};
use controller::Shutdown;
use hub::its::ItsConfig;
use pki::{PrivateKey, Subject, new_request};
use planner::inventory::{CLUSTER_ROLES, ROLE_BINDINGS};
use planner::registration;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

const CLUSTER: &str = "c1";

/// A hub that runs, with a clock that stands.
struct Hub {
    world: World,
    its: Client,
    clock: Arc<Manual>,
    end: Shutdown,
    running: Option<JoinHandle<()>>,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Hub {
    async fn new(trusted: &[&str]) -> Self {
        let world = World::new(&["its1"]);
        let its = world.client("its1");
        let clock = Manual::at(world.clock.now());
        let mut hub = Self { world, its, clock, end: Shutdown::new(), running: None };
        hub.start(trusted);
        hub.until(&MANAGED_CLUSTER_SETS, "global", "is there", |set| set.is_some()).await;
        hub
    }

    fn start(&mut self, trusted: &[&str]) {
        self.end = Shutdown::new();
        let clock: SharedClock = self.clock.clone();
        let trusted = trusted.iter().map(|&user| user.to_owned()).collect();
        let config = ItsConfig { its: self.its.clone(), clock, trusted };
        self.running = Some(tokio::spawn(hub::its::run(config, self.end.clone())));
    }

    /// Ends it, and waits until it writes nothing any more.
    async fn stop(&mut self) {
        self.end.cancel();
        self.running.take().unwrap().await.unwrap();
    }

    #[track_caller]
    fn until<F: Fn(Option<&Object>) -> bool + Send + Sync + 'static>(
        &self,
        resource: &Resource,
        name: &str,
        what: &str,
        holds: F,
    ) -> impl Future<Output = ()> + use<F> {
        let name = name
            .rsplit_once('/')
            .map_or_else(|| ObjectName::cluster(name), |(namespace, name)| ObjectName::namespaced(namespace, name));
        until(&self.its, resource, &name, what, holds)
    }

    #[track_caller]
    fn until_cluster<F: Fn(&Object) -> bool + Send + Sync + 'static>(
        &self,
        what: &str,
        holds: F,
    ) -> impl Future<Output = ()> + use<F> {
        self.until(&MANAGED_CLUSTERS, CLUSTER, what, move |cluster| cluster.is_some_and(&holds))
    }

    async fn register(&self) {
        let cluster = registration::managed_cluster(CLUSTER);
        self.its.create::<Object>(&MANAGED_CLUSTERS, "", &cluster).await.unwrap();
    }

    async fn accept(&self, accepts: bool) {
        let patch = Patch::Merge(json!({"spec": {"hubAcceptsClient": accepts}}));
        self.its.patch::<Object>(&MANAGED_CLUSTERS, &ObjectName::cluster(CLUSTER), &patch).await.unwrap();
    }

    /// An accepted cluster that says that it is available.
    async fn member(&self) {
        self.register().await;
        self.accept(true).await;
        self.until_cluster("is accepted", |cluster| condition(cluster, HUB_ACCEPTED) == Some("True")).await;
        self.say_available().await;
        self.until_cluster("has no taint", |cluster| cluster.pointer("/spec/taints").is_none()).await;
        // The last thing that the hub has to say: it has seen the lease.
        self.until_cluster("has its clock compared", |cluster| condition(cluster, CLOCK_SYNCED) == Some("True")).await;
    }

    async fn say_available(&self) {
        let now = self.clock.now();
        let name = ObjectName::cluster(CLUSTER);
        let available = json!({"type": AVAILABLE, "status": "True", "reason": "ManagedClusterAvailable", "message": "",
            "lastTransitionTime": now});
        let change = |cluster: &mut Object| {
            let conditions = cluster.0["status"]["conditions"].as_array_mut().unwrap();
            conditions.retain(|held| held["type"] != AVAILABLE);
            conditions.push(available.clone());
        };
        self.its.edit_status(&MANAGED_CLUSTERS, &name, change).await.unwrap();
    }

    /// A signing request of an agent of the cluster, made by a user.
    async fn request(&self, user: &str, groups: &[&str]) -> String {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        let client = self.world.client_as("its1", Identity::authenticated(user, groups));
        let (common_name, organizations) = registration::agent_identity(CLUSTER, "a1");
        let pem = new_request(&PrivateKey::generate().unwrap(), &Subject { common_name, organizations }, &[]).unwrap();
        let request = registration::signing_request(CLUSTER, &STANDARD.encode(pem));
        let made: Object = client.create(&SIGNING_REQUESTS, "", &request).await.unwrap();
        made.name().to_owned()
    }
}

fn condition<'a>(object: &'a Object, type_: &str) -> Option<&'a str> {
    let held = object.pointer("/status/conditions")?.as_array()?;
    held.iter().find(|held| held["type"] == type_)?["status"].as_str()
}

fn is_signed(request: Option<&Object>) -> bool {
    request.and_then(|request| request.pointer("/status/certificate")).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_renews_its_certificate_while_its_cluster_is_accepted() {
    let hub = Hub::new(&[]).await;
    hub.member().await;
    let agent = agent_user(CLUSTER, "a1");
    let group = "system:open-cluster-management:c1";
    let renewal = hub.request(&agent, &[group]).await;
    hub.until(&SIGNING_REQUESTS, &renewal, "is signed", is_signed).await;
    // Who brings a cluster in waits for an administrator, whatever is accepted.
    let first = hub.request("system:bootstrap:abcdef", &["system:bootstrappers:managedcluster"]).await;
    let renewal = hub.request(&agent, &[group]).await;
    hub.until(&SIGNING_REQUESTS, &renewal, "is signed", is_signed).await;
    let request: Object = hub.its.get(&SIGNING_REQUESTS, &ObjectName::cluster(first.as_str())).await.unwrap();
    assert!(!is_signed(Some(&request)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_cluster_may_do_nothing_and_comes_back() {
    let hub = Hub::new(&[]).await;
    hub.member().await;
    hub.accept(false).await;
    hub.until_cluster("is denied", |cluster| condition(cluster, HUB_ACCEPTED) == Some("False")).await;
    let bindings = hub.its.list::<Object>(&ROLE_BINDINGS, CLUSTER, &ListParams::default()).await.unwrap();
    assert!(bindings.items.is_empty(), "{:?}", bindings.items);
    let agent = Identity::authenticated(agent_user(CLUSTER, "a1"), vec!["system:open-cluster-management:c1".into()]);
    let agent = hub.world.client_as("its1", agent);
    let refused = agent.list::<Object>(&MANIFEST_WORKS, CLUSTER, &ListParams::default()).await.unwrap_err();
    assert!(refused.is_forbidden(), "{refused}");
    hub.accept(true).await;
    hub.until(&ROLE_BINDINGS, "c1/open-cluster-management:managedcluster:c1:work", "is back", |b| b.is_some()).await;
    hub.until_cluster("is accepted", |cluster| condition(cluster, HUB_ACCEPTED) == Some("True")).await;
    agent.list::<Object>(&MANIFEST_WORKS, CLUSTER, &ListParams::default()).await.unwrap();
    // Its own mailbox, and no other.
    let refused = agent.list::<Object>(&MANIFEST_WORKS, "default", &ListParams::default()).await.unwrap_err();
    assert!(refused.is_forbidden(), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_silent_is_unknown_until_it_speaks_again() {
    let hub = Hub::new(&[]).await;
    hub.member().await;
    let lease = ObjectName::namespaced(CLUSTER, "managed-cluster-lease");
    let renew = |at: Timestamp| Patch::Merge(json!({"spec": {"renewTime": at.rfc3339_micros()}}));
    hub.clock.advance(Duration::from_secs(301));
    // Something changes, and the hub looks at the clock.
    let label = Patch::Merge(json!({"metadata": {"labels": {"x": "y"}}}));
    hub.its.patch::<Object>(&MANAGED_CLUSTERS, &ObjectName::cluster(CLUSTER), &label).await.unwrap();
    hub.until_cluster("is unknown", |cluster| condition(cluster, AVAILABLE) == Some("Unknown")).await;
    hub.until_cluster("has a taint", |cluster| {
        cluster.pointer("/spec/taints/0/key") == Some(&json!("cluster.open-cluster-management.io/unreachable"))
    })
    .await;
    hub.its.patch::<Object>(&LEASES, &lease, &renew(hub.clock.now())).await.unwrap();
    hub.say_available().await;
    hub.until_cluster("has no taint", |cluster| cluster.pointer("/spec/taints").is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_deleted_goes_when_its_works_have_gone() {
    let hub = Hub::new(&[]).await;
    hub.member().await;
    let work = json!({"apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": {"name": "w", "namespace": CLUSTER,
            "finalizers": ["cluster.open-cluster-management.io/manifest-work-cleanup"]},
        "spec": {"workload": {"manifests": []}}});
    hub.its.create::<Object>(&MANIFEST_WORKS, CLUSTER, &work).await.unwrap();
    let name = ObjectName::cluster(CLUSTER);
    hub.its.delete(&MANAGED_CLUSTERS, &name, &DeleteParams::default()).await.unwrap();
    hub.until(&MANIFEST_WORKS, "c1/w", "is being deleted", |work| work.is_some_and(Object::is_deleting)).await;
    // The agent may still say that it is done.
    let agent = Identity::authenticated(agent_user(CLUSTER, "a1"), vec!["system:open-cluster-management:c1".into()]);
    let done = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let agent = hub.world.client_as("its1", agent);
    agent.patch::<Value>(&MANIFEST_WORKS, &ObjectName::namespaced(CLUSTER, "w"), &done).await.unwrap();
    hub.until(&MANAGED_CLUSTERS, CLUSTER, "is gone", |cluster| cluster.is_none()).await;
    let role = "open-cluster-management:managedcluster:c1";
    hub.until(&CLUSTER_ROLES, role, "is gone", |role| role.is_none()).await;
    let bindings = hub.its.list::<Object>(&ROLE_BINDINGS, CLUSTER, &ListParams::default()).await.unwrap();
    assert!(bindings.items.is_empty());
    hub.its.get::<Object>(&NAMESPACES, &name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_hub_trusts_brings_clusters_in() {
    let hub = Hub::new(&["system:bootstrap:abcdef"]).await;
    let request = hub.request("system:bootstrap:abcdef", &["system:bootstrappers:managedcluster"]).await;
    hub.register().await;
    hub.until_cluster("is accepted", |cluster| condition(cluster, HUB_ACCEPTED) == Some("True")).await;
    hub.until(&SIGNING_REQUESTS, &request, "is signed", is_signed).await;
}

const SECRETS: Resource = Resource::namespaced("", "v1", "secrets", "Secret");

/// The Secret of a bootstrap token.
fn token(id: &str, expires: Timestamp, once_for: Option<&str>) -> Value {
    let annotations = once_for.map(|cluster| json!({"kubestellar.io/remove-once-joined": cluster}));
    json!({"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": format!("bootstrap-token-{id}"), "namespace": "kube-system", "annotations": annotations},
        "data": {"expiration": STANDARD.encode(expires.to_string()), "token-id": STANDARD.encode(id)}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_expired_goes_on_time() {
    let hub = Hub::new(&[]).await;
    let at = |seconds: i64| Timestamp::from_seconds(hub.clock.now().seconds() + seconds);
    for (id, seconds) in [("aaaaaa", -1), ("bbbbbb", 1), ("cccccc", 300)] {
        hub.its.create::<Value>(&SECRETS, "kube-system", &token(id, at(seconds), None)).await.unwrap();
    }
    hub.until(&SECRETS, "kube-system/bootstrap-token-aaaaaa", "is gone", |held| held.is_none()).await;
    // The hub's clock stands: only its timer makes it look again.
    hub.clock.advance(Duration::from_secs(1));
    hub.until(&SECRETS, "kube-system/bootstrap-token-bbbbbb", "is gone", |held| held.is_none()).await;
    let left = ObjectName::namespaced("kube-system", "bootstrap-token-cccccc");
    hub.its.get::<Value>(&SECRETS, &left).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_cluster_goes_once_the_cluster_is_heard() {
    let hub = Hub::new(&["system:bootstrap:aaaaaa", "system:bootstrap:bbbbbb"]).await;
    hub.member().await;
    let later = Timestamp::from_seconds(hub.clock.now().seconds() + 3600);
    for (id, once_for) in [("aaaaaa", Some(CLUSTER)), ("bbbbbb", None), ("cccccc", Some(CLUSTER))] {
        hub.its.create::<Value>(&SECRETS, "kube-system", &token(id, later, once_for)).await.unwrap();
    }
    for user in ["system:bootstrap:bbbbbb", "system:bootstrap:aaaaaa"] {
        let request = hub.request(user, &["system:bootstrappers:managedcluster"]).await;
        hub.until(&SIGNING_REQUESTS, &request, "is signed", is_signed).await;
    }
    let name = |id: &str| ObjectName::namespaced("kube-system", format!("bootstrap-token-{id}"));
    hub.its.get::<Value>(&SECRETS, &name("aaaaaa")).await.unwrap();
    // The agent renews its lease, with its certificate: again and again, as agents do.
    let lease = ObjectName::namespaced(CLUSTER, "managed-cluster-lease");
    let renewing = async {
        let mut period = tokio::time::interval(Duration::from_millis(20));
        loop {
            period.tick().await;
            hub.clock.advance(Duration::from_millis(1));
            let renew = Patch::Merge(json!({"spec": {"renewTime": hub.clock.now().rfc3339_micros()}}));
            hub.its.patch::<Value>(&LEASES, &lease, &renew).await.unwrap();
        }
    };
    tokio::select! {
        () = renewing => {}
        () = hub.until(&SECRETS, "kube-system/bootstrap-token-aaaaaa", "is gone", |held| held.is_none()) => {}
    }
    // Neither one that is for many clusters, nor one that nobody used.
    for id in ["bbbbbb", "cccccc"] {
        hub.its.get::<Value>(&SECRETS, &name(id)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_hub_writes_nothing() {
    let mut hub = Hub::new(&[]).await;
    hub.member().await;
    hub.stop().await;
    let before = hub.world.versions(&["its1"]);
    hub.start(&[]);
    // Another cluster shows that the hub has looked at everything.
    let other = registration::managed_cluster("c2");
    hub.its.create::<Object>(&MANAGED_CLUSTERS, "", &other).await.unwrap();
    let tainted = |cluster: Option<&Object>| cluster.is_some_and(|cluster| cluster.pointer("/spec/taints").is_some());
    hub.until(&MANAGED_CLUSTERS, "c2", "is looked at", tainted).await;
    let mut after = hub.world.versions(&["its1"]);
    after.retain(|key, _| !key.contains("\"c2\""));
    assert_eq!(after, before);
}
