//! Checks a custom resource against its schema, in the words of the stock server's 422.

use super::formats;
use super::node::{Form, ListType, Node, NodeId, Schema, Schemas};
use super::rules::Rules;
use crate::field::{self, Path, quote};
use api::Cause;
use serde_json::{Map, Value};
use std::collections::HashSet;

/// What is wrong with a custom resource that is created: types, value validations, and the uniqueness of elements in
/// lists of type `set` and `map`; and that embedded resources say what they are. CEL rules are not evaluated here.
pub fn check(value: &Value, schema: &Schema) -> Vec<Cause> {
    let mut causes = declared(value, None, schema);
    embedded(value, schema.at, &schema.set, &Path::ROOT, &mut causes);
    listed(value, schema, &mut causes);
    causes
}

/// What is wrong with a custom resource that replaces `old`. What was wrong before and is unchanged is let pass, so that
/// a schema can become stricter without blocking every write. `old` is asked for only if anything is wrong.
pub fn check_update(value: &Value, old: impl FnOnce() -> Value, schema: &Schema) -> Vec<Cause> {
    if check(value, schema).is_empty() {
        return Vec::new();
    }
    let old = &old();
    let mut causes = declared(value, Some(old), schema);
    let mut inside = Vec::new();
    embedded(value, schema.at, &schema.set, &Path::ROOT, &mut inside);
    if !inside.is_empty() {
        let mut before = Vec::new();
        embedded(old, schema.at, &schema.set, &Path::ROOT, &mut before);
        causes.extend(inside.into_iter().filter(|cause| !before.contains(cause)));
    }
    let mut lists = Vec::new();
    listed(value, schema, &mut lists);
    if !lists.is_empty() {
        let mut before = Vec::new();
        listed(old, schema, &mut before);
        if before.is_empty() {
            causes.append(&mut lists);
        }
    }
    causes
}

fn declared(value: &Value, old: Option<&Value>, schema: &Schema) -> Vec<Cause> {
    let mut outcome = Outcome::default();
    Walk { set: &schema.set }.value(value, old, schema.at, &Path::ROOT, &mut outcome);
    outcome.causes
}

/// What was found so far. `checks` counts the nodes that were met: of several alternatives that all fail, the one that
/// got furthest is reported.
#[derive(Default)]
struct Outcome {
    causes: Vec<Cause>,
    checks: usize,
}

impl Outcome {
    fn add(&mut self, mut cause: Cause) {
        // Here the stock server has no path at the root, rather than an empty one.
        if cause.field == field::ROOT_FIELD {
            NO_FIELD.clone_into(&mut cause.field);
        }
        if !self.causes.contains(&cause) {
            self.causes.push(cause);
        }
    }

    fn merge(&mut self, other: Outcome) {
        self.checks += other.checks;
        for cause in other.causes {
            self.add(cause);
        }
    }
}

struct Walk<'s> {
    set: &'s Schemas,
}

/// The root's path is empty in the stock server's messages; causes that have no field print Go's nil.
const NO_FIELD: &str = "<nil>";

fn composite(message: String) -> Cause {
    Cause {
        reason: "FieldValueInvalid".into(),
        message: format!("Invalid value: \"\": {message}"),
        field: NO_FIELD.into(),
    }
}

impl Walk<'_> {
    fn value(&self, value: &Value, old: Option<&Value>, at: NodeId, path: &Path<'_>, out: &mut Outcome) {
        if old == Some(value) {
            return;
        }
        let node = self.set.node(at);
        out.checks += 1;
        if value.is_null() && (node.nullable || !node.typed) {
            return;
        }
        if !self.form(value, node, path, out) {
            return;
        }
        if let Some(rules) = &node.rules {
            self.alternatives(value, rules, path, out);
        }
        self.scalar(value, node, path, out);
        if !node.allowed.is_empty() && !node.allowed.iter().any(|allowed| same(allowed, value)) {
            let supported: Vec<String> = node
                .allowed
                .iter()
                .map(|value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                })
                .collect();
            out.add(field::not_supported(path, value, supported.iter().map(String::as_str)));
        }
        match value {
            Value::Array(list) => self.list(list, old, node, path, out),
            Value::Object(map) => self.object(map, old, node, path, out),
            _ => {}
        }
    }

    /// Whether the value has the declared form; says so if it has not.
    fn form(&self, value: &Value, node: &Node, path: &Path<'_>, out: &mut Outcome) -> bool {
        if !node.typed {
            return true;
        }
        let (fits, wanted) = match node.form {
            Form::Any => (true, ""),
            Form::Object { .. } => (value.is_object(), "object"),
            Form::Array { .. } => (value.is_array(), "array"),
            Form::String => (value.is_string(), "string"),
            Form::Integer => (is_integer(value), "integer"),
            Form::Number => (value.is_number(), "number"),
            Form::Boolean => (value.is_boolean(), "boolean"),
            Form::IntOrString => (value.is_string() || is_integer(value), "integer,string"),
        };
        // Formats of text replace the type check in the stock server: a format is only ever declared on strings here.
        if !fits {
            let found = quote(kind(value));
            out.add(field::type_invalid(path, &found, &format!("{path} in body must be of type {wanted}: {found}")));
        }
        fits
    }

    fn scalar(&self, value: &Value, node: &Node, path: &Path<'_>, out: &mut Outcome) {
        match value {
            Value::String(text) => {
                if let Some(rules) = &node.rules {
                    text_rules(text, rules, path, out);
                }
                if let Some(format) = node.format.as_deref()
                    && matches!(node.form, Form::String | Form::Any)
                    && formats::holds(format, text) == Some(false)
                {
                    let text = quote(text);
                    let detail = format!("{path} in body must be of type {format}: {text}");
                    out.add(field::type_invalid(path, &text, &detail));
                }
            }
            Value::Number(number) => {
                let range = match (&node.form, node.format.as_deref()) {
                    (Form::Integer, Some("int32")) => value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
                    #[allow(clippy::cast_possible_truncation)]
                    (Form::Number, Some("float")) => number.as_f64().is_some_and(|n| (n as f32).is_finite()),
                    _ => true,
                };
                if !range {
                    let (kind, format) =
                        if matches!(node.form, Form::Integer) { ("integer", "int32") } else { ("number", "float") };
                    out.add(composite(format!("Checked value must be of type {kind} with format {format} in {path}")));
                }
                if let Some(rules) = &node.rules {
                    number_rules(value, rules, path, out);
                }
            }
            _ => {}
        }
    }

    fn list(&self, list: &[Value], old: Option<&Value>, node: &Node, path: &Path<'_>, out: &mut Outcome) {
        if let Form::Array { items } = node.form {
            let before = match (old, &node.list_type) {
                (Some(Value::Array(before)), Some(ListType::Map(keys))) => Some((before, keys)),
                _ => None,
            };
            for (index, value) in list.iter().enumerate() {
                let old = before.and_then(|(before, keys)| {
                    before.iter().find(|old| keys.iter().all(|key| old.get(key) == value.get(key)))
                });
                self.value(value, old, items, &path.index(index), out);
            }
        }
        let Some(rules) = &node.rules else { return };
        if let Some(least) = rules.min_items.filter(|least| (list.len() as u64) < *least) {
            let detail = format!("{path} in body should have at least {least} items");
            out.add(field::invalid(path, &list.len().into(), &detail));
        }
        if let Some(most) = rules.max_items.filter(|most| list.len() as u64 > *most) {
            out.add(field::too_many(path, list.len(), most));
        }
        if rules.unique_items && (1..list.len()).any(|at| list[..at].contains(&list[at])) {
            out.add(field::invalid_text(path, "", &format!("{path} in body shouldn't contain duplicates")));
        }
    }

    fn object(&self, map: &Map<String, Value>, old: Option<&Value>, node: &Node, path: &Path<'_>, out: &mut Outcome) {
        if let Some(rules) = &node.rules {
            if let Some(least) = rules.min_properties.filter(|least| (map.len() as u64) < *least) {
                let detail = format!("{path} in body should have at least {least} properties");
                out.add(field::invalid(path, &map.len().into(), &detail));
            }
            if let Some(most) = rules.max_properties.filter(|most| map.len() as u64 > *most) {
                out.add(field::too_many(path, map.len(), most));
            }
        }
        if let Form::Object { properties, additional } = &node.form {
            for (key, value) in map {
                let Some(&child) = properties.get(key.as_str()).or(additional.as_ref()) else { continue };
                self.value(value, old.and_then(|old| old.get(key)), child, &path.field(key), out);
            }
        }
        for name in &node.required {
            if !map.contains_key(&**name) {
                out.add(field::required(&path.field(name), ""));
            }
        }
    }

    fn alternatives(&self, value: &Value, rules: &Rules, path: &Path<'_>, out: &mut Outcome) {
        let run = |at: &NodeId| {
            let mut outcome = Outcome::default();
            self.value(value, None, *at, path, &mut outcome);
            outcome
        };
        if !rules.has_alternatives() {
            return;
        }
        let name = quote(&path.to_string());
        if !rules.any_of.is_empty() {
            let mut best: Option<Outcome> = None;
            for outcome in rules.any_of.iter().map(run) {
                if outcome.causes.is_empty() {
                    best = Some(outcome);
                    break;
                }
                if best.as_ref().is_none_or(|best| outcome.checks > best.checks) {
                    best = Some(outcome);
                }
            }
            if let Some(best) = best {
                if !best.causes.is_empty() {
                    out.add(composite(format!("{name} must validate at least one schema (anyOf)")));
                }
                out.merge(best);
            }
        }
        if !rules.one_of.is_empty() {
            let (mut valid, failed): (Vec<Outcome>, Vec<Outcome>) =
                rules.one_of.iter().map(run).partition(|outcome| outcome.causes.is_empty());
            match valid.len() {
                1 => out.merge(valid.remove(0)),
                0 => {
                    out.add(composite(format!(
                        "{name} must validate one and only one schema (oneOf). Found none valid"
                    )));
                    let mut best: Option<Outcome> = None;
                    for outcome in failed {
                        if best.as_ref().is_none_or(|best| outcome.checks > best.checks) {
                            best = Some(outcome);
                        }
                    }
                    if let Some(best) = best {
                        out.merge(best);
                    }
                }
                count => out.add(composite(format!(
                    "{name} must validate one and only one schema (oneOf). Found {count} valid alternatives"
                ))),
            }
        }
        if !rules.all_of.is_empty() {
            let outcomes: Vec<Outcome> = rules.all_of.iter().map(run).collect();
            let failed = outcomes.iter().filter(|outcome| !outcome.causes.is_empty()).count();
            let none = if failed == outcomes.len() { ". None validated" } else { "" };
            for outcome in outcomes {
                out.merge(outcome);
            }
            if failed > 0 {
                out.add(composite(format!("{name} must validate all the schemas (allOf){none}")));
            }
        }
        if let Some(not) = &rules.not
            && run(not).causes.is_empty()
        {
            out.add(composite(format!("{name} must not validate the schema (not)")));
        }
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// The type of a value in the words of JSON schema.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Equality in which `1` is `1.0`.
fn same(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && b.is_number() && a.as_f64() == b.as_f64())
}

/// Only the first broken rule of a text is told.
fn text_rules(text: &str, rules: &Rules, path: &Path<'_>, out: &mut Outcome) {
    if rules.max_length.is_some() || rules.min_length.is_some() {
        let length = text.chars().count() as u64;
        if let Some(most) = rules.max_length.filter(|most| length > *most) {
            return out.add(field::too_long(path, most));
        }
        if let Some(least) = rules.min_length.filter(|least| length < *least) {
            let detail = format!("{path} in body should be at least {least} chars long");
            return out.add(field::invalid_text(path, text, &detail));
        }
    }
    if let Some(pattern) = &rules.pattern {
        let detail = match pattern.is_match(text) {
            Ok(true) => return,
            Ok(false) => format!("{path} in body should match '{}'", pattern.source()),
            Err(problem) => {
                format!("{path} in body should match '{}, but pattern is invalid: {problem}'", pattern.source())
            }
        };
        out.add(field::invalid_text(path, text, &detail));
    }
}

fn number_rules(value: &Value, rules: &Rules, path: &Path<'_>, out: &mut Outcome) {
    let Some(number) = value.as_f64() else { return };
    if let Some(factor) = rules.multiple_of {
        let times = if factor < 1.0 { 1.0 / factor * number } else { number / factor };
        if times.fract().abs() > 1e-9 {
            let detail = format!("{path} in body should be a multiple of {}", plain(factor));
            out.add(field::invalid(path, value, &detail));
        }
    }
    if let Some(least) = rules.minimum
        && (number < least || (rules.exclusive_minimum && number == least))
    {
        let or_equal = if rules.exclusive_minimum { "" } else { " or equal to" };
        let detail = format!("{path} in body should be greater than{or_equal} {}", plain(least));
        out.add(field::invalid(path, value, &detail));
    }
    if let Some(most) = rules.maximum
        && (number > most || (rules.exclusive_maximum && number == most))
    {
        let or_equal = if rules.exclusive_maximum { "" } else { " or equal to" };
        let detail = format!("{path} in body should be less than{or_equal} {}", plain(most));
        out.add(field::invalid(path, value, &detail));
    }
}

fn plain(number: f64) -> String {
    // Rust prints 3 for 3.0, as Go's %v does.
    number.to_string()
}

/// An embedded resource must say its kind.
fn embedded(value: &Value, at: NodeId, set: &Schemas, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let node = set.node(at);
    match (value, &node.form) {
        (Value::Object(map), form) => {
            if node.embedded_resource {
                for name in ["apiVersion", "kind"] {
                    if map.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
                        causes.push(field::required(&path.field(name), "must not be empty"));
                    }
                }
            }
            let Form::Object { properties, additional } = form else { return };
            for (key, value) in map {
                if let Some(&child) = properties.get(key.as_str()) {
                    embedded(value, child, set, &path.field(key), causes);
                } else if let Some(child) = additional {
                    embedded(value, *child, set, &path.key(key), causes);
                }
            }
        }
        (Value::Array(list), Form::Array { items }) => {
            for (index, value) in list.iter().enumerate() {
                embedded(value, *items, set, &path.index(index), causes);
            }
        }
        _ => {}
    }
}

/// Uniqueness in lists of type `set` and `map`, everywhere in the object.
fn listed(value: &Value, schema: &Schema, causes: &mut Vec<Cause>) {
    walk_lists(value, schema.at, &schema.set, &Path::ROOT, causes);
}

fn walk_lists(value: &Value, at: NodeId, set: &Schemas, path: &Path<'_>, causes: &mut Vec<Cause>) {
    let node = set.node(at);
    match (value, &node.form) {
        (Value::Object(map), Form::Object { properties, additional }) => {
            for (key, value) in map {
                if let Some(&child) = properties.get(key.as_str()) {
                    walk_lists(value, child, set, &path.field(key), causes);
                } else if let Some(child) = additional {
                    walk_lists(value, *child, set, &path.key(key), causes);
                }
            }
        }
        (Value::Array(list), Form::Array { items }) => {
            match &node.list_type {
                Some(ListType::Set) => {
                    let mut seen = HashSet::new();
                    for (index, value) in list.iter().enumerate() {
                        if !seen.insert(value) {
                            causes.push(field::duplicate(&path.index(index), value));
                        }
                    }
                }
                Some(ListType::Map(keys)) => unique_keys(list, keys, path, causes),
                _ => {}
            }
            for (index, value) in list.iter().enumerate() {
                walk_lists(value, *items, set, &path.index(index), causes);
            }
        }
        _ => {}
    }
}

fn unique_keys(list: &[Value], keys: &[String], path: &Path<'_>, causes: &mut Vec<Cause>) {
    if let Some(index) = list.iter().position(|value| !value.is_object() && !value.is_null()) {
        let detail = "must be an object for an array of list-type map";
        causes.push(field::invalid(&path.index(index), &list[index], detail));
        return;
    }
    let mut seen = HashSet::new();
    for (index, value) in list.iter().enumerate() {
        let key: Vec<Option<&Value>> = keys.iter().map(|key| value.get(key)).collect();
        if !seen.insert(key) {
            let shown: Map<String, Value> =
                keys.iter().filter_map(|key| Some((key.clone(), value.get(key)?.clone()))).collect();
            causes.push(field::duplicate(&path.index(index), &Value::Object(shown)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::from_crd;
    use serde_json::json;

    fn lines(causes: &[Cause]) -> Vec<String> {
        causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[track_caller]
    fn spec(schema: Value, spec: Value, expected: &[&str]) {
        let schema = from_crd(&json!({"type": "object", "properties": {"spec": schema}})).unwrap();
        assert_eq!(lines(&check(&json!({"spec": spec}), &schema)), expected);
    }

    #[test]
    fn types() {
        let schema = json!({"type": "object", "properties": {
            "n": {"type": "integer"}, "f": {"type": "number"}, "s": {"type": "string"},
            "i": {"x-kubernetes-int-or-string": true}, "l": {"type": "array", "items": {"type": "string"}},
            "o": {"type": "string", "nullable": true}}});
        spec(schema.clone(), json!({"n": 3, "f": 1, "s": "", "i": "a", "l": ["a"], "o": null}), &[]);
        spec(schema.clone(), json!({"n": 3.0, "i": 5}), &[]);
        spec(
            schema.clone(),
            json!({"n": "3", "f": true, "i": 1.5, "l": [1]}),
            &[
                "spec.f: Invalid value: \"boolean\": spec.f in body must be of type number: \"boolean\"",
                "spec.i: Invalid value: \"number\": spec.i in body must be of type integer,string: \"number\"",
                "spec.l[0]: Invalid value: \"integer\": spec.l[0] in body must be of type string: \"integer\"",
                "spec.n: Invalid value: \"string\": spec.n in body must be of type integer: \"string\"",
            ],
        );
        spec(schema, json!([]), &["spec: Invalid value: \"array\": spec in body must be of type object: \"array\""]);
    }

    #[test]
    fn required_and_enum() {
        let schema = json!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "string", "enum": ["x", "y"]}, "n": {"type": "integer", "enum": [1, 2]}}});
        spec(schema.clone(), json!({}), &["spec.a: Required value"]);
        spec(
            schema,
            json!({"a": "z", "n": 3}),
            &[
                "spec.a: Unsupported value: \"z\": supported values: \"x\", \"y\"",
                "spec.n: Unsupported value: 3: supported values: \"1\", \"2\"",
            ],
        );
    }

    #[test]
    fn bounds() {
        let schema = json!({"type": "object", "maxProperties": 4, "properties": {
            "n": {"type": "integer", "minimum": 1, "maximum": 5, "exclusiveMaximum": true, "multipleOf": 2},
            "s": {"type": "string", "minLength": 2, "maxLength": 3, "pattern": "^[a-z]+$"},
            "l": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "integer", "format": "int32"}},
            "d": {"type": "string", "format": "date-time"}}});
        spec(schema.clone(), json!({"n": 4, "s": "ab", "l": [1], "d": "2026-01-01T00:00:00Z"}), &[]);
        spec(
            schema.clone(),
            json!({"n": 0, "s": "A0", "l": [], "d": "now"}),
            &[
                "spec.d: Invalid value: \"now\": spec.d in body must be of type date-time: \"now\"",
                "spec.l: Invalid value: 0: spec.l in body should have at least 1 items",
                "spec.n: Invalid value: 0: spec.n in body should be greater than or equal to 1",
                "spec.s: Invalid value: \"A0\": spec.s in body should match '^[a-z]+$'",
            ],
        );
        spec(
            schema,
            json!({"n": 5, "s": "abcd", "l": [1, 2, 4_000_000_000_i64], "x": 1, "y": 2}),
            &[
                "spec: Too many: 5: must have at most 4 items",
                "<nil>: Invalid value: \"\": Checked value must be of type integer with format int32 in spec.l[2]",
                "spec.l: Too many: 3: must have at most 2 items",
                "spec.n: Invalid value: 5: spec.n in body should be a multiple of 2",
                "spec.n: Invalid value: 5: spec.n in body should be less than 5",
                "spec.s: Too long: may not be more than 3 bytes",
            ],
        );
    }

    #[test]
    fn alternatives() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
        spec(schema.clone(), json!({"a": ""}), &[]);
        spec(
            schema.clone(),
            json!({}),
            &[
                "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found none valid",
                "spec.a: Required value",
            ],
        );
        spec(
            schema,
            json!({"a": "", "b": ""}),
            &[
                "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
            ],
        );
        let schema = json!({"type": "string", "anyOf": [{"pattern": "^a"}, {"maxLength": 2}], "not": {"enum": ["aa"]},
            "allOf": [{"minLength": 1}]});
        spec(schema.clone(), json!("abc"), &[]);
        spec(schema.clone(), json!("aa"), &["<nil>: Invalid value: \"\": \"spec\" must not validate the schema (not)"]);
        assert_eq!(
            check(
                &json!({"spec": "bcd"}),
                &from_crd(&json!({"type": "object", "properties": {"spec": schema}})).unwrap()
            )
            .len(),
            2
        );
    }

    #[test]
    fn sets_and_maps() {
        let schema = json!({"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}}}}});
        spec(
            schema,
            json!({"set": ["a", "b", "a"], "map": [{"name": "x", "n": 1}, {"name": "x", "n": 2}]}),
            &["spec.map[1]: Duplicate value: {\"name\":\"x\"}", "spec.set[2]: Duplicate value: \"a\""],
        );
    }

    #[test]
    fn embedded_resources_say_what_they_are() {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-embedded-resource": true});
        spec(schema.clone(), json!({"apiVersion": "v1", "kind": "Pod"}), &[]);
        spec(schema, json!({"apiVersion": "v1"}), &["spec.kind: Required value: must not be empty"]);
    }

    #[test]
    fn an_update_lets_pass_what_was_wrong_before() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "a": {"type": "string", "maxLength": 1}, "b": {"type": "string", "maxLength": 1},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}}}}});
        let schema = from_crd(&schema).unwrap();
        let old = json!({"spec": {"a": "long", "set": ["x", "x"]}});
        let new = json!({"spec": {"a": "long", "b": "wrong", "set": ["x", "x", "y"]}});
        assert_eq!(
            lines(&check_update(&new, || old.clone(), &schema)),
            ["spec.b: Too long: may not be more than 1 byte"]
        );
        assert!(check_update(&old, || old.clone(), &schema).is_empty());
    }
}
