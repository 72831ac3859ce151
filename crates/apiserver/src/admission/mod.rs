//! Admission: what may look at a write between the request and the store, in a fixed order.
//!
//! Mutating steps run first, on the object with its defaults; then the object is completed and validated by its kind;
//! then validating steps run, on what would be stored. A step that is interested in nothing costs nothing: each says so
//! from what is in memory, before anything is read or copied. Deletes and connections have no object to change: both
//! phases see them, as in the stock server.
//!
//! To add a step: a module here with `interested`, and a line in [`interested`], [`mutate`] or [`validate`], at the
//! place that the stock server's order of plugins gives it.

mod builtin;
pub(crate) mod policies;
pub(crate) mod quota;
#[allow(dead_code)] // what it has is for the steps
mod review;
pub(crate) mod webhooks;

pub(crate) use review::{Operation, Review};

use crate::call::Call;
use crate::respond::Result;

/// Whether any step wants to see this write at all. Without any, no review is made.
pub(crate) fn interested(call: &Call, operation: Operation) -> bool {
    builtin::interested(call, operation) || policies::interested(call) || webhooks::interested(call, operation)
}

/// The mutating steps, in the stock server's order: the built-in ones from LimitRanger to DefaultIngressClass,
/// MutatingAdmissionPolicy, MutatingAdmissionWebhook.
pub(crate) async fn mutate(review: &mut Review<'_>) -> Result<()> {
    let mut rounds = webhooks::Rounds::default();
    builtin::mutate(review).await?;
    policies::mutate(review, false)?;
    if webhooks::mutate(review, &mut rounds).await? {
        // What webhooks added is looked at once more by all plugins, and by the policies and webhooks that ask for it.
        builtin::mutate(review).await?;
        policies::mutate(review, true)?;
        webhooks::mutate(review, &mut rounds).await?;
    }
    Ok(())
}

/// The validating steps, in the stock server's order: the built-in ones from LimitRanger to RuntimeClass,
/// ValidatingAdmissionPolicy, ValidatingAdmissionWebhook. ResourceQuota is the last, and holds until the write is
/// committed: see [`quota::charge`].
pub(crate) async fn validate(review: &mut Review<'_>) -> Result<()> {
    builtin::validate(review)?;
    policies::validate(review)?;
    webhooks::validate(review).await
}
