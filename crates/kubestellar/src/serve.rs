//! How one process is put together: the store, the API server over it, the listener, and the controllers beside the
//! spaces. This is the only place that knows all parts.

use crate::addresses::Addresses;
use crate::background::{self, Running};
use crate::data_folder;
use crate::host::Host;
use crate::local;
use crate::serving::{self, Serving};
use anyhow::{Context, Result};
use api::SpaceName;
use apiserver::{Config, Server};
use clock::SharedClock;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{Limits, Visibility};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The space at the root, which holds the ControlPlanes.
pub const HOSTING: &str = "hosting";

/// How long an address may stay taken: a process that was killed holds its socket until the system has taken it apart.
const BIND_PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait between two tries.
const BIND_PAUSE: Duration = Duration::from_millis(50);

/// What a server is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything is kept; nowhere, if absent: then nothing survives the process.
    pub data: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Names and addresses by which clients reach the server, besides the loopback ones. The first one is advertised.
    pub hosts: Vec<String>,
    /// API groups whose objects may be delivered.
    pub api_groups: hub::ApiGroups,
}

/// A server that runs in this process.
pub struct Serve {
    /// Where it is reached, without a path.
    pub url: String,
    /// The API server, for those who measure it.
    pub server: Server,
    address: SocketAddr,
    data: Option<PathBuf>,
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

/// Binds an address, with patience for one that is about to become free.
async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let mut waited = Duration::ZERO;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && waited < BIND_PATIENCE => {
                tokio::time::sleep(BIND_PAUSE).await;
                waited += BIND_PAUSE;
            }
            bound => return bound,
        }
    }
}

impl Serve {
    /// Starts a server; it is ready when this returns.
    ///
    /// # Errors
    /// If the data folder, the address or a certificate cannot be used.
    pub async fn start(options: Options, clock: SharedClock) -> Result<Self> {
        let listener = bind(options.listen).await.with_context(|| {
            format!("listen on {} (hint: `--listen` chooses another address and port)", options.listen)
        })?;
        let address = listener.local_addr().context("the listener's address")?;
        let mut names: Vec<String> = vec!["localhost".into(), "127.0.0.1".into(), "::1".into()];
        names.extend(options.hosts.iter().cloned());
        if !address.ip().is_unspecified() && !names.contains(&address.ip().to_string()) {
            names.push(address.ip().to_string());
        }
        let host = match options.hosts.first() {
            Some(host) => host.clone(),
            None if address.ip().is_unspecified() => "127.0.0.1".into(),
            None => match address.ip() {
                std::net::IpAddr::V4(ip) => ip.to_string(),
                std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            },
        };
        let url = format!("https://{host}:{}", address.port());
        if let Some(data) = &options.data {
            data_folder::make(data)?;
        }
        // The store locks the data folder, so it is opened before anything else there is touched.
        let engine = match &options.data {
            Some(data) => store::open_disk(&data.join(data_folder::STORE), clock.clone())
                .with_context(|| format!("open the store in {}", data.display()))?,
            None => store::memory(),
        };
        let serving = Serving::load(options.data.as_deref(), &names, &clock)?;
        let hosting = SpaceName::from(HOSTING);
        let server = Server::open(Config {
            engine,
            limits: Limits::with_clock(clock.clone()),
            advertised: url.clone(),
            serving_authority: serving.authority.certificate.clone(),
            hosting: hosting.clone(),
        })?;
        server.set_guard(Box::new(crate::host_guard::HostGuard::new(server.store().clone(), &hosting)));
        server.create_space(&hosting)?;

        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let controllers = server.clone();
        let end = shutdown.clone();
        tasks.spawn(async move { controllers.run_controllers(end).await });
        let addresses =
            Addresses::new(server.clone(), serving.clone(), (address, host.clone()), clock.clone(), shutdown.clone());
        let (listening, end) = (server.clone(), shutdown.clone());
        tasks.spawn(async move {
            let identity = (serving.certificate.as_str(), serving.key.as_str());
            if let Err(error) = apiserver::listen::listen(listening, listener, identity, end).await {
                tracing::error!(error = &error as &dyn std::error::Error, "the listener ended");
            }
        });
        let (data, groups) = (options.data.clone(), options.api_groups.clone());
        let host = Host::new(server.clone(), addresses, data, clock.clone(), groups, shutdown.clone())?;
        let host = Arc::new(host);
        let client = local::client(&server, &hosting, "kubeflex", Visibility::Appended);
        let (end, control_clock) = (shutdown.clone(), clock.clone());
        tasks.spawn(async move {
            if let Err(error) = hub::hosting::run(client, host, control_clock, end).await {
                tracing::error!(%error, "the hosting controller ended");
            }
        });
        // Ready means that spaces can be created.
        let control_planes = local::client(&server, &hosting, "serve", Visibility::Durable);
        let kind = api::space::CONTROL_PLANES.group_resource().to_string();
        control_planes.wait_established(&kind).await.context("wait for the hosting space")?;
        let serve = Self { url, server, address, data: options.data, tasks, shutdown };
        serve.leave_word()?;
        Ok(serve)
    }

    /// The administrator's kubeconfig of the hosting space.
    ///
    /// # Errors
    /// If the space's authority cannot sign.
    pub fn hosting_access(&self) -> Result<apiserver::SpaceAccess> {
        let mut access = self.server.access(&HOSTING.into())?;
        access.server_url.clone_from(&self.url); // the hosting space is at the root
        Ok(access)
    }

    fn leave_word(&self) -> Result<()> {
        let Some(data) = &self.data else { return Ok(()) };
        let access = self.hosting_access()?;
        let kubeconfig = crate::host::kubeconfig(HOSTING, &access)?;
        serving::write_private(&background::kubeconfig_file(data), kubeconfig.as_bytes())?;
        let running = Running { pid: std::process::id(), url: self.url.clone(), listen: Some(self.address) };
        background::leave_word(data, &running)
    }

    /// Runs until `signal`, or until a part that everything needs ends by itself.
    pub async fn until(&mut self, signal: impl Future<Output = ()>) {
        tokio::select! {
            () = signal => {}
            _ = self.tasks.join_next() => tracing::error!("a part of the server ended; the rest ends with it"),
        }
    }

    /// Ends in order: no new requests, then the controllers, then the store.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.server.close().await;
        if let Some(data) = &self.data {
            background::take_word_back(data);
        }
    }
}
