//! Names as types, so that one cannot be passed for another.

use serde::{Deserialize, Serialize};
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(name.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// The name of a space: anything that behaves as a kube-apiserver.
    SpaceName
}
name_type! {
    /// The name of a ManagedCluster, and of its mailbox namespace in the ITS.
    ClusterName
}
name_type! {
    /// The name of a BindingPolicy and of the Binding made from it.
    BindingName
}

/// The place of an object within its resource: a namespace (empty for cluster scope) and a name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ObjectName {
    /// Empty for a cluster-scoped object.
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

impl ObjectName {
    /// An object in a namespace.
    pub fn namespaced(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// A cluster-scoped object.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self { namespace: String::new(), name: name.into() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// Group, version and kind; `group` is empty for the core group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct GroupVersionKind {
    pub group: String,
    pub version: String,
    pub kind: String,
}

impl GroupVersionKind {
    /// From an object's `apiVersion` (`v1`, `apps/v1`) and `kind`.
    pub fn from_api_version(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        Self { group: group.into(), version: version.into(), kind: kind.into() }
    }

    /// `v1` or `apps/v1`
    pub fn api_version(&self) -> String {
        join_group_version(&self.group, &self.version)
    }
}

/// Group, version and plural resource name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct GroupVersionResource {
    pub group: String,
    pub version: String,
    pub resource: String,
}

/// Group and kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct GroupKind {
    pub group: String,
    pub kind: String,
}

/// Group and plural resource name. `Display` is `deployments.apps`, or `configmaps` for the core group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct GroupResource {
    pub group: String,
    pub resource: String,
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.resource) } else { write!(f, "{}.{}", self.resource, self.group) }
    }
}

/// A REST resource at one version: all that is needed to form a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub struct Resource {
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    /// Plural, lower case.
    pub plural: Cow<'static, str>,
    pub kind: Cow<'static, str>,
    pub namespaced: bool,
}

impl Resource {
    /// A namespaced resource known at compile time.
    pub const fn namespaced(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
    ) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            plural: Cow::Borrowed(plural),
            kind: Cow::Borrowed(kind),
            namespaced: true,
        }
    }

    /// A cluster-scoped resource known at compile time.
    pub const fn cluster(group: &'static str, version: &'static str, plural: &'static str, kind: &'static str) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            plural: Cow::Borrowed(plural),
            kind: Cow::Borrowed(kind),
            namespaced: false,
        }
    }

    /// `v1` or `apps/v1`
    pub fn api_version(&self) -> String {
        join_group_version(&self.group, &self.version)
    }

    /// The kind that its objects have.
    pub fn group_version_kind(&self) -> GroupVersionKind {
        GroupVersionKind {
            group: self.group.to_string(),
            version: self.version.to_string(),
            kind: self.kind.to_string(),
        }
    }

    /// Without the version.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource { group: self.group.to_string(), resource: self.plural.to_string() }
    }

    /// The path of the collection: `/api/v1/namespaces/ns/configmaps`, `/apis/apps/v1/deployments`.
    /// An empty namespace means all namespaces.
    pub fn collection_path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let group_version = self.api_version();
        if self.namespaced && !namespace.is_empty() {
            format!("{root}/{group_version}/namespaces/{namespace}/{}", self.plural)
        } else {
            format!("{root}/{group_version}/{}", self.plural)
        }
    }

    /// The path of one object.
    pub fn object_path(&self, name: &ObjectName) -> String {
        format!("{}/{}", self.collection_path(&name.namespace), name.name)
    }
}

fn join_group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let maps = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
        let nodes = Resource::cluster("", "v1", "nodes", "Node");
        let apps = Resource::namespaced("apps", "v1", "deployments", "Deployment");
        assert_eq!(maps.collection_path(""), "/api/v1/configmaps");
        assert_eq!(maps.object_path(&ObjectName::namespaced("ns", "a")), "/api/v1/namespaces/ns/configmaps/a");
        assert_eq!(nodes.object_path(&ObjectName::cluster("n")), "/api/v1/nodes/n");
        assert_eq!(apps.collection_path("ns"), "/apis/apps/v1/namespaces/ns/deployments");
        assert_eq!(GroupVersionKind::from_api_version("apps/v1", "Deployment").api_version(), "apps/v1");
        assert_eq!(GroupVersionKind::from_api_version("v1", "Pod").group, "");
    }
}
