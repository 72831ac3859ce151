//! HorizontalPodAutoscalers of versions 1 and 2.
//!
//! Version 1 has one metric, the use of processors; all others, the current metrics, the conditions and the behavior
//! stand in annotations, in JSON.

use super::rename;
use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

pub(super) fn to_v2(autoscaler: &mut Map<String, Value>) {
    let metrics = take_annotation(autoscaler, METRICS);
    let current = take_annotation(autoscaler, CURRENT);
    let conditions = take_annotation(autoscaler, CONDITIONS);
    let behavior = take_annotation(autoscaler, BEHAVIOR);
    if let Some(spec) = autoscaler.get_mut("spec").and_then(Value::as_object_mut) {
        let mut all: Vec<Value> = items(metrics).into_iter().map(|metric| metric_to_v2(metric, Of::Target)).collect();
        if let Some(percentage) = spec.remove("targetCPUUtilizationPercentage").filter(|value| !value.is_null()) {
            let target = json!({"type": "Utilization", "averageUtilization": percentage});
            all.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
        }
        if !all.is_empty() {
            spec.insert("metrics".into(), all.into());
        }
        if let Some(mut behavior @ Value::Object(_)) = behavior {
            recase(&mut behavior, char::to_ascii_lowercase);
            spec.insert("behavior".into(), behavior);
        }
    }
    // A status may be all that the annotations have.
    let current: Vec<Value> = items(current).into_iter().map(|metric| metric_to_v2(metric, Of::Current)).collect();
    let conditions = items(conditions);
    if !autoscaler.contains_key("status") && (!current.is_empty() || !conditions.is_empty()) {
        autoscaler.insert("status".into(), json!({}));
    }
    if let Some(status) = autoscaler.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("currentCPUUtilizationPercentage");
        for (name, list) in [("currentMetrics", current), ("conditions", conditions)] {
            if !list.is_empty() {
                status.insert(name.into(), list.into());
            }
        }
    }
}

pub(super) fn to_v1(autoscaler: &mut Map<String, Value>) {
    let mut annotations = Vec::new();
    if let Some(spec) = autoscaler.get_mut("spec").and_then(Value::as_object_mut) {
        let metrics = items(spec.remove("metrics"));
        let is_processor_use = |metric: &Value| {
            metric["type"] == "Resource"
                && metric["resource"]["name"] == "cpu"
                && metric["resource"]["target"]["averageUtilization"].is_number()
        };
        let (processor, others): (Vec<Value>, Vec<Value>) = metrics.into_iter().partition(is_processor_use);
        if let Some(metric) = processor.first() {
            let percentage = metric["resource"]["target"]["averageUtilization"].clone();
            spec.insert("targetCPUUtilizationPercentage".into(), percentage);
        }
        let others: Vec<Value> = others.into_iter().map(|metric| metric_to_v1(metric, Of::Target)).collect();
        if !others.is_empty() {
            annotations.push((METRICS, Value::Array(others)));
        }
        if let Some(mut behavior) = spec.remove("behavior").filter(|behavior| !behavior.is_null()) {
            recase(&mut behavior, char::to_ascii_uppercase);
            annotations.push((BEHAVIOR, behavior));
        }
    }
    if let Some(status) = autoscaler.get_mut("status").and_then(Value::as_object_mut) {
        let current = items(status.remove("currentMetrics"));
        let is_processor = |metric: &&Value| metric["type"] == "Resource" && metric["resource"]["name"] == "cpu";
        let used =
            current.iter().find(is_processor).map(|metric| metric["resource"]["current"]["averageUtilization"].clone());
        if let Some(percentage) = used.filter(Value::is_number) {
            status.insert("currentCPUUtilizationPercentage".into(), percentage);
        }
        let conditions = items(status.remove("conditions"));
        let current: Vec<Value> = current.into_iter().map(|metric| metric_to_v1(metric, Of::Current)).collect();
        for (name, list) in [(CURRENT, current), (CONDITIONS, conditions)] {
            if !list.is_empty() {
                annotations.push((name, list.into()));
            }
        }
    }
    for (name, value) in annotations {
        set_annotation(autoscaler, name, &value);
    }
}

/// Whether numbers are wanted or measured: the word is the member that version 2 has them in, and what their names
/// begin with in version 1.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Target,
    Current,
}

impl Of {
    fn word(self) -> &'static str {
        match self {
            Of::Target => "target",
            Of::Current => "current",
        }
    }

    /// Names of the numbers of a kind of metric, in version 1 and in version 2.
    fn numbers(self, source: &str) -> Vec<(String, &'static str)> {
        let word = self.word();
        let value = (format!("{word}Value"), "value");
        let average = (format!("{word}AverageValue"), "averageValue");
        let utilization = (format!("{word}AverageUtilization"), "averageUtilization");
        match source {
            "object" => vec![value, ("averageValue".to_owned(), "averageValue")],
            "pods" => vec![average],
            "external" => vec![value, average],
            _ => vec![utilization, average],
        }
    }
}

const SOURCES: [&str; 5] = ["object", "pods", "resource", "containerResource", "external"];

fn metric_to_v2(mut metric: Value, of: Of) -> Value {
    for source in SOURCES {
        let Some(map) = metric.get_mut(source).and_then(Value::as_object_mut) else { continue };
        name_to_v2(map, source);
        let mut numbers = Map::new();
        for (first, second) in of.numbers(source) {
            if let Some(number) = map.remove(&first).filter(|number| !number.is_null()) {
                numbers.insert(second.into(), number);
            }
        }
        if of == Of::Target {
            // Version 1 must have a value for an object; it is zero when the average is what counts.
            if numbers.contains_key("averageValue") && numbers.get("value") == Some(&"0".into()) {
                numbers.remove("value");
            }
            let types = [("averageUtilization", "Utilization"), ("averageValue", "AverageValue"), ("value", "Value")];
            if let Some((_, kind)) = types.into_iter().find(|(name, _)| numbers.contains_key(*name)) {
                numbers.insert("type".into(), kind.into());
            }
        }
        map.insert(of.word().into(), numbers.into());
    }
    metric
}

fn metric_to_v1(mut metric: Value, of: Of) -> Value {
    for source in SOURCES {
        let Some(map) = metric.get_mut(source).and_then(Value::as_object_mut) else { continue };
        let numbers = map.remove(of.word()).unwrap_or_default();
        name_to_v1(map, source);
        for (first, second) in of.numbers(source) {
            if let Some(number) = numbers.get(second) {
                map.insert(first, number.clone());
            }
        }
    }
    metric
}

/// Where version 1 has the selector of a metric.
fn selector_of(source: &str) -> &'static str {
    if source == "external" { "metricSelector" } else { "selector" }
}

/// Names of resources are the same in both; other metrics have a name and a selector, objects are described.
fn name_to_v2(map: &mut Map<String, Value>, source: &str) {
    if let Some(name) = map.remove("metricName") {
        let mut metric = Map::from_iter([("name".to_owned(), name)]);
        if let Some(selector) = map.remove(selector_of(source)).filter(|selector| !selector.is_null()) {
            metric.insert("selector".into(), selector);
        }
        map.insert("metric".into(), metric.into());
    }
    if source == "object" {
        rename(map, "target", "describedObject");
    }
}

fn name_to_v1(map: &mut Map<String, Value>, source: &str) {
    if let Some(Value::Object(mut metric)) = map.remove("metric") {
        rename(&mut metric, "name", "metricName");
        rename(&mut metric, "selector", selector_of(source));
        map.append(&mut metric);
    }
    if source == "object" {
        rename(map, "describedObject", "target");
    }
}

/// Takes an annotation away and reads it; what cannot be read is lost, as with the stock server.
fn take_annotation(object: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let text = annotations.remove(name)?;
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    serde_json::from_str(text.as_str()?).ok()
}

fn set_annotation(object: &mut Map<String, Value>, name: &str, value: &Value) {
    let Some(metadata) = object.entry("metadata").or_insert_with(|| json!({})).as_object_mut() else { return };
    if let Some(annotations) = metadata.entry("annotations").or_insert_with(|| json!({})).as_object_mut() {
        annotations.insert(name.into(), value.to_string().into());
    }
}

fn items(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// The behavior's annotation has the names of Go's fields, which begin with a capital; null says nothing.
fn recase(value: &mut Value, case: fn(&char) -> char) {
    match value {
        Value::Object(map) => {
            let members = std::mem::take(map).into_iter().filter(|(_, value)| !value.is_null());
            map.extend(members.map(|(name, mut value)| {
                recase(&mut value, case);
                let mut letters = name.chars();
                let first = letters.next().map(|letter| case(&letter));
                (first.into_iter().chain(letters).collect(), value)
            }));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| recase(item, case)),
        _ => {}
    }
}
