//! The commands against a real server: its listener, its hosting controller, and a kubeconfig with others' entries.

use crate::clusters::{Accept, Clusters, Join};
use crate::kflex::{GlobalFlags, HOSTING_CONTEXT, KflexCommand, install_hosting};
use crate::output::tests::Page;
use crate::{Environment, Result, Session};
use api::{Object, ObjectName, Resource, SpaceName};
use apiserver::{Config, Server, SpaceAccess};
use clap::Parser;
use client::kubeconfig::{self, Kubeconfig, Section};
use client::{Client, Credential, Endpoint};
use controller::Shutdown;
use hub::hosting::{Access, Place, Role, Spaces};
use pki::{Authority, Subject, Usage};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Limits;
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

const THEIRS: &str = "# mine\napiVersion: v1\nkind: Config\ncurrent-context: prod\n\
    contexts: [{name: prod, context: {cluster: prod, user: prod}}]\n\
    clusters: [{name: prod, cluster: {server: 'https://127.0.0.1:1', insecure-skip-tls-verify: true}}]\n\
    users: [{name: prod, user: {token: theirs}}]\n";

/// A server with its hosting controller, and a user with a kubeconfig.
struct Site {
    server: Server,
    folder: tempfile::TempDir,
    _end: DropGuard,
}

struct Embedded(Server);

impl Spaces for Embedded {
    type Error = String;

    async fn owner(&self, _: &SpaceName) -> Result<Option<String>, String> {
        Ok(None)
    }

    async fn held(&self) -> Result<Vec<SpaceName>, String> {
        Ok(Vec::new())
    }

    async fn ensure(&self, space: &SpaceName, place: Place, _: &str) -> Result<Access, String> {
        let access = match place {
            Place::Own => self.0.create_space(space),
            Place::Hosting => self.0.access(&self.0.hosting_space()),
        };
        let access = access.map_err(|error| error.to_string())?;
        let kubeconfig = given(&access).to_yaml()?;
        let server = access.server_url;
        Ok(Access { server, kubeconfig_in_cluster: kubeconfig.clone(), kubeconfig, renew_after: None })
    }

    async fn remove(&self, space: &SpaceName) -> Result<(), String> {
        self.0.delete_space(space).map_err(|error| error.to_string())
    }

    async fn start_role(&self, _: &SpaceName, _: Place, _: Role, _: Option<&SpaceName>) -> Result<(), String> {
        Ok(())
    }

    async fn stop_role(&self, _: &SpaceName) -> Result<(), String> {
        Ok(())
    }
}

fn endpoint(access: &SpaceAccess) -> Endpoint {
    let (certificate, key) = (access.certificate.clone().into_bytes(), access.key.clone().into_bytes());
    Endpoint {
        server: access.server_url.clone(),
        ca: Some(access.authority.clone().into_bytes()),
        credential: Credential::Certificate { certificate, key },
        ..Endpoint::default()
    }
}

fn given(access: &SpaceAccess) -> Kubeconfig {
    kubeconfig::standalone(&endpoint(access), ["default", "c", "u"])
}

impl Site {
    async fn new() -> Self {
        let clock = clock::system();
        let (now, year) = (clock.now(), Duration::from_secs(365 * 24 * 3600));
        let authority = Authority::generate("serving", now, year).unwrap();
        let subject = Subject { common_name: "server".into(), organizations: Vec::new() };
        let (certificate, key) =
            authority.issue_with_key(&subject, &["127.0.0.1".to_owned()], Usage::Server, now, year).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::open(Config {
            engine: store::memory(),
            limits: Limits::with_clock(clock.clone()),
            advertised: format!("https://{}", listener.local_addr().unwrap()),
            serving_authority: authority.certificate,
            hosting: "host".into(),
        })
        .unwrap();
        let hosting = server.create_space(&"host".into()).unwrap();
        let shutdown = Shutdown::new();
        let (running, end) = (server.clone(), shutdown.clone());
        tokio::spawn(async move { running.run_controllers(end).await });
        let (serving, end) = (server.clone(), shutdown.clone());
        tokio::spawn(async move { apiserver::listen::listen(serving, listener, (&certificate, &key), end).await });
        let client = Client::https(endpoint(&hosting)).unwrap();
        client.apply_yaml(&api::crds::HOSTING.join("\n---\n")).await.unwrap();
        let spaces = Arc::new(Embedded(server.clone()));
        let end = shutdown.clone();
        tokio::spawn(async move { hub::hosting::run(client, spaces, clock, end).await.unwrap() });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config"), THEIRS).unwrap();
        Self { server, folder, _end: shutdown.drop_guard() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    fn session(&self, page: &Page) -> Session {
        let environment = Environment { data: Some(self.folder.path().join("data")), ..Environment::default() };
        Session::new(&environment, Some(&self.file()), page.output(), clock::system())
    }

    fn install(&self) {
        let hosting = self.server.access(&"host".into()).unwrap();
        install_hosting(&self.session(&Page::default()), &given(&hosting)).unwrap();
    }

    /// Runs `kflex` with a line of arguments; returns what it wrote.
    async fn kflex(&self, line: &str) -> Result<String> {
        let page = Page::default();
        let arguments = Arguments::try_parse_from(std::iter::once("kflex").chain(line.split_whitespace())).unwrap();
        assert!(arguments.flags.chatty_status && arguments.flags.verbosity == 0);
        arguments.command.run(&self.session(&page)).await?;
        Ok(page.text())
    }

    fn contexts(&self) -> String {
        let set = kubeconfig::read(&[self.file()]).unwrap();
        format!("{} @{}", set.names(Section::Contexts).join(" "), set.current_context().unwrap_or("-"))
    }
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    flags: GlobalFlags,
    #[command(subcommand)]
    command: KflexCommand,
}

#[tokio::test]
async fn without_a_hosting_context_there_is_a_hint() {
    let site = Site::new().await;
    for line in ["create wds1", "list", "ctx", "ctx wds1", "delete wds1"] {
        let error = site.kflex(line).await.unwrap_err();
        assert_eq!(error.hint_text(), Some("run: kflex init"), "{line}: {error}");
    }
    assert_eq!(std::fs::read_to_string(site.file()).unwrap(), THEIRS, "a command that fails changes nothing");
    assert!(site.kflex("config diagnose").await.unwrap().contains("critical"));
}

#[tokio::test]
async fn spaces_come_and_go_with_their_contexts() {
    let site = Site::new().await;
    site.install();
    assert_eq!(site.contexts(), format!("prod {HOSTING_CONTEXT} @{HOSTING_CONTEXT}"));
    assert_eq!(
        site.kflex("create imbs").await.unwrap(),
        "✔ Creating new control plane imbs of type its ...\n✔ Waiting for API server to become ready...\n"
    );
    site.kflex("create wds1 --its imbs").await.unwrap();
    assert_eq!(site.contexts(), format!("prod {HOSTING_CONTEXT} imbs wds1 @wds1"));
    // The context works: with its own credential, in its own space.
    let session = site.session(&Page::default());
    let maps = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
    let made = Object::new("v1", "ConfigMap", &ObjectName::namespaced("default", "a"));
    session.client(Some("wds1")).unwrap().create::<Object>(&maps, "default", &made).await.unwrap();
    let elsewhere = session.client(Some("imbs")).unwrap().find::<Object>(&maps, &made.object_name()).await.unwrap();
    assert!(elsewhere.is_none());

    // Again is fine; another type is not.
    assert!(site.kflex("create wds1").await.unwrap().contains("exists already"));
    let other = site.kflex("create wds1 --type its").await.unwrap_err();
    assert!(other.to_string().contains("is of type wds and not its"), "{other}");
    let absent = site.kflex("create wds2 --its its9").await.unwrap_err();
    assert_eq!(absent.hint_text(), Some("run: kflex create its9 --type its"));

    let taken = site.kflex("create prod").await.unwrap_err();
    assert!(taken.to_string().contains("a context \"prod\" of something else"), "{taken}");
    assert!(!site.server.has_space(&"prod".into()));

    let listed = site.kflex("list").await.unwrap();
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["Control", "Planes:"]);
    assert_eq!(lines[2][..4], ["imbs", "True", "True", "k8s"]);
    assert_eq!((lines[3][0], lines[3][5]), ("wds1", "wds"));

    site.kflex("ctx imbs").await.unwrap();
    assert_eq!(site.kflex("ctx get").await.unwrap(), "imbs\n");
    assert!(site.kflex("ctx list").await.unwrap().contains("imbs*"));
    assert_eq!(site.kflex("ctx").await.unwrap(), "✔ Switching to hosting cluster context...\n");
    assert_eq!(site.kflex("ctx").await.unwrap(), "✔ Current context accesses the hosting cluster, using it\n");
    // A context that was lost is fetched again.
    site.kflex("ctx delete wds1").await.unwrap();
    site.kflex("ctx wds1").await.unwrap();
    site.kflex("ctx wds1 -o").await.unwrap();
    assert_eq!(site.contexts(), format!("prod {HOSTING_CONTEXT} imbs wds1 @wds1"));
    let nothing = site.kflex("ctx nothing").await.unwrap_err();
    assert!(nothing.to_string().contains("control plane not found on server: nothing"), "{nothing}");

    site.kflex("create here --type host").await.unwrap();
    assert_eq!(site.contexts(), format!("prod {HOSTING_CONTEXT} imbs wds1 @{HOSTING_CONTEXT}"));
    assert!(site.kflex("version").await.unwrap().contains("Kubernetes version: v1."));
    assert!(site.kflex("config diagnose").await.unwrap().contains("\"ok\""));

    site.kflex("ctx wds1").await.unwrap();
    for name in ["wds1", "imbs", "here"] {
        site.kflex(&format!("delete {name}")).await.unwrap();
    }
    assert_eq!(site.contexts(), format!("prod {HOSTING_CONTEXT} @{HOSTING_CONTEXT}"));
    assert_eq!(site.kflex("list").await.unwrap(), "No control planes found.\n");
    assert!(!site.server.has_space(&"wds1".into()));
    let theirs = kubeconfig::read(&[site.file()]).unwrap();
    assert_eq!(theirs.get(Section::Users, "prod").unwrap()["token"], "theirs");
}

#[tokio::test]
async fn a_cluster_asks_and_is_let_in() {
    let site = Site::new().await;
    site.install();
    site.kflex("create its1").await.unwrap();
    let page = Page::default();
    let session = site.session(&page);
    let its = session.client(Some("its1")).unwrap();
    its.apply_yaml(&api::crds::ITS.join("\n---\n")).await.unwrap();

    let join = Join {
        cluster_name: "c1".into(),
        hub_context: "its1".into(),
        wec_context: Some("prod".into()),
        bootstrap_kubeconfig: None,
        token_hours: 1,
        hub_server: None,
    };
    let unknown = Join { wec_context: Some("moon".into()), ..join.clone() }.run(&session).await.unwrap_err();
    assert!(unknown.to_string().starts_with("--wec-context: "), "{unknown}");
    let astray = Join { hub_context: HOSTING_CONTEXT.into(), ..join.clone() }.run(&session).await.unwrap_err();
    let complaint = format!("context {HOSTING_CONTEXT} is not an ITS: it does not serve ManagedClusters");
    assert_eq!((astray.to_string(), astray.hint_text()), (complaint, Some("context its1 is an ITS")));
    let file = join.run(&session).await.unwrap();
    assert!(page.text().contains("kubestellar accept c1 --context its1"), "{}", page.text());

    // The token is good to be known, and for nothing that it is not given.
    let agent = Client::https(kubeconfig::read(&[file]).unwrap().endpoint(None).unwrap()).unwrap();
    let secrets = Resource::namespaced("", "v1", "secrets", "Secret");
    let refused = agent.get::<Object>(&secrets, &ObjectName::namespaced("default", "a")).await.unwrap_err();
    assert!(refused.is_forbidden(), "{refused}");

    // What the agent would send, sent for it.
    let request = format!(
        "apiVersion: cluster.open-cluster-management.io/v1\nkind: ManagedCluster\nmetadata: {{name: c1}}\n\
         spec: {{hubAcceptsClient: false}}\n---\n\
         apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\n\
         metadata: {{name: c1-x, labels: {{open-cluster-management.io/cluster-name: c1}}}}\n\
         spec: {{signerName: kubernetes.io/kube-apiserver-client, usages: [client auth], request: {}}}\n",
        signing_request()
    );
    its.apply_yaml(&request).await.unwrap();
    let accept =
        Accept { clusters: vec!["c1".into()], context: Some("its1".into()), timeout: 0, skip_approve_check: false };
    accept.clone().run(&session).await.unwrap();
    assert!(page.text().contains("request c1-x by kubernetes-admin is not approved"), "{}", page.text());
    Accept { skip_approve_check: true, ..accept }.run(&session).await.unwrap();
    let requests =
        Resource::cluster("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest");
    let approved: Object = its.get(&requests, &ObjectName::cluster("c1-x")).await.unwrap();
    assert_eq!(approved.pointer("/status/conditions/0/type").unwrap(), "Approved");

    let late = Accept { clusters: vec!["c1".into()], context: None, timeout: 1, skip_approve_check: false };
    let error = late.run(&session).await.unwrap_err();
    assert!(error.to_string().contains("cluster c1 is not available after 1 s"), "{error}");
    Clusters { context: Some("its1".into()), selector: String::new() }.run(&session).await.unwrap();
    assert!(page.text().contains("NAME   ACCEPTED"), "{}", page.text());
}

fn signing_request() -> String {
    use base64::Engine;
    let key = pki::PrivateKey::generate().unwrap();
    let subject = Subject {
        common_name: "system:open-cluster-management:c1:a".into(),
        organizations: vec!["system:open-cluster-management:c1".into()],
    };
    base64::engine::general_purpose::STANDARD.encode(pki::new_request(&key, &subject, &[]).unwrap())
}
