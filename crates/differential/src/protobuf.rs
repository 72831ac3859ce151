//! Answers in protobuf, read into the JSON that they mean.

use flate2::read::ZlibDecoder;
use machinery::protobuf::{METADATA_MESSAGES, Transcoder};
use serde_json::Value;
use std::io::Read;
use std::sync::LazyLock;

/// The media type of objects and, with a parameter, of watches.
pub(crate) const MEDIA: &str = "application/vnd.kubernetes.protobuf";

/// The beginning of a body that names its kind as `v1 WatchEvent`; the message and its length follow.
const WATCH_EVENT: &[u8] = b"k8s\0\x0a\x10\x0a\x02v1\x12\x0aWatchEvent\x12";

static TRANSCODER: LazyLock<Transcoder> = LazyLock::new(|| {
    let mut table = String::new();
    let packed = include_bytes!("../../apiserver/data/wire.txt.z");
    ZlibDecoder::new(&packed[..]).read_to_string(&mut table).expect("the table is deflated text");
    Transcoder::new(&[table.trim_end(), METADATA_MESSAGES].concat()).expect("the table can be read")
});

/// What a body means; a text that says why it means nothing.
pub(crate) fn read(body: &[u8]) -> Value {
    match TRANSCODER.decode(body) {
        Ok(object) => Value::Object(object.0),
        Err(error) => Value::String(format!("{error}: {}", String::from_utf8_lossy(&body[..body.len().min(60)]))),
    }
}

/// Takes the first whole frame of a watch: its length in four bytes, then the event.
pub(crate) fn take_event(stream: &mut Vec<u8>) -> Option<Value> {
    let (length, rest) = stream.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let message = rest.get(..length)?;
    let mut body = WATCH_EVENT.to_vec();
    let mut left = length;
    while left >= 0x80 {
        body.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    body.push(left as u8);
    body.extend_from_slice(message);
    let Value::Object(mut event) = read(&body) else { return Some(read(&body)) };
    stream.drain(..4 + length);
    event.remove("apiVersion");
    event.remove("kind");
    Some(event.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn frames_are_read_as_events() {
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v".repeat(300)}});
        let body = TRANSCODER.encode(object.as_object().unwrap()).unwrap();
        let mut stream = Vec::new();
        machinery::protobuf::watch_frame("ADDED", &body, &mut stream);
        stream.extend_from_slice(&[0, 0]);
        assert_eq!(take_event(&mut stream), Some(json!({"type": "ADDED", "object": object})));
        assert_eq!(take_event(&mut stream), None);
        assert_eq!(stream, [0, 0]);
    }
}
