//! What an outside reader is told would survive a crash: no answer while what it tells of is not durable.

use super::restarts::Gated;
use super::*;
use futures_util::FutureExt;
use std::pin::pin;

/// Asks while a ConfigMap `a` is changed, `b` is created and `c` is deleted, none of which is durable, and checks that
/// the answer waits. Returns the answer, with the revision that was the last one while it waited.
async fn ask(request: impl Fn(&Value) -> Request<Bytes>) -> (Response<crate::Body>, u64) {
    let gate = Arc::new(parking_lot::Mutex::new(()));
    let world = World::over(Box::new(Gated(Arc::clone(&gate))));
    let a = world.config_map("a").await;
    world.config_map("c").await;
    let store = world.server.store().clone();
    store.durable(store.head()).await.unwrap();
    let held = gate.lock();
    let write = |method: &str, path: &str, body: Value| {
        let request = Request::builder().method(method).uri(path.to_owned());
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = request.header("content-type", kind);
        let request = request.body(Bytes::from(body.to_string())).unwrap();
        let done = world.server.handle(&world.space, Identity::system("test"), Visibility::Appended, request);
        assert!(done.now_or_never().unwrap().status().is_success(), "{method} {path}");
    };
    write("PATCH", &format!("{CONFIG_MAPS}/a"), json!({"data": {"k": "v"}}));
    write("DELETE", &format!("{CONFIG_MAPS}/c"), json!({}));
    write("POST", CONFIG_MAPS, config_map("b"));
    let mut asked = pin!(world.send(request(&a)));
    let early = asked.as_mut().now_or_never().map(|answer| answer.status());
    assert_eq!(early, None, "the answer waits for the disk");
    let head = store.head().0;
    drop(held);
    (asked.await, head)
}

fn request(method: &str, path: &str, kind: &str, body: &Value) -> Request<Bytes> {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    Request::builder().method(method).uri(path).header("content-type", kind).body(body).unwrap()
}

#[track_caller]
fn check(answer: &Response<crate::Body>, code: u16) {
    assert_eq!(answer.status(), code);
}

#[tokio::test]
async fn reads() {
    for (path, code) in [
        (format!("{CONFIG_MAPS}/a"), 200),
        (format!("{CONFIG_MAPS}/c"), 404),
        (CONFIG_MAPS.to_owned(), 200),
        ("/api/v1/secrets".to_owned(), 200),
        ("/api/v1/componentstatuses".to_owned(), 200),
        (format!("{CONFIG_MAPS}?resourceVersion=1000000"), 504),
    ] {
        let (answer, head) = ask(|_| request("GET", &path, "", &Value::Null)).await;
        check(&answer, code);
        let body = read(answer).await.body;
        if path != format!("{CONFIG_MAPS}/a") && code == 200 {
            assert_eq!(
                body["metadata"]["resourceVersion"],
                head.to_string(),
                "{path}: a watch from there misses nothing"
            );
        }
    }
}

#[tokio::test]
async fn refusals() {
    let json_type = "application/json";
    let path = format!("{CONFIG_MAPS}/a");
    // Stale, and as nobody outside can know yet.
    let (answer, _) = ask(|a| request("PUT", &path, json_type, a)).await;
    check(&answer, 409);
    let (answer, _) = ask(|_| request("POST", CONFIG_MAPS, json_type, &config_map("b"))).await;
    check(&answer, 409);
    let stale = |a: &Value| json!({"preconditions": {"resourceVersion": a["metadata"]["resourceVersion"]}});
    let (answer, _) = ask(|a| request("DELETE", &path, json_type, &stale(a))).await;
    check(&answer, 409);
    let (answer, _) = ask(|_| request("DELETE", &format!("{CONFIG_MAPS}/c"), json_type, &Value::Null)).await;
    check(&answer, 404);
    let patch = json!({"metadata": {"uid": "other"}});
    let (answer, _) = ask(|_| request("PATCH", &path, "application/merge-patch+json", &patch)).await;
    check(&answer, 422);
}

#[tokio::test]
async fn writes_that_change_nothing() {
    let path = format!("{CONFIG_MAPS}/a");
    let patch = json!({"data": {"k": "v"}});
    let (answer, _) = ask(|_| request("PATCH", &path, "application/merge-patch+json", &patch)).await;
    check(&answer, 200);
    let (answer, _) =
        ask(|_| request("PATCH", &format!("{path}?dryRun=All"), "application/merge-patch+json", &patch)).await;
    check(&answer, 200);
    let (answer, _) = ask(|_| request("DELETE", &format!("{path}?dryRun=All"), "application/json", &Value::Null)).await;
    check(&answer, 200);
}

#[tokio::test]
async fn watches_that_begin_now() {
    let query = "watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let (answer, _) = ask(|_| request("GET", &format!("{CONFIG_MAPS}?{query}"), "", &Value::Null)).await;
    check(&answer, 200);
    let (answer, _) = ask(|_| request("GET", &format!("{CONFIG_MAPS}?watch=1"), "", &Value::Null)).await;
    check(&answer, 200);
}
