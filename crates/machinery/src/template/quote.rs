//! Quoted text as Go writes and reads it.

/// A character or byte that an escape stands for.
#[derive(Clone, Copy)]
pub(super) enum Unquoted {
    Char(char),
    Byte(u8),
}

impl Unquoted {
    pub(super) fn code(self) -> u32 {
        match self {
            Self::Char(c) => u32::from(c),
            Self::Byte(byte) => u32::from(byte),
        }
    }
}

/// Whether Go shows a character as it is.
pub(super) fn printable(c: char) -> bool {
    // The standard library has the table, and shows it only so; after a letter, marks are not escaped as the first.
    c == ' ' || matches!(c, '"' | '\'' | '\\') || format!("a{c}").escape_debug().eq(['a', c])
}

/// A character as Go's `%#U` shows it.
pub(super) fn unicode(c: char) -> String {
    let shown = if printable(c) { format!(" '{c}'") } else { String::new() };
    format!("U+{:04X}{shown}", u32::from(c))
}

/// The first character, or `None` and one byte that is none.
pub(super) fn decode(bytes: &[u8]) -> (Option<char>, usize) {
    let length = match bytes.first() {
        Some(0..=0x7f) => 1,
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => return (None, 1),
    };
    let c = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| text.chars().next());
    c.map_or((None, 1), |c| (Some(c), length))
}

/// Characters, each byte that is none as the replacement character.
pub(super) fn characters(mut bytes: &[u8]) -> impl Iterator<Item = char> {
    std::iter::from_fn(move || {
        let (c, length) = (!bytes.is_empty()).then(|| decode(bytes))?;
        bytes = &bytes[length..];
        Some(c.unwrap_or(char::REPLACEMENT_CHARACTER))
    })
}

/// A Go string literal; with `ascii` one of ASCII characters only.
pub(super) fn quote_with(bytes: &[u8], mark: char, ascii: bool) -> String {
    let mut quoted = String::from(mark);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (c, length) = decode(rest);
        match c {
            Some(c) => push_escaped(&mut quoted, c, mark, ascii),
            None => quoted.push_str(&format!("\\x{:02x}", rest[0])),
        }
        rest = &rest[length..];
    }
    quoted.push(mark);
    quoted
}

/// A Go string literal.
pub(super) fn quote(bytes: &[u8]) -> String {
    quote_with(bytes, '"', false)
}

const ESCAPES: [(char, char); 8] = [
    ('a', '\u{7}'),
    ('b', '\u{8}'),
    ('f', '\u{c}'),
    ('n', '\n'),
    ('r', '\r'),
    ('t', '\t'),
    ('v', '\u{b}'),
    ('\\', '\\'),
];

fn push_escaped(quoted: &mut String, c: char, mark: char, ascii: bool) {
    if c == mark {
        quoted.extend(['\\', c]);
        return;
    }
    if let Some((letter, _)) = ESCAPES.iter().find(|(_, escaped)| *escaped == c) {
        quoted.extend(['\\', *letter]);
        return;
    }
    if (c.is_ascii() || !ascii) && printable(c) {
        quoted.push(c);
        return;
    }
    quoted.push_str(&match u32::from(c) {
        code @ (0..=0x1f | 0x7f) => format!("\\x{code:02x}"),
        code @ 0..=0xffff => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    });
}

/// The text of a Go string literal, of either kind.
pub(super) fn unquote(literal: &str) -> Option<Vec<u8>> {
    let mark = literal.chars().next()?;
    let inner = literal.get(1..literal.len().checked_sub(1)?)?;
    if mark == '`' {
        return Some(inner.bytes().filter(|byte| *byte != b'\r').collect());
    }
    let mut text = Vec::new();
    let mut rest = inner;
    while !rest.is_empty() {
        let (unquoted, after) = unquote_char(rest, mark)?;
        match unquoted {
            Unquoted::Char(c) => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Unquoted::Byte(byte) => text.push(byte),
        }
        rest = after;
    }
    Some(text)
}

/// The first character or escape of the inside of a literal, and what follows it.
pub(super) fn unquote_char(text: &str, mark: char) -> Option<(Unquoted, &str)> {
    let mut letters = text.chars();
    let c = letters.next()?;
    if c == mark {
        return None;
    }
    if c != '\\' {
        return Some((Unquoted::Char(c), letters.as_str()));
    }
    let escape = letters.next()?;
    let rest = letters.as_str();
    let digits = |count: usize, base: u32| {
        let digits = rest.get(..count).filter(|digits| !digits.starts_with('+'))?;
        Some((u32::from_str_radix(digits, base).ok()?, &rest[count..]))
    };
    match escape {
        'x' => digits(2, 16).and_then(|(code, rest)| Some((Unquoted::Byte(u8::try_from(code).ok()?), rest))),
        'u' => digits(4, 16).and_then(|(code, rest)| Some((Unquoted::Char(char::from_u32(code)?), rest))),
        'U' => digits(8, 16).and_then(|(code, rest)| Some((Unquoted::Char(char::from_u32(code)?), rest))),
        '0'..='7' => {
            let digits = text.get(1..4)?;
            let code = u8::try_from(u32::from_str_radix(digits, 8).ok()?).ok()?;
            Some((Unquoted::Byte(code), &text[4..]))
        }
        '\'' | '"' => (escape == mark).then_some((Unquoted::Char(escape), rest)),
        _ => {
            let (_, escaped) = ESCAPES.iter().find(|(letter, _)| *letter == escape)?;
            Some((Unquoted::Char(*escaped), rest))
        }
    }
}
