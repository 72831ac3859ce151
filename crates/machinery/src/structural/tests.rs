//! Tables for what is wrong with a CustomResourceDefinition.

use super::*;
use serde_json::json;

fn object(value: Value) -> Object {
    Object(value.as_object().unwrap().clone())
}

fn crd(schema: Value, change: impl FnOnce(&mut Value)) -> Object {
    let mut value = json!({"metadata": {"name": "crontabs.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList"},
        "conversion": {"strategy": "None"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    change(&mut value);
    object(value)
}

fn plain(change: impl FnOnce(&mut Value)) -> Object {
    crd(json!({"type": "object"}), change)
}

fn lines(causes: &[Cause]) -> Vec<String> {
    causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

#[track_caller]
fn check(crd: Object, expected: &[&str]) {
    assert_eq!(lines(&validate_crd(&crd)), expected);
}

/// Checks the schema of `spec`, whose errors are below one path.
#[track_caller]
fn spec(schema: Value, expected: &[&str]) {
    let crd = crd(json!({"type": "object", "properties": {"spec": schema}}), |_| {});
    let found: Vec<String> = lines(&validate_crd(&crd))
        .into_iter()
        .map(|line| line.replace("spec.validation.openAPIV3Schema.properties[spec]", "~"))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn names_and_versions() {
    check(plain(|_| {}), &[]);
    check(
        plain(|crd| crd["metadata"]["name"] = json!("x")),
        &["metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group"],
    );
    check(
        plain(|crd| {
            crd["spec"]["scope"] = json!("Odd");
            crd["spec"]["names"]["listKind"] = json!("CronTab");
            crd["spec"]["versions"][0]["storage"] = json!(false);
        }),
        &[
            "spec.scope: Unsupported value: \"Odd\": supported values: \"Cluster\", \"Namespaced\"",
            "spec.names.listKind: Invalid value: \"CronTab\": kind and listKind may not be the same",
            "spec.versions: Invalid value: [{\"Name\":\"v1\",\"Served\":true,\"Storage\":false,\"Deprecated\":false,\"DeprecationWarning\":null,\"Schema\":null,\"Subresources\":null,\"AdditionalPrinterColumns\":null,\"SelectableFields\":null}]: must have exactly one version marked as storage version",
            "status.storedVersions: Invalid value: null: must have at least one stored version",
        ],
    );
    check(
        plain(|crd| {
            crd["spec"]["versions"][0].as_object_mut().unwrap().remove("schema");
        }),
        &["spec.versions[0].schema.openAPIV3Schema: Required value"],
    );
    check(
        plain(|crd| {
            crd["spec"]["group"] = json!("x.k8s.io");
            crd["metadata"]["name"] = json!("crontabs.x.k8s.io");
        }),
        &[
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
        ],
    );
    check(
        plain(|crd| {
            crd["spec"]["group"] = json!("x.k8s.io");
            crd["metadata"] =
                json!({"name": "crontabs.x.k8s.io", "annotations": {"api-approved.kubernetes.io": "https://a/b"}});
        }),
        &[],
    );
}

#[test]
fn schemas_are_structural() {
    spec(json!({"type": "object", "properties": {"a": {"type": "string"}}}), &[]);
    spec(json!({"x-kubernetes-preserve-unknown-fields": true}), &[]);
    spec(json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}), &[]);
    spec(json!({}), &["~.type: Required value: must not be empty for specified object fields"]);
    spec(json!({"type": "array"}), &["~.items: Required value: must be specified"]);
    spec(
        json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
        &["~.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
    );
    spec(json!({"type": "string", "$ref": "#/x"}), &["~.$ref: Forbidden: $ref is not supported"]);
    spec(json!({"type": "null"}), &["~.type: Forbidden: type cannot be set to null, use nullable as an alternative"]);
    spec(
        json!({"type": "object", "properties": {"a": {"type": "string"}},
            "oneOf": [{"required": ["a"], "type": "object"}, {"properties": {"a": {"minLength": 1}, "b": {"minLength": 1}}}]}),
        &[
            "~.oneOf[0].type: Forbidden: must be empty to be structural",
            "~.properties[b]: Required value: because it is defined in ~.oneOf[1].properties[b]",
        ],
    );
    check(
        crd(
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            |_| {},
        ),
        &[
            "spec.validation.openAPIV3Schema.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
        ],
    );
    check(crd(json!({"type": "object", "properties": {"metadata": {"type": "object"}}}), |_| {}), &[]);
    spec(
        json!({"type": "string", "pattern": "("}),
        &["~.pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error: unclosed group"],
    );
}

#[test]
fn list_types() {
    let list = |items: Value| json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": items});
    spec(list(json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}})), &[]);
    spec(
        list(json!({"type": "object", "properties": {"name": {"type": "string"}}})),
        &[
            "~.items.properties[name].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ],
    );
    spec(
        list(json!({"type": "object"})),
        &["~.x-kubernetes-list-map-keys: Invalid value: [\"name\"]: entries must all be names of item properties"],
    );
    spec(
        json!({"type": "string", "x-kubernetes-list-type": "set"}),
        &["~.type: Invalid value: \"string\": must be array if x-kubernetes-list-type is specified"],
    );
}

#[test]
fn defaults_are_valid() {
    spec(json!({"type": "object", "default": {}, "properties": {"n": {"type": "integer", "default": 3}}}), &[]);
    spec(
        json!({"type": "object", "properties": {"n": {"type": "integer", "default": "x"}}}),
        &["~.properties[n].default: Invalid value: \"string\":  in body must be of type integer: \"string\""],
    );
    spec(
        json!({"type": "object", "default": {"x": 1}, "properties": {"n": {"type": "integer"}}}),
        &["~.default: Invalid value: {\"x\":1}: must not have unknown fields"],
    );
}

#[test]
fn columns_scale_and_selectable_fields() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "replicas": {"type": "integer"}, "list": {"type": "array", "items": {"type": "string"}}}}}});
    check(
        crd(schema.clone(), |crd| {
            let version = &mut crd["spec"]["versions"][0];
            version["additionalPrinterColumns"] =
                json!([{"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"}]);
            version["subresources"] = json!({"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}});
            version["selectableFields"] = json!([{"jsonPath": ".spec.replicas"}]);
        }),
        &[],
    );
    check(
        crd(schema, |crd| {
            let version = &mut crd["spec"]["versions"][0];
            version["additionalPrinterColumns"] = json!([{"name": "", "type": "odd", "jsonPath": "spec"}]);
            version["subresources"] =
                json!({"scale": {"specReplicasPath": ".metadata.x", "labelSelectorPath": ".spec.a[0]"}});
            version["selectableFields"] = json!([{"jsonPath": ".spec.list"}, {"jsonPath": ".metadata.name"}]);
        }),
        &[
            "spec.additionalPrinterColumns[0].name: Required value",
            "spec.additionalPrinterColumns[0].type: Invalid value: \"odd\": must be one of boolean,date,integer,number,string",
            "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"spec\": must be a simple json path starting with .",
            "spec.subresources.scale.specReplicasPath: Invalid value: \".metadata.x\": should be a json path under .spec",
            "spec.subresources.scale.statusReplicasPath: Required value",
            "spec.subresources.scale.labelSelectorPath: Invalid value: \".spec.a[0]\": must be a json path in the dot notation",
            "spec.selectableFields[0].jsonPath: Invalid value: \".spec.list\": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
            "spec.selectableFields[1].jsonPath: Invalid value: \".metadata.name\": is an invalid path: does not refer to a valid field",
        ],
    );
}

#[test]
fn versions_that_differ_are_told_apart() {
    check(
        plain(|crd| {
            let mut second = crd["spec"]["versions"][0].clone();
            second["name"] = json!("v2");
            second["storage"] = json!(false);
            second["schema"]["openAPIV3Schema"] = json!({"type": "string"});
            crd["spec"]["versions"].as_array_mut().unwrap().push(second);
        }),
        &["spec.versions[1].schema.openAPIV3Schema.type: Invalid value: \"string\": must be object at the root"],
    );
}

#[test]
fn conversions() {
    check(
        plain(|crd| crd["spec"]["conversion"] = json!({"strategy": "Webhook"})),
        &[
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
            "spec.conversion.conversionReviewVersions: Required value",
        ],
    );
    check(
        plain(|crd| {
            crd["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
                "clientConfig": {"service": {"namespace": "n", "name": "s", "port": 443}}}});
        }),
        &[],
    );
}

#[test]
fn updates() {
    let established = |crd: &mut Value| {
        crd["status"] = json!({"conditions": [{"type": "Established", "status": "True"}], "storedVersions": ["v1"]});
    };
    let old = plain(established);
    assert!(validate_crd_update(&old, &old).is_empty());
    let mut new = old.clone();
    new.0["spec"]["scope"] = json!("Cluster");
    new.0["spec"]["versions"][0]["name"] = json!("v2");
    let found = lines(&validate_crd_update(&new, &old));
    assert_eq!(found[0], "spec.scope: Invalid value: \"Cluster\": field is immutable");
    assert_eq!(found[1], "status.storedVersions: Invalid value: [\"v1\"]: must have the storage version v2");
    assert!(
        found[2].starts_with("status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was")
    );
}

/// Checks which fields are found wrong.
#[track_caller]
fn fields(change: impl FnOnce(&mut Value), expected: &[&str]) {
    let found: Vec<String> = validate_crd(&plain(change)).into_iter().map(|cause| cause.field).collect();
    assert_eq!(found, expected);
}

#[test]
fn where_a_definition_is_wrong() {
    fields(|_| {}, &[]);
    fields(|crd| crd["metadata"]["name"] = "foo".into(), &["metadata.name"]);
    fields(|crd| crd["spec"]["scope"] = "Galaxy".into(), &["spec.scope"]);
    fields(|crd| crd["spec"]["names"]["listKind"] = "CronTab".into(), &["spec.names.listKind"]);
    fields(|crd| crd["spec"]["versions"] = json!([]), &["spec.versions", "status.storedVersions"]);
    let none_stored = &["spec.versions", "status.storedVersions"];
    fields(|crd| crd["spec"]["versions"][0]["storage"] = false.into(), none_stored);
    fields(|crd| crd["spec"]["versions"][0]["schema"] = json!({}), &["spec.versions[0].schema.openAPIV3Schema"]);
    fields(|crd| crd["spec"]["preserveUnknownFields"] = true.into(), &["spec.preserveUnknownFields"]);
    let column = json!([{"name": "A", "type": "x", "jsonPath": ".a"}]);
    fields(
        |crd| crd["spec"]["versions"][0]["additionalPrinterColumns"] = column,
        &["spec.additionalPrinterColumns[0].type"],
    );
    let scale = json!({"scale": {"specReplicasPath": ".status.a", "statusReplicasPath": ".status.b"}});
    fields(|crd| crd["spec"]["versions"][0]["subresources"] = scale, &["spec.subresources.scale.specReplicasPath"]);
    fields(
        |crd| {
            crd["spec"]["group"] = "x.k8s.io".into();
            crd["metadata"]["name"] = "crontabs.x.k8s.io".into();
        },
        &["metadata.annotations[api-approved.kubernetes.io]"],
    );
}

#[test]
fn where_a_schema_is_wrong() {
    let check = |schema: Value, expected: &[&str]| {
        let crd = crd(schema.clone(), |_| {});
        let found: Vec<String> = validate_crd(&crd)
            .into_iter()
            .map(|cause| cause.field.replace("spec.validation.openAPIV3Schema", "s"))
            .collect();
        assert_eq!(found, expected, "{schema}");
    };
    let spec = |schema: Value| json!({"type": "object", "properties": {"spec": schema}});
    check(json!({"type": "object"}), &[]);
    check(json!({}), &["s.type"]);
    check(json!({"type": "string"}), &["s.type"]);
    check(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}), &[]);
    check(spec(json!({})), &["s.properties[spec].type"]);
    check(spec(json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]})), &[]);
    check(spec(json!({"type": "array"})), &["s.properties[spec].items"]);
    check(spec(json!({"type": "array", "items": 3})), &["s"]);
    check(spec(json!({"type": "string", "$ref": "x"})), &["s.properties[spec].$ref"]);
    check(spec(json!({"type": "object", "allOf": [{"default": 1}]})), &["s.properties[spec].allOf[0].default"]);
    let properties = json!({"a": {"type": "string"}, "b": {"type": "string"}});
    let one = json!([{"required": ["a"]}, {"required": ["b"]}]);
    check(spec(json!({"type": "object", "properties": properties, "oneOf": one})), &[]);
    let list = |keys: Value, items: &Value| {
        spec(
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys, "items": items}),
        )
    };
    let items = json!({"type": "object", "required": ["name"],
        "properties": {"name": {"type": "string"}, "b": {"type": "string"}}});
    check(list(json!(["name"]), &items), &[]);
    check(list(json!(["x"]), &items), &["s.properties[spec].x-kubernetes-list-map-keys"]);
    check(list(json!(["b"]), &items), &["s.properties[spec].items.properties[b].default"]);
    check(
        json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
        &["s.properties[metadata]"],
    );
}

#[test]
fn what_cannot_change() {
    let established = |crd: &mut Value| {
        crd["status"] = json!({"conditions": [{"type": "Established", "status": "True"}], "storedVersions": ["v1"]});
    };
    let old = plain(established);
    let mut new = old.clone();
    new.0["spec"]["scope"] = "Cluster".into();
    let found: Vec<String> = validate_crd_update(&new, &old).into_iter().map(|cause| cause.field).collect();
    assert_eq!(found, ["spec.scope"]);
    let mut new = old.clone();
    new.0["status"]["storedVersions"] = json!(["v1", "v0"]);
    let found: Vec<String> = validate_crd_update(&new, &old).into_iter().map(|cause| cause.field).collect();
    assert_eq!(found, ["status.storedVersions[1]"]);
}

#[test]
fn an_approval_is_not_lost_by_an_update() {
    let protected = |approval: Option<&str>| {
        plain(|crd| {
            crd["spec"]["group"] = json!("x.k8s.io");
            crd["metadata"] = json!({"name": "crontabs.x.k8s.io"});
            if let Some(approval) = approval {
                crd["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": approval});
            }
        })
    };
    let (approved, unapproved) = (protected(Some("https://a/b")), protected(None));
    assert!(validate_crd_update(&unapproved, &unapproved).is_empty(), "as it was");
    assert!(validate_crd_update(&approved, &unapproved).is_empty());
    let found = validate_crd_update(&unapproved, &approved);
    assert_eq!(found[0].field, "metadata.annotations[api-approved.kubernetes.io]");
    assert_eq!(validate_crd_update(&protected(Some("x")), &approved).len(), 1);
}
