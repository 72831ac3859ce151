//! Which fields say something even when they are zero, read from the Go sources of the Kubernetes API.
//!
//! A Go server writes every plain field into a protobuf body, set or not, and a pointer only when it is set; neither the
//! descriptors nor the OpenAPI definitions tell which is which (`replicas: 0` is an order, `minReadySeconds: 0` is
//! nothing). The struct tags do. The outcome is committed, so that the sources are needed only for a new release.

use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the Kubernetes API that define messages of served kinds.
const MODULES: [&str; 4] = ["api", "apiextensions-apiserver", "apimachinery", "kube-aggregator"];

/// Where the Go sources are.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folder with `api@VERSION` and the other modules, such as `$(go env GOMODCACHE)/k8s.io`.
    #[arg(long)]
    modules: PathBuf,
    /// Version of the modules.
    #[arg(long, default_value = "v0.36.3")]
    version: String,
}

/// Fields by message, as committed.
pub(crate) const COMMITTED: &str = include_str!("../data/presence.txt");

/// Writes xtask/data/presence.txt.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut found = BTreeMap::new();
    for module in MODULES {
        let root = options.modules.join(format!("{module}@{}", options.version));
        ensure!(root.is_dir(), "no {}: `go mod download k8s.io/{module}@{}`", root.display(), options.version);
        folder(&root, &format!("k8s.io.{module}"), &mut found)?;
    }
    let mut text = String::new();
    for (message, fields) in &found {
        writeln!(text, "{message} {}", fields.join(" "))?;
    }
    let path = crate::workspace_root()?.join("xtask/data/presence.txt");
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn folder(path: &Path, package: &str, found: &mut BTreeMap<String, Vec<String>>) -> anyhow::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            folder(&entry.path(), &format!("{package}.{}", name.replace('-', "_")), found)?;
        } else if name.ends_with(".go") && !name.ends_with("_test.go") && !name.ends_with(".pb.go") {
            source(&fs::read_to_string(entry.path())?, &package.replace('-', "_"), found);
        }
    }
    Ok(())
}

/// Collects the fields of one file that are pointers, or that JSON never leaves out.
fn source(text: &str, package: &str, found: &mut BTreeMap<String, Vec<String>>) {
    let mut message = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("type ").and_then(|rest| rest.strip_suffix(" struct {")) {
            message = Some(format!("{package}.{name}"));
        } else if line.starts_with('}') {
            message = None;
        } else if let Some(message) = &message
            && let Some(field) = field(line)
        {
            found.entry(message.clone()).or_default().push(field.to_owned());
        }
    }
}

/// The JSON name in a line such as `Replicas *int32 json:"replicas,omitempty" protobuf:"varint,1,opt,name=replicas"`,
/// if the field says something when it is zero.
fn field(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if line.starts_with("//") {
        return None;
    }
    let (declaration, tags) = line.split_once('`')?;
    quoted(tags, "protobuf:\"")?;
    let mut json = quoted(tags, "json:\"")?.split(',');
    let name = json.next().filter(|name| !name.is_empty())?;
    let kind = declaration.split_whitespace().nth(1)?;
    // The Go type tells: some tags call a single text repeated.
    let repeated = kind != "[]byte" && (kind.starts_with("[]") || kind.starts_with("map["));
    let may_be_left_out = json.any(|option| option == "omitempty" || option == "omitzero");
    (!repeated && (kind.starts_with('*') || !may_be_left_out)).then_some(name)
}

fn quoted<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, wanted: Option<&str>) {
        assert_eq!(field(line), wanted);
    }

    #[test]
    fn pointers_and_what_is_never_left_out() {
        check(
            "\tReplicas *int32 `json:\"replicas,omitempty\" protobuf:\"varint,1,opt,name=replicas\"`",
            Some("replicas"),
        );
        check("\tMinReadySeconds int32 `json:\"minReadySeconds,omitempty\" protobuf:\"varint,5,opt,name=x\"`", None);
        check("\tName string `json:\"name\" protobuf:\"bytes,1,opt,name=name\"`", Some("name"));
        check("\tArgs []string `json:\"args\" protobuf:\"bytes,4,rep,name=args\"`", None);
        check("\tName string `json:\"name\" protobuf:\"bytes,1,rep,name=name\"`", Some("name"));
        check("\tmetav1.TypeMeta `json:\",inline\"`", None);
        check("\t// Old *string `json:\"old\" protobuf:\"bytes,4,opt,name=old\"`", None);
    }
}
