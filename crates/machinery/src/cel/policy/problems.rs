//! What is wrong with the expressions of a policy: said when it is written.

use super::{Expression, Mutation, Policy};
use crate::field::{self, Path, objects_at};
use api::Cause;
use serde_json::{Map, Value};

/// The expressions of a policy of either kind that do not compile. Those that `old` had are let pass, since they were
/// good once.
pub fn problems(policy: &Map<String, Value>, old: Option<&Map<String, Value>>) -> Vec<Cause> {
    let compiled = Policy::compile(policy);
    let before = old.map(|old| Value::Object(old.clone()).to_string()).unwrap_or_default();
    let spec = Path::ROOT.field("spec");
    let mut out = Vec::new();
    let mut look = |expression: &Expression, path: &Path<'_>| {
        let Err(why) = &expression.program else { return };
        if !before.contains(&Value::from(expression.source.as_str()).to_string())
            && !expression.source.trim().is_empty()
        {
            out.push(field::invalid_text(path, &expression.source, why));
        }
    };
    let variables = spec.field("variables");
    for (index, (_, expression)) in compiled.variables.iter().enumerate() {
        look(expression, &variables.index(index).field("expression"));
    }
    let conditions = spec.field("matchConditions");
    for (index, condition) in compiled.conditions.0.iter().enumerate() {
        look(&condition.expression, &conditions.index(index).field("expression"));
    }
    let validations = spec.field("validations");
    for (index, validation) in compiled.validations.iter().enumerate() {
        let at = validations.index(index);
        look(&validation.expression, &at.field("expression"));
        if let Some(message) = &validation.message_expression {
            look(message, &at.field("messageExpression"));
        }
    }
    let annotations = spec.field("auditAnnotations");
    for (index, (_, expression)) in compiled.annotations.iter().enumerate() {
        look(expression, &annotations.index(index).field("valueExpression"));
    }
    let mutations = spec.field("mutations");
    for (index, mutation) in compiled.mutations.iter().enumerate() {
        let at = mutations.index(index);
        match mutation {
            Mutation::Apply(expression) => look(expression, &at.field("applyConfiguration").field("expression")),
            Mutation::Patch(expression) => look(expression, &at.field("jsonPatch").field("expression")),
        }
    }
    out
}

/// The match conditions of webhooks that do not compile.
pub fn condition_problems(webhook: &Map<String, Value>, path: &Path<'_>) -> Vec<Cause> {
    let conditions = super::Conditions::compile(objects_at(webhook, "matchConditions"), false);
    let list = path.field("matchConditions");
    let mut out = Vec::new();
    for (index, condition) in conditions.0.iter().enumerate() {
        let (at, source) = (list.index(index), condition.expression.source.trim());
        match &condition.expression.program {
            _ if source.is_empty() => out.push(field::required(&at.field("expression"), "")),
            Err(why) => out.push(field::invalid_text(&at.field("expression"), source, why)),
            Ok(_) => {}
        }
    }
    out
}
