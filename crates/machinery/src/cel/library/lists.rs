//! Functions of lists and sets.

use super::Row;
use super::strings::int;
use crate::cel::error::Error;
use crate::cel::time::Duration;
use crate::cel::value::{List, Value};
use std::cmp::Ordering;

type Result<'a> = std::result::Result<Value<'a>, Error>;

/// Elements of `lists.range`.
const RANGE_MAX: i64 = 1_000_000;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "isSorted",
        call: is_sorted,
        overloads: &[
            "list_int_is_sorted_bool: list(int).() bool",
            "list_uint_is_sorted_bool: list(uint).() bool",
            "list_double_is_sorted_bool: list(double).() bool",
            "list_bool_is_sorted_bool: list(bool).() bool",
            "list_duration_is_sorted_bool: list(duration).() bool",
            "list_timestamp_is_sorted_bool: list(timestamp).() bool",
            "list_string_is_sorted_bool: list(string).() bool",
            "list_bytes_is_sorted_bool: list(bytes).() bool",
        ],
    },
    Row {
        name: "sum",
        call: sum,
        overloads: &[
            "list_int_sum_int: list(int).() int",
            "list_uint_sum_uint: list(uint).() uint",
            "list_double_sum_double: list(double).() double",
            "list_duration_sum_duration: list(duration).() duration",
        ],
    },
    Row {
        name: "max",
        call: |args| extreme(args, Ordering::Greater, "max"),
        overloads: &[
            "list_int_max_int: list(int).() int",
            "list_uint_max_uint: list(uint).() uint",
            "list_double_max_double: list(double).() double",
            "list_bool_max_bool: list(bool).() bool",
            "list_duration_max_duration: list(duration).() duration",
            "list_timestamp_max_timestamp: list(timestamp).() timestamp",
            "list_string_max_string: list(string).() string",
            "list_bytes_max_bytes: list(bytes).() bytes",
        ],
    },
    Row {
        name: "min",
        call: |args| extreme(args, Ordering::Less, "min"),
        overloads: &[
            "list_int_min_int: list(int).() int",
            "list_uint_min_uint: list(uint).() uint",
            "list_double_min_double: list(double).() double",
            "list_bool_min_bool: list(bool).() bool",
            "list_duration_min_duration: list(duration).() duration",
            "list_timestamp_min_timestamp: list(timestamp).() timestamp",
            "list_string_min_string: list(string).() string",
            "list_bytes_min_bytes: list(bytes).() bytes",
        ],
    },
    Row { name: "slice", call: slice, overloads: &["list_slice: list(T).(int, int) list(T)"] },
    Row {
        name: "flatten",
        call: flatten,
        overloads: &["list_flatten: list(list(T)).() list(T)", "list_flatten_int: list(dyn).(int) list(dyn)"],
    },
    Row {
        name: "sort",
        call: sort,
        overloads: &[
            "list_int_sort: list(int).() list(int)",
            "list_uint_sort: list(uint).() list(uint)",
            "list_double_sort: list(double).() list(double)",
            "list_bool_sort: list(bool).() list(bool)",
            "list_duration_sort: list(duration).() list(duration)",
            "list_timestamp_sort: list(timestamp).() list(timestamp)",
            "list_string_sort: list(string).() list(string)",
            "list_bytes_sort: list(bytes).() list(bytes)",
        ],
    },
    Row {
        name: "@sortByAssociatedKeys",
        call: sort_by_keys,
        overloads: &[
            "list_int_sortByAssociatedKeys: list(T).(list(int)) list(T)",
            "list_uint_sortByAssociatedKeys: list(T).(list(uint)) list(T)",
            "list_double_sortByAssociatedKeys: list(T).(list(double)) list(T)",
            "list_bool_sortByAssociatedKeys: list(T).(list(bool)) list(T)",
            "list_duration_sortByAssociatedKeys: list(T).(list(duration)) list(T)",
            "list_timestamp_sortByAssociatedKeys: list(T).(list(timestamp)) list(T)",
            "list_string_sortByAssociatedKeys: list(T).(list(string)) list(T)",
            "list_bytes_sortByAssociatedKeys: list(T).(list(bytes)) list(T)",
        ],
    },
    Row { name: "lists.range", call: range, overloads: &["lists_range: (int) list(int)"] },
    Row { name: "reverse", call: reverse, overloads: &["list_reverse: list(T).() list(T)"] },
    Row { name: "distinct", call: distinct, overloads: &["list_distinct: list(T).() list(T)"] },
    Row { name: "sets.contains", call: contains, overloads: &["list_sets_contains_list: (list(T), list(T)) bool"] },
    Row {
        name: "sets.equivalent",
        call: equivalent,
        overloads: &["list_sets_equivalent_list: (list(T), list(T)) bool"],
    },
    Row {
        name: "sets.intersects",
        call: intersects,
        overloads: &["list_sets_intersects_list: (list(T), list(T)) bool"],
    },
];

fn list<'v, 'a>(args: &'v [Value<'a>], index: usize) -> std::result::Result<&'v List<'a>, Error> {
    match args.get(index) {
        Some(Value::List(list)) => Ok(list),
        _ => Err(Error::no_overload()),
    }
}

fn ordered(a: &Value<'_>, b: &Value<'_>) -> std::result::Result<Ordering, Error> {
    a.compare(b).ok_or_else(Error::no_overload)
}

fn is_sorted<'a>(args: &[Value<'a>]) -> Result<'a> {
    let values = list(args, 0)?.values()?;
    for pair in values.windows(2) {
        if ordered(&pair[0], &pair[1])?.is_gt() {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(args: &[Value<'a>]) -> Result<'a> {
    let values = list(args, 0)?.values()?;
    let Some(first) = values.first() else { return Ok(Value::Int(0)) };
    let mut total = match first {
        Value::Int(_) => Value::Int(0),
        Value::Uint(_) => Value::Uint(0),
        Value::Double(_) => Value::Double(0.0),
        Value::Duration(_) => Value::Duration(Duration(0)),
        _ => return Err(Error::no_overload()),
    };
    let add = super::function("_+_").expect("addition is in the library").call;
    for value in values {
        total = add(&[total, value])?;
    }
    Ok(total)
}

fn extreme<'a>(args: &[Value<'a>], wanted: Ordering, name: &str) -> Result<'a> {
    let mut values = list(args, 0)?.values()?.into_iter();
    let mut best = values.next().ok_or_else(|| Error::new(format!("{name} called on empty list")))?;
    for value in values {
        if ordered(&value, &best)? == wanted {
            best = value;
        }
    }
    Ok(best)
}

pub(super) fn index_of<'a>(list: &List<'a>, wanted: &Value<'a>, last: bool) -> Result<'a> {
    let values = list.values()?;
    let mut found = values.iter().enumerate().filter(|(_, value)| value.equals(wanted)).map(|(index, _)| index);
    let found = if last { found.next_back() } else { found.next() };
    Ok(Value::Int(found.map_or(-1, |index| index as i64)))
}

fn slice<'a>(args: &[Value<'a>]) -> Result<'a> {
    let values = list(args, 0)?.values()?;
    let (start, end) = (int(args, 1)?, int(args, 2)?);
    if start < 0 || end < 0 {
        let why = format!("cannot slice({start}, {end}), negative indexes not supported");
        return Err(Error::new(why));
    }
    if start > end {
        return Err(Error::new(format!(
            "cannot slice({start}, {end}), start index must be less than or equal to end index"
        )));
    }
    let (from, to) = (usize::try_from(start).unwrap_or(usize::MAX), usize::try_from(end).unwrap_or(usize::MAX));
    match values.get(from..to) {
        Some(part) => Ok(Value::list(part.to_vec())),
        None => Err(Error::new(format!("cannot slice({start}, {end}), list is length {}", values.len()))),
    }
}

fn flatten<'a>(args: &[Value<'a>]) -> Result<'a> {
    let depth = if args.len() > 1 { int(args, 1)? } else { 1 };
    if depth < 0 {
        return Err(Error::new("level must be non-negative"));
    }
    let mut values = list(args, 0)?.values()?;
    for _ in 0..depth {
        let mut flat = Vec::with_capacity(values.len());
        let mut any = false;
        for value in values {
            match value {
                Value::List(inner) => {
                    any = true;
                    flat.extend(inner.values()?);
                }
                other => flat.push(other),
            }
        }
        values = flat;
        if !any {
            break;
        }
    }
    Ok(Value::list(values))
}

/// Sorts by keys; what has no order is an error.
fn sorted<'a>(mut pairs: Vec<(Value<'a>, Value<'a>)>) -> Result<'a> {
    for pair in pairs.windows(2) {
        ordered(&pair[0].0, &pair[1].0)?;
    }
    pairs.sort_by(|(a, _), (b, _)| a.compare(b).unwrap_or(Ordering::Equal));
    Ok(Value::list(pairs.into_iter().map(|(_, value)| value).collect()))
}

fn sort<'a>(args: &[Value<'a>]) -> Result<'a> {
    sorted(list(args, 0)?.values()?.into_iter().map(|value| (value.clone(), value)).collect())
}

fn sort_by_keys<'a>(args: &[Value<'a>]) -> Result<'a> {
    let keys = list(args, 1)?.values()?;
    sorted(keys.into_iter().zip(list(args, 0)?.values()?).collect())
}

fn range<'a>(args: &[Value<'a>]) -> Result<'a> {
    let count = int(args, 0)?;
    if count > RANGE_MAX {
        return Err(Error::TooCostly);
    }
    Ok(Value::list((0..count).map(Value::Int).collect()))
}

fn reverse<'a>(args: &[Value<'a>]) -> Result<'a> {
    let mut values = list(args, 0)?.values()?;
    values.reverse();
    Ok(Value::list(values))
}

fn distinct<'a>(args: &[Value<'a>]) -> Result<'a> {
    let mut out: Vec<Value<'a>> = Vec::new();
    for value in list(args, 0)?.values()? {
        if !out.iter().any(|held| held.equals(&value)) {
            out.push(value);
        }
    }
    Ok(Value::list(out))
}

fn all_in(of: &[Value<'_>], within: &[Value<'_>]) -> bool {
    of.iter().all(|value| within.iter().any(|held| held.equals(value)))
}

fn contains<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Bool(all_in(&list(args, 1)?.values()?, &list(args, 0)?.values()?)))
}

fn equivalent<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (a, b) = (list(args, 0)?.values()?, list(args, 1)?.values()?);
    Ok(Value::Bool(all_in(&a, &b) && all_in(&b, &a)))
}

fn intersects<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (a, b) = (list(args, 0)?.values()?, list(args, 1)?.values()?);
    Ok(Value::Bool(a.iter().any(|value| b.iter().any(|held| held.equals(value)))))
}
