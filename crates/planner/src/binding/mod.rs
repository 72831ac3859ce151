//! asked -> resolved: which objects go to which clusters.
//!
//! ```text
//! BindingPolicy ─┐
//! objects       ─┼─> Index ──> Resolution ──> plan ──> Op on the Binding
//! clusters      ─┘  (what a change touches)   (against the Binding that is held)
//! ```

mod budget;
mod clause;
mod index;
mod object;
mod plan;
#[cfg(test)]
mod tests;
mod verdict;

pub use budget::{BUDGET_ANNOTATION, CONFIRM_ANNOTATION, HELD_BACK_ANNOTATION};
pub use index::{Index, Request, Touched};
pub(crate) use object::STATUS_LABELS;
pub use object::{ClusterHeader, ObjectId, WorkloadHeader};
pub use plan::{CONTENT_ANNOTATION, Op, Resolution, plan, waiting};
pub use verdict::{Change, ClauseVerdict, ClusterVerdict, Target, Unmet, Verdict, verdict};
