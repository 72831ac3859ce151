//! What the built-in admission plugins make of writes; quotas while many write.

use super::controllers::controllers;
use super::*;

const PODS: &str = "/api/v1/namespaces/default/pods";
const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "c"}]}})
}

fn quota(hard: Value) -> Value {
    json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})
}

#[tokio::test]
async fn a_pod_is_completed_and_its_writer_owns_what_it_said() {
    let world = World::new();
    world.account().await;
    let made = world.post(PODS, pod("p")).await.is(201);
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["priority"], 0);
    assert!(made["spec"]["volumes"][0]["name"].as_str().unwrap().starts_with("kube-api-access-"));
    let owned = &made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
    assert!(owned.get("f:containers").is_some() && owned.get("f:tolerations").is_none(), "{owned}");
    let mut named = made.clone();
    named["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(world.put(&format!("{PODS}/p"), named).await.is(200)["metadata"]["labels"]["a"], "b");
}

#[tokio::test]
async fn a_pod_is_refused_in_the_words_of_the_stock_server() {
    let world = World::new();
    world.account().await;
    let mut lost = pod("q");
    lost["spec"]["serviceAccountName"] = json!("none");
    let why =
        "pods \"q\" is forbidden: error looking up service account default/none: serviceaccount \"none\" not found";
    world.post(PODS, lost).await.fails(403, "Forbidden", why);
    let mut critical = pod("q");
    critical["spec"]["priorityClassName"] = json!("system-node-critical");
    assert_eq!(world.post(PODS, critical).await.is(201)["spec"]["priority"], 2_000_001_000);
    let path = "/apis/scheduling.k8s.io/v1/priorityclasses";
    assert_eq!(world.get(path).await.is(200)["items"].as_array().unwrap().len(), 2);
    let why = "this is a system priority class and cannot be deleted";
    world.delete(&format!("{path}/system-node-critical")).await.fails(403, "Forbidden", why);
}

#[tokio::test]
async fn a_pod_waits_for_the_account_of_a_young_namespace() {
    let world = World::new();
    let _running = controllers(&world.server);
    world.post("/api/v1/namespaces", json!({"metadata": {"name": "young"}})).await.is(201);
    world.post("/api/v1/namespaces/young/pods", pod("p")).await.is(201);
}

#[tokio::test]
async fn of_many_writers_no_more_get_in_than_there_is_room_for() {
    let world = World::new();
    world.post(QUOTAS, quota(json!({"count/configmaps": "10", "secrets": "1"}))).await.is(201);
    let names: Vec<String> = (0..30).map(|index| format!("c{index}")).collect();
    let writes = names.iter().map(|name| world.post(CONFIG_MAPS, config_map(name)));
    let answers = futures_util::future::join_all(writes).await;
    assert_eq!(answers.iter().filter(|answer| answer.code == 201).count(), 10);
    let refused = answers.into_iter().find(|answer| answer.code != 201).unwrap();
    refused.fails(
        403,
        "Forbidden",
        "is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=10, limited: \
         count/configmaps=10",
    );
    let dry = world.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("dry")).await;
    dry.fails(403, "Forbidden", "exceeded quota");
    let first = world.get(CONFIG_MAPS).await.is(200)["items"][0]["metadata"]["name"].clone();
    world.delete(&format!("{CONFIG_MAPS}/{}", first.as_str().unwrap())).await.is(200);
    world.config_map("again").await;
    world.delete(&format!("{QUOTAS}/q")).await.is(200);
    world.config_map("more").await;
}

#[tokio::test]
async fn the_status_of_a_quota_says_what_is_used() {
    let world = World::new();
    let _running = controllers(&world.server);
    let mut seen = world.watch(&format!("{QUOTAS}?watch=1")).await;
    world.post(QUOTAS, quota(json!({"secrets": "2", "count/nonsense.example.org": "1"}))).await.is(201);
    let until = async |seen: &mut Events, used: Value| loop {
        let event = seen.next().await.unwrap();
        if event["object"]["status"]["used"] == used {
            return event["object"]["status"]["hard"].clone();
        }
    };
    let hard = until(&mut seen, json!({"secrets": "0"})).await;
    assert_eq!(hard, json!({"secrets": "2", "count/nonsense.example.org": "1"}));
    let secrets = "/api/v1/namespaces/default/secrets";
    world.post(secrets, json!({"metadata": {"name": "s"}})).await.is(201);
    until(&mut seen, json!({"secrets": "1"})).await;
    world.delete(&format!("{secrets}/s")).await.is(200);
    until(&mut seen, json!({"secrets": "0"})).await;
}

#[tokio::test]
async fn a_claim_in_use_stays_until_its_pod_is_gone() {
    let world = World::new();
    let _running = controllers(&world.server);
    world.post("/api/v1/namespaces", json!({"metadata": {"name": "young"}})).await.is(201);
    let claims = CLAIMS.replace("default", "young");
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let mut seen = world.watch(&format!("{claims}?watch=1")).await;
    let made = world.post(&claims, claim.clone()).await.is(201);
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let mut user = pod("p");
    user["spec"]["nodeName"] = json!("n");
    user["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    world.post("/api/v1/namespaces/young/pods", user).await.is(201);
    world.delete(&format!("{claims}/c")).await.is(200);
    assert_eq!((seen.line().await, seen.line().await), ("ADDED c".into(), "MODIFIED c".into()));
    assert!(world.get(&format!("{claims}/c")).await.is(200)["metadata"]["deletionTimestamp"].is_string());
    world.delete("/api/v1/namespaces/young/pods/p?gracePeriodSeconds=0").await.is(200);
    assert_eq!(seen.line().await, "DELETED c");
}
