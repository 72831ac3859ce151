//! Named formats.

use super::Row;
use super::strings::text;
use crate::cel::error::Error;
use crate::cel::value::Value;
use crate::name;
use crate::schema::holds_format;

type Result<'a> = std::result::Result<Value<'a>, Error>;

/// A format that text can be held against.
#[derive(Debug)]
pub struct Format {
    /// As `format.named` knows it.
    pub(crate) name: &'static str,
    /// What is wrong with a text.
    problems: fn(&str) -> Vec<String>,
    /// How long its regular expression is taken to be: costs are counted in it.
    pub(crate) pattern_size: u64,
}

/// A prefix may end in a dash, which the name that it becomes part of would not.
fn prefix(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => text.to_owned(),
    }
}

fn declared(text: &str, format: &str, complaint: &str) -> Vec<String> {
    if holds_format(format, text) == Some(true) { Vec::new() } else { vec![complaint.to_owned()] }
}

static FORMATS: [Format; 13] = [
    Format { name: "dns1123Label", problems: name::dns_label, pattern_size: 30 },
    Format { name: "dns1123Subdomain", problems: name::dns_subdomain, pattern_size: 60 },
    Format { name: "dns1035Label", problems: name::dns_1035_label, pattern_size: 30 },
    Format { name: "qualifiedName", problems: name::qualified_name, pattern_size: 60 },
    Format { name: "dns1123LabelPrefix", problems: |text| name::dns_label(&prefix(text)), pattern_size: 30 },
    Format { name: "dns1123SubdomainPrefix", problems: |text| name::dns_subdomain(&prefix(text)), pattern_size: 60 },
    Format { name: "dns1035LabelPrefix", problems: |text| name::dns_1035_label(&prefix(text)), pattern_size: 30 },
    Format { name: "labelValue", problems: name::label_value, pattern_size: 40 },
    Format { name: "uri", problems: |text| declared(text, "uri", "invalid URI"), pattern_size: 1000 },
    Format {
        name: "uuid",
        problems: |text| declared(text, "uuid", "does not match the UUID format"),
        pattern_size: 80,
    },
    Format { name: "byte", problems: |text| declared(text, "byte", "invalid base64"), pattern_size: 84 },
    Format { name: "date", problems: |text| declared(text, "date", "invalid date"), pattern_size: 100 },
    Format { name: "datetime", problems: |text| declared(text, "date-time", "invalid datetime"), pattern_size: 100 },
];

pub(super) const ROWS: &[Row] = &[
    Row { name: "validate", call: validate, overloads: &["format-validate: format.(string) optional(list(string))"] },
    Row { name: "format.named", call: named, overloads: &["format-named: (string) optional(format)"] },
    Row { name: "format.dns1123Label", call: |_| constant(0), overloads: &["format.dns1123Label: () format"] },
    Row { name: "format.dns1123Subdomain", call: |_| constant(1), overloads: &["format.dns1123Subdomain: () format"] },
    Row { name: "format.dns1035Label", call: |_| constant(2), overloads: &["format.dns1035Label: () format"] },
    Row { name: "format.qualifiedName", call: |_| constant(3), overloads: &["format.qualifiedName: () format"] },
    Row {
        name: "format.dns1123LabelPrefix",
        call: |_| constant(4),
        overloads: &["format.dns1123LabelPrefix: () format"],
    },
    Row {
        name: "format.dns1123SubdomainPrefix",
        call: |_| constant(5),
        overloads: &["format.dns1123SubdomainPrefix: () format"],
    },
    Row {
        name: "format.dns1035LabelPrefix",
        call: |_| constant(6),
        overloads: &["format.dns1035LabelPrefix: () format"],
    },
    Row { name: "format.labelValue", call: |_| constant(7), overloads: &["format.labelValue: () format"] },
    Row { name: "format.uri", call: |_| constant(8), overloads: &["format.uri: () format"] },
    Row { name: "format.uuid", call: |_| constant(9), overloads: &["format.uuid: () format"] },
    Row { name: "format.byte", call: |_| constant(10), overloads: &["format.byte: () format"] },
    Row { name: "format.date", call: |_| constant(11), overloads: &["format.date: () format"] },
    Row { name: "format.datetime", call: |_| constant(12), overloads: &["format.datetime: () format"] },
];

fn constant<'a>(index: usize) -> Result<'a> {
    Ok(Value::Format(&FORMATS[index]))
}

fn named<'a>(args: &[Value<'a>]) -> Result<'a> {
    let wanted = text(args, 0)?;
    let found = FORMATS.iter().find(|format| format.name == wanted);
    Ok(found.map_or(Value::Optional(None), |format| Value::some(Value::Format(format))))
}

fn validate<'a>(args: &[Value<'a>]) -> Result<'a> {
    let Some(Value::Format(format)) = args.first() else { return Err(Error::no_overload()) };
    let problems = (format.problems)(text(args, 1)?);
    Ok(if problems.is_empty() {
        Value::Optional(None)
    } else {
        Value::some(Value::list(problems.into_iter().map(Value::text).collect()))
    })
}
