//! Answers as rows for people: `meta.k8s.io` Table.

use crate::call::Call;
use crate::negotiate::Form;
use crate::registry::{Columns, Kind};
use crate::respond::Result;
use crate::route::Query;
use crate::{Entry, columns, present};
use api::{Object, Status};
use machinery::jsonpath::Path;
use machinery::table;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What a row holds beside its cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    fn read(query: &Query) -> Option<Self> {
        match query.get("includeObject") {
            Some("None") => Some(Self::None),
            Some("Object") => Some(Self::Object),
            Some("Metadata") | None => Some(Self::Metadata),
            Some(_) => None,
        }
    }
}

/// 400 if the query asks for rows of a kind that there is not.
pub(crate) fn check(query: &Query) -> Result<()> {
    if Include::read(query).is_some() {
        return Ok(());
    }
    let asked = query.get("includeObject").unwrap_or("");
    let message = format!(
        "Unable to convert to Table as requested: includeObject: Invalid value: {asked:?}: must be 'Metadata', 'Object', \
         'None', or empty"
    );
    Err(Status::bad_request(message).into())
}

/// A Table that is being written.
pub(crate) struct Table {
    version: &'static str,
    kind: Arc<Kind>,
    include: Include,
    clock: clock::SharedClock,
    rows: Vec<Value>,
    /// A watch tells its columns only once.
    told: bool,
}

impl Table {
    pub(crate) fn new(call: &Call, version: &'static str) -> Self {
        let include = Include::read(&call.query).unwrap_or(Include::Metadata);
        let clock = Arc::clone(&call.server.0.clock);
        Self { version, kind: Arc::clone(&call.kind), include, clock, rows: Vec::new(), told: false }
    }

    /// For a watch in the Table form.
    pub(crate) fn of_watch(call: &Call, form: Form) -> Option<Self> {
        match form {
            Form::Table(version) => Some(Self::new(call, version)),
            _ => None,
        }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, entry: &Entry) {
        let row = self.row(entry);
        self.rows.push(row);
    }

    /// The whole, with the metadata of a list. `columns` says whether columns are told.
    pub(crate) fn finish(mut self, metadata: Map<String, Value>, columns: bool) -> Vec<u8> {
        let columns = if columns { self.columns() } else { Value::Null };
        let rows = std::mem::take(&mut self.rows);
        let table = self.document(metadata, columns, rows);
        serde_json::to_vec(&table).expect("a JSON tree always serialises")
    }

    /// The object of a watch event.
    pub(crate) fn event(&mut self, entry: &Entry) -> Vec<u8> {
        let columns = self.columns_once();
        let metadata = Map::from_iter([("resourceVersion".to_owned(), json!(entry.modified.to_string()))]);
        let table = self.document(metadata, columns, vec![self.row(entry)]);
        serde_json::to_vec(&table).expect("a JSON tree always serialises")
    }

    /// The object of a bookmark, whose metadata a client finds in the only row.
    pub(crate) fn bookmark(&mut self, metadata: Map<String, Value>) -> Value {
        let columns = self.columns_once();
        let object = json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{}", self.version),
            "metadata": metadata});
        let revision = Map::from_iter([("resourceVersion".to_owned(), metadata["resourceVersion"].clone())]);
        let cells = vec![Value::Null; self.column_count()];
        self.document(revision, columns, vec![json!({"cells": cells, "object": object})])
    }

    fn document(&self, metadata: Map<String, Value>, columns: Value, rows: Vec<Value>) -> Value {
        json!({"kind": "Table", "apiVersion": format!("meta.k8s.io/{}", self.version), "metadata": metadata,
            "columnDefinitions": columns, "rows": rows})
    }

    fn columns_once(&mut self) -> Value {
        if std::mem::replace(&mut self.told, true) { Value::Null } else { self.columns() }
    }

    fn column_count(&self) -> usize {
        self.columns().as_array().map_or(0, Vec::len)
    }

    fn columns(&self) -> Value {
        match &self.kind.columns {
            Columns::Builtin(columns) => columns
                .iter()
                .map(|column| {
                    json!({"name": column.name, "type": column.kind, "format": column.format,
                        "description": self.description(&column.name), "priority": column.priority})
                })
                .collect(),
            Columns::Custom => {
                let name = json!({"name": "Name", "type": "string", "format": "name",
                    "description": self.description("Name"), "priority": 0});
                let custom = self.kind.custom.as_ref().map_or(&[][..], |custom| &custom.columns);
                let rest = custom.iter().map(|column| {
                    let description = match column.description.as_str() {
                        "" => columns::custom_description(&column.path),
                        told => told.to_owned(),
                    };
                    json!({"name": column.name, "type": column.kind, "format": column.format,
                        "description": description, "priority": column.priority})
                });
                let age = custom.is_empty().then(|| {
                    json!({"name": "Age", "type": "date", "format": "", "description": self.description("Age"),
                        "priority": 0})
                });
                std::iter::once(name).chain(rest).chain(age).collect()
            }
        }
    }

    fn description(&self, column: &str) -> &'static str {
        columns::description(&self.kind.served.group, &self.kind.served.kind, column)
    }

    fn row(&self, entry: &Entry) -> Value {
        let object: Object = serde_json::from_slice(&present::whole(&self.kind, entry)).unwrap_or_default();
        let served = &self.kind.served;
        let mut row = Map::new();
        row.insert("cells".into(), self.cells(&object).into());
        if let Some(conditions) = table::row_conditions(&served.group, &served.kind, &object) {
            row.insert("conditions".into(), conditions);
        }
        match self.include {
            Include::None => drop(row.insert("object".into(), Value::Null)),
            Include::Object => drop(row.insert("object".into(), Value::Object(object.0))),
            Include::Metadata => {
                let partial = serde_json::from_slice(&present::metadata(self.version, entry)).unwrap_or_default();
                row.insert("object".into(), partial);
            }
        }
        row.into()
    }

    fn cells(&self, object: &Object) -> Vec<Value> {
        let (served, now) = (&self.kind.served, self.clock.now());
        let Some(custom) = &self.kind.custom else {
            return table::cells(&served.group, &served.kind, object, now);
        };
        let root = Value::Object(object.0.clone());
        let columns = custom.columns.iter().map(|column| table::Column { kind: &column.kind, path: &column.path });
        table::custom_cells(object, columns, now, |path| Path::parse(path).ok()?.first(&root).cloned())
    }
}
