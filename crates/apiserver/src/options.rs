//! Options of requests, read from the query and checked.

use crate::admission::Operation;
use crate::respond::{Failure, Result};
use crate::route::Query;
use api::{Cause, Details, Reason, Status};
use http::{HeaderMap, header};
use serde_json::{Value, json};

/// The longest name of a field manager, as the stock server has it.
const MANAGER_CHARS_MAX: usize = 128;

/// What to do with unknown and duplicate fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// Options of create, update and patch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WriteOptions {
    /// Do everything but store.
    pub(crate) dry_run: bool,
    /// Who owns the fields; never empty.
    pub(crate) manager: String,
    pub(crate) validation: FieldValidation,
    /// Of server-side apply.
    pub(crate) force: bool,
}

/// 422 on the options, as the stock server prints it: `CreateOptions.meta.k8s.io "" is invalid: ...`.
pub(crate) fn invalid(kind: &str, causes: Vec<Cause>) -> Failure {
    Status::invalid("meta.k8s.io", kind, "", causes).into()
}

/// One cause of a 422.
pub(crate) fn cause(reason: &str, field: &str, message: impl Into<String>) -> Cause {
    Cause { reason: reason.into(), message: message.into(), field: field.into() }
}

/// `dryRun`, from the query or a body: only `All` is known.
fn dry_run<'a>(kind: &str, values: impl Iterator<Item = &'a str>) -> Result<bool> {
    let mut asked = false;
    for value in values.filter(|value| !value.is_empty()) {
        if value != "All" {
            let message = format!("Unsupported value: [{value:?}]: supported values: \"All\"");
            return Err(invalid(kind, vec![cause("FieldValueNotSupported", "dryRun", message)]));
        }
        asked = true;
    }
    Ok(asked)
}

/// The manager when none is given: what comes before the first `/` of the user agent.
fn manager_of(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let name: String = agent.split('/').next().unwrap_or("").chars().filter(|c| !c.is_control()).collect();
    let name: String = name.chars().take(MANAGER_CHARS_MAX).collect();
    if name.is_empty() { "unknown".into() } else { name }
}

/// 400 unless the time that a client gives its request is one.
pub(crate) fn check_timeout(query: &Query) -> Result<()> {
    let Some(text) = query.get("timeout").filter(|text| !is_duration(text)) else { return Ok(()) };
    let message = format!("invalid timeout specified in the request URL - time: invalid duration {text:?}");
    Err(Status::bad_request(message).into())
}

/// Whether Go reads a duration: `1m30s`, `1.5h`, `0`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &rest[..rest.len() - unit.len()];
        let known = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].iter().filter_map(|name| unit.strip_prefix(name));
        // `ms` begins with `m`: the longest unit counts.
        let Some(after) = known.min_by_key(|after| after.len()) else { return false };
        if number.parse::<f64>().is_err() {
            return false;
        }
        (rest, parts) = (after, parts + 1);
    }
    parts > 0
}

/// What is wrong with the name of a field manager.
fn manager_problems(manager: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if manager.len() > MANAGER_CHARS_MAX {
        let message = format!("Too long: may not be more than {MANAGER_CHARS_MAX} bytes");
        causes.push(cause("FieldValueTooLong", "fieldManager", message));
    }
    if let Some((at, bad)) = manager.chars().enumerate().find(|(_, c)| c.is_control()) {
        let message =
            format!("Invalid value: {manager:?}: invalid character U+{:04X} (at position {at})", u32::from(bad));
        causes.push(cause("FieldValueInvalid", "fieldManager", message));
    }
    causes
}

impl WriteOptions {
    /// Reads the query. `kind` is that of the options: `CreateOptions`, `UpdateOptions` or `PatchOptions`.
    pub(crate) fn read(kind: &str, query: &Query, headers: &HeaderMap) -> Result<Self> {
        let manager = query.get("fieldManager");
        if let Some(manager) = manager {
            let causes = manager_problems(manager);
            if !causes.is_empty() {
                return Err(invalid(kind, causes));
            }
        }
        let validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let message =
                    format!("Unsupported value: {other:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"");
                return Err(invalid(kind, vec![cause("FieldValueNotSupported", "fieldValidation", message)]));
            }
        };
        Ok(Self {
            dry_run: dry_run(kind, query.all("dryRun"))?,
            manager: manager.map_or_else(|| manager_of(headers), str::to_owned),
            validation,
            force: query.flag("force"),
        })
    }

    /// As admission sees them.
    pub(crate) fn to_value(&self, operation: Operation) -> Value {
        let kind = match operation {
            Operation::Create => "CreateOptions",
            _ => "UpdateOptions",
        };
        let validation = match self.validation {
            FieldValidation::Ignore => "Ignore",
            FieldValidation::Warn => "Warn",
            FieldValidation::Strict => "Strict",
        };
        let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1", "fieldManager": self.manager,
            "fieldValidation": validation});
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        options
    }
}

/// What happens to the dependents of a deleted object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// Options of delete.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) dry_run: bool,
    /// `None`: the kind's default.
    pub(crate) propagation: Option<Propagation>,
    /// Seconds.
    pub(crate) grace: Option<i64>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

impl DeleteOptions {
    /// As admission sees them.
    pub(crate) fn to_value(&self) -> Value {
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        if let Some(grace) = self.grace {
            options["gracePeriodSeconds"] = grace.into();
        }
        if let Some(propagation) = self.propagation {
            let policy = match propagation {
                Propagation::Background => "Background",
                Propagation::Foreground => "Foreground",
                Propagation::Orphan => "Orphan",
            };
            options["propagationPolicy"] = policy.into();
        }
        for (field, value) in [("uid", &self.uid), ("resourceVersion", &self.resource_version)] {
            if let Some(value) = value {
                options["preconditions"][field] = value.as_str().into();
            }
        }
        options
    }

    /// Reads the body if there is one, otherwise the query. `duplicates` are those of the body.
    ///
    /// # Errors
    /// 400 for a value of a wrong type, or for an unknown field if the client asked for strict validation; 422 for a
    /// value that is not known. What was meant to hold a delete back is never left out of account.
    pub(crate) fn read(query: &Query, body: Value, duplicates: Vec<String>) -> Result<Self> {
        const KIND: &str = "DeleteOptions";
        let mut options = Self::default();
        let propagation;
        let orphan;
        let body = typed(KIND, query, body, duplicates)?;
        if body.as_object().is_some_and(|body| !body.is_empty()) {
            let listed = body["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str);
            options.dry_run = dry_run(KIND, listed)? || dry_run(KIND, query.all("dryRun"))?;
            propagation = body["propagationPolicy"].as_str();
            orphan = body["orphanDependents"].as_bool();
            options.grace = body["gracePeriodSeconds"].as_i64();
            // An empty text is a condition as well: one that nothing meets.
            let text = |value: &Value| value.as_str().map(str::to_owned);
            options.uid = text(&body["preconditions"]["uid"]);
            options.resource_version = text(&body["preconditions"]["resourceVersion"]);
        } else {
            options.dry_run = dry_run(KIND, query.all("dryRun"))?;
            propagation = query.get("propagationPolicy");
            orphan = query.has("orphanDependents").then(|| query.flag("orphanDependents"));
            if let Some(text) = query.get("gracePeriodSeconds") {
                let bad = || Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
                options.grace = Some(text.parse().map_err(|_| bad())?);
            }
        }
        if propagation.is_some() && orphan.is_some() {
            let policy = propagation.unwrap_or_default();
            let message =
                format!("Invalid value: {policy:?}: orphanDependents and deletionPropagation cannot be both set");
            return Err(invalid(KIND, vec![cause("FieldValueInvalid", "propagationPolicy", message)]));
        }
        options.propagation = match propagation {
            None => orphan.map(|orphan| if orphan { Propagation::Orphan } else { Propagation::Background }),
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                let message = format!(
                    "Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
                );
                return Err(invalid(KIND, vec![cause("FieldValueNotSupported", "propagationPolicy", message)]));
            }
        };
        Ok(options)
    }
}

/// Options in a body, checked against their definition.
fn typed(kind: &str, query: &Query, mut body: Value, duplicates: Vec<String>) -> Result<Value> {
    if body.is_null() {
        return Ok(body);
    }
    let said = body["kind"].as_str().unwrap_or("");
    if !matches!(said, "" | "DeleteOptions") {
        let version = body["apiVersion"].as_str().unwrap_or("");
        return Err(Status::bad_request(crate::decode::not_registered(said, version)).into());
    }
    // Clients send the options in the version of the kind that they delete; all of them are the same.
    let schema =
        crate::builtin::schema("", "v1", kind).ok_or_else(|| Status::internal("there is no such definition"))?;
    let unknown = machinery::schema::decode(&mut body, &schema);
    let unknown = unknown.map_err(|error| Status::bad_request(error.message(kind, "v1")))?;
    let problems: Vec<String> =
        duplicates.into_iter().chain(unknown.iter().map(|path| crate::problems::unknown(path))).collect();
    if query.get("fieldValidation") == Some("Strict") && !problems.is_empty() {
        let strict = problems.join(", ");
        let message =
            format!("{kind} in version \"v1\" cannot be handled as a {kind}: strict decoding error: {strict}");
        return Err(Status::bad_request(message).into());
    }
    Ok(body)
}

/// `resourceVersionMatch`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub(crate) enum Match {
    Exact,
    NotOlderThan,
}

/// Options of list and watch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ListOptions {
    pub(crate) labels: String,
    pub(crate) fields: String,
    /// 0: no limit.
    pub(crate) limit: usize,
    pub(crate) continue_token: Option<String>,
    /// `None`: the most recent; 0: any.
    pub(crate) revision: Option<u64>,
    pub(crate) revision_match: Option<Match>,
    /// Of watches.
    pub(crate) bookmarks: bool,
    pub(crate) initial_events: Option<bool>,
    pub(crate) timeout_seconds: Option<u64>,
}

impl ListOptions {
    /// Reads and checks the query of a list or a watch.
    pub(crate) fn read(query: &Query, watch: bool) -> Result<Self> {
        // Less than nothing is as good as nothing said.
        let number = |name: &str| -> Result<Option<u64>> {
            let Some(text) = query.get(name) else { return Ok(None) };
            let bad = || format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
            let number: i64 = text.parse().map_err(|_| Status::bad_request(bad()))?;
            Ok(u64::try_from(number).ok())
        };
        let revision = query.get("resourceVersion").map(revision).transpose();
        let mut options = Self {
            labels: query.get("labelSelector").unwrap_or("").into(),
            fields: query.get("fieldSelector").unwrap_or("").into(),
            limit: usize::try_from(number("limit")?.unwrap_or(0)).unwrap_or(usize::MAX),
            continue_token: query.get("continue").map(str::to_owned),
            revision: None,
            revision_match: match query.get("resourceVersionMatch") {
                Some("Exact") => Some(Match::Exact),
                Some("NotOlderThan") => Some(Match::NotOlderThan),
                _ => None,
            },
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events: query.has("sendInitialEvents").then(|| query.flag("sendInitialEvents")),
            timeout_seconds: number("timeoutSeconds")?.filter(|seconds| *seconds > 0),
        };
        // A watch is refused as a get is, without a reason.
        let revision = revision.map_err(|failure| if watch { without_reason(*failure) } else { failure });
        options.revision = revision.as_ref().ok().copied().flatten();
        let causes = if watch { options.watch_problems(query) } else { options.list_problems(query) };
        if !causes.is_empty() {
            return Err(invalid("ListOptions", causes));
        }
        revision?;
        Ok(options)
    }

    fn list_problems(&self, query: &Query) -> Vec<Cause> {
        let mut causes = Vec::new();
        let forbidden = |why: &str| cause("FieldValueForbidden", MATCH, format!("Forbidden: {why}"));
        if let Some(asked) = query.get(MATCH) {
            if query.get("resourceVersion").is_none() {
                causes.push(forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"));
            }
            if self.continue_token.is_some() {
                causes.push(forbidden("resourceVersionMatch is forbidden when continue is provided"));
            }
            if self.revision_match.is_none() {
                causes.push(not_supported(asked, "\"Exact\", \"NotOlderThan\", \"\""));
            }
            if self.revision_match == Some(Match::Exact) && query.get("resourceVersion") == Some("0") {
                causes.push(forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
            }
        }
        if self.initial_events.is_some() {
            let why = "Forbidden: sendInitialEvents is forbidden for list";
            causes.push(cause("FieldValueForbidden", "sendInitialEvents", why.to_owned()));
        }
        causes
    }

    /// A watch from any state, or from the latest, is one with initial events, whether it says so or not.
    fn watch_problems(&self, query: &Query) -> Vec<Cause> {
        let mut causes = Vec::new();
        let forbidden = |why: &str| cause("FieldValueForbidden", MATCH, format!("Forbidden: {why}"));
        let said = query.get(MATCH);
        if self.initial_events.is_some() && self.revision_match != Some(Match::NotOlderThan) {
            causes.push(forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
        }
        if let Some(asked) = said {
            if self.initial_events.is_none() {
                causes.push(forbidden(
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
            }
            if self.revision_match != Some(Match::NotOlderThan) {
                causes.push(not_supported(asked, "\"NotOlderThan\""));
            }
        }
        let implied = self.initial_events.is_none() && matches!(query.get("resourceVersion"), None | Some("0"));
        if self.continue_token.is_some() && (said.is_some() || implied) {
            causes.push(forbidden("resourceVersionMatch is forbidden when continue is provided"));
        }
        causes
    }
}

const MATCH: &str = "resourceVersionMatch";

fn not_supported(asked: &str, supported: &str) -> Cause {
    cause("FieldValueNotSupported", MATCH, format!("Unsupported value: {asked:?}: supported values: {supported}"))
}

/// 410, with a token to go on with where there is one.
pub(crate) fn expired(message: impl Into<String>, continue_token: Option<String>) -> Failure {
    let mut status = Status::failure(Reason::Expired, message);
    if let Some(token) = continue_token {
        status.metadata.insert("continue".into(), token.into());
    }
    status.into()
}

/// A resourceVersion that a read asks for.
///
/// # Errors
/// 400 if it is no number.
pub(crate) fn revision(text: &str) -> Result<u64> {
    text.parse().map_err(|_| {
        Status::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: \
             invalid syntax"
        ))
        .into()
    })
}

/// The same refusal as a stock server's storage gives it: it knows of no reason, and the server answers 500.
fn without_reason(failure: Status) -> Failure {
    let why = failure.message.trim_start_matches("invalid resource version: ").to_owned();
    Status::failure(Reason::Unknown, why).into()
}

/// 504 for a revision that is not there yet.
pub(crate) fn too_large(asked: u64, current: u64) -> Failure {
    let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
    let mut status = Status::failure(Reason::Timeout, message);
    status.details = Some(Box::new(Details {
        causes: vec![cause("ResourceVersionTooLarge", "", "Too large resource version")],
        retry_after_seconds: Some(1),
        ..Details::default()
    }));
    status.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check_list(query: &str, watch: bool, expected: Option<&str>) {
        let found = ListOptions::read(&Query::parse(query), watch).err();
        match (expected, found) {
            (None, None) => {}
            (Some(part), Some(status)) => assert!(status.message.contains(part), "{query}: {}", status.message),
            (expected, found) => panic!("{query}: {expected:?} {found:?}"),
        }
    }

    #[test]
    fn list_options() {
        check_list("limit=500&resourceVersion=0", false, None);
        check_list("limit=x", false, Some("strconv"));
        check_list("resourceVersion=abc", false, Some("resourceVersion: Invalid value"));
        check_list("resourceVersionMatch=Exact", false, Some("unless resourceVersion is provided"));
        check_list("resourceVersionMatch=Exact&resourceVersion=0", false, Some("\"exact\" is forbidden"));
        check_list("resourceVersionMatch=NotOlderThan&resourceVersion=5", false, None);
        check_list("resourceVersionMatch=Other&resourceVersion=5", false, Some("Unsupported value"));
        check_list("sendInitialEvents=true", false, Some("forbidden for list"));
        check_list("sendInitialEvents=true", true, Some("requires setting resourceVersionMatch"));
        check_list("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", true, None);
        check_list("resourceVersionMatch=NotOlderThan&resourceVersion=1", true, Some("unless sendInitialEvents"));
        check_list("continue=x", true, Some("forbidden when continue is provided"));
        check_list("continue=x&resourceVersion=5", true, None);
    }

    #[test]
    fn durations() {
        for good in ["0", "1s", "1m30s", "1.5h", "250ms", "-2us", "5m"] {
            assert!(is_duration(good), "{good}");
        }
        for bad in ["", "nonsense", "5", "s", "1x", "1.s.", "1s2"] {
            assert!(!is_duration(bad), "{bad}");
        }
    }

    #[test]
    fn write_options() {
        let read = |query: &str| WriteOptions::read("CreateOptions", &Query::parse(query), &HeaderMap::new());
        assert!(read("dryRun=All").unwrap().dry_run);
        let status = read("dryRun=Some").unwrap_err();
        assert_eq!(status.code, 422);
        assert_eq!(
            status.message,
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\""
        );
        assert_eq!(read("fieldValidation=Maybe").unwrap_err().code, 422);
        assert_eq!(read(&format!("fieldManager={}", "a".repeat(129))).unwrap_err().code, 422);
        assert_eq!(read("").unwrap().manager, "unknown");
    }

    #[test]
    fn delete_options() {
        let read = |query: &str, body: Value| DeleteOptions::read(&Query::parse(query), body, Vec::new());
        let body = json!({"propagationPolicy": "Foreground", "preconditions": {"uid": "u"}});
        let options = read("", body).unwrap();
        assert_eq!((options.propagation, options.uid.as_deref()), (Some(Propagation::Foreground), Some("u")));
        let both = json!({"propagationPolicy": "Orphan", "orphanDependents": true});
        assert_eq!(read("", both).unwrap_err().code, 422);
        assert!(read("propagationPolicy=Background&dryRun=All", Value::Null).unwrap().dry_run);
        assert_eq!(read("", json!({"preconditions": {"uid": ""}})).unwrap().uid.as_deref(), Some(""));
        assert_eq!(read("", json!({"preconditions": {"uid": null}})).unwrap().uid, None);
    }

    #[track_caller]
    fn check_delete(query: &str, body: Value, code: u16, message: &str) {
        let status = DeleteOptions::read(&Query::parse(query), body.clone(), Vec::new()).expect_err(message);
        assert_eq!(status.code, code, "{body}: {}", status.message);
        assert!(status.message.contains(message), "{body}: {}", status.message);
    }

    #[test]
    fn delete_options_that_cannot_be_meant() {
        let wrong = "DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: ";
        check_delete("", json!({"preconditions": {"uid": 7}}), 400, wrong);
        check_delete("", json!({"preconditions": {"resourceVersion": 7}}), 400, "preconditions.resourceVersion");
        check_delete("", json!({"preconditions": ["u"]}), 400, wrong);
        check_delete("", json!({"preconditions": "u"}), 400, wrong);
        check_delete("", json!({"propagationPolicy": true}), 400, wrong);
        check_delete("", json!({"orphanDependents": "true"}), 400, wrong);
        check_delete("", json!({"dryRun": "All"}), 400, wrong);
        check_delete("", json!({"dryRun": [1]}), 400, wrong);
        check_delete("", json!({"gracePeriodSeconds": "0"}), 400, wrong);
        check_delete("", json!({"kind": "Pod"}), 400, "no kind \"Pod\" is registered");
        let policy = "propagationPolicy: Unsupported value: \"Sometimes\": supported values: ";
        check_delete("", json!({"propagationPolicy": "Sometimes"}), 422, policy);
        check_delete("propagationPolicy=Sometimes", Value::Null, 422, policy);
        check_delete("", json!({"dryRun": ["Some"]}), 422, "dryRun: Unsupported value");
        check_delete("gracePeriodSeconds=soon", Value::Null, 400, "strconv.ParseInt: parsing \"soon\"");
        let typo = json!({"precondition": {"uid": "u"}});
        check_delete(
            "fieldValidation=Strict",
            typo.clone(),
            400,
            "strict decoding error: unknown field \"precondition\"",
        );
        assert!(DeleteOptions::read(&Query::default(), typo, Vec::new()).is_ok());
    }
}
