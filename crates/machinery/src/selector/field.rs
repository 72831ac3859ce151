//! Field selectors: `metadata.name=web,status.phase!=Running`.

use super::ParseError;
use std::fmt;

/// One comparison of a field with a text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FieldRequirement {
    /// `metadata.name`
    pub field: String,
    /// `!=` if set, else `=`.
    pub differs: bool,
    /// With escapes taken out.
    pub value: String,
}

/// All of these must hold. Which fields a kind offers is decided by whoever evaluates it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct FieldSelector {
    /// In the order written.
    pub requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Reads `a=b`, `a==b`, `a!=b`, joined by commas. A backslash takes the meaning from the `,`, `=` or backslash that
    /// follows it.
    ///
    /// # Errors
    /// If a term has no operator, or an escape is not one.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut requirements = Vec::new();
        for term in split_terms(text) {
            if term.is_empty() {
                continue;
            }
            let invalid = || ParseError(format!("invalid selector: '{text}'; can't understand '{term}'"));
            let (field, operator, value) = split_term(term).ok_or_else(invalid)?;
            let value = unescape(value)?;
            requirements.push(FieldRequirement { field: field.into(), differs: operator == "!=", value });
        }
        Ok(Self { requirements })
    }

    /// Whether nothing is required.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether all requirements hold. `read` gives the text of a field; an absent field reads as empty.
    pub fn matches<'a>(&self, read: impl Fn(&str) -> &'a str) -> bool {
        self.requirements.iter().all(|required| (read(&required.field) == required.value) != required.differs)
    }

    /// The value that a field must have, where the selector says so (`metadata.name=web`).
    pub fn exact(&self, field: &str) -> Option<&str> {
        let found = self.requirements.iter().find(|required| required.field == field && !required.differs)?;
        Some(&found.value)
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, required) in self.requirements.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let operator = if required.differs { "!=" } else { "=" };
            write!(f, "{comma}{}{operator}{}", required.field, escape(&required.value))?;
        }
        Ok(())
    }
}

/// Splits at commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, &str, &str)> {
    term.char_indices().find_map(|(at, _)| {
        let operator = ["!=", "==", "="].into_iter().find(|operator| term[at..].starts_with(operator))?;
        Some((&term[..at], operator, &term[at + operator.len()..]))
    })
}

fn unescape(value: &str) -> Result<String, ParseError> {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => text.push(escaped),
                Some(other) => {
                    return Err(ParseError(format!("invalid field selector: invalid escape sequence: \\{other}")));
                }
                None => return Err(ParseError("invalid field selector: invalid escape sequence: \\".into())),
            },
            ',' | '=' => return Err(ParseError(format!("invalid field selector: unescaped character in value: {c}"))),
            other => text.push(other),
        }
    }
    Ok(text)
}

fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '=') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, bool, &str)]) {
        let parsed = FieldSelector::parse(text).unwrap();
        let found: Vec<(&str, bool, &str)> =
            parsed.requirements.iter().map(|r| (r.field.as_str(), r.differs, r.value.as_str())).collect();
        assert_eq!(found, expected, "{text:?}");
        assert_eq!(FieldSelector::parse(&parsed.to_string()).unwrap(), parsed, "what is printed reads back");
    }

    #[test]
    fn terms_are_joined_by_commas_and_backslashes_escape() {
        check("", &[]);
        check(
            "metadata.name=a,status.phase!=Running",
            &[("metadata.name", false, "a"), ("status.phase", true, "Running")],
        );
        check("a==b,", &[("a", false, "b")]);
        check("a=", &[("a", false, "")]);
        check(r"a=b\,c\=d\\e", &[("a", false, r"b,c=d\e")]);
    }

    #[test]
    fn what_is_not_a_selector_is_said() {
        for (text, message) in [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
            ("a=b=c", "invalid field selector: unescaped character in value: ="),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn all_requirements_must_hold() {
        let selector = FieldSelector::parse("a=1,b!=2").unwrap();
        assert!(selector.matches(|field| if field == "a" { "1" } else { "" }));
        assert!(!selector.matches(|field| if field == "a" { "1" } else { "2" }));
        assert_eq!((selector.exact("a"), selector.exact("b")), (Some("1"), None));
    }
}
