//! Bootstrap tokens: which clusters they may bring in, and when they go.
//!
//! A token is a Secret in `kube-system`, in the format that Kubernetes documents. One of the group
//! `system:bootstrappers:managedcluster:CLUSTER` is for that cluster; one without such a group may bring in any new
//! cluster, as on any hub of Open Cluster Management.

use super::{SigningRequest, is_agent_of};
use api::cluster::{
    BOOTSTRAP_GROUP, CLIENT_SIGNER, CLUSTER_NAME_LABEL, REMOVE_ONCE_JOINED_ANNOTATION, bootstrap_group,
};
use api::{Object, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::time::Duration;

/// The name of whoever presents a bootstrap token begins so, and ends with the token's id.
pub const BOOTSTRAP_USER_PREFIX: &str = "system:bootstrap:";

/// The type of Secrets that are bootstrap tokens.
const TOKEN_TYPE: &str = "bootstrap.kubernetes.io/token";
/// The longest wait for the end of a token, so that a clock that was set forward is noticed.
const RECHECK: Duration = Duration::from_secs(3600);

/// Whether somebody of these groups may bring a cluster in, as far as their token goes: one that is for some clusters is
/// for no others.
///
/// # Errors
/// A text for the user.
pub fn may_register(groups: &[String], cluster: &str) -> Result<(), String> {
    let own = bootstrap_group(cluster);
    let mut tied = groups.iter().filter_map(|group| group.strip_prefix(BOOTSTRAP_GROUP)?.strip_prefix(':')).peekable();
    if tied.peek().is_none() || groups.contains(&own) {
        return Ok(());
    }
    let tied: Vec<&str> = tied.collect();
    Err(format!("this bootstrap token is for cluster {} only, not for {cluster:?}", tied.join(", ")))
}

/// Whether who makes a signing request may make it, as far as their token goes: one that is for some clusters may ask
/// for the certificate of an agent of these, and for nothing else.
///
/// # Errors
/// A text for the user.
pub fn may_request(request: &SigningRequest) -> Result<(), String> {
    let cluster = request.labels.get(CLUSTER_NAME_LABEL).map_or("", String::as_str);
    may_register(&request.groups, cluster)?;
    let tied = request.groups.iter().any(|group| *group == bootstrap_group(cluster));
    let agents = request.signer == CLIENT_SIGNER && is_agent_of(cluster, &request.common_name, &request.organizations);
    if tied && !agents {
        return Err(format!(
            "this bootstrap token may ask for the certificate of an agent of cluster {cluster} only, not for {:?} in {:?} \
             of {}",
            request.common_name, request.organizations, request.signer
        ));
    }
    Ok(())
}

/// A bootstrap token, as far as its end is concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootstrapToken {
    /// The part of its text before the dot.
    pub id: String,
    /// When it ends: never, if absent. One that cannot be read has passed: such a token opens nothing.
    pub expires: Option<Timestamp>,
    /// The cluster whose joining ends it.
    pub once_for: Option<String>,
}

impl BootstrapToken {
    /// Reads a Secret; nothing if it is no bootstrap token. The id is that of its name, by which it is found.
    pub fn read(secret: &Object) -> Option<Self> {
        if secret.0.get("type").and_then(Value::as_str) != Some(TOKEN_TYPE) {
            return None;
        }
        let datum = |key: &str| {
            let text = secret.0.get("data")?.get(key)?.as_str().filter(|text| !text.is_empty())?;
            Some(STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default())
        };
        let id = secret.name().strip_prefix("bootstrap-token-")?.to_owned();
        let expires = datum("expiration").map(|text| text.parse().unwrap_or_default());
        let once_for = secret.annotation(REMOVE_ONCE_JOINED_ANNOTATION).map(str::to_owned);
        Some(Self { id, expires, once_for })
    }
}

/// What has become of a token so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Nobody got a certificate with it.
    Unused,
    /// A certificate was issued to who presented it. It may not have arrived yet.
    Issued,
    /// The cluster has been heard since the certificate was issued.
    Heard,
}

/// What is to be done with a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It has no end.
    Stays,
    /// It is looked at again after this.
    StaysFor(Duration),
    /// It goes, for this reason.
    Goes(&'static str),
}

/// Decides what is to be done with a token.
pub fn fate(token: &BootstrapToken, used: Use, now: Timestamp) -> Fate {
    if used == Use::Heard && token.once_for.is_some() {
        return Fate::Goes("its cluster has a certificate of its own");
    }
    match token.expires {
        None => Fate::Stays,
        Some(end) if end <= now => Fate::Goes("it has expired"),
        Some(end) => {
            let left = Duration::from_micros(u64::try_from(end.micros() - now.micros()).unwrap_or(0));
            Fate::StaysFor(left.min(RECHECK))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ITS_WIDE: &str = "system:bootstrappers:managedcluster";
    const OF_C1: &str = "system:bootstrappers:managedcluster:c1";

    #[test]
    fn a_token_brings_in_what_it_is_for() {
        #[track_caller]
        fn check(groups: &[&str], cluster: &str, expected: bool) {
            let groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
            assert_eq!(may_register(&groups, cluster).is_ok(), expected, "{groups:?} {cluster}");
        }
        check(&[], "c1", true);
        check(&["system:bootstrappers", ITS_WIDE], "c1", true);
        check(&["system:bootstrappers", ITS_WIDE, OF_C1], "c1", true);
        check(&[OF_C1], "c2", false);
        check(&[OF_C1], "c", false);
        check(&[OF_C1], "", false);
        check(&[OF_C1, "system:bootstrappers:managedcluster:c2"], "c2", true);
        check(&["system:bootstrappers:managedcluster:"], "c1", false);
        check(&["system:bootstrappers:managedclusters"], "c1", true);
    }

    #[test]
    fn a_token_asks_for_the_certificate_of_its_cluster() {
        #[track_caller]
        fn check(groups: &[&str], (label, user, signer): (&str, &str, &str), expected: bool) {
            let request = SigningRequest {
                labels: [(CLUSTER_NAME_LABEL.to_owned(), label.to_owned())].into(),
                signer: signer.into(),
                groups: groups.iter().map(|&group| group.to_owned()).collect(),
                common_name: user.into(),
                organizations: vec!["system:open-cluster-management:c1".into()],
                ..SigningRequest::default()
            };
            assert_eq!(may_request(&request).is_ok(), expected, "{groups:?} {label} {user} {signer}");
        }
        let agent = "system:open-cluster-management:c1:a";
        check(&[ITS_WIDE, OF_C1], ("c1", agent, CLIENT_SIGNER), true);
        check(&[ITS_WIDE, OF_C1], ("c2", agent, CLIENT_SIGNER), false);
        check(&[ITS_WIDE, OF_C1], ("", agent, CLIENT_SIGNER), false);
        check(&[ITS_WIDE, OF_C1], ("c1", "system:open-cluster-management:c2:a", CLIENT_SIGNER), false);
        check(&[ITS_WIDE, OF_C1], ("c1", "mallory", CLIENT_SIGNER), false);
        check(&[ITS_WIDE, OF_C1], ("c1", agent, "kubernetes.io/kubelet-serving"), false);
        // Everybody else is judged when the request is decided.
        check(&[ITS_WIDE], ("c2", agent, CLIENT_SIGNER), true);
        check(&[], ("", "ann", "example.org/own"), true);
    }

    #[test]
    fn a_token_goes_when_it_has_ended_or_was_used() {
        let encode = |text: &str| STANDARD.encode(text);
        let secret = |expiration: &str, once: bool| -> Object {
            let annotations = if once { json!({REMOVE_ONCE_JOINED_ANNOTATION: "c1"}) } else { json!({}) };
            serde_json::from_value(json!({
                "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system", "annotations": annotations},
                "type": TOKEN_TYPE, "data": {"expiration": encode(expiration)},
            }))
            .unwrap()
        };
        #[track_caller]
        fn check(secret: &Object, used: Use, expected: Fate) {
            let token = BootstrapToken::read(secret).unwrap();
            assert_eq!(fate(&token, used, "2026-01-01T00:00:00Z".parse().unwrap()), expected, "{token:?}");
        }
        let soon = "2026-01-01T00:00:07Z";
        check(&secret(soon, false), Use::Unused, Fate::StaysFor(Duration::from_secs(7)));
        check(&secret("2026-02-01T00:00:00Z", false), Use::Unused, Fate::StaysFor(RECHECK));
        check(&secret("2026-01-01T00:00:00Z", false), Use::Unused, Fate::Goes("it has expired"));
        check(&secret("tomorrow", false), Use::Unused, Fate::Goes("it has expired"));
        check(&secret("", false), Use::Unused, Fate::Stays);
        check(&secret(soon, true), Use::Issued, Fate::StaysFor(Duration::from_secs(7)));
        check(&secret(soon, true), Use::Heard, Fate::Goes("its cluster has a certificate of its own"));
        // A token for many clusters is not ended by one.
        check(&secret(soon, false), Use::Heard, Fate::StaysFor(Duration::from_secs(7)));
        let mut other = secret(soon, true);
        other.0.insert("type".into(), "Opaque".into());
        assert_eq!(BootstrapToken::read(&other), None);
    }
}
