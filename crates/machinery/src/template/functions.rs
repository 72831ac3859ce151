//! The functions that every template can call.

use super::escape::{html, javascript, query};
use super::print::{sprint, sprintf, sprintln};
use super::value::Value;
use std::cmp::Ordering;

/// What a function takes in one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Parameter {
    Any,
    Text,
}

pub(super) struct Function {
    name: &'static str,
    pub parameters: &'static [Parameter],
    /// Whether it takes more of anything.
    pub variadic: bool,
}

impl Function {
    pub(super) fn parameter(&self, place: usize) -> Parameter {
        self.parameters.get(place).copied().unwrap_or(Parameter::Any)
    }
}

const ONE: &[Parameter] = &[Parameter::Any];
const TWO: &[Parameter] = &[Parameter::Any, Parameter::Any];

const fn row(name: &'static str, parameters: &'static [Parameter], variadic: bool) -> Function {
    Function { name, parameters, variadic }
}

const FUNCTIONS: [Function; 19] = [
    row("and", ONE, true),
    row("call", ONE, true),
    row("html", &[], true),
    row("index", ONE, true),
    row("slice", ONE, true),
    row("js", &[], true),
    row("len", ONE, false),
    row("not", ONE, false),
    row("or", ONE, true),
    row("print", &[], true),
    row("printf", &[Parameter::Text], true),
    row("println", &[], true),
    row("urlquery", &[], true),
    row("eq", ONE, true),
    row("ge", TWO, false),
    row("gt", TWO, false),
    row("le", TWO, false),
    row("lt", TWO, false),
    row("ne", TWO, false),
];

pub(super) fn find(name: &str) -> Option<&'static Function> {
    const TABLE: &[Function] = &FUNCTIONS;
    TABLE.iter().find(|function| function.name == name)
}

pub(super) fn is_function(name: &str) -> bool {
    find(name).is_some()
}

/// Calls a function with as many values as it takes. `callee` is how the first argument is written.
pub(super) fn apply<'a>(name: &str, callee: Option<String>, values: Vec<Value<'a>>) -> Result<Value<'a>, String> {
    match name {
        "html" => Ok(Value::text(html(&joined(&values)))),
        "js" => Ok(Value::text(javascript(&joined(&values)))),
        "urlquery" => Ok(Value::text(query(&joined(&values)))),
        "print" => Ok(Value::text(sprint(&values))),
        "println" => Ok(Value::text(sprintln(&values))),
        "printf" => match &values[0] {
            Value::Text(format) => Ok(Value::text(sprintf(format, &values[1..]))),
            other => Err(format!("wrong type for value; expected string; got {}", other.type_name())),
        },
        "call" => match &values[0] {
            Value::Nil => Err("call of nil".into()),
            other => {
                let piped = || match other {
                    Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    other => format!("<{} Value>", other.type_name()),
                };
                Err(format!("non-function {} of type {}", callee.unwrap_or_else(piped), other.type_name()))
            }
        },
        "index" => index(values),
        "slice" => slice(&values),
        "len" => length(&values[0]).map(Value::Int),
        "not" => Ok(Value::Bool(!values[0].is_true())),
        "eq" => equal(&values[0], &values[1..]).map(Value::Bool),
        "ne" => equal(&values[0], &values[1..]).map(|equal| Value::Bool(!equal)),
        "lt" => less(&values[0], &values[1]).map(Value::Bool),
        "le" => at_most(&values[0], &values[1]).map(Value::Bool),
        "gt" => at_most(&values[0], &values[1]).map(|at_most| Value::Bool(!at_most)),
        _ => less(&values[0], &values[1]).map(|less| Value::Bool(!less)),
    }
}

/// The one text, or all values as `print` joins them.
fn joined(values: &[Value<'_>]) -> Vec<u8> {
    match values {
        [Value::Text(text)] => text.to_vec(),
        // What is nothing is said here as where it is printed.
        _ => {
            let shown = values.iter().map(|value| match value {
                Value::Nil => Value::borrowed(b"<no value>"),
                other => other.clone(),
            });
            sprint(&shown.collect::<Vec<_>>())
        }
    }
}

fn place(index: &Value<'_>, most: usize) -> Result<usize, String> {
    let number = match index {
        Value::Int(number) => *number,
        Value::Byte(number) => i64::from(*number),
        Value::Nil => return Err("cannot index slice/array with nil".into()),
        other => return Err(format!("cannot index slice/array with type {}", other.type_name())),
    };
    let found = usize::try_from(number).ok().filter(|number| *number <= most);
    found.ok_or_else(|| format!("index out of range: {number}"))
}

fn index(values: Vec<Value<'_>>) -> Result<Value<'_>, String> {
    let mut values = values.into_iter();
    let mut item = values.next().unwrap_or(Value::Nil);
    if matches!(item, Value::Nil) {
        return Err("index of untyped nil".into());
    }
    for index in values {
        item = match &item {
            Value::Text(text) => {
                let at = place(&index, text.len())?;
                Value::Byte(*text.get(at).ok_or("reflect: string index out of range")?)
            }
            Value::Map(map) => match &index {
                Value::Text(key) => {
                    let found = std::str::from_utf8(key).ok().and_then(|key| map.get(key));
                    Value::borrowed(found.map_or(&[], |text| text.as_bytes()))
                }
                Value::Nil => return Err("value is nil; should be of type string".into()),
                other => return Err(format!("value has type {}; should be string", other.type_name())),
            },
            other => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(item)
}

fn slice<'a>(values: &[Value<'a>]) -> Result<Value<'a>, String> {
    let indexes = &values[1..];
    if matches!(values[0], Value::Nil) {
        return Err("slice of untyped nil".into());
    }
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    let Value::Text(text) = &values[0] else {
        return Err(format!("can't slice item of type {}", values[0].type_name()));
    };
    if indexes.len() == 3 {
        return Err("cannot 3-index slice a string".into());
    }
    let mut bounds = [0, text.len()];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = place(index, text.len())?;
    }
    let [from, to] = bounds;
    let cut = text.get(from..to).ok_or_else(|| format!("invalid slice index: {from} > {to}"))?;
    Ok(Value::text(cut.to_vec()))
}

fn length(value: &Value<'_>) -> Result<i64, String> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::Map(map) => map.len(),
        Value::Nil => return Err("reflect: call of reflect.Value.Type on zero Value".into()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(i64::try_from(length).unwrap_or(i64::MAX))
}

const NOT_COMPARABLE: &str = "invalid type for comparison";

fn incompatible(a: &Value<'_>, b: &Value<'_>) -> String {
    format!("incompatible types for comparison: {} and {}", a.type_name(), b.type_name())
}

#[allow(clippy::float_cmp, reason = "as in Go")]
fn equal(first: &Value<'_>, others: &[Value<'_>]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in others {
        let same = match (first, other) {
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Byte(a), Value::Byte(b)) => a == b,
            (Value::Int(a), Value::Byte(b)) | (Value::Byte(b), Value::Int(a)) => *a == i64::from(*b),
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Nil, Value::Nil) => true,
            (Value::Nil, _) | (_, Value::Nil) => false,
            (Value::Map(_), Value::Map(_)) => {
                let shown = sprint(std::slice::from_ref(other));
                let shown = String::from_utf8_lossy(&shown);
                return Err(format!("non-comparable type {shown}: {}", other.type_name()));
            }
            (a, b) => return Err(incompatible(a, b)),
        };
        if same {
            return Ok(true);
        }
    }
    Ok(false)
}

fn less(a: &Value<'_>, b: &Value<'_>) -> Result<bool, String> {
    let basic = |value: &Value<'_>| !matches!(value, Value::Nil | Value::Map(_));
    if !basic(a) || !basic(b) {
        return Err(NOT_COMPARABLE.into());
    }
    let order = match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Byte(a), Value::Byte(b)) => a.cmp(b),
        (Value::Int(a), Value::Byte(b)) => a.cmp(&i64::from(*b)),
        (Value::Byte(a), Value::Int(b)) => i64::from(*a).cmp(b),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Greater),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Bool(_), Value::Bool(_)) => return Err(NOT_COMPARABLE.into()),
        (a, b) => return Err(incompatible(a, b)),
    };
    Ok(order == Ordering::Less)
}

fn at_most(a: &Value<'_>, b: &Value<'_>) -> Result<bool, String> {
    Ok(less(a, b)? || equal(a, std::slice::from_ref(b))?)
}
