//! The disk engine after crashes, truncation, flipped bits, lost files: everything acknowledged, or a clear error.

use crate::*;
use std::path::PathBuf;
use store::{EngineError, Visibility};

/// What a directory held at one moment: names and bytes.
fn snapshot(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn restore(files: &[(String, Vec<u8>)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn log_name(files: &[(String, Vec<u8>)]) -> usize {
    files.iter().rposition(|(name, _)| name.starts_with("tail-")).unwrap()
}

async fn commit_all(store: &TestStore, count: u64) {
    for index in 0..count {
        let committed = put(store, pod("ns", &format!("p{}", index % 10)), &"x".repeat(50 + index as usize));
        store.durable(committed.revision).await.unwrap();
    }
}

fn cause(error: &OpenError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// Opens what was left and hands out the head, or the error's text. Quicker than [`reopen`], for thousands of cases.
async fn open_only(files: &[(String, Vec<u8>)]) -> Result<u64, String> {
    let dir = restore(files);
    let store = disk_store(dir.path()).map_err(|error| cause(&error))?;
    store.close().await;
    Ok(store.head().0)
}

/// The same, and then goes on writing and opens once more.
async fn reopen(files: &[(String, Vec<u8>)]) -> Result<u64, String> {
    let dir = restore(files);
    match disk_store(dir.path()) {
        Ok(store) => {
            let head = store.head().0;
            // Whatever was recovered is whole, and can be written to and read again.
            for entry in store.page(&pods(), None, None, 0, None).unwrap().entries {
                assert!(entry.value.starts_with(format!("{{\"r\":{},", entry.modified).as_bytes()));
            }
            let committed = put(&store, pod("ns", "after"), "x");
            assert_eq!(committed.revision.0, head + 1);
            store.durable(committed.revision).await.unwrap();
            store.close().await;
            let store = disk_store(dir.path()).unwrap();
            assert_eq!(store.head().0, head + 1);
            store.close().await;
            Ok(head)
        }
        Err(error) => Err(cause(&error)),
    }
}

#[tokio::test]
async fn everything_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = disk_store(dir.path()).unwrap();
    commit_all(&store, 30).await;
    delete(&store, pod("ns", "p3"));
    let before = names(&store.page(&pods(), None, None, 0, None).unwrap().entries);
    store.close().await;
    for _ in 0..3 {
        let store = disk_store(dir.path()).unwrap();
        assert_eq!(names(&store.page(&pods(), None, None, 0, None).unwrap().entries), before);
        assert_eq!((store.head(), store.durable_head(), store.oldest()), (rev(31), rev(31), rev(0)));
        let entry = store.get(&pod("ns", "p4")).unwrap();
        assert_eq!((entry.created, entry.modified), (rev(5), rev(25)));
        // A watcher resumes by revision across the restart.
        let mut watch = store.watch(&pods(), None, rev(28), Visibility::Durable).unwrap();
        let events = watch.next().await.unwrap();
        assert_eq!(events.iter().map(|event| event.revision.0).collect::<Vec<_>>(), [29, 30, 31]);
        assert_eq!(events[2].previous.as_ref().unwrap().modified, rev(24));
        drop(watch);
        store.close().await;
    }
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = disk_store(dir.path()).unwrap();
    let error = disk_store(dir.path()).err().unwrap().to_string();
    assert!(error.contains(&format!("in use by process {} (since ", std::process::id())), "{error}");
    store.close().await;
    disk_store(dir.path()).unwrap().close().await;
}

#[tokio::test]
async fn every_append_is_a_crash_point() {
    let dir = tempfile::tempdir().unwrap();
    let store = disk_store(dir.path()).unwrap();
    for acknowledged in 1..=25u64 {
        let committed = put(&store, pod("ns", &format!("p{}", acknowledged % 4)), "some text");
        store.durable(committed.revision).await.unwrap();
        let files = snapshot(dir.path());
        assert_eq!(reopen(&files).await, Ok(acknowledged));
    }
    store.close().await;
}

/// Where each frame of a log begins, and the end of the last.
fn frames(log: &[u8]) -> Vec<usize> {
    let mut at = 32;
    let mut starts = vec![at];
    while log[at..at + 4] == *b"ksfr" {
        let len = u32::from_le_bytes(log[at + 8..at + 12].try_into().unwrap()) as usize;
        at += (32 + len).next_multiple_of(8);
        starts.push(at);
    }
    starts
}

/// A directory with `count` acknowledged commits, closed.
async fn written(count: u64) -> Vec<(String, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    let store = disk_store(dir.path()).unwrap();
    commit_all(&store, count).await;
    store.close().await;
    snapshot(dir.path())
}

#[tokio::test]
async fn a_cut_log_is_an_error_unless_nothing_acknowledged_is_missing() {
    let files = written(12).await;
    let log = log_name(&files);
    let starts = frames(&files[log].1);
    for cut in (0..files[log].1.len()).step_by(4099).chain((starts[10]..starts[12] + 64).step_by(5)) {
        let mut cut_files = files.clone();
        cut_files[log].1.truncate(cut);
        match reopen(&cut_files).await {
            Ok(head) => assert!(head == 12 && cut + 8 > starts[12], "cut at {cut}: {head}"),
            Err(error) => assert!(error.contains("tail-00000000000000000001.log"), "cut at {cut}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_torn_last_write_is_dropped_and_nothing_else() {
    // The mark of a moment before: as after a loss of power during the last sync.
    let dir = tempfile::tempdir().unwrap();
    let store = disk_store(dir.path()).unwrap();
    commit_all(&store, 11).await;
    store.close().await;
    let before = snapshot(dir.path());
    let store = disk_store(dir.path()).unwrap();
    commit_all(&store, 1).await;
    store.close().await;
    let mut files = snapshot(dir.path());
    let log = log_name(&files);
    let starts = frames(&files[log].1);
    files[log].1.truncate(starts[12] + 4096);
    let mark = files.iter().position(|(name, _)| name == "acknowledged").unwrap();
    files[mark] = before[mark].clone();
    for torn in (starts[11]..starts[12]).step_by(3) {
        let mut torn_files = files.clone();
        if torn_files[log].1[torn..starts[12]].iter().all(|byte| *byte == 0) {
            continue; // only padding would be missing
        }
        torn_files[log].1[torn..starts[12]].fill(0);
        assert_eq!(open_only(&torn_files).await, Ok(11), "torn at {torn}");
        torn_files[log].1[torn..starts[12]].copy_from_slice(&files[log].1[torn..starts[12]]);
        torn_files[log].1[starts[11]..torn].fill(0);
        if torn > starts[11] {
            assert_eq!(open_only(&torn_files).await, Ok(11), "begun late at {torn}");
        }
    }
    let mut torn = files.clone();
    torn[log].1[starts[11] + 50..starts[12]].fill(0);
    assert_eq!(reopen(&torn).await, Ok(11), "and goes on from there");
    // The same tear one frame earlier is damage, whatever the mark says: what follows proves that it was synced.
    let mut damaged = files.clone();
    damaged[log].1[starts[10] + 40] ^= 1;
    assert!(reopen(&damaged).await.unwrap_err().contains("is damaged at byte"));
}

#[tokio::test]
async fn a_flipped_bit_is_an_error_and_never_silent() {
    let mut files = written(12).await;
    let log = log_name(&files);
    let end = frames(&files[log].1)[12];
    files[log].1.truncate(end + 4096); // fewer zeros to write, thousands of times
    let mut errors = 0;
    for (index, (name, bytes)) in files.iter().enumerate() {
        if name == "lock" {
            continue;
        }
        // Every byte that was written, one bit of each, and some of the zeros after them.
        let len = if index == log { end } else { bytes.len() };
        for at in (0..len).chain((len..bytes.len()).step_by(509)) {
            let mut flipped = files.clone();
            flipped[index].1[at] ^= 1 << (at % 8);
            match open_only(&flipped).await {
                Ok(head) => assert_eq!(head, 12, "{name} at {at}"),
                Err(error) => {
                    assert!(error.contains(".log"), "{name} at {at}: {error}");
                    errors += 1;
                }
            }
        }
    }
    assert!(errors > 1000, "{errors}");
}

#[tokio::test]
async fn a_lost_file_is_an_error() {
    let files = written(12).await;
    for name in ["tail-"] {
        let mut lost = files.clone();
        lost.retain(|(file, _)| !file.starts_with(name));
        assert!(reopen(&lost).await.unwrap_err().contains("revision 12 was acknowledged"));
    }
    let mut lost = files.clone();
    lost.retain(|(file, _)| file != "acknowledged" && file != "lock");
    assert_eq!(reopen(&lost).await, Ok(12), "the mark only sharpens the judgement");
}

#[tokio::test]
async fn a_foreign_file_is_named() {
    let mut files = written(1).await;
    let log = log_name(&files);
    files[log].1[0] = b'X';
    assert!(reopen(&files).await.unwrap_err().contains("is not a log of this program"));
}

/// Writes so much, and deletes so much of it, that the log is compacted several times.
async fn churn(dir: &Path) -> (TestStore, usize) {
    let limits = Limits { max_events: 200, ..Limits::default() };
    let store: TestStore = Store::open(store::open_disk(dir, clock::system()).unwrap(), limits).unwrap();
    let text = "x".repeat(20_000);
    let mut bases = 0;
    for round in 0..40u64 {
        for index in 0..50u64 {
            put(&store, pod("ns", &format!("p{index}")), &text);
            if index % 10 == 0 {
                put(&store, pod("gone", &format!("g{round}-{index}")), &text);
                delete(&store, pod("gone", &format!("g{round}-{index}")));
            }
        }
        store.durable(store.head()).await.unwrap();
        bases = bases.max(log_files(dir, "base-").len());
    }
    (store, bases)
}

fn log_files(dir: &Path, kind: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(kind)).collect()
}

#[tokio::test]
async fn compaction_bounds_the_log_and_keeps_what_lives() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = churn(dir.path()).await;
    let before = names(&store.page(&pods(), None, None, 0, None).unwrap().entries);
    assert_eq!(before.len(), 50);
    let (head, oldest) = (store.head(), store.oldest());
    store.close().await;
    assert!(!log_files(dir.path(), "base-").is_empty(), "it was compacted");
    let bytes: u64 = snapshot(dir.path()).iter().map(|(_, bytes)| bytes.len() as u64).sum();
    assert!(bytes < 30 << 20, "48 MB were written, {bytes} bytes are left");
    let store = disk_store(dir.path()).unwrap();
    assert_eq!(names(&store.page(&pods(), None, None, 0, None).unwrap().entries), before);
    assert_eq!(store.head(), head);
    assert!(store.oldest() <= oldest);
    assert!(store.get(&pod("gone", "g0-0")).is_none());
    let entry = store.get(&pod("ns", "p7")).unwrap();
    assert_eq!(entry.created, rev(12 - 2), "live keys stay under their own revisions");
    store.close().await;
}

#[tokio::test]
async fn any_moment_of_a_compaction_is_a_crash_point() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = churn(dir.path()).await;
    store.close().await;
    let files = snapshot(dir.path());
    let store = disk_store(dir.path()).unwrap();
    let (head, live) = (store.head().0, names(&store.page(&pods(), None, None, 0, None).unwrap().entries));
    store.close().await;
    // Killed before the rename: a half written base lies beside.
    let mut half = files.clone();
    let base = half.iter().position(|(name, _)| name.starts_with("base-")).unwrap();
    let bytes = half[base].1.clone();
    half.push((format!("base-{head:020}.tmp"), bytes[..bytes.len() / 2].to_vec()));
    assert_eq!(reopen(&half).await, Ok(head));
    // Killed after the rename: what it replaces is still there.
    let mut both = files.clone();
    both.push(("tail-00000000000000000001.log".to_owned(), b"replaced".to_vec()));
    both.push(("base-00000000000000000001.log".to_owned(), b"replaced".to_vec()));
    let dir = restore(&both);
    let store = disk_store(dir.path()).unwrap();
    assert_eq!(names(&store.page(&pods(), None, None, 0, None).unwrap().entries), live);
    store.close().await;
    assert!(!dir.path().join("tail-00000000000000000001.log").exists());
    // A base that was cut or lost is an error.
    for cut in [40, bytes.len() / 2, bytes.len() - 40] {
        let mut cut_files = files.clone();
        cut_files[base].1.truncate(cut);
        assert!(reopen(&cut_files).await.unwrap_err().contains("base-"), "cut at {cut}");
    }
    let mut lost = files.clone();
    lost.remove(base);
    assert!(reopen(&lost).await.unwrap_err().contains("it begins at revision"));
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let damaged = EngineError::Damaged { path: "tail-1.log".into(), offset: 40, what: "why".into() };
    assert_eq!(damaged.to_string(), "tail-1.log is damaged at byte 40: why; restore the data directory from a backup");
}
