//! The schema of one place in an object.

use super::rules::Rules;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Index of a [`Node`] in its [`Schemas`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub(crate) u32);

/// A set of schemas that may refer to each other, and to themselves (`JSONSchemaProps` does).
#[derive(Debug, Default)]
pub struct Schemas {
    pub(crate) nodes: Vec<Node>,
    pub(crate) names: BTreeMap<String, NodeId>,
}

impl Schemas {
    /// The schema of a named definition, such as `io.k8s.api.apps.v1.Deployment`.
    pub fn named(self: &Arc<Self>, name: &str) -> Option<Schema> {
        Some(Schema { set: Arc::clone(self), at: *self.names.get(name)? })
    }

    pub(crate) fn node(&self, at: NodeId) -> &Node {
        &self.nodes[at.0 as usize]
    }

    /// Names of all definitions, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }
}

/// A cheap handle on the schema of one place in an object.
#[derive(Clone, Debug)]
pub struct Schema {
    pub(crate) set: Arc<Schemas>,
    pub(crate) at: NodeId,
}

impl Schema {
    /// What is known of this place.
    pub fn node(&self) -> &Node {
        &self.set.nodes[self.at.0 as usize]
    }

    /// The schema of a field: a declared property, or what the map allows for any key.
    pub fn field(&self, name: &str) -> Option<Schema> {
        match &self.node().form {
            Form::Object { properties, additional } => {
                properties.get(name).copied().or(*additional).map(|at| self.at(at))
            }
            _ => None,
        }
    }

    /// The schema of a declared property only.
    pub fn property(&self, name: &str) -> Option<Schema> {
        match &self.node().form {
            Form::Object { properties, .. } => properties.get(name).map(|at| self.at(*at)),
            _ => None,
        }
    }

    /// Declared properties, by name.
    pub fn properties(&self) -> impl Iterator<Item = (&str, Schema)> {
        let properties = match &self.node().form {
            Form::Object { properties, .. } => Some(properties),
            _ => None,
        };
        properties.into_iter().flatten().map(|(name, at)| (&**name, self.at(*at)))
    }

    /// The schema of the elements of an array.
    pub fn items(&self) -> Option<Schema> {
        match self.node().form {
            Form::Array { items } => Some(self.at(items)),
            _ => None,
        }
    }

    /// The schema of the values of a map.
    pub fn additional(&self) -> Option<Schema> {
        match self.node().form {
            Form::Object { additional, .. } => additional.map(|at| self.at(at)),
            _ => None,
        }
    }

    fn at(&self, at: NodeId) -> Schema {
        Schema { set: Arc::clone(&self.set), at }
    }
}

/// What a value may be.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Form {
    /// Anything: no type is declared (`RawExtension`, `x-kubernetes-preserve-unknown-fields` without a type).
    #[default]
    Any,
    /// An object with known properties, a map, or both.
    Object {
        /// Declared properties.
        properties: BTreeMap<Box<str>, NodeId>,
        /// `additionalProperties`
        additional: Option<NodeId>,
    },
    /// `array`
    Array {
        /// Of every element.
        items: NodeId,
    },
    /// `string`
    String,
    /// `integer`
    Integer,
    /// `number`
    Number,
    /// `boolean`
    Boolean,
    /// `x-kubernetes-int-or-string` (format `int-or-string`)
    IntOrString,
}

/// How server-side apply sees a list (`x-kubernetes-list-type`). Undeclared lists are atomic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListType {
    /// Owned as a whole.
    Atomic,
    /// Scalars, each owned by itself.
    Set,
    /// Objects told apart by these keys.
    Map(Vec<String>),
}

/// `x-kubernetes-patch-strategy` of strategic merge patch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PatchStrategy {
    /// `merge`
    pub merge: bool,
    /// `retainKeys`
    pub retain_keys: bool,
    /// `replace`: of a map, which is merged otherwise.
    pub replace: bool,
}

/// The schema of one place: its form, and what else is declared of it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Node {
    /// What the value may be.
    pub form: Form,
    /// Whether the form was declared with `type`. Where it was only guessed from other keywords, as below `anyOf`, a
    /// value of another form is not wrong.
    pub typed: bool,
    /// Name of the definition, where the place is one (`io.k8s.api.core.v1.PodSpec`).
    pub definition: Option<Box<str>>,
    /// `x-kubernetes-list-type` and `-list-map-keys`
    pub list_type: Option<ListType>,
    /// `x-kubernetes-map-type: atomic`
    pub atomic_map: bool,
    /// `x-kubernetes-patch-strategy`
    pub patch_strategy: PatchStrategy,
    /// `x-kubernetes-patch-merge-key`
    pub patch_merge_key: Option<Box<str>>,
    /// `x-kubernetes-preserve-unknown-fields`
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`
    pub embedded_resource: bool,
    /// `nullable`
    pub nullable: bool,
    /// `required`
    pub required: Vec<Box<str>>,
    /// `default`
    pub default: Option<Value>,
    /// `format`
    pub format: Option<Box<str>>,
    /// `enum`; empty means unrestricted.
    pub allowed: Vec<Value>,
    /// Value validations as declared (`pattern`, `minimum`, `maxLength`, `anyOf`, `x-kubernetes-validations`...), by
    /// keyword. `Null` when there are none.
    pub validations: Value,
    /// The same validations, ready to be run; those of CEL excepted.
    pub rules: Option<Arc<Rules>>,
}
