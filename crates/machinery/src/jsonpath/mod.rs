//! JSONPath in the two dialects that our users write: kubectl's (printer columns, selectable fields, status feedback)
//! and that of CustomTransforms (what to remove from an object).

mod filter;
mod path;
mod removal;

pub use path::Path;
pub use removal::Removal;

/// Values that one path may yield: `..` below `..` could otherwise give more than there is memory.
pub const MAX_RESULTS: usize = 10_000;

/// Text that is not a path; says where and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("syntax error at {at}: {problem}")]
pub struct ParseError {
    /// Byte offset in the text.
    pub at: usize,
    /// What is wrong there.
    pub problem: String,
}

/// A position in the text of a path.
#[derive(Clone)]
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.next();
        }
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn error(&self, problem: impl Into<String>) -> ParseError {
        ParseError { at: self.at, problem: problem.into() }
    }
}
