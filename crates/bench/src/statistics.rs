//! Durations of many rounds, and what to say of them.

use serde_json::{Value, json};
use std::time::Duration;

/// Durations of one kind, in any order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The duration of this rank (0 to 100), by the nearest rank: one that was measured, never one between two. Zero when
    /// nothing was measured.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.percentile(50)
    }

    pub(crate) fn max(&self) -> Duration {
        self.percentile(100)
    }

    pub(crate) fn min(&self) -> Duration {
        self.0.iter().min().copied().unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "count": self.count(),
            "min_ms": milliseconds(self.min()),
            "p50_ms": milliseconds(self.median()),
            "p90_ms": milliseconds(self.percentile(90)),
            "p99_ms": milliseconds(self.percentile(99)),
            "max_ms": milliseconds(self.max()),
        })
    }
}

impl FromIterator<Duration> for Sample {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        Self(durations.into_iter().collect())
    }
}

/// Rounded to microseconds.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// As it stands in tables.
pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(millis: &[u64], percent: usize, expected: u64) {
        let sample: Sample = millis.iter().copied().map(Duration::from_millis).collect();
        assert_eq!(sample.percentile(percent), Duration::from_millis(expected));
    }

    #[test]
    fn nearest_rank() {
        check(&[], 50, 0);
        check(&[7], 50, 7);
        check(&[7], 99, 7);
        check(&[4, 1, 3, 2], 50, 2);
        check(&[3, 1, 2], 50, 2);
        check(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 99, 10);
        check(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 90, 9);
        check(&[2, 1], 100, 2);
        check(&[2, 1], 0, 1);
    }
}
