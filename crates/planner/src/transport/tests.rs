//! Bundles and plans, each carried out and found settled.

use super::*;
use crate::binding::ObjectId;
use crate::digest::Digest;
use api::{GroupResource, ObjectName};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn origin() -> Origin {
    Origin { wds: "wds1".into(), binding: "gold".into(), uid: "B".into(), generation: 4 }
}

/// `name=content`; with `!` in front, create-only.
fn item(text: &str) -> Item {
    let (create_only, text) = text.strip_prefix('!').map_or((false, text), |text| (true, text));
    let (name, content) = text.split_once('=').unwrap_or((text, "1"));
    let resource = GroupResource { group: "".into(), resource: "configmaps".into() };
    let manifest = json!({"metadata": {"name": name}, "data": content}).to_string();
    Item {
        id: Arc::new(ObjectId { resource: Arc::new(resource), name: ObjectName::namespaced("n", name) }),
        uid: name.into(),
        digest: Digest::of(manifest.as_bytes()),
        manifest: manifest.into(),
        handling: Handling { create_only, ..Handling::default() },
    }
}

fn items(text: &str) -> Vec<Item> {
    text.split_whitespace().map(item).collect()
}

/// A mailbox on a server that moves the generation when the spec changes.
#[derive(Default)]
struct Mailbox(Vec<(Value, i64)>);

impl Mailbox {
    fn held(&self) -> Vec<Arc<HeldWork>> {
        let held = self.0.iter().map(|(work, generation)| {
            let mut work = work.clone();
            work["metadata"]["generation"] = json!(generation);
            work["metadata"]["uid"] = work["metadata"]["name"].clone();
            Arc::new(serde_json::from_value(work).unwrap())
        });
        held.collect()
    }

    fn apply(&mut self, op: &Op) {
        let at = self.0.iter().position(|(work, _)| work["metadata"]["name"] == op.work().name.as_str());
        match (op, at) {
            (Op::Create { .. }, None) => self.0.push((op.body(), 1)),
            (Op::Update { .. }, Some(at)) => {
                let (held, generation) = &mut self.0[at];
                let before = held["spec"].clone();
                let mut object = api::Object(held.as_object().unwrap().clone());
                machinery::patch::merge::apply(&mut object, &op.body()).unwrap();
                *held = Value::Object(object.0);
                *generation += i64::from(held["spec"] != before);
            }
            (Op::Delete { .. }, Some(at)) => {
                self.0.remove(at);
            }
            _ => panic!("{op} does not fit the mailbox"),
        }
    }

    /// Carries out a plan, and tells it.
    #[track_caller]
    fn reach(&mut self, demand: Demand<'_>, expected: &str) {
        let cluster = "edge".into();
        let ops = plan(&cluster, demand, &self.held());
        assert_eq!(ops.iter().map(told).collect::<Vec<_>>().join(", "), expected);
        ops.iter().for_each(|op| self.apply(op));
        let left = plan(&cluster, demand, &self.held());
        assert_eq!(
            left.iter().map(told).collect::<Vec<_>>().join(", "),
            "",
            "a plan that was carried out leaves nothing to do"
        );
    }
}

fn told(op: &Op) -> String {
    op.to_string().replace("ManifestWork edge/B-wds1-", "").replace("ManifestWork edge/gold-wds1-", "")
}

fn single(text: &str) -> Bundles {
    bundle(&origin(), &items(text), &[], Limits::default(), &Packing::new())
}

const fn deliver(bundles: &Bundles) -> Demand<'_> {
    Demand::Deliver { works: bundles.works.as_slice(), keep: &bundles.keep }
}

#[test]
fn a_mailbox_gets_what_differs() {
    let mut mailbox = Mailbox::default();
    mailbox.reach(deliver(&single("a b")), "create a, create b");
    mailbox.reach(deliver(&single("a b")), "");
    mailbox.reach(deliver(&single("a=2 b")), "update a");
    mailbox.reach(deliver(&single("a=2 !b")), "update b");
    mailbox.reach(deliver(&single("a=2 b c")), "update b, create c");
    mailbox.reach(deliver(&single("d c")), "create d, delete a, delete b");
    mailbox.reach(Demand::Withdraw, "delete c, delete d");
    mailbox.reach(Demand::Withdraw, "");
}

#[test]
fn a_work_that_somebody_edited_is_mended() {
    let mut mailbox = Mailbox::default();
    let bundles = single("a b");
    mailbox.reach(deliver(&bundles), "create a, create b");
    mailbox.0[0].0["spec"]["workload"]["manifests"][0]["data"] = json!("mine");
    mailbox.0[0].1 += 1;
    let cluster = "edge".into();
    // The spec is mended with the first write; the second one only notes the generation.
    for turn in 0..2 {
        let ops = plan(&cluster, deliver(&bundles), &mailbox.held());
        assert_eq!(ops.iter().map(told).collect::<Vec<_>>(), ["update a"], "turn {turn}");
        mailbox.apply(&ops[0]);
        assert_eq!(mailbox.0[0].0["spec"]["workload"]["manifests"][0]["data"], "1");
    }
    mailbox.reach(deliver(&bundles), "");
    // So is one that lost its labels.
    mailbox.0[1].0["metadata"]["labels"] = json!({});
    mailbox.reach(deliver(&bundles), "update b");
}

#[test]
fn what_a_clause_asks_is_said_in_the_words_of_a_work() {
    let handled = |modulation: Value| {
        let modulation: api::control::Modulation = serde_json::from_value(modulation).unwrap();
        let item = item("a").handled(&modulation);
        let bundles = bundle(&origin(), &[item], &[], Limits::default(), &Packing::new());
        let work = &bundles.works[0];
        let spec = work.spec();
        let strategy = spec["manifestConfigs"][0]["updateStrategy"]["type"].clone();
        let marks = spec["workload"]["manifests"][0]["metadata"].get("annotations").cloned().unwrap_or_default();
        let orphan = spec["deleteOption"]["selectivelyOrphans"]["orphaningRules"][0]["name"].clone();
        (json!([strategy, marks, orphan]), work.digest)
    };
    let take_over = |how: &str| json!({api::work::TAKE_OVER_ANNOTATION: how});
    let table = [
        (json!({}), json!([null, null, null])),
        (json!({"createOnly": true}), json!(["CreateOnly", null, null])),
        (json!({"readOnly": true, "createOnly": true, "takeOver": "Never"}), json!(["ReadOnly", null, null])),
        (json!({"takeOver": "IfNoDiff"}), json!(["ServerSideApply", take_over("IfNoDiff"), null])),
        (json!({"takeOver": "Never"}), json!(["ServerSideApply", take_over("Never"), null])),
        (json!({"orphanOnRemoval": true}), json!([null, {api::work::ORPHAN_ANNOTATION: "true"}, "a"])),
    ];
    let mut digests = BTreeSet::new();
    for (modulation, expected) in table {
        let (told, digest) = handled(modulation.clone());
        assert_eq!(told, expected, "{modulation}");
        assert!(digests.insert(digest), "{modulation} changes what is sent");
    }
    // What is no longer asked is taken away again.
    let mut mailbox = Mailbox::default();
    let orphaned = [item("a").handled(&serde_json::from_value(json!({"orphanOnRemoval": true})).unwrap())];
    let orphaned = bundle(&origin(), &orphaned, &[], Limits::default(), &Packing::new());
    mailbox.reach(deliver(&orphaned), "create a");
    mailbox.reach(deliver(&single("a")), "update a");
    assert_eq!(mailbox.0[0].0["spec"].get("deleteOption"), None);
}

#[test]
fn a_work_that_goes_is_waited_for() {
    let mut mailbox = Mailbox::default();
    let bundles = single("a");
    mailbox.reach(deliver(&bundles), "create a");
    mailbox.0[0].0["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    mailbox.reach(deliver(&single("a=2")), "");
    mailbox.reach(Demand::Withdraw, "");
    mailbox.0.clear();
    mailbox.reach(deliver(&bundles), "create a");
}

#[test]
fn a_work_says_whose_it_is() {
    let bundles = single("!a");
    let op = plan(&"edge".into(), deliver(&bundles), &[]).pop().unwrap();
    let body = op.body();
    assert_eq!(body["metadata"]["name"], "B-wds1-a");
    assert_eq!(
        body["metadata"]["labels"],
        json!({
            "transport.kubestellar.io/originOwnerReferenceBindingKey": "gold",
            "transport.kubestellar.io/originWdsName": "wds1",
        })
    );
    assert_eq!(body["metadata"]["annotations"]["transport.kubestellar.io/originOwnerReferenceBindingGeneration"], "4");
    assert_eq!(
        body["spec"]["manifestConfigs"],
        json!([{
            "resourceIdentifier": {"group": "", "resource": "configmaps", "namespace": "n", "name": "a"},
            "updateStrategy": {"type": "CreateOnly"},
        }])
    );
}

#[test]
fn what_cannot_be_sent_stays_as_it_was_sent() {
    let limits = Limits { max_objects: 1, max_bytes: 60 };
    let mut mailbox = Mailbox::default();
    mailbox.reach(deliver(&single("a b c")), "create a, create b, create c");
    let long = format!("a b={}", "x".repeat(60));
    let bundles = bundle(&origin(), &items(&long), &["c".into()], limits, &Packing::new());
    assert!(
        bundles.problems[0].starts_with("configmaps n/b is not sent: it is 95 bytes long"),
        "{:?}",
        bundles.problems
    );
    mailbox.reach(deliver(&bundles), "");
}

/// Bundles `text` after what went together before, and tells the shards.
#[track_caller]
fn check_shards(max_objects: usize, max_bytes: usize, packing: &mut Packing, text: &str, expected: &str) {
    let limits = Limits { max_objects, max_bytes };
    let bundles = bundle(&origin(), &items(text), &[], limits, packing);
    let shards = bundles.works.iter().map(|work| {
        let spec = work.spec();
        let names = spec["workload"]["manifests"].as_array().unwrap().iter();
        let names: Vec<_> = names.map(|m| m["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        format!("{}:{}", work.name.rsplit('-').next().unwrap(), names.join("+"))
    });
    assert_eq!(shards.collect::<Vec<_>>().join(" "), expected);
    // What the works tell is what was decided, also after a restart.
    let mut mailbox = Mailbox::default();
    mailbox.reach(
        deliver(&bundles),
        &bundles
            .works
            .iter()
            .map(|w| format!("create {}", w.name.rsplit('-').next().unwrap()))
            .collect::<Vec<_>>()
            .join(", "),
    );
    let mut works = Works::default();
    for held in mailbox.held() {
        works.set(&held.name.clone(), None, Some(held));
    }
    assert_eq!(works.packing("gold"), bundles.packing);
    *packing = bundles.packing;
}

#[test]
fn objects_stay_in_their_shards() {
    let mut packing = Packing::new();
    check_shards(2, 1000, &mut packing, "a b c d e", "0:a+b 1:c+d 2:e");
    check_shards(2, 1000, &mut packing, "a c d e", "0:a 1:c+d 2:e");
    check_shards(2, 1000, &mut packing, "0 a c d e", "0:0+a 1:c+d 2:e");
    check_shards(2, 1000, &mut packing, "0 a e f g", "0:0+a 1:g 2:e+f");
    let ten = "a b c d e f g h i j";
    check_shards(2, 512_000, &mut Packing::new(), ten, "0:a+b 1:c+d 2:e+f 3:g+h 4:i+j");
    // By size: each is 36 bytes.
    check_shards(512_000, 80, &mut Packing::new(), "a b c", "0:a+b 1:c");
    check_shards(512_000, 36, &mut Packing::new(), "a b", "0:a 1:b");
}

#[test]
fn a_shard_with_what_cannot_be_sent_stays() {
    let limits = Limits { max_objects: 2, max_bytes: 1000 };
    let first = bundle(&origin(), &items("a b c d"), &[], limits, &Packing::new());
    let second = bundle(&origin(), &items("a=2 c d=2"), &["b".into()], limits, &first.packing);
    assert_eq!(second.keep, BTreeSet::from(["gold-wds1-0".to_owned()]));
    let mut mailbox = Mailbox::default();
    mailbox.reach(deliver(&first), "create 0, create 1");
    mailbox.reach(deliver(&second), "update 1");
    assert_eq!(second.packing, first.packing);
}

#[test]
fn label_values_are_always_valid() {
    let check = |name: &str, expected: &str| assert_eq!(label_value(name), expected);
    check("gold", "gold");
    check("a.b-c_d", "a.b-c_d");
    check("system:x", &format!("system_x-{}", Digest::of(b"system:x").short()));
    let long = "x".repeat(70);
    check(&long, &format!("{}-{}", "x".repeat(48), Digest::of(long.as_bytes()).short()));
    assert!(label_value(&"é".repeat(40)).len() <= 63);
}

#[test]
fn works_are_counted() {
    let work = |name: &str, applied: &str| -> Arc<HeldWork> {
        let mut work =
            json!({"metadata": {"namespace": "edge", "name": name, "labels": {api::work::BINDING_LABEL: "gold"}}});
        if !applied.is_empty() {
            work["status"]["conditions"] = json!([{"type": "Applied", "status": applied, "message": "could not"}]);
            let meta = json!({"kind": "Secret", "namespace": "n", "name": "s"});
            work["status"]["resourceStatus"]["manifests"] = json!([
                {"resourceMeta": meta, "conditions": [{"type": "Applied", "status": applied, "message": "forbidden"}]}]);
        }
        Arc::new(serde_json::from_value(work).unwrap())
    };
    let mut works = Works::default();
    let (waiting, failed, applied) = (work("a", ""), work("a", "False"), work("a", "True"));
    let name = waiting.name.clone();
    assert_eq!(works.set(&name, None, Some(waiting.clone())), ["gold".to_owned()].into());
    assert_eq!((works.waiting("gold"), works.failed("gold", 3).0), (1, 0));
    works.set(&name, Some(&waiting), Some(failed.clone()));
    assert_eq!(works.waiting("gold"), 0);
    assert_eq!(works.failed("gold", 3), (1, vec![("edge".into(), "Secret n/s: forbidden".into())]));
    works.set(&name, Some(&failed), Some(applied.clone()));
    assert_eq!((works.waiting("gold"), works.failed("gold", 3).0), (0, 0));
    assert_eq!(works.in_mailbox("gold", &"edge".into()).len(), 1);
    works.set(&name, Some(&applied), None);
    assert!(works.mailboxes("gold").is_empty());
}

#[test]
fn the_finalizer_is_held_while_there_are_works() {
    let binding = |meta: Value| serde_json::from_value(json!({"metadata": meta})).unwrap();
    let told =
        |meta: Value, works_left: bool| plan_finalizer(&binding(meta), works_left).map(|op| op.finalizers.join(" "));
    let ours = api::control::BINDING_FINALIZER;
    let gone = "2026-01-01T00:00:00Z";
    assert_eq!(told(json!({"name": "b", "finalizers": ["x"]}), false), Some(format!("x {ours}")));
    assert_eq!(told(json!({"name": "b", "finalizers": [ours]}), false), None);
    assert_eq!(told(json!({"name": "b", "finalizers": [ours], "deletionTimestamp": gone}), true), None);
    assert_eq!(
        told(json!({"name": "b", "finalizers": [ours, "x"], "deletionTimestamp": gone}), false),
        Some("x".into())
    );
    assert_eq!(told(json!({"name": "b", "finalizers": ["x"], "deletionTimestamp": gone}), false), None);
    assert_eq!(told(json!({"name": "b", "finalizers": ["x"], "deletionTimestamp": gone}), true), None);
}

#[test]
fn a_shard_that_is_exactly_full_is_no_shard_too_many() {
    let size = item("a").manifest.len();
    let limits = Limits { max_objects: 2, max_bytes: size };
    let bundles = bundle(&origin(), &items("a b"), &[], limits, &Packing::new());
    let members: Vec<usize> = bundles.works.iter().map(|work| work.objects().len()).collect();
    assert_eq!((members, bundles.problems.len()), (vec![1, 1], 0));
}

proptest! {
    /// Objects come and go: none moves to another work because of that, and no work has more than it may.
    #[test]
    fn objects_that_come_and_go_move_no_others(
        max_objects in 2_usize..5,
        steps in prop::collection::vec(prop::collection::btree_set(0_usize..20, 0..20), 1..8),
    ) {
        // Sizes differ, and are each object's own.
        let name = |number: &usize| format!("{number:02}={}", "x".repeat(number * 7 % 40));
        let limits = Limits { max_objects, max_bytes: 250 };
        let mut packing = Packing::new();
        let mut before: BTreeMap<String, String> = BTreeMap::new();
        for step in steps {
            let wanted = items(&step.iter().map(name).collect::<Vec<_>>().join(" "));
            let bundles = bundle(&origin(), &wanted, &[], limits, &packing);
            let mut now = BTreeMap::new();
            for work in &bundles.works {
                let spec = work.spec();
                let manifests = spec["workload"]["manifests"].as_array().unwrap();
                let bytes: usize = manifests.iter().map(|manifest| manifest.to_string().len()).sum();
                prop_assert!(!manifests.is_empty() && manifests.len() <= max_objects && bytes <= 250);
                for object in work.objects() {
                    prop_assert!(now.insert(object.to_string(), work.name.clone()).is_none(), "{object} is in two works");
                }
            }
            prop_assert_eq!(now.len(), step.len(), "every object is sent");
            for (object, work) in &now {
                prop_assert!(before.get(object).is_none_or(|held| held == work), "{object} has moved to {work}");
            }
            (before, packing) = (now, bundles.packing);
        }
    }
}

#[test]
fn an_update_keeps_what_has_to_wait() {
    let limits = Limits { max_objects: 3, max_bytes: 1000 };
    let first = bundle(&origin(), &items("a !b c"), &[], limits, &Packing::new());
    let mut mailbox = Mailbox::default();
    mailbox.reach(deliver(&first), "create 0");
    let second = bundle(&origin(), &items("a=2 c"), &[], limits, &first.packing);
    let kept: BTreeSet<Box<str>> = [" b".into()].into();
    // The manifests of these tests have no namespace.
    mailbox.0[0].0["spec"]["manifestConfigs"][0]["resourceIdentifier"]["namespace"] = json!("");
    let (cluster, held) = ("edge".into(), mailbox.held());
    let [op] = &plan(&cluster, deliver(&second), &held)[..] else { panic!("one update") };
    assert_eq!(releases(op, &held), [" b".into()]);
    assert!(!is_kept(op, &held[0], &kept));
    let work = serde_json::from_value({
        let mut work = mailbox.0[0].0.clone();
        work["metadata"]["generation"] = json!(mailbox.0[0].1);
        work
    });
    let keeping = keeping(op, &work.unwrap(), &kept).unwrap();
    assert_eq!(releases(&keeping, &held), []);
    mailbox.apply(&keeping);
    let manifests = mailbox.0[0].0["spec"]["workload"]["manifests"].as_array().unwrap();
    let contents: Vec<_> = manifests.iter().map(|manifest| manifest["data"].as_str().unwrap()).collect();
    assert_eq!(contents, ["2", "1", "1"], "a as asked now, c, and b as it was");
    assert_eq!(mailbox.0[0].0["spec"]["manifestConfigs"][0]["updateStrategy"]["type"], "CreateOnly");
    // Until b may go, there is nothing to write; then it goes.
    let held = mailbox.held();
    let [op] = &plan(&cluster, deliver(&second), &held)[..] else { panic!("one update") };
    assert!(is_kept(op, &held[0], &kept));
    mailbox.reach(deliver(&second), "update 0");
    assert_eq!(mailbox.0[0].0["spec"]["workload"]["manifests"].as_array().unwrap().len(), 2);
}
