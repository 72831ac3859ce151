//! Keeps the [`Policy`] of one space up to date from the store.
//!
//! The cursors of four watches are drained before each decision, so that a binding counts from the moment its write
//! was answered: there is no lag to wait for, as there is with a stock server's informers.

use super::bootstrap::BOOTSTRAP;
use super::policy::Kind;
use super::rule::Rule;
use super::{GROUP, Policy, inherited};
use crate::identity::{Attributes, Decision, Identity, MASTERS};
use api::{Object, ObjectName};
use parking_lot::Mutex;
use std::sync::Arc;
use store::{Change, Collection, Entry, Lost, Meta, Store, Visibility, Watch};

/// Decides requests of one space.
pub struct Cache<M: Meta> {
    store: Store<M>,
    space: Arc<str>,
    state: Mutex<Option<State<M>>>,
}

struct State<M: Meta> {
    policy: Policy,
    watches: Vec<(Kind, Watch<M>)>,
}

impl<M: Meta> Cache<M> {
    /// For one space. Nothing is read before somebody outside [`MASTERS`] asks for something.
    pub fn new(store: Store<M>, space: Arc<str>) -> Self {
        Self { store, space, state: Mutex::new(None) }
    }

    /// Decides one request.
    pub fn decide(&self, identity: &Identity, asked: &Attributes<'_>) -> Decision {
        if identity.is_in(MASTERS) {
            return Decision::Allow(String::new());
        }
        self.with_policy(|policy| policy.decide(identity, asked))
    }

    /// The rules that hold for somebody in a namespace, and what went wrong while they were looked up.
    pub fn rules_for(&self, identity: &Identity, namespace: &str) -> (Vec<Rule>, String) {
        self.with_policy(|policy| policy.rules_for(identity, namespace))
    }

    /// The rules of a role; an empty namespace is a ClusterRole.
    pub fn rules_of(&self, namespace: &str, name: &str) -> Option<Arc<[Rule]>> {
        self.with_policy(|policy| policy.rules_of(namespace, name))
    }

    fn with_policy<T>(&self, question: impl FnOnce(&Policy) -> T) -> T {
        let mut state = self.state.lock();
        let held = state.take().and_then(|mut held| held.catch_up().is_ok().then_some(held));
        let current = held.unwrap_or_else(|| self.load());
        question(&state.insert(current).policy)
    }

    /// Reads everything anew: the first time, and when a cursor fell out of the store's history.
    fn load(&self) -> State<M> {
        loop {
            let mut state = State { policy: Policy::over(Arc::clone(&BOOTSTRAP)), watches: Vec::new() };
            for (kind, plural) in Kind::ALL {
                let collection = Collection { space: self.space.clone(), resource: format!("{plural}.{GROUP}").into() };
                let Ok(page) = self.store.page(&collection, None, None, usize::MAX, None) else { break };
                for entry in &page.entries {
                    state.put(kind, entry);
                }
                let Ok(watch) = self.store.watch(&collection, None, page.revision, Visibility::Appended) else { break };
                state.watches.push((kind, watch));
            }
            // What is inherited and was deleted, unless it is there again.
            for (kind, namespace, name) in inherited::deleted(&self.store, &self.space) {
                let resource = Kind::ALL.into_iter().find(|(held, _)| *held == kind).map_or("", |(_, plural)| plural);
                let collection =
                    Collection { space: self.space.clone(), resource: format!("{resource}.{GROUP}").into() };
                if self.store.get(&store::Key::new(collection, namespace.as_str(), name.as_str())).is_none() {
                    state.policy.hide(kind, &ObjectName::namespaced(namespace, name));
                }
            }
            if state.watches.len() == Kind::ALL.len() {
                return state;
            }
        }
    }
}

impl<M: Meta> State<M> {
    fn catch_up(&mut self) -> Result<(), Lost> {
        let mut seen = Vec::new();
        for (kind, watch) in &mut self.watches {
            loop {
                let events = watch.try_next()?;
                if events.is_empty() {
                    break;
                }
                seen.extend(events.into_iter().map(|event| (*kind, event)));
            }
        }
        for (kind, event) in seen {
            match event.change {
                Change::Created | Change::Updated => self.put(kind, &event.entry),
                Change::Deleted => self.policy.hide(kind, &name(&event.entry)),
            }
        }
        Ok(())
    }

    fn put(&mut self, kind: Kind, entry: &Entry<M>) {
        match serde_json::from_slice::<Object>(&entry.value) {
            Ok(object) => self.policy.put(kind, &object),
            Err(error) => tracing::error!(name = %name(entry), %error, "a stored role or binding cannot be read"),
        }
    }
}

fn name<M: Meta>(entry: &Entry<M>) -> ObjectName {
    ObjectName::namespaced(&*entry.key.namespace, &*entry.key.name)
}
