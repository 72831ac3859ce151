//! Which resources of a WDS are watched: every one that can be, in one version, as CustomResourceDefinitions come and go.

use crate::status::Tell;
use crate::until_done;
use crate::wds::World;
use api::{GroupResource, ObjectMeta, ObjectName, Resource};
use client::{Changes, Discovered, Reflector, Selection};
use controller::{Error, Result, Shutdown};
use parking_lot::Mutex;
use planner::binding::WorkloadHeader;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

const CRDS: Resource =
    Resource::cluster("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition");

/// How long a resource whose list fails may hold up the start. A broken conversion webhook of one CRD must not stop the
/// delivery of everything else; objects of such a resource stay in the Bindings that hold them.
const LIST_PATIENCE: Duration = Duration::from_secs(5);

/// Groups whose objects say something of the space that they are in, and are never workload.
const GROUPS_LEFT_OUT: [&str; 5] = [
    api::control::GROUP,
    "apiregistration.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];
/// The same, resource by resource.
const RESOURCES_LEFT_OUT: [(&str, &str); 8] = [
    ("", "endpoints"),
    ("", "events"),
    ("", "nodes"),
    ("events.k8s.io", "events"),
    ("networking.k8s.io", "ipaddresses"),
    ("networking.k8s.io", "servicecidrs"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "csistoragecapacities"),
];

/// Objects that every server keeps for itself: group, resource, namespace, name. Each cluster has its own.
const OBJECTS_LEFT_OUT: [(&str, &str, &str, &str); 1] = [("", "services", "default", "kubernetes")];

/// The API groups whose objects may be workload: every one, unless some are named.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ApiGroups(Option<Arc<BTreeSet<String>>>);

impl ApiGroups {
    /// Reads a list as in `apps,batch`. Nothing is every group; an empty element, as in `apps,`, is the core group.
    /// Definitions of kinds are always among them.
    pub fn parse(list: &str) -> Self {
        if list.is_empty() {
            return Self::default();
        }
        let groups = list.split(',').map(|group| group.trim().to_owned());
        Self(Some(Arc::new(groups.chain([CRDS.group.to_string()]).collect())))
    }

    fn have(&self, group: &str) -> bool {
        self.0.as_ref().is_none_or(|groups| groups.contains(group))
    }
}

/// Whether objects of the resource can be workload.
fn is_workload(found: &Discovered, groups: &ApiGroups) -> bool {
    let (group, plural) = (&*found.resource.group, &*found.resource.plural);
    groups.have(group)
        && found.has_verb("list")
        && found.has_verb("watch")
        && !GROUPS_LEFT_OUT.contains(&group)
        && !RESOURCES_LEFT_OUT.contains(&(group, plural))
}

/// A CustomResourceDefinition: what it adds to discovery, and whether it does already.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
struct Definition {
    metadata: ObjectMeta,
    spec: DefinitionSpec,
    status: client_status::DefinitionStatus,
}

#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
struct DefinitionSpec {
    group: String,
    names: DefinitionNames,
    versions: Vec<DefinitionVersion>,
}

#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
struct DefinitionNames {
    plural: String,
}

#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
struct DefinitionVersion {
    name: String,
    served: bool,
}

mod client_status {
    use api::Condition;
    use serde::Deserialize;

    #[derive(Clone, PartialEq, Debug, Default, Deserialize)]
    #[serde(default)]
    pub(super) struct DefinitionStatus {
        pub(super) conditions: Vec<Condition>,
    }
}

impl Definition {
    fn resource(&self) -> GroupResource {
        GroupResource { group: self.spec.group.clone(), resource: self.spec.names.plural.clone() }
    }

    fn is_served(&self) -> bool {
        let established = |c: &api::Condition| c.type_ == "Established" && c.is_true();
        !self.metadata.is_deleting()
            && self.spec.versions.iter().any(|version| version.served)
            && self.status.conditions.iter().any(established)
    }
}

/// Watches what there is to watch.
pub(crate) struct Discovery {
    world: Arc<World>,
    definitions: Reflector<Definition>,
    changes: Changes<Definition>,
    watched: Mutex<BTreeMap<GroupResource, Watched>>,
}

/// One resource that is watched. Dropping it ends the watch.
struct Watched {
    resource: Resource,
    reflector: Reflector<WorkloadHeader>,
    /// Present once the resource has been taken in.
    feeding: Option<JoinHandle<()>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(feeding) = &self.feeding {
            feeding.abort();
        }
    }
}

impl Discovery {
    pub(crate) fn start(world: Arc<World>) -> Self {
        let definitions = Reflector::start(world.binder.clone(), CRDS, Selection::all());
        let changes = definitions.subscribe();
        Self { world, definitions, changes, watched: Mutex::default() }
    }

    /// Waits until every object that there is has been taken in.
    pub(crate) async fn first_look(&self) {
        self.definitions.synced().await;
        until_done("discover the resources of the WDS", || self.look()).await;
        let reflectors: Vec<_> = self.watched.lock().values().map(|watched| watched.reflector.clone()).collect();
        for reflector in reflectors {
            // Not before the patience is over, and not if it only is slow.
            while tokio::time::timeout(LIST_PATIENCE, reflector.synced()).await.is_err() {
                if reflector.error().is_some() {
                    break;
                }
            }
        }
        self.feed_all();
    }

    /// Follows CustomResourceDefinitions.
    pub(crate) async fn follow(mut self, shutdown: Shutdown) {
        let following = async {
            loop {
                let _ = self.changes.next().await;
                crate::wds::drain(&mut self.changes, drop);
                until_done("discover the resources of the WDS", || self.look()).await;
                self.feed_all();
            }
        };
        shutdown.run_until_cancelled(following).await;
    }

    /// Compares what is watched with what there is.
    async fn look(&self) -> Result<()> {
        let found = self.world.binder.resources().await?;
        let workload: BTreeMap<GroupResource, &Discovered> = found
            .iter()
            .filter(|found| is_workload(found, &self.world.api_groups))
            .map(|found| (found.resource.group_resource(), found))
            .collect();
        {
            let mut with_status = self.world.with_status.lock();
            with_status.clear();
            let have = workload.iter().filter(|(_, found)| found.subresources.iter().any(|sub| sub == "status"));
            with_status.extend(have.map(|(resource, _)| resource.clone()));
        }
        let gone: Vec<_> = self.watched.lock().keys().filter(|held| !workload.contains_key(*held)).cloned().collect();
        for resource in gone {
            tracing::info!("WDS {}: {resource} is gone", self.world.name);
            self.watched.lock().remove(&resource);
            let touched = self.world.index.lock().remove_resource(&resource);
            self.world.touch(touched);
        }
        for (key, found) in &workload {
            let held = self.watched.lock().get(key).map(|watched| watched.resource.clone());
            if held.as_ref() == Some(&found.resource) {
                continue;
            }
            let touched = self.world.index.lock().set_resource(found.resource.clone());
            self.world.touch(touched);
            let reflector = Reflector::start(self.world.binder.clone(), found.resource.clone(), Selection::metadata());
            let watched = Watched { resource: found.resource.clone(), reflector, feeding: None };
            self.watched.lock().insert(key.clone(), watched);
        }
        // A server may say that a definition is established before its discovery shows it.
        let missing = self.definitions.all().into_iter().filter(|definition| definition.is_served());
        let known: BTreeSet<GroupResource> = found.iter().map(|found| found.resource.group_resource()).collect();
        let missing = missing.map(|definition| definition.resource()).find(|resource| !known.contains(resource));
        missing
            .map_or(Ok(()), |resource| Err(Error::Later(format!("{resource} is established and not discovered yet"))))
    }

    /// Starts to take in what is watched and not taken in yet.
    fn feed_all(&self) {
        for (key, watched) in &mut *self.watched.lock() {
            if watched.feeding.is_none() {
                let mut changes = watched.reflector.subscribe();
                if watched.reflector.is_synced() {
                    take_in(&self.world, key, &watched.reflector, &mut changes);
                }
                let feeding = feed(self.world.clone(), key.clone(), watched.reflector.clone(), changes);
                watched.feeding = Some(tokio::spawn(feeding));
            }
        }
    }
}

/// Takes in the first list of a resource.
fn take_in(
    world: &World,
    resource: &GroupResource,
    reflector: &Reflector<WorkloadHeader>,
    changes: &mut Changes<WorkloadHeader>,
) {
    crate::wds::drain(changes, |change| set_object(world, resource, &change.name, change.after));
    // A resource that is watched at another version than before: what went between the two watches.
    let known = world.index.lock().names(resource);
    for name in known.into_iter().filter(|name| reflector.get(name).is_none()) {
        set_object(world, resource, &name, None);
    }
    let touched = world.index.lock().complete_resource(resource);
    world.touch(touched);
}

async fn feed(
    world: Arc<World>,
    resource: GroupResource,
    reflector: Reflector<WorkloadHeader>,
    mut changes: Changes<WorkloadHeader>,
) {
    reflector.synced().await;
    take_in(&world, &resource, &reflector, &mut changes);
    loop {
        let change = changes.next().await;
        set_object(&world, &resource, &change.name, change.after);
    }
}

fn set_object(world: &World, resource: &GroupResource, name: &ObjectName, after: Option<Arc<WorkloadHeader>>) {
    let place = (resource.group.as_str(), resource.resource.as_str(), name.namespace.as_str(), name.name.as_str());
    if OBJECTS_LEFT_OUT.contains(&place) {
        return;
    }
    let (touched, shown) = {
        let mut index = world.index.lock();
        let touched = index.set_object(resource, name, after);
        // Somebody may have written over a status of ours.
        let shown = index.id(resource, name).filter(|id| index.header(id).is_some_and(|header| header.shows_status()));
        (touched, shown)
    };
    world.touch(touched);
    if let Some(id) = shown {
        world.tell.add(Tell::Return(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_are_named_are_the_only_ones() {
        let table = [
            ("", "apps", true),
            ("", "", true),
            ("apps", "apps", true),
            ("apps", "", false),
            ("apps,", "", true),
            ("apps, batch", "batch", true),
            ("apps", "batch", false),
            ("apps", "apiextensions.k8s.io", true),
        ];
        for (list, group, expected) in table {
            assert_eq!(ApiGroups::parse(list).have(group), expected, "{list:?} {group:?}");
        }
    }
}
