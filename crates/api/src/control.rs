//! The kinds of `control.kubestellar.io/v1alpha1` that live in a WDS, and the names that go with them.

use crate::{Condition, Header, LabelSelector, ObjectMeta, ObjectName, Resource};
use serde::{Deserialize, Deserializer, Serialize};

/// API group of the kinds here.
pub const GROUP: &str = "control.kubestellar.io";
/// `apiVersion` of the kinds here.
pub const API_VERSION: &str = "control.kubestellar.io/v1alpha1";

/// BindingPolicies: what is asked.
pub const BINDING_POLICIES: Resource = Resource::cluster(GROUP, "v1alpha1", "bindingpolicies", "BindingPolicy");
/// Bindings: what was resolved.
pub const BINDINGS: Resource = Resource::cluster(GROUP, "v1alpha1", "bindings", "Binding");
/// StatusCollectors
pub const STATUS_COLLECTORS: Resource = Resource::cluster(GROUP, "v1alpha1", "statuscollectors", "StatusCollector");
/// CombinedStatuses
pub const COMBINED_STATUSES: Resource = Resource::namespaced(GROUP, "v1alpha1", "combinedstatuses", "CombinedStatus");
/// CustomTransforms
pub const CUSTOM_TRANSFORMS: Resource = Resource::cluster(GROUP, "v1alpha1", "customtransforms", "CustomTransform");

/// Held on a BindingPolicy until its Binding is gone.
pub const POLICY_FINALIZER: &str = "bindingpolicy.kubestellar.io/kscontroller";
/// Held on a Binding until every ManifestWork made from it is being deleted.
pub const BINDING_FINALIZER: &str = "transport.kubestellar.io/object-cleanup";

/// On a workload object whose status is that of the one cluster which has it.
pub const SINGLETON_STATUS_LABEL: &str = "managed-by.kubestellar.io/singletonstatus";
/// On a workload object whose status is aggregated from several clusters.
pub const MULTI_WEC_STATUS_LABEL: &str = "managed-by.kubestellar.io/multiwecstatus";
/// `"true"` on a workload object whose text is to be expanded with the properties of each cluster.
pub const EXPAND_TEMPLATES_ANNOTATION: &str = "control.kubestellar.io/expand-templates";
/// `nodeport` on a Service whose node ports are to be kept.
pub const PRESERVE_ANNOTATION: &str = "control.kubestellar.io/preserve";

/// Where CombinedStatuses of cluster-scoped objects are, in the WDS.
pub const REPORT_NAMESPACE: &str = "kubestellar-report";
/// Where the ConfigMaps with properties of clusters are, in the ITS.
pub const PROPERTIES_NAMESPACE: &str = "customization-properties";

/// What is asked: which objects go to which clusters.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct BindingPolicy {
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: BindingPolicySpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<PipelineStatus>,
}

/// `BindingPolicy.spec`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BindingPolicySpec {
    /// A cluster is a destination when one of these matches its labels.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub cluster_selectors: Vec<LabelSelector>,
    /// An object is selected when it passes one of these.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub downsync: Vec<DownsyncClause>,
}

/// One entry of `BindingPolicy.spec.downsync`: a test, and how the objects that pass it are handled. For every list
/// here, empty means no test, and so does `*` among names.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DownsyncClause {
    /// Compared literally; `""` is the core group, and `None` any group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// Lowercase plurals.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Namespaces; the one of a cluster-scoped object is `""`.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// One must match the labels of the object's Namespace.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub namespace_selectors: Vec<LabelSelector>,
    /// One must match the labels of the object.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub object_selectors: Vec<LabelSelector>,
    /// Names, without patterns.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub object_names: Vec<String>,
    /// How the objects are handled.
    #[serde(flatten)]
    pub modulation: Modulation,
}

/// How a selected object is handled; part of a clause and of a Binding's references.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Modulation {
    /// Create it in the cluster, and never update it there.
    #[serde(skip_serializing_if = "is_false")]
    pub create_only: bool,
    /// What becomes of an object that is in the cluster already and that KubeStellar has not made. An extension.
    #[serde(skip_serializing_if = "TakeOver::is_always")]
    pub take_over: TakeOver,
    /// Leave the object in the cluster when it is withdrawn. An extension.
    #[serde(skip_serializing_if = "is_false")]
    pub orphan_on_removal: bool,
    /// Only look at the object in the cluster. An extension.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// StatusCollectors to evaluate.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub status_collectors: Vec<String>,
    /// Return the status from the one cluster that has it.
    #[serde(skip_serializing_if = "is_false")]
    pub want_singleton_reported_state: bool,
    /// Return the status, aggregated when several clusters have it.
    #[serde(rename = "wantMultiWECReportedState", skip_serializing_if = "is_false")]
    pub want_multi_wec_reported_state: bool,
}

impl Modulation {
    /// Whether clusters do the same with an object under the other; which statuses come back is another matter.
    pub fn is_carried_out_as(&self, other: &Self) -> bool {
        (self.create_only, self.take_over, self.orphan_on_removal, self.read_only)
            == (other.create_only, other.take_over, other.orphan_on_removal, other.read_only)
    }

    /// What two clauses ask together: each of them restrains.
    pub fn merge(&mut self, other: &Self) {
        self.create_only |= other.create_only;
        self.take_over = self.take_over.max(other.take_over);
        self.orphan_on_removal |= other.orphan_on_removal;
        self.read_only |= other.read_only;
        self.want_singleton_reported_state |= other.want_singleton_reported_state;
        self.want_multi_wec_reported_state |= other.want_multi_wec_reported_state;
        self.status_collectors.extend(other.status_collectors.iter().cloned());
        self.status_collectors.sort();
        self.status_collectors.dedup();
    }
}

/// What becomes of an object that is in a cluster already and that KubeStellar has not made. The later one restrains more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub enum TakeOver {
    /// It becomes as asked.
    #[default]
    Always,
    /// It is taken over if it already is as asked, and otherwise left alone and reported.
    IfNoDiff,
    /// It is left alone and reported.
    Never,
}

impl TakeOver {
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_always(&self) -> bool {
        *self == Self::Always
    }
}

/// What was resolved: the objects and clusters that a policy selects at the moment.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Binding {
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: BindingSpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<PipelineStatus>,
}

/// `Binding.spec`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct BindingSpec {
    pub workload: Workload,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Destination>,
}

/// `Binding.spec.workload`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Workload {
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub cluster_scope: Vec<ObjectReference>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub namespace_scope: Vec<ObjectReference>,
}

impl Workload {
    /// Every reference, cluster-scoped objects first.
    pub fn iter(&self) -> impl Iterator<Item = &ObjectReference> {
        self.cluster_scope.iter().chain(&self.namespace_scope)
    }
}

/// A selected object.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ObjectReference {
    pub group: String,
    pub version: String,
    pub resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
    /// The resourceVersion at which the object got the content that is meant.
    pub resource_version: String,
    #[serde(flatten)]
    pub modulation: Modulation,
}

impl ObjectReference {
    /// Namespace and name.
    pub fn object_name(&self) -> ObjectName {
        ObjectName::namespaced(self.namespace.clone(), self.name.clone())
    }
}

/// One cluster of a Binding.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// Name of the ManagedCluster.
    pub cluster_id: String,
}

/// The status of a BindingPolicy and of a Binding.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct PipelineStatus {
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    pub observed_generation: i64,
}

/// Parts that are left out of all objects of one resource on their way to the clusters.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct CustomTransform {
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: CustomTransformSpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<CustomTransformStatus>,
}

/// `CustomTransform.spec`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomTransformSpec {
    /// `""` is the core group.
    pub api_group: String,
    /// Lowercase plural.
    pub resource: String,
    /// JSONPaths.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// `CustomTransform.status`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct CustomTransformStatus {
    pub observed_generation: i64,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How statuses of one object in many clusters become a table.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct StatusCollector {
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: StatusCollectorSpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusCollectorStatus>,
}

/// `StatusCollector.spec`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusCollectorSpec {
    /// CEL: clusters for which it is false are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Equal values form a group.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<NamedExpression>,
    /// Aggregated columns.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub combined_fields: Vec<NamedAggregator>,
    /// Columns of the form with one row per cluster.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub select: Vec<NamedExpression>,
    /// The most rows.
    pub limit: i64,
}

/// A column and its CEL expression.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct NamedExpression {
    pub name: String,
    pub def: String,
}

/// A column that aggregates the values of a CEL expression.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NamedAggregator {
    /// Name of the column.
    pub name: String,
    /// `COUNT`, `SUM`, `AVG`, `MIN` or `MAX`; anything else is an error that is told in the result.
    #[serde(rename = "type")]
    pub type_: String,
    /// CEL; none for `COUNT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// `StatusCollector.status`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct StatusCollectorStatus {
    pub observed_generation: i64,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

macro_rules! header {
    ($($kind:ty),*) => {
        $(impl Header for $kind {
            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }
        })*
    };
}
header!(BindingPolicy, Binding, CustomTransform, StatusCollector);

fn is_false(value: &bool) -> bool {
    !value
}

/// Reads an explicit null as the default value, as Go does.
pub(crate) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_clause_keeps_what_is_absent_apart_from_what_is_empty() {
        let clause: DownsyncClause = serde_json::from_value(json!({
            "apiGroup": "", "resources": null, "objectSelectors": [{}], "createOnly": true,
            "wantMultiWECReportedState": true,
        }))
        .unwrap();
        assert_eq!(clause.api_group.as_deref(), Some(""));
        assert_eq!(clause.resources, [""; 0]);
        assert_eq!(clause.object_selectors.len(), 1);
        assert!(clause.modulation.create_only && clause.modulation.want_multi_wec_reported_state);
        let absent: DownsyncClause = serde_json::from_value(json!({})).unwrap();
        assert_eq!(absent.api_group, None);
    }

    #[test]
    fn a_reference_is_written_flat() {
        let reference = ObjectReference {
            group: "apps".into(),
            version: "v1".into(),
            resource: "deployments".into(),
            namespace: "ns".into(),
            name: "web".into(),
            resource_version: "7".into(),
            modulation: Modulation { create_only: true, ..Modulation::default() },
        };
        assert_eq!(
            serde_json::to_value(reference).unwrap(),
            json!({"group": "apps", "version": "v1", "resource": "deployments", "namespace": "ns", "name": "web",
                   "resourceVersion": "7", "createOnly": true})
        );
    }
}
