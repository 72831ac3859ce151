//! The language of the scripts: steps of one request each, with what to keep of the answer and what to compare.
//!
//! ```text
//! # A comment. A script that begins with `each kind` is played once for each built-in kind.
//! === name of the step
//! POST /api/v1/namespaces/$ns/configmaps?dryRun=All
//! Content-Type: application/json
//!
//! {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
//! % capture uid /metadata/uid
//! ```
//!
//! A body is sent as it is written, as YAML unless a header says otherwise. A body whose first line is `@NAME` is a
//! document that was captured before (or `@minimal`: the kind's smallest object), sent as JSON after the lines that
//! follow it: `set /pointer JSON` and `remove /pointer`; `@base64 TEXT` is bytes. `$peers` is where the webhooks are that
//! `peers` serves, `$authority` their authority, `$stranger` another. Lines that begin with `%` say what to do with the
//! answer:
//!
//! | line | meaning |
//! |---|---|
//! | `% capture NAME /pointer` | keeps a value of the body for `$NAME`; an empty pointer keeps all of it for `@NAME` |
//! | `% capture NAME header:NAME` | keeps a header |
//! | `% ignore PATH` | does not compare what is at this path and below (`*` stands for anything) |
//! | `% only status` | compares the status code alone |
//! | `% events N` | reads N events of a watch; without it a watch is read until the server ends it |
//! | `% open NAME`, request line `READ NAME` | leaves a watch open; reads from it later |
//! | `% until /pointer JSON` | asks again until the body has this value there (`absent`: until nothing is there; `present`: until anything is) |
//! | `% sort /pointer` | a list of the body whose order means nothing |
//! | `% until status N` | asks again until the answer has this status code |
//! | `% stock N` | the stock server must answer with this status code, or the script does not say what it means |
//! | `% anonymous` | sends no credentials but those of the step's headers (`Authorization: Bearer $token`) |
//! | request line `KEY NAME USER/GROUP/... HOST...` | makes a key; `$NAME` is its signing request, base64 of PEM |
//! | request line `TOKEN NAME ISSUER KEY/ALGORITHM ID` | makes a token of one of our issuers; the body is its claims (`peers::issuer`) |
//! | request line `TURN N` | the issuer `turning` signs with its key number N from now on |
//! | `% certificate NAME VARIABLE` | shows the certificate in `$VARIABLE` (base64 of PEM) with the key of that name |
//! | `% repeat A..B` | the step, for each `$i` from A to B |
//! | `% when CONDITION` | in scripts for each kind: `namespaced`, `cluster`, `verb V`, `subresource S`, `group G`, `not ...` |
//! | `% vary HOW` | in scripts for each kind: the step once for each field of the minimal object (see `vary`) |

use serde_json::Value;

/// A script: its steps are played in order, in a namespace of its own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Script {
    /// The file's path below the folder of scripts, without its ending.
    pub(crate) name: String,
    /// Played once for each built-in kind.
    pub(crate) each_kind: bool,
    pub(crate) steps: Vec<Step>,
}

/// One request, and what is done with its answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Step {
    /// Unique within the script.
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Body>,
    pub(crate) captures: Vec<Capture>,
    pub(crate) ignore: Vec<String>,
    pub(crate) status_only: bool,
    pub(crate) events: Option<usize>,
    pub(crate) open: Option<String>,
    pub(crate) until: Option<Until>,
    pub(crate) stock: Option<u16>,
    pub(crate) sorted: Vec<String>,
    pub(crate) anonymous: bool,
    /// The name of a key, and that of the variable with its certificate.
    pub(crate) certificate: Option<(String, String)>,
    pub(crate) when: Vec<String>,
    pub(crate) vary: Option<String>,
    /// Values of variables that hold for this step alone.
    pub(crate) variables: Vec<(String, String)>,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    /// The text, after variables were put in.
    Text(String),
    /// Bytes in base64.
    Base64(String),
    /// A captured document, changed.
    Edited { document: String, edits: Vec<Edit> },
}

/// A change of a document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Edit {
    /// Sets what is at the pointer, whose parents are made where they are missing. The JSON is text: it may hold variables.
    Set { pointer: String, json: String },
    /// Removes what is at the pointer.
    Remove { pointer: String },
}

/// A value that is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Capture {
    pub(crate) name: String,
    pub(crate) source: Source,
}

/// Where a value is taken from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    Pointer(String),
    Header(String),
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Until {
    Status(u16),
    Value { pointer: String, value: Value },
    Absent { pointer: String },
    Present { pointer: String },
}

const METHODS: [&str; 11] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "READ", "KEY", "TOKEN", "TURN"];

/// Reads a script.
///
/// # Errors
/// With the number of the line that cannot be read, and why.
pub(crate) fn parse(name: &str, text: &str) -> Result<Script, String> {
    let mut script = Script { name: name.to_owned(), each_kind: false, steps: Vec::new() };
    let mut lines: Vec<(usize, &str)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.starts_with('#') {
            continue;
        }
        if line.starts_with("=== ") {
            finish(&mut script, &lines).map_err(|why| format!("{name}: {why}"))?;
            lines.clear();
            lines.push((number, line));
        } else if !lines.is_empty() {
            lines.push((number, line));
        } else if line.trim() == "each kind" {
            script.each_kind = true;
        } else if !line.trim().is_empty() {
            return Err(format!("{name}: line {number}: a script begins with `each kind` or `=== name`"));
        }
    }
    finish(&mut script, &lines).map_err(|why| format!("{name}: {why}"))?;
    for (index, step) in script.steps.iter().enumerate() {
        if script.steps[..index].iter().any(|before| before.name == step.name) {
            return Err(format!("{name}: two steps are named {:?}", step.name));
        }
    }
    Ok(script)
}

/// Turns the lines of one step into the step, or into several where it is repeated.
fn finish(script: &mut Script, lines: &[(usize, &str)]) -> Result<(), String> {
    let Some(((_, title), rest)) = lines.split_first() else { return Ok(()) };
    let mut step = Step { name: title[4..].trim().to_owned(), ..Step::default() };
    let mut rest = rest.iter();
    let Some((number, request)) = rest.find(|(_, line)| !line.trim().is_empty()) else {
        return Err(format!("{:?} has no request", step.name));
    };
    let (method, path) = request.split_once(' ').unwrap_or((request, ""));
    if !METHODS.contains(&method) || path.is_empty() {
        return Err(format!("line {number}: {request:?} is not a method and a path"));
    }
    (step.method, step.path) = (method.to_owned(), path.trim().to_owned());
    let mut body: Vec<&str> = Vec::new();
    let mut in_body = false;
    let mut repeat = None;
    for (number, line) in rest {
        if let Some(directive) = line.strip_prefix('%') {
            let why = |why: String| format!("line {number}: {why}");
            if let Some(range) = directive.trim().strip_prefix("repeat ") {
                repeat = Some(parse_range(range).map_err(why)?);
            } else {
                apply(&mut step, directive.trim()).map_err(why)?;
            }
        } else if in_body {
            body.push(line);
        } else if line.trim().is_empty() {
            in_body = true;
        } else {
            let (name, value) = line.split_once(':').ok_or(format!("line {number}: {line:?} is not a header"))?;
            step.headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    step.body = parse_body(&body)?;
    match repeat {
        None => script.steps.push(step),
        Some((from, to)) => script.steps.extend((from..=to).map(|i| {
            let mut one = step.clone();
            one.name = format!("{} {i}", step.name);
            one.variables.push(("i".to_owned(), i.to_string()));
            one
        })),
    }
    Ok(())
}

fn parse_range(text: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("{text:?} is not a range like 1..5");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    Ok((from.trim().parse().map_err(|_| wrong())?, to.trim().parse().map_err(|_| wrong())?))
}

fn parse_body(lines: &[&str]) -> Result<Option<Body>, String> {
    let first = lines.iter().position(|line| !line.trim().is_empty());
    let Some(first) = first else { return Ok(None) };
    let last = lines.iter().rposition(|line| !line.trim().is_empty()).unwrap_or(first);
    let lines = &lines[first..=last];
    if let Some(bytes) = lines[0].strip_prefix("@base64 ") {
        return Ok(Some(Body::Base64(bytes.trim().to_owned())));
    }
    let Some(document) = lines[0].strip_prefix('@') else { return Ok(Some(Body::Text(lines.join("\n")))) };
    let mut edits = Vec::new();
    for line in &lines[1..] {
        let words: Vec<&str> = line.trim().splitn(3, ' ').collect();
        edits.push(match words[..] {
            ["set", pointer, json] => Edit::Set { pointer: pointer.to_owned(), json: json.to_owned() },
            ["remove", pointer] => Edit::Remove { pointer: pointer.to_owned() },
            _ => return Err(format!("{line:?} is not `set /pointer JSON` or `remove /pointer`")),
        });
    }
    Ok(Some(Body::Edited { document: document.trim().to_owned(), edits }))
}

fn apply(step: &mut Step, directive: &str) -> Result<(), String> {
    let (word, rest) = directive.split_once(' ').unwrap_or((directive, ""));
    let rest = rest.trim();
    match word {
        "capture" => {
            let (name, source) = rest.split_once(' ').unwrap_or((rest, ""));
            let source = source.trim();
            let source = match source.strip_prefix("header:") {
                Some(header) => Source::Header(header.to_owned()),
                None if source.is_empty() || source.starts_with('/') => Source::Pointer(source.to_owned()),
                None => return Err(format!("{source:?} is neither a pointer nor header:NAME")),
            };
            step.captures.push(Capture { name: name.to_owned(), source });
        }
        "ignore" => step.ignore.push(rest.to_owned()),
        "only" if rest == "status" => step.status_only = true,
        "events" => step.events = Some(rest.parse().map_err(|_| format!("{rest:?} is not a number of events"))?),
        "open" => step.open = Some(rest.to_owned()),
        "stock" => step.stock = Some(rest.parse().map_err(|_| format!("{rest:?} is not a status code"))?),
        "sort" => step.sorted.push(rest.to_owned()),
        "anonymous" => step.anonymous = true,
        "certificate" => {
            let (key, variable) = rest.split_once(' ').ok_or("certificate NAME VARIABLE")?;
            step.certificate = Some((key.to_owned(), variable.trim().to_owned()));
        }
        "when" => step.when.push(rest.to_owned()),
        "vary" => step.vary = Some(rest.to_owned()),
        "until" => {
            let (what, value) = rest.split_once(' ').ok_or("until what?")?;
            step.until = Some(match (what, value.trim()) {
                ("status", code) => Until::Status(code.parse().map_err(|_| format!("{code:?} is not a status code"))?),
                (pointer, "absent") => Until::Absent { pointer: pointer.to_owned() },
                (pointer, "present") => Until::Present { pointer: pointer.to_owned() },
                (pointer, json) => Until::Value {
                    pointer: pointer.to_owned(),
                    value: serde_json::from_str(json).map_err(|error| format!("{json}: {error}"))?,
                },
            });
        }
        _ => return Err(format!("{directive:?} is not known")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_a_step_with_everything() {
        let text = "# what it is\n\n=== create\nPOST /api/v1/namespaces/$ns/configmaps\nContent-Type: application/json\n\n{\"a\": 1}\n\n% capture uid /metadata/uid\n% capture all\n% capture tag header:ETag\n% ignore body/data\n=== wait\nGET /x\n% until /status/phase \"Active\"\n% anonymous\n";
        let script = parse("s", text).unwrap();
        assert!(!script.each_kind);
        let [create, wait] = &script.steps[..] else { panic!("{script:?}") };
        assert_eq!((create.method.as_str(), create.path.as_str()), ("POST", "/api/v1/namespaces/$ns/configmaps"));
        assert_eq!(create.headers, [("Content-Type".to_owned(), "application/json".to_owned())]);
        assert_eq!(create.body, Some(Body::Text("{\"a\": 1}".into())));
        let source = |index: usize| create.captures[index].source.clone();
        assert_eq!(source(0), Source::Pointer("/metadata/uid".into()));
        assert_eq!(source(1), Source::Pointer(String::new()));
        assert_eq!(source(2), Source::Header("ETag".into()));
        assert_eq!(create.ignore, ["body/data"]);
        assert_eq!(wait.until, Some(Until::Value { pointer: "/status/phase".into(), value: json!("Active") }));
        assert!(wait.anonymous && wait.body.is_none());
    }

    #[test]
    fn reads_edits_and_repetitions() {
        let text = "each kind\n=== put\nPUT $object\n\n@live\nset /metadata/labels {\"a\": \"b\"}\nremove /spec\n=== many\nPOST $collection\n% repeat 2..3\n";
        let script = parse("s", text).unwrap();
        assert!(script.each_kind);
        let edits = vec![
            Edit::Set { pointer: "/metadata/labels".into(), json: "{\"a\": \"b\"}".into() },
            Edit::Remove { pointer: "/spec".into() },
        ];
        assert_eq!(script.steps[0].body, Some(Body::Edited { document: "live".into(), edits }));
        let names: Vec<&str> = script.steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["put", "many 2", "many 3"]);
        assert_eq!(script.steps[2].variables, [("i".to_owned(), "3".to_owned())]);
    }

    #[track_caller]
    fn refused(text: &str, why: &str) {
        let error = parse("s", text).unwrap_err();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn says_what_is_wrong() {
        refused("GET /x\n", "begins with");
        refused("=== a\n", "no request");
        refused("=== a\nFETCH /x\n", "not a method");
        refused("=== a\nGET /x\nnonsense\n", "not a header");
        refused("=== a\nGET /x\n% frob\n", "not known");
        refused("=== a\nGET /x\n=== a\nGET /y\n", "two steps");
        refused("=== a\nPUT /x\n\n@live\nchange /a 1\n", "set /pointer");
    }
}
