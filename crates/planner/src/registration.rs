//! Registration: what a hub does with an agent's signing request, and what an agent says and asks of a hub.
//!
//! Membership needs both sides: an administrator accepts the cluster and approves the agent's first request. From then
//! on the agent renews its certificate by itself, as long as the cluster is accepted.

mod tokens;

pub use tokens::{BOOTSTRAP_USER_PREFIX, BootstrapToken, Fate, Use, fate, may_register, may_request};

use api::cluster::{
    ADDON_NAME_LABEL, AVAILABLE, CLIENT_SIGNER, CLOCK_SYNCED, CLUSTER_NAME_LABEL, Claim, HUB_ACCEPTED, JOINED,
    MANAGED_CLUSTERS_GROUP, ManagedCluster, ManagedClusterStatus, SIGNING_REQUESTS, agent_user, cluster_group,
};
use api::{Condition, ConditionStatus, Labels, Object, ObjectName, Op, Timestamp, set_condition};
use machinery::quantity::Quantity;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How many requests of one cluster may wait at the hub before its agent stops making more.
pub const REQUESTS_MAX: usize = 10;

/// How long a request is kept that was decided, and one that nobody decides: a stock server's cleaner has the same.
const DECIDED_KEPT: Duration = Duration::from_secs(3600);
const WAITING_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The most claims of its own that a cluster reports; reserved ones come on top.
pub const CLAIMS_MAX: usize = 20;

/// Claims that are always reported.
const RESERVED_CLAIMS: [&str; 4] = [
    "id.k8s.io",
    "kubeversion.open-cluster-management.io",
    "platform.open-cluster-management.io",
    "product.open-cluster-management.io",
];

/// A signing request, its PKCS #10 part read by somebody who can.
#[derive(Clone, PartialEq, Debug, Default)]
#[allow(missing_docs)]
pub struct SigningRequest {
    pub name: String,
    pub labels: Labels,
    pub signer: String,
    /// Who made the request, as the API server saw it.
    pub requester: String,
    /// The groups of who made it.
    pub groups: Vec<String>,
    pub common_name: String,
    pub organizations: Vec<String>,
    /// Types of its conditions that are true: `Approved`, `Denied`, `Failed`.
    pub conditions: Vec<String>,
}

/// What the hub does with a signing request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Not the registration's business, or decided already, or for an administrator to decide.
    Leave,
    /// The agent of an accepted cluster renews its own certificate.
    Renew,
    /// The first request of a cluster, from somebody who is trusted to bring clusters in: the cluster is accepted too.
    Admit,
}

/// Decides on a request. `accepted` is whether the hub accepts the cluster of that name, if there is one that is not
/// being deleted; `trusted` are user names whose first requests need no administrator.
pub fn decide(request: &SigningRequest, accepted: impl FnOnce(&str) -> Option<bool>, trusted: &[String]) -> Decision {
    let decided = ["Approved", "Denied"].iter().any(|type_| request.conditions.iter().any(|held| held == type_));
    let Some(cluster) = request.labels.get(CLUSTER_NAME_LABEL) else { return Decision::Leave };
    if decided || request.signer != CLIENT_SIGNER || request.labels.contains_key(ADDON_NAME_LABEL) {
        return Decision::Leave;
    }
    if !is_agent_of(cluster, &request.common_name, &request.organizations)
        || may_register(&request.groups, cluster).is_err()
    {
        return Decision::Leave;
    }
    match accepted(cluster) {
        Some(true) if request.requester == request.common_name => Decision::Renew,
        Some(_) if trusted.contains(&request.requester) => Decision::Admit,
        _ => Decision::Leave,
    }
}

/// Whether a certificate subject is that of an agent of this cluster and of nothing else: the user name is
/// [`agent_user`] with some agent name, the groups are the cluster's own and at most that of all managed clusters.
///
/// The subject of a request is what its certificate will be worth, whoever made the request: nobody approves one for a
/// cluster without asking this first.
pub fn is_agent_of(cluster: &str, common_name: &str, organizations: &[String]) -> bool {
    let own = cluster_group(cluster);
    let agent = common_name.strip_prefix(&agent_user(cluster, ""));
    // A cluster of the name `managed-clusters`, or one with a colon, would be taken for something else.
    let plain = !cluster.is_empty() && !cluster.contains(':') && own != MANAGED_CLUSTERS_GROUP;
    plain
        && agent.is_some_and(|agent| !agent.is_empty() && !agent.contains(':'))
        && organizations.contains(&own)
        && organizations.iter().all(|group| *group == own || group == MANAGED_CLUSTERS_GROUP)
}

/// How much longer a request is kept; nothing once its time is over.
pub fn kept_for(request: &Object, conditions: &[String], now: Timestamp) -> Option<Duration> {
    let created = request.object_meta().creation_timestamp.unwrap_or(now);
    let decided = ["Approved", "Denied", "Failed"].iter().any(|type_| conditions.iter().any(|held| held == type_));
    let kept = if decided { DECIDED_KEPT } else { WAITING_KEPT };
    let age = Duration::from_micros(u64::try_from(now.micros() - created.micros()).unwrap_or(0));
    kept.checked_sub(age).filter(|left| !left.is_zero())
}

/// The write that approves a request.
pub fn approve(request: &Object, now: Timestamp) -> Op {
    let mut approved = request.clone();
    let condition = json!({
        "type": "Approved", "status": "True", "reason": "AutoApprovedByHubCSRApprovingController",
        "message": "Auto approving Managed cluster agent certificate after SubjectAccessReview.",
        "lastUpdateTime": now, "lastTransitionTime": now,
    });
    let status = approved.0.entry("status").or_insert_with(|| json!({}));
    let conditions = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    status["conditions"] = conditions.into_iter().chain([condition]).collect();
    Op::update(SIGNING_REQUESTS, approved).on("approval")
}

/// The object by which a cluster asks to join.
pub fn managed_cluster(cluster: &str) -> Object {
    let resource = api::cluster::MANAGED_CLUSTERS;
    let mut object = Object::new(&resource.api_version(), &resource.kind, &ObjectName::cluster(cluster));
    object.0.insert("spec".into(), json!({"hubAcceptsClient": false}));
    object
}

/// Who the agent wants to be: user name and groups.
pub fn agent_identity(cluster: &str, agent: &str) -> (String, Vec<String>) {
    (agent_user(cluster, agent), vec![cluster_group(cluster), MANAGED_CLUSTERS_GROUP.into()])
}

/// The signing request object of an agent.
///
/// `pem` is the base64 text of the PKCS #10 request in PEM.
pub fn signing_request(cluster: &str, pem: &str) -> Value {
    json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"generateName": format!("{cluster}-"), "labels": {CLUSTER_NAME_LABEL: cluster}},
        "spec": {
            "request": pem, "signerName": CLIENT_SIGNER,
            "usages": ["digital signature", "key encipherment", "client auth"],
        },
    })
}

/// How a signing request of ours stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Not decided, or decided and not signed yet.
    Waiting,
    /// The base64 text of the certificate in PEM.
    Issued(String),
    /// Denied or failed, and why: another request has to be made.
    Refused(String),
}

/// Reads how a signing request stands.
pub fn progress(request: &Object) -> Progress {
    let conditions = request.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let bad = conditions
        .into_iter()
        .find(|held| held["status"] == "True" && (held["type"] == "Denied" || held["type"] == "Failed"));
    if let Some(bad) = bad {
        let text = |field: &str| bad[field].as_str().unwrap_or_default().to_owned();
        return Progress::Refused(format!("{}: {}", text("type"), text("message")));
    }
    match request.pointer("/status/certificate").and_then(Value::as_str) {
        Some(certificate) if !certificate.is_empty() => Progress::Issued(certificate.to_owned()),
        _ => Progress::Waiting,
    }
}

/// When a certificate is renewed: when 20 to 25 % of its life are left. `fraction` in 0..1 chooses within, so that many
/// agents do not come at once.
pub fn renew_at(not_before: Timestamp, not_after: Timestamp, fraction: f64) -> Timestamp {
    let life = not_after.micros() - not_before.micros();
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // microseconds of years fit into f64
    let left = (life as f64 * (0.20 + 0.05 * fraction.clamp(0.0, 1.0))) as i64;
    Timestamp::from_micros(not_after.micros() - left)
}

/// The part of a Node that counts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Node {
    pub status: NodeStatus,
}

/// `Node.status`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct NodeStatus {
    pub capacity: BTreeMap<String, String>,
    pub allocatable: BTreeMap<String, String>,
}

/// What an agent knows about its cluster.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ClusterFacts {
    /// Why the API server does not answer, if it does not.
    pub unhealthy: Option<String>,
    /// The version that it gives; empty while it is not known.
    pub version: String,
    /// Its nodes, once they are known.
    pub nodes: Option<Vec<Node>>,
    /// Its claims, once they are known.
    pub claims: Option<Vec<Claim>>,
}

/// The agent's next status of its ManagedCluster, as the part that it may write; nothing if there is nothing to say.
///
/// An agent says nothing before the hub accepts it, and nothing while the hub finds its clock wrong: its times would
/// mislead.
pub fn cluster_status(cluster: &ManagedCluster, facts: &ClusterFacts, now: Timestamp) -> Option<Value> {
    let is = |type_: &str, status| cluster.condition(type_).is_some_and(|held| held.status == status);
    if !is(HUB_ACCEPTED, ConditionStatus::True) || is(CLOCK_SYNCED, ConditionStatus::False) {
        return None;
    }
    let mut status = cluster.status.clone();
    let joined = Condition::new(JOINED, ConditionStatus::True, JOINED, "Managed cluster joined");
    set_condition(&mut status.conditions, joined, now);
    let available = match &facts.unhealthy {
        None => {
            Condition::new(AVAILABLE, ConditionStatus::True, "ManagedClusterAvailable", "Managed cluster is available")
        }
        Some(why) => {
            Condition::new(AVAILABLE, ConditionStatus::False, "ManagedClusterKubeAPIServerUnavailable", why.as_str())
        }
    };
    set_condition(&mut status.conditions, available, now);
    if !facts.version.is_empty() {
        status.version.kubernetes.clone_from(&facts.version);
    }
    if let Some(nodes) = &facts.nodes {
        status.capacity = sum(nodes.iter().map(|node| &node.status.capacity));
        status.allocatable = sum(nodes.iter().map(|node| &node.status.allocatable));
    }
    if let Some(held) = &facts.claims {
        status.cluster_claims = claims(held);
    }
    (status != cluster.status).then(|| patch(&cluster.status, &status))
}

/// A merge patch from one status to the next: maps say what has gone.
fn patch(held: &ManagedClusterStatus, next: &ManagedClusterStatus) -> Value {
    let mut patch = json!({"conditions": next.conditions});
    if next.version != held.version {
        patch["version"] = json!(next.version);
    }
    let quantities = |held: &BTreeMap<String, String>, next: &BTreeMap<String, String>| {
        let gone = held.keys().filter(|key| !next.contains_key(*key)).map(|key| (key.clone(), Value::Null));
        gone.chain(next.iter().map(|(key, value)| (key.clone(), json!(value)))).collect::<Value>()
    };
    if next.capacity != held.capacity {
        patch["capacity"] = quantities(&held.capacity, &next.capacity);
    }
    if next.allocatable != held.allocatable {
        patch["allocatable"] = quantities(&held.allocatable, &next.allocatable);
    }
    if next.cluster_claims != held.cluster_claims {
        patch["clusterClaims"] = json!(next.cluster_claims);
    }
    patch
}

/// Sums quantities by name. What cannot be read as a quantity is left out.
fn sum<'a>(nodes: impl Iterator<Item = &'a BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut sums: BTreeMap<String, Quantity> = BTreeMap::new();
    for (name, amount) in nodes.flatten() {
        let Ok(amount) = amount.parse::<Quantity>() else { continue };
        sums.entry(name.clone()).and_modify(|sum| *sum = *sum + amount).or_insert(amount);
    }
    sums.into_iter().map(|(name, amount)| (name, amount.to_string())).collect()
}

/// The claims to report: reserved ones first, then the cluster's own by name, cut at [`CLAIMS_MAX`].
fn claims(claims: &[Claim]) -> Vec<Claim> {
    let (mut reserved, mut own): (Vec<Claim>, Vec<Claim>) =
        claims.iter().cloned().partition(|claim| RESERVED_CLAIMS.contains(&claim.name.as_str()));
    reserved.sort();
    own.sort();
    own.truncate(CLAIMS_MAX);
    reserved.into_iter().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(requester: &str, common_name: &str, organizations: &[&str]) -> SigningRequest {
        SigningRequest {
            name: "c1-x".into(),
            labels: [(CLUSTER_NAME_LABEL.to_owned(), "c1".to_owned())].into(),
            signer: CLIENT_SIGNER.into(),
            requester: requester.into(),
            groups: Vec::new(),
            common_name: common_name.into(),
            organizations: organizations.iter().map(|&group| group.to_owned()).collect(),
            conditions: Vec::new(),
        }
    }

    const AGENT: &str = "system:open-cluster-management:c1:a";
    const GROUPS: [&str; 2] = ["system:open-cluster-management:c1", "system:open-cluster-management:managed-clusters"];

    #[track_caller]
    fn check(request: &SigningRequest, accepted: Option<bool>, expected: Decision) {
        let seen = decide(request, |_| accepted, &["system:trusted".to_owned()]);
        assert_eq!(seen, expected, "{request:?} {accepted:?}");
    }

    #[test]
    fn a_subject_is_an_agent_of_one_cluster() {
        #[track_caller]
        fn check(cluster: &str, common_name: &str, organizations: &[&str], expected: bool) {
            let organizations: Vec<String> = organizations.iter().map(|&group| group.to_owned()).collect();
            assert_eq!(is_agent_of(cluster, common_name, &organizations), expected, "{common_name} {organizations:?}");
        }
        let other = "system:open-cluster-management:c2";
        check("c1", AGENT, &GROUPS, true);
        check("c1", AGENT, &GROUPS[..1], true);
        check("c1", AGENT, &[GROUPS[1], GROUPS[0]], true);
        check("c1", AGENT, &GROUPS[1..], false);
        check("c1", AGENT, &[], false);
        check("c1", AGENT, &[other], false);
        check("c1", AGENT, &[GROUPS[0], other], false);
        check("c1", AGENT, &[GROUPS[0], GROUPS[1], "system:masters"], false);
        check("c1", "system:open-cluster-management:c2:a", &GROUPS, false);
        check("c1", "system:open-cluster-management:c1", &GROUPS, false);
        check("c1", "system:open-cluster-management:c1:", &GROUPS, false);
        check("c1", "system:open-cluster-management:c1:a:b", &GROUPS, false);
        check("c1", "system:open-cluster-management:c11:a", &GROUPS, false);
        check("c1", "system:kube-controller-manager", &GROUPS, false);
        check("c1", "", &GROUPS, false);
        check("", "system:open-cluster-management::a", &["system:open-cluster-management:"], false);
        check("c1:a", "system:open-cluster-management:c1:a:b", &["system:open-cluster-management:c1:a"], false);
        check("managed-clusters", "system:open-cluster-management:managed-clusters:a", &GROUPS[1..], false);
    }

    #[test]
    fn only_the_agent_itself_renews() {
        let renewal = request(AGENT, AGENT, &GROUPS);
        check(&renewal, Some(true), Decision::Renew);
        check(&renewal, Some(false), Decision::Leave);
        check(&renewal, None, Decision::Leave);
        check(&request(AGENT, AGENT, &GROUPS[..1]), Some(true), Decision::Renew);
        check(&request("system:bootstrap:abcdef", AGENT, &GROUPS), Some(true), Decision::Leave);
        check(&request(AGENT, "system:open-cluster-management:c1:b", &GROUPS), Some(true), Decision::Leave);
        check(&request(AGENT, AGENT, &[]), Some(true), Decision::Leave);
        check(&request(AGENT, AGENT, &["system:masters", GROUPS[0]]), Some(true), Decision::Leave);
        let other = "system:open-cluster-management:c2:a";
        check(&request(other, other, &["system:open-cluster-management:c2"]), Some(true), Decision::Leave);
        let deep = "system:open-cluster-management:c1:a:b";
        check(&request(deep, deep, &GROUPS), Some(true), Decision::Leave);
        for decided in ["Approved", "Denied"] {
            check(&SigningRequest { conditions: vec![decided.into()], ..renewal.clone() }, Some(true), Decision::Leave);
        }
        let mut addon = renewal.clone();
        addon.labels.insert(ADDON_NAME_LABEL.into(), "x".into());
        check(&addon, Some(true), Decision::Leave);
        check(&SigningRequest { signer: "example.com/x".into(), ..renewal.clone() }, Some(true), Decision::Leave);
        check(&SigningRequest { labels: Labels::new(), ..renewal }, Some(true), Decision::Leave);
    }

    #[test]
    fn the_first_request_is_an_administrators() {
        check(&request("system:bootstrap:abcdef", AGENT, &GROUPS), Some(false), Decision::Leave);
        check(&request("system:trusted", AGENT, &GROUPS), Some(false), Decision::Admit);
        check(&request("system:trusted", AGENT, &GROUPS), Some(true), Decision::Admit);
        check(&request("system:trusted", AGENT, &GROUPS), None, Decision::Leave);
        check(&request("system:trusted", AGENT, &["system:masters"]), Some(true), Decision::Leave);
    }

    #[test]
    fn approval_keeps_what_is_there() {
        let mut object = Object::new("certificates.k8s.io/v1", "CertificateSigningRequest", &ObjectName::cluster("r"));
        assert_eq!(progress(&object), Progress::Waiting);
        let op = approve(&object, Timestamp::from_seconds(1));
        assert_eq!(op.to_string(), "update approval of certificatesigningrequests.certificates.k8s.io r");
        let api::Write::Update(approved) = op.write else { panic!() };
        assert_eq!(approved.pointer("/status/conditions/0/type"), Some(&json!("Approved")));
        object.0.insert("status".into(), json!({"certificate": "Y2VydA=="}));
        assert_eq!(progress(&object), Progress::Issued("Y2VydA==".into()));
        object.0["status"]["conditions"] = json!([{"type": "Denied", "status": "True", "message": "no"}]);
        assert_eq!(progress(&object), Progress::Refused("Denied: no".into()));
    }

    #[test]
    fn requests_do_not_pile_up() {
        let mut object = Object::new("certificates.k8s.io/v1", "CertificateSigningRequest", &ObjectName::cluster("r"));
        object.set_meta("creationTimestamp", Timestamp::from_seconds(1_000).to_string());
        let left = |conditions: &[&str], seconds: i64| {
            let conditions: Vec<String> = conditions.iter().map(|&type_| type_.to_owned()).collect();
            kept_for(&object, &conditions, Timestamp::from_seconds(seconds)).map(|left| left.as_secs())
        };
        assert_eq!(left(&[], 1_000), Some(86_400));
        assert_eq!(left(&["Approved"], 1_600), Some(3_000));
        assert_eq!(left(&["Denied"], 4_600), None);
        assert_eq!(left(&[], 90_000), None);
    }

    #[test]
    fn renewal_comes_in_the_last_quarter() {
        let (from, to) = (Timestamp::from_seconds(0), Timestamp::from_seconds(1000));
        assert_eq!(renew_at(from, to, 0.0).seconds(), 800);
        assert_eq!(renew_at(from, to, 1.0).seconds(), 750);
    }

    fn accepted() -> ManagedCluster {
        let mut cluster = ManagedCluster::default();
        let condition = Condition::new(HUB_ACCEPTED, ConditionStatus::True, "r", "m");
        set_condition(&mut cluster.status.conditions, condition, Timestamp::from_seconds(1));
        cluster
    }

    #[test]
    fn an_agent_says_only_what_is_new() {
        let now = Timestamp::from_seconds(10);
        let mut cluster = accepted();
        let node = |cpu: &str, memory: &str| Node {
            status: NodeStatus {
                capacity: [("cpu".to_owned(), cpu.to_owned()), ("memory".to_owned(), memory.to_owned())].into(),
                allocatable: BTreeMap::new(),
            },
        };
        let claim = |name: &str| Claim { name: name.into(), value: "v".into() };
        let mut facts = ClusterFacts {
            unhealthy: None,
            version: "v1.36.3".into(),
            nodes: Some(vec![node("4", "8Gi"), node("3500m", "2048Mi")]),
            claims: Some(vec![claim("z"), claim("a"), claim("id.k8s.io")]),
        };
        let said = cluster_status(&cluster, &facts, now).unwrap();
        assert_eq!(said["capacity"], json!({"cpu": "7500m", "memory": "10Gi"}));
        assert_eq!(said["version"], json!({"kubernetes": "v1.36.3"}));
        let names: Vec<&str> =
            said["clusterClaims"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["id.k8s.io", "a", "z"]);
        let apply = |cluster: &mut ManagedCluster, patch: Value| {
            let mut status = serde_json::to_value(&cluster.status).unwrap();
            for (key, value) in patch.as_object().unwrap() {
                status[key] = match value {
                    Value::Object(map) => {
                        map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect()
                    }
                    other => other.clone(),
                };
            }
            cluster.status = serde_json::from_value(status).unwrap();
        };
        apply(&mut cluster, said);
        assert_eq!(cluster_status(&cluster, &facts, Timestamp::from_seconds(99)), None);
        let unknown = ClusterFacts::default();
        assert_eq!(cluster_status(&cluster, &unknown, now), None, "what is not known is left as it is");
        facts.nodes = Some(Vec::new());
        let said = cluster_status(&cluster, &facts, now).unwrap();
        assert_eq!(said["capacity"], json!({"cpu": null, "memory": null}));
        apply(&mut cluster, said);
        facts.unhealthy = Some("no answer".into());
        let said = cluster_status(&cluster, &facts, now).unwrap();
        apply(&mut cluster, said);
        assert_eq!(cluster.condition(AVAILABLE).unwrap().status, ConditionStatus::False);
        assert_eq!(cluster_status(&cluster, &facts, Timestamp::from_seconds(99)), None);
    }

    #[test]
    fn an_agent_is_silent_until_accepted_and_while_its_clock_is_wrong() {
        let now = Timestamp::from_seconds(10);
        let facts = ClusterFacts::default();
        assert_eq!(cluster_status(&ManagedCluster::default(), &facts, now), None);
        let mut cluster = accepted();
        let condition = Condition::new(CLOCK_SYNCED, ConditionStatus::False, "r", "m");
        set_condition(&mut cluster.status.conditions, condition, now);
        assert_eq!(cluster_status(&cluster, &facts, now), None);
    }
}
