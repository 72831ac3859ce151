//! What goes where, by the rules of BindingPolicy read one by one over everything that there is: no index, nothing that
//! is kept, and nothing of the planner's or of `machinery`. It knows objects as JSON.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// An object's place: group, plural, namespace (`""` if it is cluster-scoped) and name.
pub type Place = (String, String, String, String);

/// Everything that rules look at, as it is in the spaces.
#[derive(Clone, Default, Debug)]
pub struct Facts {
    /// Served resources, and the version in which each is watched.
    pub versions: BTreeMap<(String, String), String>,
    /// Objects of all resources. Those whose resource is not served are not seen.
    pub objects: BTreeMap<Place, Value>,
    /// BindingPolicies by name.
    pub policies: BTreeMap<String, Value>,
    /// ManagedClusters by name.
    pub clusters: BTreeMap<String, Value>,
}

/// How a policy asks for an object to be handled.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Handling {
    pub version: String,
    pub create_only: bool,
    pub singleton_status: bool,
    pub multi_status: bool,
    pub collectors: BTreeSet<String>,
}

/// What a policy resolves to.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// The objects that it selects.
    pub objects: BTreeMap<Place, Handling>,
    /// The clusters that it selects.
    pub clusters: BTreeSet<String>,
}

impl Facts {
    /// What a policy resolves to, or nothing if there is no such policy, or it is on its way out.
    pub fn resolve(&self, policy: &str) -> Option<Resolved> {
        let policy = self.policies.get(policy).filter(|policy| !is_going(policy))?;
        let mut resolved = Resolved::default();
        for (place, object) in &self.objects {
            let Some(version) = self.versions.get(&(place.0.clone(), place.1.clone())) else { continue };
            if is_going(object) {
                continue;
            }
            for clause in list(&policy["spec"]["downsync"]) {
                if self.passes(clause, place, object) {
                    let handling = resolved.objects.entry(place.clone()).or_default();
                    handling.version.clone_from(version);
                    handling.create_only |= clause["createOnly"] == true;
                    handling.singleton_status |= clause["wantSingletonReportedState"] == true;
                    handling.multi_status |= clause["wantMultiWECReportedState"] == true;
                    handling.collectors.extend(texts(&clause["statusCollectors"]).map(str::to_owned));
                }
            }
        }
        for (name, cluster) in &self.clusters {
            let selectors = list(&policy["spec"]["clusterSelectors"]);
            if !is_going(cluster) && selectors.iter().any(|selector| matches(selector, cluster)) {
                resolved.clusters.insert(name.clone());
            }
        }
        Some(resolved)
    }

    /// All six tests of a clause.
    fn passes(&self, clause: &Value, place: &Place, object: &Value) -> bool {
        let (group, resource, namespace, name) = place;
        if clause["apiGroup"].is_string() && clause["apiGroup"] != group.as_str() {
            return false;
        }
        for (field, value) in [("resources", resource), ("namespaces", namespace), ("objectNames", name)] {
            let allowed: Vec<&str> = texts(&clause[field]).collect();
            if !allowed.is_empty() && !allowed.contains(&"*") && !allowed.contains(&value.as_str()) {
                return false;
            }
        }
        let by_label = list(&clause["objectSelectors"]);
        if !by_label.is_empty() && !by_label.iter().any(|selector| matches(selector, object)) {
            return false;
        }
        let by_namespace = list(&clause["namespaceSelectors"]);
        if by_namespace.is_empty() || by_namespace.iter().any(is_empty) {
            return true;
        }
        // The Namespace is looked up as it is, also when it is on its way out; a cluster-scoped object has none.
        let served = self.versions.contains_key(&(String::new(), "namespaces".to_owned()));
        let key = (String::new(), "namespaces".to_owned(), String::new(), namespace.clone());
        let found = self.objects.get(&key).filter(|_| served && !namespace.is_empty());
        found.is_some_and(|namespace| by_namespace.iter().any(|selector| matches(selector, namespace)))
    }
}

fn is_going(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    list(value).iter().filter_map(Value::as_str)
}

fn is_empty(selector: &Value) -> bool {
    selector["matchLabels"].as_object().is_none_or(serde_json::Map::is_empty)
        && list(&selector["matchExpressions"]).is_empty()
}

/// Whether a label selector matches an object. One that is no selector (`In` without values, an operator that there is
/// not) matches nothing.
fn matches(selector: &Value, object: &Value) -> bool {
    let label = |key: &str| object["metadata"]["labels"][key].as_str();
    let same =
        selector["matchLabels"].as_object().into_iter().flatten().all(|(key, value)| label(key) == value.as_str());
    same && list(&selector["matchExpressions"]).iter().all(|expression| {
        let held = label(expression["key"].as_str().unwrap_or_default());
        let values: Vec<&str> = texts(&expression["values"]).collect();
        let among = held.is_some_and(|held| values.contains(&held));
        match expression["operator"].as_str() {
            Some("In") => among,
            Some("NotIn") => !values.is_empty() && !among,
            Some("Exists") => values.is_empty() && held.is_some(),
            Some("DoesNotExist") => values.is_empty() && held.is_none(),
            _ => false,
        }
    })
}
