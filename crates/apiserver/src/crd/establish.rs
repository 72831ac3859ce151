//! What the server says of a definition: which names it accepts, and whether the kinds are served.

use api::{Condition, ConditionStatus, Object, Timestamp, set_condition};
use serde_json::{Map, Value, json};

/// The names that a definition asks for, or was given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Names {
    plural: String,
    singular: String,
    kind: String,
    list_kind: String,
    short: Vec<String>,
}

impl Names {
    /// Reads `spec.names` or `status.acceptedNames`.
    pub(super) fn read(names: &Value) -> Self {
        let text = |field: &str| names[field].as_str().unwrap_or("").to_owned();
        let short = names["shortNames"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Self {
            plural: text("plural"),
            singular: text("singular"),
            kind: text("kind"),
            list_kind: text("listKind"),
            short: short.map(str::to_owned).collect(),
        }
    }

    /// Every word that a resource may be called by in the group.
    fn words(&self) -> impl Iterator<Item = &str> {
        [&self.plural, &self.singular]
            .into_iter()
            .chain(&self.short)
            .map(String::as_str)
            .filter(|word| !word.is_empty())
    }
}

/// The first conflict of wanted names with those that others in the group have: reason and message of the condition.
fn conflict(wanted: &Names, others: &[Names]) -> Option<(&'static str, String)> {
    let taken = |word: &str| others.iter().any(|other| other.words().any(|held| held == word));
    let taken_kind = |kind: &str| others.iter().any(|other| other.kind == kind || other.list_kind == kind);
    let in_use = |word: &str| format!("{word:?} is already in use");
    if taken(&wanted.plural) {
        return Some(("PluralConflict", in_use(&wanted.plural)));
    }
    if taken(&wanted.singular) {
        return Some(("SingularConflict", in_use(&wanted.singular)));
    }
    if let Some(short) = wanted.short.iter().find(|short| taken(short)) {
        return Some(("ShortNamesConflict", in_use(short)));
    }
    if taken_kind(&wanted.kind) {
        return Some(("KindConflict", in_use(&wanted.kind)));
    }
    if taken_kind(&wanted.list_kind) {
        return Some(("ListKindConflict", in_use(&wanted.list_kind)));
    }
    None
}

/// Writes the status of a definition. `others` are the accepted names of the other definitions of its group.
pub(super) fn establish(definition: &mut Object, others: &[Names], now: Timestamp) {
    let spec = definition.0.get("spec").cloned().unwrap_or_default();
    let status = definition.0.entry("status").or_insert_with(|| json!({}));
    if !status.is_object() {
        *status = json!({});
    }
    let was_established = condition(status, "Established").is_some_and(|held| held["status"] == "True");
    let names = match conflict(&Names::read(&spec["names"]), others) {
        None => {
            status["acceptedNames"] = spec["names"].clone();
            Condition::new("NamesAccepted", ConditionStatus::True, "NoConflicts", "no conflicts found")
        }
        Some((reason, message)) => {
            if !status["acceptedNames"].is_object() {
                status["acceptedNames"] = json!({"kind": "", "plural": ""});
            }
            Condition::new("NamesAccepted", ConditionStatus::False, reason, message)
        }
    };
    let accepted = names.is_true();
    put_condition(status, names, now);
    // What was established stays so: its objects must not become unreachable because of a bad edit.
    let established = if accepted || was_established {
        let message = "the initial names have been accepted";
        Condition::new("Established", ConditionStatus::True, "InitialNamesAccepted", message)
    } else {
        Condition::new("Established", ConditionStatus::False, "NotAccepted", "not all names are accepted")
    };
    put_condition(status, established, now);
    remember_stored(status, &spec);
}

/// Says that all objects of a definition that is being deleted are gone.
pub(super) fn emptied(definition: &mut Object, now: Timestamp) {
    let Some(status) = definition.0.get_mut("status") else { return };
    let condition =
        Condition::new("Terminating", ConditionStatus::False, "InstanceDeletionCompleted", "removed all instances");
    put_condition(status, condition, now);
}

fn condition<'a>(status: &'a Value, type_: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|held| held["type"] == type_)
}

/// Puts a condition among those that are there. Others stay as whoever wrote them has written them, whatever that is.
fn put_condition(status: &mut Value, condition: Condition, now: Timestamp) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Value::Array(list) = &mut status["conditions"] else { return };
    let index = list.iter().position(|held| held["type"] == condition.type_.as_str());
    let held = index.and_then(|index| serde_json::from_value(list[index].clone()).ok());
    let mut conditions: Vec<Condition> = held.into_iter().collect();
    set_condition(&mut conditions, condition, now);
    for condition in conditions {
        match index {
            Some(index) => list[index] = json!(condition),
            None => list.push(json!(condition)),
        }
    }
}

/// Adds the storage version to those in which objects may be stored.
fn remember_stored(status: &mut Value, spec: &Value) {
    let versions = spec["versions"].as_array().into_iter().flatten();
    let Some(stored) = versions.into_iter().find(|version| version["storage"] == true).map(|v| v["name"].clone())
    else {
        return;
    };
    if !status["storedVersions"].is_array() {
        status["storedVersions"] = json!([]);
    }
    if let Some(list) = status["storedVersions"].as_array_mut()
        && !list.contains(&stored)
    {
        list.push(stored);
    }
}

/// Holds a definition that is being deleted until its objects are gone.
pub(crate) fn hold(definition: &mut Object, now: Timestamp) {
    if !definition.finalizers().contains(&super::CLEANUP) {
        let mut finalizers: Vec<String> = definition.finalizers().into_iter().map(str::to_owned).collect();
        finalizers.push(super::CLEANUP.into());
        definition.set_meta("finalizers", finalizers);
    }
    let status = definition.0.entry("status").or_insert_with(|| json!({}));
    if status.is_object() && condition(status, "Terminating").is_none() {
        let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
        let reason = "InstanceDeletionPending";
        put_condition(status, Condition::new("Terminating", ConditionStatus::True, reason, message), now);
    }
}

/// Says that the objects of a definition are being deleted.
pub(super) fn emptying(definition: &mut Object, now: Timestamp) {
    let Some(status) = definition.0.get_mut("status") else { return };
    let message = "CustomResource deletion is in progress";
    let reason = "InstanceDeletionInProgress";
    put_condition(status, Condition::new("Terminating", ConditionStatus::True, reason, message), now);
}

/// Fills in what a definition may leave out.
pub(crate) fn complete(definition: &mut Object) {
    let spec = definition.0.entry("spec").or_insert_with(|| json!({}));
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or("").to_owned();
        let fill = |names: &mut Map<String, Value>, field: &str, value: String| {
            let held = names.get(field).and_then(Value::as_str).unwrap_or("");
            if held.is_empty() && !value.is_empty() {
                names.insert(field.into(), value.into());
            }
        };
        fill(names, "singular", kind.to_ascii_lowercase());
        if !kind.is_empty() {
            fill(names, "listKind", format!("{kind}List"));
        }
    }
    if let Some(spec) = spec.as_object_mut() {
        spec.entry("conversion").or_insert_with(|| json!({"strategy": "None"}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(names: Value) -> Object {
        let spec =
            json!({"group": "g.io", "names": names, "versions": [{"name": "v1", "storage": true, "served": true}]});
        let mut object: Object = serde_json::from_value(json!({"metadata": {"name": "x"}, "spec": spec})).unwrap();
        complete(&mut object);
        object
    }

    #[track_caller]
    fn check(names: Value, others: &[Value], accepted: &str, established: &str) {
        let others: Vec<Names> = others.iter().map(Names::read).collect();
        let mut object = definition(names);
        establish(&mut object, &others, Timestamp::from_seconds(1));
        let condition = |wanted: &str| {
            let list = object.pointer("/status/conditions").unwrap().as_array().unwrap();
            let found = list.iter().find(|condition| condition["type"] == wanted).unwrap();
            format!("{} {}", found["status"].as_str().unwrap(), found["reason"].as_str().unwrap())
        };
        assert_eq!((condition("NamesAccepted").as_str(), condition("Established").as_str()), (accepted, established));
    }

    #[test]
    fn names() {
        let foo = json!({"plural": "foos", "kind": "Foo", "shortNames": ["fo"]});
        check(foo.clone(), &[], "True NoConflicts", "True InitialNamesAccepted");
        check(
            foo.clone(),
            &[json!({"plural": "bars", "kind": "Bar"})],
            "True NoConflicts",
            "True InitialNamesAccepted",
        );
        check(foo.clone(), &[json!({"plural": "bars", "kind": "Foo"})], "False KindConflict", "False NotAccepted");
        check(foo.clone(), &[json!({"plural": "fo", "kind": "Bar"})], "False ShortNamesConflict", "False NotAccepted");
        check(foo, &[json!({"plural": "bars", "singular": "foo"})], "False SingularConflict", "False NotAccepted");
    }

    #[test]
    fn what_was_established_stays() {
        let mut object = definition(json!({"plural": "foos", "kind": "Foo"}));
        establish(&mut object, &[], Timestamp::from_seconds(1));
        let before = object.clone();
        establish(&mut object, &[], Timestamp::from_seconds(2));
        assert_eq!(object, before, "the same truth is not said anew");
        object.0["spec"]["names"]["kind"] = "Bar".into();
        establish(&mut object, &[Names::read(&json!({"kind": "Bar"}))], Timestamp::from_seconds(3));
        assert_eq!(object.pointer("/status/acceptedNames/kind"), Some(&json!("Foo")));
        assert_eq!(object.pointer("/status/storedVersions"), Some(&json!(["v1"])));
    }

    #[test]
    fn the_conditions_of_others_are_left_alone() {
        let mut object = definition(json!({"plural": "foos", "kind": "Foo"}));
        let odd = json!({"type": "", "status": "", "lastTransitionTime": null, "message": "updated"});
        object.0.insert("status".into(), json!({"conditions": [odd]}));
        establish(&mut object, &[], Timestamp::from_seconds(1));
        assert_eq!(object.pointer("/status/conditions/0"), Some(&odd));
        assert_eq!(object.pointer("/status/conditions").unwrap().as_array().map(Vec::len), Some(3));
    }
}
