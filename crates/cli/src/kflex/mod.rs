//! `kflex`: makes, finds and removes spaces, and keeps the kubeconfig in step with them.

mod config;
mod create;
mod ctx;
mod delete;
mod list;
mod version;

pub use config::ConfigCommand;
pub use create::{Create, SpaceType};
pub use ctx::{Ctx, CtxCommand};
pub use delete::Delete;
pub use version::Version;

use crate::{Environment, Error, Output, Result, Session, contexts};
use api::space::{ADMIN_SECRET, ADMIN_SECRET_KEY, CONTROL_PLANES, ControlPlane, READY, SYNCED, system_namespace};
use api::{Object, ObjectName, Resource};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::Client;
use client::kubeconfig::Kubeconfig;
use std::path::PathBuf;
use std::time::Duration;

/// The context of the hosting space of this machine's own server, as `kflex init` writes it.
pub const HOSTING_CONTEXT: &str = "kubestellar-hosting";

/// How long a secret may stay behind the status that names it.
const SECRET_TIMEOUT: Duration = Duration::from_secs(30);

static SECRETS: Resource = Resource::namespaced("", "v1", "secrets", "Secret");

/// Flags of every command.
#[derive(Clone, Debug, clap::Args)]
pub struct GlobalFlags {
    /// The kubeconfig file; else those in KUBECONFIG, else ~/.kube/config
    #[arg(short = 'k', long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Show progress with moving icons, when at a terminal
    #[arg(short = 's', long, global = true, value_name = "BOOL", default_value_t = true,
          action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub chatty_status: bool,
    /// How much to log: 0 warnings, 1 information, 2 everything
    #[arg(short = 'v', long, global = true, value_name = "LEVEL", default_value_t = 0)]
    pub verbosity: u8,
}

impl GlobalFlags {
    /// A session that writes to standard output.
    pub fn session(&self, environment: &Environment) -> Session {
        let output = Output::stdout(self.chatty_status);
        Session::new(environment, self.kubeconfig.as_deref(), output, clock::system())
    }
}

/// The commands of `kflex` that work through the API. `init` belongs to the binary, since it starts the server.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum KflexCommand {
    /// Create a space and switch to it
    Create(Create),
    /// Switch between spaces, or manage contexts
    Ctx(Ctx),
    /// List spaces
    List,
    /// Delete a space
    Delete(Delete),
    /// Look after what the kubeconfig says about the hosting context
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show versions
    Version(Version),
}

impl KflexCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// With a text for the user.
    pub async fn run(self, session: &Session) -> Result<()> {
        match self {
            Self::Create(command) => command.run(session).await,
            Self::Ctx(command) => command.run(session).await,
            Self::List => list::run(session).await,
            Self::Delete(command) => command.run(session).await,
            Self::Config(command) => command.run(session),
            Self::Version(command) => command.run(session).await,
        }
    }
}

/// Puts the hosting space into the kubeconfig as [`HOSTING_CONTEXT`], records it as the hosting context and makes it the
/// current one: the last step of `kflex init`.
///
/// # Errors
/// If the given kubeconfig is incomplete, or the user's cannot be written.
pub fn install_hosting(session: &Session, given: &Kubeconfig) -> Result<()> {
    let now = session.now();
    session.edit(|set| contexts::merge_hosting(set, HOSTING_CONTEXT, given, now))
}

/// What became of the kubeconfig.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Installed {
    /// The context that stayed the current one; none, if [`HOSTING_CONTEXT`] was made it.
    pub current: Option<String>,
    /// The contexts that got a new address.
    pub moved: Vec<String>,
}

/// [`install_hosting`] for this machine's own server. If it ran `already`, a user who has its context stays in the
/// current one. If it has `moved` from one URL to another, the contexts of its spaces follow.
///
/// # Errors
/// As [`install_hosting`].
pub fn install_own(
    session: &Session,
    given: &Kubeconfig,
    already: bool,
    moved: Option<(&str, &str)>,
) -> Result<Installed> {
    let now = session.now();
    session.edit(|set| {
        let moved = moved.map(|(old, new)| contexts::move_server(set, old, new)).unwrap_or_default();
        let switched = if already {
            contexts::refresh_hosting(set, HOSTING_CONTEXT, given, now)?
        } else {
            contexts::merge_hosting(set, HOSTING_CONTEXT, given, now).map(|()| true)?
        };
        let current = if switched { None } else { set.current_context().map(str::to_owned) };
        Ok(Installed { current, moved })
    })
}

/// Reads a ControlPlane.
async fn control_plane(client: &Client, name: &str) -> Result<ControlPlane> {
    let found: Option<ControlPlane> = client.find(&CONTROL_PLANES, &ObjectName::cluster(name)).await?;
    found.ok_or_else(|| {
        Error::new(format!("control plane not found on server: {name}")).hint("kflex list shows those that there are")
    })
}

/// Whether a ControlPlane uses the hosting space itself, so that it has no context of its own.
fn is_host(plane: &ControlPlane) -> bool {
    plane.spec.type_ == "host"
}

/// `True`, `False` or `Unknown`, and the message, of a condition.
fn condition<'a>(plane: &'a ControlPlane, type_: &str) -> (&'static str, &'a str) {
    let conditions = plane.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let held = conditions.iter().find(|held| held.type_ == type_);
    held.map_or(("Unknown", ""), |held| {
        let status = match held.status {
            api::ConditionStatus::True => "True",
            api::ConditionStatus::False => "False",
            api::ConditionStatus::Unknown => "Unknown",
        };
        (status, held.message.as_str())
    })
}

/// Waits until a space can be used.
async fn wait_ready(session: &Session, client: &Client, name: &str, timeout: Duration) -> Result<ControlPlane> {
    let output = session.output.clone();
    let mut told = String::new();
    let answer = move |plane: Option<&ControlPlane>| {
        let Some(plane) = plane else {
            return Some(Err(Error::new(format!("control plane {name} was deleted while it was awaited"))));
        };
        let has_secret = plane.status.as_ref().is_some_and(|status| status.secret_ref.is_some());
        if condition(plane, READY).0 == "True" && (has_secret || is_host(plane)) {
            return Some(Ok(plane.clone()));
        }
        let (status, message) = condition(plane, SYNCED);
        if status == "False" && !message.is_empty() && message != told {
            message.clone_into(&mut told);
            output.line(format!("  not yet: {message}"));
        }
        None
    };
    let what = format!("waiting for control plane {name} to become ready");
    let waited = client.until(&CONTROL_PLANES, &ObjectName::cluster(name), timeout, &what, answer).await;
    waited.map_err(|error| {
        Error::from(error).hint(format!("kubectl get controlplane {name} -o yaml, in the hosting context, says more"))
    })?
}

/// The kubeconfig that a space's server gave to people.
async fn kubeconfig_of(client: &Client, plane: &ControlPlane) -> Result<Kubeconfig> {
    let space = &plane.metadata.name;
    let reference = plane.status.as_ref().and_then(|status| status.secret_ref.clone()).unwrap_or_default();
    let or = |given: &str, default: &str| if given.is_empty() { default.to_owned() } else { given.to_owned() };
    let name =
        ObjectName::namespaced(or(&reference.namespace, &system_namespace(space)), or(&reference.name, ADMIN_SECRET));
    let key = or(&reference.key, ADMIN_SECRET_KEY);
    let what = format!("waiting for key {key} of secret {name}");
    let encoded = client.until(&SECRETS, &name, SECRET_TIMEOUT, &what, |secret: Option<&Object>| {
        let data = secret?.0.get("data")?.get(&key)?.as_str()?;
        (!data.is_empty()).then(|| data.to_owned())
    });
    decode_kubeconfig(&encoded.await?).map_err(|why| Error::new(format!("key {key} of secret {name}: {why}")))
}

fn decode_kubeconfig(encoded: &str) -> Result<Kubeconfig, String> {
    let bytes = STANDARD.decode(encoded).map_err(|cause| format!("not base64: {cause}"))?;
    let text = String::from_utf8(bytes).map_err(|_| "not text".to_owned())?;
    Kubeconfig::parse(&text)
}

/// Puts the context of a space into the kubeconfig and switches to it; for a space of type host, to the hosting context.
async fn adopt_context(session: &Session, hosting: &str, client: &Client, plane: &ControlPlane) -> Result<()> {
    let name = &plane.metadata.name;
    if is_host(plane) {
        session
            .output
            .line(format!("control plane {name} is of type host: it is used through the hosting context {hosting}"));
        return session.switch_to(hosting);
    }
    let given = kubeconfig_of(client, plane).await?;
    let now = session.now();
    session.edit(|set| contexts::merge_space(set, name, &given, now))
}
