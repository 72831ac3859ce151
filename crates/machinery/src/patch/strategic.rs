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
            _ => {
                patch.insert(DIRECTIVE.into(), directive.clone());
                return Err(unknown_directive(&directive, &patch));
            }
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
            return Err(unmergeable("invalid patch format of setElementOrder list"));
        };
        let list = |value: Option<Value>| match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(unmergeable(format!("{key}: expected a list, but received {other}"))),
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
            let (patched, order) = (as_go(&patched.into()), as_go(&order.into()));
            let directive = ORDER.trim_end_matches('/');
            return Err(unmergeable(format!(
                "The order in patch list:\n{patched}\n doesn't match {directive} list:\n{order}\n"
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
        return Err(unmergeable(format!("{name}: list element types are not identical")));
    }
    let Some(key) = merge_key(schema) else {
        return Err(unmergeable(format!("cannot merge lists without merge key for {name}")));
    };
    merge_elements(original, patch, key, schema.and_then(Schema::items).as_ref())
}

fn merge_scalars(original: Vec<Value>, patch: Vec<Value>) -> Result<Vec<Value>, PatchError> {
    if original.iter().chain(&patch).any(Value::is_array) {
        return Err(unmergeable("lists of lists are not supported"));
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
            Some(_) => {
                let directive = directive.unwrap_or_default();
                let mut map = element.as_object().cloned().unwrap_or_default();
                map.insert(DIRECTIVE.into(), directive.clone());
                return Err(unknown_directive(&directive, &map));
            }
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
    found.ok_or_else(|| unmergeable(format!("map: {} does not contain declared merge key: {key}", as_go(element))))
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

fn unmergeable(problem: impl Into<String>) -> PatchError {
    PatchError::Unmergeable(problem.into())
}

fn unknown_directive(directive: &Value, map: &Map<String, Value>) -> PatchError {
    unmergeable(format!("unknown patch type: {} in map: {}", as_go(directive), as_go(&map.clone().into())))
}

/// A value as Go prints it: `map[a:1 b:[x y]]`.
fn as_go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(as_go).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let members: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", as_go(value))).collect();
            format!("map[{}]", members.join(" "))
        }
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::from_crd;
    use serde_json::json;

    /// Something like a Deployment's pod template.
    fn schema() -> Schema {
        let merge = |key: &str, items: Value| {
            json!({"type": "array", "items": items, "x-kubernetes-patch-strategy": "merge",
                "x-kubernetes-patch-merge-key": key})
        };
        let text = json!({"type": "string"});
        let port = json!({"type": "object", "properties": {
            "containerPort": {"type": "integer"}, "protocol": text, "name": text}});
        let container = json!({"type": "object", "properties": {
            "name": text, "image": text, "args": {"type": "array", "items": text}, "env": merge("name", json!({"type": "object"})),
            "ports": merge("containerPort", port)}});
        let mut volumes = merge("name", json!({"type": "object", "properties": {"name": text}}));
        volumes["x-kubernetes-patch-strategy"] = json!("merge,retainKeys");
        from_crd(&json!({"type": "object", "properties": {
            "finalizers": {"type": "array", "items": text, "x-kubernetes-patch-strategy": "merge"},
            "containers": merge("name", container),
            "volumes": volumes,
            "strategy": {"type": "object", "x-kubernetes-patch-strategy": "retainKeys", "properties": {
                "type": text, "rollingUpdate": {"type": "object"}}},
            "selector": {"type": "object", "x-kubernetes-patch-strategy": "replace", "additionalProperties": text},
            "labels": {"type": "object", "additionalProperties": text},
            "args": {"type": "array", "items": text},
        }}))
        .unwrap()
    }

    fn object(value: &Value) -> Object {
        Object(value.as_object().unwrap().clone())
    }

    #[track_caller]
    fn check(before: Value, patch: Value, after: Value) {
        let mut patched = object(&before);
        apply(&mut patched, &patch, Some(&schema())).unwrap_or_else(|error| panic!("{patch}: {error}"));
        assert_eq!(Value::Object(patched.0), after, "{patch}");
    }

    #[track_caller]
    fn check_error(before: Value, patch: Value, message: &str) {
        let mut patched = object(&before);
        let error = apply(&mut patched, &patch, Some(&schema())).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        let code = if matches!(error, PatchError::Malformed(_)) { 400 } else { 500 };
        assert_eq!(error.status().code, code);
        assert_eq!(patched, object(&before), "a patch that fails changes nothing");
    }

    #[test]
    fn maps_merge_null_deletes_and_lists_without_a_strategy_are_replaced() {
        check(
            json!({"labels": {"a": "1", "b": "2"}}),
            json!({"labels": {"a": null, "c": "3"}}),
            json!({"labels": {"b": "2", "c": "3"}}),
        );
        check(json!({"args": ["a", "b"]}), json!({"args": ["c"]}), json!({"args": ["c"]}));
        check(json!({}), json!({"labels": {"a": null, "b": "1"}}), json!({"labels": {"b": "1"}}));
        check(json!({"labels": "x"}), json!({"labels": {"a": "1"}}), json!({"labels": {"a": "1"}}));
        check(json!({"selector": {"a": "1"}}), json!({"selector": {"b": "1"}}), json!({"selector": {"b": "1"}}));
    }

    #[test]
    fn list_elements_merge_by_their_key_and_new_ones_come_as_the_patch_has_them() {
        check(
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}),
            json!({"containers": [{"name": "b", "image": "2"}, {"name": "c"}]}),
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c"}]}),
        );
        check(
            json!({"containers": [{"name": "a", "env": [{"name": "x", "value": "1"}]}]}),
            json!({"containers": [{"name": "a", "env": [{"name": "y", "value": null}]}]}),
            json!({"containers": [{"name": "a", "env": [{"name": "y"}, {"name": "x", "value": "1"}]}]}),
        );
        check(
            json!({"containers": [{"name": "a"}]}),
            json!({"containers": []}),
            json!({"containers": [{"name": "a"}]}),
        );
    }

    #[test]
    fn ports_of_one_number_are_one_port() {
        check(
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 53, "protocol": "TCP"}]}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 53, "protocol": "UDP"}]}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 53, "protocol": "UDP"}]}]}),
        );
    }

    #[test]
    fn scalars_merge_without_duplicates_and_are_deleted_by_a_list_of_their_own() {
        check(
            json!({"finalizers": ["a", "b"]}),
            json!({"finalizers": ["c", "a"]}),
            json!({"finalizers": ["c", "a", "b"]}),
        );
        check(
            json!({"finalizers": ["a", "b"]}),
            json!({"$deleteFromPrimitiveList/finalizers": ["a", "x"]}),
            json!({"finalizers": ["b"]}),
        );
        check(json!({}), json!({"$deleteFromPrimitiveList/finalizers": ["a"]}), json!({}));
        check(
            json!({"finalizers": ["a", "b"]}),
            json!({"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["c", "b"], "finalizers": ["c"]}),
            json!({"finalizers": ["c", "b"]}),
        );
    }

    #[test]
    fn patch_replace_replaces_the_map_or_list_it_stands_in() {
        check(
            json!({"labels": {"a": "1"}}),
            json!({"labels": {"$patch": "replace", "b": "2"}}),
            json!({"labels": {"b": "2"}}),
        );
        check(
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}),
            json!({"containers": [{"name": "c"}]}),
        );
    }

    #[test]
    fn patch_delete_deletes_the_map_or_the_element() {
        check(json!({"labels": {"a": "1"}}), json!({"labels": {"$patch": "delete"}}), json!({"labels": {}}));
        check(
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"containers": [{"name": "a", "$patch": "delete"}]}),
            json!({"containers": [{"name": "b"}]}),
        );
        check(
            json!({}),
            json!({"containers": [{"name": "a", "$patch": "delete"}, {"name": "b"}]}),
            json!({"containers": [{"name": "b"}]}),
        );
        check(json!({}), json!({"labels": {"$patch": "delete"}}), json!({}));
    }

    #[test]
    fn patch_merge_says_what_is_done_anyway() {
        check(
            json!({"labels": {"a": "1"}}),
            json!({"labels": {"$patch": "merge", "b": "2"}}),
            json!({"labels": {"a": "1", "b": "2"}}),
        );
    }

    #[test]
    fn retain_keys_drops_all_other_members() {
        check(
            json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}),
            json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}),
            json!({"strategy": {"type": "Recreate"}}),
        );
        check(
            json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}),
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
        );
        check(
            json!({"volumes": []}),
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "emptyDir"], "emptyDir": {}}]}),
            json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        );
        check_error(
            json!({"strategy": {}}),
            json!({"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}),
            "retainKeys",
        );
        check_error(json!({"strategy": {}}), json!({"strategy": {"$retainKeys": "type"}}), "retainKeys");
    }

    #[test]
    fn set_element_order_orders_and_leaves_the_servers_own_in_place() {
        check(
            json!({"containers": [{"name": "a"}, {"name": "s"}, {"name": "b"}]}),
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
            json!({"containers": [{"name": "s"}, {"name": "b"}, {"name": "a"}]}),
        );
        check(
            json!({"containers": [{"name": "s"}, {"name": "a"}]}),
            json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "n"}], "containers": [{"name": "n", "image": "1"}]}),
            json!({"containers": [{"name": "s"}, {"name": "a"}, {"name": "n", "image": "1"}]}),
        );
        check(
            json!({}),
            json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "a"}]}),
            json!({"containers": [{"name": "a"}]}),
        );
        check(json!({}), json!({"$setElementOrder/containers": [{"name": "a"}]}), json!({}));
        check_error(
            json!({}),
            json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "b"}, {"name": "a"}]}),
            "The order in patch list",
        );
        check_error(json!({}), json!({"$setElementOrder/containers": "x"}), "setElementOrder");
    }

    #[test]
    fn what_is_not_a_strategic_merge_patch_is_a_bad_request() {
        check_error(json!({}), json!([]), "must itself be a JSON object");
        check_error(json!({"labels": {}}), json!({"labels": {"$patch": "jump"}}), "unknown patch type: jump");
        check_error(
            json!({"containers": [{"name": "a"}]}),
            json!({"containers": [{"image": "1"}]}),
            "does not contain declared merge key: name",
        );
        check_error(json!({"containers": [{"name": "a"}]}), json!({"containers": ["x"]}), "not identical");
        check_error(json!({"finalizers": ["a"]}), json!({"finalizers": [["x"]]}), "lists of lists");
    }
}
