//! A server that goes on in the background after the command that started it: what `kflex init` does without a cluster.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a running server says of itself in its data folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    pub(crate) url: String,
}

const PID_FILE: &str = "server.pid";
const STATE_FILE: &str = "server.json";
const LOG_FILE: &str = "server.log";
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

/// Starts a server in the background, unless one runs on this data folder, and returns when it is ready.
pub(crate) fn start(data: &Path, listen: SocketAddr) -> Result<(Running, bool)> {
    if let Some(running) = running(data) {
        return Ok((running, false));
    }
    fs::create_dir_all(data).with_context(|| format!("create the data folder {}", data.display()))?;
    let log_path = data.join(LOG_FILE);
    let log = File::options().create(true).append(true).open(&log_path);
    let log = log.with_context(|| format!("open the log file {}", log_path.display()))?;
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
        let text = fs::read_to_string(&log_path).unwrap_or_default();
        let last: Vec<&str> = text.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!(
            "the server ended with {status} before it was ready:\n  {}\nhint: {} has the rest",
            last.join("\n  "),
            log_path.display()
        );
    }
    running(data).map(|running| (running, true)).context("the server was ready and left no word in its data folder")
}
