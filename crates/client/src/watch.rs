//! Reading watch streams and list bodies: cutting lines, and finding the little that a reflector must know of an
//! object before it is read as its type. No IO.

use crate::error::{Error, Result};
use api::{ObjectName, Status};
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::VecDeque;

/// The longest event that is read. Servers refuse objects above 1.5 to 3 MiB; escapes and managed fields add to it.
pub(crate) const EVENT_BYTES_MAX: usize = 32 << 20;

/// Marks the bookmark after the last initial event of a WatchList stream.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Cuts a byte stream into lines. Chunks that hold whole lines are cut without copying.
#[derive(Default)]
pub(crate) struct Lines {
    rest: BytesMut,
    ready: VecDeque<Bytes>,
}

impl Lines {
    /// Takes one chunk of the stream.
    ///
    /// # Errors
    /// If a line exceeds [`EVENT_BYTES_MAX`].
    pub(crate) fn push(&mut self, mut chunk: Bytes) -> Result<()> {
        while let Some(end) = chunk.iter().position(|&byte| byte == b'\n') {
            let line = chunk.split_to(end + 1);
            if self.rest.is_empty() {
                self.ready.push_back(line);
            } else {
                self.rest.extend_from_slice(&line);
                self.ready.push_back(self.rest.split().freeze());
            }
        }
        self.rest.extend_from_slice(&chunk);
        if self.rest.len() > EVENT_BYTES_MAX {
            return Err(Error::Decode {
                what: "a watch event".into(),
                cause: format!("it is longer than {EVENT_BYTES_MAX} bytes"),
            });
        }
        Ok(())
    }

    /// The next whole line that is not blank.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        loop {
            let line = self.ready.pop_front()?;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
    }
}

/// One line of a watch.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// An object appeared or changed.
    Upsert(Item<'a>),
    /// An object is gone, or stopped matching the selection.
    Delete(Item<'a>),
    /// Everything up to this version has been delivered.
    Bookmark { resource_version: String, initial_events_end: bool },
    /// The server ends the watch.
    Failure(Box<Status>),
}

/// An object as it came, with what the reflector needs of it.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    pub(crate) name: ObjectName,
    pub(crate) resource_version: Cow<'a, str>,
    pub(crate) json: &'a str,
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow, default)]
    metadata: ProbeMeta<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct ProbeMeta<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    resource_version: Cow<'a, str>,
}

#[derive(Deserialize)]
struct BookmarkProbe {
    metadata: BookmarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// Reads one line of a watch.
///
/// # Errors
/// If the line is not an event at all; an object that is not of the expected type is not an error here.
pub(crate) fn parse_event(line: &[u8]) -> Result<Event<'_>> {
    let broken = |cause: serde_json::Error| Error::Decode { what: "a watch event".into(), cause: cause.to_string() };
    let raw: RawEvent<'_> = serde_json::from_slice(line).map_err(broken)?;
    let json = raw.object.get();
    match &*raw.kind {
        "ADDED" | "MODIFIED" => Ok(Event::Upsert(item(json).map_err(broken)?)),
        "DELETED" => Ok(Event::Delete(item(json).map_err(broken)?)),
        "BOOKMARK" => {
            let probe: BookmarkProbe = serde_json::from_str(json).map_err(broken)?;
            let annotations = probe.metadata.annotations.unwrap_or_default();
            Ok(Event::Bookmark {
                resource_version: probe.metadata.resource_version,
                initial_events_end: annotations.get(INITIAL_EVENTS_END).is_some_and(|value| value == "true"),
            })
        }
        "ERROR" => Ok(Event::Failure(Box::new(serde_json::from_str(json).map_err(broken)?))),
        other => {
            Err(Error::Decode { what: "a watch event".into(), cause: format!("{other:?} is not a type of event") })
        }
    }
}

fn item(json: &str) -> serde_json::Result<Item<'_>> {
    let probe: Probe<'_> = serde_json::from_str(json)?;
    Ok(Item {
        name: ObjectName::namespaced(probe.metadata.namespace, probe.metadata.name),
        resource_version: probe.metadata.resource_version,
        json,
    })
}

/// One page of a list as it came.
#[derive(Deserialize)]
struct RawList<'a> {
    #[serde(default)]
    metadata: RawListMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    token: String,
}

/// One page of a list, its objects not yet read.
pub(crate) struct Page<'a> {
    pub(crate) resource_version: String,
    pub(crate) token: String,
    pub(crate) items: Vec<Cow<'a, str>>,
}

/// Reads one page. Stock servers leave apiVersion and kind out of the items of built-in kinds: they are put back, from
/// the resource that was asked for.
pub(crate) fn parse_page<'a>(bytes: &'a [u8], what: &str, api_version: &str, kind: &str) -> Result<Page<'a>> {
    let list: RawList<'a> = serde_json::from_slice(bytes)
        .map_err(|cause| Error::Decode { what: format!("the list of {what}"), cause: cause.to_string() })?;
    let raw_items = list.items.unwrap_or_default();
    // All items of a list are written by one encoder, so the first tells about the rest.
    let named = raw_items.first().is_none_or(|first| has_kind(first.get()));
    let items = raw_items
        .into_iter()
        .map(|raw| if named { Cow::Borrowed(raw.get()) } else { Cow::Owned(with_kind(raw.get(), api_version, kind)) })
        .collect();
    Ok(Page { resource_version: list.metadata.resource_version, token: list.metadata.token, items })
}

/// The name and version of an object in a list.
pub(crate) fn parse_item<'a>(json: &'a str, what: &str) -> Result<Item<'a>> {
    item(json)
        .map_err(|cause| Error::Decode { what: format!("an object in the list of {what}"), cause: cause.to_string() })
}

fn has_kind(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        kind: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_str::<Kind>(json).is_ok_and(|probe| probe.kind.is_some())
}

fn with_kind(json: &str, api_version: &str, kind: &str) -> String {
    let rest = json.trim_start().strip_prefix('{').unwrap_or(json);
    let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
    format!("{{\"apiVersion\":{api_version:?},\"kind\":{kind:?}{comma}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_lines(chunks: &[&str], expected: &[&str]) {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            lines.push(Bytes::copy_from_slice(chunk.as_bytes())).unwrap();
            while let Some(line) = lines.next() {
                seen.push(String::from_utf8(line.to_vec()).unwrap());
            }
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn lines_are_cut_wherever_chunks_end() {
        check_lines(&["a\nb\n"], &["a\n", "b\n"]);
        check_lines(&["a", "b\nc", "\n", "d"], &["ab\n", "c\n"]);
        check_lines(&["\n", " \r\n", "a\r\n"], &["a\r\n"]);
        check_lines(&["", "x", "", "y\nz\n"], &["xy\n", "z\n"]);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        let chunk = Bytes::from(vec![b'a'; EVENT_BYTES_MAX / 2 + 1]);
        lines.push(chunk.clone()).unwrap();
        assert!(lines.push(chunk).is_err());
    }

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let text = match parse_event(line.as_bytes()) {
            Ok(Event::Upsert(item)) => format!("upsert {}@{}", item.name, item.resource_version),
            Ok(Event::Delete(item)) => format!("delete {}@{}", item.name, item.resource_version),
            Ok(Event::Bookmark { resource_version, initial_events_end }) => {
                format!("bookmark {resource_version} {initial_events_end}")
            }
            Ok(Event::Failure(status)) => format!("failure {} {}", status.code, status.message),
            Err(error) => format!("error {error}").chars().take(30).collect(),
        };
        assert_eq!(text, expected, "{line}");
    }

    #[test]
    fn events() {
        check(
            r#"{"type":"ADDED","object":{"metadata":{"name":"a","namespace":"n","resourceVersion":"7"},"spec":1}}"#,
            "upsert n/a@7",
        );
        check(r#"{"object":{"metadata":{"name":"a","resourceVersion":"8"}},"type":"MODIFIED"}"#, "upsert a@8");
        check(r#"{"type":"DELETED","object":{"metadata":{"name":"\u0061","resourceVersion":"9"}}}"#, "delete a@9");
        check(
            r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"10","creationTimestamp":null}}}"#,
            "bookmark 10 false",
        );
        check(
            r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
            "bookmark 5 true",
        );
        check(
            r#"{"type":"ERROR","object":{"kind":"Status","reason":"Expired","message":"too old","code":410}}"#,
            "failure 410 too old",
        );
        check(r#"{"type":"ERROR","object":{"reason":"SomethingNew","message":"m","code":500}}"#, "failure 500 m");
        check(r#"{"type":"MOVED","object":{}}"#, "error cannot read a watch even");
        check("<html>", "error cannot read a watch even");
    }

    #[test]
    fn pages_with_and_without_kinds() {
        let bare = br#"{"kind":"PodList","metadata":{"resourceVersion":"4","continue":"t"},"items":[{"metadata":{"name":"a"}},{}]}"#;
        let page = parse_page(bare, "pods", "v1", "Pod").unwrap();
        assert_eq!((page.resource_version.as_str(), page.token.as_str()), ("4", "t"));
        assert_eq!(page.items[0], r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#);
        assert_eq!(page.items[1], r#"{"apiVersion":"v1","kind":"Pod"}"#);
        let full = br#"{"metadata":{"resourceVersion":"4"},"items":[{"kind":"X","metadata":{"name":"a"}}]}"#;
        let page = parse_page(full, "xs", "v1", "Y").unwrap();
        assert_eq!(page.items[0], r#"{"kind":"X","metadata":{"name":"a"}}"#);
        assert!(parse_page(br#"{"items":null}"#, "xs", "v1", "Y").unwrap().items.is_empty());
        assert!(parse_page(b"nonsense", "xs", "v1", "Y").is_err());
    }
}
