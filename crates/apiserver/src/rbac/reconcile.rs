//! What becomes of a role or binding of the bootstrap policy that somebody changed, when the server starts: it gets back
//! the rules and subjects that it lacks, and keeps what it has besides.

use api::Object;
use serde_json::{Value, json};

/// Set to `false` by those who want their changes to stay.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// What is to be stored; `None` if it is well as it is. `live` is `None` for what was deleted.
pub(super) fn reconciled(policy: &Object, live: Option<&Object>) -> Option<Object> {
    let Some(live) = live else { return Some(policy.clone()) };
    if live.annotation(AUTOUPDATE) == Some("false") {
        return None;
    }
    let mut object = live.clone();
    for (key, value) in policy.labels() {
        let labels = object.metadata_mut().entry("labels").or_insert_with(|| json!({}));
        if labels.get(&key).is_none() {
            labels[&key] = value.into();
        }
    }
    if object.annotation(AUTOUPDATE).is_none() {
        object.set_annotation(AUTOUPDATE, "true");
    }
    // The rules of an aggregated role are the aggregating controller's.
    let aggregates = policy.0.contains_key("aggregationRule");
    let lists: &[&str] = if aggregates { &[] } else { &["rules", "subjects"] };
    for list in lists {
        let wanted = policy.0.get(*list).and_then(Value::as_array).into_iter().flatten();
        let held = object.0.get(*list).and_then(Value::as_array).cloned().unwrap_or_default();
        let missing: Vec<Value> = wanted.filter(|one| !held.iter().any(|held| covers(held, one))).cloned().collect();
        if !missing.is_empty() {
            object.0.insert((*list).into(), held.into_iter().chain(missing).collect());
        }
    }
    if let Some(reference) = policy.0.get("roleRef") {
        object.0.insert("roleRef".into(), reference.clone());
    }
    (object != *live).then_some(object)
}

/// Whether a rule or subject that is there includes one that should be.
fn covers(held: &Value, wanted: &Value) -> bool {
    let Some(wanted) = wanted.as_object() else { return held == wanted };
    wanted.iter().all(|(field, value)| match (held.get(field), value) {
        (Some(Value::Array(held)), Value::Array(wanted)) if field == "resourceNames" => held == wanted,
        (Some(Value::Array(held)), Value::Array(wanted)) => {
            wanted.iter().all(|one| held.contains(one) || held.contains(&json!("*")))
        }
        (held, value) => held == Some(value),
    }) && (wanted.contains_key("resourceNames") || held.get("resourceNames").is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(policy: Value, live: Value, expected: Option<Value>) {
        let object = |value: Value| -> Object { serde_json::from_value(value).unwrap() };
        let (policy, live) = (object(policy), object(live));
        let made = reconciled(&policy, Some(&live));
        let picked =
            made.as_ref().map(|made| json!({"rules": made.0.get("rules"), "subjects": made.0.get("subjects")}));
        assert_eq!(picked, expected);
        if let Some(made) = made {
            assert_eq!(reconciled(&policy, Some(&made)), None, "what was carried out leaves nothing to do");
        }
    }

    #[test]
    fn gives_back_what_is_missing() {
        let metadata = json!({"name": "a", "annotations": {AUTOUPDATE: "true"}});
        let rule = |resources: &[&str]| json!({"apiGroups": [""], "resources": resources, "verbs": ["get"]});
        let role = |rules: &[Value]| json!({"metadata": metadata, "rules": rules});
        let both = role(&[rule(&["pods"]), rule(&["secrets"])]);
        check(both.clone(), both.clone(), None);
        check(both.clone(), role(&[rule(&["pods", "secrets", "x"])]), None);
        check(
            both.clone(),
            role(&[rule(&["pods"])]),
            Some(json!({"rules": [rule(&["pods"]), rule(&["secrets"])], "subjects": null})),
        );
        let mut kept = role(&[]);
        kept["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        check(both, kept, None);
        let subjects = |names: &[&str]| {
            let subjects: Vec<Value> = names.iter().map(|name| json!({"kind": "User", "name": name})).collect();
            json!({"metadata": metadata, "roleRef": {"name": "r"}, "subjects": subjects})
        };
        let wanted = subjects(&["b", "a"])["subjects"].clone();
        check(subjects(&["a"]), subjects(&["b"]), Some(json!({"rules": null, "subjects": wanted})));
    }
}
