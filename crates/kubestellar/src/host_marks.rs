//! Marks on spaces: which ControlPlane a space was made for, and what it does in others. They are ConfigMaps of the
//! hosting space, where who administers a space has no rights: what is undone with it is not theirs to say.

use crate::local;
use anyhow::{Context, Result};
use api::{Object, ObjectName, Resource, SpaceName};
use apiserver::Server;
use client::{Client, DeleteParams, Patch};
use hub::hosting::Role;
use serde_json::{Map, Value, json};
use store::Visibility;

const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
/// A namespace that no space is without, and that cannot be deleted.
const NAMESPACE: &str = "kube-system";
/// Keys: the uid of the ControlPlane, what ran beside the space last, and the ITS that it is of, if any.
const OWNER: &str = "controlPlaneUID";
const ROLE: &str = "role";
const ITS: &str = "its";

/// What a space is marked with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Marks {
    /// The uid of the ControlPlane that it was made for. A space without it was not made for one.
    pub(crate) owner: Option<String>,
    /// A WDS or a simulated cluster does something in an ITS, which has to be undone.
    pub(crate) role: Option<(Role, SpaceName)>,
}

impl Marks {
    fn from_config_map(object: &Object) -> Self {
        let text = |key: &str| object.0.get("data")?.get(key)?.as_str().map(str::to_owned);
        let role = match text(ROLE).as_deref() {
            Some("wds") => Some(Role::Wds),
            Some("wec") => Some(Role::Wec),
            _ => None,
        };
        Self { owner: text(OWNER), role: role.zip(text(ITS).map(|its| its.as_str().into())) }
    }

    fn data(&self) -> Value {
        let mut data = Map::new();
        if let Some(owner) = &self.owner {
            data.insert(OWNER.into(), owner.as_str().into());
        }
        if let Some((role, its)) = &self.role {
            data.insert(ROLE.into(), role.to_string().into());
            data.insert(ITS.into(), its.as_str().into());
        }
        Value::Object(data)
    }
}

/// Reads the marks of a space; none if nobody marked it.
pub(crate) async fn read(server: &Server, space: &SpaceName) -> Result<Marks> {
    Ok(find(&hosting(server), space).await?.as_ref().map(Marks::from_config_map).unwrap_or_default())
}

/// Marks a space as made for a ControlPlane; writes only if that is new.
pub(crate) async fn set_owner(server: &Server, space: &SpaceName, owner: &str) -> Result<()> {
    change(server, space, |marks| marks.owner = Some(owner.to_owned())).await
}

/// Marks what a space does in an ITS; writes only if that is new.
pub(crate) async fn set_role(server: &Server, space: &SpaceName, role: Role, its: Option<&SpaceName>) -> Result<()> {
    match its.filter(|_| matches!(role, Role::Wds | Role::Wec)) {
        Some(its) => change(server, space, |marks| marks.role = Some((role, its.clone()))).await,
        None => Ok(()), // what was done in another ITS before is still to be undone there, so nothing is taken back
    }
}

/// Forgets a space that is gone.
pub(crate) async fn forget(server: &Server, space: &SpaceName) -> Result<()> {
    match hosting(server).delete(&CONFIG_MAPS, &name(space), &DeleteParams::default()).await {
        Err(error) if !error.is_not_found() => Err(error).with_context(|| format!("forget space {space}")),
        _ => Ok(()),
    }
}

fn hosting(server: &Server) -> Client {
    local::client(server, &server.hosting_space(), "kubeflex", Visibility::Appended)
}

fn name(space: &SpaceName) -> ObjectName {
    ObjectName::namespaced(NAMESPACE, format!("space-{space}"))
}

async fn find(hosting: &Client, space: &SpaceName) -> Result<Option<Object>> {
    hosting.find(&CONFIG_MAPS, &name(space)).await.with_context(|| format!("read what space {space} is"))
}

async fn change(server: &Server, space: &SpaceName, edit: impl FnOnce(&mut Marks)) -> Result<()> {
    let (hosting, name) = (hosting(server), name(space));
    let held = find(&hosting, space).await?;
    let before = held.as_ref().map(Marks::from_config_map).unwrap_or_default();
    let mut marks = before.clone();
    edit(&mut marks);
    if marks == before {
        return Ok(());
    }
    let written = if held.is_some() {
        let patch = Patch::Merge(json!({"data": marks.data()}));
        hosting.patch::<Object>(&CONFIG_MAPS, &name, &patch).await
    } else {
        let mut object = Object::new("v1", "ConfigMap", &name);
        object.0.insert("data".into(), marks.data());
        hosting.create::<Object>(&CONFIG_MAPS, NAMESPACE, &object).await
    };
    written.map(drop).with_context(|| format!("mark space {space}"))
}
