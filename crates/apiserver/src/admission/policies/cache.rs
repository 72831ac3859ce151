//! The policies of one space, compiled: once for each revision of each, when they are first asked.

use super::Family;
use crate::header::Header;
use machinery::cel::policy::{Binding, Policy};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{Collection, Entry, Revision, Store, Visibility, Watch};

/// A policy with its bindings, in the order of their names.
#[derive(Clone)]
pub(super) struct Bound {
    pub(super) name: String,
    pub(super) policy: Arc<Policy>,
    pub(super) bindings: Vec<(String, Arc<Binding>)>,
}

/// What is held of both families; nothing before anybody asks.
#[derive(Default)]
pub(crate) struct Cache {
    validating: Mutex<Option<Held>>,
    mutating: Mutex<Option<Held>>,
}

struct Held {
    /// Of policies and bindings: whatever they bring makes what is held stale.
    watches: [Watch<Header>; 2],
    policies: BTreeMap<String, (Revision, Arc<Policy>)>,
    bound: Arc<Vec<Bound>>,
}

impl Cache {
    /// The policies that have bindings, in the order of their names. A write that was answered counts at once.
    pub(super) fn bound(&self, store: &Store<Header>, space: &Arc<str>, family: Family) -> Arc<Vec<Bound>> {
        let slot = match family {
            Family::Validating => &self.validating,
            Family::Mutating => &self.mutating,
        };
        let mut slot = slot.lock();
        if let Some(held) = slot.as_mut()
            && held.watches.iter_mut().all(|watch| watch.try_next().is_ok_and(|events| events.is_empty()))
        {
            return Arc::clone(&held.bound);
        }
        let compiled = slot.take().map(|held| held.policies).unwrap_or_default();
        let held = load(store, space, family, &compiled);
        let bound = held.as_ref().map_or_else(Arc::default, |held| Arc::clone(&held.bound));
        *slot = held;
        bound
    }
}

/// Reads all; what is compiled already at the same revision is kept.
fn load(
    store: &Store<Header>,
    space: &Arc<str>,
    family: Family,
    compiled: &BTreeMap<String, (Revision, Arc<Policy>)>,
) -> Option<Held> {
    let [policies, bindings] = family.collections().map(|resource| Collection::new(space.clone(), resource));
    let read = |collection: &Collection| {
        let page = store.page(collection, None, None, usize::MAX, None).ok()?;
        let watch = store.watch(collection, None, page.revision, Visibility::Appended).ok()?;
        Some((page.entries, watch))
    };
    let (policies, of_policies) = read(&policies)?;
    let (bindings, of_bindings) = read(&bindings)?;
    let mut all = BTreeMap::new();
    for entry in policies {
        let name = entry.key.name.to_string();
        let policy = match compiled.get(&name).filter(|(revision, _)| *revision == entry.modified) {
            Some((_, policy)) => Arc::clone(policy),
            None => match parsed(&entry) {
                Some(object) => Arc::new(Policy::compile(&object)),
                None => continue,
            },
        };
        all.insert(name, (entry.modified, policy));
    }
    let mut bound: BTreeMap<String, Bound> = BTreeMap::new();
    for entry in bindings {
        let Some(object) = parsed(&entry) else { continue };
        let binding = Binding::read(&object);
        let Some((_, policy)) = all.get(&binding.policy) else { continue };
        let of_policy = bound.entry(binding.policy.clone()).or_insert_with(|| Bound {
            name: binding.policy.clone(),
            policy: Arc::clone(policy),
            bindings: Vec::new(),
        });
        of_policy.bindings.push((entry.key.name.to_string(), Arc::new(binding)));
    }
    let bound = Arc::new(bound.into_values().collect());
    Some(Held { watches: [of_policies, of_bindings], policies: all, bound })
}

fn parsed(entry: &Entry<Header>) -> Option<serde_json::Map<String, Value>> {
    match serde_json::from_slice(&entry.value) {
        Ok(object) => Some(object),
        Err(error) => {
            tracing::error!(name = %entry.key.name, %error, "a stored admission policy cannot be read");
            None
        }
    }
}
