//! Custom resources whose definition is derived from a type, and discovery.

use crate::{Result, Run, fact, refused, within};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::discovery::{Discovery, Scope, verbs};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, CustomResource, CustomResourceExt, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A custom resource with all that the derive can say.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(group = "kube-rs.example.org", version = "v1", kind = "Crate", plural = "crates", namespaced)]
#[kube(shortname = "cr", category = "boxes", status = "CrateStatus", selectable = ".spec.color")]
#[kube(scale(spec_replicas_path = ".spec.size", status_replicas_path = ".status.size"))]
#[kube(printcolumn(name = "Color", type_ = "string", json_path = ".spec.color"))]
#[kube(validation = "self.spec.size < 100")]
pub(crate) struct CrateSpec {
    #[schemars(range(min = 1))]
    size: i32,
    #[serde(default = "red")]
    color: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub(crate) struct CrateStatus {
    size: i32,
}

fn red() -> String {
    "red".into()
}

fn sized(name: &str, size: i32) -> Crate {
    Crate::new(name, CrateSpec { size, color: red(), note: None })
}

pub(crate) async fn custom(run: &Run) -> Result {
    let definitions: Api<CustomResourceDefinition> = Api::all(run.client.clone());
    let name = Crate::crd_name();
    definitions.patch(name, &PatchParams::apply("kube-rs").force(), &Patch::Apply(Crate::crd())).await?;
    within("established", await_condition(definitions.clone(), name, is_crd_established())).await??;
    let crates = run.api::<Crate>();
    let post = PostParams::default();
    // The definition says that it is established before a stock server serves it everywhere.
    let made = within("served", async {
        loop {
            match crates.create(&post, &sized("a", 3)).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await
                }
                made => break made,
            }
        }
    });
    let made = made.await??;
    fact(format!("created: {:?} generation {:?}", made.spec, made.metadata.generation));
    refused("too small", crates.create(&post, &sized("b", 0)).await);
    refused("too large", crates.create(&post, &sized("b", 100)).await);
    let status = Patch::Merge(json!({"status": {"size": 2}}));
    let made = crates.patch_status("a", &PatchParams::default(), &status).await?;
    fact(format!("status: {:?} generation {:?}", made.status, made.metadata.generation));
    let scaled =
        crates.patch_scale("a", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 7}}))).await?;
    fact(format!("scaled: {:?} {:?}", scaled.spec, scaled.status));
    let green = |metadata| {
        Patch::Apply(json!({"apiVersion": "kube-rs.example.org/v1", "kind": "Crate", "metadata": metadata,
            "spec": {"size": 4, "color": "green"}}))
    };
    refused("without a name", crates.patch("g", &PatchParams::apply("kube-rs"), &green(json!({}))).await);
    let green = green(json!({"name": "g"}));
    let made = crates.patch("g", &PatchParams::apply("kube-rs"), &green).await?;
    fact(format!("applied: {:?}", made.spec));
    let by_color = crates.list(&ListParams::default().fields("spec.color=green")).await?;
    fact(format!("by color: {:?}", by_color.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>()));
    let resource = Crate::api_resource();
    let dynamic: Api<DynamicObject> = Api::namespaced_with(run.client.clone(), &run.namespace, &resource);
    let object = dynamic.get("a").await?;
    fact(format!("dynamic: {:?} {}", object.types, object.data["spec"]));
    let uid = definitions.get(name).await?.uid().unwrap_or_default();
    definitions.delete(name, &DeleteParams::foreground()).await?;
    within("gone", await_condition(definitions.clone(), name, conditions::is_deleted(&uid))).await??;
    fact("the definition is gone");
    Ok(())
}

pub(crate) async fn discovered(run: &Run) -> Result {
    let version = run.client.apiserver_version().await?;
    fact(format!("version {}.{}", version.major, version.minor));
    for (style, found) in [
        ("plain", Discovery::new(run.client.clone()).run().await?),
        ("aggregated", Discovery::new(run.client.clone()).run_aggregated().await?),
    ] {
        let mut facts = Vec::new();
        for group in found.groups() {
            // What other scenarios define comes and goes.
            if group.name().ends_with("example.org") {
                continue;
            }
            for (resource, can) in group.recommended_resources() {
                let scope = if can.scope == Scope::Cluster { "cluster" } else { "namespaced" };
                let mut subresources: Vec<_> = can.subresources.iter().map(|(sub, _)| sub.plural.clone()).collect();
                subresources.sort();
                let (watch, verbs) = (can.supports_operation(verbs::WATCH), can.operations.len());
                facts.push(format!(
                    "{style}: {} {} {} {scope} watch {watch} verbs {verbs} {subresources:?}",
                    resource.api_version, resource.kind, resource.plural
                ));
            }
        }
        facts.sort();
        facts.iter().for_each(fact);
    }
    Ok(())
}
