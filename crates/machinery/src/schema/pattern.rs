//! `pattern` of a schema: a regular expression of Go, run by ours.

use regex::Regex;
use std::fmt;
use std::sync::OnceLock;

/// A regular expression that is compiled when it is first used.
pub struct Pattern {
    source: Box<str>,
    compiled: OnceLock<Result<Regex, String>>,
}

impl Pattern {
    pub(crate) fn new(source: &str) -> Self {
        Self { source: source.into(), compiled: OnceLock::new() }
    }

    /// The pattern as it was declared.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether some part of `text` matches.
    ///
    /// # Errors
    /// If the pattern is not a regular expression: what is wrong with it.
    pub fn is_match(&self, text: &str) -> Result<bool, &str> {
        match self.compiled.get_or_init(|| compile(&self.source)) {
            Ok(regex) => Ok(regex.is_match(text)),
            Err(problem) => Err(problem),
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Clone for Pattern {
    fn clone(&self) -> Self {
        Self { source: self.source.clone(), compiled: self.compiled.clone() }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// Compiles a regular expression written for Go.
///
/// # Errors
/// What is wrong with it, in one line.
pub fn compile(go: &str) -> Result<Regex, String> {
    let translated = translate(go, false);
    Regex::new(&translated).or_else(|first| {
        Regex::new(&translate(go, true)).map_err(|_| first.to_string().lines().last().unwrap_or("").to_owned())
    })
}

/// Go's classes `\d \w \s \b` are ASCII, ours are not unless told; Go quotes with `\Q..\E`; inside `[...]` we know
/// nested classes and `&&`, which Go does not. With `braces`, every brace that does not begin a repetition is a
/// letter, as it is in Go.
fn translate(go: &str, braces: bool) -> String {
    let chars: Vec<char> = go.chars().collect();
    let mut out = String::with_capacity(go.len() + 8);
    let mut in_class = false;
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        let next = chars.get(at + 1).copied();
        match (c, next) {
            ('\\', Some('Q')) => {
                at += 2;
                while at < chars.len() && !(chars[at] == '\\' && chars.get(at + 1) == Some(&'E')) {
                    out.push_str(&regex::escape(&chars[at].to_string()));
                    at += 1;
                }
                at += 2;
                continue;
            }
            ('\\', Some(class)) => {
                match (class, in_class) {
                    ('d', false) => out.push_str("[0-9]"),
                    ('d', true) => out.push_str("0-9"),
                    ('D', _) => out.push_str("[^0-9]"),
                    ('w', false) => out.push_str("[0-9A-Za-z_]"),
                    ('w', true) => out.push_str("0-9A-Za-z_"),
                    ('W', _) => out.push_str("[^0-9A-Za-z_]"),
                    ('s', false) => out.push_str(r"[\t\n\x0c\r ]"),
                    ('s', true) => out.push_str(r"\t\n\x0c\r "),
                    ('S', _) => out.push_str(r"[^\t\n\x0c\r ]"),
                    ('b', false) => out.push_str(r"(?-u:\b)"),
                    ('B', false) => out.push_str(r"(?-u:\B)"),
                    (other, _) => {
                        out.push('\\');
                        out.push(other);
                    }
                }
                at += 2;
                continue;
            }
            ('[', following) if in_class => out.push_str(if following == Some(':') { "[" } else { r"\[" }),
            ('[', following) => {
                in_class = true;
                out.push('[');
                let mut after = at + 1;
                if following == Some('^') {
                    out.push('^');
                    after += 1;
                }
                if chars.get(after) == Some(&']') {
                    out.push_str(r"\]");
                    after += 1;
                }
                at = after;
                continue;
            }
            (']', _) if in_class => {
                // The end of `[:alpha:]` is not the end of the class around it.
                in_class = at > 0
                    && chars[at - 1] == ':'
                    && out.rfind("[:").is_some_and(|open| {
                        out[open + 2..].chars().all(|c| c.is_ascii_alphabetic() || c == ':' || c == '^')
                    });
                out.push(']');
            }
            ('&' | '~', _) if in_class => {
                out.push('\\');
                out.push(c);
            }
            ('{', _) if braces && !in_class && !begins_repetition(&chars[at..]) => out.push_str(r"\{"),
            ('}', _) if braces && !in_class && !ends_repetition(&chars[..=at]) => out.push_str(r"\}"),
            _ => out.push(c),
        }
        at += 1;
    }
    out
}

fn begins_repetition(rest: &[char]) -> bool {
    let Some(end) = rest.iter().position(|&c| c == '}') else { return false };
    let body = &rest[1..end];
    body.first().is_some_and(char::is_ascii_digit) && body.iter().all(|c| c.is_ascii_digit() || *c == ',')
}

fn ends_repetition(until: &[char]) -> bool {
    until.iter().rposition(|&c| c == '{').is_some_and(|open| begins_repetition(&until[open..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(Pattern::new(pattern).is_match(text), Ok(expected), "{pattern} on {text}");
    }

    #[test]
    fn reads_patterns_of_go() {
        check(r"^\d+$", "12", true);
        check(r"^\d+$", "١٢", false);
        check(r"^[\w.-]+$", "a_b.c-d", true);
        check(r"\Qa.b\E", "xa.by", true);
        check(r"\Qa.b\E", "xaxby", false);
        check(r"^[a-z[]+$", "a[", true);
        check(r"^[[:alpha:]]+$", "abc", true);
        check(r"^[[:alpha:]0]+x$", "ab0x", true);
        check(r"^[^]]$", "a", true);
        check(r"^{{.*}}$", "{{ x }}", true);
        check(r"^a{2}{b}$", "aa{b}", true);
        check(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$", "a.b", true);
        check(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", "a.b-", false);
        assert!(Pattern::new("(").is_match("").is_err());
    }
}
