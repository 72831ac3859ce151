//! `cargo xtask sim`: many seeds at once, for as long as one likes.

use anyhow::{Context, Result, bail};
use clap::Parser;
use clock::Stopwatch;
use std::path::PathBuf;

/// Failures after which more would not say more.
const FAILURES_MAX: usize = 5;

#[derive(Parser)]
#[command(name = "sim", about = "Plays seeds until all agree, or says which do not")]
struct Options {
    /// Play random histories of policies, objects and clusters against the oracle of the rules.
    #[arg(long, default_value_t = 0)]
    histories: u64,
    /// Play the whole system with random users and faults.
    #[arg(long, default_value_t = 0)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Deliver OBJECTSxCLUSTERS and restart every process, which may write nothing.
    #[arg(long, value_parser = size)]
    restart: Option<(usize, usize)>,
    /// Play a scenario instead, `times` times: what fails now and then is in the order of things that no seed decides.
    #[arg(long)]
    scenario: Option<PathBuf>,
    /// How often the scenario is played.
    #[arg(long, default_value_t = 1)]
    times: u64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some((objects, clusters)) = options.restart {
        return each("restart", 0..1, |_| sim::restart::play(objects, clusters));
    }
    if let Some(path) = &options.scenario {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        return each("scenario", 0..options.times, |_| sim::scenario::play(&text).map(|shown| shown.lines().count()));
    }
    each("histories", options.from..options.from + options.histories, sim::history::play)?;
    each("simulation", options.from..options.from + options.seeds, sim::chaos::play)
}

fn size(text: &str) -> Result<(usize, usize)> {
    let (objects, clusters) = text.split_once('x').context("a size is OBJECTSxCLUSTERS, as in 1000x100")?;
    Ok((objects.parse()?, clusters.parse()?))
}

#[allow(clippy::print_stdout)] // printing is its work
fn each(what: &str, seeds: std::ops::Range<u64>, play: impl Fn(u64) -> Result<usize>) -> Result<()> {
    if seeds.is_empty() {
        return Ok(());
    }
    let watch = Stopwatch::start();
    let (mut steps, mut failures, count) = (0, 0, seeds.end - seeds.start);
    for seed in seeds {
        match play(seed) {
            Ok(played) => steps += played,
            Err(error) => {
                failures += 1;
                println!("seed {seed}: {error:?}");
                if failures == FAILURES_MAX {
                    bail!("{what}: {failures} of the seeds up to {seed} failed");
                }
            }
        }
    }
    println!("{what}: {count} seeds, {steps} steps, {failures} failed, {:.1?}", watch.elapsed());
    if failures == 0 { Ok(()) } else { bail!("{what}: {failures} failed") }
}
