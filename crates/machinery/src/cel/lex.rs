//! Words of an expression.

use super::issues::Issues;
use std::sync::Arc;

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token {
    Ident(Box<str>),
    Int(i64),
    /// A number too large for an integer, unless a minus stands before the smallest one.
    LargeInt,
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// A word, and where it begins and ends, in code points.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) token: Token,
    pub(super) start: u32,
    pub(super) text: Box<str>,
}

/// Longest first.
const SIGNS: [&str; 25] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")", "[", "]",
    "{", "}", "=",
];

/// The words, and what is none.
pub(super) fn lex(source: &str) -> (Vec<Word>, Issues) {
    let mut issues = Issues::default();
    let chars: Vec<char> = source.chars().collect();
    let mut words = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if c.is_ascii_whitespace() || c == '\u{c}' {
            at += 1;
            continue;
        }
        if c == '/' && chars.get(at + 1) == Some(&'/') {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
            continue;
        }
        let start = at;
        let token = if let Some(found) = text(&chars, &mut at) {
            match found {
                Ok(token) => token,
                Err(why) => {
                    issues.add(position(start), why);
                    at = at.max(start + 1);
                    if at == start + 1 {
                        at = chars[start..].iter().position(|c| *c == '\n').map_or(chars.len(), |end| start + end);
                    }
                    continue;
                }
            }
        } else if c.is_ascii_alphabetic() || c == '_' {
            while at < chars.len() && (chars[at].is_ascii_alphanumeric() || chars[at] == '_') {
                at += 1;
            }
            Token::Ident(chars[start..at].iter().collect::<String>().into())
        } else if c.is_ascii_digit() || (c == '.' && chars.get(at + 1).is_some_and(char::is_ascii_digit)) {
            match number(&chars, &mut at) {
                Ok(token) => token,
                Err(why) => {
                    issues.add(position(start), why);
                    Token::Int(0)
                }
            }
        } else {
            let sign = SIGNS.iter().find(|sign| sign.chars().enumerate().all(|(i, s)| chars.get(at + i) == Some(&s)));
            let Some(sign) = sign else {
                let why = format!("Syntax error: token recognition error at: '{c}'");
                issues.add(position(start), why);
                at += 1;
                continue;
            };
            at += sign.len();
            Token::Sign(sign)
        };
        words.push(Word { token, start: position(start), text: chars[start..at].iter().collect::<String>().into() });
    }
    words.push(Word { token: Token::End, start: position(chars.len()), text: "<EOF>".into() });
    (words, issues)
}

fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn number(chars: &[char], at: &mut usize) -> Result<Token, String> {
    let start = *at;
    let hex = chars[start] == '0' && matches!(chars.get(start + 1), Some('x' | 'X'));
    if hex {
        *at += 2;
        while chars.get(*at).is_some_and(char::is_ascii_hexdigit) {
            *at += 1;
        }
    } else {
        let digits = |at: &mut usize| {
            while chars.get(*at).is_some_and(char::is_ascii_digit) {
                *at += 1;
            }
        };
        digits(at);
        let mut double = false;
        if chars.get(*at) == Some(&'.') && chars.get(*at + 1).is_some_and(char::is_ascii_digit) {
            double = true;
            *at += 1;
            digits(at);
        }
        if matches!(chars.get(*at), Some('e' | 'E')) {
            let sign = usize::from(matches!(chars.get(*at + 1), Some('+' | '-')));
            if chars.get(*at + 1 + sign).is_some_and(char::is_ascii_digit) {
                double = true;
                *at += 1 + sign;
                digits(at);
            }
        }
        if double {
            let text: String = chars[start..*at].iter().collect();
            return text.parse().map(Token::Double).map_err(|_| "invalid double literal".to_owned());
        }
    }
    let (digits, radix) = if hex { (&chars[start + 2..*at], 16) } else { (&chars[start..*at], 10) };
    let digits: String = digits.iter().collect();
    if matches!(chars.get(*at), Some('u' | 'U')) {
        *at += 1;
        return u64::from_str_radix(&digits, radix).map(Token::Uint).map_err(|_| "invalid uint literal".to_owned());
    }
    match u64::from_str_radix(&digits, radix) {
        Ok(value) if i64::try_from(value).is_ok() => Ok(Token::Int(value.cast_signed())),
        Ok(value) if value == 1 << 63 => Ok(Token::LargeInt),
        _ => Err("invalid int literal".to_owned()),
    }
}

/// A string or bytes; `None` if nothing of that kind begins here.
fn text(chars: &[char], at: &mut usize) -> Option<Result<Token, String>> {
    let mut raw = false;
    let mut bytes = false;
    let mut quote = *at;
    while let Some(prefix) = chars.get(quote) {
        match prefix {
            'r' | 'R' if !raw => raw = true,
            'b' | 'B' if !bytes => bytes = true,
            '"' | '\'' => break,
            _ => return None,
        }
        quote += 1;
    }
    let mark = *chars.get(quote)?;
    let triple = chars.get(quote + 1) == Some(&mark) && chars.get(quote + 2) == Some(&mark);
    let width = if triple { 3 } else { 1 };
    let begin = quote + width;
    let mut end = begin;
    loop {
        let Some(c) = chars.get(end) else { return Some(unended(chars, *at)) };
        if *c == '\\' && !raw {
            end += 2;
            continue;
        }
        if !triple && (*c == '\n' || *c == '\r') {
            return Some(unended(chars, *at));
        }
        if *c == mark && (!triple || (chars.get(end + 1) == Some(&mark) && chars.get(end + 2) == Some(&mark))) {
            break;
        }
        end += 1;
    }
    *at = end + width;
    let body = &chars[begin..end];
    let found = if bytes {
        unescaped_bytes(body, raw).map(|bytes| Token::Bytes(bytes.into()))
    } else {
        unescaped(body, raw).map(|text| Token::String(text.into()))
    };
    Some(found)
}

fn unended(chars: &[char], from: usize) -> Result<Token, String> {
    let rest: String = chars[from..].iter().take_while(|c| **c != '\n').collect();
    Err(format!("Syntax error: token recognition error at: '{rest}'"))
}

fn unescaped(body: &[char], raw: bool) -> Result<String, String> {
    let mut out = String::with_capacity(body.len());
    escapes(body, raw, |piece| {
        match piece {
            Piece::Char(c) => out.push(c),
            Piece::Point(code, _) => out.push(char::from_u32(code).ok_or("invalid unicode code point")?),
        }
        Ok(())
    })?;
    Ok(out)
}

fn unescaped_bytes(body: &[char], raw: bool) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(body.len());
    escapes(body, raw, |piece| {
        match piece {
            Piece::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Piece::Point(code, false) => out.push(u8::try_from(code).map_err(|_| "octet out of range")?),
            Piece::Point(_, true) => return Err("unable to unescape string".to_owned()),
        }
        Ok(())
    })?;
    Ok(out)
}

enum Piece {
    Char(char),
    /// A code, and whether it is a Unicode code point rather than an octet.
    Point(u32, bool),
}

fn escapes(body: &[char], raw: bool, mut out: impl FnMut(Piece) -> Result<(), String>) -> Result<(), String> {
    let bad = || "unable to unescape string".to_owned();
    let mut at = 0;
    while at < body.len() {
        let c = body[at];
        at += 1;
        if raw || c != '\\' {
            out(Piece::Char(c))?;
            continue;
        }
        let kind = *body.get(at).ok_or_else(bad)?;
        at += 1;
        let simple = match kind {
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            '\\' | '\'' | '"' | '`' | '?' => Some(kind),
            _ => None,
        };
        if let Some(c) = simple {
            out(Piece::Char(c))?;
            continue;
        }
        let (digits, radix, skip) = match kind {
            'x' | 'X' => (2, 16, 0),
            'u' => (4, 16, 0),
            'U' => (8, 16, 0),
            '0'..='3' => (3, 8, 1),
            _ => return Err(bad()),
        };
        at -= skip;
        let text: String = body.get(at..at + digits).ok_or_else(bad)?.iter().collect();
        at += digits;
        out(Piece::Point(u32::from_str_radix(&text, radix).map_err(|_| bad())?, matches!(kind, 'u' | 'U')))?;
    }
    Ok(())
}
