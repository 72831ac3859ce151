//! Addresses of what stands behind Services, ranges of Services' addresses, and events.

use super::{Causes, Fields, each, port};
use crate::field::{self, Path, list_at, object_at, objects_at, text_at};
use crate::name;
use crate::schema::is_ip;
use serde_json::Value;
use std::net::IpAddr;

pub(crate) const NOT_AN_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
pub(super) const NOT_A_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// A subset of an Endpoints.
pub(super) fn subset(subset: &Fields, path: &Path<'_>, out: &mut Causes) {
    if list_at(subset, "addresses").is_empty() && list_at(subset, "notReadyAddresses").is_empty() {
        out.push(field::required(path, "must specify `addresses` or `notReadyAddresses`"));
    }
    for name in ["addresses", "notReadyAddresses"] {
        let list = path.field(name);
        for (index, fields) in objects_at(subset, name).enumerate() {
            address(fields, &list.index(index), out);
        }
    }
    let list = path.field("ports");
    let many = list_at(subset, "ports").len() > 1;
    for (index, fields) in objects_at(subset, "ports").enumerate() {
        let path = list.index(index);
        match text_at(fields, "name") {
            "" if many => out.push(field::required(&path.field("name"), "")),
            "" => {}
            text => each(out, &path.field("name"), text, name::dns_label(text)),
        }
        port(out, &path.field("port"), field::int_at(fields, "port").unwrap_or(0));
        let protocol = text_at(fields, "protocol");
        if protocol.is_empty() {
            out.push(field::required(&path.field("protocol"), ""));
        } else if !PROTOCOLS.contains(&protocol) {
            out.push(field::not_supported(&path.field("protocol"), &protocol.into(), PROTOCOLS));
        }
        let application = text_at(fields, "appProtocol");
        if !application.is_empty() {
            each(out, &path.field("appProtocol"), application, name::qualified_name(application));
        }
    }
}

fn address(address: &Fields, path: &Path<'_>, out: &mut Causes) {
    let (ip, place) = (text_at(address, "ip"), path.field("ip"));
    if !is_ip(ip) {
        out.push(field::invalid_text(&place, ip, NOT_AN_IP));
    }
    let host = text_at(address, "hostname");
    if !host.is_empty() {
        each(out, &path.field("hostname"), host, name::dns_label(host));
    }
    let node = text_at(address, "nodeName");
    if !node.is_empty() {
        each(out, &path.field("nodeName"), node, name::dns_subdomain(node));
    }
    if let Some(why) = special(ip) {
        out.push(field::invalid_text(&place, ip, &why));
    }
}

/// Why traffic cannot be sent to an address.
pub(super) fn special(ip: &str) -> Option<String> {
    let Ok(ip) = ip.parse::<IpAddr>() else { return Some("must be a valid IP address".into()) };
    let (local, multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.segments()[0] & 0xffc0 == 0xfe80, ip.segments()[0] & 0xff0f == 0xff02),
    };
    let why = if ip.is_unspecified() {
        return Some(format!("may not be unspecified ({ip})"));
    } else if ip.is_loopback() {
        "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    } else if local {
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    } else if multicast {
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    } else {
        return None;
    };
    Some(why.into())
}

/// The ranges that a ServiceCIDR opens.
pub(super) fn ranges(spec: &Fields, path: &Path<'_>, out: &mut Causes) {
    let path = path.field("cidrs");
    let given = list_at(spec, "cidrs");
    if given.is_empty() {
        return out.push(field::required(&path, "at least one CIDR required"));
    }
    if given.len() > 2 {
        let why = "may only hold up to 2 values";
        return out.push(field::invalid(&path, &Value::Array(given.to_vec()), why));
    }
    for (index, range) in given.iter().enumerate() {
        let text = range.as_str().unwrap_or("");
        if crate::schema::holds_format("cidr", text) != Some(true) {
            out.push(field::invalid_text(&path.index(index), text, NOT_A_CIDR));
        }
    }
}

/// Bytes in an event's note.
const NOTE_MAX: usize = 1024;
/// Characters in an event's action, reason, and reporting instance.
const WORD_MAX: usize = 128;

/// An event written through the core group.
pub(super) fn core_event(event: &Fields, _: &Path<'_>, out: &mut Causes) {
    let namespace = object_at(event, "involvedObject").map_or("", |about| text_at(about, "namespace"));
    if !namespace.is_empty() && namespace != text_at(event, "metadata.namespace") {
        of_another_namespace(namespace, out);
    }
    legacy(event, "involvedObject", "reportingComponent", "message", out);
}

/// An event written through its own group.
pub(super) fn event(event: &Fields, path: &Path<'_>, out: &mut Causes) {
    legacy(event, "regarding", "reportingController", "note", out);
    if text_at(event, "eventTime").is_empty() {
        out.push(field::required(&path.field("eventTime"), ""));
    }
    let kind = text_at(event, "type");
    if !matches!(kind, "Normal" | "Warning") {
        out.push(field::invalid_text(&path.field("type"), "", &format!("has invalid value: {kind}")));
    }
    for (ours, theirs) in [
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("deprecatedSource", "source"),
    ] {
        let set = match event.get(ours) {
            None | Some(Value::Null) => false,
            Some(Value::Object(source)) => !source.is_empty(),
            Some(_) => true,
        };
        if set {
            out.push(field::invalid_text(&path.field(theirs), "", "needs to be unset"));
        }
    }
}

fn of_another_namespace(namespace: &str, out: &mut Causes) {
    let place = Path::ROOT.field("involvedObject");
    out.push(field::invalid_text(&place.field("namespace"), namespace, "does not match event.namespace"));
}

/// What holds of events in both groups, whose fields have other names in each.
fn legacy(event: &Fields, about: &str, controller: &str, note: &str, out: &mut Causes) {
    let namespace = text_at(event, "metadata.namespace");
    let theirs = object_at(event, about).map_or("", |about| text_at(about, "namespace"));
    if theirs.is_empty() && !matches!(namespace, "" | "default") {
        of_another_namespace(theirs, out);
    }
    if text_at(event, "eventTime").is_empty() {
        return;
    }
    let reporter = text_at(event, controller);
    // The message names the field as the group of the request does.
    let place = Path::ROOT.field(controller);
    if reporter.is_empty() {
        out.push(field::required(&place, ""));
    }
    each(out, &place, reporter, name::qualified_name(reporter));
    for name in ["reportingInstance", "action", "reason"] {
        let text = text_at(event, name);
        if text.is_empty() {
            out.push(field::required(&Path::ROOT.field(name), ""));
        }
        if text.chars().count() > WORD_MAX {
            let why = format!("can have at most {WORD_MAX} characters");
            out.push(field::invalid_text(&Path::ROOT.field(name), "", &why));
        }
    }
    if text_at(event, note).len() > NOTE_MAX {
        let why = format!("can have at most {NOTE_MAX} bytes");
        out.push(field::invalid_text(&Path::ROOT.field("message"), "", &why));
    }
}
