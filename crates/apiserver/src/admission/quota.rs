//! What is used of the quotas of a space, kept exact by the store's events: a write is judged on it, and holds it until
//! the write is committed, so that two writes at once cannot both take what is left.

use super::Operation;
use super::builtin::forbidden;
use crate::Store;
use crate::call::Call;
use crate::header::Header;
use crate::respond::Result;
use api::Object;
use machinery::admission::quota::{self, Account, Rule};
use machinery::admission::resources::Amounts;
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{Change, Collection, Entry, Event, Lost, Visibility, Watch};

const QUOTAS: &str = "resourcequotas";

/// The quotas of one space and what is used of them. Nothing is read before the first write in a space with quotas.
pub(crate) struct Books {
    store: Store,
    quotas: Collection,
    state: Mutex<Option<State>>,
}

/// Held from the verdict until the write is committed.
pub(crate) struct Charge<'a>(#[allow(dead_code)] MutexGuard<'a, Option<State>>);

pub(crate) struct State {
    quotas: Watch<Header>,
    /// By namespace and name.
    open: BTreeMap<(Arc<str>, Arc<str>), Open>,
}

/// One quota.
struct Open {
    rule: Rule,
    used: Amounts,
    watches: Vec<(Arc<str>, Watch<Header>)>,
}

/// 403 if a quota of the namespace has no room for what is written. Nobody else is judged in the space while the answer
/// is held: it must not be held over a wait.
pub(crate) fn charge<'a>(
    call: &'a Call,
    operation: Operation,
    object: &Object,
    old: Option<&Object>,
) -> Result<Option<Charge<'a>>> {
    let books = &call.space.quotas;
    let namespace = call.target.namespace.as_str();
    if namespace.is_empty()
        || !quota::counts(&call.kind.collection, &call.target.subresource, operation)
        || books.store.count(&books.quotas) == 0
    {
        return Ok(None);
    }
    let mut state = books.current();
    let accounts: Vec<Account<'_>> = state
        .as_mut()
        .map(|state| state.of_namespace(namespace))
        .into_iter()
        .flatten()
        .map(|open| Account { rule: &open.rule, used: &open.used })
        .collect();
    if accounts.is_empty() {
        return Ok(None);
    }
    quota::judge(&accounts, &call.kind.collection, &object.0, old.map(|old| &old.0))
        .map_err(|why| forbidden(call, object, why))?;
    drop(accounts);
    Ok(Some(Charge(state)))
}

impl Books {
    /// Of a space.
    pub(crate) fn new(store: Store, space: Arc<str>) -> Self {
        Self { store, quotas: Collection::new(space, QUOTAS), state: Mutex::new(None) }
    }

    /// `.status` of each quota of a namespace, by name.
    pub(crate) fn statuses(&self, namespace: &str, served: impl Fn(&str) -> bool) -> Vec<(String, Value)> {
        let mut state = self.current();
        let Some(state) = &mut *state else { return Vec::new() };
        let status = |open: &Open| (open.rule.name.clone(), quota::status(&open.rule, &open.used, &served));
        state.of_namespace(namespace).map(status).collect()
    }

    /// The books as they are now.
    fn current(&self) -> MutexGuard<'_, Option<State>> {
        let mut state = self.state.lock();
        let held = state.take().and_then(|mut held| held.catch_up(self).is_ok().then_some(held));
        *state = Some(held.unwrap_or_else(|| self.load()));
        state
    }

    /// Reads everything anew: the first time, and when a cursor fell out of the store's history.
    fn load(&self) -> State {
        loop {
            let page = self.store.page(&self.quotas, None, None, usize::MAX, None).expect("the present is kept");
            let watch = self.store.watch(&self.quotas, None, page.revision, Visibility::Appended);
            let Ok(quotas) = watch else { continue };
            let mut state = State { quotas, open: BTreeMap::new() };
            page.entries.iter().for_each(|entry| state.put(self, entry));
            return state;
        }
    }

    fn open(&self, quota: &Entry<Header>) -> Open {
        let object: Object = serde_json::from_slice(&quota.value).unwrap_or_default();
        let rule = Rule::of(&object);
        let namespace = Some(&*quota.key.namespace);
        'again: loop {
            let mut open = Open { rule: rule.clone(), used: Amounts::new(), watches: Vec::new() };
            for resource in rule.collections() {
                let collection = Collection::new(self.quotas.space.clone(), resource);
                let page =
                    self.store.page(&collection, namespace, None, usize::MAX, None).expect("the present is kept");
                let watch = self.store.watch(&collection, namespace, page.revision, Visibility::Appended);
                let Ok(watch) = watch else { continue 'again };
                for entry in &page.entries {
                    let after = open.usage(&collection.resource, entry);
                    quota::replace(&mut open.used, None, Some(&after));
                }
                open.watches.push((collection.resource.clone(), watch));
            }
            return open;
        }
    }
}

impl State {
    /// Takes in what was written meanwhile.
    fn catch_up(&mut self, books: &Books) -> Result<(), Lost> {
        loop {
            let events = self.quotas.try_next()?;
            if events.is_empty() {
                break;
            }
            for event in events {
                let key = &event.entry.key;
                match event.change {
                    Change::Created | Change::Updated => self.put(books, &event.entry),
                    Change::Deleted => drop(self.open.remove(&(key.namespace.clone(), key.name.clone()))),
                }
            }
        }
        self.open.values_mut().try_for_each(Open::catch_up)
    }

    fn put(&mut self, books: &Books, entry: &Entry<Header>) {
        let place = (entry.key.namespace.clone(), entry.key.name.clone());
        // Most writes of a quota are of its status.
        let object: Object = serde_json::from_slice(&entry.value).unwrap_or_default();
        if self.open.get(&place).is_none_or(|open| open.rule != Rule::of(&object)) {
            self.open.insert(place, books.open(entry));
        }
    }

    fn of_namespace<'s>(&'s self, namespace: &'s str) -> impl Iterator<Item = &'s Open> {
        let from = (Arc::from(namespace), Arc::from(""));
        self.open.range(from..).take_while(move |((held, _), _)| &**held == namespace).map(|(_, open)| open)
    }
}

impl Open {
    fn catch_up(&mut self) -> Result<(), Lost> {
        let mut seen: Vec<(Arc<str>, Arc<Event<Header>>)> = Vec::new();
        for (resource, watch) in &mut self.watches {
            loop {
                let events = watch.try_next()?;
                if events.is_empty() {
                    break;
                }
                seen.extend(events.into_iter().map(|event| (resource.clone(), event)));
            }
        }
        for (resource, event) in seen {
            let before = event.previous.as_ref().map(|entry| self.usage(&resource, entry));
            let after = (event.change != Change::Deleted).then(|| self.usage(&resource, &event.entry));
            if before != after {
                quota::replace(&mut self.used, before.as_ref(), after.as_ref());
            }
        }
        Ok(())
    }

    fn usage(&self, resource: &str, entry: &Entry<Header>) -> Amounts {
        match serde_json::from_slice::<Object>(&entry.value) {
            Ok(object) => self.rule.usage(resource, &object.0),
            Err(_) => Amounts::new(),
        }
    }
}
