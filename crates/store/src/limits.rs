//! Every bound of the store, by name and with its reason.

use crate::key::Revision;
use crate::state::Bounds;
use clock::SharedClock;
use std::time::Duration;

/// Bounds of a store, and its clock.
#[derive(Clone)]
pub struct Limits {
    /// Tells the age of history.
    pub clock: SharedClock,
    /// Largest value, in bytes. etcd takes 1.5 MiB and Kubernetes 3 MiB of request body: a write that a stock server
    /// reads must not fail here for its size alone.
    pub value_bytes: usize,
    /// Events younger than this are kept as long as `max_events` and `max_bytes` allow. Five minutes is what stock
    /// servers keep, so clients are built to come back within it.
    pub keep_age: Duration,
    /// Older events are kept too, up to this many in all: a quiet store need not send anybody back to a list.
    pub keep_events: usize,
    /// Older events are kept too, up to this many bytes in all.
    pub keep_bytes: usize,
    /// Most events of history, whatever their age: bounds the memory of the rings.
    pub max_events: usize,
    /// Most bytes of history, whatever their age: bounds the memory of superseded values and of encoded frames.
    pub max_bytes: usize,
    /// Most bytes that may wait for the disk; beyond, commits are refused. About a second of a slow disk.
    pub pending_bytes: usize,
}

impl Limits {
    /// The defaults under a clock of the caller's.
    #[must_use]
    pub fn with_clock(clock: SharedClock) -> Self {
        Self {
            clock,
            value_bytes: 3 << 20,
            keep_age: Duration::from_secs(5 * 60),
            keep_events: 10_000,
            keep_bytes: 16 << 20,
            max_events: 200_000,
            max_bytes: 64 << 20,
            pending_bytes: 128 << 20,
        }
    }

    pub(crate) fn bounds(&self, aged: Revision) -> Bounds {
        let Self { keep_events, keep_bytes, max_events, max_bytes, .. } = *self;
        Bounds { max_events, max_bytes, keep_events, keep_bytes, aged }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::with_clock(clock::system())
    }
}

/// Longest part of a key, in bytes. Kubernetes names have at most 253; a log record has two bytes for each length.
pub(crate) const KEY_BYTES: usize = 4096;

/// Most events that one call of `Watch::next` hands out: a watcher far behind must not hold the whole history twice.
pub(crate) const WATCH_BATCH: usize = 512;

/// Most bytes of one append: bounds the buffer of the engine, and how long the first of a burst waits for its last.
pub(crate) const APPEND_BYTES: usize = 4 << 20;

/// Most events that one step of compaction drops under the lock: about a tenth of a millisecond.
pub(crate) const COMPACT_STEP: usize = 512;

/// What an event of history costs beside its value, in bytes: the event, its places in three rings, its entry.
pub(crate) const EVENT_OVERHEAD: usize = 256;
