//! The store: state in memory under one lock, and a committer behind it.

use crate::committer::{self, Pending};
use crate::engine::Engine;
use crate::entry::{Committed, Entry, Event, Expect, Meta, Page, Visibility, Write};
use crate::error::{Closed, CommitError, Compacted, OpenError};
use crate::key::{Collection, Key, Revision};
use crate::limits::{COMPACT_STEP, KEY_BYTES, Limits};
use crate::metrics::{BATCH_BOUNDS, Histogram, Metrics, SYNC_BOUNDS_MICROS};
use crate::state::{Bells, Selection, State};
use crate::watch::Watch;
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// The one ordered log of a process, and its state. Cheap to clone; the last clone that goes stops the committer.
pub struct Store<M: Meta> {
    handle: Arc<Handle<M>>,
}

impl<M: Meta> Clone for Store<M> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

/// Stops the committer when nobody can commit any more.
struct Handle<M: Meta> {
    shared: Arc<Shared<M>>,
}

impl<M: Meta> Drop for Handle<M> {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

/// How far the store is with its end.
#[derive(Debug, Clone, Default)]
struct Progress {
    closed: Option<Closed>,
    finished: bool,
}

#[derive(Debug)]
pub(crate) struct Samples {
    commits: u64,
    committed_bytes: u64,
    pub(crate) syncs: Histogram,
    pub(crate) batches: Histogram,
}

/// Shared by the handles, the watches and the committer.
pub(crate) struct Shared<M> {
    pub(crate) state: RwLock<State<M>>,
    /// Taken after `state` by a commit, so that records are queued in the order of their revisions.
    pub(crate) pending: Mutex<Pending>,
    pub(crate) wake: Condvar,
    pub(crate) samples: Mutex<Samples>,
    durable: AtomicU64,
    /// Who waits for a revision to be durable: woken when it is, and not with each batch before. Dropping a sender wakes
    /// as well.
    awaited: Mutex<BTreeMap<Revision, Vec<oneshot::Sender<()>>>>,
    progress: watch::Sender<Progress>,
    ages: Mutex<Ages>,
    limits: Limits,
}

/// Tells the age of history.
struct Ages {
    /// Which revision was the head when, about once a second.
    heads: VecDeque<(Revision, Duration)>,
    /// Everything up to here is older than is worth knowing.
    aged: Revision,
}

/// How finely the age of history is known.
const AGE_GRAIN: Duration = Duration::from_secs(1);

impl<M: Meta> Store<M> {
    /// Replays the engine's log and starts the committer.
    ///
    /// # Errors
    /// When the log cannot be read or is damaged.
    pub fn open(mut engine: Box<dyn Engine>, limits: Limits) -> Result<Self, OpenError> {
        let mut state = State::new();
        let mut removed = Vec::new();
        let mut damage = None;
        let bounds = limits.bounds(Revision::ZERO);
        engine.load(&mut |record| {
            if damage.is_none() {
                match state.replay(record) {
                    Ok(more) => removed.extend(more),
                    Err(error) => damage = Some(error),
                }
                let upto = Revision(state.head().0.saturating_sub(1));
                removed.extend(state.trim_excess(&bounds, upto, usize::MAX).removed);
            }
        })?;
        if let Some(error) = damage {
            return Err(error);
        }
        let head = state.head();
        let ages = Ages { heads: VecDeque::from([(head, limits.clock.monotonic())]), aged: Revision::ZERO };
        let samples = Samples {
            commits: 0,
            committed_bytes: 0,
            syncs: Histogram::new(&SYNC_BOUNDS_MICROS),
            batches: Histogram::new(&BATCH_BOUNDS),
        };
        let shared = Arc::new(Shared {
            state: RwLock::new(state),
            pending: Mutex::new(Pending { removed, ..Pending::default() }),
            wake: Condvar::new(),
            samples: Mutex::new(samples),
            durable: AtomicU64::new(head.0),
            awaited: Mutex::default(),
            progress: watch::Sender::new(Progress::default()),
            ages: Mutex::new(ages),
            limits,
        });
        let handle = Arc::new(Handle { shared: Arc::clone(&shared) });
        std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || committer::run(&shared, engine))
            .map_err(OpenError::Thread)?;
        Ok(Self { handle })
    }

    fn shared(&self) -> &Shared<M> {
        &self.handle.shared
    }

    /// Writes one key if it is as expected. When it returns, the write is appended: visible to readers of this process
    /// and to watchers that see what is appended. It is durable only after [`Store::durable`].
    ///
    /// # Errors
    /// When the key is not as expected, the value is too large, too much waits for the disk, or the store is closed.
    pub fn commit(&self, key: Key, expect: Expect, write: Write) -> Result<Committed<M>, CommitError<M>> {
        let shared = self.shared();
        let (size, limit) = (write.stamped().max_len(), shared.limits.value_bytes);
        if size > limit {
            return Err(CommitError::TooLarge { key, size, limit });
        }
        let size = key.longest();
        if size > KEY_BYTES {
            return Err(CommitError::TooLarge { key, size, limit: KEY_BYTES });
        }
        let mut bells = Bells::new();
        let committed = {
            let mut state = shared.state.write();
            let mut pending = shared.pending.lock();
            shared.check_open()?;
            if pending.bytes >= shared.limits.pending_bytes {
                return Err(CommitError::Busy { key, waiting: pending.bytes });
            }
            let (committed, record) = state.commit(key, expect, &write, &mut bells)?;
            pending.push(record);
            committed
        };
        shared.wake.notify_one();
        for bell in bells {
            bell.of(Visibility::Appended).notify_waiters();
        }
        let mut samples = shared.samples.lock();
        samples.commits += 1;
        samples.committed_bytes += committed.entry.value.len() as u64;
        Ok(committed)
    }

    /// Waits until everything up to `revision` would survive a crash; returns at once when it does already.
    ///
    /// # Errors
    /// When the store closed before that: whether the write survived is unknown.
    pub async fn durable(&self, revision: Revision) -> Result<(), Closed> {
        let shared = self.shared();
        if shared.durable_head() >= revision {
            return Ok(());
        }
        let reached = {
            let mut awaited = shared.awaited.lock();
            // Under the lock: whoever makes it so, or closes the store, takes the lock afterwards to tell.
            if shared.durable_head() >= revision {
                return Ok(());
            }
            shared.check_open()?;
            let (sender, reached) = oneshot::channel();
            awaited.entry(revision).or_default().push(sender);
            reached
        };
        // Woken by the one or by the other: which one is in the state.
        reached.await.ok();
        if shared.durable_head() >= revision { Ok(()) } else { shared.check_open() }
    }

    /// The revision of the last commit.
    #[must_use]
    pub fn head(&self) -> Revision {
        self.shared().state.read().head()
    }

    /// The last revision that would survive a crash.
    #[must_use]
    pub fn durable_head(&self) -> Revision {
        self.shared().durable_head()
    }

    /// The oldest revision after which a watch may resume, and whose state a page can show.
    #[must_use]
    pub fn oldest(&self) -> Revision {
        self.shared().state.read().oldest()
    }

    /// What a key holds, appended writes included.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<Entry<M>>> {
        self.shared().state.read().get(key).cloned()
    }

    /// Up to `limit` (0: all) entries of a collection, in the order of (namespace, name), after the place `after`, as
    /// they were at revision `at`; without it, or with one beyond the last, as they are.
    ///
    /// # Errors
    /// When `at` is older than the history that is kept.
    pub fn page(
        &self,
        collection: &Collection,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page<M>, Compacted> {
        self.shared().state.read().page(collection, namespace, after, limit, at)
    }

    /// The collections of a space that are not empty.
    #[must_use]
    pub fn collections(&self, space: &str) -> Vec<Collection> {
        self.shared().state.read().collections(space)
    }

    /// The spaces that hold anything.
    #[must_use]
    pub fn spaces(&self) -> Vec<Arc<str>> {
        self.shared().state.read().spaces()
    }

    /// How many keys a collection has.
    #[must_use]
    pub fn count(&self, collection: &Collection) -> usize {
        self.shared().state.read().count(collection)
    }

    /// Removes every key of a space. Each removal is a commit of its own with the last bytes as its final state, so
    /// watchers hear of it; all of them happen at once for readers. Returns the revision of the last, to wait for.
    ///
    /// # Errors
    /// When the store is closed.
    pub fn drop_space(&self, space: &str) -> Result<Revision, Closed> {
        let shared = self.shared();
        let mut bells = Bells::new();
        let head = {
            let mut state = shared.state.write();
            let mut pending = shared.pending.lock();
            shared.check_open()?;
            for entry in state.entries(space) {
                let (_, record) = state.remove(&entry, &mut bells);
                pending.push(record);
            }
            state.head()
        };
        shared.wake.notify_one();
        for bell in bells {
            bell.of(Visibility::Appended).notify_waiters();
        }
        Ok(head)
    }

    /// Watches a collection, or one namespace of it, from after a revision on.
    ///
    /// # Errors
    /// When `after` is older than the history that is kept.
    pub fn watch(
        &self,
        collection: &Collection,
        namespace: Option<&str>,
        after: Revision,
        visibility: Visibility,
    ) -> Result<Watch<M>, Compacted> {
        self.select(
            match namespace {
                None => Selection::Collection(collection.clone()),
                Some(namespace) => Selection::Namespace(collection.clone(), namespace.into()),
            },
            after,
            visibility,
        )
    }

    /// Watches every collection of every space.
    ///
    /// # Errors
    /// As [`Store::watch`].
    pub fn follow(&self, after: Revision, visibility: Visibility) -> Result<Watch<M>, Compacted> {
        self.select(Selection::Everything, after, visibility)
    }

    fn select(&self, selection: Selection, after: Revision, visibility: Visibility) -> Result<Watch<M>, Compacted> {
        let bell = self.shared().state.write().join(&selection, after)?;
        Ok(Watch::new(Arc::clone(&self.handle.shared), selection, visibility, bell, after))
    }

    /// Forgets all history but the youngest `keep` events (at least one, and whatever is not durable stays). History
    /// is also compacted by itself, within [`Limits`].
    pub fn compact(&self, keep: usize) {
        let shared = self.shared();
        let trimmed = {
            let mut state = shared.state.write();
            let most = state.events().saturating_sub(keep.max(1));
            let trimmed = state.trim(Revision(shared.durable_head().0.saturating_sub(1)), most);
            shared.pending.lock().removed.extend(&trimmed.removed);
            trimmed
        };
        shared.wake.notify_one();
        drop(trimmed);
    }

    /// Numbers of this moment.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let shared = self.shared();
        let (keys, bytes, events, event_bytes) = {
            let state = shared.state.read();
            (state.keys(), state.bytes(), state.events(), state.event_bytes())
        };
        let pending = shared.pending.lock().records.len();
        let samples = shared.samples.lock();
        Metrics {
            commits: samples.commits,
            committed_bytes: samples.committed_bytes,
            syncs: samples.syncs.clone(),
            batches: samples.batches.clone(),
            keys,
            bytes,
            events,
            event_bytes,
            pending,
        }
    }

    /// Takes no more commits, makes what was appended durable, and lets go of the engine.
    pub async fn close(&self) {
        let shared = self.shared();
        shared.stop();
        let mut progress = shared.progress.subscribe();
        progress.wait_for(|progress| progress.finished).await.expect("the sender lives as long as the store");
    }
}

impl<M> Shared<M> {
    pub(crate) fn durable_head(&self) -> Revision {
        Revision(self.durable.load(Ordering::Acquire))
    }

    /// Everything up to `revision` is durable: wakes who waits for that.
    pub(crate) fn set_durable(&self, revision: Revision) {
        let bells = {
            // Under the lock, so that no watcher joins, and no event is dropped, between the two.
            let state = self.state.read();
            let before = self.durable_head();
            self.durable.store(revision.0, Ordering::Release);
            state.bells(before, revision)
        };
        let reached = {
            let mut awaited = self.awaited.lock();
            let later = awaited.split_off(&Revision(revision.0 + 1));
            std::mem::replace(&mut *awaited, later)
        };
        drop(reached);
        for bell in bells {
            bell.of(Visibility::Durable).notify_waiters();
        }
    }

    /// How far a reader of this visibility may see.
    pub(crate) fn visible(&self, state: &State<M>, visibility: Visibility) -> Revision {
        match visibility {
            Visibility::Appended => state.head(),
            Visibility::Durable => self.durable_head(),
        }
    }

    pub(crate) fn check_open(&self) -> Result<(), Closed> {
        match &self.progress.borrow().closed {
            Some(closed) => Err(closed.clone()),
            None => Ok(()),
        }
    }

    /// Tells the committer to finish; commits fail from now on.
    fn stop(&self) {
        // Under the locks of a commit: a commit is either queued before the stop, or refused.
        let mut pending = self.pending.lock();
        pending.stop = true;
        self.refuse("it was closed");
        drop(pending);
        self.wake.notify_one();
    }

    fn refuse(&self, reason: &str) {
        self.progress.send_if_modified(|progress| {
            let first = progress.closed.is_none();
            if first {
                progress.closed = Some(Closed { reason: reason.into() });
            }
            first
        });
        drop(std::mem::take(&mut *self.awaited.lock()));
    }

    /// Refuses everything from now on and wakes everybody to tell them.
    pub(crate) fn close(&self, reason: &str) {
        self.refuse(reason);
        let mut pending = self.pending.lock();
        pending.records = VecDeque::new();
        pending.bytes = 0;
        pending.stop = true;
        drop(pending);
        for bell in self.state.read().all_bells() {
            bell.of(Visibility::Appended).notify_waiters();
            bell.of(Visibility::Durable).notify_waiters();
        }
    }

    /// The engine is let go of.
    pub(crate) fn finished(&self) {
        self.progress.send_modify(|progress| progress.finished = true);
    }

    /// Drops a little of what history has beyond its limits; what that makes superfluous is queued for the engine.
    pub(crate) fn trim_step(&self) -> Vec<Arc<Event<M>>> {
        let bounds = self.limits.bounds(self.aged());
        let upto = Revision(self.durable_head().0.saturating_sub(1));
        if !bounds.exceeded(&self.state.read()) {
            return Vec::new();
        }
        let mut state = self.state.write();
        let trimmed = state.trim_excess(&bounds, upto, COMPACT_STEP);
        // Queued under the lock, so that removals reach the engine in the order in which they were decided.
        self.pending.lock().removed.extend(trimmed.removed);
        trimmed.events
    }

    /// The youngest revision known to be older than [`Limits::keep_age`].
    fn aged(&self) -> Revision {
        let now = self.limits.clock.monotonic();
        let head = self.state.read().head();
        let mut ages = self.ages.lock();
        if ages.heads.back().is_none_or(|(_, at)| now.saturating_sub(*at) >= AGE_GRAIN) {
            ages.heads.push_back((head, now));
        }
        while let Some((revision, _)) =
            ages.heads.pop_front_if(|(_, at)| now.saturating_sub(*at) > self.limits.keep_age)
        {
            ages.aged = revision;
        }
        ages.aged
    }
}
