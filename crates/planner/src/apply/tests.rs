//! Tables for `apply`.

use super::*;
use api::work::UpdateStrategy;

const MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
const SERVICES: Resource = Resource::namespaced("", "v1", "services", "Service");

fn owner() -> OwnerReference {
    OwnerReference {
        api_version: "work.open-cluster-management.io/v1".into(),
        kind: "AppliedManifestWork".into(),
        name: "hash-work".into(),
        uid: "owner".into(),
        ..OwnerReference::default()
    }
}

fn object(text: Value) -> Object {
    serde_json::from_value(text).unwrap()
}

fn map(data: Value) -> Object {
    object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "ns"}, "data": data}))
}

/// Like a server: the object as it is after an op.
fn carried_out(op: &Op, live: Option<&Object>) -> Object {
    let mut next = match &op.write {
        api::Write::Create(object) | api::Write::Update(object) => object.clone(),
        api::Write::Apply { object, .. } => {
            let mut next = live.cloned().unwrap_or_default();
            next.0.extend(object.0.clone());
            next
        }
        api::Write::MergePatch(patch) => {
            let mut next = live.cloned().unwrap();
            let owners = patch["metadata"]["ownerReferences"].clone();
            next.set_meta("ownerReferences", owners);
            next
        }
        other => panic!("{other:?}"),
    };
    next.set_meta("uid", "live");
    next.set_meta("resourceVersion", "7");
    next
}

#[track_caller]
fn check(strategy: &Strategy, before: bool, manifest: &Object, live: Option<Object>, expected: &str) {
    let owner = owner();
    let mut wanted = Wanted { manifest, resource: &MAPS, strategy, owner: &owner, applied_before: before };
    let op = plan(&wanted, live.as_ref());
    assert_eq!(op.as_ref().map(Op::to_string).unwrap_or_default(), expected);
    if let Some(op) = op {
        let next = carried_out(&op, live.as_ref());
        wanted.applied_before = true;
        assert_eq!(plan(&wanted, Some(&next)), None, "a plan that was carried out must leave nothing to do");
    }
}

fn live(data: Value, owned: bool) -> Object {
    let mut live = map(data);
    live.set_meta("uid", "live");
    live.set_meta("resourceVersion", "5");
    if owned {
        live.set_meta("ownerReferences", json!([owner()]));
    }
    live
}

#[test]
fn plans() {
    let wanted = map(json!({"k": "1"}));
    let update = Strategy::Update;
    check(&update, false, &wanted, None, "create configmaps ns/a");
    check(&update, true, &wanted, None, "create configmaps ns/a");
    check(&update, true, &wanted, Some(live(json!({"k": "1"}), true)), "");
    check(&update, true, &wanted, Some(live(json!({"k": "2"}), true)), "update configmaps ns/a");
    check(&update, true, &wanted, Some(live(json!({"k": "1"}), false)), "update configmaps ns/a");
    check(&update, true, &wanted, Some(live(json!({"k": "1", "x": "y"}), true)), "update configmaps ns/a");
    check(&update, false, &wanted, Some(live(json!({"k": "1", "x": "y"}), true)), "update configmaps ns/a");

    check(&Strategy::CreateOnly, false, &wanted, None, "create configmaps ns/a");
    check(&Strategy::CreateOnly, false, &wanted, Some(live(json!({"k": "2"}), true)), "");
    check(&Strategy::CreateOnly, false, &wanted, Some(live(json!({"k": "2"}), false)), "patch configmaps ns/a");
    check(&Strategy::ReadOnly, false, &wanted, None, "");
    check(&Strategy::ReadOnly, false, &wanted, Some(live(json!({}), false)), "");
    let apply = Strategy::ServerSideApply { force: true };
    check(&apply, false, &wanted, None, "apply configmaps ns/a");
    check(&apply, true, &wanted, Some(live(json!({"k": "1"}), true)), "");
    check(&apply, true, &wanted, Some(live(json!({"k": "2"}), true)), "apply configmaps ns/a");
}

#[test]
fn late_bound_fields_stay() {
    let manifest = object(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "ns"},
        "spec": {"ports": [{"port": 80}, {"port": 81, "nodePort": null}], "selector": {"app": "new"}}}));
    let live = object(json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "a", "namespace": "ns", "uid": "live", "labels": {"x": "y"}},
        "spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "selector": {"app": "old"},
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 81, "nodePort": 30081}]},
        "status": {"loadBalancer": {}}}));
    let owner = owner();
    let wanted = Wanted {
        manifest: &manifest,
        resource: &SERVICES,
        strategy: &Strategy::Update,
        owner: &owner,
        applied_before: false,
    };
    let Some(Op { write: api::Write::Update(next), .. }) = plan(&wanted, Some(&live)) else { panic!("an update") };
    assert_eq!(next.pointer("/spec/clusterIP"), Some(&json!("10.0.0.1")));
    assert_eq!(next.pointer("/spec/ports/0/nodePort"), Some(&json!(30080)));
    assert_eq!(next.pointer("/spec/ports/1/nodePort"), Some(&json!(30081)));
    assert_eq!(next.pointer("/spec/selector/app"), Some(&json!("new")));
    assert_eq!(next.label("x"), Some("y"));
    assert_eq!(next.pointer("/status/loadBalancer"), Some(&json!({})));
}

#[test]
fn withdraws_only_what_is_ours() {
    let shown = |live: &Object| withdraw(&MAPS, live, "owner").as_ref().map(Op::to_string).unwrap_or_default();
    assert_eq!(shown(&live(json!({}), false)), "");
    assert_eq!(shown(&live(json!({}), true)), "delete configmaps ns/a");
    let mut shared = live(json!({}), true);
    let mut other = owner();
    other.uid = "other".into();
    shared.set_meta("ownerReferences", json!([owner(), other]));
    assert_eq!(shown(&shared), "patch configmaps ns/a");
    let mut leaving = live(json!({}), true);
    leaving.set_meta("deletionTimestamp", "2026-11-22T00:00:00Z");
    assert_eq!(shown(&leaving), "");
}

#[test]
fn strategies_are_named_by_configuration() {
    let config = |name: &str, type_: &str| ManifestConfig {
        resource_identifier: ResourceIdentifier {
            resource: "configmaps".into(),
            namespace: "ns".into(),
            name: name.into(),
            ..ResourceIdentifier::default()
        },
        update_strategy: Some(UpdateStrategy { type_: type_.into(), server_side_apply: None }),
        ..ManifestConfig::default()
    };
    let name = ObjectName::namespaced("ns", "abc");
    assert_eq!(strategy(&[], &MAPS, &name), Strategy::Update);
    assert_eq!(strategy(&[config("x", "CreateOnly")], &MAPS, &name), Strategy::Update);
    assert_eq!(strategy(&[config("a*c", "CreateOnly"), config("*", "ReadOnly")], &MAPS, &name), Strategy::CreateOnly);
    assert!(like("*", "") && like("a*", "abc") && like("a*b*c", "axxbyyc") && !like("a*b", "abc"));
}

#[test]
fn reports_settle() {
    let now = api::Timestamp::from_seconds(1_795_382_640);
    let outcome = |failure: Option<&str>, uid: Option<&str>| Outcome {
        ordinal: 0,
        resource: Some(MAPS),
        kind: MAPS.group_version_kind(),
        name: ObjectName::namespaced("ns", "a"),
        failure: failure.map(str::to_owned),
        uid: uid.map(str::to_owned),
        feedback: None,
    };
    let good = report(&api::work::ManifestWorkStatus::default(), &[outcome(None, Some("u"))], 3, now);
    assert!(good.changed);
    let later = api::Timestamp::from_seconds(1_795_382_700);
    let again = report(&good.status, &[outcome(None, Some("u"))], 3, later);
    assert!(!again.changed, "the same truth is not written twice");
    let bad = report(&good.status, &[outcome(Some("no such kind"), None)], 4, later);
    let said: Vec<_> = bad.status.conditions.iter().map(|c| (c.reason.as_str(), c.observed_generation)).collect();
    assert_eq!(said, [("AppliedManifestWorkFailed", Some(4)), ("ResourcesNotAvailable", Some(4))]);
    let value = api::work::FeedbackValue { name: "Replicas".into(), ..Default::default() };
    let seen = crate::feedback::Feedback { values: vec![value], problems: Vec::new() };
    let seen = Outcome { feedback: Some(seen), ..outcome(None, Some("u")) };
    let told = report(&good.status, std::slice::from_ref(&seen), 3, later);
    assert_eq!(told.status.resource_status.manifests[0].status_feedback.values.len(), 1);
    assert!(!report(&told.status, &[seen], 3, later).changed);
    assert!(!report(&told.status, &[outcome(None, Some("u"))], 3, later).changed, "what was seen stands");
    assert_eq!(applied_resources(&[outcome(None, Some("u")), outcome(Some("x"), None)]).len(), 1);
    assert!(
        rank("Namespace") < rank("ConfigMap")
            && rank("ConfigMap") < rank("Deployment")
            && rank("X") > rank("APIService")
    );
}

#[test]
fn secrets_are_compared_as_servers_keep_them() {
    let secret = |text: Value| {
        let mut secret =
            object(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "ns"}}));
        secret.0.extend(text.as_object().unwrap().clone());
        secret
    };
    let kept = |data: Value| {
        let mut kept = secret(json!({"data": data}));
        kept.set_meta("ownerReferences", json!([owner()]));
        kept
    };
    let manifest = secret(json!({"stringData": {"k": "v"}}));
    check(&Strategy::Update, true, &manifest, Some(kept(json!({"k": "dg=="}))), "");
    check(&Strategy::Update, true, &manifest, Some(kept(json!({"k": "eA=="}))), "update configmaps ns/a");
    check(&Strategy::Update, false, &manifest, None, "create configmaps ns/a");
}

#[test]
fn a_key_too_many_is_drift_where_nobody_else_adds_keys() {
    let live = |data: Value| {
        let mut live = map(data);
        live.set_meta("ownerReferences", json!([owner()]));
        live
    };
    check(&Strategy::Update, true, &map(json!({"k": "1"})), Some(live(json!({"k": "1"}))), "");
    let more = live(json!({"k": "1", "l": "2"}));
    check(&Strategy::Update, true, &map(json!({"k": "1"})), Some(more.clone()), "update configmaps ns/a");
    check(&Strategy::Update, true, &map(json!({})), Some(more), "");
}

#[test]
fn what_others_have_made_is_taken_over_as_asked() {
    let owner = owner();
    let refused = |how: &str, live: Option<&Object>| {
        let mut manifest = map(json!({"k": "1"}));
        manifest.set_meta("annotations", json!({TAKE_OVER_ANNOTATION: how}));
        let strategy = Strategy::ServerSideApply { force: false };
        let wanted =
            Wanted { manifest: &manifest, resource: &MAPS, strategy: &strategy, owner: &owner, applied_before: false };
        refusal(&wanted, live).is_some()
    };
    let (same, other) = (map(json!({"k": "1", "more": "2"})), map(json!({"k": "2"})));
    let mut made = other.clone();
    made.set_meta("ownerReferences", json!([OwnerReference { uid: "another".into(), ..owner.clone() }]));
    for (how, live, expected) in [
        ("Never", None, false),
        ("Never", Some(&same), true),
        ("Never", Some(&made), false),
        ("IfNoDiff", Some(&same), false),
        ("IfNoDiff", Some(&other), true),
        ("IfNoDiff", Some(&made), false),
        ("Always", Some(&other), false),
    ] {
        assert_eq!(refused(how, live), expected, "{how} {live:?}");
    }
}

#[test]
fn what_is_marked_stays_when_it_is_withdrawn() {
    let mut live = map(json!({"k": "1"}));
    live.set_meta("uid", "live");
    live.set_meta("ownerReferences", json!([owner()]));
    let told = |live: &Object| withdraw(&MAPS, live, "owner").map(|op| op.verb().to_owned());
    assert_eq!(told(&live).as_deref(), Some("delete"));
    live.set_meta("annotations", json!({ORPHAN_ANNOTATION: "true"}));
    assert_eq!(told(&live).as_deref(), Some("patch"));
    // The mark goes from the object when it is no longer asked.
    check(&Strategy::Update, true, &map(json!({"k": "1"})), Some(live), "update configmaps ns/a");
}
