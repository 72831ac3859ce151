//! A store of one resource, kept from list and watch.
//!
//! The first read is a WatchList where the server has it, else a paged list; then a watch follows, resumed by
//! resourceVersion as often as it ends. When the server has forgotten the version (410), everything is read again and
//! compared with the store, so that subscribers see only what really changed. One object that cannot be read as a `T`
//! is logged by name and its last readable state kept; it does not stop the stream.

use crate::backoff::random_fraction;
use crate::changes::{Changes, Subscriber};
use crate::client::{JSON, PARTIAL, unreadable};
use crate::list::Pages;
use crate::params::query;
use crate::watch::{self, Event, Item, Lines};
use crate::{Backoff, Client, Error, ListParams, Result, TransportError};
use api::{ObjectName, Resource};
use http_body_util::BodyExt;
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch as latest;

/// The first wait after a failure, and the longest: a server that was away for a second is used again within about
/// another, and one that was away for long within ten.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_CAP: Duration = Duration::from_secs(10);

/// The server is asked to end a watch after this long, times one to two, so that watches do not all end at once.
const WATCH_SECONDS: f64 = 300.0;

/// How much longer than asked a watch may be silent before its connection counts as dead.
const WATCH_MARGIN: Duration = Duration::from_secs(30);

/// How long the initial events of a WatchList may pause. A server too old to know the parameter sends the objects and
/// never the mark at their end: after this silence the reflector lists instead.
const WATCH_LIST_PATIENCE: Duration = Duration::from_secs(15);

/// A watch that ends sooner than this without an event counts as a failure, or a broken server would be asked in a
/// tight loop.
const SHORT_WATCH: Duration = Duration::from_secs(1);

/// What a reflector keeps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// Empty for all namespaces.
    pub namespace: String,
    /// Label selector.
    pub labels: String,
    /// Field selector.
    pub fields: String,
    /// Ask for kind and metadata only: `T` must be readable from a `PartialObjectMetadata`.
    pub metadata_only: bool,
}

impl Selection {
    /// Everything in all namespaces.
    pub fn all() -> Self {
        Self::default()
    }

    /// Kind and metadata of everything in all namespaces.
    pub fn metadata() -> Self {
        Self { metadata_only: true, ..Self::default() }
    }

    /// Everything in one namespace.
    pub fn namespace(namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), ..Self::default() }
    }

    /// The same, for objects with these labels only.
    #[must_use]
    pub fn with_labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = selector.into();
        self
    }

    /// The same, for objects with these fields only.
    #[must_use]
    pub fn with_fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = selector.into();
        self
    }
}

/// A live store of one resource. Clones share it; the watch ends when the last is dropped.
pub struct Reflector<T> {
    shared: Arc<Shared<T>>,
    _task: Arc<AbortOnDrop>,
}

impl<T> Clone for Reflector<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), _task: self._task.clone() }
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Shared<T> {
    store: RwLock<Store<T>>,
    synced: latest::Sender<bool>,
    error: Mutex<Option<Arc<Error>>>,
}

struct Entry<T> {
    /// Of the resourceVersion, to know an object that has not changed since.
    version: u64,
    /// In which reading of everything the object was last seen.
    epoch: u32,
    value: Arc<T>,
}

struct Store<T> {
    entries: HashMap<ObjectName, Entry<T>>,
    epoch: u32,
    subscribers: Vec<Weak<Subscriber<T>>>,
}

impl<T> Store<T> {
    fn tell(&mut self, name: &ObjectName, before: Option<&Arc<T>>, after: Option<&Arc<T>>) {
        self.subscribers.retain(|subscriber| match subscriber.upgrade() {
            Some(subscriber) => {
                subscriber.push(name, before.cloned(), after.cloned());
                true
            }
            None => false,
        });
    }

    /// Whether the object is known at this version; then it is marked as seen.
    fn knows(&mut self, name: &ObjectName, version: u64) -> bool {
        match self.entries.get_mut(name) {
            Some(entry) if entry.version == version => {
                entry.epoch = self.epoch;
                true
            }
            _ => false,
        }
    }

    fn upsert(&mut self, name: ObjectName, version: u64, value: T) {
        let value = Arc::new(value);
        let entry = Entry { version, epoch: self.epoch, value: value.clone() };
        let before = self.entries.insert(name.clone(), entry).map(|entry| entry.value);
        self.tell(&name, before.as_ref(), Some(&value));
    }

    /// Marks an object as seen whose new state cannot be read.
    fn keep(&mut self, name: &ObjectName) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.epoch = self.epoch;
        }
    }

    fn remove(&mut self, name: &ObjectName) {
        if let Some(entry) = self.entries.remove(name) {
            self.tell(name, Some(&entry.value), None);
        }
    }

    /// Begins to read everything again.
    fn begin(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Everything has been read: what was not seen is gone.
    fn finish(&mut self) {
        let gone: Vec<ObjectName> =
            self.entries.iter().filter(|(_, entry)| entry.epoch != self.epoch).map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.remove(&name);
        }
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Reflector<T> {
    /// Starts to read and watch. Must be called within a tokio runtime.
    pub fn start(client: Client, resource: Resource, selection: Selection) -> Self {
        let store = Store { entries: HashMap::new(), epoch: 0, subscribers: Vec::new() };
        let shared =
            Arc::new(Shared { store: RwLock::new(store), synced: latest::Sender::new(false), error: Mutex::new(None) });
        let source = Source {
            client,
            what: resource.group_resource().to_string(),
            resource,
            params: ListParams { labels: selection.labels, fields: selection.fields, limit: 0 },
            namespace: selection.namespace,
            partial: selection.metadata_only,
            shared: shared.clone(),
            watch_list: true,
        };
        let task = tokio::spawn(source.run());
        Self { shared, _task: Arc::new(AbortOnDrop(task.abort_handle())) }
    }
}

impl<T> Reflector<T> {
    /// Waits until everything has been read once. While the server refuses or is away it goes on waiting:
    /// [`Self::error`] says why.
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        // The sender lives in `shared`, which lives as long as `self`.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// Whether everything has been read once.
    pub fn is_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// Why the server cannot be read or watched right now; nothing when all is well.
    pub fn error(&self) -> Option<Arc<Error>> {
        self.shared.error.lock().clone()
    }

    /// One object.
    pub fn get(&self, name: &ObjectName) -> Option<Arc<T>> {
        self.shared.store.read().entries.get(name).map(|entry| entry.value.clone())
    }

    /// All objects, in no particular order.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.shared.store.read().entries.values().map(|entry| entry.value.clone()).collect()
    }

    /// The names of all objects, in no particular order.
    pub fn names(&self) -> Vec<ObjectName> {
        self.shared.store.read().entries.keys().cloned().collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.shared.store.read().entries.len()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The changes of the store, beginning with an appearance of each object that is there.
    pub fn subscribe(&self) -> Changes<T> {
        let subscriber = Subscriber::new();
        let mut store = self.shared.store.write();
        for (name, entry) in &store.entries {
            subscriber.push(name, None, Some(entry.value.clone()));
        }
        store.subscribers.push(Arc::downgrade(&subscriber));
        Changes { subscriber }
    }
}

/// The task behind a reflector.
struct Source<T> {
    client: Client,
    resource: Resource,
    /// The resource, for logs.
    what: String,
    namespace: String,
    params: ListParams,
    partial: bool,
    shared: Arc<Shared<T>>,
    /// Whether to try a WatchList: not again after the server has shown that it has none.
    watch_list: bool,
}

/// Where a reflector stands.
enum State {
    /// Nothing known, or the known version is forgotten: read everything.
    Start,
    /// Everything up to this version is in the store.
    At(String),
}

/// How a watch ended.
enum Ended {
    /// As it should: by its time, or by a connection that closed. Continue from here.
    Continue(String),
    /// The server has no WatchList.
    NoWatchList,
}

impl<T: DeserializeOwned + Send + Sync + 'static> Source<T> {
    async fn run(mut self) {
        let mut state = State::Start;
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CAP);
        loop {
            let stopwatch = clock::Stopwatch::start();
            let step = match &state {
                State::Start if self.watch_list => {
                    self.shared.store.write().begin();
                    let mut progress = Progress { initial: true, version: String::new(), events: 0 };
                    let ended = self.watch(&mut progress).await;
                    let Progress { initial, version, events } = progress;
                    // A stream that broke after its initial events left the store complete up to its last version.
                    if !initial { (self.resume(version, ended), events) } else { (self.retry(ended), events) }
                }
                State::Start => {
                    self.shared.store.write().begin();
                    (self.list().await.map(State::At), 1)
                }
                State::At(version) => {
                    let mut progress = Progress { initial: false, version: version.clone(), events: 0 };
                    let ended = self.watch(&mut progress).await;
                    (self.resume(progress.version, ended), progress.events)
                }
            };
            let (next, events) = step;
            let quick = events == 0 && stopwatch.elapsed() < SHORT_WATCH;
            match next {
                Ok(next) => {
                    state = next;
                    if quick && matches!(state, State::At(_)) {
                        tokio::time::sleep(backoff.next_delay()).await;
                    } else {
                        backoff.reset();
                    }
                }
                Err((next, error)) => {
                    if events > 0 {
                        backoff.reset();
                    }
                    let delay = backoff.next_delay();
                    self.report(&error, delay);
                    *self.shared.error.lock() = Some(Arc::new(error));
                    state = next;
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }

    /// A failure that repeats is told once at warning level; a first hiccup only at debug.
    fn report(&self, error: &Error, delay: Duration) {
        let what = &self.what;
        let repeated = self.shared.error.lock().is_some();
        if repeated {
            tracing::debug!("{what}: still cannot watch, next try in {delay:?}: {error}");
        } else {
            tracing::warn!("{what}: cannot watch, next try in {delay:?}: {error}");
        }
    }

    /// What follows a watch that had a complete store behind it.
    fn resume(&mut self, version: String, ended: Result<Ended>) -> Result<State, (State, Error)> {
        match ended {
            Ok(Ended::Continue(version)) => Ok(State::At(version)),
            Ok(Ended::NoWatchList) => Ok(State::Start),
            Err(error) if error.is_gone() || is_future_version(&error) => {
                tracing::debug!("{}: reads everything again: {error}", self.what);
                Ok(State::Start)
            }
            Err(error) => Err((State::At(version), error)),
        }
    }

    /// What follows a WatchList that broke before it was complete.
    fn retry(&mut self, ended: Result<Ended>) -> Result<State, (State, Error)> {
        match ended {
            Ok(Ended::NoWatchList) => {
                self.watch_list = false;
                Ok(State::Start)
            }
            Ok(Ended::Continue(_)) => {
                let cause = TransportError::Lost { server: "the server".into(), cause: "the watch ended early".into() };
                Err((State::Start, Error::Transport { request: format!("WATCH {}", self.what), cause }))
            }
            // 400 and 422: the server refuses the parameter.
            Err(error) if error.is_invalid() => {
                tracing::debug!("{}: lists, since the server has no WatchList: {error}", self.what);
                self.watch_list = false;
                Ok(State::Start)
            }
            Err(error) => Err((State::Start, error)),
        }
    }

    async fn list(&self) -> Result<String, (State, Error)> {
        let failed = |error| (State::Start, error);
        let mut version = String::new();
        let mut pages = Pages::new(&self.client, &self.resource, &self.namespace, &self.params, self.partial);
        while let Some(page) = pages.next().await.map_err(failed)? {
            if page.restarted {
                self.shared.store.write().begin();
            }
            let read = page.read().map_err(failed)?;
            for json in &read.items {
                self.upsert(&watch::parse_item(json, &self.what).map_err(failed)?);
            }
            version = read.resource_version;
        }
        self.complete();
        Ok(version)
    }

    /// The store holds everything.
    fn complete(&self) {
        self.shared.store.write().finish();
        *self.shared.error.lock() = None;
        self.shared.synced.send_replace(true);
    }

    fn upsert(&self, item: &Item<'_>) {
        let version = hashed(&item.resource_version);
        if self.shared.store.write().knows(&item.name, version) {
            return;
        }
        match serde_json::from_str::<T>(item.json) {
            Ok(value) => self.shared.store.write().upsert(item.name.clone(), version, value),
            Err(cause) => {
                tracing::warn!("{}", unreadable(&self.resource.kind, &item.name, &cause));
                self.shared.store.write().keep(&item.name);
            }
        }
    }

    /// One watch from beginning to end.
    async fn watch(&self, progress: &mut Progress) -> Result<Ended> {
        let seconds = WATCH_SECONDS * (1.0 + random_fraction());
        let timeout = Duration::from_secs_f64(seconds) + WATCH_MARGIN;
        let seconds = format!("{seconds:.0}");
        let mut parameters = vec![
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", &seconds),
            ("labelSelector", &self.params.labels),
            ("fieldSelector", &self.params.fields),
        ];
        let version = progress.version.clone();
        if progress.initial {
            parameters.extend([("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]);
        } else {
            parameters.push(("resourceVersion", &version));
        }
        let path = format!("{}{}", self.resource.collection_path(&self.namespace), query(&parameters));
        let accept = if self.partial { PARTIAL } else { JSON };
        let request = http::Request::get(path).header(http::header::ACCEPT, accept).body(bytes::Bytes::new());
        let request = request.map_err(|cause| Error::Request(format!("cannot watch {}: {cause}", self.what)))?;
        let mut body = self.client.request(request).await?.into_body();
        if !progress.initial {
            *self.shared.error.lock() = None;
        }
        let mut lines = Lines::default();
        loop {
            let patience = if progress.initial { WATCH_LIST_PATIENCE } else { timeout };
            let frame = match tokio::time::timeout(patience, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => return Ok(Ended::Continue(progress.version.clone())),
                Ok(Some(Err(cause))) => {
                    // A connection that closes under a long watch is no news: resume at once, connect errors will tell.
                    tracing::debug!("{}: the watch was cut: {cause}", self.what);
                    return Ok(Ended::Continue(progress.version.clone()));
                }
                Err(_) if progress.initial => return Ok(Ended::NoWatchList),
                Err(_) => return Ok(Ended::Continue(progress.version.clone())),
            };
            let Ok(data) = frame.into_data() else { continue };
            lines.push(data)?;
            while let Some(line) = lines.next() {
                self.event(&line, progress)?;
            }
        }
    }

    fn event(&self, line: &[u8], progress: &mut Progress) -> Result<()> {
        progress.events += 1;
        match watch::parse_event(line)? {
            Event::Upsert(item) => {
                self.upsert(&item);
                progress.advance(&item.resource_version);
            }
            Event::Delete(item) => {
                self.shared.store.write().remove(&item.name);
                progress.advance(&item.resource_version);
            }
            Event::Bookmark { resource_version, initial_events_end } => {
                progress.version = resource_version;
                if initial_events_end && progress.initial {
                    progress.initial = false;
                    self.complete();
                }
            }
            Event::Failure(status) => return Err(Error::Status(status)),
        }
        Ok(())
    }
}

/// How far a watch has come.
struct Progress {
    /// Whether the initial events of a WatchList are still coming: they are in no order, so none of them is a version
    /// to resume from.
    initial: bool,
    version: String,
    events: u64,
}

impl Progress {
    fn advance(&mut self, version: &str) {
        if !self.initial && self.version != version {
            version.clone_into(&mut self.version);
        }
    }
}

/// A server that lost its data, or was restored from a backup, does not know the version that we come with.
fn is_future_version(error: &Error) -> bool {
    error
        .status()
        .and_then(|status| status.details.as_ref())
        .is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "ResourceVersionTooLarge"))
}

fn hashed(version: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    version.hash(&mut hasher);
    hasher.finish()
}
