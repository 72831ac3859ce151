//! Functions of text.

use super::Row;
use super::conversions::double_text;
use super::operators::bounded;
use crate::cel::error::Error;
use crate::cel::value::{Map, Value};

type Result<'a> = std::result::Result<Value<'a>, Error>;

pub(super) const ROWS: &[Row] = &[
    Row { name: "contains", call: contains, overloads: &["contains_string: string.(string) bool"] },
    Row { name: "startsWith", call: starts_with, overloads: &["starts_with_string: string.(string) bool"] },
    Row { name: "endsWith", call: ends_with, overloads: &["ends_with_string: string.(string) bool"] },
    Row { name: "charAt", call: char_at, overloads: &["string_char_at_int: string.(int) string"] },
    Row {
        name: "indexOf",
        call: index_of,
        overloads: &[
            "string_index_of_string: string.(string) int",
            "string_index_of_string_int: string.(string, int) int",
            "list_a_index_of_int: list(A).(A) int",
        ],
    },
    Row {
        name: "lastIndexOf",
        call: last_index_of,
        overloads: &[
            "string_last_index_of_string: string.(string) int",
            "string_last_index_of_string_int: string.(string, int) int",
            "list_a_last_index_of_int: list(A).(A) int",
        ],
    },
    Row { name: "lowerAscii", call: lower, overloads: &["string_lower_ascii: string.() string"] },
    Row { name: "upperAscii", call: upper, overloads: &["string_upper_ascii: string.() string"] },
    Row { name: "trim", call: trim, overloads: &["string_trim: string.() string"] },
    Row {
        name: "replace",
        call: replace,
        overloads: &[
            "string_replace_string_string: string.(string, string) string",
            "string_replace_string_string_int: string.(string, string, int) string",
        ],
    },
    Row {
        name: "split",
        call: split,
        overloads: &[
            "string_split_string: string.(string) list(string)",
            "string_split_string_int: string.(string, int) list(string)",
        ],
    },
    Row {
        name: "substring",
        call: substring,
        overloads: &["string_substring_int: string.(int) string", "string_substring_int_int: string.(int, int) string"],
    },
    Row {
        name: "join",
        call: join,
        overloads: &["list_join: list(string).() string", "list_join_string: list(string).(string) string"],
    },
    Row { name: "format", call: format, overloads: &["string_format: string.(list(dyn)) string"] },
    Row { name: "strings.quote", call: quote, overloads: &["strings_quote: (string) string"] },
    Row {
        name: "jsonpatch.escapeKey",
        call: escape_key,
        overloads: &["string_jsonpatch_escapeKey_string: (string) string"],
    },
];

/// The text of an argument.
pub(super) fn text<'v>(args: &'v [Value<'_>], index: usize) -> std::result::Result<&'v str, Error> {
    args.get(index).and_then(Value::as_str).ok_or_else(Error::no_overload)
}

/// The number of an argument.
pub(super) fn int(args: &[Value<'_>], index: usize) -> std::result::Result<i64, Error> {
    match args.get(index) {
        Some(Value::Int(value)) => Ok(*value),
        _ => Err(Error::no_overload()),
    }
}

fn contains<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Bool(text(args, 0)?.contains(text(args, 1)?)))
}

fn starts_with<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Bool(text(args, 0)?.starts_with(text(args, 1)?)))
}

fn ends_with<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Bool(text(args, 0)?.ends_with(text(args, 1)?)))
}

fn out_of_range(index: i64) -> Error {
    Error::new(format!("index out of range: {index}"))
}

fn char_at<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (text, index) = (text(args, 0)?, int(args, 1)?);
    let at = usize::try_from(index).map_err(|_| out_of_range(index))?;
    match text.chars().nth(at) {
        Some(c) => Ok(Value::text(c.to_string())),
        None if at == text.chars().count() => Ok(Value::text("")),
        None => Err(out_of_range(index)),
    }
}

fn index_of<'a>(args: &[Value<'a>]) -> Result<'a> {
    if let Value::List(list) = &args[0] {
        return super::lists::index_of(list, &args[1], false);
    }
    let (text, wanted) = (text(args, 0)?, text(args, 1)?);
    let chars: Vec<char> = text.chars().collect();
    let wanted: Vec<char> = wanted.chars().collect();
    let from = if args.len() > 2 { int(args, 2)? } else { 0 };
    let start = usize::try_from(from).map_err(|_| out_of_range(from))?;
    if wanted.is_empty() {
        return Ok(Value::Int(from));
    }
    if start >= chars.len() {
        return if args.len() > 2 { Err(out_of_range(from)) } else { Ok(Value::Int(-1)) };
    }
    let found = chars[start..].windows(wanted.len()).position(|window| window == wanted);
    Ok(Value::Int(found.map_or(-1, |at| (at + start) as i64)))
}

fn last_index_of<'a>(args: &[Value<'a>]) -> Result<'a> {
    if let Value::List(list) = &args[0] {
        return super::lists::index_of(list, &args[1], true);
    }
    let (text, wanted) = (text(args, 0)?, text(args, 1)?);
    let chars: Vec<char> = text.chars().collect();
    let wanted: Vec<char> = wanted.chars().collect();
    let upto = if args.len() > 2 { int(args, 2)? } else { chars.len() as i64 };
    let end = usize::try_from(upto).map_err(|_| out_of_range(upto))?;
    if args.len() > 2 && end >= chars.len() {
        return Err(out_of_range(upto));
    }
    if wanted.is_empty() {
        return Ok(Value::Int(upto));
    }
    let found = chars.windows(wanted.len()).enumerate().rev().find(|(at, window)| *at <= end && *window == wanted);
    Ok(Value::Int(found.map_or(-1, |(at, _)| at as i64)))
}

fn lower<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::text(text(args, 0)?.to_ascii_lowercase()))
}

fn upper<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::text(text(args, 0)?.to_ascii_uppercase()))
}

fn trim<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::text(text(args, 0)?.trim()))
}

fn replace<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (text, from, to) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
    let count = if args.len() > 3 { int(args, 3)? } else { -1 };
    let most = if from.is_empty() { text.len() + 1 } else { text.len() / from.len() };
    let most = usize::try_from(count).map_or(most, |count| count.min(most));
    bounded(text.len().saturating_add(most.saturating_mul(to.len())))?;
    Ok(Value::text(match usize::try_from(count) {
        Ok(count) => text.replacen(from, to, count),
        Err(_) => text.replace(from, to),
    }))
}

fn split<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (text, by) = (text(args, 0)?, text(args, 1)?);
    let limit = if args.len() > 2 { int(args, 2)? } else { -1 };
    let piece = |piece: &str| Value::text(piece);
    let pieces: Vec<Value<'a>> = match limit {
        0 => Vec::new(),
        _ if by.is_empty() => {
            let chars: Vec<String> = text.chars().map(String::from).collect();
            let whole = usize::try_from(limit).map_or(chars.len(), |limit| limit.min(chars.len()));
            let mut out: Vec<Value<'a>> = chars[..whole].iter().map(|c| piece(c)).collect();
            if whole < chars.len() {
                out.pop();
                out.push(Value::text(chars[whole - 1..].concat()));
            }
            out
        }
        limit if limit > 0 => text.splitn(usize::try_from(limit).unwrap_or(usize::MAX), by).map(piece).collect(),
        _ => text.split(by).map(piece).collect(),
    };
    Ok(Value::list(pieces))
}

fn substring<'a>(args: &[Value<'a>]) -> Result<'a> {
    let chars: Vec<char> = text(args, 0)?.chars().collect();
    let from = int(args, 1)?;
    let to = if args.len() > 2 { int(args, 2)? } else { chars.len() as i64 };
    let start = usize::try_from(from).ok().filter(|at| *at <= chars.len()).ok_or_else(|| out_of_range(from))?;
    let end = usize::try_from(to).ok().filter(|at| *at <= chars.len()).ok_or_else(|| out_of_range(to))?;
    if start > end {
        return Err(Error::new(format!("invalid substring range. start: {from}, end: {to}")));
    }
    Ok(Value::text(chars[start..end].iter().collect::<String>()))
}

fn join<'a>(args: &[Value<'a>]) -> Result<'a> {
    let Value::List(list) = &args[0] else { return Err(Error::no_overload()) };
    let by = if args.len() > 1 { text(args, 1)? } else { "" };
    let mut out = String::new();
    for (index, value) in list.values()?.iter().enumerate() {
        if index > 0 {
            out.push_str(by);
        }
        out.push_str(value.as_str().ok_or_else(Error::no_overload)?);
        bounded(out.len())?;
    }
    Ok(Value::text(out))
}

fn quote<'a>(args: &[Value<'a>]) -> Result<'a> {
    let mut out = String::from("\"");
    for c in text(args, 0)?.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(Value::text(out))
}

fn escape_key<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::text(text(args, 0)?.replace('~', "~0").replace('/', "~1")))
}

/// `'%s is %d'.format([..])`
fn format<'a>(args: &[Value<'a>]) -> Result<'a> {
    let template = text(args, 0)?;
    let Value::List(list) = &args[1] else { return Err(Error::no_overload()) };
    let values = list.values()?;
    let mut next = values.iter();
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    let mut used = 0;
    while let Some(c) = chars.next() {
        bounded(out.len())?;
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.peek() == Some(&'%') {
            chars.next();
            out.push('%');
            continue;
        }
        let mut precision = None;
        if chars.peek() == Some(&'.') {
            chars.next();
            let mut digits = String::new();
            while let Some(digit) = chars.peek().filter(|c| c.is_ascii_digit()) {
                digits.push(*digit);
                chars.next();
            }
            let most = 100;
            precision =
                Some(
                    digits.parse::<usize>().ok().filter(|n| *n <= most).ok_or_else(|| {
                        Error::new("error while parsing formatting clause: precision is out of range")
                    })?,
                );
        }
        let verb = chars.next().ok_or_else(|| Error::new("unexpected end of string"))?;
        let value = next.next().ok_or_else(|| Error::new(format!("index {used} out of range")))?;
        used += 1;
        out.push_str(&clause(verb, precision, value)?);
    }
    Ok(Value::text(out))
}

#[allow(clippy::cast_precision_loss)] // as the language has it
fn clause(verb: char, precision: Option<usize>, value: &Value<'_>) -> std::result::Result<String, Error> {
    let wrong = |allowed: &str| {
        let why = format!("error during formatting: {allowed} can be formatted, was given {}", value.ty());
        Error::new(why)
    };
    Ok(match (verb, value) {
        ('s', value) => shown(value).ok_or_else(|| wrong("only strings, numbers, lists, maps and the like"))?,
        ('d', Value::Int(value)) => value.to_string(),
        ('d', Value::Uint(value)) => value.to_string(),
        ('d', Value::Double(value)) => double_text(*value),
        ('f', Value::Double(value)) => format!("{value:.0$}", precision.unwrap_or(6)),
        ('f', Value::Int(value)) => format!("{:.1$}", *value as f64, precision.unwrap_or(6)),
        ('f', Value::Uint(value)) => format!("{:.1$}", *value as f64, precision.unwrap_or(6)),
        ('e', Value::Double(value)) => {
            let text = format!("{value:.0$e}", precision.unwrap_or(6));
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |rest| ("-", rest));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        ('b', Value::Int(value)) if *value < 0 => format!("-{:b}", value.unsigned_abs()),
        ('b', Value::Int(value)) => format!("{value:b}"),
        ('b', Value::Uint(value)) => format!("{value:b}"),
        ('b', Value::Bool(value)) => u8::from(*value).to_string(),
        ('o', Value::Int(value)) if *value < 0 => format!("-{:o}", value.unsigned_abs()),
        ('o', Value::Int(value)) => format!("{value:o}"),
        ('o', Value::Uint(value)) => format!("{value:o}"),
        ('x' | 'X', value) => {
            let text = match value {
                Value::Int(value) if *value < 0 => format!("-{:x}", value.unsigned_abs()),
                Value::Int(value) => format!("{value:x}"),
                Value::Uint(value) => format!("{value:x}"),
                Value::String(text) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
                Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
                _ => return Err(wrong("only integers, byte buffers, and strings")),
            };
            if verb == 'X' { text.to_uppercase() } else { text }
        }
        ('d', _) => return Err(wrong("only integers")),
        ('f' | 'e', _) => return Err(wrong("only doubles")),
        ('b', _) => return Err(wrong("only integers and bools")),
        ('o', _) => return Err(wrong("only integers")),
        (other, _) => {
            let why = format!("could not parse formatting clause: unrecognized formatting clause \"{other}\"");
            return Err(Error::new(why));
        }
    })
}

/// As `%s` prints a value.
fn shown(value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::String(text) => text.to_string(),
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => double_text(*value),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Duration(duration) => duration.to_string(),
        Value::Timestamp(time) => time.to_string(),
        Value::Type(ty) => ty.to_string(),
        Value::List(list) => {
            let parts: Option<Vec<String>> = list.values().ok()?.iter().map(shown).collect();
            format!("[{}]", parts?.join(", "))
        }
        Value::Map(map) => {
            let mut parts = Vec::new();
            for key in map.keys() {
                let value = map_value(map, &key)?;
                parts.push(format!("{}: {}", shown(&key)?, shown(&value)?));
            }
            parts.sort();
            format!("{{{}}}", parts.join(", "))
        }
        _ => return None,
    })
}

fn map_value<'a>(map: &Map<'a>, key: &Value<'a>) -> Option<Value<'a>> {
    map.get(key).ok()?
}
