//! The nouns: objects and their metadata, names as types, conditions, statuses, and the kinds of
//! KubeStellar, Open Cluster Management and KubeFlex that we touch.
//!
//! Nothing here acts: no IO, no clock, no randomness. Algorithms on objects are in `machinery`.

pub mod cluster;
mod condition;
pub mod control;
pub mod crds;
mod meta;
mod names;
mod object;
mod op;
mod selector;
pub mod space;
mod status;
mod time;
pub mod work;

pub use condition::{Condition, ConditionStatus, set_condition};
pub use meta::{Header, ObjectMeta, OwnerReference, PartialObject};
pub use names::{
    BindingName, ClusterName, GroupKind, GroupResource, GroupVersionKind, GroupVersionResource, ObjectName, Resource,
    SpaceName,
};
pub use object::Object;
pub use op::{Op, Propagation, Write};
pub use selector::{LabelSelector, LabelSelectorRequirement, Labels, Operator};
pub use status::{Cause, Details, Reason, Status};
pub use time::Timestamp;
