//! Signs approved requests for client certificates of a space (signer `kubernetes.io/kube-apiserver-client`).

use super::call::{Caller, Failure};
use crate::Server;
use crate::identity::MASTERS;
use api::{Object, ObjectName, Resource, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pki::{Leaf, Request, Subject, Usage};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const REQUESTS: Resource =
    Resource::cluster("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest");
const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
/// Usages that this signer grants; `client auth` must be among those asked.
const USAGES: [&str; 3] = ["digital signature", "key encipherment", "client auth"];
/// How long a certificate lives if the request asks for nothing shorter: the stock signer's year.
const VALIDITY_MAX: Duration = Duration::from_secs(365 * 86_400);
/// The shortest life that a request may ask for.
const VALIDITY_MIN: Duration = Duration::from_secs(600);
/// Groups that come from the way somebody is authenticated, or that rule: none is had by asking.
const GROUPS_RESERVED: [&str; 4] = [MASTERS, "system:nodes", "system:authenticated", "system:unauthenticated"];
/// The groups of service accounts: all of them, and those of a namespace (`system:serviceaccounts:NAMESPACE`).
const ACCOUNT_GROUPS: &str = "system:serviceaccounts";
/// What the names of users begin with that are parts of the server itself, nodes or service accounts.
const USERS_RESERVED: [&str; 5] =
    ["system:serviceaccount:", "system:node:", "system:kube-", "system:controller:", "system:apiserver"];

/// What to do with a signing request.
#[derive(PartialEq, Debug)]
enum Step {
    /// Not ours, not approved, or done.
    Nothing,
    /// Sign this request for so long.
    Sign(Box<Request>, Duration),
    /// It cannot be signed, and why.
    Refuse(String),
}

fn plan(object: &Object) -> Step {
    let is = |condition: &str| {
        let held = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        held.into_iter().any(|held| held["type"] == condition && held["status"] == "True")
    };
    let spec = |field: &str| object.0.get("spec").and_then(|spec| spec.get(field));
    let ours = spec("signerName").and_then(Value::as_str) == Some(SIGNER);
    let done = object.pointer("/status/certificate").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if !ours || done || !is("Approved") || is("Denied") || is("Failed") {
        return Step::Nothing;
    }
    let usages: Vec<&str> =
        spec("usages").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if !usages.contains(&"client auth") || usages.iter().any(|usage| !USAGES.contains(usage)) {
        return Step::Refuse(format!("the usages must include \"client auth\" and may otherwise be of {USAGES:?}"));
    }
    let pem = spec("request").and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
    let request = match pem.and_then(|pem| String::from_utf8(pem).ok()).map(|pem| Request::from_pem(&pem)) {
        Some(Ok(request)) => request,
        Some(Err(error)) => return Step::Refuse(error.to_string()),
        None => return Step::Refuse("spec.request is not base64 of a PEM text".into()),
    };
    if request.subject.common_name.is_empty() {
        return Step::Refuse("the subject has no common name".into());
    }
    if let Some(why) = reserved(&request.subject) {
        return Step::Refuse(why);
    }
    let asked = spec("expirationSeconds").and_then(Value::as_u64).map(Duration::from_secs);
    let validity = asked.unwrap_or(VALIDITY_MAX).clamp(VALIDITY_MIN, VALIDITY_MAX);
    Step::Sign(Box::new(request), validity)
}

/// Why nobody gets a certificate of this subject by signing request, if so: an approval must not be worth more than a
/// user of the space.
fn reserved(subject: &Subject) -> Option<String> {
    let is_reserved = |group: &str| GROUPS_RESERVED.contains(&group) || group.starts_with(ACCOUNT_GROUPS);
    if let Some(group) = subject.organizations.iter().find(|group| is_reserved(group)) {
        return Some(format!("no certificate for group {group} is given by signing request"));
    }
    let user = &subject.common_name;
    USERS_RESERVED
        .iter()
        .any(|prefix| user.starts_with(prefix))
        .then(|| format!("no certificate for user {user} is given by signing request"))
}

pub(super) async fn sign(caller: &Caller<'_>, server: &Server, name: &Arc<str>) -> Result<(), Failure> {
    let name = ObjectName::cluster(&**name);
    let Some(object) = caller.get(&REQUESTS, &name).await? else { return Ok(()) };
    let path = format!("{}/status", REQUESTS.object_path(&name));
    let version = object.resource_version();
    match plan(&object) {
        Step::Nothing => Ok(()),
        Step::Sign(request, validity) => {
            let authority = server.authority(caller.space());
            let authority = authority.ok_or_else(|| Failure::Sign("the space has no authority".into()))?;
            let certificate = authority
                .issue(&Leaf {
                    subject: &request.subject,
                    names: &request.names,
                    usage: Usage::Client,
                    public_key_info: &request.public_key_info,
                    now: server.now(),
                    validity,
                })
                .map_err(|error| Failure::Sign(error.to_string()))?;
            let patch = json!({"metadata": {"resourceVersion": version}, "status": {"certificate": STANDARD.encode(certificate)}});
            caller.merge(path, patch).await
        }
        Step::Refuse(why) => {
            let mut conditions =
                object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
            conditions.push(failed(&why, server.now()));
            let patch = json!({"metadata": {"resourceVersion": version}, "status": {"conditions": conditions}});
            caller.merge(path, patch).await
        }
    }
}

fn failed(why: &str, now: Timestamp) -> Value {
    json!({"type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": why,
        "lastUpdateTime": now, "lastTransitionTime": now})
}

#[cfg(test)]
mod tests {
    use super::*;
    use pki::{PrivateKey, new_request};

    fn request(groups: &[&str], usages: &[&str], conditions: &[&str], seconds: Option<u64>) -> Object {
        request_of("agent", groups, usages, conditions, seconds)
    }

    fn request_of(user: &str, groups: &[&str], usages: &[&str], conditions: &[&str], seconds: Option<u64>) -> Object {
        let subject =
            Subject { common_name: user.into(), organizations: groups.iter().map(|&group| group.to_owned()).collect() };
        let pem = new_request(&PrivateKey::generate().unwrap(), &subject, &[]).unwrap();
        let conditions: Vec<Value> =
            conditions.iter().map(|condition| json!({"type": condition, "status": "True"})).collect();
        serde_json::from_value(json!({
            "spec": {"signerName": SIGNER, "request": STANDARD.encode(pem), "usages": usages, "expirationSeconds": seconds},
            "status": {"conditions": conditions}}))
        .unwrap()
    }

    #[track_caller]
    fn check(object: &Object, expected: &str) {
        let seen = match plan(object) {
            Step::Nothing => "nothing".to_owned(),
            Step::Sign(request, validity) => {
                format!("sign {} for {} s", request.subject.common_name, validity.as_secs())
            }
            Step::Refuse(why) => format!("refuse: {why}"),
        };
        assert!(seen.starts_with(expected), "{seen}");
    }

    #[test]
    fn plans() {
        check(&request(&["g"], &USAGES, &[], None), "nothing");
        check(&request(&["g"], &USAGES, &["Approved"], None), "sign agent for 31536000 s");
        check(&request(&["g"], &USAGES, &["Approved"], Some(3600)), "sign agent for 3600 s");
        check(&request(&["g"], &USAGES, &["Approved"], Some(1)), "sign agent for 600 s");
        check(&request(&["g"], &USAGES, &["Approved", "Denied"], None), "nothing");
        check(&request(&["g"], &["digital signature"], &["Approved"], None), "refuse: the usages");
        check(&request(&["g"], &["client auth", "server auth"], &["Approved"], None), "refuse: the usages");
        check(&request(&["system:masters"], &USAGES, &["Approved"], None), "refuse: no certificate for group");
        let mut other = request(&["g"], &USAGES, &["Approved"], None);
        other.0["spec"]["request"] = "!".into();
        check(&other, "refuse: spec.request is not base64");
        other.0["spec"]["signerName"] = "example.com/x".into();
        check(&other, "nothing");
    }

    #[test]
    fn reserved_subjects_are_refused() {
        let asking = |user: &str, groups: &[&str]| request_of(user, groups, &USAGES, &["Approved"], None);
        let refused_groups = [
            "system:masters",
            "system:nodes",
            "system:authenticated",
            "system:unauthenticated",
            "system:serviceaccounts",
            "system:serviceaccounts:kube-system",
        ];
        for group in refused_groups {
            check(&asking("agent", &["g", group]), &format!("refuse: no certificate for group {group} "));
        }
        let refused_users = [
            "system:serviceaccount:kube-system:default",
            "system:node:n1",
            "system:kube-controller-manager",
            "system:kube-scheduler",
            "system:controller:namespace-controller",
            "system:apiserver",
        ];
        for user in refused_users {
            check(&asking(user, &["g"]), &format!("refuse: no certificate for user {user} "));
        }
        for user in ["system:example:c1:a", "kube-scheduler", "system:nodeless"] {
            check(&asking(user, &["system:example:c1", "nodes"]), &format!("sign {user} for"));
        }
    }
}
