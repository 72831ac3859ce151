//! Where a text stops being JSON, in the words that clients know: those of Go's reader.

/// What the reader expects next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// A value, or the end of an array that has none yet.
    ValueOrEnd,
    /// A key, or the end of an object that has none yet.
    KeyOrEnd,
    Key,
    Colon,
    /// A comma, or the end of what is open.
    Separator,
}

/// The first thing that is wrong with `text`; `None` if it is JSON.
pub(crate) fn problem(text: &[u8]) -> Option<String> {
    let mut reader = Reader { text, at: 0 };
    reader.document().err()
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<(), String> {
        // What is open: true for an object, false for an array.
        let mut open: Vec<bool> = Vec::new();
        let mut next = Next::Value;
        loop {
            self.blanks();
            if next == Next::Separator && open.is_empty() {
                return match self.peek() {
                    None => Ok(()),
                    Some(found) => Err(unexpected(found, "after top-level value")),
                };
            }
            let found = self.take()?;
            next = match (next, found) {
                (Next::ValueOrEnd, b']') | (Next::KeyOrEnd, b'}') => {
                    open.pop();
                    Next::Separator
                }
                (Next::Value | Next::ValueOrEnd, b'{') => {
                    open.push(true);
                    Next::KeyOrEnd
                }
                (Next::Value | Next::ValueOrEnd, b'[') => {
                    open.push(false);
                    Next::ValueOrEnd
                }
                (Next::Value | Next::ValueOrEnd, found) => {
                    self.scalar(found)?;
                    Next::Separator
                }
                (Next::Key | Next::KeyOrEnd, b'"') => {
                    self.string()?;
                    Next::Colon
                }
                (Next::Key | Next::KeyOrEnd, found) => {
                    return Err(unexpected(found, "looking for beginning of object key string"));
                }
                (Next::Colon, b':') => Next::Value,
                (Next::Colon, found) => return Err(unexpected(found, "after object key")),
                (Next::Separator, b',') if open.last() == Some(&true) => Next::Key,
                (Next::Separator, b',') => Next::Value,
                (Next::Separator, b'}') if open.last() == Some(&true) => {
                    open.pop();
                    Next::Separator
                }
                (Next::Separator, b']') if open.last() == Some(&false) => {
                    open.pop();
                    Next::Separator
                }
                (Next::Separator, found) => {
                    let object = open.last() == Some(&true);
                    return Err(unexpected(
                        found,
                        if object { "after object key:value pair" } else { "after array element" },
                    ));
                }
            };
        }
    }

    fn scalar(&mut self, first: u8) -> Result<(), String> {
        match first {
            b'"' => self.string(),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            b'-' | b'0'..=b'9' => self.number(first),
            found => Err(unexpected(found, "looking for beginning of value")),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        for wanted in word.bytes().skip(1) {
            let found = self.take()?;
            if found != wanted {
                return Err(unexpected(found, &format!("in literal {word} (expecting '{}')", char::from(wanted))));
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), String> {
        loop {
            match self.take()? {
                b'"' => return Ok(()),
                b'\\' => match self.take()? {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let digit = self.take()?;
                            if !digit.is_ascii_hexdigit() {
                                return Err(unexpected(digit, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    found => return Err(unexpected(found, "in string escape code")),
                },
                found if found < 0x20 => return Err(unexpected(found, "in string literal")),
                _ => {}
            }
        }
    }

    fn number(&mut self, first: u8) -> Result<(), String> {
        let lead = if first == b'-' { self.digit("in numeric literal")? } else { first };
        if lead != b'0' {
            self.digits();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }

    fn digit(&mut self, place: &str) -> Result<u8, String> {
        let found = self.take()?;
        if found.is_ascii_digit() { Ok(found) } else { Err(unexpected(found, place)) }
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|found| found.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self) -> Result<u8, String> {
        let found = self.peek().ok_or("unexpected end of JSON input")?;
        self.at += 1;
        Ok(found)
    }
}

fn unexpected(found: u8, place: &str) -> String {
    let shown = match found {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0..=0x1f | 0x7f => format!("'\\x{found:02x}'"),
        0x80..=0xa0 | 0xad => format!("'\\u{found:04x}'"),
        found => format!("'{}'", char::from(found)),
    };
    format!("invalid character {shown} {place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(problem(text.as_bytes()).as_deref().unwrap_or("none"), expected, "{text}");
    }

    #[test]
    fn the_words_of_go() {
        for good in ["{}", "[]", " [1, -2.5e+3, \"a\\u00e9\", {\"b\": null}] ", "true", "0"] {
            check(good, "none");
        }
        check("", "unexpected end of JSON input");
        check("{\"a\": 1,", "unexpected end of JSON input");
        check("not", "invalid character 'o' in literal null (expecting 'u')");
        check("metadata: 1", "invalid character 'm' looking for beginning of value");
        check("{a", "invalid character 'a' looking for beginning of object key string");
        check("{\"a\" 1}", "invalid character '1' after object key");
        check("{\"a\": 1 2}", "invalid character '2' after object key:value pair");
        check("[1 2]", "invalid character '2' after array element");
        check("[1,]", "invalid character ']' looking for beginning of value");
        check("{} x", "invalid character 'x' after top-level value");
        check("01", "invalid character '1' after top-level value");
        check("\"a\nb\"", "invalid character '\\n' in string literal");
        check("\"\\q\"", "invalid character 'q' in string escape code");
        check("1.x", "invalid character 'x' after decimal point in numeric literal");
    }
}
