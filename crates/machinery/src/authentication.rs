//! Tokens that others issue: the `AuthenticationConfiguration` of a space, and the identities that claims give by it.

use crate::cel::limits::OBJECT_COST_MAX;
use crate::cel::{Declarations, Map as CelMap, Meter, Program, Scope, Type, Value as Cel};
use crate::field::{list_at, object_at, objects_at, text_at};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

type Fields = Map<String, Value>;

/// Issuers that a space may trust: each is asked for its keys over the network.
pub const ISSUERS_MAX: usize = 64;

/// Names and groups that begin so are given by a space itself, and by nobody else.
const RESERVED: &str = "system:";

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
    extra: Vec<(String, Program)>,
    required: Vec<(String, String)>,
    claim_rules: Vec<(Program, String)>,
    user_rules: Vec<(Program, String)>,
}

/// Where a part of an identity comes from.
#[derive(Debug)]
enum Source {
    Claim { name: String, prefix: String },
    Expression(Program),
}

/// Who a token says that its holder is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
    /// Audiences of the token that the issuer is trusted for.
    pub audiences: Vec<String>,
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

fn compiled(source: &str, declared: &Declarations, returns: &[Type], place: &str) -> Result<Program, String> {
    let program = Program::compile(source, declared).map_err(|why| format!("{place}: compilation failed: {why}"))?;
    if program.result() != &Type::Dyn && !returns.contains(program.result()) {
        return Err(format!("{place}: must evaluate to {} but got {}", returns[0], program.result()));
    }
    Ok(program)
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

    /// The texts that it gives; none for a claim that is absent.
    fn texts(&self, claims: &Fields) -> Result<Vec<String>, String> {
        let (value, prefix) = match self {
            Self::Claim { name, prefix } => (claims.get(name).cloned().unwrap_or(Value::Null), prefix.as_str()),
            Self::Expression(program) => (evaluated(program, claims, None)?, ""),
        };
        let given = match value {
            Value::Null => Vec::new(),
            Value::String(text) => vec![text],
            Value::Array(list) => {
                let texts = list.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<_>>();
                texts.ok_or("a list of a claim holds what is no text")?
            }
            _ => return Err("a claim is neither a text nor a list of texts".into()),
        };
        Ok(given.into_iter().map(|text| format!("{prefix}{text}")).collect())
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

fn evaluated(program: &Program, claims: &Fields, user: Option<&Fields>) -> Result<Value, String> {
    let mut meter = Meter::new(OBJECT_COST_MAX);
    let value = program.evaluate(&Variables { claims, user }, &mut meter).map_err(|error| error.to_string())?;
    value.to_json().ok_or_else(|| "the result has no form as JSON".to_owned())
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
            let program = compiled(text_at(row, "valueExpression"), &declared, &texts, "claimMappings.extra")?;
            extra.push((text_at(row, "key").to_owned(), program));
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
        if claims.get("iss").and_then(Value::as_str) != Some(&self.url) {
            return Err("oidc: id token issued by a different provider".into());
        }
        let seconds = |name: &str| claims.get(name).and_then(Value::as_f64);
        if seconds("exp").is_none_or(|end| end <= now as f64) {
            return Err("oidc: verify token: oidc: token is expired".into());
        }
        if seconds("nbf").is_some_and(|begin| begin > now as f64) {
            return Err("oidc: verify token: oidc: current time is before the nbf (not before) time".into());
        }
        let held: Vec<&str> = match claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let good = |audience: &&str| self.audiences.iter().any(|wanted| wanted == audience);
        let audiences: Vec<String> = held.iter().copied().filter(good).map(str::to_owned).collect();
        if audiences.is_empty() {
            return Err(format!("oidc: verify token: oidc: expected audience in {:?} got {held:?}", self.audiences));
        }
        for (claim, wanted) in &self.required {
            if claims.get(claim).and_then(Value::as_str) != Some(wanted) {
                return Err(format!("oidc: required claim {claim} is not {wanted:?}"));
            }
        }
        for (rule, message) in &self.claim_rules {
            holds(rule, claims, None, message)?;
        }
        self.mapped(claims, audiences)
    }

    fn mapped(&self, claims: &Fields, audiences: Vec<String>) -> Result<User, String> {
        let one = |source: &Source| -> Result<String, String> {
            let texts = source.texts(claims)?;
            Ok(texts.into_iter().next().unwrap_or_default())
        };
        let name = one(&self.username).map_err(|why| format!("oidc: username: {why}"))?;
        if name.is_empty() {
            return Err("oidc: the token names nobody".into());
        }
        // An address that its issuer has not verified may be somebody else's.
        let of_email = matches!(&self.username, Source::Claim { name, .. } if name == "email");
        if of_email && claims.get("email_verified").is_some_and(|verified| *verified != Value::Bool(true)) {
            return Err("oidc: email not verified".into());
        }
        let groups = self.groups.as_ref().map(|source| source.texts(claims)).transpose();
        let groups = groups.map_err(|why| format!("oidc: groups: {why}"))?.unwrap_or_default();
        if let Some(reserved) = std::iter::once(&name).chain(&groups).find(|name| name.starts_with(RESERVED)) {
            return Err(format!("oidc: {reserved:?} is not an issuer's to give: names with {RESERVED:?} are reserved"));
        }
        let uid = self.uid.as_ref().map(one).transpose().map_err(|why| format!("oidc: uid: {why}"))?;
        let mut extra = BTreeMap::new();
        for (key, program) in &self.extra {
            let value = evaluated(program, claims, None).map_err(|why| format!("oidc: extra {key}: {why}"))?;
            let values: Vec<String> = match value {
                Value::String(text) if !text.is_empty() => vec![text],
                Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                _ => Vec::new(),
            };
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        let user = User { name, uid: uid.unwrap_or_default(), groups, extra, audiences };
        let shown = json!({"username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra});
        for (rule, message) in &self.user_rules {
            holds(rule, claims, shown.as_object(), message)?;
        }
        Ok(user)
    }
}

fn holds(rule: &Program, claims: &Fields, user: Option<&Fields>, message: &str) -> Result<(), String> {
    match evaluated(rule, claims, user) {
        Ok(Value::Bool(true)) => Ok(()),
        Ok(_) if message.is_empty() => Err("oidc: a validation rule does not hold".into()),
        Ok(_) => Err(format!("oidc: {message}")),
        Err(why) => Err(format!("oidc: a validation rule failed: {why}")),
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
        check(&plain, &json!({"groups": [1]}), Err("no text"));
        check(&plain, &json!({"exp": 100}), Err("expired"));
        check(&plain, &json!({"exp": null}), Err("expired"));
        check(&plain, &json!({"nbf": 101}), Err("not before"));
        check(&plain, &json!({"aud": "others"}), Err("expected audience"));
        check(&plain, &json!({"iss": "https://other"}), Err("different provider"));
        check(&plain, &json!({"sub": null}), Err("names nobody"));
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
