//! The kinds of `tenancy.kflex.kubestellar.org/v1alpha1`, which live in the hosting space: spaces and what is done when
//! one has been created.

use crate::control::null_is_empty;
use crate::{ConditionStatus, Header, Labels, ObjectMeta, Resource, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// API group of the kinds here.
pub const GROUP: &str = "tenancy.kflex.kubestellar.org";
/// ControlPlanes: one for each space.
pub const CONTROL_PLANES: Resource = Resource::cluster(GROUP, "v1alpha1", "controlplanes", "ControlPlane");
/// PostCreateHooks
pub const POST_CREATE_HOOKS: Resource = Resource::cluster(GROUP, "v1alpha1", "postcreatehooks", "PostCreateHook");

/// Held on a ControlPlane until its space is gone.
pub const FINALIZER: &str = "kflex.kubestellar.org/finalizer";
/// The role of a space: `its` or `wds`.
pub const ROLE_LABEL: &str = "kflex.kubestellar.io/cptype";
/// The port of a space's own, if it has one.
pub const PORT_ANNOTATION: &str = "kubestellar.io/port";
/// The host name of a space's own, if it has one: clients name it in the TLS handshake.
pub const HOST_ANNOTATION: &str = "kubestellar.io/host";
/// The Secret with the kubeconfigs of a space, in the namespace of the ControlPlane.
pub const ADMIN_SECRET: &str = "admin-kubeconfig";
/// Key of the kubeconfig for use from outside.
pub const ADMIN_SECRET_KEY: &str = "kubeconfig";
/// Key of the kubeconfig for use beside the server.
pub const ADMIN_SECRET_IN_CLUSTER_KEY: &str = "kubeconfig-incluster";

/// Condition: the space can be used.
pub const READY: &str = "Ready";
/// Condition: the last reconcile did what it should.
pub const SYNCED: &str = "Synced";

/// The namespace in the hosting space that belongs to a ControlPlane.
pub fn system_namespace(control_plane: &str) -> String {
    format!("{control_plane}-system")
}

/// A space.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ControlPlane {
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: ControlPlaneSpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ControlPlaneStatus>,
}

/// `ControlPlane.spec`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ControlPlaneSpec {
    /// `k8s`, `ocm`, `vcluster`, `host`, `external` or `k3s`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Accepted and not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The kubeconfig of an `external` cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap_secret_ref: Option<SecretReference>,
    /// Seconds that a token for an `external` cluster lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_expiration_seconds: Option<i64>,
    /// One hook, the older form of `post_create_hooks`; it comes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_create_hook: Option<String>,
    /// Variables of `post_create_hook`.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Labels::is_empty")]
    pub post_create_hook_vars: Labels,
    /// What is done once the space is there, in order.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub post_create_hooks: Vec<HookUse>,
    /// Variables of all hooks.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Labels::is_empty")]
    pub global_vars: Labels,
    /// Ready only when the hooks are complete.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wait_for_post_create_hooks: bool,
}

impl ControlPlaneSpec {
    /// The hooks in the order in which they are carried out; a name that comes twice counts once.
    pub fn hooks(&self) -> Vec<HookUse> {
        let older = self.post_create_hook.iter().filter(|name| !name.is_empty());
        let older = older.map(|name| HookUse { hook_name: name.clone(), vars: self.post_create_hook_vars.clone() });
        let mut hooks: Vec<HookUse> = Vec::new();
        for hook in older.chain(self.post_create_hooks.iter().cloned()) {
            if hooks.iter().all(|held| held.hook_name != hook.hook_name) {
                hooks.push(hook);
            }
        }
        hooks
    }
}

/// A hook with its variables.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct HookUse {
    pub hook_name: String,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Labels::is_empty")]
    pub vars: Labels,
}

/// Where kubeconfigs are: a Secret and its keys.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct SecretReference {
    pub namespace: String,
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    pub in_cluster_key: String,
}

/// `ControlPlane.status`, and `PostCreateHook.status`, which has the same shape.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ControlPlaneStatus {
    #[serde(deserialize_with = "null_is_empty")]
    pub conditions: Vec<SpaceCondition>,
    pub observed_generation: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
    /// Hooks that were carried out.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub post_create_hooks: BTreeMap<String, bool>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub post_create_hook_completed: bool,
}

/// A condition as KubeFlex writes it: not `metav1.Condition`, since it has a time of the last write too.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct SpaceCondition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: ConditionStatus,
    pub last_update_time: Timestamp,
    pub last_transition_time: Timestamp,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub message: String,
}

/// What is done when a space has been created.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct PostCreateHook {
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: PostCreateHookSpec,
}

/// `PostCreateHook.spec`
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PostCreateHookSpec {
    /// Objects with variables in them.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<Value>,
    /// Values of variables unless something else is given.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub default_vars: Vec<DefaultVar>,
}

/// A variable and its default.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct DefaultVar {
    pub name: String,
    pub value: String,
}

impl Header for ControlPlane {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Header for PostCreateHook {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_hook_comes_first_and_no_hook_comes_twice() {
        let used = |name: &str| HookUse { hook_name: name.into(), vars: Labels::new() };
        let spec = ControlPlaneSpec {
            post_create_hook: Some("b".into()),
            post_create_hooks: vec![used("a"), used("b"), used("a")],
            ..ControlPlaneSpec::default()
        };
        let names: Vec<_> = spec.hooks().into_iter().map(|hook| hook.hook_name).collect();
        assert_eq!(names, ["b", "a"]);
    }
}
