//! Rules for names, label keys and label values, with the stock server's words for what breaks them.
//!
//! Each function returns the problems with the text; none means that it is valid.

/// Bytes in a DNS label, in the name part of a label key, and in a label value.
pub const LABEL_MAX: usize = 63;
/// Bytes in a DNS subdomain: an object's name, the prefix of a label key.
pub const SUBDOMAIN_MAX: usize = 253;

const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_RULE: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

/// Most kinds' names: a lowercase RFC 1123 subdomain.
pub fn dns_subdomain(text: &str) -> Vec<String> {
    let mut problems = too_long(text, SUBDOMAIN_MAX);
    if !text.split('.').all(is_label) {
        problems.push(broken(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character",
            &format!("{LABEL}(\\.{LABEL})*"),
            &["example.com"],
        ));
    }
    problems
}

/// Namespaces, container names: a lowercase RFC 1123 label.
pub fn dns_label(text: &str) -> Vec<String> {
    let mut problems = too_long(text, LABEL_MAX);
    if !is_label(text) {
        if text.split('.').all(is_label) {
            problems.push("must not contain dots".into());
        } else {
            problems.push(broken(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
                 and end with an alphanumeric character",
                LABEL,
                &["my-name", "123-abc"],
            ));
        }
    }
    problems
}

/// Services, CRD kinds in lower case: a DNS-1035 label, which starts with a letter.
pub fn dns_1035_label(text: &str) -> Vec<String> {
    let mut problems = too_long(text, LABEL_MAX);
    if !(is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase())) {
        problems.push(broken(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
             character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    problems
}

/// A key of labels or annotations, a finalizer: a name with an optional `prefix.example.com/`.
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut parts = text.split('/');
    let (first, second, third) = (parts.next().unwrap_or(""), parts.next(), parts.next());
    let name = match (second, third) {
        (None, _) => first,
        (Some(name), None) => {
            if first.is_empty() {
                problems.push("prefix part must be non-empty".into());
            } else {
                problems.extend(dns_subdomain(first).into_iter().map(|problem| format!("prefix part {problem}")));
            }
            name
        }
        _ => {
            let rule = broken(QUALIFIED_RULE, QUALIFIED, &["MyName", "my.name", "123-abc"]);
            problems.push(format!(
                "a valid label key {rule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return problems;
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".into());
    } else {
        problems.extend(too_long(name, LABEL_MAX).into_iter().map(|problem| format!("name part {problem}")));
    }
    if !is_qualified(name) {
        problems.push(format!("name part {}", broken(QUALIFIED_RULE, QUALIFIED, &["MyName", "my.name", "123-abc"])));
    }
    problems
}

/// The value of a label; it may be empty.
pub fn label_value(text: &str) -> Vec<String> {
    let mut problems = too_long(text, LABEL_MAX);
    if !text.is_empty() && !is_qualified(text) {
        problems.push(broken(
            &format!(
                "a valid label must be an empty string or consist of {}",
                &QUALIFIED_RULE["must consist of ".len()..]
            ),
            &format!("({QUALIFIED})?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    problems
}

/// What every name must be to stand as one segment of a URL path: RBAC kinds, and CRs by default.
pub fn path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"].iter().filter(|c| text.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

fn too_long(text: &str, most: usize) -> Vec<String> {
    if text.len() > most { vec![format!("must be no more than {most} bytes")] } else { Vec::new() }
}

fn broken(rule: &str, regex: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{rule} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

/// `[a-z0-9]([-a-z0-9]*[a-z0-9])?`
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// `([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]`
fn is_qualified(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: fn(&str) -> Vec<String>, text: &str, expected: &[&str]) {
        assert_eq!(rule(text), expected, "{text:?}");
    }

    const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
                             with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used \
                             for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

    #[test]
    fn qualified_names_have_an_optional_subdomain_prefix() {
        for good in ["a", "A.b_c-9", "example.com/Name", "kubernetes.io/os"] {
            check(qualified_name, good, &[]);
        }
        check(qualified_name, "", &["name part must be non-empty", NAME_PART]);
        check(qualified_name, "/x", &["prefix part must be non-empty"]);
        check(qualified_name, "bad key", &[NAME_PART]);
        check(qualified_name, &"x".repeat(64), &["name part must be no more than 63 bytes"]);
        assert!(qualified_name("Up.per/x")[0].starts_with("prefix part a lowercase RFC 1123 subdomain must"));
        assert!(qualified_name("a/b/c")[0].ends_with("prefix and '/' (e.g. 'example.com/MyName')"));
    }

    #[test]
    fn label_values_may_be_empty_but_not_end_in_a_dash() {
        check(label_value, "", &[]);
        check(label_value, "v1.2_3", &[]);
        check(
            label_value,
            "a-",
            &[
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
               start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
               for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ],
        );
    }

    #[test]
    fn dns_names_are_lower_case_and_bounded() {
        for good in ["a", "a-b.c", "0.x"] {
            check(dns_subdomain, good, &[]);
        }
        for bad in ["", "A", "a..b", "-a", "a_b"] {
            assert_eq!(dns_subdomain(bad).len(), 1, "{bad:?}");
        }
        check(dns_subdomain, &"a".repeat(254), &["must be no more than 253 bytes"]);
        check(dns_label, "a.b", &["must not contain dots"]);
        check(dns_label, "ab-1", &[]);
        check(dns_1035_label, "a1", &[]);
        assert_eq!(dns_1035_label("1a").len(), 1);
    }

    #[test]
    fn path_segments_keep_clear_of_url_syntax() {
        check(path_segment, "system:node", &[]);
        check(path_segment, "..", &["may not be '..'"]);
        check(path_segment, "a/b%", &["may not contain '/'", "may not contain '%'"]);
    }
}
