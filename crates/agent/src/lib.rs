//! The agent of one WEC. Its mailbox above and its cluster below are its whole world.
//!
//! One process plays the three parts of OCM's agents and KubeStellar's status add-on: it joins ([`join`]), says that it
//! is alive ([`heartbeat`]), makes the cluster what the mailbox asks ([`work`]) and reports what is seen ([`seen`]). It
//! speaks to both sides through the Kubernetes API only, with the names, finalizers and conditions of OCM.

mod credentials;
mod heartbeat;
mod join;
mod kinds;
mod live;
mod seen;
mod work;

pub use credentials::Credentials;

use api::ClusterName;
use client::{Client, Endpoint};
use clock::SharedClock;
use controller::Shutdown;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The namespace in the WEC that holds the agent's own Secret, as OCM's agents have it.
pub const AGENT_NAMESPACE: &str = "open-cluster-management-agent";

/// What an agent is told.
pub struct Config {
    /// The name of its cluster.
    pub cluster: ClusterName,
    /// Tells this agent from others of the same cluster; kept with the credentials once joined.
    pub agent_id: String,
    /// How to reach the hub before it has credentials of its own. Not needed once it has joined.
    pub bootstrap: Option<Endpoint>,
    /// Where its own credentials are kept.
    pub credentials: Credentials,
    /// Its cluster.
    pub wec: Client,
    /// Asks the time.
    pub clock: SharedClock,
}

/// Why an agent cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Error {
    #[error("agent of cluster {cluster}: not joined, and there is no bootstrap kubeconfig to join with")]
    NoBootstrap { cluster: ClusterName },
    #[error("{doing}")]
    Hub {
        doing: String,
        #[source]
        cause: Box<client::Error>,
    },
    #[error("{doing}")]
    Wec {
        doing: String,
        #[source]
        cause: Box<client::Error>,
    },
    #[error("credentials in {place}: {problem}")]
    Credentials { place: String, problem: String },
    #[error("a key or signing request could not be made")]
    Keys(#[from] pki::Error),
}

/// What all parts of an agent share.
pub(crate) struct Agent {
    pub(crate) cluster: ClusterName,
    pub(crate) agent_id: String,
    /// SHA-256 of the hub's URL, where it was first joined: the first part of the names of AppliedManifestWorks.
    pub(crate) hub_hash: String,
    pub(crate) hub: Client,
    pub(crate) wec: Client,
    pub(crate) clock: SharedClock,
}

/// Runs an agent until `shutdown`: joins if it has to, then works with its own credentials. When these are renewed, or
/// refused, it starts over with the new ones.
///
/// # Errors
/// If it is not joined and cannot join, or its cluster does not take what it needs there.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    join::prepare(&config.wec).await?;
    while !shutdown.is_cancelled() {
        let held = match join::held(&config).await? {
            Some(held) => held,
            None => {
                let Some(joined) = shutdown.run_until_cancelled(join::join(&config)).await else { return Ok(()) };
                joined?
            }
        };
        tracing::info!(cluster = %config.cluster, hub = %held.endpoint.server, "joined");
        let hub = Client::https(held.endpoint.clone())
            .map_err(|cause| Error::Hub { doing: "connect to the hub".into(), cause: Box::new(cause) })?
            .with_field_manager("work-agent");
        let agent = Arc::new(Agent {
            cluster: config.cluster.clone(),
            agent_id: held.agent_id.clone(),
            hub_hash: held.hub_hash.clone(),
            hub,
            wec: config.wec.clone(),
            clock: config.clock.clone(),
        });
        let term = shutdown.child_token();
        let parts = async {
            tokio::join!(
                work_as(agent.clone(), term.clone()),
                // Ends when there are new credentials, and with it this term.
                async {
                    join::renew(&config, &held, &agent.hub, &term).await;
                    term.cancel();
                }
            );
        };
        Box::pin(parts).await;
    }
    Ok(())
}

/// What an agent is that has joined.
pub struct Member {
    /// The name of its cluster.
    pub cluster: ClusterName,
    /// Tells this agent from others of the same cluster.
    pub agent_id: String,
    /// The address at which the hub was joined.
    pub server: String,
    /// The hub, with the agent's own credentials.
    pub hub: Client,
    /// Its cluster.
    pub wec: Client,
    /// Asks the time.
    pub clock: SharedClock,
}

/// Runs an agent that has joined, and whose credentials are somebody else's care, until `shutdown`.
///
/// # Errors
/// If its cluster does not take what it needs there.
pub async fn run_member(member: Member, shutdown: Shutdown) -> Result<(), Error> {
    let Member { cluster, agent_id, server, hub, wec, clock } = member;
    join::prepare(&wec).await?;
    let hub = hub.with_field_manager("work-agent");
    let agent = Arc::new(Agent { cluster, agent_id, hub_hash: hub_hash(&server), hub, wec, clock });
    Box::pin(work_as(agent, shutdown)).await;
    Ok(())
}

/// Says that the cluster is alive, and makes it what the mailbox asks.
async fn work_as(agent: Arc<Agent>, shutdown: Shutdown) {
    tokio::join!(heartbeat::run(agent.clone(), shutdown.clone()), work::run(agent, shutdown));
}

/// The name by which AppliedManifestWorks know a hub that is joined at an address.
fn hub_hash(server: &str) -> String {
    Sha256::digest(server.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hubs_are_hashed_as_ocm_does() {
        // Observed of a stock work agent.
        let hash = hub_hash("http://127.0.0.1:18001");
        assert!(hash.starts_with("ce73baa5") && hash.ends_with("352d81") && hash.len() == 64, "{hash}");
    }
}
