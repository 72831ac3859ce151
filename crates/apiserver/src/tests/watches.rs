//! Watches.

use super::*;

fn revision(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_there_and_then_what_happens() {
    let world = World::new();
    world.config_map("a").await;
    let mut events = world.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    assert_eq!(events.line().await, "ADDED a");
    let made = world.config_map("b").await;
    let event = events.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]), (&json!("ADDED"), &made));
    let mut changed = made.clone();
    changed["data"]["k"] = "new".into();
    world.put(&format!("{CONFIG_MAPS}/b"), changed).await.is(200);
    assert_eq!(events.line().await, "MODIFIED b");
    world.delete(&format!("{CONFIG_MAPS}/b")).await.is(200);
    let event = events.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["data"]["k"]), (&json!("DELETED"), &json!("new")));
    assert!(revision(&event["object"]).parse::<u64>().unwrap() > revision(&made).parse::<u64>().unwrap() + 1);
}

#[tokio::test]
async fn resumes_after_a_revision() {
    let world = World::new();
    let a = world.config_map("a").await;
    world.config_map("b").await;
    let mut events = world.watch(&format!("{CONFIG_MAPS}?watch=true&resourceVersion={}", revision(&a))).await;
    assert_eq!(events.line().await, "ADDED b");
    let mut one = world
        .watch(&format!("{CONFIG_MAPS}?watch=true&fieldSelector=metadata.name%3Db&resourceVersion={}", revision(&a)))
        .await;
    assert_eq!(one.line().await, "ADDED b");
}

#[tokio::test]
async fn watch_list() {
    let world = World::new();
    world.config_map("a").await;
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = world.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    assert_eq!(events.line().await, "ADDED a");
    let event = events.next().await.unwrap();
    assert_eq!(event["type"], "BOOKMARK");
    assert_eq!(event["object"]["kind"], "ConfigMap");
    assert_eq!(event["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    world.config_map("b").await;
    assert_eq!(events.line().await, "ADDED b");
    let mut empty = world.watch(&format!("/api/v1/namespaces/kube-public/configmaps?{query}")).await;
    assert_eq!(empty.line().await, "BOOKMARK ");
    let wrong = world.get(&format!("{CONFIG_MAPS}?watch=true&sendInitialEvents=true")).await;
    wrong.fails(422, "Invalid", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
}

#[tokio::test]
async fn selections_come_and_go() {
    let world = World::new();
    let mut events = world.watch(&format!("{CONFIG_MAPS}?watch=1&labelSelector=on%3Dyes")).await;
    let made = world.config_map("a").await;
    let path = format!("{CONFIG_MAPS}/a");
    let label = |object: &Value, on: &str| {
        let mut object = object.clone();
        object["metadata"]["labels"] = json!({"on": on});
        object
    };
    let on = world.put(&path, label(&made, "yes")).await.is(200);
    assert_eq!(events.line().await, "ADDED a");
    let mut changed = on.clone();
    changed["data"]["k"] = "x".into();
    let changed = world.put(&path, changed).await.is(200);
    assert_eq!(events.line().await, "MODIFIED a");
    let off = world.put(&path, label(&changed, "no")).await.is(200);
    let event = events.next().await.unwrap();
    // It is seen as it was when it was seen last, at the revision of now.
    let mut seen = changed.clone();
    seen["metadata"]["labels"] = json!({"on": "yes"});
    seen["metadata"]["resourceVersion"] = off["metadata"]["resourceVersion"].clone();
    assert_eq!((&event["type"], &event["object"]), (&json!("DELETED"), &seen));
    world.delete(&path).await.is(200);
    world.put(&path, config_map("b")).await.is(400);
    let mut b = config_map("b");
    b["metadata"]["labels"] = json!({"on": "yes"});
    world.post(CONFIG_MAPS, b).await.is(201);
    assert_eq!(events.line().await, "ADDED b", "the deletion of what was not seen is not seen");
}

#[tokio::test]
async fn ends() {
    let world = World::new();
    let a = world.config_map("a").await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "elsewhere"}});
    let elsewhere = world.post("/api/v1/namespaces/default/secrets", secret).await.is(201);
    tokio::time::pause();
    let query = format!("watch=1&timeoutSeconds=5&allowWatchBookmarks=true&resourceVersion={}", revision(&a));
    let mut events = world.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    assert_eq!(events.line().await, "BOOKMARK ");
    assert_eq!(events.line().await, "END");
    let mut events = world
        .watch(&format!(
            "{CONFIG_MAPS}?watch=1&allowWatchBookmarks=1&timeoutSeconds=100&resourceVersion={}",
            revision(&a)
        ))
        .await;
    let event = events.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["metadata"]["resourceVersion"]),
        (&json!("BOOKMARK"), &elsewhere["metadata"]["resourceVersion"])
    );
    world.server.delete_space(&world.space).unwrap();
    while let Some(event) = events.next().await {
        assert_eq!(event["type"], "DELETED", "{event}");
    }
}

#[tokio::test]
async fn other_forms() {
    let world = World::new();
    let path = format!("{CONFIG_MAPS}?watch=1");
    let mut partial = world.watch_as(&path, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1").await;
    let mut table = world.watch_as(&path, "application/json;as=Table;g=meta.k8s.io;v=v1").await;
    let made = world.config_map("a").await;
    let event = partial.next().await.unwrap();
    assert_eq!(event["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(event["object"]["metadata"], made["metadata"]);
    let first = table.next().await.unwrap();
    assert_eq!(first["object"]["kind"], "Table");
    assert_eq!(first["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    world.config_map("b").await;
    let second = table.next().await.unwrap();
    assert_eq!(second["object"]["columnDefinitions"], Value::Null);
}

#[tokio::test]
async fn a_forgotten_revision() {
    let world = World::new();
    let first = world.config_map("a").await;
    world.config_map("b").await;
    let before = world.get(&format!("{CONFIG_MAPS}?limit=1")).await.is(200);
    let token = before["metadata"]["continue"].as_str().unwrap();
    world.config_map("c").await;
    world.config_map("d").await;
    world.clock.advance(std::time::Duration::from_secs(3600));
    world.server.store().compact(0);
    let mut events = world.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={}", revision(&first))).await;
    let event = events.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["code"], &event["object"]["reason"]),
        (&json!("ERROR"), &json!(410), &json!("Expired"))
    );
    assert_eq!(events.line().await, "END");
    let expired = world.get(&format!("{CONFIG_MAPS}?limit=1&continue={token}")).await;
    let expired = expired.fails(410, "Expired", "The provided continue parameter is too old");
    let token = expired["metadata"]["continue"].as_str().unwrap();
    let rest = world.get(&format!("{CONFIG_MAPS}?limit=10&continue={token}")).await.is(200);
    assert_eq!(rest["items"].as_array().unwrap().len(), 3);
}

/// Many write at once: nothing is lost, and watchers see every revision once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_in_a_crowd() {
    const WRITERS: usize = 8;
    const WRITES: usize = 25;
    let world = Arc::new(World::new());
    let made = world.config_map("a").await;
    let mut events = world.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={}", revision(&made))).await;
    let tasks: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                for write in 0..WRITES {
                    let patch = json!({"data": {format!("w{writer}"): write.to_string()}});
                    world.patch(&format!("{CONFIG_MAPS}/a"), "merge-patch+json", patch).await.is(200);
                }
            })
        })
        .collect();
    let mut last = 0;
    for _ in 0..WRITERS * WRITES {
        let event = events.next().await.unwrap();
        assert_eq!(event["type"], "MODIFIED");
        let seen: u64 = revision(&event["object"]).parse().unwrap();
        assert!(seen > last, "{seen} after {last}");
        last = seen;
    }
    for task in tasks {
        task.await.unwrap();
    }
    let end = world.get(&format!("{CONFIG_MAPS}/a")).await.is(200);
    assert_eq!(revision(&end), last.to_string());
    for writer in 0..WRITERS {
        assert_eq!(end["data"][format!("w{writer}")], (WRITES - 1).to_string());
    }
}
