//! Ports and host names of a space's own, as its ControlPlane asks for them (`kflex create NAME --port N --host-name H`).
//! They are kept there, so that they are the same after a restart.

use crate::serving::Serving;
use anyhow::{Context, Result, bail};
use api::SpaceName;
use api::space::{HOST_ANNOTATION, PORT_ANNOTATION};
use apiserver::Server;
use clock::SharedClock;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long the certificate for a host name is valid; it is made anew with each start.
const VALIDITY: Duration = Duration::from_secs(365 * 86_400);

/// What a ControlPlane asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) port: Option<u16>,
    pub(crate) host: Option<String>,
}

impl Wanted {
    /// Reads the annotations of a ControlPlane.
    ///
    /// # Errors
    /// If they are no port or no host name.
    pub(crate) fn read(annotations: &api::Labels) -> Result<Self> {
        let given = |name: &str| annotations.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
        let port = match given(PORT_ANNOTATION) {
            None => None,
            Some(text) => match text.parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => bail!("annotation {PORT_ANNOTATION}: {text:?} is not a port from 1 to 65535"),
            },
        };
        let host = given(HOST_ANNOTATION).map(str::to_ascii_lowercase);
        if let Some(host) = &host {
            let problems = machinery::name::dns_subdomain(host);
            if !problems.is_empty() {
                bail!("annotation {HOST_ANNOTATION}: {host:?} is not a host name: {}", problems.join("; "));
            }
        }
        Ok(Self { port, host })
    }
}

struct Open {
    wanted: Wanted,
    end: CancellationToken,
    listening: Option<JoinHandle<()>>,
}

/// The addresses that are open.
pub(crate) struct Addresses {
    server: Server,
    serving: Serving,
    /// Where the common listener is, and by which host it is advertised.
    common: SocketAddr,
    advertised: String,
    clock: SharedClock,
    shutdown: CancellationToken,
    open: Mutex<HashMap<SpaceName, Open>>,
}

impl Addresses {
    pub(crate) fn new(
        server: Server,
        serving: Serving,
        (common, advertised): (SocketAddr, String),
        clock: SharedClock,
        shutdown: CancellationToken,
    ) -> Self {
        Self { server, serving, common, advertised, clock, shutdown, open: Mutex::default() }
    }

    /// Has a space served where it is wanted, and nowhere else but at its path.
    ///
    /// # Errors
    /// If the port is taken, the host is another space's, or no certificate can be made.
    pub(crate) async fn settle(&self, space: &SpaceName, wanted: Wanted) -> Result<()> {
        if self.open.lock().get(space).map_or(wanted == Wanted::default(), |open| open.wanted == wanted) {
            return Ok(());
        }
        self.close(space).await;
        if wanted == Wanted::default() {
            return Ok(());
        }
        let end = self.shutdown.child_token();
        let mut listening = None;
        if let Some(port) = wanted.port {
            let address = SocketAddr::new(self.common.ip(), port);
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("listen on {address} for space {space} (is the port taken?)"))?;
            listening = Some(self.listen(space, listener, &end));
        }
        if let Some(host) = &wanted.host {
            if let Some(other) = self.server.space_of_host(host).filter(|other| other != space) {
                bail!("host name {host} is that of space {other}");
            }
            let subject = pki::Subject { common_name: host.clone(), organizations: Vec::new() };
            let names = [host.clone()];
            let (certificate, key) = self
                .serving
                .authority
                .issue_with_key(&subject, &names, pki::Usage::Server, self.clock.now(), VALIDITY)
                .with_context(|| format!("make a certificate for {host}"))?;
            self.server.set_host(host, space, (&certificate, &key))?;
        }
        let host = wanted.host.as_deref().unwrap_or(&self.advertised);
        let port = wanted.port.unwrap_or(self.common.port());
        self.server.set_url(space, Some(format!("https://{host}:{port}")));
        self.open.lock().insert(space.clone(), Open { wanted, end, listening });
        Ok(())
    }

    fn listen(&self, space: &SpaceName, listener: TcpListener, end: &CancellationToken) -> JoinHandle<()> {
        let (server, space, end) = (self.server.clone(), space.clone(), end.clone());
        let (certificate, key) = (self.serving.certificate.clone(), self.serving.key.clone());
        tokio::spawn(async move {
            let identity = (certificate.as_str(), key.as_str());
            if let Err(error) = apiserver::listen::listen_for(server, space.clone(), listener, identity, end).await {
                tracing::error!(%space, error = &error as &dyn std::error::Error, "the space's own listener ended");
            }
        })
    }

    /// Serves a space at its path only.
    pub(crate) async fn close(&self, space: &SpaceName) {
        let Some(open) = self.open.lock().remove(space) else { return };
        open.end.cancel();
        self.server.set_url(space, None);
        self.server.clear_hosts(space);
        if let Some(listening) = open.listening {
            listening.await.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(port: &str, host: &str, expected: Result<Wanted, &str>) {
        let annotations =
            [(PORT_ANNOTATION.to_owned(), port.to_owned()), (HOST_ANNOTATION.to_owned(), host.to_owned())];
        match (Wanted::read(&annotations.into()), expected) {
            (Ok(read), Ok(expected)) => assert_eq!(read, expected),
            (Err(error), Err(why)) => assert!(error.to_string().contains(why), "{error}"),
            (read, expected) => panic!("{read:?} is not {expected:?}"),
        }
    }

    #[test]
    fn reads_what_is_asked_for() {
        check("", "", Ok(Wanted::default()));
        check("9500", "WDS1.example.com", Ok(Wanted { port: Some(9500), host: Some("wds1.example.com".into()) }));
        check("0", "", Err("not a port"));
        check("x", "", Err("not a port"));
        check("", "a_b", Err("not a host name"));
    }
}
