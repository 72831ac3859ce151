//! Tokens of issuers that a space trusts (OpenID Connect). Which ones, its administrators say in the space itself: the
//! Secret `kube-system/authentication-config` holds an `AuthenticationConfiguration`, in the form that a stock server
//! reads from a file. A change of it holds at once.
//!
//! The keys of an issuer are fetched when its first token comes, and again when a token names a key that is not known:
//! after a token that this did not help, not for ten seconds, whoever sends what.

use crate::admission::webhooks::Hooks;
use crate::header::Header;
use crate::identity::Identity;
use crate::server::Server;
use crate::space::Space;
use crate::{Store, decode};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use machinery::authentication::{self, Issuer};
use p521::ecdsa::signature::Verifier;
use parking_lot::Mutex;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::Value;
use std::sync::Arc;
use store::{Key, Revision};

/// Where the configuration is.
const NAMESPACE: &str = "kube-system";
const SECRET: &str = "authentication-config";
const FIELD: &str = "config.yaml";

/// How long an issuer may take to answer, in seconds.
const SECONDS_MAX: u64 = 10;
/// Seconds before an issuer is asked for its keys again that were of no use.
const PAUSE_SECONDS: i64 = 10;
/// Seconds after which keys are fetched anew: one that was withdrawn is good for no longer.
const KEPT_SECONDS: i64 = 600;
/// The most keys of one issuer.
const KEYS_MAX: usize = 64;
/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// What a token may be signed by.
const ALGORITHMS: [&str; 9] = ["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

/// The issuers that a space trusts.
#[derive(Default)]
pub(crate) struct Trust {
    /// As of a revision of the Secret.
    held: Mutex<Option<(Revision, Arc<Vec<Trusted>>)>>,
}

struct Trusted {
    issuer: Issuer,
    /// Held while they are fetched, so that one fetch serves all who wait.
    keys: tokio::sync::Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    /// When they were last asked for, in seconds.
    asked: Option<i64>,
    /// When they were last asked for without finding the key of a token.
    in_vain: Option<i64>,
    keys: Vec<PublicKey>,
    /// Why they could not be had.
    failed: Option<String>,
}

struct PublicKey {
    id: String,
    material: Material,
}

enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point of the curve of this algorithm.
    Curve {
        algorithm: &'static str,
        point: Vec<u8>,
    },
}

impl PublicKey {
    /// Reads a key of a set; `None` for those that sign nothing that is understood here.
    fn read(key: &Value) -> Option<Self> {
        let bytes = |field: &str| URL_SAFE_NO_PAD.decode(key[field].as_str()?.trim_end_matches('=')).ok();
        if key["use"].as_str().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let material = match (key["kty"].as_str()?, key["crv"].as_str()) {
            ("RSA", _) => {
                let n = bytes("n")?;
                let begin = n.iter().position(|byte| *byte != 0)?;
                Material::Rsa { n: n[begin..].to_vec(), e: bytes("e")? }
            }
            ("EC", Some(curve)) => {
                let (algorithm, size) = match curve {
                    "P-256" => ("ES256", 32),
                    "P-384" => ("ES384", 48),
                    "P-521" => ("ES512", 66),
                    _ => return None,
                };
                let (x, y) = (bytes("x")?, bytes("y")?);
                if x.len() != size || y.len() != size {
                    return None;
                }
                Material::Curve { algorithm, point: [&[4][..], &x, &y].concat() }
            }
            _ => return None,
        };
        Some(Self { id: key["kid"].as_str().unwrap_or("").to_owned(), material })
    }

    /// Whether the key has signed a text.
    fn has_signed(&self, algorithm: &str, text: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa { n, e } => {
                let parameters: &RsaParameters = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, text, signature).is_ok()
            }
            Material::Curve { algorithm: of_curve, .. } if *of_curve != algorithm => false,
            Material::Curve { algorithm: "ES384", point } => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(text, signature).is_ok()
            }
            Material::Curve { algorithm: "ES512", point } => {
                let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point);
                let signature = p521::ecdsa::Signature::from_slice(signature);
                key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify(text, &signature).is_ok()))
            }
            Material::Curve { point, .. } => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(text, signature).is_ok()
            }
        }
    }
}

impl Trusted {
    /// Whether the issuer has signed a token.
    async fn has_signed(&self, hooks: &Hooks, now: i64, token: &str, head: &Value) -> Result<(), String> {
        let (text, signature) = token.rsplit_once('.').ok_or("oidc: malformed jwt")?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "oidc: malformed jwt signature")?;
        let algorithm = head["alg"].as_str().unwrap_or("");
        let wanted = head["kid"].as_str();
        let mut keys = self.keys.lock().await;
        let good = |keys: &Keys| {
            let fits = |key: &&PublicKey| wanted.is_none_or(|wanted| key.id == wanted);
            keys.keys.iter().filter(fits).any(|key| key.has_signed(algorithm, text.as_bytes(), &signature))
        };
        if !ALGORITHMS.contains(&algorithm) {
            let known = ALGORITHMS.map(|known| format!("{known:?}")).join(" ");
            return Err(format!(
                "oidc: verify token: oidc: id token signed with unsupported algorithm, expected [{known}] got {algorithm:?}"
            ));
        }
        let age = keys.asked.map(|asked| now - asked);
        let is_fresh = age.is_some_and(|age| (0..KEPT_SECONDS).contains(&age));
        if is_fresh && good(&keys) {
            return Ok(());
        }
        if keys.in_vain.is_none_or(|in_vain| !(0..PAUSE_SECONDS).contains(&(now - in_vain))) {
            // Until it turns out that this was of use, nobody asks again.
            keys.in_vain = Some(now);
            keys.asked = Some(now);
            match self.fetch(hooks).await {
                Ok(fetched) => *keys = Keys { keys: fetched, failed: None, ..*keys },
                Err(why) => {
                    tracing::warn!(issuer = %self.issuer.url, %why, "the keys of an issuer cannot be had");
                    keys.failed = Some(why);
                    if !is_fresh {
                        keys.keys.clear();
                    }
                }
            }
        }
        if good(&keys) {
            keys.in_vain = None;
            return Ok(());
        }
        match &keys.failed {
            Some(why) => Err(format!("oidc: verify token: failed to verify signature: fetching keys {why}")),
            None => Err("oidc: verify token: failed to verify signature: failed to verify id token signature".into()),
        }
    }

    async fn fetch(&self, hooks: &Hooks) -> Result<Vec<PublicKey>, String> {
        let authorities = match self.issuer.authorities.as_str() {
            "" => String::new(),
            pem => STANDARD.encode(pem),
        };
        let document = hooks.client.get(&self.issuer.discovery, &authorities, SECONDS_MAX).await?;
        if document["issuer"] != *self.issuer.url {
            let said = document["issuer"].as_str().unwrap_or("");
            return Err(format!("oidc: issuer did not match, expected {:?} got {said:?}", self.issuer.url));
        }
        let keys = document["jwks_uri"].as_str().ok_or("oidc: the discovery document names no jwks_uri")?;
        let set = hooks.client.get(keys, &authorities, SECONDS_MAX).await?;
        let listed = set["keys"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(listed.iter().filter_map(PublicKey::read).take(KEYS_MAX).collect())
    }
}

impl Trust {
    /// The issuers as they are configured now. What cannot be read trusts nobody.
    fn current(&self, store: &Store, space: &Space) -> Option<Arc<Vec<Trusted>>> {
        let key: Key = space.key(&Arc::from("secrets"), NAMESPACE, SECRET);
        let Some(entry) = store.get(&key) else {
            *self.held.lock() = None;
            return None;
        };
        let mut held = self.held.lock();
        if let Some((_, issuers)) = held.as_ref().filter(|(revision, _)| *revision == entry.modified) {
            return Some(Arc::clone(issuers));
        }
        let issuers = read(&entry).unwrap_or_else(|why| {
            tracing::error!(space = %space.name, %why, "the configuration of issuers in {NAMESPACE}/{SECRET} is not used");
            Vec::new()
        });
        let trusted = issuers.into_iter().map(|issuer| Trusted { issuer, keys: tokio::sync::Mutex::default() });
        let issuers = Arc::new(trusted.collect::<Vec<_>>());
        *held = Some((entry.modified, Arc::clone(&issuers)));
        Some(issuers)
    }
}

fn read(entry: &store::Entry<Header>) -> Result<Vec<Issuer>, String> {
    let secret: Value = serde_json::from_slice(&entry.value).map_err(|error| error.to_string())?;
    let text = secret["data"][FIELD].as_str().ok_or_else(|| format!("it has no {FIELD}"))?;
    let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
    authentication::issuers(&decode::yaml(&bytes)?.value)
}

/// Who holds a token of an issuer that the space trusts; `None` if it is of no such issuer, or the space is none of the
/// audiences that are wanted: such a token is for the space, and for nobody else.
pub(crate) async fn identity(
    server: &Server,
    space: &Arc<Space>,
    token: &str,
    audiences: &[String],
) -> Option<Result<(Identity, Vec<String>), String>> {
    let trusted = space.trust.current(server.store(), space)?;
    let ours = audiences.is_empty() || audiences.contains(&space.issuer);
    if !ours || token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (head, claims) = authentication::unverified(token, |part| URL_SAFE_NO_PAD.decode(part).ok())?;
    let claimed = claims["iss"].as_str()?;
    let trusted = trusted.iter().find(|trusted| trusted.issuer.url == claimed)?;
    Some(verified(server, space, trusted, token, (&head, &claims)).await)
}

async fn verified(
    server: &Server,
    space: &Space,
    trusted: &Trusted,
    token: &str,
    (head, claims): (&Value, &Value),
) -> Result<(Identity, Vec<String>), String> {
    let now = server.now().seconds();
    let claims = claims.as_object().ok_or("oidc: malformed jwt")?;
    // What is refused anyway costs no fetch.
    let user = trusted.issuer.user(claims, now)?;
    trusted.has_signed(&space.hooks, now, token, head).await?;
    let mut identity = Identity::authenticated(user.name, user.groups);
    identity.uid = user.uid;
    identity.extra = user.extra;
    Ok((identity, vec![space.issuer.clone()]))
}
