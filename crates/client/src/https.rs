//! HTTPS to one API server.
use crate::transport::{Body, BoxFuture, Transport, TransportError};
use bytes::Bytes;
/// Placeholder until connections land (next commit).
#[derive(Clone, Debug, Default)]
pub struct Endpoint { pub server: String, pub ca: Option<Vec<u8>>, pub credential: Credential, pub insecure: bool, pub server_name: Option<String> }
#[derive(Clone, Debug, Default)]
pub enum Credential { #[default] None }
pub struct Https { server: String }
impl Endpoint { pub fn path(&self) -> String { String::new() } }
impl Https { pub fn new(endpoint: Endpoint) -> Result<Self, TransportError> { Ok(Self { server: endpoint.server }) } }
impl Transport for Https { fn send(&self, _request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, TransportError>> { Box::pin(async { Err(TransportError::Unusable(self.server.clone())) }) } }
