//! Talks to any API server, by HTTPS or in-process: requests, server-side apply, discovery, reflectors, kubeconfig.
//!
//! A [`Transport`] moves one request; a [`Client`] gives requests their meaning; a [`Reflector`] keeps a store of one
//! resource from list and watch. Nothing here knows KubeStellar or Open Cluster Management.

mod apply;
mod backoff;
mod changes;
mod client;
mod discovery;
mod error;
mod https;
pub mod kubeconfig;
mod list;
mod params;
mod reflector;
mod transport;
mod wait;
mod watch;

#[cfg(test)]
mod tests;

pub use api::Propagation;
pub use backoff::Backoff;
pub use changes::{Change, Changes};
pub use client::{Client, EDIT_ATTEMPTS, REQUEST_TIMEOUT};
pub use discovery::Discovered;
pub use error::{Error, Result};
pub use https::{Credential, Endpoint, Https, Plugin};
pub use list::List;
pub use params::{DeleteParams, ListParams, Patch, Precondition, label_query};
pub use reflector::{Reflector, Selection};
pub use transport::{Body, BoxError, BoxFuture, Transport, TransportError, body, empty_body};
