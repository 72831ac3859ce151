//! Text to items.

use super::quote::{printable, quote, unicode};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    Error,
    Bool,
    Char,
    CharConstant,
    Assign,
    Declare,
    End,
    Field,
    Identifier,
    LeftDelimiter,
    LeftParenthesis,
    Number,
    Pipe,
    RawString,
    RightDelimiter,
    RightParenthesis,
    Space,
    String,
    Text,
    Variable,
    /// Here words begin that have a meaning of their own.
    Block,
    Break,
    Continue,
    Dot,
    Define,
    Else,
    EndWord,
    If,
    Nil,
    Range,
    Template,
    With,
}

const WORDS: [(&str, Kind); 12] = [
    (".", Kind::Dot),
    ("block", Kind::Block),
    ("break", Kind::Break),
    ("continue", Kind::Continue),
    ("define", Kind::Define),
    ("else", Kind::Else),
    ("end", Kind::EndWord),
    ("if", Kind::If),
    ("range", Kind::Range),
    ("nil", Kind::Nil),
    ("template", Kind::Template),
    ("with", Kind::With),
];

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub kind: Kind,
    /// Byte offset in the text.
    pub at: usize,
    /// What stands there; of an error, what is wrong.
    pub text: String,
    pub line: usize,
}

/// How many characters of an item an error shows.
const SHOWN: usize = 10;

impl Item {
    /// The item as errors name it.
    pub(super) fn shown(&self) -> String {
        match self.kind {
            Kind::End => "EOF".into(),
            Kind::Error => self.text.clone(),
            kind if kind >= Kind::Block => format!("<{}>", self.text),
            _ if self.text.len() > SHOWN => {
                let first: String = self.text.chars().take(SHOWN).collect();
                format!("{}...", quote(first.as_bytes()))
            }
            _ => quote(self.text.as_bytes()),
        }
    }
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
/// A minus and the space beside it.
const TRIM_MARKER: usize = 2;

/// Yields the items of a text, one by one.
pub(super) struct Lexer<'a> {
    input: &'a str,
    at: usize,
    start: usize,
    line: usize,
    start_line: usize,
    parentheses: usize,
    in_action: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(input: &'a str) -> Self {
        Self { input, at: 0, start: 0, line: 1, start_line: 1, parentheses: 0, in_action: false }
    }

    fn rest(&self) -> &'a str {
        &self.input[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.line += usize::from(c == '\n');
        Some(c)
    }

    /// Moves on without counting lines.
    fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    fn count_lines(&mut self) {
        self.line += newlines(&self.input[self.start..self.at]);
    }

    fn take(&mut self, kind: Kind) -> Item {
        let text = self.input[self.start..self.at].into();
        let item = Item { kind, at: self.start, text, line: self.start_line };
        self.start = self.at;
        self.start_line = self.line;
        item
    }

    fn ignore(&mut self) {
        self.count_lines();
        self.start = self.at;
        self.start_line = self.line;
    }

    fn error(&mut self, problem: impl Into<String>) -> Item {
        let item = Item { kind: Kind::Error, at: self.start, text: problem.into(), line: self.start_line };
        self.input = "";
        (self.at, self.start) = (0, 0);
        item
    }

    fn accept(&mut self, among: &str) -> bool {
        let found = self.peek().is_some_and(|c| among.contains(c));
        if found {
            self.advance();
        }
        found
    }

    fn accept_run(&mut self, among: &str) {
        while self.accept(among) {}
    }

    pub(super) fn next_item(&mut self) -> Item {
        if self.in_action { self.action() } else { self.text() }
    }

    fn text(&mut self) -> Item {
        loop {
            let Some(found) = self.rest().find(LEFT) else {
                self.at = self.input.len();
                if self.at > self.start {
                    self.count_lines();
                    return self.take(Kind::Text);
                }
                return Item { kind: Kind::End, at: self.at, text: "EOF".into(), line: self.start_line };
            };
            if found > 0 {
                self.at += found;
                let before = &self.input[self.start..self.at];
                let trimmed = if left_trims(&self.input[self.at + LEFT.len()..]) {
                    before.len() - before.trim_end_matches(is_space).len()
                } else {
                    0
                };
                self.at -= trimmed;
                self.count_lines();
                let item = self.take(Kind::Text);
                self.at += trimmed;
                self.ignore();
                if !item.text.is_empty() {
                    return item;
                }
            }
            // At a left delimiter.
            self.at += LEFT.len();
            let marker = if left_trims(self.rest()) { TRIM_MARKER } else { 0 };
            if !self.rest()[marker..].starts_with("/*") {
                let item = self.take(Kind::LeftDelimiter);
                self.in_action = true;
                self.skip(marker);
                self.ignore();
                self.parentheses = 0;
                return item;
            }
            self.skip(marker);
            self.ignore();
            if let Some(error) = self.comment() {
                return error;
            }
        }
    }

    /// Skips a comment, up to what follows its delimiter.
    fn comment(&mut self) -> Option<Item> {
        self.skip(2);
        let Some(end) = self.rest().find("*/") else { return Some(self.error("unclosed comment")) };
        self.skip(end + 2);
        let Some(trims) = self.at_right() else { return Some(self.error("comment ends before closing delimiter")) };
        self.count_lines();
        self.start = self.at;
        self.start_line = self.line;
        self.close(trims);
        self.ignore();
        None
    }

    /// Skips a right delimiter and what it trims.
    fn close(&mut self, trims: bool) {
        self.skip(RIGHT.len() + if trims { TRIM_MARKER } else { 0 });
        if trims {
            self.skip(self.rest().len() - self.rest().trim_start_matches(is_space).len());
        }
    }

    /// At a right delimiter: whether it trims.
    fn at_right(&self) -> Option<bool> {
        let rest = self.rest();
        if right_trims(rest) && rest[TRIM_MARKER..].starts_with(RIGHT) {
            return Some(true);
        }
        rest.starts_with(RIGHT).then_some(false)
    }

    fn right_delimiter(&mut self) -> Item {
        let trims = self.at_right() == Some(true);
        if trims {
            self.skip(TRIM_MARKER);
            self.ignore();
        }
        self.skip(RIGHT.len());
        let item = self.take(Kind::RightDelimiter);
        if trims {
            self.skip(self.rest().len() - self.rest().trim_start_matches(is_space).len());
            self.ignore();
        }
        self.in_action = false;
        item
    }

    fn action(&mut self) -> Item {
        if self.at_right().is_some() {
            return if self.parentheses == 0 { self.right_delimiter() } else { self.error("unclosed left paren") };
        }
        let Some(c) = self.peek() else { return self.error("unclosed action") };
        if is_space(c) {
            return self.space();
        }
        self.advance();
        match c {
            '=' => self.take(Kind::Assign),
            ':' if self.accept("=") => self.take(Kind::Declare),
            ':' => self.error("expected :="),
            '|' => self.take(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '`' => self.raw(),
            '$' if self.at_terminator() => self.take(Kind::Variable),
            '$' => self.name(Kind::Variable),
            '.' if !self.rest().is_empty() && !self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                self.name(Kind::Field)
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.at -= 1;
                self.number()
            }
            c if in_name(c) => self.identifier(),
            '(' => {
                self.parentheses += 1;
                self.take(Kind::LeftParenthesis)
            }
            ')' if self.parentheses == 0 => self.error("unexpected right paren"),
            ')' => {
                self.parentheses -= 1;
                self.take(Kind::RightParenthesis)
            }
            c if c.is_ascii() && printable(c) => self.take(Kind::Char),
            c => self.error(format!("unrecognized character in action: {}", unicode(c))),
        }
    }

    fn space(&mut self) -> Item {
        let mut spaces = 0;
        let mut last = self.at;
        while self.peek().is_some_and(is_space) {
            last = self.at;
            self.advance();
            spaces += 1;
        }
        // The last space may belong to a trimming delimiter.
        if right_trims(&self.input[last..]) && self.input[last + TRIM_MARKER..].starts_with(RIGHT) {
            self.line -= usize::from(self.input[last..].starts_with('\n'));
            self.at = last;
            if spaces == 1 {
                return self.right_delimiter();
            }
        }
        self.take(Kind::Space)
    }

    fn identifier(&mut self) -> Item {
        while self.peek().is_some_and(in_name) {
            self.advance();
        }
        if !self.at_terminator() {
            return self.bad_character();
        }
        let word = &self.input[self.start..self.at];
        let meaning = WORDS.iter().find(|(text, _)| *text == word).map(|(_, kind)| *kind);
        let constant = matches!(word, "true" | "false").then_some(Kind::Bool);
        self.take(meaning.or(constant).unwrap_or(Kind::Identifier))
    }

    /// A field or variable, after its first character.
    fn name(&mut self, kind: Kind) -> Item {
        if self.at_terminator() {
            return self.take(if kind == Kind::Variable { kind } else { Kind::Dot });
        }
        while self.peek().is_some_and(in_name) {
            self.advance();
        }
        if self.at_terminator() { self.take(kind) } else { self.bad_character() }
    }

    fn bad_character(&mut self) -> Item {
        let c = self.peek().unwrap_or(char::REPLACEMENT_CHARACTER);
        self.error(format!("bad character {}", unicode(c)))
    }

    fn at_terminator(&self) -> bool {
        self.peek().is_none_or(|c| is_space(c) || ".,|:)(".contains(c)) || self.rest().starts_with(RIGHT)
    }

    fn quoted(&mut self, end: char, kind: Kind, unterminated: &str) -> Item {
        loop {
            match self.advance() {
                Some('\\') => {
                    if self.advance().is_none_or(|c| c == '\n') {
                        return self.error(unterminated);
                    }
                }
                None | Some('\n') => return self.error(unterminated),
                Some(c) if c == end => return self.take(kind),
                Some(_) => {}
            }
        }
    }

    fn raw(&mut self) -> Item {
        loop {
            match self.advance() {
                None => return self.error("unterminated raw quoted string"),
                Some('`') => return self.take(Kind::RawString),
                Some(_) => {}
            }
        }
    }

    fn number(&mut self) -> Item {
        let complete = self.scan_number();
        // A sign would make it a complex number, and those are not read.
        if !complete || matches!(self.peek(), Some('+' | '-')) {
            let text = quote(&self.input.as_bytes()[self.start..self.at]);
            return self.error(format!("bad number syntax: {text}"));
        }
        self.take(Kind::Number)
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponent = match digits.len() {
            11 => "eE",
            23 => "pP",
            _ => "",
        };
        if self.accept(exponent) {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        if self.peek().is_some_and(in_name) {
            self.advance();
            return false;
        }
        true
    }
}

pub(super) fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn in_name(c: char) -> bool {
    c == '_' || c.is_alphabetic() || c.is_numeric()
}

fn left_trims(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first() == Some(&b'-') && bytes.get(1).is_some_and(|byte| is_space(char::from(*byte)))
}

fn right_trims(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.get(1) == Some(&b'-') && is_space(char::from(bytes[0]))
}
