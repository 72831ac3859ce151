//! Recent events of one selection (everything, a collection, a namespace of a collection), and who waits for the next.

use crate::entry::{Event, Visibility};
use crate::key::Revision;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Notify;

/// Wakes the watchers of one ring, and only those: a thousand watchers of a thousand namespaces sleep on while one
/// namespace changes.
#[derive(Default)]
pub(crate) struct Bell {
    appended: Notify,
    durable: Notify,
}

impl Bell {
    pub(crate) fn of(&self, visibility: Visibility) -> &Notify {
        match visibility {
            Visibility::Appended => &self.appended,
            Visibility::Durable => &self.durable,
        }
    }
}

/// Events in the order of revisions.
pub(crate) struct Ring<M> {
    events: VecDeque<Arc<Event<M>>>,
    /// Revision of the youngest event that was dropped: who has not seen it has a gap.
    trimmed: Revision,
    bell: Option<Arc<Bell>>,
    watchers: usize,
}

impl<M> Default for Ring<M> {
    fn default() -> Self {
        Self { events: VecDeque::new(), trimmed: Revision::ZERO, bell: None, watchers: 0 }
    }
}

impl<M> Ring<M> {
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn front(&self) -> Option<&Arc<Event<M>>> {
        self.events.front()
    }

    pub(crate) fn push(&mut self, event: Arc<Event<M>>) {
        self.events.push_back(event);
    }

    /// Drops the oldest event.
    pub(crate) fn pop(&mut self) -> Option<Arc<Event<M>>> {
        let event = self.events.pop_front()?;
        self.trimmed = event.revision;
        // A burst must not leave its largest ring behind for ever.
        if self.events.capacity() > 64 && self.events.len() < self.events.capacity() / 4 {
            self.events.shrink_to(self.events.len() * 2);
        }
        Some(event)
    }

    /// Whether an event after `cursor` was dropped.
    pub(crate) fn lost(&self, cursor: Revision) -> bool {
        cursor < self.trimmed
    }

    /// Events after `cursor` up to and including `until`.
    pub(crate) fn between(
        &self,
        cursor: Revision,
        until: Revision,
    ) -> impl DoubleEndedIterator<Item = &Arc<Event<M>>> + ExactSizeIterator {
        let from = self.events.partition_point(|event| event.revision <= cursor);
        let to = self.events.partition_point(|event| event.revision <= until).max(from);
        self.events.range(from..to)
    }

    /// The bell, if anybody watches.
    pub(crate) fn bell(&self) -> Option<&Arc<Bell>> {
        self.bell.as_ref()
    }

    /// Registers a watcher: until it leaves, the ring stays, so that `lost` can be answered.
    pub(crate) fn join(&mut self) -> Arc<Bell> {
        self.watchers += 1;
        Arc::clone(self.bell.get_or_insert_default())
    }

    pub(crate) fn leave(&mut self) {
        self.watchers -= 1;
        if self.watchers == 0 {
            self.bell = None;
        }
    }

    /// Whether nothing would be missed if the ring went.
    pub(crate) fn idle(&self) -> bool {
        self.watchers == 0 && self.events.is_empty()
    }
}
