//! LimitRanger: what the LimitRanges of a namespace give to containers that say nothing, and what they refuse.

use super::resources::{self, Amounts, amounts};
use super::{Lookup, Refusal, Subject};
use crate::field;
use crate::quantity::Quantity;
use api::Object;
use serde_json::{Map, Value, json};

type Fields = Map<String, Value>;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// The limits of one type (`Container`, `Pod`, `PersistentVolumeClaim`) of all LimitRanges.
fn limits<'a>(ranges: &'a [Object], wanted: &'a str) -> impl Iterator<Item = &'a Fields> {
    ranges
        .iter()
        .flat_map(|range| field::objects_at(&range.0, "spec.limits"))
        .filter(move |limit| field::text_at(limit, "type") == wanted)
}

fn ranges(subject: &Subject<'_>, lookup: &dyn Lookup) -> Vec<Object> {
    if subject.old.is_some_and(Object::is_deleting) {
        return Vec::new();
    }
    lookup.list("limitranges", subject.namespace)
}

/// Fills in requests and limits of containers, and says in an annotation what was filled in.
pub(super) fn apply(subject: &mut Subject<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    for range in ranges(subject, lookup) {
        let range = [range];
        let (mut requests, mut most) = (Fields::new(), Fields::new());
        for limit in limits(&range, "Container") {
            let given = |name: &str| field::object_at(limit, name).cloned().unwrap_or_default();
            requests.extend(given("defaultRequest"));
            most.extend(given("default"));
        }
        let mut said = Vec::new();
        for (list, called) in [("containers", "container"), ("initContainers", "init container")] {
            let containers = subject.object.0.get_mut("spec").and_then(|spec| spec.get_mut(list));
            for container in containers.and_then(Value::as_array_mut).into_iter().flatten() {
                let name = container["name"].as_str().unwrap_or("").to_owned();
                for (which, what, given) in [("requests", "request", &requests), ("limits", "limit", &most)] {
                    let filled = fill(container, which, given);
                    if !filled.is_empty() {
                        said.push(format!("{} {what} for {called} {name}", filled.join(", ")));
                    }
                }
            }
        }
        if !said.is_empty() {
            subject.object.set_annotation(ANNOTATION, &format!("LimitRanger plugin set: {}", said.join("; ")));
        }
    }
    Ok(())
}

/// Fills in the amounts that a container does not name; answers their names.
fn fill(container: &mut Value, which: &str, given: &Fields) -> Vec<String> {
    let Some(container) = container.as_object_mut() else { return Vec::new() };
    let asked = container.get("resources").and_then(|resources| resources.get(which));
    let missing = |name: &&String| asked.is_none_or(|asked| asked.get(name.as_str()).is_none());
    let names: Vec<String> = given.keys().filter(missing).cloned().collect();
    if !names.is_empty() {
        let resources = container.entry("resources").or_insert_with(|| json!({}));
        for name in &names {
            resources[which][name] = given[name].clone();
        }
    }
    names
}

/// What is asked of something, and what it is.
struct Asked {
    kind: &'static str,
    requests: Amounts,
    limits: Amounts,
}

/// Refuses a Pod that is outside of the limits.
pub(super) fn check_pod(subject: &mut Subject<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    let pod = &subject.object.0;
    for range in ranges(subject, lookup) {
        let range = [range];
        let mut problems = Vec::new();
        for limit in limits(&range, "Container") {
            let containers =
                ["spec.containers", "spec.initContainers"].into_iter().flat_map(|list| field::objects_at(pod, list));
            for container in containers {
                let of = |which: &str| amounts(container.get("resources").and_then(|resources| resources.get(which)));
                check(
                    limit,
                    &Asked { kind: "Container", requests: of("requests"), limits: of("limits") },
                    &mut problems,
                );
            }
        }
        for limit in limits(&range, "Pod") {
            let (requests, most) = (resources::of_pod(pod, "requests"), resources::of_pod(pod, "limits"));
            check(limit, &Asked { kind: "Pod", requests, limits: most }, &mut problems);
        }
        refuse(problems)?;
    }
    Ok(())
}

/// Refuses a claim that asks for too much or too little.
pub(super) fn check_claim(subject: &mut Subject<'_>, lookup: &dyn Lookup) -> Result<(), Refusal> {
    let requests = amounts(field::at(&subject.object.0, "spec.resources.requests"));
    for range in ranges(subject, lookup) {
        let range = [range];
        let mut problems = Vec::new();
        for limit in limits(&range, "PersistentVolumeClaim") {
            let asked = Asked { kind: "PersistentVolumeClaim", requests: requests.clone(), limits: Amounts::new() };
            each(limit, "min", &mut problems, |name, bound| least(&asked, name, bound));
            each(limit, "max", &mut problems, |name, bound| {
                let subject = format!("maximum {name} usage per {} is {bound}", asked.kind);
                match asked.requests.get(name) {
                    None => Some(format!("{subject}.  No request is specified")),
                    Some(request) if *request > bound => Some(format!("{subject}, but request is {request}")),
                    Some(_) => None,
                }
            });
        }
        refuse(problems)?;
    }
    Ok(())
}

/// Several problems in one text, each said once.
fn refuse(mut problems: Vec<String>) -> Result<(), Refusal> {
    let mut seen = Vec::new();
    problems.retain(|problem| {
        let new = !seen.contains(problem);
        seen.push(problem.clone());
        new
    });
    match problems.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

fn each(limit: &Fields, bounds: &str, problems: &mut Vec<String>, problem: impl Fn(&str, Quantity) -> Option<String>) {
    problems.extend(amounts(limit.get(bounds)).iter().filter_map(|(name, bound)| problem(name, *bound)));
}

fn check(limit: &Fields, asked: &Asked, problems: &mut Vec<String>) {
    each(limit, "min", problems, |name, bound| least(asked, name, bound));
    each(limit, "max", problems, |name, bound| most(asked, name, bound));
    each(limit, "maxLimitRequestRatio", problems, |name, bound| ratio(asked, name, bound));
}

fn least(asked: &Asked, name: &str, bound: Quantity) -> Option<String> {
    let subject = format!("minimum {name} usage per {} is {bound}", asked.kind);
    let limit = asked.limits.get(name);
    match asked.requests.get(name) {
        None => Some(format!("{subject}.  No request is specified")),
        Some(request) if *request < bound => Some(format!("{subject}, but request is {request}")),
        Some(_) => limit.filter(|limit| **limit < bound).map(|limit| format!("{subject}, but limit is {limit}")),
    }
}

fn most(asked: &Asked, name: &str, bound: Quantity) -> Option<String> {
    let subject = format!("maximum {name} usage per {} is {bound}", asked.kind);
    let request = asked.requests.get(name);
    match asked.limits.get(name) {
        None => Some(format!("{subject}.  No limit is specified")),
        Some(limit) if *limit > bound => Some(format!("{subject}, but limit is {limit}")),
        Some(_) => {
            request.filter(|request| **request > bound).map(|request| format!("{subject}, but request is {request}"))
        }
    }
}

fn ratio(asked: &Asked, name: &str, bound: Quantity) -> Option<String> {
    let subject = format!("{name} max limit to request ratio per {} is {bound}", asked.kind);
    let known = |amounts: &Amounts| amounts.get(name).copied().filter(|amount| *amount != Quantity::ZERO);
    let Some(request) = known(&asked.requests) else {
        return Some(format!("{subject}, but no request is specified or request is 0"));
    };
    let Some(limit) = known(&asked.limits) else {
        return Some(format!("{subject}, but no limit is specified or limit is 0"));
    };
    #[allow(clippy::cast_precision_loss)] // a ratio is shown with six digits
    let found = limit.nanos() as f64 / request.nanos() as f64;
    #[allow(clippy::cast_precision_loss)]
    let allowed = bound.nanos() as f64 / 1e9;
    (found > allowed).then(|| format!("{subject}, but provided ratio is {found:.6}"))
}
