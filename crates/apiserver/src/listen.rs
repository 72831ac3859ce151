//! One TLS listener for all spaces: `/spaces/NAME/...` is a space, everything else is the hosting space.
//!
//! The handshake accepts any client certificate and only checks that the client holds its key: which space is asked is
//! known with the request, and only that space's authority counts there (as a stock server, which answers 401 and does
//! not break the connection).

use crate::addresses::{ByHost, certified};
use crate::audit::Source;
use crate::authn::Presented;
use crate::gather::{Watches, gather};
use crate::{Body, Server, body, respond};
use api::{Reason, SpaceName, Status};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, Uri};
use http_body::Body as _;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Open connections at once; at about 30 KB each this bounds their memory to 600 MB.
const CONNECTIONS_MAX: usize = 20_000;
/// Streams that a client may have open on one connection; Go clients open a second connection when it is full.
const STREAMS_MAX: u32 = 1_000;
/// How long a client may take for the handshake, and for the headers of a request.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a silent connection is asked whether it is alive.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long open requests may take after the end was asked; watches end at once.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);

/// Why the listener cannot serve.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("the serving certificate or its key cannot be used")]
    Certificate(#[source] rustls::Error),
    #[error("the serving certificate or its key is not PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
}

/// Serves until `shutdown`: then watches end at once, and other requests are answered within [`DRAIN_TIME_MAX`].
///
/// # Errors
/// If the serving certificate (PEM chain and PKCS #8 key) cannot be used.
pub async fn listen(
    server: Server,
    listener: TcpListener,
    identity: (&str, &str),
    shutdown: CancellationToken,
) -> Result<(), Error> {
    run(server, None, listener, identity, shutdown).await
}

/// As [`listen`], for one space, which is at the root.
///
/// # Errors
/// If the serving certificate (PEM chain and PKCS #8 key) cannot be used.
pub async fn listen_for(
    server: Server,
    space: SpaceName,
    listener: TcpListener,
    identity: (&str, &str),
    shutdown: CancellationToken,
) -> Result<(), Error> {
    run(server, Some(space), listener, identity, shutdown).await
}

async fn run(
    server: Server,
    space: Option<SpaceName>,
    listener: TcpListener,
    (certificate, key): (&str, &str),
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let acceptor = TlsAcceptor::from(Arc::new(tls_config(&server, certificate, key)?));
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let Some((stream, permit)) = accepted else { continue };
        let (server, acceptor, watcher, end) = (server.clone(), acceptor.clone(), graceful.watcher(), shutdown.clone());
        let space = space.clone();
        tokio::spawn(async move {
            serve_connection(server, space, acceptor, stream, watcher, end).await;
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIME_MAX, graceful.shutdown()).await.is_err() {
        tracing::debug!("some requests were still open at the end");
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Without this, answers wait 40 ms for the client's delayed acknowledgement.
            stream.set_nodelay(true).ok()?;
            Some((stream, permit))
        }
        Err(error) => {
            // Out of file descriptors, most likely: let some connections end before the next try.
            tracing::warn!(%error, "accept");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn serve_connection(
    server: Server,
    space: Option<SpaceName>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    watcher: hyper_util::server::graceful::Watcher,
    shutdown: CancellationToken,
) {
    let stream = match tokio::time::timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let source = stream.get_ref().0.peer_addr().ok().map(|address| Source(address.ip()));
    let presented = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|leaf| {
        let read = Presented::read(leaf, |space| server.authority(space));
        Arc::new(read)
    });
    // The address that the client chose says the space, by port or by name; else the path does.
    let named = stream.get_ref().1.server_name().and_then(|host| server.space_of_host(host));
    let space = space.or(named);
    let watches = Watches::default();
    let (stream, gathering) = gather(stream, watches.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(source) = source {
            request.extensions_mut().insert(source);
        }
        let (server, presented, space) = (server.clone(), presented.clone(), space.clone());
        let streams = Streams { watches: watches.clone(), shutdown: shutdown.clone() };
        async move { Ok::<_, Infallible>(answer(&server, space, presented.as_deref(), request, streams).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_TIME_MAX);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL).max_concurrent_streams(STREAMS_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let served = watcher.watch(connection);
    let served: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
        if let Err(error) = served.await {
            tracing::trace!(%error, "connection");
        }
    });
    if let Err(error) = gathering.drive(served).await {
        tracing::trace!(%error, "connection");
    }
}

/// One request of the outside: which space, who, and then the space's answer.
///
/// `presented` is `None` without a client certificate, and `Some(None)` with one that cannot be read.
async fn answer(
    server: &Server,
    space: Option<SpaceName>,
    presented: Option<&Option<Presented>>,
    request: Request<Incoming>,
    streams: Streams,
) -> Response<Body> {
    let (mut head, body) = request.into_parts();
    let mut by_path = None;
    let space = space.unwrap_or_else(|| {
        let (space, uri) = split(&head.uri);
        head.uri = uri;
        by_path.clone_from(&space);
        space.unwrap_or_else(|| server.hosting_space())
    });
    let bearer = head.headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| bearer_token(value));
    let identity = match (presented, bearer) {
        // In a space that is not there they see what they see in an empty one: nobody learns which ones are there.
        (None, None) => Some(crate::identity::Identity::anonymous()),
        (presented, bearer) => {
            let current = server.space(&space);
            let held = presented.and_then(Option::as_ref).zip(current);
            let by_certificate =
                held.and_then(|(held, current)| held.identity(&space, &current.authority, server.now()));
            match (by_certificate, bearer) {
                (Some(identity), _) => Some(identity),
                (None, Some(bearer)) => server.identity_of_token(&space, bearer).await,
                (None, None) => None,
            }
        }
    };
    let Some(identity) = identity else {
        return unauthorized();
    };
    let answer = |identity, head, bytes, admitted| {
        let request = Request::from_parts(head, bytes);
        server.handle_admitted(&space, identity, store::Visibility::Durable, request, admitted)
    };
    // Nothing is held for those who may not send it: they are refused without their body.
    let mut admitted = None;
    if !body.is_end_stream() {
        admitted = server.admit(&space, identity.clone(), &head).ok();
        if admitted.is_none() {
            return answer(identity, head, Bytes::new(), None).await;
        }
    }
    let held = match body::read(&head.headers, body, &server.0.bodies.left(space.as_str(), &identity.user)).await {
        Ok(held) => held,
        Err(status) => return respond::status(&status),
    };
    let answered = answer(identity, head, held.bytes.clone(), admitted).await;
    drop(held);
    streams.follow(redirected(answered, by_path.as_ref()))
}

/// The token of an `Authorization` header. The scheme's name has no case (RFC 9110, section 11.1).
fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized() -> Response<Body> {
    let mut answer = respond::status(&Status::failure(Reason::Unauthorized, "Unauthorized"));
    let headers = answer.headers_mut();
    headers.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-cache, private"));
    if let Ok(id) = http::HeaderValue::from_str(&crate::random::uid()) {
        headers.insert(http::HeaderName::from_static("audit-id"), id);
    }
    answer
}

/// What a space redirects to is below the path that it was asked at.
fn redirected(mut answer: Response<Body>, by_path: Option<&SpaceName>) -> Response<Body> {
    if let Some((space, location)) = by_path.zip(answer.headers_mut().get_mut(http::header::LOCATION))
        && let Ok(path) = location.to_str()
        && path.starts_with('/')
        && let Ok(below) = http::HeaderValue::from_str(&format!("/spaces/{space}{path}"))
    {
        *location = below;
    }
    answer
}

/// What the streams of a connection have in common.
struct Streams {
    watches: Watches,
    shutdown: CancellationToken,
}

impl Streams {
    /// Ends a body that is a stream (a watch) with the listener; one that is whole is sent whole.
    fn follow(self, answer: Response<Body>) -> Response<Body> {
        if answer.body().size_hint().exact().is_some() {
            return answer;
        }
        let open = self.watches.open();
        answer.map(|body| {
            let frames = BodyStream::new(body).take_until(self.shutdown.cancelled_owned());
            let frames = frames.inspect(move |_| {
                let _held_as_long_as_the_stream = &open;
            });
            StreamBody::new(frames).boxed_unsync()
        })
    }
}

/// Takes `/spaces/NAME` off a path.
fn split(uri: &Uri) -> (Option<SpaceName>, Uri) {
    let Some(rest) = uri.path().strip_prefix("/spaces/") else { return (None, uri.clone()) };
    let (space, path) = rest.split_once('/').map_or((rest, ""), |(space, path)| (space, path));
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    match format!("/{path}{query}").parse() {
        Ok(uri) if !space.is_empty() => (Some(space.into()), uri),
        _ => (None, uri.clone()),
    }
}

fn tls_config(server: &Server, certificate: &str, key: &str) -> Result<ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let common = certified(certificate, key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(Error::Certificate)?
        .with_client_cert_verifier(Arc::new(AnyCertificate { provider }))
        .with_cert_resolver(Arc::new(ByHost { server: server.clone(), common }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Takes any certificate whose key the client proves to hold. See the head of this file for who checks the rest.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_has_no_case() {
        for value in ["Bearer a.b", "bearer a.b", "BEARER  a.b "] {
            assert_eq!(bearer_token(value), Some("a.b"), "{value}");
        }
        assert_eq!(bearer_token("Basic a.b"), None);
        assert_eq!(bearer_token("Bearera.b"), None);
    }

    #[test]
    fn splits_paths() {
        for (given, space, path) in [
            ("/spaces/wds1/api/v1?x=1", Some("wds1"), "/api/v1?x=1"),
            ("/spaces/wds1", Some("wds1"), "/"),
            ("/spaces/wds1/", Some("wds1"), "/"),
            ("/spaces//api", None, "/spaces//api"),
            ("/api/v1/spaces/x", None, "/api/v1/spaces/x"),
        ] {
            let (found, uri) = split(&given.parse().unwrap());
            assert_eq!((found.as_ref().map(SpaceName::as_str), uri.to_string().as_str()), (space, path), "{given}");
        }
    }
}
