//! The pair that an API server is compared with: kube-apiserver on etcd, on the loopback address.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use client::{Client, Credential, Endpoint};
use clock::Stopwatch;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A cold kube-apiserver takes ten seconds on two idle cores.
const READY_TIMEOUT: Duration = Duration::from_secs(180);
/// How long its certificates hold: longer than any measurement.
const VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// The running pair, killed when dropped.
pub(crate) struct Stock {
    pub(crate) endpoint: Endpoint,
    children: Vec<Child>,
}

impl Stock {
    /// Starts both programs with their data in `folder`, and waits until they are ready.
    pub(crate) async fn start(programs: &Path, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let [etcd, peer, secure] = free_ports()?;
        let url = format!("https://127.0.0.1:{secure}");
        let (ca, admin) = certificates(folder)?;
        let endpoint = Endpoint { server: url, ca: Some(ca), credential: admin, ..Endpoint::default() };
        let mut stock = Self { endpoint, children: Vec::new() };

        let (clients, peers) = (format!("http://127.0.0.1:{etcd}"), format!("http://127.0.0.1:{peer}"));
        let mut command = Command::new(programs.join("etcd"));
        command.arg("--data-dir").arg(folder.join("etcd"));
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}"), "--log-level", "warn"]);
        stock.children.push(spawn(&mut command, &folder.join("etcd.log"))?);

        let mut command = Command::new(programs.join("kube-apiserver"));
        command.args(["--etcd-servers", &clients, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"]);
        command.args(["--secure-port", &secure.to_string(), "--service-cluster-ip-range", "10.96.0.0/16"]);
        command.args(["--authorization-mode", "RBAC", "--endpoint-reconciler-type", "none"]);
        command.args(["--service-account-issuer", "https://kubernetes.default.svc"]);
        // Nobody controls anything beside it, so nobody makes the accounts that Pods would need.
        command.arg("--cert-dir").arg(folder.join("certificates"));
        for (flag, file) in [
            ("--tls-cert-file", "server.crt"),
            ("--tls-private-key-file", "server.key"),
            ("--client-ca-file", "ca.crt"),
            ("--service-account-key-file", "accounts.pub"),
            ("--service-account-signing-key-file", "accounts.key"),
        ] {
            command.arg(flag).arg(folder.join(file));
        }
        stock.children.push(spawn(&mut command, &folder.join("kube-apiserver.log"))?);
        stock.ready().await?;
        Ok(stock)
    }

    /// The numbers of the processes.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }

    async fn ready(&self) -> Result<()> {
        let watch = Stopwatch::start();
        while watch.elapsed() < READY_TIMEOUT {
            let client = Client::https(self.endpoint.clone())?;
            let request = http::Request::builder().uri("/api/v1/namespaces/default").body(Bytes::new());
            // Refused connections are what is waited out here.
            if client.request(request.context("make a request")?).await.is_ok_and(|answer| answer.status() == 200) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!("the stock server was not ready within {READY_TIMEOUT:?}")
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        while let Some(mut child) = self.children.pop() {
            // It may have ended already.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn spawn(command: &mut Command, log: &Path) -> Result<Child> {
    let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
    let program = command.get_program().to_owned();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
    child.with_context(|| format!("start {}", Path::new(&program).display()))
}

/// Ports that are free now. Another process could take one before the server does; then it is not ready in time.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
        *port = listener.local_addr().context("the listener's address")?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Writes what the server reads from files; returns the authority and the administrator's certificate.
fn certificates(folder: &Path) -> Result<(Vec<u8>, Credential)> {
    let now = clock::system().now();
    let authority = pki::Authority::generate("stock", now, VALIDITY)?;
    let subject = |name: &str, organizations: &[&str]| pki::Subject {
        common_name: name.to_owned(),
        organizations: organizations.iter().map(|&text| text.to_owned()).collect(),
    };
    let names = ["127.0.0.1", "localhost"].map(str::to_owned);
    let server = authority.issue_with_key(&subject("stock", &[]), &names, pki::Usage::Server, now, VALIDITY)?;
    let admin = subject("kubernetes-admin", &["system:masters"]);
    let admin = authority.issue_with_key(&admin, &[], pki::Usage::Client, now, VALIDITY)?;
    let accounts = pki::PrivateKey::generate()?;
    for (name, text) in [
        ("ca.crt", &authority.certificate),
        ("server.crt", &server.0),
        ("server.key", &server.1),
        ("accounts.key", &accounts.to_pem()),
        ("accounts.pub", &pki::der_to_pem("PUBLIC KEY", &accounts.public_key_info())),
    ] {
        fs::write(folder.join(name), text).with_context(|| name.to_owned())?;
    }
    let credential = Credential::Certificate { certificate: admin.0.into_bytes(), key: admin.1.into_bytes() };
    Ok((authority.certificate.into_bytes(), credential))
}
