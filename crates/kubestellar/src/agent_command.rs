//! `kubestellar agent`: the agent of one cluster, beside it or anywhere that reaches both it and the hub.

use crate::args::end_asked;
use anyhow::{Context, Result};
use api::ClusterName;
use cli::Session;
use cli::clusters::bootstrap_file;
use client::kubeconfig;
use client::{Client, Endpoint};
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// Runs the agent of a cluster
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AgentCommand {
    /// The name of the cluster in the ITS
    #[arg(long, value_name = "NAME")]
    cluster_name: String,
    /// The context of the cluster; without it, the cluster that the agent runs in
    #[arg(long, value_name = "CONTEXT")]
    wec_context: Option<String>,
    /// What `kubestellar join` wrote; not needed once the cluster has joined
    #[arg(long, value_name = "FILE")]
    bootstrap_kubeconfig: Option<PathBuf>,
    /// Where the agent keeps its own credentials
    #[arg(long, value_name = "FOLDER")]
    credentials: Option<PathBuf>,
    /// Tells this agent from others of the same cluster
    #[arg(long, value_name = "ID", default_value = "kubestellar")]
    agent_id: String,
}

impl AgentCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let data = session.data.clone().context("it is not clear where to keep credentials: give --credentials")?;
        let file = self.bootstrap_kubeconfig.unwrap_or_else(|| bootstrap_file(&data, &self.cluster_name));
        let bootstrap = if file.exists() { Some(endpoint(&file)?) } else { None };
        let folder = self.credentials.unwrap_or_else(|| data.join("agents").join(&self.cluster_name).join("hub"));
        let wec = match &self.wec_context {
            Some(context) => session.client(Some(context))?,
            None => {
                let variable = |name: &str| std::env::var(name).context("not in a cluster: give --wec-context");
                let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
                Client::https(kubeconfig::in_cluster(&host, &port)?)?
            }
        };
        let config = agent::Config {
            cluster: ClusterName::from(self.cluster_name),
            agent_id: self.agent_id,
            bootstrap,
            credentials: agent::Credentials::in_folder(folder),
            wec: wec.with_field_manager("work-agent"),
            clock: session.clock.clone(),
        };
        let shutdown = CancellationToken::new();
        let end = shutdown.clone();
        tokio::spawn(async move {
            end_asked().await;
            end.cancel();
        });
        Ok(agent::run(config, shutdown).await?)
    }
}

fn endpoint(file: &std::path::Path) -> Result<Endpoint> {
    let set = kubeconfig::read(&[file.to_owned()])?;
    set.endpoint(None).with_context(|| format!("the bootstrap kubeconfig {}", file.display()))
}
