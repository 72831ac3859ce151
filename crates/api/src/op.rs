//! One write as data: what a plan is made of.

use crate::{Object, ObjectName, Resource};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// One write to one object, so specific that whoever performs it has nothing left to decide.
#[derive(Clone, PartialEq, Debug)]
pub struct Op {
    /// Of which resource.
    pub resource: Resource,
    /// Which object.
    pub name: ObjectName,
    /// `status`, `approval`, `finalize`; empty for the object itself.
    pub subresource: Cow<'static, str>,
    /// What is done to it.
    pub write: Write,
}

/// What an [`Op`] does to its object.
#[derive(Clone, PartialEq, Debug)]
pub enum Write {
    /// Makes the object; fails if it exists.
    Create(Object),
    /// Replaces the object; with a resourceVersion in it, only that version.
    Update(Object),
    /// JSON merge patch (RFC 7386); with `metadata.resourceVersion` in it, only that version.
    MergePatch(Value),
    /// JSON patch (RFC 6902).
    JsonPatch(Value),
    /// Server-side apply: makes the object if needed, and owns the given fields.
    Apply {
        /// The fields; with apiVersion, kind and name.
        object: Object,
        /// Take fields that others own.
        force: bool,
    },
    /// Asks for deletion. An object that is gone already is as good as deleted.
    Delete {
        /// Only this incarnation.
        uid: Option<String>,
        /// Only this version.
        resource_version: Option<String>,
        /// What happens to dependents; the server's default for the kind when absent.
        propagation: Option<Propagation>,
    },
}

/// What happens to the dependents of a deleted object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

impl Propagation {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

impl Op {
    /// Any write to an object itself.
    pub const fn new(resource: Resource, name: ObjectName, write: Write) -> Self {
        Self { resource, name, subresource: Cow::Borrowed(""), write }
    }

    /// Makes an object.
    pub fn create(resource: Resource, object: Object) -> Self {
        Self::new(resource, object.object_name(), Write::Create(object))
    }

    /// Replaces an object.
    pub fn update(resource: Resource, object: Object) -> Self {
        Self::new(resource, object.object_name(), Write::Update(object))
    }

    /// Applies an object's fields, taking those that others own.
    pub fn apply(resource: Resource, object: Object) -> Self {
        Self::new(resource, object.object_name(), Write::Apply { object, force: true })
    }

    /// Changes a part of an object.
    pub const fn merge_patch(resource: Resource, name: ObjectName, patch: Value) -> Self {
        Self::new(resource, name, Write::MergePatch(patch))
    }

    /// Deletes an object, whatever its incarnation.
    pub const fn delete(resource: Resource, name: ObjectName) -> Self {
        Self::new(resource, name, Write::Delete { uid: None, resource_version: None, propagation: None })
    }

    /// Deletes one incarnation of an object.
    pub fn delete_only(resource: Resource, name: ObjectName, uid: impl Into<String>) -> Self {
        let write = Write::Delete { uid: Some(uid.into()), resource_version: None, propagation: None };
        Self::new(resource, name, write)
    }

    /// The same write to the object's status.
    #[must_use]
    pub fn on_status(self) -> Self {
        self.on("status")
    }

    /// The same write to a subresource.
    #[must_use]
    pub fn on(mut self, subresource: &'static str) -> Self {
        self.subresource = Cow::Borrowed(subresource);
        self
    }

    /// What is done, in one word.
    pub const fn verb(&self) -> &'static str {
        match self.write {
            Write::Create(_) => "create",
            Write::Update(_) => "update",
            Write::MergePatch(_) | Write::JsonPatch(_) => "patch",
            Write::Apply { .. } => "apply",
            Write::Delete { .. } => "delete",
        }
    }
}

/// `create configmaps ns/a`, `update status of deployments.apps ns/web`
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, resource, name) = (self.verb(), self.resource.group_resource(), &self.name);
        if self.subresource.is_empty() {
            write!(f, "{verb} {resource} {name}")
        } else {
            write!(f, "{verb} {} of {resource} {name}", self.subresource)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "deployments", "Deployment");

    #[test]
    fn ops_print_as_sentences() {
        let name = ObjectName::namespaced("ns", "web");
        let object = Object::new("apps/v1", "Deployment", &name);
        let shown = |op: Op| op.to_string();
        assert_eq!(shown(Op::create(DEPLOYMENTS, object.clone())), "create deployments.apps ns/web");
        assert_eq!(shown(Op::update(DEPLOYMENTS, object).on_status()), "update status of deployments.apps ns/web");
        assert_eq!(shown(Op::delete_only(DEPLOYMENTS, name, "u")), "delete deployments.apps ns/web");
    }
}
