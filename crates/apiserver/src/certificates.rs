//! What is special in the writes of CertificateSigningRequests: who may approve and sign, what each endpoint may change,
//! and which conditions there may be.

use crate::authz::authorize;
use crate::call::Call;
use crate::identity::{Attributes, MASTERS};
use crate::options::cause;
use crate::respond::Result;
use api::{Cause, Object, Status};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Where the requests are kept.
pub(crate) const COLLECTION: &str = "certificatesigningrequests.certificates.k8s.io";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const LEGACY: &str = "kubernetes.io/legacy-unknown";

fn text<'a>(object: &'a Object, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn conditions(object: &Object) -> &[Value] {
    object.pointer("/status/conditions").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// 403 for a new request that asks for the group that may do everything.
pub(crate) fn admit_new(call: &Call, object: &Object) -> Result<()> {
    if text(object, "/spec/signerName") != CLIENT {
        return Ok(());
    }
    let pem = STANDARD.decode(text(object, "/spec/request")).ok().and_then(|pem| String::from_utf8(pem).ok());
    let request = pem.and_then(|pem| pki::Request::from_pem(&pem).ok());
    if request.is_some_and(|request| request.subject.organizations.iter().any(|group| group == MASTERS)) {
        let why = format!("use of {CLIENT} signer with {MASTERS} group is not allowed");
        return Err(Status::forbidden(&call.kind.group_resource, object.name(), why).into());
    }
    Ok(())
}

/// Puts back what an endpoint does not change, and says when conditions came. Then 403 unless the caller may.
pub(crate) fn settle(call: &Call, old: &Object, new: &mut Object) -> Result<()> {
    restore(old, new, "spec");
    match call.target.subresource.as_str() {
        "" => restore(old, new, "status"),
        "approval" => {
            restore_certificate(old, new);
            stamp(old, new, &call.server.now().to_string());
            return may(call, old, "approve");
        }
        _ => {
            stamp(old, new, &call.server.now().to_string());
            let same = |pointer: &str| old.pointer(pointer) == new.pointer(pointer);
            if !same("/status/certificate") || !same("/status/conditions") {
                return may(call, old, "sign");
            }
        }
    }
    Ok(())
}

fn restore(old: &Object, new: &mut Object, field: &str) {
    match old.0.get(field) {
        Some(value) => drop(new.0.insert(field.into(), value.clone())),
        None => drop(new.0.remove(field)),
    }
}

fn restore_certificate(old: &Object, new: &mut Object) {
    let held = old.pointer("/status/certificate").cloned();
    let status = new.0.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else { return };
    match held {
        Some(held) => drop(status.insert("certificate".into(), held)),
        None => drop(status.remove("certificate")),
    }
}

/// Conditions without times get those of now; one that was there in the same state keeps when it came to it.
fn stamp(old: &Object, new: &mut Object, now: &str) {
    let held = conditions(old).to_vec();
    let listed = new.0.get_mut("status").and_then(|status| status.get_mut("conditions")).and_then(Value::as_array_mut);
    for condition in listed.into_iter().flatten().filter(|condition| condition.is_object()) {
        let before =
            held.iter().find(|held| held["type"] == condition["type"] && held["status"] == condition["status"]);
        if condition["lastUpdateTime"].as_str().is_none() {
            condition["lastUpdateTime"] = now.into();
        }
        if condition["lastTransitionTime"].as_str().is_none() {
            let since = before.and_then(|before| before["lastTransitionTime"].as_str()).unwrap_or(now);
            condition["lastTransitionTime"] = since.into();
        }
    }
}

/// 403 unless the caller may approve or sign for the signer, or for all signers of its domain.
fn may(call: &Call, request: &Object, verb: &str) -> Result<()> {
    let signer = text(request, "/spec/signerName");
    let domain = signer.split_once('/').map(|(domain, _)| format!("{domain}/*"));
    let allowed = |name: &str| {
        let asked =
            Attributes { verb, group: "certificates.k8s.io", resource: "signers", name, ..Attributes::default() };
        authorize(&call.space, &call.identity, &asked).is_ok()
    };
    if allowed(signer) || domain.is_some_and(|domain| allowed(&domain)) {
        return Ok(());
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(Status::forbidden(&call.kind.group_resource, &call.target.name, why).into())
}

/// What is wrong with a request, beside what is wrong with its fields. `approving` is the endpoint that may approve.
pub(crate) fn problems(new: &Object, old: Option<&Object>, approving: bool) -> Vec<Cause> {
    let mut causes = condition_problems(new);
    let certificate = |object: &Object| text(object, "/status/certificate").to_owned();
    let pem = STANDARD.decode(certificate(new)).unwrap_or_default();
    if !certificate(new).is_empty() && !pem.windows(27).any(|window| window == b"-----BEGIN CERTIFICATE-----") {
        let message = "Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block";
        causes.push(cause("FieldValueInvalid", "status.certificate", message));
    }
    let Some(old) = old else {
        if text(new, "/spec/signerName") == LEGACY {
            let message =
                format!("Invalid value: {LEGACY:?}: the legacy signerName is not allowed via this API version");
            causes.push(cause("FieldValueInvalid", "spec.signerName", message));
        }
        return causes;
    };
    let mut forbid = |field: &str, why: String| {
        causes.push(cause("FieldValueForbidden", field, format!("Forbidden: {why}")));
    };
    let count = |object: &Object, kind: &str| conditions(object).iter().filter(|held| held["type"] == kind).count();
    for kind in ["Approved", "Denied", "Failed"] {
        if count(new, kind) < count(old, kind) {
            forbid("status.conditions", format!("updates may not remove a condition of type {kind:?}"));
        }
    }
    for kind in ["Approved", "Denied"] {
        if !approving && count(new, kind) > count(old, kind) {
            forbid("status.conditions", format!("updates may not add a condition of type {kind:?}"));
        }
    }
    if !certificate(old).is_empty() && certificate(old) != certificate(new) {
        forbid("status.certificate", "updates may not modify existing certificate content".into());
    }
    causes
}

fn condition_problems(new: &Object) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, condition) in conditions(new).iter().enumerate() {
        let at = |field: &str| format!("status.conditions[{index}].{field}");
        let kind = condition["type"].as_str().unwrap_or("");
        let status = condition["status"].as_str().unwrap_or("");
        if kind.is_empty() {
            causes.push(cause("FieldValueRequired", &at("type"), "Required value"));
        }
        let decisive = matches!(kind, "Approved" | "Denied" | "Failed");
        let supported = if decisive { "\"True\"" } else { "\"False\", \"True\", \"Unknown\"" };
        match status {
            "" => causes.push(cause("FieldValueRequired", &at("status"), "Required value")),
            "True" => {}
            "False" | "Unknown" if !decisive => {}
            _ => {
                let message = format!("Unsupported value: {status:?}: supported values: {supported}");
                causes.push(cause("FieldValueNotSupported", &at("status"), message));
            }
        }
        let other = match kind {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if seen.contains(&other) && !other.is_empty() {
            let message = format!("Invalid value: {kind:?}: Approved and Denied conditions are mutually exclusive");
            causes.push(cause("FieldValueInvalid", "status.conditions", message));
        }
        if seen.contains(&kind) {
            causes.push(cause("FieldValueDuplicate", &at("type"), format!("Duplicate value: {kind:?}")));
        }
        seen.push(kind);
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kinds: &[&str]) -> Object {
        let conditions: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
        serde_json::from_value(json!({"status": {"conditions": conditions}})).unwrap()
    }

    #[track_caller]
    fn check(old: &[&str], new: &[&str], approving: bool, expected: &[&str]) {
        let causes = problems(&request(new), Some(&request(old)), approving);
        let seen: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn approvals_are_for_ever_and_for_one_endpoint() {
        check(&[], &["Approved"], true, &[]);
        check(&["Approved"], &["Approved", "Failed"], false, &[]);
        check(
            &[],
            &["Approved"],
            false,
            &["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""],
        );
        check(
            &["Denied"],
            &[],
            true,
            &["status.conditions: Forbidden: updates may not remove a condition of type \"Denied\""],
        );
        check(
            &["Approved"],
            &["Approved", "Denied"],
            true,
            &["status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive"],
        );
        check(&[], &["Any", "Any"], true, &["status.conditions[1].type: Duplicate value: \"Any\""]);
        check(&[], &[""], true, &["status.conditions[0].type: Required value"]);
    }

    #[test]
    fn conditions_are_stamped() {
        let mut old = request(&["Approved"]);
        old.0["status"]["conditions"][0]["lastTransitionTime"] = "then".into();
        let mut new = request(&["Approved", "Other"]);
        stamp(&old, &mut new, "now");
        let times: Vec<&str> =
            conditions(&new).iter().map(|held| held["lastTransitionTime"].as_str().unwrap()).collect();
        assert_eq!(times, ["then", "now"]);
        assert_eq!(new.0["status"]["conditions"][0]["lastUpdateTime"], "now");
    }
}
