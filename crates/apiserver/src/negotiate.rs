//! Which form of an answer the client asked for: the `Accept` header.

use crate::registry::Kind;
use crate::respond::{Failure, Result};
use api::{Reason, Status};
use http::HeaderMap;
use http::header;

/// How an answer is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Encoding {
    Json,
    Yaml,
    /// With the envelope of Kubernetes.
    Protobuf,
}

/// What is written of an object or list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// All of it.
    Whole,
    /// Rows for people, at `meta.k8s.io/v1` or `v1beta1`.
    Table(&'static str),
    /// `PartialObjectMetadata`, or its list, at the version.
    Metadata(&'static str),
}

/// The form that was agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Accepted {
    pub(crate) encoding: Encoding,
    pub(crate) form: Form,
    pub(crate) pretty: bool,
    pub(crate) gzip: bool,
}

/// Which forms an endpoint can answer in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offer {
    /// Only whole documents (reviews, scale, discovery).
    Plain,
    /// One object.
    Object,
    /// A collection.
    List,
    /// A stream of events, which has no YAML form.
    Watch,
}

/// Whether the client takes compressed answers.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().split(';').next() == Some("gzip") && !coding.contains("q=0"))
}

/// The media types of the `Accept` header without their parameters, the best liked first; none if it says nothing.
pub(crate) fn media_ranges(headers: &HeaderMap) -> Vec<&str> {
    ranges(headers).iter().map(|range| range.media).collect()
}

/// The form of a document of discovery that the client likes best: its encoding, and whether it is the aggregated one.
///
/// # Errors
/// 406 if nothing that is offered is accepted.
pub(crate) fn discovery(headers: &HeaderMap, aggregates: bool) -> Result<(Encoding, bool)> {
    if media_ranges(headers).is_empty() {
        return Ok((Encoding::Json, false));
    }
    let agree = |range: &Range<'_>| {
        let encoding = range.encoding()?;
        let asked = ["g", "v", "as"].map(|name| range.parameter(name));
        match asked {
            [None, None, None] => Some((encoding, false)),
            [Some("apidiscovery.k8s.io"), Some("v2"), Some("APIGroupDiscoveryList")]
                if aggregates && encoding != Encoding::Protobuf =>
            {
                Some((encoding, true))
            }
            _ => None,
        }
    };
    let refused = || {
        let message = "only the following media types are accepted: application/json, application/yaml, \
                       application/vnd.kubernetes.protobuf";
        Failure::from(Status::failure(Reason::NotAcceptable, message))
    };
    ranges(headers).iter().find_map(agree).ok_or_else(refused)
}

/// What is accepted, the best liked first; between equals the client's order decides.
fn ranges(headers: &HeaderMap) -> Vec<Range<'_>> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let values = values.flat_map(|value| value.split(',')).filter(|value| !value.trim().is_empty());
    let mut ranges: Vec<Range<'_>> = values.map(Range::parse).filter(|range| range.quality > 0.0).collect();
    ranges.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    ranges
}

/// Reads the `Accept` header of a request to a kind.
///
/// # Errors
/// 406 if nothing that is offered is accepted.
pub(crate) fn negotiate(headers: &HeaderMap, pretty: bool, offer: Offer, kind: &Kind) -> Result<Accepted> {
    let gzip = accepts_gzip(headers);
    let agreed = |(encoding, form)| Accepted { encoding, form, pretty, gzip };
    let values: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    if values.iter().all(|value| value.trim().is_empty()) {
        return Ok(agreed((Encoding::Json, Form::Whole)));
    }
    let mut ranges: Vec<Range<'_>> = values.iter().flat_map(|value| value.split(',')).map(Range::parse).collect();
    ranges.sort_by(|a, b| b.quality.total_cmp(&a.quality)); // stable: the client's order decides between equals
    let custom = kind.custom.is_some();
    // A stock server looks twice: when it chooses a route, which custom kinds do not have, and when it answers.
    if !custom && !ranges.iter().any(|range| range.media == "*/*" || MEDIA.contains(&range.media)) {
        return Err(no_route(offer));
    }
    let found = ranges.iter().filter(|range| range.quality > 0.0).find_map(|range| range.agree(offer, custom));
    let (encoding, form) = found.ok_or_else(|| not_acceptable(offer))?;
    match (form, offer) {
        (Form::Metadata(_), Offer::Object) if ranges.iter().any(|range| range.asks_for(METADATA_LIST)) => {
            let name = go_type(kind, false);
            Err(refused(format!("you requested {METADATA_LIST}, but the requested object is not a list ({name})")))
        }
        (Form::Metadata(_), Offer::List) if ranges.iter().any(|range| range.asks_for(METADATA)) => {
            let name = go_type(kind, true);
            Err(refused(format!("you requested {METADATA}, but the requested object is a list ({name})")))
        }
        agreement => Ok(agreed((encoding, agreement.0))),
    }
}

const METADATA: &str = "PartialObjectMetadata";
const METADATA_LIST: &str = "PartialObjectMetadataList";

/// What is served, and what routes say of it.
const MEDIA: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const STREAMS: [&str; 2] = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];

/// Whether a failure is told in protobuf: that is what the client asked for first.
pub(crate) fn wants_protobuf(headers: &HeaderMap) -> bool {
    let Some(accept) = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()) else { return false };
    if !accept.contains(MEDIA[2]) {
        return false;
    }
    let first = accept
        .split(',')
        .map(Range::parse)
        .find(|range| MEDIA.contains(&range.media) || matches!(range.media, "*/*" | "application/*"));
    first.is_some_and(|range| range.media == MEDIA[2] && !range.asks_for("Table"))
}

/// The Go type that a stock server holds a kind in, for messages.
fn go_type(kind: &Kind, list: bool) -> String {
    let list = if list { "List" } else { "" };
    if kind.custom.is_some() {
        return format!("*unstructured.Unstructured{list}");
    }
    let package = match &*kind.served.group {
        "" | "events.k8s.io" => "core",
        group => group.split('.').next().unwrap_or(group),
    };
    format!("*{package}.{}{list}", kind.served.kind)
}

fn refused(message: String) -> Failure {
    Status::failure(Reason::NotAcceptable, message).into()
}

/// 406 of a path whose routes write nothing that the client reads.
fn no_route(offer: Offer) -> Failure {
    let mut media = MEDIA.to_vec();
    if matches!(offer, Offer::List | Offer::Watch) {
        media.extend(STREAMS);
    }
    let message = format!("406: Not Acceptable\n\nAvailable representations: {}", media.join(", "));
    let mut status = Status::failure(Reason::NotAcceptable, message);
    status.details = Some(Box::default());
    status.into()
}

/// 406 in the stock server's words.
fn not_acceptable(offer: Offer) -> Failure {
    let media = if offer == Offer::Watch { STREAMS.join(", ") } else { MEDIA.join(", ") };
    refused(format!("only the following media types are accepted: {media}"))
}

struct Range<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().unwrap_or("");
        let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
        let quality = parameters.iter().find(|(key, _)| *key == "q").and_then(|(_, q)| q.parse().ok()).unwrap_or(1.0);
        Self { media, parameters, quality }
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    fn encoding(&self) -> Option<Encoding> {
        match self.media {
            "application/json" | "application/*" | "*/*" => Some(Encoding::Json),
            "application/yaml" | "application/x-yaml" | "text/yaml" => Some(Encoding::Yaml),
            "application/vnd.kubernetes.protobuf" => Some(Encoding::Protobuf),
            _ => None,
        }
    }

    fn asks_for(&self, form: &str) -> bool {
        self.parameter("as") == Some(form)
    }

    /// Custom kinds are never written in protobuf; their metadata is.
    fn agree(&self, offer: Offer, custom: bool) -> Option<(Encoding, Form)> {
        let encoding = self.encoding()?;
        if encoding == Encoding::Yaml && offer == Offer::Watch {
            return None;
        }
        if self.parameter("stream").is_some_and(|stream| stream != "watch" || encoding == Encoding::Yaml) {
            return None;
        }
        let Some(form) = self.parameter("as") else {
            return (encoding != Encoding::Protobuf || !custom).then_some((encoding, Form::Whole));
        };
        let version = match self.parameter("v") {
            Some("v1") => "v1",
            Some("v1beta1") => "v1beta1",
            _ => return None,
        };
        if self.parameter("g") != Some("meta.k8s.io") || offer == Offer::Plain {
            return None;
        }
        let form = match form {
            "Table" if encoding != Encoding::Protobuf => Form::Table(version),
            METADATA | METADATA_LIST => Form::Metadata(version),
            _ => return None,
        };
        Some((encoding, form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &str, offer: Offer, expected: Option<(Encoding, Form)>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        let kind = crate::registry::builtin_kind("", "v1", "configmaps").unwrap();
        let found = negotiate(&headers, false, offer, &kind).ok().map(|agreed| (agreed.encoding, agreed.form));
        assert_eq!(found, expected, "{accept}");
    }

    #[test]
    fn agrees() {
        let json = Some((Encoding::Json, Form::Whole));
        check("application/json", Offer::List, json);
        check("*/*", Offer::Watch, json);
        let protobuf = Some((Encoding::Protobuf, Form::Whole));
        check("application/vnd.kubernetes.protobuf,application/json", Offer::Object, protobuf);
        check("application/vnd.kubernetes.protobuf;stream=watch", Offer::Watch, protobuf);
        let table = "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io";
        check(table, Offer::Object, None);
        check("text/html", Offer::Object, None);
        check("application/yaml", Offer::Object, Some((Encoding::Yaml, Form::Whole)));
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        check(kubectl, Offer::List, Some((Encoding::Json, Form::Table("v1"))));
        check(kubectl, Offer::Plain, json);
        check("application/json;as=Table;v=v1;g=meta.k8s.io", Offer::Plain, None);
        check(
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
            Offer::List,
            Some((Encoding::Json, Form::Metadata("v1"))),
        );
        check("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", Offer::List, None);
        check("application/json;q=0.1, application/yaml", Offer::List, Some((Encoding::Yaml, Form::Whole)));
    }
}
