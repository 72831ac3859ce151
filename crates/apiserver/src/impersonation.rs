//! `Impersonate-*` headers: a request made as somebody else, by one who may.
//!
//! There are two ways to be allowed. The narrow one: the right to do what is asked in the name of another
//! (`impersonate-on:MODE:VERB` on what is asked), and the right to take that name (`impersonate:MODE`). The old one:
//! the verb `impersonate` on each part of the other's identity, for whatever is asked.

use crate::authz::authorize;
use crate::identity::{ANONYMOUS, AUTHENTICATED, Attributes, Identity, UNAUTHENTICATED};
use crate::respond::{Failure, Result};
use crate::space::Space;
use api::Status;
use http::HeaderMap;
use std::collections::BTreeMap;
use std::fmt::Write;

const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";
const ACCOUNT: &str = "system:serviceaccount:";
/// Users of whom a space remembers that they impersonate: it only chooses the words of refusals.
const IMPERSONATORS_MAX: usize = 1000;
const NODE: &str = "system:node:";

/// Who is to be impersonated, as the headers say.
struct Wanted {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Wanted {
    fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        let groups = headers.get_all("impersonate-group").iter().filter_map(|value| value.to_str().ok());
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) {
                extra.entry(crate::route::decode(key, false)).or_default().push(value.to_owned());
            }
        }
        Self {
            user: text("impersonate-user"),
            uid: text("impersonate-uid"),
            groups: groups.map(str::to_owned).collect(),
            extra,
        }
    }

    /// Namespace and name, if it is a service account.
    fn account(&self) -> Option<(&str, &str)> {
        self.user.strip_prefix(ACCOUNT)?.split_once(':')
    }

    /// As the stock server prints it.
    fn shown(&self) -> String {
        let texts = |list: &[String]| list.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ");
        let mut shown = format!("&user.DefaultInfo{{Name:{:?}, UID:{:?}, Groups:[]string", self.user, self.uid);
        shown.push_str(&if self.groups.is_empty() { "(nil)".into() } else { format!("{{{}}}", texts(&self.groups)) });
        shown.push_str(", Extra:map[string][]string");
        if self.extra.is_empty() {
            shown.push_str("(nil)");
        } else {
            let listed: Vec<String> =
                self.extra.iter().map(|(key, values)| format!("{key:?}:[]string{{{}}}", texts(values))).collect();
            let _ = write!(shown, "{{{}}}", listed.join(", "));
        }
        shown.push('}');
        shown
    }

    /// The rights that `verb` must give: each part of the identity, as group, resource, subresource, namespace, name.
    fn parts(&self, mode: Mode) -> Vec<[&str; 5]> {
        let identity = if mode == Mode::Old { "" } else { AUTHENTICATION };
        let mut parts = match (mode, self.account(), self.user.strip_prefix(NODE)) {
            (Mode::Old | Mode::Account, Some((namespace, name)), _) => {
                vec![[identity, "serviceaccounts", "", namespace, name]]
            }
            (Mode::Node, _, Some(node)) => vec![[identity, "nodes", "", "", node]],
            _ => vec![[identity, "users", "", "", self.user.as_str()]],
        };
        if matches!(mode, Mode::Old | Mode::User) {
            parts.extend(self.groups.iter().map(|group| [identity, "groups", "", "", group]));
        }
        if !self.uid.is_empty() {
            parts.push([AUTHENTICATION, "uids", "", "", &self.uid]);
        }
        for (key, values) in &self.extra {
            parts.extend(values.iter().map(|value| [AUTHENTICATION, "userextras", key, "", value]));
        }
        parts
    }

    /// The identity that the request then has.
    fn identity(self) -> Identity {
        let mut groups = self.groups.clone();
        if let Some((namespace, _)) = self.account().filter(|_| groups.is_empty()) {
            groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
        }
        let has = |group: &str| groups.iter().any(|held| held == group);
        let added = match (self.user.as_str(), has(AUTHENTICATED), has(UNAUTHENTICATED)) {
            (ANONYMOUS, _, false) => Some(UNAUTHENTICATED),
            (ANONYMOUS, ..) => None,
            (_, false, false) => Some(AUTHENTICATED),
            _ => None,
        };
        groups.extend(added.map(str::to_owned));
        Identity { user: self.user, uid: self.uid, groups, extra: self.extra }
    }
}

/// How somebody is impersonated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// With the one verb `impersonate`.
    Old,
    Account,
    Node,
    User,
}

impl Mode {
    fn of(wanted: &Wanted) -> Self {
        if wanted.account().is_some() {
            Self::Account
        } else if wanted.user.starts_with(NODE) {
            Self::Node
        } else {
            Self::User
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Old => "",
            Self::Account => "serviceaccount",
            Self::Node => "arbitrary-node",
            Self::User => "user-info",
        }
    }
}

/// Whom a request is to be made as, as its headers say; whether it may is not asked.
pub(crate) fn wanted(headers: &HeaderMap) -> Option<Identity> {
    headers.contains_key("impersonate-user").then(|| Wanted::read(headers).identity())
}

/// Who a request is to be answered as. `asked` is what it asks, before anybody has judged it.
///
/// # Errors
/// 400 for groups without a user, 403 for one who may not impersonate.
pub(crate) fn impersonated(
    space: &Space,
    identity: Identity,
    headers: &HeaderMap,
    asked: &Attributes<'_>,
) -> Result<Identity> {
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(identity);
    }
    let wanted = Wanted::read(headers);
    if wanted.user.is_empty() {
        if wanted.groups.is_empty() && wanted.uid.is_empty() && wanted.extra.is_empty() {
            return Ok(identity);
        }
        let message = format!("requested {} without impersonating a user name", wanted.shown());
        return Err(Status::bad_request(message).into());
    }
    may(space, &identity, &wanted, asked)?;
    Ok(wanted.identity())
}

/// 403 unless one of the two ways is open.
fn may(space: &Space, identity: &Identity, wanted: &Wanted, asked: &Attributes<'_>) -> Result<()> {
    let each = |mode: Mode, verb: &str| -> Result<()> {
        for [group, resource, subresource, namespace, name] in wanted.parts(mode) {
            let asked = Attributes { verb, group, resource, subresource, namespace, name, path: None };
            authorize(space, identity, &asked)?;
        }
        Ok(())
    };
    let mode = Mode::of(wanted);
    let narrow = || -> Result<(), Failure> {
        let verb = format!("impersonate-on:{}:{}", mode.name(), asked.verb);
        authorize(space, identity, &Attributes { verb: &verb, ..asked.clone() })?;
        each(mode, &format!("impersonate:{}", mode.name()))
    };
    match each(Mode::Old, "impersonate") {
        Ok(()) => {
            let mut seen = space.impersonators.lock();
            if seen.len() < IMPERSONATORS_MAX {
                seen.insert(identity.user.clone());
            }
            Ok(())
        }
        Err(old) if space.impersonators.lock().contains(&identity.user) => narrow().map_err(|_| old),
        Err(_) => narrow(),
    }
}
