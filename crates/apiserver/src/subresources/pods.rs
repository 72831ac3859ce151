//! Parts of Pods that need no kubelet: eviction and binding. What needs one says that there is none.

use super::{conditions_of, done};
use crate::call::Call;
use crate::decode;
use crate::options::{DeleteOptions, WriteOptions};
use crate::respond::{Body, Failure, Result};
use crate::verbs::{self, Part, write};
use api::{GroupResource, Object, Status};
use http::Response;
use serde_json::{Map, Value, json};

/// Deletes the Pod: nothing here counts disruptions.
pub(super) async fn evict(call: &Call) -> Result<Response<Body>> {
    let mut eviction = decode::object(&call.headers, &call.body, "Eviction")?;
    let options = DeleteOptions::read(&call.query, eviction.value["deleteOptions"].take(), eviction.duplicates)?;
    let live = call.live().await?;
    verbs::remove(call, live, &options).await?;
    call.settle(call.store().head()).await?;
    done(call)
}

/// Puts a Pod on a node. `name` is that of the path; without one the body's counts.
pub(super) async fn bind(call: &Call, name: &str) -> Result<Response<Body>> {
    let Value::Object(map) = decode::object(&call.headers, &call.body, "Binding")?.value else {
        return Err(Status::bad_request("the body is not an object").into());
    };
    let binding = Object(map);
    let name = if name.is_empty() { binding.name() } else { name };
    let node = binding.pointer("/target/name").and_then(Value::as_str).unwrap_or("").to_owned();
    if node.is_empty() {
        let causes = vec![crate::options::cause("FieldValueRequired", "target.name", "Required value")];
        return Err(Status::invalid("", "Binding", name, causes).into());
    }
    let pods =
        call.space.kind(call.store(), "", "v1", "pods").ok_or_else(|| Status::internal("pods are not served"))?;
    let mut target = call.target.clone();
    target.resource = "pods".into();
    target.name = name.into();
    target.subresource = "binding".into();
    let call = Call {
        server: call.server.clone(),
        space: call.space.clone(),
        identity: call.identity.clone(),
        kind: pods,
        target,
        query: call.query.clone(),
        headers: call.headers.clone(),
        body: call.body.clone(),
        warnings: call.warnings.clone(),
        ..*call
    };
    let options = WriteOptions::read("CreateOptions", &call.query, &call.headers)?;
    let now = call.server.now().to_string();
    let decide = |live: &Object| {
        if let Some(held) = live.pointer("/spec/nodeName").and_then(Value::as_str).filter(|held| !held.is_empty()) {
            let resource = GroupResource { group: String::new(), resource: "pods/binding".into() };
            let cause = format!("pod {} is already assigned to node {held:?}", live.name());
            return Err(Failure::from(Status::conflict(&resource, live.name(), cause)));
        }
        let mut object = live.clone();
        conditions_of(&binding, &mut object);
        let spec = object.0.entry("spec").or_insert_with(|| Value::Object(Map::new()));
        spec["nodeName"] = node.as_str().into();
        let status = object.0.entry("status").or_insert_with(|| Value::Object(Map::new()));
        let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        conditions
            .push(json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now}));
        status["conditions"] = conditions.into();
        Ok(write::Decided { object, warnings: Vec::new(), tracked: false, must_be_conditional: false })
    };
    let written = write::update(&call, call.live().await?, Part::Whole, &options, &decide).await?;
    call.settle(written.entry.modified).await?;
    done(&call)
}

/// What kubectl is told of logs and shells of a Pod that runs nowhere.
pub(super) async fn without_host(call: &Call) -> Failure {
    if let Err(missing) = call.live().await {
        return missing;
    }
    let singular = &call.kind.served.singular;
    Status::bad_request(format!("{singular} {} does not have a host assigned", call.target.name)).into()
}
