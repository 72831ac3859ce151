//! Tasks of the project: `cargo xtask NAME`.

mod bench;
mod ci;
mod generate;
mod marks;
mod presence;
mod sim;
mod tidy;

use anyhow::Context;
use clap::Parser;
use std::env;
use std::path::{Path, PathBuf};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the project")]
enum Task {
    /// Measure the product: `latency`, `memory`, `api`.
    Bench(bench::Options),
    /// What CI runs after the tests: tidy, lints, the demo, the interop lane.
    Ci,
    /// Check what the compiler does not: absences between crates, the length of files.
    Tidy,
    /// Write the data that crates/apiserver embeds, from what was recorded of a stock server.
    Generate(generate::Options),
    /// Play many seeds of the simulation (docs/simulation.md).
    Sim(sim::Options),
    /// Read from the documents of OpenAPI version 3 of a stock server what the definitions of version 2 leave out.
    Marks(marks::Options),
    /// Read from the Go sources of a new release which fields say something when they are zero.
    Presence(presence::Options),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Bench(options) => bench::run(&workspace_root()?, &options),
        Task::Ci => ci::run(&workspace_root()?),
        Task::Tidy => tidy::run(&workspace_root()?),
        Task::Generate(options) => generate::run(&options),
        Task::Marks(options) => marks::run(&options),
        Task::Presence(options) => presence::run(&options),
        Task::Sim(options) => sim::run(&workspace_root()?, &options),
    }
}

fn workspace_root() -> anyhow::Result<PathBuf> {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").context("run it as `cargo xtask`")?;
    Ok(Path::new(&manifest).parent().context("xtask is in the workspace's folder")?.to_path_buf())
}

#[allow(clippy::print_stdout)]
fn say(line: &str) {
    println!("{line}");
}
