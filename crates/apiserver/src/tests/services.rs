//! Addresses and ports of Services: who has which, whoever writes, and after a restart.

use super::*;
use futures_util::FutureExt;
use std::collections::BTreeSet;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";

fn service(name: &str, mut spec: Value) -> Value {
    if spec.get("ports").is_none() {
        spec["ports"] = json!([{"port": 80}]);
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

fn open(dir: &std::path::Path) -> World {
    let clock: SharedClock = Manual::at(Timestamp::from_seconds(1_795_382_640));
    World::over(store::open_disk(dir, clock).unwrap())
}

/// Names of the IPAddresses that there are, but for that of the API.
async fn addresses(world: &World) -> BTreeSet<String> {
    let items = world.get(ADDRESSES).await.is(200)["items"].as_array().cloned().unwrap_or_default();
    let names = items.iter().map(|item| item["metadata"]["name"].as_str().unwrap_or("").to_owned());
    names.filter(|name| name != "10.96.0.1").collect()
}

#[tokio::test]
async fn many_writers_get_an_address_and_a_port_each() {
    let world = World::new();
    let made = (0..40).map(|index| {
        let spec = if index % 4 == 0 { json!({"clusterIP": "10.96.0.9"}) } else { json!({"type": "NodePort"}) };
        world.post(SERVICES, service(&format!("s{index}"), spec)).then(move |answer| async move { (index, answer) })
    });
    let (mut ips, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for (index, answer) in futures_util::future::join_all(made).await {
        if index % 4 == 0 && answer.code != 201 {
            answer.fails(422, "Invalid", "provided IP is already allocated");
            continue;
        }
        let body = answer.is(201);
        assert!(ips.insert(body["spec"]["clusterIP"].as_str().unwrap().to_owned()), "{body}");
        if index % 4 != 0 {
            assert!(ports.insert(body["spec"]["ports"][0]["nodePort"].as_i64().unwrap()), "{body}");
        }
    }
    assert_eq!((ips.len(), ports.len()), (31, 30), "one of those that wanted the same got it");
    assert_eq!(addresses(&world).await, ips);
    world.delete(SERVICES).await.is(200);
    assert_eq!(addresses(&world).await, BTreeSet::new());
}

#[tokio::test]
async fn what_is_held_is_what_a_scan_finds() {
    let world = World::new();
    let space = world.server.space(&world.space).unwrap();
    let mut seed = 0x9e37_79b9_u64;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut codes = BTreeSet::new();
    for step in 0..400 {
        let name = format!("s{}", draw(12));
        let spec = match draw(6) {
            0 => json!({"clusterIP": "None"}),
            1 => json!({"clusterIP": format!("10.96.0.{}", 1 + draw(6))}),
            2 => json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30_000 + draw(6)}]}),
            3 => json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}),
            4 => json!({"type": "ExternalName", "externalName": "example.com"}),
            _ => json!({}),
        };
        let path = format!("{SERVICES}/{name}");
        let answer = match draw(4) {
            0 => world.delete(&path).await,
            1 => world.patch(&path, "merge-patch+json", json!({"spec": spec})).await,
            2 => world.post(&format!("{SERVICES}?dryRun=All"), service(&name, spec)).await,
            _ => world.post(SERVICES, service(&name, spec)).await,
        };
        codes.insert(answer.code.as_u16());
        assert!(space.allocations.is_as_stored(world.server.now()), "step {step}");
    }
    assert!(codes.is_superset(&[200, 201, 404, 409, 422].into()), "{codes:?}: all kinds of outcomes");
}

#[tokio::test]
async fn what_was_not_written_is_free_again() {
    let world = World::new();
    let wanted = json!({"clusterIP": "10.96.0.9", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30009}]});
    let mut refused = service("a", wanted.clone());
    refused["spec"]["selector"] = json!({"-": "x"});
    world.post(SERVICES, refused).await.fails(422, "Invalid", "spec.selector");
    world.post(&format!("{SERVICES}?dryRun=All"), service("a", wanted.clone())).await.is(201);
    assert_eq!(addresses(&world).await, BTreeSet::new());
    world.post(SERVICES, service("a", wanted.clone())).await.is(201);
    world.post(SERVICES, service("b", wanted.clone())).await.fails(422, "Invalid", "provided IP is already allocated");
    // A finalizer holds what the Service has.
    let path = format!("{SERVICES}/a");
    let hold = |list: Value| json!({"metadata": {"finalizers": list}});
    world.patch(&path, "merge-patch+json", hold(json!(["example.com/x"]))).await.is(200);
    world.delete(&path).await.is(200);
    world.post(SERVICES, service("b", wanted.clone())).await.fails(422, "Invalid", "provided IP is already allocated");
    world.patch(&path, "merge-patch+json", hold(Value::Null)).await.is(200);
    world.post(SERVICES, service("b", wanted)).await.is(201);
    // Who leaves gives back.
    let outside = json!({"spec": {"type": "ExternalName", "externalName": "example.com"}});
    world.patch(&format!("{SERVICES}/b"), "merge-patch+json", outside).await.is(200);
    assert_eq!(addresses(&world).await, BTreeSet::new());
}

#[tokio::test]
async fn a_restart_knows_who_has_what_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    let wanted = json!({"clusterIP": "10.96.0.9", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30009}]});
    world.post(SERVICES, service("a", wanted.clone())).await.is(201);
    let seen = [SERVICES, ADDRESSES, "/api/v1/endpoints", "/apis/networking.k8s.io/v1/servicecidrs"];
    for path in seen {
        world.get(path).await.is(200);
    }
    let head = world.server.store().head();
    world.server.close().await;
    drop(world);

    let world = open(dir.path());
    for path in seen {
        world.get(path).await.is(200);
    }
    world.post(SERVICES, service("b", wanted)).await.fails(422, "Invalid", "provided IP is already allocated");
    let taken = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30009}]});
    world.post(SERVICES, service("b", taken)).await.fails(422, "Invalid", "provided port is already allocated");
    assert_eq!(world.server.store().head(), head);
    // What a crash left behind.
    let lost = world.server.space(&world.space).unwrap().key(&"ipaddresses.networking.k8s.io".into(), "", "10.96.0.9");
    let held = world.server.store().get(&lost).unwrap();
    let write = store::Write::Delete(crate::encode::restamped(&held));
    world.server.store().commit(lost, store::Expect::Any, write).unwrap();
    world.server.close().await;
    drop((world, held));
    let world = open(dir.path());
    world.post(SERVICES, service("c", json!({"clusterIP": "10.96.0.10"}))).await.is(201);
    assert_eq!(addresses(&world).await, ["10.96.0.9", "10.96.0.10"].map(String::from).into());
}

#[tokio::test]
async fn more_ranges_give_more_addresses() {
    let world = World::new();
    let range = "/apis/networking.k8s.io/v1/servicecidrs";
    let held = world.get(&format!("{range}/kubernetes")).await.is(200);
    assert_eq!(held["spec"]["cidrs"], json!(["10.96.0.0/16"]));
    assert_eq!(held["status"]["conditions"][0]["status"], "True");
    let wanted = json!({"clusterIP": "192.0.2.9"});
    let outside = "the provided network does not match the current range";
    world.post(SERVICES, service("a", wanted.clone())).await.fails(422, "Invalid", outside);
    world.post(range, json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["192.0.2.0/24"]}})).await.is(201);
    world.post(SERVICES, service("a", wanted.clone())).await.is(201);
    world.delete(&format!("{range}/more")).await.is(200);
    world.post(SERVICES, service("b", json!({"clusterIP": "192.0.2.10"}))).await.fails(422, "Invalid", outside);
}

#[tokio::test]
async fn the_api_has_endpoints() {
    let world = World::new();
    let endpoints = world.get("/api/v1/namespaces/default/endpoints/kubernetes").await.is(200);
    let port = json!({"name": "https", "port": 9443, "protocol": "TCP"});
    assert_eq!(endpoints["subsets"], json!([{"addresses": [{"ip": "127.0.0.1"}], "ports": [port]}]));
    let slice = world.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").await.is(200);
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["127.0.0.1"]));
    let parent = world.get(&format!("{ADDRESSES}/10.96.0.1")).await.is(200);
    assert_eq!(parent["spec"]["parentRef"]["name"], "kubernetes");
    world.post(SERVICES, service("a", json!({"clusterIP": "10.96.0.1"}))).await.fails(422, "Invalid", "already");
}
