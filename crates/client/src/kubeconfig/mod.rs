//! Kubeconfig: the file in which people keep how they reach their clusters.
//!
//! The file belongs to the user and to many tools. [`Kubeconfig`] therefore works on the document as it is: what we do
//! not know stays, entries keep their order, a file that did not change is not written.

mod files;
mod resolve;

pub use files::{KubeconfigSet, edit, locate, read, write};
pub use resolve::{in_cluster, standalone};

use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Why a kubeconfig cannot be used. The text says which file, what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// A file cannot be read, or not written.
    #[error("{action} {}: {cause}", file.display())]
    File {
        /// What was tried: `cannot read`.
        action: &'static str,
        /// On which file.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A file is not a kubeconfig.
    #[error("{} is not a kubeconfig: {cause}", file.display())]
    Syntax {
        /// Which file.
        file: PathBuf,
        /// What the reader found.
        cause: String,
    },
    /// Another program writes the file, or has died while it did.
    #[error(
        "{} is locked: another program is changing the kubeconfig; if none is, remove that file",
        lock.display()
    )]
    Locked {
        /// The lock file.
        lock: PathBuf,
    },
    /// The content does not lead to a server.
    #[error("{0}")]
    Content(String),
}

/// The three kinds of named entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Section {
    Clusters,
    Users,
    Contexts,
}

impl Section {
    /// Key of the list, and key of the content in an entry.
    const fn keys(self) -> (&'static str, &'static str) {
        match self {
            Self::Clusters => ("clusters", "cluster"),
            Self::Users => ("users", "user"),
            Self::Contexts => ("contexts", "context"),
        }
    }
}

/// One kubeconfig document.
#[derive(Clone, PartialEq, Debug)]
pub struct Kubeconfig(Map<String, Value>);

impl Default for Kubeconfig {
    fn default() -> Self {
        let Value::Object(map) = json!({
            "apiVersion": "v1", "kind": "Config", "clusters": [], "contexts": [], "users": [],
            "current-context": "", "preferences": {},
        }) else {
            unreachable!("an object is written above")
        };
        Self(map)
    }
}

impl Kubeconfig {
    /// Reads YAML or JSON. An empty text is an empty kubeconfig.
    ///
    /// # Errors
    /// If the text is not YAML, or not an object, or a list of entries is not a list.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let value: Value = serde_saphyr::from_str(text).map_err(|cause| cause.to_string())?;
        let map = match value {
            Value::Object(map) => map,
            Value::Null => return Ok(Self::default()),
            _ => return Err("the document is not an object".into()),
        };
        for section in [Section::Clusters, Section::Users, Section::Contexts] {
            let list = section.keys().0;
            match map.get(list) {
                None | Some(Value::Null | Value::Array(_)) => {}
                Some(_) => return Err(format!("{list} is not a list")),
            }
        }
        Ok(Self(map))
    }

    /// The document as YAML.
    ///
    /// # Errors
    /// If a value cannot be written as YAML, which no value that was read can cause.
    pub fn to_yaml(&self) -> Result<String, String> {
        // Certificates stay on one line, as every other tool writes them and scripts expect them.
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        let mut text = String::new();
        serde_saphyr::to_fmt_writer_with_options(&mut text, &self.0, options).map_err(|cause| cause.to_string())?;
        Ok(text)
    }

    /// `current-context`
    pub fn current_context(&self) -> Option<&str> {
        self.0.get("current-context").and_then(Value::as_str).filter(|name| !name.is_empty())
    }

    /// Sets `current-context`; an empty name unsets it.
    pub fn set_current_context(&mut self, name: &str) {
        self.0.insert("current-context".into(), name.into());
    }

    /// The names of a section, in the order of the file.
    pub fn names(&self, section: Section) -> Vec<&str> {
        self.entries(section).iter().filter_map(|entry| entry.get("name")?.as_str()).collect()
    }

    /// The content of an entry: its `cluster`, `user` or `context`.
    pub fn get(&self, section: Section, name: &str) -> Option<&Value> {
        self.entries(section).iter().find(|entry| is_named(entry, name))?.get(section.keys().1)
    }

    /// Sets the content of an entry, at its place if it is there, else at the end.
    pub fn set(&mut self, section: Section, name: &str, content: Value) {
        let (list, key) = section.keys();
        let entries = list_at(&mut self.0, list);
        match entries.iter_mut().find(|entry| is_named(entry, name)) {
            Some(Value::Object(entry)) => drop(entry.insert(key.into(), content)),
            _ => entries.push(json!({"name": name, key: content})),
        }
    }

    /// Removes an entry. Whether there was one.
    pub fn remove(&mut self, section: Section, name: &str) -> bool {
        let Some(Value::Array(entries)) = self.0.get_mut(section.keys().0) else { return false };
        let before = entries.len();
        entries.retain(|entry| !is_named(entry, name));
        entries.len() < before
    }

    /// The value of an extension of the whole file.
    pub fn extension(&self, name: &str) -> Option<&Value> {
        extension_in(&self.0, name)
    }

    /// Sets an extension of the whole file; those of others stay.
    pub fn set_extension(&mut self, name: &str, value: Value) {
        set_extension_in(&mut self.0, name, value);
    }

    /// The value of an extension of a context.
    pub fn context_extension(&self, context: &str, name: &str) -> Option<&Value> {
        extension_in(self.get(Section::Contexts, context)?.as_object()?, name)
    }

    /// Sets an extension of a context; those of others stay. Whether the context is there.
    pub fn set_context_extension(&mut self, context: &str, name: &str, value: Value) -> bool {
        let Some(Value::Object(mut content)) = self.get(Section::Contexts, context).cloned() else { return false };
        set_extension_in(&mut content, name, value);
        self.set(Section::Contexts, context, content.into());
        true
    }

    fn entries(&self, section: Section) -> &[Value] {
        self.0.get(section.keys().0).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

fn is_named(entry: &Value, name: &str) -> bool {
    entry.get("name").and_then(Value::as_str) == Some(name)
}

fn list_at<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let slot = map.entry(key).or_insert(Value::Null);
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    slot.as_array_mut().expect("made a list above")
}

fn extension_in<'a>(holder: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let entries = holder.get("extensions")?.as_array()?;
    entries.iter().find(|entry| is_named(entry, name))?.get("extension")
}

fn set_extension_in(holder: &mut Map<String, Value>, name: &str, value: Value) {
    let entries = list_at(holder, "extensions");
    match entries.iter_mut().find(|entry| is_named(entry, name)) {
        Some(Value::Object(entry)) => drop(entry.insert("extension".into(), value)),
        _ => entries.push(json!({"name": name, "extension": value})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = r#"apiVersion: v1
kind: Config
current-context: kind-a
colour: "no"
clusters:
- name: kind-a
  cluster: {server: "https://127.0.0.1:1", certificate-authority-data: QQ==, their-field: [1, 2.5, null]}
contexts:
- name: zeta
  context: {cluster: c, user: u, namespace: "on"}
- name: kind-a
  note: theirs
  context:
    cluster: kind-a
    user: kind-a
    extensions:
    - name: minikube.sigs.k8s.io
      extension: {version: "1.30"}
users:
- name: kind-a
  user: {token: "12345"}
extensions:
- name: theirs
  extension: {since: 2024-01-02T03:04:05Z}
"#;

    #[test]
    fn what_is_not_ours_stays() {
        let mut config = Kubeconfig::parse(THEIRS).unwrap();
        let before = config.clone();
        config.set(Section::Contexts, "wds1", json!({"cluster": "wds1-cluster", "user": "wds1-admin"}));
        config.set_extension("kubeflex", json!({"data": {"a": "b"}}));
        assert!(config.set_context_extension(
            "kind-a",
            "kubeflex",
            json!({"data": {"is-hosting-cluster-ctx": "true"}})
        ));
        assert!(!config.set_context_extension("absent", "kubeflex", Value::Null));
        let mut again = Kubeconfig::parse(&config.to_yaml().unwrap()).unwrap();
        assert_eq!(again, config);
        assert_eq!(again.names(Section::Contexts), ["zeta", "kind-a", "wds1"]);
        let minikube = again.context_extension("kind-a", "minikube.sigs.k8s.io").unwrap();
        assert_eq!(minikube["version"], "1.30");
        assert_eq!(again.extension("theirs").unwrap()["since"], "2024-01-02T03:04:05Z");
        // And all of ours can be taken away again.
        assert!(again.remove(Section::Contexts, "wds1"));
        assert!(!again.remove(Section::Contexts, "wds1"));
        again.set_extension("kubeflex", Value::Null);
        for field in ["colour", "clusters", "users", "current-context"] {
            assert_eq!(again.0.get(field), before.0.get(field), "{field}");
        }
    }

    #[test]
    fn words_that_yaml_may_misread_stay_text() {
        let mut config = Kubeconfig::default();
        for name in ["yes", "no", "on", "null", "1e3", "0x10", "12", "~", "a: b", "- a", "#x", ""] {
            config.set(Section::Users, name, json!({"token": name}));
        }
        let long = "A".repeat(5000);
        config.set(Section::Users, "long", json!({"client-key-data": long, "lines": "a\nb\n"}));
        let yaml = config.to_yaml().unwrap();
        assert_eq!(Kubeconfig::parse(&yaml).unwrap(), config, "{yaml}");
        assert!(yaml.contains(&format!("client-key-data: {long}\n")), "base64 must stay on one line: {yaml}");
        // go-yaml, which reads YAML 1.1, takes these for booleans unless quoted.
        for word in ["yes", "no", "on"] {
            assert!(!yaml.contains(&format!("token: {word}\n")), "{yaml}");
        }
    }

    #[test]
    fn broken_files_are_refused() {
        assert_eq!(Kubeconfig::parse("").unwrap(), Kubeconfig::default());
        assert!(Kubeconfig::parse("a: [").is_err());
        assert!(Kubeconfig::parse("- a").is_err());
        assert_eq!(Kubeconfig::parse("users: {a: b}").unwrap_err(), "users is not a list");
    }

    #[test]
    fn entries_are_replaced_in_place() {
        let mut config = Kubeconfig::parse(THEIRS).unwrap();
        config.set(Section::Contexts, "zeta", json!({"cluster": "other"}));
        assert_eq!(config.names(Section::Contexts), ["zeta", "kind-a"]);
        assert_eq!(config.get(Section::Contexts, "zeta").unwrap()["cluster"], "other");
        assert_eq!(config.current_context(), Some("kind-a"));
        config.set_current_context("");
        assert_eq!(config.current_context(), None);
    }
}
