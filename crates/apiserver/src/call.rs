//! One request to a resource, with everything that its verb needs.

use crate::authz::authorize;
use crate::header::Header;
use crate::identity::{Attributes, Identity};
use crate::negotiate::{Accepted, Offer, negotiate};
use crate::rbac::inherited::Inherited;
use crate::registry::Kind;
use crate::respond::{Failure, Result};
use crate::route::{Query, Target, Verb};
use crate::server::Server;
use crate::space::Space;
use crate::{Entry, Store};
use api::{Reason, Status};
use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use std::sync::Arc;
use store::{Collection, CommitError, Key, Revision, Visibility};

/// One request to a resource.
pub(crate) struct Call {
    pub(crate) server: Server,
    pub(crate) space: Arc<Space>,
    pub(crate) identity: Identity,
    pub(crate) visibility: Visibility,
    pub(crate) kind: Arc<Kind>,
    pub(crate) target: Target,
    pub(crate) verb: Verb,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) warnings: Warnings,
}

/// What a client is told beside the answer, in the order in which it came up; each text once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    pub(crate) fn add(&self, text: impl Into<String>) {
        let text = text.into();
        let mut held = self.0.lock();
        if !held.contains(&text) {
            held.push(text);
        }
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

impl Call {
    pub(crate) fn store(&self) -> &Store {
        &self.server.0.store
    }

    /// The collection that the request is about.
    pub(crate) fn collection(&self) -> Collection {
        self.space.collection(&self.kind.collection)
    }

    /// The key of an object of the kind, in the namespace of the path.
    pub(crate) fn key(&self, name: &str) -> Key {
        self.space.key(&self.kind.collection, &self.target.namespace, name)
    }

    /// The namespace to look in: `None` is all of them.
    pub(crate) fn namespace(&self) -> Option<&str> {
        Some(self.target.namespace.as_str()).filter(|namespace| !namespace.is_empty())
    }

    /// What the space has under a key of the collection: stored, or inherited.
    pub(crate) fn held(&self, key: &Key) -> Option<Arc<Entry>> {
        self.store().get(key).or_else(|| self.inherited()?.get(key))
    }

    /// What the space inherits in the collection of the request.
    pub(crate) fn inherited(&self) -> Option<Inherited> {
        Inherited::of(self.store(), &self.space, &self.collection())
    }

    /// The object of the path.
    ///
    /// # Errors
    /// 404 if it is not there, once that is certain to stay so.
    pub(crate) async fn live(&self) -> Result<Arc<Entry>> {
        if let Some(entry) = self.held(&self.key(&self.target.name)) {
            return Ok(entry);
        }
        self.settle(self.store().head()).await?;
        Err(self.not_found().into())
    }

    /// The form of the answer that the client asked for.
    ///
    /// # Errors
    /// 406 if it accepts none that there is.
    pub(crate) fn negotiate(&self, offer: Offer) -> Result<Accepted> {
        negotiate(&self.headers, self.query.flag("pretty") && offer != Offer::Watch, offer, &self.kind)
    }

    /// 404 for the object of the path.
    pub(crate) fn not_found(&self) -> Status {
        Status::not_found(&self.kind.group_resource, &self.target.name)
    }

    /// Waits until what the caller is going to be told would survive a crash. In-process callers do not wait.
    pub(crate) async fn settle(&self, revision: Revision) -> Result<()> {
        if self.visibility == Visibility::Appended {
            return Ok(());
        }
        self.store().durable(revision).await.map_err(|closed| unavailable(&closed).into())
    }

    /// 403 unless the caller may also do `verb` here.
    pub(crate) fn authorize(&self, verb: &str, name: &str) -> Result<()> {
        let asked = Attributes {
            verb,
            group: &self.target.group,
            resource: &self.target.resource,
            subresource: &self.target.subresource,
            namespace: &self.target.namespace,
            name,
            path: None,
        };
        authorize(&self.space, &self.identity, &asked)
    }
}

/// 503 when the store has ended.
pub(crate) fn unavailable(closed: &store::Closed) -> Status {
    Status::failure(Reason::ServiceUnavailable, closed.to_string())
}

/// What a refused commit means to the client. Conflicts are decided by the verbs and do not come here.
pub(crate) fn refused(error: &CommitError<Header>) -> Failure {
    match error {
        CommitError::TooLarge { size, limit, .. } => {
            let message = format!("Request entity too large: the object would take {size} bytes, the limit is {limit}");
            Status::failure(Reason::RequestEntityTooLarge, message).into()
        }
        CommitError::Busy { .. } => {
            let mut status = Status::failure(Reason::TooManyRequests, error.to_string());
            status.details = Some(Box::new(api::Details { retry_after_seconds: Some(1), ..Default::default() }));
            status.into()
        }
        CommitError::Closed(closed) => unavailable(closed).into(),
        other => Status::internal(other).into(),
    }
}
