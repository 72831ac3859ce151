//! Who a request comes from: client certificates and bearer tokens of one space.

use crate::identity::Identity;
use api::{SpaceName, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pki::{Authority, Peer};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The common name of a space's certificate authority starts with this, and goes on with the space's name.
pub const AUTHORITY_PREFIX: &str = "space:";
/// The type of Secrets that hold bootstrap tokens, and where they are.
const BOOTSTRAP_TYPE: &str = "bootstrap.kubernetes.io/token";
/// Every bootstrap token is in this group; a token's extra groups must start with it and a colon.
const BOOTSTRAPPERS: &str = "system:bootstrappers";

/// A client certificate as it was presented in a handshake, before it is known which space is asked.
#[derive(Clone, Debug)]
pub struct Presented {
    peer: Peer,
    /// `X509SHA256=` and the hash of the certificate.
    fingerprint: String,
    /// The space whose authority issued it, and that authority's certificate (PEM): a credential of one space opens no
    /// other, not even one that took its name later.
    issuer: Option<(SpaceName, String)>,
}

impl Presented {
    /// Reads a certificate in DER and finds the space that issued it.
    pub fn read(der: &[u8], authority: impl Fn(&SpaceName) -> Option<Authority>) -> Option<Self> {
        let peer = Peer::from_der(der).ok()?;
        let space = peer.issuer.common_name.strip_prefix(AUTHORITY_PREFIX).map(SpaceName::from);
        let issuer = space.and_then(|space| {
            let authority = authority(&space).filter(|authority| authority.has_issued(der))?;
            Some((space, authority.certificate))
        });
        let hash: String = Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self { peer, fingerprint: format!("X509SHA256={hash}"), issuer })
    }

    /// The identity that the certificate gives in a space, if it gives one there. `current` is the authority that the
    /// space has now: a connection may be held for longer than a space lives.
    pub fn identity(&self, space: &SpaceName, current: &Authority, now: Timestamp) -> Option<Identity> {
        let (issuer, certificate) = self.issuer.as_ref()?;
        let issued = issuer == space && *certificate == current.certificate;
        let good = issued && self.peer.client && self.peer.is_valid_at(now);
        let subject = &self.peer.subject;
        if !good || subject.common_name.is_empty() {
            return None;
        }
        let mut identity = Identity::authenticated(subject.common_name.clone(), subject.organizations.clone());
        identity.extra.insert("authentication.kubernetes.io/credential-id".into(), vec![self.fingerprint.clone()]);
        Some(identity)
    }
}

/// A bootstrap token `ID.SECRET`: the name of the Secret in `kube-system` that must hold it, and the secret part.
pub fn bootstrap_token(token: &str) -> Option<(String, &str)> {
    let (id, secret) = token.split_once('.')?;
    let plain =
        |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (plain(id, 6) && plain(secret, 16)).then(|| (format!("bootstrap-token-{id}"), secret))
}

/// The identity that a bootstrap token gives, if the stored Secret (JSON) holds it, allows it to authenticate, is not
/// being deleted, and has not expired. An expiration that cannot be read has passed.
pub fn bootstrap_identity(secret: &Value, token: &str, now: Timestamp) -> Option<Identity> {
    let (_, given) = bootstrap_token(token)?;
    let (id, _) = token.split_once('.')?;
    let field = |key: &str| {
        let text = secret["data"][key].as_str()?;
        String::from_utf8(STANDARD.decode(text).ok()?).ok()
    };
    let held = field("token-secret")?;
    let usable = secret["type"] == BOOTSTRAP_TYPE && field("usage-bootstrap-authentication").as_deref() == Some("true");
    let expires = !secret["data"]["expiration"].as_str().unwrap_or_default().is_empty();
    let until = || field("expiration").and_then(|at| at.parse::<Timestamp>().ok());
    let expired = expires && until().is_none_or(|at| at <= now);
    let deleting = !secret["metadata"]["deletionTimestamp"].is_null();
    let named = field("token-id").as_deref() == Some(id);
    if !usable || expired || deleting || !named || !same(held.as_bytes(), given.as_bytes()) {
        return None;
    }
    let mut groups = vec![BOOTSTRAPPERS.to_owned()];
    for group in field("auth-extra-groups").unwrap_or_default().split(',').map(str::trim) {
        if group.strip_prefix(BOOTSTRAPPERS).is_some_and(|rest| rest.starts_with(':')) {
            groups.push(group.to_owned());
        }
    }
    Some(Identity::authenticated(format!("system:bootstrap:{id}"), groups))
}

/// Compares without telling by the time it takes where the first difference is.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use pki::{Subject, Usage, pem_to_der};
    use serde_json::json;
    use std::time::Duration;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_certificate_opens_one_space() {
        let now = Timestamp::from_seconds(1_795_382_640);
        let wds1 = Authority::generate("space:wds1", now, HOUR).unwrap();
        let wds2 = Authority::generate("space:wds2", now, HOUR).unwrap();
        let lookup = |space: &SpaceName| match space.as_str() {
            "wds1" => Some(wds1.clone()),
            "wds2" => Some(wds2.clone()),
            _ => None,
        };
        let subject = Subject { common_name: "ann".into(), organizations: vec!["g".into()] };
        let (pem, _) = wds1.issue_with_key(&subject, &[], Usage::Client, now, HOUR).unwrap();
        let presented = Presented::read(&pem_to_der("CERTIFICATE", &pem).unwrap(), lookup).unwrap();
        let ann = presented.identity(&"wds1".into(), &wds1, now).unwrap();
        assert_eq!((ann.user.as_str(), ann.is_in("g"), ann.is_in("system:authenticated")), ("ann", true, true));
        assert_eq!(presented.identity(&"wds2".into(), &wds2, now), None);
        let later = Timestamp::from_seconds(now.seconds() + 7200);
        assert_eq!(presented.identity(&"wds1".into(), &wds1, later), None);
        // The space was deleted and made anew while the connection was held.
        let successor = Authority::generate("space:wds1", now, HOUR).unwrap();
        assert_eq!(presented.identity(&"wds1".into(), &successor, now), None);
        // The same name, but signed by somebody else.
        let forger = Authority::generate("space:wds1", now, HOUR).unwrap();
        let (pem, _) = forger.issue_with_key(&subject, &[], Usage::Client, now, HOUR).unwrap();
        let presented = Presented::read(&pem_to_der("CERTIFICATE", &pem).unwrap(), lookup).unwrap();
        assert_eq!(presented.identity(&"wds1".into(), &wds1, now), None);
        // A server's certificate is no credential.
        let (pem, _) = wds1.issue_with_key(&subject, &[], Usage::Server, now, HOUR).unwrap();
        let presented = Presented::read(&pem_to_der("CERTIFICATE", &pem).unwrap(), lookup).unwrap();
        assert_eq!(presented.identity(&"wds1".into(), &wds1, now), None);
    }

    #[test]
    fn bootstrap_tokens() {
        let now = Timestamp::from_seconds(1_795_382_640);
        let secret = |expiration: &str, usage: &str| {
            let encode = |text: &str| STANDARD.encode(text);
            json!({"type": BOOTSTRAP_TYPE, "data": {
                "token-id": encode("abcdef"), "token-secret": encode("0123456789abcdef"), "expiration": encode(expiration),
                "usage-bootstrap-authentication": encode(usage),
                "auth-extra-groups": encode("system:bootstrappers:managedcluster,system:masters")}})
        };
        let good = "abcdef.0123456789abcdef";
        let identity = bootstrap_identity(&secret("2030-01-01T00:00:00Z", "true"), good, now).unwrap();
        assert_eq!(identity.user, "system:bootstrap:abcdef");
        assert!(identity.is_in("system:bootstrappers:managedcluster") && !identity.is_in("system:masters"));
        assert_eq!(bootstrap_identity(&secret("2020-01-01T00:00:00Z", "true"), good, now), None);
        assert_eq!(bootstrap_identity(&secret("2030-01-01T00:00:00Z", "false"), good, now), None);
        assert_eq!(bootstrap_identity(&secret("2030-01-01T00:00:00Z", "true"), "abcdef.0123456789abcdee", now), None);
        // An expiration that cannot be read has passed; one that is empty is none.
        assert_eq!(bootstrap_identity(&secret("tomorrow", "true"), good, now), None);
        let mut unreadable = secret("2030-01-01T00:00:00Z", "true");
        unreadable["data"]["expiration"] = json!("not base64!");
        assert_eq!(bootstrap_identity(&unreadable, good, now), None);
        assert!(bootstrap_identity(&secret("", "true"), good, now).is_some());
        let mut deleting = secret("2030-01-01T00:00:00Z", "true");
        deleting["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(bootstrap_identity(&deleting, good, now), None);
        let other = "fedcba.0123456789abcdef";
        assert_eq!(bootstrap_identity(&secret("2030-01-01T00:00:00Z", "true"), other, now), None);
        assert_eq!(bootstrap_token("abcdef.short"), None);
        assert_eq!(bootstrap_token(good).unwrap().0, "bootstrap-token-abcdef");
    }
}
