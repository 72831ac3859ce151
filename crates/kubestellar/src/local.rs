//! Reaches a space of this process without a socket.

use apiserver::Server;
use apiserver::identity::Identity;
use bytes::Bytes;
use client::{Body, BoxFuture, Client, Transport, TransportError};
use std::sync::Arc;
use store::Visibility;

struct Local {
    server: Server,
    space: api::SpaceName,
    identity: Identity,
    visibility: Visibility,
}

impl Transport for Local {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, TransportError>> {
        Box::pin(
            async move { Ok(self.server.handle(&self.space, self.identity.clone(), self.visibility, request).await) },
        )
    }
}

/// A client of a space for a part of this process, which may do everything there.
///
/// With [`Visibility::Appended`] it sees and answers to what is not durable yet: only for controllers that write into
/// the same log, since what they derive is then never older than its cause.
pub(crate) fn client(server: &Server, space: &api::SpaceName, name: &str, visibility: Visibility) -> Client {
    let transport =
        Local { server: server.clone(), space: space.clone(), identity: Identity::system(name), visibility };
    Client::new(Arc::new(transport), "").with_field_manager(name)
}
