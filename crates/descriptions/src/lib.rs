//! What the fields of the built-in kinds are for, in the words of Kubernetes: `kubectl explain` shows them.
//!
//! The words are those that the crate `k8s-openapi` carries in its schemas. They are a crate of their own because they
//! take longer to compile than to change.

use k8s_openapi::api::admissionregistration::v1 as admissionregistration_v1;
use k8s_openapi::api::apps::v1 as apps_v1;
use k8s_openapi::api::authentication::v1 as authentication_v1;
use k8s_openapi::api::authorization::v1 as authorization_v1;
use k8s_openapi::api::autoscaling::v1 as autoscaling_v1;
use k8s_openapi::api::autoscaling::v2 as autoscaling_v2;
use k8s_openapi::api::batch::v1 as batch_v1;
use k8s_openapi::api::certificates::v1 as certificates_v1;
use k8s_openapi::api::coordination::v1 as coordination_v1;
use k8s_openapi::api::core::v1 as core_v1;
use k8s_openapi::api::discovery::v1 as discovery_v1;
use k8s_openapi::api::events::v1 as events_v1;
use k8s_openapi::api::flowcontrol::v1 as flowcontrol_v1;
use k8s_openapi::api::networking::v1 as networking_v1;
use k8s_openapi::api::node::v1 as node_v1;
use k8s_openapi::api::policy::v1 as policy_v1;
use k8s_openapi::api::rbac::v1 as rbac_v1;
use k8s_openapi::api::resource::v1 as resource_v1;
use k8s_openapi::api::scheduling::v1 as scheduling_v1;
use k8s_openapi::api::storage::v1 as storage_v1;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions_v1;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration_v1;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// Adds the schemas of kinds, and of all that they are made of, to a generator.
macro_rules! kinds {
    ($($kind:ty),+ $(,)?) => {
        fn collect(generator: &mut SchemaGenerator) {
            $(generator.subschema_for::<$kind>();)+
        }
    };
}

kinds! {
    admissionregistration_v1::MutatingAdmissionPolicy,
    admissionregistration_v1::MutatingAdmissionPolicyBinding,
    admissionregistration_v1::MutatingWebhookConfiguration,
    admissionregistration_v1::ValidatingAdmissionPolicy,
    admissionregistration_v1::ValidatingAdmissionPolicyBinding,
    admissionregistration_v1::ValidatingWebhookConfiguration,
    apps_v1::ControllerRevision,
    apps_v1::DaemonSet,
    apps_v1::Deployment,
    apps_v1::ReplicaSet,
    apps_v1::StatefulSet,
    authentication_v1::SelfSubjectReview,
    authentication_v1::TokenRequest,
    authentication_v1::TokenReview,
    authorization_v1::LocalSubjectAccessReview,
    authorization_v1::SelfSubjectAccessReview,
    authorization_v1::SelfSubjectRulesReview,
    authorization_v1::SubjectAccessReview,
    autoscaling_v1::HorizontalPodAutoscaler,
    autoscaling_v1::Scale,
    autoscaling_v2::HorizontalPodAutoscaler,
    batch_v1::CronJob,
    batch_v1::Job,
    certificates_v1::CertificateSigningRequest,
    coordination_v1::Lease,
    core_v1::Binding,
    core_v1::ComponentStatus,
    core_v1::ConfigMap,
    core_v1::Endpoints,
    core_v1::Event,
    core_v1::LimitRange,
    core_v1::Namespace,
    core_v1::Node,
    core_v1::PersistentVolume,
    core_v1::PersistentVolumeClaim,
    core_v1::Pod,
    core_v1::PodTemplate,
    core_v1::ReplicationController,
    core_v1::ResourceQuota,
    core_v1::Secret,
    core_v1::Service,
    core_v1::ServiceAccount,
    discovery_v1::EndpointSlice,
    events_v1::Event,
    flowcontrol_v1::FlowSchema,
    flowcontrol_v1::PriorityLevelConfiguration,
    networking_v1::IPAddress,
    networking_v1::Ingress,
    networking_v1::IngressClass,
    networking_v1::NetworkPolicy,
    networking_v1::ServiceCIDR,
    node_v1::RuntimeClass,
    policy_v1::Eviction,
    policy_v1::PodDisruptionBudget,
    rbac_v1::ClusterRole,
    rbac_v1::ClusterRoleBinding,
    rbac_v1::Role,
    rbac_v1::RoleBinding,
    resource_v1::DeviceClass,
    resource_v1::ResourceClaim,
    resource_v1::ResourceClaimTemplate,
    resource_v1::ResourceSlice,
    scheduling_v1::PriorityClass,
    storage_v1::CSIDriver,
    storage_v1::CSINode,
    storage_v1::CSIStorageCapacity,
    storage_v1::StorageClass,
    storage_v1::VolumeAttachment,
    storage_v1::VolumeAttributesClass,
    apiextensions_v1::CustomResourceDefinition,
    apiregistration_v1::APIService,
}

/// Descriptions of the built-in definitions, such as `io.k8s.api.apps.v1.Deployment`.
#[derive(Debug)]
pub struct Descriptions {
    schemas: Map<String, Value>,
}

impl Descriptions {
    /// Reads all of them: milliseconds and megabytes, so hold them only as long as needed.
    #[must_use]
    pub fn read() -> Self {
        let mut generator = SchemaSettings::openapi3().into_generator();
        collect(&mut generator);
        Self { schemas: generator.take_definitions(false) }
    }

    /// Adds to the schema of a definition, and to those of its fields, what they are for. What is described already
    /// keeps its words, and a reference that stands alone stays alone where `lone` says so.
    pub fn describe(&self, definition: &str, schema: &mut Value, lone: fn(&Value) -> bool) {
        if let Some(words) = self.schemas.get(definition) {
            describe(words, schema, lone);
        }
    }

    /// What one field of a definition is for.
    #[must_use]
    pub fn of_field(&self, definition: &str, field: &str) -> Option<&str> {
        self.schemas.get(definition)?.get("properties")?.get(field)?.get("description")?.as_str()
    }
}

fn describe(words: &Value, schema: &mut Value, lone: fn(&Value) -> bool) {
    if lone(schema) {
        return;
    }
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(text) = words.get("description").filter(|_| !map.contains_key("description")) {
        map.insert("description".into(), text.clone());
    }
    for (name, property) in map.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(words) = words.get("properties").and_then(|properties| properties.get(name)) {
            describe(words, property, lone);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some((words, part)) = words.get(key).zip(map.get_mut(key)) {
            describe(words, part, lone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_described() {
        let descriptions = Descriptions::read();
        let reference = json!({"$ref": "#/definitions/io.k8s.api.apps.v1.DeploymentStrategy"});
        let mut schema = json!({"type": "object", "properties": {
            "strategy": reference, "replicas": {"type": "integer", "description": "held"}, "unknown": {"type": "string"}}});
        descriptions.describe("io.k8s.api.apps.v1.DeploymentSpec", &mut schema, |_| false);
        let text = |pointer: &str| schema.pointer(pointer).and_then(Value::as_str);
        assert!(text("/properties/strategy/description").is_some_and(|text| text.contains("replace existing pods")));
        assert_eq!(text("/properties/strategy/$ref"), reference["$ref"].as_str());
        assert_eq!(text("/properties/replicas/description"), Some("held"));
        assert_eq!(text("/properties/unknown/description"), None);
        assert!(text("/description").is_some());
        let name = descriptions.of_field("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "name");
        assert!(name.is_some_and(|text| text.contains("unique within a namespace")));
    }
}
