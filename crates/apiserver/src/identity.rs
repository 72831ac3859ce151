//! Who asks, and what is asked.

use std::collections::BTreeMap;

/// Members of this group may do everything; the group cannot be had through the CSR API.
pub const MASTERS: &str = "system:masters";
/// Everybody whom an authenticator recognised.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Everybody else.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The user of a request without credentials.
pub const ANONYMOUS: &str = "system:anonymous";

/// Who asks (`authentication.k8s.io/v1 UserInfo`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Identity {
    pub user: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// A user whom an authenticator recognised: joins [`AUTHENTICATED`].
    pub fn authenticated(user: impl Into<String>, mut groups: Vec<String>) -> Self {
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.into());
        }
        Self { user: user.into(), groups, ..Self::default() }
    }

    /// A part of this process, such as a controller that runs beside the space.
    pub fn system(name: &str) -> Self {
        Self::authenticated(format!("system:{name}"), vec![MASTERS.into()])
    }

    /// A request without credentials.
    pub fn anonymous() -> Self {
        Self { user: ANONYMOUS.into(), groups: vec![UNAUTHENTICATED.into()], ..Self::default() }
    }

    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|held| held == group)
    }
}

/// What is asked: the attributes that an authorizer decides on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or a lower-case HTTP method.
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    /// Empty for a collection and for `create`; for list and watch the value of `metadata.name` in the field selector.
    pub name: &'a str,
    /// Set for a path that is no resource; the fields above but `verb` are then empty.
    pub path: Option<&'a str>,
}

/// What an authorizer says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Allowed, and why.
    Allow(String),
    /// Not allowed by any rule; what went wrong while looking, if anything.
    Deny(String),
}

impl Decision {
    /// Whether it is [`Decision::Allow`].
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
}

/// The text of a refusal after "is forbidden: ", in the stock server's words.
pub fn refusal(identity: &Identity, asked: &Attributes<'_>) -> String {
    let user = &identity.user;
    let verb = asked.verb;
    if let Some(path) = asked.path {
        return format!("User {user:?} cannot {verb} path {path:?}");
    }
    let resource = if asked.subresource.is_empty() {
        asked.resource.to_owned()
    } else {
        format!("{}/{}", asked.resource, asked.subresource)
    };
    let place = if asked.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", asked.namespace)
    };
    format!("User {user:?} cannot {verb} resource {resource:?} in API group {:?} {place}", asked.group)
}
