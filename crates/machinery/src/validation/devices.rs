//! Claims on devices, what nodes offer, and volumes that are attached to nodes.

use super::{Causes, Fields, each};
use crate::field::{self, Path, flag_at, list_at, object_at, text_at};
use crate::name;
use serde_json::Value;

/// What a claim asks for.
pub(super) fn request(request: &Fields, path: &Path<'_>, out: &mut Causes) {
    let text = text_at(request, "name");
    each(out, &path.field("name"), text, name::dns_label(text));
    let exactly = object_at(request, "exactly");
    match (exactly.is_some(), !list_at(request, "firstAvailable").is_empty()) {
        (false, false) => {
            out.push(field::required(path, "exactly one of `exactly` or `firstAvailable` is required"));
        }
        (true, true) => {
            let why = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            out.push(field::invalid(path, &Value::Null, why));
        }
        _ => {}
    }
    if let Some(exactly) = exactly {
        let (place, class) = (path.field("exactly"), text_at(exactly, "deviceClassName"));
        let place = place.field("deviceClassName");
        if class.is_empty() {
            out.push(field::required(&place, ""));
        } else {
            each(out, &place, class, name::dns_subdomain(class));
        }
    }
}

/// Names of pools: subdomains with `/` between.
pub(super) fn pool_name(text: &str) -> Vec<String> {
    text.split('/').flat_map(name::dns_subdomain).collect()
}

/// Where a slice's devices are, which is said in one of four ways.
pub(super) fn place(spec: &Fields, path: &Path<'_>, out: &mut Causes) {
    let given = spec.get("nodeName").and_then(Value::as_str);
    let node = path.field("nodeName");
    match given {
        Some("") => {
            out.push(field::invalid_text(&node, "", "must be either unset or set to a non-empty string"));
        }
        Some(text) => each(out, &node, text, name::dns_subdomain(text)),
        None => {}
    }
    let ways: Vec<String> = [
        ("nodeName", given.is_some_and(|text| !text.is_empty())),
        ("nodeSelector", object_at(spec, "nodeSelector").is_some()),
        ("allNodes", flag_at(spec, "allNodes")),
        ("perDeviceNodeSelection", flag_at(spec, "perDeviceNodeSelection")),
    ]
    .into_iter()
    .filter(|(_, said)| *said)
    .map(|(way, _)| format!("`{way}`"))
    .collect();
    let why = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match ways.len() {
        0 => out.push(field::required(path, why)),
        1 => {}
        _ => {
            let why = format!("{why}, but multiple fields are set");
            out.push(field::invalid_text(path, &format!("{{{}}}", ways.join(", ")), &why));
        }
    }
}

/// What is attached to a node.
pub(super) fn attached(source: &Fields, path: &Path<'_>, out: &mut Causes) {
    let volume = source.get("persistentVolumeName").and_then(Value::as_str);
    match (object_at(source, "inlineVolumeSpec").is_some(), volume) {
        (false, Some(volume)) => {
            let place = path.field("persistentVolumeName");
            if volume.is_empty() {
                out.push(field::required(&place, "must specify non empty persistentVolumeName"));
            }
            each(out, &place, volume, name::dns_subdomain(volume));
        }
        (true, None) => {}
        (true, Some(_)) => {
            let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            out.push(field::forbidden(path, why));
        }
        (false, None) => {
            let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            out.push(field::required(path, why));
        }
    }
}
