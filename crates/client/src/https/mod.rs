//! HTTPS to one API server: HTTP/2 over TLS with many requests on one connection, HTTP/1.1 where the server has
//! nothing better.
//!
//! A connection that ended is replaced with the next request. A request that was not sent at all is sent again, once;
//! so is a read whose connection was lost before the answer began. Everything else is the caller's to repeat.

mod connection;
mod endpoint;
mod plugin;
mod tls;

pub use endpoint::{Credential, Endpoint};
pub use plugin::Plugin;

use crate::transport::{Body, BoxFuture, Transport, TransportError};
use bytes::Bytes;
use clock::{SharedClock, Stopwatch};
use connection::{Failure, Lease, Pool};
use endpoint::Address;
use http::{HeaderValue, Method, header};
use plugin::Given;
use std::time::Duration;
use tokio::sync::Mutex;

/// How long a token from a file is used before the file is read again. The kubelet rewrites projected tokens when 80 %
/// of their life is over, an hour or more, so a minute is soon enough.
const TOKEN_REREAD: Duration = Duration::from_secs(60);

/// A transport to the server at one endpoint.
pub struct Https {
    endpoint: Endpoint,
    address: Address,
    pool: Pool,
    clock: SharedClock,
    /// What a file or a program gave last; the lock is held while it is asked, so that it is asked once.
    held: Mutex<Option<Held>>,
}

/// What a file or a program gave.
struct Held {
    given: Given,
    since: Stopwatch,
    /// The server has refused it.
    refused: bool,
}

impl Held {
    fn new(given: Given) -> Self {
        Self { given, since: Stopwatch::start(), refused: false }
    }
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
            tls::config(&endpoint, None)?;
        }
        Ok(Self { endpoint, address, pool: Pool::default(), clock: clock::system(), held: Mutex::new(None) })
    }

    /// What a file or a program gives, if the credential comes from one.
    async fn given(&self) -> Result<Option<Given>, TransportError> {
        let mut held = self.held.lock().await;
        match &self.endpoint.credential {
            Credential::TokenFile(file) => {
                if let Some(held) = &*held
                    && !held.refused
                    && held.since.elapsed() < TOKEN_REREAD
                {
                    return Ok(Some(held.given.clone()));
                }
                let text = tokio::fs::read_to_string(file).await.map_err(|cause| {
                    TransportError::Unusable(format!("cannot read the token in {}: {cause}", file.display()))
                })?;
                let given = Given::token(text.trim());
                *held = Some(Held::new(given.clone()));
                Ok(Some(given))
            }
            Credential::Plugin(plugin) => {
                if let Some(held) = &*held
                    && !held.refused
                    && held.given.is_fresh(self.clock.now())
                {
                    return Ok(Some(held.given.clone()));
                }
                let given = plugin::run(plugin, &self.endpoint).await?;
                if held.as_ref().is_some_and(|before| before.given.certificate != given.certificate) {
                    // Connections are bound to the certificate that they were made with.
                    self.pool.clear().await;
                }
                *held = Some(Held::new(given.clone()));
                Ok(Some(given))
            }
            _ => Ok(None),
        }
    }

    /// The `Authorization` header, if the credential is one.
    fn authorization(&self, given: Option<&Given>) -> Result<Option<HeaderValue>, TransportError> {
        match (&self.endpoint.credential, given.and_then(|given| given.token.as_deref())) {
            (_, Some(token)) => endpoint::bearer(token).map(Some),
            (Credential::Token(token), None) => endpoint::bearer(token).map(Some),
            (Credential::Basic { user, password }, None) => endpoint::basic(user, password).map(Some),
            _ => Ok(None),
        }
    }

    async fn connection(&self, given: Option<&Given>) -> Result<Lease, TransportError> {
        let certificate = given.and_then(|given| given.certificate.as_ref());
        self.pool.lease(&self.endpoint, certificate, &self.address).await
    }

    async fn send_or_retry(&self, mut request: http::Request<Bytes>) -> Result<http::Response<Body>, TransportError> {
        let given = self.given().await?;
        if let Some(value) = self.authorization(given.as_ref())? {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let safe = matches!(*request.method(), Method::GET | Method::HEAD);
        let again = request.clone();
        let failure = match self.connection(given.as_ref()).await?.send(request, &self.address).await {
            Ok(response) => return Ok(self.seen(response).await),
            Err(failure) => failure,
        };
        let lost = |cause: String| TransportError::Lost { server: self.address.authority.clone(), cause };
        match failure {
            Failure::NotSent(_) => {}
            Failure::Lost(_) if safe => {}
            Failure::Lost(cause) => return Err(lost(cause)),
        }
        match self.connection(given.as_ref()).await?.send(again, &self.address).await {
            Ok(response) => Ok(self.seen(response).await),
            Err(Failure::NotSent(cause) | Failure::Lost(cause)) => Err(lost(cause)),
        }
    }

    /// Notes that the server refused a credential: the file or the program may have a newer one.
    async fn seen(&self, response: http::Response<Body>) -> http::Response<Body> {
        if response.status() == http::StatusCode::UNAUTHORIZED
            && let Some(held) = self.held.lock().await.as_mut()
        {
            held.refused = true;
        }
        response
    }
}

impl Transport for Https {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, TransportError>> {
        Box::pin(self.send_or_retry(request))
    }
}
