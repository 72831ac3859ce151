//! Patches: JSON patch, merge patch and strategic merge patch, each on a whole object.

pub mod json;
pub mod merge;
pub mod strategic;

use api::{Cause, Details, Reason, Status};

/// Why a patch was not carried out. The object was not changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatchError {
    /// 400: the body is not a patch of its kind.
    #[error("{0}")]
    Malformed(String),
    /// 413: more operations, or more copied bytes, than one request may ask.
    #[error("Request entity is too large: {0}")]
    TooLarge(String),
    /// 422: the patch does not fit this object.
    #[error("{0}")]
    Inapplicable(String),
}

impl PatchError {
    /// As the server answers it.
    pub fn status(&self) -> Status {
        match self {
            Self::Malformed(message) => Status::bad_request(message.clone()),
            Self::TooLarge(_) => Status::failure(Reason::RequestEntityTooLarge, self.to_string()),
            Self::Inapplicable(message) => {
                // The stock server keeps the reason to itself; a cause is what kubectl prints.
                let text = "the server rejected our request due to an error in our request";
                let mut status = Status::failure(Reason::Invalid, text);
                let cause =
                    Cause { reason: "FieldValueInvalid".into(), message: message.clone(), field: String::new() };
                status.details = Some(Box::new(Details { causes: vec![cause], ..Details::default() }));
                status
            }
        }
    }
}
