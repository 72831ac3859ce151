//! The shells that run beside the hosting space, a WDS and an ITS: they await everything and decide nothing.
//!
//! Every space is reached through `client` only; whether it is embedded or a stock Kubernetes is not seen from here.

mod binding;
mod discovery;
mod handover;
pub mod hosting;
mod inventory;
pub mod its;
mod its_tokens;
mod registration;
mod status;
mod transport;
pub mod wds;

pub use discovery::ApiGroups;

use client::{Backoff, Client};
use controller::Result;
use std::time::Duration;

/// The first wait before something is tried again that has to succeed before anything else can happen, and the longest.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_CAP: Duration = Duration::from_secs(10);

/// Applies CustomResourceDefinitions and waits until they are served.
pub(crate) async fn apply_crds(space: &Client, crds: &[&str]) -> Result<()> {
    space.apply_yaml(&crds.join("\n---\n")).await?;
    Ok(())
}

/// Tries until it succeeds.
pub(crate) async fn until_done<F: Future<Output = Result<()>>>(doing: &str, attempt: impl Fn() -> F) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CAP);
    while let Err(error) = attempt().await {
        let delay = backoff.next_delay();
        tracing::warn!("cannot {doing} yet, next try in {delay:?}: {error}");
        tokio::time::sleep(delay).await;
    }
}
