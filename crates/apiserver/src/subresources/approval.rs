//! `certificatesigningrequests/approval`: who may let a request for a certificate be signed.

use crate::authz::authorize;
use crate::call::Call;
use crate::identity::Attributes;
use crate::negotiate::{Offer, negotiate};
use crate::options::WriteOptions;
use crate::respond::Body;
use crate::respond::{Failure, Result};
use crate::route::Verb;
use crate::verbs::patch::Patch;
use crate::verbs::{self, Part, write};
use api::{Object, Status};
use http::Response;
use serde_json::{Value, json};

/// Makes what a client wants of what is live.
type Asked<'a> = Box<dyn Fn(&Object) -> Result<Object> + Sync + Send + 'a>;

pub(super) async fn write(call: &Call) -> Result<Response<Body>> {
    let accepted = negotiate(&call.headers, call.query.flag("pretty"), Offer::Object)?;
    let live = call.live().await?;
    let now = call.server.now().to_string();
    let kind = if call.verb == Verb::Patch { "PatchOptions" } else { "UpdateOptions" };
    let options = WriteOptions::read(kind, &call.query, &call.headers)?;
    let asked: Asked<'_> = if call.verb == Verb::Patch {
        let (patch, _) = Patch::read(call)?;
        if matches!(patch, Patch::Apply(_)) {
            return Err(
                crate::decode::unsupported(&["application/merge-patch+json", "application/json-patch+json"]).into()
            );
        }
        Box::new(move |live| patch.carry_out(call, live))
    } else {
        let mut draft = write::body(call, options.validation)?;
        write::addressed(call, &mut draft.object)?;
        Box::new(move |_| Ok(draft.object.clone()))
    };
    let decide = |live: &Object| {
        may_approve(call, live)?;
        let wanted = asked(live)?;
        let mut object = live.clone();
        super::conditions_of(&wanted, &mut object);
        let mut conditions = wanted.pointer("/status/conditions").cloned().unwrap_or_else(|| json!([]));
        for condition in conditions.as_array_mut().into_iter().flatten() {
            for field in ["lastUpdateTime", "lastTransitionTime"] {
                if condition[field].as_str().is_none() {
                    condition[field] = now.as_str().into();
                }
            }
        }
        let status = object.0.entry("status").or_insert_with(|| json!({}));
        status["conditions"] = conditions;
        refuse_both(call, status)?;
        Ok(write::Decided { object, warnings: Vec::new(), tracked: false, must_be_conditional: false })
    };
    let written = write::update(call, live, Part::Whole, &options, &decide).await?;
    verbs::create::finish(call, accepted, written).await
}

/// 422 for a request that is approved and denied, which could never be undone.
fn refuse_both(call: &Call, status: &Value) -> Result<()> {
    let has = |wanted: &str| status["conditions"].as_array().into_iter().flatten().any(|held| held["type"] == wanted);
    if has("Approved") && has("Denied") {
        let message = "Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive";
        let causes = vec![crate::options::cause("FieldValueInvalid", "status.conditions", message)];
        return Err(write::invalid(call, &call.target.name, causes));
    }
    Ok(())
}

/// 403 unless the caller may approve for the signer, or for all signers of its domain.
fn may_approve(call: &Call, request: &Object) -> Result<()> {
    let signer = request.pointer("/spec/signerName").and_then(Value::as_str).unwrap_or("");
    let domain = signer.split_once('/').map(|(domain, _)| format!("{domain}/*"));
    let allowed = |name: &str| -> Result<()> {
        let asked = Attributes {
            verb: "approve",
            group: "certificates.k8s.io",
            resource: "signers",
            name,
            ..Attributes::default()
        };
        authorize(&call.space, &call.identity, &asked)
    };
    if allowed(signer).is_ok() || domain.is_some_and(|domain| allowed(&domain).is_ok()) {
        return Ok(());
    }
    let why = format!("user not permitted to approve requests with signerName {signer:?}");
    Err(Failure::from(Status::forbidden(&call.kind.group_resource, &call.target.name, why)))
}
