//! Reflectors against the real server, on a line that breaks.

use super::{CONFIG_MAPS, World, config_map, named};
use crate::{Changes, Reflector, Selection};
use api::{Object, PartialObject};
use serde::Deserialize;
use std::time::Duration;
use store::Limits;

fn tested() -> Selection {
    Selection::all().with_labels("test=yes")
}

fn shown(object: Option<&Object>) -> String {
    let value = object.map(|object| object.pointer("/data/v").and_then(|v| v.as_str()).unwrap_or("?").to_owned());
    value.unwrap_or_else(|| "-".into())
}

/// The next change as `name before>after`.
async fn next(changes: &mut Changes<Object>) -> String {
    let change = tokio::time::timeout(Duration::from_secs(20), changes.next()).await.expect("a change within 20 s");
    format!("{} {}>{}", change.name.name, shown(change.before.as_deref()), shown(change.after.as_deref()))
}

#[tokio::test]
async fn a_store_follows_its_resource() {
    let world = World::new();
    world.put("a", "1").await;
    let reflector = Reflector::<Object>::start(world.client(), CONFIG_MAPS.clone(), tested());
    let mut changes = reflector.subscribe();
    reflector.synced().await;
    assert_eq!(next(&mut changes).await, "a ->1");
    world.put("b", "1").await;
    assert_eq!(next(&mut changes).await, "b ->1");
    world.put("a", "2").await;
    assert_eq!(next(&mut changes).await, "a 1>2");
    assert_eq!(shown(reflector.get(&named("a")).as_deref()), "2");
    world.delete("b").await;
    assert_eq!(next(&mut changes).await, "b 1>-");
    assert_eq!((reflector.len(), reflector.names()), (1, vec![named("a")]));
    // An object that stops matching is gone as far as this store goes.
    world.client().edit(&CONFIG_MAPS, &named("a"), |object| object.set_label("test", "no")).await.unwrap();
    assert_eq!(next(&mut changes).await, "a 2>-");
    assert!(reflector.is_empty() && reflector.error().is_none());
    // A later subscriber begins with what is there.
    world.put("c", "1").await;
    assert_eq!(next(&mut changes).await, "c ->1");
    assert_eq!(next(&mut reflector.subscribe()).await, "c ->1");
}

#[tokio::test]
async fn metadata_alone_can_be_watched() {
    let world = World::new();
    world.put("a", "1").await;
    let selection = Selection { labels: "test".into(), ..Selection::metadata() };
    let reflector = Reflector::<PartialObject>::start(world.client(), CONFIG_MAPS.clone(), selection);
    let mut changes = reflector.subscribe();
    let first = changes.next().await.after.unwrap();
    assert_eq!((first.kind.as_str(), first.metadata.labels["value"].as_str()), ("PartialObjectMetadata", "1"));
    world.put("a", "2").await;
    assert_eq!(changes.next().await.after.unwrap().metadata.labels["value"], "2");
}

#[tokio::test]
async fn a_broken_watch_goes_on_where_it_was() {
    let world = World::new();
    world.put("a", "1").await;
    world.put("b", "1").await;
    let reflector = Reflector::<Object>::start(world.client(), CONFIG_MAPS.clone(), tested());
    let mut changes = reflector.subscribe();
    reflector.synced().await;
    assert_eq!([next(&mut changes).await, next(&mut changes).await].len(), 2);
    for round in 2..6 {
        // Down, while others write.
        world.line.down();
        let value = round.to_string();
        let writer = World { line: unbroken(&world), ..world_parts(&world) };
        writer.put("a", &value).await;
        assert_eq!(reflector.len(), 2, "what was known stays while the server is away");
        world.line.up();
        assert_eq!(next(&mut changes).await, format!("a {}>{value}", round - 1));
    }
    assert!(changes.try_next().is_none());
    assert_eq!(world.line.count("sendInitialEvents"), 1, "a resumed watch reads nothing twice");
    assert!(reflector.error().is_none(), "{:?}", reflector.error());
}

/// Another line to the same server.
fn unbroken(world: &World) -> std::sync::Arc<super::Line> {
    std::sync::Arc::new(super::Line {
        server: world.server.clone(),
        space: world.space.clone(),
        state: parking_lot::Mutex::default(),
    })
}

fn world_parts(world: &World) -> World {
    World {
        server: world.server.clone(),
        space: world.space.clone(),
        line: world.line.clone(),
        _controllers: tokio_util::sync::CancellationToken::new().drop_guard(),
    }
}

async fn forgotten_history(no_watch_list: bool) {
    let limits = Limits {
        keep_age: Duration::ZERO,
        keep_events: 1,
        keep_bytes: 1,
        max_events: 8,
        ..Limits::with_clock(clock::system())
    };
    let world = World::with_limits(limits);
    world.line.state.lock().no_watch_list = no_watch_list;
    for name in ["a", "b", "c"] {
        world.put(name, "1").await;
    }
    let reflector = Reflector::<Object>::start(world.client(), CONFIG_MAPS.clone(), tested());
    let mut changes = reflector.subscribe();
    reflector.synced().await;
    for _ in 0..3 {
        next(&mut changes).await;
    }
    // The space is young: with so short a history, what its controllers write may have the first list read twice.
    let everything = if no_watch_list { "limit=500" } else { "sendInitialEvents" };
    let lists = world.line.count(everything);
    world.line.down();
    let writer = World { line: unbroken(&world), ..world_parts(&world) };
    writer.put("a", "2").await;
    writer.delete("b").await;
    writer.put("d", "1").await;
    for index in 0..40 {
        writer.put("noise", &index.to_string()).await;
    }
    writer.delete("noise").await;
    world.server.store().compact(1);
    world.line.up();
    let mut seen = [next(&mut changes).await, next(&mut changes).await, next(&mut changes).await];
    seen.sort();
    assert_eq!(seen, ["a 1>2", "b 1>-", "d ->1"], "only what really changed, and c did not");
    assert!(changes.try_next().is_none());
    assert_eq!(world.line.count(everything), lists + 1);
}

#[tokio::test]
async fn forgotten_history_is_read_again_by_watch_list() {
    forgotten_history(false).await;
}

#[tokio::test]
async fn forgotten_history_is_read_again_by_list() {
    forgotten_history(true).await;
}

/// Reads only ConfigMaps whose value is a number.
#[derive(Deserialize)]
struct Number {
    data: NumberData,
}

#[derive(Deserialize)]
struct NumberData {
    #[serde(deserialize_with = "number")]
    v: u32,
}

fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

#[tokio::test]
async fn an_unreadable_object_stops_nothing() {
    let world = World::new();
    world.put("bad", "x").await;
    world.put("good", "1").await;
    let reflector = Reflector::<Number>::start(world.client(), CONFIG_MAPS.clone(), tested());
    let mut changes = reflector.subscribe();
    reflector.synced().await;
    let mut value = async || changes.next().await.after.map(|object| object.data.v);
    assert_eq!(value().await, Some(1));
    world.put("good", "broken").await;
    world.put("bad", "7").await;
    assert_eq!(value().await, Some(7));
    assert_eq!(reflector.get(&named("good")).unwrap().data.v, 1, "the last readable state is kept");
    world.put("good", "2").await;
    assert_eq!(value().await, Some(2));
    world.delete("good").await;
    assert_eq!(value().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_said_and_found_again() {
    let world = World::new();
    world.line.down();
    let reflector = Reflector::<Object>::start(world.client(), CONFIG_MAPS.clone(), tested());
    let synced = tokio::time::timeout(Duration::from_secs(300), reflector.synced()).await;
    assert!(synced.is_err() && !reflector.is_synced());
    assert!(reflector.error().unwrap().to_string().contains("the line is down"));
    world.line.up();
    reflector.synced().await;
    assert!(reflector.error().is_none());
}

#[tokio::test]
async fn a_dropped_reflector_ends_its_watch() {
    let world = World::new();
    let reflector = Reflector::<Object>::start(world.client(), CONFIG_MAPS.clone(), tested());
    reflector.synced().await;
    let second = reflector.clone();
    drop(reflector);
    let mut changes = second.subscribe();
    world.put("a", "1").await;
    assert_eq!(next(&mut changes).await, "a ->1");
    drop(second);
    world.client().create::<Object>(&CONFIG_MAPS, "default", &config_map("b", "1")).await.unwrap();
    tokio::task::yield_now().await;
    assert!(changes.try_next().is_none());
}
