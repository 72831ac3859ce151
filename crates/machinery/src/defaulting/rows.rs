//! The table of defaults.

/// When a row's path counts as not set by the user.
#[derive(Clone, Copy)]
pub(super) enum When {
    /// It is not there: the field is a pointer in Go, and `0` or `""` are values like others.
    Absent,
    /// It is not there, or empty, or zero: Go cannot tell these apart.
    Blank,
}

/// What else must hold of the object for a row to apply.
pub(super) enum If {
    /// The path is this text.
    Is(&'static str, &'static str),
    /// The path is there.
    Has(&'static str),
    /// The path is absent, empty or zero.
    Blank(&'static str),
    /// The path is neither absent, nor empty, nor zero.
    Filled(&'static str),
}

/// One default.
pub(super) struct Row {
    /// The last three parts of the definition's name.
    pub definition: &'static str,
    pub path: &'static str,
    pub when: When,
    /// JSON.
    pub value: &'static str,
    pub only: &'static [If],
}

const fn absent(definition: &'static str, path: &'static str, value: &'static str) -> Row {
    Row { definition, path, when: When::Absent, value, only: &[] }
}

const fn blank(definition: &'static str, path: &'static str, value: &'static str) -> Row {
    Row { definition, path, when: When::Blank, value, only: &[] }
}

impl Row {
    const fn only(mut self, conditions: &'static [If]) -> Self {
        self.only = conditions;
        self
    }
}

const ROLLING: &[If] = &[If::Is("spec.strategy.type", "RollingUpdate")];
const ROLLING_UPDATE: &[If] = &[If::Is("spec.updateStrategy.type", "RollingUpdate")];
const ROLLING_UPDATE_GIVEN: &[If] =
    &[If::Is("spec.updateStrategy.type", "RollingUpdate"), If::Has("spec.updateStrategy.rollingUpdate")];
const RBAC_GROUP: &str = r#""rbac.authorization.k8s.io""#;
const CPU_80: &str =
    r#"[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}]"#;
const SCALE_UP: &str =
    r#"[{"type":"Pods","value":4,"periodSeconds":15},{"type":"Percent","value":100,"periodSeconds":15}]"#;
const SCALE_DOWN: &str = r#"[{"type":"Percent","value":100,"periodSeconds":15}]"#;

/// All defaults that a row can say. Rows of one definition apply in the order that is written here. Rows whose value is
/// `{}`, or a zero in a status, are not defaults in Go: there the field is not a pointer, and is always written.
pub(super) const ROWS: &[Row] = &[
    // apps
    absent("apps.v1.Deployment", "spec.replicas", "1"),
    blank("apps.v1.Deployment", "spec.strategy.type", r#""RollingUpdate""#),
    absent("apps.v1.Deployment", "spec.strategy.rollingUpdate.maxUnavailable", r#""25%""#).only(ROLLING),
    absent("apps.v1.Deployment", "spec.strategy.rollingUpdate.maxSurge", r#""25%""#).only(ROLLING),
    absent("apps.v1.Deployment", "spec.revisionHistoryLimit", "10"),
    absent("apps.v1.Deployment", "spec.progressDeadlineSeconds", "600"),
    blank("apps.v1.DaemonSet", "spec.updateStrategy.type", r#""RollingUpdate""#),
    absent("apps.v1.DaemonSet", "spec.updateStrategy.rollingUpdate.maxUnavailable", "1").only(ROLLING_UPDATE),
    absent("apps.v1.DaemonSet", "spec.updateStrategy.rollingUpdate.maxSurge", "0").only(ROLLING_UPDATE),
    absent("apps.v1.DaemonSet", "spec.revisionHistoryLimit", "10"),
    blank("apps.v1.StatefulSet", "spec.podManagementPolicy", r#""OrderedReady""#),
    absent("apps.v1.StatefulSet", "spec.updateStrategy.rollingUpdate", "{}")
        .only(&[If::Blank("spec.updateStrategy.type")]),
    blank("apps.v1.StatefulSet", "spec.updateStrategy.type", r#""RollingUpdate""#),
    absent("apps.v1.StatefulSet", "spec.updateStrategy.rollingUpdate.partition", "0").only(ROLLING_UPDATE_GIVEN),
    blank("apps.v1.StatefulSet", "spec.persistentVolumeClaimRetentionPolicy.whenDeleted", r#""Retain""#),
    blank("apps.v1.StatefulSet", "spec.persistentVolumeClaimRetentionPolicy.whenScaled", r#""Retain""#),
    absent("apps.v1.StatefulSet", "spec.replicas", "1"),
    absent("apps.v1.StatefulSet", "spec.revisionHistoryLimit", "10"),
    absent("apps.v1.ReplicaSet", "spec.replicas", "1"),
    // batch; what a CronJob makes Jobs of is not defaulted as a Job
    absent("batch.v1.Job", "spec.completionMode", r#""NonIndexed""#),
    absent("batch.v1.Job", "spec.suspend", "false"),
    absent("batch.v1.Job", "spec.podReplacementPolicy", r#""Failed""#).only(&[If::Has("spec.podFailurePolicy")]),
    absent("batch.v1.Job", "spec.podReplacementPolicy", r#""TerminatingOrFailed""#),
    absent("batch.v1.Job", "spec.manualSelector", "false"),
    blank("batch.v1.CronJob", "spec.concurrencyPolicy", r#""Allow""#),
    absent("batch.v1.CronJob", "spec.suspend", "false"),
    absent("batch.v1.CronJob", "spec.successfulJobsHistoryLimit", "3"),
    absent("batch.v1.CronJob", "spec.failedJobsHistoryLimit", "1"),
    blank("batch.v1.PodFailurePolicyOnPodConditionsPattern", "status", r#""True""#),
    // pods
    absent("core.v1.Pod", "spec.enableServiceLinks", "true"),
    blank("core.v1.PodSpec", "dnsPolicy", r#""ClusterFirst""#),
    blank("core.v1.PodSpec", "restartPolicy", r#""Always""#),
    absent("core.v1.PodSpec", "securityContext", "{}"),
    absent("core.v1.PodSpec", "terminationGracePeriodSeconds", "30"),
    blank("core.v1.PodSpec", "schedulerName", r#""default-scheduler""#),
    blank("core.v1.Container", "terminationMessagePath", r#""/dev/termination-log""#),
    blank("core.v1.Container", "terminationMessagePolicy", r#""File""#),
    blank("core.v1.EphemeralContainer", "terminationMessagePath", r#""/dev/termination-log""#),
    blank("core.v1.EphemeralContainer", "terminationMessagePolicy", r#""File""#),
    blank("core.v1.ContainerPort", "protocol", r#""TCP""#),
    blank("core.v1.Probe", "timeoutSeconds", "1"),
    blank("core.v1.Probe", "periodSeconds", "10"),
    blank("core.v1.Probe", "successThreshold", "1"),
    blank("core.v1.Probe", "failureThreshold", "3"),
    blank("core.v1.HTTPGetAction", "path", r#""/""#),
    blank("core.v1.HTTPGetAction", "scheme", r#""HTTP""#),
    absent("core.v1.GRPCAction", "service", r#""""#),
    blank("core.v1.ObjectFieldSelector", "apiVersion", r#""v1""#),
    // volumes
    absent("core.v1.SecretVolumeSource", "defaultMode", "420"),
    absent("core.v1.ConfigMapVolumeSource", "defaultMode", "420"),
    absent("core.v1.DownwardAPIVolumeSource", "defaultMode", "420"),
    absent("core.v1.ProjectedVolumeSource", "defaultMode", "420"),
    absent("core.v1.ServiceAccountTokenProjection", "expirationSeconds", "3600"),
    absent("core.v1.HostPathVolumeSource", "type", r#""""#),
    blank("core.v1.ISCSIVolumeSource", "iscsiInterface", r#""default""#),
    blank("core.v1.ISCSIPersistentVolumeSource", "iscsiInterface", r#""default""#),
    blank("core.v1.RBDVolumeSource", "pool", r#""rbd""#),
    blank("core.v1.RBDVolumeSource", "user", r#""admin""#),
    blank("core.v1.RBDVolumeSource", "keyring", r#""/etc/ceph/keyring""#),
    blank("core.v1.RBDPersistentVolumeSource", "pool", r#""rbd""#),
    blank("core.v1.RBDPersistentVolumeSource", "user", r#""admin""#),
    blank("core.v1.RBDPersistentVolumeSource", "keyring", r#""/etc/ceph/keyring""#),
    absent("core.v1.AzureDiskVolumeSource", "cachingMode", r#""ReadWrite""#),
    absent("core.v1.AzureDiskVolumeSource", "fsType", r#""ext4""#),
    absent("core.v1.AzureDiskVolumeSource", "readOnly", "false"),
    absent("core.v1.AzureDiskVolumeSource", "kind", r#""Shared""#),
    blank("core.v1.ScaleIOVolumeSource", "storageMode", r#""ThinProvisioned""#),
    blank("core.v1.ScaleIOVolumeSource", "fsType", r#""xfs""#),
    blank("core.v1.ScaleIOPersistentVolumeSource", "storageMode", r#""ThinProvisioned""#),
    blank("core.v1.ScaleIOPersistentVolumeSource", "fsType", r#""xfs""#),
    blank("core.v1.PersistentVolume", "status.phase", r#""Pending""#),
    blank("core.v1.PersistentVolume", "spec.persistentVolumeReclaimPolicy", r#""Retain""#),
    absent("core.v1.PersistentVolume", "spec.volumeMode", r#""Filesystem""#),
    blank("core.v1.PersistentVolumeClaim", "status.phase", r#""Pending""#),
    absent("core.v1.PersistentVolumeClaimSpec", "volumeMode", r#""Filesystem""#),
    // the rest of core
    absent("core.v1.ReplicationController", "spec.replicas", "1"),
    blank("core.v1.ServicePort", "protocol", r#""TCP""#),
    blank("core.v1.Secret", "type", r#""Opaque""#),
    blank("core.v1.EndpointPort", "protocol", r#""TCP""#),
    blank("core.v1.Namespace", "status.phase", r#""Active""#),
    // autoscaling
    absent("autoscaling.v1.HorizontalPodAutoscaler", "spec.minReplicas", "1"),
    absent("autoscaling.v2.HorizontalPodAutoscaler", "spec.minReplicas", "1"),
    blank("autoscaling.v2.HorizontalPodAutoscaler", "spec.metrics", CPU_80),
    absent("autoscaling.v2.HorizontalPodAutoscalerBehavior", "scaleUp.stabilizationWindowSeconds", "0"),
    absent("autoscaling.v2.HorizontalPodAutoscalerBehavior", "scaleUp.selectPolicy", r#""Max""#),
    absent("autoscaling.v2.HorizontalPodAutoscalerBehavior", "scaleUp.policies", SCALE_UP),
    absent("autoscaling.v2.HorizontalPodAutoscalerBehavior", "scaleDown.selectPolicy", r#""Max""#),
    absent("autoscaling.v2.HorizontalPodAutoscalerBehavior", "scaleDown.policies", SCALE_DOWN),
    // networking, policy, discovery
    blank("networking.v1.NetworkPolicyPort", "protocol", r#""TCP""#),
    blank("networking.v1.NetworkPolicy", "spec.policyTypes", r#"["Ingress","Egress"]"#)
        .only(&[If::Filled("spec.egress")]),
    blank("networking.v1.NetworkPolicy", "spec.policyTypes", r#"["Ingress"]"#),
    absent("networking.v1.IngressClass", "spec.parameters.scope", r#""Cluster""#).only(&[If::Has("spec.parameters")]),
    absent("discovery.v1.EndpointPort", "name", r#""""#),
    absent("discovery.v1.EndpointPort", "protocol", r#""TCP""#),
    // rbac
    blank("rbac.v1.RoleBinding", "roleRef.apiGroup", RBAC_GROUP),
    blank("rbac.v1.ClusterRoleBinding", "roleRef.apiGroup", RBAC_GROUP),
    blank("rbac.v1.Subject", "apiGroup", RBAC_GROUP).only(&[If::Is("kind", "User")]),
    blank("rbac.v1.Subject", "apiGroup", RBAC_GROUP).only(&[If::Is("kind", "Group")]),
    // storage, scheduling
    absent("storage.v1.StorageClass", "reclaimPolicy", r#""Delete""#),
    absent("storage.v1.StorageClass", "volumeBindingMode", r#""Immediate""#),
    absent("storage.v1.CSIDriver", "spec.attachRequired", "true"),
    absent("storage.v1.CSIDriver", "spec.podInfoOnMount", "false"),
    absent("storage.v1.CSIDriver", "spec.storageCapacity", "false"),
    absent("storage.v1.CSIDriver", "spec.fsGroupPolicy", r#""ReadWriteOnceWithFSType""#),
    blank("storage.v1.CSIDriver", "spec.volumeLifecycleModes", r#"["Persistent"]"#),
    absent("storage.v1.CSIDriver", "spec.requiresRepublish", "false"),
    absent("storage.v1.CSIDriver", "spec.seLinuxMount", "false"),
    absent("storage.v1.VolumeAttachment", "status", r#"{"attached":false}"#),
    absent("scheduling.v1.PriorityClass", "preemptionPolicy", r#""PreemptLowerPriority""#),
    // admissionregistration
    absent("admissionregistration.v1.ValidatingWebhook", "failurePolicy", r#""Fail""#),
    absent("admissionregistration.v1.ValidatingWebhook", "matchPolicy", r#""Equivalent""#),
    absent("admissionregistration.v1.ValidatingWebhook", "namespaceSelector", "{}"),
    absent("admissionregistration.v1.ValidatingWebhook", "objectSelector", "{}"),
    absent("admissionregistration.v1.ValidatingWebhook", "timeoutSeconds", "10"),
    absent("admissionregistration.v1.MutatingWebhook", "failurePolicy", r#""Fail""#),
    absent("admissionregistration.v1.MutatingWebhook", "matchPolicy", r#""Equivalent""#),
    absent("admissionregistration.v1.MutatingWebhook", "namespaceSelector", "{}"),
    absent("admissionregistration.v1.MutatingWebhook", "objectSelector", "{}"),
    absent("admissionregistration.v1.MutatingWebhook", "timeoutSeconds", "10"),
    absent("admissionregistration.v1.MutatingWebhook", "reinvocationPolicy", r#""Never""#),
    absent("admissionregistration.v1.RuleWithOperations", "scope", r#""*""#),
    absent("admissionregistration.v1.NamedRuleWithOperations", "scope", r#""*""#),
    absent("admissionregistration.v1.ServiceReference", "port", "443"),
    absent("admissionregistration.v1.ValidatingAdmissionPolicySpec", "failurePolicy", r#""Fail""#),
    absent("admissionregistration.v1.MutatingAdmissionPolicySpec", "failurePolicy", r#""Fail""#),
    absent("admissionregistration.v1.MatchResources", "matchPolicy", r#""Equivalent""#),
    absent("admissionregistration.v1.MatchResources", "namespaceSelector", "{}"),
    absent("admissionregistration.v1.MatchResources", "objectSelector", "{}"),
    // flowcontrol
    blank("flowcontrol.v1.FlowSchemaSpec", "matchingPrecedence", "1000"),
    absent("flowcontrol.v1.ExemptPriorityLevelConfiguration", "nominalConcurrencyShares", "0"),
    absent("flowcontrol.v1.ExemptPriorityLevelConfiguration", "lendablePercent", "0"),
    absent("flowcontrol.v1.LimitedPriorityLevelConfiguration", "nominalConcurrencyShares", "30"),
    absent("flowcontrol.v1.LimitedPriorityLevelConfiguration", "lendablePercent", "0"),
    blank("flowcontrol.v1.QueuingConfiguration", "handSize", "8"),
    blank("flowcontrol.v1.QueuingConfiguration", "queues", "64"),
    blank("flowcontrol.v1.QueuingConfiguration", "queueLengthLimit", "50"),
    // resource
    blank("resource.v1.ExactDeviceRequest", "allocationMode", r#""ExactCount""#),
    blank("resource.v1.ExactDeviceRequest", "count", "1").only(&[If::Is("allocationMode", "ExactCount")]),
    blank("resource.v1.DeviceSubRequest", "allocationMode", r#""ExactCount""#),
    blank("resource.v1.DeviceSubRequest", "count", "1").only(&[If::Is("allocationMode", "ExactCount")]),
    // certificates, apiextensions, apiregistration
    absent("apiextensions.v1.CustomResourceDefinition", "spec.conversion.strategy", r#""None""#)
        .only(&[If::Blank("spec.conversion")]),
    absent("apiextensions.v1.ServiceReference", "port", "443"),
    absent("apiregistration.v1.ServiceReference", "port", "443"),
];
