//! Claims are bound to volumes that are made for them, and deleted with them.

use crate::kind::Kind;
use crate::plan::{Plan, View};
use crate::read::{self, text};
use crate::status;
use api::{Object, ObjectName};
use serde_json::{Value, json};

const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const PROVISIONER: &str = "simulator.kubestellar.io";

/// Binds a claim.
pub(crate) fn claim(plan: &mut Plan, view: &impl View, claim: &Object) {
    let asked = text(claim, "/spec/volumeName");
    let name = if asked.is_empty() { format!("pvc-{}", claim.uid()) } else { asked.to_owned() };
    let volume = view.get(Kind::Volume, &ObjectName::cluster(&*name));
    if volume.is_none() {
        if !asked.is_empty() && !truth_annotation(claim, "pv.kubernetes.io/bound-by-controller") {
            return; // waits for a volume of the user's
        }
        plan.create(Kind::Volume, new_volume(claim, &name));
    }
    if asked.is_empty() {
        let annotations = json!({
            "pv.kubernetes.io/bind-completed": "yes",
            "pv.kubernetes.io/bound-by-controller": "yes",
            "volume.kubernetes.io/storage-provisioner": PROVISIONER,
        });
        plan.patch(Kind::Claim, claim, json!({"metadata": {"annotations": annotations}, "spec": {"volumeName": name}}));
    }
    let of_volume = |pointer: &str, of_claim: &str| {
        let of_volume = volume.as_ref().and_then(|volume| volume.pointer(pointer).cloned());
        of_volume.or_else(|| claim.pointer(of_claim).cloned())
    };
    let wanted = json!({
        "phase": "Bound",
        "accessModes": of_volume("/spec/accessModes", "/spec/accessModes"),
        "capacity": of_volume("/spec/capacity", "/spec/resources/requests"),
    });
    status::write(plan, Kind::Claim, claim, wanted);
}

fn truth_annotation(claim: &Object, key: &str) -> bool {
    claim.annotation(key) == Some("yes")
}

fn new_volume(claim: &Object, name: &str) -> Object {
    let mut volume = Object::new("v1", "PersistentVolume", &ObjectName::cluster(name));
    volume.set_annotation(PROVISIONED_BY, PROVISIONER);
    let field = |pointer: &str| claim.pointer(pointer).cloned().unwrap_or_default();
    let mut spec = json!({
        "capacity": field("/spec/resources/requests"),
        "accessModes": field("/spec/accessModes"),
        "claimRef": {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "namespace": claim.namespace(), "name": claim.name(), "uid": claim.uid(),
        },
        "persistentVolumeReclaimPolicy": "Delete",
        "hostPath": {"path": format!("/var/lib/simulator/{name}")},
    });
    for (key, pointer) in [("storageClassName", "/spec/storageClassName"), ("volumeMode", "/spec/volumeMode")] {
        if let Some(value) = claim.pointer(pointer) {
            spec[key] = value.clone();
        }
    }
    volume.0.insert("spec".into(), spec);
    volume
}

/// Says what a volume is bound to; deletes one of ours whose claim is gone.
pub(crate) fn volume(plan: &mut Plan, view: &impl View, volume: &Object) {
    let phase = |phase: &str| {
        let mut status = read::status(volume);
        status["phase"] = phase.into();
        status
    };
    let claim = ObjectName::namespaced(text(volume, "/spec/claimRef/namespace"), text(volume, "/spec/claimRef/name"));
    if claim.name.is_empty() {
        return status::write(plan, Kind::Volume, volume, phase("Available"));
    }
    let uid = text(volume, "/spec/claimRef/uid");
    let held = view.get(Kind::Claim, &claim).filter(|claim| uid.is_empty() || claim.uid() == uid);
    match held {
        Some(_) => status::write(plan, Kind::Volume, volume, phase("Bound")),
        None if volume.annotation(PROVISIONED_BY) == Some(PROVISIONER) => plan.delete(Kind::Volume, volume),
        None => status::write(plan, Kind::Volume, volume, phase("Released")),
    }
}

/// The claim that a volume is for, and the volume that a claim has: what one's change means to the other.
pub(crate) fn counterpart(kind: Kind, object: &Object) -> Option<crate::Key> {
    match kind {
        Kind::Claim => {
            let name = text(object, "/spec/volumeName");
            let name = if name.is_empty() { format!("pvc-{}", object.uid()) } else { name.to_owned() };
            Some(crate::Key::new(Kind::Volume, ObjectName::cluster(name)))
        }
        Kind::Volume => {
            let claim = object.pointer("/spec/claimRef")?;
            let part = |field: &str| claim.get(field).and_then(Value::as_str);
            Some(crate::Key::new(Kind::Claim, ObjectName::namespaced(part("namespace")?, part("name")?)))
        }
        _ => None,
    }
}
