//! What is wrong with the rules of a schema: syntax, types, and what they could cost.

use super::{Fields, KEY, SELF, compile, compile_message, is_resource, object, properties, rules_of, text};
use crate::cel::declare::declare;
use crate::cel::limits::{CRD_ESTIMATE_MAX, REQUEST_BYTES, RULE_ESTIMATE_MAX};
use crate::cel::types::Decl;
use crate::field::{self, Path};
use api::Cause;
use serde_json::Value;
use std::borrow::Cow;

/// How many of the most expensive rules are named when all of them together cost too much.
const EXPENSIVE_NAMED: usize = 4;

/// The problems of all rules of a schema, whose structure is known to be right.
pub(crate) fn problems(schema: &Fields, path: &Path<'_>) -> Vec<Cause> {
    if !super::any(schema) {
        return Vec::new();
    }
    let mut walk = Walk::default();
    let place = Place { cardinality: Some(1), decl: None, uncorrelatable: None, root: true };
    walk.schema(schema, path, &place);
    let Walk { mut causes, total, mut expensive } = walk;
    if total > CRD_ESTIMATE_MAX {
        expensive.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        for (_, at) in expensive.into_iter().take(EXPENSIVE_NAMED) {
            let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            causes.push(Cause { field: at, ..field::forbidden(path, why) });
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        causes.push(field::forbidden(path, &too_costly(what, total, CRD_ESTIMATE_MAX)));
    }
    causes
}

/// A place in the schema.
struct Place<'p> {
    /// How often data of this schema can be in one object, as far as the schemas around it say.
    cardinality: Option<u64>,
    /// What is declared here, where the place above knows.
    decl: Option<&'p Decl>,
    /// The list whose elements cannot be told from those before, if the place is inside of one.
    uncorrelatable: Option<String>,
    root: bool,
}

#[derive(Default)]
struct Walk {
    causes: Vec<Cause>,
    total: u64,
    expensive: Vec<(u64, String)>,
}

impl Walk {
    fn schema(&mut self, schema: &Fields, path: &Path<'_>, place: &Place<'_>) {
        let inside = rules_of(schema).next().is_some() || place.decl.is_some();
        let decl = match place.decl {
            Some(decl) => Some(Cow::Borrowed(decl)),
            None if inside => declare(schema, SELF, place.root || is_resource(schema)).map(Cow::Owned),
            None => None,
        };
        self.below(schema, path, place, decl.as_deref());
        let Some(decl) = decl else { return };
        let list = path.field(KEY);
        for (index, rule) in rules_of(schema).enumerate() {
            self.rule(rule, schema, &list.index(index), place, &decl);
        }
    }

    fn below(&mut self, schema: &Fields, path: &Path<'_>, place: &Place<'_>, decl: Option<&Decl>) {
        let child = |decl, cardinality, uncorrelatable| Place { cardinality, decl, uncorrelatable, root: false };
        let elem = decl.and_then(|decl| decl.elem.as_deref());
        let times = |key: &str| -> Option<u64> {
            let most = schema.get(key).and_then(Value::as_i64).map(|most| u64::try_from(most).unwrap_or(0))?;
            Some(place.cardinality?.saturating_mul(most))
        };
        if let Some(values) = object(schema, "additionalProperties") {
            let place = child(elem, times("maxProperties"), place.uncorrelatable.clone());
            self.schema(values, &path.field("additionalProperties"), &place);
        }
        let list = path.field("properties");
        for (name, property) in properties(schema) {
            let known = decl.and_then(|decl| decl.record());
            let field = crate::cel::escape::escape(name).and_then(|name| known?.fields.get(name.as_str()));
            if known.is_some() && field.is_none() && declare(property, SELF, false).is_none() {
                continue;
            }
            let place = child(field.map(|field| &**field), place.cardinality, place.uncorrelatable.clone());
            self.schema(property, &list.key(name), &place);
        }
        if let Some(items) = object(schema, "items") {
            let uncorrelatable = place
                .uncorrelatable
                .clone()
                .or_else(|| (text(schema, "x-kubernetes-list-type") != "map").then(|| path.to_string()));
            self.schema(items, &path.field("items"), &child(elem, times("maxItems"), uncorrelatable));
        }
    }

    fn rule(&mut self, rule: &Fields, schema: &Fields, path: &Path<'_>, place: &Place<'_>, decl: &Decl) {
        let at = path.field("rule");
        let compiled = match compile(rule, schema, decl) {
            Ok(Some(compiled)) => compiled,
            Ok(None) => return,
            Err(why) => {
                self.causes.push(field_cause(&at, &shown(rule), &why));
                // What it would cost and whether it looks back is not known.
                if rule.contains_key("optionalOldSelf") {
                    self.needless(rule, path);
                }
                return;
            }
        };
        let fit = u64::try_from(REQUEST_BYTES / (decl.min_size + 1)).unwrap_or(0);
        let cost = compiled.program.estimate(Some(decl)).saturating_mul(place.cardinality.unwrap_or(fit));
        self.observe(cost, "estimated rule cost", &at);
        let message = path.field("messageExpression");
        match compile_message(rule, decl) {
            Ok(Some(program)) => {
                self.observe(program.estimate(Some(decl)), "estimated messageExpression cost", &message);
            }
            Ok(None) => {}
            Err(why) => self.causes.push(field_cause(&message, &shown(rule), &why)),
        }
        if compiled.uses_old {
            if let Some(uncorrelatable) = &place.uncorrelatable {
                let why = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelatable}"
                );
                self.causes.push(field::invalid_text(&at, text(rule, "rule"), &why));
            }
        } else if rule.get("optionalOldSelf").is_some_and(|value| !value.is_null()) {
            self.needless(rule, path);
        }
    }

    fn needless(&mut self, rule: &Fields, path: &Path<'_>) {
        let value = rule.get("optionalOldSelf").cloned().unwrap_or_default();
        let why = "may not be set if oldSelf is not used in rule";
        self.causes.push(field::invalid(&path.field("optionalOldSelf"), &value, why));
    }

    fn observe(&mut self, cost: u64, what: &str, at: &Path<'_>) {
        if cost > RULE_ESTIMATE_MAX {
            self.causes.push(field::forbidden(at, &too_costly(what, cost, RULE_ESTIMATE_MAX)));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= CRD_ESTIMATE_MAX / 100 {
            self.expensive.push((cost, at.to_string()));
        }
    }
}

fn field_cause(path: &Path<'_>, value: &str, detail: &str) -> Cause {
    Cause {
        reason: "FieldValueInvalid".into(),
        message: format!("Invalid value: {value}: {detail}"),
        field: path.to_string(),
    }
}

/// A rule as the stock server prints it.
fn shown(rule: &Fields) -> String {
    // Go escapes what could end a script.
    let json = |text: &str| {
        let plain = Value::from(text).to_string();
        plain.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
    };
    let [source, message, expression, path] =
        ["rule", "message", "messageExpression", "fieldPath"].map(|key| json(text(rule, key)));
    let reason = rule.get("reason").and_then(Value::as_str).map_or_else(|| "null".to_owned(), json);
    let optional = rule.get("optionalOldSelf").filter(|value| value.is_boolean());
    let optional = optional.map_or_else(|| "null".to_owned(), Value::to_string);
    format!(
        "{{\"Rule\":{source},\"Message\":{message},\"MessageExpression\":{expression},\"Reason\":{reason},\
         \"FieldPath\":{path},\"OptionalOldSelf\":{optional}}}"
    )
}

#[allow(clippy::cast_precision_loss)] // as it is printed
fn too_costly(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, \
         and maxLength where arrays, maps, and strings are declared)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(schema: Value, expected: &[(&str, &str)]) {
        let causes = problems(schema.as_object().unwrap(), &Path::ROOT);
        let shown: Vec<(&str, &str)> =
            causes.iter().map(|cause| (cause.field.as_str(), cause.message.as_str())).collect();
        assert_eq!(shown, expected);
    }

    fn spec(property: Value) -> Value {
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"x": property}}}})
    }

    #[test]
    fn rules_that_are_right() {
        check(spec(json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0"}]})), &[]);
        check(json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.metadata.name.size() < 10"}]}), &[]);
        check(
            spec(json!({"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 10},
                "x-kubernetes-validations": [{"rule": "self.all(x, self.exists(y, x == y))"}]})),
            &[],
        );
    }

    #[test]
    fn rules_of_the_wrong_type() {
        let rule = |rule: &str| {
            format!(
                "{{\"Rule\":{},\"Message\":\"\",\"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}}",
                json!(rule)
            )
        };
        let at = "properties[spec].properties[x].x-kubernetes-validations[0].rule";
        let message = format!("Invalid value: {}: cel expression must evaluate to a bool", rule("self + 1"));
        check(spec(json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self + 1"}]})), &[(at, &message)]);
        let message = format!(
            "Invalid value: {}: compilation failed: ERROR: <input>:1:5: undefined field 'b'\n | self.b == 1\n | ....^",
            rule("self.b == 1")
        );
        check(
            spec(json!({"type": "object", "properties": {"a": {"type": "string"}},
                "x-kubernetes-validations": [{"rule": "self.b == 1"}]})),
            &[(at, &message)],
        );
    }

    #[test]
    fn rules_that_cost_too_much() {
        let at = "properties[spec].properties[x].x-kubernetes-validations[0].rule";
        let hint = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
        let message = format!("Forbidden: estimated rule cost exceeds budget by factor of more than 100x {hint}");
        let total = format!(
            "Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x {hint}"
        );
        check(
            spec(json!({"type": "array", "items": {"type": "string"},
                "x-kubernetes-validations": [{"rule": "self.all(x, self.exists(y, x == y))"}]})),
            &[
                (at, &message),
                (
                    at,
                    "Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema",
                ),
                ("[]", &total),
            ],
        );
    }

    #[test]
    fn what_cannot_be_told_from_before() {
        let at = "properties[spec].properties[x].items.x-kubernetes-validations[0].rule";
        check(
            spec(json!({"type": "array", "maxItems": 5, "items": {"type": "integer",
                "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}})),
            &[(
                at,
                "Invalid value: \"self == oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within properties[spec].properties[x]",
            )],
        );
    }
}
