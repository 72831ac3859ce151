//! Decides by roles and bindings, as plain data.
//!
//! The rules are additive: something is allowed if any rule of any role bound to the user or one of its groups allows
//! it. A ClusterRoleBinding grants everywhere, a RoleBinding only in its namespace.

use crate::identity::{Attributes, Decision, Identity, MASTERS};
use api::{LabelSelector, Labels, Object, ObjectName};
use machinery::selector::Selector;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One rule of a role.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    verbs: Vec<String>,
    api_groups: Vec<String>,
    resources: Vec<String>,
    resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
struct RoleRef {
    kind: String,
    name: String,
}

/// A role, in the form in which it is looked up.
#[derive(Clone, Debug)]
struct Role {
    rules: Arc<[Rule]>,
    labels: Labels,
    /// A ClusterRole has the rules of those that one of these selects instead of its own (`aggregationRule`).
    aggregates: Option<Vec<Selector>>,
}

impl Role {
    fn read(object: &Object) -> Self {
        let rules = object.0.get("rules").and_then(Value::as_array).into_iter().flatten();
        // A rule that cannot be read grants nothing.
        let rules: Vec<Rule> = rules.filter_map(|rule| Rule::deserialize(rule).ok()).collect();
        let selectors = object.pointer("/aggregationRule/clusterRoleSelectors").and_then(Value::as_array);
        let compiled = |selector: &Value| Selector::compile(&LabelSelector::deserialize(selector).ok()?, "").ok();
        Self {
            rules: rules.into(),
            labels: object.labels(),
            aggregates: selectors.map(|selectors| selectors.iter().filter_map(compiled).collect()),
        }
    }
}

/// A binding, in the form in which it is looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Binding {
    role: RoleRef,
    subjects: Vec<Subject>,
}

/// The four kinds that make a policy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    ClusterRole,
    ClusterRoleBinding,
    Role,
    RoleBinding,
}

impl Kind {
    /// All of them, with their plurals.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::ClusterRole, "clusterroles"),
        (Self::ClusterRoleBinding, "clusterrolebindings"),
        (Self::Role, "roles"),
        (Self::RoleBinding, "rolebindings"),
    ];
}

/// Roles and bindings of one space, indexed by subject.
#[derive(Debug, Default)]
pub struct Policy {
    /// What holds besides, unless a role or binding of the same name is here.
    below: Option<Arc<Policy>>,
    roles: HashMap<(String, String), Role>,
    bindings: BTreeMap<(String, String), Binding>,
    by_subject: HashMap<Holder, Vec<(String, String)>>,
}

/// A subject as it is compared: a user or a group.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Holder {
    User(String),
    Group(String),
}

impl Policy {
    /// An empty policy over another: what is put here hides what has the same name there.
    pub fn over(below: Arc<Policy>) -> Self {
        Self { below: Some(below), ..Self::default() }
    }

    fn role(&self, of: &str, name: &str) -> Option<&Role> {
        let key = (of.to_owned(), name.to_owned());
        self.roles.get(&key).or_else(|| self.below.as_ref()?.roles.get(&key))
    }

    /// The rules of a role, those that it aggregates included.
    fn rules(&self, of: &str, name: &str) -> Option<Vec<Arc<[Rule]>>> {
        let role = self.role(of, name)?;
        if role.aggregates.is_none() {
            return Some(vec![Arc::clone(&role.rules)]);
        }
        let mut found = Vec::new();
        self.aggregate(name, role, &mut vec![name], &mut found);
        Some(found)
    }

    /// Roles that are aggregated may aggregate others; `seen` keeps circles from turning for ever.
    fn aggregate<'a>(&'a self, name: &'a str, role: &'a Role, seen: &mut Vec<&'a str>, found: &mut Vec<Arc<[Rule]>>) {
        let Some(selectors) = &role.aggregates else {
            found.push(Arc::clone(&role.rules));
            return;
        };
        let below = self.below.iter().flat_map(|below| &below.roles).filter(|(key, _)| !self.roles.contains_key(*key));
        for ((of, other), candidate) in self.roles.iter().chain(below) {
            let selected = of.is_empty() && selectors.iter().any(|selector| selector.matches(&candidate.labels));
            if selected && other != name && !seen.contains(&other.as_str()) {
                seen.push(other);
                self.aggregate(other, candidate, seen, found);
            }
        }
    }

    /// Bindings of somebody, with the place (namespace) and name of each.
    fn bindings_of<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = (&'a str, &'a str, &'a Binding)> {
        let find = |policy: &'a Policy| {
            std::iter::once(Holder::User(identity.user.clone()))
                .chain(identity.groups.iter().map(|group| Holder::Group(group.clone())))
                .filter_map(|holder| policy.by_subject.get(&holder))
                .flatten()
                .map(|key| (key, &policy.bindings[key]))
        };
        let below =
            self.below.iter().flat_map(move |below| find(below)).filter(|(key, _)| !self.bindings.contains_key(*key));
        find(self).chain(below).map(|((namespace, name), binding)| (namespace.as_str(), name.as_str(), binding))
    }

    /// Takes a role or binding in, in place of what was there under its name.
    pub fn put(&mut self, kind: Kind, object: &Object) {
        let name = object.object_name();
        self.remove(kind, &name);
        let key = (name.namespace, name.name);
        match kind {
            Kind::ClusterRole | Kind::Role => {
                self.roles.insert(key, Role::read(object));
            }
            Kind::ClusterRoleBinding | Kind::RoleBinding => {
                let subjects = object.0.get("subjects").and_then(serde_json::Value::as_array).into_iter().flatten();
                let subjects: Vec<Subject> = subjects.filter_map(|s| Subject::deserialize(s).ok()).collect();
                let role = object.0.get("roleRef").and_then(|role| RoleRef::deserialize(role).ok()).unwrap_or_default();
                for subject in &subjects {
                    if let Some(subject) = compared(subject, &key.0) {
                        self.by_subject.entry(subject).or_default().push(key.clone());
                    }
                }
                self.bindings.insert(key, Binding { role, subjects });
            }
        }
    }

    /// Forgets a role or binding.
    pub fn remove(&mut self, kind: Kind, name: &ObjectName) {
        let key = (name.namespace.clone(), name.name.clone());
        match kind {
            Kind::ClusterRole | Kind::Role => {
                self.roles.remove(&key);
            }
            Kind::ClusterRoleBinding | Kind::RoleBinding => {
                let Some(binding) = self.bindings.remove(&key) else { return };
                for subject in &binding.subjects {
                    let Some(subject) = compared(subject, &key.0) else { continue };
                    if let Some(held) = self.by_subject.get_mut(&subject) {
                        held.retain(|name| *name != key);
                        if held.is_empty() {
                            self.by_subject.remove(&subject);
                        }
                    }
                }
            }
        }
    }

    /// Decides one request.
    pub fn decide(&self, identity: &Identity, asked: &Attributes<'_>) -> Decision {
        if identity.is_in(MASTERS) {
            return Decision::Allow(format!("RBAC: allowed to group {MASTERS:?}"));
        }
        let mut missing = Vec::new();
        for (namespace, name, binding) in self.bindings_of(identity) {
            if !namespace.is_empty() && (asked.path.is_some() || namespace != asked.namespace) {
                continue;
            }
            let of = if binding.role.kind == "Role" { namespace } else { "" };
            match self.rules(of, &binding.role.name) {
                Some(rules) if rules.iter().flat_map(|rules| rules.iter()).any(|rule| rule.allows(asked)) => {
                    let kind = if namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" };
                    return Decision::Allow(format!(
                        "RBAC: allowed by {kind} {name:?} of {} {:?}",
                        binding.role.kind, binding.role.name
                    ));
                }
                Some(_) => {}
                None => missing.push(format!("{} {:?} not found", binding.role.kind, binding.role.name)),
            }
        }
        missing.sort();
        missing.dedup();
        Decision::Deny(if missing.is_empty() { String::new() } else { format!("RBAC: {}", missing.join(", ")) })
    }

    /// The rules of a role, as JSON; an empty namespace is a ClusterRole.
    pub fn rules_of(&self, namespace: &str, name: &str) -> Option<Vec<serde_json::Value>> {
        Some(self.rules(namespace, name)?.iter().flat_map(|rules| rules.iter()).map(Rule::to_json).collect())
    }

    /// The rules that hold for somebody in a namespace, as `SelfSubjectRulesReview` lists them: resource rules and
    /// non-resource rules.
    pub fn rules_for(&self, identity: &Identity, namespace: &str) -> Vec<serde_json::Value> {
        let mut found = Vec::new();
        if identity.is_in(MASTERS) {
            found.push(serde_json::json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
            found.push(serde_json::json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
        }
        for (of, _, binding) in self.bindings_of(identity) {
            if !of.is_empty() && of != namespace {
                continue;
            }
            let place = if binding.role.kind == "Role" { of } else { "" };
            for rules in self.rules(place, &binding.role.name).into_iter().flatten() {
                found.extend(rules.iter().map(Rule::to_json));
            }
        }
        found
    }
}

fn compared(subject: &Subject, binding_namespace: &str) -> Option<Holder> {
    match subject.kind.as_str() {
        "User" => Some(Holder::User(subject.name.clone())),
        "Group" => Some(Holder::Group(subject.name.clone())),
        "ServiceAccount" => {
            let namespace = if subject.namespace.is_empty() { binding_namespace } else { &subject.namespace };
            Some(Holder::User(format!("system:serviceaccount:{namespace}:{}", subject.name)))
        }
        _ => None,
    }
}

impl Rule {
    fn allows(&self, asked: &Attributes<'_>) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|held| held == "*" || held == wanted);
        if !has(&self.verbs, asked.verb) {
            return false;
        }
        if let Some(path) = asked.path {
            return self.non_resource_urls.iter().any(|url| match url.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => url == path,
            });
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

    fn to_json(&self) -> serde_json::Value {
        let mut rule = serde_json::Map::new();
        for (key, list) in [
            ("verbs", &self.verbs),
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("nonResourceURLs", &self.non_resource_urls),
        ] {
            if !list.is_empty() {
                rule.insert(key.into(), list.clone().into());
            }
        }
        rule.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy() -> Policy {
        let mut policy = Policy::default();
        let mut put = |kind, value: serde_json::Value| policy.put(kind, &serde_json::from_value(value).unwrap());
        put(
            Kind::ClusterRole,
            json!({"metadata": {"name": "reader"}, "rules": [
                {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps", "pods/log"]},
                {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"]}]}),
        );
        put(
            Kind::ClusterRole,
            json!({"metadata": {"name": "own"}, "rules": [
                {"verbs": ["*"], "apiGroups": ["c.io"], "resources": ["clusters", "clusters/status"], "resourceNames": ["c1"]}]}),
        );
        put(
            Kind::ClusterRoleBinding,
            json!({"metadata": {"name": "own"}, "roleRef": {"kind": "ClusterRole", "name": "own"},
                "subjects": [{"kind": "Group", "name": "c1"}]}),
        );
        put(
            Kind::ClusterRoleBinding,
            json!({"metadata": {"name": "all"}, "roleRef": {"kind": "ClusterRole", "name": "reader"},
                "subjects": [{"kind": "User", "name": "ann"}]}),
        );
        put(
            Kind::RoleBinding,
            json!({"metadata": {"name": "some", "namespace": "ns"}, "roleRef": {"kind": "ClusterRole", "name": "reader"},
                "subjects": [{"kind": "ServiceAccount", "name": "bob"}]}),
        );
        put(
            Kind::RoleBinding,
            json!({"metadata": {"name": "lost", "namespace": "ns"}, "roleRef": {"kind": "Role", "name": "gone"},
                "subjects": [{"kind": "User", "name": "eve"}]}),
        );
        policy
    }

    #[track_caller]
    fn check(user: &str, asked: &str, expected: bool) {
        let groups = user.split('+').skip(1).map(str::to_owned).collect();
        let identity = Identity::authenticated(user.split('+').next().unwrap(), groups);
        let words: Vec<&str> = asked.split(' ').collect();
        let mut attributes = Attributes { verb: words[0], ..Attributes::default() };
        if words[1].starts_with('/') {
            attributes.path = Some(words[1]);
        } else {
            let (resource, group) = words[1].split_once('.').unwrap_or((words[1], ""));
            attributes.group = group;
            (attributes.resource, attributes.subresource) = resource.split_once('/').unwrap_or((resource, ""));
            attributes.namespace = words.get(2).copied().unwrap_or("");
            attributes.name = words.get(3).copied().unwrap_or("");
        }
        assert_eq!(policy().decide(&identity, &attributes).is_allowed(), expected, "{user} {asked}");
    }

    #[test]
    fn decides() {
        check("root+system:masters", "delete secrets kube-system x", true);
        check("ann", "get configmaps ns x", true);
        check("ann", "list configmaps", true);
        check("ann", "delete configmaps ns x", false);
        check("ann", "get pods ns x", false);
        check("ann", "get pods/log ns x", true);
        check("ann", "get configmaps.other ns x", false);
        check("ann", "get /healthz", true);
        check("ann", "get /apis/apps", true);
        check("ann", "get /metrics", false);
        check("ann", "post /healthz", false);
        check("system:serviceaccount:ns:bob", "get configmaps ns x", true);
        check("system:serviceaccount:ns:bob", "get configmaps other x", false);
        check("system:serviceaccount:ns:bob", "get configmaps", false);
        check("system:serviceaccount:ns:bob", "get /healthz", false);
        check("eve", "get configmaps ns x", false);
        check("agent+c1", "patch clusters/status.c.io  c1", true);
        check("agent+c1", "get clusters.c.io  c1", true);
        check("agent+c1", "get clusters.c.io  c2", false);
        check("agent+c1", "list clusters.c.io", false);
        check("agent+c1", "create clusters.c.io", false);
    }

    #[test]
    fn looks_below() {
        let below = Arc::new(policy());
        let mut policy = Policy::over(Arc::clone(&below));
        let ann = Identity::authenticated("ann", vec![]);
        let asked = Attributes { verb: "get", resource: "configmaps", ..Attributes::default() };
        assert!(policy.decide(&ann, &asked).is_allowed());
        assert_eq!(policy.rules_for(&ann, "").len(), 2);
        let hiding = json!({"metadata": {"name": "reader"}, "rules": []});
        policy.put(Kind::ClusterRole, &serde_json::from_value(hiding).unwrap());
        assert!(!policy.decide(&ann, &asked).is_allowed());
    }

    #[test]
    fn aggregates() {
        let mut policy = Policy::default();
        let mut put = |kind, value: serde_json::Value| policy.put(kind, &serde_json::from_value(value).unwrap());
        let select = |label: &str| json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
        // `all` aggregates `some`, which aggregates `one` and itself.
        put(Kind::ClusterRole, json!({"metadata": {"name": "all"}, "aggregationRule": select("to-all")}));
        put(
            Kind::ClusterRole,
            json!({"metadata": {"name": "some", "labels": {"to-all": "true", "to-some": "true"}}, "aggregationRule": select("to-some")}),
        );
        put(
            Kind::ClusterRole,
            json!({"metadata": {"name": "one", "labels": {"to-some": "true"}}, "rules": [
                {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
        );
        put(
            Kind::ClusterRoleBinding,
            json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "all"},
                "subjects": [{"kind": "User", "name": "ann"}]}),
        );
        let ann = Identity::authenticated("ann", vec![]);
        let asked = |verb| Attributes { verb, resource: "pods", namespace: "ns", ..Attributes::default() };
        assert!(policy.decide(&ann, &asked("get")).is_allowed());
        assert!(!policy.decide(&ann, &asked("list")).is_allowed());
    }

    #[test]
    fn forgets() {
        let mut policy = policy();
        policy.remove(Kind::ClusterRoleBinding, &ObjectName::cluster("all"));
        let ann = Identity::authenticated("ann", vec![]);
        let asked = Attributes { verb: "get", resource: "configmaps", ..Attributes::default() };
        assert_eq!(policy.decide(&ann, &asked), Decision::Deny(String::new()));
        let eve = Identity::authenticated("eve", vec![]);
        let asked = Attributes { verb: "get", resource: "configmaps", namespace: "ns", ..Attributes::default() };
        assert_eq!(policy.decide(&eve, &asked), Decision::Deny("RBAC: Role \"gone\" not found".into()));
    }
}
