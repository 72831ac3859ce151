//! Random histories against a `BTreeMap`: state, pages of the past, watches, compaction, restarts.

use crate::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use store::{Change, Engine, EngineError, Record, Visibility, Watch};

#[derive(Debug, Clone)]
enum Step {
    Put(u8),
    Create(u8),
    Delete(u8),
    /// With the revision that the key has, or (when false) one that it had.
    Swap(u8, bool),
    Compact(u8),
    Page {
        back: u8,
        limit: u8,
        namespace: Option<u8>,
    },
    Watch {
        back: u8,
        namespace: Option<u8>,
    },
    Read,
    DropSpace,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let namespace = || proptest::option::of(0..3u8);
    prop_oneof![
        6 => (0..12u8).prop_map(Step::Put),
        2 => (0..12u8).prop_map(Step::Create),
        4 => (0..12u8).prop_map(Step::Delete),
        2 => ((0..12u8), any::<bool>()).prop_map(|(key, right)| Step::Swap(key, right)),
        1 => (0..20u8).prop_map(Step::Compact),
        3 => ((0..30u8), (0..5u8), namespace()).prop_map(|(back, limit, namespace)| Step::Page { back, limit, namespace }),
        1 => ((0..30u8), namespace()).prop_map(|(back, namespace)| Step::Watch { back, namespace }),
        3 => Just(Step::Read),
        1 => Just(Step::DropSpace).prop_filter("seldom", |_| true),
        1 => Just(Step::Reopen),
    ]
}

/// Keeps records in a map that outlives it: what a perfect disk would do.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<u64, Record>>>);

impl Engine for Kept {
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> Result<(), EngineError> {
        self.0.lock().unwrap().values().cloned().for_each(each);
        Ok(())
    }

    fn append(&mut self, records: &[Record]) -> Result<(), EngineError> {
        self.0.lock().unwrap().extend(records.iter().map(|record| (record.revision.0, record.clone())));
        Ok(())
    }

    fn remove(&mut self, revisions: &[Revision]) -> Result<(), EngineError> {
        let mut kept = self.0.lock().unwrap();
        for revision in revisions {
            assert!(kept.remove(&revision.0).is_some(), "{revision} is removed twice");
        }
        Ok(())
    }
}

type Names = BTreeMap<(String, String), u64>;

/// The truth: the state at every revision, and the events.
#[derive(Default)]
struct Model {
    states: Vec<Names>,
    events: Vec<(u64, Change, String, String)>,
}

impl Model {
    fn head(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    fn now(&self) -> &Names {
        self.states.last().unwrap()
    }

    fn commit(&mut self, key: &Key, delete: bool) -> u64 {
        let revision = self.head() + 1;
        let mut state = self.now().clone();
        let place = (key.namespace.to_string(), key.name.to_string());
        let change = if delete {
            state.remove(&place);
            Change::Deleted
        } else if state.insert(place.clone(), revision).is_some() {
            Change::Updated
        } else {
            Change::Created
        };
        self.states.push(state);
        self.events.push((revision, change, place.0, place.1));
        revision
    }

    fn page(&self, at: u64, namespace: Option<&str>, limit: usize) -> (Vec<String>, usize) {
        let all: Vec<_> = self.states[at as usize]
            .iter()
            .filter(|((in_namespace, _), _)| namespace.is_none_or(|namespace| namespace == in_namespace))
            .map(|((namespace, name), modified)| format!("{namespace}/{name}@{modified}"))
            .collect();
        let take = if limit == 0 { all.len() } else { limit.min(all.len()) };
        (all[..take].to_vec(), all.len() - take)
    }
}

fn key(index: u8) -> Key {
    pod(&format!("ns{}", index % 3), &format!("p{}", index / 3))
}

struct Watcher {
    watch: Watch<Size>,
    namespace: Option<String>,
    cursor: u64,
}

impl Watcher {
    /// Reads all that is there and compares; false if it was lost, which must have a reason.
    fn read(&mut self, model: &Model, oldest: u64) -> bool {
        loop {
            let Ok(events) = self.watch.try_next() else {
                assert!(self.cursor < oldest, "lost at {} while history begins after {oldest}", self.cursor);
                return false;
            };
            let of_mine = |event: &&(u64, Change, String, String)| {
                event.0 > self.cursor && self.namespace.as_ref().is_none_or(|namespace| *namespace == event.2)
            };
            let expected: Vec<_> = model.events.iter().filter(of_mine).take(events.len()).collect();
            assert_eq!(events.len(), expected.len());
            for (event, (revision, change, _, name)) in events.iter().zip(&expected) {
                assert_eq!((event.revision.0, event.change, &*event.entry.key.name), (*revision, *change, &**name));
                let before = &model.states[*revision as usize - 1];
                let place = (event.entry.key.namespace.to_string(), event.entry.key.name.to_string());
                assert_eq!(event.previous.as_ref().map(|entry| entry.modified.0), before.get(&place).copied());
            }
            if let Some(last) = events.last() {
                self.cursor = last.revision.0;
            } else {
                let unread = model.events.iter().filter(of_mine).count();
                assert_eq!(unread, 0, "events after {} are missing", self.cursor);
                assert_eq!(self.watch.progress().0, model.head());
                self.cursor = model.head();
                return true;
            }
        }
    }
}

fn write(store: &TestStore, model: &mut Model, key: Key, expect: Expect, delete: bool) {
    let held = model.now().get(&(key.namespace.to_string(), key.name.to_string())).copied();
    let possible = match expect {
        Expect::Absent => held.is_none() && !delete,
        Expect::At(revision) => held == Some(revision.0),
        Expect::Any => !delete || held.is_some(),
    };
    let action = if delete { Write::Delete(value("gone")) } else { Write::Put(value("x")) };
    match store.commit(key.clone(), expect, action) {
        Ok(committed) => {
            assert!(possible, "{key} {expect:?}");
            assert_eq!(committed.revision.0, model.commit(&key, delete));
        }
        Err(store::CommitError::Conflict { held: found, .. }) => {
            assert!(!possible, "{key} {expect:?}");
            assert_eq!(found.map(|found| found.modified.0), held);
        }
        Err(error) => panic!("{error}"),
    }
}

fn run(steps: Vec<Step>, open: impl Fn() -> TestStore) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut store = open();
    let mut model = Model { states: vec![Names::new()], events: Vec::new() };
    let mut watchers: Vec<Watcher> = Vec::new();
    for step in steps {
        match step {
            Step::Put(index) => write(&store, &mut model, key(index), Expect::Any, false),
            Step::Create(index) => write(&store, &mut model, key(index), Expect::Absent, false),
            Step::Delete(index) => write(&store, &mut model, key(index), Expect::Any, true),
            Step::Swap(index, right) => {
                let key = key(index);
                let held = store.get(&key).map_or(1, |entry| entry.modified.0);
                let expect = Expect::At(Revision(if right { held } else { held.saturating_sub(1) }));
                write(&store, &mut model, key, expect, index % 2 == 0);
            }
            Step::Compact(keep) => {
                runtime.block_on(store.durable(store.head())).unwrap();
                store.compact(usize::from(keep));
            }
            Step::Page { back, limit, namespace } => {
                let at = model.head().saturating_sub(u64::from(back));
                let namespace = namespace.map(|namespace| format!("ns{namespace}"));
                let limit = usize::from(limit);
                match store.page(&pods(), namespace.as_deref(), None, limit, Some(Revision(at))) {
                    Ok(page) => {
                        let (entries, remaining) = model.page(at, namespace.as_deref(), limit);
                        assert_eq!((names(&page.entries), page.remaining), (entries, remaining), "at {at}");
                    }
                    Err(compacted) => assert!(at < compacted.oldest.0),
                }
            }
            Step::Watch { back, namespace } => {
                let after = model.head().saturating_sub(u64::from(back));
                let namespace = namespace.map(|namespace| format!("ns{namespace}"));
                match store.watch(&pods(), namespace.as_deref(), Revision(after), Visibility::Appended) {
                    Ok(watch) => watchers.push(Watcher { watch, namespace, cursor: after }),
                    Err(compacted) => assert!(after < compacted.oldest.0),
                }
            }
            Step::Read => {
                let oldest = store.oldest().0;
                watchers.retain_mut(|watcher| watcher.read(&model, oldest));
            }
            Step::DropSpace => {
                let keys: Vec<_> = model.now().keys().cloned().collect();
                store.drop_space("wds1").unwrap();
                for (namespace, name) in keys {
                    model.commit(&pod(&namespace, &name), true);
                }
            }
            Step::Reopen => {
                let oldest = store.oldest();
                watchers.clear();
                runtime.block_on(store.close());
                store = open();
                assert!(store.oldest() <= oldest, "history survives");
                assert_eq!(store.durable_head().0, model.head());
            }
        }
        assert_eq!(store.head().0, model.head());
        let page = store.page(&pods(), None, None, 0, None).unwrap();
        assert_eq!(names(&page.entries), model.page(model.head(), None, 0).0);
    }
    runtime.block_on(store.close());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_in_memory(steps in proptest::collection::vec(step(), 1..120)) {
        let kept = Kept::default();
        run(steps, || Store::open(Box::new(kept.clone()), Limits::default()).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_on_disk(steps in proptest::collection::vec(step(), 1..80)) {
        let dir = tempfile::tempdir().unwrap();
        run(steps, || disk_store(dir.path()).unwrap());
    }
}
