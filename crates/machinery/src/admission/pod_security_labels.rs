//! What the labels of a namespace ask of its Pods: a level to enforce, and one to warn of.

use crate::field::{self, Path};
use api::Cause;
use serde_json::{Map, Value};
use std::fmt;

type Fields = Map<String, Value>;

/// How strict a namespace is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "privileged" => Self::Privileged,
            "baseline" => Self::Baseline,
            "restricted" => Self::Restricted,
            _ => return None,
        })
    }
}

/// A level as of a version of Kubernetes. The version is told, and the newest checks are made whatever it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Standard {
    pub(super) level: Level,
    pub(super) version: String,
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        write!(f, "{level}:{}", self.version)
    }
}

/// What a namespace asks of its Pods.
pub(super) struct Policy {
    pub(super) enforce: Standard,
    pub(super) warn: Standard,
}

/// One of the three modes: its standard, and whether the labels say its level and its version.
struct Mode {
    standard: Standard,
    level_said: bool,
    version_said: bool,
}

impl Mode {
    fn read(namespace: &Fields, mode: &str, problems: &mut Vec<Cause>) -> Self {
        let labels = field::object_at(namespace, "metadata.labels");
        let find = |label: &str| labels.and_then(|labels| labels.get(label)).and_then(Value::as_str);
        let label = format!("pod-security.kubernetes.io/{mode}");
        let said = find(&label);
        // A level that cannot be read is the strictest one.
        let level = said.map_or(Level::Privileged, |text| Level::read(text).unwrap_or(Level::Restricted));
        let level_said = said.is_some_and(|text| Level::read(text).is_some());
        if let Some(text) = said.filter(|_| !level_said) {
            problems.push(bad_label(&label, text, "must be one of privileged, baseline, restricted"));
        }
        let label = format!("{label}-version");
        let said = find(&label);
        let version_said = said.is_some_and(is_version);
        if let Some(text) = said.filter(|_| !version_said) {
            problems.push(bad_label(&label, text, "must be \"latest\" or \"v1.x\""));
        }
        let version = said.filter(|_| version_said).unwrap_or("latest").to_owned();
        Self { standard: Standard { level, version }, level_said, version_said }
    }
}

fn bad_label(label: &str, text: &str, why: &str) -> Cause {
    let metadata = Path::ROOT.field("metadata");
    field::invalid_text(&metadata.field("labels").key(label), text, why)
}

/// `latest` or `v1.` and a number without leading zeros.
fn is_version(text: &str) -> bool {
    let number = text.strip_prefix("v1.").unwrap_or("");
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    text == "latest" || (digits && (number == "0" || !number.starts_with('0')))
}

impl Policy {
    /// Reads the labels, and says what is wrong with them.
    pub(super) fn of(namespace: &Fields) -> (Self, Vec<Cause>) {
        let mut problems = Vec::new();
        let enforce = Mode::read(namespace, "enforce", &mut problems);
        // Nothing is annotated in the audit log: its labels are only checked.
        Mode::read(namespace, "audit", &mut problems);
        let mut warn = Mode::read(namespace, "warn", &mut problems);
        if !warn.level_said && enforce.level_said && enforce.standard.level > warn.standard.level {
            warn.standard.level = enforce.standard.level;
            if !warn.version_said {
                warn.standard.version.clone_from(&enforce.standard.version);
            }
        }
        (Self { enforce: enforce.standard, warn: warn.standard }, problems)
    }
}

/// What is wrong with the labels of a namespace.
pub(crate) fn label_problems(namespace: &Fields) -> Vec<Cause> {
    Policy::of(namespace).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(labels: &[(&str, &str)], expected: &str, wrong: &[&str]) {
        let labels: Fields =
            labels.iter().map(|(label, text)| (format!("pod-security.kubernetes.io/{label}"), json!(text))).collect();
        let namespace = json!({"metadata": {"labels": labels}});
        let (policy, problems) = Policy::of(namespace.as_object().unwrap());
        assert_eq!(format!("{} {}", policy.enforce, policy.warn), expected);
        assert_eq!(problems.iter().map(|cause| cause.message.as_str()).collect::<Vec<_>>(), wrong);
    }

    #[test]
    fn labels() {
        check(&[], "privileged:latest privileged:latest", &[]);
        check(&[("enforce", "baseline"), ("enforce-version", "v1.30")], "baseline:v1.30 baseline:v1.30", &[]);
        check(&[("enforce", "baseline"), ("warn", "restricted")], "baseline:latest restricted:latest", &[]);
        check(
            &[("enforce", "nonsense"), ("warn-version", "v1.01")],
            "restricted:latest privileged:latest",
            &[
                "Invalid value: \"nonsense\": must be one of privileged, baseline, restricted",
                "Invalid value: \"v1.01\": must be \"latest\" or \"v1.x\"",
            ],
        );
    }
}
