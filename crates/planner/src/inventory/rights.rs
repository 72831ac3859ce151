//! What agents may do in an ITS: RBAC objects with the names, rules and subjects of Open Cluster Management, so that
//! agents of any make, and tools that look for them, find what they expect.

use api::cluster::{
    ADDON_GROUP, BOOTSTRAP_GROUP, CLUSTER_NAME_LABEL, GROUP, REGISTER_GROUP, WORK_CLEANUP_FINALIZER, cluster_group,
};
use api::{Object, ObjectName, Resource, control, work};
use serde_json::{Value, json};

const RBAC: &str = "rbac.authorization.k8s.io";
/// ClusterRoles.
pub const CLUSTER_ROLES: Resource = Resource::cluster(RBAC, "v1", "clusterroles", "ClusterRole");
/// ClusterRoleBindings.
pub const CLUSTER_ROLE_BINDINGS: Resource = Resource::cluster(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding");
/// Roles.
pub const ROLES: Resource = Resource::namespaced(RBAC, "v1", "roles", "Role");
/// RoleBindings.
pub const ROLE_BINDINGS: Resource = Resource::namespaced(RBAC, "v1", "rolebindings", "RoleBinding");

/// What the names of all these objects start with.
const PREFIX: &str = "open-cluster-management:managedcluster";
/// Role and RoleBinding in each mailbox for returning statuses; the name that the status add-on gives them.
const STATUS: &str = "open-cluster-management:addon-status:agent";
/// Namespace of the service account that may join clusters, for hubs without bootstrap tokens.
pub const HUB_NAMESPACE: &str = "open-cluster-management";
/// Its name.
pub(super) const BOOTSTRAP_ACCOUNT: &str = "agent-registration-bootstrap";

/// An object and where it belongs.
pub(super) type Wanted = (Resource, Object);

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

fn rule_of(group: &str, resources: &[&str], name: &str, verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "resourceNames": [name], "verbs": verbs})
}

fn object(resource: &Resource, namespace: &str, name: &str, cluster: &str, content: Value) -> Wanted {
    let mut object = Object::new(&resource.api_version(), &resource.kind, &ObjectName::namespaced(namespace, name));
    object.set_label(CLUSTER_NAME_LABEL, cluster);
    if let Value::Object(content) = content {
        object.0.extend(content);
    }
    (resource.clone(), object)
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "apiGroup": RBAC, "name": name})
}

fn role_ref(kind: &str, name: &str) -> Value {
    json!({"kind": kind, "apiGroup": RBAC, "name": name})
}

/// The groups that the agents of a cluster are in; the second is what older hubs gave.
fn agents(cluster: &str) -> Vec<Value> {
    vec![group(&cluster_group(cluster)), group(&format!("open-cluster-management:{cluster}"))]
}

fn cluster_role_name(cluster: &str) -> String {
    format!("{PREFIX}:{cluster}")
}

/// What an accepted cluster's agents need, in the order in which it is made.
pub(super) fn accepted(cluster: &str) -> Vec<Wanted> {
    let name = cluster_role_name(cluster);
    let rules = json!([
        rule("certificates.k8s.io", &["certificatesigningrequests"], &["create", "get", "list", "watch"]),
        rule(REGISTER_GROUP, &["managedclusters/clientcertificates"], &["renew"]),
        rule_of(GROUP, &["managedclusters"], cluster, &["get", "list", "update", "watch"]),
        rule_of(GROUP, &["managedclusters/status"], cluster, &["patch", "update"]),
    ]);
    let status = json!([
        rule(control::GROUP, &["workstatuses"], &["get", "list", "watch", "create", "delete", "update", "patch"]),
        rule(control::GROUP, &["workstatuses/status"], &["patch", "update"]),
        rule(ADDON_GROUP, &["managedclusteraddons"], &["get", "list", "watch"]),
        rule(work::GROUP, &["manifestworks"], &["get", "list", "watch"]),
    ]);
    let mut status_agents = agents(cluster);
    status_agents.push(group(&format!("{}:addon:addon-status", cluster_group(&format!("cluster:{cluster}")))));
    let (registration, works) = (format!("{PREFIX}:registration"), format!("{PREFIX}:work"));
    let mut work_binding = object(
        &ROLE_BINDINGS,
        cluster,
        &format!("{name}:work"),
        cluster,
        json!({"roleRef": role_ref("ClusterRole", &works), "subjects": agents(cluster)}),
    );
    work_binding.1.set_meta("finalizers", json!([WORK_CLEANUP_FINALIZER]));
    vec![
        object(&CLUSTER_ROLES, "", &name, cluster, json!({"rules": rules})),
        object(
            &CLUSTER_ROLE_BINDINGS,
            "",
            &name,
            cluster,
            json!({"roleRef": role_ref("ClusterRole", &name), "subjects": agents(cluster)}),
        ),
        object(
            &ROLE_BINDINGS,
            cluster,
            &format!("{name}:registration"),
            cluster,
            json!({"roleRef": role_ref("ClusterRole", &registration), "subjects": agents(cluster)}),
        ),
        work_binding,
        object(&ROLES, cluster, STATUS, cluster, json!({"rules": status})),
        object(
            &ROLE_BINDINGS,
            cluster,
            STATUS,
            cluster,
            json!({"roleRef": role_ref("Role", STATUS), "subjects": status_agents}),
        ),
    ]
}

/// What is left to a cluster that was accepted once and is no longer: a role that nobody has.
pub(super) fn denied(cluster: &str) -> Wanted {
    let rules = json!([rule_of(GROUP, &["managedclusters"], cluster, &["get", "list", "watch"])]);
    object(&CLUSTER_ROLES, "", &cluster_role_name(cluster), cluster, json!({"rules": rules}))
}

/// What all clusters' bindings refer to, and what lets a cluster ask to join. Made with the ITS.
pub(super) fn common() -> Vec<Wanted> {
    const BOOTSTRAP: &str = "open-cluster-management:bootstrap";
    let unlabelled = |resource: &Resource, name: &str, content: Value| {
        let (resource, mut object) = object(resource, "", name, "", content);
        object.metadata_mut().remove("labels");
        (resource, object)
    };
    let registration = json!([
        rule("coordination.k8s.io", &["leases"], &["get", "list", "watch", "update"]),
        rule(ADDON_GROUP, &["managedclusteraddons"], &["get", "list", "watch"]),
        rule(ADDON_GROUP, &["managedclusteraddons/status"], &["patch", "update"]),
        rule("events.k8s.io", &["events"], &["create"]),
    ]);
    let works = json!([
        json!({"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]}),
        rule(work::GROUP, &["manifestworks"], &["get", "list", "watch", "update", "patch"]),
        rule(work::GROUP, &["manifestworks/status"], &["patch", "update"]),
    ]);
    let bootstrap = json!([
        rule("", &["configmaps"], &["get"]),
        rule("certificates.k8s.io", &["certificatesigningrequests"], &["create", "get", "list", "watch"]),
        rule(GROUP, &["managedclusters"], &["get", "create", "list", "watch"]),
        rule(GROUP, &["managedclustersets/join"], &["create"]),
    ]);
    let service_account = json!({"kind": "ServiceAccount", "namespace": HUB_NAMESPACE, "name": BOOTSTRAP_ACCOUNT});
    vec![
        unlabelled(&CLUSTER_ROLES, &format!("{PREFIX}:registration"), json!({"rules": registration})),
        unlabelled(&CLUSTER_ROLES, &format!("{PREFIX}:work"), json!({"rules": works})),
        unlabelled(&CLUSTER_ROLES, BOOTSTRAP, json!({"rules": bootstrap})),
        unlabelled(
            &CLUSTER_ROLE_BINDINGS,
            BOOTSTRAP,
            json!({"roleRef": role_ref("ClusterRole", BOOTSTRAP), "subjects": [group(BOOTSTRAP_GROUP), service_account]}),
        ),
    ]
}
