//! Apply: makes the objects of a WEC what the manifests of a ManifestWork ask, one manifest at a time.
//!
//! The rules are those of OCM's work agent (kinds in order, ownership by AppliedManifestWork, update strategies), so that
//! a cluster cannot tell which of the two agents it has.

mod carry;
mod order;
mod report;
pub mod reported;
#[cfg(test)]
mod tests;

pub use order::rank;
pub use report::{Outcome, Report, applied_resources, report};

use api::cluster::AppliedResource;
use api::work::{DeleteOption, ManifestConfig, ORPHAN_ANNOTATION, ResourceIdentifier, TAKE_OVER_ANNOTATION};
use api::{Object, ObjectName, Op, OwnerReference, Resource};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use machinery::diff;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// How an object that is there already is changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Strategy {
    /// Replaced when it differs.
    #[default]
    Update,
    /// Made once, never changed.
    CreateOnly,
    /// Server-side apply under a field manager.
    ServerSideApply {
        /// Take fields that others own.
        force: bool,
    },
    /// Only looked at.
    ReadOnly,
}

/// The strategy that a work's configuration gives to one manifest: the first entry that names it and has one.
pub fn strategy(configs: &[ManifestConfig], resource: &Resource, name: &ObjectName) -> Strategy {
    let named = configs.iter().filter(|config| names(&config.resource_identifier, resource, name));
    match named.filter_map(|config| config.update_strategy.as_ref()).next() {
        None => Strategy::Update,
        Some(chosen) => match chosen.type_.as_str() {
            "CreateOnly" => Strategy::CreateOnly,
            "ReadOnly" => Strategy::ReadOnly,
            "ServerSideApply" => Strategy::ServerSideApply {
                force: chosen.server_side_apply.as_ref().is_some_and(|options| options.force),
            },
            _ => Strategy::Update,
        },
    }
}

pub(crate) fn names(identifier: &ResourceIdentifier, resource: &Resource, name: &ObjectName) -> bool {
    identifier.group == resource.group
        && identifier.resource == resource.plural
        && like(&identifier.namespace, &name.namespace)
        && like(&identifier.name, &name.name)
}

/// Whether a text fits a pattern in which `*` stands for any text.
fn like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => {
            let Some(rest) = text.strip_prefix(head) else { return false };
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| like(tail, &rest[at..]))
        }
    }
}

/// One manifest, and how it is handled.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The manifest as it was sent.
    pub manifest: &'a Object,
    /// Where objects of its kind are.
    pub resource: &'a Resource,
    /// How an object that is there is changed.
    pub strategy: &'a Strategy,
    /// The AppliedManifestWork that owns it.
    pub owner: &'a OwnerReference,
    /// Whether this content was applied before: then an object that has all of it is left alone, whatever else it has.
    pub applied_before: bool,
}

/// The write that makes the live object what is wanted, if one is needed.
pub fn plan(wanted: &Wanted<'_>, live: Option<&Object>) -> Option<Op> {
    let resource = wanted.resource.clone();
    let name = wanted.manifest.object_name();
    let Some(live) = live else {
        return match wanted.strategy {
            Strategy::ReadOnly => None,
            Strategy::ServerSideApply { force } => {
                Some(Op::new(resource, name, api::Write::Apply { object: desired(wanted, None), force: *force }))
            }
            Strategy::Update | Strategy::CreateOnly => Some(Op::create(resource, desired(wanted, None))),
        };
    };
    let owned = live.owner_references().iter().any(|held| held.uid == wanted.owner.uid);
    let adopt = || {
        let mut owners = live.owner_references();
        owners.push(wanted.owner.clone());
        let patch = json!({"metadata": {"ownerReferences": owners, "uid": live.uid(), "resourceVersion": live.resource_version()}});
        Op::merge_patch(wanted.resource.clone(), name.clone(), patch)
    };
    match wanted.strategy {
        Strategy::ReadOnly => None,
        Strategy::CreateOnly => (!owned).then(adopt),
        // Something that is on its way out is made anew once it is gone.
        _ if live.is_deleting() => None,
        Strategy::ServerSideApply { force } => {
            let settled = owned && wanted.applied_before && has_all(wanted, live);
            (!settled).then(|| {
                let write = api::Write::Apply { object: desired(wanted, Some(live)), force: *force };
                Op::new(resource, name.clone(), write)
            })
        }
        Strategy::Update => {
            if owned && wanted.applied_before && has_all(wanted, live) {
                return None;
            }
            let merged = merged(wanted, live);
            (!diff::same_except_managed_times(&merged, live)).then(|| Op::update(resource, merged))
        }
    }
}

/// What our annotations on a manifest and on an object in a cluster tell the agent.
const MARKS: [&str; 2] = [TAKE_OVER_ANNOTATION, ORPHAN_ANNOTATION];

/// Whether the object has to be read where the watch does not show it: a server-side apply would take over one that is
/// there without a word.
pub fn needs_a_look(wanted: &Wanted<'_>) -> bool {
    *wanted.strategy == Strategy::ReadOnly || wanted.manifest.annotation(TAKE_OVER_ANNOTATION).is_some()
}

/// Why an object that is there is left alone, if no work has made it and the manifest says that it must not be taken over.
pub fn refusal(wanted: &Wanted<'_>, live: Option<&Object>) -> Option<String> {
    let how = wanted.manifest.annotation(TAKE_OVER_ANNOTATION)?;
    let live = live?;
    let ours = live.owner_references().iter().any(|owner| owner.kind == api::work::APPLIED_MANIFEST_WORKS.kind);
    if ours || *wanted.strategy == Strategy::ReadOnly {
        return None;
    }
    let unmarked = |object: &Object| {
        let mut object = object.clone();
        if let Some(Value::Object(annotations)) = object.metadata_mut().get_mut("annotations") {
            annotations.retain(|key, _| !MARKS.contains(&key.as_str()));
        }
        object
    };
    let (manifest, live) = (unmarked(wanted.manifest), unmarked(live));
    match how {
        "Never" => Some("it is there already, KubeStellar has not made it, and its policy says takeOver: Never".into()),
        "IfNoDiff" if !has_all(&Wanted { manifest: &manifest, ..*wanted }, &live) => Some(
            "it is there already and is not as asked, KubeStellar has not made it, and its policy says takeOver: IfNoDiff"
                .into(),
        ),
        _ => None,
    }
}

/// Maps that nobody adds to but who wrote them: a key too many is drift there.
const WHOLE: [(&str, &str); 3] = [("ConfigMap", "data"), ("ConfigMap", "binaryData"), ("Secret", "data")];

/// A manifest as servers keep it: they turn the clear text of a Secret into its data.
fn settled(manifest: &Object) -> Cow<'_, Object> {
    let text = manifest.0.get("stringData").and_then(Value::as_object);
    let Some(text) = text.filter(|_| manifest.api_version() == "v1" && manifest.kind() == "Secret") else {
        return Cow::Borrowed(manifest);
    };
    let mut next = manifest.clone();
    next.0.remove("stringData");
    let data = next.0.entry("data").or_insert_with(|| Map::new().into());
    for (key, value) in text {
        data[key] = STANDARD.encode(value.as_str().unwrap_or_default()).into();
    }
    Cow::Owned(next)
}

/// Whether a live object has everything that the manifest says, apart from status and what only a server sets.
fn has_all(wanted: &Wanted<'_>, live: &Object) -> bool {
    let asked = |object: &Object| {
        let mut object = object.0.clone();
        object.remove("status");
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.retain(|key, _| matches!(key.as_str(), "labels" | "annotations" | "name" | "namespace"));
        }
        Value::Object(object)
    };
    let manifest = settled(wanted.manifest);
    let whole = WHOLE.iter().filter(|(kind, field)| manifest.kind() == *kind && manifest.0.contains_key(*field));
    let mut whole = whole.map(|(_, field)| (manifest.0.get(*field), live.0.get(*field)));
    let is_map = |value: &Value| value.as_object().is_some_and(|map| !map.is_empty());
    let replaced = *wanted.strategy == Strategy::Update;
    // A mark that is no longer asked would still be followed; one that a test of likeness has taken off is not asked.
    let orphan = |object: &Object| object.annotation(ORPHAN_ANNOTATION).is_some();
    (orphan(wanted.manifest) || !orphan(live))
        && (!replaced || whole.all(|(asked, held)| asked == held || !asked.is_some_and(is_map)))
        && diff::subset(&asked(&manifest), &Value::Object(live.0.clone()))
}

/// The manifest as it is created: without what a server sets, owned.
fn desired(wanted: &Wanted<'_>, live: Option<&Object>) -> Object {
    let mut object = settled(wanted.manifest).into_owned();
    object.0.remove("status");
    let metadata = object.metadata_mut();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"] {
        metadata.remove(field);
    }
    let mut owners = live.map(Object::owner_references).unwrap_or_default();
    if !owners.iter().any(|held| held.uid == wanted.owner.uid) {
        owners.push(wanted.owner.clone());
    }
    object.set_meta("ownerReferences", json!(owners));
    object
}

/// The live object with the manifest's content in it: metadata merged, everything else but status replaced.
fn merged(wanted: &Wanted<'_>, live: &Object) -> Object {
    let manifest = desired(wanted, Some(live));
    let mut next = live.clone();
    let keep = ["apiVersion", "kind", "metadata", "status"];
    next.0.retain(|key, _| keep.contains(&key.as_str()) || manifest.0.contains_key(key));
    for (key, value) in &manifest.0 {
        if key != "metadata" && key != "status" {
            next.0.insert(key.clone(), value.clone());
        }
    }
    for field in ["labels", "annotations"] {
        if let Some(Value::Object(asked)) = manifest.meta(field) {
            let slot = next.metadata_mut().entry(field).or_insert_with(|| Map::new().into());
            if let Value::Object(held) = slot {
                held.extend(asked.clone());
            }
        }
    }
    if let Some(Value::Object(annotations)) = next.metadata_mut().get_mut("annotations") {
        annotations.retain(|key, _| !MARKS.contains(&key.as_str()) || manifest.annotation(key).is_some());
    }
    next.set_meta("ownerReferences", manifest.meta("ownerReferences").cloned().unwrap_or_default());
    carry::over(live, &mut next);
    next
}

/// What is done with an object that a work no longer asks for. One that is marked so stays.
pub fn withdraw(resource: &Resource, live: &Object, owner_uid: &str) -> Option<Op> {
    if live.annotation(ORPHAN_ANNOTATION) == Some("true") {
        return release(resource, live, owner_uid);
    }
    let mut owners = live.owner_references();
    let held = owners.len();
    owners.retain(|owner| owner.uid != owner_uid);
    if owners.len() == held {
        return None; // not ours: never deleted
    }
    let name = live.object_name();
    let others = owners.iter().any(|owner| owner.kind == api::work::APPLIED_MANIFEST_WORKS.kind);
    if others {
        let patch = json!({"metadata": {"ownerReferences": owners, "uid": live.uid(), "resourceVersion": live.resource_version()}});
        return Some(Op::merge_patch(resource.clone(), name, patch));
    }
    let write = api::Write::Delete {
        uid: Some(live.uid().to_owned()),
        resource_version: None,
        propagation: Some(api::Propagation::Background),
    };
    (!live.is_deleting()).then(|| Op::new(resource.clone(), name, write))
}

/// What is done with an object that stays in the cluster though its work goes: it is ours no longer.
pub fn release(resource: &Resource, live: &Object, owner_uid: &str) -> Option<Op> {
    let mut owners = live.owner_references();
    let held = owners.len();
    owners.retain(|owner| owner.uid != owner_uid);
    let patch =
        json!({"metadata": {"ownerReferences": owners, "uid": live.uid(), "resourceVersion": live.resource_version()}});
    (owners.len() < held).then(|| Op::merge_patch(resource.clone(), live.object_name(), patch))
}

/// Whether a work leaves an object behind when it is deleted.
pub fn is_orphaned(option: Option<&DeleteOption>, held: &AppliedResource) -> bool {
    let Some(option) = option else { return false };
    match option.propagation_policy.as_str() {
        "Orphan" => true,
        "SelectivelyOrphan" => option.selectively_orphans.iter().flat_map(|s| &s.orphaning_rules).any(|rule| {
            (&rule.group, &rule.resource, &rule.namespace, &rule.name)
                == (&held.group, &held.resource, &held.namespace, &held.name)
        }),
        _ => false,
    }
}
