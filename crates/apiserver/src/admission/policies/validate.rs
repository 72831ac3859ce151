//! Validating policies.

use super::super::Review;
use super::super::builtin::forbidden;
use super::ask::{Ask, fields};
use super::cache::Bound;
use super::{Family, is_used};
use crate::respond::Result;
use api::{Cause, Object, Reason, Status};
use machinery::cel::policy::{Inputs, Verdict};
use serde_json::json;

/// Why a write is refused.
struct Refusal {
    message: String,
    reason: String,
}

/// Asks every policy that is bound to such a write. What the first one refuses is told to the client.
pub(in crate::admission) fn validate(review: &mut Review<'_>) -> Result<()> {
    let call = review.call;
    if !is_used(call, Family::Validating) {
        return Ok(());
    }
    let bound = call.space.policies.bound(call.store(), &call.space.prefix, Family::Validating);
    let ask = Ask::new(review);
    let mut refusals: Vec<Refusal> = Vec::new();
    for held in bound.iter() {
        let name = &held.name;
        match ask.covered(&held.policy.constraints, review) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(why) => {
                refusals.extend(misconfigured(held, None, &why));
                continue;
            }
        }
        let mut annotations: Vec<(String, Vec<String>)> = Vec::new();
        for (binding_name, binding) in &held.bindings {
            match ask.covered(&binding.resources, review) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(why) => {
                    refusals.extend(misconfigured(held, Some(binding_name), &why));
                    continue;
                }
            }
            let params = match ask.params(&held.policy, binding) {
                Ok(params) => params,
                Err(why) => {
                    refusals.extend(misconfigured(held, Some(binding_name), &why));
                    continue;
                }
            };
            for params in &params {
                let verdict = held.policy.validate(&Inputs {
                    object: fields(review.object.as_ref()),
                    old: fields(review.old),
                    request: &ask.request,
                    namespace: ask.namespace.as_ref(),
                    params: params.as_ref(),
                    authorizer: Some(&ask.rights),
                    question: &ask.question,
                });
                let from = Source { policy: name, binding: binding_name, actions: &binding.actions };
                told(review, &from, &verdict, &mut refusals);
                for (key, value) in verdict.annotations {
                    match annotations.iter_mut().find(|(held, _)| *held == key) {
                        Some((_, values)) if values.contains(&value) => {}
                        Some((_, values)) => values.push(value),
                        None => annotations.push((key, vec![value])),
                    }
                }
            }
        }
        for (key, values) in annotations {
            review.annotations.insert(format!("{name}/{key}"), values.join(", "));
        }
    }
    match refusals.into_iter().next() {
        None => Ok(()),
        Some(refusal) => Err(refused(review, refusal).into()),
    }
}

/// The refusal of a policy that cannot be asked, unless it lets pass what it cannot judge.
fn misconfigured(held: &Bound, binding: Option<&str>, why: &str) -> Option<Refusal> {
    let name = &held.name;
    let message = match binding {
        None => format!("ValidatingAdmissionPolicy '{name}' denied request: failed to configure policy: {why}"),
        Some(binding) => format!(
            "ValidatingAdmissionPolicy '{name}' with binding '{binding}' denied request: failed to configure binding: {why}"
        ),
    };
    held.policy.fails_closed.then(|| Refusal { message, reason: "Invalid".into() })
}

struct Source<'s> {
    policy: &'s str,
    binding: &'s str,
    actions: &'s [String],
}

/// Does with a verdict what the binding asks for.
fn told(review: &mut Review<'_>, from: &Source<'_>, verdict: &Verdict, refusals: &mut Vec<Refusal>) {
    let Source { policy, binding, actions } = from;
    let denied = |message: &str| {
        format!("ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {message}")
    };
    for denial in &verdict.denials {
        for action in *actions {
            match action.as_str() {
                "Deny" => refusals.push(Refusal { message: denied(&denial.message), reason: denial.reason.clone() }),
                "Warn" => review.warnings.push(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {}",
                    denial.message
                )),
                "Audit" => {
                    let failure = json!([{"message": denial.message, "policy": policy, "binding": binding,
                        "expressionIndex": denial.index, "validationActions": actions}]);
                    let key = "validation.policy.admission.k8s.io/validation_failure";
                    review.annotations.insert(key.into(), failure.to_string());
                }
                _ => {}
            }
        }
    }
    for error in &verdict.errors {
        refusals.push(Refusal { message: denied(error), reason: "Invalid".into() });
    }
}

fn refused(review: &Review<'_>, refusal: Refusal) -> Status {
    let none = Object::default();
    let object = review.object.as_ref().or(review.old).unwrap_or(&none);
    let mut status = forbidden(review.call, object, &refusal.message);
    (status.reason, status.code) = match refusal.reason.as_str() {
        "Forbidden" => (Reason::Forbidden, 403),
        "Unauthorized" => (Reason::Unauthorized, 401),
        "RequestEntityTooLarge" => (Reason::RequestEntityTooLarge, 413),
        _ => (Reason::Invalid, 422),
    };
    let cause = Cause { reason: String::new(), message: refusal.message, field: String::new() };
    status.details.get_or_insert_default().causes.push(cause);
    status
}
