//! What is served, told to clients: the documents of discovery, from rows of plain data.

mod documents;
mod served;
mod version;

pub(crate) use documents::hex_digest;
pub use documents::{Discovery, Document};
pub use served::{ServedKind, Subresource, Text, Verb, Verbs};
pub use version::compare_versions;
