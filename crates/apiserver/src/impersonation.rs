//! `Impersonate-*` headers: a request made as somebody else, by one who may.

use crate::authz::authorize;
use crate::identity::{Attributes, Identity};
use crate::respond::Result;
use crate::space::Space;
use api::Status;
use http::HeaderMap;
use std::collections::BTreeMap;

const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";
const ACCOUNT: &str = "system:serviceaccount:";

/// Who a request is to be answered as.
///
/// # Errors
/// 400 for groups without a user, 403 for one who may not impersonate.
pub(crate) fn impersonated(space: &Space, identity: Identity, headers: &HeaderMap) -> Result<Identity> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let user = text("impersonate-user");
    let groups: Vec<String> = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .map(str::to_owned)
        .collect();
    let uid = text("impersonate-uid");
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) {
            extra.entry(key.to_owned()).or_default().push(value.to_owned());
        }
    }
    if user.is_empty() {
        if groups.is_empty() && uid.is_empty() && extra.is_empty() {
            return Ok(identity);
        }
        return Err(Status::bad_request("requested impersonation without a user to impersonate").into());
    }
    let may = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let asked = Attributes { verb: "impersonate", group, resource, subresource, namespace, name, path: None };
        authorize(space, &identity, &asked)
    };
    match user.strip_prefix(ACCOUNT).and_then(|account| account.split_once(':')) {
        Some((namespace, name)) => may("", "serviceaccounts", "", namespace, name)?,
        None => may("", "users", "", "", &user)?,
    }
    for group in &groups {
        may("", "groups", "", "", group)?;
    }
    if !uid.is_empty() {
        may(AUTHENTICATION, "uids", "", "", &uid)?;
    }
    for (key, values) in &extra {
        for value in values {
            may(AUTHENTICATION, "userextras", key, "", value)?;
        }
    }
    let mut groups = groups;
    if let Some((namespace, _)) = user.strip_prefix(ACCOUNT).and_then(|account| account.split_once(':'))
        && groups.is_empty()
    {
        groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
    }
    Ok(Identity { uid, extra, ..Identity::authenticated(user, groups) })
}
