//! `serviceaccounts/token`: a token on request.

use crate::call::Call;
use crate::decode;
use crate::negotiate::{Offer, negotiate};
use crate::options::cause;
use crate::present;
use crate::respond::{Body, Result};
use crate::tokens::{self, Account, Bound};
use api::{GroupResource, Object, Status, Timestamp};
use http::{Response, StatusCode};
use serde_json::{Value, json};

/// How long a token is good, in seconds, if the request does not say, and the least that it may say.
const SECONDS_DEFAULT: i64 = 3600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;

pub(super) async fn create(call: &Call) -> Result<Response<Body>> {
    let accepted = negotiate(&call.headers, call.query.flag("pretty"), Offer::Plain)?;
    let Value::Object(map) = decode::object(&call.headers, &call.body, "TokenRequest")?.value else {
        return Err(Status::bad_request("the body is not an object").into());
    };
    let mut request = Object(map);
    if !matches!(request.kind(), "" | "TokenRequest") {
        return Err(Status::bad_request(format!("{} cannot be handled as a TokenRequest", request.kind())).into());
    }
    let mut spec = request.0.remove("spec").filter(Value::is_object).unwrap_or_else(|| json!({}));
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(SECONDS_DEFAULT);
    let problem = match seconds {
        ..SECONDS_MIN => Some("may not specify a duration less than 10 minutes"),
        SECONDS_MIN..=SECONDS_MAX => None,
        _ => Some("may not specify a duration larger than 2^32 seconds"),
    };
    if let Some(problem) = problem {
        let message = format!("Invalid value: {seconds}: {problem}");
        let causes = vec![cause("FieldValueInvalid", "spec.expirationSeconds", message)];
        return Err(Status::invalid("authentication.k8s.io", "TokenRequest", "", causes).into());
    }
    let live = call.live().await?;
    let bound = bound(call, &spec["boundObjectRef"])?;
    // The token names both: neither must be undone by a crash.
    call.settle(call.store().head()).await?;
    let issuer = call.space.issuer.clone();
    let asked = spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut audiences: Vec<String> = asked.map(str::to_owned).collect();
    if audiences.is_empty() {
        audiences.push(issuer.clone());
    }
    let now = call.server.now();
    let end = Timestamp::from_seconds(now.seconds() + seconds);
    let uid = live.meta.uid.to_string();
    let account = Account { namespace: &live.key.namespace, name: &live.key.name, uid: &uid };
    let token = tokens::issue(&call.space.tokens, &issuer, &audiences, &account, bound.as_ref(), (now, Some(end)));
    let token = token.ok_or_else(|| Status::internal("the space's key for tokens cannot sign"))?;
    spec["audiences"] = audiences.into();
    spec["expirationSeconds"] = seconds.into();
    let answer = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": account.name, "namespace": account.namespace, "creationTimestamp": now},
        "spec": spec, "status": {"token": token, "expirationTimestamp": end}});
    Ok(present::document(accepted, StatusCode::CREATED, answer.to_string()))
}

/// What the token is to be bound to, if it is there.
fn bound(call: &Call, reference: &Value) -> Result<Option<Bound>> {
    if !reference.is_object() {
        return Ok(None);
    }
    let text = |field: &str| reference[field].as_str().unwrap_or("");
    let namespace = call.target.namespace.as_str();
    let (kind, resource, namespace) = match text("kind") {
        "Pod" => ("pod", "pods", namespace),
        "Secret" => ("secret", "secrets", namespace),
        "Node" => ("node", "nodes", ""),
        other => {
            let message = format!("cannot bind token for serviceaccount to object type {other}");
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
        let why = format!("the UID in the bound object reference ({}) does not match the UID in record", text("uid"));
        return Err(Status::conflict(&group, name, why).into());
    }
    Ok(Some(Bound { kind, name: name.into(), uid }))
}
