//! Which kinds a space serves, and what the verbs need to know of each.

use crate::builtin;
use crate::crd::Custom;
use crate::discovery::{ServedKind, Text};
use api::GroupResource;
use machinery::schema::Schema;
use machinery::strategy::{Strategy, strategy};
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
    /// `metadata.generation` counts changes of annotations too.
    pub(crate) generation_of_annotations: bool,
    /// The same of labels.
    pub(crate) generation_of_labels: bool,
    /// `metadata.generation` is not there until something changes.
    pub(crate) generation_is_late: bool,
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
    /// A writer of the status may label, annotate and finalize too.
    pub(crate) status_writes_metadata: bool,
    /// The same of labels alone.
    pub(crate) status_writes_labels: bool,
}

impl From<Strategy> for Rules {
    fn from(strategy: Strategy) -> Self {
        Self {
            counts_generation: strategy.generation,
            generation_of_annotations: strategy.generation_of_annotations,
            generation_of_labels: strategy.generation_of_labels,
            generation_is_late: strategy.generation_is_late,
            needs_revision: !strategy.unconditional_update,
            put_creates: strategy.create_on_update,
            returns_deleted: strategy.returns_deleted,
            orphans: strategy.orphans,
            status: strategy.status,
            status_writes_metadata: strategy.status_writes_metadata,
            status_writes_labels: strategy.status_writes_labels,
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
            rules: strategy(&served.group, &served.kind).into(),
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

    /// Whether a webhook converts its objects.
    pub(crate) fn is_converted(&self) -> bool {
        self.custom.as_ref().is_some_and(|custom| custom.conversion.is_some())
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
