//! Writes into ClusterRoles that aggregate others the rules that they come to have.

use super::call::{Caller, Failure};
use crate::rbac::{aggregate, bootstrap};
use api::{Object, Resource};
use serde_json::json;

const ROLES: Resource = Resource::cluster("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole");
/// The collection of ClusterRoles.
pub(super) const COLLECTION: &str = "clusterroles.rbac.authorization.k8s.io";

/// Brings all roles of a space up to date. Each that is written is news to those that aggregate it in turn.
pub(super) async fn reconcile(caller: &Caller<'_>) -> Result<(), Failure> {
    let mut roles = caller.list(&ROLES).await?;
    roles.sort_by(|a, b| a.name().cmp(b.name()));
    let due: Vec<(&Object, _)> =
        roles.iter().filter_map(|role| Some((role, aggregate::rules(role, &roles)?))).collect();
    for (role, rules) in due {
        let body = json!({"apiVersion": ROLES.api_version(), "kind": "ClusterRole",
            "metadata": {"name": role.name()}, "rules": rules});
        caller.apply(ROLES.object_path(&role.object_name()), bootstrap::AGGREGATOR, &body).await?;
    }
    Ok(())
}
