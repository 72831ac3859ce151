//! A set of fields as a trie, in the form that `fieldsV1` has.

use serde_json::{Map, Value};

/// A set of field paths. Each step is kept in its `fieldsV1` spelling: `f:name`, `k:{"name":"x"}`, `v:"a"`, `i:0`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FieldSet {
    /// Sorted by step.
    nodes: Vec<(Box<str>, Node)>,
}

/// One step of a path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Node {
    /// The path that ends here is in the set.
    member: bool,
    /// Longer paths.
    below: FieldSet,
}

impl FieldSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    /// The set of these paths of plain field names: `FieldSet::of_fields(&[&["status"], &["metadata", "labels"]])`.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::new();
        for path in paths {
            let Some((last, above)) = path.split_last() else { continue };
            let mut at = &mut set;
            for name in above {
                at = &mut at.node(format!("f:{name}").into()).below;
            }
            at.node(format!("f:{last}").into()).member = true;
        }
        set
    }

    /// Whether no path is in the set.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// As `fieldsV1`.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (step, node) in &self.nodes {
            let mut below = node.below.to_value();
            if node.member && !node.below.is_empty() {
                below.as_object_mut().expect("a set is written as an object").insert(".".into(), Map::new().into());
            }
            map.insert(step.to_string(), below);
        }
        Value::Object(map)
    }

    fn node(&mut self, step: Box<str>) -> &mut Node {
        let at = match self.nodes.binary_search_by(|(held, _)| held.cmp(&step)) {
            Ok(at) => at,
            Err(at) => {
                self.nodes.insert(at, (step, Node::default()));
                at
            }
        };
        &mut self.nodes[at].1
    }
}
