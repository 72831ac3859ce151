//! A place in an object as ownership sees it: what the schema says of it, or what is deduced where it says nothing.

use super::fieldset::{key_step, value_step};
use crate::schema::{Form, ListType, Node, NodeId, Schema, Schemas, from_crd};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// What is known of one place. `Copy`: it borrows from the schema.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// `None`: deduced, so maps are granular and lists atomic.
    known: Option<Known<'a>>,
    level: Level,
}

#[derive(Clone, Copy)]
struct Known<'a> {
    set: &'a Schemas,
    node: &'a Node,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// The object itself.
    Root,
    /// Its metadata.
    Metadata,
    Below,
}

/// How a value at a place is owned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// As a whole.
    Leaf,
    /// Member by member.
    Map,
    /// Element by element, told apart by keys.
    Keyed,
    /// Element by element, told apart by value.
    Set,
}

/// A field of a place.
pub(super) struct Field<'a> {
    pub(super) place: Place<'a>,
    /// It is a property of the schema, not a key of a map.
    pub(super) declared: bool,
    /// The schema has no room for it.
    pub(super) unknown: bool,
}

/// Metadata is the same for all kinds; a CRD's schema does not spell it out.
static METADATA: LazyLock<Schema> = LazyLock::new(|| {
    let text = json!({"type": "string"});
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    from_crd(&json!({"type": "object", "properties": {
        "annotations": texts, "creationTimestamp": text, "deletionGracePeriodSeconds": {"type": "integer"},
        "deletionTimestamp": text, "generateName": text, "generation": {"type": "integer"}, "labels": texts,
        "finalizers": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
        "managedFields": {"type": "array", "items": {}}, "name": text, "namespace": text, "resourceVersion": text,
        "ownerReferences": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"],
            "items": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {
                "apiVersion": text, "blockOwnerDeletion": {"type": "boolean"}, "controller": {"type": "boolean"},
                "kind": text, "name": text, "uid": text}}},
        "selfLink": text, "uid": text,
    }}))
    .expect("the schema above is well formed")
});

impl<'a> Place<'a> {
    const DEDUCED: Self = Self { known: None, level: Level::Below };

    /// A whole object.
    pub(super) fn root(schema: Option<&'a Schema>) -> Self {
        Self { known: schema.map(|schema| Known { set: &schema.set, node: schema.node() }), level: Level::Root }
    }

    /// Whether this is the metadata of the object, whose `managedFields` nobody owns.
    pub(super) fn is_metadata(self) -> bool {
        self.level == Level::Metadata
    }

    /// Whether the schema makes this a map or list that is owned as a whole.
    pub(super) fn is_atomic(self) -> bool {
        let Some(known) = self.known else { return false };
        match known.node.form {
            Form::Object { .. } => known.node.atomic_map,
            Form::Array { .. } => matches!(known.node.list_type, None | Some(ListType::Atomic)),
            _ => false,
        }
    }

    /// How a value here is owned. A value of another type than the schema says is a leaf.
    pub(super) fn kind(self, value: &Value) -> Kind {
        let Some(Known { node, .. }) = self.known else {
            return if value.is_object() { Kind::Map } else { Kind::Leaf };
        };
        match (value, &node.form) {
            (Value::Object(_), Form::Object { .. } | Form::Any) if !node.atomic_map => Kind::Map,
            (Value::Array(_), Form::Array { .. }) => match &node.list_type {
                Some(ListType::Map(_)) => Kind::Keyed,
                Some(ListType::Set) => Kind::Set,
                Some(ListType::Atomic) | None => Kind::Leaf,
            },
            _ => Kind::Leaf,
        }
    }

    /// The field of a map or object here.
    pub(super) fn field(self, name: &str) -> Field<'a> {
        let object = self.level == Level::Root || self.known.is_some_and(|known| known.node.embedded_resource);
        if object && name == "metadata" {
            let declared = self.property(name).filter(|place| place.has_properties());
            let place = declared.unwrap_or(Self { known: Some(Known::of(&METADATA)), level: Level::Below });
            let level = if self.level == Level::Root { Level::Metadata } else { Level::Below };
            return Field { place: Place { level, ..place }, declared: true, unknown: false };
        }
        if let Some(place) = self.property(name) {
            return Field { place, declared: true, unknown: false };
        }
        if object && matches!(name, "apiVersion" | "kind") {
            return Field { place: Self::DEDUCED, declared: true, unknown: false };
        }
        let (place, unknown) = match self.known {
            Some(known) => match &known.node.form {
                Form::Object { additional: Some(additional), .. } => (known.at(*additional), false),
                Form::Object { properties, .. } => {
                    (Self::DEDUCED, !(properties.is_empty() || known.node.preserve_unknown))
                }
                _ => (Self::DEDUCED, false),
            },
            None => (Self::DEDUCED, false),
        };
        Field { place, declared: false, unknown }
    }

    /// The elements of a list here.
    pub(super) fn items(self) -> Self {
        match self.known {
            Some(known) => match known.node.form {
                Form::Array { items } => known.at(items),
                _ => Self::DEDUCED,
            },
            None => Self::DEDUCED,
        }
    }

    /// The schema's node, where there is one.
    pub(super) fn node(self) -> Option<&'a Node> {
        self.known.map(|known| known.node)
    }

    /// The step to an element of a list that is not owned as a whole.
    ///
    /// # Errors
    /// If the element has nothing to be told apart by, in the words of the stock server.
    pub(super) fn step(self, element: &Value) -> Result<Box<str>, String> {
        let Some(Node { list_type: Some(ListType::Map(keys)), .. }) = self.node() else {
            return match element {
                Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
                Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
                scalar => Ok(value_step(scalar)),
            };
        };
        let element = match element {
            Value::Object(element) => element,
            Value::Null => return Err("associative list with keys may not have a null element".into()),
            _ => return Err("associative list with keys may not have non-map elements".into()),
        };
        let default = |key: &str| {
            let items = self.items();
            items.property(key)?.node()?.default.as_ref().or_else(|| built_in_default(items.node()?, key))
        };
        let value = |key: &'a String| Some((key.as_str(), element.get(key).or_else(|| default(key))?));
        if let [only] = keys.as_slice() {
            // The common case allocates nothing but the step.
            let Some(pair) = value(only) else { return Err(omits_keys(keys)) };
            return Ok(key_step(std::iter::once(pair)));
        }
        let mut pairs: Vec<(&str, &Value)> = keys.iter().filter_map(value).collect();
        if pairs.is_empty() {
            return Err(omits_keys(keys));
        }
        pairs.sort_by_key(|(name, _)| *name);
        Ok(key_step(pairs.into_iter()))
    }

    fn property(self, name: &str) -> Option<Self> {
        let known = self.known?;
        match &known.node.form {
            Form::Object { properties, .. } => properties.get(name).map(|at| known.at(*at)),
            _ => None,
        }
    }

    fn has_properties(self) -> bool {
        self.node().is_some_and(|node| matches!(&node.form, Form::Object { properties, .. } if !properties.is_empty()))
    }
}

impl<'a> Known<'a> {
    fn of(schema: &'a Schema) -> Self {
        Self { set: &schema.set, node: schema.node() }
    }

    fn at(self, id: NodeId) -> Place<'a> {
        Place { known: Some(Known { set: self.set, node: self.set.node(id) }), level: Level::Below }
    }
}

/// Defaults of list keys that the recorded definitions leave out: a port without a protocol is a TCP port.
fn built_in_default(items: &Node, key: &str) -> Option<&'static Value> {
    static TCP: LazyLock<Value> = LazyLock::new(|| "TCP".into());
    let definition = items.definition.as_deref()?;
    let port = ["io.k8s.api.core.v1.ContainerPort", "io.k8s.api.core.v1.ServicePort"].contains(&definition);
    (port && key == "protocol").then(|| &*TCP)
}

fn omits_keys(keys: &[String]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
    format!(
        "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for \
         any key fields)",
        keys.join(" ")
    )
}
