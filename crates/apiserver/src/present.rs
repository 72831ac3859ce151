//! Stored entries in the version and form that a client asked for. Whole objects at their stored version are handed on
//! as they are: no tree is parsed on the way of a get, a list or a watch.

use crate::builtin::transcoder;
use crate::call::Call;
use crate::convert::convert as convert_builtin;
use crate::crd::{Custom, convert};
use crate::negotiate::{Accepted, Encoding, Form};
use crate::registry::Kind;
use crate::respond::{self, Body, Result};
use crate::{Entry, table};
use api::{Object, Status};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use store::Revision;

/// The JSON of an entry at the version of `kind`.
pub(crate) fn whole(kind: &Kind, entry: &Entry) -> Bytes {
    if !needs_work(kind, entry) {
        return entry.value.clone();
    }
    let bytes = &entry.value;
    // Versions of a custom kind with the same schema differ in `apiVersion` only.
    if kind.custom.as_ref().is_some_and(|custom| entry.modified >= custom.since && custom.uniform)
        && let Some(rest) = after_api_version(bytes)
    {
        let lead = format!("{{\"apiVersion\":\"{}\"", kind.api_version);
        return [lead.as_bytes(), rest].concat().into();
    }
    match tree(kind, entry) {
        // A dry run of a create has the revision that it came with, if any.
        Ok(object) if entry.modified == Revision::ZERO => crate::encode::unstored(&object.0, object.resource_version()),
        Ok(object) => crate::encode::unstored(&object.0, &entry.modified.to_string()),
        Err(error) => {
            tracing::error!(key = %entry.key, %error, "a stored object cannot be converted");
            bytes.clone()
        }
    }
}

/// Writes entries as items of a list. The list says of what kind the items of a built-in kind are; each of a custom kind
/// says so itself, as in the stock server.
pub(crate) struct Items<'a> {
    kind: &'a Kind,
    /// What is left out of each.
    lead: String,
}

impl<'a> Items<'a> {
    pub(crate) fn new(kind: &'a Kind) -> Self {
        let lead = match kind.custom {
            Some(_) => String::new(),
            None => format!(r#"{{"apiVersion":"{}","kind":"{}","#, kind.api_version, kind.served.kind),
        };
        Self { kind, lead }
    }

    /// Appends the JSON of an item.
    pub(crate) fn append(&self, entry: &Entry, out: &mut Vec<u8>) {
        let bytes = whole(self.kind, entry);
        match bytes.strip_prefix(self.lead.as_bytes()) {
            Some(rest) if !self.lead.is_empty() => {
                out.push(b'{');
                out.extend_from_slice(rest);
            }
            _ => out.extend_from_slice(&bytes),
        }
    }
}

/// The tree of an entry at the version of `kind`, with the defaults that its schema has now.
pub(crate) fn tree(kind: &Kind, entry: &Entry) -> Result<Object> {
    let object: Object = serde_json::from_slice(&entry.value).map_err(Status::internal)?;
    if needs_work(kind, entry) { converted(kind, object) } else { Ok(object) }
}

/// An object in the version of `kind`, whatever version of the same kind it is in.
fn converted(kind: &Kind, mut object: Object) -> Result<Object> {
    if object.api_version() != kind.api_version {
        if kind.custom.is_some() {
            object.0.insert("apiVersion".into(), kind.api_version.as_str().into());
        } else {
            convert_builtin(&mut object, &kind.api_version).map_err(Status::internal)?;
        }
    }
    crate::verbs::fields::bring_up(kind, &mut object);
    Ok(object)
}

/// The object of an entry at the version of the request.
///
/// # Errors
/// If a webhook has to convert it, and does not.
pub(crate) async fn asked(call: &Call, entry: &Arc<Entry>) -> Result<Object> {
    tree(&call.kind, &*convert::entry(&call.space, &call.kind, entry).await?)
}

/// The object of an entry at the version of the request, or where a webhook would have to convert it, as it is stored.
pub(crate) fn stored(call: &Call, entry: &Entry) -> Result<Object> {
    if call.kind.is_converted() {
        return serde_json::from_slice(&entry.value).map_err(|error| Status::internal(error).into());
    }
    tree(&call.kind, entry)
}

/// Whether the stored bytes are not yet what the kind shows.
pub(crate) fn needs_work(kind: &Kind, entry: &Entry) -> bool {
    let lead = entry.value.strip_prefix(br#"{"apiVersion":""#);
    let same = lead
        .and_then(|rest| rest.strip_prefix(kind.api_version.as_bytes()))
        .is_some_and(|rest| rest.first() == Some(&b'"'));
    // What a webhook converts has been brought up with the conversion, each at the version that it was stored in.
    let brought_up = |custom: &Custom| custom.conversion.is_some() || entry.modified >= custom.since;
    !same || !kind.custom.as_ref().is_none_or(brought_up)
}

/// What follows the value of `apiVersion`.
fn after_api_version(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(br#"{"apiVersion":""#)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    Some(&rest[end + 1..])
}

/// The metadata of an entry as a `PartialObjectMetadata`.
pub(crate) fn metadata(version: &str, entry: &Entry) -> Vec<u8> {
    let lead = format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/{version}","metadata":"#);
    [lead.as_bytes(), &entry.value[entry.meta.metadata()], b"}"].concat()
}

/// Answers with one object.
pub(crate) async fn object(
    call: &Call,
    accepted: Accepted,
    code: StatusCode,
    entry: &Arc<Entry>,
) -> Result<Response<Body>> {
    let entry = &*convert::entry(&call.space, &call.kind, entry).await?;
    Ok(match accepted.form {
        Form::Whole => document(accepted, code, whole(&call.kind, entry)),
        Form::Metadata(version) => document(accepted, code, metadata(version, entry)),
        Form::Table(version) => {
            let mut rows = table::Table::new(call, version);
            rows.push(entry);
            let metadata = Map::from_iter([("resourceVersion".to_owned(), json!(entry.modified.to_string()))]);
            document(accepted, code, rows.finish(metadata, true))
        }
    })
}

/// Answers with a JSON document in the encoding that was agreed on.
pub(crate) fn document(accepted: Accepted, code: StatusCode, json: impl Into<Bytes>) -> Response<Body> {
    let bytes = json.into();
    let (content_type, bytes) = match accepted.encoding {
        Encoding::Json if accepted.pretty => ("application/json", pretty(&bytes)),
        Encoding::Json => ("application/json", bytes),
        Encoding::Yaml => ("application/yaml", yaml(&bytes)),
        Encoding::Protobuf => match protobuf(&bytes) {
            Some(body) => (PROTOBUF, body.into()),
            // What has no message is told in the form that every client reads.
            None => ("application/json", bytes),
        },
    };
    respond::compressed(respond::answer(code, content_type, bytes.clone()), &bytes, accepted.gzip)
}

/// The media type of protobuf with the envelope of Kubernetes.
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// The protobuf body of a JSON document that says of which kind it is.
pub(crate) fn protobuf(json: &[u8]) -> Option<Vec<u8>> {
    transcoder().encode(&serde_json::from_slice(json).ok()?)
}

/// The protobuf body of a list.
pub(crate) fn protobuf_list<'a>(
    api_version: &str,
    kind: &str,
    metadata: &Map<String, Value>,
    items: impl Iterator<Item = Bytes> + 'a,
) -> Option<Vec<u8>> {
    let items = items.map(|item| serde_json::from_slice(&item).unwrap_or_default());
    transcoder().encode_list(api_version, kind, metadata, items)
}

fn pretty(bytes: &Bytes) -> Bytes {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let mut text = serde_json::to_vec_pretty(&value).expect("a JSON tree always serialises");
    text.push(b'\n');
    text.into()
}

fn yaml(bytes: &Bytes) -> Bytes {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    match serde_saphyr::to_string(&value) {
        Ok(text) => text.into(),
        Err(error) => {
            // JSON is YAML: a worse form is better than none.
            tracing::warn!(%error, "an answer could not be written as YAML");
            bytes.clone()
        }
    }
}
