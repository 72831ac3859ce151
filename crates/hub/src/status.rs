//! seen -> told: returns statuses into the objects of the WDS, and keeps what policies, Bindings and CustomTransforms
//! say of themselves.

use crate::transport::label_of;
use crate::until_done;
use crate::wds::{World, established, status_selection};
use api::control::{BINDING_POLICIES, BINDINGS, Binding, BindingPolicy, CUSTOM_TRANSFORMS};
use api::work::{SourceRef, WorkStatus};
use api::{BindingName, ClusterName, GroupResource, Object, ObjectName, Op, Resource, Write};
use client::{Client, Reflector};
use controller::{Action, Reconcile, Result, execute};
use planner::binding::{ObjectId, waiting};
use planner::status::{
    Facts, Return, Returned, Wrong, announcements, binding_status, complaint, plan, policy_status, takes_status,
};
use planner::transform::Transforms;
use planner::transport::{handled_differently, object_text, standing};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The most clusters with trouble that the status of a Binding names, and the most objects: a status is read by people.
const NAMED_CLUSTERS: usize = 10;
const NAMED_OBJECTS: usize = 20;

/// What is to be told.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Tell {
    /// The status of an object of the WDS.
    Return(Arc<ObjectId>),
    /// The status of a Binding and its policy.
    Report(BindingName),
    /// The statuses of CustomTransforms.
    Transforms,
}

impl fmt::Display for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Return(object) => write!(f, "status of {object}"),
            Self::Report(binding) => write!(f, "status of binding {binding}"),
            Self::Transforms => f.write_str("status of CustomTransforms"),
        }
    }
}

/// A WorkStatus: which object it is about, and its status as text, which costs a tenth of a tree.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(from = "WorkStatus")]
pub(crate) struct SeenStatus {
    name: ObjectName,
    object: ObjectId,
    status: Option<Arc<str>>,
}

impl From<WorkStatus> for SeenStatus {
    fn from(seen: WorkStatus) -> Self {
        let SourceRef { group, resource, namespace, name, .. } = seen.spec.source_ref;
        let object = ObjectId {
            resource: Arc::new(GroupResource { group, resource }),
            name: ObjectName::namespaced(namespace, name),
        };
        let status = seen.status.filter(|status| status.as_object().is_some_and(|members| !members.is_empty()));
        Self { name: seen.metadata.object_name(), object, status: status.map(|status| status.to_string().into()) }
    }
}

/// What clusters have told of objects. An object that came by two works into one cluster is told twice.
#[derive(Default)]
pub(crate) struct Statuses(HashMap<ObjectId, BTreeMap<ClusterName, Told>>);

/// By the name of the WorkStatus, the status in it, if the object has one.
type Told = BTreeMap<String, Option<Arc<str>>>;

impl Statuses {
    fn set(&mut self, seen: &SeenStatus, is_there: bool) {
        let cluster = ClusterName::from(seen.name.namespace.as_str());
        let clusters = self.0.entry(seen.object.clone()).or_default();
        let told = clusters.entry(cluster.clone()).or_default();
        if is_there {
            told.insert(seen.name.name.clone(), seen.status.clone());
            return;
        }
        told.remove(&seen.name.name);
        if told.is_empty() {
            clusters.remove(&cluster);
        }
        if clusters.is_empty() {
            self.0.remove(&seen.object);
        }
    }

    /// What the cluster has told of the object: nothing, that it has no status, or its status.
    fn of(&self, object: &ObjectId, cluster: &ClusterName) -> Option<Option<Arc<str>>> {
        let told = self.0.get(object)?.get(cluster)?;
        Some(told.values().find_map(Clone::clone))
    }
}

/// Follows the WorkStatuses of the WDS, as soon as the ITS has that kind.
pub(crate) async fn follow(world: Arc<World>, its: Client) {
    until_done("wait for the ITS to keep statuses", || established(&its, "workstatuses.control.kubestellar.io")).await;
    let (resource, selection) = status_selection(&world);
    let seen: Reflector<SeenStatus> = Reflector::start(its, resource, selection);
    seen.synced().await;
    let mut changes = seen.subscribe();
    let mut first = Vec::new();
    crate::wds::drain(&mut changes, |change| first.extend(change.after));
    {
        let mut statuses = world.statuses.lock();
        first.iter().for_each(|seen| statuses.set(seen, true));
    }
    world.statuses_known.store(true, Ordering::Release);
    let objects: BTreeSet<Arc<ObjectId>> = {
        let index = world.index.lock();
        let policies = index.policies().cloned().collect::<Vec<_>>();
        policies.iter().flat_map(|policy| index.objects_of(policy).map(|(id, _)| id.clone())).collect()
    };
    objects.into_iter().for_each(|id| world.tell.add(Tell::Return(id)));
    loop {
        let change = changes.next().await;
        let mut statuses = world.statuses.lock();
        if let Some(before) = &change.before {
            statuses.set(before, false);
        }
        if let Some(after) = &change.after {
            statuses.set(after, true);
        }
        drop(statuses);
        let about = change.before.iter().chain(&change.after).map(|seen| &seen.object);
        for object in about {
            let id = world.index.lock().id(&object.resource, &object.name);
            id.into_iter().for_each(|id| world.tell.add(Tell::Return(id)));
        }
    }
}

/// Reconciles statuses.
pub(crate) struct Teller(pub(crate) Arc<World>);

impl Reconcile for Teller {
    type Key = Tell;

    async fn reconcile(&self, key: &Tell) -> Result<Action> {
        match key {
            Tell::Return(id) => self.return_status(id).await?,
            Tell::Report(name) => self.report(name).await?,
            Tell::Transforms => self.report_transforms().await?,
        }
        Ok(Action::AwaitChange)
    }
}

impl Teller {
    async fn return_status(&self, id: &Arc<ObjectId>) -> Result<()> {
        let world = &*self.0;
        if !world.statuses_are_known() {
            return Ok(());
        }
        let (wanted, resource) = {
            let index = world.index.lock();
            let Some(header) = index.header(id) else { return Ok(()) };
            let Some(resource) = index.resource(&id.resource).cloned() else { return Ok(()) };
            let wanted = Return::of(&index.requests(id));
            if wanted == Return::Nothing && !header.shows_status() {
                return Ok(());
            }
            (wanted, resource)
        };
        let kind = api::GroupKind { group: resource.group.to_string(), kind: resource.kind.to_string() };
        if !takes_status(&kind) {
            return Ok(());
        }
        let told: Vec<(ClusterName, Option<Value>)> = {
            let statuses = world.statuses.lock();
            let told = wanted.clusters().into_iter().filter_map(|cluster| {
                let status = statuses.of(id, cluster)?;
                // Kept as the text of a tree that was read.
                Some((cluster.clone(), status.and_then(|text| serde_json::from_str(&text).ok())))
            });
            told.collect()
        };
        let returned: Returned<'_> = told.iter().map(|(cluster, status)| (cluster, status.as_ref())).collect();
        let Some(object) = world.teller.find::<Object>(&resource, &id.name).await? else { return Ok(()) };
        let subresource = world.with_status.lock().contains(&*id.resource);
        for op in plan(&object, &wanted, &returned) {
            execute(&world.teller, &op.on(&resource, &id.name, subresource)).await?;
        }
        Ok(())
    }

    async fn report(&self, name: &BindingName) -> Result<()> {
        let world = &*self.0;
        let Some(binding) = world.binding(name).filter(|binding| !binding.metadata.is_deleting()) else {
            return Ok(());
        };
        let facts = self.facts(name, &binding);
        if facts.sending && facts.wrong == Wrong::default() {
            // It would only say that it is on its way.
            return Ok(());
        }
        let held = binding.status.as_ref();
        let status = binding_status(held, &facts, world.clock.now());
        if let Some(status) = &status {
            execute(&world.teller, &replace_status(BINDINGS, name, status)).await?;
        }
        // One that is being deleted tells only what its end waits for.
        let tells = |policy: &Arc<BindingPolicy>| !policy.metadata.is_deleting() || !facts.wrong.policy.is_empty();
        let Some(policy) = world.policy(name).filter(tells) else { return Ok(()) };
        let complaint = complaint(&world.index.lock(), name);
        let of_binding = status.or_else(|| binding.status.clone()).unwrap_or_default();
        let status = policy_status(policy.status.as_ref(), policy.metadata.generation, &of_binding, complaint);
        if let Some(status) = &status {
            execute(&world.teller, &replace_status(BINDING_POLICIES, name, status)).await?;
            for told in announcements(policy.status.as_ref(), status) {
                world.announce(&policy, &told);
            }
        }
        Ok(())
    }

    fn facts(&self, name: &BindingName, binding: &api::control::Binding) -> Facts {
        let world = &*self.0;
        let label = label_of(name);
        let generation = binding.metadata.generation;
        let standing = world.deliveries.standing(&label, generation);
        let waits = world.policy(name).map(|policy| {
            // Resolved only for policies that have a budget.
            waiting(&policy, || world.index.lock().resolution(name), Some(binding))
        });
        let waits = waits.unwrap_or_default();
        let failures = standing.failures.iter().take(NAMED_CLUSTERS);
        let wrong = Wrong {
            policy: [world.index.lock().problems(name).to_vec(), waits].concat(),
            objects: shortened(standing.problems),
            destinations: failures
                .map(|(cluster, why)| format!("Cluster {cluster} cannot be sent to: {why}"))
                .collect(),
            contests: Vec::new(),
        };
        let (lost, won) = self.contests(&label, binding);
        let wrong = Wrong { contests: lost, ..wrong };
        let remarks = [world.index.lock().remarks(name).to_vec(), won].concat();
        let held = world.held.lock();
        let named: BTreeSet<&String> =
            binding.spec.workload.iter().flat_map(|reference| &reference.modulation.status_collectors).collect();
        let exists = |name: &str| world.collectors.get(&ObjectName::cluster(name)).is_some();
        Facts {
            generation,
            wrong,
            remarks,
            sending: standing.sending,
            waiting: held.waiting(&label) + standing.asked.saturating_sub(held.count(&label)),
            failed: held.failed(&label, NAMED_CLUSTERS),
            destinations: binding.spec.destinations.len(),
            missing_collectors: named.into_iter().filter(|name| !exists(name)).cloned().collect(),
        }
    }

    /// What there is to say of objects that others ask for too: those that others decide about, and those that it decides
    /// about.
    fn contests(&self, label: &str, binding: &Binding) -> (Vec<String>, Vec<String>) {
        let world = &*self.0;
        let contests = world.claims.lock().contests(&world.label, label, NAMED_OBJECTS);
        if contests.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let others: BTreeSet<&str> = contests
            .iter()
            .flat_map(|contest| &contest.claimants)
            .filter(|other| other.wds == world.label && other.binding != label)
            .map(|other| other.binding.as_str())
            .collect();
        let mut unlike = BTreeSet::new();
        for other in others {
            let name = world.by_label.lock().get(other).cloned();
            let Some(held) = name.and_then(|name| world.binding(&name)) else { continue };
            let index = world.index.lock();
            for reference in handled_differently(binding, &held) {
                let resource = GroupResource { group: reference.group.clone(), resource: reference.resource.clone() };
                let kind = index.kind(&resource).map(|kind| kind.kind).unwrap_or_default();
                unlike.insert((other.to_owned(), object_text(&kind, &reference.group, &reference.object_name())));
            }
        }
        let alike = |other: &str, object: &str| !unlike.contains(&(other.to_owned(), object.into()));
        let standing = standing(&contests, &world.label, label, &alike);
        (standing.lost, standing.won)
    }

    async fn report_transforms(&self) -> Result<()> {
        let world = &*self.0;
        let all = world.transforms.all();
        let (_, statuses) = Transforms::new(all.iter().map(|transform| &**transform));
        for transform in all {
            let status = &statuses[&transform.metadata.name];
            if transform.status.as_ref() != Some(status) {
                let name = transform.metadata.name.as_str().into();
                execute(&world.teller, &replace_status(CUSTOM_TRANSFORMS, &name, status)).await?;
            }
        }
        Ok(())
    }
}

/// The first of many problems, and how many more there are.
fn shortened(mut problems: Vec<String>) -> Vec<String> {
    let more = problems.len().saturating_sub(NAMED_OBJECTS);
    if more > 0 {
        problems.truncate(NAMED_OBJECTS);
        problems.push(format!("{more} more objects have such problems"));
    }
    problems
}

fn replace_status(resource: Resource, name: &BindingName, status: &impl Serialize) -> Op {
    let patch = json!([{"op": "add", "path": "/status", "value": status}]);
    Op::new(resource, ObjectName::cluster(name.as_str()), Write::JsonPatch(patch)).on_status()
}
