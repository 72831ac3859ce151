//! Credentials from a program, as the kubeconfigs of cloud providers have them (`exec`, client.authentication.k8s.io).
//!
//! The program prints an ExecCredential with a token or a client certificate, and perhaps when it expires. It is run
//! again when that time has come, or when the server refuses what it gave.

use super::Endpoint;
use crate::TransportError;
use api::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

/// How long the program may take. Some ask a service in the cloud; none can ask a person, since it has no terminal.
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// A credential counts as expired this long before it is, so that no request arrives late.
const EXPIRES_EARLY_SECONDS: i64 = 10;

/// A program that gives credentials.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plugin {
    /// `client.authentication.k8s.io/v1` or `v1beta1`.
    pub api_version: String,
    /// The program: a name to be found in `PATH`, or a path.
    pub command: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables that it gets besides those of this process.
    pub env: Vec<(String, String)>,
    /// Whether it is told which cluster it is for.
    pub provide_cluster_info: bool,
    /// What to tell the user when the program is not there.
    pub install_hint: String,
}

/// What a program gave.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Given {
    pub(super) token: Option<String>,
    /// Certificate and key, PEM.
    pub(super) certificate: Option<(Vec<u8>, Vec<u8>)>,
    expires: Option<Timestamp>,
}

impl Given {
    /// A token that is good until somebody says otherwise.
    pub(super) fn token(token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::default() }
    }

    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now.seconds() < expires.seconds() - EXPIRES_EARLY_SECONDS)
    }
}

#[derive(Deserialize)]
struct ExecCredential {
    #[serde(default)]
    status: Option<ExecStatus>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ExecStatus {
    token: String,
    client_certificate_data: String,
    client_key_data: String,
    expiration_timestamp: Option<Timestamp>,
}

/// Runs the program once.
pub(super) async fn run(plugin: &Plugin, endpoint: &Endpoint) -> Result<Given, TransportError> {
    let name = plugin.command.display();
    let mut command = tokio::process::Command::new(&plugin.command);
    command.args(&plugin.args).envs(plugin.env.iter().map(|(name, value)| (name, value)));
    command.env("KUBERNETES_EXEC_INFO", info(plugin, endpoint)).stdin(Stdio::null()).kill_on_drop(true);
    let failed = |why: String| TransportError::Unusable(format!("the credential program {name} {why}"));
    let output = match tokio::time::timeout(PLUGIN_TIMEOUT, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(cause)) => {
            let hint = plugin.install_hint.trim();
            let hint = if hint.is_empty() { String::new() } else { format!(" ({hint})") };
            return Err(failed(format!("cannot be run: {cause}{hint}")));
        }
        Err(_) => return Err(failed(format!("did not end within {PLUGIN_TIMEOUT:?}"))),
    };
    read(&output).map_err(failed)
}

fn info(plugin: &Plugin, endpoint: &Endpoint) -> String {
    let mut spec = json!({"interactive": false});
    if plugin.provide_cluster_info {
        let mut cluster = json!({"server": endpoint.server, "insecure-skip-tls-verify": endpoint.insecure});
        if let Some(ca) = &endpoint.ca {
            cluster["certificate-authority-data"] = STANDARD.encode(ca).into();
        }
        if let Some(name) = &endpoint.server_name {
            cluster["tls-server-name"] = name.clone().into();
        }
        spec["cluster"] = cluster;
    }
    json!({"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}).to_string()
}

fn read(output: &Output) -> Result<Given, String> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last: String = said.trim().lines().last().unwrap_or("").chars().take(300).collect();
        return Err(format!("failed ({}): {last}", output.status));
    }
    let credential: ExecCredential =
        serde_json::from_slice(&output.stdout).map_err(|cause| format!("did not print an ExecCredential: {cause}"))?;
    let status = credential.status.unwrap_or_default();
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let certificate = match (text(status.client_certificate_data), text(status.client_key_data)) {
        (Some(certificate), Some(key)) => Some((certificate.into_bytes(), key.into_bytes())),
        (None, None) => None,
        _ => return Err("printed a certificate without its key, or the reverse".into()),
    };
    let token = text(status.token);
    if token.is_none() && certificate.is_none() {
        return Err("printed neither a token nor a certificate".into());
    }
    Ok(Given { token, certificate, expires: status.expiration_timestamp })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run_script(script: &str) -> Result<Given, String> {
        let plugin = Plugin {
            api_version: "client.authentication.k8s.io/v1".into(),
            command: "sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("COLOUR".into(), "blue".into())],
            provide_cluster_info: true,
            install_hint: String::new(),
        };
        let endpoint = Endpoint { server: "https://h:1".into(), ..Endpoint::default() };
        run(&plugin, &endpoint).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn programs_give_credentials() {
        let given = run_script(
            r#"echo '{"kind":"ExecCredential","status":{"token":"'$COLOUR'","expirationTimestamp":"1970-01-01T00:01:00Z"}}'"#,
        );
        let given = given.await.unwrap();
        assert_eq!(given.token.as_deref(), Some("blue"));
        assert!(given.is_fresh(Timestamp::from_seconds(49)));
        assert!(!given.is_fresh(Timestamp::from_seconds(50)));
        let given = run_script(r#"echo '{"status":{"clientCertificateData":"c","clientKeyData":"k"}}'"#).await.unwrap();
        assert_eq!(given.certificate, Some((b"c".to_vec(), b"k".to_vec())));
        assert!(given.is_fresh(Timestamp::from_seconds(i64::MAX / 2_000_000)));
        // The program is told what it is for.
        let told = run_script(
            r#"echo "$KUBERNETES_EXEC_INFO" | grep -q '"server":"https://h:1"' && echo '{"status":{"token":"t"}}'"#,
        );
        assert!(told.await.is_ok());
    }

    #[tokio::test]
    async fn programs_may_fail() {
        let failed = async |script: &str| run_script(script).await.err().unwrap();
        assert!(failed("echo one >&2; echo two >&2; exit 3").await.ends_with("failed (exit status: 3): two"));
        assert!(failed("echo nonsense").await.contains("did not print an ExecCredential"));
        assert!(failed("echo '{}'").await.contains("neither a token nor a certificate"));
        assert!(failed(r#"echo '{"status":{"clientKeyData":"k"}}'"#).await.contains("without its key"));
        let absent = Plugin { command: "/no/such".into(), install_hint: "install it".into(), ..Plugin::default() };
        let error = run(&absent, &Endpoint::default()).await.err().unwrap().to_string();
        assert!(error.contains("/no/such cannot be run") && error.ends_with("(install it)"), "{error}");
    }
}
