//! seen -> told: the status that returns into an object of the WDS, and what a policy and its Binding say of themselves.

mod aggregate;
mod report;
mod returned;

pub use aggregate::aggregate;
pub use report::{Announcement, Facts, Wrong, announcements, binding_status, complaint, policy_status};
pub use returned::{Op, Return, Returned, plan, takes_status};
