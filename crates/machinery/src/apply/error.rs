//! Why an apply is refused, in the words of the stock server.

use api::{Cause, Details, Reason, Status};
use std::fmt::Write as _;

/// One field that `config` changes and another manager owns.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Conflict {
    /// The owner, as the message names it: `"kubectl" with subresource "status" using apps/v1`.
    pub manager: String,
    /// The field: `.spec.replicas`
    pub field: String,
}

/// All conflicts of an apply; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflicts(pub Vec<Conflict>);

/// Why an apply is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApplyError {
    /// 409: others own what the config changes.
    #[error("{0}")]
    Conflict(Conflicts),
    /// 400: the request is not an apply of this object.
    #[error("{0}")]
    BadRequest(String),
    /// 500 in a stock server: the config does not fit the schema.
    #[error("{0}")]
    Typed(String),
}

impl std::fmt::Display for Conflicts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let [one] = self.0.as_slice() {
            return write!(f, "Apply failed with 1 conflict: conflict with {}: {}", one.manager, one.field);
        }
        let mut text = String::new();
        let mut last = None;
        for conflict in &self.0 {
            if last != Some(&conflict.manager) {
                let line = if last.is_some() { "\n" } else { "" };
                let _ = write!(text, "{line}conflicts with {}:", conflict.manager);
                last = Some(&conflict.manager);
            }
            let _ = write!(text, "\n- {}", conflict.field);
        }
        write!(f, "Apply failed with {} conflicts: {text}", self.0.len())
    }
}

impl ApplyError {
    /// As the server answers it.
    pub fn status(&self) -> Status {
        match self {
            Self::Conflict(conflicts) => {
                let mut status = Status::failure(Reason::Conflict, conflicts.to_string());
                let causes = conflicts
                    .0
                    .iter()
                    .map(|conflict| Cause {
                        reason: "FieldManagerConflict".into(),
                        message: format!("conflict with {}", conflict.manager),
                        field: conflict.field.clone(),
                    })
                    .collect();
                status.details = Some(Box::new(Details { causes, ..Details::default() }));
                status
            }
            Self::BadRequest(message) => Status::bad_request(message.clone()),
            Self::Typed(message) => Status::failure(Reason::Unknown, message.clone()),
        }
    }
}
