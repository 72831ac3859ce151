//! Parts of objects, and kinds that are asked but never stored.

mod pods;
mod reviews;
mod scale;
mod token;

use crate::admission::{self, Operation, Review};
pub(crate) use reviews::user_info;

use crate::call::Call;
use crate::negotiate::Offer;
use crate::options::WriteOptions;
use crate::present;
use crate::respond::{Body, Result};
use crate::route::Verb;
use crate::server::not_allowed;
use crate::verbs::{self, Part, write};
use api::{Object, Reason, Status};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

/// A request to a part of an object.
pub(crate) async fn dispatch(call: &Call) -> Result<Response<Body>> {
    match (call.target.subresource.as_str(), call.verb) {
        ("status" | "ephemeralcontainers" | "resize", Verb::Get) => verbs::get::get(call).await,
        ("status", Verb::Update) => verbs::update::update(call, Part::Status).await,
        ("status", Verb::Patch) => verbs::patch::patch(call, Part::Status).await,
        ("ephemeralcontainers" | "resize", Verb::Update) => verbs::update::update(call, Part::Main).await,
        ("ephemeralcontainers" | "resize", Verb::Patch) => verbs::patch::patch(call, Part::Main).await,
        ("scale", _) => scale::dispatch(call).await,
        ("finalize", Verb::Update) => finalize(call).await,
        ("approval", Verb::Get) => verbs::get::get(call).await,
        ("approval", Verb::Update) => verbs::update::update(call, Part::Whole).await,
        ("approval", Verb::Patch) => verbs::patch::patch(call, Part::Whole).await,
        ("eviction", Verb::Create) => pods::evict(call).await,
        ("token", Verb::Create) => token::create(call).await,
        ("binding", Verb::Create) => pods::bind(call, &call.target.name).await,
        ("exec" | "attach" | "portforward" | "proxy", _) => {
            connect(call).await?;
            Err(pods::without_host(call).await)
        }
        ("log", _) => Err(pods::without_host(call).await),
        _ => Err(not_served().into()),
    }
}

/// What admission has to say of a connection.
async fn connect(call: &Call) -> Result<()> {
    if !admission::interested(call, Operation::Connect) {
        return Ok(());
    }
    let mut review = Review::new(call, Operation::Connect, false, Value::Null);
    admission::mutate(&mut review).await?;
    admission::validate(&mut review).await
}

/// A request to a kind that is not stored.
pub(crate) async fn unstored(call: &Call) -> Result<Response<Body>> {
    match (&*call.kind.served.plural, call.verb) {
        ("bindings", Verb::Create) => pods::bind(call, "").await,
        ("componentstatuses", Verb::List) => {
            let accepted = call.negotiate(Offer::List)?;
            verbs::empty_list(call, accepted).await
        }
        ("componentstatuses", Verb::Get) => Err(call.not_found().into()),
        (_, Verb::Create) => reviews::review(call).await,
        _ => Err(not_allowed().into()),
    }
}

/// 404 for what discovery lists and this server does not do.
fn not_served() -> Status {
    Status::failure(Reason::NotFound, "the server could not find the requested resource")
}

/// 201 with a `Status` of success.
fn done(call: &Call) -> Result<Response<Body>> {
    let accepted = call.negotiate(Offer::Plain)?;
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(present::document(accepted, StatusCode::CREATED, status.to_string()))
}

/// PUT of `namespaces/NAME/finalize`: the only way to change `spec.finalizers`.
async fn finalize(call: &Call) -> Result<Response<Body>> {
    let accepted = call.negotiate(Offer::Object)?;
    let options = WriteOptions::read("UpdateOptions", &call.query, &call.headers)?;
    let mut draft = write::body(call, options.validation)?;
    write::addressed(call, &mut draft.object)?;
    let asked = draft.object;
    let warnings = draft.warnings;
    let decide = |live: &Object| {
        let mut object = live.clone();
        conditions_of(&asked, &mut object);
        let finalizers = asked.pointer("/spec/finalizers").cloned().unwrap_or_else(|| json!([]));
        let spec = object.0.entry("spec").or_insert_with(|| Value::Object(Map::new()));
        if let Some(spec) = spec.as_object_mut() {
            spec.insert("finalizers".into(), finalizers);
        }
        Ok(write::Decided { object, warnings: warnings.clone(), tracked: true, must_be_conditional: false })
    };
    let written = write::update(call, call.live().await?, Part::Whole, &options, &decide).await?;
    verbs::create::finish(call, accepted, written).await
}

/// Takes over which object and revision a client means.
fn conditions_of(asked: &Object, object: &mut Object) {
    for (field, said) in [("resourceVersion", asked.resource_version()), ("uid", asked.uid())] {
        if said.is_empty() {
            object.metadata_mut().remove(field);
        } else {
            object.set_meta(field, said);
        }
    }
}
