//! Roles that are inherited, roles that are made of others, tokens that a controller writes.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio_util::sync::{CancellationToken, DropGuard};

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

/// Runs the controllers until the guard is dropped.
fn controllers(server: &Server) -> DropGuard {
    let end = CancellationToken::new();
    let (running, ended) = (server.clone(), end.clone());
    tokio::spawn(async move { running.run_controllers(ended).await });
    end.drop_guard()
}

/// Asks until the answer is as wanted.
async fn until(world: &World, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let asking = async {
        loop {
            let answer = world.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), asking).await.expect(path)
}

#[tokio::test]
async fn what_is_inherited_is_there_until_it_is_changed_and_gone_when_it_is_deleted() {
    let world = World::new();
    let head = world.server.store().head();
    let list = world.get(ROLES).await.is(200);
    let listed = list["items"].as_array().unwrap();
    assert!(listed.len() > 60);
    assert_eq!(world.server.store().head(), head, "to show them costs nothing");
    let path = format!("{ROLES}/system:heapster");
    let before = world.get(&path).await.is(200);
    assert!(listed.iter().any(|item| item["metadata"]["uid"] == before["metadata"]["uid"]));
    world.post(ROLES, json!({"metadata": {"name": "system:heapster"}})).await.fails(409, "AlreadyExists", "heapster");
    let mut changed = before.clone();
    changed["metadata"]["labels"]["mine"] = "yes".into();
    let after = world.put(&path, changed.clone()).await.is(200);
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    world.put(&path, changed).await.fails(409, "Conflict", "modified");
    assert_eq!(world.get(ROLES).await.is(200)["items"].as_array().unwrap().len(), listed.len());
    world.delete(&path).await.is(200);
    world.get(&path).await.fails(404, "NotFound", "heapster");
    let never_changed = format!("{ROLES}/system:kube-dns");
    world.delete(&never_changed).await.is(200);
    world.get(&never_changed).await.fails(404, "NotFound", "kube-dns");
    assert_eq!(world.get(ROLES).await.is(200)["items"].as_array().unwrap().len(), listed.len() - 2);
    world.post(ROLES, json!({"metadata": {"name": "system:kube-dns"}})).await.is(201);
    let page = world.get(&format!("{ROLES}?limit=2")).await.is(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let next = page["metadata"]["continue"].as_str().unwrap();
    let next = world.get(&format!("{ROLES}?limit=2&continue={next}")).await.is(200);
    assert_eq!(next["items"][0]["metadata"]["name"], listed[2]["metadata"]["name"]);
}

#[tokio::test]
async fn a_deleted_binding_grants_nothing() {
    let world = World::new();
    let may = || async {
        let review = json!({"spec": {"user": "ann", "groups": ["system:authenticated"],
            "nonResourceAttributes": {"verb": "get", "path": "/apis"}}});
        let answer = world.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", review).await.is(201);
        answer["status"]["allowed"] == true
    };
    assert!(may().await);
    world.delete("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:discovery").await.is(200);
    assert!(!may().await);
}

#[tokio::test]
async fn aggregated_roles_have_the_rules_that_they_select() {
    let world = World::new();
    let _running = controllers(&world.server);
    let select = |label: &str| json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
    let role = json!({"metadata": {"name": "viewers"}, "rules": [],
        "aggregationRule": select("rbac.authorization.k8s.io/aggregate-to-view")});
    world.post(ROLES, role).await.is(201);
    let widgets = json!({"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]});
    let part = json!({"metadata": {"name": "a-part", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [widgets]});
    world.post(ROLES, part).await.is(201);
    for name in ["viewers", "view", "edit", "admin"] {
        let path = format!("{ROLES}/{name}");
        until(&world, &path, |role| role.body["rules"].as_array().is_some_and(|rules| rules.contains(&widgets))).await;
    }
    world.delete(&format!("{ROLES}/a-part")).await.is(200);
    until(&world, &format!("{ROLES}/admin"), |role| {
        role.body["rules"].as_array().is_some_and(|rules| !rules.contains(&widgets))
    })
    .await;
}

#[tokio::test]
async fn secrets_that_ask_for_a_token_get_one() {
    let world = World::new();
    let _running = controllers(&world.server);
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    world.post(accounts, json!({"metadata": {"name": "robot"}})).await.is(201);
    let secret = json!({"metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "robot"}},
        "type": "kubernetes.io/service-account-token"});
    world.post("/api/v1/namespaces/default/secrets", secret).await.is(201);
    let path = "/api/v1/namespaces/default/secrets/t";
    let filled = until(&world, path, |secret| secret.body["data"]["token"].is_string()).await;
    let token = String::from_utf8(STANDARD.decode(filled.body["data"]["token"].as_str().unwrap()).unwrap()).unwrap();
    let robot = world.server.identity_of_token(&world.space, &token).await.unwrap();
    assert_eq!(robot.user, "system:serviceaccount:default:robot");
    world.clock.advance(std::time::Duration::from_secs(7200));
    assert!(world.server.identity_of_token(&world.space, &token).await.is_some(), "it does not end");
    world.delete(&format!("{accounts}/robot")).await.is(200);
    until(&world, path, |secret| secret.code == 404).await;
    assert_eq!(world.server.identity_of_token(&world.space, &token).await, None);
}
