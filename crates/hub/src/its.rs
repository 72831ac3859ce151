//! Beside one ITS: makes it a hub of Open Cluster Management, for agents of any make.
//!
//! [`inventory`](crate::inventory) keeps what belongs to each cluster - mailbox, rights, lease, conditions, taints - and
//! [`registration`](crate::registration) answers signing requests, and [`its_tokens`](crate::its_tokens) removes bootstrap
//! tokens that are over. Certificates are signed by the API server itself.

use crate::inventory::Inventory;
use crate::its_tokens::Tokens;
use crate::registration::Registration;
pub use crate::registration::read as read_signing_request;
use crate::{apply_crds, until_done};
use api::Object;
use client::Client;
use clock::SharedClock;
use controller::{Result, Shutdown, execute};
use planner::inventory;
use std::collections::HashMap;
use std::sync::Arc;

/// Each waits for the writes of one cluster: many clusters may join at once.
const INVENTORY_WORKERS: usize = 8;
/// Requests are few, and each is one write.
const REGISTRATION_WORKERS: usize = 2;
/// A token is one write, and nobody waits for it.
const TOKEN_WORKERS: usize = 1;

/// What is beside one ITS, and what it is told.
pub struct ItsConfig {
    /// The ITS.
    pub its: Client,
    /// Tells when leases end.
    pub clock: SharedClock,
    /// User names whose clusters are let in without an administrator. Usually empty.
    pub trusted: Vec<String>,
}

/// Serves an ITS until told to stop. While it cannot be reached, waits.
pub async fn run(config: ItsConfig, shutdown: Shutdown) {
    let ItsConfig { its, clock, trusted } = config;
    let its = its.with_field_manager("registration-controller");
    let prepared = until_done("set up the ITS", || set_up(&its));
    if shutdown.run_until_cancelled(prepared).await.is_none() {
        return;
    }
    let inventory = Arc::new(Inventory::start(its.clone(), clock.clone()));
    let registration = Arc::new(Registration::start(its.clone(), clock.clone(), inventory.clusters.clone(), trusted));
    let tokens = Arc::new(Tokens::start(its, clock, registration.requests.clone(), inventory.leases.clone()));
    let queues = (inventory.queue.clone(), registration.queue.clone(), tokens.queue.clone());
    let serving = async {
        inventory.synced().await;
        tracing::info!("ITS: all is known, {} clusters", inventory.clusters.len());
        tokio::join!(
            inventory.follow(),
            registration.follow(),
            tokens.follow(),
            controller::run(inventory.clone(), queues.0, INVENTORY_WORKERS, shutdown.clone()),
            controller::run(registration.clone(), queues.1, REGISTRATION_WORKERS, shutdown.clone()),
            controller::run(tokens.clone(), queues.2, TOKEN_WORKERS, shutdown.clone()),
        );
    };
    shutdown.run_until_cancelled(serving).await;
}

/// Brings the kinds, the common rights and the cluster sets that every hub has. What is as it should be is not written.
async fn set_up(its: &Client) -> Result<()> {
    apply_crds(its, api::crds::ITS).await?;
    let mut held: HashMap<_, Object> = HashMap::new();
    for op in inventory::plan_common(&|_, _| None) {
        if let Some(object) = its.find(&op.resource, &op.name).await? {
            held.insert((op.resource.group_resource(), op.name), object);
        }
    }
    let lookup = |resource: &api::Resource, name: &api::ObjectName| {
        held.get(&(resource.group_resource(), name.clone())).cloned()
    };
    for op in inventory::plan_common(&lookup) {
        execute(its, &op).await?;
    }
    Ok(())
}
