//! The kinds of Open Cluster Management that say which clusters there are and what was done in one:
//! `cluster.open-cluster-management.io`, and AppliedManifestWork of `work.open-cluster-management.io`.

use crate::control::null_is_empty;
use crate::{Condition, Header, LabelSelector, ObjectMeta, Resource, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// API group of the inventory.
pub const GROUP: &str = "cluster.open-cluster-management.io";
/// ManagedClusters in the ITS: the inventory.
pub const MANAGED_CLUSTERS: Resource = Resource::cluster(GROUP, "v1", "managedclusters", "ManagedCluster");
/// ManagedClusterSets in the ITS.
pub const MANAGED_CLUSTER_SETS: Resource =
    Resource::cluster(GROUP, "v1beta2", "managedclustersets", "ManagedClusterSet");
/// ClusterClaims in a WEC.
pub const CLUSTER_CLAIMS: Resource = Resource::cluster(GROUP, "v1alpha1", "clusterclaims", "ClusterClaim");
/// Heartbeats: a Lease in each mailbox.
pub const LEASES: Resource = Resource::namespaced("coordination.k8s.io", "v1", "leases", "Lease");
/// Certificate signing requests.
pub const SIGNING_REQUESTS: Resource =
    Resource::cluster("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest");
/// The signer of client certificates.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// API group of add-ons.
pub const ADDON_GROUP: &str = "addon.open-cluster-management.io";
/// API group that exists in RBAC rules only: who may accept clusters and renew certificates.
pub const REGISTER_GROUP: &str = "register.open-cluster-management.io";
/// ManagedClusterAddOns, in the mailboxes of the ITS.
pub const MANAGED_CLUSTER_ADDONS: Resource =
    Resource::namespaced(ADDON_GROUP, "v1alpha1", "managedclusteraddons", "ManagedClusterAddOn");

/// On a ManagedCluster: the one exclusive cluster set that it is in.
pub const CLUSTER_SET_LABEL: &str = "cluster.open-cluster-management.io/clusterset";
/// On a ManagedCluster: do not compare clocks.
pub const SKIP_CLOCK_ANNOTATION: &str = "registration.open-cluster-management.io/skip-clock-sync-check";
/// On a ManagedCluster that was accepted without an administrator: when.
pub const AUTOMATICALLY_ACCEPTED_ANNOTATION: &str = "open-cluster-management.io/automatically-accepted-on";
/// The cluster set of clusters that are in no other.
pub const DEFAULT_SET: &str = "default";
/// The cluster set of all clusters.
pub const GLOBAL_SET: &str = "global";
/// Namespace of the agent in a WEC.
pub const AGENT_NAMESPACE: &str = "open-cluster-management-agent";
/// Secret in [`AGENT_NAMESPACE`] with the agent's credentials for the hub.
pub const HUB_SECRET: &str = "hub-kubeconfig-secret";
/// Group of everybody who presents a bootstrap token for joining.
pub const BOOTSTRAP_GROUP: &str = "system:bootstrappers:managedcluster";
/// On the Secret of a bootstrap token: the cluster that it was made for. It goes once that cluster has used it.
pub const REMOVE_ONCE_JOINED_ANNOTATION: &str = "kubestellar.io/remove-once-joined";

/// On everything of one cluster in the ITS: its name.
pub const CLUSTER_NAME_LABEL: &str = "open-cluster-management.io/cluster-name";
/// On signing requests of add-ons, which are not the registration's business.
pub const ADDON_NAME_LABEL: &str = "open-cluster-management.io/addon-name";
/// The name of the Lease by which a cluster says that it is alive.
pub const LEASE_NAME: &str = "managed-cluster-lease";
/// The group of all agents of all clusters.
pub const MANAGED_CLUSTERS_GROUP: &str = "system:open-cluster-management:managed-clusters";
/// How long a lease is valid when the ManagedCluster does not say: seconds.
pub const LEASE_DURATION_SECONDS: i64 = 60;
/// A cluster is unknown when its lease is older than so many lease durations (OCM's lease controller).
pub const LEASE_GRACE: i64 = 5;

/// Held by the hub on an accepted ManagedCluster until its rights are gone.
pub const API_CLEANUP_FINALIZER: &str = "cluster.open-cluster-management.io/api-resource-cleanup";
/// Held by the hub on a ManagedCluster until its mailbox is empty.
pub const RESOURCE_CLEANUP_FINALIZER: &str = "cluster.open-cluster-management.io/resource-cleanup";
/// Held by the agent on a ManifestWork until the cluster is rid of its objects.
pub const WORK_CLEANUP_FINALIZER: &str = "cluster.open-cluster-management.io/manifest-work-cleanup";
/// Held by the agent on an AppliedManifestWork for the same.
pub const APPLIED_CLEANUP_FINALIZER: &str = "cluster.open-cluster-management.io/applied-manifest-work-cleanup";

/// Condition: the hub lets the cluster in.
pub const HUB_ACCEPTED: &str = "HubAcceptedManagedCluster";
/// Condition: the agent has its own credentials.
pub const JOINED: &str = "ManagedClusterJoined";
/// Condition: the cluster's API server answers, and the agent says so in time.
pub const AVAILABLE: &str = "ManagedClusterConditionAvailable";
/// Condition: the clocks of hub and cluster agree.
pub const CLOCK_SYNCED: &str = "ManagedClusterConditionClockSynced";
/// Condition: what holds a cluster that is being deleted.
pub const DELETING: &str = "Deleting";
/// Taint of a cluster that is not heard of.
pub const UNREACHABLE_TAINT: &str = "cluster.open-cluster-management.io/unreachable";
/// Taint of a cluster whose API server does not answer.
pub const UNAVAILABLE_TAINT: &str = "cluster.open-cluster-management.io/unavailable";

/// The group of one cluster's agents.
pub fn cluster_group(cluster: &str) -> String {
    format!("system:open-cluster-management:{cluster}")
}

/// Group of who presents a bootstrap token that is for one cluster only. Such a token is in [`BOOTSTRAP_GROUP`] too.
pub fn bootstrap_group(cluster: &str) -> String {
    format!("{BOOTSTRAP_GROUP}:{cluster}")
}

/// The user name of one agent of a cluster.
pub fn agent_user(cluster: &str, agent: &str) -> String {
    format!("system:open-cluster-management:{cluster}:{agent}")
}

/// A cluster in the inventory.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ManagedCluster {
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: ManagedClusterSpec,
    pub status: ManagedClusterStatus,
}

/// `ManagedCluster.spec`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ManagedClusterSpec {
    pub hub_accepts_client: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_duration_seconds: Option<i64>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
}

/// Keeps placements away from a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Taint {
    pub key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// `NoSelect`, `PreferNoSelect` or `NoSelectIfNew`.
    pub effect: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_added: Option<Timestamp>,
}

/// `ManagedCluster.status`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ManagedClusterStatus {
    #[serde(deserialize_with = "null_is_empty")]
    pub conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub capacity: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub allocatable: BTreeMap<String, String>,
    pub version: ManagedClusterVersion,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub cluster_claims: Vec<Claim>,
}

/// `ManagedCluster.status.version`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ManagedClusterVersion {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kubernetes: String,
}

/// A claim of a cluster about itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Claim {
    pub name: String,
    pub value: String,
}

impl ManagedCluster {
    /// One condition.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.type_ == type_)
    }

    /// How long its lease is valid: seconds.
    pub fn lease_duration_seconds(&self) -> i64 {
        self.spec.lease_duration_seconds.filter(|seconds| *seconds > 0).unwrap_or(LEASE_DURATION_SECONDS)
    }
}

impl Header for ManagedCluster {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// What is done in a WEC of one ManifestWork.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct AppliedManifestWork {
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: AppliedManifestWorkSpec,
    pub status: AppliedManifestWorkStatus,
}

/// `AppliedManifestWork.spec`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AppliedManifestWorkSpec {
    /// Which hub: SHA-256 of the URL of its API server, in hex.
    pub hub_hash: String,
    /// Which agent.
    #[serde(rename = "agentID", skip_serializing_if = "String::is_empty")]
    pub agent_id: String,
    /// Which work.
    pub manifest_work_name: String,
}

/// `AppliedManifestWork.status`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AppliedManifestWorkStatus {
    /// What the work put into the cluster; sorted.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub applied_resources: Vec<AppliedResource>,
    /// Since when the work is missing in the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eviction_start_time: Option<Timestamp>,
}

/// An object that a work put into the cluster. The order of the fields is OCM's order of the list.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct AppliedResource {
    pub group: String,
    pub version: String,
    pub resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

impl Header for AppliedManifestWork {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// A fact that a cluster tells about itself: `cluster.open-cluster-management.io/v1alpha1`, in a WEC.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ClusterClaim {
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: ClusterClaimSpec,
}

/// `ClusterClaim.spec`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ClusterClaimSpec {
    pub value: String,
}

impl Header for ClusterClaim {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// A group of clusters: `cluster.open-cluster-management.io/v1beta2`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ManagedClusterSet {
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: ManagedClusterSetSpec,
    pub status: ManagedClusterSetStatus,
}

/// `ManagedClusterSet.spec`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct ManagedClusterSetSpec {
    pub cluster_selector: ClusterSelector,
}

/// Which clusters are in a set.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterSelector {
    /// `ExclusiveClusterSetLabel` (those whose [`CLUSTER_SET_LABEL`] names the set) or `LabelSelector`.
    pub selector_type: String,
    /// For `LabelSelector`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
}

/// `ManagedClusterSet.status`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ManagedClusterSetStatus {
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl Header for ManagedClusterSet {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_an_agent_of_any_make_sends_is_read() {
        let sent = json!({"kind": "ManagedCluster", "apiVersion": "cluster.open-cluster-management.io/v1",
            "metadata": {"name": "c1", "creationTimestamp": null},
            "spec": {"hubAcceptsClient": false}, "status": {"conditions": null, "version": {}}});
        let cluster: ManagedCluster = serde_json::from_value(sent).unwrap();
        assert_eq!((cluster.metadata.name.as_str(), cluster.lease_duration_seconds()), ("c1", 60));
        assert_eq!(cluster.condition(JOINED), None);
        assert_eq!(agent_user("c1", "a1"), "system:open-cluster-management:c1:a1");
    }
}
