//! Which writes a policy, a binding or a webhook is about: rules over operations and resources.

use crate::field::{list_at, objects_at, text_at};
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// What of a write rules look at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Attributes<'a> {
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: &'a str,
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    /// That of the request: empty as long as it is to be generated.
    pub name: &'a str,
    pub namespaced: bool,
    /// Other versions in which the same resource is served: a rule for one of them is about the write too, unless it
    /// says that it means exactly its own.
    pub equivalents: &'a [String],
}

/// Rules and selectors of a policy or binding.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Match {
    /// Whether there are any: without, everything matches.
    given: bool,
    rules: Option<Vec<Rule>>,
    excluded: Vec<Rule>,
    exact: bool,
    /// As the object has it; `None` selects everything.
    pub namespaces: Option<Value>,
    /// As the object has it; `None` selects everything.
    pub objects: Option<Value>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    scope: String,
}

impl Match {
    /// Reads `matchConstraints` or `matchResources`.
    pub fn read(fields: Option<&Fields>) -> Self {
        let Some(fields) = fields else { return Self::default() };
        let selector = |key: &str| {
            let selector = fields.get(key).filter(|selector| selector.as_object().is_some_and(|map| !map.is_empty()));
            selector.cloned()
        };
        let rules: Vec<Rule> = objects_at(fields, "resourceRules").map(Rule::read).collect();
        Self {
            given: true,
            rules: Some(rules).filter(|rules| !rules.is_empty()),
            excluded: objects_at(fields, "excludeResourceRules").map(Rule::read).collect(),
            exact: text_at(fields, "matchPolicy") == "Exact",
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
        }
    }

    /// Whether its rules are about a write; what is in the selectors is for the caller to ask.
    pub fn covers(&self, write: &Attributes<'_>) -> bool {
        if !self.given {
            return true;
        }
        let about = |rule: &Rule| rule.covers(write, self.exact);
        !self.excluded.iter().any(about) && self.rules.as_ref().is_none_or(|rules| rules.iter().any(about))
    }
}

impl Rule {
    fn read(fields: &Fields) -> Self {
        let texts =
            |key: &str| list_at(fields, key).iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
        Self {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            scope: text_at(fields, "scope").to_owned(),
        }
    }

    fn covers(&self, write: &Attributes<'_>, exact: bool) -> bool {
        let listed = |list: &[String], value: &str| list.iter().any(|held| held == "*" || held == value);
        let version = listed(&self.versions, write.version)
            || (!exact && write.equivalents.iter().any(|version| listed(&self.versions, version)));
        listed(&self.operations, write.operation)
            && listed(&self.groups, write.group)
            && version
            && self.resources.iter().any(|resource| is_resource(resource, write))
            && (self.names.is_empty() || self.names.iter().any(|name| name == write.name))
            && match self.scope.as_str() {
                "Namespaced" => write.namespaced,
                "Cluster" => !write.namespaced,
                _ => true,
            }
    }
}

/// `pods`, `pods/status`, `pods/*`, `*/scale`, `*`, `*/*`
fn is_resource(rule: &str, write: &Attributes<'_>) -> bool {
    let (resource, subresource) = rule.split_once('/').unwrap_or((rule, ""));
    (resource == "*" || resource == write.resource) && (subresource == "*" || subresource == write.subresource)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(resources: &str, subresource: &str, expected: bool) {
        let rule =
            json!({"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": [resources]});
        let constraints = json!({"resourceRules": [rule]});
        let write = Attributes {
            operation: "CREATE",
            group: "apps",
            version: "v1",
            resource: "deployments",
            subresource,
            namespaced: true,
            ..Attributes::default()
        };
        assert_eq!(Match::read(constraints.as_object()).covers(&write), expected, "{resources} {subresource}");
        assert!(!Match::read(constraints.as_object()).covers(&Attributes { operation: "UPDATE", ..write.clone() }));
    }

    #[test]
    fn resources() {
        check("deployments", "", true);
        check("deployments", "scale", false);
        check("deployments/scale", "scale", true);
        check("deployments/*", "scale", true);
        check("*", "", true);
        check("*", "scale", false);
        check("*/*", "scale", true);
        check("*/scale", "scale", true);
        check("pods", "", false);
    }
}
