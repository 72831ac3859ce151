//! Beside one WDS: the reflectors and state that its three reconcilers share, and how they start.
//!
//! ```text
//! policies, objects, clusters ─> Index ──> binding  (asked -> resolved)
//! Bindings, transforms, works ─> Works ──> transport (resolved -> sent)
//! WorkStatuses ─> Statuses, the Index ───> status   (seen -> told)
//! ```
//!
//! Nothing is written before every first list has been seen: what is not known yet must not look like what is gone.

use crate::binding::Binder;
use crate::discovery::{ApiGroups, Discovery};
use crate::handover::Handovers;
use crate::status::{Statuses, Tell, Teller};
use crate::transport::{Deliveries, Send, Sender};
use crate::{apply_crds, until_done};
use api::control::{
    BINDING_POLICIES, BINDINGS, Binding, BindingPolicy, CUSTOM_TRANSFORMS, CustomTransform, PROPERTIES_NAMESPACE,
    REPORT_NAMESPACE, STATUS_COLLECTORS,
};
use api::work::{MANIFEST_WORKS, WDS_LABEL, WORK_STATUSES};
use api::{BindingName, ClusterName, GroupResource, Object, ObjectName, Op, PartialObject, Resource, SpaceName};
use client::{Change, Changes, Client, Reflector, Selection};
use clock::SharedClock;
use controller::{EventType, Queue, Recorder, Regarding, Result, Shutdown, execute};
use machinery::template::Properties;
use parking_lot::Mutex;
use planner::binding::{ClusterHeader, Index, Touched};
use planner::customize::properties;
use planner::status::Announcement;
use planner::transform::Transforms;
use planner::transport::{Claims, HeldWork, Limits, Works, handled_differently, label_value};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

const MANAGED_CLUSTERS: Resource =
    Resource::cluster("cluster.open-cluster-management.io", "v1", "managedclusters", "ManagedCluster");
const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");

/// Policies are resolved in memory; a worker only waits for the write of its Binding.
const BINDING_WORKERS: usize = 4;
/// Each waits for one mailbox at a time: enough that some slow ones do not hold up the others.
const TRANSPORT_WORKERS: usize = 32;
/// Each waits for one object of the WDS at a time.
const STATUS_WORKERS: usize = 16;
/// The statuses of a Binding and its policy are looked at this long after what they tell of: a delivery has several steps
/// within a few milliseconds, and writing a status at each would delay the next.
const REPORT_AFTER: Duration = Duration::from_millis(20);

/// Who tells, in Events.
const REPORTING_CONTROLLER: &str = "kubestellar";

/// What is beside one WDS, and what it is told.
pub struct WdsConfig {
    /// The name of the WDS, in names and labels of what is sent.
    pub name: SpaceName,
    /// The WDS.
    pub wds: Client,
    /// The ITS that it sends to.
    pub its: Client,
    /// Tells when a condition changed.
    pub clock: SharedClock,
    /// How much goes into one ManifestWork.
    pub limits: Limits,
    /// Whose objects may be workload.
    pub api_groups: ApiGroups,
}

/// Has a WDS that no ITS is there for yet take policies: they are resolved and sent when there is one. Runs until told to
/// stop.
pub async fn await_its(wds: Client, shutdown: Shutdown) {
    let serving = async {
        until_done("set up the WDS", || set_up(&wds, api::crds::WDS, REPORT_NAMESPACE)).await;
        std::future::pending::<()>().await;
    };
    shutdown.run_until_cancelled(serving).await;
}

/// Serves a WDS until told to stop. While the WDS or the ITS cannot be reached, or the ITS is no OCM hub yet, it waits.
pub async fn run(config: WdsConfig, shutdown: Shutdown) {
    let its = config.its.clone();
    let serving = async {
        until_done("set up the WDS", || set_up(&config.wds, api::crds::WDS, REPORT_NAMESPACE)).await;
        // Whoever runs beside the ITS brings its kinds.
        until_done("wait for the ITS", || established(&its, "managedclusters.cluster.open-cluster-management.io"))
            .await;
        until_done("wait for the ITS", || established(&its, "manifestworks.work.open-cluster-management.io")).await;
        until_done("set up the ITS", || set_up(&its, &[], PROPERTIES_NAMESPACE)).await;
    };
    if shutdown.run_until_cancelled(serving).await.is_none() {
        return;
    }
    let world = Arc::new(World::start(config));
    let discovery = Discovery::start(world.clone());
    let mut feeds = Feeds::subscribe(&world);
    let first_look = async {
        tokio::join!(world.synced(), discovery.first_look());
        feeds.first_look(&world);
    };
    if shutdown.run_until_cancelled(first_look).await.is_none() {
        return;
    }
    tracing::info!("WDS {}: all is known, {} policies", world.name, world.policies.len());
    let mut tasks = JoinSet::new();
    tasks.spawn(discovery.follow(shutdown.clone()));
    tasks.spawn(feeds.follow(world.clone()));
    tasks.spawn(crate::status::follow(world.clone(), its));
    tokio::join!(
        controller::run(Arc::new(Binder(world.clone())), world.resolve.clone(), BINDING_WORKERS, shutdown.clone()),
        controller::run(Arc::new(Sender(world.clone())), world.send.clone(), TRANSPORT_WORKERS, shutdown.clone()),
        controller::run(Arc::new(Teller(world.clone())), world.tell.clone(), STATUS_WORKERS, shutdown.clone()),
    );
}

async fn set_up(space: &Client, crds: &[&str], namespace: &str) -> Result<()> {
    if !crds.is_empty() {
        apply_crds(space, crds).await?;
    }
    let name = ObjectName::cluster(namespace);
    if space.find::<PartialObject>(&NAMESPACES, &name).await?.is_none() {
        match execute(space, &Op::create(NAMESPACES, Object::new("v1", "Namespace", &name))).await {
            Err(controller::Error::Op { cause, .. }) if cause.is_already_exists() => {}
            done => done?,
        }
    }
    Ok(())
}

pub(crate) async fn established(space: &Client, crd: &str) -> Result<()> {
    Ok(space.wait_established(crd).await?)
}

/// What the reconcilers of one WDS share.
pub(crate) struct World {
    pub name: SpaceName,
    pub limits: Limits,
    pub api_groups: ApiGroups,
    pub clock: SharedClock,
    /// The WDS, as each reconciler writes to it.
    pub binder: Client,
    pub sender: Client,
    pub teller: Client,
    /// The ITS, as the transport writes to it.
    pub its: Client,
    pub policies: Reflector<BindingPolicy>,
    pub bindings: Reflector<Binding>,
    pub transforms: Reflector<CustomTransform>,
    pub collectors: Reflector<PartialObject>,
    pub clusters: Reflector<ClusterHeader>,
    /// ConfigMaps with properties, named after their clusters.
    pub properties: Reflector<Object>,
    pub works: Reflector<HeldWork>,
    pub index: Mutex<Index>,
    /// Resources whose objects have a status of their own to write.
    pub with_status: Mutex<HashSet<GroupResource>>,
    /// The label value that stands for this WDS.
    pub label: String,
    pub held: Mutex<Works>,
    /// The works of every WDS, by the objects that they hold.
    pub claims: Mutex<Claims>,
    pub statuses: Mutex<Statuses>,
    /// Whether the ITS has told all statuses that it has.
    pub statuses_known: AtomicBool,
    pub removals: Mutex<Arc<Transforms>>,
    pub deliveries: Deliveries,
    pub handovers: Handovers,
    /// The Binding whose works have this label value.
    pub by_label: Mutex<HashMap<Arc<str>, BindingName>>,
    /// Tells users of policies what happens to them.
    recorder: Recorder,
    pub resolve: Queue<BindingName>,
    pub send: Queue<Send>,
    pub tell: Queue<Tell>,
}

impl World {
    fn start(config: WdsConfig) -> Self {
        let WdsConfig { name, wds, its, clock, limits, api_groups } = config;
        let sender = wds.clone().with_field_manager("transport-controller");
        let recorder = Recorder::start(wds.clone(), clock.clone(), REPORTING_CONTROLLER, name.as_str());
        let its = its.with_field_manager("transport-controller");
        Self {
            label: label_value(name.as_str()),
            policies: Reflector::start(wds.clone(), BINDING_POLICIES, Selection::all()),
            bindings: Reflector::start(wds.clone(), BINDINGS, Selection::all()),
            transforms: Reflector::start(wds.clone(), CUSTOM_TRANSFORMS, Selection::all()),
            collectors: Reflector::start(wds.clone(), STATUS_COLLECTORS, Selection::metadata()),
            clusters: Reflector::start(its.clone(), MANAGED_CLUSTERS, Selection::metadata()),
            properties: Reflector::start(its.clone(), CONFIG_MAPS, Selection::namespace(PROPERTIES_NAMESPACE)),
            works: Reflector::start(its.clone(), MANIFEST_WORKS, Selection::all().with_labels(WDS_LABEL)),
            binder: wds.clone().with_field_manager("Binding"),
            teller: wds.with_field_manager("Status"),
            sender,
            its,
            name,
            limits,
            api_groups,
            clock,
            index: Mutex::default(),
            with_status: Mutex::default(),
            held: Mutex::default(),
            claims: Mutex::default(),
            statuses: Mutex::default(),
            statuses_known: AtomicBool::new(false),
            removals: Mutex::default(),
            deliveries: Deliveries::default(),
            handovers: Handovers::default(),
            by_label: Mutex::default(),
            recorder,
            resolve: Queue::new(),
            send: Queue::new(),
            tell: Queue::new(),
        }
    }

    /// Waits until everything but the workload has been read once.
    async fn synced(&self) {
        tokio::join!(
            self.policies.synced(),
            self.bindings.synced(),
            self.transforms.synced(),
            self.collectors.synced(),
            self.clusters.synced(),
            self.properties.synced(),
            self.works.synced(),
        );
    }

    /// Has looked at again what a change may have altered.
    pub(crate) fn touch(&self, touched: Touched) {
        for object in touched.objects {
            let index = self.index.lock();
            let asking = index.requests(&object).into_iter();
            let asking = asking.filter(|request| request.modulation.want_singleton_reported_state);
            asking.for_each(|request| self.report_soon(request.policy.clone()));
            drop(index);
            self.tell.add(Tell::Return(object));
        }
        if !touched.bindings.is_empty() {
            self.look_at_kept();
        }
        touched.bindings.into_iter().for_each(|binding| self.resolve.add(binding));
    }

    /// Has the status of a Binding and its policy looked at, when what happens to it now has happened.
    pub(crate) fn report_soon(&self, name: BindingName) {
        self.tell.add_after(Tell::Report(name), REPORT_AFTER);
    }

    /// Has an Event written about a policy.
    pub(crate) fn announce(&self, policy: &BindingPolicy, told: &Announcement) {
        let meta = &policy.metadata;
        let regarding = Regarding::named(&BINDING_POLICIES, &ObjectName::cluster(meta.name.as_str()), &meta.uid);
        let type_ = if told.warning { EventType::Warning } else { EventType::Normal };
        self.recorder.event(regarding, type_, told.reason, "Deliver", &told.note);
    }

    pub(crate) fn policy(&self, name: &BindingName) -> Option<Arc<BindingPolicy>> {
        self.policies.get(&ObjectName::cluster(name.as_str()))
    }

    pub(crate) fn binding(&self, name: &BindingName) -> Option<Arc<Binding>> {
        self.bindings.get(&ObjectName::cluster(name.as_str()))
    }
}

/// Takes all changes that there are already.
pub(crate) fn drain<T>(changes: &mut Changes<T>, mut each: impl FnMut(Change<T>)) {
    while let Some(change) = changes.try_next() {
        each(change);
    }
}

/// What changes in the WDS and the ITS, but for the workload. One subscription for the first look and all that follows:
/// nothing can change between the two unseen.
struct Feeds {
    policies: Changes<BindingPolicy>,
    bindings: Changes<Binding>,
    transforms: Changes<CustomTransform>,
    collectors: Changes<PartialObject>,
    clusters: Changes<ClusterHeader>,
    properties: Changes<Object>,
    works: Changes<HeldWork>,
}

impl Feeds {
    fn subscribe(world: &World) -> Self {
        Self {
            policies: world.policies.subscribe(),
            bindings: world.bindings.subscribe(),
            transforms: world.transforms.subscribe(),
            collectors: world.collectors.subscribe(),
            clusters: world.clusters.subscribe(),
            properties: world.properties.subscribe(),
            works: world.works.subscribe(),
        }
    }

    /// Takes in all that there is. No reconciler runs yet.
    fn first_look(&mut self, world: &World) {
        drain(&mut self.clusters, |change| world.cluster_changed(&change));
        drain(&mut self.properties, drop);
        drain(&mut self.policies, |change| world.policy_changed(&change));
        drain(&mut self.bindings, |change| world.binding_changed(&change));
        drain(&mut self.transforms, drop);
        world.transforms_changed();
        let mut labels = BTreeSet::new();
        drain(&mut self.works, |change| {
            world.claims.lock().set(change.before.as_ref(), change.after.as_ref());
            let (before, after) = (world.own(change.before), world.own(change.after));
            labels.extend(world.held.lock().set(&change.name, before.as_deref(), after));
        });
        // Works whose Binding is gone are found by their label only.
        labels.into_iter().for_each(|label| world.send.add(Send::Prepare(label.into())));
    }

    async fn follow(mut self, world: Arc<World>) {
        loop {
            tokio::select! {
                change = self.policies.next() => world.policy_changed(&change),
                change = self.bindings.next() => world.binding_changed(&change),
                change = self.clusters.next() => world.cluster_changed(&change),
                change = self.properties.next() => world.properties_changed(&change.name.name.as_str().into()),
                change = self.works.next() => world.work_changed(change),
                _ = self.transforms.next() => {
                    drain(&mut self.transforms, drop);
                    world.transforms_changed();
                }
                _ = self.collectors.next() => {
                    drain(&mut self.collectors, drop);
                    world.collectors_changed();
                }
            }
        }
    }
}

impl World {
    fn policy_changed(&self, change: &Change<BindingPolicy>) {
        let name = BindingName::from(change.name.name.as_str());
        let touched = self.index.lock().set_policy(&name, change.after.as_deref());
        self.touch(touched);
        // Its finalizers or status may have changed.
        self.resolve.add(name.clone());
        self.report_soon(name);
    }

    fn binding_changed(&self, change: &Change<Binding>) {
        let name = BindingName::from(change.name.name.as_str());
        let label: Arc<str> = label_value(name.as_str()).into();
        match &change.after {
            Some(_) => self.by_label.lock().insert(label.clone(), name.clone()),
            None => self.by_label.lock().remove(&label),
        };
        if let (Some(before), Some(after)) = (&change.before, &change.after)
            && !handled_differently(before, after).is_empty()
        {
            // Others with the same objects say whether these are handled alike.
            let contenders = self.claims.lock().contenders(&self.label, &label);
            let names = self.by_label.lock();
            contenders
                .iter()
                .filter_map(|other| names.get(other.as_str()))
                .for_each(|other| self.report_soon(other.clone()));
        }
        self.look_at_kept();
        self.resolve.add(name.clone());
        self.send.add(Send::Prepare(label));
        self.report_soon(name);
    }

    fn cluster_changed(&self, change: &Change<ClusterHeader>) {
        let name = ClusterName::from(change.name.name.as_str());
        let touched = self.index.lock().set_cluster(&name, change.after.as_deref());
        self.touch(touched);
        self.properties_changed(&name);
        // Its mailbox may have come.
        self.retry_mailbox(&name);
    }

    /// What text is expanded with for a cluster.
    pub(crate) fn properties_of(&self, cluster: &ClusterName) -> Properties {
        let header = self.clusters.get(&ObjectName::cluster(cluster.as_str()));
        let held = self.properties.get(&ObjectName::namespaced(PROPERTIES_NAMESPACE, cluster.as_str()));
        let header = header.as_deref().cloned().unwrap_or_default();
        properties(cluster, &header.labels, &header.annotations, held.as_deref())
    }

    fn work_changed(&self, change: Change<HeldWork>) {
        let same = match (&change.before, &change.after) {
            (Some(before), Some(after)) => before.asks_the_same(after),
            _ => false,
        };
        let rivals = self.claims.lock().set(change.before.as_ref(), change.after.as_ref());
        let (before, after) = (self.own(change.before), self.own(change.after));
        let touched = self.held.lock().set(&change.name, before.as_deref(), after);
        touched.iter().for_each(|label| self.redeliver(label, &change.name, same));
        // Others that hold the same objects may decide about them now, or no longer.
        for rival in rivals.into_iter().filter_map(|rival| self.own(Some(rival))) {
            self.redeliver(&rival.binding, &rival.name, false);
        }
    }

    /// The work, if it is made from a Binding of this WDS.
    fn own(&self, work: Option<Arc<HeldWork>>) -> Option<Arc<HeldWork>> {
        work.filter(|work| work.wds == self.label)
    }

    /// Reads the CustomTransforms anew, and has everything prepared anew if they say something else than before.
    fn transforms_changed(&self) {
        let all = self.transforms.all();
        let (transforms, _) = Transforms::new(all.iter().map(|transform| &**transform));
        let changed = {
            let mut held = self.removals.lock();
            let changed = **held != transforms;
            *held = Arc::new(transforms);
            changed
        };
        if changed {
            self.by_label.lock().keys().for_each(|label| self.send.add(Send::Prepare(label.clone())));
        }
        self.tell.add(Tell::Transforms);
    }

    fn collectors_changed(&self) {
        self.by_label.lock().values().for_each(|name| self.report_soon(name.clone()));
    }
}

impl World {
    /// The ITS can be asked for statuses.
    pub(crate) fn statuses_are_known(&self) -> bool {
        self.statuses_known.load(Ordering::Acquire)
    }
}

/// WorkStatuses of this WDS.
pub(crate) fn status_selection(world: &World) -> (Resource, Selection) {
    let label = format!("{WDS_LABEL}={}", world.label);
    (WORK_STATUSES, Selection::all().with_labels(label))
}
