//! What pipelines compute.

use super::Properties;
use std::borrow::Cow;
use std::rc::Rc;

/// A value of the language.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// Nothing: Go's nil.
    Nil,
    Bool(bool),
    Int(i64),
    /// A byte of a text.
    Byte(u8),
    Float(f64),
    /// Text; not always UTF-8, since it can be cut anywhere.
    Text(Rc<Cow<'a, [u8]>>),
    /// The properties.
    Map(&'a Properties),
}

impl<'a> Value<'a> {
    pub(super) fn text(bytes: Vec<u8>) -> Self {
        Self::Text(Rc::new(Cow::Owned(bytes)))
    }

    pub(super) fn borrowed(bytes: &'a [u8]) -> Self {
        Self::Text(Rc::new(Cow::Borrowed(bytes)))
    }

    /// The name of its type in Go.
    pub(super) const fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Byte(_) => "uint8",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::Map(_) => "map[string]string",
        }
    }

    /// Whether `if` takes it for true.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Byte(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Map(map) => !map.is_empty(),
        }
    }

    /// About how many bytes a function reads that is given it.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Map(map) => map.iter().map(|(key, value)| key.len() + value.len() + 2).sum(),
            Self::Nil | Self::Bool(_) | Self::Int(_) | Self::Byte(_) | Self::Float(_) => 1,
        }
    }
}
