//! Letting go: which objects a write would take from a work, and whether that may be.
//!
//! An agent deletes an object that no AppliedManifestWork owns any more. So when an object moves from one work to another,
//! whichever policies and WDSes they are made from, the work that holds it is kept until the other one has it applied: the
//! cluster says so in the status of that work, and then both own it. The order is made here, in what is written into the
//! mailbox, since an agent is free to look at two works in any order, and stock agents do.

use super::claims::{Claims, Manifest, object_of};
use super::held::HeldWork;
use super::plan::Op;
use api::work::{CONTENT_ANNOTATION, ManifestConfig, ManifestWork};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The objects that a work holds and would not hold after a write.
pub fn releases(op: &Op, held: &[Arc<HeldWork>]) -> Vec<Box<str>> {
    let name = op.work().name;
    let Some(held) = held.iter().find(|held| held.name.name == name) else { return Vec::new() };
    let objects = held.objects.iter().map(|claim| claim.object.clone());
    match op {
        Op::Create { .. } => Vec::new(),
        Op::Update { bundle, .. } => objects.filter(|object| !bundle.objects().contains(object)).collect(),
        Op::Delete { .. } => objects.collect(),
    }
}

/// What becomes of an object when a work lets go of it.
#[derive(Clone, PartialEq, Debug)]
pub enum Fate {
    /// Nobody asks for it: it goes.
    Free,
    /// This other work has it applied: it stays.
    HandedTo(Arc<HeldWork>),
    /// It is asked for and no other work has it applied yet: it must not be let go of.
    Waits,
}

impl Claims {
    /// What becomes of an object when this work lets go of it. `asked` tells whether anybody in the WDS of the work asks for
    /// it in that cluster.
    ///
    /// Of another WDS only its works can be seen. One that has the object not applied yet is waited for if it is younger:
    /// of two works that both are to go, one goes first. Ages are those by which it is decided what the object is like.
    pub fn fate(&self, work: &HeldWork, object: &str, asked: bool) -> Fate {
        if let Some((other, _)) = self.others(work, object).find(|(other, _)| other.has_applied(object)) {
            return Fate::HandedTo(other.clone());
        }
        let mut awaited = self.others(work, object).filter(|(other, later)| *later && other.wds != work.wds);
        if asked || awaited.next().is_some() { Fate::Waits } else { Fate::Free }
    }
}

/// Whether nothing is to be written as long as the work has to keep these objects: a delete waits, and an update is made
/// with the objects in it, which it may have been already.
pub fn is_kept(op: &Op, held: &HeldWork, objects: &BTreeSet<Box<str>>) -> bool {
    let Op::Update { bundle, .. } = op else { return true };
    held.has(&format!("{}@{}", bundle.digest_carrying(objects), held.generation))
}

/// The update, but that the work keeps these objects just as it has them now. `None` of anything else.
pub fn keeping(op: &Op, work: &ManifestWork, objects: &BTreeSet<Box<str>>) -> Option<Op> {
    let Op::Update { cluster, bundle, .. } = op else { return None };
    let manifests = work.spec.workload.manifests.iter().map(ToString::to_string);
    let read = manifests.filter_map(|text| Some((serde_json::from_str::<Manifest>(&text).ok()?, text)));
    let kept: Vec<(Manifest, String)> = read.filter(|(manifest, _)| objects.contains(&object_of(manifest))).collect();
    let is_about = |config: &&ManifestConfig| kept.iter().any(|(manifest, _)| manifest.is(&config.resource_identifier));
    let configs = work.spec.manifest_configs.iter().filter(is_about).cloned().collect();
    let manifests = kept.iter().map(|(_, text)| text.as_str().into()).collect();
    let bundle = bundle.carrying(manifests, configs, objects);
    let held = work.metadata.annotations.get(CONTENT_ANNOTATION).and_then(|content| content.split_once('@'));
    let same_digest = held.is_some_and(|(digest, _)| digest == bundle.digest.to_string());
    let generation = work.metadata.generation + i64::from(!same_digest);
    Some(Op::Update { cluster: cluster.clone(), bundle: Arc::new(bundle), generation })
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::work::{BINDING_LABEL, WDS_LABEL};
    use serde_json::json;

    /// A work of the object `a`, and of `b` if it has two. `how` is what its cluster reports of `a`.
    fn work(name: &str, wds: &str, created: u8, how: &str) -> Arc<HeldWork> {
        let manifest =
            |name| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n"}});
        let mut work = json!({
            "metadata": {
                "namespace": "edge", "name": name, "uid": name, "generation": 2, "labels": {WDS_LABEL: wds, BINDING_LABEL: name},
                "creationTimestamp": format!("2026-01-0{created}T00:00:00Z"),
            },
            "spec": {"workload": {"manifests": [manifest("a"), manifest("b")]}},
        });
        let (all, a, observed) = match how {
            "nothing" => return Arc::new(serde_json::from_value(work).unwrap()),
            "applied" | "leaving" => ("True", "True", 2),
            "applied, not b" => ("False", "True", 2),
            "refused" => ("False", "False", 2),
            "applied before" => ("True", "True", 1),
            _ => panic!("{how}"),
        };
        if how == "leaving" {
            work["metadata"]["deletionTimestamp"] = json!("2026-01-09T00:00:00Z");
        }
        let meta = json!({"group": "", "kind": "ConfigMap", "namespace": "n", "name": "a"});
        work["status"] = json!({
            "conditions": [{"type": "Applied", "status": all, "observedGeneration": observed}],
            "resourceStatus": {"manifests": [{"resourceMeta": meta, "conditions": [{"type": "Applied", "status": a}]}]},
        });
        Arc::new(serde_json::from_value(work).unwrap())
    }

    /// `other` is the WDS, the age and the report of another work with the object.
    #[track_caller]
    fn check(other: Option<(&str, u8, &str)>, asked: bool, expected: &str) {
        let mut claims = Claims::default();
        let leaving = work("this", "wds1", 5, "applied");
        claims.set(None, Some(&leaving));
        if let Some((wds, created, how)) = other {
            claims.set(None, Some(&work("other", wds, created, how)));
        }
        let fate = match claims.fate(&leaving, "ConfigMap n/a", asked) {
            Fate::Free => "goes".to_owned(),
            Fate::HandedTo(to) => format!("stays by {}", to.name.name),
            Fate::Waits => "waits".to_owned(),
        };
        assert_eq!(fate, expected, "{other:?} {asked}");
    }

    #[test]
    fn an_object_that_is_asked_for_waits_until_another_work_has_it() {
        check(None, false, "goes");
        check(None, true, "waits");
        for how in ["nothing", "refused", "applied before", "leaving"] {
            check(Some(("wds1", 1, how)), true, "waits");
            check(Some(("wds1", 1, how)), false, "goes");
        }
        for how in ["applied", "applied, not b"] {
            check(Some(("wds1", 1, how)), true, "stays by other");
            check(Some(("wds2", 9, how)), false, "stays by other");
        }
        // What another WDS asks is seen by its works only.
        check(Some(("wds2", 9, "nothing")), false, "waits");
        check(Some(("wds2", 9, "refused")), false, "waits");
        check(Some(("wds2", 9, "leaving")), false, "goes");
        check(Some(("wds2", 1, "nothing")), false, "goes");
    }

    #[test]
    fn works_are_told_what_they_would_lose() {
        let held = [work("this", "wds1", 1, "applied")];
        let delete = Op::Delete { work: held[0].name.clone(), uid: "this".into() };
        assert_eq!(releases(&delete, &held), ["ConfigMap n/a".into(), "ConfigMap n/b".into()]);
        let gone = Op::Delete { work: api::ObjectName::namespaced("edge", "that"), uid: "that".into() };
        assert_eq!(releases(&gone, &held), []);
    }
}
