//! `kubestellar accept`: lets clusters into an ITS.
//!
//! Two consents make a member: `hubAcceptsClient` on the ManagedCluster, and the approval of the certificate that its
//! agent asks for. The command gives both, also to requests that come while it waits, until the agent has joined.

use super::{ACCEPTED, AVAILABLE, CLUSTER_LABEL, JOINED, MANAGED_CLUSTERS, SIGNING_REQUESTS};
use crate::{Error, Result, Session, kind_of_space};
use api::{Condition, ConditionStatus, Object, ObjectMeta, ObjectName, Timestamp, set_condition};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{Client, Patch, Reflector, Selection};
use planner::registration::{is_agent_of, may_register};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// The signer of client certificates.
const SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// Who may ask for a first certificate: the holders of bootstrap tokens, and the account that clusteradm uses.
const BOOTSTRAP_GROUPS: [&str; 2] = ["system:bootstrappers", "system:bootstrappers:managedcluster"];
const BOOTSTRAP_ACCOUNT: &str = "system:serviceaccount:open-cluster-management:agent-registration-bootstrap";

/// Lets clusters in
#[derive(Clone, Debug, clap::Args)]
pub struct Accept {
    /// The clusters
    #[arg(required = true, value_name = "CLUSTER")]
    pub clusters: Vec<String>,
    /// The context of the ITS; the current one if not given
    #[arg(long, alias = "hub-context", value_name = "CONTEXT")]
    pub context: Option<String>,
    /// Seconds to wait for the agents; 0 does not wait
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
    /// Approve requests of anybody, not only of bootstrap identities and of the cluster itself; they must still ask for
    /// the identity of the cluster's agent
    #[arg(long)]
    pub skip_approve_check: bool,
}

/// What is known of a cluster.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
struct ManagedCluster {
    spec: ManagedClusterSpec,
    status: ManagedClusterStatus,
}

#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ManagedClusterSpec {
    hub_accepts_client: bool,
}

#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
struct ManagedClusterStatus {
    conditions: Option<Vec<Condition>>,
}

impl ManagedCluster {
    fn is(&self, condition: &str) -> bool {
        self.status.conditions.iter().flatten().any(|held| held.type_ == condition && held.is_true())
    }
}

/// What is known of a request for a certificate.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
struct Request {
    metadata: ObjectMeta,
    spec: RequestSpec,
    status: RequestStatus,
}

#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RequestSpec {
    signer_name: String,
    /// Base64 of the PKCS #10 request in PEM.
    request: String,
    username: String,
    groups: Vec<String>,
}

#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
struct RequestStatus {
    conditions: Option<Vec<Value>>,
}

/// What to do about a request.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Verdict {
    /// Consent.
    Approve,
    /// Somebody has decided already, or it is not a request of a cluster.
    Leave,
    /// It is not clear that the cluster asks.
    Doubt,
    /// It asks for a certificate that is not the cluster's, or cannot be read: this is what it asks for.
    Foreign(String),
    /// It was made with a bootstrap token of another cluster, as this says.
    Elsewhere(String),
}

fn judge(request: &Request, cluster: &str, anybody: bool) -> Verdict {
    let decided = request.status.conditions.as_ref().is_some_and(|conditions| !conditions.is_empty());
    if decided || request.spec.signer_name != SIGNER {
        return Verdict::Leave;
    }
    // Whoever asks: the certificate would make its holder what the subject says, not what the request's label says.
    match subject(&request.spec.request) {
        Ok(asked) if is_agent_of(cluster, &asked.common_name, &asked.organizations) => {}
        Ok(asked) => {
            return Verdict::Foreign(format!("user {:?} in groups {:?}", asked.common_name, asked.organizations));
        }
        Err(why) => return Verdict::Foreign(format!("an unreadable subject ({why})")),
    }
    let own = format!("system:open-cluster-management:{cluster}:");
    let spec = &request.spec;
    if let Err(why) = may_register(&spec.groups, cluster) {
        return Verdict::Elsewhere(why);
    }
    let known = spec.groups.iter().any(|group| BOOTSTRAP_GROUPS.contains(&group.as_str()))
        || spec.username == BOOTSTRAP_ACCOUNT
        || spec.username.starts_with(&own);
    if known || anybody { Verdict::Approve } else { Verdict::Doubt }
}

/// Reads who a request asks to be; if it cannot be read, why.
fn subject(request: &str) -> std::result::Result<pki::Subject, String> {
    let pem = STANDARD.decode(request).ok().and_then(|pem| String::from_utf8(pem).ok());
    let pem = pem.ok_or("spec.request is not base64 of a PEM text")?;
    pki::Request::from_pem(&pem).map(|request| request.subject).map_err(|error| error.to_string())
}

/// How far a cluster has come, as the user is told.
fn standing(cluster: Option<&ManagedCluster>) -> &'static str {
    match cluster {
        None => "its agent has not asked yet",
        Some(cluster) if cluster.is(AVAILABLE) && cluster.is(JOINED) => "available",
        Some(cluster) if cluster.is(JOINED) => "joined, but its agent does not say that it is available",
        Some(cluster) if cluster.is(ACCEPTED) => "accepted, but its agent has not joined",
        Some(_) => "not accepted by the hub yet",
    }
}

impl Accept {
    /// Runs the command.
    ///
    /// # Errors
    /// If the ITS does not answer, or a cluster is not available in time.
    pub async fn run(self, session: &Session) -> Result<()> {
        let client = session.client(self.context.as_deref())?.with_field_manager("kubestellar-accept");
        kind_of_space::check(session, &client, self.context.as_deref(), kind_of_space::ITS).await?;
        for cluster in &self.clusters {
            let message = format!("Accepting cluster {cluster}...");
            session.output.step(&message, self.accept(session, &client, cluster)).await?;
        }
        Ok(())
    }

    async fn accept(&self, session: &Session, client: &Client, cluster: &str) -> Result<()> {
        let name = ObjectName::cluster(cluster);
        let selection = Selection::all().with_fields(format!("metadata.name={cluster}"));
        let clusters = Reflector::<ManagedCluster>::start(client.clone(), MANAGED_CLUSTERS.clone(), selection);
        let selection = Selection::all().with_labels(format!("{CLUSTER_LABEL}={cluster}"));
        let requests = Reflector::<Request>::start(client.clone(), SIGNING_REQUESTS.clone(), selection);
        let mut watch = Watch { session, client, cluster, anybody: self.skip_approve_check, doubted: Vec::new() };
        let working = async {
            let (mut cluster_changes, mut request_changes) = (clusters.subscribe(), requests.subscribe());
            clusters.synced().await;
            requests.synced().await;
            loop {
                let held = clusters.get(&name);
                let pending: Vec<_> = requests.all();
                watch.consent(held.as_deref(), pending.iter().map(AsRef::as_ref)).await?;
                if held.is_some_and(|held| held.is(JOINED) && held.is(AVAILABLE)) || self.timeout == 0 {
                    return Ok(());
                }
                tokio::select! {
                    _ = cluster_changes.next() => {}
                    _ = request_changes.next() => {}
                }
            }
        };
        let limit = Duration::from_secs(if self.timeout == 0 { 30 } else { self.timeout });
        match tokio::time::timeout(limit, working).await {
            Ok(done) => done,
            Err(_) => {
                let why = match clusters.error().or_else(|| requests.error()) {
                    Some(error) => error.to_string(),
                    None => standing(clusters.get(&name).as_deref()).to_owned(),
                };
                let doubted = match watch.doubted.as_slice() {
                    [] => String::new(),
                    names => format!("; requests that were not approved: {}", names.join(", ")),
                };
                Err(Error::new(format!(
                    "cluster {cluster} is not available after {} s: {why}{doubted}",
                    limit.as_secs()
                ))
                .hint(format!("is its agent running? kubestellar agent --cluster-name {cluster} ...")))
            }
        }
    }
}

struct Watch<'a> {
    session: &'a Session,
    client: &'a Client,
    cluster: &'a str,
    anybody: bool,
    doubted: Vec<String>,
}

impl Watch<'_> {
    /// Gives both consents, as far as they are missing.
    async fn consent(
        &mut self,
        cluster: Option<&ManagedCluster>,
        requests: impl Iterator<Item = &Request>,
    ) -> Result<()> {
        if cluster.is_some_and(|cluster| !cluster.spec.hub_accepts_client) {
            let patch = Patch::Merge(json!({"spec": {"hubAcceptsClient": true}}));
            let name = ObjectName::cluster(self.cluster);
            self.client.patch::<Object>(&MANAGED_CLUSTERS, &name, &patch).await?;
        }
        for request in requests {
            let name = &request.metadata.name;
            match judge(request, self.cluster, self.anybody) {
                Verdict::Leave => {}
                Verdict::Approve => self.approve(name).await?,
                Verdict::Doubt => self.doubt(
                    name,
                    &format!(
                        "request {name} by {} is not approved: that is neither a bootstrap identity nor the cluster; \
                         --skip-approve-check approves it",
                        request.spec.username
                    ),
                ),
                Verdict::Elsewhere(why) => self.doubt(name, &format!("request {name} is not approved: {why}")),
                Verdict::Foreign(asked) => self.doubt(
                    name,
                    &format!(
                        "request {name} by {} is not approved: it asks for {asked}, which is not an agent of cluster {}",
                        request.spec.username, self.cluster
                    ),
                ),
            }
        }
        Ok(())
    }

    /// Says once that a request is not approved.
    fn doubt(&mut self, name: &String, why: &str) {
        if !self.doubted.contains(name) {
            self.doubted.push(name.clone());
            self.session.output.line(format!("  {why}"));
        }
    }

    async fn approve(&self, name: &str) -> Result<()> {
        let now = self.session.now();
        let object = ObjectName::cluster(name);
        let approved =
            self.client.edit_subresource(&SIGNING_REQUESTS, &object, "approval", |request| add_approval(request, now));
        match approved.await {
            // It has gone meanwhile: requests are cleaned up once they are used.
            Err(error) if error.is_not_found() => Ok(()),
            done => done.map(drop).map_err(Error::from),
        }
    }
}

/// Adds the condition `Approved`, unless somebody has decided meanwhile.
fn add_approval(request: &mut Object, now: Timestamp) {
    let status = request.0.entry("status").or_insert_with(|| json!({}));
    let held: Vec<Value> = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    if held.iter().any(|condition| matches!(condition["type"].as_str(), Some("Approved" | "Denied"))) {
        return;
    }
    let mut conditions = Vec::new();
    let message = "This request was approved by kubestellar accept";
    set_condition(
        &mut conditions,
        Condition::new("Approved", ConditionStatus::True, "KubeStellarAccept", message),
        now,
    );
    let mut approval = json!(conditions[0]);
    approval["lastUpdateTime"] = now.to_string().into();
    status["conditions"] = held.into_iter().chain([approval]).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(value: Value) -> Request {
        serde_json::from_value(value).unwrap()
    }

    const AGENT: &str = "system:open-cluster-management:c1:a";
    const GROUPS: [&str; 2] = ["system:open-cluster-management:c1", "system:open-cluster-management:managed-clusters"];

    /// The text of a real PKCS #10 request.
    fn asking(common_name: &str, organizations: &[&str]) -> String {
        let organizations = organizations.iter().map(|&group| group.to_owned()).collect();
        let subject = pki::Subject { common_name: common_name.into(), organizations };
        STANDARD.encode(pki::new_request(&pki::PrivateKey::generate().unwrap(), &subject, &[]).unwrap())
    }

    #[test]
    fn who_may_have_a_certificate() {
        let pem = asking(AGENT, &GROUPS);
        let by = |username: &str, groups: &[&str]| {
            request(json!({"spec": {"signerName": SIGNER, "request": pem, "username": username, "groups": groups}}))
        };
        let token = by("system:bootstrap:abcdef", &["system:bootstrappers", "system:authenticated"]);
        assert_eq!(judge(&token, "c1", false), Verdict::Approve);
        let tied = |group: &str| by("system:bootstrap:abcdef", &["system:bootstrappers", group]);
        assert_eq!(judge(&tied("system:bootstrappers:managedcluster:c1"), "c1", false), Verdict::Approve);
        let elsewhere = judge(&tied("system:bootstrappers:managedcluster:c2"), "c1", true);
        assert!(matches!(elsewhere, Verdict::Elsewhere(_)), "{elsewhere:?}");
        assert_eq!(judge(&by(BOOTSTRAP_ACCOUNT, &[]), "c1", false), Verdict::Approve);
        assert_eq!(judge(&by("system:open-cluster-management:c1:a", &[]), "c1", false), Verdict::Approve);
        assert_eq!(judge(&by("system:open-cluster-management:c2:a", &[]), "c1", false), Verdict::Doubt);
        assert_eq!(judge(&by("mallory", &["system:authenticated"]), "c1", false), Verdict::Doubt);
        assert_eq!(judge(&by("mallory", &[]), "c1", true), Verdict::Approve);
        let mut denied = token.clone();
        denied.status.conditions = Some(vec![json!({"type": "Denied"})]);
        assert_eq!(judge(&denied, "c1", true), Verdict::Leave);
        let mut serving = token;
        serving.spec.signer_name = "kubernetes.io/kubelet-serving".into();
        assert_eq!(judge(&serving, "c1", true), Verdict::Leave);
        assert_eq!(judge(&request(json!({})), "c1", true), Verdict::Leave);
    }

    #[test]
    fn what_may_be_asked_for() {
        #[track_caller]
        fn check(text: &str, approved: bool) {
            let spec = json!({"signerName": SIGNER, "request": text, "groups": ["system:bootstrappers"]});
            for anybody in [false, true] {
                let seen = judge(&request(json!({"spec": spec})), "c1", anybody);
                let foreign = matches!(seen, Verdict::Foreign(_));
                assert_eq!((seen == Verdict::Approve, foreign), (approved, !approved), "{seen:?}");
            }
        }
        let other = "system:open-cluster-management:c2";
        check(&asking(AGENT, &GROUPS), true);
        check(&asking(AGENT, &GROUPS[..1]), true);
        check(&asking(AGENT, &GROUPS[1..]), false);
        check(&asking(AGENT, &[]), false);
        check(&asking(AGENT, &[other]), false);
        check(&asking(AGENT, &[GROUPS[0], other]), false);
        check(&asking(AGENT, &[GROUPS[0], "system:masters"]), false);
        check(&asking("system:open-cluster-management:c2:a", &[other, GROUPS[1]]), false);
        check(&asking("system:open-cluster-management:c1:", &GROUPS), false);
        check(&asking("system:open-cluster-management:c1:a:b", &GROUPS), false);
        check(&asking("system:kube-controller-manager", &[]), false);
        check(&asking("system:kube-controller-manager", &GROUPS), false);
        check("", false);
        check("!", false);
        check(&STANDARD.encode("-----BEGIN CERTIFICATE REQUEST-----"), false);
    }

    #[test]
    fn approval_is_given_once() {
        let now = Timestamp::from_seconds(0);
        let mut object = Object::new("certificates.k8s.io/v1", "CertificateSigningRequest", &ObjectName::cluster("r"));
        add_approval(&mut object, now);
        let once = object.clone();
        add_approval(&mut object, Timestamp::from_seconds(9));
        assert_eq!(object, once);
        let condition = object.pointer("/status/conditions/0").unwrap();
        assert_eq!((&condition["type"], &condition["status"]), (&json!("Approved"), &json!("True")));
        assert_eq!(condition["lastUpdateTime"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn how_far_a_cluster_is() {
        let with = |types: &[&str]| {
            let conditions: Vec<Value> = types.iter().map(|type_| json!({"type": type_, "status": "True"})).collect();
            serde_json::from_value::<ManagedCluster>(json!({"status": {"conditions": conditions}})).unwrap()
        };
        assert_eq!(standing(None), "its agent has not asked yet");
        assert_eq!(standing(Some(&with(&[]))), "not accepted by the hub yet");
        assert_eq!(standing(Some(&with(&[ACCEPTED]))), "accepted, but its agent has not joined");
        assert_eq!(standing(Some(&with(&[ACCEPTED, JOINED, AVAILABLE]))), "available");
        assert!(serde_json::from_value::<ManagedCluster>(json!({"status": {"conditions": null}})).is_ok());
    }
}
