//! Role-based access control (`rbac.authorization.k8s.io/v1`): who may do what in one space.
//!
//! [`Policy`] is the pure part: roles and bindings in, decisions out. [`Cache`] keeps one up to date from the store.

mod bootstrap;
mod cache;
mod policy;

pub use cache::Cache;
pub use policy::Policy;
