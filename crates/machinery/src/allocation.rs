//! What a Service is given by the server: families and addresses in the cluster, ports on nodes.
//!
//! What others hold is said by the caller, and so is what is drawn: the rest is decided here, as a stock server with one
//! range of IPv4 addresses does.

use crate::field::{self, Path, at, flag_at, int_at, list_at, object_at, objects_at, text_at};
use crate::schema::is_ip;
use api::{Cause, Object};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

type Fields = Map<String, Value>;

/// The range that addresses of Services are taken from.
pub const RANGE: &str = "10.96.0.0/16";
/// The first and the last address of it that can be given, and where those begin that nobody asked for by name.
const ADDRESSES: (u32, u32, u32) =
    (u32::from_be_bytes([10, 96, 0, 1]), u32::from_be_bytes([10, 96, 255, 254]), u32::from_be_bytes([10, 96, 1, 0]));
/// The first address, which is that of the Service `kubernetes`.
pub const FIRST_ADDRESS: &str = "10.96.0.1";
/// The same of ports on nodes.
const PORTS: (u32, u32, u32) = (30_000, 32_767, 30_086);
const PORT_RANGE: &str = "30000-32767";
/// What a Service says that wants no address.
const HEADLESS: &str = "None";

/// Addresses and ports that are taken.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Held {
    pub addresses: BTreeSet<String>,
    pub ports: BTreeSet<i64>,
}

impl Held {
    /// Takes what another holds as well.
    pub fn extend(&mut self, other: &Self) {
        self.addresses.extend(other.addresses.iter().cloned());
        self.ports.extend(&other.ports);
    }
}

/// Why a Service does not get what it needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    Invalid(Vec<Cause>),
    /// Nothing is left, or a port that is not asked for in a field of its own is taken.
    Internal(String),
}

/// Gives a Service what it needs, and takes from it what its type does not have. `held` is what all Services hold,
/// `below` draws a number below another. Returns what is newly taken.
///
/// # Errors
/// If what the Service asks for contradicts itself, is not in the range or is taken, or if nothing is left.
pub fn settle(
    service: &mut Object,
    old: Option<&Object>,
    held: &Held,
    below: &mut dyn FnMut(u64) -> u64,
) -> Result<Held, Refusal> {
    let name = service.name().to_owned();
    let Some(Value::Object(spec)) = service.0.get_mut("spec") else { return Ok(Held::default()) };
    let before = old.and_then(|old| object_at(&old.0, "spec"));
    if let Some(before) = before {
        carry(spec, before);
    }
    pair_addresses(spec, before);
    families(spec, before).map_err(Refusal::Invalid)?;
    let mut office = Office { held, taken: Held::default(), below };
    addresses(spec, before, &name, &mut office)?;
    node_ports(spec, before, &mut office)?;
    check_port(spec, before, &mut office)?;
    let taken = office.taken;
    for (field, blank) in [("clusterIP", json!("")), ("clusterIPs", json!([]))] {
        if spec.get(field) == Some(&blank) {
            spec.remove(field);
        }
    }
    if let Some(before) = before {
        drop_dependent(spec, before);
        if kind(spec) != "LoadBalancer"
            && let Some(Value::Object(status)) = service.0.get_mut("status")
        {
            status.insert("loadBalancer".into(), json!({}));
        }
    }
    Ok(taken)
}

/// Who gives addresses and ports.
struct Office<'a> {
    held: &'a Held,
    taken: Held,
    below: &'a mut dyn FnMut(u64) -> u64,
}

impl Office<'_> {
    fn claim_address(&mut self, text: &str) -> Result<(), &'static str> {
        let number = text.parse::<Ipv4Addr>().map(u32::from);
        let (first, last, _) = ADDRESSES;
        if !number.is_ok_and(|number| (first - 1..=last + 1).contains(&number)) {
            return Err("the provided network does not match the current range");
        }
        if self.held.addresses.contains(text) || !self.taken.addresses.insert(text.to_owned()) {
            return Err("provided IP is already allocated");
        }
        Ok(())
    }

    fn claim_port(&mut self, port: i64) -> Result<(), String> {
        if !(i64::from(PORTS.0)..=i64::from(PORTS.1)).contains(&port) {
            return Err(format!("provided port is not in the valid range. The range of valid ports is {PORT_RANGE}"));
        }
        if self.held.ports.contains(&port) || !self.taken.ports.insert(port) {
            return Err("provided port is already allocated".into());
        }
        Ok(())
    }

    fn next_address(&mut self) -> Option<String> {
        let is_free = |number: u32| {
            let text = Ipv4Addr::from(number).to_string();
            !self.held.addresses.contains(&text) && !self.taken.addresses.contains(&text)
        };
        let text = Ipv4Addr::from(draw(ADDRESSES, self.below, is_free)?).to_string();
        self.taken.addresses.insert(text.clone());
        Some(text)
    }

    fn next_port(&mut self) -> Option<i64> {
        let is_free =
            |port: u32| !self.held.ports.contains(&i64::from(port)) && !self.taken.ports.contains(&i64::from(port));
        let port = i64::from(draw(PORTS, self.below, is_free)?);
        self.taken.ports.insert(port);
        Some(port)
    }
}

/// A free number of a range: from a random one on in its upper part, and in the lower one when that is full.
fn draw(
    (first, last, upper): (u32, u32, u32),
    below: &mut dyn FnMut(u64) -> u64,
    is_free: impl Fn(u32) -> bool,
) -> Option<u32> {
    let start = u32::try_from(below(u64::from(last - upper + 1))).ok()? + upper;
    (start..=last).chain(upper..start).chain(first..upper).find(|number| is_free(*number))
}

fn kind(spec: &Fields) -> &str {
    text_at(spec, "type")
}

fn wants_address(spec: &Fields) -> bool {
    kind(spec) != "ExternalName"
}

fn has_address(spec: &Fields) -> bool {
    wants_address(spec) && !text_at(spec, "clusterIP").is_empty()
}

/// Whether each port of it is given one on nodes.
fn wants_ports(spec: &Fields) -> bool {
    match kind(spec) {
        "NodePort" => true,
        "LoadBalancer" => {
            at(spec, "allocateLoadBalancerNodePorts").is_none() || flag_at(spec, "allocateLoadBalancerNodePorts")
        }
        _ => false,
    }
}

fn is_on_nodes(spec: &Fields) -> bool {
    matches!(kind(spec), "NodePort" | "LoadBalancer")
}

fn wants_check(spec: &Fields) -> bool {
    kind(spec) == "LoadBalancer" && text_at(spec, "externalTrafficPolicy") == "Local"
}

fn is_headless(spec: &Fields) -> bool {
    text_at(spec, "clusterIP") == HEADLESS
}

fn node_port(port: &Fields) -> i64 {
    int_at(port, "nodePort").unwrap_or(0)
}

fn used_ports(spec: &Fields) -> BTreeSet<i64> {
    objects_at(spec, "ports").map(node_port).filter(|port| *port != 0).collect()
}

fn ports_mut(spec: &mut Fields) -> Vec<&mut Fields> {
    spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut).collect()
}

fn copy(from: &Fields, to: &mut Fields, name: &str) {
    if let Some(value) = from.get(name) {
        to.insert(name.into(), value.clone());
    }
}

/// Keeps what was given, where an update does not say it.
fn carry(spec: &mut Fields, before: &Fields) {
    if wants_address(before) && wants_address(spec) {
        if text_at(spec, "clusterIP").is_empty() {
            copy(before, spec, "clusterIP");
        }
        if list_at(spec, "clusterIPs").is_empty() {
            copy(before, spec, "clusterIPs");
        }
    }
    if wants_ports(before) && wants_ports(spec) {
        let after = used_ports(spec);
        let used: BTreeSet<i64> = used_ports(before).into_iter().filter(|port| after.contains(port)).collect();
        let by_name: BTreeMap<&str, i64> =
            objects_at(before, "ports").map(|port| (text_at(port, "name"), node_port(port))).collect();
        for port in ports_mut(spec) {
            let given = by_name.get(text_at(port, "name")).copied().unwrap_or(0);
            if node_port(port) == 0 && given != 0 && !used.contains(&given) {
                port.insert("nodePort".into(), given.into());
            }
        }
    }
    if wants_check(before) && wants_check(spec) && int_at(spec, "healthCheckNodePort").unwrap_or(0) == 0 {
        copy(before, spec, "healthCheckNodePort");
    }
}

/// `clusterIP` is what old clients know of `clusterIPs`: who writes one of them means both.
fn pair_addresses(spec: &mut Fields, before: Option<&Fields>) {
    let one = text_at(spec, "clusterIP").to_owned();
    let several = list_at(spec, "clusterIPs").to_vec();
    let Some(before) = before else {
        if !one.is_empty() && several.is_empty() {
            spec.insert("clusterIPs".into(), json!([one]));
        }
        return;
    };
    let same = several == list_at(before, "clusterIPs");
    let was = text_at(before, "clusterIP");
    if was == one {
        if several.is_empty() {
            copy(before, spec, "clusterIPs");
        }
    } else if one.is_empty() {
        if same {
            spec.remove("clusterIPs");
        }
    } else if same {
        spec.insert("clusterIPs".into(), json!([one]));
    }
}

fn texts<'v>(spec: &'v Fields, name: &str) -> Vec<&'v str> {
    list_at(spec, name).iter().filter_map(Value::as_str).collect()
}

/// Fills in `ipFamilyPolicy` and `ipFamilies`; refuses what the one range of addresses cannot give.
fn families(spec: &mut Fields, before: Option<&Fields>) -> Result<(), Vec<Cause>> {
    if !wants_address(spec) {
        return Ok(());
    }
    let bare = is_headless(spec) && object_at(spec, "selector").is_none_or(Fields::is_empty);
    if text_at(spec, "ipFamilyPolicy").is_empty() {
        let kept = before.map_or("", |before| text_at(before, "ipFamilyPolicy"));
        let policy = match kept {
            "" if bare => "RequireDualStack",
            "" => "SingleStack",
            kept => kept,
        };
        spec.insert("ipFamilyPolicy".into(), policy.into());
    }
    let causes = contradictions(spec);
    if !causes.is_empty() {
        return Err(causes);
    }
    let root = Path::ROOT.field("spec");
    let policy_path = root.field("ipFamilyPolicy");
    let policy = spec["ipFamilyPolicy"].clone();
    let single = policy == "SingleStack";
    let mut causes = Vec::new();
    if let Some(before) = before {
        for (name, what) in [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")] {
            let (after, was) = (list_at(spec, name), list_at(before, name));
            if single && after == was && after.len() > 1 {
                let first = after[..1].to_vec();
                spec.insert(name.into(), first.into());
            } else if !single && !after.is_empty() && after.len() < was.len() {
                let why = format!("must be 'SingleStack' to release the secondary {what}");
                causes.push(field::invalid(&policy_path, &policy, &why));
            }
        }
    }
    if single {
        for (name, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
            if list_at(spec, name).len() == 2 {
                let why = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
                causes.push(field::invalid(&policy_path, &policy, &why));
            }
        }
    }
    let mut families: Vec<String> = texts(spec, "ipFamilies").into_iter().map(str::to_owned).collect();
    for (index, address) in texts(spec, "clusterIPs").into_iter().enumerate() {
        if address == HEADLESS {
            break;
        }
        let family = family(address);
        if index >= families.len() {
            if family == "IPv4" {
                families.push(family.into());
            } else {
                let why = format!("{family} is not configured on this cluster");
                let value = Value::from(list_at(spec, "clusterIPs").to_vec());
                causes.push(field::invalid(&root.field("clusterIPs").index(index), &value, &why));
            }
        }
    }
    if !causes.is_empty() {
        return Err(causes);
    }
    if bare {
        // Whoever publishes its addresses may do so in both families, whatever the range has.
        if families.is_empty() {
            families.push("IPv4".into());
        }
        if families.len() < 2 && !single {
            let other = if families[0] == "IPv4" { "IPv6" } else { "IPv4" };
            families.push(other.into());
        }
    } else {
        if policy == "RequireDualStack" {
            let why = "this cluster is not configured for dual-stack services";
            causes.push(field::invalid(&policy_path, &policy, why));
        }
        for (index, family) in families.iter().enumerate().filter(|(_, family)| *family != "IPv4") {
            let path = root.field("ipFamilies");
            causes.push(field::invalid_text(&path.index(index), family, "not configured on this cluster"));
        }
        if !causes.is_empty() {
            return Err(causes);
        }
        if families.is_empty() {
            families.push("IPv4".into());
        }
    }
    spec.insert("ipFamilies".into(), json!(families));
    Ok(())
}

fn family(address: &str) -> &'static str {
    if address.contains(':') { "IPv6" } else { "IPv4" }
}

/// Where addresses and families do not fit to each other.
fn contradictions(spec: &Fields) -> Vec<Cause> {
    const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
    const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    let root = Path::ROOT.field("spec");
    let path = root.field("clusterIPs");
    let mut causes = Vec::new();
    let one = text_at(spec, "clusterIP");
    let several = texts(spec, "clusterIPs");
    let listed = Value::from(list_at(spec, "clusterIPs").to_vec());
    if one.is_empty() && !several.is_empty() {
        causes.push(field::invalid(&path, &listed, "must be empty when `clusterIP` is not specified"));
    } else if several.first().is_some_and(|first| *first != one) {
        causes.push(field::invalid(&path, &listed, "first value must match `clusterIP`"));
    }
    let families = texts(spec, "ipFamilies");
    let of_families = root.field("ipFamilies");
    for (index, family) in families.iter().enumerate() {
        if !FAMILIES.contains(family) {
            causes.push(field::not_supported(&of_families.index(index), &(*family).into(), FAMILIES));
        }
        if families[..index].contains(family) {
            causes.push(field::duplicate(&of_families.index(index), &(*family).into()));
        }
    }
    let policy = text_at(spec, "ipFamilyPolicy");
    if !POLICIES.contains(&policy) {
        causes.push(field::not_supported(&root.field("ipFamilyPolicy"), &policy.into(), POLICIES));
    }
    let mut malformed = false;
    for (index, address) in several.iter().enumerate() {
        if index == 0 && *address == HEADLESS {
            if several.len() > 1 {
                malformed = true;
                causes.push(field::invalid(&path, &listed, "'None' must be the first and only value"));
            }
        } else if !is_ip(address) {
            malformed = true;
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            causes.push(field::invalid_text(&path.index(index), address, why));
        }
    }
    if several.len() > 2 {
        causes.push(field::invalid(&path, &listed, "may only hold up to 2 values"));
    }
    if malformed {
        return causes;
    }
    if several.len() > 1 && several.iter().map(|address| family(address)).collect::<BTreeSet<_>>().len() < 2 {
        causes.push(field::invalid(&path, &listed, "may specify no more than one IP for each IP family"));
    }
    if !is_headless(spec) {
        for (index, (address, wanted)) in several.iter().zip(&families).enumerate() {
            if family(address) != *wanted && FAMILIES.contains(wanted) {
                let why = format!("expected an {wanted} value as indicated by `ipFamilies[{index}]`");
                causes.push(field::invalid_text(&path.index(index), address, &why));
            }
        }
    }
    causes
}

/// The address in the cluster, which stays for as long as the Service wants one.
fn addresses(spec: &mut Fields, before: Option<&Fields>, name: &str, office: &mut Office<'_>) -> Result<(), Refusal> {
    if !wants_address(spec) || is_headless(spec) || before.is_some_and(has_address) {
        return Ok(());
    }
    let asked = texts(spec, "clusterIPs").first().map(|text| (*text).to_owned()).filter(|text| !text.is_empty());
    let given = match asked {
        Some(asked) => {
            office.claim_address(&asked).map_err(|why| {
                let listed = Value::from(list_at(spec, "clusterIPs").to_vec());
                let root = Path::ROOT.field("spec");
                let why = format!("failed to allocate IP {asked}: {why}");
                Refusal::Invalid(vec![field::invalid(&root.field("clusterIPs"), &listed, &why)])
            })?;
            asked
        }
        None => office.next_address().ok_or_else(|| {
            Refusal::Internal(format!("failed to allocate a serviceIP for Service {name:?}: range is full"))
        })?,
    };
    spec.insert("clusterIPs".into(), json!([given]));
    spec.insert("clusterIP".into(), given.into());
    Ok(())
}

fn node_ports(spec: &mut Fields, before: Option<&Fields>, office: &mut Office<'_>) -> Result<(), Refusal> {
    if !is_on_nodes(spec) {
        return Ok(());
    }
    let draws = wants_ports(spec);
    let own = before.map(used_ports).unwrap_or_default();
    let wanted: Vec<(i64, i64)> =
        objects_at(spec, "ports").map(|port| (int_at(port, "port").unwrap_or(0), node_port(port))).collect();
    let refused = |index: usize, port: i64, why: &str| {
        let root = Path::ROOT.field("spec");
        let ports = root.field("ports");
        Refusal::Invalid(vec![field::invalid(&ports.index(index).field("nodePort"), &port.into(), why)])
    };
    let mut by_port: BTreeMap<i64, i64> = BTreeMap::new();
    for (index, port) in ports_mut(spec).into_iter().enumerate() {
        let Some((number, asked)) = wanted.get(index).copied() else { break };
        if asked == 0 && !draws {
            continue;
        }
        // A new Service has the same port on nodes for both protocols of a port.
        let shared = by_port.get(&number).copied().filter(|_| before.is_none());
        let asked_for = if before.is_some() || shared.is_some() {
            asked
        } else {
            wanted.iter().find(|(port, node)| *port == number && *node != 0).map_or(0, |(_, node)| *node)
        };
        let given = match (shared, asked_for) {
            (Some(shared), 0) => shared,
            (Some(shared), asked) if shared == asked => shared,
            (_, 0) => office
                .next_port()
                .ok_or_else(|| Refusal::Internal("failed to allocate a nodePort: range is full".into()))?,
            (_, asked) => {
                // It may be there twice, for two protocols; that it is not for one is looked at elsewhere.
                if !(own.contains(&asked) || before.is_some() && office.taken.ports.contains(&asked)) {
                    office.claim_port(asked).map_err(|why| refused(index, asked, &why))?;
                }
                asked
            }
        };
        by_port.entry(number).or_insert(given);
        port.insert("nodePort".into(), given.into());
    }
    Ok(())
}

/// The port on which nodes say whether they have a backend of a load balancer's Service.
fn check_port(spec: &mut Fields, before: Option<&Fields>, office: &mut Office<'_>) -> Result<(), Refusal> {
    if !wants_check(spec) || before.is_some_and(wants_check) {
        return Ok(());
    }
    match int_at(spec, "healthCheckNodePort").unwrap_or(0) {
        0 => {
            let full = || Refusal::Internal("failed to allocate a HealthCheck NodePort 0: range is full".into());
            let port = office.next_port().ok_or_else(full)?;
            spec.insert("healthCheckNodePort".into(), port.into());
            Ok(())
        }
        asked => office.claim_port(asked).map_err(|why| {
            Refusal::Internal(format!("failed to allocate requested HealthCheck NodePort {asked}: {why}"))
        }),
    }
}

/// Removes what a Service has of its former type, and does not say anew.
fn drop_dependent(spec: &mut Fields, before: &Fields) {
    let same = |spec: &Fields, name: &str| spec.get(name) == before.get(name);
    if wants_address(before) && !wants_address(spec) {
        if same(spec, "clusterIP") && same(spec, "clusterIPs") {
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
        }
        for name in ["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            if same(spec, name) {
                spec.remove(name);
            }
        }
    }
    if is_on_nodes(before) && !is_on_nodes(spec) && used_ports(before).is_superset(&used_ports(spec)) {
        ports_mut(spec).into_iter().for_each(|port| drop(port.remove("nodePort")));
    }
    if wants_check(before) && !wants_check(spec) && same(spec, "healthCheckNodePort") {
        spec.remove("healthCheckNodePort");
    }
    if kind(before) == "LoadBalancer" && kind(spec) != "LoadBalancer" {
        for name in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if same(spec, name) {
                spec.remove(name);
            }
        }
    }
    let outside =
        |spec: &Fields| is_on_nodes(spec) || (kind(spec) == "ClusterIP" && !list_at(spec, "externalIPs").is_empty());
    if outside(before) && !outside(spec) && same(spec, "externalTrafficPolicy") {
        spec.remove("externalTrafficPolicy");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: Value) -> Object {
        serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).unwrap()
    }

    fn settled(spec: Value, old: Option<Value>, held: &Held) -> Result<Value, Refusal> {
        let mut service_now = service(spec);
        let old = old.map(service);
        settle(&mut service_now, old.as_ref(), held, &mut |_| 0)?;
        let mut again = service_now.clone();
        // What is given stays when nothing is said anew.
        assert_eq!(settle(&mut again, Some(&service_now), held, &mut |_| 7), Ok(Held::default()));
        assert_eq!(again.0["spec"], service_now.0["spec"]);
        Ok(service_now.0["spec"].clone())
    }

    #[track_caller]
    fn check(spec: Value, old: Option<Value>, expected: Value) {
        assert_eq!(settled(spec, old, &Held::default()), Ok(expected));
    }

    #[track_caller]
    fn refused(spec: Value, held: &Held, expected: &[&str]) {
        let why = match settled(spec, None, held) {
            Err(Refusal::Invalid(causes)) => {
                causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
            }
            Err(Refusal::Internal(why)) => vec![why],
            Ok(spec) => panic!("{spec}"),
        };
        assert_eq!(why, expected);
    }

    fn given(address: &str) -> Value {
        json!({"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv4"],
               "ipFamilyPolicy": "SingleStack"})
    }

    #[test]
    fn an_address_is_given_once() {
        check(json!({"type": "ClusterIP"}), None, given("10.96.1.0"));
        check(json!({"type": "ClusterIP", "clusterIP": "10.96.9.9"}), None, given("10.96.9.9"));
        check(json!({"type": "ClusterIP"}), Some(given("10.96.9.9")), given("10.96.9.9"));
        let held = Held {
            addresses: [FIRST_ADDRESS.to_owned(), "10.96.1.0".to_owned(), "10.96.1.1".to_owned()].into(),
            ..Held::default()
        };
        assert_eq!(settled(json!({"type": "ClusterIP"}), None, &held), Ok(given("10.96.1.2")));
        for (asked, why) in [
            ("10.96.1.1", "provided IP is already allocated"),
            ("10.96.0.1", "provided IP is already allocated"),
            ("10.97.0.1", "the provided network does not match the current range"),
        ] {
            let text = format!("spec.clusterIPs: Invalid value: [\"{asked}\"]: failed to allocate IP {asked}: {why}");
            refused(json!({"type": "ClusterIP", "clusterIP": asked}), &held, &[&text]);
        }
    }

    #[test]
    fn headless_services_have_families_only() {
        check(
            json!({"type": "ClusterIP", "clusterIP": "None"}),
            None,
            json!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv4", "IPv6"],
                   "ipFamilyPolicy": "RequireDualStack"}),
        );
        check(
            json!({"type": "ClusterIP", "clusterIP": "None", "selector": {"a": "b"}}),
            None,
            json!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv4"],
                   "ipFamilyPolicy": "SingleStack", "selector": {"a": "b"}}),
        );
    }

    #[test]
    fn ports_on_nodes() {
        let dns = json!([{"name": "u", "port": 53, "protocol": "UDP"}, {"name": "t", "port": 53, "protocol": "TCP"}]);
        let settled_now = settled(json!({"type": "NodePort", "ports": dns}), None, &Held::default()).unwrap();
        assert_eq!(settled_now["ports"][0]["nodePort"], 30_086);
        assert_eq!(settled_now["ports"][1]["nodePort"], 30_086);
        let balancer = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]});
        let balancer = settled(balancer, None, &Held::default()).unwrap();
        assert_eq!(balancer["ports"][0]["nodePort"], 30_086);
        assert_eq!(balancer["healthCheckNodePort"], 30_087);
        let held = Held { ports: [30_200].into(), ..Held::default() };
        let asks = |port: i64| json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
        let taken = "spec.ports[0].nodePort: Invalid value: 30200: provided port is already allocated";
        refused(asks(30_200), &held, &[taken]);
        let outside = "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range \
                       of valid ports is 30000-32767";
        refused(asks(80), &held, &[outside]);
    }

    #[test]
    fn a_service_changes_its_type() {
        let mut on_nodes = given("10.96.9.9");
        on_nodes["type"] = "NodePort".into();
        on_nodes["externalTrafficPolicy"] = "Cluster".into();
        on_nodes["ports"] = json!([{"port": 80, "nodePort": 30_100}]);
        let mut inside = given("10.96.9.9");
        inside["ports"] = json!([{"port": 80}]);
        let mut patched = on_nodes.clone();
        patched["type"] = "ClusterIP".into();
        check(patched, Some(on_nodes.clone()), inside.clone());
        let mut external = on_nodes.clone();
        external["type"] = "ExternalName".into();
        check(external, Some(on_nodes), json!({"type": "ExternalName", "ports": [{"port": 80}]}));
        let outside = json!({"type": "ExternalName", "ports": [{"port": 80}]});
        let mut renewed = given("10.96.1.0");
        renewed["ports"] = json!([{"port": 80}]);
        check(json!({"type": "ClusterIP", "ports": [{"port": 80}]}), Some(outside), renewed);
    }

    #[test]
    fn what_the_range_does_not_have_is_refused() {
        let held = Held::default();
        refused(
            json!({"type": "ClusterIP", "ipFamilies": ["IPv6"]}),
            &held,
            &["spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"],
        );
        refused(
            json!({"type": "ClusterIP", "ipFamilyPolicy": "RequireDualStack"}),
            &held,
            &["spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for \
               dual-stack services"],
        );
        refused(
            json!({"type": "ClusterIP", "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.2"]}),
            &held,
            &["spec.clusterIPs: Invalid value: [\"10.96.1.2\"]: first value must match `clusterIP`"],
        );
    }
}
