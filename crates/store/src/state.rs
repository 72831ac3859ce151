//! The log replayed: what every key holds now, and the recent events. No IO, no locks, no time.

use crate::engine::Record;
use crate::entry::{Change, Committed, Entry, Event, Expect, Meta, Page, Stamped, Write};
use crate::error::{CommitError, Compacted, OpenError};
use crate::key::{Collection, Key, Revision};
use crate::limits::EVENT_OVERHEAD;
use crate::ring::{Bell, Ring};
use crate::shelf::{Place, Placed, Shelf, undo};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

/// Everything that readers can see.
pub(crate) struct State<M> {
    head: Revision,
    oldest: Revision,
    spaces: HashMap<Arc<str>, BTreeMap<Arc<str>, Shelf<M>>>,
    ring: Ring<M>,
    event_bytes: usize,
    keys: usize,
    bytes: usize,
}

/// What an event is charged with: its value, as much again for the frame that readers make of it, and itself.
fn weight(value: usize) -> usize {
    2 * value + EVENT_OVERHEAD
}

/// What a step of compaction dropped.
pub(crate) struct Trimmed<M> {
    /// Revisions whose records nothing needs any more.
    pub(crate) removed: Vec<Revision>,
    /// The events, for the caller to drop after it let go of the lock.
    pub(crate) events: Vec<Arc<Event<M>>>,
}

/// How much history is wanted.
pub(crate) struct Bounds {
    /// Never more than this.
    pub(crate) max_events: usize,
    pub(crate) max_bytes: usize,
    /// Not more than this of what is not younger than `aged`.
    pub(crate) keep_events: usize,
    pub(crate) keep_bytes: usize,
    /// The youngest revision that is of age.
    pub(crate) aged: Revision,
}

impl Bounds {
    /// Whether the oldest event should go.
    pub(crate) fn exceeded<M>(&self, state: &State<M>) -> bool {
        let over = |events, bytes| state.events() > events || state.event_bytes() > bytes;
        let of_age = state.oldest_event().is_some_and(|revision| revision <= self.aged);
        over(self.max_events, self.max_bytes) || of_age && over(self.keep_events, self.keep_bytes)
    }
}

/// Which events a watcher wants; nothing chosen is every event of every space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    Everything,
    Collection(Collection),
    Namespace(Collection, Arc<str>),
}

/// Bells to ring once the lock is free.
pub(crate) type Bells = Vec<Arc<Bell>>;

impl<M> State<M> {
    pub(crate) fn new() -> Self {
        Self {
            head: Revision::ZERO,
            oldest: Revision::ZERO,
            spaces: HashMap::new(),
            ring: Ring::default(),
            event_bytes: 0,
            keys: 0,
            bytes: 0,
        }
    }

    pub(crate) fn head(&self) -> Revision {
        self.head
    }

    pub(crate) fn oldest(&self) -> Revision {
        self.oldest
    }

    pub(crate) fn keys(&self) -> usize {
        self.keys
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn events(&self) -> usize {
        self.ring.len()
    }

    pub(crate) fn event_bytes(&self) -> usize {
        self.event_bytes
    }

    /// Revision of the oldest event that is kept.
    pub(crate) fn oldest_event(&self) -> Option<Revision> {
        self.ring.front().map(|event| event.revision)
    }

    fn shelf(&self, collection: &Collection) -> Option<&Shelf<M>> {
        self.spaces.get(&collection.space)?.get(&collection.resource)
    }

    fn shelf_mut(&mut self, collection: &Collection) -> Option<&mut Shelf<M>> {
        self.spaces.get_mut(&collection.space)?.get_mut(&collection.resource)
    }

    /// The shelf, made if need be.
    fn open_shelf(&mut self, collection: &Collection) -> &mut Shelf<M> {
        let space = match self.spaces.get_key_value(&collection.space) {
            Some((space, _)) => Arc::clone(space),
            None => Arc::clone(&collection.space),
        };
        let shelves = self.spaces.entry(Arc::clone(&space)).or_default();
        shelves.entry(Arc::clone(&collection.resource)).or_insert_with(|| {
            let resource = Arc::clone(&collection.resource);
            Shelf::new(Collection { space, resource })
        })
    }

    /// Lets go of what is empty.
    fn tidy(&mut self, collection: &Collection) {
        let Some(shelves) = self.spaces.get_mut(&collection.space) else { return };
        if shelves.get(&collection.resource).is_some_and(Shelf::idle) {
            shelves.remove(&collection.resource);
            if shelves.is_empty() {
                self.spaces.remove(&collection.space);
            }
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Entry<M>>> {
        self.shelf(&key.collection)?.get(&key.namespace, &key.name)
    }

    pub(crate) fn collections(&self, space: &str) -> Vec<Collection> {
        let shelves = self.spaces.get(space).into_iter().flat_map(BTreeMap::values);
        shelves.filter(|shelf| !shelf.rows.is_empty()).map(|shelf| shelf.collection.clone()).collect()
    }

    pub(crate) fn spaces(&self) -> Vec<Arc<str>> {
        let held = |shelves: &BTreeMap<_, Shelf<M>>| shelves.values().any(|shelf| !shelf.rows.is_empty());
        self.spaces.iter().filter(|(_, shelves)| held(shelves)).map(|(space, _)| Arc::clone(space)).collect()
    }

    pub(crate) fn count(&self, collection: &Collection) -> usize {
        self.shelf(collection).map_or(0, |shelf| shelf.rows.len())
    }

    /// Every entry of a space.
    pub(crate) fn entries(&self, space: &str) -> Vec<Arc<Entry<M>>> {
        let shelves = self.spaces.get(space).into_iter().flat_map(BTreeMap::values);
        shelves.flat_map(|shelf| shelf.rows.values().cloned()).collect()
    }

    pub(crate) fn page(
        &self,
        collection: &Collection,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page<M>, Compacted> {
        let revision = at.unwrap_or(self.head).min(self.head);
        if revision < self.oldest {
            return Err(Compacted { asked: revision, oldest: self.oldest });
        }
        let limit = if limit == 0 { usize::MAX } else { limit };
        let Some(shelf) = self.shelf(collection) else {
            return Ok(Page { entries: Vec::new(), revision, remaining: 0 });
        };
        let undone = undo(shelf, namespace, revision, self.head);
        let mut entries = Vec::new();
        let mut remaining = 0;
        let mut take = |entry: &Arc<Entry<M>>| {
            if entries.len() < limit {
                entries.push(Arc::clone(entry));
            } else {
                remaining += 1;
            }
        };
        if undone.is_empty() {
            for (_, entry) in shelf.rows(namespace, after) {
                take(entry);
            }
            return Ok(Page { entries, revision, remaining });
        }
        // Both are sorted: walk them together, the past having the last word on the places it knows.
        let mut past = undone
            .iter()
            .filter(|(place, _)| after.is_none_or(|after| **place > after))
            .filter(|((in_namespace, _), _)| namespace.is_none_or(|namespace| *in_namespace == namespace))
            .peekable();
        for (place, entry) in shelf.rows(namespace, after) {
            while let Some((_, held)) = past.next_if(|(other, _)| **other < place.place()) {
                held.iter().for_each(&mut take);
            }
            match past.next_if(|(other, _)| **other == place.place()) {
                Some((_, held)) => held.iter().for_each(&mut take),
                None => take(entry),
            }
        }
        for (_, held) in past {
            held.iter().for_each(&mut take);
        }
        Ok(Page { entries, revision, remaining })
    }

    fn ring_of(&self, selection: &Selection) -> Option<&Ring<M>> {
        match selection {
            Selection::Everything => Some(&self.ring),
            Selection::Collection(collection) => self.shelf(collection).map(|shelf| &shelf.ring),
            Selection::Namespace(collection, namespace) => self.shelf(collection)?.namespaces.get(namespace),
        }
    }

    /// The ring of a selection that somebody has joined.
    pub(crate) fn joined(&self, selection: &Selection) -> &Ring<M> {
        self.ring_of(selection).expect("a ring stays while it has a watcher")
    }

    /// Registers a watcher that has seen everything up to `after`.
    pub(crate) fn join(&mut self, selection: &Selection, after: Revision) -> Result<Arc<Bell>, Compacted> {
        if after < self.oldest {
            return Err(Compacted { asked: after, oldest: self.oldest });
        }
        Ok(match selection {
            Selection::Everything => self.ring.join(),
            Selection::Collection(collection) => self.open_shelf(collection).ring.join(),
            Selection::Namespace(collection, namespace) => {
                self.open_shelf(collection).namespaces.entry(Arc::clone(namespace)).or_default().join()
            }
        })
    }

    /// Undoes [`State::join`].
    pub(crate) fn leave(&mut self, selection: &Selection) {
        match selection {
            Selection::Everything => self.ring.leave(),
            Selection::Collection(collection) => {
                if let Some(shelf) = self.shelf_mut(collection) {
                    shelf.ring.leave();
                }
                self.tidy(collection);
            }
            Selection::Namespace(collection, namespace) => {
                if let Some(shelf) = self.shelf_mut(collection)
                    && let Some(ring) = shelf.namespaces.get_mut(namespace)
                {
                    ring.leave();
                    if ring.idle() {
                        shelf.namespaces.remove(namespace);
                    }
                }
                self.tidy(collection);
            }
        }
    }

    /// Bells of everybody who wants an event after `cursor` up to `until`.
    pub(crate) fn bells(&self, cursor: Revision, until: Revision) -> Bells {
        let mut bells: Bells = self.ring.bell().cloned().into_iter().collect();
        for event in self.ring.between(cursor, until) {
            let Some(shelf) = self.shelf(&event.entry.key.collection) else { continue };
            bells.extend(shelf.ring.bell().cloned());
            bells.extend(shelf.namespaces.get(&event.entry.key.namespace).and_then(Ring::bell).cloned());
        }
        bells
    }

    /// Bells of everybody.
    pub(crate) fn all_bells(&self) -> Bells {
        let shelves = self.spaces.values().flat_map(BTreeMap::values);
        let rings = shelves.flat_map(|shelf| std::iter::once(&shelf.ring).chain(shelf.namespaces.values()));
        std::iter::once(&self.ring).chain(rings).filter_map(|ring| ring.bell().cloned()).collect()
    }

    /// Puts an entry into its place and the event into the rings; hands out the bells to ring.
    fn apply(&mut self, change: Change, entry: Arc<Entry<M>>, bells: &mut Bells) -> Option<Arc<Entry<M>>> {
        let revision = entry.modified;
        let size = entry.value.len();
        let shelf = self.open_shelf(&entry.key.collection);
        let place = Place { namespace: Arc::clone(&entry.key.namespace), name: Arc::clone(&entry.key.name) };
        let previous = match change {
            Change::Created | Change::Updated => shelf.rows.insert(place, Arc::clone(&entry)),
            Change::Deleted => shelf.rows.remove(&place),
        };
        let event =
            Event { revision, change, entry: Arc::clone(&entry), previous: previous.clone(), frame: OnceLock::new() };
        let event = Arc::new(event);
        let in_namespace = shelf.namespaces.entry(Arc::clone(&entry.key.namespace)).or_default();
        in_namespace.push(Arc::clone(&event));
        bells.extend(in_namespace.bell().cloned());
        shelf.ring.push(Arc::clone(&event));
        bells.extend(shelf.ring.bell().cloned());
        self.ring.push(event);
        bells.extend(self.ring.bell().cloned());

        self.head = revision;
        self.event_bytes += weight(size);
        if let Some(previous) = &previous {
            self.keys -= 1;
            self.bytes -= previous.value.len();
        }
        if change != Change::Deleted {
            self.keys += 1;
            self.bytes += size;
        }
        previous
    }

    /// Forgets up to `most` of the oldest events, none after `upto`, while there is more history than `bounds` want.
    pub(crate) fn trim_excess(&mut self, bounds: &Bounds, upto: Revision, most: usize) -> Trimmed<M> {
        let mut all = Trimmed { removed: Vec::new(), events: Vec::new() };
        while all.events.len() < most && bounds.exceeded(self) {
            let step = self.trim(upto, 1);
            if step.events.is_empty() {
                break;
            }
            all.removed.extend(step.removed);
            all.events.extend(step.events);
        }
        all
    }

    /// Forgets up to `most` of the oldest events, none after `upto`.
    ///
    /// A record is needed while its event is in history, while it is the present state, and while a later event of
    /// history has it as its previous state. So a superseded record goes when the event that superseded it goes, and a
    /// tombstone goes with what it buries.
    pub(crate) fn trim(&mut self, upto: Revision, most: usize) -> Trimmed<M> {
        let mut trimmed = Trimmed { removed: Vec::new(), events: Vec::new() };
        while trimmed.events.len() < most && self.oldest_event().is_some_and(|revision| revision <= upto) {
            let Some(event) = self.ring.pop() else { break };
            self.oldest = event.revision;
            self.event_bytes -= weight(event.entry.value.len());
            let key = &event.entry.key;
            if let Some(shelf) = self.shelf_mut(&key.collection) {
                shelf.ring.pop();
                if let Some(ring) = shelf.namespaces.get_mut(&key.namespace) {
                    ring.pop();
                    if ring.idle() {
                        shelf.namespaces.remove(&key.namespace);
                    }
                }
            }
            self.tidy(&key.collection);
            trimmed.removed.extend(event.previous.as_ref().map(|previous| previous.modified));
            if event.change == Change::Deleted {
                trimmed.removed.push(event.revision);
            }
            trimmed.events.push(event);
        }
        trimmed
    }
}

impl<M: Meta> State<M> {
    /// Carries out a write if what it expects holds. Hands out the record for the engine.
    pub(crate) fn commit(
        &mut self,
        key: Key,
        expect: Expect,
        write: &Write,
        bells: &mut Bells,
    ) -> Result<(Committed<M>, Record), CommitError<M>> {
        let held = self.get(&key).cloned();
        let holds = match (expect, &held) {
            (Expect::Absent, held) => held.is_none(),
            (Expect::At(revision), held) => held.as_ref().is_some_and(|held| held.modified == revision),
            (Expect::Any, _) => true,
        };
        let (change, stamped) = match (write, &held) {
            (Write::Put(stamped), None) => (Change::Created, stamped),
            (Write::Put(stamped), Some(_)) => (Change::Updated, stamped),
            (Write::Delete(stamped), Some(_)) => (Change::Deleted, stamped),
            (Write::Delete(_), None) => return Err(CommitError::Conflict { key, held }),
        };
        if !holds {
            return Err(CommitError::Conflict { key, held });
        }
        Ok(self.write(key, held, change, stamped, bells))
    }

    /// Removes one entry as it is: its bytes are the final state.
    pub(crate) fn remove(&mut self, entry: &Arc<Entry<M>>, bells: &mut Bells) -> (Committed<M>, Record) {
        let modified = self.head.next();
        let created = entry.created;
        let meta = M::read(&entry.key, &entry.value);
        self.finish(
            Entry { key: entry.key.clone(), value: entry.value.clone(), meta, created, modified },
            Change::Deleted,
            bells,
        )
    }

    fn write(
        &mut self,
        key: Key,
        held: Option<Arc<Entry<M>>>,
        change: Change,
        stamped: &Stamped,
        bells: &mut Bells,
    ) -> (Committed<M>, Record) {
        let modified = self.head.next();
        let (key, created) = match held {
            Some(held) => (held.key.clone(), held.created),
            None => (self.intern(key), modified),
        };
        let value = stamped.stamp(modified);
        let meta = M::read(&key, &value);
        self.finish(Entry { key, value, meta, created, modified }, change, bells)
    }

    fn finish(&mut self, entry: Entry<M>, change: Change, bells: &mut Bells) -> (Committed<M>, Record) {
        let entry = Arc::new(entry);
        let previous = self.apply(change, Arc::clone(&entry), bells);
        let record = Record {
            revision: entry.modified,
            previous: previous.as_ref().map_or(Revision::ZERO, |previous| previous.modified),
            created: entry.created,
            change,
            key: entry.key.clone(),
            value: entry.value.clone(),
        };
        (Committed { revision: entry.modified, entry, previous }, record)
    }

    /// The same key in strings that are shared with its neighbours: a key costs its name.
    fn intern(&mut self, key: Key) -> Key {
        let Some(shelf) = self.shelf(&key.collection) else {
            // A shelf of this resource in another space has the same name for it.
            return key;
        };
        let neighbour = shelf.rows(Some(&key.namespace), None).next();
        let namespace = neighbour.map_or(key.namespace.clone(), |(place, _)| Arc::clone(&place.namespace));
        Key { collection: shelf.collection.clone(), namespace, name: key.name }
    }

    /// Applies a record of the log at open. Where history turns out to have a hole, it begins anew behind it; hands
    /// out what that made superfluous.
    pub(crate) fn replay(&mut self, record: Record) -> Result<Vec<Revision>, OpenError> {
        let Record { revision, previous, created, change, key, value } = record;
        if revision <= self.head {
            let what = format!("it comes after revision {}", self.head);
            return Err(OpenError::Damaged { revision, what });
        }
        let mut removed = Vec::new();
        if revision != self.head.next() {
            // Records in between were compacted away, so no watcher can resume from before them.
            removed.extend(self.trim(revision, usize::MAX).removed);
            self.oldest = Revision(revision.0 - 1);
        }
        let key = self.intern(key);
        let meta = M::read(&key, &value);
        let held = self.get(&key).map_or(Revision::ZERO, |held| held.modified);
        if change == Change::Deleted && held == Revision::ZERO {
            // A tombstone whose body is compacted: nothing to bury, but the revision is used.
            removed.extend(self.trim(revision, usize::MAX).removed);
            self.head = revision;
            self.oldest = revision;
            return Ok(removed);
        }
        let entry = Arc::new(Entry { key, value, meta, created, modified: revision });
        self.apply(change, entry, &mut Vec::new());
        if held != previous {
            removed.extend(self.trim(revision, usize::MAX).removed);
            // The record of the head must stay, or its revision would be given away a second time.
            removed.retain(|removed| *removed != revision);
        }
        Ok(removed)
    }
}
