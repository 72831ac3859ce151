//! Letting go of objects in the clusters: carries out what `planner::transport::handover` decides.
//!
//! Before a work is deleted, or written without an object that it held, everything that could ask for the object is read
//! from the servers and compared with what is known from watches, of which any may be behind. One mailbox lets go for one
//! Binding at a time, so that two works that hold one object are never let go of because of each other.

use crate::transport::Sender;
use crate::wds::World;
use api::cluster::MANAGED_CLUSTERS;
use api::control::{BINDING_POLICIES, BINDINGS};
use api::work::{MANIFEST_WORKS, ManifestWork};
use api::{ClusterName, ObjectMeta, ObjectName, PartialObject, Resource, Status};
use client::{Client, ListParams};
use controller::Error;
use futures_util::StreamExt;
use futures_util::stream;
use parking_lot::Mutex;
use planner::binding::{ClusterHeader, Index, ObjectId, WorkloadHeader};
use planner::transport::{Fate, HeldWork, Op, is_kept, keeping, object_text, read_object_text};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Objects of the WDS that are read at a time for one mailbox.
const READS: usize = 32;
/// Works that are kept are looked at again this long after somebody began or ceased to ask for something: changes come many
/// at a time.
const KEPT_AFTER: Duration = Duration::from_millis(500);

/// A Binding, by the label value of its works, in one cluster.
type Mailbox = (Arc<str>, ClusterName);

/// The works that are to go, or to lose an object, and have to wait for another work that gets the object: by Binding and
/// mailbox. Bounded by the works that there are.
#[derive(Default)]
pub(crate) struct Handovers {
    kept: Mutex<BTreeMap<Mailbox, BTreeSet<String>>>,
    /// Held while a mailbox lets go.
    turns: Mutex<HashMap<ClusterName, Arc<tokio::sync::Mutex<()>>>>,
}

impl Handovers {
    /// Whose turn it is to let go of something in a mailbox.
    pub(crate) fn turn(&self, cluster: &ClusterName) -> Arc<tokio::sync::Mutex<()>> {
        self.turns.lock().entry(cluster.clone()).or_default().clone()
    }

    /// Notes which works are kept, of those that were looked at (all if none are named). Tells whether that is new.
    pub(crate) fn note(
        &self,
        label: &Arc<str>,
        cluster: &ClusterName,
        looked: Option<&BTreeSet<String>>,
        kept: BTreeSet<String>,
    ) -> bool {
        let key = (label.clone(), cluster.clone());
        let mut held = self.kept.lock();
        let before = held.remove(&key).unwrap_or_default();
        let mut now = before.clone();
        now.retain(|name| looked.is_some_and(|looked| !looked.contains(name)));
        now.extend(kept);
        let changed = before != now;
        if !now.is_empty() {
            held.insert(key, now);
        }
        changed
    }

    pub(crate) fn keeps(&self, label: &Arc<str>, work: &HeldWork) -> bool {
        let key = (label.clone(), work.cluster());
        self.kept.lock().get(&key).is_some_and(|names| names.contains(&work.name.name))
    }
}

/// What was found as the index has it, by the turn of the index before it was read.
#[derive(Default)]
pub(crate) struct Compared {
    policies: Option<u64>,
    objects: HashMap<ObjectId, u64>,
}

/// A write after which a work holds fewer objects.
pub(crate) struct Release {
    pub(crate) op: Op,
    pub(crate) held: Arc<HeldWork>,
    pub(crate) objects: Vec<Box<str>>,
}

/// What may be written now.
#[derive(Default)]
pub(crate) struct Judged {
    pub(crate) go: Vec<Op>,
    /// The names of works that keep what they should let go of.
    pub(crate) kept: BTreeSet<String>,
    pub(crate) failures: Vec<(ObjectName, Error)>,
}

/// What is known of an object that a work is to let go of.
struct Question {
    ids: Vec<ObjectId>,
    fate: Fate,
}

impl World {
    /// Has works that are kept looked at again: somebody may ask for their objects no longer.
    pub(crate) fn look_at_kept(&self) {
        let kept: Vec<_> = self.handovers.kept.lock().iter().map(|(key, names)| (key.clone(), names.clone())).collect();
        for ((label, cluster), names) in kept {
            self.ask_after(&label, &cluster, names, KEPT_AFTER);
        }
    }

    /// The objects that Bindings without a policy ask for in a cluster.
    fn asked_by_hand(&self, index: &Index, cluster: &ClusterName) -> HashSet<Box<str>> {
        let bindings = self.bindings.all();
        let by_hand = bindings.iter().filter(|binding| {
            let there = binding.spec.destinations.iter().any(|to| to.cluster_id == cluster.as_str());
            is_by_hand(&binding.metadata) && !binding.metadata.is_deleting() && there
        });
        let objects = by_hand.flat_map(|binding| binding.spec.workload.iter());
        let text = |reference: &api::control::ObjectReference| {
            let resource = api::GroupResource { group: reference.group.clone(), resource: reference.resource.clone() };
            let kind = index.kind(&resource)?.kind;
            Some(object_text(&kind, &reference.group, &reference.object_name()))
        };
        objects.filter_map(text).collect()
    }
}

impl Sender {
    /// Judges writes after which works hold fewer objects. The turn of the mailbox is held.
    pub(crate) async fn judge(&self, label: &Arc<str>, cluster: &ClusterName, releases: Vec<Release>) -> Judged {
        let (turn, questions) = self.ask_index(cluster, &releases);
        let unasked = questions.iter().flatten().filter(|question| question.fate == Fate::Free);
        let unasked: BTreeSet<&ObjectId> = unasked.flat_map(|question| &question.ids).collect();
        let behind = match self.compare(label, cluster, turn, &unasked).await {
            Ok(behind) => behind,
            Err(error) => {
                let failure = |release: Release| (release.op.work(), Error::Later(error.to_string()));
                return Judged { failures: releases.into_iter().map(failure).collect(), ..Judged::default() };
            }
        };
        let mut judged = Judged::default();
        for (release, questions) in releases.into_iter().zip(questions) {
            let work = release.op.work();
            match self.judge_one(release, questions, &behind).await {
                Ok((op, kept)) => {
                    judged.go.extend(op);
                    if kept {
                        judged.kept.insert(work.name);
                    }
                }
                Err(error) => judged.failures.push((work, error)),
            }
        }
        judged
    }

    /// What the index and the mailbox have, of each object of each release; and the turn of the index.
    fn ask_index(&self, cluster: &ClusterName, releases: &[Release]) -> (u64, Vec<Vec<Question>>) {
        let world = &*self.0;
        let index = world.index.lock();
        let claims = world.claims.lock();
        let by_hand = world.asked_by_hand(&index, cluster);
        let mut resources = HashMap::new();
        let mut question = |held: &HeldWork, text: &str| {
            let Some((kind, group, name)) = read_object_text(text) else {
                return Question { fate: claims.fate(held, text, by_hand.contains(text)), ids: Vec::new() };
            };
            let resources = resources
                .entry((group.to_owned(), kind.to_owned()))
                .or_insert_with(|| index.resources_of(group, kind).into_iter().map(Arc::new).collect::<Vec<_>>());
            let ids = resources.iter().map(|resource| ObjectId { resource: resource.clone(), name: name.clone() });
            let ids: Vec<_> = ids.collect();
            let asked = by_hand.contains(text) || ids.iter().any(|id| index.is_asked(id, cluster));
            Question { fate: claims.fate(held, text, asked), ids }
        };
        let questions = releases
            .iter()
            .map(|release| release.objects.iter().map(|object| question(&release.held, object)).collect::<Vec<_>>());
        (index.turn(), questions.collect())
    }

    /// Reads everything that could ask for these objects; tells of which of them the index is behind.
    async fn compare(
        &self,
        label: &Arc<str>,
        cluster: &ClusterName,
        turn: u64,
        objects: &BTreeSet<&ObjectId>,
    ) -> client::Result<HashSet<ObjectId>> {
        let world = &*self.0;
        if objects.is_empty() {
            return Ok(HashSet::new());
        }
        let compared = world.deliveries.compared(label);
        let mut compared = compared.lock().await;
        let since = {
            let index = world.index.lock();
            objects.iter().map(|id| index.decided(id, cluster)).max().unwrap_or_default()
        };
        let name = ObjectName::cluster(cluster.as_str());
        let header: Option<ClusterHeader> = world.its.find(&MANAGED_CLUSTERS, &name).await?;
        let mut agreed = true;
        if compared.policies.is_none_or(|at| at < since) {
            let all = ListParams::default();
            let policies = world.sender.list_metadata(&BINDING_POLICIES, "", &all).await?.items;
            let bindings = world.sender.list_metadata(&BINDINGS, "", &all).await?.items;
            agreed &= world.index.lock().agrees_on_policies(policies.iter().map(|policy| &policy.metadata));
            agreed &= world.agrees_on_bindings(&bindings);
            if agreed {
                compared.policies = Some(turn);
            }
        }
        let reads: BTreeMap<ObjectId, Resource> = {
            let index = world.index.lock();
            let with_namespaces = objects.iter().flat_map(|id| [Some((*id).clone()), index.namespace_of(id)]).flatten();
            let open = with_namespaces.filter(|id| compared.objects.get(id).is_none_or(|at| *at < since));
            open.filter_map(|id| Some((id.clone(), index.resource(&id.resource)?.clone()))).collect()
        };
        let reads = reads.into_iter().map(|(id, resource)| async move {
            let header = read(&world.sender, &resource, &id.name).await;
            (id, header)
        });
        let reads: Vec<(ObjectId, client::Result<Option<WorkloadHeader>>)> =
            stream::iter(reads).buffer_unordered(READS).collect().await;
        let index = world.index.lock();
        agreed &= index.agrees_on_cluster(cluster, header.as_ref());
        for (id, header) in reads {
            if index.agrees_on_object(&id, header?.as_ref()) {
                compared.objects.insert(id, turn);
            }
        }
        let compared_since = |id: &ObjectId| compared.objects.get(id).is_some_and(|at| *at >= since);
        let known = |id: &ObjectId| compared_since(id) || index.resource(&id.resource).is_none();
        let settled = |id: &ObjectId| {
            let in_namespace = index.namespace_of(id).is_none_or(|namespace| known(&namespace));
            // Nobody has begun and ceased to ask for it meanwhile.
            let still = !index.is_asked(id, cluster) && index.decided(id, cluster) <= turn;
            agreed && known(id) && in_namespace && still
        };
        let behind = objects.iter().filter(|id| !settled(id)).map(|id| (*id).clone()).collect();
        Ok(behind)
    }

    /// What may be written of one release, and whether the work keeps something.
    async fn judge_one(
        &self,
        release: Release,
        questions: Vec<Question>,
        behind: &HashSet<ObjectId>,
    ) -> controller::Result<(Option<Op>, bool)> {
        let its = &self.0.its;
        let mut kept = BTreeSet::new();
        for (object, question) in release.objects.iter().zip(&questions) {
            match &question.fate {
                Fate::Free => {
                    if let Some(id) = question.ids.iter().find(|id| behind.contains(*id)) {
                        // As with a write that is refused: what this was decided from is out of date, and that passes.
                        let why = "whether it is still asked for cannot be told: watches are behind";
                        return Err(Error::Client(Status::conflict(&id.resource, &id.name.name, why).into()));
                    }
                }
                Fate::HandedTo(other) => {
                    // Known from a watch, which may be behind: it must have the object now.
                    let now: Option<HeldWork> = its.find(&MANIFEST_WORKS, &other.name).await?;
                    if !now.is_some_and(|now| now.uid == other.uid && now.has_applied(object)) {
                        kept.insert(object.clone());
                    }
                }
                Fate::Waits => {
                    kept.insert(object.clone());
                }
            }
        }
        let Some(first) = kept.first() else { return Ok((Some(release.op), false)) };
        let (work, count) = (&release.held.name, kept.len());
        tracing::debug!(%work, "keeps {count} objects until another work has them applied, {first} among them");
        if is_kept(&release.op, &release.held, &kept) {
            return Ok((None, true));
        }
        let work: Option<ManifestWork> = its.find(&MANIFEST_WORKS, &release.held.name).await?;
        let op = work.filter(|work| work.metadata.uid == release.held.uid);
        let op = op.and_then(|work| keeping(&release.op, &work, &kept));
        Ok((op, true))
    }
}

impl World {
    /// Whether the Bindings that no policy has are those that are known.
    fn agrees_on_bindings(&self, now: &[PartialObject]) -> bool {
        let by_hand = |meta: &ObjectMeta| {
            is_by_hand(meta).then(|| (meta.name.clone(), meta.uid.clone(), meta.generation, meta.is_deleting()))
        };
        let now: BTreeSet<_> = now.iter().filter_map(|binding| by_hand(&binding.metadata)).collect();
        now == self.bindings.all().iter().filter_map(|binding| by_hand(&binding.metadata)).collect()
    }
}

fn is_by_hand(binding: &ObjectMeta) -> bool {
    !binding.owner_references.iter().any(|owner| owner.kind == BINDING_POLICIES.kind)
}

async fn read(wds: &Client, resource: &Resource, name: &ObjectName) -> client::Result<Option<WorkloadHeader>> {
    wds.find(resource, name).await
}
