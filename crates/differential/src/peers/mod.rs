//! What API servers call: webhooks and an issuer of tokens, served over HTTPS on the loopback address. One program answers
//! both servers, so that what they make of its answers can be compared.
//!
//! What a webhook answers is asked for by the script: in the path of its URL, or by the name of an object.

mod admission;
mod conversion;
pub(crate) mod issuer;

use crate::document::Variables;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use issuer::Issuers;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

/// How long the certificates are valid: longer than any run.
const VALIDITY: Duration = Duration::from_secs(24 * 3600);
/// The largest question that is read: some objects of the largest size there are.
const QUESTION_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The running peers. They end when this is dropped.
pub(crate) struct Peers {
    pub(crate) issuers: Arc<Issuers>,
    /// Where they are: `https://127.0.0.1:PORT`.
    url: String,
    /// PEM of the authority that signed their certificate.
    authority: String,
    /// PEM of an authority that did not.
    stranger: String,
    serving: AbortHandle,
}

/// What is answered to a question.
struct Said {
    status: u16,
    body: String,
}

impl From<Value> for Said {
    fn from(body: Value) -> Self {
        Self { status: 200, body: body.to_string() }
    }
}

impl Peers {
    /// Starts them at a port that the system chooses.
    ///
    /// # Errors
    /// If there is no port, or no certificate can be made.
    pub(crate) async fn start() -> Result<Self> {
        let now = clock::system().now();
        let authority = pki::Authority::generate("peers", now, VALIDITY)?;
        let stranger = pki::Authority::generate("stranger", now, VALIDITY)?;
        let subject = pki::Subject { common_name: "peers".into(), organizations: Vec::new() };
        let names = ["127.0.0.1".to_owned()];
        let (certificate, key) = authority.issue_with_key(&subject, &names, pki::Usage::Server, now, VALIDITY)?;
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key)?));
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for webhooks")?;
        let url = format!("https://{}", listener.local_addr()?);
        let issuers = Arc::new(Issuers::generate(&url)?);
        let serving = tokio::spawn(serve(listener, acceptor, Arc::clone(&issuers))).abort_handle();
        Ok(Self { issuers, url, authority: authority.certificate, stranger: stranger.certificate, serving })
    }

    /// What scripts call them.
    pub(crate) fn variables(&self) -> Variables {
        let encoded = |text: &str| json!(STANDARD.encode(text));
        Variables::from([
            ("peers".to_owned(), json!(self.url)),
            ("authority".to_owned(), encoded(&self.authority)),
            ("stranger".to_owned(), encoded(&self.stranger)),
        ])
    }

    /// The issuers that both servers are to trust: an `AuthenticationConfiguration`.
    pub(crate) fn authentication(&self) -> Value {
        issuer::configuration(&self.url, &self.authority)
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, issuers: Arc<Issuers>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, issuers) = (acceptor.clone(), Arc::clone(&issuers));
        tokio::spawn(async move {
            // Who does not trust the certificate ends the connection: that is what some scripts are about.
            let Ok(tls) = acceptor.accept(stream).await else { return };
            let answered = service_fn(|request| answer(request, Arc::clone(&issuers)));
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), answered).await);
        });
    }
}

async fn answer(request: Request<Incoming>, issuers: Arc<Issuers>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let question = Limited::new(body, QUESTION_BYTES_MAX).collect().await.map(|body| body.to_bytes());
    let said = question.map_or(None, |question| said(&parts.method, parts.uri.path(), &question, &issuers));
    let said = said.unwrap_or(Said { status: 404, body: format!("nothing is at {}", parts.uri.path()) });
    let mut response = Response::new(Full::new(Bytes::from(said.body)));
    *response.status_mut() = StatusCode::from_u16(said.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The answer to a question; `None` if there is nobody who has one.
fn said(method: &Method, path: &str, question: &[u8], issuers: &Issuers) -> Option<Said> {
    let mut segments = path.trim_start_matches('/').splitn(2, '/');
    let (who, rest) = (segments.next()?, segments.next().unwrap_or(""));
    match who {
        "issuer" if method == Method::GET => issuers.document(rest).map(Said::from),
        "convert" => Some(conversion::answer(&serde_json::from_slice(question).ok()?)),
        "admit" => admission::answer(rest, &serde_json::from_slice(question).ok()?),
        _ => None,
    }
}
