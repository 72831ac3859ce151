//! patch: an object, changed by a description of the change: JSON patch, merge patch, strategic merge patch, apply.

use super::create::finish;
use super::write::{self, Decided, Draft, Part};
use crate::call::Call;
use crate::decode;
use crate::negotiate::Offer;
use crate::options::{FieldValidation, WriteOptions, cause, invalid};
use crate::problems;
use crate::respond::{Body, Failure, Result};
use api::{Object, Reason, Status};
use http::Response;
use machinery::patch;
use machinery::schema::patched_text;
use serde_json::{Map, Value};

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// Whether a patch is an apply.
pub(super) fn is_apply(headers: &http::HeaderMap) -> bool {
    decode::content_type(headers) == APPLY
}

/// A patch, read from its body.
pub(crate) enum Patch {
    Json(Value),
    Merge(Value),
    Strategic(Value),
    Apply(Object),
}

impl Patch {
    pub(crate) fn read(call: &Call) -> Result<(Self, Vec<String>)> {
        decode::check_size(&call.body)?;
        let tree = |bytes: &[u8]| -> Result<(Value, Vec<String>)> {
            let decoded = decode::json(bytes).map_err(undecodable)?;
            Ok((decoded.value, decoded.duplicates))
        };
        let object = |(value, duplicates): (Value, Vec<String>)| {
            let why = || undecodable(decode::no_object(&value, "map[string]interface {}"));
            if value.is_object() { Ok((value, duplicates)) } else { Err(why()) }
        };
        let custom = call.kind.custom.is_some();
        match decode::content_type(&call.headers) {
            JSON => {
                let (value, _) = tree(&call.body)?;
                if !value.is_array() {
                    return Err(undecodable(decode::no_object(&value, "[]handlers.jsonPatchOp")));
                }
                Ok((Self::Json(value), Vec::new()))
            }
            MERGE => object(tree(&call.body)?).map(|(value, duplicates)| (Self::Merge(value), duplicates)),
            STRATEGIC if !custom => {
                object(tree(&call.body)?).map(|(value, duplicates)| (Self::Strategic(value), duplicates))
            }
            APPLY => {
                let decoded = decode::configuration(&call.body).map_err(|why| {
                    Status::bad_request(format!("error decoding YAML: error converting YAML to JSON: {why}"))
                })?;
                match decoded.value {
                    Value::Object(map) => Ok((Self::Apply(Object(map)), decoded.duplicates)),
                    _ => Err(Status::bad_request("the applied configuration is not an object").into()),
                }
            }
            _ if custom => Err(decode::unsupported(&[JSON, MERGE, APPLY]).into()),
            _ => Err(Status::generic(Reason::UnsupportedMediaType, "415: Unsupported Media Type").into()),
        }
    }

    /// A tree of the maps that the patch goes into.
    fn touched(&self) -> Value {
        match self {
            Self::Merge(patch) | Self::Strategic(patch) => patch.clone(),
            Self::Apply(config) => Value::Object(config.0.clone()),
            Self::Json(operations) => {
                let mut tree = Value::Object(Map::new());
                let operations = operations.as_array().into_iter().flatten();
                for path in operations.flat_map(|operation| [&operation["path"], &operation["from"]]) {
                    let Some((parents, _)) = path.as_str().and_then(|path| path.rsplit_once('/')) else { continue };
                    let mut at = &mut tree;
                    for name in parents.split('/').skip(1) {
                        let name = name.replace("~1", "/").replace("~0", "~");
                        let Value::Object(map) = at else { break };
                        at = map.entry(name).or_insert_with(|| Value::Object(Map::new()));
                    }
                }
                tree
            }
        }
    }

    /// The object that the patch makes of `live`.
    pub(crate) fn carry_out(&self, call: &Call, live: &Object) -> Result<Object> {
        let mut object = live.clone();
        let done = match self {
            Self::Json(patch) => patch::json::apply(&mut object, patch),
            Self::Merge(patch) => patch::merge::apply(&mut object, patch),
            Self::Strategic(patch) => patch::strategic::apply(&mut object, patch, call.kind.schema().as_ref()),
            Self::Apply(_) => Ok(()),
        };
        done.map_err(|error| Failure::from(error.status()))?;
        Ok(object)
    }
}

fn undecodable(why: String) -> Failure {
    Status::bad_request(format!("error decoding patch: {why}")).into()
}

/// 422 for a patch whose result is no object of the kind.
fn unfit(call: &Call, patch: &Patch, object: &Object, failure: Failure) -> Failure {
    let Some(why) = failure.message.split_once(": ").map(|(_, why)| why).filter(|_| failure.code == 400) else {
        return failure;
    };
    let schema = call.kind.schema();
    let text = patched_text(&Value::Object(object.0.clone()), &patch.touched(), schema.as_ref());
    let problem = cause("FieldValueInvalid", "patch", format!("Invalid value: {text:?}: {why}"));
    Status::invalid("", "", "", vec![problem]).into()
}

pub(crate) async fn patch(call: &Call, part: Part) -> Result<Response<Body>> {
    let accepted = call.negotiate(Offer::Object)?;
    let options = WriteOptions::read("PatchOptions", &call.query, &call.headers)?;
    let (patch, duplicates) = Patch::read(call)?;
    if let Patch::Apply(config) = &patch {
        let written = apply(call, part, &options, config, &duplicates).await?;
        return finish(call, accepted, written).await;
    }
    if call.query.has("force") {
        let cause = cause("FieldValueForbidden", "force", "Forbidden: may not be specified for non-apply patch");
        return Err(invalid("PatchOptions", vec![cause]));
    }
    let live = call.live().await?;
    let decide = |live: &Object| {
        let object = patch.carry_out(call, live)?;
        let patched = object.clone();
        let Draft { object, warnings } = write::draft(call, object, duplicates.clone(), options.validation)
            .map_err(|failure| unfit(call, &patch, &patched, failure))?;
        Ok(Decided { object, warnings, tracked: false, must_be_conditional: false })
    };
    let written = write::update(call, live, part, &options, &decide).await?;
    finish(call, accepted, written).await
}

/// Server-side apply.
async fn apply(
    call: &Call,
    part: Part,
    options: &WriteOptions,
    config: &Object,
    duplicates: &[String],
) -> Result<write::Written> {
    if call.query.get("fieldManager").is_none() {
        let cause = cause("FieldValueRequired", "fieldManager", "Required value: is required for apply patch");
        return Err(invalid("PatchOptions", vec![cause]));
    }
    if config.api_version() != call.kind.api_version || config.kind() != call.kind.served.kind {
        let version = if config.api_version().is_empty() { "/" } else { config.api_version() };
        let message = format!("invalid object type: {version}, Kind={}", config.kind());
        return Err(Status::bad_request(message).into());
    }
    if config.meta("managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(Status::bad_request("metadata.managedFields must be nil").into());
    }
    // Whether it is of this object is checked here; the configuration itself stays as it was sent.
    write::addressed(call, &mut config.clone())?;
    let reset = write::reset_fields(call, part);
    let applied = |live: Option<&Object>| -> Result<Object> {
        let writer = write::writer(call, options, &reset);
        let result = machinery::apply::apply(live, config, &writer, options.force, call.kind.schema().as_ref());
        let object = result.map_err(|error| Failure::from(error.status()))?;
        for duplicate in duplicates {
            match options.validation {
                FieldValidation::Ignore => {}
                FieldValidation::Warn => {
                    problems::warnings(duplicate).into_iter().for_each(|line| call.warnings.add(line))
                }
                FieldValidation::Strict => {
                    let why = format!("error strict decoding YAML: error converting YAML to JSON: {duplicate}");
                    return Err(Status::bad_request(why).into());
                }
            }
        }
        Ok(object)
    };
    let Some(live) = call.held(&call.key(&call.target.name)) else {
        call.settle(call.store().head()).await?;
        if part != Part::Main {
            return Err(call.not_found().into());
        }
        if !config.uid().is_empty() {
            let cause = format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                config.uid()
            );
            return Err(Status::conflict(&call.kind.group_resource, &call.target.name, cause).into());
        }
        if config.name().is_empty() {
            let name = &call.target.name;
            let message =
                format!("the name of the object ({name} based on URL) was undeterminable: name must be provided");
            return Err(Status::bad_request(message).into());
        }
        call.authorize("create", "")?;
        let draft = write::draft(call, applied(None)?, Vec::new(), options.validation)?;
        return write::create(call, draft, options, true).await;
    };
    let decide = |live: &Object| {
        let mut object = applied(Some(live))?;
        // What the configuration says of the revision is a condition on it, and nothing to be merged.
        for (field, said) in [("resourceVersion", config.resource_version()), ("uid", config.uid())] {
            if said.is_empty() {
                object.metadata_mut().remove(field);
            } else {
                object.set_meta(field, said);
            }
        }
        let Draft { object, warnings } = write::draft(call, object, Vec::new(), options.validation)?;
        Ok(Decided { object, warnings, tracked: true, must_be_conditional: false })
    };
    write::update(call, live, part, options, &decide).await
}
