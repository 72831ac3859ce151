//! Joining a hub by OCM's protocol: a ManagedCluster, a signing request, and an administrator who accepts both.

use crate::credentials::{self, Held};
use crate::{AGENT_NAMESPACE, Config, Error};
use api::cluster::{CLUSTER_NAME_LABEL, HUB_ACCEPTED, MANAGED_CLUSTERS, SIGNING_REQUESTS};
use api::{Object, ObjectName, Resource};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{Backoff, Client, Endpoint, ListParams};
use controller::Shutdown;
use pki::{PrivateKey, Subject, new_request};
use planner::registration::{self, Progress};
use serde::de::IgnoredAny;
use serde_json::Value;
use std::time::Duration;

const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");
const SECRETS: Resource = Resource::namespaced("", "v1", "secrets", "Secret");
/// The Secret in the WEC with the agent's credentials.
const SECRET: &str = "hub-kubeconfig-secret";
/// An administrator may take as long as they like; the wait is renewed after this.
const APPROVAL_WAIT: Duration = Duration::from_secs(24 * 3600);
/// When a join or a renewal failed, how long until the next try.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The first time it is tried again sooner: a hub that has just been made gives its rights in a moment.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// The longest sleep until the next look at the certificate, so that a clock that was set forward is noticed.
const RENEW_CHECK: Duration = Duration::from_secs(300);

fn hub_error(doing: &str) -> impl Fn(client::Error) -> Error {
    let doing = doing.to_owned();
    move |cause| Error::Hub { doing: doing.clone(), cause: Box::new(cause) }
}

fn wec_error(doing: &str) -> impl Fn(client::Error) -> Error {
    let doing = doing.to_owned();
    move |cause| Error::Wec { doing: doing.clone(), cause: Box::new(cause) }
}

/// Puts into the WEC what the agent needs there: the kinds of OCM's agents, and its own namespace.
pub(crate) async fn prepare(wec: &Client) -> Result<(), Error> {
    for crd in api::crds::WEC {
        let applied = wec.apply_yaml(crd).await.map_err(wec_error("apply the agent's CRDs to the cluster"))?;
        for object in applied {
            wec.wait_established(object.name()).await.map_err(wec_error("wait for the agent's CRDs"))?;
        }
    }
    let namespace = ObjectName::cluster(AGENT_NAMESPACE);
    let doing = "create the agent's namespace in the cluster";
    if wec.find::<Object>(&NAMESPACES, &namespace).await.map_err(wec_error(doing))?.is_none() {
        let created = wec.create::<Object>(&NAMESPACES, "", &Object::new("v1", "Namespace", &namespace)).await;
        match created {
            Err(error) if !error.is_already_exists() => return Err(wec_error(doing)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// The credentials that there are and that the hub recognises: in the folder, or in the Secret of the WEC, where an agent
/// of another make may have left them.
pub(crate) async fn held(config: &Config) -> Result<Option<Held>, Error> {
    let mut held = config.credentials.load(&config.cluster, config.clock.now());
    if held.is_none() && restore(config).await? {
        held = config.credentials.load(&config.cluster, config.clock.now());
    }
    let Some(mut held) = held else { return Ok(None) };
    if let Some(hub) = config.bootstrap.as_ref().filter(|hub| hub.server != held.endpoint.server) {
        // Of a hub that has moved, or of one that the cluster was a member of before.
        if !config.credentials.follow(&config.cluster, hub, config.clock.now()).await? {
            return Ok(None);
        }
        let Some(moved) = config.credentials.load(&config.cluster, config.clock.now()) else { return Ok(None) };
        held = moved;
    }
    let hub = Client::https(held.endpoint.clone()).map_err(hub_error("use the stored credentials"))?;
    let name = ObjectName::cluster(config.cluster.as_str());
    match hub.find::<IgnoredAny>(&MANAGED_CLUSTERS, &name).await {
        Err(error) if error.is_unauthorized() => {
            tracing::warn!(cluster = %config.cluster, "the hub does not know the stored credentials; joining anew");
            config.credentials.discard()?;
            Ok(None)
        }
        // Not accepted, or not there at the moment: both may change.
        _ => Ok(Some(held)),
    }
}

/// Writes what the Secret of the WEC holds into the folder, if that is all there should be, and this cluster's: the key
/// of another one is not copied.
async fn restore(config: &Config) -> Result<bool, Error> {
    let name = ObjectName::namespaced(AGENT_NAMESPACE, SECRET);
    let doing = "look for credentials in a Secret of the cluster";
    let Some(secret) = config.wec.find::<Object>(&SECRETS, &name).await.map_err(wec_error(doing))? else {
        return Ok(false);
    };
    let text = |key: &str| {
        let value = secret.0.get("data")?.get(key)?.as_str()?;
        String::from_utf8(STANDARD.decode(value).ok()?).ok()
    };
    let values: Option<Vec<(&str, String)>> =
        credentials::FILES.into_iter().map(|key| Some((key, text(key)?))).collect();
    let Some(values) = values else { return Ok(false) };
    let of = |key: &str| text(key).unwrap_or_default();
    let (agent_id, certificate) = (of(credentials::AGENT_NAME), of(credentials::CERTIFICATE));
    if credentials::identity(&config.cluster, &agent_id, &certificate, config.clock.now()).is_none() {
        let member = of(credentials::CLUSTER_NAME);
        if !member.is_empty() && member != config.cluster.as_str() {
            return Err(Error::Credentials {
                place: format!("Secret {name} of the cluster"),
                problem: format!(
                    "it says that the cluster is a member as {member}: join it by that name, or delete the Secret if it is none any more"
                ),
            });
        }
        return Ok(false);
    }
    // An agent of another make leaves none, and then it is that of the address.
    let hash = (credentials::HUB_HASH, text(credentials::HUB_HASH).unwrap_or_default());
    let files: Vec<(&str, &str)> = [&hash].into_iter().chain(&values).map(|(key, value)| (*key, &**value)).collect();
    config.credentials.store(&files)?;
    Ok(true)
}

/// Joins: tries until it is let in, since an administrator may refuse or forget, and a hub may not be there yet.
pub(crate) async fn join(config: &Config) -> Result<Held, Error> {
    let Some(bootstrap) = &config.bootstrap else {
        return Err(Error::NoBootstrap { cluster: config.cluster.clone() });
    };
    let hub = Client::https(bootstrap.clone()).map_err(hub_error("use the bootstrap kubeconfig"))?;
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_AFTER);
    loop {
        match try_join(config, bootstrap, &hub).await {
            Ok(held) => return Ok(held),
            Err(error @ (Error::Credentials { .. } | Error::Keys(_) | Error::Wec { .. })) => return Err(error),
            Err(error) => {
                tracing::warn!(cluster = %config.cluster, error = &error as &dyn std::error::Error, "join: will try again");
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}

async fn try_join(config: &Config, bootstrap: &Endpoint, hub: &Client) -> Result<Held, Error> {
    let name = ObjectName::cluster(config.cluster.as_str());
    let registered: Option<Object> =
        hub.find(&MANAGED_CLUSTERS, &name).await.map_err(hub_error("look for the ManagedCluster"))?;
    if registered.is_none() {
        let cluster = registration::managed_cluster(config.cluster.as_str());
        match hub.create::<Object>(&MANAGED_CLUSTERS, "", &cluster).await {
            Err(error) if !error.is_already_exists() => return Err(hub_error("create the ManagedCluster")(error)),
            _ => tracing::info!(cluster = %config.cluster, "registered; an administrator has to accept the cluster"),
        }
    }
    let (certificate, key) = certificate(config, hub, &config.agent_id).await?;
    let hub_hash = crate::hub_hash(&bootstrap.server);
    let held = keep(config, (bootstrap, &hub_hash), &config.agent_id, &certificate, &key).await?;
    // The two agreements may come in any order: before the cluster is accepted, its credentials open nothing.
    let waiting = "waiting for the cluster to be accepted";
    let accepted = hub.until_condition(&MANAGED_CLUSTERS, &name, HUB_ACCEPTED, APPROVAL_WAIT).await;
    accepted.map_err(hub_error(waiting))?;
    Ok(held)
}

/// Asks for a certificate and waits until it is issued.
async fn certificate(config: &Config, hub: &Client, agent_id: &str) -> Result<(String, String), Error> {
    let cluster = config.cluster.as_str();
    let ours = ListParams::labels(format!("{CLUSTER_NAME_LABEL}={cluster}"));
    let there =
        hub.list::<IgnoredAny>(&SIGNING_REQUESTS, "", &ours).await.map_err(hub_error("list signing requests"))?;
    if there.items.len() >= registration::REQUESTS_MAX {
        let why = format!("{} of this cluster are there already", there.items.len());
        return Err(hub_error("make another signing request")(client::Error::Timeout(why)));
    }
    let key = PrivateKey::generate()?;
    let (common_name, organizations) = registration::agent_identity(cluster, agent_id);
    let pem = new_request(&key, &Subject { common_name, organizations }, &[])?;
    let request = registration::signing_request(cluster, &STANDARD.encode(pem));
    let doing = "create the certificate signing request";
    let created: Object = hub.create(&SIGNING_REQUESTS, "", &request).await.map_err(hub_error(doing))?;
    let answer = |request: Option<&Object>| -> Option<Result<String, String>> {
        let Some(request) = request else { return Some(Err("it was deleted".into())) };
        match registration::progress(request) {
            Progress::Waiting => None,
            Progress::Refused(why) => Some(Err(why)),
            Progress::Issued(text) => {
                let pem = STANDARD.decode(text).ok().and_then(|pem| String::from_utf8(pem).ok());
                Some(pem.ok_or_else(|| "status.certificate is not base64 of PEM".to_owned()))
            }
        }
    };
    let waiting = format!("waiting for approval of the signing request {}", created.name());
    let issued = hub.until(&SIGNING_REQUESTS, &created.object_name(), APPROVAL_WAIT, &waiting, answer).await;
    match issued.map_err(hub_error("wait for the certificate"))? {
        Ok(pem) => Ok((pem, key.to_pem())),
        Err(why) => {
            let cause = client::Error::Timeout(format!("signing request {}: {why}", created.name()));
            Err(hub_error("get a certificate")(cause))
        }
    }
}

/// Keeps credentials in the folder and, as OCM's agents do, in a Secret of the WEC.
async fn keep(
    config: &Config,
    (hub, hub_hash): (&Endpoint, &str),
    agent_id: &str,
    certificate: &str,
    key: &str,
) -> Result<Held, Error> {
    let unreadable = |problem: String| Error::Credentials { place: "memory".into(), problem };
    let kubeconfig = credentials::agent_kubeconfig(hub).to_yaml().map_err(unreadable)?;
    let files = [
        (credentials::HUB_HASH, hub_hash),
        (credentials::KUBECONFIG, kubeconfig.as_str()),
        (credentials::CLUSTER_NAME, config.cluster.as_str()),
        (credentials::AGENT_NAME, agent_id),
        (credentials::KEY, key),
        (credentials::CERTIFICATE, certificate),
    ];
    config.credentials.store(&files)?;
    let name = ObjectName::namespaced(AGENT_NAMESPACE, SECRET);
    let data: serde_json::Map<String, Value> =
        files.iter().map(|(name, content)| ((*name).to_owned(), STANDARD.encode(content).into())).collect();
    let mut secret = Object::new("v1", "Secret", &name);
    secret.0.insert("data".into(), data.clone().into());
    let doing = "keep the credentials in a Secret of the cluster";
    match config.wec.create::<Object>(&SECRETS, AGENT_NAMESPACE, &secret).await {
        Err(error) if error.is_already_exists() => {
            let change = |held: &mut Object| {
                held.0.insert("data".into(), data.clone().into());
            };
            config.wec.edit(&SECRETS, &name, change).await.map_err(wec_error(doing))?;
        }
        Err(error) => return Err(wec_error(doing)(error)),
        Ok(_) => {}
    }
    config.credentials.load(&config.cluster, config.clock.now()).ok_or_else(|| Error::Credentials {
        place: "the folder just written".into(),
        problem: "the certificate is not for this agent, or is not valid now: are the clocks right?".into(),
    })
}

/// Waits until the certificate has about a fifth of its life left, and gets a new one. Returns when there is one, when
/// the current one has ended, or at `term`'s end.
pub(crate) async fn renew(config: &Config, held: &Held, hub: &Client, term: &Shutdown) {
    let (from, to) = held.validity;
    // Somewhere in the last 20 to 25 per cent of its life, so that many agents do not come at once.
    let spread = held.agent_id.bytes().chain(config.cluster.as_str().bytes()).fold(0u8, u8::wrapping_add);
    let due = registration::renew_at(from, to, f64::from(spread) / 256.0).micros();
    let work = async {
        loop {
            let now = config.clock.now().micros();
            if now >= to.micros() {
                tracing::warn!(cluster = %config.cluster, "the certificate has ended; joining anew");
                return;
            }
            if now < due {
                let left = Duration::from_micros(u64::try_from(due - now).unwrap_or(0));
                tokio::time::sleep(left.min(RENEW_CHECK)).await;
                continue;
            }
            let renewed = async {
                let (certificate, key) = certificate(config, hub, &held.agent_id).await?;
                keep(config, (&held.endpoint, &held.hub_hash), &held.agent_id, &certificate, &key).await
            };
            match renewed.await {
                Ok(_) => {
                    tracing::info!(cluster = %config.cluster, "renewed the certificate");
                    return;
                }
                Err(error) => {
                    tracing::warn!(cluster = %config.cluster, error = &error as &dyn std::error::Error, "renew");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    };
    term.run_until_cancelled(work).await;
}
