//! The seam to what makes the log durable, and the engine that does not.

use crate::entry::Change;
use crate::error::EngineError;
use crate::key::{Key, Revision};
use bytes::Bytes;

/// One commit, as an engine keeps it. The records of a log, replayed in the order of their revisions, are its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The revision of the commit.
    pub revision: Revision,
    /// The revision that wrote the state before, zero if there was none: it proves at replay that history is whole.
    pub previous: Revision,
    /// The revision that created the key.
    pub created: Revision,
    /// What the commit did.
    pub change: Change,
    /// To which key.
    pub key: Key,
    /// The stamped bytes.
    pub value: Bytes,
}

impl Record {
    /// About how much memory it keeps alive, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.value.len() + self.key.name.len() + self.key.namespace.len() + size_of::<Self>()
    }
}

/// Keeps records. Called by one thread only.
pub trait Engine: Send {
    /// Hands every record that is kept to `each`, in the order of revisions. Called once, before everything else.
    ///
    /// # Errors
    /// When the records cannot be read, or are not what was appended.
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> Result<(), EngineError>;

    /// Makes `records` durable; they survive a crash when it returns. All of them or, after a crash in between, none.
    ///
    /// # Errors
    /// When that is not certain. The store does not try again: what a failed sync left on disk is unknown.
    fn append(&mut self, records: &[Record]) -> Result<(), EngineError>;

    /// Says that these records are not needed any more. They may come back after a crash, but only so that a removal
    /// that came back implies that all later removals came back too (else a tombstone could go before what it buries).
    ///
    /// # Errors
    /// When the engine cannot go on.
    fn remove(&mut self, revisions: &[Revision]) -> Result<(), EngineError>;

    /// Does one short piece of housekeeping, after an acknowledgement or when there is nothing to commit; true if
    /// there is more to do at once.
    ///
    /// # Errors
    /// When the engine cannot go on.
    fn tend(&mut self) -> Result<bool, EngineError> {
        Ok(false)
    }
}

/// An engine that keeps nothing: for tests, and for spaces that may be lost.
#[must_use]
pub fn memory() -> Box<dyn Engine> {
    Box::new(Memory)
}

struct Memory;

impl Engine for Memory {
    fn load(&mut self, _: &mut dyn FnMut(Record)) -> Result<(), EngineError> {
        Ok(())
    }

    fn append(&mut self, _: &[Record]) -> Result<(), EngineError> {
        Ok(())
    }

    fn remove(&mut self, _: &[Revision]) -> Result<(), EngineError> {
        Ok(())
    }
}
