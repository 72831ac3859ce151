//! The operations of a group and version, as data: what both versions of OpenAPI say of them.

use super::parameters::{self, Parameter};
use super::{GroupVersion, Published, schemas};
use crate::discovery::{ServedKind, Subresource, Verb, Verbs};
use api::GroupVersionKind;
use machinery::strategy::strategy;

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
pub(super) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
pub(super) const PATCH_BODY: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";

/// Media types.
type Media = &'static [&'static str];

const ANY: Media = &["*/*"];
const JSON: Media = &["application/json"];
/// What is said of custom resources.
const TEXTS: Media = &["application/json", "application/yaml"];
const ENCODED: Media = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const LISTED: Media = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const LOGGED: Media = &["text/plain", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// What a built-in resource takes as a patch.
const PATCHES: Media = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// A custom one does not know strategic merge.
const CUSTOM_PATCHES: Media =
    &["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];

/// Methods that lead through a proxy, with their names in operations.
const PROXIED: [(&str, &str); 7] = [
    ("get", "Get"),
    ("put", "Put"),
    ("post", "Post"),
    ("delete", "Delete"),
    ("options", "Options"),
    ("head", "Head"),
    ("patch", "Patch"),
];

/// Methods that begin a stream.
const STREAMED: [(&str, &str); 2] = [("get", "Get"), ("post", "Post")];

/// One method of one path.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    /// Such as `/apis/apps/v1/namespaces/{namespace}/deployments/{name}`.
    pub(super) path: String,
    /// In lower case.
    pub(super) method: &'static str,
    /// Unique name, by which clients are generated.
    pub(super) id: String,
    /// Such as `apps_v1`.
    pub(super) tag: String,
    /// `x-kubernetes-action`; empty for discovery.
    pub(super) action: &'static str,
    /// `x-kubernetes-group-version-kind`; none for discovery.
    pub(super) kind: Option<GroupVersionKind>,
    /// Of path and query, in the order of their names.
    pub(super) parameters: Vec<&'static Parameter>,
    /// Definition of the body, and whether there must be one.
    pub(super) body: Option<(String, bool)>,
    /// Media types of the body.
    pub(super) consumes: Media,
    /// Media types of the answer.
    pub(super) produces: Media,
    /// Definition of the answer; empty for text.
    pub(super) answer: String,
    /// Status codes of success.
    pub(super) codes: &'static [u16],
}

/// Every operation of a group and version.
pub(super) fn of(version: &GroupVersion<'_>) -> Vec<Operation> {
    let mut operations = Vec::new();
    // The resources of custom groups are listed without a word here, as a stock server does it.
    if version.kinds.iter().any(|kind| kind.custom.is_none()) {
        let (path, id) = (format!("/{}/", version.path()), format!("get{}APIResources", camel(version)));
        let answer = "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList";
        operations.push(read_only(&path, id, tag(version), answer));
    }
    for kind in &version.kinds {
        of_kind(version, kind, &mut operations);
    }
    operations
}

/// Operations on paths that belong to no version, for these groups besides the core group.
pub(super) fn beside<'a>(groups: impl IntoIterator<Item = &'a str>) -> Vec<Operation> {
    let name = |kind: &str| format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}");
    let mut operations = vec![
        read_only("/api/", "getCoreAPIVersions".into(), "core".into(), &name("APIVersions")),
        read_only("/apis/", "getAPIVersions".into(), "apis".into(), &name("APIGroupList")),
    ];
    for group in groups {
        let (mut words, camel) = (group_words(group), group_words(group).map(capitalised).collect::<String>());
        let first = words.next().unwrap_or_default().to_owned();
        let tag = first + &words.map(capitalised).collect::<String>();
        let path = format!("/apis/{group}/");
        operations.push(read_only(&path, format!("get{camel}APIGroup"), tag, &name("APIGroup")));
    }
    let version =
        read_only("/version/", "getCodeVersion".into(), "version".into(), "io.k8s.apimachinery.pkg.version.Info");
    operations.push(Operation { consumes: JSON, produces: JSON, ..version });
    let configuration = "/.well-known/openid-configuration/";
    let issuer = read_only(configuration, "getServiceAccountIssuerOpenIDConfiguration".into(), "WellKnown".into(), "");
    operations.push(Operation { consumes: &[], produces: JSON, ..issuer });
    let keys = read_only("/openid/v1/jwks/", "getServiceAccountIssuerOpenIDKeyset".into(), "openid".into(), "");
    operations.push(Operation { consumes: &[], produces: &["application/jwk-set+json"], ..keys });
    operations
}

fn read_only(path: &str, id: String, tag: String, answer: &str) -> Operation {
    Operation {
        path: path.to_owned(),
        method: "get",
        id,
        tag,
        action: "",
        kind: None,
        parameters: Vec::new(),
        body: None,
        consumes: ENCODED,
        produces: ENCODED,
        answer: answer.to_owned(),
        codes: &[200],
    }
}

/// The operations of one path.
#[derive(Clone)]
struct Place<'a> {
    version: &'a GroupVersion<'a>,
    path: String,
    /// What follows the verb, group and version in an operation's name.
    noun: String,
    kind: GroupVersionKind,
    /// Definition of the kind.
    definition: String,
    custom: bool,
}

impl Place<'_> {
    fn operation(&self, method: &'static str, verb: &str, action: &'static str, query: &[&str]) -> Operation {
        // Streams hand on what they get.
        let pretty = (action != "connect").then_some("pretty");
        let query = query.iter().copied().chain(pretty).map(parameters::find);
        let mut parameters: Vec<&Parameter> = parameters::of_path(&self.path).chain(query).collect();
        parameters.sort_unstable();
        Operation {
            path: self.path.clone(),
            method,
            id: format!("{verb}{}{}", camel(self.version), self.noun),
            tag: tag(self.version),
            action,
            kind: Some(self.kind.clone()),
            parameters,
            body: None,
            consumes: if self.custom { TEXTS } else { ANY },
            produces: if self.custom { TEXTS } else { ENCODED },
            answer: self.definition.clone(),
            codes: &[200],
        }
    }

    fn list(&self, list_definition: &str) -> Operation {
        let operation = self.operation("get", "list", "list", parameters::LIST);
        let produces = if self.custom { TEXTS } else { LISTED };
        Operation { answer: list_definition.into(), produces, ..operation }
    }

    fn watch(&self, action: &'static str) -> Operation {
        let operation = self.operation("get", "watch", action, parameters::LIST);
        Operation { answer: WATCH_EVENT.into(), produces: LISTED, ..operation }
    }

    /// Methods that a resource and a subresource have in common.
    fn common(&self, verbs: Verbs, into: &mut Vec<Operation>) {
        if verbs.contains(Verb::Get) {
            let query = if self.custom { parameters::GET_CUSTOM } else { &[] };
            into.push(self.operation("get", "read", "get", query));
        }
        if verbs.contains(Verb::Update) {
            let operation = self.operation("put", "replace", "put", parameters::WRITE);
            let body = Some((self.definition.clone(), true));
            into.push(Operation { body, codes: &[200, 201], ..operation });
        }
        if verbs.contains(Verb::Patch) {
            let operation = self.operation("patch", "patch", "patch", parameters::PATCH);
            let body = Some((PATCH_BODY.to_owned(), true));
            let consumes = if self.custom { CUSTOM_PATCHES } else { PATCHES };
            let codes: &[u16] = if self.custom { &[200] } else { &[200, 201] };
            into.push(Operation { body, consumes, codes, ..operation });
        }
    }

    fn create(&self) -> Operation {
        let body = Some((self.definition.clone(), true));
        let operation = self.operation("post", "create", "post", parameters::WRITE);
        Operation { body, codes: &[200, 201, 202], ..operation }
    }

    fn delete(&self) -> Operation {
        let operation = self.operation("delete", "delete", "delete", parameters::DELETE);
        let body = Some((DELETE_OPTIONS.to_owned(), false));
        let returned = !self.custom && strategy(&self.kind.group, &self.kind.kind).returns_deleted;
        let answer = if returned { self.definition.clone() } else { STATUS.to_owned() };
        Operation { body, answer, codes: &[200, 202], ..operation }
    }

    fn delete_collection(&self) -> Operation {
        let several = Place { noun: format!("Collection{}", self.noun), ..self.clone() };
        let query = if self.custom { parameters::LIST } else { parameters::DELETE_COLLECTION };
        let operation = several.operation("delete", "delete", "deletecollection", query);
        let body = (!self.custom).then(|| (DELETE_OPTIONS.to_owned(), false));
        Operation { body, answer: STATUS.into(), ..operation }
    }
}

fn of_kind(version: &GroupVersion<'_>, published: &Published<'_>, into: &mut Vec<Operation>) {
    let served = published.served;
    let Some(definition) = schemas::definition_of(published) else { return };
    let root = format!("/{}", version.path());
    let (scope, namespaced) = if served.namespaced { ("/namespaces/{namespace}", "Namespaced") } else { ("", "") };
    let place = |path: String, noun: String| Place {
        version,
        path,
        noun,
        kind: served.resource().group_version_kind(),
        definition: definition.clone(),
        custom: published.custom.is_some(),
    };
    let (plural, kind) = (&served.plural, &served.kind);
    let collection = place(format!("{root}{scope}/{plural}"), format!("{namespaced}{kind}"));
    let list_definition = schemas::list_definition_of(published);
    if served.verbs.contains(Verb::List) {
        into.push(collection.list(&list_definition));
        if served.namespaced {
            let everywhere = place(format!("{root}/{plural}"), format!("{kind}ForAllNamespaces"));
            into.push(everywhere.list(&list_definition));
        }
    }
    if served.verbs.contains(Verb::Create) {
        into.push(collection.create());
    }
    if served.verbs.contains(Verb::DeleteCollection) {
        into.push(collection.delete_collection());
    }
    let one = place(format!("{root}{scope}/{plural}/{{name}}"), format!("{namespaced}{kind}"));
    one.common(served.verbs, into);
    if served.verbs.contains(Verb::Delete) {
        into.push(one.delete());
    }
    if served.verbs.contains(Verb::Watch) && published.custom.is_none() {
        // Paths of old, which `watch=true` replaced.
        let old = |path: String, noun: String| place(format!("{root}/watch{path}"), noun);
        into.push(old(format!("{scope}/{plural}"), format!("{namespaced}{kind}List")).watch("watchlist"));
        into.push(old(format!("{scope}/{plural}/{{name}}"), format!("{namespaced}{kind}")).watch("watch"));
        if served.namespaced {
            into.push(old(format!("/{plural}"), format!("{kind}ListForAllNamespaces")).watch("watchlist"));
        }
    }
    for sub in &served.subresources {
        of_subresource(&one, served, sub, into);
    }
}

fn of_subresource(one: &Place<'_>, served: &ServedKind, sub: &Subresource, into: &mut Vec<Operation>) {
    let (path, noun) = (format!("{}/{}", one.path, sub.name), format!("{}{}", one.noun, capitalised(&sub.name)));
    if let Some((kind, query)) = parameters::CONNECT.iter().find(|(kind, _)| *kind == sub.kind) {
        let kind = GroupVersionKind { kind: (*kind).to_owned(), ..one.kind.clone() };
        let place = Place { path, noun, kind, definition: String::new(), ..one.clone() };
        let proxied = sub.name == "proxy";
        let behind = proxied.then(|| Place {
            path: format!("{}/{{path}}", place.path),
            noun: format!("{}WithPath", place.noun),
            ..place.clone()
        });
        let methods = if proxied { &PROXIED[..] } else { &STREAMED[..] };
        for place in [Some(place), behind].into_iter().flatten() {
            for (method, name) in methods {
                let operation = place.operation(method, "connect", "connect", query);
                let id = format!("connect{}{name}{}", camel(place.version), place.noun);
                into.push(Operation { id, produces: ANY, ..operation });
            }
        }
        return;
    }
    let Some((kind, definition)) = spoken(served, sub, &one.definition) else { return };
    // Custom resources are asked for their scale under their own name.
    let kind = if one.custom { one.kind.clone() } else { kind };
    let place = Place { path, noun, kind, definition, ..one.clone() };
    if sub.name == "log" {
        let operation = place.operation("get", "read", "get", parameters::LOG);
        into.push(Operation { answer: String::new(), produces: LOGGED, ..operation });
        return;
    }
    if sub.verbs.contains(Verb::Create) {
        into.push(place.create());
    }
    place.common(sub.verbs, into);
}

/// The kind that a subresource speaks, and its definition.
fn spoken(served: &ServedKind, sub: &Subresource, own: &str) -> Option<(GroupVersionKind, String)> {
    let (group, version) =
        if sub.version.is_empty() { (&served.group, &served.version) } else { (&sub.group, &sub.version) };
    let kind = GroupVersionKind { group: group.to_string(), version: version.to_string(), kind: sub.kind.to_string() };
    if sub.kind == served.kind && sub.version.is_empty() {
        return Some((kind, own.to_owned()));
    }
    let definition = crate::builtin::definition(group, version, &sub.kind)?;
    Some((kind, definition.to_owned()))
}

/// Group and version as a part of an operation's name: `CoreV1`, `RbacAuthorizationV1`, `StableExampleComV1`.
fn camel(version: &GroupVersion<'_>) -> String {
    let group = group_words(version.group).map(capitalised).collect::<String>();
    format!("{group}{}", capitalised(version.version))
}

/// Group and version as a tag: `core_v1`, `rbacAuthorization_v1`.
fn tag(version: &GroupVersion<'_>) -> String {
    let mut words = group_words(version.group);
    let first = words.next().unwrap_or("").to_owned();
    let rest: String = words.map(capitalised).collect();
    format!("{first}{rest}_{}", version.version)
}

fn group_words(group: &str) -> impl Iterator<Item = &str> {
    let group = if group.is_empty() { "core" } else { group };
    group.strip_suffix(".k8s.io").unwrap_or(group).split(['.', '-'])
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
