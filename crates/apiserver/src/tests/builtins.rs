//! Kinds with ways of their own, paths that are no resources, and other encodings.

use super::*;

#[tokio::test]
async fn namespaces_end_through_finalize() {
    let world = World::new();
    let made = world.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.is(201);
    assert_eq!(made["metadata"]["labels"]["kubernetes.io/metadata.name"], "n");
    assert_eq!((&made["spec"]["finalizers"][0], &made["status"]["phase"]), (&json!("kubernetes"), &json!("Active")));
    let marked = world.delete("/api/v1/namespaces/n").await.is(200);
    assert_eq!((&marked["kind"], &marked["status"]["phase"]), (&json!("Namespace"), &json!("Terminating")));
    let refused = world.post("/api/v1/namespaces/n/configmaps", config_map("a")).await;
    let refused = refused.fails(403, "Forbidden", "because it is being terminated");
    assert_eq!(refused["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let mut last = marked.clone();
    last["spec"]["finalizers"] = json!([]);
    world.put("/api/v1/namespaces/n", last.clone()).await.is(200);
    world.get("/api/v1/namespaces/n").await.is(200);
    world.put("/api/v1/namespaces/n/finalize", last).await.is(200);
    world.get("/api/v1/namespaces/n").await.is(404);
    world.delete("/api/v1/namespaces").await.is(405);
}

#[tokio::test]
async fn pods_without_nodes() {
    let world = World::new();
    world.account().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "c"}]}});
    let made = world.post(pods, pod.clone()).await.is(201);
    assert_eq!((&made["status"]["phase"], &made["spec"]["restartPolicy"]), (&json!("Pending"), &json!("Always")));
    let log = world.get(&format!("{pods}/p/log")).await;
    log.fails(400, "BadRequest", "pod p does not have a host assigned");
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    world.post(&format!("{pods}/p/binding"), binding.clone()).await.is(201);
    world.post("/api/v1/namespaces/default/bindings", binding).await.fails(409, "Conflict", "already assigned");
    let bound = world.get(&format!("{pods}?fieldSelector=spec.nodeName%3Dn1")).await.is(200);
    assert_eq!(bound["items"][0]["status"]["conditions"][0]["type"], "PodScheduled");
    world.post(&format!("{pods}/p/eviction"), json!({"metadata": {"name": "p"}})).await.is(201);
    world.get(&format!("{pods}/p")).await.is(404);
    world.post(pods, pod).await.is(201);
    assert_eq!(world.delete(&format!("{pods}/p")).await.is(200)["kind"], "Pod");
}

#[tokio::test]
async fn signing_requests() {
    let world = World::new();
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let subject = pki::Subject { common_name: "agent".into(), organizations: Vec::new() };
    let pem = pki::new_request(&pki::PrivateKey::generate().unwrap(), &subject, &[]).unwrap();
    let pem = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
    let request = json!({"metadata": {"generateName": "join-"}, "spec": {"request": pem, "usages": ["client auth"],
        "signerName": "kubernetes.io/kube-apiserver-client", "username": "somebody else"}});
    let made = world.post(path, request).await.is(201);
    assert_eq!(made["spec"]["username"], "system:test");
    let name = made["metadata"]["name"].as_str().unwrap();
    let mut approved = made.clone();
    approved["status"] =
        json!({"conditions": [{"type": "Approved", "status": "True", "reason": "r"}], "certificate": "eA=="});
    let done = world.put(&format!("{path}/{name}/approval"), approved.clone()).await.is(200);
    assert_eq!(done["status"]["conditions"][0]["lastUpdateTime"], "2026-11-22T21:24:00Z");
    assert!(done["status"]["certificate"].is_null());
    approved["metadata"]["resourceVersion"] = Value::Null;
    approved["status"]["conditions"] =
        json!([{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "True"}]);
    world.put(&format!("{path}/{name}/approval"), approved).await.fails(422, "Invalid", "mutually exclusive");
}

#[tokio::test]
async fn secrets_take_text() {
    let world = World::new();
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}});
    let made = world.post("/api/v1/namespaces/default/secrets", secret).await.is(201);
    assert_eq!((&made["data"]["a"], &made["type"]), (&json!("Yg=="), &json!("Opaque")));
    assert!(made["stringData"].is_null());
    let list = world.get("/api/v1/namespaces/default/secrets?fieldSelector=type%3DOpaque").await.is(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn unknown_fields_of_built_in_kinds() {
    let world = World::new();
    let mut object = config_map("a");
    object["daat"] = json!({});
    let answer = world.post(CONFIG_MAPS, object.clone()).await;
    assert_eq!(answer.warnings, ["299 - \"unknown field \\\"daat\\\"\""]);
    assert!(answer.is(201)["daat"].is_null());
    object["metadata"]["name"] = "b".into();
    let strict = world.post(&format!("{CONFIG_MAPS}?fieldValidation=Strict"), object.clone()).await;
    strict.fails(400, "BadRequest", "strict decoding error: unknown field \"daat\"");
    assert!(world.post(&format!("{CONFIG_MAPS}?fieldValidation=Ignore"), object).await.warnings.is_empty());
    let twice = r#"{"metadata": {"name": "c"}, "data": {"a": "1", "a": "2"}}"#;
    let strict = world.raw("POST", &format!("{CONFIG_MAPS}?fieldValidation=Strict"), &[], twice).await;
    strict.fails(400, "BadRequest", "strict decoding error: duplicate field \"data.a\"");
}

#[tokio::test]
async fn protobuf_bodies() {
    let world = World::new();
    // `runtime.Unknown{typeMeta{v1, ConfigMap}, raw: ConfigMap{metadata{name: "p"}, data{"k": "v"}}}`
    let raw = [b"\x0a\x03\x0a\x01p".as_slice(), b"\x12\x06\x0a\x01k\x12\x01v"].concat();
    let meta = [b"\x0a\x02v1".as_slice(), b"\x12\x09ConfigMap"].concat();
    let mut body = b"k8s\0".to_vec();
    body.extend([0x0a, u8::try_from(meta.len()).unwrap()]);
    body.extend(&meta);
    body.extend([0x12, u8::try_from(raw.len()).unwrap()]);
    body.extend(&raw);
    let headers = [
        ("content-type", "application/vnd.kubernetes.protobuf"),
        ("accept", "application/vnd.kubernetes.protobuf,application/json"),
    ];
    let answer = world.raw("POST", CONFIG_MAPS, &headers, body).await;
    assert_eq!(answer.content_type, "application/vnd.kubernetes.protobuf");
    assert_eq!(world.get(&format!("{CONFIG_MAPS}/p")).await.is(200)["data"], json!({"k": "v"}));
    let nonsense = world.raw("POST", CONFIG_MAPS, &headers[..1], "nonsense").await;
    nonsense.fails(400, "BadRequest", "unrecognized");
}

#[tokio::test]
async fn rows_for_people() {
    let world = World::new();
    world.config_map("a").await;
    world.clock.advance(std::time::Duration::from_secs(300));
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let table = world.raw("GET", CONFIG_MAPS, &accept, "").await.is(200);
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(table["rows"][0]["cells"], json!(["a", 1, "5m"]));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table["columnDefinitions"].as_array().unwrap().len(), 3);
    let whole = world.raw("GET", &format!("{CONFIG_MAPS}?includeObject=Object"), &accept, "").await.is(200);
    assert_eq!(whole["rows"][0]["object"]["data"]["k"], "a");
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let only = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    world.raw("POST", path, &only, review.to_string()).await.fails(406, "NotAcceptable", "only the following media");
}

#[tokio::test]
async fn reviews() {
    let world = World::new();
    let ask = |path: &'static str, spec: Value| {
        let world = &world;
        async move { world.post(path, json!({"spec": spec})).await }
    };
    let pods = json!({"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}});
    let mine = ask("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", pods.clone()).await.is(201);
    assert_eq!(mine["status"]["allowed"], true);
    let mut of_ann = pods.clone();
    of_ann["user"] = "ann".into();
    let ann = ask("/apis/authorization.k8s.io/v1/subjectaccessreviews", of_ann.clone()).await.is(201);
    assert_eq!((&ann["status"]["allowed"], &ann["kind"]), (&json!(false), &json!("SubjectAccessReview")));
    ask("/apis/authorization.k8s.io/v1/subjectaccessreviews", pods).await.fails(
        422,
        "Invalid",
        "at least one of user or group",
    );
    ask("/apis/authorization.k8s.io/v1/namespaces/kube-system/localsubjectaccessreviews", of_ann).await.fails(
        422,
        "Invalid",
        "must match metadata.namespace",
    );
    let who = ask("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await.is(201);
    assert_eq!(who["status"]["userInfo"]["username"], "system:test");
    let rules =
        ask("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", json!({"namespace": "default"})).await.is(201);
    assert_eq!(rules["status"]["resourceRules"][0]["verbs"], json!(["*"]));
    let token = ask("/apis/authentication.k8s.io/v1/tokenreviews", json!({"token": "no"})).await.is(201);
    assert_eq!(token["status"]["authenticated"], Value::Null);
    world.get("/apis/authentication.k8s.io/v1/tokenreviews").await.is(405);
}

#[tokio::test]
async fn paths() {
    let world = World::new();
    let version = world.get("/version").await.is(200);
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("36")));
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1.36.3+kubestellar."));
    for path in ["/healthz", "/livez", "/readyz", "/readyz/"] {
        assert_eq!(&world.get(path).await.text[..], b"ok", "{path}");
    }
    assert!(String::from_utf8_lossy(&world.get("/readyz?verbose").await.text).contains("[+]store ok"));
    assert!(String::from_utf8_lossy(&world.get("/metrics").await.text).contains("apiserver_request_total"));
    assert!(world.get("/").await.is(200)["paths"].as_array().unwrap().contains(&json!("/apis/apps/v1")));
    assert_eq!(world.get("/api").await.is(200)["versions"], json!(["v1"]));
    let accept = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json")];
    let groups = world.raw("GET", "/apis", &accept, "").await;
    assert!(groups.content_type.contains("as=APIGroupDiscoveryList"));
    assert_eq!(groups.is(200)["kind"], "APIGroupDiscoveryList");
    assert_eq!(&world.get("/nonsense").await.text[..], b"404 page not found\n");
    assert_eq!(world.get("/apis/nothing.io/v1").await.code, 404);
    let index = world.get("/openapi/v3").await.is(200);
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap();
    assert!(world.get(url).await.is(200)["components"]["schemas"]["io.k8s.api.core.v1.Pod"].is_object());
    assert_eq!(world.get("/openapi/v3/api/v1?hash=stale").await.code, 301);
    world.post("/version", json!({})).await.is(405);
    let answer = world.send(Request::builder().uri("/api/v1/namespaces").body(Bytes::new()).unwrap()).await;
    assert_eq!(answer.headers()["cache-control"], "no-cache, private");
    assert!(answer.headers().contains_key("audit-id"));
}

#[tokio::test]
async fn large_answers_are_compressed() {
    let world = World::new();
    let mut object = config_map("a");
    object["data"]["k"] = "x".repeat(200_000).into();
    world.post(CONFIG_MAPS, object).await.is(201);
    let request = Request::builder().uri(CONFIG_MAPS).header("accept-encoding", "gzip").body(Bytes::new()).unwrap();
    let response = world.send(request).await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert!(read(response).await.text.len() < 10_000);
}

#[tokio::test]
async fn access_for_administrators() {
    let world = World::new();
    let access = world.server.access(&world.space).unwrap();
    assert_eq!(access.server_url, "https://127.0.0.1:9443/spaces/s1");
    assert!(access.certificate.contains("BEGIN CERTIFICATE") && access.key.contains("PRIVATE KEY"));
    assert!(world.server.access(&"none".into()).is_err());
}

#[tokio::test]
async fn tokens_of_service_accounts() {
    let world = World::new();
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    world.post(accounts, json!({"metadata": {"name": "robot"}})).await.is(201);
    let path = format!("{accounts}/robot/token");
    let request = |spec: Value| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let made = world.post(&path, request(json!({}))).await.is(201);
    assert_eq!((&made["kind"], &made["spec"]["expirationSeconds"]), (&json!("TokenRequest"), &json!(3600)));
    assert_eq!(made["status"]["expirationTimestamp"], "2026-11-22T22:24:00Z");
    let token = made["status"]["token"].as_str().unwrap();
    let robot = world.server.identity_of_token(&world.space, token).await.unwrap();
    assert_eq!(robot.user, "system:serviceaccount:default:robot");
    assert!(robot.is_in("system:serviceaccounts:default") && robot.is_in("system:authenticated"));
    let review = json!({"spec": {"token": token}});
    let review = world.post("/apis/authentication.k8s.io/v1/tokenreviews", review).await.is(201);
    assert_eq!(review["status"]["user"]["username"], robot.user.as_str());
    world.post(&path, request(json!({"expirationSeconds": 1}))).await.fails(422, "Invalid", "less than 10 minutes");
    let elsewhere = world.post(&path, request(json!({"audiences": ["others"]}))).await.is(201);
    let elsewhere = elsewhere["status"]["token"].as_str().unwrap();
    assert_eq!(world.server.identity_of_token(&world.space, elsewhere).await, None);
    let other = SpaceName::from("s2");
    world.server.create_space(&other).unwrap();
    assert_eq!(world.server.identity_of_token(&other, token).await, None, "a token of one space opens no other");

    world.clock.advance(std::time::Duration::from_secs(7200));
    assert_eq!(world.server.identity_of_token(&world.space, token).await, None, "it has ended");
    assert_eq!(world.get("/openid/v1/jwks").await.is(200)["keys"].as_array().unwrap().len(), 1);
    let issuer = world.get("/.well-known/openid-configuration").await.is(200);
    assert_eq!(issuer["issuer"], "https://127.0.0.1:9443/spaces/s1");
}

#[tokio::test]
async fn priority_levels_and_flow_schemas_are_there_for_those_who_ask() {
    const GROUP: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let world = World::new();
    world.get("/apis").await.is(200);
    world.get("/api/v1/namespaces").await.is(200);
    let before = world.server.store().metrics();
    let bytes_of = |metrics: store::Metrics| metrics.bytes;
    let flow_schemas = store::Collection::new("s1", "flowschemas.flowcontrol.apiserver.k8s.io");
    assert_eq!(world.server.store().count(&flow_schemas), 0, "a space that nobody asks holds none");
    let schemas = world.get(&format!("{GROUP}/flowschemas")).await.is(200);
    let levels = world.get(&format!("{GROUP}/prioritylevelconfigurations")).await.is(200);
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        names(&levels),
        [
            "catch-all",
            "exempt",
            "global-default",
            "leader-election",
            "node-high",
            "system",
            "workload-high",
            "workload-low",
        ]
    );
    assert_eq!(names(&schemas).len(), 11);
    let all = names(&levels);
    for schema in schemas["items"].as_array().unwrap() {
        let level = schema["spec"]["priorityLevelConfiguration"]["name"].as_str().unwrap();
        assert!(all.iter().any(|name| name == level), "{schema}");
        assert_eq!(schema["metadata"]["generation"], 1);
        assert_eq!(schema["metadata"]["annotations"], json!({"apf.kubernetes.io/autoupdate-spec": "true"}));
        let entries = schema["metadata"]["managedFields"].as_array().unwrap();
        let managers: Vec<&str> = entries.iter().filter_map(|entry| entry["manager"].as_str()).collect();
        let whose = |end: &str| format!("api-priority-and-fairness-config-{end}-v1");
        assert_eq!(managers, [whose("consumer"), whose("producer")]);
        assert_eq!(schema["status"]["conditions"][0]["reason"], "Found");
    }
    let cost = bytes_of(world.server.store().metrics()) - bytes_of(before);
    assert!(cost < 40 << 10, "a space that is asked grows by kilobytes: {cost}");
    // Asked again, nothing is written; what was deleted comes back.
    let again = world.get(&format!("{GROUP}/flowschemas")).await.is(200);
    assert_eq!(again, schemas);
    world.delete(&format!("{GROUP}/flowschemas/probes")).await.is(200);
    let back = world.get(&format!("{GROUP}/flowschemas/probes")).await.is(200);
    assert_ne!(back["metadata"]["uid"], Value::Null);
    // A user's own, and a change of one, stay.
    let patch = json!({"spec": {"matchingPrecedence": 3}});
    world.patch(&format!("{GROUP}/flowschemas/probes"), "merge-patch+json", patch).await.is(200);
    let kept = world.get(&format!("{GROUP}/flowschemas/probes")).await.is(200);
    assert_eq!(kept["spec"]["matchingPrecedence"], 3);
}

#[tokio::test]
async fn the_service_of_the_api_comes_back() {
    let world = World::new();
    let path = "/api/v1/namespaces/default/services/kubernetes";
    let held = world.get(path).await.is(200);
    let port = json!({"name": "https", "port": 443, "protocol": "TCP", "targetPort": 9443});
    assert_eq!((&held["spec"]["clusterIP"], &held["spec"]["ports"][0]), (&json!("10.96.0.1"), &port));
    assert_eq!(world.get("/api/v1/services").await.is(200)["items"].as_array().map(Vec::len), Some(1));
    world.delete(path).await.is(200);
    world.get(path).await.is(200);
    let ranges = world.get("/apis/networking.k8s.io/v1/servicecidrs").await.is(200);
    assert_eq!(ranges["items"][0]["spec"]["cidrs"], json!(["10.96.0.0/16"]));
    assert_eq!(ranges["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn what_is_written_twice_in_yaml() {
    let world = World::new();
    let yaml = [("content-type", "application/yaml")];
    let twice = "metadata:\n  name: twice\ndata:\n  a: '1'\n  a: '2'\n";
    let strict = world.raw("POST", &format!("{CONFIG_MAPS}?fieldValidation=Strict"), &yaml, twice).await;
    let told = "strict decoding error: yaml: unmarshal errors:\n  line 5: key \"a\" already set in map";
    strict.fails(400, "BadRequest", told);
    let made = world.raw("POST", CONFIG_MAPS, &yaml, twice).await;
    assert_eq!(made.warnings, ["299 - \"line 5: key \\\"a\\\" already set in map\""]);
    assert_eq!(made.is(201)["data"]["a"], "2");
    let apply = [("content-type", "application/apply-patch+yaml")];
    let path = format!("{CONFIG_MAPS}/twice?fieldManager=m&force=true");
    let config = format!("apiVersion: v1\nkind: ConfigMap\n{twice}");
    let strict = world.raw("PATCH", &format!("{path}&fieldValidation=Strict"), &apply, config.clone()).await;
    let told =
        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 7: key \"a\"";
    strict.fails(400, "BadRequest", told);
    let applied = world.raw("PATCH", &path, &apply, config.clone()).await;
    assert_eq!(applied.warnings, ["299 - \"line 7: key \\\"a\\\" already set in map\""]);
    applied.is(200);
}

#[tokio::test]
async fn unknown_and_duplicate_fields_in_the_order_of_the_body() {
    let world = World::new();
    let body = r#"{"metadata": {"name": "d"}, "spec": {"odd": {"x": 1, "x": 2}, "replicas": 2, "replicas": 3}}"#;
    let path = "/apis/apps/v1/namespaces/default/deployments?fieldValidation=Strict";
    let told = "strict decoding error: unknown field \"spec.odd\", duplicate field \"spec.replicas\"";
    world.raw("POST", path, &[], body).await.fails(400, "BadRequest", told);
}

#[tokio::test]
async fn events_by_their_source() {
    let world = World::new();
    let event = json!({"metadata": {"name": "e"}, "regarding": {"namespace": "default"}, "type": "Normal",
        "reason": "r", "action": "a", "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c",
        "reportingInstance": "c-1"});
    world.post("/apis/events.k8s.io/v1/namespaces/default/events", event).await.is(201);
    for (group, selector, found) in [
        ("api/v1", "source%3Dc", 1),
        ("api/v1", "source%3Dd", 0),
        ("apis/events.k8s.io/v1", "reportingController%3Dc", 1),
    ] {
        let list = world.get(&format!("/{group}/namespaces/default/events?fieldSelector={selector}")).await.is(200);
        assert_eq!(list["items"].as_array().map_or(0, Vec::len), found, "{group} {selector}");
    }
}
