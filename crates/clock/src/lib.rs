//! The only place that asks the time. Everything else is handed a [`Clock`], so that a test or a
//! simulation decides what time it is.
#![allow(clippy::disallowed_methods)] // this is the file that the rule points to

use api::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall-clock time for what is written into objects, and a monotonic time for measuring.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time. Never used for ordering: that is what revisions are for.
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary fixed point; never goes backwards.
    fn monotonic(&self) -> Duration;
}

/// A clock that can be cloned into every part of a process.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
pub fn system() -> SharedClock {
    Arc::new(System { start: Instant::now() })
}

struct System {
    start: Instant,
}

impl Clock for System {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct Manual {
    micros: AtomicI64,
    start: i64,
}

impl Manual {
    /// A clock that stands at `start`.
    pub fn at(start: Timestamp) -> Arc<Self> {
        Arc::new(Self { micros: AtomicI64::new(start.micros()), start: start.micros() })
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.micros.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for Manual {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        let since = self.micros.load(Ordering::SeqCst) - self.start;
        Duration::from_micros(u64::try_from(since).unwrap_or(0))
    }
}

/// Measures how long something takes: `let watch = Stopwatch::start(); ...; watch.elapsed()`.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
