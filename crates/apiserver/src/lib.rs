//! apiserver
pub mod builtin;
pub mod convert;
pub mod discovery;
pub mod openapi;
