//! Rules of matching as tables, the index against a naive oracle on random histories, and plans that settle.

use super::*;
use crate::binding::plan::Selected;
use api::control::{Binding, BindingPolicy, BindingPolicySpec, Modulation, POLICY_FINALIZER, PipelineStatus};
use api::{
    BindingName, ClusterName, GroupResource, LabelSelector, Labels, Object, ObjectName, PartialObject, Resource,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "deployments", "Deployment");
const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
const CLUSTER_ROLES: Resource = Resource::cluster("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole");
const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");

fn policy(name: &str, spec: &Value) -> BindingPolicy {
    serde_json::from_value(json!({"metadata": {"name": name, "uid": format!("uid-{name}")}, "spec": spec})).unwrap()
}

fn header(meta: &Value) -> Arc<WorkloadHeader> {
    let object: PartialObject = serde_json::from_value(json!({"metadata": meta})).unwrap();
    Arc::new(object.into())
}

fn merge(tree: &mut Value, patch: &Value) {
    let mut object = Object(std::mem::take(tree.as_object_mut().unwrap()));
    machinery::patch::merge::apply(&mut object, patch).unwrap();
    *tree = Value::Object(object.0);
}

fn cluster(name: &str, labels: &Labels) -> ClusterHeader {
    ClusterHeader { name: name.into(), labels: labels.clone(), ..ClusterHeader::default() }
}

fn labels(text: &str) -> Labels {
    text.split_whitespace().map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (k.into(), v.into())).collect()
}

/// An index with the resources above, three namespaces (`a` with tier=gold, `b` with none) and one object.
fn index_with(resource: &Resource, name: &str, object_labels: &str) -> Index {
    let mut index = Index::default();
    for resource in [DEPLOYMENTS, CONFIG_MAPS, CLUSTER_ROLES, NAMESPACES] {
        let key = resource.group_resource();
        index.set_resource(resource);
        index.complete_resource(&key);
    }
    for (namespace, namespace_labels) in [("a", "tier=gold"), ("b", "")] {
        let meta = json!({"name": namespace, "labels": labels(namespace_labels)});
        index.set_object(&NAMESPACES.group_resource(), &ObjectName::cluster(namespace), Some(header(&meta)));
    }
    let name = match name.split_once('/') {
        Some((namespace, name)) => ObjectName::namespaced(namespace, name),
        None => ObjectName::cluster(name),
    };
    let meta = json!({"namespace": name.namespace, "name": name.name, "labels": labels(object_labels)});
    index.set_object(&resource.group_resource(), &name, Some(header(&meta)));
    index
}

#[track_caller]
fn check(object: (&Resource, &str, &str), clause: Value, expected: bool) {
    let mut index = index_with(object.0, object.1, object.2);
    let name = BindingName::from("p");
    let spec = json!({"downsync": [clause]});
    index.set_policy(&name, Some(&policy("p", &spec)));
    let wanted = object.1.rsplit('/').next().unwrap();
    let found =
        index.objects_of(&name).any(|(id, _)| id.name.name == wanted && *id.resource == object.0.group_resource());
    assert_eq!(found, expected, "policy after object");
}

#[test]
fn a_clause_matches_when_all_its_tests_pass() {
    let web = (&DEPLOYMENTS, "a/web", "app=web tier=1");
    let map = (&CONFIG_MAPS, "b/conf", "");
    let role = (&CLUSTER_ROLES, "viewer", "app=web");

    check(web, json!({"apiGroup": "apps"}), true);
    check(map, json!({"apiGroup": "apps"}), false);
    check(map, json!({"apiGroup": ""}), true);
    check(map, json!({"apiGroup": "*"}), false);

    check(web, json!({"resources": []}), true);
    check(web, json!({"resources": ["*"]}), true);
    check(web, json!({"resources": ["configmaps", "*"]}), true);
    check(web, json!({"resources": ["configmaps"]}), false);
    check(web, json!({"resources": ["configmaps", "deployments"]}), true);

    check(web, json!({"namespaces": ["a"]}), true);
    check(web, json!({"namespaces": ["b"]}), false);
    check(role, json!({"namespaces": ["a"]}), false);
    check(role, json!({"namespaces": [""]}), true);
    check(role, json!({"namespaces": ["*"]}), true);
    check(role, json!({"namespaces": []}), true);

    check(web, json!({"objectNames": ["web"]}), true);
    check(web, json!({"objectNames": ["we*"]}), false);
    check(web, json!({"objectNames": ["*", "other"]}), true);

    check(web, json!({"objectSelectors": [{"matchLabels": {"app": "web"}}]}), true);
    check(web, json!({"objectSelectors": [{"matchLabels": {"app": "web", "tier": "2"}}]}), false);
    check(web, json!({"objectSelectors": [{"matchLabels": {"app": "db"}}, {"matchLabels": {"tier": "1"}}]}), true);
    check(
        web,
        json!({"objectSelectors": [{"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]}]}),
        true,
    );
    check(web, json!({"objectSelectors": [{"matchExpressions": [{"key": "app", "operator": "Exists"}]}]}), true);
    check(map, json!({"objectSelectors": [{"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}]}), true);
    check(map, json!({"objectSelectors": [{}]}), true);
    check(map, json!({"objectSelectors": []}), true);
    // A selector that cannot be used selects nothing, also when it is the only one.
    check(web, json!({"objectSelectors": [{"matchExpressions": [{"key": "app", "operator": "In"}]}]}), false);
    check(
        web,
        json!({"objectSelectors": [{"matchExpressions": [{"key": "app", "operator": "In"}]}, {"matchLabels": {"app": "web"}}]}),
        true,
    );

    let gold = json!([{"matchLabels": {"tier": "gold"}}]);
    check(web, json!({"namespaceSelectors": gold}), true);
    check(map, json!({"namespaceSelectors": gold}), false);
    check(role, json!({"namespaceSelectors": gold}), false);
    check(role, json!({"namespaceSelectors": [{"matchLabels": {"tier": "gold"}}, {}]}), true);
    check((&CONFIG_MAPS, "nowhere/conf", ""), json!({"namespaceSelectors": gold}), false);
    check((&CONFIG_MAPS, "nowhere/conf", ""), json!({"namespaceSelectors": [{}]}), true);

    check(web, json!({"apiGroup": "apps", "namespaces": ["a"], "objectNames": ["db"]}), false);
    check(
        web,
        json!({"apiGroup": "apps", "namespaces": ["a"], "objectNames": ["web"], "objectSelectors": [{"matchLabels": {"app": "web"}}]}),
        true,
    );
}

#[test]
fn the_test_that_fails_is_named_with_the_smallest_change() {
    let object = header(&json!({"namespace": "a", "name": "web", "labels": labels("app=web")}));
    let gold = json!([{"matchLabels": {"tier": "gold"}}]);
    let said = |clause: Value| {
        let made = policy("p", &json!({"downsync": [clause]}));
        let said = verdict(&made, &DEPLOYMENTS.group_resource(), &object, Some(&Labels::new()), &[]);
        let unmet: Vec<_> =
            said.clauses[0].unmet.iter().map(|u| format!("{}: {}, not {}", u.field, u.value, u.wanted)).collect();
        let changes = said.changes().into_iter().map(|c| c.instruction("p", "deployments.apps/web -n a", "a", "c1"));
        (unmet.join("; "), changes.collect::<Vec<_>>().join("; "))
    };
    let check =
        |clause: Value, unmet: &str, change: &str| assert_eq!(said(clause), (unmet.to_owned(), change.to_owned()));
    check(
        json!({"objectSelectors": [{"matchLabels": {"app": "db", "tier": "1"}}, {"matchLabels": {"app": "db"}}]}),
        "spec.downsync[0].objectSelectors: app=web, not `app=db,tier=1` or `app=db`",
        "kubectl label deployments.apps/web -n a --overwrite app=db",
    );
    check(
        json!({"objectSelectors": [{"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}]}),
        "spec.downsync[0].objectSelectors: app=web, not `!app`",
        "kubectl label deployments.apps/web -n a --overwrite app-",
    );
    // Two requirements that exclude each other: no label helps.
    check(
        json!({"objectSelectors": [{"matchLabels": {"k": "1"}, "matchExpressions": [{"key": "k", "operator": "DoesNotExist"}]}]}),
        "spec.downsync[0].objectSelectors: app=web, not `k=1,!k`",
        "",
    );
    check(
        json!({"namespaceSelectors": gold}),
        "spec.downsync[0].namespaceSelectors: no labels, not `tier=gold`",
        "kubectl label namespace/a --overwrite tier=gold",
    );
    check(
        json!({"apiGroup": "", "resources": ["configmaps"], "namespaces": ["b"], "objectNames": ["x", "y"]}),
        "spec.downsync[0].apiGroup: `apps`, not ``; spec.downsync[0].resources: `deployments`, not `configmaps`; \
         spec.downsync[0].namespaces: `a`, not `b`; spec.downsync[0].objectNames: `web`, not `x` or `y`",
        "let spec.downsync[0].apiGroup of bindingpolicy/p allow `apps`; let spec.downsync[0].resources of bindingpolicy/p \
         allow `deployments`; let spec.downsync[0].namespaces of bindingpolicy/p allow `a`; let \
         spec.downsync[0].objectNames of bindingpolicy/p allow `web`",
    );
    check(
        json!({"objectSelectors": [{"matchExpressions": [{"key": "app", "operator": "In"}]}]}),
        "spec.downsync[0].objectSelectors: app=web, not anything: no selector here can be used",
        "",
    );
}

#[test]
fn what_clauses_ask_of_an_object_is_merged() {
    let mut index = index_with(&DEPLOYMENTS, "a/web", "app=web");
    let spec = json!({"downsync": [
        {"resources": ["deployments"], "statusCollectors": ["b", "a"]},
        {"namespaces": ["a"], "createOnly": true, "statusCollectors": ["b", "c"]},
        {"namespaces": ["b"], "wantSingletonReportedState": true},
    ]});
    let name = BindingName::from("p");
    index.set_policy(&name, Some(&policy("p", &spec)));
    let (_, modulation) = index.objects_of(&name).find(|(id, _)| id.name.name == "web").unwrap();
    let expected = Modulation {
        create_only: true,
        status_collectors: vec!["a".into(), "b".into(), "c".into()],
        ..Modulation::default()
    };
    assert_eq!(*modulation, expected);
}

#[test]
fn a_namespace_that_gets_a_label_brings_its_objects() {
    let mut index = index_with(&CONFIG_MAPS, "b/conf", "");
    let name = BindingName::from("p");
    let spec = json!({"downsync": [{"namespaceSelectors": [{"matchLabels": {"tier": "gold"}}]}]});
    index.set_policy(&name, Some(&policy("p", &spec)));
    assert_eq!(index.objects_of(&name).count(), 0);
    let touched = index.set_object(
        &NAMESPACES.group_resource(),
        &ObjectName::cluster("b"),
        Some(header(&json!({"name": "b", "labels": {"tier": "gold"}}))),
    );
    assert_eq!(touched.bindings, [name.clone()].into());
    assert_eq!(index.objects_of(&name).map(|(id, _)| id.to_string()).collect::<Vec<_>>(), ["configmaps b/conf"]);
}

#[test]
fn clauses_that_select_more_than_they_seem_to_are_told() {
    let told = |clause: Value| {
        let mut index = Index::default();
        index.set_policy(&"p".into(), Some(&policy("p", &json!({"downsync": [clause]}))));
        index.remarks(&"p".into()).join("; ")
    };
    assert!(told(json!({"resources": []})).contains("spec.downsync[0] selects every object"));
    assert!(told(json!({"resources": ["*"], "objectSelectors": [{}]})).contains("selects every object"));
    assert!(told(json!({"resources": ["*", "secrets"], "apiGroup": ""})).contains("resources has `*` beside names"));
    assert_eq!(told(json!({"apiGroup": ""})), "");
    assert_eq!(told(json!({"resources": ["secrets"]})), "");
    assert_eq!(told(json!({"namespaceSelectors": [{"matchLabels": {"a": "b"}}]})), "");
}

#[test]
fn wrong_selectors_are_told() {
    let mut index = index_with(&CONFIG_MAPS, "b/conf", "");
    index.set_cluster(&"c1".into(), Some(&cluster("c1", &labels("a=b"))));
    let name = BindingName::from("p");
    let wrong = json!({"matchExpressions": [{"key": "a", "operator": "In"}]});
    let spec =
        json!({"clusterSelectors": [wrong, {"matchLabels": {"a": "b"}}], "downsync": [{"objectSelectors": [wrong]}]});
    index.set_policy(&name, Some(&policy("p", &spec)));
    let resolution = index.resolution(&name).unwrap();
    assert_eq!(resolution.destinations().len(), 1);
    assert_eq!(resolution.problems.len(), 2);
    assert!(resolution.problems[0].contains("spec.clusterSelectors[0]"), "{:?}", resolution.problems);
    assert!(resolution.problems[1].contains("spec.downsync[0].objectSelectors[0]"), "{:?}", resolution.problems);
}

// ---- plans ----

fn apply(op: &Op, policy: &mut BindingPolicy, held: &mut Option<Binding>) {
    match op {
        Op::Create(binding) => *held = Some((**binding).clone()),
        Op::Update { patch, .. } => {
            let mut tree = serde_json::to_value(held.as_ref().unwrap()).unwrap();
            merge(&mut tree, patch);
            *held = Some(serde_json::from_value(tree).unwrap());
        }
        Op::Delete { .. } => *held = None,
        Op::Confirmed { .. } => {
            policy.metadata.annotations.remove(CONFIRM_ANNOTATION);
        }
        Op::PolicyFinalizers { finalizers, .. } => policy.metadata.finalizers.clone_from(finalizers),
    }
}

/// Plans, checks the ops, carries them out and checks that nothing is left to do.
#[track_caller]
fn check_plan(index: &Index, policy: &mut BindingPolicy, held: &mut Option<Binding>, expected: &str) {
    let resolution = index.resolution(&BindingName::from("p"));
    let ops = plan(Some(policy), resolution.as_ref(), held.as_ref());
    assert_eq!(ops.iter().map(Op::to_string).collect::<Vec<_>>().join(", "), expected);
    for op in &ops {
        apply(op, policy, held);
    }
    let left = plan(Some(policy), resolution.as_ref(), held.as_ref());
    // Giving back the finalizer is a step of its own, after the Binding is seen to be gone.
    if !policy.metadata.is_deleting() {
        assert_eq!(left, [], "a plan that was carried out leaves nothing to do");
    }
}

#[test]
fn plans_settle() {
    let mut index = index_with(&DEPLOYMENTS, "a/web", "app=web");
    index.set_cluster(&"c1".into(), Some(&cluster("c1", &labels("loc=edge"))));
    let name = BindingName::from("p");
    let mut asked = policy(
        "p",
        &json!({
            "clusterSelectors": [{"matchLabels": {"loc": "edge"}}], "downsync": [{"objectSelectors": [{"matchLabels": {"app": "web"}}]}],
        }),
    );
    index.set_policy(&name, Some(&asked));
    let mut held = None;
    check_plan(
        &index,
        &mut asked,
        &mut held,
        &format!("set finalizers of policy p to [{POLICY_FINALIZER}], create binding p"),
    );
    let binding = held.clone().unwrap();
    assert_eq!(binding.spec.destinations[0].cluster_id, "c1");
    assert_eq!(binding.spec.workload.namespace_scope[0].name, "web");

    // A status of ours, and its label, move the version and not the content.
    let web = |meta: Value| {
        let mut whole = json!({"namespace": "a", "name": "web", "uid": "u1", "labels": {"app": "web"}});
        merge(&mut whole, &meta);
        Some(header(&whole))
    };
    let key = (DEPLOYMENTS.group_resource(), ObjectName::namespaced("a", "web"));
    let mut set = |meta| index.set_object(&key.0, &key.1, web(meta));
    set(json!({"generation": 1, "resourceVersion": "7"}));
    let resolution = index.resolution(&name).unwrap();
    check_plan(&index, &mut asked, &mut held, "update binding p");
    assert_eq!(held.as_ref().unwrap().spec.workload.namespace_scope[0].resource_version, "7");
    let returned =
        json!({"generation": 1, "resourceVersion": "8", "labels": {api::control::SINGLETON_STATUS_LABEL: "true"}});
    assert_eq!(index.set_object(&key.0, &key.1, web(returned)), Touched::default());
    assert_eq!(index.resolution(&name).unwrap(), resolution);
    check_plan(&index, &mut asked, &mut held, "");

    // After a restart the version of now is all that is known; the content says that nothing changed.
    let mut restarted = index_with(&DEPLOYMENTS, "a/web", "app=web");
    restarted.set_cluster(&"c1".into(), Some(&cluster("c1", &labels("loc=edge"))));
    restarted.set_policy(&name, Some(&asked));
    restarted.set_object(&key.0, &key.1, web(json!({"generation": 1, "resourceVersion": "9"})));
    check_plan(&restarted, &mut asked, &mut held, "");
    restarted.set_object(&key.0, &key.1, web(json!({"generation": 2, "resourceVersion": "10"})));
    check_plan(&restarted, &mut asked, &mut held, "update binding p");
    assert_eq!(held.as_ref().unwrap().spec.workload.namespace_scope[0].resource_version, "10");

    // Drift: an edited Binding is mended, a deleted one made again.
    held.as_mut().unwrap().spec.destinations.clear();
    check_plan(&restarted, &mut asked, &mut held, "update binding p");
    held = None;
    check_plan(&restarted, &mut asked, &mut held, "create binding p");

    // A status written by others does not count.
    held.as_mut().unwrap().status = Some(PipelineStatus::default());
    check_plan(&restarted, &mut asked, &mut held, "");

    // Nothing selected any more: empty lists, which must arrive as such.
    restarted.set_object(&key.0, &key.1, None);
    restarted.set_cluster(&"c1".into(), None);
    check_plan(&restarted, &mut asked, &mut held, "update binding p");
    assert_eq!(held.as_ref().unwrap().spec, api::control::BindingSpec::default());

    // The policy goes: its Binding first, then the finalizer.
    asked.metadata.deletion_timestamp = Some(api::Timestamp::from_seconds(1));
    restarted.set_policy(&name, Some(&asked));
    check_plan(&restarted, &mut asked, &mut held, "delete binding p");
    check_plan(&restarted, &mut asked, &mut held, "set finalizers of policy p to []");
    check_plan(&restarted, &mut asked, &mut held, "");
}

#[test]
fn more_than_the_budget_waits_to_be_confirmed() {
    let mut index = index_with(&CONFIG_MAPS, "n/a", "");
    let maps = CONFIG_MAPS.group_resource();
    let set = |index: &mut Index, name: &str, content: Option<i64>| {
        let header = content
            .map(|generation| header(&json!({"namespace": "n", "name": name, "uid": name, "generation": generation})));
        index.set_object(&maps, &ObjectName::namespaced("n", name), header);
    };
    for name in ["a", "b", "c"] {
        set(&mut index, name, Some(1));
    }
    let cluster_is = |index: &mut Index, name: &str, there: bool| {
        let cluster = cluster(name, &labels("loc=edge"));
        index.set_cluster(&name.into(), there.then_some(&cluster));
    };
    ["c1", "c2"].iter().for_each(|name| cluster_is(&mut index, name, true));
    let spec = json!({"clusterSelectors": [{}], "downsync": [{"resources": ["configmaps"]}]});
    let mut asked = policy("p", &spec);
    let name = BindingName::from("p");
    index.set_policy(&name, Some(&asked));
    asked.metadata.finalizers = vec![POLICY_FINALIZER.into()];
    asked.metadata.annotations.insert(BUDGET_ANNOTATION.into(), "objects=1, clusters=0".into());
    let mut held = None;
    check_plan(&index, &mut asked, &mut held, "create binding p");
    let told = |held: &Option<Binding>| {
        let spec = &held.as_ref().unwrap().spec;
        let names = spec.workload.iter().map(|reference| reference.name.as_str());
        names.chain(spec.destinations.iter().map(|to| to.cluster_id.as_str())).collect::<Vec<_>>().join(" ")
    };
    let waits = |index: &Index, asked: &BindingPolicy, held: &Option<Binding>| {
        waiting(asked, || index.resolution(&BindingName::from("p")), held.as_ref()).join("; ")
    };

    // Within the budget.
    set(&mut index, "c", None);
    check_plan(&index, &mut asked, &mut held, "update binding p");
    assert_eq!((told(&held).as_str(), waits(&index, &asked, &held).as_str()), ("a b c1 c2", ""));

    // Beyond it: what goes stays, what comes or changes does not wait.
    cluster_is(&mut index, "c2", false);
    set(&mut index, "d", Some(1));
    check_plan(&index, &mut asked, &mut held, "update binding p");
    assert_eq!(told(&held), "a b d c1 c2");
    let message = waits(&index, &asked, &held);
    assert!(message.contains("no object and 1 cluster (c2) would be"), "{message}");
    let token = held.as_ref().unwrap().metadata.annotations[HELD_BACK_ANNOTATION].clone();
    assert!(message.contains(&format!("{CONFIRM_ANNOTATION}={token}")), "{message}");

    // Another removal is not the one that was confirmed.
    set(&mut index, "a", None);
    asked.metadata.annotations.insert(CONFIRM_ANNOTATION.into(), token);
    check_plan(&index, &mut asked, &mut held, "update binding p");
    assert_eq!(told(&held), "a b d c1 c2");
    let token = held.as_ref().unwrap().metadata.annotations[HELD_BACK_ANNOTATION].clone();
    asked.metadata.annotations.insert(CONFIRM_ANNOTATION.into(), token);
    let resolution = index.resolution(&name);
    for op in plan(Some(&asked), resolution.as_ref(), held.as_ref()) {
        apply(&op, &mut asked, &mut held);
    }
    assert_eq!((told(&held).as_str(), waits(&index, &asked, &held).as_str()), ("b d c1", ""));
    assert_eq!(held.as_ref().unwrap().metadata.annotations.get(HELD_BACK_ANNOTATION), None);
    // A confirmation is for once.
    check_plan(&index, &mut asked, &mut held, "take the confirmation from policy p");

    // The end of the policy takes everything away.
    asked.metadata.deletion_timestamp = Some(api::Timestamp::from_seconds(1));
    index.set_policy(&name, Some(&asked));
    check_plan(&index, &mut asked, &mut held, "");
    let message = waits(&index, &asked, &held);
    assert!(message.contains("2 objects (configmaps n/b, configmaps n/d) and 1 cluster (c1)"), "{message}");
    asked.metadata.annotations.remove(BUDGET_ANNOTATION);
    check_plan(&index, &mut asked, &mut held, "delete binding p");
}

#[test]
fn a_budget_that_cannot_be_read_protects() {
    let mut index = index_with(&CONFIG_MAPS, "n/a", "");
    let mut asked = policy("p", &json!({"clusterSelectors": [{}], "downsync": [{"resources": ["configmaps"]}]}));
    let name = BindingName::from("p");
    index.set_policy(&name, Some(&asked));
    asked.metadata.finalizers = vec![POLICY_FINALIZER.into()];
    asked.metadata.annotations.insert(BUDGET_ANNOTATION.into(), "object=3".into());
    let mut held = None;
    check_plan(&index, &mut asked, &mut held, "create binding p");
    let said = waiting(&asked, || index.resolution(&name), held.as_ref()).concat();
    assert!(said.contains("\"object\" is neither `objects` nor `clusters`"), "{said}");
    index.set_object(&CONFIG_MAPS.group_resource(), &ObjectName::namespaced("n", "a"), None);
    check_plan(&index, &mut asked, &mut held, "update binding p");
    assert_eq!(held.unwrap().spec.workload.namespace_scope.len(), 1);
}

#[test]
fn objects_of_a_resource_that_cannot_be_listed_stay_as_they_are() {
    let mut index = index_with(&DEPLOYMENTS, "a/web", "");
    let name = BindingName::from("p");
    let mut asked = policy("p", &json!({"downsync": [{"namespaces": ["a"]}]}));
    index.set_policy(&name, Some(&asked));
    let mut held = None;
    check_plan(
        &index,
        &mut asked,
        &mut held,
        &format!("set finalizers of policy p to [{POLICY_FINALIZER}], create binding p"),
    );

    let mut restarted = index_with(&CONFIG_MAPS, "a/conf", "");
    restarted.remove_resource(&DEPLOYMENTS.group_resource());
    restarted.set_resource(DEPLOYMENTS);
    restarted.set_policy(&name, Some(&asked));
    check_plan(&restarted, &mut asked, &mut held, "update binding p");
    let names = |held: &Option<Binding>| {
        let references = held.as_ref().unwrap().spec.workload.iter();
        references.map(|r| format!("{} {}", r.resource, r.name)).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(names(&held), "configmaps conf, deployments web");
    let touched = restarted.complete_resource(&DEPLOYMENTS.group_resource());
    assert_eq!(touched.bindings, [name].into());
    check_plan(&restarted, &mut asked, &mut held, "update binding p");
    assert_eq!(names(&held), "configmaps conf");
}

#[test]
fn references_are_in_the_order_of_their_texts() {
    let selected = |group: &str, version: &str, resource: &str, name: &str| Selected {
        id: Arc::new(ObjectId {
            resource: Arc::new(GroupResource { group: group.into(), resource: resource.into() }),
            name: ObjectName::namespaced("ns", name),
        }),
        version: version.into(),
        content: crate::digest::Digest::default(),
        content_version: "1".into(),
        modulation: Modulation::default(),
    };
    let objects = vec![
        selected("apps", "v1", "deployments", "b"),
        selected("batch", "v1", "jobs", "a"),
        selected("", "v1", "services", "a"),
        selected("apps", "v1", "deployments", "a"),
        selected("", "v1", "configmaps", "z"),
    ];
    let resolution = Resolution::new("u".into(), objects, BTreeSet::new(), Vec::new(), BTreeSet::new());
    let Some(Op::Create(binding)) = plan(Some(&policy("p", &json!({}))), Some(&resolution), None).pop() else {
        panic!()
    };
    let order: Vec<_> = binding.spec.workload.iter().map(|r| format!("{}/{}", r.resource, r.name)).collect();
    assert_eq!(order, ["configmaps/z", "services/a", "deployments/a", "deployments/b", "jobs/a"]);
}

// ---- the index against an oracle ----

#[derive(Clone, Debug)]
enum Step {
    Object { resource: usize, namespace: usize, name: usize, labels: Labels, generation: u8, deleting: bool },
    Gone { resource: usize, namespace: usize, name: usize },
    Policy { name: usize, spec: BindingPolicySpec },
    NoPolicy { name: usize },
    Cluster { name: usize, labels: Labels },
    NoCluster { name: usize },
}

const RESOURCES: [Resource; 4] = [DEPLOYMENTS, CONFIG_MAPS, CLUSTER_ROLES, NAMESPACES];
const NAMES: [&str; 3] = ["a", "b", "c"];

fn any_labels() -> impl Strategy<Value = Labels> {
    let pair = (prop::sample::select(vec!["k", "l"]), prop::sample::select(vec!["1", "2"]));
    prop::collection::vec(pair, 0..3).prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
}

fn any_selector() -> impl Strategy<Value = LabelSelector> {
    let one = prop_oneof![
        4 => any_labels().prop_map(|labels| json!({"matchLabels": labels})),
        1 => Just(json!({"matchExpressions": [{"key": "k", "operator": "In", "values": ["1", "3"]}]})),
        1 => Just(json!({"matchExpressions": [{"key": "l", "operator": "Exists"}]})),
        1 => Just(json!({"matchExpressions": [{"key": "l", "operator": "DoesNotExist"}]})),
        1 => Just(json!({"matchExpressions": [{"key": "k", "operator": "NotIn", "values": ["1"]}]})),
        1 => Just(json!({"matchExpressions": [{"key": "k", "operator": "In"}]})),
    ];
    one.prop_map(|selector| serde_json::from_value(selector).unwrap())
}

fn any_spec() -> impl Strategy<Value = BindingPolicySpec> {
    let names = |names: &'static [&'static str]| prop::collection::vec(prop::sample::select(names), 0..3);
    let clause = (
        prop::option::of(prop::sample::select(vec!["", "apps"])),
        names(&["deployments", "configmaps", "namespaces", "*"]),
        names(&["a", "b", "", "*"]),
        prop::collection::vec(any_selector(), 0..2),
        prop::collection::vec(any_selector(), 0..3),
        names(&["a", "b", "*"]),
        any::<bool>(),
    );
    let clause = clause.prop_map(|(group, resources, namespaces, by_namespace, by_label, object_names, create_only)| {
        json!({"apiGroup": group, "resources": resources, "namespaces": namespaces, "namespaceSelectors": by_namespace,
               "objectSelectors": by_label, "objectNames": object_names, "createOnly": create_only})
    });
    let parts = (prop::collection::vec(clause, 0..3), prop::collection::vec(any_selector(), 0..3));
    parts.prop_map(|(downsync, clusters)| {
        serde_json::from_value(json!({"downsync": downsync, "clusterSelectors": clusters})).unwrap()
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let place = || (0..RESOURCES.len(), 0..NAMES.len(), 0..NAMES.len());
    prop_oneof![
        6 => (place(), any_labels(), 0..3u8, prop::bool::weighted(0.1)).prop_map(
            |((resource, namespace, name), labels, generation, deleting)| Step::Object { resource, namespace, name, labels, generation, deleting }),
        2 => place().prop_map(|(resource, namespace, name)| Step::Gone { resource, namespace, name }),
        3 => (0..3usize, any_spec()).prop_map(|(name, spec)| Step::Policy { name, spec }),
        1 => (0..3usize).prop_map(|name| Step::NoPolicy { name }),
        2 => (0..3usize, any_labels()).prop_map(|(name, labels)| Step::Cluster { name, labels }),
        1 => (0..3usize).prop_map(|name| Step::NoCluster { name }),
    ]
}

fn place(resource: usize, namespace: usize, name: usize) -> (Resource, ObjectName) {
    let resource = RESOURCES[resource].clone();
    let name = if resource.namespaced {
        ObjectName::namespaced(NAMES[namespace], NAMES[name])
    } else {
        ObjectName::cluster(NAMES[name])
    };
    (resource, name)
}

/// What the rules say, read off them one by one for every object and policy.
#[derive(Default)]
struct Oracle {
    objects: BTreeMap<(String, ObjectName), (Resource, Arc<WorkloadHeader>)>,
    policies: BTreeMap<String, BindingPolicySpec>,
    clusters: BTreeMap<String, Labels>,
}

fn selector_matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let valid = selector
        .match_expressions
        .iter()
        .all(|e| !["In", "NotIn"].contains(&e.operator.as_str()) || !e.values.is_empty());
    valid
        && selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && selector.match_expressions.iter().all(|e| match (e.operator.as_str(), labels.get(&e.key)) {
            ("In", Some(value)) => e.values.contains(value),
            ("NotIn", Some(value)) => !e.values.contains(value),
            ("NotIn" | "DoesNotExist", None) | ("Exists", Some(_)) => true,
            _ => false,
        })
}

impl Oracle {
    fn resolve(&self, spec: &BindingPolicySpec) -> (BTreeMap<String, bool>, BTreeSet<ClusterName>) {
        let mut objects = BTreeMap::new();
        for (resource, object) in self.objects.values() {
            for clause in &spec.downsync {
                let open = |list: &[String], value: &str| {
                    list.is_empty() || list.iter().any(|item| item == "*") || list.iter().any(|item| item == value)
                };
                let namespace =
                    self.objects.get(&("namespaces".into(), ObjectName::cluster(object.name.namespace.clone())));
                let by_namespace = clause.namespace_selectors.is_empty()
                    || clause.namespace_selectors.contains(&LabelSelector::default())
                    || namespace.is_some_and(|(_, namespace)| {
                        clause.namespace_selectors.iter().any(|s| selector_matches(s, &namespace.labels))
                    });
                if !object.deleting
                    && clause.api_group.as_ref().is_none_or(|group| *group == resource.group)
                    && open(&clause.resources, &resource.plural)
                    && open(&clause.namespaces, &object.name.namespace)
                    && open(&clause.object_names, &object.name.name)
                    && (clause.object_selectors.is_empty()
                        || clause.object_selectors.iter().any(|s| selector_matches(s, &object.labels)))
                    && by_namespace
                {
                    *objects.entry(format!("{} {}", resource.group_resource(), object.name)).or_insert(false) |=
                        clause.modulation.create_only;
                }
            }
        }
        let clusters = self
            .clusters
            .iter()
            .filter(|(_, labels)| spec.cluster_selectors.iter().any(|s| selector_matches(s, labels)));
        (objects, clusters.map(|(name, _)| ClusterName::from(name.as_str())).collect())
    }
}

/// An explanation says that an object or a cluster is chosen exactly if the index chose it; and when the labels are
/// changed as it says, the test that it is about passes.
fn explanations_agree(policy: &BindingPolicy, oracle: &Oracle, index: &Index) -> Result<(), TestCaseError> {
    let name = BindingName::from(policy.metadata.name.as_str());
    let clusters: Vec<_> = oracle.clusters.iter().map(|(name, labels)| cluster(name, labels)).collect();
    let resolution = index.resolution(&name).expect("a policy that is there");
    for (resource, object) in oracle.objects.values() {
        let resource = resource.group_resource();
        let namespace = ObjectName::cluster(object.name.namespace.clone());
        let namespace = oracle.objects.get(&("namespaces".into(), namespace)).map(|(_, held)| &held.labels);
        let said = verdict(policy, &resource, object, namespace, &clusters);
        let chosen = index.objects_of(&name).any(|(id, _)| *id.resource == resource && id.name == object.name);
        prop_assert_eq!(said.selected, chosen, "{:?}", said);
        for found in &said.clusters {
            let chosen = resolution.destinations().contains(&ClusterName::from(found.cluster.as_str()));
            prop_assert_eq!(found.selected, chosen);
            prop_assert_eq!(found.unmet.is_none(), chosen);
        }
        for clause in &said.clauses {
            let accepts = clause.unmet.is_empty();
            prop_assert!(!accepts || chosen || object.deleting);
            let (mut after, mut after_namespace) = ((**object).clone(), namespace.cloned());
            for unmet in &clause.unmet {
                let Some(Change::Label { target, edits }) = &unmet.change else { continue };
                let labels = match target {
                    Target::Object => &mut after.labels,
                    _ => after_namespace.as_mut().expect("only labels that are there are changed"),
                };
                for (key, value) in edits {
                    match value {
                        Some(value) => labels.insert(key.clone(), value.clone()),
                        None => labels.remove(key),
                    };
                }
            }
            let again = verdict(policy, &resource, &after, after_namespace.as_ref(), &[]);
            for unmet in &clause.unmet {
                let passes = again.clauses[clause.clause].unmet.iter().all(|left| left.field != unmet.field);
                prop_assert_eq!(passes, matches!(unmet.change, Some(Change::Label { .. })), "{:?}", unmet);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_index_agrees_with_the_rules(steps in prop::collection::vec(any_step(), 1..40)) {
        let (mut index, mut oracle) = (Index::default(), Oracle::default());
        for resource in RESOURCES {
            let key = resource.group_resource();
            index.set_resource(resource);
            index.complete_resource(&key);
        }
        let mut before: BTreeMap<BindingName, Resolution> = BTreeMap::new();
        for (at, step) in steps.into_iter().enumerate() {
            let touched = match step {
                Step::Object { resource, namespace, name, labels, generation, deleting } => {
                    let (resource, name) = place(resource, namespace, name);
                    let mut meta = json!({"namespace": name.namespace, "name": name.name, "labels": labels,
                                      "generation": generation, "resourceVersion": at.to_string()});
                    if deleting {
                        meta["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                    }
                    let header = header(&meta);
                    oracle.objects.insert((resource.plural.to_string(), name.clone()), (resource.clone(), header.clone()));
                    index.set_object(&resource.group_resource(), &name, Some(header))
                }
                Step::Gone { resource, namespace, name } => {
                    let (resource, name) = place(resource, namespace, name);
                    oracle.objects.remove(&(resource.plural.to_string(), name.clone()));
                    index.set_object(&resource.group_resource(), &name, None)
                }
                Step::Policy { name, spec } => {
                    oracle.policies.insert(NAMES[name].into(), spec.clone());
                    let mut made = policy(NAMES[name], &json!({}));
                    made.spec = spec;
                    index.set_policy(&NAMES[name].into(), Some(&made))
                }
                Step::NoPolicy { name } => {
                    oracle.policies.remove(NAMES[name]);
                    index.set_policy(&NAMES[name].into(), None)
                }
                Step::Cluster { name, labels } => {
                    oracle.clusters.insert(NAMES[name].into(), labels.clone());
                    index.set_cluster(&NAMES[name].into(), Some(&cluster(NAMES[name], &labels)))
                }
                Step::NoCluster { name } => {
                    oracle.clusters.remove(NAMES[name]);
                    index.set_cluster(&NAMES[name].into(), None)
                }
            };
            let mut now = BTreeMap::new();
            for name in NAMES.map(BindingName::from) {
                let resolution = index.resolution(&name);
                prop_assert_eq!(resolution.is_some(), oracle.policies.contains_key(name.as_str()));
                if let Some(resolution) = resolution {
                    let (objects, clusters) = oracle.resolve(&oracle.policies[name.as_str()]);
                    let found = index.objects_of(&name).map(|(id, m)| (id.to_string(), m.create_only)).collect();
                    prop_assert_eq!(objects, found);
                    prop_assert_eq!(&clusters, resolution.destinations());
                    let made = BindingPolicy { spec: oracle.policies[name.as_str()].clone(), ..policy(name.as_str(), &json!({})) };
                    explanations_agree(&made, &oracle, &index)?;
                    for (id, modulation) in index.objects_of(&name) {
                        let requests = index.requests(id);
                        let request = requests.iter().find(|r| *r.policy == name).expect("both ways");
                        prop_assert_eq!(request.modulation, modulation);
                    }
                    now.insert(name, resolution);
                }
            }
            for name in NAMES.map(BindingName::from).iter().filter(|name| !touched.bindings.contains(*name)) {
                prop_assert_eq!(before.get(name), now.get(name), "changed, and was not told");
            }
            before = now;
        }
    }
}
