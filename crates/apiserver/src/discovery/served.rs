//! A kind as it is served, as plain data: the same for built-in kinds and for those of CRDs.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Text that a built-in row borrows from the binary and a CRD's row owns.
pub type Text = Cow<'static, str>;

/// What may be asked of a resource, as discovery names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

impl Verb {
    /// Every verb, in the order of discovery (which is that of the alphabet).
    pub const ALL: [Verb; 8] = [
        Verb::Create,
        Verb::Delete,
        Verb::DeleteCollection,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
    ];

    /// As RBAC and discovery write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Patch => "patch",
            Verb::Update => "update",
            Verb::Watch => "watch",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of [`Verb`]s. In JSON, a list of their names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Verbs(u8);

impl Verbs {
    /// All that a stored resource can do.
    pub const FULL: Verbs = Verbs(0xff);
    /// What a `status` or `scale` subresource can do: get, patch, update.
    pub const SUBRESOURCE: Verbs = Verbs::of(&[Verb::Get, Verb::Patch, Verb::Update]);

    /// A set of these.
    pub const fn of(verbs: &[Verb]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < verbs.len() {
            bits |= 1 << verbs[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// Whether `verb` may be asked.
    pub const fn contains(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u8) != 0
    }

    /// In the order of discovery.
    pub fn iter(self) -> impl Iterator<Item = Verb> {
        Verb::ALL.into_iter().filter(move |verb| self.contains(*verb))
    }
}

impl fmt::Debug for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Verb::as_str)).finish()
    }
}

impl Serialize for Verbs {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter().map(Verb::as_str))
    }
}

impl<'de> Deserialize<'de> for Verbs {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut bits = 0;
        for name in Vec::<Cow<'de, str>>::deserialize(from)? {
            let verb = Verb::parse(&name).ok_or_else(|| serde::de::Error::custom(format!("unknown verb {name:?}")))?;
            bits |= 1 << verb as u8;
        }
        Ok(Self(bits))
    }
}

/// A kind at one version, as it is served: plain data, the same for built-in kinds and for those of CRDs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServedKind {
    /// Empty for the core group.
    pub group: Text,
    /// Such as `v1`.
    pub version: Text,
    /// Such as `Deployment`.
    pub kind: Text,
    /// Name of the resource in paths.
    pub plural: Text,
    /// Lower-case singular.
    pub singular: Text,
    /// Such as `deploy`.
    pub short_names: Vec<Text>,
    /// Such as `all`.
    pub categories: Vec<Text>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What may be asked of the resource itself.
    pub verbs: Verbs,
    /// In the order of discovery.
    pub subresources: Vec<Subresource>,
    /// API version that its objects are stored at (`apps/v1`): hashed into `storageVersionHash`.
    /// Empty when nothing is stored.
    pub stored_as: Text,
}

impl ServedKind {
    /// `v1` or `apps/v1`
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }

    /// A subresource by name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// As `api` names a resource.
    pub fn resource(&self) -> api::Resource {
        api::Resource {
            group: self.group.clone(),
            version: self.version.clone(),
            plural: self.plural.clone(),
            kind: self.kind.clone(),
            namespaced: self.namespaced,
        }
    }
}

/// A subresource and the kind that it speaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subresource {
    /// Such as `status`.
    pub name: Text,
    /// Group of the kind it speaks. With `version`, empty where it is that of the resource (unless both are of the core group).
    pub group: Text,
    /// Version of the kind it speaks, empty where it is that of the resource.
    pub version: Text,
    /// Such as `Scale`.
    pub kind: Text,
    /// What may be asked of it.
    pub verbs: Verbs,
}
