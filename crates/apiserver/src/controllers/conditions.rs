//! Conditions that a stock server writes of objects that name others: whether the service behind an APIService can be
//! had, and whether the priority level of a FlowSchema is there.

use super::call::{Caller, Failure};
use crate::Server;
use api::{Condition, ConditionStatus, Object, Resource, Timestamp};
use serde_json::{Value, json};
use store::{Collection, Key};

pub(super) const API_SERVICES: &str = "apiservices.apiregistration.k8s.io";
pub(super) const FLOW_SCHEMAS: &str = "flowschemas.flowcontrol.apiserver.k8s.io";
pub(super) const LEVELS: &str = "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io";
pub(super) const SERVICES: &str = "services";
pub(super) const SLICES: &str = "endpointslices.discovery.k8s.io";

const API_SERVICE: Resource = Resource::cluster("apiregistration.k8s.io", "v1", "apiservices", "APIService");
const FLOW_SCHEMA: Resource = Resource::cluster("flowcontrol.apiserver.k8s.io", "v1", "flowschemas", "FlowSchema");

/// Who writes the condition of a FlowSchema.
pub(crate) const CONSUMER: &str = "api-priority-and-fairness-config-consumer-v1";
/// Who writes the condition of an APIService.
const AGGREGATOR: &str = "kube-apiserver";

/// Whether others decide what is said of objects of a collection.
pub(super) fn are_decided_by_others(resource: &str) -> bool {
    matches!(resource, API_SERVICES | FLOW_SCHEMAS)
}

/// Whether a change in a collection may change what is said of objects of others.
pub(super) fn decides_any(resource: &str) -> bool {
    matches!(resource, LEVELS | SERVICES | SLICES)
}

/// Whether a change in one collection may change what is said of an object of another.
pub(super) fn decides(resource: &str, of: &str) -> bool {
    match of {
        FLOW_SCHEMAS => resource == LEVELS,
        API_SERVICES => matches!(resource, SERVICES | SLICES),
        _ => false,
    }
}

/// Writes the condition of an APIService or a FlowSchema, if it is not what it has to be.
pub(super) async fn write(caller: &Caller<'_>, server: &Server, key: &Key) -> Result<(), Failure> {
    let Some(entry) = server.store().get(key) else { return Ok(()) };
    let Ok(object) = serde_json::from_slice::<Object>(&entry.value) else { return Ok(()) };
    let space = &key.collection.space;
    let read = |resource: &str, namespace: &str, name: &str| -> Option<Object> {
        let held = server.store().get(&Key::new(Collection::new(space.clone(), resource), namespace, name))?;
        serde_json::from_slice(&held.value).ok()
    };
    let (resource, mut condition) = if &*key.collection.resource == FLOW_SCHEMAS {
        let level = text(&object, "/spec/priorityLevelConfiguration/name");
        (FLOW_SCHEMA, dangling(level, read(LEVELS, "", level).is_some()))
    } else {
        let (namespace, name) = (text(&object, "/spec/service/namespace"), text(&object, "/spec/service/name"));
        let service = read(SERVICES, namespace, name);
        let slices = service.as_ref().map(|service| slices_of(server, key, service)).unwrap_or_default();
        (API_SERVICE, available(&object, service.as_ref(), &slices))
    };
    let all = object.pointer("/status/conditions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let held = all.iter().find(|held| held["type"] == condition.type_.as_str());
    let others = all.iter().filter(|held| held["type"] != condition.type_.as_str());
    let same = |held: &Value| {
        held["status"] == json!(condition.status)
            && held["reason"] == condition.reason.as_str()
            && held["message"] == condition.message.as_str()
    };
    if held.is_some_and(same) {
        return Ok(());
    }
    let kept = held.filter(|held| held["status"] == json!(condition.status));
    let since = kept.and_then(|held| held["lastTransitionTime"].as_str()?.parse::<Timestamp>().ok());
    condition.last_transition_time = Some(since.unwrap_or_else(|| server.now()));
    let path = format!("{}/status", resource.object_path(&object.object_name()));
    if &*key.collection.resource == FLOW_SCHEMAS {
        let body = json!({"apiVersion": resource.api_version(), "kind": "FlowSchema",
            "metadata": {"name": object.name(), "uid": object.uid()}, "status": {"conditions": [condition]}});
        return caller.apply(path, CONSUMER, &body).await;
    }
    // A merge patch replaces the list.
    let mut conditions: Vec<Value> = others.cloned().collect();
    conditions.push(json!(condition));
    let patch = json!({"metadata": {"uid": object.uid(), "resourceVersion": object.resource_version()},
        "status": {"conditions": conditions}});
    caller.merge(format!("{path}?fieldManager={AGGREGATOR}"), patch).await
}

/// The slices of the endpoints of a service.
fn slices_of(server: &Server, key: &Key, service: &Object) -> Vec<Object> {
    let collection = Collection::new(key.collection.space.clone(), SLICES);
    let page = server.store().page(&collection, Some(service.namespace()), None, usize::MAX, None);
    let entries = page.map(|page| page.entries).unwrap_or_default();
    let slices = entries.iter().filter_map(|entry| serde_json::from_slice::<Object>(&entry.value).ok());
    slices.filter(|slice| slice.label("kubernetes.io/service-name") == Some(service.name())).collect()
}

fn text<'o>(object: &'o Object, pointer: &str) -> &'o str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// What is said of an APIService of this server.
pub(crate) fn local() -> Condition {
    Condition::new("Available", ConditionStatus::True, "Local", "Local APIServices are always available")
}

/// Whether the level that a FlowSchema names is missing.
pub(crate) fn dangling(level: &str, found: bool) -> Condition {
    let about = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    if found {
        return Condition::new("Dangling", ConditionStatus::False, "Found", format!("{about} and it exists"));
    }
    let message = format!("{about} but there is no such object");
    Condition::new("Dangling", ConditionStatus::True, "NotFound", message)
}

/// Whether an APIService can be had. Behind a service nobody is asked: a space forwards no requests to other servers.
fn available(object: &Object, service: Option<&Object>, slices: &[Object]) -> Condition {
    let unavailable = |reason, message| Condition::new("Available", ConditionStatus::False, reason, message);
    let Some(wanted) = object.pointer("/spec/service").filter(|wanted| !wanted.is_null()) else {
        return local();
    };
    let about = format!(
        "service/{} in {:?}",
        wanted["name"].as_str().unwrap_or(""),
        wanted["namespace"].as_str().unwrap_or("")
    );
    let Some(service) = service else {
        return unavailable("ServiceNotFound", format!("{about} is not present"));
    };
    if matches!(text(service, "/spec/type"), "" | "ClusterIP") {
        let number = wanted["port"].as_i64().unwrap_or(443);
        let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
        let port = ports.into_iter().find(|port| port["port"].as_i64() == Some(number));
        let Some(port) = port else {
            return unavailable("ServicePortError", format!("{about} is not listening on port {number}"));
        };
        if slices.is_empty() {
            return unavailable("EndpointsNotFound", format!("cannot find endpointslices for {about}"));
        }
        let name = port["name"].as_str().unwrap_or("");
        if !slices.iter().any(|slice| serves(slice, name)) {
            let message = format!("endpointslices for {about} have no addresses with port name {name:?}");
            return unavailable("MissingEndpoints", message);
        }
    }
    unavailable("FailedDiscoveryCheck", "this server does not forward requests to other API servers".to_owned())
}

/// Whether a slice has an address that is ready, and the port.
fn serves(slice: &Object, port: &str) -> bool {
    let list = |field: &str| slice.0.get(field).and_then(Value::as_array).into_iter().flatten();
    let has_port = list("ports").into_iter().any(|held| held["name"].as_str().unwrap_or("") == port);
    has_port && list("endpoints").into_iter().any(|endpoint| endpoint["conditions"]["ready"] != false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Object {
        serde_json::from_value(value).unwrap()
    }

    #[track_caller]
    fn check(condition: &Condition, expected: &str) {
        let status = json!(condition.status);
        assert_eq!(format!("{} {} {}", status.as_str().unwrap(), condition.reason, condition.message), expected);
    }

    #[test]
    fn flow_schemas() {
        let about = "This FlowSchema references the PriorityLevelConfiguration object named \"x\"";
        check(&dangling("x", true), &format!("False Found {about} and it exists"));
        check(&dangling("x", false), &format!("True NotFound {about} but there is no such object"));
    }

    #[test]
    fn services_of_the_api() {
        let local = object(json!({"spec": {"group": "apps"}}));
        check(&available(&local, None, &[]), "True Local Local APIServices are always available");
        let remote = object(json!({"spec": {"service": {"namespace": "n", "name": "s"}}}));
        check(&available(&remote, None, &[]), "False ServiceNotFound service/s in \"n\" is not present");
        let other = object(json!({"spec": {"ports": [{"port": 80}]}}));
        check(
            &available(&remote, Some(&other), &[]),
            "False ServicePortError service/s in \"n\" is not listening on port 443",
        );
        let service = object(json!({"spec": {"ports": [{"name": "https", "port": 443}]}}));
        check(
            &available(&remote, Some(&service), &[]),
            "False EndpointsNotFound cannot find endpointslices for service/s in \"n\"",
        );
        let slice = |ready: bool| {
            object(json!({"ports": [{"name": "https"}], "endpoints": [{"conditions": {"ready": ready}}]}))
        };
        check(
            &available(&remote, Some(&service), &[slice(false)]),
            "False MissingEndpoints endpointslices for service/s in \"n\" have no addresses with port name \"https\"",
        );
        check(
            &available(&remote, Some(&service), &[slice(true)]),
            "False FailedDiscoveryCheck this server does not forward requests to other API servers",
        );
    }
}
