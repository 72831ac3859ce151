//! `cargo xtask bench NAME`: builds what is measured in release, then measures it.

use anyhow::{Context, bail};
use std::path::Path;
use std::process::Command;

/// What is given to `bench`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to measure, and its flags: `latency`, `pipeline`, `memory`, `api` (see docs/benchmarks.md).
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Builds and measures.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    // Some benchmarks start the product as a process: it lies beside the benchmark.
    cargo(root, &["build", "--release", "-p", "kubestellar", "-p", "bench"])?;
    let words: Vec<&str> = ["run", "--release", "--quiet", "-p", "bench", "--"]
        .into_iter()
        .chain(options.words.iter().map(String::as_str))
        .collect();
    cargo(root, &words)
}

pub(crate) fn cargo(root: &Path, words: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("cargo").args(words).current_dir(root).status().context("start cargo")?;
    if status.success() { Ok(()) } else { bail!("cargo {} ended with {status}", words.join(" ")) }
}
