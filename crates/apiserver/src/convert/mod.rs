//! Objects that are one thing under two names: events of two groups, autoscalers of two versions.
//!
//! A kind's row says at which version its objects are stored; a request at the other one reads and writes through here.
//! What one version cannot say is kept in annotations, as the stock server does, so that nothing is lost on the way.

mod autoscaler;
mod event;

use api::Object;
use serde_json::{Map, Value};

/// There is no way from one version to the other.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a {kind} of {from} has no form in {to}")]
pub struct Unconvertible {
    /// `kind` of the object.
    pub kind: String,
    /// `apiVersion` of the object.
    pub from: String,
    /// Wanted `apiVersion`.
    pub to: String,
}

/// Brings an object to another API version; one that is of that version already is left as it is.
///
/// # Errors
/// If the two versions do not share a kind.
pub fn convert(object: &mut Object, to: &str) -> Result<(), Unconvertible> {
    let step: fn(&mut Map<String, Value>) = match (object.kind(), object.api_version(), to) {
        (_, from, to) if from == to => return Ok(()),
        ("Event", "v1", "events.k8s.io/v1") => event::to_events,
        ("Event", "events.k8s.io/v1", "v1") => event::to_core,
        ("HorizontalPodAutoscaler", "autoscaling/v1", "autoscaling/v2") => autoscaler::to_v2,
        ("HorizontalPodAutoscaler", "autoscaling/v2", "autoscaling/v1") => autoscaler::to_v1,
        (kind, from, to) => return Err(Unconvertible { kind: kind.into(), from: from.into(), to: to.into() }),
    };
    step(&mut object.0);
    object.0.insert("apiVersion".into(), to.into());
    Ok(())
}

/// Moves a member to another name.
fn rename(map: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = map.remove(from) {
        map.insert(to.into(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(from: Value, to: Value) {
        let Value::Object(map) = from else { panic!("an object") };
        let mut object = Object(map);
        convert(&mut object, to["apiVersion"].as_str().unwrap()).unwrap();
        assert_eq!(Value::Object(object.0), to);
    }

    /// Both ways.
    #[track_caller]
    fn check_both(left: Value, right: Value) {
        check(left.clone(), right.clone());
        check(right, left);
    }

    #[test]
    fn events() {
        check_both(
            json!({
                "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "type": "Normal", "reason": "Started",
                "involvedObject": {"kind": "Pod", "name": "p"}, "message": "text", "source": {"component": "kubelet"},
                "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:01Z", "count": 2,
                "eventTime": null, "reportingComponent": "kubelet", "reportingInstance": "node",
                "series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}, "related": {"name": "r"},
            }),
            json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "type": "Normal",
                "reason": "Started", "regarding": {"kind": "Pod", "name": "p"}, "note": "text",
                "deprecatedSource": {"component": "kubelet"}, "deprecatedFirstTimestamp": "2026-01-01T00:00:00Z",
                "deprecatedLastTimestamp": "2026-01-01T00:00:01Z", "deprecatedCount": 2, "eventTime": null,
                "reportingController": "kubelet", "reportingInstance": "node",
                "series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}, "related": {"name": "r"},
            }),
        );
    }

    #[test]
    fn an_autoscaler_by_processor_use() {
        check_both(
            json!({
                "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
                "spec": {"maxReplicas": 3, "minReplicas": 1, "scaleTargetRef": {"name": "web"}, "targetCPUUtilizationPercentage": 80},
            }),
            json!({
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
                "spec": {"maxReplicas": 3, "minReplicas": 1, "scaleTargetRef": {"name": "web"}, "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
                ]},
            }),
        );
    }

    fn autoscaler(metrics: Value, current: Value) -> Value {
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {
                "maxReplicas": 3, "metrics": metrics,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}]}},
            },
            "status": {
                "currentReplicas": 1, "desiredReplicas": 1, "currentMetrics": current,
                "conditions": [{"type": "AbleToScale", "status": "True"}],
            },
        })
    }

    /// Every kind of metric and target survives the way to version 1 and back; processor use comes last.
    #[test]
    fn nothing_is_lost_on_the_way() {
        let metric = json!({"name": "hits", "selector": {"matchLabels": {"a": "b"}}});
        let metrics = json!([
            {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": metric, "target": {"type": "Value", "value": "10"}}},
            {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": metric, "target": {"type": "AverageValue", "averageValue": "5"}}},
            {"type": "Pods", "pods": {"metric": metric, "target": {"type": "AverageValue", "averageValue": "1k"}}},
            {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
            {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "target": {"type": "Utilization", "averageUtilization": 5}}},
            {"type": "External", "external": {"metric": metric, "target": {"type": "Value", "value": "7"}}},
            {"type": "External", "external": {"metric": {"name": "plain"}, "target": {"type": "AverageValue", "averageValue": "7"}}},
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
        ]);
        let current = json!([
            {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": metric, "current": {"value": "10"}}},
            {"type": "Pods", "pods": {"metric": metric, "current": {"averageValue": "1"}}},
            {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 40, "averageValue": "100m"}}},
            {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "current": {"averageValue": "1"}}},
            {"type": "External", "external": {"metric": metric, "current": {"value": "7", "averageValue": "3"}}},
        ]);
        let second = autoscaler(metrics, current);
        let Value::Object(map) = second.clone() else { panic!("an object") };
        let mut object = Object(map);
        convert(&mut object, "autoscaling/v1").unwrap();
        assert_eq!(object.pointer("/spec/targetCPUUtilizationPercentage"), Some(&json!(50)));
        assert_eq!(object.pointer("/status/currentCPUUtilizationPercentage"), Some(&json!(40)));
        assert_eq!(object.pointer("/spec/metrics"), None);
        let behavior = object.annotation("autoscaling.alpha.kubernetes.io/behavior").unwrap();
        let wanted = json!({"ScaleDown": {"StabilizationWindowSeconds": 0, "Policies": [{"Type": "Pods", "Value": 4, "PeriodSeconds": 60}]}});
        assert_eq!(serde_json::from_str::<Value>(behavior).unwrap(), wanted);
        convert(&mut object, "autoscaling/v2").unwrap();
        assert_eq!(Value::Object(object.0), second);
    }

    /// As version 1 writes it down, so that a backup of a stock server can be taken in.
    #[test]
    fn metrics_of_version_1_stand_in_an_annotation() {
        let mut object = Object::default();
        object.0.insert("apiVersion".into(), "autoscaling/v1".into());
        object.0.insert("kind".into(), "HorizontalPodAutoscaler".into());
        object.0.insert("spec".into(), json!({"maxReplicas": 2}));
        let metrics = r#"[{"type":"Resource","resource":{"name":"memory","targetAverageUtilization":60}}]"#;
        object.set_annotation("autoscaling.alpha.kubernetes.io/metrics", metrics);
        object.set_annotation(
            "autoscaling.alpha.kubernetes.io/behavior",
            r#"{"ScaleUp":null,"ScaleDown":{"SelectPolicy":"Max"}}"#,
        );
        object.set_annotation("autoscaling.alpha.kubernetes.io/conditions", "not JSON");
        object.set_annotation("mine", "stays");
        convert(&mut object, "autoscaling/v2").unwrap();
        assert_eq!(
            object.pointer("/spec"),
            Some(&json!({
                "maxReplicas": 2,
                "metrics": [{"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 60}}}],
                "behavior": {"scaleDown": {"selectPolicy": "Max"}},
            }))
        );
        assert_eq!(object.meta("annotations"), Some(&json!({"mine": "stays"})));
    }

    #[test]
    fn other_pairs_are_errors() {
        let mut object = Object::new("v1", "Pod", &api::ObjectName::namespaced("a", "b"));
        assert_eq!(convert(&mut object, "v1"), Ok(()));
        assert_eq!(convert(&mut object, "v2").unwrap_err().to_string(), "a Pod of v1 has no form in v2");
    }
}
