//! Fills Secrets that ask for a token of a service account (`kubernetes.io/service-account-token`), and takes away
//! those whose account is gone.

use super::call::{Caller, Failure};
use crate::Server;
use crate::tokens::{self, Account, Bound};
use api::{Object, ObjectName, Resource};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use store::{Collection, Key};

const SECRETS: Resource = Resource::namespaced("", "v1", "secrets", "Secret");
const ACCOUNTS: Resource = Resource::namespaced("", "v1", "serviceaccounts", "ServiceAccount");
/// The type of the Secrets.
pub(super) const TYPE: &str = "kubernetes.io/service-account-token";
const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";

/// What to do with a Secret.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Nothing,
    /// Its account is not there.
    Delete,
    /// These keys of `data` are missing or wrong.
    Fill(Vec<&'static str>),
}

/// `account` is the uid of the account that the Secret names, if it is there.
fn plan(secret: &Object, account: Option<&str>, authority: &str) -> Step {
    if secret.0.get("type").and_then(Value::as_str) != Some(TYPE) || secret.is_deleting() {
        return Step::Nothing;
    }
    let Some(account) = account else { return Step::Delete };
    if secret.annotation(UID).is_some_and(|uid| !uid.is_empty() && uid != account) {
        return Step::Delete;
    }
    let held = |key: &str| secret.pointer(&format!("/data/{key}")).and_then(Value::as_str).unwrap_or("");
    let mut missing = Vec::new();
    if held("token").is_empty() {
        missing.push("token");
    }
    if held("ca.crt") != STANDARD.encode(authority) {
        missing.push("ca.crt");
    }
    if held("namespace") != STANDARD.encode(secret.namespace()) {
        missing.push("namespace");
    }
    if missing.is_empty() && secret.annotation(UID).is_some() { Step::Nothing } else { Step::Fill(missing) }
}

pub(super) async fn reconcile(caller: &Caller<'_>, server: &Server, key: &Key) -> Result<(), Failure> {
    let name = ObjectName::namespaced(&*key.namespace, &*key.name);
    let Some(secret) = caller.get(&SECRETS, &name).await? else { return Ok(()) };
    let named = secret.annotation(NAME).unwrap_or("").to_owned();
    let account = caller.get(&ACCOUNTS, &ObjectName::namespaced(&*key.namespace, named.as_str())).await?;
    let authority = server.serving_authority();
    match plan(&secret, account.as_ref().map(Object::uid), authority) {
        Step::Nothing => Ok(()),
        Step::Delete => caller.delete(&SECRETS, &name, secret.uid(), "Background").await,
        Step::Fill(missing) => {
            let uid = account.as_ref().map_or("", Object::uid);
            let mut data = serde_json::Map::new();
            for field in missing {
                let text = match field {
                    "token" => token(server, caller, &secret, &named, uid)?,
                    "ca.crt" => authority.to_owned(),
                    _ => key.namespace.to_string(),
                };
                data.insert(field.into(), STANDARD.encode(text).into());
            }
            let patch = json!({"metadata": {"resourceVersion": secret.resource_version(), "annotations": {UID: uid}},
                "data": data});
            caller.merge(SECRETS.object_path(&name), patch).await
        }
    }
}

/// Looks at all Secrets of a namespace, one of whose accounts is gone.
pub(super) async fn reconcile_all(caller: &Caller<'_>, server: &Server, namespace: &str) -> Result<(), Failure> {
    let collection = Collection::new(caller.space().as_str(), "secrets");
    let page = server.store().page(&collection, Some(namespace), None, usize::MAX, None);
    let entries = page.map(|page| page.entries).unwrap_or_default();
    for entry in entries.iter().filter(|entry| super::contains(&entry.value, TYPE.as_bytes())) {
        reconcile(caller, server, &entry.key).await?;
    }
    Ok(())
}

/// A token that is good as long as the Secret is there.
fn token(server: &Server, caller: &Caller<'_>, secret: &Object, name: &str, uid: &str) -> Result<String, Failure> {
    let space = server.space(caller.space()).ok_or_else(|| Failure::Sign("the space is gone".into()))?;
    let account = Account { namespace: secret.namespace(), name, uid };
    let bound = Bound { kind: "secret", name: secret.name().into(), uid: secret.uid().into() };
    let audiences = std::slice::from_ref(&space.issuer);
    let issued = tokens::issue(&space.tokens, &space.issuer, audiences, &account, &[bound], (server.now(), None));
    issued.ok_or_else(|| Failure::Sign("the space's key for tokens cannot sign".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl Fn(&mut Value), account: Option<&str>, expected: Step) {
        let mut secret = json!({"metadata": {"namespace": "ns", "name": "s", "annotations": {NAME: "a", UID: "u"}},
            "type": TYPE, "data": {"token": "dA==", "ca.crt": STANDARD.encode("ca"), "namespace": STANDARD.encode("ns")}});
        change(&mut secret);
        let secret: Object = serde_json::from_value(secret).unwrap();
        assert_eq!(plan(&secret, account, "ca"), expected);
    }

    #[test]
    fn plans() {
        check(|_| {}, Some("u"), Step::Nothing);
        check(|_| {}, None, Step::Delete);
        check(|_| {}, Some("another"), Step::Delete);
        check(|secret| secret["type"] = "Opaque".into(), None, Step::Nothing);
        check(|secret| secret["data"] = json!({}), Some("u"), Step::Fill(vec!["token", "ca.crt", "namespace"]));
        check(|secret| secret["data"]["ca.crt"] = "eA==".into(), Some("u"), Step::Fill(vec!["ca.crt"]));
        check(|secret| secret["metadata"]["annotations"] = json!({NAME: "a"}), Some("u"), Step::Fill(vec![]));
        check(|secret| secret["metadata"]["deletionTimestamp"] = "x".into(), None, Step::Nothing);
    }
}
