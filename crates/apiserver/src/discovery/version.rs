//! The order of versions of one group.

use std::cmp::{Ordering, Reverse};

/// How far a version is from being stable; the lower, the better.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Stable,
    Beta,
    Alpha,
}

/// The order in which Kubernetes prefers versions: stable ones, then betas, then alphas, each with the highest number
/// first (`v10`, `v2`, `v1`, `v2beta1`, `v1alpha3`); then, by the alphabet, names that are not such versions.
pub fn compare_versions(left: &str, right: &str) -> Ordering {
    match (parse(left), parse(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => left.cmp(right),
    }
}

fn parse(version: &str) -> Option<(Stage, Reverse<u32>, Reverse<u32>)> {
    let rest = version.strip_prefix('v')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at(digits);
    let (stage, minor) = if rest.is_empty() {
        (Stage::Stable, "0")
    } else if let Some(minor) = rest.strip_prefix("beta") {
        (Stage::Beta, minor)
    } else {
        (Stage::Alpha, rest.strip_prefix("alpha")?)
    };
    Some((stage, Reverse(number(major)?), Reverse(number(minor)?)))
}

fn number(digits: &str) -> Option<u32> {
    if digits.starts_with('+') { None } else { digits.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefers_stable_then_high() {
        let wanted =
            ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10", "v1rc1"];
        let mut versions = wanted;
        versions.reverse();
        versions.sort_by(|left, right| compare_versions(left, right));
        assert_eq!(versions, wanted);
    }
}
