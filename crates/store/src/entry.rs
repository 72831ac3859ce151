//! What is written and what is read back: values, entries, events.

use crate::key::{Key, Revision};
use bytes::Bytes;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Bytes with a hole for the revision that the write will get: the stored value is
/// `head + decimal(revision) + tail`. So a value can carry its own resourceVersion, and the store need not know its format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    /// Bytes before the revision.
    pub head: Bytes,
    /// Bytes after it.
    pub tail: Bytes,
}

/// Most decimal digits of a revision.
const REVISION_DIGITS: usize = 20;

impl Stamped {
    /// A value with a hole between `head` and `tail`.
    pub fn new(head: impl Into<Bytes>, tail: impl Into<Bytes>) -> Self {
        Self { head: head.into(), tail: tail.into() }
    }

    /// Size of the value with the longest possible revision, in bytes.
    #[must_use]
    pub fn max_len(&self) -> usize {
        self.head.len() + REVISION_DIGITS + self.tail.len()
    }

    /// The value as it is stored under `revision`.
    #[must_use]
    pub fn stamp(&self, revision: Revision) -> Bytes {
        let mut digits = [0u8; REVISION_DIGITS];
        let mut at = REVISION_DIGITS;
        let mut rest = revision.0;
        loop {
            at -= 1;
            digits[at] = b'0' + u8::try_from(rest % 10).expect("a digit");
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        // Exactly sized: a value lives long, so a spare byte would be paid for as long.
        let mut value = Vec::with_capacity(self.head.len() + (REVISION_DIGITS - at) + self.tail.len());
        value.extend_from_slice(&self.head);
        value.extend_from_slice(&digits[at..]);
        value.extend_from_slice(&self.tail);
        value.into()
    }
}

/// What must hold of a key for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// There is no such key.
    Absent,
    /// The key was last modified at this revision.
    At(Revision),
    /// Whatever is there.
    Any,
}

/// A write to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Creates or replaces.
    Put(Stamped),
    /// Removes; the final state is what the delete event carries.
    Delete(Stamped),
}

impl Write {
    pub(crate) fn stamped(&self) -> &Stamped {
        match self {
            Self::Put(stamped) | Self::Delete(stamped) => stamped,
        }
    }
}

/// What the reader derives once from key and bytes (labels, owners ...). The store never looks into it.
pub trait Meta: Send + Sync + 'static {
    /// Derives it. Called once for each commit and, at open, for each record of the log: keep it cheap.
    fn read(key: &Key, value: &Bytes) -> Self;
}

impl Meta for () {
    fn read(_: &Key, _: &Bytes) -> Self {}
}

/// One object at one revision; shared as `Arc<Entry<M>>` by state, history and readers.
pub struct Entry<M> {
    /// What it is called.
    pub key: Key,
    /// The stamped bytes.
    pub value: Bytes,
    /// What the reader derived from them.
    pub meta: M,
    /// The revision that created the key.
    pub created: Revision,
    /// The revision that wrote this value.
    pub modified: Revision,
}

impl<M> fmt::Debug for Entry<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} ({} bytes)", self.key, self.modified, self.value.len())
    }
}

/// What a commit did to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// The key was absent before.
    Created,
    /// The key had another value before.
    Updated,
    /// The key is absent now.
    Deleted,
}

/// One commit, as watchers see it; shared as `Arc<Event<M>>`.
pub struct Event<M> {
    /// The revision of the commit.
    pub revision: Revision,
    /// What it did.
    pub change: Change,
    /// The state that it wrote; for [`Change::Deleted`] the final state.
    pub entry: Arc<Entry<M>>,
    /// The state before; absent for [`Change::Created`].
    pub previous: Option<Arc<Entry<M>>>,
    /// The reader's encoding of the event, made once for all watchers.
    pub frame: OnceLock<Bytes>,
}

impl<M> fmt::Debug for Event<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.change, self.entry)
    }
}

/// What a commit made.
pub struct Committed<M> {
    /// Its revision. Not durable yet: await `Store::durable` before an outsider hears of it.
    pub revision: Revision,
    /// What is stored now; for a delete, the final state.
    pub entry: Arc<Entry<M>>,
    /// What was stored before.
    pub previous: Option<Arc<Entry<M>>>,
}

impl<M> fmt::Debug for Committed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committed").field("entry", &self.entry).field("previous", &self.previous).finish()
    }
}

/// Part of a collection, in the order of (namespace, name).
pub struct Page<M> {
    /// The objects.
    pub entries: Vec<Arc<Entry<M>>>,
    /// The revision whose state this is: ask for the following page at it, or watch from it.
    pub revision: Revision,
    /// How many more follow after the last of `entries`.
    pub remaining: usize,
}

impl<M> fmt::Debug for Page<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("entries", &self.entries)
            .field("revision", &self.revision)
            .field("remaining", &self.remaining)
            .finish()
    }
}

/// How early a watcher sees an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// As soon as it is in the log in memory: for controllers of the same process, whose own writes come later in
    /// the same log and so cannot outlive what they were derived from.
    Appended,
    /// When it would survive a crash: for everybody outside.
    Durable,
}
