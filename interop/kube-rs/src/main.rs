//! Plays what programs on kube-rs do against the server of `KUBECONFIG`, and prints the facts that it saw, each a line,
//! free of what differs between two runs. The interop lane plays every scenario against a stock server and a space of
//! ours, and compares the lines (docs/clients.md).

mod controllers;
mod objects;
mod resources;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// How long a scenario waits for one thing to happen.
const PATIENCE: Duration = Duration::from_secs(60);

const SCENARIOS: [&str; 6] = ["typed", "apply", "watch", "resources", "discovery", "controller"];

/// One scenario that is being played, in a namespace of its own.
struct Run {
    client: Client,
    namespace: String,
}

impl Run {
    fn api<K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// Prints a fact.
fn fact(text: impl AsRef<str>) {
    println!("{}", text.as_ref());
}

/// Prints what a request was refused with.
fn refused<T: Debug>(what: &str, result: kube::Result<T>) {
    match result {
        Ok(_) => fact(format!("{what}: not refused")),
        Err(kube::Error::Api(status)) => {
            fact(format!("{what}: {} {} {}", status.code, status.reason, status.message));
            for cause in status.details.iter().flat_map(|details| &details.causes) {
                fact(format!("{what}: cause {} {} {}", cause.reason, cause.field, cause.message));
            }
        }
        Err(other) => fact(format!("{what}: {other}")),
    }
}

/// Waits for something, as long as a scenario waits.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(PATIENCE, future).await.map_err(|_| format!("{what}: not within {PATIENCE:?}").into())
}

async fn play(scenario: &str) -> Result {
    let client = Client::try_default().await?;
    let namespace = format!("kube-rs-{scenario}");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let metadata = ObjectMeta { name: Some(namespace.clone()), ..ObjectMeta::default() };
    namespaces.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await?;
    let run = Run { client, namespace };
    match scenario {
        "typed" => objects::typed(&run).await?,
        "apply" => objects::apply(&run).await?,
        "watch" => objects::watch(&run).await?,
        "resources" => resources::custom(&run).await?,
        "discovery" => resources::discovered(&run).await?,
        "controller" => controllers::reconciled(&run).await?,
        other => return Err(format!("no such scenario: {other}").into()),
    }
    namespaces.delete(&run.namespace, &DeleteParams::default()).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    match std::env::args().nth(1).as_deref() {
        Some("list") => {
            SCENARIOS.iter().for_each(fact);
            Ok(())
        }
        Some(scenario) => play(scenario).await,
        None => Err("kube-rs list | kube-rs SCENARIO".into()),
    }
}
