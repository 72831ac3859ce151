//! How a reconcile is run, not what it decides: a queue of keys, workers, one executor for all writes, events, leases.
//!
//! A [`Reconcile`] gets a key and nothing else. It reads its reflectors, asks a plan, and [`execute`]s the plan's ops.
//! What goes wrong comes back as an [`Error`], whose class says when the key is tried again.

mod error;
mod execute;
mod lease;
mod queue;
mod recorder;
mod run;

#[cfg(test)]
mod tests;

pub use error::{Class, Error, Result};
pub use execute::{execute, execute_all, execute_for};
pub use lease::{Leadership, lead};
pub use queue::{Claim, Queue};
pub use recorder::{EventType, Recorder, Regarding};
pub use run::{Action, Reconcile, run};

/// Tells every part of a process to end: cloned into each, cancelled once.
pub use tokio_util::sync::CancellationToken as Shutdown;
