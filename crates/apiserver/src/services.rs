//! Addresses and ports of Services: what is taken is read off the Services of the space, so that there is nothing beside
//! them to be kept, and nothing that a restart could lose.

use crate::Store;
use crate::call::Call;
use crate::respond::Result;
use crate::space::Space;
use crate::verbs::write::invalid;
use crate::{own_service, random};
use api::{Object, Status};
use machinery::allocation::{self, FIRST_ADDRESS, Held, Refusal};
use parking_lot::Mutex;
use serde::Deserialize;

pub(crate) const COLLECTION: &str = "services";

/// What was given to Services that are not in the store yet.
#[derive(Default)]
pub(crate) struct Pending(Mutex<Vec<Held>>);

/// Keeps what was given from others until the write is in the store.
pub(crate) struct Reserved<'a> {
    pending: &'a Pending,
    taken: Held,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut pending = self.pending.0.lock();
        if let Some(index) = pending.iter().position(|held| *held == self.taken) {
            pending.swap_remove(index);
        }
    }
}

/// Gives a Service what it needs. The answer is dropped when the write is done.
pub(crate) fn settle<'a>(call: &'a Call, object: &mut Object, old: Option<&Object>) -> Result<Option<Reserved<'a>>> {
    if &*call.kind.collection != COLLECTION || call.kind.custom.is_some() {
        return Ok(None);
    }
    let pending = &call.space.service_writes;
    let mut reserved = pending.0.lock();
    let mut held = Held::default();
    // Nothing is to be found out for a Service that keeps what it has.
    let has = object.pointer("/spec/clusterIP").is_some();
    if old.is_none_or(|old| !has || old.0.get("spec") != object.0.get("spec")) {
        held = in_store(call.store(), &call.space);
        reserved.iter().for_each(|taken| held.extend(taken));
        if !own_service::is(object.namespace(), object.name()) {
            held.addresses.insert(FIRST_ADDRESS.to_owned());
        }
    }
    let below = &mut |bound| random::below(bound);
    match allocation::settle(object, old, &held, below) {
        Ok(taken) if taken == Held::default() => Ok(None),
        Ok(taken) => {
            reserved.push(taken.clone());
            Ok(Some(Reserved { pending, taken }))
        }
        Err(Refusal::Invalid(causes)) => Err(invalid(call, object.name(), causes)),
        Err(Refusal::Internal(why)) => Err(Status::internal(why).into()),
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Service {
    spec: Spec,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "clusterIPs")]
    addresses: Vec<String>,
    ports: Vec<Port>,
    health_check_node_port: i64,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Port {
    node_port: i64,
}

/// What the Services of a space hold.
fn in_store(store: &Store, space: &Space) -> Held {
    let collection = space.collection(&COLLECTION.into());
    let page = store.page(&collection, None, None, 0, None).expect("the present is kept");
    let mut held = Held::default();
    for entry in &page.entries {
        let Ok(Service { spec }) = serde_json::from_slice(&entry.value) else { continue };
        held.addresses.extend(spec.addresses);
        held.ports.extend(spec.ports.into_iter().map(|port| port.node_port).filter(|port| *port != 0));
        held.ports.extend((spec.health_check_node_port != 0).then_some(spec.health_check_node_port));
    }
    held
}
