//! The HTTPS transport against the real listener.

use super::{CONFIG_MAPS, config_map, named};
use crate::{Client, Credential, Endpoint, Reflector, Selection};
use api::{Object, SpaceName};
use apiserver::identity::Identity;
use apiserver::{Config, Server};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pki::{Authority, Subject, Usage};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use store::{Limits, Visibility};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A server behind a real socket, which can be closed and opened again.
struct Site {
    server: Server,
    space: SpaceName,
    port: u16,
    certificate: (String, String),
    open: CancellationToken,
    serving: Option<tokio::task::JoinHandle<()>>,
}

impl Site {
    async fn new() -> Self {
        let clock = clock::system();
        let now = clock.now();
        let year = Duration::from_secs(365 * 24 * 3600);
        let authority = Authority::generate("serving", now, year).unwrap();
        let subject = Subject { common_name: "server".into(), organizations: Vec::new() };
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = authority.issue_with_key(&subject, &names, Usage::Server, now, year).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server::open(Config {
            engine: store::memory(),
            limits: Limits::with_clock(clock),
            advertised: format!("https://127.0.0.1:{port}"),
            serving_authority: authority.certificate.clone(),
            hosting: "host".into(),
        })
        .unwrap();
        let space = SpaceName::from("s1");
        server.create_space(&space).unwrap();
        let mut site = Self { server, space, port, certificate, open: CancellationToken::new(), serving: None };
        site.serve(listener);
        site
    }

    fn serve(&mut self, listener: TcpListener) {
        self.open = CancellationToken::new();
        let (server, open, (certificate, key)) = (self.server.clone(), self.open.clone(), self.certificate.clone());
        self.serving = Some(tokio::spawn(async move {
            apiserver::listen::listen(server, listener, (&certificate, &key), open).await.unwrap();
        }));
    }

    async fn close(&mut self) {
        self.open.cancel();
        self.serving.take().unwrap().await.unwrap();
    }

    async fn reopen(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.serve(listener);
    }

    fn endpoint(&self) -> Endpoint {
        let access = self.server.access(&self.space).unwrap();
        Endpoint {
            server: access.server_url,
            ca: Some(access.authority.into_bytes()),
            credential: Credential::Certificate {
                certificate: access.certificate.into_bytes(),
                key: access.key.into_bytes(),
            },
            ..Endpoint::default()
        }
    }
}

#[tokio::test]
async fn requests_and_watches_share_a_connection() {
    let site = Site::new().await;
    let client = Client::https(site.endpoint()).unwrap();
    let reflectors: Vec<_> = (0..50)
        .map(|_| Reflector::<Object>::start(client.clone(), CONFIG_MAPS.clone(), Selection::namespace("default")))
        .collect();
    for reflector in &reflectors {
        reflector.synced().await;
    }
    let mut changes = reflectors[49].subscribe();
    while changes.try_next().is_some() {}
    let made: Object = client.create(&CONFIG_MAPS, "default", &config_map("a", "1")).await.unwrap();
    assert_eq!(made.name(), "a");
    let seen = changes.next().await;
    assert_eq!(seen.name, named("a"));
    let many = (0..200).map(|index| {
        let client = client.clone();
        tokio::spawn(async move {
            let object = config_map(&format!("many{index}"), "1");
            client.create::<Object>(&CONFIG_MAPS, "default", &object).await.unwrap();
        })
    });
    for task in many.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert!(client.list::<Object>(&CONFIG_MAPS, "default", &Default::default()).await.unwrap().items.len() >= 201);
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again() {
    let mut site = Site::new().await;
    let client = Client::https(site.endpoint()).unwrap();
    let reflector = Reflector::<Object>::start(client.clone(), CONFIG_MAPS.clone(), Selection::namespace("default"));
    reflector.synced().await;
    let mut changes = reflector.subscribe();
    while changes.try_next().is_some() {}
    site.close().await;
    let error = client.create::<Object>(&CONFIG_MAPS, "default", &config_map("a", "1")).await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    site.reopen().await;
    client.create::<Object>(&CONFIG_MAPS, "default", &config_map("a", "1")).await.unwrap();
    let seen = tokio::time::timeout(Duration::from_secs(20), changes.next()).await.unwrap();
    assert_eq!(seen.name, named("a"));
}

#[tokio::test]
async fn who_is_not_known_is_refused() {
    let site = Site::new().await;
    let asked = async |endpoint: Endpoint| {
        let client = Client::https(endpoint)?;
        client.find::<Object>(&CONFIG_MAPS, &named("a")).await
    };
    assert!(asked(site.endpoint()).await.unwrap().is_none());
    let anonymous = Endpoint { credential: Credential::None, ..site.endpoint() };
    assert!(asked(anonymous).await.unwrap_err().is_forbidden());
    let token = Endpoint { credential: Credential::Token("abcdef.0123456789abcdef".into()), ..site.endpoint() };
    assert!(asked(token).await.unwrap_err().is_unauthorized());
    let wrong_ca = Authority::generate("other", clock::system().now(), Duration::from_secs(3600)).unwrap();
    let elsewhere = Endpoint { ca: Some(wrong_ca.certificate.into_bytes()), ..site.endpoint() };
    let error = asked(elsewhere.clone()).await.unwrap_err().to_string();
    assert!(error.contains("cannot connect to 127.0.0.1") && error.contains("certificate"), "{error}");
    let trusting = Endpoint { insecure: true, ..elsewhere };
    assert!(asked(trusting).await.unwrap().is_none());
    let named = Endpoint { server_name: Some("localhost".into()), ..site.endpoint() };
    assert!(asked(named).await.unwrap().is_none());
    let misnamed = Endpoint { server_name: Some("example.org".into()), ..site.endpoint() };
    assert!(asked(misnamed).await.is_err());
    let broken = Endpoint { ca: Some(b"no PEM".to_vec()), ..site.endpoint() };
    assert!(asked(broken).await.unwrap_err().to_string().contains("no PEM certificate"));
}

#[tokio::test]
async fn tokens_are_read_from_their_file() {
    let site = Site::new().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let endpoint = Endpoint { credential: Credential::TokenFile(file.clone()), ..site.endpoint() };
    let client = Client::https(endpoint).unwrap();
    let missing = client.find::<Object>(&CONFIG_MAPS, &named("a")).await.unwrap_err().to_string();
    assert!(missing.contains("cannot read the token"), "{missing}");
    std::fs::write(&file, "abcdef.0123456789abcdef\n").unwrap();
    assert!(client.find::<Object>(&CONFIG_MAPS, &named("a")).await.unwrap_err().is_unauthorized());
    // Refused: the file is read again, and by now the token in it is one.
    let admin = Client::https(site.endpoint()).unwrap();
    let secret = "{apiVersion: v1, kind: Secret, type: bootstrap.kubernetes.io/token, \
        metadata: {name: bootstrap-token-fedcba, namespace: kube-system}, \
        stringData: {token-id: fedcba, token-secret: fedcba9876543210, usage-bootstrap-authentication: 'true'}}";
    admin.apply_yaml(secret).await.unwrap();
    std::fs::write(&file, "fedcba.fedcba9876543210").unwrap();
    let error = client.find::<Object>(&CONFIG_MAPS, &named("a")).await.unwrap_err();
    assert!(error.is_forbidden(), "known now, but with no rights: {error}");
}

#[tokio::test]
async fn a_server_with_http_1_only_works_too() {
    let site = Site::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let (server, space, counted) = (site.server.clone(), site.space.clone(), connections.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let (server, space) = (server.clone(), space.clone());
            let service = service_fn(move |request: http::Request<Incoming>| {
                let (server, space) = (server.clone(), space.clone());
                async move {
                    let (head, body) = request.into_parts();
                    assert_eq!(head.headers["authorization"], "Basic YTpi");
                    let request = http::Request::from_parts(head, body.collect().await.unwrap().to_bytes());
                    let identity = Identity::system("test");
                    Ok::<_, Infallible>(server.handle(&space, identity, Visibility::Durable, request).await)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let credential = Credential::Basic { user: "a".into(), password: "b".into() };
    let endpoint = Endpoint { server: format!("http://{address}"), credential, ..Endpoint::default() };
    let client = Client::https(endpoint).unwrap();
    let reflector = Reflector::<Object>::start(client.clone(), CONFIG_MAPS.clone(), Selection::namespace("default"));
    reflector.synced().await;
    for index in 0..20 {
        let object = config_map(&format!("m{index}"), "1");
        client.create::<Object>(&CONFIG_MAPS, "default", &object).await.unwrap();
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2, "one for the watch, one for all requests");
    let mut changes = reflector.subscribe();
    while changes.next().await.name.name != "m19" {}
}

#[tokio::test]
async fn a_program_gives_the_credential() {
    let site = Site::new().await;
    let access = site.server.access(&site.space).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (answer, runs) = (folder.path().join("answer"), folder.path().join("runs"));
    let plugin = crate::Plugin {
        api_version: "client.authentication.k8s.io/v1".into(),
        command: "sh".into(),
        args: vec!["-c".into(), format!("echo run >> {}; cat {}", runs.display(), answer.display())],
        ..crate::Plugin::default()
    };
    let endpoint = Endpoint { credential: Credential::Plugin(plugin), ..site.endpoint() };
    let client = Client::https(endpoint).unwrap();
    let ask = async || client.find::<Object>(&CONFIG_MAPS, &named("a")).await;
    assert!(ask().await.unwrap_err().to_string().contains("credential program sh failed"));
    std::fs::write(&answer, r#"{"status": {"token": "abcdef.0123456789abcdef"}}"#).unwrap();
    assert!(ask().await.unwrap_err().is_unauthorized());
    let certificate = serde_json::json!({"status": {
        "clientCertificateData": access.certificate, "clientKeyData": access.key,
    }});
    std::fs::write(&answer, certificate.to_string()).unwrap();
    // The connection from before, without a certificate, is not used again.
    assert!(ask().await.unwrap().is_none());
    assert!(ask().await.unwrap().is_none());
    assert_eq!(std::fs::read_to_string(runs).unwrap().lines().count(), 3, "run when needed, and only then");
}
