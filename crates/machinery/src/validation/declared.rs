//! What the schemas of built-in kinds require and enumerate.

use super::{Causes, Fields};
use crate::field::{self, Path};
use crate::schema::{Form, Node, NodeId, Schema, Schemas};
use serde_json::Value;

/// Fields that schemas require, or enumerate, although the stock server takes objects without them, or says in other
/// words, and of another field, what is wrong: definition's last part, and field.
const NOT_CHECKED: [(&str, &str); 14] = [
    ("CSINodeSpec", "drivers"),
    ("CertificateSigningRequestSpec", "request"),
    ("ControllerRevision", "data"),
    ("DaemonSetSpec", "selector"),
    ("EndpointAddress", "ip"),
    ("EndpointSlice", "endpoints"),
    ("LimitRangeItem", "type"),
    ("LimitRangeSpec", "limits"),
    ("PersistentVolumeClaimSpec", "accessModes"),
    ("PersistentVolumeSpec", "accessModes"),
    ("Event", "metadata"),
    ("DeviceClaim", "requests"),
    ("ResourceQuotaSpec", "scopes"),
    ("ResourceQuotaSpec", "scopeSelector"),
];

/// Appends what is missing, and what is none of the declared values. `.status` is not the client's, and not looked at.
/// What another check has already said of a field is not said again.
pub(super) fn check(kind: &str, object: &Fields, schema: &Schema, out: &mut Causes) {
    let mut walk = Walk { set: &schema.set, found: Vec::new() };
    let Form::Object { properties, .. } = &schema.node().form else { return };
    walk.required(object, schema.node(), kind, &Path::ROOT);
    for (name, value) in object {
        if matches!(name.as_str(), "metadata" | "status") {
            continue;
        }
        if let Some(&child) = properties.get(name.as_str()) {
            walk.value(value, child, &Path::ROOT.field(name));
        }
    }
    for cause in walk.found {
        if !out.iter().any(|said| said.field == cause.field) {
            out.push(cause);
        }
    }
}

struct Walk<'s> {
    set: &'s Schemas,
    found: Causes,
}

impl Walk<'_> {
    fn value(&mut self, value: &Value, at: NodeId, path: &Path<'_>) {
        let node = self.set.node(at);
        match (value, &node.form) {
            (Value::Object(map), Form::Object { properties, additional }) => {
                let definition = node.definition.as_deref().and_then(|name| name.rsplit('.').next()).unwrap_or("");
                if definition == "ObjectMeta" {
                    return;
                }
                self.required(map, node, definition, path);
                for (key, value) in map {
                    if NOT_CHECKED.contains(&(definition, key)) {
                        continue;
                    }
                    if let Some(&child) = properties.get(key.as_str()) {
                        self.value(value, child, &path.field(key));
                    } else if let Some(child) = additional {
                        self.value(value, *child, &path.key(key));
                    }
                }
            }
            (Value::Array(list), Form::Array { items }) => {
                for (index, value) in list.iter().enumerate() {
                    // An element is there, even if it is empty.
                    self.enumerated(value, *items, &path.index(index));
                    self.value(value, *items, &path.index(index));
                }
            }
            // Go cannot tell an empty text from none, so an enumeration does not forbid it.
            (Value::String(text), _) if !text.is_empty() => self.enumerated(value, at, path),
            _ => {}
        }
    }

    fn enumerated(&mut self, value: &Value, at: NodeId, path: &Path<'_>) {
        let node = self.set.node(at);
        if !node.allowed.is_empty()
            && !node.allowed.contains(value)
            && !self.found.iter().any(|said| said.field == path.to_string())
        {
            let allowed = node.allowed.iter().filter_map(Value::as_str).filter(|allowed| !allowed.is_empty());
            self.found.push(field::not_supported(path, value, allowed));
        }
    }

    fn required(&mut self, map: &Fields, node: &Node, definition: &str, path: &Path<'_>) {
        let Form::Object { properties, .. } = &node.form else { return };
        for name in &node.required {
            let Some(child) = properties.get(name) else { continue };
            if NOT_CHECKED.contains(&(definition, name)) {
                continue;
            }
            // A missing number or flag is zero, which may be meant.
            let needed = match self.set.node(*child).form {
                Form::String => map.get(&**name).and_then(Value::as_str).is_none_or(str::is_empty),
                Form::Object { .. } | Form::Array { .. } => map.get(&**name).is_none_or(Value::is_null),
                _ => false,
            };
            if needed {
                self.found.push(field::required(&path.field(name), ""));
            }
        }
    }
}
