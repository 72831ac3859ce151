//! Collects the dependents of owners that are gone, and lets owners go that wait for their dependents.
//!
//! An owner is found by its uid. A dependent goes when none of its owners is there any more. With `Foreground` the owner
//! waits until dependents that block it are gone; with `Orphan` its dependents forget it first. Owners in a circle do
//! not hold each other.

use super::call::{Caller, Failure};
use super::namespace::resource_of;
use crate::Server;
use crate::header::Uid;
use api::{GroupVersionKind, Object, OwnerReference};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use store::{Collection, Key};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Who depends on whom, by the owner's uid. Uids are unique over all spaces.
#[derive(Default)]
pub(super) struct Owners {
    dependents: HashMap<Uid, HashSet<Key>>,
    /// Owners that wait for a dependent to go, by their uid.
    waiting: HashMap<Uid, Key>,
}

impl Owners {
    pub(super) fn add(&mut self, key: &Key, owners: &[Uid]) {
        for owner in owners {
            self.dependents.entry(*owner).or_default().insert(key.clone());
        }
    }

    /// Forgets a dependent; names the owners that waited for one of theirs to go.
    pub(super) fn remove(&mut self, key: &Key, owners: &[Uid]) -> Vec<Key> {
        let mut woken = Vec::new();
        for owner in owners {
            if let Some(held) = self.dependents.get_mut(owner) {
                held.remove(key);
                if held.is_empty() {
                    self.dependents.remove(owner);
                }
            }
            woken.extend(self.waiting.get(owner).cloned());
        }
        woken
    }

    /// Remembers that an owner waits for its dependents.
    fn waits(&mut self, key: &Key, uid: Uid) {
        self.waiting.insert(uid, key.clone());
    }

    /// An owner waits for nobody any more, or is gone.
    pub(super) fn waits_no_more(&mut self, uid: Uid) {
        self.waiting.remove(&uid);
    }

    /// The dependents of an owner.
    pub(super) fn of(&self, uid: Uid) -> Vec<Key> {
        self.dependents.get(&uid).into_iter().flatten().cloned().collect()
    }
}

/// What is to be done with a dependent.
#[derive(PartialEq, Debug)]
enum Verdict {
    /// All owners are there, or cannot be judged.
    Keep,
    /// Some owners are there: these references stay.
    Forget(Vec<OwnerReference>),
    /// No owner is left.
    Collect,
}

/// Decides by which owners are there; `None` means that it cannot be known (their kind is not served).
fn judge(owners: &[OwnerReference], mut is_there: impl FnMut(&OwnerReference) -> Option<bool>) -> Verdict {
    let mut solid = Vec::new();
    let mut absent = 0;
    for owner in owners {
        match is_there(owner) {
            Some(false) => absent += 1,
            Some(true) => solid.push(owner.clone()),
            None => return Verdict::Keep,
        }
    }
    match (absent, solid.is_empty()) {
        (0, _) => Verdict::Keep,
        (_, true) => Verdict::Collect,
        (_, false) => Verdict::Forget(solid),
    }
}

/// Looks at one object with owners: collects it if none of them is there.
pub(super) async fn check(caller: &Caller<'_>, server: &Server, key: &Key) -> Result<(), Failure> {
    let Some(entry) = server.store().get(key) else { return Ok(()) };
    let Some(resource) = resource_of(server, caller, &entry) else { return Ok(()) };
    let Ok(object) = serde_json::from_slice::<Object>(&entry.value) else { return Ok(()) };
    let verdict = judge(&object.owner_references(), |owner| is_there(caller, server, key, owner));
    let name = object.object_name();
    match verdict {
        Verdict::Keep => Ok(()),
        Verdict::Forget(references) => {
            let patch = json!({"metadata": {"ownerReferences": references, "uid": object.uid(),
                "resourceVersion": object.resource_version()}});
            caller.merge(resource.object_path(&name), patch).await
        }
        Verdict::Collect if object.is_deleting() => Ok(()),
        Verdict::Collect => caller.delete(&resource, &name, object.uid(), "Background").await,
    }
}

fn is_there(caller: &Caller<'_>, server: &Server, dependent: &Key, owner: &OwnerReference) -> Option<bool> {
    let kind = GroupVersionKind::from_api_version(&owner.api_version, &owner.kind);
    let resource = server.resource_of(caller.space(), &kind)?;
    let collection = Collection {
        space: dependent.collection.space.clone(),
        resource: resource.group_resource().to_string().into(),
    };
    let namespace = if resource.namespaced { dependent.namespace.clone() } else { "".into() };
    let key = Key { collection, namespace, name: owner.name.as_str().into() };
    Some(server.store().get(&key).is_some_and(|held| held.meta.uid == Uid::parse(&owner.uid)))
}

/// Lets an object go that is being deleted with `Foreground` or `Orphan`, unless it still has to wait.
pub(super) async fn release(
    caller: &Caller<'_>,
    server: &Server,
    owners: &Mutex<Owners>,
    key: &Key,
) -> Result<(), Failure> {
    let Some(entry) = server.store().get(key) else { return Ok(()) };
    let Ok(object) = serde_json::from_slice::<Object>(&entry.value) else { return Ok(()) };
    let finalizers = object.finalizers();
    let Some(resource) = resource_of(server, caller, &entry).filter(|_| object.is_deleting()) else {
        return Ok(());
    };
    let finalizer = if finalizers.contains(&ORPHAN) {
        orphan(caller, server, owners, object.uid()).await?;
        ORPHAN
    } else if finalizers.contains(&FOREGROUND) {
        // Before the look, so that a dependent that goes meanwhile wakes it.
        owners.lock().waits(key, entry.meta.uid);
        if delete_dependents(caller, server, owners, object.uid()).await? {
            return Ok(());
        }
        owners.lock().waits_no_more(entry.meta.uid);
        FOREGROUND
    } else {
        return Ok(());
    };
    let left: Vec<&str> = finalizers.into_iter().filter(|held| *held != finalizer).collect();
    let patch =
        json!({"metadata": {"finalizers": left, "uid": object.uid(), "resourceVersion": object.resource_version()}});
    caller.merge(resource.object_path(&object.object_name()), patch).await
}

/// Deletes the dependents of an owner; says whether one that blocks the owner is still there.
async fn delete_dependents(
    caller: &Caller<'_>,
    server: &Server,
    owners: &Mutex<Owners>,
    uid: &str,
) -> Result<bool, Failure> {
    let mut blocked = false;
    let dependents = owners.lock().of(Uid::parse(uid));
    for key in dependents {
        let Some((resource, object)) = dependent(caller, server, &key) else { continue };
        let blocks = object.owner_references().iter().any(|o| o.uid == uid && o.block_owner_deletion == Some(true));
        if !object.is_deleting() {
            let propagation = if blocks { "Foreground" } else { "Background" };
            caller.delete(&resource, &object.object_name(), object.uid(), propagation).await?;
        }
        // In a circle the dependent waits for the owner already: it must not wait for the dependent as well.
        let circle = object.is_deleting() && owners.lock().waiting.contains_key(&Uid::parse(object.uid()));
        blocked |=
            blocks && !circle && server.store().get(&key).is_some_and(|held| held.meta.uid == Uid::parse(object.uid()));
    }
    Ok(blocked)
}

async fn orphan(caller: &Caller<'_>, server: &Server, owners: &Mutex<Owners>, uid: &str) -> Result<(), Failure> {
    let dependents = owners.lock().of(Uid::parse(uid));
    for key in dependents {
        let Some((resource, object)) = dependent(caller, server, &key) else { continue };
        let mut references = object.owner_references();
        references.retain(|owner| owner.uid != uid);
        let patch = json!({"metadata": {"ownerReferences": references, "uid": object.uid(),
            "resourceVersion": object.resource_version()}});
        caller.merge(resource.object_path(&object.object_name()), patch).await?;
    }
    Ok(())
}

fn dependent(caller: &Caller<'_>, server: &Server, key: &Key) -> Option<(api::Resource, Object)> {
    let entry = server.store().get(key)?;
    Some((resource_of(server, caller, &entry)?, serde_json::from_slice(&entry.value).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn verdict(owners: &str) -> Verdict {
        let owners: Vec<OwnerReference> = owners
            .split_whitespace()
            .map(|name| OwnerReference { name: name.into(), ..OwnerReference::default() })
            .collect();
        judge(&owners, |owner| match owner.name.as_bytes()[0] {
            b'+' => Some(true),
            b'-' => Some(false),
            _ => None,
        })
    }

    #[test]
    fn judges() {
        assert_eq!(verdict(""), Verdict::Keep);
        assert_eq!(verdict("+a"), Verdict::Keep);
        assert_eq!(verdict("-a"), Verdict::Collect);
        assert_eq!(verdict("-a -b"), Verdict::Collect);
        assert_eq!(verdict("-a ?b"), Verdict::Keep);
        let Verdict::Forget(left) = verdict("-a +b") else { panic!("one owner is there") };
        assert_eq!(left[0].name, "+b");
    }

    #[test]
    fn remembers_who_waits() {
        let key = |name: &str| Key {
            collection: Collection { space: "s".into(), resource: "configmaps".into() },
            namespace: "ns".into(),
            name: name.into(),
        };
        let mut owners = Owners::default();
        let uid = Uid::parse("u1");
        owners.add(&key("child"), &[uid]);
        owners.waits(&key("owner"), uid);
        assert_eq!(owners.of(uid), [key("child")]);
        assert_eq!(owners.remove(&key("child"), &[uid]), [key("owner")]);
        assert_eq!(owners.of(uid), []);
        owners.waits_no_more(uid);
        assert_eq!(owners.remove(&key("child"), &[uid]), []);
    }
}
