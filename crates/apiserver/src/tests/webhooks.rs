//! Admission webhooks, with one that listens on a socket.

use super::*;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// What a webhook answers to a request of a review; `None`: nothing, ever.
pub(super) type Reply = Box<dyn Fn(&Value) -> Option<Value> + Send + Sync>;

/// A webhook on the loopback address.
pub(super) struct Listener {
    pub(super) url: String,
    /// PEM of its authority, in base64.
    pub(super) authorities: String,
    /// The reviews that it was sent.
    pub(super) seen: Arc<Mutex<Vec<Value>>>,
    connections: Arc<Mutex<usize>>,
}

impl Listener {
    pub(super) async fn start(reply: impl Fn(&Value) -> Option<Value> + Send + Sync + 'static) -> Self {
        use base64::Engine;
        let (now, day) = (clock::Clock::now(&*clock::system()), Duration::from_secs(24 * 3600));
        let authority = pki::Authority::generate("hooks", now, day).unwrap();
        let subject = pki::Subject { common_name: "hook".into(), organizations: Vec::new() };
        let names = ["127.0.0.1".to_owned()];
        let (certificate, key) = authority.issue_with_key(&subject, &names, pki::Usage::Server, now, day).unwrap();
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
        let connections: Arc<Mutex<usize>> = Arc::default();
        let (reviews, counted): (_, _) = (Arc::clone(&seen), Arc::clone(&connections));
        let reply: Arc<Reply> = Arc::new(Box::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, reviews, reply) = (acceptor.clone(), Arc::clone(&reviews), Arc::clone(&reply));
                *counted.lock() += 1;
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(stream).await else { return };
                    let answer = service_fn(|request: Request<hyper::body::Incoming>| {
                        let (reviews, reply) = (Arc::clone(&reviews), Arc::clone(&reply));
                        async move {
                            if request.method() == http::Method::GET {
                                let asked = json!({"path": request.uri().path()});
                                reviews.lock().push(asked.clone());
                                let answer = reply(&asked).unwrap_or_default().to_string();
                                return Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer))));
                            }
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            let review: Value = serde_json::from_slice(&body).unwrap();
                            reviews.lock().push(review.clone());
                            let Some(mut response) = reply(&review["request"]) else { std::future::pending().await };
                            response["uid"] = review["request"]["uid"].clone();
                            let answer = json!({"kind": review["kind"], "apiVersion": review["apiVersion"],
                                "response": response});
                            Ok(Response::new(Full::new(Bytes::from(answer.to_string()))))
                        }
                    });
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), answer).await);
                });
            }
        });
        let authorities = base64::engine::general_purpose::STANDARD.encode(&authority.certificate);
        Self { url: format!("https://127.0.0.1:{port}/hook"), authorities, seen, connections }
    }

    /// A webhook of ConfigMaps with more or other fields.
    fn hook(&self, name: &str, more: Value) -> Value {
        let mut hook = json!({"name": format!("{name}.example.org"), "admissionReviewVersions": ["v1"],
            "sideEffects": "None", "clientConfig": {"url": self.url, "caBundle": self.authorities},
            "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]});
        for (key, value) in more.as_object().unwrap() {
            hook[key] = value.clone();
        }
        hook
    }
}

fn configuration(name: &str, hooks: &[Value]) -> Value {
    json!({"metadata": {"name": name}, "webhooks": hooks})
}

/// Puts another validating webhook in place of the one that is there.
async fn replace(world: &World, hook: Value) {
    world.delete(&format!("{VALIDATING}/c")).await.is(200);
    world.post(VALIDATING, configuration("c", &[hook])).await.is(201);
}

fn allow() -> Value {
    json!({"allowed": true})
}

fn patch(operations: &Value) -> Value {
    use base64::Engine;
    let patch = base64::engine::general_purpose::STANDARD.encode(operations.to_string());
    json!({"allowed": true, "patchType": "JSONPatch", "patch": patch})
}

#[tokio::test]
async fn a_webhook_sees_a_write_and_refuses_it() {
    let world = World::new();
    let hook = Listener::start(|request| {
        let refused = request["object"]["metadata"]["name"] == "bad";
        let status = json!({"message": "not this one", "code": 403, "reason": "Forbidden"});
        let warnings = ["mind the gap"];
        Some(if refused { json!({"allowed": false, "status": status, "warnings": warnings}) } else { allow() })
    })
    .await;
    world.post(VALIDATING, configuration("c", &[hook.hook("h", json!({}))])).await.is(201);
    world.config_map("good").await;
    let refused = world.post(CONFIG_MAPS, config_map("bad")).await;
    assert_eq!(refused.warnings, ["299 - \"mind the gap\""]);
    let why = "admission webhook \"h.example.org\" denied the request: not this one";
    refused.fails(403, "Forbidden", why);
    world.get(&format!("{CONFIG_MAPS}/bad")).await.is(404);
    world.delete(&format!("{CONFIG_MAPS}/good")).await.is(200);
    let seen = hook.seen.lock().clone();
    let request = &seen[0]["request"];
    assert_eq!(seen[0]["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(
        (&request["operation"], &request["name"], &request["namespace"]),
        (&json!("CREATE"), &json!("good"), &json!("default"))
    );
    assert_eq!(request["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!(request["userInfo"]["username"], "system:test");
    assert_eq!((&request["oldObject"], &request["options"]["kind"]), (&Value::Null, &json!("CreateOptions")));
    assert_eq!(request["object"]["kind"], "ConfigMap");
    assert!(request["object"]["metadata"]["uid"].is_string(), "it is shown what would be stored");
    let deleted = &seen[2]["request"];
    assert_eq!((&deleted["operation"], &deleted["object"]), (&json!("DELETE"), &Value::Null));
    assert_eq!(deleted["oldObject"]["metadata"]["name"], "good");
    assert_eq!(*hook.connections.lock(), 1, "the connection is kept");
}

#[tokio::test]
async fn a_webhook_changes_what_is_written() {
    let world = World::new();
    let hook = Listener::start(|request| {
        assert_eq!(request["object"]["metadata"].get("uid"), None, "it is given later");
        Some(patch(&json!([{"op": "add", "path": "/data/added", "value": "x"}])))
    })
    .await;
    world.post(MUTATING, configuration("c", &[hook.hook("h", json!({}))])).await.is(201);
    let made = world.post(CONFIG_MAPS, config_map("a")).await.is(201);
    assert_eq!(made["data"], json!({"k": "a", "added": "x"}));
    let owned = &made["metadata"]["managedFields"][0]["fieldsV1"]["f:data"];
    assert!(owned.get("f:k").is_some() && owned.get("f:added").is_none(), "{owned}");
}

#[tokio::test]
async fn who_comes_before_a_change_may_be_asked_again() {
    let world = World::new();
    let counts = |request: &Value| request["object"]["data"]["added"].as_str().map(str::to_owned);
    let first = Listener::start(|_| Some(allow())).await;
    let second = Listener::start(move |request| {
        let there = counts(request).is_some();
        Some(if there { allow() } else { patch(&json!([{"op": "add", "path": "/data/added", "value": "x"}])) })
    })
    .await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    let hooks = [first.hook("first", again.clone()), second.hook("second", again), first.hook("third", json!({}))];
    world.post(MUTATING, configuration("c", &hooks)).await.is(201);
    world.config_map("a").await;
    assert_eq!(first.seen.lock().len(), 3, "first, third, and first again");
    assert_eq!(second.seen.lock().len(), 1);
}

#[tokio::test]
async fn only_what_is_selected_is_shown() {
    let world = World::new();
    let hook = Listener::start(|_| Some(json!({"allowed": false}))).await;
    let selected = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-public"}},
        "objectSelector": {"matchLabels": {"shown": "yes"}}});
    world.post(VALIDATING, configuration("c", &[hook.hook("h", selected)])).await.is(201);
    let labelled = json!({"metadata": {"name": "x", "labels": {"shown": "yes"}}});
    world.post(CONFIG_MAPS, labelled.clone()).await.is(201);
    let public = "/api/v1/namespaces/kube-public/configmaps";
    world.post(public, json!({"metadata": {"name": "y"}})).await.is(201);
    let refused = world.post(public, labelled).await.is(400);
    assert_eq!(refused["message"], "admission webhook \"h.example.org\" denied the request without explanation");
    // What configures admission can always be removed.
    world.delete(&format!("{VALIDATING}/c")).await.is(200);
}

#[tokio::test]
async fn a_webhook_that_fails_is_answered_by_its_policy() {
    let world = World::new();
    let stuck = Listener::start(|_| None).await;
    let brief = json!({"timeoutSeconds": 1});
    world.post(VALIDATING, configuration("c", &[stuck.hook("h", brief.clone())])).await.is(201);
    let why = format!(
        "Internal error occurred: failed calling webhook \"h.example.org\": failed to call webhook: Post \
        \"{}?timeout=1s\": context deadline exceeded",
        stuck.url
    );
    world.post(CONFIG_MAPS, config_map("a")).await.fails(500, "InternalError", &why);
    let mut ignored = brief;
    ignored["failurePolicy"] = json!("Ignore");
    replace(&world, stuck.hook("h", ignored)).await;
    world.config_map("a").await;
    let service = json!({"clientConfig": {"service": {"namespace": "n", "name": "s"}}});
    replace(&world, stuck.hook("h", service)).await;
    world.post(CONFIG_MAPS, config_map("b")).await.fails(500, "InternalError", "service \"n/s\" cannot be reached");
    let untrusted = Listener::start(|_| Some(allow())).await;
    let other = json!({"clientConfig": {"url": untrusted.url, "caBundle": stuck.authorities}});
    replace(&world, stuck.hook("h", other)).await;
    world.post(CONFIG_MAPS, config_map("b")).await.fails(500, "InternalError", "tls: failed to verify certificate");
}

#[tokio::test]
async fn dry_runs_are_shown_to_those_without_effects_only() {
    let world = World::new();
    let hook = Listener::start(|request| {
        assert_eq!(request["dryRun"], true);
        Some(allow())
    })
    .await;
    let dry = format!("{CONFIG_MAPS}?dryRun=All");
    world.post(VALIDATING, configuration("c", &[hook.hook("h", json!({}))])).await.is(201);
    world.post(&dry, config_map("a")).await.is(201);
    assert_eq!(hook.seen.lock().len(), 1);
    let effects = hook.hook("h", json!({"sideEffects": "Some", "admissionReviewVersions": ["v1beta1"]}));
    // The v1 API takes no such webhook, but older servers may have stored one.
    let mut stored = world.get(&format!("{VALIDATING}/c")).await.is(200);
    stored["webhooks"] = json!([effects]);
    let key = store::Key::new(
        store::Collection::new("s1", "validatingwebhookconfigurations.admissionregistration.k8s.io"),
        "",
        "c",
    );
    let stamped = crate::encode::stamped(stored.as_object().unwrap());
    world.server.store().commit(key, store::Expect::Any, store::Write::Put(stamped)).unwrap();
    let why = "admission webhook \"h.example.org\" does not support dry run";
    world.post(&dry, config_map("a")).await.fails(400, "BadRequest", why);
}

#[tokio::test]
async fn conditions_spare_a_webhook_what_is_not_for_it() {
    let world = World::new();
    let hook = Listener::start(|_| Some(allow())).await;
    let conditions = json!([
        {"name": "asked", "expression": "object.metadata.name != 'spared'"},
        {"name": "level", "expression": "object.data.k == 'v' && request.operation == 'CREATE'"},
        {"name": "rights", "expression": "authorizer.group('').resource('configmaps').check('create').allowed()"},
    ]);
    let conditional = |more: Value| {
        let mut hook = hook.hook("h", json!({"matchConditions": conditions}));
        for (key, value) in more.as_object().unwrap() {
            hook[key] = value.clone();
        }
        hook
    };
    world.post(VALIDATING, configuration("c", &[conditional(json!({}))])).await.is(201);
    let mut object = config_map("a");
    object["data"] = json!({"k": "v"});
    world.post(CONFIG_MAPS, object).await.is(201);
    assert_eq!(hook.seen.lock().len(), 1, "all conditions hold");
    world.post(CONFIG_MAPS, config_map("spared")).await.is(201);
    assert_eq!(hook.seen.lock().len(), 1, "one that is false is enough, whatever fails");
    let mut without = config_map("b");
    without.as_object_mut().unwrap().remove("data");
    let why = "expression 'object.data.k == 'v' && request.operation == 'CREATE'' resulted in error: no such key: data";
    let why = format!("configmaps \"b\" is forbidden: {why}");
    world.post(CONFIG_MAPS, without.clone()).await.fails(403, "Forbidden", &why);
    replace(&world, conditional(json!({"failurePolicy": "Ignore"}))).await;
    world.post(CONFIG_MAPS, without).await.is(201);
    assert_eq!(hook.seen.lock().len(), 1);
}
