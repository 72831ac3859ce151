//! Admission policies, and the rules of CRDs.

use super::*;

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn config_maps(operations: Value) -> Value {
    json!({"resourceRules": [{"operations": operations, "apiGroups": [""], "apiVersions": ["v1"],
        "resources": ["configmaps"]}]})
}

async fn policy(world: &World, kind: &str, name: &str, spec: Value, binding: Value) {
    let (policies, bindings) = (
        format!("{ADMISSION}/{}ies", &kind[..kind.len() - 1]).to_lowercase(),
        format!("{ADMISSION}/{kind}bindings").to_lowercase(),
    );
    let api = "admissionregistration.k8s.io/v1";
    let object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec});
    world.post(&policies, object).await.is(201);
    let mut spec = binding;
    spec["policyName"] = name.into();
    let object = json!({"apiVersion": api, "kind": format!("{kind}Binding"), "metadata": {"name": name}, "spec": spec});
    world.post(&bindings, object).await.is(201);
}

async fn validating(world: &World, name: &str, spec: Value, binding: Value) {
    policy(world, "ValidatingAdmissionPolicy", name, spec, binding).await;
}

#[tokio::test]
async fn a_policy_denies_from_the_moment_it_is_bound() {
    let world = World::new();
    let spec = json!({"matchConstraints": config_maps(json!(["CREATE", "UPDATE"])),
        "variables": [{"name": "n", "expression": "has(object.data) ? object.data.size() : 0"}],
        "validations": [{"expression": "variables.n <= 1", "messageExpression": "'too many: ' + string(variables.n)"},
            {"expression": "object.metadata.name != 'bad'", "message": "a bad name", "reason": "Forbidden"}]});
    validating(&world, "few", spec, json!({"validationActions": ["Deny"]})).await;
    world.config_map("good").await;
    let two = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "1", "b": "2"}});
    let refused = world.post(CONFIG_MAPS, two).await;
    let why =
        "configmaps \"x\" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'few' denied request: too many: 2";
    let body = refused.fails(422, "Invalid", why);
    assert_eq!(body["details"]["causes"][0]["message"], why.split_once("forbidden: ").unwrap().1);
    world.post(CONFIG_MAPS, config_map("bad")).await.fails(403, "Forbidden", "denied request: a bad name");
    let patch = json!({"data": {"more": "x"}});
    world.patch(&format!("{CONFIG_MAPS}/good"), "merge-patch+json", patch).await.fails(422, "Invalid", "too many: 2");
    world.delete(&format!("{CONFIG_MAPS}/good")).await.is(200);
    world.delete(&format!("{ADMISSION}/validatingadmissionpolicybindings/few")).await.is(200);
    world.config_map("bad").await;
}

#[tokio::test]
async fn warnings_parameters_and_conditions() {
    let world = World::new();
    world.post(CONFIG_MAPS, json!({"metadata": {"name": "limits"}, "data": {"prefix": "ok-"}})).await.is(201);
    let spec = json!({"matchConstraints": config_maps(json!(["CREATE"])),
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "not-by-robots", "expression": "request.userInfo.username != 'robot' && namespaceObject.metadata.name == 'default'"}],
        "validations": [{"expression": "object.metadata.name.startsWith(params.data.prefix)", "message": "wrong prefix"}]});
    let binding = json!({"validationActions": ["Warn"], "paramRef": {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"}});
    validating(&world, "prefix", spec, binding).await;
    let made = world.post(CONFIG_MAPS, config_map("other")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(
        made.warnings,
        ["299 - \"Validation failed for ValidatingAdmissionPolicy 'prefix' with binding 'prefix': wrong prefix\""]
    );
    assert!(world.post(CONFIG_MAPS, config_map("ok-1")).await.warnings.is_empty());
    world.delete(&format!("{CONFIG_MAPS}/limits")).await.is(200);
    let why = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    world.post(CONFIG_MAPS, config_map("third")).await.fails(422, "Invalid", why);
}

#[tokio::test]
async fn an_authorizer_can_be_asked() {
    let world = World::new();
    let spec = json!({"matchConstraints": config_maps(json!(["DELETE"])),
        "validations": [{"expression": "authorizer.group('').resource('secrets').namespace('default').check('get').allowed() && authorizer.serviceAccount('default', 'x').group == null || oldObject.metadata.name == 'k'"}]});
    let made = json!({"metadata": {"name": "x"}, "spec": spec});
    world.post(&format!("{ADMISSION}/validatingadmissionpolicies"), made).await.fails(
        422,
        "Invalid",
        "type 'kubernetes.authorization.Authorizer' does not support field selection",
    );
    let spec = json!({"matchConstraints": config_maps(json!(["DELETE"])),
        "validations": [{"expression": "authorizer.group('').resource('secrets') != null && !authorizer.serviceAccount('default', 'x').group('').resource('secrets').check('get').allowed() && authorizer.requestResource.check('delete').allowed()"}, {"expression": "oldObject.data.k == 'a'"}]});
    validating(&world, "x", spec, json!({"validationActions": ["Deny"]})).await;
    world.config_map("a").await;
    world.config_map("b").await;
    world.delete(&format!("{CONFIG_MAPS}/a")).await.is(200);
    world.delete(&format!("{CONFIG_MAPS}/b")).await.fails(422, "Invalid", "failed expression: oldObject.data.k == 'a'");
}

#[tokio::test]
async fn a_policy_that_fails() {
    let world = World::new();
    let validations = json!([{"expression": "object.nothing == 1"}]);
    let spec = |policy: &str| json!({"failurePolicy": policy, "matchConstraints": config_maps(json!(["CREATE"])), "validations": validations});
    validating(&world, "open", spec("Ignore"), json!({"validationActions": ["Deny"]})).await;
    world.config_map("a").await;
    validating(&world, "closed", spec("Fail"), json!({"validationActions": ["Deny"]})).await;
    let why = "expression 'object.nothing == 1' resulted in error: no such key: nothing";
    world.post(CONFIG_MAPS, config_map("b")).await.fails(422, "Invalid", why);
}

#[tokio::test]
async fn mutations() {
    let world = World::new();
    let spec = json!({"failurePolicy": "Fail", "reinvocationPolicy": "Never",
        "matchConstraints": config_maps(json!(["CREATE"])),
        "mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{metadata: Object.metadata{labels: {'by': 'policy'}}}"}},
            {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: object.metadata.labels.by}]"}}]});
    policy(&world, "MutatingAdmissionPolicy", "m", spec, json!({})).await;
    let made = world.config_map("x").await;
    assert_eq!(
        (&made["metadata"]["labels"], &made["data"]),
        (&json!({"by": "policy", "a/b": "policy"}), &json!({"k": "x"}))
    );
}

#[tokio::test]
async fn rules_of_a_definition() {
    let world = World::new();
    let spec = json!({"type": "object", "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}, "fixed": {"type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]}},
        "x-kubernetes-validations": [{"rule": "!has(self.min) || !has(self.max) || self.min <= self.max", "message": "min is above max", "fieldPath": ".min"}]});
    let definition = |spec: &Value| {
        json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"}, "versions": [{"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}]}})
    };
    let mut wrong = spec.clone();
    wrong["x-kubernetes-validations"][0]["rule"] = "self.min <= self.maximum".into();
    let refused = world.post(DEFINITIONS, definition(&wrong)).await;
    let body = refused.fails(422, "Invalid", "undefined field 'maximum'");
    assert_eq!(
        body["details"]["causes"][0]["field"],
        "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule"
    );
    world.post(DEFINITIONS, definition(&spec)).await.is(201);
    let widget = |spec: Value| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec});
    let refused = world.post(WIDGETS, widget(json!({"min": 2, "max": 1}))).await;
    refused.fails(422, "Invalid", "Widget.example.com \"w\" is invalid: spec.min: Invalid value: min is above max");
    world.post(WIDGETS, widget(json!({"min": 1, "max": 2, "fixed": "a"}))).await.is(201);
    let path = format!("{WIDGETS}/w");
    let patch = json!({"spec": {"fixed": "b"}});
    world.patch(&path, "merge-patch+json", patch).await.fails(
        422,
        "Invalid",
        "spec.fixed: Invalid value: \"b\": is immutable",
    );
    world.patch(&path, "merge-patch+json", json!({"spec": {"max": 5}})).await.is(200);
}
