//! Reads an object of a built-in kind as the stock server's typed decoding would: checks the types, drops what the kind
//! does not know, and normalises what Go would write differently than it read.

use super::go;
use super::node::{Form, Node, NodeId, Schema, Schemas};
use crate::field::{Path, Step, quote};
use crate::quantity::Quantity;
use api::Timestamp;
use serde_json::{Map, Value};
use std::fmt;

/// The first value that has a type which the kind cannot hold. `Display` is the text of Go's JSON decoder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecodeError(String);

impl DecodeError {
    /// The message of the stock server's 400.
    pub fn message(&self, kind: &str, version: &str) -> String {
        format!("{kind} in version {version:?} cannot be handled as a {kind}: {self}")
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

/// Reads `value` in place as an object of a built-in definition. Unknown fields are dropped, and their paths answered.
/// Nulls and empty lists and maps of optional fields are dropped, as Go's `omitempty` does. Times are written in UTC,
/// quantities in their canonical form.
///
/// # Errors
/// If a value has a type that its field cannot hold.
pub fn decode(value: &mut Value, schema: &Schema) -> Result<Vec<String>, DecodeError> {
    let mut walk = Walk { set: &schema.set, root: schema.at, unknown: Vec::new(), silent: false };
    walk.value(value, schema.at, &Place { path: Path::ROOT, owner: "" })?;
    Ok(walk.unknown)
}

/// Where a walk is, and the definition of the object whose field it is in.
struct Place<'a> {
    path: Path<'a>,
    owner: &'a str,
}

struct Walk<'s> {
    set: &'s Schemas,
    root: NodeId,
    unknown: Vec<String>,
    /// Below values whose Go types read themselves, unknown fields are dropped and not reported.
    silent: bool,
}

/// What the last part of a definition's name says of values that Go reads with code of their own.
enum Special {
    None,
    /// Kept as it is.
    Opaque,
    Time,
    MicroTime,
    Quantity,
    /// A JSON schema, or something else that is not an object.
    SchemaOr,
}

fn special(node: &Node) -> Special {
    let Some(definition) = &node.definition else { return Special::None };
    match go_name(definition) {
        "RawExtension" | "FieldsV1" | "JSON" | "Patch" => Special::Opaque,
        "Time" => Special::Time,
        "MicroTime" => Special::MicroTime,
        "Quantity" => Special::Quantity,
        "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray" => Special::SchemaOr,
        _ => Special::None,
    }
}

/// Lists that Go writes even when they are empty, although they are optional: definition's last part, and field.
const WRITTEN_EMPTY: [(&str, &str); 4] =
    [("ClusterRole", "rules"), ("Role", "rules"), ("EndpointSlice", "endpoints"), ("EndpointSlice", "ports")];

impl Walk<'_> {
    fn value(&mut self, value: &mut Value, at: NodeId, place: &Place<'_>) -> Result<(), DecodeError> {
        let node = self.set.node(at);
        match &node.form {
            Form::Any => match special(node) {
                Special::SchemaOr => self.schema_or(value, node, place),
                _ => Ok(()),
            },
            Form::Object { properties, additional } => {
                if matches!(special(node), Special::Opaque) {
                    return Ok(());
                }
                let Value::Object(map) = value else { return Err(self.mismatch(value, at, place)) };
                let mut failed = None;
                let owner = node.definition.as_deref().unwrap_or(place.owner);
                map.retain(|key, value| {
                    if failed.is_some() {
                        return true;
                    }
                    if let Some(&child) = properties.get(key.as_str()) {
                        if value.is_null() {
                            return matches!(special(self.set.node(child)), Special::Opaque);
                        }
                        let place = Place { path: place.path.field(key), owner };
                        failed = self.value(value, child, &place).err();
                        return !self.omitted(value, child) || keeps_empty(node, key);
                    }
                    let Some(child) = *additional else {
                        if !self.silent {
                            self.unknown.push(place.path.field(key).dotted());
                        }
                        return false;
                    };
                    let place = Place { path: place.path.key(key), owner: place.owner };
                    if value.is_null() {
                        *value = zero(self.set.node(child));
                    }
                    if !value.is_null() {
                        failed = self.value(value, child, &place).err();
                    }
                    if failed.is_none() && matches!(special(self.set.node(child)), Special::Quantity) {
                        round_up(value);
                    }
                    true
                });
                failed.map_or(Ok(()), Err)
            }
            Form::Array { items } => {
                let Value::Array(list) = value else { return Err(self.mismatch(value, at, place)) };
                for (index, value) in list.iter_mut().enumerate() {
                    if value.is_null() {
                        *value = zero(self.set.node(*items));
                    }
                    if !value.is_null() {
                        let path = place.path.index(index);
                        self.value(value, *items, &Place { path, owner: place.owner })?;
                    }
                }
                Ok(())
            }
            Form::String => self.text(value, at, place),
            Form::Integer => {
                let fits = match (value.as_i64(), node.format.as_deref()) {
                    (Some(number), Some("int32")) => i32::try_from(number).is_ok(),
                    (number, _) => number.is_some(),
                };
                if fits { Ok(()) } else { Err(self.mismatch(value, at, place)) }
            }
            Form::Number if value.is_number() => Ok(()),
            Form::Boolean if value.is_boolean() => Ok(()),
            Form::Number | Form::Boolean => Err(self.mismatch(value, at, place)),
            Form::IntOrString => match value {
                Value::String(_) => Ok(()),
                Value::Number(number) if number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()) => Ok(()),
                other => Err(DecodeError(format!(
                    "json: cannot unmarshal {} into Go value of type int32",
                    shown_kind(other, true)
                ))),
            },
        }
    }

    fn text(&self, value: &mut Value, at: NodeId, place: &Place<'_>) -> Result<(), DecodeError> {
        let node = self.set.node(at);
        match special(node) {
            Special::Quantity => return quantity(value),
            special @ (Special::Time | Special::MicroTime) => {
                let Value::String(text) = value else {
                    let kind = shown_kind(value, false);
                    return Err(DecodeError(format!("json: cannot unmarshal {kind} into Go value of type string")));
                };
                let micros = matches!(special, Special::MicroTime);
                let Ok(time) = text.parse::<Timestamp>() else {
                    let layout = if micros { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
                    let text = quote(text);
                    return Err(DecodeError(format!(
                        "parsing time {text} as {layout:?}: cannot parse {text} as \"2006\""
                    )));
                };
                let canonical = if micros { time.rfc3339_micros() } else { time.to_string() };
                if *text != canonical {
                    *text = canonical;
                }
                return Ok(());
            }
            _ => {}
        }
        let Value::String(text) = value else { return Err(self.mismatch(value, at, place)) };
        if node.format.as_deref() == Some("byte") {
            // Go skips line breaks inside base64.
            if text.contains(['\n', '\r']) {
                text.retain(|c| c != '\n' && c != '\r');
            }
            if let Some(at) = bad_base64(text) {
                return Err(DecodeError(format!("illegal base64 data at input byte {at}")));
            }
        }
        Ok(())
    }

    fn schema_or(&mut self, value: &mut Value, node: &Node, place: &Place<'_>) -> Result<(), DecodeError> {
        let definition = node.definition.as_deref().unwrap_or("");
        let prefix = &definition[..definition.len() - go_name(definition).len()];
        let Some(&schema) = self.set.names.get(&format!("{prefix}JSONSchemaProps")) else { return Ok(()) };
        let silent = std::mem::replace(&mut self.silent, true);
        let result = match value {
            Value::Object(_) => self.value(value, schema, place),
            Value::Array(list) => {
                list.iter_mut().filter(|value| value.is_object()).try_for_each(|value| self.value(value, schema, place))
            }
            _ => Ok(()),
        };
        self.silent = silent;
        result
    }

    /// Whether Go would not write the value of an optional field.
    fn omitted(&self, value: &Value, at: NodeId) -> bool {
        match (value, &self.set.node(at).form) {
            (Value::Array(list), Form::Array { .. }) => list.is_empty(),
            (Value::Object(map), Form::Object { properties, additional: Some(_) }) => {
                map.is_empty() && properties.is_empty()
            }
            _ => false,
        }
    }

    fn mismatch(&self, value: &Value, at: NodeId, place: &Place<'_>) -> DecodeError {
        let node = self.set.node(at);
        let found = shown_kind(value, matches!(node.form, Form::Integer | Form::Number));
        let path = go_path(&place.path);
        let mut wanted = self.go_type(at);
        if path.is_empty() {
            return DecodeError(format!("json: cannot unmarshal {found} into Go value of type {wanted}"));
        }
        let field = path.rsplit('.').next().unwrap_or("");
        if matches!(wanted.as_str(), "string" | "[]string")
            && let Some(named) = go::named_type(place.owner, field)
        {
            wanted = wanted.replace("string", named);
        }
        let path = self.with_embedded(&path);
        let owner = go_name(place.owner);
        DecodeError(format!("json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {wanted}"))
    }

    /// The path with the structs that Go embeds, which its decoder names as if they were fields.
    fn with_embedded(&self, path: &str) -> String {
        let mut at = Some(self.root);
        let mut steps = Vec::new();
        for name in path.split('.') {
            let node = at.map(|at| self.set.node(self.elements(at)));
            let definition = node.and_then(|node| node.definition.as_deref());
            steps.extend(definition.and_then(|definition| go::embedded(definition, name)));
            steps.push(name);
            at = match node.map(|node| &node.form) {
                Some(Form::Object { properties, .. }) => properties.get(name).copied(),
                _ => None,
            };
        }
        steps.join(".")
    }

    /// What a list or map holds, or the place itself.
    fn elements(&self, mut at: NodeId) -> NodeId {
        loop {
            at = match &self.set.node(at).form {
                Form::Array { items } => *items,
                Form::Object { properties, additional: Some(values) } if properties.is_empty() => *values,
                _ => return at,
            };
        }
    }

    fn go_type(&self, at: NodeId) -> String {
        let node = self.set.node(at);
        match (&node.form, node.definition.as_deref()) {
            (Form::Object { .. }, Some(definition)) => go_qualified(definition),
            (Form::Object { additional: Some(values), .. }, None) => {
                if matches!(special(self.set.node(*values)), Special::Quantity) {
                    "v1.ResourceList".into()
                } else {
                    format!("map[string]{}", self.go_type(*values))
                }
            }
            (Form::Object { .. }, None) => "map[string]interface {}".into(),
            (Form::Array { items }, _) => format!("[]{}", self.go_type(*items)),
            (Form::String, _) if node.format.as_deref() == Some("byte") => "[]uint8".into(),
            (Form::String, Some(definition)) => go_qualified(definition),
            (Form::String, None) => "string".into(),
            (Form::Integer, _) => node.format.as_deref().unwrap_or("int").into(),
            (Form::Number, _) => "float64".into(),
            (Form::Boolean, _) => "bool".into(),
            (Form::IntOrString, _) => "intstr.IntOrString".into(),
            (Form::Any, _) => "interface {}".into(),
        }
    }
}

fn keeps_empty(node: &Node, field: &str) -> bool {
    let name = node.definition.as_deref().map_or("", go_name);
    WRITTEN_EMPTY.contains(&(name, field)) || node.required.iter().any(|required| **required == *field)
}

/// What Go makes of a null inside a list or a map.
fn zero(node: &Node) -> Value {
    match node.form {
        Form::String if matches!(special(node), Special::None) => "".into(),
        Form::String if matches!(special(node), Special::Quantity) => "0".into(),
        Form::Integer | Form::Number => 0.into(),
        Form::Boolean => false.into(),
        Form::Object { additional: None, .. } if !matches!(special(node), Special::Opaque) => Map::new().into(),
        _ => Value::Null,
    }
}

/// `io.k8s.api.apps.v1.DeploymentSpec` is `DeploymentSpec`.
fn go_name(definition: &str) -> &str {
    definition.rsplit('.').next().unwrap_or(definition)
}

/// `io.k8s.api.apps.v1.DeploymentSpec` is `v1.DeploymentSpec`: Go names a type by its package's last part.
fn go_qualified(definition: &str) -> String {
    let mut parts = definition.rsplit('.');
    match (parts.next(), parts.next()) {
        (Some(name), Some(package)) => format!("{package}.{name}"),
        _ => definition.to_owned(),
    }
}

/// Go's decoder names the fields on the way, but neither elements nor keys.
fn go_path(path: &Path<'_>) -> String {
    let text = path.to_string();
    let mut out = String::with_capacity(text.len());
    let mut depth = 0usize;
    for c in text.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    debug_assert!(!matches!(path.step(), Step::Field("")) || path.is_root(), "a field has a name");
    out
}

/// The kind of a JSON value in the words of Go's decoder; numbers with their text where a number was wanted.
fn shown_kind(value: &Value, number_wanted: bool) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(number) if number_wanted => format!("number {number}"),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(_) => "array".into(),
        Value::Object(_) => "object".into(),
    }
}

fn quantity(value: &mut Value) -> Result<(), DecodeError> {
    let text = match value {
        Value::String(text) => std::mem::take(text),
        Value::Number(number) => number.to_string(),
        _ => String::from("-"),
    };
    let amount: Quantity = text.parse().map_err(|error: crate::quantity::ParseError| DecodeError(error.to_string()))?;
    let canonical = amount.to_string();
    *value = canonical.into();
    Ok(())
}

/// Amounts of resources are held to a thousandth.
fn round_up(value: &mut Value) {
    const MILLI: i128 = 1_000_000;
    let Some(amount) = Quantity::from_value(value) else { return };
    if amount.nanos() % MILLI != 0 {
        let milli = amount.nanos().div_euclid(MILLI) + 1;
        if let Ok(rounded) = format!("{milli}m").parse::<Quantity>() {
            *value = rounded.to_string().into();
        }
    }
}

/// Where standard, padded base64 ends to be that.
fn bad_base64(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let padding = bytes.iter().rev().take(2).take_while(|&&b| b == b'=').count();
    let body = bytes.len() - padding;
    if let Some(at) = bytes[..body].iter().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))) {
        return Some(at);
    }
    match (body % 4, padding) {
        (0, 0) | (2, 2) | (3, 1) => None,
        _ if padding > 0 => Some(body),
        (rest, _) => Some(body - rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::from_definitions;
    use serde_json::json;

    fn deployment() -> Schema {
        let definitions = json!({
            "io.k8s.api.apps.v1.Deployment": {"type": "object", "properties": {
                "kind": {"type": "string"},
                "metadata": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
                "spec": {"$ref": "#/definitions/io.k8s.api.apps.v1.DeploymentSpec"}}},
            "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {"type": "object", "properties": {
                "creationTimestamp": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Time"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "finalizers": {"type": "array", "items": {"type": "string"}}}},
            "io.k8s.apimachinery.pkg.apis.meta.v1.Time": {"type": "string", "format": "date-time"},
            "io.k8s.apimachinery.pkg.runtime.RawExtension": {"type": "object"},
            "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
            "io.k8s.api.apps.v1.DeploymentSpec": {"type": "object", "required": ["containers"], "properties": {
                "replicas": {"type": "integer", "format": "int32"},
                "paused": {"type": "boolean"},
                "surge": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.util.intstr.IntOrString"},
                "raw": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.runtime.RawExtension"},
                "data": {"type": "object", "additionalProperties": {"type": "string", "format": "byte"}},
                "limits": {"type": "object", "additionalProperties": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.api.resource.Quantity"}},
                "empty": {"$ref": "#/definitions/io.k8s.api.core.v1.Container"},
                "containers": {"type": "array", "items": {"$ref": "#/definitions/io.k8s.api.core.v1.Container"}}}},
            "io.k8s.api.core.v1.Container": {"type": "object", "properties": {
                "image": {"type": "string"}, "args": {"type": "array", "items": {"type": "string"}}}},
        });
        from_definitions(definitions.as_object().unwrap()).unwrap().named("io.k8s.api.apps.v1.Deployment").unwrap()
    }

    #[track_caller]
    fn fails(object: Value, expected: &str) {
        let mut object = object;
        assert_eq!(decode(&mut object, &deployment()).unwrap_err().to_string(), expected);
    }

    #[track_caller]
    fn reads(before: Value, after: Value, unknown: &[&str]) {
        let mut object = before;
        assert_eq!(decode(&mut object, &deployment()).unwrap(), unknown);
        assert_eq!(object, after);
        assert_eq!(decode(&mut object, &deployment()).unwrap(), Vec::<String>::new(), "read twice");
        assert_eq!(object, after, "read twice");
    }

    #[test]
    fn wrong_types_are_told_in_the_words_of_go() {
        fails(
            json!({"spec": {"replicas": "three"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        );
        fails(
            json!({"spec": {"replicas": 1.5}}),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        );
        fails(
            json!({"spec": {"replicas": 3_000_000_000_i64}}),
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        );
        fails(
            json!({"metadata": {"labels": {"a.b/c": 1}}}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        );
        fails(
            json!({"spec": {"containers": [{"image": true}]}}),
            "json: cannot unmarshal bool into Go struct field Container.spec.containers.image of type string",
        );
        fails(
            json!({"spec": {"containers": {}}}),
            "json: cannot unmarshal object into Go struct field DeploymentSpec.spec.containers of type []v1.Container",
        );
        fails(
            json!({"spec": []}),
            "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec",
        );
        fails(json!("text"), "json: cannot unmarshal string into Go value of type v1.Deployment");
        fails(
            json!({"metadata": {"creationTimestamp": "now"}}),
            "parsing time \"now\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"now\" as \"2006\"",
        );
        fails(json!({"spec": {"data": {"a": "abc"}}}), "illegal base64 data at input byte 0");
        fails(json!({"spec": {"data": {"a": "ab!="}}}), "illegal base64 data at input byte 2");
        let mut object = json!({"spec": 1});
        let error = decode(&mut object, &deployment()).unwrap_err();
        assert!(
            error
                .message("Deployment", "v1")
                .starts_with("Deployment in version \"v1\" cannot be handled as a Deployment: json: ")
        );
    }

    #[test]
    fn quantities_are_written_in_their_canonical_form() {
        reads(
            json!({"spec": {"limits": {"cpu": 0.5, "memory": "1024Mi", "tiny": "100u", "one": 1}}}),
            json!({"spec": {"limits": {"cpu": "500m", "memory": "1Gi", "tiny": "1m", "one": "1"}}}),
            &[],
        );
        fails(json!({"spec": {"limits": {"cpu": "1x"}}}), "unable to parse quantity's suffix");
        fails(
            json!({"spec": {"limits": {"cpu": "much"}}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        );
    }

    #[test]
    fn drops_what_go_would_not_write() {
        reads(
            json!({"kind": "Deployment", "foo": 1, "status": {}, "metadata": {"labels": {}, "finalizers": [], "creationTimestamp": null},
                "spec": {"replicas": 0, "paused": null, "surge": "25%", "raw": {"x": []}, "empty": {},
                    "containers": [{"image": "a", "x": 1, "args": ["a", null]}], "data": {"a": "YWI=\n"}}}),
            json!({"kind": "Deployment", "metadata": {},
                "spec": {"replicas": 0, "surge": "25%", "raw": {"x": []}, "empty": {},
                    "containers": [{"image": "a", "args": ["a", ""]}], "data": {"a": "YWI="}}}),
            &["foo", "spec.containers[0].x", "status"],
        );
        reads(
            json!({"metadata": {"creationTimestamp": "2026-01-01T02:00:00.5+02:00"}, "spec": {"containers": [], "surge": 3}}),
            json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"containers": [], "surge": 3}}),
            &[],
        );
    }
}
