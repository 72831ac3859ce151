//! The differences that are known, each with its reason. There may only ever be fewer of them.
//!
//! ```text
//! limit 3
//!
//! ## why it is so
//! 1  2-patch :: json: append :: missing body/spec/replicas
//! 2  each-kind/create@pods :: extra body/items[]/kind
//! ```
//!
//! A line counts the differences of one cause (`report::cause`) in one step, or in the scripts for each kind in one kind.
//! Where a run finds more of them it fails, and where it finds fewer too: the line must say so. `limit` is the greatest
//! sum of all counts: a run that shrinks the list lowers it, and only a person raises it.

use crate::play::Outcome;
use crate::report::cause;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The reason that is given to differences which nobody has looked at yet.
pub(crate) const UNEXAMINED: &str = "not mended yet";

/// The list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Known {
    limit: usize,
    lines: BTreeMap<String, Line>,
}

#[derive(Clone, Debug, PartialEq)]
struct Line {
    count: usize,
    reason: String,
}

/// What a run showed that the list does not say, and the other way round.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    /// Found more often than listed: how often it was found and listed.
    pub(crate) new: BTreeMap<String, (usize, usize)>,
    /// Listed more often than found, where it was looked for.
    pub(crate) gone: BTreeMap<String, (usize, usize)>,
    /// The sum of the list, where it is more than its limit.
    pub(crate) over_limit: Option<usize>,
}

impl Verdict {
    pub(crate) fn is_clean(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty() && self.over_limit.is_none()
    }

    /// The scripts (with their kind, if they are for each) that are not as listed.
    pub(crate) fn scripts(&self) -> BTreeSet<String> {
        let script = |key: &String| key.split_once(" :: ").map_or(key.as_str(), |(script, _)| script).to_owned();
        self.new.keys().chain(self.gone.keys()).map(script).collect()
    }

    /// What is not as listed in both of two runs.
    pub(crate) fn and(mut self, again: &Self) -> Self {
        self.new.retain(|key, _| again.new.contains_key(key));
        self.gone.retain(|key, _| again.gone.contains_key(key));
        self
    }
}

/// Where a difference is counted: in its step, or with all of its kind.
fn place(outcome: &Outcome) -> String {
    if outcome.script.contains('@') {
        outcome.script.clone()
    } else {
        format!("{} :: {}", outcome.script, outcome.step)
    }
}

/// The line that each difference of a step belongs to.
pub(crate) fn keys(outcome: &Outcome) -> impl Iterator<Item = String> {
    let place = place(outcome);
    outcome.differences.iter().map(move |one| format!("{place} :: {}", cause(one).replace('\n', " ")))
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
            } else if !line.trim().is_empty() && !line.starts_with('#') {
                let reason =
                    reason.clone().ok_or(format!("line {number} has no reason (`## reason` above it): {line}"))?;
                let (count, key) = line.split_once("  ").ok_or(format!("line {number} has no count: {line}"))?;
                let count = count.parse().map_err(|_| format!("line {number}: {count:?} is not a number"))?;
                if known.lines.insert(key.to_owned(), Line { count, reason }).is_some() {
                    return Err(format!("line {number} is there twice: {line}"));
                }
            }
        }
        Ok(known)
    }

    fn sum(&self) -> usize {
        self.lines.values().map(|line| line.count).sum()
    }

    /// Compares the list with what a run found. What was not played cannot be gone, unless `whole`: all was to be played.
    pub(crate) fn judge(&self, outcomes: &[Outcome], whole: bool) -> Verdict {
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for key in outcomes.iter().flat_map(keys) {
            *found.entry(key).or_default() += 1;
        }
        let played: BTreeSet<String> = outcomes.iter().map(place).collect();
        let was_played = |key: &str| whole || key.rsplit_once(" :: ").is_some_and(|(place, _)| played.contains(place));
        let listed = |key: &str| self.lines.get(key).map_or(0, |line| line.count);
        let mut verdict =
            Verdict { over_limit: Some(self.sum()).filter(|sum| *sum > self.limit), ..Verdict::default() };
        for (key, count) in &found {
            if *count > listed(key) {
                verdict.new.insert(key.clone(), (*count, listed(key)));
            }
        }
        for (key, line) in self.lines.iter().filter(|(key, _)| was_played(key)) {
            let count = found.get(key).copied().unwrap_or_default();
            if count < line.count {
                verdict.gone.insert(key.clone(), (count, line.count));
            }
        }
        verdict
    }

    /// Takes away what is gone and lowers the limit.
    pub(crate) fn shrink(&mut self, verdict: &Verdict) {
        for (key, (count, _)) in &verdict.gone {
            if let Some(line) = self.lines.get_mut(key) {
                line.count = *count;
            }
        }
        self.lines.retain(|_, line| line.count > 0);
        self.limit = self.limit.min(self.sum());
    }

    /// Lists new differences: for new scripts, never to let a difference pass that was not there before.
    pub(crate) fn accept(&mut self, verdict: &Verdict, reason: &str) {
        for (key, (count, _)) in &verdict.new {
            self.lines
                .entry(key.clone())
                .and_modify(|line| line.count = *count)
                .or_insert_with(|| Line { count: *count, reason: reason.to_owned() });
        }
        self.limit = self.sum();
    }

    /// The list as text, by reason.
    pub(crate) fn text(&self) -> String {
        let mut by_reason: BTreeMap<&str, Vec<(&str, usize)>> = BTreeMap::new();
        for (key, line) in &self.lines {
            by_reason.entry(&line.reason).or_default().push((key, line.count));
        }
        let mut text = String::from(
            "# Differences between a space and a stock server, each with its reason: how many there are of one cause in one\n\
             # step or kind. A run fails on more than are listed, and on fewer. `limit`, their sum, may only fall.\n",
        );
        let _ = writeln!(text, "limit {}", self.limit);
        for (reason, lines) in by_reason {
            let _ = writeln!(text, "\n## {reason}");
            for (key, count) in lines {
                let _ = writeln!(text, "{count}  {key}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Difference, Kind};
    use serde_json::Value;

    const LIST: &str = "limit 3\n\n## not served\n2  s :: a :: missing body/x[]\n1  s :: b :: missing body/y\n";

    fn outcome(script: &str, step: &str, paths: &[&str]) -> Outcome {
        let difference = |path: &&str| Difference {
            path: (*path).to_owned(),
            kind: Kind::Missing,
            stock: Value::Null,
            ours: Value::Null,
        };
        Outcome {
            script: script.into(),
            step: step.into(),
            request: String::new(),
            differences: paths.iter().map(difference).collect(),
        }
    }

    #[track_caller]
    fn check(outcomes: &[Outcome], new: &[(&str, usize, usize)], gone: &[(&str, usize, usize)]) {
        let verdict = Known::parse(LIST).unwrap().judge(outcomes, false);
        let map = |list: &[(&str, usize, usize)]| -> BTreeMap<String, (usize, usize)> {
            list.iter().map(|(key, found, listed)| ((*key).to_owned(), (*found, *listed))).collect()
        };
        assert_eq!((verdict.new, verdict.gone), (map(new), map(gone)));
    }

    #[test]
    fn says_what_is_new_and_what_is_gone() {
        let two = ["body/x[1]", "body/x[2]"];
        check(&[outcome("s", "a", &two)], &[], &[]);
        check(&[outcome("s", "a", &two[..1])], &[], &[("s :: a :: missing body/x[]", 1, 2)]);
        check(&[outcome("s", "a", &[two[0], two[1], "body/x[3]"])], &[("s :: a :: missing body/x[]", 3, 2)], &[]);
        check(&[outcome("s", "c", &["body/z"])], &[("s :: c :: missing body/z", 1, 0)], &[]);
    }

    #[test]
    fn counts_the_steps_of_a_kind_together() {
        let outcomes = [outcome("each@pods", "a", &["body/z"]), outcome("each@pods", "b", &["body/z"])];
        check(&outcomes, &[("each@pods :: missing body/z", 2, 0)], &[]);
    }

    #[test]
    fn shrinks_and_never_grows_by_itself() {
        let mut known = Known::parse(LIST).unwrap();
        let verdict = known.judge(&[outcome("s", "a", &["body/x[1]"])], false);
        known.shrink(&verdict);
        assert_eq!((known.limit, known.lines.len()), (2, 2));
        assert_eq!(Known::parse(&known.text()).unwrap(), known);
        let grown = format!("{}1  s :: c :: missing body/z\n", known.text());
        assert_eq!(Known::parse(&grown).unwrap().judge(&[], false).over_limit, Some(3));
    }

    #[test]
    fn what_a_second_run_does_not_show_is_no_difference() {
        let known = Known::parse(LIST).unwrap();
        let first = known.judge(&[outcome("s", "a", &["body/x[1]"]), outcome("t@pods", "c", &["body/z"])], true);
        assert_eq!(first.gone.keys().collect::<Vec<_>>(), ["s :: a :: missing body/x[]", "s :: b :: missing body/y"]);
        assert_eq!(first.scripts(), ["s".to_owned(), "t@pods".to_owned()].into());
        let both = ["body/x[1]", "body/x[2]"];
        let second = known.judge(&[outcome("s", "a", &both), outcome("t@pods", "c", &["body/z"])], false);
        let verdict = first.and(&second);
        assert_eq!(verdict.new.keys().collect::<Vec<_>>(), ["t@pods :: missing body/z"]);
        assert!(verdict.gone.is_empty());
    }

    #[test]
    fn wants_a_reason() {
        assert!(Known::parse("limit 1\n1  s :: a :: missing body/x\n").unwrap_err().contains("no reason"));
    }
}
