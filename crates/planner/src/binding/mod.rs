//! asked -> resolved: which objects go to which clusters.
//!
//! ```text
//! BindingPolicy ─┐
//! objects       ─┼─> Index ──> Resolution ──> plan ──> Op on the Binding
//! clusters      ─┘  (what a change touches)   (against the Binding that is held)
//! ```

mod clause;
mod index;
mod object;
mod plan;
#[cfg(test)]
mod tests;

pub use index::{Index, Request, Touched};
pub(crate) use object::STATUS_LABELS;
pub use object::{ClusterHeader, ObjectId, WorkloadHeader};
pub use plan::{CONTENT_ANNOTATION, Op, Resolution, plan};
