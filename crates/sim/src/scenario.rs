//! Scenarios: what a user does and what goes wrong, line by line, and what is there afterwards.
//!
//! ```text
//! join CLUSTER KEY=VALUE...               label CLUSTER KEY=VALUE...      namespace NAME KEY=VALUE...
//! apply KIND NAMESPACE/NAME CONTENT KEY=VALUE...                          delete KIND NAMESPACE/NAME
//! policy NAME SELECTOR -> SELECTOR [createOnly] [singleton]               nopolicy NAME
//! partition|crash|start PROCESS           slow PROCESS MILLISECONDS       lose PERCENT     cut     heal
//! restart                                 (every process; must write nothing when all is at rest)
//! damage CLUSTER KIND NAMESPACE/NAME      status CLUSTER KIND NAMESPACE/NAME NUMBER
//! wait MILLISECONDS                       settle                          expect CLUSTER KIND NAMESPACE/NAME CONTENT|none
//! show                                    (what every cluster has, and the statuses in the WDS)
//! ```
//! A selector is `KEY=VALUE`, or `*`. A process is a cluster (its agent), `hub` or `inventory`.

use crate::oracle::Place;
use crate::watchman::Watchman;
use crate::world::{WORKLOAD, World, place};
use crate::{Random, time};
use anyhow::{Context, Result, bail, ensure};
use planner::transport::Limits;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::time::Duration;

/// Plays a scenario; gives its lines, each with what it shows.
///
/// # Errors
/// What a line cannot do, an expectation that is not met, what was violated - with the number of the line.
pub fn play(text: &str) -> Result<String> {
    time::play(async {
        let mut world = World::new(Random::new(0), Limits::default()).await?;
        let mut watchman = Watchman::default();
        let mut output = String::new();
        for (at, line) in text.lines().enumerate() {
            writeln!(output, "{line}")?;
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            if words.is_empty() {
                continue;
            }
            let played = step(&mut world, &mut watchman, &words).await;
            output.push_str(&played.with_context(|| format!("line {}: {line}", at + 1))?);
        }
        Ok(output)
    })
}

async fn step(world: &mut World, watchman: &mut Watchman, words: &[&str]) -> Result<String> {
    let mut shown = String::new();
    match words {
        ["join", cluster, labels @ ..] => world.join(cluster, &pairs(labels)?).await?,
        ["label", cluster, labels @ ..] => world.put_cluster(cluster, &pairs(labels)?).await?,
        ["namespace", name, labels @ ..] => world.put_namespace(name, &pairs(labels)?).await?,
        ["apply", kind, name, content, labels @ ..] => {
            world.put_object(&object(kind, name)?, &pairs(labels)?, content).await?;
        }
        ["delete", kind, name] => world.delete_object(&object(kind, name)?).await?,
        ["policy", name, what, "->", to, flags @ ..] => {
            // By name, since every namespace has a ConfigMap that no user made.
            let (resources, names) = (["configmaps", "deployments"], ["a", "b", "web"]);
            let selectors = [selector(what)?];
            let mut clause = json!({"resources": resources, "objectNames": names, "objectSelectors": selectors});
            for flag in flags {
                let field = match *flag {
                    "createOnly" => "createOnly",
                    "singleton" => "wantSingletonReportedState",
                    other => bail!("{other} is neither createOnly nor singleton"),
                };
                clause[field] = true.into();
            }
            let put =
                world.put_policy(name, &json!({"downsync": [clause], "clusterSelectors": [selector(to)?]})).await?;
            ensure!(put, "the policy of that name is not gone yet: wait");
        }
        ["nopolicy", name] => world.delete_policy(name).await?,
        ["partition", process] => world.part(process),
        ["crash", process] => world.crash(process),
        ["start", process] => world.start(process),
        ["slow", process, most] => world.network.slow(process, Duration::from_millis(most.parse()?)),
        ["lose", percent] => world.network.lose(percent.parse()?),
        ["cut"] => world.network.cut(),
        ["heal"] => world.heal(),
        ["restart"] => {
            world.restarts_silently().await?;
        }
        ["damage", cluster, kind, name] => {
            let object = object(kind, name)?;
            watchman.excuse(cluster, &object);
            world.damage(cluster, &object).await?;
        }
        ["status", cluster, kind, name, number] => {
            world.tell_status(cluster, &object(kind, name)?, number.parse()?).await?;
        }
        ["wait", time] => world.wait(Duration::from_millis(time.parse()?)).await,
        ["settle"] => {
            world.settle().await?;
            watchman.note(world);
            watchman.check_rest(world).await?;
        }
        ["expect", cluster, kind, name, content] => {
            let delivered = world.delivered().await?;
            let found = delivered.get(&((*cluster).to_owned(), object(kind, name)?));
            let found = found.map_or("none", |seen| seen.content.as_str());
            ensure!(found == *content, "it has {found}");
        }
        ["show"] => shown = show(world).await?,
        _ => bail!("it is no line of a scenario (crates/sim/src/scenario.rs lists them)"),
    }
    watchman.note(world);
    watchman.check(world).await?;
    Ok(shown)
}

async fn show(world: &World) -> Result<String> {
    let delivered = world.delivered().await?;
    let mut shown = String::new();
    for cluster in &world.clusters {
        let has = delivered.iter().filter(|((at, _), _)| at == cluster);
        let has: Vec<_> = has.map(|((_, place), seen)| format!("{}={}", text(place), seen.content)).collect();
        writeln!(shown, "    {cluster}: {}", if has.is_empty() { "nothing".to_owned() } else { has.join(", ") })?;
    }
    for (place, number) in world.statuses().await? {
        writeln!(shown, "    status of {}: {number}", text(&place))?;
    }
    Ok(shown)
}

fn text(place: &Place) -> String {
    format!("{} {}/{}", place.1, place.2, place.3)
}

fn object(kind: &str, name: &str) -> Result<Place> {
    let resource = WORKLOAD.iter().find(|resource| resource.plural == kind).context("no such kind")?;
    let (namespace, name) = name.split_once('/').context("a name is NAMESPACE/NAME")?;
    Ok(place(resource, namespace, name))
}

fn pairs(words: &[&str]) -> Result<Value> {
    let pair = |word: &&str| {
        let (key, value) = word.split_once('=').with_context(|| format!("{word} is not KEY=VALUE"))?;
        Ok((key.to_owned(), value.into()))
    };
    Ok(Value::Object(words.iter().map(pair).collect::<Result<Map<_, _>>>()?))
}

fn selector(word: &str) -> Result<Value> {
    Ok(if word == "*" { json!({}) } else { json!({"matchLabels": pairs(&[word])?}) })
}
