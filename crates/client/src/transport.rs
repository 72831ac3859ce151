//! How one request reaches an API server: the seam between sockets, in-process servers and tests.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use std::time::Duration;

pub use futures_util::future::BoxFuture;

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer: for a watch it goes on as long as the watch.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body of known bytes.
pub fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body of nothing.
pub fn empty_body() -> Body {
    body(Bytes::new())
}

/// Carries requests to one API server. The URI of a request is a path with a query; authority, credentials and
/// connections are the transport's business. An answer comes as soon as its head is known.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request.
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, TransportError>>;
}

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection could be made: nothing was sent.
    #[error("cannot connect to {server}: {cause}")]
    Connect {
        /// Host and port.
        server: String,
        /// The first reason that the system, or the peer, gave.
        cause: String,
    },
    /// The connection ended while the request was on its way: the server may or may not have acted on it.
    #[error("the connection to {server} was lost: {cause}")]
    Lost {
        /// Host and port.
        server: String,
        /// What ended it.
        cause: String,
    },
    /// Nobody answered in time.
    #[error("no answer within {after:?}")]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The credential, the CA or the address cannot be used: trying again does not help until it is changed.
    #[error("{0}")]
    Unusable(String),
}
