//! Create, read, update, delete.

use super::*;

#[tokio::test]
async fn the_life_of_a_config_map() {
    let world = World::new();
    let made = world.config_map("a").await;
    assert_eq!(made["metadata"]["creationTimestamp"], "2026-11-22T21:24:00Z");
    assert_eq!(made["metadata"]["namespace"], "default");
    assert_eq!(made["metadata"]["uid"].as_str().unwrap().len(), 36);
    let revision: u64 = made["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(revision > 0);
    let path = format!("{CONFIG_MAPS}/a");
    assert_eq!(world.get(&path).await.is(200), made);

    let mut changed = made.clone();
    changed["data"]["k"] = "b".into();
    let updated = world.put(&path, changed.clone()).await.is(200);
    assert_eq!(updated["data"]["k"], "b");
    assert_ne!(updated["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    world.put(&path, changed).await.fails(409, "Conflict", "the object has been modified; please apply your changes");

    // What changes nothing writes nothing.
    assert_eq!(world.put(&path, updated.clone()).await.is(200), updated);

    let gone = world.delete(&path).await.is(200);
    assert_eq!(gone["status"], "Success");
    assert_eq!(gone["details"]["uid"], made["metadata"]["uid"]);
    let missing = world.get(&path).await.fails(404, "NotFound", "configmaps \"a\" not found");
    assert_eq!(missing["details"], json!({"name": "a", "kind": "configmaps"}));
    world.delete(&path).await.fails(404, "NotFound", "configmaps \"a\" not found");
}

#[tokio::test]
async fn refused_creates() {
    let world = World::new();
    world.config_map("a").await;
    let again = world.post(CONFIG_MAPS, config_map("a")).await;
    again.fails(409, "AlreadyExists", "configmaps \"a\" already exists");
    let bad = |value: Value| {
        let mut object = config_map("b");
        for (key, value) in value.as_object().unwrap() {
            object[key] = value.clone();
        }
        object
    };
    let cases = [
        (
            bad(json!({"apiVersion": "apps/v1"})),
            400,
            "BadRequest",
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for version \
             \"apps/v1\"",
        ),
        (bad(json!({"kind": "Secret"})), 400, "BadRequest", "cannot be handled as a ConfigMap"),
        (bad(json!({"metadata": {}})), 422, "Invalid", "name or generateName is required"),
        (
            bad(json!({"metadata": {"name": "B"}})),
            422,
            "Invalid",
            "ConfigMap \"B\" is invalid: metadata.name: Invalid value",
        ),
        (bad(json!({"metadata": {"name": "b", "namespace": "x"}})), 400, "BadRequest", "does not match the namespace"),
        (bad(json!({"metadata": {"name": 1}})), 400, "BadRequest", "cannot unmarshal number"),
        (bad(json!({"metadata": {"name": "b", "resourceVersion": "1"}})), 400, "BadRequest", "should not be set"),
    ];
    for (object, code, reason, message) in cases {
        world.post(CONFIG_MAPS, object).await.fails(code, reason, message);
    }
    let elsewhere = world.post("/api/v1/namespaces/nowhere/configmaps", config_map("a")).await;
    elsewhere.fails(404, "NotFound", "namespaces \"nowhere\" not found");
    let raw = |content_type: &'static str, body: &'static str| {
        let world = &world;
        async move { world.raw("POST", CONFIG_MAPS, &[("content-type", content_type)], body).await }
    };
    raw("application/json", "{").await.fails(400, "BadRequest", "json parse error");
    raw("application/yaml", "a: [").await.fails(400, "BadRequest", "yaml");
    raw("application/cbor", "").await.fails(415, "UnsupportedMediaType", "unknown format");
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(3 << 20));
    world.raw("POST", CONFIG_MAPS, &[], large).await.fails(413, "RequestEntityTooLarge", "limit is 3145728");
    let odd = world.raw("POST", CONFIG_MAPS, &[("accept", "text/html")], config_map("c").to_string()).await;
    odd.fails(406, "NotAcceptable", "application/json");
    world.raw("POST", &format!("{CONFIG_MAPS}/a"), &[], "{}").await.fails(405, "MethodNotAllowed", "does not allow");
    let unknown = world.get("/api/v1/namespaces/default/nothings").await;
    unknown.fails(404, "NotFound", "the server could not find the requested resource");
}

#[tokio::test]
async fn generated_names_dry_runs_and_yaml() {
    let world = World::new();
    let mut object = config_map("");
    object["metadata"] = json!({"generateName": "web-"});
    let made = world.post(CONFIG_MAPS, object).await.is(201);
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");

    let dry = world.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("dry")).await.is(201);
    assert!(dry["metadata"]["uid"].is_string() && dry["metadata"]["resourceVersion"].is_null());
    world.get(&format!("{CONFIG_MAPS}/dry")).await.is(404);
    world.post(&format!("{CONFIG_MAPS}?dryRun=Maybe"), config_map("dry")).await.fails(422, "Invalid", "CreateOptions");

    let yaml = "metadata:\n  name: yam\ndata:\n  k: \"1\"\n";
    let made = world.raw("POST", CONFIG_MAPS, &[("content-type", "application/yaml")], yaml).await.is(201);
    assert_eq!((&made["kind"], &made["data"]["k"]), (&json!("ConfigMap"), &json!("1")));
    let answer = world.raw("GET", &format!("{CONFIG_MAPS}/yam"), &[("accept", "application/yaml")], "").await;
    assert_eq!(answer.content_type, "application/yaml");
    assert!(String::from_utf8_lossy(&answer.text).contains("k: \"1\""), "{}", String::from_utf8_lossy(&answer.text));
}

#[tokio::test]
async fn finalizers_hold_and_let_go() {
    let world = World::new();
    let mut object = config_map("a");
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let made = world.post(CONFIG_MAPS, object).await.is(201);
    let path = format!("{CONFIG_MAPS}/a");
    let marked = world.delete(&path).await.is(200);
    assert_eq!(marked["kind"], "ConfigMap");
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-11-22T21:24:00Z");
    assert_eq!(world.delete(&path).await.is(200), marked, "a second delete changes nothing");
    let mut more = marked.clone();
    more["metadata"]["finalizers"] = json!(["example.com/hold", "example.com/more"]);
    world.put(&path, more).await.fails(422, "Invalid", "no new finalizers can be added");
    let again = world.post(CONFIG_MAPS, config_map("a")).await;
    again.fails(409, "AlreadyExists", "object is being deleted: configmaps \"a\" already exists");
    let mut free = marked;
    free["metadata"]["finalizers"] = json!([]);
    let last = world.put(&path, free).await.is(200);
    assert_eq!(last["metadata"]["uid"], made["metadata"]["uid"]);
    world.get(&path).await.is(404);
}

#[tokio::test]
async fn no_patch_makes_another_object_of_it() {
    let world = World::new();
    world.post(CONFIG_MAPS, config_map("a")).await.is(201);
    let (path, other) = (format!("{CONFIG_MAPS}/a"), "00000000-0000-4000-8000-000000000000");
    let patched = world.patch(&path, "merge-patch+json", json!({"metadata": {"uid": other}})).await;
    let cause = &patched.fails(422, "Invalid", "metadata.uid: Invalid value:")["details"]["causes"][0];
    assert_eq!((&cause["reason"], &cause["field"]), (&json!("FieldValueInvalid"), &json!("metadata.uid")));
    let stale = json!({"metadata": {"uid": other, "resourceVersion": "1"}});
    world.patch(&path, "merge-patch+json", stale).await.fails(409, "Conflict", "the object has been modified");
    let mut put = config_map("a");
    put["metadata"]["uid"] = other.into();
    world.put(&path, put).await.fails(409, "Conflict", "UID in precondition");
}

#[tokio::test]
async fn preconditions_of_deletes() {
    let world = World::new();
    let made = world.config_map("a").await;
    let path = format!("{CONFIG_MAPS}/a");
    let options =
        |preconditions: Value| json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions});
    let wrong = world.json("DELETE", &path, options(json!({"uid": "other"}))).await;
    wrong.fails(409, "Conflict", "the UID in the precondition (other) does not match");
    let wrong = world.json("DELETE", &path, options(json!({"resourceVersion": "1"}))).await;
    wrong.fails(409, "Conflict", "the ResourceVersion in the precondition (1) does not match");
    let right =
        options(json!({"uid": made["metadata"]["uid"], "resourceVersion": made["metadata"]["resourceVersion"]}));
    world.json("DELETE", &path, right).await.is(200);
}

#[tokio::test]
async fn lists_in_pages() {
    let world = World::new();
    for name in ["a", "b", "c", "d", "e"] {
        world.config_map(name).await;
    }
    let first = world.get(&format!("{CONFIG_MAPS}?limit=2")).await.is(200);
    assert_eq!(first["kind"], "ConfigMapList");
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    // What happens in between is not seen: the list is of one moment.
    world.delete(&format!("{CONFIG_MAPS}/c")).await.is(200);
    world.config_map("f").await;
    let second = world.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.is(200);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap().to_owned();
    let third = world.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.is(200);
    let names: Vec<&str> = [&first, &second, &third]
        .iter()
        .flat_map(|page| page["items"].as_array().unwrap())
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    assert!(third["metadata"]["continue"].is_null());
    let odd = world.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}&resourceVersion=5")).await;
    odd.fails(400, "BadRequest", "specifying resource version is not allowed");
    world.get(&format!("{CONFIG_MAPS}?continue=%21%21")).await.fails(400, "BadRequest", "continue key is not valid");
    let ahead = world.get(&format!("{CONFIG_MAPS}?resourceVersion=999999")).await;
    let ahead = ahead.fails(504, "Timeout", "Too large resource version: 999999");
    assert_eq!(ahead["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

#[tokio::test]
async fn lists_by_selector() {
    let world = World::new();
    for (name, tier) in [("a", "gold"), ("b", "tin"), ("c", "gold"), ("d", "gold")] {
        let mut object = config_map(name);
        object["metadata"]["labels"] = json!({"tier": tier});
        world.post(CONFIG_MAPS, object).await.is(201);
    }
    let names = |query: &'static str| {
        let world = &world;
        async move {
            let list = world.get(&format!("{CONFIG_MAPS}?{query}")).await.is(200);
            let items = list["items"].as_array().unwrap().iter();
            items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        }
    };
    assert_eq!(names("labelSelector=tier%3Dgold").await, "a c d");
    assert_eq!(names("labelSelector=tier%20notin%20(gold)").await, "b");
    assert_eq!(names("labelSelector=%21tier").await, "");
    assert_eq!(names("fieldSelector=metadata.name%3Dc").await, "c");
    assert_eq!(names("fieldSelector=metadata.name%21%3Dc").await, "a b d");
    assert_eq!(names("labelSelector=tier%3Dgold&limit=2").await, "a c");
    world.get(&format!("{CONFIG_MAPS}?labelSelector=%3D%3D")).await.fails(
        400,
        "BadRequest",
        "found '==', expected: !, identifier, or 'end of string'",
    );
    let odd = world.get(&format!("{CONFIG_MAPS}?fieldSelector=data.k%3Da")).await;
    odd.fails(400, "BadRequest", "\"data.k\" is not a known field selector");
    let all = world.get("/api/v1/configmaps").await.is(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 4);
    let gone = world.delete(&format!("{CONFIG_MAPS}?labelSelector=tier%3Dgold")).await.is(200);
    assert_eq!(gone["items"].as_array().unwrap().len(), 3);
    assert_eq!(names("").await, "b");
}

#[tokio::test]
async fn metadata_only() {
    let world = World::new();
    let made = world.config_map("a").await;
    let accept = [("accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")];
    let one = world.raw("GET", &format!("{CONFIG_MAPS}/a"), &accept, "").await.is(200);
    assert_eq!(
        one,
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": made["metadata"]})
    );
    let accept = [("accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")];
    let list = world.raw("GET", CONFIG_MAPS, &accept, "").await.is(200);
    assert_eq!((&list["kind"], &list["items"][0]), (&json!("PartialObjectMetadataList"), &one));
}

#[tokio::test]
async fn system_namespaces_and_spaces() {
    let world = World::new();
    let list = world.get("/api/v1/namespaces").await.is(200);
    let names: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
    world.delete("/api/v1/namespaces/default").await.fails(403, "Forbidden", "this namespace may not be deleted");
    let other = SpaceName::from("s2");
    world.server.create_space(&other).unwrap();
    world.config_map("a").await;
    let request = Request::builder().uri(CONFIG_MAPS).body(Bytes::new()).unwrap();
    let answer = world.server.handle(&other, Identity::system("test"), Visibility::Durable, request).await;
    assert_eq!(read(answer).await.body["items"], json!([]));
    world.server.delete_space(&other).unwrap();
    assert_eq!(world.server.spaces(), std::slice::from_ref(&world.space));
    assert!(world.server.create_space(&"No Name".into()).is_err());
}

#[tokio::test]
async fn others_may_not() {
    let world = World::new();
    world.config_map("a").await;
    let ann = Identity::authenticated("ann", vec![]);
    let request = Request::builder().uri(format!("{CONFIG_MAPS}/a")).body(Bytes::new()).unwrap();
    let answer = read(world.server.handle(&world.space, ann, Visibility::Durable, request).await).await;
    let message = "configmaps \"a\" is forbidden: User \"ann\" cannot get resource \"configmaps\" in API group \"\" in the \
        namespace \"default\"";
    answer.fails(403, "Forbidden", message);
}

#[tokio::test]
async fn as_somebody_else() {
    let world = World::new();
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let headers = [("impersonate-user", "ann"), ("impersonate-group", "g"), ("content-type", "application/json")];
    world.raw("POST", path, &headers, "{}").await.is(201);
    world.raw("GET", CONFIG_MAPS, &headers, "").await.fails(403, "Forbidden", "User \"ann\" cannot list");
    let groups = [("impersonate-group", "g")];
    world.raw("GET", CONFIG_MAPS, &groups, "").await.fails(400, "BadRequest", "without impersonating a user name");
}

#[tokio::test]
async fn nobody_grants_more_than_they_hold() {
    let world = World::new();
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let (roles, bindings) =
        (format!("{rbac}/namespaces/default/roles"), format!("{rbac}/namespaces/default/rolebindings"));
    let role = |name: &str, resources: Value| json!({"metadata": {"name": name}, "rules": [{"apiGroups": ["", "rbac.authorization.k8s.io"], "resources": resources, "verbs": ["*"]}]});
    let binding = |name: &str, kind: &str, role: &str, user: &str| {
        json!({"metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]})
    };
    world.post(&roles, role("own", json!(["configmaps", "roles", "rolebindings"]))).await.is(201);
    // The verb `*` would hold `bind` and `escalate` as well, so it is taken back below.
    world.post(&bindings, binding("own", "Role", "own", "ann")).await.is(201);
    let mut less = world.get(&format!("{roles}/own")).await.is(200);
    less["rules"] = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["create", "update"]}]);
    world.put(&format!("{roles}/own"), less).await.is(200);
    let as_ann = |path: String, body: Value| {
        let world = &world;
        async move {
            let headers = [("impersonate-user", "ann"), ("content-type", "application/json")];
            world.raw("POST", &path, &headers, body.to_string()).await
        }
    };
    let mut small = role("small", json!(["configmaps"]));
    small["rules"][0]["apiGroups"] = json!([""]);
    small["rules"][0]["verbs"] = json!(["get"]);
    as_ann(roles.clone(), small).await.is(201);
    let more = as_ann(roles.clone(), role("more", json!(["secrets"]))).await;
    more.fails(403, "Forbidden", "is attempting to grant RBAC permissions not currently held");
    as_ann(bindings.clone(), binding("b", "Role", "small", "bob")).await.is(201);
    let admin = as_ann(bindings.clone(), binding("c", "ClusterRole", "cluster-admin", "bob")).await;
    admin.fails(403, "Forbidden", "is attempting to grant");
    as_ann(bindings, binding("d", "Role", "none", "bob")).await.fails(
        404,
        "NotFound",
        "rolebindings.rbac.authorization.k8s.io",
    );
}

#[tokio::test]
async fn roles_that_every_space_has() {
    let world = World::new();
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}]});
    world.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await.is(201);
    let ann = [("impersonate-user", "ann")];
    world.raw("GET", CONFIG_MAPS, &ann, "").await.is(200);
    world.raw("GET", "/apis", &ann, "").await.is(200);
    world.raw("GET", "/api/v1/namespaces/default/secrets", &ann, "").await.fails(
        403,
        "Forbidden",
        "cannot list resource",
    );
    world.raw("DELETE", CONFIG_MAPS, &ann, "").await.fails(403, "Forbidden", "cannot deletecollection resource");
}

#[tokio::test]
async fn a_delete_whose_conditions_cannot_be_read_deletes_nothing() {
    let world = World::new();
    world.account().await;
    world.config_map("a").await;
    let path = format!("{CONFIG_MAPS}/a");
    for (query, options, code, reason) in [
        ("", json!({"preconditions": {"uid": 7}}), 400, "BadRequest"),
        ("", json!({"preconditions": {"uid": ""}}), 409, "Conflict"),
        ("", json!({"preconditions": {"resourceVersion": 1}}), 400, "BadRequest"),
        ("", json!({"dryRun": "All"}), 400, "BadRequest"),
        ("", json!({"propagationPolicy": "Sometimes"}), 422, "Invalid"),
        ("?fieldValidation=Strict", json!({"precondition": {"uid": "u"}}), 400, "BadRequest"),
    ] {
        world.json("DELETE", &format!("{path}{query}"), options.clone()).await.fails(code, reason, "");
        world.json("DELETE", &format!("{CONFIG_MAPS}{query}"), options.clone()).await.fails(code, reason, "");
        assert_eq!(world.get(&path).await.code, 200, "{options}");
    }
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    world.post(pods, pod).await.is(201);
    let eviction = json!({"metadata": {"name": "p"}, "deleteOptions": {"preconditions": {"uid": 7}}});
    world.post(&format!("{pods}/p/eviction"), eviction).await.fails(400, "BadRequest", "preconditions.uid");
    assert_eq!(world.get(&format!("{pods}/p")).await.code, 200);
}
