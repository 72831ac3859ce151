//! What the agent itself did last, so that its own writes, which its watches show a little later, are not taken for
//! somebody else's; and so that of a work with many manifests only the changed ones are looked at.

use api::{GroupVersionKind, Object, ObjectName, OwnerReference, Resource};
use parking_lot::Mutex;
use planner::apply::{self, Strategy, Wanted};
use planner::digest::Digest;
use std::collections::{HashMap, HashSet};

/// One manifest that is as it should be in the cluster.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Made {
    /// Of the manifest's text.
    pub(crate) manifest: Digest,
    pub(crate) kind: GroupVersionKind,
    pub(crate) resource: Resource,
    pub(crate) name: ObjectName,
    pub(crate) strategy: Strategy,
    /// The object as it was then; empty where there is none (strategy `ReadOnly`).
    pub(crate) uid: String,
    pub(crate) version: String,
}

/// What is known of all works, by name. Bounded by what the mailbox holds: a work that is gone is forgotten.
#[derive(Default)]
pub(crate) struct Memory(Mutex<HashMap<String, Work>>);

#[derive(Default)]
struct Work {
    /// Uid of the AppliedManifestWork that owns what was made.
    owner: String,
    /// By place in the work; nothing where something is to be done.
    made: Vec<Option<Made>>,
    /// While manifests are applied: objects of which an event came meanwhile. It may be of what is being written, or of
    /// what somebody did right after.
    doubts: Option<HashSet<(Resource, ObjectName)>>,
}

/// What an event of an object means for a work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Meaning {
    /// The object is as it should be.
    Fine,
    /// It is not, or it is not known how it should be: the work is to be looked at.
    LookAt,
}

impl Memory {
    /// What was made of a manifest for an owner, if it still stands. `strategy` gives how such an object is to be handled:
    /// one that was only created is as it should be then, and not when it is to be kept up to date.
    pub(crate) fn get(
        &self,
        work: &str,
        owner: &str,
        ordinal: usize,
        manifest: Digest,
        strategy: impl FnOnce(&Resource, &ObjectName) -> Strategy,
    ) -> Option<Made> {
        let works = self.0.lock();
        let work = works.get(work).filter(|work| work.owner == owner)?;
        let made = work.made.get(ordinal)?.as_ref().filter(|made| made.manifest == manifest)?;
        (strategy(&made.resource, &made.name) == made.strategy).then(|| made.clone())
    }

    /// Whether anything is known of a work.
    pub(crate) fn knows(&self, work: &str, owner: &str) -> bool {
        self.0.lock().get(work).is_some_and(|work| work.owner == owner)
    }

    /// Manifests of a work are applied from now on.
    pub(crate) fn begin(&self, work: &str) {
        self.0.lock().entry(work.to_owned()).or_default().doubts = Some(HashSet::new());
    }

    /// Keeps what was made. `made` has one entry for each manifest of the work; `live` gives uid and version of what the
    /// watch shows now, which settles the doubts: where it shows something else, the event that told so has the work
    /// looked at again.
    pub(crate) fn keep(
        &self,
        work: &str,
        owner: &str,
        mut made: Vec<Option<Made>>,
        live: impl Fn(&Resource, &ObjectName) -> Option<(String, String)>,
    ) {
        let mut works = self.0.lock();
        let held = works.entry(work.to_owned()).or_default();
        let doubts = held.doubts.take().unwrap_or_default();
        for slot in &mut made {
            let stands = |made: &Made| {
                !doubts.contains(&(made.resource.clone(), made.name.clone()))
                    || live(&made.resource, &made.name)
                        .is_some_and(|live| live == (made.uid.clone(), made.version.clone()))
            };
            if !doubts.is_empty() && !slot.as_ref().is_some_and(stands) {
                *slot = None;
            }
        }
        owner.clone_into(&mut held.owner);
        held.made = made;
    }

    pub(crate) fn forget(&self, work: &str) {
        self.0.lock().remove(work);
    }

    /// What an event means. `manifest` reads the manifest at a place of the work, if its text still has that digest.
    pub(crate) fn judge(
        &self,
        work: &str,
        owner: &OwnerReference,
        (resource, name): (&Resource, &ObjectName),
        live: Option<&Object>,
        manifest: impl FnOnce(usize, Digest) -> Option<Object>,
    ) -> Meaning {
        let mut works = self.0.lock();
        let Some(work) = works.get_mut(work) else { return Meaning::LookAt };
        if let Some(doubts) = &mut work.doubts {
            doubts.insert((resource.clone(), name.clone()));
        }
        if work.owner != owner.uid {
            return Meaning::LookAt;
        }
        let is_it = |made: &Made| made.resource == *resource && made.name == *name;
        let found = work.made.iter().position(|made| made.as_ref().is_some_and(is_it));
        let Some((ordinal, slot)) = found.map(|at| (at, &mut work.made[at])) else { return Meaning::LookAt };
        let Some(made) = slot else { return Meaning::LookAt };
        if let Some(live) = live {
            if made.uid == live.uid() && made.version == live.resource_version() {
                return Meaning::Fine;
            }
            if let Some(manifest) = manifest(ordinal, made.manifest) {
                let strategy = &made.strategy;
                let wanted = Wanted { manifest: &manifest, resource, strategy, owner, applied_before: true };
                if made.uid == live.uid() && !live.is_deleting() && apply::plan(&wanted, Some(live)).is_none() {
                    made.version = live.resource_version().to_owned();
                    return Meaning::Fine;
                }
            }
        }
        *slot = None;
        Meaning::LookAt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const THINGS: Resource = Resource::namespaced("example.com", "v1", "things", "Thing");

    fn object(value: &str, uid: &str, version: &str, owner: &str) -> Object {
        serde_json::from_value(json!({
            "apiVersion": "example.com/v1", "kind": "Thing", "data": {"k": value, "more": "x"},
            "metadata": {"name": "a", "namespace": "n", "uid": uid, "resourceVersion": version,
                "ownerReferences": [{"apiVersion": "x/v1", "kind": "AppliedManifestWork", "name": "w", "uid": owner}]},
        }))
        .unwrap()
    }

    fn memory() -> Memory {
        let memory = Memory::default();
        let made = Made {
            manifest: Digest::of(b"m"),
            kind: THINGS.group_version_kind(),
            resource: THINGS,
            name: ObjectName::namespaced("n", "a"),
            strategy: Strategy::Update,
            uid: "u".into(),
            version: "5".into(),
        };
        memory.keep("w", "o", vec![None, Some(made)], |_, _| None);
        memory
    }

    fn get(memory: &Memory, work: &str, owner: &str, ordinal: usize, manifest: &[u8]) -> Option<Made> {
        memory.get(work, owner, ordinal, Digest::of(manifest), |_, _| Strategy::Update)
    }

    #[track_caller]
    fn check(live: Option<Object>, expected: Meaning) {
        let memory = memory();
        let owner = OwnerReference { uid: "o".into(), ..OwnerReference::default() };
        let manifest = |ordinal: usize, digest: Digest| {
            assert_eq!((ordinal, digest), (1, Digest::of(b"m")));
            let mut manifest = object("1", "", "", "o");
            manifest.0.insert("data".into(), json!({"k": "1"}));
            manifest.metadata_mut().retain(|key, _| key == "name" || key == "namespace");
            Some(manifest)
        };
        let name = ObjectName::namespaced("n", "a");
        let meaning = memory.judge("w", &owner, (&THINGS, &name), live.as_ref(), manifest);
        assert_eq!(meaning, expected);
        let still = get(&memory, "w", "o", 1, b"m").is_some();
        assert_eq!(still, expected == Meaning::Fine, "what is to be looked at is forgotten");
    }

    #[test]
    fn events_that_change_nothing_of_ours_are_fine() {
        check(Some(object("anything", "u", "5", "o")), Meaning::Fine);
        check(Some(object("1", "u", "6", "o")), Meaning::Fine);
        check(Some(object("2", "u", "6", "o")), Meaning::LookAt);
        check(Some(object("1", "other", "6", "o")), Meaning::LookAt);
        check(Some(object("1", "u", "6", "somebody")), Meaning::LookAt);
        check(None, Meaning::LookAt);
    }

    #[test]
    fn what_was_made_for_another_owner_or_content_does_not_count() {
        let memory = memory();
        assert!(get(&memory, "w", "o", 1, b"m").is_some());
        assert!(get(&memory, "w", "p", 1, b"m").is_none());
        assert!(get(&memory, "w", "o", 1, b"n").is_none());
        assert!(get(&memory, "w", "o", 0, b"m").is_none());
        let only_created = memory.get("w", "o", 1, Digest::of(b"m"), |_, _| Strategy::CreateOnly);
        assert!(only_created.is_none(), "it is handled otherwise now");
        assert!(memory.knows("w", "o") && !memory.knows("w", "p"));
        memory.forget("w");
        assert!(!memory.knows("w", "o"));
    }

    #[test]
    fn an_event_while_applying_is_not_forgotten() {
        let made = get(&memory(), "w", "o", 1, b"m").unwrap();
        let owner = OwnerReference { uid: "o".into(), ..OwnerReference::default() };
        let name = ObjectName::namespaced("n", "a");
        let check = |event: bool, live: Option<(&str, &str)>, kept: bool| {
            let memory = Memory::default();
            memory.begin("w");
            if event {
                let meaning = memory.judge("w", &owner, (&THINGS, &name), None, |_, _| None);
                assert_eq!(meaning, Meaning::LookAt);
            }
            let live = live.map(|(uid, version)| (uid.to_owned(), version.to_owned()));
            memory.keep("w", "o", vec![None, Some(made.clone())], |_, _| live.clone());
            assert_eq!(get(&memory, "w", "o", 1, b"m").is_some(), kept, "{event} {live:?}");
        };
        check(false, None, true);
        check(true, Some(("u", "5")), true);
        check(true, Some(("u", "6")), false);
        check(true, None, false);
    }
}
