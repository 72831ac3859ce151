//! Connections to one server: made when needed, shared while they live.

use super::endpoint::Address;
use super::{Endpoint, tls};
use crate::transport::{Body, BoxError, TransportError};
use bytes::Bytes;
use http::{HeaderValue, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// How long TCP and TLS may take together: a server on another continent under load answers sooner.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection with open streams is asked for a sign of life this often; a peer that vanished is noticed after both.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams on one connection before another is opened. Servers and proxies allow 100 at least; a request beyond their
/// limit would queue behind watches that never end.
const STREAMS_PER_CONNECTION: usize = 90;

/// Connections to one server; when all are full, requests queue on them.
const CONNECTIONS_MAX: usize = 64;

/// Bytes that may be on their way before we read them: per connection much more than per stream, so that one slow
/// reader does not stop the others.
const CONNECTION_WINDOW: u32 = 16 << 20;
const STREAM_WINDOW: u32 = 1 << 20;

/// Unused HTTP/1.1 connections that are kept.
const IDLE_MAX: usize = 8;

/// Bytes that are read from a socket at a time: TLS asks for 4 KiB, which would make a list of ten thousand objects some
/// thousand system calls.
const READ_BYTES: usize = 32 * 1024;

type H1 = http1::SendRequest<Full<Bytes>>;
type H2 = http2::SendRequest<Full<Bytes>>;

/// Why a request got no answer on a connection.
pub(super) enum Failure {
    /// Nothing of it left this machine.
    NotSent(String),
    /// It may have reached the server.
    Lost(String),
}

#[derive(Default)]
pub(super) struct Pool {
    /// Held while connecting, so that a burst of first requests makes one connection.
    shared: tokio::sync::Mutex<Vec<Shared>>,
    idle: Arc<Mutex<Vec<H1>>>,
}

/// An HTTP/2 connection.
struct Shared {
    sender: H2,
    streams: Arc<AtomicUsize>,
}

impl Shared {
    fn lease(&self) -> Lease {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Lease::Shared(self.sender.clone(), Stream(self.streams.clone()))
    }
}

/// Counts one stream of a connection as long as it lives.
pub(super) struct Stream(Arc<AtomicUsize>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to send one request.
pub(super) enum Lease {
    Shared(H2, Stream),
    Own(H1, Arc<Mutex<Vec<H1>>>),
}

impl Pool {
    /// Forgets the connections; requests on them go on.
    pub(super) async fn clear(&self) {
        self.idle.lock().clear();
        self.shared.lock().await.clear();
    }

    /// `certificate` is that of a credential program: certificate and key, PEM.
    pub(super) async fn lease(
        &self,
        endpoint: &Endpoint,
        certificate: Option<&(Vec<u8>, Vec<u8>)>,
        address: &Address,
    ) -> Result<Lease, TransportError> {
        while let Some(sender) = take_idle(&self.idle) {
            if sender.is_ready() {
                return Ok(Lease::Own(sender, self.idle.clone()));
            }
        }
        let mut shared = self.shared.lock().await;
        shared.retain(|connection| !connection.sender.is_closed());
        let load = |connection: &Shared| connection.streams.load(Ordering::Relaxed);
        if let Some(quietest) = shared.iter().min_by_key(|connection| load(connection))
            && (load(quietest) < STREAMS_PER_CONNECTION || shared.len() >= CONNECTIONS_MAX)
        {
            return Ok(quietest.lease());
        }
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect(endpoint, certificate, address)).await;
        match connected.map_err(|_| refused(address, format!("no connection within {CONNECT_TIMEOUT:?}")))?? {
            Sender::Two(sender) => {
                let connection = Shared { sender, streams: Arc::default() };
                let lease = connection.lease();
                shared.push(connection);
                Ok(lease)
            }
            Sender::One(sender) => Ok(Lease::Own(sender, self.idle.clone())),
        }
    }
}

fn take_idle(idle: &Mutex<Vec<H1>>) -> Option<H1> {
    idle.lock().pop()
}

impl Lease {
    /// Sends a request whose URI is a path.
    pub(super) async fn send(
        self,
        request: http::Request<Bytes>,
        address: &Address,
    ) -> Result<http::Response<Body>, Failure> {
        let mut request = request.map(Full::new);
        match self {
            Self::Shared(mut sender, stream) => {
                let scheme = if address.tls { "https" } else { "http" };
                let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
                let uri = format!("{scheme}://{}{path}", address.authority).parse();
                *request.uri_mut() = uri.map_err(|cause| Failure::NotSent(format!("{cause}")))?;
                let response = sender.try_send_request(request).await.map_err(failure)?;
                Ok(response.map(|body| Held { body, ended: false, _hold: Hold::Stream(stream) }.boxed_unsync()))
            }
            Self::Own(mut sender, idle) => {
                let host = HeaderValue::from_str(&address.authority)
                    .map_err(|cause| Failure::NotSent(format!("host: {cause}")))?;
                request.headers_mut().insert(header::HOST, host);
                let response = sender.try_send_request(request).await.map_err(failure)?;
                let hold = Hold::Connection(Some(sender), idle);
                Ok(response.map(|body| Held { body, ended: false, _hold: hold }.boxed_unsync()))
            }
        }
    }
}

fn failure<B>(mut error: TrySendError<http::Request<B>>) -> Failure {
    let sent = error.take_message().is_none();
    let cause = chain(error.error());
    if sent { Failure::Lost(cause) } else { Failure::NotSent(cause) }
}

/// An error with its causes: hyper's own text is only the outermost.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let inner = cause.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        source = cause.source();
    }
    text
}

/// An answer's body, which holds its stream or connection until it is read or dropped.
struct Held {
    body: Incoming,
    ended: bool,
    _hold: Hold,
}

enum Hold {
    Stream(#[allow(dead_code)] Stream), // held for its drop
    Connection(Option<H1>, Arc<Mutex<Vec<H1>>>),
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        this.ended |= matches!(polled, Poll::Ready(None));
        polled.map(|frame| frame.map(|result| result.map_err(|cause| chain(&cause).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Only a connection whose answer was read to its end can take another request.
        let ended = self.ended || self.body.is_end_stream();
        if let Hold::Connection(sender, idle) = &mut self._hold
            && ended
            && let Some(sender) = sender.take()
        {
            let mut idle = idle.lock();
            if idle.len() < IDLE_MAX && !sender.is_closed() {
                idle.push(sender);
            }
        }
    }
}

enum Sender {
    One(H1),
    Two(H2),
}

async fn connect(
    endpoint: &Endpoint,
    certificate: Option<&(Vec<u8>, Vec<u8>)>,
    address: &Address,
) -> Result<Sender, TransportError> {
    let tcp = dial(address).await?;
    if !address.tls {
        return one(TokioIo::new(tcp), address).await;
    }
    let config = tls::config(endpoint, certificate)?;
    let name = endpoint.server_name.as_deref().unwrap_or(&address.host).to_owned();
    let name = ServerName::try_from(name.clone())
        .map_err(|_| TransportError::Unusable(format!("{name:?} cannot be the name of a TLS server")))?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, BufReader::with_capacity(READ_BYTES, tcp))
        .await
        .map_err(|cause| refused(address, format!("TLS: {cause}")))?;
    let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    if !two {
        return one(io, address).await;
    }
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .handshake(io)
        .await
        .map_err(|cause| refused(address, chain(&cause)))?;
    run(connection, address);
    Ok(Sender::Two(sender))
}

async fn one<I>(io: TokioIo<I>, address: &Address) -> Result<Sender, TransportError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(|cause| refused(address, chain(&cause)))?;
    run(connection, address);
    Ok(Sender::One(sender))
}

/// Drives a connection until it ends.
fn run(connection: impl Future<Output = hyper::Result<()>> + Send + 'static, address: &Address) {
    let server = address.authority.clone();
    tokio::spawn(async move {
        if let Err(cause) = connection.await {
            tracing::debug!("the connection to {server} ended: {}", chain(&cause));
        }
    });
}

/// A TCP connection to the first address of the host that takes one.
async fn dial(address: &Address) -> Result<TcpStream, TransportError> {
    let found = lookup_host((address.host.as_str(), address.port))
        .await
        .map_err(|cause| refused(address, format!("the host is not known: {cause}")))?;
    let mut last = None;
    for socket_address in found {
        match dial_one(socket_address).await {
            Ok(stream) => return Ok(stream),
            Err(cause) => last = last.or(Some(cause)),
        }
    }
    Err(refused(address, last.map_or_else(|| "the host has no address".into(), |cause| cause.to_string())))
}

async fn dial_one(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_keepalive(true)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn refused(address: &Address, cause: impl Into<String>) -> TransportError {
    TransportError::Connect { server: address.authority.clone(), cause: cause.into() }
}
