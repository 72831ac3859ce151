//! What a run found, for whoever mends it: causes first, the whole list after.

use crate::compare::{Difference, Kind};
use crate::known::{Known, keys};
use crate::play::Outcome;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Examples shown of each cause.
const EXAMPLES: usize = 3;
/// Values are shown up to this many characters.
const SHOWN_CHARS: usize = 300;

/// Differences that look alike: the same field in whatever list item, or the same pair of status codes.
pub(crate) fn cause(difference: &Difference) -> String {
    if difference.path == "status" {
        let words = |value: &Value| -> String {
            value.as_str().unwrap_or_default().split(' ').take(2).collect::<Vec<_>>().join(" ")
        };
        return format!("status: {} -> {}", words(&difference.stock), words(&difference.ours));
    }
    let path = without_items(&difference.path);
    // What is owned is named by many fields: the cause is the same.
    let path = match path.split_once("/fieldsV1/") {
        Some((head, owned)) if owned.ends_with("/.") => format!("{head}/fieldsV1/../."),
        Some((head, _)) => format!("{head}/fieldsV1/.."),
        None => path,
    };
    format!("{} {}", difference.kind, without_keys(&path))
}

/// Maps of documents whose keys are names: the difference is the same for all of them.
const NAMED: [&str; 4] = ["/components/schemas/", "/definitions/", "/paths/", "/properties/"];

/// A path with `*` for each key of such a map.
fn without_keys(path: &str) -> String {
    let mut path = path.to_owned();
    for map in NAMED {
        let mut from = 0;
        while let Some(at) = path[from..].find(map).map(|at| from + at + map.len()) {
            let end = path[at..].find('/').map_or(path.len(), |end| at + end);
            path.replace_range(at..end, "*");
            from = at;
        }
    }
    path
}

/// A path with `[]` for every item of a list. Identities of items may hold brackets themselves.
fn without_items(path: &str) -> String {
    let (mut text, mut depth) = (String::new(), 0_usize);
    for c in path.chars() {
        match c {
            '[' => {
                depth += 1;
                if depth == 1 {
                    text.push_str("[]");
                }
            }
            ']' => depth = depth.saturating_sub(1),
            c if depth == 0 => text.push(c),
            _ => {}
        }
    }
    text
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = text.replace('\n', "\\n");
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn line(difference: &Difference) -> String {
    match difference.kind {
        Kind::Missing => format!("missing {}: stock {}", difference.path, shown(&difference.stock)),
        Kind::Extra => format!("extra {}: ours {}", difference.path, shown(&difference.ours)),
        kind => format!(
            "{kind} {}:\n        stock {}\n        ours  {}",
            difference.path,
            shown(&difference.stock),
            shown(&difference.ours)
        ),
    }
}

/// The report of a run.
pub(crate) fn report(outcomes: &[Outcome], known: &Known) -> String {
    let mut causes: BTreeMap<String, Vec<(&Outcome, &Difference)>> = BTreeMap::new();
    for outcome in outcomes {
        for difference in &outcome.differences {
            causes.entry(cause(difference)).or_default().push((outcome, difference));
        }
    }
    let mut causes: Vec<_> = causes.into_iter().collect();
    causes.sort_by_key(|(cause, found)| (std::cmp::Reverse(found.len()), cause.clone()));

    let mut text = summary(outcomes);
    let _ = writeln!(text, "\n# Differences by cause ({} causes)\n", causes.len());
    for (cause, found) in causes {
        let places: BTreeSet<&str> = found.iter().map(|(outcome, _)| outcome.script.as_str()).collect();
        let named: Vec<&str> = places.iter().take(8).copied().collect();
        let more = if places.len() > named.len() {
            format!(" and {} more", places.len() - named.len())
        } else {
            String::new()
        };
        let _ = writeln!(text, "{:5}  {cause}\n       in {}{more}", found.len(), named.join(", "));
        for (outcome, difference) in found.iter().take(EXAMPLES) {
            let _ = writeln!(
                text,
                "    e.g. {} :: {} ({})\n      {}",
                outcome.script,
                outcome.step,
                outcome.request,
                line(difference)
            );
        }
        text.push('\n');
    }
    let new = known.judge(outcomes, false).new;
    text.push_str("\n# All differences\n\n");
    for outcome in outcomes.iter().filter(|outcome| !outcome.differences.is_empty()) {
        let _ = writeln!(text, "{} :: {} ({})", outcome.script, outcome.step, outcome.request);
        for (difference, key) in outcome.differences.iter().zip(keys(outcome)) {
            let mark = if new.contains_key(&key) { "NEW " } else { "" };
            let _ = writeln!(text, "    {mark}{}", line(difference));
        }
    }
    text
}

/// Steps with what differs, one after the other.
pub(crate) fn steps(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let mark = if outcome.differences.is_empty() { "ok  " } else { "DIFF" };
        let _ = writeln!(text, "{mark} {} :: {} ({})", outcome.script, outcome.step, outcome.request);
        for difference in &outcome.differences {
            let _ = writeln!(text, "    {}", line(difference));
        }
    }
    text
}

/// How many requests, and how many of them differ, by script; a script for each kind is one line.
pub(crate) fn summary(outcomes: &[Outcome]) -> String {
    let mut scripts: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    for outcome in outcomes {
        let name = outcome.script.split('@').next().unwrap_or_default();
        let (steps, alike, found) = scripts.entry(name).or_default();
        *steps += 1;
        *alike += usize::from(outcome.differences.is_empty());
        *found += outcome.differences.len();
    }
    let total = outcomes.iter().map(|outcome| outcome.differences.len()).sum::<usize>();
    let alike = outcomes.iter().filter(|outcome| outcome.differences.is_empty()).count();
    let kinds: BTreeSet<&str> =
        outcomes.iter().filter_map(|outcome| outcome.script.split_once('@')).map(|(_, kind)| kind).collect();
    let mut text = format!(
        "differential: {} requests, {alike} answered alike, {total} differences in the others; {} built-in kinds\n\n",
        outcomes.len(),
        kinds.len()
    );
    let _ = writeln!(text, "{:34} {:>8} {:>8} {:>11}", "script", "requests", "alike", "differences");
    for (name, (steps, alike, found)) in scripts {
        let _ = writeln!(text, "{name:34} {steps:8} {alike:8} {found:11}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(path: &str, stock: Value, ours: Value, wanted: &str) {
        assert_eq!(cause(&Difference { path: path.into(), kind: Kind::Differs, stock, ours }), wanted);
    }

    #[test]
    fn groups_by_field() {
        check("body/items[a]/spec/x[0]", json!(1), json!(2), "differs body/items[]/spec/x[]");
        check(
            "body/metadata/managedFields[m,Update]/fieldsV1/f:a",
            json!(1),
            json!(2),
            "differs body/metadata/managedFields[]/fieldsV1/..",
        );
        check("body/causes[a[0].b,Invalid]/x", json!(1), json!(2), "differs body/causes[]/x");
        check("status", json!("422 Invalid it is wrong"), json!("201"), "status: 422 Invalid -> 201");
    }
}
