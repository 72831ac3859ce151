//! The rules of ownership, one test each, on a small schema and on none.

use super::*;
use crate::schema::from_crd;
use proptest::prelude::*;
use serde_json::json;

/// Something like a Deployment.
fn schema() -> Schema {
    from_crd(&json!({"type": "object", "properties": {
        "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
        "spec": {"type": "object", "properties": {
            "replicas": {"type": "integer"},
            "paused": {"type": "boolean"},
            "selector": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {
                "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}}},
            "args": {"type": "array", "items": {"type": "string"}},
            "names": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "containers": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"}, "image": {"type": "string"}, "tty": {"type": "boolean"},
                    "ports": {"type": "array", "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
                        "items": {"type": "object", "properties": {
                            "containerPort": {"type": "integer"}, "name": {"type": "string"},
                            "protocol": {"type": "string", "default": "TCP"}}}}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "limits": {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": true}},
        }},
        "status": {"type": "object", "properties": {"ready": {"type": "integer"}}},
    }}))
    .unwrap()
}

fn object(value: Value) -> Object {
    let mut object = Object(value.as_object().unwrap().clone());
    object.0.entry("apiVersion").or_insert("example.com/v1".into());
    object.0.entry("kind").or_insert("Thing".into());
    object.metadata_mut().entry("name").or_insert("web".into());
    object.metadata_mut().entry("uid").or_insert("u".into());
    object
}

fn spec(spec: Value) -> Object {
    object(json!({"spec": spec}))
}

/// A space with one object in it, and a clock that moves on with each write.
struct World {
    schema: Option<Schema>,
    live: Option<Object>,
    seconds: i64,
    reset: FieldSet,
}

impl World {
    fn typed() -> Self {
        Self { schema: Some(schema()), live: None, seconds: 0, reset: FieldSet::new() }
    }

    fn deduced() -> Self {
        Self { schema: None, ..Self::typed() }
    }

    fn try_apply(&mut self, manager: &str, config: Object, force: bool) -> Result<(), ApplyError> {
        self.seconds += 1;
        let now = Timestamp::from_seconds(self.seconds);
        let writer = Writer { manager, api_version: "example.com/v1", subresource: "", now, reset: &self.reset };
        self.live = Some(apply(self.live.as_ref(), &config, &writer, force, self.schema.as_ref())?);
        Ok(())
    }

    #[track_caller]
    fn apply(&mut self, manager: &str, config: Object) {
        self.try_apply(manager, config, false).unwrap();
    }

    fn update_as(&mut self, manager: &str, subresource: &str, new: Object) {
        self.seconds += 1;
        let now = Timestamp::from_seconds(self.seconds);
        let writer = Writer { manager, api_version: "example.com/v1", subresource, now, reset: &self.reset };
        self.live = Some(update(self.live.as_ref(), new, &writer, self.schema.as_ref()));
    }

    fn update(&mut self, manager: &str, new: Object) {
        self.update_as(manager, "", new);
    }

    /// Changes the live object as a client does that reads, edits and writes.
    fn edit(&mut self, manager: &str, edit: impl FnOnce(&mut Object)) {
        let mut new = self.live.clone().unwrap();
        edit(&mut new);
        self.update(manager, new);
    }

    fn spec(&self) -> Value {
        self.live.as_ref().unwrap().0.get("spec").cloned().unwrap_or_default()
    }

    fn managed(&self) -> Value {
        self.live.as_ref().unwrap().meta("managedFields").cloned().unwrap_or_default()
    }

    /// `manager/Operation` of each entry, in order.
    fn owners(&self) -> Vec<String> {
        let entries = self.managed();
        let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or("").to_owned();
        let entries = entries.as_array().into_iter().flatten();
        entries.map(|entry| format!("{}/{}", text(entry, "manager"), text(entry, "operation"))).collect()
    }

    fn fields(&self, manager: &str, operation: &str) -> Value {
        let managed = self.managed();
        let mut entries = managed.as_array().into_iter().flatten();
        let found = entries.find(|entry| entry["manager"] == manager && entry["operation"] == operation);
        found.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
    }
}

#[track_caller]
fn check_conflict(result: Result<(), ApplyError>, message: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), message);
    let status = error.status();
    assert_eq!((status.code, status.reason), (409, api::Reason::Conflict));
}

#[test]
fn an_apply_that_creates_owns_leaves_map_keys_and_list_items() {
    let mut world = World::typed();
    world.apply(
        "alice",
        object(json!({
            "metadata": {"labels": {"a": "1"}, "finalizers": ["x/y"]},
            "spec": {
                "replicas": 1, "selector": {"matchLabels": {"a": "1"}}, "args": ["x"], "names": ["n"],
                "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}],
                "free": {"deep": {"er": [1]}}, "limits": {},
            },
        })),
    );
    assert_eq!(
        world.managed(),
        json!([{
            "manager": "alice", "operation": "Apply", "apiVersion": "example.com/v1", "time": "1970-01-01T00:00:01Z",
            "fieldsType": "FieldsV1", "fieldsV1": {
                "f:metadata": {"f:labels": {"f:a": {}}, "f:finalizers": {"v:\"x/y\"": {}}},
                "f:spec": {
                    "f:replicas": {}, "f:selector": {}, "f:args": {}, "f:names": {"v:\"n\"": {}}, "f:limits": {},
                    "f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:image": {}, "f:ports": {
                        "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}},
                    "f:free": {"f:deep": {".": {}, "f:er": {}}},
                },
            },
        }])
    );
}

#[test]
fn a_create_owns_the_maps_on_the_way_too() {
    let mut world = World::typed();
    world.update("bob", object(json!({"metadata": {"labels": {"a": "1"}}, "spec": {"replicas": 1}})));
    assert_eq!(
        world.fields("bob", "Update"),
        json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {".": {}, "f:replicas": {}}})
    );
}

#[test]
fn what_an_object_is_and_what_the_server_writes_is_owned_by_nobody() {
    let mut world = World::typed();
    world.update(
        "bob",
        object(json!({"metadata": {"namespace": "n", "uid": "u", "resourceVersion": "1", "generation": 1,
            "creationTimestamp": "1970-01-01T00:00:00Z", "selfLink": "s"}})),
    );
    assert_eq!(world.managed(), Value::Null);
}

#[test]
fn fields_removed_from_the_config_are_deleted_if_nobody_else_owns_them() {
    let mut world = World::typed();
    world.apply("alice", spec(json!({"replicas": 1, "paused": true, "names": ["a", "b"], "limits": {"x": 1, "y": 2}})));
    world.apply("bob", spec(json!({"paused": true, "names": ["b"]})));
    world.apply("alice", spec(json!({"limits": {"y": 2}})));
    assert_eq!(world.spec(), json!({"paused": true, "names": ["b"], "limits": {"y": 2}}));
    world.apply("bob", spec(json!({"replicas": 2})));
    assert_eq!(world.spec(), json!({"replicas": 2, "limits": {"y": 2}}));
}

#[test]
fn list_items_removed_from_the_config_go_and_those_of_others_stay() {
    let mut world = World::typed();
    world.apply("alice", spec(json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]})));
    world.apply("bob", spec(json!({"containers": [{"name": "c", "image": "1"}]})));
    world.edit("carol", |object| {
        object.0["spec"]["containers"][0]["tty"] = json!(true);
    });
    world.apply("alice", spec(json!({"containers": [{"name": "b", "image": "2"}]})));
    // Carol owns a field of item `a`, so the item stays with its key and that field.
    assert_eq!(
        world.spec(),
        json!({"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "1"}]}),
        "an item that its applier drops goes, though an updater had added to it"
    );
}

#[test]
fn changing_what_another_owns_is_a_conflict_unless_forced() {
    let mut world = World::typed();
    world.apply("alice", spec(json!({"replicas": 1, "paused": true})));
    check_conflict(
        world.try_apply("bob", spec(json!({"replicas": 2})), false),
        "Apply failed with 1 conflict: conflict with \"alice\": .spec.replicas",
    );
    check_conflict(
        world.try_apply("bob", spec(json!({"replicas": 2, "paused": false})), false),
        "Apply failed with 2 conflicts: conflicts with \"alice\":\n- .spec.paused\n- .spec.replicas",
    );
    world.try_apply("bob", spec(json!({"replicas": 2})), true).unwrap();
    assert_eq!(world.fields("alice", "Apply"), json!({"f:spec": {"f:paused": {}}}));
    assert_eq!(world.fields("bob", "Apply"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn a_conflict_with_an_updater_names_its_version_and_subresource_and_the_item() {
    let mut world = World::typed();
    world.update("bob", spec(json!({"containers": [{"name": "a", "image": "1"}]})));
    let error = world.try_apply("alice", spec(json!({"containers": [{"name": "a", "image": "2"}]})), false);
    check_conflict(
        error,
        "Apply failed with 1 conflict: conflict with \"bob\" using example.com/v1: .spec.containers[name=\"a\"].image",
    );
    world.update_as("bob", "scale", spec(json!({"containers": [{"name": "a", "image": "3"}]})));
    let error = world.try_apply("alice", spec(json!({"containers": [{"name": "a", "image": "2"}]})), false);
    let status = error.unwrap_err().status();
    let cause = &status.details.unwrap().causes[0];
    assert_eq!(cause.reason, "FieldManagerConflict");
    assert_eq!(cause.message, "conflict with \"bob\" with subresource \"scale\" using example.com/v1");
    assert_eq!(cause.field, ".spec.containers[name=\"a\"].image");
}

#[test]
fn equal_values_are_shared_without_conflict() {
    let mut world = World::typed();
    world.apply("alice", spec(json!({"replicas": 1})));
    world.apply("bob", spec(json!({"replicas": 1})));
    assert_eq!(world.owners(), ["bob/Apply", "alice/Apply"], "an applier that changed nothing has no time yet");
    world.apply("alice", spec(json!({"paused": true})));
    assert_eq!(world.spec(), json!({"replicas": 1, "paused": true}));
}

#[test]
fn an_apply_that_changes_nothing_changes_nothing() {
    let mut world = World::typed();
    let config = spec(json!({"replicas": 1, "containers": [{"name": "a", "ports": [{"containerPort": 80}]}]}));
    world.apply("alice", config.clone());
    let before = world.live.clone();
    world.apply("alice", config.clone());
    assert_eq!(world.live, before);
    world.edit("bob", |object| object.set_label("x", "y"));
    let before = world.live.clone();
    world.apply("alice", config);
    assert_eq!(world.live, before);
}

#[test]
fn updates_take_what_they_change_and_drop_what_they_remove() {
    let mut world = World::typed();
    world.apply("alice", spec(json!({"replicas": 1, "paused": true, "names": ["a"]})));
    world.edit("bob", |object| {
        let spec = object.0["spec"].as_object_mut().unwrap();
        spec.insert("replicas".into(), 2.into());
        spec.remove("paused");
    });
    assert_eq!(world.fields("alice", "Apply"), json!({"f:spec": {"f:names": {"v:\"a\"": {}}}}));
    assert_eq!(world.fields("bob", "Update"), json!({"f:spec": {"f:replicas": {}}}));
    world.edit("bob", |object| object.set_label("x", "y"));
    assert_eq!(
        world.fields("bob", "Update"),
        json!({"f:metadata": {"f:labels": {".": {}, "f:x": {}}}, "f:spec": {"f:replicas": {}}})
    );
}

#[test]
fn an_update_that_changes_nothing_keeps_entries_and_times() {
    let mut world = World::typed();
    world.update("bob", spec(json!({"replicas": 1})));
    let before = world.live.clone();
    world.edit("carol", |_| {});
    assert_eq!(world.live, before);
    world.edit("carol", |object| drop(object.metadata_mut().remove("managedFields")));
    assert_eq!(world.live, before, "clients that do not know the field do not lose it");
}

#[test]
fn the_same_manager_has_an_entry_per_operation_and_subresource() {
    let mut world = World::typed();
    world.apply("alice", spec(json!({"replicas": 1})));
    world.edit("alice", |object| object.0["spec"]["paused"] = json!(true));
    let mut new = world.live.clone().unwrap();
    new.0.insert("status".into(), json!({"ready": 1}));
    world.update_as("alice", "status", new);
    assert_eq!(world.owners(), ["alice/Apply", "alice/Update", "alice/Update"]);
    assert_eq!(world.managed()[2]["subresource"], "status");
    assert_eq!(world.managed()[2]["fieldsV1"], json!({"f:status": {".": {}, "f:ready": {}}}));
}

#[test]
fn entries_are_sorted_by_operation_then_time_then_manager() {
    let mut world = World::typed();
    world.update("zoe", spec(json!({"replicas": 1})));
    world.edit("bob", |object| object.set_label("b", "1"));
    world.edit("zoe", |object| object.set_label("z", "1"));
    world.apply("late", spec(json!({"paused": true})));
    assert_eq!(world.owners(), ["late/Apply", "bob/Update", "zoe/Update"]);
}

#[test]
fn tracking_is_reset_by_an_empty_list_or_entry_and_starts_again_with_an_apply() {
    for reset in [json!([]), json!([{}])] {
        let mut world = World::typed();
        world.update("bob", spec(json!({"replicas": 1})));
        world.edit("bob", |object| object.set_meta("managedFields", reset));
        assert_eq!(world.managed(), Value::Null);
        world.edit("bob", |object| object.set_label("a", "b"));
        assert_eq!(world.managed(), Value::Null, "what is not tracked stays so");
        world.apply("alice", spec(json!({"paused": true})));
        assert_eq!(world.owners(), ["alice/Apply", "before-first-apply/Update"]);
        assert_eq!(
            world.fields("before-first-apply", "Update"),
            json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {".": {}, "f:replicas": {}}})
        );
    }
}

#[test]
fn clients_may_edit_managed_fields_but_not_break_them() {
    let mut world = World::typed();
    world.update("kubectl-client-side-apply", spec(json!({"replicas": 1})));
    // What clients do that move from client-side to server-side apply.
    world.edit("kubectl", |object| {
        let entry = &mut object.metadata_mut()["managedFields"][0];
        entry["manager"] = json!("kubectl");
        entry["operation"] = json!("Apply");
    });
    assert_eq!(world.owners(), ["kubectl/Apply"]);
    world.apply("kubectl", spec(json!({"paused": true})));
    assert_eq!(world.spec(), json!({"paused": true}));
    for bad in [
        json!([{"operation": "Guess"}]),
        json!("x"),
        json!([{"operation": "Apply", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:a": 1}}]),
    ] {
        let before = world.live.clone();
        world.edit("x", |object| object.set_meta("managedFields", bad));
        assert_eq!(world.live, before);
    }
    let before = world.managed();
    let mut new = world.live.clone().unwrap();
    new.set_meta("managedFields", json!([]));
    world.update_as("x", "status", new);
    assert_eq!(world.managed(), before, "a subresource does not write it");
}

#[test]
fn the_oldest_of_more_than_ten_updaters_become_ancient_changes() {
    let mut world = World::typed();
    world.update("m00", spec(json!({"replicas": 1})));
    for at in 1..=11 {
        world.edit(&format!("m{at:02}"), |object| object.set_label(&format!("l{at:02}"), "x"));
    }
    let owners = world.owners();
    assert_eq!(owners.len(), 10);
    assert_eq!(owners[0], "ancient-changes/Update");
    assert_eq!(owners[1], "m03/Update");
    let fields = world.fields("ancient-changes", "Update");
    assert_eq!(fields["f:spec"], json!({".": {}, "f:replicas": {}}));
    assert_eq!(fields["f:metadata"]["f:labels"], json!({".": {}, "f:l01": {}, "f:l02": {}}));
    assert_eq!(world.managed()[0]["time"], "1970-01-01T00:00:03Z");
}

#[test]
fn what_the_endpoint_ignores_is_owned_by_nobody() {
    let mut world = World::typed();
    world.reset = FieldSet::of_fields(&[&["status"]]);
    world.apply("alice", object(json!({"spec": {"replicas": 1}, "status": {"ready": 1}})));
    assert_eq!(world.fields("alice", "Apply"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn kubectl_takes_over_what_client_side_apply_set_and_nobody_changed() {
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let last = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "web"},
        "spec": {"replicas": 1, "paused": true}});
    let mut first = spec(json!({"replicas": 1, "paused": true}));
    first.set_annotation(annotation, &last.to_string());
    let mut world = World::typed();
    world.update("kubectl-client-side-apply", first);
    assert!(world.try_apply("other", spec(json!({"replicas": 3})), false).is_err(), "for kubectl only");
    world.apply("kubectl", spec(json!({"replicas": 3})));
    assert_eq!(world.spec(), json!({"replicas": 3, "paused": true}));
    let written = world.live.as_ref().unwrap().annotation(annotation).unwrap();
    assert_eq!(
        written,
        "{\"apiVersion\":\"example.com/v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"web\",\
         \"uid\":\"u\"},\"spec\":{\"replicas\":3}}\n"
    );
    world.edit("carol", |object| object.0["spec"]["paused"] = json!(false));
    check_conflict(
        world.try_apply("kubectl", spec(json!({"replicas": 4, "paused": true})), false),
        "Apply failed with 1 conflict: conflict with \"carol\" using example.com/v1: .spec.paused",
    );
}

#[test]
fn a_config_that_does_not_fit_the_schema_says_where() {
    let mut world = World::typed();
    let mut check = |config: Object, problem: &str| {
        let error = world.try_apply("alice", config, false).unwrap_err();
        let head = "failed to create typed patch object (/web; example.com/v1, Kind=Thing): ";
        assert_eq!(error.to_string(), format!("{head}{problem}"));
    };
    check(spec(json!({"nothing": 1})), ".spec.nothing: field not declared in schema");
    check(spec(json!({"replicas": "x"})), ".spec.replicas: expected numeric (int or float), got string");
    check(spec(json!({"args": {}})), ".spec.args: expected list, got {}");
    check(
        spec(json!({"names": ["a", "a"], "selector": {"x": 1}})),
        "errors:\n  .spec.names: duplicate entries for key [=\"a\"]\n  .spec.selector.x: field not declared in schema",
    );
    check(
        spec(
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 1}, {"containerPort": 1, "protocol": "TCP"}]}]}),
        ),
        ".spec.containers[name=\"a\"].ports: duplicate entries for key [containerPort=1,protocol=\"TCP\"]",
    );
    check(
        spec(json!({"containers": [{"image": "a"}]})),
        ".spec.containers: element 0: associative list with keys has an element that omits all key fields [\"name\"] \
         (and doesn't have default values for any key fields)",
    );
}

#[test]
fn an_apply_must_be_of_the_version_asked_and_say_nothing_of_managed_fields() {
    let mut world = World::typed();
    let error = world.try_apply("a", object(json!({"apiVersion": "example.com/v2"})), false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Incorrect version specified in apply patch. Specified patch version: example.com/v2, expected: example.com/v1"
    );
    assert_eq!(error.status().code, 400);
    let error = world.try_apply("a", object(json!({"metadata": {"managedFields": []}})), false).unwrap_err();
    assert_eq!(error.to_string(), "metadata.managedFields must be nil");
}

#[test]
fn without_a_schema_maps_are_granular_and_lists_atomic() {
    let mut world = World::deduced();
    world.apply("alice", spec(json!({"a": {"b": 1}, "l": [1, 2]})));
    assert_eq!(world.fields("alice", "Apply"), json!({"f:spec": {".": {}, "f:a": {".": {}, "f:b": {}}, "f:l": {}}}));
    world.apply("bob", spec(json!({"a": {"c": 1}})));
    check_conflict(
        world.try_apply("bob", spec(json!({"l": [1]})), false),
        "Apply failed with 1 conflict: conflict with \"alice\": .spec.l",
    );
    world.apply("alice", spec(json!({"l": [1]})));
    assert_eq!(world.spec(), json!({"a": {"c": 1}, "l": [1]}));
}

#[test]
fn merged_lists_keep_the_order_of_the_config_and_of_the_neighbours() {
    let mut world = World::typed();
    let names = |names: &[&str]| spec(json!({"names": names}));
    world.update("bob", names(&["a", "b", "c", "d", "e"]));
    world.apply("alice", names(&["d", "x", "b"]));
    assert_eq!(world.spec()["names"], json!(["a", "c", "d", "e", "x", "b"]));
    world.apply("alice", names(&["x"]));
    assert_eq!(world.spec()["names"], json!(["a", "c", "d", "e", "x", "b"]), "bob's stay");
}

#[test]
fn duplicates_in_a_live_list_are_one_thing() {
    let mut world = World::typed();
    world.update("bob", spec(json!({"names": ["a", "a", "b"]})));
    assert_eq!(world.fields("bob", "Update")["f:spec"]["f:names"], json!({".": {}, "v:\"a\"": {}, "v:\"b\"": {}}));
    world.apply("alice", spec(json!({"names": ["b", "c"]})));
    assert_eq!(world.spec()["names"], json!(["a", "a", "b", "c"]));
}

#[test]
fn a_null_in_the_config_says_nothing_of_the_pieces() {
    let mut world = World::typed();
    world.update("bob", object(json!({"metadata": {"labels": {"a": "b"}}, "spec": {"names": ["a"]}})));
    world.apply(
        "alice",
        object(json!({"metadata": {"labels": null, "creationTimestamp": null}, "spec": {"names": null}})),
    );
    assert_eq!(world.spec(), json!({"names": ["a"]}));
    assert_eq!(world.live.unwrap().label("a"), Some("b"));
}

#[test]
fn a_list_that_became_atomic_is_owned_as_one() {
    let mut world = World::typed();
    world.apply("alice", spec(json!({"names": ["a", "b"]})));
    let text = serde_json::to_value(json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "names": {"type": "array", "items": {"type": "string"}}, "replicas": {"type": "integer"}}}}}));
    world.schema = Some(from_crd(&text.unwrap()).unwrap());
    let mut later = World { live: world.live.clone(), ..World::typed() };
    later.schema.clone_from(&world.schema);
    later.try_apply("bob", spec(json!({"replicas": 1})), false).unwrap();
    assert_eq!(later.fields("alice", "Apply"), json!({"f:spec": {"f:names": {}}}));
    world.edit("bob", |object| object.0["spec"]["names"] = json!(["a"]));
    assert_eq!(world.fields("alice", "Apply"), Value::Null, "a write of the whole takes it as a whole");
    assert_eq!(world.fields("bob", "Update"), json!({"f:spec": {"f:names": {}}}));
}

#[test]
fn ports_of_core_kinds_are_tcp_by_default() {
    let definitions = json!({
        "io.k8s.api.core.v1.ServicePort": {"type": "object", "properties": {
            "port": {"type": "integer"}, "protocol": {"type": "string"}}},
        "Service": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "ports": {"type": "array", "items": {"$ref": "#/definitions/io.k8s.api.core.v1.ServicePort"},
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"]}}}}},
    });
    let set = crate::schema::from_definitions(definitions.as_object().unwrap()).unwrap();
    let mut world = World { schema: set.named("Service"), ..World::typed() };
    world.apply("alice", spec(json!({"ports": [{"port": 80}]})));
    assert_eq!(
        world.fields("alice", "Apply")["f:spec"]["f:ports"],
        json!({"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}})
    );
}

#[test]
fn field_sets_read_any_spelling_and_skip_what_they_do_not_know() {
    let value =
        json!({"f:a": {"k:{\"b\": 1.0, \"a\":\"x\"}": {".": {}, "f:c": {}}, "v: 2.0": {}, "i:3": {}}, "z:new": {}});
    let set = FieldSet::from_value(&value).unwrap();
    assert_eq!(set.to_value(), json!({"f:a": {"k:{\"a\":\"x\",\"b\":1}": {".": {}, "f:c": {}}, "v:2": {}, "i:3": {}}}));
    assert_eq!(set.paths(), [".a[3]", ".a[a=\"x\",b=1]", ".a[=2]", ".a[a=\"x\",b=1].c"]);
    assert!(FieldSet::from_value(&json!({"k:{": {}})).is_err());
    assert!(FieldSet::from_value(&json!({"f:a": []})).is_err());
}

type GeneratedContainer = (u8, (Option<u8>, Option<bool>, Option<Value>));

fn any_spec() -> impl Strategy<Value = Value> {
    let ports = proptest::collection::btree_map((0..3_u8, 0..2_u8), 0..2_u8, 0..3).prop_map(|ports| {
        let port = |((number, protocol), name): ((u8, u8), u8)| {
            let mut port = json!({"containerPort": number, "name": format!("p{name}")});
            if protocol == 1 {
                port["protocol"] = json!("UDP");
            }
            port
        };
        ports.into_iter().map(port).collect::<Value>()
    });
    let container = (proptest::option::of(0..3_u8), proptest::option::of(any::<bool>()), proptest::option::of(ports));
    let containers = proptest::collection::btree_map(0..4_u8, container, 0..4).prop_map(|containers| {
        let container = |(name, (image, tty, ports)): GeneratedContainer| {
            let mut container = json!({"name": format!("c{name}")});
            if let Some(image) = image {
                container["image"] = json!(format!("i{image}"));
            }
            if let Some(tty) = tty {
                container["tty"] = json!(tty);
            }
            if let Some(ports) = ports {
                container["ports"] = ports;
            }
            container
        };
        containers.into_iter().map(container).collect::<Value>()
    });
    let map = proptest::collection::btree_map("[abc]", 0..3_u8, 0..3).prop_map(|map| json!(map));
    let names = proptest::collection::btree_set("[abcd]", 0..4).prop_map(|names| json!(names));
    let names = names.prop_shuffle_list();
    let selector = map.clone().prop_map(|map| {
        json!({"matchLabels": map.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.to_string().into())).collect::<Map<_, _>>()})
    });
    let free = map.clone().prop_map(|map| json!({"x": map, "y": [1]}));
    let fields: Vec<(&str, BoxedStrategy<Value>)> = vec![
        ("replicas", (0..3_u8).prop_map(|n| json!(n)).boxed()),
        ("paused", any::<bool>().prop_map(|b| json!(b)).boxed()),
        ("args", proptest::collection::vec("[ab]", 0..3).prop_map(|list| json!(list)).boxed()),
        ("names", names.boxed()),
        ("containers", containers.boxed()),
        ("limits", map.boxed()),
        ("selector", selector.boxed()),
        ("free", free.boxed()),
    ];
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| {
            proptest::option::of(value).prop_map(move |value| value.map(|value| (name.to_owned(), value)))
        })
        .collect();
    fields.prop_map(|fields| Value::Object(fields.into_iter().flatten().collect()))
}

/// Shuffles the elements of generated lists.
trait ShuffleList: Strategy<Value = Value> + Sized {
    fn prop_shuffle_list(self) -> impl Strategy<Value = Value> + Clone
    where
        Self: Clone,
    {
        self.prop_flat_map(|list| Just(list.as_array().unwrap().clone()).prop_shuffle().prop_map(Value::from))
    }
}

impl<S: Strategy<Value = Value>> ShuffleList for S {}

proptest! {
    #[test]
    fn an_apply_done_twice_is_done_once(live in any_spec(), first in any_spec(), second in any_spec(), typed: bool) {
        let mut world = if typed { World::typed() } else { World::deduced() };
        world.update("bob", spec(live));
        for (manager, config) in [("alice", first), ("carol", second)] {
            world.try_apply(manager, spec(config.clone()), true).unwrap();
            let once = world.live.clone();
            world.try_apply(manager, spec(config.clone()), true).unwrap();
            prop_assert_eq!(&world.live, &once);
            prop_assert!(crate::diff::subset(&spec(config).0.into(), &world.live.clone().unwrap().0.into()) || typed);
        }
    }

    #[test]
    fn a_lone_applier_gets_what_it_last_applied(first in any_spec(), second in any_spec()) {
        let mut world = World::typed();
        world.apply("alice", spec(first));
        world.apply("alice", spec(second.clone()));
        let empty = |value: &Value| value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
        for (name, value) in second.as_object().unwrap() {
            if !empty(value) && name != "names" && name != "containers" {
                prop_assert_eq!(&world.spec()[name], value);
            }
        }
        for (name, value) in world.spec().as_object().into_iter().flatten() {
            // An empty list of owned elements is owned by nobody, so it stays.
            prop_assert!(second.get(name).is_some() || empty(value), "{} stayed", name);
        }
    }

    #[test]
    fn what_is_owned_is_written_canonically(live in any_spec(), config in any_spec()) {
        let mut world = World::typed();
        world.update("bob", spec(live));
        world.try_apply("alice", spec(config), true).unwrap();
        for entry in world.managed().as_array().unwrap() {
            let set = FieldSet::from_value(&entry["fieldsV1"]).unwrap();
            prop_assert_eq!(set.to_value(), entry["fieldsV1"].clone());
            prop_assert_eq!(set.union(&set), set.clone());
            prop_assert_eq!(set.intersection(&set), set.clone());
            prop_assert!(set.difference(&set).is_empty());
        }
    }

    #[test]
    fn one_field_has_one_updater(first in any_spec(), second in any_spec(), third in any_spec()) {
        let mut world = World::typed();
        world.update("a", spec(first));
        for (manager, next) in [("b", second), ("c", third)] {
            world.edit(manager, |object| drop(object.0.insert("spec".into(), next)));
        }
        let managed = world.managed();
        let sets: Vec<FieldSet> =
            managed.as_array().into_iter().flatten().map(|entry| FieldSet::from_value(&entry["fieldsV1"]).unwrap()).collect();
        for (at, a) in sets.iter().enumerate() {
            for b in &sets[at + 1..] {
                prop_assert!(a.intersection(b).is_empty(), "{:?}", a.intersection(b).paths());
            }
        }
    }
}
