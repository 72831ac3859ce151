//! Objects of CRDs whose versions are converted by a webhook: on the way out of the store to whoever reads them, and on
//! the way into it. Everything of a definition without such a webhook passes through untouched.
//!
//! What was converted is remembered for a while by its revision: many watchers of one version cost one call.

use crate::encode;
use crate::header::Header;
use crate::registry::Kind;
use crate::respond::Result;
use crate::space::Space;
use crate::{Entry, Event, random};
use api::{Object, Reason, Status};
use bytes::Bytes;
use machinery::admission::webhook::Address;
use machinery::conversion::{self, Webhook};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use store::{Meta, Revision};

/// How long a webhook may take: as long as the stock server waits.
const SECONDS_MAX: u64 = 30;
/// Objects that are sent at once: few enough for the time, many enough for few calls.
const OBJECTS_MAX: usize = 500;
/// Bytes of objects that are sent at once; one that is larger goes alone.
const BYTES_MAX: usize = 1024 * 1024;
/// Bytes of converted objects that are remembered for each version of a definition.
const KNOWN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The webhook of one version of a definition, with what it said lately of objects stored at others.
#[derive(Debug)]
pub(crate) struct Conversion {
    webhook: Webhook,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    values: HashMap<Revision, Bytes>,
    order: VecDeque<Revision>,
    bytes: usize,
}

impl Known {
    fn remember(&mut self, revision: Revision, value: &Bytes) {
        if value.len() > KNOWN_BYTES_MAX || self.values.contains_key(&revision) {
            return;
        }
        self.bytes += value.len();
        self.values.insert(revision, value.clone());
        self.order.push_back(revision);
        while self.bytes > KNOWN_BYTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.values.remove(&oldest).map_or(0, |value| value.len());
        }
    }
}

impl Conversion {
    /// Of the `spec` of a definition, if it has a webhook.
    pub(super) fn read(spec: &serde_json::Value) -> Option<Arc<Self>> {
        Some(Arc::new(Self { webhook: Webhook::read(spec)?, known: Mutex::default() }))
    }

    /// Asks for objects of one version at another.
    async fn ask(&self, space: &Space, desired: &str, objects: &[&Object]) -> Result<Vec<Object>> {
        let Some(first) = objects.first() else { return Ok(Vec::new()) };
        let failed = |why: String| Status::failure(Reason::Unknown, why);
        let Some(version) = self.webhook.version else {
            return Err(failed("no supported conversion review versions".into()).into());
        };
        let url = match &self.webhook.address {
            Address::Url(url) => url,
            Address::Service(service) => {
                let why =
                    format!("service {service:?} cannot be reached: a space runs no services; give the webhook a url");
                return Err(failed(conversion::failed(first, &why)).into());
            }
        };
        let uid = random::uid();
        let review = conversion::review(version, &uid, desired, objects);
        let answer = space.hooks.client.post(url, &self.webhook.authorities, SECONDS_MAX, &review).await;
        let answer = answer.map_err(|why| failed(conversion::failed(first, &why)))?;
        conversion::converted(&answer, version, &uid, desired, objects).map_err(|why| failed(why).into())
    }
}

fn of(kind: &Kind) -> Option<&Arc<Conversion>> {
    kind.custom.as_ref()?.conversion.as_ref()
}

/// Whether a stored value is of another version than the kind.
fn differs(kind: &Kind, value: &[u8]) -> bool {
    let rest =
        value.strip_prefix(br#"{"apiVersion":""#).and_then(|rest| rest.strip_prefix(kind.api_version.as_bytes()));
    rest.and_then(<[u8]>::first) != Some(&b'"')
}

/// An object for another version of its kind.
pub(crate) async fn object(space: &Space, kind: &Kind, object: Object, desired: &str) -> Result<Object> {
    let Some(conversion) = of(kind).filter(|_| object.api_version() != desired) else { return Ok(object) };
    Ok(conversion.ask(space, desired, &[&object]).await?.pop().unwrap_or(object))
}

/// A stored entry at the version of the kind.
pub(crate) async fn entry(space: &Space, kind: &Kind, entry: &Arc<Entry>) -> Result<Arc<Entry>> {
    if of(kind).is_none() {
        return Ok(Arc::clone(entry));
    }
    let mut shown = entries(space, kind, std::slice::from_ref(entry)).await?;
    Ok(shown.pop().unwrap_or_else(|| Arc::clone(entry)))
}

/// Stored entries at the version of the kind, in their order.
pub(crate) async fn entries(space: &Space, kind: &Kind, stored: &[Arc<Entry>]) -> Result<Vec<Arc<Entry>>> {
    let mut shown = stored.to_vec();
    let Some(conversion) = of(kind) else { return Ok(shown) };
    let mut wanted: VecDeque<usize> = VecDeque::new();
    {
        let known = conversion.known.lock();
        for (index, entry) in stored.iter().enumerate().filter(|(_, entry)| differs(kind, &entry.value)) {
            match known.values.get(&entry.modified) {
                Some(value) => shown[index] = with(entry, value.clone()),
                None => wanted.push_back(index),
            }
        }
    }
    while !wanted.is_empty() {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while let Some(index) = wanted.front().copied() {
            bytes += stored[index].value.len();
            if chunk.len() == OBJECTS_MAX || (bytes > BYTES_MAX && !chunk.is_empty()) {
                break;
            }
            wanted.pop_front();
            let object: Object = serde_json::from_slice(&stored[index].value).map_err(Status::internal)?;
            chunk.push((index, object));
        }
        let objects: Vec<&Object> = chunk.iter().map(|(_, object)| object).collect();
        let converted = conversion.ask(space, &kind.api_version, &objects).await?;
        for ((index, _), object) in chunk.iter().zip(converted) {
            let entry = &stored[*index];
            let value = encode::unstored(&object.0, &entry.modified.to_string());
            conversion.known.lock().remember(entry.modified, &value);
            shown[*index] = with(entry, value);
        }
    }
    Ok(shown)
}

/// The entry with another value.
fn with(entry: &Entry, value: Bytes) -> Arc<Entry> {
    let meta = Header::read(&entry.key, &value);
    Arc::new(Entry { key: entry.key.clone(), value, meta, created: entry.created, modified: entry.modified })
}

/// Events at the version of the kind.
pub(crate) async fn events(space: &Space, kind: &Kind, batch: Vec<Arc<Event>>) -> Result<Vec<Arc<Event>>> {
    if of(kind).is_none() {
        return Ok(batch);
    }
    let now: Vec<_> = batch.iter().map(|event| Arc::clone(&event.entry)).collect();
    let before: Vec<_> = batch.iter().filter_map(|event| event.previous.clone()).collect();
    let now = entries(space, kind, &now).await?;
    let mut before = entries(space, kind, &before).await?.into_iter();
    let made = |(event, entry): (&Arc<Event>, Arc<Entry>)| {
        Arc::new(Event {
            revision: event.revision,
            change: event.change,
            entry,
            previous: event.previous.as_ref().and_then(|_| before.next()),
            frame: OnceLock::new(),
        })
    };
    Ok(batch.iter().zip(now).map(made).collect())
}
