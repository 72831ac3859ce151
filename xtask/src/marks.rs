//! What OpenAPI version 3 says beside the definitions of version 2: defaults, and which references stand alone.
//!
//! Version 2 leaves defaults out. Version 3 puts a reference into `allOf` where anything stands beside it, which is
//! nearly everywhere. Both are read from the documents of `/openapi/v3` of a stock server, once for a release; the
//! outcome is committed: a line for each definition, and in it `PLACE=DEFAULT`, or `PLACE!` for a lone reference. A
//! place is a path of properties, with `[]` for the items of a list and `{}` for the values of a map.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// Where the documents are.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folder with a JSON file for each document of `/openapi/v3`, under any name; other JSON files are passed over.
    #[arg(long)]
    documents: PathBuf,
}

/// Marks by definition, as committed.
pub(crate) const COMMITTED: &str = include_str!("../data/openapi-v3.txt");

/// Writes xtask/data/openapi-v3.txt.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir(&options.documents)? {
        let path = entry?.path();
        let document: Value = serde_json::from_slice(&fs::read(&path)?).with_context(|| path.display().to_string())?;
        for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            let mut marks = Vec::new();
            collect(schema, "", &mut marks);
            if let Some(known) = found.insert(name.clone(), marks.clone()) {
                ensure!(known == marks, "{name} differs between documents");
            }
        }
    }
    ensure!(!found.is_empty(), "no document of OpenAPI version 3 in {}", options.documents.display());
    let mut text = String::new();
    for (name, marks) in found.iter().filter(|(_, marks)| !marks.is_empty()) {
        writeln!(text, "{name} {}", marks.join(" "))?;
    }
    let path = crate::workspace_root()?.join("xtask/data/openapi-v3.txt");
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn collect(schema: &Value, place: &str, marks: &mut Vec<String>) {
    if schema.get("$ref").is_some_and(Value::is_string) {
        marks.push(format!("{place}!"));
    }
    if let Some(default) = schema.get("default").filter(|_| !place.is_empty()) {
        marks.push(format!("{place}={default}"));
    }
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let separator = if place.is_empty() { "" } else { "." };
        collect(property, &format!("{place}{separator}{name}"), marks);
    }
    for (key, step) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(child) = schema.get(key).filter(|child| child.is_object()) {
            collect(child, &format!("{place}{step}"), marks);
        }
    }
}
