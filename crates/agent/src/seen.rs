//! Brings the status of what was delivered into the mailbox, as WorkStatus objects (KubeStellar's status add-on).
//!
//! A key is an object of the WEC. What has no status has no WorkStatus; what has not changed is not written.

use crate::work::Works;
use api::work::{WORK_STATUSES, WorkStatus};
use api::{ObjectName, Resource};
use client::{DeleteParams, Reflector, Selection};
use controller::{Action, Error, Queue, Reconcile, Result, Shutdown};
use planner::apply::reported;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;

/// Statuses that are written at the same time.
const WORKERS: usize = 16;

/// An object whose status is reported.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Subject {
    pub(crate) resource: Resource,
    pub(crate) name: ObjectName,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status of {} {}", self.resource.group_resource(), self.name)
    }
}

struct Reports {
    works: Arc<Works>,
    held: Reflector<WorkStatus>,
}

/// Runs until `shutdown`.
pub(crate) async fn run(works: Arc<Works>, queue: Queue<Subject>, shutdown: Shutdown) {
    let mailbox = Selection::namespace(works.agent.cluster.as_str());
    let held = Reflector::<WorkStatus>::start(works.agent.hub.clone(), WORK_STATUSES, mailbox);
    if shutdown.run_until_cancelled(held.synced()).await.is_none() {
        return;
    }
    let mut gone = held.subscribe();
    let watch = {
        let (works, queue) = (works.clone(), queue.clone());
        async move {
            loop {
                // One that somebody deleted or changed in the hub is made right again.
                let change = gone.next().await;
                let Some(state) = change.before else { continue };
                let source = &state.spec.source_ref;
                if let Ok(Some(resource)) = works.resource_named(&source.group, &source.version, &source.resource).await
                {
                    let name = ObjectName::namespaced(source.namespace.as_str(), source.name.as_str());
                    queue.add(Subject { resource, name });
                }
            }
        }
    };
    let reports = Arc::new(Reports { works, held });
    tokio::join!(
        async { shutdown.run_until_cancelled(watch).await },
        controller::run(reports, queue, WORKERS, shutdown.clone())
    );
}

impl Reconcile for Reports {
    type Key = Subject;

    async fn reconcile(&self, subject: &Subject) -> Result<Action> {
        let live = self.works.lives.get(&subject.resource, &subject.name);
        let object = live.as_ref().and_then(|live| live.object());
        let mut wanted = Vec::new();
        if let (Some(live), Some(object)) = (&live, &object) {
            for applied in self.works.applied.all() {
                if !live.owners.contains(&applied.metadata.uid) || applied.spec.hub_hash != self.works.agent.hub_hash {
                    continue;
                }
                let mailbox = self.works.agent.cluster.as_str();
                let work =
                    self.works.sent.get(&ObjectName::namespaced(mailbox, applied.spec.manifest_work_name.as_str()));
                let Some(work) = work.filter(|work| !work.metadata.is_deleting()) else { continue };
                wanted.extend(reported::work_status(&subject.resource, object, &applied, &work.metadata));
            }
        }
        for held in self.held.all() {
            if is_about(&held, subject) && !wanted.iter().any(|one| one.metadata.name == held.metadata.name) {
                let name = held.metadata.object_name();
                match self.works.agent.hub.delete(&WORK_STATUSES, &name, &DeleteParams::default()).await {
                    Err(error) if !error.is_not_found() => return Err(error.into()),
                    _ => {}
                }
            }
        }
        for status in wanted {
            self.write(&status).await?;
        }
        Ok(Action::AwaitChange)
    }
}

impl Reports {
    async fn write(&self, wanted: &WorkStatus) -> Result<()> {
        let name = wanted.metadata.object_name();
        let hub = &self.works.agent.hub;
        let held = self.held.get(&name);
        if held.is_none() {
            let mut made = wanted.clone();
            made.status = None;
            match hub.create::<Value>(&WORK_STATUSES, &name.namespace, &made).await {
                Err(error) if error.is_already_exists() => {}
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
        }
        if let Some(held) = &held {
            let labels: Vec<(&String, Option<&String>)> =
                reported::label_changes(&held.metadata.labels, &wanted.metadata.labels);
            if !labels.is_empty() {
                let labels: serde_json::Map<String, Value> = labels
                    .into_iter()
                    .map(|(key, value)| (key.clone(), value.map_or(Value::Null, |v| v.as_str().into())))
                    .collect();
                let patch = client::Patch::Merge(json!({"metadata": {"labels": labels}}));
                hub.patch::<Value>(&WORK_STATUSES, &name, &patch).await?;
            }
        }
        if held.as_ref().and_then(|held| held.status.as_ref()) == wanted.status.as_ref() {
            return Ok(());
        }
        // The whole status is replaced: a field that is gone in the cluster must go here too.
        let status = wanted.status.clone().unwrap_or_default();
        let patch = client::Patch::Json(json!([{"op": "add", "path": "/status", "value": status}]));
        match hub.patch_status::<Value>(&WORK_STATUSES, &name, &patch).await {
            Err(error) if error.is_not_found() => Err(Error::Later(format!("{name} was deleted meanwhile"))),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }
}

fn is_about(status: &WorkStatus, subject: &Subject) -> bool {
    let source = &status.spec.source_ref;
    (source.group.as_str(), source.resource.as_str()) == (&*subject.resource.group, &*subject.resource.plural)
        && (&source.namespace, &source.name) == (&subject.name.namespace, &subject.name.name)
}
