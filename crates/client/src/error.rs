//! What can go wrong between a caller and an API server.

use crate::TransportError;
use api::{Reason, Status};

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call gave no answer that can be used. Each variant says which request it was about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with a `Status` of failure; its message names the resource and the object.
    #[error("{0}")]
    Status(Box<Status>),
    /// The request did not reach the server, or its answer did not reach us.
    #[error("{request}: {cause}")]
    Transport {
        /// Method and path.
        request: String,
        /// What happened on the way.
        cause: TransportError,
    },
    /// The server's answer does not have the shape that was asked for.
    #[error("cannot read {what}: {cause}")]
    Decode {
        /// Which object, or which request's answer.
        what: String,
        /// What the reader found.
        cause: String,
    },
    /// What the caller wants to send is not a request: a bad path, an object without a name, broken YAML.
    #[error("{0}")]
    Request(String),
    /// What was waited for did not come true in time.
    #[error("{0}")]
    Timeout(String),
}

impl Error {
    /// The server's `Status`, if it gave one.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }

    fn has_reason(&self, reasons: &[Reason]) -> bool {
        self.status().is_some_and(|status| reasons.contains(&status.reason))
    }

    fn has_code(&self, code: u16) -> bool {
        self.status().is_some_and(|status| status.code == code)
    }

    /// 404: the object, or the resource itself, does not exist.
    pub fn is_not_found(&self) -> bool {
        self.has_reason(&[Reason::NotFound]) || self.has_code(404)
    }

    /// 409 for a stale resourceVersion, a failed precondition, or fields that another manager owns.
    pub fn is_conflict(&self) -> bool {
        self.has_reason(&[Reason::Conflict])
    }

    /// 409 for a create of what exists.
    pub fn is_already_exists(&self) -> bool {
        self.has_reason(&[Reason::AlreadyExists])
    }

    /// 410: the resourceVersion or continue token is older than the server's history.
    pub fn is_gone(&self) -> bool {
        self.has_reason(&[Reason::Gone, Reason::Expired]) || self.has_code(410)
    }

    /// 422 or 400: the same request will fail again until the object changes.
    pub fn is_invalid(&self) -> bool {
        self.has_reason(&[Reason::Invalid, Reason::BadRequest]) || self.has_code(422) || self.has_code(400)
    }

    /// 403
    pub fn is_forbidden(&self) -> bool {
        self.has_reason(&[Reason::Forbidden]) || self.has_code(403)
    }

    /// 401
    pub fn is_unauthorized(&self) -> bool {
        self.has_reason(&[Reason::Unauthorized]) || self.has_code(401)
    }

    /// Whether the server could not be reached, or is not able to answer now: trying later may help.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Timeout(_) => true,
            Self::Status(status) => status.code == 429 || status.code >= 500,
            Self::Decode { .. } | Self::Request(_) => false,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}
