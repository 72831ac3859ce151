//! resolved -> sent: the ManifestWorks that a Binding needs in each mailbox, and what to write to have them there.
//!
//! ```text
//! objects of a Binding ──clean──> Item ──bundle──> Bundle ─┐
//!                                                          ├─ plan, for each destination ──> Op
//! ManifestWorks that are held ──────────────> HeldWork ────┘
//! ```

mod bundle;
mod claims;
mod handling;
mod handover;
mod held;
mod plan;
#[cfg(test)]
mod tests;

pub use bundle::{Bundle, Bundles, Item, Limits, Origin, Packing, bundle, label_value};
pub use claims::{Claimant, Claims, Contest, Standing, handled_differently, object_text, read_object_text, standing};
pub use handling::Handling;
pub use handover::{Fate, is_kept, keeping, releases};
pub use held::{HeldWork, Progress, Works};
pub use plan::{Demand, FinalizerOp, Op, plan, plan_finalizer};
