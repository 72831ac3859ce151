//! The table that `machinery::protobuf` decodes by: how each published kind looks on the wire, and what of it in JSON.
//!
//! Message descriptors alone do not say it: structs that Go embeds are nested on the wire and flat in JSON, some fields
//! have another name, and zero is nothing for most scalars. All of that is settled here, by comparison with the OpenAPI
//! definitions; a field that fits neither is an error.

use anyhow::{Context, bail, ensure};
use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Messages that JSON has in a form of their own, by the form's name in the table.
const FORMS: [(&str, &str); 10] = [
    ("k8s.io.apimachinery.pkg.apis.meta.v1.Time", "time"),
    ("k8s.io.apimachinery.pkg.apis.meta.v1.MicroTime", "micro-time"),
    ("k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1", "raw"),
    ("k8s.io.apimachinery.pkg.runtime.RawExtension", "raw"),
    ("k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON", "raw"),
    ("k8s.io.apimachinery.pkg.api.resource.Quantity", "quantity"),
    ("k8s.io.apimachinery.pkg.util.intstr.IntOrString", "int-or-string"),
    ("k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray", "first-or-list"),
    ("k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray", "first-or-list"),
    ("k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool", "second-or-bool"),
];

/// The text of wire.txt.
pub(crate) fn table(descriptors: &[u8], presence: &str, definitions: &Map<String, Value>) -> anyhow::Result<String> {
    let pool = DescriptorPool::decode(descriptors).context("protobuf-descriptors.bin")?;
    let presence: BTreeSet<(&str, &str)> = presence
        .lines()
        .filter_map(|line| line.split_once(' '))
        .flat_map(|(message, fields)| fields.split(' ').map(move |field| (message, field)))
        .collect();
    let mut writer = Writer { definitions, presence, lines: BTreeMap::new() };
    let mut out = String::new();
    for (name, definition) in definitions {
        let kinds = definition.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
        for kind in kinds.into_iter().flatten() {
            let message =
                pool.get_message_by_name(&message_name(name)).with_context(|| format!("no message for {name}"))?;
            writer.message(&message).with_context(|| name.clone())?;
            let field = |key: &str| kind.get(key).and_then(Value::as_str).unwrap_or("");
            let group = if field("group").is_empty() { "-" } else { field("group") };
            writeln!(out, "kind {group} {} {} {}", field("version"), field("kind"), message.full_name())?;
        }
    }
    for (message, lines) in &writer.lines {
        writeln!(out, "message {message}{lines}")?;
    }
    Ok(out)
}

fn message_name(definition: &str) -> String {
    definition.replacen("io.k8s.", "k8s.io.", 1).replace('-', "_")
}

struct Writer<'a> {
    definitions: &'a Map<String, Value>,
    /// Message and JSON name of fields that say something when they are zero.
    presence: BTreeSet<(&'a str, &'a str)>,
    /// What follows the message's name.
    lines: BTreeMap<String, String>,
}

impl Writer<'_> {
    fn message(&mut self, message: &MessageDescriptor) -> anyhow::Result<()> {
        self.message_in(message, self.properties(message))
    }

    /// Writes a message whose JSON fields are among `properties`: its own, or those of what it is flattened into.
    fn message_in(&mut self, message: &MessageDescriptor, properties: Option<BTreeSet<String>>) -> anyhow::Result<()> {
        if self.lines.contains_key(message.full_name()) {
            return Ok(());
        }
        self.lines.insert(message.full_name().to_owned(), String::new());
        let mut lines = String::new();
        let form = self.form(message);
        if let Some(form) = form {
            write!(lines, " {form}")?;
        }
        let mut fields: Vec<FieldDescriptor> = message.fields().collect();
        fields.sort_by_key(FieldDescriptor::number);
        for field in fields {
            let line = if form.is_some() {
                format!("{} {} {}", field.number(), field.name(), self.field_type(&field)?)
            } else {
                self.field(message, &field, properties.as_ref())
                    .with_context(|| format!("{} {}", message.full_name(), field.name()))?
            };
            write!(lines, "\n{line}")?;
        }
        self.lines.insert(message.full_name().to_owned(), lines);
        Ok(())
    }

    /// The form of a message that is not a JSON object with the message's fields.
    fn form(&self, message: &MessageDescriptor) -> Option<&'static str> {
        if let Some((_, form)) = FORMS.iter().find(|(name, _)| *name == message.full_name()) {
            return Some(form);
        }
        // Go has lists as values of maps (`ExtraValue`), protobuf must wrap them.
        let mut fields = message.fields();
        let only = fields.next().filter(|_| fields.next().is_none())?;
        let wraps = only.is_list() && only.name() == "items" && self.properties(message).is_none();
        wraps.then_some("items")
    }

    fn field(
        &mut self,
        message: &MessageDescriptor,
        field: &FieldDescriptor,
        properties: Option<&BTreeSet<String>>,
    ) -> anyhow::Result<String> {
        let Some(properties) = properties else { bail!("a message that JSON does not know") };
        if let Some(name) = json_name(field.name(), properties) {
            let scalar = !field.is_list() && !matches!(field.kind(), Kind::Message(_));
            let zero = if scalar && self.presence.contains(&(message.full_name(), name)) { " zero" } else { "" };
            return Ok(format!("{} {name} {}{zero}", field.number(), self.field_type(field)?));
        }
        let Kind::Message(target) = field.kind() else { bail!("JSON has no such field") };
        ensure!(field.cardinality() != Cardinality::Repeated, "JSON has no such list");
        // Go embeds it: JSON has its fields here. It may be published under its own name too, with the same fields.
        self.message_in(&target, self.properties(&target).or_else(|| Some(properties.clone())))?;
        for inner in target.fields() {
            let known = json_name(inner.name(), properties).is_some() || matches!(inner.kind(), Kind::Message(_));
            ensure!(known, "neither the message nor its field {} is in JSON", inner.name());
        }
        Ok(format!("{} - {} inline", field.number(), target.full_name()))
    }

    fn field_type(&mut self, field: &FieldDescriptor) -> anyhow::Result<String> {
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else { bail!("a map of no entries") };
            ensure!(entry.map_entry_key_field().kind() == Kind::String, "keys of a map must be text");
            return Ok(format!("map {}", self.value_type(&entry.map_entry_value_field())?));
        }
        let list = if field.cardinality() == Cardinality::Repeated { "list " } else { "" };
        Ok(format!("{list}{}", self.value_type(field)?))
    }

    fn value_type(&mut self, field: &FieldDescriptor) -> anyhow::Result<String> {
        Ok(match field.kind() {
            Kind::String => "string".into(),
            Kind::Bool => "bool".into(),
            Kind::Int32 | Kind::Int64 => "int".into(),
            Kind::Double => "double".into(),
            Kind::Bytes => "bytes".into(),
            Kind::Message(target) => {
                self.message(&target)?;
                target.full_name().to_owned()
            }
            other => bail!("{other:?} is not known to the decoder"),
        })
    }

    fn properties(&self, message: &MessageDescriptor) -> Option<BTreeSet<String>> {
        let definitions = self.definitions.iter();
        let (_, definition) = definitions.into_iter().find(|(name, _)| message_name(name) == message.full_name())?;
        let properties = definition.get("properties")?.as_object()?;
        Some(properties.keys().cloned().collect())
    }
}

/// The property that a field is: of the same name, or of one that differs by case and punctuation (`uID` is `uid`,
/// `xKubernetesMapType` is `x-kubernetes-map-type`).
fn json_name<'a>(field: &str, properties: &'a BTreeSet<String>) -> Option<&'a str> {
    let plain = |name: &str| -> String {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let exact = properties.get(field);
    exact.or_else(|| properties.iter().find(|name| plain(name) == plain(field))).map(String::as_str)
}
