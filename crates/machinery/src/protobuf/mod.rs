//! Kubernetes protobuf bodies to JSON objects and back, by a table of messages.
//!
//! A body is the four bytes `k8s\0` and a `runtime.Unknown` that names the kind and holds its message. What the message
//! is in JSON follows from a table that is made when the project is built for a release of Kubernetes (`cargo xtask
//! generate`), so that nothing here knows a kind.

mod decode;
mod encode;
mod table;
mod wire;

pub use decode::{MAX_BODY, ProtobufError};
pub use encode::watch_frame;
pub use table::{TableError, Transcoder};

/// Lines that go behind a table of Kubernetes: messages of the metadata of any kind, which no group has.
pub const METADATA_MESSAGES: &str = "
kind meta.k8s.io v1 PartialObjectMetadata PartialObjectMetadata
kind meta.k8s.io v1beta1 PartialObjectMetadata PartialObjectMetadata
kind meta.k8s.io v1 PartialObjectMetadataList PartialObjectMetadataList
kind meta.k8s.io v1beta1 PartialObjectMetadataList PartialObjectMetadataList
message PartialObjectMetadata
1 metadata k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta
message PartialObjectMetadataList
1 metadata k8s.io.apimachinery.pkg.apis.meta.v1.ListMeta
2 items list PartialObjectMetadata";
