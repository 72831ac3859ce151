//! A server that goes on in the background after the command that started it: what `kflex init` does without a cluster.

use crate::data_folder;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a running server says of itself in its data folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    pub(crate) url: String,
    /// Where it listens, with the port that it got.
    #[serde(default)]
    pub(crate) listen: Option<SocketAddr>,
}

/// Where the last server listened that `kflex init` installed: the next one goes there again, since kubeconfigs say so.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Remembered {
    pub(crate) listen: SocketAddr,
    /// What kubeconfigs were told.
    pub(crate) url: String,
}

const PID_FILE: &str = "server.pid";
const STATE_FILE: &str = "server.json";
const LOG_FILE: &str = "server.log";
/// Outlives the server, unlike the others.
const LISTEN_FILE: &str = "listen.json";
/// How many lines of a server that did not start are shown: the error and its hint are the last ones.
const SHOWN_LINES: usize = 5;
/// How much of the log is read for them.
const SHOWN_BYTES: u64 = 64 * 1024;
/// The line by which the server tells that it is ready. It writes nothing else to its standard output.
pub(crate) const READY_LINE: &str = "ready";

/// The file with the administrator's kubeconfig of the hosting space.
pub(crate) fn kubeconfig_file(data: &Path) -> PathBuf {
    data.join("admin.kubeconfig")
}

/// Leaves word in the data folder.
pub(crate) fn leave_word(data: &Path, running: &Running) -> Result<()> {
    write(&data.join(STATE_FILE), &serde_json::to_string(running)?)?;
    write(&data.join(PID_FILE), &running.pid.to_string())
}

/// Takes the word back at an orderly end.
pub(crate) fn take_word_back(data: &Path) {
    for file in [PID_FILE, STATE_FILE] {
        // Gone already is as good.
        fs::remove_file(data.join(file)).ok();
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, text).with_context(|| format!("write {}", part.display()))?;
    fs::rename(&part, path).with_context(|| format!("rename {} to {}", part.display(), path.display()))
}

/// The server that runs on a data folder, if its process is still there.
pub(crate) fn running(data: &Path) -> Option<Running> {
    let running: Running = serde_json::from_slice(&fs::read(data.join(STATE_FILE)).ok()?).ok()?;
    let command = fs::read(format!("/proc/{}/cmdline", running.pid)).ok()?;
    // The number may have been given to another program since.
    command.split(|byte| *byte == 0).any(|word| word == b"serve").then_some(running)
}

/// What an earlier `kflex init` remembered; nothing in a new folder.
pub(crate) fn remembered(data: &Path) -> Result<Option<Remembered>> {
    let path = data.join(LISTEN_FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let read = serde_json::from_slice(&text);
    let read = read.with_context(|| format!("{} does not say where to listen (it can be removed)", path.display()))?;
    Ok(Some(read))
}

/// Remembers where a server listens, for when it is started again.
pub(crate) fn remember(data: &Path, running: &Running) -> Result<()> {
    let Some(listen) = running.listen else { return Ok(()) };
    let remembered = Remembered { listen, url: running.url.clone() };
    write(&data.join(LISTEN_FILE), &serde_json::to_string(&remembered)?)
}

/// Refuses an address for a server that listens elsewhere already. Port 0 is content with any port.
fn check_listen(running: &Running, asked: Option<SocketAddr>) -> Result<(), cli::Error> {
    let (Some(listen), Some(asked)) = (running.listen, asked) else { return Ok(()) };
    if asked.ip() == listen.ip() && (asked.port() == listen.port() || asked.port() == 0) {
        return Ok(());
    }
    let pid = running.pid;
    Err(cli::Error::new(format!(
        "a server is running already on this data folder (process {pid}); it listens on {listen}, not on {asked}"
    ))
    .hint(format!("end it first: kill {pid}; then kflex init --listen {asked}")))
}

/// The last lines of what a server said.
fn last_lines(said: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(SHOWN_LINES)).map(|&line| line.to_owned()).collect()
}

/// The end of what was written to a file since it was `from` bytes long.
fn read_since(path: &Path, from: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(from.max(end.saturating_sub(SHOWN_BYTES))))?;
    let mut said = Vec::new();
    file.take(SHOWN_BYTES).read_to_end(&mut said)?;
    Ok(said)
}

/// Starts a server in the background, unless one runs on this data folder, and returns when it is ready. It listens
/// where it is `asked` to, else where it did before, else at `default`.
pub(crate) fn start(
    data: &Path,
    asked: Option<SocketAddr>,
    before: Option<&Remembered>,
    default: SocketAddr,
) -> Result<(Running, bool)> {
    if let Some(running) = running(data) {
        check_listen(&running, asked)?;
        return Ok((running, false));
    }
    let listen = asked.or(before.map(|before| before.listen)).unwrap_or(default);
    data_folder::make(data)?;
    let log_path = data.join(LOG_FILE);
    let log = data_folder::open_log(&log_path)?;
    let log_before = log.metadata().with_context(|| format!("look at the log file {}", log_path.display()))?.len();
    let program = std::env::current_exe().context("find this program")?;
    let mut child = Command::new(program)
        .args(["serve", "--data-dir"])
        .arg(data)
        .args(["--listen", &listen.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .process_group(0) // the terminal's Ctrl-C is not for the server
        .spawn()
        .context("start the server")?;
    let stdout = child.stdout.take().expect("standard output is a pipe");
    let said = BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line == READY_LINE);
    if !said {
        let status = child.wait().context("wait for the server")?;
        // Unreadable is as good as silent: what counts is that the server has ended.
        let last = last_lines(&read_since(&log_path, log_before).unwrap_or_default());
        let said = if last.is_empty() { "it said nothing".to_owned() } else { last.join("\n  ") };
        bail!(
            "the server ended with {status} before it was ready:\n  {said}\nhint: {} has the rest",
            log_path.display()
        );
    }
    running(data).map(|running| (running, true)).context("the server was ready and left no word in its data folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(listen: &str) -> Running {
        Running { pid: 7, url: "https://127.0.0.1:9443".into(), listen: Some(listen.parse().unwrap()) }
    }

    #[track_caller]
    fn check(running: &Running, asked: Option<&str>, fits: bool) {
        let result = check_listen(running, asked.map(|asked| asked.parse().unwrap()));
        assert_eq!(result.is_ok(), fits, "{running:?} {asked:?}");
    }

    #[test]
    fn another_address_for_a_server_that_runs() {
        check(&server("127.0.0.1:9443"), None, true);
        check(&server("127.0.0.1:9443"), Some("127.0.0.1:9443"), true);
        check(&server("127.0.0.1:9443"), Some("127.0.0.1:0"), true);
        check(&server("127.0.0.1:9443"), Some("127.0.0.1:9444"), false);
        check(&server("127.0.0.1:9443"), Some("0.0.0.0:9443"), false);
        check(&server("127.0.0.1:9443"), Some("[::1]:9443"), false);
        check(&Running { listen: None, ..server("127.0.0.1:1") }, Some("127.0.0.1:9444"), true);
        let error = check_listen(&server("127.0.0.1:9443"), Some("127.0.0.1:1".parse().unwrap())).unwrap_err();
        assert_eq!(error.hint_text(), Some("end it first: kill 7; then kflex init --listen 127.0.0.1:1"));
    }

    #[test]
    fn the_address_outlives_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        assert_eq!(remembered(data).unwrap(), None);
        let running = server("127.0.0.1:9444");
        leave_word(data, &running).unwrap();
        remember(data, &running).unwrap();
        take_word_back(data);
        let expected = Remembered { listen: "127.0.0.1:9444".parse().unwrap(), url: running.url };
        assert_eq!(remembered(data).unwrap(), Some(expected));
        fs::write(data.join(LISTEN_FILE), "moon").unwrap();
        assert!(format!("{:#}", remembered(data).unwrap_err()).contains("it can be removed"));
    }

    #[test]
    fn only_what_this_server_said_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join(LOG_FILE);
        fs::write(&log, "old\nold too\n").unwrap();
        let from = fs::metadata(&log).unwrap().len();
        assert!(last_lines(&read_since(&log, from).unwrap()).is_empty());
        fs::write(&log, "old\nold too\nnew\n\nhint\n").unwrap();
        assert_eq!(last_lines(&read_since(&log, from).unwrap()), ["new", "hint"]);
        assert_eq!(last_lines(b"1\n2\n3\n4\n5\n6\n7"), ["3", "4", "5", "6", "7"]);
        fs::write(&log, vec![b'x'; 3 * usize::try_from(SHOWN_BYTES).unwrap()]).unwrap();
        assert_eq!(read_since(&log, from).unwrap().len(), usize::try_from(SHOWN_BYTES).unwrap());
    }
}
