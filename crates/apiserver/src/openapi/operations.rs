//! The operations of a group and version, as data: what both versions of OpenAPI say of them.

use super::{GroupVersion, Published, schemas};
use crate::discovery::{ServedKind, Subresource, Verb, Verbs};
use api::GroupVersionKind;

/// A query parameter: name, type, and what it does.
pub(super) type Parameter = (&'static str, &'static str, &'static str);

/// Every query parameter.
pub(super) const PARAMETERS: [Parameter; 19] = [
    ("allowWatchBookmarks", "boolean", "Whether a watch may send events of type BOOKMARK."),
    ("continue", "string", "Where the previous page of the list ended."),
    ("dryRun", "string", "`All`: do everything but store the outcome."),
    ("fieldManager", "string", "Who makes the change, for the record of managed fields."),
    ("fieldSelector", "string", "Only objects whose fields are as said."),
    ("fieldValidation", "string", "What to do about unknown and duplicate fields: `Ignore`, `Warn` or `Strict`."),
    ("force", "boolean", "Whether an apply takes over fields that others manage."),
    ("gracePeriodSeconds", "integer", "Seconds until the object is deleted."),
    (
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
        "Whether to delete an object that cannot be read from the store.",
    ),
    ("labelSelector", "string", "Only objects whose labels are as said."),
    ("limit", "integer", "Most objects in a page of the list."),
    ("orphanDependents", "boolean", "Deprecated: use propagationPolicy."),
    ("pretty", "string", "If `true`, the answer is indented."),
    ("propagationPolicy", "string", "What becomes of dependents: `Orphan`, `Background` or `Foreground`."),
    ("resourceVersion", "string", "From which version to list or watch."),
    ("resourceVersionMatch", "string", "How the version of a list must match resourceVersion."),
    ("sendInitialEvents", "boolean", "Whether a watch begins with the objects that there are."),
    ("timeoutSeconds", "integer", "Seconds until a list or watch ends."),
    ("watch", "boolean", "Whether to watch for changes."),
];

const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
const DELETE: &[&str] = &[
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
];
const DELETE_COLLECTION: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
];
const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const PATCH_BODY: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// What a built-in resource takes as a patch; a custom one does not know strategic merge.
const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// One method of one path.
#[derive(Debug)]
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
    /// Names of query parameters.
    pub(super) parameters: &'static [&'static str],
    /// Definition of the body, and whether there must be one.
    pub(super) body: Option<(String, bool)>,
    /// Media types of the body; empty means any that the server decodes.
    pub(super) consumes: &'static [&'static str],
    /// Definition of the answer; empty for text.
    pub(super) answer: String,
    /// Whether the answer may be a stream of events.
    pub(super) watchable: bool,
    /// Status codes of success.
    pub(super) codes: &'static [u16],
}

/// Every operation of a group and version. Streams to Pods and Nodes (`exec`, `proxy`) are left out: no kubelet stands
/// behind this server; so are the paths below `/watch/`, which `watch=true` replaced.
pub(super) fn of(version: &GroupVersion<'_>) -> Vec<Operation> {
    let mut operations = vec![discovery(version)];
    for kind in &version.kinds {
        of_kind(version, kind, &mut operations);
    }
    operations
}

fn discovery(version: &GroupVersion<'_>) -> Operation {
    Operation {
        path: format!("/{}/", version.path()),
        method: "get",
        id: format!("get{}APIResources", camel(version)),
        tag: tag(version),
        action: "",
        kind: None,
        parameters: &[],
        body: None,
        consumes: &[],
        answer: "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList".into(),
        watchable: false,
        codes: &[200],
    }
}

/// The operations of one path.
struct Place<'a> {
    version: &'a GroupVersion<'a>,
    path: String,
    /// What follows the verb, group and version in an operation's name.
    noun: String,
    kind: GroupVersionKind,
    /// Definition of the kind.
    definition: String,
    patches: &'static [&'static str],
}

impl Place<'_> {
    fn operation(&self, method: &'static str, verb: &str, action: &'static str) -> Operation {
        Operation {
            path: self.path.clone(),
            method,
            id: format!("{verb}{}{}", camel(self.version), self.noun),
            tag: tag(self.version),
            action,
            kind: Some(self.kind.clone()),
            parameters: &[],
            body: None,
            consumes: &[],
            answer: self.definition.clone(),
            watchable: false,
            codes: &[200],
        }
    }

    fn list(&self, list_definition: &str) -> Operation {
        let operation = self.operation("get", "list", "list");
        Operation { parameters: LIST, answer: list_definition.into(), watchable: true, ..operation }
    }

    /// Methods that a resource and a subresource have in common.
    fn common(&self, verbs: Verbs, into: &mut Vec<Operation>) {
        if verbs.contains(Verb::Get) {
            into.push(self.operation("get", "read", "get"));
        }
        if verbs.contains(Verb::Update) {
            let operation = self.operation("put", "replace", "put");
            let body = Some((self.definition.clone(), true));
            into.push(Operation { parameters: WRITE, body, codes: &[200, 201], ..operation });
        }
        if verbs.contains(Verb::Patch) {
            let operation = self.operation("patch", "patch", "patch");
            let body = Some((PATCH_BODY.to_owned(), true));
            let codes = &[200, 201];
            into.push(Operation { parameters: PATCH, body, consumes: self.patches, codes, ..operation });
        }
    }

    fn create(&self) -> Operation {
        let body = Some((self.definition.clone(), true));
        let operation = self.operation("post", "create", "post");
        Operation { parameters: WRITE, body, codes: &[200, 201, 202], ..operation }
    }
}

fn of_kind(version: &GroupVersion<'_>, published: &Published<'_>, into: &mut Vec<Operation>) {
    let served = published.served;
    let Some(definition) = schemas::definition_of(published) else { return };
    let root = format!("/{}", version.path());
    let (scope, namespaced) = if served.namespaced { ("/namespaces/{namespace}", "Namespaced") } else { ("", "") };
    let patches = if published.custom.is_some() { &PATCHES[..3] } else { &PATCHES[..] };
    let place = |path: String, noun: String| Place {
        version,
        path,
        noun,
        kind: served.resource().group_version_kind(),
        definition: definition.clone(),
        patches,
    };
    let collection = place(format!("{root}{scope}/{}", served.plural), format!("{namespaced}{}", served.kind));
    let list_definition = schemas::list_definition_of(published);
    if served.verbs.contains(Verb::List) {
        into.push(collection.list(&list_definition));
        if served.namespaced {
            let everywhere = place(format!("{root}/{}", served.plural), format!("{}ForAllNamespaces", served.kind));
            into.push(everywhere.list(&list_definition));
        }
    }
    if served.verbs.contains(Verb::Create) {
        into.push(collection.create());
    }
    if served.verbs.contains(Verb::DeleteCollection) {
        let several = Place { noun: format!("Collection{}", collection.noun), ..collection };
        let operation = several.operation("delete", "delete", "deletecollection");
        let body = Some((DELETE_OPTIONS.to_owned(), false));
        into.push(Operation { parameters: DELETE_COLLECTION, body, answer: STATUS.into(), ..operation });
    }
    let one = place(format!("{root}{scope}/{}/{{name}}", served.plural), format!("{namespaced}{}", served.kind));
    one.common(served.verbs, into);
    if served.verbs.contains(Verb::Delete) {
        let operation = one.operation("delete", "delete", "delete");
        let body = Some((DELETE_OPTIONS.to_owned(), false));
        into.push(Operation { parameters: DELETE, body, answer: STATUS.into(), codes: &[200, 202], ..operation });
    }
    for sub in &served.subresources {
        if let Some((kind, definition)) = spoken(served, sub, &definition) {
            let noun = format!("{}{}", one.noun, capitalised(&sub.name));
            let place = Place { path: format!("{}/{}", one.path, sub.name), noun, kind, definition, version, patches };
            if sub.verbs.contains(Verb::Create) {
                into.push(place.create());
            }
            place.common(sub.verbs, into);
            if sub.name == "log"
                && let Some(log) = into.last_mut()
            {
                log.answer = String::new();
            }
        }
    }
}

/// The kind that a subresource speaks, and its definition; none for streams, which take their options from the query.
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
    let group = group_words(version).map(capitalised).collect::<String>();
    format!("{group}{}", capitalised(version.version))
}

/// Group and version as a tag: `core_v1`, `rbacAuthorization_v1`.
fn tag(version: &GroupVersion<'_>) -> String {
    let mut words = group_words(version);
    let first = words.next().unwrap_or("").to_owned();
    let rest: String = words.map(capitalised).collect();
    format!("{first}{rest}_{}", version.version)
}

fn group_words<'a>(version: &GroupVersion<'a>) -> impl Iterator<Item = &'a str> {
    let group = if version.group.is_empty() { "core" } else { version.group };
    group.strip_suffix(".k8s.io").unwrap_or(group).split(['.', '-'])
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
