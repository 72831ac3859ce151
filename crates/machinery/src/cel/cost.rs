//! What expressions cost: counted while they run, and estimated before. The figures are part of the API: which rules a
//! CRD may have depends on them.

use super::ast::{ACCUMULATOR, Comprehension, Expr, Id, Kind, Literal};
use super::check::Checked;
use super::types::{self, Decl, Type};
use super::value::Value;
use std::collections::HashMap;

/// Of going through text once, for each character.
const TEXT: f64 = 0.1;
/// Of a character of a regular expression, for each unit of the text.
const PATTERN: f64 = 0.25;
/// Of asking the authorizer.
const CHECK: u64 = 350_000;
/// The largest regular expression of a named format.
const FORMAT_PATTERN: f64 = 128.0;

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // saturates
fn scaled(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// Of a call with these arguments.
pub(crate) fn of_call(function: &str, args: &[Value<'_>]) -> u64 {
    let size = |index: usize| args.get(index).map_or(0, Value::size);
    match function {
        "check" => CHECK,
        "fieldSelector" | "labelSelector" => selector(Range::exactly(size(1))).max,
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => args.first().map_or(0, traversal),
        "url"
        | "lowerAscii"
        | "upperAscii"
        | "substring"
        | "trim"
        | "jsonpatch.escapeKey"
        | "cidr"
        | "isIP"
        | "isCIDR"
        | "quantity"
        | "isQuantity"
        | "semver"
        | "isSemver"
        | "startsWith"
        | "endsWith"
        | "format" => scaled(size(if matches!(function, "startsWith" | "endsWith") { 1 } else { 0 }), TEXT),
        "ip" => match args.first() {
            Some(Value::Cidr(..)) => 1,
            _ => scaled(size(0), TEXT),
        },
        "replace" | "split" | "ip.isCanonical" => scaled(size(0), 2.0 * TEXT),
        "join" => 0,
        "find" | "findAll" | "matches" => scaled(size(0) + 1, TEXT) * scaled(size(1), PATTERN),
        "containsIP" => scaled(size(0) * 2, TEXT) + other_text(args),
        "containsCIDR" => scaled(size(0) * 2, TEXT) + scaled(size(0), TEXT) + 1 + other_text(args),
        "validate" => {
            let pattern = match args.first() {
                Some(Value::Format(format)) => format.pattern_size,
                _ => 0,
            };
            scaled(size(1) + 1, TEXT) * scaled(pattern, PATTERN)
        }
        "@in" => match args.get(1) {
            Some(Value::List(list)) => list.len() as u64,
            _ => 1,
        },
        "_==_" | "_!=_" => match args.first() {
            Some(
                Value::Quantity(_)
                | Value::Ip(_)
                | Value::Cidr(..)
                | Value::Format(_)
                | Value::Url(_)
                | Value::Semver(_)
                | Value::Access(_),
            ) => 1,
            _ => scaled(size(0).min(size(1)), TEXT),
        },
        "_<_" | "_<=_" | "_>_" | "_>=_" => match args.first() {
            Some(Value::String(_) | Value::Bytes(_)) => scaled(size(0).min(size(1)), TEXT),
            _ => 1,
        },
        "_+_" => match args.first() {
            Some(Value::String(_) | Value::Bytes(_)) => scaled(size(0) + size(1), TEXT),
            _ => 1,
        },
        "contains" => scaled(size(0), TEXT) * scaled(size(1), TEXT),
        "string" | "bytes" if matches!(args.first(), Some(Value::String(_) | Value::Bytes(_))) => scaled(size(0), TEXT),
        // Those that compare each element with each other.
        "sets.contains" | "sets.intersects" | "distinct" => {
            let other = if args.len() > 1 { size(1) } else { size(0) };
            1 + size(0).saturating_mul(other)
        }
        "sets.equivalent" => 1 + size(0).saturating_mul(size(1)).saturating_mul(2),
        "sort" | "@sortByAssociatedKeys" | "reverse" | "flatten" | "slice" => 1 + size(0),
        "lists.range" => match args.first() {
            Some(Value::Int(count)) => 1 + u64::try_from(*count).unwrap_or(0),
            _ => 1,
        },
        _ => 1,
    }
}

/// Of what is only known when it is done.
pub(crate) fn of_result(function: &str, result: &Value<'_>) -> u64 {
    if function == "join" { scaled(result.size(), 2.0 * TEXT) } else { 0 }
}

fn other_text(args: &[Value<'_>]) -> u64 {
    match args.get(1) {
        Some(text @ Value::String(_)) => scaled(text.size(), TEXT),
        _ => 0,
    }
}

/// Of going through all of a value.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // small
fn traversal(value: &Value<'_>) -> u64 {
    match value {
        Value::String(text) => (text.len() as f64 * TEXT) as u64,
        Value::Bytes(bytes) => (bytes.len() as f64 * TEXT) as u64,
        Value::List(list) => list.values().map_or(1, |values| values.iter().map(traversal).sum()),
        _ => 1,
    }
}

/// A size or a cost: the least and the most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Range {
    const UNKNOWN: Self = Self { min: 0, max: u64::MAX };
    const NONE: Self = Self { min: 0, max: 0 };

    const fn exactly(value: u64) -> Self {
        Self { min: value, max: value }
    }

    fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    fn scaled(self, factor: f64) -> Self {
        Self { min: scaled(self.min, factor), max: scaled(self.max, factor) }
    }

    fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// Of reading a selector: text, and what it is read into.
fn selector(length: Range) -> Range {
    // A requirement is at least two characters, and about as much work as making a map entry.
    length.scaled(TEXT).plus(length.scaled(0.5).times(Range::exactly(1)))
}

/// The size of keys and of values of a list or map.
#[derive(Clone, Copy, Debug)]
struct Entries {
    list: bool,
    key: Range,
    value: Range,
}

impl Entries {
    fn union(self, other: Self) -> Self {
        Self { list: self.list, key: self.key.union(other.key), value: self.value.union(other.value) }
    }
}

#[derive(Clone, Debug)]
struct Local {
    name: Box<str>,
    path: Vec<Box<str>>,
    size: Option<Range>,
    entries: Option<Entries>,
}

/// The most that an expression can cost. `root` is what is declared of the first step of every path; without it sizes of
/// data are unknown.
pub(crate) fn estimate(checked: &Checked, root: Option<&Decl>) -> Range {
    let mut estimator = Estimator {
        checked,
        root,
        paths: HashMap::new(),
        sizes: HashMap::new(),
        entries: HashMap::new(),
        locals: Vec::new(),
    };
    estimator.cost(&checked.root)
}

struct Estimator<'e> {
    checked: &'e Checked,
    root: Option<&'e Decl>,
    paths: HashMap<Id, Vec<Box<str>>>,
    sizes: HashMap<Id, Range>,
    entries: HashMap<Id, Entries>,
    locals: Vec<Local>,
}

/// What a call costs, and how large its result is if that is known.
type Cost = (Range, Option<Range>);

impl Estimator<'_> {
    fn ty(&self, expr: &Expr) -> &Type {
        self.checked.types.get(expr.id as usize).unwrap_or(&Type::Dyn)
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| &*local.name == name)
    }

    fn path(&self, expr: &Expr) -> Vec<Box<str>> {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().unwrap_or_default()
    }

    fn below(&self, expr: &Expr, step: &str) -> Vec<Box<str>> {
        let mut path = self.path(expr);
        path.push(step.into());
        path
    }

    /// How large the data at a path can be.
    fn declared(&self, path: &[Box<str>]) -> Option<Range> {
        let (first, steps) = path.split_first()?;
        if &**first == ACCUMULATOR {
            return None;
        }
        let mut at = self.root?;
        for step in steps {
            at = match &**step {
                "@items" | "@values" => at.elem.as_ref()?,
                // Keys are text, of which nothing is declared.
                "@keys" => {
                    return matches!(at.ty, Type::Map(..)).then_some(Range::NONE);
                }
                name => at.record()?.field(name)?,
            };
        }
        Some(Range { min: 0, max: at.max })
    }

    fn size(&mut self, expr: &Expr) -> Option<Range> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        let inline = match &expr.kind {
            Kind::Literal(Literal::String(text)) => Some(text.chars().count()),
            Kind::Literal(Literal::Bytes(bytes)) => Some(bytes.len()),
            Kind::Literal(_) => Some(1),
            Kind::List(elements) => Some(elements.len()),
            Kind::Map(pairs) => Some(pairs.len()),
            _ => None,
        };
        if let Some(size) = inline {
            return Some(Range::exactly(size as u64));
        }
        if let Some(size) = self.declared(&self.path(expr)) {
            self.sizes.insert(expr.id, size);
            return Some(size);
        }
        if self.ty(expr).is_scalar() {
            return Some(Range::exactly(1));
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    fn size_or_unknown(&mut self, expr: &Expr) -> Range {
        self.size(expr).unwrap_or(Range::UNKNOWN)
    }

    fn entries(&self, expr: &Expr) -> Option<Entries> {
        self.entries.get(&expr.id).copied().or_else(|| match &expr.kind {
            Kind::Ident(name) => self.local(name)?.entries,
            _ => None,
        })
    }

    /// The size of the elements of a list.
    fn element_size(&mut self, list: &Expr) -> Range {
        let path = self.below(list, "@items");
        if path.len() < 2 {
            return Range::UNKNOWN;
        }
        self.declared(&path).unwrap_or(Range::UNKNOWN)
    }

    fn cost(&mut self, expr: &Expr) -> Range {
        match &expr.kind {
            Kind::Literal(_) => Range::NONE,
            Kind::Ident(name) => {
                let path = self.local(name).map_or_else(|| vec![name.clone()], |local| local.path.clone());
                self.paths.insert(expr.id, path);
                Range::exactly(1)
            }
            Kind::Select { operand, test: true, .. } => self.cost(operand),
            Kind::Select { operand, field, .. } => {
                let mut sum = self.cost(operand);
                if matches!(self.ty(operand), Type::Map(..) | Type::Object(_) | Type::Param(_)) {
                    sum = sum.plus(Range::exactly(1));
                }
                let path = self.below(operand, field);
                self.paths.insert(expr.id, path);
                sum
            }
            Kind::Call { function, member, args } => self.call(expr, function, *member, args),
            Kind::List(elements) => {
                let mut sum = Range::exactly(10);
                let mut item = Range { min: if elements.is_empty() { 0 } else { u64::MAX }, max: 0 };
                for element in elements {
                    sum = sum.plus(self.cost(&element.value));
                    item = item.union(self.size_or_unknown(&element.value));
                }
                self.entries.insert(expr.id, Entries { list: true, key: Range::exactly(1), value: item });
                sum
            }
            Kind::Map(pairs) => {
                let mut sum = Range::exactly(30);
                let least = if pairs.is_empty() { 0 } else { u64::MAX };
                let (mut key, mut value) = (Range { min: least, max: 0 }, Range { min: least, max: 0 });
                for pair in pairs {
                    sum = sum.plus(self.cost(&pair.key)).plus(self.cost(&pair.value));
                    key = key.union(self.size_or_unknown(&pair.key));
                    value = value.union(self.size_or_unknown(&pair.value));
                }
                self.entries.insert(expr.id, Entries { list: false, key, value });
                sum
            }
            Kind::Struct { fields, .. } => {
                fields.iter().fold(Range::exactly(40), |sum, field| sum.plus(self.cost(&field.value)))
            }
            Kind::Comprehension(fold) if is_bind(fold) => self.bind(expr, fold),
            Kind::Comprehension(fold) => self.fold(expr, fold),
        }
    }

    fn bind(&mut self, expr: &Expr, fold: &Comprehension) -> Range {
        let sum = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.push_value(&fold.accumulator, &fold.init);
        let sum = sum.plus(self.cost(&fold.result));
        self.locals.pop();
        if let Some(size) = self.size(&fold.result) {
            self.sizes.insert(expr.id, size);
        }
        if let Some(entries) = self.entries(&fold.result) {
            self.entries.insert(expr.id, entries);
        }
        sum
    }

    fn push_value(&mut self, name: &str, value: &Expr) {
        let (path, size, entries) = (self.path(value), self.size(value), self.entries(value));
        self.locals.push(Local { name: name.into(), path, size, entries });
    }

    fn push_variable(&mut self, name: &str, range: &Expr, value: bool) {
        let entries = self.entries(range);
        let list = entries.map_or_else(|| matches!(self.ty(range), Type::List(_)), |entries| entries.list);
        let step = match (list, value) {
            (true, true) => "@items",
            (true, false) => "@indices",
            (false, true) => "@values",
            (false, false) => "@keys",
        };
        let size = entries.map(|entries| if value { entries.value } else { entries.key });
        let path = self.below(range, step);
        self.locals.push(Local { name: name.into(), path, size, entries: None });
    }

    fn fold(&mut self, expr: &Expr, fold: &Comprehension) -> Range {
        let mut sum = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.push_value(&fold.accumulator, &fold.init);
        let depth = self.locals.len();
        match &fold.second {
            Some(second) => {
                self.push_variable(&fold.variable, &fold.range, false);
                self.push_variable(second, &fold.range, true);
            }
            None => {
                let entries = self.entries(&fold.range);
                let list =
                    entries.map_or_else(|| matches!(self.ty(&fold.range), Type::List(_)), |entries| entries.list);
                self.push_variable(&fold.variable, &fold.range, list);
            }
        }
        let condition = self.cost(&fold.condition);
        let step = self.cost(&fold.step);
        self.locals.truncate(depth);
        sum = sum.plus(self.cost(&fold.result));
        self.locals.pop();
        let count = self.size_or_unknown(&fold.range);
        match fold.init.kind {
            Kind::Literal(_) => {
                if let Some(size) = self.size(&fold.init) {
                    self.sizes.insert(expr.id, size);
                }
            }
            Kind::List(_) | Kind::Map(_) => {
                self.sizes.insert(expr.id, count);
                if let Some(entries) = self.entries(&fold.step) {
                    self.entries.insert(expr.id, entries);
                }
            }
            _ => {}
        }
        sum.plus(count.times(step.plus(condition)))
    }

    fn call(&mut self, expr: &Expr, function: &str, member: bool, args: &[Expr]) -> Range {
        if function == "dyn"
            && let [arg] = args
        {
            let cost = self.cost(arg).plus(Range::exactly(1));
            if let Some(size) = self.size(arg) {
                self.sizes.insert(expr.id, size);
            }
            if let Some(entries) = self.entries(arg) {
                self.entries.insert(expr.id, entries);
            }
            return cost;
        }
        let checked = self.checked;
        let Some(overloads) = checked.overloads.get(&expr.id).filter(|list| !list.is_empty()) else {
            return Range::NONE;
        };
        let costs: Vec<Range> = args.iter().map(|arg| self.cost(arg)).collect();
        let sum = |costs: &[Range]| costs.iter().fold(Range::NONE, |sum, cost| sum.plus(*cost));
        let mut total = Range { min: u64::MAX, max: 0 };
        let mut result: Option<Range> = None;
        for overload in overloads {
            let (cost, size) = match self.decided(expr, overload, args, &costs) {
                Some(decided) => decided,
                None => {
                    let (cost, size) = self.function(function, overload, member, args, expr);
                    (cost.plus(sum(&costs)), size)
                }
            };
            total = total.union(cost);
            if let Some(size) = size {
                result = Some(result.map_or(size, |held| held.union(size)));
            }
            if matches!(*overload, "index_list" | "index_map") {
                result = self.entries(&args[0]).map(|entries| entries.value);
                let path = self.below(&args[0], if *overload == "index_list" { "@items" } else { "@values" });
                self.paths.insert(expr.id, path);
            }
            if result.is_none() {
                result = self.size(expr);
            }
        }
        if let Some(size) = result {
            self.sizes.insert(expr.id, size);
        }
        total
    }

    /// Operators that do not pay for all of their arguments.
    fn decided(&mut self, expr: &Expr, overload: &str, args: &[Expr], costs: &[Range]) -> Option<Cost> {
        match (overload, costs) {
            ("logical_and" | "logical_or", [left, right]) => {
                Some((Range { min: left.min, max: left.max.saturating_add(right.max) }, None))
            }
            ("conditional", [condition, yes, no]) => {
                let size = self.size_or_unknown(&args[1]).union(self.size_or_unknown(&args[2]));
                if let (Some(yes), Some(no)) = (self.entries(&args[1]), self.entries(&args[2])) {
                    self.entries.insert(expr.id, yes.union(no));
                }
                Some((condition.plus(yes.union(*no)), Some(size)))
            }
            _ => None,
        }
    }

    /// Of a call, without its arguments.
    fn function(&mut self, function: &str, overload: &str, member: bool, args: &[Expr], expr: &Expr) -> Cost {
        let one = (Range::exactly(1), None);
        let text = |size: Range| size.scaled(TEXT);
        match function {
            "check" => (Range::exactly(CHECK), None),
            "fieldSelector" | "labelSelector" => (selector(self.size_or_unknown(&args[1])), None),
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
                let size = self.size_or_unknown(&args[0]);
                let Type::List(of) = self.ty(&args[0]).clone() else { return (text(size), None) };
                let mut each = Range::exactly(1);
                if matches!(*of, Type::String | Type::Bytes) {
                    each = each.plus(text(self.element_size(&args[0])));
                }
                (size.times(each), None)
            }
            "url" | "jsonpatch.escapeKey" | "lowerAscii" | "upperAscii" | "substring" | "trim" => {
                let size = self.size_or_unknown(&args[0]);
                (text(size), Some(size))
            }
            "replace" => self.replace(args),
            "split" => {
                let size = self.size_or_unknown(&args[0]);
                let most = match args.get(2).map(|arg| &arg.kind) {
                    Some(Kind::Literal(Literal::Int(limit))) => limit.cast_unsigned(),
                    _ => size.max,
                };
                (size.scaled(2.0 * TEXT), Some(Range { min: 0, max: most }))
            }
            "join" => {
                let list = self.size_or_unknown(&args[0]);
                let mut size = list.times(self.element_size(&args[0]));
                if let Some(by) = args.get(1) {
                    let between = Range { min: list.min.saturating_sub(1), max: list.max.saturating_sub(1) };
                    size = size.plus(self.size_or_unknown(by).times(between));
                }
                (text(size), Some(size))
            }
            "find" | "findAll" => {
                let size = self.size_or_unknown(&args[0]);
                let pattern = self.size_or_unknown(&args[1]).scaled(PATTERN);
                let cost = text(size.plus(Range::exactly(1))).times(pattern);
                (cost, Some(Range { min: 0, max: size.max }))
            }
            "ip" if overload == "cidr_ip" => one,
            "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
                (text(self.size_or_unknown(&args[0])), None)
            }
            "ip.isCanonical" => (self.size_or_unknown(&args[0]).scaled(2.0 * TEXT), None),
            "containsIP" | "containsCIDR" => {
                let bytes = Range { min: 4, max: 16 };
                let mut cost = text(bytes.plus(bytes));
                if function == "containsCIDR" {
                    cost = cost.plus(text(bytes)).plus(Range::exactly(1));
                }
                if overload.ends_with("_string") {
                    cost = cost.plus(text(self.size_or_unknown(&args[1])));
                }
                (cost, None)
            }
            "validate" => (text(self.size_or_unknown(&args[1])).scaled(FORMAT_PATTERN * PATTERN), None),
            "_==_" if self.ty(&args[0]) == self.ty(&args[1]) && is_small(self.ty(&args[0])) => one,
            _ => self.standard(overload, member, args, expr),
        }
    }

    fn replace(&mut self, args: &[Expr]) -> Cost {
        let size = self.size_or_unknown(&args[0]);
        let (from, to) = (self.size_or_unknown(&args[1]), self.size_or_unknown(&args[2]));
        let (mut count, mut kept) = (Range::NONE, Range::NONE);
        if from.min == 0 {
            count.max = size.max.saturating_add(1);
            kept.max = size.max;
        } else if to.max <= from.min {
            kept.max = size.max;
        } else {
            count.max = size.max.div_ceil(from.min);
        }
        if from.max == 0 {
            count.min = size.min.saturating_add(1);
            kept.min = size.min;
        } else if from.max <= to.min {
            kept.min = size.min;
        } else {
            count.min = size.min.div_ceil(from.max);
        }
        (size.scaled(2.0 * TEXT), Some(count.times(to).plus(kept)))
    }

    fn standard(&mut self, overload: &str, member: bool, args: &[Expr], expr: &Expr) -> Cost {
        let sizes =
            |estimator: &mut Self| -> Vec<Range> { args.iter().map(|arg| estimator.size_or_unknown(arg)).collect() };
        match overload {
            "string_format" => (self.size_or_unknown(&args[0]).scaled(TEXT), None),
            "string_to_bytes" => {
                let size = self.size_or_unknown(&args[0]);
                (size.scaled(TEXT), Some(Range { min: size.min, max: size.max.saturating_mul(4) }))
            }
            "bytes_to_string" => {
                let size = self.size_or_unknown(&args[0]);
                (size.scaled(TEXT), Some(Range { min: size.min / 4, max: size.max }))
            }
            "strings_quote" => {
                let size = self.size_or_unknown(&args[0]);
                let max = size.max.saturating_mul(2).saturating_add(2);
                (size.scaled(TEXT), Some(Range { min: size.min.saturating_add(2), max }))
            }
            "starts_with_string" | "ends_with_string" => (self.size_or_unknown(&args[1]).scaled(TEXT), None),
            "in_list" => (self.size_or_unknown(&args[1]), None),
            "matches_string" | "matches" if member || overload == "matches" => {
                let sizes = sizes(self);
                let cost = sizes[0].plus(Range::exactly(1)).scaled(TEXT).times(sizes[1].scaled(PATTERN));
                (cost, None)
            }
            "contains_string" => {
                let sizes = sizes(self);
                (sizes[0].scaled(TEXT).times(sizes[1].scaled(TEXT)), None)
            }
            "add_string" | "add_bytes" | "add_list" => {
                let sizes = sizes(self);
                let size = sizes[0].plus(sizes[1]);
                if let (Some(left), Some(right)) = (self.entries(&args[0]), self.entries(&args[1])) {
                    self.entries.insert(expr.id, left.union(right));
                }
                let cost = if overload == "add_list" { Range::exactly(1) } else { size.scaled(TEXT) };
                (cost, Some(size))
            }
            "less_string"
            | "greater_string"
            | "less_equals_string"
            | "greater_equals_string"
            | "less_bytes"
            | "greater_bytes"
            | "less_equals_bytes"
            | "greater_equals_bytes"
            | "equals"
            | "not_equals" => {
                let sizes = sizes(self);
                let most = sizes[0].max.min(sizes[1].max);
                (Range { min: u64::from(most > 0), max: most }.scaled(TEXT), None)
            }
            _ => (Range::exactly(1), None),
        }
    }
}

/// Whether values of a type are compared in one step.
fn is_small(ty: &Type) -> bool {
    matches!(ty, Type::Opaque(name) if *name != types::URL && *name != types::FORMAT)
}

fn is_bind(fold: &Comprehension) -> bool {
    matches!(&fold.range.kind, Kind::List(elements) if elements.is_empty())
        && fold.condition.kind == Kind::Literal(Literal::Bool(false))
        && &*fold.accumulator != ACCUMULATOR
}
