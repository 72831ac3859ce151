//! Addresses of a space's own, besides its path on the common listener: a port, or a host name that clients name in
//! the handshake (SNI). At such an address the space is at the root.

use crate::Server;
use crate::listen::Error;
use api::SpaceName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// What spaces are reached by, of a server.
#[derive(Default)]
pub(crate) struct Addresses {
    /// By space: what its clients are told.
    urls: BTreeMap<SpaceName, String>,
    /// By host name, in lower case: the space, and the certificate for that name.
    hosts: HashMap<String, (SpaceName, Arc<CertifiedKey>)>,
}

/// A certificate (PEM chain) and its key (PEM).
pub(crate) fn certified(certificate: &str, key: &str) -> Result<Arc<CertifiedKey>, Error> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(Error::Pem)?;
    let provider = rustls::crypto::ring::default_provider();
    let key = CertifiedKey::from_der(chain.map_err(Error::Pem)?, key, &provider).map_err(Error::Certificate)?;
    Ok(Arc::new(key))
}

impl Server {
    /// Tells clients of a space another address than its path on the common listener; `None` takes it back. Tokens stay
    /// good: their issuer is where the space was first.
    pub fn set_url(&self, space: &SpaceName, url: Option<String>) {
        let mut addresses = self.0.addresses.write();
        match url {
            Some(url) => drop(addresses.urls.insert(space.clone(), url)),
            None => drop(addresses.urls.remove(space)),
        }
    }

    /// Serves a space to those who name `host` in the handshake, with this certificate and key (PEM).
    ///
    /// # Errors
    /// If certificate or key cannot be used.
    pub fn set_host(&self, host: &str, space: &SpaceName, (certificate, key): (&str, &str)) -> Result<(), Error> {
        let certified = certified(certificate, key)?;
        self.0.addresses.write().hosts.insert(host.to_ascii_lowercase(), (space.clone(), certified));
        Ok(())
    }

    /// Serves a space at no host name any more.
    pub fn clear_hosts(&self, space: &SpaceName) {
        self.0.addresses.write().hosts.retain(|_, (held, _)| held != space);
    }

    /// The space of a host name.
    pub fn space_of_host(&self, host: &str) -> Option<SpaceName> {
        self.0.addresses.read().hosts.get(&host.to_ascii_lowercase()).map(|(space, _)| space.clone())
    }

    /// What clients of a space are told instead of its path.
    pub(crate) fn own_url(&self, space: &SpaceName) -> Option<String> {
        self.0.addresses.read().urls.get(space).cloned()
    }
}

/// Chooses the certificate by the host that a client names.
pub(crate) struct ByHost {
    pub(crate) server: Server,
    /// For all other names.
    pub(crate) common: Arc<CertifiedKey>,
}

impl fmt::Debug for ByHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByHost")
    }
}

impl ResolvesServerCert for ByHost {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let addresses = self.server.0.addresses.read();
        let own = hello.server_name().and_then(|host| addresses.hosts.get(&host.to_ascii_lowercase()));
        Some(own.map_or_else(|| self.common.clone(), |(_, certified)| certified.clone()))
    }
}
