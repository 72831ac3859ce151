//! Clusters do not let themselves in: OCM's rules for ManagedClusters and for the requests of those who join, in every
//! space that has them.

use api::cluster::{MANAGED_CLUSTERS, REGISTER_GROUP, SIGNING_REQUESTS};
use apiserver::guard::Review;
use apiserver::identity::Attributes;
use planner::registration::SigningRequest;

/// Judges a write; the text is for the user.
pub(crate) fn guard(review: &Review<'_>) -> Result<(), String> {
    if *review.resource == SIGNING_REQUESTS.group_resource() && review.old.is_none() {
        let asked = hub::its::read_signing_request(review.new);
        return planner::registration::may_request(&SigningRequest { groups: review.identity.groups.clone(), ..asked });
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
