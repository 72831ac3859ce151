//! Rules of others on who may write what: whoever wires the server registers one, and the server knows only that there
//! is one. It is asked after schema and rights, with the object as it would be stored.

use crate::Server;
use crate::call::Call;
use crate::identity::{Attributes, Identity};
use crate::respond::Result;
use api::{GroupResource, Object, Status};

/// A write that a guard judges.
pub struct Review<'a> {
    /// Of which resource.
    pub resource: &'a GroupResource,
    /// Who writes.
    pub identity: &'a Identity,
    /// What is there; nothing for a create.
    pub old: Option<&'a Object>,
    /// What would be there.
    pub new: &'a Object,
    /// Whether who writes may do something else in the space as well.
    pub may: &'a dyn Fn(&Attributes<'_>) -> bool,
}

/// A deletion that a guard judges.
pub struct Deletion<'a> {
    /// In which space.
    pub space: &'a str,
    /// Of which resource.
    pub resource: &'a GroupResource,
    /// The object's name.
    pub name: &'a str,
}

/// What a guard says: nothing, or a reason for the user (403).
pub type Verdict = std::result::Result<(), String>;

/// Rules on writes and deletions.
pub trait Guard: Send + Sync {
    /// Whether an object may be written.
    ///
    /// # Errors
    /// The reason why not, for the user.
    fn write(&self, review: &Review<'_>) -> Verdict;

    /// Whether an object may be deleted, or be marked as to be deleted.
    ///
    /// # Errors
    /// The reason why not, for the user.
    fn delete(&self, deletion: &Deletion<'_>) -> Verdict;
}

impl Server {
    /// Registers the guard of all spaces; the first one counts.
    pub fn set_guard(&self, guard: Box<dyn Guard>) {
        if self.0.guard.set(guard).is_err() {
            tracing::error!("a second guard is not taken");
        }
    }
}

/// 403 if the guard refuses.
pub(crate) fn check(call: &Call, new: &Object, old: Option<&Object>) -> Result<()> {
    let Some(guard) = call.server.0.guard.get() else { return Ok(()) };
    let may = |asked: &Attributes<'_>| call.space.rbac.decide(&call.identity, asked).is_allowed();
    let review = Review { resource: &call.kind.group_resource, identity: &call.identity, old, new, may: &may };
    guard.write(&review).map_err(|why| Status::forbidden(&call.kind.group_resource, new.name(), why).into())
}

/// 403 if the guard refuses.
pub(crate) fn check_deletion(call: &Call, name: &str) -> Result<()> {
    let Some(guard) = call.server.0.guard.get() else { return Ok(()) };
    let resource = &call.kind.group_resource;
    let deletion = Deletion { space: call.space.name.as_str(), resource, name };
    guard.delete(&deletion).map_err(|why| Status::forbidden(resource, name, why).into())
}
