//! Paths of what a CustomTransform removes: `$` and then member names, `.name` or `["any text"]`.

use serde_json::Value;

/// A path that was read: the member names from the top of the object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Removal(Vec<String>);

/// Why a text is not such a path.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RemovalError {
    /// Not the grammar; `at` counts bytes from 0.
    #[error("syntax error at {at}: {problem}")]
    Syntax {
        /// Where.
        at: usize,
        /// What.
        problem: String,
    },
    /// `$` alone.
    #[error("it identifies the whole object")]
    Whole,
}

impl Removal {
    /// Reads a path.
    ///
    /// # Errors
    /// If it is not one, or names the whole object.
    pub fn parse(text: &str) -> Result<Self, RemovalError> {
        let mut rest = text.strip_prefix('$').ok_or_else(|| syntax(0, "missing root identifier (dollar sign)"))?;
        let mut names = Vec::new();
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            let (name, after) = if let Some(after) = rest.strip_prefix('.') {
                shorthand(after).ok_or_else(|| syntax(at + 1, "expected member-name-shorthand"))?
            } else if let Some(after) = rest.strip_prefix('[') {
                let (name, after) = quoted(after, at + 1)?;
                let close = text.len() - after.len();
                (name, after.strip_prefix(']').ok_or_else(|| syntax(close, "missing close bracket"))?)
            } else {
                return Err(syntax(at, format!("extra junk {rest:?} after last segment")));
            };
            names.push(name);
            rest = after;
        }
        if names.is_empty() { Err(RemovalError::Whole) } else { Ok(Self(names)) }
    }

    /// Removes what is there. What is not there, or lies below something that is no object, needs no removing.
    pub fn apply(&self, object: &mut Value) {
        let (last, path) = self.0.split_last().expect("a path that was read has a name");
        let mut place = object;
        for name in path {
            let Some(next) = place.get_mut(name) else { return };
            place = next;
        }
        if let Some(members) = place.as_object_mut() {
            members.remove(last);
        }
    }
}

fn syntax(at: usize, problem: impl Into<String>) -> RemovalError {
    RemovalError::Syntax { at, problem: problem.into() }
}

/// A name that needs no quotes, and what follows it.
fn shorthand(text: &str) -> Option<(String, &str)> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    let end = text.find(|c: char| !first(c) && !c.is_ascii_digit()).unwrap_or(text.len());
    let name = &text[..end];
    name.starts_with(first).then(|| (name.to_owned(), &text[end..]))
}

/// A name in double quotes, with the escapes of JSON, and what follows it.
fn quoted(text: &str, at: usize) -> Result<(String, &str), RemovalError> {
    if !text.starts_with('"') {
        return Err(syntax(at, "expected open quote"));
    }
    let mut escaped = false;
    let close = text.char_indices().skip(1).find(|(_, c)| {
        let closes = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    });
    let (close, _) = close.ok_or_else(|| syntax(at + text.len(), "missing close quote"))?;
    let name = serde_json::from_str(&text[..=close]).map_err(|cause| syntax(at, cause.to_string()))?;
    Ok((name, &text[close + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(path: &str, object: Value, expected: Value) {
        let mut object = object;
        Removal::parse(path).unwrap().apply(&mut object);
        assert_eq!(object, expected);
    }

    #[track_caller]
    fn check_error(path: &str, expected: &str) {
        assert_eq!(Removal::parse(path).unwrap_err().to_string(), expected);
    }

    #[test]
    fn removes_what_is_there() {
        check("$.a", json!({"a": 1, "b": 2}), json!({"b": 2}));
        check("$.a.b1", json!({"a": {"b1": 1, "c": 2}}), json!({"a": {"c": 2}}));
        check(
            r#"$.metadata.labels["x.io/y \"z\""]"#,
            json!({"metadata": {"labels": {"x.io/y \"z\"": "1"}}}),
            json!({"metadata": {"labels": {}}}),
        );
        check(r#"$["a"]["b"]"#, json!({"a": {"b": 1}}), json!({"a": {}}));
        check("$.x.y", json!({"a": 1}), json!({"a": 1}));
        check("$.a.b", json!({"a": [{"b": 1}]}), json!({"a": [{"b": 1}]}));
        check("$.a.b", json!({"a": null}), json!({"a": null}));
        check("$.größe", json!({"größe": 1}), json!({}));
    }

    #[test]
    fn tells_what_is_wrong() {
        check_error("", "syntax error at 0: missing root identifier (dollar sign)");
        check_error("spec", "syntax error at 0: missing root identifier (dollar sign)");
        check_error("$", "it identifies the whole object");
        check_error("$.", "syntax error at 2: expected member-name-shorthand");
        check_error("$.1a", "syntax error at 2: expected member-name-shorthand");
        check_error("$.a[*]", "syntax error at 4: expected open quote");
        check_error("$['a']", "syntax error at 2: expected open quote");
        check_error(r#"$["a"#, "syntax error at 4: missing close quote");
        check_error(r#"$["a""#, "syntax error at 5: missing close bracket");
        check_error("$.a b", "syntax error at 3: extra junk \" b\" after last segment");
    }
}
