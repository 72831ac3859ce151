//! A server with an ITS, a WDS and simulated clusters, set up by the commands of a user: for the demo, and for those who
//! measure.

use crate::background;
use crate::serve::{Options, Serve};
use anyhow::{Context, Result, anyhow};
use cli::clusters::Accept;
use cli::kflex::{self, Create, SpaceType};
use cli::{Environment, Output, Session};
use client::Client;
use client::kubeconfig::Kubeconfig;
use clock::SharedClock;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

/// A simulated cluster.
#[derive(Clone)]
pub struct Cluster {
    /// Its name, in the ITS and as a space.
    pub name: String,
    /// Reaches it over HTTPS, as its administrator.
    pub client: Client,
}

/// A server in this process and what a user made on it.
pub struct Fleet {
    /// The server.
    pub serve: Serve,
    session: Session,
}

impl Fleet {
    /// Starts a server in a folder, at a free port, and writes a kubeconfig there.
    ///
    /// # Errors
    /// If the server does not start.
    pub async fn start(folder: &Path, clock: SharedClock) -> Result<Self> {
        Self::start_at(folder, (Ipv4Addr::LOCALHOST, 0).into(), clock).await
    }

    /// The same, at an address that is known.
    ///
    /// # Errors
    /// If the server does not start.
    pub async fn start_at(folder: &Path, listen: SocketAddr, clock: SharedClock) -> Result<Self> {
        let data = folder.join("data");
        let api_groups = hub::ApiGroups::default();
        let options = Options { data: Some(data.clone()), listen, hosts: Vec::new(), api_groups };
        let serve = Serve::start(options, clock.clone()).await?;
        let environment = Environment { data: Some(data.clone()), home: Some(folder.to_owned()), kubeconfig: None };
        let kubeconfig = folder.join("kubeconfig");
        let session = Session::new(&environment, Some(&kubeconfig), Output::new(std::io::sink(), false), clock);
        let file = background::kubeconfig_file(&data);
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let given = Kubeconfig::parse(&text).map_err(|error| anyhow!("{}: {error}", file.display()))?;
        kflex::install_hosting(&session, &given)?;
        Ok(Self { serve, session })
    }

    /// `kflex create NAME --type TYPE [--its ITS]`, and a client of the new context.
    ///
    /// # Errors
    /// As the command.
    pub async fn create(&self, name: &str, type_: SpaceType, its: Option<&str>) -> Result<Client> {
        let create = Create::new(name, type_, its);
        create.run(&self.session).await.map_err(|error| anyhow!("kflex create {name}: {error}"))?;
        Ok(self.session.client(Some(name))?)
    }

    /// `kubestellar accept CLUSTER... --context ITS`: returns when all have joined and are available.
    ///
    /// # Errors
    /// As the command.
    pub async fn accept(&self, its: &str, clusters: &[String]) -> Result<()> {
        let accept = Accept {
            clusters: clusters.to_vec(),
            context: Some(its.to_owned()),
            timeout: 120,
            skip_approve_check: false,
        };
        accept.run(&self.session).await.map_err(|error| anyhow!("kubestellar accept: {error}"))
    }
}
