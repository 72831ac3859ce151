//! Kinds that users define: CustomResourceDefinitions, from the write of the definition to the last of its objects.
//!
//! A definition is decided, served and written in this order, under a lock of its space: whoever reads that it is
//! established can use it already.

mod cleanup;
pub(crate) mod convert;
mod establish;
mod serve;

use crate::call::Call;
use crate::encode;
use crate::header::Header;
use crate::server::Server;
use api::{Cause, Object};
use establish::Names;
use machinery::apply::{FieldSet, Writer};
use std::sync::Arc;
use store::{CommitError, Committed, Expect, Key, Revision, Write};

pub(crate) use establish::{complete, hold};
pub(crate) use serve::{Custom, Customs};

/// The collection of the definitions themselves.
pub(crate) const COLLECTION: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// Holds a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// What is wrong with a definition; `old` is what it replaces.
pub(crate) fn problems(definition: &Object, old: Option<&Object>) -> Vec<Cause> {
    match old {
        None => machinery::structural::validate_crd(definition),
        Some(old) => machinery::structural::validate_crd_update(definition, old),
    }
}

/// Commits a definition, or its end: what it defines is served (or no longer served) before anybody can read so.
pub(crate) fn commit(
    call: &Call,
    key: Key,
    expect: Expect,
    mut object: Object,
    released: bool,
) -> Result<Committed<Header>, CommitError<Header>> {
    let _writes = call.space.crd_writes.lock();
    let before = call.space.customs(call.store());
    let name = object.name().to_owned();
    let next = if released {
        before.without(&name)
    } else {
        let group = object.pointer("/spec/group").and_then(serde_json::Value::as_str).unwrap_or("");
        let others: Vec<Names> = before.names(group, &name).iter().map(Names::read).collect();
        let written = object.clone();
        establish::establish(&mut object, &others, call.server.now());
        object = owned_by_server(call, &written, object);
        let since = Revision(call.store().head().0 + 1);
        before.with(&object, since)
    };
    let next = Arc::new(next);
    call.space.serve(Arc::clone(&next));
    let stamped = encode::stamped(&object.0);
    let write = if released { Write::Delete(stamped) } else { Write::Put(stamped) };
    let committed = call.store().commit(key, expect, write);
    match committed {
        Ok(_) => {
            before.end_what_differs(&next);
            if object.is_deleting() && object.finalizers().contains(&CLEANUP) {
                tokio::spawn(cleanup::run(call.server.clone(), Arc::clone(&call.space), name));
            }
        }
        Err(_) => call.space.serve(before),
    }
    committed
}

/// Tracks what the server says of a definition as a stock server does, which says it in a write of its own.
fn owned_by_server(call: &Call, written: &Object, object: Object) -> Object {
    let writer = Writer {
        manager: "kube-apiserver",
        api_version: &call.kind.api_version,
        subresource: "status",
        now: call.server.now(),
        reset: &FieldSet::new(),
    };
    machinery::apply::update(Some(written), object, &writer, call.kind.schema().as_ref())
}

/// Goes on with deletions that a restart cut short.
pub(crate) fn resume(server: &Server) {
    for space in server.spaces().iter().filter_map(|name| server.space(name)) {
        let collection = space.collection(&Arc::from(COLLECTION));
        let page = server.store().page(&collection, None, None, usize::MAX, None);
        for entry in page.map(|page| page.entries).unwrap_or_default().iter().filter(|entry| entry.meta.deleting) {
            tokio::spawn(cleanup::run(server.clone(), Arc::clone(&space), entry.key.name.to_string()));
        }
    }
}
