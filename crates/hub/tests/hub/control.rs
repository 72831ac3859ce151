//! What users are told of their policies, and what they can say of how things are removed, shared and taken over.

use crate::pipeline::{Pipeline, config_map};
use crate::world::*;
use api::{Object, Resource};
use client::Client;
use planner::transport::Limits;
use serde_json::Value;

const EVENTS: Resource = Resource::namespaced("events.k8s.io", "v1", "events", "Event");

/// Waits for an Event about a policy; gives its note.
async fn event(wds: &Client, policy: &'static str, reason: &'static str) -> String {
    let events: client::Reflector<Object> =
        client::Reflector::start(wds.clone(), EVENTS, client::Selection::namespace("default"));
    events.synced().await;
    let mut changes = events.subscribe();
    let text = |event: &Object, path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let wait = async {
        loop {
            let all = events.all();
            let about = all.iter().find(|event| {
                text(event, "/regarding/name") == policy
                    && text(event, "/regarding/kind") == "BindingPolicy"
                    && text(event, "/reason") == reason
            });
            if let Some(event) = about {
                return text(event, "/note");
            }
            let _ = changes.next().await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(note) => note,
        Err(_) => panic!("no Event {reason} about {policy} within {PATIENCE:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_announce_what_happens_to_them() {
    let p = Pipeline::start(Limits::default()).await;
    apply(
        &p.wds,
        "apiVersion: control.kubestellar.io/v1alpha1
kind: BindingPolicy
metadata: {name: web}
spec:
  clusterSelectors: [{matchLabels: {name: edge1}}]
  downsync: [{resources: [configmaps, \"*\"], objectNames: [conf]}]",
    )
    .await;
    apply(&p.wds, &config_map("conf", "web", "1")).await;
    p.works("edge1", "conf=1").await;
    p.carry_out("edge1", Value::Null).await;
    assert_eq!(event(&p.wds, "web", "Ready").await, "Every cluster has applied its part");
    let remark = event(&p.wds, "web", "Problem").await;
    assert!(remark.contains("spec.downsync[0].resources has `*` beside names"), "{remark}");
}
