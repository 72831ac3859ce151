//! Questions about who somebody is and what they may do. They are answered and forgotten.

use crate::call::Call;
use crate::decode;
use crate::identity::{Attributes, Decision, Identity};
use crate::negotiate::{Offer, negotiate};
use crate::options::cause;
use crate::present;
use crate::respond::{Body, Result};
use api::{Object, Status};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

pub(super) fn review(call: &Call) -> Result<Response<Body>> {
    let accepted = negotiate(&call.headers, call.query.flag("pretty"), Offer::Plain)?;
    let Value::Object(map) = decode::object(&call.headers, &call.body, &call.kind.served.kind)?.value else {
        return Err(Status::bad_request("the body is not an object").into());
    };
    let mut review = Object(map);
    let kind = &call.kind.served.kind;
    if !matches!(review.kind(), "") && review.kind() != kind {
        return Err(Status::bad_request(format!("{} cannot be handled as a {kind}", review.kind())).into());
    }
    let spec = review.0.get("spec").cloned().unwrap_or_default();
    let status = match &**kind {
        "TokenReview" => token(call, &spec),
        "SelfSubjectReview" => json!({"userInfo": user_info(&call.identity)}),
        "SelfSubjectAccessReview" => access(call, &call.identity, &spec)?,
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            if &**kind == "LocalSubjectAccessReview" {
                same_namespace(call, &spec)?;
            }
            access(call, &subject(call, &spec)?, &spec)?
        }
        "SelfSubjectRulesReview" => rules(call, &spec),
        _ => return Err(super::not_served().into()),
    };
    review.0.insert("apiVersion".into(), call.kind.api_version.as_str().into());
    review.0.insert("kind".into(), kind.to_string().into());
    review.0.insert("status".into(), status);
    let metadata = review.metadata_mut();
    metadata.insert("creationTimestamp".into(), Value::Null);
    Ok(present::document(accepted, StatusCode::CREATED, review.to_json()))
}

fn user_info(identity: &Identity) -> Value {
    let mut info = Map::new();
    info.insert("username".into(), identity.user.as_str().into());
    if !identity.uid.is_empty() {
        info.insert("uid".into(), identity.uid.as_str().into());
    }
    info.insert("groups".into(), identity.groups.clone().into());
    if !identity.extra.is_empty() {
        info.insert("extra".into(), json!(identity.extra));
    }
    info.into()
}

fn token(call: &Call, spec: &Value) -> Value {
    let token = spec["token"].as_str().unwrap_or("");
    match call.server.identity_of_token(&call.space.name, token) {
        Some(identity) => json!({"authenticated": true, "user": user_info(&identity), "audiences": spec["audiences"]}),
        None => json!({"user": {}, "error": "the token is not one of this space"}),
    }
}

fn invalid(call: &Call, field: &str, message: &str) -> Status {
    let served = &call.kind.served;
    Status::invalid(&served.group, &served.kind, "", vec![cause("FieldValueInvalid", field, message)])
}

fn same_namespace(call: &Call, spec: &Value) -> Result<()> {
    if spec["resourceAttributes"]["namespace"].as_str() == Some(&call.target.namespace) {
        return Ok(());
    }
    let message = "Invalid value: must match metadata.namespace";
    Err(invalid(call, "spec.resourceAttributes.namespace", message).into())
}

/// Whom a review is about.
fn subject(call: &Call, spec: &Value) -> Result<Identity> {
    let text = |field: &str| spec[field].as_str().unwrap_or("").to_owned();
    let identity = Identity {
        user: text("user"),
        uid: text("uid"),
        groups: serde_json::from_value(spec["groups"].clone()).unwrap_or_default(),
        extra: serde_json::from_value(spec["extra"].clone()).unwrap_or_default(),
    };
    if identity.user.is_empty() && identity.groups.is_empty() {
        let message = "Invalid value: \"\": at least one of user or group must be specified";
        return Err(invalid(call, "spec.user", message).into());
    }
    Ok(identity)
}

fn access(call: &Call, identity: &Identity, spec: &Value) -> Result<Value> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if resource.is_object() == path.is_object() {
        let message = "Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified";
        return Err(invalid(call, "spec.resourceAttributes", message).into());
    }
    let attributes = if path.is_object() {
        Attributes {
            verb: path["verb"].as_str().unwrap_or(""),
            path: Some(path["path"].as_str().unwrap_or("")),
            ..Attributes::default()
        }
    } else {
        let text = |field: &str| resource[field].as_str().unwrap_or("");
        Attributes {
            verb: text("verb"),
            group: text("group"),
            resource: text("resource"),
            subresource: text("subresource"),
            namespace: text("namespace"),
            name: text("name"),
            path: None,
        }
    };
    let (allowed, reason) = match call.space.rbac.decide(identity, &attributes) {
        Decision::Allow(reason) => (true, reason),
        Decision::Deny(reason) => (false, reason),
    };
    let mut status = Map::new();
    status.insert("allowed".into(), allowed.into());
    if !reason.is_empty() {
        status.insert("reason".into(), reason.into());
    }
    Ok(status.into())
}

fn rules(call: &Call, spec: &Value) -> Value {
    let namespace = spec["namespace"].as_str().unwrap_or("");
    let found = call.space.rbac.rules_for(&call.identity, namespace);
    let (paths, resources): (Vec<Value>, Vec<Value>) =
        found.into_iter().partition(|rule| rule.get("nonResourceURLs").is_some());
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}
