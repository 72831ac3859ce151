//! One collection: its entries in order, and its recent events.

use crate::entry::Entry;
use crate::key::{Collection, Revision};
use crate::ring::Ring;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

/// Order of a collection: by namespace, then name. Looked up by borrowed strings through [`Placed`].
pub(crate) struct Place {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

pub(crate) trait Placed {
    fn place(&self) -> (&str, &str);
}

impl Placed for Place {
    fn place(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

impl Placed for (&str, &str) {
    fn place(&self) -> (&str, &str) {
        *self
    }
}

impl<'a> Borrow<dyn Placed + 'a> for Place {
    fn borrow(&self) -> &(dyn Placed + 'a) {
        self
    }
}

impl PartialEq for dyn Placed + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}
impl Eq for dyn Placed + '_ {}
impl PartialOrd for dyn Placed + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for dyn Placed + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}
impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}
impl Eq for Place {}
impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

/// One collection. It exists while it has a key, an event or a watcher: an empty space costs nothing.
pub(crate) struct Shelf<M> {
    pub(crate) collection: Collection,
    pub(crate) rows: BTreeMap<Place, Arc<Entry<M>>>,
    pub(crate) ring: Ring<M>,
    pub(crate) namespaces: HashMap<Arc<str>, Ring<M>>,
}

impl<M> Shelf<M> {
    pub(crate) fn new(collection: Collection) -> Self {
        Self { collection, rows: BTreeMap::new(), ring: Ring::default(), namespaces: HashMap::new() }
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Entry<M>>> {
        self.rows.get(&(namespace, name) as &dyn Placed)
    }

    /// Rows after `after`, within `namespace` if given.
    pub(crate) fn rows<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<(&'a str, &'a str)>,
    ) -> impl Iterator<Item = (&'a Place, &'a Arc<Entry<M>>)> {
        let start = (namespace.unwrap_or(""), "");
        let from = match &after {
            Some(after) if *after >= start => Bound::Excluded(after as &dyn Placed),
            _ => Bound::Included(&start as &dyn Placed),
        };
        self.rows
            .range::<dyn Placed, _>((from, Bound::Unbounded))
            .take_while(move |(place, _)| namespace.is_none_or(|namespace| *place.namespace == *namespace))
    }

    pub(crate) fn idle(&self) -> bool {
        self.rows.is_empty() && self.ring.idle() && self.namespaces.is_empty()
    }
}

/// What held at `revision` in the places that changed after it.
pub(crate) fn undo<'a, M>(
    shelf: &'a Shelf<M>,
    namespace: Option<&str>,
    revision: Revision,
    head: Revision,
) -> BTreeMap<(&'a str, &'a str), Option<Arc<Entry<M>>>> {
    let ring = match namespace {
        None => Some(&shelf.ring),
        Some(namespace) => shelf.namespaces.get(namespace),
    };
    let mut undone = BTreeMap::new();
    // From the youngest to the oldest: the oldest event after `revision` says what was before all of them.
    for event in ring.into_iter().flat_map(|ring| ring.between(revision, head).rev()) {
        undone.insert((&*event.entry.key.namespace, &*event.entry.key.name), event.previous.clone());
    }
    undone
}
