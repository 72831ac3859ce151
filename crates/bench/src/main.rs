//! Measures the product as a user has it: `cargo xtask bench latency`, `cargo xtask bench memory`,
//! `cargo xtask bench pipeline`, `cargo xtask bench api`.

mod api;
mod latency;
mod machine;
mod memory;
mod pipeline;
mod process;
mod report;
mod rig;
mod stages;
mod statistics;
mod stock;
mod trace;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use report::Report;
use std::path::PathBuf;

#[derive(Parser)]
#[command(name = "bench", about = "Measures the product as a user has it")]
struct Args {
    /// Also write the results there, as JSON
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to make the temporary data folder (default: beside the build)
    #[arg(long, global = true, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Api(api::Api),
    Latency(latency::Latency),
    Memory(memory::Memory),
    Pipeline(pipeline::Pipeline),
}

fn main() -> Result<()> {
    let args = Args::parse();
    let program = std::env::current_exe().context("find this program")?;
    let beside = program.parent().context("this program is in a folder")?.to_owned();
    let folder = tempfile::tempdir_in(args.folder.as_deref().unwrap_or(&beside)).context("make a temporary folder")?;
    let mut report = Report::new(std::io::stdout());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let done = runtime.block_on(async {
        match &args.command {
            Command::Api(api) => api.run(&mut report, folder.path(), &beside).await,
            Command::Latency(latency) => latency.run(&mut report, folder.path()).await,
            Command::Pipeline(pipeline) => pipeline.run(&mut report, folder.path()).await,
            Command::Memory(memory) => memory.run(&mut report, folder.path(), &beside).await,
        }
    });
    if let Some(path) = &args.json {
        std::fs::write(path, report.json()).with_context(|| format!("write {}", path.display()))?;
    }
    done
}
