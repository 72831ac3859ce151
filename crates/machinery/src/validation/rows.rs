//! Rules of kinds that a row can say: at a path, a value must be so. What a row cannot say is a function at its path.

use super::{Causes, Fields, access, admission, devices, each, endpoints, flowcontrol};
use crate::field::{self, Path};
use crate::name;
use serde_json::Value;

/// What must hold of a value.
pub(super) enum Rule {
    /// It is there and not empty; else these words follow `Required value`.
    Needed(&'static str),
    /// It is a text that this finds nothing wrong with; one that is absent is empty.
    Text(fn(&str) -> Vec<String>),
    /// The same, for texts that may be empty.
    Given(fn(&str) -> Vec<String>),
    /// A text that is there, and that this finds nothing wrong with.
    Named(fn(&str) -> Vec<String>),
    /// A number in this range, if it is there; else these words.
    Within(i64, i64, &'static str),
    /// The same, for numbers that are zero if they are not there.
    Number(i64, i64, &'static str),
    /// One of these texts.
    Among(&'static [&'static str]),
    /// Each element of the list is one of these texts; the list is named, not the element.
    AllAmong(&'static [&'static str]),
    /// What this finds, in the object there.
    Object(fn(&Fields, &Path<'_>, &mut Causes)),
}

/// A rule and where it holds: fields with dots between, `[]` after those whose elements are meant.
pub(super) struct Row(pub &'static str, pub Rule);

type Kind = (&'static str, &'static str, &'static [Row]);

use Rule::{AllAmong, Among, Given, Named, Needed, Number, Object, Text, Within};

const MAX: i64 = i64::MAX;
const MODES: Rule = AllAmong(&["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]);
const ADMISSION: &str = "admissionregistration.k8s.io";
const FLOWS: &str = "flowcontrol.apiserver.k8s.io";
const STORAGE: &str = "storage.k8s.io";

fn lower_subdomain(text: &str) -> Vec<String> {
    name::dns_subdomain(&text.to_lowercase())
}

/// Kinds by group and name; rows in the order in which the stock server finds.
pub(super) const KINDS: &[Kind] = &[
    ("", "Endpoints", &[Row("subsets[]", Object(endpoints::subset))]),
    ("", "Event", &[Row("", Object(endpoints::core_event))]),
    ("events.k8s.io", "Event", &[Row("", Object(endpoints::event))]),
    ("", "PersistentVolumeClaim", &[Row("spec.accessModes", MODES)]),
    ("", "PersistentVolume", &[Row("spec.accessModes", MODES)]),
    ("apiregistration.k8s.io", "APIService", &[Row("", Object(access::api_service))]),
    (
        "apps",
        "ControllerRevision",
        &[Row("", Object(access::revision)), Row("revision", Number(0, MAX, "must be greater than or equal to 0"))],
    ),
    ("apps", "StatefulSet", &[Row("spec.serviceName", Given(name::dns_label))]),
    ("node.k8s.io", "RuntimeClass", &[Row("handler", Named(name::dns_label))]),
    ("networking.k8s.io", "ServiceCIDR", &[Row("spec", Object(endpoints::ranges))]),
    (
        STORAGE,
        "CSINode",
        &[Row("spec.drivers[].name", Named(lower_subdomain)), Row("spec.drivers[].nodeID", Needed(""))],
    ),
    (STORAGE, "CSIStorageCapacity", &[Row("storageClassName", Text(name::dns_subdomain))]),
    (
        STORAGE,
        "VolumeAttachment",
        &[
            Row("spec.attacher", Named(lower_subdomain)),
            Row("spec.source", Object(devices::attached)),
            Row("spec.nodeName", Text(name::dns_subdomain)),
        ],
    ),
    (
        STORAGE,
        "VolumeAttributesClass",
        &[
            Row("", Object(super::storage::driver)),
            Row("parameters", Needed("must contain at least one key/value pair")),
        ],
    ),
    (
        ADMISSION,
        "MutatingAdmissionPolicy",
        &[
            Row("spec", Object(admission::constraints)),
            Row("spec", Object(admission::condition_names)),
            Row("spec", Object(admission::mutable_operations)),
            Row("spec.mutations", Needed("mutations must contain at least one item")),
            Row("spec.mutations[]", Object(admission::mutation)),
            Row("spec.reinvocationPolicy", Needed("")),
        ],
    ),
    (ADMISSION, "MutatingAdmissionPolicyBinding", &[Row("spec.policyName", Named(name::dns_subdomain))]),
    (
        ADMISSION,
        "ValidatingAdmissionPolicy",
        &[
            Row("spec", Object(admission::constraints)),
            Row("spec", Object(admission::condition_names)),
            Row("spec", Object(admission::validations)),
            Row("spec.validations[].expression", Needed("expression is not specified")),
        ],
    ),
    (
        ADMISSION,
        "ValidatingAdmissionPolicyBinding",
        &[
            Row("spec.policyName", Named(name::dns_subdomain)),
            Row("spec.validationActions", Needed("at least one validation action is required")),
            Row("spec.validationActions[]", Among(&["Audit", "Deny", "Warn"])),
        ],
    ),
    ("resource.k8s.io", "ResourceClaim", &[Row("spec.devices.requests[]", Object(devices::request))]),
    ("resource.k8s.io", "ResourceClaimTemplate", &[Row("spec.spec.devices.requests[]", Object(devices::request))]),
    (
        "resource.k8s.io",
        "ResourceSlice",
        &[
            Row("spec.driver", Named(lower_subdomain)),
            Row("spec.pool.name", Named(devices::pool_name)),
            Row("spec.pool.resourceSliceCount", Number(1, MAX, "must be greater than zero")),
            Row("spec.pool.generation", Number(0, MAX, "must be greater than or equal to zero")),
            Row("spec", Object(devices::place)),
            Row("spec.devices[].name", Text(name::dns_label)),
        ],
    ),
    (
        FLOWS,
        "FlowSchema",
        &[
            Row("spec.matchingPrecedence", Number(1, MAX, "must be a positive value")),
            Row("spec.matchingPrecedence", Number(-MAX, 10_000, "must not be greater than 10000")),
            Row("spec.priorityLevelConfiguration.name", Needed("must reference a priority level")),
            Row("spec.priorityLevelConfiguration.name", Given(name::dns_subdomain)),
            Row("spec.rules[]", Object(flowcontrol::rule)),
        ],
    ),
    (
        FLOWS,
        "PriorityLevelConfiguration",
        &[
            Row("spec", Object(flowcontrol::level)),
            Row("spec.limited.nominalConcurrencyShares", Within(0, MAX, "must be a non-negative integer")),
            Row("spec.limited.limitResponse", Object(flowcontrol::response)),
        ],
    ),
];

/// Applies the rows to an object.
pub(super) fn apply(rows: &[Row], object: &Fields, out: &mut Causes) {
    for Row(place, rule) in rows {
        if place.is_empty() {
            if let Object(find) = rule {
                find(object, &Path::ROOT, out);
            }
            continue;
        }
        let parts: Vec<&str> = place.split('.').collect();
        visit(object, &parts, &Path::ROOT, rule, out);
    }
}

fn visit(object: &Fields, parts: &[&str], path: &Path<'_>, rule: &Rule, out: &mut Causes) {
    let Some((part, rest)) = parts.split_first() else { return };
    let Some(list) = part.strip_suffix("[]") else {
        let path = path.field(part);
        return go_on(object.get(*part), rest, &path, rule, out);
    };
    let path = path.field(list);
    for (index, element) in object.get(list).and_then(Value::as_array).into_iter().flatten().enumerate() {
        go_on(Some(element), rest, &path.index(index), rule, out);
    }
}

fn go_on(value: Option<&Value>, rest: &[&str], path: &Path<'_>, rule: &Rule, out: &mut Causes) {
    if rest.is_empty() {
        rule.judge(value.filter(|value| !value.is_null()), path, out);
    } else if let Some(Value::Object(object)) = value {
        visit(object, rest, path, rule, out);
    }
}

impl Rule {
    fn judge(&self, value: Option<&Value>, path: &Path<'_>, out: &mut Causes) {
        let text = value.and_then(Value::as_str).unwrap_or("");
        match self {
            Needed(words) => {
                let there = match value {
                    None => false,
                    Some(Value::String(text)) => !text.is_empty(),
                    Some(Value::Array(list)) => !list.is_empty(),
                    Some(Value::Object(map)) => !map.is_empty(),
                    Some(_) => true,
                };
                if !there {
                    out.push(field::required(path, words));
                }
            }
            Text(problems) => each(out, path, text, problems(text)),
            Given(_) if text.is_empty() => {}
            Named(_) if text.is_empty() => out.push(field::required(path, "")),
            Given(problems) | Named(problems) => each(out, path, text, problems(text)),
            Within(_, _, _) if value.is_none() => {}
            Within(least, most, words) | Number(least, most, words) => {
                let number = value.and_then(Value::as_i64).unwrap_or(0);
                if !(*least..=*most).contains(&number) {
                    out.push(field::invalid(path, &number.into(), words));
                }
            }
            Among(texts) => {
                if !texts.contains(&text) {
                    out.push(field::not_supported(path, &text.into(), texts.iter().copied()));
                }
            }
            AllAmong(texts) => {
                for element in value.and_then(Value::as_array).into_iter().flatten() {
                    if !element.as_str().is_some_and(|text| texts.contains(&text)) {
                        out.push(field::not_supported(path, element, texts.iter().copied()));
                    }
                }
            }
            Object(find) => {
                if let Some(Value::Object(object)) = value {
                    find(object, path, out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(row: Row, object: Value, expected: &[&str]) {
        let mut out = Causes::new();
        apply(&[row], object.as_object().unwrap(), &mut out);
        let found: Vec<String> = out.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn rows_find_their_places() {
        check(Row("a.b[].c", Needed("so")), json!({"a": {"b": [{"c": "x"}, {}]}}), &["a.b[1].c: Required value: so"]);
        check(Row("a.b[].c", Needed("so")), json!({"a": {}}), &[]);
        check(
            Row("a[]", Among(&["x"])),
            json!({"a": ["x", ""]}),
            &["a[1]: Unsupported value: \"\": supported values: \"x\""],
        );
        check(
            Row("a", AllAmong(&["x"])),
            json!({"a": ["", "x"]}),
            &["a: Unsupported value: \"\": supported values: \"x\""],
        );
        check(Row("a", Number(1, MAX, "must be so")), json!({}), &["a: Invalid value: 0: must be so"]);
        check(Row("a", Within(1, MAX, "must be so")), json!({}), &[]);
        check(Row("a", Given(name::dns_label)), json!({"a": ""}), &[]);
        check(Row("a", Named(name::dns_label)), json!({"a": ""}), &["a: Required value"]);
    }
}
