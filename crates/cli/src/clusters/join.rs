//! `kubestellar join`: gives a cluster what it needs to ask for entry into an ITS.
//!
//! The ITS gets a bootstrap token that can do no more than ask, for this cluster only; the token goes into a kubeconfig file for the agent of
//! the cluster. Entry is granted by `kubestellar accept`.

use super::SECRETS;
use crate::{Error, Result, Session, kind_of_space};
use api::cluster::{BOOTSTRAP_GROUP, REMOVE_ONCE_JOINED_ANNOTATION, bootstrap_group};
use api::{Object, ObjectName, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::kubeconfig::{self, Kubeconfig, KubeconfigSet, Section};
use client::{Client, Credential, Endpoint};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Characters of the two parts of a bootstrap token, as Kubernetes defines it.
const TOKEN_ID_LENGTH: usize = 6;
const TOKEN_SECRET_LENGTH: usize = 16;

/// The letters of a bootstrap token. 32 of them, so that each byte of randomness gives one without bias.
const TOKEN_LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Prepares a cluster to join
#[derive(Clone, Debug, clap::Args)]
pub struct Join {
    /// The name that the cluster will have in the ITS
    #[arg(long, value_name = "NAME")]
    pub cluster_name: String,
    /// The context of the ITS in the kubeconfig
    #[arg(long, value_name = "CONTEXT")]
    pub hub_context: String,
    /// The context of the cluster in the kubeconfig
    #[arg(long, value_name = "CONTEXT")]
    pub wec_context: Option<String>,
    /// Where to write the bootstrap kubeconfig, which holds a secret
    #[arg(long, value_name = "FILE")]
    pub bootstrap_kubeconfig: Option<PathBuf>,
    /// Hours that the bootstrap token can be used
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    pub token_hours: u32,
    /// The address of the ITS as the cluster reaches it, if it differs from that in the kubeconfig
    #[arg(long, value_name = "URL")]
    pub hub_server: Option<String>,
}

/// Where the bootstrap kubeconfig of a cluster is, unless the user says otherwise.
pub fn bootstrap_file(data: &Path, cluster: &str) -> PathBuf {
    data.join("agents").join(cluster).join("bootstrap.kubeconfig")
}

impl Join {
    /// Runs the command. Returns where the bootstrap kubeconfig is.
    ///
    /// # Errors
    /// If a context does not exist, the ITS does not answer, or the file cannot be written.
    pub async fn run(self, session: &Session) -> Result<PathBuf> {
        let name = &self.cluster_name;
        let complaints = machinery::name::dns_label(name);
        if !complaints.is_empty() {
            return Err(Error::new(format!("{name:?} cannot be the name of a cluster: {}", complaints.join("; "))));
        }
        let set = session.kubeconfig()?;
        if let Some(wec) = &self.wec_context {
            check_context(&set, wec, "--wec-context")?;
        }
        check_context(&set, &self.hub_context, "--hub-context")?;
        let mut hub = set.endpoint(Some(&self.hub_context))?;
        let client = Client::https(hub.clone())?.with_field_manager("kubestellar-join");
        kind_of_space::check(session, &client, Some(&self.hub_context), kind_of_space::ITS).await?;
        let expires = expiration(session.now(), self.token_hours);
        let token = issue(&client, name, expires).await.map_err(|error| {
            error.during(format!("the bootstrap token cannot be made in context {}", self.hub_context))
        })?;
        if let Some(server) = &self.hub_server {
            hub.server.clone_from(server);
        }
        let file = self.file(session)?;
        write_private(&file, &bootstrap_kubeconfig(&hub, &token))?;
        session.output.done(format!("Bootstrap kubeconfig of cluster {name} written to {}", file.display()));
        session.output.line(self.next_steps(&file));
        Ok(file)
    }

    fn file(&self, session: &Session) -> Result<PathBuf> {
        if let Some(file) = &self.bootstrap_kubeconfig {
            return Ok(file.clone());
        }
        let data = session.data.as_deref().ok_or_else(|| {
            Error::new("it is not clear where to write the bootstrap kubeconfig")
                .hint("give --bootstrap-kubeconfig FILE")
        })?;
        Ok(bootstrap_file(data, &self.cluster_name))
    }

    fn next_steps(&self, file: &Path) -> String {
        let (name, hub) = (&self.cluster_name, &self.hub_context);
        let wec = self.wec_context.as_ref().map(|wec| format!(" --wec-context {wec}")).unwrap_or_default();
        format!(
            "\nNow start the agent, beside the cluster or anywhere that reaches both:\n  \
             kubestellar agent --cluster-name {name}{wec} --bootstrap-kubeconfig {}\n\
             and let the cluster in:\n  kubestellar accept {name} --context {hub}",
            file.display()
        )
    }
}

/// Makes a bootstrap token in an ITS, with which this cluster may ask for entry, and nothing else. Returns its text. The
/// hub removes it once the cluster has its certificate, or at its end.
///
/// # Errors
/// If the ITS does not take it.
pub async fn bootstrap_token(its: &Client, cluster: &str, expires: Timestamp) -> Result<String> {
    Ok(issue(its, cluster, expires).await?.text())
}

async fn issue(its: &Client, cluster: &str, expires: Timestamp) -> Result<Token> {
    let token = Token::random()?;
    its.create::<Object>(&SECRETS, "kube-system", &token.secret(cluster, expires)).await?;
    Ok(token)
}

fn check_context(set: &KubeconfigSet, context: &str, flag: &str) -> Result<()> {
    if set.get(Section::Contexts, context).is_some() {
        return Ok(());
    }
    Err(crate::contexts::no_context(set, context).during(flag))
}

fn expiration(now: Timestamp, hours: u32) -> Timestamp {
    Timestamp::from_seconds(now.seconds() + i64::from(hours) * 3600)
}

/// A bootstrap token: a public id and a secret.
struct Token {
    id: String,
    secret: String,
}

impl Token {
    fn random() -> Result<Self> {
        let mut bytes = [0; TOKEN_ID_LENGTH + TOKEN_SECRET_LENGTH];
        getrandom::fill(&mut bytes).map_err(|cause| Error::new(format!("no randomness for a token: {cause}")))?;
        Ok(Self::from_bytes(&bytes))
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let letters: String = bytes.iter().map(|byte| char::from(TOKEN_LETTERS[usize::from(byte % 32)])).collect();
        let (id, secret) = letters.split_at(TOKEN_ID_LENGTH);
        Self { id: id.to_owned(), secret: secret.to_owned() }
    }

    fn text(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }

    /// The Secret that makes the token valid.
    fn secret(&self, cluster: &str, expiration: Timestamp) -> Value {
        let data: serde_json::Map<String, Value> = [
            ("token-id", self.id.as_str()),
            ("token-secret", self.secret.as_str()),
            ("expiration", &expiration.to_string()),
            ("usage-bootstrap-authentication", "true"),
            ("auth-extra-groups", &format!("{BOOTSTRAP_GROUP},{}", bootstrap_group(cluster))),
            ("description", &format!("for cluster {cluster} to ask for entry")),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), Value::from(STANDARD.encode(value))))
        .collect();
        let name = ObjectName::namespaced("kube-system", format!("bootstrap-token-{}", self.id));
        let mut secret = Object::new("v1", "Secret", &name);
        secret.set_annotation(REMOVE_ONCE_JOINED_ANNOTATION, cluster);
        secret.0.insert("type".into(), "bootstrap.kubernetes.io/token".into());
        secret.0.insert("data".into(), data.into());
        json!(secret)
    }
}

fn bootstrap_kubeconfig(hub: &Endpoint, token: &Token) -> Kubeconfig {
    let credential = Credential::Token(token.text());
    kubeconfig::standalone(&Endpoint { credential, ..hub.clone() }, ["bootstrap", "hub", "bootstrap"])
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, config: &Kubeconfig) -> Result<()> {
    kubeconfig::write(path, config).map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_what_kubernetes_takes() {
        let token = Token::from_bytes(&(0..22).map(|n| n * 11).collect::<Vec<u8>>());
        assert_eq!((token.id.len(), token.secret.len()), (6, 16));
        assert!(token.id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
        let secret = token.secret("c1", expiration(Timestamp::from_seconds(0), 24));
        assert_eq!(secret["metadata"]["name"], format!("bootstrap-token-{}", token.id));
        assert_eq!(secret["metadata"]["namespace"], "kube-system");
        let datum = |key: &str| STANDARD.decode(secret["data"][key].as_str().unwrap()).unwrap();
        assert_eq!(datum("expiration"), b"1970-01-02T00:00:00Z");
        let groups = b"system:bootstrappers:managedcluster,system:bootstrappers:managedcluster:c1";
        assert_eq!(datum("auth-extra-groups"), groups);
        assert_eq!(secret["metadata"]["annotations"]["kubestellar.io/remove-once-joined"], "c1");
        assert_ne!(Token::random().unwrap().secret, Token::random().unwrap().secret);
    }

    #[test]
    fn the_bootstrap_kubeconfig_holds_the_token_and_no_other_credential() {
        let hub = Endpoint {
            server: "https://127.0.0.1:9443/spaces/its1".into(),
            ca: Some(b"ca".to_vec()),
            credential: Credential::Certificate { certificate: b"admin".to_vec(), key: b"admin".to_vec() },
            ..Endpoint::default()
        };
        let config = bootstrap_kubeconfig(&hub, &Token { id: "abcdef".into(), secret: "0123456789abcdef".into() });
        let set = KubeconfigSet::from_documents(vec![("/x".into(), config)]);
        let read = set.endpoint(None).unwrap();
        assert_eq!(read.credential, Credential::Token("abcdef.0123456789abcdef".into()));
        assert_eq!((read.server, read.ca), (hub.server, hub.ca));
    }
}
