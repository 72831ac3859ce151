//! Plays client programs against both servers: each scenario is run once with a kubeconfig of each, and what it says it saw
//! is compared line by line.
//!
//! A client is a command. `COMMAND list` prints its scenarios, one a line; with the word `ours` behind it, a scenario is
//! run against ours only, and has to succeed. `COMMAND SCENARIO` plays one with the server of `KUBECONFIG`. Every line of
//! its standard output is a fact, already free of what differs between two runs; its standard error is shown when it
//! fails. The line `@restart` asks for the server to be killed and started again, and is answered with a line.

use crate::ours::Ours;
use crate::stock::Stock;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

/// The longest scenarios wait for a lease to expire, or for a cold stock server to start again.
const SCENARIO_TIMEOUT: Duration = Duration::from_secs(240);

/// What a program may say about why it failed.
const STANDARD_ERROR_SHOWN_BYTES: usize = 4000;

/// A command that plays scenarios, with the name that its lines have in the report.
struct Client {
    name: String,
    command: Vec<String>,
}

/// What a scenario printed, and whether it ended well.
#[derive(Default)]
struct Played {
    lines: Vec<String>,
    failure: Option<String>,
}

/// A server that can be killed and started again.
trait Restart {
    async fn restart(&mut self) -> Result<()>;
    fn kubeconfig(&self) -> &Path;
}

impl Restart for Ours {
    async fn restart(&mut self) -> Result<()> {
        Ours::restart(self).await
    }
    fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

impl Restart for Stock {
    async fn restart(&mut self) -> Result<()> {
        Stock::restart(self).await
    }
    fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

impl Client {
    /// Reads `NAME=COMMAND WORD...`.
    fn parse(text: &str) -> Result<Self> {
        let (name, command) = text.split_once('=').context("a client is NAME=COMMAND")?;
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if command.is_empty() {
            bail!("client {name} has no command");
        }
        Ok(Self { name: name.to_owned(), command })
    }

    fn command(&self, scenario: &str) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).arg(scenario).kill_on_drop(true);
        command
    }

    /// The scenarios, with whether each is for ours only.
    async fn scenarios(&self) -> Result<Vec<(String, bool)>> {
        let output = self.command("list").output().await.with_context(|| self.command.join(" "))?;
        if !output.status.success() {
            bail!("{} list: {}", self.command.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().filter_map(|line| line.split_whitespace().next().map(|name| (name, line)));
        Ok(lines.map(|(name, line)| (name.to_owned(), line.split_whitespace().nth(1) == Some("ours"))).collect())
    }

    async fn play<S: Restart>(&self, scenario: &str, server: &mut S) -> Result<Played> {
        let mut played = Played::default();
        let mut command = self.command(scenario);
        command.env("KUBECONFIG", server.kubeconfig());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| self.command.join(" "))?;
        let (Some(mut stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            bail!("a program was started without its pipes")
        };
        let mut said = Vec::new();
        let told = async {
            let mut lines = BufReader::new(stdout).lines();
            while let Some(line) = lines.next_line().await? {
                if line == "@restart" {
                    server.restart().await?;
                    stdin.write_all(b"restarted\n").await?;
                } else {
                    played.lines.push(line);
                }
            }
            Ok::<_, anyhow::Error>(())
        };
        let whole = tokio::time::timeout(SCENARIO_TIMEOUT, async {
            let (told, read) = tokio::join!(told, stderr.read_to_end(&mut said));
            told?;
            read?;
            anyhow::Ok(child.wait().await?)
        });
        played.failure = match whole.await {
            Ok(Ok(status)) if status.success() => None,
            Ok(Ok(status)) => Some(status.to_string()),
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some(format!("not done within {SCENARIO_TIMEOUT:?}")),
        };
        if let Some(failure) = &mut played.failure {
            let shown = &said[said.len().saturating_sub(STANDARD_ERROR_SHOWN_BYTES)..];
            let _ = write!(failure, "\n{}", String::from_utf8_lossy(shown));
        }
        Ok(played)
    }
}

/// Plays all scenarios of all clients (`NAME=COMMAND`) whose `NAME SCENARIO` contains one of `only` (all, if there are
/// none), and says whether they saw the same, but for the differences listed in the file `known`.
///
/// # Errors
/// If a client cannot be started, or the list cannot be read.
pub(crate) async fn play_all(
    clients: &[String],
    only: &[String],
    known: &Path,
    table: Option<&PathBuf>,
    stock: &mut Stock,
    ours: &mut Ours,
) -> Result<bool> {
    let known = match known.exists() {
        true => {
            read_known(&std::fs::read_to_string(known)?).map_err(|why| anyhow::anyhow!("{}: {why}", known.display()))?
        }
        false => BTreeMap::new(),
    };
    let mut clean = true;
    let mut rows = String::from("| client | scenario | facts, stock | facts, ours | |\n|---|---|---|---|---|\n");
    for text in clients {
        let client = Client::parse(text)?;
        let (mut scenarios, mut facts, mut differing) = (0, 0, 0);
        for (scenario, ours_only) in client.scenarios().await? {
            let name = format!("{} {scenario}", client.name);
            if !only.is_empty() && !only.iter().any(|part| name.contains(part.as_str())) {
                continue;
            }
            let watch = clock::Stopwatch::start();
            let (theirs, mine) = if ours_only {
                (None, client.play(&scenario, ours).await?)
            } else {
                let (theirs, mine) = tokio::join!(client.play(&scenario, stock), client.play(&scenario, ours));
                (Some(theirs?), mine?)
            };
            let verdict = judge(&name, theirs.as_ref(), &mine, &known);
            for line in &verdict.complaints {
                eprintln!("{line}");
            }
            let said = if verdict.complaints.is_empty() { "" } else { ": DIFFERENT" };
            eprintln!("interop: {name}: {} facts in {:.1} s{said}", mine.lines.len(), watch.elapsed().as_secs_f32());
            clean &= verdict.complaints.is_empty();
            (scenarios, facts, differing) =
                (scenarios + 1, facts + mine.lines.len(), differing + usize::from(!verdict.complaints.is_empty()));
            let stock_facts = theirs.map_or_else(|| "not played".to_owned(), |played| played.lines.len().to_string());
            let _ = writeln!(
                rows,
                "| {} | {scenario} | {stock_facts} | {} | {} |",
                client.name,
                mine.lines.len(),
                verdict.summary()
            );
        }
        eprintln!("interop: {}: {scenarios} scenarios, {facts} facts, {differing} scenarios differ", client.name);
    }
    if let Some(file) = table {
        std::fs::write(file, rows).with_context(|| file.display().to_string())?;
    }
    Ok(clean)
}

/// The listed differences of a scenario, each a line that begins with `-` (only stock) or `+` (only ours).
type Differences = BTreeMap<String, BTreeSet<String>>;

/// Reads the list: `# reason` over lines `NAME SCENARIO: -line` and `NAME SCENARIO: +line`.
fn read_known(text: &str) -> Result<Differences, String> {
    let mut known = Differences::new();
    let mut reasoned = false;
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() {
            reasoned = false;
            continue;
        }
        if line.starts_with('#') {
            reasoned = true;
            continue;
        }
        if !reasoned {
            return Err(format!("no reason is given for {line}"));
        }
        let (name, fact) = line.split_once(": ").ok_or_else(|| format!("not NAME SCENARIO: FACT: {line}"))?;
        if !fact.starts_with(['-', '+']) {
            return Err(format!("a fact begins with - or +: {line}"));
        }
        known.entry(name.to_owned()).or_default().insert(fact.to_owned());
    }
    Ok(known)
}

/// What is to be said about a scenario.
#[derive(Default)]
struct Verdict {
    complaints: Vec<String>,
    explained: usize,
}

impl Verdict {
    fn summary(&self) -> String {
        match (self.complaints.len(), self.explained) {
            (0, 0) => "alike".to_owned(),
            (0, explained) => format!("{explained} lines differ, explained"),
            _ => "DIFFERENT".to_owned(),
        }
    }
}

fn judge(name: &str, theirs: Option<&Played>, mine: &Played, known: &Differences) -> Verdict {
    let mut verdict = Verdict::default();
    for (side, played) in theirs.map(|played| ("stock", played)).into_iter().chain([("ours", mine)]) {
        if let Some(failure) = &played.failure {
            verdict.complaints.push(format!("{name}: fails on {side}: {failure}"));
        }
    }
    let Some(theirs) = theirs else { return verdict };
    let found = differences(&theirs.lines, &mine.lines);
    let nothing = BTreeSet::new();
    let listed = known.get(name).unwrap_or(&nothing);
    for line in &found {
        if listed.contains(line) {
            verdict.explained += 1;
        } else {
            verdict.complaints.push(format!("{name}: {line}"));
        }
    }
    for line in listed.iter().filter(|line| !found.contains(line)) {
        verdict.complaints.push(format!("{name}: listed and gone: {line}"));
    }
    verdict
}

/// The lines that only one side has, in order: `-` for those of the first, `+` for those of the second. What both have in
/// the same order (a longest common subsequence) is left out.
fn differences(first: &[String], second: &[String]) -> Vec<String> {
    let (rows, columns) = (first.len(), second.len());
    let mut longest = vec![vec![0_usize; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            longest[row][column] = if first[row] == second[column] {
                longest[row + 1][column + 1] + 1
            } else {
                longest[row + 1][column].max(longest[row][column + 1])
            };
        }
    }
    let (mut row, mut column, mut found) = (0, 0, Vec::new());
    while row < rows || column < columns {
        if row < rows && column < columns && first[row] == second[column] {
            (row, column) = (row + 1, column + 1);
        } else if row < rows && (column == columns || longest[row + 1][column] >= longest[row][column + 1]) {
            found.push(format!("-{}", first[row]));
            row += 1;
        } else {
            found.push(format!("+{}", second[column]));
            column += 1;
        }
    }
    found
}

/// Starts nothing more: says how both are reached and waits until standard input ends. A line `restart` kills both and
/// starts them again.
///
/// # Errors
/// If standard input or output cannot be used, or a server does not come back.
pub(crate) async fn serve(stock: &mut Stock, ours: &mut Ours) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "stock {}\nours {}\nready", stock.kubeconfig.display(), ours.kubeconfig.display())?;
    // Nothing else is done while this waits.
    for line in std::io::stdin().lines() {
        if line?.trim() == "restart" {
            stock.restart().await?;
            ours.restart().await?;
            writeln!(out, "restarted")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[track_caller]
    fn check(first: &str, second: &str, expected: &str) {
        assert_eq!(differences(&lines(first), &lines(second)), lines(expected));
    }

    #[test]
    fn lines_of_one_side_are_found_in_their_order() {
        check("", "", "");
        check("a b c", "a b c", "");
        check("a b c", "a c", "-b");
        check("a c", "a b c", "+b");
        check("a b", "b a", "-a +a");
        check("a x c", "a y c", "-x +y");
    }

    #[test]
    fn the_list_needs_reasons() {
        let known = read_known("# why\nc s: -a\nc s: +b: c\n").unwrap();
        assert_eq!(known["c s"], BTreeSet::from(["-a".to_owned(), "+b: c".to_owned()]));
        assert!(read_known("c s: -a\n").is_err());
        assert!(read_known("# why\n\nc s: -a\n").is_err());
        assert!(read_known("# why\nc s: a\n").is_err());
    }

    #[test]
    fn a_listed_difference_is_explained_and_must_be_there() {
        let played = |text| Played { lines: lines(text), failure: None };
        let known = read_known("# why\nc s: -a\n").unwrap();
        let verdict = judge("c s", Some(&played("a b")), &played("b"), &known);
        assert_eq!((verdict.explained, verdict.complaints.len()), (1, 0));
        let verdict = judge("c s", Some(&played("a b")), &played("a b"), &known);
        assert_eq!(verdict.complaints, ["c s: listed and gone: -a"]);
        let verdict = judge("c other", Some(&played("a b")), &played("b"), &known);
        assert_eq!(verdict.complaints, ["c other: -a"]);
        let failed = Played { failure: Some("exit".into()), ..Played::default() };
        assert_eq!(judge("c s", None, &failed, &known).complaints, ["c s: fails on ours: exit"]);
    }

    #[test]
    fn the_committed_list_can_be_read() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/clients/known-differences.txt");
        if file.exists() {
            read_known(&std::fs::read_to_string(file).unwrap()).unwrap();
        }
    }
}
