//! CustomResourceDefinitions and the kinds that they define.

use super::*;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn definition() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1},
            "color": {"type": "string", "default": "red", "enum": ["red", "blue"]},
            "replicas": {"type": "integer"},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
        "status": {"type": "object", "properties": {"phase": {"type": "string"}, "replicas": {"type": "integer"}}}}}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": schema,
                 "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                 "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]},
                {"name": "v1alpha1", "served": true, "storage": false, "deprecated": true, "schema": schema,
                 "subresources": {"status": {}}}]}})
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

async fn world() -> World {
    let world = World::new();
    world.post(DEFINITIONS, definition()).await.is(201);
    world
}

#[tokio::test]
async fn a_definition_is_served_when_it_says_so() {
    let world = World::new();
    assert_eq!(world.get(WIDGETS).await.code, 404);
    let mut events = world.watch(&format!("{DEFINITIONS}?watch=1")).await;
    let made = world.post(DEFINITIONS, definition()).await.is(201);
    let condition = |wanted: &str| {
        let list = made["status"]["conditions"].as_array().unwrap();
        list.iter().find(|condition| condition["type"] == wanted).unwrap()["status"].clone()
    };
    assert_eq!((condition("NamesAccepted"), condition("Established")), (json!("True"), json!("True")));
    assert_eq!(made["status"]["acceptedNames"]["listKind"], "WidgetList");
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(events.next().await.unwrap()["object"], made);
    let list = world.get(WIDGETS).await.is(200);
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("WidgetList"), &json!("example.com/v1")));
    let resources = world.get("/apis/example.com/v1").await.is(200);
    let names: Vec<&Value> = resources["resources"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["widgets", "widgets/scale", "widgets/status"]);
    let groups = world.get("/apis").await.is(200);
    let group = groups["groups"].as_array().unwrap().iter().find(|group| group["name"] == "example.com").unwrap();
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let index = world.get("/openapi/v3").await.is(200);
    assert!(index["paths"]["apis/example.com/v1"].is_object(), "{index}");
    // Wrong scope, unknown version.
    assert_eq!(world.post("/apis/example.com/v1/widgets", widget("a", json!({"size": 1}))).await.code, 404);
    assert_eq!(world.get("/apis/example.com/v2/namespaces/default/widgets").await.code, 404);
}

#[tokio::test]
async fn what_is_wrong_with_a_definition_is_said_as_a_stock_server_says_it() {
    let world = World::new();
    let mut wrong = definition();
    for version in wrong["spec"]["versions"].as_array_mut().unwrap() {
        version["schema"]["openAPIV3Schema"]["properties"]["spec"] = json!({"type": "array"});
    }
    wrong["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".metadata.name"}]);
    let refused = world.post(DEFINITIONS, wrong).await.fails(422, "Invalid", "is invalid");
    let fields: Vec<&str> =
        refused["details"]["causes"].as_array().unwrap().iter().map(|cause| cause["field"].as_str().unwrap()).collect();
    let schema = "spec.validation.openAPIV3Schema.properties[spec].items";
    assert_eq!(fields, [schema, "spec.versions[0].selectableFields[0].jsonPath"]);
    let made = world.post(DEFINITIONS, definition()).await.is(201);
    let mut changed = made.clone();
    changed["spec"]["scope"] = "Cluster".into();
    let path = format!("{DEFINITIONS}/widgets.example.com");
    world.put(&path, changed).await.fails(422, "Invalid", "spec.scope: Invalid value: \"Cluster\": field is immutable");
}

#[tokio::test]
async fn objects_are_pruned_defaulted_and_judged() {
    let world = world().await;
    let spec = json!({"size": 2, "unknown": 1, "free": {"any": "thing"}});
    let answer = world.post(WIDGETS, widget("a", spec)).await;
    assert_eq!(answer.warnings, ["299 - \"unknown field \\\"spec.unknown\\\"\""]);
    let made = answer.is(201);
    assert_eq!(made["spec"], json!({"size": 2, "color": "red", "free": {"any": "thing"}}));
    assert_eq!(made["metadata"]["generation"], 1);
    let strict =
        world.post(&format!("{WIDGETS}?fieldValidation=Strict"), widget("b", json!({"size": 1, "x": 1}))).await;
    let told =
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.x\"";
    strict.fails(400, "BadRequest", told);
    for (spec, field) in [
        (json!({}), "spec.size"),
        (json!({"size": "big"}), "spec.size"),
        (json!({"size": 0}), "spec.size"),
        (json!({"size": 1, "color": "green"}), "spec.color"),
    ] {
        let refused =
            world.post(WIDGETS, widget("b", spec)).await.fails(422, "Invalid", "Widget.example.com \"b\" is invalid");
        assert_eq!(refused["details"]["causes"][0]["field"], field, "{refused}");
    }
    world.put(&format!("{WIDGETS}/a"), widget("a", json!({"size": 3}))).await.fails(
        422,
        "Invalid",
        "metadata.resourceVersion: Invalid value: 0: must be specified for an update",
    );
}

#[tokio::test]
async fn status_is_apart() {
    let world = world().await;
    let path = format!("{WIDGETS}/a");
    let mut object = widget("a", json!({"size": 2}));
    object["status"] = json!({"phase": "Ready"});
    let made = world.post(WIDGETS, object).await.is(201);
    assert!(made["status"].is_null());
    let mut changed = made.clone();
    changed["spec"]["size"] = 5.into();
    changed["status"] = json!({"phase": "Ready"});
    changed["metadata"]["labels"] = json!({"a": "b"});
    let status = world.put(&format!("{path}/status"), changed.clone()).await.is(200);
    assert_eq!((&status["spec"]["size"], &status["status"]["phase"]), (&json!(2), &json!("Ready")));
    assert!(status["metadata"]["labels"].is_null());
    assert_eq!(status["metadata"]["generation"], 1);
    let mut changed = status.clone();
    changed["spec"]["size"] = 5.into();
    changed["status"] = json!({"phase": "Lost"});
    let main = world.put(&path, changed).await.is(200);
    assert_eq!((&main["spec"]["size"], &main["status"]["phase"]), (&json!(5), &json!("Ready")));
    assert_eq!(main["metadata"]["generation"], 2);
    let patch =
        json!({"status": {"phase": "Done"}, "metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}});
    world.patch(&format!("{path}/status"), "merge-patch+json", patch).await.fails(409, "Conflict", "has been modified");
    let patch = json!({"status": {"phase": "Done"}, "metadata": {"uid": made["metadata"]["uid"]}});
    let done = world.patch(&format!("{path}/status"), "merge-patch+json", patch).await.is(200);
    assert_eq!(done["status"]["phase"], "Done");
    let patch = json!({"status": {"phase": "Gone"}, "metadata": {"uid": "other"}});
    world.patch(&format!("{path}/status"), "merge-patch+json", patch).await.fails(
        422,
        "Invalid",
        "metadata.uid: Invalid value: \"other\": field is immutable",
    );
}

#[tokio::test]
async fn scale_of_a_custom_kind() {
    let world = world().await;
    world.post(WIDGETS, widget("a", json!({"size": 2, "replicas": 3}))).await.is(201);
    let path = format!("{WIDGETS}/a/scale");
    let mut scale = world.get(&path).await.is(200);
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(3)));
    scale["spec"]["replicas"] = 7.into();
    assert_eq!(world.put(&path, scale.clone()).await.is(200)["spec"]["replicas"], 7);
    world.put(&path, scale).await.fails(409, "Conflict", "has been modified");
    assert_eq!(world.get(&format!("{WIDGETS}/a")).await.is(200)["metadata"]["generation"], 2);
    let patched = world.patch(&path, "merge-patch+json", json!({"spec": {"replicas": 1}})).await.is(200);
    assert_eq!(patched["spec"]["replicas"], 1);
    world.patch(&path, "merge-patch+json", json!({"spec": {"replicas": -1}})).await.fails(
        422,
        "Invalid",
        "spec.replicas",
    );
}

#[tokio::test]
async fn versions_of_one_object() {
    let world = world().await;
    let old = "/apis/example.com/v1alpha1/namespaces/default/widgets";
    let mut object = widget("a", json!({"size": 2}));
    object["apiVersion"] = "example.com/v1alpha1".into();
    let answer = world.post(old, object).await;
    assert_eq!(answer.warnings, ["299 - \"example.com/v1alpha1 Widget is deprecated\""]);
    assert_eq!(answer.is(201)["apiVersion"], "example.com/v1alpha1");
    let stored = world.get(&format!("{WIDGETS}/a")).await.is(200);
    assert_eq!((&stored["apiVersion"], &stored["spec"]["size"]), (&json!("example.com/v1"), &json!(2)));
    let list = world.get(old).await.is(200);
    assert_eq!(list["items"][0]["apiVersion"], "example.com/v1alpha1");
    let mut events = world.watch(&format!("{old}?watch=1")).await;
    assert_eq!(events.next().await.unwrap()["object"]["apiVersion"], "example.com/v1alpha1");
    // A new default is seen on what was written before it.
    let mut changed = world.get(&format!("{DEFINITIONS}/widgets.example.com")).await.is(200);
    let property = json!({"type": "string", "default": "yes"});
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["later"] = property;
    world.put(&format!("{DEFINITIONS}/widgets.example.com"), changed).await.is(200);
    assert_eq!(world.get(&format!("{WIDGETS}/a")).await.is(200)["spec"]["later"], "yes");
}

#[tokio::test]
async fn a_changed_schema_ends_watches() {
    let world = world().await;
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let mut events = world.watch(&format!("{WIDGETS}?watch=1")).await;
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    world.patch(&path, "merge-patch+json", label).await.is(200);
    world.post(WIDGETS, widget("a", json!({"size": 1}))).await.is(201);
    assert_eq!(events.line().await, "ADDED a", "a label of the definition changes nothing for watchers");
    let mut changed = world.get(&path).await.is(200);
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["more"] =
        json!({"type": "string"});
    world.put(&path, changed).await.is(200);
    assert_eq!(events.line().await, "END");
}

#[tokio::test]
async fn a_deleted_definition_takes_its_objects() {
    let world = world().await;
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let mut held = widget("held", json!({"size": 1}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.post(WIDGETS, held).await.is(201);
    world.post(WIDGETS, widget("free", json!({"size": 1}))).await.is(201);
    let mut events = world.watch(&format!("{WIDGETS}?watch=1")).await;
    assert_eq!((events.line().await, events.line().await), ("ADDED free".into(), "ADDED held".into()));
    let mut definitions = world.watch(&format!("{DEFINITIONS}?watch=1")).await;
    assert_eq!(definitions.line().await, "ADDED widgets.example.com");
    let marked = world.delete(&path).await.is(200);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let condition = marked["status"]["conditions"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&condition["type"], &condition["reason"]), (&json!("Terminating"), &json!("InstanceDeletionPending")));
    world.post(WIDGETS, widget("new", json!({"size": 1}))).await.fails(403, "Forbidden", "terminating");
    assert_eq!((events.line().await, events.line().await), ("DELETED free".into(), "MODIFIED held".into()));
    let freed = json!({"metadata": {"finalizers": null}});
    world.patch(&format!("{WIDGETS}/held"), "merge-patch+json", freed).await.is(200);
    assert_eq!((events.line().await, events.line().await), ("DELETED held".into(), "END".into()));
    while definitions.line().await != "DELETED widgets.example.com" {}
    assert_eq!(world.get(WIDGETS).await.code, 404);
    world.get(&path).await.fails(
        404,
        "NotFound",
        "customresourcedefinitions.apiextensions.k8s.io \"widgets.example.com\" not found",
    );
}

#[tokio::test]
async fn refused_definitions_and_patches() {
    let world = world().await;
    let mut bad = definition();
    bad["metadata"]["name"] = "other.example.com".into();
    bad["spec"]["versions"][0]["schema"] = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {}}}});
    let refused = world.post(DEFINITIONS, bad).await.fails(
        422,
        "Invalid",
        "CustomResourceDefinition.apiextensions.k8s.io \"other.example.com\" is invalid",
    );
    let fields: Vec<&Value> =
        refused["details"]["causes"].as_array().unwrap().iter().map(|cause| &cause["field"]).collect();
    assert_eq!(fields, ["metadata.name", "spec.versions[0].schema.openAPIV3Schema.properties[spec].type"]);
    world.post(WIDGETS, widget("a", json!({"size": 1}))).await.is(201);
    let strategic = world.patch(&format!("{WIDGETS}/a"), "strategic-merge-patch+json", json!({})).await;
    strategic.fails(415, "UnsupportedMediaType", "application/merge-patch+json");
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = world.raw("GET", WIDGETS, &accept, "").await.is(200);
    let names: Vec<&Value> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    assert_eq!(names, ["Name", "Size"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", 1]));
}

#[tokio::test]
async fn the_definitions_that_we_bring() {
    let world = World::new();
    for text in [api::crds::WDS, api::crds::ITS, api::crds::WEC, api::crds::HOSTING].into_iter().flatten() {
        let made = world.raw("POST", DEFINITIONS, &[("content-type", "application/yaml")], *text).await;
        assert_eq!(made.code, 201, "{}", made.body);
        assert_eq!(made.body["status"]["conditions"][1]["status"], "True");
    }
}
