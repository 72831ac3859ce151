//! Which resource a kind is in the WEC, by discovery.

use crate::Agent;
use api::{GroupVersionKind, Resource};
use clock::SharedClock;
use parking_lot::Mutex;
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

/// A kind that is not served is looked for again after this at the earliest: many works may ask for it.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What discovery said, and when.
pub(crate) struct Kinds {
    clock: SharedClock,
    known: Mutex<HashMap<GroupVersionKind, Resource>>,
    /// Held while discovery is asked, so that it is asked once.
    asked: tokio::sync::Mutex<Option<Duration>>,
}

impl Kinds {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self { clock, known: Mutex::default(), asked: tokio::sync::Mutex::default() }
    }

    /// The resource of a kind; `None` if the cluster does not serve it.
    pub(crate) async fn resource(&self, agent: &Agent, kind: &GroupVersionKind) -> client::Result<Option<Resource>> {
        if let Some(found) = self.known.lock().get(kind) {
            return Ok(Some(found.clone()));
        }
        let mut asked = self.asked.lock().await;
        if let Some(found) = self.known.lock().get(kind) {
            return Ok(Some(found.clone()));
        }
        let now = self.clock.monotonic();
        if asked.is_some_and(|at| now < at + LOOK_AGAIN_AFTER) {
            return Ok(None);
        }
        let served = agent.wec.resources().await?;
        let mut known = self.known.lock();
        known.clear();
        for discovered in served {
            for version in &discovered.versions {
                let resource = Resource { version: Cow::Owned(version.clone()), ..discovered.resource.clone() };
                known.insert(resource.group_version_kind(), resource);
            }
        }
        *asked = Some(now);
        Ok(known.get(kind).cloned())
    }

    /// The resource with this plural; `None` if the cluster does not serve it.
    pub(crate) async fn named(
        &self,
        agent: &Agent,
        group: &str,
        version: &str,
        plural: &str,
    ) -> client::Result<Option<Resource>> {
        let find = || {
            let known = self.known.lock();
            let of_version = |r: &&Resource| r.group == group && r.plural == plural && r.version == version;
            known
                .values()
                .find(of_version)
                .or_else(|| known.values().find(|r| r.group == group && r.plural == plural))
                .cloned()
        };
        if let Some(found) = find() {
            return Ok(Some(found));
        }
        // Asking for a kind that cannot be makes discovery be read.
        let nothing = GroupVersionKind { group: group.into(), version: version.into(), kind: String::new() };
        self.resource(agent, &nothing).await?;
        Ok(find())
    }

    /// Something was defined or is no longer: discovery is asked again for what is not known.
    pub(crate) async fn expire(&self) {
        *self.asked.lock().await = None;
    }

    /// Forgets a kind whose resource turned out to be gone.
    pub(crate) fn forget(&self, kind: &GroupVersionKind) {
        self.known.lock().remove(kind);
    }
}
