//! list: a collection, whole or page by page.

use crate::call::Call;
use crate::crd::convert;
use crate::negotiate::{Accepted, Encoding, Form, Offer};
use crate::options::{ListOptions, Match, expired, too_large};
use crate::present::Items;
use crate::respond::{Body, Result};
use crate::selection::Selection;
use crate::table::{self, Table};
use crate::{Entry, present, respond, syntax};
use api::Status;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use store::Revision;

/// Where a list goes on: the token of the stock server, so that it reads the same in a trace.
#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    /// -1: go on with what is there now.
    rv: i64,
    /// The last name that was listed, and a NUL.
    start: String,
}

impl Token {
    fn after(last: &Entry, revision: i64) -> String {
        let (namespace, name) = (&last.key.namespace, &last.key.name);
        let start = if namespace.is_empty() { format!("{name}\0") } else { format!("{namespace}/{name}\0") };
        Self { v: "meta.k8s.io/v1".into(), rv: revision, start }.encode()
    }

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("texts and numbers always serialise"))
    }

    fn decode(text: &str) -> Result<Self> {
        let bad = |why: &str| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| bad("illegal base64 data"))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|error| {
            let why = syntax::problem(&bytes).unwrap_or_else(|| error.to_string());
            bad(&why)
        })?;
        if token.v != "meta.k8s.io/v1" {
            return Err(bad("server does not recognize this encoded version").into());
        }
        Ok(token)
    }

    /// Namespace and name of the last object that was listed.
    fn last(&self) -> (&str, &str) {
        let start = self.start.trim_end_matches('\0');
        start.split_once('/').unwrap_or(("", start))
    }
}

/// What a list found.
pub(crate) struct Listed {
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) revision: Revision,
    continue_token: Option<String>,
    remaining: Option<usize>,
}

pub(super) async fn list(call: &Call) -> Result<Response<Body>> {
    let accepted = call.negotiate(Offer::List)?;
    let options = ListOptions::read(&call.query, false)?;
    if matches!(accepted.form, Form::Table(_)) {
        table::check(&call.query)?;
    }
    let listed = find(call, &options, As::Shown).await?;
    call.settle(listed.revision).await?;
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), listed.revision.to_string().into());
    if let Some(token) = listed.continue_token {
        metadata.insert("continue".into(), token.into());
    } else if call.kind.custom.is_some() && accepted.form == Form::Whole {
        // Custom resources have no type that would leave it out.
        metadata.insert("continue".into(), "".into());
    }
    if let Some(remaining) = listed.remaining {
        metadata.insert("remainingItemCount".into(), remaining.into());
    }
    Ok(answer(call, accepted, metadata, &listed.entries))
}

/// In which version entries of a kind are wanted whose versions a webhook converts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    /// That of the request.
    Shown,
    /// Each its own.
    Stored,
}

/// Finds the entries that a list is about.
pub(crate) async fn find(call: &Call, options: &ListOptions, form: As) -> Result<Listed> {
    let selection = Selection::parse(&call.kind, &options.labels, &options.fields)?;
    let token = options.continue_token.as_deref().map(Token::decode).transpose()?;
    if token.is_some() && options.revision.is_some_and(|revision| revision > 0) {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue").into());
    }
    let head = call.store().head().0;
    if let Some(asked) = options.revision.filter(|asked| *asked > head) {
        return Err(too_large(asked, head));
    }
    let exact = |revision: u64| {
        options.revision_match == Some(Match::Exact)
            || (options.revision_match.is_none() && options.limit > 0 && revision > 0)
    };
    let at = match &token {
        Some(token) => u64::try_from(token.rv).ok(),
        None => options.revision.filter(|revision| exact(*revision)),
    };
    gather(call, options, &selection, token.as_ref(), at.map(Revision), form).await
}

/// Objects that a list with a selection looks at in one step.
const SELECTED_STEP: usize = 10_000;

async fn gather(
    call: &Call,
    options: &ListOptions,
    selection: &Selection,
    token: Option<&Token>,
    at: Option<Revision>,
    form: As,
) -> Result<Listed> {
    let (collection, inherited) = (call.collection(), call.inherited());
    let limit = if options.limit == 0 { usize::MAX } else { options.limit };
    let namespace = call.namespace().or_else(|| selection.namespace().filter(|_| call.kind.served.namespaced));
    let everything = selection.is_everything();
    // A selection may leave most objects out: few large steps cost less than many small ones.
    let step = if everything { limit } else { limit.max(SELECTED_STEP) };
    let mut after: Option<(String, String)> = token.map(|token| {
        let (namespace, name) = token.last();
        (namespace.to_owned(), name.to_owned())
    });
    let mut at = at;
    let mut entries: Vec<Arc<Entry>> = Vec::new();
    loop {
        let from = after.as_ref().map(|(namespace, name)| (namespace.as_str(), name.as_str()));
        let page = match &inherited {
            Some(inherited) => inherited.page(namespace, from, step, at),
            None => call.store().page(&collection, namespace, from, step, at),
        };
        let page = page.map_err(|_| match token {
            Some(token) => {
                let inconsistent = Token { v: token.v.clone(), rv: -1, start: token.start.clone() }.encode();
                expired(EXPIRED_CONTINUE, Some(inconsistent))
            }
            None => expired("The resourceVersion for the provided list is too old.", None),
        })?;
        // What follows belongs to the same moment.
        at = Some(page.revision);
        let more = page.remaining > 0;
        let last = page.entries.last().map(|entry| (entry.key.namespace.to_string(), entry.key.name.to_string()));
        let wanted = limit - entries.len();
        let mut matched: Vec<_> = selected(call, page.entries, selection, form).await?;
        let cut = matched.len() > wanted;
        matched.truncate(wanted);
        entries.extend(matched);
        if (more || cut) && entries.len() < limit {
            after = last;
            continue;
        }
        let revision = page.revision;
        let unfinished = more || cut;
        let next = entries.last().filter(|_| unfinished);
        // A list at the latest state goes on consistently: at the revision of its first page.
        let rv = i64::try_from(revision.0).expect("revisions fit an int64, as Kubernetes has them");
        return Ok(Listed {
            continue_token: next.map(|last| Token::after(last, rv)),
            remaining: next.filter(|_| everything).map(|_| page.remaining),
            entries,
            revision,
        });
    }
}

/// Those that are selected, which is decided on what the request would see.
async fn selected(call: &Call, entries: Vec<Arc<Entry>>, selection: &Selection, form: As) -> Result<Vec<Arc<Entry>>> {
    let everything = selection.is_everything();
    if !call.kind.is_converted() {
        return Ok(entries.into_iter().filter(|entry| everything || selection.matches(entry)).collect());
    }
    if everything && form == As::Stored {
        return Ok(entries);
    }
    let shown = convert::entries(&call.space, &call.kind, &entries).await?;
    let chosen = shown.into_iter().zip(entries).filter(|(shown, _)| everything || selection.matches(shown));
    Ok(chosen.map(|(shown, stored)| if form == As::Shown { shown } else { stored }).collect())
}

const EXPIRED_CONTINUE: &str = "The provided continue parameter is too old to display a consistent list result. You can \
     start a new list without the continue parameter, or use the continue token in this response to retrieve the \
     remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were \
     created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// Answers with a list of nothing, for kinds that are served and never there.
pub(crate) async fn empty(call: &Call, accepted: Accepted) -> Result<Response<Body>> {
    let head = call.store().head();
    call.settle(head).await?;
    let metadata = Map::from_iter([("resourceVersion".to_owned(), head.to_string().into())]);
    Ok(answer(call, accepted, metadata, &[]))
}

/// Answers with a list of entries.
pub(crate) fn answer(
    call: &Call,
    accepted: Accepted,
    metadata: Map<String, Value>,
    entries: &[Arc<Entry>],
) -> Response<Body> {
    let (list_kind, api_version) = match accepted.form {
        Form::Table(version) => {
            let mut table = Table::new(call, version);
            for entry in entries {
                table.push(entry);
            }
            return present::document(accepted, StatusCode::OK, table.finish(metadata, true));
        }
        Form::Metadata(version) => ("PartialObjectMetadataList".into(), format!("meta.k8s.io/{version}")),
        Form::Whole => (call.kind.list_kind(), call.kind.api_version.clone()),
    };
    if accepted.encoding == Encoding::Protobuf {
        let items = entries.iter().map(|entry| match accepted.form {
            Form::Metadata(version) => present::metadata(version, entry).into(),
            _ => present::whole(&call.kind, entry),
        });
        if let Some(body) = present::protobuf_list(&api_version, &list_kind, &metadata, items) {
            let body = Bytes::from(body);
            let response = respond::answer(StatusCode::OK, present::PROTOBUF, body.clone());
            return respond::compressed(response, &body, accepted.gzip);
        }
    }
    let size: usize = entries.iter().map(|entry| entry.value.len() + 1).sum();
    let metadata = Value::Object(metadata);
    let mut bytes = Vec::with_capacity(size + 256);
    bytes.extend_from_slice(
        format!(r#"{{"kind":"{list_kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#).as_bytes(),
    );
    let items = Items::new(&call.kind);
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            bytes.push(b',');
        }
        match accepted.form {
            Form::Metadata(version) => bytes.extend_from_slice(&present::metadata(version, entry)),
            _ => items.append(entry, &mut bytes),
        }
    }
    bytes.extend_from_slice(b"]}\n");
    present::document(accepted, StatusCode::OK, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let token = Token { v: "meta.k8s.io/v1".into(), rv: 7, start: "ns/a\0".into() };
        let read = Token::decode(&token.encode()).unwrap();
        assert_eq!((read.rv, read.last()), (7, ("ns", "a")));
        assert_eq!(Token::decode("!!").err().unwrap().code, 400);
        assert_eq!(Token::decode("e30").err().unwrap().code, 400);
    }
}
