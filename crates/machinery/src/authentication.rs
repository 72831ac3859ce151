//! Tokens that others issue: the `AuthenticationConfiguration` of a space, and the identities that claims give by it.

use crate::cel::limits::OBJECT_COST_MAX;
use crate::cel::{Declarations, Map as CelMap, Meter, Program, Scope, Type, Value as Cel};
use crate::field::{list_at, object_at, objects_at, text_at};
use api::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

type Fields = Map<String, Value>;

/// Issuers that a space may trust: each is asked for its keys over the network.
pub const ISSUERS_MAX: usize = 64;

/// Names and groups that begin so are given by a space itself, and by nobody else.
const RESERVED: &str = "system:";

/// How much later than now a token may begin to be good, in seconds: clocks differ.
const LEEWAY_SECONDS: i64 = 60;

/// Where an identity says which token named it.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// One issuer of tokens, and what is made of its claims.
#[derive(Debug)]
pub struct Issuer {
    /// What tokens say in `iss`.
    pub url: String,
    /// Where its discovery document is.
    pub discovery: String,
    /// PEM of the authorities that may sign its certificate; the system's if empty.
    pub authorities: String,
    audiences: Vec<String>,
    username: Source,
    groups: Option<Source>,
    uid: Option<Source>,
    extra: Vec<(String, Expression)>,
    required: Vec<(String, String)>,
    claim_rules: Vec<(Expression, String)>,
    user_rules: Vec<(Expression, String)>,
}

/// A compiled expression, and its text: refusals quote it.
#[derive(Debug)]
struct Expression {
    source: String,
    program: Program,
}

/// Where a part of an identity comes from.
#[derive(Debug)]
enum Source {
    Claim { name: String, prefix: String },
    Expression(Expression),
}

/// Who a token says that its holder is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Reads an `AuthenticationConfiguration`.
///
/// # Errors
/// What is wrong with it. All of it is refused then: half of it might let in whom a rule was to keep out.
pub fn issuers(configuration: &Value) -> Result<Vec<Issuer>, String> {
    let fields = configuration.as_object().ok_or("it is not an object")?;
    let (version, kind) = (text_at(fields, "apiVersion"), text_at(fields, "kind"));
    let known = ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1"];
    if kind != "AuthenticationConfiguration" || !known.contains(&version) {
        return Err(format!("it is a {kind} of {version:?}, not an AuthenticationConfiguration of {:?}", known[0]));
    }
    if list_at(fields, "jwt").len() > ISSUERS_MAX {
        return Err(format!("jwt: at most {ISSUERS_MAX} issuers may be trusted"));
    }
    let mut out: Vec<Issuer> = Vec::new();
    for (index, jwt) in objects_at(fields, "jwt").enumerate() {
        let issuer = Issuer::read(jwt).map_err(|why| format!("jwt[{index}].{why}"))?;
        if out.iter().any(|held| held.url == issuer.url) {
            return Err(format!("jwt[{index}].issuer.url: Duplicate value: {:?}", issuer.url));
        }
        out.push(issuer);
    }
    Ok(out)
}

/// The claims of a token, unverified; `None` if it is no JWT. Never more than to find out whose token it may be.
pub fn unverified(token: &str, decode: impl Fn(&str) -> Option<Vec<u8>>) -> Option<(Value, Value)> {
    let mut parts = token.split('.');
    let (head, claims) = (parts.next()?, parts.next()?);
    let (_signature, None) = (parts.next()?, parts.next()) else { return None };
    let part = |text: &str| -> Option<Value> { serde_json::from_slice(&decode(text)?).ok() };
    Some((part(head)?, part(claims)?)).filter(|(head, claims)| head.is_object() && claims.is_object())
}

fn compiled(source: &str, declared: &Declarations, returns: &[Type], place: &str) -> Result<Expression, String> {
    let program = Program::compile(source, declared).map_err(|why| format!("{place}: compilation failed: {why}"))?;
    if program.result() != &Type::Dyn && !returns.contains(program.result()) {
        return Err(format!("{place}: must evaluate to {} but got {}", returns[0], program.result()));
    }
    Ok(Expression { source: source.to_owned(), program })
}

impl Source {
    fn read(mapping: &Fields, declared: &Declarations, returns: &[Type], place: &str) -> Result<Self, String> {
        match (text_at(mapping, "claim"), text_at(mapping, "expression")) {
            ("", "") => Err(format!("{place}: Required value: claim or expression is required")),
            ("", source) => compiled(source, declared, returns, &format!("{place}.expression")).map(Self::Expression),
            (name, "") => Ok(Self::Claim { name: name.to_owned(), prefix: text_at(mapping, "prefix").to_owned() }),
            _ => Err(format!("{place}: Invalid value: \"\": claim and expression can't both be set")),
        }
    }
}

/// The variables of an expression.
struct Variables<'a> {
    claims: &'a Fields,
    user: Option<&'a Fields>,
}

impl<'a> Scope<'a> for Variables<'a> {
    fn variable(&self, name: &str) -> Option<Cel<'a>> {
        match name {
            "claims" => Some(Cel::Map(CelMap::Json(self.claims, None))),
            "user" => Some(Cel::Map(CelMap::Json(self.user?, None))),
            _ => None,
        }
    }
}

impl Expression {
    fn evaluated(&self, claims: &Fields, user: Option<&Fields>) -> Result<Value, String> {
        let mut meter = Meter::new(OBJECT_COST_MAX);
        let value = self.program.evaluate(&Variables { claims, user }, &mut meter).map_err(|error| error.to_string());
        let value = value.and_then(|value| value.to_json().ok_or_else(|| "the result has no form as JSON".to_owned()));
        value.map_err(|why| format!("expression '{}' resulted in error: {why}", self.source))
    }

    fn texts(&self, claims: &Fields) -> Result<Vec<String>, String> {
        texts_of(self.evaluated(claims, None)?)
    }

    /// Whether a rule holds; why not otherwise.
    fn holds(&self, claims: &Fields, user: Option<&Fields>, message: &str) -> Result<(), String> {
        match self.evaluated(claims, user)? {
            Value::Bool(true) => Ok(()),
            Value::Bool(false) => Err(format!("validation expression '{}' failed: {message}", self.source)),
            _ => Err("validation expression must return a boolean".into()),
        }
    }
}

/// A text or a list of texts, those that are empty left out.
fn texts_of(value: Value) -> Result<Vec<String>, String> {
    let wrong = || "expression must return a string or a list of strings".to_owned();
    let mut texts = match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text],
        Value::Array(list) => {
            let texts = list.iter().map(|value| value.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or_else(wrong)?
        }
        _ => return Err(wrong()),
    };
    texts.retain(|text| !text.is_empty());
    Ok(texts)
}

/// What Go's JSON reader says of a claim of another type.
fn unfit(value: &Value, wanted: &str) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {found} into Go {wanted}")
}

/// A claim that is a text.
fn text_claim(claims: &Fields, name: &str) -> Result<String, String> {
    match claims.get(name) {
        None => Err("claim not present".into()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Null) => Ok(String::new()),
        Some(other) => Err(unfit(other, "value of type string")),
    }
}

/// A claim that is a text or a list of texts.
fn texts_claim(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(list) => {
            let texts = list.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>();
            texts.ok_or_else(|| unfit(value, "value of type string"))
        }
        other => Err(unfit(other, "value of type string")),
    }
}

/// A time as Go writes it.
fn shown_time(seconds: Option<f64>) -> String {
    match seconds {
        None => "0001-01-01 00:00:00 +0000 UTC".into(),
        Some(seconds) => {
            Timestamp::from_seconds(seconds as i64).to_string().replace('T', " ").replace('Z', " +0000 UTC")
        }
    }
}

impl Issuer {
    fn read(jwt: &Fields) -> Result<Self, String> {
        let url = text_at(jwt, "issuer.url");
        if !url.starts_with("https://") {
            return Err(format!("issuer.url: Invalid value: {url:?}: URL scheme must be https"));
        }
        let discovery = match text_at(jwt, "issuer.discoveryURL") {
            "" => format!("{}/.well-known/openid-configuration", url.trim_end_matches('/')),
            given if given.starts_with("https://") => given.to_owned(),
            given => return Err(format!("issuer.discoveryURL: Invalid value: {given:?}: URL scheme must be https")),
        };
        let audiences = list_at(object_at(jwt, "issuer").unwrap_or(&Fields::new()), "audiences")
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>();
        if audiences.is_empty() {
            return Err("issuer.audiences: Required value: at least one audience is required".into());
        }
        let declared = Declarations::default().with("claims", Type::map(Type::Dyn));
        let texts = [Type::list(Type::String), Type::String];
        let mapping = |name: &str, returns: &[Type]| match object_at(jwt, &format!("claimMappings.{name}")) {
            Some(mapping) if mapping.values().any(|value| value.as_str().is_some_and(|text| !text.is_empty())) => {
                Source::read(mapping, &declared, returns, &format!("claimMappings.{name}")).map(Some)
            }
            _ => Ok(None),
        };
        let username = mapping("username", &[Type::String])?;
        let username = username.ok_or("claimMappings.username: Required value: claim or expression is required")?;
        let mut extra = Vec::new();
        for row in objects_at(jwt, "claimMappings.extra") {
            let expression = compiled(text_at(row, "valueExpression"), &declared, &texts, "claimMappings.extra")?;
            extra.push((text_at(row, "key").to_owned(), expression));
        }
        let (mut required, mut claim_rules, mut user_rules) = (Vec::new(), Vec::new(), Vec::new());
        for rule in objects_at(jwt, "claimValidationRules") {
            match (text_at(rule, "claim"), text_at(rule, "expression")) {
                ("", "") => return Err("claimValidationRules: Required value: claim or expression is required".into()),
                ("", source) => {
                    let program = compiled(source, &declared, &[Type::Bool], "claimValidationRules.expression")?;
                    claim_rules.push((program, text_at(rule, "message").to_owned()));
                }
                (claim, _) => required.push((claim.to_owned(), text_at(rule, "requiredValue").to_owned())),
            }
        }
        let with_user = declared.clone().with("user", Type::map(Type::Dyn));
        for rule in objects_at(jwt, "userValidationRules") {
            let source = text_at(rule, "expression");
            let program = compiled(source, &with_user, &[Type::Bool], "userValidationRules.expression")?;
            user_rules.push((program, text_at(rule, "message").to_owned()));
        }
        Ok(Self {
            url: url.to_owned(),
            discovery,
            authorities: text_at(jwt, "issuer.certificateAuthority").to_owned(),
            audiences,
            username,
            groups: mapping("groups", &texts)?,
            uid: mapping("uid", &[Type::String])?,
            extra,
            required,
            claim_rules,
            user_rules,
        })
    }

    /// Whom verified claims name at a time, in seconds.
    ///
    /// # Errors
    /// Why nobody.
    pub fn user(&self, claims: &Fields, now: i64) -> Result<User, String> {
        self.valid(claims, now).map_err(|why| format!("oidc: verify token: oidc: {why}"))?;
        let prefixed = |why: String| format!("oidc: {why}");
        let mut user = self.named(claims).map_err(prefixed)?;
        user.extra = self.extra(claims)?;
        self.accepts(&user, claims).map_err(prefixed)?;
        Ok(user)
    }

    /// Whether a token is of the issuer, for one of its audiences, and good at this time.
    fn valid(&self, claims: &Fields, now: i64) -> Result<(), String> {
        if let Some(subject) = claims.get("sub").filter(|subject| !subject.is_string() && !subject.is_null()) {
            let why = unfit(subject, "struct field idToken.sub of type string");
            return Err(format!("failed to unmarshal claims: {why}"));
        }
        let issuer = text_at(claims, "iss");
        if issuer != self.url {
            let (wanted, got) = (&self.url, issuer);
            return Err(format!("id token issued by a different provider, expected {wanted:?} got {got:?}"));
        }
        let seconds = |name: &str| claims.get(name).and_then(Value::as_f64);
        let end = seconds("exp");
        if end.is_none_or(|end| end < now as f64) {
            return Err(format!("token is expired (Token Expiry: {})", shown_time(end)));
        }
        if let Some(begin) = seconds("nbf").filter(|begin| *begin > (now + LEEWAY_SECONDS) as f64) {
            let (now, begin) = (shown_time(Some(now as f64)), shown_time(Some(begin)));
            return Err(format!("current time {now} before the nbf (not before) time: {begin}"));
        }
        let held = claims.get("aud").map_or_else(Vec::new, |audiences| texts_claim(audiences).unwrap_or_default());
        if !held.iter().any(|audience| self.audiences.contains(audience)) {
            let listed = |texts: &[String]| texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(" ");
            let mut wanted = self.audiences.clone();
            wanted.sort_unstable();
            return Err(format!("expected audience in [{}] got [{}]", listed(&wanted), listed(&held)));
        }
        Ok(())
    }

    /// Name, groups and uid.
    fn named(&self, claims: &Fields) -> Result<User, String> {
        let name = self.name(claims)?;
        let groups = self.groups(claims)?;
        if let Some(reserved) = std::iter::once(&name).chain(&groups).find(|name| name.starts_with(RESERVED)) {
            return Err(format!("{reserved:?} is not an issuer's to give: names with {RESERVED:?} are reserved"));
        }
        let uid = match &self.uid {
            None => String::new(),
            Some(Source::Claim { name, .. }) => {
                text_claim(claims, name).map_err(|why| format!("parse uid claim {name:?}: {why}"))?
            }
            Some(Source::Expression(expression)) => text_of(expression, claims, "uid")?,
        };
        Ok(User { name, uid, groups, extra: BTreeMap::new() })
    }

    /// What else is said of the user. Its failures begin in words of their own, as in the stock server.
    fn extra(&self, claims: &Fields) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut extra = BTreeMap::new();
        if let Some(id) = claims.get("jti").and_then(Value::as_str) {
            extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={id}")]);
        }
        for (key, expression) in &self.extra {
            let values = texts_of(expression.evaluated(claims, None)?).map_err(|why| {
                format!("oidc: error evaluating extra claim expression: {}: {why}", expression.source)
            })?;
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        Ok(extra)
    }

    /// Whether the rules let the user in.
    fn accepts(&self, user: &User, claims: &Fields) -> Result<(), String> {
        for (claim, wanted) in &self.required {
            if !claims.contains_key(claim) {
                return Err(format!("required claim {claim} not present in ID token"));
            }
            let got = text_claim(claims, claim).map_err(|why| format!("parse claim {claim}: {why}"))?;
            if got != *wanted {
                return Err(format!("required claim {claim} value does not match. Got = {got}, want = {wanted}"));
            }
        }
        for (rule, message) in &self.claim_rules {
            let holds = rule.holds(claims, None, message);
            holds.map_err(|why| format!("error evaluating claim validation expression: {why}"))?;
        }
        let shown = json!({"username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra});
        for (rule, message) in &self.user_rules {
            let holds = rule.holds(claims, shown.as_object(), message);
            holds.map_err(|why| format!("error evaluating user info validation rule: {why}"))?;
        }
        Ok(())
    }

    fn name(&self, claims: &Fields) -> Result<String, String> {
        let (claim, prefix) = match &self.username {
            Source::Claim { name, prefix } => (name, prefix),
            Source::Expression(expression) => {
                let name = text_of(expression, claims, "username")?;
                return if name.is_empty() {
                    Err("empty username via CEL expression is not allowed".into())
                } else {
                    Ok(name)
                };
            }
        };
        let name = text_claim(claims, claim).map_err(|why| format!("parse username claims {claim:?}: {why}"))?;
        // An address that its issuer has not verified may be somebody else's.
        match claims.get("email_verified").filter(|_| claim == "email") {
            None | Some(Value::Bool(true)) => {}
            Some(Value::Bool(false) | Value::Null) => return Err("email not verified".into()),
            Some(other) => {
                return Err(format!("parse 'email_verified' claim: {}", unfit(other, "value of type bool")));
            }
        }
        match format!("{prefix}{name}") {
            name if name.is_empty() => Err("the token names nobody".into()),
            name => Ok(name),
        }
    }

    fn groups(&self, claims: &Fields) -> Result<Vec<String>, String> {
        match &self.groups {
            None => Ok(Vec::new()),
            Some(Source::Claim { name, prefix }) => {
                let Some(value) = claims.get(name) else { return Ok(Vec::new()) };
                let groups = texts_claim(value).map_err(|why| format!("parse groups claim {name:?}: {why}"))?;
                Ok(groups.into_iter().map(|group| format!("{prefix}{group}")).collect())
            }
            Some(Source::Expression(expression)) => {
                expression.texts(claims).map_err(|why| format!("error evaluating group claim expression: {why}"))
            }
        }
    }
}

/// What an expression gives for a part of an identity that is one text.
fn text_of(expression: &Expression, claims: &Fields, part: &str) -> Result<String, String> {
    let failed = |why: String| format!("error evaluating {part} claim expression: {why}");
    match expression.evaluated(claims, None).map_err(failed)? {
        Value::String(text) => Ok(text),
        _ => Err(failed(format!("{part} claim expression must return a string"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(more: &Value) -> Value {
        let mut jwt = json!({"issuer": {"url": "https://issuer", "audiences": ["us", "them"]},
            "claimMappings": {"username": {"claim": "sub", "prefix": "o:"}, "groups": {"claim": "groups", "prefix": ""}}});
        for (key, value) in more.as_object().unwrap() {
            jwt[key] = value.clone();
        }
        json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [jwt]})
    }

    #[track_caller]
    fn check(more: &Value, claims: &Value, expected: Result<(&str, &[&str]), &str>) {
        let issuer = issuers(&configuration(more)).unwrap().pop().unwrap();
        let mut all = json!({"iss": "https://issuer", "aud": "us", "exp": 200, "sub": "ann"});
        for (key, value) in claims.as_object().unwrap() {
            all[key] = value.clone();
        }
        let got = issuer.user(all.as_object().unwrap(), 100);
        let got =
            got.as_ref().map(|user| (user.name.as_str(), user.groups.iter().map(String::as_str).collect::<Vec<_>>()));
        match (got, expected) {
            (Ok((name, groups)), Ok(wanted)) => assert_eq!((name, groups.as_slice()), wanted),
            (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
            (got, expected) => panic!("{got:?} {expected:?}"),
        }
    }

    #[test]
    fn claims_give_an_identity() {
        let plain = json!({});
        check(&plain, &plain, Ok(("o:ann", &[])));
        check(&plain, &json!({"groups": ["a", "b"], "aud": ["x", "them"]}), Ok(("o:ann", &["a", "b"])));
        check(&plain, &json!({"groups": "a"}), Ok(("o:ann", &["a"])));
        check(&plain, &json!({"groups": [1]}), Err("cannot unmarshal array"));
        check(&plain, &json!({"exp": 99}), Err("expired"));
        check(&plain, &json!({"exp": null}), Err("expired"));
        check(&plain, &json!({"nbf": 161}), Err("not before"));
        check(&plain, &json!({"aud": "others"}), Err("expected audience"));
        check(&plain, &json!({"iss": "https://other"}), Err("different provider"));
        check(&plain, &json!({"sub": null}), Ok(("o:", &[])));
        check(&plain, &json!({"sub": 7}), Err("of type string"));
        check(&plain, &json!({"groups": ["system:masters"]}), Err("reserved"));
        let by_address = json!({"claimMappings": {"username": {"claim": "email", "prefix": ""}}});
        check(&by_address, &json!({"email": "a@b", "email_verified": true}), Ok(("a@b", &[])));
        check(&by_address, &json!({"email": "a@b", "email_verified": false}), Err("not verified"));
    }

    #[test]
    fn rules_and_expressions() {
        let rules = json!({"claimValidationRules": [{"claim": "team", "requiredValue": "x"},
            {"expression": "claims.exp - claims.iat <= 100", "message": "it lasts too long"}],
            "userValidationRules": [{"expression": "!user.username.startsWith('o:b')", "message": "not for you"}]});
        check(&rules, &json!({"team": "x", "iat": 100}), Ok(("o:ann", &[])));
        check(&rules, &json!({"iat": 100}), Err("required claim team"));
        check(&rules, &json!({"team": "x", "iat": 10}), Err("it lasts too long"));
        check(&rules, &json!({"team": "x"}), Err("no such key: iat"));
        check(&rules, &json!({"team": "x", "iat": 100, "sub": "bob"}), Err("not for you"));
        let made = json!({"claimMappings": {"username": {"expression": "'e:' + claims.sub"},
            "groups": {"expression": "claims.roles.split(',')"}}});
        check(&made, &json!({"roles": "a,b"}), Ok(("e:ann", &["a", "b"])));
    }

    #[test]
    fn bad_configurations() {
        let fails = |more: Value, part: &str| {
            let why = issuers(&configuration(&more)).unwrap_err();
            assert!(why.contains(part), "{why}");
        };
        fails(json!({"issuer": {"url": "http://issuer", "audiences": ["a"]}}), "jwt[0].issuer.url");
        fails(json!({"issuer": {"url": "https://issuer"}}), "issuer.audiences");
        fails(json!({"claimMappings": {}}), "claimMappings.username");
        fails(json!({"claimMappings": {"username": {"expression": "claims."}}}), "compilation failed");
        fails(json!({"claimMappings": {"username": {"expression": "1"}}}), "must evaluate to string");
        fails(json!({"userValidationRules": [{"expression": "nobody"}]}), "undeclared");
        assert!(issuers(&json!({"kind": "Other"})).unwrap_err().contains("AuthenticationConfiguration"));
    }
}
