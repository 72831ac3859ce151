//! When each write of the process was appended and when it was durable, read from the store itself.
//!
//! It runs on a thread of its own: on the runtime of the server it would be told after those whom it measures.

use anyhow::{Context, Result};
use clock::SharedClock;
use kubestellar::Fleet;
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use store::{Change, Visibility};
use tokio_util::sync::CancellationToken;

/// Marks that are kept between two calls of [`Trace::take`]; later ones are dropped.
/// A hundred thousand objects in clusters are two million writes.
const MARKS_MAX: usize = 1 << 22;

/// One write of any space.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) at: Duration,
    pub(crate) visibility: Visibility,
    pub(crate) change: Change,
    pub(crate) space: Arc<str>,
    /// With its group: `deployments.apps`.
    pub(crate) resource: Arc<str>,
    pub(crate) name: Arc<str>,
}

/// Follows the log of a server.
pub(crate) struct Trace {
    marks: Arc<Mutex<Vec<Mark>>>,
    end: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

impl Trace {
    pub(crate) fn start(fleet: &Fleet, clock: &SharedClock) -> Result<Self> {
        let mut trace = Self { marks: Arc::default(), end: CancellationToken::new(), threads: Vec::new() };
        for visibility in [Visibility::Appended, Visibility::Durable] {
            let store = fleet.serve.server.store();
            let mut watch = store.follow(store.head(), visibility).context("follow the store from its head")?;
            let (marks, end, clock) = (trace.marks.clone(), trace.end.clone(), clock.clone());
            let following = async move {
                while let Ok(events) = watch.next().await {
                    let at = clock.monotonic();
                    let mut marks = marks.lock();
                    let space = MARKS_MAX.saturating_sub(marks.len());
                    marks.extend(events.iter().take(space).map(|event| Mark {
                        at,
                        visibility,
                        change: event.change,
                        space: event.entry.key.collection.space.clone(),
                        resource: event.entry.key.collection.resource.clone(),
                        name: event.entry.key.name.clone(),
                    }));
                }
            };
            let runtime = tokio::runtime::Builder::new_current_thread().build().context("start a runtime")?;
            let thread = std::thread::Builder::new().name("trace".into());
            let thread = thread.spawn(move || {
                runtime.block_on(end.run_until_cancelled(following));
            });
            trace.threads.push(thread.context("start a thread")?);
        }
        Ok(trace)
    }

    /// What was written since the last call, by time.
    pub(crate) fn take(&self) -> Vec<Mark> {
        let mut marks = std::mem::take(&mut *self.marks.lock());
        marks.sort_by_key(|mark| mark.at);
        marks
    }

    pub(crate) fn stop(self) {
        self.end.cancel();
        for thread in self.threads {
            thread.join().ok();
        }
    }
}
