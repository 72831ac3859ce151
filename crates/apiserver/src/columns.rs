//! What the columns of Tables are for.
//!
//! Most columns of a stock server quote the description of the field that they show; the rows below say which field
//! that is, and the crate `descriptions` has the words. Columns that a stock server describes in sentences of its own
//! have none here.

use descriptions::Descriptions;
use std::collections::BTreeMap;
use std::sync::LazyLock;

const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A column, the type that has the field that it shows (without `io.k8s.api.`), and the field.
type Quote = (&'static str, &'static str, &'static str);

/// By group and kind.
#[rustfmt::skip]
const QUOTES: &[(&str, &str, &[Quote])] = &[
    ("", "ConfigMap", &[
        ("Data", "core.v1.ConfigMap", "data"),
    ]),
    ("", "Endpoints", &[
        ("Endpoints", "core.v1.Endpoints", "subsets"),
    ]),
    ("", "Event", &[
        ("Last Seen", "core.v1.Event", "lastTimestamp"),
        ("Type", "core.v1.Event", "type"),
        ("Reason", "core.v1.Event", "reason"),
        ("Object", "core.v1.Event", "involvedObject"),
        ("Subobject", "core.v1.ObjectReference", "fieldPath"),
        ("Source", "core.v1.Event", "source"),
        ("Message", "core.v1.Event", "message"),
        ("First Seen", "core.v1.Event", "firstTimestamp"),
        ("Count", "core.v1.Event", "count"),
    ]),
    ("", "Node", &[
        ("Version", "core.v1.NodeSystemInfo", "kubeletVersion"),
        ("Internal-IP", "core.v1.NodeStatus", "addresses"),
        ("External-IP", "core.v1.NodeStatus", "addresses"),
        ("OS-Image", "core.v1.NodeSystemInfo", "osImage"),
        ("Kernel-Version", "core.v1.NodeSystemInfo", "kernelVersion"),
        ("Container-Runtime", "core.v1.NodeSystemInfo", "containerRuntimeVersion"),
    ]),
    ("", "PersistentVolume", &[
        ("Capacity", "core.v1.PersistentVolumeSpec", "capacity"),
        ("Access Modes", "core.v1.PersistentVolumeSpec", "accessModes"),
        ("Reclaim Policy", "core.v1.PersistentVolumeSpec", "persistentVolumeReclaimPolicy"),
        ("Status", "core.v1.PersistentVolumeStatus", "phase"),
        ("Claim", "core.v1.PersistentVolumeSpec", "claimRef"),
        ("Reason", "core.v1.PersistentVolumeStatus", "reason"),
        ("VolumeMode", "core.v1.PersistentVolumeSpec", "volumeMode"),
    ]),
    ("", "PersistentVolumeClaim", &[
        ("Status", "core.v1.PersistentVolumeClaimStatus", "phase"),
        ("Volume", "core.v1.PersistentVolumeClaimSpec", "volumeName"),
        ("Capacity", "core.v1.PersistentVolumeClaimStatus", "capacity"),
        ("Access Modes", "core.v1.PersistentVolumeClaimStatus", "accessModes"),
        ("VolumeMode", "core.v1.PersistentVolumeClaimSpec", "volumeMode"),
    ]),
    ("", "Pod", &[
        ("IP", "core.v1.PodStatus", "podIP"),
        ("Node", "core.v1.PodSpec", "nodeName"),
        ("Nominated Node", "core.v1.PodStatus", "nominatedNodeName"),
        ("Readiness Gates", "core.v1.PodSpec", "readinessGates"),
    ]),
    ("", "ReplicationController", &[
        ("Desired", "core.v1.ReplicationControllerSpec", "replicas"),
        ("Current", "core.v1.ReplicationControllerStatus", "replicas"),
        ("Ready", "core.v1.ReplicationControllerStatus", "readyReplicas"),
        ("Selector", "core.v1.ReplicationControllerSpec", "selector"),
    ]),
    ("", "Secret", &[
        ("Type", "core.v1.Secret", "type"),
        ("Data", "core.v1.Secret", "data"),
    ]),
    ("", "Service", &[
        ("Type", "core.v1.ServiceSpec", "type"),
        ("Cluster-IP", "core.v1.ServiceSpec", "clusterIP"),
        ("External-IP", "core.v1.ServiceSpec", "externalIPs"),
        ("Port(s)", "core.v1.ServiceSpec", "ports"),
        ("Selector", "core.v1.ServiceSpec", "selector"),
    ]),
    ("apps", "ControllerRevision", &[
        ("Revision", "apps.v1.ControllerRevision", "revision"),
    ]),
    ("apps", "DaemonSet", &[
        ("Desired", "apps.v1.DaemonSetStatus", "desiredNumberScheduled"),
        ("Current", "apps.v1.DaemonSetStatus", "currentNumberScheduled"),
        ("Ready", "apps.v1.DaemonSetStatus", "numberReady"),
        ("Up-to-date", "apps.v1.DaemonSetStatus", "updatedNumberScheduled"),
        ("Available", "apps.v1.DaemonSetStatus", "numberAvailable"),
        ("Node Selector", "core.v1.PodSpec", "nodeSelector"),
        ("Selector", "apps.v1.DaemonSetSpec", "selector"),
    ]),
    ("apps", "Deployment", &[
        ("Up-to-date", "apps.v1.DeploymentStatus", "updatedReplicas"),
        ("Available", "apps.v1.DeploymentStatus", "availableReplicas"),
        ("Selector", "apps.v1.DeploymentSpec", "selector"),
    ]),
    ("apps", "ReplicaSet", &[
        ("Desired", "apps.v1.ReplicaSetSpec", "replicas"),
        ("Current", "apps.v1.ReplicaSetStatus", "replicas"),
        ("Ready", "apps.v1.ReplicaSetStatus", "readyReplicas"),
        ("Selector", "apps.v1.ReplicaSetSpec", "selector"),
    ]),
    ("autoscaling", "HorizontalPodAutoscaler", &[
        ("Reference", "autoscaling.v2.HorizontalPodAutoscalerSpec", "scaleTargetRef"),
        ("Targets", "autoscaling.v2.HorizontalPodAutoscalerSpec", "metrics"),
        ("MinPods", "autoscaling.v2.HorizontalPodAutoscalerSpec", "minReplicas"),
        ("MaxPods", "autoscaling.v2.HorizontalPodAutoscalerSpec", "maxReplicas"),
        ("Replicas", "autoscaling.v2.HorizontalPodAutoscalerStatus", "currentReplicas"),
    ]),
    ("batch", "CronJob", &[
        ("Schedule", "batch.v1.CronJobSpec", "schedule"),
        ("Timezone", "batch.v1.CronJobSpec", "timeZone"),
        ("Suspend", "batch.v1.CronJobSpec", "suspend"),
        ("Active", "batch.v1.CronJobStatus", "active"),
        ("Last Schedule", "batch.v1.CronJobStatus", "lastScheduleTime"),
        ("Selector", "batch.v1.JobSpec", "selector"),
    ]),
    ("batch", "Job", &[
        ("Completions", "batch.v1.JobStatus", "succeeded"),
        ("Selector", "batch.v1.JobSpec", "selector"),
    ]),
    ("certificates.k8s.io", "CertificateSigningRequest", &[
        ("SignerName", "certificates.v1.CertificateSigningRequestSpec", "signerName"),
        ("Requestor", "certificates.v1.CertificateSigningRequestSpec", "request"),
        ("RequestedDuration", "certificates.v1.CertificateSigningRequestSpec", "expirationSeconds"),
        ("Condition", "certificates.v1.CertificateSigningRequestStatus", "conditions"),
    ]),
    ("coordination.k8s.io", "Lease", &[
        ("Holder", "coordination.v1.LeaseSpec", "holderIdentity"),
    ]),
    ("discovery.k8s.io", "EndpointSlice", &[
        ("AddressType", "discovery.v1.EndpointSlice", "addressType"),
        ("Ports", "discovery.v1.EndpointSlice", "ports"),
        ("Endpoints", "discovery.v1.EndpointSlice", "endpoints"),
    ]),
    ("events.k8s.io", "Event", &[
        ("Last Seen", "core.v1.Event", "lastTimestamp"),
        ("Type", "core.v1.Event", "type"),
        ("Reason", "core.v1.Event", "reason"),
        ("Object", "core.v1.Event", "involvedObject"),
        ("Subobject", "core.v1.ObjectReference", "fieldPath"),
        ("Source", "core.v1.Event", "source"),
        ("Message", "core.v1.Event", "message"),
        ("First Seen", "core.v1.Event", "firstTimestamp"),
        ("Count", "core.v1.Event", "count"),
    ]),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema", &[
        ("PriorityLevel", "flowcontrol.v1.PriorityLevelConfigurationReference", "name"),
        ("MatchingPrecedence", "flowcontrol.v1.FlowSchemaSpec", "matchingPrecedence"),
        ("DistinguisherMethod", "flowcontrol.v1.FlowSchemaSpec", "distinguisherMethod"),
    ]),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", &[
        ("Type", "flowcontrol.v1.PriorityLevelConfigurationSpec", "type"),
        ("NominalConcurrencyShares", "flowcontrol.v1.LimitedPriorityLevelConfiguration", "nominalConcurrencyShares"),
        ("Queues", "flowcontrol.v1.QueuingConfiguration", "queues"),
        ("HandSize", "flowcontrol.v1.QueuingConfiguration", "handSize"),
        ("QueueLengthLimit", "flowcontrol.v1.QueuingConfiguration", "queueLengthLimit"),
    ]),
    ("networking.k8s.io", "IPAddress", &[
        ("ParentRef", "networking.v1.IPAddressSpec", "parentRef"),
    ]),
    ("networking.k8s.io", "NetworkPolicy", &[
        ("Pod-Selector", "networking.v1.NetworkPolicySpec", "podSelector"),
    ]),
    ("networking.k8s.io", "ServiceCIDR", &[
        ("CIDRs", "networking.v1.ServiceCIDRSpec", "cidrs"),
    ]),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", &[
        ("Role", "rbac.v1.ClusterRoleBinding", "roleRef"),
    ]),
    ("rbac.authorization.k8s.io", "RoleBinding", &[
        ("Role", "rbac.v1.RoleBinding", "roleRef"),
    ]),
    ("resource.k8s.io", "ResourceSlice", &[
        ("Node", "resource.v1.ResourceSliceSpec", "nodeName"),
        ("Driver", "resource.v1.ResourceSliceSpec", "driver"),
        ("Pool", "resource.v1.ResourcePool", "name"),
    ]),
    ("scheduling.k8s.io", "PriorityClass", &[
        ("Value", "scheduling.v1.PriorityClass", "value"),
        ("Global-Default", "scheduling.v1.PriorityClass", "globalDefault"),
        ("PreemptionPolicy", "scheduling.v1.PriorityClass", "preemptionPolicy"),
    ]),
    ("storage.k8s.io", "CSIDriver", &[
        ("AttachRequired", "storage.v1.CSIDriverSpec", "attachRequired"),
        ("PodInfoOnMount", "storage.v1.CSIDriverSpec", "podInfoOnMount"),
        ("StorageCapacity", "storage.v1.CSIDriverSpec", "storageCapacity"),
        ("TokenRequests", "storage.v1.CSIDriverSpec", "tokenRequests"),
        ("RequiresRepublish", "storage.v1.CSIDriverSpec", "requiresRepublish"),
        ("Modes", "storage.v1.CSIDriverSpec", "volumeLifecycleModes"),
    ]),
    ("storage.k8s.io", "StorageClass", &[
        ("Provisioner", "storage.v1.StorageClass", "provisioner"),
        ("ReclaimPolicy", "storage.v1.StorageClass", "reclaimPolicy"),
        ("VolumeBindingMode", "storage.v1.StorageClass", "volumeBindingMode"),
        ("AllowVolumeExpansion", "storage.v1.StorageClass", "allowVolumeExpansion"),
    ]),
    ("storage.k8s.io", "VolumeAttachment", &[
        ("Attacher", "storage.v1.VolumeAttachmentSpec", "attacher"),
        ("PV", "storage.v1.VolumeAttachmentSource", "persistentVolumeName"),
        ("Node", "storage.v1.VolumeAttachmentSpec", "nodeName"),
        ("Attached", "storage.v1.VolumeAttachmentStatus", "attached"),
    ]),
    ("storage.k8s.io", "VolumeAttributesClass", &[
        ("DriverName", "storage.v1.VolumeAttributesClass", "driverName"),
    ]),
];

/// The description of each field that a column quotes, by definition and field.
static WORDS: LazyLock<BTreeMap<(String, &'static str), String>> = LazyLock::new(|| {
    let descriptions = Descriptions::read();
    let metadata = ["name", "creationTimestamp"].map(|field| (METADATA.to_owned(), field));
    let quoted = QUOTES.iter().flat_map(|(_, _, quotes)| *quotes);
    let fields = metadata.into_iter().chain(quoted.map(|(_, definition, field)| (full(definition), *field)));
    let described = |(definition, field): (String, &'static str)| {
        let words = descriptions.of_field(&definition, field)?.to_owned();
        Some(((definition, field), words))
    };
    fields.filter_map(described).collect()
});

fn full(definition: &str) -> String {
    format!("io.k8s.api.{definition}")
}

/// The field that a column of a built-in kind shows, if its description is that of a field.
fn quoted(group: &str, kind: &str, column: &str) -> Option<(String, &'static str)> {
    match column {
        "Name" => Some((METADATA.to_owned(), "name")),
        "Age" | "Created At" => Some((METADATA.to_owned(), "creationTimestamp")),
        _ => {
            let (_, _, quotes) = QUOTES.iter().find(|(g, k, _)| *g == group && *k == kind)?;
            quotes.iter().find(|(name, ..)| *name == column).map(|(_, definition, field)| (full(definition), *field))
        }
    }
}

/// What a column of a built-in kind is for; empty if it quotes no field.
pub(crate) fn description(group: &str, kind: &str, column: &str) -> &'static str {
    quoted(group, kind, column).and_then(|field| WORDS.get(&field)).map_or("", String::as_str)
}

/// What a column of a CRD is for that says nothing of it itself.
pub(crate) fn custom_description(path: &str) -> String {
    format!("Custom resource definition column (in JSONPath format): {path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;

    #[test]
    fn each_quote_is_of_a_column_and_a_described_field() {
        for (group, kind, quotes) in QUOTES {
            let row = builtin::kinds().iter().find(|row| row.served.group == *group && row.served.kind == *kind);
            let columns = &row.unwrap_or_else(|| panic!("{kind}.{group} is served")).columns;
            for (name, definition, field) in *quotes {
                assert!(columns.iter().any(|column| column.name == *name), "{kind}.{group} has a column {name}");
                assert!(WORDS.contains_key(&(full(definition), *field)), "{definition} describes {field}");
            }
        }
    }

    #[test]
    fn columns_quote_fields() {
        let check = |kind: (&str, &str), column: &str, part: &str| {
            let words = description(kind.0, kind.1, column);
            assert!(words.contains(part) && words.is_empty() == part.is_empty(), "{kind:?} {column}: {words:?}");
        };
        check(("", "Pod"), "Name", "unique within a namespace");
        check(("", "Pod"), "IP", "IP address");
        check(("", "Pod"), "Ready", "");
        check(("rbac.authorization.k8s.io", "Role"), "Created At", "timestamp");
        check(("storage.k8s.io", "VolumeAttachment"), "Node", "node");
    }
}
