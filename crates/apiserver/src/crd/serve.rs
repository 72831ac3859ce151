//! What a space serves because of its CRDs: a snapshot that is replaced as a whole when a definition changes.

use super::convert::Conversion;
use crate::discovery::{ServedKind, Subresource, Verbs, compare_versions};
use crate::header::Header;
use crate::registry::{Columns, Kind, Rules};
use api::{GroupResource, Object};
use machinery::cel::rules::Rules as CelRules;
use machinery::schema::Schema;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use store::{Collection, Revision, Store};
use tokio_util::sync::CancellationToken;

/// What the verbs need to know of a custom kind beside what all kinds have.
#[derive(Debug)]
pub(crate) struct Custom {
    /// `None` if the root preserves unknown fields and declares nothing.
    pub(crate) schema: Option<Schema>,
    /// `x-kubernetes-validations`, compiled when an object is first written: most spaces never write most kinds.
    pub(crate) cel: LazyLock<Option<CelRules>, Compile>,
    pub(crate) list_kind: String,
    /// Objects that were written at or after this revision have the schema's defaults already.
    pub(crate) since: Revision,
    /// Whether all served versions have the same schema.
    pub(crate) uniform: bool,
    /// How objects come to this version from others; `None`: they differ in `apiVersion` only.
    pub(crate) conversion: Option<Arc<Conversion>>,
    /// `selectableFields`, as dotted paths.
    pub(crate) selectable: Vec<String>,
    pub(crate) columns: Vec<Column>,
    pub(crate) scale: Option<Scale>,
    /// What a request to a deprecated version is warned of.
    pub(crate) warning: Option<String>,
    /// Whether the definition is being deleted: nothing new may be created.
    pub(crate) terminating: bool,
    /// Ends the watches of this kind.
    pub(crate) ended: CancellationToken,
    /// `acceptedNames` of the definition.
    names: Value,
    /// Hash of what decides how this version is served; watches end when it changes.
    fingerprint: [u8; 32],
}

/// Compiles the rules of a schema, which it holds until then.
type Compile = Box<dyn FnOnce() -> Option<CelRules> + Send + Sync>;

fn cel_rules(schema: &Value) -> LazyLock<Option<CelRules>, Compile> {
    if !CelRules::exist(schema) {
        return LazyLock::new(Box::new(|| None));
    }
    let schema = schema.clone();
    LazyLock::new(Box::new(move || CelRules::compile(&schema)))
}

/// A printer column.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) description: String,
    pub(crate) priority: i64,
    pub(crate) path: String,
}

/// Where the scale subresource finds its numbers: dotted paths.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub(crate) struct Scale {
    pub(crate) spec_replicas: String,
    pub(crate) status_replicas: String,
    pub(crate) selector: Option<String>,
}

/// All custom kinds of a space. Cheap to copy: definitions are shared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Customs {
    /// By name of the definition (`plurals.group`), one kind for each served version, preferred first.
    definitions: BTreeMap<String, Vec<Arc<Kind>>>,
}

impl Customs {
    /// Reads all stored definitions.
    pub(crate) fn load(store: &Store<Header>, space: &Arc<str>) -> Self {
        let collection = Collection::new(space.clone(), super::COLLECTION);
        let page = store.page(&collection, None, None, usize::MAX, None);
        let entries = page.expect("the present is never compacted").entries;
        let mut customs = Self::default();
        for entry in entries {
            match serde_json::from_slice::<Object>(&entry.value) {
                Ok(definition) => customs = customs.with(&definition, entry.modified),
                Err(error) => tracing::error!(name = %entry.key.name, %error, "a stored CRD cannot be read"),
            }
        }
        customs
    }

    /// The same with a definition taken in, in place of what was there under its name.
    pub(crate) fn with(&self, definition: &Object, since: Revision) -> Self {
        let mut customs = self.clone();
        let mut kinds = kinds_of(definition, since);
        for kind in &mut kinds {
            if let Some(held) = self.definitions.get(definition.name()).and_then(|held| same_as(held, kind)) {
                kind.continue_from(held);
            }
        }
        let kinds: Vec<Arc<Kind>> = kinds.into_iter().map(Arc::new).collect();
        if kinds.is_empty() {
            customs.definitions.remove(definition.name());
        } else {
            customs.definitions.insert(definition.name().to_owned(), kinds);
        }
        customs
    }

    /// The same without a definition.
    pub(crate) fn without(&self, name: &str) -> Self {
        let mut customs = self.clone();
        customs.definitions.remove(name);
        customs
    }

    /// The kind at a path.
    pub(crate) fn kind(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        let name = if group.is_empty() { return None } else { format!("{plural}.{group}") };
        self.definitions.get(&name)?.iter().find(|kind| kind.served.version == version).cloned()
    }

    /// `acceptedNames` of the definitions of a group, but for one.
    pub(crate) fn names(&self, group: &str, but: &str) -> Vec<Value> {
        let kinds = self.definitions.iter().filter(|(name, _)| *name != but).filter_map(|(_, kinds)| kinds.first());
        let custom = kinds.filter(|kind| kind.served.group == group).filter_map(|kind| kind.custom.as_ref());
        custom.map(|custom| custom.names.clone()).collect()
    }

    /// Every kind at every version, by definition, preferred versions first.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.definitions.values().flatten()
    }

    /// Ends the watches of kinds that `next` does not serve in the same way.
    pub(crate) fn end_what_differs(&self, next: &Self) {
        for kind in self.kinds() {
            let served = &kind.served;
            let same = next.kind(&served.group, &served.version, &served.plural);
            let custom = kind.custom.as_ref().expect("kinds of CRDs are custom");
            let goes_on = same.is_some_and(|next| {
                let next = next.custom.as_ref().expect("kinds of CRDs are custom");
                next.fingerprint == custom.fingerprint
            });
            if !goes_on {
                custom.ended.cancel();
            }
        }
    }
}

/// The kind that was served in the same way as `kind`.
fn same_as<'a>(held: &'a [Arc<Kind>], kind: &Kind) -> Option<&'a Custom> {
    let held = held.iter().find(|held| held.served.version == kind.served.version)?.custom.as_ref()?;
    (held.fingerprint == kind.custom.as_ref()?.fingerprint).then_some(held)
}

impl Kind {
    /// What differs is not what is served: watches go on, and objects need not be looked at anew.
    fn continue_from(&mut self, held: &Custom) {
        if let Some(custom) = &mut self.custom {
            custom.ended = held.ended.clone();
            custom.since = held.since;
            custom.conversion = held.conversion.clone();
        }
    }
}

/// The kinds that a definition serves now: none before its names are accepted.
fn kinds_of(definition: &Object, since: Revision) -> Vec<Kind> {
    let spec = definition.0.get("spec").unwrap_or(&Value::Null);
    let status = definition.0.get("status").unwrap_or(&Value::Null);
    let condition = |wanted: &str| {
        let listed = status["conditions"].as_array().into_iter().flatten();
        listed.filter(|condition| condition["type"] == wanted).any(|condition| condition["status"] == "True")
    };
    if !condition("Established") {
        return Vec::new();
    }
    let versions = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let stored = versions.iter().find(|version| version["storage"] == true).and_then(|v| v["name"].as_str());
    let mut kinds: Vec<Kind> = versions
        .iter()
        .filter(|version| version["served"] == true)
        .map(|version| kind_of(spec, status, version, stored.unwrap_or(""), condition("Terminating"), since))
        .collect();
    kinds.sort_by(|a, b| compare_versions(&a.served.version, &b.served.version));
    kinds
}

fn kind_of(spec: &Value, status: &Value, version: &Value, stored: &str, terminating: bool, since: Revision) -> Kind {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let texts = |value: &Value| -> Vec<_> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(|text| text.to_owned().into()).collect()
    };
    let names = &status["acceptedNames"];
    let (group, name, kind) = (text(&spec["group"]), text(&version["name"]), text(&names["kind"]));
    let plural = text(&names["plural"]);
    let mut subresources = Vec::new();
    let scale = &version["subresources"]["scale"];
    if scale.is_object() {
        subresources.push(Subresource {
            name: "scale".into(),
            group: "autoscaling".into(),
            version: "v1".into(),
            kind: "Scale".into(),
            verbs: Verbs::SUBRESOURCE,
        });
    }
    let has_status = version["subresources"]["status"].is_object();
    if has_status {
        subresources.push(Subresource {
            name: "status".into(),
            group: "".into(),
            version: "".into(),
            kind: kind.clone().into(),
            verbs: Verbs::SUBRESOURCE,
        });
    }
    let schema = &version["schema"]["openAPIV3Schema"];
    let served = ServedKind {
        singular: text(&names["singular"]).into(),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        verbs: Verbs::FULL,
        subresources,
        stored_as: format!("{group}/{stored}").into(),
        group: group.clone().into(),
        version: name.clone().into(),
        kind: kind.clone().into(),
        plural: plural.clone().into(),
    };
    let warning = (version["deprecated"] == true).then(|| {
        let given = version["deprecationWarning"].as_str().map(str::to_owned);
        given.unwrap_or_else(|| format!("{group}/{name} {kind} is deprecated"))
    });
    let columns = version["additionalPrinterColumns"].as_array().into_iter().flatten();
    Kind {
        group_resource: GroupResource { group: group.clone(), resource: plural.clone() },
        api_version: format!("{group}/{name}"),
        collection: format!("{plural}.{group}").into(),
        columns: Columns::Custom,
        rules: Rules { counts_generation: true, needs_revision: true, status: has_status, ..Rules::default() },
        custom: Some(Custom {
            schema: machinery::schema::from_crd(schema).ok(),
            cel: cel_rules(schema),
            list_kind: text(&names["listKind"]),
            conversion: Conversion::read(spec),
            since,
            uniform: spec["versions"]
                .as_array()
                .into_iter()
                .flatten()
                .all(|other| other["schema"] == version["schema"]),
            selectable: version["selectableFields"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|field| Some(field["jsonPath"].as_str()?.trim_start_matches('.').to_owned()))
                .collect(),
            columns: columns
                .map(|column| Column {
                    name: text(&column["name"]),
                    kind: text(&column["type"]),
                    format: text(&column["format"]),
                    description: text(&column["description"]),
                    priority: column["priority"].as_i64().unwrap_or(0),
                    path: text(&column["jsonPath"]),
                })
                .collect(),
            scale: scale.is_object().then(|| Scale {
                spec_replicas: text(&scale["specReplicasPath"]),
                status_replicas: text(&scale["statusReplicasPath"]),
                selector: scale["labelSelectorPath"].as_str().map(str::to_owned),
            }),
            warning,
            terminating,
            ended: CancellationToken::new(),
            names: names.clone(),
            fingerprint: Sha256::digest(
                serde_json::json!([names, version, stored, spec["scope"], spec["conversion"]]).to_string(),
            )
            .into(),
        }),
        served,
    }
}
