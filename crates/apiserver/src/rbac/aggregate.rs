//! Which rules a ClusterRole has that is made of others (`aggregationRule`).

use api::{LabelSelector, Object};
use machinery::selector::Selector;
use serde::Deserialize;
use serde_json::Value;

/// The selectors of a role that aggregates; `None` for one that does not.
fn selectors(role: &Object) -> Option<Vec<Selector>> {
    role.0.get("aggregationRule").filter(|rule| rule.is_object())?;
    let listed = role.pointer("/aggregationRule/clusterRoleSelectors").and_then(Value::as_array).into_iter().flatten();
    let compiled = |selector: &Value| Selector::compile(&LabelSelector::deserialize(selector).ok()?, "").ok();
    Some(listed.filter_map(compiled).collect())
}

/// The rules that a role is to have, of all ClusterRoles of its space (sorted by name); `None` if it has them, or
/// does not aggregate. Rules come selector by selector in the order of names, each once.
pub(crate) fn rules(role: &Object, all: &[Object]) -> Option<Vec<Value>> {
    let selectors = selectors(role)?;
    let mut rules: Vec<Value> = Vec::new();
    for selector in selectors {
        for other in all.iter().filter(|other| other.name() != role.name() && selector.matches(&other.labels())) {
            for rule in other.0.get("rules").and_then(Value::as_array).into_iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    let held = role.0.get("rules").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    (held != rules).then_some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn collects_each_rule_once() {
        let rule = |resource: &str| json!({"verbs": ["get"], "apiGroups": [""], "resources": [resource]});
        let role = |name: &str, rules: &[Value]| -> Object {
            serde_json::from_value(json!({"metadata": {"name": name, "labels": {"ag": "yes"}}, "rules": rules}))
                .unwrap()
        };
        let mut made = role("all", &[]);
        made.0.insert(
            "aggregationRule".into(),
            json!({"clusterRoleSelectors": [{"matchLabels": {"ag": "yes"}}, {"matchLabels": {"ag": "yes"}}]}),
        );
        let all = [made.clone(), role("b", &[rule("x"), rule("y")]), role("c", &[rule("x"), rule("z")])];
        let found = rules(&made, &all).unwrap();
        assert_eq!(found, [rule("x"), rule("y"), rule("z")]);
        made.0.insert("rules".into(), found.into());
        assert_eq!(rules(&made, &all), None, "what was carried out leaves nothing to do");
        assert_eq!(rules(&role("b", &[]), &all), None, "it aggregates nothing");
    }
}
