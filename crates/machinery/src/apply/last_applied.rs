//! The annotation of client-side `kubectl apply`, and how server-side `kubectl apply` takes over from it.

use super::FieldSet;
use super::place::Place;
use super::walk;
use api::Object;
use serde_json::{Map, Value};

/// The manager that these rules are for.
pub(super) const KUBECTL: &str = "kubectl";
/// Where client-side apply keeps the config that it applied last.
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Bytes of all annotations of an object, keys and values, as the stock server limits them.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Fields that client-side apply set and that still have the value it gave them: `kubectl` may change these without
/// a conflict, whoever owns them. `None` if there is no annotation of this version.
pub(super) fn allowed(live: &Object, api_version: &str, root: Place<'_>) -> Option<FieldSet> {
    let applied: Map<String, Value> = serde_json::from_str(live.annotation(ANNOTATION)?).ok()?;
    if applied.get("apiVersion").and_then(Value::as_str) != Some(api_version) {
        return None;
    }
    let differs = walk::compare(&applied, &live.0, root);
    let fields = walk::fields_of(&applied, root);
    Some(fields.difference(&differs.modified).difference(&differs.added).difference(&differs.removed))
}

/// Keeps the annotation, where the object has one, at what is applied now, so that client-side apply can go on from
/// there. If it would not fit, it goes.
pub(super) fn refresh(object: &mut Object, config: &Object) {
    if object.annotation(ANNOTATION).is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config.metadata_mut().get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    object.set_annotation(ANNOTATION, &go_json(&config));
    let Some(annotations) = object.metadata_mut().get_mut("annotations").and_then(Value::as_object_mut) else { return };
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > MAX_ANNOTATIONS {
        annotations.remove(ANNOTATION);
    }
}

/// The text that Go's encoder would write, since clients compare it: HTML characters escaped, a newline at the end.
fn go_json(object: &Object) -> String {
    let text = String::from_utf8(object.to_json()).expect("JSON is text");
    let mut out = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    out.push('\n');
    out
}
