//! `serviceaccounts/token`: a token on request.

use crate::call::Call;
use crate::decode;
use crate::negotiate::Offer;
use crate::options::{WriteOptions, cause};
use crate::present;
use crate::respond::{Body, Failure, Result};
use crate::tokens::{self, Account, Bound};
use crate::verbs::write;
use api::{GroupResource, Object, Status, Timestamp};
use http::{Response, StatusCode};
use machinery::apply::FieldSet;
use serde_json::{Value, json};

/// How long a token is good, in seconds, if the request does not say, and the least that it may say.
const SECONDS_DEFAULT: i64 = 3600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;

pub(super) async fn create(call: &Call) -> Result<Response<Body>> {
    let accepted = call.negotiate(Offer::Plain)?;
    let options = WriteOptions::read("CreateOptions", &call.query, &call.headers)?;
    let Value::Object(map) = decode::object(&call.headers, &call.body, "TokenRequest")?.value else {
        return Err(Status::bad_request("the body is not an object").into());
    };
    let mut request = Object(map);
    if !matches!(request.kind(), "" | "TokenRequest") {
        return Err(Status::bad_request(format!("{} cannot be handled as a TokenRequest", request.kind())).into());
    }
    let live = call.live().await?;
    let uid = live.meta.uid.to_string();
    let account = Account { namespace: &live.key.namespace, name: &live.key.name, uid: &uid };
    named_as(&request, &account)?;
    let now = call.server.now();
    let mut spec = request.0.remove("spec").filter(Value::is_object).unwrap_or_else(|| json!({}));
    let asked = spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut audiences: Vec<String> = asked.map(str::to_owned).collect();
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(SECONDS_DEFAULT);
    spec["expirationSeconds"] = seconds.into();
    let mut request = Object::default();
    request.0.insert("kind".into(), "TokenRequest".into());
    request.0.insert("apiVersion".into(), "authentication.k8s.io/v1".into());
    request.0.insert("spec".into(), spec.clone());
    let nothing = FieldSet::new();
    let writer =
        machinery::apply::Writer { api_version: "authentication.k8s.io/v1", ..write::writer(call, &options, &nothing) };
    let schema = crate::builtin::schema("authentication.k8s.io", "v1", "TokenRequest");
    // What is there from the beginning, as in a value of the type.
    let empty = Object(serde_json::Map::from_iter([("spec".to_owned(), json!({"boundObjectRef": null}))]));
    let mut request = machinery::apply::update(Some(&empty), request, &writer, schema.as_ref());
    for (field, value) in [("name", account.name), ("namespace", account.namespace), ("uid", account.uid)] {
        request.set_meta(field, value);
    }
    request.set_meta("creationTimestamp", now.to_string());
    lasting(seconds)?;
    let bound = bound(call, &spec["boundObjectRef"])?;
    // The token names them all: none must be undone by a crash.
    call.settle(call.store().head()).await?;
    let issuer = call.space.issuer.clone();
    if audiences.is_empty() {
        audiences.push(issuer.clone());
    }
    let end = Timestamp::from_seconds(now.seconds() + seconds);
    let token = tokens::issue(&call.space.tokens, &issuer, &audiences, &account, &bound, (now, Some(end)));
    let token = token.ok_or_else(|| Status::internal("the space's key for tokens cannot sign"))?;
    spec["audiences"] = audiences.into();
    if spec["boundObjectRef"].is_null() {
        spec["boundObjectRef"] = Value::Null;
    }
    request.0.insert("spec".into(), spec);
    request.0.insert("status".into(), json!({"token": token, "expirationTimestamp": end}));
    Ok(present::document(accepted, StatusCode::CREATED, request.to_json()))
}

fn invalid(name: &str, field: &str, message: String) -> Failure {
    let causes = vec![cause("FieldValueInvalid", field, message)];
    Status::invalid("authentication.k8s.io", "TokenRequest", name, causes).into()
}

/// 422 for a body that names another account.
fn named_as(request: &Object, account: &Account<'_>) -> Result<()> {
    let (name, namespace) = (request.name(), request.namespace());
    if !name.is_empty() && name != account.name {
        let message = format!("Invalid value: {name:?}: must match the service account name if specified");
        return Err(invalid(account.name, "metadata.name", message));
    }
    if !namespace.is_empty() && namespace != account.namespace {
        let message = format!("Invalid value: {namespace:?}: must match the service account namespace if specified");
        return Err(invalid(account.name, "metadata.namespace", message));
    }
    Ok(())
}

fn lasting(seconds: i64) -> Result<()> {
    let problem = match seconds {
        ..SECONDS_MIN => "may not specify a duration less than 10 minutes",
        SECONDS_MIN..=SECONDS_MAX => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    Err(invalid("", "spec.expirationSeconds", format!("Invalid value: {seconds}: {problem}")))
}

/// What the token is to be bound to, if it is there; of a Pod also its node.
fn bound(call: &Call, reference: &Value) -> Result<Vec<Bound>> {
    if !reference.is_object() {
        return Ok(Vec::new());
    }
    let text = |field: &str| reference[field].as_str().unwrap_or("");
    let namespace = call.target.namespace.as_str();
    let (kind, resource, namespace) = match text("kind") {
        "Pod" => ("pod", "pods", namespace),
        "Secret" => ("secret", "secrets", namespace),
        "Node" => ("node", "nodes", ""),
        other => {
            let version = text("apiVersion");
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            let message = format!("cannot bind token to object of type {group}/{version}, Kind={other}");
            return Err(Status::bad_request(message).into());
        }
    };
    let name = text("name");
    let group = GroupResource { group: String::new(), resource: resource.into() };
    let Some(held) = call.store().get(&call.space.key(&resource.into(), namespace, name)) else {
        return Err(Status::not_found(&group, name).into());
    };
    let uid = held.meta.uid.to_string();
    if !text("uid").is_empty() && text("uid") != uid {
        let why = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been \
             deleted and then recreated",
            text("uid")
        );
        let group = GroupResource { group: String::new(), resource: text("kind").into() };
        return Err(Status::conflict(&group, name, why).into());
    }
    let mut all = vec![Bound { kind, name: name.into(), uid }];
    if kind == "pod" {
        all.extend(node_of(call, &held.value)?);
    }
    Ok(all)
}

/// The node of a Pod, if it has one. 400 for a Pod of another account.
fn node_of(call: &Call, pod: &[u8]) -> Result<Option<Bound>> {
    let pod: Object = serde_json::from_slice(pod).map_err(Status::internal)?;
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let account = &call.target.name;
    if text("/spec/serviceAccountName") != account {
        let message = format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        );
        return Err(Status::bad_request(message).into());
    }
    let name = text("/spec/nodeName");
    if name.is_empty() {
        return Ok(None);
    }
    let held = call.store().get(&call.space.key(&"nodes".into(), "", name));
    let uid = held.map(|held| held.meta.uid.to_string()).unwrap_or_default();
    Ok(Some(Bound { kind: "node", name: name.into(), uid }))
}
