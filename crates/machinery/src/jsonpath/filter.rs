//! Filters: `?(@.type=="Ready")`.

use super::{Cursor, ParseError, Path};
use serde_json::Value;
use std::cmp::Ordering;

/// A test of one element.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Filter {
    left: Operand,
    /// `None`: the left side must yield something.
    comparison: Option<(Operator, Operand)>,
}

#[derive(Clone, PartialEq, Debug)]
enum Operand {
    /// `@.a.b`, from the element.
    Element(Path),
    /// `$.a.b`, from the root.
    Root(Path),
    Literal(Value),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filter {
    /// Reads what follows the `?`, up to but without the closing bracket.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, ParseError> {
        cursor.space();
        let parenthesis = cursor.eat("(");
        let left = operand(cursor)?;
        cursor.space();
        let operators = [
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let operator = operators.into_iter().find(|(token, _)| cursor.eat(token));
        let comparison = match operator {
            Some((_, operator)) => Some((operator, operand(cursor)?)),
            None => None,
        };
        cursor.space();
        if parenthesis && !cursor.eat(")") {
            return Err(cursor.error("unterminated filter"));
        }
        cursor.space();
        Ok(Self { left, comparison })
    }

    /// Whether an element passes.
    pub(super) fn passes(&self, root: &Value, element: &Value) -> bool {
        let left = self.left.value(root, element);
        let Some((operator, right)) = &self.comparison else { return left.is_some() };
        let (Some(left), Some(right)) = (left, right.value(root, element)) else { return false };
        match operator {
            Operator::Equal => equal(left, right),
            Operator::NotEqual => !equal(left, right),
            Operator::Less => order(left, right) == Some(Ordering::Less),
            Operator::LessOrEqual => order(left, right).is_some_and(Ordering::is_le),
            Operator::Greater => order(left, right) == Some(Ordering::Greater),
            Operator::GreaterOrEqual => order(left, right).is_some_and(Ordering::is_ge),
        }
    }
}

impl Operand {
    fn value<'a>(&'a self, root: &'a Value, element: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Element(path) => path.first(element),
            Self::Root(path) => path.first(root),
            Self::Literal(value) => Some(value),
        }
    }
}

fn operand(cursor: &mut Cursor<'_>) -> Result<Operand, ParseError> {
    cursor.space();
    match cursor.peek() {
        Some('@') => {
            cursor.next();
            Ok(Operand::Element(Path::steps(cursor)?))
        }
        Some('$') => {
            cursor.next();
            Ok(Operand::Root(Path::steps(cursor)?))
        }
        Some(quote @ ('"' | '\'')) => {
            cursor.next();
            Ok(Operand::Literal(quoted(cursor, quote)?.into()))
        }
        _ => {
            let start = cursor.clone();
            let word = cursor.take_while(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
            let literal: Option<Value> = serde_json::from_str(word).ok().filter(|_| !word.is_empty());
            literal
                .map(Operand::Literal)
                .ok_or_else(|| start.error("expected @, $, a quoted text, a number, true or false"))
        }
    }
}

/// The rest of a quoted text, whose opening quote was read. A backslash takes the meaning from what follows it.
pub(super) fn quoted(cursor: &mut Cursor<'_>, quote: char) -> Result<String, ParseError> {
    let mut text = String::new();
    loop {
        match cursor.next() {
            None => return Err(cursor.error("missing close quote")),
            Some('\\') => match cursor.next() {
                None => return Err(cursor.error("missing close quote")),
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some('u') => {
                    let digits = cursor.rest().get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
                    let c = digits.and_then(char::from_u32).ok_or_else(|| cursor.error("invalid escape sequence"))?;
                    cursor.at += 4;
                    text.push(c);
                }
                Some(other) => text.push(other),
            },
            Some(c) if c == quote => return Ok(text),
            Some(c) => text.push(c),
        }
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}
