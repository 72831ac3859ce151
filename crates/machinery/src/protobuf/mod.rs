//! Kubernetes protobuf bodies to JSON objects, by a table of messages.
//!
//! A body is the four bytes `k8s\0` and a `runtime.Unknown` that names the kind and holds its message. What the message
//! is in JSON follows from a table that is made when the project is built for a release of Kubernetes (`cargo xtask
//! generate`), so that nothing here knows a kind.

mod decode;
mod table;
mod wire;

pub use decode::{MAX_BODY, ProtobufError};
pub use table::{TableError, Transcoder};
