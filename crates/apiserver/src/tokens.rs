//! Tokens of service accounts: JWTs that a space signs with a key of its own, and the identities that they give there.

use crate::identity::Identity;
use crate::server::Server;
use crate::space::Space;
use api::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The claim that says which account a token is of.
const CLAIM: &str = "kubernetes.io";

/// The key that signs the tokens of a space: a P-256 key as PKCS #8. It is read when it is used, which is rare.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TokenKey(Vec<u8>);

/// What a token is bound to: it is good only as long as this is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bound {
    /// `pod`, `secret` or `node`.
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// An account and its incarnation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Account<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) uid: &'a str,
}

impl TokenKey {
    /// A new key; `None` if the machine's random source fails.
    pub(crate) fn generate() -> Option<Self> {
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).ok()?;
        Some(Self(key.as_ref().to_vec()))
    }

    /// Reads what [`TokenKey::to_text`] wrote.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let key = Self(STANDARD.decode(text).ok()?);
        key.pair().is_some().then_some(key)
    }

    pub(crate) fn to_text(&self) -> String {
        STANDARD.encode(&self.0)
    }

    fn pair(&self) -> Option<EcdsaKeyPair> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.0, &SystemRandom::new()).ok()
    }

    /// The public key as an uncompressed point: a byte that says so, x and y.
    fn point(&self) -> Option<Vec<u8>> {
        Some(self.pair()?.public_key().as_ref().to_vec())
    }

    fn id(point: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(point))
    }

    /// A token of these claims; `None` if the key is not usable.
    pub(crate) fn sign(&self, claims: &Value) -> Option<String> {
        let pair = self.pair()?;
        let head = json!({"alg": "ES256", "kid": Self::id(pair.public_key().as_ref())});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&head), part(claims));
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a token that this key signed.
    fn verify(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let part = |text: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok() };
        if part(head)?["alg"] != "ES256" {
            return None;
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.point()?);
        key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        part(claims)
    }

    /// The public key for others to check tokens with (`/openid/v1/jwks`).
    pub(crate) fn jwks(&self) -> Value {
        let Some(point) = self.point() else { return json!({"keys": []}) };
        let (x, y) = point[1..].split_at((point.len() - 1) / 2);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [{"use": "sig", "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": Self::id(&point),
            "x": text(x), "y": text(y)}]})
    }
}

/// A token for an account; `None` if the key is not usable. Without an end it is good as long as what it is bound to.
pub(crate) fn issue(
    key: &TokenKey,
    issuer: &str,
    audiences: &[String],
    account: &Account<'_>,
    bound: &[Bound],
    (now, end): (Timestamp, Option<Timestamp>),
) -> Option<String> {
    let mut about = Map::new();
    about.insert("namespace".into(), account.namespace.into());
    about.insert("serviceaccount".into(), json!({"name": account.name, "uid": account.uid}));
    for bound in bound {
        about.insert(bound.kind.into(), json!({"name": bound.name, "uid": bound.uid}));
    }
    let mut claims = json!({
        "iss": issuer, "aud": audiences, "iat": now.seconds(), "nbf": now.seconds(), "jti": crate::random::uid(),
        "sub": format!("system:serviceaccount:{}:{}", account.namespace, account.name), CLAIM: about});
    if let Some(end) = end {
        claims["exp"] = end.seconds().into();
    }
    key.sign(&claims)
}

/// Who holds a token of a space, and for which of the wanted audiences it is good; none wanted is the space itself.
///
/// # Errors
/// If it is not one, has ended, or is of what is gone; why, where there is more to say than that it is not good.
pub(crate) fn identity(
    server: &Server,
    space: &Arc<Space>,
    token: &str,
    audiences: &[String],
) -> Result<(Identity, Vec<String>), Option<String>> {
    let claims = space.tokens.verify(token).ok_or(None)?;
    let now = server.now().seconds();
    let ended = claims["exp"].as_i64().is_some_and(|end| end <= now);
    let begun = claims["nbf"].as_i64().is_none_or(|begin| begin <= now);
    if ended || !begun {
        return Err(None);
    }
    // Its issuer is this space, whatever address it had then: nobody else has the key. So a token for its issuer is for us.
    let issuer = claims["iss"].as_str().unwrap_or_default().to_owned();
    let ours = [issuer, space.issuer.clone(), server.url(&space.name)];
    let wanted = if audiences.is_empty() { &ours[..] } else { audiences };
    let held = claims["aud"].as_array().ok_or(None)?;
    let held: Vec<String> = held.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let good: Vec<String> = held.iter().filter(|audience| wanted.contains(audience)).cloned().collect();
    if good.is_empty() {
        let listed = |list: &[String]| list.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(" ");
        let wanted = if audiences.is_empty() { std::slice::from_ref(&space.issuer) } else { audiences };
        return Err(Some(format!(
            "token audiences [{}] is invalid for the target audiences [{}]",
            listed(&held),
            listed(wanted)
        )));
    }
    let identity = of_claims(server, space, &claims).ok_or(None)?;
    Ok((identity, good))
}

/// The identity that claims give, if all that they name is there.
fn of_claims(server: &Server, space: &Arc<Space>, claims: &Value) -> Option<Identity> {
    let about = &claims[CLAIM];
    let namespace = about["namespace"].as_str()?;
    let is_there = |resource: &str, namespace: &str, what: &Value| {
        let key = space.key(&Arc::from(resource), namespace, what["name"].as_str().unwrap_or(""));
        let held = server.store().get(&key);
        held.is_some_and(|held| Some(held.meta.uid.to_string().as_str()) == what["uid"].as_str())
    };
    let account = &about["serviceaccount"];
    // The node of a Pod is told, and need not be there: the Pod is what the token is bound to.
    let bound_to_node = about["pod"].is_null() && !about["node"].is_null();
    let whole = is_there("serviceaccounts", namespace, account)
        && (about["pod"].is_null() || is_there("pods", namespace, &about["pod"]))
        && (about["secret"].is_null() || is_there("secrets", namespace, &about["secret"]))
        && (!bound_to_node || is_there("nodes", "", &about["node"]));
    if !whole {
        return None;
    }
    let groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
    let mut identity = Identity::authenticated(claims["sub"].as_str()?, groups);
    identity.uid = account["uid"].as_str()?.into();
    let mut tell = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            identity.extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value.to_owned()]);
        }
    };
    tell("credential-id", claims["jti"].as_str().map(|id| format!("JTI={id}")).as_deref());
    for (kind, name, uid) in [("pod", "pod-name", "pod-uid"), ("node", "node-name", "node-uid")] {
        tell(name, about[kind]["name"].as_str());
        tell(uid, about[kind]["uid"].as_str());
    }
    Some(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_know_their_own() {
        let key = TokenKey::generate().unwrap();
        let same = TokenKey::from_text(&key.to_text()).unwrap();
        let other = TokenKey::generate().unwrap();
        let account = Account { namespace: "ns", name: "a", uid: "u" };
        let now = Timestamp::from_seconds(100);
        let token = issue(&key, "iss", &["aud".into()], &account, &[], (now, None)).unwrap();
        let claims = same.verify(&token).unwrap();
        assert_eq!(claims["sub"], "system:serviceaccount:ns:a");
        assert_eq!(other.verify(&token), None);
        let mut forged = token.clone();
        forged.replace_range(token.len() - 2.., "AA");
        assert_eq!(key.verify(&forged), None);
        for bad in ["", ".", "a.b", "a.b.c"] {
            assert_eq!(key.verify(bad), None, "{bad}");
        }
        assert_eq!(key.jwks()["keys"][0]["crv"], "P-256");
    }
}
