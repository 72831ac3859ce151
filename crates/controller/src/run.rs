//! Workers: take a key, reconcile it, decide when it comes again.

use crate::{Class, Error, Queue, Result, Shutdown};
use std::fmt::Display;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// A conflict is tried again at the latest after this.
const CONFLICT_CAP: Duration = Duration::from_secs(1);

/// Conflicts in a row that a race with others explains; more are told, and tried with longer waits.
const RACES_MAX: u32 = 15;

/// Everything else that may pass is tried again at the latest after this.
const RETRY_CAP: Duration = Duration::from_secs(30);

/// So many failures in a row are told only to those who want to know everything: what is needed is often on its way.
const PASSES_MAX: u32 = 5;

/// What brings the world from what is to what should be, one key at a time.
pub trait Reconcile: Send + Sync + 'static {
    /// What is reconciled: a name, never an event.
    type Key: Clone + Eq + Hash + Display + Send + Sync + 'static;

    /// Compares and acts. Is called again with the same key as often as it likes: a reconcile that finds nothing to do
    /// must do nothing.
    fn reconcile(&self, key: &Self::Key) -> impl Future<Output = Result<Action>> + Send;
}

/// When a key that was reconciled comes again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// When something that it depends on changes.
    AwaitChange,
    /// At the latest after this.
    After(Duration),
}

/// Reconciles the keys of a queue with a number of workers until told to stop; then lets each worker finish its key.
/// A reconcile that panics costs its key a backoff, not the worker.
pub async fn run<R: Reconcile>(reconciler: Arc<R>, queue: Queue<R::Key>, workers: usize, shutdown: Shutdown) {
    let mut tasks = JoinSet::new();
    for _ in 0..workers.max(1) {
        tasks.spawn(work(reconciler.clone(), queue.clone(), shutdown.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(cause) = ended
            && cause.is_panic()
            && !shutdown.is_cancelled()
        {
            tracing::error!("a reconcile panicked, which is a defect: {cause}");
            tasks.spawn(work(reconciler.clone(), queue.clone(), shutdown.clone()));
        }
    }
}

async fn work<R: Reconcile>(reconciler: Arc<R>, queue: Queue<R::Key>, shutdown: Shutdown) {
    while let Some(claim) = shutdown.run_until_cancelled(queue.next()).await {
        let key: &R::Key = &claim;
        match reconciler.reconcile(key).await {
            Ok(action) => {
                queue.forget(key);
                if let Action::After(delay) = action {
                    queue.add_after(key.clone(), delay);
                }
            }
            Err(error) => again(&queue, key, &error),
        }
    }
}

fn again<K: Clone + Eq + Hash + Display>(queue: &Queue<K>, key: &K, error: &Error) {
    match error.class() {
        Class::Conflict if queue.failures(key) < RACES_MAX => {
            let delay = queue.retry(key.clone(), CONFLICT_CAP);
            tracing::debug!("{key}: {error}; again in {delay:?}");
        }
        Class::Conflict | Class::Unreachable => {
            let passes = queue.failures(key) < PASSES_MAX;
            let delay = queue.retry(key.clone(), RETRY_CAP);
            if passes {
                tracing::debug!("{key}: {error}; again in {delay:?}");
            } else {
                tracing::warn!("{key}: {error}; again in {delay:?}");
            }
        }
        Class::Invalid => {
            queue.forget(key);
            tracing::warn!("{key}: {error}; not tried again until something changes");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::collections::HashMap;
    use tokio::sync::Notify;

    /// Plays what a test says, one step per call of a key.
    struct Script {
        steps: Mutex<HashMap<&'static str, Vec<Step>>>,
        log: Mutex<Vec<&'static str>>,
        finished: Notify,
        until: usize,
    }

    enum Step {
        Done,
        After(u64),
        Later,
        Invalid,
        Panic,
    }

    impl Reconcile for Script {
        type Key = &'static str;

        async fn reconcile(&self, key: &&'static str) -> Result<Action> {
            let step = self.steps.lock().get_mut(key).filter(|steps| !steps.is_empty()).map(|steps| steps.remove(0));
            self.log.lock().push(*key);
            if self.log.lock().len() == self.until {
                self.finished.notify_one();
            }
            match step {
                Some(Step::Done) | None => Ok(Action::AwaitChange),
                Some(Step::After(seconds)) => Ok(Action::After(Duration::from_secs(seconds))),
                Some(Step::Later) => Err(Error::Later("not yet".into())),
                Some(Step::Invalid) => Err(Error::Invalid("bad".into())),
                Some(Step::Panic) => panic!("as the script says"),
            }
        }
    }

    /// Runs until `until` calls have happened and the queue rests; returns the calls and the seconds it took.
    async fn play(steps: Vec<(&'static str, Vec<Step>)>, until: usize) -> (Vec<&'static str>, u64) {
        let queue = Queue::new();
        for (key, _) in &steps {
            queue.add(*key);
        }
        let steps = Mutex::new(steps.into_iter().collect());
        let script = Arc::new(Script { steps, log: Mutex::default(), finished: Notify::new(), until });
        let shutdown = Shutdown::new();
        let start = tokio::time::sleep(Duration::ZERO).deadline();
        let running = tokio::spawn(run(script.clone(), queue.clone(), 2, shutdown.clone()));
        script.finished.notified().await;
        let seconds = (tokio::time::sleep(Duration::ZERO).deadline() - start).as_secs();
        shutdown.cancel();
        running.await.unwrap();
        let mut log = script.log.lock().clone();
        log.sort_unstable();
        (log, seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn keys_come_again_as_they_ask() {
        let (log, seconds) = play(vec![("a", vec![Step::After(60), Step::Done]), ("b", vec![Step::Done])], 3).await;
        assert_eq!(log, ["a", "a", "b"]);
        assert_eq!(seconds, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_tried_again_unless_invalid() {
        let (log, seconds) =
            play(vec![("a", vec![Step::Later, Step::Later, Step::Done]), ("b", vec![Step::Invalid])], 4).await;
        assert_eq!(log, ["a", "a", "a", "b"]);
        assert_eq!(seconds, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_costs_neither_key_nor_worker() {
        let (log, _) = play(vec![("a", vec![Step::Panic, Step::Panic, Step::Panic, Step::Done])], 4).await;
        assert_eq!(log, ["a", "a", "a", "a"]);
    }
}
