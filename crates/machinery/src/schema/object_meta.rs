//! The schema of `metadata`, for custom resources, whose own schemas do not describe it.

use super::node::Schema;
use super::parse::from_definitions;
use serde_json::json;
use std::sync::LazyLock;

static OBJECT_META: LazyLock<Schema> = LazyLock::new(|| {
    const NAME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let text = json!({"type": "string"});
    let time = json!({"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Time"});
    let whole = json!({"type": "integer", "format": "int64"});
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let definitions = json!({
        NAME: {"type": "object", "properties": {
            "annotations": texts,
            "creationTimestamp": time,
            "deletionGracePeriodSeconds": whole,
            "deletionTimestamp": time,
            "finalizers": {"type": "array", "items": text, "x-kubernetes-list-type": "set",
                "x-kubernetes-patch-strategy": "merge"},
            "generateName": text,
            "generation": whole,
            "labels": texts,
            "managedFields": {"type": "array", "x-kubernetes-list-type": "atomic",
                "items": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry"}},
            "name": text,
            "namespace": text,
            "ownerReferences": {"type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["uid"], "x-kubernetes-patch-merge-key": "uid",
                "x-kubernetes-patch-strategy": "merge",
                "items": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference"}},
            "resourceVersion": text,
            "selfLink": text,
            "uid": text,
        }},
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time": {"type": "string", "format": "date-time"},
        "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": {"type": "object"},
        "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry": {"type": "object", "properties": {
            "apiVersion": text,
            "fieldsType": text,
            "fieldsV1": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"},
            "manager": text,
            "operation": text,
            "subresource": text,
            "time": time,
        }},
        "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference": {"type": "object", "x-kubernetes-map-type": "atomic",
            "required": ["apiVersion", "kind", "name", "uid"], "properties": {
            "apiVersion": text,
            "blockOwnerDeletion": {"type": "boolean"},
            "controller": {"type": "boolean"},
            "kind": text,
            "name": text,
            "uid": text,
        }},
    });
    let definitions = definitions.as_object().expect("written as an object above");
    let set = from_definitions(definitions).expect("every reference above leads to a definition above");
    set.named(NAME).expect("defined above")
});

/// The schema of `metav1.ObjectMeta`.
pub fn object_meta() -> &'static Schema {
    &OBJECT_META
}
