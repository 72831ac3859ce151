//! watch: events of a collection as a stream, read from the store's cursor as fast as the client takes them.
//!
//! An event of the plain form is written once and shared by all watchers (`Event::frame`); selections, other versions
//! and other forms are written for each.

use crate::call::Call;
use crate::crd::convert;
use crate::negotiate::{Encoding, Form, Offer};
use crate::options::{ListOptions, expired, too_large};
use crate::rbac::inherited::Inherited;
use crate::registry::Kind;
use crate::respond::{Body, BoxError, Result};
use crate::selection::Selection;
use crate::space::Space;
use crate::table::Table;
use crate::{Entry, Event, encode, present, random};
use api::Status;
use bytes::{Bytes, BytesMut};
use futures_util::future::Either;
use futures_util::stream;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use machinery::protobuf::watch_frame;
use serde_json::{Map, json};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::{Change, Lost, Meta, Revision, Visibility};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

/// How often a watcher hears which revision it has reached, if it wants to.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// How long before its end a watch tells for the last time, as in the stock server: time for the bookmark to arrive.
const LAST_BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// How long a watch lasts if the client does not say: between this and its double, so that not all end at once.
const TIMEOUT_SECONDS_MIN: u64 = 1800;

/// Bytes of a chunk of initial events: large enough to be few, small enough to be sent while the next is written.
const CHUNK_BYTES: usize = 64 * 1024;

/// How long a watch from a revision that is not there yet waits for it, as the stock server does.
const FUTURE_WAIT: Duration = Duration::from_secs(3);

pub(crate) async fn watch(call: &Call) -> Result<Response<Body>> {
    let accepted = call.negotiate(Offer::Watch)?;
    let options = ListOptions::read(&call.query, true)?;
    let mut selection = Selection::parse(&call.kind, &options.labels, &options.fields)?;
    if !call.target.name.is_empty() {
        selection = selection.named(&call.target.name);
    }
    let start = start(call, &options, &selection).await?;
    let told = match &start {
        Start::Snapshot { revision, .. } => *revision,
        _ => Revision(options.revision.unwrap_or(0)),
    };
    let seconds = options.timeout_seconds.unwrap_or_else(|| TIMEOUT_SECONDS_MIN + random::below(TIMEOUT_SECONDS_MIN));
    let ended = call.kind.custom.as_ref().map(|custom| custom.ended.clone());
    call.server.0.metrics.watches.fetch_add(1, Ordering::Relaxed);
    let state = Watching {
        writer: Writer {
            table: Table::of_watch(call, accepted.form),
            kind: Arc::clone(&call.kind),
            form: accepted.form,
            protobuf: accepted.encoding == Encoding::Protobuf,
            selection,
            inherited: call.inherited(),
        },
        converted: call.kind.is_converted().then(|| Arc::clone(&call.space)),
        start,
        deadline: Box::pin(tokio::time::sleep(Duration::from_secs(seconds))),
        bookmarks: options.bookmarks.then(|| Box::pin(tokio::time::sleep(next_bookmark(seconds)))),
        served: Box::pin(call.space.end.clone().cancelled_owned()),
        defined: ended.map(|ended| Box::pin(ended.cancelled_owned())),
        done: false,
        told,
        counted: Counted(call.server.clone()),
    };
    let frames = stream::unfold(state, |mut state| async move {
        let bytes = state.next().await?;
        Some((Ok::<_, BoxError>(Frame::data(bytes)), state))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    *response.status_mut() = StatusCode::OK;
    let content_type = match accepted.encoding {
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Encoding::Json | Encoding::Yaml => "application/json",
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// When the next bookmark is due in a watch that lasts some more seconds: by the clock, or just before the end.
fn next_bookmark(seconds: u64) -> Duration {
    let last = Duration::from_secs(seconds).checked_sub(LAST_BOOKMARK_BEFORE_END);
    last.filter(|last| !last.is_zero()).map_or(BOOKMARK_INTERVAL, |last| last.min(BOOKMARK_INTERVAL))
}

/// Where a watch begins.
enum Start {
    /// What is there, then the events that follow.
    Snapshot {
        entries: std::vec::IntoIter<Arc<Entry>>,
        revision: Revision,
        announce: bool,
        then: store::Watch<crate::Header>,
    },
    Events(store::Watch<crate::Header>),
    /// Nothing but this.
    Failed(Box<Status>),
}

async fn start(call: &Call, options: &ListOptions, selection: &Selection) -> Result<Start> {
    let collection = call.collection();
    let asked = options.revision.unwrap_or(0);
    let head = call.store().head();
    let wants_snapshot = options.initial_events.unwrap_or(asked == 0);
    if wants_snapshot && asked > head.0 && !reached(call, asked).await {
        return Err(too_large(asked, call.store().head().0));
    }
    let follow = |after: Revision| call.store().watch(&collection, call.namespace(), after, call.visibility);
    if wants_snapshot {
        let page = match call.inherited() {
            Some(inherited) => inherited.page(call.namespace(), None, usize::MAX, None),
            None => call.store().page(&collection, call.namespace(), None, usize::MAX, None),
        };
        let page = page.map_err(|error| expired(error.to_string(), None))?;
        call.settle(page.revision).await?;
        let Ok(then) = follow(page.revision) else {
            return Err(expired("the state was superseded before it could be watched", None));
        };
        let shown = if call.kind.is_converted() {
            convert::entries(&call.space, &call.kind, &page.entries).await?
        } else {
            page.entries
        };
        let entries: Vec<_> = shown.into_iter().filter(|entry| selection.matches(entry)).collect();
        let announce = options.bookmarks;
        return Ok(Start::Snapshot { entries: entries.into_iter(), revision: page.revision, announce, then });
    }
    // `sendInitialEvents=false` without a revision begins now.
    let after = if asked == 0 { head } else { Revision(asked) };
    // Bookmarks say at least where the watch began.
    call.settle(after.min(head)).await?;
    Ok(match follow(after) {
        Ok(events) => Start::Events(events),
        Err(compacted) => Start::Failed(too_old(asked, compacted.oldest)),
    })
}

/// Waits a little for a revision that a client heard of elsewhere.
async fn reached(call: &Call, asked: u64) -> bool {
    let Ok(mut follow) = call.store().follow(call.store().head(), Visibility::Appended) else { return false };
    let wait = async {
        while call.store().head().0 < asked {
            if follow.next().await.is_err() {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(FUTURE_WAIT, wait).await.unwrap_or(false)
}

fn too_old(asked: u64, oldest: Revision) -> Box<Status> {
    expired(format!("too old resource version: {asked} ({oldest})"), None)
}

/// Counts the watch until it is dropped.
struct Counted(crate::Server);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.metrics.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Watching {
    writer: Writer,
    /// The space, if a webhook converts objects of the kind.
    converted: Option<Arc<Space>>,
    start: Start,
    deadline: Pin<Box<Sleep>>,
    /// When the next is due.
    bookmarks: Option<Pin<Box<Sleep>>>,
    /// Ends with the space, and so with the server. It waits once, and not anew for each event.
    served: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Ends with the definition of the kind.
    defined: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    done: bool,
    /// The revision that the watcher has heard of.
    told: Revision,
    counted: Counted,
}

impl Watching {
    /// The next bytes of the stream; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        loop {
            match &mut self.start {
                Start::Failed(status) => {
                    self.done = true;
                    return Some(self.writer.failure(status));
                }
                Start::Snapshot { entries, .. } => {
                    let mut chunk = BytesMut::new();
                    while chunk.len() < CHUNK_BYTES
                        && let Some(entry) = entries.next()
                    {
                        self.writer.append("ADDED", &entry, &mut chunk);
                    }
                    if chunk.is_empty() || entries.len() == 0 {
                        let announced = self.begin_events();
                        chunk.extend_from_slice(&announced);
                    }
                    if !chunk.is_empty() {
                        return Some(chunk.freeze());
                    }
                }
                Start::Events(_) => return self.next_events().await,
            }
        }
    }

    /// Turns from the snapshot to the events; returns the bookmark that tells the client so, if it asked.
    fn begin_events(&mut self) -> Bytes {
        let nothing = Start::Failed(Box::new(Status::internal("a watch without a source")));
        match std::mem::replace(&mut self.start, nothing) {
            Start::Snapshot { revision, announce, then, .. } => {
                self.start = Start::Events(then);
                if announce { self.writer.bookmark(revision, true) } else { Bytes::new() }
            }
            other => {
                self.start = other;
                Bytes::new()
            }
        }
    }

    async fn next_events(&mut self) -> Option<Bytes> {
        let Start::Events(events) = &mut self.start else { return None };
        loop {
            let undefined = match &mut self.defined {
                Some(defined) => Either::Left(defined.as_mut()),
                None => Either::Right(std::future::pending()),
            };
            let bookmark_due = match &mut self.bookmarks {
                Some(due) => Either::Left(due.as_mut()),
                None => Either::Right(std::future::pending()),
            };
            tokio::select! {
                biased;
                () = &mut self.served => return None,
                () = undefined => {
                    self.done = true;
                    // What was deleted with its definition is still told.
                    let store = self.counted.0.store();
                    let mut last = BytesMut::new();
                    if store.durable(store.head()).await.is_ok() {
                        while let Ok(batch) = events.try_next() && !batch.is_empty() {
                            last.extend_from_slice(&self.writer.batch(&batch));
                        }
                    }
                    return (!last.is_empty()).then(|| last.freeze());
                }
                batch = events.next() => match batch {
                    Ok(batch) => {
                        let batch = match &self.converted {
                            None => batch,
                            Some(within) => match convert::events(within, &self.writer.kind, batch).await {
                                Ok(batch) => batch,
                                Err(status) => {
                                    self.done = true;
                                    return Some(self.writer.failure(&status));
                                }
                            },
                        };
                        let bytes = self.writer.batch(&batch);
                        self.told = batch.last().map_or(self.told, |last| last.revision.max(self.told));
                        if !bytes.is_empty() {
                            return Some(bytes);
                        }
                    }
                    Err(Lost::TooSlow) => {
                        self.done = true;
                        let message = "too old resource version: the watcher did not keep up with the events";
                        return Some(self.writer.failure(&expired(message, None)));
                    }
                    Err(Lost::Closed(_)) => return None,
                },
                () = bookmark_due => {
                    if let Some(due) = &mut self.bookmarks {
                        let now = due.deadline();
                        let left = self.deadline.deadline().saturating_duration_since(now).as_secs();
                        due.as_mut().reset(now + next_bookmark(left));
                    }
                    // Who has heard of this revision already is not told again.
                    let reached = events.progress();
                    if reached > self.told {
                        self.told = reached;
                        return Some(self.writer.bookmark(reached, false));
                    }
                }
                () = &mut self.deadline => {
                    self.done = true;
                    return None;
                }
            }
        }
    }
}

/// Writes events in the form that was agreed on.
struct Writer {
    kind: Arc<Kind>,
    form: Form,
    /// Frames of protobuf instead of lines of JSON.
    protobuf: bool,
    selection: Selection,
    /// For the Table form.
    table: Option<Table>,
    /// What of the collection is inherited, and no news when it is stored.
    inherited: Option<Inherited>,
}

impl Writer {
    /// The bytes of a batch, without what the selection leaves out.
    fn batch(&mut self, batch: &[Arc<Event>]) -> Bytes {
        // The most common batch is one event that others watch as well: its bytes are shared.
        if let [event] = batch
            && let Some(frame) = self.shared(event)
        {
            return frame;
        }
        let room = batch.iter().map(|event| event.entry.value.len() + ENVELOPE_BYTES).sum();
        let mut bytes = BytesMut::with_capacity(if self.selection.is_everything() { room } else { 0 });
        for event in batch {
            match self.shared(event) {
                Some(frame) => bytes.extend_from_slice(&frame),
                None => {
                    if let Some(change) = self.change(event) {
                        match event.previous.as_ref().filter(|_| change == "DELETED" && event.change == Change::Updated)
                        {
                            // What is no longer selected is seen as it was when it was, at the revision of now.
                            Some(previous) => self.append(change, &as_of(previous, event.revision), &mut bytes),
                            None => self.append(change, &event.entry, &mut bytes),
                        }
                    }
                }
            }
        }
        bytes.freeze()
    }

    /// The bytes that all watchers of the plain form share, if this is one.
    fn shared(&self, event: &Event) -> Option<Bytes> {
        if self.protobuf || self.form != Form::Whole {
            return None;
        }
        // What has to be converted is another version than the one that is shared.
        if present::needs_work(&self.kind, &event.entry) {
            return None;
        }
        if self.inherited.as_ref().is_some_and(|inherited| inherited.before(event).is_some()) {
            return None;
        }
        let change = match event.change {
            Change::Created => "ADDED",
            Change::Updated => "MODIFIED",
            Change::Deleted => "DELETED",
        };
        // Who sees a part only may see another change than the others: what comes into view, or leaves it.
        if !self.selection.is_everything() && self.change(event) != Some(change) {
            return None;
        }
        let value = &event.entry.value;
        let line = || {
            let mut line = BytesMut::with_capacity(value.len() + ENVELOPE_BYTES);
            enclose(change, value, &mut line);
            line.freeze()
        };
        Some(event.frame.get_or_init(line).clone())
    }

    /// What an event means to somebody who sees only what is selected.
    fn change(&self, event: &Event) -> Option<&'static str> {
        let now = self.selection.matches(&event.entry);
        if let Some(before) = self.inherited.as_ref().and_then(|inherited| inherited.before(event)) {
            let same = encode::is_same(&before.value, &encode::restamped(&event.entry));
            return match (self.selection.matches(&before), now) {
                _ if same => None,
                (true, true) => Some("MODIFIED"),
                (false, true) => Some("ADDED"),
                (true, false) => Some("DELETED"),
                (false, false) => None,
            };
        }
        let before = event.previous.as_ref().is_some_and(|previous| self.selection.matches(previous));
        match (event.change, before, now) {
            (Change::Created, _, true) | (Change::Updated, false, true) => Some("ADDED"),
            (Change::Updated, true, true) => Some("MODIFIED"),
            (Change::Updated, true, false) | (Change::Deleted, true, _) => Some("DELETED"),
            (Change::Created, _, false) | (Change::Updated, false, false) | (Change::Deleted, false, _) => None,
        }
    }

    fn append(&mut self, change: &str, entry: &Entry, out: &mut BytesMut) {
        match (self.form, &mut self.table) {
            (Form::Table(_), Some(table)) => {
                let row = table.event(entry);
                self.enclose(change, &row, out);
            }
            (Form::Metadata(version), _) => self.enclose(change, &present::metadata(version, entry), out),
            _ => self.enclose(change, &present::whole(&self.kind, entry), out),
        }
    }

    fn enclose(&self, change: &str, object: &[u8], out: &mut BytesMut) {
        if self.protobuf {
            // Whoever asked for protobuf can read nothing else, and everything that is not custom has a message.
            let mut frame = Vec::new();
            watch_frame(change, &present::protobuf(object).unwrap_or_default(), &mut frame);
            out.extend_from_slice(&frame);
        } else {
            enclose(change, object, out);
        }
    }

    /// Tells why the watch ends.
    fn failure(&self, status: &Status) -> Bytes {
        let mut out = BytesMut::new();
        self.enclose("ERROR", json!(status).to_string().as_bytes(), &mut out);
        out.freeze()
    }

    /// Tells which revision the watcher has reached; `initial` also that it has seen all that was there.
    fn bookmark(&mut self, revision: Revision, initial: bool) -> Bytes {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".into(), revision.to_string().into());
        if initial {
            metadata.insert("annotations".into(), json!({"k8s.io/initial-events-end": "true"}));
        }
        let object = match (self.form, &mut self.table) {
            (Form::Table(_), Some(table)) => table.bookmark(metadata),
            (Form::Metadata(version), _) => json!({"kind": "PartialObjectMetadata",
                "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata}),
            _ => json!({"kind": self.kind.served.kind, "apiVersion": self.kind.api_version, "metadata": metadata}),
        };
        let mut line = BytesMut::new();
        self.enclose("BOOKMARK", object.to_string().as_bytes(), &mut line);
        line.freeze()
    }
}

/// An entry as it was, at a later revision.
fn as_of(entry: &Entry, revision: Revision) -> Entry {
    let value = encode::restamped(entry).stamp(revision);
    let meta = crate::Header::read(&entry.key, &value);
    Entry { key: entry.key.clone(), value, meta, created: entry.created, modified: revision }
}

/// At least what a line of a watch has besides its object.
const ENVELOPE_BYTES: usize = 40;

fn enclose(change: &str, object: &[u8], out: &mut BytesMut) {
    out.extend_from_slice(br#"{"type":""#);
    out.extend_from_slice(change.as_bytes());
    out.extend_from_slice(br#"","object":"#);
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
}
