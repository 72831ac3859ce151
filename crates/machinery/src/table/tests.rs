//! Tables for the cells of built-in and custom kinds.

use super::*;
use serde_json::json;

const NOW: &str = "2026-01-01T00:10:00Z";

fn row(group: &str, kind: &str, mut object: Value) -> Vec<Value> {
    let meta = object.as_object_mut().unwrap().entry("metadata").or_insert(json!({}));
    meta["name"] = "x".into();
    meta["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    cells(group, kind, &serde_json::from_value(object).unwrap(), NOW.parse().unwrap())
}

#[track_caller]
fn check(group: &str, kind: &str, object: Value, expected: Value) {
    assert_eq!(Value::Array(row(group, kind, object)), expected, "{kind}");
}

/// How many columns the stock server gives each kind.
const COLUMNS: &[(&str, &[(&str, usize)])] = &[
    (
        "",
        &[
            ("ComponentStatus", 4),
            ("ConfigMap", 3),
            ("Endpoints", 3),
            ("Event", 10),
            ("LimitRange", 2),
            ("Namespace", 3),
            ("Node", 10),
            ("PersistentVolumeClaim", 9),
            ("PersistentVolume", 11),
            ("Pod", 9),
            ("PodTemplate", 4),
            ("ReplicationController", 8),
            ("ResourceQuota", 4),
            ("Secret", 4),
            ("ServiceAccount", 2),
            ("Service", 7),
        ],
    ),
    ("apiregistration.k8s.io", &[("APIService", 4)]),
    ("apps", &[("ControllerRevision", 4), ("DaemonSet", 11), ("Deployment", 8), ("ReplicaSet", 8), ("StatefulSet", 5)]),
    ("events.k8s.io", &[("Event", 10)]),
    ("autoscaling", &[("HorizontalPodAutoscaler", 7)]),
    ("batch", &[("CronJob", 10), ("Job", 8)]),
    ("certificates.k8s.io", &[("CertificateSigningRequest", 6)]),
    (
        "networking.k8s.io",
        &[("IngressClass", 4), ("Ingress", 6), ("IPAddress", 2), ("NetworkPolicy", 3), ("ServiceCIDR", 3)],
    ),
    ("policy", &[("PodDisruptionBudget", 5)]),
    ("rbac.authorization.k8s.io", &[("ClusterRoleBinding", 6), ("ClusterRole", 2), ("RoleBinding", 6), ("Role", 2)]),
    (
        "storage.k8s.io",
        &[
            ("CSIDriver", 8),
            ("CSINode", 3),
            ("CSIStorageCapacity", 2),
            ("StorageClass", 6),
            ("VolumeAttachment", 6),
            ("VolumeAttributesClass", 3),
        ],
    ),
    (
        "admissionregistration.k8s.io",
        &[
            ("MutatingAdmissionPolicy", 4),
            ("MutatingAdmissionPolicyBinding", 4),
            ("MutatingWebhookConfiguration", 3),
            ("ValidatingAdmissionPolicy", 4),
            ("ValidatingAdmissionPolicyBinding", 4),
            ("ValidatingWebhookConfiguration", 3),
        ],
    ),
    ("apiextensions.k8s.io", &[("CustomResourceDefinition", 2)]),
    ("scheduling.k8s.io", &[("PriorityClass", 5)]),
    ("coordination.k8s.io", &[("Lease", 3)]),
    ("node.k8s.io", &[("RuntimeClass", 3)]),
    ("discovery.k8s.io", &[("EndpointSlice", 5)]),
    (
        "resource.k8s.io",
        &[("DeviceClass", 2), ("ResourceClaim", 3), ("ResourceClaimTemplate", 2), ("ResourceSlice", 5)],
    ),
    ("flowcontrol.apiserver.k8s.io", &[("FlowSchema", 6), ("PriorityLevelConfiguration", 7)]),
];

#[test]
fn every_kind_has_a_cell_for_each_of_its_columns() {
    for (group, kinds) in COLUMNS {
        for (kind, count) in *kinds {
            assert_eq!(row(group, kind, json!({})).len(), *count, "{group} {kind}");
        }
    }
    let listed: usize = COLUMNS.iter().map(|(_, kinds)| kinds.len()).sum();
    assert!(workloads::KINDS.len() + kinds::KINDS.len() <= listed + 1, "Scale is the only kind without a collection");
}

#[test]
fn workloads() {
    let template = json!({"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j"}]}});
    check(
        "apps",
        "Deployment",
        json!({"spec": {"replicas": 3, "template": template, "selector": {"matchLabels": {"app": "x"},
            "matchExpressions": [{"key": "a", "operator": "In", "values": ["2", "1"]}, {"key": "z", "operator": "DoesNotExist"}]}},
            "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}}),
        json!(["x", "2/3", 3, 2, "10m", "a,b", "i:1,j", "a in (1,2),app=x,!z"]),
    );
    check(
        "apps",
        "StatefulSet",
        json!({"spec": {"replicas": 1, "template": template}}),
        json!(["x", "0/1", "10m", "a,b", "i:1,j"]),
    );
    check(
        "apps",
        "ReplicaSet",
        json!({"spec": {"replicas": 1}, "status": {"replicas": 1}}),
        json!(["x", 1, 1, 0, "10m", "", "", "<none>"]),
    );
    check(
        "batch",
        "Job",
        json!({"spec": {"completions": 1}, "status": {"succeeded": 1, "startTime": "2026-01-01T00:00:00Z",
            "completionTime": "2026-01-01T00:00:07Z", "conditions": [{"type": "Complete", "status": "True"}]}}),
        json!(["x", "Complete", "1/1", "7s", "10m", "", "", "<none>"]),
    );
    check(
        "batch",
        "CronJob",
        json!({"spec": {"schedule": "* * * * *", "suspend": false}, "status": {"active": [{}]}}),
        json!(["x", "* * * * *", "<none>", "False", 1, "<none>", "10m", "", "", "<none>"]),
    );
    check(
        "autoscaling",
        "HorizontalPodAutoscaler",
        json!({"spec": {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "d"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]},
            "status": {"currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 50}}}]}}),
        json!(["x", "Deployment/d", "cpu: 50%/80%", "1", 5, 0, "10m"]),
    );
    check(
        "apps",
        "ControllerRevision",
        json!({"revision": 2, "metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "controller": true}]}}),
        json!(["x", "daemonset.apps/d", 2, "10m"]),
    );
}

#[test]
fn pods() {
    let pod = |status: Value| row("", "Pod", json!({"spec": {"containers": [{"name": "a"}]}, "status": status}));
    let cells = pod(
        json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "containerStatuses": [{"name": "a", "ready": true,
        "state": {"running": {}}, "restartCount": 3, "lastState": {"terminated": {"finishedAt": "2026-01-01T00:05:00Z"}}}]}),
    );
    assert_eq!(
        Value::Array(cells),
        json!(["x", "1/1", "Running", "3 (5m ago)", "10m", "10.0.0.1", "<none>", "<none>", "<none>"])
    );
    for (status, reason) in [
        (json!({"phase": "Pending"}), "Pending"),
        (
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
            "SchedulingGated",
        ),
        (json!({"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}), "CrashLoopBackOff"),
        (json!({"containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}), "ExitCode:3"),
        (json!({"initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}), "Init:0/0"),
        (
            json!({"initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
            "Init:Error",
        ),
    ] {
        assert_eq!(pod(status.clone())[2], reason, "{status}");
    }
    let done = Object(json!({"status": {"phase": "Succeeded"}}).as_object().unwrap().clone());
    assert_eq!(row_conditions("", "Pod", &done).unwrap()[0]["reason"], "Succeeded");
    assert_eq!(row_conditions("", "Service", &done), None);
}

#[test]
fn services_and_ingresses() {
    check(
        "",
        "Service",
        json!({"spec": {"type": "NodePort", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}], "selector": {"a": "b"}}}),
        json!(["x", "NodePort", "10.0.0.1", "<none>", "80:30080/TCP,53/UDP", "10m", "a=b"]),
    );
    check(
        "",
        "Service",
        json!({"spec": {"type": "LoadBalancer"}}),
        json!(["x", "LoadBalancer", "<none>", "<pending>", "<none>", "10m", "<none>"]),
    );
    check(
        "networking.k8s.io",
        "Ingress",
        json!({"spec": {"tls": [{}], "rules": [{"host": "a"}, {"host": "b"}, {"host": "c"}, {"host": "d"}]}, "status": {"loadBalancer": {"ingress": [{"hostname": "h"}]}}}),
        json!(["x", "<none>", "a,b,c + 1 more...", "h", "80, 443", "10m"]),
    );
    check(
        "discovery.k8s.io",
        "EndpointSlice",
        json!({"addressType": "IPv4", "ports": [{"port": 80}, {"name": "n"}], "endpoints": [{"addresses": ["1"]}, {"addresses": ["2"]}, {"addresses": ["3", "4"]}]}),
        json!(["x", "IPv4", "80,n", "1,2,3 + 1 more...", "10m"]),
    );
    check(
        "",
        "Endpoints",
        json!({"subsets": [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "::1"}], "ports": [{"port": 80}]}]}),
        json!(["x", "1.1.1.1:80,[::1]:80", "10m"]),
    );
}

#[test]
fn the_rest() {
    check("", "ConfigMap", json!({"data": {"a": ""}, "binaryData": {"b": ""}}), json!(["x", 2, "10m"]));
    check(
        "",
        "Event",
        json!({"lastTimestamp": "2026-01-01T00:09:00Z", "count": 3, "type": "Normal", "reason": "R", "message": " m\n",
            "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "c", "host": "h"}}),
        json!(["60s", "Normal", "R", "pod/p", "", "c, h", "m", "<unknown>", 3, "x"]),
    );
    check(
        "events.k8s.io",
        "Event",
        json!({"eventTime": "2026-01-01T00:09:00.000000Z", "regarding": {"kind": "Pod"}, "note": "n", "reportingController": "c"}),
        json!(["60s", "", "", "pod", "", "c", "n", "60s", 1, "x"]),
    );
    check(
        "",
        "Node",
        json!({"metadata": {"labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "a"}}, "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "False"}]}}),
        json!([
            "x",
            "NotReady,SchedulingDisabled",
            "a,worker",
            "10m",
            "",
            "<none>",
            "<none>",
            "<unknown>",
            "<unknown>",
            "<unknown>"
        ]),
    );
    check(
        "rbac.authorization.k8s.io",
        "RoleBinding",
        json!({"roleRef": {"kind": "ClusterRole", "name": "edit"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]}),
        json!(["x", "ClusterRole/edit", "10m", "u", "", "n/s"]),
    );
    check(
        "certificates.k8s.io",
        "CertificateSigningRequest",
        json!({"spec": {"signerName": "s", "username": "u", "expirationSeconds": 86400}, "status": {"conditions": [{"type": "Approved"}], "certificate": "eA=="}}),
        json!(["x", "10m", "s", "u", "24h", "Approved,Issued"]),
    );
    check("rbac.authorization.k8s.io", "ClusterRole", json!({}), json!(["x", "2026-01-01T00:00:00Z"]));
    check(
        "",
        "ResourceQuota",
        json!({"status": {"hard": {"limits.cpu": "2", "pods": "5"}, "used": {"pods": "1"}}}),
        json!(["x", "pods: 1/5", "limits.cpu: 0/2", "10m"]),
    );
}

#[test]
fn custom_resources() {
    let object: Object =
        serde_json::from_value(json!({"metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"n": 3, "s": "t", "l": [1], "d": "2026-01-01T00:09:00Z", "b": true}}))
        .unwrap();
    let find = |path: &str| object.pointer(&path.replace('.', "/")).cloned();
    let column = |kind, path| Column { kind, path };
    let columns = [
        column("integer", ".spec.n"),
        column("string", ".spec.n"),
        column("string", ".spec.l"),
        column("date", ".spec.d"),
        column("date", ".spec.s"),
        column("boolean", ".spec.b"),
        column("integer", ".spec.s"),
        column("string", ".spec.absent"),
    ];
    let cells = custom_cells(&object, columns, NOW.parse().unwrap(), find);
    assert_eq!(Value::Array(cells), json!(["x", 3, "3", "[1]", "60s", "<invalid>", true, null, null]));
    assert_eq!(Value::Array(custom_cells(&object, [], NOW.parse().unwrap(), |_| None)), json!(["x", "10m"]));
}
