//! What can go wrong, one type for each kind of call.

use crate::entry::Entry;
use crate::key::{Key, Revision};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A write that did not happen.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CommitError<M> {
    /// The expectation does not hold. A delete of an absent key is a conflict with nothing held.
    #[error("{key} is not as expected: {}", held_text(held.as_deref()))]
    Conflict {
        /// The key of the write.
        key: Key,
        /// What is stored.
        held: Option<Arc<Entry<M>>>,
    },
    /// The value, or a part of the key, is larger than the store takes.
    #[error("{key}: {size} bytes are more than the limit of {limit} bytes")]
    TooLarge {
        /// The key of the write.
        key: Key,
        /// Size, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// More is waiting for the disk than the store keeps: try again later.
    #[error("{key}: {waiting} bytes wait to be written to disk, try again later")]
    Busy {
        /// The key of the write.
        key: Key,
        /// Bytes that wait.
        waiting: usize,
    },
    /// The store takes no writes any more.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl<M> fmt::Debug for CommitError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn held_text<M>(held: Option<&Entry<M>>) -> String {
    held.map_or_else(|| "it does not exist".to_owned(), |entry| format!("it is at revision {}", entry.modified))
}

/// The store was closed, or its engine failed: nothing is acknowledged any more. Reopen it to go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store is closed: {reason}")]
pub struct Closed {
    /// Why.
    pub reason: Arc<str>,
}

/// The revision asked for is older than the history that is kept: list anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("revision {asked} is compacted, history begins after revision {oldest}")]
pub struct Compacted {
    /// The revision asked for.
    pub asked: Revision,
    /// The oldest revision that can be asked for.
    pub oldest: Revision,
}

/// Why a watch ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The watcher did not read for so long that its next event fell out of history: list and watch anew.
    #[error("the watcher is too slow: its next event is not kept any more")]
    TooSlow,
    /// The store was closed.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the directory open.
    #[error("data directory {path} is in use by {holder}: stop that process, or give this one another directory")]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who holds it, as far as known.
        holder: String,
    },
    /// The engine could not read its log.
    #[error("cannot read the log")]
    Engine(#[from] EngineError),
    /// The log contradicts itself.
    #[error("the log is damaged at revision {revision}: {what}; restore the data directory from a backup")]
    Damaged {
        /// Where.
        revision: Revision,
        /// What is wrong.
        what: String,
    },
    /// The committer thread could not be started.
    #[error("cannot start the committer thread")]
    Thread(#[source] std::io::Error),
}

/// An engine that could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The operating system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file does not hold what was written into it.
    #[error("{path} is damaged at byte {offset}: {what}; restore the data directory from a backup")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A file is of another format.
    #[error("{path} is not a log of this program or of a newer version of it: {what}")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
}
