//! ResourceQuota: what an object uses, which quotas count it, and whether there is room for it.

use super::resources::{self, Amounts, add, amounts};
use super::{Operation, Refusal};
use crate::field;
use crate::quantity::Quantity;
use api::Object;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

type Fields = Map<String, Value>;

const PODS: &str = "pods";
const SERVICES: &str = "services";
const CLAIMS: &str = "persistentvolumeclaims";
/// Kinds that a quota may name without `count/`.
const BARE_COUNTS: [&str; 7] =
    [PODS, SERVICES, CLAIMS, "configmaps", "secrets", "replicationcontrollers", "resourcequotas"];
/// Events come and go by themselves; no quota counts them.
const UNCOUNTED: [&str; 2] = ["events", "events.events.k8s.io"];
/// In quotas of claims of one class: `gold.storageclass.storage.k8s.io/requests.storage`.
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";
/// A quota of one of these makes every container say what it needs.
const MUST_BE_SAID: [&str; 6] = ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// A ResourceQuota, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The most that may be used.
    pub hard: Amounts,
    scopes: Vec<Scope>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Scope {
    name: String,
    operator: String,
    values: Vec<String>,
}

/// What a quota allows, and what is used of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account<'a> {
    /// The quota.
    pub rule: &'a Rule,
    /// What is used now.
    pub used: &'a Amounts,
}

impl Rule {
    /// Reads a ResourceQuota.
    pub fn of(quota: &Object) -> Self {
        let text = |fields: &Fields, name: &str| field::text_at(fields, name).to_owned();
        let plain = field::list_at(&quota.0, "spec.scopes").iter().filter_map(Value::as_str).map(|name| Scope {
            name: name.to_owned(),
            operator: "Exists".into(),
            values: Vec::new(),
        });
        let selected = field::objects_at(&quota.0, "spec.scopeSelector.matchExpressions").map(|required| Scope {
            name: text(required, "scopeName"),
            operator: text(required, "operator"),
            values: field::list_at(required, "values").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        });
        Self {
            name: quota.name().to_owned(),
            hard: amounts(field::at(&quota.0, "spec.hard")),
            scopes: plain.chain(selected).collect(),
        }
    }

    /// The collections whose objects may use of this quota.
    pub fn collections(&self) -> BTreeSet<&str> {
        self.hard.keys().map(|name| collection_of(name)).filter(|name| !UNCOUNTED.contains(name)).collect()
    }

    /// What an object uses of this quota.
    pub fn usage(&self, collection: &str, object: &Fields) -> Amounts {
        if !self.scopes.iter().all(|scope| scope.matches(collection, object)) {
            return Amounts::new();
        }
        let mut used = usage(collection, object);
        used.retain(|name, _| self.hard.contains_key(name));
        used
    }

    fn counts(&self, collection: &str, object: &Fields) -> bool {
        self.scopes.iter().all(|scope| scope.matches(collection, object))
            && self.hard.keys().any(|name| collection_of(name) == collection)
    }
}

/// The collection that a name in a quota is about.
fn collection_of(name: &str) -> &str {
    if let Some(collection) = name.strip_prefix("count/") {
        return collection;
    }
    if BARE_COUNTS.contains(&name) {
        return name;
    }
    if name.starts_with("services.") {
        return SERVICES;
    }
    if name == "requests.storage" || name.contains(OF_CLASS) {
        return CLAIMS;
    }
    // cpu, memory and every other resource of containers.
    PODS
}

impl Scope {
    fn matches(&self, collection: &str, object: &Fields) -> bool {
        match (collection, self.name.as_str()) {
            (PODS, "Terminating") => ends(object),
            (PODS, "NotTerminating") => !ends(object),
            (PODS, "BestEffort") => best_effort(object),
            (PODS, "NotBestEffort") => !best_effort(object),
            (PODS, "PriorityClass") => self.selects(field::text_at(object, "spec.priorityClassName")),
            (PODS, "CrossNamespacePodAffinity") => reaches_out(object),
            (CLAIMS, "VolumeAttributesClass") => self.selects(field::text_at(object, "spec.volumeAttributesClassName")),
            _ => false,
        }
    }

    fn selects(&self, value: &str) -> bool {
        let listed = self.values.iter().any(|held| held == value);
        match self.operator.as_str() {
            "Exists" => !value.is_empty(),
            "DoesNotExist" => value.is_empty(),
            "In" => !value.is_empty() && listed,
            "NotIn" => value.is_empty() || !listed,
            _ => false,
        }
    }
}

fn ends(pod: &Fields) -> bool {
    field::int_at(pod, "spec.activeDeadlineSeconds").is_some_and(|seconds| seconds >= 0)
}

/// Whether nothing in a Pod asks for processor time or memory.
fn best_effort(pod: &Fields) -> bool {
    let containers =
        ["spec.containers", "spec.initContainers"].into_iter().flat_map(|list| field::objects_at(pod, list));
    let whole = field::object_at(pod, "spec");
    containers.chain(whole).all(|asks| {
        ["requests", "limits"].into_iter().all(|which| {
            let asked = amounts(asks.get("resources").and_then(|resources| resources.get(which)));
            ["cpu", "memory"].into_iter().all(|name| asked.get(name).is_none_or(|amount| *amount == Quantity::ZERO))
        })
    })
}

/// Whether a Pod wants to be near, or far from, Pods of other namespaces.
fn reaches_out(pod: &Fields) -> bool {
    let outside = |term: &Fields| {
        !field::list_at(term, "namespaces").is_empty() || term.get("namespaceSelector").is_some_and(|s| !s.is_null())
    };
    ["podAffinity", "podAntiAffinity"].into_iter().any(|kind| {
        let at = |list: &str| format!("spec.affinity.{kind}.{list}DuringSchedulingIgnoredDuringExecution");
        let weighted = at("preferred");
        let preferred =
            field::objects_at(pod, &weighted).filter_map(|weighted| field::object_at(weighted, "podAffinityTerm"));
        field::objects_at(pod, &at("required")).any(outside) || preferred.into_iter().any(outside)
    })
}

/// What one object uses, by every name that a quota may have for it.
pub fn usage(collection: &str, object: &Fields) -> Amounts {
    let one = Quantity::count(1);
    let mut used = Amounts::from([(format!("count/{collection}"), one)]);
    let counted = BARE_COUNTS.contains(&collection);
    match collection {
        PODS if matches!(field::text_at(object, "status.phase"), "Succeeded" | "Failed") => return used,
        PODS => {
            let (requests, limits) = (resources::of_pod(object, "requests"), resources::of_pod(object, "limits"));
            add(&mut used, &of_containers(&requests, &limits));
        }
        SERVICES => used.extend(of_service(object)),
        CLAIMS => used.extend(of_claim(object)),
        _ => {}
    }
    if counted {
        used.insert(collection.to_owned(), one);
    }
    used
}

/// Requests and limits under the names of quotas.
fn of_containers(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut used = Amounts::new();
    for (name, amount) in requests {
        match name.as_str() {
            "cpu" | "memory" | "ephemeral-storage" => {
                used.insert(name.clone(), *amount);
            }
            _ if name.starts_with("hugepages-") => {
                used.insert(name.clone(), *amount);
            }
            // Of extended resources only the requests can be counted.
            _ if is_extended(name) => {}
            _ => continue,
        }
        used.insert(format!("requests.{name}"), *amount);
    }
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(amount) = limits.get(name) {
            used.insert(format!("limits.{name}"), *amount);
        }
    }
    used
}

/// Whether a resource is of some device, and not of Kubernetes itself.
fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io"))
        && !name.starts_with("requests.")
}

fn of_service(service: &Fields) -> Amounts {
    let ports = field::objects_at(service, "spec.ports");
    let (mut all, mut given) = (0, 0);
    for port in ports {
        all += 1;
        given += u32::from(field::int_at(port, "nodePort").unwrap_or(0) != 0);
    }
    let allocates = field::at(service, "spec.allocateLoadBalancerNodePorts").and_then(Value::as_bool).unwrap_or(true);
    let (nodes, balancers) = match field::text_at(service, "spec.type") {
        "NodePort" => (all, 0),
        "LoadBalancer" => (if allocates { all } else { given }, 1),
        _ => (0, 0),
    };
    Amounts::from([
        ("services.nodeports".to_owned(), Quantity::count(nodes)),
        ("services.loadbalancers".to_owned(), Quantity::count(balancers)),
    ])
}

fn of_claim(claim: &Fields) -> Amounts {
    let of = |path: &str| amounts(field::at(claim, path)).get("storage").copied();
    let storage = of("spec.resources.requests").max(of("status.allocatedResources"));
    let annotated = field::object_at(claim, "metadata.annotations")
        .and_then(|all| all.get("volume.beta.kubernetes.io/storage-class"))
        .and_then(Value::as_str);
    let class = annotated.unwrap_or_else(|| field::text_at(claim, "spec.storageClassName"));
    let mut used = Amounts::new();
    if !class.is_empty() {
        used.insert(format!("{class}{OF_CLASS}{CLAIMS}"), Quantity::count(1));
    }
    if let Some(storage) = storage {
        used.insert("requests.storage".into(), storage);
        if !class.is_empty() {
            used.insert(format!("{class}{OF_CLASS}requests.storage"), storage);
        }
    }
    used
}

/// Whether quotas look at a write at all: most kinds count when they are created only.
pub fn counts(collection: &str, subresource: &str, operation: Operation) -> bool {
    match operation {
        _ if UNCOUNTED.contains(&collection) => false,
        Operation::Create => subresource.is_empty(),
        Operation::Update => match collection {
            PODS => subresource == "resize",
            SERVICES | CLAIMS => subresource.is_empty(),
            _ => false,
        },
        Operation::Delete | Operation::Connect => false,
    }
}

/// A resource, and what is asked, used and allowed of it.
type Excess<'a> = (&'a String, &'a Quantity, Quantity, Quantity);

/// Refuses a write for which there is no room in one of the quotas of its namespace.
///
/// # Errors
/// What follows `is forbidden: ` in the words of the stock server.
pub fn judge(accounts: &[Account<'_>], collection: &str, object: &Fields, old: Option<&Fields>) -> Result<(), Refusal> {
    let interested: Vec<_> = accounts.iter().filter(|account| account.rule.counts(collection, object)).collect();
    if collection == PODS && old.is_none() {
        for account in &interested {
            all_is_said(account.rule, object).map_err(|why| format!("failed quota: {}: {why}", account.rule.name))?;
        }
    }
    let mut asked = usage(collection, object);
    let negative: Vec<&str> =
        asked.iter().filter(|(_, amount)| **amount < Quantity::ZERO).map(|(name, _)| name.as_str()).collect();
    if !negative.is_empty() {
        return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
    }
    for (name, before) in old.map(|old| usage(collection, old)).unwrap_or_default() {
        if let Some(amount) = asked.get_mut(&name) {
            *amount = (*amount - before).max(Quantity::ZERO);
        }
    }
    asked.retain(|_, amount| *amount != Quantity::ZERO);
    for account in interested {
        let Account { rule, used } = account;
        let held = |name: &str| used.get(name).copied().unwrap_or(Quantity::ZERO);
        let exceeded: Vec<Excess<'_>> = asked
            .iter()
            .filter_map(|(name, amount)| Some((name, amount, held(name), *rule.hard.get(name)?)))
            .filter(|(_, amount, held, hard)| *held + **amount > *hard)
            .collect();
        if exceeded.is_empty() {
            continue;
        }
        let listed = |of: fn(&Excess<'_>) -> Quantity| {
            let parts: Vec<String> = exceeded.iter().map(|row| format!("{}={}", row.0, of(row))).collect();
            parts.join(",")
        };
        return Err(format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            rule.name,
            listed(|row| *row.1),
            listed(|row| row.2),
            listed(|row| row.3)
        ));
    }
    Ok(())
}

/// Refuses a Pod with containers that do not say what they need of what a quota counts.
fn all_is_said(rule: &Rule, pod: &Fields) -> Result<(), Refusal> {
    let whole = field::at(pod, "spec.resources").is_some_and(|resources| !resources.is_null());
    let wanted: Vec<&str> = MUST_BE_SAID.into_iter().filter(|name| rule.hard.contains_key(*name)).collect();
    if wanted.is_empty() || whole {
        return Ok(());
    }
    let mut silent: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in
        ["spec.containers", "spec.initContainers"].into_iter().flat_map(|list| field::objects_at(pod, list))
    {
        let of = |which: &str| amounts(container.get("resources").and_then(|resources| resources.get(which)));
        let said = of_containers(&of("requests"), &of("limits"));
        for name in wanted.iter().copied().filter(|name| !said.contains_key(*name)) {
            silent.entry(name).or_default().insert(field::text_at(container, "name"));
        }
    }
    if silent.is_empty() {
        return Ok(());
    }
    let listed: Vec<String> = silent
        .into_iter()
        .map(|(name, containers)| format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(",")))
        .collect();
    Err(format!("must specify {}", listed.join("; ")))
}

/// `.status` of a quota of which so much is used; `served` says of which collections there are any.
pub fn status(rule: &Rule, used: &Amounts, served: impl Fn(&str) -> bool) -> Value {
    let text = |amounts: &Amounts| -> Fields {
        amounts.iter().map(|(name, amount)| (name.clone(), amount.to_string().into())).collect()
    };
    let known = rule.hard.keys().filter(|name| served(collection_of(name)));
    let used: Amounts = known.map(|name| (name.clone(), used.get(name).copied().unwrap_or(Quantity::ZERO))).collect();
    serde_json::json!({"hard": text(&rule.hard), "used": text(&used)})
}

/// Takes an object out of what is used, and puts another in.
pub fn replace(used: &mut Amounts, before: Option<&Amounts>, after: Option<&Amounts>) {
    for (name, amount) in before.into_iter().flatten() {
        let held = used.entry(name.clone()).or_insert(Quantity::ZERO);
        *held = *held - *amount;
    }
    if let Some(after) = after {
        add(used, after);
    }
}
