//! Patches: a live object, a NUL byte, and what is to be done to it.

use crate::bodies;
use api::{Object, Timestamp};
use apiserver::decode;
use machinery::apply::{self, FieldSet, Writer};
use machinery::patch::{PatchError, json, merge, strategic};
use machinery::schema::Schema;
use serde_json::Value;

/// The same text is taken for each form of patch. An object is left as it is by a patch that cannot be carried out; a
/// merge patch that was computed does what it was computed for; and who applies the same again changes nothing.
pub(crate) fn run(input: &[u8]) {
    let Some([live, patch]) = crate::parts(input) else { return };
    let Ok(Value::Object(live)) = serde_json::from_str(live) else { return };
    let Ok(patch) = decode::configuration(patch.as_bytes()) else { return };
    let patch = patch.value;
    let schema = bodies::known(&Value::Object(live.clone())).map(|(_, _, schema)| schema);
    let live = Object(live);

    all_or_nothing("JSON patch", &live, |object| json::apply(object, &patch));
    for schema in [None, schema.as_ref()] {
        all_or_nothing("strategic merge patch", &live, |object| strategic::apply(object, &patch, schema));
    }
    if let Some(merged) = all_or_nothing("merge patch", &live, |object| merge::apply(object, &patch)) {
        let mut again = live.clone();
        merge::apply(&mut again, &merge::diff(&live.0, &merged.0)).expect("a patch that was computed can be applied");
        assert_eq!(without_nulls(again), without_nulls(merged), "by a computed patch, from {live:?}");
    }
    if let Value::Object(config) = patch {
        for schema in [None, schema.as_ref()] {
            applied_twice(&live, &Object(config.clone()), schema);
        }
    }
}

fn all_or_nothing(form: &str, live: &Object, patch: impl Fn(&mut Object) -> Result<(), PatchError>) -> Option<Object> {
    let mut object = live.clone();
    match patch(&mut object) {
        Ok(()) => Some(object),
        Err(why) => {
            assert_eq!(object, *live, "a {form} that was refused changed something: {why}");
            None
        }
    }
}

/// A computed merge patch cannot say a null.
fn without_nulls(object: Object) -> Value {
    fn clean(value: &mut Value) {
        if let Value::Object(members) = value {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(clean);
        }
    }
    let mut value = Value::Object(object.0);
    clean(&mut value);
    value
}

/// Server-side apply, by somebody who forces it, and then by the same with the same.
fn applied_twice(live: &Object, config: &Object, schema: Option<&Schema>) {
    let version = config.api_version().to_owned();
    if version.is_empty() {
        // The server compares it with that of the request, which is never empty.
        return;
    }
    let reset = FieldSet::new();
    let writer = |manager| Writer {
        manager,
        api_version: &version,
        subresource: "",
        now: Timestamp::from_seconds(1_700_000_000),
        reset: &reset,
    };
    let live = apply::update(None, live.clone(), &writer("creator"), schema);
    let _ = apply::apply(Some(&live), config, &writer("applier"), false, schema);
    let _ = apply::apply(None, config, &writer("applier"), false, schema);
    let Ok(once) = apply::apply(Some(&live), config, &writer("applier"), true, schema) else { return };
    let later = Writer { now: Timestamp::from_seconds(1_800_000_000), ..writer("applier") };
    let twice = apply::apply(Some(&once), config, &later, false, schema)
        .unwrap_or_else(|why| panic!("what was applied to {live:?} cannot be applied again: {why}"));
    assert_eq!(twice, once, "applied twice to {live:?}");
    // A plain write of what is there takes nothing from anybody.
    let kept = apply::update(Some(&once), once.clone(), &writer("updater"), schema);
    assert_eq!(kept.meta("managedFields"), once.meta("managedFields"), "an update that changes nothing");
}
