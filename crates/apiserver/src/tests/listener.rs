//! The listener, over TLS.

use super::*;
use crate::decode::BODY_BYTES_MAX;
use http_body_util::combinators::BoxBody;
use http_body_util::{Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pki::{Authority, Subject, Usage};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// More than any test takes; reached only where something hangs.
const PATIENCE: Duration = Duration::from_secs(20);

type Sent = BoxBody<Bytes, Infallible>;

/// A world behind a socket.
struct Site {
    world: World,
    authority: Authority,
    address: std::net::SocketAddr,
    end: CancellationToken,
    listening: JoinHandle<()>,
}

impl Site {
    async fn new() -> Self {
        let world = World::new();
        let hour = Duration::from_secs(3600);
        // The client's side looks at the real clock.
        let real = clock::system().now();
        let authority = Authority::generate("serving", real, hour).unwrap();
        let subject = Subject { common_name: "server".into(), organizations: Vec::new() };
        let (certificate, key) =
            authority.issue_with_key(&subject, &["localhost".to_owned()], Usage::Server, real, hour).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let end = CancellationToken::new();
        let (server, ended) = (world.server.clone(), end.clone());
        let listening = tokio::spawn(async move {
            crate::listen::listen(server, listener, (&certificate, &key), ended).await.unwrap();
        });
        Self { world, authority, address, end, listening }
    }

    async fn connect(&self, protocol: &str, known: bool) -> TlsStream<TcpStream> {
        self.connect_to(self.address, "localhost", protocol, known).await
    }

    async fn connect_to(
        &self,
        address: std::net::SocketAddr,
        host: &'static str,
        protocol: &str,
        known: bool,
    ) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.certificate.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots);
        let mut config = if known {
            let access = self.world.server.access(&self.world.space).unwrap();
            let chain = vec![CertificateDer::from_pem_slice(access.certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(access.key.as_bytes()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        } else {
            config.with_no_client_auth()
        };
        config.alpn_protocols = vec![protocol.into()];
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from(host).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    async fn http2(&self, known: bool) -> http2::SendRequest<Sent> {
        let io = TokioIo::new(self.connect("h2", known).await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn http1(&self) -> http1::SendRequest<Sent> {
        let io = TokioIo::new(self.connect("http/1.1", true).await);
        let (sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

fn post(path: &str, body: Sent) -> Request<Sent> {
    let request = Request::post(format!("https://localhost{path}"));
    request.header("host", "localhost").header("content-type", "application/json").body(body).unwrap()
}

fn whole(length: usize) -> Sent {
    Full::new(Bytes::from(vec![b' '; length])).boxed()
}

/// A body whose length is not announced.
fn chunked(length: usize) -> Sent {
    let chunks = vec![vec![b' '; 64 * 1024]; length / (64 * 1024) + 1];
    let frames = chunks.into_iter().map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from(chunk))));
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

async fn status(response: Response<Incoming>) -> Value {
    let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await.unwrap().unwrap();
    serde_json::from_slice(&body.to_bytes()).unwrap()
}

#[tokio::test]
async fn a_body_that_is_too_large_is_told_so() {
    let site = Site::new().await;
    let path = format!("/spaces/s1{CONFIG_MAPS}");
    for body in [whole, chunked] {
        for length in [BODY_BYTES_MAX + 64 * 1024, 4 * BODY_BYTES_MAX] {
            let asked = site.http2(true).await.send_request(post(&path, body(length))).await;
            let told = status(asked.unwrap()).await;
            assert_eq!((&told["code"], &told["reason"]), (&json!(413), &json!("RequestEntityTooLarge")), "{told}");
            let asked = site.http1().await.send_request(post(&path, body(length))).await;
            assert_eq!(status(asked.unwrap()).await["message"], "Request entity too large: limit is 3145728");
        }
    }
    // One byte less is read, and found to be no object.
    let asked = site.http2(true).await.send_request(post(&path, whole(BODY_BYTES_MAX))).await;
    assert_eq!(status(asked.unwrap()).await["code"], 400);
}

/// Sends `request` and then `length` bytes before it reads anything; returns the first bytes of the answer.
async fn send_all_first(site: &Site, request: &str, length: usize) -> String {
    let exchange = async {
        let mut stream = site.connect("http/1.1", true).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; length]).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = vec![0; 64];
        stream.read_exact(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap()
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_reads_is_told_so() {
    let site = Site::new().await;
    let length = 8 * BODY_BYTES_MAX;
    let head = format!("POST /spaces/s1{CONFIG_MAPS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n");
    let answer = send_all_first(&site, &format!("{head}\r\n"), length).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // Who asks first is refused, rather than told to go on.
    let answer = send_all_first(&site, &format!("{head}expect: 100-continue\r\n\r\n"), 0).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

/// Sends one request; returns code and body of the answer.
async fn exchange(site: &Site, known: bool, request: Request<Sent>) -> (u16, String) {
    let asked = site.http2(known).await.send_request(request);
    let answer = tokio::time::timeout(PATIENCE, asked).await.expect("an answer in time").unwrap();
    let code = answer.status().as_u16();
    let body = tokio::time::timeout(PATIENCE, answer.into_body().collect()).await.unwrap().unwrap();
    (code, String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn strangers_do_not_learn_which_spaces_are_not_there() {
    let site = Site::new().await;
    let request = |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(format!("https://localhost{path}"));
        request.header("host", "localhost").body(whole(2)).unwrap()
    };
    // A credential of another space is none.
    let told = exchange(&site, true, request("POST", &format!("/spaces/other{CONFIG_MAPS}"))).await;
    assert_eq!(told.0, 401, "{told:?}");
    let definition = json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com",
        "names": {"plural": "widgets", "kind": "Widget"}, "scope": "Cluster", "versions": [{"name": "v1", "served": true,
            "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    site.world.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await.is(201);
    for (method, path, code) in [
        ("POST", CONFIG_MAPS, 403),
        ("GET", "/api/v1/namespaces/default/configmaps/a", 403),
        ("GET", "/apis/example.com/v1/widgets", 403),
        ("GET", "/apis/example.com/v1/gadgets", 403),
        ("PURGE", "/apis/example.com/v1/widgets", 403),
        ("GET", "/api", 403),
        ("GET", "/openapi/v3", 403),
        ("GET", "/", 403),
        ("GET", "/nothing", 403),
        ("GET", "/version", 200),
        ("GET", "/healthz", 200),
        ("GET", "/readyz?verbose", 200),
    ] {
        let there = exchange(&site, false, request(method, &format!("/spaces/s1{path}"))).await;
        let not_there = exchange(&site, false, request(method, &format!("/spaces/other{path}"))).await;
        assert_eq!(there.0, code, "{method} {path}: {there:?}");
        assert_eq!(there.1.replace("s1", "other"), not_there.1.replace("s1", "other"), "{method} {path}");
        assert_eq!(there.0, not_there.0);
    }
}

#[tokio::test]
async fn who_may_not_write_is_refused_without_the_body() {
    let site = Site::new().await;
    let endless = || {
        let one = futures_util::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"{")))]);
        BodyExt::boxed(StreamBody::new(futures_util::StreamExt::chain(one, futures_util::stream::pending())))
    };
    let told = exchange(&site, false, post(&format!("/spaces/s1{CONFIG_MAPS}"), endless())).await;
    assert_eq!(told.0, 403, "{told:?}");
    assert!(told.1.contains("User \\\"system:anonymous\\\" cannot create resource"), "{told:?}");
    let told = exchange(&site, true, post(&format!("/spaces/other{CONFIG_MAPS}"), endless())).await;
    assert_eq!(told.0, 401, "{told:?}");
    // Of one who may impersonate, but not this.
    let mut request = post(&format!("/spaces/s1{CONFIG_MAPS}"), endless());
    request.headers_mut().insert("impersonate-user", "nobody".parse().unwrap());
    assert_eq!(exchange(&site, true, request).await.0, 403);
}

#[tokio::test]
async fn watches_end_with_the_listener() {
    let site = Site::new().await;
    site.world.config_map("a").await;
    let uri = format!("https://localhost/spaces/s1{CONFIG_MAPS}?watch=1");
    let mut bodies = Vec::new();
    let (mut one, mut two) = (site.http1().await, site.http2(true).await);
    let asked = || Request::get(&uri).header("host", "localhost").body(whole(0)).unwrap();
    for response in [one.send_request(asked()).await, two.send_request(asked()).await] {
        let mut body = response.unwrap().into_body();
        let frame = body.frame().await.unwrap().unwrap();
        assert!(frame.data_ref().unwrap().starts_with(b"{\"type\":\"ADDED\""));
        bodies.push(body);
    }
    let stopwatch = clock::Stopwatch::start();
    site.end.cancel();
    for body in bodies {
        let rest = tokio::time::timeout(PATIENCE, body.collect()).await.unwrap();
        assert!(rest.expect("a clean end").to_bytes().is_empty());
    }
    site.listening.await.unwrap();
    assert!(stopwatch.elapsed() < Duration::from_secs(1), "{:?}", stopwatch.elapsed());
    // The server behind it goes on: another listener may serve it.
    site.world.get(&format!("{CONFIG_MAPS}/a")).await.is(200);
}

/// The answer to a GET of the root's namespaces, as text.
async fn namespaces(stream: TlsStream<TcpStream>) -> String {
    let mut stream = stream;
    let request = "GET /api/v1/namespaces/default HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await.unwrap().ok();
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_space_at_a_name_and_at_a_port_of_its_own() {
    let site = Site::new().await;
    let space = site.world.space.clone();
    let server = site.world.server.clone();
    // The client's certificate is of the space: at the root of the common address it opens nothing.
    let common = site.connect_to(site.address, "localhost", "http/1.1", true).await;
    assert!(namespaces(common).await.starts_with("HTTP/1.1 401"));
    let real = clock::system().now();
    let hour = Duration::from_secs(3600);
    let subject = Subject { common_name: "s1".into(), organizations: Vec::new() };
    let names = ["s1.example.com".to_owned()];
    let (certificate, key) = site.authority.issue_with_key(&subject, &names, Usage::Server, real, hour).unwrap();
    server.set_host("S1.example.com", &space, (&certificate, &key)).unwrap();
    let named = site.connect_to(site.address, "s1.example.com", "http/1.1", true).await;
    assert!(
        namespaces(named).await.starts_with("HTTP/1.1 200"),
        "the handshake checks that the certificate has the name"
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let names = ["localhost".to_owned()];
    let (certificate, key) = site.authority.issue_with_key(&subject, &names, Usage::Server, real, hour).unwrap();
    let (own, of, end) = (server.clone(), space.clone(), site.end.clone());
    tokio::spawn(async move { crate::listen::listen_for(own, of, listener, (&certificate, &key), end).await });
    let own = site.connect_to(address, "localhost", "http/1.1", true).await;
    assert!(namespaces(own).await.starts_with("HTTP/1.1 200"));
    server.set_url(&space, Some("https://s1.example.com:1".into()));
    assert_eq!(server.access(&space).unwrap().server_url, "https://s1.example.com:1");
    server.clear_hosts(&space);
    server.set_url(&space, None);
    assert!(server.space_of_host("s1.example.com").is_none() && server.url(&space).ends_with("/spaces/s1"));
}
