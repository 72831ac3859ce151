//! Files of the log are for their owner only.

use crate::{disk_store, pod, put, rev};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[track_caller]
fn check_private(store: &Path) {
    assert_eq!(mode(store), 0o700, "{}", store.display());
    let mut files = 0;
    for entry in fs::read_dir(store).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert!(files >= 3, "the lock, the mark and a log, not {files} files");
}

#[tokio::test]
async fn files_are_made_for_their_owner_only() {
    let above = tempfile::tempdir().unwrap();
    fs::set_permissions(above.path(), Permissions::from_mode(0o755)).unwrap();
    let folder = above.path().join("data").join("store");
    let store = disk_store(&folder).unwrap();
    store.durable(put(&store, pod("ns", "a"), "1").revision).await.unwrap();
    check_private(&folder);
    store.close().await;
    assert_eq!(mode(above.path()), 0o755, "what is above is not the store's");
}

#[tokio::test]
async fn what_an_earlier_version_left_open_is_closed() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("store");
    let store = disk_store(&folder).unwrap();
    store.durable(put(&store, pod("ns", "a"), "1").revision).await.unwrap();
    store.close().await;
    drop(store);
    for entry in fs::read_dir(&folder).unwrap() {
        fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(0o644)).unwrap();
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    let store = disk_store(&folder).unwrap();
    check_private(&folder);
    assert_eq!(store.head(), rev(1), "and it is read as before");
    store.close().await;
}
