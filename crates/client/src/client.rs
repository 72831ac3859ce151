//! Requests and answers of the Kubernetes API, over any transport.

use crate::error::{Error, Result};
use crate::params::{DeleteParams, Patch, query};
use crate::transport::{Body, Transport, TransportError};
use crate::{Backoff, Endpoint, Https};
use api::{Object, ObjectName, Reason, Resource, Status};
use bytes::{Bytes, BytesMut};
use http::{Method, header};
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// How long a request may take, from sending to the last byte of the answer. Watches only have to answer within it.
/// Stock servers give up on a request after 60 s.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(65);

/// The largest answer that is read into memory: a page of the largest objects, with room.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// How often a read-modify-write is tried when others write the same object; then its last conflict is the error.
pub const EDIT_ATTEMPTS: u32 = 10;

/// How often a request that the server puts off (429, or 503 with Retry-After) is sent again.
const PUT_OFF_ATTEMPTS: u32 = 5;

/// The longest that a server may put a request off before the caller is told.
const PUT_OFF_MAX: Duration = Duration::from_secs(10);

pub(crate) const JSON: &str = "application/json";
pub(crate) const PARTIAL: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
pub(crate) const PARTIAL_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// A client of one space. Clones share the transport.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    prefix: Arc<str>,
    field_manager: Arc<str>,
}

impl Client {
    /// A client of the space at `prefix` (empty, or `/spaces/NAME`) behind a transport.
    pub fn new(transport: Arc<dyn Transport>, prefix: &str) -> Self {
        Self { transport, prefix: prefix.trim_end_matches('/').into(), field_manager: "kubestellar".into() }
    }

    /// A client of the server at an endpoint. Connects with the first request, and again whenever needed.
    ///
    /// # Errors
    /// If the address or the credential cannot be used.
    pub fn https(endpoint: Endpoint) -> Result<Self> {
        let prefix = endpoint.path();
        let server = endpoint.server.clone();
        let transport = Https::new(endpoint)
            .map_err(|cause| Error::Transport { request: format!("connection to {server}"), cause })?;
        Ok(Self::new(Arc::new(transport), &prefix))
    }

    /// The same client writing under another name: it owns the fields that it applies.
    #[must_use]
    pub fn with_field_manager(mut self, name: &str) -> Self {
        self.field_manager = name.into();
        self
    }

    /// The same transport, for another space behind it.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.trim_end_matches('/').into();
        self
    }

    /// The name that this client writes under.
    pub fn field_manager(&self) -> &str {
        &self.field_manager
    }

    /// Reads an object.
    ///
    /// # Errors
    /// Not found, and everything in [`Error`].
    pub async fn get<T: DeserializeOwned>(&self, resource: &Resource, name: &ObjectName) -> Result<T> {
        let path = object_path(resource, name)?;
        self.call(Method::GET, &path, JSON, None).await
    }

    /// Reads an object that need not exist.
    ///
    /// # Errors
    /// As [`Self::get`], but for not found.
    pub async fn find<T: DeserializeOwned>(&self, resource: &Resource, name: &ObjectName) -> Result<Option<T>> {
        match self.get(resource, name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads any path of the server: `/version`, `/openapi/v3`.
    ///
    /// # Errors
    /// Everything in [`Error`].
    pub async fn get_path<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::GET, path, JSON, None).await
    }

    /// Creates an object. An empty namespace means cluster scope.
    ///
    /// # Errors
    /// Already exists, invalid, and everything in [`Error`].
    pub async fn create<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let path = self.written(&resource.collection_path(namespace));
        self.call(Method::POST, &path, JSON, Some((JSON, to_json(resource, body)?))).await
    }

    /// Replaces an object. With a resourceVersion in the body, only if it is still at that version.
    ///
    /// # Errors
    /// Conflict, not found, invalid, and everything in [`Error`].
    pub async fn update<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        name: &ObjectName,
        body: &impl Serialize,
    ) -> Result<T> {
        let path = self.written(&object_path(resource, name)?);
        self.call(Method::PUT, &path, JSON, Some((JSON, to_json(resource, body)?))).await
    }

    /// Replaces an object's status.
    ///
    /// # Errors
    /// As [`Self::update`].
    pub async fn update_status<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        name: &ObjectName,
        body: &impl Serialize,
    ) -> Result<T> {
        self.update_subresource(resource, name, "status", body).await
    }

    /// Replaces a subresource: `approval` of a CSR, `scale`, `finalize` of a Namespace.
    ///
    /// # Errors
    /// As [`Self::update`].
    pub async fn update_subresource<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        name: &ObjectName,
        subresource: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let path = self.written(&format!("{}/{subresource}", object_path(resource, name)?));
        self.call(Method::PUT, &path, JSON, Some((JSON, to_json(resource, body)?))).await
    }

    /// Creates through a subresource: `token` of a ServiceAccount, `eviction` of a Pod.
    ///
    /// # Errors
    /// Everything in [`Error`].
    pub async fn create_subresource<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        name: &ObjectName,
        subresource: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let path = self.written(&format!("{}/{subresource}", object_path(resource, name)?));
        self.call(Method::POST, &path, JSON, Some((JSON, to_json(resource, body)?))).await
    }

    /// Changes a part of an object; a server-side apply creates it if needed.
    ///
    /// # Errors
    /// Conflict (an apply without force that meets another manager), not found, invalid, everything in [`Error`].
    pub async fn patch<T: DeserializeOwned>(&self, resource: &Resource, name: &ObjectName, patch: &Patch) -> Result<T> {
        self.patch_at(&object_path(resource, name)?, patch).await
    }

    /// Changes a part of an object's status.
    ///
    /// # Errors
    /// As [`Self::patch`].
    pub async fn patch_status<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        name: &ObjectName,
        patch: &Patch,
    ) -> Result<T> {
        self.patch_subresource(resource, name, "status", patch).await
    }

    /// Changes a part of a subresource.
    ///
    /// # Errors
    /// As [`Self::patch`].
    pub async fn patch_subresource<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        name: &ObjectName,
        subresource: &str,
        patch: &Patch,
    ) -> Result<T> {
        self.patch_at(&format!("{}/{subresource}", object_path(resource, name)?), patch).await
    }

    async fn patch_at<T: DeserializeOwned>(&self, path: &str, patch: &Patch) -> Result<T> {
        let mut path = self.written(path);
        if let Patch::Apply { force: true, .. } = patch {
            path.push_str("&force=true");
        }
        let body = Bytes::from(patch.body().to_string());
        self.call(Method::PATCH, &path, JSON, Some((patch.content_type(), body))).await
    }

    /// Asks for an object's deletion; it may stay until its finalizers are gone.
    ///
    /// # Errors
    /// Not found, conflict (a precondition does not hold), and everything in [`Error`].
    pub async fn delete(&self, resource: &Resource, name: &ObjectName, params: &DeleteParams) -> Result<()> {
        let path = object_path(resource, name)?;
        let body = params.body().map(|options| (JSON, Bytes::from(options.to_string())));
        self.call::<serde::de::IgnoredAny>(Method::DELETE, &path, JSON, body).await.map(drop)
    }

    /// Reads an object, changes it, writes it back, and starts again when somebody else wrote meanwhile. What `change`
    /// leaves as it was is not written. `change` may run several times.
    ///
    /// # Errors
    /// Not found; the last conflict after [`EDIT_ATTEMPTS`]; everything in [`Error`].
    pub async fn edit(
        &self,
        resource: &Resource,
        name: &ObjectName,
        change: impl FnMut(&mut Object) + Send,
    ) -> Result<Object> {
        self.edit_at(resource, name, "", change).await
    }

    /// [`Self::edit`] for the status.
    ///
    /// # Errors
    /// As [`Self::edit`].
    pub async fn edit_status(
        &self,
        resource: &Resource,
        name: &ObjectName,
        change: impl FnMut(&mut Object) + Send,
    ) -> Result<Object> {
        self.edit_at(resource, name, "/status", change).await
    }

    /// [`Self::edit`] for a subresource that has the shape of the object: `approval` of a CSR.
    ///
    /// # Errors
    /// As [`Self::edit`].
    pub async fn edit_subresource(
        &self,
        resource: &Resource,
        name: &ObjectName,
        subresource: &str,
        change: impl FnMut(&mut Object) + Send,
    ) -> Result<Object> {
        self.edit_at(resource, name, &format!("/{subresource}"), change).await
    }

    async fn edit_at(
        &self,
        resource: &Resource,
        name: &ObjectName,
        suffix: &str,
        mut change: impl FnMut(&mut Object) + Send,
    ) -> Result<Object> {
        let path = self.written(&format!("{}{suffix}", object_path(resource, name)?));
        let mut backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(200));
        loop {
            let held: Object = self.get(resource, name).await?;
            let mut wanted = held.clone();
            change(&mut wanted);
            if wanted == held {
                return Ok(held);
            }
            match self.call(Method::PUT, &path, JSON, Some((JSON, Bytes::from(wanted.to_json())))).await {
                Err(error) if error.is_conflict() && backoff.failures() + 1 < EDIT_ATTEMPTS => {
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                done => return done,
            }
        }
    }

    /// Sends any request; the path is without the space's prefix. A request that the server puts off is sent again a
    /// few times. Failures come back as errors, so the answer is a success; its body is still to be read.
    ///
    /// # Errors
    /// Everything in [`Error`].
    pub async fn request(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        let what = format!("{} {}{path}", parts.method, self.prefix);
        parts.uri = format!("{}{path}", self.prefix)
            .parse()
            .map_err(|cause| Error::Request(format!("{path:?} is not a path: {cause}")))?;
        if !parts.headers.contains_key(header::USER_AGENT) {
            let agent = format!("{}/{}", self.field_manager, env!("CARGO_PKG_VERSION"));
            if let Ok(value) = agent.parse() {
                parts.headers.insert(header::USER_AGENT, value);
            }
        }
        let mut attempts = 0;
        loop {
            let request = http::Request::from_parts(parts.clone(), body.clone());
            let sent = tokio::time::timeout(REQUEST_TIMEOUT, self.transport.send(request)).await;
            let response = sent
                .unwrap_or(Err(TransportError::Timeout { after: REQUEST_TIMEOUT }))
                .map_err(|cause| Error::Transport { request: what.clone(), cause })?;
            if response.status().is_success() {
                return Ok(response);
            }
            let put_off = put_off_for(response.status().as_u16(), response.headers());
            attempts += 1;
            match put_off {
                Some(delay) if attempts < PUT_OFF_ATTEMPTS => tokio::time::sleep(delay).await,
                _ => return Err(failure(&what, response).await),
            }
        }
    }

    /// Sends a request and reads the whole answer as a `T`.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, Bytes)>,
    ) -> Result<T> {
        let what = format!("the answer to {method} {}{path}", self.prefix);
        let bytes = self.bytes(method, path, accept, body).await?;
        serde_json::from_slice(&bytes).map_err(|cause| Error::Decode { what, cause: cause.to_string() })
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn bytes(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, Bytes)>,
    ) -> Result<Bytes> {
        let what = format!("{method} {}{path}", self.prefix);
        let mut request = http::Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
        let mut content = Bytes::new();
        if let Some((content_type, bytes)) = body {
            request = request.header(header::CONTENT_TYPE, content_type);
            content = bytes;
        }
        let request =
            request.body(content).map_err(|cause| Error::Request(format!("{path:?} is not a path: {cause}")))?;
        let answer = async {
            let response = self.request(request).await?;
            collect(&what, response.into_body()).await
        };
        match tokio::time::timeout(REQUEST_TIMEOUT * 2, answer).await {
            Ok(result) => result,
            Err(_) => {
                Err(Error::Transport { request: what, cause: TransportError::Timeout { after: REQUEST_TIMEOUT * 2 } })
            }
        }
    }

    /// The path of a write, which says who writes.
    fn written(&self, path: &str) -> String {
        format!("{path}{}", query(&[("fieldManager", &self.field_manager)]))
    }
}

/// An object that is not of the type that the caller expects.
pub(crate) fn unreadable(kind: &str, name: &ObjectName, cause: &serde_json::Error) -> Error {
    Error::Decode { what: format!("{kind} {name}"), cause: cause.to_string() }
}

/// The path of one object, its name made safe for a path.
fn object_path(resource: &Resource, name: &ObjectName) -> Result<String> {
    for segment in [&name.name, &name.namespace] {
        if segment.contains(['/', '%']) || segment == "." || segment == ".." {
            return Err(Error::Request(format!("{segment:?} cannot be the name of an object")));
        }
    }
    if name.name.is_empty() {
        return Err(Error::Request(format!("a {} without a name cannot be addressed", resource.kind)));
    }
    if name.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'_')) {
        return Ok(resource.object_path(name));
    }
    let encoded: String = name.name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    Ok(format!("{}/{encoded}", resource.collection_path(&name.namespace)))
}

fn to_json(resource: &Resource, body: &impl Serialize) -> Result<Bytes> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|cause| Error::Request(format!("cannot write a {} as JSON: {cause}", resource.kind)))
}

/// How long a server asks to wait before the same request is sent again.
fn put_off_for(code: u16, headers: &http::HeaderMap) -> Option<Duration> {
    let asked = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)?;
    ((code == 429 || code == 503) && asked <= PUT_OFF_MAX).then_some(asked)
}

async fn collect(what: &str, mut body: Body) -> Result<Bytes> {
    let lost = |cause: String| Error::Transport {
        request: what.to_owned(),
        cause: TransportError::Lost { server: "the server".into(), cause },
    };
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|cause| lost(cause.to_string()))?.into_data() else { continue };
        if first.is_empty() && rest.is_empty() {
            first = data;
            continue;
        }
        // Most answers are one frame, which is then not copied.
        rest.extend_from_slice(&std::mem::take(&mut first));
        rest.extend_from_slice(&data);
        if rest.len() > ANSWER_BYTES_MAX {
            return Err(lost(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes")));
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

async fn failure(what: &str, response: http::Response<Body>) -> Error {
    let code = response.status().as_u16();
    match collect(what, response.into_body()).await {
        Ok(bytes) => Error::Status(Box::new(status_of(what, code, &bytes))),
        Err(error) => error,
    }
}

/// The `Status` in a failure's body, or one made from the code when something else (a proxy, a load balancer) answered.
fn status_of(what: &str, code: u16, body: &[u8]) -> Status {
    if let Ok(mut status) = serde_json::from_slice::<Status>(body)
        && status.kind == "Status"
    {
        if status.code == 0 {
            status.code = code;
        }
        return status;
    }
    let reason = match code {
        400 => Reason::BadRequest,
        401 => Reason::Unauthorized,
        403 => Reason::Forbidden,
        404 => Reason::NotFound,
        405 => Reason::MethodNotAllowed,
        406 => Reason::NotAcceptable,
        409 => Reason::Conflict,
        410 => Reason::Gone,
        413 => Reason::RequestEntityTooLarge,
        415 => Reason::UnsupportedMediaType,
        422 => Reason::Invalid,
        429 => Reason::TooManyRequests,
        500 => Reason::InternalError,
        503 => Reason::ServiceUnavailable,
        504 => Reason::Timeout,
        _ => Reason::Unknown,
    };
    let text = String::from_utf8_lossy(body);
    let first_line: String = text.trim().lines().next().unwrap_or("").chars().take(200).collect();
    let said = if first_line.is_empty() { String::new() } else { format!(": {first_line}") };
    let mut status = Status::failure(reason, format!("{what}: the server answered {code}{said}"));
    status.code = code;
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_path() {
        let maps = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
        let roles = Resource::cluster("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole");
        let path = |r: &Resource, ns: &str, n: &str| object_path(r, &ObjectName::namespaced(ns, n));
        assert_eq!(path(&maps, "ns", "a").unwrap(), "/api/v1/namespaces/ns/configmaps/a");
        assert!(path(&roles, "", "system:node").unwrap().ends_with("/clusterroles/system:node"));
        assert!(path(&roles, "", "a b").unwrap().ends_with("/clusterroles/%61%20%62"));
        for bad in ["", "..", "a/b", "a%2fb"] {
            assert!(path(&maps, "ns", bad).is_err(), "{bad}");
        }
        assert!(path(&maps, "../x", "a").is_err());
    }

    #[test]
    fn failures_of_others_become_statuses() {
        let status = status_of("GET /x", 502, b"<html>bad gateway</html>\n");
        assert_eq!((status.code, status.reason), (502, Reason::Unknown));
        assert_eq!(status.message, "GET /x: the server answered 502: <html>bad gateway</html>");
        let body = serde_json::to_vec(&Status::bad_request("no")).unwrap();
        assert_eq!(status_of("GET /x", 400, &body).message, "no");
        assert_eq!(status_of("GET /x", 404, b"").message, "GET /x: the server answered 404");
    }

    #[test]
    fn servers_may_put_off_a_little() {
        let headers = |value: &str| [(header::RETRY_AFTER, value.parse().unwrap())].into_iter().collect();
        assert_eq!(put_off_for(429, &headers("1")), Some(Duration::from_secs(1)));
        assert_eq!(put_off_for(503, &headers("0")), Some(Duration::ZERO));
        assert_eq!(put_off_for(500, &headers("1")), None);
        assert_eq!(put_off_for(429, &headers("3600")), None);
        assert_eq!(put_off_for(429, &http::HeaderMap::new()), None);
    }
}
