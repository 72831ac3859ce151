//! What is published, compared with what was recorded of a stock server.

use super::*;
use crate::builtin::inflate;
use crate::discovery::{Subresource, Verbs};
use std::collections::BTreeSet;

fn builtin_kinds() -> Vec<Published<'static>> {
    builtin::kinds().iter().map(|kind| Published { served: &kind.served, custom: None }).collect()
}

fn widget(kind: &str) -> ServedKind {
    ServedKind {
        group: "stable.example.com".into(),
        version: "v1".into(),
        kind: kind.to_owned().into(),
        plural: format!("{}s", kind.to_lowercase()).into(),
        singular: kind.to_lowercase().into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: true,
        verbs: Verbs::FULL,
        subresources: vec![Subresource {
            name: "status".into(),
            group: "".into(),
            version: "".into(),
            kind: kind.to_owned().into(),
            verbs: Verbs::SUBRESOURCE,
        }],
        stored_as: "stable.example.com/v1".into(),
    }
}

fn widget_schema() -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1, "default": 3},
            "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "maybe": {"type": "object", "nullable": true, "properties": {"a": {"type": "string"}}},
            "template": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
            "loose": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {"type": "string"}}},
        }},
    }})
}

fn json_of(document: &Document) -> Value {
    serde_json::from_slice(&document.body).unwrap()
}

/// Path, method, operation id, action, kind, and media types of each operation.
type Fact = [String; 7];

fn facts(paths: &Value) -> BTreeSet<Fact> {
    let mut facts = BTreeSet::new();
    for (path, item) in paths.as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters") {
            let text = |key: &str| operation.get(key).map(Value::to_string).unwrap_or_default();
            facts.insert([
                path.clone(),
                method.clone(),
                text("operationId"),
                text("x-kubernetes-action"),
                text("x-kubernetes-group-version-kind"),
                text("consumes"),
                text("produces"),
            ]);
        }
    }
    facts
}

#[test]
fn operations_are_those_of_the_stock_server() {
    let recorded: Value = serde_json::from_str(&inflate(include_bytes!("../../data/recorded-paths.json.z"))).unwrap();
    let served = OpenApi::of(builtin_kinds()).v2(Form::Json, &Cache::default());
    let (served, recorded) = (facts(&json_of(&served)["paths"]), facts(&recorded));
    assert_eq!(served.difference(&recorded).collect::<Vec<_>>(), Vec::<&Fact>::new(), "served and not recorded");
    assert_eq!(recorded.difference(&served).collect::<Vec<_>>(), Vec::<&Fact>::new(), "recorded and not served");
}

#[test]
fn both_versions_have_the_same_operations() {
    let (api, cache) = (OpenApi::of(builtin_kinds()), Cache::default());
    let index = json_of(&api.index());
    let names = |facts: BTreeSet<Fact>| facts.into_iter().map(|fact| fact[..5].to_vec()).collect::<BTreeSet<_>>();
    let of_v3: BTreeSet<Fact> = index["paths"]
        .as_object()
        .unwrap()
        .keys()
        .flat_map(|path| facts(&json_of(&api.v3(path, Form::Json, &cache).unwrap())["paths"]))
        .collect();
    assert_eq!(names(of_v3), names(facts(&json_of(&api.v2(Form::Json, &cache))["paths"])));
}

#[test]
fn index_has_the_hash_of_each_document() {
    let (api, cache) = (OpenApi::of(builtin_kinds()), Cache::default());
    let index = json_of(&api.index());
    let hash = api.hash("apis/apps/v1").unwrap();
    assert_eq!(index["paths"]["apis/apps/v1"]["serverRelativeURL"], format!("/openapi/v3/apis/apps/v1?hash={hash}"));
    assert!(index["paths"].get("api/v1").is_some());
    assert_eq!(api.v3("apis/apps/v1", Form::Json, &cache).unwrap().etag, format!("\"{hash}\""));
    assert_eq!(api.v3("apis/apps/v2", Form::Json, &cache), None);
}

/// What `kubectl apply` and its validation look for.
#[test]
fn patches_say_what_they_take() {
    let document = json_of(&OpenApi::of(builtin_kinds()).v3("apis/apps/v1", Form::Json, &Cache::default()).unwrap());
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    let content = patch["requestBody"]["content"].as_object().unwrap();
    assert!(content.contains_key("application/strategic-merge-patch+json"));
    let parameters: Vec<&str> =
        patch["parameters"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(parameters, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    let schemas = &document["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["items"]["allOf"][0]["$ref"], "#/components/schemas/io.k8s.api.core.v1.Container");
    let port = &schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
    assert_eq!(port["oneOf"], json!([{"type": "integer"}, {"type": "string"}]));
    assert!(schemas.get("io.k8s.api.batch.v1.Job").is_none());
}

fn check_references(value: &Value, prefix: &str, known: &Map<String, Value>) {
    match value {
        Value::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Value::as_str)
                && !reference.starts_with("#/parameters/")
            {
                let name = reference.strip_prefix(prefix).unwrap_or_else(|| panic!("{reference}"));
                assert!(known.contains_key(name), "{name}");
            }
            map.values().for_each(|value| check_references(value, prefix, known));
        }
        Value::Array(items) => items.iter().for_each(|value| check_references(value, prefix, known)),
        _ => {}
    }
}

#[test]
fn references_lead_somewhere() {
    let (served, schema) = (widget("Widget"), widget_schema());
    let custom = CustomSchema { schema: &schema, list_kind: "WidgetList", selectable: &[] };
    let kinds = builtin_kinds().into_iter().chain([Published { served: &served, custom: Some(custom) }]);
    let (api, cache) = (OpenApi::of(kinds), Cache::default());
    let v2 = json_of(&api.v2(Form::Json, &cache));
    check_references(&v2, "#/definitions/", v2["definitions"].as_object().unwrap());
    for path in json_of(&api.index())["paths"].as_object().unwrap().keys() {
        let v3 = json_of(&api.v3(path, Form::Json, &cache).unwrap());
        check_references(&v3, "#/components/schemas/", v3["components"]["schemas"].as_object().unwrap_or(&Map::new()));
    }
}

#[test]
fn custom_kinds() {
    let (served, schema) = (widget("Widget"), widget_schema());
    let (bare, null) = (widget("Bare"), Value::Null);
    let publish = |served, schema, list_kind| Published {
        served,
        custom: Some(CustomSchema { schema, list_kind, selectable: &[] }),
    };
    let kinds = || [publish(&served, &schema, "WidgetList"), publish(&bare, &null, "BareList")];
    let (api, cache) = (OpenApi::of(kinds()), Cache::default());
    let v3 = json_of(&api.v3("apis/stable.example.com/v1", Form::Json, &cache).unwrap());
    let patch = &v3["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/widgets/{name}/status"]["patch"];
    assert_eq!(patch["operationId"], "patchStableExampleComV1NamespacedWidgetStatus");
    let content: Vec<&String> = patch["requestBody"]["content"].as_object().unwrap().keys().collect();
    assert_eq!(
        content,
        ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"]
    );
    let schemas = &v3["components"]["schemas"];
    let shown = &schemas["com.example.stable.v1.Widget"];
    assert_eq!(shown["x-kubernetes-group-version-kind"][0]["kind"], "Widget");
    assert_eq!(shown["properties"]["apiVersion"]["type"], "string");
    assert_eq!(shown["properties"]["spec"]["properties"]["size"]["default"], 3);
    assert!(shown["properties"]["spec"]["properties"]["template"]["properties"].get("kind").is_some());
    assert!(schemas.get("com.example.stable.v1.WidgetList").is_some());
    let preserving = &schemas["com.example.stable.v1.Bare"];
    assert_eq!(preserving["type"], "object");
    assert_eq!(preserving.get("properties"), None);

    let v2 = json_of(&api.v2(Form::Json, &cache));
    let spec = &v2["definitions"]["com.example.stable.v1.Widget"]["properties"]["spec"]["properties"];
    assert_eq!(spec["size"], json!({"type": "integer", "minimum": 1}));
    assert_eq!(spec["port"], json!({"x-kubernetes-int-or-string": true}));
    assert_eq!(spec["maybe"], json!({}));
    assert_eq!(spec["template"]["required"], json!(["kind", "apiVersion"]));
    assert_eq!(spec["loose"], json!({"x-kubernetes-preserve-unknown-fields": true}));

    let changed = json!({"type": "object"});
    let other = OpenApi::of([publish(&served, &changed, "WidgetList"), publish(&bare, &null, "BareList")]);
    assert_ne!(other.hash("apis/stable.example.com/v1"), api.hash("apis/stable.example.com/v1"));
    assert_ne!(other.v2(Form::Json, &cache).etag, api.v2(Form::Json, &cache).etag);
}

#[test]
fn protobuf_has_the_same_parts() {
    let (api, cache) = (OpenApi::of(builtin_kinds()), Cache::default());
    for body in [api.v2(Form::Protobuf, &cache).body, api.v3("apis/apps/v1", Form::Protobuf, &cache).unwrap().body] {
        let text = String::from_utf8_lossy(&body);
        for part in ["readAppsV1NamespacedDeployment", "io.k8s.api.apps.v1.DeploymentSpec", "x-kubernetes-action"] {
            assert!(text.contains(part), "{part}");
        }
    }
}
