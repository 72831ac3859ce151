//! Writes what is used of the quotas of a namespace into their status.

use super::call::{Caller, Failure};
use crate::{Server, builtin};
use api::{ObjectName, Resource};
use serde_json::json;

pub(super) const QUOTAS: &str = "resourcequotas";
const RESOURCE: Resource = Resource::namespaced("", "v1", QUOTAS, "ResourceQuota");

pub(super) async fn count(caller: &Caller<'_>, server: &Server, namespace: &str) -> Result<(), Failure> {
    let Some(space) = server.space(caller.space()) else { return Ok(()) };
    let customs = space.customs(server.store());
    let served = |collection: &str| {
        builtin::kinds().iter().any(|kind| *kind.collection == *collection)
            || customs.kinds().any(|kind| *kind.collection == *collection)
    };
    for (name, status) in space.quotas.statuses(namespace, served) {
        let place = ObjectName::namespaced(namespace, name.as_str());
        let Some(mut quota) = caller.get(&RESOURCE, &place).await? else { continue };
        if quota.0.get("status") != Some(&status) {
            quota.0.insert("status".into(), json!(status));
            caller.put(format!("{}/status", RESOURCE.object_path(&place)), json!(quota)).await?;
        }
    }
    Ok(())
}
