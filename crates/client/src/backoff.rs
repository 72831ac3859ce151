//! Waiting times between attempts: exponential, capped, with jitter so that many clients do not come back at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Grows with every failure and starts again after a success.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts at `first`, doubles with each failure, never exceeds `cap` (before jitter).
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, failures: 0 }
    }

    /// How long to wait after one more failure.
    pub fn next_delay(&mut self) -> Duration {
        let delay = Self::delay(self.first, self.cap, self.failures, random_fraction());
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// Forgets the failures.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// How many failures there have been in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// The delay after `failures` earlier failures; `fraction` in 0..1 spreads it over 75 % to 125 %.
    pub fn delay(first: Duration, cap: Duration, failures: u32, fraction: f64) -> Duration {
        let factor = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
        first.saturating_mul(factor).min(cap).mul_f64(0.75 + fraction * 0.5)
    }
}

/// A number in 0..1 that differs from call to call; good enough to spread load, not for secrets.
pub(crate) fn random_fraction() -> f64 {
    // The standard library seeds each RandomState differently: randomness without another dependency.
    let bits = RandomState::new().hash_one(0u8) >> 11;
    #[allow(clippy::cast_precision_loss)] // 53 bits fit exactly
    let fraction = bits as f64 / (1u64 << 53) as f64;
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap() {
        let (first, cap) = (Duration::from_millis(5), Duration::from_secs(30));
        let middle = |failures| Backoff::delay(first, cap, failures, 0.5);
        assert_eq!(middle(0), Duration::from_millis(5));
        assert_eq!(middle(3), Duration::from_millis(40));
        assert_eq!(middle(40), cap);
        assert_eq!(middle(u32::MAX), cap);
        assert_eq!(Backoff::delay(first, cap, 40, 0.0), cap.mul_f64(0.75));
    }

    #[test]
    fn starts_again_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let first = backoff.next_delay();
        assert!(first >= Duration::from_millis(75) && first <= Duration::from_millis(125), "{first:?}");
        assert!(backoff.next_delay() >= Duration::from_millis(150));
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(125));
    }
}
