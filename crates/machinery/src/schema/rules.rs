//! Value validations of a schema, read once so that they can be run many times.

use super::node::NodeId;
use super::pattern::Pattern;

/// What a value must fulfil beyond its form. CEL rules are not here: see [`super::Node::validations`].
#[derive(Clone, PartialEq, Debug, Default)]
#[allow(missing_docs)]
pub struct Rules {
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<f64>,
    /// In characters.
    pub min_length: Option<u64>,
    /// In characters.
    pub max_length: Option<u64>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
    pub unique_items: bool,
    pub pattern: Option<Pattern>,
    pub all_of: Vec<NodeId>,
    pub any_of: Vec<NodeId>,
    pub one_of: Vec<NodeId>,
    pub not: Option<NodeId>,
}

impl Rules {
    /// Whether the value has to fit other schemas as well.
    pub(crate) fn has_alternatives(&self) -> bool {
        self.not.is_some() || [&self.all_of, &self.any_of, &self.one_of].iter().any(|list| !list.is_empty())
    }
}
