//! resolved -> sent: keeps the mailboxes of the ITS as the Bindings ask.
//!
//! `Prepare` reads what a Binding names and wraps it, once for all its destinations; `Deliver` brings one mailbox up to
//! date, looking only at the works that may differ. What goes wrong in one mailbox is tried again for that mailbox.

use crate::handover::{Compared, Judged, Release};
use crate::wds::World;
use api::control::{Binding, ObjectReference};
use api::{BindingName, ClusterName, GroupResource, Object, ObjectName};
use controller::{Action, Class, Error, Reconcile, Result, execute};
use futures_util::StreamExt;
use futures_util::stream;
use parking_lot::Mutex;
use planner::binding::{HELD_BACK_ANNOTATION, ObjectId};
use planner::digest::Digest;
use planner::transform::Removal;
use planner::transport::{
    Bundle, Bundles, Demand, Handling, HeldWork, Item, Op, Origin, Packing, bundle, label_value, object_text, plan,
    plan_finalizer, releases,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Objects of the WDS that are read at a time for one Binding: enough to hide the way there and back.
const READS: usize = 32;
/// Works that are written at a time into one mailbox. With all workers this stays within what one HTTP/2 connection
/// carries, and a stock server lets through.
const WRITES: usize = 16;

/// What the transport is asked to look at. The text is the label value that stands for the Binding.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Send {
    /// What a Binding names.
    Prepare(Arc<str>),
    /// One of its mailboxes.
    Deliver(Arc<str>, ClusterName),
}

impl fmt::Display for Send {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prepare(binding) => write!(f, "binding {binding}"),
            Self::Deliver(binding, cluster) => write!(f, "binding {binding} in cluster {cluster}"),
        }
    }
}

/// How far each Binding is.
#[derive(Default)]
pub(crate) struct Deliveries(Mutex<HashMap<Arc<str>, Delivery>>);

#[derive(Default)]
struct Delivery {
    prepared: Option<Arc<Prepared>>,
    /// Mailboxes that are to be looked at.
    pending: HashMap<ClusterName, Pending>,
    /// Mailboxes that are being written.
    running: HashSet<ClusterName>,
    /// Mailboxes that could not be brought up to date, and why.
    failures: BTreeMap<ClusterName, String>,
    /// Works whose text could not be expanded for a mailbox, and why: what was sent stays.
    not_expanded: BTreeMap<ClusterName, BTreeMap<String, Vec<String>>>,
    items: HashMap<Arc<ObjectId>, Read>,
    packing: Option<Packing>,
    compared: Arc<tokio::sync::Mutex<Compared>>,
}

/// Which works of a mailbox may differ.
enum Pending {
    All,
    Named(BTreeSet<String>),
}

impl Pending {
    fn merge(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Named(held), Self::Named(more)) => held.extend(more),
            (_, Self::All) => *self = Self::All,
            (Self::All, Self::Named(_)) => {}
        }
    }
}

/// What a Binding asks of all its mailboxes.
struct Prepared {
    generation: i64,
    destinations: BTreeSet<ClusterName>,
    works: BTreeMap<String, Arc<Bundle>>,
    keep: BTreeSet<String>,
    problems: Vec<String>,
}

/// An object as it was read last.
#[derive(Clone)]
struct Read {
    /// The resourceVersion that the Binding named.
    version: String,
    removals: Arc<[Removal]>,
    item: Item,
}

/// What the status says of a delivery.
#[derive(Default)]
pub(crate) struct Standing {
    pub sending: bool,
    /// Works that are asked for, in all mailboxes.
    pub asked: usize,
    pub problems: Vec<String>,
    pub failures: BTreeMap<ClusterName, String>,
}

impl Delivery {
    /// Of each work, what is wrong with it in the first cluster for which it cannot be expanded.
    fn not_expanded(&self, prepared: &Prepared) -> Vec<String> {
        let mut told: BTreeMap<&String, &Vec<String>> = BTreeMap::new();
        let clusters = self.not_expanded.iter().filter(|(cluster, _)| prepared.destinations.contains(*cluster));
        for (work, errors) in clusters.flat_map(|(_, works)| works) {
            if prepared.works.contains_key(work) {
                told.entry(work).or_insert(errors);
            }
        }
        told.into_values().flatten().cloned().collect()
    }
}

impl Deliveries {
    /// What was compared with the servers for a Binding: all its mailboxes share it, so that an object is read once for all.
    pub(crate) fn compared(&self, label: &str) -> Arc<tokio::sync::Mutex<Compared>> {
        self.0.lock().get(label).map(|delivery| delivery.compared.clone()).unwrap_or_default()
    }

    /// How far a Binding is, of this generation.
    pub(crate) fn standing(&self, label: &str, generation: i64) -> Standing {
        let deliveries = self.0.lock();
        let Some(delivery) = deliveries.get(label) else { return Standing { sending: true, ..Standing::default() } };
        let Some(prepared) = &delivery.prepared else { return Standing { sending: true, ..Standing::default() } };
        Standing {
            sending: !delivery.pending.is_empty() || !delivery.running.is_empty() || prepared.generation != generation,
            asked: prepared.works.len() * prepared.destinations.len(),
            problems: [prepared.problems.clone(), delivery.not_expanded(prepared)].concat(),
            failures: delivery.failures.clone(),
        }
    }
}

impl World {
    fn ask(&self, label: &Arc<str>, cluster: &ClusterName, what: Pending) {
        self.note_pending(label, cluster, what);
        self.send.add(Send::Deliver(label.clone(), cluster.clone()));
    }

    /// Has works of a mailbox looked at after a while.
    pub(crate) fn ask_after(&self, label: &Arc<str>, cluster: &ClusterName, works: BTreeSet<String>, after: Duration) {
        self.note_pending(label, cluster, Pending::Named(works));
        self.send.add_after(Send::Deliver(label.clone(), cluster.clone()), after);
    }

    fn note_pending(&self, label: &Arc<str>, cluster: &ClusterName, what: Pending) {
        let mut deliveries = self.deliveries.0.lock();
        let delivery = deliveries.entry(label.clone()).or_default();
        match delivery.pending.get_mut(cluster) {
            Some(pending) => pending.merge(what),
            None => {
                delivery.pending.insert(cluster.clone(), what);
            }
        }
    }

    /// A work has changed in its mailbox; `same` if only in what its cluster reports.
    pub(crate) fn redeliver(&self, label: &str, work: &ObjectName, same: bool) {
        let label: Arc<str> = label.into();
        let name = self.by_label.lock().get(&label).cloned();
        if let Some(name) = &name {
            self.report_soon(name.clone());
        }
        if same {
            return;
        }
        let binding = name.and_then(|name| self.binding(&name));
        if binding.is_some_and(|binding| !binding.metadata.is_deleting()) {
            let named = Pending::Named([work.name.clone()].into());
            self.ask(&label, &work.namespace.as_str().into(), named);
        } else {
            self.send.add(Send::Prepare(label));
        }
    }

    /// The properties of a cluster may have changed: has the works looked at whose text is expanded with them.
    pub(crate) fn properties_changed(&self, cluster: &ClusterName) {
        let differing: Vec<(Arc<str>, BTreeSet<String>)> = {
            let deliveries = self.deliveries.0.lock();
            let prepared = deliveries.iter().filter_map(|(label, delivery)| Some((label, delivery.prepared.as_ref()?)));
            let concerned = prepared.filter(|(_, prepared)| prepared.destinations.contains(cluster));
            let named = concerned.map(|(label, prepared)| {
                let works = prepared.works.iter().filter(|(_, bundle)| bundle.may_differ());
                (label.clone(), works.map(|(name, _)| name.clone()).collect::<BTreeSet<_>>())
            });
            named.filter(|(_, works)| !works.is_empty()).collect()
        };
        for (label, works) in differing {
            self.ask(&label, cluster, Pending::Named(works));
        }
    }

    /// Tries a mailbox again that could not be written.
    pub(crate) fn retry_mailbox(&self, cluster: &ClusterName) {
        let deliveries = self.deliveries.0.lock();
        for (label, _) in deliveries.iter().filter(|(_, delivery)| delivery.failures.contains_key(cluster)) {
            self.send.add(Send::Deliver(label.clone(), cluster.clone()));
        }
    }
}

/// Reconciles Bindings with the mailboxes.
pub(crate) struct Sender(pub(crate) Arc<World>);

impl Reconcile for Sender {
    type Key = Send;

    async fn reconcile(&self, key: &Send) -> Result<Action> {
        match key {
            Send::Prepare(label) => self.prepare(label).await?,
            Send::Deliver(label, cluster) => self.deliver(label, cluster).await?,
        }
        Ok(Action::AwaitChange)
    }
}

impl Sender {
    async fn prepare(&self, label: &Arc<str>) -> Result<()> {
        let world = &*self.0;
        let name = world.by_label.lock().get(label).cloned();
        let binding = name.and_then(|name| world.binding(&name));
        let Some(binding) = binding else { return self.withdraw(label, None).await };
        if binding.metadata.is_deleting() {
            return self.withdraw(label, Some(&binding)).await;
        }
        if let Some(op) = plan_finalizer(&binding, true) {
            execute(&world.sender, &(&op).into()).await?;
        }
        let read = self.read(label, &binding).await;
        let origin = Origin {
            wds: world.name.as_str().into(),
            binding: binding.metadata.name.as_str().into(),
            uid: binding.metadata.uid.clone(),
            generation: binding.metadata.generation,
        };
        let packing = self.packing(label);
        let mut bundles = bundle(&origin, &read.items, &read.missing, world.limits, &packing);
        if binding.metadata.annotations.contains_key(HELD_BACK_ANNOTATION) {
            bundles.keep_all(&world.held.lock().holding(label, &read.gone));
        }
        self.publish(label, &binding, bundles, read.problems);
        read.failure.map_or(Ok(()), Err)
    }

    fn packing(&self, label: &Arc<str>) -> Packing {
        let known = self.0.deliveries.0.lock().get(label).and_then(|delivery| delivery.packing.clone());
        known.unwrap_or_else(|| self.0.held.lock().packing(label))
    }

    /// Takes over what was prepared, and has the mailboxes looked at that it concerns.
    fn publish(&self, label: &Arc<str>, binding: &Binding, bundles: Bundles, mut problems: Vec<String>) {
        let world = &*self.0;
        problems.extend(bundles.problems);
        let prepared = Arc::new(Prepared {
            generation: binding.metadata.generation,
            destinations: binding.spec.destinations.iter().map(|to| to.cluster_id.as_str().into()).collect(),
            works: bundles.works.into_iter().map(|bundle| (bundle.name.clone(), bundle)).collect(),
            keep: bundles.keep,
            problems,
        });
        let before = {
            let mut deliveries = world.deliveries.0.lock();
            let delivery = deliveries.entry(label.clone()).or_default();
            delivery.packing = Some(bundles.packing);
            delivery.compared = Arc::default();
            delivery.prepared.replace(prepared.clone())
        };
        let changed = before.as_ref().map(|before| changed(before, &prepared));
        let known = before.as_ref().map(|before| &before.destinations);
        let mut clusters = world.held.lock().mailboxes(label);
        clusters.extend(prepared.destinations.iter().cloned());
        clusters.extend(known.into_iter().flatten().cloned());
        for cluster in clusters {
            let stays = known.is_some_and(|known| known.contains(&cluster) == prepared.destinations.contains(&cluster));
            match &changed {
                Some(changed) if stays && changed.is_empty() => {}
                Some(changed) if stays => world.ask(label, &cluster, Pending::Named(changed.clone())),
                _ => world.ask(label, &cluster, Pending::All),
            }
        }
        world.report_soon(binding.metadata.name.as_str().into());
    }

    /// Has every mailbox emptied, and lets the Binding go when that is asked for in all of them.
    async fn withdraw(&self, label: &Arc<str>, binding: Option<&Binding>) -> Result<()> {
        let world = &*self.0;
        let mailboxes = world.held.lock().mailboxes(label);
        {
            let mut deliveries = world.deliveries.0.lock();
            if mailboxes.is_empty() {
                deliveries.remove(label);
            } else {
                *deliveries.entry(label.clone()).or_default() = Delivery::default();
            }
        }
        if world.held.lock().has_lasting(label, |_| false) {
            mailboxes.iter().for_each(|cluster| world.ask(label, cluster, Pending::All));
        }
        // Works that others still need are found by their label when the Binding is gone.
        let works_left = world.held.lock().has_lasting(label, |work| world.handovers.keeps(label, work));
        if let Some(op) = binding.and_then(|binding| plan_finalizer(binding, works_left)) {
            execute(&world.sender, &(&op).into()).await?;
        }
        Ok(())
    }

    /// Reads the objects that a Binding names, as far as they are not known at the version that it names.
    async fn read(&self, label: &Arc<str>, binding: &Binding) -> Objects {
        let world = &*self.0;
        let mut known = {
            let mut deliveries = world.deliveries.0.lock();
            std::mem::take(&mut deliveries.entry(label.clone()).or_default().items)
        };
        let removals = world.removals.lock().clone();
        let references = binding.spec.workload.iter();
        let reads = references.map(|reference| {
            let resource = GroupResource { group: reference.group.clone(), resource: reference.resource.clone() };
            let name = reference.object_name();
            let id = world.index.lock().id(&resource, &name);
            let id = id.unwrap_or_else(|| Arc::new(ObjectId { resource: resource.into(), name }));
            let removals = removals.of(&id.resource);
            let held = known.remove(&id);
            async move {
                let current = |held: &Read| held.version == reference.resource_version && held.removals == removals;
                match held {
                    Some(held) if current(&held) => (id, reference, None, Ok(Some(held))),
                    held => {
                        let read = self.read_object(&id, reference, &removals).await;
                        (id, reference, held, read)
                    }
                }
            }
        });
        let mut reads = stream::iter(reads.collect::<Vec<_>>()).buffered(READS);
        let mut objects = Objects::default();
        let mut items = HashMap::new();
        while let Some((id, reference, held, read)) = reads.next().await {
            match read {
                Ok(Some(read)) => {
                    objects.items.push(read.item.handled(&reference.modulation));
                    items.insert(id, read);
                }
                // Gone: the Binding will say so in a moment, or when that is confirmed.
                Ok(None) => {
                    objects.missing.extend(self.uid(&id));
                    let kind = world.index.lock().kind(&id.resource).map(|kind| kind.kind).unwrap_or_default();
                    objects.gone.insert(object_text(&kind, &id.resource.group, &id.name));
                }
                Err(error) => {
                    objects.problems.push(format!("{id} cannot be read, and stays as it was sent: {error}"));
                    // What was read last is sent until it can be read anew, which has to be tried: nothing tells of it.
                    match held {
                        Some(held) => {
                            objects.items.push(held.item.handled(&reference.modulation));
                            items.insert(id, held);
                        }
                        None => objects.missing.extend(self.uid(&id)),
                    }
                    objects.failure = Some(error);
                }
            }
        }
        drop(reads);
        if let Some(delivery) = world.deliveries.0.lock().get_mut(label) {
            delivery.items = items;
        }
        objects
    }

    fn uid(&self, id: &ObjectId) -> Option<String> {
        self.0.index.lock().header(id).map(|header| header.uid.clone())
    }

    async fn read_object(
        &self,
        id: &Arc<ObjectId>,
        reference: &ObjectReference,
        removals: &Arc<[Removal]>,
    ) -> Result<Option<Read>> {
        let world = &*self.0;
        let kind = world.index.lock().kind(&id.resource).map(|kind| kind.kind).unwrap_or_default();
        let resource = api::Resource {
            group: reference.group.clone().into(),
            version: reference.version.clone().into(),
            plural: reference.resource.clone().into(),
            kind: kind.into(),
            namespaced: !reference.namespace.is_empty(),
        };
        let Some(object) = world.sender.find::<Object>(&resource, &id.name).await? else { return Ok(None) };
        let uid = object.uid().to_owned();
        let transforms = world.removals.lock().clone();
        let manifest: Arc<str> = serde_json::Value::Object(transforms.apply(&id.resource, object).0).to_string().into();
        let digest = Digest::of(manifest.as_bytes());
        let item = Item { id: id.clone(), uid, manifest, digest, handling: Handling::default() };
        Ok(Some(Read { version: reference.resource_version.clone(), removals: removals.clone(), item }))
    }

    async fn deliver(&self, label: &Arc<str>, cluster: &ClusterName) -> Result<()> {
        let world = &*self.0;
        let (pending, prepared) = {
            let mut deliveries = world.deliveries.0.lock();
            let Some(delivery) = deliveries.get_mut(label) else { return Ok(()) };
            let Some(pending) = delivery.pending.remove(cluster) else { return Ok(()) };
            delivery.running.insert(cluster.clone());
            (pending, delivery.prepared.clone())
        };
        let (puts, releases) = self.plan(label, cluster, &pending, prepared.as_deref());
        let mut failures = self.write(puts).await;
        let mut kept = BTreeSet::new();
        if !releases.is_empty() {
            let turn = world.handovers.turn(cluster);
            let _turn = turn.lock().await;
            // Somebody else may have let go of something meanwhile.
            let (_, releases) = self.plan(label, cluster, &pending, prepared.as_deref());
            let judged: Judged = self.judge(label, cluster, releases).await;
            failures.extend(judged.failures);
            let (puts, deletes): (Vec<_>, Vec<_>) =
                judged.go.into_iter().partition(|op| !matches!(op, Op::Delete { .. }));
            failures.extend(self.write(puts).await);
            failures.extend(self.write(deletes).await);
            kept = judged.kept;
        }
        let looked = match &pending {
            Pending::All => None,
            Pending::Named(names) => Some(names),
        };
        if world.handovers.note(label, cluster, looked, kept) {
            self.kept_others(label);
        }

        let mut deliveries = world.deliveries.0.lock();
        let first = failures.first().map(|(work, error)| format!("{work}: {error}"));
        let lasting: BTreeSet<String> = failures
            .iter()
            .filter(|(_, error)| error.class() != Class::Invalid)
            .map(|(work, _)| work.name.clone())
            .collect();
        if let Some(delivery) = deliveries.get_mut(label) {
            delivery.running.remove(cluster);
            match &first {
                // A conflict is not worth telling: it passes with the next look.
                Some(_) if failures.iter().all(|(_, error)| error.class() == Class::Conflict) => {}
                Some(first) => {
                    delivery.failures.insert(cluster.clone(), first.clone());
                }
                None => {
                    delivery.failures.remove(cluster);
                }
            }
            if !lasting.is_empty() {
                let again = Pending::Named(lasting);
                match delivery.pending.get_mut(cluster) {
                    Some(pending) => pending.merge(again),
                    None => {
                        delivery.pending.insert(cluster.clone(), again);
                    }
                }
            }
        }
        drop(deliveries);
        if let Some(name) = world.by_label.lock().get(label).cloned() {
            world.report_soon(name);
        }
        // One that may pass decides when to look again.
        failures.sort_by_key(|(_, error)| error.class() == Class::Invalid);
        failures.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Other works of a Binding have to stay for now, or no longer: what is on its way out may be done with.
    fn kept_others(&self, label: &Arc<str>) {
        let world = &*self.0;
        let name = world.by_label.lock().get(label).cloned();
        let binding = name.and_then(|name| world.binding(&name));
        if binding.is_none_or(|binding| binding.metadata.is_deleting()) {
            world.send.add(Send::Prepare(label.clone()));
        }
    }

    /// What is to be written to a mailbox: what takes nothing from any work, and what does.
    fn plan(
        &self,
        label: &str,
        cluster: &ClusterName,
        pending: &Pending,
        prepared: Option<&Prepared>,
    ) -> (Vec<Op>, Vec<Release>) {
        let held = self.0.held.lock();
        let wanted = prepared.filter(|prepared| prepared.destinations.contains(cluster));
        let (works, held): (Vec<_>, Vec<Arc<HeldWork>>) = match pending {
            Pending::All => {
                let works = wanted.map(|prepared| prepared.works.values().cloned().collect());
                (works.unwrap_or_default(), held.in_mailbox(label, cluster))
            }
            Pending::Named(names) => {
                let works = names.iter().filter_map(|name| wanted?.works.get(name).cloned()).collect();
                (works, names.iter().filter_map(|name| held.get(label, cluster, name)).collect())
            }
        };
        let (works, errors) = self.customized(label, cluster, pending, works);
        let claims = self.0.claims.lock();
        let works: Vec<_> = works.iter().map(|bundle| claims.settle(cluster, bundle)).collect();
        drop(claims);
        let ops = match wanted {
            Some(prepared) => {
                let keep: BTreeSet<String> = prepared.keep.iter().chain(errors.keys()).cloned().collect();
                plan(cluster, Demand::Deliver { works: &works, keep: &keep }, &held)
            }
            None => plan(cluster, Demand::Withdraw, &held),
        };
        let (mut puts, mut losing) = (Vec::new(), Vec::new());
        for op in ops {
            let objects = releases(&op, &held);
            let name = op.work();
            match held.iter().find(|held| held.name == name) {
                Some(held) if !objects.is_empty() || matches!(op, Op::Delete { .. }) => {
                    losing.push(Release { op, held: held.clone(), objects });
                }
                _ => puts.push(op),
            }
        }
        (puts, losing)
    }

    /// The works as they are for this cluster, and those that cannot be made for it, which stay as they were sent.
    fn customized(
        &self,
        label: &str,
        cluster: &ClusterName,
        pending: &Pending,
        works: Vec<Arc<Bundle>>,
    ) -> (Vec<Arc<Bundle>>, BTreeMap<String, Vec<String>>) {
        let mut errors = BTreeMap::new();
        let works = if works.iter().any(|bundle| bundle.may_differ()) {
            let properties = self.0.properties_of(cluster);
            let made = works.into_iter().filter_map(|bundle| {
                match bundle.customized(cluster, &properties, self.0.limits.max_bytes) {
                    Ok(None) => Some(bundle),
                    Ok(Some(own)) => Some(Arc::new(own)),
                    Err(problems) => {
                        errors.insert(bundle.name.clone(), problems);
                        None
                    }
                }
            });
            made.collect()
        } else {
            works
        };
        let mut deliveries = self.0.deliveries.0.lock();
        if let Some(delivery) = deliveries.get_mut(label) {
            let told = delivery.not_expanded.entry(cluster.clone()).or_default();
            match pending {
                Pending::All => told.clear(),
                Pending::Named(names) => told.retain(|name, _| !names.contains(name)),
            }
            told.extend(errors.clone());
            if told.is_empty() {
                delivery.not_expanded.remove(cluster);
            }
        }
        drop(deliveries);
        (works, errors)
    }

    async fn write(&self, ops: Vec<Op>) -> Vec<(ObjectName, Error)> {
        let its = &self.0.its;
        let writes = ops.into_iter().map(|op| async move {
            let done = execute(its, &(&op).into()).await;
            done.err().map(|error| (op.work(), without_mailbox(error, &op)))
        });
        stream::iter(writes).buffer_unordered(WRITES).filter_map(std::future::ready).collect().await
    }
}

/// A mailbox that is not there is no race that passes at once.
fn without_mailbox(error: Error, op: &Op) -> Error {
    match &error {
        Error::Op { cause, .. } if cause.is_not_found() && matches!(op, Op::Create { .. }) => {
            Error::Later(format!("there is no mailbox yet, or no longer ({cause})"))
        }
        _ => error,
    }
}

/// What was read for a Binding.
#[derive(Default)]
struct Objects {
    items: Vec<Item>,
    /// The uids of objects that are named and could not be read.
    missing: Vec<String>,
    /// The objects that are named and are not there.
    gone: BTreeSet<Box<str>>,
    problems: Vec<String>,
    failure: Option<Error>,
}

/// Names of works that are asked for with another content than before, or before or now only.
fn changed(before: &Prepared, now: &Prepared) -> BTreeSet<String> {
    let differs =
        |name: &String, bundle: &Arc<Bundle>| now.works.get(name).is_none_or(|now| now.digest != bundle.digest);
    let altered = before.works.iter().filter(|(name, bundle)| differs(name, bundle)).map(|(name, _)| name);
    let new = now.works.keys().filter(|name| !before.works.contains_key(*name));
    let kept = before.keep.symmetric_difference(&now.keep);
    altered.chain(new).chain(kept).cloned().collect()
}

/// The label value that stands for a Binding.
pub(crate) fn label_of(name: &BindingName) -> Arc<str> {
    label_value(name.as_str()).into()
}
