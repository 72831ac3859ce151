//! Label and field selectors: read from text or from `metav1.LabelSelector`, printed, and matched.

mod field;
mod label;

pub use field::{FieldRequirement, FieldSelector};
pub use label::{Requirement, Selector, Test, check_selector};

/// Text that is not a selector; the message is the stock server's. A 400 where a request carries the selector.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub(crate) String);
