//! Answers: bodies, headers, and the `Status` of a failure.

use crate::present;
use api::{Reason, Status};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde_json::Value;
use std::convert::Infallible;
use std::io::Write;

/// What goes wrong while a body is sent.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer: whole, or a stream of watch events.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A failure on its way to being an answer. Boxed, because a `Status` is large and rare.
pub(crate) type Failure = Box<Status>;

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Bodies above this many bytes are compressed when the client accepts gzip, as the stock server does: below it the
/// time is worth more than the bytes.
const GZIP_FROM: usize = 128 * 1024;

/// A body that is already whole.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// An answer with a whole body.
pub(crate) fn answer(code: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(whole(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// JSON of a document that is made on the spot.
pub(crate) fn json(code: StatusCode, document: &Value) -> Response<Body> {
    answer(code, "application/json", document.to_string())
}

/// Plain text.
pub(crate) fn text(code: StatusCode, text: impl Into<String>) -> Response<Body> {
    answer(code, "text/plain; charset=utf-8", text.into())
}

/// What the stock server says of a path that leads nowhere.
pub(crate) fn no_such_path() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// 404 for a path below `/api` or `/apis` that leads to nothing that is served.
pub(crate) fn no_such_resource() -> Failure {
    Status::generic(Reason::NotFound, "the server could not find the requested resource").into()
}

/// The answer of a failure.
pub(crate) fn status(status: &Status) -> Response<Body> {
    status_in(status, false)
}

/// The answer of a failure, in protobuf if the client asked for it.
pub(crate) fn status_in(status: &Status, protobuf: bool) -> Response<Body> {
    let bytes = serde_json::to_vec(status).expect("a Status always serialises");
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match protobuf.then(|| present::protobuf(&bytes)).flatten() {
        Some(body) => answer(code, present::PROTOBUF, body),
        None => answer(code, "application/json", bytes),
    };
    if let Some(seconds) = status.details.as_ref().and_then(|details| details.retry_after_seconds) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Compresses a body if it is worth it and the client accepts it.
pub(crate) fn compressed(response: Response<Body>, bytes: &Bytes, accepted: bool) -> Response<Body> {
    if !accepted || bytes.len() < GZIP_FROM {
        return response;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    let packed = encoder.write_all(bytes).and_then(|()| encoder.finish());
    let Ok(packed) = packed else { return response };
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    Response::from_parts(parts, whole(packed))
}

/// Most bytes of one warning, and of all warnings of an answer: HTTP clients limit header sizes.
const WARNING_BYTES: usize = 256;
const WARNINGS_BYTES: usize = 4 * 1024;

/// Adds a `Warning` header for each different text.
pub(crate) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    let mut seen: Vec<&str> = Vec::new();
    let mut total = 0;
    for warning in warnings {
        if seen.contains(&warning.as_str()) {
            continue;
        }
        seen.push(warning);
        let shown: String = warning.chars().filter(|c| !c.is_control()).take(WARNING_BYTES).collect();
        total += shown.len();
        if total > WARNINGS_BYTES {
            break;
        }
        let quoted = shown.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}
