//! Makes the cluster what the mailbox asks.
//!
//! A key is the name of a ManifestWork. Between the event of a new work and the write of its object lies one round trip,
//! to create the AppliedManifestWork that is to own it; the finalizer in the hub is written meanwhile.

mod withdraw;

use crate::kinds::Kinds;
use crate::live::{Changed, Lives};
use crate::{Agent, seen};
use api::cluster::{APPLIED_CLEANUP_FINALIZER, AppliedManifestWork, AppliedManifestWorkSpec, WORK_CLEANUP_FINALIZER};
use api::work::{APPLIED_MANIFEST_WORKS, DeleteOption, MANIFEST_WORKS, ManifestConfig, ManifestWorkStatus};
use api::{GroupVersionKind, Object, ObjectMeta, ObjectName, OwnerReference, Resource};
use client::{Patch, Reflector, Selection};
use controller::{Action, Error, Queue, Reconcile, Result, Shutdown};
use futures_util::stream::{self, StreamExt};
use planner::apply::{self, Outcome, Strategy, Wanted};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Works that are applied at the same time.
const WORKERS: usize = 16;
/// Manifests of one work that are applied at the same time.
const MANIFESTS_AT_ONCE: usize = 16;

/// A ManifestWork as the agent keeps it: manifests as text, since a tree costs ten times as much.
#[derive(Deserialize)]
pub(crate) struct Sent {
    #[serde(default)]
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    spec: SentSpec,
    #[serde(default)]
    status: ManifestWorkStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SentSpec {
    workload: SentManifests,
    manifest_configs: Option<Vec<ManifestConfig>>,
    delete_option: Option<DeleteOption>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SentManifests {
    manifests: Option<Vec<Box<RawValue>>>,
}

impl Sent {
    /// Whether its present content was applied before, and said so.
    fn was_applied(&self) -> bool {
        let applied = self.status.conditions.iter().find(|condition| condition.type_ == "Applied");
        applied.is_some_and(|held| held.is_true() && held.observed_generation == Some(self.metadata.generation))
    }
}

/// The part of the agent that applies works.
pub(crate) struct Works {
    pub(crate) agent: Arc<Agent>,
    pub(crate) sent: Reflector<Sent>,
    pub(crate) applied: Reflector<AppliedManifestWork>,
    pub(crate) lives: Lives,
    kinds: Kinds,
}

/// Runs until `shutdown`, together with what reports statuses.
pub(crate) async fn run(agent: Arc<Agent>, shutdown: Shutdown) {
    let mailbox = Selection::namespace(agent.cluster.as_str());
    let sent = Reflector::<Sent>::start(agent.hub.clone(), MANIFEST_WORKS, mailbox);
    let applied = Reflector::start(agent.wec.clone(), APPLIED_MANIFEST_WORKS, Selection::all());
    let (lives, changed) = Lives::new(agent.wec.clone());
    let kinds = Kinds::new(agent.clock.clone());
    let works = Arc::new(Works { agent, sent, applied, lives, kinds });
    // Before both are known, a work that is missing could be taken for one that was withdrawn.
    let known = async { tokio::join!(works.sent.synced(), works.applied.synced()) };
    if shutdown.run_until_cancelled(known).await.is_none() {
        return;
    }
    let (queue, reports) = (Queue::new(), Queue::new());
    let watch = {
        let (works, queue, reports) = (works.clone(), queue.clone(), reports.clone());
        let shutdown = shutdown.clone();
        async move { shutdown.run_until_cancelled(watch(&works, changed, &queue, &reports)).await }
    };
    tokio::join!(
        watch,
        controller::run(works.clone(), queue, WORKERS, shutdown.clone()),
        seen::run(works, reports, shutdown),
    );
}

/// Turns events into keys.
async fn watch(
    works: &Works,
    mut changed: mpsc::UnboundedReceiver<Changed>,
    queue: &Queue<String>,
    reports: &Queue<seen::Subject>,
) {
    let mut sent = works.sent.subscribe();
    let mut applied = works.applied.subscribe();
    loop {
        tokio::select! {
            change = sent.next() => queue.add(change.name.name),
            change = applied.next() => {
                let Some(held) = change.after.or(change.before) else { continue };
                if held.spec.hub_hash == works.agent.hub_hash {
                    queue.add(held.spec.manifest_work_name.clone());
                    // After a restart: what earlier works put there is watched again.
                    works.watch_all(&held).await;
                }
            }
            Some(Changed { resource, name, owners }) = changed.recv() => {
                for held in works.applied.all() {
                    if owners.contains(&held.metadata.uid) && held.spec.hub_hash == works.agent.hub_hash {
                        queue.add(held.spec.manifest_work_name.clone());
                    }
                }
                reports.add(seen::Subject { resource, name });
            }
        }
    }
}

impl Reconcile for Works {
    type Key = String;

    async fn reconcile(&self, name: &String) -> Result<Action> {
        let sent = self.sent.get(&ObjectName::namespaced(self.agent.cluster.as_str(), name.as_str()));
        let applied = self.applied.get(&self.applied_name(name));
        match (sent, applied) {
            (Some(sent), applied) if sent.metadata.is_deleting() => self.finish(&sent, applied).await,
            (Some(sent), applied) => self.apply(&sent, applied).await,
            (None, Some(applied)) => self.evict(&applied).await,
            (None, None) => Ok(Action::AwaitChange),
        }
    }
}

impl Works {
    fn applied_name(&self, work: &str) -> ObjectName {
        ObjectName::cluster(format!("{}-{work}", self.agent.hub_hash))
    }

    async fn watch_all(&self, applied: &AppliedManifestWork) {
        for held in &applied.status.applied_resources {
            if let Ok(Some(resource)) = self.kinds.named(&self.agent, &held.group, &held.version, &held.resource).await
            {
                self.lives.watch(&resource);
            }
        }
    }

    async fn apply(&self, sent: &Sent, applied: Option<Arc<AppliedManifestWork>>) -> Result<Action> {
        let name = sent.metadata.object_name();
        let (held, applied) = tokio::join!(self.hold(sent), self.own(&name.name, sent, applied));
        let applied = applied?;
        if !held? {
            return Ok(Action::AwaitChange); // deleted meanwhile: the event comes
        }
        let owner = OwnerReference {
            api_version: APPLIED_MANIFEST_WORKS.api_version(),
            kind: APPLIED_MANIFEST_WORKS.kind.to_string(),
            name: applied.metadata.name.clone(),
            uid: applied.metadata.uid.clone(),
            ..OwnerReference::default()
        };
        let (outcomes, missing): (Vec<Outcome>, Vec<Option<client::Error>>) =
            self.apply_all(sent, &owner).await.into_iter().unzip();
        let failed = outcomes.iter().find_map(|outcome| outcome.failure.clone());
        let report = apply::report(&sent.status, &outcomes, sent.metadata.generation, self.agent.clock.now());
        let record = self.record(&applied, &outcomes, &owner.uid);
        let say = async {
            if !report.changed {
                return Ok(());
            }
            let patch = Patch::Merge(json!({"metadata": {"uid": sent.metadata.uid}, "status": report.status}));
            match self.agent.hub.patch_status::<Value>(&MANIFEST_WORKS, &name, &patch).await {
                Err(error) if !error.is_not_found() => Err(Error::from(error)),
                _ => Ok(()),
            }
        };
        let (recorded, said) = tokio::join!(record, say);
        said?;
        let settled = recorded?;
        // What a manifest needs (its namespace, its kind) is often on its way: then the next try comes soon.
        if let Some(cause) = missing.into_iter().flatten().next() {
            return Err(cause.into());
        }
        match failed {
            Some(why) => Err(Error::Later(why)),
            None if !settled => Err(Error::Later("waiting for withdrawn objects to go".into())),
            None => Ok(Action::AwaitChange),
        }
    }

    /// Holds the work in the hub until the cluster is rid of it. Says whether the work is still there.
    async fn hold(&self, sent: &Sent) -> Result<bool> {
        if sent.metadata.has_finalizer(WORK_CLEANUP_FINALIZER) {
            return Ok(true);
        }
        let mut finalizers: Vec<&str> = sent.metadata.finalizers.iter().map(String::as_str).collect();
        finalizers.push(WORK_CLEANUP_FINALIZER);
        let patch = Patch::finalizers(&finalizers, &sent.metadata.resource_version);
        match self.agent.hub.patch::<Value>(&MANIFEST_WORKS, &sent.metadata.object_name(), &patch).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The AppliedManifestWork that owns what is applied, made if it is not there.
    async fn own(
        &self,
        work: &str,
        sent: &Sent,
        held: Option<Arc<AppliedManifestWork>>,
    ) -> Result<Arc<AppliedManifestWork>> {
        let name = self.applied_name(work);
        let held = match held {
            Some(held) => held,
            None => {
                let applied = AppliedManifestWork {
                    api_version: APPLIED_MANIFEST_WORKS.api_version(),
                    kind: APPLIED_MANIFEST_WORKS.kind.to_string(),
                    metadata: ObjectMeta {
                        name: name.name.clone(),
                        labels: sent.metadata.labels.clone(),
                        finalizers: vec![APPLIED_CLEANUP_FINALIZER.into()],
                        ..ObjectMeta::default()
                    },
                    spec: AppliedManifestWorkSpec {
                        hub_hash: self.agent.hub_hash.clone(),
                        agent_id: self.agent.agent_id.clone(),
                        manifest_work_name: work.to_owned(),
                    },
                    ..AppliedManifestWork::default()
                };
                match self.agent.wec.create(&APPLIED_MANIFEST_WORKS, "", &applied).await {
                    Ok(made) => Arc::new(made),
                    Err(error) if error.is_already_exists() => {
                        Arc::new(self.agent.wec.get(&APPLIED_MANIFEST_WORKS, &name).await?)
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        if held.metadata.is_deleting() {
            return Err(Error::Later(format!("{name} is on its way out")));
        }
        if held.status.eviction_start_time.is_some() {
            let patch = Patch::Merge(json!({"status": {"evictionStartTime": null}}));
            self.agent.wec.patch_status::<Value>(&APPLIED_MANIFEST_WORKS, &name, &patch).await?;
        }
        Ok(held)
    }

    /// Applies all manifests, in rounds by kind. What fails does not stop the others.
    async fn apply_all(&self, sent: &Sent, owner: &OwnerReference) -> Vec<(Outcome, Option<client::Error>)> {
        let manifests = sent.spec.workload.manifests.as_deref().unwrap_or_default();
        let mut read: Vec<(usize, usize, std::result::Result<Object, String>)> = manifests
            .iter()
            .enumerate()
            .map(|(ordinal, raw)| {
                let object = serde_json::from_str::<Object>(raw.get()).map_err(|error| error.to_string());
                let round = object.as_ref().map_or(usize::MAX, |object| apply::rank(object.kind()));
                (round, ordinal, object)
            })
            .collect();
        read.sort_by_key(|(round, ordinal, _)| (*round, *ordinal));
        let mut outcomes = Vec::with_capacity(read.len());
        for round in read.chunk_by(|one, other| one.0 == other.0) {
            let mut work = Vec::with_capacity(round.len());
            for (_, ordinal, object) in round {
                work.push(self.apply_one(sent, *ordinal, object, owner));
            }
            outcomes.extend(stream::iter(work).buffer_unordered(MANIFESTS_AT_ONCE).collect::<Vec<_>>().await);
        }
        outcomes.sort_by_key(|(outcome, _)| outcome.ordinal);
        outcomes
    }

    async fn apply_one(
        &self,
        sent: &Sent,
        ordinal: usize,
        manifest: &std::result::Result<Object, String>,
        owner: &OwnerReference,
    ) -> (Outcome, Option<client::Error>) {
        let kind =
            manifest.as_ref().map_or_else(|_| GroupVersionKind::from_api_version("", ""), Object::group_version_kind);
        let name = manifest.as_ref().map(Object::object_name).unwrap_or_default();
        let mut outcome = Outcome { ordinal, resource: None, kind: kind.clone(), name, failure: None, uid: None };
        let manifest = match manifest {
            Ok(manifest) => manifest,
            Err(error) => {
                outcome.failure = Some(format!("the manifest cannot be read: {error}"));
                return (outcome, None);
            }
        };
        let resource = match self.kinds.resource(&self.agent, &kind).await {
            Ok(Some(resource)) => resource,
            Ok(None) => {
                outcome.failure = Some(format!("the server doesn't have a resource type {:?}", kind.kind));
                return (outcome, None);
            }
            Err(error) => {
                outcome.failure = Some(error.to_string());
                return (outcome, None);
            }
        };
        outcome.resource = Some(resource.clone());
        self.lives.watch(&resource);
        let configs = sent.spec.manifest_configs.as_deref().unwrap_or_default();
        let strategy = apply::strategy(configs, &resource, &outcome.name);
        let wanted =
            Wanted { manifest, resource: &resource, strategy: &strategy, owner, applied_before: sent.was_applied() };
        match self.carry_out(&wanted).await {
            Ok(uid) => outcome.uid = uid,
            Err(error) => {
                outcome.failure = Some(error.to_string());
                if error.is_not_found() {
                    self.kinds.forget(&kind); // a CRD that went away, or only a namespace that is not there yet
                    return (outcome, Some(error));
                }
            }
        }
        (outcome, None)
    }

    /// Plans against what the watch shows and writes; plans again against what is really there when that was not so.
    async fn carry_out(&self, wanted: &Wanted<'_>) -> client::Result<Option<String>> {
        let name = wanted.manifest.object_name();
        let mut live = self.lives.get(wanted.resource, &name).and_then(|live| live.object());
        if live.is_none() && *wanted.strategy == Strategy::ReadOnly {
            live = self.agent.wec.find(wanted.resource, &name).await?;
        }
        let mut looked = false;
        loop {
            let Some(op) = apply::plan(wanted, live.as_ref()) else {
                return Ok(live.map(|live| live.uid().to_owned()));
            };
            match controller::execute_for::<Object>(&self.agent.wec, &op).await {
                Ok(written) => return Ok(written.map(|object| object.uid().to_owned())),
                Err(Error::Op { cause, .. })
                    if !looked
                        && (cause.is_already_exists()
                            || cause.is_conflict()
                            || (live.is_some() && cause.is_not_found())) =>
                {
                    looked = true;
                    live = self.agent.wec.find(wanted.resource, &name).await?;
                }
                Err(Error::Op { cause, .. } | Error::Client(cause)) => return Err(cause),
                Err(other) => return Err(client::Error::Timeout(other.to_string())),
            }
        }
    }

    /// The resource with this plural.
    pub(crate) async fn resource_named(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> client::Result<Option<Resource>> {
        self.kinds.named(&self.agent, group, version, plural).await
    }
}
