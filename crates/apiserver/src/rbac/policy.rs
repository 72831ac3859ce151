//! Decides by roles and bindings, as plain data.
//!
//! The rules are additive: something is allowed if any rule of any role bound to the user or one of its groups allows
//! it. A ClusterRoleBinding grants everywhere, a RoleBinding only in its namespace.

use super::rule::Rule;
use crate::identity::{Attributes, Decision, Identity, MASTERS};
use api::{Object, ObjectName};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

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

/// The rules of a role. One that cannot be read grants nothing.
fn rules_in(object: &Object) -> Arc<[Rule]> {
    let rules = object.0.get("rules").and_then(Value::as_array).into_iter().flatten();
    rules.filter_map(|rule| Rule::deserialize(rule).ok()).collect()
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

    /// As objects spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClusterRole => "ClusterRole",
            Self::ClusterRoleBinding => "ClusterRoleBinding",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
        }
    }

    const fn is_role(self) -> bool {
        matches!(self, Self::ClusterRole | Self::Role)
    }
}

/// Roles and bindings of one space, indexed by subject.
#[derive(Debug, Default)]
pub struct Policy {
    /// What holds besides, unless a role or binding of the same name is here.
    below: Option<Arc<Policy>>,
    /// What is below and does not hold: whether it is a role, namespace and name.
    hidden: HashSet<(bool, (String, String))>,
    roles: HashMap<(String, String), Arc<[Rule]>>,
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

    /// The rules of a role; an empty namespace is a ClusterRole.
    pub fn rules_of(&self, of: &str, name: &str) -> Option<Arc<[Rule]>> {
        let key = (of.to_owned(), name.to_owned());
        let below = || self.below.as_ref().filter(|_| !self.hidden.contains(&(true, key.clone())))?.roles.get(&key);
        self.roles.get(&key).or_else(below).cloned()
    }

    /// Bindings of somebody, with the place (namespace) and name of each, and the subject by which it is theirs.
    fn bindings_of<'a>(
        &'a self,
        identity: &'a Identity,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a Binding, Holder)> {
        let find = |policy: &'a Policy| {
            std::iter::once(Holder::User(identity.user.clone()))
                .chain(identity.groups.iter().map(|group| Holder::Group(group.clone())))
                .filter_map(|holder| Some((policy.by_subject.get(&holder)?, holder)))
                .flat_map(|(keys, holder)| keys.iter().map(move |key| (key, holder.clone())))
                .map(|(key, holder)| (key, &policy.bindings[key], holder))
        };
        let holds =
            |key: &(String, String)| !self.bindings.contains_key(key) && !self.hidden.contains(&(false, key.clone()));
        let below = self.below.iter().flat_map(move |below| find(below)).filter(move |(key, ..)| holds(key));
        let mut found: Vec<_> = find(self).chain(below).collect();
        // Those of the cluster first, then by name: what is said of a decision is always the same.
        found.sort_by_key(|(key, ..)| *key);
        found.dedup_by_key(|(key, ..)| *key);
        found
            .into_iter()
            .map(|((namespace, name), binding, holder)| (namespace.as_str(), name.as_str(), binding, holder))
    }

    /// Takes a role or binding in, in place of what was there under its name.
    pub fn put(&mut self, kind: Kind, object: &Object) {
        let name = object.object_name();
        self.remove(kind, &name);
        let key = (name.namespace, name.name);
        match kind {
            Kind::ClusterRole | Kind::Role => {
                self.roles.insert(key, rules_in(object));
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

    /// Forgets a role or binding, also one of those below.
    pub fn hide(&mut self, kind: Kind, name: &ObjectName) {
        self.remove(kind, name);
        if self.below.is_some() {
            self.hidden.insert((kind.is_role(), (name.namespace.clone(), name.name.clone())));
        }
    }

    /// Forgets a role or binding of this policy.
    fn remove(&mut self, kind: Kind, name: &ObjectName) {
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
            return Decision::Allow(String::new());
        }
        let mut missing = Vec::new();
        for (namespace, name, binding, holder) in self.bindings_of(identity) {
            if !namespace.is_empty() && (asked.path.is_some() || namespace != asked.namespace) {
                continue;
            }
            match self.rules_of(binding.place(namespace), &binding.role.name) {
                Some(rules) if rules.iter().any(|rule| rule.allows(asked)) => {
                    let (kind, shown) = if namespace.is_empty() {
                        ("ClusterRoleBinding", name.to_owned())
                    } else {
                        ("RoleBinding", format!("{name}/{namespace}"))
                    };
                    return Decision::Allow(format!(
                        "RBAC: allowed by {kind} {shown:?} of {} {:?} to {}",
                        binding.role.kind,
                        binding.role.name,
                        binding.shown(&holder, namespace)
                    ));
                }
                Some(_) => {}
                None => missing.push(binding.not_found()),
            }
        }
        let missing = aggregate(missing);
        Decision::Deny(if missing.is_empty() { missing } else { format!("RBAC: {missing}") })
    }

    /// The rules that hold for somebody in a namespace, and what went wrong while they were looked up.
    pub fn rules_for(&self, identity: &Identity, namespace: &str) -> (Vec<Rule>, String) {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for (of, _, binding, _) in self.bindings_of(identity) {
            if !of.is_empty() && of != namespace {
                continue;
            }
            match self.rules_of(binding.place(of), &binding.role.name) {
                Some(rules) => found.extend(rules.iter().cloned()),
                None => missing.push(binding.not_found()),
            }
        }
        (found, aggregate(missing))
    }
}

/// Several errors as the stock server puts them in one.
fn aggregate(mut errors: Vec<String>) -> String {
    let mut seen = HashSet::new();
    errors.retain(|error| seen.insert(error.clone()));
    match &errors[..] {
        [] => String::new(),
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

impl Binding {
    /// Where its role is, for a binding in a namespace.
    fn place<'a>(&self, namespace: &'a str) -> &'a str {
        if self.role.kind == "Role" { namespace } else { "" }
    }

    fn not_found(&self) -> String {
        format!("{}.{} {:?} not found", self.role.kind.to_lowercase(), super::GROUP, self.role.name)
    }

    /// The subject by which the binding is somebody's.
    fn shown(&self, holder: &Holder, namespace: &str) -> String {
        let subject = self.subjects.iter().find(|subject| compared(subject, namespace).as_ref() == Some(holder));
        let Some(subject) = subject else { return String::new() };
        if subject.kind != "ServiceAccount" {
            return format!("{} {:?}", subject.kind, subject.name);
        }
        let of = if subject.namespace.is_empty() { namespace } else { &subject.namespace };
        format!("{} {:?}", subject.kind, format!("{}/{of}", subject.name))
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
        assert_eq!(policy.rules_for(&ann, "").0.len(), 2);
        let hiding = json!({"metadata": {"name": "reader"}, "rules": []});
        policy.put(Kind::ClusterRole, &serde_json::from_value(hiding).unwrap());
        assert!(!policy.decide(&ann, &asked).is_allowed());
        let mut policy = Policy::over(Arc::new(self::policy()));
        policy.hide(Kind::ClusterRoleBinding, &ObjectName::cluster("all"));
        assert!(!policy.decide(&ann, &asked).is_allowed(), "what is below and was deleted does not hold");
    }

    #[test]
    fn says_why() {
        let bob = Identity::authenticated("system:serviceaccount:ns:bob", vec![]);
        let asked = Attributes { verb: "get", resource: "configmaps", namespace: "ns", ..Attributes::default() };
        let why = "RBAC: allowed by RoleBinding \"some/ns\" of ClusterRole \"reader\" to ServiceAccount \"bob/ns\"";
        assert_eq!(policy().decide(&bob, &asked), Decision::Allow(why.into()));
    }

    #[test]
    fn forgets() {
        let mut policy = policy();
        policy.hide(Kind::ClusterRoleBinding, &ObjectName::cluster("all"));
        let ann = Identity::authenticated("ann", vec![]);
        let asked = Attributes { verb: "get", resource: "configmaps", ..Attributes::default() };
        assert_eq!(policy.decide(&ann, &asked), Decision::Deny(String::new()));
        let eve = Identity::authenticated("eve", vec![]);
        let asked = Attributes { verb: "get", resource: "configmaps", namespace: "ns", ..Attributes::default() };
        assert_eq!(
            policy.decide(&eve, &asked),
            Decision::Deny("RBAC: role.rbac.authorization.k8s.io \"gone\" not found".into())
        );
    }
}
