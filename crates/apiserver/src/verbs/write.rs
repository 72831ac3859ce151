//! The way of every write: read the body, decide what the object becomes, and commit it against what it was decided on.

use super::{admit, escalation, fields, metadata};
use crate::admission::{self, Operation, Review};
use crate::call::{Call, refused};
use crate::convert::convert as convert_builtin;
use crate::crd::convert;
use crate::header::Header;
use crate::options::{FieldValidation, WriteOptions};
use crate::registry::Rules;
use crate::respond::{Failure, Result};
use crate::route::Verb;
use crate::{Entry, certificates, crd, decode, encode, present, problems, random, services};
use api::{Object, Status};
use machinery::apply::{FieldSet, Writer};
use serde_json::{Map, Value};
use std::sync::Arc;
use store::{CommitError, Committed, Expect, Key, Meta, Revision, Stamped, Write};

/// How often a write without a resourceVersion is decided anew because somebody else was faster. Each time somebody
/// made progress, so this is reached only if a hundred writers are faster in turn.
const ATTEMPTS_MAX: usize = 100;

/// Which part of an object a request writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// All but what has a subresource of its own.
    Main,
    /// `.status` only.
    Status,
    /// What one of the other subresources is about: the rest of the object was kept by whoever made it.
    Whole,
}

/// A body as an object of the kind.
pub(crate) struct Draft {
    pub(crate) object: Object,
    pub(crate) warnings: Vec<String>,
}

/// What a write did.
pub(crate) struct Written {
    pub(crate) entry: Arc<Entry>,
    pub(crate) created: bool,
    pub(crate) warnings: Vec<String>,
}

/// Reads the body of a create or an update.
pub(crate) fn body(call: &Call, validation: FieldValidation) -> Result<Draft> {
    let decoded = decode::object(&call.headers, &call.body, &call.kind.served.kind)?;
    let Value::Object(map) = decoded.value else { return Err(Status::bad_request("the body is not an object").into()) };
    draft(call, Object(map), decoded.duplicates, validation)
}

/// Checks that an object is of the kind, and has the fields of the kind only.
pub(crate) fn draft(
    call: &Call,
    mut object: Object,
    duplicates: Vec<String>,
    validation: FieldValidation,
) -> Result<Draft> {
    of_kind(call, &mut object)?;
    // The definition of a built-in kind says it of metadata as well.
    let undefined = call.kind.custom.is_some() || call.kind.schema().is_none();
    if let Some(problem) = metadata::misshapen(&object).filter(|_| undefined) {
        let served = &call.kind.served;
        let message = format!(
            "{} in version {:?} cannot be handled as a {}: {problem}",
            served.kind, served.version, served.kind
        );
        return Err(Status::bad_request(message).into());
    }
    // What a patch is made into has no order that a client wrote.
    let order = |problems: &mut Vec<String>| match call.verb {
        Verb::Patch => {}
        _ => problems::by_place(&call.body, problems),
    };
    // Of what a patch makes of a custom object, the stock server does not say what it was meant to be.
    let named = call.kind.custom.is_none() || call.verb != Verb::Patch;
    for warning in fields::check(&call.kind, &mut object, duplicates, validation, named, order)? {
        call.warnings.add(warning);
    }
    metadata::tidy(&mut object);
    Ok(Draft { object, warnings: Vec::new() })
}

/// Fills in apiVersion and kind where a client left them out, and refuses others.
fn of_kind(call: &Call, object: &mut Object) -> Result<()> {
    let kind = &call.kind;
    let (version, name) = (object.api_version().to_owned(), object.kind().to_owned());
    let same = |said: &str, is: &str| said.is_empty() || said == is;
    let known = (same(&version, &kind.api_version) && same(&name, &kind.served.kind)) || is_registered(&version, &name);
    if kind.custom.is_none() && !known {
        let message = format!(
            "{name} in version {:?} cannot be handled as a {}: {}",
            version.rsplit('/').next().unwrap_or(""),
            kind.served.kind,
            decode::not_registered(&name, &version)
        );
        return Err(Status::bad_request(message).into());
    }
    if !version.is_empty() && version != kind.api_version {
        let message = format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            kind.api_version
        );
        return Err(Status::bad_request(message).into());
    }
    if !name.is_empty() && name != kind.served.kind {
        if kind.custom.is_some() && call.verb != Verb::Patch {
            let cause = crate::options::cause(
                "FieldValueInvalid",
                "kind",
                format!("Invalid value: {name:?}: must be {}", kind.served.kind),
            );
            return Err(Status::invalid(&kind.served.group, &name, object.name(), vec![cause]).into());
        }
        let short = version.rsplit('/').next().unwrap_or("");
        let mut message = format!("{name} in version {short:?} cannot be handled as a {}", kind.served.kind);
        if kind.custom.is_none() {
            // The stock server names its Go types: the versioned one, and the one that it stores, in the group's package.
            let stored = kind.served.stored_as.split_once('/').map_or("core", |(group, _)| group);
            let package = stored.split('.').next().unwrap_or(stored);
            let into = &kind.served.kind;
            message += &format!(": converting ({short}.{name}) to ({package}.{into}): unknown conversion");
        }
        return Err(Status::bad_request(message).into());
    }
    object.0.insert("apiVersion".into(), kind.api_version.as_str().into());
    object.0.insert("kind".into(), kind.served.kind.to_string().into());
    Ok(())
}

/// Whether a built-in kind is of this name and version.
fn is_registered(api_version: &str, kind: &str) -> bool {
    crate::builtin::kinds().iter().any(|row| row.served.kind == kind && row.served.api_version() == api_version)
}

/// Checks that name and namespace of a body are those of the path, and fills them in where they are left out.
pub(crate) fn addressed(call: &Call, object: &mut Object) -> Result<()> {
    let namespace = &call.target.namespace;
    if !object.namespace().is_empty() && object.namespace() != namespace && call.kind.served.namespaced {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(message).into());
    }
    if namespace.is_empty() {
        object.metadata_mut().remove("namespace");
    } else {
        object.set_meta("namespace", namespace.as_str());
    }
    let name = &call.target.name;
    if !name.is_empty() {
        if !object.name().is_empty() && object.name() != name {
            let message =
                format!("the name of the object ({}) does not match the name on the URL ({name})", object.name());
            return Err(Status::bad_request(message).into());
        }
        object.set_meta("name", name.as_str());
    }
    Ok(())
}

/// Decides what a new object becomes, and commits it. `tracked` says that ownership of fields is settled already.
pub(crate) async fn create(call: &Call, draft: Draft, options: &WriteOptions, tracked: bool) -> Result<Written> {
    let Draft { mut object, mut warnings } = draft;
    // What a dry run does not write, it does not refuse.
    if !object.resource_version().is_empty() && !tracked && !options.dry_run {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created").into());
    }
    addressed(call, &mut object)?;
    admit::definition(call, object.name())?;
    let rules = call.kind.rules;
    let counted = rules.counts_generation && !rules.generation_is_late;
    let generation = object.meta("generation").filter(|_| !counted).cloned();
    let revision = object.meta("resourceVersion").filter(|_| options.dry_run && !tracked).cloned();
    metadata::wipe(&mut object);
    if let Some(revision) = revision {
        object.set_meta("resourceVersion", revision);
    }
    if let Some(generation) = generation {
        // The stock server keeps what it does not count.
        object.set_meta("generation", generation);
    }
    warnings.extend(metadata::dedupe_owners(&mut object));
    object.set_meta("creationTimestamp", call.server.now().to_string());
    fields::complete(&call.kind, &mut object);
    admit::given(call, &mut object);
    let admitted = admission::interested(call, Operation::Create);
    if admitted {
        admit::namespace(call, object.name())?;
        if !tracked {
            // Whoever writes owns what they said, and nothing of what admission adds.
            let owned = prepared(call, object.clone(), None, options, false);
            if let Some(owned) = owned.meta("managedFields") {
                object.set_meta("managedFields", owned.clone());
            }
        }
        object.set_meta("uid", random::uid());
        object = mutated(call, Operation::Create, object, None, options, &mut warnings).await?;
        addressed(call, &mut object)?;
        fields::complete(&call.kind, &mut object);
        admit::given(call, &mut object);
    }
    let tracked = tracked || admitted;
    let generated =
        object.name().is_empty().then(|| object.meta("generateName")?.as_str().map(str::to_owned)).flatten();
    for attempt in 0.. {
        let mut object = prepared(call, object.clone(), generated.as_deref(), options, tracked);
        if attempt == 0 {
            admit::namespace(call, object.name())?;
        }
        let reserved = services::reserve(call, &mut object, None, options.dry_run)?;
        if attempt == 0 {
            refuse_invalid(call, &mut object, None, &mut warnings)?;
            escalation::check(call, &object, None)?;
            if &*call.kind.collection == certificates::COLLECTION {
                certificates::admit_new(call, &object)?;
            }
        }
        if admitted {
            object = validated(call, Operation::Create, object, None, options, &mut warnings).await?;
        }
        fields::settle(&call.kind, &mut object);
        let stored = Stored::new(call, object.clone()).await?;
        // Held until the write is in the store.
        let charge = admission::quota::charge(call, Operation::Create, &object, None)?;
        let outcome = stored.commit(call, Expect::Absent, options.dry_run, None);
        drop(charge);
        if let Ok(entry) = &outcome
            && !options.dry_run
        {
            services::follow(call, &entry.key, None);
        }
        drop(reserved);
        match outcome {
            Ok(entry) => return Ok(Written { entry, created: true, warnings }),
            Err(CommitError::Conflict { .. }) if generated.is_some() && attempt < GENERATED_ATTEMPTS_MAX => {}
            Err(CommitError::Conflict { held, .. }) => {
                call.settle(call.store().head()).await?;
                return Err(exists(call, &object, held.as_deref(), generated.is_some()));
            }
            Err(error) => return Err(refused(&error)),
        }
    }
    unreachable!("the loop above ends by returning")
}

/// A new object with all that is the server's to say.
fn prepared(call: &Call, mut object: Object, base: Option<&str>, options: &WriteOptions, tracked: bool) -> Object {
    object.set_meta("uid", random::uid());
    if let Some(base) = base {
        // An address has no random end: it is refused for what it is.
        let is_address = &*call.kind.collection == "ipaddresses.networking.k8s.io";
        object.set_meta("name", if is_address { base.to_owned() } else { random::name(base) });
    }
    // What the server adds of its own belongs to nobody.
    if !tracked {
        object = track(call, None, object, options, Part::Main);
    }
    admit::create(call, &mut object);
    if call.kind.rules.status && call.kind.custom.is_none() && !object.0.contains_key("status") {
        // The status that was dropped has a default form as well.
        fields::complete(&call.kind, &mut object);
    }
    if call.kind.rules.counts_generation && !call.kind.rules.generation_is_late {
        object.set_meta("generation", 1);
    }
    object
}

/// How often a generated name that is taken is drawn anew.
const GENERATED_ATTEMPTS_MAX: usize = 8;

/// 409 for a create of what is there.
fn exists(call: &Call, object: &Object, held: Option<&Entry>, generated: bool) -> Failure {
    let mut status = Status::already_exists(&call.kind.group_resource, object.name());
    if held.is_some_and(|held| held.meta.deleting) {
        status.message = format!("object is being deleted: {}", status.message);
    }
    if generated {
        status.message.push_str(", the server was not able to generate a unique name for the object");
        if let Some(details) = &mut status.details {
            details.retry_after_seconds = Some(1);
        }
    }
    status.into()
}

/// Decides what an object becomes, from what it is; `None` is 404.
pub(crate) trait Decide {
    /// `live` is in the version of the request. `tracked` of the answer says that ownership of fields is settled.
    fn decide(&self, live: &Object) -> Result<Decided>;
}

/// What an object is to become.
pub(crate) struct Decided {
    pub(crate) object: Object,
    pub(crate) warnings: Vec<String>,
    pub(crate) tracked: bool,
    /// The client must say which revision it means, or the write is refused.
    pub(crate) must_be_conditional: bool,
}

impl<F: Fn(&Object) -> Result<Decided>> Decide for F {
    fn decide(&self, live: &Object) -> Result<Decided> {
        self(live)
    }
}

/// Changes the object of the path. Decided anew for as long as others are faster, unless the client says which
/// revision it means.
pub(crate) async fn update(
    call: &Call,
    mut live: Arc<Entry>,
    part: Part,
    options: &WriteOptions,
    decide: &(impl Decide + Sync),
) -> Result<Written> {
    for _ in 0..ATTEMPTS_MAX {
        let old = present::asked(call, &live).await?;
        let mut decided = decide.decide(&old)?;
        let mut warnings = std::mem::take(&mut decided.warnings);
        conditions(call, &live, &old, &decided, options.dry_run)?;
        let admitted = admission::interested(call, Operation::Update);
        let mut object = changed(call, &old, decided, options, part)?;
        if call.kind.is_converted() {
            let reset = reset_fields(call, part);
            let applied = is_apply(call) && !options.force;
            let writer = writer(call, options, &reset);
            object = convert::across(&call.space, &call.kind, &old, object, &writer, applied).await?;
        }
        if admitted {
            let object_now = mutated(call, Operation::Update, object, Some(&old), options, &mut warnings).await?;
            // Ownership of fields is settled: nobody comes to own what admission changes.
            let decided =
                Decided { object: object_now, warnings: Vec::new(), tracked: true, must_be_conditional: false };
            object = changed(call, &old, decided, options, part)?;
        }
        let reserved = services::reserve(call, &mut object, Some(&old), options.dry_run)?;
        refuse_invalid(call, &mut object, Some(&old), &mut warnings)?;
        escalation::check(call, &object, Some(&old))?;
        if admitted {
            object = validated(call, Operation::Update, object, Some(&old), options, &mut warnings).await?;
        }
        let stored = Stored::new(call, object).await?;
        let charge = admission::quota::charge(call, Operation::Update, &stored.object, Some(&old))?;
        let outcome = commit_change(call, &live, stored, options.dry_run);
        drop(charge);
        if let Ok(entry) = &outcome
            && !options.dry_run
        {
            services::follow(call, &entry.key, Some(&old));
        }
        drop(reserved);
        match outcome {
            Ok(entry) => return Ok(Written { entry, created: false, warnings }),
            Err(CommitError::Conflict { held: Some(held), .. }) => live = held,
            Err(CommitError::Conflict { held: None, .. }) => {
                call.settle(call.store().head()).await?;
                return Err(call.not_found().into());
            }
            Err(error) => return Err(refused(&error)),
        }
    }
    Err(Status::conflict(&call.kind.group_resource, &call.target.name, Status::STALE).into())
}

/// What the mutating steps of admission make of an object.
async fn mutated(
    call: &Call,
    operation: Operation,
    object: Object,
    old: Option<&Object>,
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Object> {
    let owned = object.meta("managedFields").cloned();
    let mut review = Review::new(call, operation, options.dry_run, options.to_value(operation));
    review.object = Some(object);
    review.old = old;
    admission::mutate(&mut review).await?;
    warnings.append(&mut review.warnings);
    let object = review.object.unwrap_or_default();
    // Whoever changed it may have made of it what the kind does not have.
    let Draft { mut object, .. } = draft(call, object, Vec::new(), FieldValidation::Ignore)?;
    if let Some(owned) = owned.filter(|_| !object.meta("managedFields").is_some_and(Value::is_array)) {
        object.set_meta("managedFields", owned);
    }
    Ok(object)
}

/// The object, if the validating steps of admission let it pass.
async fn validated(
    call: &Call,
    operation: Operation,
    object: Object,
    old: Option<&Object>,
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Object> {
    let mut review = Review::new(call, operation, options.dry_run, options.to_value(operation));
    review.object = Some(object);
    review.old = old;
    admission::validate(&mut review).await?;
    warnings.append(&mut review.warnings);
    Ok(review.object.unwrap_or_default())
}

/// 409 if the client means another object or revision than what is there.
fn conditions(call: &Call, live: &Entry, old: &Object, decided: &Decided, dry_run: bool) -> Result<()> {
    let resource = &call.kind.group_resource;
    let name = &call.target.name;
    let uid = decided.object.uid();
    let other = !uid.is_empty() && uid != old.uid();
    // A patch says what is to become of the object that is there, and cannot make another of it.
    let patched = call.verb == Verb::Patch;
    if other && !patched {
        let cause = other_uid(call, uid, old.uid(), dry_run);
        return Err(Status::conflict(resource, name, cause).into());
    }
    let version = decided.object.resource_version();
    if matches!(version, "" | "0") {
        if decided.must_be_conditional && call.kind.rules.needs_revision {
            let message = "Invalid value: 0: must be specified for an update";
            let cause = crate::options::cause("FieldValueInvalid", "metadata.resourceVersion", message);
            let resource = &call.kind.group_resource;
            return Err(Status::invalid(&resource.group, &resource.resource, name, vec![cause]).into());
        }
        return same_uid(call, uid, other);
    }
    if version.parse() == Ok(live.modified.0) {
        return same_uid(call, uid, other);
    }
    if version.parse::<u64>().is_err() {
        let why = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
        return Err(Status::failure(api::Reason::Unknown, why).into());
    }
    Err(Status::conflict(resource, name, Status::STALE).into())
}

/// 422 for a patch that gives the object another uid.
fn same_uid(call: &Call, uid: &str, other: bool) -> Result<()> {
    if !other {
        return Ok(());
    }
    let message = format!("Invalid value: {uid:?}: field is immutable");
    Err(invalid(call, &call.target.name, vec![crate::options::cause("FieldValueInvalid", "metadata.uid", message)]))
}

/// Where the stock server keeps collections that it does not keep under their names.
const KEPT_AT: [(&str, &str); 7] = [
    ("apiservices.apiregistration.k8s.io", "apiregistration.k8s.io/apiservices"),
    (crd::COLLECTION, "apiextensions.k8s.io/customresourcedefinitions"),
    ("endpoints", "services/endpoints"),
    ("ingresses.networking.k8s.io", "ingress"),
    ("nodes", "minions"),
    ("replicationcontrollers", "controllers"),
    ("services", "services/specs"),
];

/// What the stock server's storage says of an object that is not the one that is meant; `held` is empty where there is
/// none. A dry run is refused above the layer that knows the root of the keys.
pub(crate) fn other_uid(call: &Call, asked: &str, held: &str, dry_run: bool) -> String {
    let root = if dry_run { "" } else { "/registry" };
    let kept = KEPT_AT.iter().find(|(collection, _)| *collection == &*call.kind.collection);
    let resource = kept.map_or(call.kind.group_resource.resource.as_str(), |(_, place)| place);
    let (namespace, name) = (&call.target.namespace, &call.target.name);
    let key = if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") };
    format!(
        "StorageError: invalid object, Code: 4, Key: {root}/{resource}/{key}, ResourceVersion: 0, \
         AdditionalErrorMsg: Precondition failed: UID in precondition: {asked}, UID in object meta: {held}"
    )
}

/// 422 on the object of the request.
pub(crate) fn invalid(call: &Call, name: &str, causes: Vec<api::Cause>) -> Failure {
    // Of a kind that is served in two groups, the stock server names the one that it stores.
    let stored = &call.kind.served.stored_as;
    let group = stored.split_once('/').map_or("", |(group, _)| group);
    let group = if call.kind.custom.is_some() { &call.kind.served.group } else { group };
    Status::invalid(group, &call.kind.served.kind, name, causes).into()
}

/// The object as it will be stored, at the version of the request.
fn changed(call: &Call, old: &Object, decided: Decided, options: &WriteOptions, part: Part) -> Result<Object> {
    let Decided { object: mut new, mut tracked, .. } = decided;
    let kind = &call.kind;
    addressed(call, &mut new)?;
    metadata::keep(old, &mut new);
    if &*kind.collection == certificates::COLLECTION {
        certificates::settle(call, old, &mut new)?;
    }
    match part {
        Part::Whole => {}
        Part::Main => {
            // What the server changes of its own belongs to nobody.
            if !tracked && kind.custom.is_none() {
                metadata::dedupe_owners(&mut new);
                metadata::tidy(&mut new);
                admit::given(call, &mut new);
                fields::complete(kind, &mut new);
                new = track(call, Some(old), new, options, part);
                tracked = true;
            }
            if kind.rules.status {
                take(old, &mut new, "status");
            }
            admit::update(call, old, &mut new);
        }
        Part::Status => {
            let kept: &[&str] = if kind.rules.status_writes_metadata && !kind.rules.status_writes_labels {
                &["managedFields", "annotations", "finalizers", "ownerReferences"]
            } else if kind.rules.status_writes_metadata {
                &["managedFields", "labels", "annotations", "finalizers", "ownerReferences"]
            } else {
                &["managedFields"]
            };
            put_back(&old.0, &mut new.0, &["metadata", "status"]);
            if let Some(metadata) = old.0.get("metadata").and_then(Value::as_object) {
                put_back(metadata, new.metadata_mut(), kept);
            }
        }
    }
    metadata::dedupe_owners(&mut new);
    metadata::tidy(&mut new);
    // What comes out of a webhook has no defaults: an apply that changes nothing, and a scale, give it none.
    let as_it_was =
        kind.is_converted() && (call.target.subresource == "scale" || (is_apply(call) && is_unchanged(old, &new)));
    if !as_it_was {
        fields::complete(kind, &mut new);
    }
    if !tracked {
        new = track(call, Some(old), new, options, part);
    }
    fields::settle(kind, &mut new);
    if part != Part::Status && kind.rules.counts_generation && differs(old, &new, kind.rules) {
        new.set_meta("generation", old.generation() + 1);
    }
    Ok(new)
}

/// Makes all fields but some what they were. Most are as they were: comparing them costs less than copying them.
fn put_back(old: &Map<String, Value>, new: &mut Map<String, Value>, but: &[&str]) {
    new.retain(|field, _| old.contains_key(field) || but.contains(&field.as_str()));
    for (field, value) in old.iter().filter(|(field, _)| !but.contains(&field.as_str())) {
        if new.get(field) != Some(value) {
            new.insert(field.clone(), value.clone());
        }
    }
}

/// Sets a field to what it is in another object.
fn take(from: &Object, to: &mut Object, field: &str) {
    match from.0.get(field) {
        Some(value) => drop(to.0.insert(field.into(), value.clone())),
        None => drop(to.0.remove(field)),
    }
}

fn is_apply(call: &Call) -> bool {
    call.verb == Verb::Patch && super::patch::is_apply(&call.headers)
}

/// Whether two states of an object are the same but for who owns what.
fn is_unchanged(old: &Object, new: &Object) -> bool {
    let rest = |object: &Object| {
        let mut object = object.clone();
        for field in ["managedFields", "resourceVersion"] {
            object.metadata_mut().remove(field);
        }
        object
    };
    rest(old) == rest(new)
}

/// Whether anything differs that `metadata.generation` counts.
fn differs(old: &Object, new: &Object, rules: Rules) -> bool {
    let counted = [(rules.generation_of_annotations, "annotations"), (rules.generation_of_labels, "labels")];
    if counted.into_iter().any(|(counts, name)| counts && old.meta(name) != new.meta(name)) {
        return true;
    }
    let counts = |key: &str| key != "metadata" && !(rules.status && key == "status");
    let old = old.0.iter().filter(|(key, _)| counts(key));
    old.ne(new.0.iter().filter(|(key, _)| counts(key)))
}

/// Settles who owns which fields.
fn track(call: &Call, old: Option<&Object>, new: Object, options: &WriteOptions, part: Part) -> Object {
    let reset = reset_fields(call, part);
    let mut new = machinery::apply::update(old, new, &writer(call, options, &reset), call.kind.schema().as_ref());
    if call.target.subresource == "scale" {
        forget_time(&mut new, &options.manager);
    }
    new
}

/// The stock server does not say when an object was scaled.
fn forget_time(object: &mut Object, manager: &str) {
    let Some(Value::Array(entries)) = object.metadata_mut().get_mut("managedFields") else { return };
    for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
        if entry.get("subresource").is_some_and(|held| held == "scale")
            && entry.get("manager").is_some_and(|held| held == manager)
        {
            entry.remove("time");
        }
    }
}

/// Who writes, for the tracking of fields.
pub(crate) fn writer<'a>(call: &'a Call, options: &'a WriteOptions, reset: &'a FieldSet) -> Writer<'a> {
    Writer {
        manager: &options.manager,
        api_version: &call.kind.api_version,
        subresource: &call.target.subresource,
        now: call.server.now(),
        reset,
    }
}

/// Fields that an endpoint ignores, and a writer there does not come to own.
pub(crate) fn reset_fields(call: &Call, part: Part) -> FieldSet {
    if &*call.kind.collection == certificates::COLLECTION {
        // All that they hold is the server's to say, or what one endpoint is for.
        return FieldSet::of_fields(&[&["spec"], &["status"]]);
    }
    match part {
        Part::Main if call.kind.rules.status => FieldSet::of_fields(&[&["status"]]),
        Part::Status if call.kind.rules.status_writes_metadata && !call.kind.rules.status_writes_labels => {
            FieldSet::of_fields(&[&["spec"], &["metadata", "labels"]])
        }
        Part::Status if call.kind.rules.status_writes_metadata => FieldSet::of_fields(&[&["spec"]]),
        Part::Status => FieldSet::of_fields(&[&["spec"], &["metadata"]]),
        Part::Main | Part::Whole => FieldSet::new(),
    }
}

fn refuse_invalid(call: &Call, object: &mut Object, old: Option<&Object>, warnings: &mut Vec<String>) -> Result<()> {
    let mut causes = metadata::problems(&call.kind, object);
    if let Some(old) = old {
        causes.extend(metadata::update_problems(old, object));
    }
    causes.extend(fields::problems(&call.kind, &call.target.subresource, object, old, warnings));
    if &*call.kind.collection == certificates::COLLECTION {
        causes.extend(certificates::problems(object, old, call.target.subresource == "approval"));
    }
    if causes.is_empty() { Ok(()) } else { Err(invalid(call, object.name(), causes)) }
}

/// Commits a change of what is live; a change that changes nothing writes nothing, and an object that waited only for
/// its finalizers goes.
fn commit_change(
    call: &Call,
    live: &Arc<Entry>,
    stored: Stored,
    dry_run: bool,
) -> Result<Arc<Entry>, CommitError<Header>> {
    if encode::is_same(&live.value, &stored.bytes) {
        return Ok(Arc::clone(live));
    }
    stored.commit(call, Expect::At(live.modified), dry_run, Some(live))
}

/// An object in the version that is stored, and its bytes.
pub(crate) struct Stored {
    object: Object,
    bytes: Stamped,
}

impl Stored {
    /// # Errors
    /// If a webhook has to convert the object, and does not.
    pub(crate) async fn new(call: &Call, object: Object) -> Result<Self> {
        let object = convert::stored(&call.space, &call.kind, object).await?;
        let object = to_stored(call, object);
        let bytes = encode::stamped(&object.0);
        Ok(Self { object, bytes })
    }

    /// Writes it. A dry run makes the entry that would be written.
    pub(crate) fn commit(
        self,
        call: &Call,
        expect: Expect,
        dry_run: bool,
        live: Option<&Arc<Entry>>,
    ) -> Result<Arc<Entry>, CommitError<Header>> {
        let Self { object, bytes } = self;
        let key = live.map_or_else(|| call.key(object.name()), |live| live.key.clone());
        let expect = match call.inherited() {
            Some(inherited) => inherited.expect(&key, expect)?,
            None => expect,
        };
        let released = live.is_some() && is_released(&object, &call.kind.collection);
        if dry_run {
            return pretend(call, key, expect, &object, live);
        }
        if &*call.kind.collection == crd::COLLECTION {
            return crd::commit(call, key, expect, object, released).map(|committed| committed.entry);
        }
        let write = if released { Write::Delete(bytes) } else { Write::Put(bytes) };
        call.store().commit(key, expect, write).map(|Committed { entry, .. }| entry)
    }
}

/// An object in the version that is stored.
fn to_stored(call: &Call, mut object: Object) -> Object {
    let kind = &call.kind;
    if kind.custom.is_some() {
        object.0.insert("apiVersion".into(), kind.served.stored_as.to_string().into());
    } else if let Err(error) = convert_builtin(&mut object, &kind.served.stored_as) {
        // The rows name only versions that share a kind; as it came it can still be read.
        tracing::error!(kind = %kind.served.kind, %error, "an object is stored in the version that it came in");
    }
    object
}

/// Whether nothing holds an object that is being deleted.
pub(crate) fn is_released(object: &Object, collection: &str) -> bool {
    let held_by_spec = || {
        let listed = object.pointer("/spec/finalizers").and_then(Value::as_array);
        collection == "namespaces" && listed.is_some_and(|list| !list.is_empty())
    };
    object.is_deleting() && object.finalizers().is_empty() && !held_by_spec()
}

/// The entry that a write would make.
fn pretend(
    call: &Call,
    key: Key,
    expect: Expect,
    object: &Object,
    live: Option<&Arc<Entry>>,
) -> Result<Arc<Entry>, CommitError<Header>> {
    let held = call.store().get(&key);
    let as_expected = match expect {
        Expect::Absent => held.is_none(),
        Expect::At(revision) => held.as_ref().is_some_and(|held| held.modified == revision),
        Expect::Any => true,
    };
    if !as_expected {
        return Err(CommitError::Conflict { key, held });
    }
    let revision = live.map_or(Revision::ZERO, |live| live.modified);
    // A create that is not stored is answered with the revision that it came with.
    let text = if revision == Revision::ZERO { object.resource_version().to_owned() } else { revision.to_string() };
    let value = encode::unstored(&object.0, &text);
    let meta = Header::read(&key, &value);
    Ok(Arc::new(Entry { key, value, meta, created: revision, modified: revision }))
}
