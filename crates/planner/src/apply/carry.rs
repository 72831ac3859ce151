//! Fields that a cluster binds late: when a manifest does not say them, the live value stays, because a server refuses
//! to have them taken away, or would choose another value.

use api::Object;
use serde_json::Value;

/// Kinds, and the pointers of their late-bound fields. A last segment of `*` carries every element by its key.
const LATE: [(&str, &[&str]); 6] = [
    (
        "Service",
        &[
            "/spec/clusterIP",
            "/spec/clusterIPs",
            "/spec/ipFamilies",
            "/spec/ipFamilyPolicy",
            "/spec/healthCheckNodePort",
        ],
    ),
    ("PersistentVolumeClaim", &["/spec/volumeName", "/spec/storageClassName", "/spec/volumeMode"]),
    ("PersistentVolume", &["/spec/claimRef"]),
    ("ServiceAccount", &["/secrets", "/imagePullSecrets"]),
    ("Job", &["/spec/selector", "/spec/template/metadata/labels"]),
    ("Pod", &["/spec/nodeName", "/spec/serviceAccountName", "/spec/tolerations"]),
];

/// Carries late-bound fields of the live object over into its next state.
pub(super) fn over(live: &Object, next: &mut Object) {
    let kind = live.kind().to_owned();
    let Some((_, pointers)) = LATE.iter().find(|(late, _)| *late == kind) else { return };
    for pointer in *pointers {
        let Some(value) = live.pointer(pointer).cloned() else { continue };
        let (parents, last) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        let mut place = &mut next.0;
        for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
            let slot = place.entry(parent).or_insert_with(|| Value::Object(serde_json::Map::new()));
            match slot {
                Value::Object(map) => place = map,
                _ => return,
            }
        }
        match place.get_mut(last) {
            None => {
                place.insert(last.to_owned(), value);
            }
            // Of a map of labels, those that only the cluster knows.
            Some(Value::Object(held)) if kind == "Job" => {
                if let Value::Object(live) = value {
                    live.into_iter()
                        .filter(|(key, _)| key.ends_with("controller-uid") || key.ends_with("job-name"))
                        .for_each(|(key, value)| {
                            held.entry(key).or_insert(value);
                        });
                }
            }
            Some(_) => {}
        }
    }
    node_ports(live, next);
}

/// A port of a Service without a node port keeps the one that the cluster gave it.
fn node_ports(live: &Object, next: &mut Object) {
    let Some(held) = live.pointer("/spec/ports").and_then(Value::as_array).cloned() else { return };
    let ports = next.0.get_mut("spec").and_then(|spec| spec.get_mut("ports")).and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        let same = |other: &&Value| {
            let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
            other["port"] == port["port"] && protocol(other) == protocol(port)
        };
        let given = held.iter().find(same).map(|port| port["nodePort"].clone()).filter(|given| !given.is_null());
        if let (Some(given), Value::Object(port)) = (given, port)
            && port.get("nodePort").is_none_or(Value::is_null)
        {
            port.insert("nodePort".into(), given);
        }
    }
}
