//! IPAddress objects: one for each address that a Service has, as a stock server keeps them.

use super::{Allocations, State, held, held_by};
use crate::call::Call;
use crate::{Entry, encode, random};
use api::{Object, ObjectName, Timestamp};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::Arc;
use store::{Collection, CommitError, Expect, Key, Write};

/// Where they are stored.
pub(super) const COLLECTION: &str = "ipaddresses.networking.k8s.io";
const API_VERSION: &str = "networking.k8s.io/v1";
const KIND: &str = "IPAddress";
/// Says who keeps an IPAddress.
const MANAGED_BY: (&str, &str) = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io");
const FAMILY: (&str, &str) = ("ipaddress.kubernetes.io/ip-family", "IPv4");

impl Allocations {
    pub(super) fn address(&self, address: Ipv4Addr) -> Key {
        Key::new(self.addresses.clone(), "", address.to_string().as_str())
    }

    /// Lets the IPAddresses, and the Endpoints of the same name, be those of a Service as it is now.
    pub(super) fn follow(&self, call: &Call, key: &Key, before: Option<&Object>) {
        // One at a time, so that each does what the last state of the Service asks for.
        let _state = self.current(call.server.now());
        let live = self.store.get(key);
        let now = live.as_ref().map(|entry| held(entry)).unwrap_or_default();
        let had = before.map(held_by).unwrap_or_default();
        for address in now.addresses.iter().filter(|address| self.store.get(&self.address(**address)).is_none()) {
            self.add(*address, key, call.server.now());
        }
        for address in had.addresses.iter().filter(|address| !now.addresses.contains(address)) {
            if let Some(entry) = self.store.get(&self.address(*address)).filter(|entry| is_of(entry, key)) {
                self.remove(&entry, key);
            }
        }
        if live.is_none() {
            let endpoints = Collection::new(key.collection.space.clone(), "endpoints");
            let endpoints = Key::new(endpoints, key.namespace.clone(), key.name.clone());
            if let Some(entry) = self.store.get(&endpoints) {
                self.remove(&entry, key);
            }
        }
    }

    /// What a crash left undone between the write of a Service and that of its IPAddresses.
    pub(super) fn mend(&self, state: &State, now: Timestamp) {
        for ((namespace, name), held) in &state.held {
            let service = Key::new(self.services.clone(), namespace.clone(), name.clone());
            for address in held.addresses.iter().filter(|address| self.store.get(&self.address(**address)).is_none()) {
                self.add(*address, &service, now);
            }
        }
        let page = self.store.page(&self.addresses, None, None, usize::MAX, None).expect("the present is kept");
        for entry in page.entries {
            let object: Object = serde_json::from_slice(&entry.value).unwrap_or_default();
            let ours = object.label(MANAGED_BY.0) == Some(MANAGED_BY.1);
            let wanted = entry.key.name.parse().is_ok_and(|address: Ipv4Addr| state.addresses.contains_key(&address));
            if ours && !wanted {
                self.remove(&entry, &entry.key);
            }
        }
    }

    fn add(&self, address: Ipv4Addr, service: &Key, now: Timestamp) {
        let value = encode::stamped(&object(address, service, now).0);
        report(self.store.commit(self.address(address), Expect::Absent, Write::Put(value)).err(), service);
    }

    /// Removes what nobody else holds.
    fn remove(&self, entry: &Arc<Entry>, service: &Key) {
        if entry.meta.finalizers {
            return;
        }
        let write = Write::Delete(encode::restamped(entry));
        report(self.store.commit(entry.key.clone(), Expect::At(entry.modified), write).err(), service);
    }
}

/// Somebody else was faster, or the store takes no writes: then no other write succeeds, either.
fn report<M: store::Meta>(error: Option<CommitError<M>>, service: &Key) {
    if let Some(error) = error {
        tracing::warn!(namespace = %service.namespace, name = %service.name, %error,
            "what tells of the addresses of a Service could not be written");
    }
}

fn is_of(entry: &Entry, service: &Key) -> bool {
    let object: Object = serde_json::from_slice(&entry.value).unwrap_or_default();
    let parent = object.pointer("/spec/parentRef").cloned().unwrap_or_default();
    parent == parent_of(service)
}

fn parent_of(service: &Key) -> Value {
    json!({"resource": "services", "namespace": *service.namespace, "name": *service.name})
}

fn object(address: Ipv4Addr, service: &Key, now: Timestamp) -> Object {
    let mut object = Object::new(API_VERSION, KIND, &ObjectName::cluster(address.to_string()));
    for (key, value) in [FAMILY, MANAGED_BY] {
        object.set_label(key, value);
    }
    object.0.insert("spec".into(), json!({"parentRef": parent_of(service)}));
    object.set_meta("uid", random::uid());
    object.set_meta("creationTimestamp", now.to_string());
    super::owned(None, object, now)
}
