//! Bodies in protobuf, and JSON objects that are written as such.

use apiserver::builtin::transcoder;
use serde_json::Value;

/// A body that is read can be written, and reads as the same object then. So does an object that was JSON, once it holds
/// nothing that its message has no place for.
pub(crate) fn run(input: &[u8]) {
    let object = match serde_json::from_slice::<Value>(input) {
        Ok(Value::Object(object)) => {
            let Some(body) = transcoder().encode(&object) else { return };
            match transcoder().decode(&body) {
                Ok(read) => read,
                Err(why) => panic!("{object:?} was written and is refused: {why}"),
            }
        }
        Ok(_) => return,
        Err(_) => match transcoder().decode(input) {
            Ok(read) => read,
            Err(why) => return assert!(!why.to_string().is_empty(), "a refusal says why"),
        },
    };
    let body = transcoder().encode(&object.0).expect("a kind that is read can be written");
    let again = transcoder().decode(&body).expect("what was written can be read");
    assert_eq!(again, object, "an object that was read, written and read");
    let rewritten = transcoder().encode(&again.0).expect("a kind that is read can be written");
    assert_eq!(rewritten, body, "the bytes of {object:?}");
}
