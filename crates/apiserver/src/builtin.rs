//! The kinds that Kubernetes itself serves, as rows of data.
//!
//! The rows are written by `cargo xtask generate` from what a stock server of that release was seen to serve; they are
//! inflated once, on first use.

use crate::discovery::{ServedKind, Subresource, Text, Verbs};
use flate2::read::ZlibDecoder;
use machinery::schema::{Schema, Schemas};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, LazyLock};

/// Release of Kubernetes that the rows were recorded from.
pub const RELEASE: &str = "v1.36.3";

/// A column of a Table, as `kubectl get` prints it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Heading.
    pub name: Text,
    /// OpenAPI type: `string`, `integer`, `boolean`, `date`.
    pub kind: Text,
    /// `name` for the column that holds the object's name, otherwise mostly empty.
    pub format: Text,
    /// 0 is always printed, 1 only by `-o wide`.
    pub priority: i32,
}

/// A built-in kind at one version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kind {
    /// What discovery says of it.
    pub served: ServedKind,
    /// Collection of the store that holds its objects, such as `deployments.apps`; empty when nothing is stored
    /// (reviews, bindings). Kinds that are one thing under two names (`events`, `horizontalpodautoscalers.autoscaling`)
    /// name the same one.
    pub collection: Text,
    /// Columns of its Table; empty when it cannot be a Table.
    pub columns: Vec<Column>,
    /// Name of its schema, such as `io.k8s.api.apps.v1.Deployment`.
    pub definition: Text,
}

impl Kind {
    /// Whether objects are stored at this version, and not converted to another.
    pub fn is_stored_version(&self) -> bool {
        self.served.stored_as == self.served.api_version()
    }

    /// The schema of its objects.
    pub fn schema(&self) -> Schema {
        schemas().named(&self.definition).expect("the generator checks that each kind has a definition")
    }
}

/// Every built-in kind at every version, in the order of discovery: groups by priority, versions preferred first,
/// resources by name.
pub fn kinds() -> &'static [Kind] {
    &ROWS.kinds
}

/// The kind at a path such as `/apis/GROUP/VERSION/PLURAL`.
pub fn by_plural(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    kinds().iter().find(|row| {
        let served = &row.served;
        served.plural == plural && served.group == group && served.version == version
    })
}

/// The kind that an object says it is.
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    kinds().iter().find(|row| {
        let served = &row.served;
        served.kind == kind && served.group == group && served.version == version
    })
}

/// The schema of anything that has a group, version and kind: served kinds, their lists, and what subresources speak
/// (`Scale`, `Eviction`, `TokenRequest`, `DeleteOptions`).
pub fn schema(group: &str, version: &str, kind: &str) -> Option<Schema> {
    let name = ROWS.definitions.get(&(group, version, kind))?;
    schemas().named(name)
}

/// All schemas.
pub fn schemas() -> &'static Arc<Schemas> {
    static SCHEMAS: LazyLock<Arc<Schemas>> = LazyLock::new(|| {
        let definitions = definitions();
        machinery::schema::from_definitions(&definitions).expect("the generator checks the definitions")
    });
    &SCHEMAS
}

/// The definitions as OpenAPI v2 has them, parsed anew: for the documents of OpenAPI, which are made rarely.
pub(crate) fn definitions() -> Map<String, Value> {
    let text = inflate(include_bytes!("../data/definitions.json.z"));
    serde_json::from_str(&text).expect("the generator writes JSON")
}

struct Rows {
    kinds: Vec<Kind>,
    /// Definition of each group, version and kind that has one.
    definitions: BTreeMap<(&'static str, &'static str, &'static str), &'static str>,
}

static ROWS: LazyLock<Rows> = LazyLock::new(|| read(include_str!("../data/kinds.json")));

#[derive(Deserialize)]
struct RecordedRows<'a> {
    #[serde(borrow)]
    kinds: Vec<RecordedKind<'a>>,
    #[serde(borrow)]
    definitions: Vec<(&'a str, &'a str, &'a str, &'a str)>,
}

#[derive(Deserialize)]
struct RecordedKind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    plural: &'a str,
    singular: &'a str,
    #[serde(default, borrow)]
    short: Vec<&'a str>,
    #[serde(default, borrow)]
    categories: Vec<&'a str>,
    namespaced: bool,
    verbs: Verbs,
    #[serde(default, borrow)]
    subresources: Vec<(&'a str, &'a str, &'a str, &'a str, Verbs)>,
    #[serde(default)]
    stored_as: &'a str,
    #[serde(default)]
    collection: &'a str,
    #[serde(default, borrow)]
    columns: Vec<(&'a str, &'a str, &'a str, i32)>,
    definition: &'a str,
}

fn texts(names: Vec<&'static str>) -> Vec<Text> {
    names.into_iter().map(Text::Borrowed).collect()
}

impl From<RecordedKind<'static>> for Kind {
    fn from(row: RecordedKind<'static>) -> Self {
        let subresources = row.subresources.into_iter().map(|(name, group, version, kind, verbs)| Subresource {
            name: name.into(),
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            verbs,
        });
        let columns = row.columns.into_iter().map(|(name, kind, format, priority)| Column {
            name: name.into(),
            kind: kind.into(),
            format: format.into(),
            priority,
        });
        Self {
            served: ServedKind {
                group: row.group.into(),
                version: row.version.into(),
                kind: row.kind.into(),
                plural: row.plural.into(),
                singular: row.singular.into(),
                short_names: texts(row.short),
                categories: texts(row.categories),
                namespaced: row.namespaced,
                verbs: row.verbs,
                subresources: subresources.collect(),
                stored_as: row.stored_as.into(),
            },
            collection: row.collection.into(),
            columns: columns.collect(),
            definition: row.definition.into(),
        }
    }
}

fn read(text: &'static str) -> Rows {
    let rows: RecordedRows<'static> = serde_json::from_str(text).expect("the generator writes rows of this shape");
    let definitions = rows.definitions.into_iter().map(|(group, version, kind, name)| ((group, version, kind), name));
    Rows { kinds: rows.kinds.into_iter().map(Kind::from).collect(), definitions: definitions.collect() }
}

/// Inflates what the generator deflated.
pub(crate) fn inflate(deflated: &[u8]) -> String {
    let mut text = String::new();
    ZlibDecoder::new(deflated).read_to_string(&mut text).expect("the generator writes zlib streams of text");
    text
}
