//! Kubernetes HTTP semantics for many spaces over one store. It knows nothing of KubeStellar or OCM: their kinds arrive
//! as CRDs.
//!
//! A request goes `listen` (socket, TLS) -> `authn` (who) -> [`Server::handle`] -> `route` (what) -> `rbac` (may they)
//! -> `verbs` -> `store`. Everything from `handle` on needs no socket: controllers beside the server and tests call it.

mod addresses;
pub mod audit;
pub mod authn;
pub mod builtin;
pub mod convert;
pub mod decode;
pub mod discovery;
pub mod guard;
pub mod identity;
pub mod listen;
pub mod openapi;
pub mod rbac;

mod admission;
mod api_services;
mod authz;
mod beside;
mod body;
mod call;
mod certificates;
mod columns;
mod controllers;
mod crd;
mod encode;
mod flowcontrol;
mod gather;
mod header;
mod impersonation;
mod metrics;
mod negotiate;
mod oidc;
mod options;
mod paths;
mod present;
mod priorities;
mod problems;
mod random;
mod registry;
mod respond;
mod route;
mod selection;
mod server;
mod services;
mod space;
mod subresources;
mod syntax;
mod table;
mod tokens;
mod verbs;
mod watch;

#[cfg(test)]
mod tests;

pub use header::{Header, Uid};
pub use respond::{Body, BoxError};
pub use server::{Config, Error, Server, SpaceAccess};

/// The store as the server uses it.
pub type Store = store::Store<Header>;
/// A stored object.
pub type Entry = store::Entry<Header>;
/// A change of a stored object.
pub type Event = store::Event<Header>;
