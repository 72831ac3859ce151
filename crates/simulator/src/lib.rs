//! Plays the workload controllers of a simulated WEC: a space has no nodes, so nothing would ever become ready there.
//!
//! It does what kube-controller-manager, scheduler and kubelet do as far as others can see it: Deployments make
//! ReplicaSets, those make Pods, Pods become ready on a node `sim-0`, Jobs complete, claims are bound, load balancers get an
//! address; statuses and conditions are those of the real controllers. A [`Dial`], or annotations of a workload, say how
//! long that takes and what fails.
//!
//! ```text
//! reflectors (one per kind) ──> queue of keys ──> plan(view, dial, now, key) ──> ops ──> the space's API, and nothing else
//! ```
//! [`plan`] is pure; only `run` does IO, and it decides nothing. Not played: EndpointSlices, ControllerRevisions, CronJobs,
//! autoscaling, and the surge limits of a rolling update (a new ReplicaSet gets its full size at once, the old ones go when
//! enough of it is available).

mod daemonset;
mod deployment;
mod dial;
mod hash;
mod job;
mod kind;
mod node;
mod plan;
mod pod;
mod read;
mod replicaset;
mod run;
mod service;
mod statefulset;
mod status;
#[cfg(test)]
mod tests;
mod volume;

pub use dial::{DELAY, Dial, FAIL};
pub use kind::{Key, Kind};
pub use node::NODE;
pub use plan::{Plan, View, plan};
pub use run::run;
