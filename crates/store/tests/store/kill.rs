//! kill -9 of a process that writes: nothing that it acknowledged is lost.

use crate::*;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

/// Set in the process that the test spawns: where it writes.
const DIR: &str = "STORE_TEST_KILL_DIR";

/// Runs one test of this binary again, in a process of its own.
pub(crate) fn spawn_self(test: &str, variable: &str, content: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(variable, content)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Writes for ever from four tasks, and prints each revision that was acknowledged.
async fn write_for_ever(dir: &Path) {
    let store = disk_store(dir).unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for index in 0u64.. {
                    let name = format!("t{task}-{index}");
                    let committed = put(&store, pod("ns", &name), "x");
                    store.durable(committed.revision).await.unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "ack: {} {name}", committed.revision).unwrap();
                    out.flush().unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_writer_loses_nothing_acknowledged() {
    if let Some(dir) = std::env::var_os(DIR) {
        return write_for_ever(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(u64, String)> = Vec::new();
    for round in 1..=4 {
        let mut child =
            spawn_self("kill::a_killed_writer_loses_nothing_acknowledged", DIR, dir.path().to_str().unwrap());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines.by_ref() {
            let line = line.unwrap();
            let Some((_, rest)) = line.split_once("ack: ") else { continue };
            let (revision, name) = rest.split_once(' ').unwrap();
            acknowledged.push((revision.parse().unwrap(), name.to_owned()));
            seen += 1;
            if seen == round * 150 {
                child.kill().unwrap();
                break;
            }
        }
        // Lines that were printed before the kill came through are acknowledgements too; the last may be half a line.
        for line in lines.map_while(Result::ok) {
            if let Some((revision, name)) = line.strip_prefix("ack: ").and_then(|rest| rest.split_once(' '))
                && name.starts_with('t')
                && unseen(&acknowledged, revision)
            {
                acknowledged.push((revision.parse().unwrap(), name.to_owned()));
            }
        }
        child.wait().unwrap();
        let store = disk_store(dir.path()).unwrap();
        let latest = acknowledged.iter().map(|(revision, _)| *revision).max().unwrap();
        assert!(store.head().0 >= latest);
        let mut events = store.follow(rev(0), store::Visibility::Durable).unwrap();
        let mut history = std::collections::BTreeMap::new();
        while history.len() < usize::try_from(store.head().0).unwrap() {
            for event in events.next().await.unwrap() {
                history.insert(event.revision.0, event.entry.key.name.to_string());
            }
        }
        for (revision, name) in &acknowledged {
            assert_eq!(history.get(revision), Some(name), "revision {revision} after kill {round}");
        }
        drop(events);
        store.close().await;
    }
}

/// Whether this revision was not seen yet: a line cut by the kill could repeat the beginning of a number.
fn unseen(acknowledged: &[(u64, String)], revision: &str) -> bool {
    revision.parse().is_ok_and(|revision: u64| acknowledged.iter().all(|(seen, _)| *seen != revision))
}
