//! `metav1.Status`: how an API server says what went wrong.

use crate::GroupResource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// Machine-readable reasons of `metav1.Status` and the HTTP code of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Reason {
    AlreadyExists,
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    Gone,
    InternalError,
    Invalid,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    RequestEntityTooLarge,
    ServerTimeout,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
    /// Anything a newer server may say.
    #[serde(other)]
    Unknown,
}

impl Reason {
    /// Whether no reason is known; a stock server leaves the field out then.
    #[allow(clippy::trivially_copy_pass_by_ref)] // the form that serde asks for
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// The HTTP status code that goes with the reason.
    pub const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Expired | Self::Gone => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError | Self::ServerTimeout | Self::Unknown => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }
}

/// One cause in `details.causes`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Cause {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// `details` of a Status. `kind` holds a resource's plural or a kind, as the stock server does for each error.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
}

/// `metav1.Status` of a failure.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Status {
    #[serde(default)]
    pub kind: String,
    #[serde(default, rename = "apiVersion")]
    pub api_version: String,
    #[serde(default)]
    pub metadata: Map<String, Value>,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub message: String,
    #[serde(default = "unknown", skip_serializing_if = "Reason::is_unknown")]
    pub reason: Reason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
    #[serde(default)]
    pub code: u16,
}

fn unknown() -> Reason {
    Reason::Unknown
}

impl Status {
    /// A failure with a reason and a message.
    pub fn failure(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            kind: "Status".into(),
            api_version: "v1".into(),
            metadata: Map::new(),
            status: "Failure".into(),
            message: message.into(),
            reason,
            details: None,
            code: reason.code(),
        }
    }

    /// A failure of a request that is about no resource: its details are there, and empty.
    pub fn generic(reason: Reason, message: impl Into<String>) -> Self {
        Self { details: Some(Box::default()), ..Self::failure(reason, message) }
    }

    /// 400
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(Reason::BadRequest, message)
    }

    /// 500
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::failure(Reason::InternalError, format!("Internal error occurred: {message}"))
    }

    /// 404 for an object of a resource.
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::failure(Reason::NotFound, format!("{resource} {name:?} not found")).about(resource, name)
    }

    /// 409 for a create of what exists.
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::failure(Reason::AlreadyExists, format!("{resource} {name:?} already exists")).about(resource, name)
    }

    /// 409 for a write that lost a race, or whose precondition does not hold.
    pub fn conflict(resource: &GroupResource, name: &str, cause: impl fmt::Display) -> Self {
        Self::failure(Reason::Conflict, format!("Operation cannot be fulfilled on {resource} {name:?}: {cause}"))
            .about(resource, name)
    }

    /// 403
    pub fn forbidden(resource: &GroupResource, name: &str, cause: impl fmt::Display) -> Self {
        let subject = if name.is_empty() { resource.to_string() } else { format!("{resource} {name:?}") };
        Self::failure(Reason::Forbidden, format!("{subject} is forbidden: {cause}")).about(resource, name)
    }

    /// 422 with one cause per field. `kind` is the kind and group of the object, as the stock server prints it.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let lines: Vec<String> = causes
            .iter()
            .map(|cause| {
                if cause.field.is_empty() {
                    cause.message.clone()
                } else {
                    format!("{}: {}", cause.field, cause.message)
                }
            })
            .collect();
        let listed = match lines.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let subject = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut status = Self::failure(Reason::Invalid, format!("{subject} {name:?} is invalid: {listed}"));
        status.details = Some(Box::new(Details {
            name: name.into(),
            group: group.into(),
            kind: kind.into(),
            causes,
            ..Details::default()
        }));
        status
    }

    /// Fills the details with the resource and name that the failure is about.
    #[must_use]
    pub fn about(mut self, resource: &GroupResource, name: &str) -> Self {
        let details = self.details.get_or_insert_with(Box::default);
        details.name = name.into();
        details.group.clone_from(&resource.group);
        details.kind.clone_from(&resource.resource);
        self
    }

    /// The message that the stock server gives to a writer whose resourceVersion is stale.
    pub const STALE: &str =
        "the object has been modified; please apply your changes to the latest version and try again";
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}
