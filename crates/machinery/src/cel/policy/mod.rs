//! Policies of admission: ValidatingAdmissionPolicy and MutatingAdmissionPolicy, compiled once and asked for each write;
//! and match conditions, which webhooks have too.

mod declared;
mod inputs;
mod matching;
mod problems;

pub use inputs::Inputs;
pub use matching::{Attributes, Match};
pub use problems::{condition_problems, problems};

use super::error::{Error, Meter};
use super::limits::{CALL_COST_MAX, MATCH_COST_MAX, MESSAGE_BYTES_MAX, OBJECT_COST_MAX};
use super::types::Type;
use super::value::{List as ListValue, Map as MapValue, Value};
use super::{Declarations, Program};
use crate::field::{objects_at, text_at};
use inputs::Scoped;
use serde_json::{Map, Value as Json};

type Fields = Map<String, Json>;

/// Bytes of the value of an audit annotation.
const ANNOTATION_BYTES_MAX: usize = 10 * 1024;

/// What is said when the expressions of a binding cost too much together.
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// An expression and what became of it.
#[derive(Debug)]
struct Expression {
    source: String,
    program: Result<Program, String>,
}

impl Expression {
    fn new(source: &str, declared: &Declarations, returns: &[Type]) -> Self {
        let program = Program::compile(source, declared).map_err(|issues| format!("compilation failed: {issues}"));
        let program = program.and_then(|program| {
            let fits = returns.is_empty() || returns.contains(program.result());
            if fits { Ok(program) } else { Err(wrong_type(returns, program.result())) }
        });
        Self { source: source.to_owned(), program }
    }
}

fn wrong_type(returns: &[Type], found: &Type) -> String {
    match returns {
        [one] => format!("must evaluate to {one} but got {found}"),
        several => {
            let names: Vec<String> =
                several.iter().map(|ty| if *ty == Type::Null { "null_type".into() } else { ty.to_string() }).collect();
            format!("must evaluate to one of [{}] but got {found}", names.join(" "))
        }
    }
}

/// A named condition.
#[derive(Debug)]
struct Condition {
    name: String,
    expression: Expression,
}

/// Conditions that must all hold for a policy or webhook to be asked.
#[derive(Debug, Default)]
pub struct Conditions(Vec<Condition>);

/// What conditions say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Matched {
    /// All hold.
    Yes,
    /// One does not: its name.
    No(String),
    /// Some failed, and none is false: what went wrong.
    Failed(String),
}

impl Conditions {
    /// Compiles `matchConditions`; `params` says whether there is a variable of that name.
    pub fn compile<'f>(listed: impl Iterator<Item = &'f Fields>, params: bool) -> Self {
        let declared = declared::declarations(params, true);
        let condition = |fields: &Fields| Condition {
            name: text_at(fields, "name").to_owned(),
            expression: Expression::new(text_at(fields, "expression"), &declared, &[Type::Bool]),
        };
        Self(listed.map(condition).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Asks them.
    pub fn matched(&self, inputs: &Inputs<'_>) -> Matched {
        let scope = Scoped::new(inputs, &[]);
        let mut left = MATCH_COST_MAX;
        let mut failed = Vec::new();
        for condition in &self.0 {
            match evaluate(&condition.expression, &scope, &mut left) {
                Ok(Value::Bool(true)) => {}
                Ok(_) => return Matched::No(condition.name.clone()),
                Err(Failure::Budget) => return Matched::Failed(OUT_OF_BUDGET.into()),
                Err(Failure::Expression(why)) => failed.push(why),
            }
        }
        match failed.as_slice() {
            [] => Matched::Yes,
            [one] => Matched::Failed(one.clone()),
            several => Matched::Failed(format!("[{}]", several.join(", "))),
        }
    }
}

enum Failure {
    Budget,
    Expression(String),
}

fn evaluate<'a>(expression: &Expression, scope: &Scoped<'_, 'a>, left: &mut u64) -> Result<Value<'a>, Failure> {
    let program = expression.program.as_ref();
    let program = program.map_err(|why| Failure::Expression(format!("compilation error: {why}")))?;
    let mut meter = Meter::new(CALL_COST_MAX);
    let result = program.evaluate(scope, &mut meter);
    match left.checked_sub(meter.used()) {
        Some(rest) => *left = rest,
        None => return Err(Failure::Budget),
    }
    result.map_err(|error| match error {
        Error::TooCostly => Failure::Expression(format!(
            "validation failed due to running out of cost budget, no further validation rules will be run: expression '{}'",
            expression.source
        )),
        error => Failure::Expression(format!("expression '{}' resulted in error: {error}", expression.source)),
    })
}

#[derive(Debug)]
struct Validation {
    expression: Expression,
    message: String,
    message_expression: Option<Expression>,
    reason: String,
}

#[derive(Debug)]
enum Mutation {
    Apply(Expression),
    Patch(Expression),
}

/// A compiled policy.
#[derive(Debug)]
pub struct Policy {
    /// Whether what goes wrong refuses the write.
    pub fails_closed: bool,
    /// Which writes it is about.
    pub constraints: Match,
    conditions: Conditions,
    variables: Vec<(String, Expression)>,
    validations: Vec<Validation>,
    annotations: Vec<(String, Expression)>,
    mutations: Vec<Mutation>,
    /// `apiVersion` and `kind` of its parameters.
    pub param_kind: Option<(String, String)>,
    /// Whether it may be asked again after a later one has changed the object.
    pub reinvoked: bool,
}

/// What a policy says of a write.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Why it is refused: one for each validation that failed, with its index.
    pub denials: Vec<Denial>,
    /// Goes into the audit event.
    pub annotations: Vec<(String, String)>,
    /// What went wrong with annotations: refuses the write whatever the binding says.
    pub errors: Vec<String>,
}

/// Why a write is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// Of the validation.
    pub index: usize,
    /// For the client.
    pub message: String,
    /// `Invalid`, `Forbidden`, `Unauthorized` or `RequestEntityTooLarge`.
    pub reason: String,
}

/// What a mutation makes of an object.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A configuration to be applied.
    Apply(Json),
    /// A JSON patch.
    Patch(Json),
}

impl Policy {
    /// Compiles the object of a policy of either kind.
    pub fn compile(policy: &Fields) -> Self {
        let spec = policy.get("spec").and_then(Json::as_object).cloned().unwrap_or_default();
        let param_kind = spec.get("paramKind").and_then(Json::as_object);
        let params = param_kind.is_some();
        let mut declared = declared::declarations(params, true);
        let mut variables = Vec::new();
        let mut composed: Vec<(String, Type)> = Vec::new();
        for variable in objects_at(&spec, "variables") {
            let name = text_at(variable, "name").to_owned();
            let visible = declared::with_variables(declared.clone(), &composed);
            let expression = Expression::new(text_at(variable, "expression"), &visible, &[]);
            let ty = expression.program.as_ref().map_or(Type::Dyn, |program| program.result().clone());
            composed.push((name.clone(), ty));
            variables.push((name, expression));
        }
        declared = declared::with_variables(declared, &composed);
        let messages = declared::with_variables(declared::declarations(params, false), &composed);
        let validations = objects_at(&spec, "validations")
            .map(|validation| Validation {
                expression: Expression::new(text_at(validation, "expression"), &declared, &[Type::Bool]),
                message: text_at(validation, "message").trim().to_owned(),
                message_expression: Some(text_at(validation, "messageExpression"))
                    .filter(|source| !source.is_empty())
                    .map(|source| Expression::new(source, &messages, &[Type::String])),
                reason: Some(text_at(validation, "reason"))
                    .filter(|reason| !reason.is_empty())
                    .unwrap_or("Invalid")
                    .to_owned(),
            })
            .collect();
        let annotations = objects_at(&spec, "auditAnnotations")
            .map(|annotation| {
                let source = text_at(annotation, "valueExpression");
                let expression = Expression::new(source, &declared, &[Type::String, Type::Null]);
                (text_at(annotation, "key").to_owned(), expression)
            })
            .collect();
        let patching = declared::with_patches(declared.clone());
        let mutations = objects_at(&spec, "mutations")
            .filter_map(|mutation| match text_at(mutation, "patchType") {
                "ApplyConfiguration" => {
                    let source = text_at(mutation, "applyConfiguration.expression");
                    Some(Mutation::Apply(Expression::new(source, &patching, &[declared::object_type()])))
                }
                "JSONPatch" => {
                    let source = text_at(mutation, "jsonPatch.expression");
                    let returns = [Type::list(declared::patch_type())];
                    Some(Mutation::Patch(Expression::new(source, &patching, &returns)))
                }
                _ => None,
            })
            .collect();
        Self {
            fails_closed: text_at(&spec, "failurePolicy") != "Ignore",
            constraints: Match::read(spec.get("matchConstraints").and_then(Json::as_object)),
            conditions: Conditions::compile(objects_at(&spec, "matchConditions"), params),
            variables,
            validations,
            annotations,
            mutations,
            param_kind: param_kind
                .map(|kind| (text_at(kind, "apiVersion").to_owned(), text_at(kind, "kind").to_owned())),
            reinvoked: text_at(&spec, "reinvocationPolicy") == "IfNeeded",
        }
    }

    fn failed(&self, message: String) -> Verdict {
        let denial = Denial { index: 0, message, reason: "Invalid".into() };
        Verdict { denials: if self.fails_closed { vec![denial] } else { Vec::new() }, ..Verdict::default() }
    }

    /// What a validating policy says of a write.
    pub fn validate(&self, inputs: &Inputs<'_>) -> Verdict {
        match self.conditions.matched(inputs) {
            Matched::Yes => {}
            Matched::No(_) => return Verdict::default(),
            Matched::Failed(why) => return self.failed(why),
        }
        let scope = Scoped::new(inputs, &self.variables);
        let mut left = OBJECT_COST_MAX;
        let mut verdict = Verdict::default();
        for (index, validation) in self.validations.iter().enumerate() {
            let message = match evaluate(&validation.expression, &scope, &mut left) {
                Ok(Value::Bool(true)) => continue,
                Ok(_) => match self.message(validation, &scope, &mut left) {
                    Ok(message) => message,
                    Err(why) => return self.failed(why),
                },
                Err(Failure::Budget) => return self.failed(OUT_OF_BUDGET.into()),
                Err(Failure::Expression(_)) if !self.fails_closed => continue,
                Err(Failure::Expression(why)) => why,
            };
            let denial = Denial { index, message, reason: validation.reason.clone() };
            verdict.denials.push(denial);
        }
        self.annotate(&scope, &mut verdict);
        verdict
    }

    fn message(&self, validation: &Validation, scope: &Scoped<'_, '_>, left: &mut u64) -> Result<String, String> {
        if let Some(expression) = &validation.message_expression {
            match evaluate(expression, scope, left) {
                Ok(made) => {
                    let text = made.as_str().map(str::trim).unwrap_or("");
                    if !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n') {
                        return Ok(text.to_owned());
                    }
                }
                Err(Failure::Budget) => return Err(format!("failed messageExpression: {OUT_OF_BUDGET}")),
                Err(Failure::Expression(_)) => {}
            }
        }
        if validation.message.is_empty() {
            return Ok(format!("failed expression: {}", validation.expression.source.trim()));
        }
        Ok(validation.message.clone())
    }

    fn annotate(&self, scope: &Scoped<'_, '_>, verdict: &mut Verdict) {
        let mut left = OBJECT_COST_MAX;
        for (key, expression) in &self.annotations {
            match evaluate(expression, scope, &mut left) {
                Ok(value) => {
                    let text = value.as_str().map(str::trim).unwrap_or("");
                    if !text.is_empty() {
                        let end = text.floor_char_boundary(ANNOTATION_BYTES_MAX);
                        verdict.annotations.push((key.clone(), text[..end].to_owned()));
                    }
                }
                Err(_) if !self.fails_closed => {}
                Err(Failure::Budget) => verdict.errors.push(OUT_OF_BUDGET.into()),
                Err(Failure::Expression(why)) => verdict.errors.push(why),
            }
        }
    }

    /// How many changes a mutating policy makes.
    pub fn changes(&self) -> usize {
        self.mutations.len()
    }

    /// Whether a mutating policy is to be asked.
    pub fn matched(&self, inputs: &Inputs<'_>) -> Matched {
        self.conditions.matched(inputs)
    }

    /// One change of a mutating policy.
    ///
    /// # Errors
    /// What went wrong.
    pub fn change(&self, index: usize, inputs: &Inputs<'_>) -> Result<Option<Change>, String> {
        let Some(mutation) = self.mutations.get(index) else { return Ok(None) };
        let scope = Scoped::new(inputs, &self.variables);
        let mut left = OBJECT_COST_MAX;
        let (Mutation::Apply(expression) | Mutation::Patch(expression)) = mutation;
        let value = evaluate(expression, &scope, &mut left).map_err(|failure| match failure {
            Failure::Budget => OUT_OF_BUDGET.to_owned(),
            Failure::Expression(why) => why,
        })?;
        if matches!(mutation, Mutation::Apply(_))
            && let Some(why) = misnamed(&value, "Object")
        {
            return Err(why);
        }
        let json = value.to_json().ok_or("the result of the expression has no form as JSON")?;
        Ok(Some(match mutation {
            Mutation::Apply(_) => Change::Apply(json),
            Mutation::Patch(_) => Change::Patch(json),
        }))
    }
}

/// An object below another has the name of its place.
fn misnamed(value: &Value<'_>, place: &str) -> Option<String> {
    match value {
        Value::Map(MapValue::Struct(fields, name)) if **name == *place => {
            fields.iter().find_map(|(field, value)| misnamed(value, &format!("{place}.{field}")))
        }
        Value::Map(MapValue::Struct(_, name)) => Some(format!(
            "unexpected type name \"{name}\", expected \"{place}\", which matches field name path from root Object type"
        )),
        Value::List(ListValue::Made(list)) => list.iter().find_map(|value| misnamed(value, place)),
        Value::Map(MapValue::Made(pairs)) => pairs.iter().find_map(|(_, value)| misnamed(value, place)),
        _ => None,
    }
}

/// A binding of a policy.
#[derive(Debug)]
pub struct Binding {
    /// The policy.
    pub policy: String,
    /// Which of the writes that the policy is about.
    pub resources: Match,
    /// `Deny`, `Warn`, `Audit`.
    pub actions: Vec<String>,
    /// Where its parameters are.
    pub params: Option<Params>,
}

/// Where parameters are.
#[derive(Clone, Debug)]
pub struct Params {
    /// By name.
    pub name: String,
    /// That of the write if empty.
    pub namespace: String,
    /// By labels, as the object has the selector.
    pub selector: Option<Json>,
    /// Whether a write passes if there are none.
    pub may_be_missing: bool,
}

impl Binding {
    /// Reads the object of a binding of either kind.
    pub fn read(binding: &Fields) -> Self {
        let spec = binding.get("spec").and_then(Json::as_object).cloned().unwrap_or_default();
        let actions = crate::field::list_at(&spec, "validationActions").iter().filter_map(Json::as_str);
        let params = spec.get("paramRef").and_then(Json::as_object).map(|params| Params {
            name: text_at(params, "name").to_owned(),
            namespace: text_at(params, "namespace").to_owned(),
            selector: params.get("selector").filter(|selector| !selector.is_null()).cloned(),
            may_be_missing: text_at(params, "parameterNotFoundAction") == "Allow",
        });
        Self {
            policy: text_at(&spec, "policyName").to_owned(),
            resources: Match::read(spec.get("matchResources").and_then(Json::as_object)),
            actions: actions.map(str::to_owned).collect(),
            params,
        }
    }
}
