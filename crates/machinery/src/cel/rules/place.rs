//! `fieldPath` of a rule: a path from its place to a field that is declared.

use super::{Fields, object};

/// The path as causes print it; `None` if it is none, or leads to nothing that is declared.
pub(super) fn normalized(path: &str, schema: &Fields) -> Option<String> {
    resolve(path, schema, true).ok().map(|(path, _)| path).filter(|path| !path.is_empty())
}

/// The path as causes print it, and the schema that it leads to. `keyed` says whether `['name']` may stand in it.
///
/// # Errors
/// What is wrong with it, in the stock server's words.
pub(crate) fn resolve<'s>(path: &str, schema: &'s Fields, keyed: bool) -> Result<(String, &'s Fields), String> {
    const NOWHERE: &str = "does not refer to a valid field";
    const END: &str = "unexpected end of JSON path";
    let mut out = String::new();
    let mut at = schema;
    let mut rest = path;
    while !rest.is_empty() {
        let (name, after) = if let Some(after) = rest.strip_prefix('[') {
            if !keyed {
                return Err("array notation is not allowed".into());
            }
            let quoted = after.strip_prefix('\'').and_then(|after| Some((after, quote_end(after)?)));
            let Some((inside, end)) = quoted else {
                let shown = &after[..after.find(['.', '[', ']']).unwrap_or(after.len())];
                return Err(if after.is_empty() {
                    END.into()
                } else {
                    format!("expected single quoted string but got {shown}")
                });
            };
            let name = unescaped(&inside[..end]).ok_or("invalid string literal")?;
            (name, inside[end + 1..].strip_prefix(']').ok_or(END)?)
        } else if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            if after.is_empty() {
                return Err(END.into());
            }
            (after[..end].to_owned(), &after[end..])
        } else {
            let end = rest.find(['.', '[', ']']).unwrap_or(rest.len());
            return Err(format!("expected [ or . but got: {}", &rest[..end.max(1)]));
        };
        if let Some(properties) = object(at, "properties") {
            at = properties.get(&name).and_then(|property| property.as_object()).ok_or(NOWHERE)?;
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(&name);
        } else {
            at = object(at, "additionalProperties").ok_or(NOWHERE)?;
            out.push_str(&format!("[{name}]"));
        }
        rest = after;
    }
    Ok((out, at))
}

/// Where a quoted name ends.
fn quote_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '\'' if !escaped => return Some(at),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                c @ ('\'' | '\\') => c,
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}
