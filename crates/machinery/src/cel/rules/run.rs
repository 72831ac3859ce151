//! Runs the rules of a schema on an object.

use super::{Fields, Rule, SELF, any, compile, compile_message, is_resource, object, properties, rules_of, text};
use crate::cel::declare::declare;
use crate::cel::error::{Error, Meter};
use crate::cel::limits::{CALL_COST_MAX, MESSAGE_BYTES_MAX, OBJECT_COST_MAX};
use crate::cel::types::Decl;
use crate::cel::value::Value;
use crate::cel::{Program, escape};
use crate::field::{self, Path, ROOT_FIELD};
use api::Cause;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// The rules of a schema, compiled: a tree like the schema, of the places only that have rules at or below them.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Result<Rule, (String, String)>>,
    decl: Option<Arc<Decl>>,
    /// `type` of the schema.
    kind: String,
    items: Option<Box<Rules>>,
    /// Keys that tell elements of a list apart.
    keys: Option<Vec<String>>,
    properties: BTreeMap<String, Rules>,
    additional: Option<Box<Rules>>,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// What is wrong.
    pub causes: Vec<Cause>,
    /// What is wrong and was so before: the client is told, the write is let pass.
    pub warnings: Vec<Cause>,
}

impl Rules {
    /// Whether `openAPIV3Schema` has rules.
    pub fn exist(schema: &Json) -> bool {
        schema.as_object().is_some_and(any)
    }

    /// Compiles the rules of `openAPIV3Schema`; `None` if it has none.
    pub fn compile(schema: &Json) -> Option<Self> {
        let schema = schema.as_object()?;
        if !any(schema) {
            return None;
        }
        let decl = declare(schema, SELF, true).map(Arc::new);
        Some(Self::at(schema, decl))
    }

    fn at(schema: &Fields, decl: Option<Arc<Decl>>) -> Self {
        let elem = decl.as_ref().and_then(|decl| decl.elem.clone());
        let below = |schema: &Fields, decl: Option<Arc<Decl>>| any(schema).then(|| Self::at(schema, decl));
        let rules = rules_of(schema).filter_map(|rule| {
            let decl = decl.as_ref()?;
            match compile(rule, schema, decl) {
                Ok(compiled) => compiled.map(|compiled| {
                    let message_expression = compile_message(rule, decl).ok().flatten();
                    Ok(Rule { message_expression, ..compiled })
                }),
                Err(why) => Some(Err((text(rule, "rule").to_owned(), why))),
            }
        });
        let rules = rules.collect();
        let own = |name: &str, schema: &Fields| -> Option<Arc<Decl>> {
            match escape::escape(name) {
                Some(escaped) => decl.as_ref()?.record()?.fields.get(escaped.as_str()).cloned(),
                None => declare(schema, SELF, is_resource(schema)).map(Arc::new),
            }
        };
        let properties = properties(schema)
            .filter_map(|(name, property)| {
                let decl = own(name, property)?;
                Some((name.clone(), below(property, Some(decl))?))
            })
            .collect();
        let keys = (text(schema, "x-kubernetes-list-type") == "map").then(|| {
            let keys = field::list_at(schema, "x-kubernetes-list-map-keys").iter().filter_map(Json::as_str);
            keys.map(str::to_owned).collect()
        });
        Self {
            rules,
            kind: text(schema, "type").to_owned(),
            items: object(schema, "items").and_then(|items| below(items, elem.clone())).map(Box::new),
            keys,
            properties,
            additional: object(schema, "additionalProperties").and_then(|values| below(values, elem)).map(Box::new),
            decl,
        }
    }

    /// Runs them on an object that is created, or that replaces another.
    pub fn run(&self, object: &Json, old: Option<&Json>) -> Outcome {
        let mut run = Run { left: OBJECT_COST_MAX, outcome: Outcome::default() };
        let before = Before { same: old, counterpart: old, unchanged: false };
        let _ = run.place(self, object, &before, &Path::ROOT);
        run.outcome
    }
}

/// What was at a place before.
struct Before<'a> {
    /// For `oldSelf`.
    same: Option<&'a Json>,
    /// For what may stay wrong: `None` if the place cannot be found in the old object.
    counterpart: Option<&'a Json>,
    /// Whether the nearest place above that can be found is as it was.
    unchanged: bool,
}

impl Before<'_> {
    fn is_unchanged(&self, value: &Json) -> bool {
        self.counterpart.map_or(self.unchanged, |old| old == value)
    }
}

/// No more rules are to be run.
struct Stop;

struct Run {
    left: u64,
    outcome: Outcome,
}

impl Run {
    fn place(&mut self, rules: &Rules, value: &Json, before: &Before<'_>, path: &Path<'_>) -> Result<(), Stop> {
        if value.is_null() {
            return Ok(());
        }
        if !rules.rules.is_empty() {
            self.rules(rules, value, before, path)?;
        }
        match value {
            Json::Array(list) => {
                let Some(items) = &rules.items else { return Ok(()) };
                let unchanged = before.is_unchanged(value);
                for (index, item) in list.iter().enumerate() {
                    let find = |old: Option<&'_ Json>| -> Option<usize> {
                        let keys = rules.keys.as_ref()?;
                        old?.as_array()?.iter().position(|old| keys.iter().all(|key| old.get(key) == item.get(key)))
                    };
                    let same = find(before.same).and_then(|at| before.same?.get(at));
                    let counterpart = find(before.counterpart).and_then(|at| before.counterpart?.get(at));
                    let before = Before { same, counterpart, unchanged };
                    self.place(items, item, &before, &path.index(index))?;
                }
            }
            Json::Object(map) => {
                let unchanged = before.is_unchanged(value);
                for (name, value) in map {
                    let same = before.same.and_then(|old| old.get(name));
                    let counterpart = before.counterpart.and_then(|old| old.get(name));
                    let before = Before { same, counterpart, unchanged };
                    if let Some(additional) = &rules.additional {
                        self.place(additional, value, &before, &path.key(name))?;
                    }
                    if let Some(property) = rules.properties.get(name) {
                        self.place(property, value, &before, &path.field(name))?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rules(&mut self, rules: &Rules, value: &Json, before: &Before<'_>, path: &Path<'_>) -> Result<(), Stop> {
        let kind = Json::from(rules.kind.as_str());
        for rule in &rules.rules {
            let rule = match rule {
                Ok(rule) => rule,
                Err((_, why)) => {
                    self.add(field::invalid(path, &kind, &format!("rule compile error: {why}")));
                    continue;
                }
            };
            if rule.uses_old && before.same.is_none_or(Json::is_null) && !rule.optional_old {
                continue;
            }
            let outcome = self.evaluate(&rule.program, rule, rules, value, before);
            let shown = if rule.message.is_empty() { &rule.source } else { &rule.message };
            let failed = match outcome {
                Ok(Value::Bool(true)) => continue,
                Ok(_) => None,
                Err(Spent::Budget) => {
                    let why =
                        "validation failed due to running out of cost budget, no further validation rules will be run";
                    self.add(field::invalid(path, &kind, why));
                    return Err(Stop);
                }
                Err(Spent::Error(Error::TooCostly)) => {
                    let why = format!(
                        "'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"
                    );
                    self.add(field::invalid(path, &kind, &why));
                    return Err(Stop);
                }
                Err(Spent::Error(error)) => Some(error.to_string()),
            };
            if let Some(error) = failed {
                let why = if error.starts_with("no such overload") {
                    format!(
                        "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
                    )
                } else {
                    format!("{error} evaluating rule: {shown}")
                };
                self.add(field::invalid(path, &kind, &why));
                continue;
            }
            let detail = match self.message(rule, rules, value, before) {
                Ok(message) => message,
                Err(why) => {
                    self.add(field::invalid(path, &kind, &why));
                    return Err(Stop);
                }
            };
            let detail = detail.unwrap_or_else(|| {
                if rule.message.is_empty() { format!("failed rule: {}", rule.source) } else { rule.message.clone() }
            });
            let mut cause = cause(path, value, &rules.kind, &detail, rule.reason.as_deref());
            if let Some(below) = &rule.field_path {
                cause.field = if path.is_root() { below.clone() } else { format!("{path}.{below}") };
            }
            if !rule.uses_old && before.is_unchanged(value) {
                self.outcome.warnings.push(no_root(cause));
            } else {
                self.add(cause);
            }
        }
        Ok(())
    }

    fn add(&mut self, cause: Cause) {
        self.outcome.causes.push(no_root(cause));
    }

    fn evaluate<'a>(
        &mut self,
        program: &Program,
        rule: &Rule,
        rules: &Rules,
        value: &'a Json,
        before: &Before<'a>,
    ) -> Result<Value<'a>, Spent> {
        let mut meter = Meter::new(CALL_COST_MAX);
        let scope = Selves {
            value,
            old: before.same.filter(|old| !old.is_null()),
            decl: rules.decl.as_ref(),
            optional: rule.optional_old,
        };
        let result = program.evaluate(&scope, &mut meter);
        match self.left.checked_sub(meter.used()) {
            Some(left) => self.left = left,
            None => return Err(Spent::Budget),
        }
        result.map_err(Spent::Error)
    }

    /// The message that an expression makes; `None` if it makes none that can be shown.
    fn message(
        &mut self,
        rule: &Rule,
        rules: &Rules,
        value: &Json,
        before: &Before<'_>,
    ) -> Result<Option<String>, String> {
        let Some(program) = &rule.message_expression else { return Ok(None) };
        match self.evaluate(program, rule, rules, value, before) {
            Ok(made) => {
                let text = made.as_str().map(str::trim).unwrap_or("");
                let fits = !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n');
                Ok(fits.then(|| text.to_owned()))
            }
            Err(Spent::Budget) => Err("messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".into()),
            Err(Spent::Error(Error::TooCostly)) => Err("no further validation rules will be run due to call cost exceeds limit for messageExpression".into()),
            Err(Spent::Error(_)) => Ok(None),
        }
    }
}

enum Spent {
    /// All that the object may cost.
    Budget,
    Error(Error),
}

/// `self` and `oldSelf`.
struct Selves<'s, 'a> {
    value: &'a Json,
    old: Option<&'a Json>,
    decl: Option<&'s Arc<Decl>>,
    optional: bool,
}

impl<'a> crate::cel::Scope<'a> for Selves<'_, 'a> {
    fn variable(&self, name: &str) -> Option<Value<'a>> {
        match name {
            "self" => Value::read(self.value, self.decl).ok(),
            "oldSelf" if self.optional => {
                Some(Value::Optional(self.old.and_then(|old| Value::read(old, self.decl).ok()).map(Rc::new)))
            }
            "oldSelf" => Value::read(self.old?, self.decl).ok(),
            _ => None,
        }
    }
}

/// Here the stock server has no path at the root, rather than an empty one.
fn no_root(mut cause: Cause) -> Cause {
    if cause.field == ROOT_FIELD {
        "<nil>".clone_into(&mut cause.field);
    }
    cause
}

fn cause(path: &Path<'_>, value: &Json, kind: &str, detail: &str, reason: Option<&str>) -> Cause {
    let whole = matches!(kind, "object" | "array");
    let without = |cause: Cause, head: &str| Cause { message: format!("{head}: {detail}"), ..cause };
    match reason {
        Some("FieldValueForbidden") => field::forbidden(path, detail),
        Some("FieldValueRequired") => field::required(path, detail),
        Some("FieldValueDuplicate") if whole => {
            Cause { message: "Duplicate value".into(), ..field::duplicate(path, &Json::Null) }
        }
        Some("FieldValueDuplicate") => field::duplicate(path, value),
        _ if whole => without(field::invalid(path, &Json::Null, detail), "Invalid value"),
        _ => field::invalid(path, value, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(schema: Json, object: Json, old: Option<Json>, expected: &[(&str, &str)], warned: usize) {
        let rules = Rules::compile(&schema).unwrap();
        let outcome = rules.run(&object, old.as_ref());
        let shown: Vec<(&str, &str)> =
            outcome.causes.iter().map(|cause| (cause.field.as_str(), cause.message.as_str())).collect();
        assert_eq!((shown.as_slice(), outcome.warnings.len()), (expected, warned));
    }

    fn spec(properties: Json, rules: Json) -> Json {
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties,
            "x-kubernetes-validations": rules}}})
    }

    #[test]
    fn rules_are_run_where_they_stand() {
        let bounds = json!({"min": {"type": "integer"}, "max": {"type": "integer", "x-kubernetes-validations": [
            {"rule": "self < 100", "message": "too much"}]}});
        let schema = spec(
            bounds,
            json!([{"rule": "self.min <= self.max", "fieldPath": ".max", "reason": "FieldValueForbidden",
            "messageExpression": "'max is below %d'.format([self.min])"}]),
        );
        check(schema.clone(), json!({"spec": {"min": 1, "max": 2}}), None, &[], 0);
        check(
            schema.clone(),
            json!({"spec": {"min": 3, "max": 2}}),
            None,
            &[("spec.max", "Forbidden: max is below 3")],
            0,
        );
        check(
            schema.clone(),
            json!({"spec": {"min": 3, "max": 200}}),
            None,
            &[("spec.max", "Invalid value: 200: too much")],
            0,
        );
        check(
            schema,
            json!({"spec": {"min": 3}}),
            None,
            &[("spec", "Invalid value: \"object\": no such key: max evaluating rule: self.min <= self.max")],
            0,
        );
    }

    #[test]
    fn transitions() {
        let schema = spec(
            json!({"a": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]}}),
            json!([]),
        );
        check(schema.clone(), json!({"spec": {"a": "x"}}), None, &[], 0);
        check(schema.clone(), json!({"spec": {"a": "x"}}), Some(json!({"spec": {}})), &[], 0);
        check(
            schema,
            json!({"spec": {"a": "x"}}),
            Some(json!({"spec": {"a": "y"}})),
            &[("spec.a", "Invalid value: \"x\": is immutable")],
            0,
        );
        let optional = spec(
            json!({"a": {"type": "string"}}),
            json!([{"rule": "oldSelf.hasValue() || self.a == 'first'", "optionalOldSelf": true}]),
        );
        check(optional.clone(), json!({"spec": {"a": "first"}}), None, &[], 0);
        check(
            optional,
            json!({"spec": {"a": "x"}}),
            None,
            &[("spec", "Invalid value: failed rule: oldSelf.hasValue() || self.a == 'first'")],
            0,
        );
    }

    #[test]
    fn what_was_wrong_before_may_stay() {
        let schema = spec(
            json!({"a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0"}]}, "b": {"type": "integer"}}),
            json!([]),
        );
        check(schema.clone(), json!({"spec": {"a": -1, "b": 2}}), Some(json!({"spec": {"a": -1}})), &[], 1);
        check(
            schema,
            json!({"spec": {"a": -2}}),
            Some(json!({"spec": {"a": -1}})),
            &[("spec.a", "Invalid value: -2: failed rule: self > 0")],
            0,
        );
    }

    #[test]
    fn lists_whose_order_means_nothing() {
        let ports = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
            "type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": "self.port >= oldSelf.port"}]},
            "x-kubernetes-validations": [{"rule": "self == oldSelf || true"}]});
        let schema = spec(json!({"ports": ports}), json!([]));
        let object = |a: i64, b: i64| json!({"spec": {"ports": [{"name": "a", "port": a}, {"name": "b", "port": b}]}});
        let old = json!({"spec": {"ports": [{"name": "b", "port": 5}]}});
        check(schema.clone(), object(1, 6), Some(old.clone()), &[], 0);
        check(
            schema,
            object(1, 4),
            Some(old),
            &[("spec.ports[1]", "Invalid value: failed rule: self.port >= oldSelf.port")],
            0,
        );
    }

    #[test]
    fn an_object_has_a_budget() {
        let schema = spec(
            json!({"l": {"type": "array", "items": {"type": "integer"}}}),
            json!([{"rule": "self.l.all(x, self.l.all(y, self.l.all(z, x + y + z >= 0)))"}]),
        );
        let list: Vec<i64> = (0..300).collect();
        let why = "Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: self.l.all(x, self.l.all(y, self.l.all(z, x + y + z >= 0)))";
        check(schema, json!({"spec": {"l": list}}), None, &[("spec", why)], 0);
    }
}
