//! Evaluation: walks the checked tree, counting what it costs.

use super::ast::{Comprehension, Expr, Kind, Literal};
use super::error::{Error, Meter};
use super::library;
use super::value::{List, Map, Text, Value};
use std::rc::Rc;

type Result<T> = std::result::Result<T, Error>;

/// The variables of an evaluation.
pub trait Scope<'a> {
    /// The value of a variable.
    fn variable(&self, name: &str) -> Option<Value<'a>>;

    /// The value of `variables.NAME`, for those who have such: evaluated when it is first asked for, at the cost of
    /// the evaluation that asks.
    fn composed(&self, name: &str, meter: &mut Meter) -> Option<Result<Value<'a>>> {
        let _ = (name, meter);
        None
    }
}

/// Variables in a list.
impl<'a> Scope<'a> for &[(&str, Value<'a>)] {
    fn variable(&self, name: &str) -> Option<Value<'a>> {
        self.iter().find(|(held, _)| *held == name).map(|(_, value)| value.clone())
    }
}

/// The name under which composed variables are found.
pub(crate) const COMPOSED: &str = "variables";

pub(crate) struct Evaluation<'e, 'a> {
    pub(crate) scope: &'e dyn Scope<'a>,
    pub(crate) meter: &'e mut Meter,
    /// Variables of macros, innermost last.
    pub(crate) locals: Vec<(&'e str, Value<'a>)>,
}

impl<'e, 'a> Evaluation<'e, 'a> {
    pub(crate) fn expr(&mut self, expr: &'e Expr) -> Result<Value<'a>> {
        match &expr.kind {
            Kind::Literal(literal) => Ok(constant(literal)),
            Kind::Ident(name) => self.ident(name),
            Kind::Select { operand, field, test } => self.select(operand, field, *test),
            Kind::Call { function, args, .. } => self.call(function, args),
            Kind::List(_) => self.list(expr),
            Kind::Map(_) => self.map(expr),
            Kind::Struct { .. } => self.message(expr),
            Kind::Comprehension(fold) => self.fold(fold),
        }
    }

    fn ident(&mut self, name: &str) -> Result<Value<'a>> {
        self.meter.charge(1)?;
        if let Some((_, value)) = self.locals.iter().rev().find(|(held, _)| *held == name) {
            return Ok(value.clone());
        }
        if let Some(value) = self.scope.variable(name) {
            return Ok(value);
        }
        match library::type_named(name) {
            Some(ty) => Ok(Value::Type(ty)),
            None => Err(Error::new(format!("no such attribute(s): {name}"))),
        }
    }

    #[inline(never)]
    fn select(&mut self, operand: &'e Expr, field: &str, test: bool) -> Result<Value<'a>> {
        if let Kind::Ident(name) = &operand.kind
            && &**name == COMPOSED
            && !self.locals.iter().any(|(held, _)| *held == COMPOSED)
            && let Some(found) = self.scope.composed(field, self.meter)
        {
            self.meter.charge(2)?;
            return if test { Ok(Value::Bool(true)) } else { found };
        }
        let target = self.expr(operand)?;
        if !test {
            self.meter.charge(1)?;
        }
        let found = match &target {
            Value::Optional(None) if test => return Ok(Value::Bool(false)),
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => match &**inner {
                Value::Map(map) if test => map.field(field)?,
                Value::Map(map) => return Ok(Value::Optional(map.field(field)?.map(Rc::new))),
                _ => return Err(Error::no_overload()),
            },
            Value::Map(map) => map.field(field)?,
            // What has no fields has not this one.
            _ => None,
        };
        match found {
            _ if test => Ok(Value::Bool(found.is_some())),
            Some(value) => Ok(value),
            None => Err(Error::no_key(field)),
        }
    }

    fn call(&mut self, function: &'e str, args: &'e [Expr]) -> Result<Value<'a>> {
        match (function, args) {
            ("_&&_", [left, right]) => self.logical(left, right, false),
            ("_||_", [left, right]) => self.logical(left, right, true),
            ("_?_:_", [condition, yes, no]) => match self.expr(condition)?.as_bool() {
                Some(true) => self.expr(yes),
                Some(false) => self.expr(no),
                None => Err(Error::no_overload()),
            },
            ("@not_strictly_false", [arg]) => {
                let answer = self.expr(arg);
                self.meter.charge(1)?;
                match answer {
                    Ok(Value::Bool(false)) => Ok(Value::Bool(false)),
                    Err(Error::TooCostly) => Err(Error::TooCostly),
                    _ => Ok(Value::Bool(true)),
                }
            }
            ("or" | "orValue", [target, other]) => {
                // What has a value needs no other.
                match self.expr(target)? {
                    Value::Optional(None) => self.expr(other),
                    Value::Optional(Some(inner)) if function == "orValue" => Ok((*inner).clone()),
                    some @ Value::Optional(_) => Ok(some),
                    _ => Err(Error::no_overload()),
                }
            }
            _ => self.native(function, args),
        }
    }

    #[inline(never)]
    fn native(&mut self, function: &'e str, args: &'e [Expr]) -> Result<Value<'a>> {
        let found = library::function(function).ok_or_else(Error::no_overload)?;
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.expr(arg)?);
        }
        // What is paid is known before the work is done, but for what depends on the result.
        self.meter.charge(super::cost::of_call(function, &values))?;
        let result = (found.call)(&values)?;
        self.meter.charge(super::cost::of_result(function, &result))?;
        Ok(result)
    }

    /// `&&` and `||`: what one side decides hides what goes wrong on the other.
    fn logical(&mut self, left: &'e Expr, right: &'e Expr, decides: bool) -> Result<Value<'a>> {
        let left = match self.expr(left) {
            Ok(Value::Bool(value)) if value == decides => return Ok(Value::Bool(decides)),
            Err(Error::TooCostly) => return Err(Error::TooCostly),
            other => other,
        };
        let right = match self.expr(right) {
            Ok(Value::Bool(value)) if value == decides => return Ok(Value::Bool(decides)),
            Err(Error::TooCostly) => return Err(Error::TooCostly),
            other => other,
        };
        match (left?, right?) {
            (Value::Bool(_), Value::Bool(_)) => Ok(Value::Bool(!decides)),
            _ => Err(Error::no_overload()),
        }
    }

    #[inline(never)]
    fn list(&mut self, expr: &'e Expr) -> Result<Value<'a>> {
        let Kind::List(elements) = &expr.kind else { return Err(Error::no_overload()) };
        let mut list = Vec::with_capacity(elements.len());
        for element in elements {
            let value = self.expr(&element.value)?;
            match value {
                Value::Optional(inner) if element.optional => list.extend(inner.map(|inner| (*inner).clone())),
                value => list.push(value),
            }
        }
        self.meter.charge(10)?;
        Ok(Value::list(list))
    }

    #[inline(never)]
    fn map(&mut self, expr: &'e Expr) -> Result<Value<'a>> {
        let Kind::Map(pairs) = &expr.kind else { return Err(Error::no_overload()) };
        let mut map: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let key = self.expr(&pair.key)?;
            let value = match self.expr(&pair.value)? {
                Value::Optional(None) if pair.optional => continue,
                Value::Optional(Some(inner)) if pair.optional => (*inner).clone(),
                value => value,
            };
            if map.iter().any(|(held, _)| held.equals(&key)) {
                return Err(Error::new("Failed with repeated key"));
            }
            map.push((key, value));
        }
        self.meter.charge(30)?;
        Ok(Value::Map(Map::Made(Rc::new(map))))
    }

    #[inline(never)]
    fn message(&mut self, expr: &'e Expr) -> Result<Value<'a>> {
        let Kind::Struct { name, fields } = &expr.kind else { return Err(Error::no_overload()) };
        let mut made = Vec::with_capacity(fields.len());
        for field in fields {
            let value = match self.expr(&field.value)? {
                Value::Optional(None) if field.optional => continue,
                Value::Optional(Some(inner)) if field.optional => (*inner).clone(),
                value => value,
            };
            made.push((super::escape::unescape(&field.name).as_ref().into(), value));
        }
        self.meter.charge(40)?;
        Ok(Value::Map(Map::Struct(Rc::new(made), (&**name).into())))
    }

    #[inline(never)]
    fn fold(&mut self, fold: &'e Comprehension) -> Result<Value<'a>> {
        let range = self.expr(&fold.range)?;
        let init = self.expr(&fold.init)?;
        let depth = self.locals.len();
        self.locals.push((&fold.accumulator, init));
        let outcome = self.turns(fold, &range);
        self.locals.truncate(depth + 1);
        let result = outcome.and_then(|()| self.expr(&fold.result));
        self.locals.truncate(depth);
        result
    }

    fn turns(&mut self, fold: &'e Comprehension, range: &Value<'a>) -> Result<()> {
        let held = self.locals.len() - 1;
        let keys = match range {
            Value::Map(map) => map.keys(),
            Value::List(_) => Vec::new(),
            _ => return Err(Error::no_overload()),
        };
        let count = if let Value::List(list) = range { list.len() } else { keys.len() };
        let quantified = quantified(fold);
        // What goes wrong with one element counts only if no other decides.
        let mut failed = None;
        for turn in 0..count {
            self.locals.truncate(held + 1);
            let (first, second) = match range {
                Value::List(list) => {
                    let value = list.get(turn)?.unwrap_or(Value::Null);
                    match fold.second {
                        Some(_) => (Value::Int(i64::try_from(turn).unwrap_or(i64::MAX)), Some(value)),
                        None => (value, None),
                    }
                }
                Value::Map(map) => {
                    let Some(key) = keys.get(turn).cloned() else { break };
                    let value = if fold.second.is_some() { map.get(&key)? } else { None };
                    (key, value)
                }
                _ => return Err(Error::no_overload()),
            };
            self.locals.push((&fold.variable, first));
            if let (Some(name), Some(value)) = (&fold.second, second) {
                self.locals.push((name, value));
            }
            match self.expr(&fold.condition)? {
                Value::Bool(true) => {}
                _ => return Ok(()),
            }
            let Some((predicate, decides)) = quantified else {
                self.step(&fold.step, held, &fold.accumulator)?;
                continue;
            };
            self.meter.charge(1)?;
            match self.expr(predicate) {
                Ok(Value::Bool(answer)) if answer == decides => {
                    // The next condition ends the turns.
                    failed = None;
                    self.locals[held].1 = Value::Bool(decides);
                }
                Ok(Value::Bool(_)) => {}
                Err(Error::TooCostly) => return Err(Error::TooCostly),
                Ok(_) => failed = failed.or(Some(Error::no_overload())),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// One turn. What adds an element to the accumulator adds it in place: a copy each time would cost the square of
    /// the length.
    fn step(&mut self, step: &'e Expr, held: usize, accumulator: &str) -> Result<()> {
        if let Kind::Call { function, args, .. } = &step.kind {
            match (&**function, args.as_slice()) {
                ("_?_:_", [condition, yes, no]) => {
                    return match self.expr(condition)? {
                        Value::Bool(true) => self.step(yes, held, accumulator),
                        Value::Bool(false) => self.step(no, held, accumulator),
                        _ => Err(Error::no_overload()),
                    };
                }
                ("_+_", [Expr { kind: Kind::Ident(name), .. }, Expr { kind: Kind::List(elements), .. }])
                    if &**name == accumulator && elements.len() == 1 && !elements[0].optional =>
                {
                    self.meter.charge(12)?;
                    let value = self.expr(&elements[0].value)?;
                    if let Value::List(List::Made(list)) = &mut self.locals[held].1 {
                        Rc::make_mut(list).push(value);
                        return Ok(());
                    }
                    return Err(Error::no_overload());
                }
                _ => {}
            }
        }
        if let Kind::Ident(name) = &step.kind
            && &**name == accumulator
        {
            return self.meter.charge(1);
        }
        let value = self.expr(step)?;
        self.locals[held].1 = value;
        Ok(())
    }
}

/// The predicate of `all` or `exists`, and the answer that ends them.
fn quantified(fold: &Comprehension) -> Option<(&Expr, bool)> {
    let Kind::Call { function, args, .. } = &fold.step.kind else { return None };
    let decides = match &**function {
        "_&&_" => false,
        "_||_" => true,
        _ => return None,
    };
    match args.as_slice() {
        [Expr { kind: Kind::Ident(name), .. }, predicate] if *name == fold.accumulator => Some((predicate, decides)),
        _ => None,
    }
}

fn constant<'a>(literal: &Literal) -> Value<'a> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::String(Text::Owned(text.clone())),
        Literal::Bytes(bytes) => Value::Bytes(bytes.clone()),
    }
}
