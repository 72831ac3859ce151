//! The way of one object from the user's request to the cluster, as moments of its writes.

use crate::statistics::{Sample, ms};
use crate::trace::Mark;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use store::Visibility;

const BINDINGS: &str = "bindings.control.kubestellar.io";
const WORKS: &str = "manifestworks.work.open-cluster-management.io";
const APPLIED: &str = "appliedmanifestworks.work.open-cluster-management.io";

/// Names of the stages, in the order in which they happen.
const STAGES: [&str; 12] = [
    "WDS object appended",
    "Binding appended",
    "ManifestWork appended",
    "WDS object durable",
    "user's request answered",
    "Binding durable",
    "ManifestWork durable",
    "AppliedManifestWork appended",
    "AppliedManifestWork durable",
    "WEC object appended",
    "WEC object durable",
    "seen by the user's watch",
];

/// Moments of one operation since its request was sent, by stage.
pub(crate) type Moments = [Option<Duration>; STAGES.len()];

/// Where an operation happens.
pub(crate) struct Way<'a> {
    pub(crate) wds: &'a str,
    pub(crate) its: &'a str,
    pub(crate) wec: &'a str,
    /// Resource with group, and name, of the object.
    pub(crate) resource: &'a str,
    pub(crate) name: &'a str,
}

/// Finds the stages of an operation among all writes since it was sent.
pub(crate) fn moments(way: &Way<'_>, marks: &[Mark], sent: Duration, answered: Duration, seen: Duration) -> Moments {
    let first = |visibility: Visibility, space: &str, resource: &str, name: Option<&str>| {
        let found = marks.iter().find(|mark| {
            mark.visibility == visibility
                && mark.at >= sent
                && *mark.space == *space
                && *mark.resource == *resource
                && name.is_none_or(|name| *mark.name == *name)
        });
        found.map(|mark| mark.at - sent)
    };
    let (appended, durable) = (Visibility::Appended, Visibility::Durable);
    [
        first(appended, way.wds, way.resource, Some(way.name)),
        first(appended, way.wds, BINDINGS, None),
        first(appended, way.its, WORKS, None),
        first(durable, way.wds, way.resource, Some(way.name)),
        Some(answered.saturating_sub(sent)),
        first(durable, way.wds, BINDINGS, None),
        first(durable, way.its, WORKS, None),
        first(appended, way.wec, APPLIED, None),
        first(durable, way.wec, APPLIED, None),
        first(appended, way.wec, way.resource, Some(way.name)),
        first(durable, way.wec, way.resource, Some(way.name)),
        Some(seen.saturating_sub(sent)),
    ]
}

/// Rows of a table: stage, how many operations had it, time since the request, time since the stage before.
pub(crate) fn rows(operations: &[Moments]) -> (Vec<Vec<String>>, Value) {
    let mut samples: Vec<(&str, Sample)> = Vec::new();
    for (stage, name) in STAGES.iter().enumerate() {
        let sample: Sample = operations.iter().filter_map(|moments| moments[stage]).collect();
        if !sample.is_empty() {
            samples.push((name, sample));
        }
    }
    samples.sort_by_key(|(_, sample)| sample.median());
    let mut before = Duration::ZERO;
    let mut rows = Vec::new();
    let mut json = Map::new();
    for (name, sample) in samples {
        let step = sample.median().saturating_sub(before);
        before = sample.median();
        rows.push(vec![
            name.to_owned(),
            sample.count().to_string(),
            ms(sample.median()),
            ms(step),
            ms(sample.percentile(99)),
        ]);
        json.insert(name.to_owned(), sample.json());
    }
    (rows, Value::Object(json))
}

/// How many writes an operation causes until all is quiet, by space's role and resource.
pub(crate) fn writes(marks: &[Mark], operations: usize) -> (Vec<Vec<String>>, Value) {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for mark in marks.iter().filter(|mark| mark.visibility == Visibility::Appended) {
        let key = (format!("{}/{}", mark.space, mark.resource), format!("{:?}", mark.change));
        *counts.entry(key).or_default() += 1;
    }
    #[allow(clippy::cast_precision_loss)]
    let per = |count: usize| count as f64 / operations.max(1) as f64;
    let mut counts: Vec<_> = counts.into_iter().map(|(key, count)| (key, per(count))).collect();
    counts.sort_by(|a, b| b.1.total_cmp(&a.1));
    let json = counts.iter().map(|((what, how), per)| json!({"what": what, "change": how, "per_operation": per}));
    let json = json.collect();
    // Renewals of leases and the like are no part of the operation.
    let rows = counts.iter().filter(|(_, per)| *per >= 0.05);
    let rows = rows.map(|((what, how), per)| vec![what.clone(), how.clone(), format!("{per:.2}")]).collect();
    (rows, json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Change;

    fn mark(at: u64, visibility: Visibility, space: &str, resource: &str, name: &str) -> Mark {
        let at = Duration::from_millis(at);
        Mark {
            at,
            visibility,
            change: Change::Created,
            space: space.into(),
            resource: resource.into(),
            name: name.into(),
        }
    }

    #[test]
    fn stages_are_found_after_the_request() {
        let marks = [
            mark(1, Visibility::Appended, "wds1", "configmaps", "a"), // before the request
            mark(11, Visibility::Appended, "wds1", "configmaps", "b"), // another object
            mark(12, Visibility::Appended, "wds1", "configmaps", "a"),
            mark(14, Visibility::Durable, "wds1", "configmaps", "a"),
            mark(15, Visibility::Durable, "c1", "configmaps", "a"),
        ];
        let way = Way { wds: "wds1", its: "its1", wec: "c1", resource: "configmaps", name: "a" };
        let millis = Duration::from_millis;
        let found = moments(&way, &marks, millis(10), millis(16), millis(18));
        let present: Vec<(usize, u128)> =
            found.iter().enumerate().filter_map(|(stage, at)| Some((stage, (*at)?.as_millis()))).collect();
        assert_eq!(present, [(0, 2), (3, 4), (4, 6), (10, 5), (11, 8)]);
    }

    #[test]
    fn writes_are_counted_once() {
        let marks = [
            mark(1, Visibility::Appended, "wds1", "configmaps", "a"),
            mark(2, Visibility::Durable, "wds1", "configmaps", "a"),
            mark(3, Visibility::Appended, "wds1", "configmaps", "b"),
        ];
        let (rows, _) = writes(&marks, 2);
        assert_eq!(rows, [vec!["wds1/configmaps".to_owned(), "Created".into(), "1.00".into()]]);
    }
}
