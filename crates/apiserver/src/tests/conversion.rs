//! Versions of a CRD that a webhook converts, with one that listens on a socket.

use super::webhooks::Listener;
use super::*;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const V1: &str = "/apis/conv.io/v1/namespaces/default/tasks";
const V2: &str = "/apis/conv.io/v2/namespaces/default/tasks";

/// Version 1 has `spec.text`, and version 2 `spec.words`: the same, split at blanks.
fn definition(hook: &Listener) -> Value {
    let version = |name: &str, storage: bool, spec: Value, field: &str| {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": spec},
            "status": {"type": "object", "properties": {"done": {"type": "integer"}}}}});
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.done"}},
            "selectableFields": [{"jsonPath": format!(".spec.{field}")}],
            "additionalPrinterColumns": [{"name": "Shown", "type": "string", "jsonPath": format!(".spec.{field}")}]})
    };
    let integer = json!({"type": "integer"});
    let text = json!({"text": {"type": "string"}, "size": integer});
    let first = json!({"type": "string"});
    let words = json!({"words": {"type": "array", "items": {"type": "string"}}, "first": first, "size": integer});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tasks.conv.io"},
        "spec": {"group": "conv.io", "scope": "Namespaced", "names": {"plural": "tasks", "kind": "Task"},
            "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v2", "v1"],
                "clientConfig": {"url": hook.url, "caBundle": hook.authorities}}},
            "versions": [version("v1", true, text, "text"), version("v2", false, words, "first")]}})
}

fn converted(object: &Value, desired: &str) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = desired.into();
    let spec = object["spec"].as_object_mut().unwrap();
    if desired == "conv.io/v2" {
        let text = spec.remove("text").unwrap_or_default();
        let words: Vec<&str> = text.as_str().unwrap_or("").split(' ').collect();
        spec.insert("first".into(), words[0].into());
        spec.insert("words".into(), json!(words));
    } else {
        spec.remove("first");
        let words = spec.remove("words").unwrap_or_default();
        let words: Vec<&str> = words.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        spec.insert("text".into(), words.join(" ").into());
    }
    object["metadata"]["labels"]["seen"] = desired.replace('/', ".").into();
    object["metadata"]["generation"] = 77.into();
    object
}

/// A webhook that converts; one that is asked for an object named `bad` says that it cannot.
async fn converter() -> Listener {
    Listener::start(|request| {
        let objects = request["objects"].as_array().unwrap();
        if objects.iter().any(|object| object["metadata"]["name"] == "bad") {
            return Some(json!({"result": {"status": "Failed", "message": "too bad"}}));
        }
        let desired = request["desiredAPIVersion"].as_str().unwrap();
        let converted: Vec<Value> = objects.iter().map(|object| converted(object, desired)).collect();
        Some(json!({"result": {"status": "Success"}, "convertedObjects": converted}))
    })
    .await
}

fn task(name: &str, text: &str) -> Value {
    json!({"apiVersion": "conv.io/v1", "kind": "Task", "metadata": {"name": name}, "spec": {"text": text, "size": 2}})
}

fn task2(name: &str, words: &[&str]) -> Value {
    json!({"apiVersion": "conv.io/v2", "kind": "Task", "metadata": {"name": name}, "spec": {"words": words}})
}

#[tokio::test]
async fn objects_are_read_and_written_in_every_version() {
    let world = World::new();
    let hook = converter().await;
    world.post(DEFINITIONS, definition(&hook)).await.is(201);
    let made = world.post(V1, task("a", "one two")).await.is(201);
    assert_eq!(hook.seen.lock().len(), 0, "it is stored as it came");
    let shown = world.get(&format!("{V2}/a")).await.is(200);
    assert_eq!((&shown["apiVersion"], &shown["spec"]["words"]), (&json!("conv.io/v2"), &json!(["one", "two"])));
    assert_eq!(shown["metadata"]["generation"], 1, "only labels and annotations are taken");
    assert_eq!(shown["metadata"]["labels"], json!({"seen": "conv.io.v2"}));
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        assert_eq!(shown["metadata"][field], made["metadata"][field]);
    }
    let review = hook.seen.lock()[0].clone();
    assert_eq!(
        (&review["kind"], &review["apiVersion"]),
        (&json!("ConversionReview"), &json!("apiextensions.k8s.io/v1"))
    );
    assert_eq!(review["request"]["desiredAPIVersion"], "conv.io/v2");
    world.get(&format!("{V2}/a")).await.is(200);
    assert_eq!(hook.seen.lock().len(), 1, "what was converted is remembered");
    let written = world.post(V2, task2("b", &["three", "four"])).await.is(201);
    assert_eq!(written["spec"]["words"], json!(["three", "four"]));
    assert_eq!(world.get(&format!("{V1}/b")).await.is(200)["spec"], json!({"text": "three four"}));
    let patch = json!({"spec": {"words": ["five"]}});
    world.patch(&format!("{V2}/a"), "merge-patch+json", patch).await.is(200);
    let stored = world.get(&format!("{V1}/a")).await.is(200);
    assert_eq!((&stored["spec"], &stored["metadata"]["generation"]), (&json!({"text": "five", "size": 2}), &json!(2)));
    let status = json!({"status": {"done": 1}});
    world.patch(&format!("{V2}/a/status"), "merge-patch+json", status).await.is(200);
    assert_eq!(world.get(&format!("{V2}/a/scale")).await.is(200)["status"]["replicas"], 1);
    let scaled = json!({"spec": {"replicas": 5}});
    world.patch(&format!("{V2}/a/scale"), "merge-patch+json", scaled).await.is(200);
    assert_eq!(world.get(&format!("{V1}/a")).await.is(200)["spec"], json!({"text": "five", "size": 5}));
}

#[tokio::test]
async fn a_dry_run_shows_what_it_would_write_and_leaves_what_is_there() {
    let world = World::new();
    let hook = converter().await;
    world.post(DEFINITIONS, definition(&hook)).await.is(201);
    world.post(V1, task("a", "one")).await.is(201);
    let words = async |path: &str| world.get(path).await.is(200)["spec"]["words"].clone();
    let path = format!("{V2}/a");
    let patch = json!({"spec": {"words": ["two"]}});
    let dry = world.patch(&format!("{path}?dryRun=All"), "merge-patch+json", patch.clone()).await.is(200);
    assert_eq!((&dry["spec"]["words"], words(&path).await), (&json!(["two"]), json!(["one"])));
    let made = world.post(&format!("{V2}?dryRun=All"), task2("b", &["x"])).await.is(201);
    assert_eq!(made["metadata"].get("resourceVersion"), None);
    let made = world.post(&format!("{V2}?dryRun=All"), task2("c", &["y"])).await.is(201);
    assert_eq!(made["spec"]["words"], json!(["y"]));
    let owners = world.patch(&path, "merge-patch+json", patch).await.is(200)["metadata"]["managedFields"].clone();
    let of_text = owners.as_array().unwrap().iter().filter(|entry| entry["fieldsV1"]["f:spec"]["f:text"].is_object());
    assert_eq!(of_text.count(), 0, "who wrote the text does not own what it became: {owners}");
}

#[tokio::test]
async fn lists_and_watches_are_converted() {
    let world = World::new();
    let hook = converter().await;
    world.post(DEFINITIONS, definition(&hook)).await.is(201);
    for (name, text) in [("a", "one two"), ("b", "three"), ("c", "one")] {
        world.post(V1, task(name, text)).await.is(201);
    }
    let list = world.get(V2).await.is(200);
    let words: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|item| &item["spec"]["words"]).collect();
    assert_eq!(words, [&json!(["one", "two"]), &json!(["three"]), &json!(["one"])]);
    assert_eq!(hook.seen.lock().len(), 1, "one call for all");
    let selected = world.get(&format!("{V2}?fieldSelector=spec.first%3Done")).await.is(200);
    assert_eq!(selected["items"].as_array().unwrap().len(), 2, "selected by what the version has");
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = world.watch(&format!("{V2}?watch=1&resourceVersion={revision}")).await;
    let mut chosen =
        world.watch(&format!("{V2}?watch=1&resourceVersion={revision}&fieldSelector=spec.first%3Dnew")).await;
    world.patch(&format!("{V1}/a"), "merge-patch+json", json!({"spec": {"text": "new word"}})).await.is(200);
    let event = events.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["spec"]["words"]), (&json!("MODIFIED"), &json!(["new", "word"])));
    assert_eq!(chosen.line().await, "ADDED a");
    world.delete(&format!("{V2}/a")).await.is(200);
    assert_eq!(events.line().await, "DELETED a");
    assert_eq!(chosen.line().await, "DELETED a");
    world.delete(V2).await.is(200);
    assert_eq!(world.get(V1).await.is(200)["items"], json!([]));
}

/// A failure without a reason, as the stock server answers it.
#[track_caller]
fn said(answer: Answer, why: &str) {
    assert_eq!(answer.is(500)["message"], why);
}

#[tokio::test]
async fn what_cannot_be_converted_is_said() {
    let world = World::new();
    let hook = converter().await;
    world.post(DEFINITIONS, definition(&hook)).await.is(201);
    world.post(V1, task("bad", "x")).await.is(201);
    world.post(V1, task("good", "x")).await.is(201);
    let why = "conversion webhook for conv.io/v1, Kind=Task failed: too bad";
    said(world.get(&format!("{V2}/bad")).await, why);
    said(world.get(V2).await, why);
    said(world.delete(&format!("{V2}/bad")).await, why);
    said(world.delete(V2).await, why);
    world.get(&format!("{V1}/good")).await.is(200);
    let why = "conversion webhook for conv.io/v2, Kind=Task failed: too bad";
    world.delete(&format!("{V1}/bad")).await.is(200);
    said(world.post(V2, task2("bad", &["x"])).await, why);
    world.get(V2).await.is(200);
    let none = json!({"spec": {"conversion": {"strategy": "None", "webhook": null}}});
    let path = format!("{DEFINITIONS}/tasks.conv.io");
    world.patch(&path, "merge-patch+json", none).await.is(200);
    let shown = world.get(&format!("{V2}/good")).await.is(200);
    assert_eq!((&shown["apiVersion"], &shown["spec"]), (&json!("conv.io/v2"), &json!({"size": 2})));
}
