//! Why a policy does or does not choose an object and a cluster, and the smallest change after which it would.
//!
//! The tests are those of [`Compiled`]: what is said here is what the index decides.

use super::clause::{Clause, Compiled, Criterion};
use super::object::{ClusterHeader, WorkloadHeader};
use api::control::BindingPolicy;
use api::{GroupResource, Labels};
use machinery::selector::{Requirement, Selector, Test};
use serde::Serialize;

/// What one policy says of one object.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Name of the policy.
    pub policy: String,
    /// Whether it selects the object.
    pub selected: bool,
    /// What keeps the policy from selecting anything, or this object by any clause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
    /// What each clause says, in the order of `spec.downsync`.
    pub clauses: Vec<ClauseVerdict>,
    /// What each cluster is to the policy.
    pub clusters: Vec<ClusterVerdict>,
    /// What is wrong in the policy itself, as in its status.
    pub problems: Vec<String>,
}

/// What one clause says of an object.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClauseVerdict {
    /// Its place in `spec.downsync`.
    pub clause: usize,
    /// The tests that the object does not pass; none if the clause accepts it.
    pub unmet: Vec<Unmet>,
}

/// What the cluster selectors say of a cluster.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterVerdict {
    /// Name of the cluster.
    pub cluster: String,
    /// Whether it is a destination.
    pub selected: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmet: Option<Unmet>,
}

/// A test that is not passed.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unmet {
    /// The field of the policy that says the test.
    pub field: String,
    /// What was looked at.
    pub value: String,
    /// What it would have to be.
    pub wanted: String,
    /// A change after which this test passes; none if no change of this kind does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

/// A change after which a test passes.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Labels to set, and to remove where there is no value.
    Label {
        /// Of what.
        target: Target,
        /// Keys, and values to be.
        edits: Vec<(String, Option<String>)>,
    },
    /// Another value in a list of the policy, or in its place.
    Policy {
        /// Which field.
        field: String,
        /// The value that it has to allow.
        allow: String,
    },
}

/// What is relabelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// The object.
    Object,
    /// The Namespace of the object.
    Namespace,
    /// The ManagedCluster.
    Cluster,
}

/// What a policy says of an object and of clusters. `namespace` are the labels of the object's Namespace, if it has one
/// that is there.
pub fn verdict(
    policy: &BindingPolicy,
    resource: &GroupResource,
    object: &WorkloadHeader,
    namespace: Option<&Labels>,
    clusters: &[ClusterHeader],
) -> Verdict {
    let compiled = Compiled::new(&policy.spec);
    let leaving = policy.metadata.is_deleting();
    let obstacle = if leaving {
        Some("the policy is being deleted".to_owned())
    } else if object.deleting {
        Some("the object is being deleted".to_owned())
    } else if policy.spec.downsync.is_empty() {
        Some("spec.downsync has no clause: the policy selects no object".to_owned())
    } else {
        None
    };
    let clauses = compiled.clauses.iter().enumerate().map(|(at, clause)| ClauseVerdict {
        clause: at,
        unmet: clause
            .unmet(resource, object, namespace)
            .map(|criterion| unmet(clause, at, criterion, resource, object, namespace))
            .collect(),
    });
    Verdict {
        policy: policy.metadata.name.clone(),
        selected: !leaving && compiled.select(resource, object, namespace).is_some(),
        obstacle,
        clauses: clauses.collect(),
        clusters: clusters.iter().map(|cluster| of_cluster(&compiled, cluster, leaving)).collect(),
        problems: compiled.problems.clone(),
    }
}

fn of_cluster(compiled: &Compiled, cluster: &ClusterHeader, leaving: bool) -> ClusterVerdict {
    let selected = !leaving && !cluster.deleting && compiled.selects_cluster(&cluster.labels);
    let value = || if cluster.deleting { "a deletion under way".to_owned() } else { shown(&cluster.labels) };
    let unmet = (!selected && !leaving).then(|| Unmet {
        field: "spec.clusterSelectors".into(),
        value: value(),
        wanted: if cluster.deleting { "a cluster that stays".into() } else { wanted(&compiled.clusters) },
        change: relabel(&compiled.clusters, &cluster.labels, Target::Cluster).filter(|_| !cluster.deleting),
    });
    ClusterVerdict { cluster: cluster.name.clone(), selected, unmet }
}

fn unmet(
    clause: &Clause,
    at: usize,
    criterion: Criterion,
    resource: &GroupResource,
    object: &WorkloadHeader,
    namespace: Option<&Labels>,
) -> Unmet {
    let names = |names: &Option<_>| names.iter().flatten().map(quoted).collect::<Vec<_>>().join(" or ");
    let (field, value, wants) = match criterion {
        Criterion::Group => ("apiGroup", &resource.group, clause.group.as_deref().map(quoted).unwrap_or_default()),
        Criterion::Resource => ("resources", &resource.resource, names(&clause.resources)),
        Criterion::Namespace => ("namespaces", &object.name.namespace, names(&clause.namespaces)),
        Criterion::Name => ("objectNames", &object.name.name, names(&clause.names)),
        Criterion::ObjectLabels | Criterion::NamespaceLabels => {
            let of_object = criterion == Criterion::ObjectLabels;
            let field = if of_object { "objectSelectors" } else { "namespaceSelectors" };
            let (labels, target) = match namespace {
                _ if of_object => (Some(&object.labels), Target::Object),
                labels => (labels, Target::Namespace),
            };
            let absent = match object.name.namespace.as_str() {
                "" => "the object is cluster-scoped: it has no namespace".to_owned(),
                name => format!("there is no Namespace {name}"),
            };
            let selectors = clause.selectors_of(criterion);
            return Unmet {
                field: format!("spec.downsync[{at}].{field}"),
                value: labels.map_or(absent, shown),
                wanted: wanted(selectors),
                change: labels.and_then(|labels| relabel(selectors, labels, target)),
            };
        }
    };
    let field = format!("spec.downsync[{at}].{field}");
    let change = Some(Change::Policy { field: field.clone(), allow: value.clone() });
    Unmet { field, value: quoted(value), wanted: wants, change }
}

/// The fewest labels to change so that one of the selectors matches.
fn relabel(selectors: &[Selector], labels: &Labels, target: Target) -> Option<Change> {
    let edits = selectors.iter().filter_map(|selector| edits(selector, labels));
    edits.min_by_key(Vec::len).map(|edits| Change::Label { target, edits })
}

/// What to change so that a selector matches; nothing if its requirements exclude each other.
fn edits(selector: &Selector, labels: &Labels) -> Option<Vec<(String, Option<String>)>> {
    let mut after = labels.clone();
    let mut edits = Vec::new();
    // Several requirements can be about one key: of the values that one of them names, one that passes all is taken.
    for key in selector.requirements().iter().map(|required| &required.key) {
        let about: Vec<&Requirement> = selector.requirements().iter().filter(|other| other.key == *key).collect();
        let passes = |value: Option<&str>| about.iter().all(|required| required.test.holds(value));
        if passes(after.get(key).map(String::as_str)) {
            continue;
        }
        let named = about.iter().flat_map(|required| match &required.test {
            Test::Equals(value) => std::slice::from_ref(value),
            Test::In(values) => values,
            _ => &[],
        });
        let mut values = named.map(|value| Some(value.as_str())).chain([None, Some(""), Some("true")]);
        let value = values.find(|value| passes(*value))?.map(str::to_owned);
        match &value {
            Some(value) => after.insert(key.clone(), value.clone()),
            None => after.remove(key),
        };
        edits.push((key.clone(), value));
    }
    Some(edits)
}

fn wanted(selectors: &[Selector]) -> String {
    if selectors.is_empty() {
        return "anything: no selector here can be used".into();
    }
    let each = selectors.iter().map(|selector| format!("`{selector}`"));
    each.collect::<Vec<_>>().join(" or ")
}

fn shown(labels: &Labels) -> String {
    if labels.is_empty() {
        return "no labels".into();
    }
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn quoted(text: impl AsRef<str>) -> String {
    format!("`{}`", text.as_ref())
}

impl Change {
    /// As a command or an instruction. `object` and `namespace` are the arguments by which kubectl finds the object and
    /// its namespace (`deployments.apps/web -n shop`, `shop`), `cluster` is the name of the cluster.
    pub fn instruction(&self, policy: &str, object: &str, namespace: &str, cluster: &str) -> String {
        match self {
            Self::Label { target, edits } => {
                let what = match target {
                    Target::Object => object.to_owned(),
                    Target::Namespace => format!("namespace/{namespace}"),
                    Target::Cluster => format!("managedcluster/{cluster}"),
                };
                let edit = |(key, value): &(String, Option<String>)| match value {
                    Some(value) => format!(" {key}={value}"),
                    None => format!(" {key}-"),
                };
                let edits: String = edits.iter().map(edit).collect();
                format!("kubectl label {what} --overwrite{edits}")
            }
            Self::Policy { field, allow } => format!("let {field} of bindingpolicy/{policy} allow `{allow}`"),
        }
    }
}

impl Verdict {
    /// What is to be done for the policy to select the object: the changes of the clause that needs fewest of them.
    pub fn changes(&self) -> Vec<&Change> {
        if self.selected || self.obstacle.is_some() {
            return Vec::new();
        }
        let possible = self
            .clauses
            .iter()
            .filter_map(|clause| clause.unmet.iter().map(|unmet| unmet.change.as_ref()).collect::<Option<Vec<_>>>());
        possible
            .min_by_key(|changes| {
                (changes.iter().filter(|c| matches!(c, Change::Policy { .. })).count(), changes.len())
            })
            .unwrap_or_default()
    }
}
