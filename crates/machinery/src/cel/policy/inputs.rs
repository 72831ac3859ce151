//! What a policy is asked about.

use super::Expression;
use super::declared::{NAMESPACE, REQUEST};
use crate::cel::error::{Error, Meter};
use crate::cel::library::access::{Access, Authorizer, Question};
use crate::cel::value::{Map, Value};
use serde_json::{Map as JsonMap, Value as Json};
use std::cell::RefCell;
use std::rc::Rc;

type Fields = JsonMap<String, Json>;

/// A write, as expressions see it.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// What it makes of the object; `None` for a delete.
    pub object: Option<&'a Fields>,
    /// What was there; `None` for a create.
    pub old: Option<&'a Fields>,
    /// As in an `AdmissionReview`, without the objects.
    pub request: &'a Fields,
    /// The namespace of the object, if it is in one.
    pub namespace: Option<&'a Fields>,
    /// Of the binding.
    pub params: Option<&'a Fields>,
    /// Answers for whoever makes the request.
    pub authorizer: Option<&'a dyn Authorizer>,
    /// What the request itself asks for.
    pub question: &'a Question,
}

/// The variables of one evaluation of a policy. Those that it declares itself are evaluated once, when first asked for.
pub(super) struct Scoped<'p, 'a> {
    inputs: Inputs<'a>,
    variables: &'p [(String, Expression)],
    known: RefCell<Vec<(usize, Result<Value<'a>, Error>)>>,
}

impl<'p, 'a> Scoped<'p, 'a> {
    pub(super) fn new(inputs: &Inputs<'a>, variables: &'p [(String, Expression)]) -> Self {
        Self { inputs: *inputs, variables, known: RefCell::new(Vec::new()) }
    }
}

fn plain<'a>(fields: Option<&'a Fields>) -> Value<'a> {
    fields.map_or(Value::Null, |fields| Value::Map(Map::Json(fields, None)))
}

impl<'a> crate::cel::Scope<'a> for Scoped<'_, 'a> {
    fn variable(&self, name: &str) -> Option<Value<'a>> {
        let inputs = &self.inputs;
        Some(match name {
            "object" => plain(inputs.object),
            "oldObject" => plain(inputs.old),
            "params" => plain(inputs.params),
            "request" => Value::Map(Map::Json(inputs.request, Some(REQUEST.clone()))),
            "namespaceObject" => match inputs.namespace {
                Some(namespace) => Value::Map(Map::Json(namespace, Some(NAMESPACE.clone()))),
                None => Value::Null,
            },
            "authorizer" => Value::Access(Rc::new(Access::new(inputs.authorizer?))),
            "authorizer.requestResource" => {
                Value::Access(Rc::new(Access::of_resource(inputs.authorizer?, inputs.question.clone())))
            }
            _ => return None,
        })
    }

    fn composed(&self, name: &str, meter: &mut Meter) -> Option<Result<Value<'a>, Error>> {
        let index = self.variables.iter().position(|(held, _)| held == name)?;
        if let Some((_, known)) = self.known.borrow().iter().find(|(held, _)| *held == index) {
            return Some(known.clone());
        }
        // Declared after those that it reads: the recursion ends.
        let (_, expression) = &self.variables[index];
        let result = match &expression.program {
            Ok(program) => program.evaluate(self, meter).map_err(|error| match error {
                Error::TooCostly => Error::TooCostly,
                error => Error::new(format!("composited variable \"{name}\" fails to evaluate: {error}")),
            }),
            Err(why) => Err(Error::new(format!("composited variable \"{name}\" fails to compile: {why}"))),
        };
        self.known.borrow_mut().push((index, result.clone()));
        Some(result)
    }
}
