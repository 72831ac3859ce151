//! Fields of a body against the schema of its kind: what is unknown, what is of the wrong type, what is missing and has
//! a default.

use crate::admission::policies;
use crate::options::FieldValidation;
use crate::problems;
use crate::registry::Kind;
use crate::respond::Result;
use api::{Cause, Object, Status};
use machinery::{defaulting, schema, validation};
use serde_json::Value;

/// Drops fields that the schema does not know, and refuses values of a wrong type. Says what is unknown in warnings, or
/// refuses it, as the client asked; `named` says of which kind it was. `order` brings problems into the order in which
/// the client wrote what they tell of.
pub(super) fn check(
    kind: &Kind,
    object: &mut Object,
    duplicates: Vec<String>,
    validation: FieldValidation,
    named: bool,
    order: impl Fn(&mut Vec<String>),
) -> Result<Vec<String>> {
    let mut problems = duplicates;
    problems.dedup();
    let unknown = unknown(kind, object)?;
    if kind.custom.is_none() {
        // What is unknown is not read any further.
        problems.retain(|problem| !unknown.iter().any(|path| is_below(problem, path)));
    }
    problems.extend(unknown.iter().map(|path| problems::unknown(path)));
    if problems.len() > 1 && kind.custom.is_none() {
        order(&mut problems);
    }
    match validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(problems.iter().flat_map(|problem| problems::warnings(problem)).collect()),
        FieldValidation::Strict if problems.is_empty() => Ok(Vec::new()),
        FieldValidation::Strict => {
            let served = &kind.served;
            let strict = format!("strict decoding error: {}", problems.join(", "));
            let message = if named {
                format!("{0} in version {1:?} cannot be handled as a {0}: {strict}", served.kind, served.version)
            } else {
                strict
            };
            Err(Status::bad_request(message).into())
        }
    }
}

/// Whether a field that is written twice is the one at a path, or below it.
fn is_below(problem: &str, path: &str) -> bool {
    let duplicate = problems::duplicate(path);
    let Some(rest) = duplicate.strip_suffix('"').and_then(|start| problem.strip_prefix(start)) else { return false };
    rest.starts_with(['"', '.', '['])
}

/// Drops what the kind does not know, and answers its paths.
fn unknown(kind: &Kind, object: &mut Object) -> Result<Vec<String>> {
    let Some(schema) = kind.schema() else { return Ok(Vec::new()) };
    // An empty list there resets the tracking of fields: it must not be tidied away.
    let tracked = object.metadata_mut().remove("managedFields");
    let mut value = Value::Object(std::mem::take(&mut object.0));
    let found = if kind.custom.is_some() {
        Ok(schema::prune(&mut value, &schema))
    } else {
        let served = &kind.served;
        schema::decode(&mut value, &schema)
            .map_err(|error| Status::bad_request(error.message(&served.kind, &served.version)).into())
    };
    if let Value::Object(map) = value {
        object.0 = map;
    }
    if let Some(tracked) = tracked {
        object.set_meta("managedFields", tracked);
    }
    found
}

/// Fills in the defaults of the kind.
pub(crate) fn complete(kind: &Kind, object: &mut Object) {
    let Some(schema) = kind.schema() else { return };
    let mut value = Value::Object(std::mem::take(&mut object.0));
    if kind.custom.is_some() {
        schema::default(&mut value, &schema);
    } else {
        defaulting::apply_defaults(&mut value, &schema);
    }
    if let Value::Object(map) = value {
        object.0 = map;
    }
}

/// Makes of an object of a built-in kind what is read of it once it was stored.
pub(crate) fn settle(kind: &Kind, object: &mut Object) {
    let Some(schema) = kind.schema().filter(|_| kind.custom.is_none()) else { return };
    let mut value = Value::Object(std::mem::take(&mut object.0));
    defaulting::as_stored(&mut value, &schema);
    if let Value::Object(map) = value {
        object.0 = map;
    }
}

/// Brings a stored object to what the schema has become since it was written.
pub(crate) fn bring_up(kind: &Kind, object: &mut Object) {
    if let Some(schema) = kind.schema().filter(|_| kind.custom.is_some()) {
        let mut value = Value::Object(std::mem::take(&mut object.0));
        schema::prune(&mut value, &schema);
        schema::default(&mut value, &schema);
        if let Value::Object(map) = value {
            object.0 = map;
        }
    }
}

/// Reasons that hide what else is wrong: rules are not run on an object that does not have the shape they expect.
const BLOCKING: [&str; 4] = ["FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"];

/// Runs the rules of a custom kind. What was wrong before and is let pass is told in `warnings`.
fn ruled(kind: &Kind, value: &Value, old: Option<&Object>, causes: &mut Vec<Cause>, warnings: &mut Vec<String>) {
    let Some(rules) = kind.custom.as_ref().and_then(|custom| custom.cel.as_ref()) else { return };
    if causes.iter().any(|cause| BLOCKING.contains(&cause.reason.as_str())) {
        causes.push(Cause {
            reason: "FieldValueInvalid".into(),
            message: "Invalid value: null: some validation rules were not checked because the object was invalid; \
                      correct the existing errors to complete validation"
                .into(),
            field: "<nil>".into(),
        });
        return;
    }
    // The old object is copied for those kinds only that have rules.
    let old = old.map(|old| Value::Object(old.0.clone()));
    let outcome = rules.run(value, old.as_ref());
    causes.extend(outcome.causes);
    warnings.extend(outcome.warnings.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)));
}

/// What is wrong with the object by its schema. The object is as before afterwards: it is lent, since a copy of a large
/// one costs more than the check.
pub(super) fn problems(
    kind: &Kind,
    subresource: &str,
    object: &mut Object,
    old: Option<&Object>,
    warnings: &mut Vec<String>,
) -> Vec<Cause> {
    if &*kind.collection == crate::crd::COLLECTION {
        return crate::crd::problems(object, old);
    }
    let schema = kind.schema();
    if kind.custom.is_none() {
        let (group, name) = (&kind.served.group, &kind.served.kind);
        let mut causes = match old {
            None => validation::validate_create(group, name, object, schema.as_ref()),
            Some(old) if &*kind.collection == "pods" && subresource == "resize" => {
                let old = validation::resized(old, object);
                validation::validate_update(group, name, object, &old, schema.as_ref())
            }
            Some(old) => validation::validate_update(group, name, object, old, schema.as_ref()),
        };
        if policies::holds_policies(&kind.collection) {
            causes.extend(machinery::cel::policy::problems(&object.0, old.map(|old| &old.0)));
        }
        return causes;
    }
    let Some(schema) = schema else { return Vec::new() };
    let value = Value::Object(std::mem::take(&mut object.0));
    let mut causes = match old {
        None => schema::check(&value, &schema),
        Some(old) => schema::check_update(&value, || Value::Object(old.0.clone()), &schema),
    };
    ruled(kind, &value, old, &mut causes, warnings);
    if let Value::Object(map) = value {
        object.0 = map;
    }
    causes
}
