//! Tables of the plugins: what goes in, what each makes of it, what is refused.

use super::quota::{Account, Rule, judge};
use super::resources::Amounts;
use super::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A space that holds these objects, by collection.
#[derive(Default)]
struct Held(BTreeMap<&'static str, Vec<Object>>);

impl Held {
    fn with(mut self, collection: &'static str, object: Value) -> Self {
        self.0.entry(collection).or_default().push(tree(object));
        self
    }
}

impl Lookup for Held {
    fn get(&self, collection: &str, namespace: &str, name: &str) -> Option<Object> {
        self.list(collection, namespace).into_iter().find(|object| object.name() == name)
    }

    fn list(&self, collection: &str, _: &str) -> Vec<Object> {
        self.0.get(collection).cloned().unwrap_or_default()
    }
}

fn tree(value: Value) -> Object {
    serde_json::from_value(value).unwrap()
}

fn named(name: &str, mut rest: Value) -> Value {
    rest["metadata"] = json!({"name": name});
    rest
}

fn held() -> Held {
    Held::default().with("serviceaccounts", named("default", json!({})))
}

fn run(table: &[Row], held: &Held, collection: &str, old: Option<Value>, object: Value) -> Result<Value, Refusal> {
    let old = old.map(tree);
    let mut object = tree(object);
    let operation = if old.is_some() { Operation::Update } else { Operation::Create };
    for row in steps(table, collection, "", operation) {
        let mut subject = Subject {
            object: &mut object,
            old: old.as_ref(),
            operation,
            namespace: "ns",
            warnings: Vec::new(),
            token_volume: "kube-api-access-x",
        };
        (row.step)(&mut subject, held)?;
    }
    Ok(Value::Object(object.0))
}

fn pod(spec: Value) -> Value {
    named("p", json!({"spec": spec}))
}

fn container(name: &str, requests: Value, limits: Value) -> Value {
    json!({"name": name, "resources": {"requests": requests, "limits": limits}})
}

#[test]
fn a_pod_gets_what_it_does_not_say() {
    let made = run(MUTATING, &held(), "pods", None, pod(json!({"containers": [{"name": "a"}]}))).unwrap();
    let spec = &made["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(spec["priority"], 0);
    assert_eq!(spec["preemptionPolicy"], "PreemptLowerPriority");
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!(spec["volumes"][0]["name"], "kube-api-access-x");
    assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], "kube-api-access-x");
}

#[test]
fn a_pod_keeps_what_it_says() {
    let account = named("mine", json!({"automountServiceAccountToken": false, "imagePullSecrets": [{"name": "s"}]}));
    let held = held().with("serviceaccounts", account);
    let given =
        json!({"serviceAccountName": "mine", "tolerations": [{"operator": "Exists"}], "containers": [{"name": "a"}]});
    let made = run(MUTATING, &held, "pods", None, pod(given)).unwrap();
    let spec = &made["spec"];
    assert_eq!(spec["tolerations"], json!([{"operator": "Exists"}]));
    assert_eq!(spec.get("volumes"), None);
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "s"}]));
}

#[track_caller]
fn refused(table: &[Row], held: &Held, collection: &str, object: Value, why: &str) {
    assert_eq!(run(table, held, collection, None, object), Err(why.to_owned()));
}

#[test]
fn a_pod_is_refused_in_the_words_of_the_stock_server() {
    let held = held()
        .with("priorityclasses.scheduling.k8s.io", named("high", json!({"value": 7, "preemptionPolicy": "Never"})))
        .with("runtimeclasses.node.k8s.io", named("vm", json!({"scheduling": {"nodeSelector": {"a": "b"}}})));
    let check = |spec: Value, why: &str| refused(MUTATING, &held, "pods", pod(spec), why);
    check(
        json!({"serviceAccountName": "none"}),
        "error looking up service account ns/none: serviceaccount \"none\" not found",
    );
    check(json!({"priorityClassName": "none"}), "no PriorityClass with name none was found");
    check(json!({"runtimeClassName": "none"}), "pod rejected: RuntimeClass \"none\" not found");
    check(
        json!({"priorityClassName": "high", "priority": 8}),
        "the integer value of priority (8) must not be provided in pod spec; priority admission controller computed 7 \
         from the given PriorityClass name",
    );
    check(
        json!({"runtimeClassName": "vm", "nodeSelector": {"a": "c"}}),
        "conflict: runtimeClass.scheduling.nodeSelector[a] = b; pod.spec.nodeSelector[a] = c",
    );
}

#[test]
fn the_default_priority_is_the_least_of_those_that_say_so() {
    let class = |name: &str, value: i64| named(name, json!({"value": value, "globalDefault": true}));
    let held = held()
        .with("priorityclasses.scheduling.k8s.io", class("a", 5))
        .with("priorityclasses.scheduling.k8s.io", class("b", 3));
    let made = run(MUTATING, &held, "pods", None, pod(json!({}))).unwrap();
    assert_eq!((&made["spec"]["priority"], &made["spec"]["priorityClassName"]), (&json!(3), &json!("b")));
    let second = named("c", json!({"globalDefault": true}));
    let why = "PriorityClass b is already marked as default. Only one default can exist";
    refused(VALIDATING, &held, "priorityclasses.scheduling.k8s.io", second, why);
}

fn ranges(limit: Value) -> Held {
    held().with("limitranges", named("l", json!({"spec": {"limits": [limit]}})))
}

#[test]
fn containers_get_the_limits_of_their_namespace() {
    let limit =
        json!({"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "500m", "memory": "1Mi"}});
    let given =
        json!({"containers": [container("a", json!({"cpu": "1m"}), json!({}))], "initContainers": [{"name": "i"}]});
    let made = run(MUTATING, &ranges(limit), "pods", None, pod(given)).unwrap();
    let resources = &made["spec"]["containers"][0]["resources"];
    assert_eq!(resources, &json!({"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1"}}));
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: memory request for container a; cpu limit for container a; cpu, memory request for \
         init container i; cpu limit for init container i"
    );
}

#[test]
fn limits_are_bounds() {
    let check = |limit: Value, requests: Value, limits: Value, why: &str| {
        let pod = pod(json!({"containers": [container("a", requests, limits)]}));
        refused(VALIDATING, &ranges(limit), "pods", pod, why);
    };
    let container = |bounds: &str, amount: &str| json!({"type": "Container", bounds: {"cpu": amount}});
    check(
        container("max", "2"),
        json!({}),
        json!({"cpu": "3"}),
        "maximum cpu usage per Container is 2, but limit is 3",
    );
    check(container("max", "2"), json!({}), json!({}), "maximum cpu usage per Container is 2.  No limit is specified");
    check(
        container("min", "100m"),
        json!({"cpu": "50m"}),
        json!({"cpu": "50m"}),
        "minimum cpu usage per Container is 100m, but request is 50m",
    );
    check(
        container("maxLimitRequestRatio", "2"),
        json!({"cpu": "1"}),
        json!({"cpu": "3"}),
        "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
    );
    let pods = json!({"type": "Pod", "max": {"memory": "1Mi"}});
    check(pods, json!({}), json!({"memory": "2Mi"}), "maximum memory usage per Pod is 1Mi, but limit is 2Mi");
    let claims = json!({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}});
    let claim = named("c", json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}));
    let why = "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi";
    refused(VALIDATING, &ranges(claims), "persistentvolumeclaims", claim, why);
}

#[test]
fn init_containers_count_as_far_as_they_run_at_a_time() {
    let cpu = |name: &str, amount: &str| container(name, json!({"cpu": amount}), json!({}));
    let mut sidecar = cpu("s", "200m");
    sidecar["restartPolicy"] = json!("Always");
    let pod = pod(json!({"containers": [cpu("a", "300m")], "overhead": {"cpu": "1m"},
        "initContainers": [cpu("i", "400m"), sidecar, cpu("j", "900m")]}));
    let total = resources::of_pod(pod.as_object().unwrap(), "requests");
    assert_eq!(total["cpu"].to_string(), "1101m");
}

#[test]
fn claims_and_ingresses_get_the_default_class() {
    let class = |name: &str, mark: &str, created: &str| json!({"metadata": {"name": name, "creationTimestamp": created, "annotations": {mark: "true"}}});
    let storage = "storageclass.kubernetes.io/is-default-class";
    let held = Held::default()
        .with("storageclasses.storage.k8s.io", class("old", storage, "2020-01-01T00:00:00Z"))
        .with("storageclasses.storage.k8s.io", class("new", storage, "2021-01-01T00:00:00Z"))
        .with("ingressclasses.networking.k8s.io", class("i", "ingressclass.kubernetes.io/is-default-class", "x"));
    let claim = run(MUTATING, &held, "persistentvolumeclaims", None, named("c", json!({"spec": {}}))).unwrap();
    assert_eq!(claim["spec"]["storageClassName"], "new");
    assert_eq!(claim["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let none = named("c", json!({"spec": {"storageClassName": ""}}));
    let claim = run(MUTATING, &held, "persistentvolumeclaims", None, none).unwrap();
    assert_eq!(claim["spec"]["storageClassName"], "");
    let ingress = run(MUTATING, &held, "ingresses.networking.k8s.io", None, named("i", json!({}))).unwrap();
    assert_eq!(ingress["spec"]["ingressClassName"], "i");
}

#[test]
fn claims_grow_if_their_class_lets_them() {
    let class = |name: &str, expands: bool| named(name, json!({"allowVolumeExpansion": expands}));
    let held = Held::default()
        .with("storageclasses.storage.k8s.io", class("yes", true))
        .with("storageclasses.storage.k8s.io", class("no", false));
    let claim = |class: &str, size: &str, phase: &str| {
        named(
            "c",
            json!({"spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}},
            "status": {"phase": phase}}),
        )
    };
    let check = |class: &str, phase: &str, size: &str| {
        let old = Some(claim(class, "1Gi", phase));
        run(VALIDATING, &held, "persistentvolumeclaims", old, claim(class, size, phase)).map(drop)
    };
    assert_eq!(check("yes", "Bound", "2Gi"), Ok(()));
    assert_eq!(check("no", "Pending", "1Gi"), Ok(()));
    assert!(check("no", "Bound", "2Gi").unwrap_err().starts_with("only dynamically provisioned"));
    assert_eq!(check("yes", "Pending", "2Gi").unwrap_err(), "only bound persistent volume claims can be expanded");
}

fn rule(spec: Value) -> Rule {
    Rule::of(&tree(named("q", json!({"spec": spec}))))
}

fn verdict(
    spec: Value,
    used: &[(&str, &str)],
    collection: &str,
    old: Option<Value>,
    object: Value,
) -> Result<(), String> {
    let rule = rule(spec);
    let used: Amounts = used.iter().map(|(name, amount)| ((*name).to_owned(), amount.parse().unwrap())).collect();
    let account = Account { rule: &rule, used: &used };
    judge(&[account], collection, object.as_object().unwrap(), old.as_ref().and_then(Value::as_object))
}

#[test]
fn a_quota_that_is_used_up_refuses() {
    #[track_caller]
    fn check(hard: Value, used: &[(&str, &str)], collection: &str, object: Value, why: &str) {
        let said = verdict(json!({"hard": hard}), used, collection, None, object);
        assert_eq!(said.err().unwrap_or_default(), why);
    }
    let one = named("x", json!({}));
    check(
        json!({"count/secrets": "1"}),
        &[("count/secrets", "1")],
        "secrets",
        one.clone(),
        "exceeded quota: q, requested: count/secrets=1, used: count/secrets=1, limited: count/secrets=1",
    );
    check(
        json!({"count/deployments.apps": "0"}),
        &[],
        "deployments.apps",
        one.clone(),
        "exceeded quota: q, requested: count/deployments.apps=1, used: count/deployments.apps=0, limited: \
         count/deployments.apps=0",
    );
    check(json!({"count/secrets": "2", "configmaps": "0"}), &[("count/secrets", "1")], "secrets", one.clone(), "");
    check(json!({"count/events": "0"}), &[], "configmaps", one, "");
    let asks = pod(json!({"containers": [container("a", json!({"cpu": "1500m"}), json!({}))]}));
    check(
        json!({"requests.cpu": "2", "pods": "9"}),
        &[("requests.cpu", "1"), ("pods", "1")],
        "pods",
        asks,
        "exceeded quota: q, requested: requests.cpu=1500m, used: requests.cpu=1, limited: requests.cpu=2",
    );
    let silent = pod(json!({"containers": [{"name": "b"}, {"name": "a"}]}));
    check(
        json!({"limits.cpu": "2", "memory": "1Gi"}),
        &[],
        "pods",
        silent,
        "failed quota: q: must specify limits.cpu for: a,b; memory for: a,b",
    );
    let balancer = named("s", json!({"spec": {"type": "LoadBalancer", "ports": [{}, {}]}}));
    check(
        json!({"services.nodeports": "1", "services.loadbalancers": "1"}),
        &[],
        "services",
        balancer,
        "exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1",
    );
    let claim =
        named("c", json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "5Gi"}}}}));
    check(
        json!({"gold.storageclass.storage.k8s.io/requests.storage": "4Gi", "requests.storage": "9Gi"}),
        &[],
        "persistentvolumeclaims",
        claim,
        "exceeded quota: q, requested: gold.storageclass.storage.k8s.io/requests.storage=5Gi, used: \
         gold.storageclass.storage.k8s.io/requests.storage=0, limited: \
         gold.storageclass.storage.k8s.io/requests.storage=4Gi",
    );
}

#[test]
fn an_update_is_charged_what_it_adds() {
    let claim = |size: &str| named("c", json!({"spec": {"resources": {"requests": {"storage": size}}}}));
    let hard = json!({"hard": {"requests.storage": "3Gi", "persistentvolumeclaims": "1"}});
    let used = [("requests.storage", "2Gi"), ("persistentvolumeclaims", "1")];
    let grown = |size| verdict(hard.clone(), &used, "persistentvolumeclaims", Some(claim("2Gi")), claim(size));
    assert_eq!(grown("3Gi"), Ok(()));
    assert!(grown("4Gi").is_err());
}

#[test]
fn scopes_choose_pods() {
    #[track_caller]
    fn check(scopes: Value, spec: Value, counted: bool) {
        let mut quota = scopes;
        quota["hard"] = json!({"pods": "1"});
        let used = rule(quota).usage("pods", pod(spec).as_object().unwrap());
        assert_eq!(!used.is_empty(), counted);
    }
    let scope = |name: &str| json!({"scopes": [name]});
    check(scope("Terminating"), json!({"activeDeadlineSeconds": 5}), true);
    check(scope("NotTerminating"), json!({"activeDeadlineSeconds": 5}), false);
    check(scope("BestEffort"), json!({"containers": [{"name": "a"}]}), true);
    check(scope("NotBestEffort"), json!({"containers": [container("a", json!({"cpu": "1"}), json!({}))]}), true);
    let of_class = |operator: &str| {
        json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": ["high"]}]}})
    };
    check(of_class("In"), json!({"priorityClassName": "high"}), true);
    check(of_class("In"), json!({"priorityClassName": "low"}), false);
    check(of_class("NotIn"), json!({}), true);
    let near = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"namespaces": ["other"]}]}}});
    check(scope("CrossNamespacePodAffinity"), near, true);
    check(scope("CrossNamespacePodAffinity"), json!({}), false);
}

#[test]
fn what_has_ended_is_only_counted() {
    let quota = rule(json!({"hard": {"pods": "1", "count/pods": "2"}}));
    let ended = json!({"status": {"phase": "Succeeded"}});
    let used = quota.usage("pods", ended.as_object().unwrap());
    assert_eq!(used.keys().collect::<Vec<_>>(), ["count/pods"]);
}

#[test]
fn a_namespace_lets_in_what_its_level_allows() {
    #[track_caller]
    fn check(level: &str, spec: Value, why: &str) {
        let labels = json!({"pod-security.kubernetes.io/enforce": level});
        let held = Held::default().with("namespaces", json!({"metadata": {"name": "ns", "labels": labels}}));
        let said = run(VALIDATING, &held, "pods", None, pod(spec)).err().unwrap_or_default();
        assert_eq!(said, why);
    }
    let plain = json!({"containers": [{"name": "a"}]});
    check("privileged", json!({"hostNetwork": true}), "");
    check("baseline", plain.clone(), "");
    check(
        "restricted",
        plain,
        "violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"a\" must set \
         securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"a\" must set \
         securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"a\" must set \
         securityContext.runAsNonRoot=true), seccompProfile (pod or container \"a\" must set \
         securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
    );
    let careful = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true,
        "seccompProfile": {"type": "RuntimeDefault"}});
    check("restricted", json!({"containers": [{"name": "a", "securityContext": careful}]}), "");
    let free = json!({"hostNetwork": true, "hostPID": true, "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
        "containers": [{"name": "a", "ports": [{"hostPort": 80}], "securityContext": {"privileged": true}},
            {"name": "b", "securityContext": {"capabilities": {"add": ["NET_ADMIN", "CHOWN"]}}}]});
    check(
        "baseline",
        free,
        "violates PodSecurity \"baseline:latest\": non-default capabilities (container \"b\" must not include \
         \"NET_ADMIN\" in securityContext.capabilities.add), host namespaces (hostNetwork=true, hostPID=true), hostPath \
         volumes (volume \"v\"), hostPort (container \"a\" uses hostPort 80), privileged (container \"a\" must not set \
         securityContext.privileged=true)",
    );
}
