//! What a template is made of, and how errors show it.

use super::number::Number;
use super::quote::quote;
use std::fmt;

/// A part of a template.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Byte offset in the text.
    pub at: usize,
    pub kind: NodeKind,
}

#[derive(Clone, Debug)]
pub(super) enum NodeKind {
    Text(String),
    List(Vec<Node>),
    Action(Box<Node>),
    If(Box<Branch>),
    Range(Box<Branch>),
    With(Box<Branch>),
    Template(String, Option<Box<Node>>),
    Break,
    Continue,
    Pipe(Pipe),
    Command(Vec<Node>),
    Identifier(String),
    Field(Vec<String>),
    Variable(Vec<String>),
    Chain(Box<Node>, Vec<String>),
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    /// As it is written, and what it says.
    String(String, Vec<u8>),
    End,
    Else,
}

#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub pipe: Node,
    pub list: Node,
    pub other: Option<Node>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Pipe {
    /// Whether the variables are given a new value, and not made.
    pub assigns: bool,
    pub variables: Vec<String>,
    pub commands: Vec<Node>,
}

impl Node {
    pub(super) const fn new(at: usize, kind: NodeKind) -> Self {
        Self { at, kind }
    }

    /// Whether it says nothing, so that another definition of the same name may take its place.
    pub(super) fn is_empty(&self) -> bool {
        match &self.kind {
            NodeKind::List(nodes) => nodes.iter().all(Self::is_empty),
            NodeKind::Text(text) => text.trim().is_empty(),
            _ => false,
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            NodeKind::Text(text) | NodeKind::Identifier(text) | NodeKind::String(text, _) => f.write_str(text),
            NodeKind::List(nodes) => nodes.iter().try_for_each(|node| node.fmt(f)),
            NodeKind::Action(pipe) => write!(f, "{{{{{pipe}}}}}"),
            NodeKind::If(branch) => branch.show("if", f),
            NodeKind::Range(branch) => branch.show("range", f),
            NodeKind::With(branch) => branch.show("with", f),
            NodeKind::Template(name, pipe) => {
                write!(f, "{{{{template {}", quote(name.as_bytes()))?;
                if let Some(pipe) = pipe {
                    write!(f, " {pipe}")?;
                }
                f.write_str("}}")
            }
            NodeKind::Break => f.write_str("{{break}}"),
            NodeKind::Continue => f.write_str("{{continue}}"),
            NodeKind::Pipe(pipe) => pipe.fmt(f),
            NodeKind::Command(arguments) => {
                for (at, argument) in arguments.iter().enumerate() {
                    f.write_str(if at > 0 { " " } else { "" })?;
                    argument.show_operand(f)?;
                }
                Ok(())
            }
            NodeKind::Field(names) => names.iter().try_for_each(|name| write!(f, ".{name}")),
            NodeKind::Variable(names) => f.write_str(&names.join(".")),
            NodeKind::Chain(node, names) => {
                node.show_operand(f)?;
                names.iter().try_for_each(|name| write!(f, ".{name}"))
            }
            NodeKind::Dot => f.write_str("."),
            NodeKind::Nil => f.write_str("nil"),
            NodeKind::Bool(value) => value.fmt(f),
            NodeKind::Number(number) => f.write_str(&number.text),
            NodeKind::End => f.write_str("{{end}}"),
            NodeKind::Else => f.write_str("{{else}}"),
        }
    }
}

impl Node {
    /// A pipeline that is an operand stands in parentheses.
    fn show_operand(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self.kind, NodeKind::Pipe(_)) { write!(f, "({self})") } else { write!(f, "{self}") }
    }
}

impl Branch {
    fn show(&self, word: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{{word} {}}}}}{}", self.pipe, self.list)?;
        if let Some(other) = &self.other {
            write!(f, "{{{{else}}}}{other}")?;
        }
        f.write_str("{{end}}")
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            write!(f, "{} {} ", self.variables.join(", "), if self.assigns { "=" } else { ":=" })?;
        }
        for (at, command) in self.commands.iter().enumerate() {
            write!(f, "{}{command}", if at > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}
