//! Schemas of kinds: what pruning, defaulting, validation, patches, server-side apply and OpenAPI all read.

mod node;
mod parse;

pub use node::{Form, ListType, Node, NodeId, PatchStrategy, Schema, Schemas};
pub use parse::{ParseError, from_crd, from_definitions};
