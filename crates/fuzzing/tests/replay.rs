//! The inputs that are kept go through their targets again, with the compiler that everything else is built with: seeds
//! in `fuzz/corpus`, and in `fuzz/crashes` those that once showed a defect.

use fuzzing::{INPUT_BYTES_MAX, TARGETS, run};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(name)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut entries: Vec<_> = read.map(|entry| entry.expect("a folder that can be read").path()).collect();
    entries.sort();
    entries
}

fn name(path: &Path) -> String {
    path.file_name().expect("entries of folders have names").to_string_lossy().into_owned()
}

/// Runs all inputs of a folder of targets; says which target has how many.
fn replay(folder: &Path) -> Vec<(String, usize)> {
    let mut counted = Vec::new();
    for target in entries(folder) {
        let inputs = entries(&target);
        for path in &inputs {
            // Printed if it panics.
            eprintln!("{}", path.display());
            run(&name(&target), &fs::read(path).expect("an input can be read"));
        }
        counted.push((name(&target), inputs.len()));
    }
    counted
}

#[test]
fn kept_inputs_show_no_defect() {
    let seeds = replay(&folder("corpus"));
    replay(&folder("crashes"));
    for (target, _) in TARGETS {
        assert!(seeds.iter().any(|(held, count)| held == target && *count > 2), "{target} has no seeds: {seeds:?}");
    }
}

#[test]
fn every_target_has_a_program() {
    let programs: BTreeSet<_> = entries(&folder("fuzz_targets")).iter().map(|path| name(path)).collect();
    let targets: BTreeSet<_> = TARGETS.iter().map(|(target, _)| format!("{target}.rs")).collect();
    assert_eq!(programs, targets);
}

/// What no file should hold: nesting as deep, numbers as long and lists as wide as an input may be.
#[test]
fn the_worst_of_each_form() {
    for (target, _) in TARGETS {
        for unit in [
            "[",
            "{\"a\":",
            "(",
            "-",
            "!",
            "a.",
            "a[",
            "a:\n ",
            "- ",
            "&a [*a,",
            "..",
            "$.a",
            "9",
            "a in (b),",
            "?",
            "[1]+",
        ] {
            // Printed if it panics.
            eprintln!("{target}: {unit}");
            let times = INPUT_BYTES_MAX / unit.len();
            for close in ["", "]", ")", "}"] {
                run(target, format!("{}{}", unit.repeat(times / 2), close.repeat(times / 2)).as_bytes());
            }
            let inside = format!("{{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":{}", unit.repeat(times));
            run(target, inside.as_bytes());
            run(target, format!("{{\"a\":1}}\0{}", unit.repeat(times)).as_bytes());
            run(target, format!("{0}\0{0}", unit.repeat(times / 2)).as_bytes());
        }
    }
}
