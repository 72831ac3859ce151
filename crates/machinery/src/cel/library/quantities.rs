//! Kubernetes quantities.

use super::Row;
use super::strings::text;
use crate::cel::error::Error;
use crate::cel::value::Value;
use crate::quantity::Quantity;
use std::cmp::Ordering;

type Result<'a> = std::result::Result<Value<'a>, Error>;

const NANOS: i128 = 1_000_000_000;

pub(super) const ROWS: &[Row] = &[
    Row { name: "quantity", call: quantity, overloads: &["string_to_quantity: (string) quantity"] },
    Row { name: "isQuantity", call: is_quantity, overloads: &["is_quantity_string: (string) bool"] },
    Row { name: "sign", call: sign, overloads: &["quantity_sign: quantity.() int"] },
    Row {
        name: "isGreaterThan",
        call: |args| compared(args, |order| Value::Bool(order.is_gt())),
        overloads: &[
            "quantity_is_greater_than: quantity.(quantity) bool",
            "semver_is_greater_than: semver.(semver) bool",
        ],
    },
    Row {
        name: "isLessThan",
        call: |args| compared(args, |order| Value::Bool(order.is_lt())),
        overloads: &["quantity_is_less_than: quantity.(quantity) bool", "semver_is_less_than: semver.(semver) bool"],
    },
    Row {
        name: "compareTo",
        call: |args| compared(args, |order| Value::Int(order as i64)),
        overloads: &["quantity_compare_to: quantity.(quantity) int", "semver_compare_to: semver.(semver) int"],
    },
    Row { name: "asApproximateFloat", call: as_float, overloads: &["quantity_get_float: quantity.() double"] },
    Row { name: "asInteger", call: as_integer, overloads: &["quantity_get_int: quantity.() int"] },
    Row { name: "isInteger", call: is_integer, overloads: &["quantity_is_integer: quantity.() bool"] },
    Row {
        name: "add",
        call: |args| combined(args, false),
        overloads: &["quantity_add: quantity.(quantity) quantity", "quantity_add_int: quantity.(int) quantity"],
    },
    Row {
        name: "sub",
        call: |args| combined(args, true),
        overloads: &["quantity_sub: quantity.(quantity) quantity", "quantity_sub_int: quantity.(int) quantity"],
    },
];

fn quantity<'a>(args: &[Value<'a>]) -> Result<'a> {
    let parsed: std::result::Result<Quantity, _> = text(args, 0)?.parse();
    parsed.map(Value::Quantity).map_err(|error| Error::new(error.to_string()))
}

fn is_quantity<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Bool(text(args, 0)?.parse::<Quantity>().is_ok()))
}

fn of(args: &[Value<'_>], index: usize) -> std::result::Result<Quantity, Error> {
    match args.get(index) {
        Some(Value::Quantity(quantity)) => Ok(*quantity),
        _ => Err(Error::no_overload()),
    }
}

fn sign<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Int(of(args, 0)?.nanos().signum() as i64))
}

fn compared<'a>(args: &[Value<'a>], result: fn(Ordering) -> Value<'a>) -> Result<'a> {
    if let [Value::Semver(a), Value::Semver(b)] = args {
        return Ok(result(a.compare(b)));
    }
    Ok(result(of(args, 0)?.nanos().cmp(&of(args, 1)?.nanos())))
}

#[allow(clippy::cast_precision_loss)] // it is approximate
fn as_float<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Double(of(args, 0)?.nanos() as f64 / NANOS as f64))
}

fn whole(quantity: Quantity) -> Option<i64> {
    (quantity.nanos() % NANOS == 0).then(|| i64::try_from(quantity.nanos() / NANOS).ok())?
}

fn as_integer<'a>(args: &[Value<'a>]) -> Result<'a> {
    let why = "cannot convert value to integer";
    whole(of(args, 0)?).map(Value::Int).ok_or_else(|| Error::new(why))
}

fn is_integer<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Bool(whole(of(args, 0)?).is_some()))
}

fn combined<'a>(args: &[Value<'a>], negative: bool) -> Result<'a> {
    let held = of(args, 0)?;
    let other = match args.get(1) {
        Some(Value::Int(value)) => value.to_string().parse().map_err(|_| Error::new("the number is not a quantity"))?,
        _ => of(args, 1)?,
    };
    Ok(Value::Quantity(if negative { held + other.negated() } else { held + other }))
}
