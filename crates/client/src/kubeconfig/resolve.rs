//! From a context to an endpoint, and the kubeconfig of a process inside a cluster.

use super::{Kubeconfig, KubeconfigError, KubeconfigSet, Section};
use crate::{Credential, Endpoint, Plugin};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where the kubelet puts what a Pod needs to reach its API server.
const SERVICE_ACCOUNT_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

impl KubeconfigSet {
    /// The endpoint of a context; of the current one, when none is named. Reads the CA if it is in a file; other
    /// files are read when they are used.
    ///
    /// # Errors
    /// If an entry is missing or broken, with a text that says which and what to do.
    pub fn endpoint(&self, context: Option<&str>) -> Result<Endpoint, KubeconfigError> {
        let content = |text: String| KubeconfigError::Content(text);
        let name = match context {
            Some(name) => name,
            None => self.current_context().ok_or_else(|| {
                content("the kubeconfig has no current context: choose one with --context, or kflex ctx NAME".into())
            })?,
        };
        let context = self.get(Section::Contexts, name).ok_or_else(|| {
            let known = self.names(Section::Contexts).join(", ");
            content(format!("the kubeconfig has no context {name:?}; it has: {known}"))
        })?;
        let cluster_name = text(context, "cluster").unwrap_or("");
        let (cluster, cluster_file) = self.find(Section::Clusters, cluster_name).ok_or_else(|| {
            content(format!("context {name:?} names cluster {cluster_name:?}, which the kubeconfig does not have"))
        })?;
        let user_name = text(context, "user").unwrap_or("");
        let (user, user_file) = match self.find(Section::Users, user_name) {
            Some((user, file)) => (user, file),
            None if user_name.is_empty() => (&Value::Null, cluster_file),
            None => {
                let text = format!("context {name:?} names user {user_name:?}, which the kubeconfig does not have");
                return Err(content(text));
            }
        };
        let server = text(cluster, "server")
            .ok_or_else(|| content(format!("cluster {cluster_name:?} in the kubeconfig has no server")))?;
        Ok(Endpoint {
            server: server.to_owned(),
            ca: authority(cluster, cluster_name, cluster_file)?,
            credential: credential(user, user_name, user_file)?,
            insecure: cluster.get("insecure-skip-tls-verify").and_then(Value::as_bool).unwrap_or(false),
            server_name: text(cluster, "tls-server-name").map(str::to_owned),
        })
    }
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Base64 data of an entry.
fn data(value: &Value, field: &str, owner: &str) -> Result<Option<Vec<u8>>, KubeconfigError> {
    let Some(encoded) = text(value, field) else { return Ok(None) };
    let joined: String = encoded.split_ascii_whitespace().collect();
    let decoded = STANDARD.decode(joined).map_err(|cause| {
        KubeconfigError::Content(format!("{field} of {owner:?} in the kubeconfig is not base64: {cause}"))
    })?;
    Ok(Some(decoded))
}

/// A path in an entry: relative ones start at the kubeconfig's directory.
fn path(value: &Value, field: &str, file: &Path) -> Option<PathBuf> {
    let named = Path::new(text(value, field)?);
    Some(file.parent().map_or_else(|| named.to_owned(), |directory| directory.join(named)))
}

fn authority(cluster: &Value, name: &str, file: &Path) -> Result<Option<Vec<u8>>, KubeconfigError> {
    if let Some(pem) = data(cluster, "certificate-authority-data", name)? {
        return Ok(Some(pem));
    }
    let Some(path) = path(cluster, "certificate-authority", file) else { return Ok(None) };
    match std::fs::read(&path) {
        Ok(pem) => Ok(Some(pem)),
        Err(cause) => Err(KubeconfigError::File { action: "cannot read the CA", file: path, cause }),
    }
}

fn credential(user: &Value, name: &str, file: &Path) -> Result<Credential, KubeconfigError> {
    let certificate_data = data(user, "client-certificate-data", name)?;
    let key_data = data(user, "client-key-data", name)?;
    let certificate_file = path(user, "client-certificate", file);
    let key_file = path(user, "client-key", file);
    match (certificate_data, key_data, certificate_file, key_file) {
        (Some(certificate), Some(key), _, _) => return Ok(Credential::Certificate { certificate, key }),
        (None, None, Some(certificate), Some(key)) => return Ok(Credential::CertificateFiles { certificate, key }),
        (None, None, None, None) => {}
        (Some(certificate), None, _, Some(key)) => {
            let failed = |cause| KubeconfigError::File { action: "cannot read the key", file: key.clone(), cause };
            return Ok(Credential::Certificate { certificate, key: std::fs::read(&key).map_err(failed)? });
        }
        (None, Some(key), Some(path), _) => {
            let failed =
                |cause| KubeconfigError::File { action: "cannot read the certificate", file: path.clone(), cause };
            return Ok(Credential::Certificate { certificate: std::fs::read(&path).map_err(failed)?, key });
        }
        _ => {
            let text =
                format!("user {name:?} in the kubeconfig has a client certificate without its key, or the reverse");
            return Err(KubeconfigError::Content(text));
        }
    }
    if let Some(file) = path(user, "tokenFile", file) {
        return Ok(Credential::TokenFile(file));
    }
    if let Some(token) = text(user, "token") {
        return Ok(Credential::Token(token.to_owned()));
    }
    if let (Some(name), Some(password)) = (text(user, "username"), text(user, "password")) {
        return Ok(Credential::Basic { user: name.to_owned(), password: password.to_owned() });
    }
    if let Some(exec) = user.get("exec").filter(|exec| !exec.is_null()) {
        return plugin(exec, name, file).map(Credential::Plugin);
    }
    if user.get("auth-provider").is_some_and(|provider| !provider.is_null()) {
        return Err(KubeconfigError::Content(format!(
            "user {name:?} in the kubeconfig has an auth-provider, which no Kubernetes client supports any more; \
             ask your provider for a kubeconfig with exec"
        )));
    }
    Ok(Credential::None)
}

/// A program that gives credentials: `exec` of a user.
fn plugin(exec: &Value, user: &str, file: &Path) -> Result<Plugin, KubeconfigError> {
    let wrong = |what: &str| KubeconfigError::Content(format!("exec of user {user:?} in the kubeconfig {what}"));
    let command = text(exec, "command").ok_or_else(|| wrong("has no command"))?;
    let api_version = text(exec, "apiVersion").unwrap_or("client.authentication.k8s.io/v1");
    if !matches!(api_version, "client.authentication.k8s.io/v1" | "client.authentication.k8s.io/v1beta1") {
        return Err(wrong(&format!("has apiVersion {api_version:?}: v1 and v1beta1 are known")));
    }
    let list = |field: &str| exec.get(field).and_then(Value::as_array).into_iter().flatten();
    // A name without a slash is looked up in PATH; any other is a path that starts at the kubeconfig's directory.
    let command = if command.contains('/') {
        path(exec, "command", file).unwrap_or_else(|| command.into())
    } else {
        command.into()
    };
    Ok(Plugin {
        api_version: api_version.to_owned(),
        command,
        args: list("args").filter_map(|arg| arg.as_str().map(str::to_owned)).collect(),
        env: list("env")
            .filter_map(|entry| Some((text(entry, "name")?.to_owned(), entry.get("value")?.as_str()?.to_owned())))
            .collect(),
        provide_cluster_info: exec.get("provideClusterInfo").and_then(Value::as_bool).unwrap_or(false),
        install_hint: text(exec, "installHint").unwrap_or("").to_owned(),
    })
}

/// The endpoint of the cluster that this process runs in. `host` and `port` are `KUBERNETES_SERVICE_HOST` and
/// `KUBERNETES_SERVICE_PORT`.
///
/// # Errors
/// If this is not a Pod with a service account.
pub fn in_cluster(host: &str, port: &str) -> Result<Endpoint, KubeconfigError> {
    in_cluster_at(Path::new(SERVICE_ACCOUNT_DIR), host, port)
}

fn in_cluster_at(directory: &Path, host: &str, port: &str) -> Result<Endpoint, KubeconfigError> {
    let (token, ca_file) = (directory.join("token"), directory.join("ca.crt"));
    if !token.exists() {
        let text = format!("{} does not exist: this is not a Pod with a service account", token.display());
        return Err(KubeconfigError::Content(text));
    }
    let ca = std::fs::read(&ca_file).map_err(|cause| KubeconfigError::File {
        action: "cannot read the CA",
        file: ca_file,
        cause,
    })?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Ok(Endpoint {
        server: format!("https://{host}:{port}"),
        ca: Some(ca),
        credential: Credential::TokenFile(token),
        insecure: false,
        server_name: None,
    })
}

/// A kubeconfig with one context, for an endpoint whose credential is data or files. `names` are those of the context,
/// its cluster and its user.
pub fn standalone(endpoint: &Endpoint, [context, cluster, user]: [&str; 3]) -> Kubeconfig {
    let mut config = Kubeconfig::default();
    let mut cluster_content = json!({"server": endpoint.server});
    if let Some(ca) = &endpoint.ca {
        cluster_content["certificate-authority-data"] = STANDARD.encode(ca).into();
    }
    if endpoint.insecure {
        cluster_content["insecure-skip-tls-verify"] = true.into();
    }
    if let Some(name) = &endpoint.server_name {
        cluster_content["tls-server-name"] = name.clone().into();
    }
    let user_content = match &endpoint.credential {
        Credential::None => json!({}),
        Credential::Certificate { certificate, key } => json!({
            "client-certificate-data": STANDARD.encode(certificate), "client-key-data": STANDARD.encode(key),
        }),
        Credential::CertificateFiles { certificate, key } => {
            json!({"client-certificate": certificate.to_string_lossy(), "client-key": key.to_string_lossy()})
        }
        Credential::Token(token) => json!({"token": token}),
        Credential::TokenFile(file) => json!({"tokenFile": file.to_string_lossy()}),
        Credential::Basic { user, password } => json!({"username": user, "password": password}),
        Credential::Plugin(plugin) => json!({"exec": {
            "apiVersion": plugin.api_version,
            "command": plugin.command.to_string_lossy(),
            "args": plugin.args,
            "env": plugin.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>(),
            "provideClusterInfo": plugin.provide_cluster_info,
            "installHint": plugin.install_hint,
            "interactiveMode": "Never",
        }}),
    };
    config.set(Section::Clusters, cluster, cluster_content);
    config.set(Section::Users, user, user_content);
    config.set(Section::Contexts, context, json!({"cluster": cluster, "user": user}));
    config.set_current_context(context);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> KubeconfigSet {
        KubeconfigSet::from_documents(vec![("/etc/k/config".into(), Kubeconfig::parse(text).unwrap())])
    }

    #[track_caller]
    fn check(user: &str, expected: Result<Credential, &str>) {
        let config = format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'https://h:1'}}}}]\nusers: [{{name: u, user: {user}}}]\n"
        );
        match (set(&config).endpoint(None), expected) {
            (Ok(endpoint), Ok(expected)) => assert_eq!(endpoint.credential, expected, "{user}"),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{user}: {error}"),
            (seen, expected) => panic!("{user}: {seen:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn credentials() {
        check("{}", Ok(Credential::None));
        check("{token: abc}", Ok(Credential::Token("abc".into())));
        check("{token: abc, tokenFile: t}", Ok(Credential::TokenFile("/etc/k/t".into())));
        check("{tokenFile: /run/t}", Ok(Credential::TokenFile("/run/t".into())));
        check(
            "{client-certificate-data: YQ==, client-key-data: Yg==, token: abc}",
            Ok(Credential::Certificate { certificate: b"a".to_vec(), key: b"b".to_vec() }),
        );
        check(
            "{client-certificate: tls.crt, client-key: ../tls.key}",
            Ok(Credential::CertificateFiles { certificate: "/etc/k/tls.crt".into(), key: "/etc/k/../tls.key".into() }),
        );
        check("{client-certificate-data: '%'}", Err("not base64"));
        check("{client-certificate-data: YQ==}", Err("without its key"));
        check("{username: a, password: b}", Ok(Credential::Basic { user: "a".into(), password: "b".into() }));
        let plugin = Plugin {
            api_version: "client.authentication.k8s.io/v1beta1".into(),
            command: "aws".into(),
            args: vec!["eks".into(), "get-token".into()],
            env: vec![("AWS_PROFILE".into(), "dev".into())],
            provide_cluster_info: false,
            install_hint: String::new(),
        };
        check(
            "{exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: aws, args: [eks, get-token], \
             env: [{name: AWS_PROFILE, value: dev}], interactiveMode: IfAvailable}}",
            Ok(Credential::Plugin(plugin)),
        );
        let beside = Plugin {
            api_version: "client.authentication.k8s.io/v1".into(),
            command: "/etc/k/bin/login".into(),
            ..Plugin::default()
        };
        check("{exec: {command: bin/login}}", Ok(Credential::Plugin(beside)));
        check("{exec: {}}", Err("has no command"));
        check("{exec: {command: a, apiVersion: client.authentication.k8s.io/v1alpha1}}", Err("v1 and v1beta1"));
        check("{auth-provider: {name: gcp}}", Err("auth-provider"));
    }

    #[test]
    fn missing_parts_are_named() {
        let error = |text: &str, context: Option<&str>| set(text).endpoint(context).unwrap_err().to_string();
        assert!(error("", None).contains("no current context"));
        assert!(error("contexts: [{name: a, context: {}}]", Some("b")).contains("no context \"b\"; it has: a"));
        let dangling = "contexts: [{name: a, context: {cluster: c, user: u}}]";
        assert!(error(dangling, Some("a")).contains("names cluster \"c\""));
        let without_user = format!("{dangling}\nclusters: [{{name: c, cluster: {{server: 'https://h'}}}}]");
        assert!(error(&without_user, Some("a")).contains("names user \"u\""));
        let ca = "contexts: [{name: a, context: {cluster: c}}]\n\
                  clusters: [{name: c, cluster: {server: 'https://h', certificate-authority: no.crt}}]";
        assert!(error(ca, Some("a")).contains("/etc/k/no.crt"));
    }

    #[test]
    fn what_we_write_can_be_read() {
        for credential in [
            Credential::None,
            Credential::Token("t".into()),
            Credential::Certificate { certificate: b"c".to_vec(), key: b"k".to_vec() },
            Credential::Plugin(Plugin {
                api_version: "client.authentication.k8s.io/v1".into(),
                command: "login".into(),
                args: vec!["a".into()],
                ..Plugin::default()
            }),
        ] {
            let endpoint = Endpoint {
                server: "https://127.0.0.1:9443/spaces/its1".into(),
                ca: Some(b"pem".to_vec()),
                credential,
                insecure: false,
                server_name: None,
            };
            let text = standalone(&endpoint, ["its1", "its1-cluster", "its1-admin"]).to_yaml().unwrap();
            assert_eq!(set(&text).endpoint(None).unwrap(), endpoint);
            assert_eq!(endpoint.path(), "/spaces/its1");
        }
    }

    #[test]
    fn inside_a_cluster() {
        let dir = tempfile::tempdir().unwrap();
        assert!(in_cluster_at(dir.path(), "10.0.0.1", "443").is_err());
        std::fs::write(dir.path().join("token"), "t").unwrap();
        std::fs::write(dir.path().join("ca.crt"), "pem").unwrap();
        let endpoint = in_cluster_at(dir.path(), "fd00::1", "443").unwrap();
        assert_eq!(endpoint.server, "https://[fd00::1]:443");
        assert_eq!(endpoint.credential, Credential::TokenFile(dir.path().join("token")));
    }
}
