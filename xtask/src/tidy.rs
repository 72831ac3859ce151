//! Checks of the tree that neither the compiler nor clippy makes: the absences of ARCHITECTURE.md, the length of files.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// A file of this many lines says that a noun is missing.
const LINES_MAX: usize = 800;

/// What must not stand among the `[dependencies]` of a crate. Dev-dependencies are free: tests may use the real server.
const ABSENCES: [(&str, &[&str]); 10] = [
    ("api", &["tokio", "clock", "getrandom", "client", "store"]),
    ("machinery", &["tokio", "clock", "getrandom", "client", "store", "ring"]),
    ("planner", &["tokio", "clock", "getrandom", "client", "store", "ring", "controller"]),
    ("store", &["api", "machinery", "serde_json"]),
    ("apiserver", &["planner", "hub", "agent", "client", "controller"]),
    ("client", &["apiserver", "store"]),
    ("hub", &["apiserver", "store"]),
    ("agent", &["apiserver", "store"]),
    ("cli", &["apiserver", "store"]),
    ("simulator", &["apiserver", "store"]),
];

/// Runs all checks and names every finding.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut findings = Vec::new();
    for (name, absent) in ABSENCES {
        let path = root.join("crates").join(name).join("Cargo.toml");
        let manifest = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for dependency in dependencies(&manifest) {
            if absent.contains(&dependency) {
                findings.push(format!("{name} must not depend on {dependency} (ARCHITECTURE.md)"));
            }
        }
    }
    for file in rust_files(&root.join("crates"))?.into_iter().chain(rust_files(&root.join("xtask"))?) {
        let text = fs::read_to_string(&file)?;
        let shown = file.strip_prefix(root).unwrap_or(&file).display();
        let lines = text.lines().count();
        if lines > LINES_MAX {
            findings.push(format!("{shown} has {lines} lines: split it along a noun"));
        }
        if !text.starts_with("//!") {
            findings.push(format!("{shown} does not say what it is for (`//!` on its first line)"));
        }
        let ignore = concat!("#[", "ignore");
        if text.contains(ignore) {
            findings.push(format!("{shown} has an ignored test: a skipped test is a defect"));
        }
    }
    if findings.is_empty() {
        return Ok(());
    }
    bail!("tidy:\n  {}", findings.join("\n  "))
}

/// Names under `[dependencies]`.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim() == "[dependencies]";
        } else if inside {
            names.extend(line.split(['.', ' ', '=']).next().filter(|name| !name.is_empty() && !name.starts_with('#')));
        }
    }
    names
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dependencies() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\napi.workspace = true\ntokio = \"1\"\n\n[dev-dependencies]\nstore.workspace = true\n";
        assert_eq!(dependencies(manifest), ["api", "tokio"]);
    }

    #[test]
    fn the_tree_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace");
        run(root).unwrap();
    }
}
