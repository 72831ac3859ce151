//! Removes the objects of a definition that is being deleted, and then lets the definition go.

use super::{CLEANUP, COLLECTION, establish};
use crate::call::{Call, Warnings};
use crate::identity::Identity;
use crate::options::WriteOptions;
use crate::registry::{self, Kind};
use crate::respond::Result;
use crate::route::{Query, Target, Verb};
use crate::server::Server;
use crate::space::Space;
use crate::verbs::{self, Part, write};
use api::{Object, Status, Timestamp};
use bytes::Bytes;
use http::HeaderMap;
use std::sync::Arc;
use store::{Lost, Visibility};

/// Runs until the definition is gone, or the server ends.
pub(crate) async fn run(server: Server, space: Arc<Space>, name: String) {
    let end = [server.0.end.clone(), space.end.clone()];
    tokio::select! {
        () = end[0].cancelled() => {}
        () = end[1].cancelled() => {}
        result = remove_all(&server, &space, &name) => if let Err(error) = result {
            tracing::error!(space = %space.name, definition = %name, %error, "the objects of a CRD were not removed");
        }
    }
}

async fn remove_all(server: &Server, space: &Arc<Space>, name: &str) -> Result<()> {
    let collection = space.collection(&Arc::from(name));
    if server.store().count(&collection) > 0 {
        write_definition(server, space, name, establish::emptying).await?;
    }
    loop {
        let Some(entry) = server.store().get(&space.key(&Arc::from(COLLECTION), "", name)) else { return Ok(()) };
        if !entry.meta.deleting {
            return Ok(());
        }
        let head = server.store().head();
        let kind = space.customs(server.store()).kinds().find(|kind| &*kind.collection == name).cloned();
        if let Some(kind) = kind {
            verbs::delete_all(&call(server, space, kind, Verb::DeleteCollection, "")).await?;
        }
        if server.store().count(&collection) == 0 {
            return let_go(server, space, name).await;
        }
        // The rest waits for finalizers: each change is a reason to look again.
        let Ok(mut changes) = server.store().watch(&collection, None, head, Visibility::Appended) else { continue };
        loop {
            match changes.next().await {
                Ok(_) if server.store().count(&collection) == 0 => break,
                Ok(_) => {}
                Err(Lost::Closed(_)) => return Ok(()),
                Err(_) => break,
            }
        }
    }
}

async fn let_go(server: &Server, space: &Arc<Space>, name: &str) -> Result<()> {
    let let_go = |object: &mut Object, now| {
        establish::emptied(object, now);
        let finalizers = object.finalizers().into_iter().filter(|held| *held != CLEANUP).map(str::to_owned);
        let finalizers: Vec<String> = finalizers.collect();
        object.set_meta("finalizers", finalizers);
    };
    write_definition(server, space, name, let_go).await
}

/// Changes a definition as the server; one that is gone is fine.
async fn write_definition(
    server: &Server,
    space: &Arc<Space>,
    name: &str,
    change: impl Fn(&mut Object, Timestamp) + Sync,
) -> Result<()> {
    if server.store().get(&space.key(&Arc::from(COLLECTION), "", name)).is_none() {
        return Ok(());
    }
    let kind = registry::builtin_kind("apiextensions.k8s.io", "v1", "customresourcedefinitions");
    let kind = kind.ok_or_else(|| Status::internal("CustomResourceDefinition is not a built-in kind"))?;
    let call = call(server, space, kind, Verb::Update, name);
    let options = WriteOptions::read("UpdateOptions", &call.query, &call.headers)?;
    let now = server.now();
    let decide = |live: &Object| {
        let mut object = live.clone();
        change(&mut object, now);
        Ok(write::Decided { object, warnings: Vec::new(), tracked: true, must_be_conditional: false })
    };
    let live = call.live().await?;
    write::update(&call, live, Part::Whole, &options, &decide).await.map(drop)
}

fn call(server: &Server, space: &Arc<Space>, kind: Arc<Kind>, verb: Verb, name: &str) -> Call {
    Call {
        server: server.clone(),
        space: Arc::clone(space),
        identity: Identity::system("crd-finalizer"),
        visibility: Visibility::Appended,
        target: Target {
            group: kind.served.group.to_string(),
            version: kind.served.version.to_string(),
            resource: kind.served.plural.to_string(),
            name: name.into(),
            ..Target::default()
        },
        kind,
        verb,
        query: Query::default(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        warnings: Warnings::default(),
    }
}
