//! What CI runs after the tests, in this order, each step with its time.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Steps: a name, the program, its arguments. `cargo-deny` is used where it is installed.
const STEPS: [(&str, &[&str]); 4] = [
    ("format", &["cargo", "fmt", "--all", "--check"]),
    ("clippy", &["cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
    ("demo", &["cargo", "run", "--release", "--locked", "--", "demo"]),
    // Stock kubectl, and a stock API server beside ours; what cannot be had is said and not run.
    ("interop", &["interop/run"]),
];

/// Runs tidy and all steps; stops at the first that fails.
pub(crate) fn run(root: &Path) -> Result<()> {
    step("tidy", || crate::tidy::run(root))?;
    step("generate --check", || crate::generate::run(&crate::generate::Options::check_only()))?;
    if Command::new("cargo").args(["deny", "--version"]).output().is_ok_and(|output| output.status.success()) {
        step("deny", || command(root, &["cargo", "deny", "check", "bans", "licenses", "sources"]))?;
    } else {
        eprintln!("--- deny: not run, cargo-deny is not installed");
    }
    for (name, words) in STEPS {
        step(name, || command(root, words))?;
    }
    Ok(())
}

fn step(name: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("--- {name}");
    let watch = clock::Stopwatch::start();
    run().with_context(|| format!("step {name:?} failed"))?;
    eprintln!("--- {name}: {:.1} s", watch.elapsed().as_secs_f64());
    Ok(())
}

fn command(root: &Path, words: &[&str]) -> Result<()> {
    let program = if words[0].contains('/') { root.join(words[0]) } else { words[0].into() };
    let status = Command::new(&program)
        .args(&words[1..])
        .current_dir(root)
        .status()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    if status.success() { Ok(()) } else { bail!("{} ended with {status}", words.join(" ")) }
}
