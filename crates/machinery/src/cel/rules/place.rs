//! `fieldPath` of a rule: a path from its place to a field that is declared.

use super::{Fields, object};

/// The path as causes print it; `None` if it is none, or leads to nothing that is declared.
pub(super) fn normalized(path: &str, schema: &Fields) -> Option<String> {
    let mut out = String::new();
    let mut at = schema;
    let mut rest = path;
    while !rest.is_empty() {
        let (name, after) = if let Some(after) = rest.strip_prefix("['") {
            let end = quote_end(after)?;
            (unescaped(&after[..end])?, after[end + 1..].strip_prefix(']')?)
        } else {
            let after = rest.strip_prefix('.')?;
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            if end == 0 {
                return None;
            }
            (after[..end].to_owned(), &after[end..])
        };
        if let Some(properties) = object(at, "properties") {
            at = properties.get(&name)?.as_object()?;
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(&name);
        } else {
            at = object(at, "additionalProperties")?;
            out.push_str(&format!("[{name}]"));
        }
        rest = after;
    }
    (!out.is_empty()).then_some(out)
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
