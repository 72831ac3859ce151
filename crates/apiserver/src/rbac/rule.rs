//! One rule of a role: what it allows, and whether it covers another one.

use crate::identity::Attributes;
use serde::Deserialize;
use std::collections::BTreeSet;

/// One rule of a role (`rbac.authorization.k8s.io/v1 PolicyRule`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Rule {
    #[serde(deserialize_with = "texts")]
    pub api_groups: Vec<String>,
    #[serde(deserialize_with = "texts")]
    pub resources: Vec<String>,
    #[serde(rename = "nonResourceURLs", deserialize_with = "texts")]
    pub non_resource_urls: Vec<String>,
    #[serde(deserialize_with = "texts")]
    pub resource_names: Vec<String>,
    #[serde(deserialize_with = "texts")]
    pub verbs: Vec<String>,
}

/// A list that may be null.
fn texts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|held| held == wanted)
}

impl Rule {
    /// Everything that is a resource, and every path.
    pub fn everything() -> [Self; 2] {
        let all = || vec!["*".to_owned()];
        [
            Self { api_groups: all(), resources: all(), verbs: all(), ..Self::default() },
            Self { non_resource_urls: all(), verbs: all(), ..Self::default() },
        ]
    }

    /// Whether it allows what is asked.
    pub(super) fn allows(&self, asked: &Attributes<'_>) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|held| held == "*" || held == wanted);
        if !has(&self.verbs, asked.verb) {
            return false;
        }
        if let Some(path) = asked.path {
            return self.non_resource_urls.iter().any(|url| matches_path(url, path));
        }
        has(&self.api_groups, asked.group) && self.names_resource(asked) && self.names_object(asked)
    }

    fn names_resource(&self, asked: &Attributes<'_>) -> bool {
        self.resources.iter().any(|held| match held.split_once('/') {
            _ if held == "*" => true,
            None => asked.subresource.is_empty() && held == asked.resource,
            Some(("*", subresource)) => subresource == asked.subresource,
            Some((resource, subresource)) => resource == asked.resource && subresource == asked.subresource,
        })
    }

    fn names_object(&self, asked: &Attributes<'_>) -> bool {
        self.resource_names.is_empty()
            || (!asked.name.is_empty() && self.resource_names.iter().any(|name| name == asked.name))
    }

    /// The rule in its smallest parts: one verb of one resource of one group, of one name at most; or of one path.
    fn parts(&self) -> Vec<Self> {
        let mut parts = Vec::new();
        let one = |text: &String| vec![text.clone()];
        let names: Vec<Vec<String>> = match &self.resource_names[..] {
            [] => vec![Vec::new()],
            names => names.iter().map(one).collect(),
        };
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    parts.extend(names.iter().map(|names| Self {
                        api_groups: one(group),
                        resources: one(resource),
                        verbs: one(verb),
                        resource_names: names.clone(),
                        ..Self::default()
                    }));
                }
            }
        }
        for url in &self.non_resource_urls {
            for verb in &self.verbs {
                parts.push(Self { non_resource_urls: one(url), verbs: one(verb), ..Self::default() });
            }
        }
        parts
    }

    /// Whether it covers a part: whoever holds this rule holds that one.
    fn covers(&self, part: &Self) -> bool {
        let all = |held: &[String], wanted: &[String]| wanted.iter().all(|wanted| has(held, wanted));
        let resource = |wanted: &String| {
            let any = || wanted.split_once('/').is_some_and(|(_, sub)| has(&self.resources, &format!("*/{sub}")));
            has(&self.resources, wanted) || any()
        };
        let names = match &part.resource_names[..] {
            [] => self.resource_names.is_empty(),
            names => self.resource_names.is_empty() || all(&self.resource_names, names),
        };
        (has(&self.verbs, "*") || all(&self.verbs, &part.verbs))
            && (has(&self.api_groups, "*") || all(&self.api_groups, &part.api_groups))
            && (has(&self.resources, "*") || part.resources.iter().all(resource))
            && part
                .non_resource_urls
                .iter()
                .all(|path| self.non_resource_urls.iter().any(|url| matches_path(url, path)))
            && names
    }

    /// As the stock server prints it.
    fn shown(&self) -> String {
        let quoted = |list: &[String]| list.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(" ");
        let fields = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let listed: Vec<String> = fields
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name}:[{}]", quoted(list)))
            .collect();
        format!("{{{}}}", listed.join(", "))
    }
}

fn matches_path(url: &str, path: &str) -> bool {
    url == path || url.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

/// What of `wanted` is not covered by `held`, one line for each rule, as the stock server lists it: verbs of the same
/// resource together, sorted.
pub(crate) fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<String> {
    let mut compact: Vec<Rule> = Vec::new();
    let uncovered = wanted.iter().flat_map(Rule::parts).filter(|part| !held.iter().any(|rule| rule.covers(part)));
    for part in uncovered {
        let alike = |other: &&mut Rule| {
            part.non_resource_urls.is_empty()
                && other.api_groups == part.api_groups
                && other.resources == part.resources
                && other.resource_names == part.resource_names
        };
        match compact.iter_mut().find(alike) {
            Some(other) => other.verbs.extend(part.verbs),
            None => compact.push(part),
        }
    }
    let lines: BTreeSet<String> = compact.iter().map(Rule::shown).collect();
    lines.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[track_caller]
    fn check(held: Value, wanted: Value, expected: &[&str]) {
        let rules = |value: Value| -> Vec<Rule> { serde_json::from_value(value).unwrap() };
        assert_eq!(missing(&rules(held), &rules(wanted)), expected);
    }

    #[test]
    fn lists_what_is_missing() {
        let pods = json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]);
        check(pods.clone(), pods.clone(), &[]);
        check(
            pods.clone(),
            json!([{"verbs": ["get", "delete"], "apiGroups": [""], "resources": ["pods", "secrets"]}]),
            &[
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}"#,
                r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete"]}"#,
            ],
        );
        check(pods, json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}]), &[]);
        let named = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}]);
        check(
            named,
            json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a", "b"]}]),
            &[r#"{APIGroups:[""], Resources:["pods"], ResourceNames:["b"], Verbs:["get"]}"#],
        );
        let subresources = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*/scale"]}]);
        check(
            subresources,
            json!([{"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments/scale", "deployments"]}]),
            &[r#"{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}"#],
        );
        check(
            json!([{"verbs": ["get"], "nonResourceURLs": ["/some/*"]}]),
            json!([{"verbs": ["get", "post"], "nonResourceURLs": ["/some/a", "/b"]}]),
            &[
                r#"{NonResourceURLs:["/b"], Verbs:["get"]}"#,
                r#"{NonResourceURLs:["/b"], Verbs:["post"]}"#,
                r#"{NonResourceURLs:["/some/a"], Verbs:["post"]}"#,
            ],
        );
        let [resources, paths] = Rule::everything();
        check(json!([]), json!(null_lists()), &[]);
        assert!(missing(&[resources, paths], &Rule::everything()).is_empty());
    }

    fn null_lists() -> Value {
        json!([{"verbs": null, "apiGroups": null}])
    }
}
