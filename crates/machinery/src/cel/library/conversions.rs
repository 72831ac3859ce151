//! Conversions between types.

use super::Row;
use crate::cel::error::Error;
use crate::cel::time::{Duration, Timestamp};
use crate::cel::value::Value;

type Result<'a> = std::result::Result<Value<'a>, Error>;

pub(super) const ROWS: &[Row] = &[
    Row { name: "bool", call: to_bool, overloads: &["bool_to_bool: (bool) bool", "string_to_bool: (string) bool"] },
    Row {
        name: "bytes",
        call: to_bytes,
        overloads: &["bytes_to_bytes: (bytes) bytes", "string_to_bytes: (string) bytes"],
    },
    Row {
        name: "double",
        call: to_double,
        overloads: &[
            "double_to_double: (double) double",
            "int64_to_double: (int) double",
            "string_to_double: (string) double",
            "uint64_to_double: (uint) double",
        ],
    },
    Row {
        name: "duration",
        call: to_duration,
        overloads: &[
            "duration_to_duration: (duration) duration",
            "int64_to_duration: (int) duration",
            "string_to_duration: (string) duration",
        ],
    },
    Row { name: "dyn", call: same, overloads: &["to_dyn: (A) dyn"] },
    Row {
        name: "int",
        call: to_int,
        overloads: &[
            "int64_to_int64: (int) int",
            "double_to_int64: (double) int",
            "duration_to_int64: (duration) int",
            "string_to_int64: (string) int",
            "timestamp_to_int64: (timestamp) int",
            "uint64_to_int64: (uint) int",
        ],
    },
    Row {
        name: "string",
        call: to_string,
        overloads: &[
            "string_to_string: (string) string",
            "bool_to_string: (bool) string",
            "bytes_to_string: (bytes) string",
            "double_to_string: (double) string",
            "duration_to_string: (duration) string",
            "int64_to_string: (int) string",
            "timestamp_to_string: (timestamp) string",
            "uint64_to_string: (uint) string",
            "ip_to_string: (ip) string",
            "cidr_to_string: (cidr) string",
        ],
    },
    Row {
        name: "timestamp",
        call: to_timestamp,
        overloads: &[
            "timestamp_to_timestamp: (timestamp) timestamp",
            "int64_to_timestamp: (int) timestamp",
            "string_to_timestamp: (string) timestamp",
        ],
    },
    Row { name: "type", call: type_of, overloads: &["type: (A) type(A)"] },
    Row {
        name: "uint",
        call: to_uint,
        overloads: &[
            "uint64_to_uint64: (uint) uint",
            "double_to_uint64: (double) uint",
            "int64_to_uint64: (int) uint",
            "string_to_uint64: (string) uint",
        ],
    },
];

fn same<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(args[0].clone())
}

fn type_of<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Type(args[0].ty()))
}

fn bad(kind: &str) -> Error {
    Error::new(format!("type conversion error from 'string' to '{kind}'"))
}

fn to_bool<'a>(args: &[Value<'a>]) -> Result<'a> {
    match &args[0] {
        Value::Bool(value) => Ok(Value::Bool(*value)),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
            _ => Err(bad("bool")),
        },
        _ => Err(Error::no_overload()),
    }
}

fn to_bytes<'a>(args: &[Value<'a>]) -> Result<'a> {
    match &args[0] {
        value @ Value::Bytes(_) => Ok(value.clone()),
        Value::String(text) => Ok(Value::Bytes(text.as_bytes().into())),
        _ => Err(Error::no_overload()),
    }
}

#[allow(clippy::cast_precision_loss)] // as the language has it
fn to_double<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Double(match &args[0] {
        Value::Double(value) => *value,
        Value::Int(value) => *value as f64,
        Value::Uint(value) => *value as f64,
        Value::String(text) => text.parse().map_err(|_| bad("double"))?,
        _ => return Err(Error::no_overload()),
    }))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // the range is looked at first
fn to_int<'a>(args: &[Value<'a>]) -> Result<'a> {
    let overflow = || Error::new("integer overflow");
    Ok(Value::Int(match &args[0] {
        Value::Int(value) => *value,
        Value::Uint(value) => i64::try_from(*value).map_err(|_| overflow())?,
        Value::Double(value) if *value > i64::MIN as f64 && *value < i64::MAX as f64 => *value as i64,
        Value::Double(_) => return Err(overflow()),
        Value::Duration(duration) => duration.0,
        Value::Timestamp(time) => time.seconds,
        Value::String(text) => text.parse().map_err(|_| bad("int"))?,
        _ => return Err(Error::no_overload()),
    }))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // looked at first
fn to_uint<'a>(args: &[Value<'a>]) -> Result<'a> {
    let overflow = || Error::new("unsigned integer overflow");
    Ok(Value::Uint(match &args[0] {
        Value::Uint(value) => *value,
        Value::Int(value) => u64::try_from(*value).map_err(|_| overflow())?,
        Value::Double(value) if *value >= 0.0 && *value < u64::MAX as f64 => *value as u64,
        Value::Double(_) => return Err(overflow()),
        Value::String(text) => text.parse().map_err(|_| bad("uint"))?,
        _ => return Err(Error::no_overload()),
    }))
}

fn to_string<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(match &args[0] {
        value @ Value::String(_) => value.clone(),
        Value::Bool(value) => Value::text(value.to_string()),
        Value::Int(value) => Value::text(value.to_string()),
        Value::Uint(value) => Value::text(value.to_string()),
        Value::Double(value) => Value::text(double_text(*value)),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::text(text),
            Err(_) => return Err(Error::new("invalid UTF-8 in bytes, cannot convert to string")),
        },
        Value::Duration(duration) => Value::text(duration.to_string()),
        Value::Timestamp(time) => Value::text(time.to_string()),
        Value::Ip(ip) => Value::text(ip.to_string()),
        Value::Cidr(ip, bits) => Value::text(format!("{ip}/{bits}")),
        _ => return Err(Error::no_overload()),
    })
}

/// As Go's `%g` prints it.
pub(super) fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let exponent = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    if (-4.0..21.0).contains(&exponent) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |rest| ("-", rest));
    format!("{digits}e{sign}{exponent:0>2}")
}

fn to_duration<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Duration(match &args[0] {
        Value::Duration(duration) => *duration,
        Value::Int(nanos) => Duration(*nanos),
        Value::String(text) => Duration::parse(text).ok_or_else(|| bad("duration"))?,
        _ => return Err(Error::no_overload()),
    }))
}

fn to_timestamp<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Timestamp(match &args[0] {
        Value::Timestamp(time) => *time,
        Value::Int(seconds) => Timestamp::new(*seconds, 0).ok_or_else(|| Error::new("timestamp overflow"))?,
        Value::String(text) => Timestamp::parse(text).ok_or_else(|| bad("timestamp"))?,
        _ => return Err(Error::no_overload()),
    }))
}
