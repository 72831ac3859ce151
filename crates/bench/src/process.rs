//! A server as a process of its own, and what the kernel says about it.

use anyhow::{Context, Result, bail};
use clock::Stopwatch;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The line by which `serve` tells that it is ready.
const READY_LINE: &str = "ready";
/// The unit of the times in `/proc/PID/stat`: USER_HZ is 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);
/// How often, and at what distance, it is looked whether a killed server has ended.
const END_LOOKS: u32 = 1000;
const END_LOOK_AFTER: Duration = Duration::from_millis(2);

/// A running `kubestellar serve`. It is killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// From its start to its line "ready".
    pub(crate) ready_after: Duration,
}

impl Process {
    /// Starts a server on a data folder and a free port, and waits until it is ready.
    pub(crate) fn start(program: &Path, data: &Path) -> Result<Self> {
        let watch = Stopwatch::start();
        let log = fs::File::create(data.with_extension("log")).context("create the server's log")?;
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let stdout = child.stdout.take().context("standard output is a pipe")?;
        let mut process = Self { child, ready_after: Duration::ZERO };
        if !BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line == READY_LINE) {
            let log = fs::read_to_string(data.with_extension("log")).unwrap_or_default();
            bail!("the server ended before it was ready: {log}");
        }
        process.ready_after = watch.elapsed();
        Ok(process)
    }

    /// What the kernel says of it now.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id())
    }

    /// kill -9.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill().context("kill the server")?;
        self.child.wait().context("wait for the server")?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A server that a command started in the background, by its process number. It is killed when dropped.
pub(crate) struct Background(pub(crate) u32);

impl Background {
    /// What the kernel says of it now.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.0)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let folder = PathBuf::from(format!("/proc/{}", self.0));
        Command::new("kill").args(["-9", &self.0.to_string()]).status().ok();
        // It lets its data folder go only when it has ended. It is nobody's child here, so there is nothing to wait on.
        for _ in 0..END_LOOKS {
            if !folder.exists() {
                return;
            }
            std::thread::sleep(END_LOOK_AFTER);
        }
    }
}

/// Memory and processor time of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Usage {
    /// Memory that is resident, in KiB.
    pub(crate) resident_kib: u64,
    /// The most that ever was, in KiB.
    pub(crate) peak_kib: u64,
    /// Of the resident memory, what is the process's own and no file's (the program itself is a file), in KiB.
    pub(crate) anonymous_kib: u64,
    /// Processor time since its start, user and system.
    pub(crate) processor: Duration,
    pub(crate) threads: u64,
}

impl Usage {
    /// Of a process, by its number.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let read = |file: &str| fs::read_to_string(folder.join(file)).with_context(|| format!("read {file} of {pid}"));
        Self::parse(&read("status")?, &read("stat")?).with_context(|| format!("read the usage of process {pid}"))
    }

    fn parse(status: &str, stat: &str) -> Result<Self> {
        let number = |field: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            let first = line.and_then(|line| line.split_whitespace().next()).with_context(|| format!("no {field}"))?;
            first.parse().with_context(|| format!("{field} is {first:?}"))
        };
        // The second field is the command in parentheses, which may hold spaces.
        let after = stat.rsplit_once(')').context("no command")?.1;
        let ticks = |index: usize| after.split_whitespace().nth(index).and_then(|text| text.parse::<u32>().ok());
        let ticks = ticks(11).zip(ticks(12)).context("no processor times")?;
        Ok(Self {
            resident_kib: number("VmRSS")?,
            peak_kib: number("VmHWM")?,
            anonymous_kib: number("RssAnon")?,
            processor: TICK * (ticks.0 + ticks.1),
            threads: number("Threads")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read() {
        let status = "Name:\tx\nVmHWM:\t    2000 kB\nVmRSS:\t    1000 kB\nRssAnon:\t  700 kB\nThreads:\t3\n";
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 25 5 0 0 20 0 3 0 1 1 1";
        let usage = Usage::parse(status, stat).unwrap();
        let processor = Duration::from_millis(300);
        let expected = Usage { resident_kib: 1000, peak_kib: 2000, anonymous_kib: 700, processor, threads: 3 };
        assert_eq!(usage, expected);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let error = Usage::parse("VmHWM: 1 kB", "7 (a) S 1 7 7 0 -1 4194304 100 0 0 0 25 5 0").unwrap_err();
        assert_eq!(error.to_string(), "no VmRSS");
    }
}
