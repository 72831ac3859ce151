//! Takes out of the cluster what a work no longer asks for: some of it, all of it when the work is deleted, and all of it
//! some time after the work vanished from the hub.

use super::{Sent, Works};
use api::cluster::{APPLIED_CLEANUP_FINALIZER, AppliedManifestWork, AppliedResource, WORK_CLEANUP_FINALIZER};
use api::work::{APPLIED_MANIFEST_WORKS, MANIFEST_WORKS};
use api::{Object, ObjectName};
use client::{DeleteParams, Patch};
use controller::{Action, Error, Result};
use futures_util::stream::{self, StreamExt};
use planner::apply::{self, Outcome};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long the objects of a work that vanished from the hub stay: OCM's default.
const EVICTION_GRACE: Duration = Duration::from_secs(3600);
/// Objects that are withdrawn at the same time.
const AT_ONCE: usize = 16;

/// Resources whose objects may stay after a delete though they show no finalizer.
const LINGERING: [&str; 2] = ["namespaces", "pods"];

/// Whether the work was gone before this agent held it in the hub: then somebody deleted it right after it was made, and the
/// hub has lost nothing. What is applied is recorded only when the work is held; what was made and not recorded goes with its
/// owner.
const fn was_never_held(applied: &AppliedManifestWork) -> bool {
    applied.status.applied_resources.is_empty()
}

impl Works {
    /// Records what is in the cluster, and withdraws what no manifest asks for any more. Says whether all of that is
    /// gone.
    pub(super) async fn record(&self, held: &AppliedManifestWork, outcomes: &[Outcome], uid: &str) -> Result<bool> {
        // A manifest without a known resource may be one of those recorded: nothing is judged then (as OCM's agent).
        if outcomes.iter().any(|outcome| outcome.resource.is_none()) {
            return Ok(true);
        }
        let mut applied = apply::applied_resources(outcomes);
        let asked = |other: &AppliedResource| {
            outcomes.iter().any(|outcome| {
                outcome.resource.as_ref().is_some_and(|resource| {
                    (&*resource.group, &*resource.plural) == (other.group.as_str(), other.resource.as_str())
                        && (&outcome.name.namespace, &outcome.name.name) == (&other.namespace, &other.name)
                })
            })
        };
        // What was asked and could not be written now is still what it was.
        let known = |list: &[AppliedResource], other: &AppliedResource| {
            list.iter().any(|one| {
                (&one.group, &one.resource, &one.namespace, &one.name)
                    == (&other.group, &other.resource, &other.namespace, &other.name)
            })
        };
        let kept: Vec<AppliedResource> = held
            .status
            .applied_resources
            .iter()
            .filter(|other| asked(other) && !known(&applied, other))
            .cloned()
            .collect();
        applied.extend(kept);
        let stale: Vec<&AppliedResource> = held.status.applied_resources.iter().filter(|other| !asked(other)).collect();
        let left = self.withdraw(&stale, uid, &|_| false).await?;
        let settled = left.is_empty();
        applied.extend(left);
        applied.sort();
        if applied != held.status.applied_resources {
            let patch = Patch::Merge(json!({"status": {"appliedResources": applied}}));
            let name = ObjectName::cluster(held.metadata.name.as_str());
            self.agent.wec.patch_status::<Value>(&APPLIED_MANIFEST_WORKS, &name, &patch).await?;
        }
        Ok(settled)
    }

    /// Withdraws objects; returns those that are still there.
    async fn withdraw(
        &self,
        stale: &[&AppliedResource],
        owner_uid: &str,
        orphan: &(dyn Fn(&AppliedResource) -> bool + Sync),
    ) -> Result<Vec<AppliedResource>> {
        let mut work = Vec::with_capacity(stale.len());
        for held in stale {
            work.push(self.withdraw_one(held, owner_uid, orphan(held)));
        }
        let results: Vec<Result<Option<AppliedResource>>> =
            stream::iter(work).buffer_unordered(AT_ONCE).collect().await;
        let mut left = Vec::new();
        for result in results {
            left.extend(result?);
        }
        Ok(left)
    }

    async fn withdraw_one(
        &self,
        held: &AppliedResource,
        owner_uid: &str,
        orphan: bool,
    ) -> Result<Option<AppliedResource>> {
        let Some(resource) = self.kinds.named(&self.agent, &held.group, &held.version, &held.resource).await? else {
            return Ok(None); // its kind is gone, and so is it
        };
        self.lives.watch(&resource); // tells when it is gone
        let name = ObjectName::namespaced(held.namespace.as_str(), held.name.as_str());
        let Some(mut live) = self.look(&resource, &name).await? else { return Ok(None) };
        let mut looked = false;
        loop {
            let op = if orphan {
                apply::release(&resource, &live, owner_uid)
            } else {
                apply::withdraw(&resource, &live, owner_uid)
            };
            let Some(mut op) = op else {
                let still_ours = live.owner_references().iter().any(|owner| owner.uid == owner_uid);
                return Ok(still_ours.then(|| held.clone()));
            };
            let deletes = op.verb() == "delete";
            if let api::Write::Delete { resource_version, .. } = &mut op.write {
                // Another work may be taking the object over at this moment.
                *resource_version = Some(live.resource_version().to_owned());
            }
            match controller::execute(&self.agent.wec, &op).await {
                Err(Error::Op { cause, .. }) if cause.is_conflict() && !looked => {
                    looked = true;
                    let Some(fresh) = self.agent.wec.find(&resource, &name).await? else { return Ok(None) };
                    live = fresh;
                    continue;
                }
                done => done?,
            }
            // Most objects are gone at once; one with finalizers stays a while, and its event comes.
            let stays = !live.finalizers().is_empty() || LINGERING.contains(&&*resource.plural);
            if !deletes || !stays {
                return Ok(None);
            }
            let after = self.agent.wec.find::<Object>(&resource, &name).await?;
            return Ok(after.filter(|after| after.uid() == live.uid()).map(|_| held.clone()));
        }
    }

    /// The work is deleted: rids the cluster of all of it, then lets the work go.
    pub(super) async fn finish(&self, sent: &Sent, applied: Option<Arc<AppliedManifestWork>>) -> Result<Action> {
        let name = sent.metadata.object_name();
        let applied = match applied {
            Some(applied) => Some(applied),
            // Made a moment ago, perhaps, and not seen yet.
            None => self.agent.wec.find(&APPLIED_MANIFEST_WORKS, &self.applied_name(&name.name)).await?.map(Arc::new),
        };
        self.memory.forget(&name.name);
        self.waiting.lock().remove(&name.name);
        if let Some(applied) = applied {
            let orphan = |held: &AppliedResource| apply::is_orphaned(sent.spec.delete_option.as_ref(), held);
            self.rid(&applied, &orphan).await?;
        }
        if sent.metadata.has_finalizer(WORK_CLEANUP_FINALIZER) {
            let left: Vec<&str> = sent.metadata.finalizers.iter().map(String::as_str).collect();
            let left: Vec<&str> = left.into_iter().filter(|held| *held != WORK_CLEANUP_FINALIZER).collect();
            let patch = Patch::finalizers(&left, &sent.metadata.resource_version);
            match self.agent.hub.patch::<Value>(&MANIFEST_WORKS, &name, &patch).await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(Action::AwaitChange)
    }

    /// The work is not in the hub, though nobody asked for its end: after a grace period it goes all the same.
    pub(super) async fn evict(&self, applied: &AppliedManifestWork) -> Result<Action> {
        let work = &applied.spec.manifest_work_name;
        if applied.metadata.is_deleting() {
            self.rid(applied, &|_| false).await?;
            return Ok(Action::AwaitChange);
        }
        let foreign = applied.spec.hub_hash != self.agent.hub_hash;
        if !foreign && self.agent.hub.find::<Object>(&MANIFEST_WORKS, &self.sent_name(work)).await?.is_some() {
            return Ok(Action::AwaitChange); // the watch is behind
        }
        if !foreign && was_never_held(applied) {
            self.rid(applied, &|_| false).await?;
            return Ok(Action::AwaitChange);
        }
        let now = self.agent.clock.now();
        let Some(since) = applied.status.eviction_start_time else {
            tracing::warn!(%work, "is not in the hub any more; its objects go after the grace period");
            let patch = Patch::Merge(json!({"status": {"evictionStartTime": now}}));
            let name = ObjectName::cluster(applied.metadata.name.as_str());
            self.agent.wec.patch_status::<Value>(&APPLIED_MANIFEST_WORKS, &name, &patch).await?;
            return Ok(Action::After(EVICTION_GRACE));
        };
        let waited = Duration::from_micros(u64::try_from(now.micros() - since.micros()).unwrap_or(0));
        if waited < EVICTION_GRACE {
            return Ok(Action::After(EVICTION_GRACE.saturating_sub(waited)));
        }
        self.rid(applied, &|_| false).await?;
        Ok(Action::AwaitChange)
    }

    /// Removes everything that an AppliedManifestWork put there, and then itself.
    pub(super) async fn rid(
        &self,
        applied: &AppliedManifestWork,
        orphan: &(dyn Fn(&AppliedResource) -> bool + Sync),
    ) -> Result<()> {
        let name = ObjectName::cluster(applied.metadata.name.as_str());
        // What is recorded, and what was written and not recorded before the agent was cut.
        let Some(current) = self.agent.wec.find::<AppliedManifestWork>(&APPLIED_MANIFEST_WORKS, &name).await? else {
            return Ok(());
        };
        let stale: Vec<&AppliedResource> = current.status.applied_resources.iter().collect();
        let left = self.withdraw(&stale, &current.metadata.uid, orphan).await?;
        if !left.is_empty() {
            let names: Vec<String> =
                left.iter().take(3).map(|held| format!("{} {}", held.resource, held.name)).collect();
            return Err(Error::Later(format!("waiting for {} objects to go: {}", left.len(), names.join(", "))));
        }
        let finalizers: Vec<&str> = current
            .metadata
            .finalizers
            .iter()
            .map(String::as_str)
            .filter(|f| *f != APPLIED_CLEANUP_FINALIZER)
            .collect();
        if finalizers.len() < current.metadata.finalizers.len() {
            let patch = Patch::finalizers(&finalizers, &current.metadata.resource_version);
            match self.agent.wec.patch::<Value>(&APPLIED_MANIFEST_WORKS, &name, &patch).await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        match self.agent.wec.delete(&APPLIED_MANIFEST_WORKS, &name, &DeleteParams::only(&*current.metadata.uid)).await {
            Err(error) if !(error.is_not_found() || error.is_conflict()) => Err(error.into()),
            _ => Ok(()),
        }
    }
}
