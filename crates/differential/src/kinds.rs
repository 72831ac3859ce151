//! The built-in kinds, from the stock server's own discovery and our smallest object of each.

use crate::document::Variables;
use crate::script::{Body, Edit, Script, Step};
use serde_json::{Value, json};

/// A kind that can be created, read and listed.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    group: String,
    version: String,
    resource: String,
    kind: String,
    namespaced: bool,
    verbs: Vec<String>,
    subresources: Vec<String>,
}

/// The smallest objects, and what of them cannot be the same in two scripts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Minimal(Vec<Value>);

impl Minimal {
    /// Reads the file of smallest objects, one YAML document each.
    ///
    /// # Errors
    /// If it is not YAML.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        serde_saphyr::from_multiple(text).map(Self).map_err(|error| error.to_string())
    }

    fn of(&self, kind: &Kind) -> Option<&Value> {
        let version = kind.api_version();
        self.0.iter().find(|value| value["apiVersion"] == version.as_str() && value["kind"] == kind.kind.as_str())
    }
}

impl Kind {
    /// The kinds of an aggregated discovery document.
    pub(crate) fn discovered(document: &Value) -> Vec<Self> {
        let mut kinds = Vec::new();
        let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for group in list(document, "items") {
            for version in list(&group, "versions") {
                for resource in list(&version, "resources") {
                    let verbs: Vec<String> = list(&resource, "verbs").iter().map(text).collect();
                    if !["create", "get", "list"].iter().all(|wanted| verbs.iter().any(|verb| verb == wanted)) {
                        continue;
                    }
                    kinds.push(Self {
                        group: text(&group["metadata"]["name"]),
                        version: text(&version["version"]),
                        resource: text(&resource["resource"]),
                        kind: text(&resource["responseKind"]["kind"]),
                        namespaced: resource["scope"] == "Namespaced",
                        verbs,
                        subresources: list(&resource, "subresources")
                            .iter()
                            .map(|subresource| text(&subresource["subresource"]))
                            .collect(),
                    });
                }
            }
        }
        kinds
    }

    /// `deployments.apps`, and with the version where it is not `v1`.
    pub(crate) fn name(&self) -> String {
        let mut name = self.resource.clone();
        if !self.group.is_empty() {
            name = format!("{name}.{}", self.group);
        }
        if self.version == "v1" { name } else { format!("{name}.{}", self.version) }
    }

    fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    fn collection(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        let place = if self.namespaced { format!("/namespaces/{namespace}") } else { String::new() };
        format!("{root}/{}{place}/{}", self.version, self.resource)
    }

    fn meets(&self, condition: &str) -> bool {
        if let Some(rest) = condition.strip_prefix("not ") {
            return !self.meets(rest);
        }
        let (word, rest) = condition.split_once(' ').unwrap_or((condition, ""));
        match word {
            "namespaced" => self.namespaced,
            "cluster" => !self.namespaced,
            "verb" => self.verbs.iter().any(|verb| verb == rest),
            "subresource" => self.subresources.iter().any(|subresource| subresource == rest),
            "group" => self.group == rest,
            "resource" => self.resource == rest,
            _ => false,
        }
    }
}

/// A script for one kind, with the variables that it has.
///
/// # Errors
/// If there is no smallest object of the kind, or the script varies in a way that is not known.
pub(crate) fn instance(
    script: &Script,
    kind: &Kind,
    minimal: &Minimal,
    namespace: &str,
) -> Result<(Script, Variables), String> {
    let minimal = minimal.of(kind).ok_or_else(|| format!("there is no smallest object of {}", kind.name()))?;
    // Some kinds name the namespace that they are in.
    let minimal = serde_json::from_str(&minimal.to_string().replace("$ns", namespace)).unwrap_or(Value::Null);
    let object_name = minimal["metadata"]["name"].as_str().unwrap_or_default();
    let collection = kind.collection(namespace);
    let mut variables = Variables::new();
    for (name, value) in [
        ("object", format!("{collection}/{object_name}")),
        ("collection", collection),
        ("name", object_name.to_owned()),
        ("kind", kind.kind.clone()),
        ("resource", kind.resource.clone()),
        ("apiVersion", kind.api_version()),
    ] {
        variables.insert(name.to_owned(), json!(value));
    }
    variables.insert("minimal".to_owned(), minimal.clone());
    let mut steps = Vec::new();
    for step in &script.steps {
        if step.when.iter().all(|condition| kind.meets(condition)) {
            match &step.vary {
                None => steps.push(step.clone()),
                Some(how) => steps.extend(varied(step, how, &minimal)?),
            }
        }
    }
    let name = format!("{}@{}", script.name, kind.name());
    Ok((Script { name, each_kind: false, steps }, variables))
}

/// The step once for each field of the smallest object, each time with that field changed.
fn varied(step: &Step, how: &str, minimal: &Value) -> Result<Vec<Step>, String> {
    let mut nodes = Vec::new();
    if let Value::Object(map) = minimal {
        for (key, value) in map.iter().filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind" | "metadata")) {
            fields(&format!("/{key}"), value, &mut nodes);
        }
    }
    if how == "unknown" {
        nodes.push((String::new(), minimal));
        nodes.push(("/metadata".to_owned(), minimal));
    }
    let Some(Body::Edited { document, edits }) = &step.body else {
        return Err(format!("{:?}: only a document can be varied", step.name));
    };
    let mut steps = Vec::new();
    for (pointer, value) in nodes {
        let set = |new: Value| Some(Edit::Set { pointer: pointer.clone(), json: new.to_string() });
        let edit = match (how, value) {
            ("missing", _) => Some(Edit::Remove { pointer: pointer.clone() }),
            ("unknown", Value::Object(_)) => {
                Some(Edit::Set { pointer: format!("{pointer}/unknownField"), json: "1".to_owned() })
            }
            ("wrong type", Value::String(_)) => set(json!(7)),
            ("wrong type", _) => set(json!("wrong")),
            ("empty", Value::String(_)) => set(json!("")),
            ("empty", Value::Array(_)) => set(json!([])),
            ("empty", Value::Object(_)) => set(json!({})),
            ("null", _) => set(Value::Null),
            ("bad value", Value::String(_)) => set(json!("Not_Valid!")),
            ("bad value", Value::Number(_)) => set(json!(-1)),
            ("unknown" | "empty" | "bad value", _) => None,
            _ => return Err(format!("{how:?} is no way to vary")),
        };
        if let Some(edit) = edit {
            let edits = edits.iter().cloned().chain([edit]).collect();
            let body = Some(Body::Edited { document: document.clone(), edits });
            let place = if pointer.is_empty() { "/" } else { &pointer };
            steps.push(Step { name: format!("{} {place}", step.name), body, vary: None, ..step.clone() });
        }
    }
    Ok(steps)
}

/// Every value below, of a list those of its first item. Keys of maps that users choose are fields as others are.
fn fields<'a>(pointer: &str, value: &'a Value, nodes: &mut Vec<(String, &'a Value)>) {
    nodes.push((pointer.to_owned(), value));
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                fields(&format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), value, nodes);
            }
        }
        Value::Array(items) => {
            if let Some(first) = items.first() {
                fields(&format!("{pointer}/0"), first, nodes);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script;

    fn deployments() -> Kind {
        let document = json!({"items": [{"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [
            {"resource": "deployments", "responseKind": {"kind": "Deployment"}, "scope": "Namespaced",
             "verbs": ["create", "get", "list"], "subresources": [{"subresource": "scale"}]},
            {"resource": "reviews", "responseKind": {"kind": "Review"}, "scope": "Cluster", "verbs": ["create"]},
        ]}]}]});
        let kinds = Kind::discovered(&document);
        assert_eq!(kinds.len(), 1);
        kinds[0].clone()
    }

    #[test]
    fn knows_its_paths_and_conditions() {
        let kind = deployments();
        assert_eq!(kind.name(), "deployments.apps");
        assert_eq!(kind.collection("a"), "/apis/apps/v1/namespaces/a/deployments");
        for (condition, wanted) in [
            ("namespaced", true),
            ("cluster", false),
            ("not cluster", true),
            ("verb patch", false),
            ("subresource scale", true),
            ("not subresource status", true),
        ] {
            assert_eq!(kind.meets(condition), wanted, "{condition}");
        }
    }

    #[track_caller]
    fn check(how: &str, wanted: &[&str]) {
        let script =
            script::parse("s", &format!("each kind\n=== x\nPOST $collection\n\n@minimal\n% vary {how}\n")).unwrap();
        let minimal = Minimal::parse(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: 1, list: [{s: t}, {s: u}]}\n",
        )
        .unwrap();
        let (script, variables) = instance(&script, &deployments(), &minimal, "ns").unwrap();
        assert_eq!(variables["object"], "/apis/apps/v1/namespaces/ns/deployments/a");
        let names: Vec<&str> = script.steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, wanted);
    }

    #[test]
    fn varies_each_field() {
        check("missing", &["x /spec", "x /spec/list", "x /spec/list/0", "x /spec/list/0/s", "x /spec/replicas"]);
        check("bad value", &["x /spec/list/0/s", "x /spec/replicas"]);
        check("unknown", &["x /spec", "x /spec/list/0", "x /", "x /metadata"]);
        check("empty", &["x /spec", "x /spec/list", "x /spec/list/0", "x /spec/list/0/s"]);
    }
}
