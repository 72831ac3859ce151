//! Events are forgotten an hour after they were last written, as a stock server does (`--event-ttl`).

use super::call::Failure;
use crate::{Entry, Server, encode};
use api::{Object, Timestamp};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use store::{CommitError, Expect, Key, Revision, Write};

/// The collection of Events, which the core group and `events.k8s.io` share.
pub(super) const EVENTS: &str = "events";

/// How long an Event is kept after its last write: the stock server's default.
pub(super) const EVENT_TTL: Duration = Duration::from_secs(3600);

/// The longest sleep before the clock is looked at again: it may have been set.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What ends when: one place in the order of time for each Event, so that nothing is searched for.
#[derive(Default)]
pub(super) struct Expiry {
    order: BTreeSet<(Timestamp, Key)>,
    ends: HashMap<Key, (Timestamp, Revision)>,
}

impl Expiry {
    /// An Event was written at this revision, at this time.
    pub(super) fn written(&mut self, key: &Key, revision: Revision, at: Timestamp) {
        self.ends(key, revision, Timestamp::from_micros(at.micros().saturating_add(micros(EVENT_TTL))));
    }

    /// Something that is at this revision ends then, unless it is written meanwhile.
    pub(super) fn ends(&mut self, key: &Key, revision: Revision, end: Timestamp) {
        self.gone(key);
        self.order.insert((end, key.clone()));
        self.ends.insert(key.clone(), (end, revision));
    }

    /// An Event is not there any more.
    pub(super) fn gone(&mut self, key: &Key) {
        if let Some((end, _)) = self.ends.remove(key) {
            self.order.remove(&(end, key.clone()));
        }
    }

    /// How long nothing ends; `None` if there is nothing that could.
    pub(super) fn wait(&self, now: Timestamp) -> Option<Duration> {
        let (end, _) = self.order.first()?;
        Some(Duration::from_micros(u64::try_from(end.micros() - now.micros()).unwrap_or(0)))
    }

    /// Takes out one Event that has ended.
    pub(super) fn ended(&mut self, now: Timestamp) -> Option<(Key, Revision)> {
        self.order.first().filter(|(end, _)| *end <= now)?;
        let (_, key) = self.order.pop_first()?;
        let (_, revision) = self.ends.remove(&key)?;
        Some((key, revision))
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// When a stored Event was last written, as far as it says so itself: after a restart nobody else knows. What its
/// author says of a time that is still to come does not count.
pub(super) fn last_written(event: &Object, now: Timestamp) -> Timestamp {
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let managers = event.meta("managedFields").and_then(Value::as_array).into_iter().flatten();
    let written = managers.filter_map(|manager| manager.get("time"));
    let said =
        ["/metadata/creationTimestamp", "/lastTimestamp", "/deprecatedLastTimestamp", "/series/lastObservedTime"];
    let said = said.into_iter().filter_map(|pointer| event.pointer(pointer));
    said.chain(written).filter_map(time).filter(|at| *at <= now).max().unwrap_or(now)
}

/// Removes an Event at once, whatever holds it, as the end of a lease of etcd does. One that was written again, or is
/// gone, is left alone.
pub(super) fn expire(server: &Server, key: &Key, revision: Revision) -> Result<(), Failure> {
    let held: Option<Arc<Entry>> = server.store().get(key).filter(|held| held.modified == revision);
    let Some(held) = held else { return Ok(()) };
    match server.store().commit(key.clone(), Expect::At(revision), Write::Delete(encode::restamped(&held))) {
        Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
        Err(error) => Err(Failure::Commit(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use store::Collection;

    const HOUR: i64 = 3600;

    fn key(name: &str) -> Key {
        Key::new(Collection::new("s", EVENTS), "default", name)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn events_end_an_hour_after_their_last_write() {
        let mut expiry = Expiry::default();
        assert_eq!(expiry.wait(at(0)), None);
        expiry.written(&key("a"), Revision(1), at(0));
        expiry.written(&key("b"), Revision(2), at(10));
        expiry.written(&key("c"), Revision(3), at(20));
        expiry.written(&key("a"), Revision(4), at(30));
        expiry.gone(&key("c"));
        assert_eq!(expiry.wait(at(10)), Some(EVENT_TTL));
        assert_eq!(expiry.ended(at(HOUR + 9)), None);
        assert_eq!(expiry.ended(at(HOUR + 40)), Some((key("b"), Revision(2))));
        assert_eq!(expiry.ended(at(HOUR + 40)), Some((key("a"), Revision(4))));
        assert_eq!(expiry.ended(at(HOUR + 40)), None);
        assert!(expiry.order.is_empty() && expiry.ends.is_empty());
    }

    #[track_caller]
    fn check(event: Value, expected: i64) {
        let event: Object = serde_json::from_value(event).unwrap();
        assert_eq!(last_written(&event, at(1_000)), at(expected));
    }

    #[test]
    fn an_event_says_when_it_was_last_written() {
        let (a, b, c) = (at(100).to_string(), at(200).to_string(), at(2_000).to_string());
        check(json!({"metadata": {"creationTimestamp": a}}), 100);
        check(json!({"metadata": {"creationTimestamp": a}, "lastTimestamp": b}), 200);
        check(json!({"metadata": {"creationTimestamp": a}, "lastTimestamp": c}), 100);
        check(json!({"metadata": {"creationTimestamp": a}, "series": {"lastObservedTime": b}}), 200);
        check(json!({"metadata": {"creationTimestamp": a, "managedFields": [{"time": b}, {"time": a}]}}), 200);
        check(json!({"metadata": {}}), 1_000);
    }
}
