//! Which clusters' statuses an object of the WDS shows, and what to write so that it does.

use super::aggregate::aggregate;
use crate::binding::Request;
use api::control::{MULTI_WEC_STATUS_LABEL, SINGLETON_STATUS_LABEL};
use api::{ClusterName, GroupKind, Object, ObjectName, Resource, Write};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What an object of the WDS is to show as its status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Return {
    /// The status from this cluster.
    Copy(ClusterName),
    /// One status made of those from these clusters, two or more.
    Aggregate(BTreeSet<ClusterName>),
    /// None of ours.
    Nothing,
}

impl Return {
    /// From what the policies ask. Only clusters of policies that ask for a status count.
    pub fn of(requests: &[Request<'_>]) -> Self {
        let union = |asks: fn(&Request<'_>) -> bool| {
            let asking: Vec<_> = requests.iter().filter(|request| asks(request)).collect();
            let clusters = asking.iter().flat_map(|request| request.destinations.iter().cloned());
            (!asking.is_empty()).then(|| clusters.collect::<BTreeSet<_>>())
        };
        let single = union(|request| request.modulation.want_singleton_reported_state);
        let multi = union(|request| request.modulation.want_multi_wec_reported_state);
        let many_allowed = multi.is_some();
        let clusters: BTreeSet<_> = single.into_iter().chain(multi).flatten().collect();
        match clusters.len() {
            0 => Self::Nothing,
            1 => Self::Copy(clusters.into_iter().next().expect("there is one")),
            _ if many_allowed => Self::Aggregate(clusters),
            _ => Self::Nothing,
        }
    }

    /// The clusters whose status is needed.
    pub fn clusters(&self) -> BTreeSet<&ClusterName> {
        match self {
            Self::Copy(cluster) => [cluster].into(),
            Self::Aggregate(clusters) => clusters.iter().collect(),
            Self::Nothing => BTreeSet::new(),
        }
    }

    const fn label(&self) -> Option<&'static str> {
        match self {
            Self::Copy(_) => Some(SINGLETON_STATUS_LABEL),
            Self::Aggregate(_) => Some(MULTI_WEC_STATUS_LABEL),
            Self::Nothing => None,
        }
    }
}

/// What a cluster has told of the object: nothing yet, or its status if it has one.
pub type Returned<'a> = BTreeMap<&'a ClusterName, Option<&'a Value>>;

/// One write to an object of the WDS.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    /// Set and remove our labels; `None` removes.
    Labels(BTreeMap<&'static str, Option<&'static str>>),
    /// Replace the status.
    Status(Value),
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Labels(labels) => {
                let told = labels.iter().map(|(key, value)| format!("{key}={}", value.unwrap_or("-")));
                write!(f, "label {}", told.collect::<Vec<_>>().join(" "))
            }
            Self::Status(status) => write!(f, "status {status}"),
        }
    }
}

impl Op {
    /// As a write to the object. A kind without a status subresource keeps its status in the object itself.
    pub fn on(&self, resource: &Resource, name: &ObjectName, subresource: bool) -> api::Op {
        match self {
            Self::Labels(labels) => {
                let patch = json!({"metadata": {"labels": labels}});
                api::Op::merge_patch(resource.clone(), name.clone(), patch)
            }
            Self::Status(status) => {
                let patch = json!([{"op": "add", "path": "/status", "value": status}]);
                let op = api::Op::new(resource.clone(), name.clone(), Write::JsonPatch(patch));
                if subresource { op.on_status() } else { op }
            }
        }
    }
}

/// Kinds whose status says something of the WDS itself, and is never replaced.
const OWN_STATUS: [(&str, &str); 2] = [("", "Namespace"), ("apiextensions.k8s.io", "CustomResourceDefinition")];

/// Whether a returned status may be written into objects of this kind.
pub fn takes_status(kind: &GroupKind) -> bool {
    !OWN_STATUS.contains(&(kind.group.as_str(), kind.kind.as_str()))
}

/// Plans for one object. The label comes before the status, so that whoever sees a status of ours sees whose it is; and
/// a status is cleared before the label goes, so that one that is not ours is never cleared.
pub fn plan(object: &Object, wanted: &Return, returned: &Returned<'_>) -> Vec<Op> {
    let gvk = object.group_version_kind();
    if !takes_status(&GroupKind { group: gvk.group.clone(), kind: gvk.kind.clone() }) || object.is_deleting() {
        return Vec::new();
    }
    let ours = [SINGLETON_STATUS_LABEL, MULTI_WEC_STATUS_LABEL];
    let labelled = ours.iter().any(|label| object.label(label).is_some());
    let (label, status) = match wanted {
        Return::Nothing => (None, None),
        Return::Copy(cluster) => match returned.get(cluster) {
            None => (None, None),
            // The cluster has the object, and it has no status yet.
            Some(None) => return Vec::new(),
            Some(Some(status)) => (wanted.label(), Some((*status).clone())),
        },
        Return::Aggregate(clusters) => {
            let known: Vec<_> = clusters.iter().filter_map(|cluster| returned.get(cluster)).collect();
            let statuses: Vec<_> = known.iter().filter_map(|status| **status).collect();
            match statuses.as_slice() {
                [] if known.is_empty() => (None, None),
                [] => return Vec::new(),
                [one] => (wanted.label(), Some((*one).clone())),
                several => match aggregate(&gvk.group, &gvk.kind, several) {
                    Some(status) => (wanted.label(), Some(status)),
                    None => return Vec::new(),
                },
            }
        }
    };
    let mut labels = BTreeMap::new();
    for key in ours {
        let (held, wanted) = (object.label(key), (label == Some(key)).then_some("true"));
        if held != wanted {
            labels.insert(key, wanted);
        }
    }
    let empty = Value::Object(Map::new());
    let held = object.0.get("status").unwrap_or(&empty);
    let labels = (!labels.is_empty()).then_some(Op::Labels(labels));
    match status {
        Some(status) => labels.into_iter().chain((*held != status).then_some(Op::Status(status))).collect(),
        None if labelled => (*held != empty).then_some(Op::Status(empty)).into_iter().chain(labels).collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::BindingName;
    use api::control::Modulation;

    /// `s:a,b m:c -:d`: policies that ask for a singleton status, a multi-cluster one, none, and their clusters.
    fn wanted(text: &str) -> Return {
        let policies: Vec<_> = text
            .split_whitespace()
            .map(|policy| {
                let (kind, clusters) = policy.split_once(':').unwrap();
                let modulation = Modulation {
                    want_singleton_reported_state: kind.contains('s'),
                    want_multi_wec_reported_state: kind.contains('m'),
                    ..Modulation::default()
                };
                let clusters = clusters.split(',').filter(|c| !c.is_empty()).map(ClusterName::from).collect();
                (BindingName::from(policy), modulation, clusters)
            })
            .collect();
        let requests: Vec<_> = policies
            .iter()
            .map(|(policy, modulation, destinations)| Request { policy, modulation, destinations })
            .collect();
        Return::of(&requests)
    }

    #[test]
    fn only_clusters_that_are_asked_count() {
        let told = |text: &str| match wanted(text) {
            Return::Copy(cluster) => format!("copy {cluster}"),
            Return::Aggregate(clusters) => format!("aggregate {}", clusters.len()),
            Return::Nothing => "nothing".into(),
        };
        assert_eq!(told(""), "nothing");
        assert_eq!(told("-:a"), "nothing");
        assert_eq!(told("s:a"), "copy a");
        assert_eq!(told("s:"), "nothing");
        assert_eq!(told("s:a,b"), "nothing");
        assert_eq!(told("s:a -:a,b"), "copy a");
        assert_eq!(told("s:a s:a"), "copy a");
        assert_eq!(told("s:a s:b"), "nothing");
        assert_eq!(told("m:a,b"), "aggregate 2");
        assert_eq!(told("m:a"), "copy a");
        assert_eq!(told("m:"), "nothing");
        assert_eq!(told("s:a m:b"), "aggregate 2");
        assert_eq!(told("s:a m:a"), "copy a");
        assert_eq!(told("s:a,b m:"), "aggregate 2");
    }

    /// `seen` is `a={..} b=-`: what clusters have told, `-` for an object without status.
    #[track_caller]
    fn check(object: (&str, &str, Value), text: &str, seen: &[(&str, Option<Value>)], expected: &str) {
        let (kind, label, status) = object;
        let (api_version, kind) = kind.rsplit_once('/').unwrap();
        let mut object = Object::new(api_version, kind, &ObjectName::namespaced("n", "o"));
        if !label.is_empty() {
            object.set_label(&format!("managed-by.kubestellar.io/{label}"), "true");
        }
        if !status.is_null() {
            object.0.insert("status".into(), status);
        }
        let seen: BTreeMap<ClusterName, Option<Value>> = seen.iter().map(|(c, s)| ((*c).into(), s.clone())).collect();
        let returned: Returned<'_> = seen.iter().map(|(cluster, status)| (cluster, status.as_ref())).collect();
        let wanted = wanted(text);
        let ops = plan(&object, &wanted, &returned);
        let told: Vec<_> = ops.iter().map(|op| op.to_string().replace("managed-by.kubestellar.io/", "")).collect();
        assert_eq!(told.join(", "), expected);
        for op in ops {
            match op {
                Op::Status(status) => {
                    object.0.insert("status".into(), status);
                }
                Op::Labels(labels) => labels.into_iter().for_each(|(key, value)| match value {
                    Some(value) => object.set_label(key, value),
                    None => {
                        object.metadata_mut()["labels"].as_object_mut().unwrap().remove(key);
                    }
                }),
            }
        }
        assert_eq!(plan(&object, &wanted, &returned), [], "a plan that was carried out leaves nothing to do");
    }

    #[test]
    fn the_status_of_the_one_cluster_is_shown() {
        let one = || Some(json!({"x": 1}));
        let fresh = || ("apps/v1/Deployment", "", Value::Null);
        let shown = || ("apps/v1/Deployment", "singletonstatus", json!({"x": 1}));
        check(fresh(), "s:a", &[("a", one())], r#"label singletonstatus=true, status {"x":1}"#);
        check(shown(), "s:a", &[("a", one())], "");
        check(shown(), "s:a", &[("a", Some(json!({"x": 2})))], r#"status {"x":2}"#);
        check(fresh(), "s:a", &[], "");
        check(fresh(), "s:a", &[("a", None)], "");
        check(shown(), "s:a", &[("a", None)], "");
        check(shown(), "s:a", &[("b", one())], "status {}, label singletonstatus=-");
        check(shown(), "s:a,b", &[("a", one()), ("b", one())], "status {}, label singletonstatus=-");
        check(shown(), "", &[("a", one())], "status {}, label singletonstatus=-");
        check(("apps/v1/Deployment", "", json!({"own": 1})), "", &[("a", one())], "");
        check(("/v1/Namespace", "", Value::Null), "s:a", &[("a", one())], "");
    }

    #[test]
    fn several_statuses_become_one() {
        let ready = |n: i64| Some(json!({"readyReplicas": n}));
        let plain = || ("example.io/v1/Thing", "", Value::Null);
        let expected = r#"label multiwecstatus=true, status {"readyReplicas":1}"#;
        check(plain(), "m:a,b", &[("a", ready(1))], expected);
        check(
            ("x/v1/T", "singletonstatus", json!({"readyReplicas": 1})),
            "m:a,b",
            &[("a", ready(1)), ("b", None)],
            "label multiwecstatus=true singletonstatus=-",
        );
        check(("x/v1/T", "multiwecstatus", json!({"readyReplicas": 1})), "", &[], "status {}, label multiwecstatus=-");
    }
}
