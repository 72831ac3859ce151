//! Optional values.

use super::Row;
use super::operators::element;
use crate::cel::error::Error;
use crate::cel::value::{List, Value};

type Result<'a> = std::result::Result<Value<'a>, Error>;

pub(super) const ROWS: &[Row] = &[
    Row { name: "optional.of", call: of, overloads: &["optional_of: (V) optional(V)"] },
    Row { name: "optional.ofNonZeroValue", call: non_zero, overloads: &["optional_ofNonZeroValue: (V) optional(V)"] },
    Row { name: "optional.none", call: none, overloads: &["optional_none: () optional(V)"] },
    Row { name: "value", call: value, overloads: &["optional_value: optional(V).() V"] },
    Row { name: "hasValue", call: has_value, overloads: &["optional_hasValue: optional(V).() bool"] },
    Row { name: "or", call: or, overloads: &["optional_or_optional: optional(V).(optional(V)) optional(V)"] },
    Row { name: "orValue", call: or_value, overloads: &["optional_orValue_value: optional(V).(V) V"] },
    Row { name: "_?._", call: select, overloads: &["select_optional_field: (dyn, string) optional(V)"] },
    Row {
        name: "_[?_]",
        call: index,
        overloads: &[
            "list_optindex_optional_int: (list(V), int) optional(V)",
            "optional_list_optindex_optional_int: (optional(list(V)), int) optional(V)",
            "map_optindex_optional_value: (map(K, V), K) optional(V)",
            "optional_map_optindex_optional_value: (optional(map(K, V)), K) optional(V)",
        ],
    },
    Row { name: "first", call: first, overloads: &["list_first: list(V).() optional(V)"] },
    Row { name: "last", call: last, overloads: &["list_last: list(V).() optional(V)"] },
    Row { name: "optional.unwrap", call: unwrap, overloads: &["optional_unwrap: (list(optional(V))) list(V)"] },
    Row { name: "unwrapOpt", call: unwrap, overloads: &["optional_unwrapOpt: list(optional(V)).() list(V)"] },
];

fn of<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::some(args[0].clone()))
}

fn non_zero<'a>(args: &[Value<'a>]) -> Result<'a> {
    let zero = match &args[0] {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Int(value) => *value == 0,
        Value::Uint(value) => *value == 0,
        Value::Double(value) => *value == 0.0,
        Value::String(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(list) => list.len() == 0,
        Value::Map(map) => map.len() == 0,
        Value::Duration(duration) => duration.0 == 0,
        _ => false,
    };
    Ok(if zero { Value::Optional(None) } else { Value::some(args[0].clone()) })
}

fn none<'a>(_: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Optional(None))
}

fn value<'a>(args: &[Value<'a>]) -> Result<'a> {
    match &args[0] {
        Value::Optional(Some(inner)) => Ok((**inner).clone()),
        Value::Optional(None) => Err(Error::new("optional.none() dereference")),
        _ => Err(Error::no_overload()),
    }
}

fn has_value<'a>(args: &[Value<'a>]) -> Result<'a> {
    match &args[0] {
        Value::Optional(inner) => Ok(Value::Bool(inner.is_some())),
        _ => Err(Error::no_overload()),
    }
}

fn or<'a>(args: &[Value<'a>]) -> Result<'a> {
    match &args[0] {
        Value::Optional(None) => Ok(args[1].clone()),
        some @ Value::Optional(_) => Ok(some.clone()),
        _ => Err(Error::no_overload()),
    }
}

fn or_value<'a>(args: &[Value<'a>]) -> Result<'a> {
    match &args[0] {
        Value::Optional(None) => Ok(args[1].clone()),
        Value::Optional(Some(inner)) => Ok((**inner).clone()),
        _ => Err(Error::no_overload()),
    }
}

/// The element of a key or index, as an optional.
pub(super) fn find<'a>(target: &Value<'a>, key: &Value<'a>) -> Result<'a> {
    Ok(Value::Optional(element(target, key)?.map(std::rc::Rc::new)))
}

fn index<'a>(args: &[Value<'a>]) -> Result<'a> {
    match &args[0] {
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => find(inner, &args[1]),
        target => find(target, &args[1]),
    }
}

fn select<'a>(args: &[Value<'a>]) -> Result<'a> {
    match &args[0] {
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => find(inner, &args[1]),
        Value::Null => Ok(Value::Optional(None)),
        target => find(target, &args[1]),
    }
}

fn of_list<'v, 'a>(args: &'v [Value<'a>]) -> std::result::Result<&'v List<'a>, Error> {
    match &args[0] {
        Value::List(list) => Ok(list),
        _ => Err(Error::no_overload()),
    }
}

fn first<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Optional(of_list(args)?.get(0)?.map(std::rc::Rc::new)))
}

fn last<'a>(args: &[Value<'a>]) -> Result<'a> {
    let list = of_list(args)?;
    let last = list.len().checked_sub(1);
    Ok(Value::Optional(last.map(|index| list.get(index)).transpose()?.flatten().map(std::rc::Rc::new)))
}

fn unwrap<'a>(args: &[Value<'a>]) -> Result<'a> {
    let mut out = Vec::new();
    for value in of_list(args)?.values()? {
        match value {
            Value::Optional(None) => {}
            Value::Optional(Some(inner)) => out.push((*inner).clone()),
            _ => return Err(Error::no_overload()),
        }
    }
    Ok(Value::list(out))
}
