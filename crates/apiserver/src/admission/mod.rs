//! Admission: what may look at a write between the request and the store, in a fixed order.
//!
//! Mutating steps run first, on the object with its defaults; then the object is completed and validated by its kind;
//! then validating steps run, on what would be stored. A step that is interested in nothing costs nothing: each says so
//! from what is in memory, before anything is read or copied. Deletes and connections have no object to change: both
//! phases see them, as in the stock server.
//!
//! To add a step: a module here with `interested`, and a line in [`interested`], [`mutate`] or [`validate`], at the
//! place that the stock server's order of plugins gives it.

#[allow(dead_code)] // what it has is for the steps
mod review;

pub(crate) use review::{Operation, Review};

use crate::call::Call;
use crate::respond::Result;

/// Whether any step wants to see this write at all. Without any, no review is made.
pub(crate) fn interested(_call: &Call, _operation: Operation) -> bool {
    false
}

/// The mutating steps, in the stock server's order: LimitRanger, MutatingAdmissionPolicy, MutatingAdmissionWebhook.
#[allow(clippy::unused_async)] // steps that ask others will wait
pub(crate) async fn mutate(_review: &mut Review<'_>) -> Result<()> {
    Ok(())
}

/// The validating steps, in the stock server's order: LimitRanger, ValidatingAdmissionPolicy,
/// ValidatingAdmissionWebhook, ResourceQuota.
#[allow(clippy::unused_async)] // steps that ask others will wait
pub(crate) async fn validate(_review: &mut Review<'_>) -> Result<()> {
    Ok(())
}
