//! One space: what is held of it in memory beside its objects in the store.

use crate::admission::policies;
use crate::admission::quota;
use crate::admission::webhooks::Hooks;
use crate::crd::Customs;
use crate::header::Header;
use crate::oidc;
use crate::rbac;
use crate::registry::{self, Kind};
use crate::services::Allocations;
use crate::tokens::TokenKey;
use api::SpaceName;
use parking_lot::{Mutex, RwLock};
use pki::Authority;
use std::sync::{Arc, OnceLock};
use store::{Collection, Key, Store};
use tokio_util::sync::CancellationToken;

/// A space that is served. An empty one is this struct and four namespaces.
pub(crate) struct Space {
    pub(crate) name: SpaceName,
    /// The same, in the form of the store's keys.
    pub(crate) prefix: Arc<str>,
    /// Signs the client certificates that open this space, and no other.
    pub(crate) authority: Authority,
    /// Signs the tokens of its service accounts.
    pub(crate) tokens: TokenKey,
    /// The issuer of these tokens, and their audience unless another is asked for: where the space was reached when it
    /// was made. It stays when the server moves, so that tokens, and those who check them elsewhere, need not follow.
    pub(crate) issuer: String,
    pub(crate) rbac: rbac::Cache<Header>,
    /// Where what the space inherits has its time and revision from; empty before the first question.
    pub(crate) origin: OnceLock<rbac::inherited::Origin>,
    /// Who was let impersonate others the old way: what such a one is told when refused is about that way.
    pub(crate) impersonators: Mutex<std::collections::HashSet<String>>,
    /// Kinds of CRDs; `None` before the first question, so that opening many spaces reads nothing.
    customs: RwLock<Option<Arc<Customs>>>,
    /// Policies of admission.
    pub(crate) policies: policies::Cache,
    /// Held while a CRD is written, so that names are decided one after the other.
    pub(crate) crd_writes: Mutex<()>,
    /// What is used of its quotas.
    pub(crate) quotas: quota::Books,
    /// What its Services have of addresses and ports.
    pub(crate) allocations: Allocations,
    /// Its admission webhooks.
    pub(crate) hooks: Hooks,
    /// Issuers whose tokens are good here.
    pub(crate) trust: oidc::Trust,
    /// Ends the watches of the space; it ends with the server.
    pub(crate) end: CancellationToken,
}

impl Space {
    pub(crate) fn new(
        store: &Store<Header>,
        name: SpaceName,
        authority: Authority,
        tokens: TokenKey,
        issuer: String,
        end: CancellationToken,
    ) -> Self {
        let prefix: Arc<str> = name.as_str().into();
        Self {
            rbac: rbac::Cache::new(store.clone(), prefix.clone()),
            hooks: Hooks::new(store.clone(), &prefix),
            quotas: quota::Books::new(store.clone(), prefix.clone()),
            allocations: Allocations::new(store.clone(), &prefix),
            name,
            prefix,
            authority,
            tokens,
            issuer,
            origin: OnceLock::new(),
            impersonators: Mutex::default(),
            customs: RwLock::new(None),
            policies: policies::Cache::default(),
            crd_writes: Mutex::new(()),
            trust: oidc::Trust::default(),
            end,
        }
    }

    /// The kinds that its CRDs define.
    pub(crate) fn customs(&self, store: &Store<Header>) -> Arc<Customs> {
        if let Some(held) = &*self.customs.read() {
            return Arc::clone(held);
        }
        let mut slot = self.customs.write();
        Arc::clone(slot.get_or_insert_with(|| Arc::new(Customs::load(store, &self.prefix))))
    }

    /// Serves other kinds from now on. Whoever calls this ends the watches of kinds that are gone or changed, once that
    /// is certain.
    pub(crate) fn serve(&self, customs: Arc<Customs>) {
        *self.customs.write() = Some(customs);
    }

    /// The kind at a path.
    pub(crate) fn kind(&self, store: &Store<Header>, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        registry::builtin_kind(group, version, plural).or_else(|| self.customs(store).kind(group, version, plural))
    }

    /// A collection of this space.
    pub(crate) fn collection(&self, resource: &Arc<str>) -> Collection {
        Collection { space: self.prefix.clone(), resource: resource.clone() }
    }

    /// A key in this space.
    pub(crate) fn key(&self, resource: &Arc<str>, namespace: &str, name: &str) -> Key {
        Key::new(self.collection(resource), namespace, name)
    }
}
