//! Tells users what happened to an object, as an Event (`events.k8s.io/v1`) beside it.
//!
//! Events are best effort: they are written in the background, a full queue drops them, and an event that repeats
//! becomes a series instead of another object.

use api::{Object, ObjectName, Resource, Timestamp};
use client::{Client, Patch};
use clock::SharedClock;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tokio::sync::mpsc;

static EVENTS: Resource = Resource::namespaced("events.k8s.io", "v1", "events", "Event");

/// Events that wait to be written; more are dropped, since a flood of them helps nobody.
const QUEUED_MAX: usize = 1000;

/// Events that are remembered to join repetitions; then all are forgotten, and a repetition is a new event.
const REMEMBERED_MAX: usize = 4096;

/// An event that repeats within this time belongs to the same series; client-go uses the same.
const SERIES_TIME: Duration = Duration::from_secs(6 * 60);

/// The longest note that the API takes, in bytes.
const NOTE_BYTES_MAX: usize = 1024;

/// What an event says about its object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum EventType {
    Normal,
    Warning,
}

/// The object that an event is about.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Regarding {
    /// `apps/v1`
    pub api_version: String,
    /// `Deployment`
    pub kind: String,
    /// Empty for cluster scope: the event then goes to namespace `default`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, or empty.
    pub uid: String,
}

impl Regarding {
    /// An object as a tree.
    pub fn object(object: &Object) -> Self {
        Self {
            api_version: object.api_version().into(),
            kind: object.kind().into(),
            namespace: object.namespace().into(),
            name: object.name().into(),
            uid: object.uid().into(),
        }
    }

    /// An object of a known resource.
    pub fn named(resource: &Resource, name: &ObjectName, uid: &str) -> Self {
        Self {
            api_version: resource.api_version(),
            kind: resource.kind.to_string(),
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            uid: uid.into(),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Told {
    regarding: Regarding,
    type_: &'static str,
    reason: String,
    action: String,
    note: String,
}

struct Series {
    name: String,
    count: u64,
    last: Timestamp,
}

/// Records events of one controller. Clones share its queue; the writer ends with the last of them.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Told>,
}

impl Recorder {
    /// Starts to write events to one space. `controller` is the reporting controller
    /// (`kubestellar-binding`), `instance` tells processes apart. Must be called within a tokio runtime.
    pub fn start(client: Client, clock: SharedClock, controller: &str, instance: &str) -> Self {
        let (queue, told) = mpsc::channel(QUEUED_MAX);
        let writer = Writer {
            client,
            clock,
            controller: controller.into(),
            instance: instance.into(),
            remembered: HashMap::new(),
        };
        tokio::spawn(writer.run(told));
        Self { queue }
    }

    /// Records an event. `reason` is one word in CamelCase for machines, `action` what was done or tried, `note` a
    /// sentence for people. Never waits.
    pub fn event(&self, regarding: Regarding, type_: EventType, reason: &str, action: &str, note: &str) {
        let type_ = match type_ {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        let told = Told { regarding, type_, reason: reason.into(), action: action.into(), note: shortened(note) };
        if self.queue.try_send(told).is_err() {
            tracing::debug!("event dropped: {reason}: {note}");
        }
    }
}

fn shortened(note: &str) -> String {
    let mut end = note.len().min(NOTE_BYTES_MAX);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note[..end].to_owned()
}

struct Writer {
    client: Client,
    clock: SharedClock,
    controller: String,
    instance: String,
    remembered: HashMap<Told, Series>,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Told>) {
        while let Some(told) = queue.recv().await {
            let namespace = namespace(&told.regarding).to_owned();
            let now = self.clock.now();
            let written = match self.repeated(&told, now) {
                Repeated::Quiet => continue,
                Repeated::Series { name, count } => {
                    let series = json!({"series": {"count": count, "lastObservedTime": now.rfc3339_micros()}});
                    let name = ObjectName::namespaced(&namespace, name);
                    self.client.patch::<Object>(&EVENTS, &name, &Patch::Merge(series)).await
                }
                Repeated::No => {
                    let name = event_name(&told.regarding.name, random());
                    let body = body(&told, &name, &self.controller, &self.instance, now);
                    let series = Series { name, count: 1, last: now };
                    if self.remembered.len() >= REMEMBERED_MAX {
                        self.remembered.clear();
                    }
                    self.remembered.insert(told, series);
                    self.client.create::<Object>(&EVENTS, &namespace, &body).await
                }
            };
            if let Err(error) = written {
                tracing::debug!("an event was not written: {error}");
            }
        }
    }

    fn repeated(&mut self, told: &Told, now: Timestamp) -> Repeated {
        let Some(series) = self.remembered.get_mut(told) else { return Repeated::No };
        let since = Duration::from_micros(u64::try_from(now.micros() - series.last.micros()).unwrap_or(0));
        if since > SERIES_TIME {
            return Repeated::No;
        }
        series.count += 1;
        series.last = now;
        // 2, 4, 8 and so on: a key that fails in a loop costs a handful of writes, not one per failure.
        if series.count.is_power_of_two() {
            Repeated::Series { name: series.name.clone(), count: series.count }
        } else {
            Repeated::Quiet
        }
    }
}

#[derive(PartialEq, Eq, Debug)]
enum Repeated {
    No,
    Series { name: String, count: u64 },
    Quiet,
}

fn namespace(regarding: &Regarding) -> &str {
    if regarding.namespace.is_empty() { "default" } else { &regarding.namespace }
}

fn random() -> u64 {
    RandomState::new().hash_one(0u8)
}

/// `NAME.HEX`; a long name is cut so that the whole stays a valid name.
fn event_name(object: &str, random: u64) -> String {
    let cut: String = object
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.' { c } else { '-' })
        .take(200)
        .collect();
    format!("{}.{random:016x}", cut.trim_matches(['-', '.']))
}

fn body(told: &Told, name: &str, controller: &str, instance: &str, now: Timestamp) -> Value {
    let regarding = &told.regarding;
    let mut reference = json!({"apiVersion": regarding.api_version, "kind": regarding.kind, "name": regarding.name});
    for (field, value) in [("namespace", &regarding.namespace), ("uid", &regarding.uid)] {
        if !value.is_empty() {
            reference[field] = value.clone().into();
        }
    }
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace(regarding)},
        "eventTime": now.rfc3339_micros(),
        "reportingController": controller,
        "reportingInstance": instance,
        "type": told.type_,
        "reason": told.reason,
        "action": told.action,
        "note": told.note,
        "regarding": reference,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_name_their_object() {
        assert_eq!(event_name("web", 0xab), "web.00000000000000ab");
        assert_eq!(event_name("system:node:A", 0), "system-node.0000000000000000");
        let name = ObjectName::cluster("c1");
        let clusters =
            Resource::cluster("cluster.open-cluster-management.io", "v1", "managedclusters", "ManagedCluster");
        let told = Told {
            regarding: Regarding::named(&clusters, &name, "u"),
            type_: "Normal",
            reason: "Joined".into(),
            action: "Accept".into(),
            note: "c1 joined".into(),
        };
        let event = body(&told, "c1.0", "kubestellar", "p1", Timestamp::from_seconds(0));
        assert_eq!(event["metadata"]["namespace"], "default");
        assert_eq!(event["regarding"]["uid"], "u");
        assert_eq!(event["regarding"].get("namespace"), None);
        assert_eq!(event["eventTime"], "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let long = shortened(&"ü".repeat(600));
        assert_eq!(long.len(), 1024);
    }
}
