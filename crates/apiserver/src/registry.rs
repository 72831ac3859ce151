//! Which kinds a space serves, and what the verbs need to know of each.

use crate::builtin;
use crate::crd::Custom;
use crate::discovery::{ServedKind, Text};
use api::GroupResource;
use machinery::schema::Schema;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// A kind at one version, ready to be asked: a built-in row, or a version of a CRD.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) served: ServedKind,
    pub(crate) group_resource: GroupResource,
    /// Such as `apps/v1`.
    pub(crate) api_version: String,
    /// The collection of the store, such as `deployments.apps`; empty for what is not stored.
    pub(crate) collection: Arc<str>,
    pub(crate) columns: Columns,
    pub(crate) rules: Rules,
    /// For the kind of a CRD.
    pub(crate) custom: Option<Custom>,
}

/// Where the columns of a Table come from.
#[derive(Debug)]
pub(crate) enum Columns {
    /// A built-in kind: cells are computed by kind.
    Builtin(&'static [builtin::Column]),
    /// A CRD: cells are JSON paths.
    Custom,
}

/// How writes of a kind differ from the general case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // independent traits, as the stock server's strategies have
pub(crate) struct Rules {
    /// `metadata.generation` counts changes of what is not metadata or status.
    pub(crate) counts_generation: bool,
    /// An update must say which resourceVersion it was made from.
    pub(crate) needs_revision: bool,
    /// A PUT of an object that is not there creates it.
    pub(crate) put_creates: bool,
    /// A delete answers with the object, not with a Status.
    pub(crate) returns_deleted: bool,
    /// A delete without a policy orphans dependents.
    pub(crate) orphans: bool,
    /// `.status` is written by its subresource only.
    pub(crate) status: bool,
}

const GENERATIONS: [&str; 21] = [
    "cronjobs.batch",
    "csidrivers.storage.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
    "daemonsets.apps",
    "deployments.apps",
    "flowschemas.flowcontrol.apiserver.k8s.io",
    "ingresses.networking.k8s.io",
    "ingressclasses.networking.k8s.io",
    "jobs.batch",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "networkpolicies.networking.k8s.io",
    "poddisruptionbudgets.policy",
    "pods",
    "priorityclasses.scheduling.k8s.io",
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
    "replicasets.apps",
    "replicationcontrollers",
    "statefulsets.apps",
    "validatingadmissionpolicies.admissionregistration.k8s.io",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
];

const REVISIONED: [&str; 3] = [
    "apiservices.apiregistration.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
    "poddisruptionbudgets.policy",
];

const PUT_CREATES: [&str; 11] = [
    "clusterrolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "endpoints",
    "events",
    "leases.coordination.k8s.io",
    "limitranges",
    "rolebindings.rbac.authorization.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "runtimeclasses.node.k8s.io",
    "services",
    "resourcequotas",
];

const RETURNED: [&str; 11] = [
    "csidrivers.storage.k8s.io",
    "csinodes.storage.k8s.io",
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "podtemplates",
    "resourcequotas",
    "serviceaccounts",
    "services",
    "storageclasses.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
];

impl Rules {
    fn builtin(collection: &str, status: bool) -> Self {
        Self {
            counts_generation: GENERATIONS.contains(&collection),
            needs_revision: REVISIONED.contains(&collection),
            put_creates: PUT_CREATES.contains(&collection),
            returns_deleted: RETURNED.contains(&collection),
            orphans: matches!(collection, "jobs.batch" | "replicationcontrollers"),
            status,
        }
    }
}

impl Kind {
    fn builtin(row: &'static builtin::Kind) -> Self {
        let served = row.served.clone();
        Self {
            group_resource: served.resource().group_resource(),
            api_version: served.api_version(),
            collection: (*row.collection).into(),
            columns: Columns::Builtin(&row.columns),
            rules: Rules::builtin(&row.collection, served.subresource("status").is_some()),
            custom: None,
            served,
        }
    }

    /// The schema of its objects, if one is known.
    pub(crate) fn schema(&self) -> Option<Schema> {
        match &self.custom {
            Some(custom) => custom.schema.clone(),
            None => builtin::schema(&self.served.group, &self.served.version, &self.served.kind),
        }
    }

    /// The kind of its lists.
    pub(crate) fn list_kind(&self) -> Text {
        match &self.custom {
            Some(custom) => custom.list_kind.clone().into(),
            None => format!("{}List", self.served.kind).into(),
        }
    }
}

type Index = HashMap<(String, String), Vec<Arc<Kind>>>;

/// Built-in kinds by group and version.
static BUILTIN: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index::new();
    for row in builtin::kinds() {
        let key = (row.served.group.to_string(), row.served.version.to_string());
        index.entry(key).or_default().push(Arc::new(Kind::builtin(row)));
    }
    index
});

/// The built-in kind at a path.
pub(crate) fn builtin_kind(group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
    // The pair of owned texts is the price of a plain map; both are short.
    let row = BUILTIN.get(&(group.to_owned(), version.to_owned()))?;
    row.iter().find(|kind| kind.served.plural == plural).cloned()
}
