//! Paths that are no resources: discovery, OpenAPI, version, health, metrics.

use crate::discovery::{Discovery, Document, ServedKind};
use crate::negotiate::{Accepted, Encoding};
use crate::openapi::{self, CustomSchema, Form, OpenApi, Published};
use crate::respond::{self, Body, Result};
use crate::route::Query;
use crate::server::Server;
use crate::space::Space;
use crate::{builtin, crd, present};
use api::{Reason, Status};
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What `/readyz?verbose` and its kin list.
const CHECKS: [&str; 2] = ["ping", "store"];

pub(crate) async fn answer(
    server: &Server,
    space: &Arc<Space>,
    path: &str,
    head: &Parts,
    query: &Query,
) -> Result<Response<Body>> {
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    if head.method != Method::GET && only_read(&words) {
        let message = "the server does not allow this method on the requested resource";
        return Err(Status::generic(Reason::MethodNotAllowed, message).into());
    }
    Ok(match words.as_slice() {
        [] => respond::json(StatusCode::OK, &json!({"paths": paths(server, space)})),
        ["version"] => respond::json(StatusCode::OK, &version()),
        ["healthz" | "livez" | "readyz"] => health(server, words[0], query),
        ["healthz" | "livez" | "readyz", check] if CHECKS.contains(check) => health(server, check, query),
        ["metrics"] => metrics(server),
        [".well-known", "openid-configuration"] => {
            let keys = format!("{}/openid/v1/jwks", server.url(&space.name));
            let document = json!({"issuer": space.issuer, "jwks_uri": keys, "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"]});
            kept("application/json", &document)
        }
        ["openid", "v1", "jwks"] => kept("application/jwk-set+json", &space.tokens.jwks()),
        ["openapi", ..] => openapi_document(server, space, &words, head, query),
        ["api" | "apis", ..] => discovery(server, space, &words, head)?,
        _ => respond::no_such_path(),
    })
}

/// Paths that a stock server answers for GET only, not even for HEAD; at others no method matters.
fn only_read(words: &[&str]) -> bool {
    matches!(words, ["api", ..] | ["apis", _, _, ..] | ["version" | ".well-known" | "openid", ..])
}

/// Whether any kind of the group is served.
fn serves_group(server: &Server, space: &Space, group: &str) -> bool {
    let custom = space.customs(server.store());
    let mut kinds = builtin::kinds().iter().map(|row| &row.served).chain(custom.kinds().map(|kind| &kind.served));
    kinds.any(|kind| kind.group == group)
}

/// Whether a group has built-in kinds: of others, a stock server says that there is no such page.
pub(crate) fn is_built_in(group: &str) -> bool {
    builtin::kinds().iter().any(|row| row.served.group == group)
}

/// A document that others may keep for an hour.
fn kept(content_type: &'static str, document: &Value) -> Response<Body> {
    let mut response = respond::answer(StatusCode::OK, content_type, document.to_string());
    let hour = HeaderValue::from_static("public, max-age=3600");
    response.headers_mut().insert(header::CACHE_CONTROL, hour);
    response
}

fn version() -> Value {
    let built = concat!("+kubestellar.", env!("CARGO_PKG_VERSION"));
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": format!("{}{built}", builtin::RELEASE),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64",
    })
}

fn health(server: &Server, name: &str, query: &Query) -> Response<Body> {
    let closed = server.0.end.is_cancelled();
    let code = if closed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    if !query.has("verbose") && !closed {
        return respond::text(code, "ok");
    }
    let mut text = String::new();
    for check in CHECKS {
        let failed = closed && check == "store";
        text.push_str(if failed { "[-]" } else { "[+]" });
        text.push_str(check);
        text.push_str(if failed { " failed: the server is ending\n" } else { " ok\n" });
    }
    text.push_str(name);
    text.push_str(if closed { " check failed\n" } else { " check passed\n" });
    respond::text(code, text)
}

fn metrics(server: &Server) -> Response<Body> {
    let text = server.0.metrics.render(server.store());
    respond::answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}

/// Calls `question` with everything that the space serves.
fn with_kinds<T>(server: &Server, space: &Space, question: impl FnOnce(&Discovery<'_>) -> T) -> T {
    let customs = space.customs(server.store());
    let builtin = builtin::kinds().iter().map(|row| &row.served);
    let custom = customs.kinds().map(|kind| &kind.served);
    let kinds: Vec<&ServedKind> = builtin.chain(custom).collect();
    question(&Discovery::of(kinds))
}

fn paths(server: &Server, space: &Space) -> Vec<String> {
    let customs = space.customs(server.store());
    let builtin = builtin::kinds().iter().map(|row| row.served.api_version());
    let mut versions: Vec<String> = builtin.chain(customs.kinds().map(|kind| kind.api_version.clone())).collect();
    versions.dedup();
    let mut paths: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/apis",
        "/apis/",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/openid/v1/jwks",
        "/version",
    ]
    .map(str::to_owned)
    .into();
    for health in ["/healthz", "/livez", "/readyz"] {
        paths.push(health.to_owned());
        paths.extend(CHECKS.map(|check| format!("{health}/{check}")));
    }
    for version in versions {
        match version.split_once('/') {
            Some((group, _)) => paths.extend([format!("/apis/{group}"), format!("/apis/{version}")]),
            None => paths.push(format!("/api/{version}")),
        }
    }
    paths.sort();
    paths.dedup();
    paths
}

fn discovery(server: &Server, space: &Space, words: &[&str], head: &Parts) -> Result<Response<Body>> {
    if let ["apis", group, ..] = words
        && !serves_group(server, space, group)
    {
        return Ok(respond::no_such_path());
    }
    let (encoding, aggregated) = crate::negotiate::discovery(&head.headers, words.len() == 1)?;
    let gzip = crate::negotiate::accepts_gzip(&head.headers);
    let accepted = Accepted { encoding, form: crate::negotiate::Form::Whole, pretty: false, gzip };
    let address = server.0.advertised.split_once("://").map_or("", |(_, address)| address);
    if aggregated {
        let document = with_kinds(server, space, |kinds| match words {
            ["api"] => kinds.aggregated_core(),
            _ => kinds.aggregated_groups(),
        });
        return Ok(cached(&document, accepted, head));
    }
    let found = with_kinds(server, space, |kinds| match words {
        ["api"] => Some(kinds.api_versions(address)),
        ["apis"] => Some(kinds.api_groups()),
        ["apis", group] => kinds.api_group(group),
        ["api", version] => kinds.api_resources("", version),
        ["apis", group, version] => kinds.api_resources(group, version),
        _ => None,
    });
    let found = found.ok_or_else(respond::no_such_resource)?;
    Ok(present::document(accepted, StatusCode::OK, found.to_string()))
}

/// Whether the client has the document already.
fn holds(document: &Document, head: &Parts) -> bool {
    let held = head.headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let tags = held.unwrap_or_default().split(',').map(|tag| tag.trim().trim_start_matches("W/"));
    tags.into_iter().any(|tag| tag == document.etag || tag == "*")
}

/// Aggregated discovery, which clients keep: 304 if they have it already.
fn cached(document: &Document, accepted: Accepted, head: &Parts) -> Response<Body> {
    let mut response = if holds(document, head) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let mut response = present::document(accepted, StatusCode::OK, document.body.clone());
        let media = match accepted.encoding {
            Encoding::Json => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            // Aggregated discovery has no message; what is plain says of which kind it is.
            Encoding::Protobuf => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Encoding::Yaml => "application/yaml;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        };
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        response
    };
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    varying(response, &["Accept"])
}

fn openapi_document(server: &Server, space: &Space, words: &[&str], head: &Parts, query: &Query) -> Response<Body> {
    let customs = space.customs(server.store());
    // The schemas of definitions are read anew: these documents are asked for rarely, and schemas as trees are large.
    let schemas = Schemas::read(server, space);
    let builtin = builtin::kinds().iter().map(|row| Published { served: &row.served, custom: None });
    let custom = customs.kinds().filter_map(|kind| {
        let custom = kind.custom.as_ref()?;
        let schema = schemas.of(&kind.collection, &kind.served.version);
        let of = CustomSchema { schema, list_kind: &custom.list_kind, selectable: &custom.selectable };
        Some(Published { served: &kind.served, custom: Some(of) })
    });
    let documents = OpenApi::of(builtin.chain(custom));
    let cache = &server.0.documents;
    let not_acceptable = || empty(StatusCode::NOT_ACCEPTABLE);
    match words {
        ["openapi", "v2"] => {
            let answered = form(head, V2_FORMS).map_or_else(not_acceptable, |(form, media)| {
                let document = documents.v2(form, cache);
                let response = kept_document(&document, media, head);
                respond::compressed(response, &document.body, crate::negotiate::accepts_gzip(&head.headers))
            });
            varying(answered, &["Accept-Encoding", "Accept"])
        }
        ["openapi", "v3"] => {
            let body = documents.index().body;
            respond::answer(StatusCode::OK, "text/plain; charset=utf-8", body)
        }
        ["openapi", "v3", rest @ ..] => {
            let path = rest.join("/");
            let Some(hash) = documents.hash(&path) else { return empty(StatusCode::NOT_FOUND) };
            let Some((form, media)) = form(head, V3_FORMS) else { return varying(not_acceptable(), &["Accept"]) };
            varying(openapi_v3(&documents, cache, &path, &hash, (form, media), head, query), &["Accept"])
        }
        _ => respond::no_such_path(),
    }
}

fn openapi_v3(
    documents: &OpenApi<'_>,
    cache: &openapi::Cache,
    path: &str,
    hash: &str,
    (form, media): (Form, &'static str),
    head: &Parts,
    query: &Query,
) -> Response<Body> {
    let asked = query.get("hash").filter(|asked| !asked.is_empty());
    if asked.is_some_and(|asked| asked != hash) {
        let mut response = respond::answer(StatusCode::MOVED_PERMANENTLY, media, "");
        let headers = response.headers_mut();
        for (name, value) in
            [(header::LOCATION, format!("/openapi/v3/{path}?hash={hash}")), (header::ETAG, format!("\"{hash}\""))]
        {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        return response;
    }
    let Some(document) = documents.v3(path, form, cache) else { return empty(StatusCode::NOT_FOUND) };
    let mut response = kept_document(&document, media, head);
    if asked.is_some() {
        let forever = HeaderValue::from_static("public, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, forever);
    }
    response
}

/// A document of OpenAPI: 304 if the client has it already.
fn kept_document(document: &Document, media: &'static str, head: &Parts) -> Response<Body> {
    let mut response = if holds(document, head) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        respond::answer(StatusCode::OK, media, document.body.clone())
    };
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

fn empty(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(respond::whole(""));
    *response.status_mut() = code;
    response
}

fn varying(mut response: Response<Body>, on: &[&'static str]) -> Response<Body> {
    response.headers_mut().remove(header::VARY);
    for name in on {
        response.headers_mut().append(header::VARY, HeaderValue::from_static(name));
    }
    response
}

/// Media types of a document, each with the form and the media type of its answer; the first is for who does not mind.
type Forms = [(&'static str, Form, &'static str); 3];

const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const V3_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";

const V2_FORMS: Forms = [
    ("application/json", Form::Json, "application/json"),
    (V2_PROTOBUF, Form::Protobuf, V2_PROTOBUF),
    ("application/com.github.proto-openapi.spec.v2@v1.0+protobuf", Form::Protobuf, V2_PROTOBUF),
];

const V3_FORMS: Forms = [
    ("application/json", Form::Json, "application/json"),
    (V3_PROTOBUF, Form::Protobuf, V3_PROTOBUF),
    ("application/com.github.proto-openapi.spec.v3@v1.0+protobuf", Form::Protobuf, V3_PROTOBUF),
];

/// The form that the client likes best, if there is one that it accepts.
fn form(head: &Parts, forms: Forms) -> Option<(Form, &'static str)> {
    let ranges = crate::negotiate::media_ranges(&head.headers);
    if ranges.is_empty() {
        return Some((forms[0].1, forms[0].2));
    }
    ranges.iter().find_map(|range| {
        let any = *range == "*/*" || *range == "application/*";
        forms.iter().find(|(media, ..)| any || range == media).map(|(_, form, media)| (*form, *media))
    })
}

/// Schemas of the definitions of a space, by definition and version.
struct Schemas(BTreeMap<(String, String), Value>);

impl Schemas {
    fn read(server: &Server, space: &Space) -> Self {
        let collection = space.collection(&Arc::from(crd::COLLECTION));
        let page = server.store().page(&collection, None, None, usize::MAX, None);
        let mut schemas = BTreeMap::new();
        for entry in page.map(|page| page.entries).unwrap_or_default() {
            let mut definition: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
            for version in definition["spec"]["versions"].as_array_mut().into_iter().flatten() {
                let name = version["name"].as_str().unwrap_or("").to_owned();
                let schema = version["schema"]["openAPIV3Schema"].take();
                schemas.insert((entry.key.name.to_string(), name), schema);
            }
        }
        Self(schemas)
    }

    fn of(&self, definition: &str, version: &str) -> &Value {
        self.0.get(&(definition.to_owned(), version.to_owned())).unwrap_or(&Value::Null)
    }
}
