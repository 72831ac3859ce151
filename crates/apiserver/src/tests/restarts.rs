//! What a restart finds.

use super::*;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/widgets";

fn open(dir: &std::path::Path) -> World {
    let clock: SharedClock = Manual::at(Timestamp::from_seconds(1_795_382_640));
    World::over(store::open_disk(dir, clock).unwrap())
}

#[tokio::test]
async fn objects_definitions_and_revisions_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    let definition = json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Cluster",
        "names": {"plural": "widgets", "kind": "Widget"}, "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    world.post(DEFINITIONS, definition).await.is(201);
    let held = json!({"metadata": {"name": "w", "finalizers": ["example.com/hold"]}});
    let made = world.post(WIDGETS, held).await.is(201);
    let authority = world.server.authority(&world.space).unwrap();
    world.server.close().await;
    drop(world);

    let world = open(dir.path());
    assert_eq!(world.server.authority(&world.space), Some(authority), "credentials that were given out stay good");
    assert_eq!(world.get(&format!("{WIDGETS}/w")).await.is(200), made);
    let mut events = world.watch(&format!("{WIDGETS}?watch=1&resourceVersion=1")).await;
    assert_eq!(events.line().await, "ADDED w", "history survives");
    world.delete(&format!("{DEFINITIONS}/widgets.example.com")).await.is(200);
    world.server.close().await;
    drop((world, events));

    // A deletion that was under way goes on.
    let world = open(dir.path());
    crate::crd::resume(&world.server);
    let mut definitions = world.watch(&format!("{DEFINITIONS}?watch=1")).await;
    world.patch(&format!("{WIDGETS}/w"), "merge-patch+json", json!({"metadata": {"finalizers": null}})).await.is(200);
    while definitions.line().await != "DELETED widgets.example.com" {}
    assert_eq!(world.get(WIDGETS).await.code, 404);
}
