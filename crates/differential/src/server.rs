//! A server that scripts are played against: how it is reached, and one request to it.

use crate::compare::Answer;
use crate::normalise::Place;
use crate::protobuf;
use anyhow::{Context, Result};
use bytes::Bytes;
use client::{Body, Credential, Endpoint, Https, Transport};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// No answer takes longer, the end of a watch included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Headers whose text clients read.
const TEXTS: [&str; 9] = [
    "allow",
    "cache-control",
    "content-encoding",
    "content-type",
    "location",
    "retry-after",
    "vary",
    "warning",
    "www-authenticate",
];

/// Headers that are there or not: their text differs by nature.
const PRESENCES: [&str; 3] = ["audit-id", "etag", "expires"];

/// One of the two servers.
pub(crate) struct Server {
    pub(crate) place: Place,
    endpoint: Endpoint,
    admin: Https,
    anonymous: Https,
}

/// Whose credentials a request has.
#[derive(Clone, Copy)]
pub(crate) enum As<'a> {
    /// Those of the administrator.
    Admin,
    /// None; headers may hold some.
    Nobody,
    /// Those of a connection that was made with [`Server::holder`].
    Holder(&'a Https),
}

/// An answer whose body goes on.
pub(crate) struct Stream {
    body: Body,
    /// Frames, not lines of JSON.
    protobuf: bool,
    /// What came and is not a whole line yet.
    rest: Vec<u8>,
}

/// An answer as it came.
pub(crate) struct Raw {
    pub(crate) answer: Answer,
    /// All headers, for captures.
    pub(crate) headers: http::HeaderMap,
}

impl Server {
    /// A server at an endpoint.
    ///
    /// # Errors
    /// If the endpoint cannot be used.
    pub(crate) fn new(endpoint: Endpoint) -> Result<Self> {
        let host = endpoint.server.split('/').nth(2).unwrap_or_default().to_owned();
        let place = Place { host, prefix: endpoint.path() };
        let anonymous = Https::new(Endpoint { credential: Credential::default(), ..endpoint.clone() })?;
        Ok(Self { place, admin: Https::new(endpoint.clone())?, anonymous, endpoint })
    }

    /// A connection whose client shows a certificate (both PEM).
    ///
    /// # Errors
    /// If certificate or key cannot be used.
    pub(crate) fn holder(&self, certificate: Vec<u8>, key: Vec<u8>) -> Result<Https> {
        let credential = Credential::Certificate { certificate, key };
        Ok(Https::new(Endpoint { credential, ..self.endpoint.clone() })?)
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
        who: As<'_>,
    ) -> Result<http::Response<Body>> {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.place.prefix));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) {
            request = request.header("User-Agent", "differential/1");
        }
        let request = request.body(Bytes::from(body)).with_context(|| format!("{method} {path}"))?;
        let transport = match who {
            As::Admin => &self.admin,
            As::Nobody => &self.anonymous,
            As::Holder(holder) => holder,
        };
        let sent = tokio::time::timeout(ANSWER_TIMEOUT, transport.send(request)).await;
        sent.context("no answer in time")?.with_context(|| format!("{method} {path}"))
    }

    /// Sends a request and reads the whole answer. `events` says how many events of a watch are read; `Some(MAX)` reads
    /// until the server ends it.
    ///
    /// # Errors
    /// If there is no answer, or it breaks off.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
        who: As<'_>,
        events: Option<usize>,
    ) -> Result<Raw> {
        let (mut raw, mut stream) = self.open(method, path, headers, body, who).await?;
        match events.filter(|_| raw.answer.status == 200) {
            Some(count) => raw.answer.events = Some(stream.events(count, true).await?),
            None => {
                let whole = tokio::time::timeout(ANSWER_TIMEOUT, stream.body.collect()).await;
                let bytes = whole.context("the answer did not end in time")?;
                let bytes = bytes.map_err(|error| anyhow::anyhow!("{method} {path}: {error}"))?.to_bytes();
                raw.answer.body = read_body(&raw.headers, &bytes);
            }
        }
        Ok(raw)
    }

    /// Sends a request whose answer goes on.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
        who: As<'_>,
    ) -> Result<(Raw, Stream)> {
        let response = self.send(method, path, headers, body, who).await?;
        let (parts, body) = response.into_parts();
        let answer =
            Answer { status: parts.status.as_u16(), headers: chosen_headers(&parts.headers), ..Answer::default() };
        let protobuf = is_protobuf(&parts.headers);
        Ok((Raw { answer, headers: parts.headers }, Stream { body, protobuf, rest: Vec::new() }))
    }
}

impl Stream {
    /// Reads events, each a line of JSON, until there are as many or the server ends the watch.
    ///
    /// # Errors
    /// If the events do not come in time.
    /// When `periodic` is not wanted, bookmarks that come by the clock are left out: where they come is chance.
    pub(crate) async fn events(&mut self, count: usize, periodic: bool) -> Result<Vec<Value>> {
        let mut events = Vec::new();
        let reading = async {
            while events.len() < count {
                if let Some(event) = self.take() {
                    let by_the_clock =
                        event["type"] == "BOOKMARK" && event["object"]["metadata"]["annotations"].is_null();
                    if periodic || !by_the_clock {
                        events.push(event);
                    }
                    continue;
                }
                match self.body.frame().await {
                    Some(Ok(frame)) => self.rest.extend(frame.into_data().unwrap_or_default()),
                    Some(Err(_)) | None => {
                        // What is no stream ends without the end of a line.
                        if !self.protobuf && !self.rest.is_empty() {
                            events.push(serde_json::from_slice(&self.rest).unwrap_or_else(|_| text(&self.rest)));
                        }
                        break;
                    }
                }
            }
        };
        // What has come is compared even when more was wanted.
        let _ = tokio::time::timeout(ANSWER_TIMEOUT, reading).await;
        Ok(events)
    }
}

impl Stream {
    /// The first whole event of what has come.
    fn take(&mut self) -> Option<Value> {
        if self.protobuf {
            return protobuf::take_event(&mut self.rest);
        }
        let end = self.rest.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.rest.drain(..=end).collect();
        Some(serde_json::from_slice(&line).unwrap_or_else(|_| text(&line)))
    }
}

fn is_protobuf(headers: &http::HeaderMap) -> bool {
    let kind = headers.get("content-type").and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with(protobuf::MEDIA))
}

fn text(bytes: &[u8]) -> Value {
    Value::String(String::from_utf8_lossy(bytes).into_owned())
}

fn chosen_headers(headers: &http::HeaderMap) -> BTreeMap<String, String> {
    let mut chosen = BTreeMap::new();
    for name in TEXTS {
        let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        if !values.is_empty() {
            chosen.insert(name.to_owned(), values.join(" | "));
        }
    }
    for name in PRESENCES {
        if headers.contains_key(name) {
            chosen.insert(name.to_owned(), "<present>".to_owned());
        }
    }
    chosen
}

/// Reads JSON, YAML and protobuf; of other bodies the text; of bytes that are no text the beginning and how much there is.
fn read_body(headers: &http::HeaderMap, bytes: &[u8]) -> Value {
    let kind = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/json") {
        return serde_json::from_slice(bytes).unwrap_or_else(|_| text(bytes));
    }
    if kind.starts_with("application/yaml") {
        return serde_saphyr::from_slice(bytes).unwrap_or_else(|_| text(bytes));
    }
    if is_protobuf(headers) {
        return protobuf::read(bytes);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::String(text.to_owned()),
        Err(_) => json!({ "bytes": String::from_utf8_lossy(&bytes[..bytes.len().min(4)]) }),
    }
}
