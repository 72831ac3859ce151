//! Issuers of tokens (OpenID Connect): their documents, the tokens that scripts ask for, and how the servers are told to
//! trust them.

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p521::ecdsa::SigningKey;
use p521::ecdsa::signature::Signer;
use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use ring::rsa;
use ring::signature::{self, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

/// `ring` makes no RSA keys. This one signs tokens of tests, and nothing else.
const RSA_KEY: &str = include_str!("issuer-rsa.pem");
/// How many keys `turning` has, one after the other.
const TURNS: usize = 3;
/// How long a token is good unless its claims say otherwise, in seconds.
const TOKEN_SECONDS: i64 = 3600;
/// Smaller times in claims are seconds from now.
const RELATIVE_MAX: i64 = 1_000_000_000;

/// What all issuers sign with, and which key `turning` shows.
pub(crate) struct Issuers {
    base: String,
    rsa: rsa::KeyPair,
    /// By name.
    curves: Vec<(String, Curve)>,
    turn: Mutex<usize>,
}

/// A key on a curve.
struct Curve {
    /// As a set of keys names it.
    curve: &'static str,
    algorithm: &'static str,
    pair: Pair,
}

enum Pair {
    Ring(Box<EcdsaKeyPair>),
    /// `ring` does not know this curve.
    P521(Box<SigningKey>),
}

impl Curve {
    fn generate(
        curve: &'static str,
        algorithm: &'static str,
        signing: &'static signature::EcdsaSigningAlgorithm,
    ) -> Result<Self> {
        let random = SystemRandom::new();
        let unusable = |_| anyhow!("no key for {algorithm} can be made");
        let document = EcdsaKeyPair::generate_pkcs8(signing, &random).map_err(unusable)?;
        let pair = EcdsaKeyPair::from_pkcs8(signing, document.as_ref(), &random)
            .map_err(|why| anyhow!("no key for {algorithm}: {why}"))?;
        Ok(Self { curve, algorithm, pair: Pair::Ring(Box::new(pair)) })
    }

    fn generate_p521() -> Result<Self> {
        let mut scalar = [0; 66];
        // Without its highest byte it is below the order of the curve.
        SystemRandom::new().fill(&mut scalar[1..]).map_err(|_| anyhow!("no random bytes"))?;
        let pair = Pair::P521(Box::new(SigningKey::from_slice(&scalar)?));
        Ok(Self { curve: "P-521", algorithm: "ES512", pair })
    }

    /// The two coordinates of the public key.
    fn point(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Ring(pair) => pair.public_key().as_ref()[1..].to_vec(),
            Pair::P521(pair) => pair.verifying_key().to_sec1_point(false).as_bytes()[1..].to_vec(),
        }
    }

    fn sign(&self, text: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Ring(pair) => Some(pair.sign(&SystemRandom::new(), text).ok()?.as_ref().to_vec()),
            Pair::P521(pair) => {
                let signature: p521::ecdsa::Signature = pair.try_sign(text).ok()?;
                Some(signature.to_bytes().to_vec())
            }
        }
    }

    fn public(&self, id: &str) -> Value {
        let point = self.point();
        let (x, y) = point.split_at(point.len() / 2);
        json!({"kty": "EC", "use": "sig", "kid": id, "crv": self.curve, "alg": self.algorithm,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
    }
}

impl Issuers {
    /// Makes their keys. `base` is where all are.
    pub(super) fn generate(base: &str) -> Result<Self> {
        let p256 = || Curve::generate("P-256", "ES256", &signature::ECDSA_P256_SHA256_FIXED_SIGNING);
        let mut curves = vec![
            ("p256".to_owned(), p256()?),
            ("p384".to_owned(), Curve::generate("P-384", "ES384", &signature::ECDSA_P384_SHA384_FIXED_SIGNING)?),
            ("p521".to_owned(), Curve::generate_p521()?),
            ("nobody".to_owned(), p256()?),
        ];
        for turn in 1..=TURNS {
            curves.push((format!("turn-{turn}"), p256()?));
        }
        let der = pki::pem_to_der("PRIVATE KEY", RSA_KEY)?;
        let rsa = rsa::KeyPair::from_pkcs8(&der).map_err(|why| anyhow!("the RSA key: {why}"))?;
        Ok(Self { base: base.to_owned(), rsa, curves, turn: Mutex::new(1) })
    }

    /// Lets `turning` show another key. Each server's script asks for it once.
    pub(crate) fn turn(&self, turn: usize) {
        *self.turn.lock() = turn;
    }

    /// What is at a path of an issuer: `NAME/.well-known/openid-configuration` or `NAME/keys`.
    pub(super) fn document(&self, path: &str) -> Option<Value> {
        let (name, rest) = path.split_once('/')?;
        let url = format!("{}/issuer/{name}", self.base);
        match rest {
            ".well-known/openid-configuration" => Some(json!({
                "issuer": url, "jwks_uri": format!("{url}/keys"), "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
            })),
            "keys" => Some(json!({"keys": self.published(name)})),
            _ => None,
        }
    }

    fn published(&self, issuer: &str) -> Vec<Value> {
        let turning = format!("turn-{}", self.turn.lock());
        let shown = |key: &str| match issuer {
            "turning" => key == turning,
            _ => !key.starts_with("turn-") && key != "nobody",
        };
        let mut keys: Vec<Value> =
            self.curves.iter().filter(|(name, _)| shown(name)).map(|(name, curve)| curve.public(name)).collect();
        if issuer != "turning" {
            let public = rsa::PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
            let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            keys.push(
                json!({"kty": "RSA", "use": "sig", "kid": "rsa", "n": number(&public.n), "e": number(&public.e)}),
            );
        }
        keys
    }

    /// A token. `order` is `ISSUER KEY/ALGORITHM [ID]`: the name of the issuer, the key with what it signs by, and what the
    /// token says of its key where that is not its name (`-`: nothing). `claims` are those that differ from what is usual;
    /// `null` leaves one out, and small times are seconds from now.
    ///
    /// # Errors
    /// If the order cannot be carried out.
    pub(crate) fn token(&self, order: &str, claims: &Value) -> Result<String> {
        let words: Vec<&str> = order.split_whitespace().collect();
        let [issuer, key, ref rest @ ..] = words[..] else {
            return Err(anyhow!("{order:?} is no ISSUER KEY/ALGORITHM"));
        };
        let (key, algorithm) = key.split_once('/').context("a key is KEY/ALGORITHM")?;
        let mut head = json!({"alg": algorithm, "typ": "JWT"});
        match rest.first() {
            Some(&"-") => {}
            id => head["kid"] = json!(id.unwrap_or(&key)),
        }
        let now = clock::system().now().seconds();
        let mut all = json!({"iss": format!("{}/issuer/{issuer}", self.base), "aud": "space", "sub": "ann", "iat": now,
            "exp": now + TOKEN_SECONDS});
        for (name, value) in claims.as_object().into_iter().flatten() {
            let is_time = matches!(name.as_str(), "exp" | "iat" | "nbf");
            match value.as_i64().filter(|seconds| is_time && seconds.abs() < RELATIVE_MAX) {
                _ if value.is_null() => drop(all.as_object_mut().map(|all| all.remove(name))),
                Some(seconds) => all[name] = json!(now + seconds),
                None => all[name] = value.clone(),
            }
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&head), part(&all));
        let signature = self.sign(key, algorithm, text.as_bytes())?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn sign(&self, key: &str, algorithm: &str, text: &[u8]) -> Result<Vec<u8>> {
        let failed = || anyhow!("{key} cannot sign by {algorithm}");
        if let Some((_, curve)) = self.curves.iter().find(|(name, _)| name == key) {
            return curve.sign(text).ok_or_else(failed);
        }
        let padding: &dyn signature::RsaEncoding = match (key, algorithm) {
            ("rsa", "RS256") => &signature::RSA_PKCS1_SHA256,
            ("rsa", "RS384") => &signature::RSA_PKCS1_SHA384,
            ("rsa", "RS512") => &signature::RSA_PKCS1_SHA512,
            ("rsa", "PS256") => &signature::RSA_PSS_SHA256,
            ("rsa", "PS384") => &signature::RSA_PSS_SHA384,
            ("rsa", "PS512") => &signature::RSA_PSS_SHA512,
            ("none", _) => return Ok(Vec::new()),
            _ => return Err(anyhow!("there is no key {key:?} that signs by {algorithm}")),
        };
        let mut signed = vec![0; self.rsa.public().modulus_len()];
        self.rsa.sign(padding, &SystemRandom::new(), text, &mut signed).map_err(|_| failed())?;
        Ok(signed)
    }
}

/// How a server is told whom to trust. `main` maps claims by name, `rules` has rules, `mapped` expressions.
pub(super) fn configuration(base: &str, authority: &str) -> Value {
    let issuer = |name: &str| {
        json!({"url": format!("{base}/issuer/{name}"), "audiences": ["space", "other"],
            "audienceMatchPolicy": "MatchAny", "certificateAuthority": authority})
    };
    let named = |claim: &str, prefix: &str| json!({"claim": claim, "prefix": prefix});
    json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [
        {"issuer": issuer("main"),
            "claimMappings": {"username": named("sub", "o:"), "groups": named("groups", "o:")}},
        {"issuer": issuer("turning"), "claimMappings": {"username": named("sub", "turning:")}},
        {"issuer": issuer("rules"),
            "claimMappings": {"username": named("email", ""), "groups": named("roles", ""), "uid": {"claim": "sub"}},
            "claimValidationRules": [
                {"claim": "team", "requiredValue": "x"},
                {"expression": "claims.exp - claims.iat <= 7200", "message": "it lasts too long"},
                {"expression": "claims.sub != 'mallory'"}],
            "userValidationRules": [
                {"expression": "!user.username.startsWith('eve')", "message": "not for eve"},
                {"expression": "user.groups.all(group, group != 'none')"}]},
        {"issuer": issuer("mapped"),
            "claimMappings": {
                "username": {"expression": "'m:' + claims.name.lowerAscii()"},
                "groups": {"expression": "claims.roles"},
                "uid": {"expression": "claims.sub"},
                "extra": [
                    {"key": "example.org/team", "valueExpression": "claims.team"},
                    {"key": "example.org/tags", "valueExpression": "has(claims.tags) ? claims.tags : []"}]}},
    ]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_the_claims_that_were_asked_for() {
        let issuers = Issuers::generate("https://peers").unwrap();
        let token = issuers.token("main p384/ES384 -", &json!({"exp": 10, "sub": null, "groups": ["a"]})).unwrap();
        let parts: Vec<Vec<u8>> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        let (head, claims): (Value, Value) =
            (serde_json::from_slice(&parts[0]).unwrap(), serde_json::from_slice(&parts[1]).unwrap());
        assert_eq!(head, json!({"alg": "ES384", "typ": "JWT"}));
        assert_eq!((&claims["iss"], &claims["groups"]), (&json!("https://peers/issuer/main"), &json!(["a"])));
        assert!(claims.get("sub").is_none() && claims["exp"].as_i64() > Some(RELATIVE_MAX));
        assert_eq!(parts[2].len(), 96);
        assert!(
            issuers.token("main p384", &json!({})).is_err() && issuers.token("main rsa/ES256", &json!({})).is_err()
        );
    }

    #[test]
    fn keys_turn() {
        let issuers = Issuers::generate("https://peers").unwrap();
        let ids = |name: &str| -> Vec<String> {
            let keys = issuers.document(&format!("{name}/keys")).unwrap();
            keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(
            (ids("turning"), ids("main")),
            (vec!["turn-1".into()], vec!["p256".into(), "p384".into(), "p521".into(), "rsa".into()])
        );
        issuers.turn(2);
        assert_eq!(ids("turning"), ["turn-2"]);
        assert!(issuers.document("main/other").is_none());
    }
}
