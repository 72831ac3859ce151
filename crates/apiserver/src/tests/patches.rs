//! Patches of every kind.

use super::*;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [
            {"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1", "ports": [{"containerPort": 80}]}]}}}})
}

#[tokio::test]
async fn merge_and_json() {
    let world = World::new();
    world.config_map("a").await;
    let path = format!("{CONFIG_MAPS}/a");
    let merged = world.patch(&path, "merge-patch+json", json!({"data": {"k": null, "n": "1"}})).await.is(200);
    assert_eq!(merged["data"], json!({"n": "1"}));
    let same = world.patch(&path, "merge-patch+json", json!({"data": {"n": "1"}})).await.is(200);
    assert_eq!(same, merged, "what changes nothing writes nothing");
    let ops = json!([{"op": "test", "path": "/data/n", "value": "1"}, {"op": "add", "path": "/data/m", "value": "2"}]);
    assert_eq!(world.patch(&path, "json-patch+json", ops).await.is(200)["data"], json!({"m": "2", "n": "1"}));
    let failing = json!([{"op": "test", "path": "/data/n", "value": "other"}]);
    world.patch(&path, "json-patch+json", failing).await.fails(422, "Invalid", "the server rejected our request");
    let missing = json!([{"op": "remove", "path": "/data/none"}]);
    world.patch(&path, "json-patch+json", missing).await.fails(422, "Invalid", "the server rejected our request");
    world.patch(&path, "xml", json!({})).await.fails(415, "UnsupportedMediaType", "415: Unsupported Media Type");
    world.patch(&path, "merge-patch+json", json!([])).await.is(400);
    world.patch(&format!("{CONFIG_MAPS}/none"), "merge-patch+json", json!({})).await.fails(
        404,
        "NotFound",
        "not found",
    );
    world.patch(&path, "merge-patch+json", json!({"metadata": {"name": "b"}})).await.is(400);
    let typed = world.patch(&path, "merge-patch+json", json!({"data": {"k": 1}})).await;
    typed.fails(422, "Invalid", "cannot unmarshal number");
    let forced = world.patch(&format!("{path}?force=true"), "merge-patch+json", json!({})).await;
    forced.fails(422, "Invalid", "may not be specified for non-apply patch");
}

#[tokio::test]
async fn strategic() {
    let world = World::new();
    let made = world.post(DEPLOYMENTS, deployment("web")).await.is(201);
    assert_eq!(made["spec"]["replicas"], 1, "{made}");
    assert_eq!(made["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
    assert_eq!(made["metadata"]["generation"], 1);
    let path = format!("{DEPLOYMENTS}/web");
    assert_eq!(made["status"], json!({}));
    assert_eq!(world.put(&path, made.clone()).await.is(200), made, "what changes nothing writes nothing");
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b:2"}]}}}});
    let patched = world.patch(&path, "strategic-merge-patch+json", patch).await.is(200);
    let containers = patched["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let images: Vec<&Value> = containers.iter().map(|container| &container["image"]).collect();
    assert_eq!(images, ["a:1", "b:2"]);
    assert_eq!(patched["metadata"]["generation"], 2);
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    let labelled = world.patch(&path, "strategic-merge-patch+json", labelled).await.is(200);
    assert_eq!(labelled["metadata"]["generation"], 2, "labels are not counted");
    let scaled =
        world.patch(&format!("{path}/scale"), "merge-patch+json", json!({"spec": {"replicas": 4}})).await.is(200);
    assert_eq!((&scaled["spec"]["replicas"], &scaled["status"]["selector"]), (&json!(4), &json!("app=web")));
    let status = json!({"status": {"replicas": 4, "observedGeneration": 3}});
    let status = world.patch(&format!("{path}/status"), "merge-patch+json", status).await.is(200);
    assert_eq!((&status["status"]["replicas"], &status["metadata"]["generation"]), (&json!(4), &json!(3)));
}

async fn apply(world: &World, path: &str, manager: &str, body: Value, force: bool) -> Answer {
    let force = if force { "&force=true" } else { "" };
    let path = format!("{path}?fieldManager={manager}{force}");
    world.raw("PATCH", &path, &[("content-type", "application/apply-patch+yaml")], body.to_string()).await
}

#[tokio::test]
async fn server_side_apply() {
    let world = World::new();
    let path = format!("{CONFIG_MAPS}/a");
    let config =
        |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": value}});
    let made = apply(&world, &path, "one", config("1"), false).await.is(201);
    assert_eq!(made["metadata"]["managedFields"][0]["operation"], "Apply");
    let again = apply(&world, &path, "one", config("1"), false).await.is(200);
    assert_eq!(again, made, "the same configuration writes nothing");
    let conflict =
        apply(&world, &path, "two", config("2"), false).await.fails(409, "Conflict", "Apply failed with 1 conflict");
    assert_eq!(conflict["details"]["causes"][0]["reason"], "FieldManagerConflict");
    assert_eq!(conflict["details"]["causes"][0]["field"], ".data.k");
    let taken = apply(&world, &path, "two", config("2"), true).await.is(200);
    assert_eq!(taken["data"]["k"], "2");
    let empty = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let dropped = apply(&world, &path, "two", empty.clone(), false).await.is(200);
    assert!(dropped["data"].is_null(), "{dropped}");
    let without =
        world.raw("PATCH", &path, &[("content-type", "application/apply-patch+yaml")], empty.to_string()).await;
    without.fails(422, "Invalid", "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value");
    let wrong = json!({"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "a"}});
    apply(&world, &path, "one", wrong, false).await.fails(400, "BadRequest", "invalid object type: v2, Kind=ConfigMap");
    let tracked = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "managedFields": []}});
    apply(&world, &path, "one", tracked, false).await.is(400);
    let dry = apply(&world, &format!("{CONFIG_MAPS}/dry"), "one&dryRun=All", config("1"), false).await;
    dry.is(400);
}

#[tokio::test]
async fn ownership_of_plain_writes() {
    let world = World::new();
    let agent = [("content-type", "application/json"), ("user-agent", "kubectl/v1.36 (linux)")];
    let made = world.raw("POST", CONFIG_MAPS, &agent, config_map("a").to_string()).await.is(201);
    let entry = &made["metadata"]["managedFields"][0];
    assert_eq!((&entry["manager"], &entry["operation"]), (&json!("kubectl"), &json!("Update")));
    assert_eq!(entry["fieldsV1"], json!({"f:data": {".": {}, "f:k": {}}}));
    let reset = json!({"metadata": {"managedFields": [{}]}});
    let reset = world.patch(&format!("{CONFIG_MAPS}/a"), "merge-patch+json", reset).await.is(200);
    assert!(reset["metadata"]["managedFields"].is_null(), "{reset}");
}
