//! The tree of an expression, with macros expanded.

use std::sync::Arc;

/// Names a node of one expression.
pub(crate) type Id = u32;

/// A node.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Expr {
    pub(crate) id: Id,
    pub(crate) kind: Kind,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Kind {
    Literal(Literal),
    Ident(Box<str>),
    Select {
        operand: Box<Expr>,
        field: Box<str>,
        /// `has(operand.field)`
        test: bool,
    },
    /// The target of a member call is its first argument.
    Call {
        function: Box<str>,
        member: bool,
        args: Vec<Expr>,
    },
    List(Vec<Element>),
    Map(Vec<Pair>),
    Struct {
        name: Box<str>,
        fields: Vec<Field>,
    },
    Comprehension(Box<Comprehension>),
}

/// An element of a list; an optional one is left out if it has no value.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Element {
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// An entry of a map.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Pair {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// A field of a struct.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Field {
    pub(crate) id: Id,
    pub(crate) name: Box<str>,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// A fold over a list or map: what every macro with a variable becomes.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Comprehension {
    pub(crate) range: Expr,
    pub(crate) variable: Box<str>,
    /// Of the macros with two variables: the value, where the first is index or key.
    pub(crate) second: Option<Box<str>>,
    pub(crate) accumulator: Box<str>,
    pub(crate) init: Expr,
    pub(crate) condition: Expr,
    pub(crate) step: Expr,
    pub(crate) result: Expr,
}

/// A parsed expression.
#[derive(Clone, Debug)]
pub(crate) struct Ast {
    pub(crate) root: Expr,
    /// Where each node begins, in code points, by id.
    pub(crate) offsets: Vec<u32>,
}

/// The name of the accumulator of macros: nobody can write it.
pub(crate) const ACCUMULATOR: &str = "@result";

impl Expr {
    /// `a.b.c` as one name, if it is nothing but names.
    pub(crate) fn qualified(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select { operand, field, test: false } => Some(format!("{}.{field}", operand.qualified()?)),
            _ => None,
        }
    }
}
