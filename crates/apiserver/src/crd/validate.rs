//! What is wrong with a definition (`apiextensions.k8s.io/v1`), in the words of the stock server's 422.

use super::structural;
use crate::options::cause;
use api::{Cause, Object};
use machinery::name;
use serde_json::Value;
use std::collections::BTreeSet;

/// Problems of one definition; `old` is what it replaces.
pub(crate) fn problems(definition: &Object, old: Option<&Object>) -> Vec<Cause> {
    let spec = definition.0.get("spec").unwrap_or(&Value::Null);
    let mut found = Found::default();
    let group = found.required(&spec["group"], "spec.group");
    let plural = found.required(&spec["names"]["plural"], "spec.names.plural");
    found.group(&group, definition);
    if !group.is_empty() && !plural.is_empty() && definition.name() != format!("{plural}.{group}") {
        found.invalid("metadata.name", definition.name(), "must be spec.names.plural+\".\"+spec.group");
    }
    found.names(&spec["names"]);
    match spec["scope"].as_str() {
        Some("Namespaced" | "Cluster") => {}
        None | Some("") => drop(found.required(&Value::Null, "spec.scope")),
        Some(other) => found.unsupported("spec.scope", other, &["Cluster", "Namespaced"]),
    }
    if spec["preserveUnknownFields"] == true {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                   spec.versions[*].schema instead";
        found.add("FieldValueInvalid", "spec.preserveUnknownFields", format!("Invalid value: true: {why}"));
    }
    found.versions(spec);
    found.conversion(&spec["conversion"]);
    if let Some(old) = old {
        found.changes(definition, old);
    }
    found.stored_versions(definition);
    found.0
}

#[derive(Default)]
struct Found(Vec<Cause>);

impl Found {
    fn add(&mut self, reason: &str, field: &str, message: impl Into<String>) {
        self.0.push(cause(reason, field, message));
    }

    fn invalid(&mut self, field: &str, value: &str, why: &str) {
        self.add("FieldValueInvalid", field, format!("Invalid value: {value:?}: {why}"));
    }

    fn unsupported(&mut self, field: &str, value: &str, allowed: &[&str]) {
        let allowed: Vec<String> = allowed.iter().map(|word| format!("{word:?}")).collect();
        let message = format!("Unsupported value: {value:?}: supported values: {}", allowed.join(", "));
        self.add("FieldValueNotSupported", field, message);
    }

    fn required(&mut self, value: &Value, field: &str) -> String {
        let text = value.as_str().unwrap_or("");
        if text.is_empty() {
            self.add("FieldValueRequired", field, "Required value");
        }
        text.to_owned()
    }

    fn group(&mut self, group: &str, definition: &Object) {
        if group.is_empty() {
            return;
        }
        for why in name::dns_subdomain(group) {
            self.invalid("spec.group", group, &why);
        }
        if !group.contains('.') {
            self.invalid("spec.group", group, "should be a domain with at least one dot");
        }
        let protected = ["k8s.io", "kubernetes.io"];
        if protected.iter().any(|suffix| group == *suffix || group.ends_with(&format!(".{suffix}")))
            && definition.annotation("api-approved.kubernetes.io").is_none_or(str::is_empty)
        {
            let message = "Required value: protected groups must have approval annotation \
                 \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111";
            self.add("FieldValueRequired", "metadata.annotations[api-approved.kubernetes.io]", message);
        }
    }

    fn names(&mut self, names: &Value) {
        let kind = self.required(&names["kind"], "spec.names.kind");
        let list_kind = names["listKind"].as_str().unwrap_or("");
        for (field, text) in [("plural", &names["plural"]), ("singular", &names["singular"])] {
            self.label(&format!("spec.names.{field}"), text.as_str().unwrap_or(""));
        }
        for (field, text) in [("kind", kind.as_str()), ("listKind", list_kind)] {
            if !text.is_empty() {
                for why in name::dns_1035_label(&text.to_ascii_lowercase()) {
                    let why = format!("may have mixed case, but should otherwise match: {why}");
                    self.invalid(&format!("spec.names.{field}"), text, &why);
                }
            }
        }
        if !kind.is_empty() && kind == list_kind {
            self.invalid("spec.names.listKind", list_kind, "kind and listKind may not be the same");
        }
        for field in ["shortNames", "categories"] {
            for (index, text) in names[field].as_array().into_iter().flatten().enumerate() {
                self.label(&format!("spec.names.{field}[{index}]"), text.as_str().unwrap_or(""));
            }
        }
    }

    fn label(&mut self, field: &str, text: &str) {
        if !text.is_empty() {
            for why in name::dns_1035_label(text) {
                self.invalid(field, text, &why);
            }
        }
    }

    fn versions(&mut self, spec: &Value) {
        let versions = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
        if versions.is_empty() {
            self.add("FieldValueRequired", "spec.versions", "Required value: must have at least one version");
            return;
        }
        let mut seen = BTreeSet::new();
        for (index, version) in versions.iter().enumerate() {
            let field = format!("spec.versions[{index}]");
            let name = self.required(&version["name"], &format!("{field}.name"));
            self.label(&format!("{field}.name"), &name);
            if !name.is_empty() && !seen.insert(name.clone()) {
                let message = "Invalid value: must contain unique version names";
                self.add("FieldValueInvalid", "spec.versions", message);
            }
            self.version(version, &field);
        }
        let stored = versions.iter().filter(|version| version["storage"] == true).count();
        if stored != 1 {
            let message = "Invalid value: must have exactly one version marked as storage version";
            self.add("FieldValueInvalid", "spec.versions", message);
        }
    }

    fn version(&mut self, version: &Value, field: &str) {
        let schema = &version["schema"]["openAPIV3Schema"];
        if schema.is_object() {
            let at = format!("{field}.schema.openAPIV3Schema");
            self.0.extend(structural::problems(schema, &at));
            if let Err(error) = machinery::schema::from_crd(schema) {
                self.add("FieldValueInvalid", &at, format!("Invalid value: {error}"));
            }
        } else {
            let message = "Required value: schemas are required";
            self.add("FieldValueRequired", &format!("{field}.schema.openAPIV3Schema"), message);
        }
        for (index, column) in version["additionalPrinterColumns"].as_array().into_iter().flatten().enumerate() {
            let field = format!("{field}.additionalPrinterColumns[{index}]");
            self.required(&column["name"], &format!("{field}.name"));
            self.required(&column["jsonPath"], &format!("{field}.jsonPath"));
            let kinds = ["boolean", "date", "integer", "number", "string"];
            match column["type"].as_str() {
                None | Some("") => drop(self.required(&Value::Null, &format!("{field}.type"))),
                Some(kind) if kinds.contains(&kind) => {}
                Some(kind) => self.unsupported(&format!("{field}.type"), kind, &kinds),
            }
        }
        let scale = &version["subresources"]["scale"];
        if scale.is_object() {
            let field = format!("{field}.subresources.scale");
            self.path(&scale["specReplicasPath"], &format!("{field}.specReplicasPath"), &[".spec."], true);
            self.path(&scale["statusReplicasPath"], &format!("{field}.statusReplicasPath"), &[".status."], true);
            let selector = format!("{field}.labelSelectorPath");
            self.path(&scale["labelSelectorPath"], &selector, &[".spec.", ".status."], false);
        }
    }

    fn path(&mut self, value: &Value, field: &str, prefixes: &[&str], required: bool) {
        let Some(path) = value.as_str().filter(|path| !path.is_empty()) else {
            if required {
                self.add("FieldValueRequired", field, "Required value");
            }
            return;
        };
        if !prefixes.iter().any(|prefix| path.starts_with(prefix)) {
            let under = prefixes.iter().map(|prefix| prefix.trim_end_matches('.')).collect::<Vec<_>>().join(" or ");
            self.invalid(field, path, &format!("should be a json path under {under}"));
        } else if path.contains(['[', ']', '*', '@']) {
            self.invalid(field, path, "may only be a dot notation path");
        }
    }

    fn conversion(&mut self, conversion: &Value) {
        match conversion["strategy"].as_str() {
            None | Some("" | "None") => {
                if conversion["webhook"].is_object() {
                    let message = "Forbidden: should not be set when strategy is not set to Webhook";
                    self.add("FieldValueForbidden", "spec.conversion.webhook", message);
                }
            }
            // Taken, as clusters have such definitions; objects are then served as with None.
            Some("Webhook") => {}
            Some(other) => self.unsupported("spec.conversion.strategy", other, &["None", "Webhook"]),
        }
    }

    fn changes(&mut self, new: &Object, old: &Object) {
        let established = old.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        let established = established
            .into_iter()
            .any(|condition| condition["type"] == "Established" && condition["status"] == "True");
        let mut immutable = vec!["/spec/group", "/spec/names/plural"];
        if established {
            immutable.extend(["/spec/scope", "/spec/names/kind"]);
        }
        for pointer in immutable {
            let (before, after) = (old.pointer(pointer), new.pointer(pointer));
            if before != after {
                let field = pointer[1..].replace('/', ".");
                self.invalid(&field, after.and_then(Value::as_str).unwrap_or(""), "field is immutable");
            }
        }
    }

    /// Versions in which objects may be stored must stay defined.
    fn stored_versions(&mut self, definition: &Object) {
        let defined: Vec<&Value> = definition
            .pointer("/spec/versions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|version| &version["name"])
            .collect();
        let stored = definition.pointer("/status/storedVersions").and_then(Value::as_array).into_iter().flatten();
        for (index, version) in stored.into_iter().enumerate() {
            if !defined.contains(&version) {
                let why = "must appear in spec.versions";
                let text = version.as_str().unwrap_or("");
                self.invalid(&format!("status.storedVersions[{index}]"), text, why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn good() -> Value {
        json!({"metadata": {"name": "foos.g.io"}, "spec": {
            "group": "g.io", "scope": "Namespaced",
            "names": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Value), expected: &[&str]) {
        let mut definition = good();
        change(&mut definition);
        let object: Object = serde_json::from_value(definition).unwrap();
        let fields: Vec<String> = problems(&object, None).into_iter().map(|cause| cause.field).collect();
        assert_eq!(fields, expected);
    }

    #[test]
    fn definitions() {
        check(|_| {}, &[]);
        check(|d| d["metadata"]["name"] = "foo".into(), &["metadata.name"]);
        check(|d| d["spec"]["scope"] = "Galaxy".into(), &["spec.scope"]);
        check(|d| d["spec"]["names"]["listKind"] = "Foo".into(), &["spec.names.listKind"]);
        check(|d| d["spec"]["versions"] = json!([]), &["spec.versions"]);
        check(|d| d["spec"]["versions"][0]["storage"] = false.into(), &["spec.versions"]);
        check(|d| d["spec"]["versions"][0]["schema"] = json!({}), &["spec.versions[0].schema.openAPIV3Schema"]);
        check(|d| d["spec"]["preserveUnknownFields"] = true.into(), &["spec.preserveUnknownFields"]);
        check(
            |d| {
                d["spec"]["versions"][0]["additionalPrinterColumns"] =
                    json!([{"name": "A", "type": "x", "jsonPath": ".a"}])
            },
            &["spec.versions[0].additionalPrinterColumns[0].type"],
        );
        let scale = json!({"scale": {"specReplicasPath": ".status.a", "statusReplicasPath": ".status.b"}});
        check(
            |d| d["spec"]["versions"][0]["subresources"] = scale,
            &["spec.versions[0].subresources.scale.specReplicasPath"],
        );
        check(
            |d| {
                d["spec"]["group"] = "x.k8s.io".into();
                d["metadata"]["name"] = "foos.x.k8s.io".into();
            },
            &["metadata.annotations[api-approved.kubernetes.io]"],
        );
        check(|d| d["status"] = json!({"storedVersions": ["v0"]}), &["status.storedVersions[0]"]);
    }

    #[test]
    fn what_cannot_change() {
        let mut old = good();
        old["status"] = json!({"conditions": [{"type": "Established", "status": "True"}]});
        let mut new = good();
        new["spec"]["scope"] = "Cluster".into();
        let object = |value: Value| -> Object { serde_json::from_value(value).unwrap() };
        let causes = problems(&object(new), Some(&object(old)));
        assert_eq!((causes.len(), causes[0].field.as_str()), (1, "spec.scope"));
    }
}
