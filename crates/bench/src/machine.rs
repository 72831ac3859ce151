//! The conditions of a measurement: without them a number cannot be compared.

use crate::statistics::{Sample, milliseconds};
use anyhow::{Context, Result};
use clock::Stopwatch;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// How many writes the probe of the disk makes.
const PROBE_WRITES: usize = 200;
/// Bytes of each: a usual record.
const PROBE_BYTES: usize = 2048;

/// What the machine is and how busy it is.
pub(crate) fn conditions() -> Value {
    let model = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1).map(str::to_owned))
        .unwrap_or_default();
    json!({
        "cpu": model,
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_1m": read("/proc/loadavg").split(' ').next().unwrap_or_default(),
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
    })
}

/// Processor time of all processors together since the start of the machine, in ticks.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ticks {
    total: u64,
    idle: u64,
    /// Time that this virtual machine wanted to run and its host did not let it.
    stolen: u64,
}

impl Ticks {
    pub(crate) fn now() -> Self {
        Self::parse(&read("/proc/stat"))
    }

    fn parse(stat: &str) -> Self {
        let first = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = first.split_whitespace().skip(1).take(8).filter_map(|text| text.parse().ok()).collect();
        let tick = |index: usize| ticks.get(index).copied().unwrap_or_default();
        Self { total: ticks.iter().sum(), idle: tick(3) + tick(4), stolen: tick(7) }
    }

    /// Parts of a hundred since then: busy, and stolen.
    pub(crate) fn since(self, before: Self) -> (u64, u64) {
        let total = (self.total - before.total).max(1);
        let stolen = self.stolen - before.stolen;
        let busy = total.saturating_sub(self.idle - before.idle).saturating_sub(stolen);
        (busy * 100 / total, stolen * 100 / total)
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Appends to a file and syncs each write: what one sync costs on this disk now, without anything of ours.
pub(crate) fn probe_disk(folder: &Path) -> Result<Sample> {
    let path = folder.join("probe");
    let mut file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let block = [b'x'; PROBE_BYTES];
    let mut sample = Sample::default();
    for _ in 0..PROBE_WRITES {
        let watch = Stopwatch::start();
        file.write_all(&block).and_then(|()| file.sync_data()).with_context(|| format!("write {}", path.display()))?;
        sample.add(watch.elapsed());
    }
    fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    Ok(sample)
}

/// One line about a probe.
pub(crate) fn probe_line(sample: &Sample) -> String {
    format!(
        "disk: append of {PROBE_BYTES} bytes + fdatasync: p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms ({} writes)",
        milliseconds(sample.median()),
        milliseconds(sample.percentile(99)),
        milliseconds(sample.max()),
        sample.count()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_and_stolen() {
        let before = Ticks::parse("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2\n");
        let after = Ticks::parse("cpu  110 0 110 860 0 0 0 20 0 0\n");
        assert_eq!(after.since(before), (20, 20));
    }
}
