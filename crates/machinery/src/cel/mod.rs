//! The Common Expression Language as Kubernetes has it: a parser, a type checker, an estimate of costs before, and an
//! evaluation that counts them and reads objects where they lie.
//!
//! It is written here because a space has to say what the stock server says: which rules a CRD may have depends on types
//! and on estimated costs, and what one user's rule may cost another on a limit that is counted.

mod ast;
mod check;
mod cost;
mod declare;
mod error;
mod escape;
mod eval;
mod issues;
mod lex;
mod library;
pub mod limits;
mod macros;
mod parse;
pub mod policy;
pub mod rules;
mod time;
mod types;
mod value;

#[cfg(test)]
mod tests;

pub use check::Declarations;
pub use error::{Error, Meter};
pub use eval::Scope;
pub use library::access::{Access, Authorizer, Question};
pub use types::{AUTHORIZER, Decl, Record, Type};
pub use value::{List, Map, Text, Value};

use ast::{Expr, Kind, Literal};
use check::Checked;

/// A compiled expression: it can be evaluated many times.
#[derive(Debug)]
pub struct Program {
    checked: Checked,
}

impl Program {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, each problem with its place, as the stock server prints it.
    pub fn compile(source: &str, declared: &Declarations) -> Result<Self, String> {
        let compiled = parse::parse(source).and_then(|ast| {
            let offsets = ast.offsets.clone();
            let checked = check::check(ast, declared)?;
            let mut issues = issues::Issues::default();
            literals(&checked.root, &offsets, &mut issues);
            if issues.is_empty() { Ok(checked) } else { Err(issues) }
        });
        compiled.map(|checked| Self { checked }).map_err(|issues| issues.print(source))
    }

    /// The type of its result.
    pub fn result(&self) -> &Type {
        self.checked.types.get(self.checked.root.id as usize).unwrap_or(&Type::Dyn)
    }

    /// Whether it reads a variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.checked.uses.iter().any(|held| held == variable)
    }

    /// The most that an evaluation can cost, by what is declared of the data that its variables stand for.
    pub fn estimate(&self, data: Option<&Decl>) -> u64 {
        cost::estimate(&self.checked, data).max
    }

    /// Evaluates it.
    ///
    /// # Errors
    /// If it makes something impossible of the data, or costs more than `meter` allows.
    pub fn evaluate<'a>(&self, scope: &dyn Scope<'a>, meter: &mut Meter) -> Result<Value<'a>, Error> {
        eval::Evaluation { scope, meter, locals: Vec::new() }.expr(&self.checked.root)
    }
}

/// Looks at constant arguments that can only be wrong in one way: patterns, durations, points in time.
fn literals(expr: &Expr, offsets: &[u32], issues: &mut issues::Issues) {
    if let Kind::Call { function, args, member } = &expr.kind {
        let constant = |index: usize| match args.get(index).map(|arg| (&arg.kind, arg.id)) {
            Some((Kind::Literal(Literal::String(text)), id)) => Some((&**text, id)),
            _ => None,
        };
        let found = match (&**function, member) {
            ("duration", false) => constant(0).filter(|(text, _)| time::Duration::parse(text).is_none()),
            ("timestamp", false) => constant(0).filter(|(text, _)| time::Timestamp::parse(text).is_none()),
            ("matches", _) => constant(1).filter(|(text, _)| library::regexes::compiled(text).is_err()),
            _ => None,
        };
        if let Some((_, id)) = found {
            let offset = offsets.get(id as usize).copied().unwrap_or(0);
            issues.add(offset, format!("invalid {function} argument"));
        }
    }
    let mut below = |expr: &Expr| literals(expr, offsets, issues);
    match &expr.kind {
        Kind::Literal(_) | Kind::Ident(_) => {}
        Kind::Select { operand, .. } => below(operand),
        Kind::Call { args, .. } => args.iter().for_each(below),
        Kind::List(elements) => elements.iter().for_each(|element| below(&element.value)),
        Kind::Map(pairs) => pairs.iter().for_each(|pair| {
            below(&pair.key);
            below(&pair.value);
        }),
        Kind::Struct { fields, .. } => fields.iter().for_each(|field| below(&field.value)),
        Kind::Comprehension(fold) => {
            [&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result].into_iter().for_each(below);
        }
    }
}
