//! Makes the cluster what the mailbox asks.
//!
//! A key is a ManifestWork, or an AppliedManifestWork of another hub. Between the event of a new work and the write of
//! its object lies one round trip, to create the AppliedManifestWork that is to own it; the finalizer in the hub is
//! written meanwhile, and everything that is told comes after. A change of a work costs one round trip.

mod apply;
mod made;
mod withdraw;

use crate::kinds::Kinds;
use crate::live::{Changed, Lives};
use crate::{Agent, seen};
use api::cluster::{
    APPLIED_CLEANUP_FINALIZER, AppliedManifestWork, AppliedManifestWorkSpec, AppliedResource, WORK_CLEANUP_FINALIZER,
};
use api::work::{APPLIED_MANIFEST_WORKS, DeleteOption, MANIFEST_WORKS, ManifestConfig, ManifestWorkStatus};
use api::{Object, ObjectMeta, ObjectName, OwnerReference, PartialObject, Resource};
use client::{Patch, Reflector, Selection};
use controller::{Action, Error, Queue, Reconcile, Result, Shutdown};
use made::{Meaning, Memory};
use parking_lot::Mutex;
use planner::apply::Outcome;
use planner::digest::Digest;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Works that are applied at the same time.
const WORKERS: usize = 32;

const DEFINITIONS: Resource =
    Resource::cluster("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition");
const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");

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
    fn manifests(&self) -> &[Box<RawValue>] {
        self.spec.workload.manifests.as_deref().unwrap_or_default()
    }

    fn configs(&self) -> &[ManifestConfig] {
        self.spec.manifest_configs.as_deref().unwrap_or_default()
    }

    /// Whether fields of an object are to be told in the work's status.
    fn asks_to_see(&self, resource: &Resource, name: &ObjectName) -> bool {
        !planner::feedback::rules(self.configs(), resource, name).is_empty()
    }

    /// Whether its present content was applied before, and said so.
    fn was_applied(&self) -> bool {
        let applied = self.status.conditions.iter().find(|condition| condition.type_ == "Applied");
        applied.is_some_and(|held| held.is_true() && held.observed_generation == Some(self.metadata.generation))
    }
}

/// What is reconciled.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Key {
    /// A ManifestWork of the mailbox, and what was done for it.
    Work(String),
    /// The AppliedManifestWork of a hub that this agent was a member of before.
    Foreign(String),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(name) => write!(f, "work {name}"),
            Self::Foreign(name) => write!(f, "{name} of another hub"),
        }
    }
}

/// The part of the agent that applies works.
pub(crate) struct Works {
    pub(crate) agent: Arc<Agent>,
    pub(crate) sent: Reflector<Sent>,
    pub(crate) applied: Reflector<AppliedManifestWork>,
    pub(crate) lives: Lives,
    kinds: Kinds,
    memory: Memory,
    /// Works by the uid of their AppliedManifestWork.
    owners: Mutex<HashMap<String, String>>,
    /// Works that need a kind or a namespace that is not there.
    waiting: Mutex<HashSet<String>>,
    queue: Queue<Key>,
    /// What was said of works and their watch has not shown yet. Bounded by the works that there are.
    said: Mutex<HashMap<String, Said>>,
}

/// The status that was last written to a work.
struct Said {
    uid: String,
    /// The resourceVersion that it got.
    version: u64,
    status: ManifestWorkStatus,
}

/// Runs until `shutdown`, together with what reports statuses.
pub(crate) async fn run(agent: Arc<Agent>, shutdown: Shutdown) {
    let mailbox = Selection::namespace(agent.cluster.as_str());
    let sent = Reflector::<Sent>::start(agent.hub.clone(), MANIFEST_WORKS, mailbox);
    let applied = Reflector::start(agent.wec.clone(), APPLIED_MANIFEST_WORKS, Selection::all());
    let (lives, changed) = Lives::new(agent.wec.clone());
    let works = Arc::new(Works {
        kinds: Kinds::new(agent.clock.clone()),
        agent,
        sent,
        applied,
        lives,
        memory: Memory::default(),
        owners: Mutex::default(),
        waiting: Mutex::default(),
        queue: Queue::new(),
        said: Mutex::default(),
    });
    // Before both are known, a work that is missing could be taken for one that was withdrawn.
    let known = async { tokio::join!(works.sent.synced(), works.applied.synced()) };
    if shutdown.run_until_cancelled(known).await.is_none() {
        return;
    }
    let reports = Queue::new();
    let follow =
        async { tokio::join!(works.follow(&reports), works.follow_objects(changed, &reports), works.follow_needs()) };
    tokio::join!(
        shutdown.run_until_cancelled(follow),
        controller::run(works.clone(), works.queue.clone(), WORKERS, shutdown.clone()),
        seen::run(works.clone(), reports.clone(), shutdown.clone()),
    );
}

/// Whether what was said of a work is newer than what the watch shows of it.
fn is_ahead(said: &Said, seen: &ObjectMeta) -> bool {
    said.uid == seen.uid && seen.resource_version.parse::<u64>().is_ok_and(|seen| seen < said.version)
}

/// Whether there is a work that was not there before, though one of that name may have been.
fn is_another(before: Option<&Sent>, after: Option<&Sent>) -> bool {
    after.is_some_and(|after| before.is_none_or(|before| before.metadata.uid != after.metadata.uid))
}

impl Works {
    /// Turns events of works into keys. Does not end.
    async fn follow(&self, reports: &Queue<seen::Subject>) {
        let mut sent = self.sent.subscribe();
        let mut applied = self.applied.subscribe();
        loop {
            tokio::select! {
                change = sent.next() => {
                    let work = change.name.name;
                    if is_another(change.before.as_deref(), change.after.as_deref()) {
                        // A WorkStatus belongs to its work, and goes with it; this one may find its objects made already.
                        let applied = self.applied.get(&self.applied_name(&work));
                        for one in applied.iter().flat_map(|applied| &applied.status.applied_resources) {
                            self.report(one, reports).await;
                        }
                    }
                    self.queue.add(Key::Work(work));
                }
                change = applied.next() => {
                    if let (Some(held), None) = (&change.before, &change.after) {
                        self.owners.lock().remove(&held.metadata.uid);
                    }
                    let before = change.before.clone();
                    let before = before.as_deref().map(|held| held.status.applied_resources.as_slice()).unwrap_or_default();
                    let Some(held) = change.after.or(change.before) else { continue };
                    if held.spec.hub_hash == self.agent.hub_hash {
                        self.know(&held);
                        for one in held.status.applied_resources.iter().filter(|one| !before.contains(one)) {
                            self.report(one, reports).await;
                        }
                        self.queue.add(Key::Work(held.spec.manifest_work_name.clone()));
                    } else if held.spec.agent_id == self.agent.agent_id {
                        self.queue.add(Key::Foreign(held.metadata.name.clone()));
                    }
                }
            }
        }
    }

    /// Has the status of an object looked at whose owner is known now: its own events may have come before that.
    async fn report(&self, one: &AppliedResource, reports: &Queue<seen::Subject>) {
        if let Ok(Some(resource)) = self.resource_named(&one.group, &one.version, &one.resource).await {
            let name = ObjectName::namespaced(one.namespace.as_str(), one.name.as_str());
            reports.add(seen::Subject { resource, name });
        }
    }

    fn know(&self, applied: &AppliedManifestWork) {
        let (uid, work) = (&applied.metadata.uid, &applied.spec.manifest_work_name);
        self.owners.lock().entry(uid.clone()).or_insert_with(|| work.clone());
    }

    /// Judges events of objects one by one, so that the many that change nothing of ours cost no look at a whole work.
    async fn follow_objects(&self, mut changed: mpsc::UnboundedReceiver<Changed>, reports: &Queue<seen::Subject>) {
        while let Some(Changed { resource, name, owners }) = changed.recv().await {
            let live = self.lives.get(&resource, &name);
            let object = live.as_ref().and_then(|live| live.object());
            for owner in owners {
                let Some(work) = self.owners.lock().get(&owner).cloned() else { continue };
                let sent = self.sent.get(&self.sent_name(&work));
                let manifest = |ordinal: usize, digest: Digest| {
                    let raw = sent.as_ref()?.manifests().get(ordinal)?.get();
                    (Digest::of(raw.as_bytes()) == digest).then(|| serde_json::from_str(raw).ok())?
                };
                let owner = OwnerReference { uid: owner, ..OwnerReference::default() };
                let asked = sent.as_ref().is_some_and(|sent| sent.asks_to_see(&resource, &name));
                let meaning = self.memory.judge(&work, &owner, (&resource, &name), object.as_ref(), manifest);
                if asked || meaning == Meaning::LookAt {
                    self.queue.add(Key::Work(work));
                }
            }
            reports.add(seen::Subject { resource, name });
        }
    }

    /// Has works looked at again when a kind or a namespace comes. Does not end.
    async fn follow_needs(&self) {
        let definitions = Reflector::<PartialObject>::start(self.agent.wec.clone(), DEFINITIONS, Selection::metadata());
        let namespaces = Reflector::<PartialObject>::start(self.agent.wec.clone(), NAMESPACES, Selection::metadata());
        let (mut definitions, mut namespaces) = (definitions.subscribe(), namespaces.subscribe());
        loop {
            tokio::select! {
                _ = definitions.next() => self.kinds.expire().await,
                change = namespaces.next() => {
                    if change.before.is_some() {
                        continue;
                    }
                }
            }
            for work in self.waiting.lock().drain() {
                self.queue.add(Key::Work(work));
            }
        }
    }

    fn sent_name(&self, work: &str) -> ObjectName {
        ObjectName::namespaced(self.agent.cluster.as_str(), work)
    }

    fn applied_name(&self, work: &str) -> ObjectName {
        ObjectName::cluster(format!("{}-{work}", self.agent.hub_hash))
    }

    /// The AppliedManifestWork with a uid, and the ManifestWork that it is for.
    pub(crate) fn of_owner(&self, uid: &str) -> Option<(Arc<AppliedManifestWork>, Arc<Sent>)> {
        let work = self.owners.lock().get(uid).cloned()?;
        Some((self.applied.get(&self.applied_name(&work))?, self.sent.get(&self.sent_name(&work))?))
    }
}

impl Reconcile for Works {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Action> {
        let name = match key {
            Key::Work(name) => name,
            Key::Foreign(name) => {
                let Some(applied) = self.applied.get(&ObjectName::cluster(name.as_str())) else {
                    return Ok(Action::AwaitChange);
                };
                return self.evict(&applied).await;
            }
        };
        let sent = self.sent.get(&self.sent_name(name));
        let applied = self.applied.get(&self.applied_name(name));
        match (sent, applied) {
            (Some(sent), applied) if sent.metadata.is_deleting() => self.finish(&sent, applied).await,
            (Some(sent), applied) => self.apply(&sent, applied).await,
            (None, applied) => {
                self.memory.forget(name);
                self.said.lock().remove(name);
                self.waiting.lock().remove(name);
                match applied {
                    Some(applied) => self.evict(&applied).await,
                    None => Ok(Action::AwaitChange),
                }
            }
        }
    }
}

impl Works {
    async fn apply(&self, sent: &Sent, applied: Option<Arc<AppliedManifestWork>>) -> Result<Action> {
        let name = sent.metadata.object_name();
        let (held, put) = tokio::join!(self.hold(sent), self.put(sent, applied));
        let (applied, owner, results) = put?;
        if results.iter().any(|result| result.waits) {
            self.waiting.lock().insert(name.name.clone());
        }
        let (outcomes, made): (Vec<Outcome>, Vec<_>) =
            results.into_iter().map(|result| (result.outcome, result.made)).unzip();
        self.memory.keep(&name.name, &owner.uid, made, |resource, name| {
            let live = self.lives.get(resource, name)?.object()?;
            Some((live.uid().to_owned(), live.resource_version().to_owned()))
        });
        let failed = outcomes.iter().find_map(|outcome| outcome.failure.clone());
        let generation = sent.metadata.generation;
        let report = planner::apply::report(&self.last_status(sent), &outcomes, generation, self.agent.clock.now());
        // A work that nothing holds must not look done, here or there: it may be gone, and then so is what was made for it.
        let is_held = matches!(held, Ok(true));
        let record = async { if is_held { self.record(&applied, &outcomes, &owner.uid).await } else { Ok(true) } };
        let say = async {
            if !held? || !report.changed {
                return Ok(());
            }
            let patch = Patch::Merge(json!({"metadata": {"uid": sent.metadata.uid}, "status": report.status}));
            match self.agent.hub.patch_status::<PartialObject>(&MANIFEST_WORKS, &name, &patch).await {
                Ok(written) => {
                    self.note_said(&written.metadata, report.status.clone());
                    Ok(())
                }
                Err(error) if !error.is_not_found() => Err(Error::from(error)),
                Err(_) => Ok(()),
            }
        };
        let (recorded, said) = tokio::join!(record, say);
        said?;
        match failed {
            Some(why) => Err(Error::Later(why)),
            None if !recorded? => Err(Error::Later("waiting for withdrawn objects to go".into())),
            None => Ok(Action::AwaitChange),
        }
    }

    /// The status that a work has, as far as is known: the agent's own last write counts until the watch shows it.
    fn last_status(&self, sent: &Sent) -> ManifestWorkStatus {
        let mut said = self.said.lock();
        match said.get(&sent.metadata.name) {
            Some(last) if is_ahead(last, &sent.metadata) => last.status.clone(),
            Some(_) => {
                said.remove(&sent.metadata.name);
                sent.status.clone()
            }
            None => sent.status.clone(),
        }
    }

    fn note_said(&self, written: &ObjectMeta, status: ManifestWorkStatus) {
        // A server whose versions are no numbers is asked to write the same twice.
        if let Ok(version) = written.resource_version.parse() {
            let said = Said { uid: written.uid.clone(), version, status };
            self.said.lock().insert(written.name.clone(), said);
        }
    }

    /// Puts what a work asks into the cluster, owned by its AppliedManifestWork.
    async fn put(
        &self,
        sent: &Sent,
        applied: Option<Arc<AppliedManifestWork>>,
    ) -> Result<(Arc<AppliedManifestWork>, OwnerReference, Vec<apply::Applied>)> {
        let work = sent.metadata.name.as_str();
        let applied = self.own(work, sent, applied).await?;
        self.know(&applied);
        let owner = OwnerReference {
            api_version: APPLIED_MANIFEST_WORKS.api_version(),
            kind: APPLIED_MANIFEST_WORKS.kind.to_string(),
            name: applied.metadata.name.clone(),
            uid: applied.metadata.uid.clone(),
            ..OwnerReference::default()
        };
        self.memory.begin(work);
        let results = self.apply_all(sent, &owner).await;
        Ok((applied, owner, results))
    }

    /// Holds the work in the hub until the cluster is rid of it. Says whether it is held: one that was deleted meanwhile is
    /// not, and its event comes.
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
            // Somebody deleted it under us: its objects and it go first, and then it is made anew.
            self.memory.forget(work);
            self.rid(&held, &|_| false).await?;
            return Err(Error::Later(format!("{name} is on its way out")));
        }
        if held.status.eviction_start_time.is_some() {
            let patch = Patch::Merge(json!({"status": {"evictionStartTime": null}}));
            self.agent.wec.patch_status::<Value>(&APPLIED_MANIFEST_WORKS, &name, &patch).await?;
        }
        Ok(held)
    }

    /// What the watch shows of an object, read where it is not watched.
    async fn look(&self, resource: &Resource, name: &ObjectName) -> Result<Option<Object>> {
        if let Some(object) = self.lives.get(resource, name).and_then(|live| live.object()) {
            return Ok(Some(object));
        }
        Ok(self.agent.wec.find(resource, name).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_counts_until_the_watch_shows_it() {
        let said = Said { uid: "u".into(), version: 10, status: ManifestWorkStatus::default() };
        let seen = |uid: &str, version: &str| ObjectMeta {
            uid: uid.into(),
            resource_version: version.into(),
            ..ObjectMeta::default()
        };
        for (uid, version, ahead) in
            [("u", "9", true), ("u", "10", false), ("u", "11", false), ("v", "9", false), ("u", "x", false)]
        {
            assert_eq!(is_ahead(&said, &seen(uid, version)), ahead, "{uid} {version}");
        }
    }

    #[test]
    fn a_work_made_anew_is_another() {
        let work = |uid: &str| Sent {
            metadata: ObjectMeta { uid: uid.into(), ..ObjectMeta::default() },
            spec: SentSpec::default(),
            status: ManifestWorkStatus::default(),
        };
        let (one, two) = (work("1"), work("2"));
        assert!(is_another(None, Some(&one)) && is_another(Some(&one), Some(&two)));
        assert!(!is_another(Some(&one), Some(&one)) && !is_another(Some(&one), None) && !is_another(None, None));
    }
}
