//! Keys, certificates and signing requests, as Kubernetes uses them: a subject's common name is a user, each of its
//! organizations is a group.
//!
//! Reading is `x509-parser`'s work. Writing is ours ([`der`]), because a Kubernetes subject repeats the organization
//! attribute and the library that we would take (rcgen) keeps one value per attribute type.

mod authority;
mod der;
mod key;
mod pem;
mod request;

pub use authority::{Authority, Leaf, Peer, Usage};
pub use key::PrivateKey;
pub use pem::{der_to_pem, pem_to_der};
pub use request::{Request, new_request};

/// Who a certificate or request is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subject {
    /// The user.
    pub common_name: String,
    /// The groups.
    pub organizations: Vec<String>,
}

/// Why a key, certificate or request could not be read, checked or made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Error {
    #[error("not PEM of type {expected}")]
    Pem { expected: &'static str },
    #[error("unreadable {what}: {problem}")]
    Unreadable { what: &'static str, problem: String },
    #[error("the signature of the signing request does not match its key")]
    BadSignature,
    #[error("the machine's random source failed, or the key is not usable")]
    Crypto,
}
