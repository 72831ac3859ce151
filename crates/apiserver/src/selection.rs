//! Which objects of a collection a list or watch is about: label and field selectors, matched on stored entries.

use crate::Entry;
use crate::registry::Kind;
use crate::respond::Result;
use api::Status;
use machinery::selector::{FieldSelector, Selector};
use serde_json::Value;

/// Selectors of a request, checked against what the kind offers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    labels: Selector,
    fields: FieldSelector,
    /// JSON pointers of each field of `fields`, of which the first with a value counts; `None` for name and namespace,
    /// which the key has.
    paths: Vec<(String, Option<Vec<String>>)>,
}

/// Fields that a selector may name beside `metadata.name` and `metadata.namespace`, by collection, as the stock server
/// has them: `name=path|path`, where the first path with a value counts. A field without paths is its own.
const FIELDS: [(&str, &[&str]); 12] = [
    ("certificatesigningrequests.certificates.k8s.io", &["spec.signerName"]),
    (
        "events",
        &[
            "involvedObject.apiVersion",
            "involvedObject.fieldPath",
            "involvedObject.kind",
            "involvedObject.name",
            "involvedObject.namespace",
            "involvedObject.resourceVersion",
            "involvedObject.uid",
            "reason",
            "reportingComponent",
            "reportingController=reportingComponent",
            "source=source.component|reportingComponent",
            "type",
            "regarding.apiVersion=involvedObject.apiVersion",
            "regarding.fieldPath=involvedObject.fieldPath",
            "regarding.kind=involvedObject.kind",
            "regarding.name=involvedObject.name",
            "regarding.namespace=involvedObject.namespace",
            "regarding.resourceVersion=involvedObject.resourceVersion",
            "regarding.uid=involvedObject.uid",
        ],
    ),
    ("jobs.batch", &["status.successful=status.succeeded"]),
    ("namespaces", &["status.phase", "name=metadata.name"]),
    ("nodes", &["spec.unschedulable"]),
    ("persistentvolumeclaims", &["name=metadata.name"]),
    ("persistentvolumes", &["name=metadata.name"]),
    (
        "pods",
        &[
            "spec.host=spec.nodeName",
            "spec.hostNetwork",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.nominatedNodeName",
            "status.phase",
            "status.podIP",
            "status.podIPs",
        ],
    ),
    ("replicationcontrollers", &["status.replicas"]),
    ("resourceslices.resource.k8s.io", &["spec.driver", "spec.nodeName"]),
    ("secrets", &["type"]),
    ("services", &["spec.clusterIP", "spec.type"]),
];

impl Selection {
    /// Reads both selectors.
    ///
    /// # Errors
    /// 400 if one cannot be read, or names a field that the kind does not offer.
    pub(crate) fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self> {
        let labels = Selector::parse(labels).map_err(|error| Status::bad_request(error.to_string()))?;
        let fields = FieldSelector::parse(fields).map_err(|error| Status::bad_request(error.to_string()))?;
        let mut paths = Vec::new();
        for required in &fields.requirements {
            let path = match required.field.as_str() {
                "metadata.name" | "metadata.namespace" => None,
                field => {
                    let offered = path_of(kind, field);
                    let refused = || Status::bad_request(not_offered(kind, field));
                    let pointer = |path: &str| format!("/{}", path.replace('.', "/"));
                    Some(offered.ok_or_else(refused)?.split('|').map(pointer).collect())
                }
            };
            paths.push((required.field.clone(), path));
        }
        Ok(Self { labels, fields, paths })
    }

    /// The name that objects must have, where the selector says so.
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }

    /// The namespace that objects must be in, where the selector says so.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.fields.exact("metadata.namespace")
    }

    /// Narrows to one name, as a watch of `/collection/name` asks.
    pub(crate) fn named(mut self, name: &str) -> Self {
        let field = "metadata.name".to_owned();
        self.paths.push((field.clone(), None));
        self.fields.requirements.push(machinery::selector::FieldRequirement {
            field,
            differs: false,
            value: name.into(),
        });
        self
    }

    /// Whether everything is selected.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether an entry is selected.
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        self.labels.matches_by(|key| entry.meta.label(key)) && self.matches_fields(entry)
    }

    fn matches_fields(&self, entry: &Entry) -> bool {
        if self.paths.iter().all(|(_, path)| path.is_none()) {
            return self.fields.matches(|field| key_field(entry, field));
        }
        // Only a few kinds offer other fields, and then the value must be read.
        let object: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
        let texts: Vec<(&str, String)> = self
            .paths
            .iter()
            .map(|(field, path)| match path {
                None => (field.as_str(), key_field(entry, field).to_owned()),
                Some(paths) => {
                    let mut texts = paths.iter().map(|path| text(object.pointer(path)));
                    (field.as_str(), texts.find(|text| !text.is_empty()).unwrap_or_default())
                }
            })
            .collect();
        self.fields.matches(|field| texts.iter().find(|(held, _)| *held == field).map_or("", |(_, text)| text))
    }
}

/// Why a field cannot be selected by: the stock server has a text for kinds that offer fields, one for those that do not,
/// and some of its own.
fn not_offered(kind: &Kind, field: &str) -> String {
    let served = &kind.served;
    match &*kind.collection {
        "jobs.batch" => format!("field label {field:?} not supported for Job"),
        "resourceslices.resource.k8s.io" => {
            let kind = format!("{}/{}, Kind={}", served.group, served.version, served.kind);
            format!("field label not supported for {kind}: {field}")
        }
        collection if kind.custom.is_none() && FIELDS.iter().any(|(offers, _)| *offers == collection) => {
            format!("field label not supported: {field}")
        }
        _ if kind.custom.is_none() => {
            format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        }
        _ => format!("field label not supported: {field}"),
    }
}

fn key_field<'a>(entry: &'a Entry, field: &str) -> &'a str {
    if field == "metadata.name" { &entry.key.name } else { &entry.key.namespace }
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The paths of a field that a selector may name.
fn path_of(kind: &Kind, field: &str) -> Option<String> {
    if let Some(custom) = &kind.custom {
        return custom.selectable.iter().find(|path| *path == field).cloned();
    }
    let (_, fields) = FIELDS.iter().find(|(collection, _)| *collection == &*kind.collection)?;
    fields.iter().find_map(|row| {
        let (name, path) = row.split_once('=').unwrap_or((row, row));
        (name == field).then(|| path.to_owned())
    })
}
