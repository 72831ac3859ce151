//! Walks over one or two objects by their schema: which fields there are, what differs, what a merge or a removal
//! gives.

use super::fieldset::{FieldSet, Node, field_step};
use super::place::{Kind, Place};
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// What differs between two objects.
#[derive(Default, Debug)]
pub(super) struct Difference {
    pub(super) added: FieldSet,
    pub(super) removed: FieldSet,
    pub(super) modified: FieldSet,
}

impl Difference {
    /// Without fields that the endpoint ignores.
    pub(super) fn without(self, reset: &FieldSet) -> Self {
        if reset.is_empty() {
            return self;
        }
        Self {
            added: self.added.recursive_difference(reset),
            removed: self.removed.recursive_difference(reset),
            modified: self.modified.recursive_difference(reset),
        }
    }
}

/// The same as nodes, while walking.
#[derive(Default)]
struct Nodes {
    added: Node,
    removed: Node,
    modified: Node,
}

/// Compares two whole objects; `metadata.managedFields` does not count.
pub(super) fn compare(before: &Map<String, Value>, after: &Map<String, Value>, root: Place<'_>) -> Difference {
    let mut nodes = Nodes::default();
    compare_maps(Some(before), Some(after), root, &mut nodes);
    Difference { added: nodes.added.below, removed: nodes.removed.below, modified: nodes.modified.below }
}

fn compare_values(before: Option<&Value>, after: Option<&Value>, place: Place<'_>) -> Nodes {
    let mut nodes = Nodes::default();
    let kind = |value: Option<&Value>| value.filter(|value| !value.is_null()).map(|value| place.kind(value));
    match (kind(before), kind(after)) {
        (Some(a), Some(b)) if a != b => {
            // A map became a scalar, or the reverse: what was inside went, what is inside came.
            nodes.modified.member = true;
            compare_inside(a, before, None, place, &mut nodes);
            compare_inside(b, None, after, place, &mut nodes);
        }
        (Some(kind), _) | (None, Some(kind)) => compare_inside(kind, before, after, place, &mut nodes),
        (None, None) => {}
    }
    match (before, after) {
        (None, _) => nodes.added.member = true,
        (_, None) => nodes.removed.member = true,
        _ => {}
    }
    nodes
}

/// Both values, where present and not null, are of this kind.
fn compare_inside(kind: Kind, before: Option<&Value>, after: Option<&Value>, place: Place<'_>, nodes: &mut Nodes) {
    let empty = |value: Option<&Value>| match value {
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        _ => true,
    };
    // Empty and null are told apart as leaves.
    let leaf = kind == Kind::Leaf || (empty(before) && empty(after));
    if leaf {
        if let (Some(before), Some(after)) = (before, after) {
            nodes.modified.member |= !same(before, after);
        }
        return;
    }
    if kind == Kind::Map {
        compare_maps(before.and_then(Value::as_object), after.and_then(Value::as_object), place, nodes);
        return;
    }
    if before == after {
        return;
    }
    let (left, right) = (elements(before), elements(after));
    let (Some(left_steps), Some(right_steps)) = (steps(left, place), steps(right, place)) else {
        // Elements that cannot be told apart: the list is one thing.
        nodes.modified.member |= before.is_some() && after.is_some();
        return;
    };
    compare_elements(group(left_steps, left), group(right_steps, right), place.items(), nodes);
}

fn compare_maps(
    before: Option<&Map<String, Value>>,
    after: Option<&Map<String, Value>>,
    place: Place<'_>,
    nodes: &mut Nodes,
) {
    zip(before, after, |name, before, after| {
        if place.is_metadata() && name == "managedFields" {
            return;
        }
        if let (Some(a), Some(b)) = (before, after)
            && is_scalar(a)
            && a == b
        {
            return;
        }
        let child = compare_values(before, after, place.field(name).place);
        nodes.added.below.push_sorted(|| field_step(name), child.added);
        nodes.removed.below.push_sorted(|| field_step(name), child.removed);
        nodes.modified.below.push_sorted(|| field_step(name), child.modified);
    });
}

type Groups<'a> = Vec<(Box<str>, Vec<&'a Value>)>;

/// Elements that have the same step are one thing: such a group is compared as a whole, and owned without its inside.
fn compare_elements(left: Groups<'_>, right: Groups<'_>, items: Place<'_>, nodes: &mut Nodes) {
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let before = if order == Ordering::Greater { None } else { left.next() };
        let after = if order == Ordering::Less { None } else { right.next() };
        let (step, before, after) = match (before, after) {
            (Some((step, before)), Some((_, after))) => (step, before, after),
            (Some((step, before)), None) => (step, before, Vec::new()),
            (None, Some((step, after))) => (step, Vec::new(), after),
            (None, None) => return,
        };
        let mut child = match (before.as_slice(), after.as_slice()) {
            (before @ ([] | [_]), after @ ([] | [_])) => {
                compare_values(before.first().copied(), after.first().copied(), items)
            }
            ([_, _, ..], [_, _, ..]) => {
                let equal = before.len() == after.len() && before.iter().zip(&after).all(|(a, b)| same(a, b));
                Nodes { modified: Node { member: !equal, below: FieldSet::new() }, ..Nodes::default() }
            }
            ([_, _, ..], after) => {
                let mut child = after.first().map_or_else(Nodes::default, |one| compare_values(None, Some(one), items));
                child.removed.member = true;
                child
            }
            (before, [_, _, ..]) => {
                let mut child =
                    before.first().map_or_else(Nodes::default, |one| compare_values(Some(one), None, items));
                child.added.member = true;
                child
            }
        };
        let added = std::mem::take(&mut child.added);
        let removed = std::mem::take(&mut child.removed);
        nodes.added.below.push_sorted(|| step.clone(), added);
        nodes.removed.below.push_sorted(|| step.clone(), removed);
        nodes.modified.below.push_sorted(|| step, child.modified);
    }
}

/// Every field that an object says something of.
pub(super) fn fields_of(object: &Map<String, Value>, root: Place<'_>) -> FieldSet {
    fields_of_map(object, root)
}

fn fields_of_map(map: &Map<String, Value>, place: Place<'_>) -> FieldSet {
    let mut set = FieldSet::new();
    for (name, value) in map {
        let field = place.field(name);
        let mut node = fields_of_value(value, field.place);
        node.member |= value.is_null() || value.as_object().is_some_and(Map::is_empty) || !field.declared;
        set.push_sorted(|| field_step(name), node);
    }
    set
}

fn fields_of_value(value: &Value, place: Place<'_>) -> Node {
    let leaf = Node { member: true, below: FieldSet::new() };
    match place.kind(value) {
        Kind::Leaf => leaf,
        Kind::Map => {
            let below = value.as_object().map(|map| fields_of_map(map, place)).unwrap_or_default();
            Node { member: false, below }
        }
        Kind::Keyed | Kind::Set => {
            let list = elements(Some(value));
            let Some(steps) = steps(list, place) else { return leaf };
            let mut below = FieldSet::new();
            for (step, same) in group(steps, list) {
                let mut node = match same.as_slice() {
                    [one] => fields_of_value(one, place.items()),
                    _ => Node::default(),
                };
                node.member = true;
                below.push_sorted(|| step, node);
            }
            Node { member: false, below }
        }
    }
}

/// `config` laid over `live`.
pub(super) fn merge(live: &Map<String, Value>, config: &Map<String, Value>, root: Place<'_>) -> Map<String, Value> {
    merge_maps(live, config, root)
}

fn merge_maps(live: &Map<String, Value>, config: &Map<String, Value>, place: Place<'_>) -> Map<String, Value> {
    let mut merged = Map::new();
    zip(Some(live), Some(config), |name, live, config| {
        let value = match (live, config) {
            (Some(live), Some(config)) => merge_values(live, config, place.field(name).place),
            (Some(only), None) | (None, Some(only)) => only.clone(),
            (None, None) => return,
        };
        merged.insert(name.to_owned(), value);
    });
    merged
}

fn merge_values(live: &Value, config: &Value, place: Place<'_>) -> Value {
    let kind = place.kind(live);
    match (live, config) {
        // A null over a map or list that is owned piece by piece says nothing of the pieces.
        (Value::Object(map), Value::Null) if kind == Kind::Map && !map.is_empty() => live.clone(),
        (Value::Array(list), Value::Null) if kind != Kind::Leaf && !list.is_empty() => live.clone(),
        (Value::Object(live), Value::Object(config)) if kind == Kind::Map => {
            if live.is_empty() && config.is_empty() {
                return Map::new().into();
            }
            merge_maps(live, config, place).into()
        }
        (Value::Array(live), Value::Array(config)) if kind != Kind::Leaf => merge_lists(live, config, place),
        _ => config.clone(),
    }
}

/// Elements of the config come in the config's order; the others keep their place among their neighbours.
fn merge_lists(live: &[Value], config: &[Value], place: Place<'_>) -> Value {
    let (Some(left), Some(right)) = (steps(live, place), steps(config, place)) else {
        return config.to_vec().into();
    };
    let items = place.items();
    // Where each step is in the live list; `None` if it is there more than once, so that there is no one to merge with.
    let mut held: HashMap<&str, Option<usize>> = HashMap::with_capacity(left.len());
    for (at, step) in left.iter().enumerate() {
        held.entry(step).and_modify(|at| *at = None).or_insert(Some(at));
    }
    let wanted: HashSet<&str> = right.iter().map(|step| &**step).collect();
    let mut shared = right.iter().filter(|step| held.contains_key(&***step)).peekable();
    let mut done: HashSet<&str> = HashSet::with_capacity(right.len());
    let mut merged = Vec::with_capacity(left.len().max(right.len()));
    let combine = |at: usize| match held.get(&*right[at]) {
        Some(Some(live_at)) => merge_values(&live[*live_at], &config[at], items),
        _ => config[at].clone(),
    };
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if l < left.len() && r < right.len() {
            let step = &left[l];
            if *step == right[r] {
                done.insert(step);
                merged.push(combine(r));
                (l, r) = (l + 1, r + 1);
                shared.next();
                continue;
            }
            if wanted.contains(&**step) && shared.peek().is_some_and(|next| *next != step) {
                // It is emitted where the config has it.
                l += 1;
                continue;
            }
        }
        if l < left.len() {
            let step = &left[l];
            if !wanted.contains(&**step) {
                merged.push(live[l].clone());
                l += 1;
                continue;
            }
            if done.contains(&**step) {
                l += 1;
            }
        }
        if r < right.len() {
            let step = &right[r];
            done.insert(step);
            merged.push(combine(r));
            r += 1;
            if shared.peek() == Some(&step) {
                shared.next();
            }
        }
    }
    merged.into()
}

/// What becomes of a map or list of which a removal leaves nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Emptied {
    /// It goes too.
    Goes,
    /// It stays as null, which still is a field that somebody may own.
    IsNull,
}

/// `object` without the fields of `gone`.
pub(super) fn remove(
    object: &Map<String, Value>,
    gone: &FieldSet,
    root: Place<'_>,
    emptied: Emptied,
) -> Map<String, Value> {
    remove_from_map(object, gone, root, emptied)
}

fn remove_from_map(
    map: &Map<String, Value>,
    gone: &FieldSet,
    place: Place<'_>,
    emptied: Emptied,
) -> Map<String, Value> {
    let kept = map.iter().filter_map(|(name, value)| {
        let value = match gone.get(&field_step(name)) {
            None => value.clone(),
            Some(node) if node.member => return None,
            Some(node) => remove_from_value(value, &node.below, place.field(name).place, emptied)?,
        };
        Some((name.clone(), value))
    });
    kept.collect()
}

fn remove_from_value(value: &Value, gone: &FieldSet, place: Place<'_>, emptied: Emptied) -> Option<Value> {
    let nothing = || (emptied == Emptied::IsNull).then_some(Value::Null);
    match (place.kind(value), value) {
        (Kind::Map, Value::Object(map)) if !map.is_empty() => {
            let kept = remove_from_map(map, gone, place, emptied);
            if kept.is_empty() { nothing() } else { Some(kept.into()) }
        }
        (Kind::Keyed | Kind::Set, Value::Array(list)) if !list.is_empty() => {
            let Some(steps) = steps(list, place) else { return Some(value.clone()) };
            let kept: Vec<Value> = steps
                .iter()
                .zip(list)
                .filter_map(|(step, element)| match gone.get(step) {
                    None => Some(element.clone()),
                    Some(node) if node.member => None,
                    Some(node) => remove_from_value(element, &node.below, place.items(), Emptied::Goes),
                })
                .collect();
            if kept.is_empty() { nothing() } else { Some(kept.into()) }
        }
        _ => Some(value.clone()),
    }
}

/// Puts the empty maps of `config` back into `object`, where a removal emptied and dropped them.
pub(super) fn restore_empty(object: &mut Map<String, Value>, config: &Map<String, Value>) {
    for (name, wanted) in config {
        let Value::Object(wanted) = wanted else { continue };
        match object.get_mut(name) {
            Some(Value::Object(held)) => restore_empty(held, wanted),
            None if wanted.is_empty() => drop(object.insert(name.clone(), Map::new().into())),
            _ => {}
        }
    }
}

/// Equal as values: numbers by what they are, not by how they are written.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.is_f64() != b.is_f64() && a.as_f64() == b.as_f64()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((ka, a), (kb, b))| ka == kb && same(a, b))
        }
        _ => a == b,
    }
}

/// Visits the keys of both maps in order.
fn zip<'a>(
    a: Option<&'a Map<String, Value>>,
    b: Option<&'a Map<String, Value>>,
    mut each: impl FnMut(&'a str, Option<&'a Value>, Option<&'a Value>),
) {
    let (mut a, mut b) = (a.into_iter().flatten().peekable(), b.into_iter().flatten().peekable());
    loop {
        let order = match (a.peek(), b.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let left = if order == Ordering::Greater { None } else { a.next() };
        let right = if order == Ordering::Less { None } else { b.next() };
        let Some(name) = left.or(right).map(|(name, _)| name) else { return };
        each(name, left.map(|(_, value)| value), right.map(|(_, value)| value));
    }
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Object(_) | Value::Array(_))
}

fn elements(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The step of each element; `None` if one has none.
fn steps(list: &[Value], place: Place<'_>) -> Option<Vec<Box<str>>> {
    list.iter().map(|element| place.step(element).ok()).collect()
}

/// Elements by step, sorted; within a step in the order of the list.
fn group(steps: Vec<Box<str>>, list: &[Value]) -> Groups<'_> {
    let mut sorted: Vec<(Box<str>, &Value)> = steps.into_iter().zip(list).collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut groups: Groups<'_> = Vec::with_capacity(sorted.len());
    for (step, value) in sorted {
        match groups.last_mut() {
            Some((last, held)) if *last == step => held.push(value),
            _ => groups.push((step, vec![value])),
        }
    }
    groups
}

/// Fields that nobody owns: what an object is and what the server alone writes.
static IDENTITY: LazyLock<FieldSet> = LazyLock::new(|| {
    FieldSet::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// The set without what nobody owns.
pub(super) fn without_identity(set: &FieldSet) -> FieldSet {
    set.difference(&IDENTITY)
}
