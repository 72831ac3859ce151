//! Rows of Tables: what `kubectl get` prints of an object.
//!
//! The cells of a built-in kind are in the order of its column definitions, those that only `-o wide` prints included.

mod custom;
mod duration;
mod kinds;
mod pod;
mod text;
mod workloads;

pub use custom::{Column, custom_cells};
pub use duration::{age, human_duration};

use crate::field::text_at;
use api::{Object, Timestamp};
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// What the cells of a kind are made of, in addition to the object.
struct Context<'a> {
    object: &'a Fields,
    now: Timestamp,
}

impl Context<'_> {
    fn name(&self) -> &str {
        text_at(self.object, "metadata.name")
    }

    /// Time since the object was created.
    fn age(&self) -> String {
        self.since("metadata.creationTimestamp")
    }

    /// Time since the timestamp at a path, or `<unknown>`.
    fn since(&self, path: &str) -> String {
        let text = crate::field::at(self.object, path).and_then(Value::as_str);
        duration::age_of(text, self.now)
    }
}

type Cells = fn(&Context<'_>) -> Vec<Value>;

/// Cells from values that turn into JSON.
macro_rules! row {
    ($($cell:expr),* $(,)?) => {
        vec![$(serde_json::Value::from($cell)),*]
    };
}
use row;

/// The cells of an object of a built-in kind at `now`. Kinds without columns of their own have a name and the time
/// of their creation.
pub fn cells(group: &str, kind: &str, object: &Object, now: Timestamp) -> Vec<Value> {
    let context = Context { object: &object.0, now };
    match find(group, kind) {
        Some(cells) => cells(&context),
        None => generic(&context),
    }
}

/// The `conditions` of an object's row: a Pod that has ended is marked as completed.
pub fn row_conditions(group: &str, kind: &str, object: &Object) -> Option<Value> {
    (group.is_empty() && kind == "Pod").then(|| pod::row_conditions(&object.0))?
}

fn find(group: &str, kind: &str) -> Option<Cells> {
    let tables = [workloads::KINDS, kinds::KINDS];
    tables.into_iter().flatten().find(|(g, k, _)| *g == group && *k == kind).map(|(_, _, cells)| *cells)
}

fn generic(context: &Context<'_>) -> Vec<Value> {
    row![context.name(), text_at(context.object, "metadata.creationTimestamp")]
}

#[cfg(test)]
mod tests;
