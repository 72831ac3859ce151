//! Applies the manifests of one work.

use super::made::Made;
use super::{Sent, Works};
use crate::live::Live;
use api::{GroupVersionKind, Object, OwnerReference, Resource};
use controller::Error;
use futures_util::stream::{self, StreamExt};
use planner::apply::{self, Outcome, Wanted};
use planner::digest::Digest;
use planner::feedback;
use serde_json::value::RawValue;
use std::time::Duration;

/// Manifests of one work that are applied at the same time.
const MANIFESTS_AT_ONCE: usize = 16;
/// How long a work that was applied before the agent started waits for the watches that show what it has made. A server
/// that lets nobody watch would keep it waiting; then its objects are read one by one.
const WATCH_PATIENCE: Duration = Duration::from_secs(10);

/// What became of one manifest, and what to remember of it.
pub(super) struct Applied {
    pub(super) outcome: Outcome,
    pub(super) made: Option<Made>,
    /// Whether it needs a namespace or a kind that is not there: then it is tried again when one comes.
    pub(super) waits: bool,
}

impl Applied {
    fn failed(mut outcome: Outcome, why: String, waits: bool) -> Self {
        outcome.failure = Some(why);
        Self { outcome, made: None, waits }
    }
}

/// A manifest that has to be looked at.
struct Manifest {
    ordinal: usize,
    digest: Digest,
    round: usize,
    object: Result<Object, String>,
}

impl Works {
    /// Applies the manifests that are not known to be as they should, in rounds by kind. What fails does not stop the
    /// others. One result for each manifest, in their order.
    pub(super) async fn apply_all(&self, sent: &Sent, owner: &OwnerReference) -> Vec<Applied> {
        let work = sent.metadata.name.as_str();
        let manifests = sent.manifests();
        let mut results = Vec::with_capacity(manifests.len());
        let mut open = Vec::new();
        for (ordinal, raw) in manifests.iter().enumerate() {
            let digest = Digest::of(raw.get().as_bytes());
            let strategy = |resource: &_, name: &_| apply::strategy(sent.configs(), resource, name);
            match self.memory.get(work, &owner.uid, ordinal, digest, strategy) {
                Some(made) => results.push(known(ordinal, made)),
                None => open.push(read(ordinal, digest, raw)),
            }
        }
        if !open.is_empty() && sent.was_applied() && !self.memory.knows(work, &owner.uid) {
            self.wait_for_watches(&open).await;
        }
        open.sort_by_key(|manifest| (manifest.round, manifest.ordinal));
        for round in open.chunk_by(|one, other| one.round == other.round) {
            let mut tasks = Vec::with_capacity(round.len());
            for manifest in round {
                tasks.push(self.apply_one(sent, manifest, owner));
            }
            results.extend(stream::iter(tasks).buffer_unordered(MANIFESTS_AT_ONCE).collect::<Vec<_>>().await);
        }
        results.sort_by_key(|result| result.outcome.ordinal);
        for result in &mut results {
            self.look_back(sent, &mut result.outcome);
        }
        results
    }

    /// What the watch shows of an object: the fields that the work asks to see, and that it is there though the last
    /// write was refused.
    fn look_back(&self, sent: &Sent, outcome: &mut Outcome) {
        let Some(resource) = &outcome.resource else { return };
        let rules = feedback::rules(sent.configs(), resource, &outcome.name);
        if rules.is_empty() && outcome.failure.is_none() {
            return;
        }
        let Some(live) = self.lives.get(resource, &outcome.name).and_then(|live| live.object()) else { return };
        if outcome.failure.is_some() {
            outcome.uid = Some(live.uid().to_owned());
        }
        if !rules.is_empty() {
            outcome.feedback = Some(feedback::read(rules, &live));
        }
    }

    /// After a start: what is in the cluster already is compared and not written again.
    async fn wait_for_watches(&self, manifests: &[Manifest]) {
        let mut watches = Vec::new();
        for object in manifests.iter().filter_map(|manifest| manifest.object.as_ref().ok()) {
            if let Ok(Some(resource)) = self.kinds.resource(&self.agent, &object.group_version_kind()).await {
                watches.push(self.lives.watch(&resource));
            }
        }
        let all = async {
            for watch in &watches {
                watch.synced().await;
            }
        };
        if tokio::time::timeout(WATCH_PATIENCE, all).await.is_err() {
            tracing::debug!("objects are read one by one, since the cluster does not let them be watched");
        }
    }

    async fn apply_one(&self, sent: &Sent, manifest: &Manifest, owner: &OwnerReference) -> Applied {
        let object = manifest.object.as_ref();
        let kind = object.map_or_else(|_| GroupVersionKind::from_api_version("", ""), Object::group_version_kind);
        let name = object.map(Object::object_name).unwrap_or_default();
        let ordinal = manifest.ordinal;
        let mut outcome =
            Outcome { ordinal, resource: None, kind: kind.clone(), name, failure: None, uid: None, feedback: None };
        let object = match object {
            Ok(object) => object,
            Err(error) => return Applied::failed(outcome, format!("the manifest cannot be read: {error}"), false),
        };
        let resource = match self.kinds.resource(&self.agent, &kind).await {
            Ok(Some(resource)) => resource,
            Ok(None) => {
                let why = format!("the server doesn't have a resource type {:?}", kind.kind);
                return Applied::failed(outcome, why, true);
            }
            Err(error) => return Applied::failed(outcome, error.to_string(), false),
        };
        outcome.resource = Some(resource.clone());
        self.lives.watch(&resource);
        let strategy = apply::strategy(sent.configs(), &resource, &outcome.name);
        let applied_before = sent.was_applied();
        let wanted = Wanted { manifest: object, resource: &resource, strategy: &strategy, owner, applied_before };
        match self.carry_out(&wanted).await {
            Ok(there) => {
                let (uid, version) = there.unwrap_or_default();
                outcome.uid = (!uid.is_empty()).then(|| uid.clone());
                let (manifest, name) = (manifest.digest, outcome.name.clone());
                let made = Made { manifest, kind, resource, name, strategy, uid, version };
                // What is on its way out is not as it should be: its end comes as an event.
                Applied { outcome, made: Some(made).filter(|made| !made.uid.is_empty()), waits: false }
            }
            Err(error) => {
                let namespace_missing = is_about(&error, "namespaces");
                if error.is_not_found() && !namespace_missing {
                    self.kinds.forget(&kind);
                }
                let waits = error.is_not_found();
                Applied::failed(outcome, error.to_string(), waits)
            }
        }
    }

    /// Plans against what the watch shows and writes; plans again against what is really there when that was not so.
    /// Gives uid and version of what is there then.
    async fn carry_out(&self, wanted: &Wanted<'_>) -> client::Result<Option<(String, String)>> {
        let name = wanted.manifest.object_name();
        let seen = self.lives.get(wanted.resource, &name);
        let mut live = seen.as_deref().and_then(Live::object);
        // One that is there and is nobody's, or that may be there: creating it would only tell so.
        let unseen = seen.is_some() && live.is_none();
        if unseen || live.is_none() && apply::needs_a_look(wanted) {
            live = self.agent.wec.find(wanted.resource, &name).await?;
        }
        let mut looked = false;
        loop {
            if let Some(why) = apply::refusal(wanted, live.as_ref()) {
                return Err(client::Error::Request(why));
            }
            let Some(op) = apply::plan(wanted, live.as_ref()) else {
                return Ok(live.filter(|live| !live.is_deleting()).as_ref().map(identity));
            };
            match controller::execute_for::<Object>(&self.agent.wec, &op).await {
                Ok(written) => return Ok(written.as_ref().map(identity)),
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

fn identity(object: &Object) -> (String, String) {
    (object.uid().to_owned(), object.resource_version().to_owned())
}

fn is_about(error: &client::Error, plural: &str) -> bool {
    let details = error.status().and_then(|status| status.details.as_deref());
    details.is_some_and(|details| details.kind == plural)
}

fn known(ordinal: usize, made: Made) -> Applied {
    let (kind, name) = (made.kind.clone(), made.name.clone());
    let (resource, uid) = (Some(made.resource.clone()), Some(made.uid.clone()));
    let outcome = Outcome { ordinal, resource, kind, name, failure: None, uid, feedback: None };
    Applied { outcome, made: Some(made), waits: false }
}

fn read(ordinal: usize, digest: Digest, raw: &RawValue) -> Manifest {
    let object = serde_json::from_str::<Object>(raw.get()).map_err(|error| error.to_string());
    let round = object.as_ref().map_or(usize::MAX, |object| apply::rank(object.kind()));
    Manifest { ordinal, digest, round, object }
}
