use crate::pipeline::*;
use crate::world::*;
use api::work::MANIFEST_WORKS;
use clock::Stopwatch;
use planner::transport::Limits;
use serde_json::json;
use client::{Reflector, Selection};
use planner::transport::HeldWork;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measure() {
    let p = Pipeline::start(Limits::default()).await;
    let n: usize = std::env::var("N").unwrap_or("100".into()).parse().unwrap();
    let c: usize = std::env::var("C").unwrap_or("2".into()).parse().unwrap();
    for i in 2..c { join(&p.its, &format!("edge{}", i + 1), &json!({"location-group": "edge"})).await; }
    apply(&p.wds, &policy("web", "")).await;
    let held: Reflector<HeldWork> = Reflector::start(p.its.clone(), MANIFEST_WORKS, Selection::all());
    held.synced().await;
    let mut changes = held.subscribe();
    // one object, repeatedly
    let mut times = vec![];
    for i in 0..30 {
        let w = Stopwatch::start();
        let cm: serde_json::Value = json!({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":format!("one{i}"),"namespace":"default","labels":{"app":"web"}},"data":{"v":"1"}});
        let _: api::PartialObject = p.wds.create(&api::Resource::namespaced("","v1","configmaps","ConfigMap"), "default", &cm).await.unwrap();
        while held.len() < (i + 1) * c { changes.next().await; }
        times.push(w.elapsed());
    }
    times.sort();
    println!("one to {c}: p50 {:?} p90 {:?}", times[15], times[27]);
    let w = Stopwatch::start();
    for i in 0..n {
        let cm: serde_json::Value = json!({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":format!("m{i}"),"namespace":"default","labels":{"app":"web"}},"data":{"v":"1"}});
        let _: api::PartialObject = p.wds.create(&api::Resource::namespaced("","v1","configmaps","ConfigMap"), "default", &cm).await.unwrap();
    }
    println!("applied {n}: {:?}", w.elapsed());
    while held.len() < (n + 30) * c { changes.next().await; }
    println!("{n} to {c}: {:?}", w.elapsed());
    p.condition("web", "Synced", "True").await;
    println!("synced: {:?}", w.elapsed());
    let b: api::Object = p.wds.get(&api::control::BINDINGS, &api::ObjectName::cluster("web")).await.unwrap();
    println!("binding generation {}", b.generation());
    let mut times = vec![];
    while changes.try_next().is_some() {}
    for i in 0..20 {
        let w = Stopwatch::start();
        let _: api::PartialObject = p.wds.patch(&api::Resource::namespaced("","v1","configmaps","ConfigMap"), &api::ObjectName::namespaced("default", format!("m{i}")), &client::Patch::Merge(json!({"data":{"v":"2"}}))).await.unwrap();
        let mut seen = 0;
        while seen < c { let ch = changes.next().await; if ch.after.is_some() { seen += 1; } }
        times.push(w.elapsed());
    }
    times.sort();
    println!("edit of one in {n} to {c}: p50 {:?} p90 {:?}", times[10], times[17]);
}
