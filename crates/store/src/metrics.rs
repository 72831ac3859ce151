//! Numbers about a running store: how long syncs take, how large batches are, how much is kept.

use std::time::Duration;

/// Upper bounds of the buckets of [`Metrics::syncs`], in microseconds. Disks here flip between about 0.2 and 4 ms, so
/// the buckets are narrow around both.
pub const SYNC_BOUNDS_MICROS: [u64; 14] =
    [50, 100, 150, 200, 300, 500, 1_000, 2_000, 3_500, 4_500, 8_000, 16_000, 64_000, 256_000];

/// Upper bounds of the buckets of [`Metrics::batches`], in records.
pub const BATCH_BOUNDS: [u64; 9] = [1, 2, 4, 8, 16, 64, 256, 1_024, 4_096];

/// Counts of observations by size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    /// Upper bounds (inclusive) of the buckets but the last, which has none.
    pub bounds: &'static [u64],
    /// How many observations fell into each bucket; one more than `bounds`.
    pub counts: Vec<u64>,
    /// Sum of all observations.
    pub sum: u64,
    /// Largest observation.
    pub max: u64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0, max: 0 }
    }

    pub(crate) fn observe(&mut self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket] += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
    }

    /// Number of observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The bound of the bucket in which the observation of this rank (0.0 to 1.0) lies; `max` for the last bucket and
    /// zero when nothing was observed.
    #[must_use]
    pub fn quantile(&self, rank: f64) -> u64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let wanted = ((self.count() as f64 * rank).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return self.bounds.get(bucket).copied().unwrap_or(self.max).min(self.max);
            }
        }
        0
    }
}

/// Numbers of a store at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Commits since open.
    pub commits: u64,
    /// Bytes of values committed since open.
    pub committed_bytes: u64,
    /// Duration of each durable append, in microseconds.
    pub syncs: Histogram,
    /// Records of each append.
    pub batches: Histogram,
    /// Keys that exist.
    pub keys: usize,
    /// Bytes of their values.
    pub bytes: usize,
    /// Events of history.
    pub events: usize,
    /// Bytes that history is charged with.
    pub event_bytes: usize,
    /// Records that wait for the disk.
    pub pending: usize,
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
