//! Questions about who somebody is and what they may do. They are answered and forgotten.

mod access;

use crate::call::Call;
use crate::decode;
use crate::identity::Identity;
use crate::negotiate::Offer;
use crate::options::WriteOptions;
use crate::present;
use crate::rbac::Rule;
use crate::respond::{Body, Result};
use crate::verbs::write;
use api::{Object, Status};
use http::{Response, StatusCode};
use machinery::apply::FieldSet;
use serde_json::{Map, Value, json};

pub(super) async fn review(call: &Call) -> Result<Response<Body>> {
    let accepted = call.negotiate(Offer::Plain)?;
    let options = WriteOptions::read("CreateOptions", &call.query, &call.headers)?;
    let Value::Object(map) = decode::object(&call.headers, &call.body, &call.kind.served.kind)?.value else {
        return Err(Status::bad_request("the body is not an object").into());
    };
    let mut review = Object(map);
    let kind = &call.kind.served.kind;
    if !matches!(review.kind(), "") && review.kind() != kind {
        return Err(Status::bad_request(format!("{} cannot be handled as a {kind}", review.kind())).into());
    }
    review.0.remove("status");
    review.0.insert("apiVersion".into(), call.kind.api_version.as_str().into());
    review.0.insert("kind".into(), kind.to_string().into());
    if !call.target.namespace.is_empty() {
        review.set_meta("namespace", call.target.namespace.as_str());
    }
    review.metadata_mut().remove("creationTimestamp");
    let nothing = FieldSet::new();
    let writer = write::writer(call, &options, &nothing);
    // An empty spec is there from the beginning, as in a value of the type.
    let empty = Object(Map::from_iter([("spec".to_owned(), json!({}))]));
    let mut review = machinery::apply::update(Some(&empty), review, &writer, call.kind.schema().as_ref());
    let spec = review.0.get("spec").cloned().unwrap_or_default();
    let status = match &**kind {
        "TokenReview" => token(call, &spec).await?,
        "SelfSubjectReview" => {
            review.set_meta("creationTimestamp", call.server.now().to_string());
            json!({"userInfo": user_info(&call.identity)})
        }
        "SelfSubjectRulesReview" => {
            // What was asked is not said again.
            review.0.insert("metadata".into(), json!({}));
            review.0.insert("spec".into(), json!({}));
            rules(call, &spec)?
        }
        _ => access::answer(call, kind, &review, &spec)?,
    };
    review.0.insert("status".into(), status);
    Ok(present::document(accepted, StatusCode::CREATED, review.to_json()))
}

/// `authentication.k8s.io/v1 UserInfo`.
pub(crate) fn user_info(identity: &Identity) -> Value {
    let mut info = Map::new();
    info.insert("username".into(), identity.user.as_str().into());
    if !identity.uid.is_empty() {
        info.insert("uid".into(), identity.uid.as_str().into());
    }
    if !identity.groups.is_empty() {
        info.insert("groups".into(), identity.groups.clone().into());
    }
    if !identity.extra.is_empty() {
        info.insert("extra".into(), json!(identity.extra));
    }
    info.into()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

async fn token(call: &Call, spec: &Value) -> Result<Value> {
    let token = spec["token"].as_str().unwrap_or("");
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication").into());
    }
    Ok(match call.server.authenticate(&call.space, token, &texts(&spec["audiences"])).await {
        Ok((identity, audiences)) => {
            json!({"authenticated": true, "user": user_info(&identity), "audiences": audiences})
        }
        Err(error) => json!({"user": {}, "error": error}),
    })
}

fn rules(call: &Call, spec: &Value) -> Result<Value> {
    let namespace = spec["namespace"].as_str().unwrap_or("");
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request").into());
    }
    let (rules, errors) = call.space.rbac.rules_for(&call.identity, namespace);
    let with = |fields: &[(&str, &[String])]| {
        let fields = fields.iter().filter(|(_, list)| !list.is_empty());
        Value::Object(fields.map(|(name, list)| ((*name).to_owned(), json!(list))).collect())
    };
    let resource = |rule: &Rule| {
        with(&[
            ("verbs", &rule.verbs),
            ("apiGroups", &rule.api_groups),
            ("resources", &rule.resources),
            ("resourceNames", &rule.resource_names),
        ])
    };
    let path = |rule: &Rule| with(&[("verbs", &rule.verbs), ("nonResourceURLs", &rule.non_resource_urls)]);
    let resources: Vec<Value> = rules.iter().filter(|rule| !rule.resources.is_empty()).map(resource).collect();
    let paths: Vec<Value> = rules.iter().filter(|rule| !rule.non_resource_urls.is_empty()).map(path).collect();
    let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
    if !errors.is_empty() {
        status["evaluationError"] = errors.into();
    }
    Ok(status)
}
