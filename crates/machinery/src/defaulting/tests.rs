//! Tables for the defaults of built-in kinds.

use super::*;
use crate::schema::from_definitions;
use serde_json::json;
use std::sync::Arc;

/// A schema of the parts of the built-in kinds that these tests use.
fn definitions() -> Arc<Schemas> {
    let to = |name: &str| json!({"$ref": format!("#/definitions/io.k8s.api.{name}")});
    let list = |name: &str| json!({"type": "array", "items": to(name)});
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    let definitions = json!({
        "io.k8s.api.apps.v1.Deployment": object(json!({"spec": to("apps.v1.DeploymentSpec"), "status": {"type": "object"}})),
        "io.k8s.api.apps.v1.DeploymentSpec": object(json!({"template": to("core.v1.PodTemplateSpec")})),
        "io.k8s.api.apps.v1.StatefulSet": object(json!({"spec": to("apps.v1.StatefulSetSpec"), "status": to("apps.v1.StatefulSetStatus")})),
        "io.k8s.api.apps.v1.StatefulSetSpec": object(json!({"volumeClaimTemplates": list("core.v1.PersistentVolumeClaim")})),
        "io.k8s.api.apps.v1.StatefulSetStatus": object(json!({})),
        "io.k8s.api.core.v1.PersistentVolumeClaim": object(json!({"spec": to("core.v1.PersistentVolumeClaimSpec")})),
        "io.k8s.api.core.v1.PersistentVolumeClaimSpec": object(json!({})),
        "io.k8s.api.core.v1.Pod": object(json!({"spec": to("core.v1.PodSpec")})),
        "io.k8s.api.core.v1.PodTemplateSpec": object(json!({"spec": to("core.v1.PodSpec")})),
        "io.k8s.api.core.v1.PodSpec": object(json!({"containers": list("core.v1.Container"), "volumes": list("core.v1.Volume"),
            "hostNetwork": {"type": "boolean"}, "nodeName": {"type": "string"}, "automountServiceAccountToken": {"type": "boolean"}})),
        "io.k8s.api.core.v1.Container": object(json!({"ports": list("core.v1.ContainerPort"), "livenessProbe": to("core.v1.Probe")})),
        "io.k8s.api.core.v1.ContainerPort": object(json!({})),
        "io.k8s.api.core.v1.Probe": object(json!({"httpGet": to("core.v1.HTTPGetAction")})),
        "io.k8s.api.core.v1.HTTPGetAction": object(json!({})),
        "io.k8s.api.core.v1.Volume": object(json!({"secret": to("core.v1.SecretVolumeSource")})),
        "io.k8s.api.core.v1.SecretVolumeSource": object(json!({})),
        "io.k8s.api.core.v1.Service": object(json!({"spec": to("core.v1.ServiceSpec"), "status": to("core.v1.ServiceStatus")})),
        "io.k8s.api.core.v1.ServiceStatus": object(json!({})),
        "io.k8s.api.core.v1.ServiceSpec": object(json!({"ports": list("core.v1.ServicePort")})),
        "io.k8s.api.core.v1.ServicePort": object(json!({})),
        "io.k8s.api.core.v1.Secret": object(json!({})),
        "io.k8s.api.core.v1.Namespace": object(json!({})),
        "io.k8s.api.core.v1.LimitRangeItem": object(json!({})),
        "io.k8s.api.batch.v1.Job": object(json!({})),
        "io.k8s.api.networking.v1.NetworkPolicy": object(json!({})),
        "io.k8s.api.rbac.v1.RoleBinding": object(json!({"subjects": list("rbac.v1.Subject")})),
        "io.k8s.api.rbac.v1.Subject": object(json!({})),
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler": object(json!({"spec": object(json!({"behavior": to("autoscaling.v2.HorizontalPodAutoscalerBehavior")}))})),
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerBehavior": object(json!({})),
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition": object(json!({})),
    });
    from_definitions(definitions.as_object().unwrap()).unwrap()
}

#[track_caller]
fn check(definition: &str, before: Value, after: Value) {
    let set = definitions();
    let name = set.names().find(|name| name.ends_with(&format!(".{definition}"))).expect("defined").to_owned();
    let schema = set.named(&name).unwrap();
    let mut value = before;
    apply_defaults(&mut value, &schema);
    assert_eq!(value, after);
    apply_defaults(&mut value, &schema);
    assert_eq!(value, after, "defaulted twice");
}

#[test]
fn every_row_is_json() {
    assert!(DEFINITIONS.len() > 60);
}

#[test]
fn definitions_are_known_by_their_last_three_parts() {
    assert_eq!(last_three("io.k8s.api.core.v1.Pod"), "core.v1.Pod");
    assert_eq!(last_three("Pod"), "Pod");
}

#[test]
fn deployments_and_what_they_embed() {
    check(
        "apps.v1.Deployment",
        json!({"spec": {"replicas": 0, "template": {"spec": {
            "containers": [{"name": "a", "image": "nginx", "ports": [{"containerPort": 80}], "livenessProbe": {"httpGet": {"port": 80}}}],
            "volumes": [{"name": "v"}, {"name": "s", "secret": {"secretName": "s"}}]}}}}),
        json!({"status": {}, "spec": {"replicas": 0, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, "selector": null,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {}, "spec": {
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {},
                "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler",
                "containers": [{"name": "a", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1,
                        "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}}],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "s", "defaultMode": 420}}]}}}}),
    );
    let mut recreate = json!({"spec": {"strategy": {"type": "Recreate"}}});
    apply_defaults(&mut recreate, &definitions().named("io.k8s.api.apps.v1.Deployment").unwrap());
    assert_eq!(recreate["spec"]["strategy"], json!({"type": "Recreate"}));
}

#[test]
fn zeros_are_written_as_go_writes_them() {
    let defaulted = |spec: Value| {
        let mut value = json!({"spec": spec});
        apply_defaults(&mut value, &definitions().named("io.k8s.api.core.v1.Pod").unwrap());
        value["spec"].clone()
    };
    assert_eq!(defaulted(json!({}))["containers"], Value::Null);
    assert_eq!(defaulted(json!({"containers": []}))["containers"], json!([]));
    let mut stored = json!({"spec": {"containers": []}});
    as_stored(&mut stored, &definitions().named("io.k8s.api.core.v1.Pod").unwrap());
    assert_eq!(stored["spec"]["containers"], Value::Null);
    let pod = defaulted(json!({"hostNetwork": false, "nodeName": "", "automountServiceAccountToken": false}));
    assert_eq!(pod.get("hostNetwork"), None);
    assert_eq!(pod.get("nodeName"), None);
    assert_eq!(pod["automountServiceAccountToken"], false);
}

#[test]
fn stateful_sets() {
    check(
        "apps.v1.StatefulSet",
        json!({"spec": {"volumeClaimTemplates": [{"spec": {}}]}}),
        json!({"status": {"replicas": 0, "availableReplicas": 0}, "spec": {"replicas": 1, "revisionHistoryLimit": 10,
            "podManagementPolicy": "OrderedReady", "selector": null, "serviceName": "", "template": {},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "volumeClaimTemplates": [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {"phase": "Pending"},
                "spec": {"volumeMode": "Filesystem", "resources": {}}}]}}),
    );
    let mut given = json!({"spec": {"updateStrategy": {"type": "RollingUpdate"}}});
    apply_defaults(&mut given, &definitions().named("io.k8s.api.apps.v1.StatefulSet").unwrap());
    assert_eq!(given["spec"]["updateStrategy"], json!({"type": "RollingUpdate"}));
}

#[test]
fn only_pods_take_requests_from_limits() {
    let set = definitions();
    let mut pod = json!({"spec": {"hostNetwork": true, "serviceAccountName": "x", "containers": [
        {"image": "a:1", "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "1", "memory": "2"}, "requests": {"cpu": "500m"}}}]}});
    apply_defaults(&mut pod, &set.named("io.k8s.api.core.v1.Pod").unwrap());
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["resources"]["requests"], json!({"cpu": "500m", "memory": "2"}));
    assert_eq!(container["ports"][0]["hostPort"], 80);
    assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    assert_eq!(pod["spec"]["serviceAccount"], "x");
    assert_eq!(pod["spec"]["enableServiceLinks"], true);
}

#[test]
fn jobs() {
    let defaulted = |spec: Value| {
        let mut job = json!({"spec": spec});
        apply_defaults(&mut job, &definitions().named("io.k8s.api.batch.v1.Job").unwrap());
        job
    };
    let job = defaulted(json!({"template": {"metadata": {"labels": {"a": "b"}}}}));
    assert_eq!(job["metadata"]["labels"], json!({"a": "b"}));
    let mut spec = job["spec"].clone();
    spec.as_object_mut().unwrap().remove("template");
    assert_eq!(
        spec,
        json!({"completions": 1, "parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": false,
            "podReplacementPolicy": "TerminatingOrFailed", "manualSelector": false}),
    );
    assert_eq!(defaulted(json!({"parallelism": 2}))["spec"].get("completions"), None);
    assert_eq!(defaulted(json!({"completions": 2}))["spec"]["parallelism"], 1);
    assert_eq!(defaulted(json!({"backoffLimitPerIndex": 2}))["spec"]["backoffLimit"], i32::MAX);
    assert_eq!(defaulted(json!({"podFailurePolicy": {}}))["spec"]["podReplacementPolicy"], "Failed");
}

#[test]
fn services() {
    check(
        "core.v1.Service",
        json!({"spec": {"ports": [{"port": 80}, {"port": 81, "targetPort": "http"}]}}),
        json!({"status": {"loadBalancer": {}}, "spec": {"type": "ClusterIP", "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster", "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"},
            {"port": 81, "targetPort": "http", "protocol": "TCP"}]}}),
    );
    check(
        "core.v1.Service",
        json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP"}, "status": {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}]}}}),
        json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP", "internalTrafficPolicy": "Cluster",
            "externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": true,
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}},
            "status": {"loadBalancer": {"ingress": [{"ip": "1.1.1.1", "ipMode": "VIP"}]}}}),
    );
    check(
        "core.v1.Service",
        json!({"spec": {"type": "ExternalName", "externalName": "a.b"}}),
        json!({"status": {"loadBalancer": {}}, "spec": {"type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"}}),
    );
}

#[test]
fn images_without_a_tag_are_the_latest() {
    for (image, policy) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.2", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:0123", "IfNotPresent"),
        ("nginx:latest@sha256:0123", "Always"),
        ("", "IfNotPresent"),
    ] {
        let mut container = json!({"image": image});
        apply_defaults(&mut container, &definitions().named("io.k8s.api.core.v1.Container").unwrap());
        assert_eq!(container["imagePullPolicy"], policy, "{image}");
    }
}

#[test]
fn the_rest() {
    check(
        "core.v1.Secret",
        json!({"data": {"a": "YQ==", "b": "YQ=="}, "stringData": {"b": "bee"}}),
        json!({"type": "Opaque", "data": {"a": "YQ==", "b": "YmVl"}}),
    );
    check(
        "core.v1.Namespace",
        json!({"metadata": {"name": "ns"}}),
        json!({"metadata": {"name": "ns", "labels": {"kubernetes.io/metadata.name": "ns"}}, "spec": {}, "status": {"phase": "Active"}}),
    );
    check(
        "core.v1.LimitRangeItem",
        json!({"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1"}}),
        json!({"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1"}, "default": {"cpu": "2"},
            "defaultRequest": {"cpu": "2", "memory": "1"}}),
    );
    check(
        "networking.v1.NetworkPolicy",
        json!({"spec": {"egress": [{}]}}),
        json!({"spec": {"egress": [{}], "policyTypes": ["Ingress", "Egress"]}}),
    );
    check(
        "rbac.v1.RoleBinding",
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]}),
        json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]}),
    );
    let mut scaler = json!({"spec": {"behavior": {"scaleDown": {"selectPolicy": "Min"}}}});
    let schema = definitions().named("io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler").unwrap();
    apply_defaults(&mut scaler, &schema);
    assert_eq!(scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    assert_eq!(scaler["spec"]["behavior"]["scaleDown"]["selectPolicy"], "Min");
    assert_eq!(scaler["spec"]["behavior"]["scaleUp"]["policies"].as_array().unwrap().len(), 2);
    check(
        "v1.CustomResourceDefinition",
        json!({"spec": {"names": {"kind": "CronTab", "plural": "crontabs"}}}),
        json!({"spec": {"names": {"kind": "CronTab", "plural": "crontabs", "singular": "crontab", "listKind": "CronTabList"},
            "conversion": {"strategy": "None"}}, "status": {}}),
    );
}
