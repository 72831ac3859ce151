//! The server's own authority and certificate: made once, kept in the data folder, renewed before they end.

use anyhow::{Context, Result};
use clock::SharedClock;
use pki::{Authority, Peer, Subject, Usage};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// Clients keep the authority in their kubeconfigs: it should outlive them.
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(10 * 365 * 86_400);
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// What the listener shows, and what clients check it against.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Serving {
    pub(crate) authority: Authority,
    pub(crate) certificate: String,
    pub(crate) key: String,
    names: Vec<String>,
}

impl Serving {
    /// Reads it from the data folder; makes what is missing, ends soon, or is for other names. Without a folder all is
    /// made anew and kept nowhere.
    pub(crate) fn load(data: Option<&Path>, names: &[String], clock: &SharedClock) -> Result<Self> {
        let path = data.map(|data| data.join("serving.json"));
        let held = match &path {
            Some(path) if path.exists() => {
                let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
                let held: Self = serde_json::from_slice(&text).with_context(|| {
                    format!("{} is damaged: restore it, or remove it and create contexts anew", path.display())
                })?;
                Some(held)
            }
            _ => None,
        };
        let now = clock.now();
        let soon = api::Timestamp::from_seconds(now.seconds() + i64::try_from(RENEW_BEFORE.as_secs())?);
        if let Some(held) = &held
            && held.names == names
            && Peer::from_pem(&held.certificate).is_ok_and(|peer| peer.is_valid_at(soon))
        {
            return Ok(held.clone());
        }
        let authority = match held {
            Some(held) => held.authority,
            None => Authority::generate("kubestellar-serving", now, AUTHORITY_VALIDITY)?,
        };
        let subject = Subject { common_name: "kubestellar".into(), organizations: Vec::new() };
        let (certificate, key) = authority.issue_with_key(&subject, names, Usage::Server, now, YEAR)?;
        let made = Self { authority, certificate, key, names: names.to_vec() };
        if let Some(path) = path {
            write_private(&path, &serde_json::to_vec(&made)?)?;
        }
        Ok(made)
    }
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&part)
        .with_context(|| format!("create {}", part.display()))?;
    file.write_all(content).with_context(|| format!("write {}", part.display()))?;
    file.sync_all().with_context(|| format!("sync {}", part.display()))?;
    fs::rename(&part, path).with_context(|| format!("rename {} to {}", part.display(), path.display()))
}
