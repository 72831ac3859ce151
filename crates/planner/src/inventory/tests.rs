//! Tables for the inventory.

use super::*;
use api::cluster::{AVAILABLE, CLOCK_SYNCED, HUB_ACCEPTED};
use api::{Condition, ConditionStatus, Propagation, Write, set_condition};
use std::collections::BTreeMap;

/// A hub of one cluster that carries plans out.
struct Hub {
    cluster: Option<ManagedCluster>,
    objects: BTreeMap<(String, ObjectName), Object>,
    heartbeat: Option<Heartbeat>,
    remaining: Remaining,
    now: i64,
}

impl Hub {
    fn new(accepted: bool) -> Self {
        let mut cluster = ManagedCluster::default();
        cluster.metadata.name = "c1".into();
        cluster.metadata.uid = "u".into();
        cluster.spec.hub_accepts_client = accepted;
        let remaining = Remaining::default();
        Self { cluster: Some(cluster), objects: BTreeMap::new(), heartbeat: None, remaining, now: 1_000 }
    }

    fn plan(&self) -> Plan {
        let Some(cluster) = &self.cluster else { return Plan::default() };
        let held = |resource: &Resource, name: &ObjectName| {
            self.objects.get(&(resource.group_resource().to_string(), name.clone())).cloned()
        };
        plan(&Facts {
            cluster,
            held: &held,
            mailbox: held(&NAMESPACES, &ObjectName::cluster("c1")).is_some(),
            heartbeat: self.heartbeat,
            remaining: self.remaining.clone(),
            now: Timestamp::from_seconds(self.now),
        })
    }

    fn perform(&mut self, op: &Op) {
        let resource = op.resource.group_resource().to_string();
        let key = (resource.clone(), op.name.clone());
        match &op.write {
            Write::Create(object) | Write::Update(object) => {
                if resource == "leases.coordination.k8s.io" {
                    let renewed = object.pointer("/spec/renewTime").unwrap().as_str().unwrap().parse().unwrap();
                    self.heartbeat = Some(Heartbeat { renewed, seen: Some(renewed) });
                }
                self.objects.insert(key, object.clone());
            }
            Write::MergePatch(patch) if resource == "managedclusters.cluster.open-cluster-management.io" => {
                let mut value = serde_json::to_value(self.cluster.take().unwrap()).unwrap();
                json_merge(&mut value, patch);
                let cluster: ManagedCluster = serde_json::from_value(value).unwrap();
                let gone = cluster.metadata.is_deleting() && cluster.metadata.finalizers.is_empty();
                self.cluster = (!gone).then_some(cluster);
            }
            Write::MergePatch(patch) => {
                let mut value = Value::Object(self.objects[&key].0.clone());
                json_merge(&mut value, patch);
                self.objects.insert(key, serde_json::from_value(value).unwrap());
            }
            Write::Delete { propagation: None::<Propagation>, .. } => {
                self.objects.remove(&key);
                self.remaining.addons.retain(|(name, _)| *name != op.name);
                self.remaining.works.retain(|(name, _)| *name != op.name);
            }
            other => panic!("not expected here: {other:?}"),
        }
    }

    /// Plans and performs until nothing is left; returns the ops as text.
    fn settle(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..5 {
            let ops = self.plan().ops;
            if ops.is_empty() {
                return told;
            }
            for op in &ops {
                told.push(op.to_string());
                self.perform(op);
            }
        }
        panic!("plans that never end: {told:#?}");
    }

    fn agent_says(&mut self, type_: &str, status: ConditionStatus) {
        let cluster = self.cluster.as_mut().unwrap();
        let now = Timestamp::from_seconds(self.now);
        set_condition(&mut cluster.status.conditions, Condition::new(type_, status, "r", "m"), now);
    }

    fn renew(&mut self, at: i64) {
        let seen = Some(Timestamp::from_seconds(self.now));
        self.heartbeat = Some(Heartbeat { renewed: Timestamp::from_seconds(at), seen });
    }

    fn condition(&self, type_: &str) -> Option<(ConditionStatus, String)> {
        let condition = self.cluster.as_ref().unwrap().condition(type_)?;
        Some((condition.status, condition.reason.clone()))
    }

    fn taints(&self) -> Vec<String> {
        self.cluster.as_ref().unwrap().spec.taints.iter().map(|taint| taint.key.clone()).collect()
    }
}

fn json_merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    target.remove(key);
                } else {
                    json_merge(target.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

const UNREACHABLE: &str = "cluster.open-cluster-management.io/unreachable";

#[test]
fn a_new_cluster_gets_no_rights() {
    let mut hub = Hub::new(false);
    assert_eq!(hub.settle(), ["patch managedclusters.cluster.open-cluster-management.io c1"]);
    assert!(hub.objects.is_empty());
    assert_eq!(hub.taints(), [UNREACHABLE]);
    assert_eq!(hub.condition(HUB_ACCEPTED), None);
    let labels = &hub.cluster.unwrap().metadata.labels;
    assert_eq!(labels.get(CLUSTER_SET_LABEL).map(String::as_str), Some("default"));
}

#[test]
fn an_accepted_cluster_gets_mailbox_rights_and_lease() {
    let mut hub = Hub::new(true);
    let told = hub.settle();
    let binding = "create rolebindings.rbac.authorization.k8s.io c1";
    assert_eq!(
        told,
        [
            "create namespaces c1".to_owned(),
            "create clusterroles.rbac.authorization.k8s.io open-cluster-management:managedcluster:c1".into(),
            "create clusterrolebindings.rbac.authorization.k8s.io open-cluster-management:managedcluster:c1".into(),
            format!("{binding}/open-cluster-management:managedcluster:c1:registration"),
            format!("{binding}/open-cluster-management:managedcluster:c1:work"),
            "create roles.rbac.authorization.k8s.io c1/open-cluster-management:addon-status:agent".into(),
            format!("{binding}/open-cluster-management:addon-status:agent"),
            "create leases.coordination.k8s.io c1/managed-cluster-lease".into(),
            "patch managedclusters.cluster.open-cluster-management.io c1".into(),
            "patch status of managedclusters.cluster.open-cluster-management.io c1".into(),
        ]
    );
    assert_eq!(hub.condition(HUB_ACCEPTED), Some((ConditionStatus::True, "HubClusterAdminAccepted".into())));
    assert_eq!(hub.plan().again, Some(Duration::from_micros(300_000_001)));
    // Somebody took a rule away.
    let key = hub.objects.keys().find(|(resource, _)| resource.starts_with("clusterroles.")).unwrap().clone();
    hub.objects.get_mut(&key).unwrap().0["rules"].as_array_mut().unwrap().pop();
    assert_eq!(
        hub.settle(),
        ["update clusterroles.rbac.authorization.k8s.io open-cluster-management:managedcluster:c1"]
    );
}

#[test]
fn availability_follows_the_lease_and_taints_follow_availability() {
    let mut hub = Hub::new(true);
    hub.settle();
    hub.agent_says(AVAILABLE, ConditionStatus::True);
    hub.settle();
    assert_eq!(hub.taints(), [""; 0]);
    hub.now += 300;
    assert_eq!(hub.plan(), Plan { ops: vec![], again: Some(Duration::from_micros(1)) });
    hub.now += 1;
    hub.settle();
    let stopped = "ManagedClusterLeaseUpdateStopped".to_owned();
    assert_eq!(hub.condition(AVAILABLE), Some((ConditionStatus::Unknown, stopped)));
    assert_eq!(hub.taints(), [UNREACHABLE]);
    assert_eq!(hub.condition(CLOCK_SYNCED).unwrap().0, ConditionStatus::True);
    // Back again.
    hub.renew(hub.now);
    hub.agent_says(AVAILABLE, ConditionStatus::True);
    hub.settle();
    assert_eq!(hub.taints(), [""; 0]);
    hub.agent_says(AVAILABLE, ConditionStatus::False);
    hub.settle();
    assert_eq!(hub.taints(), ["cluster.open-cluster-management.io/unavailable"]);
}

#[test]
fn a_clock_that_is_wrong_is_told() {
    let mut hub = Hub::new(true);
    hub.settle();
    hub.renew(hub.now - 400);
    hub.settle();
    assert_eq!(hub.condition(CLOCK_SYNCED), Some((ConditionStatus::False, "ManagedClusterClockOutOfSync".into())));
    hub.renew(hub.now - 200);
    hub.settle();
    assert_eq!(hub.condition(CLOCK_SYNCED).unwrap().0, ConditionStatus::True);
    // What was found at the start and is old says nothing of the clock.
    hub.heartbeat = Some(Heartbeat { renewed: Timestamp::from_seconds(0), seen: None });
    hub.settle();
    assert_eq!(hub.condition(CLOCK_SYNCED).unwrap().0, ConditionStatus::True);
}

#[test]
fn a_denied_cluster_loses_its_rights() {
    let mut hub = Hub::new(true);
    hub.settle();
    hub.cluster.as_mut().unwrap().spec.hub_accepts_client = false;
    hub.settle();
    assert_eq!(hub.condition(HUB_ACCEPTED), Some((ConditionStatus::False, "HubClusterAdminDenied".into())));
    let left: Vec<&str> = hub.objects.keys().map(|(resource, _)| resource.split('.').next().unwrap()).collect();
    assert_eq!(left, ["clusterroles", "leases", "namespaces"]);
    // And gets them back.
    hub.cluster.as_mut().unwrap().spec.hub_accepts_client = true;
    assert_eq!(hub.settle().len(), 7);
}

#[test]
fn a_detached_cluster_leaves_its_mailbox_only() {
    let mut hub = Hub::new(true);
    hub.settle();
    hub.remaining.addons = vec![(ObjectName::namespaced("c1", "addon-status"), false)];
    hub.remaining.works = vec![(ObjectName::namespaced("c1", "w"), false), (ObjectName::namespaced("c1", "x"), true)];
    hub.cluster.as_mut().unwrap().metadata.deletion_timestamp = Some(Timestamp::from_seconds(hub.now));
    let plan = hub.plan();
    let told: Vec<String> = plan.ops.iter().map(ToString::to_string).collect();
    let status = "patch status of managedclusters.cluster.open-cluster-management.io c1";
    assert_eq!(told, [status, "delete managedclusteraddons.addon.open-cluster-management.io c1/addon-status"]);
    assert!(plan.again.is_some());
    hub.remaining.addons.clear();
    hub.remaining.works.pop();
    let told = hub.settle();
    assert_eq!(told[1], "delete manifestworks.work.open-cluster-management.io c1/w");
    assert_eq!(hub.cluster, None);
    let left: Vec<&str> = hub.objects.keys().map(|(resource, _)| resource.split('.').next().unwrap()).collect();
    assert_eq!(left, ["leases", "namespaces"]);
}

#[test]
fn every_hub_has_common_rights_and_sets() {
    let ops = plan_common(&|_, _| None);
    assert_eq!(ops.len(), 8);
    let made: Vec<Object> = ops
        .into_iter()
        .map(|op| match op.write {
            Write::Create(object) => object,
            other => panic!("{other:?}"),
        })
        .collect();
    let held = |resource: &Resource, name: &ObjectName| {
        made.iter().find(|object| object.kind() == resource.kind && object.object_name() == *name).cloned()
    };
    assert_eq!(plan_common(&held), []);
}
