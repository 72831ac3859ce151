//! The rows: one line of JSON for each built-in kind at each version, so that a change reads well in a diff.

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Kinds that are kept as another version or under another group's name, from the storage order of the stock server
/// (its `storageVersionHash` of both names is that of the kind on the right).
const STORED_ELSEWHERE: [(&str, &str, &str, &str); 2] = [
    ("events.k8s.io/v1", "Event", "v1", "events"),
    ("autoscaling/v1", "HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers.autoscaling"),
];

/// The text of kinds.json.
pub(crate) fn rows(
    discovery: &Map<String, Value>,
    columns: &Map<String, Value>,
    definitions: &Map<String, Value>,
) -> anyhow::Result<String> {
    let names = definition_names(definitions);
    let mut lines = Vec::new();
    for document in ["api", "apis"] {
        for group in items(&discovery[document], "items") {
            let group_name = group.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
            for version in items(group, "versions") {
                let version_name = text(version, "version")?;
                for resource in items(version, "resources") {
                    let row = row(group_name, version_name, resource, columns, &names)
                        .with_context(|| format!("{group_name}/{version_name} {resource}"))?;
                    lines.push(serde_json::to_string(&row)?);
                }
            }
        }
    }
    let definitions: Vec<String> =
        names.iter().map(|((group, version, kind), name)| json!([group, version, kind, name]).to_string()).collect();
    let mut out = String::new();
    write!(out, "{{\"kinds\":[\n{}\n],\"definitions\":[\n{}\n]}}\n", lines.join(",\n"), definitions.join(",\n"))?;
    Ok(out)
}

fn row(
    group: &str,
    version: &str,
    resource: &Value,
    columns: &Map<String, Value>,
    names: &BTreeMap<(String, String, String), String>,
) -> anyhow::Result<Value> {
    let kind = resource.pointer("/responseKind/kind").and_then(Value::as_str).context("no kind")?;
    let plural = text(resource, "resource")?;
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let definition = names
        .get(&(group.to_owned(), version.to_owned(), kind.to_owned()))
        .with_context(|| format!("no definition of {api_version} {kind}"))?;
    let mut row = Map::new();
    row.insert("group".into(), group.into());
    row.insert("version".into(), version.into());
    row.insert("kind".into(), kind.into());
    row.insert("plural".into(), plural.into());
    row.insert("singular".into(), text(resource, "singularResource")?.into());
    row.insert("namespaced".into(), (text(resource, "scope")? == "Namespaced").into());
    row.insert("verbs".into(), resource["verbs"].clone());
    row.insert("definition".into(), definition.as_str().into());
    for (from, to) in [("shortNames", "short"), ("categories", "categories")] {
        if let Some(list) = resource.get(from) {
            row.insert(to.into(), list.clone());
        }
    }
    let subresources: Vec<Value> = items(resource, "subresources").map(subresource).collect::<anyhow::Result<_>>()?;
    if !subresources.is_empty() {
        row.insert("subresources".into(), subresources.into());
    }
    if items_of(&resource["verbs"]).any(|verb| verb == "watch") {
        let elsewhere = STORED_ELSEWHERE.iter().find(|(from, name, ..)| *from == api_version && *name == kind);
        let (stored_as, collection) = match elsewhere {
            Some((_, _, stored_as, collection)) => ((*stored_as).to_owned(), (*collection).to_owned()),
            None if group.is_empty() => (api_version.clone(), plural.to_owned()),
            None => (api_version.clone(), format!("{plural}.{group}")),
        };
        row.insert("stored_as".into(), stored_as.into());
        row.insert("collection".into(), collection.into());
    }
    if let Some(recorded) = columns.get(&format!("{group}/{version}/{plural}")) {
        let columns = items_of(recorded)
            .map(|column| json!([column["name"], column["type"], column["format"], column["priority"]]));
        row.insert("columns".into(), columns.collect::<Vec<_>>().into());
    }
    Ok(row.into())
}

fn subresource(sub: &Value) -> anyhow::Result<Value> {
    let kind = &sub["responseKind"];
    ensure!(sub.get("acceptedTypes").is_none(), "accepted types are not kept: teach `Subresource` about them");
    Ok(json!([
        text(sub, "subresource")?,
        text(kind, "group")?,
        text(kind, "version")?,
        text(kind, "kind")?,
        sub["verbs"]
    ]))
}

/// Definition of each group, version and kind. Kinds that many groups share (`DeleteOptions`, `WatchEvent`) appear once
/// for each of them.
fn definition_names(definitions: &Map<String, Value>) -> BTreeMap<(String, String, String), String> {
    let mut names = BTreeMap::new();
    for (name, definition) in definitions {
        for of in items(definition, "x-kubernetes-group-version-kind") {
            let field = |key: &str| of.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
            names.insert((field("group"), field("version"), field("kind")), name.clone());
        }
    }
    names
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    items_of(value.get(key).unwrap_or(&Value::Null))
}

fn items_of(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    value.get(key).and_then(Value::as_str).with_context(|| format!("no {key}"))
}
