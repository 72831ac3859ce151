//! Strategic merge patch: lists are merged by the keys that the schema declares.
//!
//! A list has one merge key even where its elements are told apart by several: ports of one number and two protocols
//! are mixed up by a patch, as the stock server mixes them up, because clients compute their patches for that.

use super::PatchError;
use crate::schema::Schema;
use api::Object;
use serde_json::{Map, Value};

/// What to do with the map or the list that the directive stands in.
const DIRECTIVE: &str = "$patch";
/// The only members that a map may have after the merge.
const RETAIN_KEYS: &str = "$retainKeys";
/// The order of a merged list's elements.
const ORDER: &str = "$setElementOrder/";
/// Elements to take out of a list of scalars.
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// Applies a strategic merge patch. Without a schema no list has a merge key, and lists are replaced.
///
/// # Errors
/// If the patch is not a JSON object, or a directive or merge key in it is not as it must be.
pub fn apply(target: &mut Object, patch: &Value, schema: Option<&Schema>) -> Result<(), PatchError> {
    let Value::Object(patch) = patch else {
        return Err(malformed("a strategic merge patch of an object must itself be a JSON object"));
    };
    let mut merged = target.0.clone();
    merge_map(&mut merged, patch.clone(), schema.cloned().as_ref())?;
    target.0 = merged;
    Ok(())
}

fn merge_map(
    original: &mut Map<String, Value>,
    mut patch: Map<String, Value>,
    schema: Option<&Schema>,
) -> Result<(), PatchError> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        match directive.as_str() {
            Some("replace") => {
                *original = patch;
                return Ok(());
            }
            Some("delete") => {
                original.clear();
                return Ok(());
            }
            Some("merge") => {}
            _ => return Err(unknown_directive(&directive)),
        }
    }
    retain_keys(original, &mut patch)?;
    merge_ordered_lists(original, &mut patch, schema)?;
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE_FROM) {
            if let (Some(Value::Array(original)), Value::Array(gone)) = (original.get_mut(list), &value) {
                original.retain(|element| !gone.contains(element));
            }
            continue;
        }
        let field = schema.and_then(|schema| schema.field(&key));
        let merged = match (original.get_mut(&key), value) {
            (_, Value::Null) => {
                original.remove(&key);
                continue;
            }
            (Some(Value::Object(held)), Value::Object(patch)) => {
                let replace = field.as_ref().is_some_and(|field| field.node().patch_strategy.replace);
                if replace {
                    *held = patch;
                } else {
                    merge_map(held, patch, field.as_ref())?;
                }
                continue;
            }
            (Some(Value::Array(held)), Value::Array(patch)) => {
                Some(Value::Array(merge_list(&key, std::mem::take(held), patch, field.as_ref())?))
            }
            (_, value) => without_directives(value),
        };
        match merged {
            Some(merged) => original.insert(key, merged),
            None => original.remove(&key),
        };
    }
    Ok(())
}

/// Carries out `$retainKeys`: what the patch sets must be listed, and what is not listed goes.
fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), PatchError> {
    let Some(listed) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let bad = || malformed("invalid patch format of retainKeys");
    let listed = listed.as_array().ok_or_else(bad)?;
    let is_listed = |key: &str| listed.iter().any(|listed| listed.as_str() == Some(key));
    let sets = |key: &str, value: &Value| !value.is_null() && !key.starts_with(DELETE_FROM) && !key.starts_with(ORDER);
    if patch.iter().any(|(key, value)| sets(key, value) && !is_listed(key)) {
        return Err(bad());
    }
    original.retain(|key, _| is_listed(key));
    Ok(())
}

/// Merges the lists that the patch also orders, and takes them out of the patch.
fn merge_ordered_lists(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    schema: Option<&Schema>,
) -> Result<(), PatchError> {
    let ordered: Vec<String> = patch.keys().filter_map(|key| key.strip_prefix(ORDER)).map(Into::into).collect();
    for key in ordered {
        let order = patch.remove(&format!("{ORDER}{key}")).unwrap_or_default();
        let Value::Array(order) = order else {
            return Err(malformed("invalid patch format of setElementOrder list"));
        };
        let list = |value: Option<Value>| match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(malformed(format!("{key}: expected a list, but received {other}"))),
        };
        if patch.get(&key).is_some_and(Value::is_null) {
            continue;
        }
        let (held, patched) = (list(original.get(&key).cloned())?, list(patch.remove(&key))?);
        let field = schema.and_then(|schema| schema.field(&key));
        let merge_key = merge_key(field.as_ref());
        check_order(patched.as_deref().unwrap_or(&[]), &order, merge_key)?;
        let merged = match (held.clone(), patched) {
            (None, None) => continue,
            (Some(held), None) => held,
            (None, Some(patched)) => patched.into_iter().filter_map(without_directives).collect(),
            (Some(held), Some(patched)) => merge_list(&key, held, patched, field.as_ref())?,
        };
        let sorted = in_order(merged, &order, held.as_deref().unwrap_or(&[]), merge_key)?;
        original.insert(key, sorted.into());
    }
    Ok(())
}

/// The patch's elements must come in the order that it asks for, and all of them must be in it.
fn check_order(patched: &[Value], order: &[Value], merge_key: Option<&str>) -> Result<(), PatchError> {
    if patched.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut order_left = order.iter();
    for element in patched.iter().filter(|element| element.get(DIRECTIVE).is_none()) {
        let wanted = identity(element, merge_key)?;
        let mut found = false;
        for listed in order_left.by_ref() {
            if identity(listed, merge_key)? == wanted {
                found = true;
                break;
            }
        }
        if !found {
            let (patched, order) = (Value::from(patched), Value::from(order));
            return Err(malformed(format!(
                "The order in patch list:\n{patched}\n doesn't match {ORDER} list:\n{order}\n"
            )));
        }
    }
    Ok(())
}

fn merge_list(
    name: &str,
    original: Vec<Value>,
    patch: Vec<Value>,
    schema: Option<&Schema>,
) -> Result<Vec<Value>, PatchError> {
    if !schema.is_some_and(|schema| schema.node().patch_strategy.merge) {
        return Ok(patch.into_iter().filter_map(without_directives).collect());
    }
    if patch.is_empty() {
        return Ok(original);
    }
    let maps = original.iter().chain(&patch).filter(|element| element.is_object()).count();
    if maps == 0 {
        return merge_scalars(original, patch);
    }
    if maps < original.len() + patch.len() {
        return Err(malformed(format!("{name}: list element types are not identical")));
    }
    let Some(key) = merge_key(schema) else {
        return Err(malformed(format!("cannot merge lists without merge key for {name}")));
    };
    merge_elements(original, patch, key, schema.and_then(Schema::items).as_ref())
}

fn merge_scalars(original: Vec<Value>, patch: Vec<Value>) -> Result<Vec<Value>, PatchError> {
    if original.iter().chain(&patch).any(Value::is_array) {
        return Err(malformed("lists of lists are not supported"));
    }
    let mut merged: Vec<Value> = Vec::with_capacity(original.len() + patch.len());
    for element in original.iter().chain(&patch) {
        if !merged.contains(element) {
            merged.push(element.clone());
        }
    }
    in_order(merged, &patch, &original, None)
}

fn merge_elements(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
    items: Option<&Schema>,
) -> Result<Vec<Value>, PatchError> {
    let mut plain = Vec::with_capacity(patch.len());
    let mut replace = false;
    for mut element in patch {
        let directive = element.as_object_mut().and_then(|element| element.remove(DIRECTIVE));
        match directive.as_ref().map(|directive| directive.as_str().unwrap_or("")) {
            None | Some("merge") => plain.push(element),
            Some("replace") => replace = true,
            Some("delete") => {
                let gone = identity(&element, Some(key))?.clone();
                original.retain(|held| held.get(key) != Some(&gone));
            }
            Some(_) => return Err(unknown_directive(&directive.unwrap_or_default())),
        }
    }
    if replace {
        return Ok(plain.into_iter().filter_map(without_directives).collect());
    }
    let mut merged = original.clone();
    for element in plain.iter().cloned() {
        let wanted = identity(&element, Some(key))?;
        let held = merged.iter_mut().find(|held| held.get(key) == Some(wanted));
        match (held, element) {
            (Some(Value::Object(held)), Value::Object(patch)) => merge_map(held, patch, items)?,
            (_, element) => merged.extend(without_directives(element)),
        }
    }
    in_order(merged, &plain, &original, Some(key))
}

/// Elements that `order` names come in its order; the others keep the order of `before`, and stand in front of a
/// named one if they did so before.
fn in_order(
    merged: Vec<Value>,
    order: &[Value],
    before: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    for element in order.iter().chain(&merged) {
        identity(element, key)?;
    }
    let place = |list: &[Value], element: &Value| {
        let wanted = identity(element, key).ok();
        list.iter().position(|held| identity(held, key).ok() == wanted)
    };
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|element| place(order, element).is_some());
    named.sort_by_key(|element| place(order, element));
    others.sort_by_key(|element| place(before, element));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut sorted = Vec::new();
    loop {
        let other_first = match (named.peek(), others.peek()) {
            (None, None) => return Ok(sorted),
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (Some(named), Some(other)) => match (place(before, other), place(before, named)) {
                (Some(other), Some(named)) => other < named,
                _ => false,
            },
        };
        sorted.extend(if other_first { others.next() } else { named.next() });
    }
}

/// What tells an element apart: the value of its merge key, or the scalar itself.
fn identity<'a>(element: &'a Value, key: Option<&str>) -> Result<&'a Value, PatchError> {
    let Some(key) = key else { return Ok(element) };
    let found = element.get(key);
    found.ok_or_else(|| malformed(format!("map: {element} does not contain declared merge key: {key}")))
}

fn merge_key(schema: Option<&Schema>) -> Option<&str> {
    schema.and_then(|schema| schema.node().patch_merge_key.as_deref())
}

/// A value of the patch as it stands in an object: without nulls and directives. `None` if it is a directive itself.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) => {
            if map.contains_key(DIRECTIVE) {
                return None;
            }
            let directive = |key: &str| key == RETAIN_KEYS || key.starts_with(ORDER) || key.starts_with(DELETE_FROM);
            let kept = map
                .into_iter()
                .filter(|(key, value)| !value.is_null() && !directive(key))
                .filter_map(|(key, value)| Some((key, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(list) => Some(list.into_iter().filter_map(without_directives).collect()),
        other => Some(other),
    }
}

fn malformed(problem: impl Into<String>) -> PatchError {
    PatchError::Malformed(problem.into())
}

fn unknown_directive(directive: &Value) -> PatchError {
    let directive = directive.as_str().map_or_else(|| directive.to_string(), Into::into);
    malformed(format!("unknown patch type: {directive} in map"))
}
