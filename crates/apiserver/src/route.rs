//! Paths and queries, read once into typed values.
//!
//! `/apis/apps/v1/namespaces/ns/deployments/web/status` is group, version, namespace, resource, name, subresource.

use http::Method;

/// What a path leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    /// A resource: a collection, an object, or a part of an object.
    Resource(Target),
    /// Everything else: discovery, health, version. Holds the path without a trailing slash (`/` stays).
    Path(String),
}

/// The resource that a path leads to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) version: String,
    /// Plural.
    pub(crate) resource: String,
    /// Empty: all namespaces, or cluster scope.
    pub(crate) namespace: String,
    /// Empty: the collection.
    pub(crate) name: String,
    /// Empty, or one segment: `status`, `scale`, `log`.
    pub(crate) subresource: String,
    /// Whether the path has the `/watch/` prefix that older clients used.
    pub(crate) legacy_watch: bool,
}

/// Reads a path.
pub(crate) fn route(path: &str) -> Route {
    let segments: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(|s| decode(s, false)).collect();
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    let found = match words.as_slice() {
        ["api", version, rest @ ..] => target("", version, rest),
        ["apis", group, version, rest @ ..] => target(group, version, rest),
        _ => None,
    };
    found.map_or_else(|| Route::Path(format!("/{}", words.join("/"))), Route::Resource)
}

/// `rest` is what follows the version; nothing there is a discovery document.
fn target(group: &str, version: &str, rest: &[&str]) -> Option<Target> {
    let (legacy_watch, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        rest => (false, rest),
    };
    let (namespace, rest) = match rest {
        // `status` and `finalize` are the only subresources of a namespace: other words after its name are resources.
        ["namespaces", _, "status" | "finalize"] | ["namespaces"] | ["namespaces", _] => ("", rest),
        ["namespaces", namespace, rest @ ..] => (*namespace, rest),
        rest => ("", rest),
    };
    let (resource, rest) = rest.split_first()?;
    Some(Target {
        group: group.into(),
        version: version.into(),
        resource: (*resource).into(),
        namespace: namespace.into(),
        name: rest.first().copied().unwrap_or("").into(),
        subresource: rest.get(1).copied().unwrap_or("").into(),
        legacy_watch,
    })
}

/// What is asked of a resource, in the words that authorization uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// The verb of a request; `None` is a method that resources do not have.
    pub(crate) fn of(method: &Method, target: &Target, query: &Query) -> Option<Self> {
        // One object is watched by a selector of its name, or by the path of older clients.
        let watch = target.legacy_watch || (target.name.is_empty() && query.flag("watch"));
        Some(match (method.as_str(), target.name.is_empty()) {
            ("GET", _) if watch && target.subresource.is_empty() => Self::Watch,
            ("GET", true) => Self::List,
            ("GET", false) => Self::Get,
            ("POST", _) => Self::Create,
            ("PUT", _) => Self::Update,
            ("PATCH", _) => Self::Patch,
            ("DELETE", true) => Self::DeleteCollection,
            ("DELETE", false) => Self::Delete,
            _ => return None,
        })
    }

    /// As RBAC rules and discovery spell it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// The query of a request, decoded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=1&b=2`.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key, true), decode(value, true))
                })
                .collect(),
        )
    }

    /// The first value of a parameter; empty values read as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is there, even without a value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// A truth value: `?watch`, `?watch=1`, `?watch=true`; anything but false words is true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.is_some_and(|(_, value)| !matches!(value.as_str(), "0" | "false" | "False" | "FALSE" | "f" | "F"))
    }
}

/// Percent-decoding; `form` also reads `+` as a blank. What does not decode stays as it is.
pub(crate) fn decode(text: &str, form: bool) -> String {
    if !text.bytes().any(|b| b == b'%' || (form && b == b'+')) {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if form && bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: [&str; 6]) {
        let Route::Resource(t) = route(path) else { panic!("{path} is no resource") };
        assert_eq!([&t.group, &t.version, &t.resource, &t.namespace, &t.name, &t.subresource], expected, "{path}");
    }

    #[test]
    fn reads_paths() {
        check("/api/v1/configmaps", ["", "v1", "configmaps", "", "", ""]);
        check("/api/v1/namespaces", ["", "v1", "namespaces", "", "", ""]);
        check("/api/v1/namespaces/a", ["", "v1", "namespaces", "", "a", ""]);
        check("/api/v1/namespaces/a/finalize", ["", "v1", "namespaces", "", "a", "finalize"]);
        check("/api/v1/namespaces/a/pods/b/log", ["", "v1", "pods", "a", "b", "log"]);
        check("/apis/apps/v1/namespaces/a/deployments/b", ["apps", "v1", "deployments", "a", "b", ""]);
        check("/api/v1/watch/namespaces/a/pods", ["", "v1", "pods", "a", "", ""]);
        let roles = ["rbac.authorization.k8s.io", "v1", "clusterroles", "", "system:a", ""];
        check("/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aa", roles);
        for path in ["/", "/api", "/api/v1", "/api/v1/", "/apis/apps", "/apis/apps/v1", "/version/", "/healthz"] {
            assert!(matches!(route(path), Route::Path(_)), "{path}");
        }
        assert_eq!(route("/version/"), Route::Path("/version".into()));
    }

    #[test]
    fn reads_queries() {
        let query = Query::parse("labelSelector=a%3Db%2Cc+in+%28d%29&watch=1&limit=&dryRun=All&dryRun=All");
        assert_eq!(query.get("labelSelector"), Some("a=b,c in (d)"));
        assert!(query.flag("watch"));
        assert_eq!(query.get("limit"), None);
        assert!(query.has("limit"));
        assert_eq!(query.all("dryRun").count(), 2);
    }
}
