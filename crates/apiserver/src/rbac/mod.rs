//! Role-based access control (`rbac.authorization.k8s.io/v1`): who may do what in one space.
//!
//! [`Policy`] is the pure part: roles and bindings in, decisions out. [`Cache`] keeps one up to date from the store.

pub(crate) mod aggregate;
pub(crate) mod bootstrap;
mod cache;
pub(crate) mod inherited;
mod policy;
mod reconcile;
mod rule;

pub use cache::Cache;
pub use policy::Policy;
pub use rule::Rule;
pub(crate) use rule::missing;

/// The API group of roles and bindings.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";
const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
