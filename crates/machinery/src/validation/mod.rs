//! What is wrong with an object of a built-in kind beyond its types, in the words of the stock server's 422.
//!
//! Metadata is not looked at here: its rules are the same for every kind, and the server checks them. Custom resources
//! are checked by [`crate::schema::check`].

mod access;
mod admission;
mod cron;
mod declared;
mod devices;
mod endpoints;
mod flowcontrol;
mod network;
mod pods;
mod resources;
mod rows;
mod storage;
mod text;
mod update;
mod workloads;

pub use update::resized;

pub(crate) use admission::client_config;
pub(crate) use endpoints::NOT_AN_IP;

use crate::field::{self, Path};
use crate::schema::Schema;
use api::{Cause, Object};
use serde_json::{Map, Value};

type Fields = Map<String, Value>;
type Causes = Vec<Cause>;
type Check = fn(&Fields, &mut Causes);

/// What is wrong with a new object of a built-in kind, after its defaults were applied. With its schema, what the schema
/// requires and enumerates is checked too.
pub fn validate_create(group: &str, kind: &str, object: &Object, schema: Option<&Schema>) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (_, _, check) in tables().filter(|(g, k, _)| *k == kind && *g == group) {
        check(&object.0, &mut causes);
    }
    for (_, _, rows) in rows::KINDS.iter().filter(|(g, k, _)| *k == kind && *g == group) {
        rows::apply(rows, &object.0, &mut causes);
    }
    if let Some(schema) = schema {
        declared::check(kind, &object.0, schema, &mut causes);
    }
    causes
}

/// What is wrong with an object of a built-in kind that replaces `old`. What was wrong before in the same words is let
/// pass, so that objects that an older server took can still be changed.
pub fn validate_update(group: &str, kind: &str, object: &Object, old: &Object, schema: Option<&Schema>) -> Vec<Cause> {
    let mut causes = validate_create(group, kind, object, schema);
    if !causes.is_empty() {
        let before = validate_create(group, kind, old, schema);
        causes.retain(|cause| !before.contains(cause));
    }
    update::check(group, kind, &object.0, &old.0, &mut causes);
    causes
}

fn tables() -> impl Iterator<Item = (&'static str, &'static str, Check)> {
    [workloads::KINDS, access::KINDS, network::KINDS, resources::KINDS, storage::KINDS].into_iter().flatten().copied()
}

/// Says what each of the problems of a text is.
fn each(out: &mut Causes, path: &Path<'_>, text: &str, problems: Vec<String>) {
    out.extend(problems.iter().map(|problem| field::invalid_text(path, text, problem)));
}

/// A number must be in a range of ports.
fn port(out: &mut Causes, path: &Path<'_>, number: i64) {
    if !(1..=65_535).contains(&number) {
        out.push(field::invalid(path, &number.into(), "must be between 1 and 65535, inclusive"));
    }
}

/// A port by number or by name.
fn port_or_name(out: &mut Causes, path: &Path<'_>, value: Option<&Value>) {
    match value {
        Some(Value::String(name)) => each(out, path, name, text::port_name(name)),
        Some(Value::Number(number)) => port(out, path, number.as_i64().unwrap_or(-1)),
        _ => port(out, path, 0),
    }
}

/// The numbers of these fields must not be below zero.
fn not_negative(out: &mut Causes, fields: &Fields, path: &Path<'_>, names: &[&str]) {
    for name in names {
        if let Some(number) = field::int_at(fields, name).filter(|number| *number < 0) {
            out.push(field::invalid(&path.field(name), &number.into(), "must be greater than or equal to 0"));
        }
    }
}

/// These fields must be there, and not be empty.
fn needed(out: &mut Causes, fields: &Fields, path: &Path<'_>, names: &[&str]) {
    for name in names {
        let missing = match fields.get(*name) {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(_) => false,
        };
        if missing {
            out.push(field::required(&path.field(name), ""));
        }
    }
}

#[cfg(test)]
mod tests;
