//! `x-kubernetes-validations`: rules of a CRD, checked when it is written, and run when its objects are.

mod place;
mod register;
mod run;

pub(crate) use place::resolve;
pub(crate) use register::problems;
pub use run::{Outcome, Rules};

use super::Program;
use super::check::Declarations;
use super::types::{Decl, Type};
use crate::field::list_at;
use place::normalized;
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

const KEY: &str = "x-kubernetes-validations";

/// What the type of an object without a name of its own is called in messages.
const SELF: &str = "selfType";

/// A compiled rule.
#[derive(Debug)]
struct Rule {
    program: Program,
    uses_old: bool,
    optional_old: bool,
    source: String,
    message: String,
    message_expression: Option<Program>,
    reason: Option<String>,
    /// Relative, as paths print: `spec.x`.
    field_path: Option<String>,
}

fn text<'v>(rule: &'v Fields, key: &str) -> &'v str {
    rule.get(key).and_then(Value::as_str).unwrap_or("")
}

/// What a rule at a place may name.
fn declarations(decl: &Decl, optional_old: bool) -> Declarations {
    let old = if optional_old { Type::optional(decl.ty.clone()) } else { decl.ty.clone() };
    Declarations::default().with("self", decl.ty.clone()).with("oldSelf", old)
}

/// Compiles one rule. `Ok(None)` is an empty one.
fn compile(rule: &Fields, schema: &Fields, decl: &Decl) -> Result<Option<Rule>, String> {
    let source = text(rule, "rule");
    if source.trim().is_empty() {
        return Ok(None);
    }
    let optional_old = rule.get("optionalOldSelf") == Some(&Value::Bool(true));
    let declared = declarations(decl, optional_old);
    let program = Program::compile(source, &declared).map_err(|issues| format!("compilation failed: {issues}"))?;
    if *program.result() != Type::Bool {
        return Err("cel expression must evaluate to a bool".into());
    }
    Ok(Some(Rule {
        uses_old: program.uses("oldSelf"),
        program,
        optional_old,
        source: source.trim().to_owned(),
        message: text(rule, "message").trim().to_owned(),
        message_expression: None,
        reason: rule.get("reason").and_then(Value::as_str).map(str::to_owned),
        field_path: Some(text(rule, "fieldPath"))
            .filter(|path| !path.is_empty())
            .and_then(|path| normalized(path, schema)),
    }))
}

/// Compiles the message of a rule; `Ok(None)` if it has none.
fn compile_message(rule: &Fields, decl: &Decl) -> Result<Option<Program>, String> {
    let source = text(rule, "messageExpression");
    if source.is_empty() {
        return Ok(None);
    }
    let declared = declarations(decl, rule.get("optionalOldSelf") == Some(&Value::Bool(true)));
    let program = Program::compile(source, &declared);
    let program = program.map_err(|issues| format!("messageExpression compilation failed: {issues}"))?;
    if *program.result() != Type::String {
        return Err("messageExpression must evaluate to a string".into());
    }
    Ok(Some(program))
}

fn rules_of(schema: &Fields) -> impl Iterator<Item = &Fields> {
    list_at(schema, KEY).iter().filter_map(Value::as_object)
}

fn object<'v>(schema: &'v Fields, key: &str) -> Option<&'v Fields> {
    schema.get(key).and_then(Value::as_object)
}

fn properties(schema: &Fields) -> impl Iterator<Item = (&String, &Fields)> {
    object(schema, "properties").into_iter().flatten().filter_map(|(name, value)| Some((name, value.as_object()?)))
}

/// Whether there are rules here or below.
fn any(schema: &Fields) -> bool {
    rules_of(schema).next().is_some()
        || object(schema, "items").is_some_and(any)
        || object(schema, "additionalProperties").is_some_and(any)
        || properties(schema).any(|(_, property)| any(property))
}

fn is_resource(schema: &Fields) -> bool {
    schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true))
}
