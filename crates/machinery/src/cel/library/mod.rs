//! The functions that expressions may call: the standard library and those that Kubernetes adds. A function is a row
//! with the signatures that the checker knows, and the code that all of them share.

pub(crate) mod access;
mod conversions;
pub(crate) mod formats;
mod lists;
pub(crate) mod network;
mod operators;
mod optionals;
mod quantities;
pub(crate) mod regexes;
pub(crate) mod semver;
mod strings;
mod times;

use super::error::Error;
use super::types::{self, Type};
use super::value::Value;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// The code of a function: it gets the target of a member call as its first argument.
pub(crate) type Native = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, Error>;

/// A function as it is declared. A signature is `id: (types) result`, or `id: type.(types) result` for a member.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) call: Native,
    pub(crate) overloads: &'static [&'static str],
}

/// A function as the checker knows it.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) call: Native,
    pub(crate) overloads: Vec<Overload>,
}

/// One signature.
pub(crate) struct Overload {
    pub(crate) id: &'static str,
    pub(crate) member: bool,
    /// With the target.
    pub(crate) params: Vec<Type>,
    pub(crate) result: Type,
    /// How many type variables it has.
    pub(crate) variables: u32,
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let modules = [
        operators::ROWS,
        conversions::ROWS,
        strings::ROWS,
        lists::ROWS,
        times::ROWS,
        optionals::ROWS,
        regexes::ROWS,
        network::ROWS,
        quantities::ROWS,
        semver::ROWS,
        formats::ROWS,
        access::ROWS,
    ];
    let mut functions: HashMap<&'static str, Function> = HashMap::new();
    for row in modules.into_iter().flatten() {
        let overloads: Vec<Overload> = row.overloads.iter().map(|text| signature(text)).collect();
        let held = functions.entry(row.name).or_insert_with(|| Function {
            name: row.name,
            call: row.call,
            overloads: Vec::new(),
        });
        held.overloads.extend(overloads);
    }
    functions
});

/// A function by its name.
pub(crate) fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.get(name)
}

/// The type that a name denotes.
pub(crate) fn type_named(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "list" => Type::list(Type::Dyn),
        "map" => Type::Map(Arc::new(Type::Dyn), Arc::new(Type::Dyn)),
        "null_type" => Type::Null,
        "type" => Type::Type(Arc::new(Type::Dyn)),
        "optional_type" => Type::optional(Type::Dyn),
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        "net.IP" => Type::Opaque(types::IP),
        "net.CIDR" => Type::Opaque(types::CIDR),
        "kubernetes.Quantity" => Type::Opaque(types::QUANTITY),
        "kubernetes.URL" => Type::Opaque(types::URL),
        "kubernetes.Semver" => Type::Opaque(types::SEMVER),
        _ => return None,
    })
}

/// Reads a signature. Rows are ours: one that cannot be read is found by the first test that touches the library.
fn signature(text: &'static str) -> Overload {
    let (id, rest) = text.split_once(": ").expect("a signature has an id");
    let open = opening(rest);
    let (target, rest) = rest.split_at(open);
    let member = target.ends_with('.');
    let close = rest.find(") ").map_or(rest.len() - 1, |_| closing(rest));
    let (args, result) = (&rest[1..close], rest[close + 1..].trim());
    let mut params = Vec::new();
    if member {
        params.push(named(target.trim_end_matches('.')));
    }
    params.extend(split(args).into_iter().map(named));
    let result = named(result);
    let variables = params.iter().chain([&result]).map(highest).max().unwrap_or(0);
    Overload { id, member, params, result, variables }
}

/// Where the arguments begin.
fn opening(text: &str) -> usize {
    if text.starts_with('(') { 0 } else { text.find(".(").map_or(0, |at| at + 1) }
}

/// Where the first bracket is closed.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// At the commas that are outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    if !text[from..].trim().is_empty() {
        parts.push(text[from..].trim());
    }
    parts
}

fn named(text: &str) -> Type {
    if let Some((outer, inner)) = text.split_once('(') {
        let inner = split(inner.strip_suffix(')').expect("brackets of a signature are closed"));
        let of = |index: usize| Arc::new(named(inner[index]));
        return match outer {
            "list" => Type::List(of(0)),
            "map" => Type::Map(of(0), of(1)),
            "optional" => Type::Optional(of(0)),
            "type" => Type::Type(of(0)),
            other => panic!("{other} is no type of a signature"),
        };
    }
    match text {
        "dyn" => Type::Dyn,
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "quantity" => Type::Opaque(types::QUANTITY),
        "url" => Type::Opaque(types::URL),
        "ip" => Type::Opaque(types::IP),
        "cidr" => Type::Opaque(types::CIDR),
        "semver" => Type::Opaque(types::SEMVER),
        "format" => Type::Opaque(types::FORMAT),
        "authorizer" => Type::Opaque(types::AUTHORIZER),
        "path_check" => Type::Opaque(types::PATH_CHECK),
        "group_check" => Type::Opaque(types::GROUP_CHECK),
        "resource_check" => Type::Opaque(types::RESOURCE_CHECK),
        "decision" => Type::Opaque(types::DECISION),
        "A" | "K" | "T" => Type::Param(0),
        "B" | "V" => Type::Param(1),
        other => panic!("{other} is no type of a signature"),
    }
}

fn highest(ty: &Type) -> u32 {
    match ty {
        Type::Param(index) => index + 1,
        Type::List(of) | Type::Optional(of) | Type::Type(of) => highest(of),
        Type::Map(key, value) => highest(key).max(highest(value)),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_can_be_read() {
        let overload = signature("x: list(A).(map(A, B), int) optional(list(B))");
        assert!(overload.member);
        let shown: Vec<String> = overload.params.iter().map(Type::to_string).collect();
        assert_eq!(shown, ["list(_var0)", "map(_var0, _var1)", "int"]);
        assert_eq!((overload.result.to_string().as_str(), overload.variables), ("optional_type(list(_var1))", 2));
        assert!(FUNCTIONS.len() > 100);
    }
}
