//! Operators. `&&`, `||` and `?:` are in the evaluation: they do not look at all of their arguments.

use super::Row;
use crate::cel::error::Error;
use crate::cel::limits::VALUE_BYTES_MAX;
use crate::cel::time::Duration;
use crate::cel::value::{List, Map, Value};
use std::cmp::Ordering;
use std::rc::Rc;

type Result<T> = std::result::Result<T, Error>;

pub(super) const ROWS: &[Row] = &[
    Row { name: "_?_:_", call: apart, overloads: &["conditional: (bool, A, A) A"] },
    Row { name: "_&&_", call: apart, overloads: &["logical_and: (bool, bool) bool"] },
    Row { name: "_||_", call: apart, overloads: &["logical_or: (bool, bool) bool"] },
    Row { name: "!_", call: not, overloads: &["logical_not: (bool) bool"] },
    Row { name: "@not_strictly_false", call: apart, overloads: &["not_strictly_false: (bool) bool"] },
    Row { name: "_==_", call: equal, overloads: &["equals: (A, A) bool"] },
    Row { name: "_!=_", call: different, overloads: &["not_equals: (A, A) bool"] },
    Row {
        name: "_+_",
        call: add,
        overloads: &[
            "add_bytes: (bytes, bytes) bytes",
            "add_double: (double, double) double",
            "add_duration_duration: (duration, duration) duration",
            "add_duration_timestamp: (duration, timestamp) timestamp",
            "add_timestamp_duration: (timestamp, duration) timestamp",
            "add_int64: (int, int) int",
            "add_list: (list(A), list(A)) list(A)",
            "add_string: (string, string) string",
            "add_uint64: (uint, uint) uint",
        ],
    },
    Row {
        name: "_-_",
        call: subtract,
        overloads: &[
            "subtract_double: (double, double) double",
            "subtract_duration_duration: (duration, duration) duration",
            "subtract_int64: (int, int) int",
            "subtract_timestamp_duration: (timestamp, duration) timestamp",
            "subtract_timestamp_timestamp: (timestamp, timestamp) duration",
            "subtract_uint64: (uint, uint) uint",
        ],
    },
    Row {
        name: "_*_",
        call: multiply,
        overloads: &[
            "multiply_double: (double, double) double",
            "multiply_int64: (int, int) int",
            "multiply_uint64: (uint, uint) uint",
        ],
    },
    Row {
        name: "_/_",
        call: divide,
        overloads: &[
            "divide_double: (double, double) double",
            "divide_int64: (int, int) int",
            "divide_uint64: (uint, uint) uint",
        ],
    },
    Row { name: "_%_", call: modulo, overloads: &["modulo_int64: (int, int) int", "modulo_uint64: (uint, uint) uint"] },
    Row { name: "-_", call: negate, overloads: &["negate_double: (double) double", "negate_int64: (int) int"] },
    Row {
        name: "_<_",
        call: |args| order(args, Ordering::is_lt),
        overloads: &[
            "less_bool: (bool, bool) bool",
            "less_int64: (int, int) bool",
            "less_int64_double: (int, double) bool",
            "less_int64_uint64: (int, uint) bool",
            "less_uint64: (uint, uint) bool",
            "less_uint64_double: (uint, double) bool",
            "less_uint64_int64: (uint, int) bool",
            "less_double: (double, double) bool",
            "less_double_int64: (double, int) bool",
            "less_double_uint64: (double, uint) bool",
            "less_string: (string, string) bool",
            "less_bytes: (bytes, bytes) bool",
            "less_timestamp: (timestamp, timestamp) bool",
            "less_duration: (duration, duration) bool",
        ],
    },
    Row {
        name: "_<=_",
        call: |args| order(args, Ordering::is_le),
        overloads: &[
            "less_equals_bool: (bool, bool) bool",
            "less_equals_int64: (int, int) bool",
            "less_equals_int64_double: (int, double) bool",
            "less_equals_int64_uint64: (int, uint) bool",
            "less_equals_uint64: (uint, uint) bool",
            "less_equals_uint64_double: (uint, double) bool",
            "less_equals_uint64_int64: (uint, int) bool",
            "less_equals_double: (double, double) bool",
            "less_equals_double_int64: (double, int) bool",
            "less_equals_double_uint64: (double, uint) bool",
            "less_equals_string: (string, string) bool",
            "less_equals_bytes: (bytes, bytes) bool",
            "less_equals_timestamp: (timestamp, timestamp) bool",
            "less_equals_duration: (duration, duration) bool",
        ],
    },
    Row {
        name: "_>_",
        call: |args| order(args, Ordering::is_gt),
        overloads: &[
            "greater_bool: (bool, bool) bool",
            "greater_int64: (int, int) bool",
            "greater_int64_double: (int, double) bool",
            "greater_int64_uint64: (int, uint) bool",
            "greater_uint64: (uint, uint) bool",
            "greater_uint64_double: (uint, double) bool",
            "greater_uint64_int64: (uint, int) bool",
            "greater_double: (double, double) bool",
            "greater_double_int64: (double, int) bool",
            "greater_double_uint64: (double, uint) bool",
            "greater_string: (string, string) bool",
            "greater_bytes: (bytes, bytes) bool",
            "greater_timestamp: (timestamp, timestamp) bool",
            "greater_duration: (duration, duration) bool",
        ],
    },
    Row {
        name: "_>=_",
        call: |args| order(args, Ordering::is_ge),
        overloads: &[
            "greater_equals_bool: (bool, bool) bool",
            "greater_equals_int64: (int, int) bool",
            "greater_equals_int64_double: (int, double) bool",
            "greater_equals_int64_uint64: (int, uint) bool",
            "greater_equals_uint64: (uint, uint) bool",
            "greater_equals_uint64_double: (uint, double) bool",
            "greater_equals_uint64_int64: (uint, int) bool",
            "greater_equals_double: (double, double) bool",
            "greater_equals_double_int64: (double, int) bool",
            "greater_equals_double_uint64: (double, uint) bool",
            "greater_equals_string: (string, string) bool",
            "greater_equals_bytes: (bytes, bytes) bool",
            "greater_equals_timestamp: (timestamp, timestamp) bool",
            "greater_equals_duration: (duration, duration) bool",
        ],
    },
    Row {
        name: "_[_]",
        call: index,
        overloads: &[
            "index_list: (list(A), int) A",
            "index_map: (map(A, B), A) B",
            "optional_list_index_int: (optional(list(A)), int) optional(A)",
            "optional_map_index_value: (optional(map(K, V)), K) optional(V)",
        ],
    },
    Row { name: "@in", call: within, overloads: &["in_list: (A, list(A)) bool", "in_map: (A, map(A, B)) bool"] },
    Row {
        name: "size",
        call: size,
        overloads: &[
            "size_bytes: (bytes) int",
            "bytes_size: bytes.() int",
            "size_list: (list(A)) int",
            "list_size: list(A).() int",
            "size_map: (map(A, B)) int",
            "map_size: map(A, B).() int",
            "size_string: (string) int",
            "string_size: string.() int",
        ],
    },
    Row {
        name: "cel.@mapInsert",
        call: insert,
        overloads: &[
            "@mapInsert_map_map: (map(K, V), map(K, V)) map(K, V)",
            "@mapInsert_map_key_value: (map(K, V), K, V) map(K, V)",
        ],
    },
];

/// Decided by the evaluation.
fn apart<'a>(_: &[Value<'a>]) -> Result<Value<'a>> {
    Err(Error::no_overload())
}

fn not<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    args[0].as_bool().map(|value| Value::Bool(!value)).ok_or_else(Error::no_overload)
}

fn equal<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    Ok(Value::Bool(args[0].equals(&args[1])))
}

fn different<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    Ok(Value::Bool(!args[0].equals(&args[1])))
}

fn order<'a>(args: &[Value<'a>], holds: fn(Ordering) -> bool) -> Result<Value<'a>> {
    match args[0].compare(&args[1]) {
        Some(ordering) => Ok(Value::Bool(holds(ordering))),
        None if matches!((&args[0], &args[1]), (Value::Double(_), _) | (_, Value::Double(_))) => {
            let number = |value: &Value<'_>| matches!(value, Value::Double(_) | Value::Int(_) | Value::Uint(_));
            if number(&args[0]) && number(&args[1]) { Ok(Value::Bool(false)) } else { Err(Error::no_overload()) }
        }
        None => Err(Error::no_overload()),
    }
}

fn overflow(kind: &str) -> Error {
    Error::new(format!("{kind} overflow"))
}

/// Refuses a value that has become too large.
pub(super) fn bounded(bytes: usize) -> Result<()> {
    if bytes > VALUE_BYTES_MAX { Err(Error::TooCostly) } else { Ok(()) }
}

fn add<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    Ok(match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_add(*b).ok_or_else(|| overflow("integer"))?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a.checked_add(*b).ok_or_else(|| overflow("unsigned integer"))?),
        (Value::Double(a), Value::Double(b)) => Value::Double(a + b),
        (Value::String(a), Value::String(b)) => {
            bounded(a.len() + b.len())?;
            Value::text(format!("{}{}", &**a, &**b))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            bounded(a.len() + b.len())?;
            Value::Bytes([&**a, &**b].concat().into())
        }
        (Value::List(a), Value::List(b)) => Value::list(a.plus(b)?),
        (Value::Duration(a), Value::Duration(b)) => {
            Value::Duration(Duration(a.0.checked_add(b.0).ok_or_else(|| overflow("duration"))?))
        }
        (Value::Timestamp(a), Value::Duration(b)) | (Value::Duration(b), Value::Timestamp(a)) => {
            Value::Timestamp(a.plus(*b).ok_or_else(|| overflow("timestamp"))?)
        }
        _ => return Err(Error::no_overload()),
    })
}

fn subtract<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    Ok(match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_sub(*b).ok_or_else(|| overflow("integer"))?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a.checked_sub(*b).ok_or_else(|| overflow("unsigned integer"))?),
        (Value::Double(a), Value::Double(b)) => Value::Double(a - b),
        (Value::Duration(a), Value::Duration(b)) => {
            Value::Duration(Duration(a.0.checked_sub(b.0).ok_or_else(|| overflow("duration"))?))
        }
        (Value::Timestamp(a), Value::Duration(b)) => {
            let back = Duration(b.0.checked_neg().ok_or_else(|| overflow("duration"))?);
            Value::Timestamp(a.plus(back).ok_or_else(|| overflow("timestamp"))?)
        }
        (Value::Timestamp(a), Value::Timestamp(b)) => Value::Duration(a.since(*b).ok_or_else(|| overflow("duration"))?),
        _ => return Err(Error::no_overload()),
    })
}

fn multiply<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    Ok(match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_mul(*b).ok_or_else(|| overflow("integer"))?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a.checked_mul(*b).ok_or_else(|| overflow("unsigned integer"))?),
        (Value::Double(a), Value::Double(b)) => Value::Double(a * b),
        _ => return Err(Error::no_overload()),
    })
}

fn divide<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let zero = || Error::new("division by zero");
    Ok(match (&args[0], &args[1]) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => return Err(zero()),
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_div(*b).ok_or_else(|| overflow("integer"))?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a / b),
        (Value::Double(a), Value::Double(b)) => Value::Double(a / b),
        _ => return Err(Error::no_overload()),
    })
}

fn modulo<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let zero = || Error::new("modulus by zero");
    Ok(match (&args[0], &args[1]) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => return Err(zero()),
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_rem(*b).ok_or_else(|| overflow("integer"))?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a % b),
        _ => return Err(Error::no_overload()),
    })
}

fn negate<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    Ok(match &args[0] {
        Value::Int(value) => Value::Int(value.checked_neg().ok_or_else(|| overflow("integer"))?),
        Value::Double(value) => Value::Double(-value),
        _ => return Err(Error::no_overload()),
    })
}

/// A number as an index.
fn position(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(index) => Some(*index),
        Value::Uint(index) => i64::try_from(*index).ok(),
        #[allow(clippy::cast_possible_truncation)] // it is whole
        Value::Double(index) if index.fract() == 0.0 && index.abs() < 1e15 => Some(*index as i64),
        _ => None,
    }
}

fn index<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    match &args[0] {
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => super::optionals::find(inner, &args[1]),
        target => match super::optionals::find(target, &args[1])? {
            Value::Optional(Some(found)) => Ok((*found).clone()),
            _ => Err(match (target, &args[1]) {
                (Value::List(_), index) => match position(index) {
                    Some(index) => Error::new(format!("index out of bounds: {index}")),
                    None => Error::no_overload(),
                },
                (_, Value::String(key)) => Error::no_key(key),
                (_, key) => Error::no_key(&shown(key)),
            }),
        },
    }
}

fn shown(value: &Value<'_>) -> String {
    value.to_json().map_or_else(|| "?".to_owned(), |json| json.to_string())
}

/// An element, if the index or key is there.
pub(super) fn element<'a>(target: &Value<'a>, key: &Value<'a>) -> Result<Option<Value<'a>>> {
    match target {
        Value::List(list) => {
            let index = position(key).ok_or_else(Error::no_overload)?;
            usize::try_from(index).map_or(Ok(None), |index| list.get(index))
        }
        Value::Map(map) => map.get(key),
        _ => Err(Error::no_overload()),
    }
}

fn within<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    Ok(Value::Bool(match &args[1] {
        Value::List(list) => holds(list, &args[0])?,
        Value::Map(map) => map.get(&args[0])?.is_some(),
        _ => return Err(Error::no_overload()),
    }))
}

fn holds<'a>(list: &List<'a>, wanted: &Value<'a>) -> Result<bool> {
    for index in 0..list.len() {
        if list.get(index)?.is_some_and(|value| value.equals(wanted)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn size<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    match &args[0] {
        value @ (Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_)) => {
            Ok(Value::Int(value.size().cast_signed()))
        }
        _ => Err(Error::no_overload()),
    }
}

fn insert<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let Value::Map(held) = &args[0] else { return Err(Error::no_overload()) };
    let mut pairs = pairs(held)?;
    let more = match args {
        [_, Value::Map(more)] => self::pairs(more)?,
        [_, key, value] => vec![(key.clone(), value.clone())],
        _ => return Err(Error::no_overload()),
    };
    for (key, value) in more {
        if pairs.iter().any(|(held, _)| held.equals(&key)) {
            return Err(Error::new(format!("insert failed: key {} already exists", shown(&key))));
        }
        pairs.push((key, value));
    }
    Ok(Value::Map(Map::Made(Rc::new(pairs))))
}

fn pairs<'a>(map: &Map<'a>) -> Result<Vec<(Value<'a>, Value<'a>)>> {
    match map {
        Map::Made(pairs) => Ok((**pairs).clone()),
        other => {
            other.keys().into_iter().map(|key| Ok((key.clone(), other.get(&key)?.unwrap_or(Value::Null)))).collect()
        }
    }
}
