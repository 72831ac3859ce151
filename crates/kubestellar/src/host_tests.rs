//! The spaces of a real server over HTTPS: who may join, what survives a move, and what is undone at the end.

use crate::fleet::Fleet;
use crate::host_marks::{self, Marks};
use crate::local;
use api::cluster::{MANAGED_CLUSTERS, SIGNING_REQUESTS};
use api::space::CONTROL_PLANES;
use api::work::MANIFEST_WORKS;
use api::{Object, ObjectName, PartialObject, Resource, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cli::kflex::SpaceType;
use client::{Client, Credential, DeleteParams, Endpoint, ListParams};
use hub::hosting::Role;
use pki::{PrivateKey, Subject, new_request};
use planner::registration;
use serde_json::{Value, json};
use std::time::Duration;
use store::Visibility;

const SECRETS: Resource = Resource::namespaced("", "v1", "secrets", "Secret");
const DEFINITIONS: Resource =
    Resource::cluster("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition");
/// Far more than anything here takes; a test that fails waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

fn client(fleet: &Fleet, space: &str) -> Client {
    local::client(&fleet.serve.server, &space.into(), "test", Visibility::Durable)
}

async fn count(client: &Client, resource: &Resource, namespace: &str) -> usize {
    client.list::<PartialObject>(resource, namespace, &ListParams::default()).await.unwrap().items.len()
}

/// A signing request for an agent of a cluster.
fn request(cluster: &str) -> Value {
    let (common_name, organizations) = registration::agent_identity(cluster, "a1");
    let pem = new_request(&PrivateKey::generate().unwrap(), &Subject { common_name, organizations }, &[]).unwrap();
    registration::signing_request(cluster, &STANDARD.encode(pem))
}

/// Whoever has a token for one cluster brings in that one; a token for the whole ITS any.
async fn check_tokens(fleet: &Fleet) {
    let its = client(fleet, "its1");
    let server = &fleet.serve.server;
    let with = |token: String| {
        let ca = Some(server.serving_authority().as_bytes().to_vec());
        let credential = Credential::Token(token);
        Client::https(Endpoint { server: server.url(&"its1".into()), ca, credential, ..Endpoint::default() }).unwrap()
    };
    let expires = Timestamp::from_seconds(server.now().seconds() + 600);
    let holder = with(cli::clusters::bootstrap_token(&its, "c8", expires).await.unwrap());
    let join = async |holder: &Client, cluster: &str| {
        let registered =
            holder.create::<Object>(&MANAGED_CLUSTERS, "", &registration::managed_cluster(cluster)).await.map(drop);
        let asked = holder.create::<Object>(&SIGNING_REQUESTS, "", &request(cluster)).await.map(drop);
        (registered, asked)
    };
    let (registered, asked) = join(&holder, "c9").await;
    for refused in [registered.unwrap_err(), asked.unwrap_err()] {
        assert!(refused.is_forbidden() && refused.to_string().contains("for cluster c8 only"), "{refused}");
    }
    assert!(matches!(join(&holder, "c8").await, (Ok(()), Ok(()))));
    let encode = |text: &str| STANDARD.encode(text);
    let its_wide = json!({"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "data": {"token-id": encode("abcdef"), "token-secret": encode("0123456789abcdef"),
            "usage-bootstrap-authentication": encode("true"),
            "auth-extra-groups": encode("system:bootstrappers:managedcluster")}});
    its.create::<Value>(&SECRETS, "kube-system", &its_wide).await.unwrap();
    assert!(matches!(join(&with("abcdef.0123456789abcdef".into()), "c9").await, (Ok(()), Ok(()))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_moves_keeps_its_clusters() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(folder.path(), clock::system()).await.unwrap();
    fleet.create("its1", SpaceType::Its, None).await.unwrap();
    fleet.create("c1", SpaceType::Wec, Some("its1")).await.unwrap();
    fleet.accept("its1", &["c1".to_owned()]).await.unwrap();
    check_tokens(&fleet).await;
    let before = (fleet.serve.url.clone(), count(&client(&fleet, "its1"), &SIGNING_REQUESTS, "").await);
    fleet.serve.stop().await;

    // At another port: nobody has to let the cluster in again.
    let fleet = Fleet::start(folder.path(), clock::system()).await.unwrap();
    let its = client(&fleet, "its1");
    let work = json!({"apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": {"name": "w", "namespace": "c1"}, "spec": {"workload": {"manifests": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}]}}});
    its.create::<Value>(&MANIFEST_WORKS, "c1", &work).await.unwrap();
    let work = ObjectName::namespaced("c1", "w");
    its.until_condition(&MANIFEST_WORKS, &work, "Available", PATIENCE).await.unwrap();
    assert_ne!(fleet.serve.url, before.0);
    assert_eq!(count(&its, &SIGNING_REQUESTS, "").await, before.1, "no new signing request");

    // A space knows which ControlPlane it was made for, and what it does elsewhere is undone when that goes.
    let (hosting, name) = (client(&fleet, crate::serve::HOSTING), ObjectName::cluster("c1"));
    let plane: Object = hosting.get(&CONTROL_PLANES, &name).await.unwrap();
    let marks = host_marks::read(&fleet.serve.server, &"c1".into()).await.unwrap();
    assert_eq!(marks, Marks { owner: Some(plane.uid().to_owned()), role: Some((Role::Wec, "its1".into())) });
    let definition = ObjectName::cluster("controlplanes.tenancy.kflex.kubestellar.org");
    let refused = hosting.delete(&DEFINITIONS, &definition, &DeleteParams::default()).await.unwrap_err();
    assert!(refused.is_forbidden() && refused.to_string().contains("2 ControlPlanes would go with it"), "{refused}");
    hosting.delete(&CONTROL_PLANES, &name, &DeleteParams::default()).await.unwrap();
    let gone = |held: Option<&Object>| held.is_none().then_some(());
    hosting.until(&CONTROL_PLANES, &name, PATIENCE, "the ControlPlane goes", gone).await.unwrap();
    assert!(its.find::<Object>(&MANAGED_CLUSTERS, &name).await.unwrap().is_none());
    assert!(!fleet.serve.server.has_space(&"c1".into()));
    assert_eq!(host_marks::read(&fleet.serve.server, &"c1".into()).await.unwrap(), Marks::default());
    fleet.serve.stop().await;
}
