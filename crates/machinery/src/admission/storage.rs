//! What admission makes of claims, volumes, ingresses and nodes: default classes, protection of what is in use.

use super::pods::spec;
use super::resources::amounts;
use super::{Lookup, Refusal, Subject};
use crate::field;
use crate::quantity::Quantity;
use api::Object;
use serde_json::{Value, json};

const CLASSES: &str = "storageclasses.storage.k8s.io";
/// Keeps a claim while a Pod uses it.
pub const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
/// Keeps a volume while a claim is bound to it.
pub const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";
/// Keeps a class of volume attributes while a claim or a volume is of it.
pub const ATTRIBUTES_FINALIZER: &str = "kubernetes.io/vac-protection";
/// The class of a claim, in the form of before there was a field.
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// Of the classes that say to be the default, the newest; of several, the first by name.
fn newest_default(classes: Vec<Object>, marks: &[&str]) -> Option<Object> {
    let marked = |class: &Object| marks.iter().any(|mark| class.annotation(mark) == Some("true"));
    let mut classes: Vec<Object> = classes.into_iter().filter(marked).collect();
    let created = |class: &Object| class.meta("creationTimestamp").and_then(Value::as_str).unwrap_or("").to_owned();
    classes.sort_by(|a, b| created(b).cmp(&created(a)).then_with(|| a.name().cmp(b.name())));
    classes.into_iter().next()
}

/// DefaultStorageClass: of claims that name none.
pub(super) fn default_class(subject: &mut Subject<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    let named = field::at(&subject.object.0, "spec.storageClassName").is_some_and(|name| !name.is_null());
    if named || subject.object.annotation(OLD_CLASS).is_some() {
        return Ok(());
    }
    let marks = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
    if let Some(class) = newest_default(lookup.list(CLASSES, ""), &marks) {
        spec(subject.object).insert("storageClassName".into(), class.name().into());
    }
    Ok(())
}

/// DefaultIngressClass: of ingresses that name none.
pub(super) fn default_ingress_class(subject: &mut Subject<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    let named = field::at(&subject.object.0, "spec.ingressClassName").is_some_and(|name| !name.is_null());
    if named || subject.object.annotation("kubernetes.io/ingress.class").is_some() {
        return Ok(());
    }
    let classes = lookup.list("ingressclasses.networking.k8s.io", "");
    if let Some(class) = newest_default(classes, &["ingressclass.kubernetes.io/is-default-class"]) {
        spec(subject.object).insert("ingressClassName".into(), class.name().into());
    }
    Ok(())
}

fn finalize(object: &mut Object, finalizer: &str) {
    let mut finalizers: Vec<String> = object.finalizers().into_iter().map(str::to_owned).collect();
    if !finalizers.iter().any(|held| held == finalizer) {
        finalizers.push(finalizer.to_owned());
        object.set_meta("finalizers", finalizers);
    }
}

/// StorageObjectInUseProtection of claims.
pub(super) fn protect_claim(subject: &mut Subject<'_>, _: &dyn Lookup) -> Result<(), Refusal> {
    finalize(subject.object, CLAIM_FINALIZER);
    Ok(())
}

/// StorageObjectInUseProtection of volumes.
pub(super) fn protect_volume(subject: &mut Subject<'_>, _: &dyn Lookup) -> Result<(), Refusal> {
    finalize(subject.object, VOLUME_FINALIZER);
    Ok(())
}

/// StorageObjectInUseProtection of classes of volume attributes.
pub(super) fn protect_attributes(subject: &mut Subject<'_>, _: &dyn Lookup) -> Result<(), Refusal> {
    finalize(subject.object, ATTRIBUTES_FINALIZER);
    Ok(())
}

/// PersistentVolumeClaimResize: only a bound claim grows, and only if its class says that it may.
pub(super) fn may_resize(subject: &mut Subject<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    let Some(old) = subject.old else { return Ok(()) };
    let size = |claim: &Object| {
        let asked = amounts(field::at(&claim.0, "spec.resources.requests"));
        asked.get("storage").copied().unwrap_or(Quantity::ZERO)
    };
    if size(subject.object) <= size(old) {
        return Ok(());
    }
    if field::text_at(&old.0, "status.phase") != "Bound" {
        return Err("only bound persistent volume claims can be expanded".into());
    }
    let class = |claim: &Object| {
        let held = claim.annotation(OLD_CLASS).unwrap_or_else(|| field::text_at(&claim.0, "spec.storageClassName"));
        held.to_owned()
    };
    let (before, after) = (class(old), class(subject.object));
    let expands = || {
        let class = lookup.get(CLASSES, "", &after);
        class.is_some_and(|class| field::flag_at(&class.0, "allowVolumeExpansion"))
    };
    if !before.is_empty() && before == after && expands() {
        return Ok(());
    }
    Err("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support \
         resize"
        .into())
}

/// TaintNodesByCondition: a new node is not ready.
pub(super) fn taint_new_node(subject: &mut Subject<'_>, _: &dyn Lookup) -> Result<(), Refusal> {
    const NOT_READY: &str = "node.kubernetes.io/not-ready";
    let spec = spec(subject.object);
    let tainted = field::objects_at(spec, "taints")
        .any(|taint| field::text_at(taint, "key") == NOT_READY && field::text_at(taint, "effect") == "NoSchedule");
    let taints = spec.entry("taints").or_insert_with(|| json!([]));
    if let Some(taints) = taints.as_array_mut().filter(|_| !tainted) {
        taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
    }
    Ok(())
}
