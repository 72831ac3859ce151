//! `/scale`: the number of replicas of anything, as an `autoscaling/v1` Scale.

use super::conditions_of;
use crate::Entry;
use crate::call::Call;
use crate::decode;
use crate::negotiate::Offer;
use crate::options::{WriteOptions, cause};
use crate::present;
use crate::respond::{self, Body, Result};
use crate::route::Verb;
use crate::verbs::patch::Patch;
use crate::verbs::{Part, write};
use api::{LabelSelector, Object, Status};
use http::{Response, StatusCode};
use machinery::selector::Selector;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Where the numbers of a kind are, as the names on the way.
struct Places {
    spec: Vec<String>,
    status: Vec<String>,
    selector: Option<Vec<String>>,
}

fn places(call: &Call) -> Places {
    let words = |path: &str| path.trim_start_matches('.').split('.').map(str::to_owned).collect();
    match call.kind.custom.as_ref().and_then(|custom| custom.scale.as_ref()) {
        Some(scale) => Places {
            spec: words(&scale.spec_replicas),
            status: words(&scale.status_replicas),
            selector: scale.selector.as_deref().map(words),
        },
        None => Places {
            spec: words("spec.replicas"),
            status: words("status.replicas"),
            selector: Some(words("spec.selector")),
        },
    }
}

fn at<'a>(object: &'a Object, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(object.0.get(first)?, |value, name| value.get(name))
}

/// The selector as text, which autoscalers use as it is.
fn selector_text(value: &Value) -> String {
    if let Some(text) = value.as_str() {
        return text.to_owned();
    }
    let whole = LabelSelector::deserialize(value)
        .ok()
        .filter(|_| value.get("matchLabels").is_some() || value.get("matchExpressions").is_some());
    // A ReplicationController's selector is a plain map of labels.
    let selector = whole.or_else(|| {
        let match_labels = serde_json::from_value(value.clone()).ok()?;
        Some(LabelSelector { match_labels, match_expressions: Vec::new() })
    });
    let compiled = selector.and_then(|selector| Selector::compile(&selector, "spec.selector").ok());
    compiled.map(|selector| selector.to_string()).unwrap_or_default()
}

/// The Scale of an object.
fn scale_of(call: &Call, object: &Object) -> Object {
    let places = places(call);
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.meta(field) {
            metadata.insert(field.into(), value.clone());
        }
    }
    let mut status = Map::new();
    status.insert("replicas".into(), at(object, &places.status).cloned().unwrap_or_else(|| json!(0)));
    let selector = places.selector.and_then(|path| at(object, &path).map(selector_text));
    if let Some(selector) = selector.filter(|text| !text.is_empty()) {
        status.insert("selector".into(), selector.into());
    }
    let mut spec = Map::new();
    if let Some(replicas) = at(object, &places.spec).filter(|replicas| **replicas != json!(0)) {
        spec.insert("replicas".into(), replicas.clone());
    }
    let scale =
        json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status});
    match scale {
        Value::Object(map) => Object(map),
        _ => unreachable!("written as an object above"),
    }
}

/// The object with the replicas that a Scale asks for.
fn scaled(call: &Call, live: &Object, scale: &Object) -> Result<Object> {
    let replicas = match scale.pointer("/spec/replicas") {
        None | Some(Value::Null) => 0,
        Some(value) => value.as_i64().ok_or_else(|| {
            Status::bad_request(
                "Scale in version \"v1\" cannot be handled as a Scale: spec.replicas must be an integer",
            )
        })?,
    };
    if replicas < 0 {
        let message = format!("Invalid value: {replicas}: must be greater than or equal to 0");
        let causes = vec![cause("FieldValueInvalid", "spec.replicas", message)];
        return Err(Status::invalid("autoscaling", "Scale", &call.target.name, causes).into());
    }
    let mut object = live.clone();
    conditions_of(scale, &mut object);
    let path = places(call).spec;
    let Some((last, above)) = path.split_last() else { return Ok(object) };
    let mut slot = &mut object.0;
    for name in above {
        let next = slot.entry(name.as_str()).or_insert_with(|| Value::Object(Map::new()));
        let Some(next) = next.as_object_mut() else {
            let message = format!("the object's {} is not an object", above.join("."));
            return Err(Status::internal(message).into());
        };
        slot = next;
    }
    slot.insert(last.clone(), replicas.into());
    Ok(object)
}

pub(super) async fn dispatch(call: &Call) -> Result<Response<Body>> {
    let accepted = call.negotiate(Offer::Plain)?;
    let live = call.live().await?;
    let show = async |entry: &Arc<Entry>| -> Result<Response<Body>> {
        let object = present::asked(call, entry).await?;
        Ok(present::document(accepted, StatusCode::OK, scale_of(call, &object).to_json()))
    };
    let written = match call.verb {
        Verb::Get => {
            call.settle(live.modified).await?;
            return show(&live).await;
        }
        Verb::Update => {
            let options = WriteOptions::read("UpdateOptions", &call.query, &call.headers)?;
            let scale = is_scale(decode::object(&call.headers, &call.body, "Scale")?.value)?;
            if !scale.name().is_empty() && scale.name() != call.target.name {
                let message = format!(
                    "the name of the object ({}) does not match the name on the URL ({})",
                    scale.name(),
                    call.target.name
                );
                return Err(Status::bad_request(message).into());
            }
            let decide = |live: &Object| decided(scaled(call, live, &scale)?);
            write::update(call, live, Part::Whole, &options, &decide).await?
        }
        Verb::Patch => {
            let options = WriteOptions::read("PatchOptions", &call.query, &call.headers)?;
            let (patch, _) = Patch::read(call)?;
            let decide = |live: &Object| {
                if let Patch::Apply(config) = &patch {
                    return applied(call, live, config, &options);
                }
                let shown = scale_of(call, live);
                let mut scale = patch.carry_out(call, &shown)?;
                if scale.resource_version() == live.resource_version() {
                    scale.metadata_mut().remove("resourceVersion");
                }
                decided(scaled(call, live, &scale)?)
            };
            write::update(call, live, Part::Whole, &options, &decide).await?
        }
        _ => return Err(respond::no_such_resource()),
    };
    call.settle(written.entry.modified).await?;
    show(&written.entry).await
}

fn decided(object: Object) -> Result<write::Decided> {
    Ok(write::Decided { object, warnings: Vec::new(), tracked: false, must_be_conditional: false })
}

/// Server-side apply of a Scale: its manager comes to own the replicas of the object.
fn applied(call: &Call, live: &Object, config: &Object, options: &WriteOptions) -> Result<write::Decided> {
    let bare = Object::new(&call.kind.api_version, &call.kind.served.kind, &live.object_name());
    let wanted = scaled(call, &bare, config)?;
    let reset = write::reset_fields(call, Part::Whole);
    let writer = write::writer(call, options, &reset);
    let schema = call.kind.schema();
    let result = machinery::apply::apply(Some(live), &wanted, &writer, options.force, schema.as_ref());
    let mut object = result.map_err(|error| error.status())?;
    conditions_of(config, &mut object);
    Ok(write::Decided { object, warnings: Vec::new(), tracked: true, must_be_conditional: false })
}

fn is_scale(value: Value) -> Result<Object> {
    let Value::Object(map) = value else { return Err(Status::bad_request("the body is not an object").into()) };
    let scale = Object(map);
    if !matches!(scale.kind(), "" | "Scale") {
        return Err(Status::bad_request(format!("{} cannot be handled as a Scale", scale.kind())).into());
    }
    Ok(scale)
}
