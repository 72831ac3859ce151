//! What a write is addressed to: revisions, collections and keys.

use std::fmt;
use std::sync::Arc;

/// Position in the one ordered log of a process. The first commit gets 1; 0 is "before everything".
///
/// It is what Kubernetes calls a resourceVersion: unique over all spaces, so sparse within one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first commit.
    pub const ZERO: Self = Self(0);

    /// The revision that the following commit gets.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All objects of one resource in one space.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Collection {
    /// The space, for example `wds1`.
    pub space: Arc<str>,
    /// The resource with its group, for example `deployments.apps`; a core resource is `pods`.
    pub resource: Arc<str>,
}

impl Collection {
    /// Names a collection.
    pub fn new(space: impl Into<Arc<str>>, resource: impl Into<Arc<str>>) -> Self {
        Self { space: space.into(), resource: resource.into() }
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in space {}", self.resource, self.space)
    }
}

/// Names one object of a [`Collection`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Where the object belongs.
    pub collection: Collection,
    /// Its namespace; empty for cluster scope.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Key {
    /// Names an object; an empty `namespace` is cluster scope.
    pub fn new(collection: Collection, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { collection, namespace: namespace.into(), name: name.into() }
    }

    /// Length of its longest part, in bytes.
    pub(crate) fn longest(&self) -> usize {
        let Self { collection: Collection { space, resource }, namespace, name } = self;
        space.len().max(resource.len()).max(namespace.len()).max(name.len())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { collection, namespace, name } = self;
        if namespace.is_empty() {
            write!(f, "{}/{}/{name}", collection.space, collection.resource)
        } else {
            write!(f, "{}/{}/{namespace}/{name}", collection.space, collection.resource)
        }
    }
}
