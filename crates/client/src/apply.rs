//! Server-side apply of YAML text: what `kubectl apply --server-side -f` does.

use crate::wait::CRDS;
use crate::{Client, Discovered, Error, Patch, Result};
use api::{GroupVersionKind, Object, Resource};
use serde_json::Value;

impl Client {
    /// Applies each document of a YAML text, in the order written, under this client's field manager; takes fields
    /// that others own. A `List` is applied item by item. Before anything that follows CustomResourceDefinitions, and at
    /// the end, waits until those are served, so that their objects may come in the same text. A namespaced object
    /// without a namespace goes to `default`.
    ///
    /// # Errors
    /// At the first document that cannot be read or is refused; those before it stay applied.
    pub async fn apply_yaml(&self, text: &str) -> Result<Vec<Object>> {
        let mut known: Vec<Discovered> = Vec::new();
        let mut applied = Vec::new();
        let mut definitions: Vec<String> = Vec::new();
        for object in documents(text)? {
            let kind = object.group_version_kind();
            let is_definition = kind.group == CRDS.group && kind.kind == CRDS.kind;
            if !is_definition && !definitions.is_empty() {
                self.all_established(&std::mem::take(&mut definitions)).await?;
            }
            let resource = match find(&known, &kind) {
                _ if is_definition => Resource { version: kind.version.clone().into(), ..CRDS.clone() },
                Some(resource) => resource,
                None => {
                    known = self.resources().await?;
                    find(&known, &kind).ok_or_else(|| unknown(&object, &kind))?
                }
            };
            let mut name = object.object_name();
            if resource.namespaced && name.namespace.is_empty() {
                name.namespace = "default".into();
            } else if !resource.namespaced {
                name.namespace.clear();
            }
            let done: Object = self.patch(&resource, &name, &Patch::apply(object.0)).await?;
            if is_definition && !is_established(&done) {
                definitions.push(name.name);
            }
            applied.push(done);
        }
        self.all_established(&definitions).await?;
        Ok(applied)
    }

    async fn all_established(&self, definitions: &[String]) -> Result<()> {
        let waits = definitions.iter().map(|name| self.wait_established(name));
        futures_util::future::try_join_all(waits).await.map(drop)
    }
}

/// Whether the answer to an apply of a definition says that its objects can be made already.
fn is_established(definition: &Object) -> bool {
    let conditions = definition.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
    })
}

/// The objects of a YAML text, items of lists one by one.
pub(crate) fn documents(text: &str) -> Result<Vec<Object>> {
    let broken = |cause: String| Error::Request(format!("the YAML cannot be read: {cause}"));
    let values: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|cause| broken(cause.to_string()))?;
    let mut objects = Vec::new();
    for value in values {
        match value {
            Value::Null => {}
            Value::Object(mut map) if map.get("kind").and_then(Value::as_str).is_some_and(|k| k == "List") => {
                for item in map.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default() {
                    objects.push(object_of(item)?);
                }
            }
            other => objects.push(object_of(other)?),
        }
    }
    Ok(objects)
}

fn object_of(value: Value) -> Result<Object> {
    let Value::Object(map) = value else {
        return Err(Error::Request("each YAML document must be an object with apiVersion and kind".into()));
    };
    let object = Object(map);
    for (field, value) in
        [("apiVersion", object.api_version()), ("kind", object.kind()), ("metadata.name", object.name())]
    {
        if value.is_empty() {
            let subject = format!("{} {}", object.kind(), object.name());
            return Err(Error::Request(format!("{field} is missing in YAML document {:?}", subject.trim())));
        }
    }
    Ok(object)
}

/// The resource of a kind, at the version that the object is written in.
fn find(known: &[Discovered], kind: &GroupVersionKind) -> Option<Resource> {
    let row = known.iter().find(|row| {
        row.resource.group == kind.group && row.resource.kind == kind.kind && row.versions.contains(&kind.version)
    })?;
    Some(Resource { version: kind.version.clone().into(), ..row.resource.clone() })
}

fn unknown(object: &Object, kind: &GroupVersionKind) -> Error {
    Error::Request(format!(
        "cannot apply {} {}: no matches for kind {:?} in version {:?}; is its CustomResourceDefinition installed?",
        kind.kind,
        object.object_name(),
        kind.kind,
        kind.api_version()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let seen: Vec<String> = match documents(text) {
            Ok(objects) => objects.iter().map(|o| format!("{} {}", o.kind(), o.object_name())).collect(),
            Err(error) => vec![error.to_string().chars().take(28).collect()],
        };
        assert_eq!(seen, expected, "{text}");
    }

    #[test]
    fn yaml_documents() {
        check("", &[]);
        check("---\n# nothing\n---\n", &[]);
        check(
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: a}\n",
            &["Namespace a", "ConfigMap a/b"],
        );
        check("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod, metadata: {name: p}}]", &["Pod p"]);
        check(r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}"#, &["Pod p"]);
        check("kind: Pod\nmetadata: {name: p}", &["apiVersion is missing in YAM"]);
        check("- a", &["each YAML document must be a"]);
        check("a: [", &["the YAML cannot be read: err"]);
    }
}
