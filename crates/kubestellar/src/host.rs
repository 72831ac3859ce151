//! Where spaces come from in this process, and what runs beside each: a WDS has its controllers, an ITS its hub, and a
//! simulated WEC its simulator and an agent.

use crate::addresses::{Addresses, Wanted};
use crate::data_folder;
use crate::host_marks::{self, Marks};
use crate::host_parts::Parts;
use crate::local;
use anyhow::{Context, Result, anyhow};
use api::cluster::MANAGED_CLUSTERS;
use api::space::CONTROL_PLANES;
use api::work::{MANIFEST_WORKS, WDS_LABEL};
use api::{ClusterName, ObjectName, PartialObject, SpaceName, Timestamp};
use apiserver::{Server, SpaceAccess};
use client::kubeconfig::standalone;
use client::{Credential, DeleteParams, Endpoint, ListParams};
use clock::SharedClock;
use hub::hosting::{Access, Place, Role, Spaces};
use parking_lot::Mutex;
use planner::transport::label_value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;
use store::Visibility;
use tokio_util::sync::CancellationToken;

/// How long the bootstrap token of a simulated cluster's agent can be used.
const BOOTSTRAP_VALIDITY_SECONDS: i64 = 24 * 3600;
/// How long parts of a space may take to end.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a simulated cluster may take to leave the inventory.
const DETACH_TIME_MAX: Duration = Duration::from_secs(10);
/// A part that could not be started is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The spaces of this process.
pub(crate) struct Host {
    server: Server,
    addresses: Addresses,
    data: Option<PathBuf>,
    clock: SharedClock,
    api_groups: hub::ApiGroups,
    shutdown: CancellationToken,
    /// What runs beside each space.
    beside: Mutex<HashMap<SpaceName, Beside>>,
    /// Credentials of simulated clusters' agents, when there is no data folder.
    scratch: tempfile::TempDir,
}

struct Beside {
    role: Role,
    its: Option<SpaceName>,
    parts: Parts,
}

impl Host {
    pub(crate) fn new(
        server: Server,
        addresses: Addresses,
        data: Option<PathBuf>,
        clock: SharedClock,
        api_groups: hub::ApiGroups,
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let scratch = tempfile::tempdir().context("make a temporary folder")?;
        Ok(Self { server, addresses, data, clock, api_groups, shutdown, beside: Mutex::default(), scratch })
    }

    /// The API space behind a named one: with [`Place::Hosting`] it is the hosting space.
    fn behind(&self, space: &SpaceName, place: Place) -> SpaceName {
        match place {
            Place::Own => space.clone(),
            Place::Hosting => self.server.hosting_space(),
        }
    }

    fn start(&self, space: &SpaceName, place: Place, role: Role, its: Option<&SpaceName>) -> Option<Beside> {
        let behind = self.behind(space, place);
        let mut parts = Parts::new(space.as_str(), self.shutdown.child_token());
        let clock = self.clock.clone();
        match role {
            Role::Plain => return None,
            Role::Its => {
                let its = local::client(&self.server, &behind, "registration", Visibility::Appended);
                parts.keep("inventory and registration", move |end| {
                    let config = hub::its::ItsConfig { its: its.clone(), clock: clock.clone(), trusted: Vec::new() };
                    hub::its::run(config, end)
                });
            }
            Role::Wds => {
                let name = space.clone();
                let wds = local::client(&self.server, &behind, "kubestellar", Visibility::Appended);
                let Some(to) = its else {
                    parts.keep("kinds of a WDS", move |end| hub::wds::await_its(wds.clone(), end));
                    return Some(Beside { role, its: None, parts });
                };
                let its = local::client(&self.server, to, "transport-controller", Visibility::Appended);
                let api_groups = self.api_groups.clone();
                parts.keep("binding, transport and status", move |end| {
                    let config = hub::wds::WdsConfig {
                        name: name.clone(),
                        wds: wds.clone(),
                        its: its.clone(),
                        clock: clock.clone(),
                        limits: planner::transport::Limits::default(),
                        api_groups: api_groups.clone(),
                    };
                    hub::wds::run(config, end)
                });
            }
            Role::Wec => {
                let simulated = local::client(&self.server, &behind, "simulator", Visibility::Appended);
                parts.keep("simulator", move |end| {
                    simulator::run(simulated.clone(), simulator::Dial::default(), clock.clone(), end)
                });
                if let Some(its) = its {
                    let agent = self.agent(space, &behind, its);
                    // Boxed, because it is large.
                    parts.keep("agent", move |end| Box::pin(run_agent(agent.clone(), end)));
                }
            }
        }
        Some(Beside { role, its: its.cloned(), parts })
    }

    /// The addresses that the ControlPlane of a space asks for.
    async fn wanted(&self, space: &SpaceName) -> Result<Wanted> {
        let hosting = local::client(&self.server, &self.server.hosting_space(), "kubeflex", Visibility::Appended);
        let plane = hosting.find::<PartialObject>(&CONTROL_PLANES, &ObjectName::cluster(space.as_str())).await?;
        plane.map_or_else(|| Ok(Wanted::default()), |plane| Wanted::read(&plane.metadata.annotations))
    }

    /// Takes a simulated cluster out of the inventory, and waits a while until that is done.
    async fn detach(&self, cluster: &SpaceName, its: &SpaceName) {
        let its = local::client(&self.server, its, "kubeflex", Visibility::Durable);
        let name = ObjectName::cluster(cluster.as_str());
        let detached = async {
            its.delete(&MANAGED_CLUSTERS, &name, &DeleteParams::default()).await?;
            its.until(&MANAGED_CLUSTERS, &name, DETACH_TIME_MAX, "detach", |held: Option<&PartialObject>| {
                held.is_none().then_some(())
            })
            .await
        };
        match detached.await {
            Err(error) if !error.is_not_found() => tracing::warn!(%cluster, %error, "the cluster was not detached"),
            _ => {}
        }
    }

    /// Takes what a WDS has sent out of all mailboxes: nobody else would, once it is gone.
    async fn withdraw(&self, wds: &SpaceName, its: &SpaceName) -> Result<()> {
        let its = local::client(&self.server, its, "transport-controller", Visibility::Durable);
        let sent = ListParams::labels(format!("{WDS_LABEL}={}", label_value(wds.as_str())));
        let works = match its.list::<PartialObject>(&MANIFEST_WORKS, "", &sent).await {
            Ok(works) => works.items,
            Err(error) if error.is_not_found() => return Ok(()), // the ITS went before
            Err(error) => return Err(error).with_context(|| format!("list what WDS {wds} has sent")),
        };
        for work in works {
            match its.delete(&MANIFEST_WORKS, &work.metadata.object_name(), &DeleteParams::default()).await {
                Err(error) if !error.is_not_found() => {
                    return Err(error).with_context(|| format!("withdraw {}", work.metadata.object_name()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The agent of a simulated cluster. It reaches the hub as any agent does: over HTTPS, with credentials of its own.
    fn agent(&self, space: &SpaceName, behind: &SpaceName, its: &SpaceName) -> SimulatedAgent {
        let root = self.data.clone().unwrap_or_else(|| self.scratch.path().to_owned());
        SimulatedAgent {
            cluster: ClusterName::from(space.as_str()),
            credentials: root.join(data_folder::SIMULATED).join(space.as_str()).join("hub"),
            // What it tells the hub of the cluster goes into the same log, after what it is about.
            wec: local::client(&self.server, behind, "work-agent", Visibility::Appended),
            its: local::client(&self.server, its, "bootstrap", Visibility::Durable),
            hub: Endpoint {
                server: self.server.url(its),
                ca: Some(self.server.serving_authority().as_bytes().to_vec()),
                ..Endpoint::default()
            },
            clock: self.clock.clone(),
        }
    }
}

#[derive(Clone)]
struct SimulatedAgent {
    cluster: ClusterName,
    credentials: PathBuf,
    wec: client::Client,
    its: client::Client,
    hub: Endpoint,
    clock: SharedClock,
}

async fn run_agent(agent: SimulatedAgent, end: CancellationToken) {
    let running = async {
        loop {
            let credentials = agent::Credentials::in_folder(&agent.credentials);
            let expires = Timestamp::from_seconds(agent.clock.now().seconds() + BOOTSTRAP_VALIDITY_SECONDS);
            // A server that listens elsewhere now is still the hub that it was.
            let joined = credentials.follow(&agent.cluster, &agent.hub, agent.clock.now()).await;
            let bootstrap = match joined {
                Ok(true) => None,
                Ok(false) | Err(_) => {
                    match cli::clusters::bootstrap_token(&agent.its, agent.cluster.as_str(), expires).await {
                        Ok(token) => Some(Endpoint { credential: Credential::Token(token), ..agent.hub.clone() }),
                        Err(error) => {
                            tracing::warn!(cluster = %agent.cluster, %error, "make a bootstrap token");
                            tokio::time::sleep(RETRY_AFTER).await;
                            continue;
                        }
                    }
                }
            };
            let config = agent::Config {
                cluster: agent.cluster.clone(),
                agent_id: "simulated".into(),
                bootstrap,
                credentials,
                wec: agent.wec.clone(),
                clock: agent.clock.clone(),
            };
            // Boxed, because it is large.
            match Box::pin(agent::run(config, end.clone())).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(cluster = %agent.cluster, error = &error as &dyn std::error::Error, "the agent ended");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    };
    end.run_until_cancelled(running).await;
}

impl Spaces for Host {
    type Error = anyhow::Error;

    async fn ensure(&self, space: &SpaceName, place: Place, owner: &str) -> Result<Access> {
        let access = match place {
            Place::Own => {
                if !self.server.has_space(space) {
                    // Of one of this name before, whose end was cut off.
                    host_marks::forget(&self.server, space).await?;
                }
                self.server.create_space(space).map_err(|error| anyhow!("space {space}: {error}"))?;
                host_marks::set_owner(&self.server, space, owner).await?;
                self.addresses.settle(space, self.wanted(space).await?).await?;
                self.server.access(space)?
            }
            Place::Hosting => self.server.access(&self.server.hosting_space())?,
        };
        let kubeconfig = kubeconfig(space.as_str(), &access)?;
        Ok(Access {
            server: access.server_url,
            kubeconfig_in_cluster: kubeconfig.clone(),
            kubeconfig,
            renew_after: None,
        })
    }

    async fn owner(&self, space: &SpaceName) -> Result<Option<String>> {
        if *space == self.server.hosting_space() {
            return Ok(None);
        }
        Ok(host_marks::read(&self.server, space).await?.owner)
    }

    async fn held(&self) -> Result<Vec<SpaceName>> {
        let hosting = self.server.hosting_space();
        Ok(self.server.spaces().into_iter().filter(|space| *space != hosting).collect())
    }

    async fn remove(&self, space: &SpaceName) -> Result<()> {
        // Its mark tells what it does in an ITS even if nothing runs beside it: it may be deleted right after a start.
        let Marks { role, .. } = host_marks::read(&self.server, space).await?;
        match role {
            // While its agent still runs, so that nothing waits for it afterwards.
            Some((Role::Wec, its)) if self.server.has_space(&its) => {
                self.start_role(space, Place::Own, Role::Wec, Some(&its)).await?;
                self.detach(space, &its).await;
            }
            // After its controllers have ended, so that they do not repair what is withdrawn.
            Some((Role::Wds, its)) => {
                self.stop_role(space).await?;
                self.withdraw(space, &its).await?;
            }
            _ => {}
        }
        self.stop_role(space).await?;
        self.addresses.close(space).await;
        if self.server.has_space(space) && *space != self.server.hosting_space() {
            self.server.delete_space(space)?;
        }
        host_marks::forget(&self.server, space).await?;
        if let Some(data) = &self.data {
            let folder = data.join(data_folder::SIMULATED).join(space.as_str());
            match std::fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%space, folder = %folder.display(), %error, "the credentials of its agent stay");
                }
                _ => {}
            }
        }
        tracing::info!(%space, "removed with everything in it");
        Ok(())
    }

    async fn start_role(&self, space: &SpaceName, place: Place, role: Role, its: Option<&SpaceName>) -> Result<()> {
        let wanted = |beside: &mut Beside| beside.role == role && beside.its.as_ref() == its && beside.parts.all_kept();
        if self.beside.lock().get_mut(space).is_some_and(wanted) {
            return Ok(());
        }
        self.stop_role(space).await?;
        if place == Place::Own {
            host_marks::set_role(&self.server, space, role, its).await?;
        }
        if let Some(beside) = self.start(space, place, role, its) {
            self.beside.lock().insert(space.clone(), beside);
        }
        Ok(())
    }

    async fn stop_role(&self, space: &SpaceName) -> Result<()> {
        let Some(mut beside) = self.beside.lock().remove(space) else { return Ok(()) };
        tokio::time::timeout(STOP_TIME_MAX, beside.parts.stop())
            .await
            .map_err(|_| anyhow!("what runs beside space {space} does not end"))
    }
}

/// A kubeconfig with one context, named as KubeFlex does.
pub(crate) fn kubeconfig(space: &str, access: &SpaceAccess) -> Result<String> {
    let endpoint = Endpoint {
        server: access.server_url.clone(),
        ca: Some(access.authority.as_bytes().to_vec()),
        credential: Credential::Certificate {
            certificate: access.certificate.as_bytes().to_vec(),
            key: access.key.as_bytes().to_vec(),
        },
        ..Endpoint::default()
    };
    let names = [space, &cli::contexts::cluster_name(space), &cli::contexts::user_name(space)];
    standalone(&endpoint, names).to_yaml().map_err(|error| anyhow!("write a kubeconfig: {error}"))
}
