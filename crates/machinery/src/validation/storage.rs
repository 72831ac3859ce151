//! Volumes, claims and classes of storage.

use super::workloads::selector;
use super::{Causes, Check, Fields, each, needed};
use crate::field::{self, Path, at, list_at, object_at, text_at};
use crate::name;
use crate::quantity::Quantity;
use serde_json::Value;

pub(super) const KINDS: &[(&str, &str, Check)] = &[
    ("", "PersistentVolume", volume),
    ("", "PersistentVolumeClaim", claim),
    ("storage.k8s.io", "StorageClass", storage_class),
];

/// The amount must be there, and above zero.
fn positive(value: Option<&Value>, path: &Path<'_>, out: &mut Causes) {
    match value {
        None => out.push(field::required(path, "")),
        Some(value) if Quantity::from_value(value).is_some_and(|amount| amount.nanos() <= 0) => {
            out.push(field::invalid(path, value, "must be greater than zero"));
        }
        Some(_) => {}
    }
}

fn access_modes(spec: &Fields, path: &Path<'_>, missing: &str, out: &mut Causes) {
    let path = path.field("accessModes");
    let modes: Vec<&str> = list_at(spec, "accessModes").iter().filter_map(Value::as_str).collect();
    if modes.is_empty() {
        out.push(field::required(&path, missing));
    }
    if modes.contains(&"ReadWriteOncePod") && modes.iter().any(|mode| *mode != "ReadWriteOncePod") {
        out.push(field::forbidden(&path, "may not use ReadWriteOncePod with other access modes"));
    }
}

fn class_name(spec: &Fields, path: &Path<'_>, out: &mut Causes) {
    let text = text_at(spec, "storageClassName");
    if !text.is_empty() {
        each(out, &path.field("storageClassName"), text, name::dns_subdomain(text));
    }
}

fn claim(object: &Fields, out: &mut Causes) {
    let path = Path::ROOT.field("spec");
    let empty = Fields::new();
    let spec = object_at(object, "spec").unwrap_or(&empty);
    access_modes(spec, &path, "at least 1 access mode is required", out);
    selector(spec.get("selector"), &path.field("selector"), out);
    let storage = at(spec, "resources.requests.storage");
    positive(storage, &path.field("resources").key("storage"), out);
    class_name(spec, &path, out);
}

/// Fields of a volume's spec that are not its source.
const NOT_SOURCES: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn volume(object: &Fields, out: &mut Causes) {
    let path = Path::ROOT.field("spec");
    let empty = Fields::new();
    let spec = object_at(object, "spec").unwrap_or(&empty);
    access_modes(spec, &path, "", out);
    match object_at(spec, "capacity") {
        None => {
            out.push(field::required(&path.field("capacity"), ""));
            out.push(field::not_supported(&path.field("capacity"), &Value::Null, ["storage"]));
        }
        Some(capacity) => {
            let path = path.field("capacity");
            if capacity.len() != 1 || !capacity.contains_key("storage") {
                let value = Value::Object(capacity.clone());
                out.push(field::not_supported(&path, &value, ["storage"]));
            } else {
                positive(capacity.get("storage"), &path.key("storage"), out);
            }
        }
    }
    let sources: Vec<&String> = spec.keys().filter(|key| !NOT_SOURCES.contains(&key.as_str())).collect();
    if sources.is_empty() {
        out.push(field::required(&path, "must specify a volume type"));
    }
    for extra in sources.iter().skip(1) {
        out.push(field::forbidden(&path.field(extra), "may not specify more than 1 volume type"));
    }
    if let Some(host) = object_at(spec, "hostPath") {
        needed(out, host, &path.field("hostPath"), &["path"]);
        let place = text_at(host, "path");
        if place.split('/').any(|part| part == "..") {
            out.push(field::invalid_text(&path.field("hostPath").field("path"), place, "must not contain '..'"));
        }
        if place == "/" && text_at(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
            let why = "may not be 'recycle' for a hostPath mount of '/'";
            out.push(field::forbidden(&path.field("persistentVolumeReclaimPolicy"), why));
        }
    }
    if let Some(driver) = object_at(spec, "csi") {
        needed(out, driver, &path.field("csi"), &["driver", "volumeHandle"]);
    }
    class_name(spec, &path, out);
}

fn storage_class(object: &Fields, out: &mut Causes) {
    let provisioner = text_at(object, "provisioner");
    let path = Path::ROOT.field("provisioner");
    if provisioner.is_empty() {
        out.push(field::required(&path, ""));
    } else {
        let provisioner = provisioner.to_lowercase();
        each(out, &path, &provisioner, name::qualified_name(&provisioner));
    }
    let parameters = Path::ROOT.field("parameters");
    for key in object_at(object, "parameters").into_iter().flatten().map(|(key, _)| key) {
        if key.is_empty() {
            out.push(field::invalid_text(&parameters, key, "field can not be empty."));
        }
    }
}

/// The driver that a class of volumes is of; its name is shown in lower case.
pub(super) fn driver(object: &Fields, root: &Path<'_>, out: &mut Causes) {
    let path = root.field("driverName");
    match text_at(object, "driverName").to_lowercase().as_str() {
        "" => out.push(field::required(&path, "")),
        text => each(out, &path, text, name::qualified_name(text)),
    }
}
