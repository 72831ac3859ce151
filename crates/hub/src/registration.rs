//! Answers the signing requests of agents. `planner::registration` decides; the API server signs what is approved.

use api::cluster::{
    ADDON_NAME_LABEL, AUTOMATICALLY_ACCEPTED_ANNOTATION, CLUSTER_NAME_LABEL, MANAGED_CLUSTERS, ManagedCluster,
    SIGNING_REQUESTS,
};
use api::{Object, ObjectName, Op};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::{Client, Reflector, Selection};
use clock::SharedClock;
use controller::{Action, Queue, Reconcile, Result, execute};
use planner::registration::{self, Decision, SigningRequest};
use serde_json::{Value, json};

/// The requests of agents, and the clusters that they are for.
pub(crate) struct Registration {
    pub(crate) queue: Queue<String>,
    its: Client,
    clock: SharedClock,
    clusters: Reflector<ManagedCluster>,
    pub(crate) requests: Reflector<Object>,
    trusted: Vec<String>,
}

impl Registration {
    pub(crate) fn start(
        its: Client,
        clock: SharedClock,
        clusters: Reflector<ManagedCluster>,
        trusted: Vec<String>,
    ) -> Self {
        // Requests of add-ons are for the add-ons' own controllers.
        let selection = Selection::all().with_labels(format!("{CLUSTER_NAME_LABEL},!{ADDON_NAME_LABEL}"));
        let requests = Reflector::start(its.clone(), SIGNING_REQUESTS, selection);
        Self { queue: Queue::new(), its, clock, clusters, requests, trusted }
    }

    /// Tells the queue which requests to look at. Does not end.
    pub(crate) async fn follow(&self) {
        let (mut requests, mut clusters) = (self.requests.subscribe(), self.clusters.subscribe());
        loop {
            tokio::select! {
                change = requests.next() => {
                    if change.after.is_some() {
                        self.queue.add(change.name.name);
                    }
                }
                change = clusters.next() => {
                    let accepts = |cluster: &ManagedCluster| cluster.spec.hub_accepts_client;
                    if change.before.as_deref().map(accepts) != change.after.as_deref().map(accepts) {
                        self.touch_requests_of(&change.name.name);
                    }
                }
            }
        }
    }

    fn touch_requests_of(&self, cluster: &str) {
        for request in self.requests.all() {
            if request.label(CLUSTER_NAME_LABEL) == Some(cluster) {
                self.queue.add(request.name().to_owned());
            }
        }
    }

    fn cluster(&self, name: &str) -> Option<std::sync::Arc<ManagedCluster>> {
        self.clusters.get(&ObjectName::cluster(name))
    }
}

fn strings(list: Option<&Value>) -> Vec<String> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Reads a request. One whose PKCS #10 part cannot be read, or is not signed by its key, asks to be nobody.
pub fn read(object: &Object) -> SigningRequest {
    let spec =
        |field: &str| object.0.get("spec").and_then(|spec| spec.get(field)).and_then(Value::as_str).unwrap_or("");
    let pem = STANDARD.decode(spec("request")).ok().and_then(|pem| String::from_utf8(pem).ok()).unwrap_or_default();
    let subject = pki::Request::from_pem(&pem).map(|request| request.subject).unwrap_or_default();
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let is_true = |held: &&Value| held["status"] == "True";
    SigningRequest {
        name: object.name().to_owned(),
        labels: object.labels(),
        signer: spec("signerName").to_owned(),
        requester: spec("username").to_owned(),
        groups: strings(object.pointer("/spec/groups")),
        common_name: subject.common_name,
        organizations: subject.organizations,
        conditions: conditions.filter(is_true).filter_map(|held| held["type"].as_str()).map(str::to_owned).collect(),
    }
}

impl Reconcile for Registration {
    type Key = String;

    async fn reconcile(&self, name: &String) -> Result<Action> {
        let Some(object) = self.requests.get(&ObjectName::cluster(name.as_str())) else {
            return Ok(Action::AwaitChange);
        };
        let request = read(&object);
        let accepted = |name: &str| {
            let cluster = self.cluster(name).filter(|cluster| !cluster.metadata.is_deleting())?;
            Some(cluster.spec.hub_accepts_client)
        };
        let decision = registration::decide(&request, accepted, &self.trusted);
        if decision == Decision::Leave {
            return match registration::kept_for(&object, &request.conditions, self.clock.now()) {
                Some(left) => Ok(Action::After(left)),
                None => {
                    execute(&self.its, &Op::delete_only(SIGNING_REQUESTS, object.object_name(), object.uid())).await?;
                    Ok(Action::AwaitChange)
                }
            };
        }
        if decision == Decision::Admit
            && let Some(cluster) = request.labels.get(CLUSTER_NAME_LABEL).and_then(|name| self.cluster(name))
            && !cluster.spec.hub_accepts_client
        {
            let patch = json!({
                "metadata": {
                    "uid": cluster.metadata.uid,
                    "annotations": {AUTOMATICALLY_ACCEPTED_ANNOTATION: self.clock.now()},
                },
                "spec": {"hubAcceptsClient": true},
            });
            tracing::info!("{}: let in, since {} may bring clusters", cluster.metadata.name, request.requester);
            execute(&self.its, &Op::merge_patch(MANAGED_CLUSTERS, cluster.metadata.object_name(), patch)).await?;
        }
        execute(&self.its, &registration::approve(&object, self.clock.now())).await?;
        Ok(Action::AwaitChange)
    }
}
