//! A space of ours: the server's program with a data folder of its own, and a plain space made in it.

use crate::process::{Process, free_ports};
use crate::server::Server;
use anyhow::{Context, Result, bail};
use client::kubeconfig;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The server is ready within a second; a debug build on a busy machine takes longer.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// The running server.
pub(crate) struct Ours {
    pub(crate) server: Server,
    process: Process,
}

impl Ours {
    /// Starts `kubestellar` of the folder `programs` with everything that it keeps in `folder`, and makes a space.
    ///
    /// # Errors
    /// If it cannot be started, ends, or is not ready in time.
    pub(crate) async fn start(programs: &Path, folder: &Path) -> Result<Self> {
        let [port] = free_ports()?;
        let (data, config) = (folder.join("data"), folder.join("kubeconfig"));
        let with_environment = |command: &mut Command| {
            command.env("HOME", folder).env("KUBECONFIG", &config).env("KUBESTELLAR_DATA", &data);
        };
        let mut command = Command::new(programs.join("kubestellar"));
        with_environment(command.args(["serve", "--listen", &format!("127.0.0.1:{port}")]));
        let mut process = Process::start("kubestellar", &mut command, folder)?;

        let admin = data.join("admin.kubeconfig");
        let watch = clock::Stopwatch::start();
        let log = loop {
            process.check()?;
            let log = fs::read_to_string(folder.join("kubestellar.log")).unwrap_or_default();
            if admin.exists() && log.contains("ready") {
                break log;
            }
            if watch.elapsed() > READY_TIMEOUT {
                bail!("kubestellar was not ready within {READY_TIMEOUT:?}:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        drop(log);
        fs::copy(&admin, &config).with_context(|| admin.display().to_string())?;
        let mut command = Command::new(programs.join("kflex"));
        with_environment(command.args(["create", "ws", "--type", "k8s", "--chatty-status=false"]));
        let made = command.output().context("kflex cannot be started")?;
        if !made.status.success() {
            bail!("kflex create: {}", String::from_utf8_lossy(&made.stderr));
        }
        let endpoint = kubeconfig::read(&[config])?.endpoint(Some("ws"))?;
        Ok(Self { server: Server::new(endpoint)?, process })
    }

    /// The server's process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}
