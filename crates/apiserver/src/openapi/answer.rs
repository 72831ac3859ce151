//! What a request below `/openapi` is answered with.

use super::{Cache, OpenApi, V2_PROTOBUF};
use crate::discovery::Document;

/// An answer, still without HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A document.
    Document {
        /// With its tag.
        document: Document,
        /// Media type.
        content_type: &'static str,
        /// Whether the URL names the document's hash, so that it may be kept forever.
        immutable: bool,
    },
    /// The hash in the URL is not the present one: 301 to this path (which begins with `/openapi`).
    Moved(String),
    /// There is no such document.
    NotFound,
}

impl OpenApi<'_> {
    /// The answer to a GET of `/openapi/WORDS...` with these `Accept` headers and the value of the query's `hash`.
    pub fn answer(&self, words: &[&str], accept: &str, hash: Option<&str>, cache: &Cache) -> Answer {
        let json = |document| Answer::Document { document, content_type: "application/json", immutable: false };
        match words {
            ["v2"] if prefers_protobuf(accept) => {
                Answer::Document { document: self.v2_protobuf(cache), content_type: V2_PROTOBUF, immutable: false }
            }
            ["v2"] => json(self.v2(cache)),
            ["v3"] => json(self.index()),
            ["v3", path @ ..] => {
                let path = path.join("/");
                let Some(present) = self.hash(&path) else { return Answer::NotFound };
                match hash {
                    Some(asked) if asked != present => Answer::Moved(format!("/openapi/v3/{path}?hash={present}")),
                    _ => match self.v3(&path, cache) {
                        Some(document) => {
                            let content_type = "application/json";
                            Answer::Document { document, content_type, immutable: hash.is_some() }
                        }
                        None => Answer::NotFound,
                    },
                }
            }
            _ => Answer::NotFound,
        }
    }
}

/// Whether version 2 in protobuf, in either spelling, is asked for before JSON or anything.
fn prefers_protobuf(accept: &str) -> bool {
    for range in accept.split(',') {
        let kind = range.split(';').next().unwrap_or("").trim();
        if kind == V2_PROTOBUF || kind == "application/com.github.proto-openapi.spec.v2@v1.0+protobuf" {
            return true;
        }
        if matches!(kind, "application/json" | "application/*" | "*/*") {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;
    use crate::openapi::Published;

    #[track_caller]
    fn check(words: &[&str], accept: &str, hash: Option<&str>, wanted: &str) {
        let api = OpenApi::of(builtin::kinds().iter().map(|kind| Published { served: &kind.served, custom: None }));
        let answer = match api.answer(words, accept, hash, &Cache::default()) {
            Answer::Document { content_type, immutable, .. } => format!("{content_type} {immutable}"),
            Answer::Moved(to) => to,
            Answer::NotFound => "not found".into(),
        };
        assert_eq!(answer, wanted);
    }

    #[test]
    fn answers() {
        let api = OpenApi::of(builtin::kinds().iter().map(|kind| Published { served: &kind.served, custom: None }));
        let hash = api.hash("apis/batch/v1").unwrap();
        let old = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
        check(&["v2"], "", None, "application/json false");
        check(&["v2"], "*/*", None, "application/json false");
        check(&["v2"], &format!("{old}, application/json"), None, &format!("{V2_PROTOBUF} false"));
        check(&["v2"], &format!("application/json,{V2_PROTOBUF}"), None, "application/json false");
        check(&["v3"], "", None, "application/json false");
        check(&["v3", "apis", "batch", "v1"], "", None, "application/json false");
        check(&["v3", "apis", "batch", "v1"], "", Some(&hash), "application/json true");
        let moved = format!("/openapi/v3/apis/batch/v1?hash={hash}");
        check(&["v3", "apis", "batch", "v1"], "", Some("OLD"), &moved);
        check(&["v3", "apis", "batch", "v9"], "", Some("OLD"), "not found");
        check(&[], "", None, "not found");
    }
}
