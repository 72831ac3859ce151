//! What a subscriber of a reflector sees: at most one pending change per object, however slow the subscriber is.
//!
//! The queue never loses the last state of an object and never makes the reflector wait. Its size is bounded by the
//! number of objects that changed since the subscriber last looked, which the store bounds in turn.

use api::ObjectName;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;

/// A change of one object since the subscriber last heard of it.
#[derive(Debug)]
pub struct Change<T> {
    /// Namespace and name.
    pub name: ObjectName,
    /// What the subscriber was told last; absent if it never heard of the object. Of an object that came and went while
    /// the subscriber was busy, what it was before it went: whoever made it has to hear that it is gone.
    pub before: Option<Arc<T>>,
    /// What is there now; absent if the object is gone. An object that was deleted and made again while the subscriber
    /// was busy shows as one change from the old incarnation to the new one.
    pub after: Option<Arc<T>>,
}

struct Pending<T> {
    before: Option<Arc<T>>,
    after: Option<Arc<T>>,
    /// What an object was that went.
    gone: Option<Arc<T>>,
}

struct State<T> {
    order: VecDeque<ObjectName>,
    pending: HashMap<ObjectName, Pending<T>>,
}

/// The part that the reflector holds.
pub(crate) struct Subscriber<T> {
    state: Mutex<State<T>>,
    woken: Notify,
}

impl<T> Subscriber<T> {
    pub(crate) fn new() -> Arc<Self> {
        let state = State { order: VecDeque::new(), pending: HashMap::new() };
        Arc::new(Self { state: Mutex::new(state), woken: Notify::new() })
    }

    /// Tells of a change; merges it with one that the subscriber has not taken yet.
    pub(crate) fn push(&self, name: &ObjectName, before: Option<Arc<T>>, after: Option<Arc<T>>) {
        let mut state = self.state.lock();
        if let Some(pending) = state.pending.get_mut(name) {
            pending.gone = if after.is_none() { before } else { None };
            pending.after = after;
        } else {
            state.pending.insert(name.clone(), Pending { before, after, gone: None });
            state.order.push_back(name.clone());
        }
        drop(state);
        self.woken.notify_one();
    }

    fn take(&self) -> Option<Change<T>> {
        let mut state = self.state.lock();
        let name = state.order.pop_front()?;
        let pending = state.pending.remove(&name).expect("every name in the order has a pending change");
        Some(Change { name, before: pending.before.or(pending.gone), after: pending.after })
    }
}

/// A subscriber's end: the changes of a reflector's store, starting with what was there.
pub struct Changes<T> {
    pub(crate) subscriber: Arc<Subscriber<T>>,
}

impl<T> Changes<T> {
    /// The next change. Waits as long as there is none, also when the reflector has been dropped. Dropping the future
    /// loses nothing.
    pub async fn next(&mut self) -> Change<T> {
        loop {
            if let Some(change) = self.subscriber.take() {
                return change;
            }
            self.subscriber.woken.notified().await;
        }
    }

    /// The next change if there is one already.
    pub fn try_next(&mut self) -> Option<Change<T>> {
        self.subscriber.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pushes: &[(&str, Option<u8>, Option<u8>)], expected: &[(&str, Option<u8>, Option<u8>)]) {
        let subscriber = Subscriber::new();
        for (name, before, after) in pushes {
            subscriber.push(&ObjectName::cluster(*name), before.map(Arc::new), after.map(Arc::new));
        }
        let mut changes = Changes { subscriber };
        let mut seen = Vec::new();
        while let Some(change) = changes.try_next() {
            seen.push((change.name.name.clone(), change.before.as_deref().copied(), change.after.as_deref().copied()));
        }
        let expected: Vec<_> = expected.iter().map(|(n, b, a)| ((*n).to_owned(), *b, *a)).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn changes_coalesce_per_object() {
        check(&[], &[]);
        check(&[("a", None, Some(1)), ("b", None, Some(2))], &[("a", None, Some(1)), ("b", None, Some(2))]);
        check(
            &[("a", None, Some(1)), ("b", None, Some(2)), ("a", Some(1), Some(3))],
            &[("a", None, Some(3)), ("b", None, Some(2))],
        );
        check(&[("a", Some(1), Some(2)), ("a", Some(2), None)], &[("a", Some(1), None)]);
        check(&[("a", Some(1), None), ("a", None, Some(2))], &[("a", Some(1), Some(2))]);
        // Came and went.
        check(
            &[("a", None, Some(1)), ("a", Some(1), None), ("b", None, Some(2))],
            &[("a", Some(1), None), ("b", None, Some(2))],
        );
        check(&[("a", None, Some(1)), ("a", Some(1), None), ("a", None, Some(2))], &[("a", None, Some(2))]);
    }

    #[tokio::test]
    async fn a_waiting_subscriber_wakes() {
        let subscriber = Subscriber::<u8>::new();
        let mut changes = Changes { subscriber: subscriber.clone() };
        let waiting = tokio::spawn(async move { changes.next().await.name });
        tokio::task::yield_now().await;
        subscriber.push(&ObjectName::cluster("a"), None, Some(Arc::new(1)));
        assert_eq!(waiting.await.unwrap().name, "a");
    }
}
