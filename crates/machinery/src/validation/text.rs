//! Rules for texts inside objects: names of ports, keys of ConfigMaps, environment variables.

/// Bytes in the name of a port.
const PORT_NAME_MAX: usize = 15;

/// Names of ports (IANA service names).
pub(super) fn port_name(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut rule = |broken: bool, words: &str| {
        if broken {
            problems.push(words.to_owned());
        }
    };
    rule(text.len() > PORT_NAME_MAX, "must be no more than 15 characters");
    rule(
        !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') || text.is_empty(),
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
    );
    rule(!text.bytes().any(|b| b.is_ascii_lowercase()), "must contain at least one letter (a-z)");
    rule(text.contains("--"), "must not contain consecutive hyphens");
    rule(text.starts_with('-') || text.ends_with('-'), "must not begin or end with a hyphen");
    problems
}

/// Keys of ConfigMaps and Secrets.
pub(super) fn config_key(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > crate::name::SUBDOMAIN_MAX {
        problems.push(format!("must be no more than {} bytes", crate::name::SUBDOMAIN_MAX));
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        problems.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
             'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .into(),
        );
    }
    match text {
        "." => problems.push("must not be '.'".into()),
        ".." => problems.push("must not be '..'".into()),
        text if text.starts_with("..") => problems.push("must not start with '..'".into()),
        _ => {}
    }
    problems
}

/// Names of environment variables.
pub(super) fn variable(text: &str) -> Vec<String> {
    if text.bytes().any(|b| !(b' '..=b'~').contains(&b) || b == b'=') {
        return vec![
            "a valid environment variable name must consist only of printable ASCII characters other than '='".into(),
        ];
    }
    Vec::new()
}

/// Hosts of Ingresses: a name, or `*.` and a name.
pub(super) fn wildcard_host(text: &str) -> Vec<String> {
    let Some(rest) = text.strip_prefix("*.") else { return crate::name::dns_subdomain(text) };
    if crate::name::dns_subdomain(rest).is_empty() {
        return Vec::new();
    }
    vec![
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of \
         lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', \
         regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            .into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert!(port_name("http-1").is_empty());
        assert_eq!(port_name("80"), ["must contain at least one letter (a-z)"]);
        assert_eq!(port_name("a-very-long-port-name").len(), 1);
        assert_eq!(port_name("-a--b-").len(), 2);
        assert!(config_key("a.B_c-1").is_empty());
        assert!(config_key("")[0].starts_with("a valid config key must consist of"));
        assert_eq!(config_key(".."), ["must not be '..'"]);
        assert!(variable("A b").is_empty());
        assert_eq!(variable("a=b").len(), 1);
        assert!(wildcard_host("*.example.com").is_empty());
        assert_eq!(wildcard_host("*.").len(), 1);
    }
}
