//! The priority levels and flow schemas that every stock server has from the beginning.
//!
//! They are written into a space when somebody first asks it for such objects, so that a space that nobody asks stays
//! small. As with a stock server, those that are deleted come back. They are served, and nothing here acts on them.

use crate::builtin::inflate;
use crate::call::{Call, Warnings};
use crate::controllers;
use crate::identity::Identity;
use crate::options::{FieldValidation, WriteOptions};
use crate::registry::{self, Kind};
use crate::respond::{Failure, Result};
use crate::route::{Query, Target, Verb};
use crate::server::Server;
use crate::space::Space;
use crate::verbs::{Part, write};
use api::{Object, ObjectName, Reason};
use bytes::Bytes;
use http::HeaderMap;
use machinery::apply::{FieldSet, Writer};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use store::Visibility;

/// The group of both kinds.
pub(crate) const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const VERSION: &str = "v1";
/// Levels before the schemas that refer to them.
const PLURALS: [&str; 2] = ["prioritylevelconfigurations", "flowschemas"];
/// Who writes them, as a stock server has it.
const MANAGER: &str = "api-priority-and-fairness-config-producer-v1";
/// Says that the server keeps the object as it should be.
const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

#[derive(Deserialize)]
struct Recorded {
    name: String,
    spec: Map<String, Value>,
}

/// The objects of each kind, ready to be created.
static BOOTSTRAP: LazyLock<Vec<(Arc<Kind>, Vec<Object>)>> = LazyLock::new(|| {
    let text = inflate(include_bytes!("../data/flowcontrol.json.z"));
    let mut recorded: BTreeMap<String, Vec<Recorded>> =
        serde_json::from_str(&text).expect("the generator writes names and specs");
    let kinds = PLURALS.into_iter().filter_map(|plural| {
        let kind = registry::builtin_kind(GROUP, VERSION, plural)?;
        let object = |recorded: Recorded| {
            let name = ObjectName::cluster(recorded.name);
            let mut object = Object::new(&kind.api_version, &kind.served.kind, &name);
            object.set_annotation(AUTOUPDATE, "true");
            object.0.insert("spec".into(), recorded.spec.into());
            object
        };
        let objects = recorded.remove(plural).unwrap_or_default().into_iter().map(object).collect();
        Some((kind, objects))
    });
    kinds.collect()
});

/// Writes those of the objects that a space does not have.
///
/// # Errors
/// If the store takes no writes.
pub(crate) async fn ensure(server: &Server, space: &Arc<Space>) -> Result<()> {
    for (kind, objects) in BOOTSTRAP.iter() {
        let made = write_absent(server, space, kind, objects, MANAGER).await?;
        if kind.served.plural == PLURALS[1] {
            for object in made {
                say_found(server, space, kind, object).await?;
            }
        }
    }
    Ok(())
}

/// Says at once that the level of a schema is there, so that whoever asked for it reads no less than later.
async fn say_found(server: &Server, space: &Arc<Space>, kind: &Arc<Kind>, schema: &Object) -> Result<()> {
    let mut call = call(server, space, kind, "");
    call.verb = Verb::Update;
    call.target.name = schema.name().to_owned();
    let level = schema.pointer("/spec/priorityLevelConfiguration/name").and_then(Value::as_str).unwrap_or("");
    let mut condition = controllers::dangling(level, true);
    condition.last_transition_time = Some(server.now());
    let mut config = Object::new(&kind.api_version, &kind.served.kind, &schema.object_name());
    config.0.insert("status".into(), json!({"conditions": [condition]}));
    let writer = Writer {
        manager: controllers::CONSUMER,
        api_version: &kind.api_version,
        subresource: "status",
        now: server.now(),
        reset: &FieldSet::new(),
    };
    let decide = |live: &Object| {
        let applied = machinery::apply::apply(Some(live), &config, &writer, true, kind.schema().as_ref());
        let object = applied.map_err(|error| Failure::from(error.status()))?;
        Ok(write::Decided { object, warnings: Vec::new(), tracked: true, must_be_conditional: false })
    };
    let live = call.live().await?;
    write::update(&call, live, Part::Whole, &options(controllers::CONSUMER), &decide).await.map(drop)
}

fn options(manager: &str) -> WriteOptions {
    WriteOptions { dry_run: false, manager: manager.into(), validation: FieldValidation::Ignore, force: false }
}

/// Writes those of some objects of a kind that a space does not have, and answers which.
///
/// # Errors
/// If the store takes no writes.
pub(crate) async fn write_absent<'o>(
    server: &Server,
    space: &Arc<Space>,
    kind: &Arc<Kind>,
    objects: &'o [Object],
    manager: &str,
) -> Result<Vec<&'o Object>> {
    let mut made = Vec::new();
    let absent = |object: &&Object| {
        server.store().get(&space.key(&kind.collection, object.namespace(), object.name())).is_none()
    };
    for object in objects.iter().filter(absent) {
        let call = call(server, space, kind, object.namespace());
        let options = options(manager);
        let draft = write::Draft { object: object.clone(), warnings: Vec::new() };
        match write::create(&call, draft, &options, false).await {
            // Two that ask at once.
            Err(status) if status.reason == Reason::AlreadyExists => {}
            other => {
                other?;
                made.push(object);
            }
        }
    }
    Ok(made)
}

fn call(server: &Server, space: &Arc<Space>, kind: &Arc<Kind>, namespace: &str) -> Call {
    Call {
        server: server.clone(),
        space: Arc::clone(space),
        identity: Identity::system("apiserver"),
        // Whoever asked waits for what they are told of.
        visibility: Visibility::Appended,
        kind: Arc::clone(kind),
        target: Target {
            group: kind.served.group.to_string(),
            version: kind.served.version.to_string(),
            resource: kind.served.plural.to_string(),
            namespace: namespace.to_owned(),
            ..Target::default()
        },
        verb: Verb::Create,
        query: Query::default(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        warnings: Warnings::default(),
    }
}
