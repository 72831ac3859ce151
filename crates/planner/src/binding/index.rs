//! Answers which policies select which objects and clusters, kept up to date change by change.
//!
//! A change costs what it touches: an object asks only the policies that are filed under one of its own labels, names
//! and so on, and a policy asks only the objects that have what it is filed under.

mod demand;

use super::clause::{Compiled, Probe, probes_of};
use super::object::{ClusterHeader, ObjectId, WorkloadHeader};
use super::plan::{Resolution, Selected};
use api::control::{BindingPolicy, Modulation};
use api::{BindingName, ClusterName, GroupResource, GroupVersionKind, Labels, ObjectName, Resource};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// What a change may have altered, and has to be looked at again.
#[derive(Debug, Default, PartialEq)]
pub struct Touched {
    /// Bindings whose content may be another.
    pub bindings: BTreeSet<BindingName>,
    /// Objects for which other clusters or another kind of status return may be asked.
    pub objects: BTreeSet<Arc<ObjectId>>,
}

impl Touched {
    /// Adds what another change touched.
    pub fn merge(&mut self, other: Self) {
        self.bindings.extend(other.bindings);
        self.objects.extend(other.objects);
    }
}

/// What one policy asks for an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'a> {
    /// The policy.
    pub policy: &'a BindingName,
    /// How the object is handled.
    pub modulation: &'a Modulation,
    /// Where it goes.
    pub destinations: &'a BTreeSet<ClusterName>,
}

/// The state of asked -> resolved in one WDS.
#[derive(Default)]
pub struct Index {
    resources: BTreeMap<Arc<GroupResource>, Tracked>,
    by_label: HashMap<(String, String), HashSet<Arc<ObjectId>>>,
    policies: BTreeMap<BindingName, Policy>,
    filed: HashMap<Probe, BTreeSet<BindingName>>,
    clusters: BTreeMap<ClusterName, Labels>,
    /// Counts changes of what is asked for.
    turns: u64,
    /// The turn at which a cluster was last asked for, or last no longer, by some policy.
    cluster_turns: HashMap<ClusterName, u64>,
}

/// The objects of one resource.
struct Tracked {
    resource: Resource,
    /// Whether the first list was seen, so that an absent object is known to be absent.
    complete: bool,
    objects: BTreeMap<ObjectName, Entry>,
}

struct Entry {
    id: Arc<ObjectId>,
    header: Arc<WorkloadHeader>,
    /// The resourceVersion at which the content of now was first seen.
    content_version: String,
    selected_by: BTreeSet<BindingName>,
    /// The turn at which `selected_by` last changed.
    turn: u64,
}

struct Policy {
    uid: String,
    generation: i64,
    spec: Compiled,
    objects: BTreeMap<Arc<ObjectId>, Modulation>,
    destinations: BTreeSet<ClusterName>,
}

impl Index {
    /// Starts to know a resource, or knows it at another version. Its objects are not complete before
    /// [`Index::complete_resource`].
    pub fn set_resource(&mut self, resource: Resource) -> Touched {
        let key = Arc::new(resource.group_resource());
        if let Some(tracked) = self.resources.get_mut(&key) {
            let changed = tracked.resource != resource;
            tracked.resource = resource;
            let entries = tracked.objects.values().filter(|_| changed);
            let bindings = entries.flat_map(|entry| entry.selected_by.iter().cloned()).collect();
            return Touched { bindings, objects: BTreeSet::new() };
        }
        self.resources.insert(key, Tracked { resource, complete: false, objects: BTreeMap::new() });
        Touched::default()
    }

    /// Every object of the resource that there was at the start is known now.
    pub fn complete_resource(&mut self, resource: &GroupResource) -> Touched {
        let Some(tracked) = self.resources.get_mut(resource).filter(|tracked| !tracked.complete) else {
            return Touched::default();
        };
        tracked.complete = true;
        // A Binding may hold objects of it that are gone; only looking tells.
        let policies = self.policies.iter();
        let policies = policies.filter(|(_, p)| p.spec.clauses.iter().any(|clause| clause.accepts_resource(resource)));
        Touched { bindings: policies.map(|(name, _)| name.clone()).collect(), objects: BTreeSet::new() }
    }

    /// Forgets a resource, and with it its objects.
    pub fn remove_resource(&mut self, resource: &GroupResource) -> Touched {
        let names = self.resources.get(resource).map(|tracked| tracked.objects.keys().cloned().collect::<Vec<_>>());
        let mut touched = Touched::default();
        for name in names.unwrap_or_default() {
            touched.merge(self.set_object(resource, &name, None));
        }
        self.resources.remove(resource);
        touched
    }

    /// An object is there, or no longer. Objects of resources that the index does not know are not looked at.
    pub fn set_object(
        &mut self,
        resource: &GroupResource,
        name: &ObjectName,
        header: Option<Arc<WorkloadHeader>>,
    ) -> Touched {
        let mut touched = Touched::default();
        let Some((key, tracked)) = self.resources.get_key_value(resource) else { return touched };
        let (key, held) = (key.clone(), tracked.objects.get(name));
        if held.map(|entry| &entry.header) == header.as_ref() {
            return touched;
        }
        let id =
            held.map_or_else(|| Arc::new(ObjectId { resource: key.clone(), name: name.clone() }), |e| e.id.clone());
        let before = held.map(|entry| entry.header.clone());
        self.file_object(&id, before.as_deref(), header.as_deref());

        let tracked = self.resources.get_mut(resource).expect("found above");
        let mut candidates = BTreeSet::new();
        match &header {
            Some(header) => {
                let filed = probes_of(&key, header).filter_map(|probe| self.filed.get(&probe));
                candidates.extend(filed.flatten().cloned());
                let entry = tracked.objects.entry(name.clone()).or_insert_with(|| Entry {
                    id: id.clone(),
                    header: header.clone(),
                    content_version: header.resource_version.clone(),
                    selected_by: BTreeSet::new(),
                    turn: 0,
                });
                if entry.header.content != header.content {
                    entry.content_version.clone_from(&header.resource_version);
                    touched.bindings.extend(entry.selected_by.iter().cloned());
                }
                entry.header = header.clone();
                candidates.extend(entry.selected_by.iter().cloned());
            }
            None => {
                let entry = tracked.objects.remove(name).expect("an object that was never known is not removed");
                for policy in entry.selected_by {
                    let policy_state = self.policies.get_mut(&policy).expect("objects are selected by known policies");
                    policy_state.objects.remove(&id);
                    touched.bindings.insert(policy);
                }
            }
        }
        for policy in candidates {
            self.reselect(&policy, &id, &mut touched);
        }
        if is_namespaces(resource) && before.as_ref().map(|h| &h.labels) != header.as_ref().map(|h| &h.labels) {
            self.reselect_namespace(&name.name, &mut touched);
        }
        touched
    }

    /// A policy is there, or no longer. One that is being deleted is no longer there.
    pub fn set_policy(&mut self, name: &BindingName, policy: Option<&BindingPolicy>) -> Touched {
        let policy = policy.filter(|policy| !policy.metadata.is_deleting());
        let mut touched = Touched::default();
        let spec = policy.map(|policy| Compiled::new(&policy.spec));
        if let (Some(held), Some(policy)) = (self.policies.get_mut(name), policy) {
            if held.uid != policy.metadata.uid {
                held.uid.clone_from(&policy.metadata.uid);
                touched.bindings.insert(name.clone());
            }
            held.generation = policy.metadata.generation;
            if Some(&held.spec) == spec.as_ref() {
                return touched;
            }
        }
        let old = self.policies.remove(name);
        if old.is_none() && policy.is_none() {
            return touched;
        }
        touched.bindings.insert(name.clone());
        let (old_objects, old_destinations) = old.map_or_else(Default::default, |old| {
            self.unfile_policy(name, &old.spec);
            (old.objects, old.destinations)
        });
        let turn = self.next_turn();
        let (Some(policy), Some(spec)) = (policy, spec) else {
            for id in old_objects.into_keys() {
                let entry = self.entry_mut(&id);
                entry.selected_by.remove(name);
                entry.turn = turn;
                touched.objects.insert(id);
            }
            return touched;
        };
        for probe in spec.clauses.iter().flat_map(|clause| clause.probes()) {
            self.filed.entry(probe.clone()).or_default().insert(name.clone());
        }
        let mut candidates = self.candidates(&spec);
        candidates.extend(old_objects.keys().cloned());
        let clusters = self.clusters.iter().filter(|(_, labels)| spec.selects_cluster(labels));
        let destinations: BTreeSet<ClusterName> = clusters.map(|(cluster, _)| cluster.clone()).collect();
        let moved = destinations.symmetric_difference(&old_destinations);
        self.cluster_turns.extend(moved.map(|cluster| (cluster.clone(), turn)));
        touched.objects.extend(candidates.iter().cloned());
        let (uid, generation) = (policy.metadata.uid.clone(), policy.metadata.generation);
        let state = Policy { uid, generation, spec, objects: old_objects, destinations };
        self.policies.insert(name.clone(), state);
        for id in candidates {
            self.reselect(name, &id, &mut touched);
        }
        touched
    }

    /// A cluster is in the inventory, or no longer.
    pub fn set_cluster(&mut self, name: &ClusterName, cluster: Option<&ClusterHeader>) -> Touched {
        let mut touched = Touched::default();
        let labels = cluster.filter(|cluster| !cluster.deleting).map(|cluster| &cluster.labels);
        match labels {
            Some(labels) => self.clusters.insert(name.clone(), labels.clone()),
            None => self.clusters.remove(name),
        };
        let turn = self.next_turn();
        for (policy, state) in &mut self.policies {
            let changed = if labels.is_some_and(|labels| state.spec.selects_cluster(labels)) {
                state.destinations.insert(name.clone())
            } else {
                state.destinations.remove(name)
            };
            if changed {
                self.cluster_turns.insert(name.clone(), turn);
                touched.bindings.insert(policy.clone());
                touched.objects.extend(state.objects.keys().cloned());
            }
        }
        touched
    }

    /// What a policy resolves to, or nothing if there is no such policy.
    pub fn resolution(&self, name: &BindingName) -> Option<Resolution> {
        let policy = self.policies.get(name)?;
        let objects = policy.objects.iter().map(|(id, modulation)| {
            let tracked = &self.resources[&id.resource];
            let entry = &tracked.objects[&id.name];
            Selected {
                id: id.clone(),
                version: tracked.resource.version.to_string(),
                content: entry.header.content,
                content_version: entry.content_version.clone(),
                modulation: modulation.clone(),
            }
        });
        let incomplete = self.resources.iter().filter(|(_, tracked)| !tracked.complete);
        Some(Resolution::new(
            policy.uid.clone(),
            objects.collect(),
            policy.destinations.clone(),
            policy.spec.problems.clone(),
            incomplete.map(|(resource, _)| (**resource).clone()).collect(),
        ))
    }

    /// What is wrong in a policy, in sentences for the user.
    pub fn problems(&self, name: &BindingName) -> &[String] {
        self.policies.get(name).map_or(&[], |policy| &policy.spec.problems)
    }

    /// What in a policy is right and probably not meant so, in sentences for the user.
    pub fn remarks(&self, name: &BindingName) -> &[String] {
        self.policies.get(name).map_or(&[], |policy| &policy.spec.remarks)
    }

    /// What every policy that selects the object asks for it.
    pub fn requests(&self, id: &ObjectId) -> Vec<Request<'_>> {
        let Some(entry) = self.entry(id) else { return Vec::new() };
        let policies = entry.selected_by.iter().map(|name| {
            let (policy, state) = self.policies.get_key_value(name).expect("objects are selected by known policies");
            Request { policy, modulation: &state.objects[id], destinations: &state.destinations }
        });
        policies.collect()
    }

    /// The objects that a policy selects.
    pub fn objects_of(&self, policy: &BindingName) -> impl Iterator<Item = (&Arc<ObjectId>, &Modulation)> {
        self.policies.get(policy).into_iter().flat_map(|policy| &policy.objects)
    }

    /// Every policy that is there.
    pub fn policies(&self) -> impl Iterator<Item = &BindingName> {
        self.policies.keys()
    }

    /// The object, if it is there.
    pub fn header(&self, id: &ObjectId) -> Option<&Arc<WorkloadHeader>> {
        self.entry(id).map(|entry| &entry.header)
    }

    /// How the objects of a resource are reached.
    pub fn resource(&self, resource: &GroupResource) -> Option<&Resource> {
        self.resources.get(resource).map(|tracked| &tracked.resource)
    }

    /// The kind of the objects of a resource.
    pub fn kind(&self, resource: &GroupResource) -> Option<GroupVersionKind> {
        self.resource(resource).map(Resource::group_version_kind)
    }

    /// The objects of a resource.
    pub fn names(&self, resource: &GroupResource) -> Vec<ObjectName> {
        self.resources.get(resource).into_iter().flat_map(|tracked| tracked.objects.keys().cloned()).collect()
    }

    /// The key under which an object is known, for sets that share it.
    pub fn id(&self, resource: &GroupResource, name: &ObjectName) -> Option<Arc<ObjectId>> {
        self.resources.get(resource)?.objects.get(name).map(|entry| entry.id.clone())
    }

    const fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn entry(&self, id: &ObjectId) -> Option<&Entry> {
        self.resources.get(&id.resource)?.objects.get(&id.name)
    }

    fn entry_mut(&mut self, id: &ObjectId) -> &mut Entry {
        let tracked = self.resources.get_mut(&id.resource).expect("selected objects are of known resources");
        tracked.objects.get_mut(&id.name).expect("selected objects are known")
    }

    /// Asks one policy about one object that is there.
    fn reselect(&mut self, policy: &BindingName, id: &Arc<ObjectId>, touched: &mut Touched) {
        let Some(entry) = self.entry(id) else { return };
        let namespace = self.namespace_labels(&id.name.namespace);
        let state = self.policies.get(policy).expect("only known policies are asked");
        let wanted = state.spec.select(&id.resource, &entry.header, namespace);
        let state = self.policies.get_mut(policy).expect("found above");
        let changed = match &wanted {
            Some(modulation) => state.objects.insert(id.clone(), modulation.clone()).as_ref() != Some(modulation),
            None => state.objects.remove(id).is_some(),
        };
        if !changed {
            return;
        }
        let turn = self.next_turn();
        let entry = self.entry_mut(id);
        entry.turn = turn;
        match wanted {
            Some(_) => entry.selected_by.insert(policy.clone()),
            None => entry.selected_by.remove(policy),
        };
        touched.bindings.insert(policy.clone());
        touched.objects.insert(id.clone());
    }

    /// Asks the policies that look at namespaces about all objects in one.
    fn reselect_namespace(&mut self, namespace: &str, touched: &mut Touched) {
        let policies = self.policies.iter().filter(|(_, state)| state.spec.looks_at_namespaces());
        let policies: Vec<_> = policies.map(|(name, _)| name.clone()).collect();
        if policies.is_empty() {
            return;
        }
        let inside: Vec<_> = self.resources.values().flat_map(|tracked| within(tracked, namespace)).cloned().collect();
        for id in inside {
            for policy in &policies {
                self.reselect(policy, &id, touched);
            }
        }
    }

    fn namespace_labels(&self, namespace: &str) -> Option<&Labels> {
        if namespace.is_empty() {
            return None;
        }
        let namespaces = self.resources.get(&namespaces_resource())?;
        Some(&namespaces.objects.get(&ObjectName::cluster(namespace))?.header.labels)
    }

    /// The objects that have what one of the policy's clauses is filed under.
    fn candidates(&self, spec: &Compiled) -> BTreeSet<Arc<ObjectId>> {
        let mut found = BTreeSet::new();
        for clause in &spec.clauses {
            if clause.probes().iter().all(|probe| matches!(probe, Probe::Label(..))) {
                for probe in clause.probes() {
                    if let Probe::Label(key, value) = probe {
                        found.extend(self.by_label.get(&(key.clone(), value.clone())).into_iter().flatten().cloned());
                    }
                }
                continue;
            }
            for (_, tracked) in self.resources.iter().filter(|(resource, _)| clause.accepts_resource(resource)) {
                match &clause.namespaces {
                    Some(namespaces) => found.extend(namespaces.iter().flat_map(|ns| within(tracked, ns)).cloned()),
                    None => found.extend(tracked.objects.values().map(|entry| entry.id.clone())),
                }
            }
        }
        if spec.clauses.iter().any(|clause| clause.names.is_some()) {
            let named = |id: &Arc<ObjectId>| {
                let clauses = spec.clauses.iter();
                clauses.clone().any(|clause| clause.names.as_ref().is_none_or(|names| names.contains(&id.name.name)))
            };
            found.retain(named);
        }
        found
    }

    fn file_object(&mut self, id: &Arc<ObjectId>, before: Option<&WorkloadHeader>, after: Option<&WorkloadHeader>) {
        let none = Labels::new();
        let (before, after) = (before.map_or(&none, |h| &h.labels), after.map_or(&none, |h| &h.labels));
        for (key, value) in before.iter().filter(|(key, value)| after.get(*key) != Some(value)) {
            let filed = (key.clone(), value.clone());
            if let Some(ids) = self.by_label.get_mut(&filed) {
                ids.remove(id);
                if ids.is_empty() {
                    self.by_label.remove(&filed);
                }
            }
        }
        for (key, value) in after.iter().filter(|(key, value)| before.get(*key) != Some(value)) {
            self.by_label.entry((key.clone(), value.clone())).or_default().insert(id.clone());
        }
    }

    fn unfile_policy(&mut self, name: &BindingName, spec: &Compiled) {
        for probe in spec.clauses.iter().flat_map(|clause| clause.probes()) {
            if let Some(names) = self.filed.get_mut(probe) {
                names.remove(name);
                if names.is_empty() {
                    self.filed.remove(probe);
                }
            }
        }
    }
}

/// The objects of a resource in one namespace; for `""` the cluster-scoped ones.
fn within<'a>(tracked: &'a Tracked, namespace: &'a str) -> impl Iterator<Item = &'a Arc<ObjectId>> {
    let from = tracked.objects.range(ObjectName::namespaced(namespace, "")..);
    from.take_while(move |(name, _)| name.namespace == namespace).map(|(_, entry)| &entry.id)
}

fn namespaces_resource() -> GroupResource {
    GroupResource { group: String::new(), resource: "namespaces".into() }
}

fn is_namespaces(resource: &GroupResource) -> bool {
    resource.group.is_empty() && resource.resource == "namespaces"
}
