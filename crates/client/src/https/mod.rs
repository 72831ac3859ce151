//! HTTPS to one API server: HTTP/2 over TLS with many requests on one connection, HTTP/1.1 where the server has
//! nothing better.
//!
//! A connection that ended is replaced with the next request. A request that was not sent at all is sent again, once;
//! so is a read whose connection was lost before the answer began. Everything else is the caller's to repeat.

mod connection;
mod endpoint;
mod tls;

pub use endpoint::{Credential, Endpoint};

use crate::transport::{Body, BoxFuture, Transport, TransportError};
use bytes::Bytes;
use connection::{Failure, Lease, Pool};
use endpoint::Address;
use http::{HeaderValue, Method, header};
use parking_lot::Mutex;
use std::time::Duration;

/// How long a token from a file is used before the file is read again. The kubelet rewrites projected tokens when 80 %
/// of their life is over, an hour or more, so a minute is soon enough.
const TOKEN_REREAD: Duration = Duration::from_secs(60);

/// A transport to the server at one endpoint.
pub struct Https {
    endpoint: Endpoint,
    address: Address,
    pool: Pool,
    token: Mutex<Option<(HeaderValue, clock::Stopwatch)>>,
}

impl Https {
    /// Prepares; the first request connects.
    ///
    /// # Errors
    /// If the address, the CA or the credential cannot be used.
    pub fn new(endpoint: Endpoint) -> Result<Self, TransportError> {
        let address = Address::parse(&endpoint.server).map_err(TransportError::Unusable)?;
        if address.tls {
            // Shows a broken CA or key now and not with the first request.
            tls::config(&endpoint)?;
        }
        Ok(Self { endpoint, address, pool: Pool::default(), token: Mutex::new(None) })
    }

    /// The `Authorization` header, if the credential is one.
    async fn authorization(&self) -> Result<Option<HeaderValue>, TransportError> {
        let file = match &self.endpoint.credential {
            Credential::None | Credential::Certificate { .. } | Credential::CertificateFiles { .. } => return Ok(None),
            Credential::Token(token) => return endpoint::bearer(token).map(Some),
            Credential::Basic { user, password } => return endpoint::basic(user, password).map(Some),
            Credential::TokenFile(file) => file,
        };
        if let Some((value, read)) = &*self.token.lock()
            && read.elapsed() < TOKEN_REREAD
        {
            return Ok(Some(value.clone()));
        }
        let text = tokio::fs::read_to_string(file).await.map_err(|cause| {
            TransportError::Unusable(format!("cannot read the token in {}: {cause}", file.display()))
        })?;
        let value = endpoint::bearer(text.trim())?;
        *self.token.lock() = Some((value.clone(), clock::Stopwatch::start()));
        Ok(Some(value))
    }

    async fn connection(&self) -> Result<Lease, TransportError> {
        self.pool.lease(&self.endpoint, &self.address).await
    }

    async fn send_or_retry(&self, mut request: http::Request<Bytes>) -> Result<http::Response<Body>, TransportError> {
        if let Some(value) = self.authorization().await? {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let safe = matches!(*request.method(), Method::GET | Method::HEAD);
        let again = request.clone();
        let failure = match self.connection().await?.send(request, &self.address).await {
            Ok(response) => return Ok(self.seen(response)),
            Err(failure) => failure,
        };
        let lost = |cause: String| TransportError::Lost { server: self.address.authority.clone(), cause };
        match failure {
            Failure::NotSent(_) => {}
            Failure::Lost(_) if safe => {}
            Failure::Lost(cause) => return Err(lost(cause)),
        }
        match self.connection().await?.send(again, &self.address).await {
            Ok(response) => Ok(self.seen(response)),
            Err(Failure::NotSent(cause) | Failure::Lost(cause)) => Err(lost(cause)),
        }
    }

    /// Forgets a token that the server refused: the file may hold a newer one.
    fn seen(&self, response: http::Response<Body>) -> http::Response<Body> {
        if response.status() == http::StatusCode::UNAUTHORIZED {
            *self.token.lock() = None;
        }
        response
    }
}

impl Transport for Https {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, TransportError>> {
        Box::pin(self.send_or_retry(request))
    }
}
