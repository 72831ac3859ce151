//! Server-side apply: who owns which field, and what an apply or a plain write does to object and ownership.
//!
//! Versions of a kind are taken to have the same fields (conversion strategy `None`): entries of `managedFields` that
//! other versions made are compared with the object as it is.

mod check;
mod error;
mod fieldset;
mod last_applied;
mod managed;
mod place;
mod walk;

pub(crate) use check::go_type;

use crate::defaulting::zero;
use crate::schema::Schema;
use api::{Object, Timestamp};
use managed::{Entry, Operation, Owner};
use place::Place;
use serde_json::{Map, Value};
use walk::{Difference, Emptied};

pub use error::{ApplyError, Conflict, Conflicts};
pub use fieldset::{FieldSet, FieldsError};

/// The manager of what was there before ownership of an object was tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who writes, how, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The field manager; empty reads as `unknown`.
    pub manager: &'a str,
    /// The `apiVersion` that the request was made in.
    pub api_version: &'a str,
    /// `status`, `scale`... or empty.
    pub subresource: &'a str,
    /// When, for the entries of managedFields that this write touches.
    pub now: Timestamp,
    /// Fields that the endpoint ignores, with all below them (`status` for a main resource that has a status
    /// subresource, `spec` for its `/status`): a write never owns them.
    pub reset: &'a FieldSet,
}

/// Tracks the ownership of a create (`live` is `None`), update or patch: `new` comes back with
/// `metadata.managedFields` as it has to be stored. `new` carries what the client sent there (which may edit or reset
/// the tracking; through a subresource it is ignored), and is the object after defaulting.
///
/// An object that has a uid and whose ownership is not tracked stays so until it is applied.
pub fn update(live: Option<&Object>, mut new: Object, writer: &Writer<'_>, schema: Option<&Schema>) -> Object {
    let root = Place::root(schema);
    let sent = take_managed(&mut new);
    let held = live.and_then(|live| live.meta("managedFields"));
    let mut entries = entries_for_update(sent, held, writer);
    if entries.is_empty() && live.is_some_and(|live| !live.uid().is_empty()) {
        return new;
    }
    let nothing = if live.is_some() { Map::new() } else { zero(schema) };
    let difference = walk::compare(live.map_or(&nothing, |live| &live.0), &new.0, root).without(writer.reset);
    managed::record_update(&mut entries, &difference, writer.manager, writer, root);
    set_managed(&mut new, managed::encode(entries));
    new
}

/// Applies `config` to `live` (`None` creates). The result has `metadata.managedFields` set, and equals `live`
/// (timestamps included) when the apply changes nothing. Defaulting, validation and what the endpoint resets are the
/// caller's. Without a schema all is deduced: maps granular, lists atomic.
///
/// # Errors
/// [`ApplyError::Conflict`] if `config` changes what others own and `force` is not set; else what is wrong with
/// `config`.
pub fn apply(
    live: Option<&Object>,
    config: &Object,
    writer: &Writer<'_>,
    force: bool,
    schema: Option<&Schema>,
) -> Result<Object, ApplyError> {
    let root = Place::root(schema);
    check_config(config, writer, root)?;
    let config = complete(config, live);
    let mut base = live.cloned().unwrap_or_default();
    let held = take_managed(&mut base);
    let mut entries = managed::decode(held, false)
        .map_err(|error| ApplyError::Typed(format!("failed to decode managed fields: {error}")))?;
    if entries.is_empty() && live.is_some() {
        let all = walk::compare(&zero(schema), &base.0, root).without(writer.reset);
        managed::record_update(&mut entries, &all, BEFORE_FIRST_APPLY, writer, root);
    }
    // Places may have become atomic since the entries were made.
    entries.iter_mut().for_each(|entry| entry.fold_atomic(root));

    let owner = Owner::of(writer, Operation::Apply);
    let last = entries.iter().position(|entry| entry.owner == owner).map(|at| entries.swap_remove(at));
    let (last_time, last_fields) = match last {
        Some(mut entry) => (entry.time, std::mem::take(entry.fields())),
        None => (None, FieldSet::new()),
    };
    let fields = walk::fields_of(&config.0, root).recursive_difference(writer.reset);
    let merged = walk::merge(&base.0, &config.0, root);
    let mut result = Object(prune(merged, &last_fields, &fields, &mut entries, root));
    walk::restore_empty(&mut result.0, &config.0);

    let difference = walk::compare(&base.0, &result.0, root).without(writer.reset);
    if !force {
        refuse_conflicts(&mut entries, &difference, writer, &base, root)?;
    }
    for entry in &mut entries {
        entry.lose(&difference, root);
    }
    let changed = !same_but_nulls(&base.0, &result.0);
    if !changed {
        result = base;
    }
    let time = if changed { Some(writer.now) } else { last_time };
    entries.push(Entry::new(owner, writer.api_version, time, walk::without_identity(&fields)));
    if writer.manager == last_applied::KUBECTL {
        last_applied::refresh(&mut result, &config);
    }
    set_managed(&mut result, managed::encode(entries));
    Ok(result)
}

/// A write as another version of its kind shows it.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere<'a> {
    /// The other `apiVersion`.
    pub api_version: &'a str,
    /// The live object at it.
    pub before: &'a Object,
    /// What it becomes.
    pub after: &'a Object,
    /// The schema of the other version.
    pub schema: Option<&'a Schema>,
}

/// Takes from managers at another version what a write changed there: `object` is what was written, tracked. Without a
/// webhook that converts, versions have the same fields, and [`update`] and [`apply`] have done it.
///
/// # Errors
/// [`ApplyError::Conflict`] if `applied`, which is an apply without force, and the managers own what it changes.
pub fn across(
    object: &mut Object,
    elsewhere: &Elsewhere<'_>,
    writer: &Writer<'_>,
    applied: bool,
) -> Result<(), ApplyError> {
    let root = Place::root(elsewhere.schema);
    let entries = managed::decode(object.meta("managedFields").cloned(), true).unwrap_or_default();
    let (mut theirs, mut others): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| entry.api_version == elsewhere.api_version);
    let difference = walk::compare(&elsewhere.before.0, &elsewhere.after.0, root).without(writer.reset);
    if applied {
        refuse_conflicts(&mut theirs, &difference, writer, elsewhere.before, root)?;
    }
    for entry in &mut theirs {
        entry.lose(&difference, root);
    }
    others.extend(theirs);
    set_managed(object, managed::encode(others));
    Ok(())
}

/// What `managedFields` an update starts from: the client's, if it sent some that can be read and it writes the object
/// itself; else what is stored, since clients that do not know the field drop it.
fn entries_for_update(sent: Option<Value>, held: Option<&Value>, writer: &Writer<'_>) -> Vec<Entry> {
    let stored = || managed::decode(held.cloned(), true).unwrap_or_default();
    let Some(sent) = sent.filter(|_| writer.subresource.is_empty()) else { return stored() };
    if managed::is_reset(&sent) {
        return Vec::new();
    }
    if Some(&sent) == held {
        return managed::decode(Some(sent), true).unwrap_or_default();
    }
    match managed::decode(Some(sent), false) {
        Ok(entries) if !entries.is_empty() => entries,
        _ => stored(),
    }
}

fn check_config(config: &Object, writer: &Writer<'_>, root: Place<'_>) -> Result<(), ApplyError> {
    if config.api_version() != writer.api_version {
        return Err(ApplyError::BadRequest(format!(
            "Incorrect version specified in apply patch. Specified patch version: {}, expected: {}",
            config.api_version(),
            writer.api_version
        )));
    }
    if config.meta("managedFields").is_some_and(|managed| !managed.is_null()) {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".into()));
    }
    let problems = check::problems(&config.0, root);
    let listed = match problems.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    let (group_version, kind) = (config.api_version(), config.kind());
    // The core group has no name, and yet its slash.
    let slash = if group_version.contains('/') { "" } else { "/" };
    let subject = format!("{}/{}; {slash}{group_version}, Kind={kind}", config.namespace(), config.name());
    Err(ApplyError::Typed(format!("failed to create typed patch object ({subject}): {listed}")))
}

/// The config with the name that its URL gave it, and without the nulls that Go clients write into metadata.
fn complete(config: &Object, live: Option<&Object>) -> Object {
    let mut config = config.clone();
    let metadata = config.metadata_mut();
    metadata.retain(|_, value| !value.is_null());
    if let Some(live) = live
        && !metadata.contains_key("name")
    {
        metadata.insert("name".into(), live.name().into());
    }
    config
}

/// Takes away what this applier applied last time and not this time, unless somebody else owns it.
fn prune(
    merged: Map<String, Value>,
    last: &FieldSet,
    now: &FieldSet,
    others: &mut [Entry],
    root: Place<'_>,
) -> Map<String, Value> {
    if last.difference(now).is_empty() {
        return merged;
    }
    let owned = others.iter_mut().fold(now.clone(), |all, entry| all.union(entry.fields())).with_named_fields(root);
    let last = last.with_named_fields(root);
    let all = walk::fields_of(&merged, root).with_named_fields(root);
    let kept = |object: &Map<String, Value>| walk::fields_of(object, root).with_named_fields(root);
    // First all that was applied last time goes, then what has an owner comes back, then what nobody ever applied.
    let bare = kept(&walk::remove(&merged, &last, root, Emptied::IsNull));
    let with_owned = kept(&walk::remove(&merged, &all.difference(&bare.union(&owned)), root, Emptied::IsNull));
    walk::remove(&merged, &all.difference(&with_owned).intersection(&last), root, Emptied::Goes)
}

/// # Errors
/// If the config changes what others own.
fn refuse_conflicts(
    entries: &mut [Entry],
    difference: &Difference,
    writer: &Writer<'_>,
    live: &Object,
    root: Place<'_>,
) -> Result<(), ApplyError> {
    let changed = difference.modified.union(&difference.added);
    let mut conflicts: Vec<(Owner, FieldSet)> = entries
        .iter_mut()
        .map(|entry| (entry.owner.clone(), entry.fields().intersection(&changed)))
        .filter(|(_, fields)| !fields.is_empty())
        .collect();
    if !conflicts.is_empty()
        && writer.manager == last_applied::KUBECTL
        && let Some(allowed) = last_applied::allowed(live, writer.api_version, root)
    {
        for (_, fields) in &mut conflicts {
            *fields = fields.difference(&allowed);
        }
        conflicts.retain(|(_, fields)| !fields.is_empty());
    }
    if conflicts.is_empty() {
        return Ok(());
    }
    conflicts.sort_by(|a, b| a.0.cmp(&b.0));
    let listed = conflicts.iter().flat_map(|(owner, fields)| {
        fields.paths().into_iter().map(|field| Conflict { manager: owner.describe(), field })
    });
    Err(ApplyError::Conflict(Conflicts(listed.collect())))
}

fn take_managed(object: &mut Object) -> Option<Value> {
    object.0.get_mut("metadata")?.as_object_mut()?.remove("managedFields")
}

fn set_managed(object: &mut Object, managed: Option<Value>) {
    if let Some(managed) = managed {
        object.set_meta("managedFields", managed);
    }
}

/// Equal, where a null member is the same as none: typed kinds drop it, and others prune it.
fn same_but_nulls(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    let mut a = a.iter().filter(|(_, value)| !value.is_null());
    let mut b = b.iter().filter(|(_, value)| !value.is_null());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some((ka, Value::Object(a))), Some((kb, Value::Object(b)))) if ka == kb && same_but_nulls(a, b) => {}
            (Some((ka, a)), Some((kb, b))) if ka == kb && walk::same(a, b) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests;
