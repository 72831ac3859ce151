//! Keeps the parts of a space running: one that panics or ends by itself is started again, a little later each time.

use client::Backoff;
use clock::Stopwatch;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a part that ended waits for its next start at first, and at most.
const RESTART_FIRST: Duration = Duration::from_millis(200);
const RESTART_CAP: Duration = Duration::from_secs(60);
/// A part that ran for so long is taken to be well: its next end starts the waits anew.
const WELL_AFTER: Duration = Duration::from_secs(120);

/// What runs beside one space. All of it ends when this is dropped.
pub(crate) struct Parts {
    space: String,
    end: CancellationToken,
    tasks: JoinSet<()>,
}

impl Parts {
    /// Nothing yet; `end` ends what will run.
    pub(crate) fn new(space: &str, end: CancellationToken) -> Self {
        Self { space: space.to_owned(), end, tasks: JoinSet::new() }
    }

    /// Has a part run until the end, started as often as it takes.
    pub(crate) fn keep<F>(&mut self, part: &'static str, start: impl Fn(CancellationToken) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (space, end) = (self.space.clone(), self.end.clone());
        let kept = async move {
            let mut backoff = Backoff::new(RESTART_FIRST, RESTART_CAP);
            loop {
                // A set, since it ends its task when it is dropped.
                let mut task = JoinSet::new();
                let running = Stopwatch::start();
                task.spawn(start(end.clone()));
                let ended = task.join_next().await;
                if end.is_cancelled() {
                    return;
                }
                if running.elapsed() >= WELL_AFTER {
                    backoff.reset();
                }
                let delay = backoff.next_delay();
                match ended {
                    Some(Err(why)) => {
                        tracing::error!(%space, part, %why, "broke, which is a defect; again in {delay:?}")
                    }
                    _ => tracing::error!(%space, part, "ended, though nobody asked for it; again in {delay:?}"),
                }
                if end.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
                    return;
                }
            }
        };
        self.tasks.spawn(kept);
    }

    /// Whether all that was to run is still looked after.
    pub(crate) fn all_kept(&mut self) -> bool {
        self.tasks.try_join_next().is_none()
    }

    /// Asks all parts to end, and waits until they have.
    pub(crate) async fn stop(&mut self) {
        self.end.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn a_part_that_breaks_or_ends_comes_back() {
        let (started, mut starts) = mpsc::unbounded_channel();
        let count = Arc::new(AtomicUsize::new(0));
        let mut parts = Parts::new("s", CancellationToken::new());
        let counted = count.clone();
        parts.keep("part", move |end| {
            let (started, nth) = (started.clone(), counted.fetch_add(1, Ordering::SeqCst));
            async move {
                started.send(nth).unwrap();
                match nth {
                    0 => panic!("a defect"),
                    1 => {}
                    _ => end.cancelled().await,
                }
            }
        });
        for expected in 0..3 {
            assert_eq!(starts.recv().await, Some(expected));
        }
        assert!(parts.all_kept());
        parts.stop().await;
        assert_eq!(count.load(Ordering::SeqCst), 3, "what was asked to end stays ended");
    }
}
