//! What is wrong with a CustomResourceDefinition, in the words of the stock server's 422.

mod rules;

use crate::field::{self, Path, at, flag_at, list_at, object_at, objects_at, text_at};
use crate::name;
use crate::validation::client_config;
use api::{Cause, Object};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

type Fields = Map<String, Value>;
type Causes = Vec<Cause>;

/// Fields of a version that clients may select by, at most.
const SELECTABLE_MAX: usize = 8;

const APPROVAL: &str = "api-approved.kubernetes.io";

/// What is wrong with a CRD that is created, after its defaults were applied. `status` is not looked at. Rules in CEL are
/// kept, and not compiled.
pub fn validate_crd(crd: &Object) -> Vec<Cause> {
    let mut out = definition(&crd.0);
    out.extend(approval(&crd.0).err());
    first_stored_version(&crd.0, &mut out);
    if flag_at(&crd.0, "spec.preserveUnknownFields") {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        let spec = Path::ROOT.field("spec");
        out.push(field::invalid(&spec.field("preserveUnknownFields"), &Value::Bool(true), why));
    }
    out
}

/// What is wrong with a CRD that replaces `old`. What was wrong before in the same words is let pass.
pub fn validate_crd_update(crd: &Object, old: &Object) -> Vec<Cause> {
    let mut out = definition(&crd.0);
    if !out.is_empty() {
        let before = definition(&old.0);
        out.retain(|cause| !before.contains(cause));
    }
    let established = objects_at(&old.0, "status.conditions")
        .any(|condition| text_at(condition, "type") == "Established" && text_at(condition, "status") == "True");
    let mut kept = vec!["spec.group", "spec.names.plural"];
    if established {
        kept.extend(["spec.scope", "spec.names.kind"]);
    }
    for path in kept {
        let (after, before) = (text_at(&crd.0, path), text_at(&old.0, path));
        if after != before {
            let cause = field::invalid_text(&Path::ROOT, after, "field is immutable");
            out.push(Cause { field: path.into(), ..cause });
        }
    }
    if established && let Some(cause) = authorities(&crd.0) {
        let was_wrong = !text_at(&old.0, AUTHORITIES).is_empty() && authorities(&old.0).is_some();
        out.extend((!was_wrong).then_some(cause));
    }
    out.extend(approval(&crd.0).err().filter(|cause| approval(&old.0).as_ref() != Err(cause)));
    stored_versions(&crd.0, &mut out);
    out
}

const AUTHORITIES: &str = "spec.conversion.webhook.clientConfig.caBundle";

/// What is wrong with the authorities of the webhook of a definition, if it has any.
fn authorities(crd: &Fields) -> Option<Cause> {
    let bundle = text_at(crd, AUTHORITIES);
    if bundle.is_empty() || text_at(crd, "spec.conversion.strategy") != "Webhook" {
        return None;
    }
    let decoded = STANDARD.decode(bundle).unwrap_or_default();
    let text = String::from_utf8_lossy(&decoded);
    let block = text.split("-----BEGIN CERTIFICATE-----").nth(1);
    let block = block.and_then(|rest| rest.split_once("-----END CERTIFICATE-----")).map(|(inside, _)| inside);
    let inside: Option<String> = block.map(|inside| inside.split_whitespace().collect());
    if inside.is_some_and(|inside| STANDARD.decode(inside).is_ok()) {
        return None;
    }
    let (spec, conversion) = (Path::ROOT.field("spec"), "conversion");
    let conversion = spec.field(conversion);
    let config = conversion.field("webhookClientConfig");
    let why = "unable to load root certificates: unable to parse bytes as PEM block";
    Some(field::invalid_text(&config.field("caBundle"), bundle, why))
}

/// Of a new definition the first storage version is the stored one: there has to be one, and no second.
fn first_stored_version(crd: &Fields, out: &mut Causes) {
    let status = Path::ROOT.field("status");
    let path = status.field("storedVersions");
    let mut storage = objects_at(crd, "spec.versions").filter(|version| flag_at(version, "storage"));
    let Some(first) = storage.next() else {
        out.push(field::invalid(&path, &Value::Null, "must have at least one stored version"));
        return;
    };
    let stored = text_at(first, "name");
    for other in storage.map(|version| text_at(version, "name")).filter(|other| *other != stored) {
        let why = format!("must have the storage version {other}");
        out.push(field::invalid(&path, &Value::from(vec![stored]), &why));
    }
}

/// `status.storedVersions` has the storage version, and none that is gone.
fn stored_versions(crd: &Fields, out: &mut Causes) {
    let status = Path::ROOT.field("status");
    let path = status.field("storedVersions");
    let Some(stored) = at(crd, "status.storedVersions").and_then(Value::as_array) else { return };
    let value = Value::Array(stored.clone());
    if stored.is_empty() {
        out.push(field::invalid(&path, &value, "must have at least one stored version"));
        return;
    }
    let mut names = BTreeSet::new();
    for version in objects_at(crd, "spec.versions") {
        let name = text_at(version, "name");
        names.insert(name);
        if flag_at(version, "storage") && !stored.iter().any(|held| held == name) {
            out.push(field::invalid(&path, &value, &format!("must have the storage version {name}")));
        }
    }
    for (index, version) in stored.iter().enumerate() {
        let name = version.as_str().unwrap_or("");
        if !names.contains(name) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in \
                 spec.versions until a storage migration ensures no data remains persisted in {name} and removes \
                 {name} from status.storedVersions"
            );
            out.push(field::invalid_text(&path.index(index), name, &why));
        }
    }
}

/// Groups of the Kubernetes community need an approval.
fn approval(crd: &Fields) -> Result<(), Cause> {
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let group = text_at(crd, "spec.group");
    let protected = ["k8s.io", "kubernetes.io"]
        .into_iter()
        .any(|domain| group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    if !protected {
        return Ok(());
    }
    let annotation = object_at(crd, "metadata.annotations").and_then(|all| all.get(APPROVAL)).and_then(Value::as_str);
    let metadata = Path::ROOT.field("metadata");
    let annotations = metadata.field("annotations");
    let path = annotations.key(APPROVAL);
    match annotation.unwrap_or("") {
        "" => {
            let why = format!("protected groups must have approval annotation {APPROVAL:?}, {SEE}");
            Err(field::required(&path, &why))
        }
        text if text.starts_with("unapproved") => Ok(()),
        text if text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty()) => Ok(()),
        text => {
            let why = format!(
                "protected groups must have approval annotation {APPROVAL:?} with either a URL or a reason starting \
                 with \"unapproved\", {SEE}"
            );
            Err(field::invalid_text(&path, text, &why))
        }
    }
}

fn joined(out: &mut Causes, path: &Path<'_>, text: &str, problems: Vec<String>) {
    if !problems.is_empty() {
        out.push(field::invalid_text(path, text, &problems.join(",")));
    }
}

fn definition(crd: &Fields) -> Causes {
    let mut out = Causes::new();
    let (group, plural) = (text_at(crd, "spec.group"), text_at(crd, "spec.names.plural"));
    let metadata = Path::ROOT.field("metadata");
    for field_name in ["generateName", "name"] {
        let name = text_at(crd, &format!("metadata.{field_name}"));
        if !name.is_empty() && name != format!("{plural}.{group}") {
            let why = "must be spec.names.plural+\".\"+spec.group";
            out.push(field::invalid_text(&metadata.field(field_name), name, why));
        }
    }
    let path = Path::ROOT.field("spec");
    if group.is_empty() {
        out.push(field::required(&path.field("group"), ""));
    } else {
        let problems = name::dns_subdomain(group);
        if problems.is_empty() && !group.contains('.') {
            out.push(field::invalid_text(&path.field("group"), group, "should be a domain with at least one dot"));
        }
        joined(&mut out, &path.field("group"), group, problems);
    }
    match text_at(crd, "spec.scope") {
        "" => out.push(field::required(&path.field("scope"), "")),
        "Cluster" | "Namespaced" => {}
        other => out.push(field::not_supported(&path.field("scope"), &other.into(), ["Cluster", "Namespaced"])),
    }
    names(crd, &path.field("names"), &mut out);
    versions(crd, &path, &mut out);
    if let Some(conversion) = object_at(crd, "spec.conversion") {
        self::conversion(conversion, &path.field("conversion"), &mut out);
    }
    out
}

fn names(crd: &Fields, path: &Path<'_>, out: &mut Causes) {
    let text = |field: &str| text_at(crd, &format!("spec.names.{field}"));
    for field_name in ["plural", "singular", "kind", "listKind"] {
        if text(field_name).is_empty() {
            out.push(field::required(&path.field(field_name), ""));
        }
    }
    for field_name in ["plural", "singular"] {
        if !text(field_name).is_empty() {
            joined(out, &path.field(field_name), text(field_name), name::dns_1035_label(text(field_name)));
        }
    }
    for field_name in ["kind", "listKind"] {
        let problems = name::dns_1035_label(&text(field_name).to_lowercase());
        if !text(field_name).is_empty() && !problems.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", problems.join(","));
            out.push(field::invalid_text(&path.field(field_name), text(field_name), &why));
        }
    }
    for list in ["shortNames", "categories"] {
        let below = path.field(list);
        for (index, value) in list_at(crd, &format!("spec.names.{list}")).iter().enumerate() {
            let value = value.as_str().unwrap_or("");
            joined(out, &below.index(index), value, name::dns_1035_label(value));
        }
    }
    if !text("kind").is_empty() && text("kind") == text("listKind") {
        let why = "kind and listKind may not be the same";
        out.push(field::invalid_text(&path.field("listKind"), text("listKind"), why));
    }
}

/// Versions as Go prints the structs that the stock server makes of them. What all have in common it keeps elsewhere;
/// schemas and the like that differ are left out here, as they are long and say nothing of what is wrong.
fn structs(versions: &[&Fields]) -> String {
    let shown = |version: &&Fields| {
        let warning = version.get("deprecationWarning").unwrap_or(&Value::Null);
        format!(
            "{{\"Name\":{},\"Served\":{},\"Storage\":{},\"Deprecated\":{},\"DeprecationWarning\":{warning},\"Schema\":null,\
             \"Subresources\":null,\"AdditionalPrinterColumns\":null,\"SelectableFields\":null}}",
            Value::from(text_at(version, "name")),
            flag_at(version, "served"),
            flag_at(version, "storage"),
            flag_at(version, "deprecated")
        )
    };
    format!("[{}]", versions.iter().map(shown).collect::<Vec<_>>().join(","))
}

fn versions(crd: &Fields, path: &Path<'_>, out: &mut Causes) {
    let versions: Vec<&Fields> = objects_at(crd, "spec.versions").collect();
    let list = path.field("versions");
    let mut seen = BTreeSet::new();
    let mut unique = true;
    for (index, version) in versions.iter().enumerate() {
        let name = text_at(version, "name");
        unique &= seen.insert(name);
        joined(out, &list.index(index).field("name"), name, name::dns_1035_label(name));
    }
    // Inside the stock server, the first version is that of the whole definition as well.
    if let Some(first) = versions.first() {
        let name = text_at(first, "name");
        if !name.is_empty() {
            joined(out, &path.field("version"), name, name::dns_1035_label(name));
        }
    }
    let sent = at(crd, "spec.versions").is_some_and(Value::is_array);
    let told = |why: &str| {
        let shown = if sent { structs(&versions) } else { "null".to_owned() };
        let cause = field::invalid(&list, &Value::Null, why);
        Cause { message: cause.message.replacen("null", &shown, 1), ..cause }
    };
    if !unique {
        out.push(told("must contain unique version names"));
    }
    if versions.iter().filter(|version| flag_at(version, "storage")).count() != 1 {
        out.push(told("must have exactly one version marked as storage version"));
    }
    // What is the same in all versions is one thing inside the stock server, and its errors are told there.
    let shared = |of: &str| versions.windows(2).all(|pair| pair[0].get(of) == pair[1].get(of));
    let (same_schema, same_columns, same_subresources) =
        (shared("schema"), shared("additionalPrinterColumns"), shared("subresources"));
    for (index, version) in versions.iter().enumerate() {
        let own = list.index(index);
        let place = |same: bool| if same { *path } else { own };
        let first = |same: bool| !same || index == 0;
        let status = object_at(version, "subresources.status").is_some();
        let outer = place(same_schema);
        let at = if same_schema { outer.field("validation") } else { outer.field("schema") };
        match object_at(version, "schema.openAPIV3Schema") {
            None => {
                let schema = own.field("schema");
                out.push(field::required(&schema.field("openAPIV3Schema"), ""));
            }
            Some(schema) if first(same_schema) => {
                let schema_path = at.field("openAPIV3Schema");
                if status {
                    root_with_status(schema, &schema_path, out);
                }
                let before = out.len();
                rules::check(schema, &schema_path, out);
                // Rules are looked at only if the schema is right: the types that they see are made from it.
                if out.len() == before {
                    out.extend(crate::cel::rules::problems(schema, &schema_path));
                }
            }
            Some(_) => {}
        }
        if first(same_columns) {
            let outer = place(same_columns);
            columns(version, &outer.field("additionalPrinterColumns"), out);
        }
        if first(same_subresources) {
            let outer = place(same_subresources);
            scale(version, &outer.field("subresources"), out);
        }
        let same_selectable = shared("selectableFields");
        if first(same_selectable) {
            selectable(version, &place(same_selectable).field("selectableFields"), out);
        }
        deprecation(version, &own.field("deprecationWarning"), out);
    }
}

/// Keywords that the root may have when status is a subresource: others could not be told apart between the two.
fn root_with_status(schema: &Fields, path: &Path<'_>, out: &mut Causes) {
    const ALLOWED: [&str; 14] = [
        "$schema",
        "description",
        "example",
        "externalDocs",
        "id",
        "properties",
        "required",
        "title",
        "type",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
        "nullable",
    ];
    let kind = text_at(schema, "type");
    if !matches!(kind, "" | "object") {
        let why =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        out.push(field::invalid_text(&path.field("type"), kind, why));
    }
    if schema.keys().any(|key| !ALLOWED.contains(&key.as_str())) {
        let why = "only [Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength \
                   MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs \
                   Example XPreserveUnknownFields XValidations] fields are allowed at the root of the schema if the \
                   status subresource is enabled";
        // Value validations of an object never hold for one, and are let pass as the stock server does.
        let harmless = [
            "exclusiveMaximum",
            "exclusiveMinimum",
            "format",
            "items",
            "maxItems",
            "maxLength",
            "maximum",
            "minItems",
            "minLength",
            "minimum",
            "multipleOf",
            "pattern",
            "uniqueItems",
        ];
        if schema.keys().any(|key| !ALLOWED.contains(&key.as_str()) && !harmless.contains(&key.as_str())) {
            out.push(field::invalid(path, &Value::Object(Fields::new()), why));
        }
    }
    if flag_at(schema, "nullable") {
        out.push(field::forbidden(&path.field("nullable"), "nullable cannot be true at the root"));
    }
}

fn columns(version: &Fields, list: &Path<'_>, out: &mut Causes) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    for (index, column) in objects_at(version, "additionalPrinterColumns").enumerate() {
        let path = list.index(index);
        if text_at(column, "name").is_empty() {
            out.push(field::required(&path.field("name"), ""));
        }
        let (kind, format) = (text_at(column, "type"), text_at(column, "format"));
        let one_of = |texts: &[&str]| format!("must be one of {}", texts.join(","));
        if kind.is_empty() {
            out.push(field::required(&path.field("type"), &one_of(&TYPES)));
        } else if !TYPES.contains(&kind) {
            out.push(field::invalid_text(&path.field("type"), kind, &one_of(&TYPES)));
        }
        if !format.is_empty() && !FORMATS.contains(&format) {
            out.push(field::invalid_text(&path.field("format"), format, &one_of(&FORMATS)));
        }
        simple_path(text_at(column, "jsonPath"), "JSONPath", &path, out);
    }
}

/// A JSONPath that begins at the object.
fn simple_path(text: &str, name: &str, path: &Path<'_>, out: &mut Causes) {
    let path = path.field(name);
    if text.is_empty() {
        out.push(field::required(&path, ""));
    } else if !text.starts_with('.') {
        out.push(field::invalid_text(&path, text, "must be a simple json path starting with ."));
    }
}

fn scale(version: &Fields, path: &Path<'_>, out: &mut Causes) {
    let Some(scale) = object_at(version, "subresources.scale") else { return };
    let path = path.field("scale");
    for (name, roots, why, needed) in [
        ("specReplicasPath", &[".spec."][..], "should be a json path under .spec", true),
        ("statusReplicasPath", &[".status."], "should be a json path under .status", true),
        ("labelSelectorPath", &[".spec.", ".status."], "should be a json path under either .spec or .status", false),
    ] {
        let path = path.field(name);
        let text = text_at(scale, name);
        if text.is_empty() {
            if needed {
                out.push(field::required(&path, ""));
            }
        } else if !text.starts_with('.') {
            out.push(field::invalid_text(&path, text, "must be a simple json path starting with ."));
        } else if !roots.iter().any(|root| text.starts_with(root)) {
            out.push(field::invalid_text(&path, text, why));
        } else if text.contains(['[', ']', '*', '?', '(']) || text.ends_with('.') || text.contains("..") {
            out.push(field::invalid_text(&path, text, "must be a json path in the dot notation"));
        }
    }
}

fn selectable(version: &Fields, list: &Path<'_>, out: &mut Causes) {
    let fields: Vec<&Fields> = objects_at(version, "selectableFields").collect();
    let Some(schema) = object_at(version, "schema.openAPIV3Schema") else {
        if !fields.is_empty() {
            let why = "may only be set when `version.schema.openAPIV3Schema` is not included";
            out.push(field::invalid_text(list, "", why));
        }
        return;
    };
    let mut seen = BTreeSet::new();
    for (index, selected) in fields.iter().enumerate() {
        let element = list.index(index);
        let path = element.field("jsonPath");
        let text = text_at(selected, "jsonPath");
        if text.is_empty() {
            out.push(field::required(&path, ""));
            continue;
        }
        let (resolved, leaf) = match crate::cel::rules::resolve(text, schema, false) {
            Ok(found) => found,
            Err(why) => {
                out.push(field::invalid_text(&path, text, &format!("is an invalid path: {why}")));
                continue;
            }
        };
        if resolved == "metadata" || resolved.starts_with("metadata.") {
            out.push(field::invalid_text(&path, text, "must not point to fields in metadata"));
        }
        if !matches!(text_at(leaf, "type"), "string" | "boolean" | "integer") {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings \
                       with formats are allowed.";
            out.push(field::invalid_text(&path, text, why));
        }
        if !seen.insert(resolved) {
            out.push(field::duplicate(&path, &text.into()));
        }
    }
    if seen.len() > SELECTABLE_MAX {
        out.push(field::too_many(list, seen.len(), SELECTABLE_MAX as u64));
    }
}

/// Characters in a version's warning.
const WARNING_MAX: usize = 256;

fn deprecation(version: &Fields, path: &Path<'_>, out: &mut Causes) {
    let Some(warning) = at(version, "deprecationWarning").and_then(Value::as_str) else { return };
    if !flag_at(version, "deprecated") {
        out.push(field::invalid_text(path, warning, "can only be set for deprecated versions"));
    }
    if warning.is_empty() {
        out.push(field::invalid_text(path, warning, "must not be an empty string"));
    }
    if warning.len() > WARNING_MAX {
        let why = format!("must be <= {WARNING_MAX} characters long");
        out.push(field::invalid_text(path, warning, &why));
    }
    if let Some(at) = warning.char_indices().find(|(_, c)| c.is_control()).map(|(at, _)| at) {
        let why = format!("must only contain printable UTF-8 characters; non-printable character found at index {at}");
        out.push(field::invalid_text(path, warning, &why));
    }
}

fn conversion(conversion: &Fields, path: &Path<'_>, out: &mut Causes) {
    let hook = object_at(conversion, "webhook");
    let config_path = path.field("webhookClientConfig");
    let reviews = path.field("conversionReviewVersions");
    let versions = list_at(conversion, "webhook.conversionReviewVersions");
    match text_at(conversion, "strategy") {
        "" => out.push(field::required(&path.field("strategy"), "")),
        "None" => {
            if hook.is_some_and(|hook| hook.contains_key("clientConfig")) {
                let why = "should not be set when strategy is not set to Webhook";
                out.push(field::forbidden(&config_path, why));
            }
            if !versions.is_empty() {
                out.push(field::forbidden(&reviews, "should not be set when strategy is not set to Webhook"));
            }
        }
        "Webhook" => {
            match hook.and_then(|hook| object_at(hook, "clientConfig")) {
                None => out.push(field::required(&config_path, "required when strategy is set to Webhook")),
                Some(config) => client_config(config, &config_path, out),
            }
            if versions.is_empty() {
                out.push(field::required(&reviews, ""));
            } else if !versions.iter().any(|version| version == "v1" || version == "v1beta1") {
                let why = "must include at least one of v1, v1beta1";
                out.push(field::invalid(&reviews, &Value::Array(versions.to_vec()), why));
            }
        }
        other => out.push(field::not_supported(&path.field("strategy"), &other.into(), ["None", "Webhook"])),
    }
}

#[cfg(test)]
mod tests;
