//! Spaces over one store, and the way of a request through a space.

use crate::authz::{Admitted, Asked};
use crate::call::{Call, Warnings, unavailable};
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::respond::{self, Body, Result};
use crate::space::Space;
use crate::tokens::TokenKey;
use crate::{
    Store, api_services, encode, flowcontrol, identity, negotiate, openapi, paths, priorities, services, verbs,
};
use api::{Reason, SpaceName, Status, Timestamp};
use bytes::Bytes;
use clock::SharedClock;
use futures_util::FutureExt;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response};
use http_body::Body as _;
use parking_lot::{Mutex, RwLock};
use pki::{Authority, Subject, Usage};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use store::{Collection, Engine, Expect, Key, Limits, Revision, Visibility, Write};
use tokio_util::sync::CancellationToken;

/// The space of the records of spaces. It is not one that a request can reach: its name is none.
const INTERNAL: &str = "/internal";
const SPACES: &str = "spaces";

/// The space that is seen where there is none: no space can have this name.
const NOWHERE: &str = "/nowhere";

/// Namespaces that every space has from the beginning.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// How long the authority of a space, and an administrator's certificate, are valid: ten years, as KubeFlex has it.
const VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a server is made of.
pub struct Config {
    /// Makes the store durable.
    pub engine: Box<dyn Engine>,
    /// Limits of the store; its clock is the server's.
    pub limits: Limits,
    /// Where clients reach the server: `https://127.0.0.1:9443`.
    pub advertised: String,
    /// PEM of the authority that signed the serving certificate, for kubeconfigs.
    pub serving_authority: String,
    /// The space that is served at the root.
    pub hosting: SpaceName,
}

/// Why a server could not be opened, or a space not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Error {
    #[error("cannot open the store")]
    Store(#[from] store::OpenError),
    #[error("the record of space {0} cannot be read")]
    Record(String),
    #[error("space {0:?} is not a name: it must be a lower-case DNS label")]
    Name(String),
    #[error("there is no space {0}")]
    NoSuchSpace(String),
    #[error("cannot make the certificates of space {space}")]
    Certificates {
        space: SpaceName,
        #[source]
        source: pki::Error,
    },
    #[error("cannot make the keys of space {0}: the machine's random source fails")]
    Random(SpaceName),
    #[error("cannot write space {0}: {1}")]
    Write(SpaceName, String),
}

/// How a space is reached by its administrator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpaceAccess {
    /// Such as `https://127.0.0.1:9443/spaces/wds1`.
    pub server_url: String,
    /// PEM of the authority that signed the serving certificate.
    pub authority: String,
    /// PEM of a client certificate in group `system:masters`.
    pub certificate: String,
    /// PEM of its key.
    pub key: String,
}

/// Spaces over one store. Cheap to clone.
#[derive(Clone)]
pub struct Server(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) clock: SharedClock,
    pub(crate) advertised: String,
    serving_authority: String,
    hosting: SpaceName,
    spaces: RwLock<BTreeMap<SpaceName, Arc<Space>>>,
    /// Held while a space is made or removed.
    space_writes: Mutex<()>,
    pub(crate) metrics: Metrics,
    /// OpenAPI documents that were asked for lately.
    pub(crate) documents: openapi::Cache,
    /// Ends tasks and watches.
    pub(crate) end: CancellationToken,
    pub(crate) guard: std::sync::OnceLock<Box<dyn crate::guard::Guard>>,
    pub(crate) addresses: RwLock<crate::addresses::Addresses>,
    /// Where requests are written to, if they are.
    pub(crate) audit: std::sync::OnceLock<Arc<crate::audit::Audit>>,
    /// The memory for request bodies.
    pub(crate) bodies: crate::body::Bodies,
    /// An empty space, which those without credentials see wherever there is none.
    pub(crate) nowhere: Arc<Space>,
}

impl Server {
    /// Opens the store and the spaces that are recorded in it.
    ///
    /// # Errors
    /// If the store cannot be opened, or a record in it cannot be read.
    pub fn open(config: Config) -> Result<Self, Error> {
        let clock = config.limits.clock.clone();
        let end = CancellationToken::new();
        let store = Store::open(config.engine, config.limits)?;
        let mut spaces = BTreeMap::new();
        let url = |name: &SpaceName| format!("{}/spaces/{name}", config.advertised);
        let records = store.page(&Collection::new(INTERNAL, SPACES), None, None, usize::MAX, None);
        for entry in records.expect("the present is never compacted").entries {
            let mut record: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
            let authority = serde_json::from_value(record["authority"].clone());
            let authority: Authority = authority.map_err(|_| Error::Record(entry.key.name.to_string()))?;
            let tokens = record["tokens"].as_str().and_then(TokenKey::from_text);
            let tokens = tokens.ok_or_else(|| Error::Record(entry.key.name.to_string()))?;
            let name = SpaceName::from(&*entry.key.name);
            let issuer = match record["issuer"].as_str() {
                Some(issuer) => issuer.to_owned(),
                None => {
                    // Of a server that did not keep it: it is what it would have been, and stays so from now on.
                    let issuer = url(&name);
                    record["issuer"] = issuer.as_str().into();
                    let object = record.as_object().expect("a record with an authority is an object");
                    let kept = store.commit(entry.key.clone(), Expect::Any, Write::Put(encode::stamped(object)));
                    kept.map_err(|error| Error::Write(name.clone(), error.to_string()))?;
                    issuer
                }
            };
            spaces
                .insert(name.clone(), Arc::new(Space::new(&store, name, authority, tokens, issuer, end.child_token())));
        }
        // What a deletion, or a creation, that a crash cut short has left behind.
        for held in store.spaces() {
            if &*held != INTERNAL && !spaces.contains_key(&SpaceName::from(&*held)) {
                store.drop_space(&held).map_err(|closed| Error::Write(SpaceName::from(&*held), closed.to_string()))?;
            }
        }
        let nowhere = Arc::new(nowhere(&store, clock.now(), end.child_token())?);
        for space in spaces.values() {
            crate::rbac::inherited::reconcile(&store, space, clock.now());
        }
        let server = Self(Arc::new(Inner {
            store,
            clock,
            advertised: config.advertised,
            serving_authority: config.serving_authority,
            hosting: config.hosting,
            spaces: RwLock::new(spaces),
            space_writes: Mutex::new(()),
            metrics: Metrics::default(),
            documents: openapi::Cache::default(),
            end,
            guard: std::sync::OnceLock::new(),
            addresses: RwLock::default(),
            audit: std::sync::OnceLock::new(),
            bodies: crate::body::Bodies::new(crate::body::BODIES_BYTES_MAX),
            nowhere,
        }));
        Ok(server)
    }

    /// Makes a space with its system namespaces, unless it is there.
    ///
    /// # Errors
    /// If `name` is no DNS label, or the store takes no writes.
    pub fn create_space(&self, name: &SpaceName) -> Result<SpaceAccess, Error> {
        if !machinery::name::dns_label(name.as_str()).is_empty() {
            return Err(Error::Name(name.to_string()));
        }
        let writes = self.0.space_writes.lock();
        if !self.has_space(name) {
            let common_name = format!("{}{name}", crate::authn::AUTHORITY_PREFIX);
            let authority = Authority::generate(&common_name, self.now(), VALIDITY)
                .map_err(|source| Error::Certificates { space: name.clone(), source })?;
            let tokens = TokenKey::generate().ok_or_else(|| Error::Random(name.clone()))?;
            // What a space of this name may have left behind: a deletion that a crash cut short.
            self.drop_keys(name)?;
            let metadata = json!({"name": name.as_str(), "creationTimestamp": self.now().to_string()});
            let issuer = self.url(name);
            let record = json!({"apiVersion": "internal/v1", "kind": "Space", "metadata": metadata, "authority": authority,
                "tokens": tokens.to_text(), "issuer": issuer});
            let end = self.0.end.child_token();
            let space = Arc::new(Space::new(&self.0.store, name.clone(), authority, tokens, issuer, end));
            self.write_namespaces(&space)?;
            self.put(name, Key::new(Collection::new(INTERNAL, SPACES), "", name.as_str()), &record)?;
            self.0.spaces.write().entry(name.clone()).or_insert(space);
        }
        drop(writes);
        self.access(name)
    }

    fn write_namespaces(&self, space: &Space) -> Result<(), Error> {
        for namespace in NAMESPACES {
            let object = json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": namespace, "uid": crate::random::uid(), "creationTimestamp": self.now().to_string(),
                    "labels": {"kubernetes.io/metadata.name": namespace}},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
            self.put(&space.name, space.key(&"namespaces".into(), "", namespace), &object)?;
        }
        Ok(())
    }

    fn put(&self, space: &SpaceName, key: Key, object: &Value) -> Result<Revision, Error> {
        let object = object.as_object().expect("records are objects");
        let written = self.0.store.commit(key, Expect::Any, Write::Put(encode::stamped(object)));
        written.map(|committed| committed.revision).map_err(|error| Error::Write(space.clone(), error.to_string()))
    }

    /// Removes a space with everything in it. Its requests and watches end.
    ///
    /// # Errors
    /// If there is no such space, or the store takes no writes. A space whose record the store refused to remove is
    /// there as before, and its deletion can be asked again.
    pub fn delete_space(&self, name: &SpaceName) -> Result<(), Error> {
        let _writes = self.0.space_writes.lock();
        let space = self.space(name).ok_or_else(|| Error::NoSuchSpace(name.to_string()))?;
        // The record goes first, as it is what may be refused (too much waits for the disk): nothing has happened then.
        // The removal of keys is never refused for that; what a crash leaves of them goes when the server is opened.
        let key = Key::new(Collection::new(INTERNAL, SPACES), "", name.as_str());
        let record = encode::stamped(&Map::new());
        let removed = self.0.store.commit(key, Expect::Any, Write::Delete(record));
        removed.map_err(|error| Error::Write(name.clone(), error.to_string()))?;
        self.0.spaces.write().remove(name);
        space.end.cancel();
        self.drop_keys(name)
    }

    fn drop_keys(&self, name: &SpaceName) -> Result<(), Error> {
        let dropped = self.0.store.drop_space(name.as_str());
        dropped.map(drop).map_err(|closed| Error::Write(name.clone(), closed.to_string()))
    }

    /// All spaces, by name.
    pub fn spaces(&self) -> Vec<SpaceName> {
        self.0.spaces.read().keys().cloned().collect()
    }

    /// Whether there is such a space.
    pub fn has_space(&self, name: &SpaceName) -> bool {
        self.0.spaces.read().contains_key(name)
    }

    /// The space that is served at the root.
    pub fn hosting_space(&self) -> SpaceName {
        self.0.hosting.clone()
    }

    /// The authority that signs the client certificates of a space.
    pub fn authority(&self, name: &SpaceName) -> Option<Authority> {
        self.space(name).map(|space| space.authority.clone())
    }

    /// How a space is reached, with a new certificate for an administrator.
    ///
    /// # Errors
    /// If there is no such space, or its authority cannot sign.
    pub fn access(&self, name: &SpaceName) -> Result<SpaceAccess, Error> {
        let space = self.space(name).ok_or_else(|| Error::NoSuchSpace(name.to_string()))?;
        let subject = Subject { common_name: "kubernetes-admin".into(), organizations: vec![identity::MASTERS.into()] };
        let (certificate, key) = space
            .authority
            .issue_with_key(&subject, &[], Usage::Client, self.now(), VALIDITY)
            .map_err(|source| Error::Certificates { space: name.clone(), source })?;
        let server_url = self.url(name);
        Ok(SpaceAccess { server_url, authority: self.0.serving_authority.clone(), certificate, key })
    }

    /// Where a space is reached.
    pub fn url(&self, name: &SpaceName) -> String {
        self.own_url(name).unwrap_or_else(|| format!("{}/spaces/{name}", self.0.advertised))
    }

    /// PEM of the authority that signed the serving certificate.
    pub fn serving_authority(&self) -> &str {
        &self.0.serving_authority
    }

    /// The time, by the server's clock.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The store below, for controllers that run beside the spaces.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Ends watches and background tasks, and closes the store.
    pub async fn close(&self) {
        self.0.end.cancel();
        self.0.store.close().await;
    }

    pub(crate) fn space(&self, name: &SpaceName) -> Option<Arc<Space>> {
        self.0.spaces.read().get(name).cloned()
    }

    /// Answers one request to a space.
    pub async fn handle(
        &self,
        space: &SpaceName,
        identity: Identity,
        visibility: Visibility,
        request: Request<Bytes>,
    ) -> Response<Body> {
        self.handle_admitted(space, identity, visibility, request, None).await
    }

    /// As [`Server::handle`], for a request that may have been admitted before its body was read.
    pub(crate) async fn handle_admitted(
        &self,
        space: &SpaceName,
        identity: Identity,
        visibility: Visibility,
        request: Request<Bytes>,
        admitted: Option<Admitted>,
    ) -> Response<Body> {
        let audit = request.headers().get("audit-id").cloned();
        let head_only = request.method() == Method::HEAD;
        let audit = audit.or_else(|| HeaderValue::from_str(&crate::random::uid()).ok());
        let id = audit.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
        let protobuf = negotiate::wants_protobuf(request.headers());
        let pending = self.audited(space, &identity, &request, id);
        let answered = self.answer(space, identity, visibility, request, admitted);
        let answered = AssertUnwindSafe(answered).catch_unwind().await;
        let mut response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(failure)) => respond::status_in(&failure, protobuf),
            Err(_) => respond::status(&Status::internal("the request ended in a panic, which the log tells of")),
        };
        if let Some(pending) = pending {
            response = pending.complete(response).await;
        }
        let headers = response.headers_mut();
        if let Some(mut audit) = audit {
            // It is another one each time: HTTP/2 would push what does repeat out of its table of headers.
            audit.set_sensitive(true);
            headers.insert(HeaderName::from_static("audit-id"), audit);
        }
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        }
        self.0.metrics.answered(response.status());
        if !head_only {
            return response;
        }
        // A HEAD tells how long the answer of a GET is.
        if let Some(bytes) = response.body().size_hint().exact() {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
        }
        response.map(|_| respond::whole(Bytes::new()))
    }

    async fn answer(
        &self,
        name: &SpaceName,
        identity: Identity,
        visibility: Visibility,
        request: Request<Bytes>,
        admitted: Option<Admitted>,
    ) -> Result<Response<Body>> {
        let (head, body) = request.into_parts();
        // The space may have gone while the body came.
        let admitted = admitted.filter(|admitted| !admitted.space.end.is_cancelled());
        let Admitted { space, identity, query, asked } = match admitted {
            Some(admitted) => admitted,
            None => self.admit(name, identity, &head)?,
        };
        let (target, kind, verb) = match asked {
            Asked::Path(path) => return paths::answer(self, &space, &path, &head, &query).await,
            Asked::Resource(target, None) if !paths::is_built_in(&target.group) => {
                return Ok(respond::no_such_path());
            }
            Asked::Resource(_, None) => return Err(respond::no_such_resource()),
            Asked::Resource(target, Some((kind, verb))) => (target, kind, verb),
        };
        if target.group == flowcontrol::GROUP {
            flowcontrol::ensure(self, &space).await?;
        }
        if target.group == api_services::GROUP {
            api_services::ensure(self, &space).await?;
        }
        if target.group == priorities::GROUP {
            priorities::ensure(self, &space).await?;
        }
        services::own::ensure(self, &space, &target).await?;
        let headers = head.headers;
        crate::options::check_timeout(&query)?;
        let warnings = Warnings::default();
        let call = Call {
            server: self.clone(),
            space,
            identity,
            visibility,
            kind,
            target,
            verb,
            query,
            headers,
            body,
            warnings: warnings.clone(),
        };
        let protobuf = negotiate::wants_protobuf(&call.headers);
        let (store, outside) = (self.0.store.clone(), visibility == Visibility::Durable);
        let answered = verbs::dispatch(call).await;
        if answered.is_err() && outside {
            // A refusal tells of what is held, or of what is gone: that, too, must survive a crash.
            store.durable(store.head()).await.map_err(|closed| unavailable(&closed))?;
        }
        // Warnings are for the refused as well.
        let mut response = answered.unwrap_or_else(|failure| respond::status_in(&failure, protobuf));
        respond::warn(&mut response, &warnings.all());
        Ok(response)
    }
}

/// A space that nobody made, and nobody can write to.
fn nowhere(store: &Store, now: Timestamp, end: CancellationToken) -> Result<Space, Error> {
    let name = SpaceName::from(NOWHERE);
    let authority = Authority::generate(NOWHERE, now, VALIDITY);
    let authority = authority.map_err(|source| Error::Certificates { space: name.clone(), source })?;
    let tokens = TokenKey::generate().ok_or_else(|| Error::Random(name.clone()))?;
    Ok(Space::new(store, name, authority, tokens, String::new(), end))
}

/// 405 in the stock server's words.
pub(crate) fn not_allowed() -> Status {
    Status::generic(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource")
}
