//! Paths to fields, and what is wrong there in the words of the stock server (`k8s.io/apimachinery`'s field errors).

use api::Cause;
use serde_json::{Map, Value};
use std::fmt;

/// The field of a cause that is about the object itself, as the stock server prints a path without a name.
pub const ROOT_FIELD: &str = "[]";

/// One step of a [`Path`].
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A field of an object: `.name`
    Field(&'a str),
    /// A key of a map: `[key]`
    Key(&'a str),
    /// An element of a list: `[3]`
    Index(usize),
}

/// Where a walk through an object is. It lives on the stack and costs nothing until it is printed.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

impl Path<'static> {
    /// The object itself. It prints as nothing, and as [`ROOT_FIELD`] where a cause names its field.
    pub const ROOT: Path<'static> = Path { parent: None, step: Step::Field("") };
}

impl<'a> Path<'a> {
    /// A field below.
    pub fn field<'b>(&'b self, name: &'b str) -> Path<'b>
    where
        'a: 'b,
    {
        Path { parent: Some(self), step: Step::Field(name) }
    }

    /// A key of the map that is here.
    pub fn key<'b>(&'b self, key: &'b str) -> Path<'b>
    where
        'a: 'b,
    {
        Path { parent: Some(self), step: Step::Key(key) }
    }

    /// An element of the list that is here.
    pub fn index(&self, index: usize) -> Path<'_> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    /// The last step.
    pub fn step(&self) -> Step<'a> {
        self.step
    }

    /// Whether this is the object itself.
    pub fn is_root(&self) -> bool {
        self.parent.is_none()
    }

    /// With keys of maps written as fields, `spec.map.key`, as reports of unknown fields have them.
    pub fn dotted(&self) -> String {
        let mut out = self.parent.map_or_else(String::new, Path::dotted);
        match self.step {
            Step::Field(name) | Step::Key(name) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Step::Index(index) => out.push_str(&format!("[{index}]")),
        }
        out
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
        let Some(parent) = self.parent else {
            let Step::Field(name) = self.step else { return Ok(false) };
            f.write_str(name)?;
            return Ok(!name.is_empty());
        };
        let more = parent.write(f)?;
        match self.step {
            Step::Field(name) => {
                if more {
                    f.write_str(".")?;
                }
                f.write_str(name)?;
            }
            Step::Key(key) => write!(f, "[{key}]")?,
            Step::Index(index) => write!(f, "[{index}]")?,
        }
        Ok(true)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f).map(|_| ())
    }
}

/// The value at a dotted path of declared fields, such as `spec.replicas`.
pub fn at<'v>(map: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    let mut parts = path.split('.');
    let mut value = map.get(parts.next()?)?;
    for part in parts {
        value = value.get(part)?;
    }
    Some(value)
}

/// The text at a dotted path; empty if there is none.
pub fn text_at<'v>(map: &'v Map<String, Value>, path: &str) -> &'v str {
    at(map, path).and_then(Value::as_str).unwrap_or("")
}

/// The whole number at a dotted path.
pub fn int_at(map: &Map<String, Value>, path: &str) -> Option<i64> {
    at(map, path).and_then(Value::as_i64)
}

/// Whether the flag at a dotted path is set.
pub fn flag_at(map: &Map<String, Value>, path: &str) -> bool {
    at(map, path).and_then(Value::as_bool).unwrap_or(false)
}

/// The list at a dotted path; empty if there is none.
pub fn list_at<'v>(map: &'v Map<String, Value>, path: &str) -> &'v [Value] {
    at(map, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The objects of the list at a dotted path; what is not an object is left out.
pub fn objects_at<'v>(map: &'v Map<String, Value>, path: &str) -> impl Iterator<Item = &'v Map<String, Value>> {
    list_at(map, path).iter().filter_map(Value::as_object)
}

/// The object at a dotted path.
pub fn object_at<'v>(map: &'v Map<String, Value>, path: &str) -> Option<&'v Map<String, Value>> {
    at(map, path).and_then(Value::as_object)
}

/// A value as field errors print it: text quoted, everything else as JSON.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        other => other.to_string(),
    }
}

/// Text in double quotes with the escapes that Go's `%q` uses.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            c if c < ' ' || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn cause(field: &Path<'_>, reason: &str, head: String, detail: &str) -> Cause {
    let message = if detail.is_empty() { head } else { format!("{head}: {detail}") };
    let field = if field.is_root() { ROOT_FIELD.to_owned() } else { field.to_string() };
    Cause { reason: reason.into(), message, field }
}

/// `Required value`
pub fn required(field: &Path<'_>, detail: &str) -> Cause {
    cause(field, "FieldValueRequired", "Required value".into(), detail)
}

/// `Invalid value: "x": must be ...`
pub fn invalid(field: &Path<'_>, value: &Value, detail: &str) -> Cause {
    cause(field, "FieldValueInvalid", format!("Invalid value: {}", shown(value)), detail)
}

/// [`invalid`] for a text value.
pub fn invalid_text(field: &Path<'_>, value: &str, detail: &str) -> Cause {
    cause(field, "FieldValueInvalid", format!("Invalid value: {}", quote(value)), detail)
}

/// Like [`invalid`], for a value of the wrong type. `value` is printed as it is.
pub fn type_invalid(field: &Path<'_>, value: &str, detail: &str) -> Cause {
    cause(field, "FieldValueTypeInvalid", format!("Invalid value: {value}"), detail)
}

/// `Unsupported value: "x": supported values: "a", "b"`
pub fn not_supported<'v>(field: &Path<'_>, value: &Value, supported: impl IntoIterator<Item = &'v str>) -> Cause {
    let listed: Vec<String> = supported.into_iter().map(quote).collect();
    let detail = if listed.is_empty() { String::new() } else { format!("supported values: {}", listed.join(", ")) };
    cause(field, "FieldValueNotSupported", format!("Unsupported value: {}", shown(value)), &detail)
}

/// `Duplicate value: "x"`
pub fn duplicate(field: &Path<'_>, value: &Value) -> Cause {
    cause(field, "FieldValueDuplicate", format!("Duplicate value: {}", shown(value)), "")
}

/// `Forbidden: ...`
pub fn forbidden(field: &Path<'_>, detail: &str) -> Cause {
    cause(field, "FieldValueForbidden", "Forbidden".into(), detail)
}

/// `Not found: "x"`
pub fn not_found(field: &Path<'_>, value: &Value) -> Cause {
    cause(field, "FieldValueNotFound", format!("Not found: {}", shown(value)), "")
}

/// `Too long: may not be more than 63 bytes`
pub fn too_long(field: &Path<'_>, limit: u64) -> Cause {
    let unit = if limit == 1 { "byte" } else { "bytes" };
    cause(field, "FieldValueTooLong", "Too long".into(), &format!("may not be more than {limit} {unit}"))
}

/// `Too many: 3: must have at most 2 items`
pub fn too_many(field: &Path<'_>, actual: usize, limit: u64) -> Cause {
    let unit = if limit == 1 { "item" } else { "items" };
    cause(field, "FieldValueTooMany", format!("Too many: {actual}"), &format!("must have at most {limit} {unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_print_as_the_stock_server_prints_them() {
        let spec = Path::ROOT.field("spec");
        let ports = spec.field("ports");
        let first = ports.index(0);
        let labels = spec.field("labels");
        assert_eq!(Path::ROOT.to_string(), "");
        assert_eq!(first.field("name").to_string(), "spec.ports[0].name");
        assert_eq!(labels.key("a/b").to_string(), "spec.labels[a/b]");
    }

    #[test]
    fn causes_read_as_the_stock_server_writes_them() {
        let at = Path::ROOT.field("spec");
        assert_eq!(required(&at, "").message, "Required value");
        assert_eq!((too_long(&Path::ROOT, 1).field.as_str(), too_long(&at, 1).field.as_str()), ("[]", "spec"));
        assert_eq!(invalid(&at, &json!("a\"\n"), "must x").message, r#"Invalid value: "a\"\n": must x"#);
        assert_eq!(invalid(&at, &json!({"a": 1}), "").message, r#"Invalid value: {"a":1}"#);
        let expected = r#"Unsupported value: "x": supported values: "a", "b""#;
        assert_eq!(not_supported(&at, &json!("x"), ["a", "b"]).message, expected);
        assert_eq!(too_long(&at, 1).message, "Too long: may not be more than 1 byte");
        assert_eq!(too_many(&at, 3, 2).message, "Too many: 3: must have at most 2 items");
    }
}
