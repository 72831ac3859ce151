//! What `cargo test` plays of the simulation: few seeds of each kind; `cargo xtask sim` plays many.

use std::path::Path;
use std::{env, fs};

#[test]
fn the_index_agrees_with_the_rules_on_random_histories() {
    for seed in 0..200 {
        sim::history::play(seed).unwrap();
    }
}

#[test]
fn the_whole_system_under_random_faults() {
    // Beside the first one, those that found something.
    for seed in [0, 10, 24, 41, 304] {
        sim::chaos::play(seed).unwrap();
    }
}

#[test]
fn a_restart_of_every_process_writes_nothing() {
    sim::restart::play(20, 5).unwrap();
}

/// Scenarios are text: `KUBESTELLAR_SCENARIOS=write cargo test -p sim` writes the outputs anew.
#[test]
fn scenarios_show_what_they_showed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let write = env::var("KUBESTELLAR_SCENARIOS").is_ok_and(|mode| mode == "write");
    let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let scenarios: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "txt")).collect();
    assert!(scenarios.len() >= 15, "{} scenarios in {}", scenarios.len(), folder.display());
    let mut failures = Vec::new();
    for scenario in scenarios {
        let name = scenario.file_stem().unwrap().to_string_lossy().into_owned();
        let golden = scenario.with_extension("out");
        match sim::scenario::play(&fs::read_to_string(&scenario).unwrap()) {
            Err(error) => failures.push(format!("{name}: {error:?}")),
            Ok(shown) if write => fs::write(&golden, shown).unwrap(),
            Ok(shown) => {
                let expected = fs::read_to_string(&golden).unwrap_or_default();
                if shown != expected {
                    failures.push(format!("{name} shows\n{shown}\nand showed\n{expected}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
