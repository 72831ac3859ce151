//! ControlPlanes become spaces.

use crate::world::*;
use api::space::{CONTROL_PLANES, FINALIZER};
use api::{Object, ObjectName, SpaceName};
use client::DeleteParams;
use controller::Shutdown;
use hub::hosting::{Access, Place, Role, Spaces};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Remembers what it is asked: what spaces are there, and the marks of those that were made.
#[derive(Default)]
struct Recorded(Mutex<BTreeMap<String, String>>, Mutex<BTreeMap<String, String>>);

impl Spaces for Recorded {
    type Error = String;

    async fn owner(&self, space: &SpaceName) -> Result<Option<String>, String> {
        Ok(self.1.lock().get(space.as_str()).cloned())
    }

    async fn held(&self) -> Result<Vec<SpaceName>, String> {
        Ok(self.0.lock().keys().map(|name| name.as_str().into()).collect())
    }

    async fn ensure(&self, space: &SpaceName, place: Place, owner: &str) -> Result<Access, String> {
        if place == Place::Own {
            self.1.lock().insert(space.to_string(), owner.to_owned());
        }
        self.0.lock().entry(space.to_string()).or_insert_with(|| format!("{place:?}"));
        Ok(Access {
            server: format!("https://h/spaces/{space}"),
            kubeconfig: "outside".into(),
            kubeconfig_in_cluster: "inside".into(),
            renew_after: None,
        })
    }

    async fn remove(&self, space: &SpaceName) -> Result<(), String> {
        self.0.lock().remove(space.as_str());
        self.1.lock().remove(space.as_str());
        Ok(())
    }

    async fn start_role(
        &self,
        space: &SpaceName,
        place: Place,
        role: Role,
        its: Option<&SpaceName>,
    ) -> Result<(), String> {
        let its = its.map(|its| format!(" to {its}")).unwrap_or_default();
        self.0.lock().insert(space.to_string(), format!("{place:?} {role}{its}"));
        Ok(())
    }

    async fn stop_role(&self, space: &SpaceName) -> Result<(), String> {
        if let Some(held) = self.0.lock().get_mut(space.as_str()) {
            *held = held.split(' ').next().unwrap().to_owned();
        }
        Ok(())
    }
}

fn plane(name: &str, type_: &str) -> String {
    format!(
        "apiVersion: tenancy.kflex.kubestellar.org/v1alpha1\nkind: ControlPlane\nmetadata: {{name: {name}}}\nspec: {{type: {type_}, waitForPostCreateHooks: true}}"
    )
}

fn is_ready(object: Option<&Object>, status: &str) -> bool {
    let conditions = object.and_then(|object| object.pointer("/status/conditions")?.as_array());
    conditions.is_some_and(|c| c.iter().any(|c| c["type"] == "Ready" && c["status"] == status))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_becomes_a_space() {
    let world = World::new(&["hosting"]);
    let hosting = world.client("hosting");
    let spaces = Arc::new(Recorded::default());
    let start = |shutdown: &Shutdown| {
        let run = hub::hosting::run(hosting.clone(), spaces.clone(), world.clock.clone(), shutdown.clone());
        tokio::spawn(run)
    };
    let shutdown = Shutdown::new();
    let running = start(&shutdown);
    hosting.wait_established("controlplanes.tenancy.kflex.kubestellar.org").await.unwrap();
    let named = ObjectName::cluster;

    // The WDS waits for its ITS; it takes policies already.
    apply(&hosting, &plane("wds1", "k8s")).await;
    until(&hosting, &CONTROL_PLANES, &named("wds1"), "waits", |object| is_ready(object, "False")).await;
    assert_eq!(spaces.0.lock()["wds1"], "Own wds");
    apply(&hosting, &plane("imbs", "k8s")).await;
    apply(&hosting, &plane("wds2", "host")).await;
    for name in ["imbs", "wds1", "wds2"] {
        until(&hosting, &CONTROL_PLANES, &named(name), "is ready", |object| is_ready(object, "True")).await;
    }
    assert_eq!(
        *spaces.0.lock(),
        [("imbs", "Own its"), ("wds1", "Own wds to imbs"), ("wds2", "Hosting wds to imbs")]
            .map(|(name, what)| (name.to_owned(), what.to_owned()))
            .into()
    );
    let wds1: Object = hosting.get(&CONTROL_PLANES, &named("wds1")).await.unwrap();
    assert_eq!(wds1.finalizers(), [FINALIZER]);
    assert_eq!(wds1.label("kflex.kubestellar.io/cptype"), Some("wds"));
    assert_eq!(
        wds1.pointer("/status/secretRef"),
        Some(&json!({"namespace": "wds1-system", "name": "admin-kubeconfig", "key": "kubeconfig",
                     "inClusterKey": "kubeconfig-incluster"}))
    );
    let secrets = api::Resource::namespaced("", "v1", "secrets", "Secret");
    let secret: Object =
        hosting.get(&secrets, &ObjectName::namespaced("wds1-system", "admin-kubeconfig")).await.unwrap();
    assert_eq!(secret.pointer("/data/kubeconfig"), Some(&json!("b3V0c2lkZQ==")));

    // A restart writes nothing.
    shutdown.cancel();
    running.await.unwrap().unwrap();
    let before = world.versions(&["hosting"]);
    spaces.0.lock().clear();
    let shutdown = Shutdown::new();
    let running = start(&shutdown);
    apply(&hosting, &plane("marker", "k8s")).await;
    until(&hosting, &CONTROL_PLANES, &named("marker"), "is ready", |object| is_ready(object, "True")).await;
    let after = world.versions(&["hosting"]);
    let moved: Vec<_> = before.iter().filter(|(key, version)| after.get(*key) != Some(version)).collect();
    assert!(moved.is_empty(), "written by a restart: {moved:#?}");

    // A type that is not served says so; a space that goes takes what runs beside it.
    apply(&hosting, &plane("other", "external")).await;
    until(&hosting, &CONTROL_PLANES, &named("other"), "says so", |object| {
        let conditions = object.and_then(|object| object.pointer("/status/conditions").cloned()).unwrap_or_default();
        conditions.to_string().contains("type \\\"external\\\" are not served")
    })
    .await;
    for name in ["imbs", "other"] {
        hosting.delete(&CONTROL_PLANES, &named(name), &DeleteParams::default()).await.unwrap();
        until(&hosting, &CONTROL_PLANES, &named(name), "is gone", |object| object.is_none()).await;
    }
    assert!(!spaces.0.lock().contains_key("imbs"));
    until(&hosting, &CONTROL_PLANES, &named("wds1"), "waits again", |object| is_ready(object, "False")).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_space_whose_control_plane_went_by_force_goes_and_no_other() {
    let world = World::new(&["hosting"]);
    let hosting = world.client("hosting");
    let spaces = Arc::new(Recorded::default());
    spaces.0.lock().insert("made-otherwise".into(), "Own".into());
    let start = |shutdown: &Shutdown| {
        let run = hub::hosting::run(hosting.clone(), spaces.clone(), world.clock.clone(), shutdown.clone());
        tokio::spawn(run)
    };
    let shutdown = Shutdown::new();
    let running = start(&shutdown);
    hosting.wait_established("controlplanes.tenancy.kflex.kubestellar.org").await.unwrap();
    let named = ObjectName::cluster;
    let ready = async |name: &str| {
        apply(&hosting, &plane(name, "k8s")).await;
        until(&hosting, &CONTROL_PLANES, &ObjectName::cluster(name), "is ready", |object| is_ready(object, "True"))
            .await;
    };
    let force = async |name: &str| {
        let strip = client::Patch::Merge(json!({"metadata": {"finalizers": null}}));
        hosting.patch::<Object>(&CONTROL_PLANES, &ObjectName::cluster(name), &strip).await.unwrap();
        hosting.delete(&CONTROL_PLANES, &ObjectName::cluster(name), &DeleteParams::default()).await.unwrap();
    };
    for name in ["a", "b", "c"] {
        ready(name).await;
    }
    // While somebody watches: the finalizer may come back between the two writes, which is as good.
    force("a").await;
    until(&hosting, &CONTROL_PLANES, &named("a"), "is gone", |object| object.is_none()).await;
    tokio::time::timeout(PATIENCE, async {
        while spaces.0.lock().contains_key("a") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the space goes");
    assert!(spaces.0.lock().contains_key("b"));

    // While nobody watches; and one is made anew under its name, and takes over what is there.
    shutdown.cancel();
    running.await.unwrap().unwrap();
    force("b").await;
    force("c").await;
    apply(&hosting, &plane("c", "k8s")).await;
    let shutdown = Shutdown::new();
    let running = start(&shutdown);
    ready("d").await;
    until(&hosting, &CONTROL_PLANES, &named("c"), "is ready", |object| is_ready(object, "True")).await;
    tokio::time::timeout(PATIENCE, async {
        while spaces.0.lock().contains_key("b") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the space goes");
    let left: Vec<String> = spaces.0.lock().keys().cloned().collect();
    assert_eq!(left, ["c", "d", "made-otherwise"]);
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
