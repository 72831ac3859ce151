//! Brings the status of what was delivered into the mailbox, as WorkStatus objects (KubeStellar's status add-on).
//!
//! A key is an object of the WEC. What has no status has no WorkStatus; what has not changed is not written. While one
//! write is on its way, further changes of the same object become one.

use crate::live::Live;
use crate::work::Works;
use api::work::{SourceRef, WORK_STATUSES, WorkStatus, WorkStatusSpec};
use api::{ObjectMeta, ObjectName, Resource};
use client::{Client, DeleteParams, Reflector, Selection};
use controller::{Action, Error, Queue, Reconcile, Result, Shutdown};
use parking_lot::Mutex;
use planner::apply::reported;
use planner::digest::Digest;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Statuses that are written at the same time.
const WORKERS: usize = 16;
/// How long a status whose object does not show waits for the watch that would show it, before it counts as gone.
const WATCH_PATIENCE: Duration = Duration::from_secs(10);

/// An object whose status is reported.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Subject {
    pub(crate) resource: Resource,
    pub(crate) name: ObjectName,
}

impl Subject {
    /// What a WorkStatus says it is about; the version does not count.
    fn place(&self) -> Place {
        let resource = (self.resource.group.to_string(), self.resource.plural.to_string());
        Place(resource.0, resource.1, self.name.clone())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status of {} {}", self.resource.group_resource(), self.name)
    }
}

/// Group, plural and name of an object.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Place(String, String, ObjectName);

impl From<&SourceRef> for Place {
    fn from(source: &SourceRef) -> Self {
        let name = ObjectName::namespaced(source.namespace.as_str(), source.name.as_str());
        Self(source.group.clone(), source.resource.clone(), name)
    }
}

/// A WorkStatus as the agent keeps it: of the status, whether it is the same.
struct Held {
    metadata: ObjectMeta,
    source: SourceRef,
    status: Option<Digest>,
}

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Whole {
            metadata: ObjectMeta,
            #[serde(default)]
            spec: WorkStatusSpec,
            #[serde(default)]
            status: Option<Value>,
        }
        let whole = Whole::deserialize(deserializer)?;
        Ok(Self { metadata: whole.metadata, source: whole.spec.source_ref, status: whole.status.as_ref().map(digest) })
    }
}

/// Keys of a tree are sorted, so equal statuses have equal digests.
fn digest(status: &Value) -> Digest {
    Digest::of(status.to_string().as_bytes())
}

pub(crate) struct Reports {
    works: Arc<Works>,
    held: Reflector<Held>,
    /// Names of the WorkStatuses about each object.
    about: Mutex<HashMap<Place, BTreeSet<String>>>,
    queue: Queue<Subject>,
}

/// Runs until `shutdown`.
pub(crate) async fn run(works: Arc<Works>, queue: Queue<Subject>, shutdown: Shutdown) {
    let mailbox = Selection::namespace(works.agent.cluster.as_str());
    let held = Reflector::<Held>::start(works.agent.hub.clone(), WORK_STATUSES, mailbox);
    if shutdown.run_until_cancelled(held.synced()).await.is_none() {
        return;
    }
    let reports = Arc::new(Reports { works, held, about: Mutex::default(), queue: queue.clone() });
    tokio::join!(
        async { shutdown.run_until_cancelled(reports.follow()).await },
        controller::run(reports.clone(), queue, WORKERS, shutdown.clone())
    );
}

impl Reports {
    /// Has objects looked at whose WorkStatus was found at the start, or was deleted or changed by somebody. Does not
    /// end.
    async fn follow(&self) {
        let mut changes = self.held.subscribe();
        loop {
            let change = changes.next().await;
            let Some(state) = change.after.as_ref().or(change.before.as_ref()) else { continue };
            let source = &state.source;
            {
                let mut about = self.about.lock();
                let names = about.entry(source.into()).or_default();
                if change.after.is_some() {
                    names.insert(change.name.name);
                } else {
                    names.remove(&change.name.name);
                    if names.is_empty() {
                        about.remove(&source.into());
                    }
                }
            }
            if let Ok(Some(resource)) =
                self.works.resource_named(&source.group, &source.version, &source.resource).await
            {
                let name = ObjectName::namespaced(source.namespace.as_str(), source.name.as_str());
                self.queue.add(Subject { resource, name });
            }
        }
    }
}

impl Reconcile for Reports {
    type Key = Subject;

    async fn reconcile(&self, subject: &Subject) -> Result<Action> {
        let names = self.about.lock().get(&subject.place()).cloned().unwrap_or_default();
        let watch = self.works.lives.watch(&subject.resource);
        if !names.is_empty() && !watch.is_synced() {
            // What is not known yet must not look like what is gone.
            if tokio::time::timeout(WATCH_PATIENCE, watch.synced()).await.is_err() {
                return Err(Error::Later(format!("{} cannot be watched", subject.resource.group_resource())));
            }
        }
        let live = watch.get(&subject.name);
        let wanted = live.map(|live| self.wanted(&subject.resource, &live)).unwrap_or_default();
        for name in names.iter().filter(|name| !wanted.iter().any(|one| one.metadata.name == **name)) {
            let name = ObjectName::namespaced(self.works.agent.cluster.as_str(), name.as_str());
            match self.works.agent.hub.delete(&WORK_STATUSES, &name, &DeleteParams::default()).await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        for status in wanted {
            self.write(status).await?;
        }
        Ok(Action::AwaitChange)
    }
}

impl Reports {
    fn wanted(&self, resource: &Resource, live: &Live) -> Vec<WorkStatus> {
        let Some(object) = live.object() else { return Vec::new() };
        let works = live.owners.iter().filter_map(|owner| self.works.of_owner(owner));
        let works = works.filter(|(_, sent)| !sent.metadata.is_deleting());
        works.filter_map(|(applied, sent)| reported::work_status(resource, &object, &applied, &sent.metadata)).collect()
    }

    async fn write(&self, mut wanted: WorkStatus) -> Result<()> {
        let name = wanted.metadata.object_name();
        let hub = &self.works.agent.hub;
        let status = wanted.status.take().unwrap_or_default();
        match self.held.get(&name) {
            Some(held) => {
                if let Some(patch) = labels(&held.metadata, &wanted.metadata) {
                    hub.patch::<serde::de::IgnoredAny>(&WORK_STATUSES, &name, &patch).await?;
                }
                if held.status == Some(digest(&status)) {
                    return Ok(());
                }
            }
            None => create(hub, &wanted).await?,
        }
        // The whole status is replaced: a field that is gone in the cluster must go here too.
        let patch = client::Patch::Json(json!([{"op": "add", "path": "/status", "value": status}]));
        match hub.patch_status::<serde::de::IgnoredAny>(&WORK_STATUSES, &name, &patch).await {
            Err(error) if error.is_not_found() => Err(Error::Later(format!("{name} was deleted meanwhile"))),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }
}

async fn create(hub: &Client, wanted: &WorkStatus) -> Result<()> {
    match hub.create::<serde::de::IgnoredAny>(&WORK_STATUSES, &wanted.metadata.namespace, wanted).await {
        Err(error) if !error.is_already_exists() => Err(error.into()),
        _ => Ok(()),
    }
}

/// The patch that mirrors labels of the object, if one is needed.
fn labels(held: &ObjectMeta, wanted: &ObjectMeta) -> Option<client::Patch> {
    let changes = reported::label_changes(&held.labels, &wanted.labels);
    let value = |value: Option<&String>| value.map_or(Value::Null, |value| value.as_str().into());
    let labels: Value = changes.iter().map(|(key, to)| ((*key).clone(), value(*to))).collect();
    (!changes.is_empty()).then(|| client::Patch::Merge(json!({"metadata": {"labels": labels}})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_status_its_digest_is_kept() {
        let read = |status: &str| -> Held {
            let text = format!(
                r#"{{"metadata": {{"name": "s"}}, "spec": {{"sourceRef": {{"group": "apps", "resource": "deployments",
                    "namespace": "n", "name": "o"}}}} {status}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        assert_eq!(read(r#", "status": {"a": 1, "b": 2}"#).status, read(r#", "status": {"b":2,"a":1}"#).status);
        assert_ne!(read(r#", "status": {"a": 1}"#).status, read(r#", "status": {"a": 2}"#).status);
        assert_eq!(read("").status, None);
        let place = Place("apps".into(), "deployments".into(), ObjectName::namespaced("n", "o"));
        assert_eq!(Place::from(&read("").source), place);
    }
}
