//! What a stock server's built-in admission plugins make of a write: pure decisions, one row for each plugin, in the
//! stock server's order.
//!
//! What a plugin needs to know of the rest of the space it asks of a [`Lookup`]; who carries the decisions out holds the
//! store. Quotas are counted apart ([`quota`]), because a count must hold until the write is done.

pub mod limits;
mod pod_security;
mod pod_security_labels;
pub mod pods;
pub mod quota;
pub mod resources;
pub mod storage;
pub mod webhook;

#[cfg(test)]
mod tests;

use api::Object;

pub(crate) use pod_security_labels::label_problems as pod_security_labels;

/// What a write does with an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    /// As rules of webhooks and policies spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// What a decision may read of the space.
pub trait Lookup {
    /// One object of a collection (`storageclasses.storage.k8s.io`); an empty namespace is cluster scope.
    fn get(&self, collection: &str, namespace: &str, name: &str) -> Option<Object>;
    /// All objects of a collection in a namespace.
    fn list(&self, collection: &str, namespace: &str) -> Vec<Object>;
}

/// A write on its way through the plugins.
pub struct Subject<'a> {
    /// What would be stored. Validating plugins leave it as it is.
    pub object: &'a mut Object,
    /// What is there; nothing for a create.
    pub old: Option<&'a Object>,
    /// Create or update.
    pub operation: Operation,
    /// The namespace of the request.
    pub namespace: &'a str,
    /// What the client is told beside.
    pub warnings: Vec<String>,
    /// Drawn for this write: the name of the volume that holds the token of a Pod.
    pub token_volume: &'a str,
}

/// Why a write is refused: the text that follows `is forbidden: `.
pub type Refusal = String;

/// A step of a plugin.
pub type Step = fn(&mut Subject<'_>, &dyn Lookup) -> Result<(), Refusal>;

/// When a step of a plugin runs.
pub struct Row {
    /// The plugin, as the stock server's flags name it.
    pub plugin: &'static str,
    /// Of which collection.
    pub collection: &'static str,
    /// Of which subresource; empty is the object itself.
    pub subresource: &'static str,
    /// On which operations.
    pub operations: &'static [Operation],
    /// Whether it looks only at what is in namespaces with labels of pod security.
    pub of_labelled: bool,
    /// What it does.
    pub step: Step,
}

const CREATE: &[Operation] = &[Operation::Create];
const UPDATE: &[Operation] = &[Operation::Update];
const WRITE: &[Operation] = &[Operation::Create, Operation::Update];
const PODS: &str = "pods";
const CLAIMS: &str = "persistentvolumeclaims";

const fn row(plugin: &'static str, collection: &'static str, operations: &'static [Operation], step: Step) -> Row {
    Row { plugin, collection, subresource: "", operations, of_labelled: false, step }
}

/// Kinds that make Pods are warned of what their Pods will be refused for.
const fn warned(collection: &'static str) -> Row {
    Row { of_labelled: true, ..row("PodSecurity", collection, WRITE, pod_security::warn_of_template) }
}

/// The steps that change an object, before webhooks see it.
pub const MUTATING: &[Row] = &[
    row("LimitRanger", PODS, CREATE, limits::apply),
    row("ServiceAccount", PODS, CREATE, pods::service_account),
    row("TaintNodesByCondition", "nodes", CREATE, storage::taint_new_node),
    row("Priority", PODS, WRITE, pods::priority),
    row("DefaultTolerationSeconds", PODS, WRITE, pods::tolerations),
    row("DefaultStorageClass", CLAIMS, CREATE, storage::default_class),
    row("StorageObjectInUseProtection", CLAIMS, CREATE, storage::protect_claim),
    row("StorageObjectInUseProtection", "persistentvolumes", CREATE, storage::protect_volume),
    row("StorageObjectInUseProtection", "volumeattributesclasses.storage.k8s.io", CREATE, storage::protect_attributes),
    row("RuntimeClass", PODS, CREATE, pods::runtime_class),
    row("DefaultIngressClass", "ingresses.networking.k8s.io", CREATE, storage::default_ingress_class),
];

/// The steps that look at what would be stored, before webhooks do.
pub const VALIDATING: &[Row] = &[
    row("LimitRanger", PODS, CREATE, limits::check_pod),
    row("LimitRanger", CLAIMS, WRITE, limits::check_claim),
    row("PodSecurity", PODS, CREATE, pod_security::enforce),
    row("PodSecurity", "namespaces", UPDATE, pod_security::warn_of_pods),
    warned("podtemplates"),
    warned("replicationcontrollers"),
    warned("daemonsets.apps"),
    warned("deployments.apps"),
    warned("replicasets.apps"),
    warned("statefulsets.apps"),
    warned("cronjobs.batch"),
    warned("jobs.batch"),
    row("Priority", "priorityclasses.scheduling.k8s.io", WRITE, pods::one_default_priority),
    row("PersistentVolumeClaimResize", CLAIMS, UPDATE, storage::may_resize),
    row("RuntimeClass", PODS, CREATE, pods::overhead_is_of_class),
];

/// The steps of a table that run on a write.
pub fn steps<'t>(
    table: &'t [Row],
    collection: &str,
    subresource: &str,
    operation: Operation,
) -> impl Iterator<Item = &'t Row> {
    table.iter().filter(move |row| {
        row.collection == collection && row.subresource == subresource && row.operations.contains(&operation)
    })
}
