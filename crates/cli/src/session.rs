//! What a command works with: the environment it was started in, the kubeconfig, the time, and where it writes.

use crate::contexts::{self, Hosting};
use crate::{Error, Output, Result};
use api::space::CONTROL_PLANES;
use api::{PartialObject, Timestamp};
use client::kubeconfig::{self, KubeconfigSet, Section};
use client::{Client, ListParams};
use clock::SharedClock;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the current context may take to say whether it is a hosting space, before another answer is sought.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// What the process was given from outside. Only a binary reads it ([`Environment::of_process`]).
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `KUBECONFIG`
    pub kubeconfig: Option<OsString>,
    /// `HOME`
    pub home: Option<PathBuf>,
    /// `KUBESTELLAR_DATA`, or where the system keeps the data of users.
    pub data: Option<PathBuf>,
}

impl Environment {
    /// What this process was given.
    pub fn of_process() -> Self {
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = path("HOME");
        let data = path("KUBESTELLAR_DATA")
            .or_else(|| path("XDG_DATA_HOME").map(|data| data.join("kubestellar")))
            .or_else(|| home.as_ref().map(|home| home.join(".local/share/kubestellar")));
        Self { kubeconfig: std::env::var_os("KUBECONFIG"), home, data }
    }
}

/// One run of a command.
#[derive(Clone)]
pub struct Session {
    /// The kubeconfig files, first to last.
    pub files: Vec<PathBuf>,
    /// Where data is kept.
    pub data: Option<PathBuf>,
    /// Where the command writes.
    pub output: Output,
    /// The time.
    pub clock: SharedClock,
}

impl Session {
    /// From the environment and the flag `--kubeconfig`.
    pub fn new(environment: &Environment, kubeconfig: Option<&Path>, output: Output, clock: SharedClock) -> Self {
        let files = kubeconfig::locate(kubeconfig, environment.kubeconfig.as_deref(), environment.home.as_deref());
        Self { files, data: environment.data.clone(), output, clock }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The kubeconfig as it is.
    ///
    /// # Errors
    /// If a file cannot be read or is not a kubeconfig.
    pub fn kubeconfig(&self) -> Result<KubeconfigSet> {
        Ok(kubeconfig::read(&self.files)?)
    }

    /// Changes the kubeconfig, under its lock.
    ///
    /// # Errors
    /// What `change` returns, and then nothing is written; or that a file cannot be locked, read or written.
    pub fn edit<R>(&self, change: impl FnOnce(&mut KubeconfigSet) -> Result<R>) -> Result<R> {
        kubeconfig::edit(&self.files, change)
    }

    /// A client for a context; for the current one, when none is named.
    ///
    /// # Errors
    /// If the kubeconfig does not lead to a server.
    pub fn client(&self, context: Option<&str>) -> Result<Client> {
        client_of(&self.kubeconfig()?, context)
    }

    /// The hosting context and a client for it: the current context if it is a hosting space, else the recorded one.
    ///
    /// # Errors
    /// If none is known; the hint says what to do.
    pub async fn hosting(&self) -> Result<(String, Client)> {
        let set = self.kubeconfig()?;
        let recorded = match contexts::hosting(&set) {
            Hosting::Named(name) => Some(name),
            Hosting::Unknown | Hosting::Empty => None,
        };
        let current = set
            .current_context()
            .filter(|current| recorded.as_deref() != Some(*current) && contexts::space_of(&set, current).is_none());
        if let Some(current) = current
            && let Ok(client) = client_of(&set, Some(current))
            && serves_spaces(&client).await
        {
            return Ok((current.to_owned(), client));
        }
        let unknown = "the hosting context is not known";
        let name = recorded.ok_or_else(|| Error::new(unknown).hint("run: kflex init"))?;
        if set.get(Section::Contexts, &name).is_none() {
            return Err(Error::new(format!(
                "{unknown}: {name} is recorded as such, but the kubeconfig does not have it"
            ))
            .hint("run: kflex init, or name it: kflex config set-hosting CONTEXT"));
        }
        let client = client_of(&set, Some(&name))?;
        Ok((name, client))
    }

    /// Makes a context the current one.
    ///
    /// # Errors
    /// If the kubeconfig does not have it, or cannot be written.
    pub fn switch_to(&self, context: &str) -> Result<()> {
        self.edit(|set| {
            if set.get(Section::Contexts, context).is_none() {
                return Err(contexts::no_context(set, context));
            }
            set.set_current_context(context);
            Ok(())
        })
    }
}

fn client_of(set: &KubeconfigSet, context: Option<&str>) -> Result<Client> {
    let endpoint =
        set.endpoint(context).map_err(|error| Error::from(error).hint("kubectl config get-contexts lists them"))?;
    Ok(Client::https(endpoint)?.with_field_manager("kflex"))
}

/// Whether a server has ControlPlanes.
async fn serves_spaces(client: &Client) -> bool {
    let params = ListParams { limit: 1, fields: "metadata.name=none".into(), ..ListParams::default() };
    let listed = async { client.list::<PartialObject>(&CONTROL_PLANES, "", &params).await };
    matches!(tokio::time::timeout(PROBE_TIMEOUT, listed).await, Ok(Ok(_)))
}
