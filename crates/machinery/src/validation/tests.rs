//! Tables for the validation of built-in kinds.

use super::*;
use serde_json::json;

fn object(value: Value) -> Object {
    Object(value.as_object().unwrap().clone())
}

fn lines(causes: &[Cause]) -> Vec<String> {
    causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

#[track_caller]
fn create(group: &str, kind: &str, value: Value, expected: &[&str]) {
    assert_eq!(lines(&validate_create(group, kind, &object(value), None)), expected);
}

#[track_caller]
fn update(group: &str, kind: &str, old: Value, new: Value, expected: &[&str]) {
    assert_eq!(lines(&validate_update(group, kind, &object(new), &object(old), None)), expected);
}

fn deployment(change: impl FnOnce(&mut Value)) -> Value {
    let mut value = json!({"metadata": {"name": "d"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "x"}},
        "progressDeadlineSeconds": 600, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"restartPolicy": "Always",
            "containers": [{"name": "c", "image": "i"}]}}}});
    change(&mut value);
    value
}

fn pod_of(container: Value) -> Value {
    json!({"spec": {"containers": [container], "volumes": [{"name": "v", "emptyDir": {}}]}})
}

#[test]
fn every_kind_is_listed_once() {
    let mut names: Vec<(&str, &str)> = tables().map(|(group, kind, _)| (group, kind)).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn deployments() {
    create("apps", "Deployment", deployment(|_| {}), &[]);
    create(
        "apps",
        "Deployment",
        deployment(|d| d["spec"]["template"]["metadata"]["labels"] = json!({"app": "y"})),
        &["spec.template.metadata.labels: Invalid value: {\"app\":\"y\"}: `selector` does not match template `labels`"],
    );
    create(
        "apps",
        "Deployment",
        deployment(|d| {
            d["spec"]["selector"] = json!({});
            d["spec"]["replicas"] = json!(-1);
            d["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
            d["spec"]["strategy"]["type"] = json!("Recreate");
        }),
        &[
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ],
    );
    create(
        "apps",
        "Deployment",
        json!({"metadata": {"name": "d"}, "spec": {}}),
        &[
            "spec.selector: Required value",
            "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
            "spec.template: Required value",
        ],
    );
    update(
        "apps",
        "Deployment",
        deployment(|_| {}),
        deployment(|d| {
            d["spec"]["selector"] = json!({"matchLabels": {"app": "y"}});
            d["spec"]["template"]["metadata"]["labels"] = json!({"app": "y"});
        }),
        &["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"y\"}}: field is immutable"],
    );
    update("apps", "Deployment", deployment(|_| {}), deployment(|d| d["spec"]["replicas"] = json!(5)), &[]);
}

#[test]
fn containers() {
    create(
        "",
        "Pod",
        pod_of(json!({"name": "C", "ports": [{"containerPort": 70000, "name": "80"}, {"containerPort": 0}],
            "env": [{"name": ""}, {"name": "a", "valueFrom": {}}],
            "volumeMounts": [{"name": "w", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}],
            "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}, "livenessProbe": {"timeoutSeconds": -1}})),
        &[
            "spec.containers[0].name: Invalid value: \"C\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            "spec.containers[0].image: Required value",
            "spec.containers[0].ports[0].name: Invalid value: \"80\": must contain at least one letter (a-z)",
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "spec.containers[0].ports[1].containerPort: Required value",
            "spec.containers[0].env[0].name: Required value",
            "spec.containers[0].env[1].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            "spec.containers[0].volumeMounts[0].name: Not found: \"w\"",
            "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
            "spec.containers[0].livenessProbe.timeoutSeconds: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
    create("", "Pod", json!({"spec": {}}), &["spec.containers: Required value"]);
    create(
        "",
        "Pod",
        json!({"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "a", "image": "i"}],
            "volumes": [{"name": "v"}, {"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}]}}),
        &[
            "spec.volumes[0]: Required value: must specify a volume type",
            "spec.volumes[1].name: Duplicate value: \"v\"",
            "spec.volumes[1].secret: Forbidden: may not specify more than 1 volume type",
            "spec.containers[1].name: Duplicate value: \"a\"",
        ],
    );
}

#[test]
fn amounts_of_a_pod_change_by_resize_only() {
    let pod = |amount: &str| pod_of(json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": amount}}}));
    let causes = validate_update("", "Pod", &object(pod("2")), &object(pod("1")), None);
    assert_eq!(causes.iter().map(|cause| cause.field.as_str()).collect::<Vec<_>>(), ["spec"]);
    let resized = resized(&object(pod("1")), &object(pod("2")));
    assert_eq!(resized, object(pod("2")));
    assert_eq!(validate_update("", "Pod", &object(pod("2")), &resized, None), []);
}

#[test]
fn jobs() {
    let job = |policy: &str, image: &str| {
        json!({"metadata": {"name": "j"}, "spec": {"completions": 1, "template": {"spec": {"restartPolicy": policy,
            "containers": [{"name": "c", "image": image}]}}}})
    };
    create("batch", "Job", job("Never", "i"), &[]);
    create(
        "batch",
        "Job",
        job("Always", "i"),
        &["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
    );
    let causes = validate_update("batch", "Job", &object(job("Never", "other")), &object(job("Never", "i")), None);
    assert_eq!(causes.len(), 1);
    assert!(causes[0].message.ends_with("field is immutable") && causes[0].field == "spec.template");
    let template = json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    create(
        "batch",
        "CronJob",
        json!({"metadata": {"name": "c"}, "spec": {"schedule": "* *", "jobTemplate": template}}),
        &["spec.schedule: Invalid value: \"* *\": expected exactly 5 fields, found 2: [* *]"],
    );
}

#[test]
fn services() {
    create(
        "",
        "Service",
        json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}]}}),
        &[],
    );
    create(
        "",
        "Service",
        json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80, "targetPort": 0, "protocol": "TCP", "name": "a"},
            {"port": 80, "targetPort": "http", "protocol": "TCP", "nodePort": 30000}]}}),
        &[
            "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[1].name: Required value",
            "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}",
            "spec.ports[1].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ],
    );
    create("", "Service", json!({"spec": {"type": "ClusterIP"}}), &["spec.ports: Required value"]);
    create("", "Service", json!({"spec": {"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]}}), &[]);
    create("", "Service", json!({"spec": {"type": "ExternalName"}}), &["spec.externalName: Required value"]);
    let with = |ip: &str| json!({"spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 1, "targetPort": 1}]}});
    update(
        "",
        "Service",
        with("10.0.0.1"),
        with("10.0.0.2"),
        &["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"],
    );
}

#[test]
fn data() {
    create(
        "",
        "ConfigMap",
        json!({"data": {"": "x", "a": "x"}, "binaryData": {"a": "eA=="}}),
        &[
            "data[]: Invalid value: \"\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
        ],
    );
    let big = "x".repeat(1024 * 1024 + 1);
    create("", "ConfigMap", json!({"data": {"a": big}}), &["[]: Too long: may not be more than 1048576 bytes"]);
    update(
        "",
        "ConfigMap",
        json!({"immutable": true, "data": {"a": "1"}}),
        json!({"immutable": true, "data": {"a": "2"}}),
        &["data: Forbidden: field is immutable when `immutable` is set"],
    );
    create(
        "",
        "Secret",
        json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "eA=="}}),
        &["data[tls.key]: Required value"],
    );
    create(
        "",
        "Secret",
        json!({"type": "kubernetes.io/dockerconfigjson", "data": {}}),
        &["data[.dockerconfigjson]: Required value"],
    );
    update(
        "",
        "Secret",
        json!({"type": "Opaque"}),
        json!({"type": "other"}),
        &["type: Invalid value: \"other\": field is immutable"],
    );
}

#[test]
fn access() {
    create(
        "rbac.authorization.k8s.io",
        "Role",
        json!({"rules": [{"verbs": []}, {"verbs": ["get"], "nonResourceURLs": ["/x"]}]}),
        &[
            "rules[0].verbs: Required value: verbs must contain at least one value",
            "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
            "rules[0].resources: Required value: resource rules must supply at least one resource",
            "rules[1].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
        ],
    );
    let binding = |role: &str| {
        json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "u"}]})
    };
    create("rbac.authorization.k8s.io", "RoleBinding", binding("r"), &[]);
    update(
        "rbac.authorization.k8s.io",
        "RoleBinding",
        binding("r"),
        binding("s"),
        &[
            "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\"Name\":\"s\"}: cannot change roleRef",
        ],
    );
    create(
        "certificates.k8s.io",
        "CertificateSigningRequest",
        json!({"spec": {"request": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K", "signerName": "nope", "expirationSeconds": 5}}),
        &[
            "spec.usages: Required value",
            "spec.signerName: Invalid value: \"nope\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
            "spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 600 seconds (10 minutes)",
        ],
    );
    create(
        "coordination.k8s.io",
        "Lease",
        json!({"spec": {"leaseDurationSeconds": 0}}),
        &["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
    );
}

#[test]
fn networks() {
    create(
        "networking.k8s.io",
        "Ingress",
        json!({"spec": {}}),
        &["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
    );
    create(
        "networking.k8s.io",
        "Ingress",
        json!({"spec": {"rules": [{"host": "1.2.3.4", "http": {"paths": [{"path": "x", "pathType": "Prefix",
            "backend": {"service": {"name": "s", "port": {"name": "a", "number": 1}}}}, {"backend": {}}]}}]}}),
        &[
            "spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address",
            "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path",
            "spec.rules[0].http.paths[0].backend: Invalid value: \"\": cannot set both port name & port number",
            "spec.rules[0].http.paths[1].pathType: Required value: pathType must be specified",
            "spec.rules[0].http.paths[1].backend: Invalid value: \"\": resource or service backend is required",
        ],
    );
    create(
        "networking.k8s.io",
        "NetworkPolicy",
        json!({"spec": {"podSelector": {}, "ingress": [{"from": [{}, {"ipBlock": {"cidr": "x"}}], "ports": [{"port": 0}]}]}}),
        &[
            "spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ingress[0].from[0]: Required value: must specify a peer",
            "spec.ingress[0].from[1].ipBlock.cidr: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        ],
    );
    create(
        "policy",
        "PodDisruptionBudget",
        json!({"spec": {"minAvailable": 1, "maxUnavailable": "x"}}),
        &[
            "spec: Invalid value: {\"maxUnavailable\":\"x\",\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set",
            "spec.maxUnavailable: Invalid value: \"x\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
        ],
    );
}

#[test]
fn storage_and_quotas() {
    let claim =
        |size: &str| json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}});
    create("", "PersistentVolumeClaim", claim("1Gi"), &[]);
    create(
        "",
        "PersistentVolumeClaim",
        json!({"spec": {}}),
        &[
            "spec.accessModes: Required value: at least 1 access mode is required",
            "spec.resources[storage]: Required value",
        ],
    );
    update("", "PersistentVolumeClaim", claim("1Gi"), claim("2Gi"), &[]);
    update(
        "",
        "PersistentVolumeClaim",
        claim("2Gi"),
        claim("1Gi"),
        &["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"],
    );
    create(
        "",
        "LimitRange",
        json!({"spec": {"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}}),
        &["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"],
    );
}

#[test]
fn schemas_say_what_is_required_and_what_is_enumerated() {
    let definitions = json!({
        "a.b.v1.Thing": {"type": "object", "required": ["spec"], "properties": {
            "spec": {"$ref": "#/definitions/a.b.v1.ThingSpec"}, "status": {"$ref": "#/definitions/a.b.v1.ThingSpec"}}},
        "a.b.v1.ThingSpec": {"type": "object", "required": ["name", "count"], "properties": {
            "name": {"type": "string"}, "count": {"type": "integer"}, "mode": {"type": "string", "enum": ["", "A", "B"]},
            "modes": {"type": "array", "items": {"type": "string", "enum": ["A"]}}}},
    });
    let set = crate::schema::from_definitions(definitions.as_object().unwrap()).unwrap();
    let schema = set.named("a.b.v1.Thing").unwrap();
    let check = |value: Value| lines(&validate_create("a", "Thing", &object(value), Some(&schema)));
    assert_eq!(check(json!({"spec": {"name": "n", "mode": ""}, "status": {}})), Vec::<String>::new());
    assert_eq!(check(json!({})), ["spec: Required value"]);
    assert_eq!(
        check(json!({"spec": {"mode": "C", "modes": ["A", "B"]}})),
        [
            "spec.name: Required value",
            "spec.mode: Unsupported value: \"C\": supported values: \"A\", \"B\"",
            "spec.modes[1]: Unsupported value: \"B\": supported values: \"A\"",
        ]
    );
}

#[test]
fn what_was_wrong_before_is_let_pass() {
    let wrong = |replicas: i64| {
        deployment(|d| {
            d["spec"]["replicas"] = json!(replicas);
            d["spec"]["template"]["spec"]["containers"][0]["name"] = json!("C");
        })
    };
    update("apps", "Deployment", wrong(1), wrong(2), &[]);
}

#[test]
fn stateful_sets_change_in_few_places() {
    let set = |service: &str, replicas: i64| {
        json!({"spec": {"serviceName": service, "replicas": replicas, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
    };
    update("apps", "StatefulSet", set("s", 1), set("s", 2), &[]);
    let causes = validate_update("apps", "StatefulSet", &object(set("t", 1)), &object(set("s", 1)), None);
    assert!(causes[0].message.starts_with("Forbidden: updates to statefulset spec for fields other than 'replicas'"));
}
