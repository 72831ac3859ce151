//! What policies are asked with: the request in the words of an `AdmissionReview`, the namespace, parameters, and rights.

use super::super::Review;
use crate::Entry;
use crate::call::Call;
use crate::identity::{Attributes as Asked, Decision, Identity};
use api::{LabelSelector, Object};
use machinery::admission::webhook::Place;
use machinery::cel::policy::{Attributes, Binding, Match, Policy};
use machinery::cel::{Authorizer, Question};
use machinery::selector::Selector;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use store::Collection;

type Fields = Map<String, Value>;

/// Parameters that a selector of one binding may find. Each is an evaluation of the whole policy.
const PARAMS_MAX: usize = 100;

/// What is the same for all policies that a write is shown to.
pub(in crate::admission) struct Ask<'c> {
    pub(super) call: &'c Call,
    pub(in crate::admission) request: Fields,
    pub(super) namespace: Option<Fields>,
    pub(in crate::admission) question: Question,
    pub(in crate::admission) rights: Rights<'c>,
    operation: &'static str,
    equivalents: Vec<String>,
}

/// Decides for whoever makes the request, or for a service account.
pub(in crate::admission) struct Rights<'c>(&'c Call);

impl Authorizer for Rights<'_> {
    fn decide(&self, question: &Question) -> (bool, String) {
        let account = question.service_account.as_ref().map(|(namespace, name)| {
            let groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
            Identity::authenticated(format!("system:serviceaccount:{namespace}:{name}"), groups)
        });
        let asked = Asked {
            verb: &question.verb,
            group: &question.group,
            resource: &question.resource,
            subresource: &question.subresource,
            namespace: &question.namespace,
            name: &question.name,
            path: question.path.as_deref(),
        };
        match self.0.space.rbac.decide(account.as_ref().unwrap_or(&self.0.identity), &asked) {
            Decision::Allow(reason) => (true, reason),
            Decision::Deny(reason) => (false, reason),
        }
    }
}

impl<'c> Ask<'c> {
    pub(in crate::admission) fn new(review: &Review<'c>) -> Self {
        let call = review.call;
        let served = &call.kind.served;
        let target = &call.target;
        let kind = json!({"group": &*served.group, "version": &*served.version, "kind": &*served.kind});
        let resource = json!({"group": &*served.group, "version": &*served.version, "resource": &*served.plural});
        let identity = &call.identity;
        let user = json!({"username": identity.user, "uid": identity.uid, "groups": identity.groups,
            "extra": identity.extra});
        let request = json!({
            "kind": kind, "resource": resource, "subResource": target.subresource,
            "requestKind": kind, "requestResource": resource, "requestSubResource": target.subresource,
            "name": review.name(), "namespace": review.namespace(), "operation": review.operation.as_str(),
            "userInfo": user, "dryRun": review.dry_run, "options": review.options,
        });
        let namespace = (served.namespaced && !target.namespace.is_empty()).then_some(target.namespace.as_str());
        let namespace = namespace.and_then(|name| call.store().get(&call.space.key(&"namespaces".into(), "", name)));
        let verb = match review.operation.as_str() {
            "CONNECT" => "create".to_owned(),
            other => other.to_ascii_lowercase(),
        };
        Self {
            call,
            request: match request {
                Value::Object(map) => map,
                _ => Map::new(),
            },
            namespace: namespace.and_then(|entry| serde_json::from_slice(&entry.value).ok()),
            question: Question {
                verb,
                group: served.group.to_string(),
                resource: served.plural.to_string(),
                subresource: target.subresource.clone(),
                namespace: target.namespace.clone(),
                name: review.name().to_owned(),
                ..Question::default()
            },
            rights: Rights(call),
            operation: review.operation.as_str(),
            equivalents: equivalents(call),
        }
    }

    /// The same as it is told at another version of the resource; `requestKind` and `requestResource` stay.
    pub(in crate::admission) fn at(mut self, place: &Place) -> Self {
        let (group, version) = (&place.group, &place.version);
        self.request.insert("kind".into(), json!({"group": group, "version": version, "kind": place.kind}));
        self.request.insert("resource".into(), json!({"group": group, "version": version, "resource": place.plural}));
        self
    }

    /// Whether rules and selectors are about the write.
    ///
    /// # Errors
    /// If a selector is none.
    pub(super) fn covered(&self, constraints: &Match, review: &Review<'_>) -> Result<bool, String> {
        let served = &self.call.kind.served;
        let write = Attributes {
            operation: self.operation,
            group: &served.group,
            version: &served.version,
            resource: &served.plural,
            subresource: &self.call.target.subresource,
            name: review.name(),
            namespaced: served.namespaced,
            equivalents: &self.equivalents,
        };
        if !constraints.covers(&write) {
            return Ok(false);
        }
        if let Some(selector) = &constraints.namespaces {
            let selector = compiled(selector)?;
            let own = || review.object.as_ref().or(review.old).map(|object| &object.0);
            let namespace = if &*self.call.kind.collection == "namespaces" { own() } else { self.namespace.as_ref() };
            // What is in no namespace is not narrowed by their labels.
            if let Some(namespace) = namespace
                && !selects(&selector, namespace)
            {
                return Ok(false);
            }
        }
        if let Some(selector) = &constraints.objects {
            let selector = compiled(selector)?;
            let either = [review.object.as_ref(), review.old];
            return Ok(either.into_iter().flatten().any(|object| selects(&selector, &object.0)));
        }
        Ok(true)
    }

    /// The parameters that a binding gives its policy: one evaluation for each, without any if the policy takes none.
    ///
    /// # Errors
    /// If they are not to be found, and must be.
    pub(super) fn params(&self, policy: &Policy, binding: &Binding) -> Result<Vec<Option<Fields>>, String> {
        let (Some((version, kind)), Some(wanted)) = (&policy.param_kind, &binding.params) else {
            return Ok(vec![None]);
        };
        let unknown = || format!("paramKind kind `{version}, Kind={kind}` not known");
        let (collection, namespaced) = self.collection_of(version, kind).ok_or_else(unknown)?;
        let namespace = match (namespaced, wanted.namespace.as_str(), self.call.target.namespace.as_str()) {
            (false, "", _) => "",
            (false, ..) => {
                return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
            }
            (true, "", "") => {
                let why = "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
                return Err(why.into());
            }
            (true, "", own) => own,
            (true, given, _) => given,
        };
        let mut found: Vec<Fields> = Vec::new();
        let read = |entry: &Entry| {
            let mut fields: Fields = serde_json::from_slice(&entry.value).unwrap_or_default();
            fields.insert("apiVersion".into(), version.as_str().into());
            fields.insert("kind".into(), kind.as_str().into());
            fields
        };
        if !wanted.name.is_empty() {
            found.extend(
                self.call.store().get(&self.call.space.key(&collection, namespace, &wanted.name)).map(|e| read(&e)),
            );
        } else if let Some(selector) = &wanted.selector {
            let selector = compiled(selector)?;
            let within = Some(namespace).filter(|namespace| !namespace.is_empty());
            let collection = Collection { space: self.call.space.prefix.clone(), resource: collection };
            let page = self.call.store().page(&collection, within, None, usize::MAX, None);
            let entries = page.map(|page| page.entries).unwrap_or_default();
            let selected = entries.iter().filter(|entry| selector.matches_by(|key| entry.meta.label(key)));
            found.extend(selected.take(PARAMS_MAX).map(|entry| read(entry)));
        }
        if found.is_empty() && !wanted.may_be_missing {
            return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
        }
        Ok(found.into_iter().map(Some).collect())
    }

    /// Where objects of a kind are stored, and whether they are in namespaces.
    fn collection_of(&self, version: &str, kind: &str) -> Option<(Arc<str>, bool)> {
        let builtin = crate::builtin::kinds().iter();
        let builtin = builtin.filter(|row| !row.collection.is_empty());
        let mut builtin = builtin.map(|row| (&row.served, &*row.collection));
        let wanted = |served: &crate::discovery::ServedKind| served.api_version() == version && served.kind == kind;
        if let Some((served, collection)) = builtin.find(|(served, _)| wanted(served)) {
            return Some((collection.into(), served.namespaced));
        }
        let customs = self.call.space.customs(self.call.store());
        let found = customs.kinds().find(|kind| wanted(&kind.served))?;
        Some((Arc::clone(&found.collection), found.served.namespaced))
    }
}

/// Versions in which the resource of a request is served.
fn equivalents(call: &Call) -> Vec<String> {
    let own = &call.kind.served;
    let same = |served: &crate::discovery::ServedKind| served.group == own.group && served.plural == own.plural;
    if call.kind.custom.is_some() {
        let customs = call.space.customs(call.store());
        return customs.kinds().filter(|kind| same(&kind.served)).map(|kind| kind.served.version.to_string()).collect();
    }
    let rows = crate::builtin::kinds().iter().filter(|row| same(&row.served));
    rows.map(|row| row.served.version.to_string()).collect()
}

fn compiled(selector: &Value) -> Result<Selector, String> {
    let read: LabelSelector = serde_json::from_value(selector.clone()).map_err(|error| error.to_string())?;
    Selector::compile(&read, "")
        .map_err(|causes| causes.into_iter().map(|cause| cause.message).collect::<Vec<_>>().join(", "))
}

fn selects(selector: &Selector, object: &Fields) -> bool {
    let labels = object.get("metadata").and_then(|metadata| metadata.get("labels"));
    selector.matches_by(|key| labels?.get(key)?.as_str())
}

/// The fields of an object, where there is one.
pub(in crate::admission) fn fields(object: Option<&Object>) -> Option<&Fields> {
    object.map(|object| &object.0)
}
