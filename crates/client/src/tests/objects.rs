//! Requests, discovery and apply against the real server.

use super::{CONFIG_MAPS, NAMESPACES, World, config_map, named};
use crate::{DeleteParams, ListParams, Patch};
use api::{Object, ObjectName, PartialObject, Resource};
use serde_json::json;

#[tokio::test]
async fn objects_are_made_read_changed_and_removed() {
    let world = World::new();
    let client = world.client();
    assert!(client.find::<Object>(&CONFIG_MAPS, &named("a")).await.unwrap().is_none());
    let error = client.get::<Object>(&CONFIG_MAPS, &named("a")).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert_eq!(error.to_string(), "configmaps \"a\" not found");

    let made: Object = client.create(&CONFIG_MAPS, "default", &config_map("a", "1")).await.unwrap();
    assert!(!made.uid().is_empty());
    let again = client.create::<Object>(&CONFIG_MAPS, "default", &config_map("a", "1")).await.unwrap_err();
    assert!(again.is_already_exists(), "{again}");

    let patched: Object =
        client.patch(&CONFIG_MAPS, &named("a"), &Patch::Merge(json!({"data": {"v": "2"}}))).await.unwrap();
    assert_eq!(patched.pointer("/data/v"), Some(&json!("2")));
    let stale = client.update::<Object>(&CONFIG_MAPS, &named("a"), &made).await.unwrap_err();
    assert!(stale.is_conflict(), "{stale}");
    let json_patch = Patch::Json(json!([{"op": "replace", "path": "/data/v", "value": "3"}]));
    let read: PartialObject = client.patch(&CONFIG_MAPS, &named("a"), &json_patch).await.unwrap();
    assert_eq!(read.metadata.labels["test"], "yes");

    let other = client.delete(&CONFIG_MAPS, &named("a"), &DeleteParams::only("other")).await.unwrap_err();
    assert!(other.is_conflict(), "{other}");
    client.delete(&CONFIG_MAPS, &named("a"), &DeleteParams::only(made.uid())).await.unwrap();
    let gone = client.delete(&CONFIG_MAPS, &named("a"), &DeleteParams::default()).await.unwrap_err();
    assert!(gone.is_not_found(), "{gone}");
}

#[tokio::test]
async fn lists_page_through() {
    let world = World::new();
    for index in 0..7 {
        world.put(&format!("m{index}"), if index % 2 == 0 { "even" } else { "odd" }).await;
    }
    let params = ListParams { labels: "test=yes".into(), limit: 2, ..ListParams::default() };
    let list = world.client().list::<Object>(&CONFIG_MAPS, "", &params).await.unwrap();
    let names: Vec<&str> = list.items.iter().map(Object::name).collect();
    assert_eq!(names, ["m0", "m1", "m2", "m3", "m4", "m5", "m6"]);
    assert!(list.items.iter().all(|item| item.kind() == "ConfigMap" && item.api_version() == "v1"));
    assert_eq!(world.line.count("limit=2"), 4);
    let odd = ListParams { labels: "test,value notin (even)".into(), ..ListParams::default() };
    assert_eq!(world.client().list::<Object>(&CONFIG_MAPS, "default", &odd).await.unwrap().items.len(), 3);
    let one = ListParams::fields("metadata.name=m3");
    assert_eq!(world.client().list::<PartialObject>(&CONFIG_MAPS, "default", &one).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn edits_of_many_writers_all_count() {
    let world = World::new();
    world.put("counter", "0").await;
    let add = |client: crate::Client| async move {
        let increment = |object: &mut Object| {
            let held: u32 = object.pointer("/data/v").and_then(|v| v.as_str()).unwrap().parse().unwrap();
            object.0["data"]["v"] = (held + 1).to_string().into();
        };
        client.edit(&CONFIG_MAPS, &named("counter"), increment).await.unwrap();
    };
    let writers: Vec<_> = (0..4).map(|_| tokio::spawn(add(world.client()))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let object: Object = world.client().get(&CONFIG_MAPS, &named("counter")).await.unwrap();
    assert_eq!(object.pointer("/data/v"), Some(&json!("4")));
    let writes = world.line.count("PUT");
    let same = world.client().edit(&CONFIG_MAPS, &named("counter"), |_| {}).await.unwrap();
    assert_eq!(same, object);
    assert_eq!(world.line.count("PUT"), writes, "an edit that changes nothing must not write");
    let absent = world.client().edit(&CONFIG_MAPS, &named("absent"), |_| {}).await.unwrap_err();
    assert!(absent.is_not_found());
}

const WIDGETS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: example.org/v1
kind: Widget
metadata: {name: small, namespace: shop}
spec: {size: 1}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: here}
data: {a: b}
";

#[tokio::test]
async fn yaml_is_applied_with_definitions_first() {
    let world = World::new();
    let client = world.client().with_field_manager("applier");
    let applied = client.apply_yaml(WIDGETS).await.unwrap();
    let shown: Vec<String> =
        applied.iter().map(|object| format!("{} {}", object.kind(), object.object_name())).collect();
    assert_eq!(
        shown,
        [
            "CustomResourceDefinition widgets.example.org",
            "Namespace shop",
            "Widget shop/small",
            "ConfigMap default/here"
        ]
    );
    let manager = applied[2].pointer("/metadata/managedFields/0/manager").cloned();
    assert_eq!(manager, Some(json!("applier")));
    let again = client.apply_yaml(WIDGETS).await.unwrap();
    assert_eq!(again[2].resource_version(), applied[2].resource_version(), "nothing changed");

    let found = client.resources().await.unwrap();
    let widgets = found.iter().find(|row| row.resource.plural == "widgets").unwrap();
    assert_eq!(widgets.resource, Resource::namespaced("example.org", "v1", "widgets", "Widget"));
    assert!(widgets.has_verb("watch") && widgets.subresources.contains(&"status".to_owned()));
    assert_eq!(widgets.short_names, ["wd"]);

    let widget = ObjectName::namespaced("shop", "small");
    let status: Object =
        client.patch_status(&widgets.resource, &widget, &Patch::Merge(json!({"status": {"parts": 3}}))).await.unwrap();
    assert_eq!(status.pointer("/status/parts"), Some(&json!(3)));
    let edited =
        client.edit_status(&widgets.resource, &widget, |object| object.0["status"]["parts"] = 4.into()).await.unwrap();
    assert_eq!(edited.pointer("/status/parts"), Some(&json!(4)));

    let unknown = client.apply_yaml("apiVersion: example.org/v1\nkind: Gadget\nmetadata: {name: a}").await.unwrap_err();
    assert!(unknown.to_string().contains("no matches for kind \"Gadget\""), "{unknown}");
}

#[tokio::test]
async fn both_forms_of_discovery_say_the_same() {
    let world = World::new();
    let aggregated = world.client().resources().await.unwrap();
    world.line.state.lock().plain_discovery = true;
    let plain = world.client().resources().await.unwrap();
    assert!(aggregated.len() > 50, "{}", aggregated.len());
    let names = |found: &[crate::Discovered]| {
        found
            .iter()
            .map(|row| format!("{} {}", row.resource.group_resource(), row.resource.version))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&aggregated), names(&plain));
    let deployments = |found: &[crate::Discovered]| {
        let row = found.iter().find(|row| row.resource.plural == "deployments").unwrap();
        let mut subresources = row.subresources.clone();
        subresources.sort();
        (row.resource.clone(), subresources, row.short_names.clone())
    };
    assert_eq!(deployments(&aggregated), deployments(&plain));
}

#[tokio::test]
async fn waiting_is_watching() {
    let world = World::new();
    let client = world.client();
    let waiting = tokio::spawn(async move {
        let answer = |object: Option<&Object>| object?.pointer("/data/v").filter(|v| **v == "ready").cloned();
        client.until(&CONFIG_MAPS, &named("w"), std::time::Duration::from_secs(20), "waiting for w", answer).await
    });
    world.put("w", "early").await;
    world.put("w", "ready").await;
    assert_eq!(waiting.await.unwrap().unwrap(), json!("ready"));
    let error = world
        .client()
        .until(
            &NAMESPACES,
            &ObjectName::cluster("x"),
            std::time::Duration::ZERO,
            "waiting for x",
            |_: Option<&Object>| None::<()>,
        )
        .await
        .unwrap_err();
    assert!(error.to_string().starts_with("waiting for x: not within 0 s"), "{error}");
}
