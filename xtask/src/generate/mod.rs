//! From recordings of a stock Kubernetes server to the compact data that `crates/apiserver` embeds.
//!
//! Each output is a pure function of the recordings; files are written, or with `--check` compared, at the end.

mod kinds;
mod wire;

use crate::{marks, presence};
use anyhow::{Context, bail};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use serde_json::{Map, Value};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Where to read, and whether to write.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folder with the recordings (default: ../shared/data/kubernetes-1.36.3 beside the checkout).
    #[arg(long)]
    from: Option<PathBuf>,
    /// Write nothing; fail when what is committed is stale. Passes when there are no recordings to compare with.
    #[arg(long)]
    check: bool,
}

impl Options {
    /// Compares what is committed with the recordings, where there are any.
    pub(crate) fn check_only() -> Self {
        Self { from: None, check: true }
    }
}

/// Generates all outputs.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let root = crate::workspace_root()?;
    let from = options.from.clone().unwrap_or_else(|| root.join("../shared/data/kubernetes-1.36.3"));
    if options.check && !from.is_dir() {
        crate::say(&format!("no recordings in {}: nothing to compare with", from.display()));
        return Ok(());
    }
    let target = root.join("crates/apiserver/data");
    let mut stale = Vec::new();
    for (name, text) in outputs(&Recordings { folder: from })? {
        let path = target.join(&name);
        if held(&path).as_deref() == Some(text.as_slice()) {
            continue;
        }
        stale.push(name.clone());
        if !options.check {
            fs::create_dir_all(&target)?;
            let bytes = if name.ends_with(".z") { deflate(&text)? } else { text };
            fs::write(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
            crate::say(&format!("wrote {name}: {} bytes", bytes.len()));
        }
    }
    if options.check && !stale.is_empty() {
        bail!("stale: {}. Run `cargo xtask generate` and commit crates/apiserver/data", stale.join(", "));
    }
    Ok(())
}

/// Every output by file name, not yet deflated.
fn outputs(recordings: &Recordings) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let recorded = recordings.json("definitions.json")?;
    let definitions = recorded.get("definitions").and_then(Value::as_object).context("no definitions")?;
    let discovery = recordings.json("discovery.json")?;
    let rows = kinds::rows(&discovery, &recordings.json("table-columns.json")?, definitions)?;
    let wire = wire::table(&recordings.bytes("protobuf-descriptors.bin")?, presence::COMMITTED, definitions)?;
    Ok(vec![
        ("kinds.json".into(), rows.into_bytes()),
        ("definitions.json.z".into(), serde_json::to_vec(definitions)?),
        ("openapi-v3.txt.z".into(), marks::COMMITTED.into()),
        ("wire.txt.z".into(), wire.into_bytes()),
        ("bootstrap-rbac.json.z".into(), recordings.bytes("bootstrap-rbac.json")?),
        ("flowcontrol.json.z".into(), recordings.bytes("flowcontrol.json")?),
        // Only tests read what is called recorded: they compare it with what is served.
        ("recorded-discovery.json.z".into(), serde_json::to_vec(&discovery)?),
        ("recorded-paths.json.z".into(), serde_json::to_vec(&recordings.json("paths.json")?)?),
    ])
}

/// The recorded files.
struct Recordings {
    folder: PathBuf,
}

impl Recordings {
    fn bytes(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.folder.join(name);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn json(&self, name: &str) -> anyhow::Result<Map<String, Value>> {
        serde_json::from_slice(&self.bytes(name)?).with_context(|| format!("{name} is not a JSON object"))
    }
}

/// What is committed, inflated: two versions of the compressor may differ in bytes and not in meaning.
fn held(path: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    if path.extension().is_none_or(|extension| extension != "z") {
        return Some(bytes);
    }
    let mut text = Vec::new();
    ZlibDecoder::new(bytes.as_slice()).read_to_end(&mut text).ok()?;
    Some(text)
}

fn deflate(text: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text)?;
    Ok(encoder.finish()?)
}
