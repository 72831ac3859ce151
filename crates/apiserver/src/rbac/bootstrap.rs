//! The roles and bindings that hold in every space from the beginning: the stock server's bootstrap policy.
//!
//! They are data of the binary and not objects of the store, so that an empty space stays small: see `inherited` for
//! how a space shows them.

use super::aggregate;
use super::policy::{Kind, Policy};
use super::{API_VERSION, GROUP};
use crate::builtin::{self, inflate};
use api::{Object, Timestamp};
use machinery::apply::{FieldSet, Writer};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// Who writes the rules of aggregated roles.
pub(crate) const AGGREGATOR: &str = "clusterrole-aggregation-controller";
/// Who writes the rest.
const SERVER: &str = "kube-apiserver";

/// Everything, by plural; aggregated roles with the rules that they come to have.
static OBJECTS: LazyLock<BTreeMap<String, Vec<Object>>> = LazyLock::new(|| {
    let text = inflate(include_bytes!("../../data/bootstrap-rbac.json.z"));
    let mut objects: BTreeMap<String, Vec<Object>> = serde_json::from_str(&text).expect("the generator writes objects");
    for (kind, plural) in Kind::ALL {
        for object in objects.get_mut(plural).into_iter().flatten() {
            object.0.insert("apiVersion".into(), API_VERSION.into());
            object.0.insert("kind".into(), kind.name().into());
            own(object, Timestamp::from_seconds(0));
        }
    }
    let roles = objects.get_mut("clusterroles").expect("the policy has roles");
    roles.sort_by(|a, b| a.name().cmp(b.name()));
    // Roles that aggregate are aggregated in turn: as often as there are roles on the way, and once more.
    while let Some((at, rules)) =
        roles.iter().enumerate().find_map(|(at, role)| Some((at, aggregate::rules(role, roles)?)))
    {
        roles[at] = aggregated(&roles[at], rules, Timestamp::from_seconds(0));
    }
    objects
});

/// Lets the server own the fields of a new object.
pub(super) fn own(object: &mut Object, now: Timestamp) {
    let nothing = FieldSet::new();
    let writer = Writer { manager: SERVER, api_version: API_VERSION, subresource: "", now, reset: &nothing };
    let schema = builtin::schema(GROUP, "v1", object.kind());
    *object = machinery::apply::update(None, object.clone(), &writer, schema.as_ref());
}

/// A role with aggregated rules, as the controller applies them.
fn aggregated(role: &Object, rules: Vec<serde_json::Value>, now: Timestamp) -> Object {
    let config =
        json!({"apiVersion": API_VERSION, "kind": "ClusterRole", "metadata": {"name": role.name()}, "rules": rules});
    let config = Object(config.as_object().cloned().unwrap_or_default());
    let nothing = FieldSet::new();
    let writer = Writer { manager: AGGREGATOR, api_version: API_VERSION, subresource: "", now, reset: &nothing };
    let schema = builtin::schema(GROUP, "v1", "ClusterRole");
    machinery::apply::apply(Some(role), &config, &writer, true, schema.as_ref()).expect("the policy is consistent")
}

/// The objects of a kind, with marks of `inherited` in place of uid and time.
pub(super) fn objects(kind: Kind) -> Vec<Object> {
    let (_, plural) = Kind::ALL.into_iter().find(|(held, _)| *held == kind).expect("all kinds are listed");
    let mut objects = OBJECTS.get(plural).cloned().unwrap_or_default();
    for object in &mut objects {
        object.set_meta("uid", "@uid@");
        object.set_meta("creationTimestamp", "@time@");
        let entries = object.metadata_mut().get_mut("managedFields").and_then(|held| held.as_array_mut());
        for entry in entries.into_iter().flatten() {
            entry["time"] = "@time@".into();
        }
    }
    objects
}

/// The bootstrap policy. Made once; a space's own policy looks here for what it does not have itself.
pub(super) static BOOTSTRAP: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    let mut policy = Policy::default();
    for (kind, plural) in Kind::ALL {
        for object in OBJECTS.get(plural).into_iter().flatten() {
            policy.put(kind, object);
        }
    }
    Arc::new(policy)
});
