//! Mutating policies.

use super::super::builtin::forbidden;
use super::super::{Review, Rounds};
use super::ask::{Ask, fields};
use super::cache::Bound;
use super::{Family, is_used};
use crate::call::Call;
use crate::respond::Result;
use crate::verbs::fields::complete;
use api::{Cause, Object, Reason};
use machinery::apply::{FieldSet, Writer};
use machinery::cel::policy::{Binding, Change, Inputs, Matched};
use machinery::patch;
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// One policy with one binding and one parameter.
struct Invocation<'b> {
    bound: &'b Bound,
    binding_name: &'b str,
    params: Option<Fields>,
    /// Which of the parameters of its binding.
    param: usize,
}

/// Lets every policy that is bound to such a write change the object, and says whether any did. In a second round those
/// only are asked that want to, and after whom the object was changed.
pub(in crate::admission) fn mutate(review: &mut Review<'_>, rounds: &mut Rounds) -> Result<bool> {
    let call = review.call;
    if review.object.is_none() || !is_used(call, Family::Mutating) {
        return Ok(false);
    }
    let bound = call.space.policies.bound(call.store(), &call.space.prefix, Family::Mutating);
    let ask = Ask::new(review);
    let mut errors: Vec<String> = Vec::new();
    let mut invocations = Vec::new();
    for held in bound.iter().filter(|held| !rounds.second || held.policy.reinvoked) {
        let mut misconfigured = |message: String| {
            if held.policy.fails_closed {
                errors.push(message);
            }
        };
        let name = &held.name;
        match ask.covered(&held.policy.constraints, review) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(why) => {
                misconfigured(format!("policy \"{name}\" denied request: failed to configure policy: {why}"));
                continue;
            }
        }
        for (binding_name, binding) in &held.bindings {
            match candidates(&ask, held, binding_name, binding, review) {
                Ok(found) => invocations.extend(found),
                Err(why) => misconfigured(denied(name, binding_name, &format!("failed to configure binding: {why}"))),
            }
        }
    }
    let mut changed = false;
    rounds.begin(review.object.as_ref());
    for invocation in &invocations {
        let name = format!("{}/{}/{}", invocation.bound.name, invocation.binding_name, invocation.param);
        if rounds.skips(&name) {
            continue;
        }
        let before = review.object.clone();
        if let Err(why) = invoke(&ask, invocation, review)
            && invocation.bound.policy.fails_closed
        {
            errors.push(denied(&invocation.bound.name, invocation.binding_name, &why));
        }
        if review.object != before {
            changed = true;
            rounds.changed();
        }
        if invocation.bound.policy.reinvoked {
            rounds.called.push(name);
        }
    }
    if changed {
        // As in the stock server, the last that changed it is asked again itself.
        rounds.changed();
    }
    rounds.end(review.object.as_ref());
    if errors.is_empty() {
        return Ok(changed);
    }
    let none = Object::default();
    let object = review.object.as_ref().unwrap_or(&none);
    let mut status = forbidden(call, object, "admission request denied by policy");
    status.message.clone_from(&errors[0]);
    status.reason = Reason::Invalid;
    let causes = errors.into_iter().map(|message| Cause { reason: String::new(), message, field: String::new() });
    status.details.get_or_insert_default().causes.extend(causes);
    Err(status.into())
}

fn denied(policy: &str, binding: &str, why: &str) -> String {
    format!("policy '{policy}' with binding '{binding}' denied request: {why}")
}

fn candidates<'b>(
    ask: &Ask<'_>,
    bound: &'b Bound,
    binding_name: &'b str,
    binding: &Binding,
    review: &Review<'_>,
) -> std::result::Result<Vec<Invocation<'b>>, String> {
    if !ask.covered(&binding.resources, review)? {
        return Ok(Vec::new());
    }
    let params = ask.params(&bound.policy, binding)?;
    let invocation = |(param, params)| Invocation { bound, binding_name, params, param };
    Ok(params.into_iter().enumerate().map(invocation).collect())
}

fn inputs<'i>(
    ask: &'i Ask<'_>,
    object: Option<&'i Fields>,
    old: Option<&'i Fields>,
    params: Option<&'i Fields>,
) -> Inputs<'i> {
    Inputs {
        object,
        old,
        request: &ask.request,
        namespace: ask.namespace.as_ref(),
        params,
        authorizer: Some(&ask.rights),
        question: &ask.question,
    }
}

/// Carries out the changes of one policy, each on what the one before has made.
fn invoke(ask: &Ask<'_>, invocation: &Invocation<'_>, review: &mut Review<'_>) -> std::result::Result<(), String> {
    let policy = &invocation.bound.policy;
    let (old, params) = (fields(review.old), invocation.params.as_ref());
    match policy.matched(&inputs(ask, fields(review.object.as_ref()), old, params)) {
        Matched::Yes => {}
        Matched::No(_) => return Ok(()),
        Matched::Failed(why) => return Err(why),
    }
    for index in 0..policy.changes() {
        let Some(object) = &review.object else { return Ok(()) };
        let Some(change) = policy.change(index, &inputs(ask, Some(&object.0), old, params))? else { continue };
        let mut changed = match change {
            Change::Apply(configuration) => applied(ask.call, object, configuration)?,
            Change::Patch(operations) => {
                let mut object = object.clone();
                patch::json::apply(&mut object, &operations)
                    .map_err(|error| format!("JSON Patch: {}", error.status().message))?;
                object
            }
        };
        complete(&ask.call.kind, &mut changed);
        review.object = Some(changed);
    }
    Ok(())
}

/// The object with a configuration merged into it, as server-side apply merges; nobody comes to own anything by it.
fn applied(call: &Call, object: &Object, configuration: Value) -> std::result::Result<Object, String> {
    let Value::Object(mut configuration) = configuration else {
        return Err("the expression does not evaluate to an object".into());
    };
    for field in ["apiVersion", "kind"] {
        if let Some(value) = object.0.get(field) {
            configuration.insert(field.into(), value.clone());
        }
    }
    let mut configuration = Object(configuration);
    let managed = object.meta("managedFields").cloned();
    let mut live = object.clone();
    live.metadata_mut().remove("managedFields");
    configuration.set_meta("name", object.name());
    if !object.namespace().is_empty() {
        configuration.set_meta("namespace", object.namespace());
    }
    let reset = FieldSet::new();
    let writer = Writer {
        manager: "admission",
        api_version: &call.kind.api_version,
        subresource: &call.target.subresource,
        now: call.server.now(),
        reset: &reset,
    };
    let merged = machinery::apply::apply(Some(&live), &configuration, &writer, true, call.kind.schema().as_ref());
    let mut merged = merged.map_err(|error| format!("error applying patch: {}", error.status().message))?;
    match managed {
        Some(managed) => merged.set_meta("managedFields", managed),
        None => drop(merged.metadata_mut().remove("managedFields")),
    }
    if object.name().is_empty() {
        merged.metadata_mut().remove("name");
    }
    Ok(merged)
}
