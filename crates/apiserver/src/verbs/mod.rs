//! What can be asked of a resource, one file for each verb.

mod admit;
pub(crate) mod create;
mod delete;
mod escalation;
pub(crate) mod fields;
pub(crate) mod get;
mod list;
mod metadata;
pub(crate) mod patch;
pub(crate) mod update;
pub(crate) mod write;

pub(crate) use delete::{delete_all, remove};
pub(crate) use list::empty as empty_list;
pub(crate) use write::Part;

use crate::call::Call;
use crate::discovery;
use crate::respond::{self, Body, Result};
use crate::route::Verb;
use crate::server::not_allowed;
use crate::watch;
use http::Response;

/// Built-in collections that whoever uses them is warned of.
const DEPRECATED: [(&str, &str); 2] = [
    ("endpoints", "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
    ("componentstatuses", "v1 ComponentStatus is deprecated in v1.19+"),
];

/// Carries out an authorized request.
pub(crate) async fn dispatch(call: Call) -> Result<Response<Body>> {
    let served = &call.kind.served;
    let target = &call.target;
    // The scope of the path must be that of the kind.
    if (served.namespaced && target.namespace.is_empty() && !target.name.is_empty() && call.verb != Verb::Watch)
        || (!served.namespaced && !target.namespace.is_empty())
    {
        if call.kind.custom.is_some() {
            return Ok(respond::no_such_path());
        }
        return Err(respond::no_such_resource());
    }
    // All namespaces can only be read, and only an object can be changed.
    let everywhere = served.namespaced && target.namespace.is_empty();
    let whole_collection = target.name.is_empty() && matches!(call.verb, Verb::Update | Verb::Patch);
    if (everywhere && matches!(call.verb, Verb::Create | Verb::DeleteCollection)) || whole_collection {
        if everywhere && call.kind.custom.is_some() {
            return Ok(respond::no_such_path());
        }
        return Err(not_allowed().into());
    }
    let verbs = if target.subresource.is_empty() {
        served.verbs
    } else {
        match served.subresource(&target.subresource) {
            Some(subresource) => subresource.verbs,
            None => return Err(respond::no_such_resource()),
        }
    };
    if !verbs.contains(discovery_verb(call.verb)) {
        return Err(not_allowed().into());
    }
    if let Some((_, warning)) = DEPRECATED.iter().find(|(collection, _)| *collection == &*call.kind.collection) {
        call.warnings.add(*warning);
    }
    let warning = call.kind.custom.as_ref().and_then(|custom| custom.warning.clone());
    let mut response = match (call.verb, target.subresource.as_str()) {
        (_, sub) if !sub.is_empty() => crate::subresources::dispatch(&call).await?,
        _ if call.kind.collection.is_empty() => crate::subresources::unstored(&call).await?,
        (Verb::Get, _) => get::get(&call).await?,
        (Verb::List, _) => list::list(&call).await?,
        (Verb::Watch, _) => watch::watch(&call).await?,
        (Verb::Create, _) => create::create(&call).await?,
        (Verb::Update, _) => update::update(&call, write::Part::Main).await?,
        (Verb::Patch, _) => patch::patch(&call, write::Part::Main).await?,
        (Verb::Delete, _) => delete::delete(&call).await?,
        (Verb::DeleteCollection, _) => delete::delete_collection(&call).await?,
    };
    if let Some(warning) = warning {
        respond::warn(&mut response, &[warning]);
    }
    Ok(response)
}

fn discovery_verb(verb: Verb) -> discovery::Verb {
    match verb {
        Verb::Get => discovery::Verb::Get,
        Verb::List => discovery::Verb::List,
        Verb::Watch => discovery::Verb::Watch,
        Verb::Create => discovery::Verb::Create,
        Verb::Update => discovery::Verb::Update,
        Verb::Patch => discovery::Verb::Patch,
        Verb::Delete => discovery::Verb::Delete,
        Verb::DeleteCollection => discovery::Verb::DeleteCollection,
    }
}
