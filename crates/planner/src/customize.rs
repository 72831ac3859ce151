//! What differs from cluster to cluster: text in objects that ask for it is expanded with the properties of each cluster.

use crate::transform::wants_expansion;
use api::control::EXPAND_TEMPLATES_ANNOTATION;
use api::{ClusterName, Object};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use machinery::template::{Properties, Template, is_identifier};
use serde_json::Value;
use std::collections::BTreeMap;

/// The property that every cluster has.
const CLUSTER_NAME: &str = "clusterName";
/// The most characters of one error: it shows the part of the template that it is about.
const ERROR_CHARACTERS: usize = 500;

/// The properties of a cluster: those of its ConfigMap before its annotations, its labels and its name. Only names that
/// are identifiers of Go count: others cannot be asked for in a template.
pub fn properties(
    cluster: &ClusterName,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    config_map: Option<&Object>,
) -> Properties {
    let mut properties = Properties::from([(CLUSTER_NAME.to_owned(), cluster.as_str().to_owned())]);
    properties.extend(labels.clone());
    properties.extend(annotations.clone());
    let texts = |field: &str| {
        let members = config_map.and_then(|map| map.0.get(field)).and_then(Value::as_object);
        members.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
    };
    // A key is in one of the two only; data would come first.
    properties.extend(texts("binaryData").filter_map(|(key, value)| {
        let bytes = STANDARD.decode(value).ok()?;
        Some((key, String::from_utf8_lossy(&bytes).into_owned()))
    }));
    properties.extend(texts("data"));
    properties.retain(|name, _| is_identifier(name));
    properties
}

/// Whether a manifest may hold text to expand; a look at its text, that costs little.
pub fn may_expand(manifest: &str) -> bool {
    manifest.contains("{{") && manifest.contains(EXPAND_TEMPLATES_ANNOTATION)
}

/// Expands the text of a manifest for a cluster. `None` if the manifest does not ask for it.
///
/// # Errors
/// What is wrong with each text that is no template or cannot be expanded, in Go's words; the name in them is the
/// cluster, the object, and where in it the text is.
pub fn expand(manifest: &str, cluster: &ClusterName, properties: &Properties) -> Result<Option<String>, Vec<String>> {
    if !may_expand(manifest) {
        return Ok(None);
    }
    let Ok(Value::Object(members)) = serde_json::from_str(manifest) else { return Ok(None) };
    let mut object = Object(members);
    if !wants_expansion(&object) {
        return Ok(None);
    }
    let path = format!("{cluster}/{} {}", object.kind(), object.object_name());
    let mut errors = Vec::new();
    for (key, value) in &mut object.0 {
        expand_value(value, &format!("{path}.{key}"), properties, &mut errors);
    }
    if errors.is_empty() { Ok(Some(Value::Object(object.0).to_string())) } else { Err(errors) }
}

fn expand_value(value: &mut Value, path: &str, properties: &Properties, errors: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains("{{") => {
            let template = Template::parse(text).map_err(|error| error.named(path));
            match template.and_then(|template| template.execute(path, properties)) {
                Ok(expanded) => *text = expanded,
                Err(error) => errors.push(shortened(error)),
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                expand_value(item, &format!("{path}[{at}]"), properties, errors);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                expand_value(member, &format!("{path}.{key}"), properties, errors);
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn shortened(error: String) -> String {
    match error.char_indices().nth(ERROR_CHARACTERS) {
        Some((end, _)) => format!("{}...", &error[..end]),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(annotation: &str, data: &Value) -> String {
        let annotations = json!({EXPAND_TEMPLATES_ANNOTATION: annotation});
        let metadata = json!({"name": "m", "namespace": "n", "annotations": annotations});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}).to_string()
    }

    #[test]
    fn the_nearest_to_the_cluster_wins() {
        let map = |entries: &[(&str, &str)]| -> BTreeMap<String, String> {
            entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let Value::Object(config) = json!({"data": {"a": "data", "not-one": "x"}, "binaryData": {"b": "Ynl0ZXM="}})
        else {
            panic!("an object")
        };
        let labels = map(&[("a", "label"), ("c", "label"), ("d", "label"), ("location-group", "edge")]);
        let found = properties(&"c1".into(), &labels, &map(&[("a", "note"), ("c", "note")]), Some(&Object(config)));
        assert_eq!(found, map(&[("a", "data"), ("b", "bytes"), ("c", "note"), ("clusterName", "c1"), ("d", "label")]));
    }

    #[test]
    fn text_is_expanded_where_it_is_asked_for() {
        let properties = properties(&"c1".into(), &BTreeMap::new(), &BTreeMap::new(), None);
        let text = manifest("true", &json!({"a": "on {{.clusterName}}", "b": "{"}));
        let expanded = expand(&text, &"c1".into(), &properties).unwrap().unwrap();
        assert_eq!(expanded, manifest("true", &json!({"a": "on c1", "b": "{"})));
        assert_eq!(expand(&manifest("false", &json!({"a": "{{.x}}"})), &"c1".into(), &properties), Ok(None));
        let wrong = manifest("true", &json!({"a": "{{.x}}", "b": "{{if"}));
        let errors = expand(&wrong, &"c1".into(), &properties).unwrap_err();
        assert_eq!(
            errors,
            [
                "template: c1/ConfigMap n/m.data.a:1:2: executing \"c1/ConfigMap n/m.data.a\" at <.x>: map has no entry for key \"x\"",
                "template: c1/ConfigMap n/m.data.b:1: unclosed action",
            ]
        );
    }
}
