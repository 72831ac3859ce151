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

/// Acknowledges nothing while its gate is held.
pub(super) struct Gated(pub(super) Arc<parking_lot::Mutex<()>>);

impl store::Engine for Gated {
    fn load(&mut self, _: &mut dyn FnMut(store::Record)) -> Result<(), store::EngineError> {
        Ok(())
    }

    fn append(&mut self, _: &[store::Record]) -> Result<(), store::EngineError> {
        drop(self.0.lock());
        Ok(())
    }

    fn remove(&mut self, _: &[store::Revision]) -> Result<(), store::EngineError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_deletion_that_the_store_refuses_has_not_begun() {
    let gate = Arc::new(parking_lot::Mutex::new(()));
    let clock: SharedClock = Manual::at(Timestamp::from_seconds(1_795_382_640));
    let server = Server::open(Config {
        engine: Box::new(Gated(Arc::clone(&gate))),
        limits: Limits { pending_bytes: 64 << 10, ..Limits::with_clock(clock) },
        advertised: String::new(),
        serving_authority: String::new(),
        hosting: "host".into(),
    })
    .unwrap();
    let space = SpaceName::from("s1");
    server.create_space(&space).unwrap();
    let store = server.store();
    store.durable(store.head()).await.unwrap();
    let held = gate.lock();
    let collection = store::Collection::new("s1", "configmaps");
    for name in 0.. {
        let key = store::Key::new(collection.clone(), "default", name.to_string());
        let value = store::Stamped::new(vec![b' '; 16 << 10], "");
        if store.commit(key, store::Expect::Any, store::Write::Put(value)).is_err() {
            break;
        }
    }
    assert!(server.delete_space(&space).is_err());
    assert!(server.has_space(&space) && store.count(&collection) > 0);
    drop(held);
    store.durable(store.head()).await.unwrap();
    server.delete_space(&space).unwrap();
    assert!(!server.has_space(&space) && store.spaces().is_empty());
}

#[tokio::test]
async fn what_is_left_of_a_space_without_a_record_goes_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    let key = store::Key::new(store::Collection::new("/internal", "spaces"), "", "s1");
    let gone = store::Write::Delete(store::Stamped::new("{}", ""));
    world.server.store().commit(key, store::Expect::Any, gone).unwrap();
    world.server.close().await;
    drop(world);

    let clock: SharedClock = Manual::at(Timestamp::from_seconds(1_795_382_640));
    let server = Server::open(Config {
        engine: store::open_disk(dir.path(), Arc::clone(&clock)).unwrap(),
        limits: Limits::with_clock(clock),
        advertised: String::new(),
        serving_authority: String::new(),
        hosting: "host".into(),
    })
    .unwrap();
    assert!(!server.has_space(&"s1".into()) && server.store().spaces().is_empty());
}

/// A server with space `s1`, at an address.
fn at_address(dir: &std::path::Path, advertised: &str) -> Server {
    let clock: SharedClock = Manual::at(Timestamp::from_seconds(1_795_382_640));
    let server = Server::open(Config {
        engine: store::open_disk(dir, clock.clone()).unwrap(),
        limits: Limits::with_clock(clock),
        advertised: advertised.into(),
        serving_authority: String::new(),
        hosting: "host".into(),
    })
    .unwrap();
    server.create_space(&"s1".into()).unwrap();
    server
}

/// A token for the space that a service account of it gets, as the claims that the server signs have it.
fn token(server: &Server, issuer: &str, audience: &str) -> String {
    let space = server.space(&"s1".into()).unwrap();
    let key = space.key(&"namespaces".into(), "", "default");
    assert!(server.store().get(&key).is_some());
    let uid = "8e9bd8b4-3c07-4c3a-9f0b-0d2f5a3c2f11";
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "robot", "namespace": "default", "uid": uid}});
    let key = space.key(&"serviceaccounts".into(), "default", "robot");
    let written = crate::encode::stamped(account.as_object().unwrap());
    server.store().commit(key, store::Expect::Any, store::Write::Put(written)).unwrap();
    let account = crate::tokens::Account { namespace: "default", name: "robot", uid };
    crate::tokens::issue(&space.tokens, issuer, &[audience.to_owned()], &account, &[], (server.now(), None)).unwrap()
}

#[tokio::test]
async fn tokens_stay_good_when_the_server_moves() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = ("https://127.0.0.1:9443/spaces/s1", "https://127.0.0.1:9444/spaces/s1");
    let space = SpaceName::from("s1");
    let server = at_address(dir.path(), "https://127.0.0.1:9443");
    let given = token(&server, old, old);
    // Of a data folder from before the issuer was kept: its record has none.
    let key = store::Key::new(store::Collection::new("/internal", "spaces"), "", "s1");
    let held = server.store().get(&key).unwrap();
    let mut record: Value = serde_json::from_slice(&held.value).unwrap();
    assert_eq!(record.as_object_mut().unwrap().remove("issuer"), Some(json!(old)));
    let older = crate::encode::stamped(record.as_object().unwrap());
    server.store().commit(key, store::Expect::Any, store::Write::Put(older)).unwrap();
    server.close().await;
    drop(server);

    let server = at_address(dir.path(), "https://127.0.0.1:9444");
    assert!(server.identity_of_token(&space, &given).await.is_some(), "given out at the old address");
    let given = token(&server, new, new);
    assert_eq!(server.identity_of_token(&space, &token(&server, old, "others")).await, None);
    server.close().await;
    drop(server);

    let server = at_address(dir.path(), "https://127.0.0.1:9445");
    assert_eq!(server.space(&space).unwrap().issuer, new, "kept, once it is known");
    assert!(server.identity_of_token(&space, &given).await.is_some());
    assert_eq!(server.url(&space), "https://127.0.0.1:9445/spaces/s1");
    server.close().await;
}
