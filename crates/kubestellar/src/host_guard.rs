//! Clusters do not let themselves in: OCM's rules for ManagedClusters and for the requests of those who join, in every
//! space that has them. And the definition of ControlPlanes stays while there are any.

use api::SpaceName;
use api::cluster::{MANAGED_CLUSTERS, REGISTER_GROUP, SIGNING_REQUESTS};
use api::space::CONTROL_PLANES;
use apiserver::Store;
use apiserver::guard::{Deletion, Guard, Review, Verdict};
use apiserver::identity::Attributes;
use planner::registration::SigningRequest;
use store::Collection;

const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

pub(crate) struct HostGuard {
    store: Store,
    planes: Collection,
}

impl HostGuard {
    pub(crate) fn new(store: Store, hosting: &SpaceName) -> Self {
        let planes = Collection::new(hosting.as_str(), CONTROL_PLANES.group_resource().to_string());
        Self { store, planes }
    }
}

impl Guard for HostGuard {
    fn write(&self, review: &Review<'_>) -> Verdict {
        if *review.resource == SIGNING_REQUESTS.group_resource() && review.old.is_none() {
            let asked = hub::its::read_signing_request(review.new);
            return planner::registration::may_request(&SigningRequest {
                groups: review.identity.groups.clone(),
                ..asked
            });
        }
        if *review.resource != MANAGED_CLUSTERS.group_resource() {
            return Ok(());
        }
        let accept = Attributes {
            verb: "update",
            group: REGISTER_GROUP,
            resource: "managedclusters",
            subresource: "accept",
            name: review.new.name(),
            ..Attributes::default()
        };
        planner::inventory::admit(review.old, review.new, &review.identity.groups, || (review.may)(&accept))
    }

    /// With the definition every ControlPlane would go, and with these every space and all that is in it.
    fn delete(&self, deletion: &Deletion<'_>) -> Verdict {
        let definition = deletion.resource.to_string() == DEFINITIONS
            && *deletion.space == *self.planes.space
            && *deletion.name == *self.planes.resource;
        match if definition { self.store.count(&self.planes) } else { 0 } {
            0 => Ok(()),
            count => Err(format!(
                "{count} ControlPlanes would go with it, and their spaces with everything in them: delete these first \
                 (kflex delete NAME)"
            )),
        }
    }
}
