//! A controller with a finalizer that keeps a ConfigMap for each Secret, without leader election.

use crate::{Result, Run, fact, within};
use futures_util::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

const FINALIZER: &str = "kube-rs.example.org/copied";
const LABELS: &str = "copied=yes";

#[derive(Debug)]
struct Failed(String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

/// Brings the copy of a Secret to what it should be.
async fn reconcile(secret: Arc<Secret>, client: Arc<Client>) -> std::result::Result<Action, Failed> {
    let namespace = secret.namespace().unwrap_or_default();
    let secrets: Api<Secret> = Api::namespaced((*client).clone(), &namespace);
    let maps: Api<ConfigMap> = Api::namespaced((*client).clone(), &namespace);
    let step = async |event: Event<Secret>| match event {
        Event::Apply(secret) => {
            let copy = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": secret.name_any(),
                "labels": {"copied": "yes"}, "ownerReferences": [secret.controller_owner_ref(&())]},
                "data": {"keys": secret.data.iter().flatten().map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(",")}});
            maps.patch(&secret.name_any(), &PatchParams::apply("copier").force(), &Patch::Apply(copy)).await?;
            Ok::<_, kube::Error>(Action::await_change())
        }
        Event::Cleanup(secret) => {
            let cleaned = Patch::Merge(json!({"metadata": {"annotations": {"cleaned": secret.name_any()}}}));
            match maps.patch(&secret.name_any(), &PatchParams::default(), &cleaned).await {
                // The garbage collector may have been faster.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                done => drop(done?),
            }
            Ok(Action::await_change())
        }
    };
    finalizer(&secrets, FINALIZER, secret, step).await.map_err(|error| Failed(error.to_string()))
}

pub(crate) async fn reconciled(run: &Run) -> Result {
    let (secrets, maps) = (run.api::<Secret>(), run.api::<ConfigMap>());
    let config = watcher::Config::default().labels(LABELS);
    // After a failure it is tried again soon: another writer may have been faster.
    let retry = |_: Arc<Secret>, _: &Failed, _: Arc<Client>| Action::requeue(std::time::Duration::from_millis(200));
    let working = Controller::new(secrets.clone(), config.clone())
        .owns(maps.clone(), config)
        .run(reconcile, retry, Arc::new(run.client.clone()))
        .for_each(|_| std::future::ready(()));
    let playing = async {
        let labels = BTreeMap::from([("copied".to_owned(), "yes".to_owned())]);
        let metadata = ObjectMeta { name: Some("s".into()), labels: Some(labels), ..ObjectMeta::default() };
        let text = BTreeMap::from([("user".to_owned(), "ann".to_owned())]);
        secrets
            .create(&PostParams::default(), &Secret { metadata, string_data: Some(text), ..Secret::default() })
            .await?;
        let has = |keys: &'static str| {
            move |map: Option<&ConfigMap>| {
                map.and_then(|map| map.data.as_ref()?.get("keys")).is_some_and(|held| held == keys)
            }
        };
        let copy = within("the copy", await_condition(maps.clone(), "s", has("user"))).await??.ok_or("no copy")?;
        let owner = copy.owner_references().first().cloned().ok_or("no owner")?;
        fact(format!("copied: {:?} owner {} {} controller {:?}", copy.data, owner.kind, owner.name, owner.controller));
        fact(format!("finalizers: {:?}", secrets.get("s").await?.finalizers()));
        let more = Patch::Merge(json!({"stringData": {"word": "x"}}));
        secrets.patch("s", &PatchParams::default(), &more).await?;
        let copy = within("a change", await_condition(maps.clone(), "s", has("user,word"))).await??;
        fact(format!("changed: {:?}", copy.and_then(|copy| copy.data)));
        let uid = maps.get("s").await?.uid().unwrap_or_default();
        maps.delete("s", &DeleteParams::default()).await?;
        let anew = move |map: Option<&ConfigMap>| map.is_some_and(|map| map.uid().is_some_and(|held| held != uid));
        within("it comes back", await_condition(maps.clone(), "s", anew)).await??;
        fact("what is deleted comes back");
        let uid = secrets.get("s").await?.uid().unwrap_or_default();
        secrets.delete("s", &DeleteParams::foreground()).await?;
        within("the end", await_condition(secrets.clone(), "s", conditions::is_deleted(&uid))).await??;
        fact("the secret is gone after its finalizers");
        Ok(())
    };
    pin_mut!(working, playing);
    match futures_util::future::select(working, playing).await {
        futures_util::future::Either::Left(_) => Err("the controller ended".into()),
        futures_util::future::Either::Right((played, _)) => played,
    }
}
