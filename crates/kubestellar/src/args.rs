//! What the two programs can be told, and what each command does with it.

use crate::agent_command::AgentCommand;
use crate::background;
use crate::demo::Demo;
use crate::serve::{Options, Serve};
use anyhow::{Context, Result, anyhow};
use apiserver::audit::{Audit, Policy, Rotation};
use clap::{Parser, Subcommand};
use cli::kflex::{self, GlobalFlags, KflexCommand};
use cli::{Environment, GetCommand, Session};
use client::kubeconfig::Kubeconfig;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Which program was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    /// `kubestellar`
    KubeStellar,
    /// `kflex`
    Kflex,
}

/// Where a server listens unless it is told: the port of KubeFlex.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9443);

#[derive(Parser)]
#[command(name = "kubestellar", version, about = "Apply Kubernetes objects once; have them in many clusters")]
struct KubeStellarArgs {
    #[command(flatten)]
    flags: GlobalFlags,
    #[command(subcommand)]
    command: KubeStellarCommand,
}

#[derive(Subcommand)]
enum KubeStellarCommand {
    /// Run the server in the foreground
    Serve(ServeArgs),
    /// Set up two simulated clusters and do the main job
    Demo(Demo),
    /// Prepare a cluster to join an ITS
    Join(cli::clusters::Join),
    /// Let clusters into an ITS
    Accept(cli::clusters::Accept),
    /// List the clusters of an ITS
    Clusters(cli::clusters::Clusters),
    /// Run the agent of a cluster
    Agent(AgentCommand),
    /// Say why an object is in a cluster, or is not
    Explain(cli::Explain),
    /// Show what is where
    #[command(subcommand)]
    Get(GetCommand),
}

#[derive(Parser)]
#[command(name = "kflex", about = "Make and find spaces")]
struct KflexArgs {
    #[command(flatten)]
    flags: GlobalFlags,
    #[command(subcommand)]
    command: KflexPrograms,
}

#[derive(Subcommand)]
enum KflexPrograms {
    /// Start a server in the background, and make it the hosting cluster
    Init(InitArgs),
    #[command(flatten)]
    Api(KflexCommand),
    /// Run the server in the foreground (what `init` starts)
    #[command(hide = true)]
    Serve(ServeArgs),
}

/// Flags of a server.
#[derive(clap::Args)]
struct ServeArgs {
    /// Where everything is kept
    #[arg(long, env = "KUBESTELLAR_DATA", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = LISTEN)]
    listen: SocketAddr,
    /// A name or address by which clients reach the server; may be given several times, the first is advertised
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// API groups whose objects may be delivered, as in `apps,batch`; an empty element is the core group (default: all)
    #[arg(long, value_name = "GROUPS", default_value = "")]
    api_groups: String,
    #[command(flatten)]
    audit: AuditArgs,
}

/// Flags of the audit log, as those of kube-apiserver.
#[derive(clap::Args)]
struct AuditArgs {
    /// Write who asks for what to this file
    #[arg(long, value_name = "FILE", requires = "audit_policy_file")]
    audit_log_path: Option<PathBuf>,
    /// What is written of which request: a Policy of audit.k8s.io/v1
    #[arg(long, value_name = "FILE", requires = "audit_log_path")]
    audit_policy_file: Option<PathBuf>,
    /// Megabytes after which a new file is begun
    #[arg(long, value_name = "MEGABYTES", default_value_t = 100)]
    audit_log_maxsize: u64,
    /// Older files that are kept; 0 keeps all
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    audit_log_maxbackup: usize,
}

impl AuditArgs {
    /// The log that is asked for, if one is.
    fn open(&self) -> Result<Option<Audit>> {
        let Some((path, policy)) = self.audit_log_path.as_ref().zip(self.audit_policy_file.as_ref()) else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(policy).with_context(|| format!("read {}", policy.display()))?;
        let policy = Policy::parse(&text).map_err(|error| anyhow!("audit policy {}: {error}", policy.display()))?;
        let rotation = Rotation { bytes_max: self.audit_log_maxsize << 20, kept_max: self.audit_log_maxbackup };
        let audit = Audit::open(policy, path, rotation).with_context(|| format!("open {}", path.display()))?;
        Ok(Some(audit))
    }
}

#[derive(clap::Args)]
struct InitArgs {
    /// Where everything is kept
    #[arg(long, env = "KUBESTELLAR_DATA", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Where to listen; where the server of this folder listened before, or 127.0.0.1:9443, if not given
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

/// Runs a program to its end.
pub fn main(program: Program) -> ExitCode {
    let result = match program {
        Program::KubeStellar => kubestellar(KubeStellarArgs::parse()),
        Program::Kflex => kflex(KflexArgs::parse()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut stderr = std::io::stderr().lock();
            writeln!(stderr, "Error: {error:#}").ok();
            if let Some(hint) = error.downcast_ref::<cli::Error>().and_then(cli::Error::hint_text) {
                writeln!(stderr, "hint: {hint}").ok();
            }
            ExitCode::FAILURE
        }
    }
}

fn kubestellar(args: KubeStellarArgs) -> Result<()> {
    let serves = matches!(args.command, KubeStellarCommand::Serve(_) | KubeStellarCommand::Agent(_));
    log(args.flags.verbosity, serves);
    let environment = Environment::of_process();
    let session = args.flags.session(&environment);
    runtime()?.block_on(async {
        match args.command {
            KubeStellarCommand::Serve(serve) => self::serve(serve, &environment).await,
            KubeStellarCommand::Demo(demo) => demo.run().await,
            KubeStellarCommand::Join(join) => Ok(join.run(&session).await.map(drop)?),
            KubeStellarCommand::Accept(accept) => Ok(accept.run(&session).await?),
            KubeStellarCommand::Clusters(clusters) => Ok(clusters.run(&session).await?),
            KubeStellarCommand::Agent(agent) => agent.run(&session).await,
            KubeStellarCommand::Explain(explain) => Ok(explain.run(&session).await?),
            KubeStellarCommand::Get(get) => Ok(get.run(&session).await?),
        }
    })
}

fn kflex(args: KflexArgs) -> Result<()> {
    log(args.flags.verbosity, matches!(args.command, KflexPrograms::Serve(_)));
    let environment = Environment::of_process();
    let session = args.flags.session(&environment);
    match args.command {
        KflexPrograms::Init(init) => self::init(init, &environment, &session),
        KflexPrograms::Serve(serve) => runtime()?.block_on(self::serve(serve, &environment)),
        KflexPrograms::Api(command) => Ok(runtime()?.block_on(command.run(&session))?),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")
}

/// Logs go to standard error: 0 is warnings (information for what runs on), 1 information, 2 everything of ours.
fn log(verbosity: u8, serves: bool) {
    let ours = match (verbosity, serves) {
        (0, false) => LevelFilter::WARN,
        (0, true) | (1, _) => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let of_libraries = ["hyper", "h2", "rustls", "tokio"].map(|library| (library, LevelFilter::WARN));
    let filter = Targets::new().with_default(ours).with_targets(of_libraries);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}

fn data_folder(given: Option<PathBuf>, environment: &Environment) -> Result<PathBuf> {
    given.or_else(|| environment.data.clone()).ok_or_else(|| {
        anyhow!("it is not clear where to keep data: give --data-dir FOLDER, or set KUBESTELLAR_DATA or HOME")
    })
}

async fn serve(args: ServeArgs, environment: &Environment) -> Result<()> {
    let data = data_folder(args.data_dir, environment)?;
    let api_groups = hub::ApiGroups::parse(&args.api_groups);
    let options = Options { data: Some(data), listen: args.listen, hosts: args.hosts, api_groups };
    let audit = args.audit.open()?;
    let mut server = Serve::start(options, clock::system()).await?;
    if let Some(audit) = audit {
        server.server.set_audit(audit);
    }
    tracing::info!(url = %server.url, "ready");
    // Whoever started this in the background waits for the line; nobody reads what comes after it.
    writeln!(std::io::stdout(), "{}", background::READY_LINE).ok();
    server.until(end_asked()).await;
    server.stop().await;
    Ok(())
}

/// Ends with the first Ctrl-C or SIGTERM.
pub(crate) async fn end_asked() {
    let Ok(mut terminated) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn init(args: InitArgs, environment: &Environment, session: &Session) -> Result<()> {
    let data = data_folder(args.data_dir, environment)?;
    let before = background::remembered(&data)?;
    let (running, started) = background::start(&data, args.listen, before.as_ref(), LISTEN)?;
    let file = background::kubeconfig_file(&data);
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let given = Kubeconfig::parse(&text).map_err(|error| anyhow!("{}: {error}", file.display()))?;
    let moved =
        before.as_ref().map(|before| (before.url.as_str(), running.url.as_str())).filter(|(old, new)| old != new);
    let installed = kflex::install_own(session, &given, !started, moved)?;
    // Only now: if the kubeconfig could not be written, the next try still knows the address that is to be replaced.
    background::remember(&data, &running)?;
    let what = if started { "Started a server" } else { "A server is running already" };
    session.output.done(format!("{what} at {} (process {}, data in {})", running.url, running.pid, data.display()));
    if !installed.moved.is_empty() {
        let names = installed.moved.join(", ");
        session.output.done(format!("The address has changed, also in the kubeconfig, of contexts {names}"));
    }
    session.output.done(match installed.current {
        None => format!("Switched to context {}", kflex::HOSTING_CONTEXT),
        Some(current) if current == kflex::HOSTING_CONTEXT => format!("The current context is {current}"),
        Some(current) => format!("The current context is still {current}; kflex ctx switches to the hosting one"),
    });
    Ok(())
}
