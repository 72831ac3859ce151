//! delete and deletecollection: an object goes at once, or is marked and waits for its finalizers.

use super::{admit, list, write};
use crate::admission::{self, Operation, Review};
use crate::call::{Call, refused};
use crate::crd::convert;
use crate::negotiate::{Accepted, Offer};
use crate::options::{DeleteOptions, ListOptions, Propagation};
use crate::respond::{self, Body, Result};
use crate::{Entry, crd, decode, encode, guard, present, services};
use api::{Object, Status};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use store::{CommitError, Expect, Write};

/// What a delete did.
pub(crate) enum Deleted {
    /// It is gone; this was its final state.
    Gone(Arc<Entry>),
    /// It is marked, and waits for finalizers.
    Marked(Arc<Entry>),
}

impl Deleted {
    fn entry(&self) -> &Arc<Entry> {
        match self {
            Self::Gone(entry) | Self::Marked(entry) => entry,
        }
    }
}

const PODS: &str = "pods";

/// Collections whose deletes a stock server looks at before its storage does, and refuses in other words.
const LOOKED_AT_FIRST: [&str; 2] = ["namespaces", crd::COLLECTION];

/// What a client is told that deletes a Job and does not say what becomes of its Pods.
const ORPHANED_PODS: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to \
     remove them or set propagationPolicy=Orphan to suppress this warning";

fn options(call: &Call) -> Result<DeleteOptions> {
    decode::check_size(&call.body)?;
    let body =
        if call.body.is_empty() { decode::Decoded::default() } else { decode::options(&call.headers, &call.body)? };
    DeleteOptions::read(&call.query, body.value, body.duplicates)
}

fn warn_of_orphans(call: &Call, options: &DeleteOptions) {
    if &*call.kind.collection == "jobs.batch" && options.propagation.is_none() {
        call.warnings.add(ORPHANED_PODS);
    }
}

pub(super) async fn delete(call: &Call) -> Result<Response<Body>> {
    let accepted = call.negotiate(Offer::Object)?;
    let options = options(call)?;
    warn_of_orphans(call, &options);
    let live = call.live().await?;
    // What cannot be shown in the version of the request is not deleted by it.
    convert::entry(&call.space, &call.kind, &live).await?;
    let mut warnings = Vec::new();
    let deleted = remove_warned(call, live, &options, &mut warnings).await?;
    call.settle(deleted.entry().modified).await?;
    let mut response = match &deleted {
        Deleted::Gone(entry) if !call.kind.rules.returns_deleted => gone(call, accepted, entry),
        deleted => present::object(call, accepted, StatusCode::OK, deleted.entry()).await?,
    };
    respond::warn(&mut response, &warnings);
    Ok(response)
}

/// The `Status` of a delete that is done.
fn gone(call: &Call, accepted: Accepted, entry: &Entry) -> Response<Body> {
    let mut details = Map::new();
    details.insert("name".into(), (*entry.key.name).into());
    if !call.kind.group_resource.group.is_empty() {
        details.insert("group".into(), call.kind.group_resource.group.as_str().into());
    }
    details.insert("kind".into(), call.kind.group_resource.resource.as_str().into());
    details.insert("uid".into(), entry.meta.uid.to_string().into());
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    present::document(Accepted { form: crate::negotiate::Form::Whole, ..accepted }, StatusCode::OK, status.to_string())
}

/// Deletes what is live, or marks it. Decided anew for as long as others are faster.
pub(crate) async fn remove(call: &Call, live: Arc<Entry>, options: &DeleteOptions) -> Result<Deleted> {
    remove_warned(call, live, options, &mut Vec::new()).await
}

/// [`remove`], with what admission warns of.
async fn remove_warned(
    call: &Call,
    mut live: Arc<Entry>,
    options: &DeleteOptions,
    warnings: &mut Vec<String>,
) -> Result<Deleted> {
    admit::deletable(call, &live.key.name)?;
    guard::check_deletion(call, &live.key.name)?;
    loop {
        preconditions(call, &live, options)?;
        if admission::interested(call, Operation::Delete) {
            let old = present::asked(call, &live).await?;
            let mut review = Review::new(call, Operation::Delete, options.dry_run, options.to_value());
            review.old = Some(&old);
            admission::mutate(&mut review).await?;
            admission::validate(&mut review).await?;
            warnings.append(&mut review.warnings);
        }
        let (object, held) = marked(call, &live, options)?;
        let outcome = if held {
            match object {
                Some(object) => write::Stored::new(call, object)
                    .await?
                    .commit(call, Expect::At(live.modified), options.dry_run, Some(&live))
                    .map(Deleted::Marked),
                None => return Ok(Deleted::Marked(live)),
            }
        } else if let Some(object) = object {
            // It is marked, and nothing holds it: its mark is in what it was last.
            write::Stored::new(call, object)
                .await?
                .commit(call, Expect::At(live.modified), options.dry_run, Some(&live))
                .map(Deleted::Gone)
        } else if options.dry_run {
            return Ok(Deleted::Gone(live));
        } else if &*call.kind.collection == crd::COLLECTION {
            let object: Object = serde_json::from_slice(&live.value).map_err(Status::internal)?;
            crd::commit(call, live.key.clone(), Expect::At(live.modified), object, true)
                .map(|committed| Deleted::Gone(committed.entry))
        } else {
            let ready = match call.inherited() {
                Some(inherited) => inherited.depart(Arc::clone(&live)),
                None => Ok(Arc::clone(&live)),
            };
            ready.and_then(|live| {
                let write = Write::Delete(encode::restamped(&live));
                let committed = call.store().commit(live.key.clone(), Expect::At(live.modified), write)?;
                Ok(Deleted::Gone(committed.entry))
            })
        };
        match outcome {
            Ok(deleted) => {
                if let Deleted::Gone(entry) = &deleted
                    && &*entry.key.collection.resource == services::COLLECTION
                {
                    services::follow(call, &entry.key, Some(&present::tree(&call.kind, entry)?));
                }
                return Ok(deleted);
            }
            Err(CommitError::Conflict { held: Some(held), .. }) => live = held,
            Err(CommitError::Conflict { held: None, .. }) => {
                call.settle(call.store().head()).await?;
                return Err(Status::not_found(&call.kind.group_resource, &live.key.name).into());
            }
            Err(error) => return Err(refused(&error)),
        }
    }
}

fn preconditions(call: &Call, live: &Entry, options: &DeleteOptions) -> Result<()> {
    // The stock server names the kind here, not the resource.
    // Of a kind that is served in two groups, that of the one that it stores.
    let group = call.kind.served.stored_as.split_once('/').map_or("", |(group, _)| group);
    let resource = &api::GroupResource { group: group.into(), resource: call.kind.served.kind.to_string() };
    let held = live.meta.uid.to_string();
    if let Some(uid) = options.uid.as_ref().filter(|uid| **uid != held) {
        if LOOKED_AT_FIRST.contains(&&*call.kind.collection) {
            let cause = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {held}");
            return Err(Status::conflict(&call.kind.group_resource, &live.key.name, cause).into());
        }
        let cause = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({held}). The object might have been \
             deleted and then recreated"
        );
        return Err(Status::conflict(resource, &live.key.name, cause).into());
    }
    let held = live.modified.to_string();
    if let Some(version) = options.resource_version.as_ref().filter(|version| **version != held) {
        let cause = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({held}). \
             The object might have been modified"
        );
        return Err(Status::conflict(resource, &live.key.name, cause).into());
    }
    Ok(())
}

/// The object marked for deletion (`None` if it is as it has to be), and whether anything holds it.
fn marked(call: &Call, live: &Entry, options: &DeleteOptions) -> Result<(Option<Object>, bool)> {
    let default = if call.kind.rules.orphans { Propagation::Orphan } else { Propagation::Background };
    let asked = options.propagation.unwrap_or(default);
    let is_namespace = &*call.kind.collection == "namespaces";
    let is_definition = &*call.kind.collection == crd::COLLECTION;
    // A Pod says how long it had to end, even if it had no time at all.
    let graceful = &*call.kind.collection == PODS && !live.meta.deleting;
    // Nothing to be read in the most common case: a plain object without finalizers.
    if !live.meta.finalizers
        && !live.meta.deleting
        && asked == Propagation::Background
        && !is_namespace
        && !graceful
        && !is_definition
    {
        return Ok((None, false));
    }
    // At the version that is stored: a webhook has no say in this.
    let old = present::stored(call, live)?;
    let mut object = old.clone();
    if !live.meta.deleting {
        let mut finalizers: Vec<&str> = old.finalizers();
        if options.propagation.is_some() || call.kind.rules.orphans {
            finalizers.retain(|finalizer| !matches!(*finalizer, "orphan" | "foregroundDeletion"));
            match asked {
                Propagation::Background => {}
                Propagation::Foreground => finalizers.push("foregroundDeletion"),
                Propagation::Orphan => finalizers.push("orphan"),
            }
        }
        if finalizers.is_empty() {
            object.metadata_mut().remove("finalizers");
        } else {
            object.set_meta("finalizers", finalizers.clone());
        }
        let spec_holds = is_namespace
            && old.pointer("/spec/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        if finalizers.is_empty() && !spec_holds && !graceful && !is_definition {
            return Ok((None, false));
        }
        object.set_meta("deletionTimestamp", call.server.now().to_string());
        if is_definition {
            crd::hold(&mut object, call.server.now());
        } else if !is_namespace {
            object.set_meta("deletionGracePeriodSeconds", 0);
        }
        if object.generation() > 0 && !is_definition {
            let next = object.generation() + 1;
            object.set_meta("generation", next);
        }
        if is_namespace {
            object.0.insert("status".into(), json!({"phase": "Terminating"}));
        }
    }
    let held = !write::is_released(&object, &call.kind.collection);
    let changed = object != old;
    Ok((changed.then_some(object), held))
}

pub(super) async fn delete_collection(call: &Call) -> Result<Response<Body>> {
    let accepted = call.negotiate(Offer::List)?;
    let options = options(call)?;
    warn_of_orphans(call, &options);
    let selected = ListOptions::read(&call.query, false)?;
    let listed = list::find(call, &selected, list::As::Stored).await?.entries;
    convert::entries(&call.space, &call.kind, &listed).await?;
    let deleted = remove_all(call, listed, &options).await?;
    let deleted = convert::entries(&call.space, &call.kind, &deleted).await?;
    let head = call.store().head();
    call.settle(head).await?;
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), head.to_string().into());
    Ok(list::answer(call, accepted, metadata, &deleted))
}

/// Deletes every object of the collection.
pub(crate) async fn delete_all(call: &Call) -> Result<()> {
    let listed = list::find(call, &ListOptions::default(), list::As::Stored).await?;
    remove_all(call, listed.entries, &DeleteOptions::default()).await.map(drop)
}

async fn remove_all(call: &Call, listed: Vec<Arc<Entry>>, options: &DeleteOptions) -> Result<Vec<Arc<Entry>>> {
    let mut deleted = Vec::with_capacity(listed.len());
    for entry in listed {
        match remove(call, entry, options).await {
            Ok(done) => deleted.push(Arc::clone(done.entry())),
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    Ok(deleted)
}
