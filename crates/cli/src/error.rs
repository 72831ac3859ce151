//! Errors for people: what failed, why, and what to do about it.

use client::kubeconfig::KubeconfigError;
use std::fmt;

/// The result of a command.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command failed.
#[derive(Debug)]
pub struct Error {
    message: String,
    hint: Option<String>,
}

impl Error {
    /// What failed and why, in one sentence.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error as part of something larger: `WHAT: message`.
    #[must_use]
    pub fn during(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The hint, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// The message alone: whoever prints it gives the hint a line of its own.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<client::Error> for Error {
    fn from(cause: client::Error) -> Self {
        let error = Self::new(cause.to_string());
        match &cause {
            client::Error::Transport { cause: client::TransportError::Connect { server, .. }, .. } => {
                error.hint(format!("is the server at {server} running? kflex init starts the one of this machine"))
            }
            client::Error::Transport { cause: client::TransportError::Unusable(_), .. } => {
                error.hint("check the context in your kubeconfig: kubectl config view")
            }
            cause if cause.is_unauthorized() => error.hint(
                "the credential of the context is not valid (any more): get a new one, as with kflex ctx NAME -o",
            ),
            cause if cause.is_forbidden() => error.hint("the user of the context lacks a right: ask an administrator"),
            _ => error,
        }
    }
}

impl From<KubeconfigError> for Error {
    fn from(cause: KubeconfigError) -> Self {
        Self::new(cause.to_string())
    }
}
