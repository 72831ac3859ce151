//! The agent's own credentials, in the layout of OCM's agents: one can take over from the other.

use crate::{Error, hub_hash};
use api::cluster::MANAGED_CLUSTERS;
use api::{ClusterName, ObjectName, Timestamp};
use client::kubeconfig::{self, Kubeconfig};
use client::{Client, Credential, Endpoint};
use pki::Peer;
use serde::de::IgnoredAny;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

/// Files of the folder, and keys of the Secret in the WEC.
pub(crate) const KUBECONFIG: &str = "kubeconfig";
pub(crate) const KEY: &str = "tls.key";
pub(crate) const CERTIFICATE: &str = "tls.crt";
pub(crate) const CLUSTER_NAME: &str = "cluster-name";
pub(crate) const AGENT_NAME: &str = "agent-name";

/// The name by which AppliedManifestWorks know the hub, once it is no longer the hash of the hub's address: an agent keeps
/// it when the hub moves, or what it applied before would look like that of another hub. Stock agents have no such file.
pub(crate) const HUB_HASH: &str = "hub-hash";

/// All that agents of any make have, the one that makes them whole last.
pub(crate) const FILES: [&str; 5] = [KUBECONFIG, CLUSTER_NAME, AGENT_NAME, KEY, CERTIFICATE];

/// A folder with the agent's credentials.
#[derive(Clone, Debug)]
pub struct Credentials {
    folder: PathBuf,
}

/// Credentials that were read.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) endpoint: Endpoint,
    /// The name by which AppliedManifestWorks know the hub.
    pub(crate) hub_hash: String,
    pub(crate) agent_id: String,
    /// From when to when the certificate is valid.
    pub(crate) validity: (Timestamp, Timestamp),
}

impl Credentials {
    /// In a folder, which is made when something is written.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// What is there, if it is whole, for this cluster, and still valid.
    pub(crate) fn load(&self, cluster: &ClusterName, now: Timestamp) -> Option<Held> {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).ok();
        let agent_id = read(AGENT_NAME)?;
        let certificate = read(CERTIFICATE)?;
        let peer = identity(cluster, &agent_id, &certificate, now)?;
        let set = kubeconfig::read(&[self.folder.join(KUBECONFIG)]).ok()?;
        let mut endpoint = set.endpoint(None).ok()?;
        endpoint.credential =
            Credential::Certificate { certificate: certificate.into_bytes(), key: read(KEY)?.into_bytes() };
        let kept = read(HUB_HASH).map(|kept| kept.trim().to_owned()).filter(|kept| !kept.is_empty());
        let hub_hash = kept.unwrap_or_else(|| hub_hash(&endpoint.server));
        let agent_id = agent_id.trim().to_owned();
        Some(Held { endpoint, hub_hash, agent_id, validity: (peer.not_before, peer.not_after) })
    }

    /// Has credentials of this cluster lead to the hub at another address, if that is the same hub: one that moved
    /// recognises them. Tells whether they lead there now; false if there are none that are valid, or the hub at that
    /// address does not know them, or the cluster is not a member at the moment.
    ///
    /// The cluster stays what it was, without another token or an administrator, and what was applied stays in place.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub async fn follow(&self, cluster: &ClusterName, hub: &Endpoint, now: Timestamp) -> Result<bool, Error> {
        let Some(held) = self.load(cluster, now) else { return Ok(false) };
        if held.endpoint.server == hub.server {
            return Ok(true);
        }
        let moved = Endpoint { credential: held.endpoint.credential.clone(), ..hub.clone() };
        let Ok(client) = Client::https(moved) else { return Ok(false) };
        let name = ObjectName::cluster(cluster.as_str());
        if client.get::<IgnoredAny>(&MANAGED_CLUSTERS, &name).await.is_err() {
            return Ok(false);
        }
        let unreadable = |problem| Error::Credentials { place: "memory".into(), problem };
        let kubeconfig = agent_kubeconfig(hub).to_yaml().map_err(unreadable)?;
        // The name first: with the new address and without it the cluster would have all applied anew.
        self.store(&[(HUB_HASH, &held.hub_hash), (KUBECONFIG, &kubeconfig)])?;
        tracing::info!(%cluster, from = %held.endpoint.server, to = %hub.server, "the hub has moved");
        Ok(true)
    }

    /// Makes them useless: the certificate goes.
    pub(crate) fn discard(&self) -> Result<(), Error> {
        match fs::remove_file(self.folder.join(CERTIFICATE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::Credentials { place: self.folder.display().to_string(), problem: error.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Writes all files, the certificate last: it is what makes them whole.
    pub(crate) fn store(&self, files: &[(&str, &str)]) -> Result<(), Error> {
        let problem = |error: std::io::Error| Error::Credentials {
            place: self.folder.display().to_string(),
            problem: error.to_string(),
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(problem)?;
        for (name, content) in files {
            let part = self.folder.join(format!(".{name}.part"));
            let mut file =
                OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part).map_err(problem)?;
            file.write_all(content.as_bytes()).and_then(|()| file.sync_all()).map_err(problem)?;
            fs::rename(&part, self.folder.join(name)).map_err(problem)?;
        }
        Ok(())
    }
}

/// Who a certificate speaks for, if that is this agent of this cluster, now.
pub(crate) fn identity(cluster: &ClusterName, agent_id: &str, certificate: &str, now: Timestamp) -> Option<Peer> {
    let user = api::cluster::agent_user(cluster.as_str(), agent_id.trim());
    Peer::from_pem(certificate).ok().filter(|peer| peer.is_valid_at(now) && peer.subject.common_name == user)
}

/// The kubeconfig of an agent: the hub as the bootstrap kubeconfig had it, with its own key and certificate beside it.
pub(crate) fn agent_kubeconfig(hub: &Endpoint) -> Kubeconfig {
    let endpoint = Endpoint {
        credential: Credential::CertificateFiles { certificate: CERTIFICATE.into(), key: KEY.into() },
        ..hub.clone()
    };
    kubeconfig::standalone(&endpoint, ["default-context", "hub", "default-auth"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use pki::{Authority, Subject, Usage};
    use std::time::Duration;

    #[test]
    fn credentials_are_read_back_while_they_are_good() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = Credentials::in_folder(folder.path().join("c1"));
        let now = Timestamp::from_seconds(1_795_382_640);
        let cluster = ClusterName::from("c1");
        assert!(credentials.load(&cluster, now).is_none());
        let authority = Authority::generate("space:its", now, Duration::from_secs(9000)).unwrap();
        let subject = Subject { common_name: api::cluster::agent_user("c1", "a1"), organizations: vec![] };
        let (certificate, key) =
            authority.issue_with_key(&subject, &[], Usage::Client, now, Duration::from_secs(3600)).unwrap();
        let hub = Endpoint { server: "https://127.0.0.1:9443/spaces/its1".into(), ..Endpoint::default() };
        let config = agent_kubeconfig(&hub).to_yaml().unwrap();
        let files = [(KUBECONFIG, config.as_str()), (KEY, &key), (AGENT_NAME, "a1"), (CERTIFICATE, &certificate)];
        credentials.store(&files).unwrap();
        let held = credentials.load(&cluster, now).unwrap();
        assert_eq!((held.endpoint.server.as_str(), held.agent_id.as_str()), (hub.server.as_str(), "a1"));
        assert_eq!(held.hub_hash, hub_hash(&hub.server));
        credentials.store(&[(HUB_HASH, "kept")]).unwrap();
        assert_eq!(credentials.load(&cluster, now).unwrap().hub_hash, "kept");
        assert!(credentials.load(&ClusterName::from("c2"), now).is_none(), "another cluster's");
        let later = Timestamp::from_seconds(now.seconds() + 7200);
        assert!(credentials.load(&cluster, later).is_none(), "ended");
    }
}
