//! A stock space: etcd, kube-apiserver and kube-controller-manager on the loopback address.

use crate::process::{Process, free_ports};
use crate::server::{As, Server};
use anyhow::{Context, Result, bail};
use client::{Credential, Endpoint};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A cold kube-apiserver takes 8 s on two idle cores; on busy ones several times that.
const READY_TIMEOUT: Duration = Duration::from_secs(180);

/// How long the certificates are valid: longer than any run.
const VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// The controllers that a space without nodes has: those of the API machinery, none that runs workloads.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,serviceaccount-controller,\
    serviceaccount-token-controller,root-ca-certificate-publisher-controller,clusterrole-aggregation-controller,\
    certificatesigningrequest-signing-controller,certificatesigningrequest-approving-controller,\
    certificatesigningrequest-cleaner-controller,bootstrap-signer-controller,token-cleaner-controller,\
    persistentvolume-protection-controller,persistentvolumeclaim-protection-controller,\
    volumeattributesclass-protection-controller,resourcequota-controller";

/// The running programs. The order is that in which they end.
pub(crate) struct Stock {
    pub(crate) server: Server,
    pub(crate) kubeconfig: PathBuf,
    folder: PathBuf,
    /// What starts the API server.
    command: Command,
    processes: Vec<Process>,
}

/// Where the API server is among the processes.
const API_SERVER: usize = 1;

impl Stock {
    /// Starts the programs of `programs` with their data, certificates and logs in `folder`, and waits until they are ready.
    /// `trusted` is the `AuthenticationConfiguration`.
    ///
    /// # Errors
    /// If one cannot be started, or ends, or is not ready in time.
    pub(crate) async fn start(programs: &Path, folder: &Path, trusted: &Value) -> Result<Self> {
        let [etcd, peer, secure, manager] = free_ports()?;
        let files = Files::write(folder, secure)?;
        let mut processes = Vec::new();

        let (clients, peers) = (format!("http://127.0.0.1:{etcd}"), format!("http://127.0.0.1:{peer}"));
        let mut command = Command::new(programs.join("etcd"));
        command.arg("--data-dir").arg(folder.join("etcd"));
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}"), "--log-level", "warn"]);
        processes.push(Process::start("etcd", &mut command, folder)?);

        let url = format!("https://127.0.0.1:{secure}");
        let mut command = Command::new(programs.join("kube-apiserver"));
        command.args(["--etcd-servers", &clients, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"]);
        command.args(["--secure-port", &secure.to_string(), "--service-cluster-ip-range", "10.96.0.0/16"]);
        command.args(["--authorization-mode", "RBAC", "--endpoint-reconciler-type", "none"]);
        command.args(["--service-account-issuer", "https://kubernetes.default.svc", "--enable-bootstrap-token-auth"]);
        command.arg("--cert-dir").arg(folder.join("certificates"));
        let authentication = folder.join("authentication.json");
        fs::write(&authentication, trusted.to_string()).with_context(|| authentication.display().to_string())?;
        command.arg("--authentication-config").arg(authentication);
        for (flag, file) in [
            ("--tls-cert-file", "server.crt"),
            ("--tls-private-key-file", "server.key"),
            ("--client-ca-file", "ca.crt"),
            ("--service-account-key-file", "accounts.pub"),
            ("--service-account-signing-key-file", "accounts.key"),
        ] {
            command.arg(flag).arg(folder.join(file));
        }
        processes.push(Process::start("kube-apiserver", &mut command, folder)?);

        let server = Server::new(Endpoint {
            server: url,
            ca: Some(files.ca.clone().into_bytes()),
            credential: files.admin.clone(),
            ..Endpoint::default()
        })?;
        let kubeconfig = folder.join("admin.kubeconfig");
        let mut stock = Self { server, kubeconfig, folder: folder.to_owned(), command, processes };
        stock.ready("/readyz", 200).await?;

        let mut command = Command::new(programs.join("kube-controller-manager"));
        for flag in ["--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig"] {
            command.arg(flag).arg(folder.join("admin.kubeconfig"));
        }
        command.args(["--leader-elect=false", "--bind-address", "127.0.0.1", "--secure-port", &manager.to_string()]);
        command.args(["--controllers", CONTROLLERS, "--use-service-account-credentials=false"]);
        command.arg("--cert-dir").arg(folder.join("certificates"));
        for (flag, file) in [
            ("--cluster-signing-cert-file", "ca.crt"),
            ("--cluster-signing-key-file", "ca.key"),
            ("--root-ca-file", "ca.crt"),
            ("--service-account-private-key-file", "accounts.key"),
        ] {
            command.arg(flag).arg(folder.join(file));
        }
        stock.processes.push(Process::start("kube-controller-manager", &mut command, folder)?);
        stock.ready("/api/v1/namespaces/default/serviceaccounts/default", 200).await?;
        Ok(stock)
    }

    /// Kills the API server and starts it again.
    ///
    /// # Errors
    /// If it does not come back in time.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        drop(self.processes.remove(API_SERVER));
        self.processes.insert(API_SERVER, Process::start("kube-apiserver", &mut self.command, &self.folder)?);
        self.ready("/readyz", 200).await
    }

    /// Waits until a path is answered with a status code.
    async fn ready(&mut self, path: &str, status: u16) -> Result<()> {
        let watch = clock::Stopwatch::start();
        while watch.elapsed() < READY_TIMEOUT {
            for process in &mut self.processes {
                process.check()?;
            }
            // Refused connections are what is waited out here.
            let asked = self.server.ask("GET", path, &[], Vec::new(), As::Admin, None).await;
            if asked.is_ok_and(|raw| raw.answer.status == status) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!("the stock server did not answer {path} with {status} within {READY_TIMEOUT:?}")
    }

    /// The ids of the programs.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::id).collect()
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        while let Some(process) = self.processes.pop() {
            drop(process);
        }
    }
}

/// What the programs read from files.
struct Files {
    ca: String,
    admin: Credential,
}

impl Files {
    fn write(folder: &Path, port: u16) -> Result<Self> {
        let now = clock::system().now();
        let authority = pki::Authority::generate("stock", now, VALIDITY)?;
        let subject = |name: &str, organizations: &[&str]| pki::Subject {
            common_name: name.to_owned(),
            organizations: organizations.iter().map(|&text| text.to_owned()).collect(),
        };
        let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
        let server = authority.issue_with_key(&subject("stock", &[]), &names, pki::Usage::Server, now, VALIDITY)?;
        let groups = ["system:masters"];
        let admin =
            authority.issue_with_key(&subject("kubernetes-admin", &groups), &[], pki::Usage::Client, now, VALIDITY)?;
        let accounts = pki::PrivateKey::generate()?;
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "stock",
            "clusters": [{"name": "stock", "cluster": {
                "server": format!("https://127.0.0.1:{port}"), "certificate-authority": folder.join("ca.crt")}}],
            "users": [{"name": "admin", "user": {
                "client-certificate": folder.join("admin.crt"), "client-key": folder.join("admin.key")}}],
            "contexts": [{"name": "stock", "context": {"cluster": "stock", "user": "admin"}}],
        });
        for (name, text) in [
            ("ca.crt", &authority.certificate),
            ("ca.key", &authority.key),
            ("server.crt", &server.0),
            ("server.key", &server.1),
            ("admin.crt", &admin.0),
            ("admin.key", &admin.1),
            ("accounts.key", &accounts.to_pem()),
            ("accounts.pub", &pki::der_to_pem("PUBLIC KEY", &accounts.public_key_info())),
            ("admin.kubeconfig", &kubeconfig.to_string()),
        ] {
            fs::write(folder.join(name), text).with_context(|| name.to_owned())?;
        }
        let credential = Credential::Certificate { certificate: admin.0.into_bytes(), key: admin.1.into_bytes() };
        Ok(Self { ca: authority.certificate, admin: credential })
    }
}
