//! `cargo xtask sim`: builds the simulation in release, then plays seeds.

use crate::bench::cargo;
use std::path::Path;

/// What is given to `sim`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The flags of the simulation: `--seeds N`, `--histories N`, `--from SEED` (see docs/simulation.md).
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Builds and plays.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    let words = ["run", "--release", "--quiet", "-p", "sim", "--"];
    let words: Vec<&str> = words.into_iter().chain(options.words.iter().map(String::as_str)).collect();
    cargo(root, &words)
}
