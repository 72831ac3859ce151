//! A policy's selectors, read once: what a clause accepts, and the cheapest question that finds what it may accept.

use super::object::WorkloadHeader;
use api::control::{BindingPolicySpec, DownsyncClause, Modulation};
use api::{GroupResource, LabelSelector, Labels};
use machinery::selector::{Selector, check_selector};
use std::collections::BTreeSet;

/// What stands for everything in a list of names.
const ANY: &str = "*";

/// A question that every object which a clause accepts answers with yes. A clause is filed under one kind of probe, so
/// that an object finds the clauses that may accept it by its own labels, name, namespace and resource.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Probe {
    Label(String, String),
    Name(String),
    Namespace(String),
    Resource(String),
    Group(String),
    Everything,
}

/// A policy as the index evaluates it.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Compiled {
    pub clauses: Vec<Clause>,
    pub clusters: Vec<Selector>,
    /// What is wrong in the policy itself.
    pub problems: Vec<String>,
    /// What is right, and probably not meant so.
    pub remarks: Vec<String>,
}

impl Compiled {
    /// Reads a policy. What is wrong in it selects nothing and is told.
    pub(super) fn new(spec: &BindingPolicySpec) -> Self {
        let mut problems = Vec::new();
        let clusters = selectors(&spec.cluster_selectors, "spec.clusterSelectors", &mut problems);
        let clauses = spec.downsync.iter().enumerate();
        let clauses = clauses.map(|(at, clause)| Clause::new(clause, at, &mut problems)).collect();
        let remarks = spec.downsync.iter().enumerate().flat_map(|(at, clause)| remarks(clause, at)).collect();
        Self { clauses, clusters, problems, remarks }
    }

    /// How the policy wants this object handled, or nothing if it does not select it. `namespace` are the labels of the
    /// object's Namespace, if it has one that is there.
    pub(super) fn select(
        &self,
        resource: &GroupResource,
        object: &WorkloadHeader,
        namespace: Option<&Labels>,
    ) -> Option<Modulation> {
        if object.deleting {
            return None;
        }
        let mut merged: Option<Modulation> = None;
        for clause in self.clauses.iter().filter(|clause| clause.accepts(resource, object, namespace)) {
            merged.get_or_insert_default().merge(&clause.modulation);
        }
        merged
    }

    /// Whether the policy asks for the labels of namespaces.
    pub(super) fn looks_at_namespaces(&self) -> bool {
        self.clauses.iter().any(|clause| clause.namespace_selectors.is_some())
    }

    /// Whether a cluster with these labels is a destination.
    pub(super) fn selects_cluster(&self, labels: &Labels) -> bool {
        self.clusters.iter().any(|selector| selector.matches(labels))
    }
}

/// One test of a clause, named by the field of a `DownsyncClause` that says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Criterion {
    Group,
    Resource,
    Namespace,
    Name,
    ObjectLabels,
    NamespaceLabels,
}

/// The tests of a clause, cheapest first; an object has to pass all.
const CRITERIA: [Criterion; 6] = [
    Criterion::Group,
    Criterion::Resource,
    Criterion::Namespace,
    Criterion::Name,
    Criterion::ObjectLabels,
    Criterion::NamespaceLabels,
];

/// One clause of a policy. `None` is no test.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Clause {
    pub group: Option<String>,
    pub resources: Option<BTreeSet<String>>,
    pub namespaces: Option<BTreeSet<String>>,
    pub names: Option<BTreeSet<String>>,
    object_selectors: Option<Vec<Selector>>,
    namespace_selectors: Option<Vec<Selector>>,
    probes: Vec<Probe>,
    modulation: Modulation,
}

impl Clause {
    fn new(clause: &DownsyncClause, at: usize, problems: &mut Vec<String>) -> Self {
        let field = |name: &str| format!("spec.downsync[{at}].{name}");
        let object_selectors = (!clause.object_selectors.is_empty())
            .then(|| selectors(&clause.object_selectors, &field("objectSelectors"), problems));
        // An empty selector accepts cluster-scoped objects too, which have no namespace to select.
        let namespace_selectors = clause.namespace_selectors.iter().all(|s| *s != LabelSelector::default())
            && !clause.namespace_selectors.is_empty();
        let namespace_selectors =
            namespace_selectors.then(|| selectors(&clause.namespace_selectors, &field("namespaceSelectors"), problems));
        let mut compiled = Self {
            group: clause.api_group.clone(),
            resources: names(&clause.resources),
            namespaces: names(&clause.namespaces),
            names: names(&clause.object_names),
            object_selectors,
            namespace_selectors,
            probes: Vec::new(),
            modulation: clause.modulation.clone(),
        };
        compiled.probes = compiled.choose_probes(&clause.object_selectors);
        compiled
    }

    /// The questions to file this clause under: an object that it accepts says yes to at least one of them.
    pub(super) fn probes(&self) -> &[Probe] {
        &self.probes
    }

    fn choose_probes(&self, object_selectors: &[LabelSelector]) -> Vec<Probe> {
        if self.object_selectors.is_some() {
            let valid = object_selectors.iter().filter(|selector| check_selector(selector, "").is_empty());
            if let Some(labels) = valid.map(label_probes).collect::<Option<Vec<_>>>() {
                return labels.concat();
            }
        }
        let each = |names: &BTreeSet<String>, probe: fn(String) -> Probe| names.iter().cloned().map(probe).collect();
        match (&self.names, &self.namespaces, &self.resources, &self.group) {
            (Some(names), ..) => each(names, Probe::Name),
            (_, Some(namespaces), ..) => each(namespaces, Probe::Namespace),
            (_, _, Some(resources), _) => each(resources, Probe::Resource),
            (.., Some(group)) => vec![Probe::Group(group.clone())],
            _ => vec![Probe::Everything],
        }
    }

    fn accepts(&self, resource: &GroupResource, object: &WorkloadHeader, namespace: Option<&Labels>) -> bool {
        CRITERIA.iter().all(|criterion| self.meets(*criterion, resource, object, namespace))
    }

    /// The tests that keep this clause from accepting an object; it accepts the object when there are none.
    pub(super) fn unmet(
        &self,
        resource: &GroupResource,
        object: &WorkloadHeader,
        namespace: Option<&Labels>,
    ) -> impl Iterator<Item = Criterion> {
        CRITERIA.into_iter().filter(move |criterion| !self.meets(*criterion, resource, object, namespace))
    }

    /// Whether an object passes one test. Matching and explaining both ask here, so they cannot disagree.
    fn meets(
        &self,
        criterion: Criterion,
        resource: &GroupResource,
        object: &WorkloadHeader,
        namespace: Option<&Labels>,
    ) -> bool {
        fn among(names: &Option<BTreeSet<String>>, name: &str) -> bool {
            names.as_ref().is_none_or(|names| names.contains(name))
        }
        fn any(selectors: &Option<Vec<Selector>>, labels: Option<&Labels>) -> bool {
            selectors.as_ref().is_none_or(|any| labels.is_some_and(|labels| any.iter().any(|s| s.matches(labels))))
        }
        match criterion {
            Criterion::Group => self.accepts_group(&resource.group),
            Criterion::Resource => self.accepts_plural(&resource.resource),
            Criterion::Namespace => among(&self.namespaces, &object.name.namespace),
            Criterion::Name => among(&self.names, &object.name.name),
            Criterion::ObjectLabels => any(&self.object_selectors, Some(&object.labels)),
            Criterion::NamespaceLabels => any(&self.namespace_selectors, namespace),
        }
    }

    /// The selectors that a test of labels uses; of those in the policy, the ones that can be read.
    pub(super) fn selectors_of(&self, criterion: Criterion) -> &[Selector] {
        let selectors = match criterion {
            Criterion::ObjectLabels => &self.object_selectors,
            Criterion::NamespaceLabels => &self.namespace_selectors,
            _ => &None,
        };
        selectors.as_deref().unwrap_or_default()
    }

    /// Whether objects of this resource can be accepted.
    pub(super) fn accepts_resource(&self, resource: &GroupResource) -> bool {
        self.accepts_group(&resource.group) && self.accepts_plural(&resource.resource)
    }

    fn accepts_group(&self, group: &str) -> bool {
        self.group.as_ref().is_none_or(|wanted| wanted == group)
    }

    fn accepts_plural(&self, plural: &str) -> bool {
        self.resources.as_ref().is_none_or(|wanted| wanted.contains(plural))
    }
}

/// What a clause does that its author may not expect: it selects everything, or names beside `*` mean nothing.
fn remarks(clause: &DownsyncClause, at: usize) -> Vec<String> {
    let lists =
        [("resources", &clause.resources), ("namespaces", &clause.namespaces), ("objectNames", &clause.object_names)];
    let mixed = lists.iter().filter(|(_, list)| list.len() > 1 && list.iter().any(|name| name == ANY));
    let mixed = mixed.map(|(field, _)| {
        format!(
            "spec.downsync[{at}].{field} has `*` beside names: it stands for everything, and the names change nothing"
        )
    });
    let mut told: Vec<String> = mixed.collect();
    let anything = |selectors: &[LabelSelector]| {
        selectors.is_empty() || selectors.iter().any(|selector| *selector == LabelSelector::default())
    };
    let everything = clause.api_group.is_none()
        && lists.iter().all(|(_, list)| names(list).is_none())
        && anything(&clause.object_selectors)
        && anything(&clause.namespace_selectors);
    if everything {
        told.push(format!(
            "spec.downsync[{at}] selects every object of this space: none of its fields excludes any; if that is not \
             meant, name resources, namespaces or labels"
        ));
    }
    told
}

/// Every probe to which an object says yes.
pub(super) fn probes_of(resource: &GroupResource, object: &WorkloadHeader) -> impl Iterator<Item = Probe> {
    let labels = object.labels.iter().map(|(key, value)| Probe::Label(key.clone(), value.clone()));
    labels.chain([
        Probe::Name(object.name.name.clone()),
        Probe::Namespace(object.name.namespace.clone()),
        Probe::Resource(resource.resource.clone()),
        Probe::Group(resource.group.clone()),
        Probe::Everything,
    ])
}

/// The names in a list, or nothing if the list is no test.
fn names(list: &[String]) -> Option<BTreeSet<String>> {
    (!list.is_empty() && list.iter().all(|name| name != ANY)).then(|| list.iter().cloned().collect())
}

/// Labels of which an object must have at least one for `selector` to match it, or nothing if there are none.
fn label_probes(selector: &LabelSelector) -> Option<Vec<Probe>> {
    if let Some((key, value)) = selector.match_labels.iter().next() {
        return Some(vec![Probe::Label(key.clone(), value.clone())]);
    }
    let one_of = selector.match_expressions.iter().find(|requirement| requirement.operator == "In")?;
    Some(one_of.values.iter().map(|value| Probe::Label(one_of.key.clone(), value.clone())).collect())
}

/// The selectors that can be read; the others match nothing, and are told.
fn selectors(list: &[LabelSelector], field: &str, problems: &mut Vec<String>) -> Vec<Selector> {
    let mut read = Vec::new();
    for (at, selector) in list.iter().enumerate() {
        match Selector::compile(selector, &format!("{field}[{at}]")) {
            Ok(selector) => read.push(selector),
            Err(causes) => {
                let causes: Vec<_> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
                problems.push(format!("A label selector that cannot be used selects nothing: {}", causes.join("; ")));
            }
        }
    }
    read
}
