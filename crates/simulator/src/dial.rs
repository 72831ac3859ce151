//! How long things take, and what fails.

use crate::plan::{View, owner};
use api::Object;
use std::collections::BTreeSet;
use std::time::Duration;

/// Annotation of a workload or a pod: with `"true"`, it does not become ready; a Job fails.
pub const FAIL: &str = "simulator.kubestellar.io/fail";
/// Annotation of a workload or a pod: how long a pod takes to become ready, or a Job's pod to end: `500ms`, `3s`, `1m`.
pub const DELAY: &str = "simulator.kubestellar.io/delay";

/// Workloads of a Deployment's depth have two owners above a pod; nothing is deeper.
const MAX_OWNERS: usize = 4;

/// The settings of a simulated WEC. Annotations of an object, then those of its owners, come first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dial {
    /// How long a pod takes to become ready.
    pub delay: Duration,
    /// Workloads that fail, by `namespace/name`, or by `name` in any namespace.
    pub fail: BTreeSet<String>,
}

/// What holds for one object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    pub(crate) delay: Duration,
    pub(crate) fail: bool,
}

impl Dial {
    /// What holds for an object: the nearest annotation, else the dial.
    pub(crate) fn settings(&self, view: &impl View, object: &Object) -> Settings {
        let mut delay = None;
        let mut fail = None;
        let mut above = Some(std::sync::Arc::new(object.clone()));
        for _ in 0..MAX_OWNERS {
            let Some(object) = above else { break };
            delay = delay.or_else(|| object.annotation(DELAY).and_then(parse_duration));
            fail = fail.or_else(|| object.annotation(FAIL).map(|text| text == "true"));
            let named = self.fail.contains(object.name()) || self.fail.contains(&object.object_name().to_string());
            fail = fail.or(named.then_some(true));
            above = owner(view, &object).map(|(_, owner)| owner);
        }
        Settings { delay: delay.unwrap_or(self.delay), fail: fail.unwrap_or(false) }
    }
}

/// Reads `500ms`, `3s`, `1.5s`, `2m`; what is none of these is as good as not there.
fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, unit) = units.into_iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    Duration::try_from_secs_f64(number.trim().parse::<f64>().ok()? * unit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [("500ms", 500), ("3s", 3000), (" 1.5s ", 1500), ("2m", 120_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "soon", "1d", "nans", "1e99h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
