//! What is in the WEC of the resources that works have put there: one watch per resource, which keeps the bytes of
//! what an AppliedManifestWork owns and nothing of all the rest.

use api::work::APPLIED_MANIFEST_WORKS;
use api::{Object, ObjectMeta, ObjectName, Resource};
use client::{Client, Reflector, Selection};
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// An object of the WEC, as far as it concerns a work.
pub(crate) struct Live {
    /// Uids of the AppliedManifestWorks that own it.
    pub(crate) owners: Vec<String>,
    raw: Option<Box<RawValue>>,
}

impl Live {
    /// The whole object; `None` if no work owns it.
    pub(crate) fn object(&self) -> Option<Object> {
        serde_json::from_str(self.raw.as_ref()?.get()).ok()
    }
}

impl<'de> Deserialize<'de> for Live {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            metadata: ObjectMeta,
        }
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let head: Head = serde_json::from_str(raw.get()).map_err(serde::de::Error::custom)?;
        let owners: Vec<String> = head
            .metadata
            .owner_references
            .into_iter()
            .filter(|owner| owner.kind == APPLIED_MANIFEST_WORKS.kind)
            .map(|owner| owner.uid)
            .collect();
        let raw = (!owners.is_empty()).then_some(raw);
        Ok(Self { owners, raw })
    }
}

/// Something that a work owns, or owned, changed.
pub(crate) struct Changed {
    pub(crate) resource: Resource,
    pub(crate) name: ObjectName,
    /// Uids of the AppliedManifestWorks that own it or did.
    pub(crate) owners: Vec<String>,
}

/// All watches.
pub(crate) struct Lives {
    wec: Client,
    watches: Mutex<Watches>,
    changed: mpsc::UnboundedSender<Changed>,
}

struct Watches {
    reflectors: HashMap<Resource, Reflector<Live>>,
    tasks: JoinSet<()>,
}

impl Lives {
    /// Changes come out of the receiver. It is unbounded because each change is there at most once until it is taken:
    /// the reflectors' subscriptions coalesce, and whoever takes them only queues keys.
    pub(crate) fn new(wec: Client) -> (Self, mpsc::UnboundedReceiver<Changed>) {
        let (changed, receiver) = mpsc::unbounded_channel();
        let watches = Watches { reflectors: HashMap::new(), tasks: JoinSet::new() };
        (Self { wec, watches: Mutex::new(watches), changed }, receiver)
    }

    /// Watches a resource from now on.
    pub(crate) fn watch(&self, resource: &Resource) -> Reflector<Live> {
        let mut watches = self.watches.lock();
        if let Some(held) = watches.reflectors.get(resource) {
            return held.clone();
        }
        let reflector = Reflector::<Live>::start(self.wec.clone(), resource.clone(), Selection::all());
        watches.reflectors.insert(resource.clone(), reflector.clone());
        let (mut changes, changed, of) = (reflector.subscribe(), self.changed.clone(), resource.clone());
        watches.tasks.spawn(async move {
            loop {
                let change = changes.next().await;
                let mut owners: Vec<String> = Vec::new();
                for state in change.before.iter().chain(&change.after) {
                    owners.extend(
                        state.owners.iter().filter(|owner| !owners.contains(owner)).cloned().collect::<Vec<_>>(),
                    );
                }
                if !owners.is_empty()
                    && changed.send(Changed { resource: of.clone(), name: change.name, owners }).is_err()
                {
                    return;
                }
            }
        });
        reflector
    }

    /// A live object, if its resource is watched and a work owns it.
    pub(crate) fn get(&self, resource: &Resource, name: &ObjectName) -> Option<Arc<Live>> {
        self.watches.lock().reflectors.get(resource)?.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_owned_is_kept() {
        let read = |kind: &str| -> Live {
            let text = format!(
                r#"{{"kind": "ConfigMap", "metadata": {{"name": "a", "ownerReferences": [
                    {{"apiVersion": "x/v1", "kind": "{kind}", "name": "n", "uid": "u"}}]}}, "data": {{}}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let owned = read("AppliedManifestWork");
        assert_eq!((owned.owners.as_slice(), owned.object().unwrap().name()), (["u".to_owned()].as_slice(), "a"));
        assert!(read("ReplicaSet").object().is_none());
    }
}
