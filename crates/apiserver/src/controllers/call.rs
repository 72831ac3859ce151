//! Requests of this crate's own controllers to a space, through the front door.

use crate::{Server, identity::Identity};
use api::{Object, ObjectName, Reason, Resource, SpaceName, Status};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use store::Visibility;

/// Calls one space as one of its controllers.
pub(super) struct Caller<'a> {
    server: &'a Server,
    space: &'a SpaceName,
    identity: Identity,
}

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{method} {path}: {status}")]
    Status { method: Method, path: String, status: Box<Status> },
    #[error("{method} {path}: the answer cannot be read: {cause}")]
    Answer { method: Method, path: String, cause: String },
    #[error("{0}")]
    Sign(String),
    #[error("the store refused: {0}")]
    Commit(String),
    #[error("it ended in a panic, which the log tells of")]
    Panic,
}

impl Failure {
    fn reason(&self) -> Option<Reason> {
        match self {
            Self::Status { status, .. } => Some(status.reason),
            _ => None,
        }
    }
}

impl<'a> Caller<'a> {
    pub(super) fn new(server: &'a Server, space: &'a SpaceName, controller: &str) -> Self {
        Self { server, space, identity: Identity::system(&format!("controller:{controller}")) }
    }

    pub(super) fn space(&self) -> &SpaceName {
        self.space
    }

    /// `None` if the object is not there.
    pub(super) async fn get(&self, resource: &Resource, name: &ObjectName) -> Result<Option<Object>, Failure> {
        absent_is_none(self.send(Method::GET, resource.object_path(name), None, "application/json").await)
    }

    /// All objects of a kind.
    pub(super) async fn list(&self, resource: &Resource) -> Result<Vec<Object>, Failure> {
        let mut list = self.send(Method::GET, resource.collection_path(""), None, "application/json").await?;
        let items = list.0.remove("items").and_then(|items| serde_json::from_value(items).ok());
        Ok(items.unwrap_or_default())
    }

    /// Server-side apply, by force.
    pub(super) async fn apply(&self, path: String, manager: &str, body: &Value) -> Result<(), Failure> {
        let path = format!("{path}?force=true&fieldManager={manager}");
        absent_is_none(self.send(Method::PATCH, path, Some(body.clone()), "application/apply-patch+yaml").await)
            .map(drop)
    }

    /// What is there already stays.
    pub(super) async fn create(&self, resource: &Resource, object: &Object) -> Result<(), Failure> {
        let path = resource.collection_path(object.namespace());
        match self.send(Method::POST, path, Some(json!(object)), "application/json").await {
            Err(failure) if failure.reason() == Some(Reason::AlreadyExists) => Ok(()),
            other => other.map(drop),
        }
    }

    pub(super) async fn put(&self, path: String, body: Value) -> Result<(), Failure> {
        self.send(Method::PUT, path, Some(body), "application/json").await.map(drop)
    }

    /// JSON merge patch; an object that is gone is fine.
    pub(super) async fn merge(&self, path: String, patch: Value) -> Result<(), Failure> {
        absent_is_none(self.send(Method::PATCH, path, Some(patch), "application/merge-patch+json").await).map(drop)
    }

    /// Deletes one incarnation of an object; one that is gone, or another incarnation, is fine.
    pub(super) async fn delete(
        &self,
        resource: &Resource,
        name: &ObjectName,
        uid: &str,
        propagation: &str,
    ) -> Result<(), Failure> {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation,
            "preconditions": {"uid": uid}});
        match self.send(Method::DELETE, resource.object_path(name), Some(options), "application/json").await {
            Err(failure) if matches!(failure.reason(), Some(Reason::NotFound | Reason::Conflict)) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn send(&self, method: Method, path: String, body: Option<Value>, kind: &str) -> Result<Object, Failure> {
        let unreadable = |cause: String| Failure::Answer { method: method.clone(), path: path.clone(), cause };
        let bytes = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = Request::builder()
            .method(method.clone())
            .uri(&path)
            .header(http::header::CONTENT_TYPE, kind)
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::USER_AGENT, "kube-controller-manager")
            .body(bytes)
            .map_err(|error| unreadable(error.to_string()))?;
        let answer = self.server.handle(self.space, self.identity.clone(), Visibility::Appended, request).await;
        let good = answer.status().is_success();
        let body = answer.into_body().collect().await.map_err(|error| unreadable(error.to_string()))?.to_bytes();
        if good {
            return serde_json::from_slice(&body).map_err(|error| unreadable(error.to_string()));
        }
        let status = serde_json::from_slice(&body).map_err(|error| unreadable(error.to_string()))?;
        Err(Failure::Status { method, path, status: Box::new(status) })
    }
}

fn absent_is_none(answer: Result<Object, Failure>) -> Result<Option<Object>, Failure> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(failure) if failure.reason() == Some(Reason::NotFound) => Ok(None),
        Err(failure) => Err(failure),
    }
}
