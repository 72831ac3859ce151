//! Plans carried out on a cluster in memory until nothing is left to do: tables of what a user then sees.

use crate::*;
use api::{Object, ObjectName, Op, Timestamp, Write};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Rounds after which a cluster that has not come to rest never will.
const ROUNDS: usize = 100;

/// A space in memory: it carries out ops as an API server does, and collects garbage.
struct Cluster {
    objects: BTreeMap<Key, Arc<Object>>,
    dial: Dial,
    now: Timestamp,
    uids: u64,
    writes: Vec<String>,
}

impl View for Cluster {
    fn get(&self, kind: Kind, name: &ObjectName) -> Option<Arc<Object>> {
        self.objects.get(&Key::new(kind, name.clone())).cloned()
    }

    fn owned(&self, kind: Kind, uid: &str) -> Vec<Arc<Object>> {
        let of_kind = self.objects.iter().filter(|(key, _)| key.kind == kind).map(|(_, object)| object);
        let owned = of_kind.filter(|object| object.owner_references().iter().any(|owner| owner.uid == uid));
        owned.cloned().collect()
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let map = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

impl Cluster {
    fn new() -> Self {
        let now = Timestamp::from_seconds(1_700_000_000);
        Self { objects: BTreeMap::new(), dial: Dial::default(), now, uids: 0, writes: Vec::new() }
    }

    fn put(&mut self, object: Value) -> Key {
        let mut object: Object = serde_json::from_value(object).unwrap();
        let kind = Kind::all().find(|kind| kind.resource().kind == object.kind()).unwrap();
        self.uids += 1;
        object.set_meta("uid", format!("uid-{}", self.uids));
        object.set_meta("creationTimestamp", self.now.to_string());
        if kind != Kind::Volume {
            object.set_meta("generation", 1);
        }
        let key = Key::new(kind, object.object_name());
        assert!(self.objects.insert(key.clone(), Arc::new(object)).is_none(), "{key} exists");
        key
    }

    fn patch(&mut self, key: &Key, patch: Value) {
        let held = &self.objects[key];
        let mut value = Value::Object(held.0.clone());
        merge(&mut value, &patch);
        let mut object: Object = serde_json::from_value(value).unwrap();
        if object.0.get("spec") != held.0.get("spec") {
            object.set_meta("generation", held.generation() + 1);
        }
        self.objects.insert(key.clone(), Arc::new(object));
    }

    fn delete(&mut self, key: &Key) {
        let Some(gone) = self.objects.remove(key) else { return };
        let of_it = |object: &Object| object.owner_references().iter().any(|owner| owner.uid == gone.uid());
        let dependents = self.objects.iter().filter(|(_, object)| of_it(object)).map(|(key, _)| key.clone());
        for key in dependents.collect::<Vec<_>>() {
            self.delete(&key);
        }
    }

    fn execute(&mut self, op: &Op) {
        self.writes.push(op.to_string());
        let kind = Kind::all().find(|kind| kind.resource() == op.resource).unwrap();
        let key = Key::new(kind, op.name.clone());
        match &op.write {
            Write::Create(object) => {
                self.put(Value::Object(object.0.clone()));
            }
            Write::MergePatch(patch) => {
                let on_status = op.subresource == "status";
                assert!(if on_status { patch.get("spec").is_none() } else { patch.get("status").is_none() }, "{op}");
                assert!(
                    on_status || kind != Kind::Deployment || patch.get("spec").is_some(),
                    "{op}: its generation counts"
                );
                self.patch(&key, patch.clone());
            }
            Write::Delete { .. } => self.delete(&key),
            other => panic!("{other:?}"),
        }
    }

    fn plan(&self, key: &Key) -> Plan {
        plan(self, &self.dial, self.now, key)
    }

    /// One round over all objects; hands out how soon to come again.
    fn round(&mut self) -> Option<Duration> {
        let mut after = None;
        for key in self.objects.keys().cloned().collect::<Vec<_>>() {
            let plan = self.plan(&key);
            plan.ops.iter().for_each(|op| self.execute(op));
            after = [after, plan.after].into_iter().flatten().min();
        }
        after
    }

    /// Carries out plans until nothing is left to do now; hands out when something will be.
    #[track_caller]
    fn rest(&mut self) -> Option<Duration> {
        for _ in 0..ROUNDS {
            let before = self.writes.len();
            let after = self.round();
            if self.writes.len() == before {
                return after;
            }
        }
        panic!("never at rest: {:?}", &self.writes[self.writes.len() - 20..]);
    }

    fn advance(&mut self, by: Duration) {
        self.now = Timestamp::from_micros(self.now.micros() + i64::try_from(by.as_micros()).unwrap());
    }

    fn at(&self, key: &Key, pointer: &str) -> Value {
        self.objects[key].pointer(pointer).cloned().unwrap_or_default()
    }

    /// `type=status reason` of each condition.
    fn conditions(&self, key: &Key) -> Vec<String> {
        let conditions = self.at(key, "/status/conditions");
        let show = |c: &Value| {
            let text = |field: &str| c[field].as_str().unwrap_or("").to_owned();
            format!("{}={} {}", text("type"), text("status"), text("reason")).trim_end().to_owned()
        };
        conditions.as_array().into_iter().flatten().map(show).collect()
    }

    fn of(&self, kind: Kind) -> Vec<&Arc<Object>> {
        self.objects.iter().filter(|(key, _)| key.kind == kind).map(|(_, object)| object).collect()
    }

    fn names(&self, kind: Kind) -> Vec<&str> {
        self.of(kind).iter().map(|object| object.name()).collect()
    }

    #[track_caller]
    fn check_status(&self, key: &Key, expected: Value) {
        let mut status = self.at(key, "/status");
        if let Some(status) = status.as_object_mut() {
            status.remove("conditions");
        }
        assert_eq!(status, expected, "{key}");
    }
}

fn template() -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "nginx:1.27"}], "restartPolicy": "Always"},
    })
}

fn workload(kind: &str, spec: Value) -> Value {
    let api_version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    let mut spec = spec;
    if spec.get("template").is_none() {
        spec["template"] = template();
    }
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "web", "namespace": "ns"}, "spec": spec})
}

fn annotated(mut object: Value, key: &str, value: &str) -> Value {
    object["metadata"]["annotations"] = json!({key: value});
    object
}

#[test]
fn a_deployment_becomes_available() {
    let mut cluster = Cluster::new();
    let web = cluster.put(workload("Deployment", json!({"replicas": 3})));
    assert_eq!(cluster.rest(), None);
    cluster.check_status(
        &web,
        json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3}),
    );
    assert_eq!(
        cluster.conditions(&web),
        ["Available=True MinimumReplicasAvailable", "Progressing=True NewReplicaSetAvailable"]
    );
    let sets = cluster.of(Kind::ReplicaSet);
    let (set, hash) = (sets[0], sets[0].label("pod-template-hash").unwrap());
    assert_eq!(set.name(), format!("web-{hash}"));
    assert_eq!(set.pointer("/spec/selector/matchLabels/pod-template-hash").unwrap(), hash);
    assert_eq!(set.pointer("/status").unwrap()["readyReplicas"], 3);
    let message = cluster.at(&web, "/status/conditions/1/message");
    assert_eq!(message, format!("ReplicaSet \"web-{hash}\" has successfully progressed."));
    assert_eq!(cluster.at(&web, "/metadata/annotations")["deployment.kubernetes.io/revision"], "1");
    for pod in cluster.of(Kind::Pod) {
        assert!(pod.name().starts_with(&format!("web-{hash}-")) && pod.name().len() == set.name().len() + 6);
        assert_eq!(pod.label("app"), Some("web"));
        assert_eq!(pod.label("pod-template-hash"), Some(hash));
        assert_eq!(pod.pointer("/spec/nodeName").unwrap(), NODE);
        assert_eq!(pod.pointer("/status/phase").unwrap(), "Running");
        assert!(pod.pointer("/status/podIP").unwrap().as_str().unwrap().starts_with("10.244."));
        assert_eq!(pod.pointer("/status/containerStatuses/0/ready").unwrap(), true);
    }
}

#[test]
fn nothing_is_written_twice() {
    let mut cluster = Cluster::new();
    cluster.put(workload("Deployment", json!({"replicas": 3})));
    cluster.rest();
    let writes = cluster.writes.len();
    cluster.advance(Duration::from_secs(3600));
    cluster.rest();
    assert_eq!(cluster.writes.len(), writes, "time alone changes nothing");
    // One set and its statuses, three pods and theirs, the deployment's annotation and statuses.
    assert!(writes <= 13, "{:#?}", cluster.writes);
}

#[test]
fn a_new_image_rolls_out_and_the_old_set_stays_at_zero() {
    let mut cluster = Cluster::new();
    let web = cluster.put(workload("Deployment", json!({"replicas": 2})));
    cluster.rest();
    let old = cluster.names(Kind::ReplicaSet)[0].to_owned();
    let containers = json!([{"name": "c", "image": "nginx:1.28"}]);
    cluster.patch(&web, json!({"spec": {"template": {"spec": {"containers": containers}}}}));
    cluster.rest();
    let sets = cluster.of(Kind::ReplicaSet);
    assert_eq!(sets.len(), 2);
    for set in &sets {
        let (replicas, revision) = if set.name() == old { (0, "1") } else { (2, "2") };
        assert_eq!(set.pointer("/spec/replicas").unwrap(), replicas);
        assert_eq!(set.pointer("/status/replicas").unwrap(), replicas);
        assert_eq!(set.annotation("deployment.kubernetes.io/revision"), Some(revision));
    }
    let pods = cluster.of(Kind::Pod);
    assert_eq!(pods.len(), 2);
    assert!(pods.iter().all(|pod| pod.pointer("/spec/containers/0/image").unwrap() == "nginx:1.28"));
    cluster.check_status(
        &web,
        json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}),
    );
    // Back to the old image: the old set is used again, as the newest.
    cluster.patch(&web, json!({"spec": {"template": {"spec": template()["spec"].clone()}}}));
    cluster.rest();
    assert_eq!(cluster.of(Kind::ReplicaSet).len(), 2);
    let again = cluster.get(Kind::ReplicaSet, &ObjectName::namespaced("ns", &*old)).unwrap();
    assert_eq!(again.annotation("deployment.kubernetes.io/revision"), Some("3"));
    assert_eq!(again.pointer("/spec/replicas").unwrap(), 2);
}

#[test]
fn history_has_a_limit() {
    let mut cluster = Cluster::new();
    let web = cluster.put(workload("Deployment", json!({"replicas": 1, "revisionHistoryLimit": 2})));
    for index in 0..6 {
        let containers = json!([{"name": "c", "image": format!("nginx:{index}")}]);
        cluster.patch(&web, json!({"spec": {"template": {"spec": {"containers": containers}}}}));
        cluster.rest();
    }
    assert_eq!(cluster.of(Kind::ReplicaSet).len(), 3, "the newest and two old ones");
}

#[track_caller]
fn check_scale(from: i64, to: i64) {
    let mut cluster = Cluster::new();
    let web = cluster.put(workload("Deployment", json!({"replicas": from})));
    cluster.rest();
    cluster.patch(&web, json!({"spec": {"replicas": to}}));
    cluster.rest();
    assert_eq!(cluster.of(Kind::Pod).len(), usize::try_from(to).unwrap());
    assert_eq!(cluster.of(Kind::ReplicaSet).len(), 1, "scaling makes no new set");
    let ready = cluster.at(&web, "/status/readyReplicas");
    assert_eq!(ready.as_i64().unwrap_or(0), to);
    assert_eq!(cluster.conditions(&web)[0], "Available=True MinimumReplicasAvailable");
}

#[test]
fn deployments_scale() {
    check_scale(1, 5);
    check_scale(5, 2);
    check_scale(3, 0);
    check_scale(0, 2);
    check_scale(1, 700); // more than one burst
}

#[test]
fn a_delay_is_kept_and_said() {
    for (dial, object) in [
        (Duration::from_millis(500), workload("Deployment", json!({"replicas": 2}))),
        (Duration::from_secs(60), annotated(workload("Deployment", json!({"replicas": 2})), DELAY, "500ms")),
    ] {
        let mut cluster = Cluster::new();
        cluster.dial.delay = dial;
        let web = cluster.put(object);
        assert_eq!(cluster.rest(), Some(Duration::from_millis(500)));
        cluster.check_status(
            &web,
            json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "unavailableReplicas": 2}),
        );
        assert_eq!(
            cluster.conditions(&web),
            ["Available=False MinimumReplicasUnavailable", "Progressing=True ReplicaSetUpdated"]
        );
        let pod = cluster.of(Kind::Pod)[0].clone();
        assert_eq!(pod.pointer("/status/phase").unwrap(), "Pending");
        assert_eq!(pod.pointer("/status/containerStatuses/0/state/waiting/reason").unwrap(), "ContainerCreating");
        cluster.advance(Duration::from_millis(200));
        assert_eq!(cluster.rest(), Some(Duration::from_millis(300)));
        cluster.advance(Duration::from_millis(300));
        assert_eq!(cluster.rest(), None);
        assert_eq!(cluster.conditions(&web)[0], "Available=True MinimumReplicasAvailable");
    }
}

#[test]
fn a_failing_deployment_says_so_and_recovers() {
    for fail in ["web", "ns/web"] {
        let mut cluster = Cluster::new();
        cluster.dial.fail.insert(fail.to_owned());
        let web = cluster.put(workload("Deployment", json!({"replicas": 2})));
        cluster.rest();
        assert_eq!(
            cluster.conditions(&web),
            ["Available=False MinimumReplicasUnavailable", "Progressing=False ProgressDeadlineExceeded"]
        );
        let pod = cluster.of(Kind::Pod)[0].clone();
        assert_eq!(pod.pointer("/status/containerStatuses/0/state/waiting/reason").unwrap(), "CrashLoopBackOff");
        assert_eq!(pod.pointer("/status/containerStatuses/0/lastState/terminated/exitCode").unwrap(), 1);
        cluster.patch(&web, json!({"metadata": {"annotations": {FAIL: "false"}}}));
        cluster.rest();
        assert_eq!(
            cluster.conditions(&web),
            ["Available=True MinimumReplicasAvailable", "Progressing=True NewReplicaSetAvailable"]
        );
    }
}

#[test]
fn a_failing_rollout_leaves_the_old_set_up() {
    let mut cluster = Cluster::new();
    let web = cluster.put(workload("Deployment", json!({"replicas": 2})));
    cluster.rest();
    let mut failing = template();
    failing["metadata"]["annotations"] = json!({FAIL: "true"});
    cluster.patch(&web, json!({"spec": {"template": failing}}));
    cluster.rest();
    let available = cluster.at(&web, "/status/availableReplicas");
    assert_eq!(available, 2, "the old pods serve on");
    assert_eq!(cluster.of(Kind::Pod).len(), 4);
}

#[test]
fn a_recreated_deployment_has_a_gap() {
    let mut cluster = Cluster::new();
    let web = cluster.put(workload("Deployment", json!({"replicas": 2, "strategy": {"type": "Recreate"}})));
    cluster.rest();
    cluster.patch(&web, json!({"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}}));
    let plan = cluster.plan(&web);
    let creates = plan.ops.iter().filter(|op| op.verb() == "create").count();
    assert_eq!(creates, 0, "first the old pods go");
    cluster.rest();
    assert_eq!(cluster.of(Kind::Pod).len(), 2);
    assert!(cluster.of(Kind::Pod).iter().all(|pod| pod.label("v") == Some("2")));
}

#[test]
fn a_paused_deployment_does_not_roll_out() {
    let mut cluster = Cluster::new();
    let web = cluster.put(workload("Deployment", json!({"replicas": 1})));
    cluster.rest();
    cluster.patch(&web, json!({"spec": {"paused": true, "template": {"metadata": {"labels": {"v": "2"}}}}}));
    cluster.rest();
    assert_eq!(cluster.of(Kind::ReplicaSet).len(), 1);
    assert_eq!(cluster.conditions(&web)[1], "Progressing=Unknown DeploymentPaused");
    cluster.patch(&web, json!({"spec": {"paused": false}}));
    cluster.rest();
    assert_eq!(cluster.of(Kind::ReplicaSet).len(), 2);
    assert_eq!(cluster.conditions(&web)[1], "Progressing=True NewReplicaSetAvailable");
}

#[test]
fn a_lost_pod_is_replaced_and_a_deployment_goes_with_all_it_made() {
    let mut cluster = Cluster::new();
    let web = cluster.put(workload("Deployment", json!({"replicas": 2})));
    cluster.rest();
    let pod = cluster.objects.keys().find(|key| key.kind == Kind::Pod).unwrap().clone();
    cluster.delete(&pod);
    cluster.rest();
    assert_eq!(cluster.of(Kind::Pod).len(), 2);
    assert_eq!(cluster.at(&web, "/status/readyReplicas"), 2);
    cluster.patch(&web, json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    assert_eq!(cluster.plan(&web), Plan::default(), "what goes makes nothing any more");
    cluster.delete(&web);
    cluster.rest();
    assert!(cluster.objects.is_empty());
}

#[test]
fn a_stateful_set_makes_its_pods_in_order_with_claims() {
    let mut cluster = Cluster::new();
    cluster.dial.delay = Duration::from_secs(1);
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let spec = json!({"replicas": 3, "serviceName": "web", "volumeClaimTemplates": [claim]});
    let web = cluster.put(workload("StatefulSet", spec));
    for (round, pods) in
        [vec!["web-0"], vec!["web-0", "web-1"], vec!["web-0", "web-1", "web-2"]].into_iter().enumerate()
    {
        cluster.rest();
        assert_eq!(cluster.names(Kind::Pod), pods);
        assert_eq!(cluster.at(&web, "/status/readyReplicas").as_i64().unwrap_or(0), i64::try_from(round).unwrap());
        cluster.advance(Duration::from_secs(1));
    }
    assert_eq!(cluster.rest(), None);
    assert_eq!(cluster.names(Kind::Claim), ["data-web-0", "data-web-1", "data-web-2"]);
    for claim in cluster.of(Kind::Claim) {
        assert_eq!(claim.pointer("/status/phase").unwrap(), "Bound");
        assert_eq!(claim.pointer("/status/capacity/storage").unwrap(), "1Gi");
    }
    assert_eq!(cluster.of(Kind::Volume).len(), 3);
    assert!(cluster.of(Kind::Volume).iter().all(|volume| volume.pointer("/status/phase").unwrap() == "Bound"));
    let pod = cluster.get(Kind::Pod, &ObjectName::namespaced("ns", "web-1")).unwrap();
    assert_eq!(pod.pointer("/spec/volumes/0/persistentVolumeClaim/claimName").unwrap(), "data-web-1");
    assert_eq!(pod.label("apps.kubernetes.io/pod-index"), Some("1"));
    let status = cluster.at(&web, "/status");
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert_eq!((&status["currentReplicas"], &status["updatedReplicas"]), (&json!(3), &json!(3)));

    // Down from the end; claims stay.
    cluster.patch(&web, json!({"spec": {"replicas": 1}}));
    cluster.rest();
    assert_eq!(cluster.names(Kind::Pod), ["web-0"]);
    assert_eq!(cluster.of(Kind::Claim).len(), 3);
}

#[test]
fn a_stateful_set_rolls_from_the_end_one_at_a_time() {
    let mut cluster = Cluster::new();
    let web = cluster.put(workload("StatefulSet", json!({"replicas": 3})));
    cluster.rest();
    let old = cluster.at(&web, "/status/currentRevision");
    cluster.patch(&web, json!({"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}}));
    let plan = cluster.plan(&web);
    let deletes: Vec<_> = plan.ops.iter().filter(|op| op.verb() == "delete").map(|op| &*op.name.name).collect();
    assert_eq!(deletes, ["web-2"]);
    let status = plan.ops.iter().find(|op| op.subresource == "status").unwrap();
    assert!(matches!(&status.write, Write::MergePatch(patch) if patch["status"]["updateRevision"] != old));
    cluster.rest();
    assert_eq!(cluster.names(Kind::Pod), ["web-0", "web-1", "web-2"]);
    assert!(cluster.of(Kind::Pod).iter().all(|pod| pod.label("v") == Some("2")));
    assert_ne!(cluster.at(&web, "/status/currentRevision"), old);
}

#[track_caller]
fn check_daemon_set(selector: Value, wanted: i64) {
    let mut cluster = Cluster::new();
    let mut template = template();
    template["spec"]["nodeSelector"] = selector;
    let web = cluster.put(workload("DaemonSet", json!({"template": template})));
    cluster.rest();
    assert_eq!(cluster.of(Kind::Pod).len(), usize::try_from(wanted).unwrap());
    for field in ["desiredNumberScheduled", "currentNumberScheduled", "numberReady"] {
        assert_eq!(cluster.at(&web, "/status")[field], wanted, "{field}");
    }
}

#[test]
fn a_daemon_set_has_one_pod_on_the_one_node() {
    check_daemon_set(json!({}), 1);
    check_daemon_set(json!({"kubernetes.io/os": "linux"}), 1);
    check_daemon_set(json!({"gpu": "yes"}), 0);
    let mut cluster = Cluster::new();
    let web = cluster.put(workload("DaemonSet", json!({})));
    cluster.rest();
    cluster.patch(&web, json!({"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}}));
    cluster.rest();
    assert_eq!(cluster.of(Kind::Pod).len(), 1);
    assert_eq!(cluster.of(Kind::Pod)[0].label("v"), Some("2"));
    assert_eq!(cluster.at(&web, "/status/updatedNumberScheduled"), 1);
}

fn job(spec: Value) -> Value {
    let mut spec = spec;
    let mut template = template();
    template["spec"]["restartPolicy"] = "Never".into();
    spec["template"] = template;
    workload("Job", spec)
}

#[track_caller]
fn check_job(spec: Value, pods: usize, conditions: &[&str], status: Value) {
    let mut cluster = Cluster::new();
    let web = cluster.put(job(spec));
    cluster.rest();
    assert_eq!(cluster.of(Kind::Pod).len(), pods);
    assert_eq!(cluster.conditions(&web), conditions);
    for (field, value) in status.as_object().unwrap() {
        assert_eq!(cluster.at(&web, "/status").get(field).unwrap_or(&Value::Null), value, "{field}");
    }
}

#[test]
fn jobs_end() {
    let complete = &["SuccessCriteriaMet=True CompletionsReached", "Complete=True CompletionsReached"][..];
    let started = "2023-11-14T22:13:20Z";
    check_job(
        json!({"completions": 1, "parallelism": 1}),
        1,
        complete,
        json!({"succeeded": 1, "startTime": started, "completionTime": started, "active": null, "ready": 0}),
    );
    check_job(json!({"completions": 5, "parallelism": 2}), 5, complete, json!({"succeeded": 5}));
    check_job(json!({"parallelism": 3}), 3, complete, json!({"succeeded": 3}));
    check_job(json!({"completions": 0}), 0, complete, json!({"succeeded": null}));
    check_job(
        json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed"}),
        4,
        complete,
        json!({"completedIndexes": "0-3"}),
    );
    check_job(
        json!({"suspend": true, "completions": 1}),
        0,
        &["Suspended=True JobSuspended"],
        json!({"startTime": null}),
    );
}

#[test]
fn a_job_takes_its_time() {
    let mut cluster = Cluster::new();
    let web = cluster.put(annotated(job(json!({"completions": 1})), DELAY, "2s"));
    assert_eq!(cluster.rest(), Some(Duration::from_secs(2)));
    assert_eq!(cluster.at(&web, "/status/active"), 1);
    assert_eq!(cluster.at(&web, "/status/ready"), 1);
    cluster.advance(Duration::from_secs(2));
    cluster.rest();
    assert_eq!(cluster.at(&web, "/status/completionTime"), "2023-11-14T22:13:22Z");
    assert_eq!(cluster.of(Kind::Pod)[0].pointer("/status/phase").unwrap(), "Succeeded");
}

#[test]
fn a_failing_job_gives_up_and_an_old_one_goes() {
    let mut cluster = Cluster::new();
    let spec = json!({"completions": 1, "backoffLimit": 2, "ttlSecondsAfterFinished": 60});
    let web = cluster.put(annotated(job(spec), FAIL, "true"));
    assert_eq!(cluster.rest(), Some(Duration::from_secs(60)));
    assert_eq!(
        cluster.conditions(&web),
        ["FailureTarget=True BackoffLimitExceeded", "Failed=True BackoffLimitExceeded"]
    );
    assert_eq!(cluster.at(&web, "/status/failed"), 3);
    assert_eq!(cluster.at(&web, "/status/completionTime"), Value::Null);
    cluster.advance(Duration::from_secs(60));
    cluster.rest();
    assert!(cluster.objects.is_empty());
}

fn pod(spec: Value) -> Value {
    let mut spec = spec;
    spec["containers"] = json!([{"name": "c", "image": "busybox"}]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns"}, "spec": spec})
}

#[track_caller]
fn check_pod(object: Value, phase: &str, conditions: &[&str]) {
    let mut cluster = Cluster::new();
    let key = cluster.put(object);
    cluster.rest();
    assert_eq!(cluster.at(&key, "/status/phase"), phase);
    assert_eq!(cluster.conditions(&key), conditions);
}

#[test]
fn pods_alone() {
    let running = [
        "PodReadyToStartContainers=True",
        "Initialized=True",
        "Ready=True",
        "ContainersReady=True",
        "PodScheduled=True",
    ];
    check_pod(pod(json!({})), "Running", &running);
    check_pod(pod(json!({"nodeSelector": {"disk": "ssd"}})), "Pending", &["PodScheduled=False Unschedulable"]);
    check_pod(
        annotated(pod(json!({"restartPolicy": "Never"})), FAIL, "true"),
        "Failed",
        &[
            "PodReadyToStartContainers=False",
            "Initialized=True",
            "Ready=False PodFailed",
            "ContainersReady=False PodFailed",
            "PodScheduled=True",
        ],
    );
}

#[test]
fn a_pod_waits_for_its_claim_and_a_volume_goes_with_it() {
    let mut cluster = Cluster::new();
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
    let pod = cluster.put(pod(json!({"volumes": volumes})));
    cluster.rest();
    assert_eq!(cluster.at(&pod, "/status/phase"), "Pending");
    assert_eq!(cluster.at(&pod, "/spec/nodeName"), Value::Null);
    let claim = cluster.put(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "ns"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}}},
    }));
    cluster.rest();
    assert_eq!(cluster.at(&claim, "/status/phase"), "Bound");
    assert_eq!(cluster.at(&pod, "/status/phase"), "Running");
    let volume = cluster.of(Kind::Volume)[0].clone();
    assert_eq!(volume.name(), cluster.at(&claim, "/spec/volumeName"));
    assert_eq!(volume.pointer("/spec/storageClassName").unwrap(), "fast");
    cluster.delete(&claim);
    cluster.rest();
    assert!(cluster.of(Kind::Volume).is_empty());
    assert_eq!(cluster.at(&pod, "/status/phase"), "Running", "a running pod keeps running");
}

#[track_caller]
fn check_service(spec: Value, address: Option<&str>) {
    let mut cluster = Cluster::new();
    let metadata = json!({"name": "s", "namespace": "ns"});
    let key = cluster.put(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}));
    cluster.rest();
    let held = cluster.at(&key, "/status/loadBalancer/ingress/0/ip");
    assert_eq!(held.as_str().map(|ip| ip.rsplit_once('.').unwrap().0), address);
    cluster.patch(&key, json!({"spec": {"type": "ClusterIP"}}));
    cluster.rest();
    assert_eq!(cluster.at(&key, "/status/loadBalancer/ingress"), Value::Null);
}

#[test]
fn load_balancers_get_an_address() {
    check_service(json!({"type": "LoadBalancer"}), Some("172.18.255"));
    check_service(json!({"type": "LoadBalancer", "loadBalancerIP": "10.1.2.3"}), Some("10.1.2"));
    check_service(json!({"type": "ClusterIP"}), None);
}

#[test]
fn there_is_a_node() {
    let mut cluster = Cluster::new();
    let key = Key::new(Kind::Node, ObjectName::cluster(NODE));
    let plan = cluster.plan(&key);
    plan.ops.iter().for_each(|op| cluster.execute(op));
    cluster.rest();
    assert_eq!(cluster.conditions(&key)[3], "Ready=True KubeletReady");
    assert_eq!(cluster.plan(&key), Plan::default());
    let other = Key::new(Kind::Node, ObjectName::cluster("other"));
    assert_eq!(cluster.plan(&other), Plan::default());
}

#[test]
fn a_plan_made_twice_asks_for_the_same() {
    let mut cluster = Cluster::new();
    let web = cluster.put(workload("Deployment", json!({"replicas": 3})));
    assert_eq!(cluster.plan(&web), cluster.plan(&web));
    let created =
        |plan: &Plan| plan.ops.iter().filter(|op| op.verb() == "create").map(Op::to_string).collect::<Vec<_>>();
    let plan = cluster.plan(&web);
    plan.ops.iter().for_each(|op| cluster.execute(op));
    let set = cluster.objects.keys().find(|key| key.kind == Kind::ReplicaSet).unwrap().clone();
    let first = cluster.plan(&set);
    cluster.advance(Duration::from_secs(1));
    assert_eq!(created(&first), created(&cluster.plan(&set)));
    assert_eq!(created(&first).len(), 3);
}

#[test]
fn odd_objects_do_no_harm() {
    for (kind, spec) in [
        ("Deployment", json!({"replicas": -3, "template": "text"})),
        ("Deployment", json!({"replicas": "many", "strategy": []})),
        ("StatefulSet", json!({"volumeClaimTemplates": [1, {}], "template": [], "replicas": 0})),
        ("DaemonSet", json!({"template": null})),
        ("Job", json!({"completions": -1, "parallelism": -1})),
    ] {
        let mut cluster = Cluster::new();
        let mut object = workload(kind, spec);
        object["status"] = json!({"conditions": "none"});
        let key = cluster.put(object);
        let plan = cluster.plan(&key);
        assert!(plan.ops.len() < 10, "{kind}");
    }
}
