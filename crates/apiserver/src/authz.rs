//! Who asks for what, and whether they may: all that is decided of a request before its body is read.

use crate::identity::{self, Attributes, Identity, refusal};
use crate::impersonation::impersonated;
use crate::registry::Kind;
use crate::respond::{Failure, Result};
use crate::route::{Query, Route, Target, Verb, route};
use crate::selection::Selection;
use crate::server::{Server, not_allowed};
use crate::space::Space;
use api::{GroupResource, Reason, SpaceName, Status};
use http::Method;
use http::request::Parts;
use std::sync::Arc;

/// A request that may be carried out.
pub(crate) struct Admitted {
    pub(crate) space: Arc<Space>,
    pub(crate) identity: Identity,
    pub(crate) query: Query,
    pub(crate) asked: Asked,
}

/// What is asked for.
pub(crate) enum Asked {
    /// No resource.
    Path(String),
    /// A resource; without a kind it is not served.
    Resource(Target, Option<(Arc<Kind>, Verb)>),
}

impl Server {
    /// Who asks for what, if they may: 401, 403 or 405 otherwise. What is not served is told to those only who could ask
    /// for it if it were.
    pub(crate) fn admit(&self, name: &SpaceName, identity: Identity, head: &Parts) -> Result<Admitted> {
        let stranger = identity.is_in(identity::UNAUTHENTICATED);
        let space = self.space(name).or_else(|| stranger.then(|| Arc::clone(&self.0.nowhere)));
        let space =
            space.ok_or_else(|| Status::failure(Reason::NotFound, format!("there is no space {:?}", name.as_str())))?;
        let query = Query::parse(head.uri.query().unwrap_or(""));
        let (identity, asked) = match route(head.uri.path()) {
            Route::Path(path) => {
                let verb = head.method.as_str().to_ascii_lowercase();
                let asked = Attributes { verb: &verb, path: Some(&path), ..Attributes::default() };
                let identity = impersonated(&space, identity, &head.headers, &asked)?;
                authorize(&space, &identity, &asked)?;
                (identity, Asked::Path(path))
            }
            Route::Resource(target) => {
                let kind = space.kind(&self.0.store, &target.group, &target.version, &target.resource);
                let verb = Verb::of(&head.method, &target, &query);
                let judged = (&target, verb, &head.method);
                let identity = authorize_target(&space, identity, head, judged, kind.as_deref(), &query)?;
                match (kind, verb) {
                    (Some(_), None) => return Err(not_allowed().into()),
                    (kind, verb) => (identity, Asked::Resource(target, kind.zip(verb))),
                }
            }
        };
        Ok(Admitted { space, identity, query, asked })
    }
}

/// Who a request is to be answered as; 403 unless they may do what it asks of a resource. `kind` is `None` for one that is not served.
fn authorize_target(
    space: &Space,
    identity: Identity,
    head: &Parts,
    (target, verb, method): (&Target, Option<Verb>, &Method),
    kind: Option<&Kind>,
    query: &Query,
) -> Result<Identity> {
    let fields = query.get("fieldSelector").unwrap_or("");
    // Only to find a name: what is wrong with the selector is said by the verb.
    let selected = kind.filter(|_| !fields.is_empty()).and_then(|kind| Selection::parse(kind, "", fields).ok());
    let name = match verb {
        Some(verb) => asked_name(target, verb, selected.as_ref().and_then(Selection::name)),
        None => &target.name,
    };
    let method = method.as_str().to_ascii_lowercase();
    // A namespace is in itself, as far as rights go.
    let is_namespace = target.group.is_empty() && target.resource == "namespaces";
    let asked = Attributes {
        verb: verb.map_or(method.as_str(), |verb| verb.as_str()),
        group: &target.group,
        resource: &target.resource,
        subresource: &target.subresource,
        namespace: if is_namespace { &target.name } else { &target.namespace },
        name,
        path: None,
    };
    let identity = impersonated(space, identity, &head.headers, &asked)?;
    authorize(space, &identity, &asked)?;
    Ok(identity)
}

/// 403 unless a rule of the space allows what is asked.
pub(crate) fn authorize(space: &Space, identity: &Identity, asked: &Attributes<'_>) -> Result<()> {
    match space.rbac.decide(identity, asked) {
        identity::Decision::Allow(_) => Ok(()),
        identity::Decision::Deny(why) => {
            let mut cause = refusal(identity, asked);
            if !why.is_empty() {
                cause = format!("{cause}: {why}");
            }
            let resource = GroupResource { group: asked.group.into(), resource: asked.resource.into() };
            let status = match asked.path {
                Some(_) => Status {
                    details: Some(Box::default()),
                    ..Status::failure(Reason::Forbidden, format!("forbidden: {cause}"))
                },
                None => Status::forbidden(&resource, asked.name, cause),
            };
            Err(Failure::from(status))
        }
    }
}

/// The name that a request is about, as authorization sees it: that of the path, or of the field selector.
fn asked_name<'a>(target: &'a Target, verb: Verb, selected: Option<&'a str>) -> &'a str {
    match verb {
        Verb::List | Verb::Watch if target.name.is_empty() => selected.unwrap_or(""),
        _ => &target.name,
    }
}
