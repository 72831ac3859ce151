//! The kinds that Kubernetes itself serves, as rows of data.
//!
//! The rows are written by `cargo xtask generate` from what a stock server of that release was seen to serve; they are
//! inflated once, on first use.

use crate::discovery::{ServedKind, Subresource, Text, Verbs};
use flate2::read::ZlibDecoder;
use machinery::protobuf::Transcoder;
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
    schemas().named(definition(group, version, kind)?)
}

/// Name of the definition of a group, version and kind.
pub(crate) fn definition(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    ROWS.definitions.get(&(group, version, kind)).copied()
}

/// All schemas.
pub fn schemas() -> &'static Arc<Schemas> {
    static SCHEMAS: LazyLock<Arc<Schemas>> = LazyLock::new(|| {
        let definitions = definitions();
        machinery::schema::from_definitions(&definitions).expect("the generator checks the definitions")
    });
    &SCHEMAS
}

/// Reads and writes protobuf bodies of built-in kinds, and of what goes with them (`DeleteOptions`, `Status`).
pub fn transcoder() -> &'static Transcoder {
    static TRANSCODER: LazyLock<Transcoder> = LazyLock::new(|| {
        let table = inflate(include_bytes!("../data/wire.txt.z"));
        let table = [table.trim_end(), machinery::protobuf::METADATA_MESSAGES].concat();
        Transcoder::new(&table).expect("the generator writes tables of this form")
    });
    &TRANSCODER
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

#[cfg(test)]
mod tests {
    use super::*;
    use machinery::protobuf::ProtobufError;

    #[test]
    fn every_kind_has_a_schema() {
        for kind in kinds() {
            let properties: Vec<String> = kind.schema().properties().map(|(name, _)| name.to_owned()).collect();
            assert!(properties.contains(&"metadata".to_owned()), "{kind:?} has {properties:?}");
            assert!(schema(&kind.served.group, &kind.served.version, &kind.served.kind).is_some());
        }
        let strategy = schema("apps", "v1", "Deployment").unwrap().field("spec").unwrap().field("strategy").unwrap();
        assert!(strategy.node().patch_strategy.retain_keys);
        assert!(strategy.field("rollingUpdate").is_some());
        assert!(schema("autoscaling", "v1", "Scale").is_some());
        assert!(schema("policy", "v1", "Eviction").is_some());
        assert!(schema("", "v1", "DeleteOptions").is_some());
        assert!(schema("", "v1", "Nothing").is_none());
    }

    #[test]
    fn every_stored_kind_is_listed_in_columns_and_has_one_stored_version() {
        for kind in kinds().iter().filter(|kind| !kind.collection.is_empty()) {
            assert!(!kind.columns.is_empty(), "{kind:?}");
            let same: Vec<&Kind> = kinds().iter().filter(|other| other.collection == kind.collection).collect();
            assert_eq!(same.iter().filter(|kind| kind.is_stored_version()).count(), 1, "{same:?}");
        }
        assert_eq!(by_plural("events.k8s.io", "v1", "events").unwrap().collection, "events");
        assert_eq!(by_kind("autoscaling", "v1", "HorizontalPodAutoscaler").unwrap().served.stored_as, "autoscaling/v2");
        assert_eq!(by_plural("apps", "v1", "deployments").unwrap().collection, "deployments.apps");
    }

    /// Members of objects that are null say what absent ones say.
    fn without_nulls(value: Value) -> Value {
        match value {
            Value::Object(map) => {
                let kept = map.into_iter().filter(|(_, value)| !value.is_null());
                Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
            }
            Value::Array(items) => items.into_iter().map(without_nulls).collect(),
            other => other,
        }
    }

    fn recorded_bodies() -> Vec<(Vec<u8>, Value)> {
        let text = inflate(include_bytes!("../data/recorded-bodies.txt.z"));
        let pair = |line: &str| {
            let (hex, json) = line.split_once(' ').unwrap();
            let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            (bytes.collect(), without_nulls(serde_json::from_str(json).unwrap()))
        };
        text.lines().map(pair).collect()
    }

    #[test]
    fn bodies_are_what_go_makes_of_the_same_objects_in_json() {
        let bodies = recorded_bodies();
        assert!(bodies.len() > 200);
        for (body, wanted) in bodies {
            let decoded = transcoder().decode(&body).unwrap_or_else(|error| panic!("{error}: {wanted}"));
            let again = transcoder().encode(&decoded.0).unwrap_or_else(|| panic!("no message: {wanted}"));
            let again = transcoder().decode(&again).unwrap_or_else(|error| panic!("{error}: {wanted}"));
            assert_eq!(without_nulls(Value::Object(again.0)), wanted);
            assert_eq!(without_nulls(Value::Object(decoded.0)), wanted);
        }
    }

    #[test]
    fn broken_bodies_are_errors() {
        for (body, _) in recorded_bodies().into_iter().step_by(40) {
            for length in (0..body.len()).step_by(5) {
                // A body that ends between two fields of its envelope is a whole one.
                let _ = transcoder().decode(&body[..length]);
                let mut flipped = body.clone();
                flipped[length] ^= 0x55;
                let _ = transcoder().decode(&flipped);
            }
        }
        assert_eq!(transcoder().decode(b"{}"), Err(ProtobufError::NotKubernetes));
        let unknown = transcoder().decode(b"k8s\0\x0a\x0a\x0a\x02v9\x12\x04Nope").unwrap_err();
        assert_eq!(unknown, ProtobufError::UnknownKind { api_version: "v9".into(), kind: "Nope".into() });
    }
}
