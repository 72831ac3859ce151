//! Tasks of the project: `cargo xtask NAME`.

mod generate;

use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the project")]
enum Task {
    /// Write the data that crates/apiserver embeds, from what was recorded of a stock server.
    Generate(generate::Options),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Generate(options) => generate::run(&options),
    }
}
