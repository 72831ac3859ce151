//! Patches: JSON patch, merge patch and strategic merge patch, each on a whole object.

pub mod json;
pub mod merge;
pub mod strategic;

use api::{Reason, Status};

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
    /// 500 in a stock server: the directives of a strategic merge patch contradict each other or the schema.
    #[error("{0}")]
    Unmergeable(String),
}

impl PatchError {
    /// As the server answers it.
    pub fn status(&self) -> Status {
        match self {
            Self::Malformed(message) => Status::bad_request(message.clone()),
            Self::TooLarge(_) => Status::failure(Reason::RequestEntityTooLarge, self.to_string()),
            // The stock server keeps the reason to itself.
            Self::Inapplicable(_) => {
                Status::generic(Reason::Invalid, "the server rejected our request due to an error in our request")
            }
            Self::Unmergeable(message) => Status::failure(Reason::Unknown, message.clone()),
        }
    }
}
