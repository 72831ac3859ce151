//! What is known of a ManifestWork in a mailbox: little enough to know it of a hundred thousand.

use super::bundle::Packing;
use super::claims::{Claim, Manifest, claims};
use api::work::{BINDING_LABEL, CONTENT_ANNOTATION, MEMBERS_ANNOTATION, ManifestConfig, ManifestWorkStatus, WDS_LABEL};
use api::{ClusterName, ObjectMeta, ObjectName, Timestamp};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A ManifestWork as the plan and the status see it. Reads from the object; of the spec, which objects it names.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(from = "Whole")]
pub struct HeldWork {
    /// Mailbox and name.
    pub name: ObjectName,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.generation`
    pub generation: i64,
    /// `metadata.creationTimestamp`
    pub created: Option<Timestamp>,
    /// The value of the label that names the WDS.
    pub wds: String,
    /// The objects that it holds.
    pub objects: Box<[Claim]>,
    /// The value of the label that names the Binding.
    pub binding: String,
    /// The annotation with digest and generation.
    pub content: String,
    /// The annotation with the members.
    pub members: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether the cluster has carried it out, and if it could not, why.
    pub progress: Progress,
}

/// How far the cluster is with a work.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Progress {
    /// Nothing was reported yet.
    #[default]
    Waiting,
    /// Every manifest is applied.
    Applied,
    /// A manifest could not be applied; the reason that the agent gives.
    Failed(String),
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Whole {
    metadata: ObjectMeta,
    spec: Spec,
    status: ManifestWorkStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
#[serde(rename_all = "camelCase")]
struct Spec {
    workload: Workload,
    manifest_configs: Option<Vec<ManifestConfig>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Workload {
    manifests: Option<Vec<Manifest>>,
}

/// OCM's condition of a work and of a manifest.
const APPLIED: &str = "Applied";

impl From<Whole> for HeldWork {
    fn from(work: Whole) -> Self {
        let progress = progress(&work.status, work.metadata.generation);
        let applied = applied(&work.status, &progress);
        let mut meta = work.metadata;
        let configs = work.spec.manifest_configs.unwrap_or_default();
        let mut take = |key: &str| meta.annotations.remove(key).unwrap_or_default();
        Self {
            content: take(CONTENT_ANNOTATION),
            members: take(MEMBERS_ANNOTATION),
            name: meta.object_name(),
            created: meta.creation_timestamp,
            wds: meta.labels.remove(WDS_LABEL).unwrap_or_default(),
            objects: claims(&work.spec.workload.manifests.unwrap_or_default(), &configs, |group, kind, name| {
                progress == Progress::Applied
                    || applied.contains(&(group, kind, name.namespace.as_str(), name.name.as_str()))
            }),
            binding: meta.labels.remove(BINDING_LABEL).unwrap_or_default(),
            deleting: meta.is_deleting(),
            uid: meta.uid,
            generation: meta.generation,
            progress,
        }
    }
}

fn progress(status: &ManifestWorkStatus, generation: i64) -> Progress {
    let Some(applied) = status.conditions.iter().find(|condition| condition.type_ == APPLIED) else {
        return Progress::Waiting;
    };
    // What it says is about an older spec.
    if applied.observed_generation.is_some_and(|observed| observed < generation) {
        return Progress::Waiting;
    }
    if applied.is_true() {
        return Progress::Applied;
    }
    let manifests = status.resource_status.manifests.iter();
    let failed = manifests.flat_map(|manifest| manifest.conditions.iter().map(move |c| (&manifest.resource_meta, c)));
    let failed = failed.filter(|(_, condition)| condition.type_ == APPLIED && !condition.is_true()).map(|(meta, c)| {
        let name = ObjectName::namespaced(meta.namespace.clone(), meta.name.clone());
        format!("{} {name}: {}", meta.kind, c.message)
    });
    Progress::Failed(failed.min().unwrap_or_else(|| applied.message.clone()))
}

/// The manifests that are reported as applied, for the present content of the work: group, kind, namespace, name.
fn applied<'a>(status: &'a ManifestWorkStatus, progress: &Progress) -> BTreeSet<(&'a str, &'a str, &'a str, &'a str)> {
    if *progress == Progress::Waiting {
        return BTreeSet::new();
    }
    let manifests = status.resource_status.manifests.iter();
    let done = manifests.filter(|one| one.conditions.iter().any(|held| held.type_ == APPLIED && held.is_true()));
    let metas = done.map(|one| &one.resource_meta);
    metas.map(|meta| (meta.group.as_str(), meta.kind.as_str(), meta.namespace.as_str(), meta.name.as_str())).collect()
}

impl HeldWork {
    /// Whether the cluster has reported that this object is applied, for the present content of the work, and the work is
    /// not on its way out.
    pub fn has_applied(&self, object: &str) -> bool {
        !self.deleting && self.objects.iter().any(|claim| &*claim.object == object && claim.applied)
    }

    /// The mailbox that it is in.
    pub fn cluster(&self) -> ClusterName {
        ClusterName::from(self.name.namespace.as_str())
    }

    /// Whether the work has this content: it was written with it, and its spec is the one of that write.
    pub(super) fn has(&self, content: &str) -> bool {
        self.content == content
    }

    /// Whether only what the cluster reports differs.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        let (one, two) = (self, other);
        let asked = |work: &Self| {
            work.objects.iter().map(|claim| (claim.object.clone(), claim.only_created)).collect::<Vec<_>>()
        };
        asked(one) == asked(two)
            && (&one.uid, one.generation, &one.binding, &one.content, one.deleting)
                == (&two.uid, two.generation, &two.binding, &two.content, two.deleting)
    }
}

/// The ManifestWorks of one WDS, by Binding and mailbox, with how far each Binding is.
#[derive(Default)]
pub struct Works {
    bindings: BTreeMap<String, Mailboxes>,
}

#[derive(Default)]
struct Mailboxes {
    works: BTreeMap<ClusterName, BTreeMap<String, Arc<HeldWork>>>,
    waiting: usize,
    failed: BTreeSet<ObjectName>,
}

impl Works {
    /// A work is there, or no longer. Tells the label values of the Bindings that it was and is of.
    pub fn set(
        &mut self,
        name: &ObjectName,
        before: Option<&HeldWork>,
        after: Option<Arc<HeldWork>>,
    ) -> BTreeSet<String> {
        let mut touched = BTreeSet::new();
        if let Some(before) = before {
            touched.insert(before.binding.clone());
            self.remove(&before.binding, name);
        }
        if let Some(after) = after {
            touched.insert(after.binding.clone());
            let mailboxes = self.bindings.entry(after.binding.clone()).or_default();
            match after.progress {
                Progress::Waiting => mailboxes.waiting += 1,
                Progress::Applied => {}
                Progress::Failed(_) => {
                    mailboxes.failed.insert(name.clone());
                }
            }
            mailboxes.works.entry(after.cluster()).or_default().insert(name.name.clone(), after);
        }
        touched
    }

    fn remove(&mut self, binding: &str, name: &ObjectName) {
        let Some(mailboxes) = self.bindings.get_mut(binding) else { return };
        let cluster = ClusterName::from(name.namespace.as_str());
        let Some(works) = mailboxes.works.get_mut(&cluster) else { return };
        let Some(work) = works.remove(&name.name) else { return };
        if works.is_empty() {
            mailboxes.works.remove(&cluster);
        }
        match work.progress {
            Progress::Waiting => mailboxes.waiting -= 1,
            Progress::Applied => {}
            Progress::Failed(_) => {
                mailboxes.failed.remove(name);
            }
        }
        if mailboxes.works.is_empty() {
            self.bindings.remove(binding);
        }
    }

    /// The works of a Binding, given by its label value, in one mailbox.
    pub fn in_mailbox(&self, binding: &str, cluster: &ClusterName) -> Vec<Arc<HeldWork>> {
        let works = self.bindings.get(binding).and_then(|mailboxes| mailboxes.works.get(cluster));
        works.into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// One work of a Binding.
    pub fn get(&self, binding: &str, cluster: &ClusterName, name: &str) -> Option<Arc<HeldWork>> {
        self.bindings.get(binding)?.works.get(cluster)?.get(name).cloned()
    }

    /// The names of the works of a Binding that hold one of these objects.
    pub fn holding(&self, binding: &str, objects: &BTreeSet<Box<str>>) -> BTreeSet<String> {
        let works = self.bindings.get(binding).into_iter().flat_map(|mailboxes| mailboxes.works.values());
        let works = works.flat_map(BTreeMap::values);
        let holds = |work: &&Arc<HeldWork>| work.objects.iter().any(|claim| objects.contains(&claim.object));
        works.filter(holds).map(|work| work.name.name.clone()).collect()
    }

    /// How many works a Binding has.
    pub fn count(&self, binding: &str) -> usize {
        self.bindings.get(binding).map_or(0, |mailboxes| mailboxes.works.values().map(BTreeMap::len).sum())
    }

    /// Whether a Binding has works that are neither being deleted nor among those that are kept for now.
    pub fn has_lasting(&self, binding: &str, kept: impl Fn(&HeldWork) -> bool) -> bool {
        let works = self.bindings.get(binding).into_iter().flat_map(|mailboxes| mailboxes.works.values());
        works.flat_map(BTreeMap::values).any(|work| !work.deleting && !kept(work))
    }

    /// The mailboxes in which a Binding has works.
    pub fn mailboxes(&self, binding: &str) -> BTreeSet<ClusterName> {
        self.bindings.get(binding).into_iter().flat_map(|mailboxes| mailboxes.works.keys().cloned()).collect()
    }

    /// Every Binding, by its label value, that has works.
    pub fn bindings(&self) -> impl Iterator<Item = &str> {
        self.bindings.keys().map(String::as_str)
    }

    /// Works of a Binding whose cluster has reported nothing yet.
    pub fn waiting(&self, binding: &str) -> usize {
        self.bindings.get(binding).map_or(0, |mailboxes| mailboxes.waiting)
    }

    /// How many works of a Binding a cluster could not apply, and the first `most` of them with the reason.
    pub fn failed(&self, binding: &str, most: usize) -> (usize, Vec<(ClusterName, String)>) {
        let Some(mailboxes) = self.bindings.get(binding) else { return (0, Vec::new()) };
        let first = mailboxes.failed.iter().take(most).filter_map(|name| {
            let cluster = ClusterName::from(name.namespace.as_str());
            let work = mailboxes.works.get(&cluster)?.get(&name.name)?;
            match &work.progress {
                Progress::Failed(reason) => Some((cluster, reason.clone())),
                Progress::Waiting | Progress::Applied => None,
            }
        });
        (mailboxes.failed.len(), first.collect())
    }

    /// Which objects went together, as the works of a Binding tell.
    pub fn packing(&self, binding: &str) -> Packing {
        let works = self.bindings.get(binding).into_iter().flat_map(|mailboxes| mailboxes.works.values());
        let mut packing = Packing::new();
        for work in works.flat_map(BTreeMap::values).filter(|work| !work.deleting) {
            let Some(number) = work.name.name.rsplit('-').next().and_then(|number| number.parse().ok()) else {
                continue;
            };
            for member in work.members.split(',').filter(|member| !member.is_empty()) {
                packing.entry(member.to_owned()).or_insert(number);
            }
        }
        packing
    }
}
