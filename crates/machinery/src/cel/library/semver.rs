//! Semantic versions.

use super::Row;
use super::strings::text;
use crate::cel::error::Error;
use crate::cel::value::Value;
use std::cmp::Ordering;
use std::rc::Rc;

type Result<'a> = std::result::Result<Value<'a>, Error>;

/// A version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Semver {
    numbers: [u64; 3],
    /// Identifiers of the pre-release.
    pre: Vec<String>,
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "semver",
        call: semver,
        overloads: &["string_to_semver: (string) semver", "string_bool_to_semver: (string, bool) semver"],
    },
    Row {
        name: "isSemver",
        call: is_semver,
        overloads: &["is_semver_string: (string) bool", "is_semver_string_bool: (string, bool) bool"],
    },
    Row { name: "major", call: |args| number(args, 0), overloads: &["semver_major: semver.() int"] },
    Row { name: "minor", call: |args| number(args, 1), overloads: &["semver_minor: semver.() int"] },
    Row { name: "patch", call: |args| number(args, 2), overloads: &["semver_patch: semver.() int"] },
];

impl Semver {
    /// Reads `1.2.3-rc.1+build`; `tolerant` also reads `v1.02`.
    fn parse(text: &str, tolerant: bool) -> Option<Self> {
        let text = if tolerant { text.trim_start_matches('v') } else { text };
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if build.is_some_and(|build| !build.split('.').all(word)) {
            return None;
        }
        let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
        let mut numbers = [0; 3];
        let parts: Vec<&str> = core.split('.').collect();
        if parts.len() > 3 || (parts.len() < 3 && (!tolerant || pre.is_some() || build.is_some())) {
            return None;
        }
        for (slot, part) in numbers.iter_mut().zip(parts) {
            let leading = part.len() > 1 && part.starts_with('0');
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) || (leading && !tolerant) {
                return None;
            }
            *slot = part.parse().ok()?;
        }
        let pre: Vec<String> = pre.map(|pre| pre.split('.').map(str::to_owned).collect()).unwrap_or_default();
        let numeric = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let fits = pre.iter().all(|part| word(part) && !(numeric(part) && part.len() > 1 && part.starts_with('0')));
        fits.then_some(Self { numbers, pre })
    }

    /// The order of two versions; builds do not count.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let pre = |version: &Self| version.pre.is_empty();
        self.numbers.cmp(&other.numbers).then_with(|| match (pre(self), pre(other)) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                for (a, b) in self.pre.iter().zip(&other.pre) {
                    let order = match (a.parse::<u64>(), b.parse::<u64>()) {
                        (Ok(a), Ok(b)) => a.cmp(&b),
                        (Ok(_), Err(_)) => Ordering::Less,
                        (Err(_), Ok(_)) => Ordering::Greater,
                        (Err(_), Err(_)) => a.cmp(b),
                    };
                    if order.is_ne() {
                        return order;
                    }
                }
                self.pre.len().cmp(&other.pre.len())
            }
        })
    }
}

fn parsed(args: &[Value<'_>]) -> std::result::Result<Option<Semver>, Error> {
    let tolerant = match args.get(1) {
        None => false,
        Some(value) => value.as_bool().ok_or_else(Error::no_overload)?,
    };
    Ok(Semver::parse(text(args, 0)?, tolerant))
}

fn semver<'a>(args: &[Value<'a>]) -> Result<'a> {
    let version = parsed(args)?.ok_or_else(|| Error::new("No Major.Minor.Patch elements found"))?;
    Ok(Value::Semver(Rc::new(version)))
}

fn is_semver<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Bool(parsed(args)?.is_some()))
}

fn number<'a>(args: &[Value<'a>], index: usize) -> Result<'a> {
    match args {
        [Value::Semver(version)] => Ok(Value::Int(version.numbers[index].cast_signed())),
        _ => Err(Error::no_overload()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered() {
        let versions =
            ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-rc.2", "1.0.0-rc.10", "1.0.0", "1.2.0"];
        for pair in versions.windows(2) {
            let [a, b] = [pair[0], pair[1]].map(|text| Semver::parse(text, false).unwrap());
            assert_eq!(a.compare(&b), Ordering::Less, "{pair:?}");
        }
        for text in ["1", "1.2", "01.2.3", "v1.2.3", "1.2.3-", "1.2.3-01"] {
            assert_eq!(Semver::parse(text, false), None, "{text}");
        }
        assert_eq!(Semver::parse("v1.02", true).unwrap().numbers, [1, 2, 0]);
    }
}
