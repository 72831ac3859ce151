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
use api::Object;
use std::collections::BTreeSet;

/// Whether any step wants to see this write at all. Without any, no review is made.
pub(crate) fn interested(call: &Call, operation: Operation) -> bool {
    builtin::interested(call, operation) || policies::interested(call) || webhooks::interested(call, operation)
}

/// Which policies or webhooks were asked, and which are to be asked once more because others changed the object after
/// them.
#[derive(Default)]
struct Rounds {
    called: Vec<String>,
    again: BTreeSet<String>,
    second: bool,
    /// The object as the last of them left it.
    output: Option<Object>,
}

impl Rounds {
    /// Begins a round. What others changed since the last one is for all who were asked.
    fn begin(&mut self, object: Option<&Object>) {
        if self.second && self.output.as_ref() != object {
            self.again.extend(self.called.drain(..));
        }
    }

    /// Whether one is left out of this round.
    fn skips(&self, name: &str) -> bool {
        self.second && !self.again.contains(name)
    }

    /// The object was changed: who was asked before is asked again.
    fn changed(&mut self) {
        self.again.extend(self.called.drain(..));
    }

    fn end(&mut self, object: Option<&Object>) {
        self.output = object.cloned();
        self.second = true;
    }
}

/// The mutating steps, in the stock server's order: the built-in ones from LimitRanger to DefaultIngressClass,
/// MutatingAdmissionPolicy, MutatingAdmissionWebhook.
pub(crate) async fn mutate(review: &mut Review<'_>) -> Result<()> {
    let (mut of_policies, mut of_webhooks) = (Rounds::default(), Rounds::default());
    builtin::mutate(review).await?;
    let changed = policies::mutate(review, &mut of_policies)?;
    if webhooks::mutate(review, &mut of_webhooks).await? || changed {
        // What they added is looked at once more by all plugins, and by the policies and webhooks that ask for it.
        builtin::mutate(review).await?;
        policies::mutate(review, &mut of_policies)?;
        webhooks::mutate(review, &mut of_webhooks).await?;
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
