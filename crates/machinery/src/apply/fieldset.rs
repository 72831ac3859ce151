//! A set of fields as a trie, in the form that `fieldsV1` has.

use super::place::Place;
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::fmt::Write as _;

/// A set of field paths. Each step is kept in its canonical `fieldsV1` spelling: `f:name`, `k:{"name":"x"}`, `v:"a"`,
/// `i:0`; so reading and writing the field is mostly copying text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FieldSet {
    /// Sorted by step; no node is empty.
    nodes: Vec<(Box<str>, Node)>,
}

/// One step of a path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Node {
    /// The path that ends here is in the set.
    pub(super) member: bool,
    /// Longer paths.
    pub(super) below: FieldSet,
}

impl Node {
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

/// A `fieldsV1` that is not one; says where and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct FieldsError(String);

impl FieldSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    /// The set of these paths of plain field names: `FieldSet::of_fields(&[&["status"], &["metadata", "labels"]])`.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::new();
        for path in paths {
            let Some((last, above)) = path.split_last() else { continue };
            let mut at = &mut set;
            for name in above {
                at = &mut at.node(format!("f:{name}").into()).below;
            }
            at.node(format!("f:{last}").into()).member = true;
        }
        set
    }

    /// Reads `fieldsV1`. Steps of a kind that we do not know are left out, as the stock server does.
    ///
    /// # Errors
    /// If a member is not an object, or the value in a step is not JSON.
    pub fn from_value(value: &Value) -> Result<Self, FieldsError> {
        Ok(Node::from_value(value)?.below)
    }

    /// As `fieldsV1`.
    pub fn to_value(&self) -> Value {
        Value::Object(self.nodes.iter().map(|(step, node)| (step.to_string(), node.to_value())).collect())
    }

    /// Whether no path is in the set.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether a path of plain field names is in the set.
    pub fn contains_field(&self, path: &[&str]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        let Some(node) = self.get(&format!("f:{first}")) else { return false };
        if rest.is_empty() { node.member } else { node.below.contains_field(rest) }
    }

    /// Every path as text (`.spec.containers[name="web"].image`), those that end at a level before those that go on.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.push_paths("", &mut paths);
        paths
    }

    fn push_paths(&self, prefix: &str, out: &mut Vec<String>) {
        let steps: Vec<String> = self.nodes.iter().map(|(step, _)| format!("{prefix}{}", display_step(step))).collect();
        for (path, (_, node)) in steps.iter().zip(&self.nodes) {
            if node.member {
                out.push(path.clone());
            }
        }
        for (path, (_, node)) in steps.iter().zip(&self.nodes) {
            node.below.push_paths(path, out);
        }
    }

    /// Paths in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.combine(other, &|a, b| Node { member: a.member || b.member, below: a.below.union(&b.below) }, Keep::Both)
    }

    /// Paths in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let both = |a: &Node, b: &Node| Node { member: a.member && b.member, below: a.below.intersection(&b.below) };
        self.combine(other, &both, Keep::Neither)
    }

    /// Paths of this set that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let both = |a: &Node, b: &Node| Node { member: a.member && !b.member, below: a.below.difference(&b.below) };
        self.combine(other, &both, Keep::Left)
    }

    /// Paths of this set that neither are in `other` nor lie below one that is.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        let both = |a: &Node, b: &Node| {
            if b.member {
                return Node::default();
            }
            Node { member: a.member, below: a.below.recursive_difference(&b.below) }
        };
        self.combine(other, &both, Keep::Left)
    }

    /// Whether a path of this set is in what `fieldsV1` says, given that it was written canonically; or above one, as
    /// when a list changed as a whole that was owned piece by piece before its schema changed.
    pub(super) fn touches(&self, fields: &Map<String, Value>) -> Touch {
        let mut touch = Touch::None;
        for (step, node) in &self.nodes {
            let Some(Value::Object(held)) = fields.get(&**step) else { continue };
            let deeper = held.keys().any(|key| key != ".");
            if node.member && node.below.is_empty() && deeper {
                return Touch::Above;
            }
            if node.member && (held.is_empty() || held.contains_key(".")) {
                touch = Touch::Here;
            }
            match node.below.touches(held) {
                Touch::Above => return Touch::Above,
                Touch::Here => touch = Touch::Here,
                Touch::None => {}
            }
        }
        touch
    }

    /// Takes the paths of `self` out of what `fieldsV1` says, given that it was written canonically.
    pub(super) fn subtract_from(&self, fields: &mut Map<String, Value>) {
        for (step, node) in &self.nodes {
            let Some(Value::Object(held)) = fields.get_mut(&**step) else { continue };
            let was_member = held.is_empty() || held.contains_key(".");
            let member = was_member && !node.member;
            held.remove(".");
            node.below.subtract_from(held);
            if held.is_empty() {
                if !member {
                    fields.remove(&**step);
                }
            } else if member {
                held.insert(".".into(), Map::new().into());
            }
        }
    }

    /// Adds the paths of `self` to what `fieldsV1` says, given that it was written canonically.
    pub(super) fn add_to(&self, fields: &mut Map<String, Value>) {
        for (step, node) in &self.nodes {
            let Some(Value::Object(held)) = fields.get_mut(&**step) else {
                fields.insert(step.to_string(), node.to_value());
                continue;
            };
            let member = node.member || held.is_empty() || held.contains_key(".");
            held.remove(".");
            node.below.add_to(held);
            if member && !held.is_empty() {
                held.insert(".".into(), Map::new().into());
            }
        }
    }

    /// With each declared field on the way to a path as a path of its own: `a.b[k].c` adds `a` and `a.b`.
    pub(super) fn with_named_fields(&self, place: Place<'_>) -> Self {
        let nodes = self.nodes.iter().map(|(step, node)| {
            let (below, declared) = match step.strip_prefix("f:") {
                Some(name) => {
                    let field = place.field(name);
                    (field.place, field.declared)
                }
                None => (place.items(), false),
            };
            let member = node.member || (declared && !node.below.is_empty());
            (step.clone(), Node { member, below: node.below.with_named_fields(below) })
        });
        Self { nodes: nodes.collect() }
    }

    /// With what lies below atomic maps and lists folded into these, for a schema that became coarser since.
    pub(super) fn fold_atomic(&mut self, place: Place<'_>) {
        for (step, node) in &mut self.nodes {
            let below = match step.strip_prefix("f:") {
                Some(name) => place.field(name).place,
                None => place.items(),
            };
            if node.below.is_empty() {
                continue;
            }
            if below.is_atomic() {
                *node = Node { member: true, below: Self::new() };
            } else {
                node.below.fold_atomic(below);
            }
        }
    }

    pub(super) fn get(&self, step: &str) -> Option<&Node> {
        let at = self.nodes.binary_search_by(|(held, _)| (**held).cmp(step)).ok()?;
        Some(&self.nodes[at].1)
    }

    /// Adds a node whose step is greater than all others; empty nodes are left out.
    pub(super) fn push_sorted(&mut self, step: impl FnOnce() -> Box<str>, node: Node) {
        if !node.is_empty() {
            let step = step();
            debug_assert!(self.nodes.last().is_none_or(|(last, _)| *last < step));
            self.nodes.push((step, node));
        }
    }

    /// The node of a step, made if absent.
    pub(super) fn node(&mut self, step: Box<str>) -> &mut Node {
        let at = match self.nodes.binary_search_by(|(held, _)| held.cmp(&step)) {
            Ok(at) => at,
            Err(at) => {
                self.nodes.insert(at, (step, Node::default()));
                at
            }
        };
        &mut self.nodes[at].1
    }

    fn combine(&self, other: &Self, both: &dyn Fn(&Node, &Node) -> Node, keep: Keep) -> Self {
        let mut nodes = Vec::with_capacity(self.nodes.len());
        let (mut left, mut right) = (self.nodes.iter().peekable(), other.nodes.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return Self { nodes },
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.0.cmp(&b.0),
            };
            match order {
                Ordering::Less => {
                    let one = left.next().expect("peeked");
                    if keep != Keep::Neither {
                        nodes.push(one.clone());
                    }
                }
                Ordering::Greater => {
                    let one = right.next().expect("peeked");
                    if keep == Keep::Both {
                        nodes.push(one.clone());
                    }
                }
                Ordering::Equal => {
                    let (a, b) = (left.next().expect("peeked"), right.next().expect("peeked"));
                    let node = both(&a.1, &b.1);
                    if !node.is_empty() {
                        nodes.push((a.0.clone(), node));
                    }
                }
            }
        }
    }
}

/// What a combination keeps of the steps that only one side has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Both,
    Left,
    Neither,
}

/// What a change has to do with fields that somebody owns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Touch {
    None,
    Here,
    /// The change is of a whole of which they own parts.
    Above,
}

impl Node {
    fn to_value(&self) -> Value {
        let mut below = self.below.to_value();
        if self.member
            && !self.below.is_empty()
            && let Value::Object(map) = &mut below
        {
            map.insert(".".into(), Map::new().into());
        }
        below
    }

    fn from_value(value: &Value) -> Result<Self, FieldsError> {
        let Value::Object(map) = value else {
            return Err(FieldsError(format!("expected an object, got {value}")));
        };
        let mut node = Self { member: false, below: FieldSet { nodes: Vec::with_capacity(map.len()) } };
        for (step, value) in map {
            if step == "." {
                node.member = true;
                continue;
            }
            let Some(step) = canonical_step(step)? else { continue };
            let mut child = Self::from_value(value)?;
            child.member |= child.below.is_empty();
            let held = node.below.node(step);
            // Two spellings of one step are rare.
            let below = if held.is_empty() { child.below } else { held.below.union(&child.below) };
            *held = Self { member: held.member || child.member, below };
        }
        Ok(node)
    }
}

/// The one spelling of a step; `None` for a kind of step that is not known.
fn canonical_step(step: &str) -> Result<Option<Box<str>>, FieldsError> {
    let bad = |error: &dyn std::fmt::Display| FieldsError(format!("bad path element {step:?}: {error}"));
    let Some((kind, rest)) = step.split_once(':') else {
        return Err(bad(&"key without a type prefix"));
    };
    Ok(match kind {
        "f" => Some(step.into()),
        "k" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).map_err(|error| bad(&error))?;
            Some(key_step(keys.iter().map(|(name, value)| (name.as_str(), value))))
        }
        "v" => {
            let value: Value = serde_json::from_str(rest).map_err(|error| bad(&error))?;
            Some(value_step(&value))
        }
        "i" => {
            let index: i64 = rest.parse().map_err(|error| bad(&error))?;
            Some(format!("i:{index}").into())
        }
        _ => None,
    })
}

/// `f:name`
pub(super) fn field_step(name: &str) -> Box<str> {
    let mut step = String::with_capacity(name.len() + 2);
    step.push_str("f:");
    step.push_str(name);
    step.into()
}

/// `k:{"a":1,"b":"x"}`; keys must come sorted by name.
pub(super) fn key_step<'a>(keys: impl Iterator<Item = (&'a str, &'a Value)>) -> Box<str> {
    let mut step = String::with_capacity(32);
    step.push_str("k:{");
    for (at, (name, value)) in keys.enumerate() {
        if at > 0 {
            step.push(',');
        }
        push_text(&mut step, name);
        step.push(':');
        push_json(&mut step, value);
    }
    step.push('}');
    step.into()
}

/// `v:"x"`
pub(super) fn value_step(value: &Value) -> Box<str> {
    let mut step = String::with_capacity(16);
    step.push_str("v:");
    push_json(&mut step, value);
    step.into()
}

fn push_json(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => push_text(out, text),
        // A whole number has one spelling, however it was sent: 80 and 80.0 are the same port.
        Value::Number(number) => match number.as_f64() {
            #[allow(clippy::cast_possible_truncation)] // bounded to where every integer is exact
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => {
                let _ = write!(out, "{}", float as i64);
            }
            _ => {
                let _ = write!(out, "{number}");
            }
        },
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

fn push_text(out: &mut String, text: &str) {
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).expect("text always serialises"));
    }
}

/// `.name`, `[name="web",port=80]`, `[="x"]`, `[0]`
pub(super) fn display_step(step: &str) -> String {
    let (kind, rest) = step.split_once(':').unwrap_or(("f", step));
    match kind {
        "k" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        "v" => format!("[={rest}]"),
        "i" => format!("[{rest}]"),
        _ => format!(".{rest}"),
    }
}
