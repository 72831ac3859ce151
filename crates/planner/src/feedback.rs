//! Feedback: fields of an object in the cluster that a ManifestWork asks to see in its own status.

use crate::apply::names;
use api::work::{FeedbackRule, FeedbackValue, FieldValue, ManifestConfig};
use api::{Object, ObjectName, Resource};
use machinery::jsonpath::Path;
use serde_json::Value;

/// The most bytes of JSON text that one value may have: OCM's limit.
const JSON_RAW_MAX: usize = 1024;

/// API version and kind, and of each value its name and path.
type WellKnown = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Fields that rules of type `WellKnownStatus` report.
const WELL_KNOWN: [WellKnown; 5] = [
    (
        "apps/v1",
        "Deployment",
        &[
            ("ReadyReplicas", ".status.readyReplicas"),
            ("Replicas", ".status.replicas"),
            ("AvailableReplicas", ".status.availableReplicas"),
        ],
    ),
    (
        "apps/v1",
        "DaemonSet",
        &[
            ("NumberReady", ".status.numberReady"),
            ("DesiredNumberScheduled", ".status.desiredNumberScheduled"),
            ("NumberAvailable", ".status.numberAvailable"),
        ],
    ),
    // Of which OCM's agents know nothing.
    (
        "apps/v1",
        "StatefulSet",
        &[
            ("ReadyReplicas", ".status.readyReplicas"),
            ("Replicas", ".status.replicas"),
            ("AvailableReplicas", ".status.availableReplicas"),
        ],
    ),
    (
        "batch/v1",
        "Job",
        &[("JobComplete", ".status.conditions[?(@.type==\"Complete\")].status"), ("JobSucceeded", ".status.succeeded")],
    ),
    ("v1", "Pod", &[("PodReady", ".status.conditions[?(@.type==\"Ready\")].status"), ("PodPhase", ".status.phase")]),
];

/// What rules give for an object.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Feedback {
    /// What was found, in the order of the rules.
    pub values: Vec<FeedbackValue>,
    /// What is wrong with the rules or with what they found; for people.
    pub problems: Vec<String>,
}

/// The rules that a work's configuration gives to one manifest: those of the first entry that names it and has some.
pub fn rules<'a>(configs: &'a [ManifestConfig], resource: &Resource, name: &ObjectName) -> &'a [FeedbackRule] {
    let mut named = configs.iter().filter(|config| names(&config.resource_identifier, resource, name));
    named.find(|config| !config.feedback_rules.is_empty()).map_or(&[], |config| &config.feedback_rules)
}

/// Reads what rules ask. A field that is not there gives no value.
pub fn read(rules: &[FeedbackRule], object: &Object) -> Feedback {
    let mut feedback = Feedback::default();
    let root = Value::Object(object.0.clone());
    for rule in rules {
        match rule.type_.as_str() {
            "WellKnownStatus" => {
                let kind = (object.api_version(), object.kind());
                match WELL_KNOWN.iter().find(|(version, name, _)| (*version, *name) == kind) {
                    Some((_, _, paths)) => paths.iter().for_each(|(name, path)| feedback.take(name, path, &root)),
                    None => feedback.problems.push(format!("nothing is well known of {}, kind {}", kind.0, kind.1)),
                }
            }
            "JSONPaths" => {
                for asked in &rule.json_paths {
                    let version = &object.group_version_kind().version;
                    if asked.version.is_empty() || asked.version == *version {
                        feedback.take(&asked.name, &asked.path, &root);
                    } else {
                        let problem =
                            format!("{}: asked of version {}, and it is {version}", asked.name, asked.version);
                        feedback.problems.push(problem);
                    }
                }
            }
            other => feedback.problems.push(format!("{other:?} is not a type of feedback rules")),
        }
    }
    feedback
}

impl Feedback {
    fn take(&mut self, name: &str, path: &str, root: &Value) {
        let path = match Path::parse(path) {
            Ok(path) => path,
            Err(error) => return self.problems.push(format!("{name}: {path:?}: {error}")),
        };
        match path.first(root).map(field) {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(field_value))) => self.values.push(FeedbackValue { name: name.into(), field_value }),
            Some(Err(problem)) => self.problems.push(format!("{name}: {problem}")),
        }
    }
}

/// A value as the API carries it; nothing for null.
fn field(value: &Value) -> Result<Option<FieldValue>, String> {
    let of = |type_: &str| FieldValue { type_: type_.into(), ..FieldValue::default() };
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(boolean) => FieldValue { boolean: Some(*boolean), ..of("Boolean") },
        Value::String(string) => FieldValue { string: Some(string.clone()), ..of("String") },
        Value::Number(number) => match number.as_i64() {
            Some(integer) => FieldValue { integer: Some(integer), ..of("Integer") },
            None => return Err(format!("{number} is not a whole number of 64 bits")),
        },
        Value::Array(_) | Value::Object(_) => {
            let json_raw = value.to_string();
            if json_raw.len() > JSON_RAW_MAX {
                return Err(format!("{} bytes of JSON are more than {JSON_RAW_MAX}", json_raw.len()));
            }
            FieldValue { json_raw: Some(json_raw), ..of("JsonRaw") }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(rules: Value, expected: &str) {
        let rules: Vec<FeedbackRule> = serde_json::from_value(rules).unwrap();
        let object: Object = serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"paused": false, "ratio": 0.5, "list": [1, 2], "long": "x".repeat(2000), "big": ["x".repeat(2000)]},
            "status": {"replicas": 3, "readyReplicas": 2},
        }))
        .unwrap();
        let feedback = read(&rules, &object);
        let told = feedback.values.iter().map(|value| {
            let field = &value.field_value;
            let text = field.integer.map(|i| i.to_string()).or(field.boolean.map(|b| b.to_string()));
            let text = text.or(field.string.clone()).or(field.json_raw.clone()).unwrap();
            format!("{}={} {}", value.name, field.type_, &text[..text.len().min(9)])
        });
        let problems = feedback.problems.iter().map(|problem| format!("! {problem}"));
        assert_eq!(told.chain(problems).collect::<Vec<_>>().join("; "), expected);
    }

    #[test]
    fn fields_are_read() {
        check(json!([{"type": "WellKnownStatus"}]), "ReadyReplicas=Integer 2; Replicas=Integer 3");
        let path = |path: &str| json!([{"type": "JSONPaths", "jsonPaths": [{"name": "v", "path": path}]}]);
        check(path(".spec.paused"), "v=Boolean false");
        check(path(".metadata.name"), "v=String web");
        check(path(".spec.list"), "v=JsonRaw [1,2]");
        check(path(".spec.nothing"), "");
        check(path(".spec.ratio"), "! v: 0.5 is not a whole number of 64 bits");
        check(path(".spec.big"), "! v: 2004 bytes of JSON are more than 1024");
        check(path(".spec.long"), "v=String xxxxxxxxx");
        let old = json!([{"type": "JSONPaths", "jsonPaths": [{"name": "v", "version": "v1beta1", "path": ".spec"}]}]);
        check(old, "! v: asked of version v1beta1, and it is v1");
        check(json!([{"type": "Odd"}]), "! \"Odd\" is not a type of feedback rules");
    }

    #[test]
    fn a_kind_of_which_nothing_is_known_is_told() {
        let rules: Vec<FeedbackRule> = serde_json::from_value(json!([{"type": "WellKnownStatus"}])).unwrap();
        let object: Object = serde_json::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap"})).unwrap();
        assert_eq!(read(&rules, &object).problems, ["nothing is well known of v1, kind ConfigMap"]);
        for (_, _, paths) in WELL_KNOWN {
            for (_, path) in paths {
                assert!(Path::parse(path).is_ok(), "{path}");
            }
        }
    }
}
