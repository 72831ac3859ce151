//! The store from outside: what it promises, on both engines.

#![allow(clippy::unwrap_used)] // a test says what failed by where it failed

mod commit;
mod crash;
mod footprint;
mod kill;
mod model;
mod private;
mod watch;

use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use store::{Collection, Committed, Entry, Expect, Key, Limits, Meta, OpenError, Revision, Stamped, Store, Write};

/// Derives the length of the value: shows that meta is read from the stamped bytes.
pub struct Size(pub usize);

impl Meta for Size {
    fn read(_: &Key, value: &Bytes) -> Self {
        Self(value.len())
    }
}

pub type TestStore = Store<Size>;

pub fn memory_store() -> TestStore {
    Store::open(store::memory(), Limits::default()).unwrap()
}

pub fn disk_store(dir: &Path) -> Result<TestStore, OpenError> {
    Store::open(store::open_disk(dir, clock::system())?, Limits::default())
}

pub fn pods() -> Collection {
    Collection::new("wds1", "pods")
}

pub fn pod(namespace: &str, name: &str) -> Key {
    Key::new(pods(), namespace, name)
}

/// A value that carries its revision.
pub fn value(text: &str) -> Stamped {
    Stamped::new("{\"r\":".to_owned(), format!(",\"v\":\"{text}\"}}"))
}

pub fn put(store: &TestStore, key: Key, text: &str) -> Committed<Size> {
    store.commit(key, Expect::Any, Write::Put(value(text))).unwrap()
}

pub fn delete(store: &TestStore, key: Key) -> Committed<Size> {
    store.commit(key, Expect::Any, Write::Delete(value("gone"))).unwrap()
}

/// `namespace/name@modified` of each.
pub fn names(entries: &[Arc<Entry<Size>>]) -> Vec<String> {
    entries.iter().map(|e| format!("{}/{}@{}", e.key.namespace, e.key.name, e.modified)).collect()
}

pub fn rev(revision: u64) -> Revision {
    Revision(revision)
}
