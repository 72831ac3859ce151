//! A reader of events from a revision on: in order, once, without gaps.

use crate::entry::{Event, Meta, Visibility};
use crate::error::Lost;
use crate::key::Revision;
use crate::limits::WATCH_BATCH;
use crate::ring::Bell;
use crate::state::Selection;
use crate::store::Shared;
use std::sync::Arc;

/// Yields the events of a selection. It holds a place in the log and no queue of its own, so a slow one costs nothing
/// and is lost when its next event falls out of history.
pub struct Watch<M: Meta> {
    shared: Arc<Shared<M>>,
    selection: Selection,
    visibility: Visibility,
    bell: Arc<Bell>,
    /// Everything up to here was handed out.
    cursor: Revision,
}

impl<M: Meta> Watch<M> {
    pub(crate) fn new(
        shared: Arc<Shared<M>>,
        selection: Selection,
        visibility: Visibility,
        bell: Arc<Bell>,
        cursor: Revision,
    ) -> Self {
        Self { shared, selection, visibility, bell, cursor }
    }

    /// Waits for events and hands them out: at least one, in the order of revisions. Dropping the future loses none.
    ///
    /// # Errors
    /// When the next event is not kept any more, or the store is closed.
    pub async fn next(&mut self) -> Result<Vec<Arc<Event<M>>>, Lost> {
        let bell = Arc::clone(&self.bell);
        loop {
            {
                // Registered before the look, so that an event between the look and the wait still wakes.
                let notified = bell.of(self.visibility).notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                let events = self.try_next()?;
                if !events.is_empty() {
                    return Ok(events);
                }
                notified.await;
            }
            // Who was woken finds an event, nearly always: no need to register for that.
            let events = self.try_next()?;
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// Hands out the events that are there, maybe none.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub fn try_next(&mut self) -> Result<Vec<Arc<Event<M>>>, Lost> {
        let state = self.shared.state.read();
        let until = self.shared.visible(&state, self.visibility);
        let ring = state.joined(&self.selection);
        if ring.lost(self.cursor) {
            return Err(Lost::TooSlow);
        }
        let found = ring.between(self.cursor, until);
        let all = found.len() <= WATCH_BATCH;
        let events: Vec<_> = found.take(WATCH_BATCH).cloned().collect();
        drop(state);
        match events.last() {
            Some(last) if !all => self.cursor = last.revision,
            _ => self.cursor = self.cursor.max(until),
        }
        if events.is_empty() {
            self.shared.check_open()?;
        }
        Ok(events)
    }

    /// The revision up to which everything was handed out: what a bookmark may say. For a durable watch it is durable.
    #[must_use]
    pub fn progress(&self) -> Revision {
        let state = self.shared.state.read();
        let until = self.shared.visible(&state, self.visibility);
        let ring = state.joined(&self.selection);
        let behind = ring.lost(self.cursor) || ring.between(self.cursor, until).len() > 0;
        if behind { self.cursor } else { self.cursor.max(until) }
    }
}

impl<M: Meta> Drop for Watch<M> {
    fn drop(&mut self) {
        self.shared.state.write().leave(&self.selection);
    }
}
