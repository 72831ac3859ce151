//! When a CertificateSigningRequest is taken away: an hour after it was decided, a day after it was made if nobody
//! decided, as the stock controller does.

use api::{Object, Timestamp};
use serde_json::Value;

/// How long a request is kept after it was approved, denied or failed.
const DECIDED_SECONDS: i64 = 3600;
/// How long a request waits for a decision.
const PENDING_SECONDS: i64 = 24 * 3600;

/// When a stored request ends; `None` if it cannot be read.
pub(super) fn end(value: &[u8]) -> Option<Timestamp> {
    let object: Object = serde_json::from_slice(value).ok()?;
    let time = |value: Option<&Value>| value?.as_str()?.parse::<Timestamp>().ok();
    let made = time(object.meta("creationTimestamp"))?;
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let decided = |kind: &Value| ["Approved", "Denied", "Failed"].iter().any(|decisive| kind == decisive);
    let listed = conditions.into_iter().flatten().filter(|condition| decided(&condition["type"]));
    let first = listed.filter_map(|condition| time(condition.get("lastUpdateTime"))).min();
    let seconds = first.map_or(made.seconds() + PENDING_SECONDS, |first| first.seconds() + DECIDED_SECONDS);
    Some(Timestamp::from_seconds(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(conditions: Value, expected: &str) {
        let request =
            json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "status": {"conditions": conditions}});
        assert_eq!(end(request.to_string().as_bytes()).unwrap().to_string(), expected);
    }

    #[test]
    fn requests_end() {
        check(json!([]), "2026-01-02T00:00:00Z");
        check(json!([{"type": "Approved", "lastUpdateTime": "2026-01-01T02:00:00Z"}]), "2026-01-01T03:00:00Z");
        check(json!([{"type": "Other", "lastUpdateTime": "2026-01-01T02:00:00Z"}]), "2026-01-02T00:00:00Z");
    }
}
