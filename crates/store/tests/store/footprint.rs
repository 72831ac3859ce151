//! What an object and an empty space cost in memory, measured in a process of its own.

use crate::kill::spawn_self;
use crate::*;
use std::io::Read;

const ASKED: &str = "STORE_TEST_FOOTPRINT";
const OBJECTS: usize = 50_000;
const VALUE: usize = 1_000;

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

async fn measure() -> (usize, usize) {
    // History is what superseded values cost, and has limits of its own: here it is one event.
    let limits = Limits { max_events: 1, ..Limits::default() };
    let store: TestStore = Store::open(store::memory(), limits).unwrap();
    put(&store, pod("ns", "first"), "x");
    let padding = "x".repeat(VALUE);
    let before = resident();
    for index in 0..OBJECTS {
        let committed = put(&store, pod("default", &format!("deployment-{index:06}")), &padding);
        if index % 64 == 0 {
            store.durable(committed.revision).await.unwrap();
        }
    }
    store.durable(store.head()).await.unwrap();
    while store.metrics().events > 1 {
        tokio::task::yield_now().await;
    }
    let per_object = (resident() - before) / OBJECTS;
    let before = resident();
    for index in 0..10_000 {
        // Looked at, listed and watched, but empty.
        let collection = Collection::new(format!("space{index}"), "pods");
        assert_eq!(store.page(&collection, None, None, 0, None).unwrap().entries.len(), 0);
        drop(store.watch(&collection, None, store.head(), store::Visibility::Durable).unwrap());
    }
    (per_object, resident().saturating_sub(before) / 10_000)
}

#[tokio::test]
async fn an_object_costs_little_more_than_its_bytes() {
    if std::env::var_os(ASKED).is_some() {
        let (object, space) = measure().await;
        println!("footprint {object} {space}");
        return;
    }
    let mut child = spawn_self("footprint::an_object_costs_little_more_than_its_bytes", ASKED, "1");
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(child.wait().unwrap().success(), "{output}");
    let (_, numbers) = output.split_once("footprint ").unwrap();
    let (object, space) = numbers.lines().next().unwrap().split_once(' ').unwrap();
    let (object, space): (usize, usize) = (object.parse().unwrap(), space.parse().unwrap());
    let overhead = object - VALUE;
    println!("an object of {VALUE} bytes costs {object} bytes: {overhead} beside its value; an empty space {space}");
    assert!(overhead < 500, "{overhead} bytes beside the value");
    assert!(space < 50, "{space} bytes for an empty space");
}
