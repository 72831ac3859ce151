//! Schemas of kinds: what pruning, defaulting, validation, patches, server-side apply and OpenAPI all read.

mod check;
mod decode;
mod default;
mod duplicates;
mod formats;
mod go;
mod node;
mod object_meta;
mod parse;
mod pattern;
mod prune;
mod rules;

pub use check::{check, check_update};
pub use decode::{DecodeError, decode};
pub use default::default;
pub use duplicates::duplicate_keys;
pub use go::patched_text;
pub use node::{Form, ListType, Node, NodeId, PatchStrategy, Schema, Schemas};
pub use object_meta::object_meta;
pub use parse::{ParseError, from_crd, from_definitions};
pub use pattern::{Pattern, compile as compile_pattern};
pub use prune::prune;
pub use rules::Rules;

pub(crate) use formats::{holds as holds_format, is_ip};

/// Whether text is a duration as Go writes them: `1h30m`.
pub(crate) fn is_go_duration(text: &str) -> bool {
    formats::go_duration(text).is_some()
}
