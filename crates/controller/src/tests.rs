//! Writes, events and leases against the real server, in-process over the memory engine.

use crate::{Class, EventType, Recorder, Regarding, Shutdown, execute, execute_all, execute_for, lead};
use api::{Object, ObjectName, Op, Resource, SpaceName, Write};
use apiserver::identity::Identity;
use apiserver::{Config, Server};
use bytes::Bytes;
use client::{Body, BoxFuture, Client, ListParams, Reflector, Selection, Transport, TransportError};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use store::{Limits, Visibility};

const MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
static EVENTS: Resource = Resource::namespaced("events.k8s.io", "v1", "events", "Event");
static LEASES: Resource = Resource::namespaced("coordination.k8s.io", "v1", "leases", "Lease");

struct Line(Server, SpaceName);

impl Transport for Line {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, TransportError>> {
        let answer = self.0.handle(&self.1, Identity::system("test"), Visibility::Durable, request);
        Box::pin(async { Ok(answer.await) })
    }
}

fn space() -> Client {
    let server = Server::open(Config {
        engine: store::memory(),
        limits: Limits::with_clock(clock::system()),
        advertised: "https://127.0.0.1:9443".into(),
        serving_authority: String::new(),
        hosting: "host".into(),
    })
    .unwrap();
    let space = SpaceName::from("s1");
    server.create_space(&space).unwrap();
    Client::new(Arc::new(Line(server, space)), "").with_field_manager("tester")
}

fn name() -> ObjectName {
    ObjectName::namespaced("default", "a")
}

fn map(value: &str) -> Object {
    let mut object = Object::new("v1", "ConfigMap", &name());
    object.0.insert("data".into(), json!({"v": value}));
    object
}

#[tokio::test]
async fn ops_do_what_they_say() {
    let client = space();
    let value = async || {
        let held: Option<Object> = client.find(&MAPS, &name()).await.unwrap();
        held.and_then(|object| object.pointer("/data/v").cloned()).unwrap_or_default()
    };
    execute(&client, &Op::create(MAPS, map("1"))).await.unwrap();
    let again = execute(&client, &Op::create(MAPS, map("1"))).await.unwrap_err();
    assert_eq!(again.class(), Class::Conflict);
    assert_eq!(again.to_string(), "cannot create configmaps default/a: configmaps \"a\" already exists");
    execute(&client, &Op::update(MAPS, map("2"))).await.unwrap();
    assert_eq!(value().await, "2");
    execute(&client, &Op::merge_patch(MAPS, name(), json!({"data": {"v": "3"}}))).await.unwrap();
    assert_eq!(value().await, "3");
    let applied: Option<Object> = execute_for(&client, &Op::apply(MAPS, map("4"))).await.unwrap();
    assert_eq!(applied.unwrap().pointer("/data/v"), Some(&json!("4")));
    let patch = json!([{"op": "remove", "path": "/data/v"}]);
    execute_all(&client, &[Op::new(MAPS, name(), Write::JsonPatch(patch)), Op::delete(MAPS, name())]).await.unwrap();
    assert!(client.find::<Object>(&MAPS, &name()).await.unwrap().is_none());
    // Gone is gone: asking again is no failure, nor is asking for an incarnation that is no more.
    execute(&client, &Op::delete(MAPS, name())).await.unwrap();
    execute(&client, &Op::delete_only(MAPS, name(), "other")).await.unwrap();
    let invalid = Op::merge_patch(MAPS, name(), json!({"metadata": {"labels": {"a b": "c"}}}));
    execute(&client, &Op::create(MAPS, map("1"))).await.unwrap();
    assert_eq!(execute(&client, &invalid).await.unwrap_err().class(), Class::Invalid);
}

#[tokio::test]
async fn repeated_events_become_a_series() {
    let client = space();
    let recorder = Recorder::start(client.clone(), clock::system(), "kubestellar-test", "p1");
    let regarding = Regarding::named(&MAPS, &name(), "u1");
    for _ in 0..5 {
        recorder.event(regarding.clone(), EventType::Warning, "Failed", "Apply", "no room");
    }
    recorder.event(regarding, EventType::Normal, "Done", "Apply", "there was room");
    let events = Reflector::<Object>::start(client, EVENTS.clone(), Selection::namespace("default"));
    let mut changes = events.subscribe();
    let mut reasons = Vec::new();
    while !reasons.contains(&"Done".to_owned()) {
        let event = changes.next().await.after.unwrap();
        reasons.push(event.pointer("/reason").and_then(|reason| reason.as_str()).unwrap().to_owned());
    }
    let failed: Vec<_> =
        events.all().into_iter().filter(|event| event.pointer("/reason").unwrap() == "Failed").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].pointer("/series/count"), Some(&json!(4)), "told at 1, 2 and 4");
    assert_eq!(failed[0].pointer("/regarding/uid"), Some(&json!("u1")));
}

#[tokio::test]
async fn one_of_many_leads() {
    let client = space();
    let lease = ObjectName::namespaced("default", "controller");
    let shutdown = Shutdown::new();
    let candidate = |identity: &'static str| {
        let (client, lease, shutdown) = (client.clone(), lease.clone(), shutdown.clone());
        async move { lead(client, clock::system(), lease, identity, &shutdown).await }
    };
    let first = candidate("one").await.unwrap();
    assert!(!first.lost().is_cancelled());
    let second = tokio::spawn(candidate("two"));
    let leases = Reflector::<Object>::start(client.clone(), LEASES.clone(), Selection::namespace("default"));
    let mut changes = leases.subscribe();
    let holder = |object: Option<Arc<Object>>| {
        object?.pointer("/spec/holderIdentity").and_then(|holder| holder.as_str()).map(str::to_owned)
    };
    assert_eq!(holder(changes.next().await.after).as_deref(), Some("one"));
    // The first renews while it leads; what it releases, the second takes without waiting for it to run out.
    assert_eq!(holder(changes.next().await.after).as_deref(), Some("one"));
    first.release().await;
    let second = tokio::time::timeout(Duration::from_secs(10), second).await.unwrap().unwrap().unwrap();
    let list = client.list::<Object>(&LEASES, "default", &ListParams::default()).await.unwrap();
    assert_eq!(list.items[0].pointer("/spec/holderIdentity"), Some(&json!("two")));
    assert_eq!(list.items[0].pointer("/spec/leaseTransitions"), Some(&json!(1)));
    // Somebody else takes it by force: the lead is lost.
    client.edit(&LEASES, &lease, |object| object.0["spec"]["holderIdentity"] = "three".into()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), second.lost().cancelled()).await.unwrap();
    shutdown.cancel();
    assert!(candidate("four").await.is_none(), "told to stop");
}
