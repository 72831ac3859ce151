//! Checks of the tree that neither the compiler nor clippy makes: the absences of ARCHITECTURE.md, the length of files.

use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A file of this many lines says that a noun is missing.
const LINES_MAX: usize = 800;

/// What a crate is without, on purpose (ARCHITECTURE.md).
struct Absence {
    of: &'static str,
    /// Neither the crate nor anything that it is made of has these.
    anywhere: &'static [&'static str],
    /// The crate does not name these, though what it is made of may.
    directly: &'static [&'static str],
    /// Its tests are without them too. Elsewhere tests are free: they may use the real server.
    tests: bool,
}

const SPACES: &[&str] = &["apiserver", "store"];
const EFFECTS: &[&str] = &["tokio", "clock", "getrandom", "client", "store", "ring", "controller"];

const ABSENCES: [Absence; 11] = [
    Absence { of: "api", anywhere: EFFECTS, directly: &["machinery"], tests: true },
    Absence { of: "machinery", anywhere: EFFECTS, directly: &[], tests: true },
    Absence { of: "planner", anywhere: EFFECTS, directly: &[], tests: true },
    // Its clock speaks of timestamps, which are nouns of `api`.
    Absence { of: "store", anywhere: &["machinery"], directly: &["api", "serde_json"], tests: false },
    Absence {
        of: "apiserver",
        anywhere: &["planner", "hub", "agent", "client", "controller"],
        directly: &[],
        tests: false,
    },
    Absence { of: "client", anywhere: SPACES, directly: &[], tests: false },
    Absence { of: "hub", anywhere: SPACES, directly: &[], tests: false },
    Absence { of: "agent", anywhere: SPACES, directly: &[], tests: false },
    Absence { of: "cli", anywhere: SPACES, directly: &[], tests: false },
    Absence { of: "kubestellar", anywhere: &["sim"], directly: &[], tests: true },
    Absence { of: "simulator", anywhere: SPACES, directly: &[], tests: false },
];

/// Says for each defect of the original which test would catch it here.
const DEFECTS: &str = "docs/original-defects.md";

/// The names of all functions in crates: among them are those of all tests.
fn tests_of(root: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for file in rust_files(&root.join("crates"))? {
        let text = fs::read_to_string(&file)?;
        for (at, line) in text.lines().enumerate() {
            let Some((before, after)) = line.split_once("fn ") else { continue };
            if !before.trim().is_empty() && !before.trim_end().ends_with("async") {
                continue;
            }
            // The attribute that makes it a test is right above, among others; in a macro of properties too.
            let above = text.lines().take(at).collect::<Vec<_>>();
            let mut above = above.iter().rev().take_while(|line| {
                let line = line.trim();
                line.starts_with("#[") || line.starts_with("///") || line.starts_with("proptest!")
            });
            if above.any(|line| line.contains("test") && !line.trim().starts_with("///")) {
                names.extend(after.split('(').next().map(str::to_owned));
            }
        }
    }
    Ok(names)
}

/// What the last column of a table names, and is no test.
fn missing_tests(table: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| defect"));
    let mut missing = Vec::new();
    for row in rows {
        let cell = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap_or_default();
        let named: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            missing.push(format!("{DEFECTS} names no test in {row:?}"));
        }
        let absent = named.into_iter().filter(|name| !tests.contains(*name));
        missing.extend(absent.map(|name| format!("{DEFECTS} names the test {name}, which there is not")));
    }
    missing
}

/// Runs all checks and names every finding.
pub(crate) fn run(root: &Path) -> Result<()> {
    let read = |path: PathBuf| fs::read_to_string(&path).with_context(|| path.display().to_string());
    let mut graph = Graph::of_lock(&read(root.join("Cargo.lock"))?);
    for crate_dir in fs::read_dir(root.join("crates")).context("crates")? {
        let path = crate_dir?.path().join("Cargo.toml");
        if let (Some(name), true) = (path.parent().and_then(Path::file_name), path.is_file()) {
            graph.put(&name.to_string_lossy(), &read(path.clone())?);
        }
    }
    let mut findings: Vec<String> = ABSENCES.iter().flat_map(|absence| graph.violations(absence)).collect();
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
    let defects = read(root.join(DEFECTS))?;
    findings.extend(missing_tests(&defects, &tests_of(root)?));
    if findings.is_empty() {
        return Ok(());
    }
    bail!("tidy:\n  {}", findings.join("\n  "))
}

/// Which crate is made of which.
#[derive(Default)]
struct Graph {
    /// What is linked into a crate when it is shipped, on whatever target.
    shipped: BTreeMap<String, BTreeSet<String>>,
    /// What only tests of crates of this workspace have.
    tests: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// The packages of `Cargo.lock`. Those of the workspace have their tests' dependencies there as well, so that their
    /// manifests are put in their place.
    fn of_lock(lock: &str) -> Self {
        let mut graph = Self::default();
        let mut package = String::new();
        let mut listed = false;
        for line in lock.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("name = ") {
                package = name.trim_matches('"').to_owned();
            }
            listed = line == "dependencies = [" || (listed && line != "]");
            if let Some(entry) = line.strip_prefix('"').filter(|_| listed) {
                let name = entry.split([' ', '"']).next().unwrap_or("");
                graph.shipped.entry(package.clone()).or_default().insert(name.to_owned());
            }
        }
        graph
    }

    /// A crate of the workspace.
    fn put(&mut self, name: &str, manifest: &str) {
        let all = dependencies(manifest);
        let of = |tests: bool| all.iter().filter(move |(dev, _)| *dev == tests).map(|(_, name)| name.clone()).collect();
        self.shipped.insert(name.to_owned(), of(false));
        self.tests.insert(name.to_owned(), of(true));
    }

    /// How a crate comes to have another: the names on the way, the crate itself included.
    fn way<'a>(&'a self, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
        let mut reached: BTreeMap<&str, &str> = BTreeMap::new();
        let mut next = vec![from];
        while let Some(at) = next.pop() {
            for name in self.shipped.get(at).into_iter().flatten() {
                if name != from && !reached.contains_key(name.as_str()) {
                    reached.insert(name, at);
                    next.push(name);
                }
            }
        }
        let (mut at, _) = reached.get_key_value(to)?;
        let mut way = vec![*at];
        while let Some(before) = reached.get(at) {
            way.push(*before);
            at = before;
        }
        way.reverse();
        Some(way)
    }

    fn violations(&self, absence: &Absence) -> Vec<String> {
        let Absence { of, anywhere, directly, tests } = absence;
        let mut found = Vec::new();
        for absent in *anywhere {
            if let Some(way) = self.way(of, absent) {
                found.push(format!("{of} must not depend on {absent} (ARCHITECTURE.md): {}", way.join(" > ")));
            }
        }
        let has = |graph: &BTreeMap<String, BTreeSet<String>>, name: &str| {
            graph.get(*of).is_some_and(|names| names.contains(name))
        };
        for absent in directly.iter().filter(|name| has(&self.shipped, name)) {
            found.push(format!("{of} must not depend on {absent} (ARCHITECTURE.md)"));
        }
        let tested = anywhere.iter().chain(*directly).filter(|name| *tests && has(&self.tests, name));
        found.extend(tested.map(|absent| format!("tests of {of} must not depend on {absent} (ARCHITECTURE.md)")));
        found
    }
}

/// Packages that a manifest names, in all its tables of dependencies (also those of a target), and whether only tests
/// and examples have them.
fn dependencies(manifest: &str) -> Vec<(bool, String)> {
    let mut found: Vec<(bool, String)> = Vec::new();
    let mut inside = None;
    // Of a table of its own, `[dependencies.NAME]`, whose lines may say which package is meant.
    let mut own_table = false;
    for line in manifest.lines().map(|line| line.split('#').next().unwrap_or("").trim()) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            let words: Vec<&str> = header.rsplit('.').collect();
            let table = |word: &str| matches!(word, "dependencies" | "build-dependencies" | "dev-dependencies");
            own_table = words.len() > 1 && !table(words[0]) && table(words[1]);
            let kind = words.iter().take(2).copied().find(|word| table(word));
            // The table of the workspace says which versions are meant and links nothing.
            inside = kind.filter(|_| !header.starts_with("workspace")).map(|kind| kind == "dev-dependencies");
            if let (Some(tests), true) = (inside, own_table) {
                found.push((tests, words[0].trim_matches('"').to_owned()));
            }
        } else if let Some(tests) = inside {
            let package = line.split_once("package").and_then(|(before, rest)| {
                let says = own_table == before.is_empty() && rest.trim_start().starts_with('=');
                says.then(|| rest.split('"').nth(1)).flatten()
            });
            let name = line.split(['.', ' ', '=']).next().unwrap_or("").trim_matches('"');
            match (package, own_table) {
                (Some(package), true) => drop(found.pop().map(|_| found.push((tests, package.to_owned())))),
                (Some(package), false) => found.push((tests, package.to_owned())),
                (None, false) if !name.is_empty() && line.contains('=') => found.push((tests, name.to_owned())),
                (None, _) => {}
            }
        }
    }
    found
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
        let manifest = r#"
            [package]
            name = "x"
            [lints]
            workspace = true
            [dependencies]
            api.workspace = true
            tokio = "1" # why
            other = { version = "1", package = "getrandom" }
            [dependencies.client]
            workspace = true
            [dependencies.renamed]
            version = "1"
            package = "ring"
            [target.'cfg(unix)'.dependencies]
            store.workspace = true
            [target.'cfg(not(windows))'.dependencies.clock]
            workspace = true
            [build-dependencies]
            hub.workspace = true
            [dev-dependencies]
            agent = { workspace = true, features = ["a"] }
            [target.x86_64-unknown-linux-musl.dev-dependencies]
            cli.workspace = true
        "#;
        let found = dependencies(manifest);
        let of = |tests: bool| -> Vec<&str> {
            found.iter().filter(|(dev, _)| *dev == tests).map(|(_, name)| name.as_str()).collect()
        };
        assert_eq!(of(false), ["api", "tokio", "getrandom", "client", "ring", "store", "clock", "hub"]);
        assert_eq!(of(true), ["agent", "cli"]);
    }

    #[track_caller]
    fn check(manifests: &[(&str, &str)], expected: &[&str]) {
        let lock = "[[package]]\nname = \"outer\"\ndependencies = [\n \"inner 1.0.0\",\n]\n\n\
                    [[package]]\nname = \"inner\"\ndependencies = [\n \"tokio\",\n]\n";
        let mut graph = Graph::of_lock(lock);
        manifests.iter().for_each(|(name, manifest)| graph.put(name, manifest));
        let pure = Absence { of: "pure", anywhere: &["tokio"], directly: &["api"], tests: true };
        assert_eq!(graph.violations(&pure), expected, "{manifests:?}");
    }

    #[test]
    fn absences() {
        check(&[("pure", "[dependencies]\nserde = \"1\"")], &[]);
        let way = "pure must not depend on tokio (ARCHITECTURE.md): pure > ";
        check(&[("pure", "[target.'cfg(unix)'.dependencies]\ntokio = \"1\"")], &[&format!("{way}tokio")]);
        check(&[("pure", "[dependencies]\nouter = \"1\"")], &[&format!("{way}outer > inner > tokio")]);
        let beside = ("beside", "[dependencies]\napi = \"1\"\n[dev-dependencies]\ntokio = \"1\"");
        check(&[("pure", "[dependencies]\nbeside = \"1\""), beside], &[]);
        check(&[("pure", "[build-dependencies]\napi = \"1\"")], &["pure must not depend on api (ARCHITECTURE.md)"]);
        let tests = "tests of pure must not depend on tokio (ARCHITECTURE.md)";
        check(&[("pure", "[dev-dependencies]\ntokio = \"1\"")], &[tests]);
    }

    #[test]
    fn tests_that_are_named_exist() {
        let tests = BTreeSet::from(["one".to_owned(), "two".to_owned()]);
        let table = "| defect | test |\n|---|---|\n| a | `one`, `two` |\n| b | `three` (so) |\n| c | |";
        let missing = missing_tests(table, &tests);
        assert_eq!(missing.len(), 2, "{missing:?}");
        assert!(missing[0].contains("the test three") && missing[1].contains("names no test"), "{missing:?}");
    }

    #[test]
    fn the_tree_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace");
        run(root).unwrap();
    }
}
