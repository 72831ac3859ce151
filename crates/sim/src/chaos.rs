//! Random users, faults and delays against the whole system, and what must hold after each step.

use crate::oracle::Place;
use crate::watchman::Watchman;
use crate::world::{DEPLOYMENTS, HUB, PLACES, WORKLOAD, World, place};
use crate::{Random, time};
use anyhow::{Context, Result};
use planner::transport::Limits;
use serde_json::{Map, Value, json};
use std::time::Duration;

const CLUSTERS: [&str; 3] = ["c1", "c2", "c3"];
const NAMES: [&str; 3] = ["a", "b", "c"];
const POLICIES: [&str; 2] = ["p", "q"];
/// How many times a simulation comes to rest, and how many steps there are before it.
const RESTS: usize = 3;
const STEPS_MAX: usize = 8;

/// Plays the simulation of a seed. The users, the faults and their times are the seed's; the order in which hash tables
/// are walked, uids and keys are the process's own.
///
/// # Errors
/// What was violated, and what happened until then.
pub fn play(seed: u64) -> Result<usize> {
    time::play(async move {
        let mut told = Vec::new();
        let played = simulate(seed, &mut told).await;
        played.with_context(|| format!("simulation {seed}:\n  {}", told.join("\n  ")))
    })
}

async fn simulate(seed: u64, told: &mut Vec<String>) -> Result<usize> {
    let mut random = Random::new(seed);
    let limits = Limits { max_objects: 1 + 2 * random.below(2), ..Limits::default() };
    let mut world = World::new(random.fork(), limits).await?;
    let mut watchman = Watchman::default();
    for cluster in &CLUSTERS[..2 + random.below(2)] {
        world.join(cluster, &labels(&mut random)).await?;
    }
    let mut steps = 0;
    for rest in 0..RESTS {
        for _ in 0..1 + random.below(STEPS_MAX) {
            steps += 1;
            told.push(step(&mut world, &mut watchman, &mut random).await?);
            watchman.note(&world);
            let pause = *random.pick(&[0, 1, 20, 300, 3_000, 40_000]);
            world.wait(Duration::from_millis(random.below(pause + 1) as u64)).await;
            watchman.check(&world).await?;
        }
        world.heal();
        world.settle().await?;
        told.push(format!("rest {rest}"));
        watchman.check_rest(&world).await?;
    }
    world.restarts_silently().await?;
    watchman.check_rest(&world).await?;
    Ok(steps)
}

fn labels(random: &mut Random) -> Value {
    let mut labels = Map::new();
    for key in ["k", "l"] {
        if random.chance(50) {
            labels.insert(key.into(), (*random.pick(&["1", "2"])).into());
        }
    }
    Value::Object(labels)
}

fn selectors(random: &mut Random) -> Value {
    let selector = |random: &mut Random| match random.below(4) {
        0 => json!({}),
        1 => json!({"matchExpressions": [{"key": "k", "operator": "DoesNotExist"}]}),
        _ => json!({"matchLabels": {*random.pick(&["k", "l"]): *random.pick(&["1", "2"])}}),
    };
    (0..1 + random.below(2)).map(|_| selector(random)).collect()
}

fn any_object(random: &mut Random) -> Place {
    let resource = random.pick(&WORKLOAD);
    place(resource, random.pick::<&str>(&PLACES), random.pick::<&str>(&NAMES))
}

/// One thing that a user does, or that goes wrong.
async fn step(world: &mut World, watchman: &mut Watchman, random: &mut Random) -> Result<String> {
    let clusters = world.clusters.clone();
    let cluster = random.pick(&clusters).clone();
    let mut processes = clusters.clone();
    processes.extend([HUB.to_owned(), HUB.to_owned(), "inventory".to_owned()]);
    let process = random.pick(&processes).clone();
    Ok(match random.below(26) {
        0..=5 => {
            let (object, labels) = (any_object(random), labels(random));
            let content = format!("v{}", random.below(4));
            world.put_object(&object, &labels, &content).await?;
            format!("put {object:?} {labels} {content}")
        }
        6..=7 => {
            let object = any_object(random);
            world.delete_object(&object).await?;
            format!("delete {object:?}")
        }
        8..=11 => {
            let (name, spec) = (*random.pick(&POLICIES), policy(random));
            let put = world.put_policy(name, &spec).await?;
            if put { format!("put policy {name} {spec}") } else { format!("policy {name} is not gone yet") }
        }
        12 => {
            let name = *random.pick(&POLICIES);
            world.delete_policy(name).await?;
            format!("delete policy {name}")
        }
        13..=14 => {
            let labels = labels(random);
            world.put_cluster(&cluster, &labels).await?;
            format!("label {cluster} {labels}")
        }
        15 => {
            let (namespace, labels) = (*random.pick(&PLACES), labels(random));
            world.put_namespace(namespace, &labels).await?;
            format!("label namespace {namespace} {labels}")
        }
        16 => {
            let object = any_object(random);
            watchman.excuse(&cluster, &object);
            world.damage(&cluster, &object).await?;
            format!("{object:?} is destroyed in {cluster}")
        }
        17..=18 => {
            let object = place(&DEPLOYMENTS, random.pick::<&str>(&PLACES), random.pick::<&str>(&NAMES));
            let number = 1 + clusters.iter().position(|name| *name == cluster).unwrap_or_default();
            world.tell_status(&cluster, &object, number).await?;
            format!("{cluster} tells a status of {object:?}")
        }
        19..=20 => {
            world.part(&process);
            format!("{process} cannot reach the ITS")
        }
        21..=22 => {
            world.crash(&process);
            if random.chance(60) {
                world.start(&process);
                format!("restart {process}")
            } else {
                format!("crash {process}")
            }
        }
        23 => {
            let most = *random.pick(&[5, 100, 4_000]);
            world.network.slow(&process, Duration::from_millis(most));
            format!("{process} is up to {most} ms slow")
        }
        24 => {
            let percent = *random.pick(&[5, 30]);
            world.network.lose(percent);
            format!("{percent} % of requests and answers are lost")
        }
        _ => {
            world.network.cut();
            "all watches are cut".to_owned()
        }
    })
}

fn policy(random: &mut Random) -> Value {
    // By name, since every namespace has a ConfigMap that no user made.
    let resources = ["configmaps", "deployments"];
    let mut clause = json!({"resources": resources, "objectNames": NAMES, "objectSelectors": selectors(random)});
    if random.chance(25) {
        clause["namespaceSelectors"] = selectors(random);
    }
    for (field, percent) in [("createOnly", 10), ("wantSingletonReportedState", 40)] {
        if random.chance(percent) {
            clause[field] = true.into();
        }
    }
    json!({"downsync": [clause], "clusterSelectors": selectors(random)})
}
