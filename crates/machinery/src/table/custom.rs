//! Cells of custom resources.

use super::{Context, duration, row};
use api::{Object, Timestamp};
use serde_json::Value;

/// A column of a custom resource's Table: `additionalPrinterColumns` of its CRD.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column<'a> {
    /// `integer`, `number`, `string`, `boolean` or `date`.
    pub kind: &'a str,
    /// JSONPath below the object, such as `.spec.replicas`.
    pub path: &'a str,
}

/// The cells of a custom resource: its name, then its columns; a single column of its age if there are none. `find`
/// answers the first result of a JSONPath. What is not there, or not of the column's type, is a null cell.
pub fn custom_cells<'a>(
    object: &Object,
    columns: impl IntoIterator<Item = Column<'a>>,
    now: Timestamp,
    find: impl Fn(&str) -> Option<Value>,
) -> Vec<Value> {
    let context = Context { object: &object.0, now };
    let mut row = row![context.name()];
    row.extend(columns.into_iter().map(|column| find(column.path).map_or(Value::Null, |v| cell(column.kind, v, now))));
    if row.len() == 1 {
        row.push(context.age().into());
    }
    row
}

fn cell(kind: &str, value: Value, now: Timestamp) -> Value {
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        ("string", Value::String(text)) => text.into(),
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            // Cells of whole numbers are cut, not rounded.
            #[allow(clippy::cast_possible_truncation)]
            (None, Some(float)) => (float as i64).into(),
            (None, None) => Value::Null,
        },
        ("number", Value::Number(number)) => Value::Number(number),
        ("boolean", Value::Bool(set)) => set.into(),
        ("date", Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(then) => duration::age(then, now).into(),
            Err(_) => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}
