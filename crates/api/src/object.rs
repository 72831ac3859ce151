//! A Kubernetes object as a JSON tree.

use crate::{GroupVersionKind, Labels, ObjectMeta, ObjectName, OwnerReference};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A Kubernetes object of any kind, as a JSON tree. A tree costs about ten times its bytes: it lives inside a write,
/// a patch or an evaluation, and is not what a cache should hold.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Object(pub Map<String, Value>);

impl Object {
    /// An object with kind and name, and nothing else. An empty namespace is left out.
    pub fn new(api_version: &str, kind: &str, name: &ObjectName) -> Self {
        let mut metadata = Map::new();
        metadata.insert("name".into(), name.name.clone().into());
        if !name.namespace.is_empty() {
            metadata.insert("namespace".into(), name.namespace.clone().into());
        }
        let mut object = Map::new();
        object.insert("apiVersion".into(), api_version.into());
        object.insert("kind".into(), kind.into());
        object.insert("metadata".into(), metadata.into());
        Self(object)
    }

    /// From a typed view of ours.
    ///
    /// # Panics
    /// If `value` does not serialise to a JSON object, which is a mistake in the type.
    pub fn from_typed<T: Serialize>(value: &T) -> Self {
        match serde_json::to_value(value) {
            Ok(Value::Object(map)) => Self(map),
            other => panic!("a typed object must serialise to a JSON object, not {other:?}"),
        }
    }

    /// As a typed view.
    ///
    /// # Errors
    /// If the object does not have the shape of `T`.
    pub fn to_typed<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(Value::Object(self.0.clone()))
    }

    /// `apiVersion`, or empty.
    pub fn api_version(&self) -> &str {
        self.0.get("apiVersion").and_then(Value::as_str).unwrap_or("")
    }

    /// `kind`, or empty.
    pub fn kind(&self) -> &str {
        self.0.get("kind").and_then(Value::as_str).unwrap_or("")
    }

    /// Group, version and kind.
    pub fn group_version_kind(&self) -> GroupVersionKind {
        GroupVersionKind::from_api_version(self.api_version(), self.kind())
    }

    /// `metadata.name`, or empty.
    pub fn name(&self) -> &str {
        self.meta_str("name")
    }

    /// `metadata.namespace`, or empty.
    pub fn namespace(&self) -> &str {
        self.meta_str("namespace")
    }

    /// Namespace and name.
    pub fn object_name(&self) -> ObjectName {
        ObjectName::namespaced(self.namespace(), self.name())
    }

    /// `metadata.uid`, or empty.
    pub fn uid(&self) -> &str {
        self.meta_str("uid")
    }

    /// `metadata.resourceVersion`, or empty.
    pub fn resource_version(&self) -> &str {
        self.meta_str("resourceVersion")
    }

    /// `metadata.generation`, or 0.
    pub fn generation(&self) -> i64 {
        self.meta("generation").and_then(Value::as_i64).unwrap_or(0)
    }

    /// Whether `metadata.deletionTimestamp` is set.
    pub fn is_deleting(&self) -> bool {
        self.meta("deletionTimestamp").is_some_and(|value| !value.is_null())
    }

    /// One label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.meta("labels")?.get(key)?.as_str()
    }

    /// One annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.meta("annotations")?.get(key)?.as_str()
    }

    /// All labels.
    pub fn labels(&self) -> Labels {
        let entries = self.meta("labels").and_then(Value::as_object).into_iter().flatten();
        entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// Sets a label.
    pub fn set_label(&mut self, key: &str, value: &str) {
        self.meta_map("labels").insert(key.into(), value.into());
    }

    /// Sets an annotation.
    pub fn set_annotation(&mut self, key: &str, value: &str) {
        self.meta_map("annotations").insert(key.into(), value.into());
    }

    /// `metadata.finalizers`
    pub fn finalizers(&self) -> Vec<&str> {
        let items = self.meta("finalizers").and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).collect()
    }

    /// `metadata.ownerReferences`; entries that are not of that shape are left out.
    pub fn owner_references(&self) -> Vec<OwnerReference> {
        let items = self.meta("ownerReferences").and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| OwnerReference::deserialize(item).ok()).collect()
    }

    /// The metadata as a typed view; what does not have the right shape reads as absent.
    pub fn object_meta(&self) -> ObjectMeta {
        self.0.get("metadata").and_then(|meta| ObjectMeta::deserialize(meta).ok()).unwrap_or_default()
    }

    /// The value at a JSON pointer (RFC 6901).
    pub fn pointer(&self, pointer: &str) -> Option<&Value> {
        let rest = pointer.strip_prefix('/')?;
        let (first, tail) = rest.split_once('/').map_or((rest, ""), |(first, _)| (first, &rest[first.len()..]));
        self.0.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(tail)
    }

    /// One field of the metadata.
    pub fn meta(&self, field: &str) -> Option<&Value> {
        self.0.get("metadata")?.get(field)
    }

    /// The metadata, made if absent.
    pub fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        object_at(&mut self.0, "metadata")
    }

    /// Sets a field of the metadata.
    pub fn set_meta(&mut self, field: &str, value: impl Into<Value>) {
        self.metadata_mut().insert(field.into(), value.into());
    }

    /// The JSON text.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).expect("a JSON tree with text keys always serialises")
    }

    fn meta_str(&self, field: &str) -> &str {
        self.meta(field).and_then(Value::as_str).unwrap_or("")
    }

    fn meta_map(&mut self, field: &str) -> &mut Map<String, Value> {
        object_at(self.metadata_mut(), field)
    }
}

/// The object at `key`, made (or made an object) if it is not one.
fn object_at<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let slot = map.entry(key).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("made an object above")
}

impl From<Map<String, Value>> for Object {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_metadata() {
        let mut object = Object::new("apps/v1", "Deployment", &ObjectName::namespaced("ns", "web"));
        object.set_label("tier", "gold");
        object.0.insert("spec".into(), json!({"a": {"b/c": 1}}));
        assert_eq!(object.label("tier"), Some("gold"));
        assert_eq!(object.object_name().to_string(), "ns/web");
        assert_eq!(object.pointer("/spec/a/b~1c"), Some(&json!(1)));
        assert_eq!(object.pointer("/spec/x"), None);
        assert_eq!(object.group_version_kind().group, "apps");
        assert!(!object.is_deleting());
    }
}
