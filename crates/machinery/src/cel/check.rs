//! The type checker: resolves names and overloads, and complains in the stock server's words.

use super::ast::{Ast, Comprehension, Expr, Id, Kind, Literal};
use super::issues::Issues;
use super::library::{self, Function};
use super::types::{Record, Type};
use std::collections::HashMap;
use std::sync::Arc;

/// What an expression may name.
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    /// Variables, by name.
    pub variables: HashMap<String, Type>,
    /// Types of objects that an expression may make, by name.
    pub objects: HashMap<String, Arc<Record>>,
}

impl Declarations {
    /// With one more variable.
    #[must_use]
    pub fn with(mut self, name: &str, ty: Type) -> Self {
        self.variables.insert(name.to_owned(), ty);
        self
    }
}

/// An expression whose names and types are known.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) root: Expr,
    /// By id of the node.
    pub(crate) types: Vec<Type>,
    /// Overloads that a call may mean, by id of the node.
    pub(crate) overloads: HashMap<Id, Vec<&'static str>>,
    /// Free variables that are used.
    pub(crate) uses: Vec<String>,
}

pub(crate) fn check(ast: Ast, declared: &Declarations) -> Result<Checked, Issues> {
    let Ast { mut root, offsets } = ast;
    let mut checker = Checker {
        declared,
        types: vec![Type::Error; offsets.len()],
        offsets: &offsets,
        issues: Issues::default(),
        overloads: HashMap::new(),
        bound: HashMap::new(),
        next: FIRST_FREE,
        locals: Vec::new(),
        mixed: false,
        uses: Vec::new(),
    };
    checker.expr(&mut root);
    let Checker { mut types, issues, overloads, bound, uses, .. } = checker;
    if !issues.is_empty() {
        return Err(issues);
    }
    for ty in &mut types {
        *ty = substitute(&bound, ty, true);
    }
    Ok(Checked { root, types, overloads, uses })
}

/// Parameters of signatures have smaller numbers.
const FIRST_FREE: u32 = 100;

struct Checker<'d> {
    declared: &'d Declarations,
    types: Vec<Type>,
    offsets: &'d [u32],
    issues: Issues,
    overloads: HashMap<Id, Vec<&'static str>>,
    bound: Bound,
    next: u32,
    locals: Vec<(Box<str>, Type)>,
    /// Whether lists may mix types: the arguments of `format` may.
    mixed: bool,
    uses: Vec<String>,
}

/// What type variables stand for.
type Bound = HashMap<u32, Type>;

impl Checker<'_> {
    fn complain(&mut self, id: Id, message: impl Into<String>) {
        let offset = self.offsets.get(id as usize).copied().unwrap_or(0);
        self.issues.add(offset, message);
    }

    fn set(&mut self, id: Id, ty: Type) {
        if let Some(slot) = self.types.get_mut(id as usize) {
            *slot = ty;
        }
    }

    fn get(&self, expr: &Expr) -> Type {
        self.types.get(expr.id as usize).cloned().unwrap_or(Type::Dyn)
    }

    fn free(&mut self) -> Type {
        self.next += 1;
        Type::Param(self.next)
    }

    fn resolved(&self, ty: &Type) -> Type {
        substitute(&self.bound, ty, false)
    }

    fn variable(&mut self, name: &str) -> Option<Type> {
        if let Some((_, ty)) = self.locals.iter().rev().find(|(held, _)| &**held == name) {
            return Some(ty.clone());
        }
        if let Some(ty) = self.declared.variables.get(name) {
            if !self.uses.iter().any(|held| held == name) {
                self.uses.push(name.to_owned());
            }
            return Some(ty.clone());
        }
        library::type_named(name).map(|ty| Type::Type(Arc::new(ty)))
    }

    fn expr(&mut self, expr: &mut Expr) {
        let id = expr.id;
        match &mut expr.kind {
            Kind::Literal(literal) => {
                let ty = match literal {
                    Literal::Null => Type::Null,
                    Literal::Bool(_) => Type::Bool,
                    Literal::Int(_) => Type::Int,
                    Literal::Uint(_) => Type::Uint,
                    Literal::Double(_) => Type::Double,
                    Literal::String(_) => Type::String,
                    Literal::Bytes(_) => Type::Bytes,
                };
                self.set(id, ty);
            }
            Kind::Ident(name) => {
                let name = name.clone();
                match self.variable(&name) {
                    Some(ty) => self.set(id, ty),
                    None => self.undeclared(id, &name),
                }
            }
            Kind::Select { .. } => self.select(expr),
            Kind::Call { .. } => self.call(expr),
            Kind::List(elements) => {
                let mut joined = None;
                for element in elements {
                    self.expr(&mut element.value);
                    let mut ty = self.get(&element.value);
                    if element.optional {
                        ty = self.unwrapped(element.value.id, ty);
                    }
                    joined = Some(self.join(element.value.id, joined, ty));
                }
                let of = joined.unwrap_or_else(|| self.free());
                self.set(id, Type::list(of));
            }
            Kind::Map(pairs) => {
                let (mut keys, mut values) = (None, None);
                for pair in pairs {
                    self.expr(&mut pair.key);
                    let key = self.get(&pair.key);
                    keys = Some(self.join(pair.key.id, keys, key));
                    self.expr(&mut pair.value);
                    let mut value = self.get(&pair.value);
                    if pair.optional {
                        value = self.unwrapped(pair.value.id, value);
                    }
                    values = Some(self.join(pair.value.id, values, value));
                }
                let key = keys.unwrap_or_else(|| self.free());
                let value = values.unwrap_or_else(|| self.free());
                self.set(id, Type::Map(Arc::new(key), Arc::new(value)));
            }
            Kind::Struct { .. } => self.message(expr),
            Kind::Comprehension(fold) => {
                let ty = self.fold(fold);
                self.set(id, ty);
            }
        }
    }

    fn undeclared(&mut self, id: Id, name: &str) {
        self.complain(id, format!("undeclared reference to '{name}' (in container '')"));
        self.set(id, Type::Error);
    }

    /// What an optional element holds.
    fn unwrapped(&mut self, id: Id, ty: Type) -> Type {
        match ty {
            Type::Optional(of) => (*of).clone(),
            Type::Dyn => Type::Dyn,
            other => {
                self.complain(id, format!("expected type 'optional_type({other})' but found '{other}'"));
                other
            }
        }
    }

    fn join(&mut self, id: Id, held: Option<Type>, ty: Type) -> Type {
        let Some(held) = held else { return ty };
        if self.assignable(&held, &ty) {
            return if less_specific(&held, &ty) { held } else { ty };
        }
        if self.mixed {
            return Type::Dyn;
        }
        let (expected, found) = (self.resolved(&held), self.resolved(&ty));
        self.complain(id, format!("expected type '{expected}' but found '{found}'"));
        Type::Error
    }

    fn select(&mut self, expr: &mut Expr) {
        let id = expr.id;
        if let Some(name) = expr.qualified() {
            // A name with dots in it may be declared as a whole.
            let declared = self.declared.variables.get(&name).cloned();
            if let Some(ty) = declared.or_else(|| library::type_named(&name).map(|ty| Type::Type(Arc::new(ty)))) {
                self.set(id, ty);
                expr.kind = Kind::Ident(name.into());
                return;
            }
        }
        let Kind::Select { operand, field, test } = &mut expr.kind else { return };
        let (field, test) = (field.clone(), *test);
        let ty = self.field(id, operand, &field, false);
        let ty = if test { Type::Bool } else { self.resolved(&ty) };
        self.set(id, ty);
    }

    fn field(&mut self, id: Id, operand: &mut Expr, field: &str, optional: bool) -> Type {
        self.expr(operand);
        let ty = self.resolved(&self.get(operand));
        let (target, wrapped) = match ty {
            Type::Optional(of) => ((*of).clone(), true),
            other => (other, false),
        };
        let result = match &target {
            Type::Map(_, value) => (**value).clone(),
            Type::Object(record) => match record.field(field) {
                Some(decl) => decl.ty.clone(),
                None if record.open => Type::Dyn,
                None => {
                    self.complain(id, format!("undefined field '{field}'"));
                    Type::Error
                }
            },
            Type::Param(_) => {
                self.assignable(&Type::Dyn, &target);
                Type::Dyn
            }
            Type::Dyn | Type::Error => Type::Dyn,
            other => {
                self.complain(id, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        };
        if wrapped || optional { Type::optional(result) } else { result }
    }

    fn call(&mut self, expr: &mut Expr) {
        let id = expr.id;
        let Kind::Call { function, member, args } = &mut expr.kind else { return };
        if &**function == "_?._" {
            let Some((operand, field)) = args.split_first_mut() else { return };
            let Some(Expr { kind: Kind::Literal(Literal::String(name)), id: named }) = field.first_mut() else {
                return;
            };
            let (name, named) = (name.clone(), *named);
            let ty = self.field(id, operand, &name, true);
            let ty = self.resolved(&ty);
            self.set(named, Type::String);
            self.set(id, ty);
            self.overloads.insert(id, vec!["select_optional_field"]);
            return;
        }
        let from = usize::from(*member);
        let outside = self.mixed;
        self.mixed |= *member && &**function == "format";
        for arg in &mut args[from..] {
            self.expr(arg);
        }
        self.mixed = outside;
        if *member {
            let qualified = args[0].qualified().map(|prefix| format!("{prefix}.{function}"));
            if let Some(found) = qualified.as_deref().and_then(library::function) {
                *function = qualified.expect("it names a function").into();
                *member = false;
                args.remove(0);
                let args: Vec<Type> = args.iter().map(|arg| self.get(arg)).collect();
                self.resolve(id, found, false, args);
                return;
            }
            self.expr(&mut args[0]);
        }
        let name = function.clone();
        let types: Vec<Type> = args.iter().map(|arg| self.get(arg)).collect();
        let ids: Vec<Id> = args.iter().map(|arg| arg.id).collect();
        let member = *member;
        match library::function(&name) {
            None => self.undeclared(id, &name),
            Some(_) if matches!(&*name, "_&&_" | "_||_") => {
                let mut fits = true;
                for (arg, ty) in ids.iter().zip(&types) {
                    if !self.assignable(ty, &Type::Bool) {
                        let found = self.resolved(ty);
                        self.complain(*arg, format!("expected type 'bool' but found '{found}'"));
                        fits = false;
                    }
                }
                self.overloads.insert(id, vec![if &*name == "_&&_" { "logical_and" } else { "logical_or" }]);
                self.set(id, if fits { Type::Bool } else { Type::Error });
            }
            Some(function) => self.resolve(id, function, member, types),
        }
    }

    fn resolve(&mut self, id: Id, function: &Function, member: bool, args: Vec<Type>) {
        let mut result: Option<Type> = None;
        let mut matched = Vec::new();
        for overload in function.overloads.iter().filter(|overload| overload.member == member) {
            if overload.params.len() != args.len() {
                continue;
            }
            let base = self.next + 1;
            self.next += overload.variables;
            let fresh = |ty: &Type| renumbered(ty, base);
            let params: Vec<Type> = overload.params.iter().map(fresh).collect();
            if !self.all_assignable(&args, &params) {
                continue;
            }
            matched.push(overload.id);
            let found = self.resolved(&fresh(&overload.result));
            result = Some(match result {
                None => found,
                Some(held) if held == Type::Dyn || held == found => held,
                Some(_) => Type::Dyn,
            });
        }
        let Some(result) = result else {
            let shown: Vec<String> = args.iter().map(|ty| substitute(&self.bound, ty, true).to_string()).collect();
            let signature = match shown.split_first() {
                Some((target, rest)) if member => format!("{target}.({})", rest.join(", ")),
                _ => format!("({})", shown.join(", ")),
            };
            let name = function.name;
            self.complain(id, format!("found no matching overload for '{name}' applied to '{signature}'"));
            self.set(id, Type::Error);
            return;
        };
        self.overloads.insert(id, matched);
        self.set(id, result);
    }

    fn message(&mut self, expr: &mut Expr) {
        let id = expr.id;
        let Kind::Struct { name, fields } = &mut expr.kind else { return };
        let record = self.declared.objects.get(&**name).cloned();
        let record = record.or_else(|| {
            // An object whose fields are not known makes objects below it in the same way.
            let (root, _) = name.split_once('.')?;
            let root = self.declared.objects.get(root).filter(|record| record.open)?;
            (root.fields.is_empty())
                .then(|| Arc::new(Record { name: (&**name).into(), fields: Default::default(), open: true }))
        });
        let Some(record) = record else {
            let name = name.clone();
            self.undeclared(id, &name);
            return;
        };
        for field in fields {
            self.expr(&mut field.value);
            let mut found = self.get(&field.value);
            if field.optional {
                found = self.unwrapped(field.value.id, found);
            }
            let expected = match record.fields.get(&field.name) {
                Some(decl) => decl.ty.clone(),
                // What is made is looked at when it is made: see `policy`.
                None if record.open => Type::Dyn,
                None => {
                    let why = format!("expected type of field '{}' is '' but provided type is '{found}'", field.name);
                    self.complain(field.id, why);
                    Type::Error
                }
            };
            if !self.assignable(&expected, &found) {
                let found = self.resolved(&found);
                let why =
                    format!("expected type of field '{}' is '{expected}' but provided type is '{found}'", field.name);
                self.complain(field.id, why);
            }
        }
        self.set(id, Type::Object(record));
    }

    fn fold(&mut self, fold: &mut Comprehension) -> Type {
        self.expr(&mut fold.range);
        self.expr(&mut fold.init);
        let range = self.resolved(&self.get(&fold.range));
        let held = self.get(&fold.init);
        self.locals.push((fold.accumulator.clone(), held.clone()));
        let two = fold.second.is_some();
        let (first, second) = match range {
            Type::List(of) if two => (Type::Int, Some((*of).clone())),
            Type::List(of) => ((*of).clone(), None),
            Type::Map(key, value) => ((*key).clone(), two.then(|| (*value).clone())),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.assignable(&Type::Dyn, &range);
                (Type::Dyn, two.then_some(Type::Dyn))
            }
            other => {
                let why = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.complain(fold.range.id, why);
                (Type::Error, two.then_some(Type::Error))
            }
        };
        let depth = self.locals.len();
        self.locals.push((fold.variable.clone(), first));
        if let (Some(name), Some(ty)) = (&fold.second, second) {
            self.locals.push((name.clone(), ty));
        }
        self.expr(&mut fold.condition);
        self.must_be(&fold.condition, &Type::Bool);
        self.expr(&mut fold.step);
        self.must_be(&fold.step, &held);
        self.locals.truncate(depth);
        self.expr(&mut fold.result);
        self.locals.pop();
        let result = self.get(&fold.result);
        self.resolved(&result)
    }

    fn must_be(&mut self, expr: &Expr, expected: &Type) {
        let found = self.get(expr);
        if !self.assignable(expected, &found) {
            let (expected, found) = (self.resolved(expected), self.resolved(&found));
            self.complain(expr.id, format!("expected type '{expected}' but found '{found}'"));
        }
    }

    fn assignable(&mut self, a: &Type, b: &Type) -> bool {
        self.all_assignable(std::slice::from_ref(a), std::slice::from_ref(b))
    }

    /// Whether values of these types can be given for those; what variables come to stand for is kept only if so.
    fn all_assignable(&mut self, a: &[Type], b: &[Type]) -> bool {
        let mut bound = self.bound.clone();
        let fits = a.iter().zip(b).all(|(a, b)| assignable(&mut bound, a, b));
        if fits {
            self.bound = bound;
        }
        fits
    }
}

/// A signature's type with fresh variables.
fn renumbered(ty: &Type, base: u32) -> Type {
    match ty {
        Type::Param(index) => Type::Param(base + index),
        Type::List(of) => Type::list(renumbered(of, base)),
        Type::Map(key, value) => Type::Map(Arc::new(renumbered(key, base)), Arc::new(renumbered(value, base))),
        Type::Optional(of) => Type::optional(renumbered(of, base)),
        Type::Type(of) => Type::Type(Arc::new(renumbered(of, base))),
        other => other.clone(),
    }
}

fn substitute(bound: &Bound, ty: &Type, to_dyn: bool) -> Type {
    match ty {
        Type::Param(index) => match bound.get(index) {
            Some(found) => substitute(bound, found, to_dyn),
            None if to_dyn => Type::Dyn,
            None => ty.clone(),
        },
        Type::List(of) => Type::list(substitute(bound, of, to_dyn)),
        Type::Map(key, value) => {
            Type::Map(Arc::new(substitute(bound, key, to_dyn)), Arc::new(substitute(bound, value, to_dyn)))
        }
        Type::Optional(of) => Type::optional(substitute(bound, of, to_dyn)),
        Type::Type(of) => Type::Type(Arc::new(substitute(bound, of, to_dyn))),
        other => other.clone(),
    }
}

/// Whether `a` is the same as `b`, or says less.
fn less_specific(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Param(_), _) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => less_specific(a, b),
        (Type::Map(a, b), Type::Map(c, d)) => less_specific(a, c) && less_specific(b, d),
        (Type::Type(_), Type::Type(_)) => true,
        _ => a == b,
    }
}

fn assignable(bound: &mut Bound, a: &Type, b: &Type) -> bool {
    if let Type::Param(index) = b {
        match stands_for(bound, a, *index) {
            Some(true) => return true,
            Some(false) => return false,
            None => {}
        }
    }
    if let Type::Param(index) = a {
        return stands_for(bound, b, *index) == Some(true);
    }
    match (a, b) {
        _ if a.is_dyn_or_error() || b.is_dyn_or_error() => true,
        (Type::Null, other) | (other, Type::Null) => matches!(
            other,
            Type::Null | Type::Object(_) | Type::Opaque(_) | Type::Optional(_) | Type::Duration | Type::Timestamp
        ),
        (Type::Type(_), Type::Type(_)) => true,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => assignable(bound, a, b),
        (Type::Map(a, b), Type::Map(c, d)) => assignable(bound, a, c) && assignable(bound, b, d),
        _ => a == b,
    }
}

/// Whether a variable can stand for `ty`; `None` if it stands for nothing yet and cannot stand for this.
fn stands_for(bound: &mut Bound, ty: &Type, variable: u32) -> Option<bool> {
    if *ty == Type::Param(variable) {
        return Some(true);
    }
    if let Some(held) = bound.get(&variable).cloned() {
        if *ty == held {
            return Some(true);
        }
        if assignable(bound, ty, &held) {
            let general = if less_specific(ty, &held) { ty.clone() } else { held };
            if !occurs(bound, variable, &general) {
                bound.insert(variable, general);
            }
            return Some(true);
        }
        return Some(false);
    }
    if occurs(bound, variable, ty) {
        return None;
    }
    bound.insert(variable, ty.clone());
    Some(true)
}

fn occurs(bound: &Bound, variable: u32, within: &Type) -> bool {
    match within {
        Type::Param(index) if *index == variable => true,
        Type::Param(index) => bound.get(index).is_some_and(|held| occurs(bound, variable, held)),
        Type::List(of) | Type::Optional(of) | Type::Type(of) => occurs(bound, variable, of),
        Type::Map(key, value) => occurs(bound, variable, key) || occurs(bound, variable, value),
        _ => false,
    }
}
