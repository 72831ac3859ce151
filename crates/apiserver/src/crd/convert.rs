//! Objects of CRDs whose versions are converted by a webhook: on the way out of the store to whoever reads them, and on
//! the way into it. Everything of a definition without such a webhook passes through untouched.
//!
//! What was converted is remembered for a while by its revision: many watchers of one version cost one call.

use crate::encode;
use crate::header::Header;
use crate::registry::Kind;
use crate::respond::{Failure, Result};
use crate::space::Space;
use crate::{Entry, Event, random};
use api::{Object, Reason, Status};
use bytes::Bytes;
use machinery::admission::webhook::Address;
use machinery::apply::{Elsewhere, Writer};
use machinery::conversion::{self, Webhook};
use machinery::schema::{self, Schema};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
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
    /// What each version may hold, by `apiVersion`, the ones that are not served among them.
    schemas: BTreeMap<String, Schema>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// What was stored, and what it became: a dry run shows another object under the revision of the one that is there.
    values: HashMap<Revision, (Bytes, Bytes)>,
    order: VecDeque<Revision>,
    bytes: usize,
}

impl Known {
    fn of(&self, entry: &Entry) -> Option<&Bytes> {
        self.values.get(&entry.modified).filter(|(stored, _)| *stored == entry.value).map(|(_, value)| value)
    }

    fn remember(&mut self, entry: &Entry, value: &Bytes) {
        let (revision, bytes) = (entry.modified, entry.value.len() + value.len());
        if bytes > KNOWN_BYTES_MAX || revision == Revision::ZERO || self.values.contains_key(&revision) {
            return;
        }
        self.bytes += bytes;
        self.values.insert(revision, (entry.value.clone(), value.clone()));
        self.order.push_back(revision);
        while self.bytes > KNOWN_BYTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.values.remove(&oldest).map_or(0, |(stored, value)| stored.len() + value.len());
        }
    }
}

impl Conversion {
    /// Of the `spec` of a definition, if it has a webhook.
    pub(super) fn read(spec: &serde_json::Value) -> Option<Arc<Self>> {
        let webhook = Webhook::read(spec)?;
        let group = spec["group"].as_str().unwrap_or_default();
        let schema = |version: &serde_json::Value| {
            let schema = schema::from_crd(&version["schema"]["openAPIV3Schema"]).ok()?;
            Some((format!("{group}/{}", version["name"].as_str()?), schema))
        };
        let schemas = spec["versions"].as_array().into_iter().flatten().filter_map(schema).collect();
        Some(Arc::new(Self { webhook, schemas, known: Mutex::default() }))
    }

    /// Gives a stored object the fields and defaults that its version has by now.
    fn bring_up(&self, object: &mut Object) {
        let schema = self.schemas.get(object.api_version());
        shape(object, schema, true);
    }

    /// The same of an entry that needs no conversion.
    fn brought_up(&self, entry: &Entry) -> Result<Bytes> {
        let mut object: Object = serde_json::from_slice(&entry.value).map_err(Status::internal)?;
        self.bring_up(&mut object);
        Ok(encode::unstored(&object.0, &entry.modified.to_string()))
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

/// Whether the schema has changed since an entry was written.
fn is_older(kind: &Kind, entry: &Entry) -> bool {
    entry.modified != Revision::ZERO && kind.custom.as_ref().is_some_and(|custom| entry.modified < custom.since)
}

/// Whether a stored value is of another version than the kind.
fn differs(kind: &Kind, value: &[u8]) -> bool {
    let rest =
        value.strip_prefix(br#"{"apiVersion":""#).and_then(|rest| rest.strip_prefix(kind.api_version.as_bytes()));
    rest.and_then(<[u8]>::first) != Some(&b'"')
}

/// An object in the version that is stored, with the fields and defaults of that version.
pub(crate) async fn stored(space: &Space, kind: &Kind, object: Object) -> Result<Object> {
    let desired = &*kind.served.stored_as;
    let Some(conversion) = of(kind).filter(|_| object.api_version() != desired) else { return Ok(object) };
    let mut object = conversion.ask(space, desired, &[&object]).await?.pop().unwrap_or(object);
    shape(&mut object, conversion.schemas.get(desired), true);
    Ok(object)
}

/// Takes from managers at other versions what a write changed, which a webhook says. `applied` is an apply without force.
///
/// # Errors
/// If they are not asked, or own what was applied.
pub(crate) async fn across(
    space: &Space,
    kind: &Kind,
    old: &Object,
    mut new: Object,
    writer: &Writer<'_>,
    applied: bool,
) -> Result<Object> {
    let Some(conversion) = of(kind) else { return Ok(new) };
    let entries = new.meta("managedFields").and_then(serde_json::Value::as_array).into_iter().flatten();
    let versions =
        entries.filter_map(|entry| entry["apiVersion"].as_str()).filter(|version| *version != kind.api_version);
    // A version that the definition has no more tells nothing.
    let versions: BTreeSet<String> =
        versions.filter(|version| conversion.schemas.contains_key(*version)).map(str::to_owned).collect();
    for version in versions {
        let at = conversion.ask(space, &version, &[old, &new]).await?;
        let [before, after] = &at[..] else { continue };
        let schema = conversion.schemas.get(&version);
        if !schema.is_none_or(|schema| fits(before, schema) && fits(after, schema)) {
            // As the stock server does where it cannot compare: whoever owned something owns nothing.
            new.metadata_mut().remove("managedFields");
            return Ok(new);
        }
        let elsewhere = Elsewhere { api_version: &version, before, after, schema };
        let done = machinery::apply::across(&mut new, &elsewhere, writer, applied);
        done.map_err(|error| Failure::from(error.status()))?;
    }
    Ok(new)
}

/// Whether an object has fields of its schema only, each of its type.
fn fits(object: &Object, schema: &Schema) -> bool {
    let mut value = serde_json::Value::Object(object.0.clone());
    schema::prune(&mut value, schema).is_empty()
        && !schema::check(&value, schema).iter().any(|cause| cause.reason == "FieldValueTypeInvalid")
}

/// Drops what a schema does not know, and fills in its defaults where they are wanted.
fn shape(object: &mut Object, schema: Option<&Schema>, defaults: bool) {
    let Some(schema) = schema else { return };
    let mut value = serde_json::Value::Object(std::mem::take(&mut object.0));
    schema::prune(&mut value, schema);
    if defaults {
        schema::default(&mut value, schema);
    }
    if let serde_json::Value::Object(fields) = value {
        object.0 = fields;
    }
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
        for (index, entry) in stored.iter().enumerate() {
            if !differs(kind, &entry.value) {
                if is_older(kind, entry) {
                    shown[index] = with(entry, conversion.brought_up(entry)?);
                }
                continue;
            }
            match known.of(entry) {
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
            let mut object: Object = serde_json::from_slice(&stored[index].value).map_err(Status::internal)?;
            if is_older(kind, &stored[index]) {
                conversion.bring_up(&mut object);
            }
            chunk.push((index, object));
        }
        let objects: Vec<&Object> = chunk.iter().map(|(_, object)| object).collect();
        let converted = conversion.ask(space, &kind.api_version, &objects).await?;
        for ((index, _), mut object) in chunk.iter().zip(converted) {
            let entry = &stored[*index];
            shape(&mut object, kind.custom.as_ref().and_then(|custom| custom.schema.as_ref()), false);
            // A dry run of a create has the revision that it came with, if any.
            let revision = match entry.modified {
                Revision::ZERO => object.resource_version().to_owned(),
                revision => revision.to_string(),
            };
            let value = encode::unstored(&object.0, &revision);
            conversion.known.lock().remember(entry, &value);
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
