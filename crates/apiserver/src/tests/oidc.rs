//! Tokens of an issuer that a space trusts, with one that listens on a socket.

use super::webhooks::Listener;
use super::*;
use crate::tokens::TokenKey;
use base64::Engine;
use std::time::Duration;

const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const SECRET: &str = "/api/v1/namespaces/kube-system/secrets/authentication-config";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// An issuer whose keys can be replaced.
async fn issuer(key: &Arc<parking_lot::Mutex<TokenKey>>) -> Listener {
    let url: Arc<parking_lot::Mutex<String>> = Arc::default();
    let (own, key) = (Arc::clone(&url), Arc::clone(key));
    let listener = Listener::start(move |asked| {
        let base = own.lock().clone();
        Some(match asked["path"].as_str().unwrap() {
            "/hook/.well-known/openid-configuration" => json!({"issuer": base, "jwks_uri": format!("{base}/keys")}),
            "/hook/keys" => key.lock().jwks(),
            other => panic!("{other} is asked for"),
        })
    })
    .await;
    *url.lock() = listener.url.clone();
    listener
}

fn configuration(listener: &Listener, more: &str) -> Value {
    let engine = base64::engine::general_purpose::STANDARD;
    let pem = String::from_utf8(engine.decode(&listener.authorities).unwrap()).unwrap();
    let pem = pem.replace('\n', "\n        ");
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n    url: {}\n    \
         audiences: [space]\n    certificateAuthority: |\n        {pem}\n  claimMappings:\n    username: {{claim: sub, \
         prefix: 'o:'}}\n    groups: {{claim: groups, prefix: 'o:'}}\n{more}",
        listener.url
    );
    json!({"metadata": {"name": "authentication-config"}, "stringData": {"config.yaml": text}})
}

#[tokio::test]
async fn a_trusted_issuer_names_users() {
    let world = World::new();
    let key = Arc::new(parking_lot::Mutex::new(TokenKey::generate().unwrap()));
    let listener = issuer(&key).await;
    let now = world.server.now().seconds();
    let claims =
        json!({"iss": listener.url, "aud": ["space", "other"], "sub": "ann", "groups": ["devs"], "exp": now + 900});
    let token = key.lock().sign(&claims).unwrap();
    let who = async |token: &str| world.server.identity_of_token(&world.space, token).await;
    assert_eq!(who(&token).await, None, "nobody is trusted yet");
    world.post(SECRETS, configuration(&listener, "")).await.is(201);
    let ann = who(&token).await.unwrap();
    assert_eq!((ann.user.as_str(), ann.groups), ("o:ann", vec!["o:devs".to_owned(), "system:authenticated".into()]));
    who(&token).await.unwrap();
    assert_eq!(listener.seen.lock().len(), 2, "keys are kept");
    let review = |audiences: Value| json!({"spec": {"token": token, "audiences": audiences}});
    let own = world.server.url(&world.space);
    let status = world.post(REVIEWS, review(json!(["other", own]))).await.is(201)["status"].clone();
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!([own])));
    let status = world.post(REVIEWS, review(json!(["space"]))).await.is(201)["status"].clone();
    assert_eq!(status["authenticated"], Value::Null, "it is for the space, whatever its issuer calls that");
    let elsewhere = SpaceName::from("s2");
    world.server.create_space(&elsewhere).unwrap();
    assert_eq!(world.server.identity_of_token(&elsewhere, &token).await, None, "each space trusts for itself");
    world.delete(SECRET).await.is(200);
    assert_eq!(who(&token).await, None);
}

#[tokio::test]
async fn what_is_not_good_is_refused() {
    let world = World::new();
    let key = Arc::new(parking_lot::Mutex::new(TokenKey::generate().unwrap()));
    let listener = issuer(&key).await;
    let now = world.server.now().seconds();
    let signed = |more: Value| {
        let mut claims = json!({"iss": listener.url, "aud": "space", "sub": "ann", "exp": now + 3600, "nbf": now});
        for (key, value) in more.as_object().unwrap() {
            claims[key] = value.clone();
        }
        key.lock().sign(&claims).unwrap()
    };
    let rule = "  claimValidationRules: [{expression: \"claims.sub != 'eve'\", message: not eve}]\n";
    world.post(SECRETS, configuration(&listener, rule)).await.is(201);
    let who = async |token: &str| world.server.identity_of_token(&world.space, token).await.map(|held| held.user);
    for more in [
        json!({"exp": now - 1}),
        json!({"aud": "x"}),
        json!({"sub": "eve"}),
        json!({"iss": "https://other"}),
        json!({"groups": [7]}),
        json!({"nbf": now + 61}),
    ] {
        assert_eq!(who(&signed(more.clone())).await, None, "{more}");
    }
    assert_eq!(listener.seen.lock().len(), 0, "what is refused anyway costs no fetch");
    let good = signed(json!({}));
    assert_eq!(who(&good).await.as_deref(), Some("o:ann"));
    let mut forged = good.clone();
    forged.replace_range(good.len() - 4.., "AAAA");
    assert_eq!(who(&forged).await, None);
    for bad in ["", ".", "a.b.c", "e30.e30.e30"] {
        assert_eq!(who(bad).await, None, "{bad}");
    }
    // The issuer gets another key: it is fetched, but not for everybody who comes with a bad one.
    *key.lock() = TokenKey::generate().unwrap();
    let other = signed(json!({}));
    assert_eq!(who(&other).await, None, "asked in vain a moment ago");
    assert_eq!(listener.seen.lock().len(), 4);
    world.clock.advance(Duration::from_secs(11));
    assert_eq!(who(&other).await.as_deref(), Some("o:ann"));
    assert_eq!(who(&good).await, None, "its key was withdrawn");
    let broken = json!({"stringData": {"config.yaml": "kind: [AuthenticationConfiguration"}});
    world.patch(SECRET, "merge-patch+json", broken).await.is(200);
    assert_eq!(who(&other).await, None, "a configuration that cannot be read trusts nobody");
}
