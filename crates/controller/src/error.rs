//! Why a reconcile did not finish, and when it makes sense to try again.

use std::fmt;

/// The result of a reconcile, or of a step of one.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a reconcile did not finish.
#[derive(Debug)]
pub enum Error {
    /// A read failed.
    Client(client::Error),
    /// A write failed; says which.
    Op {
        /// As an [`api::Op`] prints: `update status of deployments.apps ns/web`.
        op: String,
        /// What the server answered, or why it did not.
        cause: client::Error,
    },
    /// Something that is needed is not there yet, and no watch will tell when it comes: tried again with backoff.
    Later(String),
    /// What the user wrote cannot be carried out: not tried again until something changes.
    Invalid(String),
}

/// When a failed key is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Somebody else wrote at the same time: at once, a little later if it goes on.
    Conflict,
    /// The server is away, overloaded, or does not let us: with growing waits.
    Unreachable,
    /// The same will fail again: when something changes.
    Invalid,
}

impl Error {
    /// When to try again.
    pub fn class(&self) -> Class {
        match self {
            Self::Client(cause) | Self::Op { cause, .. } => classify(cause),
            Self::Later(_) => Class::Unreachable,
            Self::Invalid(_) => Class::Invalid,
        }
    }
}

fn classify(error: &client::Error) -> Class {
    if error.is_conflict() || error.is_already_exists() || error.is_not_found() {
        // Not found: what the plan was made from has gone meanwhile; the next plan will know.
        Class::Conflict
    } else if error.is_invalid() || matches!(error, client::Error::Request(_) | client::Error::Decode { .. }) {
        Class::Invalid
    } else {
        Class::Unreachable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(cause) => write!(f, "{cause}"),
            Self::Op { op, cause } => write!(f, "cannot {op}: {cause}"),
            Self::Later(text) | Self::Invalid(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

impl From<client::Error> for Error {
    fn from(cause: client::Error) -> Self {
        Self::Client(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{GroupResource, Reason, Status};

    #[track_caller]
    fn check(error: impl Into<client::Error>, expected: Class) {
        let error = error.into();
        let text = error.to_string();
        assert_eq!(Error::Client(error).class(), expected, "{text}");
    }

    #[test]
    fn classes() {
        let pods = GroupResource { group: String::new(), resource: "pods".into() };
        check(Status::conflict(&pods, "a", "stale"), Class::Conflict);
        check(Status::already_exists(&pods, "a"), Class::Conflict);
        check(Status::not_found(&pods, "a"), Class::Conflict);
        check(Status::invalid("", "Pod", "a", Vec::new()), Class::Invalid);
        check(Status::bad_request("no"), Class::Invalid);
        check(Status::forbidden(&pods, "a", "no"), Class::Unreachable);
        check(Status::internal("oh"), Class::Unreachable);
        check(Status::failure(Reason::TooManyRequests, "later"), Class::Unreachable);
        check(client::Error::Timeout("slow".into()), Class::Unreachable);
        check(client::Error::Request("bad".into()), Class::Invalid);
        assert_eq!(Error::Later("not yet".into()).class(), Class::Unreachable);
    }
}
