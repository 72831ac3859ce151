//! What goes wrong while an expression is evaluated.

use super::limits::CALL_COST_MAX;

/// An evaluation that failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The expression made something impossible of the data: division by zero, a key that is not there.
    #[error("{0}")]
    Failed(String),
    /// It cost more than it may.
    #[error("operation cancelled: actual cost limit exceeded")]
    TooCostly,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    pub(crate) fn no_overload() -> Self {
        Self::new("no such overload")
    }

    pub(crate) fn no_key(key: &str) -> Self {
        Self::new(format!("no such key: {key}"))
    }
}

/// Counts what an evaluation costs, in the stock server's units, and stops it at a limit.
#[derive(Clone, Debug)]
pub struct Meter {
    used: u64,
    limit: u64,
}

impl Meter {
    /// Of one evaluation: [`CALL_COST_MAX`].
    pub fn of_call() -> Self {
        Self::new(CALL_COST_MAX)
    }

    /// With a limit.
    pub fn new(limit: u64) -> Self {
        Self { used: 0, limit }
    }

    /// What was used so far.
    pub fn used(&self) -> u64 {
        self.used
    }

    pub(crate) fn charge(&mut self, cost: u64) -> Result<(), Error> {
        self.used = self.used.saturating_add(cost);
        if self.used > self.limit { Err(Error::TooCostly) } else { Ok(()) }
    }
}
