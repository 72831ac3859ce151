//! What is written of which request (`audit.k8s.io/v1 Policy`): the first rule that matches decides.

use serde::Deserialize;

/// How much is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[allow(missing_docs)]
pub enum Level {
    None,
    Metadata,
    Request,
    RequestResponse,
}

impl Level {
    /// As events spell it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// A policy.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<String>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<Resources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs", default)]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<String>,
    omit_managed_fields: Option<bool>,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// A request, as rules see it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Asked<'a> {
    pub(super) user: &'a str,
    pub(super) groups: &'a [String],
    pub(super) verb: &'a str,
    pub(super) group: &'a str,
    pub(super) resource: &'a str,
    pub(super) subresource: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// Set for what is no resource.
    pub(super) path: Option<&'a str>,
}

/// What a policy says of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Verdict {
    pub(super) level: Level,
    pub(super) omit_stages: Vec<String>,
    pub(super) omit_managed_fields: bool,
}

impl Policy {
    /// Reads a policy file (YAML).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let policy: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if policy.api_version != "audit.k8s.io/v1" || policy.kind != "Policy" {
            return Err(format!("{} of {} is not a Policy of audit.k8s.io/v1", policy.kind, policy.api_version));
        }
        if policy.rules.is_empty() {
            return Err("it has no rules".into());
        }
        for (index, rule) in policy.rules.iter().enumerate() {
            let of_objects = !rule.resources.is_empty() || !rule.namespaces.is_empty();
            if of_objects && !rule.non_resource_urls.is_empty() {
                return Err(format!(
                    "rules[{index}]: rules cannot apply to both regular resources and non-resource URLs"
                ));
            }
        }
        Ok(policy)
    }

    /// What is written of a request.
    pub(super) fn judge(&self, asked: &Asked<'_>) -> Verdict {
        let rule = self.rules.iter().find(|rule| rule.matches(asked));
        let omitted = rule.map_or(&[][..], |rule| &rule.omit_stages);
        Verdict {
            level: rule.map_or(Level::None, |rule| rule.level),
            omit_stages: self.omit_stages.iter().chain(omitted).cloned().collect(),
            omit_managed_fields: rule.and_then(|rule| rule.omit_managed_fields).unwrap_or(self.omit_managed_fields),
        }
    }
}

impl Rule {
    fn matches(&self, asked: &Asked<'_>) -> bool {
        let has = |list: &[String], wanted: &str| list.is_empty() || list.iter().any(|held| held == wanted);
        if !has(&self.users, asked.user) || !has(&self.verbs, asked.verb) {
            return false;
        }
        if !self.user_groups.is_empty() && !self.user_groups.iter().any(|group| asked.groups.contains(group)) {
            return false;
        }
        match asked.path {
            Some(_) if !self.resources.is_empty() || !self.namespaces.is_empty() => false,
            Some(path) => {
                self.non_resource_urls.is_empty()
                    || self
                        .non_resource_urls
                        .iter()
                        .any(|url| url == path || url.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix)))
            }
            None if !self.non_resource_urls.is_empty() => false,
            None => has(&self.namespaces, asked.namespace) && self.names(asked),
        }
    }

    fn names(&self, asked: &Asked<'_>) -> bool {
        let combined = if asked.subresource.is_empty() {
            asked.resource.to_owned()
        } else {
            format!("{}/{}", asked.resource, asked.subresource)
        };
        let resource = |held: &String| match held.split_once('/') {
            _ if held == "*" || *held == combined => true,
            Some((resource, "*")) => resource == asked.resource && !asked.subresource.is_empty(),
            Some(("*", subresource)) => subresource == asked.subresource,
            _ => false,
        };
        self.resources.is_empty()
            || self.resources.iter().any(|of| {
                of.group == asked.group
                    && (of.resources.is_empty() || of.resources.iter().any(resource))
                    && (of.resource_names.is_empty() || of.resource_names.iter().any(|name| name == asked.name))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
        - level: None\n  nonResourceURLs: ['/readyz*']\n- level: RequestResponse\n  resources: [{group: '', resources: [configmaps, pods/*]}]\n\
        - level: Request\n  users: [ann]\n  verbs: [delete]\n- level: Metadata\n  omitStages: [Panic]\n  omitManagedFields: true\n";

    #[track_caller]
    fn check(asked: Asked<'_>, level: Level) {
        assert_eq!(Policy::parse(POLICY).unwrap().judge(&asked).level, level, "{asked:?}");
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        check(Asked { verb: "get", path: Some("/readyz/ping"), ..Asked::default() }, Level::None);
        check(Asked { verb: "get", path: Some("/version"), ..Asked::default() }, Level::Metadata);
        check(Asked { verb: "get", resource: "configmaps", ..Asked::default() }, Level::RequestResponse);
        check(Asked { verb: "get", resource: "pods", ..Asked::default() }, Level::Metadata);
        check(Asked { verb: "get", resource: "pods", subresource: "log", ..Asked::default() }, Level::RequestResponse);
        check(Asked { verb: "get", group: "a", resource: "configmaps", ..Asked::default() }, Level::Metadata);
        check(Asked { verb: "delete", user: "ann", resource: "pods", ..Asked::default() }, Level::Request);
        let verdict = Policy::parse(POLICY).unwrap().judge(&Asked::default());
        assert_eq!((verdict.omit_stages.len(), verdict.omit_managed_fields), (2, true));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, why) in [
            ("apiVersion: v1\nkind: Policy\n", "is not a Policy"),
            ("apiVersion: audit.k8s.io/v1\nkind: Policy\n", "no rules"),
            ("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: All}]\n", "All"),
        ] {
            assert!(Policy::parse(text).unwrap_err().contains(why), "{text}");
        }
    }
}
