//! Watches: every event once, in order, to those it concerns, when they may see it.

use crate::*;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake};
use store::{Change, Engine, EngineError, Lost, Record, Visibility, Watch};

fn describe(events: &[Arc<store::Event<Size>>]) -> Vec<String> {
    events.iter().map(|event| format!("{:?} {} {}", event.change, event.revision, event.entry.key.name)).collect()
}

fn watch(store: &TestStore, namespace: Option<&str>, after: u64, visibility: Visibility) -> Watch<Size> {
    store.watch(&pods(), namespace, rev(after), visibility).unwrap()
}

#[tokio::test]
async fn events_come_in_order_to_whom_they_concern() {
    let store = memory_store();
    let mut all = watch(&store, None, 0, Visibility::Appended);
    let mut one = watch(&store, Some("a"), 0, Visibility::Appended);
    let mut every = store.follow(rev(0), Visibility::Appended).unwrap();
    put(&store, pod("a", "x"), "1");
    put(&store, pod("b", "y"), "1");
    put(&store, Key::new(Collection::new("wds1", "nodes"), "", "n"), "1");
    put(&store, pod("a", "x"), "2");
    delete(&store, pod("a", "x"));
    assert_eq!(describe(&all.next().await.unwrap()), ["Created 1 x", "Created 2 y", "Updated 4 x", "Deleted 5 x"]);
    let events = one.next().await.unwrap();
    assert_eq!(describe(&events), ["Created 1 x", "Updated 4 x", "Deleted 5 x"]);
    assert_eq!(events[1].previous.as_ref().unwrap().modified, rev(1));
    assert_eq!((events[2].change, events[2].previous.as_ref().unwrap().modified), (Change::Deleted, rev(4)));
    assert_eq!(&events[2].entry.value[..], br#"{"r":5,"v":"gone"}"#);
    assert_eq!(every.next().await.unwrap().len(), 5);
    assert!(one.try_next().unwrap().is_empty());
    assert_eq!(one.progress(), rev(5));
    // A watch from the middle, and the frame that all watchers share.
    let mut late = watch(&store, None, 2, Visibility::Appended);
    let late = late.next().await.unwrap();
    assert_eq!(describe(&late), ["Updated 4 x", "Deleted 5 x"]);
    late[0].frame.set("encoded".into()).unwrap();
    assert_eq!(events[1].frame.get().unwrap(), "encoded");
}

#[tokio::test]
async fn progress_passes_by_what_is_of_others() {
    let store = memory_store();
    let mut a = watch(&store, Some("a"), 0, Visibility::Appended);
    put(&store, pod("b", "y"), "1");
    assert_eq!(a.progress(), rev(1));
    put(&store, pod("a", "x"), "1");
    put(&store, pod("b", "y"), "2");
    assert_eq!(a.progress(), rev(0), "an event of its own is not handed out yet");
    assert_eq!(a.next().await.unwrap().len(), 1);
    assert_eq!(a.progress(), rev(3));
}

#[tokio::test]
async fn a_backlog_comes_in_batches_without_gaps() {
    let store = memory_store();
    for index in 0..2000 {
        put(&store, pod("a", &format!("p{}", index % 7)), "x");
    }
    let mut watch = watch(&store, None, 0, Visibility::Appended);
    let mut seen = 0;
    while seen < 2000 {
        for event in watch.next().await.unwrap() {
            seen += 1;
            assert_eq!(event.revision, rev(seen));
        }
        let progress = watch.progress();
        assert_eq!(progress, rev(seen));
    }
}

#[tokio::test]
async fn compaction_loses_the_slow_and_only_them() {
    let store = memory_store();
    let mut slow = watch(&store, Some("a"), 0, Visibility::Appended);
    let mut quiet = watch(&store, Some("b"), 0, Visibility::Appended);
    for _ in 0..10 {
        put(&store, pod("a", "x"), "1");
    }
    store.durable(rev(10)).await.unwrap();
    store.compact(3);
    assert_eq!(store.oldest(), rev(7));
    assert_eq!(slow.try_next().unwrap_err(), Lost::TooSlow);
    assert_eq!(slow.next().await.unwrap_err(), Lost::TooSlow);
    assert_eq!(store.watch(&pods(), Some("a"), rev(6), Visibility::Appended).err().unwrap().oldest, rev(7));
    let mut resumed = watch(&store, Some("a"), 7, Visibility::Appended);
    assert_eq!(describe(&resumed.next().await.unwrap()), ["Updated 8 x", "Updated 9 x", "Updated 10 x"]);
    // Nothing of its own was dropped, so the quiet one goes on although its cursor is older than history.
    put(&store, pod("b", "y"), "1");
    assert_eq!(describe(&quiet.next().await.unwrap()), ["Created 11 y"]);
}

#[tokio::test]
async fn history_keeps_to_its_limits() {
    let clock = clock::Manual::at(api_epoch());
    let mut limits = Limits::with_clock(clock.clone());
    limits.keep_events = 10;
    limits.max_events = 50;
    let store: TestStore = Store::open(store::memory(), limits).unwrap();
    for index in 0..100 {
        let committed = put(&store, pod("a", &format!("p{}", index % 5)), "x");
        store.durable(committed.revision).await.unwrap();
    }
    settled(&store, 50).await;
    // Age is known by the second: what was there at this commit is of age five minutes after it.
    clock.advance(std::time::Duration::from_secs(1));
    let committed = put(&store, pod("a", "p0"), "x");
    store.durable(committed.revision).await.unwrap();
    settled(&store, 50).await;
    clock.advance(std::time::Duration::from_secs(301));
    let committed = put(&store, pod("a", "p0"), "x");
    store.durable(committed.revision).await.unwrap();
    settled(&store, 10).await;
    assert_eq!(store.oldest(), rev(92));
    assert_eq!(store.metrics().keys, 5);
}

fn api_epoch() -> api::Timestamp {
    api::Timestamp::from_micros(1_700_000_000_000_000)
}

/// Waits for the committer's housekeeping.
async fn settled(store: &TestStore, events: usize) {
    for _ in 0..100_000 {
        if store.metrics().events == events {
            return;
        }
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
    panic!("history has {} events, not {events}", store.metrics().events);
}

/// An engine whose every append waits for a word from the test.
struct Gated {
    gate: mpsc::Receiver<bool>,
}

impl Engine for Gated {
    fn load(&mut self, _: &mut dyn FnMut(Record)) -> Result<(), EngineError> {
        Ok(())
    }

    fn append(&mut self, _: &[Record]) -> Result<(), EngineError> {
        if self.gate.recv() == Ok(true) {
            return Ok(());
        }
        let source = std::io::Error::other("the disk is gone");
        Err(EngineError::Io { action: "sync", path: "log".into(), source })
    }

    fn remove(&mut self, _: &[Revision]) -> Result<(), EngineError> {
        Ok(())
    }
}

fn gated() -> (TestStore, mpsc::Sender<bool>) {
    let (open, gate) = mpsc::channel();
    (Store::open(Box::new(Gated { gate }), Limits::default()).unwrap(), open)
}

#[tokio::test]
async fn outsiders_see_only_what_is_durable() {
    let (store, gate) = gated();
    let mut inside = watch(&store, None, 0, Visibility::Appended);
    let mut outside = watch(&store, None, 0, Visibility::Durable);
    put(&store, pod("a", "x"), "1");
    assert_eq!(describe(&inside.next().await.unwrap()), ["Created 1 x"]);
    assert!(outside.try_next().unwrap().is_empty());
    assert_eq!((store.head(), store.durable_head()), (rev(1), rev(0)));
    assert_eq!((inside.progress(), outside.progress()), (rev(1), rev(0)));
    gate.send(true).unwrap();
    assert_eq!(describe(&outside.next().await.unwrap()), ["Created 1 x"]);
    store.durable(rev(1)).await.unwrap();
    assert_eq!(outside.progress(), rev(1));
}

#[tokio::test]
async fn a_batch_gathers_while_the_one_before_syncs() {
    let (store, gate) = gated();
    put(&store, pod("a", "first"), "1");
    gate.send(true).unwrap();
    store.durable(rev(1)).await.unwrap();
    // The committer takes the second alone, or with those that come before it wakes; all the rest is one batch.
    for index in 0..100 {
        put(&store, pod("a", &format!("p{index}")), "1");
    }
    gate.send(true).unwrap();
    gate.send(true).unwrap();
    store.durable(rev(101)).await.unwrap();
    assert!(store.metrics().batches.count() <= 3);
}

#[tokio::test]
async fn a_failed_engine_closes_the_store() {
    let (store, gate) = gated();
    let mut outside = watch(&store, None, 0, Visibility::Durable);
    let mut inside = watch(&store, None, 0, Visibility::Appended);
    put(&store, pod("a", "x"), "1");
    gate.send(false).unwrap();
    let error = store.durable(rev(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "the store is closed: cannot sync log: the disk is gone");
    assert!(matches!(outside.next().await, Err(Lost::Closed(_))), "what is not durable is never shown");
    assert_eq!(inside.next().await.unwrap().len(), 1);
    assert!(matches!(inside.next().await, Err(Lost::Closed(_))));
    let refused = store.commit(pod("a", "y"), Expect::Any, Write::Put(value("1"))).unwrap_err();
    assert!(matches!(refused, store::CommitError::Closed(_)));
    store.close().await;
}

#[tokio::test]
async fn what_waits_for_the_disk_is_bounded() {
    let (open, gate) = mpsc::channel();
    let limits = Limits { pending_bytes: 10_000, ..Limits::default() };
    let store: TestStore = Store::open(Box::new(Gated { gate }), limits).unwrap();
    let large = "x".repeat(1000);
    let error = loop {
        if let Err(error) = store.commit(pod("a", "x"), Expect::Any, Write::Put(value(&large))) {
            break error;
        }
        assert!(store.head() < rev(50));
    };
    assert!(matches!(error, store::CommitError::Busy { .. }), "{error}");
    drop(open);
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn an_event_wakes_the_watchers_of_its_namespace_only() {
    let store = memory_store();
    let mut watches: Vec<_> =
        (0..1000).map(|index| watch(&store, Some(&format!("ns{index}")), 0, Visibility::Appended)).collect();
    let wakers: Vec<_> = watches.iter().map(|_| Arc::new(Count(AtomicUsize::new(0)))).collect();
    let mut waiting: Vec<_> = watches.iter_mut().map(|watch| Box::pin(watch.next())).collect();
    let mut poll = |index: usize| {
        let waker = Arc::clone(&wakers[index]).into();
        waiting[index].as_mut().poll(&mut Context::from_waker(&waker))
    };
    for index in 0..1000 {
        assert!(poll(index).is_pending());
    }
    put(&store, pod("ns500", "x"), "1");
    let woken: usize = wakers.iter().map(|waker| waker.0.load(Ordering::SeqCst)).sum();
    assert_eq!((woken, wakers[500].0.load(Ordering::SeqCst)), (1, 1));
    assert!(matches!(poll(500), Poll::Ready(Ok(events)) if events.len() == 1));
}

#[tokio::test]
async fn dropping_a_wait_loses_nothing() {
    let store = memory_store();
    let mut watch = watch(&store, None, 0, Visibility::Appended);
    {
        let mut waiting = pin!(watch.next());
        let noop = std::task::Waker::noop();
        assert!(waiting.as_mut().poll(&mut Context::from_waker(noop)).is_pending());
        put(&store, pod("a", "x"), "1");
    }
    assert_eq!(describe(&watch.next().await.unwrap()), ["Created 1 x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_and_watchers_agree() {
    const WRITERS: u64 = 8;
    const WRITES: u64 = 250;
    let store = memory_store();
    let watchers: Vec<_> = [Visibility::Appended, Visibility::Durable, Visibility::Durable]
        .into_iter()
        .map(|visibility| {
            let mut watch = watch(&store, None, 0, visibility);
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while seen.len() < (WRITERS * WRITES) as usize {
                    seen.extend(watch.next().await.unwrap().iter().map(|event| event.revision.0));
                }
                seen
            })
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for index in 0..WRITES {
                    let committed = put(&store, pod(&format!("ns{writer}"), &format!("p{}", index % 10)), "x");
                    store.durable(committed.revision).await.unwrap();
                    assert!(store.durable_head() >= committed.revision);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for watcher in watchers {
        assert_eq!(watcher.await.unwrap(), (1..=WRITERS * WRITES).collect::<Vec<_>>());
    }
}
