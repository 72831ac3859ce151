//! The parameters of operations: one row for each, however many operations take it.

/// Where a parameter stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Place {
    Path,
    Query,
}

/// A parameter in the path or in the query.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Parameter {
    /// As requests have it.
    pub(super) name: &'static str,
    /// Path parameters are named before query parameters.
    pub(super) place: Place,
    /// What a stock server adds to the name where version 2 refers to it: parameters of one name may mean different
    /// things. Empty if version 2 never refers to it, and writes it out each time.
    pub(super) suffix: &'static str,
    /// `string`, `integer` or `boolean`.
    pub(super) kind: &'static str,
    /// What it does.
    pub(super) text: &'static str,
}

const fn query(name: &'static str, suffix: &'static str, kind: &'static str, text: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, suffix, kind, text }
}

const fn path(name: &'static str, suffix: &'static str, text: &'static str) -> Parameter {
    Parameter { name, place: Place::Path, suffix, kind: "string", text }
}

/// Every parameter.
pub(super) static ALL: [Parameter; 48] = [
    query("allowWatchBookmarks", "HC2hJt-J", "boolean", "Whether a watch may send events of type BOOKMARK."),
    query("command", "Py3eQybp", "string", "What to run, a word at a time; no shell is asked."),
    query("container", "1GeXxFDC", "string", "Whose log it is; needless for a Pod of one container."),
    query("container", "_Q-EJ3nR", "string", "What to attach to; needless for a Pod of one container."),
    query("container", "i5dOmRiM", "string", "Where to run it; needless for a Pod of one container."),
    query("continue", "QfD61s0i", "string", "Where the previous page of the list ended."),
    query("dryRun", "", "string", "`All`: do everything but store the outcome."),
    query("fieldManager", "7c6nTn1T", "string", "Who makes the change; an apply has to say it."),
    query("fieldManager", "Qy4HdaTW", "string", "Who makes the change, for the record of managed fields."),
    query("fieldSelector", "xIcQKXFG", "string", "Only objects whose fields are as said."),
    query(
        "fieldValidation",
        "",
        "string",
        "What to do about unknown and duplicate fields: `Ignore`, `Warn` or `Strict`.",
    ),
    query("follow", "9OIXh_2R", "boolean", "Whether to wait for what the container still writes."),
    query("force", "tOGGb0Yi", "boolean", "Whether an apply takes over fields that others manage."),
    query("gracePeriodSeconds", "-K5HaBOS", "integer", "Seconds until the object is deleted."),
    query(
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "QbNkfIqj",
        "boolean",
        "Whether to delete an object that cannot be read from the store.",
    ),
    query(
        "insecureSkipTLSVerifyBackend",
        "gM00jVbe",
        "boolean",
        "Whether to trust a kubelet whose certificate is not known.",
    ),
    query("labelSelector", "5Zw57w4C", "string", "Only objects whose labels are as said."),
    query("limit", "1NfNmdNH", "integer", "Most objects in a page of the list."),
    query("limitBytes", "zwd1RXuc", "integer", "Most bytes of the log."),
    query("orphanDependents", "uRB25kX5", "boolean", "Deprecated: use propagationPolicy."),
    query("path", "QCf0eosM", "string", "The path at the Service, with its query."),
    query("path", "oPbzgLUj", "string", "The path at the Pod."),
    query("path", "rFDtV0x9", "string", "The path at the Node."),
    query("ports", "91KROJmm", "integer", "The ports to forward, for WebSockets."),
    query("pretty", "tJGM1-ng", "string", "If `true`, the answer is indented."),
    query("previous", "1jxDPu3y", "boolean", "Whether the log is that of the container before its restart."),
    query(
        "propagationPolicy",
        "6jk3prlO",
        "string",
        "What becomes of dependents: `Orphan`, `Background` or `Foreground`.",
    ),
    query("resourceVersion", "5WAnf1kx", "string", "From which version to list or watch."),
    query("resourceVersionMatch", "t8XhRHeC", "string", "How the version of a list must match resourceVersion."),
    query("sendInitialEvents", "rLXlEK_k", "boolean", "Whether a watch begins with the objects that there are."),
    query("shardSelector", "Kgyki_3_", "string", "Only objects whose hash falls in a range."),
    query("sinceSeconds", "vE2NLdnP", "integer", "Only the log of the last seconds."),
    query("stderr", "26jJhFUR", "boolean", "Whether to show what the container writes as errors."),
    query("stderr", "W_1TNlWc", "boolean", "Whether to show what the command writes as errors."),
    query("stdin", "PSzNhyUC", "boolean", "Whether the command reads from the client."),
    query("stdin", "sEFnN3IS", "boolean", "Whether the container reads from the client."),
    query("stdout", "-EZLRwV1", "boolean", "Whether to show what the command writes."),
    query("stdout", "005YMKE6", "boolean", "Whether to show what the container writes."),
    query("stream", "l-48cgXv", "string", "Which stream of the log: `All`, `Stdout` or `Stderr`."),
    query("tailLines", "9xQLWHMV", "integer", "Only the last lines of the log."),
    query("timeoutSeconds", "yvYezaOC", "integer", "Seconds until a list or watch ends."),
    query("timestamps", "c17fW1w_", "boolean", "Whether each line begins with its time."),
    query("tty", "g7MlET_l", "boolean", "Whether the container has a terminal."),
    query("tty", "s0flW37O", "boolean", "Whether the command gets a terminal."),
    query("watch", "XNNPZGbK", "boolean", "Whether to watch for changes."),
    path("name", "", "Name of the object."),
    path("namespace", "vgWSWtn3", "Namespace of the object."),
    path("path", "z6Ciiujn", "The path behind the proxy."),
];

/// What a list or watch takes; of a custom kind, also a deletion of many.
pub(super) const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
    "watch",
];

/// What a deletion takes.
pub(super) const DELETE: &[&str] = &[
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
];

/// What a deletion of many takes.
pub(super) const DELETE_COLLECTION: &[&str] = &[
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
    "shardSelector",
    "timeoutSeconds",
];

/// What a read of a custom object takes.
pub(super) const GET_CUSTOM: &[&str] = &["resourceVersion"];

/// What a creation or replacement takes.
pub(super) const WRITE: &[&str] = &["dryRun", "fieldManager-Qy4HdaTW", "fieldValidation"];

/// What a patch takes.
pub(super) const PATCH: &[&str] = &["dryRun", "fieldManager-7c6nTn1T", "fieldValidation", "force"];

/// What `log` of a Pod takes.
pub(super) const LOG: &[&str] = &[
    "container-1GeXxFDC",
    "follow",
    "insecureSkipTLSVerifyBackend",
    "limitBytes",
    "previous",
    "sinceSeconds",
    "stream",
    "tailLines",
    "timestamps",
];

/// What a stream to a Pod, Service or Node takes, by the kind of its options.
pub(super) const CONNECT: [(&str, &[&str]); 6] = [
    ("NodeProxyOptions", &["path-rFDtV0x9"]),
    (
        "PodAttachOptions",
        &["container-_Q-EJ3nR", "stderr-26jJhFUR", "stdin-sEFnN3IS", "stdout-005YMKE6", "tty-g7MlET_l"],
    ),
    (
        "PodExecOptions",
        &["command", "container-i5dOmRiM", "stderr-W_1TNlWc", "stdin-PSzNhyUC", "stdout--EZLRwV1", "tty-s0flW37O"],
    ),
    ("PodPortForwardOptions", &["ports"]),
    ("PodProxyOptions", &["path-oPbzgLUj"]),
    ("ServiceProxyOptions", &["path-QCf0eosM"]),
];

impl Parameter {
    /// Its name among the parameters of version 2, such as `limit-1NfNmdNH`.
    pub(super) fn id(&self) -> String {
        format!("{}-{}", self.name, self.suffix)
    }
}

/// A query parameter by its name, or by its id where there are several of the name.
pub(super) fn find(id: &str) -> &'static Parameter {
    let query = ALL.iter().filter(|one| one.place == Place::Query);
    let mut named = query.filter(|one| one.name == id || (!one.suffix.is_empty() && one.id() == id));
    named.next().expect("the lists above name parameters of the table")
}

/// The parameters that stand in a path as `{NAME}`.
pub(super) fn of_path(path: &str) -> impl Iterator<Item = &'static Parameter> {
    let stands = |name: &str| path.contains(&format!("{{{name}}}"));
    ALL.iter().filter(move |one| one.place == Place::Path && stands(one.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_name_parameters() {
        let lists = [LIST, DELETE, DELETE_COLLECTION, GET_CUSTOM, WRITE, PATCH, LOG];
        for id in lists.into_iter().chain(CONNECT.map(|(_, ids)| ids)).flatten() {
            let found = find(id);
            let several = ALL.iter().filter(|one| one.name == found.name && one.place == Place::Query).count() > 1;
            assert!(!several || found.id() == *id, "{id} could be another");
        }
    }
}
