//! Plays scripts of requests against a stock API server and against a space of ours, and compares the answers field by
//! field; or, with `--client`, plays client programs. `interop/run` builds both and runs this; `docs/api-differences.md` says how to read what it prints.

mod clients;
mod compare;
mod document;
mod kinds;
mod known;
mod normalise;
mod ours;
mod peers;
mod play;
mod process;
mod protobuf;
mod report;
mod script;
mod server;
mod stock;

use anyhow::{Context, Result, bail};
use clap::Parser;
use document::Variables;
use kinds::{Kind, Minimal};
use known::{Known, UNEXAMINED};
use ours::Ours;
use peers::Peers;
use play::Outcome;
use script::Script;
use server::As;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use stock::Stock;

/// Names of namespaces are DNS labels.
const NAMESPACE_LENGTH_MAX: usize = 63;

/// Kinds have nothing to do with each other; much of their time is waiting.
const KINDS_AT_ONCE: usize = 6;

/// Compares a space with a stock API server.
#[derive(Parser)]
struct Arguments {
    /// The folder of etcd, kube-apiserver and kube-controller-manager
    #[arg(long)]
    stock: PathBuf,
    /// The folder of kubestellar and kflex
    #[arg(long)]
    programs: PathBuf,
    /// The folder of scripts
    #[arg(long, default_value = "interop/differential")]
    scripts: PathBuf,
    /// Where the whole report goes
    #[arg(long)]
    report: Option<PathBuf>,
    /// Play only scripts whose name (with `@kind`) contains one of these; may be given several times
    #[arg(long)]
    only: Vec<String>,
    /// Take differences that are gone off the list
    #[arg(long)]
    shrink: bool,
    /// Put new differences on the list, with this reason
    #[arg(long, value_name = "REASON", num_args = 0..=1, default_missing_value = UNEXAMINED)]
    accept: Option<String>,
    /// How often scripts that are not as listed are played again, with new servers: what a slow machine lets happen in
    /// another order differs once, and what is different differs each time
    #[arg(long, default_value_t = 0)]
    again: usize,
    /// Play no scripts but a client program, given as NAME=COMMAND; may be given several times
    #[arg(long = "client")]
    clients: Vec<String>,
    /// The differences between what clients see that are explained
    #[arg(long, default_value = "interop/clients/known-differences.txt")]
    clients_known: PathBuf,
    /// Where the table of clients and scenarios goes
    #[arg(long)]
    clients_table: Option<PathBuf>,
    /// Play nothing: start both, print their kubeconfigs, and end when standard input does
    #[arg(long)]
    serve: bool,
    /// Print each step and what differs, as it is played
    #[arg(long)]
    verbose: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("differential: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<bool> {
    if !arguments.serve && arguments.clients.is_empty() {
        return play_scripts(arguments).await;
    }
    let folder = tempfile::tempdir()?;
    let peers = Peers::start().await?;
    let (mut stock, mut ours) = start(arguments, folder.path(), &peers).await?;
    ours.make_cluster()?;
    if arguments.serve {
        clients::serve(&mut stock, &mut ours).await?;
        return Ok(true);
    }
    let (known, table) = (&arguments.clients_known, arguments.clients_table.as_ref());
    clients::play_all(&arguments.clients, &arguments.only, known, table, &mut stock, &mut ours).await
}

/// Starts both servers, with everything that they keep in a folder. Both trust the issuers of `peers`.
async fn start(arguments: &Arguments, folder: &Path, peers: &Peers) -> Result<(Stock, Ours)> {
    let [stock_folder, our_folder] = ["stock", "ours"].map(|name| folder.join(name));
    fs::create_dir_all(&stock_folder)?;
    fs::create_dir_all(&our_folder)?;
    let trusted = peers.authentication();
    let ours = Ours::start(&arguments.programs, &our_folder, &trusted).await.context("our server")?;
    let stock = Stock::start(&arguments.stock, &stock_folder, &trusted).await.context("the stock server")?;
    eprintln!("differential: ours is process {}, the stock server is {:?}", ours.id(), stock.ids());
    Ok((stock, ours))
}

/// Plays the scripts and judges what differs by the list.
async fn play_scripts(arguments: &Arguments) -> Result<bool> {
    let known_file = arguments.scripts.join("known-differences.txt");
    let known_text = if known_file.exists() { fs::read_to_string(&known_file)? } else { String::new() };
    let mut known = Known::parse(&known_text).map_err(|why| anyhow::anyhow!("{}: {why}", known_file.display()))?;
    let scripts = read_scripts(&arguments.scripts)?;
    let minimal_file = arguments.scripts.join("minimal.yaml");
    let minimal = fs::read_to_string(&minimal_file).with_context(|| minimal_file.display().to_string())?;
    let minimal = Minimal::parse(&minimal).map_err(|why| anyhow::anyhow!("{}: {why}", minimal_file.display()))?;

    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|part| name.contains(part));
    let outcomes = play_all(arguments, &scripts, &minimal, &wanted).await?;
    let mut verdict = known.judge(&outcomes, arguments.only.is_empty());
    if let Some(file) = &arguments.report {
        fs::write(file, report::report(&outcomes, &known)).with_context(|| file.display().to_string())?;
    }
    eprintln!("{}", report::summary(&outcomes));
    if arguments.shrink || arguments.accept.is_some() {
        known.shrink(&verdict);
        if let Some(reason) = &arguments.accept {
            known.accept(&verdict, reason);
        }
        fs::write(&known_file, known.text())?;
        eprintln!("differential: {} new, {} gone; the list was rewritten", verdict.new.len(), verdict.gone.len());
        return Ok(true);
    }
    for _ in 0..arguments.again {
        let doubtful = verdict.scripts();
        if doubtful.is_empty() {
            break;
        }
        eprintln!("differential: played once more: {}", doubtful.iter().cloned().collect::<Vec<_>>().join(", "));
        let outcomes = play_all(arguments, &scripts, &minimal, &|name: &str| doubtful.contains(name)).await?;
        verdict = verdict.and(&known.judge(&outcomes, false));
    }
    for (key, (found, listed)) in &verdict.new {
        eprintln!("not listed: {key} ({found}, listed {listed})");
    }
    for (key, (found, listed)) in &verdict.gone {
        eprintln!("listed and gone (run with --shrink): {key} ({found}, listed {listed})");
    }
    if let Some(sum) = verdict.over_limit {
        eprintln!("the list has {sum} differences, more than its limit");
    }
    Ok(verdict.is_clean())
}

/// Starts both servers and plays the scripts that are wanted, in the order of their names; those for each kind come kind
/// by kind.
async fn play_all(
    arguments: &Arguments,
    scripts: &[Script],
    minimal: &Minimal,
    wanted: &impl Fn(&str) -> bool,
) -> Result<Vec<Outcome>> {
    let folder = tempfile::tempdir()?;
    let peers = Peers::start().await?;
    let (stock, ours) = start(arguments, folder.path(), &peers).await?;
    let servers = [&stock.server, &ours.server];
    let played = async |script: &Script, variables: &Variables, namespace: &str| -> Result<Vec<Outcome>> {
        let new = play::play(script, variables, servers, &peers, namespace).await.context(script.name.clone())?;
        if arguments.verbose {
            eprint!("{}", report::steps(&new));
        }
        Ok(new)
    };
    // Before the scripts: what they define is not built in.
    let kinds = discovered(&stock).await?;
    let mut outcomes = Vec::new();
    for script in scripts.iter().filter(|script| !script.each_kind && wanted(&script.name)) {
        outcomes.extend(played(script, &Variables::new(), &namespace(&script.name)).await?);
    }
    let each: Vec<&Script> = scripts.iter().filter(|script| script.each_kind).collect();
    let of_kind = async |kind: &Kind| -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for script in each.iter().filter(|script| wanted(&format!("{}@{}", script.name, kind.name()))) {
            let namespace = namespace(&format!("{}-{}", script.name, kind.name()));
            let (script, variables) =
                kinds::instance(script, kind, minimal, &namespace).map_err(|why| anyhow::anyhow!(why))?;
            outcomes.extend(played(&script, &variables, &namespace).await?);
        }
        Ok(outcomes)
    };
    for kinds in kinds.chunks(KINDS_AT_ONCE) {
        for of_one in futures_util::future::join_all(kinds.iter().map(of_kind)).await {
            outcomes.extend(of_one?);
        }
    }
    Ok(outcomes)
}

/// The built-in kinds that the stock server serves.
async fn discovered(stock: &Stock) -> Result<Vec<Kind>> {
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let headers = [("Accept".to_owned(), accept.to_owned())];
    let mut kinds = Vec::new();
    for path in ["/api", "/apis"] {
        let answer = stock.server.ask("GET", path, &headers, Vec::new(), As::Admin, None).await?.answer;
        kinds.extend(Kind::discovered(&answer.body));
    }
    if kinds.is_empty() {
        bail!("the stock server's discovery names no kind");
    }
    Ok(kinds)
}

/// A namespace's name from a script's.
fn namespace(name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    name.chars().take(NAMESPACE_LENGTH_MAX).collect::<String>().trim_matches('-').to_owned()
}

/// All scripts of a folder, sorted by name.
fn read_scripts(folder: &Path) -> Result<Vec<Script>> {
    let mut scripts = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).with_context(|| at.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "txt")
                && path.file_name().is_some_and(|name| name != "known-differences.txt")
            {
                let name = path.strip_prefix(folder).unwrap_or(&path).with_extension("");
                let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                scripts.push(script::parse(&name.to_string_lossy(), &text).map_err(|why| anyhow::anyhow!(why))?);
            }
        }
    }
    scripts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(scripts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_namespaces_are_labels() {
        assert_eq!(namespace("each-kind/create-deployments.apps"), "each-kind-create-deployments-apps");
        assert!(namespace(&"x".repeat(100)).len() <= NAMESPACE_LENGTH_MAX);
    }

    #[test]
    fn the_committed_scripts_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/differential");
        let scripts = read_scripts(&folder).unwrap();
        assert!(scripts.iter().map(|script| script.steps.len()).sum::<usize>() > 50);
        Minimal::parse(&fs::read_to_string(folder.join("minimal.yaml")).unwrap()).unwrap();
        let known = fs::read_to_string(folder.join("known-differences.txt")).unwrap_or_default();
        Known::parse(&known).unwrap();
    }
}
