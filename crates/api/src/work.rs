//! What passes through a mailbox: ManifestWork going down, WorkStatus coming back, and the labels that tie them to the
//! Binding they stand for.

use crate::control::null_is_empty;
use crate::{Condition, Header, ObjectMeta, Resource, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// API group of ManifestWork and AppliedManifestWork.
pub const GROUP: &str = "work.open-cluster-management.io";

/// ManifestWorks in the ITS: what is sent.
pub const MANIFEST_WORKS: Resource = Resource::namespaced(GROUP, "v1", "manifestworks", "ManifestWork");
/// AppliedManifestWorks in a WEC: what is done.
pub const APPLIED_MANIFEST_WORKS: Resource =
    Resource::cluster(GROUP, "v1", "appliedmanifestworks", "AppliedManifestWork");
/// WorkStatuses in the ITS: what is seen.
pub const WORK_STATUSES: Resource =
    Resource::namespaced(crate::control::GROUP, "v1alpha1", "workstatuses", "WorkStatus");

/// On a ManifestWork and its WorkStatuses: the Binding that it is made from.
pub const BINDING_LABEL: &str = "transport.kubestellar.io/originOwnerReferenceBindingKey";
/// On a ManifestWork and its WorkStatuses: the WDS that the Binding is in.
pub const WDS_LABEL: &str = "transport.kubestellar.io/originWdsName";
/// On a ManifestWork: the generation of the Binding when the content of the work last changed.
pub const BINDING_GENERATION_ANNOTATION: &str = "transport.kubestellar.io/originOwnerReferenceBindingGeneration";
/// On a ManifestWork: digest of the content, and the generation of the work at which it has that content.
pub const CONTENT_ANNOTATION: &str = "transport.kubestellar.io/content";
/// On a ManifestWork that wraps several objects: short digests of their uids, in order.
pub const MEMBERS_ANNOTATION: &str = "transport.kubestellar.io/members";

/// On an object as it is sent: `IfNoDiff` or `Never`, if one that is in the cluster already and that KubeStellar has not
/// made is not to be taken over just like that.
pub const TAKE_OVER_ANNOTATION: &str = "control.kubestellar.io/take-over";
/// On an object as it is sent: `true`, if it stays in the cluster when it is withdrawn.
pub const ORPHAN_ANNOTATION: &str = "control.kubestellar.io/orphan";

/// The most bytes that the manifests of one ManifestWork may have: the limit of OCM's admission.
pub const MAX_MANIFESTS_BYTES: usize = 512_000;

/// What is to be in one cluster: `work.open-cluster-management.io/v1`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ManifestWork {
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: ManifestWorkSpec,
    #[serde(skip_serializing_if = "ManifestWorkStatus::is_empty")]
    pub status: ManifestWorkStatus,
}

/// `ManifestWork.spec`. What we never ask (executor) is kept as it is.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ManifestWorkSpec {
    pub workload: ManifestsTemplate,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_option: Option<DeleteOption>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub manifest_configs: Vec<ManifestConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor: Option<Value>,
}

/// `ManifestWork.spec.workload`
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ManifestsTemplate {
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Value>,
}

/// What becomes of the objects in the cluster when the work is deleted.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteOption {
    /// `Foreground`, `Orphan` or `SelectivelyOrphan`.
    pub propagation_policy: String,
    /// Which ones to leave, for `SelectivelyOrphan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selectively_orphans: Option<SelectivelyOrphan>,
    /// Seconds after which a complete work is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<i64>,
}

/// `deleteOption.selectivelyOrphans`
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct SelectivelyOrphan {
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub orphaning_rules: Vec<ResourceIdentifier>,
}

/// Names manifests of a work; in a [`ManifestConfig`], `*` in name and namespace stands for any text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ResourceIdentifier {
    pub group: String,
    pub resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
}

/// How some manifests of a work are handled.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ManifestConfig {
    pub resource_identifier: ResourceIdentifier,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub feedback_rules: Vec<FeedbackRule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedback_scrape_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_strategy: Option<UpdateStrategy>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub condition_rules: Vec<Value>,
}

/// Fields of an object's status to report in the work's status.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FeedbackRule {
    /// `WellKnownStatus` or `JSONPaths`.
    #[serde(rename = "type")]
    pub type_: String,
    /// For `JSONPaths`.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub json_paths: Vec<JsonPath>,
}

/// A named path into an object.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct JsonPath {
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    pub path: String,
}

/// How an object that is there already is changed.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateStrategy {
    /// `Update`, `CreateOnly`, `ServerSideApply` or `ReadOnly`.
    #[serde(rename = "type")]
    pub type_: String,
    /// For `ServerSideApply`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_side_apply: Option<ServerSideApply>,
}

/// Options of `ServerSideApply`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ServerSideApply {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_manager: Option<String>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub ignore_fields: Vec<Value>,
}

/// `ManifestWork.status`
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ManifestWorkStatus {
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    pub resource_status: ManifestResourceStatus,
}

impl ManifestWorkStatus {
    /// Whether nothing was reported yet.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty() && self.resource_status.manifests.is_empty()
    }
}

/// `ManifestWork.status.resourceStatus`
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ManifestResourceStatus {
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<ManifestCondition>,
}

/// What became of one manifest.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ManifestCondition {
    pub resource_meta: ManifestResourceMeta,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "StatusFeedback::is_empty")]
    pub status_feedback: StatusFeedback,
}

/// Which manifest is meant.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ManifestResourceMeta {
    pub ordinal: i64,
    pub group: String,
    pub version: String,
    pub kind: String,
    pub resource: String,
    pub name: String,
    pub namespace: String,
}

/// The reported fields of one manifest.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct StatusFeedback {
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<FeedbackValue>,
}

impl StatusFeedback {
    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// One reported field.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct FeedbackValue {
    pub name: String,
    pub field_value: FieldValue,
}

/// A reported value; the field that goes with `type_` is set.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldValue {
    /// `Integer`, `String`, `Boolean` or `JsonRaw`.
    #[serde(rename = "type")]
    pub type_: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[allow(missing_docs)]
    pub integer: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[allow(missing_docs)]
    pub string: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[allow(missing_docs)]
    pub boolean: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[allow(missing_docs)]
    pub json_raw: Option<String>,
}

/// The status of one delivered object in one cluster.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct WorkStatus {
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: WorkStatusSpec,
    /// The object's `.status`, whatever its kind makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_details: Option<StatusDetails>,
}

/// `WorkStatus.spec`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct WorkStatusSpec {
    pub source_ref: SourceRef,
}

/// The object that a WorkStatus is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SourceRef {
    pub group: String,
    pub version: String,
    pub resource: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

/// `WorkStatus.statusDetails`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct StatusDetails {
    pub last_generation: i64,
    pub last_generation_is_applied: bool,
    pub last_currency_update_time: Timestamp,
}

impl Header for ManifestWork {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Header for WorkStatus {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_work_survives_reading_and_writing() {
        let text = json!({
            "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
            "metadata": {"name": "w", "namespace": "edge-1"},
            "spec": {
                "workload": {"manifests": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}]},
                "manifestConfigs": [{
                    "resourceIdentifier": {"group": "", "resource": "configmaps", "name": "a"},
                    "updateStrategy": {"type": "CreateOnly"},
                }],
            },
        });
        let work: ManifestWork = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(work).unwrap(), text);
    }
}
