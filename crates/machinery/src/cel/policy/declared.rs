//! What the expressions of policies may name.

use crate::cel::Declarations;
use crate::cel::types::{AUTHORIZER, Decl, RESOURCE_CHECK, Record, Type};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

fn string() -> Decl {
    Decl::of(Type::String)
}

fn strings() -> Decl {
    Decl::list(string())
}

/// `request`
pub(super) static REQUEST: LazyLock<Arc<Decl>> = LazyLock::new(|| {
    let kind = || {
        Decl::object("kubernetes.GroupVersionKind", [("group", string()), ("version", string()), ("kind", string())])
    };
    let resource = || {
        let fields = [("group", string()), ("version", string()), ("resource", string())];
        Decl::object("kubernetes.GroupVersionResource", fields)
    };
    let user = Decl::object(
        "kubernetes.UserInfo",
        [("username", string()), ("uid", string()), ("groups", strings()), ("extra", Decl::map(strings()))],
    );
    Arc::new(Decl::object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind()),
            ("resource", resource()),
            ("subResource", string()),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource", string()),
            ("name", string()),
            ("namespace", string()),
            ("operation", string()),
            ("userInfo", user),
            ("dryRun", Decl::of(Type::Bool)),
            ("options", Decl::of(Type::Dyn)),
        ],
    ))
});

/// `namespaceObject`
pub(super) static NAMESPACE: LazyLock<Arc<Decl>> = LazyLock::new(|| {
    let time = || Decl::of(Type::Timestamp);
    let metadata = Decl::object(
        "kubernetes.NamespaceMetadata",
        [
            ("name", string()),
            ("generateName", string()),
            ("namespace", string()),
            ("labels", Decl::map(string())),
            ("annotations", Decl::map(string())),
            ("UID", string()),
            ("creationTimestamp", time()),
            ("deletionGracePeriodSeconds", Decl::of(Type::Int)),
            ("deletionTimestamp", time()),
            ("generation", Decl::of(Type::Int)),
            ("resourceVersion", string()),
            ("finalizers", strings()),
        ],
    );
    let condition = Decl::object(
        "kubernetes.NamespaceCondition",
        [
            ("status", string()),
            ("type", string()),
            ("lastTransitionTime", time()),
            ("message", string()),
            ("reason", string()),
        ],
    );
    let status = [("conditions", Decl::list(condition)), ("phase", string())];
    Arc::new(Decl::object(
        "kubernetes.Namespace",
        [
            ("metadata", metadata),
            ("spec", Decl::object("kubernetes.NamespaceSpec", [("finalizers", strings())])),
            ("status", Decl::object("kubernetes.NamespaceStatus", status)),
        ],
    ))
});

/// The variables of every policy.
pub(super) fn declarations(params: bool, authorizer: bool) -> Declarations {
    let mut declared = Declarations::default()
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with("request", REQUEST.ty.clone())
        .with("namespaceObject", NAMESPACE.ty.clone());
    if params {
        declared = declared.with("params", Type::Dyn);
    }
    if authorizer {
        declared = declared
            .with("authorizer", Type::Opaque(AUTHORIZER))
            .with("authorizer.requestResource", Type::Opaque(RESOURCE_CHECK));
    }
    declared
}

/// With `variables`.
pub(super) fn with_variables(declared: Declarations, composed: &[(String, Type)]) -> Declarations {
    let fields: BTreeMap<Box<str>, Arc<Decl>> =
        composed.iter().map(|(name, ty)| (name.as_str().into(), Arc::new(Decl::of(ty.clone())))).collect();
    let record = Record { name: "kubernetes.variables".into(), fields, open: false };
    declared.with(crate::cel::eval::COMPOSED, Type::Object(Arc::new(record)))
}

fn open(name: &str) -> Arc<Record> {
    Arc::new(Record { name: name.into(), fields: BTreeMap::new(), open: true })
}

fn patch() -> Arc<Record> {
    let text = || Arc::new(string());
    let fields = [("op", text()), ("path", text()), ("from", text()), ("value", Arc::new(Decl::of(Type::Dyn)))];
    let fields = fields.into_iter().map(|(name, decl)| (name.into(), decl)).collect();
    Arc::new(Record { name: "JSONPatch".into(), fields, open: false })
}

/// The type of what is applied.
pub(super) fn object_type() -> Type {
    Type::Object(open("Object"))
}

/// The type of an operation of a JSON patch.
pub(super) fn patch_type() -> Type {
    Type::Object(patch())
}

/// With the types that mutations make.
pub(super) fn with_patches(mut declared: Declarations) -> Declarations {
    declared.objects.insert("Object".into(), open("Object"));
    declared.objects.insert("JSONPatch".into(), patch());
    declared
}
