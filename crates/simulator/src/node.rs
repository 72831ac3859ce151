//! The one node of a simulated WEC.

use crate::kind::Kind;
use crate::plan::Plan;
use crate::status::{self, condition};
use api::{Labels, Object, ObjectName, Timestamp};
use serde_json::{Value, json};

/// Its name.
pub const NODE: &str = "sim-0";
/// Its address.
pub(crate) const ADDRESS: &str = "172.18.0.2";

const LABELS: [(&str, &str); 5] = [
    ("beta.kubernetes.io/arch", "amd64"),
    ("beta.kubernetes.io/os", "linux"),
    ("kubernetes.io/arch", "amd64"),
    ("kubernetes.io/hostname", NODE),
    ("kubernetes.io/os", "linux"),
];

/// Whether a node selector selects it.
pub(crate) fn matches(selector: &Labels) -> bool {
    selector.iter().all(|(key, value)| LABELS.contains(&(key, value)))
}

pub(crate) fn create(plan: &mut Plan) {
    let mut node = Object::new("v1", "Node", &ObjectName::cluster(NODE));
    for (key, value) in LABELS {
        node.set_label(key, value);
    }
    node.0.insert("spec".into(), json!({"podCIDR": "10.244.0.0/16", "podCIDRs": ["10.244.0.0/16"]}));
    plan.create(Kind::Node, node);
}

pub(crate) fn plan(plan: &mut Plan, node: &Object, now: Timestamp) {
    if node.name() != NODE {
        return;
    }
    let well = |type_: &str, what: &str| condition(type_, false, &format!("KubeletHas{what}"), words(what));
    let conditions = vec![
        well("MemoryPressure", "SufficientMemory"),
        well("DiskPressure", "NoDiskPressure"),
        well("PIDPressure", "SufficientPID"),
        condition("Ready", true, "KubeletReady", "kubelet is posting ready status"),
    ];
    let capacity = json!({"cpu": "8", "memory": "32Gi", "ephemeral-storage": "100Gi", "pods": "110"});
    let wanted: Value = json!({
        "capacity": capacity,
        "allocatable": capacity,
        // No `lastHeartbeatTime`: it would be a write every few seconds that says nothing.
        "conditions": status::conditions(node, conditions, now, None),
        "addresses": [{"type": "InternalIP", "address": ADDRESS}, {"type": "Hostname", "address": NODE}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "architecture": "amd64", "operatingSystem": "linux", "osImage": "simulated", "kernelVersion": "0.0.0",
            "containerRuntimeVersion": "simulated://0", "kubeletVersion": "v1.36.3", "kubeProxyVersion": "",
            "machineID": "", "systemUUID": "", "bootID": "",
        },
    });
    status::write(plan, Kind::Node, node, wanted);
}

/// `SufficientMemory` as the kubelet's message has it.
fn words(what: &str) -> &'static str {
    match what {
        "SufficientMemory" => "kubelet has sufficient memory available",
        "NoDiskPressure" => "kubelet has no disk pressure",
        _ => "kubelet has sufficient PID available",
    }
}
