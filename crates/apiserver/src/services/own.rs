//! What every space has of Services from the beginning: the range of their addresses (the ServiceCIDR `kubernetes`), and
//! the Service `kubernetes` in `default`, by which Pods find the API of their space, with its Endpoints and EndpointSlice.
//!
//! As the priority classes, they are written when somebody first asks for anything of the kind, so that a space that
//! nobody asks stays small, and come back when they are deleted.

use crate::flowcontrol;
use crate::registry::{self, Kind};
use crate::respond::Result;
use crate::route::Target;
use crate::server::Server;
use crate::space::Space;
use api::{Object, ObjectName, Reason};
use machinery::services::DEFAULT_RANGE;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use store::{Expect, Write};

const NAMESPACE: &str = "default";
/// The name of all of them.
pub(super) const NAME: &str = "kubernetes";
/// Who writes them, as a stock server has it.
const MANAGER: &str = "kube-apiserver";
/// The port of the Service, and that of a server whose address names none.
const HTTPS: u16 = 443;

/// Group, version and plural.
type Written = (&'static str, &'static str, &'static str);

/// Which of them a request may see: group and resource that are asked for; group, version and plural of what is written.
/// The IPAddress comes with the Service.
const KINDS: [((&str, &str), Written); 5] = [
    (("networking.k8s.io", "servicecidrs"), ("networking.k8s.io", "v1", "servicecidrs")),
    (("networking.k8s.io", "ipaddresses"), ("", "v1", "services")),
    (("", "services"), ("", "v1", "services")),
    (("", "endpoints"), ("", "v1", "endpoints")),
    (("discovery.k8s.io", "endpointslices"), ("discovery.k8s.io", "v1", "endpointslices")),
];

/// Whether a Service is the one of the API.
pub(super) fn is(namespace: &str, name: &str) -> bool {
    (namespace, name) == (NAMESPACE, NAME)
}

/// Writes what a request may see of them, if a space does not have it.
///
/// # Errors
/// If the store takes no writes.
pub(crate) async fn ensure(server: &Server, space: &Arc<Space>, target: &Target) -> Result<()> {
    if !["", NAMESPACE].contains(&target.namespace.as_str()) {
        return Ok(());
    }
    let asked = (target.group.as_str(), target.resource.as_str());
    for (_, (group, version, plural)) in KINDS.into_iter().filter(|(seen, _)| *seen == asked) {
        let Some(kind) = registry::builtin_kind(group, version, plural) else { continue };
        let namespace = if kind.served.namespaced { NAMESPACE } else { "" };
        let key = space.key(&kind.collection, namespace, NAME);
        let held = server.store().get(&key);
        // The server may have moved; what tells where it is follows.
        let follows = matches!(plural, "endpoints" | "endpointslices");
        if held.as_ref().is_some_and(|held| !follows || held.meta.deleting) {
            continue;
        }
        let Some(object) = object(server, &kind, namespace) else { continue };
        if plural != "services" {
            if held.as_ref().is_none_or(|held| !tells_the_same(&held.value, &object)) {
                put(server, &kind, &key, object, held.as_deref());
            }
        } else {
            match flowcontrol::write_absent(server, space, &kind, &[object], MANAGER).await {
                // Somebody has its address. It is tried again at the next request, as by a stock server.
                Err(failure) if failure.reason == Reason::Invalid => {
                    tracing::warn!(space = %space.name, plural, why = failure.message, "the space lacks its own object");
                }
                other => drop(other?),
            }
        }
    }
    Ok(())
}

/// Where the API is reached, if its address is no name.
fn place(server: &Server) -> (Option<IpAddr>, u16) {
    read(&server.0.advertised)
}

/// Host and port of an address such as `https://127.0.0.1:9443`.
fn read(address: &str) -> (Option<IpAddr>, u16) {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest).trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => (host, port.parse().unwrap_or(HTTPS)),
        _ => (rest, HTTPS),
    };
    let host = if host == "localhost" { "127.0.0.1" } else { host };
    (host.trim_matches(['[', ']']).parse().ok(), port)
}

fn object(server: &Server, kind: &Kind, namespace: &str) -> Option<Object> {
    let name = ObjectName { namespace: namespace.into(), name: NAME.into() };
    let mut object = Object::new(&kind.api_version, &kind.served.kind, &name);
    let (host, port) = place(server);
    let ports = json!([{"name": "https", "port": port, "protocol": "TCP"}]);
    let mut set = |fields: Value| object.0.extend(fields.as_object().cloned().unwrap_or_default());
    match &*kind.served.plural {
        "servicecidrs" => {
            let ready = json!({"type": "Ready", "status": "True", "reason": "",
                "message": "Kubernetes default Service CIDR is ready", "lastTransitionTime": server.now().to_string()});
            set(json!({"spec": {"cidrs": [DEFAULT_RANGE.to_string()]}, "status": {"conditions": [ready]}}));
        }
        "services" => {
            let address = DEFAULT_RANGE.first().to_string();
            set(json!({"spec": {
                "type": "ClusterIP",
                "clusterIP": address,
                "ipFamilyPolicy": "SingleStack",
                "ports": [{"name": "https", "protocol": "TCP", "port": HTTPS, "targetPort": port}],
                "sessionAffinity": "None",
            }}));
            object.set_label("component", "apiserver");
            object.set_label("provider", "kubernetes");
        }
        "endpoints" => {
            set(json!({"subsets": [{"addresses": [{"ip": host?.to_string()}], "ports": ports}]}));
            object.set_label("endpointslice.kubernetes.io/skip-mirror", "true");
        }
        _ => {
            let host = host?;
            let family = if host.is_ipv4() { "IPv4" } else { "IPv6" };
            let endpoint = json!({"addresses": [host.to_string()], "conditions": {"ready": true}});
            set(json!({"addressType": family, "endpoints": [endpoint], "ports": ports}));
            object.set_label("kubernetes.io/service-name", NAME);
        }
    }
    Some(object)
}

/// Whether what is stored says what the object says, beside its metadata.
fn tells_the_same(stored: &[u8], object: &Object) -> bool {
    let stored: Object = serde_json::from_slice(stored).unwrap_or_default();
    object.0.iter().filter(|(key, _)| *key != "metadata").all(|(key, value)| stored.0.get(key) == Some(value))
}

/// Writes what the server keeps for itself. It may say what no client may: that the server is on this very machine.
fn put(server: &Server, kind: &Kind, key: &store::Key, mut object: Object, held: Option<&crate::Entry>) {
    let now = server.now();
    let before: Option<Object> = held.and_then(|held| serde_json::from_slice(&held.value).ok());
    let expect = held.map_or(Expect::Absent, |held| Expect::At(held.modified));
    match &before {
        Some(before) => {
            object.0.insert("metadata".into(), before.0.get("metadata").cloned().unwrap_or_default());
            if before.generation() > 0 {
                object.set_meta("generation", before.generation() + 1);
            }
        }
        None => {
            object.set_meta("uid", crate::random::uid());
            object.set_meta("creationTimestamp", now.to_string());
            if kind.rules.counts_generation {
                object.set_meta("generation", 1);
            }
        }
    }
    let object = super::owned(before.as_ref(), object, now);
    if let Err(error) = server.store().commit(key.clone(), expect, Write::Put(crate::encode::stamped(&object.0))) {
        tracing::warn!(space = %key.collection.space, %error, "what tells of the API of the space could not be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, host: Option<&str>, port: u16) {
        assert_eq!(read(address), (host.map(|host| host.parse().expect("an address")), port));
    }

    #[test]
    fn the_api_is_where_the_server_is() {
        check("https://127.0.0.1:9443", Some("127.0.0.1"), 9443);
        check("https://localhost:1", Some("127.0.0.1"), 1);
        check("https://[::1]:9443/", Some("::1"), 9443);
        check("https://kubestellar.example.com", None, 443);
        check("https://192.0.2.1", Some("192.0.2.1"), 443);
    }
}
