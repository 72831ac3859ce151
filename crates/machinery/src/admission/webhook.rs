//! Admission webhooks: which writes a webhook wants to see, what it is told, and what its answer means.

use super::Operation;
use crate::cel::policy::Conditions;
use crate::field;
use crate::selector::Selector;
use api::{LabelSelector, Object};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

type Fields = Map<String, Value>;

/// Which list of a configuration a webhook is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It may change what is written.
    Mutating,
    /// It may only refuse.
    Validating,
}

/// Where a webhook is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// An `https` URL.
    Url(String),
    /// A service of a cluster, as `namespace/name`.
    Service(String),
}

/// One webhook of a configuration.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // independent options of the kind
pub struct Hook {
    /// The configuration that it is of.
    pub configuration: String,
    /// Its name, which clients are told.
    pub name: String,
    /// Where it is reached.
    pub address: Address,
    /// PEM of the authorities that may sign its certificate, in base64; the system's if empty.
    pub authorities: String,
    rules: Vec<Rule>,
    /// `matchPolicy: Equivalent`: a rule for one version of a kind is for all of them.
    pub equivalent: bool,
    /// `None`: a selector that cannot be read, which selects nothing.
    namespaces: Option<Selector>,
    objects: Option<Selector>,
    /// Whether a failed call lets the write pass.
    pub ignores_failure: bool,
    /// Whether a dry run may be sent to it.
    pub dry_runs: bool,
    /// How long it may take, in seconds.
    pub timeout_seconds: u64,
    /// Whether it is called again when others have changed the object after it.
    pub reinvoked: bool,
    /// The version of `AdmissionReview` that it is sent.
    pub version: &'static str,
    /// `matchConditions`: the webhook is asked only of what all of them are true for.
    pub conditions: Arc<Conditions>,
}

#[derive(Clone, Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    /// `pods`, `pods/status`, `*`, `*/*`, `pods/*`, `*/status`
    resources: Vec<String>,
    scope: String,
}

/// A resource at a version, as rules name it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Place {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub kind: String,
    pub namespaced: bool,
}

impl Place {
    /// Its `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// The webhooks of a configuration, in order.
pub fn hooks(configuration: &Object) -> Vec<Hook> {
    let given = field::objects_at(&configuration.0, "webhooks");
    given.filter_map(|hook| read(configuration.name(), hook)).collect()
}

fn read(configuration: &str, hook: &Fields) -> Option<Hook> {
    let text = |path: &str| field::text_at(hook, path).to_owned();
    let address = match (text("clientConfig.url"), field::object_at(hook, "clientConfig.service")) {
        (url, _) if !url.is_empty() => Address::Url(url),
        (_, service) => {
            let part = |name: &str| service.map_or("", |service| field::text_at(service, name));
            Address::Service(format!("{}/{}", part("namespace"), part("name")))
        }
    };
    let selector = |name: &str| -> Option<Selector> {
        let given = hook.get(name).filter(|given| !given.is_null()).cloned().unwrap_or_else(|| json!({}));
        let given: LabelSelector = serde_json::from_value(given).ok()?;
        Selector::compile(&given, name).ok()
    };
    // The first version that both sides know.
    let version = field::list_at(hook, "admissionReviewVersions").iter().find_map(|version| match version.as_str() {
        Some("v1") => Some("v1"),
        Some("v1beta1") => Some("v1beta1"),
        _ => None,
    });
    Some(Hook {
        configuration: configuration.to_owned(),
        name: text("name"),
        address,
        authorities: text("clientConfig.caBundle"),
        rules: field::objects_at(hook, "rules").map(Rule::read).collect(),
        equivalent: text("matchPolicy") != "Exact",
        namespaces: selector("namespaceSelector"),
        objects: selector("objectSelector"),
        ignores_failure: text("failurePolicy") == "Ignore",
        dry_runs: matches!(text("sideEffects").as_str(), "None" | "NoneOnDryRun"),
        timeout_seconds: field::int_at(hook, "timeoutSeconds")
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(10)
            .clamp(1, 30),
        reinvoked: text("reinvocationPolicy") == "IfNeeded",
        version: version?,
        conditions: Arc::new(Conditions::compile(field::objects_at(hook, "matchConditions"), false)),
    })
}

impl Rule {
    fn read(rule: &Fields) -> Self {
        let texts = |name: &str| {
            field::list_at(rule, name).iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        Self {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources"),
            scope: field::text_at(rule, "scope").to_owned(),
        }
    }

    fn is_for(&self, place: &Place, subresource: &str, operation: Operation) -> bool {
        let lists = |list: &[String], wanted: &str| list.iter().any(|held| held == "*" || held == wanted);
        let scope = match self.scope.as_str() {
            "Namespaced" => place.namespaced,
            // A namespace is of cluster scope.
            "Cluster" => !place.namespaced,
            _ => true,
        };
        let resource = self.resources.iter().any(|held| {
            let (held, part) = held.split_once('/').unwrap_or((held, ""));
            (held == "*" || held == place.plural) && (part == subresource || part == "*")
        });
        scope
            && resource
            && lists(&self.operations, operation.as_str())
            && lists(&self.groups, &place.group)
            && lists(&self.versions, &place.version)
    }
}

impl Hook {
    /// At which of the places of a kind, of which the first is that of the request, the webhook wants to see such writes.
    pub fn place<'p>(&self, places: &'p [Place], subresource: &str, operation: Operation) -> Option<&'p Place> {
        let at = |place: &&Place| self.rules.iter().any(|rule| rule.is_for(place, subresource, operation));
        places.first().filter(at).or_else(|| places.iter().filter(|_| self.equivalent).find(at))
    }

    /// Whether the labels of the namespace (`None` for what is in none) and those of the object, new or old, are chosen.
    pub fn selects(&self, namespace: Option<&api::Labels>, object: Option<&Object>, old: Option<&Object>) -> bool {
        let (Some(namespaces), Some(objects)) = (&self.namespaces, &self.objects) else { return false };
        let chosen = |object: Option<&Object>| object.is_some_and(|object| objects.matches(&object.labels()));
        namespace.is_none_or(|labels| namespaces.matches(labels))
            && (objects.is_everything() || chosen(object) || chosen(old))
    }
}

/// What a webhook is told.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Question<'a> {
    pub uid: &'a str,
    /// At which place the webhook sees the object.
    pub place: &'a Place,
    /// At which it was written.
    pub asked: &'a Place,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub operation: Operation,
    /// `userInfo`
    pub user: Value,
    pub object: Option<&'a Object>,
    pub old: Option<&'a Object>,
    pub dry_run: bool,
    pub options: &'a Value,
}

impl Question<'_> {
    /// The `AdmissionReview`.
    pub fn review(&self, version: &str) -> Value {
        let kind = |place: &Place| json!({"group": place.group, "version": place.version, "kind": place.kind});
        let resource =
            |place: &Place| json!({"group": place.group, "version": place.version, "resource": place.plural});
        let mut request = json!({
            "uid": self.uid,
            "kind": kind(self.place),
            "resource": resource(self.place),
            "requestKind": kind(self.asked),
            "requestResource": resource(self.asked),
            "operation": self.operation.as_str(),
            "userInfo": self.user,
            "object": self.object,
            "oldObject": self.old,
            "dryRun": self.dry_run,
            "options": self.options,
        });
        for (name, text) in [
            ("subResource", self.subresource),
            ("requestSubResource", self.subresource),
            ("name", self.name),
            ("namespace", self.namespace),
        ] {
            if !text.is_empty() {
                request[name] = text.into();
            }
        }
        json!({"kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"), "request": request})
    }
}

/// What a webhook answered.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Answer {
    /// Whether the write may go on.
    pub allowed: bool,
    /// `status` of the answer.
    pub status: Value,
    /// A JSON patch, in base64.
    pub patch: Option<String>,
    /// For the client.
    pub warnings: Vec<String>,
    /// For the audit event.
    pub annotations: BTreeMap<String, String>,
}

/// Reads the answer to a question.
///
/// # Errors
/// What is wrong with it, in the words of the stock server.
pub fn answer(review: &Value, version: &str, uid: &str, phase: Phase) -> Result<Answer, String> {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let (kind, group_version) = (text(&review["kind"]), text(&review["apiVersion"]));
    let wanted = format!("admission.k8s.io/{version}");
    // Those of before v1 need not say what they are.
    let named = version == "v1" || !kind.is_empty() || !group_version.is_empty();
    if named && (kind != "AdmissionReview" || group_version != wanted) {
        return Err(format!(
            "expected webhook response of {wanted}, Kind=AdmissionReview, got {group_version}, Kind={kind}"
        ));
    }
    let Some(response) = review.get("response").filter(|response| response.is_object()) else {
        return Err("webhook response was absent".into());
    };
    let said = text(&response["uid"]);
    if version == "v1" && said != uid {
        return Err(format!("expected response.uid={uid:?}, got {said:?}"));
    }
    let patch = response["patch"].as_str().filter(|patch| !patch.is_empty()).map(str::to_owned);
    let kind_of_patch = response["patchType"].as_str();
    if version == "v1" {
        match (&patch, kind_of_patch, phase) {
            (None, None, _) => {}
            (Some(_), _, Phase::Validating) => return Err("validating webhook may not return response.patch".into()),
            (_, Some(_), Phase::Validating) => {
                return Err("validating webhook may not return response.patchType".into());
            }
            (Some(_), None, Phase::Mutating) => {
                return Err("webhook returned response.patch but not response.patchType".into());
            }
            (None, Some(_), Phase::Mutating) => {
                return Err("webhook returned response.patchType but not response.patch".into());
            }
            (Some(_), Some("JSONPatch"), Phase::Mutating) => {}
            (Some(_), Some(other), Phase::Mutating) => {
                return Err(format!("webhook returned invalid response.patchType of {other:?}"));
            }
        }
    }
    let strings = response["auditAnnotations"].as_object().into_iter().flatten();
    Ok(Answer {
        allowed: response["allowed"] == true,
        status: response["status"].clone(),
        patch: patch.filter(|_| phase == Phase::Mutating),
        warnings: response["warnings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        annotations: strings.map(|(key, value)| (key.clone(), text(value))).collect(),
    })
}

/// The `Status` of a refusal by a webhook: its own, with its name before the message, and a code that says that it failed.
pub fn refusal(name: &str, status: &Value) -> Value {
    let mut refusal = match status {
        Value::Object(given) => given.clone(),
        _ => Fields::new(),
    };
    let text = |name: &str| status[name].as_str().unwrap_or("");
    let denied = format!("admission webhook {name:?} denied the request");
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    refusal.insert("kind".into(), "Status".into());
    refusal.insert("apiVersion".into(), "v1".into());
    refusal.entry("metadata").or_insert_with(|| json!({}));
    refusal.insert("message".into(), message.into());
    if matches!(text("status"), "" | "Success") {
        refusal.insert("status".into(), "Failure".into());
    }
    if status["code"].as_i64().is_none_or(|code| code < 400) {
        refusal.insert("code".into(), 400.into());
    }
    Value::Object(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(mut given: Value) -> Hook {
        let defaults = json!({"name": "h.example.org", "admissionReviewVersions": ["v9", "v1beta1", "v1"],
            "clientConfig": {"url": "https://h"}, "sideEffects": "None"});
        for (key, value) in defaults.as_object().unwrap() {
            given.as_object_mut().unwrap().entry(key).or_insert(value.clone());
        }
        let configuration = json!({"metadata": {"name": "c"}, "webhooks": [given]});
        hooks(&serde_json::from_value(configuration).unwrap()).remove(0)
    }

    fn place(group: &str, version: &str, plural: &str) -> Place {
        let kind = String::new();
        Place {
            group: group.into(),
            version: version.into(),
            plural: plural.into(),
            kind,
            namespaced: plural != "nodes",
        }
    }

    fn rule(group: &str, version: &str, resource: &str, scope: &str) -> Value {
        json!({"rules": [{"operations": ["CREATE"], "apiGroups": [group], "apiVersions": [version],
            "resources": [resource], "scope": scope}]})
    }

    #[test]
    fn rules_choose_resources() {
        #[track_caller]
        fn check(rule: Value, at: &str, subresource: &str, wanted: bool) {
            let found = hook(rule).place(&[place("", "v1", at)], subresource, Operation::Create).is_some();
            assert_eq!(found, wanted);
        }
        check(rule("", "v1", "pods", "*"), "pods", "", true);
        check(rule("*", "*", "*", "*"), "pods", "", true);
        check(rule("*", "*", "*", "*"), "pods", "status", false);
        check(rule("*", "*", "*/*", "*"), "pods", "status", true);
        check(rule("*", "*", "*/*", "*"), "pods", "", true);
        check(rule("", "v1", "pods/*", "*"), "pods", "status", true);
        check(rule("", "v1", "*/status", "*"), "pods", "status", true);
        check(rule("", "v1", "pods/status", "*"), "pods", "", false);
        check(rule("apps", "v1", "pods", "*"), "pods", "", false);
        check(rule("", "v1", "nodes", "Namespaced"), "nodes", "", false);
        check(rule("", "v1", "nodes", "Cluster"), "nodes", "", true);
        let created = hook(rule("", "v1", "pods", "*"));
        assert_eq!(created.place(&[place("", "v1", "pods")], "", Operation::Delete), None);
    }

    #[test]
    fn a_rule_for_one_version_is_for_all_unless_exact() {
        let places = [place("e.org", "v2", "things"), place("e.org", "v1", "things")];
        let found = |given: Value| hook(given).place(&places, "", Operation::Create).map(|place| place.version.clone());
        assert_eq!(found(rule("e.org", "v1", "things", "*")).as_deref(), Some("v1"));
        assert_eq!(found(rule("e.org", "*", "things", "*")).as_deref(), Some("v2"));
        let mut exact = rule("e.org", "v1", "things", "*");
        exact["matchPolicy"] = json!("Exact");
        assert_eq!(found(exact), None);
    }

    #[test]
    fn labels_choose_writes() {
        let labelled =
            |value: &str| -> Object { serde_json::from_value(json!({"metadata": {"labels": {"a": value}}})).unwrap() };
        let hook = hook(
            json!({"namespaceSelector": {"matchLabels": {"a": "n"}}, "objectSelector": {"matchLabels": {"a": "o"}}}),
        );
        let (chosen, other) = (labelled("o"), labelled("x"));
        let namespace = labelled("n").labels();
        assert!(hook.selects(Some(&namespace), Some(&chosen), None));
        assert!(hook.selects(Some(&namespace), Some(&other), Some(&chosen)), "the old object counts too");
        assert!(!hook.selects(Some(&namespace), Some(&other), None));
        assert!(!hook.selects(Some(&other.labels()), Some(&chosen), None));
        assert!(hook.selects(None, Some(&chosen), None), "what is in no namespace");
    }

    #[test]
    fn answers_are_read_strictly() {
        #[track_caller]
        fn check(version: &str, phase: Phase, response: Value, expected: Result<bool, &str>) {
            let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response});
            let found = answer(&review, version, "u", phase).map(|answer| answer.allowed);
            assert_eq!(found, expected.map_err(str::to_owned));
        }
        let both = Phase::Mutating;
        check("v1", both, json!({"uid": "u", "allowed": true}), Ok(true));
        check("v1", both, json!({"uid": "u"}), Ok(false));
        check("v1", both, json!({"uid": "x", "allowed": true}), Err("expected response.uid=\"u\", got \"x\""));
        check("v1", both, json!(null), Err("webhook response was absent"));
        check(
            "v1",
            both,
            json!({"uid": "u", "patch": "W10="}),
            Err("webhook returned response.patch but not response.patchType"),
        );
        check(
            "v1",
            Phase::Validating,
            json!({"uid": "u", "patch": "W10=", "patchType": "JSONPatch"}),
            Err("validating webhook may not return response.patch"),
        );
        let wrong = "expected webhook response of admission.k8s.io/v1beta1, Kind=AdmissionReview, got \
                     admission.k8s.io/v1, Kind=AdmissionReview";
        check("v1beta1", both, json!({"allowed": true}), Err(wrong));
    }

    #[test]
    fn refusals_say_who_refused() {
        #[track_caller]
        fn check(status: Value, message: &str, code: i64) {
            let refusal = refusal("h", &status);
            assert_eq!((&refusal["message"], &refusal["code"]), (&json!(message), &json!(code)));
            assert_eq!(refusal["status"], "Failure");
        }
        check(json!(null), "admission webhook \"h\" denied the request without explanation", 400);
        check(json!({"message": "no", "code": 403}), "admission webhook \"h\" denied the request: no", 403);
        check(json!({"reason": "Because", "code": 200}), "admission webhook \"h\" denied the request: Because", 400);
    }
}
