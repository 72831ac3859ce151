//! Lets claims, volumes and classes of volume attributes that are being deleted go as soon as nothing uses them (finalizers of
//! StorageObjectInUseProtection).

use super::call::{Caller, Failure};
use crate::Server;
use api::{Object, Resource};
use machinery::admission::storage::{ATTRIBUTES_FINALIZER, CLAIM_FINALIZER, VOLUME_FINALIZER};
use serde_json::{Value, json};
use store::{Collection, Key};

pub(super) const CLAIMS: &str = "persistentvolumeclaims";
pub(super) const VOLUMES: &str = "persistentvolumes";
pub(super) const ATTRIBUTES: &str = "volumeattributesclasses.storage.k8s.io";
pub(super) const PODS: &str = "pods";

/// Removes the finalizer of a claim, volume or class that is not in use.
pub(super) async fn release(caller: &Caller<'_>, server: &Server, key: &Key) -> Result<(), Failure> {
    let Some(entry) = server.store().get(key) else { return Ok(()) };
    let Ok(object) = serde_json::from_slice::<Object>(&entry.value) else { return Ok(()) };
    let (resource, finalizer, used) = if &*key.collection.resource == CLAIMS {
        let resource = Resource::namespaced("", "v1", CLAIMS, "PersistentVolumeClaim");
        (resource, CLAIM_FINALIZER, is_mounted(server, key))
    } else if &*key.collection.resource == ATTRIBUTES {
        let resource = Resource::cluster("storage.k8s.io", "v1", "volumeattributesclasses", "VolumeAttributesClass");
        (resource, ATTRIBUTES_FINALIZER, is_of_class(server, key))
    } else {
        let bound = object.pointer("/status/phase").and_then(Value::as_str) == Some("Bound");
        (Resource::cluster("", "v1", VOLUMES, "PersistentVolume"), VOLUME_FINALIZER, bound)
    };
    let finalizers = object.finalizers();
    if used || !object.is_deleting() || !finalizers.contains(&finalizer) {
        return Ok(());
    }
    let left: Vec<&str> = finalizers.into_iter().filter(|held| *held != finalizer).collect();
    let patch =
        json!({"metadata": {"finalizers": left, "uid": object.uid(), "resourceVersion": object.resource_version()}});
    caller.merge(resource.object_path(&object.object_name()), patch).await
}

/// Whether a claim or a volume asks for the class, or has it.
fn is_of_class(server: &Server, class: &Key) -> bool {
    [CLAIMS, VOLUMES].into_iter().any(|resource| {
        let held = Collection::new(class.collection.space.clone(), resource);
        let page = server.store().page(&held, None, None, usize::MAX, None);
        let entries = page.map(|page| page.entries).unwrap_or_default();
        entries
            .iter()
            .filter_map(|entry| serde_json::from_slice(&entry.value).ok())
            .any(|held| names(&held, &class.name))
    })
}

fn names(user: &Object, class: &str) -> bool {
    let places = [
        "/spec/volumeAttributesClassName",
        "/status/currentVolumeAttributesClassName",
        "/status/modifyVolumeStatus/targetVolumeAttributesClassName",
    ];
    places.into_iter().any(|place| user.pointer(place).and_then(Value::as_str) == Some(class))
}

/// Whether a Pod that was sent to a node, and has not ended, mounts the claim.
fn is_mounted(server: &Server, claim: &Key) -> bool {
    let pods = Collection::new(claim.collection.space.clone(), PODS);
    let page = server.store().page(&pods, Some(&claim.namespace), None, usize::MAX, None);
    let entries = page.map(|page| page.entries).unwrap_or_default();
    entries.iter().filter_map(|entry| serde_json::from_slice(&entry.value).ok()).any(|pod| mounts(&pod, &claim.name))
}

fn mounts(pod: &Object, claim: &str) -> bool {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    if text("/spec/nodeName").is_empty() || matches!(text("/status/phase"), "Succeeded" | "Failed") {
        return false;
    }
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    volumes.into_iter().any(|volume| {
        let of_pod = || format!("{}-{}", pod.name(), volume["name"].as_str().unwrap_or(""));
        volume["persistentVolumeClaim"]["claimName"] == claim || (volume["ephemeral"].is_object() && of_pod() == claim)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(spec: Value, phase: &str, expected: bool) {
        let pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": {"phase": phase}});
        assert_eq!(mounts(&serde_json::from_value(pod).unwrap(), "c"), expected);
    }

    #[test]
    fn a_claim_uses_the_class_that_it_had_until_it_has_another() {
        let claim = json!({"spec": {"volumeAttributesClassName": "b"},
            "status": {"currentVolumeAttributesClassName": "a"}});
        let claim: Object = serde_json::from_value(claim).unwrap();
        assert!(names(&claim, "a") && names(&claim, "b") && !names(&claim, "c"));
    }

    #[test]
    fn a_pod_uses_a_claim_while_it_runs() {
        let mounted = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
        check(json!({"nodeName": "n", "volumes": mounted}), "Running", true);
        check(json!({"nodeName": "n", "volumes": mounted}), "Failed", false);
        check(json!({"volumes": mounted}), "Pending", false);
        check(json!({"nodeName": "n", "volumes": [{"name": "v", "emptyDir": {}}]}), "Running", false);
    }
}
