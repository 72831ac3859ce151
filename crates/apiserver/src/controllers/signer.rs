//! Signs approved requests for certificates of a space: what each of the stock signers signs is a row of [`SIGNERS`].

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

/// What one signer signs.
struct Signer {
    name: &'static str,
    usage: Usage,
    /// For kubelets only: group `system:nodes`, a user that begins with `system:node:`.
    kubelet: bool,
}

/// The signers. Usages besides `digital signature` and `key encipherment` must be the one of the row.
const SIGNERS: [Signer; 3] = [
    Signer { name: "kubernetes.io/kube-apiserver-client", usage: Usage::Client, kubelet: false },
    Signer { name: "kubernetes.io/kube-apiserver-client-kubelet", usage: Usage::Client, kubelet: true },
    Signer { name: "kubernetes.io/kubelet-serving", usage: Usage::Server, kubelet: true },
];
/// The group of kubelets, and what their names begin with.
pub(super) const NODES: &str = "system:nodes";
pub(super) const NODE_PREFIX: &str = "system:node:";
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
    /// Sign this request for this use and so long.
    Sign(Box<Request>, Usage, Duration),
    /// It cannot be signed, and why.
    Refuse(String),
}

fn plan(object: &Object) -> Step {
    let is = |condition: &str| {
        let held = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        held.into_iter().any(|held| held["type"] == condition && held["status"] == "True")
    };
    let spec = |field: &str| object.0.get("spec").and_then(|spec| spec.get(field));
    let name = spec("signerName").and_then(Value::as_str).unwrap_or("");
    let Some(signer) = SIGNERS.iter().find(|signer| signer.name == name) else { return Step::Nothing };
    let done = object.pointer("/status/certificate").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if done || !is("Approved") || is("Denied") || is("Failed") {
        return Step::Nothing;
    }
    let usages: Vec<&str> =
        spec("usages").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let (wanted, use_of) = match signer.usage {
        Usage::Client => ("client auth", "client"),
        Usage::Server => ("server auth", "serving"),
    };
    if let Some(other) = usages.iter().find(|usage| ![wanted, "digital signature", "key encipherment"].contains(*usage))
    {
        return Step::Refuse(format!("invalid usage for {use_of} certificate: {other}"));
    }
    if !usages.contains(&wanted) {
        return Step::Refuse(format!("missing required usage for {use_of} certificate: {wanted}"));
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
    let refused = if signer.kubelet { not_a_kubelet(&request, signer.usage) } else { reserved(&request.subject) };
    if let Some(why) = refused {
        return Step::Refuse(why);
    }
    let asked = spec("expirationSeconds").and_then(Value::as_u64).map(Duration::from_secs);
    let validity = asked.unwrap_or(VALIDITY_MAX).clamp(VALIDITY_MIN, VALIDITY_MAX);
    Step::Sign(Box::new(request), signer.usage, validity)
}

/// Why a request is none of a kubelet, if so, in the stock server's words.
pub(super) fn not_a_kubelet(request: &Request, usage: Usage) -> Option<String> {
    let Subject { common_name, organizations } = &request.subject;
    let problem = if organizations.len() != 1 || organizations[0] != NODES {
        "subject organization is not system:nodes"
    } else if !common_name.starts_with(NODE_PREFIX) {
        "subject common name does not begin with system:node: "
    } else if usage == Usage::Server && request.names.is_empty() {
        "DNS or IP subjectAltName is required"
    } else if usage == Usage::Client && !request.names.is_empty() {
        "DNS and IP subjectAltNames are not allowed"
    } else {
        return None;
    };
    Some(problem.into())
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
        Step::Sign(request, usage, validity) => {
            let authority = server.authority(caller.space());
            let authority = authority.ok_or_else(|| Failure::Sign("the space has no authority".into()))?;
            let certificate = authority
                .issue(&Leaf {
                    subject: &request.subject,
                    names: &request.names,
                    usage,
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

    const USAGES: [&str; 3] = ["digital signature", "key encipherment", "client auth"];

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
            "spec": {"signerName": SIGNERS[0].name, "request": STANDARD.encode(pem), "usages": usages, "expirationSeconds": seconds},
            "status": {"conditions": conditions}}))
        .unwrap()
    }

    #[track_caller]
    fn check(object: &Object, expected: &str) {
        let seen = match plan(object) {
            Step::Nothing => "nothing".to_owned(),
            Step::Sign(request, _, validity) => {
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
        check(
            &request(&["g"], &["digital signature"], &["Approved"], None),
            "refuse: missing required usage for client certificate: client auth",
        );
        check(
            &request(&["g"], &["client auth", "server auth"], &["Approved"], None),
            "refuse: invalid usage for client certificate: server auth",
        );
        check(&request(&["system:masters"], &USAGES, &["Approved"], None), "refuse: no certificate for group");
        let mut other = request(&["g"], &USAGES, &["Approved"], None);
        other.0["spec"]["request"] = "!".into();
        check(&other, "refuse: spec.request is not base64");
        other.0["spec"]["signerName"] = "example.com/x".into();
        check(&other, "nothing");
    }

    #[test]
    fn kubelets() {
        let mut kubelet = request_of("system:node:n", &["system:nodes"], &USAGES, &["Approved"], None);
        check(&kubelet, "refuse: no certificate for group system:nodes");
        kubelet.0["spec"]["signerName"] = "kubernetes.io/kube-apiserver-client-kubelet".into();
        check(&kubelet, "sign system:node:n for");
        kubelet.0["spec"]["signerName"] = "kubernetes.io/kubelet-serving".into();
        check(&kubelet, "refuse: invalid usage for serving certificate: client auth");
        kubelet.0["spec"]["usages"] = json!(["digital signature", "server auth"]);
        check(&kubelet, "refuse: DNS or IP subjectAltName is required");
        let mut other = request_of("agent", &["g"], &USAGES, &["Approved"], None);
        other.0["spec"]["signerName"] = "kubernetes.io/kube-apiserver-client-kubelet".into();
        check(&other, "refuse: subject organization is not system:nodes");
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
