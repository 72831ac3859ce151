//! Regular expressions.

use super::Row;
use super::strings::{int, text};
use crate::cel::error::Error;
use crate::cel::value::Value;
use crate::schema::compile_pattern;
use regex::Regex;
use std::cell::RefCell;
use std::rc::Rc;

type Result<'a> = std::result::Result<Value<'a>, Error>;

/// Compiled expressions that a thread keeps: rules use the same few again and again, and compiling one takes longer
/// than most evaluations.
const KEPT_MAX: usize = 64;

/// Bytes of a regular expression.
const PATTERN_BYTES_MAX: usize = 10_000;

thread_local! {
    static KEPT: RefCell<Vec<(String, Rc<Regex>)>> = const { RefCell::new(Vec::new()) };
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "matches",
        call: matches,
        overloads: &["matches: (string, string) bool", "matches_string: string.(string) bool"],
    },
    Row { name: "find", call: find, overloads: &["string_find_string: string.(string) string"] },
    Row {
        name: "findAll",
        call: find_all,
        overloads: &[
            "string_find_all_string: string.(string) list(string)",
            "string_find_all_string_int: string.(string, int) list(string)",
        ],
    },
];

/// A compiled expression.
pub(crate) fn compiled(source: &str) -> std::result::Result<Rc<Regex>, Error> {
    if source.len() > PATTERN_BYTES_MAX {
        return Err(Error::new(format!("error parsing regexp: longer than {PATTERN_BYTES_MAX} bytes")));
    }
    let kept = KEPT.with_borrow(|kept| kept.iter().find(|(held, _)| held == source).map(|(_, regex)| Rc::clone(regex)));
    if let Some(regex) = kept {
        return Ok(regex);
    }
    let regex = compile_pattern(source).map_err(|why| Error::new(format!("error parsing regexp: {why}")))?;
    let regex = Rc::new(regex);
    KEPT.with_borrow_mut(|kept| {
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push((source.to_owned(), Rc::clone(&regex)));
    });
    Ok(regex)
}

fn matches<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Bool(compiled(text(args, 1)?)?.is_match(text(args, 0)?)))
}

fn find<'a>(args: &[Value<'a>]) -> Result<'a> {
    let found = compiled(text(args, 1)?)?;
    Ok(Value::text(found.find(text(args, 0)?).map_or("", |found| found.as_str())))
}

fn find_all<'a>(args: &[Value<'a>]) -> Result<'a> {
    let limit = if args.len() > 2 { int(args, 2)? } else { -1 };
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let regex = compiled(text(args, 1)?)?;
    let found = regex.find_iter(text(args, 0)?).take(most).map(|found| Value::text(found.as_str()));
    Ok(Value::list(found.collect()))
}
