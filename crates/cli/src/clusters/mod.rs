//! `kubestellar join`, `accept`, `clusters`: how a cluster becomes a destination.

mod accept;
mod join;
mod list;

pub use accept::Accept;
pub use join::{Join, bootstrap_file, bootstrap_token};
pub use list::Clusters;

use api::Resource;

pub(crate) static MANAGED_CLUSTERS: Resource =
    Resource::cluster("cluster.open-cluster-management.io", "v1", "managedclusters", "ManagedCluster");
static SIGNING_REQUESTS: Resource =
    Resource::cluster("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest");
static SECRETS: Resource = Resource::namespaced("", "v1", "secrets", "Secret");

/// On a certificate signing request: the cluster that asks.
const CLUSTER_LABEL: &str = "open-cluster-management.io/cluster-name";

/// Conditions of a ManagedCluster.
const ACCEPTED: &str = "HubAcceptedManagedCluster";
const JOINED: &str = "ManagedClusterJoined";
const AVAILABLE: &str = "ManagedClusterConditionAvailable";
