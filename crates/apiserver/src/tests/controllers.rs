//! What API machinery does by itself, with its task running.

use super::*;
use store::{Collection, Key};
use tokio_util::sync::{CancellationToken, DropGuard};

const EVENTS: &str = "/api/v1/namespaces/default/events";

/// Runs the controllers until the guard is dropped.
pub(super) fn controllers(server: &Server) -> DropGuard {
    let end = CancellationToken::new();
    let (running, ended) = (server.clone(), end.clone());
    tokio::spawn(async move { running.run_controllers(ended).await });
    end.drop_guard()
}

fn event(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "involvedObject": {"namespace": "default"},
        "reason": "Tested", "source": {"component": "test"}, "type": "Normal"})
}

fn hours(hours: u64) -> std::time::Duration {
    std::time::Duration::from_secs(hours * 3600)
}

#[tokio::test]
async fn a_busy_space_delays_no_other() {
    let mut world = World::new();
    let owner = world.config_map("owner").await;
    let uid = owner["metadata"]["uid"].clone();
    let owners = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}]);
    for index in 0..500 {
        let mut dependent = config_map(&format!("d{index}"));
        dependent["metadata"]["ownerReferences"] = owners.clone();
        world.post(CONFIG_MAPS, dependent).await.is(201);
    }
    world.delete(&format!("{CONFIG_MAPS}/owner")).await.is(200);
    let busy = Collection::new("s1", "configmaps");
    world.space = SpaceName::from("s2");
    world.server.create_space(&world.space).unwrap();
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let mut seen = world.watch(&format!("{accounts}?watch=1")).await;
    let _running = controllers(&world.server);
    assert_eq!(seen.line().await, "ADDED default");
    let left = world.server.store().count(&busy);
    assert!(left > 100, "the other space was served meanwhile, and not after: {left}");
    // And the busy one is done in the end: of its own nothing is left but what every namespace has.
    let mut follow = world.server.store().follow(world.server.store().oldest(), Visibility::Appended).unwrap();
    while world.server.store().count(&busy) > 4 {
        follow.next().await.unwrap();
    }
}

#[tokio::test]
async fn a_large_namespace_is_emptied_in_pieces() {
    let world = World::new();
    let _running = controllers(&world.server);
    let mut namespaces = world.watch("/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3Dbig").await;
    world.post("/api/v1/namespaces", json!({"metadata": {"name": "big"}})).await.is(201);
    for index in 0..450 {
        let mut map = config_map(&format!("m{index}"));
        if index == 7 {
            map["metadata"]["finalizers"] = json!(["example.com/hold"]);
        }
        world.post("/api/v1/namespaces/big/configmaps", map).await.is(201);
    }
    assert_eq!(namespaces.line().await, "ADDED big");
    world.delete("/api/v1/namespaces/big").await.is(200);
    loop {
        let event = namespaces.next().await.unwrap();
        let conditions = event["object"]["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let remaining = conditions.iter().find(|held| held["type"] == "NamespaceFinalizersRemaining");
        if remaining.is_some_and(|held| held["status"] == "True") {
            break;
        }
    }
    let path = "/api/v1/namespaces/big/configmaps/m7";
    world.patch(path, "merge-patch+json", json!({"metadata": {"finalizers": null}})).await.is(200);
    while namespaces.line().await != "DELETED big" {}
    assert_eq!(world.server.store().count(&Collection::new("s1", "configmaps")), 4);
}

#[tokio::test]
async fn owners_in_a_circle_and_owners_that_wait() {
    let world = World::new();
    let _running = controllers(&world.server);
    let mut maps = world.watch(&format!("{CONFIG_MAPS}?watch=1&labelSelector=of%3Dtest")).await;
    let make = |name: &str, owner: Option<(&str, &Value)>| {
        let mut map = config_map(name);
        map["metadata"]["labels"] = json!({"of": "test"});
        if let Some((owner, uid)) = owner {
            map["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": owner,
                "uid": uid, "blockOwnerDeletion": true}]);
        }
        map
    };
    let a = world.post(CONFIG_MAPS, make("a", None)).await.is(201)["metadata"]["uid"].clone();
    let b = world.post(CONFIG_MAPS, make("b", Some(("a", &a)))).await.is(201)["metadata"]["uid"].clone();
    let patch = make("a", Some(("b", &b)))["metadata"]["ownerReferences"].clone();
    let patch = json!({"metadata": {"ownerReferences": patch}});
    world.patch(&format!("{CONFIG_MAPS}/a"), "merge-patch+json", patch).await.is(200);
    world.delete(&format!("{CONFIG_MAPS}/a?propagationPolicy=Foreground")).await.is(200);
    let mut gone = Vec::new();
    while gone.len() < 2 {
        let line = maps.line().await;
        gone.extend(line.strip_prefix("DELETED ").map(str::to_owned));
    }
    gone.sort();
    assert_eq!(gone, ["a", "b"]);
}

#[tokio::test]
async fn events_are_forgotten_an_hour_after_their_last_write() {
    let world = World::new();
    let mut events = world.watch(&format!("{EVENTS}?watch=1")).await;
    let _running = controllers(&world.server);
    world.post(EVENTS, event("old")).await.is(201);
    world.post(EVENTS, event("renewed")).await.is(201);
    assert_eq!((events.line().await, events.line().await), ("ADDED old".into(), "ADDED renewed".into()));
    // The task has seen both when it has furnished a namespace that came later.
    let mut accounts = world.watch("/api/v1/serviceaccounts?watch=1&fieldSelector=metadata.namespace%3Dlater").await;
    world.post("/api/v1/namespaces", json!({"metadata": {"name": "later"}})).await.is(201);
    assert_eq!(accounts.line().await, "ADDED default");
    world.clock.advance(hours(1) / 2);
    world.patch(&format!("{EVENTS}/renewed"), "merge-patch+json", json!({"count": 2})).await.is(200);
    assert_eq!(events.line().await, "MODIFIED renewed");
    world.clock.advance(hours(1) / 2);
    // By the manual clock no time passes for who sleeps: something happens instead.
    world.post("/apis/events.k8s.io/v1/namespaces/default/events", json!({"metadata": {"name": "new"},
        "eventTime": world.clock_text(), "reportingController": "example.com/test", "reportingInstance": "t", "action": "Test",
        "reason": "Tested", "type": "Normal", "regarding": {"namespace": "default"}})).await.is(201);
    assert_eq!((events.line().await, events.line().await), ("ADDED new".into(), "DELETED old".into()));
    assert_eq!(world.get(&format!("{EVENTS}/renewed")).await.code, 200);
}

#[tokio::test]
async fn events_end_in_time_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || World::over(store::open_disk(dir.path(), clock::system()).unwrap());
    let world = open();
    world.post(EVENTS, event("old")).await.is(201);
    world.clock.advance(hours(1) / 2);
    world.post(EVENTS, event("young")).await.is(201);
    world.server.close().await;
    drop(world);

    let world = open();
    world.clock.advance(hours(1) + hours(1) / 4);
    let mut events = world.watch(&format!("{EVENTS}?watch=1")).await;
    assert_eq!((events.line().await, events.line().await), ("ADDED old".into(), "ADDED young".into()));
    let _running = controllers(&world.server);
    assert_eq!(events.line().await, "DELETED old");
    let key = Key::new(Collection::new("s1", "events"), "default", "young");
    assert!(world.server.store().get(&key).is_some());
}

#[tokio::test]
async fn what_failed_is_done_when_it_can_be() {
    let gate = Arc::new(parking_lot::Mutex::new(()));
    let clock: SharedClock = Manual::at(Timestamp::from_seconds(1_795_382_640));
    let server = Server::open(Config {
        engine: Box::new(super::restarts::Gated(Arc::clone(&gate))),
        limits: Limits { pending_bytes: 64 << 10, ..Limits::with_clock(clock) },
        advertised: String::new(),
        serving_authority: String::new(),
        hosting: "host".into(),
    })
    .unwrap();
    server.create_space(&"s1".into()).unwrap();
    let store = server.store().clone();
    store.durable(store.head()).await.unwrap();
    // A disk that does not answer, held by a thread so that this task may go on.
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (hold, held) = std::sync::mpsc::channel();
    let disk = std::thread::spawn(move || {
        let guard = gate.lock();
        hold.send(()).unwrap();
        released.recv().unwrap_or_default();
        drop(guard);
    });
    held.recv().unwrap();
    let fill = |name: usize| {
        let key = Key::new(Collection::new("s1", "fillers"), "", name.to_string());
        let value = store::Stamped::new(vec![b' '; 16 << 10], "");
        store.commit(key, store::Expect::Any, store::Write::Put(value)).is_ok()
    };
    // The first is what the disk does not answer to; what comes then waits, until no more may.
    assert!(fill(0));
    while store.metrics().pending > 0 {
        tokio::task::yield_now().await;
    }
    (1..).find(|name| !fill(*name)).unwrap();
    let mut follow = store.follow(store.head(), Visibility::Appended).unwrap();
    let _running = controllers(&server);
    // Of each of the four namespaces: there is no ConfigMap yet, and none can be written.
    let failures = || -> u64 {
        let text = server.0.metrics.render(&store);
        let line = text.lines().find_map(|line| line.strip_prefix("apiserver_request_total{code=\"4xx\"} "));
        line.unwrap().parse().unwrap()
    };
    while failures() < 8 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.count(&Collection::new("s1", "configmaps")), 0);
    release.send(()).unwrap();
    disk.join().unwrap();
    let accounts = Collection::new("s1", "serviceaccounts");
    while store.count(&accounts) < 4 {
        follow.next().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_furnished_at_once_however_it_is_scheduled() {
    let world = World::new();
    let _running = controllers(&world.server);
    let mut accounts = world.watch("/api/v1/serviceaccounts?watch=1").await;
    for _ in 0..4 {
        assert_eq!(accounts.line().await, "ADDED default");
    }
    for index in 0..300 {
        let body = json!({"metadata": {"name": format!("n{index}")}});
        world.post("/api/v1/namespaces", body).await.is(201);
        let next = tokio::time::timeout(std::time::Duration::from_secs(20), accounts.line()).await;
        assert_eq!(next.expect("in time"), "ADDED default", "{index}");
    }
}
