//! kubectl's dialect: `.spec.replicas`, `{.items[*].metadata.name}`, `.status.conditions[?(@.type=="Ready")].status`.

use super::filter::{Filter, quoted};
use super::{Cursor, MAX_RESULTS, ParseError};
use serde_json::Value;

/// A compiled path.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Path {
    steps: Vec<Step>,
}

#[derive(Clone, PartialEq, Debug)]
enum Step {
    /// `.name`, `['name']`, `['a','b']`
    Fields(Vec<String>),
    /// `[0]`, `[-1]`, `[0,2]`
    Indexes(Vec<i64>),
    /// `[1:3]`, `[::2]`
    Slice(Option<i64>, Option<i64>, i64),
    /// `*`, `[*]`
    Each,
    /// `..`: this value and all below.
    Descend,
    /// `[?(...)]`
    Where(Box<Filter>),
}

impl Path {
    /// Compiles a path; braces around it may be left out, and so may the first dot.
    ///
    /// # Errors
    /// If the text is not a path of this dialect.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let trimmed = text.trim();
        let inner = match trimmed.strip_prefix('{') {
            Some(inner) => inner.strip_suffix('}').ok_or_else(|| Cursor::new(text).error("unclosed action"))?,
            None => trimmed,
        };
        let inner = inner.trim();
        let mut cursor = Cursor::new(inner);
        if !cursor.eat("$") {
            cursor.eat("@");
        }
        let mut path = Self::default();
        if cursor.peek().is_some_and(|c| !matches!(c, '.' | '[')) {
            path.steps.push(name(&mut cursor)?);
        }
        path.steps.extend(Self::steps(&mut cursor)?.steps);
        if cursor.peek().is_some() {
            return Err(cursor.error(format!("unrecognized character in action: {:?}", cursor.peek().unwrap_or(' '))));
        }
        Ok(path)
    }

    /// Reads steps until something that is none.
    pub(super) fn steps(cursor: &mut Cursor<'_>) -> Result<Self, ParseError> {
        let mut steps = Vec::new();
        loop {
            if cursor.eat("..") {
                steps.push(Step::Descend);
                if cursor.peek() != Some('[') {
                    steps.push(name(cursor)?);
                }
            } else if cursor.eat(".") {
                // A lone dot is the value itself, and `.[0]` is `[0]`.
                if cursor.peek().is_some_and(|c| c != '[' && !ends_name(c)) {
                    steps.push(name(cursor)?);
                }
            } else if cursor.eat("[") {
                steps.push(bracket(cursor)?);
            } else {
                return Ok(Self { steps });
            }
        }
    }

    /// All values that the path leads to, in order; at most [`MAX_RESULTS`]. What is missing on the way yields nothing.
    pub fn select<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        let mut values = vec![root];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in values {
                step.select(root, value, &mut next);
                if next.len() >= MAX_RESULTS {
                    next.truncate(MAX_RESULTS);
                    break;
                }
            }
            values = next;
        }
        values
    }

    /// The first value that the path leads to.
    pub fn first<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        // Paths of fields only are most of what there is, and need no list.
        let mut at = root;
        for step in &self.steps {
            let Step::Fields(names) = step else { return self.select(root).first().copied() };
            let [name] = names.as_slice() else { return self.select(root).first().copied() };
            at = at.as_object()?.get(name)?;
        }
        Some(at)
    }

    /// The names, if the path is one of plain fields (`.spec.replicas`), as selectable fields and scale paths must be.
    pub fn fields(&self) -> Option<Vec<&str>> {
        self.steps
            .iter()
            .map(|step| match step {
                Step::Fields(names) if names.len() == 1 => Some(names[0].as_str()),
                _ => None,
            })
            .collect()
    }
}

impl Step {
    fn select<'a>(&self, root: &'a Value, value: &'a Value, out: &mut Vec<&'a Value>) {
        match (self, value) {
            (Self::Fields(names), Value::Object(map)) => out.extend(names.iter().filter_map(|name| map.get(name))),
            (Self::Indexes(indexes), Value::Array(list)) => {
                out.extend(indexes.iter().filter_map(|index| list.get(position(*index, list.len())?)));
            }
            (Self::Slice(from, to, by), Value::Array(list)) => {
                let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
                let bound = |at: i64| if at < 0 { at.saturating_add(length) } else { at }.clamp(0, length);
                let (from, to) = (bound(from.unwrap_or(0)), bound(to.unwrap_or(length)));
                let by = usize::try_from(*by).unwrap_or(1).max(1);
                if let (Ok(from), Ok(to)) = (usize::try_from(from), usize::try_from(to))
                    && from < to
                {
                    out.extend(list[from..to].iter().step_by(by));
                }
            }
            (Self::Each, Value::Array(list)) => out.extend(list),
            (Self::Each, Value::Object(map)) => out.extend(map.values()),
            (Self::Descend, value) => descend(value, out),
            (Self::Where(filter), Value::Array(list)) => {
                out.extend(list.iter().filter(|element| filter.passes(root, element)));
            }
            (Self::Where(filter), Value::Object(map)) => {
                out.extend(map.values().filter(|element| filter.passes(root, element)));
            }
            _ => {}
        }
    }
}

fn descend<'a>(value: &'a Value, out: &mut Vec<&'a Value>) {
    if out.len() >= MAX_RESULTS {
        return;
    }
    out.push(value);
    match value {
        Value::Object(map) => map.values().for_each(|value| descend(value, out)),
        Value::Array(list) => list.iter().for_each(|value| descend(value, out)),
        _ => {}
    }
}

/// A negative index counts from the end.
pub(super) fn position(index: i64, length: usize) -> Option<usize> {
    let at = if index < 0 { index.checked_add(i64::try_from(length).ok()?)? } else { index };
    usize::try_from(at).ok().filter(|at| *at < length)
}

fn ends_name(c: char) -> bool {
    c.is_whitespace() || ".[](){},=!<>|\"'".contains(c)
}

/// A name after a dot: up to a character that ends it; a backslash takes the meaning from the next.
fn name(cursor: &mut Cursor<'_>) -> Result<Step, ParseError> {
    let mut text = String::new();
    while let Some(c) = cursor.peek().filter(|c| !ends_name(*c)) {
        cursor.next();
        if c == '\\' {
            text.push(cursor.next().ok_or_else(|| cursor.error("a backslash with nothing behind it"))?);
        } else {
            text.push(c);
        }
    }
    match text.as_str() {
        "" => Err(cursor.error("expected a field name")),
        "*" => Ok(Step::Each),
        _ => Ok(Step::Fields(vec![text])),
    }
}

/// What stands in brackets, whose opening one was read.
fn bracket(cursor: &mut Cursor<'_>) -> Result<Step, ParseError> {
    cursor.space();
    let step = match cursor.peek() {
        Some('*') => {
            cursor.next();
            Step::Each
        }
        Some('?') => {
            cursor.next();
            Step::Where(Box::new(Filter::parse(cursor)?))
        }
        Some('"' | '\'') => {
            let mut names = Vec::new();
            loop {
                cursor.space();
                let Some(quote @ ('"' | '\'')) = cursor.next() else { return Err(cursor.error("expected open quote")) };
                names.push(quoted(cursor, quote)?);
                cursor.space();
                if !cursor.eat(",") {
                    break;
                }
            }
            Step::Fields(names)
        }
        _ => indexes(cursor)?,
    };
    cursor.space();
    if cursor.eat("]") { Ok(step) } else { Err(cursor.error("missing close bracket")) }
}

fn indexes(cursor: &mut Cursor<'_>) -> Result<Step, ParseError> {
    let first = integer(cursor)?;
    cursor.space();
    if cursor.eat(":") {
        let to = integer(cursor)?;
        cursor.space();
        let by = if cursor.eat(":") { integer(cursor)?.unwrap_or(1) } else { 1 };
        if by <= 0 {
            return Err(cursor.error("the step of a slice must be positive"));
        }
        return Ok(Step::Slice(first, to, by));
    }
    let mut indexes = vec![first.ok_or_else(|| cursor.error("expected an index, a quoted name, * or ?"))?];
    while cursor.eat(",") {
        indexes.push(integer(cursor)?.ok_or_else(|| cursor.error("expected an index"))?);
        cursor.space();
    }
    Ok(Step::Indexes(indexes))
}

fn integer(cursor: &mut Cursor<'_>) -> Result<Option<i64>, ParseError> {
    cursor.space();
    let start = cursor.clone();
    let text = cursor.take_while(|c| c.is_ascii_digit() || c == '-');
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| start.error(format!("{text:?} is not an index")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn pod() -> Value {
        json!({
            "metadata": {"name": "web", "annotations": {"k8s.io/a": "x", "dotted.key": "y"}},
            "spec": {"replicas": 3, "containers": [{"name": "a", "image": "i1"}, {"name": "b", "image": "i2"}]},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "n": 2}, {"type": "Old", "status": "False", "n": 1}]},
        })
    }

    #[track_caller]
    fn check(path: &str, expected: Value) {
        let compiled = Path::parse(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let pod = pod();
        let found = compiled.select(&pod);
        assert_eq!(Value::from(found.iter().map(|value| (*value).clone()).collect::<Vec<_>>()), expected, "{path}");
        assert_eq!(compiled.first(&pod), found.first().copied(), "{path}");
    }

    #[test]
    fn fields_are_named_after_dots_or_in_quotes_and_braces_may_be_left_out() {
        for path in [
            ".spec.replicas",
            "{.spec.replicas}",
            "spec.replicas",
            "$.spec.replicas",
            ".spec['replicas']",
            "{ .spec.replicas }",
        ] {
            check(path, json!([3]));
        }
        check(".metadata.annotations.dotted\\.key", json!(["y"]));
        check(".metadata.annotations['k8s\\.io/a']", json!(["x"]));
        check(".metadata.annotations[\"k8s.io/a\"]", json!(["x"]));
        check(".metadata['name','annotations'].nothing", json!([]));
        check(".metadata.annotations.k8s\\.io/a", json!(["x"]));
    }

    #[test]
    fn what_is_missing_yields_nothing() {
        check(".spec.nothing.below", json!([]));
        check(".spec.containers.name", json!([]));
        check(".spec.containers[7]", json!([]));
        check(".metadata.name[0]", json!([]));
    }

    #[test]
    fn lists_are_indexed_sliced_and_walked() {
        check(".spec.containers[0].name", json!(["a"]));
        check(".spec.containers[-1].name", json!(["b"]));
        check(".spec.containers[-3].name", json!([]));
        check("{.spec.containers[*].name}", json!(["a", "b"]));
        check(".spec.containers[0,1].image", json!(["i1", "i2"]));
        check(".spec.containers[1:].name", json!(["b"]));
        check(".spec.containers[0:1].name", json!(["a"]));
        check(".spec.containers[:-1].name", json!(["a"]));
        check(".spec.containers[::2].name", json!(["a"]));
        check(".metadata.annotations.*", json!(["y", "x"]));
    }

    #[test]
    fn filters_compare_and_ask_for_existence() {
        check(".status.conditions[?(@.type==\"Ready\")].status", json!(["True"]));
        check(".status.conditions[?(@.type=='Ready')].status", json!(["True"]));
        check(".status.conditions[?(@.type != 'Ready')].status", json!(["False"]));
        check(".status.conditions[?(@.n>1)].type", json!(["Ready"]));
        check(".status.conditions[?(@.n<=2)].type", json!(["Ready", "Old"]));
        check(".status.conditions[?(@.nothing)].type", json!([]));
        check(".status.conditions[?(@.n == $.spec.replicas)].type", json!([]));
    }

    #[test]
    fn two_dots_look_everywhere_below() {
        check("..name", json!(["web", "a", "b"]));
        check("{.spec..image}", json!(["i1", "i2"]));
    }

    #[test]
    fn what_is_not_a_path_says_where() {
        for (path, at) in
            [("{.spec", 0), (".a[", 3), (".a['b", 5), (".a[0", 4), (".a[?(@.b==)]", 10), (".a b", 2), (".a[x]", 3)]
        {
            assert_eq!(Path::parse(path).unwrap_err().at, at, "{path}: {}", Path::parse(path).unwrap_err());
        }
    }

    #[test]
    fn plain_paths_tell_their_fields() {
        assert_eq!(Path::parse(".spec.replicas").unwrap().fields(), Some(vec!["spec", "replicas"]));
        assert_eq!(Path::parse(".spec.a[0]").unwrap().fields(), None);
    }

    #[test]
    fn results_are_bounded() {
        let wide = json!({"a": (0..200).map(|n| json!({"b": [n, n, n]})).collect::<Vec<_>>()});
        assert_eq!(Path::parse("{..[*]..[*]..*}").map(|path| path.select(&wide).len() <= MAX_RESULTS), Ok(true));
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "[.a*\\[\\]?(@=)'\"0-9:,{}$ \\\\-]{0,24}") {
            if let Ok(path) = Path::parse(&text) {
                let _ = path.select(&pod());
            }
        }
    }
}
