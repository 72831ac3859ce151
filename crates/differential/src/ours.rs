//! A space of ours: the server's program with a data folder of its own, and a plain space made in it.

use crate::process::{Process, free_ports};
use crate::server::{As, Server};
use anyhow::{Context, Result, bail};
use client::kubeconfig;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The server is ready within a second; a debug build on a busy machine takes longer.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// The running server.
pub(crate) struct Ours {
    pub(crate) server: Server,
    pub(crate) kubeconfig: PathBuf,
    process: Option<Process>,
    place: Place,
}

/// Where the server is, and where it keeps what it has.
struct Place {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Place {
    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env("HOME", &self.folder).env("KUBECONFIG", self.folder.join("kubeconfig"));
        command.env("KUBESTELLAR_DATA", self.data());
        command
    }

    /// Starts the server and waits until it is ready.
    async fn serve(&self) -> Result<Process> {
        let mut command = self.command("kubestellar");
        command.args(["serve", "--listen", &format!("127.0.0.1:{}", self.port)]);
        let mut process = Process::start("kubestellar", &mut command, &self.folder)?;
        let watch = clock::Stopwatch::start();
        loop {
            process.check()?;
            let log = fs::read_to_string(self.folder.join("kubestellar.log")).unwrap_or_default();
            if self.data().join("admin.kubeconfig").exists() && log.contains("ready") {
                return Ok(process);
            }
            if watch.elapsed() > READY_TIMEOUT {
                bail!("kubestellar was not ready within {READY_TIMEOUT:?}:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn kflex(&self, arguments: &[&str]) -> Result<()> {
        let made = self.command("kflex").args(arguments).output().context("kflex cannot be started")?;
        if !made.status.success() {
            bail!("kflex {}: {}", arguments.join(" "), String::from_utf8_lossy(&made.stderr));
        }
        Ok(())
    }
}

/// Tells a space which issuers of tokens it is to trust: `docs/authentication.md`.
async fn trust(server: &Server, trusted: &Value) -> Result<()> {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "authentication-config"},
        "stringData": {"config.yaml": trusted.to_string()}});
    let path = "/api/v1/namespaces/kube-system/secrets";
    let headers = [("Content-Type".to_owned(), "application/json".to_owned())];
    let made = server.ask("POST", path, &headers, secret.to_string().into_bytes(), As::Admin, None).await?.answer;
    if made.status != 201 {
        bail!("the issuers of tokens: {}", made.body);
    }
    Ok(())
}

impl Ours {
    /// Starts `kubestellar` of the folder `programs` with everything that it keeps in `folder`, and makes a space that has
    /// `trusted` for its `AuthenticationConfiguration`.
    ///
    /// # Errors
    /// If it cannot be started, ends, or is not ready in time.
    pub(crate) async fn start(programs: &Path, folder: &Path, trusted: &Value) -> Result<Self> {
        let [port] = free_ports()?;
        let place = Place { programs: programs.to_owned(), folder: folder.to_owned(), port };
        let process = place.serve().await?;
        let (admin, config) = (place.data().join("admin.kubeconfig"), folder.join("kubeconfig"));
        fs::copy(&admin, &config).with_context(|| admin.display().to_string())?;
        place.kflex(&["ctx", "--set-current-for-hosting", "--chatty-status=false"])?;
        place.kflex(&["create", "ws", "--type", "k8s", "--chatty-status=false"])?;
        let endpoint = kubeconfig::read(std::slice::from_ref(&config))?.endpoint(Some("ws"))?;
        let server = Server::new(endpoint)?;
        trust(&server, trusted).await?;
        Ok(Self { server, kubeconfig: config, process: Some(process), place })
    }

    /// Makes a simulated cluster beside the space: context `wec` of the kubeconfig, whose current context stays.
    ///
    /// # Errors
    /// If it is refused.
    pub(crate) fn make_cluster(&self) -> Result<()> {
        self.place.kflex(&["create", "its1", "--type", "its", "--chatty-status=false"])?;
        self.place.kflex(&["create", "wec", "--type", "wec", "--its", "its1", "--chatty-status=false"])?;
        self.place.kflex(&["ctx", "ws", "--chatty-status=false"])
    }

    /// Kills the server and starts it again where it was.
    ///
    /// # Errors
    /// If it does not come back.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        drop(self.process.take());
        self.process = Some(self.place.serve().await?);
        Ok(())
    }

    /// The server's process id; 0 while it is not there.
    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::id)
    }
}
