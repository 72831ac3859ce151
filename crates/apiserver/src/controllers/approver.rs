//! Approves what kubelets ask for, if whoever asks has the right to have it approved.

use super::call::{Caller, Failure};
use super::signer::not_a_kubelet;
use crate::Server;
use crate::identity::{Attributes, Identity};
use api::{Object, ObjectName, Resource};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pki::{Request, Usage};
use serde_json::{Value, json};
use std::sync::Arc;

const REQUESTS: Resource =
    Resource::cluster("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest");
const SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";

/// The rights by which a request may be approved, each a subresource and what is said then; none if it is not one that
/// is approved here.
fn recognised(object: &Object) -> Vec<(&'static str, &'static str)> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let decided = object.pointer("/status/conditions").and_then(Value::as_array).is_some_and(|held| !held.is_empty());
    if decided || !text("/status/certificate").is_empty() || text("/spec/signerName") != SIGNER {
        return Vec::new();
    }
    let usages = object.pointer("/spec/usages").and_then(Value::as_array).into_iter().flatten();
    let usages: Vec<&str> = usages.filter_map(Value::as_str).collect();
    let known = ["digital signature", "key encipherment", "client auth"];
    if !usages.contains(&"client auth") || usages.iter().any(|usage| !known.contains(usage)) {
        return Vec::new();
    }
    let pem = STANDARD.decode(text("/spec/request")).ok().and_then(|pem| String::from_utf8(pem).ok());
    let Some(request) = pem.and_then(|pem| Request::from_pem(&pem).ok()) else { return Vec::new() };
    if not_a_kubelet(&request, Usage::Client).is_some() {
        return Vec::new();
    }
    let mut rights = Vec::new();
    if text("/spec/username") == request.subject.common_name {
        rights.push(("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."));
    }
    rights.push(("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."));
    rights
}

/// Approves a request that is to be approved; whether it did.
pub(super) async fn approve(caller: &Caller<'_>, server: &Server, name: &Arc<str>) -> Result<bool, Failure> {
    let name = ObjectName::cluster(&**name);
    let Some(object) = caller.get(&REQUESTS, &name).await? else { return Ok(false) };
    let Some(space) = server.space(caller.space()) else { return Ok(false) };
    let spec = object.0.get("spec").cloned().unwrap_or_default();
    let identity = Identity {
        user: spec["username"].as_str().unwrap_or("").into(),
        uid: spec["uid"].as_str().unwrap_or("").into(),
        groups: serde_json::from_value(spec["groups"].clone()).unwrap_or_default(),
        extra: serde_json::from_value(spec["extra"].clone()).unwrap_or_default(),
    };
    for (subresource, message) in recognised(&object) {
        let asked = Attributes {
            verb: "create",
            group: "certificates.k8s.io",
            resource: "certificatesigningrequests",
            subresource,
            ..Attributes::default()
        };
        if space.rbac.decide(&identity, &asked).is_allowed() {
            let condition = json!({"type": "Approved", "status": "True", "reason": "AutoApproved", "message": message});
            let patch = json!({"metadata": {"resourceVersion": object.resource_version()}, "status": {"conditions": [condition]}});
            caller.merge(format!("{}/approval", REQUESTS.object_path(&name)), patch).await?;
            return Ok(true);
        }
    }
    Ok(false)
}
