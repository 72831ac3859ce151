//! HTTPS to webhooks: few connections, kept while they are of use, and never a wait without an end.

use crate::decode;
use base64::Engine;
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use serde_json::Value;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

/// Calls of one space that are under way at once; others wait, as long as they may take in all.
const CALLS_MAX: usize = 64;
/// Calls of all spaces that are under way at once: each may hold an object and a connection.
const ALL_CALLS_MAX: usize = 512;
static ALL_CALLS: Semaphore = Semaphore::const_new(ALL_CALLS_MAX);
/// Connections that a space keeps for the next call.
const IDLE_MAX: usize = 16;
/// The most bytes of an answer: a patch can be as large as an object, in base64.
const ANSWER_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Bytes of a refusal that are told on.
const SAID_BYTES_MAX: usize = 256;
/// Where systems keep the authorities that they trust; the first that exists counts.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// How many calls of all spaces are under way.
pub(crate) fn under_way() -> usize {
    ALL_CALLS_MAX - ALL_CALLS.available_permits().min(ALL_CALLS_MAX)
}

type Connection = SendRequest<Full<Bytes>>;

/// Who is called: host and port, and who may have signed its certificate.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Peer {
    host: String,
    port: u16,
    authorities: String,
}

/// Calls the webhooks of one space.
pub(crate) struct Client {
    idle: Mutex<HashMap<Peer, Vec<Connection>>>,
    calls: Semaphore,
}

impl Default for Client {
    fn default() -> Self {
        Self { idle: Mutex::default(), calls: Semaphore::new(CALLS_MAX) }
    }
}

impl Client {
    /// Posts a JSON document and reads the one that is answered. `authorities` is PEM in base64, or empty for those that
    /// the system trusts.
    ///
    /// # Errors
    /// What went wrong, in the words of the stock server as far as they are the same thing.
    pub(crate) async fn post(&self, url: &str, authorities: &str, seconds: u64, body: &Value) -> Result<Value, String> {
        let mark = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{mark}timeout={seconds}s");
        let asked = self.asked(&url, authorities, Some(body));
        match tokio::time::timeout(Duration::from_secs(seconds), asked).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("Post {url:?}: context deadline exceeded")),
        }
    }

    /// Reads a JSON document. `authorities` is as for [`Client::post`].
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) async fn get(&self, url: &str, authorities: &str, seconds: u64) -> Result<Value, String> {
        match tokio::time::timeout(Duration::from_secs(seconds), self.asked(url, authorities, None)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("Get {url:?}: context deadline exceeded")),
        }
    }

    async fn asked(&self, url: &str, authorities: &str, body: Option<&Value>) -> Result<Value, String> {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let verb = if body.is_some() { "Post" } else { "Get" };
        let failed = |why: &dyn std::fmt::Display| format!("{verb} {url:?}: {why}");
        let uri: Uri = url.parse().map_err(|error| failed(&error))?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https"));
        let host = host.ok_or_else(|| failed(&"it is no https URL"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let peer = Peer { host, port: uri.port_u16().unwrap_or(443), authorities: authorities.to_owned() };
        let ended = "the server ends";
        let _space = self.calls.acquire().await.map_err(|_| failed(&ended))?;
        let _all = ALL_CALLS.acquire().await.map_err(|_| failed(&ended))?;
        let bytes = Bytes::from(body.map(Value::to_string).unwrap_or_default());
        let authority = uri.authority().map_or("", |authority| authority.as_str()).to_owned();
        let request = || {
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            Request::builder()
                .method(method.clone())
                .uri(path)
                .header(header::HOST, &authority)
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::ACCEPT, "application/json, */*")
                .header(header::USER_AGENT, "kube-apiserver-admission")
                .body(Full::new(bytes.clone()))
                .map_err(|error| failed(&error))
        };
        let kept = self.take(&peer);
        let reused = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => connect(&peer).await.map_err(|why| failed(&why))?,
        };
        let answered = match connection.send_request(request()?).await {
            // The peer may end a kept connection at any time; it has not heard the question then.
            Err(_) if reused => {
                connection = connect(&peer).await.map_err(|why| failed(&why))?;
                connection.send_request(request()?).await
            }
            answered => answered,
        };
        let (head, body) = answered.map_err(|error| failed(&error))?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| failed(&error))?.to_bytes();
        self.keep(peer, connection);
        if !head.status.is_success() {
            let kind = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
            let said = match kind {
                "" => String::from_utf8_lossy(&body[..body.len().min(SAID_BYTES_MAX)]).trim().to_owned(),
                text if text.starts_with("text/") => {
                    String::from_utf8_lossy(&body[..body.len().min(SAID_BYTES_MAX)]).trim().to_owned()
                }
                _ => "unknown".to_owned(),
            };
            return Err(refusal(head.status, said));
        }
        decode::document(&body)
    }

    fn take(&self, peer: &Peer) -> Option<Connection> {
        let mut idle = self.idle.lock();
        let kept = idle.get_mut(peer)?;
        let live = std::iter::from_fn(|| kept.pop()).find(|connection| !connection.is_closed());
        if kept.is_empty() {
            idle.remove(peer);
        }
        live
    }

    fn keep(&self, peer: Peer, connection: Connection) {
        let mut idle = self.idle.lock();
        idle.values_mut().for_each(|kept| kept.retain(|connection| !connection.is_closed()));
        idle.retain(|_, kept| !kept.is_empty());
        if !connection.is_closed() && idle.values().map(Vec::len).sum::<usize>() < IDLE_MAX {
            idle.entry(peer).or_default().push(connection);
        }
    }
}

async fn connect(peer: &Peer) -> Result<Connection, String> {
    let Peer { host, port, authorities } = peer;
    let config = trust(authorities)?;
    let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("dial tcp {host}:{port}: connect: connection refused"),
        _ => format!("dial tcp {host}:{port}: {error}"),
    })?;
    let name = ServerName::try_from(host.clone()).map_err(|error| format!("{host}: {error}"))?;
    let tls = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let tls = tls.map_err(|error| format!("tls: failed to verify certificate: {}", distrust(&error)))?;
    let (sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a webhook ended");
        }
    });
    Ok(sender)
}

/// Why a certificate is not trusted.
fn distrust(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "x509: certificate signed by unknown authority".into()
        }
        _ => error.to_string(),
    }
}

/// What a stock server says of an answer without success. `said` is its text.
fn refusal(status: StatusCode, said: String) -> String {
    match status.as_u16() {
        400 => "the server rejected our request for an unknown reason".into(),
        401 => "the server has asked for the client to provide credentials".into(),
        403 | 406 | 415 => said,
        404 => "the server could not find the requested resource".into(),
        405 => "the server does not allow this method on the requested resource".into(),
        409 => "the server reported a conflict".into(),
        422 => "the server rejected our request due to an error in our request".into(),
        429 => "the server has received too many requests and has asked us to try again later".into(),
        503 => "the server is currently unable to handle the request".into(),
        504 => {
            "the server was unable to return a response in the time allotted, but may still be processing the request"
                .into()
        }
        code if code >= 500 => format!("an error on the server ({said:?}) has prevented the request from succeeding"),
        code => format!("the server responded with the status code {code} but did not return more information"),
    }
}

fn trust(authorities: &str) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let pem = if authorities.is_empty() {
        let held = SYSTEM_AUTHORITIES.iter().find_map(|file| std::fs::read(file).ok());
        held.ok_or("no caBundle is given, and this system trusts nobody")?
    } else {
        let decoded = base64::engine::general_purpose::STANDARD.decode(authorities);
        decoded.map_err(|error| format!("unable to load root certificates: {error}"))?
    };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem).flatten().collect();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err("unable to load root certificates: unable to parse bytes as PEM block".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
