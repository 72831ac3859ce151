//! `metadata.managedFields`: its entries, their order, and how many of them an object may carry.

use super::Writer;
use super::fieldset::{FieldSet, FieldsError, Touch};
use super::place::Place;
use super::walk::{self, Difference};
use api::Timestamp;
use serde_json::{Map, Value};

/// Entries of plain writes that an object carries before the oldest are folded into one, as in the stock server: each
/// costs about as much as the fields it lists, and controllers with generated names would add them without end.
const MAX_UPDATE_ENTRIES: usize = 10;
/// The manager of the folded entries.
const ANCIENT: &str = "ancient-changes";

/// How an entry came about. Ordered as entries are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// Who an entry is about. An applier has one entry whatever version it applies in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Owner {
    pub(super) manager: String,
    pub(super) operation: Operation,
    /// Empty for an applier: its version is in the entry.
    api_version: String,
    pub(super) subresource: String,
}

/// One entry of `managedFields`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) owner: Owner,
    pub(super) api_version: String,
    pub(super) time: Option<Timestamp>,
    fields: Fields,
}

/// Reading costs more than most writes need: an entry that a write does not touch stays as it was.
#[derive(Clone, Debug)]
enum Fields {
    Written(Value),
    Read(FieldSet),
}

/// Entries that cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct DecodeError(String);

impl From<FieldsError> for DecodeError {
    fn from(error: FieldsError) -> Self {
        Self(error.to_string())
    }
}

impl Owner {
    pub(super) fn of(writer: &Writer<'_>, operation: Operation) -> Self {
        let api_version = match operation {
            Operation::Apply => String::new(),
            Operation::Update => writer.api_version.into(),
        };
        let manager = if writer.manager.is_empty() { "unknown" } else { writer.manager };
        Self { manager: manager.into(), operation, api_version, subresource: writer.subresource.into() }
    }

    /// As conflicts name it: `"helm" using apps/v1`.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

impl Entry {
    pub(super) fn new(owner: Owner, api_version: &str, time: Option<Timestamp>, fields: FieldSet) -> Self {
        Self { owner, api_version: api_version.into(), time, fields: Fields::Read(fields) }
    }

    /// The fields, read.
    pub(super) fn fields(&mut self) -> &mut FieldSet {
        if let Fields::Written(value) = &self.fields {
            // What was stored was written by `FieldSet` and reads; if bytes were harmed since, nothing is owned.
            self.fields = Fields::Read(FieldSet::from_value(value).unwrap_or_default());
        }
        match &mut self.fields {
            Fields::Read(set) => set,
            Fields::Written(_) => unreachable!("read above"),
        }
    }

    fn is_empty(&self) -> bool {
        match &self.fields {
            Fields::Written(value) => value.as_object().is_none_or(Map::is_empty),
            Fields::Read(set) => set.is_empty(),
        }
    }

    /// Folds what lies below places that are owned as a whole.
    pub(super) fn fold_atomic(&mut self, root: Place<'_>) {
        self.fields().fold_atomic(root);
    }

    /// Takes what differs away from this owner.
    pub(super) fn lose(&mut self, difference: &Difference, root: Place<'_>) {
        let parts = [&difference.added, &difference.modified, &difference.removed];
        if let Fields::Written(Value::Object(map)) = &mut self.fields {
            let mut above = false;
            for part in parts {
                match part.touches(map) {
                    Touch::None => {}
                    Touch::Here => part.subtract_from(map),
                    Touch::Above => above = true,
                }
            }
            if !above {
                return;
            }
            self.fold_atomic(root);
        }
        let fields = self.fields();
        for part in parts {
            if !part.is_empty() {
                *fields = fields.difference(part);
            }
        }
    }

    /// Gives fields to this owner.
    fn gain(&mut self, more: &FieldSet) {
        match &mut self.fields {
            Fields::Written(Value::Object(map)) => more.add_to(map),
            _ => {
                let fields = self.fields();
                *fields = fields.union(more);
            }
        }
    }

    fn decode(value: &mut Value, at: usize, canonical: bool) -> Result<Self, DecodeError> {
        let fields = value.get_mut("fieldsV1").map(Value::take).unwrap_or_default();
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or("");
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(DecodeError("operation must be `Apply` or `Update`".into())),
        };
        let api_version = text("apiVersion");
        if api_version.is_empty() {
            return Err(DecodeError("apiVersion must not be empty".into()));
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(DecodeError(format!("missing fieldsType in managed fields entry {at}"))),
            other => return Err(DecodeError(format!("invalid fieldsType {other:?} in managed fields entry {at}"))),
        }
        let fields = match fields {
            Value::Null => Fields::Read(FieldSet::new()),
            Value::Object(_) if canonical => Fields::Written(fields),
            fields => Fields::Read(FieldSet::from_value(&fields)?),
        };
        let owner = Owner {
            manager: text("manager").into(),
            operation,
            api_version: if operation == Operation::Apply { String::new() } else { api_version.into() },
            subresource: text("subresource").into(),
        };
        Ok(Self { owner, api_version: api_version.into(), time: text("time").parse().ok(), fields })
    }

    fn encode(self) -> Value {
        let mut entry = Map::new();
        entry.insert("apiVersion".into(), self.api_version.into());
        entry.insert("fieldsType".into(), "FieldsV1".into());
        let fields = match self.fields {
            Fields::Written(value) => value,
            Fields::Read(set) => set.to_value(),
        };
        entry.insert("fieldsV1".into(), fields);
        entry.insert("manager".into(), self.owner.manager.into());
        let operation = match self.owner.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        };
        entry.insert("operation".into(), operation.into());
        if !self.owner.subresource.is_empty() {
            entry.insert("subresource".into(), self.owner.subresource.into());
        }
        if let Some(time) = self.time {
            entry.insert("time".into(), time.to_string().into());
        }
        Value::Object(entry)
    }
}

/// Whether a client asks to forget all ownership: an empty list, or one empty entry.
pub(super) fn is_reset(value: &Value) -> bool {
    match value.as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([Value::Object(only)]) => only.is_empty(),
        _ => false,
    }
}

/// Reads `managedFields`. `canonical` says that we wrote it, so that its fields need no reading yet.
///
/// # Errors
/// If an entry is not of a known form.
pub(super) fn decode(value: Option<Value>, canonical: bool) -> Result<Vec<Entry>, DecodeError> {
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(DecodeError(format!("managedFields must be a list, got {other}"))),
    };
    let mut entries: Vec<Entry> = Vec::with_capacity(list.len());
    for (at, mut value) in list.into_iter().enumerate() {
        let entry = Entry::decode(&mut value, at, canonical)?;
        // One owner has one entry: of two, the later counts.
        match entries.iter_mut().find(|held| held.owner == entry.owner) {
            Some(held) => *held = entry,
            None => entries.push(entry),
        }
    }
    Ok(entries)
}

/// Sorts and writes `managedFields`; entries that own nothing are left out, and `None` means that no entry is left.
pub(super) fn encode(mut entries: Vec<Entry>) -> Option<Value> {
    entries.retain(|entry| !entry.is_empty());
    if entries.is_empty() {
        return None;
    }
    entries.sort_by(|a, b| {
        let key = |entry: &Entry| (entry.owner.operation, seconds(entry));
        key(a)
            .cmp(&key(b))
            .then_with(|| a.owner.manager.cmp(&b.owner.manager))
            .then_with(|| a.api_version.cmp(&b.api_version))
            .then_with(|| a.owner.subresource.cmp(&b.owner.subresource))
    });
    Some(entries.into_iter().map(Entry::encode).collect())
}

/// Records a plain write: what it changed now belongs to `manager`, and to nobody else.
pub(super) fn record_update(
    entries: &mut Vec<Entry>,
    difference: &Difference,
    manager: &str,
    writer: &Writer<'_>,
    root: Place<'_>,
) {
    for entry in entries.iter_mut() {
        entry.lose(difference, root);
    }
    let taken = walk::without_identity(&difference.modified.union(&difference.added));
    if !taken.is_empty() {
        let owner = Owner::of(&Writer { manager, ..*writer }, Operation::Update);
        match entries.iter_mut().find(|entry| entry.owner == owner) {
            Some(entry) => {
                entry.gain(&taken);
                entry.time = Some(writer.now);
            }
            None => entries.push(Entry::new(owner, writer.api_version, Some(writer.now), taken)),
        }
    }
    entries.retain(|entry| !entry.is_empty());
    fold_oldest(entries);
}

/// Folds the oldest entries of plain writes, per version, until there are few enough.
fn fold_oldest(entries: &mut Vec<Entry>) {
    let mut updates: Vec<Owner> = Vec::new();
    let mut order: Vec<&Entry> = entries.iter().filter(|entry| entry.owner.operation == Operation::Update).collect();
    if order.len() <= MAX_UPDATE_ENTRIES {
        return;
    }
    order.sort_by(|a, b| seconds(a).cmp(&seconds(b)).then_with(|| a.owner.cmp(&b.owner)));
    updates.extend(order.into_iter().map(|entry| entry.owner.clone()));
    let mut left = updates.len();
    let mut first_of_version: Vec<Owner> = Vec::new();
    for owner in updates {
        if left <= MAX_UPDATE_ENTRIES {
            return;
        }
        let Some(first) = first_of_version.iter().find(|first| first.api_version == owner.api_version) else {
            first_of_version.push(owner);
            continue;
        };
        let bucket = Owner { manager: ANCIENT.into(), subresource: String::new(), ..owner.clone() };
        if !entries.iter().any(|entry| entry.owner == bucket) {
            // The first of this version becomes the bucket.
            if let Some(entry) = entries.iter_mut().find(|entry| entry.owner == *first) {
                entry.owner = bucket.clone();
            }
        }
        let Some(at) = entries.iter().position(|entry| entry.owner == owner) else { continue };
        if owner == bucket {
            continue;
        }
        let mut folded = entries.swap_remove(at);
        left -= 1;
        if let Some(entry) = entries.iter_mut().find(|entry| entry.owner == bucket) {
            let fields = entry.fields().union(folded.fields());
            *entry.fields() = fields;
            entry.time = folded.time;
        }
    }
}

fn seconds(entry: &Entry) -> i64 {
    entry.time.map_or(0, Timestamp::seconds)
}
