//! A queue of keys that need attention.
//!
//! A key waits at most once, however often it is added; it is never given to two workers at a time, and a key that is
//! added while a worker has it comes again when the worker is done. A failed key comes back after a wait that doubles
//! from 5 ms to 30 s. Memory is bounded by the number of distinct keys that wait, run or have failed - no more than
//! there are objects - so there is no other limit.

use client::Backoff;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The wait after the first failure of a key, and the longest.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_CAP: Duration = Duration::from_secs(30);

/// A queue of keys. Clones share it.
pub struct Queue<K>(Arc<Inner<K>>);

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        let state = State {
            ready: VecDeque::new(),
            waiting: HashSet::new(),
            running: HashMap::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
        };
        Self(Arc::new(Inner { state: Mutex::new(state), woken: Notify::new() }))
    }
}

struct Inner<K> {
    state: Mutex<State<K>>,
    woken: Notify,
}

struct State<K> {
    ready: VecDeque<K>,
    /// What is in `ready`.
    waiting: HashSet<K>,
    /// Keys that workers have, and whether they were added again meanwhile.
    running: HashMap<K, bool>,
    /// Keys by the time at which they become ready; the number keeps equal times apart.
    delayed: BTreeMap<(Instant, u64), K>,
    /// Where a key is in `delayed`.
    due: HashMap<K, (Instant, u64)>,
    failures: HashMap<K, Backoff>,
    sequence: u64,
}

impl<K: Clone + Eq + Hash> State<K> {
    fn add(&mut self, key: K) -> bool {
        if let Some(due) = self.due.remove(&key) {
            self.delayed.remove(&due);
        }
        if let Some(again) = self.running.get_mut(&key) {
            *again = true;
            return false;
        }
        let new = self.waiting.insert(key.clone());
        if new {
            self.ready.push_back(key);
        }
        new
    }

    /// Whether the key has to wait: not if it is ready already, or will be earlier.
    fn delay(&mut self, key: K, until: Instant) -> bool {
        if self.waiting.contains(&key) || self.due.get(&key).is_some_and(|due| due.0 <= until) {
            return false;
        }
        if let Some(due) = self.due.remove(&key) {
            self.delayed.remove(&due);
        }
        self.sequence += 1;
        let due = (until, self.sequence);
        self.due.insert(key.clone(), due);
        self.delayed.insert(due, key);
        true
    }

    fn release_due(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry() {
            if first.key().0 > now {
                break;
            }
            let key = first.remove();
            self.due.remove(&key);
            self.add(key);
        }
    }
}

/// The moment after a delay. Tokio's timer tells it, so that a test with paused time decides it.
fn moment(delay: Duration) -> Instant {
    tokio::time::sleep(delay).deadline()
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key. If it was to come later, it comes now.
    pub fn add(&self, key: K) {
        if self.0.state.lock().add(key) {
            self.0.woken.notify_one();
        }
    }

    /// Adds a key after a delay, unless it comes earlier anyway. Must be called within a tokio runtime.
    pub fn add_after(&self, key: K, delay: Duration) {
        if self.0.state.lock().delay(key, moment(delay)) {
            self.0.woken.notify_one();
        }
    }

    /// Adds a key that failed, after a wait that grows with its failures up to `cap`. Returns the wait. Must be called
    /// within a tokio runtime.
    pub fn retry(&self, key: K, cap: Duration) -> Duration {
        let delay = {
            let mut state = self.0.state.lock();
            let backoff = state.failures.entry(key.clone()).or_insert(Backoff::new(RETRY_FIRST, RETRY_CAP));
            backoff.next_delay().min(cap)
        };
        self.add_after(key, delay);
        delay
    }

    /// Forgets the failures of a key.
    pub fn forget(&self, key: &K) {
        self.0.state.lock().failures.remove(key);
    }

    /// How often a key has failed in a row.
    pub fn failures(&self, key: &K) -> u32 {
        self.0.state.lock().failures.get(key).map_or(0, Backoff::failures)
    }

    /// How many keys are ready or wait for their time, not counting those that workers have.
    pub fn len(&self) -> usize {
        let state = self.0.state.lock();
        state.ready.len() + state.delayed.len()
    }

    /// Whether nothing is ready, waits, or is being worked on.
    pub fn is_idle(&self) -> bool {
        let state = self.0.state.lock();
        state.ready.is_empty() && state.delayed.is_empty() && state.running.is_empty()
    }

    /// Whether no key is ready or waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next key, once there is one. The key belongs to the caller until the claim is dropped. Dropping the future
    /// loses nothing.
    pub async fn next(&self) -> Claim<K> {
        loop {
            let first_due = {
                let mut state = self.0.state.lock();
                if !state.delayed.is_empty() {
                    state.release_due(moment(Duration::ZERO));
                }
                if let Some(key) = state.ready.pop_front() {
                    state.waiting.remove(&key);
                    state.running.insert(key.clone(), false);
                    // One wake-up is remembered, not many: pass it on while there is something to do or to wait for.
                    if !state.ready.is_empty() || !state.delayed.is_empty() {
                        self.0.woken.notify_one();
                    }
                    return Claim { queue: self.clone(), key };
                }
                state.delayed.first_key_value().map(|(due, _)| due.0)
            };
            match first_due {
                Some(due) => {
                    // Woken or not: the loop looks again.
                    let _ = tokio::time::timeout_at(due, self.0.woken.notified()).await;
                }
                None => self.0.woken.notified().await,
            }
        }
    }

    fn done(&self, key: &K) {
        let mut state = self.0.state.lock();
        if state.running.remove(key) == Some(true) && state.add(key.clone()) {
            drop(state);
            self.0.woken.notify_one();
        }
    }
}

/// A key that one worker has. Others may have it again when this is dropped.
pub struct Claim<K: Clone + Eq + Hash> {
    queue: Queue<K>,
    key: K,
}

impl<K: Clone + Eq + Hash> Deref for Claim<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.key
    }
}

impl<K: Clone + Eq + Hash> Drop for Claim<K> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A reconcile that panicked: the key must come back, but not in a tight loop.
            self.queue.retry(self.key.clone(), RETRY_CAP);
        }
        self.queue.done(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take(queue: &Queue<&'static str>) -> Option<&'static str> {
        let claim = tokio::time::timeout(Duration::from_micros(1), queue.next()).await;
        claim.ok().map(|claim| *claim)
    }

    #[tokio::test(start_paused = true)]
    async fn keys_wait_once_in_order() {
        let queue = Queue::new();
        for key in ["a", "b", "a", "c", "b"] {
            queue.add(key);
        }
        assert_eq!(queue.len(), 3);
        assert_eq!([take(&queue).await, take(&queue).await, take(&queue).await], [Some("a"), Some("b"), Some("c")]);
        assert_eq!(take(&queue).await, None);
        assert!(queue.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_with_one_worker_at_a_time() {
        let queue = Queue::new();
        queue.add("a");
        let claim = queue.next().await;
        queue.add("a");
        queue.add("a");
        assert_eq!(take(&queue).await, None);
        drop(claim);
        assert_eq!(take(&queue).await, Some("a"));
        assert_eq!(take(&queue).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn delayed_keys_come_in_time() {
        let queue = Queue::new();
        let start = moment(Duration::ZERO);
        let seconds = || (moment(Duration::ZERO) - start).as_secs();
        queue.add_after("late", Duration::from_secs(10));
        queue.add_after("soon", Duration::from_secs(1));
        queue.add_after("late", Duration::from_secs(20)); // does not postpone
        assert_eq!(take(&queue).await, None);
        assert_eq!(*queue.next().await, "soon");
        assert_eq!(seconds(), 1);
        queue.add_after("late", Duration::from_secs(2)); // earlier than before
        assert_eq!(*queue.next().await, "late");
        assert_eq!(seconds(), 3);
        queue.add_after("x", Duration::from_secs(5));
        queue.add("x"); // now
        assert_eq!(take(&queue).await, Some("x"));
        assert!(queue.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_and_longer() {
        let queue = Queue::new();
        let first = queue.retry("a", RETRY_CAP);
        assert!(first <= Duration::from_millis(7), "{first:?}");
        for _ in 0..20 {
            queue.retry("a", RETRY_CAP);
        }
        assert_eq!(queue.failures(&"a"), 21);
        assert!(queue.retry("a", RETRY_CAP) >= Duration::from_secs(20));
        assert!(queue.retry("a", Duration::from_secs(1)) <= Duration::from_secs(1));
        queue.forget(&"a");
        assert_eq!(queue.failures(&"a"), 0);
        assert!(queue.retry("a", RETRY_CAP) <= Duration::from_millis(7));
    }

    #[tokio::test(start_paused = true)]
    async fn every_waiting_worker_gets_work() {
        let queue = Queue::new();
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let queue = queue.clone();
                // Keeps its claim: one key each.
                tokio::spawn(async move { queue.next().await })
            })
            .collect();
        tokio::task::yield_now().await;
        queue.add(1);
        queue.add(2);
        queue.add_after(3, Duration::from_secs(1));
        queue.add_after(4, Duration::from_secs(2));
        let mut seen = Vec::new();
        for worker in workers {
            let claim = worker.await.unwrap();
            seen.push(*claim);
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3, 4]);
    }
}
