//! Go's `text/template`, as far as it makes sense with a flat map of strings: the language in which users of KubeStellar
//! write what differs from cluster to cluster.
//!
//! ```text
//! text ──lex──> items ──parse──> nodes ──eval, with properties──> text
//! ```
//!
//! Errors are worded as Go words them, with the name that the caller gives. A key that is not there is an error
//! (`missingkey=error`). Unlike Go, what a template may cost is bounded: see [`MAX_WORK`], [`MAX_OUTPUT`],
//! [`MAX_DEPTH`]. Imaginary numbers are not read.

mod escape;
mod eval;
mod functions;
mod lex;
mod node;
mod number;
mod parse;
mod print;
mod quote;
#[cfg(test)]
mod tests;
mod value;

use node::Node;
use std::collections::BTreeMap;

/// The most bytes of one result, and of every value on the way there: as much as one ManifestWork carries.
pub const MAX_OUTPUT: usize = 512 * 1024;
/// The most steps of one execution. A node is a step, and so are sixteen bytes that a function reads or makes.
pub const MAX_WORK: usize = 1 << 20;
/// How deep pipelines, control structures and templates may be in one another: what fits into the stack of a thread.
pub const MAX_DEPTH: usize = 128;

/// What a template is executed with: properties by name.
pub type Properties = BTreeMap<String, String>;

/// A text that was read as a template.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    root: Node,
    defined: BTreeMap<String, Node>,
}

/// Text that is no template. Worded with [`ParseError::named`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    line: usize,
    problem: String,
    /// The line in which the action starts that does not end.
    started: Option<usize>,
}

impl ParseError {
    /// The error as Go words it for a template of this name.
    pub fn named(&self, name: &str) -> String {
        let Self { line, problem, started } = self;
        let started = started.map(|line| {
            let action = if problem.ends_with(" action") { "" } else { " in action" };
            format!("{action} started at {name}:{line}")
        });
        format!("template: {name}:{line}: {problem}{}", started.unwrap_or_default())
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// If the text is none, with the line in which that shows.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::parse(text)
    }

    /// The text that the template makes of these properties.
    ///
    /// # Errors
    /// As Go words them for a template of this name; or if a limit is passed.
    pub fn execute(&self, name: &str, properties: &Properties) -> Result<String, String> {
        eval::execute(self, name, properties)
    }
}

/// Whether a property of this name can be asked for in a template: whether it is an identifier of Go.
pub fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    let letter = |c: char| c == '_' || c.is_alphabetic();
    letters.next().is_some_and(letter) && letters.all(|c| letter(c) || c.is_numeric())
}
