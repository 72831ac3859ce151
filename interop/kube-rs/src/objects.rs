//! Typed objects: written, patched, applied, watched.

use crate::{Result, Run, fact, refused, within};
use futures_util::{StreamExt, TryStreamExt, pin_mut};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use serde_json::json;
use std::collections::BTreeMap;

fn config_map(name: &str, value: &str) -> ConfigMap {
    let data = BTreeMap::from([("k".to_owned(), value.to_owned())]);
    let mut made = ConfigMap { data: Some(data), ..ConfigMap::default() };
    made.metadata.name = Some(name.to_owned());
    made
}

fn told(what: &str, object: &ConfigMap) {
    let time = object.creation_timestamp().is_some();
    let (uid, revision) = (object.uid().is_some(), object.resource_version().is_some());
    fact(format!(
        "{what}: {:?} {:?} {:?} uid {uid} revision {revision} time {time}",
        object.name_any(),
        object.data,
        object.labels()
    ));
}

pub(crate) async fn typed(run: &Run) -> Result {
    let maps = run.api::<ConfigMap>();
    let post = PostParams { field_manager: Some("kube-rs".into()), ..PostParams::default() };
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    told("created", &maps.create(&post, &config_map("a", "1")).await?);
    told("dry run", &maps.create(&dry, &config_map("b", "1")).await?);
    fact(format!("not there: {}", maps.get_opt("b").await?.is_none()));
    refused("twice", maps.create(&post, &config_map("a", "1")).await);
    refused("a bad name", maps.create(&post, &config_map("A_", "1")).await);
    let mut held = maps.get("a").await?;
    told("got", &held);
    let stale = held.clone();
    held.labels_mut().insert("l".into(), "v".into());
    told("replaced", &maps.replace("a", &post, &held).await?);
    refused("stale", maps.replace("a", &post, &stale).await);
    let merge = Patch::Merge(json!({"data": {"m": "2"}}));
    told("merged", &maps.patch("a", &PatchParams::default(), &merge).await?);
    let strategic = Patch::Strategic(json!({"data": {"k": null, "s": "3"}}));
    told("strategic", &maps.patch("a", &PatchParams::default(), &strategic).await?);
    told("entry", &{
        let mut entry = maps
            .entry("a")
            .await?
            .and_modify(|map| {
                map.data.get_or_insert_default().insert("e".into(), "4".into());
            })
            .or_insert(ConfigMap::default);
        entry.commit(&post).await?;
        entry.get().clone()
    });
    for name in ["b", "c", "d"] {
        maps.create(&post, &config_map(name, name)).await?;
    }
    let params = ListParams::default().limit(2);
    let first = maps.list(&params).await?;
    let names = |items: &[ConfigMap]| items.iter().map(ResourceExt::name_any).collect::<Vec<_>>();
    fact(format!("first chunk: {:?}, more {:?}", names(&first.items), first.metadata.remaining_item_count));
    let token = first.metadata.continue_.unwrap_or_default();
    let rest = maps.list(&params.clone().continue_token(&token)).await?;
    fact(format!("second chunk: {:?}", names(&rest.items)));
    fact(format!("by label: {:?}", names(&maps.list(&ListParams::default().labels("l=v")).await?.items)));
    fact(format!("by name: {:?}", names(&maps.list(&ListParams::default().fields("metadata.name=c")).await?.items)));
    refused("a bad selector", maps.list(&ListParams::default().fields("data=x")).await);
    let metadata = maps.get_metadata("a").await?;
    fact(format!("metadata: {:?} {:?}", metadata.name_any(), metadata.types));
    let other = Preconditions { uid: Some("other".into()), ..Preconditions::default() };
    let gone = maps.delete("b", &DeleteParams { preconditions: Some(other), ..DeleteParams::default() }).await;
    fact(format!("another uid: {}", gone.is_err()));
    let background =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
    fact(format!("deleted: {}", maps.delete("b", &background).await?.is_right()));
    refused("gone", maps.get("b").await);
    let all = maps.delete_collection(&DeleteParams::default(), &ListParams::default().labels("l=v")).await?;
    fact(format!("deleted by label: left {:?}", all.left().map(|list| names(&list.items))));
    Ok(())
}

pub(crate) async fn apply(run: &Run) -> Result {
    let deployments = run.api::<Deployment>();
    let wanted = |replicas: i32, image: &str| {
        Patch::Apply(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": {
                "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": image}]}}}}))
    };
    let told = |what: &str, made: &Deployment| {
        let spec = made.spec.clone().unwrap_or_default();
        let image = spec.template.spec.unwrap_or_default().containers.first().and_then(|c| c.image.clone());
        let managers: Vec<_> = made.managed_fields().iter().map(|entry| (&entry.manager, &entry.operation)).collect();
        fact(format!("{what}: {:?} {image:?} generation {:?} {managers:?}", spec.replicas, made.metadata.generation));
    };
    told("applied", &deployments.patch("d", &PatchParams::apply("one"), &wanted(1, "i:1")).await?);
    told("again", &deployments.patch("d", &PatchParams::apply("one"), &wanted(1, "i:1")).await?);
    refused("a conflict", deployments.patch("d", &PatchParams::apply("two"), &wanted(2, "i:2")).await);
    told("by force", &deployments.patch("d", &PatchParams::apply("two").force(), &wanted(2, "i:2")).await?);
    let scale = deployments.get_scale("d").await?;
    fact(format!("scale: {:?}", scale.spec.and_then(|spec| spec.replicas)));
    let scaled = Patch::Merge(json!({"spec": {"replicas": 5}}));
    let scale = deployments.patch_scale("d", &PatchParams::default(), &scaled).await?;
    fact(format!("scaled: {:?}", scale.spec.and_then(|spec| spec.replicas)));
    let status = Patch::Merge(json!({"status": {"replicas": 3}, "spec": {"replicas": 9}}));
    let written = deployments.patch_status("d", &PatchParams::default(), &status).await?;
    fact(format!("status: {:?} {:?}", written.status.and_then(|s| s.replicas), written.spec.and_then(|s| s.replicas)));
    let strict = PatchParams {
        field_validation: Some(kube::api::ValidationDirective::Strict),
        ..PatchParams::apply("one").force()
    };
    let unknown = Patch::Apply(
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"unknown": 1}}),
    );
    refused("an unknown field", deployments.patch("d", &strict, &unknown).await);
    Ok(())
}

pub(crate) async fn watch(run: &Run) -> Result {
    let maps = run.api::<ConfigMap>();
    let post = PostParams::default();
    // Everything in the namespace but what every namespace is given.
    let only = watcher::Config::default().labels("watched=yes");
    for (style, config) in [("list", only.clone()), ("stream", only.clone().streaming_lists())] {
        let labelled = |name: &str, value: &str| {
            let mut made = config_map(&format!("{style}-{name}"), value);
            made.labels_mut().insert("watched".into(), "yes".into());
            made
        };
        maps.create(&post, &labelled("a", "1")).await?;
        let (reader, writer) = reflector::store();
        let events = reflector(writer, watcher(maps.clone(), config)).default_backoff();
        pin_mut!(events);
        let next = async |events: &mut std::pin::Pin<&mut _>, what: &str| -> Result {
            let event = within(what, StreamExt::next(events)).await?.ok_or("the watch ended")??;
            fact(match event {
                watcher::Event::Init => format!("{style}: init"),
                watcher::Event::InitApply(map) => format!("{style}: init apply {}", ConfigMap::name_any(&map)),
                watcher::Event::InitDone => format!("{style}: init done"),
                watcher::Event::Apply(map) => format!("{style}: apply {} {:?}", map.name_any(), map.data),
                watcher::Event::Delete(map) => format!("{style}: delete {}", map.name_any()),
            });
            Ok(())
        };
        for what in ["init", "init apply", "init done"] {
            next(&mut events, what).await?;
        }
        maps.create(&post, &labelled("b", "2")).await?;
        next(&mut events, "created").await?;
        let changed = Patch::Merge(json!({"data": {"k": "3"}}));
        maps.patch(&format!("{style}-b"), &PatchParams::default(), &changed).await?;
        next(&mut events, "changed").await?;
        let unlabelled = Patch::Merge(json!({"metadata": {"labels": {"watched": null}}}));
        maps.patch(&format!("{style}-a"), &PatchParams::default(), &unlabelled).await?;
        next(&mut events, "out of the selection").await?;
        maps.delete(&format!("{style}-b"), &DeleteParams::default()).await?;
        next(&mut events, "deleted").await?;
        fact(format!("{style}: left {:?}", reader.state().iter().map(|map| map.name_any()).collect::<Vec<_>>()));
    }
    let listed = maps.list(&kube::api::ListParams::default()).await?;
    let from = listed.metadata.resource_version.unwrap_or_default();
    maps.create(&post, &config_map("raw", "1")).await?;
    let raw = maps.watch(&kube::api::WatchParams::default().timeout(10), &from).await?;
    pin_mut!(raw);
    let first = within("a raw watch", raw.try_next()).await??;
    fact(format!("raw: {}", matches!(first, Some(kube::api::WatchEvent::Added(map)) if map.name_any() == "raw")));
    Ok(())
}
