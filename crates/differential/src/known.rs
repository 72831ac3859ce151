//! The differences that are known, each with its reason. There may only ever be fewer of them.
//!
//! ```text
//! limit 2
//!
//! ## why it is so
//! script :: step :: missing body/spec/replicas
//! ```
//!
//! A difference that is not listed fails the run; so does a line whose difference is gone. `limit` is the greatest number
//! of lines: a run that takes lines away lowers it, and nothing raises it but a person.

use crate::play::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The reason that is given to differences which nobody has looked at yet.
pub(crate) const UNEXAMINED: &str = "not mended yet";

/// The list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Known {
    limit: usize,
    /// Reason of each difference, by its key.
    reasons: BTreeMap<String, String>,
}

/// What a run showed that the list does not say, and the other way round.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    /// Differences that are not listed.
    pub(crate) new: Vec<String>,
    /// Listed differences that were looked for and not found.
    pub(crate) gone: Vec<String>,
    /// More lines than the list may have.
    pub(crate) over_limit: Option<usize>,
}

impl Verdict {
    pub(crate) fn is_clean(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty() && self.over_limit.is_none()
    }
}

/// How a difference is named in the list.
pub(crate) fn keys(outcome: &Outcome) -> impl Iterator<Item = String> {
    outcome
        .differences
        .iter()
        .map(|one| format!("{} :: {} :: {} {}", outcome.script, outcome.step, one.kind, one.path.replace('\n', " ")))
}

impl Known {
    /// Reads the list.
    ///
    /// # Errors
    /// If a line is neither a reason nor a difference under one.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut known = Self::default();
        let mut reason = None;
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if let Some(text) = line.strip_prefix("## ") {
                reason = Some(text.trim().to_owned());
            } else if let Some(limit) = line.strip_prefix("limit ") {
                known.limit = limit.trim().parse().map_err(|_| format!("line {number}: {limit:?} is not a number"))?;
            } else if line.trim().is_empty() || line.starts_with('#') {
            } else if let Some(reason) = &reason {
                if known.reasons.insert(line.to_owned(), reason.clone()).is_some() {
                    return Err(format!("line {number} is there twice: {line}"));
                }
            } else {
                return Err(format!("line {number} has no reason (`## reason` above it): {line}"));
            }
        }
        Ok(known)
    }

    /// Compares the list with what a run found. Only lines of steps that were played can be gone.
    pub(crate) fn judge(&self, outcomes: &[Outcome]) -> Verdict {
        let found: BTreeSet<String> = outcomes.iter().flat_map(keys).collect();
        let played: BTreeSet<String> =
            outcomes.iter().map(|outcome| format!("{} :: {}", outcome.script, outcome.step)).collect();
        let was_played = |key: &str| key.rsplit_once(" :: ").is_some_and(|(step, _)| played.contains(step));
        Verdict {
            new: found.iter().filter(|key| !self.reasons.contains_key(*key)).cloned().collect(),
            gone: self.reasons.keys().filter(|key| !found.contains(*key) && was_played(key)).cloned().collect(),
            over_limit: (self.reasons.len() > self.limit).then_some(self.reasons.len()),
        }
    }

    /// Takes away what is gone and lowers the limit.
    pub(crate) fn shrink(&mut self, verdict: &Verdict) {
        for key in &verdict.gone {
            self.reasons.remove(key);
        }
        self.limit = self.limit.min(self.reasons.len());
    }

    /// Lists new differences: for new scripts, never to let a difference pass that was not there before.
    pub(crate) fn accept(&mut self, verdict: &Verdict, reason: &str) {
        for key in &verdict.new {
            self.reasons.insert(key.clone(), reason.to_owned());
        }
        self.limit = self.reasons.len();
    }

    /// The reason of a difference.
    pub(crate) fn reason(&self, key: &str) -> Option<&str> {
        self.reasons.get(key).map(String::as_str)
    }

    /// The list as text, by reason.
    pub(crate) fn text(&self) -> String {
        let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, reason) in &self.reasons {
            by_reason.entry(reason).or_default().push(key);
        }
        let mut text = String::from(
            "# Differences between a space and a stock server, each with its reason. A run fails on one that is not here, and\n\
             # on one that is here and gone. `limit` may only fall.\n",
        );
        let _ = writeln!(text, "limit {}", self.limit);
        for (reason, keys) in by_reason {
            let _ = write!(text, "\n## {reason}\n{}\n", keys.join("\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Difference, Kind};
    use serde_json::Value;

    const LIST: &str = "limit 2\n\n## not served\ns :: a :: missing body/x\ns :: b :: differs status\n";

    fn outcome(step: &str, paths: &[&str]) -> Outcome {
        let difference = |path: &&str| Difference {
            path: (*path).to_owned(),
            kind: Kind::Missing,
            stock: Value::Null,
            ours: Value::Null,
        };
        Outcome {
            script: "s".into(),
            step: step.into(),
            request: String::new(),
            differences: paths.iter().map(difference).collect(),
        }
    }

    #[track_caller]
    fn check(outcomes: &[Outcome], new: &[&str], gone: &[&str]) {
        let verdict = Known::parse(LIST).unwrap().judge(outcomes);
        assert_eq!(
            (verdict.new, verdict.gone),
            (new.iter().map(|&key| key.to_owned()).collect(), gone.iter().map(|&key| key.to_owned()).collect())
        );
    }

    #[test]
    fn says_what_is_new_and_what_is_gone() {
        check(&[outcome("a", &["body/x"])], &[], &[]);
        check(&[outcome("a", &["body/x", "body/y"])], &["s :: a :: missing body/y"], &[]);
        check(&[outcome("a", &[])], &[], &["s :: a :: missing body/x"]);
    }

    #[test]
    fn shrinks_and_never_grows_by_itself() {
        let mut known = Known::parse(LIST).unwrap();
        let verdict = known.judge(&[outcome("a", &[])]);
        known.shrink(&verdict);
        assert_eq!(known.limit, 1);
        assert_eq!(Known::parse(&known.text()).unwrap(), known);
        let grown = format!("{}s :: c :: missing body/z\n", known.text());
        assert_eq!(Known::parse(&grown).unwrap().judge(&[]).over_limit, Some(2));
    }

    #[test]
    fn wants_a_reason() {
        assert!(Known::parse("limit 1\ns :: a :: missing body/x\n").unwrap_err().contains("no reason"));
    }
}
