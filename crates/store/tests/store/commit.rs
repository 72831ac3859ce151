//! Commits, pages and what they refuse.

use crate::*;
use store::CommitError;

#[track_caller]
fn check_commit(store: &TestStore, expect: Expect, write: Write, want: Result<u64, Option<u64>>) {
    let got = match store.commit(pod("ns", "a"), expect, write) {
        Ok(committed) => Ok(committed.revision.0),
        Err(CommitError::Conflict { held, .. }) => Err(held.map(|held| held.modified.0)),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(got, want);
}

#[tokio::test]
async fn a_write_happens_only_as_expected() {
    let store = memory_store();
    let put = || Write::Put(value("x"));
    let delete = || Write::Delete(value("x"));
    check_commit(&store, Expect::At(rev(1)), put(), Err(None));
    check_commit(&store, Expect::Any, delete(), Err(None));
    check_commit(&store, Expect::Absent, delete(), Err(None));
    check_commit(&store, Expect::Absent, put(), Ok(1));
    check_commit(&store, Expect::Absent, put(), Err(Some(1)));
    check_commit(&store, Expect::Absent, delete(), Err(Some(1)));
    check_commit(&store, Expect::At(rev(1)), put(), Ok(2));
    check_commit(&store, Expect::At(rev(1)), put(), Err(Some(2)));
    check_commit(&store, Expect::At(rev(1)), delete(), Err(Some(2)));
    check_commit(&store, Expect::Any, put(), Ok(3));
    check_commit(&store, Expect::At(rev(3)), delete(), Ok(4));
    check_commit(&store, Expect::At(rev(3)), delete(), Err(None));
    check_commit(&store, Expect::Any, put(), Ok(5));
    assert_eq!(store.head(), rev(5));
}

#[tokio::test]
async fn values_carry_their_revision() {
    let store = memory_store();
    let created = put(&store, pod("ns", "a"), "x");
    assert_eq!(&created.entry.value[..], br#"{"r":1,"v":"x"}"#);
    assert_eq!(created.entry.meta.0, created.entry.value.len());
    for _ in 2..=120 {
        put(&store, pod("ns", "b"), "y");
    }
    let updated = put(&store, pod("ns", "a"), "z");
    assert_eq!(&updated.entry.value[..], br#"{"r":121,"v":"z"}"#);
    assert_eq!((updated.entry.created, updated.entry.modified), (rev(1), rev(121)));
    assert_eq!(updated.previous.unwrap().modified, rev(1));
    let gone = delete(&store, pod("ns", "a"));
    assert_eq!(&gone.entry.value[..], br#"{"r":122,"v":"gone"}"#);
    assert_eq!((gone.entry.created, gone.entry.modified), (rev(1), rev(122)));
    let again = put(&store, pod("ns", "a"), "x");
    assert_eq!(again.entry.created, rev(123));
    assert!(again.previous.is_none());
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_named() {
    let store = memory_store();
    let large = Write::Put(Stamped::new(vec![b' '; 3 << 20], ""));
    let error = store.commit(pod("ns", "a"), Expect::Any, large).unwrap_err();
    assert_eq!(error.to_string(), "wds1/pods/ns/a: 3145748 bytes are more than the limit of 3145728 bytes");
    let error = store.commit(pod("ns", &"n".repeat(5000)), Expect::Any, Write::Put(value("x"))).unwrap_err();
    assert!(matches!(error, CommitError::TooLarge { size: 5000, .. }));
    assert_eq!(store.head(), rev(0));
}

#[tokio::test]
async fn a_closed_store_takes_and_promises_nothing() {
    let store = memory_store();
    let committed = put(&store, pod("ns", "a"), "x");
    store.close().await;
    store.durable(committed.revision).await.unwrap();
    let error = store.commit(pod("ns", "b"), Expect::Any, Write::Put(value("x"))).unwrap_err();
    assert_eq!(error.to_string(), "the store is closed: it was closed");
    assert!(store.durable(rev(2)).await.is_err());
    assert!(store.drop_space("wds1").is_err());
    assert!(store.get(&pod("ns", "a")).is_some(), "what is there can still be read");
    store.close().await;
}

fn paged() -> TestStore {
    let store = memory_store();
    for (namespace, name) in [("b", "1"), ("a", "2"), ("c", "1"), ("a", "1"), ("b", "2")] {
        put(&store, pod(namespace, name), "x");
    }
    put(&store, Key::new(Collection::new("wds1", "nodes"), "", "n"), "x");
    put(&store, Key::new(Collection::new("wds2", "pods"), "a", "other"), "x");
    store
}

#[track_caller]
fn check_page(
    store: &TestStore,
    namespace: Option<&str>,
    after: Option<(&str, &str)>,
    limit: usize,
    at: Option<u64>,
    want: &[&str],
    remaining: usize,
) {
    let page = store.page(&pods(), namespace, after, limit, at.map(Revision)).unwrap();
    assert_eq!(names(&page.entries), want);
    assert_eq!(page.remaining, remaining);
    assert_eq!(page.revision, at.map_or(store.head(), Revision));
}

#[tokio::test]
async fn pages_are_in_order_and_continue() {
    let store = paged();
    check_page(&store, None, None, 0, None, &["a/1@4", "a/2@2", "b/1@1", "b/2@5", "c/1@3"], 0);
    check_page(&store, None, None, 2, None, &["a/1@4", "a/2@2"], 3);
    check_page(&store, None, Some(("a", "2")), 2, None, &["b/1@1", "b/2@5"], 1);
    check_page(&store, None, Some(("b", "2")), 2, None, &["c/1@3"], 0);
    check_page(&store, None, Some(("aa", "")), 1, None, &["b/1@1"], 2);
    check_page(&store, Some("b"), None, 0, None, &["b/1@1", "b/2@5"], 0);
    check_page(&store, Some("b"), Some(("b", "1")), 5, None, &["b/2@5"], 0);
    check_page(&store, Some("b"), Some(("a", "1")), 1, None, &["b/1@1"], 1);
    check_page(&store, Some("x"), None, 0, None, &[], 0);
}

#[tokio::test]
async fn pages_of_the_past_are_as_they_were() {
    let store = paged();
    put(&store, pod("b", "1"), "changed");
    delete(&store, pod("a", "1"));
    put(&store, pod("0", "new"), "x");
    delete(&store, pod("c", "1"));
    put(&store, pod("c", "1"), "again");
    check_page(&store, None, None, 0, None, &["0/new@10", "a/2@2", "b/1@8", "b/2@5", "c/1@12"], 0);
    check_page(&store, None, None, 0, Some(12), &["0/new@10", "a/2@2", "b/1@8", "b/2@5", "c/1@12"], 0);
    check_page(&store, None, None, 0, Some(11), &["0/new@10", "a/2@2", "b/1@8", "b/2@5"], 0);
    check_page(&store, None, None, 0, Some(7), &["a/1@4", "a/2@2", "b/1@1", "b/2@5", "c/1@3"], 0);
    check_page(&store, None, Some(("a", "1")), 2, Some(7), &["a/2@2", "b/1@1"], 2);
    check_page(&store, Some("a"), None, 1, Some(7), &["a/1@4"], 1);
    check_page(&store, Some("b"), None, 0, Some(8), &["b/1@8", "b/2@5"], 0);
    check_page(&store, None, None, 0, Some(0), &[], 0);
    store.durable(store.head()).await.unwrap();
    store.compact(1);
    assert_eq!(store.oldest(), rev(11));
    let error = store.page(&pods(), None, None, 0, Some(rev(10))).unwrap_err();
    assert_eq!(error.to_string(), "revision 10 is compacted, history begins after revision 11");
    check_page(&store, None, None, 0, Some(11), &["0/new@10", "a/2@2", "b/1@8", "b/2@5"], 0);
}

#[tokio::test]
async fn spaces_are_apart_and_can_be_dropped() {
    let store = paged();
    let resources = |space| store.collections(space).iter().map(|c| c.resource.to_string()).collect::<Vec<_>>();
    assert_eq!(resources("wds1"), ["nodes", "pods"]);
    assert_eq!(resources("wds3"), [""; 0]);
    assert_eq!(store.count(&pods()), 5);
    let mut watch = store.watch(&pods(), Some("a"), store.head(), store::Visibility::Durable).unwrap();
    let last = store.drop_space("wds1").unwrap();
    assert_eq!(last, rev(13), "each key is a commit");
    store.durable(last).await.unwrap();
    assert_eq!(resources("wds1"), [""; 0]);
    assert_eq!(resources("wds2"), ["pods"]);
    assert_eq!(store.count(&pods()), 0);
    let events = watch.next().await.unwrap();
    let seen: Vec<_> = events.iter().map(|event| (event.change, &*event.entry.key.name)).collect();
    assert_eq!(seen, [(store::Change::Deleted, "1"), (store::Change::Deleted, "2")]);
    assert_eq!(store.metrics().keys, 1);
}

#[tokio::test]
async fn numbers_add_up() {
    let store = memory_store();
    for index in 0..10 {
        put(&store, pod("ns", &format!("p{index}")), "x");
    }
    put(&store, pod("ns", "p0"), "longer");
    delete(&store, pod("ns", "p1"));
    store.durable(store.head()).await.unwrap();
    store.close().await;
    let metrics = store.metrics();
    assert_eq!((metrics.commits, metrics.keys, metrics.events, metrics.pending), (12, 9, 12, 0));
    let page = store.page(&pods(), None, None, 0, None).unwrap();
    assert_eq!(metrics.bytes, page.entries.iter().map(|entry| entry.value.len()).sum::<usize>());
    assert_eq!(metrics.batches.sum, 12, "each record was in one batch");
    assert_eq!(metrics.syncs.count(), metrics.batches.count());
    assert!(metrics.syncs.quantile(0.5) <= metrics.syncs.max);
}
