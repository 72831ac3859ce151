//! The time of a simulation is that of its runtime: it stands while anything can be done, and jumps when all wait.

use anyhow::{Context, Result};
use api::Timestamp;
use clock::{Clock, SharedClock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::time::Instant;

/// When every simulation begins: 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600;

/// Plays something in a time of its own, on one thread.
///
/// # Errors
/// If the runtime cannot be made, and those of what is played.
pub fn play<T>(what: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().context("make a runtime")?;
    runtime.block_on(what)
}

/// The clock of everybody in a simulation.
struct Virtual {
    start: Instant,
    /// For threads that are not the runtime's: what it was when it was last asked, in microseconds since the start.
    last: AtomicU64,
}

/// The clock of the runtime that this is called in.
pub(crate) fn clock() -> SharedClock {
    Arc::new(Virtual { start: now(), last: AtomicU64::new(0) })
}

fn now() -> Instant {
    tokio::time::sleep(Duration::ZERO).deadline()
}

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        let since = i64::try_from(self.monotonic().as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(START * 1_000_000 + since)
    }

    fn monotonic(&self) -> Duration {
        if Handle::try_current().is_ok() {
            let since = u64::try_from((now() - self.start).as_micros()).unwrap_or(u64::MAX);
            self.last.fetch_max(since, Ordering::Relaxed);
        }
        Duration::from_micros(self.last.load(Ordering::Relaxed))
    }
}
