//! Events of the core group and of `events.k8s.io`.

use super::rename;
use serde_json::{Map, Value};

/// Fields by their names in the core group and in `events.k8s.io`; the others have one name in both.
const NAMES: [(&str, &str); 7] = [
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("involvedObject", "regarding"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
];

pub(super) fn to_events(event: &mut Map<String, Value>) {
    NAMES.iter().for_each(|(core, events)| rename(event, core, events));
}

pub(super) fn to_core(event: &mut Map<String, Value>) {
    NAMES.iter().for_each(|(core, events)| rename(event, events, core));
}
