//! A revisioned log of keys and bytes with compare-and-swap, pages of the past, watches and compaction.
//!
//! ```text
//! commit ──> State (memory, one lock) ──> Pending ──> committer thread ──> Engine (one append, one sync)
//!                │  appended events                         │  durable events
//!                └──> Watch(Appended)                       └──> Watch(Durable), durable(revision)
//! ```
//!
//! The log is the truth: the state is its replay. It knows bytes, not JSON, and nothing of Kubernetes.

mod committer;
mod disk;
mod engine;
mod entry;
mod error;
mod key;
mod limits;
mod metrics;
mod ring;
mod shelf;
mod state;
mod store;
mod watch;

pub use disk::open_disk;
pub use engine::{Engine, Record, memory};
pub use entry::{Change, Committed, Entry, Event, Expect, Meta, Page, Stamped, Visibility, Write};
pub use error::{Closed, CommitError, Compacted, EngineError, Lost, OpenError};
pub use key::{Collection, Key, Revision};
pub use limits::Limits;
pub use metrics::{BATCH_BOUNDS, Histogram, Metrics, SYNC_BOUNDS_MICROS};
pub use store::Store;
pub use watch::Watch;
