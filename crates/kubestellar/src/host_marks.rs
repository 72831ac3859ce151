//! Marks on spaces: which ControlPlane a space was made for, and what it is. They are annotations of the space's own
//! namespace `kube-system`: they are in the same log as what they are about, and go with it.

use crate::local;
use anyhow::{Context, Result};
use api::{ObjectName, PartialObject, Resource, SpaceName};
use apiserver::Server;
use client::Patch;
use hub::hosting::Role;
use serde_json::{Value, json};
use store::Visibility;

const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");
/// A namespace that no space is without, and that cannot be deleted.
const NAMESPACE: &str = "kube-system";
/// The uid of the ControlPlane. A space without it was not made for one, or before there were marks.
const OWNER: &str = "kubestellar.io/control-plane-uid";
/// What ran beside the space last, and the ITS that it is of, if any.
const ROLE: &str = "kubestellar.io/space-role";
const ITS: &str = "kubestellar.io/space-its";

/// What a space is marked with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) owner: Option<String>,
    /// A WDS or a simulated cluster does something in an ITS, which has to be undone.
    pub(crate) role: Option<(Role, SpaceName)>,
}

/// Reads the marks of a space; none if there is no such space.
pub(crate) async fn read(server: &Server, space: &SpaceName) -> Result<Marks> {
    if !server.has_space(space) {
        return Ok(Marks::default());
    }
    let name = ObjectName::cluster(NAMESPACE);
    let client = local::client(server, space, "kubeflex", Visibility::Appended);
    let held: Option<PartialObject> =
        client.find(&NAMESPACES, &name).await.with_context(|| format!("read what space {space} is"))?;
    let text = |key: &str| held.as_ref()?.metadata.annotations.get(key).cloned();
    let role = match text(ROLE).as_deref() {
        Some("wds") => Some(Role::Wds),
        Some("wec") => Some(Role::Wec),
        _ => None,
    };
    Ok(Marks { owner: text(OWNER), role: role.zip(text(ITS).map(|its| its.as_str().into())) })
}

/// Marks a space as made for a ControlPlane; writes only if that is new.
pub(crate) async fn set_owner(server: &Server, space: &SpaceName, owner: &str) -> Result<()> {
    if read(server, space).await?.owner.as_deref() == Some(owner) {
        return Ok(());
    }
    write(server, space, json!({OWNER: owner})).await
}

/// Marks what a space does in an ITS; writes only if that is new.
pub(crate) async fn set_role(server: &Server, space: &SpaceName, role: Role, its: Option<&SpaceName>) -> Result<()> {
    let role = its.filter(|_| matches!(role, Role::Wds | Role::Wec)).map(|its| (role, its.clone()));
    if role.is_none() || read(server, space).await?.role == role {
        return Ok(()); // what was done in another ITS before is still to be undone there, so nothing is taken back
    }
    let Some((role, its)) = role else { return Ok(()) };
    write(server, space, json!({ROLE: role.to_string(), ITS: its.as_str()})).await
}

async fn write(server: &Server, space: &SpaceName, annotations: Value) -> Result<()> {
    let client = local::client(server, space, "kubeflex", Visibility::Appended);
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    let written = client.patch::<PartialObject>(&NAMESPACES, &ObjectName::cluster(NAMESPACE), &patch).await;
    written.map(drop).with_context(|| format!("mark space {space}"))
}
