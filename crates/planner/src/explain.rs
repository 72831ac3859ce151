//! Why an object is, or is not, in a cluster: asked, resolved, sent, done, seen, and at which of these it stopped.

use crate::binding::{ClusterHeader, Verdict, WorkloadHeader, verdict};
use api::control::{Binding, BindingPolicy};
use api::work::{BINDING_LABEL, ManifestWork, WorkStatus};
use api::{Condition, GroupResource, Labels, Timestamp};
use serde::Serialize;

/// Conditions of a ManagedCluster without which nothing arrives, in the order in which they come true.
const CLUSTER_CONDITIONS: [&str; 3] =
    ["HubAcceptedManagedCluster", "ManagedClusterJoined", "ManagedClusterConditionAvailable"];

/// What is known of an object and of everything between it and the clusters.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The resource of the object.
    pub resource: &'a GroupResource,
    /// The object in the WDS.
    pub object: &'a WorkloadHeader,
    /// Labels of its Namespace, if it has one that is there.
    pub namespace: Option<&'a Labels>,
    /// The arguments by which kubectl finds the object: `deployments.apps/web -n shop`.
    pub argument: &'a str,
    /// All policies of the WDS.
    pub policies: &'a [BindingPolicy],
    /// All Bindings of the WDS.
    pub bindings: &'a [Binding],
    /// The clusters that are asked about, with the conditions of their ManagedClusters.
    pub clusters: &'a [(ClusterHeader, Vec<Condition>)],
    /// ManifestWorks of this WDS.
    pub works: &'a [ManifestWork],
    /// WorkStatuses of this WDS.
    pub statuses: &'a [WorkStatus],
}

/// The answer.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What is said of the object as a whole, such as that there is no policy.
    pub remarks: Vec<String>,
    /// Every policy, with what its clauses and selectors say.
    pub policies: Vec<Verdict>,
    /// For every cluster and policy, how far the object came.
    pub chains: Vec<Chain>,
}

/// How far an object came on the way that one policy asks for.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// The cluster.
    pub cluster: String,
    /// The policy.
    pub policy: String,
    /// The steps; the first that failed is the last one here.
    pub steps: Vec<Step>,
}

/// One step of the way.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// `asked`, `resolved`, `sent`, `done` or `seen`
    pub stage: &'static str,
    /// Whether the object came this far.
    pub reached: bool,
    /// Since when, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why not, or by what.
    pub why: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

impl Step {
    fn reached(stage: &'static str, since: Option<Timestamp>, why: impl Into<String>) -> Self {
        Self { stage, reached: true, since, why: why.into(), changes: Vec::new() }
    }

    fn stopped(stage: &'static str, why: impl Into<String>) -> Self {
        Self { stage, reached: false, since: None, why: why.into(), changes: Vec::new() }
    }
}

/// Explains where an object is and why it is not where it is not.
pub fn explain(facts: &Facts<'_>) -> Explanation {
    let headers: Vec<_> = facts.clusters.iter().map(|(header, _)| header.clone()).collect();
    let policies = facts.policies.iter();
    let policies: Vec<_> =
        policies.map(|policy| verdict(policy, facts.resource, facts.object, facts.namespace, &headers)).collect();
    let mut remarks = Vec::new();
    if policies.is_empty() {
        remarks.push("there is no BindingPolicy in this space: nothing is asked for".to_owned());
    }
    if facts.clusters.is_empty() {
        remarks.push("the inventory has no cluster: nothing can be sent".to_owned());
    }
    let clusters = facts.clusters.iter().enumerate();
    let chains = clusters.flat_map(|(at, (header, conditions))| {
        policies.iter().map(move |verdict| Chain {
            cluster: header.name.clone(),
            policy: verdict.policy.clone(),
            steps: steps(facts, verdict, at, conditions),
        })
    });
    let chains = chains.collect();
    Explanation { remarks, policies, chains }
}

fn steps(facts: &Facts<'_>, verdict: &Verdict, cluster: usize, conditions: &[Condition]) -> Vec<Step> {
    let mut steps = Vec::new();
    let next: [&dyn Fn() -> Step; 5] = [
        &|| asked(facts, verdict, cluster),
        &|| resolved(facts, verdict, cluster),
        &|| sent(facts, verdict, cluster, conditions),
        &|| done(facts, verdict, cluster, conditions),
        &|| seen(facts, verdict, cluster),
    ];
    for step in next {
        let step = step();
        let reached = step.reached;
        steps.push(step);
        if !reached {
            break;
        }
    }
    steps
}

fn asked(facts: &Facts<'_>, verdict: &Verdict, at: usize) -> Step {
    let cluster = &verdict.clusters[at];
    let namespace = &facts.object.name.namespace;
    let instruction = |change: &crate::binding::Change| {
        change.instruction(&verdict.policy, facts.argument, namespace, &cluster.cluster)
    };
    let mut why: Vec<String> = verdict.obstacle.iter().cloned().collect();
    let mut changes = Vec::new();
    if !verdict.selected && why.is_empty() {
        for clause in &verdict.clauses {
            why.extend(clause.unmet.iter().map(|u| {
                let verb = if u.field.ends_with("Selectors") { "has" } else { "is" };
                format!("{} wants {}, and it {verb} {}", u.field, u.wanted, u.value)
            }));
        }
        changes.extend(verdict.changes().into_iter().map(instruction));
    }
    if let Some(unmet) = &cluster.unmet {
        why.push(format!("{} wants {}, and {} has {}", unmet.field, unmet.wanted, cluster.cluster, unmet.value));
        changes.extend(unmet.change.iter().map(instruction));
    }
    if verdict.selected && cluster.selected {
        return Step::reached("asked", None, format!("bindingpolicy/{} selects object and cluster", verdict.policy));
    }
    why.extend(verdict.problems.iter().cloned());
    Step { changes, ..Step::stopped("asked", why.join("; ")) }
}

fn resolved(facts: &Facts<'_>, verdict: &Verdict, at: usize) -> Step {
    let name = &verdict.policy;
    let cluster = &verdict.clusters[at].cluster;
    let Some(binding) = facts.bindings.iter().find(|binding| binding.metadata.name == *name) else {
        return Step::stopped("resolved", format!("there is no Binding {name}: the hub has not resolved the policy"));
    };
    let object = binding.spec.workload.iter().any(|held| {
        held.group == facts.resource.group
            && held.resource == facts.resource.resource
            && held.object_name() == facts.object.name
    });
    let missing = match (object, binding.spec.destinations.iter().any(|held| held.cluster_id == *cluster)) {
        (true, true) => return Step::reached("resolved", None, format!("binding/{name} holds object and cluster")),
        (false, _) => "the object",
        (true, false) => "the cluster",
    };
    let policy = facts.policies.iter().find(|policy| policy.metadata.name == *name);
    let told = problems(policy.and_then(|policy| policy.status.as_ref()));
    Step::stopped("resolved", format!("binding/{name} does not hold {missing}{told}"))
}

fn sent(facts: &Facts<'_>, verdict: &Verdict, at: usize, conditions: &[Condition]) -> Step {
    let cluster = &verdict.clusters[at].cluster;
    match works_with(facts, &verdict.policy, cluster).next() {
        Some(work) => {
            let name = &work.metadata.name;
            Step::reached("sent", work.metadata.creation_timestamp, format!("manifestwork/{name} in mailbox {cluster}"))
        }
        None => {
            let binding = facts.bindings.iter().find(|binding| binding.metadata.name == verdict.policy);
            let told = problems(binding.and_then(|binding| binding.status.as_ref()));
            let state = availability(cluster, conditions).map(|state| format!("; {state}")).unwrap_or_default();
            Step::stopped("sent", format!("no ManifestWork in mailbox {cluster} holds the object{told}{state}"))
        }
    }
}

fn done(facts: &Facts<'_>, verdict: &Verdict, at: usize, conditions: &[Condition]) -> Step {
    let cluster = &verdict.clusters[at].cluster;
    let state = availability(cluster, conditions).map(|state| format!("; {state}")).unwrap_or_default();
    let reports = works_with(facts, &verdict.policy, cluster).flat_map(|work| &work.status.resource_status.manifests);
    let mut reports = reports.filter(|report| {
        let meta = &report.resource_meta;
        let name = &facts.object.name;
        meta.group == facts.resource.group
            && meta.resource == facts.resource.resource
            && meta.namespace == name.namespace
            && meta.name == name.name
    });
    let applied = reports.find_map(|report| report.conditions.iter().find(|held| held.type_ == "Applied"));
    match applied {
        None => Step::stopped("done", format!("the agent of {cluster} has not reported on the object{state}")),
        Some(applied) if applied.is_true() => {
            Step::reached("done", applied.last_transition_time, format!("applied by the agent of {cluster}{state}"))
        }
        Some(failed) => Step {
            since: failed.last_transition_time,
            ..Step::stopped("done", format!("the agent of {cluster} could not apply it: {}{state}", failed.message))
        },
    }
}

fn seen(facts: &Facts<'_>, verdict: &Verdict, at: usize) -> Step {
    let cluster = &verdict.clusters[at].cluster;
    let held = facts.statuses.iter().any(|held| {
        let source = &held.spec.source_ref;
        let name = &facts.object.name;
        held.metadata.namespace == *cluster
            && source.group == facts.resource.group
            && source.resource == facts.resource.resource
            && source.namespace == name.namespace
            && source.name == name.name
            && held.status.is_some()
    });
    if held {
        return Step::reached("seen", None, format!("its status in {cluster} has come back"));
    }
    Step::stopped("seen", format!("no status of it has come back from {cluster}: it may have none"))
}

/// The works of a policy in a mailbox that hold the object.
fn works_with<'a>(facts: &Facts<'a>, policy: &str, cluster: &str) -> impl Iterator<Item = &'a ManifestWork> {
    let facts = *facts;
    facts.works.iter().filter(move |work| {
        work.metadata.namespace == *cluster
            && work.metadata.labels.get(BINDING_LABEL).is_some_and(|held| held == policy)
            && work.spec.workload.manifests.iter().any(|manifest| {
                let meta = &manifest["metadata"];
                let group = manifest["apiVersion"].as_str().and_then(|v| v.rsplit_once('/')).map_or("", |(g, _)| g);
                group == facts.resource.group
                    && meta["name"] == facts.object.name.name.as_str()
                    && meta["namespace"].as_str().unwrap_or("") == facts.object.name.namespace
            })
    })
}

/// What keeps a cluster from receiving anything, by its conditions.
fn availability(cluster: &str, conditions: &[Condition]) -> Option<String> {
    CLUSTER_CONDITIONS.iter().find_map(|type_| match conditions.iter().find(|held| held.type_ == *type_) {
        Some(held) if held.is_true() => None,
        Some(held) => Some(format!("{type_} of managedcluster/{cluster} is not true: {}", held.message)),
        None => Some(format!("managedcluster/{cluster} has no condition {type_}")),
    })
}

fn problems(status: Option<&api::control::PipelineStatus>) -> String {
    let errors = status.map(|status| status.errors.as_slice()).unwrap_or_default();
    if errors.is_empty() { String::new() } else { format!(": {}", errors.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::PartialObject;
    use serde_json::{Value, json};

    /// Everything about the ConfigMap `conf` with the label app=web in namespace `shop`, delivered to c1.
    fn delivered() -> Value {
        json!({
            "object": {"metadata": {"namespace": "shop", "name": "conf", "labels": {"app": "web"}}},
            "namespace": {"env": "prod"},
            "policies": [{"metadata": {"name": "p"}, "spec": {
                "clusterSelectors": [{"matchLabels": {"group": "edge"}}],
                "downsync": [{"objectSelectors": [{"matchLabels": {"app": "web"}}]}]}}],
            "bindings": [{"metadata": {"name": "p"}, "spec": {
                "workload": {"namespaceScope": [{"group": "", "version": "v1", "resource": "configmaps",
                                                 "namespace": "shop", "name": "conf", "resourceVersion": "1"}]},
                "destinations": [{"clusterId": "c1"}]}}],
            "cluster": {"metadata": {"name": "c1", "labels": {"group": "edge"}}},
            "conditions": CLUSTER_CONDITIONS.map(|type_| json!({"type": type_, "status": "True"})),
            "works": [{"metadata": {"name": "w", "namespace": "c1", "labels": {BINDING_LABEL: "p"},
                                    "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"workload": {"manifests": [
                    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "shop", "name": "conf"}}]}},
                "status": {"resourceStatus": {"manifests": [{
                    "resourceMeta": {"group": "", "version": "v1", "kind": "ConfigMap", "resource": "configmaps",
                                     "namespace": "shop", "name": "conf"},
                    "conditions": [{"type": "Applied", "status": "True"}]}]}}}],
            "statuses": [{"metadata": {"name": "s", "namespace": "c1"},
                "spec": {"sourceRef": {"group": "", "version": "v1", "resource": "configmaps", "kind": "ConfigMap",
                                       "namespace": "shop", "name": "conf"}},
                "status": {}}],
        })
    }

    fn explained(facts: &Value) -> Explanation {
        let read = |key: &str| facts[key].clone();
        let object: PartialObject = serde_json::from_value(read("object")).unwrap();
        let namespace: Option<Labels> = serde_json::from_value(read("namespace")).unwrap();
        let policies: Vec<BindingPolicy> = serde_json::from_value(read("policies")).unwrap();
        let bindings: Vec<Binding> = serde_json::from_value(read("bindings")).unwrap();
        let cluster: Option<PartialObject> = serde_json::from_value(read("cluster")).unwrap();
        let conditions: Vec<Condition> = serde_json::from_value(read("conditions")).unwrap();
        let works: Vec<ManifestWork> = serde_json::from_value(read("works")).unwrap();
        let statuses: Vec<WorkStatus> = serde_json::from_value(read("statuses")).unwrap();
        let clusters: Vec<_> = cluster.into_iter().map(|cluster| (cluster.into(), conditions.clone())).collect();
        explain(&Facts {
            resource: &GroupResource { group: String::new(), resource: "configmaps".into() },
            object: &WorkloadHeader::from(object),
            namespace: namespace.as_ref(),
            argument: "configmaps/conf -n shop",
            policies: &policies,
            bindings: &bindings,
            clusters: &clusters,
            works: &works,
            statuses: &statuses,
        })
    }

    #[test]
    fn an_object_that_arrived_came_all_the_way() {
        let said = explained(&delivered());
        let steps: Vec<_> = said.chains[0].steps.iter().map(|step| (step.stage, step.reached)).collect();
        assert_eq!(steps, ["asked", "resolved", "sent", "done", "seen"].map(|stage| (stage, true)));
        assert!(said.remarks.is_empty());
    }

    #[test]
    fn each_fault_is_named_where_it_is() {
        let applied = "/works/0/status/resourceStatus/manifests/0/conditions/0";
        let label = "kubectl label configmaps/conf -n shop --overwrite app=web";
        // Where, what is put there, the step that fails, a part of why, and the change.
        let faults: &[(&str, Value, &str, &str, &str)] = &[
            (
                "/object/metadata/labels",
                json!({}),
                "asked",
                "objectSelectors wants `app=web`, and it has no labels",
                label,
            ),
            ("/object/metadata/labels", json!({"app": "db"}), "asked", "and it has app=db", label),
            (
                "/policies/0/spec/downsync/0/namespaces",
                json!(["x"]),
                "asked",
                "namespaces wants `x`, and it is `shop`",
                "let spec.downsync[0].namespaces of bindingpolicy/p allow `shop`",
            ),
            (
                "/policies/0/spec/downsync/0/namespaceSelectors",
                json!([{"matchLabels": {"env": "dev"}}]),
                "asked",
                "wants `env=dev`, and it has env=prod",
                "kubectl label namespace/shop --overwrite env=dev",
            ),
            (
                "/policies/0/spec/downsync/0/apiGroup",
                json!("apps"),
                "asked",
                "apiGroup wants `apps`, and it is ``",
                "let spec.downsync[0].apiGroup of bindingpolicy/p allow ``",
            ),
            (
                "/policies/0/spec/downsync/0/resources",
                json!(["secrets"]),
                "asked",
                "resources wants `secrets`",
                "let spec.downsync[0].resources of bindingpolicy/p allow `configmaps`",
            ),
            (
                "/policies/0/spec/downsync/0/objectNames",
                json!(["other"]),
                "asked",
                "objectNames wants `other`",
                "let spec.downsync[0].objectNames of bindingpolicy/p allow `conf`",
            ),
            (
                "/policies/0/spec/downsync/0/objectSelectors",
                json!([{"matchExpressions": [{"key": "a", "operator": "In"}]}]),
                "asked",
                "A label selector that cannot be used selects nothing",
                "",
            ),
            ("/policies/0/spec/downsync", json!([]), "asked", "has no clause", ""),
            (
                "/policies/0/metadata/deletionTimestamp",
                json!("2026-01-01T00:00:00Z"),
                "asked",
                "policy is being deleted",
                "",
            ),
            (
                "/object/metadata/deletionTimestamp",
                json!("2026-01-01T00:00:00Z"),
                "asked",
                "object is being deleted",
                "",
            ),
            (
                "/cluster/metadata/labels",
                json!({}),
                "asked",
                "clusterSelectors wants `group=edge`, and c1 has no labels",
                "kubectl label managedcluster/c1 --overwrite group=edge",
            ),
            (
                "/cluster/metadata/deletionTimestamp",
                json!("2026-01-01T00:00:00Z"),
                "asked",
                "c1 has a deletion under way",
                "",
            ),
            ("/bindings", json!([]), "resolved", "there is no Binding p", ""),
            ("/bindings/0/spec/destinations", json!([]), "resolved", "does not hold the cluster", ""),
            ("/bindings/0/spec/workload", json!({}), "resolved", "does not hold the object", ""),
            ("/works", json!([]), "sent", "no ManifestWork in mailbox c1", ""),
            (
                applied,
                json!({"type": "Applied", "status": "False", "message": "configmaps is forbidden"}),
                "done",
                "could not apply it: configmaps is forbidden",
                "",
            ),
            ("/works/0/status", json!({}), "done", "has not reported", ""),
            ("/statuses", json!([]), "seen", "no status of it has come back", ""),
        ];
        for (place, value, stage, why, change) in faults {
            let mut facts = delivered();
            let (parent, key) = place.rsplit_once('/').unwrap();
            let parent = facts.pointer_mut(parent).unwrap();
            match key.parse::<usize>() {
                Ok(at) => parent[at] = value.clone(),
                Err(_) => parent[key] = value.clone(),
            }
            let said = explained(&facts);
            let last = said.chains[0].steps.last().unwrap();
            assert_eq!((last.stage, last.reached), (*stage, false), "{place}: {last:?}");
            assert!(last.why.contains(why), "{place}: {last:?}");
            assert_eq!(last.changes.join("; "), *change, "{place}");
        }
    }

    #[test]
    fn clusters_and_errors_are_named_where_nothing_was_sent() {
        let mut facts = delivered();
        facts["works"] = json!([]);
        facts["conditions"][0]["status"] = json!("False");
        facts["bindings"][0]["status"] = json!({"errors": ["configmaps shop/conf is too large"]});
        let why = explained(&facts).chains[0].steps.last().unwrap().why.clone();
        assert!(
            why.contains("too large") && why.contains("HubAcceptedManagedCluster of managedcluster/c1 is not true"),
            "{why}"
        );
        let mut facts = delivered();
        facts["works"][0]["status"] = json!({});
        facts["conditions"][2] = json!({"type": CLUSTER_CONDITIONS[2], "status": "Unknown", "message": "lease is old"});
        let why = explained(&facts).chains[0].steps.last().unwrap().why.clone();
        assert!(why.contains("has not reported") && why.contains("lease is old"), "{why}");
        facts["policies"] = json!([]);
        assert!(explained(&facts).remarks[0].contains("no BindingPolicy"));
        facts["cluster"] = Value::Null;
        assert!(explained(&facts).remarks[1].contains("has no cluster"));
    }
}
