//! A whole system at rest, of any size, in which every process is restarted: nothing may be written.

use crate::watchman::Watchman;
use crate::world::{PLACES, WORKLOAD, World, place};
use crate::{Random, time};
use anyhow::{Result, ensure};
use planner::transport::Limits;
use serde_json::json;

/// Delivers so many objects, half of them Deployments, to so many clusters, and restarts every process. Tells how many keys
/// there are in all spaces.
///
/// # Errors
/// What was written, and what was not delivered.
pub fn play(objects: usize, clusters: usize) -> Result<usize> {
    time::play(async move {
        let mut world = World::new(Random::new(0), Limits::default()).await?;
        let mut watchman = Watchman::default();
        for cluster in 0..clusters {
            world.join(&format!("c{cluster}"), &json!({"loc": "edge"})).await?;
        }
        let clause =
            json!({"resources": ["configmaps", "deployments"], "objectSelectors": [{"matchLabels": {"app": "web"}}]});
        let to = json!([{"matchLabels": {"loc": "edge"}}]);
        world.put_policy("p", &json!({"downsync": [clause], "clusterSelectors": to})).await?;
        for object in 0..objects {
            let resource = &WORKLOAD[object % WORKLOAD.len()];
            let place = place(resource, PLACES[object / 2 % PLACES.len()], &format!("o{object}"));
            world.put_object(&place, &json!({"app": "web"}), "v1").await?;
        }
        watchman.note(&world);
        world.settle().await?;
        watchman.check_rest(&world).await?;
        // The hub makes the work; the agent holds it, and says that it is applied.
        let (pairs, writes) = (objects * clusters, world.network.work_writes());
        ensure!(writes <= 3 * pairs as u64, "{pairs} works were written {writes} times, and it takes three");
        let keys = world.restarts_silently().await?;
        watchman.check_rest(&world).await?;
        ensure!(keys >= objects * clusters, "of {objects} objects in {clusters} clusters there are {keys} keys only");
        Ok(keys)
    })
}
