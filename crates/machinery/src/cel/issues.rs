//! What is wrong with an expression, and where, as the stock server prints it.

use super::limits::ERRORS_MAX;

/// One problem.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Issue {
    /// In code points.
    offset: u32,
    message: String,
}

/// The problems of one expression.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Issues {
    list: Vec<Issue>,
    more: usize,
}

impl Issues {
    pub(crate) fn one(offset: u32, message: impl Into<String>) -> Self {
        let mut issues = Self::default();
        issues.add(offset, message);
        issues
    }

    pub(crate) fn add(&mut self, offset: u32, message: impl Into<String>) {
        if self.list.len() < ERRORS_MAX {
            self.list.push(Issue { offset, message: message.into() });
        } else {
            self.more += 1;
        }
    }

    /// With those of another.
    pub(crate) fn and(mut self, other: Self) -> Self {
        for issue in other.list {
            self.add(issue.offset, issue.message);
        }
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each problem with the line that it is in, and a mark below its place.
    pub(crate) fn print(&self, source: &str) -> String {
        let mut list: Vec<&Issue> = self.list.iter().collect();
        list.sort_by_key(|issue| issue.offset);
        let mut out: Vec<String> = list.into_iter().map(|issue| print(issue, source)).collect();
        if self.more > 0 {
            out.push(format!("{} more errors were truncated", self.more));
        }
        out.join("\n")
    }
}

fn print(issue: &Issue, source: &str) -> String {
    let mut rest = issue.offset as usize;
    let mut shown = ("", 1, 0);
    for (index, line) in source.split('\n').enumerate() {
        let chars = line.chars().count();
        shown = (line, index + 1, rest.min(chars));
        if rest <= chars {
            break;
        }
        rest -= chars + 1;
    }
    let (line, number, column) = shown;
    let line = line.replace('\t', " ");
    let mut marks = String::new();
    let mut chars = line.chars();
    for c in chars.by_ref().take(column) {
        marks.push(if c.is_ascii() { '.' } else { '\u{ff0e}' });
    }
    marks.push(if chars.next().is_none_or(|c| c.is_ascii()) { '^' } else { '\u{ff3e}' });
    format!("ERROR: <input>:{number}:{}: {}\n | {line}\n | {marks}", column + 1, issue.message)
}
