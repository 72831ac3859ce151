//! Who asks for an object in a cluster, and whether what the index knows of that is what is so.
//!
//! What the index knows comes by one watch for each resource, and of two watches either may be behind. So before anything
//! is taken out of a cluster, that nobody asks for it is compared with what the servers say themselves: policies, the
//! object, its Namespace and the cluster, all read after the index had it that nobody asks. If all of them are as the index
//! has them, and nobody has asked in between, then nobody asked at the moment of which the index learned last.

use super::{Index, namespaces_resource};
use crate::binding::object::{ClusterHeader, ObjectId, WorkloadHeader};
use api::{ClusterName, GroupResource, ObjectMeta, ObjectName};
use std::collections::BTreeMap;

impl Index {
    /// How far the index is: moves whenever something is asked for, or no longer.
    pub const fn turn(&self) -> u64 {
        self.turns
    }

    /// Whether a policy asks for the object in the cluster.
    pub fn is_asked(&self, id: &ObjectId, cluster: &ClusterName) -> bool {
        let asks = |name: &_| self.policies.get(name).is_some_and(|policy| policy.destinations.contains(cluster));
        self.entry(id).is_some_and(|entry| entry.selected_by.iter().any(asks))
    }

    /// The turn at which it was last decided whether the object is asked for in the cluster. An object that is not there
    /// is asked for by nobody, whenever that was looked at.
    pub fn decided(&self, id: &ObjectId, cluster: &ClusterName) -> u64 {
        let Some(entry) = self.entry(id) else { return 0 };
        entry.turn.max(self.cluster_turns.get(cluster).copied().unwrap_or_default())
    }

    /// The resources whose objects are of a kind.
    pub fn resources_of(&self, group: &str, kind: &str) -> Vec<GroupResource> {
        let tracked = self.resources.iter();
        let tracked = tracked.filter(|(_, tracked)| tracked.resource.group == group && tracked.resource.kind == kind);
        tracked.map(|(key, _)| (**key).clone()).collect()
    }

    /// The Namespace that an object is in, as an object of the index, where policies may look at it.
    pub fn namespace_of(&self, id: &ObjectId) -> Option<ObjectId> {
        let resource = namespaces_resource();
        let known = !id.name.namespace.is_empty() && self.resources.contains_key(&resource);
        let name = ObjectName::cluster(id.name.namespace.as_str());
        known.then(|| ObjectId { resource: resource.into(), name })
    }

    /// Whether an object is as the index has it, as far as policies can see.
    pub fn agrees_on_object(&self, id: &ObjectId, now: Option<&WorkloadHeader>) -> bool {
        let visible = |header: &WorkloadHeader| (header.uid.clone(), header.labels.clone(), header.deleting);
        self.entry(id).map(|entry| visible(&entry.header)) == now.map(visible)
    }

    /// Whether a cluster is as the index has it, as far as policies can see.
    pub fn agrees_on_cluster(&self, name: &ClusterName, now: Option<&ClusterHeader>) -> bool {
        self.clusters.get(name) == now.filter(|cluster| !cluster.deleting).map(|cluster| &cluster.labels)
    }

    /// Whether the policies are those that the index has.
    pub fn agrees_on_policies<'a>(&self, now: impl Iterator<Item = &'a ObjectMeta>) -> bool {
        let there = now.filter(|meta| !meta.is_deleting());
        let there: BTreeMap<&str, (&str, i64)> =
            there.map(|meta| (meta.name.as_str(), (meta.uid.as_str(), meta.generation))).collect();
        let known = self.policies.iter();
        let known = known.map(|(name, policy)| (name.as_str(), (policy.uid.as_str(), policy.generation)));
        there == known.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::control::BindingPolicy;
    use api::{BindingName, Labels, PartialObject, Resource};
    use serde_json::{Value, json};
    use std::sync::Arc;

    const MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
    const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");

    fn header(labels: &Value) -> WorkloadHeader {
        let object = json!({"metadata": {"namespace": "n", "name": "a", "uid": "u", "labels": labels}});
        serde_json::from_value::<PartialObject>(object).unwrap().into()
    }

    fn cluster(labels: &[(&str, &str)]) -> ClusterHeader {
        let labels: Labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        ClusterHeader { name: "c".into(), labels, ..ClusterHeader::default() }
    }

    fn policy(generation: i64, app: &str, at: &str) -> BindingPolicy {
        let spec = json!({
            "downsync": [{"objectSelectors": [{"matchLabels": {"app": app}}]}],
            "clusterSelectors": [{"matchLabels": {"at": at}}],
        });
        serde_json::from_value(json!({"metadata": {"name": "p", "uid": "p", "generation": generation}, "spec": spec}))
            .unwrap()
    }

    #[test]
    fn each_way_to_be_asked_for_no_longer_is_a_turn() {
        let mut index = Index::default();
        for resource in [MAPS, NAMESPACES] {
            index.set_resource(resource);
        }
        let (maps, p, c) = (MAPS.group_resource(), BindingName::from("p"), ClusterName::from("c"));
        let id = ObjectId { resource: Arc::new(maps.clone()), name: ObjectName::namespaced("n", "a") };
        let mut last = 0;
        let mut step = |index: &mut Index, what: &dyn Fn(&mut Index), asked: bool, decides: bool| {
            what(index);
            assert_eq!(index.is_asked(&id, &c), asked);
            let now = index.decided(&id, &c);
            assert!(now <= index.turn());
            assert_eq!(now > last, decides, "{now} after {last}");
            last = now;
        };
        let object = |labels: Value| {
            let maps = maps.clone();
            move |index: &mut Index| {
                index.set_object(&maps, &ObjectName::namespaced("n", "a"), Some(Arc::new(header(&labels))));
            }
        };
        let policy = |generation, app: &'static str, at: &'static str| {
            let p = p.clone();
            move |index: &mut Index| {
                index.set_policy(&p, Some(&policy(generation, app, at)));
            }
        };
        let at = |place: &'static str| {
            let c = c.clone();
            move |index: &mut Index| {
                index.set_cluster(&c, Some(&cluster(&[("at", place)])));
            }
        };
        step(&mut index, &object(json!({"app": "web"})), false, false);
        step(&mut index, &policy(1, "web", "edge"), false, true);
        step(&mut index, &at("edge"), true, true);
        step(&mut index, &object(json!({"app": "db"})), false, true);
        step(&mut index, &object(json!({"app": "db", "more": "x"})), false, false);
        step(&mut index, &object(json!({"app": "web"})), true, true);
        step(&mut index, &at("core"), false, true);
        step(&mut index, &at("edge"), true, true);
        step(&mut index, &policy(2, "web", "core"), false, true);
        step(&mut index, &policy(3, "web", "edge"), true, true);
        step(&mut index, &|index| drop(index.set_policy(&BindingName::from("p"), None)), false, true);
    }

    #[test]
    fn what_differs_where_policies_look_is_told() {
        let mut index = Index::default();
        index.set_resource(MAPS);
        let (name, c) = (ObjectName::namespaced("n", "a"), ClusterName::from("c"));
        let id = ObjectId { resource: Arc::new(MAPS.group_resource()), name: name.clone() };
        let web = header(&json!({"app": "web"}));
        assert!(index.agrees_on_object(&id, None) && !index.agrees_on_object(&id, Some(&web)));
        index.set_object(&MAPS.group_resource(), &name, Some(Arc::new(web.clone())));
        assert!(index.agrees_on_object(&id, Some(&web)) && !index.agrees_on_object(&id, None));
        assert!(index.agrees_on_object(&id, Some(&WorkloadHeader { resource_version: "9".into(), ..web.clone() })));
        assert!(!index.agrees_on_object(&id, Some(&header(&json!({})))));
        assert!(!index.agrees_on_object(&id, Some(&WorkloadHeader { uid: "v".into(), ..web.clone() })));
        assert!(!index.agrees_on_object(&id, Some(&WorkloadHeader { deleting: true, ..web })));

        assert!(index.agrees_on_cluster(&c, None) && !index.agrees_on_cluster(&c, Some(&cluster(&[]))));
        index.set_cluster(&c, Some(&cluster(&[("at", "edge")])));
        assert!(index.agrees_on_cluster(&c, Some(&cluster(&[("at", "edge")]))));
        assert!(!index.agrees_on_cluster(&c, Some(&cluster(&[]))));
        assert!(!index.agrees_on_cluster(&c, Some(&ClusterHeader { deleting: true, ..cluster(&[("at", "edge")]) })));

        let policies = |list: &[(i64, bool)]| {
            let metas = list.iter().map(|(generation, deleting)| ObjectMeta {
                deletion_timestamp: deleting.then(|| api::Timestamp::from_micros(0)),
                ..policy(*generation, "web", "edge").metadata
            });
            metas.collect::<Vec<_>>()
        };
        assert!(
            index.agrees_on_policies(policies(&[]).iter()) && index.agrees_on_policies(policies(&[(1, true)]).iter())
        );
        index.set_policy(&"p".into(), Some(&policy(1, "web", "edge")));
        assert!(index.agrees_on_policies(policies(&[(1, false)]).iter()));
        assert!(!index.agrees_on_policies(policies(&[(2, false)]).iter()));
        assert!(!index.agrees_on_policies(policies(&[(1, true)]).iter()));
        // The same content again, at another generation.
        index.set_policy(&"p".into(), Some(&policy(3, "web", "edge")));
        assert!(index.agrees_on_policies(policies(&[(3, false)]).iter()));
    }

    #[test]
    fn resources_are_found_by_kind() {
        let mut index = Index::default();
        index.set_resource(MAPS);
        assert_eq!(index.resources_of("", "ConfigMap"), [MAPS.group_resource()]);
        assert_eq!(index.resources_of("apps", "ConfigMap"), []);
    }
}
