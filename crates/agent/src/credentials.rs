//! The agent's own credentials, in the layout of OCM's agents: one can take over from the other.

use crate::Error;
use api::{ClusterName, Timestamp};
use client::kubeconfig::{self, Kubeconfig, Section};
use client::{Credential, Endpoint};
use pki::Peer;
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

/// All of them, the one that makes them whole last.
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
    pub(crate) agent_id: String,
    /// From when to when the certificate is valid.
    pub(crate) validity: (Timestamp, Timestamp),
}

impl Credentials {
    /// In a folder, which is made when something is written.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Whether there are credentials of this cluster for the hub at an address, and still valid.
    pub fn are_held_for(&self, cluster: &ClusterName, hub: &str, now: Timestamp) -> bool {
        self.load(cluster, now).is_some_and(|held| held.endpoint.server == hub)
    }

    /// What is there, if it is whole, for this cluster, and still valid.
    pub(crate) fn load(&self, cluster: &ClusterName, now: Timestamp) -> Option<Held> {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).ok();
        let agent_id = read(AGENT_NAME)?;
        let certificate = read(CERTIFICATE)?;
        let peer = Peer::from_pem(&certificate).ok()?;
        let user = api::cluster::agent_user(cluster.as_str(), agent_id.trim());
        if !peer.is_valid_at(now) || peer.subject.common_name != user {
            return None;
        }
        let set = kubeconfig::read(&[self.folder.join(KUBECONFIG)]).ok()?;
        let mut endpoint = set.endpoint(None).ok()?;
        endpoint.credential =
            Credential::Certificate { certificate: certificate.into_bytes(), key: read(KEY)?.into_bytes() };
        Some(Held { endpoint, agent_id: agent_id.trim().to_owned(), validity: (peer.not_before, peer.not_after) })
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

/// The address of the hub that some files are for.
pub(crate) fn server(files: &[(&str, &str)]) -> Option<String> {
    let (_, text) = files.iter().find(|(name, _)| *name == KUBECONFIG)?;
    let cluster = Kubeconfig::parse(text).ok()?;
    let name = *cluster.names(Section::Clusters).first()?;
    Some(cluster.get(Section::Clusters, name)?.get("server")?.as_str()?.to_owned())
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
        assert!(credentials.load(&ClusterName::from("c2"), now).is_none(), "another cluster's");
        let later = Timestamp::from_seconds(now.seconds() + 7200);
        assert!(credentials.load(&cluster, later).is_none(), "ended");
    }
}
