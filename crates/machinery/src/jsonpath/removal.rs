//! The dialect of CustomTransforms: what to take out of an object.
//!
//! It is the original's (`$`, then `.name` or `["name"]`), and the parts of RFC 9535 that its users ask for: `.*`,
//! `[*]`, `[0]`, `[-1]`, `['name']` and `[?(@.name == "x")]`.

use super::filter::{Filter, quoted};
use super::path::position;
use super::{Cursor, ParseError};
use serde_json::Value;

/// A compiled query that removes what it leads to.
#[derive(Clone, PartialEq, Debug)]
pub struct Removal {
    segments: Vec<Segment>,
}

#[derive(Clone, PartialEq, Debug)]
enum Segment {
    Name(String),
    Index(i64),
    Each,
    Where(Box<Filter>),
}

impl Removal {
    /// Compiles a query such as `$.spec.template.metadata.labels["a/b"]`.
    ///
    /// # Errors
    /// If the text is not a query, in the words of the original.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(text);
        if !cursor.eat("$") {
            return Err(cursor.error("missing root identifier (dollar sign)"));
        }
        let mut segments = Vec::new();
        while let Some(c) = cursor.peek() {
            match c {
                '.' => {
                    cursor.next();
                    segments.push(shorthand(&mut cursor)?);
                }
                '[' => {
                    cursor.next();
                    segments.push(bracket(&mut cursor)?);
                }
                _ => return Err(cursor.error(format!("extra junk {:?} after last segment", cursor.rest()))),
            }
        }
        if segments.is_empty() {
            return Err(cursor.error("expected at least one segment"));
        }
        Ok(Self { segments })
    }

    /// Removes all that the query leads to, and says how many that were. What is missing on the way is no matter.
    pub fn remove(&self, object: &mut Value) -> usize {
        // Filters may look at the root, as it was before anything was removed.
        let root = if self.segments.iter().any(|segment| matches!(segment, Segment::Where(_))) {
            object.clone()
        } else {
            Value::Null
        };
        remove(&self.segments, object, &root)
    }
}

fn remove(segments: &[Segment], value: &mut Value, root: &Value) -> usize {
    let Some((segment, rest)) = segments.split_first() else { return 0 };
    match value {
        Value::Object(map) => match segment {
            Segment::Name(name) if rest.is_empty() => usize::from(map.remove(name).is_some()),
            Segment::Name(name) => map.get_mut(name).map_or(0, |value| remove(rest, value, root)),
            Segment::Index(_) => 0,
            Segment::Each | Segment::Where(_) => {
                let before = map.len();
                if rest.is_empty() {
                    map.retain(|_, value| !segment.admits(value, root));
                    return before - map.len();
                }
                map.values_mut()
                    .filter(|value| segment.admits(value, root))
                    .map(|value| remove(rest, value, root))
                    .sum()
            }
        },
        Value::Array(list) => match segment {
            Segment::Name(_) => 0,
            Segment::Index(index) => match position(*index, list.len()) {
                None => 0,
                Some(at) if rest.is_empty() => {
                    list.remove(at);
                    1
                }
                Some(at) => remove(rest, &mut list[at], root),
            },
            Segment::Each | Segment::Where(_) => {
                let before = list.len();
                if rest.is_empty() {
                    list.retain(|value| !segment.admits(value, root));
                    return before - list.len();
                }
                list.iter_mut().filter(|value| segment.admits(value, root)).map(|value| remove(rest, value, root)).sum()
            }
        },
        _ => 0,
    }
}

impl Segment {
    /// Whether a wildcard or filter leads to an element.
    fn admits(&self, element: &Value, root: &Value) -> bool {
        match self {
            Self::Each => true,
            Self::Where(filter) => filter.passes(root, element),
            Self::Name(_) | Self::Index(_) => false,
        }
    }
}

/// What follows a dot: a name, or a star.
fn shorthand(cursor: &mut Cursor<'_>) -> Result<Segment, ParseError> {
    if cursor.eat("*") {
        return Ok(Segment::Each);
    }
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    if !cursor.peek().is_some_and(first) {
        return Err(cursor.error("expected member-name-shorthand"));
    }
    Ok(Segment::Name(cursor.take_while(|c| first(c) || c.is_ascii_digit()).into()))
}

/// What stands in brackets, whose opening one was read.
fn bracket(cursor: &mut Cursor<'_>) -> Result<Segment, ParseError> {
    cursor.space();
    let segment = match cursor.peek() {
        Some(quote @ ('"' | '\'')) => {
            cursor.next();
            Segment::Name(quoted(cursor, quote)?)
        }
        Some('*') => {
            cursor.next();
            Segment::Each
        }
        Some('?') => {
            cursor.next();
            Segment::Where(Box::new(Filter::parse(cursor)?))
        }
        Some(c) if c.is_ascii_digit() || c == '-' => {
            let start = cursor.clone();
            let digits = cursor.take_while(|c| c.is_ascii_digit() || c == '-');
            Segment::Index(digits.parse().map_err(|_| start.error(format!("{digits:?} is not an index")))?)
        }
        _ => return Err(cursor.error("expected open quote")),
    };
    cursor.space();
    if cursor.eat("]") { Ok(segment) } else { Err(cursor.error("missing close bracket")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(query: &str, before: Value, after: Value) {
        let mut value = before;
        let query = Removal::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        query.remove(&mut value);
        assert_eq!(value, after);
        assert_eq!(query.remove(&mut value.clone()), 0, "what was removed is not there again");
    }

    #[test]
    fn names_are_removed_and_missing_ones_ignored() {
        check("$.a", json!({"a": 1, "b": 2}), json!({"b": 2}));
        check("$.a.b", json!({"a": {"b": 1, "c": 2}}), json!({"a": {"c": 2}}));
        check("$[\"a\"][\"x/y\"]", json!({"a": {"x/y": 1}}), json!({"a": {}}));
        check("$['a'].b1", json!({"a": {"b1": 1}}), json!({"a": {}}));
        check("$.x.y.z", json!({"a": 1}), json!({"a": 1}));
        check("$.a.b", json!({"a": [{"b": 1}]}), json!({"a": [{"b": 1}]}));
        check("$.ü_1", json!({"ü_1": 1}), json!({}));
        check("$[\"a\\\"b\\u0063\"]", json!({"a\"bc": 1}), json!({}));
    }

    #[test]
    fn wildcards_and_filters_lead_into_lists_and_maps() {
        check("$.l[*].x", json!({"l": [{"x": 1, "y": 2}, {"x": 3}]}), json!({"l": [{"y": 2}, {}]}));
        check("$.m.*.x", json!({"m": {"a": {"x": 1}, "b": 2}}), json!({"m": {"a": {}, "b": 2}}));
        check("$.m.*", json!({"m": {"a": 1}}), json!({"m": {}}));
        check(
            "$.l[?(@.name==\"a\")].x",
            json!({"l": [{"name": "a", "x": 1}, {"name": "b", "x": 1}]}),
            json!({"l": [{"name": "a"}, {"name": "b", "x": 1}]}),
        );
        check(
            "$.l[?@.name == 'a']",
            json!({"l": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}),
            json!({"l": [{"name": "b"}]}),
        );
        check("$.l[?(@.x)]", json!({"l": [{"x": 1}, {"y": 1}]}), json!({"l": [{"y": 1}]}));
    }

    #[test]
    fn an_index_removes_one_element() {
        let mut value = json!({"l": [1, 2, 3]});
        assert_eq!(Removal::parse("$.l[0]").unwrap().remove(&mut value), 1);
        assert_eq!(Removal::parse("$.l[-1]").unwrap().remove(&mut value), 1);
        assert_eq!(Removal::parse("$.l[9]").unwrap().remove(&mut value), 0);
        assert_eq!(value, json!({"l": [2]}));
    }

    #[test]
    fn errors_are_worded_as_in_the_original() {
        for (query, message) in [
            ("", "syntax error at 0: missing root identifier (dollar sign)"),
            ("a", "syntax error at 0: missing root identifier (dollar sign)"),
            ("$.", "syntax error at 2: expected member-name-shorthand"),
            ("$.1", "syntax error at 2: expected member-name-shorthand"),
            ("$[a]", "syntax error at 2: expected open quote"),
            ("$[\"a", "syntax error at 4: missing close quote"),
            ("$[\"a\"", "syntax error at 5: missing close bracket"),
            ("$.a b", "syntax error at 3: extra junk \" b\" after last segment"),
        ] {
            assert_eq!(Removal::parse(query).unwrap_err().to_string(), message, "{query}");
        }
    }
}
