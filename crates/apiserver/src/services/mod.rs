//! Addresses and ports of the Services of a space: who has which, kept exact by the store's events.
//!
//! Nothing of it is stored: it is read from the Services when the first of them is written. A write takes what it needs
//! before it is committed, and holds it until its outcome is in the store, so that two writes at once cannot take the
//! same. The IPAddress objects that tell of addresses follow the Services.

mod addresses;
pub(crate) mod own;

use crate::call::Call;
use crate::header::Header;
use crate::respond::Result;
use crate::space::Space;
use crate::verbs::write;
use crate::{Store, builtin, random};
use api::{Object, Reason, Status, Timestamp};
use machinery::apply::{FieldSet, Writer};
use machinery::services::{self, Held, Pool, Range, Refusal};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use store::{Change, Collection, Entry, Key, Lost, Visibility, Watch};

/// Where Services are stored.
pub(crate) const COLLECTION: &str = "services";
const RANGES: &str = "servicecidrs.networking.k8s.io";
/// Who writes what the server keeps for itself, as a stock server has it.
const MANAGER: &str = "kube-apiserver";

/// What the Services of one space have. Nothing is read before the first of them is written.
pub(crate) struct Allocations {
    store: Store,
    services: Collection,
    ranges: Collection,
    addresses: Collection,
    state: Mutex<Option<State>>,
    /// What writes hold that are not in the store yet.
    reserved: Mutex<Reserved>,
}

#[derive(Default)]
struct Reserved {
    addresses: BTreeSet<Ipv4Addr>,
    ports: BTreeSet<u16>,
}

struct State {
    services: Watch<Header>,
    /// By namespace and name.
    held: BTreeMap<(Arc<str>, Arc<str>), Held>,
    /// How many Services have an address, or a port: Services of old may have the same.
    addresses: BTreeMap<Ipv4Addr, usize>,
    ports: BTreeMap<u16, usize>,
}

/// What a write holds until it is in the store, or has failed.
pub(crate) struct Reservation {
    space: Arc<Space>,
    addresses: Vec<Ipv4Addr>,
    ports: Vec<u16>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = self.space.allocations.reserved.lock();
        for address in &self.addresses {
            reserved.addresses.remove(address);
        }
        for port in &self.ports {
            reserved.ports.remove(port);
        }
    }
}

/// Gives a Service that is written what it needs. `None` for all other kinds.
///
/// # Errors
/// 422 if it asks for what it cannot have, 500 if nothing is left.
pub(crate) fn reserve(
    call: &Call,
    object: &mut Object,
    old: Option<&Object>,
    dry_run: bool,
) -> Result<Option<Reservation>> {
    if &*call.kind.collection != COLLECTION || !call.target.subresource.is_empty() {
        return Ok(None);
    }
    let name = object.name().to_owned();
    let own = own::is(object.namespace(), &name);
    let Some(spec) = object.0.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(None) };
    let empty = Map::new();
    let old = old.map(|old| old.0.get("spec").and_then(Value::as_object).unwrap_or(&empty));
    let taken = call.space.allocations.take(call, (&name, own), spec, old, dry_run);
    let reservation = taken.map_err(|refusal| match refusal {
        Refusal::Invalid(causes) => write::invalid(call, &name, causes),
        Refusal::Internal(why) => {
            let mut status = Status::internal(&why);
            let cause = api::Cause { reason: String::new(), message: why, field: String::new() };
            status.details = Some(Box::new(api::Details { causes: vec![cause], ..Default::default() }));
            status.into()
        }
        Refusal::Unknown(why) => Status::failure(Reason::Unknown, why).into(),
    })?;
    services::drop_unused(spec, old);
    if old.is_some()
        && !services::is_balanced(spec)
        && let Some(Value::Object(status)) = object.0.get_mut("status")
    {
        status.insert("loadBalancer".into(), Value::Object(Map::new()));
    }
    Ok(Some(reservation))
}

/// Lets what tells of a Service follow it, once it is written or gone. `before` is what it was.
pub(crate) fn follow(call: &Call, key: &Key, before: Option<&Object>) {
    if &*key.collection.resource != COLLECTION || !call.target.subresource.is_empty() {
        return;
    }
    call.space.allocations.follow(call, key, before);
}

impl Allocations {
    /// Of a space.
    pub(crate) fn new(store: Store, space: &Arc<str>) -> Self {
        let collection = |resource: &str| Collection::new(space.clone(), resource);
        Self {
            store,
            services: collection(COLLECTION),
            ranges: collection(RANGES),
            addresses: collection(addresses::COLLECTION),
            state: Mutex::new(None),
            reserved: Mutex::default(),
        }
    }

    fn take(
        &self,
        call: &Call,
        (name, own): (&str, bool),
        spec: &mut Map<String, Value>,
        old: Option<&Map<String, Value>>,
        dry_run: bool,
    ) -> Result<Reservation, Refusal> {
        let state = self.current(call.server.now());
        let state = state.as_ref().expect("it was just loaded");
        let mut reserved = self.reserved.lock();
        let address_taken = |address: Ipv4Addr| {
            // The first is that of the API, also before its Service is written.
            (address == services::DEFAULT_RANGE.first() && !own)
                || state.addresses.contains_key(&address)
                || reserved.addresses.contains(&address)
                || self.store.get(&self.address(address)).is_some()
        };
        let port_taken = |port: u16| state.ports.contains_key(&port) || reserved.ports.contains(&port);
        let ranges = self.ranges();
        let mut pool = Pool {
            name,
            ranges: &ranges,
            address_taken: &address_taken,
            port_taken: &port_taken,
            dry_run,
            draw: random::below(u64::MAX),
            addresses: Vec::new(),
            ports: Vec::new(),
        };
        match old {
            None => services::create(spec, &mut pool)?,
            Some(old) => services::update(spec, old, &mut pool)?,
        }
        let Pool { addresses, ports, .. } = pool;
        let (addresses, ports) = if dry_run { (Vec::new(), Vec::new()) } else { (addresses, ports) };
        reserved.addresses.extend(&addresses);
        reserved.ports.extend(&ports);
        Ok(Reservation { space: Arc::clone(&call.space), addresses, ports })
    }

    /// The ranges that addresses come from: the space's own, and those of its ServiceCIDRs that are not going away.
    fn ranges(&self) -> Vec<Range> {
        let mut ranges = vec![services::DEFAULT_RANGE];
        if self.store.count(&self.ranges) == 0 {
            return ranges;
        }
        let page = self.store.page(&self.ranges, None, None, usize::MAX, None).expect("the present is kept");
        for entry in page.entries.iter().filter(|entry| &*entry.key.name != own::NAME && !entry.meta.deleting) {
            let object: Object = serde_json::from_slice(&entry.value).unwrap_or_default();
            let listed = object.pointer("/spec/cidrs").and_then(Value::as_array).cloned().unwrap_or_default();
            ranges.extend(listed.iter().filter_map(Value::as_str).filter_map(Range::parse));
        }
        ranges
    }

    /// What is taken now.
    fn current(&self, now: Timestamp) -> MutexGuard<'_, Option<State>> {
        let mut state = self.state.lock();
        let held = state.take().and_then(|mut held| held.catch_up().is_ok().then_some(held));
        *state = Some(held.unwrap_or_else(|| {
            let state = self.load();
            self.mend(&state, now);
            state
        }));
        state
    }

    /// Whether what is held is what a scan of all Services finds.
    #[cfg(test)]
    pub(crate) fn is_as_stored(&self, now: Timestamp) -> bool {
        let held = self.current(now);
        let (held, read) = (held.as_ref().expect("it was just loaded"), self.load());
        let reserved = self.reserved.lock();
        (&held.held, &held.addresses, &held.ports) == (&read.held, &read.addresses, &read.ports)
            && reserved.addresses.is_empty()
            && reserved.ports.is_empty()
    }

    /// Reads everything anew: the first time, and when the cursor fell out of the store's history.
    fn load(&self) -> State {
        loop {
            let page = self.store.page(&self.services, None, None, usize::MAX, None).expect("the present is kept");
            let watch = self.store.watch(&self.services, None, page.revision, Visibility::Appended);
            let Ok(services) = watch else { continue };
            let mut state =
                State { services, held: BTreeMap::new(), addresses: BTreeMap::new(), ports: BTreeMap::new() };
            page.entries.iter().for_each(|entry| state.put(&entry.key, held(entry)));
            return state;
        }
    }
}

/// What a stored Service has.
fn held(entry: &Entry<Header>) -> Held {
    let object: Object = serde_json::from_slice(&entry.value).unwrap_or_default();
    held_by(&object)
}

fn held_by(object: &Object) -> Held {
    object.0.get("spec").and_then(Value::as_object).map(Held::of).unwrap_or_default()
}

impl State {
    /// Takes in what was written meanwhile.
    fn catch_up(&mut self) -> Result<(), Lost> {
        loop {
            let events = self.services.try_next()?;
            if events.is_empty() {
                return Ok(());
            }
            for event in events {
                let now = if event.change == Change::Deleted { Held::default() } else { held(&event.entry) };
                self.put(&event.entry.key, now);
            }
        }
    }

    fn put(&mut self, key: &Key, now: Held) {
        let place = (key.namespace.clone(), key.name.clone());
        let before = self.held.remove(&place).unwrap_or_default();
        for address in &now.addresses {
            *self.addresses.entry(*address).or_default() += 1;
        }
        for port in &now.ports {
            *self.ports.entry(*port).or_default() += 1;
        }
        before.addresses.iter().for_each(|address| one_less(&mut self.addresses, address));
        before.ports.iter().for_each(|port| one_less(&mut self.ports, port));
        if now != Held::default() {
            self.held.insert(place, now);
        }
    }
}

fn one_less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Lets the server own the fields of an object of its own.
fn owned(before: Option<&Object>, object: Object, now: Timestamp) -> Object {
    let nothing = FieldSet::new();
    let (api_version, kind) = (object.api_version().to_owned(), object.kind().to_owned());
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let schema = builtin::schema(group, version, &kind);
    let writer = Writer { manager: MANAGER, api_version: &api_version, subresource: "", now, reset: &nothing };
    machinery::apply::update(before, object, &writer, schema.as_ref())
}
