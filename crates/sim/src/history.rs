//! Random histories of one WDS and its inventory, and what the index makes of them, against the oracle.
//!
//! Only Bindings that the index says may have changed are planned again, as the hub does it: a change that it does not
//! tell of stays unseen, and the next comparison finds it.

use crate::oracle::{Facts, Handling, Place, Resolved};
use crate::random::Random;
use anyhow::{Context, Result, ensure};
use api::control::{Binding, BindingPolicy};
use api::{BindingName, GroupResource, Object, ObjectName, PartialObject, Resource};
use planner::binding::{ClusterHeader, Index, Op, Touched, WorkloadHeader, plan};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many changes a history has at most.
const CHANGES_MAX: usize = 60;

const RESOURCES: [Resource; 6] = [
    Resource::namespaced("apps", "v1", "deployments", "Deployment"),
    Resource::namespaced("", "v1", "configmaps", "ConfigMap"),
    Resource::cluster("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole"),
    Resource::cluster("", "v1", "namespaces", "Namespace"),
    // Of definitions that come and go, one with the plural of a built-in kind.
    Resource::namespaced("example.com", "v1", "widgets", "Widget"),
    Resource::namespaced("example.com", "v1", "deployments", "Deployment"),
];
const DEFINED: usize = 4;
const NAMES: [&str; 4] = ["a", "b", "c", "a-name-of-a-policy-that-is-longer-than-the-63-characters-of-a-label"];
const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const KEYS: [&str; 3] = ["k", "l", "example.com/m"];
const VALUES: [&str; 3] = ["1", "2", ""];

/// One history, and the state that both sides have of it.
struct History {
    random: Random,
    facts: Facts,
    index: Index,
    policies: BTreeMap<BindingName, BindingPolicy>,
    bindings: BTreeMap<BindingName, Binding>,
    revision: usize,
}

/// Plays the history of a seed.
///
/// # Errors
/// Where the index and the oracle disagree, with the change after which they do.
pub fn play(seed: u64) -> Result<usize> {
    let mut history = History {
        random: Random::new(seed),
        facts: Facts::default(),
        index: Index::default(),
        policies: BTreeMap::new(),
        bindings: BTreeMap::new(),
        revision: 0,
    };
    for resource in &RESOURCES[..DEFINED] {
        history.serve(resource);
    }
    let changes = 1 + history.random.below(CHANGES_MAX);
    for at in 0..changes {
        let mut touched = Touched::default();
        // Several changes may come before the hub gets to look.
        let mut told = Vec::new();
        for _ in 0..1 + history.random.below(3) {
            let (what, more) = history.change();
            told.push(what);
            touched.merge(more);
        }
        let compared = history.reconcile(&touched).and_then(|()| history.compare());
        compared.with_context(|| format!("history {seed}, step {at} ({})", told.join(", ")))?;
    }
    history.start_anew().with_context(|| format!("history {seed}, after a start with empty hands"))?;
    Ok(changes)
}

impl History {
    fn serve(&mut self, resource: &Resource) -> Touched {
        let key = resource.group_resource();
        self.facts.versions.insert((key.group.clone(), key.resource.clone()), resource.version.to_string());
        let mut touched = self.index.set_resource(resource.clone());
        // The first list has what was there before the resource was watched.
        let objects: Vec<_> = self.facts.objects.iter().filter(|(place, _)| is_of(place, &key)).collect();
        for (place, object) in objects {
            touched.merge(self.index.set_object(&key, &name_of(place), Some(header(object))));
        }
        touched.merge(self.index.complete_resource(&key));
        touched
    }

    /// Changes something, in the facts and in the index.
    fn change(&mut self) -> (String, Touched) {
        self.revision += 1;
        match self.random.below(20) {
            0..=8 => self.change_object(),
            9..=13 => self.change_policy(),
            14..=17 => self.change_cluster(),
            _ => self.change_definition(),
        }
    }

    fn labels(&mut self) -> Value {
        let count = self.random.below(4);
        let mut labels = Map::new();
        for _ in 0..count {
            labels.insert((*self.random.pick(&KEYS)).into(), (*self.random.pick(&VALUES)).into());
        }
        Value::Object(labels)
    }

    fn change_object(&mut self) -> (String, Touched) {
        let resource = self.random.pick(&RESOURCES).clone();
        let namespace = if resource.namespaced { *self.random.pick(&NAMESPACES) } else { "" };
        let name = *self.random.pick(&NAMES[..3]);
        let place = (resource.group.to_string(), resource.plural.to_string(), namespace.to_owned(), name.to_owned());
        let key = resource.group_resource();
        if self.random.chance(25) {
            self.facts.objects.remove(&place);
            return (format!("delete {place:?}"), self.index.set_object(&key, &name_of(&place), None));
        }
        let mut object = json!({"metadata": {
            "name": name, "uid": format!("{}", self.random.below(2)), "labels": self.labels(),
            "resourceVersion": self.revision.to_string(), "generation": self.random.below(3),
        }});
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = namespace.into();
        }
        if self.random.chance(10) {
            object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        let touched = self.index.set_object(&key, &name_of(&place), Some(header(&object)));
        let told = format!("put {place:?} {}", object["metadata"]);
        self.facts.objects.insert(place, object);
        (told, touched)
    }

    fn change_policy(&mut self) -> (String, Touched) {
        let name = *self.random.pick(&NAMES);
        let binding = BindingName::from(name);
        if self.random.chance(15) {
            self.facts.policies.remove(name);
            self.policies.remove(&binding);
            return (format!("delete policy {name}"), self.index.set_policy(&binding, None));
        }
        let clauses: Vec<Value> = (0..self.random.below(4)).map(|_| self.clause()).collect();
        let clusters: Vec<Value> = (0..self.random.below(3)).map(|_| self.selector()).collect();
        let uid = format!("{name}-{}", usize::from(self.random.chance(10)));
        let mut made = json!({"metadata": {"name": name, "uid": uid},
            "spec": {"downsync": clauses, "clusterSelectors": clusters}});
        if self.random.chance(5) {
            made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        let mut policy: BindingPolicy = serde_json::from_value(made.clone()).expect("it is a policy");
        // An edit leaves the finalizers of others alone.
        let held = self.policies.get(&binding).filter(|held| held.metadata.uid == policy.metadata.uid);
        policy.metadata.finalizers = held.map(|held| held.metadata.finalizers.clone()).unwrap_or_default();
        let touched = self.index.set_policy(&binding, Some(&policy));
        let told = format!("put policy {made}");
        self.facts.policies.insert(name.into(), made);
        self.policies.insert(binding, policy);
        (told, touched)
    }

    fn clause(&mut self) -> Value {
        let mut clause = Map::new();
        let random = &mut self.random;
        if random.chance(30) {
            clause.insert("apiGroup".into(), (*random.pick(&["", "apps", "example.com", "*"])).into());
        }
        let lists: [(&str, &[&str]); 4] = [
            ("resources", &["deployments", "configmaps", "namespaces", "widgets", "clusterroles", "*"]),
            ("namespaces", &["a", "b", "", "*"]),
            ("objectNames", &["a", "b", "c", "*"]),
            ("statusCollectors", &["s", "t", "u"]),
        ];
        for (field, from) in lists {
            if random.chance(35) {
                clause.insert(field.into(), random.some(from, 2).into());
            }
        }
        for (field, percent) in
            [("createOnly", 20), ("wantSingletonReportedState", 20), ("wantMultiWECReportedState", 20)]
        {
            if random.chance(percent) {
                clause.insert(field.into(), random.chance(80).into());
            }
        }
        for (field, percent) in [("objectSelectors", 60), ("namespaceSelectors", 30)] {
            if self.random.chance(percent) {
                let selectors: Vec<Value> = (0..self.random.below(3)).map(|_| self.selector()).collect();
                clause.insert(field.into(), selectors.into());
            }
        }
        Value::Object(clause)
    }

    fn selector(&mut self) -> Value {
        let mut selector = Map::new();
        if self.random.chance(60) {
            selector.insert("matchLabels".into(), self.labels());
        }
        if self.random.chance(40) {
            let expressions: Vec<Value> = (0..1 + self.random.below(2)).map(|_| self.expression()).collect();
            selector.insert("matchExpressions".into(), expressions.into());
        }
        Value::Object(selector)
    }

    fn expression(&mut self) -> Value {
        let operator = *self.random.pick(&["In", "In", "NotIn", "Exists", "DoesNotExist"]);
        let mut expression = json!({"key": self.random.pick(&KEYS), "operator": operator});
        let takes_values = operator.ends_with("In");
        // Now and then one that is no selector.
        if takes_values != self.random.chance(8) {
            expression["values"] = self.random.some(&VALUES, 2).into();
        }
        expression
    }

    fn change_cluster(&mut self) -> (String, Touched) {
        let name = *self.random.pick(&NAMES[..3]);
        if self.random.chance(25) {
            self.facts.clusters.remove(name);
            return (format!("delete cluster {name}"), self.index.set_cluster(&name.into(), None));
        }
        let mut cluster = json!({"metadata": {"name": name, "labels": self.labels()}});
        if self.random.chance(10) {
            cluster["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        let touched = self.index.set_cluster(&name.into(), Some(&cluster_header(&cluster)));
        let told = format!("put cluster {}", cluster["metadata"]);
        self.facts.clusters.insert(name.into(), cluster);
        (told, touched)
    }

    /// A kind comes, goes, or is watched in another version.
    fn change_definition(&mut self) -> (String, Touched) {
        let mut resource = self.random.pick(&RESOURCES[DEFINED..]).clone();
        let key = resource.group_resource();
        if self.random.chance(35) {
            self.facts.versions.remove(&(key.group.clone(), key.resource.clone()));
            return (format!("stop serving {key}"), self.index.remove_resource(&key));
        }
        resource.version = (*self.random.pick(&["v1", "v2"])).into();
        (format!("serve {key} {}", resource.version), self.serve(&resource))
    }

    /// What the hub does with what was touched, and with nothing else.
    fn reconcile(&mut self, touched: &Touched) -> Result<()> {
        for name in &touched.bindings {
            let resolution = self.index.resolution(name);
            let Some(policy) = self.policies.get_mut(name).filter(|policy| !policy.metadata.is_deleting()) else {
                // The garbage collector's part.
                self.bindings.remove(name);
                continue;
            };
            for pass in 0.. {
                let ops = plan(Some(policy), resolution.as_ref(), self.bindings.get(name));
                if ops.is_empty() {
                    break;
                }
                ensure!(pass == 0, "a plan that was carried out leaves {ops:?} to do");
                for op in &ops {
                    carry_out(op, policy, &mut self.bindings)?;
                }
            }
        }
        Ok(())
    }

    fn compare(&self) -> Result<()> {
        for name in NAMES {
            let expected = self.facts.resolve(name);
            let binding = self.bindings.get(&BindingName::from(name));
            let found = binding.map(resolved);
            ensure!(found == expected, "policy {name} resolves to\n  {found:?}, and by the rules to\n  {expected:?}");
            if let Some(binding) = binding {
                let owner = binding.metadata.owner_references.first().map(|owner| owner.uid.as_str());
                let uid = self.facts.policies[name]["metadata"]["uid"].as_str();
                ensure!(owner == uid, "Binding {name} is owned by {owner:?} and not by {uid:?}");
            }
        }
        Ok(())
    }

    /// A process that starts and reads everything in another order writes nothing.
    fn start_anew(&mut self) -> Result<()> {
        self.index = Index::default();
        let names: Vec<_> = self.policies.keys().cloned().collect();
        let mut touched = Touched::default();
        for name in &names {
            touched.merge(self.index.set_policy(name, self.policies.get(name)));
        }
        for (name, cluster) in &self.facts.clusters {
            touched.merge(self.index.set_cluster(&name.as_str().into(), Some(&cluster_header(cluster))));
        }
        for resource in RESOURCES {
            let key = resource.group_resource();
            let Some(version) = self.facts.versions.get(&(key.group.clone(), key.resource.clone())).cloned() else {
                continue;
            };
            touched.merge(self.serve(&Resource { version: version.into(), ..resource }));
        }
        for name in names.iter().filter(|name| !self.policies[*name].metadata.is_deleting()) {
            let ops = plan(self.policies.get(name), self.index.resolution(name).as_ref(), self.bindings.get(name));
            // A policy whose Binding is there, and nothing is new.
            ensure!(ops.is_empty(), "policy {name}: a start writes {ops:?}");
        }
        self.compare()
    }
}

fn carry_out(op: &Op, policy: &mut BindingPolicy, bindings: &mut BTreeMap<BindingName, Binding>) -> Result<()> {
    match op {
        Op::Create(binding) => {
            bindings.insert(BindingName::from(binding.metadata.name.as_str()), (**binding).clone());
        }
        Op::Update { binding, patch } => {
            let held = bindings.get_mut(binding).context("an update of a Binding that is not there")?;
            let mut object = Object::from_typed(held);
            machinery::patch::merge::apply(&mut object, patch)?;
            *held = serde_json::from_value(Value::Object(object.0))?;
        }
        Op::Delete { binding, .. } => {
            bindings.remove(binding);
        }
        Op::PolicyFinalizers { finalizers, .. } => policy.metadata.finalizers.clone_from(finalizers),
        Op::Confirmed { .. } => anyhow::bail!("no policy here has a budget: {op}"),
    }
    Ok(())
}

/// A Binding in the oracle's words.
fn resolved(binding: &Binding) -> Resolved {
    let objects = binding.spec.workload.iter().map(|reference| {
        let wanted = &reference.modulation;
        let handling = Handling {
            version: reference.version.clone(),
            create_only: wanted.create_only,
            singleton_status: wanted.want_singleton_reported_state,
            multi_status: wanted.want_multi_wec_reported_state,
            collectors: wanted.status_collectors.iter().cloned().collect(),
        };
        let name = reference.object_name();
        ((reference.group.clone(), reference.resource.clone(), name.namespace, name.name), handling)
    });
    let clusters: BTreeSet<String> = binding.spec.destinations.iter().map(|to| to.cluster_id.clone()).collect();
    Resolved { objects: objects.collect(), clusters }
}

fn is_of(place: &Place, resource: &GroupResource) -> bool {
    place.0 == resource.group && place.1 == resource.resource
}

fn name_of(place: &Place) -> ObjectName {
    ObjectName::namespaced(place.2.as_str(), place.3.as_str())
}

fn header(object: &Value) -> Arc<WorkloadHeader> {
    let object: PartialObject = serde_json::from_value(object.clone()).expect("it is an object");
    Arc::new(object.into())
}

fn cluster_header(object: &Value) -> ClusterHeader {
    let object: PartialObject = serde_json::from_value(object.clone()).expect("it is an object");
    object.into()
}
