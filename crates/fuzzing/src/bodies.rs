//! Bodies of requests, in JSON and in YAML.

use api::Object;
use apiserver::builtin;
use apiserver::decode;
use machinery::defaulting::apply_defaults;
use machinery::schema::{self, Schema};
use machinery::validation::{validate_create, validate_update};
use serde_json::Value;

/// What a JSON body holds is the same when it is written and read once more, and is what a JSON parser finds.
pub(crate) fn json(input: &[u8]) {
    let read = decode::json(input);
    let plain = serde_json::from_slice::<Value>(input);
    assert_eq!(read.is_ok(), plain.is_ok(), "two readers of JSON: {read:?}, {plain:?}");
    match read {
        Err(why) => assert!(!why.is_empty(), "a refusal says why"),
        Ok(read) => {
            let twice = schema::duplicate_keys(input);
            assert_eq!(read.duplicates.is_empty(), twice.is_empty(), "{:?}, {twice:?}", read.duplicates);
            reads_again(&read.value);
            object(read.value);
        }
    }
}

/// What a YAML body holds is the same when it is written as JSON and read once more, as JSON and as YAML.
pub(crate) fn yaml(input: &[u8]) {
    match decode::yaml(input) {
        Err(why) => assert!(!why.is_empty(), "a refusal says why"),
        Ok(read) => {
            let text = reads_again(&read.value);
            let again = decode::yaml(text.as_bytes()).expect("JSON is YAML");
            assert_eq!(again.value, read.value, "read as YAML from {text}");
            object(read.value);
        }
    }
    // Applied configurations are either.
    let _ = decode::configuration(input);
}

/// What is stored is what was read.
fn reads_again(value: &Value) -> String {
    let text = value.to_string();
    let again = decode::json(text.as_bytes()).expect("what was written as JSON can be read");
    assert_eq!(again.value, *value, "read from {text}");
    assert!(again.duplicates.is_empty(), "what was written has no key twice: {text}");
    text
}

/// An object of a built-in kind goes the way of a create and of an update that changes nothing. The steps that are done
/// on each write change nothing when they are done again.
fn object(mut value: Value) {
    let Some((group, kind, schema)) = known(&value) else { return };
    if schema::decode(&mut value, &schema).is_err() {
        return;
    }
    same_twice("decoding", &mut value, |value| {
        schema::decode(value, &schema).expect("what was decoded can be decoded");
    });
    same_twice("pruning", &mut value, |value| drop(schema::prune(value, &schema)));
    same_twice("defaulting", &mut value, |value| apply_defaults(value, &schema));
    let Value::Object(object) = value else { return };
    let object = Object(object);
    validate_create(&group, &kind, &object, Some(&schema));
    validate_update(&group, &kind, &object, &object, Some(&schema));
}

fn same_twice(step: &str, value: &mut Value, perform: impl Fn(&mut Value)) {
    perform(value);
    let once = value.clone();
    perform(value);
    assert_eq!(*value, once, "{step} for the second time");
}

/// Group, kind and schema of an object of a kind that is built in.
pub(crate) fn known(value: &Value) -> Option<(String, String, Schema)> {
    let (version, kind) = (value.get("apiVersion")?.as_str()?, value.get("kind")?.as_str()?);
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    Some((group.to_owned(), kind.to_owned(), builtin::schema(group, version, kind)?))
}
