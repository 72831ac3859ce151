//! The shell: reflectors, a queue of keys, and the execution of plans.

use crate::dial::Dial;
use crate::kind::{Key, Kind};
use crate::node::NODE;
use crate::plan::{View, owner_key, plan};
use crate::volume::counterpart;
use api::{Object, ObjectName};
use client::{Change, Changes, Client, Reflector, Selection};
use clock::SharedClock;
use controller::{Action, Queue, Reconcile, Shutdown, execute_all};
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Keys that are worked on at the same time. A plan is microseconds and a write is a sync, so a few share each sync.
const WORKERS: usize = 8;

/// Plays the workload controllers of the space that `client` talks to, until told to stop.
pub async fn run(client: Client, dial: Dial, clock: SharedClock, shutdown: Shutdown) {
    let client = client.with_field_manager("simulator");
    let world = Arc::new(World::start(&client));
    if shutdown.run_until_cancelled(world.synced()).await.is_none() {
        return;
    }
    let queue = Queue::new();
    queue.add(Key::new(Kind::Node, ObjectName::cluster(NODE)));
    let mut feeders = JoinSet::new();
    for (kind, changes) in world.begin(&queue) {
        feeders.spawn(feed(Arc::clone(&world), kind, changes, queue.clone()));
    }
    let controllers = Controllers { client, dial, clock, world };
    controller::run(Arc::new(controllers), queue, WORKERS, shutdown).await;
}

/// What the reflectors know.
struct World {
    reflectors: BTreeMap<Kind, Reflector<Object>>,
    /// By uid of the controller: what it controls.
    owned: RwLock<HashMap<String, BTreeSet<Key>>>,
}

impl World {
    fn start(client: &Client) -> Self {
        let start = |kind: Kind| {
            // Nodes may be many in a space that somebody fills; ours is one.
            let selection = match kind {
                Kind::Node => Selection::all().with_fields(format!("metadata.name={NODE}")),
                _ => Selection::all(),
            };
            (kind, Reflector::start(client.clone(), kind.resource(), selection))
        };
        Self { reflectors: Kind::all().map(start).collect(), owned: RwLock::default() }
    }

    async fn synced(&self) {
        for reflector in self.reflectors.values() {
            reflector.synced().await;
        }
    }

    /// Indexes all that is there, of every kind, and only then queues the keys: a plan for a Deployment that does not
    /// know of its ReplicaSets would make them anew. Gives what goes on from there.
    fn begin(&self, queue: &Queue<Key>) -> Vec<(Kind, Changes<Object>)> {
        let mut subscribed = Vec::new();
        let mut keys = BTreeSet::new();
        for (kind, reflector) in &self.reflectors {
            let mut changes = reflector.subscribe();
            while let Some(change) = changes.try_next() {
                let key = Key::new(*kind, change.name.clone());
                self.index(&key, change.before.as_deref(), change.after.as_deref());
                keys.insert(key);
            }
            subscribed.push((*kind, changes));
        }
        keys.into_iter().for_each(|key| queue.add(key));
        subscribed
    }

    /// Keeps the index of owners.
    fn index(&self, key: &Key, before: Option<&Object>, after: Option<&Object>) {
        let owner = |object: Option<&Object>| object.and_then(owner_key).map(|(_, uid)| uid);
        let (before, after) = (owner(before), owner(after));
        if before == after {
            return;
        }
        let mut owned = self.owned.write();
        if let Some(before) = before
            && let Some(keys) = owned.get_mut(&before)
        {
            keys.remove(key);
            if keys.is_empty() {
                owned.remove(&before);
            }
        }
        if let Some(after) = after {
            owned.entry(after).or_default().insert(key.clone());
        }
    }

    fn keys_owned(&self, uid: &str) -> Vec<Key> {
        self.owned.read().get(uid).into_iter().flatten().cloned().collect()
    }

    /// Keys whose plans may be others after a change of one object.
    fn touched(&self, key: &Key, change: &Change<Object>) -> Vec<Key> {
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        let mut keys = vec![key.clone()];
        for object in [before, after].into_iter().flatten() {
            keys.extend(owner_key(object).map(|(owner, _)| owner));
            keys.extend(counterpart(key.kind, object));
        }
        let annotations = |object: Option<&Object>| object.and_then(|object| object.meta("annotations").cloned());
        if annotations(before) != annotations(after) {
            // The settings of everything below come from here.
            let mut below: Vec<_> = after.map(|object| self.keys_owned(object.uid())).unwrap_or_default();
            while let Some(key) = below.pop() {
                if let Some(object) = self.get(key.kind, &key.name) {
                    below.extend(self.keys_owned(object.uid()));
                }
                keys.push(key);
            }
        }
        if key.kind == Kind::Claim {
            let pods = self.reflectors[&Kind::Pod].names().into_iter();
            let beside = pods.filter(|name| name.namespace == key.name.namespace);
            keys.extend(beside.map(|name| Key::new(Kind::Pod, name)));
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

impl View for World {
    fn get(&self, kind: Kind, name: &ObjectName) -> Option<Arc<Object>> {
        self.reflectors[&kind].get(name)
    }

    fn owned(&self, kind: Kind, uid: &str) -> Vec<Arc<Object>> {
        let keys = self.keys_owned(uid).into_iter().filter(|key| key.kind == kind);
        keys.filter_map(|key| self.get(kind, &key.name)).collect()
    }
}

/// Turns the changes of one kind into keys.
async fn feed(world: Arc<World>, kind: Kind, mut changes: Changes<Object>, queue: Queue<Key>) {
    loop {
        let change = changes.next().await;
        let key = Key::new(kind, change.name.clone());
        world.index(&key, change.before.as_deref(), change.after.as_deref());
        for key in world.touched(&key, &change) {
            queue.add(key);
        }
    }
}

struct Controllers {
    client: Client,
    dial: Dial,
    clock: SharedClock,
    world: Arc<World>,
}

impl Reconcile for Controllers {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> controller::Result<Action> {
        let plan = plan(&*self.world, &self.dial, self.clock.now(), key);
        // What exists already was made by the plan before this one, and was not seen yet: then the rest of this plan was
        // decided without it too. The error is a conflict, which brings the key again a little later.
        execute_all(&self.client, &plan.ops).await?;
        Ok(plan.after.map_or(Action::AwaitChange, Action::After))
    }
}
