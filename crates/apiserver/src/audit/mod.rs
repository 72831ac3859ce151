//! The audit log: who asked for what, when, and what came of it (`audit.k8s.io/v1 Event`, a line of JSON each). Only
//! requests from outside are written; without a log none of this runs.

mod log;
mod policy;

pub use log::Rotation;
pub use policy::{Level, Policy};

use crate::identity::{Attributes, Decision, Identity};
use crate::impersonation;
use crate::respond::Body;
use crate::route::{Query, Route, Verb, route};
use crate::subresources::user_info;
use crate::{Server, decode};
use api::{SpaceName, Timestamp};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use log::Log;
use policy::{Asked, Verdict};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// Where a request comes from: an extension of requests that came through the listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Source(pub(crate) IpAddr);

/// An audit log with its policy.
pub struct Audit {
    policy: Policy,
    log: Log,
}

impl Audit {
    /// Opens a log.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn open(policy: Policy, path: &Path, rotation: Rotation) -> std::io::Result<Self> {
        Ok(Self { policy, log: Log::open(path, rotation)? })
    }
}

impl Server {
    /// Writes an audit log from now on; the first one counts.
    pub fn set_audit(&self, audit: Audit) {
        if self.0.audit.set(Arc::new(audit)).is_err() {
            tracing::error!("a second audit log is not taken");
        }
    }

    /// Begins the events of a request, if there are any to be written.
    pub(crate) fn audited(
        &self,
        space: &SpaceName,
        identity: &Identity,
        request: &Request<Bytes>,
        id: &str,
    ) -> Option<Pending> {
        let audit = self.0.audit.get()?;
        let Source(source) = request.extensions().get::<Source>()?;
        let query = Query::parse(request.uri().query().unwrap_or(""));
        let method = request.method().as_str().to_ascii_lowercase();
        let routed = route(request.uri().path());
        let (asked, target) = match &routed {
            Route::Path(path) => (Attributes { verb: &method, path: Some(path), ..Attributes::default() }, None),
            Route::Resource(target) => {
                let verb = Verb::of(request.method(), target, &query).map_or(method.as_str(), |verb| verb.as_str());
                let asked = Attributes {
                    verb,
                    group: &target.group,
                    resource: &target.resource,
                    subresource: &target.subresource,
                    namespace: &target.namespace,
                    name: &target.name,
                    path: None,
                };
                (asked, Some(target))
            }
        };
        let verdict = audit.policy.judge(&Asked {
            user: &identity.user,
            groups: &identity.groups,
            verb: asked.verb,
            group: asked.group,
            resource: asked.resource,
            subresource: asked.subresource,
            namespace: asked.namespace,
            name: asked.name,
            path: asked.path,
        });
        if verdict.level == Level::None {
            return None;
        }
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let mut event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": verdict.level.as_str(), "auditID": id,
            "requestURI": request.uri().path_and_query().map_or("/", |path| path.as_str()), "verb": asked.verb,
            "user": user_info(identity), "sourceIPs": [source.to_string()],
            "requestReceivedTimestamp": self.now().rfc3339_micros(),
        });
        if let Some(agent) = header("user-agent") {
            event["userAgent"] = agent.into();
        }
        if let Some(target) = target {
            let fields = [
                ("resource", &target.resource),
                ("namespace", &target.namespace),
                ("name", &target.name),
                ("apiGroup", &target.group),
                ("apiVersion", &target.version),
                ("subresource", &target.subresource),
            ];
            let filled = fields.into_iter().filter(|(_, text)| !text.is_empty());
            event["objectRef"] =
                filled.map(|(name, text)| (name.to_owned(), json!(text))).collect::<Map<_, _>>().into();
        }
        let mut annotations = Map::from_iter([("kubestellar.io/space".to_owned(), json!(space.as_str()))]);
        let acting = impersonation::wanted(request.headers());
        if let Some(held) = self.space(space) {
            let (decision, reason) = match held.rbac.decide(acting.as_ref().unwrap_or(identity), &asked) {
                Decision::Allow(reason) => ("allow", reason),
                Decision::Deny(reason) => ("forbid", reason),
            };
            annotations.insert("authorization.k8s.io/decision".into(), decision.into());
            annotations.insert("authorization.k8s.io/reason".into(), reason.into());
        }
        let mut pending = Pending {
            server: self.clone(),
            audit: Arc::clone(audit),
            streams: asked.verb == "watch",
            of_resource: target.is_some() && !request.body().is_empty(),
            event,
            verdict,
        };
        pending.write("RequestReceived", self.now());
        if let Some(acting) = acting {
            pending.event["impersonatedUser"] = user_info(&acting);
        }
        pending.event["annotations"] = annotations.into();
        if pending.verdict.level >= Level::Request && pending.of_resource {
            let object = decode::object(request.headers(), request.body(), "").map(|decoded| decoded.value);
            let object = object.or_else(|_| decode::json(request.body()).map(|decoded| decoded.value));
            if let Ok(object) = object {
                pending.event["requestObject"] = pending.trimmed(object);
            }
        }
        Some(pending)
    }
}

/// A request whose end is still to be written.
pub(crate) struct Pending {
    server: Server,
    audit: Arc<Audit>,
    event: Value,
    verdict: Verdict,
    streams: bool,
    of_resource: bool,
}

impl Pending {
    fn write(&self, stage: &str, now: Timestamp) {
        if self.verdict.omit_stages.iter().any(|omitted| omitted == stage) {
            return;
        }
        let mut event = self.event.clone();
        event["stage"] = stage.into();
        let now = now.rfc3339_micros();
        event["stageTimestamp"] = now.as_str().into();
        self.audit.log.write(&event.to_string(), &now);
    }

    /// An object without what the policy leaves out.
    fn trimmed(&self, mut object: Value) -> Value {
        if self.verdict.omit_managed_fields {
            let items = object.get_mut("items").and_then(Value::as_array_mut);
            let metadata = items.into_iter().flatten().filter_map(|item| item.get_mut("metadata"));
            metadata.filter_map(Value::as_object_mut).for_each(|metadata| drop(metadata.remove("managedFields")));
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
        }
        object
    }

    /// Writes how a request ended; of a watch that it has begun, and its end when it ends.
    pub(crate) async fn complete(mut self, response: Response<Body>) -> Response<Body> {
        let code = response.status().as_u16();
        self.event["responseStatus"] = json!({"metadata": {}, "code": code});
        if self.streams && response.body().size_hint().exact().is_none() {
            self.write("ResponseStarted", self.server.now());
            let end = AtEnd(self);
            return response.map(|body| {
                body.map_frame(move |frame| {
                    let _ = &end;
                    frame
                })
                .boxed_unsync()
            });
        }
        let (head, body) = response.into_parts();
        let whole = (code >= 400 || self.verdict.level == Level::RequestResponse) && body.size_hint().exact().is_some();
        if !whole {
            self.write("ResponseComplete", self.server.now());
            return Response::from_parts(head, body);
        }
        let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        if let Ok(object) = serde_json::from_slice::<Value>(&bytes) {
            if object["kind"] == "Status" {
                let mut status = object.clone();
                for field in ["kind", "apiVersion"] {
                    status.as_object_mut().map(|status| status.remove(field));
                }
                self.event["responseStatus"] = status;
            }
            if self.verdict.level == Level::RequestResponse && self.event.get("objectRef").is_some() {
                self.event["responseObject"] = self.trimmed(object);
            }
        }
        self.write("ResponseComplete", self.server.now());
        Response::from_parts(head, Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
    }
}

/// Writes the end of a watch when its body is dropped.
struct AtEnd(Pending);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.write("ResponseComplete", self.0.server.now());
    }
}
