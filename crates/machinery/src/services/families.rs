//! Families of addresses of a Service: what may be asked, what is filled in, and what may change.

use super::{Fields, NONE, Refusal, is_headless, needs_address, set};
use crate::field::{self, Path, list_at, text_at};
use crate::schema::is_ip;
use crate::validation::NOT_AN_IP;
use api::Cause;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv6Addr};

const IPV4: &str = "IPv4";
const IPV6: &str = "IPv6";
/// Families that a space has addresses of.
const CONFIGURED: [&str; 1] = [IPV4];
pub(super) const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";

fn texts<'s>(spec: &'s Fields, name: &str) -> Vec<&'s str> {
    list_at(spec, name).iter().map(|value| value.as_str().unwrap_or("")).collect()
}

fn family(ip: &str) -> &'static str {
    if ip.parse::<Ipv6Addr>().is_ok() { IPV6 } else { IPV4 }
}

fn whole(spec: &Fields, name: &str) -> Value {
    Value::Array(list_at(spec, name).to_vec())
}

/// What is wrong with the addresses and families of a Service that is to have some, taken for themselves.
pub fn check(spec: &Fields, out: &mut Vec<Cause>) {
    if !needs_address(spec) {
        return;
    }
    let root = Path::ROOT.field("spec");
    let (ips, families, policy) = (root.field("clusterIPs"), root.field("ipFamilies"), root.field("ipFamilyPolicy"));
    let (first, listed) = (text_at(spec, "clusterIP"), texts(spec, "clusterIPs"));
    match listed.first() {
        None if !first.is_empty() => out.push(field::required(&ips, "")),
        Some(_) if first.is_empty() => {
            out.push(field::invalid(
                &ips,
                &whole(spec, "clusterIPs"),
                "must be empty when `clusterIP` is not specified",
            ));
        }
        Some(held) if *held != first => {
            out.push(field::invalid(&ips, &whole(spec, "clusterIPs"), "first value must match `clusterIP`"));
        }
        _ => {}
    }
    let given = texts(spec, "ipFamilies");
    for (index, name) in given.iter().enumerate() {
        if ![IPV4, IPV6].contains(name) {
            out.push(field::not_supported(&families.index(index), &(*name).into(), [IPV4, IPV6]));
        }
        if given[..index].contains(name) {
            out.push(field::duplicate(&families.index(index), &(*name).into()));
        }
    }
    if let Some(named) = spec.get("ipFamilyPolicy").filter(|named| !named.is_null())
        && ![SINGLE, PREFER, REQUIRE].contains(&named.as_str().unwrap_or(""))
    {
        out.push(field::not_supported(&policy, named, [PREFER, REQUIRE, SINGLE]));
    }
    let mut broken = false;
    for (index, ip) in listed.iter().enumerate() {
        if index == 0 && *ip == NONE {
            if listed.len() > 1 {
                broken = true;
                let why = "'None' must be the first and only value";
                out.push(field::invalid(&ips, &whole(spec, "clusterIPs"), why));
            }
        } else if !is_ip(ip) {
            broken = true;
            out.push(field::invalid_text(&ips.index(index), ip, NOT_AN_IP));
        }
    }
    if listed.len() > 2 {
        out.push(field::invalid(&ips, &whole(spec, "clusterIPs"), "may only hold up to 2 values"));
    }
    if broken {
        return;
    }
    if listed.len() > 1 && listed.iter().all(|ip| family(ip) == family(listed[0])) {
        let why = "may specify no more than one IP for each IP family";
        out.push(field::invalid(&ips, &whole(spec, "clusterIPs"), why));
    }
    if !is_headless(spec) {
        for (index, (ip, wanted)) in listed.iter().zip(&given).enumerate() {
            if [IPV4, IPV6].contains(wanted) && family(ip) != *wanted {
                let why = format!("expected an {wanted} value as indicated by `ipFamilies[{index}]`");
                out.push(field::invalid_text(&ips.index(index), ip, &why));
            }
        }
    }
}

/// Fills in families and policy of a Service.
///
/// # Errors
/// If a space cannot give what is asked.
pub(super) fn fill(spec: &mut Fields, old: Option<&Fields>) -> Result<(), Refusal> {
    if !needs_address(spec) || old.is_some_and(|old| prefers_as_before(spec, old)) {
        return Ok(());
    }
    let selects = spec.get("selector").and_then(Value::as_object).is_some_and(|selector| !selector.is_empty());
    let free = text_at(spec, "clusterIP") == NONE && !selects;
    if text_at(spec, "ipFamilyPolicy").is_empty() {
        let before = old.map_or("", |old| text_at(old, "ipFamilyPolicy"));
        let policy = match before {
            "" if free => REQUIRE,
            "" => SINGLE,
            before => before,
        };
        set(spec, "ipFamilyPolicy", policy.into());
    }
    let mut out = Vec::new();
    check(spec, &mut out);
    if !out.is_empty() {
        return Err(Refusal::Invalid(out));
    }
    let root = Path::ROOT.field("spec");
    let (ips, place, families) = (root.field("clusterIPs"), root.field("ipFamilyPolicy"), root.field("ipFamilies"));
    let policy = text_at(spec, "ipFamilyPolicy").to_owned();
    let single = policy == SINGLE;
    if let Some(old) = old {
        for (name, what) in [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")] {
            let (held, given) = (list_at(old, name).to_vec(), list_at(spec, name).len());
            if single && given > 1 && held == list_at(spec, name) {
                set(spec, name, Value::Array(held[..1].to_vec()));
            } else if !single && given > 0 && given < held.len() {
                let why = format!("must be 'SingleStack' to release the secondary {what}");
                out.push(field::invalid_text(&place, &policy, &why));
            }
        }
    }
    for (name, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
        if single && list_at(spec, name).len() == 2 {
            let why = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
            out.push(field::invalid_text(&place, &policy, &why));
        }
    }
    let mut known: Vec<String> = texts(spec, "ipFamilies").into_iter().map(str::to_owned).collect();
    for (index, ip) in texts(spec, "clusterIPs").into_iter().enumerate().take_while(|(_, ip)| *ip != NONE) {
        if index < known.len() {
            continue;
        }
        if CONFIGURED.contains(&family(ip)) {
            known.push(family(ip).into());
        } else {
            let why = format!("{} is not configured on this cluster", family(ip));
            out.push(field::invalid(&ips.index(index), &whole(spec, "clusterIPs"), &why));
        }
    }
    if !out.is_empty() {
        return Err(Refusal::Invalid(out));
    }
    if free {
        if known.is_empty() {
            known.push(CONFIGURED[0].into());
        }
        if known.len() < 2 && !single {
            known.push(if known[0] == IPV4 { IPV6 } else { IPV4 }.into());
        }
        set(spec, "ipFamilies", json!(known));
        return Ok(());
    }
    if policy == REQUIRE {
        let why = "this cluster is not configured for dual-stack services";
        out.push(field::invalid_text(&place, &policy, why));
    }
    for (index, name) in known.iter().enumerate() {
        if !CONFIGURED.contains(&name.as_str()) {
            out.push(field::invalid_text(&families.index(index), name, "not configured on this cluster"));
        }
    }
    if !out.is_empty() {
        return Err(Refusal::Invalid(out));
    }
    if known.is_empty() {
        known.push(CONFIGURED[0].into());
    }
    set(spec, "ipFamilies", json!(known));
    Ok(())
}

/// Who prefers two families and changes nothing of it keeps what there is.
fn prefers_as_before(spec: &Fields, old: &Fields) -> bool {
    text_at(spec, "ipFamilyPolicy") == PREFER
        && text_at(spec, "type") == text_at(old, "type")
        && ["", PREFER].contains(&text_at(old, "ipFamilyPolicy"))
        && list_at(spec, "clusterIPs") == list_at(old, "clusterIPs")
        && list_at(spec, "ipFamilies") == list_at(old, "ipFamilies")
}

/// What may not change of addresses and families.
pub fn check_change(new: &Fields, old: &Fields, out: &mut Vec<Cause>) {
    if !needs_address(new) || !needs_address(old) {
        return;
    }
    let (headless, before) = (is_headless(new), is_headless(old));
    let root = Path::ROOT.field("spec");
    if !(headless && before) {
        let path = root.field("clusterIPs");
        let (after, held) = (texts(new, "clusterIPs"), texts(old, "clusterIPs"));
        let shown = whole(new, "clusterIPs");
        if after.is_empty() && !held.is_empty() {
            out.push(field::invalid(&path.index(0), &Value::Null, "primary clusterIP can not be unset"));
        }
        let compared = if after.len() == held.len() { held.len() } else { 1 };
        for (index, (after, held)) in after.iter().zip(&held).enumerate().take(compared) {
            if after != held {
                out.push(field::invalid(&path.index(index), &shown, "may not change once set"));
            }
        }
        if held.len() > 1 && after.len() == 1 && text_at(new, "ipFamilyPolicy") != SINGLE {
            let why = "must be set to 'SingleStack' when releasing the secondary clusterIP";
            out.push(field::invalid_text(&root.field("ipFamilyPolicy"), text_at(new, "ipFamilyPolicy"), why));
        }
    }
    if !headless && !before {
        let path = root.field("ipFamilies");
        let (after, held) = (texts(new, "ipFamilies"), texts(old, "ipFamilies"));
        let same_size = after.len() == held.len();
        let compared = if same_size { held.len() } else { 1 };
        for (after, held) in after.iter().zip(&held).take(compared) {
            if after != held {
                // Of lists that differ in length, the stock server shows the addresses.
                let shown = whole(new, if same_size { "ipFamilies" } else { "clusterIPs" });
                out.push(field::invalid(&path.index(0), &shown, "may not change once set"));
            }
        }
        if held.len() > 1 && after.len() == 1 && text_at(new, "ipFamilyPolicy") != SINGLE {
            let why = "must be set to 'SingleStack' when releasing the secondary ipFamily";
            out.push(field::invalid_text(&root.field("ipFamilyPolicy"), text_at(new, "ipFamilyPolicy"), why));
        }
    }
}

/// The address that a text names, if it is one of a family that a space has addresses of.
pub(super) fn address(text: &str) -> Option<std::net::Ipv4Addr> {
    match text.parse() {
        Ok(IpAddr::V4(address)) => Some(address),
        _ => None,
    }
}
