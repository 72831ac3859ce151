//! The one executor of all writes of all kinds.

use crate::{Error, Result};
use api::{Op, Write};
use client::{Client, DeleteParams, Patch};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// Performs one write. A delete of what is gone already is done.
///
/// # Errors
/// [`Error::Op`] with the op and the server's answer.
pub async fn execute(client: &Client, op: &Op) -> Result<()> {
    execute_for::<IgnoredAny>(client, op).await.map(drop)
}

/// Performs writes one after the other; stops at the first that fails.
///
/// # Errors
/// As [`execute`].
pub async fn execute_all(client: &Client, ops: &[Op]) -> Result<()> {
    for op in ops {
        execute(client, op).await?;
    }
    Ok(())
}

/// Performs one write and returns the object as the server has it now; nothing after a delete.
///
/// # Errors
/// As [`execute`].
pub async fn execute_for<T: DeserializeOwned>(client: &Client, op: &Op) -> Result<Option<T>> {
    tracing::debug!("{op}");
    let done = match &op.write {
        Write::Create(object) => create(client, op, object).await.map(Some),
        Write::Update(object) => update(client, op, object).await.map(Some),
        Write::MergePatch(body) => patch(client, op, &Patch::Merge(body.clone())).await.map(Some),
        Write::JsonPatch(body) => patch(client, op, &Patch::Json(body.clone())).await.map(Some),
        Write::Apply { object, force } => {
            let body = serde_json::Value::Object(object.0.clone());
            patch(client, op, &Patch::Apply { body, force: *force }).await.map(Some)
        }
        Write::Delete { uid, resource_version, propagation } => {
            let params = DeleteParams {
                propagation: *propagation,
                uid: uid.clone(),
                resource_version: resource_version.clone(),
            };
            match client.delete(&op.resource, &op.name, &params).await {
                Err(error) if error.is_not_found() => Ok(None),
                done => done.map(|()| None),
            }
        }
    };
    done.map_err(|cause| Error::Op { op: op.to_string(), cause })
}

async fn create<T: DeserializeOwned>(client: &Client, op: &Op, object: &(impl Serialize + Sync)) -> client::Result<T> {
    if op.subresource.is_empty() {
        client.create(&op.resource, &op.name.namespace, object).await
    } else {
        client.create_subresource(&op.resource, &op.name, &op.subresource, object).await
    }
}

async fn update<T: DeserializeOwned>(client: &Client, op: &Op, object: &(impl Serialize + Sync)) -> client::Result<T> {
    if op.subresource.is_empty() {
        client.update(&op.resource, &op.name, object).await
    } else {
        client.update_subresource(&op.resource, &op.name, &op.subresource, object).await
    }
}

async fn patch<T: DeserializeOwned>(client: &Client, op: &Op, patch: &Patch) -> client::Result<T> {
    if op.subresource.is_empty() {
        client.patch(&op.resource, &op.name, patch).await
    } else {
        client.patch_subresource(&op.resource, &op.name, &op.subresource, patch).await
    }
}
