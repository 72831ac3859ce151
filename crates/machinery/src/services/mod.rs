//! What a server gives a Service: addresses in the cluster, ports of nodes, and the families of addresses; what becomes of
//! them when the Service changes; which fields go when its type no longer has a use for them.
//!
//! Everything is decided here, on the `spec` of the Service and a [`Pool`] of what is free.

mod families;
mod pool;
#[cfg(test)]
mod tests;

pub use families::{check, check_change};
pub use pool::{DEFAULT_RANGE, PORTS, Pool, Range, Refused};

use crate::field::{self, Path, int_at, list_at, objects_at, text_at};
use api::Cause;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

type Fields = Map<String, Value>;

/// In place of an address: a Service without one.
const NONE: &str = "None";
const EXTERNAL_NAME: &str = "ExternalName";
const LOAD_BALANCER: &str = "LoadBalancer";
const NODE_PORT: &str = "NodePort";

/// Why a Service cannot have what it needs.
#[derive(Clone, PartialEq, Debug)]
pub enum Refusal {
    /// What is asked is wrong, or taken.
    Invalid(Vec<Cause>),
    /// Nothing is free, or the like.
    Internal(String),
    /// Something that the stock server has no reason for.
    Unknown(String),
}

/// What a stored Service holds.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Held {
    /// Its addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// Its ports of nodes, each once.
    pub ports: Vec<u16>,
}

impl Held {
    /// Of a Service with this `spec`.
    pub fn of(spec: &Fields) -> Self {
        let mut held = Self::default();
        if needs_address(spec) {
            let listed = list_at(spec, "clusterIPs").iter().filter_map(Value::as_str);
            held.addresses = listed.filter_map(families::address).collect();
        }
        let health = int_at(spec, "healthCheckNodePort").filter(|_| needs_health_check(spec));
        for port in node_ports(spec).into_iter().chain(health) {
            if let Ok(port) = u16::try_from(port)
                && !held.ports.contains(&port)
            {
                held.ports.push(port);
            }
        }
        held
    }
}

fn set(spec: &mut Fields, name: &str, value: Value) {
    spec.insert(name.into(), value);
}

fn needs_address(spec: &Fields) -> bool {
    text_at(spec, "type") != EXTERNAL_NAME
}

fn is_headless(spec: &Fields) -> bool {
    list_at(spec, "clusterIPs").iter().map(Value::as_str).eq([Some(NONE)])
}

fn has_node_ports(spec: &Fields) -> bool {
    matches!(text_at(spec, "type"), NODE_PORT | LOAD_BALANCER)
}

/// Whether ports are given to those that ask for none in particular.
fn wants_node_ports(spec: &Fields) -> bool {
    match text_at(spec, "type") {
        NODE_PORT => true,
        LOAD_BALANCER => spec.get("allocateLoadBalancerNodePorts").and_then(Value::as_bool).unwrap_or(true),
        _ => false,
    }
}

/// Whether nodes are asked by the load balancer whether they serve.
pub fn needs_health_check(spec: &Fields) -> bool {
    text_at(spec, "type") == LOAD_BALANCER && text_at(spec, "externalTrafficPolicy") == "Local"
}

/// Whether a load balancer of the cluster's surroundings is to serve it.
pub fn is_balanced(spec: &Fields) -> bool {
    text_at(spec, "type") == LOAD_BALANCER
}

/// Whether a Service is reached from outside.
fn is_external(spec: &Fields) -> bool {
    has_node_ports(spec) || (text_at(spec, "type") == "ClusterIP" && !list_at(spec, "externalIPs").is_empty())
}

fn node_ports(spec: &Fields) -> Vec<i64> {
    objects_at(spec, "ports").filter_map(|port| int_at(port, "nodePort")).filter(|port| *port != 0).collect()
}

/// A number that is as good as none when it is 0.
fn number(spec: &Fields, name: &str) -> i64 {
    int_at(spec, name).unwrap_or(0)
}

fn ports_mut(spec: &mut Fields) -> impl Iterator<Item = &mut Fields> {
    spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Gives a new Service what it needs.
///
/// # Errors
/// If what it asks for cannot be had.
pub fn create(spec: &mut Fields, pool: &mut Pool<'_>) -> Result<(), Refusal> {
    if !text_at(spec, "clusterIP").is_empty() && list_at(spec, "clusterIPs").is_empty() {
        let first = spec["clusterIP"].clone();
        set(spec, "clusterIPs", json!([first]));
    }
    families::fill(spec, None)?;
    give_addresses(spec, pool)?;
    if has_node_ports(spec) {
        give_ports(spec, pool)?;
    }
    if needs_health_check(spec) {
        give_health_check(spec, pool)?;
    }
    Ok(())
}

/// Gives a changed Service what it needs, and keeps for it what it was given before.
///
/// # Errors
/// If what it asks for cannot be had.
pub fn update(spec: &mut Fields, old: &Fields, pool: &mut Pool<'_>) -> Result<(), Refusal> {
    keep(spec, old);
    agree(spec, old);
    families::fill(spec, Some(old))?;
    // A Service that was stored before there were addresses gets one now.
    let without = !needs_address(old) || list_at(old, "clusterIPs").is_empty();
    if without && needs_address(spec) {
        give_addresses(spec, pool)?;
    }
    if has_node_ports(spec) {
        change_ports(spec, old, pool)?;
    }
    if needs_health_check(spec) && !needs_health_check(old) {
        give_health_check(spec, pool)?;
    }
    Ok(())
}

/// What a client that repeats what it once wrote leaves out, as it never knew it.
fn keep(spec: &mut Fields, old: &Fields) {
    if needs_address(old) && needs_address(spec) {
        if text_at(spec, "clusterIP").is_empty() && !text_at(old, "clusterIP").is_empty() {
            set(spec, "clusterIP", old["clusterIP"].clone());
        }
        if list_at(spec, "clusterIPs").is_empty() && !list_at(old, "clusterIPs").is_empty() {
            set(spec, "clusterIPs", old["clusterIPs"].clone());
        }
    }
    if wants_node_ports(old) && wants_node_ports(spec) {
        let (held, given) = (node_ports(old), node_ports(spec));
        let named: BTreeMap<String, i64> =
            objects_at(old, "ports").map(|port| (text_at(port, "name").into(), number(port, "nodePort"))).collect();
        for port in ports_mut(spec).filter(|port| number(port, "nodePort") == 0) {
            let before = named.get(text_at(port, "name")).copied().unwrap_or(0);
            if before != 0 && !(held.contains(&before) && given.contains(&before)) {
                port.insert("nodePort".into(), before.into());
            }
        }
    }
    let before = number(old, "healthCheckNodePort");
    if needs_health_check(old) && needs_health_check(spec) && number(spec, "healthCheckNodePort") == 0 && before != 0 {
        set(spec, "healthCheckNodePort", before.into());
    }
}

/// Lets the address and the list of addresses say the same, where a client changed one of them.
fn agree(spec: &mut Fields, old: &Fields) {
    let (after, before) = (text_at(spec, "clusterIP").to_owned(), text_at(old, "clusterIP"));
    let same_list = list_at(spec, "clusterIPs") == list_at(old, "clusterIPs");
    if list_at(spec, "clusterIPs").is_empty() && !list_at(old, "clusterIPs").is_empty() && after == before {
        set(spec, "clusterIPs", old["clusterIPs"].clone());
    }
    if after != before && same_list {
        if after.is_empty() {
            spec.remove("clusterIPs");
        } else {
            set(spec, "clusterIPs", json!([after]));
        }
    }
}

fn give_addresses(spec: &mut Fields, pool: &mut Pool<'_>) -> Result<(), Refusal> {
    if !needs_address(spec) || list_at(spec, "clusterIPs").first().is_some_and(|first| first == NONE) {
        return Ok(());
    }
    let root = Path::ROOT.field("spec");
    let path = root.field("clusterIPs");
    let mut given: Vec<Value> = list_at(spec, "clusterIPs").to_vec();
    let shown = Value::Array(given.clone());
    for index in 0..list_at(spec, "ipFamilies").len() {
        let wanted = given.get(index).and_then(Value::as_str).unwrap_or("").to_owned();
        if wanted.is_empty() {
            let name = pool.name;
            let why = |why| Refusal::Internal(format!("failed to allocate a serviceIP for Service {name:?}: {why}"));
            let next: Value = pool.next_address().map_err(why)?.to_string().into();
            match given.get_mut(index) {
                Some(slot) => *slot = next,
                None => given.push(next),
            }
            continue;
        }
        let taken =
            families::address(&wanted).ok_or(Refused::OtherNetwork).and_then(|wanted| pool.take_address(wanted));
        taken.map_err(|why| {
            let why = format!("failed to allocate IP {wanted}: {why}");
            Refusal::Invalid(vec![field::invalid(&path, &shown, &why)])
        })?;
    }
    if let Some(first) = given.first() {
        set(spec, "clusterIP", first.clone());
        set(spec, "clusterIPs", Value::Array(given));
    }
    Ok(())
}

fn refused_port(index: usize, wanted: i64, why: &Refused) -> Refusal {
    let spec = Path::ROOT.field("spec");
    let list = spec.field("ports");
    let place = list.index(index);
    Refusal::Invalid(vec![field::invalid(&place.field("nodePort"), &wanted.into(), &why.to_string())])
}

fn no_port(why: &Refused) -> Refusal {
    Refusal::Internal(format!("failed to allocate a nodePort: {why}"))
}

/// Ports of a new Service: what has one number inside has one number on the nodes, whatever the protocols.
fn give_ports(spec: &mut Fields, pool: &mut Pool<'_>) -> Result<(), Refusal> {
    let wants = wants_node_ports(spec);
    let asked: Vec<(i64, i64)> =
        objects_at(spec, "ports").map(|port| (number(port, "port"), number(port, "nodePort"))).collect();
    let mut given: BTreeMap<i64, i64> = BTreeMap::new();
    for (index, fields) in ports_mut(spec).enumerate() {
        let (inside, node) = (number(fields, "port"), number(fields, "nodePort"));
        if node == 0 && !wants {
            continue;
        }
        let node = match given.get(&inside) {
            Some(held) if node == 0 || node == *held => *held,
            Some(_) => {
                pool.take_port(node).map_err(|why| refused_port(index, node, &why))?;
                node
            }
            None => {
                let wanted = asked.iter().find(|(port, node)| *port == inside && *node != 0).map(|(_, node)| *node);
                let node = match wanted {
                    Some(wanted) => {
                        pool.take_port(wanted).map_err(|why| refused_port(index, wanted, &why))?;
                        wanted
                    }
                    None => i64::from(pool.next_port().map_err(|why| no_port(&why))?),
                };
                given.insert(inside, node);
                node
            }
        };
        fields.insert("nodePort".into(), node.into());
    }
    Ok(())
}

/// Ports of a changed Service: what it has, it keeps.
fn change_ports(spec: &mut Fields, old: &Fields, pool: &mut Pool<'_>) -> Result<(), Refusal> {
    let wants = wants_node_ports(spec);
    let mut held = node_ports(old);
    let mut seen: Vec<(String, i64)> = Vec::new();
    for (index, fields) in ports_mut(spec).enumerate() {
        let mut node = number(fields, "nodePort");
        if node == 0 && !wants {
            continue;
        }
        if node == 0 {
            node = i64::from(pool.next_port().map_err(|why| no_port(&why))?);
            fields.insert("nodePort".into(), node.into());
        } else if !held.contains(&node) {
            pool.take_port(node).map_err(|why| refused_port(index, node, &why))?;
            held.push(node);
        }
        let this = (text_at(fields, "protocol").to_owned(), node);
        if seen.contains(&this) {
            return Err(Refusal::Unknown(format!("duplicate nodePort: {{{} {node}}}", this.0)));
        }
        seen.push(this);
    }
    Ok(())
}

fn give_health_check(spec: &mut Fields, pool: &mut Pool<'_>) -> Result<(), Refusal> {
    let wanted = number(spec, "healthCheckNodePort");
    if wanted == 0 {
        let why = |why| Refusal::Internal(format!("failed to allocate a HealthCheck NodePort 0: {why}"));
        let given = pool.next_port().map_err(why)?;
        set(spec, "healthCheckNodePort", given.into());
        return Ok(());
    }
    let why = |why| Refusal::Internal(format!("failed to allocate requested HealthCheck NodePort {wanted}: {why}"));
    pool.take_port(wanted).map_err(why)
}

/// Takes away what a Service of this type has no use for, and nobody asked to keep otherwise.
pub fn drop_unused(spec: &mut Fields, old: Option<&Fields>) {
    for (name, blank) in [("clusterIP", json!("")), ("clusterIPs", json!([]))] {
        if spec.get(name) == Some(&blank) {
            spec.remove(name);
        }
    }
    if !needs_address(spec) {
        // It once had a default, and is never shown.
        spec.remove("internalTrafficPolicy");
    }
    let Some(old) = old else { return };
    if needs_address(old) && !needs_address(spec) {
        if spec.get("clusterIP") == old.get("clusterIP") && list_at(spec, "clusterIPs") == list_at(old, "clusterIPs") {
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
        }
        for name in ["ipFamilies", "ipFamilyPolicy"] {
            if spec.get(name) == old.get(name) {
                spec.remove(name);
            }
        }
    }
    if has_node_ports(old) && !has_node_ports(spec) {
        let held = node_ports(old);
        if node_ports(spec).iter().all(|port| held.contains(port)) {
            ports_mut(spec).for_each(|port| drop(port.remove("nodePort")));
        }
    }
    drop_typed(spec, old);
}

fn drop_typed(spec: &mut Fields, old: &Fields) {
    type Use = fn(&Fields) -> bool;
    let rows: [(&str, Use); 4] = [
        ("healthCheckNodePort", needs_health_check),
        ("allocateLoadBalancerNodePorts", is_balanced),
        ("loadBalancerClass", is_balanced),
        ("externalTrafficPolicy", is_external),
    ];
    // Each is judged on what the Service was when it came.
    let gone: Vec<&str> = rows
        .into_iter()
        .filter(|(name, uses)| uses(old) && !uses(spec) && spec.get(*name) == old.get(*name))
        .map(|(name, _)| name)
        .collect();
    gone.into_iter().for_each(|name| drop(spec.remove(name)));
}

/// What is wrong with the ports that nodes are asked at.
pub fn check_health(spec: &Fields, out: &mut Vec<Cause>) {
    let root = Path::ROOT.field("spec");
    let place = root.field("healthCheckNodePort");
    let port = number(spec, "healthCheckNodePort");
    if !needs_health_check(spec) {
        if port != 0 {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            out.push(field::invalid(&place, &port.into(), why));
        }
    } else if port == 0 {
        out.push(field::required(&place, ""));
    }
}
